//! The fleet as the store's ledger tells it, revision by revision. Read with code of its own: the engine's is on trial.

use crate::observation::Observation;
use crate::plan::Plan;
use crate::record::RunLog;
use crate::theatre::machine_id;
use seatrial_types::{Event, EventKind};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long after the healing everything may take to be where it belongs: a lease runs out, an engine that is gone is missed,
/// and two passes each of an engine and of agents.
pub(crate) fn fleet_bound(ttl: Duration) -> Duration {
    ttl + Duration::from_secs(10)
}

const SPEC: &str = "/_seatrial/fleet/spec/";
const ENGINE: &str = "/_seatrial/fleet/engine/";

/// What a unit asks of its machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asks {
    pub(super) is_global: bool,
    /// Values of one key are alternatives.
    pub(super) metadata: BTreeMap<String, BTreeSet<String>>,
    pub(super) beside: Vec<String>,
    pub(super) conflicts: Vec<String>,
    pub(super) replaces: Vec<String>,
    pub(super) stops_on_partition: bool,
}

impl Asks {
    fn of(value: &Value) -> Self {
        let mut asks = Self::default();
        let options = value["options"].as_array().map(Vec::as_slice).unwrap_or_default();
        for option in options.iter().filter(|option| option["section"] == "X-Fleet") {
            let text = option["value"].as_str().unwrap_or_default().to_owned();
            match option["name"].as_str().unwrap_or_default() {
                "Global" => asks.is_global = text == "true",
                "MachineOf" => asks.beside.push(text),
                "Conflicts" => asks.conflicts.push(text),
                "Replaces" => asks.replaces.push(text),
                "OnPartition" => asks.stops_on_partition = text == "stop",
                "MachineMetadata" => {
                    if let Some((key, value)) = text.split_once('=') {
                        asks.metadata.entry(key.to_owned()).or_default().insert(value.to_owned());
                    }
                }
                _ => {}
            }
        }
        asks
    }
}

/// Whether a pattern in which `*` stands for anything matches.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => {
            let Some(name) = name.strip_prefix(start) else { return false };
            (0..=name.len()).any(|at| name.is_char_boundary(at) && matches(rest, &name[at..]))
        }
    }
}

/// A unit as it stands in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) asks: Asks,
    /// `launched`, `loaded`, `inactive`.
    pub(super) desired: String,
    pub(super) target: Option<String>,
    /// Its file is there.
    pub(super) is_known: bool,
    /// When its file or what it is meant to be were changed last.
    pub(super) changed: i64,
    /// When its file was written last.
    pub(super) filed: i64,
}

/// Everything at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Board {
    pub(super) units: BTreeMap<String, Unit>,
    /// What those that are there say of themselves.
    machines: BTreeMap<String, BTreeMap<String, String>>,
    /// By machine.
    overlays: BTreeMap<String, BTreeMap<String, String>>,
    /// When metadata of a machine were changed last, or the machine came or went.
    pub(super) moved: BTreeMap<String, i64>,
    pub(super) given_up: BTreeSet<String>,
    /// Engines that stand for election: when each began.
    engines: BTreeMap<String, i64>,
}

impl Board {
    pub(super) fn apply(&mut self, event: &Event) {
        let key = String::from_utf8_lossy(&event.kv.key).into_owned();
        let revision = event.kv.mod_revision.0;
        let is_put = event.kind == EventKind::Put;
        if key.starts_with(ENGINE) {
            match is_put {
                true => self.engines.insert(key, event.kv.create_revision.0),
                false => self.engines.remove(&key),
            };
            return;
        }
        let Some((kind, name)) = key.strip_prefix(SPEC).and_then(|rest| rest.split_once('/')) else { return };
        let value: Value = serde_json::from_slice(&event.kv.value).unwrap_or_default();
        let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        match kind {
            "unit" => {
                let unit = self.units.entry(name.to_owned()).or_default();
                (unit.is_known, unit.changed, unit.filed) = (is_put, revision, revision);
                unit.asks = if is_put { Asks::of(&value) } else { Asks::default() };
            }
            "desired" => {
                let unit = self.units.entry(name.to_owned()).or_default();
                unit.changed = revision;
                unit.desired = if is_put { text("state") } else { "inactive".to_owned() };
            }
            "target" => {
                self.units.entry(name.to_owned()).or_default().target = is_put.then(|| text("machine"));
            }
            "machine" => {
                self.moved.insert(name.to_owned(), revision);
                if !is_put {
                    self.machines.remove(name);
                } else {
                    let pairs = value["metadata"].as_object().into_iter().flatten();
                    let of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    let metadata = pairs.map(|(key, value)| (key.clone(), of(value))).collect();
                    self.machines.insert(name.to_owned(), metadata);
                }
            }
            "metadata" => {
                let Some((machine, key)) = name.split_once('/') else { return };
                self.moved.insert(machine.to_owned(), revision);
                self.overlays.entry(machine.to_owned()).or_default().insert(key.to_owned(), text("value"));
            }
            "lost" => {
                match is_put {
                    true => self.given_up.insert(name.to_owned()),
                    false => self.given_up.remove(name),
                };
            }
            _ => {}
        }
    }

    /// Everything at this revision.
    pub(super) fn at(ledger: &[Event], revision: i64) -> Self {
        let mut board = Self::default();
        for event in ledger.iter().take_while(|event| event.kv.mod_revision.0 <= revision) {
            board.apply(event);
        }
        board
    }

    pub(super) fn is_there(&self, machine: &str) -> bool {
        self.machines.contains_key(machine)
    }

    pub(super) fn machines(&self) -> impl Iterator<Item = &String> {
        self.machines.keys()
    }

    /// Who leads: the revision at which its key was created.
    pub(super) fn leader(&self) -> Option<i64> {
        self.engines.values().copied().min()
    }

    fn metadata(&self, machine: &str, key: &str) -> Option<&String> {
        let overlay = self.overlays.get(machine).and_then(|overlay| overlay.get(key));
        match overlay {
            Some(value) => Some(value).filter(|value| !value.is_empty()),
            None => self.machines.get(machine)?.get(key),
        }
    }

    pub(super) fn fits(&self, asks: &Asks, machine: &str) -> bool {
        asks.metadata
            .iter()
            .all(|(key, values)| self.metadata(machine, key).is_some_and(|value| values.contains(value)))
    }

    pub(super) fn are_in_conflict(&self, one: &str, other: &str) -> bool {
        let refuses = |who: &str, whom: &str| {
            let asks = self.units.get(who).map(|unit| &unit.asks);
            asks.is_some_and(|asks| asks.conflicts.iter().any(|pattern| matches(pattern, whom)))
        };
        one != other && (refuses(one, other) || refuses(other, one))
    }

    /// Units that are to be somewhere: known, and not inactive.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (&String, &Unit)> {
        self.units.iter().filter(|(name, unit)| {
            let is_template = name.split_once('@').is_some_and(|(_, rest)| rest.starts_with('.'));
            unit.is_known && matches!(unit.desired.as_str(), "loaded" | "launched") && !is_template
        })
    }

    /// Units that are scheduled to a machine.
    pub(super) fn on<'a>(&'a self, machine: &'a str) -> impl Iterator<Item = (&'a String, &'a Unit)> {
        self.wanted().filter(move |(_, unit)| !unit.asks.is_global && unit.target.as_deref() == Some(machine))
    }

    /// Global units that a machine is to have: those that fit and are in conflict neither with a scheduled unit there nor
    /// with a global one of an earlier name.
    pub(super) fn globals_on(&self, machine: &str) -> Vec<&String> {
        let mut there: Vec<&String> = self.on(machine).map(|(name, _)| name).collect();
        let mut globals = Vec::new();
        for (name, unit) in self.wanted().filter(|(_, unit)| unit.asks.is_global) {
            let is_free = there.iter().all(|other| !self.are_in_conflict(name, other));
            if self.is_there(machine) && self.fits(&unit.asks, machine) && is_free {
                there.push(name);
                globals.push(name);
            }
        }
        globals
    }

    /// Why a unit cannot be on a machine; `None` where it can.
    pub(super) fn obstacle(&self, name: &str, machine: &str) -> Option<String> {
        let unit = self.units.get(name)?;
        if !self.is_there(machine) {
            return Some(format!("{machine} is not there"));
        }
        if !self.fits(&unit.asks, machine) {
            return Some(format!("{machine} does not have the metadata that it asks for"));
        }
        let scheduled = self.on(machine).map(|(other, _)| other);
        if let Some(other) = scheduled.into_iter().find(|other| self.are_in_conflict(name, other)) {
            return Some(format!("it is in conflict with {other}"));
        }
        for peer in &unit.asks.beside {
            let is_beside = match self.units.get(peer).filter(|peer| peer.is_known) {
                Some(other) if other.asks.is_global => self.globals_on(machine).contains(&peer),
                Some(other) => other.desired != "inactive" && other.target.as_deref() == Some(machine),
                None => false,
            };
            if !is_beside {
                return Some(format!("{peer} is not there"));
            }
        }
        None
    }

    /// Whether a unit on this machine would have this one go elsewhere.
    pub(super) fn is_replaced(&self, name: &str, machine: &str) -> bool {
        self.on(machine).any(|(other, unit)| {
            other != name && unit.asks.replaces.iter().any(|pattern| matches(pattern, name))
        })
    }
}

/// When revisions were there first, as far as members told: each with the first time at which it, or a later one, was.
pub(super) struct Times(Vec<(i64, Duration)>);

impl Times {
    pub(super) fn of(log: &RunLog) -> Self {
        let applied = log.observed.iter().filter_map(|seen| match seen.what {
            Observation::Applied { revision, .. } => Some((revision.0, seen.at)),
            _ => None,
        });
        let mut times: Vec<(i64, Duration)> = applied.collect();
        times.sort_unstable_by_key(|(revision, at)| (*at, *revision));
        let mut newest = 0;
        times.retain(|(revision, _)| {
            let is_new = *revision > newest;
            newest = newest.max(*revision);
            is_new
        });
        Self(times)
    }

    /// When this revision was there first.
    pub(super) fn at(&self, revision: i64) -> Option<Duration> {
        let place = self.0.partition_point(|(known, _)| *known < revision);
        self.0.get(place).map(|(_, at)| *at)
    }
}

/// The machines of a plan's fleet: their clients' numbers, by their ids.
pub(super) fn machines_of(plan: &Plan) -> BTreeMap<String, u32> {
    let clients = plan.clients.iter().filter(|client| client.spec.is_machine(client.number));
    clients.map(|client| (machine_id(client.machine), client.machine)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_nothing_else_does() {
        for (pattern, name, is_match) in [
            ("web@*.service", "web@1.service", true),
            ("web@*.service", "web@.service", true),
            ("web@*.service", "web.service", false),
            ("a.service", "a.service", true),
            ("a.service", "aXservice", false),
            ("*", "anything", true),
            ("*b*", "abc", true),
            ("*b*", "acd", false),
        ] {
            assert_eq!(matches(pattern, name), is_match, "{pattern} {name}");
        }
    }
}
