//! What each technique of the search is worth, measured: `seatrial mutants --compare`.

use crate::exit;
use seatrial_scenario::batch::Stage;
use seatrial_scenario::format::spec::Scenario;
use seatrial_scenario::mutants::{Budget, Found, find_mutant};
use seatrial_scenario::techniques::{Technique, without};
use seatrial_scenario::yields::{Compared, Way, yields};
use seatrial_types::planted::Planted;
use std::process::ExitCode;

/// As `fuzz` varies where nobody says otherwise.
const VARIED: u32 = 50;

/// Looks for each bug `repeat` times in each way, every way from the same seeds.
pub(super) fn run(
    repeat: u64,
    stage: &dyn Stage,
    bugs: &[Planted],
    scenarios: &[Scenario],
    budget: Budget,
) -> ExitCode {
    let begun = std::time::Instant::now();
    let techniques = Technique::ALL.iter().map(|technique| Way::Without(*technique));
    let ways: Vec<Way> = [Way::All].into_iter().chain(techniques).chain([Way::Varied(VARIED)]).collect();
    let mut all = Vec::new();
    for bug in bugs {
        let mut compared = Compared { bug: bug.to_string(), ways: Vec::new() };
        for way in &ways {
            let scenarios: Vec<Scenario> = match way {
                Way::Without(technique) => {
                    scenarios.iter().map(|scenario| without(scenario, *technique)).collect()
                }
                Way::All | Way::Varied(_) => scenarios.to_vec(),
            };
            let vary_percent = if let Way::Varied(percent) = way { *percent } else { 0 };
            let hunts: Vec<Found> = (0..repeat)
                .map(|time| {
                    let budget = Budget { from: time * super::APART, vary_percent, ..budget };
                    find_mutant(stage, *bug, &scenarios, budget, &|| begun.elapsed(), &|_, _| {})
                })
                .collect();
            let found = hunts.iter().filter(|one| one.is_found()).count();
            eprintln!("{bug} {way}: {found}/{repeat} found, {:.0} s so far", begun.elapsed().as_secs_f64());
            compared.ways.push((*way, hunts));
        }
        // What was measured is not lost where the rest is interrupted.
        eprint!("{}", yields(std::slice::from_ref(&compared)));
        all.push(compared);
    }
    print!("{}", yields(&all));
    ExitCode::from(exit::PASS)
}
