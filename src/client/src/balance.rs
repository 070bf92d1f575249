//! Several endpoints as one store.

use crate::endpoint::Endpoint;
use crate::error::{ClientError, has_effect};
use crate::store::Store;
use crate::watcher::Watcher;
use seatrial_types::watch::WatchCreate;
use seatrial_types::{Request, Response};
use seatrial_world::{Backoff, World};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a client tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// For one request, all attempts and pauses together.
    pub request_timeout: Duration,
    /// For one attempt at a request that changes nothing; another endpoint is asked afterwards. A write has
    /// one attempt, which may take all the time there is.
    pub read_attempt_timeout: Duration,
    /// Pause after every endpoint failed once; doubled each round.
    pub backoff_min: Duration,
    /// Longest pause.
    pub backoff_max: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(5),
            read_attempt_timeout: Duration::from_secs(2),
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_millis(500),
        }
    }
}

impl ClientOptions {
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.backoff_min, self.backoff_max)
    }
}

/// A store reached through one of several endpoints, in turn. Cheap to clone; clones share the endpoint that
/// answered last.
#[derive(Clone, Debug)]
pub struct Client<W, E> {
    pub(crate) world: W,
    pub(crate) endpoints: Arc<[E]>,
    current: Arc<AtomicUsize>,
    pub(crate) options: ClientOptions,
}

impl<W: World, E: Endpoint> Client<W, E> {
    /// A client that starts with one of the endpoints, by chance.
    ///
    /// # Panics
    /// Without endpoints, or where `backoff_min` is zero or above `backoff_max`.
    #[must_use]
    pub fn new(world: W, endpoints: Vec<E>, options: ClientOptions) -> Self {
        assert!(!endpoints.is_empty(), "a client needs at least one endpoint");
        // Panics here rather than in the first failure.
        let _ = options.backoff();
        let first = if endpoints.len() == 1 { 0 } else { (world.rand() % endpoints.len() as u64) as usize };
        Self { world, endpoints: endpoints.into(), current: Arc::new(AtomicUsize::new(first)), options }
    }

    /// The endpoints, in the order given.
    #[must_use]
    pub fn endpoints(&self) -> &[E] {
        &self.endpoints
    }

    /// As [`Store::call`], with another limit of time.
    ///
    /// # Errors
    /// As [`Store::call`].
    pub async fn call_within(&self, request: Request, timeout: Duration) -> Result<Response, ClientError> {
        let deadline = self.world.now() + timeout;
        let mut backoff = self.options.backoff();
        let mut failures = 0;
        // Until something was sent, running out of time is certain.
        let mut last = ClientError::deadline(false);
        loop {
            let left = deadline.saturating_sub(self.world.now());
            if left.is_zero() {
                return Err(last);
            }
            let attempt =
                if has_effect(&request) { left } else { left.min(self.options.read_attempt_timeout) };
            let (at, endpoint) = self.pick();
            let error = match endpoint.call(request.clone(), attempt).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            if error.is_unavailable() {
                self.move_on(at);
            }
            if !error.is_retryable() {
                return Err(error);
            }
            tracing::trace!(endpoint = endpoint.address(), %error, "attempt failed");
            last = error;
            failures += 1;
            if failures % self.endpoints.len() == 0 {
                let pause = backoff.next(self.world.rand());
                self.world.sleep_until(deadline.min(self.world.now() + pause)).await;
            }
        }
    }

    /// The endpoint in use, with its place.
    pub(crate) fn pick(&self) -> (usize, &E) {
        let at = self.current.load(Ordering::Relaxed) % self.endpoints.len();
        (at, &self.endpoints[at])
    }

    /// Leaves the endpoint at `at`, unless another clone has left it already.
    pub(crate) fn move_on(&self, at: usize) {
        let next = (at + 1) % self.endpoints.len();
        let _ = self.current.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl<W: World, E: Endpoint> Store for Client<W, E> {
    type Watch = Watcher<W, E>;

    async fn call(&self, request: Request) -> Result<Response, ClientError> {
        self.call_within(request, self.options.request_timeout).await
    }

    fn watch(&self, create: WatchCreate) -> Watcher<W, E> {
        Watcher::new(self.clone(), create)
    }
}
