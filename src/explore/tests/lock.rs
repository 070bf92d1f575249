//! The lock among clients, in all its futures.

use seatrial_explore::lock::Bounds;
use seatrial_explore::{Limits, Outcome, Sight, check, find_lasso};
use std::num::NonZeroUsize;
use std::time::Duration;

fn walk(bounds: Bounds, threads: usize) -> Sight {
    let limits = Limits { threads: NonZeroUsize::new(threads).unwrap(), ..Limits::default() };
    let outcome = check(&bounds, limits, || Duration::ZERO, |_| {});
    println!("{bounds:?}: {:?}", outcome.sight());
    match outcome {
        Outcome::Holds(sight) => sight,
        Outcome::Violated(_, example) => panic!("{bounds:?}\n{example}"),
        Outcome::Unfinished(sight) => panic!("{bounds:?}: not all of it was seen: {sight:?}"),
    }
}

const TWO: Bounds = Bounds { clients: 2, wants: 1, ends: 0, losses: 0, is_fenced: true };

#[test]
fn a_holder_that_stood_still_while_its_lease_ran_out_is_turned_away() {
    walk(Bounds { ends: 2, ..TWO }, 2);
}

#[test]
fn three_clients_get_the_lock_in_their_turn_although_a_lease_runs_out() {
    walk(Bounds { clients: 3, ends: 1, ..TWO }, 2);
}

#[test]
fn answers_are_lost_and_the_lock_is_still_given_back() {
    walk(Bounds { losses: 1, ends: 1, ..TWO }, 2);
}

#[test]
fn two_threads_count_what_one_counts() {
    let bounds = Bounds { ends: 1, losses: 1, ..TWO };
    assert_eq!(walk(bounds, 1), walk(bounds, 2));
}

#[test]
fn a_resource_that_asks_for_no_token_takes_a_late_write_and_the_shortest_way_there_is_found() {
    let bounds = Bounds { ends: 1, is_fenced: false, ..TWO };
    let outcome = check(&bounds, Limits::default(), || Duration::ZERO, |_| {});
    let Outcome::Violated(_, example) = outcome else { panic!("{outcome:?}") };
    let way = [
        "client 1 gets a lease and begins to lock",
        "client 1 joins the queue",
        "client 1 stands still, and its lease runs out",
        "client 2 gets a lease and begins to lock",
        "client 2 joins the queue",
        "client 2 writes to the resource, with token 4",
        "client 1 writes to the resource, with token 2",
    ];
    assert_eq!(example.steps, way, "{example}");
}

/// What is looked at in the last states holds at the end of every run, for there is no other way on than to an end.
#[test]
fn whatever_goes_wrong_every_run_comes_to_an_end() {
    for bounds in [Bounds { ends: 2, ..TWO }, Bounds { losses: 2, ..TWO }, Bounds { clients: 3, ..TWO }] {
        assert_eq!(find_lasso(&bounds), None, "{bounds:?}");
    }
}
