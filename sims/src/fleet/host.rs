//! One machine: its processes, and the manager of units as it lies on the machine's disk.
//!
//! It stands in for `service-real`'s driver: carries out what the manager wants on simulated processes, tells it what
//! becomes of them, and hands everything over to the next driver, whatever became of the last one.

use seatrial_fleet::run::Records;
use seatrial_scenario::record::{Notebook, ProcessEnd, ProcessRecord};
use seatrial_service::{
    Command, Effect, Exit, Input, Left, Machine, Manager, Output, Signal, Spawn, SubState, Target, Timer,
};
use seatrial_world_sim::Sim;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How long a process takes to stop whose command does not say it.
const STOPS: Duration = Duration::from_millis(50);

/// A process.
#[derive(Clone, Debug)]
struct Process {
    unit: String,
    /// Its place in the notebook.
    place: usize,
    /// How long it takes to stop when it is told to.
    stops: Duration,
    /// When it ends, and how, as far as that is settled.
    ends: Option<(Duration, Exit, ProcessEnd)>,
}

#[derive(Debug)]
struct State {
    manager: Manager,
    processes: BTreeMap<u32, Process>,
    /// Of the driver that lives now.
    timers: BTreeMap<(String, Timer), Duration>,
    /// What fleet has put on the machine, as it lies on the disk.
    records: Records,
    next_pid: u32,
    boots: u32,
    booted: Duration,
}

/// A machine. Cheap to clone; clones are the same machine.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    sim: Sim,
    notebook: Notebook,
    machine: u32,
    state: Arc<Mutex<State>>,
}

/// What a command of a simulated process says of itself: `stops=300` milliseconds.
fn milliseconds(command: &Command, name: &str) -> Option<Duration> {
    let words = command.arguments.iter();
    let value = words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('=')).next()?;
    value.parse().ok().map(Duration::from_millis)
}

impl State {
    fn left(&self, unit: &str) -> Left {
        let mut living = self.processes.iter().filter(|(_, process)| process.unit == unit);
        match (living.next(), living.next()) {
            (None, _) => Left::Nobody,
            (Some((pid, _)), None) => Left::One(*pid),
            _ => Left::Many,
        }
    }
}

impl Host {
    pub(crate) fn new(sim: Sim, notebook: Notebook, machine: u32) -> Self {
        let state = State {
            manager: Manager::new(Machine::default()),
            processes: BTreeMap::new(),
            timers: BTreeMap::new(),
            records: Records::new(),
            next_pid: 100,
            boots: 1,
            booted: Duration::ZERO,
        };
        Self { sim, notebook, machine, state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while held")
    }

    pub(super) fn machine(&self) -> u32 {
        self.machine
    }

    pub(super) fn notebook(&self) -> &Notebook {
        &self.notebook
    }

    pub(super) fn now(&self) -> Duration {
        self.sim.now()
    }

    /// Drawn by its kernel at every boot.
    pub(super) fn boot_id(&self) -> String {
        format!("boot-{}-{}", self.machine, self.state().boots)
    }

    /// The power goes: nothing runs any more, and who boots next knows nothing of what ran.
    pub(crate) fn power_off(&self) {
        let now = self.now();
        self.reap();
        let mut state = self.state();
        for (_, process) in std::mem::take(&mut state.processes) {
            self.notebook.process(process.place, |record| {
                (record.to, record.end) = (Some(now), Some(ProcessEnd::Power));
            });
        }
        state.manager = Manager::new(Machine::default());
        state.timers.clear();
        state.boots += 1;
        state.booted = now;
    }

    /// A new driver: takes over what the last one left running, and tells units whose processes have ended meanwhile.
    pub(super) fn open(&self) {
        self.state().timers.clear();
        let effects = self.state().manager.resume();
        self.run(effects);
        let waited = self.waited();
        for (unit, pid) in waited {
            if !self.state().processes.contains_key(&pid) {
                self.exited(&unit, pid, Exit::Unknown);
            }
        }
        // Those that have ended since nobody looked.
        self.turn();
    }

    /// The processes that the manager waits for.
    fn waited(&self) -> Vec<(String, u32)> {
        let state = self.state();
        let services = state.manager.services();
        services.flat_map(|(name, service)| service.processes().map(|pid| (name.to_owned(), pid))).collect()
    }

    /// Takes away whose time is over; who they were.
    fn reap(&self) -> Vec<(String, u32, Exit)> {
        let now = self.now();
        let mut state = self.state();
        let over = state.processes.iter().filter_map(|(pid, process)| {
            let (at, exit, _) = process.ends?;
            (at <= now).then(|| (process.unit.clone(), *pid, exit))
        });
        let over: Vec<(String, u32, Exit)> = over.collect();
        for (_, pid, _) in &over {
            state.processes.remove(pid);
        }
        over
    }

    fn exited(&self, unit: &str, pid: u32, exit: Exit) {
        let effects = {
            let mut state = self.state();
            let left = state.left(unit);
            state.manager.step(unit, Input::Exited { pid, exit, left })
        };
        self.run(effects);
    }

    /// Looks at all that can have happened; how long it may be until the next look.
    pub(super) fn turn(&self) -> Duration {
        for (unit, pid, exit) in self.reap() {
            self.exited(&unit, pid, exit);
        }
        self.look_at_groups();
        let now = self.now();
        let due: Vec<(String, Timer)> = {
            let state = self.state();
            state.timers.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect()
        };
        for (unit, timer) in due {
            let effects = {
                let mut state = self.state();
                // One that fires may disarm another.
                match state.timers.remove(&(unit.clone(), timer)) {
                    Some(_) => state.manager.step(&unit, Input::Fired(timer)),
                    None => Vec::new(),
                }
            };
            self.run(effects);
        }
        let state = self.state();
        let ends = state.processes.values().filter_map(|process| Some(process.ends?.0));
        let next = ends.chain(state.timers.values().copied()).min();
        let pace = Duration::from_millis(100);
        next.map_or(pace, |at| at.saturating_sub(now).min(pace)).max(Duration::from_millis(1))
    }

    /// Units on their way down of which nobody is left.
    fn look_at_groups(&self) {
        let empty: Vec<String> = {
            let state = self.state();
            let services = state.manager.services();
            let waits = services.filter(|(name, service)| {
                let alone = service.processes().next().is_none() && service.has_processes();
                (service.sub().is_stopping() || alone) && state.left(name) == Left::Nobody
            });
            waits.map(|(name, _)| name.to_owned()).collect()
        };
        for unit in empty {
            let effects = self.state().manager.step(&unit, Input::GroupEmpty);
            self.run(effects);
        }
    }

    /// Asks the manager for something, and carries out what comes of it.
    pub(super) fn ask<E>(&self, wish: impl FnOnce(&mut Manager) -> Result<Vec<Effect>, E>) -> Result<(), E> {
        let effects = wish(&mut self.state().manager)?;
        self.run(effects);
        Ok(())
    }

    pub(super) fn with_manager<T>(&self, look: impl FnOnce(&mut Manager) -> T) -> T {
        look(&mut self.state().manager)
    }

    pub(super) fn with_records<T>(&self, look: impl FnOnce(&mut Records) -> T) -> T {
        look(&mut self.state().records)
    }

    fn run(&self, effects: Vec<Effect>) {
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            if let Effect::Do { unit, output } = effect
                && let Some(input) = self.carry_out(&unit, output)
            {
                queue.extend(self.state().manager.step(&unit, input));
            }
        }
    }

    fn carry_out(&self, unit: &str, output: Output) -> Option<Input> {
        let now = self.now();
        match output {
            Output::Spawn(spawn) => return Some(Input::Spawned(self.spawn(unit, &spawn))),
            Output::Signal { target, signal } => self.signal(unit, &target, signal),
            Output::Arm { timer, after } => {
                self.state().timers.insert((unit.to_owned(), timer), now + after);
            }
            Output::ArmSinceBoot { timer, after } => {
                let at = self.state().booted + after;
                self.state().timers.insert((unit.to_owned(), timer), at);
            }
            Output::Disarm(timer) => {
                self.state().timers.remove(&(unit.to_owned(), timer));
            }
            Output::State(SubState::Failed) => {
                self.sim.trace(&format!("{unit} failed on machine {}", self.machine));
            }
            Output::State(_) | Output::WatchPidFile(_) | Output::RemovePidFile(_) => {}
        }
        None
    }

    fn spawn(&self, unit: &str, spawn: &Spawn) -> u32 {
        let now = self.now();
        let mut state = self.state();
        let pid = state.next_pid;
        state.next_pid += 1;
        let record = ProcessRecord {
            machine: self.machine,
            unit: unit.to_owned(),
            pid,
            from: now,
            told: None,
            to: None,
            end: None,
        };
        let place = self.notebook.process_began(record);
        let stops = milliseconds(&spawn.command, "stops").unwrap_or(STOPS);
        let process = Process { unit: unit.to_owned(), place, stops, ends: None };
        state.processes.insert(pid, process);
        pid
    }

    fn signal(&self, unit: &str, target: &Target, signal: Signal) {
        let now = self.now();
        let mut state = self.state();
        let hit = state.processes.iter_mut().filter(|(pid, process)| match target {
            Target::Process(one) => *pid == one,
            Target::Group { except } => process.unit == unit && !except.contains(pid),
        });
        for (_, process) in hit {
            let after = match signal {
                Signal::TERM => process.stops,
                Signal::KILL => Duration::ZERO,
                _ => continue,
            };
            let ends = now + after;
            if process.ends.is_none_or(|(at, ..)| at > ends) {
                process.ends = Some((ends, Exit::by(signal), ProcessEnd::Told));
                self.notebook.process(process.place, |record| {
                    record.told = record.told.or(Some(now));
                    (record.to, record.end) = (Some(ends), Some(ProcessEnd::Told));
                });
            }
        }
    }
}
