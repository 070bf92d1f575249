//! What it takes to read recorded histories and to judge them, folder by folder.
//!
//! The data is not part of this repository: `SEATRIAL_DATA` names a folder with `histories/`, in it a folder for each
//! origin. First every file is timed for itself, the median of 15 rounds, for the slowest counts as well as the sum;
//! then criterion takes each folder as a whole.

#![allow(clippy::disallowed_methods, reason = "a bench reads files and looks at the clock")]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use seatrial_history::parse::{Content, Options, Recording, read};
use seatrial_history::search::check;
use seatrial_history::{Budget, Final, Verdict, check_revisions};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn judge(recording: &Recording) -> Verdict {
    let budget = Budget::default();
    match &recording.content {
        Content::Register(model, parts) => {
            parts.iter().fold(Verdict::Ok, |worst, part| worst.and(check(model, &part.operations, budget)))
        }
        Content::MultiRegister(model, operations) => check(model, operations, budget),
        Content::Append(parts) => parts
            .iter()
            .fold(Verdict::Ok, |worst, part| worst.and(check(&part.text_model(), &part.operations, budget))),
        Content::Etcd(history) => check_revisions(history, &Final::default()),
    }
}

/// The histories by folder: those files which can be read as one.
fn folders() -> BTreeMap<String, Vec<(String, String)>> {
    let Some(data) = std::env::var_os("SEATRIAL_DATA") else {
        eprintln!("SKIPPED: set SEATRIAL_DATA to the folder that holds histories/; NOTHING WAS MEASURED");
        return BTreeMap::new();
    };
    let mut folders: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut left = vec![PathBuf::from(data).join("histories")];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("the folder of histories can be read");
            left.extend(entries.map(|entry| entry.expect("its entries can be read").path()));
            continue;
        }
        let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let folder = path.parent().map(PathBuf::from).as_ref().and_then(name).unwrap_or_default();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if read(&text, &Options::default()).is_ok() {
            folders.entry(folder).or_default().push((name(&path).unwrap_or_default(), text));
        }
    }
    folders
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn each_for_itself(folder: &str, files: &[(String, String)]) {
    let (mut reading, mut judging, mut worst) = (Duration::ZERO, Duration::ZERO, (Duration::ZERO, ""));
    for (name, text) in files {
        let (mut reads, mut judged) = (Vec::new(), Vec::new());
        for _ in 0..15 {
            let start = Instant::now();
            let recording = read(text, &Options::default()).expect("it was read before");
            reads.push(start.elapsed());
            let start = Instant::now();
            black_box(judge(&recording));
            judged.push(start.elapsed());
        }
        let (read, judged) = (median(reads), median(judged));
        reading += read;
        judging += judged;
        worst = worst.max((judged, name));
        if std::env::var_os("SEATRIAL_EACH").is_some() {
            eprintln!("{folder}/{name}\tread {read:?}\tjudged {judged:?}");
        }
    }
    let files = files.len();
    eprintln!("{folder}: {files} files read in {reading:?}, judged in {judging:?}; slowest {worst:?}");
}

fn histories(c: &mut Criterion) {
    let folders = folders();
    let mut group = c.benchmark_group("histories");
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    for (folder, files) in &folders {
        each_for_itself(folder, files);
        group.bench_with_input(BenchmarkId::new("read", folder), files, |b, files| {
            b.iter(|| files.iter().filter(|(_, text)| read(text, &Options::default()).is_ok()).count());
        });
        let recordings: Vec<Recording> =
            files.iter().filter_map(|(_, text)| read(text, &Options::default()).ok()).collect();
        group.bench_with_input(BenchmarkId::new("judge", folder), &recordings, |b, recordings| {
            b.iter(|| recordings.iter().filter(|recording| judge(recording).is_ok()).count());
        });
    }
    group.finish();
}

criterion_group!(benches, histories);
criterion_main!(benches);
