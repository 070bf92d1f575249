//! What follows from the end of a process.

use super::Service;
use crate::config::ServiceType;
use crate::io::{Left, Output, Pid, Purpose, Slot};
use crate::signal::{Exit, Signal};
use crate::state::{Outcome, SubState};

/// A daemon may end by these and has done nothing wrong: SIGHUP, SIGINT, SIGPIPE, SIGTERM.
const CLEAN_SIGNALS: [Signal; 4] = [Signal(1), Signal(2), Signal(13), Signal(15)];

impl Service {
    pub(super) fn exited(&mut self, pid: Pid, exit: Exit, left: Left) {
        let ours = self.main == Some(pid) || self.control == Some(pid);
        self.group = left != Left::Nobody;
        // One process can be both: a command that said MAINPID= of itself.
        if self.control == Some(pid) {
            self.control = None;
            if self.main == Some(pid) {
                self.main = None;
                self.main_exit = Some(exit);
            }
            self.control_ended(Some(exit), left);
        } else if self.main == Some(pid) {
            self.main = None;
            self.main_ended(Some(exit), left);
        }
        if !ours && left == Left::Nobody {
            self.group_empty();
        }
    }

    /// What an ending means; `None`: the process never came to be.
    fn judge(&self, exit: Option<Exit>, daemon: bool) -> Outcome {
        let Some(exit) = exit else { return Outcome::Resources };
        if self.config.success.contains(exit) {
            return Outcome::Success;
        }
        match exit {
            Exit::Code(0) => Outcome::Success,
            Exit::Code(_) => Outcome::ExitCode,
            Exit::Signal { signal, core: false } if daemon && CLEAN_SIGNALS.contains(&signal) => {
                Outcome::Success
            }
            Exit::Signal { core: false, .. } => Outcome::Signal,
            Exit::Signal { core: true, .. } => Outcome::CoreDump,
            // We wanted it to end, and it did. Otherwise nobody can say that it ended well, so we do not.
            Exit::Unknown if self.sub.is_stopping() => Outcome::Success,
            Exit::Unknown => Outcome::ExitCode,
        }
    }

    pub(super) fn main_ended(&mut self, exit: Option<Exit>, _left: Left) {
        let kind = self.config.kind;
        // Of a forking service the main process is none of the commands.
        let command =
            (kind != ServiceType::Forking).then(|| self.config.commands.start.get(self.main_index)).flatten();
        let ignored = command.is_some_and(|command| command.ignore_failure);
        let outcome = if ignored { Outcome::Success } else { self.judge(exit, kind != ServiceType::Oneshot) };
        self.main_exit = exit;
        self.note(outcome);
        let alone = self.control.is_none();
        match self.sub {
            SubState::Start if outcome != Outcome::Success => {
                self.enter_signal(SubState::StopSigterm, outcome)
            }
            SubState::Start => match kind {
                ServiceType::Oneshot if self.main_index + 1 < self.config.commands.start.len() => {
                    self.spawn(Slot::Main, Purpose::Start, self.main_index + 1);
                }
                ServiceType::Oneshot => self.enter_start_post(),
                // It had to say that it is ready, and cannot any more.
                ServiceType::Notify => self.enter_signal(SubState::StopSigterm, Outcome::Protocol),
                _ if alone => self.enter_start_post(),
                // A daemon that is gone before the command that started it: what is left then decides.
                _ => {}
            },
            SubState::StartPost | SubState::Reload if alone => self.enter_stop(outcome),
            SubState::Running => self.enter_running(outcome),
            SubState::StopWatchdog | SubState::StopSigterm | SubState::StopSigkill if alone => {
                self.enter_stop_post(outcome);
            }
            SubState::StopPost if alone => self.enter_signal(SubState::FinalSigterm, outcome),
            SubState::FinalSigterm | SubState::FinalSigkill if alone => self.enter_dead(outcome, true),
            _ => {}
        }
    }

    pub(super) fn control_ended(&mut self, exit: Option<Exit>, left: Left) {
        let Some((purpose, index)) = self.control_command.take() else { return };
        self.control_exit = exit;
        let ignored = self.commands(purpose)[index].ignore_failure;
        let outcome = match exit {
            Some(Exit::Code(1..=254)) if purpose == Purpose::Condition && !ignored => Outcome::ExecCondition,
            _ if ignored => Outcome::Success,
            exit => self.judge(exit, false),
        };
        // A command that was overtaken by a stop got its signal from us, and a reload that failed says nothing about the
        // service.
        let expected = expected_state(purpose) == self.sub;
        if expected && purpose != Purpose::Reload {
            self.note(outcome);
        }
        if expected && outcome == Outcome::Success && index + 1 < self.commands(purpose).len() {
            self.spawn(Slot::Control, purpose, index + 1);
            return;
        }
        let good = outcome == Outcome::Success;
        let alone = self.main.is_none();
        match self.sub {
            SubState::Condition if good => self.enter_start_pre(),
            SubState::Condition => self.enter_signal(SubState::FinalSigterm, outcome),
            SubState::StartPre if good => self.enter_start(),
            SubState::StartPre => self.enter_signal(SubState::StopSigterm, outcome),
            SubState::Start if good => self.forked(left),
            SubState::Start => self.enter_signal(SubState::StopSigterm, outcome),
            SubState::StartPost if good => self.enter_running(Outcome::Success),
            SubState::StartPost => self.enter_signal(SubState::StopSigterm, outcome),
            SubState::Reload => {
                self.reload_outcome = outcome;
                self.enter_running(Outcome::Success);
            }
            SubState::Stop => self.enter_signal(SubState::StopSigterm, outcome),
            SubState::StopWatchdog | SubState::StopSigterm | SubState::StopSigkill if alone => {
                self.enter_stop_post(Outcome::Success);
            }
            SubState::StopPost if alone => self.enter_signal(SubState::FinalSigterm, outcome),
            SubState::FinalSigterm | SubState::FinalSigkill if alone => {
                self.enter_dead(Outcome::Success, true);
            }
            _ => {}
        }
    }

    /// The command of a forking service has ended well: who is the daemon?
    fn forked(&mut self, left: Left) {
        if let Some(path) = self.config.pid_file.clone() {
            if left == Left::Nobody {
                self.enter_signal(SubState::StopSigterm, Outcome::Protocol);
                return;
            }
            self.pid_file_awaited = true;
            self.outputs.push(Output::WatchPidFile(path));
            return;
        }
        if let Left::One(pid) = left
            && self.config.guess_main_pid
            && self.main.is_none()
        {
            self.main = Some(pid);
            self.main_known = true;
        }
        self.enter_start_post();
    }

    pub(super) fn pid_file(&mut self, content: &str) {
        if !self.pid_file_awaited {
            return;
        }
        let first = content.split_whitespace().next().unwrap_or_default();
        let Some(pid) = first.parse::<Pid>().ok().filter(|pid| *pid > 1) else { return };
        self.pid_file_awaited = false;
        self.main = Some(pid);
        self.main_known = true;
        self.group = true;
        self.enter_start_post();
    }

    pub(super) fn group_empty(&mut self) {
        // Whoever is still waited for is told of by itself.
        let alone = self.main.is_none() && self.control.is_none();
        self.group = false;
        if !alone {
            return;
        }
        match self.sub {
            SubState::Start if self.pid_file_awaited => {
                self.enter_signal(SubState::StopSigterm, Outcome::Protocol);
            }
            SubState::Running => self.enter_running(Outcome::Success),
            SubState::Reload => self.enter_stop(Outcome::Success),
            SubState::StopWatchdog | SubState::StopSigterm | SubState::StopSigkill => {
                self.enter_stop_post(Outcome::Success);
            }
            SubState::FinalSigterm | SubState::FinalSigkill => self.enter_dead(Outcome::Success, true),
            _ => {}
        }
    }
}

/// The state in which a command runs unless something overtakes it.
fn expected_state(purpose: Purpose) -> SubState {
    match purpose {
        Purpose::Condition => SubState::Condition,
        Purpose::StartPre => SubState::StartPre,
        Purpose::Start => SubState::Start,
        Purpose::StartPost => SubState::StartPost,
        Purpose::Reload => SubState::Reload,
        Purpose::Stop => SubState::Stop,
        Purpose::StopPost => SubState::StopPost,
    }
}
