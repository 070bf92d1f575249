//! What is written down of machines that reboot, and of the locks they take.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineRecord {
    /// The client it is.
    pub client: u32,
    /// The id with which it asks.
    pub id: String,
    /// Its group.
    pub group: String,
    /// The member that lives on it, by its number.
    pub hosts: Option<u64>,
    /// It may reboot in the first so many seconds of a minute by its own calendar.
    pub window: Option<Duration>,
    /// What it did, in order.
    pub events: Vec<MachineEvent>,
    /// Everything that it wanted was done when it left.
    pub settled: bool,
}

/// Something a machine did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineEvent {
    /// When.
    pub at: Duration,
    /// What.
    pub what: MachineDoes,
}

/// What a machine did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineDoes {
    /// Its agent starts.
    Starts,
    /// It must be rebooted.
    Wants,
    /// The agent asks for a slot.
    Asks,
    /// And was told: the number of the grant.
    Granted(u64),
    /// Or why not.
    Refused(String),
    /// It gives back what it holds.
    Releases,
    /// And was told whether that was done.
    Released(bool),
    /// It asks whether it still holds.
    Confirms,
    /// And was told.
    Confirmed(Option<bool>),
    /// What runs there is being moved.
    Drains,
    /// It reboots; its own calendar, since the Unix epoch.
    Reboots(Duration),
    /// It lost its power.
    Crashes,
    /// Its agent was killed.
    AgentDies,
    /// The agent stood still until then.
    Stands(Duration),
    /// It is up again.
    Up,
    /// Its clock runs by so many parts per million too fast from now on, and its calendar jumps by so many milliseconds.
    Clock(i64, i64),
}

/// What an operator did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRecord {
    /// The client.
    pub client: u32,
    /// The group.
    pub group: String,
    /// What was ordered, in words.
    pub what: String,
    /// Whose slot was to be freed.
    pub frees: Option<String>,
    /// From.
    pub call: Duration,
    /// To; `None` where nobody knows what became of it.
    pub ret: Option<Duration>,
}

/// A change of a group's semaphore, or of the ledger beside it, as a member applied it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SemaphoreChange {
    /// When the first member had applied it.
    pub at: Duration,
    /// Its place among all changes of the v2 key space.
    pub index: u64,
    /// The place of the change before it of the same key.
    pub before: Option<u64>,
    /// The group.
    pub group: String,
    /// Of the ledger, and not of the semaphore itself.
    pub ledger: bool,
    /// What is there now.
    pub value: Option<String>,
}
