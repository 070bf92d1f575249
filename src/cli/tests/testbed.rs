//! The testbed's commands as a person types them: a failure is found, made small, and fails again.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]
#![allow(clippy::disallowed_types, reason = "tests of processes talk to the machine itself")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Output;
use support::SEATRIAL;

fn seatrial(args: &[&str]) -> Output {
    std::process::Command::new(SEATRIAL).args(args).output().expect("it starts")
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

fn lying_syncs() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/negative/lying-syncs.toml");
    std::fs::read_to_string(file).unwrap()
}

/// What is kept of the small run, by what was printed.
fn small_plan(told: &str) -> PathBuf {
    let replay = told.lines().find_map(|line| line.strip_prefix("replay: seatrial replay "));
    let path = PathBuf::from(replay.unwrap_or_else(|| panic!("no replay: {told}")));
    assert!(path.with_file_name("report.html").exists(), "{told}");
    path
}

fn fails_again(plan: &Path, oracle: &str, out: &str) {
    let again = seatrial(&["replay", plan.to_str().unwrap(), "--twice", "--out", out]);
    let told = text(&again);
    assert_eq!(again.status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("violation ({oracle})")), "{told}");
    assert!(told.contains("played twice: both have the trace"), "{told}");
}

#[test]
fn a_failing_run_is_made_small_with_the_property_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lies.toml");
    std::fs::write(&file, lying_syncs()).unwrap();
    let (file, out) = (file.to_str().unwrap(), folder.path().join("out"));
    let out = out.to_str().unwrap();
    let shrunk = seatrial(&[
        "shrink",
        file,
        "--seed",
        "1",
        "--oracle",
        "linearizable",
        "--seconds",
        "20",
        "--out",
        out,
    ]);
    let told = text(&shrunk);
    assert_eq!(shrunk.status.code(), Some(0), "{told}");
    assert!(told.contains("lies seed 1 violates linearizable"), "{told}");
    assert!(told.contains("power-loss of all members"), "{told}");
    let plan = small_plan(&told);
    let again = seatrial(&["replay", plan.to_str().unwrap(), "--out", out]);
    assert_eq!(again.status.code(), Some(1), "{}", text(&again));
    let record = std::fs::read_to_string(plan.with_file_name("record.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let oracles = record["oracles"].as_array().unwrap();
    let verdict = |name: &str| oracles.iter().find(|one| one["name"] == name).unwrap()["verdict"].clone();
    assert_eq!(verdict("linearizable"), "violation", "{told}");

    for (args, hint) in [
        (vec!["shrink", file, "--seed", "1", "--oracle", "lock"], "it violates "),
        (vec!["shrink", file], "--seed 7"),
        (vec!["shrink", "/nowhere.json"], "/nowhere.json"),
    ] {
        let refused = seatrial(&args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {}", text(&refused));
        assert!(text(&refused).contains(hint), "{args:?}: {}", text(&refused));
    }
}

#[test]
fn run_makes_a_failure_small_by_itself_and_leaves_those_alone_that_were_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lies.toml");
    let unwanted = lying_syncs().split("[expect]").next().unwrap().to_owned();
    let out = folder.path().join("out");
    let args =
        ["run", file.to_str().unwrap(), "--seeds", "1..2", "--shrink", "20", "--out", out.to_str().unwrap()];
    std::fs::write(&file, unwanted).unwrap();
    let failed = seatrial(&args);
    let told = text(&failed);
    assert_eq!(failed.status.code(), Some(1), "{told}");
    assert!(told.contains("lies seed 1 made small"), "{told}");
    fails_again(
        &small_plan(&told[told.find("made small").unwrap()..]),
        "leader-completeness",
        out.to_str().unwrap(),
    );
    std::fs::write(&file, lying_syncs()).unwrap();
    let wanted = text(&seatrial(&args));
    assert!(!wanted.contains("small"), "{wanted}");

    // What is kept is a scenario file: alone it fails again, with its own seed.
    let keep = told.lines().find_map(|line| line.strip_prefix("keep: ")).expect("a file to keep");
    let script = std::fs::read_to_string(keep).unwrap();
    assert!(script.starts_with("# Made small from a run of lies"), "{script}");
    let kept = folder.path().join("kept.toml");
    std::fs::write(&kept, script).unwrap();
    let again = seatrial(&["run", kept.to_str().unwrap(), "--shrink", "0", "--out", out.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1), "{}", text(&again));
    assert!(text(&again).contains("1/1 runs in"), "one seed, its own: {}", text(&again));
    let replayed = seatrial(&["replay", kept.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    assert_eq!(replayed.status.code(), Some(1), "{}", text(&replayed));
}
