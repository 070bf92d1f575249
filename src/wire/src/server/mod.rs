//! Accepting client connections: gRPC and HTTP/1.1 on one port.

mod access;
mod auth;
mod authority;
mod background;
mod counted;
mod deadline;
pub(crate) mod discovery;
mod dispatch;
mod election;
mod fleetlock;
mod gateway;
mod grpc;
mod guard;
mod health;
mod held;
mod http_face;
mod in_process;
mod leadership;
mod lock;
mod metrics;
mod phases;
mod reflection;
mod sniff;
mod unread;
mod v2;
mod watch_face;

pub use access::Access;
pub use fleetlock::RebootLock;
pub use gateway::fuzz_json;
pub use metrics::Metrics;

use crate::clock::Clock;
use crate::outside;
use background::Background;
use dispatch::Dispatch;
use guard::{Guard, Guarded};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use phases as watch;
use seatrial_etcd::{Ask, AuthOptions, EtcdService, Limits, MemberMetrics};
use seatrial_world::hyper_glue::{Executor, Timer};
use seatrial_world::{Layered, Listener, Secure, World};
use sniff::{Protocol, Rewound, sniff};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use unread::{Reader, Unread};

/// Lies in the extensions of every request whose client has shown a certificate that was asked for: its common
/// name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCommonName(pub Arc<str>);

/// How clients are served.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// What a request may ask for.
    pub limits: Limits,
    /// The etcd version whose API this is, for `/version` (clients compare it).
    pub version: String,
    /// A ping is sent after so much silence on a connection.
    pub keepalive_interval: Duration,
    /// A ping not answered in this time closes the connection.
    pub keepalive_timeout: Duration,
    /// A client may ping this often and no more, while it has a call open.
    pub keepalive_min_time: Duration,
    /// Calls that may be open on one connection.
    pub concurrent_streams_max: u32,
    /// How often it is looked whether there is a leader, for streams that want one.
    pub leader_check_interval: Duration,
    /// Limit for the first bytes of a connection, and for the head of an HTTP/1.1 request.
    pub header_timeout: Duration,
    /// Limit for the answers of the HTTP face that ask the cluster (`/health`, `/readyz`).
    pub health_timeout: Duration,
    /// What lies around the connections; `None`: plain text.
    pub layer: Option<Arc<dyn Secure>>,
    /// At shutdown, open requests have this time to end.
    pub grace: Duration,
    /// Passwords and tokens.
    pub auth: AuthOptions,
    /// What of the HTTP face is open to whom.
    pub access: Access,
    /// What this server counts; several listeners of one server share it.
    pub metrics: Arc<Metrics>,
    /// What is known of the member besides.
    pub member_metrics: Option<MemberMetrics>,
    /// Bytes of answers that are held for clients who have not read them. Where it is more, the connection for which
    /// most is held is closed.
    pub unread_bytes_max: usize,
    /// Nothing is served but metrics and health.
    pub metrics_only: bool,
    /// The v2 API is served too.
    pub enable_v2: bool,
    /// The reboot lock is served, as FleetLock.
    pub reboot_lock: Option<RebootLock>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            version: "3.6.0".to_owned(),
            keepalive_interval: Duration::from_secs(7200),
            keepalive_timeout: Duration::from_secs(20),
            keepalive_min_time: Duration::from_secs(5),
            // etcd sets no limit, and clients with thousands of calls on one connection count on it.
            concurrent_streams_max: u32::MAX,
            leader_check_interval: Duration::from_secs(1),
            header_timeout: Duration::from_secs(10),
            health_timeout: Duration::from_secs(5),
            layer: None,
            grace: Duration::from_secs(2),
            auth: AuthOptions::default(),
            access: Access::default(),
            metrics: Arc::default(),
            member_metrics: None,
            unread_bytes_max: 512 << 20,
            metrics_only: false,
            enable_v2: true,
            reboot_lock: None,
        }
    }
}

/// How far a server's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Open for everything.
    Serving,
    /// No new connections or requests; streams end.
    Draining,
    /// Everything ends.
    Closed,
}

/// A server that runs in tasks of its world. Dropping this lets it run on.
pub struct Serving {
    address: String,
    metrics: Arc<Metrics>,
    phase: watch::Sender<Phase>,
    /// Closed when the last task has ended.
    tasks: mpsc::Receiver<Infallible>,
    clock: Clock,
    grace: Duration,
}

impl Serving {
    /// Where it listens, with the drawn port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Accepts nothing new, ends the streams, lets open requests end within the grace time, closes the rest.
    pub async fn shutdown(mut self) {
        self.phase.send_replace(Phase::Draining);
        tokio::select! {
            biased;
            _ = self.tasks.recv() => return,
            () = self.clock.sleep(self.grace) => {}
        }
        self.phase.send_replace(Phase::Closed);
        let _ = self.tasks.recv().await;
    }
}

/// Serves the clients who come to `listener`, in tasks of `world`, until [`Serving::shutdown`].
pub fn serve_clients<W: World, A: Ask>(
    world: W,
    listener: W::Listener,
    member: A,
    options: ServeOptions,
) -> Serving {
    let address = listener.local_address();
    let (phase, phases) = watch::channel(Phase::Serving);
    let (task, tasks) = mpsc::channel(1);
    let metrics = options.metrics.clone();
    let clock = Clock::new(world.clone());
    let grace = options.grace;
    let outside = Arc::new(outside::Of(world.clone()));
    let service = EtcdService::new(member, options.limits).with_auth(outside.clone(), &options.auth);
    let background = Background::new(world.clone());
    let queues = lock::Queues::new(service.clone(), background.clone(), phases.clone());
    let desk = options.reboot_lock.clone().map(|lock| {
        // Who only shows metrics looks at the lock and takes no part in it.
        let machine = lock.machine.clone().filter(|_| !options.metrics_only);
        fleetlock::open(world.clone(), service.clone(), outside.clone(), RebootLock { machine, ..lock })
    });
    let dispatch =
        Dispatch::new(service, queues, background, outside, desk, clock.clone(), phases.clone(), &options);
    let unread = Unread::new(options.unread_bytes_max);
    world.spawn(accept(Acceptor { world: world.clone(), dispatch, options, unread, phases, task }, listener));
    Serving { address, metrics, phase, tasks, clock, grace }
}

/// What every connection needs.
struct Acceptor<W, A: Ask> {
    world: W,
    dispatch: Dispatch<A>,
    options: ServeOptions,
    unread: Unread,
    phases: watch::Receiver<Phase>,
    /// Held by every task, so that the end of the last is noticed.
    task: mpsc::Sender<Infallible>,
}

impl<W: Clone, A: Ask> Clone for Acceptor<W, A> {
    fn clone(&self) -> Self {
        Self {
            world: self.world.clone(),
            dispatch: self.dispatch.clone(),
            options: self.options.clone(),
            unread: self.unread.clone(),
            phases: self.phases.clone(),
            task: self.task.clone(),
        }
    }
}

/// Ready once the end has come so far; never, where nobody is left to bring it about.
pub(crate) async fn reached(phases: &mut watch::Receiver<Phase>, phase: Phase) {
    phases.wait_for(|now| *now >= phase).await;
}

/// The request, with its client's name where that is known.
fn named<B>(mut request: http::Request<B>, name: &Option<ClientCommonName>) -> http::Request<B> {
    if let Some(name) = name {
        request.extensions_mut().insert(name.clone());
    }
    request
}

async fn accept<W: World, A: Ask>(acceptor: Acceptor<W, A>, mut listener: W::Listener) {
    let mut phases = acceptor.phases.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = reached(&mut phases, Phase::Draining) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let world = acceptor.world.clone();
                world.spawn(acceptor.clone().connection(stream, peer));
            }
            Err(error) => {
                // Too many open files, for one: it passes, and hurrying does not help.
                tracing::warn!(%error, "could not accept a connection");
                acceptor.world.sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

impl<W: World, A: Ask> Acceptor<W, A> {
    async fn connection(self, stream: W::Stream, peer: String) {
        let mut phases = self.phases.clone();
        let opened = tokio::select! {
            biased;
            () = reached(&mut phases, Phase::Draining) => return,
            opened = self.open(stream, &peer) => opened,
            () = self.world.sleep(self.options.header_timeout) => {
                tracing::debug!(%peer, "closed a connection that said nothing");
                return;
            }
        };
        let Some((stream, protocol, name)) = opened else { return };
        let (reader, closed) = self.unread.open();
        let serving = async {
            match protocol {
                Protocol::Http2 => {
                    let guard = Guard::new(self.options.keepalive_min_time);
                    let world = self.world.clone();
                    let righted = authority::Righted::new(stream);
                    let io = TokioIo::new(Guarded::new(righted, guard, move || world.now()));
                    self.serve_http2(io, name, reader, phases).await
                }
                Protocol::Http1 => self.serve_http1(TokioIo::new(stream), name, reader, phases).await,
            }
        };
        let ended = tokio::select! {
            biased;
            _ = closed => {
                tracing::warn!(%peer, "closed a connection: too much was waiting on it to be read");
                return;
            }
            ended = serving => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "connection ended badly");
        }
    }

    /// The stream behind its handshake, what is spoken on it, and whom the client has proved to be.
    async fn open(
        &self,
        stream: W::Stream,
        peer: &str,
    ) -> Option<(Rewound<Layered<W::Stream>>, Protocol, Option<ClientCommonName>)> {
        let (stream, name) = match &self.options.layer {
            None => (Layered::Plain(stream), None),
            Some(layer) => match layer.accept(Box::new(stream)).await {
                Ok(secured) => (Layered::Secured(secured.stream), secured.common_name),
                Err(error) => {
                    tracing::warn!(%peer, "rejected a connection: {error}");
                    return None;
                }
            },
        };
        match sniff(stream, self.options.metrics.byte_counters()).await {
            Ok(sniffed) => sniffed
                .map(|(stream, protocol)| (stream, protocol, name.map(|name| ClientCommonName(name.into())))),
            Err(error) => {
                tracing::debug!(%peer, %error, "connection broke before its first request");
                None
            }
        }
    }

    async fn serve_http2<S>(
        &self,
        io: TokioIo<S>,
        name: Option<ClientCommonName>,
        reader: Reader,
        mut phases: watch::Receiver<Phase>,
    ) -> hyper::Result<()>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let dispatch = self.dispatch.clone();
        let service =
            service_fn(move |request| dispatch.clone().handle(named(request, &name), reader.clone()));
        let connection = http2::Builder::new(Executor::new(self.world.clone()))
            .timer(Timer::new(self.world.clone()))
            .keep_alive_interval(self.options.keepalive_interval)
            .keep_alive_timeout(self.options.keepalive_timeout)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .max_concurrent_streams(self.options.concurrent_streams_max)
            .serve_connection(io, service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            biased;
            ended = connection.as_mut() => return ended,
            () = reached(&mut phases, Phase::Draining) => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            biased;
            ended = connection => ended,
            () = reached(&mut phases, Phase::Closed) => Ok(()),
        }
    }

    async fn serve_http1<S>(
        &self,
        io: TokioIo<S>,
        name: Option<ClientCommonName>,
        reader: Reader,
        mut phases: watch::Receiver<Phase>,
    ) -> hyper::Result<()>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let dispatch = self.dispatch.clone();
        let service =
            service_fn(move |request| dispatch.clone().handle(named(request, &name), reader.clone()));
        let connection = http1::Builder::new()
            .timer(Timer::new(self.world.clone()))
            .header_read_timeout(self.options.header_timeout)
            .serve_connection(io, service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            biased;
            ended = connection.as_mut() => return ended,
            () = reached(&mut phases, Phase::Draining) => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            biased;
            ended = connection => ended,
            () = reached(&mut phases, Phase::Closed) => Ok(()),
        }
    }
}
