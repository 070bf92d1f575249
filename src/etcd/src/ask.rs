//! The seam to the member, so that faces can be tested against a scripted one.

use seatrial_node::{Handle, WatchSender, WatchSession};
use seatrial_types::watch::{WatchRequest, WatchResponse};
use seatrial_types::{Error, Request, Response};
use std::future::Future;

/// Whoever answers checked requests; in a server the running member. Cheap to clone.
pub trait Ask: Clone + Send + Sync + 'static {
    /// Its watch streams.
    type Watch: AskWatch;

    /// Asks. Dropping the future gives up the answer, not the request.
    fn call(&self, request: Request) -> impl Future<Output = Result<Response, Error>> + Send;

    /// Opens a watch stream.
    fn watch(&self) -> impl Future<Output = Result<Self::Watch, Error>> + Send;
}

/// The answering half of a watch stream. Dropping it cancels its watches.
pub trait AskWatch: Send + 'static {
    /// The asking half.
    type Sender: AskSend;

    /// Another asking half, which lives apart from this one.
    fn sender(&self) -> Self::Sender;

    /// The next answer; `None` once there is nobody to answer. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Option<WatchResponse>> + Send;
}

/// The asking half of a watch stream.
pub trait AskSend: Clone + Send + Sync + 'static {
    /// Asks; what comes of it arrives through [`AskWatch::next`].
    fn send(&self, request: WatchRequest);
}

impl Ask for Handle {
    type Watch = WatchSession;

    fn call(&self, request: Request) -> impl Future<Output = Result<Response, Error>> + Send {
        Handle::call(self, request)
    }

    fn watch(&self) -> impl Future<Output = Result<WatchSession, Error>> + Send {
        Handle::watch(self)
    }
}

impl AskWatch for WatchSession {
    type Sender = WatchSender;

    fn sender(&self) -> WatchSender {
        WatchSession::sender(self)
    }

    fn next(&mut self) -> impl Future<Output = Option<WatchResponse>> + Send {
        WatchSession::next(self)
    }
}

impl AskSend for WatchSender {
    fn send(&self, request: WatchRequest) {
        WatchSender::send(self, request);
    }
}
