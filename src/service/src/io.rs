//! What goes into a service and what comes out of it.

use crate::command::Command;
use crate::config::{ExecConfig, ServiceConfig};
use crate::environment::{Environment, parse_environment_file};
use crate::notify::Notification;
use crate::signal::{Exit, Signal};
use crate::state::SubState;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The number of a process.
pub type Pid = u32;

/// A service has at most one process of each kind that it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Slot {
    /// The service itself.
    Main,
    /// A command around it.
    Control,
}

/// What a command is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Purpose {
    /// `ExecCondition=`.
    Condition,
    /// `ExecStartPre=`.
    StartPre,
    /// `ExecStart=`.
    Start,
    /// `ExecStartPost=`.
    StartPost,
    /// `ExecReload=`.
    Reload,
    /// `ExecStop=`.
    Stop,
    /// `ExecStopPost=`.
    StopPost,
}

/// The processes of the unit that are left when one has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Left {
    /// None.
    Nobody,
    /// This one alone.
    One(Pid),
    /// Several.
    Many,
}

/// Why a process could not be started.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct SpawnFailure {
    /// The exit status that systemd has for this step (203 for the program, 200 for the folder, 217 for the user); `None`
    /// where it did not come to a process at all.
    pub status: Option<u8>,
    /// What the system said, and about what.
    pub text: String,
}

/// Whom a wish for a signal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Who {
    /// The main process.
    Main,
    /// The command that runs around it.
    Control,
    /// All processes of the unit.
    All,
}

/// All that can wake a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Input {
    /// Somebody wants it to run.
    Start,
    /// Somebody wants it not to run.
    Stop,
    /// Somebody wants it to stop and start.
    Restart,
    /// The first half of a restart whose second half is asked for separately: a stop with the signal of a restart.
    StopToRestart,
    /// Somebody wants it to read its configuration anew.
    Reload,
    /// Somebody sends a signal.
    Kill {
        /// To whom.
        who: Who,
        /// Which.
        signal: Signal,
    },
    /// A failure is to be forgotten, and with it how often it was started.
    ResetFailed,
    /// The answer to [`Output::Spawn`]: it runs. Where the type is `exec`, the program itself does.
    Spawned(Pid),
    /// The other answer to [`Output::Spawn`].
    SpawnFailed(SpawnFailure),
    /// A process of the unit has ended; also one that is no child of ours, once it is found to be gone.
    Exited {
        /// Which.
        pid: Pid,
        /// How.
        exit: Exit,
        /// Who is left of the unit.
        left: Left,
    },
    /// No process of the unit is left.
    GroupEmpty,
    /// A timer ran out that was armed and not disarmed since.
    Fired(Timer),
    /// A message to the notification socket.
    Notify {
        /// From which process, where that is known.
        from: Option<Pid>,
        /// What it says. The driver leaves out a `MAINPID=` that is no process of the unit.
        message: Notification,
    },
    /// The content of the file of [`Output::WatchPidFile`]. The driver tells it once it names a living process of the
    /// unit.
    PidFile(String),
}

/// A service's timers. At most one of each is armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Timer {
    /// The present state takes too long.
    State,
    /// The service is silent for too long.
    Watchdog,
    /// It is time for a restart.
    Restart,
    /// It runs for too long.
    RuntimeMax,
    /// Starts are counted anew.
    StartLimit,
    /// One of a timer unit's times.
    Elapse(u8),
}

/// Whom a signal goes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Target {
    /// One process.
    Process(Pid),
    /// All processes of the unit but these.
    Group {
        /// Who has got the signal already.
        except: Vec<Pid>,
    },
}

/// What a service wants done, in this order.
///
/// The driver's duties: every `Spawn` is answered with `Spawned` or `SpawnFailed`, and what happens in between may be
/// handed in at once or later; a timer that was disarmed, or armed again, does not fire for its earlier time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Output {
    /// Start a process in the unit's group.
    Spawn(Spawn),
    /// Send a signal.
    Signal {
        /// To whom.
        target: Target,
        /// Which.
        signal: Signal,
    },
    /// Arm a timer.
    Arm {
        /// Which.
        timer: Timer,
        /// For how long from now.
        after: Duration,
    },
    /// Arm a timer for a time counted from the machine's boot; it fires at once where that has passed.
    ArmSinceBoot {
        /// Which.
        timer: Timer,
        /// For how long from the boot.
        after: Duration,
    },
    /// Disarm a timer.
    Disarm(Timer),
    /// Read this file when it appears or changes, until [`Input::PidFile`] was told or the service has ended.
    WatchPidFile(String),
    /// Remove this file; it may be gone already.
    RemovePidFile(String),
    /// The state is a new one.
    State(SubState),
}

/// A process to be started.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Spawn {
    /// As which process.
    pub slot: Slot,
    /// What for.
    pub purpose: Purpose,
    /// The command, its variables not yet replaced.
    pub command: Command,
    /// Variables that tell it about the service.
    pub variables: Vec<(String, String)>,
    /// Whether it is told of the notification socket.
    pub notify: bool,
    /// The rest of what the unit wants.
    pub config: Arc<ServiceConfig>,
}

/// A process to be started, with everything in place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Execution {
    /// The program: an absolute path, or a plain name to be looked for.
    pub program: String,
    /// The argument vector; the first is what the program sees as its name.
    pub argv: Vec<String>,
    /// The whole environment.
    pub environment: Environment,
}

/// Where a plain name is looked for, and what `PATH` is unless somebody says otherwise.
pub const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Spawn {
    /// What is found around the process.
    #[must_use]
    pub fn exec(&self) -> &ExecConfig {
        &self.config.exec
    }

    /// The environment files to read first.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.exec().environment_files.iter().map(|file| file.path.as_str())
    }

    /// Puts everything in its place. `base` is what every process of the unit gets (`INVOCATION_ID`, `HOME`, …), `own`
    /// the manager's own environment, of which `PassEnvironment=` takes some; `files` the content of
    /// [`Spawn::files`] by path, without those that are not there.
    ///
    /// # Errors
    /// A file that must be there is not.
    pub fn resolve(
        &self,
        base: &Environment,
        own: &Environment,
        files: &BTreeMap<String, String>,
    ) -> Result<Execution, SpawnFailure> {
        let exec = self.exec();
        let mut environment = Environment::from([("PATH".to_owned(), SEARCH_PATH.to_owned())]);
        environment.extend(base.clone());
        environment.extend(self.variables.iter().cloned());
        let passed = exec.pass_environment.iter().filter_map(|name| own.get_key_value(name));
        environment.extend(passed.map(|(name, value)| (name.clone(), value.clone())));
        environment.extend(exec.environment.iter().cloned());
        for file in &exec.environment_files {
            match files.get(&file.path) {
                Some(content) => environment.extend(parse_environment_file(content)),
                None if file.optional => {}
                None => {
                    let text = format!("the environment file {} cannot be read", file.path);
                    return Err(SpawnFailure { status: None, text });
                }
            }
        }
        for unset in &exec.unset_environment {
            match unset.split_once('=') {
                Some((name, value)) if environment.get(name).is_some_and(|found| found == value) => {
                    environment.remove(name);
                }
                Some(_) => {}
                None => drop(environment.remove(unset)),
            }
        }
        let argv = self.command.argv(&environment);
        Ok(Execution { program: self.command.program.clone(), argv, environment })
    }
}
