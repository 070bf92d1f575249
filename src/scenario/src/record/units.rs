//! What a fleet left behind: which processes ran where, what agents and engines did, what operators asked for.

use super::{Notebook, Sighting};
use crate::format::spec::MachineFault;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Why a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessEnd {
    /// By itself.
    Itself,
    /// It was told to.
    Told,
    /// Its machine lost its power.
    Power,
}

/// One process of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// On the machine of this client.
    pub machine: u32,
    /// The unit.
    pub unit: String,
    /// Its number there.
    pub pid: u32,
    /// When it was started.
    pub from: Duration,
    /// When it was told to end, where it was.
    pub told: Option<Duration>,
    /// When it ended; never, where nothing is said.
    pub to: Option<Duration>,
    /// Why.
    pub end: Option<ProcessEnd>,
}

impl ProcessRecord {
    /// Whether it runs at this time.
    #[must_use]
    pub fn runs_at(&self, at: Duration) -> bool {
        self.from <= at && self.to.is_none_or(|to| at < to)
    }
}

/// A machine's fault as it was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineFaultRecord {
    /// The machine of this client.
    pub machine: u32,
    /// What.
    pub fault: MachineFault,
    /// From when.
    pub from: Duration,
    /// Until when; not yet, where nothing is said.
    pub to: Option<Duration>,
}

/// What an agent said of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentWord {
    /// It began.
    Began {
        /// So many units it found that had been started.
        found: usize,
    },
    /// Its machine is registered, since this revision.
    Registered(i64),
    /// Its lease is ending, and could not be renewed.
    CutOff,
    /// It did something: in its own words.
    Did(String),
    /// It could not: in its own words.
    Failed(String),
}

/// The same, with when and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRecord {
    /// The machine of this client.
    pub machine: u32,
    /// When.
    pub at: Duration,
    /// What.
    pub what: AgentWord,
}

/// What an engine said of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineWord {
    /// It leads; its key was created at this revision.
    Leads(i64),
    /// It has written decisions.
    Wrote {
        /// At this revision.
        revision: i64,
        /// So many of them took units off lost machines.
        evictions: usize,
        /// The decisions, in its own words.
        decisions: Vec<String>,
    },
    /// Why units wait, by their names; said where that has changed.
    Waits(BTreeMap<String, String>),
    /// It leads no more.
    Rests,
}

/// The same, with when and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineRecord {
    /// The machine of this client.
    pub machine: u32,
    /// When.
    pub at: Duration,
    /// What.
    pub what: EngineWord,
}

/// What an operator asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorRecord {
    /// The client.
    pub client: u32,
    /// What, in a few words.
    pub what: String,
    /// When it was asked and answered.
    pub seen: Sighting,
    /// HTTP's status; none where nobody knows.
    pub status: Option<u16>,
}

/// One unit as the interface tells of it when all is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitCheck {
    /// Its name.
    pub name: String,
    /// The status of its page.
    pub read: u16,
    /// The status of its deletion, where that was tried.
    pub deleted: Option<u16>,
}

/// The fleet as it is once it had its time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitsLook {
    /// When.
    pub at: Duration,
    /// The store's revision then; nothing of the deletions below is in it.
    pub revision: i64,
    /// The status of the list of units; 0 where nobody answered.
    pub list: u16,
    /// Units on the list.
    pub checks: Vec<UnitCheck>,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitsLog {
    /// In order of their beginnings.
    pub processes: Vec<ProcessRecord>,
    /// In order of their beginnings.
    pub faults: Vec<MachineFaultRecord>,
    /// In order.
    pub agents: Vec<AgentRecord>,
    /// In order.
    pub engines: Vec<EngineRecord>,
    /// In order of the answers.
    pub operators: Vec<OperatorRecord>,
    /// The last look; none where the run did not get there.
    pub look: Option<UnitsLook>,
}

impl Notebook {
    /// A process of a unit was started; how it ends is told by [`Self::process`].
    pub fn process_began(&self, record: ProcessRecord) -> usize {
        let mut pages = self.pages();
        pages.log.units.processes.push(record);
        pages.log.units.processes.len() - 1
    }

    /// Something became of a process.
    pub fn process(&self, place: usize, change: impl FnOnce(&mut ProcessRecord)) {
        change(&mut self.pages().log.units.processes[place]);
    }

    /// An agent said something.
    pub fn agent_said(&self, machine: u32, at: Duration, what: AgentWord) {
        self.pages().log.units.agents.push(AgentRecord { machine, at, what });
    }

    /// An engine said something.
    pub fn engine_said(&self, machine: u32, at: Duration, what: EngineWord) {
        self.pages().log.units.engines.push(EngineRecord { machine, at, what });
    }

    pub(crate) fn machine_fault(&self, record: MachineFaultRecord) -> usize {
        let mut pages = self.pages();
        pages.log.units.faults.push(record);
        pages.log.units.faults.len() - 1
    }

    pub(crate) fn machine_well(&self, place: usize, at: Duration) {
        self.pages().log.units.faults[place].to = Some(at);
    }

    pub(crate) fn operated(&self, record: OperatorRecord) {
        self.pages().log.units.operators.push(record);
    }

    pub(crate) fn looked_at_units(&self, look: UnitsLook) {
        self.pages().log.units.look = Some(look);
    }
}
