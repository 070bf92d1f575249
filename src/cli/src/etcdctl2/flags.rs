//! Flags as Go's `flag` package reads them and as urfave/cli reorders them: scripts know both by heart.

use crate::etcdctl::parse_duration;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a flag holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `--name` or `--name=true`.
    Switch,
    /// Any text.
    Text,
    /// A whole number, as Go reads one with any prefix.
    Number,
    /// A time with its unit.
    Time,
}

/// A flag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    /// Its names, the longest first as it is shown.
    pub(super) names: &'static [&'static str],
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    /// What it is where nobody says so, as shown: `2s`.
    pub(super) default: &'static str,
}

/// A flag that is off unless given.
pub(super) const fn switch(names: &'static [&'static str], help: &'static str) -> Flag {
    Flag { names, kind: Kind::Switch, help, default: "" }
}

pub(super) const fn text(names: &'static [&'static str], help: &'static str) -> Flag {
    Flag { names, kind: Kind::Text, help, default: "" }
}

pub(super) const fn number(names: &'static [&'static str], help: &'static str) -> Flag {
    Flag { names, kind: Kind::Number, help, default: "0" }
}

/// What was given: flags by their first name, and the rest in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    flags: BTreeMap<&'static str, String>,
    pub(super) rest: Vec<String>,
    /// `--help` or `-h` stood there.
    pub(super) help: bool,
}

impl Given {
    /// The text of a flag; empty where it was not given.
    pub(super) fn text(&self, name: &str) -> &str {
        self.flags.get(name).map_or("", String::as_str)
    }

    pub(super) fn switch(&self, name: &str) -> bool {
        matches!(self.text(name), "1" | "t" | "T" | "true" | "TRUE" | "True")
    }

    /// 0 where it was not given.
    pub(super) fn number(&self, name: &str) -> i64 {
        go_int(self.text(name)).unwrap_or(0)
    }

    pub(super) fn time(&self, name: &str, or: Duration) -> Duration {
        parse_duration(self.text(name)).unwrap_or(or)
    }
}

/// `strconv.ParseInt(text, 0, 64)`; the error is the end of Go's sentence.
fn go_int(text: &str) -> Result<i64, &'static str> {
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => ("-", &text[1..]),
        Some(b'+') => ("", &text[1..]),
        _ => ("", text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', rest @ ..] => (16, rest),
        [b'0', b'b', rest @ ..] => (2, rest),
        [b'0', b'o', rest @ ..] => (8, rest),
        [b'0', rest @ ..] if !rest.is_empty() => (8, rest),
        all => (10, all),
    };
    let digits = std::str::from_utf8(digits).unwrap_or_default();
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err("parse error");
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).map_err(|_| "value out of range")
}

fn find(flags: &[Flag], name: &str) -> Option<Flag> {
    flags.iter().find(|flag| flag.names.contains(&name)).copied()
}

fn is_help(name: &str) -> bool {
    name == "help" || name == "h"
}

/// Reads flags up to the first word that is none; what follows is the rest.
///
/// # Errors
/// Go's sentence about what is wrong.
pub(super) fn parse(flags: &[Flag], words: &[String]) -> Result<Given, String> {
    let mut given = Given::default();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if word.len() < 2 || !word.starts_with('-') {
            break;
        }
        at += 1;
        if word == "--" {
            break;
        }
        let name = word.strip_prefix("--").unwrap_or(&word[1..]);
        if name.is_empty() || name.starts_with('-') || name.starts_with('=') {
            return Err(format!("bad flag syntax: {word}"));
        }
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        let Some(flag) = find(flags, name) else {
            if is_help(name) {
                given.help = true;
                continue;
            }
            return Err(format!("flag provided but not defined: -{name}"));
        };
        let value = match value {
            Some(value) => value,
            None if flag.kind == Kind::Switch => "true".to_owned(),
            None => {
                let value = words.get(at).ok_or_else(|| format!("flag needs an argument: -{name}"))?;
                at += 1;
                value.clone()
            }
        };
        let wrong = |why: &str| format!("invalid value {value:?} for flag -{name}: {why}");
        match flag.kind {
            Kind::Text => {}
            Kind::Number => drop(go_int(&value).map_err(wrong)?),
            Kind::Time => drop(parse_duration(&value).map_err(|_| wrong("parse error"))?),
            Kind::Switch => {
                let truths =
                    ["1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"];
                if !truths.contains(&value.as_str()) {
                    return Err(format!("invalid boolean value {value:?} for -{name}: parse error"));
                }
            }
        }
        given.flags.insert(flag.names[0], value);
    }
    given.rest = words[at..].to_vec();
    Ok(given)
}

/// A command's words with its flags first. Whatever follows a flag goes with it, though the flag may be a switch; `--` ends the flags, but what was before it and is no flag comes behind it.
pub(super) fn reorder(flags: &[Flag], words: &[String]) -> Vec<String> {
    let mut first = Vec::new();
    let mut rest = Vec::new();
    let mut may_be_value = false;
    for (at, word) in words.iter().enumerate() {
        if word == "--" {
            first.push(word.clone());
            rest.extend_from_slice(&words[at + 1..]);
            break;
        }
        let is_dashed = word.starts_with('-') && word != "-";
        let name = word.trim_start_matches('-').split('=').next().unwrap_or_default();
        if may_be_value {
            may_be_value = false;
            first.push(word.clone());
        } else if is_dashed && (find(flags, name).is_some() || is_help(name)) {
            first.push(word.clone());
            may_be_value = !word.contains('=');
        } else {
            rest.push(word.clone());
        }
    }
    first.extend(rest);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [Flag; 3] =
        [number(&["ttl"], ""), switch(&["recursive", "r"], ""), text(&["with-value"], "")];

    fn words(line: &str) -> Vec<String> {
        line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    fn read(line: &str) -> Result<Given, String> {
        parse(&FLAGS, &reorder(&FLAGS, &words(line)))
    }

    #[test]
    fn flags_may_stand_anywhere_before_two_dashes() {
        for (line, ttl, recursive, rest) in [
            ("a b", 0, false, "a b"),
            ("--ttl 5 a", 5, false, "a"),
            ("a -ttl=0x10 b", 16, false, "a b"),
            ("a b -r", 0, true, "a b"),
            ("a -- -r", 0, false, "a -r"),
            ("--ttl -5 a -r", -5, true, "a"),
            ("--ttl -5 -- -r", -5, false, "-r"),
            ("-r=false a", 0, false, "a"),
            ("a -1", 0, false, "a -1"),
            // The switch has taken `a` with it, so that what follows is no flag any more.
            ("-r a b -ttl 3", 0, true, "a -ttl 3 b"),
        ] {
            let given = read(line).unwrap();
            let (number, switch) = (given.number("ttl"), given.switch("recursive"));
            assert_eq!((number, switch, given.rest.join(" ").as_str()), (ttl, recursive, rest), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_gos_words() {
        for (line, text) in [
            ("--ttl x a", "invalid value \"x\" for flag -ttl: parse error"),
            (
                "--ttl 99999999999999999999 a",
                "invalid value \"99999999999999999999\" for flag -ttl: value out of range",
            ),
            ("--ttl", "flag needs an argument: -ttl"),
            ("-1 a", "flag provided but not defined: -1"),
            ("-r=x a", "invalid boolean value \"x\" for -r: parse error"),
            ("---x", "bad flag syntax: ---x"),
        ] {
            assert_eq!(read(line).unwrap_err(), text, "{line}");
        }
        assert!(read("a -h").unwrap().help);
    }
}
