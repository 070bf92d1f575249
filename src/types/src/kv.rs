//! Keys, values and events, as etcd's `mvccpb` has them.

use crate::ids::{LeaseId, Revision};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One version of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyValue {
    /// Never empty.
    pub key: Bytes,
    /// The value; may be empty.
    pub value: Bytes,
    /// The revision at which the key was created (since its last deletion).
    pub create_revision: Revision,
    /// The revision of this version.
    pub mod_revision: Revision,
    /// 1 for the first version since the key was created.
    pub version: i64,
    /// The lease the key is attached to, or [`LeaseId::NONE`].
    pub lease: LeaseId,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventKind {
    /// It was created or changed.
    Put,
    /// It was deleted; the event's key-value then holds only the key and the revision of the deletion.
    Delete,
}

/// One change, as a watcher sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Event {
    /// Put or delete.
    pub kind: EventKind,
    /// The new version, or the tombstone.
    pub kv: KeyValue,
    /// The version before, where the watcher asked for it and it is not compacted.
    pub prev_kv: Option<KeyValue>,
}

/// A range of keys in etcd's notation.
///
/// `end` empty: the single key `key`. `end` = `"\0"`: all keys from `key` on. Otherwise `[key, end)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyRange {
    /// First key of the range.
    pub key: Bytes,
    /// The key after the last one; see above for the two special values.
    pub end: Bytes,
}

impl KeyRange {
    /// Just this key.
    #[must_use]
    pub fn single(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), end: Bytes::new() }
    }

    /// All keys with this prefix; all keys at all for an empty prefix.
    #[must_use]
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let key: Bytes = prefix.into();
        if key.is_empty() {
            return Self { key: Bytes::from_static(b"\0"), end: Bytes::from_static(b"\0") };
        }
        let mut end = key.to_vec();
        while let Some(last) = end.pop() {
            if last < 0xff {
                end.push(last + 1);
                return Self { key, end: end.into() };
            }
        }
        // Only 0xff bytes: nothing sorts after the prefix but its own extensions.
        Self { key, end: Bytes::from_static(b"\0") }
    }

    /// Whether it names one key rather than a span.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.end.is_empty()
    }

    /// The half-open span `[start, end)`; `None` as end is "to the last key".
    #[must_use]
    pub fn bounds(&self) -> (Bytes, Option<Bytes>) {
        if self.end.is_empty() {
            let mut end = self.key.to_vec();
            end.push(0);
            (self.key.clone(), Some(end.into()))
        } else if self.end.as_ref() == b"\0" {
            (self.key.clone(), None)
        } else {
            (self.key.clone(), Some(self.end.clone()))
        }
    }

    /// Whether `key` lies in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        if self.end.is_empty() {
            return key == self.key;
        }
        key >= self.key.as_ref() && (self.end.as_ref() == b"\0" || key < self.end.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_the_next_sibling_begins() {
        assert_eq!(KeyRange::prefix("ab").end, Bytes::from_static(b"ac"));
        assert_eq!(KeyRange::prefix(&b"a\xff"[..]).end, Bytes::from_static(b"b"));
        assert_eq!(KeyRange::prefix(&b"\xff\xff"[..]).end, Bytes::from_static(b"\0"));
        assert!(KeyRange::prefix("").contains(b"anything"));
        assert!(!KeyRange::prefix("ab").contains(b"b"));
    }

    #[test]
    fn a_single_key_contains_itself_alone() {
        let range = KeyRange::single("k");
        assert!(range.contains(b"k"));
        assert!(!range.contains(b"k\0"));
        assert_eq!(range.bounds().1.unwrap(), Bytes::from_static(b"k\0"));
    }
}
