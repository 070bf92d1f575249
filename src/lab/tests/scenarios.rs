//! The shipped scenarios in the lab: they pass, the negative one fails, a seed says everything, and a clone of a world is
//! another future.

use seatrial_lab::{Laboratory, why_not};
use seatrial_scenario::Plan;
use seatrial_scenario::batch::{BatchOptions, run_batch, run_one};
use seatrial_scenario::files::load_scenarios;
use seatrial_scenario::format::spec::{Scenario, VerdictKind};
use std::path::{Path, PathBuf};

fn scenarios(folder: &str) -> Vec<Scenario> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios").join(folder);
    let all = load_scenarios(&[path]).unwrap_or_else(|error| panic!("{error}"));
    all.into_iter().filter(|scenario| why_not(scenario).is_none()).collect()
}

fn options() -> BatchOptions {
    BatchOptions {
        jobs: 2,
        folder: None,
        commit: String::new(),
        options: Vec::new(),
        stop_at_violation: false,
    }
}

fn all_pass(folder: &str, seeds: std::ops::Range<u64>, at_least: usize) {
    let outcome = run_batch(&Laboratory, &scenarios(folder), Some(&seeds), &options(), &|_, _, _| {});
    for run in &outcome.runs {
        assert_eq!(run.verdict, VerdictKind::Pass, "{} seed {}: {}", run.scenario, run.seed, run.sentence);
    }
    assert!(outcome.runs.len() >= at_least, "{} runs", outcome.runs.len());
    for one in outcome.scenarios.iter().filter(|_| seeds.end - seeds.start >= 10) {
        assert_eq!(one.verdict, VerdictKind::Pass, "{}: {}", one.scenario, one.sentence);
    }
}

/// Their goals are reached, too: the lab is no quieter a place than the simulation.
#[test]
fn every_scenario_of_the_fast_set_that_can_be_had_passes_and_reaches_its_goals() {
    all_pass("fast", 1..11, 300);
}

#[test]
fn the_hunting_grounds_of_planted_bugs_pass_without_them() {
    all_pass("rare", 1..4, 90);
}

#[test]
fn disks_that_lie_are_found_out() {
    let lying: Vec<Scenario> =
        scenarios("negative").into_iter().filter(|one| one.name == "lying-syncs").collect();
    let outcome = run_batch(&Laboratory, &lying, Some(&(1..6)), &options(), &|_, _, _| {});
    assert!(outcome.is_as_expected(), "{outcome:#?}");
    assert_eq!(outcome.exit_code(), 1);
}

#[test]
fn a_seed_played_twice_leaves_one_trace_and_another_seed_another() {
    for scenario in scenarios("fast").iter().step_by(5) {
        let run = |seed| {
            let (_, log, _) = run_one(&Laboratory, &Plan::draw(scenario, seed));
            let mut log = log.expect("the harness holds");
            log.cpu = std::time::Duration::ZERO;
            log
        };
        let (one, two, other) = (run(3), run(3), run(4));
        assert_ne!(one.trace_hash, other.trace_hash, "{}", scenario.name);
        // All of it, and not its digest alone.
        let text = |log| serde_json::to_string(&log).expect("plain data");
        assert!(text(one) == text(two), "{}", scenario.name);
    }
}

#[test]
fn what_the_lab_cannot_have_is_named_with_a_hint() {
    let scenario = |rest: &str| {
        let text = format!("title = \"x\"\nwhy = \"x\"\ntime = \"5s\"\n{rest}\n");
        seatrial_scenario::format::parse("x.toml", &text).unwrap()
    };
    let kv = "[[workload]]\nname = \"kv\"\n";
    assert_eq!(why_not(&scenario(kv)), None);
    let rot = format!("{kv}[[nemesis]]\nname = \"store-rot\"\n");
    let why = why_not(&scenario(&rot)).unwrap();
    assert!(why.starts_with("the fault store-rot cannot be had in the lab"), "{why}");
    assert!(why.contains("\nhint: "), "{why}");
    let counted = format!("{kv}[[nemesis]]\nname = \"power-loss\"\nafter_ops = 9\n");
    assert!(why_not(&scenario(&counted)).unwrap().contains("`after_ops`"));
    let scripted =
        format!("[script]\nseed = 1\n[[fault]]\nname = \"store-rot\"\nat = \"1s\"\nends = \"2s\"\n{kv}");
    assert!(why_not(&scenario(&scripted)).unwrap().starts_with("the fault store-rot"));
    assert!(why_not(&scenario("[[workload]]\nname = \"v2\"\n")).unwrap().starts_with("the workload v2"));
    let checks = format!("[knobs]\ninitial_check = true\n{kv}");
    assert!(why_not(&scenario(&checks)).unwrap().starts_with("the knob initial_check"));
}
