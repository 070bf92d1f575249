//! One member: its core, its disk, and what it has given out to be made durable.

use crate::check::fingerprint;
use seatrial_raft::{
    Entry, HardState, Message, Options, Persist, Raft, ReadReady, Restored, Role, Timer, TimerRequest,
};
use seatrial_types::{LogIndex, MemberId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};

/// What a disk keeps over a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Durable {
    /// The last hard state.
    pub hard: HardState,
    /// The log, from its first entry on.
    pub log: Vec<Entry>,
}

/// Something on its way to the disk, and the messages that wait for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sync {
    /// What is written; nothing where the messages wait for what was written before.
    pub persist: Persist,
    /// Leave once it is durable.
    pub after: Vec<Message>,
}

/// A member. It is compared and hashed by a hash of its parts that is made once for each change.
#[derive(Clone, Debug)]
pub struct Node {
    /// Which one.
    pub id: MemberId,
    /// Its core; none while it is down.
    pub raft: Option<Raft>,
    /// What a crash leaves.
    pub durable: Durable,
    /// What a crash may take, the oldest first.
    pub syncs: VecDeque<Sync>,
    /// The timers that are set.
    pub timers: BTreeSet<Timer>,
    hash: u64,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Node {}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// What came out of a member at one step.
#[derive(Clone, Debug, Default)]
pub(super) struct Output {
    pub(super) messages: Vec<Message>,
    pub(super) committed: Vec<Entry>,
    pub(super) reads: Vec<ReadReady>,
}

impl Node {
    /// A member of a new cluster of these voters.
    pub(super) fn fresh(id: MemberId, voters: &BTreeSet<MemberId>) -> (Self, Output) {
        let (raft, durable) = (None, Durable::default());
        let mut node = Self { id, raft, durable, syncs: VecDeque::new(), timers: BTreeSet::new(), hash: 0 };
        let output = node.start(voters);
        (node, output)
    }

    /// It starts over its disk.
    pub(super) fn start(&mut self, voters: &BTreeSet<MemberId>) -> Output {
        let config = seatrial_raft::Config { voters: voters.clone(), ..Default::default() };
        let restored = Restored {
            hard_state: self.durable.hard,
            entries: self.durable.log.clone(),
            ..Restored::fresh(config)
        };
        self.raft = Some(Raft::new(Options::new(self.id), restored));
        self.settle()
    }

    /// It dies; the first `kept` of its writes under way have reached the disk.
    pub(super) fn crash(&mut self, kept: usize) {
        for sync in self.syncs.drain(..).take(kept) {
            self.durable.take(&sync.persist);
        }
        self.raft = None;
        self.timers.clear();
        self.seal();
    }

    /// Its oldest write is durable.
    pub(super) fn synced(&mut self) -> Output {
        let sync = self.syncs.pop_front().expect("asked for where there is one");
        self.durable.take(&sync.persist);
        self.core().persisted(sync.persist.id);
        let mut output = self.settle();
        output.messages.splice(0..0, sync.after);
        output
    }

    /// Its core takes an input.
    pub(super) fn input(&mut self, input: impl FnOnce(&mut Raft)) -> Output {
        input(self.core());
        self.settle()
    }

    /// A timer fires.
    pub(super) fn fire(&mut self, timer: Timer) -> Output {
        self.timers.remove(&timer);
        self.core().fire(timer);
        self.settle()
    }

    /// The first of the committed entries that a leader lacks: one of an earlier term than it leads in, for an old leader that nobody
    /// has told of the next need not have what that one committed (Raft §5.4.3).
    pub(super) fn missing<'a>(&self, chosen: &'a BTreeMap<LogIndex, Entry>) -> Option<&'a Entry> {
        let raft = self.raft.as_ref().filter(|raft| raft.role() == Role::Leader)?;
        let is_missing = |entry: &&Entry| {
            entry.term < raft.term() && raft.term_at(entry.index).is_none_or(|term| term != entry.term)
        };
        chosen.values().find(is_missing)
    }

    fn core(&mut self) -> &mut Raft {
        self.raft.as_mut().expect("asked for where it is up")
    }

    /// Carries out what the core wants, as the driver of a member does.
    fn settle(&mut self) -> Output {
        let mut output = Output::default();
        while let Some(ready) = self.core().ready() {
            for request in ready.timers {
                match request {
                    TimerRequest::Set { timer, .. } => self.timers.insert(timer),
                    TimerRequest::Cancel(timer) => self.timers.remove(&timer),
                };
            }
            output.messages.extend(ready.messages);
            match (ready.persist, self.syncs.back_mut()) {
                (Some(persist), _) => self.syncs.push_back(Sync { persist, after: ready.messages_after }),
                (None, Some(last)) => last.after.extend(ready.messages_after),
                (None, None) => output.messages.extend(ready.messages_after),
            }
            if let Some(last) = ready.committed.last() {
                self.core().applied(last.index);
            }
            output.committed.extend(ready.committed);
            output.reads.extend(ready.reads);
        }
        self.core().check();
        self.seal();
        output
    }

    pub(super) fn seal(&mut self) {
        self.hash = fingerprint(&(&self.raft, &self.durable, &self.syncs, &self.timers));
    }
}

impl Durable {
    fn take(&mut self, persist: &Persist) {
        if let Some(hard) = persist.hard_state {
            self.hard = hard;
        }
        if let Some(first) = persist.entries.first() {
            self.log.retain(|entry| entry.index < first.index);
            self.log.extend(persist.entries.iter().cloned());
        }
    }

    /// The entry of this index.
    #[must_use]
    pub fn entry(&self, index: LogIndex) -> Option<&Entry> {
        self.log.iter().find(|entry| entry.index == index)
    }
}
