//! Revisions that nobody was told of: which write of unknown outcome made them?
//!
//! A write whose client never heard back may have taken effect at any time after it was called. It is
//! proven to have done so where a read carries its version, or where a revision has no other maker. Which
//! of several it was is decided here: by what was seen of the revision, by when it was first known to
//! exist, and by what later looks at the same keys found. Where that leaves a choice, the replay tries.

use crate::blob::Blob;
use crate::eval::{At, evaluate};
use crate::op::{Action, Input, Outcome, name};
use crate::replay::Replay;
use crate::revisions::{Facts, Seen, known_text, same_change, show_change};
use crate::verdict::{Rule, Violation};
use std::collections::{BTreeMap, BTreeSet};

/// The revisions without an acknowledged write, and the writes that may have made them.
pub(crate) struct Gaps<'a> {
    /// Of each gap of which something was seen: the writes that could have written just that.
    candidates: BTreeMap<i64, Vec<usize>>,
    /// Writes which only one gap can take, and which that gap cannot do without.
    reserved: BTreeMap<usize, i64>,
    /// Writes of unknown outcome, by call.
    unknown: Vec<usize>,
    taken: BTreeMap<usize, i64>,
    count: usize,
    nothing_seen: BTreeMap<&'a Blob, Seen<'a>>,
}

/// What can be done about a gap.
pub(crate) enum Pick {
    /// Any of these, best first; never empty.
    Options(Vec<usize>),
    /// Nothing: the violation says why.
    None(Violation),
}

impl<'a> Gaps<'a> {
    pub(crate) fn find(facts: &Facts<'a>) -> Result<Self, Violation> {
        let operations = &facts.history.operations;
        let mut unknown: Vec<usize> = (0..operations.len())
            .filter(|&place| matches!(operations[place].outcome, Outcome::Unknown { .. }))
            .filter(|&place| operations[place].input.can_write())
            .collect();
        unknown.sort_by_key(|&place| (operations[place].call, place));
        let mut gaps = Self {
            candidates: BTreeMap::new(),
            reserved: BTreeMap::new(),
            unknown,
            taken: BTreeMap::new(),
            count: 0,
            nothing_seen: BTreeMap::new(),
        };
        gaps.count_them(facts)?;
        gaps.reserve();
        Ok(gaps)
    }

    /// Walks over all gaps: each needs a candidate, and all together no more than there are.
    fn count_them(&mut self, facts: &Facts<'a>) -> Result<(), Violation> {
        let operations = &facts.history.operations;
        let by_value = self.by_value(facts);
        let mut made = facts.history.initial.revision;
        // All gaps, without walking over a range that a wrong answer may have made astronomically wide.
        let mut marks: BTreeSet<i64> = facts.writers.keys().copied().collect();
        marks.extend(
            facts.changes.iter().filter(|(_, change)| change.by_store).map(|(&revision, _)| revision),
        );
        marks.insert(facts.head.saturating_add(1));
        for mark in marks {
            for revision in made + 1..mark {
                self.count += 1;
                if let Some(candidates) = self.candidates_for(facts, &by_value, revision) {
                    if candidates.is_empty() {
                        return Err(unexplained(facts, revision));
                    }
                    self.candidates.insert(revision, candidates);
                }
                // Nested sets: what is early enough for one revision is so for all later ones, so it is
                // enough to count.
                let callable = match facts.known_by(revision) {
                    Some((time, _)) => self.unknown.partition_point(|&place| operations[place].call <= time),
                    None => self.unknown.len(),
                };
                if self.count > callable {
                    return Err(too_many(facts, revision, self.count, callable));
                }
            }
            made = made.max(mark);
        }
        Ok(())
    }

    fn by_value(&self, facts: &Facts<'a>) -> BTreeMap<(&'a Blob, &'a Blob), Vec<usize>> {
        let mut map: BTreeMap<(&Blob, &Blob), Vec<usize>> = BTreeMap::new();
        for &place in &self.unknown {
            for (key, value) in puts(&facts.history.operations[place].input) {
                let places = map.entry((key, value)).or_default();
                if places.last() != Some(&place) {
                    places.push(place);
                }
            }
        }
        map
    }

    /// The writes that could have made what was seen of a revision; `None` where nothing was seen.
    fn candidates_for(
        &self,
        facts: &Facts<'a>,
        by_value: &BTreeMap<(&'a Blob, &'a Blob), Vec<usize>>,
        revision: i64,
    ) -> Option<Vec<usize>> {
        let operations = &facts.history.operations;
        let mut wanted: Vec<(&Blob, &Blob)> = Vec::new();
        if let Some(seen) = facts.seen.get(&revision) {
            wanted.extend(seen.values().map(|seen| (&seen.kv.key, &seen.kv.value)));
        }
        if let Some(change) = facts.changes.get(&revision) {
            wanted.extend(change.keys.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))));
        }
        let (&first, rest) = wanted.split_first()?;
        let latest = facts.known_by(revision).map_or(u64::MAX, |(time, _)| time);
        let places = by_value.get(&first).map_or(&[][..], Vec::as_slice);
        let fits = |place: &usize| {
            operations[*place].call <= latest
                && rest.iter().all(|want| by_value.get(want).is_some_and(|places| places.contains(place)))
        };
        Some(places.iter().copied().filter(fits).collect())
    }

    /// A gap with one candidate takes it from all others, which may leave another with one candidate.
    fn reserve(&mut self) {
        let mut open: Vec<i64> = self.candidates.keys().copied().collect();
        loop {
            let before = open.len();
            open.retain(|revision| {
                let mut free =
                    self.candidates[revision].iter().filter(|place| !self.reserved.contains_key(place));
                let single = free.next().copied().filter(|_| free.next().is_none());
                if let Some(place) = single {
                    self.reserved.insert(place, *revision);
                }
                single.is_none()
            });
            if open.len() == before {
                return;
            }
        }
    }

    /// The writes that may make `revision` on top of the replay.
    pub(crate) fn pick(&self, facts: &Facts<'a>, replay: &Replay, revision: i64) -> Pick {
        let operations = &facts.history.operations;
        let latest = facts.known_by(revision).map_or(u64::MAX, |(time, _)| time);
        let pool = self.candidates.get(&revision).unwrap_or(&self.unknown);
        let seen = facts.seen.get(&revision).unwrap_or(&self.nothing_seen);
        let mut options: Vec<usize> = Vec::new();
        for &place in pool {
            let elsewhere = self.reserved.get(&place).is_some_and(|&reserved| reserved != revision);
            if elsewhere || self.taken.contains_key(&place) || operations[place].call > latest {
                continue;
            }
            // Two writes alike are as good as each other; the earlier called has been seen already.
            if options.iter().any(|&option| operations[option].input == operations[place].input) {
                continue;
            }
            let view = At { replay, revision: revision - 1 };
            let changes = evaluate(&view, &operations[place].input, revision).changes;
            let writes = |key: &Blob, value: &Blob| {
                changes
                    .iter()
                    .any(|(changed, kv)| changed == key && kv.as_ref().is_some_and(|kv| kv.value == *value))
            };
            let possible = !changes.is_empty()
                && seen.values().all(|seen| writes(&seen.kv.key, &seen.kv.value))
                && facts.changes.get(&revision).is_none_or(|change| same_change(change, &changes))
                && changes.iter().all(|(key, _)| !contradicted(facts, key, revision));
            if possible {
                options.push(place);
            }
        }
        if options.is_empty() { Pick::None(unexplained(facts, revision)) } else { Pick::Options(options) }
    }

    pub(crate) fn take(&mut self, place: usize, revision: i64) {
        let before = self.taken.insert(place, revision);
        assert!(before.is_none(), "operation {place} made {before:?} and now {revision}");
    }

    /// The operation's revision was undone; acknowledged writes were never taken.
    pub(crate) fn release(&mut self, place: usize) {
        self.taken.remove(&place);
    }

    pub(crate) fn taken(&self) -> BTreeMap<usize, i64> {
        self.taken.clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }
}

/// All that an input may put.
fn puts(input: &Input) -> Vec<(&Blob, &Blob)> {
    match input {
        Input::Put(put) => vec![(&put.key, &put.value)],
        Input::Get(_) | Input::Delete(_) => Vec::new(),
        Input::Txn(txn) => txn
            .then
            .iter()
            .chain(&txn.otherwise)
            .filter_map(|action| match action {
                Action::Put(put) => Some((&put.key, &put.value)),
                Action::Get(_) | Action::Delete(_) => None,
            })
            .collect(),
    }
}

/// Whether the next look at `key` from `revision` on found a version older than that revision, so that
/// nothing can have touched the key there.
fn contradicted(facts: &Facts<'_>, key: &Blob, revision: i64) -> bool {
    let Some(looks) = facts.looks.get(key) else { return false };
    let next = looks.partition_point(|(at, _)| *at < revision);
    matches!(looks.get(next), Some((_, Some(modified))) if *modified < revision)
}

fn unexplained(facts: &Facts<'_>, revision: i64) -> Violation {
    let operations = &facts.history.operations;
    let seen = facts.seen.get(&revision).and_then(|seen| seen.values().next());
    let known = known_text(facts, revision);
    let mut evidence = Vec::new();
    let mut sentence = match (seen, facts.changes.get(&revision)) {
        (Some(seen), _) => format!("{} saw {}", facts.reader(seen.by), seen.kv),
        (None, Some(change)) => format!("the store recorded revision {revision} as {}", show_change(change)),
        (None, None) => format!("revision {revision} exists ({known})"),
    };
    let wrote = |place: usize| {
        seen.is_some_and(|seen| puts(&operations[place].input).contains(&(&seen.kv.key, &seen.kv.value)))
    };
    let author = (0..operations.len()).filter(|&place| wrote(place)).max_by_key(|&place| {
        // The author worth naming: one that was refused tells most.
        matches!(operations[place].outcome, Outcome::Failed { .. })
    });
    match author {
        Some(place) => {
            evidence.push(place);
            let why = match &operations[place].outcome {
                Outcome::Failed { .. } => "which was told that it certainly failed".to_owned(),
                Outcome::Ok { revision, .. } => format!("which was acknowledged with revision {revision}"),
                Outcome::Unknown { .. } => format!("which cannot have made revision {revision} ({known})"),
            };
            sentence += &format!(", written by {}, {why}", name(facts.history, place));
        }
        None => sentence += ", but no operation can have written that",
    }
    let by = seen.and_then(|seen| seen.by).or_else(|| facts.known_by(revision).map(|(_, place)| place));
    evidence.extend(by);
    evidence.dedup();
    let at = by.and_then(|place| operations[place].ret);
    Violation::new(Rule::UnexplainedRevision, sentence).operations(evidence).at(at).revision(revision)
}

fn too_many(facts: &Facts<'_>, revision: i64, gaps: usize, callable: usize) -> Violation {
    let known = known_text(facts, revision);
    let sentence = format!(
        "{gaps} revisions up to {revision} were made by no acknowledged write ({known}), but only {callable} \
         writes of unknown outcome had been called by then"
    );
    let by = facts.known_by(revision).map(|(_, place)| place);
    Violation::new(Rule::UnexplainedRevision, sentence)
        .operations(by)
        .at(by.and_then(|place| facts.history.operations[place].ret))
        .revision(revision)
}
