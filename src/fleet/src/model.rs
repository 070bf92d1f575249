//! What there is: units, machines, and how units are doing on them.

use crate::unit::{MachineId, Requirements, UnitFile, UnitHash, UnitName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// How far a unit is, or is meant to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Known, and on no machine.
    #[default]
    Inactive,
    /// Its file lies on a machine.
    Loaded,
    /// It was started there.
    Launched,
}

/// The word is not the name of a state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("invalid value {0:?} for JobState\nhint: inactive, loaded or launched")]
pub struct UnknownState(pub String);

impl FromStr for JobState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        match text {
            "inactive" => Ok(Self::Inactive),
            "loaded" => Ok(Self::Loaded),
            "launched" => Ok(Self::Launched),
            _ => Err(UnknownState(text.to_owned())),
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Inactive => "inactive",
            Self::Loaded => "loaded",
            Self::Launched => "launched",
        })
    }
}

/// A unit as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Unit {
    /// Its file.
    pub file: Arc<UnitFile>,
    /// The file's hash.
    pub hash: UnitHash,
    /// What the file asks of a machine; nothing where it was refused.
    pub requirements: Arc<Requirements>,
    /// Why `[X-Fleet]` cannot be read. Such a unit came in by another door than ours; it is shown and can be deleted,
    /// and runs nowhere.
    pub refused: Option<String>,
    /// What it is meant to be.
    pub desired: JobState,
    /// The machine it is scheduled to. A global unit has none.
    pub target: Option<MachineId>,
}

impl Unit {
    /// A unit that is meant to be inactive.
    #[must_use]
    pub fn new(name: &UnitName, file: UnitFile) -> Self {
        let (requirements, refused) = match Requirements::of(name, &file) {
            Ok(requirements) => (requirements, None),
            Err(error) => (Requirements::default(), Some(error.to_string())),
        };
        let hash = file.hash();
        Self {
            file: Arc::new(file),
            hash,
            requirements: Arc::new(requirements),
            refused,
            desired: JobState::Inactive,
            target: None,
        }
    }

    /// Whether every fitting machine runs it.
    #[must_use]
    pub fn is_global(&self) -> bool {
        self.requirements.is_global
    }
}

/// What a machine has to give. Nothing announced is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resources {
    /// Megabytes of memory that units may set aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// Shares of its processors; 1024 is one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<u64>,
}

/// What a machine says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MachineInfo {
    /// Where others reach it.
    #[serde(default)]
    pub ip: String,
    /// Where its HTTP interface is heard by other machines (`host:port`); empty where it is not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub api: String,
    /// What its administrator says of it.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// The version of its agent.
    #[serde(default)]
    pub version: String,
    /// Drawn by its kernel at every boot.
    #[serde(default)]
    pub boot_id: String,
    /// What it can do, beside running units.
    #[serde(default)]
    pub capabilities: BTreeMap<String, bool>,
    /// What it has to give.
    #[serde(default)]
    pub resources: Resources,
}

/// A machine that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Machine {
    /// What it says of itself.
    pub info: MachineInfo,
    /// Metadata that was set from outside and goes before its own; an empty value hides it.
    pub overlay: BTreeMap<String, String>,
}

impl Machine {
    /// The value of a key of its metadata.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&str> {
        match self.overlay.get(key) {
            Some(value) => Some(value.as_str()).filter(|value| !value.is_empty()),
            None => self.info.metadata.get(key).map(String::as_str),
        }
    }

    /// All its metadata.
    #[must_use]
    pub fn all_metadata(&self) -> BTreeMap<&str, &str> {
        let keys: BTreeSet<&String> = self.info.metadata.keys().chain(self.overlay.keys()).collect();
        keys.into_iter().filter_map(|key| Some((key.as_str(), self.metadata(key)?))).collect()
    }
}

/// How a unit does on a machine, as systemd says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UnitState {
    /// `loaded`, `not-found`, …
    #[serde(rename = "loadState")]
    pub load: String,
    /// `active`, `inactive`, `failed`, …
    #[serde(rename = "activeState")]
    pub active: String,
    /// `running`, `exited`, …
    #[serde(rename = "subState")]
    pub sub: String,
    /// Of the file that is loaded there, in hexadecimal.
    #[serde(rename = "unitHash")]
    pub hash: String,
    /// The machine's agent has started it as it was told to. What systemd says of it is another matter: a unit may have
    /// come to its end.
    #[serde(default, rename = "isLaunched")]
    pub is_launched: bool,
}

/// Everything at one revision of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cluster {
    /// By name.
    pub units: BTreeMap<UnitName, Unit>,
    /// Those whose lease lives.
    pub machines: BTreeMap<MachineId, Machine>,
    /// What machines that are there say of units.
    pub states: BTreeMap<(UnitName, MachineId), UnitState>,
    /// Machines whose loss an operator has confirmed: their units need not wait for them.
    pub written_off: BTreeSet<MachineId>,
}

impl Cluster {
    /// How far a unit is. A global one is on many machines and has no such state; neither has one that is not there.
    #[must_use]
    pub fn current_state(&self, name: &UnitName) -> Option<JobState> {
        let unit = self.units.get(name).filter(|unit| !unit.is_global())?;
        let Some(target) = &unit.target else { return Some(JobState::Inactive) };
        Some(match self.states.get(&(name.clone(), target.clone())) {
            None => JobState::Inactive,
            Some(state) if state.is_launched => JobState::Launched,
            Some(_) => JobState::Loaded,
        })
    }

    /// What this machine is to have: the units scheduled to it, and the global ones that fit and are not in conflict
    /// with them or with a global unit of an earlier name.
    ///
    /// The engine counts global units by the same rule, or it would place units where the agent leaves them out.
    #[must_use]
    pub fn wanted_on(&self, id: &MachineId) -> BTreeMap<&UnitName, &Unit> {
        let runs = |(name, unit): &(&UnitName, &Unit)| {
            unit.desired != JobState::Inactive && unit.refused.is_none() && !name.is_template()
        };
        let mut wanted: BTreeMap<&UnitName, &Unit> = self
            .units
            .iter()
            .filter(runs)
            .filter(|(_, unit)| !unit.is_global() && unit.target.as_ref() == Some(id))
            .collect();
        let Some(machine) = self.machines.get(id) else { return wanted };
        for (name, unit) in self.units.iter().filter(runs).filter(|(_, unit)| unit.is_global()) {
            let is_in_conflict =
                || wanted.iter().any(|(other, there)| are_in_conflict(name, unit, other, there));
            if unit.requirements.is_met_by(|key| machine.metadata(key)) && !is_in_conflict() {
                wanted.insert(name, unit);
            }
        }
        wanted
    }
}

/// Whether one of two units does not want the other beside it.
#[must_use]
pub fn are_in_conflict(name: &UnitName, unit: &Unit, other_name: &UnitName, other: &Unit) -> bool {
    let refuses = |unit: &Unit, name: &UnitName| {
        unit.requirements.conflicts.iter().any(|glob| glob.matches(name.as_str()))
    };
    name != other_name && (refuses(unit, other_name) || refuses(other, name))
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    pub(crate) fn name(text: &str) -> UnitName {
        UnitName::parse(text).unwrap()
    }

    pub(crate) fn id(text: &str) -> MachineId {
        MachineId::parse(text).unwrap()
    }

    /// A cluster of machines `m1`, `m2`, … with metadata such as `region=eu disk=ssd`.
    pub(crate) fn cluster(machines: &[(&str, &str)]) -> Cluster {
        let mut cluster = Cluster::default();
        for (machine, metadata) in machines {
            cluster.machines.insert(id(machine), machine_with(metadata));
        }
        cluster
    }

    pub(crate) fn machine_with(metadata: &str) -> Machine {
        let pairs = metadata.split_whitespace().filter_map(|pair| pair.split_once('='));
        let metadata = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Machine { info: MachineInfo { metadata, ..MachineInfo::default() }, ..Machine::default() }
    }

    pub(crate) fn unit(unit_name: &str, section: &str) -> Unit {
        let file = UnitFile::parse(&format!("[Service]\nExecStart=/bin/x\n[X-Fleet]\n{section}\n")).unwrap();
        Unit { desired: JobState::Launched, ..Unit::new(&name(unit_name), file) }
    }

    impl Cluster {
        /// Adds a unit that is meant to be launched; `target` empty is none.
        pub(crate) fn with(mut self, unit_name: &str, target: &str, section: &str) -> Self {
            let target = (!target.is_empty()).then(|| id(target));
            self.units.insert(name(unit_name), Unit { target, ..unit(unit_name, section) });
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::*;
    use super::*;

    #[test]
    fn an_overlay_goes_before_a_machines_own_metadata_and_hides_it_when_empty() {
        let mut machine = machine_with("region=eu disk=ssd");
        machine.overlay.insert("region".into(), "us".into());
        machine.overlay.insert("disk".into(), String::new());
        machine.overlay.insert("rack".into(), "7".into());
        assert_eq!(machine.metadata("region"), Some("us"));
        assert_eq!(machine.metadata("disk"), None);
        let all: Vec<_> = machine.all_metadata().into_iter().collect();
        assert_eq!(all, [("rack", "7"), ("region", "us")]);
    }

    #[test]
    fn the_current_state_is_what_the_target_says_and_nobody_else() {
        let mut cluster = cluster(&[("m1", ""), ("m2", "")]).with("a.service", "", "");
        let a = name("a.service");
        let state = |is_launched| UnitState { is_launched, ..UnitState::default() };
        assert_eq!(cluster.current_state(&a), Some(JobState::Inactive));
        cluster.states.insert((a.clone(), id("m2")), state(true));
        assert_eq!(cluster.current_state(&a), Some(JobState::Inactive));
        cluster.units.get_mut(&a).unwrap().target = Some(id("m1"));
        assert_eq!(cluster.current_state(&a), Some(JobState::Inactive));
        cluster.states.insert((a.clone(), id("m1")), state(false));
        assert_eq!(cluster.current_state(&a), Some(JobState::Loaded));
        cluster.states.insert((a.clone(), id("m1")), state(true));
        assert_eq!(cluster.current_state(&a), Some(JobState::Launched));
        let cluster = cluster.with("a.service", "", "Global=true");
        assert_eq!(cluster.current_state(&a), None);
        assert_eq!(cluster.current_state(&name("b.service")), None);
    }

    #[test]
    fn a_machine_wants_what_is_scheduled_to_it_and_the_global_units_that_fit() {
        let cluster = cluster(&[("m1", "region=eu"), ("m2", "")])
            .with("b.service", "m1", "")
            .with("c.service", "m2", "")
            .with("a.service", "", "Global=true\nConflicts=b.*")
            .with("d.service", "", "Global=true\nMachineMetadata=region=eu")
            .with("e.service", "", "Global=true\nConflicts=d.*")
            .with("f@.service", "m1", "");
        let wanted =
            |machine| cluster.wanted_on(&id(machine)).keys().map(|n| n.to_string()).collect::<Vec<_>>();
        // What is scheduled goes before what is global, and of the global ones the first name.
        assert_eq!(wanted("m1"), ["b.service", "d.service"]);
        assert_eq!(wanted("m2"), ["a.service", "c.service", "e.service"]);
    }

    #[test]
    fn a_state_has_one_of_three_names() {
        for state in [JobState::Inactive, JobState::Loaded, JobState::Launched] {
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        let said = "nonsense".parse::<JobState>().unwrap_err().to_string();
        assert!(said.starts_with("invalid value \"nonsense\" for JobState"));
    }
}
