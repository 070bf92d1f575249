//! Histories recorded by other tools, with the verdicts their own checkers gave.
//!
//! The data is not part of this repository: `SEATRIAL_DATA` names a folder with `histories/verdicts.tsv` and
//! the files it lists.

#![allow(clippy::disallowed_methods, reason = "these tests read files and look at the clock")]

use seatrial_history::search::{AppendKv, CasRegister, MultiRegister, check};
use seatrial_history::{Budget, Verdict, parse};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The folder, or a loud word that nothing was tested.
fn data() -> Option<PathBuf> {
    match std::env::var_os("SEATRIAL_DATA") {
        Some(folder) => Some(PathBuf::from(folder).join("histories")),
        None => {
            eprintln!(
                "SKIPPED: set SEATRIAL_DATA to the folder that holds histories/; NOTHING WAS TESTED HERE"
            );
            None
        }
    }
}

fn judge(model: &str, file: &str, text: &str) -> Verdict {
    let budget = Budget::default();
    match (model, file.ends_with(".log")) {
        ("cas-register", true) => check(&CasRegister, &parse::jepsen_register(text).unwrap(), budget),
        ("cas-register", false) => check(&CasRegister, &parse::knossos_register(text).unwrap(), budget),
        ("multi-register", _) => {
            let initial = BTreeMap::from([("x".to_owned(), 0), ("y".to_owned(), 0)]);
            check(&MultiRegister { initial }, &parse::knossos_multi_register(text).unwrap(), budget)
        }
        ("kv-append", _) => check(&AppendKv, &parse::porcupine_kv(text).unwrap(), budget),
        (other, _) => panic!("no model {other} for {file}"),
    }
}

#[test]
fn every_recorded_history_gets_the_verdict_its_own_checker_gave() {
    let Some(folder) = data() else { return };
    let list = std::fs::read_to_string(folder.join("verdicts.tsv")).unwrap();
    let (mut wrong, mut times) = (Vec::new(), Vec::new());
    for line in list.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let (file, model, expected) = (fields[0], fields[1], fields[2]);
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let start = Instant::now();
        let verdict = judge(model, file, &text);
        times.push((start.elapsed(), file.to_owned()));
        let right = match expected {
            "linearizable" => verdict == Verdict::Ok,
            "not-linearizable" => verdict.violation().is_some(),
            other => panic!("no verdict {other}"),
        };
        if !right {
            wrong.push(format!("{file}: expected {expected}, got {verdict}"));
        }
    }
    times.sort();
    let (jepsen, others): (Vec<_>, Vec<_>) =
        times.iter().partition(|(_, file)| file.starts_with("etcd-jepsen"));
    let total = |times: &[&(Duration, String)]| times.iter().map(|(time, _)| *time).sum::<Duration>();
    let _ = writeln!(
        std::io::stderr(),
        "{} histories of Jepsen in {:?}, {} others in {:?}; slowest: {:?}",
        jepsen.len(),
        total(&jepsen),
        others.len(),
        total(&others),
        times.iter().rev().take(4).collect::<Vec<_>>()
    );
    assert_eq!(times.len(), 67);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_search_that_may_not_try_enough_says_that_it_does_not_know() {
    let Some(folder) = data() else { return };
    let text = std::fs::read_to_string(folder.join("etcd-jepsen/etcd_002.log")).unwrap();
    let operations = parse::jepsen_register(&text).unwrap();
    for budget in
        [Budget { steps: 100, ..Budget::default() }, Budget { memo_bytes: 1_000, ..Budget::default() }]
    {
        let verdict = check(&CasRegister, &operations, budget);
        assert!(matches!(verdict, Verdict::Unknown { .. }), "{budget:?}: {verdict}");
    }
}
