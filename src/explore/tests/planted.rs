//! Bugs that are planted on purpose, each found by walking through all futures of a small world.
//!
//! One test and no more: a planted bug is planted for the whole process.
#![cfg(feature = "mutants")]

use raft::reduced::{self, Reductions, Walk, WalkLimits};
use seatrial_explore::{
    Counterexample, Exploration, Limits, Outcome, check, engine_lease, lock, raft, reboot,
};
use seatrial_types::planted::{Planted, plant};
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

/// The shortest way there, in steps.
fn find<M: Exploration + Debug + Copy>(bug: Planted, bounds: M) -> usize
where
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    plant(&[bug]);
    let outcome = check(&bounds, Limits::default(), || Duration::ZERO, |_| {});
    plant(&[]);
    let sight = outcome.sight();
    let Outcome::Violated(_, Counterexample { property, why, steps }) = outcome else {
        panic!("{bug} was not found in {bounds:?}: {sight:?}");
    };
    println!("{bug}: {} steps, {} states: {property}: {why}", steps.len(), sight.unique);
    steps.len()
}

/// Where no order is left out or all are; none where it is not found.
fn find_reduced(bug: Planted, bounds: reduced::Bounds, reductions: Reductions) -> Option<usize> {
    plant(&[bug]);
    let mut walk = Walk::new(bounds, reductions);
    let report = walk.go(WalkLimits::default(), || (Duration::ZERO, 0), |_| {});
    plant(&[]);
    let sight = report.outcome.sight();
    match report.outcome {
        Outcome::Violated(_, Counterexample { why, steps, .. }) => {
            println!(
                "{bug} among {} members: {} steps, {} worlds: {why}",
                bounds.members,
                steps.len(),
                sight.unique
            );
            Some(steps.len())
        }
        Outcome::Holds(_) => None,
        Outcome::Unfinished(_) => panic!("{bug}: no limit was set, and one was reached: {sight:?}"),
    }
}

#[test]
fn every_planted_bug_is_found_by_its_shortest_way() {
    let calm = reboot::Bounds { deaths: 0, ticks: 0, ..reboot::Bounds::default() };
    for (bug, bounds, steps) in [
        (Planted::K05, reboot::Bounds { deaths: 1, ..calm }, 3),
        (Planted::K12, reboot::Bounds { deaths: 1, ticks: 1, ..calm }, 7),
        (Planted::K14, reboot::Bounds { losses: 1, ..calm }, 5),
        (Planted::K15, reboot::Bounds { losses: 1, slots: 2, ..calm }, 5),
        (Planted::K16, reboot::Bounds { changes: 1, ..calm }, 9),
        (Planted::K17, reboot::Bounds { deaths: 1, ..calm }, 7),
        (Planted::K20, reboot::Bounds { frees: 1, ..calm }, 8),
    ] {
        assert_eq!(find(bug, bounds), steps, "{bug}");
    }
    let two = raft::Bounds { losses: 0, repeats: 0, ..raft::Bounds::default() };
    for (bug, bounds, steps) in [
        (Planted::R05, raft::Bounds { repeats: 1, ..two }, 19),
        (Planted::R07, two, 11),
        (Planted::R08, two, 11),
        // Who led must forget it, or nobody else is elected: a leader does not help to depose itself.
        (Planted::R25, raft::Bounds { entries: 0, reads: 1, ..two }, 25),
    ] {
        assert_eq!(find(bug, bounds), steps, "{bug}");
    }
    let three = lock::Bounds { clients: 3, ends: 0, ..lock::Bounds::default() };
    for (bug, bounds, steps) in
        [(Planted::K01, lock::Bounds { clients: 2, ends: 1, ..three }, 8), (Planted::K03, three, 10)]
    {
        assert_eq!(find(bug, bounds), steps, "{bug}");
    }
    let two = engine_lease::Bounds { ends: 0, silences: 0, ..engine_lease::Bounds::default() };
    let one = engine_lease::Bounds { engines: 1, ..two };
    for (bug, bounds, steps) in [
        (Planted::E01, engine_lease::Bounds { engines: 3, ends: 1, ..two }, 9),
        (Planted::F12, engine_lease::Bounds { silences: 1, ..one }, 13),
        (Planted::F13, engine_lease::Bounds { ends: 1, ..two }, 6),
        (Planted::F21, engine_lease::Bounds { silences: 1, ..one }, 14),
        (Planted::F22, engine_lease::Bounds { silences: 1, ..one }, 10),
    ] {
        assert_eq!(find(bug, bounds), steps, "{bug}");
    }
    let three = reduced::Bounds { crashes: 0, ..reduced::Bounds::default() };
    for (bug, bounds, steps) in [
        (Planted::R02, reduced::Bounds { terms: 1, entries: 0, crashes: 1, ..three }, 7),
        (Planted::R07, reduced::Bounds { terms: 1, entries: 0, crashes: 1, ..three }, 6),
        (Planted::R08, reduced::Bounds { terms: 1, crashes: 1, ..three }, 5),
        (Planted::R26, reduced::Bounds { entries: 0, beats: 1, reads: 1, ..three }, 13),
        (Planted::R27, reduced::Bounds { entries: 0, reads: 1, ..three }, 13),
        (Planted::R43, three, 13),
        (Planted::R50, three, 9),
        (Planted::R51, three, 9),
    ] {
        assert_eq!(find_reduced(bug, bounds, Reductions::ALL), Some(steps), "{bug}");
    }
    // What is left out makes no difference to what is found.
    let two = reduced::Bounds { members: 2, terms: 1, crashes: 1, ..three };
    for bug in
        [Planted::R01, Planted::R02, Planted::R07, Planted::R08, Planted::R42, Planted::R50, Planted::R51]
    {
        let (few, all) = (find_reduced(bug, two, Reductions::ALL), find_reduced(bug, two, Reductions::NONE));
        assert_eq!(few.is_some(), all.is_some(), "{bug}");
        assert!(few <= all, "{bug}");
    }
}
