//! What a member is told at its start.

use seatrial_raft as raft;
use seatrial_types::MemberId;
use std::time::Duration;

/// Settings that do not change while a member runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MemberOptions {
    /// This member's name.
    pub name: String,
    /// Where clients reach it, as told to the cluster.
    pub client_urls: Vec<String>,
    /// Drawn anew at each start, so that ids of this run meet none of an earlier one.
    pub boot: u32,
    /// Raft's settings.
    pub raft: raft::Options,
    /// Longest time between applying and writing to the backend. The log holds what is not there yet.
    pub checkpoint_interval: Duration,
    /// Entries applied after which the backend is written at once.
    pub checkpoint_entries: u64,
    /// Bytes applied after which the backend is written at once, where it is not being written already.
    pub checkpoint_bytes: usize,
    /// Bytes applied and not yet in the backend, beyond which this member proposes nothing more: its disk is slower than
    /// its clients, and memory is not without end.
    pub pending_bytes_max: usize,
    /// Entries kept behind the applied index for members that lag a little.
    pub catch_up_entries: u64,
    /// Bytes of entries kept in memory: where they are large, fewer are kept for members that lag.
    pub catch_up_bytes: usize,
    /// The log is cut when this many entries more than `catch_up_entries` have gathered.
    pub compact_entries: u64,
    /// How long a request waits for its answer.
    pub request_timeout: Duration,
    /// After how long reads and forwarded requests are sent again.
    pub retry_interval: Duration,
    /// Between reports to idle watchers that asked for them.
    pub watch_progress_interval: Duration,
    /// What may wait to be read on one watch stream, in units of `WatchResponse::credit`; at least 1.
    pub watch_window: usize,
    /// How much history is kept by itself; all of it where there is none.
    pub auto_compaction: Option<super::AutoCompaction>,
    /// Bytes the backend's file may take before writes are refused; 0 is no limit.
    pub quota_bytes: u64,
    /// Between comparisons of what the members hold; none where there is none.
    pub corrupt_check_interval: Option<Duration>,
    /// After how long what is left of a lease is written into the log; never where there is none.
    pub lease_checkpoint_interval: Option<Duration>,
    /// Requests waiting at once, beyond which more are refused.
    pub waiting_max: usize,
    /// How long a token lives after its last use.
    pub auth_token_ttl: Duration,
}

impl MemberOptions {
    /// Etcd's defaults.
    #[must_use]
    pub fn new(id: MemberId, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            client_urls: Vec::new(),
            boot: 1,
            raft: raft::Options::new(id),
            checkpoint_interval: Duration::from_millis(500),
            checkpoint_entries: 10_000,
            checkpoint_bytes: 32 << 20,
            pending_bytes_max: 256 << 20,
            catch_up_entries: 5_000,
            catch_up_bytes: 32 << 20,
            compact_entries: 5_000,
            request_timeout: Duration::from_secs(7),
            retry_interval: Duration::from_millis(500),
            watch_progress_interval: Duration::from_secs(600),
            watch_window: crate::WATCH_WINDOW,
            auto_compaction: None,
            quota_bytes: 2 << 30,
            corrupt_check_interval: None,
            lease_checkpoint_interval: None,
            waiting_max: 100_000,
            auth_token_ttl: Duration::from_secs(300),
        }
    }

    /// The shortest time to live a lease is granted, in seconds: half as long again as the election timeout,
    /// so that a change of leader alone cannot end it (etcd: `minTTL`).
    #[must_use]
    pub fn lease_ttl_min(&self) -> i64 {
        let ms = self.raft.election_timeout.as_millis() as i64 * 3 / 2;
        (ms + 999) / 1000
    }
}
