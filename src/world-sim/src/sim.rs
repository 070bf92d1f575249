//! A simulation: its nodes, what a scenario can do to them, and how a run of one seed comes out.

use crate::chance::{Chance, nanos};
use crate::clock::NodeClock;
use crate::core::{Core, Deadline, Death, Sleep, lock};
use crate::disk::{Crash, DiskLatency, DiskState};
use crate::faults::{ClockFaults, DiskFaults, NetFaults};
use crate::machine::{Action, Machine, Outside};
use crate::net::{Net, NetOptions};
use crate::observe::Event;
use crate::panics;
use crate::trace::{Divergence, Recording, What, divergence};
use crate::world::{SimWorld, executor_of};
use futures::FutureExt;
use futures::future::BoxFuture;
use madsim::rand::RngCore;
use std::fmt;
use std::future::{Future, poll_fn};
use std::net::Ipv4Addr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::time::Duration;

/// A node of the simulation: a machine with an address, a disk, a clock, and at most one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// Settings of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Simulated time after which a run counts as failed.
    pub time_limit: Duration,
    /// Real time after which a run counts as stuck: a loop that never waits lets no simulated time pass.
    pub wall_limit: Duration,
    /// How many of the latest events of the trace are kept.
    pub record_max: usize,
    /// Tell observers of every so-many-th packet; 0 is of none.
    pub packet_sample: u64,
    /// The network.
    pub net: NetOptions,
    /// The latencies of every disk.
    pub disk: DiskLatency,
    /// A panic kills the process in which it happens, and the run goes on. Otherwise it ends the run.
    pub kill_on_panic: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            time_limit: Duration::from_secs(600),
            wall_limit: Duration::from_secs(300),
            record_max: 0,
            packet_sample: 0,
            net: NetOptions::default(),
            disk: DiskLatency::default(),
            kill_on_panic: false,
        }
    }
}

/// Why a run did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A task panicked.
    Panic {
        /// The node on which it ran; `None` for the scenario itself.
        node: Option<String>,
        /// What it said, and where in the source.
        message: String,
        /// True time.
        at: Duration,
    },
    /// The simulated time was up.
    TimeLimit(Duration),
    /// No end came within this real time.
    Stuck(Duration),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic { node: Some(node), message, at } => {
                write!(f, "{node} panicked at {at:?}: {message}")
            }
            Self::Panic { node: None, message, at } => {
                write!(f, "the scenario panicked at {at:?}: {message}")
            }
            Self::TimeLimit(limit) => {
                write!(f, "the scenario had not ended after {limit:?} of simulated time")
            }
            Self::Stuck(limit) => write!(f, "the simulation had not ended after {limit:?} of real time"),
        }
    }
}

impl std::error::Error for Failure {}

/// How a run came out.
#[derive(Clone, Debug)]
pub struct Outcome<T> {
    /// Its seed.
    pub seed: u64,
    /// What the scenario returned.
    pub result: Result<T, Failure>,
    /// The rolling hash of all that happened: equal in every run of the seed.
    pub trace_hash: u64,
    /// How many events the hash is made of.
    pub events: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// Time that the run's thread has computed.
    pub cpu: Duration,
    /// The latest events.
    pub recording: Recording,
}

/// Runs a scenario under a seed, on a thread of its own: the standard library and others keep things per thread
/// that must be fresh for each run.
///
/// # Panics
/// Where the system cannot start a thread.
pub fn run_seed<T, F, Fut>(seed: u64, options: Options, scenario: F) -> Outcome<T>
where
    T: Send + 'static,
    F: FnOnce(Sim) -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    let wall_limit = options.wall_limit;
    let (send, receive) = mpsc::channel();
    #[allow(clippy::disallowed_methods, reason = "each run needs a fresh thread, outside of any simulation")]
    let started =
        std::thread::Builder::new().name(format!("seed-{seed}")).stack_size(8 << 20).spawn(move || {
            let _ = send.send(run_here(seed, options, scenario));
        });
    let thread = started.expect("a thread for the simulation");
    match receive.recv_timeout(wall_limit) {
        Ok(outcome) => {
            // Destructors of the thread's own values run before the next seed begins.
            let _ = thread.join();
            outcome
        }
        Err(mpsc::RecvTimeoutError::Timeout) => Outcome::without_run(seed, Failure::Stuck(wall_limit)),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            let message = match thread.join() {
                Ok(()) => "the simulation's thread ended without an outcome".to_owned(),
                Err(panic) => match panic.downcast_ref::<String>() {
                    Some(text) => text.clone(),
                    None => "the simulation itself panicked".to_owned(),
                },
            };
            Outcome::without_run(seed, Failure::Panic { node: None, message, at: Duration::ZERO })
        }
    }
}

impl<T> Outcome<T> {
    fn without_run(seed: u64, failure: Failure) -> Self {
        Self {
            seed,
            result: Err(failure),
            trace_hash: 0,
            events: 0,
            simulated: Duration::ZERO,
            cpu: Duration::ZERO,
            recording: Recording::default(),
        }
    }
}

/// Runs a seed twice and compares all that happened.
///
/// # Errors
/// The first event in which the two runs differ, with what came before.
pub fn check_determinism<T, F, Fut>(
    seed: u64,
    options: &Options,
    scenario: F,
) -> Result<Outcome<T>, Box<Divergence>>
where
    T: Send + 'static,
    F: Fn(Sim) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    let options = Options { record_max: usize::MAX, ..options.clone() };
    let first = run_seed(seed, options.clone(), scenario.clone());
    let second = run_seed(seed, options, scenario);
    match divergence(seed, &first.recording, &second.recording) {
        Some(difference) => Err(Box::new(difference)),
        None => Ok(second),
    }
}

fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

fn run_here<T, F, Fut>(seed: u64, options: Options, scenario: F) -> Outcome<T>
where
    F: FnOnce(Sim) -> Fut,
    Fut: Future<Output = T> + 'static,
{
    panics::keep_on_this_thread();
    let begun = thread_time();
    let runtime = madsim::runtime::Runtime::with_seed_and_config(seed, madsim::Config::default());
    let mut outcome = runtime.block_on(async move {
        let sim = Sim::new(seed, &options);
        let core = sim.inner.core.clone();
        let pump = madsim::task::spawn(core.pump());
        let result = watch(&sim, options.time_limit, scenario(sim.clone())).await;
        let outcome = sim.outcome(result);
        sim.end().await;
        let _ = pump.await;
        outcome
    });
    drop(runtime);
    outcome.cpu = thread_time().saturating_sub(begun);
    outcome
}

/// Runs the scenario until it ends, something fails, or the time is up.
async fn watch<Fut: Future>(sim: &Sim, limit: Duration, scenario: Fut) -> Result<Fut::Output, Failure> {
    let core = &sim.inner.core;
    let mut limit_sleep = pin!(sim.sleep(limit));
    let mut scenario = pin!(AssertUnwindSafe(scenario).catch_unwind());
    poll_fn(|context| {
        let failed = core.with(|state| {
            state.root = Some(context.waker().clone());
            state.failure.take()
        });
        if let Some(failure) = failed {
            return Poll::Ready(Err(failure));
        }
        if let Poll::Ready(result) = scenario.as_mut().poll(context) {
            return Poll::Ready(result.map_err(|panic| {
                let (message, at) = (panics::message(&*panic), sim.now());
                Failure::Panic { node: None, message, at }
            }));
        }
        limit_sleep.as_mut().poll(context).map(|()| Err(Failure::TimeLimit(limit)))
    })
    .await
}

type Init = Arc<dyn Fn(SimWorld) -> BoxFuture<'static, ()> + Send + Sync>;

/// A running simulation. Cheap to clone.
#[derive(Clone)]
pub struct Sim {
    inner: Arc<Inner>,
}

struct Inner {
    seed: u64,
    core: Arc<Core>,
    disk: DiskLatency,
    inits: Mutex<Vec<Option<Init>>>,
    driver: Mutex<Option<SimWorld>>,
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim").field("seed", &self.inner.seed).finish_non_exhaustive()
    }
}

impl Sim {
    fn new(seed: u64, options: &Options) -> Self {
        let net = Net::new(options.net.clone(), seed);
        let outside = Outside::new(seed, options.record_max, options.packet_sample);
        let core = Core::new(net, outside, options.kill_on_panic);
        let (inits, driver) = (Mutex::new(Vec::new()), Mutex::new(None));
        let sim = Self { inner: Arc::new(Inner { seed, core, disk: options.disk, inits, driver }) };
        let driver = sim.node("driver").ip(Ipv4Addr::new(10, 255, 255, 254)).build();
        *lock(&sim.inner.driver) = Some(sim.world_of(driver));
        sim
    }

    /// The seed of this run.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.inner.seed
    }

    /// True time since the run began, which no node's clock need agree with.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.inner.core.with(|state| state.outside.now))
    }

    /// Waits in true time.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + use<> {
        let core = self.inner.core.clone();
        let at = core.with(|state| state.outside.now).saturating_add(nanos(duration));
        Sleep { core, node: 0, deadline: Deadline::True(at), key: None }
    }

    /// The world of a process beside the nodes, for clients and drivers: its clock is right, and faults leave
    /// it alone unless they name [`Sim::driver`].
    #[must_use]
    pub fn world(&self) -> SimWorld {
        lock(&self.inner.driver).clone().expect("made with the simulation")
    }

    /// The node of [`Sim::world`].
    #[must_use]
    pub fn driver(&self) -> NodeId {
        NodeId(0)
    }

    /// A stream of random numbers for this purpose; calling twice gives the same numbers twice.
    #[must_use]
    pub fn chance(&self, name: &str) -> Chance {
        Chance::new(self.inner.seed, &format!("scenario/{name}"))
    }

    /// Adds a mark to the trace: runs of one seed must leave the same marks at the same times.
    pub fn trace(&self, text: &str) {
        self.inner.core.with(|state| state.mark(0, text));
    }

    /// From now on `observer` is told of events. It must not call the simulation.
    pub fn observe(&self, observer: impl FnMut(Duration, &Event) + Send + 'static) {
        lock(&self.inner.core.observers).push(Box::new(observer));
        self.inner.core.with(|state| state.outside.observed = true);
    }

    /// A new node. Its name must be unique, and is also its host name.
    #[must_use]
    pub fn node(&self, name: &str) -> NodeBuilder {
        NodeBuilder { sim: self.clone(), name: name.to_owned(), ip: None, init: None }
    }

    /// The node of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<NodeId> {
        let machines = |state: &mut crate::core::State| {
            state.outside.machines.iter().position(|machine| &*machine.name == name)
        };
        self.inner.core.with(machines).map(|index| NodeId(index as u32))
    }

    /// The node with this address.
    #[must_use]
    pub fn find_ip(&self, ip: Ipv4Addr) -> Option<NodeId> {
        let machines = |state: &mut crate::core::State| {
            state.outside.machines.iter().position(|machine| machine.ip == ip)
        };
        self.inner.core.with(machines).map(|index| NodeId(index as u32))
    }

    /// A node's name.
    #[must_use]
    pub fn name(&self, node: NodeId) -> String {
        self.inner.core.with(|state| state.outside.name(node.0).to_string())
    }

    /// A node's address.
    #[must_use]
    pub fn ip(&self, node: NodeId) -> Ipv4Addr {
        self.inner.core.with(|state| state.outside.machines[node.0 as usize].ip)
    }

    /// Whether its process runs.
    #[must_use]
    pub fn is_up(&self, node: NodeId) -> bool {
        self.inner.core.with(|state| state.outside.machines[node.0 as usize].alive)
    }

    /// Waits until its process does not run.
    pub async fn down(&self, node: NodeId) {
        poll_fn(|context| {
            self.inner.core.with(|state| {
                let machine = &mut state.outside.machines[node.0 as usize];
                if !machine.alive {
                    return Poll::Ready(());
                }
                machine.down.push(context.waker().clone());
                Poll::Pending
            })
        })
        .await;
    }

    /// The world of its present process; what is spawned there dies with the process.
    #[must_use]
    pub fn world_of(&self, node: NodeId) -> SimWorld {
        let core = &self.inner.core;
        let (incarnation, started) = core.with(|state| {
            let machine = &state.outside.machines[node.0 as usize];
            (machine.incarnation, machine.started)
        });
        SimWorld::new(core.clone(), node.0, incarnation, started, executor_of(core, node.0))
    }

    /// Kills its process, as `kill -9` does: all its tasks end, its peers' connections are reset, its disk keeps
    /// what was written. Nothing happens where none runs.
    pub fn kill(&self, node: NodeId) {
        self.inner.core.kill(node.0, Death::Kill);
    }

    /// Its machine loses its power: what was not durable may be lost or torn, and peers are told nothing until
    /// the machine is back.
    pub fn power_loss(&self, node: NodeId, crash: Crash) {
        self.inner.core.kill(node.0, Death::Power(crash));
    }

    /// Whether its machine has power: a process that runs on without it, until it is next asked for, is not there any more.
    #[must_use]
    pub fn has_power(&self, node: NodeId) -> bool {
        self.inner.core.with(|state| {
            let machine = &state.outside.machines[node.0 as usize];
            machine.powered && !machine.disk.is_frozen()
        })
    }

    /// Starts its process, after killing the one that runs. A machine without power gets power.
    pub fn restart(&self, node: NodeId) {
        self.kill(node);
        self.start(node.0);
    }

    /// Its process stands still; its machine goes on receiving, as far as the windows of its streams reach.
    pub fn pause(&self, node: NodeId) {
        self.set_paused(node, true);
    }

    /// Lets it go on.
    pub fn resume(&self, node: NodeId) {
        self.set_paused(node, false);
    }

    fn set_paused(&self, node: NodeId, paused: bool) {
        let core = &self.inner.core;
        let changed = core.with(|state| {
            let machine = &mut state.outside.machines[node.0 as usize];
            if !machine.alive || machine.paused == paused {
                return false;
            }
            machine.paused = paused;
            let node_name = machine.name.clone();
            let event =
                if paused { Event::Paused { node: node_name } } else { Event::Resumed { node: node_name } };
            state.outside.event(node.0, event);
            true
        });
        if changed && paused {
            core.handle.pause(core.executor(node.0));
        } else if changed {
            core.handle.resume(core.executor(node.0));
        }
    }

    /// The network's faults.
    #[must_use]
    pub fn net(&self) -> NetFaults {
        NetFaults { core: self.inner.core.clone() }
    }

    /// The faults of a node's disk.
    #[must_use]
    pub fn disk(&self, node: NodeId) -> DiskFaults {
        DiskFaults { core: self.inner.core.clone(), node: node.0 }
    }

    /// The faults of a node's clock.
    #[must_use]
    pub fn clock(&self, node: NodeId) -> ClockFaults {
        ClockFaults { core: self.inner.core.clone(), node: node.0 }
    }

    /// How many tasks live, by node: for tests that look for leaks.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.inner.core.handle.metrics().num_tasks()
    }

    fn start(&self, node: u32) {
        let core = &self.inner.core;
        let incarnation = core.with(|state| {
            let outside = &mut state.outside;
            let machine = &mut outside.machines[node as usize];
            assert!(!machine.alive, "{} was started while it runs", machine.name);
            machine.incarnation += 1;
            machine.alive = true;
            machine.started = machine.clock.local(outside.now);
            let was_powered = std::mem::replace(&mut machine.powered, true);
            let (name, incarnation) = (machine.name.clone(), machine.incarnation);
            if !was_powered {
                state.net.thaw(outside);
            }
            outside.event(node, Event::Started { node: name, incarnation });
            incarnation
        });
        if incarnation > 1 {
            core.handle.restart(core.executor(node));
        }
        let init = lock(&self.inner.inits)[node as usize].clone();
        let Some(init) = init else { return };
        let world = self.world_of(NodeId(node));
        let core = core.clone();
        executor_of(&core, node).spawn({
            let core = core.clone();
            async move {
                // The closure runs within the process, too: a panic there is the process's.
                let run = AssertUnwindSafe(async move { init(world).await }).catch_unwind();
                match run.await {
                    Ok(()) => core.with(|state| state.outside.act(Action::Exit { node, incarnation })),
                    Err(panic) => core.panicked(node, incarnation, panics::message(&*panic)),
                }
            }
        });
    }

    fn outcome<T>(&self, result: Result<T, Failure>) -> Outcome<T> {
        // The executor's next random number depends on every choice it has made.
        let luck = madsim::rand::thread_rng().next_u64();
        self.inner.core.with(|state| {
            let outside = &mut state.outside;
            outside.trace.push(outside.now, What::Event, (0, 0), 0, 0, 0, luck);
            let names = outside.machines.iter().map(|machine| machine.name.to_string()).collect();
            Outcome {
                seed: self.inner.seed,
                result,
                trace_hash: outside.trace.rolling(),
                events: outside.trace.count(),
                simulated: Duration::from_nanos(outside.now),
                cpu: Duration::ZERO,
                recording: outside.trace.recording(names),
            }
        })
    }

    /// Drops every task, so that a run leaves no memory behind.
    async fn end(&self) {
        let core = &self.inner.core;
        lock(&core.observers).clear();
        let nodes = lock(&core.executors).clone();
        for (index, executor) in nodes.into_iter().enumerate() {
            core.kill(index as u32, Death::Kill);
            core.handle.kill(executor);
        }
        lock(&self.inner.inits).clear();
        *lock(&self.inner.driver) = None;
        // Killed tasks are dropped as soon as the executor comes to them: before it lets time pass.
        madsim::time::sleep(Duration::from_millis(1)).await;
        core.with(|state| {
            state.stop = true;
            state.outside.queue.clear();
            state.outside.act(Action::Exited { node: 0, incarnation: 0 });
        });
    }
}

/// Describes a new node.
pub struct NodeBuilder {
    sim: Sim,
    name: String,
    ip: Option<Ipv4Addr>,
    init: Option<Init>,
}

impl fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

impl NodeBuilder {
    /// Its address; otherwise the next free one in 10.0.0.0/16.
    #[must_use]
    pub fn ip(mut self, ip: Ipv4Addr) -> Self {
        self.ip = Some(ip);
        self
    }

    /// What its process does, whenever it is started. When the future ends, the process exits, and with it all
    /// tasks that it spawned.
    #[must_use]
    pub fn init<F, Fut>(mut self, init: F) -> Self
    where
        F: Fn(SimWorld) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.init = Some(Arc::new(move |world| init(world).boxed()));
        self
    }

    /// Makes the node and starts its process. A node without [`NodeBuilder::init`] has a process that waits for
    /// what others spawn on [`Sim::world_of`] it.
    ///
    /// # Panics
    /// Where name or address are taken.
    #[must_use]
    pub fn build(self) -> NodeId {
        let Self { sim, name, ip, init } = self;
        let core = &sim.inner.core;
        let index = lock(&core.executors).len();
        let ip = ip.unwrap_or_else(|| Ipv4Addr::new(10, 0, (index / 250) as u8, (index % 250) as u8));
        assert!(sim.find(&name).is_none(), "there is a node named {name} already");
        assert!(sim.find_ip(ip).is_none(), "there is a node at {ip} already");
        let executor = core.handle.create_node().name(name.as_str()).build();
        lock(&core.executors).push(executor.id());
        lock(&sim.inner.inits).push(init);
        let seed = sim.inner.seed;
        core.with(|state| {
            let disk = DiskState::new(sim.inner.disk, Chance::new(seed, &format!("disk/{name}")));
            state.outside.machines.push(Machine {
                chance: Chance::new(seed, &format!("node/{name}")),
                name: name.into(),
                ip,
                clock: NodeClock::new(),
                powered: true,
                paused: false,
                alive: false,
                incarnation: 0,
                started: 0,
                disk,
                down: Vec::new(),
            });
            state.net.add_node();
        });
        sim.start(index as u32);
        NodeId(index as u32)
    }
}
