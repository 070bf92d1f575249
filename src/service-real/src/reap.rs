//! How processes ended, and signals to them.

use crate::proc;
use rustix::process::{Pid, WaitId, WaitIdOptions};
use seatrial_service::{Exit, Signal};

/// What is known of a process that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Lives,
    Ended(Exit),
}

fn number(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

/// Whether a process has ended; a child of ours is taken off the kernel's list then.
pub(crate) fn look(pid: u32, started: Option<u64>) -> Seen {
    let Some(number) = number(pid) else { return Seen::Ended(Exit::Unknown) };
    match rustix::process::waitid(WaitId::Pid(number), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
        Ok(None) => Seen::Lives,
        Ok(Some(status)) => {
            let byte = |number: Option<i32>| number.and_then(|number| u8::try_from(number).ok());
            if status.exited() {
                return Seen::Ended(byte(status.exit_status()).map_or(Exit::Unknown, Exit::Code));
            }
            let signal = byte(status.terminating_signal()).map(Signal);
            Seen::Ended(signal.map_or(Exit::Unknown, |signal| Exit::Signal { signal, core: status.dumped() }))
        }
        // No child of ours: somebody else's manager started it. It is there, or it is not.
        Err(_) => match proc::look(pid) {
            Some(found) if !found.zombie && started.is_none_or(|started| started == found.started) => {
                Seen::Lives
            }
            _ => Seen::Ended(Exit::Unknown),
        },
    }
}

/// Sends a signal; who is gone meanwhile needs none.
pub(crate) fn send(pid: u32, signal: Signal) {
    let Some(number) = number(pid) else { return };
    let sent = match rustix::process::Signal::from_named_raw(i32::from(signal.0)) {
        Some(named) => rustix::process::kill_process(number, named).map_err(std::io::Error::from),
        // The realtime signals have no safe name in our libraries; the system's program takes them.
        None => {
            let arguments = [format!("-{}", signal.0), pid.to_string()];
            std::process::Command::new("/bin/kill").args(arguments).status().map(|_| ())
        }
    };
    if let Err(error) = sent
        && proc::look(pid).is_some()
    {
        tracing::warn!(pid, %signal, %error, "could not send a signal");
    }
}
