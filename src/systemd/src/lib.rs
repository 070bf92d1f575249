//! Runs the fleet's units by the machine's systemd, over D-Bus: the second answer to what an agent asks of a machine, beside
//! processes of our own (`service-real`).
//!
//! A unit is a file in a folder of the fleet's (`/run/fleet/units`, as in the original), linked into systemd until the next
//! boot. What systemd is asked for, in which order, and which of its refusals mean nothing is decided by functions over values
//! ([`plan`]); around them is a connection that is made anew when it breaks, and a folder that tells the
//! next fleetd which file every unit was started from. Units never hang on us: they are systemd's, and run on.
//!
//! Deliberately does not know: clusters, schedules and leases (the agent's), HTTP (the cli's), nor what a unit file means —
//! systemd reads it. It asks the machine directly, as `world-real` does: sockets, files and `journalctl` are what it is for.
//!
//! Read first: [`SystemdManager`], [`plan::Step`], [`plan::Call`].
#![allow(
    clippy::disallowed_methods,
    reason = "this crate answers for the machine: its systemd, and the files that systemd reads"
)]

mod address;
mod bus;
mod details;
mod error;
mod files;
mod jobs;
mod journal;
mod manager;
pub mod plan;

pub use address::{Instance, Surroundings, addresses};
pub use details::UnitDetails;
pub use error::SystemdError;
pub use files::started_in;
pub use jobs::{JobResult, Jobs};
pub use journal::{Follow, Journal};
pub use manager::{Options, SystemdManager};
