//! Engines and agents, in all their futures.

use seatrial_explore::engine_lease::Bounds;
use seatrial_explore::{Limits, Outcome, Sight, check};
use std::num::NonZeroUsize;
use std::time::Duration;

fn walk(bounds: Bounds, threads: usize) -> Sight {
    let limits = Limits {
        threads: NonZeroUsize::new(threads).unwrap(),
        states_max: NonZeroUsize::new(600_000),
        ..Limits::default()
    };
    let outcome = check(&bounds, limits, || Duration::ZERO, |_| {});
    println!("{bounds:?}: {:?}", outcome.sight());
    match outcome {
        Outcome::Holds(sight) => sight,
        Outcome::Violated(_, example) => panic!("{bounds:?}\n{example}"),
        Outcome::Unfinished(sight) => panic!("{bounds:?}: not all of it was seen: {sight:?}"),
    }
}

const CALM: Bounds =
    Bounds { engines: 2, machines: 2, units: 1, ends: 0, silences: 0, deaths: 0, losses: 0, destroys: 0 };

#[test]
fn nothing_goes_wrong() {
    walk(CALM, 2);
}

#[test]
fn an_engine_that_stood_still_writes_nothing_once_another_one_leads() {
    walk(Bounds { ends: 1, ..CALM }, 2);
}

#[test]
fn a_machine_that_is_not_heard_has_stopped_its_units_before_another_one_gets_them() {
    walk(Bounds { engines: 1, silences: 1, ..CALM }, 2);
}
