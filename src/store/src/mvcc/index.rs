//! Which versions each key has, in memory: every read begins here.

use super::counted::{Counted, CountedMap};
use super::record::At;
use bytes::Bytes;
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::{KeyRange, Revision};

/// Marks a deletion in [`Change::sub`].
const TOMBSTONE: u32 = 1 << 31;

/// One change of a key, in two words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Change {
    main: Revision,
    /// The place within the revision, and whether the key was deleted.
    sub: u32,
}

impl Change {
    fn new(at: At, is_tombstone: bool) -> Self {
        assert!(at.sub < TOMBSTONE, "change {} of one revision", at.sub);
        Self { main: at.main, sub: if is_tombstone { at.sub | TOMBSTONE } else { at.sub } }
    }

    fn at(self) -> At {
        At { main: self.main, sub: self.sub & !TOMBSTONE }
    }

    fn is_tombstone(self) -> bool {
        self.sub & TOMBSTONE != 0
    }
}

/// A key's changes, and what its next version needs to know. Most keys of most stores have one version, their first:
/// that takes two words and no allocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum History {
    /// Its only version, the first.
    First { main: Revision, sub: u32 },
    /// Anything else; never what the other could say.
    Rest(Box<Rest>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Rest {
    /// Oldest first; not empty.
    changes: Vec<Change>,
    /// When the key was created; meaningless after a deletion.
    created: Revision,
    /// Of the newest version; 0 after a deletion.
    version: i64,
}

impl History {
    fn new(change: Change, created: Revision, version: i64) -> Self {
        if version == 1 && created == change.main {
            return Self::First { main: change.main, sub: change.sub };
        }
        Self::Rest(Box::new(Rest { changes: vec![change], created, version }))
    }

    fn changes(&self) -> impl Iterator<Item = Change> {
        let (first, rest): (_, &[Change]) = match self {
            Self::First { main, sub } => (Some(Change { main: *main, sub: *sub }), &[]),
            Self::Rest(rest) => (None, &rest.changes),
        };
        first.into_iter().chain(rest.iter().copied())
    }

    fn len(&self) -> usize {
        match self {
            Self::First { .. } => 1,
            Self::Rest(rest) => rest.changes.len(),
        }
    }

    fn version(&self) -> i64 {
        match self {
            Self::First { .. } => 1,
            Self::Rest(rest) => rest.version,
        }
    }

    /// Adds a change, with what it makes of the key.
    fn push(&mut self, change: Change, created: Revision, version: i64) {
        let last = self.changes().last().map_or(At::default(), Change::at);
        assert!(last < change.at(), "change {change:?} is not after {last:?}");
        match self {
            Self::First { main, sub } => {
                let changes = vec![Change { main: *main, sub: *sub }, change];
                *self = Self::Rest(Box::new(Rest { changes, created, version }));
            }
            Self::Rest(rest) => {
                rest.changes.push(change);
                (rest.created, rest.version) = (created, version);
            }
        }
    }

    /// Adds a version; says when the key was created and which version this is.
    fn put(&mut self, at: At) -> (Revision, i64) {
        let (created, version) = match self {
            Self::First { main, .. } => (*main, 2),
            Self::Rest(rest) if rest.version == 0 => (at.main, 1),
            Self::Rest(rest) => (rest.created, rest.version + 1),
        };
        self.push(Change::new(at, false), created, version);
        (created, version)
    }

    /// How many changes happened up to a revision.
    fn up_to(&self, revision: Revision) -> usize {
        match self {
            Self::First { main, .. } => usize::from(*main <= revision),
            Self::Rest(rest) => rest.changes.partition_point(|change| change.main <= revision),
        }
    }

    fn nth(&self, place: usize) -> Change {
        match self {
            Self::First { main, sub } => Change { main: *main, sub: *sub },
            Self::Rest(rest) => rest.changes[place],
        }
    }

    fn live_at(&self, revision: Revision) -> Option<At> {
        let last = self.up_to(revision).checked_sub(1).map(|last| self.nth(last));
        last.filter(|change| !change.is_tombstone()).map(Change::at)
    }

    /// How many of the oldest changes a compaction makes needless: all before the one in force, and that one
    /// too where it is a tombstone, unless it happened at the very revision (a watch from there must see it).
    fn needless(&self, compacted: Revision) -> usize {
        let after = self.up_to(compacted);
        match after.checked_sub(1).map(|last| self.nth(last)) {
            None => 0,
            Some(last) if last.is_tombstone() && last.main < compacted => after,
            Some(last) if last.main == compacted && is_planted(Planted::D24) => after,
            Some(_) => after - 1,
        }
    }

    fn drop_front(&mut self, count: usize) {
        let Self::Rest(rest) = self else {
            return assert_eq!(count, 0, "a key with one change lost {count} and stays");
        };
        rest.changes.drain(..count);
        rest.changes.shrink_to_fit();
        if let [one] = rest.changes[..] {
            *self = Self::new(one, rest.created, rest.version);
        }
    }
}

/// The keys that count are those that live now.
impl Counted for History {
    fn counts(&self) -> bool {
        self.version() > 0
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
    pub(super) fn put(&mut self, key: &[u8], at: At) -> (Revision, i64) {
        self.keys.update(key, |history| history.put(at)).unwrap_or_else(|| {
            self.keys.insert(key, History::new(Change::new(at, false), at.main, 1));
            (at.main, 1)
        })
    }

    /// Adds a deletion. The key must be live.
    pub(super) fn delete(&mut self, key: &[u8], at: At) {
        let deleted = self.keys.update(key, |history| {
            assert!(history.version() > 0, "a key that is deleted already is deleted again at {at:?}");
            history.push(Change::new(at, true), at.main, 0);
        });
        deleted.expect("only live keys are deleted");
    }

    /// Adds a change as it stands in the backend.
    pub(super) fn restore(&mut self, key: &[u8], at: At, created: Revision, version: i64) {
        let change = Change::new(at, version == 0);
        // What a deleted key was is not told by its row.
        let created = if version == 0 { at.main } else { created };
        let restored = self.keys.update(key, |history| history.push(change, created, version));
        if restored.is_none() {
            self.keys.insert(key, History::new(change, created, version));
        }
    }

    /// The version of a key in force at a revision.
    pub(super) fn live_at(&self, key: &[u8], revision: Revision) -> Option<At> {
        self.keys.get(key)?.live_at(revision)
    }

    /// Keys of a range that are live at a revision, in order.
    pub(super) fn range(&self, range: &KeyRange, revision: Revision) -> impl Iterator<Item = (&[u8], At)> {
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
            history.changes().skip(history.needless(compacted)).any(|change| change.at() == at)
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
                next = Some(Bytes::copy_from_slice(key));
                break;
            }
            let needless = history.needless(compacted);
            if needless > 0 {
                rows.extend(history.changes().take(needless).map(Change::at));
                shrunk.push((Bytes::copy_from_slice(key), needless));
            }
        }
        for (key, needless) in shrunk {
            let is_gone = needless == self.keys.get(&key).expect("just seen").len();
            if is_gone {
                self.keys.remove(&key);
            } else {
                self.keys.update(&key, |history| history.drop_front(needless));
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
    fn a_key_with_one_version_takes_five_words() {
        assert_eq!(size_of::<(super::super::key::Key, History)>(), 40);
    }

    #[test]
    fn what_a_compaction_leaves_is_as_if_there_had_never_been_more() {
        let (mut index, mut fresh) = (KeyIndex::default(), KeyIndex::default());
        for (revision, is_put) in [(2, true), (3, false), (4, true)] {
            if is_put {
                index.put(b"k", at(revision));
            } else {
                index.delete(b"k", at(revision));
            }
        }
        index.compact(None, Revision(4), 10);
        fresh.put(b"k", at(4));
        assert_eq!(index, fresh);
        fresh.put(b"k", at(5));
        fresh.compact(None, Revision(5), 10);
        let mut restored = KeyIndex::default();
        restored.restore(b"k", at(5), Revision(4), 2);
        assert_eq!(restored, fresh);
    }

    #[test]
    fn a_key_created_again_starts_with_version_one_and_its_own_create_revision() {
        let mut index = KeyIndex::default();
        assert_eq!(index.put(b"k", at(2)), (Revision(2), 1));
        assert_eq!(index.put(b"k", at(3)), (Revision(2), 2));
        index.delete(b"k", at(4));
        assert_eq!(index.put(b"k", at(5)), (Revision(5), 1));
        assert_eq!(index.live_at(b"k", Revision(4)), None);
        assert_eq!(index.live_at(b"k", Revision(3)), Some(at(3)));
        assert_eq!(index.live_at(b"k", Revision(1)), None);
    }

    #[test]
    fn compaction_keeps_the_version_in_force_and_a_tombstone_only_at_its_very_revision() {
        let mut index = KeyIndex::default();
        index.put(b"k", at(2));
        index.put(b"k", at(3));
        index.delete(b"k", at(4));
        assert_eq!(index.clone().compact(None, Revision(3), 10).rows, [at(2)]);
        assert_eq!(index.clone().compact(None, Revision(4), 10).rows, [at(2), at(3)]);
        assert!(index.keeps(b"k", at(4), Revision(4)));
        assert!(!index.keeps(b"k", at(4), Revision(5)));
        assert_eq!(index.compact(None, Revision(5), 10).rows, [at(2), at(3), at(4)]);
        assert_eq!(index.len(), 0);
    }
}
