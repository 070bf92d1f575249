//! Ways into the states.

use super::{Said, Service};
use crate::config::{KillMode, Restart, ServiceType};
use crate::io::{Output, Purpose, Slot, Target, Timer};
use crate::signal::Signal;
use crate::state::{Outcome, SubState};
use std::time::Duration;

impl Service {
    /// Enters a state, with the time it may take where that is limited.
    pub(super) fn set_state(&mut self, sub: SubState, timeout: Option<Duration>) {
        self.disarm(Timer::State);
        if let Some(timeout) = timeout {
            self.arm(Timer::State, timeout);
        }
        let up = matches!(sub, SubState::StartPost | SubState::Running | SubState::Reload);
        if !up {
            self.disarm(Timer::Watchdog);
        }
        if !matches!(sub, SubState::Running | SubState::Reload) {
            self.disarm(Timer::RuntimeMax);
        }
        if sub != SubState::AutoRestart {
            self.disarm(Timer::Restart);
        }
        if sub != SubState::Start {
            self.pid_file_awaited = false;
        }
        if self.sub != sub {
            self.sub = sub;
            self.outputs.push(Output::State(sub));
        }
    }

    /// A new run, where the limit of starts allows for it.
    pub(super) fn enter_start_of_run(&mut self) {
        self.again = false;
        self.for_restart = false;
        if !self.count_start() {
            self.outcome = Outcome::StartLimitHit;
            self.enter_dead(Outcome::StartLimitHit, false);
            return;
        }
        self.outcome = Outcome::Success;
        self.reload_outcome = Outcome::Success;
        self.main = None;
        self.main_known = false;
        self.main_exit = None;
        self.main_index = 0;
        self.control = None;
        self.control_command = None;
        self.control_exit = None;
        self.forbid_restart = false;
        self.said = Said::Nothing;
        self.status_text = None;
        self.trouble = None;
        self.enter_condition();
    }

    /// Counts a start; false where it is one too many.
    fn count_start(&mut self) -> bool {
        let (interval, burst) = (self.config.start_limit_interval, self.config.start_limit_burst);
        if interval.is_zero() || burst == 0 {
            return true;
        }
        if !self.armed.contains_key(&Timer::StartLimit) {
            self.starts = 0;
            self.arm(Timer::StartLimit, interval);
        }
        if self.starts >= burst {
            return false;
        }
        self.starts += 1;
        true
    }

    /// Begins a row of commands in a state of its own; false where there is none.
    fn begin_commands(&mut self, sub: SubState, purpose: Purpose, timeout: Option<Duration>) -> bool {
        if self.commands(purpose).is_empty() {
            return false;
        }
        self.set_state(sub, timeout);
        self.spawn(Slot::Control, purpose, 0);
        true
    }

    fn enter_condition(&mut self) {
        if !self.begin_commands(SubState::Condition, Purpose::Condition, self.config.timeout_start) {
            self.enter_start_pre();
        }
    }

    pub(super) fn enter_start_pre(&mut self) {
        if !self.begin_commands(SubState::StartPre, Purpose::StartPre, self.config.timeout_start) {
            self.enter_start();
        }
    }

    pub(super) fn enter_start(&mut self) {
        let immediate = matches!(self.config.kind, ServiceType::Simple | ServiceType::Idle);
        self.set_state(SubState::Start, if immediate { None } else { self.config.timeout_start });
        if self.config.commands.start.is_empty() {
            self.enter_start_post();
            return;
        }
        let slot = if self.config.kind == ServiceType::Forking { Slot::Control } else { Slot::Main };
        self.spawn(slot, Purpose::Start, 0);
    }

    pub(super) fn enter_start_post(&mut self) {
        let begun = self.begin_commands(SubState::StartPost, Purpose::StartPost, self.config.timeout_start);
        if !begun {
            self.enter_running(Outcome::Success);
        }
        if matches!(self.sub, SubState::StartPost | SubState::Running | SubState::Reload) {
            self.still_alive();
        }
    }

    /// The watchdog's time begins anew.
    pub(super) fn still_alive(&mut self) {
        if let Some(watchdog) = self.config.watchdog {
            self.arm(Timer::Watchdog, watchdog);
        }
    }

    /// Whether the service is there: its main process, or where none is known any of its processes.
    fn is_alive(&self) -> bool {
        self.main.is_some() || (!self.main_known && self.group)
    }

    /// Running, or whatever follows from what is left of the service.
    pub(super) fn enter_running(&mut self, outcome: Outcome) {
        self.note(outcome);
        if self.outcome != Outcome::Success {
            self.enter_signal(SubState::StopSigterm, outcome);
        } else if self.is_alive() {
            match self.said {
                Said::Reloading => self.set_state(SubState::Reload, self.config.timeout_start),
                Said::Stopping => self.set_state(SubState::StopSigterm, self.config.timeout_stop),
                Said::Nothing | Said::Ready => {
                    self.set_state(SubState::Running, None);
                    if let Some(longest) = self.config.runtime_max
                        && !self.armed.contains_key(&Timer::RuntimeMax)
                    {
                        self.arm(Timer::RuntimeMax, longest);
                    }
                }
            }
        } else if self.config.remain_after_exit {
            self.set_state(SubState::Exited, None);
        } else {
            self.enter_stop(Outcome::Success);
        }
    }

    pub(super) fn enter_reload(&mut self) {
        self.reload_outcome = Outcome::Success;
        self.begin_commands(SubState::Reload, Purpose::Reload, self.config.timeout_start);
    }

    pub(super) fn enter_stop(&mut self, outcome: Outcome) {
        self.note(outcome);
        if !self.begin_commands(SubState::Stop, Purpose::Stop, self.config.timeout_stop) {
            self.enter_signal(SubState::StopSigterm, Outcome::Success);
        }
    }

    /// Sends the signal of a state and waits in it; where there is nobody to wait for, goes on.
    pub(super) fn enter_signal(&mut self, sub: SubState, outcome: Outcome) {
        self.note(outcome);
        let timeout = match sub {
            SubState::StopWatchdog => self.config.timeout_abort.unwrap_or(self.config.timeout_stop),
            _ => self.config.timeout_stop,
        };
        if self.send(sub) {
            // Whoever ignores the last signal is given up after a while, even where waiting is not limited otherwise.
            let last = matches!(sub, SubState::StopSigkill | SubState::FinalSigkill);
            let timeout = if last { timeout.or(Some(LAST_SIGNAL_TIMEOUT)) } else { timeout };
            self.set_state(sub, timeout);
            return;
        }
        let more = self.config.kill.send_sigkill;
        match sub {
            SubState::StopWatchdog | SubState::StopSigterm if more => {
                self.enter_signal(SubState::StopSigkill, Outcome::Success);
            }
            SubState::StopWatchdog | SubState::StopSigterm | SubState::StopSigkill => {
                self.enter_stop_post(Outcome::Success);
            }
            SubState::FinalSigterm if more => self.enter_signal(SubState::FinalSigkill, Outcome::Success),
            _ => self.enter_dead(Outcome::Success, true),
        }
    }

    /// Sends a state's signal to whom the unit's mode says; true where there is anybody to wait for.
    fn send(&mut self, sub: SubState) -> bool {
        let kill = &self.config.kill;
        let (mode, hangup) = (kill.mode, kill.send_sighup);
        let last = matches!(sub, SubState::StopSigkill | SubState::FinalSigkill);
        let signal = match sub {
            SubState::StopWatchdog => kill.watchdog_signal,
            _ if last => kill.final_signal,
            _ if self.for_restart => kill.restart_signal.unwrap_or(kill.signal),
            _ => kill.signal,
        };
        if mode == KillMode::None {
            return false;
        }
        let mut told = Vec::new();
        for pid in self.processes() {
            if !told.contains(&pid) {
                told.push(pid);
            }
        }
        let whole = mode == KillMode::ControlGroup || (mode == KillMode::Mixed && last);
        let mut targets: Vec<Target> = told.iter().map(|pid| Target::Process(*pid)).collect();
        if whole && self.group {
            targets.push(Target::Group { except: told });
        }
        for target in &targets {
            self.outputs.push(Output::Signal { target: target.clone(), signal });
            let first = matches!(sub, SubState::StopSigterm | SubState::FinalSigterm);
            if hangup && first {
                self.outputs.push(Output::Signal { target: target.clone(), signal: Signal::HUP });
            }
            // A stopped process takes no signal but SIGKILL; let it go on, so that it hears this one.
            if first {
                self.outputs.push(Output::Signal { target: target.clone(), signal: Signal::CONT });
            }
        }
        !targets.is_empty()
    }

    pub(super) fn enter_stop_post(&mut self, outcome: Outcome) {
        self.note(outcome);
        if !self.begin_commands(SubState::StopPost, Purpose::StopPost, self.config.timeout_stop) {
            self.enter_signal(SubState::FinalSigterm, Outcome::Success);
        }
    }

    /// The run is over.
    pub(super) fn enter_dead(&mut self, outcome: Outcome, may_restart: bool) {
        self.note(outcome);
        self.main = None;
        self.control = None;
        self.control_command = None;
        self.said = Said::Nothing;
        let restart = may_restart && !self.again && self.shall_restart();
        let end = if self.outcome.is_clean() { SubState::Dead } else { SubState::Failed };
        self.set_state(end, None);
        if let Some(path) = &self.config.pid_file {
            self.outputs.push(Output::RemovePidFile(path.clone()));
        }
        if self.again {
            self.restarts = 0;
            self.enter_start_of_run();
        } else if restart {
            self.set_state(SubState::AutoRestart, None);
            self.arm(Timer::Restart, self.config.restart_delay_after(self.restarts));
        }
    }

    /// `Restart=` and what overrules it.
    fn shall_restart(&self) -> bool {
        if self.forbid_restart {
            return false;
        }
        let listed = |set: &crate::signal::StatusSet| self.main_exit.is_some_and(|exit| set.contains(exit));
        if listed(&self.config.restart_prevent) {
            return false;
        }
        if listed(&self.config.restart_force) {
            return true;
        }
        match self.config.restart {
            Restart::No => false,
            Restart::Always => self.outcome != Outcome::ExecCondition,
            Restart::OnSuccess => self.outcome == Outcome::Success,
            Restart::OnFailure => !self.outcome.is_clean(),
            Restart::OnAbnormal => !self.outcome.is_clean() && self.outcome != Outcome::ExitCode,
            Restart::OnWatchdog => self.outcome == Outcome::Watchdog,
            Restart::OnAbort => matches!(self.outcome, Outcome::Signal | Outcome::CoreDump),
        }
    }

    /// The present state took too long.
    pub(super) fn state_timed_out(&mut self) {
        let last_signal = self.config.kill.send_sigkill;
        match self.sub {
            SubState::Condition
            | SubState::StartPre
            | SubState::Start
            | SubState::StartPost
            | SubState::Stop => {
                self.enter_signal(SubState::StopSigterm, Outcome::Timeout);
            }
            SubState::Reload => {
                self.reload_outcome = Outcome::Timeout;
                if let Some(pid) = self.control.take() {
                    self.control_command = None;
                    self.outputs.push(Output::Signal { target: Target::Process(pid), signal: Signal::KILL });
                }
                self.said = Said::Ready;
                self.enter_running(Outcome::Success);
            }
            SubState::StopWatchdog | SubState::StopSigterm if last_signal => {
                self.enter_signal(SubState::StopSigkill, Outcome::Timeout);
            }
            // Nothing is stronger than the last signal: what is left after it is left behind.
            SubState::StopWatchdog | SubState::StopSigterm | SubState::StopSigkill => {
                self.enter_stop_post(Outcome::Timeout);
            }
            SubState::StopPost => self.enter_signal(SubState::FinalSigterm, Outcome::Timeout),
            SubState::FinalSigterm if last_signal => {
                self.enter_signal(SubState::FinalSigkill, Outcome::Timeout)
            }
            SubState::FinalSigterm => self.enter_dead(Outcome::Timeout, false),
            SubState::FinalSigkill => self.enter_dead(Outcome::Timeout, true),
            SubState::Dead
            | SubState::Running
            | SubState::Exited
            | SubState::Failed
            | SubState::AutoRestart => unreachable!("no time is limited in state {}", self.sub),
        }
    }
}

/// How long the end of a process is awaited after the last signal where `TimeoutStopSec=infinity`.
const LAST_SIGNAL_TIMEOUT: Duration = Duration::from_secs(90);
