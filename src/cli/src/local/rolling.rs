//! `seatrial rolling-reboot`: all machines of a local cluster, one after the other through the reboot lock; and what `status`
//! says of the lock.

use super::state::{Machine, State, agent_dir};
use crate::exit;
use crate::reboot::{look, tell};
use clap::Args;
use seatrial_reboot::{Phase, View};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Between two looks at the lock.
const PAUSE: Duration = Duration::from_millis(200);

/// For so long nothing need happen until it is said why.
const QUIET: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(crate) struct RollingArgs {
    /// Which machines, such as f1 [default: all].
    machines: Vec<String>,
    /// The folder given to `up`.
    #[arg(long, default_value = ".seatrial/up")]
    dir: PathBuf,
    /// Only ask for it, and do not wait until it is done.
    #[arg(long)]
    no_wait: bool,
    /// End with 1 where it is not done after so many seconds. It goes on all the same.
    #[arg(long, default_value_t = 900)]
    patience_seconds: u64,
}

pub(crate) fn run(args: &RollingArgs) -> ExitCode {
    match roll(args) {
        Ok(code) => code,
        Err(text) => {
            eprintln!("seatrial: {text}");
            ExitCode::from(exit::USAGE)
        }
    }
}

/// A machine on its way, by what was last said of it.
struct Way {
    name: String,
    boot: String,
    begun: Option<Instant>,
    said: &'static str,
}

fn roll(args: &RollingArgs) -> Result<ExitCode, String> {
    let state = State::read(&args.dir)?;
    let machines: Vec<Machine<'_>> = match args.machines.as_slice() {
        [] => state.machines().collect(),
        names => names.iter().map(|name| state.machine(name)).collect::<Result<_, _>>()?,
    };
    if machines.is_empty() {
        return Err("there are no machines here\nhint: `seatrial up --machines 3` starts some".to_owned());
    }
    if let Some(machine) = machines.iter().find(|machine| !machine.agent.runs()) {
        return Err(format!(
            "{}: its agent does not run\nhint: its log is {}",
            machine.name(),
            machine.agent.log.display()
        ));
    }
    let mut ways = BTreeMap::new();
    for machine in &machines {
        let way = Way { name: machine.name().to_owned(), boot: machine.boot(), begun: None, said: "" };
        ways.insert(machine.id(), way);
        tell(&agent_dir(&machine.fleetd.data_dir))?;
    }
    let names: Vec<&str> = machines.iter().map(Machine::name).collect();
    println!("asked for a reboot of {}", names.join(", "));
    if args.no_wait {
        return Ok(ExitCode::SUCCESS);
    }
    Ok(follow(args, ways))
}

fn follow(args: &RollingArgs, mut ways: BTreeMap<String, Way>) -> ExitCode {
    let (begun, count) = (Instant::now(), ways.len());
    let mut changed = Instant::now();
    loop {
        // While a member restarts, one look may fail; so may one at files that are being written.
        let seen = State::read(&args.dir).and_then(|state| Ok((look(&state.endpoints())?, state)));
        if let Ok((view, state)) = &seen {
            // First those that are on their way: who comes back does so before the next one goes.
            for is_under_way in [true, false] {
                ways.retain(|id, way| {
                    if way.said.is_empty() == is_under_way {
                        return true;
                    }
                    let step = step(id, way, view, state);
                    if step != Step::Same {
                        changed = Instant::now();
                    }
                    step != Step::Back
                });
            }
            if ways.is_empty() {
                let lock = shown(view, state);
                let machines = if count == 1 { "machine" } else { "machines" };
                println!("{count} {machines} rebooted, after {:.0?}; {lock}", begun.elapsed());
                return ExitCode::SUCCESS;
            }
            if changed.elapsed() > QUIET {
                println!("{}", seatrial_reboot::text::plan(&view.plan()).trim_end());
                changed = Instant::now();
            }
        }
        if begun.elapsed() > Duration::from_secs(args.patience_seconds) {
            let why = match seen {
                Ok((view, state)) => shown(&view, &state),
                Err(text) => text,
            };
            let left: Vec<&str> = ways.values().map(|way| way.name.as_str()).collect();
            eprintln!(
                "seatrial: not rebooted after {} s: {}; {why}\nhint: it goes on; `seatrial locksmithctl plan` and the logs of the agents say why it waits",
                args.patience_seconds,
                left.join(", ")
            );
            return ExitCode::from(exit::VIOLATION);
        }
        std::thread::sleep(PAUSE);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Same,
    New,
    Back,
}

/// Says what is new of a machine.
fn step(id: &str, way: &mut Way, view: &View, state: &State) -> Step {
    let holds = view.semaphore.holders().iter().any(|holder| holder == id);
    let boot = state.machine(&way.name).map(|machine| machine.boot()).unwrap_or_default();
    let is_booted = boot != way.boot;
    if holds && way.begun.is_none() {
        way.begun = Some(Instant::now());
    }
    let phase = view.ledger.holders.get(id).map(|holder| holder.phase);
    let now = match (holds, is_booted, phase) {
        (false, true, _) => {
            let took = way.begun.map_or(0.0, |begun| begun.elapsed().as_secs_f32());
            println!("{}  is back and has given the slot back, after {took:.0} s", way.name);
            return Step::Back;
        }
        (true, true, _) => "is up again in another boot",
        (true, false, Some(Phase::Draining)) => "holds the slot: its units go elsewhere",
        (true, false, Some(Phase::Rebooting)) => "reboots",
        (true, false, _) => "holds the slot",
        (false, false, _) => "",
    };
    if now == way.said {
        return Step::Same;
    }
    if !now.is_empty() {
        println!("{}  {now}", way.name);
    }
    way.said = now;
    Step::New
}

/// How the lock stands, in one line.
pub(super) fn shown(view: &View, state: &State) -> String {
    let holders = view.semaphore.holders();
    if holders.is_empty() {
        return "the reboot lock is free".to_owned();
    }
    let names = holders.iter().map(|id| {
        let machine = state.machines().find(|machine| machine.id() == *id);
        let name = machine.map_or_else(|| id.clone(), |machine| machine.name().to_owned());
        match view.ledger.holders.get(id) {
            Some(holder) => format!("{name} ({}, for {:.0?})", holder.phase, view.now.since(holder.since)),
            None => name,
        }
    });
    format!("the reboot lock is held by {}", names.collect::<Vec<_>>().join(", "))
}
