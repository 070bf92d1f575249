//! One way to one member.

use crate::error::ClientError;
use seatrial_types::watch::{WatchRequest, WatchResponse};
use seatrial_types::{Request, Response};
use std::future::Future;
use std::time::Duration;

/// Carries requests to one member, without retries of its own. Cheap to clone.
pub trait Endpoint: Clone + Send + Sync + 'static {
    /// Its watch streams.
    type Watch: WatchChannel;

    /// Where it leads, for people to read.
    fn address(&self) -> &str;

    /// One attempt, given up after `timeout`. The error must not claim to be certain unless nothing was
    /// sent or the member said so.
    fn call(
        &self,
        request: Request,
        timeout: Duration,
    ) -> impl Future<Output = Result<Response, ClientError>> + Send;

    /// A watch stream. Connecting happens in the first [`WatchChannel::next`], which also reports failure.
    fn watch(&self) -> Self::Watch;
}

/// One watch stream to one member. Dropping it cancels its watches.
pub trait WatchChannel: Send + 'static {
    /// Asks; what comes of it arrives through [`WatchChannel::next`].
    fn send(&mut self, request: WatchRequest);

    /// The next answer. An error is the end of the stream. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Result<WatchResponse, ClientError>> + Send;
}
