//! Histories recorded by other tools, with the verdicts their own checkers gave.
//!
//! The data is not part of this repository: `SEATRIAL_DATA` names a folder with `histories/verdicts.tsv` and
//! the files it lists.

#![allow(clippy::disallowed_methods, reason = "these tests read files and look at the clock")]

use seatrial_history::parse::{Content, Options, Recording, read};
use seatrial_history::search::check;
use seatrial_history::{Budget, Final, Verdict, check_revisions};
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

/// Whether every part of the recording is linearizable.
fn judge(recording: &Recording, budget: Budget) -> Verdict {
    let worst = |verdicts: Vec<Verdict>| verdicts.into_iter().fold(Verdict::Ok, Verdict::and);
    match &recording.content {
        Content::Register(model, parts) => {
            worst(parts.iter().map(|part| check(model, &part.operations, budget)).collect())
        }
        Content::MultiRegister(model, operations) => check(model, operations, budget),
        Content::Append(parts) => {
            worst(parts.iter().map(|part| check(&part.text_model(), &part.operations, budget)).collect())
        }
        Content::Etcd(history) => check_revisions(history, &Final::default()),
    }
}

#[test]
fn every_recorded_history_gets_the_verdict_its_own_checker_gave() {
    let Some(folder) = data() else { return };
    let list = std::fs::read_to_string(folder.join("verdicts.tsv")).unwrap();
    let (mut wrong, mut times, mut read_times) = (Vec::new(), Vec::new(), Duration::ZERO);
    for line in list.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let (file, model, expected) = (fields[0], fields[1], fields[2]);
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let start = Instant::now();
        let recording = read(&text, &Options::default()).unwrap();
        read_times += start.elapsed();
        assert_eq!(recording.model.word(), model, "{file}");
        let start = Instant::now();
        let verdict = judge(&recording, Budget::default());
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
        "{} histories of Jepsen in {:?}, {} others in {:?}, read in {read_times:?}; slowest: {:?}",
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
    let recording = read(&text, &Options::default()).unwrap();
    for budget in
        [Budget { steps: 100, ..Budget::default() }, Budget { memo_bytes: 1_000, ..Budget::default() }]
    {
        let verdict = judge(&recording, budget);
        assert!(matches!(verdict, Verdict::Unknown { .. }), "{budget:?}: {verdict}");
    }
}
