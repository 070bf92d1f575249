//! What wakes a member, and what it wants done. Reading [`Input`] tells everything that can happen to it.

use crate::observation::Observation;
use crate::peer::PeerMessage;
use crate::proposal::RequestId;
use seatrial_raft as raft;
use seatrial_store::{Batch, BatchId, Reading, V2Output};
use seatrial_types::v2::{V2Error, V2Watch, V2WatchId, V2Watching};
use seatrial_types::watch::{StreamId, WatchRequest, WatchResponse};
use seatrial_types::{Error, MemberId, Request, Response};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Everything that can happen to a member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// A peer says something.
    Peer(PeerMessage),
    /// The connection to a peer failed: what was on its way may be lost.
    PeerUnreachable(MemberId),
    /// A peer's *process* closed its connection to us: it has probably died.
    PeerReset(MemberId),
    /// A timer ran out.
    Timer(Timer),
    /// A client asks.
    Request {
        /// Drawn by the driver; larger than every one before.
        id: RequestId,
        /// What.
        request: Request,
    },
    /// A client opens a watch stream.
    WatchOpen(StreamId),
    /// A client says something on it.
    Watch {
        /// Which stream.
        stream: StreamId,
        /// What.
        request: WatchRequest,
    },
    /// The stream can take so much more, in units of [`WatchResponse::credit`].
    WatchCredit {
        /// Which stream.
        stream: StreamId,
        /// How much.
        count: usize,
    },
    /// The stream is gone.
    WatchClose(StreamId),
    /// A client begins to wait for changes of the v2 key space.
    V2Watch {
        /// Drawn by the driver; never used before.
        id: V2WatchId,
        /// For what.
        watch: V2Watch,
    },
    /// It waits no longer.
    V2Close(V2WatchId),
    /// Every [`LogWrite`] up to and including the one with this id is durable.
    Persisted(raft::PersistId),
    /// This batch of the backend is durable.
    Committed(BatchId),
    /// [`Output::Defragment`] was done; or there was no room on the disk, and nothing has changed.
    Defragmented(Result<(), String>),
    /// A peer says that this member was removed from the cluster.
    Removed,
    /// Answer what waits and ask nothing more.
    Stop,
}

/// The timers of a member. At most one of each runs; setting it again replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Raft's own.
    Raft(raft::Timer),
    /// The first waiting request runs out of time.
    RequestTimeout,
    /// Ask again for what may have been lost on the way: reads and forwarded requests.
    Retry,
    /// The next lease runs out (leader only).
    Lease,
    /// Write what was applied into the backend.
    Checkpoint,
    /// Go on with background work: compaction, watchers that catch up.
    Background,
    /// Tell idle watchers how far the store is.
    WatchProgress,
    /// Look whether history is to be forgotten.
    AutoCompact,
    /// Compare what the members hold.
    HashCheck,
    /// Move the clock of the v2 key space (leader only).
    V2Tick,
}

/// One step of the write-ahead log, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogWrite {
    /// Raft's entries and hard state; reported back with [`Input::Persisted`].
    Append(raft::Persist),
    /// The log begins behind this point; what it covers may be released. Not reported back.
    Release(raft::SnapshotMeta),
    /// The log is dropped as a whole and begins anew behind this point (a snapshot was installed).
    Restart(raft::SnapshotMeta),
    /// The entry with which a member goes on alone, and the term it begins. Not reported back.
    Alone(raft::Entry, raft::HardState),
    /// An operator has accepted that acknowledged entries are gone: do not remember it any longer.
    ForgetLoss,
}

/// Everything a member wants done. `V` is a pinned view of its store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output<V> {
    /// Say this to a peer; may be lost.
    Send(PeerMessage),
    /// Write this into the log, in order.
    Log(LogWrite),
    /// Write this into the backend as one transaction, in order; reported back with [`Input::Committed`].
    Commit(Batch),
    /// Write the backend's file anew, behind the batches before; reported back with [`Input::Defragmented`].
    Defragment,
    /// The answer to a request.
    Answer {
        /// Which request.
        id: RequestId,
        /// What.
        result: Result<Response, Error>,
    },
    /// Read this apart from the member, and answer the request with it. Who asks for so much may wait for it; the others
    /// may not.
    Read {
        /// Which request.
        id: RequestId,
        /// What.
        reading: Box<Reading<V>>,
    },
    /// An answer on a watch stream.
    Watch {
        /// Which stream.
        stream: StreamId,
        /// What.
        response: WatchResponse,
    },
    /// Whether one who waits for changes of the v2 key space may; what is told comes behind this.
    V2Watching {
        /// Who.
        id: V2WatchId,
        /// From where on, or why not.
        result: Result<V2Watching, V2Error>,
    },
    /// For one who waits for changes of the v2 key space.
    V2(V2Output),
    /// Fire this timer after a duration drawn evenly from `min..=max`.
    SetTimer {
        /// Which.
        timer: Timer,
        /// Shortest.
        min: Duration,
        /// Longest.
        max: Duration,
    },
    /// Do not fire it.
    CancelTimer(Timer),
    /// These are the peers from now on, and where they are heard; and who is none any more.
    Peers {
        /// Everybody but this member.
        members: BTreeMap<MemberId, Vec<String>>,
        /// Removed for good: nothing they say counts.
        removed: BTreeSet<MemberId>,
    },
    /// This member was removed from the cluster: it ends in good order.
    Removed,
    /// A fact for onlookers.
    Observe(Observation),
    /// The member must stop: going on would be unsafe. One sentence.
    Fatal(String),
}
