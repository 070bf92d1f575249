//! Names of units and machines.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The longest name of a unit, in bytes (systemd's limit).
pub const UNIT_NAME_BYTES_MAX: usize = 256;

/// The longest id of a machine, in bytes.
const MACHINE_ID_BYTES_MAX: usize = 128;

/// How much of a machine's id its short form shows.
const SHORT_ID_BYTES: usize = 8;

const UNIT_TYPES: [&str; 13] = [
    "automount",
    "busname",
    "device",
    "mount",
    "path",
    "scope",
    "service",
    "slice",
    "snapshot",
    "socket",
    "swap",
    "target",
    "timer",
];

const TEMPLATE_TYPES: [&str; 5] = ["path", "service", "socket", "target", "timer"];

/// Why a name is none. The texts are fleet's, since its clients show them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("unit name cannot be empty")]
    Empty,
    /// Longer than [`UNIT_NAME_BYTES_MAX`].
    #[error("unit name exceeds maximum length ({UNIT_NAME_BYTES_MAX})")]
    TooLong,
    /// No type.
    #[error("unit name must contain \".\"")]
    NoDot,
    /// An empty type.
    #[error("unit name cannot end in \".\"")]
    EndsInDot,
    /// A type that systemd does not know.
    #[error("invalid unit type: {0:?}")]
    UnknownType(String),
    /// A type of which there are no templates.
    #[error("invalid unit type for template: {0:?}")]
    NoTemplateType(String),
    /// A character that has no place in a name.
    #[error("invalid character {0:?} in unit name")]
    BadCharacter(char),
    /// A template without a name.
    #[error("unit name cannot start in \"@\"")]
    StartsInAt,
    /// Nothing a machine can be called.
    #[error(
        "{0:?} is no machine id\nhint: an id has 1 to 128 printable characters and no slash, as in /etc/machine-id"
    )]
    BadMachine(String),
}

/// The name of a unit, with its type: `web.service`, `web@1.service`, or the template `web@.service`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName(Arc<str>);

impl UnitName {
    /// Checks a name.
    ///
    /// # Errors
    /// Where it is none, with fleet's text.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > UNIT_NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        let (stem, kind) = name.rsplit_once('.').ok_or(NameError::NoDot)?;
        if kind.is_empty() {
            return Err(NameError::EndsInDot);
        }
        if !UNIT_TYPES.contains(&kind) {
            return Err(NameError::UnknownType(kind.to_owned()));
        }
        if stem.contains('@') && !TEMPLATE_TYPES.contains(&kind) {
            return Err(NameError::NoTemplateType(kind.to_owned()));
        }
        let is_fine = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        if let Some(bad) = stem.chars().find(|c| !is_fine(*c)) {
            return Err(NameError::BadCharacter(bad));
        }
        if stem.starts_with('@') {
            return Err(NameError::StartsInAt);
        }
        Ok(Self(name.into()))
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the type: `web@1`.
    #[must_use]
    pub fn stem(&self) -> &str {
        self.0.rsplit_once('.').map_or(&*self.0, |(stem, _)| stem)
    }

    /// The type: `service`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0.rsplit_once('.').map_or("", |(_, kind)| kind)
    }

    /// What stands before the `@`, or the whole stem: `web`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.stem().split_once('@').map_or(self.stem(), |(prefix, _)| prefix)
    }

    /// What stands behind the first `@`: `1`; empty for a template and for a plain unit.
    #[must_use]
    pub fn instance(&self) -> &str {
        self.stem().split_once('@').map_or("", |(_, instance)| instance)
    }

    /// Whether it names a template, from which units are made and which never runs itself.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.stem().split_once('@').is_some_and(|(_, instance)| instance.is_empty())
    }

    /// The template an instance is made from: `web@.service`.
    #[must_use]
    pub fn template(&self) -> Option<Self> {
        let (prefix, instance) = self.stem().split_once('@')?;
        (!instance.is_empty()).then(|| Self(format!("{prefix}@.{}", self.kind()).into()))
    }

    /// Fills in the specifiers that fleet knows: `%n`, `%N`, `%p` and `%i`. Others stay as they are.
    #[must_use]
    pub fn fill_in(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            let value = match from.as_bytes().get(1) {
                Some(b'n') => self.as_str(),
                Some(b'N') => self.stem(),
                Some(b'p') => self.prefix(),
                Some(b'i') => self.instance(),
                _ => {
                    out.push('%');
                    rest = &from[1..];
                    continue;
                }
            };
            out.push_str(value);
            rest = &from[2..];
        }
        out.push_str(rest);
        out
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for UnitName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::parse(&name)
    }
}

impl From<UnitName> for String {
    fn from(name: UnitName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl std::borrow::Borrow<str> for UnitName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The id of a machine, as in `/etc/machine-id`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MachineId(Arc<str>);

impl MachineId {
    /// Checks an id.
    ///
    /// # Errors
    /// Where it is empty, too long, or has a slash, a blank or a control character.
    pub fn parse(id: &str) -> Result<Self, NameError> {
        let is_fine = |c: char| !c.is_control() && !c.is_whitespace() && c != '/';
        if id.is_empty() || id.len() > MACHINE_ID_BYTES_MAX || !id.chars().all(is_fine) {
            return Err(NameError::BadMachine(id.to_owned()));
        }
        Ok(Self(id.into()))
    }

    /// The whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight bytes, as people are shown it; all of it where a character would be cut.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..SHORT_ID_BYTES).unwrap_or(&self.0)
    }

    /// Whether `id` is this id in its long or its short form.
    #[must_use]
    pub fn is_called(&self, id: &str) -> bool {
        self.as_str() == id || self.short() == id
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for MachineId {
    type Error = NameError;

    fn try_from(id: String) -> Result<Self, NameError> {
        Self::parse(&id)
    }
}

impl From<MachineId> for String {
    fn from(id: MachineId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl std::borrow::Borrow<str> for MachineId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> UnitName {
        UnitName::parse(text).unwrap()
    }

    #[test]
    fn a_name_is_refused_with_the_words_of_fleet() {
        let long = format!("{}.service", "a".repeat(249));
        for (text, said) in [
            ("", "unit name cannot be empty"),
            (long.as_str(), "unit name exceeds maximum length (256)"),
            ("web", "unit name must contain \".\""),
            ("web.", "unit name cannot end in \".\""),
            ("web.exe", "invalid unit type: \"exe\""),
            ("web@1.mount", "invalid unit type for template: \"mount\""),
            ("we b.service", "invalid character ' ' in unit name"),
            ("a/b.service", "invalid character '/' in unit name"),
            ("@1.service", "unit name cannot start in \"@\""),
        ] {
            assert_eq!(UnitName::parse(text).unwrap_err().to_string(), said, "{text}");
        }
        let longest = format!("{}.service", "a".repeat(248));
        for fine in ["web.service", "a:b_c-d.e\\x20@f@g.timer", "w.mount", longest.as_str()] {
            assert!(UnitName::parse(fine).is_ok(), "{fine}");
        }
    }

    #[test]
    fn a_name_has_a_prefix_an_instance_and_a_template() {
        let instance = name("web@eu@1.service");
        assert_eq!((instance.prefix(), instance.instance()), ("web", "eu@1"));
        assert_eq!(instance.template(), Some(name("web@.service")));
        assert!(!instance.is_template());
        let template = name("web@.service");
        assert!(template.is_template() && template.template().is_none());
        let plain = name("web.eu.service");
        assert_eq!((plain.prefix(), plain.instance(), plain.kind()), ("web.eu", "", "service"));
        assert!(!plain.is_template() && plain.template().is_none());
    }

    #[test]
    fn the_four_specifiers_are_filled_in_and_others_stay() {
        let unit = name("web@1.service");
        assert_eq!(unit.fill_in("%n %N %p %i %m %% %"), "web@1.service web@1 web 1 %m %% %");
        assert_eq!(unit.fill_in("ä%pß"), "äwebß");
        assert_eq!(name("web.service").fill_in("db@%i.service"), "db@.service");
    }

    #[test]
    fn a_machine_is_called_by_its_whole_id_or_its_first_eight_letters() {
        let id = MachineId::parse("113f16a7aaaa").unwrap();
        assert!(id.is_called("113f16a7") && id.is_called("113f16a7aaaa"));
        assert!(!id.is_called("113f16a") && !id.is_called("113f16a7a"));
        for bad in ["", "a/b", "a b", "a\n"] {
            assert!(MachineId::parse(bad).is_err(), "{bad:?}");
        }
    }
}
