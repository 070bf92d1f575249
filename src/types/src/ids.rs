//! Ids and counters as newtypes, so that a term is never added to an index.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

counter! {
    /// A Raft participant. Shown in hexadecimal by etcd's tools; 0 means "none".
    MemberId(u64)
}
counter! {
    /// The cluster a member belongs to; a message from another cluster is refused.
    ClusterId(u64)
}
counter! {
    /// Raft's term (Raft §5.1); 0 before the first election.
    Term(u64)
}
counter! {
    /// An index in Raft's log; the first entry has index 1, 0 is "before the log".
    LogIndex(u64)
}
counter! {
    /// The store's counter: one step per transaction that changed something. An empty store is at 1.
    Revision(i64)
}
counter! {
    /// A lease; 0 means "no lease".
    LeaseId(i64)
}

impl MemberId {
    /// No member.
    pub const NONE: Self = Self(0);
}

impl LeaseId {
    /// No lease.
    pub const NONE: Self = Self(0);
}

impl LogIndex {
    /// The index before the first entry.
    pub const ZERO: Self = Self(0);

    /// The index after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The index before this one; 0 stays 0.
    #[must_use]
    pub fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl Term {
    /// The term after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Revision {
    /// The revision after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
