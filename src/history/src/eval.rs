//! What an operation does to a state and what it must answer (etcd API: Range, Put, DeleteRange, Txn).

use crate::blob::Blob;
use crate::op::{Action, Answer, Compare, Delete, Found, Get, Input, Kv, Relation, Target};
use crate::replay::{Replay, within};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

/// A state that operations can be evaluated on.
pub(crate) trait View {
    fn get(&self, key: &Blob) -> Option<Kv>;
    fn range(&self, key: &Blob, end: Option<&Blob>) -> Vec<Kv>;
    /// The range at an older revision; `None` where this view cannot tell.
    fn range_at(&self, key: &Blob, end: Option<&Blob>, revision: i64) -> Option<Vec<Kv>>;
}

/// The state of a replay at one revision.
pub(crate) struct At<'a> {
    pub(crate) replay: &'a Replay,
    pub(crate) revision: i64,
}

impl View for At<'_> {
    fn get(&self, key: &Blob) -> Option<Kv> {
        self.replay.get(key, self.revision).cloned()
    }

    fn range(&self, key: &Blob, end: Option<&Blob>) -> Vec<Kv> {
        self.replay.range(key, end, self.revision).cloned().collect()
    }

    fn range_at(&self, key: &Blob, end: Option<&Blob>, revision: i64) -> Option<Vec<Kv>> {
        let known = (self.replay.base()..=self.revision).contains(&revision);
        known.then(|| self.replay.range(key, end, revision).cloned().collect())
    }
}

impl View for BTreeMap<Blob, Kv> {
    fn get(&self, key: &Blob) -> Option<Kv> {
        self.get(key).cloned()
    }

    fn range(&self, key: &Blob, end: Option<&Blob>) -> Vec<Kv> {
        crate::replay::span(key, end)
            .map(|span| self.range(span).map(|(_, kv)| kv.clone()).collect())
            .unwrap_or_default()
    }

    fn range_at(&self, _: &Blob, _: Option<&Blob>, _: i64) -> Option<Vec<Kv>> {
        None
    }
}

/// What an operation must answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Get {
        kvs: Vec<Kv>,
        count: u64,
    },
    /// A read of a revision before everything that is known.
    Anything,
    Put,
    Delete {
        deleted: u64,
    },
    Txn {
        succeeded: bool,
        results: Vec<Expected>,
    },
}

/// An operation, carried out.
pub(crate) struct Evaluation {
    pub(crate) expected: Expected,
    /// In order of key. Empty: the store keeps its revision.
    pub(crate) changes: Vec<(Blob, Option<Kv>)>,
}

/// Carries out `input` on `view`; what it writes gets `revision`.
pub(crate) fn evaluate(view: &dyn View, input: &Input, revision: i64) -> Evaluation {
    let mut run = Run { view, revision, written: BTreeMap::new() };
    let expected = match input {
        Input::Get(get) => run.get(get),
        Input::Put(put) => run.put(&put.key, &put.value),
        Input::Delete(delete) => run.delete(delete),
        Input::Txn(txn) => {
            let succeeded = txn.compare.iter().all(|compare| holds(view, compare));
            let branch = if succeeded { &txn.then } else { &txn.otherwise };
            let results = branch
                .iter()
                .map(|action| match action {
                    Action::Get(get) => run.get(get),
                    Action::Put(put) => run.put(&put.key, &put.value),
                    Action::Delete(delete) => run.delete(delete),
                })
                .collect();
            Expected::Txn { succeeded, results }
        }
    };
    Evaluation { expected, changes: run.written.into_iter().collect() }
}

struct Run<'a> {
    view: &'a dyn View,
    revision: i64,
    /// The steps of a transaction see what the earlier ones wrote.
    written: BTreeMap<Blob, Option<Kv>>,
}

impl Run<'_> {
    fn current(&self, key: &Blob) -> Option<Kv> {
        self.written.get(key).cloned().unwrap_or_else(|| self.view.get(key))
    }

    fn range(&self, key: &Blob, end: Option<&Blob>) -> Vec<Kv> {
        if self.written.is_empty() {
            return self.view.range(key, end);
        }
        let mut kvs: BTreeMap<Blob, Kv> =
            self.view.range(key, end).into_iter().map(|kv| (kv.key.clone(), kv)).collect();
        for (written, kv) in self.written.iter().filter(|(written, _)| within(written, key, end)) {
            match kv {
                Some(kv) => kvs.insert(written.clone(), kv.clone()),
                None => kvs.remove(written),
            };
        }
        kvs.into_values().collect()
    }

    fn get(&self, get: &Get) -> Expected {
        let kvs = if get.revision > 0 {
            match self.view.range_at(&get.key, get.end.as_ref(), get.revision) {
                Some(kvs) => kvs,
                None => return Expected::Anything,
            }
        } else {
            self.range(&get.key, get.end.as_ref())
        };
        let count = kvs.len() as u64;
        let kept = if get.limit > 0 { get.limit as usize } else { usize::MAX };
        Expected::Get { kvs: kvs.into_iter().take(kept).collect(), count }
    }

    fn put(&mut self, key: &Blob, value: &Blob) -> Expected {
        let before = self.current(key);
        let (create_revision, version) = before
            .map_or((self.revision, 1), |before| (before.create_revision, next_version(before.version)));
        let (key, value) = (key.clone(), value.clone());
        let kv = Kv { key: key.clone(), value, mod_revision: self.revision, create_revision, version };
        self.written.insert(key, Some(kv));
        Expected::Put
    }

    fn delete(&mut self, delete: &Delete) -> Expected {
        let doomed = self.range(&delete.key, delete.end.as_ref());
        for kv in &doomed {
            self.written.insert(kv.key.clone(), None);
        }
        Expected::Delete { deleted: doomed.len() as u64 }
    }
}

/// 0 is "not recorded", as an initial state may have it, and stays so.
fn next_version(version: i64) -> i64 {
    if version == 0 { 0 } else { version + 1 }
}

fn holds(view: &dyn View, compare: &Compare) -> bool {
    let kv = view.get(&compare.key);
    let number = |of: fn(&Kv) -> i64| kv.as_ref().map_or(0, of);
    let ordering = match &compare.target {
        // A missing key has no value that could be compared, not even with "not equal".
        Target::Value(value) => match &kv {
            Some(kv) => kv.value.cmp(value),
            None => return false,
        },
        Target::Version(version) => number(|kv| kv.version).cmp(version),
        Target::CreateRevision(revision) => number(|kv| kv.create_revision).cmp(revision),
        Target::ModRevision(revision) => number(|kv| kv.mod_revision).cmp(revision),
    };
    match compare.relation {
        Relation::Equal => ordering == Ordering::Equal,
        Relation::NotEqual => ordering != Ordering::Equal,
        Relation::Greater => ordering == Ordering::Greater,
        Relation::Less => ordering == Ordering::Less,
    }
}

/// Whether two records of one version agree in all that both recorded.
pub(crate) fn same_version(left: &Kv, right: &Kv) -> bool {
    let number = |left: i64, right: i64| left == 0 || right == 0 || left == right;
    left.key == right.key
        && left.value == right.value
        && left.mod_revision == right.mod_revision
        && number(left.create_revision, right.create_revision)
        && number(left.version, right.version)
}

impl Expected {
    /// Whether an answer is this one.
    pub(crate) fn agrees(&self, answer: &Answer) -> bool {
        match (self, answer) {
            (Self::Anything, Answer::Get(_)) | (Self::Put, Answer::Put) => true,
            (Self::Get { kvs, count }, Answer::Get(found)) => {
                found.count.is_none_or(|found| found == *count)
                    && kvs.len() == found.kvs.len()
                    && kvs.iter().zip(&found.kvs).all(|(kv, found)| same_version(kv, found))
            }
            (Self::Delete { deleted }, Answer::Delete { deleted: answered }) => deleted == answered,
            (Self::Txn { succeeded, results }, Answer::Txn { succeeded: answered, results: answers }) => {
                succeeded == answered
                    && results.len() == answers.len()
                    && results.iter().zip(answers).all(|(result, answer)| result.agrees(answer))
            }
            _ => false,
        }
    }

    fn as_answer(&self) -> Answer {
        match self {
            Self::Get { kvs, count } => Answer::Get(Found { kvs: kvs.clone(), count: Some(*count) }),
            Self::Anything => Answer::Get(Found::default()),
            Self::Put => Answer::Put,
            Self::Delete { deleted } => Answer::Delete { deleted: *deleted },
            Self::Txn { succeeded, results } => {
                Answer::Txn { succeeded: *succeeded, results: results.iter().map(Self::as_answer).collect() }
            }
        }
    }

    /// Where an answer differs, in words ("it answered …, where … is right"), and the revision that wrote
    /// what it should have seen.
    pub(crate) fn difference(&self, answer: &Answer) -> (String, Option<i64>) {
        if let (Self::Txn { succeeded, results }, Answer::Txn { succeeded: answered, results: answers }) =
            (self, answer)
            && succeeded == answered
        {
            let wrong = results.iter().zip(answers).find(|(result, answer)| !result.agrees(answer));
            if let Some((result, answer)) = wrong {
                return result.difference(answer);
            }
        }
        let (Self::Get { kvs, count }, Answer::Get(found)) = (self, answer) else {
            return (format!("it answered \"{answer}\", where \"{}\" is right", self.as_answer()), None);
        };
        for place in 0..kvs.len().max(found.kvs.len()) {
            let pair = (kvs.get(place), found.kvs.get(place));
            match pair {
                (Some(right), Some(wrong)) if same_version(right, wrong) => {}
                (Some(right), Some(wrong)) if right.key == wrong.key => {
                    let (right_text, wrong_text) = texts(right, wrong);
                    let text = format!("it answered {wrong_text}, where {right_text} is right");
                    return (text, Some(right.mod_revision));
                }
                (Some(right), wrong) if wrong.is_none_or(|wrong| wrong.key > right.key) => {
                    return (format!("it did not see {right}"), Some(right.mod_revision));
                }
                (_, Some(wrong)) => return (format!("it saw {wrong}, which is not there"), None),
                (_, None) => unreachable!("one of the two lists has a place {place}"),
            }
        }
        (format!("it counted {:?} keys, where {count} is right", found.count), None)
    }
}

/// Both versions, with counters where the rest alone would look equal.
fn texts(right: &Kv, wrong: &Kv) -> (String, String) {
    if right.value != wrong.value || right.mod_revision != wrong.mod_revision {
        return (right.to_string(), wrong.to_string());
    }
    let full = |kv: &Kv| format!("{kv} (created at {}, version {})", kv.create_revision, kv.version);
    (full(right), full(wrong))
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_answer())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Put, Txn};

    fn store() -> BTreeMap<Blob, Kv> {
        let kv = Kv { key: "a".into(), value: "1".into(), mod_revision: 3, create_revision: 2, version: 2 };
        BTreeMap::from([("a".into(), kv)])
    }

    fn compare(key: &str, target: Target, relation: Relation) -> bool {
        holds(&store(), &Compare { key: key.into(), target, relation })
    }

    #[test]
    fn comparisons_are_those_of_etcd() {
        assert!(compare("a", Target::Value("1".into()), Relation::Equal));
        assert!(compare("a", Target::Value("0".into()), Relation::Greater));
        assert!(compare("a", Target::ModRevision(3), Relation::Equal));
        assert!(compare("a", Target::CreateRevision(3), Relation::Less));
        assert!(compare("a", Target::Version(3), Relation::NotEqual));
        assert!(compare("b", Target::ModRevision(0), Relation::Equal), "a missing key has revision 0");
        assert!(!compare("b", Target::Value("1".into()), Relation::NotEqual), "a missing key has no value");
    }

    #[test]
    fn the_steps_of_a_transaction_see_each_other() {
        let all = Get { key: "\0".into(), end: Some("\0".into()), ..Get::default() };
        let txn = Input::Txn(Txn {
            compare: vec![],
            then: vec![
                Action::Delete(Delete { key: "a".into(), end: None }),
                Action::Get(Get { key: "a".into(), ..Get::default() }),
                Action::Put(Put { key: "b".into(), value: "2".into() }),
                Action::Get(all),
            ],
            otherwise: vec![],
        });
        let done = evaluate(&store(), &txn, 4);
        let b = Kv { key: "b".into(), value: "2".into(), mod_revision: 4, create_revision: 4, version: 1 };
        let Expected::Txn { succeeded: true, results } = &done.expected else {
            panic!("{:?}", done.expected)
        };
        assert_eq!(results[1], Expected::Get { kvs: vec![], count: 0 });
        assert_eq!(results[3], Expected::Get { kvs: vec![b.clone()], count: 1 });
        assert_eq!(done.changes, [("a".into(), None), ("b".into(), Some(b))]);
    }

    #[test]
    fn a_put_keeps_the_creation_and_counts_the_version() {
        let done = evaluate(&store(), &Input::put("a", "2"), 9);
        let (_, kv) = &done.changes[0];
        let kv = kv.as_ref().unwrap();
        assert_eq!((kv.create_revision, kv.version, kv.mod_revision), (2, 3, 9));
    }

    #[test]
    fn a_delete_of_nothing_changes_nothing() {
        let done = evaluate(&store(), &Input::delete("b"), 9);
        assert_eq!(done.expected, Expected::Delete { deleted: 0 });
        assert!(done.changes.is_empty());
    }

    #[test]
    fn a_difference_is_told_by_its_key() {
        let found = |kvs: Vec<Kv>| Answer::Get(Found { kvs, count: None });
        let right = Expected::Get { kvs: store().into_values().collect(), count: 1 };
        let mut old = store().into_values().next().unwrap();
        (old.value, old.mod_revision) = ("0".into(), 2);
        assert_eq!(right.difference(&found(vec![])), ("it did not see \"a\"=\"1\"@3".into(), Some(3)));
        let (text, revision) = right.difference(&found(vec![old]));
        assert_eq!(
            (text.as_str(), revision),
            ("it answered \"a\"=\"0\"@2, where \"a\"=\"1\"@3 is right", Some(3))
        );
    }
}
