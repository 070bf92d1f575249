//! What the tests need around a [`Raft`]: a disk that can forget, a state machine, snapshots, and the
//! driver's duties in their order. Time and network are the tests' own.

#![allow(dead_code, unreachable_pub, reason = "shared by test binaries, of which each uses another part")]

pub mod directed;
pub mod lab;
pub mod show;
pub mod storm;
pub mod words;

use bytes::Bytes;
use seatrial_raft::{
    ChunkWanted, Config, Entry, HardState, Message, Options, Payload, Persist, Raft, ReadId, ReadReady,
    Restored, SnapshotMeta, SoftState, TimerRequest,
};
use seatrial_types::{LogIndex, MemberId, Term};
use std::collections::{BTreeMap, VecDeque};

/// What survives a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    pub hard_state: HardState,
    pub meta: SnapshotMeta,
    /// The state machine at `meta.index`.
    pub snapshot: Bytes,
    pub entries: Vec<Entry>,
}

impl Disk {
    pub fn fresh(config: Config) -> Self {
        Self { meta: SnapshotMeta { config, ..SnapshotMeta::default() }, ..Self::default() }
    }

    pub fn last_index(&self) -> LogIndex {
        self.entries.last().map_or(self.meta.index, |entry| entry.index)
    }

    fn write(&mut self, persist: &Persist) {
        if let Some(hard_state) = persist.hard_state {
            self.hard_state = hard_state;
        }
        if let Some(first) = persist.entries.first() {
            self.entries.retain(|entry| entry.index < first.index);
            // Entries which a snapshot has replaced meanwhile are not wanted back.
            let last = self.last_index();
            assert!(first.index <= last.next(), "a gap on disk: {} after {last}", first.index);
            self.entries.extend(persist.entries.iter().filter(|e| e.index > self.meta.index).cloned());
        }
    }

    fn install(&mut self, meta: SnapshotMeta, snapshot: Bytes) {
        self.hard_state.commit = self.hard_state.commit.max(meta.index);
        self.meta = meta;
        self.snapshot = snapshot;
        self.entries.clear();
    }
}

/// The state machine: the data of every entry applied, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub applied: LogIndex,
    pub values: Vec<Bytes>,
}

impl State {
    pub fn apply(&mut self, entry: &Entry) {
        assert_eq!(entry.index, self.applied.next(), "entries are applied in order, without a gap");
        self.applied = entry.index;
        if let Payload::Data(data) = &entry.payload {
            self.values.push(data.clone());
        }
    }

    /// Each value with its length before it.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = Vec::new();
        for value in &self.values {
            bytes.extend_from_slice(&(value.len() as u32).to_be_bytes());
            bytes.extend_from_slice(value);
        }
        bytes.into()
    }

    pub fn from_bytes(applied: LogIndex, mut bytes: Bytes) -> Self {
        let mut values = Vec::new();
        while !bytes.is_empty() {
            let length = bytes.split_to(4);
            let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
            values.push(bytes.split_to(length as usize));
        }
        Self { applied, values }
    }
}

/// A write on its way to the disk, with what may leave only when it is there.
#[derive(Clone, Debug)]
pub enum Write {
    Persist { persist: Option<Persist>, after: Vec<Message> },
    Install { meta: SnapshotMeta, snapshot: Bytes },
}

/// What became of a turn.
#[derive(Clone, Debug, Default)]
pub struct Turn {
    pub timers: Vec<TimerRequest>,
    pub messages: Vec<Message>,
    pub committed: Vec<Entry>,
    pub reads: Vec<ReadReady>,
    pub reads_dropped: Vec<ReadId>,
    pub soft: Vec<SoftState>,
    /// So many writes were begun.
    pub writes: usize,
    /// The state machine jumped here by a snapshot.
    pub installed: Option<SnapshotMeta>,
}

/// A running member.
#[derive(Clone, Debug)]
pub struct Node {
    pub raft: Raft,
    pub disk: Disk,
    pub writes: VecDeque<Write>,
    pub state: State,
    staged: Option<(SnapshotMeta, Vec<u8>)>,
    outgoing: BTreeMap<MemberId, (SnapshotMeta, Bytes)>,
    /// Snapshots are refused: `snapshot_unavailable`.
    pub no_snapshots: bool,
}

impl Node {
    pub fn start(options: Options, disk: Disk, lost_up_to: Option<LogIndex>) -> Self {
        let restored = Restored {
            hard_state: disk.hard_state,
            snapshot: disk.meta.clone(),
            entries: disk.entries.clone(),
            applied: disk.meta.index,
            lost_up_to,
        };
        Self {
            raft: Raft::new(options, restored),
            state: State::from_bytes(disk.meta.index, disk.snapshot.clone()),
            disk,
            writes: VecDeque::new(),
            staged: None,
            outgoing: BTreeMap::new(),
            no_snapshots: false,
        }
    }

    /// Does what is to be done, but for the disk.
    pub fn turn(&mut self) -> Turn {
        let mut turn = Turn::default();
        while let Some(ready) = self.raft.ready() {
            turn.timers.extend(ready.timers);
            turn.messages.extend(ready.messages);
            if ready.persist.is_some() || !ready.messages_after.is_empty() {
                if ready.persist.is_none() && self.writes.is_empty() {
                    turn.messages.extend(ready.messages_after);
                } else {
                    self.writes
                        .push_back(Write::Persist { persist: ready.persist, after: ready.messages_after });
                    turn.writes += 1;
                }
            }
            for chunk in ready.chunks_received {
                if chunk.offset == 0 {
                    self.staged = Some((chunk.meta.clone(), Vec::new()));
                }
                let (meta, bytes) = self.staged.as_mut().expect("a chunk beyond the first has a place");
                assert_eq!(*meta, chunk.meta, "chunks of one snapshot follow one another");
                assert_eq!(bytes.len() as u64, chunk.offset, "chunks come in order");
                bytes.extend_from_slice(&chunk.data);
                if chunk.done {
                    let (meta, bytes) = self.staged.take().expect("just filled");
                    self.writes.push_back(Write::Install { meta, snapshot: bytes.into() });
                    turn.writes += 1;
                }
            }
            for entry in ready.committed {
                self.state.apply(&entry);
                turn.committed.push(entry);
            }
            self.raft.applied(self.state.applied);
            turn.reads.extend(ready.reads);
            turn.reads_dropped.extend(ready.reads_dropped);
            turn.soft.extend(ready.soft_state);
            for wanted in ready.chunks_wanted {
                self.send_chunk(wanted);
            }
        }
        turn
    }

    fn send_chunk(&mut self, wanted: ChunkWanted) {
        let ChunkWanted { to, offset, index, bytes_max } = wanted;
        if self.no_snapshots {
            self.raft.snapshot_unavailable(to);
            return;
        }
        if offset == 0 {
            let meta =
                self.raft.snapshot_meta_at(self.state.applied).expect("applied entries are in the log");
            self.outgoing.insert(to, (meta, self.state.to_bytes()));
        }
        match self.outgoing.get(&to) {
            Some((meta, bytes))
                if index.is_none_or(|index| index == meta.index) && offset <= bytes.len() as u64 =>
            {
                let begin = offset as usize;
                let end = bytes.len().min(begin + bytes_max);
                let (meta, data, done) = (meta.clone(), bytes.slice(begin..end), end == bytes.len());
                self.raft.snapshot_chunk(to, meta, offset, data, done);
            }
            _ => self.raft.snapshot_unavailable(to),
        }
    }

    /// The oldest write reaches the disk, and Raft hears of it.
    pub fn finish_write(&mut self) -> Turn {
        let Some(write) = self.writes.pop_front() else { return Turn::default() };
        match write {
            Write::Persist { persist, after } => {
                if let Some(persist) = persist {
                    self.disk.write(&persist);
                    self.raft.persisted(persist.id);
                }
                // Sent before anything that follows from the write being durable.
                let mut turn = Turn { messages: after, ..Turn::default() };
                turn.add(self.turn());
                turn
            }
            Write::Install { meta, snapshot } => {
                self.disk.install(meta.clone(), snapshot.clone());
                self.state = State::from_bytes(meta.index, snapshot);
                self.raft.snapshot_installed(meta.clone());
                let mut turn = Turn { installed: Some(meta), ..Turn::default() };
                turn.add(self.turn());
                turn
            }
        }
    }

    /// All writes reach the disk.
    pub fn sync(&mut self) -> Turn {
        let mut turn = Turn::default();
        while !self.writes.is_empty() {
            turn.add(self.finish_write());
        }
        turn
    }

    /// What a crash leaves behind: the disk, with the oldest `finished` of the writes under way.
    pub fn crash(mut self, finished: usize) -> Disk {
        for write in self.writes.drain(..).take(finished) {
            match write {
                Write::Persist { persist: Some(persist), .. } => self.disk.write(&persist),
                Write::Persist { persist: None, .. } => {}
                Write::Install { meta, snapshot } => self.disk.install(meta, snapshot),
            }
        }
        self.disk
    }

    /// A snapshot of the state as it is takes the place of the log up to `index` (or what may go of it).
    pub fn compact(&mut self, index: LogIndex) -> LogIndex {
        let base = self.raft.compact(index);
        let start = self.raft.log_start();
        // The state at the log's start, from what is on the disk already.
        let mut state = State::from_bytes(self.disk.meta.index, self.disk.snapshot.clone());
        for entry in self.disk.entries.iter().filter(|entry| entry.index <= base) {
            state.apply(entry);
        }
        assert_eq!(state.applied, base, "what is compacted is durable");
        self.disk.snapshot = state.to_bytes();
        self.disk.meta = start;
        self.disk.entries.retain(|entry| entry.index > base);
        base
    }
}

impl Turn {
    pub fn add(&mut self, other: Turn) {
        self.timers.extend(other.timers);
        self.messages.extend(other.messages);
        self.committed.extend(other.committed);
        self.reads.extend(other.reads);
        self.reads_dropped.extend(other.reads_dropped);
        self.soft.extend(other.soft);
        self.writes += other.writes;
        self.installed = other.installed.or(self.installed.take());
    }
}

pub fn id(number: u64) -> MemberId {
    MemberId(number)
}

pub fn at(index: u64) -> LogIndex {
    LogIndex(index)
}

pub fn term(number: u64) -> Term {
    Term(number)
}

pub fn voters(numbers: &[u64]) -> Config {
    Config::of(numbers.iter().map(|number| MemberId(*number)))
}
