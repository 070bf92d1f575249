//! What is on its way between machines.

use crate::calls::{CallId, WatchId};
use seatrial_node::{PeerBody, PeerMessage};
use seatrial_raft::{Body, Payload};
use seatrial_types::watch::{WatchRequest, WatchResponse};
use seatrial_types::{Error, Request, Response};
use std::sync::Arc;
use std::time::Duration;

/// Something on its way. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Parcel {
    /// From a member to the process of a member.
    Peer { incarnation: u64, sent: Duration, message: Arc<PeerMessage> },
    /// A client asks.
    Ask { call: CallId, request: Arc<Request> },
    /// A member answers.
    Answer { call: CallId, result: Arc<Result<Response, Error>> },
    /// Nobody listens there.
    Refused { call: CallId },
    /// The process that was asked is gone.
    Broken { call: CallId },
    /// A client says something on its watch stream.
    WatchAsk { watch: WatchId, request: Arc<WatchRequest> },
    /// An answer on it.
    WatchSaid { watch: WatchId, response: Arc<WatchResponse> },
    /// Its reader has taken so much.
    WatchTaken { watch: WatchId, credit: u32 },
    /// Its reader is gone.
    WatchClosed { watch: WatchId },
    /// The stream has ended.
    WatchEnded { watch: WatchId },
}

/// What a message takes on a stream beside its entries and keys.
const ENVELOPE_BYTES: usize = 48;

/// About how many bytes a message between members is on a stream.
pub(crate) fn weight(message: &PeerMessage) -> usize {
    ENVELOPE_BYTES
        + match &message.body {
            PeerBody::Raft(message) => match &message.body {
                Body::Append { entries, .. } => entries
                    .iter()
                    .map(|entry| match &entry.payload {
                        Payload::Data(bytes) => bytes.len() + 16,
                        Payload::Config(change) => change.context.len() + 64,
                        Payload::Noop => 16,
                    })
                    .sum(),
                Body::Snapshot { data, .. } => data.len(),
                _ => 0,
            },
            _ => 64,
        }
}
