//! Linearizability guided by revisions.
//!
//! Every answer of an etcd-like store carries a revision, so the order of the writes need not be searched
//! for: it is written down. What remains is to check, in O(n log n):
//!
//! 1. no two writes have the same revision;
//! 2. revisions agree with real time: an operation that began after another had ended has at least its
//!    revision, and a greater one where it wrote ([`crate::order`]);
//! 3. every revision was made by a write: an acknowledged one, or one whose outcome is unknown; what was
//!    refused has made none ([`crate::gaps`] decides which unknown write made which revision);
//! 4. every answer is what the replayed state at its revision makes it: linearizable and serializable
//!    reads, branches of transactions, counts of deletes;
//! 5. the state at the end is that of the replay, and no acknowledged write is missing in it.
//!
//! Together these suffice: ordered by revision, each write before the reads of its revision, and those by
//! their call, the operations form a sequential history that agrees with real time and with every answer.
//!
//! What it does not see: a write whose outcome is unknown and which left no trace is taken not to have
//! happened; and a history without a final state says nothing about what a later read would have found.

use crate::blob::Blob;
use crate::budget::Budget;
use crate::eval::{At, Evaluation, evaluate, same_version};
use crate::gaps::{Gaps, Pick};
use crate::op::{Answer, History, Input, Kv, Operation, Snapshot, name, seconds};
use crate::order;
use crate::replay::Replay;
use crate::verdict::{Rule, Verdict, Violation};
use std::collections::BTreeMap;

/// What is known from elsewhere when all is over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Final {
    /// The whole store, read linearizably after every operation had ended.
    pub state: Option<Snapshot>,
    /// Changes as a member's store or a watch on all keys recorded them; need not be complete. They save
    /// guessing which of several unknown writes made a revision.
    pub changes: Vec<Change>,
}

impl Final {
    /// Only the final read.
    #[must_use]
    pub fn read(state: Snapshot) -> Self {
        Self { state: Some(state), changes: Vec::new() }
    }
}

/// What one revision changed, all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Change {
    /// The revision.
    pub revision: i64,
    /// The keys, each with its new value or `None` for deleted.
    pub keys: BTreeMap<Blob, Option<Blob>>,
    /// The store did this by itself, as when a lease ran out; no client's operation is looked for.
    pub by_store: bool,
}

/// A history that holds, with the order that shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Explained {
    /// All states. Each step names the operation that made it.
    pub replay: Replay,
    /// The writes with unknown outcome which did happen, with the revision each made.
    pub happened: BTreeMap<usize, i64>,
}

/// Whether the history is linearizable, its serializable reads are right, and nothing acknowledged is lost.
#[must_use]
pub fn check_revisions(history: &History, finale: &Final) -> Verdict {
    match explain(history, finale, Budget::default()) {
        Ok(_) => Verdict::Ok,
        Err(verdict) => verdict,
    }
}

/// As [`check_revisions`], with the evidence that it holds: the replay which watch checks need.
///
/// # Errors
/// The violation, or unknown where the budget was too small to say which unknown write made which revision.
/// Never [`Verdict::Ok`].
pub fn explain(history: &History, finale: &Final, budget: Budget) -> Result<Explained, Verdict> {
    order::well_formed(history)?;
    let facts = Facts::collect(history, finale)?;
    order::real_time(history, finale)?;
    let gaps = Gaps::find(&facts)?;
    Walk::new(&facts, gaps, budget).run()
}

/// What the answers say, by revision.
pub(crate) struct Facts<'a> {
    pub(crate) history: &'a History,
    pub(crate) finale: &'a Final,
    /// The acknowledged write of each revision.
    pub(crate) writers: BTreeMap<i64, usize>,
    /// Answered operations that changed nothing, by the revision of their answer.
    pub(crate) readers: BTreeMap<i64, Vec<usize>>,
    /// What each revision wrote, as reads and the final state saw it.
    pub(crate) seen: BTreeMap<i64, BTreeMap<&'a Blob, Seen<'a>>>,
    /// Per key: the revisions at which it was looked at, with the modification revision found (`None`:
    /// missing), in order of revision.
    pub(crate) looks: BTreeMap<&'a Blob, Vec<(i64, Option<i64>)>>,
    pub(crate) changes: BTreeMap<i64, &'a Change>,
    /// The newest revision anything speaks of.
    pub(crate) head: i64,
    /// When which revision was first known to exist: (revision, time, operation), both rising.
    known_by: Vec<(i64, u64, usize)>,
}

/// A version of a key that someone saw.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) kv: &'a Kv,
    /// The operation that saw it; `None`: the final read.
    pub(crate) by: Option<usize>,
}

impl<'a> Facts<'a> {
    fn collect(history: &'a History, finale: &'a Final) -> Result<Self, Violation> {
        let mut facts = Self {
            history,
            finale,
            writers: BTreeMap::new(),
            readers: BTreeMap::new(),
            seen: BTreeMap::new(),
            looks: BTreeMap::new(),
            changes: BTreeMap::new(),
            head: history.initial.revision,
            known_by: Vec::new(),
        };
        for (place, operation) in history.operations.iter().enumerate() {
            facts.add_operation(place, operation)?;
        }
        if let Some(state) = &finale.state {
            facts.head = facts.head.max(state.revision);
            for kv in &state.kvs {
                facts.add_seen(kv, None)?;
                facts.looks.entry(&kv.key).or_default().push((state.revision, Some(kv.mod_revision)));
            }
        }
        for change in &finale.changes {
            facts.add_change(change)?;
        }
        for looks in facts.looks.values_mut() {
            looks.sort_unstable();
        }
        facts.fill_known_by();
        Ok(facts)
    }

    fn add_operation(&mut self, place: usize, operation: &'a Operation) -> Result<(), Violation> {
        let Some((revision, answer)) = operation.outcome.answered() else { return Ok(()) };
        self.head = self.head.max(revision);
        if answer.changed() {
            if let Some(&other) = self.writers.get(&revision) {
                return Err(self.duplicate(revision, other, place));
            }
            self.writers.insert(revision, place);
        } else {
            self.readers.entry(revision).or_default().push(place);
        }
        for kv in answer.kvs() {
            self.add_seen(kv, Some(place))?;
        }
        if let (Input::Get(get), Answer::Get(found)) = (&operation.input, answer) {
            let at = if get.revision > 0 { get.revision } else { revision };
            if get.end.is_none() {
                let modified = found.kvs.first().map(|kv| kv.mod_revision);
                self.looks.entry(&get.key).or_default().push((at, modified));
            } else {
                for kv in &found.kvs {
                    self.looks.entry(&kv.key).or_default().push((at, Some(kv.mod_revision)));
                }
            }
        }
        Ok(())
    }

    fn duplicate(&self, revision: i64, other: usize, place: usize) -> Violation {
        let (first, second) = (name(self.history, other), name(self.history, place));
        let sentence = format!("{first} and {second} were both acknowledged with revision {revision}");
        let at = self.history.operations[other].ret.max(self.history.operations[place].ret);
        Violation::new(Rule::DuplicateRevision, sentence).operations([other, place]).at(at).revision(revision)
    }

    fn add_seen(&mut self, kv: &'a Kv, by: Option<usize>) -> Result<(), Violation> {
        self.head = self.head.max(kv.mod_revision);
        let before = *self.seen.entry(kv.mod_revision).or_default().entry(&kv.key).or_insert(Seen { kv, by });
        if same_version(before.kv, kv) {
            return Ok(());
        }
        let (first, second) = (self.reader(before.by), self.reader(by));
        let (left, right) = (before.kv, kv);
        let counters = |kv: &Kv| format!("{kv} (created at {}, version {})", kv.create_revision, kv.version);
        let sentence = format!("{first} saw {}, but {second} saw {}", counters(left), counters(right));
        // The final read is the last to be added.
        let rule = if by.is_none() { Rule::FinalState } else { Rule::Contradiction };
        Err(Violation::new(rule, sentence)
            .operations(before.by.into_iter().chain(by))
            .at(by.and_then(|by| self.history.operations[by].ret))
            .revision(kv.mod_revision))
    }

    pub(crate) fn reader(&self, by: Option<usize>) -> String {
        by.map_or_else(|| "the final read".to_owned(), |place| name(self.history, place))
    }

    fn add_change(&mut self, change: &'a Change) -> Result<(), Violation> {
        let revision = change.revision;
        self.head = self.head.max(revision);
        if let Some(other) = self.changes.insert(revision, change)
            && other != change
        {
            let sentence = format!("revision {revision} was recorded with two different contents");
            return Err(Violation::new(Rule::Contradiction, sentence).revision(revision));
        }
        if let (true, Some(&writer)) = (change.by_store, self.writers.get(&revision)) {
            let sentence = format!(
                "{} was acknowledged with revision {revision}, which the store made by itself",
                name(self.history, writer)
            );
            return Err(Violation::new(Rule::Contradiction, sentence)
                .operations([writer])
                .at(self.history.operations[writer].ret)
                .revision(revision));
        }
        Ok(())
    }

    fn fill_known_by(&mut self) {
        let mut answers: Vec<(i64, u64, usize)> = Vec::new();
        for (place, operation) in self.history.operations.iter().enumerate() {
            if let (Some((revision, _)), Some(ret)) = (operation.outcome.answered(), operation.ret) {
                answers.push((revision, ret, place));
            }
        }
        answers.sort_unstable_by(|left, right| right.cmp(left));
        for answer in answers {
            match self.known_by.last() {
                Some(last) if last.1 <= answer.1 => {}
                Some(last) if last.0 == answer.0 => *self.known_by.last_mut().expect("just seen") = answer,
                _ => self.known_by.push(answer),
            }
        }
        self.known_by.reverse();
    }

    /// The first answer by which `revision` must have existed: its time and operation.
    pub(crate) fn known_by(&self, revision: i64) -> Option<(u64, usize)> {
        let place = self.known_by.partition_point(|known| known.0 < revision);
        self.known_by.get(place).map(|&(_, time, operation)| (time, operation))
    }

    /// Where a revision was made by an operation that a reader of a sentence will want to see.
    fn writer_name(&self, replay: &Replay, revision: Option<i64>) -> (String, Option<usize>) {
        let writer = revision.and_then(|revision| replay.step(revision)).and_then(|step| step.operation);
        match writer {
            Some(place) => (format!(" (written by {})", name(self.history, place)), Some(place)),
            None => (String::new(), None),
        }
    }
}

/// The replay, revision by revision, with choices where several unknown writes may have made one.
struct Walk<'a> {
    facts: &'a Facts<'a>,
    gaps: Gaps<'a>,
    replay: Replay,
    steps_left: u64,
    choices: Vec<Choice>,
    /// There was more than one way somewhere.
    chose: bool,
    /// The violation that came latest: the best that could be done.
    furthest: Option<(i64, Violation)>,
}

struct Choice {
    revision: i64,
    options: Vec<usize>,
    next: usize,
}

impl<'a> Walk<'a> {
    fn new(facts: &'a Facts<'a>, gaps: Gaps<'a>, budget: Budget) -> Self {
        Self {
            facts,
            gaps,
            replay: Replay::new(&facts.history.initial),
            steps_left: budget.steps,
            choices: Vec::new(),
            chose: false,
            furthest: None,
        }
    }

    fn run(mut self) -> Result<Explained, Verdict> {
        let mut went_well = self.check_answers();
        loop {
            match went_well {
                Ok(()) if self.replay.head() == self.facts.head => break,
                Ok(()) => went_well = self.advance(),
                Err(violation) => {
                    let revision = self.replay.head();
                    if self.furthest.as_ref().is_none_or(|(furthest, _)| *furthest < revision) {
                        self.furthest = Some((revision, violation));
                    }
                    match self.retry() {
                        Some(outcome) => went_well = outcome,
                        None => return Err(self.give_up().into()),
                    }
                }
            }
            if self.steps_left == 0 {
                let why = format!(
                    "gave up at revision {} of {}: too many ways to say which write of unknown outcome made \
                     which of {} revisions (a record of the store's changes would decide it)",
                    self.replay.head(),
                    self.facts.head,
                    self.gaps.len()
                );
                return Err(Verdict::Unknown { why });
            }
            self.steps_left -= 1;
        }
        Ok(Explained { happened: self.gaps.taken(), replay: self.replay })
    }

    /// All choices are used up: what came furthest is the evidence.
    fn give_up(self) -> Violation {
        let (_, mut violation) = self.furthest.expect("nothing is given up without a violation");
        if self.chose {
            violation.sentence += "; no other choice of the writes of unknown outcome comes further";
        }
        violation
    }

    /// Makes the next revision.
    fn advance(&mut self) -> Result<(), Violation> {
        let revision = self.replay.head() + 1;
        if let Some(&writer) = self.facts.writers.get(&revision) {
            return self.acknowledged(writer, revision);
        }
        if let Some(change) = self.facts.changes.get(&revision).filter(|change| change.by_store) {
            self.by_store(change);
            return self.check_answers();
        }
        match self.gaps.pick(self.facts, &self.replay, revision) {
            Pick::None(violation) => Err(violation),
            Pick::Options(options) => {
                self.chose |= options.len() > 1;
                self.choices.push(Choice { revision, options, next: 0 });
                self.take_next().expect("a fresh choice has an option")
            }
        }
    }

    /// Goes back to the last choice with an option left and takes that.
    fn retry(&mut self) -> Option<Result<(), Violation>> {
        loop {
            let revision = self.choices.last()?.revision;
            while self.replay.head() >= revision {
                let step = self.replay.pop().expect("the head is above the base");
                if let Some(operation) = step.operation {
                    self.gaps.release(operation);
                }
            }
            match self.take_next() {
                Some(outcome) => return Some(outcome),
                None => self.choices.pop(),
            };
        }
    }

    /// Takes the next option of the last choice.
    fn take_next(&mut self) -> Option<Result<(), Violation>> {
        let choice = self.choices.last_mut()?;
        let operation = *choice.options.get(choice.next)?;
        choice.next += 1;
        let revision = self.replay.head() + 1;
        let (_, changes) = self.evaluate(operation, revision);
        self.gaps.take(operation, revision);
        self.replay.push(Some(operation), changes);
        Some(self.check_answers())
    }

    fn evaluate(&self, operation: usize, revision: i64) -> (crate::eval::Expected, Vec<(Blob, Option<Kv>)>) {
        let view = At { replay: &self.replay, revision: revision - 1 };
        let Evaluation { expected, changes } =
            evaluate(&view, &self.facts.history.operations[operation].input, revision);
        (expected, changes)
    }

    fn acknowledged(&mut self, writer: usize, revision: i64) -> Result<(), Violation> {
        let (expected, changes) = self.evaluate(writer, revision);
        let (_, answer) =
            self.facts.history.operations[writer].outcome.answered().expect("a writer has answered");
        if !expected.agrees(answer) {
            return Err(self.wrong_answer(writer, revision, revision - 1, &expected, answer));
        }
        assert!(!changes.is_empty(), "operation {writer} agrees that it changed something, and did not");
        if let Some(change) = self.facts.changes.get(&revision)
            && !same_change(change, &changes)
        {
            let sentence = format!(
                "{} was acknowledged with revision {revision}, but the store recorded {} there",
                name(self.facts.history, writer),
                show_change(change)
            );
            return Err(Violation::new(Rule::Contradiction, sentence)
                .operations([writer])
                .at(self.facts.history.operations[writer].ret)
                .revision(revision));
        }
        self.replay.push(Some(writer), changes);
        self.check_answers()
    }

    fn by_store(&mut self, change: &Change) {
        let revision = change.revision;
        let changes = change
            .keys
            .iter()
            .map(|(key, value)| {
                let before = self.replay.get(key, revision - 1);
                let kv = value.as_ref().map(|value| Kv {
                    key: key.clone(),
                    value: value.clone(),
                    mod_revision: revision,
                    create_revision: before.map_or(revision, |before| before.create_revision),
                    version: before.map_or(1, |before| before.version + 1),
                });
                (key.clone(), kv)
            })
            .collect();
        self.replay.push(None, changes);
    }

    /// Everything that was answered at the revision just made.
    fn check_answers(&mut self) -> Result<(), Violation> {
        let revision = self.replay.head();
        let readers = self.facts.readers.get(&revision).map_or(&[][..], Vec::as_slice);
        for &reader in readers {
            let operation = &self.facts.history.operations[reader];
            let (_, answer) = operation.outcome.answered().expect("a reader has answered");
            let view = At { replay: &self.replay, revision };
            let evaluation = evaluate(&view, &operation.input, revision + 1);
            if !evaluation.expected.agrees(answer) {
                return Err(self.wrong_answer(reader, revision, revision, &evaluation.expected, answer));
            }
        }
        match &self.facts.finale.state {
            Some(state) if state.revision == revision => self.check_final(state),
            _ => Ok(()),
        }
    }

    fn wrong_answer(
        &self,
        place: usize,
        revision: i64,
        state: i64,
        expected: &crate::eval::Expected,
        answer: &Answer,
    ) -> Violation {
        let operation = &self.facts.history.operations[place];
        let (difference, written) = expected.difference(answer);
        let (by, writer) = self.facts.writer_name(&self.replay, written);
        let rule = if operation.input.is_serializable() { Rule::SerializableRead } else { Rule::WrongAnswer };
        let sentence = format!(
            "{} answered at revision {revision}; on the state at revision {state} {difference}{by}",
            name(self.facts.history, place)
        );
        Violation::new(rule, sentence)
            .operations(writer.into_iter().filter(|writer| *writer != place).chain([place]))
            .at(operation.ret)
            .revision(revision)
    }

    fn check_final(&self, state: &Snapshot) -> Result<(), Violation> {
        let revision = state.revision;
        let right = self.replay.snapshot(revision);
        let mut found: BTreeMap<&Blob, &Kv> = state.kvs.iter().map(|kv| (&kv.key, kv)).collect();
        for kv in &right.kvs {
            let wrong = match found.remove(&kv.key) {
                Some(other) if same_version(kv, other) => continue,
                Some(other) => format!("holds {other} instead"),
                None => "does not have the key".to_owned(),
            };
            let (by, writer) = self.facts.writer_name(&self.replay, Some(kv.mod_revision));
            let acknowledged = self.facts.writers.contains_key(&kv.mod_revision);
            let rule = if acknowledged { Rule::Durability } else { Rule::FinalState };
            let sentence = format!("{kv}{by} is lost: the final read at revision {revision} {wrong}");
            return Err(Violation::new(rule, sentence).operations(writer).revision(revision));
        }
        match found.into_values().next() {
            None => Ok(()),
            Some(extra) => {
                let step = self
                    .replay
                    .steps()
                    .iter()
                    .rev()
                    .find(|step| step.changes.iter().any(|(key, kv)| *key == extra.key && kv.is_none()));
                let deleted =
                    step.map(|step| format!(", deleted at revision {}", step.revision)).unwrap_or_default();
                let writer = step.and_then(|step| step.operation);
                let acknowledged = step.is_some_and(|step| self.facts.writers.contains_key(&step.revision));
                let rule = if acknowledged { Rule::Durability } else { Rule::FinalState };
                let sentence = format!(
                    "the final read at revision {revision} found {extra}, which should not be there{deleted}"
                );
                Err(Violation::new(rule, sentence).operations(writer).revision(revision))
            }
        }
    }
}

/// Whether a replayed step is what the store recorded.
pub(crate) fn same_change(change: &Change, changes: &[(Blob, Option<Kv>)]) -> bool {
    change.keys.len() == changes.len()
        && changes
            .iter()
            .all(|(key, kv)| change.keys.get(key) == Some(&kv.as_ref().map(|kv| kv.value.clone())))
}

/// A recorded change for people.
pub(crate) fn show_change(change: &Change) -> String {
    let parts: Vec<String> = change
        .keys
        .iter()
        .map(|(key, value)| match value {
            Some(value) => format!("{key}={value}"),
            None => format!("{key} deleted"),
        })
        .collect();
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

/// `#7, which …` for the sentences about revisions.
pub(crate) fn known_text(facts: &Facts<'_>, revision: i64) -> String {
    match facts.known_by(revision) {
        Some((time, place)) => format!("known by {} through {}", seconds(time), name(facts.history, place)),
        None => "seen only at the end".to_owned(),
    }
}
