//! What can be wrong with a unit or with a wish about it.

/// Why a unit cannot be loaded, or a wish about it not be granted.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq, Hash)]
pub enum UnitError {
    /// The name is none.
    #[error("`{name}` is no unit name: {reason}\nhint: names look like web.service or web@1.service")]
    Name {
        /// What was given.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A value cannot be taken.
    #[error("{0}")]
    Value(Box<BadValue>),
    /// Each option is fine; together they make no unit.
    #[error("unit {unit}: {reason}\nhint: {hint}")]
    Incomplete {
        /// The unit.
        unit: String,
        /// What is missing or too much.
        reason: String,
        /// What to try.
        hint: String,
    },
    /// A kind of unit that is carried and shown here, but not run.
    #[error("unit {unit}: {kind} units need systemd\nhint: run it on a machine whose agent drives systemd")]
    NeedsSystemd {
        /// The unit.
        unit: String,
        /// The suffix of its name.
        kind: String,
    },
    /// Nobody knows a unit of that name.
    #[error("unit {unit} is not loaded\nhint: load its unit file first")]
    NotLoaded {
        /// The unit.
        unit: String,
    },
    /// The unit's file could not be read when it was loaded.
    #[error("unit {unit} was not loaded properly: {reason}\nhint: load a corrected unit file")]
    BadFile {
        /// The unit.
        unit: String,
        /// The error of the load.
        reason: String,
    },
    /// A unit that must be there is not.
    #[error("unit {unit} requires {missing}, which is not loaded\nhint: load {missing} first, or use Wants=")]
    Requires {
        /// The unit to be started.
        unit: String,
        /// What it requires.
        missing: String,
    },
    /// The wish does not fit.
    #[error("unit {unit} cannot {verb}: {reason}\nhint: {hint}")]
    Refused {
        /// The unit.
        unit: String,
        /// What was wished for.
        verb: &'static str,
        /// Why not.
        reason: String,
        /// What to try.
        hint: String,
    },
}

impl UnitError {
    /// Whether a machine that runs its units by systemd would take the unit all the same.
    #[must_use]
    pub fn is_fine_for_systemd(&self) -> bool {
        match self {
            Self::NeedsSystemd { .. } => true,
            Self::Value(value) => value.is_fine_for_systemd,
            _ => false,
        }
    }
}

/// A value that cannot be taken, and where it stands.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq, Hash)]
#[error("unit {unit}: [{section}] {option}={value}: {reason}\nhint: {hint}")]
pub struct BadValue {
    /// The unit.
    pub unit: String,
    /// The section, without brackets.
    pub section: String,
    /// The option.
    pub option: String,
    /// Its value as written.
    pub value: String,
    /// What is wrong with it.
    pub reason: String,
    /// What to try.
    pub hint: String,
    /// systemd takes the value; only what runs units in its place does not.
    pub is_fine_for_systemd: bool,
}

/// Something in a unit file that has no effect here; the unit is loaded all the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Warning {
    /// Nobody knows the option.
    UnknownOption {
        /// The section, without brackets.
        section: String,
        /// The option.
        option: String,
    },
    /// systemd knows the option, and it has no effect here.
    NotHonoured {
        /// The section, without brackets.
        section: String,
        /// The option.
        option: String,
    },
    /// Nobody knows the section.
    UnknownSection {
        /// The section, without brackets.
        section: String,
    },
    /// A backslash before a character that makes no escape; both were kept.
    UnknownEscape {
        /// The option.
        option: String,
        /// The two characters.
        escape: String,
    },
    /// The value could not be used and was left out, as systemd does.
    Skipped {
        /// The option.
        option: String,
        /// What was left out.
        value: String,
        /// Why.
        reason: String,
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnknownOption { section, option } => {
                write!(f, "Unknown key name '{option}' in section '{section}', ignoring.")
            }
            Self::NotHonoured { section, option } => {
                write!(
                    f,
                    "[{section}] {option}= is known to systemd but has no effect where units run without it."
                )
            }
            Self::UnknownSection { section } => write!(f, "Unknown section '{section}'. Ignoring."),
            Self::UnknownEscape { option, escape } => {
                write!(f, "{option}=: unknown escape sequence '{escape}' was kept as it is.")
            }
            Self::Skipped { option, value, reason } => {
                write!(f, "{option}=: '{value}' was left out: {reason}.")
            }
        }
    }
}
