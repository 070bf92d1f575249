//! What a [`crate::Raft`] wants done, as a value.

use crate::message::{Entry, HardState, Message, ReadId, SnapshotMeta};
use bytes::Bytes;
use seatrial_types::{LogIndex, MemberId, Term};
use std::time::Duration;

/// Numbers the things to be made durable; the driver reports them back in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersistId(pub u64);

/// The timers Raft asks for. At most one of each runs; setting one again replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// No word of a leader for the election timeout: the leader lease is over, a campaign may follow.
    LeaderSilent,
    /// Start a campaign: the random part of the election timeout.
    Campaign,
    /// The leader's heartbeat.
    Heartbeat,
    /// The leader looks whether a quorum still answers (thesis §6.2).
    QuorumCheck,
}

/// Start, move or stop a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimerRequest {
    /// Fire after a duration drawn evenly from `min..=max`.
    Set {
        /// Which one.
        timer: Timer,
        /// Shortest.
        min: Duration,
        /// Longest.
        max: Duration,
    },
    /// Do not fire.
    Cancel(Timer),
}

/// Something to be made durable, all of it or, after a crash, any prefix of the sequence of `Persist`s.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Persist {
    /// To report back with [`crate::Raft::persisted`].
    pub id: PersistId,
    /// The new hard state, where it changed.
    pub hard_state: Option<HardState>,
    /// Append these. Where the first one's index is already in the durable log, that entry and all behind
    /// it are replaced.
    pub entries: Vec<Entry>,
}

/// A snapshot chunk to be put into a staging place for the snapshot `meta`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChunkReceived {
    /// The leader that sends it.
    pub from: MemberId,
    /// Which snapshot. A new one (other index or term) discards what was staged before.
    pub meta: SnapshotMeta,
    /// Always the next byte wanted: the staging place has exactly `offset` bytes.
    pub offset: u64,
    /// The bytes.
    pub data: Bytes,
    /// The snapshot is complete with these: install it, make it durable, then call
    /// [`crate::Raft::snapshot_installed`].
    pub done: bool,
}

/// A follower needs a piece of the state machine; answer with [`crate::Raft::snapshot_chunk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChunkWanted {
    /// For whom.
    pub to: MemberId,
    /// From which byte on. 0 starts a new snapshot: take it of the state applied now.
    pub offset: u64,
    /// The snapshot's index, where it is already under way.
    pub index: Option<LogIndex>,
    /// At most so many bytes.
    pub bytes_max: usize,
}

/// A linearizable read may be served once `index` is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReadReady {
    /// As given to [`crate::Raft::read_index`].
    pub id: ReadId,
    /// Apply up to here first.
    pub index: LogIndex,
}

/// Everything that is to be done now. The order of duties:
/// 1. set the timers;
/// 2. send `messages` at once (a leader may send appends while its own write is in flight: thesis
///    §10.2.1);
/// 3. make `persist` durable; only when it *and every earlier one* is, send `messages_after` and call
///    [`crate::Raft::persisted`];
/// 4. apply `committed` in index order, then call [`crate::Raft::applied`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ready {
    /// In this order.
    pub timers: Vec<TimerRequest>,
    /// May leave now.
    pub messages: Vec<Message>,
    /// To be made durable.
    pub persist: Option<Persist>,
    /// May leave only when everything up to and including `persist` is durable (where `persist` is
    /// `None`: everything handed out before).
    pub messages_after: Vec<Message>,
    /// Committed entries not handed out before. A follower's may not be durable here yet; a quorum has
    /// them.
    pub committed: Vec<Entry>,
    /// Reads whose index is known.
    pub reads: Vec<ReadReady>,
    /// Reads that were lost with the leadership or the leader: ask again or refuse.
    pub reads_dropped: Vec<ReadId>,
    /// Chunks of snapshots to be sent.
    pub chunks_wanted: Vec<ChunkWanted>,
    /// Chunks that arrived.
    pub chunks_received: Vec<ChunkReceived>,
    /// Leader, term or role changed.
    pub soft_state: Option<SoftState>,
}

/// What a member knows of the leadership; need not be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SoftState {
    /// The leader, or [`MemberId::NONE`].
    pub leader: MemberId,
    /// The term.
    pub term: Term,
    /// This member's role.
    pub role: Role,
}

/// A member's role in its term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Follows a leader, or waits for one.
    #[default]
    Follower,
    /// Asks whether it would be elected (thesis §9.6).
    PreCandidate,
    /// Campaigns.
    Candidate,
    /// Leads.
    Leader,
}
