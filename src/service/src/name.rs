//! Names of units: `prefix.type` and `prefix@instance.type` (systemd.unit(5)).

use crate::error::UnitError;
use std::fmt;

/// The longest name (systemd's limit).
const NAME_BYTES_MAX: usize = 255;

/// What the suffix of a unit's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum UnitType {
    /// Processes.
    Service,
    /// A name for a group of units.
    Target,
    /// Starts another unit when time has passed.
    Timer,
    /// Carried and shown, not run.
    Socket,
    /// Carried and shown, not run.
    Mount,
    /// Carried and shown, not run.
    Automount,
    /// Carried and shown, not run.
    Device,
    /// Carried and shown, not run.
    Path,
    /// Carried and shown, not run.
    Swap,
    /// Carried and shown, not run.
    Slice,
    /// Carried and shown, not run.
    Scope,
}

impl UnitType {
    const ALL: [(&'static str, Self); 11] = [
        ("service", Self::Service),
        ("target", Self::Target),
        ("timer", Self::Timer),
        ("socket", Self::Socket),
        ("mount", Self::Mount),
        ("automount", Self::Automount),
        ("device", Self::Device),
        ("path", Self::Path),
        ("swap", Self::Swap),
        ("slice", Self::Slice),
        ("scope", Self::Scope),
    ];

    /// The suffix, without the dot.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).expect("every kind is listed").0
    }

    /// The section of a unit file that belongs to this kind.
    #[must_use]
    pub fn section(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Target => "Target",
            Self::Timer => "Timer",
            Self::Socket => "Socket",
            Self::Mount => "Mount",
            Self::Automount => "Automount",
            Self::Device => "Device",
            Self::Path => "Path",
            Self::Swap => "Swap",
            Self::Slice => "Slice",
            Self::Scope => "Scope",
        }
    }
}

/// A unit's name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct UnitName {
    full: String,
    /// Where the prefix ends.
    prefix_bytes: usize,
    /// Where the instance begins and ends; none for a plain unit.
    instance: Option<(usize, usize)>,
    kind: UnitType,
}

impl UnitName {
    /// Takes a name apart.
    ///
    /// # Errors
    /// [`UnitError::Name`].
    pub fn parse(name: &str) -> Result<Self, UnitError> {
        let wrong = |reason: &str| UnitError::Name { name: name.to_owned(), reason: reason.to_owned() };
        if name.len() > NAME_BYTES_MAX {
            return Err(wrong("it is longer than 255 bytes"));
        }
        let (stem, suffix) = name.rsplit_once('.').ok_or_else(|| wrong("it has no suffix like .service"))?;
        let kind = UnitType::ALL.iter().find(|(known, _)| *known == suffix);
        let (_, kind) = *kind.ok_or_else(|| wrong("its suffix names no kind of unit"))?;
        if stem.is_empty() || stem.starts_with('@') {
            return Err(wrong("it is empty before its suffix"));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        if let Some(bad) = stem.chars().find(|c| !fits(*c)) {
            return Err(wrong(&format!("the character {bad:?} is not allowed")));
        }
        let (prefix_bytes, instance) = match stem.find('@') {
            Some(at) => (at, Some((at + 1, stem.len()))),
            None => (stem.len(), None),
        };
        Ok(Self { full: name.to_owned(), prefix_bytes, instance, kind })
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.full
    }

    /// The name without its suffix.
    #[must_use]
    pub fn stem(&self) -> &str {
        let end = self.instance.map_or(self.prefix_bytes, |(_, end)| end);
        &self.full[..end]
    }

    /// What stands before `@`, or the stem of a plain unit.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.full[..self.prefix_bytes]
    }

    /// What stands behind `@`; empty for a plain unit and for a template.
    #[must_use]
    pub fn instance(&self) -> &str {
        self.instance.map_or("", |(start, end)| &self.full[start..end])
    }

    /// Whether it is a template, `prefix@.type`, which cannot be started itself.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.instance.is_some_and(|(start, end)| start == end)
    }

    /// What its suffix says.
    #[must_use]
    pub fn kind(&self) -> UnitType {
        self.kind
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full)
    }
}

/// Undoes systemd's escaping: `-` stands for `/`, `\xNN` for a byte. What is no valid escape stays as it is.
#[must_use]
pub fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'-' => out.push(b'/'),
            b'\\' if bytes.get(at + 1) == Some(&b'x') => {
                let digits = bytes.get(at + 2..at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
                match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                    Some(byte) => {
                        out.push(byte);
                        at += 3;
                    }
                    None => out.push(b'\\'),
                }
            }
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_apart() {
        let plain = UnitName::parse("my-web.service").unwrap();
        assert_eq!((plain.stem(), plain.prefix(), plain.instance()), ("my-web", "my-web", ""));
        let instance = UnitName::parse("web@a.b@1.service").unwrap();
        assert_eq!((instance.stem(), instance.prefix(), instance.instance()), ("web@a.b@1", "web", "a.b@1"));
        assert!(!instance.is_template() && UnitName::parse("web@.timer").unwrap().is_template());
    }

    #[test]
    fn what_is_no_name_is_refused_with_a_reason() {
        for (name, reason) in [
            ("web", "no suffix"),
            ("web.exe", "no kind of unit"),
            (".service", "empty"),
            ("@1.service", "empty"),
            ("a b.service", "' '"),
            ("a/b.service", "'/'"),
        ] {
            let error = UnitName::parse(name).unwrap_err().to_string();
            assert!(error.contains(reason), "{name}: {error}");
        }
        assert!(UnitName::parse(&format!("{}.service", "a".repeat(248))).is_err());
        assert!(UnitName::parse(&format!("{}.service", "a".repeat(247))).is_ok());
    }

    #[test]
    fn escapes_are_undone_and_broken_ones_left_alone() {
        assert_eq!(unescape("var-lib-my\\x2dapp"), "var/lib/my-app");
        assert_eq!(unescape("a\\xzz"), "a\\xzz");
        assert_eq!(unescape("a\\x2"), "a\\x2");
    }
}
