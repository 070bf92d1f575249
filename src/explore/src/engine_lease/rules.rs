//! What must hold.

use super::fleet::{Fleet, Phase, unit};
use seatrial_fleet::engine::{Decision, Why};
use seatrial_fleet::model::{Cluster, JobState};
use seatrial_fleet::registry::Key;
use seatrial_fleet::unit::{MachineId, UnitName};

/// What a step must not do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wrong {
    /// An engine was told that it leads while another one does.
    Early(usize),
    /// Who does not lead has written.
    Deposed,
    /// A unit was taken off a machine that was there.
    Taken(UnitName, MachineId),
}

impl Wrong {
    /// Of a transaction that has been carried out on this cluster.
    pub(super) fn of(leads: bool, before: &Cluster, decisions: &[Decision]) -> Option<Self> {
        if !leads {
            return Some(Self::Deposed);
        }
        decisions.iter().find_map(|decision| match &decision.why {
            Why::MachineGone(id) if before.machines.contains_key(id) => {
                Some(Self::Taken(decision.unit.clone(), id.clone()))
            }
            _ => None,
        })
    }
}

impl Fleet {
    /// A unit that runs on two machines.
    pub(super) fn twice(&self) -> Option<UnitName> {
        let names = self.machines.iter().filter_map(|machine| machine.duty.as_ref());
        let mut names = names.flat_map(|duty| duty.present.keys());
        names.find(|name| self.machines.iter().filter(|machine| machine.runs(name)).count() > 1).cloned()
    }

    /// A target whose unit is not there.
    pub(super) fn stray(&self) -> Option<UnitName> {
        self.server.kvs().iter().find_map(|kv| match Key::parse(&kv.key) {
            Some(Key::Target(name)) if self.server.get(&Key::Unit(name.clone()).bytes()).is_none() => {
                Some(name)
            }
            _ => None,
        })
    }

    /// What is not as it should be where nobody can go on.
    pub(super) fn unsettled(&self) -> Option<String> {
        let leaders = self.engines.iter().filter(|engine| matches!(engine.phase, Phase::Leads(..))).count();
        if leaders != 1 {
            return Some(format!("{leaders} engines believe that they lead"));
        }
        let mirror = self.mirror();
        for (name, known) in &mirror.cluster().units {
            let runs: Vec<_> = self.machines.iter().filter(|machine| machine.runs(name)).collect();
            let wanted = usize::from(known.desired == JobState::Launched);
            if runs.len() != wanted {
                return Some(format!("{name} runs on {} machines", runs.len()));
            }
            if runs.iter().any(|machine| known.target.as_ref() != Some(&machine.id)) {
                return Some(format!("{name} runs on another machine than its own"));
            }
        }
        let mut names = self.machines.iter().filter_map(|machine| machine.duty.as_ref());
        let left = names
            .find_map(|duty| duty.present.keys().find(|name| !mirror.cluster().units.contains_key(*name)));
        left.map(|name| format!("{name} was destroyed and is still there"))
    }

    pub(super) fn show(&self) -> String {
        let mut text = String::new();
        for kv in self.server.kvs() {
            let (key, value) = (String::from_utf8_lossy(&kv.key), String::from_utf8_lossy(&kv.value));
            text +=
                &format!("{key} of {}, modified at {}: {value}\n", kv.create_revision.0, kv.mod_revision.0);
        }
        for (at, engine) in self.engines.iter().enumerate() {
            let phase = match &engine.phase {
                Phase::Rests => "rests".to_owned(),
                Phase::Campaigns => "stands for election".to_owned(),
                Phase::Leads(lead, sending) => {
                    let waits: Vec<_> = sending.iter().flat_map(|batch| &batch.decisions).collect();
                    format!("leads with {}, and is about to write {waits:?}", lead.fence().created.0)
                }
            };
            text += &format!("engine {} {phase}\n", at + 1);
        }
        for machine in &self.machines {
            let units = machine.duty.as_ref().map(|duty| &duty.present);
            text += &format!("{}: {units:?}\n", machine.id);
        }
        text
    }

    /// The units there were at first.
    pub(super) fn first_unit(&self) -> Option<UnitName> {
        let name = unit(0);
        self.server.get(&Key::Unit(name.clone()).bytes()).map(|_| name)
    }
}
