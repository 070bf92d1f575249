//! Machines that reboot, one after the other: what a theatre is told of them, what their agents ask of them, and what is
//! written down.

mod draw;
mod record;
mod words;

pub(crate) use draw::draw;
pub use record::{MachineDoes, MachineEvent, MachineRecord, OrderRecord, SemaphoreChange};
pub(crate) use words::{read, read_order, tell, tell_order};

use crate::format::spec::{Fate, WorkloadKind};
use crate::plan::{ClientPlan, Plan};
use seatrial_types::MemberId;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::time::Duration;

/// A step of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RebootStep {
    /// It must be rebooted, from now on until it was.
    Want {
        /// How long it is away then.
        boot: Duration,
        /// How long it takes to move what runs on it.
        drain: Duration,
        /// What goes wrong on the way.
        fate: Fate,
        /// How long it stands still, where that is its fate.
        rest: Duration,
    },
    /// It loses its power, and is back after so long.
    Crash {
        /// How long it is away.
        boot: Duration,
    },
    /// The agent alone is killed, and started again after so long.
    AgentDies {
        /// How long nobody runs.
        rest: Duration,
    },
    /// The agent is not let run for so long (SIGSTOP).
    Still {
        /// How long.
        lasts: Duration,
    },
    /// The machine's clock.
    Clock {
        /// Its drift from now on, in parts per million.
        drift_ppm: i64,
        /// By how much its calendar jumps, in milliseconds.
        step_ms: i64,
    },
}

/// A step of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderStep {
    /// Another number of slots.
    SetMax {
        /// Which group's.
        group: u32,
        /// How many.
        max: u32,
    },
    /// Frees the slot of somebody.
    Unlock {
        /// Of which group.
        group: u32,
        /// The so many-th holder, counted round.
        pick: u32,
    },
    /// Stops grants.
    Pause {
        /// Of which group.
        group: u32,
    },
    /// Lets them go on.
    Resume {
        /// Of which group.
        group: u32,
    },
    /// An old program, which knows the semaphore alone and nothing beside it, takes a slot and gives it back.
    Old {
        /// Of which group.
        group: u32,
        /// After so long.
        hold: Duration,
    },
}

/// How the agent of a machine is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentWish {
    /// The machine's id, by which it asks.
    pub id: String,
    /// Its group; the one without a name is empty.
    pub group: String,
    /// The boot it runs in.
    pub boot: String,
    /// It may reboot in the first so many seconds of each minute by its own calendar; `None`: at any time.
    pub window: Option<Duration>,
    /// It asks a server of FleetLock and not the store.
    pub fleetlock: bool,
    /// The member it asks first.
    pub member: MemberId,
}

/// What an agent has done or was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentNote {
    /// It asks for a slot.
    Asks,
    /// It was told: the number of the grant, or why not.
    Told(Result<u64, String>),
    /// It gives back what it holds.
    Releases,
    /// It was told whether that was done.
    Released(bool),
    /// It asks, as the last thing, whether it still holds.
    Confirms,
    /// It was told.
    Confirmed(Option<bool>),
}

/// The machine, as its agent sees it.
pub trait AgentHost: Send + Sync + 'static {
    /// A reboot is needed.
    fn needs_reboot(&self) -> bool;
    /// Ready when that has just become so. Cancel-safe.
    fn told(&self) -> impl Future<Output = ()> + Send;
    /// Whether the machine does its work.
    fn healthy(&self) -> impl Future<Output = ()> + Send;
    /// Moves what runs there.
    fn drain(&self) -> impl Future<Output = ()> + Send;
    /// Reboots. `calendar` is the machine's own, since the Unix epoch.
    fn reboot(&self, calendar: Duration) -> impl Future<Output = ()> + Send;
    /// Comes right before a slot is taken: everything allows it.
    fn before_taking(&self) -> impl Future<Output = ()> + Send;
    /// Takes down what the agent does.
    fn note(&self, note: AgentNote);
}

/// What an operator asks of a group's lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Who holds.
    Look,
    /// As `locksmithctl set-max` does it.
    SetMax(i64),
    /// As `locksmithctl unlock` does it.
    Unlock(String),
    /// As `locksmithctl pause` does it.
    Pause,
    /// As `locksmithctl resume` does it.
    Resume,
    /// As locksmith's own program takes a slot: one read and one write of the semaphore.
    OldLock(String),
    /// As it gives one back.
    OldUnlock(String),
}

/// The id with which the machine of a client asks for the lock.
#[must_use]
pub fn machine_id(machine: u32) -> String {
    format!("machine-{machine:03}")
}

/// The name of a group; the first is the one without a name.
#[must_use]
pub fn group_name(group: u32) -> String {
    if group == 0 { String::new() } else { format!("group-{group}") }
}

/// The member that lives on a client's machine.
pub(crate) fn hosted(client: &ClientPlan) -> Option<MemberId> {
    let hosts = client.spec.kind == WorkloadKind::Reboots && client.number < client.spec.reboots.hosts;
    (hosts && !is_operator(client)).then(|| MemberId(u64::from(client.number) + 1))
}

/// The last client of the workload decides about the locks, where somebody does.
pub(crate) fn is_operator(client: &ClientPlan) -> bool {
    client.spec.reboots.operator && client.number + 1 == client.spec.clients
}

impl Plan {
    /// Names of the groups whose locks machines take; none where no machine reboots.
    #[must_use]
    pub fn reboot_groups(&self) -> Vec<String> {
        let specs = self.scenario.workloads.iter().filter(|workload| workload.kind == WorkloadKind::Reboots);
        (0..specs.map(|spec| spec.reboots.groups).max().unwrap_or(0)).map(group_name).collect()
    }

    /// The id of the machine on which a member runs: one that reboots, or one of its own.
    #[must_use]
    pub fn machine_of(&self, member: MemberId) -> String {
        let host = self.clients.iter().find(|client| hosted(client) == Some(member));
        host.map_or_else(|| format!("home-of-{member}"), |client| machine_id(client.machine))
    }

    /// When all machines must have rebooted that wanted to: as if one went after the other.
    #[must_use]
    pub(crate) fn reboots_by(&self) -> Duration {
        let specs = self.scenario.workloads.iter().filter(|workload| workload.kind == WorkloadKind::Reboots);
        let each = specs.map(|spec| {
            let reboots = &spec.reboots;
            let once = reboots.boot * 2 + reboots.drain * 2 + Duration::from_secs(5);
            // Where windows are open for a part of the time, that much longer; and the first may be a minute away.
            let share = match reboots.window.as_secs() {
                0 => 1,
                open => (60 / open.max(1)).max(1) + 1,
            };
            once * spec.clients * u32::try_from(share).expect("at most a minute") + Duration::from_secs(90)
        });
        self.scenario.time + each.max().unwrap_or_default()
    }
}
