//! The life of one service as a state machine.

mod check;
mod ended;
mod enter;
mod notified;
#[cfg(test)]
mod tests;

use crate::config::{ServiceConfig, ServiceType};
use crate::io::{Input, Left, Output, Pid, Purpose, Slot, Spawn, SpawnFailure, Target, Timer, Who};
use crate::signal::Exit;
use crate::state::{ActiveState, Outcome, SubState};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// What a service has said about itself last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
enum Said {
    Nothing,
    Ready,
    Reloading,
    Stopping,
}

/// One service (systemd.service(5)): inputs go in, outputs come out, time is a timer that fires.
///
/// Knows nothing of real processes: it asks for one with [`Output::Spawn`] and waits for the answer; what happens
/// meanwhile waits too. It can be written down at any time between two steps and read back by another driver, see
/// [`Service::resume`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Service {
    config: Arc<ServiceConfig>,
    sub: SubState,
    outcome: Outcome,
    reload_outcome: Outcome,
    /// The main process, where it is known to live.
    main: Option<Pid>,
    /// Whether a main process was known at all in this run; if not, the group stands for it.
    main_known: bool,
    /// How the main process ended.
    main_exit: Option<Exit>,
    /// Which of `ExecStart=` the main process is.
    main_index: usize,
    /// The command that runs around the main process.
    control: Option<Pid>,
    /// Which command that is. Invariant: there where `control` is.
    control_command: Option<(Purpose, usize)>,
    /// How the last command around the main process ended.
    control_exit: Option<Exit>,
    /// Whether the unit has any process, as far as we were told.
    group: bool,
    /// What was asked for and not answered yet.
    spawning: Option<Slot>,
    /// Inputs that came while a process was asked for.
    put_off: VecDeque<Input>,
    /// Timers that run, and for how long they were armed.
    armed: BTreeMap<Timer, Duration>,
    /// Starts since the timer for them was armed.
    starts: u32,
    /// Restarts in a row that nobody asked for.
    restarts: u32,
    /// A start is wanted once the stop is done.
    again: bool,
    /// The stop is a part of a restart.
    for_restart: bool,
    /// Somebody wanted it stopped: no restart by itself.
    forbid_restart: bool,
    said: Said,
    status_text: Option<String>,
    /// The daemon's file is awaited.
    pid_file_awaited: bool,
    /// Why the last process could not be started.
    trouble: Option<String>,
    #[serde(skip)]
    outputs: Vec<Output>,
}

/// A service's state as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Status {
    /// As all units have it.
    pub active: ActiveState,
    /// As services have it.
    pub sub: SubState,
    /// How the last run went.
    pub outcome: Outcome,
    /// How the last reload went.
    pub reload_outcome: Outcome,
    /// The main process.
    pub main_pid: Option<Pid>,
    /// The command around it.
    pub control_pid: Option<Pid>,
    /// How the main process of the last run ended.
    pub main_exit: Option<Exit>,
    /// Restarts in a row that nobody asked for.
    pub restarts: u32,
    /// What the service says of itself.
    pub status_text: Option<String>,
    /// Why the last process could not be started.
    pub trouble: Option<String>,
}

impl Service {
    /// A service that does not run.
    #[must_use]
    pub fn new(config: Arc<ServiceConfig>) -> Self {
        Self {
            config,
            sub: SubState::Dead,
            outcome: Outcome::Success,
            reload_outcome: Outcome::Success,
            main: None,
            main_known: false,
            main_exit: None,
            main_index: 0,
            control: None,
            control_command: None,
            control_exit: None,
            group: false,
            spawning: None,
            put_off: VecDeque::new(),
            armed: BTreeMap::new(),
            starts: 0,
            restarts: 0,
            again: false,
            for_restart: false,
            forbid_restart: false,
            said: Said::Nothing,
            status_text: None,
            pid_file_awaited: false,
            trouble: None,
            outputs: Vec::new(),
        }
    }

    /// Takes an input. One that does not fit the state changes nothing.
    #[must_use = "outputs are to be carried out"]
    pub fn step(&mut self, input: Input) -> Vec<Output> {
        assert!(self.outputs.is_empty(), "outputs of the last step were not taken: {:?}", self.outputs);
        let answer = matches!(input, Input::Spawned(_) | Input::SpawnFailed(_));
        if self.spawning.is_some() && !answer {
            self.put_off.push_back(input);
            return Vec::new();
        }
        self.apply(input);
        while self.spawning.is_none()
            && let Some(input) = self.put_off.pop_front()
        {
            self.apply(input);
        }
        self.check();
        std::mem::take(&mut self.outputs)
    }

    /// The state as people see it.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            active: self.sub.active(),
            sub: self.sub,
            outcome: self.outcome,
            reload_outcome: self.reload_outcome,
            main_pid: self.main,
            control_pid: self.control,
            main_exit: self.main_exit,
            restarts: self.restarts,
            status_text: self.status_text.clone(),
            trouble: self.trouble.clone(),
        }
    }

    /// The state.
    #[must_use]
    pub fn sub(&self) -> SubState {
        self.sub
    }

    /// How the last run went.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// What it was made from.
    #[must_use]
    pub fn config(&self) -> &Arc<ServiceConfig> {
        &self.config
    }

    /// Whether a reload would do anything now.
    #[must_use]
    pub fn can_reload(&self) -> bool {
        !self.config.commands.reload.is_empty() && matches!(self.sub, SubState::Running | SubState::Exited)
    }

    /// The processes that are waited for.
    pub fn processes(&self) -> impl Iterator<Item = Pid> {
        self.main.into_iter().chain(self.control)
    }

    /// Whether the unit has a process, as far as was told.
    #[must_use]
    pub fn has_processes(&self) -> bool {
        self.group || self.main.is_some() || self.control.is_some()
    }

    /// Takes a new definition. Only while nothing runs: what runs is ended by what it was started with.
    ///
    /// # Panics
    /// Where something runs.
    pub fn redefine(&mut self, config: Arc<ServiceConfig>) {
        assert!(self.sub.is_over(), "redefined in state {}", self.sub);
        self.config = config;
    }

    /// After the service was read back by another driver: the timers to be armed anew, each for its whole time, and the
    /// file to watch. A process that was asked for and never reported counts as not started. The driver then tells of
    /// every process that has ended meanwhile, and whether any is left.
    #[must_use = "outputs are to be carried out"]
    pub fn resume(&mut self) -> Vec<Output> {
        let mut outputs: Vec<Output> =
            self.armed.iter().map(|(timer, after)| Output::Arm { timer: *timer, after: *after }).collect();
        if self.pid_file_awaited
            && let Some(path) = &self.config.pid_file
        {
            outputs.push(Output::WatchPidFile(path.clone()));
        }
        if self.spawning.is_some() {
            let text = "the manager ended while it started the process".to_owned();
            // Whether the process came to be is unknown: the group is looked at when the unit is stopped.
            self.group = true;
            outputs.extend(self.step(Input::SpawnFailed(SpawnFailure { status: None, text })));
        }
        outputs
    }

    fn apply(&mut self, input: Input) {
        match input {
            Input::Start => self.start(),
            Input::Stop => {
                self.again = false;
                self.for_restart = false;
                self.stop();
            }
            Input::StopToRestart => {
                self.again = false;
                self.for_restart = true;
                self.stop();
            }
            Input::Restart => self.restart(),
            Input::Reload => {
                if self.can_reload() {
                    self.enter_reload();
                }
            }
            Input::Kill { who, signal } => self.pass_on(who, signal),
            Input::ResetFailed => self.reset_failed(),
            Input::Spawned(pid) => self.spawned(pid),
            Input::SpawnFailed(failure) => self.spawn_failed(failure),
            Input::Exited { pid, exit, left } => self.exited(pid, exit, left),
            Input::GroupEmpty => self.group_empty(),
            Input::Fired(timer) => self.fired(timer),
            Input::Notify { from, message } => self.notified(from, message),
            Input::PidFile(content) => self.pid_file(&content),
        }
    }

    fn start(&mut self) {
        match self.sub {
            SubState::Dead | SubState::Failed => self.begin(),
            // A start that was asked for while the unit goes down is owed to who asked.
            sub if sub.is_stopping() => self.again = true,
            // Already on its way, or the timer of the restart will see to it.
            _ => {}
        }
    }

    /// The first start of a row.
    fn begin(&mut self) {
        self.restarts = 0;
        self.enter_start_of_run();
    }

    fn stop(&mut self) {
        match self.sub {
            SubState::Dead | SubState::Failed => {}
            sub if sub.is_stopping() => self.forbid_restart = true,
            SubState::AutoRestart => {
                // As in systemd, whoever stops a service that waits for its restart finds it inactive, not failed.
                self.outcome = Outcome::Success;
                self.set_state(SubState::Dead, None);
            }
            SubState::Running | SubState::Exited => {
                self.forbid_restart = true;
                self.enter_stop(Outcome::Success);
            }
            _ => {
                self.forbid_restart = true;
                self.enter_signal(SubState::StopSigterm, Outcome::Success);
            }
        }
    }

    fn restart(&mut self) {
        match self.sub {
            SubState::Dead | SubState::Failed | SubState::AutoRestart => self.begin(),
            _ => {
                self.again = true;
                self.for_restart = true;
                self.stop();
            }
        }
    }

    fn reset_failed(&mut self) {
        if self.sub == SubState::Failed {
            self.outcome = Outcome::Success;
            self.set_state(SubState::Dead, None);
        }
        self.restarts = 0;
        self.starts = 0;
        self.disarm(Timer::StartLimit);
    }

    fn pass_on(&mut self, who: Who, signal: crate::signal::Signal) {
        let mut told = Vec::new();
        if who != Who::Control {
            told.extend(self.main);
        }
        if who != Who::Main {
            told.extend(self.control);
        }
        for pid in &told {
            self.outputs.push(Output::Signal { target: Target::Process(*pid), signal });
        }
        if who == Who::All && self.group {
            self.outputs.push(Output::Signal { target: Target::Group { except: told }, signal });
        }
    }

    fn spawn(&mut self, slot: Slot, purpose: Purpose, index: usize) {
        assert!(self.spawning.is_none(), "a process was asked for while another one was");
        let command = self.commands(purpose)[index].clone();
        match slot {
            Slot::Main => self.main_index = index,
            Slot::Control => self.control_command = Some((purpose, index)),
        }
        self.spawning = Some(slot);
        let notify = self.config.notify_access != crate::config::NotifyAccess::None;
        let variables = self.variables(purpose, slot);
        let config = Arc::clone(&self.config);
        self.outputs.push(Output::Spawn(Spawn { slot, purpose, command, variables, notify, config }));
    }

    /// What a command is told about the service (systemd.exec(5), "Environment variables in spawned processes").
    fn variables(&self, purpose: Purpose, slot: Slot) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut tell = |name: &str, value: String| found.push((name.to_owned(), value));
        if let Some(pid) = self.main {
            tell("MAINPID", pid.to_string());
        }
        if let Some(path) = &self.config.pid_file {
            tell("PIDFILE", path.clone());
        }
        if slot == Slot::Main
            && let Some(watchdog) = self.config.watchdog
        {
            tell("WATCHDOG_USEC", watchdog.as_micros().to_string());
        }
        if matches!(purpose, Purpose::Stop | Purpose::StopPost) {
            tell("SERVICE_RESULT", self.outcome.to_string());
            match self.main_exit {
                Some(Exit::Code(code)) => {
                    tell("EXIT_CODE", "exited".to_owned());
                    tell("EXIT_STATUS", code.to_string());
                }
                Some(Exit::Signal { signal, core }) => {
                    tell("EXIT_CODE", if core { "dumped" } else { "killed" }.to_owned());
                    tell("EXIT_STATUS", signal.to_string());
                }
                Some(Exit::Unknown) | None => {}
            }
        }
        found
    }

    fn commands(&self, purpose: Purpose) -> &[crate::command::Command] {
        let commands = &self.config.commands;
        match purpose {
            Purpose::Condition => &commands.condition,
            Purpose::StartPre => &commands.start_pre,
            Purpose::Start => &commands.start,
            Purpose::StartPost => &commands.start_post,
            Purpose::Reload => &commands.reload,
            Purpose::Stop => &commands.stop,
            Purpose::StopPost => &commands.stop_post,
        }
    }

    fn spawned(&mut self, pid: Pid) {
        let Some(slot) = self.spawning.take() else { return };
        self.group = true;
        match slot {
            Slot::Control => self.control = Some(pid),
            Slot::Main => {
                self.main = Some(pid);
                self.main_known = true;
                let started =
                    matches!(self.config.kind, ServiceType::Simple | ServiceType::Exec | ServiceType::Idle);
                if self.sub == SubState::Start && started {
                    self.enter_start_post();
                }
            }
        }
    }

    /// No process came to be: as if it had ended at once, with the status systemd has for the step that failed.
    fn spawn_failed(&mut self, failure: SpawnFailure) {
        let Some(slot) = self.spawning.take() else { return };
        self.trouble = Some(failure.text);
        let exit = failure.status.map(Exit::Code);
        match slot {
            Slot::Main => {
                self.main_known = true;
                self.main_ended(exit, Left::Nobody);
            }
            Slot::Control => self.control_ended(exit, if self.group { Left::Many } else { Left::Nobody }),
        }
    }

    fn fired(&mut self, timer: Timer) {
        if self.armed.remove(&timer).is_none() {
            return;
        }
        match timer {
            Timer::State => self.state_timed_out(),
            Timer::StartLimit => self.starts = 0,
            Timer::Restart => {
                self.restarts = self.restarts.saturating_add(1);
                self.enter_start_of_run();
            }
            Timer::RuntimeMax if self.sub == SubState::Running => self.enter_stop(Outcome::Timeout),
            Timer::RuntimeMax => self.enter_signal(SubState::StopSigterm, Outcome::Timeout),
            Timer::Watchdog => self.enter_signal(SubState::StopWatchdog, Outcome::Watchdog),
            Timer::Elapse(_) => {}
        }
    }

    fn arm(&mut self, timer: Timer, after: Duration) {
        self.armed.insert(timer, after);
        self.outputs.push(Output::Arm { timer, after });
    }

    fn disarm(&mut self, timer: Timer) {
        if self.armed.remove(&timer).is_some() {
            self.outputs.push(Output::Disarm(timer));
        }
    }

    /// The first thing that went wrong is what is remembered.
    fn note(&mut self, outcome: Outcome) {
        if self.outcome == Outcome::Success {
            self.outcome = outcome;
        }
    }
}
