//! The thin loop that drives a [`Member`] over a world: it takes the next inputs, steps, and carries out the
//! outputs. It decides nothing.

use crate::disk::{BackendWork, write_backend};
use crate::handle::{Call, Handle};
use crate::identity::Identity;
use crate::member::{BootError, Input, LogWrite, Member, MemberOptions, Output, Rescue, Timer};
use crate::meters::Meters;
use crate::observation::Observer;
use crate::peer::{Hello, PeerVersions};
use crate::proposal::RequestId;
use crate::transport::{self, InboundPeers, PeerLink};
use crate::{Cluster, disk, initial_check};
use seatrial_store::{Reading, RedbBackend, RedbOptions, V2Output, View, WalOptions};
use seatrial_types::buggify::{Site, amount, hits};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::v2::{V2Error, V2Event, V2WatchId, V2Watching};
use seatrial_types::watch::{StreamId, WatchResponse};
use seatrial_types::{ClusterId, Error, MemberId, Response, Revision};
use seatrial_world::{Disk, DiskFile, DiskWork, OpenMode, Secure, Task, World};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Inputs taken between two flushes: more would batch better and answer later.
const BATCH_MAX: usize = 512;

/// Of a long range so much is read at once, so that the log's writes, which the same threads do, wait for no more.
const READ_PAGE: (usize, usize) = (256, 1 << 20);

/// Long ranges that are read at one time. The others wait for their turn, and hold no memory yet.
const READINGS_MAX: usize = 4;

/// Time for a member's last messages to leave.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// How a member is started.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The member's settings. `boot` is drawn by [`start`].
    pub member: MemberOptions,
    /// The cluster as it began: from the flags, or from [`read_identity`] where the disk has one.
    pub cluster: Cluster,
    /// Where this member's peers reach it.
    pub peer_urls: Vec<String>,
    /// Where peers are heard besides what the log will tell: for a member that joins, and knows of the others
    /// only what it was told.
    pub known_peers: BTreeMap<MemberId, Vec<String>>,
    /// The folder for everything this member keeps.
    pub data_dir: String,
    /// `host:port` at which peers are heard.
    pub peer_listen: Vec<String>,
    /// The versions of the peer protocol that may be spoken.
    pub peer_versions: PeerVersions,
    /// What lies around the connections between members; `None`: plain text.
    pub peer_layer: Option<Arc<dyn Secure>>,
    /// The write-ahead log's settings.
    pub wal: WalOptions,
    /// The store file's settings.
    pub redb: RedbOptions,
    /// What an operator has decided about what is lost.
    pub rescue: Rescue,
    /// Compare what this member holds with its peers before it serves.
    pub initial_corrupt_check: bool,
}

/// A member that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder cannot be used.
    #[error("the data folder {dir:?} cannot be used: {source}\nhint: {hint}")]
    DataDir {
        /// Which.
        dir: String,
        /// Why.
        source: std::io::Error,
        /// What to try.
        hint: &'static str,
    },
    /// Nobody can be heard at the address.
    #[error("cannot listen for peers at {address}: {source}\nhint: is another member running there?")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// A peer's address makes no sense.
    #[error("the peer address {url:?} is not of the form http://host:port or https://host:port{why}")]
    PeerUrl {
        /// The address.
        url: String,
        /// More, where there is more to say.
        why: &'static str,
    },
    /// The log or the store cannot be read.
    #[error("{0}")]
    Disk(#[from] disk::DiskError),
    /// What is on disk does not make a member.
    #[error("{0}")]
    Boot(#[from] BootError),
    /// The peers hold something else.
    #[error(
        "{member:x} found data inconsistency with peers: at revision {revision}, compacted at {compacted}, the hash is {hash:08x} here, but {told}\nhint: one of them is damaged; compare all with `etcdctl endpoint hashkv --cluster`, and remove the one that differs from the majority and add it anew"
    )]
    Inconsistent {
        /// This member.
        member: u64,
        /// At which revision.
        revision: Revision,
        /// Compacted up to where.
        compacted: Revision,
        /// Here.
        hash: u32,
        /// There.
        told: String,
    },
    /// The data cannot be read for that.
    #[error("the data cannot be compared with the peers': {0}")]
    Compare(#[from] seatrial_store::Failure),
}

/// A running member.
#[derive(Debug)]
pub struct Running<W: World> {
    /// To talk to it.
    pub handle: Handle,
    /// Its id.
    pub id: MemberId,
    /// The addresses at which it hears peers, with drawn ports.
    pub peer_addresses: Vec<String>,
    /// What its tasks measure.
    pub meters: Arc<Meters>,
    ended: oneshot::Receiver<Result<(), String>>,
    tasks: Vec<W::Task>,
}

impl<W: World> Running<W> {
    /// Waits until it stops: `Ok` where it was told to, else the reason, one sentence.
    ///
    /// # Errors
    /// The reason for which the member could not go on.
    pub async fn ended(&mut self) -> Result<(), String> {
        let result = (&mut self.ended).await.unwrap_or_else(|_| Err("the member's loop died".to_owned()));
        for task in self.tasks.drain(..) {
            task.abort();
        }
        result
    }
}

/// `host:port` of `http://host:port` or `https://host:port`.
///
/// # Errors
/// [`StartError::PeerUrl`].
pub fn address_of(url: &str) -> Result<String, StartError> {
    let fail = |why| StartError::PeerUrl { url: url.to_owned(), why };
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let rest = rest.ok_or_else(|| fail(""))?.trim_end_matches('/');
    let (host, port) = rest.rsplit_once(':').ok_or_else(|| fail(": the port is missing"))?;
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(fail(""));
    }
    Ok(rest.to_owned())
}

/// Asks the members at these addresses, one after the other, who the cluster is: what a member that joins must
/// know.
///
/// # Errors
/// One sentence per address, where none answers.
pub async fn ask_cluster<W: World>(
    world: &W,
    addresses: &[String],
    layer: Option<&Arc<dyn Secure>>,
) -> Result<Cluster, String> {
    let mut errors = Vec::new();
    for address in addresses {
        match transport::ask(world, address, layer).await {
            Ok(cluster) => return Ok(cluster),
            Err(error) => errors.push(format!("{address}: {error}")),
        }
    }
    Err(errors.join("\n"))
}

/// Starts a member: opens its disk, recovers, listens for peers, and drives it in tasks of the world.
///
/// # Errors
/// See [`StartError`].
pub async fn start<W: World>(
    world: &W,
    mut options: NodeOptions,
    observer: Arc<dyn Observer>,
) -> Result<Running<W>, StartError> {
    options.member.boot = (world.rand() >> 32) as u32 | 1;
    let id = options.member.raft.id;
    let data_dir = |hint| {
        let dir = options.data_dir.clone();
        move |source| StartError::DataDir { dir, source, hint }
    };
    let root = world
        .disk(&options.data_dir)
        .map_err(data_dir("--data-dir must be a folder this user may write to"))?;
    let lock = root
        .open("lock", OpenMode::Create)
        .map_err(data_dir("--data-dir must be a folder this user may write to"))?;
    lock.lock().map_err(data_dir("another process uses it; every member needs a folder of its own"))?;

    let mut listeners = Vec::new();
    for address in &options.peer_listen {
        let listener = world
            .listen(address)
            .await
            .map_err(|source| StartError::Listen { address: address.clone(), source })?;
        listeners.push(listener);
    }

    let identity =
        Identity { member: id, cluster: options.cluster.clone(), known_peers: options.known_peers.clone() };
    let identified = root.clone();
    world
        .work(DiskWork::Sync, move || identity.write_once(&identified))
        .await
        .map_err(data_dir("the disk may be full"))?;
    let (wal, redb, opening) = (options.wal, options.redb.clone(), root.clone());
    let opened = world.work(DiskWork::Read, move || disk::open(&opening, wal, redb)).await?;
    let disk::Opened { wal, durable, backend, committer } = opened;
    let cluster_id = options.cluster.id;
    let member =
        Member::boot(options.member.clone(), options.cluster.clone(), backend, durable, options.rescue)?;
    if options.initial_corrupt_check {
        initial_check::compare(world, &member, options.peer_layer.as_ref()).await?;
    }

    let (calls, inbox) = mpsc::unbounded_channel();
    let mut tasks = Vec::new();
    let mut peer_addresses = Vec::new();
    let inbound = InboundPeers::new();
    let layer = options.peer_layer.clone();
    let meters = Arc::new(Meters::default());
    for listener in listeners {
        peer_addresses.push(seatrial_world::Listener::local_address(&listener));
        let hearing = transport::Hearing {
            world: world.clone(),
            cluster: cluster_id,
            me: id,
            versions: options.peer_versions,
            layer: layer.clone(),
            inbox: calls.clone(),
            inbound: inbound.clone(),
            meters: meters.clone(),
        };
        tasks.push(transport::accept(hearing, listener));
    }
    let peers = Peers {
        world: world.clone(),
        cluster: cluster_id,
        me: id,
        versions: options.peer_versions,
        own: options.peer_urls.clone(),
        table: BTreeMap::new(),
        removed: BTreeSet::new(),
        known: options.known_peers.clone(),
        links: BTreeMap::new(),
        layer,
        inbound,
        inbox: calls.clone(),
        meters: meters.clone(),
    };

    let (log_writes, log_work) = mpsc::unbounded_channel();
    tasks.push(world.spawn(disk::write_log(world.clone(), wal, log_work, calls.clone(), meters.clone())));
    let (commits, commit_work) = mpsc::unbounded_channel();
    tasks.push(world.spawn(write_backend(
        world.clone(),
        committer,
        commit_work,
        calls.clone(),
        meters.clone(),
    )));

    let (end, ended) = oneshot::channel();
    let boot = u64::from(options.member.boot) << 32;
    let driver = Driver {
        world: world.clone(),
        member,
        observer,
        inbox,
        timers: BTreeMap::new(),
        peers,
        log_writes,
        commits,
        answers: BTreeMap::new(),
        readings: Arc::new(Semaphore::new(READINGS_MAX)),
        streams: BTreeMap::new(),
        v2_watches: BTreeMap::new(),
        next_request: boot,
        next_stream: boot,
        meters: meters.clone(),
        _lock: lock,
    };
    let last_words = world.clone();
    tasks.push(world.spawn(async move {
        let result = driver.run().await;
        // What the member said last is still on its way to its peers.
        last_words.sleep(LAST_WORDS).await;
        let _ = end.send(result);
    }));
    Ok(Running { handle: Handle { calls }, id, peer_addresses, meters, ended, tasks })
}

/// Reads a long range, page by page, and answers with it.
async fn read<W: World, V: View + Send + 'static>(
    world: W,
    turns: Arc<Semaphore>,
    mut reading: Box<Reading<V>>,
    answer: oneshot::Sender<Result<Response, Error>>,
    inbox: mpsc::UnboundedSender<Call>,
) {
    let Ok(_turn) = turns.acquire().await else { return };
    // Who no longer waits need not be read for.
    while !answer.is_closed() {
        let (back, more) = world
            .work(DiskWork::Read, move || {
                let keys = if hits(Site::ReadPageSmall) { 1 } else { READ_PAGE.0 };
                let more = reading.step(keys, READ_PAGE.1);
                (reading, more)
            })
            .await;
        reading = back;
        match more {
            Ok(true) => {}
            Ok(false) => {
                let response = world.work(DiskWork::Read, move || reading.answer()).await;
                let _ = answer.send(Ok(Response::Range(response)));
                return;
            }
            Err(error) => {
                let _ = inbox.send(Call::Failed(format!("the store failed: {error}")));
                let _ = answer.send(Err(Error::Stopped));
                return;
            }
        }
    }
}

/// The ways to the other members, as the log has them.
struct Peers<W: World> {
    world: W,
    cluster: ClusterId,
    me: MemberId,
    versions: PeerVersions,
    /// Where this member is heard.
    own: Vec<String>,
    /// The members and addresses of the log.
    table: BTreeMap<MemberId, Vec<String>>,
    removed: BTreeSet<MemberId>,
    /// Addresses told at the start, or by the peers themselves; tried besides those of the log, which may be old
    /// while a member catches up.
    known: BTreeMap<MemberId, Vec<String>>,
    links: BTreeMap<MemberId, (Vec<String>, PeerLink)>,
    layer: transport::Layer,
    inbound: InboundPeers<W::Task>,
    inbox: mpsc::UnboundedSender<Call>,
    meters: Arc<Meters>,
}

impl<W: World> Peers<W> {
    fn set(&mut self, table: BTreeMap<MemberId, Vec<String>>, removed: BTreeSet<MemberId>) {
        self.table = table;
        self.removed = removed;
        self.connect();
        self.inbound.remove(&self.removed);
    }

    /// A peer says where it is heard. This member may lag behind the entry that says so: were it not to answer until
    /// it knows from its log where, a leader that has just joined could never bring it that entry.
    fn dialled(&mut self, peer: MemberId, urls: Vec<String>) {
        let known = self.known.entry(peer).or_default();
        let is_news = urls.iter().any(|url| !known.contains(url))
            && !self.table.get(&peer).is_some_and(|table| urls.iter().all(|url| table.contains(url)));
        if is_news {
            *known = urls;
            self.connect();
        }
    }

    fn connect(&mut self) {
        let mut urls = self.table.clone();
        for (member, known) in &self.known {
            if *member != self.me && !self.removed.contains(member) {
                urls.entry(*member).or_default().extend(known.iter().cloned());
            }
        }
        self.links.retain(|member, _| urls.contains_key(member));
        for (member, urls) in urls {
            let mut addresses = Vec::new();
            for url in urls {
                match address_of(&url) {
                    Ok(address) if !addresses.contains(&address) => addresses.push(address),
                    Ok(_) => {}
                    Err(error) => tracing::error!(peer = %member, %error, "cannot reach a peer"),
                }
            }
            if addresses.is_empty() || self.links.get(&member).is_some_and(|(old, _)| *old == addresses) {
                continue;
            }
            // The dialler of the old address ends with its queue.
            let hello = Hello {
                version: self.versions.min,
                cluster: self.cluster,
                from: self.me,
                to: member,
                urls: self.own.clone(),
            };
            let (layer, inbox) = (self.layer.clone(), self.inbox.clone());
            let meters = self.meters.clone();
            let newest = self.versions.max;
            let (link, _) =
                transport::dial(&self.world, hello, newest, addresses.clone(), layer, inbox, meters);
            self.links.insert(member, (addresses, link));
        }
    }
}

/// Where one who wants to wait for changes of the v2 key space learns whether they may.
type V2Begin = oneshot::Sender<Result<(V2WatchId, V2Watching), V2Error>>;

struct Driver<W: World> {
    world: W,
    member: Member<RedbBackend<W::Disk>>,
    observer: Arc<dyn Observer>,
    inbox: mpsc::UnboundedReceiver<Call>,
    timers: BTreeMap<Timer, Duration>,
    peers: Peers<W>,
    log_writes: mpsc::UnboundedSender<LogWrite>,
    commits: mpsc::UnboundedSender<BackendWork>,
    answers: BTreeMap<RequestId, oneshot::Sender<Result<Response, Error>>>,
    readings: Arc<Semaphore>,
    streams: BTreeMap<StreamId, mpsc::UnboundedSender<WatchResponse>>,
    /// Who waits for changes of the v2 key space: who wants to know whether they may, and where the changes go.
    v2_watches: BTreeMap<V2WatchId, (Option<V2Begin>, mpsc::Sender<Arc<V2Event>>)>,
    next_request: u64,
    next_stream: u64,
    meters: Arc<Meters>,
    /// Keeps other processes out of the data folder while this member runs.
    _lock: <W::Disk as Disk>::File,
}

impl<W: World> Driver<W> {
    async fn run(mut self) -> Result<(), String> {
        if let Some(result) = self.flush() {
            return result;
        }
        // The armed deadline is kept while it is not later than the next timer: election timers move on with
        // every heartbeat, and making a new sleep each time would cost more than waking once too early.
        let mut armed: Option<(Duration, Pin<Box<W::Sleep>>)> = None;
        loop {
            let next = self.timers.values().min().copied();
            match (next, &armed) {
                (None, _) => armed = None,
                (Some(next), Some((at, _))) if *at <= next => {}
                (Some(next), _) => armed = Some((next, Box::pin(self.world.sleep_until(next)))),
            }
            let sleeping = async {
                match &mut armed {
                    Some((_, sleep)) => sleep.as_mut().await,
                    None => std::future::pending().await,
                }
            };
            let first = tokio::select! {
                biased;
                call = self.inbox.recv() => match call {
                    Some(call) => Some(call),
                    None => return Ok(()),
                },
                () = sleeping => None,
            };
            if let Some(late) = amount(Site::LoopStalls, 20) {
                self.world.sleep(Duration::from_millis(late)).await;
            }
            let now = self.world.now();
            if is_planted(Planted::R28) {
                self.member.tell_calendar(self.world.wall());
            }
            match first {
                None => armed = None,
                Some(call) => {
                    if let Some(result) = self.take(now, call) {
                        return result;
                    }
                    let more = if hits(Site::BatchOne) { 0 } else { BATCH_MAX - 1 };
                    for _ in 0..more {
                        let Ok(call) = self.inbox.try_recv() else { break };
                        if let Some(result) = self.take(now, call) {
                            return result;
                        }
                    }
                }
            }
            while let Some((&timer, _)) = self.timers.iter().find(|(_, at)| **at <= now) {
                self.timers.remove(&timer);
                self.member.step(now, Input::Timer(timer));
            }
            if let Some(result) = self.flush() {
                return result;
            }
        }
    }

    /// Hands one call to the member; `Some` where the loop ends.
    fn take(&mut self, now: Duration, call: Call) -> Option<Result<(), String>> {
        match call {
            Call::Input(input) => self.member.step(now, input),
            Call::Request { request, answer } => {
                self.next_request += 1;
                let id = RequestId(self.next_request);
                self.answers.insert(id, answer);
                self.member.step(now, Input::Request { id, request });
            }
            Call::WatchOpen { responses, opened } => {
                self.next_stream += 1;
                let stream = StreamId(self.next_stream);
                self.streams.insert(stream, responses);
                self.member.step(now, Input::WatchOpen(stream));
                let _ = opened.send(stream);
            }
            Call::Watch { stream, request } => self.member.step(now, Input::Watch { stream, request }),
            Call::WatchCredit { stream, count } => {
                self.member.step(now, Input::WatchCredit { stream, count });
            }
            Call::WatchClose { stream } => {
                self.streams.remove(&stream);
                self.member.step(now, Input::WatchClose(stream));
            }
            Call::V2Watch { watch, answer, events } => {
                self.next_stream += 1;
                let id = V2WatchId(self.next_stream);
                self.v2_watches.insert(id, (Some(answer), events));
                self.member.step(now, Input::V2Watch { id, watch });
            }
            Call::V2Close(id) => {
                self.v2_watches.remove(&id);
                self.member.step(now, Input::V2Close(id));
            }
            Call::Dialled { peer, urls } => self.peers.dialled(peer, urls),
            Call::Cluster { answer } => {
                let _ = answer.send(self.member.cluster().clone());
            }
            Call::Figures { answer } => {
                let _ = answer.send(self.member.figures());
            }
            Call::Failed(why) => {
                tracing::error!(member = %self.member.id(), %why, "stopped");
                let id = self.member.id();
                let failed = crate::observation::Observation::Failed { why: why.clone() };
                self.observer.observe(id, now, failed);
                self.member.step(now, Input::Stop);
                let _ = self.flush();
                return Some(Err(why));
            }
            Call::Stop => {
                self.member.step(now, Input::Stop);
                let _ = self.flush();
                return Some(Ok(()));
            }
        }
        None
    }

    /// Carries out what the member wants; `Some` where the loop ends.
    fn flush(&mut self) -> Option<Result<(), String>> {
        let now = self.world.now();
        let mut end = None;
        for output in self.member.flush() {
            match output {
                Output::Send(message) => {
                    if let Some((_, link)) = self.peers.links.get(&message.to) {
                        link.send(message);
                    }
                }
                Output::Log(write) => {
                    let _ = self.log_writes.send(write);
                }
                Output::Commit(batch) => {
                    let _ = self.commits.send(BackendWork::Batch(batch));
                }
                Output::Defragment => {
                    let _ = self.commits.send(BackendWork::Rewrite);
                }
                Output::Answer { id, result } => {
                    if let Some(answer) = self.answers.remove(&id) {
                        match amount(Site::AnswerLate, 50) {
                            None => {
                                let _ = answer.send(result);
                            }
                            Some(late) => {
                                let world = self.world.clone();
                                self.world.spawn(async move {
                                    world.sleep(Duration::from_millis(late)).await;
                                    let _ = answer.send(result);
                                });
                            }
                        }
                    }
                }
                Output::Read { id, reading } => {
                    if let Some(answer) = self.answers.remove(&id) {
                        let (turns, inbox) = (self.readings.clone(), self.peers.inbox.clone());
                        self.world.spawn(read(self.world.clone(), turns, reading, answer, inbox));
                    }
                }
                Output::Watch { stream, response } => {
                    if let Some(responses) = self.streams.get(&stream) {
                        if !response.events.is_empty() {
                            let events = response.events.len() as u64;
                            self.meters.events.fetch_add(events, std::sync::atomic::Ordering::Relaxed);
                        }
                        let _ = responses.send(response);
                    }
                }
                Output::V2Watching { id, result } => {
                    let is_refused = result.is_err();
                    if let Some((begin, _)) = self.v2_watches.get_mut(&id)
                        && let Some(answer) = begin.take()
                    {
                        let _ = answer.send(result.map(|began| (id, began)));
                    }
                    if is_refused {
                        self.v2_watches.remove(&id);
                    }
                }
                Output::V2(V2Output::Event(id, event)) => {
                    // Whoever reads too slowly is told nothing more, rather than something and then not all.
                    let is_over =
                        self.v2_watches.get(&id).is_some_and(|(_, events)| events.try_send(event).is_err());
                    if is_over {
                        self.v2_watches.remove(&id);
                        self.member.step(now, Input::V2Close(id));
                    }
                }
                Output::V2(V2Output::Lost(id)) => {
                    self.v2_watches.remove(&id);
                }
                Output::SetTimer { timer, min, max } => {
                    let max = if hits(Site::TimerSoonest) { min } else { max };
                    let spread = max.saturating_sub(min).as_nanos() as u64;
                    let extra = if spread == 0 { 0 } else { self.world.rand() % (spread + 1) };
                    self.timers.insert(timer, now + min + Duration::from_nanos(extra));
                }
                Output::CancelTimer(timer) => {
                    self.timers.remove(&timer);
                }
                Output::Peers { members, removed } => self.peers.set(members, removed),
                Output::Removed => {
                    tracing::info!(member = %self.member.id(), "this member was removed from the cluster");
                    end = Some(Ok(()));
                }
                Output::Observe(observation) => {
                    self.observer.observe(self.member.id(), now, observation);
                }
                Output::Fatal(why) => {
                    tracing::error!(member = %self.member.id(), %why, "stopped");
                    end = Some(Err(why));
                }
            }
        }
        end
    }
}
