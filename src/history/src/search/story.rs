//! A history that is not linearizable, made small and put into words.
//!
//! What is left out is left out so that the rest still proves the failure: if the whole were linearizable, so
//! would be the rest. Four things keep to that:
//!
//! 1. The history ends with the first answer at which no order is left; what is open then is open, with its
//!    answer unheard. Every shorter beginning is linearizable, so this one answer is what cannot be.
//! 2. What ended before a write that replaces everything goes, where nothing that overlaps the write
//!    depends on what was before.
//! 3. Reads, and swaps that were refused, only restrict; each goes that is not needed for the failure.
//! 4. A write goes of which no answer that is left could have needed the value ([`Tell::needs`]).
//!
//! A write is never left out for any other reason: without it, what read its value would look wrong. And the
//! last write to bring about what the wrong answer shows stays for the reader's sake: a read of what nobody
//! wrote would be another failure than a read of what was there before.

use super::frontier::states_within;
use super::{Tell, Timed, check_while, partition};
use crate::budget::Budget;
use crate::verdict::Verdict;
use std::collections::BTreeSet;

#[cfg(test)]
mod tests;

/// Why a history is not linearizable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story<O, S> {
    /// The operation whose answer no order explains: until then one did.
    pub culprit: Timed<O>,
    /// Whether every beginning of the history that ends before this answer was shown to be linearizable.
    pub is_first: bool,
    /// All that was open at some moment while the culprit was, in order of call; not the culprit.
    pub open: Vec<Timed<O>>,
    /// The states that the culprit can have met, and whether it fits there. Where it does, what had been
    /// answered by then does not.
    pub states: Vec<(S, bool)>,
    /// Whether these are all states of the whole history, and not of its small part alone.
    pub states_are_exact: bool,
    /// The last operation to bring about what the culprit saw.
    pub origin: Option<Timed<O>>,
    /// One that came after the origin, and before the culprit, and left something else.
    pub replaced_by: Option<Timed<O>>,
    /// One that had ended, and is not to be seen in the culprit's answer.
    pub missing: Option<Timed<O>>,
    /// A small part that is not linearizable either, the culprit last; by call.
    pub small: Vec<Timed<O>>,
}

/// What may be spent on an explanation.
#[derive(Clone, Copy)]
pub struct Spend<'a> {
    /// For each search.
    pub budget: Budget,
    /// Asked between searches and now and then within.
    pub goes_on: &'a dyn Fn() -> bool,
}

/// At most so many configurations are looked at to say which states were possible.
const CONFIGURATIONS_MAX: usize = 40_000;

/// Explains why these operations are not linearizable. `None` where they are, or where the budget does not
/// show that they are not.
pub fn explain<M: Tell>(
    model: &M,
    operations: &[Timed<M::Op>],
    spend: Spend<'_>,
) -> Option<Story<M::Op, M::State>> {
    let teller = Teller { model, spend };
    for part in partition(model, operations) {
        let part: Vec<Timed<M::Op>> = part.into_iter().map(|place| operations[place].clone()).collect();
        if teller.fails(&part) == Some(true) {
            return Some(teller.story(&part));
        }
    }
    None
}

/// A history up to one of its answers.
struct Beginning<O> {
    operations: Vec<Timed<O>>,
    /// The answer it ends with.
    culprit: Timed<O>,
    /// Whether all shorter ones were shown to be linearizable.
    is_first: bool,
}

struct Teller<'a, M> {
    model: &'a M,
    spend: Spend<'a>,
}

impl<M: Tell> Teller<'_, M> {
    /// Whether these are shown not to be linearizable; `None`: cannot say.
    fn fails(&self, operations: &[Timed<M::Op>]) -> Option<bool> {
        match check_while(self.model, operations, self.spend.budget, self.spend.goes_on) {
            Verdict::Ok => Some(false),
            Verdict::Violation(_) => Some(true),
            Verdict::Unknown { .. } => None,
        }
    }

    fn story(&self, all: &[Timed<M::Op>]) -> Story<M::Op, M::State> {
        let Beginning { operations: beginning, culprit, is_first } = self.shortest_beginning(all);
        let window = (culprit.call, culprit.ret.expect("the culprit has an answer"));
        let others: Vec<Timed<M::Op>> =
            beginning.iter().filter(|operation| operation.id != culprit.id).cloned().collect();
        let origin = others
            .iter()
            .filter(|one| !self.model.is_read(&one.op) && self.model.is_origin(&one.op, &culprit.op))
            .max_by_key(|one| (one.ret.is_some(), one.ret, one.call));
        let kept = [culprit.id, origin.map_or(culprit.id, |origin| origin.id)];
        let small = self.small(beginning.clone(), kept);
        let mut states_are_exact = true;
        let states = states_within(self.model, &others, window, CONFIGURATIONS_MAX).unwrap_or_else(|| {
            states_are_exact = false;
            let others: Vec<_> = small.iter().filter(|one| one.id != culprit.id).cloned().collect();
            states_within(self.model, &others, window, CONFIGURATIONS_MAX).unwrap_or_default()
        });
        let fits = |state: &M::State| self.model.step(state, &culprit.op).is_some();
        let states = states.into_iter().map(|state| (state.clone(), fits(&state))).collect();
        let ended = |operation: &&Timed<M::Op>| operation.ret.is_some_and(|ret| ret < culprit.call);
        let replaced_by = origin.and_then(|origin| {
            let origin_ret = origin.ret?;
            others
                .iter()
                .filter(ended)
                .filter(|one| one.call > origin_ret && !self.model.is_read(&one.op))
                .filter(|one| !self.model.is_origin(&one.op, &culprit.op))
                .min_by_key(|one| one.ret)
        });
        let last_reset = others
            .iter()
            .filter(|one| self.model.resets(&one.op))
            .map(|one| one.ret.unwrap_or(u64::MAX))
            .max();
        let missing = others
            .iter()
            .filter(ended)
            .filter(|one| self.model.is_missing(&one.op, &culprit.op))
            .filter(|one| last_reset.is_none_or(|reset| reset < one.call))
            .min_by_key(|one| one.ret);
        Story {
            is_first,
            states,
            states_are_exact,
            origin: origin.cloned(),
            replaced_by: replaced_by.cloned(),
            missing: missing.cloned(),
            open: others
                .iter()
                .filter(|one| one.call <= window.1 && one.ret.is_none_or(|ret| ret >= window.0))
                .cloned()
                .collect(),
            small,
            culprit,
        }
    }

    /// The history up to the answers at `end`: later calls are not there, later answers not heard.
    fn beginning(&self, all: &[Timed<M::Op>], end: u64) -> Vec<Timed<M::Op>> {
        let mut beginning = Vec::new();
        for operation in all.iter().filter(|operation| operation.call <= end) {
            if operation.ret.is_some_and(|ret| ret <= end) {
                beginning.push(operation.clone());
            } else if let Some(op) = self.model.unanswered(&operation.op) {
                beginning.push(Timed { op, ret: None, ..operation.clone() });
            }
        }
        beginning
    }

    /// The shortest beginning that fails, with its last answer. The beginnings of what is linearizable are
    /// so as well; so the place can be found by halving.
    fn shortest_beginning(&self, all: &[Timed<M::Op>]) -> Beginning<M::Op> {
        let mut ends: Vec<u64> = all.iter().filter_map(|operation| operation.ret).collect();
        ends.sort_unstable();
        ends.dedup();
        // Invariant: the beginning up to `ends[fails]` fails; every one before `fine` is linearizable.
        let (mut fine, mut fails, mut is_first) = (0, ends.len() - 1, true);
        while fine < fails {
            let middle = fine + (fails - fine) / 2;
            match self.fails(&self.beginning(all, ends[middle])) {
                Some(true) => fails = middle,
                Some(false) => fine = middle + 1,
                None => {
                    is_first = false;
                    fine = middle + 1;
                }
            }
        }
        let beginning = self.beginning(all, ends[fails]);
        // Several may end at one instant: the one without whose answer the rest is fine.
        let mut last: Vec<&Timed<M::Op>> =
            beginning.iter().filter(|operation| operation.ret == Some(ends[fails])).collect();
        last.sort_by_key(|operation| self.model.always_fits(&operation.op));
        let without_its_answer = |culprit: &Timed<M::Op>| -> Vec<Timed<M::Op>> {
            let unheard = |operation: &Timed<M::Op>| {
                if operation.id != culprit.id {
                    return Some(operation.clone());
                }
                let op = self.model.unanswered(&operation.op)?;
                Some(Timed { op, ret: None, ..operation.clone() })
            };
            beginning.iter().filter_map(unheard).collect()
        };
        let culprit = last
            .iter()
            .find(|culprit| last.len() > 1 && self.fails(&without_its_answer(culprit)) == Some(false))
            .or(last.first())
            .map(|&culprit| culprit.clone())
            .expect("an answer ends the beginning");
        Beginning { operations: beginning, culprit, is_first }
    }

    /// Leaves out what the failure does not need.
    fn small(&self, beginning: Vec<Timed<M::Op>>, kept: [usize; 2]) -> Vec<Timed<M::Op>> {
        let mut left = self.after_a_reset(beginning, kept);
        self.drop_in_chunks(&mut left, kept);
        loop {
            let before = left.len();
            self.drop_unneeded_writes(&mut left, kept);
            if left.len() == before {
                return left;
            }
            self.drop_in_chunks(&mut left, kept);
        }
    }

    fn is_droppable_read(&self, operation: &Timed<M::Op>, kept: [usize; 2]) -> bool {
        !kept.contains(&operation.id) && self.model.is_read(&operation.op)
    }

    /// Cuts off what ended before the latest write that replaces everything and leaves the failure as it is.
    fn after_a_reset(&self, all: Vec<Timed<M::Op>>, kept: [usize; 2]) -> Vec<Timed<M::Op>> {
        const TRIES_MAX: usize = 64;
        let mut resets: Vec<(u64, u64)> = all
            .iter()
            .filter(|operation| self.model.resets(&operation.op))
            .filter_map(|operation| Some((operation.call, operation.ret?)))
            .collect();
        resets.sort_unstable();
        for &(call, ret) in resets.iter().rev().take(TRIES_MAX) {
            // Reads that may have come before the write saw what was there before; they go. Anything else
            // that saw it would be left without.
            let may_have_seen = |one: &&Timed<M::Op>| {
                one.ret.is_some_and(|ret| ret >= call) && one.call <= ret && !self.model.always_fits(&one.op)
            };
            if all.iter().filter(may_have_seen).any(|one| !self.is_droppable_read(one, kept)) {
                continue;
            }
            let ended = |one: &Timed<M::Op>| one.ret.is_some_and(|ret| ret < call);
            if all.iter().any(|one| ended(one) && kept.contains(&one.id)) {
                continue;
            }
            let rest: Vec<Timed<M::Op>> =
                all.iter().filter(|one| !ended(one) && !may_have_seen(one)).cloned().collect();
            if self.fails(&rest) == Some(true) {
                return rest;
            }
        }
        all
    }

    /// Reads go in ever smaller groups.
    fn drop_in_chunks(&self, left: &mut Vec<Timed<M::Op>>, kept: [usize; 2]) {
        let mut size = left.len();
        while size > 0 && (self.spend.goes_on)() {
            let reads: Vec<usize> = left
                .iter()
                .filter(|operation| self.is_droppable_read(operation, kept))
                .map(|operation| operation.id)
                .collect();
            size = size.min(reads.len());
            for chunk in reads.chunks(size.max(1)) {
                let chunk: BTreeSet<usize> = chunk.iter().copied().collect();
                let rest: Vec<_> =
                    left.iter().filter(|operation| !chunk.contains(&operation.id)).cloned().collect();
                if self.fails(&rest) == Some(true) {
                    *left = rest;
                }
            }
            size /= 2;
        }
    }

    /// Writes go one by one, the latest first, where nothing that is left can have needed them.
    fn drop_unneeded_writes(&self, left: &mut Vec<Timed<M::Op>>, kept: [usize; 2]) {
        for id in left.iter().rev().map(|operation| operation.id).collect::<Vec<_>>() {
            if kept.contains(&id) || !(self.spend.goes_on)() {
                continue;
            }
            let Some(write) = left.iter().find(|operation| operation.id == id) else { continue };
            let is_needed = left.iter().any(|other| other.id != id && self.model.needs(&other.op, &write.op));
            if is_needed {
                continue;
            }
            let rest: Vec<_> = left.iter().filter(|operation| operation.id != id).cloned().collect();
            if self.fails(&rest) == Some(true) {
                *left = rest;
            }
        }
    }
}
