//! The runner and the oracles together, in a theatre whose cluster is right or wrong at will.

mod support;

use seatrial_scenario::batch::{BatchOptions, Stage, run_batch, run_one};
use seatrial_scenario::format::parse;
use seatrial_scenario::format::spec::{Scenario, VerdictKind};
use seatrial_scenario::{Plan, judge};
use support::{Bug, FakeStage};

const STORM: &str = r#"
title = "storm"
why = "tests of the runner"
members = 3
time = "20s"
swarm = false

[[workload]]
name = "kv"
clients = 4
think = "100ms"

[[workload]]
name = "watch"
clients = 2

[[workload]]
name = "lease"
clients = 2

[[nemesis]]
name = "power-loss"
target = "all"
lasts = "500ms"
every = "5s"
times = 3

[[nemesis]]
name = "kill"
target = "random"
every = "4s"
lasts = "1s"

[expect]
heals_within = "10s"

[[goal]]
name = "leader-changed"
"#;

fn storm() -> Scenario {
    parse("storm.toml", STORM).unwrap()
}

fn verdict_of(bug: Bug) -> (VerdictKind, Vec<String>) {
    let (summary, ..) = run_one(&FakeStage(bug), &Plan::draw(&storm(), 1));
    (summary.verdict, summary.violated)
}

#[test]
fn a_right_cluster_passes_every_oracle() {
    let stage = FakeStage(Bug::None);
    for seed in 0..10 {
        let (summary, log, judgement) = run_one(&stage, &Plan::draw(&storm(), seed));
        assert_eq!(summary.verdict, VerdictKind::Pass, "seed {seed}: {judgement:#?}");
        let log = log.unwrap();
        assert!(log.history.operations.len() > 100, "{} operations", log.history.operations.len());
        assert!(log.faults.len() > 3, "{:?}", log.faults);
        assert!(log.watches.iter().any(|watch| !watch.batches.is_empty()));
        assert!(log.leases.iter().any(|lease| lease.gone.is_some()));
    }
}

#[test]
fn each_wrong_cluster_is_found_by_the_oracle_for_it() {
    for (bug, oracle) in [
        (Bug::LosesWrites, "durability"),
        (Bug::StaleReads, "linearizable"),
        (Bug::MixedReads, "serializable"),
        (Bug::DropsEvents, "watch"),
        (Bug::ShortLeases, "lease"),
        (Bug::ImmortalLeases, "lease"),
        (Bug::WrongHash, "hash-kv"),
        (Bug::TwoLeaders, "election-safety"),
        (Bug::NeverHeals, "convergence"),
        (Bug::Diverges, "state-machine-safety"),
        (Bug::Panics, "no-panic"),
        (Bug::RefusesBoot, "boots"),
    ] {
        let (verdict, violated) = verdict_of(bug);
        assert_eq!(verdict, VerdictKind::Violation, "{bug:?}");
        assert!(
            violated.iter().any(|name| name == oracle),
            "{bug:?} was found by {violated:?}, not {oracle}"
        );
    }
}

#[test]
fn one_seed_is_one_run_and_another_seed_another() {
    let stage = FakeStage(Bug::None);
    let run = |seed| stage.run(&Plan::draw(&storm(), seed));
    let (a, b, c) = (run(5), run(5), run(6));
    assert_eq!(a.history, b.history);
    assert_eq!(a.observed, b.observed);
    assert_ne!(a.history, c.history);
}

#[test]
fn a_stored_plan_replays_the_same_run() {
    let plan = Plan::draw(&storm(), 7);
    let text = serde_json::to_string(&plan).unwrap();
    let stored: Plan = serde_json::from_str(&text).unwrap();
    assert_eq!(stored, plan);
    let stage = FakeStage(Bug::StaleReads);
    assert_eq!(judge(&stage.run(&plan)), judge(&stage.run(&stored)));
}

#[test]
#[allow(clippy::disallowed_methods, reason = "looks at the files that were written")]
fn a_batch_writes_a_folder_for_the_first_seed_and_for_each_failure() {
    let folder = tempfile::tempdir().unwrap();
    let options = BatchOptions {
        jobs: 2,
        folder: Some(folder.path().to_owned()),
        commit: "abc".to_owned(),
        options: Vec::new(),
        stop_at_violation: false,
    };
    let outcome = run_batch(&FakeStage(Bug::None), &[storm()], Some(&(3..6)), &options, &|_, _, _| {});
    assert_eq!(outcome.exit_code(), 0, "{outcome:#?}");
    assert!(outcome.is_as_expected());
    let folders: Vec<u64> =
        outcome.runs.iter().filter(|run| run.folder.is_some()).map(|run| run.seed).collect();
    assert_eq!(folders, [3]);
    for name in ["plan.json", "history.jsonl", "record.json", "report.html", "logs/member-1.log"] {
        assert!(folder.path().join("storm-3").join(name).is_file(), "{name}");
    }
    assert!(folder.path().join("index.html").is_file());

    let outcome = run_batch(&FakeStage(Bug::StaleReads), &[storm()], Some(&(3..6)), &options, &|_, _, _| {});
    assert_eq!(outcome.exit_code(), 1);
    let stored = seatrial_scenario::files::load_plan(&folder.path().join("storm-4/plan.json")).unwrap();
    assert_eq!(stored, Plan::draw(&storm(), 4));
    let table = seatrial_scenario::table::scenarios(&outcome);
    assert!(table.contains("violation"), "{table}");
    assert!(table.contains("replay: seatrial replay"), "{table}");
}

#[test]
fn a_goal_that_no_seed_reaches_is_inconclusive_only_over_seeds_enough() {
    let text = STORM.replace("leader-changed", "wal-tail-cut");
    let scenario = parse("goal.toml", &text).unwrap();
    let options = BatchOptions {
        jobs: 2,
        folder: None,
        commit: String::new(),
        options: Vec::new(),
        stop_at_violation: false,
    };
    let run = |seeds| {
        run_batch(
            &FakeStage(Bug::None),
            std::slice::from_ref(&scenario),
            Some(&seeds),
            &options,
            &|_, _, _| {},
        )
    };
    assert_eq!(run(0..10).exit_code(), 3, "never a pass");
    assert_eq!(run(0..1).exit_code(), 0, "one seed need not meet a rare event");
}

#[test]
fn a_negative_scenario_is_as_expected_only_when_it_fails() {
    let text =
        STORM.replace("heals_within", "verdict = \"violation\"\noracle = \"durability\"\nheals_within");
    let scenario = parse("negative.toml", &text).unwrap();
    let options = BatchOptions {
        jobs: 1,
        folder: None,
        commit: String::new(),
        options: Vec::new(),
        stop_at_violation: false,
    };
    let run = |bug| {
        run_batch(&FakeStage(bug), std::slice::from_ref(&scenario), Some(&(0..2)), &options, &|_, _, _| {})
    };
    let lying = run(Bug::LosesWrites);
    assert!(lying.is_as_expected(), "{lying:#?}");
    assert_eq!(lying.exit_code(), 1);
    assert!(!run(Bug::None).is_as_expected());
}

#[test]
fn swarm_drops_faults_from_some_seeds_and_keeps_them_in_others() {
    let text = STORM.replace("swarm = false", "swarm = true");
    let scenario = parse("swarm.toml", &text).unwrap();
    let kinds = |seed| {
        let plan = Plan::draw(&scenario, seed);
        plan.faults.iter().map(|fault| fault.kind.name()).collect::<std::collections::BTreeSet<_>>()
    };
    let drawn: Vec<_> = (0..60).map(kinds).collect();
    for size in 0..=2 {
        assert!(drawn.iter().any(|kinds| kinds.len() == size), "no seed has {size} kinds of faults");
    }
}

#[test]
fn dropping_one_nemesis_leaves_the_times_of_the_others() {
    let with_both = Plan::draw(&storm(), 3);
    let mut scenario = storm();
    scenario.nemeses[0].times = 1;
    let changed = Plan::draw(&scenario, 3);
    let kills = |plan: &Plan| -> Vec<_> {
        plan.faults
            .iter()
            .filter(|fault| fault.kind.name() == "kill")
            .map(|fault| (fault.at, fault.ends))
            .collect()
    };
    assert_eq!(kills(&with_both), kills(&changed));
    assert_eq!(with_both.clients, changed.clients);
    assert_ne!(with_both.faults.len(), changed.faults.len());
}
