//! What other commands of this program ask of the lock: how it stands, and that a machine's agent hears of a reboot.

use super::machine::NEED_REBOOT;
use super::store::Place;
use seatrial_reboot::{Coordinator, Group, View};
use seatrial_world_real::RealWorld;
use std::path::Path;

/// The lock of the group without a name, as the store at these endpoints has it.
///
/// # Errors
/// A sentence; the store may not answer.
pub(crate) fn look(endpoints: &[&str]) -> Result<View, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime cannot start: {error}"))?;
    let world = RealWorld::on(runtime.handle().clone());
    let endpoints = endpoints.iter().map(|&url| url.to_owned()).collect();
    let keys = Place { endpoints, ..Place::default() }.keys(&world)?;
    let lock = Coordinator::new(world, keys, Group::default());
    runtime.block_on(lock.look()).map_err(|error| error.to_string())
}

/// Tells the agent of this folder that a reboot is needed. There is no bus that every machine has.
///
/// # Errors
/// Where the folder is not there.
#[allow(clippy::disallowed_methods, reason = "the machine is asked, not a member's data")]
pub(crate) fn tell(folder: &Path) -> Result<(), String> {
    std::fs::write(folder.join(NEED_REBOOT), "").map_err(|error| format!("{}: {error}", folder.display()))
}
