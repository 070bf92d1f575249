//! The real state machine of the store, in memory and without a cluster around it: one copy, reached by every machine over a
//! link that can be cut.

use seatrial_client::{ClientError, Store, Watching};
use seatrial_store::{Command, HubOptions, MemBackend, Output, Store as Machine};
use seatrial_types::request::{LeaseGrantRequest, LeaseKeepAliveResponse};
use seatrial_types::watch::{StreamId, WatchCreate, WatchRequest, WatchResponse};
use seatrial_types::{Error, LogIndex, Request, Response, Term};
use seatrial_world::World;
use seatrial_world_sim::SimWorld;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

struct State {
    machine: Machine<MemBackend>,
    next_lease: i64,
    next_stream: u64,
    streams: BTreeMap<StreamId, mpsc::UnboundedSender<WatchResponse>>,
    /// Whether the store answers.
    is_up: bool,
}

impl State {
    fn apply(&mut self, command: &Command, now: Duration) -> Result<Response, Error> {
        let index = LogIndex(self.machine.applied().0 + 1);
        let applied = self.machine.apply(index, Term(1), command, now).expect("memory does not fail");
        self.deliver(applied.watch);
        applied.answer.map(|answer| answer.expect("a client waits for it"))
    }

    fn deliver(&mut self, outputs: Vec<Output>) {
        for (stream, response) in outputs {
            self.machine.watch_credit(stream, response.credit());
            if let Some(sender) = self.streams.get(&stream) {
                let _ = sender.send(response);
            }
        }
    }

    fn catch_up(&mut self) {
        while self.machine.watch_has_work() {
            let outputs = self.machine.watch_step(1 << 20).expect("memory does not fail");
            self.deliver(outputs);
        }
    }
}

/// The store itself, with the clock by which it counts leases.
#[derive(Clone)]
pub struct Hub {
    state: Arc<Mutex<State>>,
    clock: SimWorld,
}

impl Hub {
    pub fn start(clock: SimWorld) -> Self {
        let mut machine =
            Machine::open(MemBackend::new(), HubOptions::default()).expect("an empty store opens");
        machine.leases_mut().promote(clock.now(), None);
        let state = State { machine, next_lease: 1, next_stream: 1, streams: BTreeMap::new(), is_up: true };
        let hub = Self { state: Arc::new(Mutex::new(state)), clock };
        let ending = hub.clone();
        hub.clock.spawn(async move {
            loop {
                ending.clock.sleep(Duration::from_millis(50)).await;
                ending.end_leases();
            }
        });
        hub
    }

    fn end_leases(&self) {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap();
        if state.is_up {
            for lease in state.machine.leases().expired(now, usize::MAX) {
                let _ = state.apply(&Command::LeaseRevoke(lease), now);
            }
        }
    }

    /// The store stands still: it answers nobody and ends no lease.
    pub fn stop(&self) {
        let mut state = self.state.lock().unwrap();
        state.is_up = false;
        state.machine.leases_mut().demote();
    }

    /// It is back, under another leader: every lease has its whole time again.
    pub fn resume(&self) {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap();
        state.is_up = true;
        state.machine.leases_mut().promote(now, None);
    }

    /// A link to it, from one machine.
    pub fn link(&self, world: SimWorld) -> Link {
        Link { hub: self.clone(), world, is_cut: Arc::new(AtomicBool::new(false)) }
    }
}

/// The store as one machine reaches it.
#[derive(Clone)]
pub struct Link {
    hub: Hub,
    world: SimWorld,
    is_cut: Arc<AtomicBool>,
}

impl Link {
    pub fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::Relaxed);
    }

    /// The same link, for another life of the machine.
    pub fn at(&self, world: SimWorld) -> Self {
        Self { world, ..self.clone() }
    }

    fn is_open(&self) -> bool {
        !self.is_cut.load(Ordering::Relaxed) && self.hub.state.lock().unwrap().is_up
    }
}

impl Store for Link {
    type Watch = LinkWatch;

    async fn call(&self, request: Request) -> Result<Response, ClientError> {
        self.world.sleep(Duration::from_millis(1)).await;
        if !self.is_open() {
            self.world.sleep(Duration::from_millis(500)).await;
            return Err(ClientError::unreachable("the link is cut"));
        }
        let answer = {
            let now = self.hub.clock.now();
            let mut state = self.hub.state.lock().unwrap();
            let command = match request.clone() {
                Request::Range(range) => {
                    return match state.machine.range(&range) {
                        Ok(answer) => Ok(Response::Range(answer)),
                        Err(seatrial_store::Failure::Refused(error)) => Err(ClientError::certain(error)),
                        Err(broken) => panic!("{broken:?}"),
                    };
                }
                Request::LeaseKeepAlive(id) => {
                    let ttl_seconds = state.machine.leases_mut().renew(id, now).unwrap_or(0);
                    let header = state.machine.header();
                    return Ok(Response::LeaseKeepAlive(LeaseKeepAliveResponse { header, id, ttl_seconds }));
                }
                Request::Put(put) => Command::Put(put),
                Request::DeleteRange(delete) => Command::DeleteRange(delete),
                Request::Txn(txn) => {
                    // The limits of etcd, which a store without a front does not check.
                    assert!(txn.compare.len() <= 128 && txn.success.len() <= 128, "a transaction too large");
                    Command::Txn(txn)
                }
                Request::LeaseGrant(LeaseGrantRequest { ttl_seconds, .. }) => {
                    let id = seatrial_types::LeaseId(state.next_lease);
                    state.next_lease += 1;
                    Command::LeaseGrant(LeaseGrantRequest { id, ttl_seconds })
                }
                Request::LeaseRevoke(id) => Command::LeaseRevoke(id),
                other => panic!("the test's store does not serve {other:?}"),
            };
            state.apply(&command, now)
        };
        self.world.sleep(Duration::from_millis(1)).await;
        answer.map_err(ClientError::certain)
    }

    fn watch(&self, create: WatchCreate) -> LinkWatch {
        let mut state = self.hub.state.lock().unwrap();
        let stream = StreamId(state.next_stream);
        state.next_stream += 1;
        let (sender, answers) = mpsc::unbounded_channel();
        state.streams.insert(stream, sender);
        let outputs =
            state.machine.watch(stream, WatchRequest::Create(create)).expect("memory does not fail");
        state.deliver(outputs);
        state.catch_up();
        LinkWatch { link: self.clone(), stream, answers }
    }
}

/// So long after a link is mended a watch may still be silent, while calls are answered: the two are different streams.
const RESUME: Duration = Duration::from_secs(3);

/// What is sent over a cut link arrives once it is mended, as with a client that resumes.
pub struct LinkWatch {
    link: Link,
    stream: StreamId,
    answers: mpsc::UnboundedReceiver<WatchResponse>,
}

impl Drop for LinkWatch {
    fn drop(&mut self) {
        let mut state = self.link.hub.state.lock().unwrap();
        state.streams.remove(&self.stream);
        state.machine.watch_close(self.stream);
    }
}

impl Watching for LinkWatch {
    async fn next(&mut self) -> Option<Result<WatchResponse, ClientError>> {
        // The link may be cut while nothing comes: so it is looked at once something has come.
        let answer = self.answers.recv().await?;
        let world = &self.link.world;
        if !self.link.is_open() {
            while !self.link.is_open() {
                world.sleep(Duration::from_millis(50)).await;
            }
            world.sleep(RESUME).await;
        }
        Some(Ok(answer))
    }

    fn request_progress(&mut self) {}
}
