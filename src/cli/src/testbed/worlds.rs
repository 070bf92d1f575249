//! Which world a command plays in, with whose servers, and which scenarios can be had there.

use super::processes::{Processes, Program};
use super::{WorldChoice, stage};
use clap::Args;
use seatrial_scenario::batch::Stage;
use seatrial_scenario::format::spec::Scenario;
use std::path::{Path, PathBuf};

/// Whose members play.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Servers {
    /// With --world real: members run this server, which takes etcd's flags, instead of ours.
    #[arg(long, value_name = "PATH")]
    server_bin: Option<PathBuf>,
    /// With --world real: what members run before a rolling upgrade [default: our server, with the peer protocol of the
    /// build before].
    #[arg(long, value_name = "PATH")]
    before_bin: Option<PathBuf>,
    /// With --world real: each member in a network namespace of its own, and links that are cut in the kernel (Linux,
    /// root).
    #[arg(long)]
    netns: bool,
}

/// The stage a command asks for.
///
/// # Errors
/// For the user: a server that cannot be used, or one for a world without processes.
pub(super) fn ask_for(world: WorldChoice, servers: &Servers, out: &Path) -> Result<Box<dyn Stage>, String> {
    let Servers { server_bin, before_bin, netns } = servers;
    if world != WorldChoice::Real {
        let given = [
            ("--server-bin", server_bin.is_some()),
            ("--before-bin", before_bin.is_some()),
            ("--netns", *netns),
        ];
        return match given.into_iter().find(|(_, is_given)| *is_given) {
            None => Ok(stage(world, out)),
            Some((flag, _)) => Err(format!("{flag} needs processes to run in\nhint: add --world real")),
        };
    }
    let mut program = match server_bin {
        None => Program::ours()?,
        Some(path) => Program::at("--server-bin", path.clone())?,
    };
    if let Some(path) = before_bin {
        program = program.behind(Program::at("--before-bin", path.clone())?)?;
    }
    if *netns {
        program = program.in_namespaces()?;
    }
    Ok(Box::new(Processes { folder: out.to_owned(), program }))
}

/// The stage of a command that needs many runs.
///
/// # Errors
/// For the user: processes take as long as they say.
pub(super) fn ask_for_quick(world: WorldChoice, out: &Path) -> Result<Box<dyn Stage>, String> {
    if world == WorldChoice::Real {
        let why = "this takes more runs than processes have time for";
        return Err(format!("{why}\nhint: leave --world real out, or use `seatrial run --world real`"));
    }
    Ok(stage(world, out))
}

/// Leaves out what cannot be played on this stage, and says so; an error where a scenario was named by its own file, or
/// where none is left.
///
/// # Errors
/// For the user, with a hint.
pub(super) fn leave_out(
    stage: &dyn Stage,
    paths: &[PathBuf],
    scenarios: Vec<Scenario>,
) -> Result<Vec<Scenario>, String> {
    let mut kept = Vec::new();
    for scenario in scenarios {
        let Some(why) = stage.why_not(&scenario) else {
            kept.push(scenario);
            continue;
        };
        let is_it =
            |path: &&PathBuf| path.is_file() && path.file_stem().is_some_and(|stem| stem == &*scenario.name);
        if let Some(path) = paths.iter().find(is_it) {
            return Err(format!("{}: {why}", path.display()));
        }
        eprintln!("left out: {}: {}", scenario.name, why.lines().next().unwrap_or_default());
    }
    if kept.is_empty() {
        let (how, page) = match stage.world() {
            "lab" => ("in the lab", "lab.md"),
            _ => ("with processes", "real-world.md"),
        };
        return Err(format!("none of these scenarios can be played {how}\nhint: see docs/{page}"));
    }
    Ok(kept)
}
