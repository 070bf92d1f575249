//! What a [`crate::Raft`] is told at its start.

use crate::message::{Config, Entry, HardState, SnapshotMeta};
use seatrial_types::{LogIndex, MemberId};
use std::time::Duration;

/// Settings that do not change while a member runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// This member.
    pub id: MemberId,
    /// Silence of a leader after which a campaign may begin; the campaign itself starts after a further
    /// random `0..=election_timeout`. At least 2 heartbeats; etcd's default is 1 s.
    pub election_timeout: Duration,
    /// Between heartbeats; etcd's default is 100 ms.
    pub heartbeat_interval: Duration,
    /// Bytes of entry data in one append (one entry goes always).
    pub append_bytes_max: usize,
    /// Appends on the way to one follower.
    pub inflight_max: usize,
    /// Bytes of proposals not yet committed, beyond which a leader refuses more; 0 is no limit.
    pub uncommitted_bytes_max: usize,
    /// Bytes in one chunk of a snapshot.
    pub chunk_bytes: usize,
    /// Every change of the configuration goes through a joint one, also where one step would do. It costs one more
    /// entry; both ways are safe, so members need not agree on it.
    pub joint_changes: bool,
}

impl Options {
    /// Etcd's defaults for this member.
    #[must_use]
    pub fn new(id: MemberId) -> Self {
        Self {
            id,
            election_timeout: Duration::from_millis(1000),
            heartbeat_interval: Duration::from_millis(100),
            append_bytes_max: 1 << 20,
            inflight_max: 256,
            uncommitted_bytes_max: 1 << 30,
            chunk_bytes: 256 << 10,
            joint_changes: false,
        }
    }
}

/// What a member found on its disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Restored {
    /// The last hard state.
    pub hard_state: HardState,
    /// Where the log begins: the last compacted entry with the configuration in force there. For a new
    /// cluster: index 0, term 0 and the initial configuration.
    pub snapshot: SnapshotMeta,
    /// Consecutive, from `snapshot.index + 1` on.
    pub entries: Vec<Entry>,
    /// Up to where the state machine is; at least `snapshot.index`.
    pub applied: LogIndex,
    /// Set where the disk lost entries this member had acknowledged: until its commit index is here (or
    /// an entry of a newer term than the one restored is committed), it neither votes nor campaigns, for
    /// it might help to elect a leader which lacks what it forgot (Protocol-Aware Recovery, FAST 2018).
    /// The driver keeps this durably, and gives it again at every start until
    /// [`crate::Raft::is_repairing`] says no.
    pub lost_up_to: Option<LogIndex>,
}

impl Restored {
    /// The empty disk of a member of a new cluster.
    #[must_use]
    pub fn fresh(config: Config) -> Self {
        Self { snapshot: SnapshotMeta { config, ..SnapshotMeta::default() }, ..Self::default() }
    }
}
