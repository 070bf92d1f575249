//! Which states an operation can have met: all orders at once, event by event.
//!
//! Lowe's just-in-time linearization: a configuration is a state, with the operations that have taken effect
//! before their answer; at each answer those configurations go on in which the operation has taken effect. It
//! tells what a search for *one* order cannot: everything that is possible at a moment. It also takes
//! the more memory for it, so it serves to explain, not to judge.

use super::{Model, Timed};
use std::collections::{BTreeMap, BTreeSet};

/// A state, what has taken effect before its answer, and the state that the onlooker met, if it was there.
type Configuration<S> = (S, Vec<usize>, Option<S>);

/// The states that an onlooker between `call` and `ret` can have met, in any order of the operations.
/// `operations` end with `ret` or are unanswered there. `None` where there are more configurations
/// than `most`.
pub(super) fn states_within<M: Model>(
    model: &M,
    operations: &[Timed<M::Op>],
    (call, ret): (u64, u64),
    most: usize,
) -> Option<BTreeSet<M::State>> {
    // Calls before returns at one instant: what touches is concurrent. The onlooker goes by the number
    // behind the last operation.
    let onlooker = operations.len();
    let mut events: Vec<(u64, bool, usize)> = vec![(call, false, onlooker), (ret, true, onlooker)];
    for (number, operation) in operations.iter().enumerate() {
        events.push((operation.call, false, number));
        events.extend(operation.ret.map(|ret| (ret, true, number)));
    }
    events.sort_unstable();
    let mut frontier = Frontier { model, operations, open: BTreeSet::new(), met: 0, most };
    let mut now: BTreeSet<Configuration<M::State>> = BTreeSet::from([(model.initial(), Vec::new(), None)]);
    for (_, is_return, number) in events {
        if is_return {
            now = frontier.answered(now, number)?;
            frontier.open.remove(&number);
        } else {
            frontier.open.insert(number);
        }
    }
    Some(now.into_iter().filter_map(|(_, _, met)| met).collect())
}

struct Frontier<'a, M: Model> {
    model: &'a M,
    operations: &'a [Timed<M::Op>],
    /// Called and not answered.
    open: BTreeSet<usize>,
    /// Configurations looked at so far.
    met: usize,
    most: usize,
}

impl<M: Model> Frontier<'_, M> {
    /// The configurations in which `number` has taken effect, which is then over.
    fn answered(
        &mut self,
        before: BTreeSet<Configuration<M::State>>,
        number: usize,
    ) -> Option<BTreeSet<Configuration<M::State>>> {
        let mut after = BTreeSet::new();
        let mut seen = before.clone();
        let mut left: Vec<Configuration<M::State>> = before.into_iter().collect();
        while let Some((state, done, met)) = left.pop() {
            self.met += 1;
            if self.met > self.most {
                return None;
            }
            if done.contains(&number) {
                let done = done.into_iter().filter(|&other| other != number).collect();
                after.insert((state, done, met));
                continue;
            }
            // Of equal operations that are never answered, the first is as good as the others.
            let mut tried: BTreeMap<&M::Op, ()> = BTreeMap::new();
            for &other in &self.open {
                if done.contains(&other) {
                    continue;
                }
                let next = match self.operations.get(other) {
                    None => Some((state.clone(), Some(state.clone()))),
                    Some(operation) => {
                        let unanswered = operation.ret.is_none();
                        if unanswered && tried.insert(&operation.op, ()).is_some() {
                            continue;
                        }
                        let next = self.model.step(&state, &operation.op);
                        next.filter(|next| !(unanswered && *next == state)).map(|next| (next, met.clone()))
                    }
                };
                let Some((state, met)) = next else { continue };
                let mut done = done.clone();
                let place = done.partition_point(|&before| before < other);
                done.insert(place, other);
                let next = (state, done, met);
                if seen.insert(next.clone()) {
                    left.push(next);
                }
            }
        }
        Some(after)
    }
}
