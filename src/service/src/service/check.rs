//! What holds between any two steps.

use super::Service;
use crate::io::Timer;
use crate::state::SubState;

impl Service {
    /// Asserts what holds between any two steps.
    ///
    /// # Panics
    /// Where it does not.
    pub fn check(&self) {
        let sub = self.sub;
        let down = sub.is_over() || sub == SubState::AutoRestart;
        assert!(!down || self.main.is_none(), "main process {:?} in state {sub}", self.main);
        assert!(!down || self.control.is_none(), "control process {:?} in state {sub}", self.control);
        assert!(!down || self.spawning.is_none(), "a process is asked for in state {sub}");
        assert!(
            !matches!(sub, SubState::Running | SubState::Exited) || self.control.is_none(),
            "control process {:?} in state {sub}",
            self.control
        );
        assert!(
            self.control.is_none() || self.control_command.is_some(),
            "a control process that runs no command"
        );
        assert!(self.put_off.is_empty() || self.spawning.is_some(), "inputs wait for nothing");
        // A failed service says why, and one that is merely dead did nothing wrong.
        assert!(sub != SubState::Failed || !self.outcome.is_clean(), "failed with outcome {}", self.outcome);
        assert!(sub != SubState::Dead || self.outcome.is_clean(), "dead with outcome {}", self.outcome);
        assert!(
            !matches!(sub, SubState::Running | SubState::Exited) || self.outcome.is_clean(),
            "{sub} with outcome {}",
            self.outcome
        );
        assert!(
            sub != SubState::Running || self.main.is_some() || (!self.main_known && self.group),
            "running without a process"
        );
        assert_eq!(
            self.armed.contains_key(&Timer::Restart),
            sub == SubState::AutoRestart,
            "restart timer in {sub}"
        );
        let limited = !down && !matches!(sub, SubState::Running | SubState::Exited);
        assert!(limited || !self.armed.contains_key(&Timer::State), "a time limit in state {sub}");
        // Whatever waits for others to end must not wait for ever, unless the unit says so.
        let bounded = self.config.timeout_stop.is_some() && sub.is_stopping();
        assert!(
            !bounded || self.armed.contains_key(&Timer::State) || self.config.timeout_abort == Some(None),
            "no time limit in state {sub}"
        );
        assert!(
            matches!(sub, SubState::StartPost | SubState::Running | SubState::Reload)
                || !self.armed.contains_key(&Timer::Watchdog),
            "watchdog in state {sub}"
        );
        assert!(
            !self.again || sub.is_stopping() || self.spawning.is_some(),
            "a start is owed in state {sub}"
        );
        assert!(self.starts <= self.config.start_limit_burst, "{} starts were counted", self.starts);
    }
}
