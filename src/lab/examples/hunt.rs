//! Hunts planted bugs in the lab.
use seatrial_lab::{Laboratory, why_not};
use seatrial_scenario::files::load_scenarios;
use seatrial_scenario::mutants::{Budget, find_mutant, likely};
use seatrial_types::planted::Planted;
use std::time::Duration;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    std::panic::set_hook(Box::new(|_| {}));
    let seconds: u64 = args[1].parse().unwrap();
    let branch: u32 = args[2].parse().unwrap();
    let repeat: u64 = args[3].parse().unwrap();
    let only: Vec<&String> = args[4..].iter().collect();
    let all = load_scenarios(&["scenarios".into()]).unwrap();
    let scenarios: Vec<_> = all.into_iter().filter(|one| why_not(one).is_none()).collect();
    let begun = std::time::Instant::now();
    let (mut found, mut missed, mut out) = (0, Vec::new(), Vec::new());
    for bug in Planted::ALL {
        if !only.is_empty() && !only.iter().any(|one| **one == bug.to_string()) {
            continue;
        }
        if likely(*bug, &scenarios).is_empty() {
            out.push(bug.to_string());
            continue;
        }
        let mut times = Vec::new();
        let mut runs = Vec::new();
        let mut line = String::new();
        for time in 0..repeat {
            let budget = Budget {
                runs_max: u64::MAX,
                time_max: Duration::from_secs(seconds),
                jobs: 1,
                from: time * 1_000_000,
                vary_percent: 0,
                branch_percent: branch,
            };
            let one = find_mutant(&Laboratory, *bug, &scenarios, budget, &|| begun.elapsed(), &|_, _| {});
            if one.is_found() {
                times.push(one.cpu_seconds);
                runs.push(one.runs);
            }
            line = format!(
                "{:?} {} {:?}",
                one.oracle,
                one.run.as_ref().map_or("-", |run| &run.scenario),
                one.run.as_ref().map(|run| &run.violated)
            );
        }
        times.sort_by(f64::total_cmp);
        runs.sort();
        if times.len() as u64 == repeat {
            found += 1
        } else {
            missed.push(bug.to_string())
        }
        println!(
            "{bug} {}/{repeat} median {:.2} cpu s, {} runs, worst {:.1}; {line}",
            times.len(),
            times.get(times.len() / 2).unwrap_or(&f64::NAN),
            runs.get(runs.len() / 2).unwrap_or(&0),
            times.last().unwrap_or(&f64::NAN)
        );
    }
    println!("found {found}, missed {missed:?}, out of reach {out:?}");
}
