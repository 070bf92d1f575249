//! What some workloads ask for beside what all of them do.

use super::spec::{Without, WorkloadKind, WorkloadSpec, named};
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

named! {
    /// Requests of the workload `v2`.
    V2Op {
        /// Writes a file, whatever is there.
        Set = "set",
        /// Writes a file where nothing is.
        Create = "create",
        /// Writes a file that is there.
        Update = "update",
        /// Writes a file that holds what this client saw last.
        Swap = "swap",
        /// Writes a file that is of the index that this client saw last.
        SwapIndex = "swap-index",
        /// Deletes a file.
        Delete = "delete",
        /// Deletes a file that holds what this client saw last.
        DeleteIf = "delete-if",
        /// Writes a file in the directory, under a name greater than those before.
        InOrder = "in-order",
        /// Lets a file's time begin anew.
        Refresh = "refresh",
        /// Makes the directory.
        MakeDir = "make-dir",
        /// Deletes the directory with all that is in it.
        DropDir = "drop-dir",
        /// Reads a file, as new as any answer before.
        Get = "get-quorum",
        /// Reads a file as the member happens to know it.
        Own = "get-own",
        /// Lists the directory, as new as any answer before.
        List = "list",
        /// Registers under the token of this number, as a member of a new cluster does, and waits for the others.
        Join = "join",
    }
}

named! {
    /// What happens to a machine of the fleet (workload `units`).
    MachineFault {
        /// Its fleetd is killed, and started again; what runs, runs on.
        Kill = "kill",
        /// It loses its power, and everything that runs with it; then it boots.
        Reboot = "reboot",
        /// Its fleetd stands still; what runs, runs on.
        Pause = "pause",
        /// It hears nobody and nobody hears it.
        CutOff = "cut-off",
        /// Its clock runs too fast or too slow.
        Drift = "drift",
        /// It loses its power and never comes back.
        Leave = "leave",
    }
}

named! {
    /// What an operator of the fleet asks for (workload `units`).
    UnitAct {
        /// A unit is to run.
        Start = "start",
        /// A unit is to lie on its machine and not to run.
        Stop = "stop",
        /// A unit is to be on no machine.
        Unload = "unload",
        /// A unit is to be forgotten.
        Destroy = "destroy",
        /// A unit gets another file.
        Replace = "replace",
        /// A machine's metadata are changed, and changed back.
        Tag = "tag",
        /// Something is asked that makes little sense.
        Poison = "poison",
    }
}

named! {
    /// What goes wrong while a machine is rebooted.
    Fate {
        /// Nothing.
        Well = "well",
        /// It loses its power once it was granted a slot, before it reboots.
        DiesGranted = "dies-granted",
        /// It loses its power once it is back, before it gives the slot back.
        DiesBack = "dies-back",
        /// Its agent is killed once it was granted a slot.
        AgentDies = "agent-dies",
        /// It stands still when everything allows it to take the slot, before it does.
        StillTaking = "still-taking",
        /// It stands still once it was granted a slot.
        StillGranted = "still-granted",
    }
}

/// How machines reboot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebootSpec {
    /// Groups, each with a lock of its own.
    pub groups: u32,
    /// Slots of each.
    pub max: u32,
    /// Mean time for which a machine is away.
    pub boot: Duration,
    /// Mean time it takes to move what runs on a machine.
    pub drain: Duration,
    /// One machine in so many has a window …
    pub window_one_in: u32,
    /// … that is open in the first so many seconds of every minute; zero: none has one.
    pub window: Duration,
    /// The first so many machines each have a member of the store on them.
    pub hosts: u32,
    /// The last client is no machine but an operator.
    pub operator: bool,
    /// Something goes wrong with one step in so many.
    pub trouble_one_in: u32,
    /// The machines' clocks run apart and jump.
    pub clocks: bool,
    /// One machine in so many asks a member over FleetLock; zero: none does.
    pub fleetlock_one_in: u32,
}
