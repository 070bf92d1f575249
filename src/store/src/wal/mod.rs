//! The write-ahead log: what a member promised, before it says so.
//!
//! Records go into preallocated segments below `wal/`; a batch is one write, [`Wal::sync`] makes everything
//! written so far durable. Opening tells a torn tail (the unsynced end of a crash: cut, reported) from damage
//! in the middle (never cut silently: the intact part is kept, what was lost is named and remembered, the bytes
//! are kept aside), as Protocol-Aware Recovery asks (FAST 2018).
//!
//! Knows nothing of what entries mean; terms and indexes are only carried and compared.

mod format;
mod recover;

use bytes::Bytes;
use format::{HEADER_BYTES, Header};
use seatrial_types::buggify::{Site, hits};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::{ClusterId, LogIndex, MemberId, Term};
use seatrial_world::{Disk, DiskFile, OpenMode};
use std::collections::VecDeque;
use std::fmt;
use std::io;

/// The folder of the segments.
pub const WAL_DIR: &str = "wal";
/// Where damaged segments are kept aside.
pub const DAMAGED_DIR: &str = "wal/damaged";

/// How a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WalOptions {
    /// Whose log it is: a log of another cluster is refused.
    pub cluster_id: ClusterId,
    /// Whose log it is: a log of another member is refused.
    pub member_id: MemberId,
    /// Size of a segment; a batch that is larger gets a segment of its own size.
    pub segment_bytes: u64,
}

impl WalOptions {
    /// 64-MiB segments.
    #[must_use]
    pub fn new(cluster_id: ClusterId, member_id: MemberId) -> Self {
        Self { cluster_id, member_id, segment_bytes: 64 << 20 }
    }
}

/// What a member must never forget (Raft figure 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HardState {
    /// The newest term seen.
    pub term: Term,
    /// The vote in that term, or [`MemberId::NONE`].
    pub vote: MemberId,
    /// A commit index known; a hint.
    pub commit: LogIndex,
}

/// Up to here the state machine is durable by itself: entries up to `index` are no longer needed for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SnapshotMark {
    /// The last entry covered.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// The configuration in force there, as the caller encodes it.
    pub config: Bytes,
}

/// One thing to be remembered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// A log entry. Where its index is already in the log, it replaces that entry and all behind it.
    Entry {
        /// At most one above the last.
        index: LogIndex,
        /// The term of the leader that made it.
        term: Term,
        /// Not looked into.
        payload: Bytes,
    },
    /// The hard state from now on.
    HardState(HardState),
    /// Where the log has no entry of this index and term, all entries go: the log continues behind the mark.
    SnapshotMark(SnapshotMark),
    /// The log once held entries up to here which are gone; index 0 takes the remark back.
    LostUpTo(LogIndex),
}

/// For the fuzz targets: reads records.
#[doc(hidden)]
pub fn fuzz_records(bytes: &[u8]) {
    format::fuzz(bytes);
}

impl Record {
    /// Bytes it takes in the log.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        format::frame_bytes(self)
    }
}

/// An entry found in the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WalEntry {
    /// Its place.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// As written.
    pub payload: Bytes,
}

/// What opening the log found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Recovered {
    /// The newest known. After damage its `commit` is not beyond what is left.
    pub hard_state: HardState,
    /// The newest mark.
    pub snapshot: Option<SnapshotMark>,
    /// Without gaps. They may begin at or below the mark (whole segments are released, not entries) and follow it
    /// without a gap: the first index is at most `snapshot.index + 1`.
    pub entries: Vec<WalEntry>,
    /// What was cut, lost or tidied up.
    pub report: Vec<Finding>,
    /// Entries up to this index were once durable here and are lost, at this start or an earlier one: the
    /// member may have acknowledged them, so until its log has reached this index again (from its peers) it
    /// must neither vote nor campaign. (Where nothing readable is left behind the damage, the newest term and vote
    /// may be lost with it.) Taken back with [`Record::LostUpTo`] of index 0.
    pub lost_up_to: Option<LogIndex>,
}

impl Recovered {
    /// The last index the log reaches: of the last entry, or of the mark.
    #[must_use]
    pub fn last_index(&self) -> LogIndex {
        let mark = self.snapshot.as_ref().map_or(LogIndex::ZERO, |mark| mark.index);
        self.entries.last().map_or(mark, |entry| entry.index)
    }
}

/// Something opening the log came across. Its text is for the person who looks after the member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Finding {
    /// The unsynced end of a crash was cut off; nothing that was promised is gone.
    TornTail {
        /// File name.
        segment: String,
        /// Where the cut was made.
        offset: u64,
        /// Bytes that were not zero behind it.
        bytes: u64,
    },
    /// Durable records are unreadable or missing.
    Damage {
        /// File name of the segment in which the intact part ends.
        segment: String,
        /// Where it ends.
        offset: u64,
        /// What is wrong there.
        what: String,
        /// The last index that is left.
        last_intact: LogIndex,
        /// The highest index the log is known or suspected to have held.
        lost_up_to: LogIndex,
    },
    /// A segment's header is unreadable but all its records are there.
    HeaderUnreadable {
        /// File name.
        segment: String,
    },
    /// The leftover of a crash while a segment was being made.
    Leftover {
        /// File name; it is removed.
        segment: String,
    },
    /// Superseded by an earlier repair that a crash interrupted; moved aside.
    Superseded {
        /// File name.
        segment: String,
    },
}

impl Finding {
    /// Whether something that was promised is gone.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damage { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TornTail { segment, offset, bytes } => write!(
                f,
                "segment {segment}: the torn tail of a crash was cut at offset {offset} ({bytes} bytes, none of them ever acknowledged)"
            ),
            Self::Damage { segment, offset, what, last_intact, lost_up_to } => write!(
                f,
                "segment {segment}, offset {offset}: {what}; the log is intact up to index {last_intact}, entries {} to {lost_up_to} are lost. \
                 The damaged bytes are kept in {DAMAGED_DIR}; this member will not vote until its peers have sent it the lost entries\n\
                 hint: check the disk; if the peers cannot serve the entries, remove the member, empty its data folder and add it anew",
                last_intact.next()
            ),
            Self::HeaderUnreadable { segment } => {
                write!(
                    f,
                    "segment {segment}: the header is unreadable, all records are intact; nothing is lost"
                )
            }
            Self::Leftover { segment } => {
                write!(f, "segment {segment}: left over from a crash while it was being made; removed")
            }
            Self::Superseded { segment } => {
                write!(f, "segment {segment}: superseded by an earlier repair; moved to {DAMAGED_DIR}")
            }
        }
    }
}

/// Why the log cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalError {
    /// The disk refused. After a failed write or sync the log stays unusable: what is on disk is unknown.
    #[error("{what}: {text} ({kind:?})")]
    Io {
        /// What was being done.
        what: String,
        /// The system's kind of error.
        kind: io::ErrorKind,
        /// The system's words.
        text: String,
    },
    /// Somebody else's log.
    #[error("segment {segment} belongs to member {member:x} of cluster {cluster:x}\nhint: the data folder is another member's; check --data-dir and --name", member = .member.0, cluster = .cluster.0)]
    Foreign {
        /// File name.
        segment: String,
        /// Whose it is.
        cluster: ClusterId,
        /// Whose it is.
        member: MemberId,
    },
    /// Written by a newer program.
    #[error(
        "segment {segment} has format {found}; this program knows {known}\nhint: run a program at least as new as the one that wrote it"
    )]
    Format {
        /// File name.
        segment: String,
        /// The format found.
        found: u32,
        /// The format known.
        known: u32,
    },
    /// Only with a planted bug: a torn tail is taken for damage.
    #[error("segment {segment}, offset {offset}: bad record")]
    BadRecord {
        /// File name.
        segment: String,
        /// Where.
        offset: u64,
    },
}

impl WalError {
    pub(crate) fn io(what: impl Into<String>, error: &io::Error) -> Self {
        Self::Io { what: what.into(), kind: error.kind(), text: error.to_string() }
    }
}

/// A segment on disk.
#[derive(Clone, Debug)]
struct Segment {
    seq: u64,
    name: String,
    /// The highest index of an entry written into it, overwritten ones included.
    max_index: LogIndex,
}

/// An open write-ahead log.
pub struct Wal<D: Disk> {
    disk: D,
    options: WalOptions,
    file: D::File,
    /// Where the next record goes. Invariant: a multiple of 8, at most `capacity`.
    offset: u64,
    /// Everything before is durable. Invariant: at most `offset`.
    synced: u64,
    capacity: u64,
    seed: u32,
    chain: u32,
    hard_state: HardState,
    mark: Option<SnapshotMark>,
    lost: Option<LogIndex>,
    /// The segments that hold the newest record of these two kinds.
    mark_seq: u64,
    lost_seq: u64,
    last_index: LogIndex,
    /// The terms of the entries: first index of each run.
    terms: Vec<(LogIndex, Term)>,
    /// Oldest first; the last one is open.
    segments: VecDeque<Segment>,
    buffer: Vec<u8>,
    poisoned: Option<WalError>,
}

impl<D: Disk> fmt::Debug for Wal<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal")
            .field("segments", &self.segments)
            .field("offset", &self.offset)
            .field("last_index", &self.last_index)
            .field("hard_state", &self.hard_state)
            .finish_non_exhaustive()
    }
}

/// What follows what: the place behind which a new segment continues.
#[derive(Clone, Copy, Debug, Default)]
struct Joint {
    seq: u64,
    end: u64,
    crc: u32,
}

/// What a new segment begins with, so that older ones can be released.
#[derive(Clone, Copy, Debug)]
struct Carry<'a> {
    hard_state: HardState,
    mark: Option<&'a SnapshotMark>,
    lost: Option<LogIndex>,
}

/// A segment that was just made.
struct Made<F> {
    file: F,
    name: String,
    offset: u64,
    capacity: u64,
    chain: u32,
}

/// Makes a segment: its carried-over records durable first, then the header that makes it count, then its name.
fn make_segment<D: Disk>(
    disk: &D,
    options: &WalOptions,
    seq: u64,
    first_index: LogIndex,
    joint: Joint,
    carry: Carry<'_>,
    bytes_min: u64,
) -> Result<Made<D::File>, WalError> {
    let name = format::name(seq, first_index);
    let path = format!("{WAL_DIR}/{name}");
    let fail = |what: &str, error: &io::Error| WalError::io(format!("{what} {path}"), error);
    let seed = format::seed(options.cluster_id, options.member_id, seq);
    let mut records = Vec::new();
    let mut chain = joint.crc;
    chain = format::encode(&mut records, seed, chain, 0, &Record::HardState(carry.hard_state));
    if let Some(mark) = carry.mark {
        chain = format::encode(&mut records, seed, chain, 0, &Record::SnapshotMark(mark.clone()));
    }
    if let Some(lost) = carry.lost {
        chain = format::encode(&mut records, seed, chain, 0, &Record::LostUpTo(lost));
    }
    let offset = HEADER_BYTES + records.len() as u64;
    let capacity = options.segment_bytes.max(offset + bytes_min);
    let header = Header {
        cluster: options.cluster_id,
        member: options.member_id,
        seq,
        first_index,
        hard_state: carry.hard_state,
        prev_seq: joint.seq,
        prev_end: joint.end,
        prev_crc: joint.crc,
    };
    let file = disk.open(&path, OpenMode::CreateNew).map_err(|error| fail("making", &error))?;
    file.allocate(capacity).map_err(|error| fail("reserving space for", &error))?;
    file.write_at(HEADER_BYTES, &records).map_err(|error| fail("writing", &error))?;
    // The header comes last: where it is intact, what was carried over is durable too, so no crash can
    // leave a segment that supersedes an older one without what the older one knew.
    file.sync().map_err(|error| fail("syncing", &error))?;
    file.write_at(0, &header.encode()).map_err(|error| fail("writing the header of", &error))?;
    file.sync().map_err(|error| fail("syncing", &error))?;
    disk.sync_dir(WAL_DIR).map_err(|error| WalError::io(format!("syncing {WAL_DIR}"), &error))?;
    Ok(Made { file, name, offset, capacity, chain })
}

impl<D: Disk> Wal<D> {
    /// Opens the log below the disk's `wal/`, making it where there is none, repairs what a crash left and
    /// finds out what damage there is. Everything returned is durable.
    ///
    /// # Errors
    /// See [`WalError`]. A damaged log is no error: see [`Recovered::lost_up_to`] and [`Recovered::report`].
    pub fn open(disk: D, options: WalOptions) -> Result<(Self, Recovered), WalError> {
        recover::open(disk, options)
    }

    /// Writes a batch with one write (it is durable only after [`Wal::sync`]). The newest hard state goes with
    /// every batch, so that it is known even where earlier parts are damaged.
    ///
    /// # Errors
    /// The disk's. After a failed write the log is unusable and every later call returns the same error;
    /// where only the making of the next segment failed for lack of space, nothing has changed.
    ///
    /// # Panics
    /// Where an entry would leave a gap.
    pub fn append(&mut self, batch: &[Record]) -> Result<(), WalError> {
        self.usable()?;
        if batch.is_empty() {
            return Ok(());
        }
        let ends_with_state = matches!(batch.last(), Some(Record::HardState(_)));
        let state_bytes = format::frame_bytes(&Record::HardState(self.hard_state));
        let bytes: u64 = batch.iter().map(format::frame_bytes).sum::<u64>() + state_bytes;
        if self.offset + bytes > self.capacity || hits(Site::SegmentRolled) {
            self.rotate(bytes)?;
        }
        let seq = self.current().seq;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let mut chain = self.chain;
        for record in batch {
            self.note(record, seq);
            chain = format::encode(&mut buffer, self.seed, chain, self.synced, record);
        }
        if !ends_with_state {
            let state = Record::HardState(self.hard_state);
            chain = format::encode(&mut buffer, self.seed, chain, self.synced, &state);
        }
        let written = self.file.write_at(self.offset, &buffer);
        let length = buffer.len() as u64;
        buffer.shrink_to(1 << 20);
        self.buffer = buffer;
        self.chain = chain;
        self.offset += length;
        written.map_err(|error| self.poison("writing the log", &error))
    }

    /// Makes everything appended so far durable.
    ///
    /// # Errors
    /// The disk's; the log is then unusable for good: a second sync could report success for pages the
    /// system has thrown away (fsyncgate).
    pub fn sync(&mut self) -> Result<(), WalError> {
        self.usable()?;
        if self.synced < self.offset {
            let mut synced = self.file.sync();
            if synced.is_err() && is_planted(Planted::D04) {
                synced = self.file.sync();
            }
            synced.map_err(|error| self.poison("syncing the log", &error))?;
            self.synced = self.offset;
        }
        Ok(())
    }

    /// Removes whole segments with nothing above `up_to`. Returns how many went.
    ///
    /// # Errors
    /// The disk's.
    ///
    /// # Panics
    /// Where no mark covers `up_to`: the log would lose entries which the state machine still needs.
    pub fn release(&mut self, up_to: LogIndex) -> Result<usize, WalError> {
        self.usable()?;
        let mark = self.mark.as_ref().map_or(LogIndex::ZERO, |mark| mark.index);
        assert!(up_to <= mark, "release up to {up_to}, but the newest mark is at {mark}");
        let mut removed = 0;
        while let [first, _second, ..] = self.segments.make_contiguous() {
            let needed = first.max_index > up_to
                || first.seq >= self.mark_seq
                || (self.lost.is_some() && first.seq >= self.lost_seq);
            if needed {
                break;
            }
            // The mark in a younger segment must be durable before an older one goes.
            self.sync()?;
            let first = self.segments.pop_front().expect("there are two");
            let path = format!("{WAL_DIR}/{}", first.name);
            self.disk.remove(&path).map_err(|error| self.poison("removing a segment of the log", &error))?;
            // One sync for each: were a younger name gone and an older one still there after a crash, it
            // would look like a lost segment.
            self.disk.sync_dir(WAL_DIR).map_err(|error| self.poison("syncing wal/", &error))?;
            removed += 1;
        }
        Ok(removed)
    }

    /// The newest hard state appended or recovered.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// The last index the log reaches.
    #[must_use]
    pub fn last_index(&self) -> LogIndex {
        self.last_index
    }

    /// How many segments there are.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    fn usable(&self) -> Result<(), WalError> {
        self.poisoned.clone().map_or(Ok(()), Err)
    }

    fn poison(&mut self, what: &str, error: &io::Error) -> WalError {
        let error = WalError::io(what, error);
        self.poisoned = Some(error.clone());
        error
    }

    fn current(&self) -> &Segment {
        self.segments.back().expect("a log has at least one segment")
    }

    /// Keeps the bookkeeping: last index, terms, newest states.
    fn note(&mut self, record: &Record, seq: u64) {
        match record {
            Record::Entry { index, term, .. } => {
                let last = self.last_index;
                assert!(
                    index.0 >= 1 && *index <= last.next(),
                    "entry {index} after {last} would leave a gap in the log"
                );
                while self.terms.last().is_some_and(|(start, _)| start >= index) {
                    self.terms.pop();
                }
                if self.terms.last().is_none_or(|(_, last)| last != term) {
                    self.terms.push((*index, *term));
                }
                self.last_index = *index;
                let segment = self.segments.back_mut().expect("a log has at least one segment");
                segment.max_index = segment.max_index.max(*index);
            }
            Record::HardState(state) => self.hard_state = *state,
            Record::SnapshotMark(mark) => {
                let term = self.terms.iter().rev().find(|(start, _)| *start <= mark.index);
                let kept = mark.index <= self.last_index && term.is_none_or(|(_, term)| *term == mark.term);
                let repeated =
                    self.mark.as_ref().is_some_and(|old| (old.index, old.term) == (mark.index, mark.term));
                if !kept && !repeated {
                    self.last_index = mark.index;
                    self.terms.clear();
                }
                self.mark = Some(mark.clone());
                self.mark_seq = seq;
            }
            Record::LostUpTo(index) => {
                self.lost = Some(*index).filter(|index| *index != LogIndex::ZERO);
                self.lost_seq = seq;
            }
        }
    }

    /// Goes on in a new segment. The old one is durable first, so that the new one's existence proves it.
    fn rotate(&mut self, bytes_min: u64) -> Result<(), WalError> {
        self.sync()?;
        let old = self.current();
        let seq = old.seq + 1;
        let joint = Joint { seq: old.seq, end: self.offset, crc: self.chain };
        let carry = Carry { hard_state: self.hard_state, mark: self.mark.as_ref(), lost: self.lost };
        let first = self.last_index.next();
        let made = match make_segment(&self.disk, &self.options, seq, first, joint, carry, bytes_min) {
            Ok(made) => made,
            Err(WalError::Io { what, kind: io::ErrorKind::StorageFull, text }) => {
                if is_planted(Planted::D06) {
                    return Err(WalError::Io { what, kind: io::ErrorKind::StorageFull, text });
                }
                // Nothing is lost yet: the half-made file goes, the caller may free space and try again.
                let path = format!("{WAL_DIR}/{}", format::name(seq, first));
                match self.disk.remove(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(self.poison("removing a half-made segment", &error));
                    }
                    _ => {}
                }
                // Durably gone: were it to come back with its header after a crash, it would supersede
                // what is appended here from now on.
                if let Err(error) = self.disk.sync_dir(WAL_DIR) {
                    return Err(self.poison("syncing wal/", &error));
                }
                return Err(WalError::Io { what, kind: io::ErrorKind::StorageFull, text });
            }
            Err(error) => {
                self.poisoned = Some(error.clone());
                return Err(error);
            }
        };
        self.adopt(seq, made);
        Ok(())
    }

    fn adopt(&mut self, seq: u64, made: Made<D::File>) {
        self.segments.push_back(Segment { seq, name: made.name, max_index: LogIndex::ZERO });
        self.file = made.file;
        self.offset = made.offset;
        self.synced = made.offset;
        self.capacity = made.capacity;
        self.chain = made.chain;
        self.seed = format::seed(self.options.cluster_id, self.options.member_id, seq);
        self.mark_seq = seq;
        self.lost_seq = seq;
    }
}
