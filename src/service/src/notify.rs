//! Messages to the notification socket (sd_notify(3)).

use std::time::Duration;

/// One message. What it does not mention is `None` or false; what nobody here knows is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Notification {
    /// `READY=1`: the start or the reload is done.
    pub ready: bool,
    /// `RELOADING=1`.
    pub reloading: bool,
    /// `STOPPING=1`.
    pub stopping: bool,
    /// `STATUS=`: a line for people.
    pub status: Option<String>,
    /// `MAINPID=`.
    pub main_pid: Option<u32>,
    /// `WATCHDOG=1`: still alive.
    pub watchdog: bool,
    /// `WATCHDOG=trigger`: act as if the watchdog had run out.
    pub watchdog_trigger: bool,
    /// `EXTEND_TIMEOUT_USEC=`: the present state may take so long from now on.
    pub extend_timeout: Option<Duration>,
}

impl Notification {
    /// Reads a datagram; lines that make no sense are left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            match line.split_once('=') {
                Some(("READY", "1")) => found.ready = true,
                Some(("RELOADING", "1")) => found.reloading = true,
                Some(("STOPPING", "1")) => found.stopping = true,
                Some(("STATUS", text)) => found.status = Some(text.to_owned()),
                Some(("MAINPID", pid)) => found.main_pid = pid.parse().ok().filter(|pid| *pid > 1),
                Some(("WATCHDOG", "1")) => found.watchdog = true,
                Some(("WATCHDOG", "trigger")) => found.watchdog_trigger = true,
                Some(("EXTEND_TIMEOUT_USEC", us)) => {
                    found.extend_timeout = us.parse().ok().map(Duration::from_micros)
                }
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_line_by_line() {
        let found = Notification::parse("READY=1\nSTATUS=up and a=b\nMAINPID=42\nX_OTHER=1\nWATCHDOG=1");
        let expected = Notification {
            ready: true,
            status: Some("up and a=b".to_owned()),
            main_pid: Some(42),
            watchdog: true,
            ..Notification::default()
        };
        assert_eq!(found, expected);
        assert_eq!(Notification::parse("READY=0\nMAINPID=1\nMAINPID=x\nnonsense\n"), Notification::default());
    }
}
