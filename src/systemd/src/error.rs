//! What can go wrong between us and systemd.

use std::time::Duration;

/// systemd, or the way to it, said no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SystemdError {
    /// Nobody is heard at any of the places.
    #[error(
        "systemd is not heard: {tried}\nhint: see that systemd runs here and that we may speak to it: as root, or with --systemd-user to one's own; --unit-manager process needs none"
    )]
    Away {
        /// Each place with what was said there.
        tried: String,
    },
    /// Nobody was heard a moment ago, and it is too early to try again.
    #[error("systemd is not heard; the next attempt is in {pause:?}. The last one: {last}")]
    Waiting {
        /// Until then.
        pause: Duration,
        /// What was said the last time.
        last: String,
    },
    /// The instance of a user lies in a folder that nobody has named.
    #[error(
        "XDG_RUNTIME_DIR is not set, so the user's systemd cannot be found\nhint: log in as that user, or set it to /run/user/UID"
    )]
    NoRuntimeDir,
    /// systemd has refused.
    #[error("{call}: {message} ({name})")]
    Refused {
        /// What was asked for: `StartUnit web.service`.
        call: String,
        /// The error's name: `org.freedesktop.systemd1.NoSuchUnit`.
        name: String,
        /// systemd's own words.
        message: String,
    },
    /// The connection broke; what was asked for may have been done.
    #[error("{call}: the connection to systemd broke: {problem}")]
    Broken {
        /// What was asked for.
        call: String,
        /// What was said.
        problem: String,
    },
    /// No answer in time; what was asked for may be done later.
    #[error("{call}: systemd has not answered within {patience:?}")]
    Silent {
        /// What was asked for.
        call: String,
        /// How long it was waited.
        patience: Duration,
    },
    /// An answer in a shape that nobody expects.
    #[error("{call}: systemd's answer cannot be read: {problem}")]
    Unreadable {
        /// What was asked for.
        call: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A name that the fleet takes and systemd does not.
    #[error("systemd takes no unit {unit}: {why}\nhint: give the unit another name")]
    Name {
        /// The name.
        unit: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The machine has a unit of that name, which is not the fleet's.
    #[error(
        "the machine has a unit {unit} of its own: {path}\nhint: give the fleet's unit another name; a unit of the machine is never touched"
    )]
    Foreign {
        /// The name.
        unit: String,
        /// Where its file lies.
        path: String,
    },
    /// A file of ours.
    #[error("{what} {path}: {problem}\nhint: see that the folder is there, can be written, and has room")]
    File {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: String,
        /// What the system said.
        problem: String,
    },
    /// Another fleetd has the folder.
    #[error(
        "another fleetd puts its units into this folder: {path} is locked\nhint: stop it, or give this one a folder of its own with --units-directory"
    )]
    Taken {
        /// The file with the lock.
        path: String,
    },
    /// `journalctl` cannot be run.
    #[error(
        "the journal cannot be read: {problem}\nhint: systemd's `journalctl` must be on the machine that runs the unit, and in fleetd's PATH"
    )]
    Journal {
        /// Why.
        problem: String,
    },
    /// Too many read the journal at once.
    #[error("{most} logs are followed on this machine already\nhint: end one of them, or ask without -f")]
    TooMany {
        /// So many may.
        most: usize,
    },
}

/// What systemd says of a unit that it does not have in memory: to stop or forget that one is no failure.
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// What systemd says of a link that is not there.
const NO_SUCH_FILE: &str = "org.freedesktop.DBus.Error.FileNotFound";

/// Names of errors by which an older systemd says that it lacks a method, or cannot take one of our names.
const NO_SUCH_METHOD: [&str; 2] =
    ["org.freedesktop.DBus.Error.UnknownMethod", "org.freedesktop.DBus.Error.InvalidArgs"];

impl SystemdError {
    fn is_named(&self, names: &[&str]) -> bool {
        matches!(self, Self::Refused { name, .. } if names.contains(&name.as_str()))
    }

    /// systemd does not know the unit.
    #[must_use]
    pub fn is_unknown_unit(&self) -> bool {
        self.is_named(&[NO_SUCH_UNIT, NO_SUCH_FILE])
    }

    /// The call itself was not understood.
    #[must_use]
    pub fn is_unknown_method(&self) -> bool {
        self.is_named(&NO_SUCH_METHOD)
    }

    /// What was said, in one line and without the hint.
    #[must_use]
    pub fn problem(&self) -> String {
        let text = self.to_string();
        let lines = text.lines().take_while(|line| !line.starts_with("hint:"));
        lines.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str) -> SystemdError {
        SystemdError::Refused { call: "StopUnit a.service".into(), name: name.into(), message: "no".into() }
    }

    #[test]
    fn only_what_means_nothing_counts_as_unknown() {
        assert!(refused("org.freedesktop.systemd1.NoSuchUnit").is_unknown_unit());
        assert!(refused("org.freedesktop.DBus.Error.UnknownMethod").is_unknown_method());
        for other in ["org.freedesktop.systemd1.BadUnitSetting", "org.freedesktop.DBus.Error.AccessDenied"] {
            assert!(!refused(other).is_unknown_unit() && !refused(other).is_unknown_method(), "{other}");
        }
        let broken = SystemdError::Broken { call: "Reload".into(), problem: "NoSuchUnit".into() };
        assert!(!broken.is_unknown_unit());
    }

    #[test]
    fn a_problem_is_told_without_its_hint() {
        assert_eq!(
            SystemdError::Foreign { unit: "ssh.service".into(), path: "/etc/s".into() }.problem(),
            "the machine has a unit ssh.service of its own: /etc/s"
        );
    }
}
