//! Which versions each key has, in memory: every read begins here.

use super::counted::{Counted, CountedMap};
use super::record::At;
use bytes::Bytes;
use seatrial_types::{KeyRange, Revision};

/// One change of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Change {
    at: At,
    is_tombstone: bool,
}

/// All changes of a key, oldest first. Most keys have one: that one needs no allocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Changes {
    One([Change; 1]),
    Many(Vec<Change>),
}

impl Changes {
    fn all(&self) -> &[Change] {
        match self {
            Self::One(one) => one,
            Self::Many(many) => many,
        }
    }

    fn push(&mut self, change: Change) {
        let last = self.all().last().map_or(At::default(), |last| last.at);
        assert!(last < change.at, "change {:?} is not after {last:?}", change.at);
        match self {
            Self::One([one]) => *self = Self::Many(vec![*one, change]),
            Self::Many(many) => many.push(change),
        }
    }

    fn drop_front(&mut self, count: usize) {
        match self {
            Self::One(_) => assert_eq!(count, 0, "a key with one change lost {count} and stays"),
            Self::Many(many) => {
                many.drain(..count);
                if let [one] = many[..] {
                    *self = Self::One([one]);
                }
            }
        }
    }
}

/// A key's changes, and what its next version needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct History {
    changes: Changes,
    /// When the key was created; meaningless after a deletion.
    created: Revision,
    /// Of the newest version; 0 after a deletion.
    version: i64,
}

impl History {
    /// The change in force at `revision`, where there was one, tombstones included.
    fn at(&self, revision: Revision) -> Option<Change> {
        let changes = self.changes.all();
        let after = changes.partition_point(|change| change.at.main <= revision);
        after.checked_sub(1).map(|last| changes[last])
    }

    fn live_at(&self, revision: Revision) -> Option<At> {
        self.at(revision).filter(|change| !change.is_tombstone).map(|change| change.at)
    }

    /// How many of the oldest changes a compaction makes needless: all before the one in force, and that one
    /// too where it is a tombstone, unless it happened at the very revision (a watch from there must see it).
    fn needless(&self, compacted: Revision) -> usize {
        let changes = self.changes.all();
        let after = changes.partition_point(|change| change.at.main <= compacted);
        match after.checked_sub(1).map(|last| changes[last]) {
            None => 0,
            Some(last) if last.is_tombstone && last.at.main < compacted => after,
            Some(_) => after - 1,
        }
    }
}

/// The keys that count are those that live now.
impl Counted for History {
    fn counts(&self) -> bool {
        self.version > 0
    }
}

/// What one step of a compaction took out.
pub(super) struct Removed {
    pub(super) rows: Vec<At>,
    /// Where to go on; `None` at the end.
    pub(super) next: Option<Bytes>,
}

/// Every key that has a version, and its changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct KeyIndex {
    keys: CountedMap<History>,
}

impl KeyIndex {
    /// Adds a version; says when the key was created and which version this is.
    pub(super) fn put(&mut self, key: &Bytes, at: At) -> (Revision, i64) {
        let change = Change { at, is_tombstone: false };
        let added = self.keys.update(key, |history| {
            if history.version == 0 {
                history.created = at.main;
            }
            history.version += 1;
            history.changes.push(change);
            (history.created, history.version)
        });
        added.unwrap_or_else(|| {
            self.insert_new(key, change, at.main, 1);
            (at.main, 1)
        })
    }

    /// Adds a deletion. The key must be live.
    pub(super) fn delete(&mut self, key: &Bytes, at: At) {
        let deleted = self.keys.update(key, |history| {
            assert!(history.version > 0, "a key that is deleted already is deleted again at {at:?}");
            history.version = 0;
            history.changes.push(Change { at, is_tombstone: true });
        });
        deleted.expect("only live keys are deleted");
    }

    /// Adds a change as it stands in the backend.
    pub(super) fn restore(&mut self, key: &Bytes, at: At, created: Revision, version: i64) {
        let change = Change { at, is_tombstone: version == 0 };
        let restored = self.keys.update(key, |history| {
            history.changes.push(change);
            history.version = version;
            history.created = created;
        });
        if restored.is_none() {
            self.insert_new(key, change, created, version);
        }
    }

    fn insert_new(&mut self, key: &Bytes, change: Change, created: Revision, version: i64) {
        // A copy: the key handed in is often a piece of a whole message or row, which it would keep alive.
        let key = Bytes::copy_from_slice(key);
        self.keys.insert(key, History { changes: Changes::One([change]), created, version });
    }

    /// The version of a key in force at a revision.
    pub(super) fn live_at(&self, key: &[u8], revision: Revision) -> Option<At> {
        self.keys.get(key)?.live_at(revision)
    }

    /// Keys of a range that are live at a revision, in order.
    pub(super) fn range(&self, range: &KeyRange, revision: Revision) -> impl Iterator<Item = (&Bytes, At)> {
        let single = range.is_single().then(|| self.keys.get_key_value(&range.key)).flatten();
        let many = (!range.is_single()).then(|| {
            let (start, end) = range.bounds();
            self.keys.range(Some(&start), end)
        });
        let all = single.into_iter().chain(many.into_iter().flatten());
        all.filter_map(move |(key, history)| Some((key, history.live_at(revision)?)))
    }

    /// How many keys of a range are live now. Takes the time of a lookup, whatever the range.
    pub(super) fn count_now(&self, range: &KeyRange) -> usize {
        if range.is_single() {
            return usize::from(self.keys.get(&range.key).is_some_and(Counted::counts));
        }
        let (start, end) = range.bounds();
        self.keys.count(&start, end.as_deref())
    }

    /// Whether a row at or below the compacted revision is kept by the compaction.
    pub(super) fn keeps(&self, key: &[u8], at: At, compacted: Revision) -> bool {
        self.keys.get(key).is_some_and(|history| {
            let changes = history.changes.all();
            changes[history.needless(compacted)..].iter().any(|change| change.at == at)
        })
    }

    /// Takes out what the compaction makes needless, from `from` on, looking at no more than `budget` keys and
    /// stopping once so many rows went.
    pub(super) fn compact(&mut self, from: Option<&Bytes>, compacted: Revision, budget: usize) -> Removed {
        let mut rows = Vec::new();
        let mut shrunk = Vec::new();
        let mut next = None;
        for (looked_at, (key, history)) in self.keys.range(from.map(AsRef::as_ref), None).enumerate() {
            if looked_at >= budget.max(1) || rows.len() >= budget.max(1) {
                next = Some(key.clone());
                break;
            }
            let needless = history.needless(compacted);
            if needless > 0 {
                rows.extend(history.changes.all()[..needless].iter().map(|change| change.at));
                shrunk.push((key.clone(), needless));
            }
        }
        for (key, needless) in shrunk {
            let is_gone = needless == self.keys.get(&key).expect("just seen").changes.all().len();
            if is_gone {
                self.keys.remove(&key);
            } else {
                self.keys.update(&key, |history| history.changes.drop_front(needless));
            }
        }
        Removed { rows, next }
    }

    /// How many keys have any change on record.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(main: i64) -> At {
        At { main: Revision(main), sub: 0 }
    }

    #[test]
    fn a_key_created_again_starts_with_version_one_and_its_own_create_revision() {
        let mut index = KeyIndex::default();
        let key = Bytes::from_static(b"k");
        assert_eq!(index.put(&key, at(2)), (Revision(2), 1));
        assert_eq!(index.put(&key, at(3)), (Revision(2), 2));
        index.delete(&key, at(4));
        assert_eq!(index.put(&key, at(5)), (Revision(5), 1));
        assert_eq!(index.live_at(b"k", Revision(4)), None);
        assert_eq!(index.live_at(b"k", Revision(3)), Some(at(3)));
        assert_eq!(index.live_at(b"k", Revision(1)), None);
    }

    #[test]
    fn compaction_keeps_the_version_in_force_and_a_tombstone_only_at_its_very_revision() {
        let mut index = KeyIndex::default();
        let key = Bytes::from_static(b"k");
        index.put(&key, at(2));
        index.put(&key, at(3));
        index.delete(&key, at(4));
        assert_eq!(index.clone().compact(None, Revision(3), 10).rows, [at(2)]);
        assert_eq!(index.clone().compact(None, Revision(4), 10).rows, [at(2), at(3)]);
        assert!(index.keeps(b"k", at(4), Revision(4)));
        assert!(!index.keeps(b"k", at(4), Revision(5)));
        assert_eq!(index.compact(None, Revision(5), 10).rows, [at(2), at(3), at(4)]);
        assert_eq!(index.len(), 0);
    }
}
