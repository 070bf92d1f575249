//! What clients did: operations on an etcd-like store, with what came back and when.

use crate::blob::Blob;
use serde::{Deserialize, Serialize};
use std::fmt;

/// All that the clients of one run did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// What the store held before the first operation.
    pub initial: Snapshot,
    /// In any order; evidence names an operation by its place here.
    pub operations: Vec<Operation>,
}

/// The whole content of a store at one revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The store's revision; an empty etcd is at 1.
    pub revision: i64,
    /// Every key.
    #[serde(default)]
    pub kvs: Vec<Kv>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self { revision: 1, kvs: Vec::new() }
    }
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// Who asked. A client has one operation in flight at a time.
    pub client: u32,
    /// The member that was asked or answered, where known; only shown, never judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// When it was asked, in ns on a clock common to all clients.
    pub call: u64,
    /// When the answer, or the client's giving up, was seen. `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ret: Option<u64>,
    /// What was asked.
    pub input: Input,
    /// What came of it.
    pub outcome: Outcome,
}

/// What was asked of the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Input {
    /// Read keys.
    Get(Get),
    /// Write one key.
    Put(Put),
    /// Delete keys.
    Delete(Delete),
    /// Compare, then do one of two lists, atomically.
    Txn(Txn),
}

/// Read a key, or with `end` a range of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Get {
    /// The key, or the first of the range.
    pub key: Blob,
    /// The key after the last; `"\0"` is "to the last key there is". `None`: just `key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Blob>,
    /// Read the member's own state, which may lag.
    #[serde(default, skip_serializing_if = "is_false")]
    pub serializable: bool,
    /// At this revision; 0 is the current one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub revision: i64,
    /// At most so many keys; 0 is no limit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub limit: i64,
}

/// Write one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Put {
    /// The key.
    pub key: Blob,
    /// The value. Different values for different puts make a checker see more.
    pub value: Blob,
}

/// Delete a key, or with `end` a range of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delete {
    /// The key, or the first of the range.
    pub key: Blob,
    /// As in [`Get::end`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Blob>,
}

/// A transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Txn {
    /// All must hold for `then` to be done.
    #[serde(default)]
    pub compare: Vec<Compare>,
    /// Done where they hold.
    #[serde(default)]
    pub then: Vec<Action>,
    /// Done where one does not.
    #[serde(default, rename = "else")]
    pub otherwise: Vec<Action>,
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
#[allow(missing_docs, reason = "named as the operation inside")]
pub enum Action {
    Get(Get),
    Put(Put),
    Delete(Delete),
}

/// One comparison. A missing key has version and revisions 0; a value never compares to a missing key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compare {
    /// The key.
    pub key: Blob,
    /// What of it, and with what it is compared.
    pub target: Target,
    /// `key relation target`.
    #[serde(default)]
    pub relation: Relation,
}

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "etcd's names")]
pub enum Target {
    Value(Blob),
    Version(i64),
    CreateRevision(i64),
    ModRevision(i64),
}

/// How it is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "etcd's names")]
pub enum Relation {
    #[default]
    Equal,
    NotEqual,
    Greater,
    Less,
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    /// Answered.
    Ok {
        /// The answer's header revision: that of the write where something changed, else the revision
        /// of the state that was read.
        revision: i64,
        /// The rest of the answer.
        result: Answer,
    },
    /// It certainly did not happen, and never will.
    Failed {
        /// The error.
        #[serde(default)]
        error: String,
    },
    /// It may or may not have happened, or may still happen.
    Unknown {
        /// The error, if there was one.
        #[serde(default)]
        error: String,
    },
}

/// The answer to the input of the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Answer {
    /// What was read.
    Get(Found),
    /// Written.
    Put,
    /// Deleted.
    Delete {
        /// How many keys went.
        deleted: u64,
    },
    /// The transaction was done.
    Txn {
        /// Whether the comparisons held.
        succeeded: bool,
        /// One answer per action of the branch taken.
        #[serde(default)]
        results: Vec<Answer>,
    },
}

/// The keys a read found, in order of key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// The keys.
    #[serde(default)]
    pub kvs: Vec<Kv>,
    /// How many there are without the limit, where recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// One version of a key, as an answer carries it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kv {
    /// The key.
    pub key: Blob,
    /// Its value.
    pub value: Blob,
    /// The revision that wrote it.
    pub mod_revision: i64,
    /// The revision that created the key; 0 is "not recorded", and is then not checked.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub create_revision: i64,
    /// How often it was written since; 0 is "not recorded", and is then not checked.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub version: i64,
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

impl Input {
    /// Read one key, linearizable.
    #[must_use]
    pub fn get(key: impl Into<Blob>) -> Self {
        Self::Get(Get { key: key.into(), ..Get::default() })
    }

    /// Read all keys with a prefix, linearizable.
    #[must_use]
    pub fn get_prefix(prefix: impl Into<Blob>) -> Self {
        let prefix = prefix.into();
        let end = Some(prefix.prefix_end());
        let key = if prefix.0.is_empty() { Blob::from("\0") } else { prefix };
        Self::Get(Get { key, end, ..Get::default() })
    }

    /// Write one key.
    #[must_use]
    pub fn put(key: impl Into<Blob>, value: impl Into<Blob>) -> Self {
        Self::Put(Put { key: key.into(), value: value.into() })
    }

    /// Delete one key.
    #[must_use]
    pub fn delete(key: impl Into<Blob>) -> Self {
        Self::Delete(Delete { key: key.into(), end: None })
    }

    /// Write `value` where the key's modification revision is `expected` (0: the key is missing),
    /// otherwise read the key.
    #[must_use]
    pub fn cas_revision(key: impl Into<Blob>, expected: i64, value: impl Into<Blob>) -> Self {
        Self::cas(key.into(), Target::ModRevision(expected), value.into())
    }

    /// Write `value` where the key's value is `expected`, otherwise read the key.
    #[must_use]
    pub fn cas_value(key: impl Into<Blob>, expected: impl Into<Blob>, value: impl Into<Blob>) -> Self {
        Self::cas(key.into(), Target::Value(expected.into()), value.into())
    }

    fn cas(key: Blob, target: Target, value: Blob) -> Self {
        Self::Txn(Txn {
            compare: vec![Compare { key: key.clone(), target, relation: Relation::Equal }],
            then: vec![Action::Put(Put { key: key.clone(), value })],
            otherwise: vec![Action::Get(Get { key, ..Get::default() })],
        })
    }

    /// Whether the answer may come from a member's own, possibly old, state: a serializable read, or a
    /// transaction of nothing but such reads.
    #[must_use]
    pub fn is_serializable(&self) -> bool {
        match self {
            Self::Get(get) => get.serializable,
            Self::Put(_) | Self::Delete(_) => false,
            Self::Txn(txn) => {
                let mut actions = txn.then.iter().chain(&txn.otherwise).peekable();
                actions.peek().is_some()
                    && actions.all(|action| matches!(action, Action::Get(get) if get.serializable))
            }
        }
    }

    /// Whether it can change the store at all.
    #[must_use]
    pub fn can_write(&self) -> bool {
        match self {
            Self::Get(_) => false,
            Self::Put(_) | Self::Delete(_) => true,
            Self::Txn(txn) => {
                txn.then.iter().chain(&txn.otherwise).any(|action| !matches!(action, Action::Get(_)))
            }
        }
    }
}

impl Answer {
    /// Whether it says that something changed, so that the revision is the answer's own.
    #[must_use]
    pub fn changed(&self) -> bool {
        match self {
            Self::Get(_) => false,
            Self::Put => true,
            Self::Delete { deleted } => *deleted > 0,
            Self::Txn { results, .. } => results.iter().any(Self::changed),
        }
    }

    /// Every key version it carries.
    pub fn kvs(&self) -> Box<dyn Iterator<Item = &Kv> + '_> {
        match self {
            Self::Get(found) => Box::new(found.kvs.iter()),
            Self::Put | Self::Delete { .. } => Box::new(std::iter::empty()),
            Self::Txn { results, .. } => Box::new(results.iter().flat_map(Self::kvs)),
        }
    }
}

impl Outcome {
    /// The revision and the answer, where there is one.
    #[must_use]
    pub fn answered(&self) -> Option<(i64, &Answer)> {
        match self {
            Self::Ok { revision, result } => Some((*revision, result)),
            Self::Failed { .. } | Self::Unknown { .. } => None,
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(get) => write!(f, "{get}"),
            Self::Put(put) => write!(f, "{put}"),
            Self::Delete(delete) => write!(f, "{delete}"),
            Self::Txn(txn) => {
                f.write_str("txn if ")?;
                list(f, &txn.compare)?;
                f.write_str(" then ")?;
                list(f, &txn.then)?;
                if !txn.otherwise.is_empty() {
                    f.write_str(" else ")?;
                    list(f, &txn.otherwise)?;
                }
                Ok(())
            }
        }
    }
}

fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    if items.is_empty() {
        return f.write_str("nothing");
    }
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            f.write_str(", ")?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

fn span(f: &mut fmt::Formatter<'_>, key: &Blob, end: Option<&Blob>) -> fmt::Result {
    match end {
        None => write!(f, "{key}"),
        Some(end) if end.as_slice() == b"\0" => write!(f, "[{key}, …)"),
        Some(end) => write!(f, "[{key}, {end})"),
    }
}

impl fmt::Display for Get {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.serializable { "serializable get " } else { "get " })?;
        span(f, &self.key, self.end.as_ref())?;
        if self.revision > 0 {
            write!(f, " at revision {}", self.revision)?;
        }
        if self.limit > 0 {
            write!(f, " limit {}", self.limit)?;
        }
        Ok(())
    }
}

impl fmt::Display for Put {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "put {}={}", self.key, self.value)
    }
}

impl fmt::Display for Delete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("delete ")?;
        span(f, &self.key, self.end.as_ref())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(get) => write!(f, "{get}"),
            Self::Put(put) => write!(f, "{put}"),
            Self::Delete(delete) => write!(f, "{delete}"),
        }
    }
}

impl fmt::Display for Compare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relation = match self.relation {
            Relation::Equal => "=",
            Relation::NotEqual => "≠",
            Relation::Greater => ">",
            Relation::Less => "<",
        };
        match &self.target {
            Target::Value(value) => write!(f, "value({}) {relation} {value}", self.key),
            Target::Version(version) => write!(f, "version({}) {relation} {version}", self.key),
            Target::CreateRevision(revision) => write!(f, "create({}) {relation} {revision}", self.key),
            Target::ModRevision(revision) => write!(f, "mod({}) {relation} {revision}", self.key),
        }
    }
}

impl fmt::Display for Kv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}@{}", self.key, self.value, self.mod_revision)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(found) if found.kvs.is_empty() => f.write_str("nothing found"),
            Self::Get(found) => list(f, &found.kvs),
            Self::Put => f.write_str("written"),
            Self::Delete { deleted } => write!(f, "{deleted} deleted"),
            Self::Txn { succeeded, results } => {
                f.write_str(if *succeeded { "compare held" } else { "compare did not hold" })?;
                if !results.is_empty() {
                    f.write_str(": ")?;
                    list(f, results)?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok { revision, result } => write!(f, "revision {revision}, {result}"),
            Self::Failed { error } if error.is_empty() => f.write_str("failed"),
            Self::Failed { error } => write!(f, "failed: {error}"),
            Self::Unknown { error } if error.is_empty() => f.write_str("unknown"),
            Self::Unknown { error } => write!(f, "unknown: {error}"),
        }
    }
}

/// A time of the run for people: seconds with milliseconds, finer where that would hide the difference.
#[must_use]
pub fn seconds(ns: u64) -> String {
    let (whole, rest) = (ns / 1_000_000_000, ns % 1_000_000_000);
    match rest {
        _ if rest % 1_000_000 == 0 => format!("{whole}.{:03} s", rest / 1_000_000),
        _ if rest % 1_000 == 0 => format!("{whole}.{:06} s", rest / 1_000),
        _ => format!("{whole}.{rest:09} s"),
    }
}

/// The one line by which sentences name an operation: its place, its client, what and when.
pub(crate) fn name(history: &History, place: usize) -> String {
    let operation = &history.operations[place];
    let until = operation.ret.map_or_else(|| "never answered".to_owned(), seconds);
    let member = operation.member.as_ref().map(|member| format!(" at {member}")).unwrap_or_default();
    format!(
        "#{place} (client {}{member}, {}, {} to {until})",
        operation.client,
        operation.input,
        seconds(operation.call)
    )
}
