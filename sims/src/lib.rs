//! The whole program in the simulated world: members with their real logs, stores and peer connections,
//! served by real gRPC over the simulated network, played by the scenario runner.
//!
//! This is a composition root: it chooses the simulated world for everything below it. It carries out what
//! a plan says and hands over what was seen; what a plan means and what must hold is the room
//! `scenario`'s business.
//!
//! Read first: [`Simulation`] (plays a plan), [`SimTheatre`] (the cluster, its faults and its clients).

mod actor;
mod fleet;
mod member;
mod reboots;
mod stage;
mod theatre;
mod values;

pub use actor::{ClientWatch, GrpcClient};
pub use stage::Simulation;
pub use theatre::SimTheatre;
pub use values::{Operation, operate_on};
