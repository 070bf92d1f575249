//! Many seeds of many scenarios, in parallel.

use crate::files::{self, RunFolder};
use crate::format::spec::{GoalKind, Scenario, VerdictKind};
use crate::judge::{Judgement, judge};
use crate::plan::Plan;
use crate::record::RunLog;
use crate::to_report::to_record;
use serde::Serialize;
use std::collections::BTreeSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Goals are judged only where a scenario had at least so many seeds: one seed need not meet a rare event.
pub const GOAL_SEEDS_MIN: usize = 10;

/// Something that can play plans: the simulation, the lab, or real processes.
pub trait Stage: Sync {
    /// `sim`, `lab`, `real`.
    fn world(&self) -> &str;

    /// Plays the plan from beginning to end. Called from several threads at once.
    fn run(&self, plan: &Plan) -> RunLog;

    /// Why a scenario cannot be played here, with a hint; `None` where it can.
    fn why_not(&self, scenario: &Scenario) -> Option<String> {
        let _ = scenario;
        None
    }
}

/// How a batch is run.
#[derive(Clone, Debug)]
pub struct BatchOptions {
    /// Runs at one time.
    pub jobs: usize,
    /// Where run folders go; `None` writes nothing.
    pub folder: Option<PathBuf>,
    /// Shown in reports: the commit of the code under test.
    pub commit: String,
    /// Shown in reports: options that change what a run does, such as planted bugs.
    pub options: Vec<(String, String)>,
    /// End at the first violation.
    pub stop_at_violation: bool,
}

/// One run, in short.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunSummary {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// How it ended.
    pub verdict: VerdictKind,
    /// The oracle that decided.
    pub oracle: Option<String>,
    /// All oracles that saw a violation.
    pub violated: Vec<String>,
    /// The verdict in a sentence.
    pub sentence: String,
    /// Whether the scenario expected this.
    pub expected: bool,
    /// The world's digest, in hexadecimal; equal for equal runs.
    pub trace_hash: String,
    /// World time it took.
    pub simulated_seconds: f64,
    /// CPU time it took.
    pub cpu_seconds: f64,
    /// Things worth reaching that it reached.
    pub reached: Vec<GoalKind>,
    /// Where its report is.
    pub folder: Option<PathBuf>,
}

/// All runs of one scenario, in short.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScenarioSummary {
    /// Its name.
    pub scenario: String,
    /// Its title.
    pub title: String,
    /// The worst verdict of its runs, with goals.
    pub verdict: VerdictKind,
    /// It ended as it was expected to. A negative scenario is content with one run in which the oracle it
    /// names sees a violation: not every seed meets the fault, and some meet it in another way.
    pub expected: bool,
    /// How many runs.
    pub runs: usize,
    /// Of these, how many passed.
    pub passed: usize,
    /// Goals of the scenario which no run reached, where there were seeds enough to judge.
    pub goals_missed: Vec<GoalKind>,
    /// The oracle of the first run that did not pass.
    pub oracle: Option<String>,
    /// Its seed.
    pub seed: Option<u64>,
    /// Its sentence, or another one about the whole.
    pub sentence: String,
    /// World time of all runs.
    pub simulated_seconds: f64,
    /// CPU time of all runs.
    pub cpu_seconds: f64,
}

/// What came of a batch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BatchOutcome {
    /// In order of scenario and seed.
    pub runs: Vec<RunSummary>,
    /// In the order they were given.
    pub scenarios: Vec<ScenarioSummary>,
    /// The page over all runs, where folders were wanted.
    pub report: Option<PathBuf>,
    /// Files that could not be written.
    pub write_errors: Vec<String>,
}

impl BatchOutcome {
    /// 0 pass, 1 violation, 3 inconclusive, 4 the harness failed. (2 is for usage and for the caller.) A
    /// negative scenario that is violated as expected still is a violation here; see
    /// [`BatchOutcome::is_as_expected`].
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let any = |kind| self.scenarios.iter().any(|scenario| scenario.verdict == kind);
        if any(VerdictKind::Violation) {
            1
        } else if any(VerdictKind::HarnessError) || !self.write_errors.is_empty() {
            4
        } else if any(VerdictKind::Inconclusive) {
            3
        } else {
            0
        }
    }

    /// Whether every scenario ended as its file expects: the positive ones passed, the negative ones were
    /// found out by the oracle they name.
    #[must_use]
    pub fn is_as_expected(&self) -> bool {
        self.scenarios.iter().all(|scenario| scenario.expected)
    }
}

/// Seeds where nobody names any.
pub const USUAL_SEEDS: Range<u64> = 1..21;

/// The seeds of a scenario, where these were asked for: a script has its own, unless somebody says otherwise.
fn seeds_of(scenario: &Scenario, asked: Option<&Range<u64>>) -> Range<u64> {
    match (asked, &scenario.script) {
        (Some(asked), _) => asked.clone(),
        (None, Some(script)) => script.seed..script.seed + 1,
        (None, None) => USUAL_SEEDS,
    }
}

/// Runs every scenario with every seed; without any named, with [`USUAL_SEEDS`]. `progress` hears of each run as it ends, with how many are done and
/// how many there are.
pub fn run_batch(
    stage: &dyn Stage,
    scenarios: &[Scenario],
    seeds: Option<&Range<u64>>,
    options: &BatchOptions,
    progress: &(dyn Fn(&RunSummary, usize, usize) + Sync),
) -> BatchOutcome {
    // Seed by seed over all scenarios, so that a batch that is interrupted has seen every scenario.
    let mut todo: Vec<(u64, usize, u64)> = Vec::new();
    for (at, scenario) in scenarios.iter().enumerate() {
        todo.extend((0..).zip(seeds_of(scenario, seeds)).map(|(round, seed)| (round, at, seed)));
    }
    todo.sort_unstable();
    let next = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let stop = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, u64, RunSummary)>> = Mutex::new(Vec::new());
    let write_errors: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let work = || {
        while stop.load(Ordering::SeqCst) == 0 {
            let Some((round, at, seed)) = todo.get(next.fetch_add(1, Ordering::SeqCst)).copied() else {
                return;
            };
            let scenario = &scenarios[at];
            let plan = Plan::draw(scenario, seed);
            let is_first = round == 0;
            let (mut summary, log, judgement) = run_one(stage, &plan);
            // A report to look at for the first seed too, so that there always is one.
            if let (Some(folder), Some(log)) = (&options.folder, &log)
                && (is_first || summary.verdict != VerdictKind::Pass)
            {
                match write_folder(stage, folder, log, &judgement, options) {
                    Ok(path) => summary.folder = Some(path),
                    Err(error) => write_errors.lock().expect("no panic while held").push(error),
                }
            }
            if options.stop_at_violation && summary.verdict == VerdictKind::Violation {
                stop.store(1, Ordering::SeqCst);
            }
            progress(&summary, done.fetch_add(1, Ordering::SeqCst) + 1, todo.len());
            results.lock().expect("no panic while held").push((at, seed, summary));
        }
    };
    #[allow(clippy::disallowed_methods, reason = "runs are spread over threads outside of any world")]
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(work);
        }
    });
    let mut results = results.into_inner().expect("no panic while held");
    results.sort_by_key(|(at, seed, _)| (*at, *seed));
    let summaries = scenarios
        .iter()
        .enumerate()
        .map(|(at, scenario)| {
            let runs: Vec<&RunSummary> =
                results.iter().filter(|(other, ..)| *other == at).map(|(_, _, run)| run).collect();
            summarize(scenario, &runs)
        })
        .collect();
    let runs: Vec<RunSummary> = results.into_iter().map(|(_, _, run)| run).collect();
    let mut write_errors = write_errors.into_inner().expect("no panic while held");
    let report = options.folder.as_ref().and_then(|folder| {
        files::write_batch(folder, &runs, scenarios).map_err(|error| write_errors.push(error)).ok()
    });
    BatchOutcome { runs, scenarios: summaries, report, write_errors }
}

/// Plays and judges one plan, as `replay` does. Writes nothing.
pub fn run_one(stage: &dyn Stage, plan: &Plan) -> (RunSummary, Option<RunLog>, Judgement) {
    let played = catch_unwind(AssertUnwindSafe(|| {
        let log = stage.run(plan);
        let judgement = judge(&log);
        (log, judgement)
    }));
    let (log, judgement) = match played {
        Ok((log, judgement)) => (Some(log), judgement),
        Err(panic) => {
            let text = panic_text(panic.as_ref());
            let judgement = Judgement {
                verdict: VerdictKind::HarnessError,
                oracle: None,
                sentence: format!("the harness panicked: {text}"),
                findings: Vec::new(),
                reached: Vec::new(),
            };
            (None, judgement)
        }
    };
    let expect = &plan.scenario.expect;
    let violated: Vec<String> = judgement.violated().map(|(name, _)| name.to_owned()).collect();
    let summary = RunSummary {
        scenario: plan.scenario.name.clone(),
        seed: plan.seed,
        verdict: judgement.verdict,
        oracle: judgement.oracle.clone(),
        violated,
        sentence: judgement.sentence.clone(),
        expected: judgement.verdict == expect.verdict,
        trace_hash: format!("{:016x}", log.as_ref().map_or(0, |log| log.trace_hash)),
        simulated_seconds: log.as_ref().map_or(0.0, |log| log.ended.as_secs_f64()),
        cpu_seconds: log.as_ref().map_or(0.0, |log| log.cpu.as_secs_f64()),
        reached: judgement.reached.clone(),
        folder: None,
    };
    (summary, log, judgement)
}

/// Writes the folder of one run.
///
/// # Errors
/// A sentence that names the file.
pub fn write_folder(
    stage: &dyn Stage,
    folder: &std::path::Path,
    log: &RunLog,
    judgement: &Judgement,
    options: &BatchOptions,
) -> Result<PathBuf, String> {
    let mut record = to_record(log, judgement, stage.world(), &options.commit, &options.options);
    let name = files::folder_name(&log.plan.scenario.name, log.plan.seed);
    let plan = folder.join(name).join("plan.json");
    record.replay = replay_command(stage.world(), &plan.display().to_string());
    files::write_run(folder, &RunFolder { log, record: &record })
}

/// The command that replays a stored plan. Of real processes no two runs are the same: their plans are replayed in the
/// simulation.
#[must_use]
pub fn replay_command(world: &str, plan: &str) -> String {
    let flag = if world == "lab" { " --world lab" } else { "" };
    format!("seatrial replay {plan}{flag}")
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}

fn summarize(scenario: &Scenario, runs: &[&RunSummary]) -> ScenarioSummary {
    let rank = |verdict: VerdictKind| match verdict {
        VerdictKind::Pass => 0,
        VerdictKind::Inconclusive => 1,
        VerdictKind::HarnessError => 2,
        VerdictKind::Violation => 3,
    };
    let worst = runs.iter().max_by_key(|run| (rank(run.verdict), std::cmp::Reverse(run.seed)));
    let reached: BTreeSet<GoalKind> = runs.iter().flat_map(|run| run.reached.iter().copied()).collect();
    let goals_missed: Vec<GoalKind> = if runs.len() >= GOAL_SEEDS_MIN {
        scenario.goals.iter().copied().filter(|goal| !reached.contains(goal)).collect()
    } else {
        Vec::new()
    };
    let mut verdict = worst.map_or(VerdictKind::Inconclusive, |run| run.verdict);
    let passed = runs.iter().filter(|run| run.verdict == VerdictKind::Pass).count();
    let mut sentence = match worst {
        None => "no run".to_owned(),
        Some(run) if run.verdict == VerdictKind::Pass => format!("{passed} of {} runs passed", runs.len()),
        Some(run) => run.sentence.clone(),
    };
    if verdict == VerdictKind::Pass && !goals_missed.is_empty() {
        verdict = VerdictKind::Inconclusive;
        let names: Vec<&str> = goals_missed.iter().map(|goal| goal.name()).collect();
        sentence = format!("{} runs and never reached: {}", runs.len(), names.join(", "));
    }
    let expected = match scenario.expect.verdict {
        VerdictKind::Violation => {
            let named = |run: &RunSummary| {
                scenario.expect.oracle.as_ref().is_none_or(|oracle| run.violated.contains(oracle))
            };
            // What breaks a promise in one seed may in another leave no majority that could be asked: such a run
            // says nothing, and nothing against the scenario.
            runs.iter().any(|run| run.expected && named(run))
                && runs.iter().all(|run| run.verdict != VerdictKind::HarnessError)
        }
        _ => verdict == VerdictKind::Pass,
    };
    let failed = worst.filter(|run| run.verdict != VerdictKind::Pass);
    ScenarioSummary {
        scenario: scenario.name.clone(),
        title: scenario.title.clone(),
        verdict,
        expected,
        runs: runs.len(),
        passed,
        goals_missed,
        oracle: failed.and_then(|run| run.oracle.clone()),
        seed: failed.map(|run| run.seed),
        sentence,
        simulated_seconds: runs.iter().map(|run| run.simulated_seconds).sum(),
        cpu_seconds: runs.iter().map(|run| run.cpu_seconds).sum(),
    }
}

/// Time from a number of seconds, for tables.
#[must_use]
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(verdict: VerdictKind, violated: &[&str]) -> RunSummary {
        RunSummary {
            scenario: "lies".to_owned(),
            seed: 1,
            verdict,
            oracle: violated.first().map(|&name| name.to_owned()),
            violated: violated.iter().map(|&name| name.to_owned()).collect(),
            sentence: String::new(),
            expected: verdict == VerdictKind::Violation,
            trace_hash: String::new(),
            simulated_seconds: 0.0,
            cpu_seconds: 0.0,
            reached: Vec::new(),
            folder: None,
        }
    }

    fn negative_ends_as_expected(runs: &[RunSummary]) -> bool {
        let text = "title = \"lies\"\nwhy = \"a test\"\nmembers = 3\ntime = \"1s\"\n\
                    [[workload]]\nname = \"kv\"\n[expect]\nverdict = \"violation\"\noracle = \"durability\"\n";
        let scenario = crate::format::parse("lies.toml", text).expect("a scenario");
        summarize(&scenario, &runs.iter().collect::<Vec<_>>()).expected
    }

    #[test]
    fn a_negative_scenario_needs_one_seed_with_the_named_violation_and_no_seed_on_which_the_harness_failed() {
        let (found, other) =
            (run(VerdictKind::Violation, &["durability"]), run(VerdictKind::Violation, &["lock"]));
        let (pass, silent) = (run(VerdictKind::Pass, &[]), run(VerdictKind::Inconclusive, &[]));
        let broken = run(VerdictKind::HarnessError, &[]);
        assert!(negative_ends_as_expected(&[pass.clone(), found.clone(), silent.clone(), other.clone()]));
        assert!(!negative_ends_as_expected(&[pass, silent]), "nobody saw the lie");
        assert!(!negative_ends_as_expected(&[other]), "another oracle than the named one");
        assert!(!negative_ends_as_expected(&[found, broken]));
    }
}
