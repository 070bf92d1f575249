//! The section `[X-Fleet]`: on which machines a unit may run.

use super::file::UnitFile;
use super::glob::Glob;
use super::name::{MachineId, UnitName};
use std::collections::{BTreeMap, BTreeSet};

/// The name of the section.
pub const SECTION: &str = "X-Fleet";

const KNOWN: [&str; 14] = [
    "MachineID",
    "X-ConditionMachineID",
    "X-ConditionMachineBootID",
    "X-ConditionMachineOf",
    "MachineOf",
    "X-Conflicts",
    "Conflicts",
    "X-ConditionMachineMetadata",
    "MachineMetadata",
    "Global",
    "Replaces",
    "OnPartition",
    "MemoryMB",
    "CPUShares",
];

/// What becomes of a running unit whose machine has lost its lease: it is cut off, or stood still for too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OnPartition {
    /// It runs on, as with fleet. Elsewhere a second copy may run meanwhile.
    #[default]
    Keep,
    /// It is stopped before the lease ends: for what must never run twice.
    Stop,
}

/// Why the section cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum OptionError {
    /// A value that means nothing.
    #[error("[X-Fleet] {option}={value}: {problem}\nhint: {hint}")]
    BadValue {
        /// Which option.
        option: String,
        /// Its value, with specifiers filled in.
        value: String,
        /// What is wrong with it.
        problem: String,
        /// What to write.
        hint: &'static str,
    },
    /// Two options that exclude each other; the text is fleet's.
    #[error("{0}")]
    Exclusive(&'static str),
    /// A unit that must run beside what it must not run beside; the text is fleet's.
    #[error("unresolvable requirements: peer {peer:?} matches {option} {pattern:?}")]
    Unresolvable {
        /// The unit in `MachineOf`.
        peer: String,
        /// `conflict` or `replace`.
        option: &'static str,
        /// Which pattern.
        pattern: String,
    },
}

/// What a unit asks of its machine, with specifiers filled in. See `docs/fleet.md` for the options.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirements {
    /// This machine and no other: its long or its short id.
    pub machine_id: Option<String>,
    /// On the machine of all of these units.
    pub peers: BTreeSet<UnitName>,
    /// For each key one of its values.
    pub metadata: BTreeMap<String, BTreeSet<String>>,
    /// Not beside units of such names, and they not beside this one.
    pub conflicts: BTreeSet<Glob>,
    /// Units of such names go elsewhere where this one comes.
    pub replaces: BTreeSet<Glob>,
    /// On every machine that fulfils `metadata` and has no unit in `conflicts`.
    pub is_global: bool,
    /// What becomes of it on a machine that is cut off.
    pub on_partition: OnPartition,
    /// Megabytes of the memory its machine announces that are set aside for it; 0 is none.
    pub memory_mb: u64,
    /// Shares of the processors its machine announces, set aside likewise.
    pub cpu_shares: u64,
}

/// A value's words, where an option takes several in one line.
fn words(values: &[String]) -> impl Iterator<Item = &str> {
    values.iter().flat_map(|value| value.split_whitespace())
}

/// Several quoted values on one line: `"a=b" "c=d"`. Anything else is one value.
fn quoted(line: &str) -> Vec<String> {
    if line.len() < 2 || !line.starts_with('"') || !line.ends_with('"') {
        return vec![line.to_owned()];
    }
    let mut values = vec![String::new()];
    let mut is_within = false;
    for c in line.chars() {
        match c {
            '"' => is_within = !is_within,
            ' ' if !is_within => values.push(String::new()),
            c => values.last_mut().expect("there is always one").push(c),
        }
    }
    // Two blanks between two values are no value.
    values.retain(|value| !value.is_empty());
    values
}

fn bad(option: &str, value: &str, problem: impl Into<String>, hint: &'static str) -> OptionError {
    OptionError::BadValue {
        option: option.to_owned(),
        value: value.to_owned(),
        problem: problem.into(),
        hint,
    }
}

/// Values of the options, by name.
struct Section(BTreeMap<String, Vec<String>>);

impl Section {
    fn of(name: &UnitName, file: &UnitFile) -> Self {
        let mut options: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for option in file.options().iter().filter(|option| option.section == SECTION) {
            let values = quoted(&option.value).into_iter().map(|value| name.fill_in(&value));
            options.entry(option.name.clone()).or_default().extend(values);
        }
        Self(options)
    }

    fn values(&self, option: &str) -> &[String] {
        self.0.get(option).map_or(&[], Vec::as_slice)
    }

    fn globs(&self, options: &[&str]) -> Result<BTreeSet<Glob>, OptionError> {
        let mut globs = BTreeSet::new();
        for option in options {
            for word in words(self.values(option)) {
                let hint = "a pattern such as web@*.service; `*`, `?`, `[a-c]` and `\\` as in a shell";
                globs.insert(Glob::parse(word).map_err(|error| bad(option, word, error.to_string(), hint))?);
            }
        }
        Ok(globs)
    }

    fn machine_id(&self) -> Result<Option<String>, OptionError> {
        let options = ["MachineID", "X-ConditionMachineID", "X-ConditionMachineBootID"];
        let first = options.iter().find_map(|option| Some((option, self.values(option).first()?)));
        let Some((option, value)) = first else { return Ok(None) };
        let hint = "the id of a machine, or its first eight letters, as `list-machines` shows them";
        MachineId::parse(value).map_err(|_| bad(option, value, "no machine has such an id", hint))?;
        Ok(Some(value.clone()))
    }

    fn peers(&self) -> Result<BTreeSet<UnitName>, OptionError> {
        let mut peers = BTreeSet::new();
        for option in ["X-ConditionMachineOf", "MachineOf"] {
            for value in self.values(option) {
                let hint =
                    "the whole name of one unit, such as db.service; more of them on lines of their own";
                let name =
                    UnitName::parse(value).map_err(|error| bad(option, value, error.to_string(), hint))?;
                peers.insert(name);
            }
        }
        Ok(peers)
    }

    fn metadata(&self) -> Result<BTreeMap<String, BTreeSet<String>>, OptionError> {
        let mut metadata: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for option in ["X-ConditionMachineMetadata", "MachineMetadata"] {
            for value in self.values(option) {
                let hint = "key=value; more of them in quotes on one line, or on lines of their own";
                let parts: Vec<&str> = value.split('=').collect();
                let &[key, wanted] = parts.as_slice() else {
                    return Err(bad(option, value, "not one `=` in it", hint));
                };
                if key.is_empty() || wanted.is_empty() {
                    return Err(bad(option, value, "the key or the value is empty", hint));
                }
                metadata.entry(key.to_owned()).or_default().insert(wanted.to_owned());
            }
        }
        Ok(metadata)
    }

    fn is_global(&self) -> Result<bool, OptionError> {
        let Some(value) = self.values("Global").last() else { return Ok(false) };
        match value.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" | "on" | "t" => Ok(true),
            "false" | "no" | "0" | "off" | "f" | "" => Ok(false),
            _ => Err(bad("Global", value, "neither yes nor no", "true or false")),
        }
    }

    fn on_partition(&self) -> Result<OnPartition, OptionError> {
        match self.values("OnPartition").last().map(String::as_str) {
            None | Some("keep") => Ok(OnPartition::Keep),
            Some("stop") => Ok(OnPartition::Stop),
            Some(value) => Err(bad("OnPartition", value, "neither keep nor stop", "keep or stop")),
        }
    }

    fn number(&self, option: &str, hint: &'static str) -> Result<u64, OptionError> {
        let Some(value) = self.values(option).last() else { return Ok(0) };
        value.parse().map_err(|_| bad(option, value, "not a whole number", hint))
    }
}

impl Requirements {
    /// Reads the section for the unit of this name.
    ///
    /// # Errors
    /// The first value that means nothing, or the first two options that exclude each other.
    pub fn of(name: &UnitName, file: &UnitFile) -> Result<Self, OptionError> {
        let section = Section::of(name, file);
        let requirements = Self {
            machine_id: section.machine_id()?,
            peers: section.peers()?,
            metadata: section.metadata()?,
            conflicts: section.globs(&["X-Conflicts", "Conflicts"])?,
            replaces: section.globs(&["Replaces"])?,
            is_global: section.is_global()?,
            on_partition: section.on_partition()?,
            memory_mb: section.number("MemoryMB", "megabytes without a unit, such as 512")?,
            cpu_shares: section.number("CPUShares", "a whole number, such as 1024 for one processor")?,
        };
        requirements.check()?;
        Ok(requirements)
    }

    /// Options that nobody knows, in words of fleet. They do no harm.
    #[must_use]
    pub fn warnings(file: &UnitFile) -> Vec<String> {
        let names: BTreeSet<&str> = file
            .options()
            .iter()
            .filter(|option| option.section == SECTION && !KNOWN.contains(&option.name.as_str()))
            .map(|option| option.name.as_str())
            .collect();
        names.iter().map(|name| format!("unrecognized requirement in [X-Fleet] section: {name:?}")).collect()
    }

    fn check(&self) -> Result<(), OptionError> {
        for peer in &self.peers {
            for (option, patterns) in [("conflict", &self.conflicts), ("replace", &self.replaces)] {
                if let Some(pattern) = patterns.iter().find(|pattern| pattern.matches(peer.as_str())) {
                    let (peer, pattern) = (peer.to_string(), pattern.to_string());
                    return Err(OptionError::Unresolvable { peer, option, pattern });
                }
            }
        }
        let (machine, peers) = (self.machine_id.is_some(), !self.peers.is_empty());
        let (conflicts, replaces) = (!self.conflicts.is_empty(), !self.replaces.is_empty());
        let exclusive = [
            (machine && peers, "MachineID cannot be used with Peers"),
            (machine && conflicts, "MachineID cannot be used with Conflicts"),
            (machine && self.is_global, "MachineID cannot be used with Global"),
            (machine && replaces, "MachineID cannot be used with Replaces"),
            (self.is_global && peers, "Global cannot be used with Peers"),
            (self.is_global && replaces, "Global cannot be used with Replaces"),
            (conflicts && replaces, "Conflicts cannot be used with Replaces"),
        ];
        match exclusive.iter().find(|(is_wrong, _)| *is_wrong) {
            Some((_, text)) => Err(OptionError::Exclusive(text)),
            None => Ok(()),
        }
    }

    /// Whether such metadata fulfils all that is asked.
    #[must_use]
    pub fn is_met_by<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.metadata.iter().all(|(key, values)| get(key).is_some_and(|value| values.contains(value)))
    }

    /// What is asked of metadata, in words: `disk=ssd, region=eu or us`.
    #[must_use]
    pub fn metadata_text(&self) -> String {
        let each = self.metadata.iter().map(|(key, values)| {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            format!("{key}={}", values.join(" or "))
        });
        each.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, section: &str) -> Result<Requirements, OptionError> {
        let file = UnitFile::parse(&format!("[X-Fleet]\n{section}\n")).unwrap();
        Requirements::of(&UnitName::parse(name).unwrap(), &file)
    }

    fn names<T: ToString>(set: &BTreeSet<T>) -> Vec<String> {
        set.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn old_and_new_names_mean_the_same() {
        let old = "X-ConditionMachineOf=a.service\nX-Conflicts=b*\nX-ConditionMachineMetadata=k=v";
        let new = "MachineOf=a.service\nConflicts=b*\nMachineMetadata=k=v";
        assert_eq!(of("u.service", old).unwrap(), of("u.service", new).unwrap());
        let id = |section| of("u.service", section).unwrap().machine_id.unwrap();
        assert_eq!(id("X-ConditionMachineBootID=c\nX-ConditionMachineID=b\nMachineID=a\nMachineID=d"), "a");
        assert_eq!(id("X-ConditionMachineBootID=c\nX-ConditionMachineID=b"), "b");
        assert_eq!(id("X-ConditionMachineBootID=c"), "c");
    }

    #[test]
    fn metadata_of_one_key_is_or_and_of_two_is_and_however_it_is_grouped() {
        let one = of(
            "u.service",
            "MachineMetadata=\"region=us-east-1\" \"job=foo\"\nMachineMetadata=\"region=us-west-1\"  \"job=bar\"",
        );
        let one = one.unwrap();
        assert_eq!(one.metadata_text(), "job=bar or foo, region=us-east-1 or us-west-1");
        let met = |region, job| one.is_met_by(|key| if key == "region" { region } else { job });
        assert!(met(Some("us-west-1"), Some("foo")));
        assert!(!met(Some("eu"), Some("foo")) && !met(Some("us-west-1"), None));
    }

    #[test]
    fn several_conflicts_stand_on_one_line_or_on_many() {
        let conflicts = of("u.service", "Conflicts=a* b.service\nConflicts=c?.service").unwrap().conflicts;
        assert_eq!(names(&conflicts), ["a*", "b.service", "c?.service"]);
    }

    #[test]
    fn specifiers_are_filled_in() {
        let found = of("web@1.service", "MachineOf=%p-db@%i.service\nMachineMetadata=for=%N").unwrap();
        assert_eq!(names(&found.peers), ["web-db@1.service"]);
        assert_eq!(found.metadata_text(), "for=web@1");
    }

    #[test]
    fn the_last_word_on_global_counts() {
        for (section, expected) in [
            ("Global=true", true),
            ("Global=T", true),
            ("Global=on\nGlobal=no", false),
            ("Global=0\nGlobal=Yes", true),
            ("", false),
        ] {
            assert_eq!(of("u.service", section).unwrap().is_global, expected, "{section}");
        }
    }

    #[test]
    fn options_that_exclude_each_other_are_refused_in_words_of_fleet() {
        for (section, said) in [
            ("MachineID=a\nMachineOf=b.service", "MachineID cannot be used with Peers"),
            ("MachineID=a\nConflicts=b", "MachineID cannot be used with Conflicts"),
            ("MachineID=a\nGlobal=1", "MachineID cannot be used with Global"),
            ("MachineID=a\nReplaces=b", "MachineID cannot be used with Replaces"),
            ("Global=1\nMachineOf=b.service", "Global cannot be used with Peers"),
            ("Global=1\nReplaces=b", "Global cannot be used with Replaces"),
            ("Conflicts=a\nReplaces=b", "Conflicts cannot be used with Replaces"),
            (
                "MachineOf=b.service\nConflicts=b.*",
                "unresolvable requirements: peer \"b.service\" matches conflict \"b.*\"",
            ),
            (
                "MachineOf=b.service\nReplaces=b.*",
                "unresolvable requirements: peer \"b.service\" matches replace \"b.*\"",
            ),
        ] {
            assert_eq!(of("u.service", section).unwrap_err().to_string(), said);
        }
        assert!(of("u.service", "Global=true\nConflicts=a\nMachineMetadata=k=v").is_ok());
        assert!(of("u.service", "MachineID=a\nMachineMetadata=k=v\nGlobal=no").is_ok());
    }

    #[test]
    fn a_wrong_value_is_named_with_its_option_and_a_hint() {
        for (section, said) in [
            ("MachineOf=db", "[X-Fleet] MachineOf=db: unit name must contain \".\"\nhint: "),
            ("MachineMetadata=a=b=c", "[X-Fleet] MachineMetadata=a=b=c: not one `=` in it\nhint: "),
            ("MachineMetadata=a=", "[X-Fleet] MachineMetadata=a=: the key or the value is empty\nhint: "),
            ("MachineID=", "[X-Fleet] MachineID=: no machine has such an id\nhint: "),
            ("Conflicts=ok [a", "[X-Fleet] Conflicts=[a: the class that begins"),
            ("Global=maybe", "[X-Fleet] Global=maybe: neither yes nor no\nhint: "),
            ("OnPartition=kill", "[X-Fleet] OnPartition=kill: neither keep nor stop\nhint: "),
            ("MemoryMB=1g", "[X-Fleet] MemoryMB=1g: not a whole number\nhint: "),
            ("CPUShares=-1", "[X-Fleet] CPUShares=-1: not a whole number\nhint: "),
        ] {
            let error = of("u.service", section).unwrap_err().to_string();
            assert!(error.starts_with(said) && error.contains("\nhint: "), "{error}");
        }
    }

    #[test]
    fn unknown_options_are_warnings() {
        let file = UnitFile::parse("[X-Fleet]\nBogus=1\nGlobal=true\nBogus=2\n[Unit]\nOther=1\n").unwrap();
        assert_eq!(
            Requirements::warnings(&file),
            ["unrecognized requirement in [X-Fleet] section: \"Bogus\""]
        );
        assert!(Requirements::of(&UnitName::parse("u.service").unwrap(), &file).unwrap().is_global);
    }

    #[test]
    fn what_is_ours_is_read_too() {
        let found = of("u.service", "OnPartition=stop\nMemoryMB=256\nCPUShares=512").unwrap();
        assert_eq!((found.on_partition, found.memory_mb, found.cpu_shares), (OnPartition::Stop, 256, 512));
        assert_eq!(of("u.service", "").unwrap().on_partition, OnPartition::Keep);
    }
}
