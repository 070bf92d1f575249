//! The agent: keeps a machine registered, and its units as the cluster wants them.

use super::following::Following;
use super::keeper::{Held, Keeper};
use super::manager::{ManagerError, UnitManager};
use super::publisher::{self, States};
use crate::agent::{Present, PresentUnits, Run, Task, at_lease_end, file_of, reconcile};
use crate::model::{Cluster, JobState, MachineInfo, UnitState};
use crate::registry::keys::SPEC;
use crate::registry::{Mirror, Touched};
use crate::unit::{MachineId, Requirements, UnitName};
use seatrial_client::Store;
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::{LeaseId, Revision};
use seatrial_world::{World, timeout};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// How an agent works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AgentOptions {
    /// A pass at least this often; changes wake it at once.
    pub interval: Duration,
    /// How long the machine counts as there when it is not heard. Whole seconds.
    pub ttl: Duration,
    /// So long before the lease ends units with `OnPartition=stop` are stopped: for the time that stopping takes, and for
    /// clocks that do not go alike.
    pub stop_margin: Duration,
    /// How often systemd is asked how units do.
    pub states_interval: Duration,
    /// How long one order to systemd may take.
    pub task_timeout: Duration,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            ttl: Duration::from_secs(30),
            stop_margin: Duration::from_secs(6),
            states_interval: Duration::from_secs(1),
            task_timeout: Duration::from_secs(30),
        }
    }
}

/// What an agent has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentNews {
    /// The machine is registered, since this revision.
    Registered(Revision),
    /// Its lease is good for its whole time again.
    Renewed,
    /// So often its lease could not be had or renewed, and was tried again.
    NotRenewed(u64),
    /// The lease is ending and could not be renewed. Units run on, but for those that must not run twice.
    CutOff,
    /// A task is done.
    Done(Task),
    /// A task is not done; the next pass tries it again.
    Failed(Task, ManagerError),
}

/// Stops a task with its owner.
struct Guarded<T: seatrial_world::Task>(T);

impl<T: seatrial_world::Task> Drop for Guarded<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs the agent of a machine until it is dropped. Units run on when it ends, and whatever becomes of the store.
///
/// # Panics
/// Where the margin is not below the time to live.
pub async fn run_agent<W: World, S: Store, U: UnitManager>(
    world: W,
    store: S,
    manager: U,
    me: MachineId,
    info: MachineInfo,
    options: AgentOptions,
    news: impl FnMut(AgentNews) + Send,
) {
    assert!(options.stop_margin < options.ttl, "a margin of {:?} in {:?}", options.stop_margin, options.ttl);
    let again = Arc::new(AtomicBool::new(false));
    let missed = Arc::new(AtomicU64::new(0));
    let keeper = Keeper {
        world: world.clone(),
        store: store.clone(),
        me: me.clone(),
        info,
        ttl: options.ttl,
        again: again.clone(),
        missed: missed.clone(),
    };
    let (held_sender, held) = mpsc::unbounded_channel();
    let (states_sender, states) = mpsc::unbounded_channel();
    let _keeper = Guarded(world.spawn(keeper.run(held_sender)));
    let publisher = publisher::run(world.clone(), store.clone(), me.clone(), states);
    let _publisher = Guarded(world.spawn(publisher));
    let following = Following::start(&world, &store, SPEC);
    let now = world.now();
    let mut agent = Agent {
        present: PresentUnits::new(),
        mirror: None,
        held: None,
        // An agent that starts again does not know whether its old lease lives. It has the margin to find out.
        stop_at: now + options.stop_margin,
        is_cut_off: false,
        is_dirty: true,
        next_pass: now,
        next_states: now,
        world,
        manager,
        me,
        options,
        news,
        again,
        missed,
        states_sender,
    };
    agent.find().await;
    agent.run(following, held).await;
}

struct Agent<W, U, F> {
    world: W,
    manager: U,
    me: MachineId,
    options: AgentOptions,
    news: F,
    present: PresentUnits,
    mirror: Option<Mirror>,
    held: Option<Held>,
    /// When units that must not run twice are stopped, if no renewal comes before.
    stop_at: Duration,
    is_cut_off: bool,
    /// Something has changed that may concern this machine.
    is_dirty: bool,
    next_pass: Duration,
    next_states: Duration,
    again: Arc<AtomicBool>,
    missed: Arc<AtomicU64>,
    states_sender: mpsc::UnboundedSender<(LeaseId, States)>,
}

impl<W: World, U: UnitManager, F: FnMut(AgentNews) + Send> Agent<W, U, F> {
    /// Looks at what is on the machine already: nothing of it is loaded or started again.
    async fn find(&mut self) {
        if is_planted(Planted::F23) {
            return;
        }
        loop {
            match self.manager.loaded().await {
                Ok(loaded) => {
                    let present = loaded.into_iter().map(|(name, unit)| {
                        let state = if unit.is_started { JobState::Launched } else { JobState::Loaded };
                        let asks = Requirements::of(&name, &unit.file).unwrap_or_default();
                        let hash = unit.file.hash();
                        (name, Present { hash, state, on_partition: asks.on_partition })
                    });
                    self.present = present.collect();
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "could not ask for the units of this machine");
                    self.world.sleep(self.options.states_interval).await;
                }
            }
        }
    }

    async fn run(&mut self, mut following: Following<W::Task>, mut held: mpsc::UnboundedReceiver<Held>) {
        loop {
            let due = self.due();
            tokio::select! {
                biased;
                Some(held) = held.recv() => self.renewed(held),
                change = following.next() => {
                    let touched = change.apply_to(&mut self.mirror);
                    self.is_dirty |= touched.iter().any(|touched| self.concerns_me(touched));
                }
                () = self.world.sleep_until(due) => {}
            }
            while let Ok(held) = held.try_recv() {
                self.renewed(held);
            }
            while let Some(change) = following.try_next() {
                let touched = change.apply_to(&mut self.mirror);
                self.is_dirty |= touched.iter().any(|touched| self.concerns_me(touched));
            }
            match self.missed.swap(0, Ordering::Relaxed) {
                0 => {}
                times => (self.news)(AgentNews::NotRenewed(times)),
            }
            let now = self.world.now();
            if now >= self.stop_at {
                self.cut_off().await;
            } else if self.is_dirty || now >= self.next_pass {
                self.pass().await;
            }
            if self.world.now() >= self.next_states {
                self.tell_states().await;
            }
        }
    }

    /// When to wake even if nothing happens.
    fn due(&self) -> Duration {
        let next = self.next_pass.min(self.next_states);
        if self.is_cut_off { next } else { next.min(self.stop_at) }
    }

    fn concerns_me(&self, touched: &Touched) -> bool {
        match touched {
            Touched::Unit(name) => {
                let known = self.mirror.as_ref().and_then(|mirror| mirror.cluster().units.get(name));
                let is_mine =
                    known.is_some_and(|unit| unit.is_global() || unit.target.as_ref() == Some(&self.me));
                is_mine || self.present.contains_key(name)
            }
            Touched::Machine(id) => *id == self.me,
            // Read anew, and there is nothing: what is here must go.
            Touched::State => true,
            Touched::Nothing => false,
        }
    }

    fn renewed(&mut self, held: Held) {
        if self.held.is_none_or(|old| old.registered != held.registered) {
            (self.news)(AgentNews::Registered(held.registered));
            self.is_dirty = true;
        }
        self.held = Some(held);
        (self.news)(AgentNews::Renewed);
        let margin = if is_planted(Planted::F12) { Duration::ZERO } else { self.options.stop_margin };
        self.stop_at = held.until.saturating_sub(margin);
        if self.world.now() < self.stop_at && self.is_cut_off {
            self.is_cut_off = false;
            self.is_dirty = true;
        }
    }

    /// Nobody has renewed the lease: another machine may soon have our units. What may run twice runs on; and nothing is
    /// begun, for what we know of the cluster may be old.
    async fn cut_off(&mut self) {
        self.next_pass = self.world.now() + self.options.interval;
        if !self.is_cut_off {
            self.is_cut_off = true;
            tracing::warn!(machine = %self.me, "cut off from the store");
            (self.news)(AgentNews::CutOff);
        }
        // Again and again, for a task may have failed.
        let tasks = at_lease_end(&self.present);
        let cluster = Cluster::default();
        self.carry_out(tasks, &cluster).await;
    }

    /// One pass, as long as what we know is no older than our lease: what was decided while we were thought to be gone must
    /// be known before anything is started.
    async fn pass(&mut self) {
        self.next_pass = self.world.now() + self.options.interval;
        let (Some(mirror), Some(held)) = (&self.mirror, self.held) else { return };
        if mirror.revision() < held.registered && !is_planted(Planted::F21) {
            return;
        }
        let cluster = mirror.cluster().clone();
        if !cluster.machines.contains_key(&self.me) {
            // Somebody took our key away; the keeper puts it back with its next renewal.
            self.again.store(true, Ordering::Relaxed);
            return;
        }
        self.is_dirty = false;
        let tasks = reconcile(&cluster, &self.me, &self.present);
        if !tasks.is_empty() {
            self.carry_out(tasks, &cluster).await;
            self.next_states = self.world.now();
        }
    }

    async fn carry_out(&mut self, tasks: Vec<Task>, cluster: &Cluster) {
        let mut run = Run::default();
        for task in tasks {
            if !run.may(&task) {
                continue;
            }
            // A long list must not outlast the lease. The next turn of the loop does what is then to be done.
            if !self.is_cut_off && self.world.now() >= self.stop_at {
                self.is_dirty = true;
                return;
            }
            let limit = self.options.task_timeout;
            let done = match timeout(&self.world, limit, carry_out(&self.manager, &task, cluster)).await {
                Ok(done) => done,
                Err(elapsed) => Err(ManagerError { doing: task.to_string(), problem: elapsed.to_string() }),
            };
            run.done(&task, done.is_ok(), cluster, &mut self.present);
            match done {
                Ok(()) => {
                    tracing::debug!(machine = %self.me, %task, "carried out a task");
                    (self.news)(AgentNews::Done(task));
                }
                Err(error) => {
                    tracing::warn!(machine = %self.me, %task, %error, "a task failed");
                    (self.news)(AgentNews::Failed(task, error));
                }
            }
        }
    }

    async fn tell_states(&mut self) {
        self.next_states = self.world.now() + self.options.states_interval;
        let Some(held) = self.held else { return };
        let systemd = match self.manager.states().await {
            Ok(states) => states,
            Err(error) => {
                tracing::warn!(machine = %self.me, %error, "could not ask how units do");
                return;
            }
        };
        let states: BTreeMap<UnitName, UnitState> = self
            .present
            .iter()
            .filter_map(|(name, here)| {
                let state = systemd.get(name)?.clone();
                let is_launched = here.state == JobState::Launched;
                let hash = here.hash.to_string();
                Some((
                    name.clone(),
                    UnitState { load: state.load, active: state.active, sub: state.sub, hash, is_launched },
                ))
            })
            .collect();
        // The publisher ends with us and not before.
        let _ = self.states_sender.send((held.lease, states));
    }
}

async fn carry_out<U: UnitManager>(manager: &U, task: &Task, cluster: &Cluster) -> Result<(), ManagerError> {
    match task {
        Task::Unload(unit, _) => manager.unload(unit).await,
        Task::Load(unit, _) => match file_of(cluster, unit) {
            Some(file) => manager.load(unit, &file).await,
            None => Err(ManagerError { doing: task.to_string(), problem: "there is no such unit".into() }),
        },
        Task::ReloadUnitFiles => manager.reload().await,
        Task::Stop(unit, _) => manager.stop(unit).await,
        Task::Start(unit, _) => manager.start(unit).await,
    }
}
