//! Which format a text has, and which model its operations ask for.

use super::ReadError;
use super::events::{Event, Kind, Wrong};
use super::log;
use std::fmt;
use std::str::FromStr;

macro_rules! names {
    ($(#[doc = $about:literal])+ $kind:ident, $noun:literal, { $($(#[doc = $doc:literal])+ $name:ident = $word:literal,)* }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $kind { $($(#[doc = $doc])+ $name,)* }

        impl $kind {
            /// All of them.
            pub const ALL: &[$kind] = &[$($kind::$name),*];

            /// As it stands on a command line.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }

        impl FromStr for $kind {
            type Err = String;

            fn from_str(word: &str) -> Result<Self, String> {
                let known = || Self::ALL.iter().map(|one| one.word()).collect::<Vec<_>>().join(", ");
                Self::ALL
                    .iter()
                    .copied()
                    .find(|one| one.word() == word)
                    .ok_or_else(|| format!("there is no {} {word:?}; there are: {}", $noun, known()))
            }
        }
    };
}

names! {
    /// How a history is written down.
    Format, "format", {
        /// Our own lines of JSON.
        Seatrial = "seatrial",
        /// Maps of Jepsen, in one list or one after the other.
        Edn = "edn",
        /// Lines of Jepsen's log.
        JepsenLog = "jepsen-log",
        /// Maps with a `:key` each, as Porcupine's tests have them.
        KvLog = "kv-log",
    }
}

names! {
    /// What the operations are done to.
    ModelName, "model", {
        /// One register, or one for each key: read, write, compare-and-swap.
        CasRegister = "cas-register",
        /// Several registers, read and written in transactions.
        MultiRegister = "multi-register",
        /// A text for each key: get, put, append.
        KvAppend = "kv-append",
        /// An etcd-like store with revisions.
        Etcd = "etcd",
    }
}

/// The format of a text.
pub(super) fn format(text: &str) -> Result<Format, ReadError> {
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    while rest.starts_with(';') {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest).trim_start();
    }
    let after_brace = rest.strip_prefix('{').map(str::trim_start);
    match (after_brace, rest.chars().next()) {
        (Some(inside), _) if inside.starts_with('"') => Ok(Format::Seatrial),
        (Some(_), _) | (None, Some('[' | '(' | '#')) => Ok(edn_kind(rest)),
        _ if log::first(text).is_some() => Ok(Format::JepsenLog),
        (_, first) => Err(ReadError {
            line: 1,
            column: 1,
            why: match first {
                None => "expected a history, found nothing".to_owned(),
                Some(_) => "expected lines of JSON, EDN maps, or lines of Jepsen's log".to_owned(),
            },
            hint: Some(
                "docs/check-history.md shows every format; --format names one and tells what is wrong"
                    .to_owned(),
            ),
        }),
    }
}

/// A `:key` within the first map; values cannot hold one outside of a text.
fn edn_kind(rest: &str) -> Format {
    let first = rest.split_once('}').map_or(rest, |(first, _)| first);
    let is_key = |at: usize| first[at + 4..].starts_with(|c: char| c.is_whitespace() || c == '"');
    if first.match_indices(":key").any(|(at, _)| is_key(at)) { Format::KvLog } else { Format::Edn }
}

/// The model that goes with the functions which processes call.
pub(super) fn model(format: Format, events: &[Event]) -> Result<ModelName, Wrong> {
    if format == Format::KvLog {
        return Ok(ModelName::KvAppend);
    }
    let Some(event) = events.iter().find(|event| event.kind == Kind::Invoke) else {
        return Err(Wrong::new(0, "expected an :invoke of a process, found none"));
    };
    match event.function.as_str() {
        "txn" => Ok(ModelName::MultiRegister),
        "read" | "write" | "cas" => Ok(ModelName::CasRegister),
        "get" | "put" | "append" => Ok(ModelName::KvAppend),
        other => Err(Wrong::new(
            event.offset,
            format!("expected :read, :write, :cas, :txn, :get, :put or :append, found :{other}"),
        )
        .hint("queues, sets and the like are not judged here; docs/check-history.md lists the models")),
    }
}
