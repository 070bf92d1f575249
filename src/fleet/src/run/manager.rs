//! What an agent asks of the machine: systemd, or whatever stands in its place.

use crate::unit::{UnitFile, UnitName};
use std::collections::BTreeMap;
use std::future::Future;

/// A unit could not be loaded, started, or asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{doing} failed: {problem}\nhint: the machine's own journal says more")]
pub struct ManagerError {
    /// What was done: `start web.service`.
    pub doing: String,
    /// What was said.
    pub problem: String,
}

/// How a unit does, in systemd's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SystemdState {
    /// `loaded`, `not-found`, …
    pub load: String,
    /// `active`, `inactive`, `failed`, …
    pub active: String,
    /// `running`, `exited`, `dead`, …
    pub sub: String,
}

/// A unit that lies on the machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LoadedUnit {
    /// Its file.
    pub file: UnitFile,
    /// It was started and has not been stopped since.
    pub is_started: bool,
}

/// The units of one machine. Cheap to clone; clones are the same machine.
///
/// Every call may be repeated: to load what is loaded, to start what runs, to stop what stands still does nothing. None of
/// them waits until a unit is up: to start is to give the order.
pub trait UnitManager: Clone + Send + Sync + 'static {
    /// Writes a unit's file.
    fn load(&self, name: &UnitName, file: &UnitFile)
    -> impl Future<Output = Result<(), ManagerError>> + Send;

    /// Stops a unit if it runs, and takes its file away.
    fn unload(&self, name: &UnitName) -> impl Future<Output = Result<(), ManagerError>> + Send;

    /// Reads the files anew.
    fn reload(&self) -> impl Future<Output = Result<(), ManagerError>> + Send;

    /// Starts a unit.
    fn start(&self, name: &UnitName) -> impl Future<Output = Result<(), ManagerError>> + Send;

    /// Stops a unit.
    fn stop(&self, name: &UnitName) -> impl Future<Output = Result<(), ManagerError>> + Send;

    /// The units that fleet has put on this machine: what an agent that starts again finds.
    fn loaded(&self) -> impl Future<Output = Result<BTreeMap<UnitName, LoadedUnit>, ManagerError>> + Send;

    /// How they do.
    fn states(&self) -> impl Future<Output = Result<BTreeMap<UnitName, SystemdState>, ManagerError>> + Send;
}
