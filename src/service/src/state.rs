//! The states of a unit in systemd's words.

use crate::enums::named_words;

named_words! {
    /// Whether a unit's file is there and could be read.
    LoadState {
        /// It is.
        Loaded = "loaded",
        /// There is no file (any more).
        NotFound = "not-found",
        /// The file is there and wrong.
        Error = "error",
    }
}

named_words! {
    /// A unit's state as all kinds of units have it.
    ActiveState {
        /// It does its work.
        Active = "active",
        /// It does, and reads its configuration anew.
        Reloading = "reloading",
        /// It does not.
        Inactive = "inactive",
        /// It does not, because something went wrong.
        Failed = "failed",
        /// On the way up.
        Activating = "activating",
        /// On the way down.
        Deactivating = "deactivating",
    }
}

named_words! {
    /// The state of a service.
    SubState {
        /// Not running; nothing went wrong.
        Dead = "dead",
        /// `ExecCondition=` runs.
        Condition = "condition",
        /// `ExecStartPre=` runs.
        StartPre = "start-pre",
        /// Started, and not yet ready.
        Start = "start",
        /// `ExecStartPost=` runs.
        StartPost = "start-post",
        /// Running.
        Running = "running",
        /// Its processes have ended; it counts as active.
        Exited = "exited",
        /// `ExecReload=` runs, or the service said that it reloads.
        Reload = "reload",
        /// `ExecStop=` runs.
        Stop = "stop",
        /// The watchdog's signal was sent.
        StopWatchdog = "stop-watchdog",
        /// The first signal was sent, or the service said that it stops.
        StopSigterm = "stop-sigterm",
        /// The last signal was sent.
        StopSigkill = "stop-sigkill",
        /// `ExecStopPost=` runs.
        StopPost = "stop-post",
        /// The first signal was sent to what is left.
        FinalSigterm = "final-sigterm",
        /// The last signal was sent to what is left.
        FinalSigkill = "final-sigkill",
        /// Not running; something went wrong.
        Failed = "failed",
        /// Not running; it will be started again.
        AutoRestart = "auto-restart",
    }
}

impl SubState {
    /// What it means for a unit of any kind.
    #[must_use]
    pub fn active(self) -> ActiveState {
        match self {
            Self::Dead => ActiveState::Inactive,
            Self::Failed => ActiveState::Failed,
            Self::Running | Self::Exited => ActiveState::Active,
            Self::Reload => ActiveState::Reloading,
            Self::Condition | Self::StartPre | Self::Start | Self::StartPost | Self::AutoRestart => {
                ActiveState::Activating
            }
            Self::Stop
            | Self::StopWatchdog
            | Self::StopSigterm
            | Self::StopSigkill
            | Self::StopPost
            | Self::FinalSigterm
            | Self::FinalSigkill => ActiveState::Deactivating,
        }
    }

    /// Whether the service is on its way down.
    #[must_use]
    pub fn is_stopping(self) -> bool {
        self.active() == ActiveState::Deactivating
    }

    /// Whether nothing runs and nothing will by itself.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Dead | Self::Failed)
    }
}

named_words! {
    /// How the last run of a service went.
    Outcome {
        /// Well.
        Success = "success",
        /// The machine could not give what is needed.
        Resources = "resources",
        /// The service did not keep to its type's protocol.
        Protocol = "protocol",
        /// Something took too long.
        Timeout = "timeout",
        /// A process ended with a bad status.
        ExitCode = "exit-code",
        /// A process was ended by a signal.
        Signal = "signal",
        /// The same, with a core dump.
        CoreDump = "core-dump",
        /// The service was silent for too long.
        Watchdog = "watchdog",
        /// It was started too often.
        StartLimitHit = "start-limit-hit",
        /// A condition did not hold; nothing went wrong.
        ExecCondition = "exec-condition",
    }
}

impl Outcome {
    /// Whether nothing went wrong.
    #[must_use]
    pub fn is_clean(self) -> bool {
        matches!(self, Self::Success | Self::ExecCondition)
    }
}
