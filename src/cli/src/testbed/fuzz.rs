//! `seatrial fuzz`: a campaign that can be interrupted, shared by machines, and read by CI systems.

use super::{WorldChoice, commit, fail, jobs, options_of_one, parse_seeds, small, worlds};
use crate::exit;
use clap::Args;
use seatrial_report::campaign::{render_campaign, render_campaign_junit, render_sarif};
use seatrial_scenario::Plan;
use seatrial_scenario::batch::{Stage, write_folder};
use seatrial_scenario::campaign::{
    Asked, Campaign, Failure, Hooks, Kept, Limits, Shard, SmallFailure, fuzz, to_page,
};
use seatrial_scenario::files::{
    load_campaign, load_corpus, load_plan, load_with_places, store_campaign, store_in_corpus, write_whole,
};
use seatrial_scenario::format::spec::VerdictKind;
use seatrial_scenario::record::RunLog;
use seatrial_scenario::signature::Signature;
use seatrial_scenario::{Judgement, format};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A campaign is stored so often, at least: as much is lost when its machine is.
const STORE_EVERY: Duration = Duration::from_secs(5);
/// A line is printed so often where nobody sits at a terminal.
const TELL_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct FuzzArgs {
    /// Scenario files, or folders of them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// End after so much time, with that of interrupted runs (`30m`, `2h`) [default: when the seeds are done, or never].
    #[arg(long, value_parser = format::duration)]
    time: Option<Duration>,
    /// Just the seeds A to B, B included.
    #[arg(long, value_name = "A..B", value_parser = parse_seeds)]
    seeds: Option<Range<u64>>,
    /// The first of seeds without end [default: drawn, and printed].
    #[arg(long, value_name = "SEED", conflicts_with = "seeds")]
    from: Option<u64>,
    /// Runs at one time [default: one per core].
    #[arg(long)]
    jobs: Option<usize>,
    /// Take every N-th seed only: this is machine I of N.
    #[arg(long, value_name = "I/N", value_parser = parse_shard)]
    shard: Option<Shard>,
    /// A folder of plans worth varying: they are begun with, and found ones are added.
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// So many runs of 100 are variations of earlier ones [default: 50, and none with --seeds].
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=95))]
    vary: Option<u32>,
    /// End after so many different failures.
    #[arg(long, value_name = "N")]
    failures: Option<usize>,
    /// Make each failure small, for so many seconds each; 0 does not.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    shrink: u64,
    /// Where the campaign is kept. One that is there already goes on.
    #[arg(long, default_value = "runs/fuzz")]
    out: PathBuf,
    /// In which world.
    #[arg(long, value_enum, default_value = "sim")]
    world: WorldChoice,
    /// Throw the campaign away that is there.
    #[arg(long)]
    fresh: bool,
    /// Write JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write SARIF 2.1.0.
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// Print the campaign as one JSON object.
    #[arg(long)]
    json: bool,
}

fn parse_shard(text: &str) -> Result<Shard, String> {
    let hint = "hint: --shard 2/8 is the second of eight machines";
    let number = |part: &str| part.trim().parse::<u32>().ok().filter(|number| *number > 0);
    let parts = text.split_once('/').and_then(|(index, of)| Some((number(index)?, number(of)?)));
    match parts {
        Some((index, of)) if index <= of => Ok(Shard { index, of }),
        Some((index, of)) => Err(format!("there is no machine {index} of {of}\n{hint}")),
        None => Err(format!("{text:?} is no shard\n{hint}")),
    }
}

/// A campaign that begins, or goes on, and what is to be said of that.
fn begin(args: &FuzzArgs) -> Result<(Vec<seatrial_scenario::format::spec::Scenario>, Campaign), String> {
    let (scenarios, places) = load_with_places(&args.paths).map_err(|error| error.to_string())?;
    let stage = worlds::ask_for_quick(args.world, &args.out)?;
    let scenarios = worlds::leave_out(stage.as_ref(), &args.paths, scenarios)?;
    let shard = args.shard.unwrap_or(Shard::WHOLE);
    if shard.of > 1 && args.seeds.is_none() && args.from.is_none() {
        let hint = "hint: all machines need the same beginning, say --from 1 or --seeds 1..1000";
        return Err(format!("--shard {shard} shares seeds, but each machine would draw its own\n{hint}"));
    }
    if args.fresh {
        for part in ["failures", "small", "corpus"] {
            let folder = args.out.join(part);
            if folder.exists() {
                std::fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            }
        }
    }
    let stored =
        if args.fresh { None } else { load_campaign(&args.out).map_err(|error| error.to_string())? };
    let (from, to) = match (&args.seeds, args.from, &stored) {
        (Some(seeds), ..) => (seeds.start, Some(seeds.end)),
        (None, Some(from), _) => (from, None),
        (None, None, Some(stored)) if stored.asked.to.is_none() => (stored.asked.from, None),
        (None, None, _) => (u64::from(rand_seed()), None),
    };
    let asked = Asked::new(&scenarios, from, to, shard).in_world(stage.world());
    let mut campaign = match stored {
        None => Campaign::new(&scenarios, asked),
        Some(stored) => match stored.asked.difference(&asked) {
            None => {
                eprintln!("going on after {} runs, from {}", stored.runs(), args.out.display());
                stored
            }
            Some(difference) => {
                return Err(format!(
                    "{} holds another campaign: it has {difference}\nhint: --fresh throws it away, another --out leaves it alone",
                    args.out.display()
                ));
            }
        },
    };
    campaign.commits.insert(commit());
    for (name, tally) in &mut campaign.scenarios {
        tally.file = places.get(name).cloned().unwrap_or_default();
    }
    Ok((scenarios, campaign))
}

/// A beginning that nobody chose. Small enough to be typed.
fn rand_seed() -> u32 {
    use std::io::Read;
    let mut bytes = [0; 4];
    // Where the system has no chance to give, the time differs from run to run too.
    match std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)) {
        Ok(()) => u32::from_be_bytes(bytes) >> 1,
        Err(_) => std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |since| since.subsec_nanos()),
    }
}

/// Set once somebody wants an end (Ctrl-C, or SIGTERM of a CI system). A second time ends at once: what is stored is whole.
fn interruption() -> Arc<AtomicBool> {
    let over = Arc::new(AtomicBool::new(false));
    let told = over.clone();
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            loop {
                tokio::select! {
                    biased;
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if told.swap(true, Ordering::SeqCst) {
                    std::process::exit(130);
                }
                eprintln!("\nending: the runs that are on their way are waited for; once more ends at once");
            }
        });
    });
    over
}

/// What is told while a campaign runs, and when it is stored.
struct Teller<'a> {
    out: &'a Path,
    live: bool,
    time: Option<Duration>,
    begun: Instant,
    /// Runs of earlier parts of the campaign, which tell nothing of how fast this machine is.
    before: AtomicU64,
    told: Mutex<Instant>,
    stored: Mutex<Instant>,
    trouble: Mutex<Option<String>>,
}

impl Teller<'_> {
    fn progress(&self, campaign: &Campaign) {
        let is_due = {
            let mut stored = self.stored.lock().expect("no holder panics");
            let is_due = stored.elapsed() >= STORE_EVERY;
            if is_due {
                *stored = Instant::now();
            }
            is_due
        };
        if is_due {
            self.keep(store_campaign(self.out, campaign));
        }
        let mut told = self.told.lock().expect("no holder panics");
        let every = if self.live { Duration::from_millis(200) } else { TELL_EVERY };
        if told.elapsed() < every {
            return;
        }
        *told = Instant::now();
        let line = self.line(campaign);
        if self.live {
            eprint!("\r\x1b[K{line}");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{line}");
        }
    }

    fn line(&self, campaign: &Campaign) -> String {
        let runs = campaign.runs();
        let rate = (runs - self.before.load(Ordering::Relaxed)) as f64 / self.begun.elapsed().as_secs_f64();
        let by_time = self.time.map(|time| time.as_secs_f64() - campaign.wall_seconds);
        let open = campaign.items().map(|items| items.saturating_sub(campaign.fresh.runs) as f64);
        let fresh_share = campaign.fresh.runs as f64 / runs.max(1) as f64;
        let by_seeds = open.map(|open| open / (rate * fresh_share).max(1e-9));
        let left = match (by_time, by_seeds) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        let left = left.map_or(String::new(), |left| format!(", about {} left", length(left.max(0.0))));
        let failures = match campaign.failures.len() {
            0 => "no failure".to_owned(),
            1 => "1 failure".to_owned(),
            n => format!("{n} failures"),
        };
        format!(
            "{runs} runs in {} ({rate:.1} a second), {} goals, {} features, {failures}{left}",
            length(campaign.wall_seconds),
            campaign.goals_reached(),
            campaign.features.len()
        )
    }

    /// A line of its own, whatever stands on the terminal's last.
    fn say(&self, text: &str) {
        let clear = if self.live { "\r\x1b[K" } else { "" };
        eprintln!("{clear}{text}");
    }

    fn keep(&self, result: Result<(), String>) {
        if let Err(error) = result {
            let mut trouble = self.trouble.lock().expect("no holder panics");
            if trouble.is_none() {
                self.say(&format!("seatrial: {error}"));
                *trouble = Some(error);
            }
        }
    }
}

fn length(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}

pub(super) fn run(args: &FuzzArgs) -> ExitCode {
    let (scenarios, campaign) = match begin(args) {
        Ok(begun) => begun,
        Err(text) => return fail(exit::USAGE, text),
    };
    let mut corpus = Vec::new();
    let vary_percent = args.vary.unwrap_or(if args.seeds.is_some() { 0 } else { 50 });
    // Also without --corpus: whoever goes on with a campaign goes on with what it had found worth varying.
    let kin = args.corpus.clone().or_else(|| (vary_percent > 0).then(|| args.out.join("corpus")));
    if let Some(folder) = &kin {
        match load_corpus(folder) {
            Ok((plans, skipped)) => {
                for text in skipped {
                    eprintln!("left out of the corpus: {text}");
                }
                // What another set of scenarios brought would play outside of this one.
                corpus = plans;
                corpus.retain(|plan| scenarios.contains(&plan.scenario));
                if !corpus.is_empty() || args.corpus.is_some() {
                    eprintln!("{} plans from the corpus {}", corpus.len(), folder.display());
                }
            }
            Err(error) => return fail(exit::USAGE, error),
        }
    }
    if campaign.asked.to.is_none() && campaign.runs() == 0 {
        eprintln!("seeds from {}", campaign.asked.from);
    }
    let stage = worlds::ask_for_quick(args.world, &args.out).expect("looked at before");
    let over = interruption();
    let (begun, earlier) = (Instant::now(), Duration::from_secs_f64(campaign.wall_seconds));
    let teller = Teller {
        out: &args.out,
        live: std::io::stderr().is_terminal(),
        time: args.time,
        begun,
        before: AtomicU64::new(campaign.runs()),
        told: Mutex::new(begun),
        stored: Mutex::new(begun),
        trouble: Mutex::new(None),
    };
    // A folder that cannot be written is known before anything is run.
    if let Err(error) = store_campaign(&args.out, &campaign) {
        return fail(exit::USAGE, format!("{error}\nhint: --out names a folder that can be written"));
    }
    let limits = Limits { jobs: jobs(args.jobs), vary_percent, time: args.time, failures_max: args.failures };
    let is_over = || over.load(Ordering::SeqCst);
    let hooks = Hooks {
        now: &|| earlier + begun.elapsed(),
        is_over: &is_over,
        failed: &|signature, plan, log, judgement| {
            teller.say(&format!(
                "{}: {} ({} seed {})",
                signature.id(),
                judgement.sentence,
                plan.scenario.name,
                plan.seed
            ));
            keep(args, stage.as_ref(), signature, plan, log, judgement, &is_over, &teller)
        },
        is_new: &|plan| {
            if let Some(folder) = &kin {
                teller.keep(store_in_corpus(folder, plan));
            }
        },
        progress: &|campaign| teller.progress(campaign),
    };
    let unfinished = unfinished(&args.out, &campaign);
    let campaign = fuzz(stage.as_ref(), &scenarios, campaign, unfinished, corpus, limits, &hooks);
    if teller.live {
        eprint!("\r\x1b[K");
    }
    eprintln!("{}", teller.line(&campaign).split(", about").next().unwrap_or_default());
    teller.keep(store_campaign(&args.out, &campaign));
    let (junit, sarif) = (args.junit.as_deref(), args.sarif.as_deref());
    let notes = if over.load(Ordering::SeqCst) {
        vec!["The campaign was interrupted; the same command goes on with it.".to_owned()]
    } else {
        Vec::new()
    };
    teller.keep(write_files(&campaign, &notes, &args.out, junit, sarif));
    if args.json {
        println!("{}", json(&campaign));
    } else {
        print!("{}", told(&campaign, &args.out));
    }
    if teller.trouble.into_inner().expect("no holder panics").is_some() {
        return ExitCode::from(exit::HARNESS);
    }
    exit_code(&campaign)
}

pub(super) fn exit_code(campaign: &Campaign) -> ExitCode {
    ExitCode::from(match campaign.verdict() {
        VerdictKind::Pass => 0,
        VerdictKind::Violation => 1,
        VerdictKind::Inconclusive => 3,
        VerdictKind::HarnessError => 4,
    })
}

/// What a machine wants to know: all but what only the search itself can use.
pub(super) fn json(campaign: &Campaign) -> String {
    let mut value = serde_json::to_value(campaign).expect("plain data with string keys");
    if let Some(fields) = value.as_object_mut() {
        fields.insert("features".to_owned(), campaign.features.len().into());
        fields.insert("verdict".to_owned(), campaign.verdict().name().into());
        for field in ["ahead", "met_at", "reached_at"] {
            fields.remove(field);
        }
    }
    value.to_string()
}

/// The page, and what CI systems read.
pub(super) fn write_files(
    campaign: &Campaign,
    notes: &[String],
    out: &Path,
    junit: Option<&Path>,
    sarif: Option<&Path>,
) -> Result<(), String> {
    let page = to_page(campaign, notes, &out.display().to_string());
    write_whole(&out.join("index.html"), &render_campaign(&page))?;
    if let Some(path) = junit {
        write_whole(path, &render_campaign_junit(&page))?;
    }
    if let Some(path) = sarif {
        let places: BTreeMap<String, String> =
            campaign.scenarios.iter().map(|(name, tally)| (name.clone(), tally.file.clone())).collect();
        write_whole(path, &render_sarif(&page, env!("CARGO_PKG_VERSION"), &places))?;
    }
    Ok(())
}

/// The end, for a person.
pub(super) fn told(campaign: &Campaign, out: &Path) -> String {
    let mut text = String::new();
    for (id, failure) in &campaign.failures {
        let Failure { verdict, sentence, times, after_runs, small, folder, .. } = failure;
        let times = if *times == 1 { "once".to_owned() } else { format!("{times} times") };
        text += &format!("{id} ({verdict}, {times}, first after {after_runs} runs): {sentence}\n");
        if let Some(small) = small {
            text += &format!("  made small: {}\n", small.bulk);
        }
        if let Some(folder) = small.as_ref().map(|small| &small.folder).or(folder.as_ref()) {
            let folder = out.join(folder);
            if *verdict != VerdictKind::HarnessError {
                text += &format!("  report: {}\n", folder.join("report.html").display());
            }
            let plan = folder.join("plan.json").display().to_string();
            text += &format!("  replay: {}\n", campaign.asked.replay(&plan));
        }
    }
    for (name, tally) in &campaign.scenarios {
        let missed: Vec<&str> = tally.goals_missed().iter().map(|goal| goal.name()).collect();
        if !missed.is_empty() {
            text += &format!("{name}: {} runs and never reached: {}\n", tally.runs, missed.join(", "));
        }
    }
    for (name, _) in campaign.scenarios.iter().filter(|(_, tally)| tally.is_blind()) {
        text += &format!("{name}: it was written to be violated, and never was\n");
    }
    let passed: u64 = campaign.scenarios.values().map(|tally| tally.passed).sum();
    text += &format!(
        "{passed} of {} runs passed\nreport: {}\n",
        campaign.runs(),
        out.join("index.html").display()
    );
    text
}

/// Where the plan of a failure lies from the moment it is found: to keep it may take a minute, and who is killed meanwhile
/// has nothing else of a variation.
const FOUND: &str = "found.json";

fn note_found(out: &Path, id: &str, plan: &Plan, teller: &Teller<'_>) {
    let text = serde_json::to_string(plan).expect("plain data with string keys");
    teller.keep(write_whole(&out.join("failures").join(id).join(FOUND), &text));
}

/// The plans of failures that the campaign's books do not know.
fn unfinished(out: &Path, campaign: &Campaign) -> Vec<Plan> {
    let Ok(entries) = std::fs::read_dir(out.join("failures")) else { return Vec::new() };
    let mut folders: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.sort();
    let is_known = |folder: &PathBuf| {
        let id = folder.file_name().unwrap_or_default().to_string_lossy();
        campaign.failures.contains_key(id.as_ref())
    };
    let open = folders.into_iter().filter(|folder| !is_known(folder));
    // One that cannot be read was on its way itself.
    open.filter_map(|folder| load_plan(&folder.join(FOUND)).ok()).collect()
}

#[allow(clippy::too_many_arguments, reason = "what the driver hands over, and where it goes")]
fn keep(
    args: &FuzzArgs,
    stage: &dyn Stage,
    signature: &Signature,
    plan: &Plan,
    log: Option<&RunLog>,
    judgement: &Judgement,
    is_over: &(dyn Fn() -> bool + Sync),
    teller: &Teller<'_>,
) -> Kept {
    let id = signature.id();
    let mut kept = Kept { folder: None, small: None, trouble: None };
    note_found(&args.out, &id, plan, teller);
    let inside = |folder: &Path| folder.strip_prefix(&args.out).unwrap_or(folder).display().to_string();
    let out = args.out.join("failures").join(&id);
    if let Some(log) = log {
        match write_folder(stage, &out, log, judgement, &options_of_one(&out)) {
            Ok(folder) => kept.folder = Some(inside(&folder)),
            Err(error) => kept.trouble = Some(error),
        }
    } else {
        // The testbed broke: there is nothing to show but the plan that breaks it.
        let folder = out.join(format!("{}-{}", plan.scenario.name, plan.seed));
        let text = serde_json::to_string_pretty(plan).expect("plain data with string keys");
        match write_whole(&folder.join("plan.json"), &text) {
            Ok(()) => kept.folder = Some(inside(&folder)),
            Err(error) => kept.trouble = Some(error),
        }
    }
    if judgement.verdict != VerdictKind::Violation || args.shrink == 0 || is_over() {
        return kept;
    }
    let out = args.out.join("small").join(&id);
    let options = options_of_one(&out);
    // The other threads go on with the campaign meanwhile.
    match small::make_small(stage, plan, &signature.oracle, args.shrink, 1, &out, &options, is_over) {
        Ok(small) => {
            teller.say(&format!("{id} made small: {}\n  replay: {}", small.after, small.replay()));
            kept.small = Some(SmallFailure {
                folder: inside(&small.folder),
                bulk: small.after.to_string(),
                seconds: small.took.as_secs_f64(),
                is_done: small.shrunk.is_done,
            });
        }
        Err(error) => kept.trouble = Some(format!("it could not be made small: {error}")),
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_read_and_errors_name_what_is_wrong() {
        assert_eq!(parse_shard("2/8"), Ok(Shard { index: 2, of: 8 }));
        assert!(parse_shard("9/8").unwrap_err().starts_with("there is no machine 9 of 8\nhint:"));
        for bad in ["0/3", "3", "a/b", "1/0", ""] {
            assert!(parse_shard(bad).unwrap_err().contains("is no shard\nhint:"), "{bad}");
        }
    }

    #[test]
    fn lengths_of_time_are_told_as_a_person_would() {
        assert_eq!(
            [7.4, 119.0, 121.0, 3600.0, 7200.0].map(length),
            ["7 s", "119 s", "3 min", "60 min", "2.0 h"]
        );
    }
}
