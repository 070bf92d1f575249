//! The reboot lock, in all its futures.

use seatrial_explore::reboot::Bounds;
use seatrial_explore::{Limits, Outcome, check};
use std::time::Duration;

fn walk(bounds: Bounds) {
    let outcome = check(bounds, Limits::default(), Duration::from_millis(50), |_| {});
    println!("{bounds:?}: {:?}", outcome.sight());
    match outcome {
        Outcome::Holds(sight) => assert!(sight.unique > 1_000, "{bounds:?}: the model has shrunk: {sight:?}"),
        Outcome::Violated(_, example) => panic!("{bounds:?}\n{example}"),
        Outcome::Unfinished(sight) => panic!("{bounds:?}: not all of it was seen: {sight:?}"),
    }
}

const NOTHING: Bounds =
    Bounds { machines: 2, wants: 1, slots: 1, deaths: 0, losses: 0, ticks: 0, changes: 0, fine: false };

#[test]
fn nobody_stands_in_the_way_after_one_has_died_at_any_step() {
    walk(Bounds { deaths: 1, ..NOTHING });
}

#[test]
fn two_of_three_machines_reboot_at_a_time() {
    walk(Bounds { machines: 3, slots: 2, ..NOTHING });
}

#[test]
fn an_answer_is_lost_and_time_passes() {
    walk(Bounds { losses: 1, ticks: 1, ..NOTHING });
}

#[test]
fn an_operator_changes_the_number_of_slots_at_any_moment() {
    walk(Bounds { changes: 1, ..NOTHING });
}
