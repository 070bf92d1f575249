//! What a unit file asks for, read: options as values with systemd's defaults.

use crate::command::Command;
use crate::enums::named_words;
use crate::signal::{Signal, StatusSet};
use std::collections::BTreeMap;
use std::time::Duration;

named_words! {
    /// When a service counts as started.
    ServiceType {
        /// As soon as its process is there.
        Simple = "simple",
        /// As soon as its program runs.
        Exec = "exec",
        /// When its commands have ended.
        Oneshot = "oneshot",
        /// When its command has ended, leaving a daemon behind.
        Forking = "forking",
        /// When it says so.
        Notify = "notify",
        /// As `simple`; systemd would wait a little for other jobs first.
        Idle = "idle",
    }
}

named_words! {
    /// Which endings are followed by a new start.
    Restart {
        /// None.
        No = "no",
        /// Clean ones.
        OnSuccess = "on-success",
        /// All but clean ones.
        OnFailure = "on-failure",
        /// Signals, timeouts and the watchdog.
        OnAbnormal = "on-abnormal",
        /// A silent service.
        OnWatchdog = "on-watchdog",
        /// Signals that are not clean.
        OnAbort = "on-abort",
        /// All.
        Always = "always",
    }
}

named_words! {
    /// Whose processes a stop ends.
    KillMode {
        /// All of the unit.
        ControlGroup = "control-group",
        /// First the main process alone; all of the unit with the final signal.
        Mixed = "mixed",
        /// The main process alone.
        Process = "process",
        /// Nobody's: only `ExecStop=` is run.
        None = "none",
    }
}

named_words! {
    /// From whom notifications are taken.
    NotifyAccess {
        /// Nobody.
        None = "none",
        /// The main process.
        Main = "main",
        /// The processes that the unit's commands started.
        Exec = "exec",
        /// Any process of the unit.
        All = "all",
    }
}

/// How a unit's processes are ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct KillConfig {
    /// Whose.
    pub mode: KillMode,
    /// The first signal.
    pub signal: Signal,
    /// The first signal of a restart, where it differs.
    pub restart_signal: Option<Signal>,
    /// The last signal.
    pub final_signal: Signal,
    /// The signal for a silent service.
    pub watchdog_signal: Signal,
    /// Whether the last signal is sent at all.
    pub send_sigkill: bool,
    /// Whether SIGHUP follows the first signal.
    pub send_sighup: bool,
}

/// A resource limit; `None` is infinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Limit {
    /// The soft limit.
    pub soft: Option<u64>,
    /// The hard limit.
    pub hard: Option<u64>,
}

/// Where commands run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct WorkingDirectory {
    /// An absolute path, or `~` for the user's home.
    pub path: String,
    /// Whether a missing one is no error.
    pub optional: bool,
}

/// A file of variables.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct EnvironmentFile {
    /// An absolute path.
    pub path: String,
    /// Whether a missing one is no error.
    pub optional: bool,
}

/// What a process of the unit finds around it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ExecConfig {
    /// `WorkingDirectory=`; the root folder where it is not given.
    pub working_directory: Option<WorkingDirectory>,
    /// `User=`, a name or a number.
    pub user: Option<String>,
    /// `Group=`, a name or a number.
    pub group: Option<String>,
    /// `UMask=`.
    pub umask: u32,
    /// `Nice=`.
    pub nice: Option<i8>,
    /// `OOMScoreAdjust=`.
    pub oom_score_adjust: Option<i16>,
    /// `LimitX=` by X.
    pub limits: BTreeMap<String, Limit>,
    /// `Environment=`, in order; the last assignment of a name wins.
    pub environment: Vec<(String, String)>,
    /// `EnvironmentFile=`, in order; they win over `environment`.
    pub environment_files: Vec<EnvironmentFile>,
    /// `PassEnvironment=`: names taken over from the manager.
    pub pass_environment: Vec<String>,
    /// `UnsetEnvironment=`: names, or whole assignments, taken out at the end.
    pub unset_environment: Vec<String>,
    /// `StandardOutput=`, as written.
    pub standard_output: Option<String>,
    /// `StandardError=`, as written.
    pub standard_error: Option<String>,
    /// `SyslogIdentifier=`.
    pub syslog_identifier: Option<String>,
}

/// The commands of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Commands {
    /// `ExecCondition=`.
    pub condition: Vec<Command>,
    /// `ExecStartPre=`.
    pub start_pre: Vec<Command>,
    /// `ExecStart=`.
    pub start: Vec<Command>,
    /// `ExecStartPost=`.
    pub start_post: Vec<Command>,
    /// `ExecReload=`.
    pub reload: Vec<Command>,
    /// `ExecStop=`.
    pub stop: Vec<Command>,
    /// `ExecStopPost=`.
    pub stop_post: Vec<Command>,
}

/// A service, as its file wants it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ServiceConfig {
    /// `Type=`.
    pub kind: ServiceType,
    /// What is run.
    pub commands: Commands,
    /// `Restart=`.
    pub restart: Restart,
    /// `RestartSec=`: the wait before a restart.
    pub restart_delay: Duration,
    /// `RestartSteps=`: so many restarts until the longest wait is reached; 0: the wait stays as it is.
    pub restart_steps: u32,
    /// `RestartMaxDelaySec=`.
    pub restart_delay_max: Option<Duration>,
    /// `RestartPreventExitStatus=`: never a restart.
    pub restart_prevent: StatusSet,
    /// `RestartForceExitStatus=`: always a restart.
    pub restart_force: StatusSet,
    /// `SuccessExitStatus=`: these are clean too.
    pub success: StatusSet,
    /// `TimeoutStartSec=`; `None`: no limit.
    pub timeout_start: Option<Duration>,
    /// `TimeoutStopSec=`; `None`: no limit.
    pub timeout_stop: Option<Duration>,
    /// `TimeoutAbortSec=`: the wait after the watchdog's signal; `None`: that of a stop.
    pub timeout_abort: Option<Option<Duration>>,
    /// `RuntimeMaxSec=`.
    pub runtime_max: Option<Duration>,
    /// `WatchdogSec=`.
    pub watchdog: Option<Duration>,
    /// `StartLimitIntervalSec=`; zero: starts are not counted.
    pub start_limit_interval: Duration,
    /// `StartLimitBurst=`; 0: starts are not counted.
    pub start_limit_burst: u32,
    /// `RemainAfterExit=`.
    pub remain_after_exit: bool,
    /// `GuessMainPID=`.
    pub guess_main_pid: bool,
    /// `PIDFile=`, an absolute path.
    pub pid_file: Option<String>,
    /// `NotifyAccess=`.
    pub notify_access: NotifyAccess,
    /// How its processes are ended.
    pub kill: KillConfig,
    /// What they find around them.
    pub exec: ExecConfig,
}

impl Default for ServiceConfig {
    /// systemd's defaults, and no command.
    fn default() -> Self {
        let timeout = Some(Duration::from_secs(90));
        Self {
            kind: ServiceType::Simple,
            commands: Commands::default(),
            restart: Restart::No,
            restart_delay: Duration::from_millis(100),
            restart_steps: 0,
            restart_delay_max: None,
            restart_prevent: StatusSet::default(),
            restart_force: StatusSet::default(),
            success: StatusSet::default(),
            timeout_start: timeout,
            timeout_stop: timeout,
            timeout_abort: None,
            runtime_max: None,
            watchdog: None,
            start_limit_interval: Duration::from_secs(10),
            start_limit_burst: 5,
            remain_after_exit: false,
            guess_main_pid: true,
            pid_file: None,
            notify_access: NotifyAccess::None,
            kill: KillConfig {
                mode: KillMode::ControlGroup,
                signal: Signal::TERM,
                restart_signal: None,
                final_signal: Signal::KILL,
                watchdog_signal: Signal::ABRT,
                send_sigkill: true,
                send_sighup: false,
            },
            exec: ExecConfig {
                working_directory: None,
                user: None,
                group: None,
                umask: 0o022,
                nice: None,
                oom_score_adjust: None,
                limits: BTreeMap::new(),
                environment: Vec::new(),
                environment_files: Vec::new(),
                pass_environment: Vec::new(),
                unset_environment: Vec::new(),
                standard_output: None,
                standard_error: None,
                syslog_identifier: None,
            },
        }
    }
}

impl ServiceConfig {
    /// The wait before a restart that follows `earlier` others: grows by a constant factor from `RestartSec=` to
    /// `RestartMaxDelaySec=` within `RestartSteps=`.
    #[must_use]
    pub fn restart_delay_after(&self, earlier: u32) -> Duration {
        let (Some(longest), 1..) = (self.restart_delay_max, self.restart_steps) else {
            return self.restart_delay;
        };
        if earlier >= self.restart_steps || self.restart_delay >= longest {
            return self.restart_delay.max(longest);
        }
        let ratio = longest.as_secs_f64() / self.restart_delay.as_secs_f64().max(1e-6);
        let grown =
            self.restart_delay.as_secs_f64() * ratio.powf(f64::from(earlier) / f64::from(self.restart_steps));
        // To the nearest millisecond: the last bits of a power differ between machines.
        let rounded = Duration::from_secs_f64((grown * 1000.0).round() / 1000.0);
        Duration::from_millis(rounded.as_millis().try_into().unwrap_or(u64::MAX)).min(longest)
    }
}

/// What the `[Unit]` section says; names of units, in order, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct UnitConfig {
    /// `Description=`.
    pub description: String,
    /// `Documentation=`.
    pub documentation: Vec<String>,
    /// `Requires=`.
    pub requires: Vec<String>,
    /// `Requisite=`.
    pub requisite: Vec<String>,
    /// `Wants=`.
    pub wants: Vec<String>,
    /// `BindsTo=`.
    pub binds_to: Vec<String>,
    /// `PartOf=`.
    pub part_of: Vec<String>,
    /// `Conflicts=`.
    pub conflicts: Vec<String>,
    /// `Before=`.
    pub before: Vec<String>,
    /// `After=`.
    pub after: Vec<String>,
}

/// A timer, as its file wants it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct TimerConfig {
    /// What it starts.
    pub unit: String,
    /// When, each counted on its own.
    pub elapses: Vec<Elapse>,
}

/// One of a timer's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Elapse {
    /// From when on it is counted.
    pub base: Base,
    /// So long after that.
    pub after: Duration,
}

named_words! {
    /// From when on a timer's time is counted.
    Base {
        /// From the start of the timer.
        Active = "OnActiveSec",
        /// From the boot of the machine.
        Boot = "OnBootSec",
        /// From the last start of the unit.
        UnitActive = "OnUnitActiveSec",
        /// From the last end of the unit.
        UnitInactive = "OnUnitInactiveSec",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_before_a_restart_grows_to_its_longest_and_stays_there() {
        let mut config = ServiceConfig { restart_delay: Duration::from_secs(1), ..ServiceConfig::default() };
        assert_eq!(config.restart_delay_after(9), Duration::from_secs(1), "nothing grows unless asked to");
        (config.restart_steps, config.restart_delay_max) = (3, Some(Duration::from_secs(8)));
        let waits: Vec<u64> = (0..6).map(|n| config.restart_delay_after(n).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 8, 8]);
    }
}
