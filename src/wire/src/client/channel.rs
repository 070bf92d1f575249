//! One HTTP/2 connection to one address, made again when it breaks.
//!
//! The errors say precisely whether a request was on its way: only then may its outcome be unknown.

use super::line::{Line, Listened};
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use seatrial_world::hyper_glue::{Executor, Timer};
use seatrial_world::{Backoff, Layered, Secure, World, host_of};
use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Mutex;
use tonic::Status;
use tonic::body::Body;

/// How a channel connects and keeps watch over its connection.
#[derive(Clone, Debug)]
pub struct ChannelOptions {
    /// Limit for making a connection, handshake included.
    pub connect_timeout: Duration,
    /// After a failed attempt, requests fail at once for so long; doubled with each failure, with jitter.
    pub backoff_min: Duration,
    /// Longest such time.
    pub backoff_max: Duration,
    /// While requests are open, a ping is sent after so much silence. Servers send clients away that ping more often
    /// than every five seconds, by default.
    pub keepalive_interval: Option<Duration>,
    /// A ping not answered in this time breaks the connection.
    pub keepalive_timeout: Duration,
    /// Ping even when nothing is open.
    pub keepalive_idle: bool,
    /// What lies around the connection; `None`: plain text.
    pub layer: Option<Arc<dyn Secure>>,
    /// Shown with every request: whose they are.
    pub token: Option<String>,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_secs(1),
            keepalive_interval: Some(Duration::from_secs(6)),
            keepalive_timeout: Duration::from_secs(2),
            keepalive_idle: false,
            layer: None,
            token: None,
        }
    }
}

/// Why a request got no answer. Found as the source of the [`Status`] which the channel gives.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// The request was not sent, or the server said that it has not looked at it.
    #[error("{0}")]
    NotSent(String),
    /// The connection broke after the request was on its way.
    #[error("{0}")]
    Lost(String),
}

impl ChannelError {
    fn into_status(self) -> Status {
        let mut status = Status::unavailable(self.to_string());
        status.set_source(Arc::new(self));
        status
    }

    /// The channel's error in a status, where there is one.
    #[must_use]
    pub fn of(status: &Status) -> Option<&Self> {
        let mut source = status.source();
        while let Some(error) = source {
            if let Some(error) = error.downcast_ref::<Self>() {
                return Some(error);
            }
            source = error.source();
        }
        None
    }
}

/// What becomes of a request on its way; put into the request's extensions by callers who give up waiting, must know
/// then whether anything was sent, and tell the connection that they waited in vain.
#[derive(Clone, Debug)]
pub(crate) struct Sent(Arc<Sending>);

#[derive(Debug)]
struct Sending {
    begun: Duration,
    handed_over: AtomicBool,
    /// The connection it waits for, or was handed to.
    line: std::sync::Mutex<Option<Arc<Line>>>,
}

impl Sent {
    /// A request whose time runs from now.
    pub(crate) fn new(begun: Duration) -> Self {
        Self(Arc::new(Sending {
            begun,
            handed_over: AtomicBool::default(),
            line: std::sync::Mutex::default(),
        }))
    }

    /// Whether it was handed to its connection.
    pub(crate) fn get(&self) -> bool {
        self.0.handed_over.load(Ordering::Relaxed)
    }

    /// The caller waits no longer. Where the connection has been silent all the time, the next request gets another; those
    /// that are on it already are left to the pings.
    pub(crate) fn give_up(&self) {
        if let Some(line) = &*self.0.line.lock().unwrap_or_else(PoisonError::into_inner) {
            line.give_up(self.0.begun);
        }
    }

    fn set(&self, handed_over: bool) {
        self.0.handed_over.store(handed_over, Ordering::Relaxed);
    }

    fn on(&self, line: Arc<Line>) {
        *self.0.line.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
    }
}

/// A connection to one address, as a tower service for HTTP/2 requests. Cheap to clone; clones share the
/// connection.
#[derive(Clone)]
pub struct Channel<W: World> {
    shared: Arc<Shared<W>>,
}

struct Shared<W: World> {
    world: W,
    address: String,
    options: ChannelOptions,
    connection: Mutex<Connection>,
}

struct Connection {
    open: Option<Open>,
    backoff: Backoff,
    /// Before this time nobody dials.
    rest_until: Duration,
    last_failure: String,
}

/// A connection that stands.
#[derive(Clone)]
struct Open {
    sender: http2::SendRequest<Body>,
    line: Arc<Line>,
}

impl<W: World> Channel<W> {
    /// A channel to `host:port`; the first request dials.
    ///
    /// # Panics
    /// Where `backoff_min` is zero or above `backoff_max`.
    pub fn new(world: W, address: impl Into<String>, options: ChannelOptions) -> Self {
        let connection = Mutex::new(Connection {
            open: None,
            backoff: Backoff::new(options.backoff_min, options.backoff_max),
            rest_until: Duration::ZERO,
            last_failure: String::new(),
        });
        Self { shared: Arc::new(Shared { world, address: address.into(), options, connection }) }
    }

    /// Where it leads.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.shared.address
    }
}

impl<W: World> Shared<W> {
    /// The open connection, or a new one. Concurrent callers wait for the one that dials.
    async fn open(&self) -> Result<Open, ChannelError> {
        let mut connection = self.connection.lock().await;
        if let Some(open) = &connection.open {
            if !open.sender.is_closed() && !open.line.is_dead() {
                return Ok(open.clone());
            }
            connection.open = None;
        }
        if self.world.now() < connection.rest_until {
            return Err(ChannelError::NotSent(connection.last_failure.clone()));
        }
        match self.dial().await {
            Ok(open) => {
                connection.open = Some(open.clone());
                connection.backoff.reset();
                Ok(open)
            }
            Err(why) => {
                let rest = connection.backoff.next(self.world.rand());
                connection.rest_until = self.world.now() + rest;
                connection.last_failure = why.clone();
                Err(ChannelError::NotSent(why))
            }
        }
    }

    async fn dial(&self) -> Result<Open, String> {
        let address = &self.address;
        let limit = self.world.sleep(self.options.connect_timeout);
        let dialing = async {
            let stream = self
                .world
                .connect(address)
                .await
                .map_err(|error| format!("connection error: desc = \"dial {address}: {error}\""))?;
            let stream = match &self.options.layer {
                None => Layered::Plain(stream),
                Some(layer) => Layered::Secured(
                    layer
                        .connect(Box::new(stream), host_of(address))
                        .await
                        .map_err(|error| {
                            format!("connection error: desc = \"handshake with {address}: {error}\"")
                        })?
                        .stream,
                ),
            };
            let line = Arc::<Line>::default();
            let stream = Listened { world: self.world.clone(), line: line.clone(), stream };
            let mut builder = http2::Builder::new(Executor::new(self.world.clone()));
            builder
                .timer(Timer::new(self.world.clone()))
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(4 << 20)
                .keep_alive_interval(self.options.keepalive_interval)
                .keep_alive_timeout(self.options.keepalive_timeout)
                .keep_alive_while_idle(self.options.keepalive_idle);
            let (sender, connection) = builder
                .handshake(TokioIo::new(stream))
                .await
                .map_err(|error| format!("connection error: desc = \"handshake with {address}: {error}\""))?;
            let peer = address.clone();
            self.world.spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%peer, %error, "connection broke");
                }
            });
            Ok(Open { sender, line })
        };
        tokio::select! {
            biased;
            dialed = dialing => dialed,
            () = limit => Err(format!(
                "connection error: desc = \"dial {address}: no connection within {:?}\"",
                self.options.connect_timeout
            )),
        }
    }

    async fn send(&self, mut request: Request<Body>) -> Result<Response<ChannelBody>, ChannelError> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = Uri::builder()
            .scheme(if self.options.layer.is_some() { "https" } else { "http" })
            .authority(self.address.as_str())
            .path_and_query(path)
            .build()
            .map_err(|error| ChannelError::NotSent(format!("address {:?}: {error}", self.address)))?;
        let sent = request.extensions().get::<Sent>().cloned();
        let sent = sent.unwrap_or_else(|| Sent::new(self.world.now()));
        // A connection may turn out to be closed only when it is used. The request then comes back unsent,
        // and one fresh connection is tried.
        for attempt in 0.. {
            let Open { mut sender, line } = self.open().await?;
            sent.on(line);
            if let Err(error) = sender.ready().await {
                if attempt == 0 {
                    continue;
                }
                return Err(ChannelError::NotSent(format!("{}: {error}", self.address)));
            }
            sent.set(true);
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(response.map(ChannelBody)),
                Err(mut failure) => match failure.take_message() {
                    Some(unsent) => {
                        sent.set(false);
                        if attempt > 0 {
                            let why = format!("{}: {}", self.address, failure.error());
                            return Err(ChannelError::NotSent(why));
                        }
                        request = unsent;
                    }
                    None => return Err(lost(&self.address, failure.error())),
                },
            }
        }
        unreachable!("the loop ends in its second round")
    }
}

/// Tells a stream that the server refused to look at from one that simply broke.
fn lost(address: &str, error: &hyper::Error) -> ChannelError {
    let text = match error.source() {
        Some(source) => format!("{address}: {error}: {source}"),
        None => format!("{address}: {error}"),
    };
    let refused = error.source().and_then(|source| source.downcast_ref::<h2::Error>()).is_some_and(|error| {
        error.is_reset() && error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM)
    });
    if refused { ChannelError::NotSent(text) } else { ChannelError::Lost(text) }
}

impl<W: World> tower::Service<Request<Body>> for Channel<W> {
    type Response = Response<ChannelBody>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shared = self.shared.clone();
        Box::pin(async move { shared.send(request).await.map_err(ChannelError::into_status) })
    }
}

/// The body of an answer; a break in it is reported as [`ChannelError::Lost`].
pub struct ChannelBody(Incoming);

impl HttpBody for ChannelBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.0)
            .poll_frame(context)
            .map(|frame| frame.map(|frame| frame.map_err(|error| lost("answer", &error).into_status())))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
