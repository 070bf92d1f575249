//! Entries and messages: what goes into the log, and what members say to each other.

use bytes::Bytes;
use seatrial_types::{LogIndex, MemberId, Term};
use serde::{Deserialize, Serialize};

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The term of the leader that made it.
    pub term: Term,
    /// Its place in the log.
    pub index: LogIndex,
    /// What it holds.
    pub payload: Payload,
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Payload {
    /// A new leader's first entry (Raft §8): it commits what older terms left behind.
    Noop,
    /// The state machine's business; Raft does not look inside.
    Data(Bytes),
    /// A change of the configuration, in force from the moment it is in the log (Raft §6).
    Config(ConfigEntry),
}

/// A configuration in the log, with a context for the state machine (for example a member's addresses).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConfigEntry {
    /// The whole configuration in force from this entry on.
    pub config: Config,
    /// Not looked at by Raft; delivered with the entry when it is applied.
    pub context: Bytes,
}

/// Who votes and who listens (Raft §6, thesis §4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Config {
    /// The voters; in a joint configuration the incoming ones.
    pub voters: std::collections::BTreeSet<MemberId>,
    /// The outgoing voters; not empty exactly in a joint configuration, in which both halves must agree.
    pub outgoing: std::collections::BTreeSet<MemberId>,
    /// Members that receive the log without a vote. Never in `voters` or `outgoing`.
    pub learners: std::collections::BTreeSet<MemberId>,
    /// Voters of `outgoing` that become learners when the joint configuration is left.
    pub learners_next: std::collections::BTreeSet<MemberId>,
    /// The leader leaves the joint configuration by itself once it is committed.
    pub auto_leave: bool,
}

/// One step of a change of configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConfigStep {
    /// Make it a voter (new, or promoted from learner).
    AddVoter(MemberId),
    /// Make it a learner (new, or demoted from voter).
    AddLearner(MemberId),
    /// Remove it.
    Remove(MemberId),
}

/// A change of configuration as it is proposed: one voter changed goes in one step (thesis §4.1), more go
/// through a joint configuration that is left automatically (Raft §6).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConfigChange {
    /// All take effect together.
    pub steps: Vec<ConfigStep>,
    /// See [`ConfigEntry::context`].
    pub context: Bytes,
}

/// What a member must never forget (Raft figure 2, "persistent state").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HardState {
    /// The newest term it has seen.
    pub term: Term,
    /// Whom it voted for in that term, or [`MemberId::NONE`].
    pub vote: MemberId,
    /// A commit index it has known. Only a hint for faster starts: losing its advance is harmless.
    pub commit: LogIndex,
}

/// What a snapshot covers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// The last entry it replaces.
    pub index: LogIndex,
    /// That entry's term.
    pub term: Term,
    /// The configuration in force there.
    pub config: Config,
}

/// A read waiting for its index; drawn by the member that asks, unique there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReadId(pub u64);

/// A message from one member to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Who says it.
    pub from: MemberId,
    /// To whom.
    pub to: MemberId,
    /// The sender's term. In a pre-vote request: the term it would campaign in.
    pub term: Term,
    /// What is said.
    pub body: Body,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Body {
    /// "Would you vote for me in this term?" (thesis §9.6). Changes nobody's state.
    PreVote {
        /// The candidate's last entry.
        last_index: LogIndex,
        /// And its term.
        last_term: Term,
    },
    /// The answer; `term` of the message is the asked one where granted, else the voter's own.
    PreVoteAnswer {
        /// Yes or no.
        granted: bool,
    },
    /// "Vote for me" (Raft §5.2).
    Vote {
        /// The candidate's last entry.
        last_index: LogIndex,
        /// And its term.
        last_term: Term,
        /// The leader asked for this election (thesis §3.10): the voter's leader lease does not count.
        transfer: bool,
    },
    /// The answer.
    VoteAnswer {
        /// Yes or no.
        granted: bool,
    },
    /// Entries, or none to probe (Raft §5.3).
    Append {
        /// The entry before the first one here.
        prev_index: LogIndex,
        /// And its term.
        prev_term: Term,
        /// Consecutive, from `prev_index + 1` on.
        entries: Vec<Entry>,
        /// The leader's commit index.
        commit: LogIndex,
    },
    /// The log matches the leader's up to here, durably.
    AppendAccepted {
        /// Index of the last matching entry.
        matched: LogIndex,
    },
    /// The entry at `prev_index` is missing or of another term.
    AppendRejected {
        /// The `prev_index` refused.
        rejected: LogIndex,
        /// The follower's best guess where both logs might agree.
        hint_index: LogIndex,
        /// The term of that entry in the follower's log.
        hint_term: Term,
    },
    /// The leader lives; also one round of ReadIndex (thesis §6.4).
    Heartbeat {
        /// Never beyond what the follower is known to hold.
        commit: LogIndex,
        /// Counts the leader's rounds; the answer repeats it.
        round: u64,
    },
    /// The answer.
    HeartbeatAnswer {
        /// Of which round.
        round: u64,
    },
    /// One chunk of a snapshot (Raft §7).
    Snapshot {
        /// Which snapshot.
        meta: SnapshotMeta,
        /// Place of the first byte of `data` in the whole.
        offset: u64,
        /// The bytes.
        data: Bytes,
        /// This is the last chunk.
        done: bool,
    },
    /// How far the follower has received a snapshot.
    SnapshotAnswer {
        /// Which one (its index).
        index: LogIndex,
        /// The next byte it wants. Ignored where `installed`.
        offset: u64,
        /// It is complete and durable.
        installed: bool,
    },
    /// "Campaign at once" (thesis §3.10).
    TimeoutNow,
    /// Proposals that a follower forwards to the leader.
    Propose {
        /// Data of the entries wanted.
        data: Vec<Bytes>,
    },
    /// A change of configuration that a follower forwards to the leader.
    ProposeConfig {
        /// The change.
        change: ConfigChange,
    },
    /// A follower asks for the index a linearizable read must wait for.
    ReadIndex {
        /// The follower's id for it.
        id: ReadId,
    },
    /// The answer.
    ReadIndexAnswer {
        /// As asked.
        id: ReadId,
        /// Apply up to here, then read.
        index: LogIndex,
    },
}
