//! Which world a command plays in, with whose servers, and which scenarios can be had there.

use super::processes::{Processes, Program, why_not};
use super::{WorldChoice, stage};
use seatrial_scenario::batch::Stage;
use seatrial_scenario::format::spec::Scenario;
use std::path::{Path, PathBuf};

/// The stage a command asks for.
///
/// # Errors
/// For the user: a server that cannot be used, or one for a world without processes.
pub(super) fn ask_for(
    world: WorldChoice,
    server_bin: Option<&Path>,
    out: &Path,
) -> Result<(Box<dyn Stage>, Option<Program>), String> {
    let program = match (world, server_bin) {
        (WorldChoice::Sim, None) => return Ok((stage(world, out), None)),
        (WorldChoice::Sim, Some(_)) => {
            return Err("--server-bin needs processes to run in\nhint: add --world real".to_owned());
        }
        (WorldChoice::Real, None) => Program::ours()?,
        (WorldChoice::Real, Some(path)) => Program::foreign(path.to_owned())?,
    };
    let processes = Processes { folder: out.to_owned(), program: program.clone() };
    Ok((Box::new(processes), Some(program)))
}

/// Leaves out what cannot be played with this program, and says so; an error where a scenario was named by its own file, or
/// where none is left.
///
/// # Errors
/// For the user, with a hint.
pub(super) fn leave_out(
    program: &Program,
    paths: &[PathBuf],
    scenarios: Vec<Scenario>,
) -> Result<Vec<Scenario>, String> {
    let mut kept = Vec::new();
    for scenario in scenarios {
        let Some(why) = why_not(&scenario, program) else {
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
        return Err(
            "none of these scenarios can be played with processes\nhint: see docs/real-world.md".to_owned()
        );
    }
    Ok(kept)
}
