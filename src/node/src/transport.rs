//! Connections between members, over any world.
//!
//! Each member dials every other and speaks on the connection it dialled; it listens on those it accepted.
//! Messages may be lost, never reordered within a connection: Raft needs no more. What cannot be delivered is
//! dropped rather than queued, for by the time a peer is back its messages are out of date.

use crate::cluster::Cluster;
use crate::frames::{FrameReader, FrameWriter};
use crate::handle::Call;
use crate::member::Input;
use crate::meters::Meters;
use crate::peer::{
    Hello, Opening, PeerError, PeerMessage, PeerVersions, encode_frame, greet, hash_question, opening,
    question, weight, welcome,
};
use seatrial_types::auth::Caller;
use seatrial_types::buggify::{Site, hits};
use seatrial_types::request::HashKvResponse;
use seatrial_types::{ClusterId, Error, MemberId, Request, Response, Revision};
use seatrial_world::{Layered, Listener, Secure, Task, World, host_of};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

/// Bytes that may wait for one peer; more are dropped.
const QUEUE_BYTES_MAX: usize = 64 << 20;

/// Bytes written at once.
const WRITE_BYTES: usize = 256 << 10;

/// A connection attempt is given up after this: TCP alone would try for a minute into a black hole.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A peer may have to read all it has before it can tell the hash (etcd: the time of a request).
const HASH_TIMEOUT: Duration = Duration::from_secs(7);

/// Between attempts to connect, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// The acceptor says at least this often that it still reads, while frames come.
const ACK_INTERVAL: Duration = Duration::from_millis(200);

/// A connection on which something was written and nothing heard for so long is dead: after a partition TCP
/// alone may wait for many seconds before it sends again.
const STALL: Duration = Duration::from_millis(1500);

/// What lies around the streams between members, the same for all of them; `None` is plain text.
pub(crate) type Layer = Option<Arc<dyn Secure>>;

type Inbox = mpsc::UnboundedSender<Call>;

/// The way to one peer.
#[derive(Debug)]
pub(crate) struct PeerLink {
    queue: mpsc::UnboundedSender<PeerMessage>,
    queued: Arc<AtomicUsize>,
}

impl PeerLink {
    /// Sends, or drops where too much waits already.
    pub(crate) fn send(&self, message: PeerMessage) {
        let weight = weight(&message);
        if self.queued.load(Ordering::Relaxed) + weight > QUEUE_BYTES_MAX {
            tracing::debug!(peer = %message.to, "dropped a message, the queue is full");
            return;
        }
        self.queued.fetch_add(weight, Ordering::Relaxed);
        let _ = self.queue.send(message);
    }
}

/// Starts the task that keeps a connection to the peer that `hello` is for, and speaks on it.
pub(crate) fn dial<W: World>(
    world: &W,
    hello: Hello,
    newest: u16,
    addresses: Vec<String>,
    layer: Layer,
    inbox: Inbox,
    meters: Arc<Meters>,
) -> (PeerLink, W::Task) {
    let (queue, receive) = mpsc::unbounded_channel();
    let queued = Arc::new(AtomicUsize::new(0));
    let dialler = Dialler {
        world: world.clone(),
        hello,
        newest,
        addresses,
        layer,
        receive,
        queued: queued.clone(),
        inbox,
        meters,
    };
    let task = world.spawn(dialler.run());
    (PeerLink { queue, queued }, task)
}

struct Dialler<W> {
    world: W,
    hello: Hello,
    /// The newest version of the protocol that may be spoken; the oldest is in the hello.
    newest: u16,
    addresses: Vec<String>,
    layer: Layer,
    receive: mpsc::UnboundedReceiver<PeerMessage>,
    queued: Arc<AtomicUsize>,
    inbox: Inbox,
    meters: Arc<Meters>,
}

/// Why a dialler's connection ended.
enum Ended {
    /// The member stops.
    Stopped,
    /// The connection broke.
    Broken,
}

impl<W: World> Dialler<W> {
    async fn run(mut self) {
        let mut backoff = BACKOFF.0;
        let mut attempt = 0;
        loop {
            let address = self.addresses[attempt % self.addresses.len()].clone();
            attempt += 1;
            match self.connect(&address).await {
                Ok((stream, version)) => {
                    backoff = BACKOFF.0;
                    tracing::debug!(peer = %self.hello.to, %address, version, "connected to peer");
                    if matches!(self.speak(stream, version).await, Ended::Stopped) {
                        return;
                    }
                }
                Err(PeerError::Removed) => {
                    let _ = self.inbox.send(Call::Input(Input::Removed));
                    return;
                }
                Err(error) => {
                    tracing::debug!(peer = %self.hello.to, %address, %error, "could not connect to peer");
                }
            }
            // What waited meanwhile is out of date, and Raft should probe from where the peer really is.
            if !self.discard() {
                return;
            }
            let _ = self.inbox.send(Call::Input(Input::PeerUnreachable(self.hello.to)));
            let jitter = Duration::from_nanos(self.world.rand() % (backoff.as_nanos() as u64 / 2 + 1));
            self.world.sleep(backoff + jitter).await;
            backoff = (backoff * 2).min(BACKOFF.1);
            if !self.discard() {
                return;
            }
        }
    }

    async fn connect(&self, address: &str) -> Result<(Layered<W::Stream>, u16), PeerError> {
        let connect = async {
            let stream = self.world.connect(address).await?;
            let mut stream = match &self.layer {
                None => Layered::Plain(stream),
                Some(layer) => match layer.connect(Box::new(stream), host_of(address)).await {
                    Ok(secured) => Layered::Secured(secured.stream),
                    Err(error) => {
                        tracing::warn!(peer = %self.hello.to, %address, "no secure connection to a peer: {error}");
                        return Err(error.into());
                    }
                },
            };
            let version = greet(&mut stream, &self.hello, self.newest).await?;
            Ok((stream, version))
        };
        tokio::select! {
            biased;
            done = connect => done,
            () = self.world.sleep(CONNECT_TIMEOUT) => Err(PeerError::Io(std::io::ErrorKind::TimedOut.into())),
        }
    }

    /// Forgets what waits; `false` once the member has stopped.
    fn discard(&mut self) -> bool {
        loop {
            match self.receive.try_recv() {
                Ok(message) => {
                    self.queued.fetch_sub(weight(&message), Ordering::Relaxed);
                }
                Err(mpsc::error::TryRecvError::Empty) => return true,
                Err(mpsc::error::TryRecvError::Disconnected) => return false,
            }
        }
    }

    async fn speak(&mut self, stream: Layered<W::Stream>, version: u16) -> Ended {
        let (mut read, mut write) = tokio::io::split(stream);
        let mut writer = FrameWriter::new(version);
        let mut acks = [0; 64];
        // The oldest write that no ack has followed.
        let mut unheard_since: Option<Duration> = None;
        loop {
            let stalled = async {
                match unheard_since {
                    Some(since) => self.world.sleep_until(since + STALL).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                ack = read.read(&mut acks) => match ack {
                    Ok(0) | Err(_) => return Ended::Broken,
                    Ok(_) => unheard_since = None,
                },
                message = self.receive.recv() => {
                    let Some(message) = message else { return Ended::Stopped };
                    self.take(&message, &mut writer);
                    while writer.len() < WRITE_BYTES && !hits(Site::FrameOne) {
                        match self.receive.try_recv() {
                            Ok(message) => self.take(&message, &mut writer),
                            Err(_) => break,
                        }
                    }
                    let frames = writer.frames();
                    let written = async {
                        write.write_all(frames).await?;
                        write.flush().await
                    };
                    let result = tokio::select! {
                        biased;
                        result = written => result,
                        () = self.world.sleep(STALL) => Err(std::io::ErrorKind::TimedOut.into()),
                    };
                    if let Err(error) = result {
                        tracing::debug!(peer = %self.hello.to, %error, "lost the connection to a peer");
                        return Ended::Broken;
                    }
                    self.meters.sent(self.hello.to, writer.len());
                    writer.clear();
                    if hits(Site::PeerHangsUp) {
                        return Ended::Broken;
                    }
                    unheard_since.get_or_insert(self.world.now());
                }
                () = stalled => return Ended::Broken,
            }
        }
    }

    fn take(&self, message: &PeerMessage, writer: &mut FrameWriter) {
        self.queued.fetch_sub(weight(message), Ordering::Relaxed);
        writer.push(message);
    }
}

/// Which inbound connection of each peer is the current one, and who is not let in any more.
struct Inbound<T> {
    current: BTreeMap<MemberId, (u64, T)>,
    next: u64,
    removed: BTreeSet<MemberId>,
}

/// The connections that peers have made to this member.
pub(crate) struct InboundPeers<T>(Arc<Mutex<Inbound<T>>>);

impl<T> Clone for InboundPeers<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Task> InboundPeers<T> {
    pub(crate) fn new() -> Self {
        let (current, removed) = (BTreeMap::new(), BTreeSet::new());
        Self(Arc::new(Mutex::new(Inbound { current, next: 0, removed })))
    }

    /// Closes the connections of members that were removed; they are told so when they dial anew.
    pub(crate) fn remove(&self, removed: &BTreeSet<MemberId>) {
        let mut inbound = self.0.lock().expect("no holder panics");
        for member in removed.difference(&inbound.removed.clone()) {
            if let Some((_, task)) = inbound.current.remove(member) {
                task.abort();
            }
        }
        inbound.removed.clone_from(removed);
    }
}

/// Asks the member at `address` who the cluster is.
pub(crate) async fn ask<W: World>(
    world: &W,
    address: &str,
    layer: Option<&Arc<dyn Secure>>,
) -> Result<Cluster, PeerError> {
    let asking = async { question(&mut reach(world, address, layer).await?).await };
    tokio::select! {
        biased;
        answer = asking => answer,
        () = world.sleep(CONNECT_TIMEOUT) => Err(PeerError::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

/// Asks the member at `address` for the hash of its keys and values at a revision.
pub(crate) async fn ask_hash<W: World>(
    world: &W,
    address: &str,
    layer: Option<&Arc<dyn Secure>>,
    revision: Revision,
) -> Result<Result<HashKvResponse, Error>, PeerError> {
    let asking = async { hash_question(&mut reach(world, address, layer).await?, revision).await };
    tokio::select! {
        biased;
        answer = asking => answer,
        () = world.sleep(HASH_TIMEOUT) => Err(PeerError::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

async fn reach<W: World>(
    world: &W,
    address: &str,
    layer: Option<&Arc<dyn Secure>>,
) -> Result<Layered<W::Stream>, PeerError> {
    let stream = world.connect(address).await?;
    Ok(match layer {
        None => Layered::Plain(stream),
        Some(layer) => Layered::Secured(layer.connect(Box::new(stream), host_of(address)).await?.stream),
    })
}

/// Accepts peers until the task is aborted.
pub(crate) fn accept<W: World>(hearing: Hearing<W>, mut listener: W::Listener) -> W::Task {
    let accepting = hearing.world.clone();
    accepting.clone().spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    let hearing = hearing.clone();
                    let (give, take) = tokio::sync::oneshot::channel();
                    let task = accepting.spawn(async move {
                        if let Ok(task) = take.await {
                            hearing.run(stream, address, task).await;
                        }
                    });
                    let _ = give.send(task);
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a peer");
                    accepting.sleep(Duration::from_millis(100)).await;
                }
            }
        }
    })
}

/// Answers a question. The asker has read it all once it closes; to close first might cut it short.
async fn tell<T: serde::Serialize, S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    stream: &mut S,
    answer: &T,
) -> Result<(), PeerError> {
    let mut bytes = Vec::new();
    encode_frame(answer, &mut bytes);
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    let _ = stream.read(&mut [0]).await;
    Ok(())
}

/// What is needed to hear peers.
pub(crate) struct Hearing<W: World> {
    pub(crate) world: W,
    pub(crate) cluster: ClusterId,
    pub(crate) me: MemberId,
    pub(crate) versions: PeerVersions,
    pub(crate) layer: Layer,
    pub(crate) inbox: Inbox,
    pub(crate) inbound: InboundPeers<W::Task>,
    pub(crate) meters: Arc<Meters>,
}

impl<W: World> Clone for Hearing<W> {
    fn clone(&self) -> Self {
        Self {
            world: self.world.clone(),
            cluster: self.cluster,
            me: self.me,
            versions: self.versions,
            layer: self.layer.clone(),
            inbox: self.inbox.clone(),
            inbound: self.inbound.clone(),
            meters: self.meters.clone(),
        }
    }
}

impl<W: World> Hearing<W> {
    async fn run(self, stream: W::Stream, address: String, task: W::Task) {
        let welcomed = tokio::select! {
            biased;
            welcomed = self.welcome(stream) => welcomed,
            () = self.world.sleep(HASH_TIMEOUT) => return,
        };
        let (from, version, stream) = match welcomed {
            Ok(Some(welcomed)) => welcomed,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%address, %error, "turned a peer away");
                return;
            }
        };
        let number = {
            let mut inbound = self.inbound.0.lock().expect("no holder panics");
            inbound.next += 1;
            let number = inbound.next;
            if let Some((_, old)) = inbound.current.insert(from, (number, task)) {
                // The peer dialled anew; what still waits on the old connection is out of date.
                old.abort();
            }
            number
        };
        let error = self.hear(stream, from, version).await;
        let mut inbound = self.inbound.0.lock().expect("no holder panics");
        if inbound.current.get(&from).is_some_and(|(current, _)| *current == number) {
            inbound.current.remove(&from);
            match error {
                PeerError::Io(error) => {
                    // Its process ended, or it gave the connection up: if it led, a pre-vote may follow at once
                    // instead of after an election timeout. A live leader answers that with its heartbeat.
                    tracing::debug!(peer = %from, %error, "a peer closed its connection");
                    let _ = self.inbox.send(Call::Input(Input::PeerReset(from)));
                }
                error => tracing::error!(peer = %from, %error, "a peer sent what cannot be understood"),
            }
        }
    }

    /// Lets a peer in, or answers a question (then there is nothing more to hear).
    async fn welcome(
        &self,
        stream: W::Stream,
    ) -> Result<Option<(MemberId, u16, Layered<W::Stream>)>, PeerError> {
        let mut stream = match &self.layer {
            None => Layered::Plain(stream),
            Some(layer) => Layered::Secured(layer.accept(Box::new(stream)).await?.stream),
        };
        match opening(&mut stream).await? {
            Opening::Peer => {
                let is_removed =
                    |from| self.inbound.0.lock().expect("no holder panics").removed.contains(&from);
                let (hello, version) =
                    welcome(&mut stream, self.cluster, self.me, self.versions, is_removed).await?;
                let _ = self.inbox.send(Call::Dialled { peer: hello.from, urls: hello.urls });
                Ok(Some((hello.from, version, stream)))
            }
            Opening::Question => {
                let (answer, wait) = tokio::sync::oneshot::channel();
                let _ = self.inbox.send(Call::Cluster { answer });
                if let Ok(cluster) = wait.await {
                    tell(&mut stream, &cluster).await?;
                }
                Ok(None)
            }
            Opening::Hash(revision) => {
                let request = Request::As(Caller::Server, Box::new(Request::HashKv { revision }));
                let (answer, wait) = tokio::sync::oneshot::channel();
                let _ = self.inbox.send(Call::Request { request, answer });
                if let Ok(answered) = wait.await {
                    let answer = answered.and_then(|response| match response {
                        Response::HashKv(hash) => Ok(hash),
                        _ => Err(Error::NotCapable),
                    });
                    tell(&mut stream, &answer).await?;
                }
                Ok(None)
            }
        }
    }

    async fn hear(&self, stream: Layered<W::Stream>, from: MemberId, version: u16) -> PeerError {
        let (read, mut write) = tokio::io::split(stream);
        let heard = AtomicUsize::new(0);
        let reading = async {
            let mut read = BufReader::with_capacity(64 << 10, read);
            let mut reader = FrameReader { version, from, to: self.me, buffer: Vec::new() };
            let mut messages = Vec::new();
            loop {
                if let Err(error) = reader.read(&mut read, &mut messages).await {
                    return error;
                }
                heard.fetch_add(1, Ordering::Relaxed);
                self.meters.received(from, reader.buffer.len());
                for message in messages.drain(..) {
                    if self.inbox.send(Call::Input(Input::Peer(message))).is_err() {
                        return PeerError::Io(std::io::ErrorKind::BrokenPipe.into());
                    }
                }
            }
        };
        let acking = async {
            let mut acked = 0;
            loop {
                self.world.sleep(ACK_INTERVAL).await;
                let now = heard.load(Ordering::Relaxed);
                if now != acked {
                    acked = now;
                    let ack = async {
                        write.write_all(&[1]).await?;
                        write.flush().await
                    };
                    if let Err(error) = ack.await {
                        return PeerError::from(error);
                    }
                }
            }
        };
        tokio::select! {
            biased;
            error = reading => error,
            error = acking => error,
        }
    }
}
