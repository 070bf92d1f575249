//! The registry as a process knows it: read once, then kept in step by a watch.

use super::keys::Key;
use super::records::{DesiredRecord, MetadataRecord, RecordError, Target, UnitRecord, decode};
use crate::model::{Cluster, JobState, Machine, MachineInfo, Unit, UnitState};
use crate::unit::{MachineId, UnitFile, UnitName};
use bytes::Bytes;
use seatrial_types::request::TxnOp;
use seatrial_types::{Event, EventKind, KeyValue, Revision};
use std::collections::BTreeMap;

/// Whom a change may concern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Touched {
    /// Nobody.
    Nothing,
    /// The engine, and agents that have or are to have this unit.
    Unit(UnitName),
    /// The engine, and the agent of this machine.
    Machine(MachineId),
    /// Those who look at how units do.
    State,
}

/// The parts of a unit, each under a key of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Parts {
    unit: Option<Unit>,
    desired: JobState,
    target: Option<MachineId>,
    unit_mod: Revision,
    target_mod: Revision,
    /// The newest change of the target that is known, be it its deletion. An engine knows what it wrote before its watch
    /// tells it, and older news must not undo that.
    target_seen: Revision,
}

/// A [`Cluster`] with the revisions that writes are compared with. Whatever lies in the store can be mirrored: a value
/// that cannot be read is left out and kept in [`Mirror::problems`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mirror {
    cluster: Cluster,
    parts: BTreeMap<UnitName, Parts>,
    overlays: BTreeMap<MachineId, BTreeMap<String, String>>,
    problems: BTreeMap<Bytes, RecordError>,
    revision: Revision,
}

impl Mirror {
    /// Of what was read at one revision.
    #[must_use]
    pub fn of(kvs: &[KeyValue], revision: Revision) -> Self {
        let mut mirror = Self::default();
        for kv in kvs {
            mirror.put(kv);
        }
        mirror.revision = revision;
        mirror
    }

    /// Takes in a change. Changes that are known already do no harm.
    pub fn apply(&mut self, event: &Event) -> Touched {
        self.revision = self.revision.max(event.kv.mod_revision);
        if let Some(Key::Target(name)) = Key::parse(&event.kv.key) {
            let parts = self.parts.entry(name).or_default();
            if event.kv.mod_revision < parts.target_seen {
                return Touched::Nothing;
            }
            parts.target_seen = event.kv.mod_revision;
        }
        match event.kind {
            EventKind::Put => self.put(&event.kv),
            EventKind::Delete => self.delete(&event.kv.key),
        }
    }

    /// Takes in what a transaction of ours has written, before the watch says it.
    pub fn wrote(&mut self, operations: &[TxnOp], revision: Revision) {
        for operation in operations {
            let (kind, key, value) = match operation {
                TxnOp::Put(put) => (EventKind::Put, put.key.clone(), put.value.clone()),
                TxnOp::DeleteRange(delete) => (EventKind::Delete, delete.range.key.clone(), Bytes::new()),
                TxnOp::Range(_) | TxnOp::Txn(_) => continue,
            };
            let kv = KeyValue { key, value, mod_revision: revision, ..KeyValue::default() };
            let known = self.revision;
            self.apply(&Event { kind, kv, prev_kv: None });
            // What others wrote before it may still be on its way.
            self.revision = known;
        }
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Up to here everything is known.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Says that everything up to this revision is known.
    pub fn advance(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }

    /// Values that could not be read, by key.
    #[must_use]
    pub fn problems(&self) -> &BTreeMap<Bytes, RecordError> {
        &self.problems
    }

    /// When a unit's file and its target were last written; 0 where they are not there.
    #[must_use]
    pub fn revisions(&self, name: &UnitName) -> (Revision, Revision) {
        self.parts.get(name).map_or_else(Default::default, |parts| (parts.unit_mod, parts.target_mod))
    }

    fn read<T: serde::de::DeserializeOwned>(&mut self, kv: &KeyValue) -> Option<T> {
        match decode(&kv.key, &kv.value) {
            Ok(record) => Some(record),
            Err(error) => {
                tracing::warn!(%error, "left out a record");
                self.problems.insert(kv.key.clone(), error);
                None
            }
        }
    }

    fn put(&mut self, kv: &KeyValue) -> Touched {
        self.problems.remove(&kv.key);
        let Some(key) = Key::parse(&kv.key) else { return Touched::Nothing };
        match key {
            Key::Unit(name) => {
                let record: Option<UnitRecord> = self.read(kv);
                // A file that we would not have taken is shown as far as it goes.
                let file = record.map(|record| match UnitFile::from_options(record.options) {
                    Ok(file) => (file, None),
                    Err(error) => (UnitFile::default(), Some(error.to_string())),
                });
                let unit = file.map(|(file, refused)| {
                    let unit = Unit::new(&name, file);
                    Unit { refused: refused.or_else(|| unit.refused.clone()), ..unit }
                });
                self.change(&name, |parts| (parts.unit, parts.unit_mod) = (unit, kv.mod_revision));
                Touched::Unit(name)
            }
            Key::Desired(name) => {
                let state = self.read::<DesiredRecord>(kv).map_or(JobState::Inactive, |record| record.state);
                self.change(&name, |parts| parts.desired = state);
                Touched::Unit(name)
            }
            Key::Target(name) => {
                let target = self.read::<Target>(kv).map(|target| target.machine);
                self.change(&name, |parts| (parts.target, parts.target_mod) = (target, kv.mod_revision));
                Touched::Unit(name)
            }
            Key::Machine(id) => {
                let Some(info) = self.read::<MachineInfo>(kv) else { return Touched::Nothing };
                let overlay = self.overlays.get(&id).cloned().unwrap_or_default();
                self.cluster.machines.insert(id.clone(), Machine { info, overlay });
                Touched::Machine(id)
            }
            Key::Metadata(id, key) => {
                let Some(MetadataRecord { value }) = self.read(kv) else { return Touched::Nothing };
                self.overlays.entry(id.clone()).or_default().insert(key, value);
                self.lay_over(&id);
                Touched::Machine(id)
            }
            Key::Lost(id) => {
                self.cluster.written_off.insert(id.clone());
                Touched::Machine(id)
            }
            Key::State(id, name) => {
                let Some(state) = self.read::<UnitState>(kv) else { return Touched::Nothing };
                self.cluster.states.insert((name, id), state);
                Touched::State
            }
        }
    }

    fn delete(&mut self, key: &Bytes) -> Touched {
        self.problems.remove(key);
        let Some(key) = Key::parse(key) else { return Touched::Nothing };
        match key {
            Key::Unit(name) => {
                self.change(&name, |parts| (parts.unit, parts.unit_mod) = (None, Revision(0)));
                Touched::Unit(name)
            }
            Key::Desired(name) => {
                self.change(&name, |parts| parts.desired = JobState::Inactive);
                Touched::Unit(name)
            }
            Key::Target(name) => {
                self.change(&name, |parts| (parts.target, parts.target_mod) = (None, Revision(0)));
                Touched::Unit(name)
            }
            Key::Machine(id) => {
                self.cluster.machines.remove(&id);
                Touched::Machine(id)
            }
            Key::Metadata(id, key) => {
                if let Some(overlay) = self.overlays.get_mut(&id) {
                    overlay.remove(&key);
                }
                self.lay_over(&id);
                Touched::Machine(id)
            }
            Key::Lost(id) => {
                self.cluster.written_off.remove(&id);
                Touched::Machine(id)
            }
            Key::State(id, name) => {
                self.cluster.states.remove(&(name, id));
                Touched::State
            }
        }
    }

    fn lay_over(&mut self, id: &MachineId) {
        if let Some(machine) = self.cluster.machines.get_mut(id) {
            machine.overlay = self.overlays.get(id).cloned().unwrap_or_default();
        }
    }

    /// Changes parts of a unit and puts it together anew. A unit is there as long as its file is.
    fn change(&mut self, name: &UnitName, change: impl FnOnce(&mut Parts)) {
        let parts = self.parts.entry(name.clone()).or_default();
        change(parts);
        match &parts.unit {
            Some(unit) => {
                let (desired, target) = (parts.desired, parts.target.clone());
                self.cluster.units.insert(name.clone(), Unit { desired, target, ..unit.clone() });
            }
            None => {
                self.cluster.units.remove(name);
            }
        }
        // What was destroyed is forgotten with all its parts.
        if parts.unit.is_none() && parts.target.is_none() && parts.desired == JobState::Inactive {
            self.parts.remove(name);
        }
    }
}
