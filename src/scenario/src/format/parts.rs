//! What some workloads ask for beside what all of them do.

use super::spec::{MachineFault, UnitAct, Without, WorkloadKind, WorkloadSpec};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a watcher asks for, and how fast it reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchSpec {
    /// A pause after each answer, while the storm lasts.
    pub read_every: Duration,
    /// Progress notifications, and now and then progress asked for.
    pub progress: bool,
    /// The version before each change.
    pub prev_kv: bool,
    /// What is to be left out.
    pub without: Without,
}

/// What there is of machines and units, and what happens to them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitsSpec {
    /// Machines; the first clients of the workload. The others are operators.
    pub machines: u32,
    /// Units that operators know.
    pub units: u32,
    /// What happens to machines.
    pub faults: Vec<MachineFault>,
    /// Mean time between two faults of one machine.
    pub faults_every: Duration,
    /// So many machines leave for good, all at one time, half-way through the storm.
    pub leavers: u32,
    /// What operators ask for, once all units were started.
    pub acts: Vec<UnitAct>,
    /// So many units of lost machines are moved at once; afterwards half as many a second.
    pub evictions: u32,
}

impl WorkloadSpec {
    /// Whether the client of this number is a machine of the fleet.
    #[must_use]
    pub fn is_machine(&self, number: u32) -> bool {
        self.kind == WorkloadKind::Units && number < self.units.machines
    }
}
