//! A failure of the real members made small, and played again.

use seatrial_scenario::Plan;
use seatrial_scenario::batch::run_one;
use seatrial_scenario::files::load_scenarios;
use seatrial_scenario::shrink::{Bulk, Shrink, shrink, story};
use seatrial_sims::Simulation;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[test]
fn a_failure_of_disks_that_lie_is_made_small_and_fails_again_in_the_same_way() {
    const ORACLE: &str = "durability";
    const RUNS_MAX: u64 = 400;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/negative/lying-syncs.toml");
    let scenario = load_scenarios(&[file]).unwrap().remove(0);
    let stage = Simulation::default();
    let plan = Plan::draw(&scenario, 1);
    let fails = |plan: &Plan| run_one(&stage, plan).0.violated.iter().any(|violated| violated == ORACLE);
    assert!(fails(&plan));
    let batches = AtomicU64::new(0);
    let goes_on = || batches.fetch_add(2, Ordering::SeqCst) < RUNS_MAX;
    let small = shrink(&plan, Shrink { fails: &fails, goes_on: &goes_on, jobs: 2, went_wrong: None }).plan;
    let (before, after) = (Bulk::of(&plan), Bulk::of(&small));
    let told = story(&small);
    assert!(before.operations > 500, "{before}");
    assert!(after.faults <= 2 && after.operations <= 12, "{after}\n{told}");
    assert!(after.time < Duration::from_secs(10), "{after}\n{told}");
    // Twice, and to the last event.
    let (first, second) = (run_one(&stage, &small).0, run_one(&stage, &small).0);
    assert!(first.violated.iter().any(|violated| violated == ORACLE), "{told}");
    assert_eq!(first.trace_hash, second.trace_hash, "{told}");
}
