//! The shipped scenarios in the simulator: they pass, the negative one fails, and a seed says everything.

use seatrial_scenario::batch::{BatchOptions, Stage, run_batch, run_one};
use seatrial_scenario::files::load_scenarios;
use seatrial_scenario::format::spec::{Scenario, VerdictKind};
use seatrial_scenario::{Plan, mutants};
use seatrial_sims::Simulation;
use seatrial_types::buggify::Site;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn scenarios(folder: &str) -> Vec<Scenario> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(folder);
    load_scenarios(&[path]).unwrap_or_else(|error| panic!("{error}"))
}

fn scenario(folder: &str, name: &str) -> Scenario {
    scenarios(folder).into_iter().find(|scenario| scenario.name == name).expect(name)
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

#[test]
fn every_scenario_of_the_fast_set_passes() {
    let outcome =
        run_batch(&Simulation::default(), &scenarios("fast"), Some(&(1..3)), &options(), &|_, _, _| {});
    for run in &outcome.runs {
        assert_eq!(run.verdict, VerdictKind::Pass, "{} seed {}: {}", run.scenario, run.seed, run.sentence);
    }
    assert!(outcome.runs.len() >= 24, "{} runs", outcome.runs.len());
    assert_eq!(outcome.exit_code(), 0);
}

#[test]
fn the_hunting_grounds_of_planted_bugs_pass_without_them() {
    let outcome =
        run_batch(&Simulation::default(), &scenarios("rare"), Some(&(1..3)), &options(), &|_, _, _| {});
    for run in &outcome.runs {
        assert_eq!(run.verdict, VerdictKind::Pass, "{} seed {}: {}", run.scenario, run.seed, run.sentence);
    }
}

#[test]
fn disks_that_lie_are_found_out() {
    let outcome =
        run_batch(&Simulation::default(), &scenarios("negative"), Some(&(1..21)), &options(), &|_, _, _| {});
    assert!(outcome.is_as_expected(), "{outcome:#?}");
    assert_eq!(outcome.exit_code(), 1, "a violation is a violation, also where it was expected");
}

#[test]
fn a_seed_played_twice_leaves_one_trace_event_by_event() {
    let stage = Simulation::default();
    for (folder, name, seed) in [
        ("fast", "storm", 1),
        ("fast", "leader-killed", 2),
        ("fast", "wal-damage", 3),
        ("fast", "power-loss-of-all", 4),
        ("fast", "locks", 5),
        ("fast", "users", 6),
        ("fast", "lease-checkpoints", 1),
        ("fast", "another-value", 2),
        ("fast", "lost-majority", 3),
        ("fast", "elections", 4),
        ("fast", "full-quota", 5),
        ("fast", "v2-keys", 6),
        ("rare", "joint-changes", 7),
        ("rare", "wiped-member-returns", 3),
        ("fast", "reboots", 3),
        ("rare", "reboots-of-members", 2),
        ("fast", "units", 3),
        ("rare", "fleetd-restarted", 2),
        ("rare", "units-cut-off", 1),
    ] {
        let plan = Plan::draw(&scenario(folder, name), seed);
        if let Err(difference) = stage.check_determinism(&plan) {
            panic!("{name} seed {seed}: {difference}");
        }
    }
}

#[test]
fn a_seed_played_again_in_a_process_that_has_played_others_is_the_same() {
    let stage = Simulation::default();
    // In these members end by themselves, with clients connected: of a failed sync, of a full disk, of their removal.
    for (folder, name) in [("fast", "sync-error"), ("fast", "full-disk"), ("rare", "wiped-member-returns")] {
        let scenario = scenario(folder, name);
        let play =
            || (1..7).map(|seed| stage.run(&Plan::draw(&scenario, seed)).trace_hash).collect::<Vec<_>>();
        assert_eq!(play(), play(), "{name}");
    }
}

#[test]
fn everything_seen_is_the_same_in_both_runs_of_a_seed_and_another_seed_differs() {
    let stage = Simulation::default();
    let storm = scenario("fast", "storm");
    let (first, second) = (stage.run(&Plan::draw(&storm, 5)), stage.run(&Plan::draw(&storm, 5)));
    assert_eq!(first.trace_hash, second.trace_hash);
    assert_eq!(first.history, second.history);
    assert_eq!(first.observed, second.observed);
    assert_eq!(first.watches, second.watches);
    assert_ne!(first.trace_hash, stage.run(&Plan::draw(&storm, 6)).trace_hash);
}

#[test]
fn faults_reach_the_cluster() {
    let stage = Simulation::default();
    let mut reached = BTreeSet::new();
    for name in ["leader-killed", "lagging-member", "wal-damage", "sync-error", "power-loss-of-all"] {
        for seed in 1..6 {
            let (summary, ..) = run_one(&stage, &Plan::draw(&scenario("fast", name), seed));
            reached.extend(summary.reached.iter().map(|goal| goal.name()));
        }
    }
    for goal in [
        "leader-changed",
        "member-restarted",
        "member-stopped",
        "snapshot-sent",
        "snapshot-installed",
        "log-compacted",
        "wal-tail-cut",
        "wal-damage-found",
        "write-ambiguous",
        "served-during-fault",
        "watch-resumed",
    ] {
        assert!(reached.contains(goal), "no run reached {goal}: {reached:?}");
    }
}

#[test]
fn a_second_log_is_spared_while_the_first_is_not_whole() {
    let scenario = scenario("fast", "wal-damage");
    let spared = (300..340).filter(|seed| {
        let (summary, log, _) = run_one(&Simulation::default(), &Plan::draw(&scenario, *seed));
        assert_eq!(summary.verdict, VerdictKind::Pass, "seed {seed}: {}", summary.sentence);
        log.expect("a run").faults.iter().any(|fault| fault.text.contains("is spared: not whole yet"))
    });
    assert!(spared.count() > 0, "no run damages a second log so soon");
}

/// The site `commit-skipped` lets the store's file lag behind in this run: more than twice the quota was let in once.
#[test]
fn what_waits_to_be_written_counts_against_the_quota() {
    let plan = Plan::draw(&scenario("rare", "full-at-the-end"), 1001);
    assert!(plan.sites.iter().any(|active| active.site == Site::CommitSkipped), "{:?}", plan.sites);
    let (summary, ..) = run_one(&Simulation::default(), &plan);
    assert_eq!(summary.verdict, VerdictKind::Pass, "{}", summary.sentence);
}

#[test]
fn every_hunt_names_scenarios_that_exist() {
    let known: BTreeSet<String> = ["fast", "rare", "regressions"]
        .iter()
        .flat_map(|folder| scenarios(folder))
        .map(|scenario| scenario.name)
        .collect();
    for hunt in mutants::HUNTS {
        for name in hunt.scenarios {
            assert!(known.contains(*name), "the hunt for {} names {name}, which is no scenario", hunt.bug);
        }
    }
}
