//! The agent: keeps a machine registered, and its units as the cluster wants them.

use super::following::Following;
use super::keeper::Keeper;
use super::manager::{ManagerError, UnitManager};
use super::publisher::{self, States};
use crate::agent::{Present, Run, Task, file_of};
use crate::duty::{Duty, Held, Turn};
use crate::model::{Cluster, JobState, MachineInfo, UnitState};
use crate::registry::keys::SPEC;
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
        duty: Duty::new(me, options.stop_margin, now),
        next_pass: now,
        next_states: now,
        world,
        manager,
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
    options: AgentOptions,
    news: F,
    duty: Duty,
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
                    self.duty.present = present.collect();
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
                change = following.next() => self.duty.take(change),
                () = self.world.sleep_until(due) => {}
            }
            while let Ok(held) = held.try_recv() {
                self.renewed(held);
            }
            while let Some(change) = following.try_next() {
                self.duty.take(change);
            }
            match self.missed.swap(0, Ordering::Relaxed) {
                0 => {}
                times => (self.news)(AgentNews::NotRenewed(times)),
            }
            let now = self.world.now();
            if self.duty.is_over(now) || self.duty.is_dirty() || now >= self.next_pass {
                self.turn(now).await;
            }
            if self.world.now() >= self.next_states {
                self.tell_states().await;
            }
        }
    }

    /// When to wake even if nothing happens.
    fn due(&self) -> Duration {
        let next = self.next_pass.min(self.next_states);
        self.duty.stop_at().map_or(next, |stop_at| next.min(stop_at))
    }

    fn renewed(&mut self, held: Held) {
        if self.duty.renewed(held, self.world.now()) {
            (self.news)(AgentNews::Registered(held.registered));
        }
        (self.news)(AgentNews::Renewed);
    }

    async fn turn(&mut self, now: Duration) {
        self.next_pass = self.world.now() + self.options.interval;
        match self.duty.turn(now) {
            Turn::CutOff { is_new, tasks } => {
                if is_new {
                    tracing::warn!(machine = %self.duty.me(), "cut off from the store");
                    (self.news)(AgentNews::CutOff);
                }
                self.carry_out(tasks, &Cluster::default()).await;
            }
            // The keeper puts it back with its next renewal.
            Turn::PutBack => self.again.store(true, Ordering::Relaxed),
            Turn::Wait => {}
            Turn::Pass(tasks) if tasks.is_empty() => {}
            Turn::Pass(tasks) => {
                let cluster = self.duty.cluster();
                self.carry_out(tasks, &cluster).await;
                self.next_states = self.world.now();
            }
        }
    }

    async fn carry_out(&mut self, tasks: Vec<Task>, cluster: &Cluster) {
        let mut run = Run::default();
        for task in tasks {
            if !run.may(&task) {
                continue;
            }
            // A long list must not outlast the lease. The next turn of the loop does what is then to be done.
            if !self.duty.is_cut_off() && self.duty.is_over(self.world.now()) {
                self.duty.broke_off();
                return;
            }
            let limit = self.options.task_timeout;
            let done = match timeout(&self.world, limit, carry_out(&self.manager, &task, cluster)).await {
                Ok(done) => done,
                Err(elapsed) => Err(ManagerError { doing: task.to_string(), problem: elapsed.to_string() }),
            };
            run.done(&task, done.is_ok(), cluster, &mut self.duty.present);
            match done {
                Ok(()) => {
                    tracing::debug!(machine = %self.duty.me(), %task, "carried out a task");
                    (self.news)(AgentNews::Done(task));
                }
                Err(error) => {
                    tracing::warn!(machine = %self.duty.me(), %task, %error, "a task failed");
                    (self.news)(AgentNews::Failed(task, error));
                }
            }
        }
    }

    async fn tell_states(&mut self) {
        self.next_states = self.world.now() + self.options.states_interval;
        let Some(held) = self.duty.held() else { return };
        let systemd = match self.manager.states().await {
            Ok(states) => states,
            Err(error) => {
                tracing::warn!(machine = %self.duty.me(), %error, "could not ask how units do");
                return;
            }
        };
        let states: BTreeMap<UnitName, UnitState> = self
            .duty
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
