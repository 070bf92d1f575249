//! Signals by name and number, how a process ended, and sets of endings.

use std::collections::BTreeSet;
use std::fmt;

/// A signal of Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Signal(pub u8);

const NAMES: &[(&str, u8)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// The first and the last realtime signal, as the C library counts them.
const REALTIME: (u8, u8) = (34, 64);

impl Signal {
    /// Reload, or: the terminal is gone.
    pub const HUP: Self = Self(1);
    /// End, with a core dump.
    pub const ABRT: Self = Self(6);
    /// End at once; cannot be caught.
    pub const KILL: Self = Self(9);
    /// Please end.
    pub const TERM: Self = Self(15);
    /// Go on.
    pub const CONT: Self = Self(18);

    /// By name, with or without `SIG`, or by number.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(number) = text.parse::<u8>() {
            return (1..=REALTIME.1).contains(&number).then_some(Self(number));
        }
        let name = text.strip_prefix("SIG").unwrap_or(text);
        if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
            return Some(Self(*number));
        }
        let more = |text: &str| if text.is_empty() { Some(0) } else { text.get(1..)?.parse::<u8>().ok() };
        let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
            (Some(rest), _) if rest.is_empty() || rest.starts_with('+') => {
                REALTIME.0.checked_add(more(rest)?)
            }
            (_, Some(rest)) if rest.is_empty() || rest.starts_with('-') => {
                REALTIME.1.checked_sub(more(rest)?)
            }
            _ => None,
        }?;
        (REALTIME.0..=REALTIME.1).contains(&number).then_some(Self(number))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(f, "{name}"),
            None if self.0 >= REALTIME.0 => write!(f, "RTMIN+{}", self.0 - REALTIME.0),
            None => write!(f, "{}", self.0),
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Exit {
    /// By itself, with this status.
    Code(u8),
    /// By a signal.
    Signal {
        /// Which.
        signal: Signal,
        /// Whether it left a core dump.
        core: bool,
    },
    /// It is gone and nobody can say how: it was no child of the agent that watches it now.
    Unknown,
}

impl Exit {
    /// Ended by a signal, without a core dump.
    #[must_use]
    pub fn by(signal: Signal) -> Self {
        Self::Signal { signal, core: false }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "code=exited, status={code}"),
            Self::Signal { signal, core: false } => write!(f, "code=killed, signal={signal}"),
            Self::Signal { signal, core: true } => write!(f, "code=dumped, signal={signal}"),
            Self::Unknown => f.write_str("code=unknown"),
        }
    }
}

/// Endings that an option lists: exit statuses and signals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct StatusSet {
    codes: BTreeSet<u8>,
    signals: BTreeSet<Signal>,
}

const STATUSES: &[(&str, u8)] = &[
    ("SUCCESS", 0),
    ("FAILURE", 1),
    ("INVALIDARGUMENT", 2),
    ("NOTIMPLEMENTED", 3),
    ("NOPERMISSION", 4),
    ("NOTINSTALLED", 5),
    ("NOTCONFIGURED", 6),
    ("NOTRUNNING", 7),
    ("USAGE", 64),
    ("DATAERR", 65),
    ("NOINPUT", 66),
    ("NOUSER", 67),
    ("NOHOST", 68),
    ("UNAVAILABLE", 69),
    ("SOFTWARE", 70),
    ("OSERR", 71),
    ("OSFILE", 72),
    ("CANTCREAT", 73),
    ("IOERR", 74),
    ("TEMPFAIL", 75),
    ("PROTOCOL", 76),
    ("NOPERM", 77),
    ("CONFIG", 78),
    ("CHDIR", 200),
    ("NICE", 201),
    ("FDS", 202),
    ("EXEC", 203),
    ("MEMORY", 204),
    ("LIMITS", 205),
    ("OOM_ADJUST", 206),
    ("SIGNAL_MASK", 207),
    ("STDIN", 208),
    ("STDOUT", 209),
    ("CHROOT", 210),
    ("IOPRIO", 211),
    ("TIMERSLACK", 212),
    ("SECUREBITS", 213),
    ("SETSCHEDULER", 214),
    ("CPUAFFINITY", 215),
    ("GROUP", 216),
    ("USER", 217),
    ("CAPABILITIES", 218),
    ("CGROUP", 219),
    ("SETSID", 220),
    ("CONFIRM", 221),
    ("STDERR", 222),
    ("PAM", 224),
    ("NETWORK", 225),
    ("NAMESPACE", 226),
    ("NO_NEW_PRIVILEGES", 227),
    ("SECCOMP", 228),
    ("SELINUX_CONTEXT", 229),
    ("PERSONALITY", 230),
    ("APPARMOR", 231),
    ("ADDRESS_FAMILIES", 232),
    ("RUNTIME_DIRECTORY", 233),
    ("CHOWN", 235),
    ("SMACK_PROCESS_LABEL", 236),
    ("KEYRING", 237),
];

impl StatusSet {
    /// Adds what a value lists; an empty value empties the set.
    ///
    /// # Errors
    /// The word that is neither a status nor a signal.
    pub fn add(&mut self, value: &str) -> Result<(), String> {
        if value.trim().is_empty() {
            *self = Self::default();
        }
        for word in value.split_whitespace() {
            if let Ok(code) = word.parse::<u8>() {
                self.codes.insert(code);
            } else if let Some((_, code)) = STATUSES.iter().find(|(name, _)| *name == word) {
                self.codes.insert(*code);
            } else if let Some(signal) = word.parse::<u32>().is_err().then(|| Signal::parse(word)).flatten() {
                self.signals.insert(signal);
            } else {
                return Err(word.to_owned());
            }
        }
        Ok(())
    }

    /// Whether a process ended in one of these ways.
    #[must_use]
    pub fn contains(&self, exit: Exit) -> bool {
        match exit {
            Exit::Code(code) => self.codes.contains(&code),
            Exit::Signal { signal, .. } => self.signals.contains(&signal),
            Exit::Unknown => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [("SIGTERM", 15), ("KILL", 9), ("10", 10), ("RTMIN+3", 37), ("SIGRTMAX-1", 63)]
        {
            assert_eq!(Signal::parse(text), Some(Signal(number)), "{text}");
        }
        for text in ["", "SIGNONE", "0", "65", "RTMIN+99", "RTMIN-1", "TERM+1", "-1"] {
            assert_eq!(Signal::parse(text), None, "{text}");
        }
        for (name, number) in NAMES {
            assert_eq!(Signal(*number).to_string(), *name);
        }
        assert_eq!(Signal::parse(&Signal(40).to_string()), Some(Signal(40)));
    }

    #[test]
    fn a_set_of_endings_takes_numbers_and_names_and_is_emptied_by_nothing() {
        let mut set = StatusSet::default();
        set.add("TEMPFAIL 250 SIGKILL").unwrap();
        assert!(set.contains(Exit::Code(75)) && set.contains(Exit::Code(250)));
        assert!(set.contains(Exit::by(Signal::KILL)) && !set.contains(Exit::Code(9)));
        assert!(!set.contains(Exit::Unknown));
        assert_eq!(set.add("1 256"), Err("256".to_owned()));
        set.add("").unwrap();
        assert_eq!(set, StatusSet::default());
    }
}
