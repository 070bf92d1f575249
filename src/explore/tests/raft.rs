//! Consensus, in all its futures.

use seatrial_explore::raft::Bounds;
use seatrial_explore::{Limits, Outcome, check, count_with_stateright};
use std::num::NonZeroUsize;
use std::time::Duration;

fn walk(bounds: Bounds) {
    let outcome = check(&bounds, Limits::default(), || Duration::ZERO, |_| {});
    println!("{bounds:?}: {:?}", outcome.sight());
    match outcome {
        Outcome::Holds(sight) => assert!(sight.unique > 1_000, "{bounds:?}: the model has shrunk: {sight:?}"),
        Outcome::Violated(_, example) => panic!("{bounds:?}\n{example}"),
        Outcome::Unfinished(sight) => panic!("{bounds:?}: not all of it was seen: {sight:?}"),
    }
}

const TWO: Bounds = Bounds {
    members: 2,
    terms: 2,
    entries: 1,
    crashes: 0,
    losses: 0,
    repeats: 0,
    campaigns: 2,
    beats: 0,
    reads: 0,
    letters: 6,
};

#[test]
fn two_members_of_which_one_crashes_at_any_step() {
    walk(Bounds { crashes: 1, ..TWO });
}

#[test]
fn messages_of_two_members_are_lost_and_repeated() {
    walk(Bounds { losses: 1, repeats: 1, ..TWO });
}

#[test]
fn a_read_is_answered_by_two_members_of_which_one_crashes() {
    walk(Bounds { reads: 1, crashes: 1, entries: 0, ..TWO });
}

#[test]
fn two_threads_count_what_one_counts() {
    let bounds = Bounds { losses: 1, ..TWO };
    let count = |threads| {
        let limits = Limits { threads: NonZeroUsize::new(threads).unwrap(), ..Limits::default() };
        check(&bounds, limits, || Duration::ZERO, |_| {}).sight().unique
    };
    let one = count(1);
    assert!(one > 10_000, "{one}");
    assert_eq!(one, count(2));
}

#[test]
fn what_a_limit_cuts_off_is_not_proven() {
    let limits = Limits { states_max: NonZeroUsize::new(5_000), ..Limits::default() };
    let outcome = check(&TWO, limits, || Duration::ZERO, |_| {});
    assert!(matches!(outcome, Outcome::Unfinished(_)), "{outcome:?}");
}

#[test]
fn stateright_counts_what_we_count() {
    let bounds = Bounds { crashes: 1, entries: 0, ..TWO };
    let ours = check(&bounds, Limits::default(), || Duration::ZERO, |_| {}).sight().unique;
    assert!(ours > 1_000, "{ours}");
    assert_eq!(ours, count_with_stateright(bounds));
}
