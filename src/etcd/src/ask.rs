//! The seam to the member, so that faces can be tested against a scripted one.

use seatrial_node::{Handle, V2Stream, WatchSender, WatchSession};
use seatrial_types::v2::{V2Error, V2Event, V2Watch, V2Watching};
use seatrial_types::watch::{WatchRequest, WatchResponse};
use seatrial_types::{Error, Request, Response};
use std::future::Future;
use std::sync::Arc;

/// Whoever answers checked requests; in a server the running member. Cheap to clone.
pub trait Ask: Clone + Send + Sync + 'static {
    /// Its watch streams.
    type Watch: AskWatch;

    /// One who waits for changes of the v2 key space.
    type V2: AskV2;

    /// Asks. Dropping the future gives up the answer, not the request.
    fn call(&self, request: Request) -> impl Future<Output = Result<Response, Error>> + Send;

    /// Opens a watch stream.
    fn watch(&self) -> impl Future<Output = Result<Self::Watch, Error>> + Send;

    /// Begins to wait for changes of the v2 key space; within, that what is asked for may have been forgotten.
    fn v2_watch(
        &self,
        watch: V2Watch,
    ) -> impl Future<Output = Result<Result<Self::V2, V2Error>, Error>> + Send;
}

/// One who waits for changes of the v2 key space. Dropping it ends that.
pub trait AskV2: Send + 'static {
    /// Where it began.
    fn began(&self) -> &V2Watching;

    /// The next change; `None` where nothing more comes. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Option<Arc<V2Event>>> + Send;
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
    type V2 = V2Stream;

    fn call(&self, request: Request) -> impl Future<Output = Result<Response, Error>> + Send {
        Handle::call(self, request)
    }

    fn watch(&self) -> impl Future<Output = Result<WatchSession, Error>> + Send {
        Handle::watch(self)
    }

    fn v2_watch(
        &self,
        watch: V2Watch,
    ) -> impl Future<Output = Result<Result<V2Stream, V2Error>, Error>> + Send {
        Handle::v2_watch(self, watch)
    }
}

impl AskV2 for V2Stream {
    fn began(&self) -> &V2Watching {
        &self.began
    }

    fn next(&mut self) -> impl Future<Output = Option<Arc<V2Event>>> + Send {
        V2Stream::next(self)
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
