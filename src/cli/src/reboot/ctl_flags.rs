//! Flags as Go's package `flag` reads them, since locksmith's scripts are written for it: one dash or two, a value behind
//! `=` or as the next word, and the first word that is no flag ends them.

use std::collections::BTreeMap;

/// A flag: its name, whether it is a switch, and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) is_switch: bool,
    pub(super) about: &'static str,
}

pub(super) const fn text(name: &'static str, about: &'static str) -> Flag {
    Flag { name, is_switch: false, about }
}

pub(super) const fn switch(name: &'static str, about: &'static str) -> Flag {
    Flag { name, is_switch: true, about }
}

/// What was given, and the words behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    values: BTreeMap<&'static str, Vec<String>>,
    pub(super) rest: Vec<String>,
}

/// What cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// In Go's words.
    Flag(String),
    /// Somebody asks for help.
    Help,
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

pub(super) fn parse(flags: &[Flag], words: &[String]) -> Result<Given, Wrong> {
    let mut given = Given::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) else {
            given.rest.push(word.clone());
            break;
        };
        if name == "-" {
            break;
        }
        let name = name.strip_prefix('-').unwrap_or(name);
        if name.is_empty() || name.starts_with(['-', '=']) {
            return Err(Wrong::Flag(format!("bad flag syntax: {word}")));
        }
        let (name, value) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
        let Some(flag) = flags.iter().find(|flag| flag.name == name) else {
            if name == "h" || name == "help" {
                return Err(Wrong::Help);
            }
            return Err(Wrong::Flag(format!("flag provided but not defined: -{name}")));
        };
        let value = match (flag.is_switch, value) {
            (true, None) => "true".to_owned(),
            (true, Some(value)) if truth(value).is_none() => {
                let parse = "strconv.ParseBool: parsing";
                return Err(Wrong::Flag(format!(
                    "invalid boolean value {value:?} for -{name}: {parse} {value:?}: invalid syntax"
                )));
            }
            (_, Some(value)) => value.to_owned(),
            (false, None) => match words.next() {
                Some(value) => value.clone(),
                None => return Err(Wrong::Flag(format!("flag needs an argument: -{name}"))),
            },
        };
        given.values.entry(flag.name).or_default().push(value);
    }
    given.rest.extend(words.cloned());
    Ok(given)
}

impl Given {
    /// Fills in from the environment what was not given: `PREFIX_SOME_FLAG` for `some-flag`.
    pub(super) fn environment(
        &mut self,
        prefix: &str,
        flags: &[Flag],
        environment: &dyn Fn(&str) -> Option<String>,
    ) {
        for flag in flags {
            if self.values.contains_key(flag.name) {
                continue;
            }
            let variable = format!("{prefix}_{}", flag.name.replace('-', "_").to_uppercase());
            if let Some(value) = environment(&variable).filter(|value| !value.is_empty()) {
                self.values.insert(flag.name, vec![value]);
            }
        }
    }

    /// All values of a flag.
    pub(super) fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// The last one.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.all(name).last().map(String::as_str)
    }

    /// Said to be off, which is not the same as not having been given.
    pub(super) fn is_off(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| truth(value) == Some(false))
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| truth(value) == Some(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[text("endpoint", ""), text("etcd-cafile", ""), switch("debug", "")];

    fn read(line: &str) -> Result<Given, Wrong> {
        parse(FLAGS, &line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn flags_are_read_as_go_reads_them() {
        let given = read("-endpoint a --endpoint=b -debug lock -endpoint x").unwrap();
        assert_eq!(given.all("endpoint"), ["a", "b"]);
        assert!(given.is_on("debug"));
        assert_eq!(given.rest, ["lock", "-endpoint", "x"], "the first word ends them");
        assert_eq!(read("-- -debug").unwrap().rest, ["-debug"]);
        let off = read("-debug=false").unwrap();
        assert!(off.is_off("debug") && !off.is_on("debug"));
        assert!(!read("").unwrap().is_off("debug"));
        assert_eq!(read("- x").unwrap().rest, ["-", "x"]);
    }

    #[test]
    fn what_is_wrong_is_said_in_gos_words() {
        let wrong = |line: &str| match read(line) {
            Err(Wrong::Flag(text)) => text,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(wrong("-x"), "flag provided but not defined: -x");
        assert_eq!(wrong("-endpoint"), "flag needs an argument: -endpoint");
        assert_eq!(wrong("---x"), "bad flag syntax: ---x");
        assert!(wrong("-debug=maybe").starts_with("invalid boolean value \"maybe\" for -debug: "));
        assert_eq!(read("-h"), Err(Wrong::Help));
    }

    #[test]
    fn the_environment_fills_in_what_was_not_given() {
        let environment = |name: &str| match name {
            "LOCKSMITHCTL_ENDPOINT" => Some("env".to_owned()),
            "LOCKSMITHCTL_ETCD_CAFILE" => Some("ca".to_owned()),
            _ => None,
        };
        let mut given = read("-endpoint a").unwrap();
        given.environment("LOCKSMITHCTL", FLAGS, &environment);
        assert_eq!(given.text("endpoint"), Some("a"));
        assert_eq!(given.text("etcd-cafile"), Some("ca"));
        assert_eq!(given.text("debug"), None);
    }
}
