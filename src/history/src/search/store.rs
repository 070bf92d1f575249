//! Our own histories under the general search: with revisions, as a second opinion on the guided checker,
//! and by value alone, for stores which have none.

use super::{Model, Timed, check};
use crate::blob::Blob;
use crate::budget::Budget;
use crate::eval::evaluate;
use crate::op::{
    Action, Answer, Compare, Found, Get, History, Input, Kv, Outcome, Relation, Snapshot, Target,
};
use crate::replay::within;
use crate::revisions::Final;
use crate::verdict::Verdict;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// An operation of a history, as the models of this file take it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreOp {
    /// What was asked.
    pub input: Input,
    /// Revision and answer, where one came.
    pub answer: Option<(i64, Answer)>,
}

impl StoreOp {
    /// An answer that nothing changed holds only for states which the operation leaves alone.
    fn is_read(&self) -> bool {
        self.answer.as_ref().map_or(!self.input.can_write(), |(_, answer)| !answer.changed())
    }
}

impl fmt::Display for StoreOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.answer {
            Some((revision, answer)) => write!(f, "{}: revision {revision}, {answer}", self.input),
            None => write!(f, "{}", self.input),
        }
    }
}

/// The whole store with its revision: every counter of an answer is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EtcdModel {
    /// What it holds at first.
    pub initial: Snapshot,
}

/// What the store holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Store {
    revision: i64,
    kvs: BTreeMap<Blob, Kv>,
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "revision {}", self.revision)?;
        for kv in self.kvs.values() {
            write!(f, ", {kv}")?;
        }
        Ok(())
    }
}

impl Model for EtcdModel {
    type State = Store;
    type Op = StoreOp;

    fn initial(&self) -> Store {
        let kvs = self.initial.kvs.iter().map(|kv| (kv.key.clone(), kv.clone())).collect();
        Store { revision: self.initial.revision, kvs }
    }

    fn step(&self, state: &Store, op: &StoreOp) -> Option<Store> {
        let done = evaluate(&state.kvs, &op.input, state.revision + 1);
        let revision = state.revision + i64::from(!done.changes.is_empty());
        if let Some((answered, answer)) = &op.answer
            && (*answered != revision || !done.expected.agrees(answer))
        {
            return None;
        }
        let mut after = state.clone();
        after.revision = revision;
        for (key, kv) in done.changes {
            match kv {
                Some(kv) => after.kvs.insert(key, kv),
                None => after.kvs.remove(&key),
            };
        }
        Some(after)
    }

    fn is_read(&self, op: &StoreOp) -> bool {
        op.is_read()
    }
}

/// Values by key, without revisions, judged per group of keys that belong together.
///
/// Comparisons with revisions or versions cannot be decided by value: the answer is believed where one
/// came, and without an answer the first branch is taken to be possible.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ValueKv {
    initial: Values,
    /// Every key the history names, for ranges.
    known: BTreeSet<Blob>,
}

/// What the store holds, by value.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Values(BTreeMap<Blob, Blob>);

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl ValueKv {
    /// A model for these operations: ranges join all the keys that any of them names.
    pub fn new<'a>(initial: &Snapshot, operations: impl IntoIterator<Item = &'a StoreOp>) -> Self {
        let mut known: BTreeSet<Blob> = initial.kvs.iter().map(|kv| kv.key.clone()).collect();
        for op in operations {
            known.extend(
                spans(&op.input).into_iter().filter(|(_, end)| end.is_none()).map(|(key, _)| key.clone()),
            );
            known.extend(op.answer.iter().flat_map(|(_, answer)| answer.kvs()).map(|kv| kv.key.clone()));
        }
        let initial = initial.kvs.iter().map(|kv| (kv.key.clone(), kv.value.clone())).collect();
        Self { initial: Values(initial), known }
    }
}

/// Keys and ranges that an operation touches.
pub(crate) fn spans(input: &Input) -> Vec<(&Blob, Option<&Blob>)> {
    fn of_action(action: &Action) -> (&Blob, Option<&Blob>) {
        match action {
            Action::Get(get) => (&get.key, get.end.as_ref()),
            Action::Put(put) => (&put.key, None),
            Action::Delete(delete) => (&delete.key, delete.end.as_ref()),
        }
    }
    match input {
        Input::Get(get) => vec![(&get.key, get.end.as_ref())],
        Input::Put(put) => vec![(&put.key, None)],
        Input::Delete(delete) => vec![(&delete.key, delete.end.as_ref())],
        Input::Txn(txn) => {
            let compared = txn.compare.iter().map(|compare| (&compare.key, None));
            compared.chain(txn.then.iter().chain(&txn.otherwise).map(of_action)).collect()
        }
    }
}

impl Model for ValueKv {
    type State = Values;
    type Op = StoreOp;

    fn initial(&self) -> Values {
        self.initial.clone()
    }

    fn step(&self, state: &Values, op: &StoreOp) -> Option<Values> {
        let mut after = state.clone();
        let answer = op.answer.as_ref().map(|(_, answer)| answer);
        let agrees = match (&op.input, answer) {
            (Input::Get(get), answer) => after.read(get, answer),
            (Input::Put(put), _) => after.write(&put.key, &put.value),
            (Input::Delete(delete), answer) => after.delete(&delete.key, delete.end.as_ref(), answer),
            (Input::Txn(txn), answer) => {
                let decided = after.decide(&txn.compare);
                let (told, results) = match answer {
                    Some(Answer::Txn { succeeded, results }) => (Some(*succeeded), &results[..]),
                    _ => (None, &[][..]),
                };
                let succeeded = told.or(decided).unwrap_or(true);
                if decided.is_some_and(|decided| decided != succeeded) {
                    return None;
                }
                let branch = if succeeded { &txn.then } else { &txn.otherwise };
                branch.iter().enumerate().all(|(place, action)| match action {
                    Action::Get(get) => after.read(get, results.get(place)),
                    Action::Put(put) => after.write(&put.key, &put.value),
                    Action::Delete(delete) => {
                        after.delete(&delete.key, delete.end.as_ref(), results.get(place))
                    }
                })
            }
        };
        agrees.then_some(after)
    }

    fn is_read(&self, op: &StoreOp) -> bool {
        op.is_read()
    }

    fn keys(&self, op: &StoreOp) -> Option<Vec<Vec<u8>>> {
        let mut keys = Vec::new();
        for (key, end) in spans(&op.input) {
            match end {
                None => keys.push(key.as_slice().to_vec()),
                Some(_) => {
                    let inside = self.known.iter().filter(|known| within(known, key, end));
                    keys.extend(inside.map(|known| known.as_slice().to_vec()));
                }
            }
        }
        Some(keys)
    }
}

impl Values {
    fn range(&self, key: &Blob, end: Option<&Blob>) -> impl Iterator<Item = (&Blob, &Blob)> {
        crate::replay::span(key, end).into_iter().flat_map(|span| self.0.range(span))
    }

    fn read(&self, get: &Get, answer: Option<&Answer>) -> bool {
        let Some(Answer::Get(found)) = answer else { return answer.is_none() };
        let limit = if get.limit > 0 { get.limit as usize } else { usize::MAX };
        let right = self.range(&get.key, get.end.as_ref()).take(limit);
        right.eq(found.kvs.iter().map(|kv| (&kv.key, &kv.value)))
            && found.count.is_none_or(|count| count == self.range(&get.key, get.end.as_ref()).count() as u64)
    }

    fn write(&mut self, key: &Blob, value: &Blob) -> bool {
        self.0.insert(key.clone(), value.clone());
        true
    }

    fn delete(&mut self, key: &Blob, end: Option<&Blob>, answer: Option<&Answer>) -> bool {
        let doomed: Vec<Blob> = self.range(key, end).map(|(key, _)| key.clone()).collect();
        for key in &doomed {
            self.0.remove(key);
        }
        match answer {
            None => true,
            Some(Answer::Delete { deleted }) => *deleted == doomed.len() as u64,
            Some(_) => false,
        }
    }

    /// Whether all comparisons hold; `None` where values alone cannot say.
    fn decide(&self, compares: &[Compare]) -> Option<bool> {
        let mut decided = Some(true);
        for compare in compares {
            match self.decide_one(compare) {
                Some(false) => return Some(false),
                Some(true) => {}
                None => decided = None,
            }
        }
        decided
    }

    fn decide_one(&self, compare: &Compare) -> Option<bool> {
        let held = self.0.get(&compare.key);
        match (&compare.target, compare.relation) {
            (Target::Value(value), relation) => Some(held.is_some_and(|held| match relation {
                Relation::Equal => held == value,
                Relation::NotEqual => held != value,
                Relation::Greater => held > value,
                Relation::Less => held < value,
            })),
            // Counters of a missing key are 0, and of any other above it.
            (
                Target::Version(0) | Target::CreateRevision(0) | Target::ModRevision(0),
                Relation::Equal | Relation::NotEqual | Relation::Greater,
            ) => Some(held.is_none() == (compare.relation == Relation::Equal)),
            (
                Target::Version(number) | Target::CreateRevision(number) | Target::ModRevision(number),
                relation,
            ) if held.is_none() => Some(match relation {
                Relation::Equal => *number == 0,
                Relation::NotEqual => *number != 0,
                Relation::Greater => *number < 0,
                Relation::Less => *number > 0,
            }),
            _ => None,
        }
    }
}

/// The general search over the store with revisions: slower than [`crate::check_revisions`], and
/// independent of it in how it orders operations. Serializable reads and reads of old revisions are left
/// out.
#[must_use]
pub fn check_exact(history: &History, finale: &Final, budget: Budget) -> Verdict {
    let mut operations = timed(history);
    if let Some(state) = &finale.state {
        let found = Found { kvs: state.kvs.clone(), count: None };
        let answer = Some((state.revision, Answer::Get(found)));
        operations.push(last(history, &operations, StoreOp { input: Input::get_prefix(""), answer }));
    }
    let model = EtcdModel { initial: history.initial.clone() };
    within_history(check(&model, &operations, budget), history)
}

/// The general search by value, per group of keys; revisions are not looked at. Serializable reads and
/// reads of old revisions are left out.
#[must_use]
pub fn check_values(history: &History, finale: &Final, budget: Budget) -> Verdict {
    let mut operations = timed(history);
    if let Some(state) = &finale.state {
        // Key by key, so that the final read does not tie all keys together.
        let named = ValueKv::new(&history.initial, operations.iter().map(|operation| &operation.op)).known;
        let keys: BTreeSet<Blob> =
            named.into_iter().chain(state.kvs.iter().map(|kv| kv.key.clone())).collect();
        let reads: Vec<_> = keys
            .into_iter()
            .map(|key| {
                let kvs = state.kvs.iter().filter(|kv| kv.key == key).cloned().collect();
                let answer = Some((state.revision, Answer::Get(Found { kvs, count: None })));
                last(history, &operations, StoreOp { input: Input::get(key), answer })
            })
            .collect();
        operations.extend(reads);
    }
    let model = ValueKv::new(&history.initial, operations.iter().map(|operation| &operation.op));
    within_history(check(&model, &operations, budget), history)
}

fn timed(history: &History) -> Vec<Timed<StoreOp>> {
    let mut operations = Vec::new();
    for (id, operation) in history.operations.iter().enumerate() {
        let old = matches!(&operation.input, Input::Get(get) if get.revision > 0);
        let (ret, answer) = match &operation.outcome {
            Outcome::Ok { revision, result } => (operation.ret, Some((*revision, result.clone()))),
            Outcome::Unknown { .. } if operation.input.can_write() => (None, None),
            Outcome::Unknown { .. } | Outcome::Failed { .. } => continue,
        };
        if old || operation.input.is_serializable() {
            continue;
        }
        let op = StoreOp { input: operation.input.clone(), answer };
        operations.push(Timed { id, client: operation.client.into(), call: operation.call, ret, op });
    }
    operations
}

/// A read after everything else.
fn last(history: &History, operations: &[Timed<StoreOp>], op: StoreOp) -> Timed<StoreOp> {
    let end =
        operations.iter().map(|operation| operation.ret.unwrap_or(operation.call)).max().unwrap_or(0) + 1;
    Timed { id: history.operations.len(), client: u64::MAX, call: end, ret: Some(end), op }
}

/// The final read is no operation of the history.
fn within_history(verdict: Verdict, history: &History) -> Verdict {
    match verdict {
        Verdict::Violation(mut violation) => {
            violation.operations.retain(|&place| place < history.operations.len());
            Verdict::Violation(violation)
        }
        other => other,
    }
}
