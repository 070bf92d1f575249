//! `seatrial shrink`, and what the other commands do with a failure: it is made small.

use super::{Plan, WorldChoice, fail, jobs, options_of_one, planned, worlds};
use crate::exit;
use clap::Args;
use seatrial_scenario::batch::{BatchOptions, Stage, replay_command, run_one, write_folder};
use seatrial_scenario::files::write_whole;
use seatrial_scenario::format::spec::VerdictKind;
use seatrial_scenario::format::{parse, print};
use seatrial_scenario::shrink::{Bulk, Shrink, Shrunk, shrink, story};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
pub(crate) struct ShrinkArgs {
    /// A run's folder, its plan.json, or a scenario file (then with --seed).
    path: PathBuf,
    /// The seed, for a scenario file.
    #[arg(long)]
    seed: Option<u64>,
    /// The property that must go on failing [default: the one that the run names].
    #[arg(long)]
    oracle: Option<String>,
    /// Stop after so many seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Runs at one time [default: one per core].
    #[arg(long)]
    jobs: Option<usize>,
    /// In which world.
    #[arg(long, value_enum, default_value = "sim")]
    world: WorldChoice,
    /// Where the folder of the small run goes.
    #[arg(long, default_value = "runs/small")]
    out: PathBuf,
}

/// A failure made small.
pub(super) struct Small {
    pub(super) before: Bulk,
    pub(super) after: Bulk,
    pub(super) shrunk: Shrunk,
    pub(super) took: Duration,
    /// Its folder.
    pub(super) folder: PathBuf,
    pub(super) sentence: String,
    /// Where it was played.
    world: String,
    /// The scenario file to keep, or why there is none.
    file: Result<PathBuf, String>,
}

impl Small {
    pub(super) fn lines(&self) -> String {
        let Self { before, after, shrunk, took, folder, sentence, file, .. } = self;
        let keep = match file {
            Ok(path) => format!("keep: {}", path.display()),
            Err(why) => format!("no scenario file to keep: {why}"),
        };
        let end = if shrunk.is_done { "" } else { "; there was no time for more" };
        format!(
            "from {before}\nto {after}\nin {} runs and {:.0} s{end}: {sentence}\n{}report: {}\n{keep}\nreplay: {}\n",
            shrunk.runs,
            took.as_secs_f64(),
            story(&shrunk.plan),
            folder.join("report.html").display(),
            self.replay(),
        )
    }

    /// The command that replays it.
    pub(super) fn replay(&self) -> String {
        replay_command(&self.world, &self.folder.join("plan.json").display().to_string())
    }
}

/// Makes a plan small that violates this property, and writes the folder of the small run. Ends sooner where `is_over`.
#[allow(clippy::too_many_arguments, reason = "each is another thing, and there are three callers")]
pub(super) fn make_small(
    stage: &dyn Stage,
    plan: &Plan,
    oracle: &str,
    seconds: u64,
    jobs: usize,
    out: &Path,
    options: &BatchOptions,
    is_over: &(dyn Fn() -> bool + Sync),
) -> Result<Small, String> {
    let begun = Instant::now();
    let limit = Duration::from_secs(seconds);
    let (_, _, judgement) = run_one(stage, plan);
    let went_wrong = judgement.violated().find(|(name, _)| *name == oracle).and_then(|(_, one)| one.at);
    let fails = |plan: &Plan| run_one(stage, plan).0.violated.iter().any(|violated| violated == oracle);
    let goes_on = || begun.elapsed() < limit && !is_over();
    let mut shrunk = shrink(plan, Shrink { fails: &fails, goes_on: &goes_on, jobs, went_wrong });
    let took = begun.elapsed();
    shrunk.plan.scenario.name = format!("{}-small", plan.scenario.name);
    let (_, log, judgement) = run_one(stage, &shrunk.plan);
    let violation = judgement.violated().find(|(name, _)| *name == oracle);
    let sentence = violation.map(|(_, violation)| violation.sentence.clone());
    let sentence = sentence.ok_or("the small run does not fail when it is played once more")?;
    let log = log.ok_or("the small run broke the harness")?;
    let folder = write_folder(stage, out, &log, &judgement, options)?;
    let path = folder.join(format!("{}.toml", shrunk.plan.scenario.name));
    let file = script(stage, &shrunk.plan, oracle, &sentence, &options.commit)
        .and_then(|script| write_whole(&path, &script))
        .map(|()| path);
    let (before, after, world) = (Bulk::of(plan), Bulk::of(&shrunk.plan), stage.world().to_owned());
    Ok(Small { before, after, shrunk, took, folder, sentence, world, file })
}

/// The small plan as a file to keep. It has been run, and fails as the plan does.
fn script(
    stage: &dyn Stage,
    plan: &Plan,
    oracle: &str,
    sentence: &str,
    commit: &str,
) -> Result<String, String> {
    let found = plan.scenario.name.trim_end_matches("-small");
    let comment =
        format!("Made small from a run of {found}, at commit {commit}. It violates {oracle}:\n{sentence}");
    let text = print(plan, &comment);
    let file = format!("{}.toml", plan.scenario.name);
    let scenario =
        parse(&file, &text).map_err(|error| format!("the small run's own file is refused: {error}"))?;
    let seed = scenario.script.as_ref().map_or(plan.seed, |script| script.seed);
    let again = run_one(stage, &Plan::draw(&scenario, seed)).0;
    if again.violated.iter().any(|violated| violated == oracle) {
        Ok(text)
    } else {
        Err(format!("the small run's file does not violate {oracle} as its plan does: {}", again.sentence))
    }
}

pub(super) fn run(args: &ShrinkArgs) -> ExitCode {
    let plan = match planned(&args.path, args.seed, "shrink") {
        Ok(plan) => plan,
        Err(text) => return fail(exit::USAGE, text),
    };
    let stage = match worlds::ask_for_quick(args.world, &args.out) {
        Ok(stage) => stage,
        Err(error) => return fail(exit::USAGE, error),
    };
    if let Some(why) = stage.why_not(&plan.scenario) {
        return fail(exit::USAGE, format!("{}: {why}", args.path.display()));
    }
    let (summary, ..) = run_one(stage.as_ref(), &plan);
    let oracle = match (&args.oracle, summary.verdict) {
        (Some(oracle), _) if summary.violated.contains(oracle) => oracle.clone(),
        (Some(oracle), _) => {
            let hint = if summary.violated.is_empty() {
                "it violates nothing".to_owned()
            } else {
                format!("it violates {}", summary.violated.join(", "))
            };
            return fail(exit::USAGE, format!("this run does not violate {oracle:?}\nhint: {hint}"));
        }
        (None, VerdictKind::Violation) => summary.oracle.clone().expect("a violation has an oracle"),
        (None, _) => {
            let text = format!(
                "this run violates nothing, so there is nothing to make small: {}\nhint: give the folder of a run that failed",
                summary.sentence
            );
            return fail(exit::USAGE, text);
        }
    };
    println!("{} seed {} violates {oracle}", plan.scenario.name, plan.seed);
    let options = options_of_one(&args.out);
    let small = make_small(
        stage.as_ref(),
        &plan,
        &oracle,
        args.seconds,
        jobs(args.jobs),
        &args.out,
        &options,
        &|| false,
    );
    match small {
        Ok(small) => {
            print!("{}", small.lines());
            ExitCode::from(exit::PASS)
        }
        Err(error) => fail(exit::HARNESS, error),
    }
}

/// One line for each planted bug whose failure was made small, and the medians.
#[cfg(feature = "mutants")]
pub(super) fn table(smalls: &[(seatrial_types::planted::Planted, Small)]) -> String {
    let head = [
        "bug",
        "members",
        "faults",
        "operations",
        "of faults",
        "of operations",
        "storm s",
        "runs",
        "seconds",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let row = |name: String, numbers: [f64; 8]| {
        let mut row = vec![name];
        row.extend(numbers.iter().enumerate().map(|(at, number)| {
            if at == 5 || at == 7 { format!("{number:.1}") } else { format!("{number:.0}") }
        }));
        row
    };
    let mut columns: Vec<Vec<f64>> = vec![Vec::new(); 8];
    for (bug, small) in smalls {
        let Small { before, after, shrunk, took, .. } = small;
        let numbers = [
            after.members as f64,
            after.faults as f64,
            after.operations as f64,
            before.faults as f64,
            before.operations as f64,
            after.time.as_secs_f64(),
            shrunk.runs as f64,
            took.as_secs_f64(),
        ];
        for (column, number) in columns.iter_mut().zip(numbers) {
            column.push(number);
        }
        rows.push(row(bug.to_string(), numbers));
    }
    let median = |column: &mut Vec<f64>| {
        column.sort_by(f64::total_cmp);
        column[column.len() / 2]
    };
    let mut medians = [0.0; 8];
    for (median_of, column) in medians.iter_mut().zip(&mut columns) {
        *median_of = median(column);
    }
    rows.push(row("median".to_owned(), medians));
    seatrial_scenario::table::layout(&rows)
}
