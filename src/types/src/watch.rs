//! Watches as values: what a client asks of its stream, and what comes back.

use crate::ids::Revision;
use crate::kv::{Event, EventKind, KeyRange};
use crate::request::Header;
use serde::{Deserialize, Serialize};

/// One client stream, which carries many watches. Drawn by the member that serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamId(pub u64);

/// One watch on a stream, unique there. [`WatchId::INVALID`] speaks of the stream as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WatchId(pub i64);

impl WatchId {
    /// Etcd's `InvalidWatchID`: refused creations and progress of the whole stream.
    pub const INVALID: Self = Self(-1);
}

/// What a client sends on its watch stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WatchRequest {
    /// Start a watch.
    Create(WatchCreate),
    /// End one.
    Cancel(WatchId),
    /// Ask how far the stream has come.
    Progress,
    /// Start a watch for somebody in particular.
    CreateAs(crate::auth::Caller, WatchCreate),
}

/// The options of a new watch (etcd API: WatchCreateRequest).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WatchCreate {
    /// Keys to watch.
    pub range: KeyRange,
    /// First revision wanted; 0 is "from now on". Below the compacted revision: created, then cancelled
    /// with `compact_revision`.
    pub start_revision: Revision,
    /// Send an empty answer now and then while nothing happens.
    pub progress_notify: bool,
    /// Kinds of events to leave out.
    pub filters: Vec<EventKind>,
    /// Attach the version before each change.
    pub prev_kv: bool,
    /// The id the client wants; 0 lets the member choose.
    pub watch_id: i64,
    /// Split large answers over several messages.
    pub fragment: bool,
}

/// What comes back on a watch stream (etcd API: WatchResponse).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WatchResponse {
    /// `header.revision` is what the watch has seen so far.
    pub header: Header,
    /// Which watch.
    pub watch_id: WatchId,
    /// This answers a `Create`.
    pub created: bool,
    /// The watch has ended; nothing more comes for it.
    pub canceled: bool,
    /// Why it ended, where it did.
    pub cancel_reason: String,
    /// The compacted revision, where the watch asked for something older; else 0.
    pub compact_revision: Revision,
    /// More of the same revision follows in the next message.
    pub fragment: bool,
    /// In order of revision; the events of one revision are never split unless `fragment`.
    pub events: Vec<Event>,
}

/// Bytes of events that weigh as much as one answer more.
const CREDIT_BYTES: usize = 64 << 10;

impl WatchResponse {
    /// What this answer takes of its stream's credit, and gives back once it was read: 0 where it answers a
    /// request of the client, else 1 and 1 more for every 64 KiB of keys and values. A window in answers alone
    /// would let a client that never reads hold as many of the largest transactions.
    #[must_use]
    pub fn credit(&self) -> u32 {
        if self.created || self.canceled || self.watch_id == WatchId::INVALID {
            return 0;
        }
        let kvs = self.events.iter().flat_map(|event| std::iter::once(&event.kv).chain(&event.prev_kv));
        let bytes: usize = kvs.map(|kv| kv.key.len() + kv.value.len()).sum();
        1 + u32::try_from(bytes / CREDIT_BYTES).unwrap_or(u32::MAX - 1)
    }
}
