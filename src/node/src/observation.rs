//! What a member lets its onlookers see: facts for oracles, reports and metrics, never read back.

use seatrial_raft::{Config, Entry, Role};
use seatrial_types::{LogIndex, MemberId, Revision, Term};
use std::time::Duration;

/// A fact about one member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Observation {
    /// The member started from its disk.
    Started {
        /// Its term as restored.
        term: Term,
        /// What the store holds.
        applied: LogIndex,
        /// The end of the log found.
        last_index: LogIndex,
    },
    /// Role, term or known leader changed.
    Role {
        /// Now.
        role: Role,
        /// Now.
        term: Term,
        /// [`MemberId::NONE`] where none is known.
        leader: MemberId,
    },
    /// An entry was applied.
    Applied {
        /// Its index.
        index: LogIndex,
        /// Its term.
        term: Term,
        /// CRC32C of its payload: members must agree on it at every index.
        checksum: u32,
        /// The store's revision afterwards.
        revision: Revision,
    },
    /// What the log holds from here on, as it is written: found at the start, or appended.
    Log {
        /// The entry before the first of them, where the log begins anew behind it; otherwise they follow what was told before,
        /// and replace what was told from their first index on.
        begin: Option<(LogIndex, Term)>,
        /// They.
        entries: Vec<Entry>,
    },
    /// Raft wants this term and vote made durable.
    HardState {
        /// The term.
        term: Term,
        /// The vote in it.
        vote: MemberId,
    },
    /// Entries up to here are durable on this member.
    Durable {
        /// Last durable index.
        index: LogIndex,
    },
    /// The whole state was replaced by a leader's snapshot.
    SnapshotInstalled {
        /// Up to where it goes.
        index: LogIndex,
        /// Its term.
        term: Term,
    },
    /// A snapshot was begun for a lagging member.
    SnapshotStarted {
        /// For whom.
        to: MemberId,
        /// Up to where it goes.
        index: LogIndex,
    },
    /// A snapshot was wholly sent.
    SnapshotSent {
        /// To whom.
        to: MemberId,
    },
    /// The backend has this on disk.
    Checkpointed {
        /// Applied index in the same transaction.
        applied: LogIndex,
    },
    /// The log was cut at its front.
    Compacted {
        /// Entries up to here are gone.
        index: LogIndex,
    },
    /// Recovery found something odd in the write-ahead log.
    Finding {
        /// One sentence.
        text: String,
        /// Whether something durable was lost (not a torn tail, which is normal after a crash).
        damage: bool,
    },
    /// A lease ran out on the leader, which now proposes its end.
    LeaseExpired {
        /// Which.
        lease: seatrial_types::LeaseId,
    },
    /// The store's file was written anew.
    Defragmented {
        /// Bytes it took.
        before: u64,
        /// Bytes it takes.
        after: u64,
    },
    /// The hash of everything at an entry that asked for it was taken.
    HashTaken {
        /// The entry.
        round: LogIndex,
        /// The hash.
        hash: u32,
    },
    /// Members do not hold the same.
    Corrupt {
        /// Whose data are damaged; [`MemberId::NONE`] where that cannot be told.
        members: Vec<MemberId>,
        /// One sentence.
        text: String,
    },
    /// Another configuration is in force: the newest in the log, committed or not.
    Config {
        /// The entry that brought it; where that was compacted, some entry before what is kept.
        index: LogIndex,
        /// That entry's term; 0 where it is not known any more.
        term: Term,
        /// It.
        config: Config,
        /// This member put it into the log, as the leader of that term.
        leads: bool,
    },
    /// The member heard that it was removed from the cluster; it ends.
    Removed,
    /// The member stops: it cannot go on safely.
    Failed {
        /// One sentence.
        why: String,
    },
}

/// A checksum of everything an entry says: equal entries, equal checksums.
#[must_use]
pub fn checksum(entry: &Entry) -> u32 {
    crc32c::crc32c(&postcard::to_extend(&entry.payload, Vec::new()).expect("entries always encode"))
}

/// Takes observations; called in the member's loop, so it must be quick.
pub trait Observer: Send + Sync + 'static {
    /// `at` is the member's own monotonic time.
    fn observe(&self, member: MemberId, at: Duration, observation: Observation);
}

/// Looks at nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blind;

impl Observer for Blind {
    fn observe(&self, _: MemberId, _: Duration, _: Observation) {}
}
