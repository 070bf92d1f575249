//! What clients wait for.

use seatrial_scenario::theatre::CallError;
use seatrial_types::Response;
use seatrial_types::watch::{StreamId, WatchResponse};
use std::collections::VecDeque;
use std::sync::Arc;

/// A request of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// A watch stream of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub u64);

/// Somebody who sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SleepId(pub u64);

/// A request that is waited for.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The place in the network of who asks.
    pub(crate) client: usize,
    /// Its outcome would be unknown where no answer comes.
    pub(crate) has_effect: bool,
    pub(crate) answer: Option<Result<Response, CallError>>,
}

/// A watch stream that is read.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) client: usize,
    pub(crate) machine: usize,
    /// At the process of this incarnation, once it was opened there.
    pub(crate) at: Option<(u64, StreamId)>,
    /// What has come and was not read yet.
    pub(crate) unread: VecDeque<Arc<WatchResponse>>,
    /// Nothing more comes.
    pub(crate) has_ended: bool,
}
