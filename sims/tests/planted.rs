//! Every planted bug is found, by an oracle named beforehand, and nothing is found once it is pulled out.
//!
//! One test, since what is planted is planted in the whole process.
#![cfg(feature = "mutants")]
#![allow(clippy::disallowed_methods, reason = "the budget is real time, outside of any simulation")]

use seatrial_scenario::files::load_scenarios;
use seatrial_scenario::mutants::{Budget, find_mutant, table};
use seatrial_sims::Simulation;
use seatrial_types::planted::Planted;
use std::path::Path;
use std::time::Duration;

#[test]
fn every_planted_bug_is_found() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let scenarios =
        load_scenarios(&[root.join("fast"), root.join("rare"), root.join("regressions")]).unwrap();
    let begun = std::time::Instant::now();
    let budget =
        Budget { runs_max: 5_000, time_max: Duration::from_secs(300), jobs: 2, from: 0, vary_percent: 0 };
    let found: Vec<_> = Planted::ALL
        .iter()
        .map(|bug| {
            find_mutant(&Simulation::default(), *bug, &scenarios, budget, &|| begun.elapsed(), &|_, _| {})
        })
        .collect();
    assert!(found.iter().all(|one| one.is_found()), "\n{}", table(&found));
}
