//! The walk, held against what others have counted.

use seatrial_explore::two_phase_commit::Bounds;
use seatrial_explore::{Limits, Outcome, check};
use stateright::Model;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::time::Duration;

fn count(bounds: Bounds, threads: usize) -> usize {
    let limits = Limits { threads: NonZeroUsize::new(threads).unwrap(), ..Limits::default() };
    match check(&bounds, limits, || Duration::ZERO, |_| {}) {
        Outcome::Holds(sight) => sight.unique,
        other => panic!("{bounds:?}: {other:?}"),
    }
}

#[test]
fn two_phase_commit_has_as_many_states_as_were_published() {
    // Of stateright's example; TLC counts the same.
    for (managers, states) in [(3, 288), (5, 8_832), (7, 296_448), (8, 1_745_408)] {
        let bounds = Bounds { managers, is_symmetric: false };
        assert_eq!(count(bounds, 2), states, "{managers} managers");
    }
}

#[test]
fn of_states_that_differ_in_who_is_who_one_is_visited_and_none_is_left_out() {
    let whole = Bounds { managers: 4, is_symmetric: false };
    let mut seen = BTreeSet::new();
    let mut todo = whole.init_states();
    let mut classes = BTreeSet::new();
    while let Some(state) = todo.pop() {
        if !seen.insert(format!("{state:?}")) {
            continue;
        }
        let mut class = state.clone();
        class.managers.sort_unstable();
        classes.insert(format!("{class:?}"));
        todo.extend(whole.next_steps(&state).into_iter().map(|(_, next)| next));
    }
    assert_eq!(seen.len(), count(whole, 1));
    for threads in [1, 2] {
        assert_eq!(count(Bounds { is_symmetric: true, ..whole }, threads), classes.len());
    }
}
