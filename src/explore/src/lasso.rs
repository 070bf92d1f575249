//! Whether everything comes to an end.
//!
//! Where a model's steps never lead back to a state, every run within its bounds is finite, and what must come about at last need only
//! be looked for in the states that nothing follows. A property of these is then one of all runs, with no assumption of fairness but
//! that something happens as long as anything can.

use crate::check::{Exploration, fingerprint};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;

/// A way that leads back to where it began: the steps of the circle, each in one sentence. `None` where there is none; then every
/// state was visited. Walks in depth, on one thread, and keeps a way of whole states.
pub fn find_lasso<M: Exploration>(model: &M) -> Option<Vec<String>>
where
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    /// Whether all that follows a state is known.
    type Known = BTreeMap<u64, bool>;
    struct Stop<M: Exploration>
    where
        M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
        M::Action: Clone + Debug + PartialEq + Send + Sync,
    {
        print: u64,
        state: M::State,
        left: Vec<M::Action>,
        /// The step that was taken from here last.
        taken: Option<M::Action>,
    }
    let stop = |state: M::State| {
        let mut left = Vec::new();
        model.actions(&state, &mut left);
        Stop::<M> { print: fingerprint(&state), state, left, taken: None }
    };
    let mut known = Known::new();
    for first in model.init_states() {
        let mut way = vec![stop(first)];
        known.insert(way[0].print, false);
        while let Some(last) = way.last_mut() {
            let Some(action) = last.left.pop() else {
                known.insert(last.print, true);
                way.pop();
                continue;
            };
            last.taken = Some(action.clone());
            let next = model.next_state(&last.state, action).filter(|next| model.within_boundary(next));
            let Some(next) = next else { continue };
            let next = stop(next);
            match known.get(&next.print) {
                Some(true) => {}
                Some(false) => {
                    let begin = way.iter().position(|stop| stop.print == next.print).unwrap_or(0);
                    let tell = |stop: &Stop<M>| {
                        let taken = stop.taken.as_ref().expect("all of the way was gone");
                        model.tell(&stop.state, taken)
                    };
                    return Some(way[begin..].iter().map(tell).collect());
                }
                None => {
                    known.insert(next.print, false);
                    way.push(next);
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use stateright::{Model, Property};

    /// Counts up to a bound; from `back`, if there is one, a step leads back to the middle.
    struct Count {
        to: u8,
        back: Option<u8>,
    }

    impl Model for Count {
        type State = u8;
        type Action = u8;

        fn init_states(&self) -> Vec<u8> {
            vec![0]
        }

        fn actions(&self, state: &u8, actions: &mut Vec<u8>) {
            // Two ways to the same place are no circle.
            let next = [state + 1, state + 2].into_iter().filter(|next| *next <= self.to);
            actions.extend(next);
            actions.extend((self.back == Some(*state)).then_some(self.to / 2));
        }

        fn next_state(&self, _: &u8, action: u8) -> Option<u8> {
            Some(action)
        }

        fn properties(&self) -> Vec<Property<Self>> {
            Vec::new()
        }
    }

    impl Exploration for Count {
        fn tell(&self, before: &u8, action: &u8) -> String {
            format!("{before} to {action}")
        }

        fn show(&self, state: &u8) -> String {
            state.to_string()
        }

        fn explain(&self, _: &str, _: &u8) -> String {
            String::new()
        }
    }

    #[test]
    fn a_circle_is_found_and_told_without_the_way_to_it() {
        assert_eq!(find_lasso(&Count { to: 6, back: None }), None);
        let found = find_lasso(&Count { to: 6, back: Some(5) }).expect("5 leads back to 3");
        assert!(found.contains(&"5 to 3".to_owned()), "{found:?}");
        let ends: Vec<_> = found.iter().map(|step| step.split_once(" to ").unwrap()).collect();
        for (at, (_, to)) in ends.iter().enumerate() {
            assert_eq!(*to, ends[(at + 1) % ends.len()].0, "{found:?}");
        }
    }
}
