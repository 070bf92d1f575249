//! `seatrial fuzz`, `report merge` and `bisect` as a person types them, and as a CI system does.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]
#![allow(clippy::disallowed_types, reason = "tests of processes talk to the machine itself")]

mod support;

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::SEATRIAL;

fn seatrial(args: &[&str]) -> Output {
    Command::new(SEATRIAL).args(args).output().expect("it starts")
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

/// A scenario that passes, and takes a moment.
const CALM: &str = "title = \"calm\"\nwhy = \"a test\"\nmembers = 3\ntime = \"4s\"\n\
    [[workload]]\nname = \"kv\"\nclients = 2\n\
    [[nemesis]]\nname = \"kill\"\nstart = \"2s\"\nevery = \"2s\"\nlasts = \"500ms\"\n";

/// One that fails, and does not say that it must.
fn lies() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/negative/lying-syncs.toml");
    let text = std::fs::read_to_string(file).unwrap();
    text.split("[expect]").next().unwrap().to_owned()
}

fn campaign(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("campaign.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn failures_are_found_counted_by_their_kind_kept_and_made_small() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("lies.toml"), lies()).unwrap();
    std::fs::write(path("calm.toml"), CALM).unwrap();
    let (out, junit, sarif) = (path("out"), path("junit.xml"), path("found.sarif"));
    let fuzzed = seatrial(&[
        "fuzz",
        shown(&path("lies.toml")),
        shown(&path("calm.toml")),
        "--seeds",
        "1..6",
        "--shrink",
        "3",
        "--out",
        shown(&out),
        "--junit",
        shown(&junit),
        "--sarif",
        shown(&sarif),
        "--corpus",
        shown(&path("corpus")),
    ]);
    let told = text(&fuzzed);
    assert_eq!(fuzzed.status.code(), Some(1), "{told}");
    let stored = campaign(&out);
    assert_eq!(stored["scenarios"]["calm"]["passed"], 6, "{told}");
    assert_eq!(stored["scenarios"]["lies"]["runs"], 6);
    let failures = stored["failures"].as_object().unwrap();
    let times: u64 = failures.values().map(|failure| failure["times"].as_u64().unwrap()).sum();
    let lies = &stored["scenarios"]["lies"];
    assert_eq!(times, 6 - lies["passed"].as_u64().unwrap(), "{told}");
    assert!((failures.len() as u64) < times, "failures that are alike count once: {told}");

    // The command that is printed replays it, small or not.
    let replay = told.lines().rev().find_map(|line| line.trim().strip_prefix("replay: seatrial replay "));
    let plan = replay.unwrap_or_else(|| panic!("no replay: {told}"));
    let again = seatrial(&["replay", plan, "--out", shown(&path("again"))]);
    assert_ne!(again.status.code(), Some(0), "{}", text(&again));
    let (id, found) =
        failures.iter().find(|(_, failure)| failure["small"].is_object()).expect("one made small");
    let small = out.join(found["small"]["folder"].as_str().unwrap());
    assert!(small.join("plan.json").exists() && small.join("report.html").exists(), "{told}");
    assert!(out.join(found["folder"].as_str().unwrap()).join("history.jsonl").exists());

    let page = std::fs::read_to_string(out.join("index.html")).unwrap();
    assert!(page.contains(id.as_str()) && page.contains("made small"), "the page tells of it");
    let junit = std::fs::read_to_string(junit).unwrap();
    assert!(junit.contains("6 of 6 runs passed") && junit.contains("<failure "), "{junit}");
    let sarif: Value = serde_json::from_str(&std::fs::read_to_string(sarif).unwrap()).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), failures.len());
    let place = &results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
    assert_eq!(place, shown(&path("lies.toml")));
    assert!(std::fs::read_dir(path("corpus")).unwrap().count() > 0, "what was new is in the corpus");
}

#[test]
fn who_is_interrupted_goes_on_and_runs_no_seed_twice() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calm.toml");
    std::fs::write(&file, CALM).unwrap();
    let out = folder.path().join("out");
    let args = ["fuzz", shown(&file), "--seeds", "1..240", "--out", shown(&out), "--jobs", "1"];
    let begin =
        || Command::new(SEATRIAL).args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let runs = || {
        if out.join("campaign.json").exists() { campaign(&out)["fresh"]["runs"].as_u64().unwrap() } else { 0 }
    };
    // Interrupted as by Ctrl-C: what is on its way ends, and all is stored.
    let mut first = begin();
    std::thread::sleep(Duration::from_millis(1500));
    let pid = rustix::process::Pid::from_child(&first);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let code = first.wait().unwrap().code();
    let after_one = runs();
    assert!(after_one > 0 && after_one < 240, "{after_one} runs, exit {code:?}");
    assert_eq!(code, Some(0), "it was content with what it had seen");
    // Killed: what was stored last is there.
    let mut second = begin();
    let deadline = Instant::now() + Duration::from_secs(30);
    while runs() == after_one && second.try_wait().unwrap().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    second.kill().unwrap();
    second.wait().unwrap();
    assert!(runs() >= after_one);
    let third = seatrial(&args);
    let told = text(&third);
    assert_eq!(third.status.code(), Some(0), "{told}");
    assert!(told.contains("going on after"), "{told}");
    let whole = campaign(&out);
    assert_eq!(whole["done"], 240);
    // A run that was on its way when it was killed is run again; it had not been counted.
    assert_eq!(whole["scenarios"]["calm"]["runs"], 240, "{told}");
    // Once done, it is done.
    let again = text(&seatrial(&args));
    assert!(again.contains("240 of 240 runs passed"), "{again}");
}

#[test]
fn shards_are_merged_into_one_and_other_campaigns_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("lies.toml"), lies()).unwrap();
    for shard in ["1", "2"] {
        let (out, which) = (path(shard), format!("{shard}/2"));
        let file = path("lies.toml");
        let args = [
            "fuzz",
            shown(&file),
            "--seeds",
            "3..7",
            "--shrink",
            "0",
            "--shard",
            &which,
            "--out",
            shown(&out),
        ];
        let told = seatrial(&args);
        assert_eq!(told.status.code(), Some(1), "{}", text(&told));
    }
    let (one, two, all) = (path("1"), path("2"), path("all"));
    let merged = seatrial(&["report", "merge", shown(&one), shown(&two), "--out", shown(&all), "--json"]);
    let told = String::from_utf8(merged.stdout.clone()).unwrap();
    assert_eq!(merged.status.code(), Some(1), "{}", text(&merged));
    let whole: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(whole["scenarios"]["lies"]["runs"], 5);
    let seeds = |folder: &Path| campaign(folder)["scenarios"]["lies"]["runs"].as_u64().unwrap();
    assert_eq!((seeds(&one), seeds(&two)), (3, 2));
    // The page still leads to the failures when the shards' folders are gone.
    std::fs::remove_dir_all(&one).unwrap();
    std::fs::remove_dir_all(&two).unwrap();
    for failure in whole["failures"].as_object().unwrap().values() {
        assert!(all.join(failure["folder"].as_str().unwrap()).join("report.html").exists(), "{failure}");
    }
    let page = std::fs::read_to_string(all.join("index.html")).unwrap();
    assert!(page.contains("plot growth"), "the page shows how the whole grew");
    let growth = whole["growth"].as_array().unwrap();
    assert_eq!(growth.last().unwrap()["failures"], whole["failures"].as_object().unwrap().len());
}

#[test]
fn a_variation_that_failed_when_the_campaign_was_killed_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("lies.toml"), lies()).unwrap();
    let (file, first, out) = (path("lies.toml"), path("first"), path("out"));
    let begun = seatrial(&["fuzz", shown(&file), "--seeds", "1..5", "--shrink", "0", "--out", shown(&first)]);
    assert_eq!(begun.status.code(), Some(1), "{}", text(&begun));
    let stored = campaign(&first);
    let (id, failure) = stored["failures"].as_object().unwrap().iter().next().expect("a failure");
    let plan = first.join(failure["folder"].as_str().unwrap()).join("plan.json");
    let mut plan: Value = serde_json::from_str(&std::fs::read_to_string(plan).unwrap()).unwrap();
    let seed = plan["seed"].clone();
    // Disks that lie toss no coin: another plan than the seed's, and the same run.
    let coin = &mut plan["faults"][0]["coin"];
    *coin = (!coin.as_bool().unwrap()).into();
    // As it is where the process was killed while it made the failure small: the books say nothing of it.
    let args = ["fuzz", shown(&file), "--seeds", "900..900", "--shrink", "0", "--out", shown(&out)];
    seatrial(&args);
    let mut books = campaign(&out);
    books["failures"].as_object_mut().unwrap().clear();
    std::fs::write(out.join("campaign.json"), books.to_string()).unwrap();
    let kept = out.join("failures").join(id);
    std::fs::create_dir_all(&kept).unwrap();
    std::fs::write(kept.join("found.json"), plan.to_string()).unwrap();
    let told = text(&seatrial(&args));
    let found = &campaign(&out)["failures"][id];
    assert_eq!((&found["seed"], &found["varied"]), (&seed, &Value::Bool(true)), "{told}");
    assert!(out.join(found["folder"].as_str().unwrap()).join("report.html").exists(), "{told}");
    assert_eq!(campaign(&out)["varied"]["runs"], 1);
    // Now the books know of it.
    seatrial(&args);
    assert_eq!(campaign(&out)["varied"]["runs"], 1);
}

#[test]
fn what_cannot_be_merged_or_gone_on_with_is_refused_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (calm, out) = (path("calm.toml"), path("out"));
    std::fs::write(&calm, CALM).unwrap();
    let (calm, out) = (shown(&calm), shown(&out));
    let begun = seatrial(&["fuzz", calm, "--seeds", "1..2", "--out", out]);
    assert_eq!(begun.status.code(), Some(0), "{}", text(&begun));
    std::fs::write(path("broken.json"), "{").unwrap();
    std::fs::create_dir(path("damaged")).unwrap();
    std::fs::write(path("damaged").join("campaign.json"), "{\"format\": 1, \"asked\": 3}").unwrap();
    std::fs::write(path("file"), "").unwrap();
    let (damaged, file) = (path("damaged"), path("file"));
    let (damaged, below_file) = (shown(&damaged), format!("{}/out", shown(&file)));
    for (args, words) in [
        (
            vec!["fuzz", calm, "--seeds", "1..3", "--out", out],
            "holds another campaign: it has seeds 1..2, not seeds 1..3\nhint: --fresh",
        ),
        (vec!["fuzz", calm, "--seeds", "1..2", "--out", damaged], "hint: --fresh"),
        (vec!["fuzz", calm, "--seeds", "1..2", "--out", &below_file], "hint: --out names a folder"),
        (vec!["fuzz", calm, "--shard", "1/2", "--out", out], "hint: all machines need the same beginning"),
        (vec!["fuzz", calm, "--shard", "3/2"], "there is no machine 3 of 2"),
        (vec!["fuzz", calm, "--time", "5"], "the duration \"5\" has no unit"),
        (vec!["fuzz", calm, "--vary", "100"], "100"),
        (vec!["fuzz", calm, "--seeds", "18446744073709551615"], "is beyond the last seed"),
        (vec!["fuzz", "/nowhere"], "/nowhere"),
        (vec!["report", "merge", out, "--out", out], "is one of the shards\nhint:"),
        (vec!["report", "merge", out, out], "both are shard 1/1\nhint:"),
        (vec!["report", "merge", "/nowhere"], "no campaign in this folder\nhint:"),
        (vec!["report", "merge", damaged], "campaign.json"),
        (vec!["bisect", "/nowhere", "--good", "HEAD"], "hint: give a run's folder"),
    ] {
        let refused = seatrial(&args);
        let told = text(&refused);
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {told}");
        assert!(told.contains(words), "{args:?}: {told}");
    }
    assert_eq!(campaign(Path::new(out))["done"], 2, "what was there is still there");
    let fresh = seatrial(&["fuzz", calm, "--seeds", "1..3", "--out", out, "--fresh"]);
    assert_eq!(fresh.status.code(), Some(0), "{}", text(&fresh));
    assert_eq!(campaign(Path::new(out))["done"], 3);
}

#[test]
fn the_first_commit_that_fails_is_found_among_some_that_say_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let git = |args: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(root)
            .args(["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"])
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "git {args:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "--quiet"]);
    // What `replay` says at each commit: 0 passes, 1 fails, 2 cannot read the plan.
    let mut commits = Vec::new();
    for (at, says) in [0, 0, 2, 0, 2, 2, 1, 1, 2, 1].iter().enumerate() {
        std::fs::write(root.join("program.sh"), format!("#!/bin/sh\n# {at}\nexit {says}\n")).unwrap();
        git(&["add", "."]);
        git(&["commit", "--quiet", "-m", &format!("commit {at}")]);
        commits.push(git(&["rev-parse", "HEAD"]));
    }
    std::fs::write(root.join("plan.json"), "{}").unwrap();
    let plan = root.join("plan.json");
    let bisect = |good: &str, more: &[&str]| {
        let mut args =
            vec!["bisect", shown(&plan), "--good", good, "--program", "made", "--repository", shown(root)];
        args.extend(more);
        if !more.contains(&"--build") {
            args.extend(["--build", "install -m 755 program.sh made"]);
        }
        seatrial(&args)
    };
    let found = bisect(&commits[0], &[]);
    let told = text(&found);
    assert_eq!(found.status.code(), Some(0), "{told}");
    let said: Vec<&str> = std::str::from_utf8(&found.stdout).unwrap().lines().collect();
    assert!(said[0].starts_with("first fails: ") && said[0].ends_with("commit 6"), "{told}");
    assert!(said[1].contains("could not be built"), "{told}");
    assert!(said[2].ends_with("commit 4") && said[3].ends_with("commit 5") && said.len() == 4, "{told}");
    let left = git(&["worktree", "list"]);
    assert_eq!(left.lines().count(), 1, "its work tree is gone: {left}");

    for (good, more, words) in [
        (commits[7].as_str(), vec![], "does not pass at"),
        (commits[0].as_str(), vec!["--bad", &commits[3]], "does not fail at"),
        (commits[5].as_str(), vec!["--bad", &commits[2]], "does not come after"),
        ("nothing", vec![], "nothing"),
    ] {
        let refused = bisect(good, &more);
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
        assert!(text(&refused).contains(words), "{words}: {}", text(&refused));
    }
    let unbuilt = bisect(&commits[0], &["--build", "/nowhere/make"]);
    assert_eq!(unbuilt.status.code(), Some(4), "{}", text(&unbuilt));
    assert!(text(&unbuilt).contains("hint: --build"), "{}", text(&unbuilt));
}
