//! `seatrial check-history`: are histories linearizable that somebody else recorded?

mod files;
mod print;

use super::{fail, jobs};
use crate::exit;
use clap::Args;
use files::Source;
use seatrial_history::Budget;
use seatrial_history::examine::{Examined, examine};
use seatrial_history::parse::{FailedCas, Format, Initial, ModelName, Options, Recording, read};
use seatrial_history::search::Spend;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
pub(crate) struct CheckHistoryArgs {
    /// Files, folders of them, run folders; `-` is standard input.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The format [default: told by the content]: seatrial, edn, jepsen-log, kv-log.
    #[arg(long, value_name = "NAME")]
    format: Option<Format>,
    /// The model [default: told by the content]: cas-register, multi-register, kv-append, etcd.
    #[arg(long, value_name = "NAME")]
    model: Option<ModelName>,
    /// What registers hold at first: a number, nil, or x=0,y=1 [default: nil; in transactions, anything].
    #[arg(long, value_name = "VALUE", value_parser = parse_initial)]
    initial: Option<Initial>,
    /// What the `:fail` of a compare-and-swap says: mismatch (another value was there) or nothing (it did not
    /// happen) [default: mismatch in a jepsen-log, else nothing].
    #[arg(long, value_name = "MEANING", value_parser = parse_failed_cas)]
    failed_cas: Option<FailedCas>,
    /// At most so many seconds for each file; then the verdict is unknown.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// At most so many MiB for each file; then the verdict is unknown.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    memory: usize,
    /// Files at one time [default: one per core].
    #[arg(long)]
    jobs: Option<usize>,
    /// One JSON object for each file on standard output.
    #[arg(long)]
    json: bool,
    /// Explain with all lines instead of the first few.
    #[arg(long)]
    long: bool,
}

fn parse_initial(text: &str) -> Result<Initial, String> {
    let number = |text: &str| match text.trim() {
        "nil" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            format!("expected a whole number or nil, found {text:?}\nhint: --initial 0, or --initial x=0,y=1")
        }),
    };
    if !text.contains('=') {
        return number(text).map(Initial::All);
    }
    let mut named = std::collections::BTreeMap::new();
    for part in text.split(',') {
        let (name, value) =
            part.split_once('=').ok_or_else(|| format!("expected NAME=VALUE, found {part:?}"))?;
        if let Some(value) = number(value)? {
            named.insert(name.trim().trim_start_matches(':').to_owned(), value);
        }
    }
    Ok(Initial::Named(named))
}

fn parse_failed_cas(text: &str) -> Result<FailedCas, String> {
    match text {
        "mismatch" => Ok(FailedCas::Mismatch),
        "nothing" => Ok(FailedCas::Nothing),
        other => Err(format!("expected mismatch or nothing, found {other:?}")),
    }
}

/// A file that was judged.
struct Judged {
    examined: Examined,
    took: Duration,
}

pub(super) fn run(args: &CheckHistoryArgs) -> ExitCode {
    let histories = match load(args) {
        Ok(histories) => histories,
        Err(text) => return fail(exit::USAGE, text),
    };
    let width = histories.iter().map(|(source, _)| source.shown.chars().count()).max().unwrap_or(0);
    let mut tally = print::Tally::default();
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs(args.jobs).min(histories.len()) {
            let sender = sender.clone();
            scope.spawn(|| {
                let sender = sender;
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some((source, recording)) = histories.get(place) else { return };
                    // Nobody listens any more where printing ended early.
                    if sender.send((place, judge(args, source, recording))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        // In the order of the files, each as soon as all before it are there.
        let mut early = std::collections::BTreeMap::new();
        let mut due = 0;
        for (place, judged) in receiver {
            early.insert(place, judged);
            while let Some(judged) = early.remove(&due) {
                let (source, recording) = &histories[due];
                tally.add(recording, &judged);
                if args.json {
                    println!("{}", print::json(source, recording, &judged));
                } else {
                    print!("{}", print::text(source, recording, &judged, width, args.long));
                }
                due += 1;
            }
        }
    });
    if !args.json && histories.len() > 1 {
        println!("{tally}");
    }
    ExitCode::from(tally.exit_code())
}

/// Reads everything before anything is judged: a wrong file is told at once.
fn load(args: &CheckHistoryArgs) -> Result<Vec<(Source, Recording)>, String> {
    let options = Options {
        format: args.format,
        model: args.model,
        failed_cas: args.failed_cas,
        initial: args.initial.clone().unwrap_or_default(),
    };
    let mut histories = Vec::new();
    for source in files::gather(&args.paths, args.format.is_some())? {
        let text = source.read()?;
        let recording = read(&text, &options).map_err(|error| {
            let hint = error.hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            format!("{}:{}:{}: {}{hint}", source.shown, error.line, error.column, error.why)
        })?;
        histories.push((source, recording));
    }
    Ok(histories)
}

fn judge(args: &CheckHistoryArgs, source: &Source, recording: &Recording) -> Judged {
    let begun = Instant::now();
    let limit = Duration::from_secs(args.seconds);
    let spend = Spend {
        budget: Budget { steps: u64::MAX, memo_bytes: args.memory.saturating_mul(1 << 20) },
        goes_on: &|| begun.elapsed() < limit,
    };
    let examined = source.believe(examine(recording, spend));
    Judged { examined, took: begun.elapsed() }
}
