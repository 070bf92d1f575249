//! From a unit file's options to what they mean.

use crate::config::{ServiceConfig, TimerConfig, UnitConfig};
use crate::error::{BadValue, UnitError, Warning};
use crate::known::is_known;
use crate::name::{UnitName, UnitType};
use crate::specifier::Machine;
use crate::{service_section, timer_section, unit_section};
use std::sync::Arc;

/// A unit, read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Definition {
    /// Its name.
    pub name: UnitName,
    /// What `[Unit]` says.
    pub unit: UnitConfig,
    /// What the section of its kind says.
    pub kind: Kind,
}

/// What the section of a unit's kind says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// A service.
    Service(Arc<ServiceConfig>),
    /// A target: a name for a group of units.
    Target,
    /// A timer.
    Timer(Arc<TimerConfig>),
    /// A kind that is carried and shown, not run.
    Foreign(UnitType),
}

/// A unit, and what has no effect in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The unit.
    pub definition: Definition,
    /// What has no effect, in the order of the file.
    pub warnings: Vec<Warning>,
}

/// Where an option stands; for errors.
pub(crate) struct Place<'a> {
    pub(crate) name: &'a UnitName,
    pub(crate) section: &'a str,
    pub(crate) option: &'a str,
    pub(crate) value: &'a str,
    pub(crate) machine: &'a Machine,
}

impl Place<'_> {
    pub(crate) fn wrong(&self, reason: impl Into<String>, hint: impl Into<String>) -> UnitError {
        UnitError::Value(Box::new(BadValue {
            unit: self.name.to_string(),
            section: self.section.to_owned(),
            option: self.option.to_owned(),
            value: self.value.to_owned(),
            reason: reason.into(),
            hint: hint.into(),
            is_fine_for_systemd: false,
        }))
    }

    /// As [`Place::wrong`], of what systemd itself takes.
    pub(crate) fn not_here(&self, reason: impl Into<String>, hint: impl Into<String>) -> UnitError {
        match self.wrong(reason, hint) {
            UnitError::Value(value) => {
                UnitError::Value(Box::new(BadValue { is_fine_for_systemd: true, ..*value }))
            }
            other => other,
        }
    }

    /// The value with its specifiers replaced.
    pub(crate) fn expanded(&self, value: &str) -> Result<String, UnitError> {
        crate::specifier::expand(value, self.name, self.machine)
            .map_err(|reason| self.wrong(reason, "write `%%` for a percent sign"))
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(
        &self,
        parse: impl Fn(&str) -> Option<T>,
        all: &[T],
        text: impl Fn(T) -> &'static str,
    ) -> Result<T, UnitError> {
        parse(self.value).ok_or_else(|| {
            let words = all.iter().map(|word| text(*word)).collect::<Vec<_>>().join(", ");
            self.wrong("this is none of the words it takes", format!("write one of {words}"))
        })
    }

    /// A truth value.
    pub(crate) fn boolean(&self) -> Result<bool, UnitError> {
        match self.value.to_ascii_lowercase().as_str() {
            "1" | "yes" | "y" | "true" | "t" | "on" => Ok(true),
            "0" | "no" | "n" | "false" | "f" | "off" => Ok(false),
            _ => Err(self.wrong("this is neither true nor false", "write yes or no")),
        }
    }

    /// A time span; `None` is infinity.
    pub(crate) fn span(&self) -> Result<Option<std::time::Duration>, UnitError> {
        crate::span::parse_span(self.value)
            .map_err(|reason| self.wrong(reason, "write a time span like 90, 500ms or 5min 20s"))
    }

    /// A time span where 0 means that there is no limit.
    pub(crate) fn limit(&self) -> Result<Option<std::time::Duration>, UnitError> {
        Ok(self.span()?.filter(|span| !span.is_zero()))
    }

    /// A number.
    pub(crate) fn number<T: std::str::FromStr>(&self, range: &str) -> Result<T, UnitError> {
        self.value.parse().map_err(|_| self.wrong("this is no number in range", format!("write {range}")))
    }
}

/// Reads a unit from its options, which are triples of section, name and value in the order of the file.
///
/// # Errors
/// The first thing that is wrong. What merely has no effect is among the warnings.
pub fn load<'a>(
    name: &str,
    options: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>,
    machine: &Machine,
) -> Result<Loaded, UnitError> {
    let name = UnitName::parse(name)?;
    let mut warnings = Vec::new();
    let mut unit = UnitConfig::default();
    let mut service = service_section::Reader::default();
    let mut timer = timer_section::Reader::default();
    for (section, option, value) in options {
        let place = Place { name: &name, section, option, value: value.trim(), machine };
        // fleet's own section and [Install] are for others to read; so is any that begins with X-.
        if section.starts_with("X-") || option.starts_with("X-") || section == "Install" {
            continue;
        }
        let taken = match section {
            "Unit" => {
                unit_section::read(&mut unit, &place, &mut warnings)?
                    || service_section::read_start_limit(&mut service, &place)?
            }
            "Service" if name.kind() == UnitType::Service => service.read(&place, &mut warnings)?,
            "Timer" if name.kind() == UnitType::Timer => timer.read(&place)?,
            section if section == name.kind().section() => true,
            _ => {
                let warning = Warning::UnknownSection { section: section.to_owned() };
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
                true
            }
        };
        if !taken {
            let (section, option) = (section.to_owned(), option.to_owned());
            let known = is_known(&section, &option);
            let warning = if known {
                Warning::NotHonoured { section, option }
            } else {
                Warning::UnknownOption { section, option }
            };
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
    let kind = match name.kind() {
        UnitType::Service => Kind::Service(Arc::new(service.finish(&name)?)),
        UnitType::Target => Kind::Target,
        UnitType::Timer => Kind::Timer(Arc::new(timer.finish(&name)?)),
        other => Kind::Foreign(other),
    };
    if unit.description.is_empty() {
        unit.description = name.to_string();
    }
    Ok(Loaded { definition: Definition { name, unit, kind }, warnings })
}
