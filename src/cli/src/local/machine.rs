//! What the reboot agent of a demo machine lets do: drain it, reboot it, and say whether it does its work again.
//!
//! A reboot here is what a machine's reboot is to everybody else: all of its processes end, the agent among them, and
//! start again over their files, in a boot with another id.

use super::health::{self, Fleet};
use super::state::{
    Machine, PATIENCE, Process, State, agent_dir, boot_file, draw_uuid, hold, stop_machines, stop_some, write,
};
use crate::exit;
use clap::{Args, ValueEnum};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// So long a machine is off.
const OFF: Duration = Duration::from_secs(1);

/// So long what ran on a machine may take to be up elsewhere; then the machine goes all the same. Longer than
/// the lease of the machine, which has to end first.
const MOVE_PATIENCE: Duration = Duration::from_secs(40);

/// Between two looks at the fleet.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(crate) struct MachineArgs {
    /// What to do.
    verb: Verb,
    /// Which machine.
    name: String,
    /// The folder given to `up`.
    #[arg(long)]
    dir: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Verb {
    /// Stop its units and wait until they are up elsewhere.
    Drain,
    /// Let it have units again.
    Undrain,
    /// Say whether member and fleetd are healthy, and everything runs again that ran before the drain.
    Healthy,
    /// Have it rebooted, and end at once.
    Reboot,
    /// Take it down and start it again.
    Boot,
}

/// What was up when a machine was drained.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Before {
    /// Somewhere.
    scheduled: BTreeSet<String>,
    /// On this machine, as on every one.
    global: BTreeSet<String>,
}

fn before_file(data_dir: &Path) -> PathBuf {
    data_dir.join("before-reboot.json")
}

/// Forgets a reboot that was asked for or under way: a machine that starts with all others is in another boot anyway.
pub(super) fn forget(data_dir: &Path) {
    // Where there is nothing, nothing has to be forgotten.
    let _ = fs::remove_file(before_file(data_dir));
    let _ = fs::remove_dir_all(agent_dir(data_dir));
}

pub(crate) fn run(args: &MachineArgs) -> ExitCode {
    let done = match args.verb {
        Verb::Drain => drain(&args.dir, &args.name),
        Verb::Undrain => undrain(&args.dir, &args.name),
        Verb::Healthy => healthy(&args.dir, &args.name),
        Verb::Reboot => reboot(&args.dir, &args.name),
        Verb::Boot => boot(&args.dir, &args.name),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("seatrial: {}: {text}", args.name);
            ExitCode::from(exit::VIOLATION)
        }
    }
}

/// Only a machine's agent has these things done. Where it was stopped meanwhile, so was the cluster.
fn asked_by_agent(machine: &Machine<'_>) -> Result<(), String> {
    if machine.agent.runs() { Ok(()) } else { Err("its agent does not run".to_owned()) }
}

fn drain(dir: &Path, name: &str) -> Result<(), String> {
    let state = State::read(dir)?;
    let machine = state.machine(name)?;
    let id = machine.id();
    // Where its own fleetd is gone already, another says as much.
    let fleetds = [machine.fleetd].into_iter().chain(&state.machines);
    let mut fleets = fleetds.filter(|fleetd| fleetd.runs()).map(Fleet::of);
    let told = fleets.find_map(|fleet| fleet.units().zip(fleet.active()));
    let (units, active) = told.ok_or("no fleetd says what runs")?;
    let is_up = |name: &str| active.iter().any(|(unit, _)| unit == name);
    let is_here = |name: &str| active.contains(&(name.to_owned(), id.clone()));
    let scheduled = units.iter().filter(|unit| !unit.is_global).map(|unit| unit.name.clone());
    let (scheduled, mut moving): (Vec<_>, Vec<_>) = (
        scheduled.clone().filter(|unit| is_up(unit)).collect(),
        scheduled.filter(|unit| is_here(unit)).collect(),
    );
    let global = units.iter().filter(|unit| unit.is_global && is_here(&unit.name));
    let before = Before {
        scheduled: scheduled.into_iter().collect(),
        global: global.map(|unit| unit.name.clone()).collect(),
    };
    write(
        &before_file(&machine.fleetd.data_dir),
        &serde_json::to_string(&before).map_err(|error| error.to_string())?,
    )?;

    for name in stop_machines(&[machine.fleetd]) {
        eprintln!("seatrial: {name} did not end when asked and was killed");
    }
    let begun = Instant::now();
    while !moving.is_empty() && begun.elapsed() < MOVE_PATIENCE {
        std::thread::sleep(PAUSE);
        // Others may reboot meanwhile, where there are more slots than one.
        let state = State::read(dir)?;
        moving.retain(|unit| !is_elsewhere(&state, &id, unit));
    }
    if !moving.is_empty() {
        eprintln!("seatrial: {name}: not up elsewhere after {MOVE_PATIENCE:?}: {}", moving.join(", "));
    }
    Ok(())
}

/// Whether a unit is up on a machine other than this one, or there is none for it.
fn is_elsewhere(state: &State, id: &str, unit: &str) -> bool {
    let Some(other) = state.machines().find(|machine| machine.id() != id && machine.fleetd.runs()) else {
        return true;
    };
    let fleet = Fleet::of(other.fleetd);
    let (Some(there), Some(active), Some(waiting)) = (fleet.machines(), fleet.active(), fleet.waiting())
    else {
        return false;
    };
    // As long as the machine counts, its units are taken to be there.
    let is_up = active.iter().any(|(name, machine)| name == unit && machine != id);
    is_up || (!there.contains(id) && waiting.contains(unit))
}

fn undrain(dir: &Path, name: &str) -> Result<(), String> {
    let _held = hold(dir)?;
    let mut state = State::read(dir)?;
    let machine = state.machine(name)?;
    asked_by_agent(&machine)?;
    if machine.fleetd.runs() {
        return Ok(());
    }
    restart(&mut state, name, |state| &mut state.machines)?;
    state.write(dir)
}

/// Starts the process of this name anew.
fn restart(state: &mut State, name: &str, of: fn(&mut State) -> &mut Vec<Process>) -> Result<(), String> {
    let at = of(state).iter().position(|process| process.name == name);
    let at = at.ok_or_else(|| format!("there is no {name}"))?;
    let mut process = of(state)[at].clone();
    state.start(&mut process)?;
    of(state)[at] = process;
    Ok(())
}

fn healthy(dir: &Path, name: &str) -> Result<(), String> {
    let state = State::read(dir)?;
    let machine = state.machine(name)?;
    if let Some(member) = machine.member.filter(|member| !health::member(member)) {
        return Err(format!("{} does not serve yet", member.name));
    }
    if !health::machine(&machine) {
        return Err("it is not known to the fleet yet".to_owned());
    }
    let file = before_file(&machine.fleetd.data_dir);
    let Ok(text) = fs::read_to_string(&file) else { return Ok(()) };
    let before: Before =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let fleet = Fleet::of(machine.fleetd);
    let (units, active) = fleet.units().zip(fleet.active()).ok_or("its fleetd does not say what runs")?;
    let id = machine.id();
    // What an operator has stopped or destroyed meanwhile is waited for by nobody.
    let missing = units.iter().filter(|unit| {
        let is_up = |(name, at): &(String, String)| *name == unit.name && (!unit.is_global || *at == id);
        let was_up = if unit.is_global { &before.global } else { &before.scheduled };
        was_up.contains(&unit.name) && !active.iter().any(is_up)
    });
    let missing: Vec<&str> = missing.map(|unit| unit.name.as_str()).collect();
    if !missing.is_empty() {
        return Err(format!("was up before and is not up again: {}", missing.join(", ")));
    }
    let _ = fs::remove_file(file);
    Ok(())
}

/// Hands over to a process that the agent does not take with it.
fn reboot(dir: &Path, name: &str) -> Result<(), String> {
    let _held = hold(dir)?;
    let mut state = State::read(dir)?;
    let machine = state.machine(name)?;
    asked_by_agent(&machine)?;
    let agent = machine.agent;
    let args = ["machine", "boot", name, "--dir"].map(str::to_owned).to_vec();
    let args = [args, vec![dir.display().to_string()]].concat();
    let url = agent.client_url.clone();
    let mut process = Process::new(dir, &format!("{name}-reboot"), url, agent.data_dir.clone(), args);
    state.start(&mut process)?;
    state.reboots.retain(|reboot| reboot.name != process.name);
    state.reboots.push(process);
    state.write(dir)
}

fn boot(dir: &Path, name: &str) -> Result<(), String> {
    let state = State::read(dir)?;
    let machine = state.machine(name)?;
    stop_some(&[machine.agent], Signal::TERM);
    stop_machines(&[machine.fleetd]);
    let member = machine.member.map(|member| member.name.clone());
    for name in machine.member.map(|member| stop_some(&[member], Signal::TERM)).unwrap_or_default() {
        eprintln!("seatrial: {name} did not end within {PATIENCE:?} and was killed");
    }
    std::thread::sleep(OFF);
    write(&boot_file(&machine.fleetd.data_dir), &format!("{}\n", draw_uuid()?))?;

    // As a machine does it: everything at once, and whoever needs another waits for it.
    let agent = machine.agent.name.clone();
    let _held = hold(dir)?;
    let mut state = State::read(dir)?;
    if let Some(member) = member {
        restart(&mut state, &member, |state| &mut state.members)?;
    }
    restart(&mut state, name, |state| &mut state.machines)?;
    restart(&mut state, &agent, |state| &mut state.agents)?;
    state.reboots.retain(|reboot| reboot.name != format!("{name}-reboot"));
    state.write(dir)
}
