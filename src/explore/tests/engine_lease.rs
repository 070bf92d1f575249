//! Engines and agents, in all their futures.

use seatrial_explore::engine_lease::Bounds;
use seatrial_explore::{Limits, Outcome, Sight, check, find_lasso};
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

/// One engine: what a second one adds is looked at apart.
const ONE: Bounds = Bounds { engines: 1, ..CALM };

#[test]
fn nothing_goes_wrong() {
    assert_eq!(walk(CALM, 1), walk(CALM, 2));
}

#[test]
fn an_engine_that_stood_still_writes_nothing_once_another_one_leads() {
    walk(Bounds { ends: 1, ..CALM }, 2);
}

#[test]
fn a_machine_that_is_not_heard_has_stopped_its_units_before_another_one_gets_them() {
    walk(Bounds { silences: 1, ..ONE }, 2);
}

#[test]
fn an_engine_an_agent_or_a_machine_dies() {
    walk(Bounds { deaths: 1, ..ONE }, 2);
}

#[test]
fn answers_to_engines_are_lost() {
    walk(Bounds { losses: 1, ..CALM }, 2);
}

#[test]
fn a_unit_is_destroyed_while_its_machine_is_not_heard() {
    walk(Bounds { destroys: 1, silences: 1, ..ONE }, 2);
}

#[test]
fn two_units_share_the_machines_and_one_of_those_is_not_heard() {
    walk(Bounds { units: 2, silences: 1, ..ONE }, 2);
}

/// What is looked at in the last states holds at the end of every run, for there is no other way on than to an end.
#[test]
fn whatever_goes_wrong_every_run_comes_to_an_end() {
    for bounds in [
        Bounds { losses: 1, ..CALM },
        Bounds { ends: 1, ..CALM },
        Bounds { silences: 1, ..ONE },
        Bounds { deaths: 1, ..ONE },
    ] {
        assert_eq!(find_lasso(&bounds), None, "{bounds:?}");
    }
}
