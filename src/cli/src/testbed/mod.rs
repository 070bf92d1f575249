//! The testbed's commands: run scenarios, replay a run, hunt planted bugs, judge histories from elsewhere.

mod bisect;
mod check_history;
#[cfg(feature = "mutants")]
mod compare;
mod explore;
mod fuzz;
mod merge;
mod processes;
mod small;
mod worlds;

use crate::exit;
use clap::{Args, Subcommand, ValueEnum};
use seatrial_scenario::batch::{BatchOptions, RunSummary, Stage, run_batch, run_one, write_folder};
use seatrial_scenario::branch::{Fork, branch};
use seatrial_scenario::files::{load_plan, load_scenarios};
use seatrial_scenario::format::spec::{Scenario, VerdictKind};
use seatrial_scenario::techniques::Technique;
use seatrial_scenario::{Plan, table};
use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;

/// Commands of the testbed.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run scenarios over many seeds and print a verdict for each.
    Run(RunArgs),
    /// Play one run again, from its folder's plan.json or from a scenario and a seed.
    Replay(ReplayArgs),
    /// Make a failing run small: what is not needed for the failure is left out.
    Shrink(small::ShrinkArgs),
    /// Look for failures over ever new seeds, and over variations of those that went where none had been.
    Fuzz(fuzz::FuzzArgs),
    /// Work on reports.
    #[command(subcommand)]
    Report(merge::ReportCommand),
    /// Find the commit since which a kept run fails.
    Bisect(bisect::BisectArgs),
    /// Plant known bugs one by one and show that each is found.
    Mutants(MutantsArgs),
    /// Judge recorded histories: our own, Jepsen's, Porcupine's.
    CheckHistory(check_history::CheckHistoryArgs),
    /// Walk through all futures of a small world: a proof up to its bounds, or the shortest way to what is wrong.
    Explore(explore::ExploreArgs),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WorldChoice {
    /// The simulator: the whole program, and a seed says everything.
    Sim,
    /// The lab: whole members as values, without bytes between them; much quicker.
    Lab,
    /// Processes on loopback, with kill -9.
    Real,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Scenario files, or folders of them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Just this seed.
    #[arg(long, conflicts_with = "seeds", value_parser = clap::value_parser!(u64).range(..u64::MAX))]
    seed: Option<u64>,
    /// Seeds A to B, B included [default: 1..20, and of a script its own].
    #[arg(long, value_name = "A..B", value_parser = parse_seeds)]
    seeds: Option<Range<u64>>,
    /// Runs at one time [default: one per core].
    #[arg(long)]
    jobs: Option<usize>,
    /// One JSON object per run on standard output, then one for the whole.
    #[arg(long)]
    json: bool,
    /// Where run folders and the report go.
    #[arg(long, default_value = "runs")]
    out: PathBuf,
    /// In which world.
    #[arg(long, value_enum, default_value = "sim")]
    world: WorldChoice,
    #[command(flatten)]
    servers: worlds::Servers,
    /// Exit 0 exactly if every scenario ends as its file expects (a negative one must be violated).
    #[arg(long)]
    as_expected: bool,
    /// Make the first failure of each scenario small, for so many seconds each; 0 does not.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    shrink: u64,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// A run's folder, its plan.json, or a scenario file (then with --seed).
    path: PathBuf,
    /// The seed, for a scenario file.
    #[arg(long)]
    seed: Option<u64>,
    /// Where another future begins, and with what it is drawn, as a branch prints it; may be given several times.
    #[arg(long = "fork", value_name = "NANOS:SEED")]
    forks: Vec<Fork>,
    /// Where the run folder goes.
    #[arg(long, default_value = "runs/replay")]
    out: PathBuf,
    /// In which world.
    #[arg(long, value_enum, default_value = "sim")]
    world: WorldChoice,
    #[command(flatten)]
    servers: worlds::Servers,
    /// Play it twice and compare; on a difference, name the first event that differs.
    #[arg(long)]
    twice: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MutantsArgs {
    /// Only name them.
    #[arg(long)]
    list: bool,
    /// Only this one; may be given several times.
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Give each bug at most so many seconds.
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// Runs at one time [default: one per core].
    #[arg(long)]
    jobs: Option<usize>,
    /// Where the run folders of the findings go.
    #[arg(long, default_value = "runs/mutants")]
    out: PathBuf,
    /// In which world.
    #[arg(long, value_enum, default_value = "sim")]
    world: WorldChoice,
    /// The scenarios to hunt in.
    #[arg(long, default_value = "scenarios")]
    scenarios: PathBuf,
    /// One JSON object per bug.
    #[arg(long)]
    json: bool,
    /// Make each failure small, for so many seconds each, and say how small.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    shrink: u64,
    /// Look for each bug so often, each time from other seeds, and say how soon it is found.
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000), conflicts_with = "shrink")]
    repeat: u64,
    /// Try at most so many runs for each bug [default: as many as there is time for]. With --alone: so many at least, and on
    /// until three of them are violations [default: 16].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    runs: Option<u64>,
    /// Search without this technique: swarm, knobs, during, priorities, buggify; may be given several times.
    #[arg(long, value_name = "TECHNIQUE", value_parser = Technique::from_name)]
    without: Vec<Technique>,
    /// So many runs of 100 are variations of those that went where none had been, as `fuzz --vary` makes them.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=90), conflicts_with = "shrink")]
    vary: u32,
    /// So many runs of 100 go on, in another way, from where an earlier one has reached something rare.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=90), conflicts_with = "shrink")]
    branch: u32,
    /// Search with all techniques, without each, and with variations; say in Markdown what each is worth.
    #[arg(long, conflicts_with_all = ["without", "vary", "shrink", "json"])]
    compare: bool,
    /// Let all oracles judge several runs of each bug, and say which bugs only one of them finds.
    #[arg(long, conflicts_with_all = ["shrink", "repeat", "without", "vary", "compare"])]
    alone: bool,
}

/// `A..B` with both ends included, or one number.
fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let hint = "hint: --seeds 1..20 runs twenty seeds, 1 to 20";
    let number = |part: &str| {
        part.trim()
            .parse::<u64>()
            .map_err(|_| format!("{part:?} is not a seed (a whole number from 0)\n{hint}"))
    };
    match text.split_once("..") {
        None => match number(text)? {
            u64::MAX => Err(format!("{} is beyond the last seed\n{hint}", u64::MAX)),
            seed => Ok(seed..seed + 1),
        },
        Some((from, to)) => {
            let (from, to) = (number(from)?, number(to.trim_start_matches('='))?);
            if from > to || to == u64::MAX {
                return Err(format!("{from}..{to} holds no seed\n{hint}"));
            }
            Ok(from..to + 1)
        }
    }
}

fn fail(code: u8, text: impl std::fmt::Display) -> ExitCode {
    eprintln!("seatrial: {text}");
    ExitCode::from(code)
}

fn jobs(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
}

/// The commit of the code, where the program runs in its checkout; for reports.
fn commit() -> String {
    std::process::Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .stderr(std::process::Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())
        .map_or_else(
            || env!("CARGO_PKG_VERSION").to_owned(),
            |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        )
}

/// For a single run that is kept in this folder.
fn options_of_one(out: &Path) -> BatchOptions {
    BatchOptions {
        jobs: 1,
        folder: Some(out.to_owned()),
        commit: commit(),
        options: Vec::new(),
        stop_at_violation: false,
    }
}

fn stage(world: WorldChoice, out: &Path) -> Box<dyn Stage> {
    match world {
        WorldChoice::Sim => Box::new(seatrial_sims::Simulation::default()),
        WorldChoice::Lab => Box::new(seatrial_lab::Laboratory),
        WorldChoice::Real => {
            let program = processes::Program::ours().expect("this program runs, so it is somewhere");
            Box::new(processes::Processes { folder: out.to_owned(), program })
        }
    }
}

pub(crate) fn run(command: Command) -> ExitCode {
    // A member's panic is an oracle's business: the run reports it, with its place, in one sentence. The
    // default hook would print each of them over the progress line.
    match command {
        Command::Run(args) => run_scenarios(args),
        Command::Replay(args) => replay(&args),
        Command::Shrink(args) => small::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Report(command) => merge::run(&command),
        Command::Bisect(args) => bisect::run(&args),
        Command::Mutants(args) => mutants(&args),
        Command::CheckHistory(args) => check_history::run(&args),
        Command::Explore(args) => explore::run(&args),
    }
}

/// A progress line on a terminal, plain lines now and then otherwise.
struct Progress {
    live: bool,
    begun: std::time::Instant,
    last: Mutex<std::time::Instant>,
}

impl Progress {
    fn new() -> Self {
        let now = std::time::Instant::now();
        Self { live: std::io::stderr().is_terminal(), begun: now, last: Mutex::new(now) }
    }

    fn show(&self, run: &RunSummary, done: usize, all: usize) {
        let mut stderr = std::io::stderr().lock();
        let elapsed = self.begun.elapsed().as_secs_f64();
        let left = elapsed / done as f64 * (all - done) as f64;
        if !run.expected && run.verdict != VerdictKind::Pass {
            let clear = if self.live { "\r\x1b[K" } else { "" };
            let _ = writeln!(stderr, "{clear}{}", table::run_line(run));
        }
        if self.live {
            let _ = write!(stderr, "\r\x1b[K{done}/{all} runs, about {left:.0} s left: {}", run.scenario);
            if done == all {
                let _ = write!(stderr, "\r\x1b[K");
            }
            let _ = stderr.flush();
        } else {
            let mut last = self.last.lock().expect("no holder panics");
            if last.elapsed().as_secs() >= 10 || done == all {
                *last = std::time::Instant::now();
                let _ = writeln!(stderr, "{done}/{all} runs in {elapsed:.0} s, about {left:.0} s left");
            }
        }
    }
}

fn run_scenarios(args: RunArgs) -> ExitCode {
    let scenarios = match load_scenarios(&args.paths) {
        Ok(scenarios) => scenarios,
        Err(error) => return fail(exit::USAGE, error),
    };
    let seeds = match (args.seed, args.seeds) {
        (Some(seed), _) => Some(seed..seed + 1),
        // Real runs take as long as they say; twenty of each would take an hour.
        (None, None)
            if args.world == WorldChoice::Real && scenarios.iter().any(|one| one.script.is_none()) =>
        {
            Some(1..2)
        }
        (None, seeds) => seeds,
    };
    let stage = match worlds::ask_for(args.world, &args.servers, &args.out) {
        Ok(stage) => stage,
        Err(error) => return fail(exit::USAGE, error),
    };
    let scenarios = match worlds::leave_out(stage.as_ref(), &args.paths, scenarios) {
        Ok(kept) => kept,
        Err(error) => return fail(exit::USAGE, error),
    };
    // Real processes share the machine's two ends; one run at a time keeps their times meaningful.
    let jobs = if args.world == WorldChoice::Real { 1 } else { jobs(args.jobs) };
    let options = BatchOptions {
        jobs,
        folder: Some(args.out.clone()),
        commit: commit(),
        options: Vec::new(),
        stop_at_violation: false,
    };
    let progress = Progress::new();
    let outcome = run_batch(stage.as_ref(), &scenarios, seeds.as_ref(), &options, &|run, done, all| {
        progress.show(run, done, all);
    });
    if args.json {
        for run in &outcome.runs {
            println!("{}", serde_json::to_string(run).expect("a summary is plain data"));
        }
        println!("{}", serde_json::to_string(&outcome.scenarios).expect("a summary is plain data"));
    } else {
        print!("{}", table::scenarios(&outcome));
    }
    if args.world != WorldChoice::Real && args.shrink > 0 {
        for scenario in outcome.scenarios.iter().filter(|scenario| !scenario.expected) {
            let (Some(seed), Some(oracle), VerdictKind::Violation) =
                (scenario.seed, &scenario.oracle, scenario.verdict)
            else {
                continue;
            };
            let Some(spec) = scenarios.iter().find(|spec| spec.name == scenario.scenario) else { continue };
            eprintln!("making {} seed {seed} small, for {} s at most", scenario.scenario, args.shrink);
            let plan = Plan::draw(spec, seed);
            let out = &args.out;
            match small::make_small(stage.as_ref(), &plan, oracle, args.shrink, jobs, out, &options, &|| {
                false
            }) {
                Ok(small) if args.json => eprint!("{}", small.lines()),
                Ok(small) => print!("\n{} seed {seed} made small\n{}", scenario.scenario, small.lines()),
                Err(error) => eprintln!("seatrial: {} seed {seed}: {error}", scenario.scenario),
            }
        }
    }
    if args.as_expected {
        return ExitCode::from(if outcome.is_as_expected() { exit::PASS } else { exit::VIOLATION });
    }
    ExitCode::from(outcome.exit_code())
}

/// The plan of a scenario's seed, gone on from at these forks.
fn forked(plan: Plan, forks: &[Fork]) -> Plan {
    forks.iter().fold(plan, |plan, fork| branch(&plan, *fork))
}

fn planned(path: &Path, seed: Option<u64>, command: &str) -> Result<Plan, String> {
    let path = if path.is_dir() { path.join("plan.json") } else { path.to_owned() };
    if path.extension().is_some_and(|extension| extension == "toml") {
        let shown = path.display().to_string();
        let scenarios = load_scenarios(&[path]).map_err(|error| error.to_string())?;
        let scenario: &Scenario = scenarios.first().ok_or("no scenario in the file")?;
        let seed = seed.or(scenario.script.as_ref().map(|script| script.seed)).ok_or_else(|| {
            format!("{shown}: a scenario replays with a seed\nhint: seatrial {command} {shown} --seed 7")
        })?;
        return Ok(Plan::draw(scenario, seed));
    }
    if seed.is_some() {
        return Err(format!("{}: a stored plan has its own seed\nhint: leave --seed out", path.display()));
    }
    load_plan(&path).map_err(|error| error.to_string())
}

fn replay(args: &ReplayArgs) -> ExitCode {
    let plan = match planned(&args.path, args.seed, "replay") {
        Ok(plan) => forked(plan, &args.forks),
        Err(text) => return fail(exit::USAGE, text),
    };
    let stage = match worlds::ask_for(args.world, &args.servers, &args.out) {
        Ok(stage) => stage,
        Err(error) => return fail(exit::USAGE, error),
    };
    if let Some(why) = stage.why_not(&plan.scenario) {
        return fail(exit::USAGE, format!("{}: {why}", args.path.display()));
    }
    let (summary, log, judgement) = run_one(stage.as_ref(), &plan);
    println!("{}", table::run_line(&summary));
    println!("{}", summary.sentence);
    let options = options_of_one(&args.out);
    if let Some(log) = &log {
        match write_folder(stage.as_ref(), &args.out, log, &judgement, &options) {
            Ok(folder) => println!("report: {}", folder.join("report.html").display()),
            Err(error) => return fail(exit::HARNESS, error),
        }
    }
    if args.twice {
        let (again, _, _) = run_one(stage.as_ref(), &plan);
        if again.trace_hash == summary.trace_hash {
            println!("played twice: both have the trace {}", summary.trace_hash);
        } else {
            let mut what =
                format!("the second run has the trace {}, not {}", again.trace_hash, summary.trace_hash);
            if args.world == WorldChoice::Sim {
                // Twice more, with all that happens taken down: hashes alone tell nobody where it begins.
                match seatrial_sims::Simulation::default().check_determinism(&plan) {
                    Err(divergence) => what += &format!("\n{divergence}"),
                    Ok(_) => {
                        what += "\nhint: two more runs were equal, so it happens now and then only; try again"
                    }
                }
            }
            return fail(exit::HARNESS, what);
        }
    }
    ExitCode::from(match summary.verdict {
        VerdictKind::Pass => 0,
        VerdictKind::Violation => 1,
        VerdictKind::Inconclusive => 3,
        VerdictKind::HarnessError => 4,
    })
}

#[cfg(not(feature = "mutants"))]
fn mutants(args: &MutantsArgs) -> ExitCode {
    if args.list {
        list_mutants();
        return ExitCode::SUCCESS;
    }
    fail(
        exit::USAGE,
        "this build has no planted bugs\nhint: cargo run --release --features mutants -- mutants",
    )
}

fn list_mutants() {
    for bug in seatrial_types::planted::Planted::ALL {
        println!("{bug}  {}", bug.text());
    }
}

#[cfg(feature = "mutants")]
fn mutants(args: &MutantsArgs) -> ExitCode {
    use seatrial_scenario::mutants::{Budget, find_mutant, table as mutants_table};
    use seatrial_scenario::techniques;
    use seatrial_types::planted::Planted;
    if args.list {
        list_mutants();
        return ExitCode::SUCCESS;
    }
    let bugs: Vec<Planted> = match args.only.iter().map(|id| id.parse()).collect::<Result<Vec<_>, _>>() {
        Ok(bugs) if bugs.is_empty() => Planted::ALL.to_vec(),
        Ok(bugs) => bugs,
        Err(error) => return fail(exit::USAGE, error),
    };
    let scenarios = match load_scenarios(std::slice::from_ref(&args.scenarios)) {
        Ok(scenarios) => scenarios,
        Err(error) => return fail(exit::USAGE, error),
    };
    let less = |scenario: Scenario| {
        args.without.iter().fold(scenario, |scenario, technique| techniques::without(&scenario, *technique))
    };
    let stage = match worlds::ask_for_quick(args.world, &args.out) {
        Ok(stage) => stage,
        Err(error) => return fail(exit::USAGE, error),
    };
    let scenarios: Vec<Scenario> =
        scenarios.into_iter().filter(|scenario| stage.why_not(scenario).is_none()).map(less).collect();
    // Where a world cannot play any scenario of its row, a bug is not looked for.
    let (bugs, out_of_reach): (Vec<_>, Vec<_>) = bugs
        .into_iter()
        .partition(|bug| seatrial_scenario::mutants::likely(*bug, &scenarios).first().is_some());
    if !out_of_reach.is_empty() {
        let names: Vec<String> = out_of_reach.iter().map(ToString::to_string).collect();
        eprintln!("left out, no scenario that finds them can be played here: {}", names.join(" "));
    }
    let budget = Budget {
        vary_percent: args.vary,
        branch_percent: args.branch,
        runs_max: args.runs.unwrap_or(u64::MAX),
        time_max: std::time::Duration::from_secs(args.seconds),
        jobs: jobs(args.jobs),
        from: 0,
    };
    let begun = std::time::Instant::now();
    if args.compare {
        return compare::run(args.repeat, stage.as_ref(), &bugs, &scenarios, budget);
    }
    if args.repeat > 1 {
        return repeated(args, stage.as_ref(), &bugs, &scenarios, budget);
    }
    if args.alone {
        return alone(args, stage.as_ref(), &bugs, &scenarios);
    }
    let mut found = Vec::new();
    let mut trouble = None;
    let mut smalls = Vec::new();
    for bug in bugs {
        eprintln!("{bug}: {}", bug.text());
        let options = BatchOptions {
            jobs: 1,
            folder: None,
            commit: commit(),
            options: vec![("planted".to_owned(), bug.to_string())],
            stop_at_violation: true,
        };
        let out = args.out.join(bug.to_string());
        let written = Mutex::new(None);
        let one =
            find_mutant(stage.as_ref(), bug, &scenarios, budget, &|| begun.elapsed(), &|log, judgement| {
                let result = write_folder(stage.as_ref(), &out, log, judgement, &options);
                *written.lock().expect("no holder panics") = Some(result);
            });
        match written.into_inner().expect("no holder panics") {
            Some(Ok(folder)) => eprintln!("  found; report: {}", folder.join("report.html").display()),
            Some(Err(error)) => trouble = Some(error),
            None => eprintln!("  not found in {} runs and {:.0} s", one.runs, one.seconds),
        }
        if let (Some(run), Some(oracle), true) = (&one.run, &one.oracle, args.shrink > 0) {
            let spec = scenarios.iter().find(|spec| spec.name == run.scenario).expect("it was run");
            let plan = Plan::draw(spec, run.seed);
            seatrial_types::planted::plant(&[bug]);
            let small = small::make_small(
                stage.as_ref(),
                &plan,
                oracle,
                args.shrink,
                jobs(args.jobs),
                &out,
                &options,
                &|| false,
            );
            seatrial_types::planted::plant(&[]);
            match small {
                Ok(small) => {
                    eprint!("{}", small.lines());
                    smalls.push((bug, small));
                }
                Err(error) => trouble = Some(format!("{bug}: {error}")),
            }
        }
        found.push(one);
    }
    if args.json {
        for one in &found {
            println!("{}", serde_json::to_string(one).expect("a finding is plain data"));
        }
    } else {
        print!("{}", mutants_table(&found));
        if !smalls.is_empty() {
            print!("\n{}", small::table(&smalls));
        }
    }
    if let Some(error) = trouble {
        return fail(exit::HARNESS, error);
    }
    ExitCode::from(if found.iter().all(|one| one.is_found()) { exit::PASS } else { exit::VIOLATION })
}

/// Far enough apart that two hunts for one bug share no seed.
#[cfg(feature = "mutants")]
const APART: u64 = 1_000_000;

#[cfg(feature = "mutants")]
fn repeated(
    args: &MutantsArgs,
    stage: &dyn Stage,
    bugs: &[seatrial_types::planted::Planted],
    scenarios: &[Scenario],
    budget: seatrial_scenario::mutants::Budget,
) -> ExitCode {
    use seatrial_scenario::mutants::{Budget, Score, find_mutant, scores};
    let begun = std::time::Instant::now();
    let mut all = Vec::new();
    for bug in bugs {
        let hunts: Vec<_> = (0..args.repeat)
            .map(|time| {
                let budget = Budget { from: time * APART, ..budget };
                find_mutant(stage, *bug, scenarios, budget, &|| begun.elapsed(), &|_, _| {})
            })
            .collect();
        let score = Score::of(&hunts.iter().collect::<Vec<_>>());
        eprintln!(
            "{bug}: {}/{} found, {:.1} s in the median, {:.1} s at worst",
            score.found, score.times, score.median, score.worst
        );
        for (oracle, times) in &score.strangers {
            eprintln!("{bug}: {times} times {oracle} saw a violation, which is not in its row");
        }
        if args.json {
            println!("{}", serde_json::to_string(&score).expect("a score is plain data"));
        }
        all.push(score);
    }
    if !args.json {
        print!("{}", scores(&all));
    }
    ExitCode::from(if all.iter().all(|score| score.found == score.times) {
        exit::PASS
    } else {
        exit::VIOLATION
    })
}

/// What `mutants --alone` runs of each bug where nothing is said.
#[cfg(feature = "mutants")]
const ALONE_RUNS: u64 = 16;

/// So many runs must be violations before a bug is left.
#[cfg(feature = "mutants")]
const FOUND_MIN: usize = 3;

#[cfg(feature = "mutants")]
fn alone(
    args: &MutantsArgs,
    stage: &dyn Stage,
    bugs: &[seatrial_types::planted::Planted],
    scenarios: &[Scenario],
) -> ExitCode {
    use seatrial_scenario::alone::{Measure, bugs_table, look_at, oracles_table, summary, unproven};
    use seatrial_scenario::oracles::NAMES;
    let measure = Measure {
        runs_min: args.runs.unwrap_or(ALONE_RUNS),
        found_min: FOUND_MIN,
        time_max: std::time::Duration::from_secs(args.seconds),
        jobs: jobs(args.jobs),
        from: 0,
    };
    let begun = std::time::Instant::now();
    let mut all = Vec::new();
    for bug in bugs {
        let seen = look_at(stage, *bug, scenarios, measure, &|| begun.elapsed());
        eprintln!(
            "{bug}: found in {} of {} runs, only by {}",
            seen.violated.len(),
            seen.runs,
            seen.only_by().unwrap_or("-")
        );
        if args.json {
            println!("{}", serde_json::to_string(&seen).expect("what was seen is plain data"));
        }
        all.push(seen);
    }
    let is_whole = bugs.len() == seatrial_types::planted::Planted::ALL.len();
    let unproven = unproven(NAMES, &all);
    if !args.json {
        print!("{}\n{}", oracles_table(NAMES, &all), bugs_table(&all));
    }
    if is_whole {
        eprint!("{}", summary(NAMES, &all));
    }
    let all_found = all.iter().all(|seen| !seen.violated.is_empty());
    ExitCode::from(if all_found && (!is_whole || unproven.is_empty()) { exit::PASS } else { exit::VIOLATION })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_read_with_both_ends_and_errors_name_the_part() {
        assert_eq!(parse_seeds("1..20").unwrap(), 1..21);
        assert_eq!(parse_seeds("7").unwrap(), 7..8);
        assert_eq!(parse_seeds("3..=3").unwrap(), 3..4);
        assert!(parse_seeds("5..2").unwrap_err().contains("holds no seed"));
        assert!(parse_seeds("-1..2").unwrap_err().contains("\"-1\" is not a seed"));
    }
}
