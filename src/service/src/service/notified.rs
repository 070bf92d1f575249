//! Messages to the notification socket.

use super::{Said, Service};
use crate::config::{NotifyAccess, ServiceType};
use crate::io::{Pid, Timer};
use crate::notify::Notification;
use crate::state::{Outcome, SubState};

impl Service {
    pub(super) fn notified(&mut self, from: Option<Pid>, message: Notification) {
        let allowed = match self.config.notify_access {
            NotifyAccess::None => false,
            NotifyAccess::Main => from.is_some() && from == self.main,
            NotifyAccess::Exec => from.is_some() && (from == self.main || from == self.control),
            NotifyAccess::All => true,
        };
        if !allowed || self.sub.is_over() || self.sub == SubState::AutoRestart {
            return;
        }
        if let Some(pid) = message.main_pid
            && matches!(
                self.sub,
                SubState::Start | SubState::StartPost | SubState::Running | SubState::Reload
            )
        {
            self.main = Some(pid);
            self.main_known = true;
        }
        if let Some(text) = message.status {
            self.status_text = Some(text).filter(|text| !text.is_empty());
        }
        if message.stopping {
            self.said = Said::Stopping;
            if self.sub == SubState::Running {
                self.set_state(SubState::StopSigterm, self.config.timeout_stop);
            }
        } else if message.ready {
            self.said = Said::Ready;
            if self.sub == SubState::Start && self.config.kind == ServiceType::Notify {
                self.enter_start_post();
            } else if self.sub == SubState::Reload && self.control.is_none() {
                self.enter_running(Outcome::Success);
            }
        } else if message.reloading {
            self.said = Said::Reloading;
            if self.sub == SubState::Running {
                self.reload_outcome = Outcome::Success;
                self.enter_running(Outcome::Success);
            }
        }
        if let Some(more) = message.extend_timeout
            && self.armed.contains_key(&Timer::State)
        {
            self.arm(Timer::State, more);
        }
        if self.armed.contains_key(&Timer::Watchdog) {
            if message.watchdog_trigger {
                self.enter_signal(SubState::StopWatchdog, Outcome::Watchdog);
            } else if message.watchdog {
                self.still_alive();
            }
        }
    }
}
