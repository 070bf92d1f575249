//! The one true sequence of states: every version of every key, by revision.

use crate::blob::Blob;
use crate::op::{Kv, Snapshot};
use std::collections::BTreeMap;

/// All states of a store from its initial revision on.
///
/// Invariant: revisions have no gap; `steps[i]` made revision `base + 1 + i`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replay {
    base: i64,
    /// Oldest first. The versions of the initial state are kept under the revisions they came with.
    versions: BTreeMap<Blob, Vec<Version>>,
    steps: Vec<Step>,
}

/// What one revision made of a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Version {
    revision: i64,
    /// `None` is a tombstone.
    kv: Option<Kv>,
}

/// What one revision changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// The revision.
    pub revision: i64,
    /// The operation that made it, by its place in the history; `None`: the store itself, as when a lease
    /// runs out.
    pub operation: Option<usize>,
    /// The keys it touched, in order of key, each with its new version or `None` for deleted.
    pub changes: Vec<(Blob, Option<Kv>)>,
}

impl Replay {
    /// A store with this content.
    #[must_use]
    pub fn new(initial: &Snapshot) -> Self {
        let mut versions: BTreeMap<Blob, Vec<Version>> = BTreeMap::new();
        for kv in &initial.kvs {
            let version = Version { revision: kv.mod_revision, kv: Some(kv.clone()) };
            versions.insert(kv.key.clone(), vec![version]);
        }
        Self { base: initial.revision, versions, steps: Vec::new() }
    }

    /// The oldest revision whose state is known.
    #[must_use]
    pub fn base(&self) -> i64 {
        self.base
    }

    /// The newest revision.
    #[must_use]
    pub fn head(&self) -> i64 {
        self.base + self.steps.len() as i64
    }

    /// Adds the next revision.
    ///
    /// # Panics
    /// Where nothing changes: then there is no new revision.
    pub fn push(&mut self, operation: Option<usize>, changes: Vec<(Blob, Option<Kv>)>) {
        let revision = self.head() + 1;
        assert!(!changes.is_empty(), "revision {revision} of operation {operation:?} changes nothing");
        for (key, kv) in &changes {
            let version = Version { revision, kv: kv.clone() };
            self.versions.entry(key.clone()).or_default().push(version);
        }
        self.steps.push(Step { revision, operation, changes });
    }

    /// Forgets the newest revision again. The initial state stays.
    pub fn pop(&mut self) -> Option<Step> {
        let step = self.steps.pop()?;
        for (key, _) in &step.changes {
            let versions = self.versions.get_mut(key).expect("a changed key has versions");
            let last = versions.pop();
            assert!(
                last.as_ref().is_some_and(|last| last.revision == step.revision),
                "the newest version of {key} is {last:?}, not of revision {}",
                step.revision
            );
            if versions.is_empty() {
                self.versions.remove(key);
            }
        }
        Some(step)
    }

    /// What made a revision; `None` outside of `base() + 1 ..= head()`.
    #[must_use]
    pub fn step(&self, revision: i64) -> Option<&Step> {
        let place = usize::try_from(revision.checked_sub(self.base + 1)?).ok()?;
        self.steps.get(place)
    }

    /// All revisions after the initial one, oldest first.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// A key as it was at a revision; `None` where it was missing.
    #[must_use]
    pub fn get(&self, key: &Blob, revision: i64) -> Option<&Kv> {
        version_at(self.versions.get(key)?, revision)
    }

    /// The keys of a range (`end` as in [`crate::Get::end`]) as they were at a revision.
    pub fn range<'a>(
        &'a self,
        key: &'a Blob,
        end: Option<&'a Blob>,
        revision: i64,
    ) -> impl Iterator<Item = &'a Kv> {
        let span = span(key, end);
        span.into_iter()
            .flat_map(move |span| self.versions.range(span))
            .filter_map(move |(_, versions)| version_at(versions, revision))
    }

    /// The whole store at a revision.
    #[must_use]
    pub fn snapshot(&self, revision: i64) -> Snapshot {
        let kvs =
            self.versions.values().filter_map(|versions| version_at(versions, revision)).cloned().collect();
        Snapshot { revision, kvs }
    }
}

fn version_at(versions: &[Version], revision: i64) -> Option<&Kv> {
    let newer = versions.partition_point(|version| version.revision <= revision);
    versions[..newer].last()?.kv.as_ref()
}

type Span = (std::ops::Bound<Blob>, std::ops::Bound<Blob>);

/// The range as map bounds; `None` where it is empty, which a map would panic at.
pub(crate) fn span(key: &Blob, end: Option<&Blob>) -> Option<Span> {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    match end {
        None => Some((Included(key.clone()), Included(key.clone()))),
        Some(end) if end.as_slice() == b"\0" => Some((Included(key.clone()), Unbounded)),
        Some(end) if end <= key => None,
        Some(end) => Some((Included(key.clone()), Excluded(end.clone()))),
    }
}

/// Whether a key lies in a range.
pub(crate) fn within(key: &Blob, from: &Blob, end: Option<&Blob>) -> bool {
    match end {
        None => key == from,
        Some(end) => key >= from && (end.as_slice() == b"\0" || key < end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(key: &str, value: &str, revision: i64) -> Kv {
        Kv {
            key: key.into(),
            value: value.into(),
            mod_revision: revision,
            create_revision: revision,
            version: 1,
        }
    }

    #[test]
    fn every_state_stays_readable_and_the_newest_can_be_taken_back() {
        let initial = Snapshot { revision: 4, kvs: vec![kv("a", "0", 3)] };
        let mut replay = Replay::new(&initial);
        replay.push(Some(7), vec![("b".into(), Some(kv("b", "1", 5)))]);
        replay.push(None, vec![("a".into(), None)]);
        assert_eq!(replay.head(), 6);
        assert_eq!(replay.get(&"a".into(), 5).map(|kv| kv.mod_revision), Some(3));
        assert_eq!(replay.get(&"a".into(), 6), None);
        assert_eq!(replay.range(&"a".into(), Some(&"\0".into()), 5).count(), 2);
        assert_eq!(replay.range(&"b".into(), Some(&"a".into()), 5).count(), 0, "an empty range is no panic");
        assert_eq!(replay.step(5).unwrap().operation, Some(7));
        assert!(replay.step(4).is_none() && replay.step(7).is_none());
        replay.pop();
        replay.pop();
        assert_eq!(replay.pop(), None);
        assert_eq!(replay, Replay::new(&initial));
    }
}
