//! etcd's v2 key space as values: directories, files, and an index that counts changes (etcd: "v2 API").
//!
//! A path is absolute and clean, and begins with the name of a space: [`KEYS`] is what clients see below `/v2/keys`.

use crate::ids::MemberId;
use crate::request::Header;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The space of the clients' keys.
pub const KEYS: &str = "/1";

/// The space of v2's own users and roles.
pub const SECURITY: &str = "/2";

/// Elements a path may have: bounds how deep whatever walks a tree may go.
pub const DEPTH_MAX: usize = 512;

/// A question or a change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum V2Request {
    /// Read a file, or list a directory.
    Read {
        /// Of what.
        path: String,
        /// With everything below.
        recursive: bool,
        /// As new as any answer given before; else what the member happens to know.
        quorum: bool,
    },
    /// Change something.
    Change(V2Change),
    /// What this member has counted.
    Stats,
    /// How this member stands among the others.
    Standing,
}

/// A change, as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct V2Change {
    /// Of what.
    pub path: String,
    /// Which.
    pub action: V2Action,
    /// The calendar of the member that was asked, since the Unix epoch: for what clients are shown, never for what is
    /// due.
    pub wall_ns: i64,
}

/// What is done to a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum V2Action {
    /// Write, whatever was there before (but for a directory).
    Set {
        /// Make a directory.
        dir: bool,
        /// What is written.
        value: String,
        /// How long it lives.
        life: V2Life,
    },
    /// Write where nothing is.
    Create {
        /// Make a directory.
        dir: bool,
        /// What is written.
        value: String,
        /// How long it lives.
        life: V2Life,
    },
    /// Write below the path, at a key that is greater than those before.
    CreateInOrder {
        /// Make a directory.
        dir: bool,
        /// What is written.
        value: String,
        /// How long it lives.
        life: V2Life,
    },
    /// Write where something is.
    Update {
        /// What is written.
        value: String,
        /// How long it lives.
        life: V2Life,
    },
    /// Write where this is.
    CompareAndSwap {
        /// What must be there.
        prev: V2Compare,
        /// What is written.
        value: String,
        /// How long it lives.
        life: V2Life,
    },
    /// Delete.
    Delete {
        /// Also an empty directory.
        dir: bool,
        /// Also a directory with all that is in it.
        recursive: bool,
    },
    /// Delete where this is.
    CompareAndDelete {
        /// What must be there.
        prev: V2Compare,
    },
}

/// How long what is written lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct V2Life {
    /// `None`: until it is deleted. In seconds.
    pub ttl_seconds: Option<u64>,
    /// Only its time starts anew: the value stays, and no watcher is woken.
    pub refresh: bool,
}

/// What must be there for a change to happen. What is empty or 0 is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct V2Compare {
    /// The value.
    pub value: String,
    /// The index of the last change.
    pub index: u64,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "etcd's names")]
pub enum V2Verb {
    Get,
    Create,
    Set,
    Update,
    Delete,
    CompareAndSwap,
    CompareAndDelete,
    Expire,
}

impl V2Verb {
    /// The one that clients read so.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        use V2Verb::{CompareAndDelete, CompareAndSwap, Create, Delete, Expire, Get, Set, Update};
        let all = [Get, Create, Set, Update, Delete, CompareAndSwap, CompareAndDelete, Expire];
        all.into_iter().find(|verb| verb.name() == name)
    }

    /// As clients read it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Create => "create",
            Self::Set => "set",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::CompareAndSwap => "compareAndSwap",
            Self::CompareAndDelete => "compareAndDelete",
            Self::Expire => "expire",
        }
    }
}

/// A file or directory as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct V2Node {
    /// Its path, with its space.
    pub path: String,
    /// `None` for directories, and where it is of no interest (what was deleted).
    pub value: Option<Arc<str>>,
    /// It is a directory.
    pub dir: bool,
    /// Until when it lives, by the calendar of the member that took the request, since the Unix epoch.
    pub expiration_ns: Option<i64>,
    /// What was left of it when this was told, in seconds. `None` where it lives for ever, and in answers to reads:
    /// those are told by whoever shows them.
    pub ttl_seconds: Option<i64>,
    /// What is in a directory that is listed.
    pub nodes: Vec<V2Node>,
    /// The index of the last change.
    pub modified: u64,
    /// The index at which it was made.
    pub created: u64,
}

/// A change, or the answer to a read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct V2Event {
    /// What happened.
    pub verb: V2Verb,
    /// To what; as it is now.
    pub node: V2Node,
    /// As it was before.
    pub prev: Option<V2Node>,
    /// Only time started anew.
    pub refresh: bool,
}

impl V2Event {
    /// Its place among all changes.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.node.modified
    }

    /// Whether something is there now that was not there before.
    #[must_use]
    pub fn is_created(&self) -> bool {
        self.verb == V2Verb::Create || (self.verb == V2Verb::Set && self.prev.is_none())
    }
}

macro_rules! codes {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        /// Why a request was refused (etcd: `v2error`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[repr(u16)]
        pub enum V2Code {
            $(#[doc = $text] $name = $number,)*
        }

        impl V2Code {
            /// The number clients know.
            #[must_use]
            pub fn number(self) -> u16 {
                self as u16
            }

            /// The code with this number.
            #[must_use]
            pub fn of_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }

            /// What clients read.
            #[must_use]
            pub fn message(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    KeyNotFound = 100, "Key not found";
    CompareFailed = 101, "Compare failed";
    NotAFile = 102, "Not a file";
    NotADirectory = 104, "Not a directory";
    KeyExists = 105, "Key already exists";
    RootReadOnly = 107, "Root is read only";
    DirectoryNotEmpty = 108, "Directory not empty";
    Unauthorized = 110, "The request requires user authentication";
    PrevValueRequired = 201, "PrevValue is Required in POST form";
    TtlNotANumber = 202, "The given TTL in POST form is not a number";
    IndexNotANumber = 203, "The given index in POST form is not a number";
    InvalidField = 209, "Invalid field";
    InvalidForm = 210, "Invalid POST form";
    RefreshWithValue = 211, "Value provided on refresh";
    RefreshWithoutTtl = 212, "A TTL must be provided on refresh";
    RaftInternal = 300, "Raft Internal Error";
    LeaderElection = 301, "During Leader Election";
    EventIndexCleared = 401, "The event in requested index is outdated and cleared";
}

/// A request that was refused; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[error("{}: {} ({cause}) [{index}]", code.number(), code.message())]
pub struct V2Error {
    /// Why.
    pub code: V2Code,
    /// Because of what.
    pub cause: String,
    /// How far the key space was.
    pub index: u64,
}

/// The answer of a member.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct V2Response {
    /// Who answered.
    pub header: Header,
    /// How far the log is applied there.
    pub raft_index: u64,
    /// The index of the newest change.
    pub index: u64,
    /// What was asked for.
    pub result: Result<V2Answer, V2Error>,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum V2Answer {
    /// What happened, or what is there.
    Event(Arc<V2Event>),
    /// What this member has counted.
    Stats(V2Stats),
    /// How this member stands among the others.
    Standing(V2Standing),
}

/// What a member has counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct V2Stats {
    /// By verb, in the order of [`V2Verb`]: those that were done, and those that were refused. The one for what ran out
    /// knows no refusals.
    pub counts: [(u64, u64); 8],
    /// Who waits for changes now.
    pub watchers: u64,
}

impl V2Stats {
    /// Counts one.
    pub fn count(&mut self, verb: V2Verb, is_done: bool) {
        let (done, refused) = &mut self.counts[verb as usize];
        *if is_done { done } else { refused } += 1;
    }
}

/// How a member stands among the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct V2Standing {
    /// Its name.
    pub name: String,
    /// The leader it knows, or [`MemberId::NONE`].
    pub leader: MemberId,
    /// It does not vote.
    pub is_learner: bool,
    /// Since when it runs, by its monotonic clock: so long ago.
    pub runs_for: Duration,
    /// And since when it knows this leader.
    pub led_for: Duration,
    /// Messages with entries that came from leaders.
    pub appends_received: u64,
    /// And that went to followers.
    pub appends_sent: u64,
    /// Of a leader: how its followers do.
    pub followers: BTreeMap<MemberId, V2Follower>,
}

/// How a follower does, since its leader leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct V2Follower {
    /// Messages it has confirmed.
    pub success: u64,
    /// Times its connection failed.
    pub fail: u64,
    /// What lay between a message and its confirmation: the last time, in microseconds.
    pub current_us: u64,
    /// The shortest.
    pub min_us: u64,
    /// The longest.
    pub max_us: u64,
    /// All together.
    pub sum_us: u64,
    /// And their squares.
    pub squares_us: u128,
}

impl V2Follower {
    /// A message was confirmed after this time.
    pub fn confirmed(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.min_us = if self.success == 0 { us } else { self.min_us.min(us) };
        self.max_us = self.max_us.max(us);
        self.current_us = us;
        self.success += 1;
        self.sum_us = self.sum_us.saturating_add(us);
        self.squares_us = self.squares_us.saturating_add(u128::from(us) * u128::from(us));
    }
}

/// Names one who waits for changes at one member, for all time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct V2WatchId(pub u64);

/// What one waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct V2Watch {
    /// At what.
    pub path: String,
    /// And at everything below.
    pub recursive: bool,
    /// More than one change.
    pub stream: bool,
    /// The first index that counts; 0: from now on.
    pub since: u64,
}

/// What one who waits is told first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct V2Watching {
    /// Who answered.
    pub header: Header,
    /// How far the log was applied there.
    pub raft_index: u64,
    /// The index of the newest change when the waiting began.
    pub index: u64,
}
