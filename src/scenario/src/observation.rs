//! What a member tells of itself while it runs, for the oracles.
//!
//! Members know nothing of oracles: they hand facts to a hook, and the world's side of the testbed puts
//! member, incarnation and time to them. Everything here is a fact in the past tense.

use crate::format::spec::During;
use seatrial_types::{LeaseId, LogIndex, MemberId, Revision, Term};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// A member's role in its term, as the oracles see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "Raft's own words")]
pub enum Role {
    Follower,
    PreCandidate,
    Candidate,
    Leader,
}

/// One fact about one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Observation {
    /// It has recovered from its disk and serves.
    Started {
        /// Its term.
        term: Term,
        /// Applied so far.
        applied: LogIndex,
    },
    /// Its disk could not be recovered from.
    BootFailed {
        /// The error.
        error: String,
    },
    /// Role, term or known leader changed.
    Role {
        /// The term.
        term: Term,
        /// The role in it.
        role: Role,
        /// The leader it knows, or [`MemberId::NONE`].
        leader: MemberId,
    },
    /// An entry was applied to the state machine.
    Applied {
        /// Its index.
        index: LogIndex,
        /// Its term.
        term: Term,
        /// A checksum of its whole payload: equal entries, equal checksums.
        checksum: u32,
        /// The store's revision after it.
        revision: Revision,
    },
    /// What its log holds from here on, as it is written: found at its start, or appended.
    Log {
        /// Where the log begins anew: the index and term of the entry before. Otherwise what follows replaces what was told from
        /// its first index on.
        begin: Option<(LogIndex, Term)>,
        /// The first one's index.
        first: LogIndex,
        /// Term and checksum of each: equal entries, equal checksums.
        entries: Vec<(Term, u32)>,
    },
    /// Entries up to here are durable on this member.
    Durable {
        /// The last durable index.
        index: LogIndex,
    },
    /// A snapshot was begun for a member that lags.
    SnapshotStarted {
        /// For whom.
        to: MemberId,
        /// What it covers.
        index: LogIndex,
    },
    /// A snapshot from the leader replaced the whole state.
    SnapshotInstalled {
        /// What it covers.
        index: LogIndex,
        /// That entry's term.
        term: Term,
    },
    /// The log was compacted up to an index.
    LogCompacted {
        /// The new beginning.
        index: LogIndex,
    },
    /// Recovery found something odd in the write-ahead log.
    Finding {
        /// One sentence.
        text: String,
        /// Something durable was lost; otherwise a torn tail was cut, which is normal after a crash.
        damage: bool,
    },
    /// Members do not hold the same, as the leader that compared says.
    Corrupt {
        /// The machines of whose data are damaged; [`MemberId::NONE`] where that cannot be told.
        members: Vec<MemberId>,
        /// One sentence.
        text: String,
    },
    /// It does not start, for its peers hold something else.
    Inconsistent {
        /// One sentence.
        text: String,
    },
    /// The testbed has changed a value in its store, which is about to start.
    Damaged {
        /// The change whose value is another now.
        revision: Revision,
    },
    /// The testbed has taken that back.
    Repaired,
    /// A lease ran out on the leader, which now proposes its end.
    LeaseExpired {
        /// Which.
        lease: LeaseId,
    },
    /// Another configuration is in force at it: the newest in its log, committed or not.
    Config {
        /// Its own id in the cluster: machines may have one member after the other. Ids here are the cluster's.
        id: MemberId,
        /// The entry that brought it.
        index: LogIndex,
        /// That entry's term; 0 where it is not known any more.
        term: Term,
        /// Who votes.
        voters: BTreeSet<MemberId>,
        /// Who votes in the other half of a joint configuration.
        outgoing: BTreeSet<MemberId>,
        /// Who only listens.
        learners: BTreeSet<MemberId>,
        /// It put the entry into the log, as the leader of that term.
        leads: bool,
    },
    /// It heard that it was removed from the cluster, and ends.
    Removed,
    /// It stopped by itself: a failed sync, a full disk.
    Failed {
        /// One sentence.
        why: String,
    },
    /// A line of its log that a person should see.
    Said {
        /// `warn` or `error`.
        level: String,
        /// The text.
        text: String,
    },
}

impl During {
    /// The member a state is about, where this is its beginning.
    #[must_use]
    pub fn involves(self, seen: &Observed) -> Option<MemberId> {
        match (self, &seen.what) {
            (Self::Election, Observation::Role { role: Role::PreCandidate | Role::Candidate, .. })
            | (Self::LeaderChange, Observation::Role { role: Role::Leader, .. })
            | (Self::Compaction, Observation::LogCompacted { .. })
            | (Self::MembershipChange, Observation::Config { leads: true, .. })
            | (Self::LeaseExpiry, Observation::LeaseExpired { .. }) => Some(seen.member),
            (Self::Restart, Observation::Started { .. }) if seen.incarnation > 0 => Some(seen.member),
            (Self::Snapshot, Observation::SnapshotStarted { to, .. }) => Some(*to),
            _ => None,
        }
    }
}

/// A fact with its witness and time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// World time.
    pub at: Duration,
    /// Who.
    pub member: MemberId,
    /// Counts the member's starts, from 0.
    pub incarnation: u32,
    /// What.
    pub what: Observation,
}
