//! Runs units for real, without systemd: carries out what `service` wants done, on processes of this machine.
//!
//! [`start`] begins a [`Driver`] on a thread of its own. Every process is started by a small launcher (this crate's binary,
//! or a subcommand of another that calls [`launch`]), in a session of its own, and writes its output straight into its
//! unit's log file. So nothing of a unit hangs on the driver: when it ends, units run on, and the next driver over the same
//! folder finds them and goes on.
//!
//! A unit's processes are those in the sessions of the processes it was started with, their descendants, and whoever
//! carries its `INVOCATION_ID` in the environment; and where a control group can be written, those in it. What escapes
//! without a control group: a process that takes a session of its own *and* throws its environment away, once its parent
//! has ended.
//!
//! Knows nothing of unit files, clusters or protocols.
//!
//! Read first: [`Options`], [`Driver`], [`Handle`].
#![allow(
    clippy::disallowed_methods,
    reason = "this crate answers for the machine: processes, files and clocks are what it is for"
)]

mod accounts;
mod driver;
mod follow;
mod group;
mod handle;
mod launch;
mod logs;
mod notify;
mod proc;
mod reap;
mod saved;
mod spawn;

pub use driver::{Driver, Event, Options};
pub use follow::{Follow, Followed, LeftOut, WAITING_BYTES_MAX};
pub use handle::{Handle, start};
pub use launch::{Plan, Stdio, launch};

/// What can go wrong around units, besides the units themselves.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The unit, or the wish about it.
    #[error(transparent)]
    Unit(#[from] seatrial_service::UnitError),
    /// A file or folder of the driver's own.
    #[error(
        "{what} {path}: {error}\nhint: see that the folder is there, can be written, and is on a disk with room"
    )]
    File {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// What an earlier driver wrote down cannot be read.
    #[error(
        "the state in {path} cannot be read: {error}\nhint: move the file away; units that run are then no longer watched"
    )]
    State {
        /// Which file.
        path: String,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// Another driver has the folder.
    #[error(
        "another driver of units runs over this folder: {path} is locked\nhint: stop it, or use a folder of its own"
    )]
    Taken {
        /// The file with the lock.
        path: String,
    },
    /// The driver has ended.
    #[error("the driver of units has ended\nhint: look into its log for the reason, and start it again")]
    Ended,
}
