//! The walk: breadth first and level by level, so that the first violation met is as near to the beginning as any, and so that what
//! is found and counted is the same for any number of threads. (Stateright's own search hands work around in blocks; with it, the
//! way found to a violation may be longer than it has to be.)

use crate::check::{Counterexample, Exploration, Limits, Outcome, Sight, fingerprint};
use hashbrown::HashTable;
use stateright::{Expectation, Model, Property};
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

/// States of one level that are gone through between two looks at the limits.
const BATCH: usize = 1 << 14;

/// Each state that was met, and the one it was first met from: sixteen bytes, and what the table takes beyond. A fingerprint is a
/// hash already, and nobody goes through the table in its own order.
#[derive(Default)]
struct Met(HashTable<(u64, u64)>);

impl Met {
    fn from(&self, print: u64) -> Option<u64> {
        self.0.find(print, |(there, _)| *there == print).map(|(_, from)| *from)
    }

    /// Whether it is new.
    fn meet(&mut self, print: u64, from: u64) -> bool {
        let is_new = self.from(print).is_none();
        if is_new {
            self.0.insert_unique(print, (print, from), |(there, _)| *there);
        }
        is_new
    }
}

/// A state that a thread has met: its fingerprint, from where, and the property that does not hold in it.
struct Found<S> {
    print: u64,
    from: u64,
    state: S,
    broken: Option<&'static str>,
}

/// Walks a model. `clock` tells the time since some beginning; `progress` is called now and then.
pub(crate) fn walk<M: Exploration>(
    model: &M,
    limits: Limits,
    clock: impl Fn() -> Duration,
    mut progress: impl FnMut(Sight),
) -> Outcome
where
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let begun = clock();
    let properties = model.properties();
    let mut met = Met::default();
    let mut sight = Sight::default();
    let mut level: Vec<(u64, M::State)> = Vec::new();
    let mut broken: Option<(u64, &'static str)> = None;
    for state in model.init_states() {
        let print = fingerprint(&state);
        sight.steps += 1;
        if met.meet(print, print) {
            broken = broken.or_else(|| wrong(model, &properties, &state).map(|property| (print, property)));
            level.push((print, state));
        }
    }
    while !level.is_empty() && broken.is_none() {
        let mut next: Vec<(u64, M::State)> = Vec::new();
        for batch in level.chunks(BATCH) {
            for (steps, found) in expand(model, &properties, &met, batch, limits.threads.get()) {
                sight.steps += steps;
                for Found { print, from, state, broken: property } in found {
                    // Another thread may have met it in the same batch; the first one counts, whoever was faster.
                    if !met.meet(print, from) {
                        continue;
                    }
                    broken = broken.or_else(|| property.map(|property| (print, property)));
                    next.push((print, state));
                }
            }
            sight.unique = met.0.len();
            progress(sight);
            let is_cut = limits.states_max.is_some_and(|most| sight.steps >= most.get())
                || limits.time_max.is_some_and(|most| clock().saturating_sub(begun) >= most);
            if is_cut && broken.is_none() {
                return Outcome::Unfinished(sight);
            }
        }
        sight.depth += usize::from(!next.is_empty());
        level = next;
    }
    sight.unique = met.0.len();
    match broken {
        None => Outcome::Holds(sight),
        Some((print, property)) => Outcome::Violated(sight, way(model, &met, print, property)),
    }
}

/// The first property that does not hold.
fn wrong<M: Model>(model: &M, properties: &[Property<M>], state: &M::State) -> Option<&'static str> {
    properties
        .iter()
        .inspect(|property| {
            let is_always = matches!(property.expectation, Expectation::Always);
            assert!(is_always, "{:?} is no property of single states", property.name);
        })
        .find(|property| !(property.condition)(model, state))
        .map(|property| property.name)
}

/// All that follows a batch, in its order.
fn expand<M: Exploration>(
    model: &M,
    properties: &[Property<M>],
    met: &Met,
    batch: &[(u64, M::State)],
    threads: usize,
) -> Vec<(usize, Vec<Found<M::State>>)>
where
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let each = batch.len().div_ceil(threads).max(1);
    if threads == 1 {
        return vec![expand_part(model, properties, met, batch)];
    }
    #[allow(
        clippy::disallowed_methods,
        reason = "pure functions of values: no thread can tell how many there are"
    )]
    std::thread::scope(|scope| {
        let parts: Vec<_> = batch
            .chunks(each)
            .map(|part| scope.spawn(move || expand_part(model, properties, met, part)))
            .collect();
        parts
            .into_iter()
            .map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

fn expand_part<M: Exploration>(
    model: &M,
    properties: &[Property<M>],
    met: &Met,
    part: &[(u64, M::State)],
) -> (usize, Vec<Found<M::State>>)
where
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let (mut steps, mut found, mut here) = (0, Vec::new(), Met::default());
    let mut actions = Vec::new();
    for (from, state) in part {
        model.actions(state, &mut actions);
        for action in actions.drain(..) {
            let Some(next) = model.next_state(state, action).filter(|next| model.within_boundary(next))
            else {
                continue;
            };
            steps += 1;
            let print = fingerprint(&next);
            if met.from(print).is_some() || !here.meet(print, *from) {
                continue;
            }
            let broken = wrong(model, properties, &next);
            found.push(Found { print, from: *from, state: next, broken });
        }
    }
    (steps, found)
}

/// The way to a state: its fingerprints are known, and the steps between them are found again by taking all there are.
fn way<M: Exploration>(model: &M, met: &Met, last: u64, property: &str) -> Counterexample
where
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let mut prints = vec![last];
    let mut print = last;
    while let Some(from) = met.from(print).filter(|from| *from != print) {
        print = from;
        prints.push(print);
    }
    let first = model.init_states().into_iter().find(|state| fingerprint(state) == print);
    let mut state = first.expect("every way begins where the model does");
    let mut steps = Vec::new();
    for print in prints.into_iter().rev().skip(1) {
        let mut actions = Vec::new();
        model.actions(&state, &mut actions);
        let (action, next) = actions
            .into_iter()
            .find_map(|action| {
                let next = model.next_state(&state, action.clone())?;
                (fingerprint(&next) == print).then_some((action, next))
            })
            .expect("a state follows the one it was met from");
        steps.push(model.tell(&state, &action));
        state = next;
    }
    Counterexample { property: property.to_owned(), why: model.explain(property, &state), steps }
}
