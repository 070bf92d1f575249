//! `seatrial explore`: all futures of a small world.

use super::fail;
use crate::exit;
use clap::{Args, Subcommand};
use seatrial_explore::raft::reduced::{self, Reductions};
use seatrial_explore::{
    Exploration, Limits, Outcome, Sight, check, engine_lease, lock, raft, reboot, serve, two_phase_commit,
};
use std::fmt::Debug;
use std::hash::Hash;
use std::io::IsTerminal;
use std::num::{NonZeroU64, NonZeroUsize};
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
pub(crate) struct ExploreArgs {
    #[command(subcommand)]
    model: Model,
    /// Threads that walk [default: one per core].
    #[arg(long, global = true)]
    threads: Option<NonZeroUsize>,
    /// No more steps than these; nothing is proven where they are not enough.
    #[arg(long, global = true, value_name = "STEPS")]
    steps: Option<NonZeroUsize>,
    /// No longer than so many seconds.
    #[arg(long, global = true)]
    seconds: Option<NonZeroU64>,
    /// One JSON object on standard output.
    #[arg(long, global = true)]
    json: bool,
    /// Look around by hand instead, in a browser at this address.
    #[arg(long, global = true, value_name = "ADDRESS", conflicts_with_all = ["json", "steps", "seconds"])]
    serve: Option<std::net::SocketAddr>,
    /// Plant a bug first, to see it found.
    #[cfg(feature = "mutants")]
    #[arg(long, global = true, value_name = "ID")]
    plant: Option<seatrial_types::planted::Planted>,
}

#[derive(Debug, Subcommand)]
enum Model {
    /// Consensus: elections and replication, with crashes that lose what was not synced, and a network that loses, repeats and
    /// reorders.
    Raft(RaftArgs),
    /// Consensus on the worst of networks: what was said once may arrive at any later time, any number of times, or never. Worlds that
    /// differ in names or in orders that tell nothing are left out.
    RaftAnyNetwork(AnyNetworkArgs),
    /// The reboot lock: machines that die at any step, late writes, lost answers, an operator.
    RebootLock(RebootArgs),
    /// The lock among a store's clients: leases that run out while their holders stand still, and a resource that asks for tokens.
    Lock(LockArgs),
    /// Fleet's scheduler: engines that are deposed while they stand still, machines that are not heard, agents that die.
    EngineLease(EngineArgs),
    /// Two-phase commit as others have specified and counted it: a check of the walk, with nothing of ours in it.
    TwoPhaseCommit(CommitArgs),
}

#[derive(Debug, Args)]
struct RaftArgs {
    /// Members, all of them voters.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=7))]
    members: u64,
    /// No campaign leads beyond this term.
    #[arg(long, default_value_t = 2)]
    terms: u64,
    /// Proposals, in all.
    #[arg(long, default_value_t = 1)]
    entries: u8,
    /// Crashes, in all.
    #[arg(long, default_value_t = 1)]
    crashes: u8,
    /// Messages that are lost.
    #[arg(long, default_value_t = 0)]
    losses: u8,
    /// Messages that arrive twice.
    #[arg(long, default_value_t = 0)]
    repeats: u8,
    /// Campaigns that are begun, answered or not.
    #[arg(long, default_value_t = 2)]
    campaigns: u8,
    /// Heartbeats of leaders, in all.
    #[arg(long, default_value_t = 0)]
    beats: u8,
    /// Reads that clients begin, in all.
    #[arg(long, default_value_t = 0)]
    reads: u8,
    /// Worlds with more messages on their way are left out.
    #[arg(long, default_value_t = 6)]
    letters: usize,
}

#[derive(Debug, Args)]
struct AnyNetworkArgs {
    /// Members, all of them voters.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=4))]
    members: u8,
    /// No campaign leads beyond this term.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=20))]
    terms: u8,
    /// Proposals, in all.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=20))]
    entries: u8,
    /// Crashes, in all.
    #[arg(long, default_value_t = 0)]
    crashes: u8,
    /// Heartbeats and quorum checks of leaders, in all.
    #[arg(long, default_value_t = 0)]
    beats: u8,
    /// Reads that clients begin at whoever leads, in all.
    #[arg(long, default_value_t = 0)]
    reads: u8,
    /// Leave nothing out: every order and every name is a way of its own.
    #[arg(long)]
    whole: bool,
    /// No more memory than so many MiB, in all of the process.
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
    /// Where a limit is reached, write down here how far it has come.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<std::path::PathBuf>,
    /// Go on from what --checkpoint has written; the bounds are those of then.
    #[arg(long, value_name = "FILE")]
    resume: Option<std::path::PathBuf>,
}

#[derive(Debug, Args)]
struct RebootArgs {
    /// Machines.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=9))]
    machines: u8,
    /// Reboots that each needs.
    #[arg(long, default_value_t = 1)]
    wants: u8,
    /// Slots of the semaphore.
    #[arg(long, default_value_t = 1)]
    slots: i64,
    /// Losses of power and deaths of agents, in all.
    #[arg(long, default_value_t = 1)]
    deaths: u8,
    /// Answers that are lost.
    #[arg(long, default_value_t = 0)]
    losses: u8,
    /// Times that eleven seconds pass, which is longer than a reservation is waited for.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=20))]
    ticks: u8,
    /// Changes of the number of slots by an operator.
    #[arg(long, default_value_t = 0)]
    changes: u8,
    /// Slots that an operator takes away.
    #[arg(long, default_value_t = 0)]
    frees: u8,
    /// Others may come in between the readings of ledger and semaphore.
    #[arg(long)]
    fine: bool,
}

#[derive(Debug, Args)]
struct LockArgs {
    /// Clients.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=9))]
    clients: u8,
    /// How often each wants the lock.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=4))]
    wants: u8,
    /// Leases that run out while their clients stand still.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=8))]
    ends: u8,
    /// Requests, or answers to them, that are lost.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=8))]
    losses: u8,
    /// The resource takes every write, whatever its token: to see how a lock alone does not help.
    #[arg(long)]
    unfenced: bool,
}

#[derive(Debug, Args)]
struct EngineArgs {
    /// Engines.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=5))]
    engines: u8,
    /// Machines, each with an agent.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=5))]
    machines: u8,
    /// Units, each to run once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    units: u8,
    /// Leases of engines that run out while these stand still.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=8))]
    ends: u8,
    /// Machines that are not heard until their lease ends, or nearly.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=8))]
    silences: u8,
    /// Deaths of engines, agents and whole machines, in all.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=8))]
    deaths: u8,
    /// Requests of engines, or answers to them, that are lost.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=8))]
    losses: u8,
    /// 1: a client destroys the first unit, at any moment.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=1))]
    destroys: u8,
}

#[derive(Debug, Args)]
struct CommitArgs {
    /// Resource managers.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u8).range(1..=12))]
    managers: u8,
    /// Take states for one that differ in nothing but who is who.
    #[arg(long)]
    symmetric: bool,
}

pub(super) fn run(args: &ExploreArgs) -> ExitCode {
    #[cfg(feature = "mutants")]
    seatrial_types::planted::plant(args.plant.as_slice());
    match &args.model {
        Model::Raft(one) => walk(
            args,
            raft::Bounds {
                members: one.members,
                terms: one.terms,
                entries: one.entries,
                crashes: one.crashes,
                losses: one.losses,
                repeats: one.repeats,
                campaigns: one.campaigns,
                beats: one.beats,
                reads: one.reads,
                letters: one.letters,
            },
        ),
        Model::RaftAnyNetwork(one) => walk_any_network(args, one),
        Model::RebootLock(one) => walk(
            args,
            reboot::Bounds {
                machines: one.machines.into(),
                wants: one.wants,
                slots: one.slots,
                deaths: one.deaths,
                losses: one.losses,
                ticks: one.ticks,
                changes: one.changes,
                frees: one.frees,
                fine: one.fine,
            },
        ),
        Model::Lock(one) => walk(
            args,
            lock::Bounds {
                clients: one.clients.into(),
                wants: one.wants,
                ends: one.ends,
                losses: one.losses,
                is_fenced: !one.unfenced,
            },
        ),
        Model::EngineLease(one) => walk(
            args,
            engine_lease::Bounds {
                engines: one.engines.into(),
                machines: one.machines.into(),
                units: one.units.into(),
                ends: one.ends,
                silences: one.silences,
                deaths: one.deaths,
                losses: one.losses,
                destroys: one.destroys,
            },
        ),
        Model::TwoPhaseCommit(one) => walk(
            args,
            two_phase_commit::Bounds { managers: one.managers.into(), is_symmetric: one.symmetric },
        ),
    }
}

fn walk<M: Exploration + Debug + Copy>(args: &ExploreArgs, bounds: M) -> ExitCode
where
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    if let Some(address) = args.serve {
        // The server would panic.
        if let Err(why) = std::net::TcpListener::bind(address) {
            return fail(exit::USAGE, format!("--serve: cannot be heard at {address}: {why}"));
        }
        eprintln!("look at http://{address}, and end with Ctrl-C");
        serve(bounds, address);
        return ExitCode::SUCCESS;
    }
    let threads =
        args.threads.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    let limits = Limits {
        threads,
        states_max: args.steps,
        time_max: args.seconds.map(|seconds| Duration::from_secs(seconds.get())),
    };
    let begun = Instant::now();
    let rate = |sight: Sight| sight.unique as f64 / begun.elapsed().as_secs_f64().max(0.001);
    let is_terminal = std::io::stderr().is_terminal();
    // On a terminal a line that changes; elsewhere one line every ten seconds.
    let every = Duration::from_millis(if is_terminal { 300 } else { 10_000 });
    let mut told = begun;
    let outcome = check(
        &bounds,
        limits,
        || begun.elapsed(),
        |sight| {
            if told.elapsed() < every {
                return;
            }
            told = Instant::now();
            let line = format!(
                "{} states, {} steps, depth {}, {:.0} states/s, {} MiB",
                sight.unique,
                sight.steps,
                sight.depth,
                rate(sight),
                memory_mib()
            );
            if is_terminal {
                eprint!("\r\x1b[K{line}");
            } else {
                eprintln!("{line}");
            }
        },
    );
    if is_terminal {
        eprint!("\r\x1b[K");
    }
    let (sight, seconds) = (outcome.sight(), begun.elapsed().as_secs_f64());
    let (word, code) = match &outcome {
        Outcome::Holds(_) => ("holds", exit::PASS),
        Outcome::Violated(..) => ("violated", exit::VIOLATION),
        Outcome::Unfinished(_) => ("unfinished", exit::INCONCLUSIVE),
    };
    let example = match &outcome {
        Outcome::Violated(_, example) => Some(example),
        _ => None,
    };
    if args.json {
        let object = serde_json::json!({
            "bounds": format!("{bounds:?}"),
            "outcome": word,
            "states": sight.unique,
            "steps": sight.steps,
            "depth": sight.depth,
            "threads": threads,
            "seconds": seconds,
            "memory_mib": memory_mib(),
            "property": example.map(|one| &one.property),
            "why": example.map(|one| &one.why),
            "trace": example.map(|one| &one.steps),
        });
        println!("{object}");
        return ExitCode::from(code);
    }
    if let Some(example) = example {
        print!("{example}");
    }
    println!(
        "{word}: {} states, {} steps, depth {}, {seconds:.1} s ({:.0} states/s), {threads} threads, {} MiB",
        sight.unique,
        sight.steps,
        sight.depth,
        rate(sight),
        memory_mib()
    );
    if code == exit::INCONCLUSIVE {
        println!("a limit was reached: nothing wrong was seen, and nothing is proven");
    }
    ExitCode::from(code)
}

fn walk_any_network(args: &ExploreArgs, one: &AnyNetworkArgs) -> ExitCode {
    if args.serve.is_some() {
        return fail(
            exit::USAGE,
            "--serve: this model has no browser\nhint: `explore raft --serve` has".to_owned(),
        );
    }
    let bounds = reduced::Bounds {
        members: one.members,
        terms: one.terms,
        entries: one.entries,
        crashes: one.crashes,
        beats: one.beats,
        reads: one.reads,
    };
    let reductions = if one.whole { Reductions::NONE } else { Reductions::ALL };
    let mut walk = match &one.resume {
        None => reduced::Walk::new(bounds, reductions),
        Some(path) => {
            let walk = std::fs::File::open(path)
                .map_err(reduced::ResumeError::from)
                .and_then(|file| reduced::Walk::resume(&mut std::io::BufReader::new(file)));
            match walk {
                Ok(walk) => walk,
                Err(why) => return fail(exit::USAGE, format!("--resume {}: {why}", path.display())),
            }
        }
    };
    let threads =
        args.threads.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    let limits = reduced::WalkLimits {
        threads,
        steps_max: args.steps,
        time_max: args.seconds.map(|seconds| Duration::from_secs(seconds.get())),
        memory_max: one.memory.map(|mib| mib << 20),
    };
    let begun = Instant::now();
    let mut told = begun;
    let report = walk.go(
        limits,
        || (begun.elapsed(), memory_mib() << 20),
        |sight| {
            if told.elapsed() >= Duration::from_secs(10) {
                told = Instant::now();
                let Sight { unique, steps, depth } = sight;
                eprintln!("{unique} states, {steps} steps, depth {depth}, {} MiB", memory_mib());
            }
        },
    );
    let (sight, seconds) = (report.outcome.sight(), begun.elapsed().as_secs_f64());
    let (word, code, example) = match &report.outcome {
        Outcome::Holds(_) => ("holds", exit::PASS, None),
        Outcome::Violated(_, example) => ("violated", exit::VIOLATION, Some(example)),
        Outcome::Unfinished(_) => ("unfinished", exit::INCONCLUSIVE, None),
    };
    if let (Some(path), exit::INCONCLUSIVE) = (&one.checkpoint, code) {
        let saved = std::fs::File::create(path).and_then(|file| {
            let mut file = std::io::BufWriter::new(file);
            walk.save(&mut file)?;
            std::io::Write::flush(&mut file)
        });
        if let Err(why) = saved {
            return fail(exit::USAGE, format!("--checkpoint {}: {why}", path.display()));
        }
    }
    if args.json {
        let object = serde_json::json!({
            "bounds": format!("{:?}", walk.bounds()),
            "outcome": word,
            "states": sight.unique,
            "steps": sight.steps,
            "depth": sight.depth,
            "threads": threads,
            "seconds": seconds,
            "memory_mib": memory_mib(),
            "bytes_per_state": report.state_bytes,
            "steps_of_cores": report.steps_of_cores,
            "parts": report.growth.counts().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            "property": example.map(|one| &one.property),
            "why": example.map(|one| &one.why),
            "trace": example.map(|one| &one.steps),
        });
        println!("{object}");
        return ExitCode::from(code);
    }
    if let Some(example) = example {
        print!("{example}");
    }
    if code == exit::INCONCLUSIVE {
        print!("{}", report.growth);
        println!("a limit was reached: nothing wrong was seen, and nothing is proven");
    }
    println!(
        "{word}: {} states, {} steps, depth {}, {seconds:.1} s, {threads} threads, {} MiB, {:.1} bytes a state; \
         a core was asked {} times",
        sight.unique,
        sight.steps,
        sight.depth,
        memory_mib(),
        report.state_bytes,
        report.steps_of_cores
    );
    ExitCode::from(code)
}

/// What this process takes of the machine's memory.
fn memory_mib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64 / (1 << 20)
}
