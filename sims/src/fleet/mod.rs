//! Machines of a fleet in the simulated world: our fleetd's loops as they are, and in place of a kernel a table of simulated
//! processes, which outlive fleetd and die with their machine's power.

mod fleetd;
mod host;
mod interface;
mod manager;

pub(crate) use fleetd::{HostSettings, run};
pub(crate) use host::Host;
pub(crate) use interface::ask;
