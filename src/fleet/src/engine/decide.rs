//! One pass of the engine over a cluster.

use super::board::{Board, MachineIx, Searches, UnitIx};
use super::reason::{Decision, Obstacle, Reason, Why};
use crate::model::{Cluster, JobState};
use crate::unit::{MachineId, UnitName};
use seatrial_types::planted::{Planted, is_planted};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A move can make another one necessary: whoever follows a unit that was replaced. After so many rounds nobody is replaced
/// any more in this pass: where units replace each other in a circle it would go on for ever, and the last move would leave
/// behind who must be beside the one that was moved.
const ROUNDS_MAX: usize = 4;

/// What one pass may do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// So many units of lost machines are moved.
    pub evictions_max: usize,
    /// Where more than so many of a hundred machines are gone at once, no unit of theirs is moved: rather is something
    /// wrong with the network. 100 never holds.
    pub mass_loss_percent: u8,
    /// Machines that are given up all the same, beside those of [`Cluster::written_off`].
    pub written_off: BTreeSet<MachineId>,
    /// Machines that have only just gone. Leases of machines that are lost together end one after the other: who moved the
    /// units of the first would never see that most are gone.
    pub just_gone: BTreeSet<MachineId>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            evictions_max: usize::MAX,
            mass_loss_percent: 50,
            written_off: BTreeSet::new(),
            just_gone: BTreeSet::new(),
        }
    }
}

/// What a pass comes to. Printed, it is the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// By the name of the unit, at most one for each.
    pub decisions: Vec<Decision>,
    /// Why units that should be on a machine are on none, or on one that is gone.
    pub reasons: BTreeMap<UnitName, Reason>,
    /// So many of the decisions take units off lost machines.
    pub evictions: usize,
    /// How often a unit was held against a machine, or a pattern against a name: the cost.
    pub comparisons: u64,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for decision in &self.decisions {
            writeln!(f, "{decision}")?;
        }
        for (unit, reason) in &self.reasons {
            writeln!(f, "{unit}: waits ({reason})")?;
        }
        Ok(())
    }
}

/// Machines that units are scheduled to and that are not there, in order.
#[must_use]
pub fn gone_machines(cluster: &Cluster) -> BTreeSet<&MachineId> {
    let placed =
        cluster.units.values().filter(|unit| unit.desired != JobState::Inactive && !unit.is_global());
    placed.filter_map(|unit| unit.target.as_ref()).filter(|id| !cluster.machines.contains_key(*id)).collect()
}

struct Pass<'a> {
    board: Board<'a>,
    whys: BTreeMap<UnitIx, Why>,
    reasons: BTreeMap<UnitIx, Reason>,
    /// Units whose target stays although their machine is gone.
    held: BTreeSet<UnitIx>,
    evicted: BTreeSet<UnitIx>,
}

/// Decides what is to be scheduled where. The same cluster and limits always give the same decisions: units are taken by
/// name, machines by the number of their units and then by id. Machines that join get new units, but no running one is
/// moved for the sake of balance.
///
/// 1. Units are taken off that are meant to be inactive or global, whose machine is gone (within the limits), or whose
///    machine may not run them any more. Of two that are in conflict the later name goes.
/// 2. Units that are on no machine are placed, each after those that it names in `MachineOf`.
/// 3. Units that a unit on their machine replaces go elsewhere, if there is such a place.
#[must_use]
pub fn decide(cluster: &Cluster, limits: &Limits) -> Outcome {
    let mut pass = Pass {
        board: Board::new(cluster),
        whys: BTreeMap::new(),
        reasons: BTreeMap::new(),
        held: BTreeSet::new(),
        evicted: BTreeSet::new(),
    };
    pass.seat(cluster, limits);
    for round in 0..=ROUNDS_MAX {
        let before = pass.board.at.clone();
        pass.board.put_globals();
        pass.leave();
        // What left may have kept a global unit away.
        pass.board.take_globals();
        pass.board.put_globals();
        pass.place();
        if round < ROUNDS_MAX {
            pass.replace();
        }
        pass.board.take_globals();
        if pass.board.at == before {
            break;
        }
    }
    pass.outcome()
}

impl Pass<'_> {
    /// Puts units where they are scheduled, and sorts out those that cannot stay whoever else is there.
    fn seat(&mut self, cluster: &Cluster, limits: &Limits) {
        let mut gone: Vec<(UnitIx, &MachineId)> = Vec::new();
        for ix in 0..self.board.units.len() {
            let row = &self.board.units[ix];
            let Some(target) = &row.unit.target else { continue };
            if row.unit.desired == JobState::Inactive {
                self.whys.insert(ix, Why::DesiredInactive);
            } else if row.unit.is_global() {
                self.whys.insert(ix, Why::IsGlobal);
            } else if let Some(obstacle) = row.unplaceable() {
                self.whys.insert(ix, Why::NotAble(obstacle));
            } else if let Some(machine) = self.board.machine_ix(target) {
                self.board.put(ix, machine);
            } else {
                gone.push((ix, target));
            }
        }
        let is_given_up =
            |id: &MachineId| limits.written_off.contains(id) || cluster.written_off.contains(id);
        let lost: BTreeSet<&MachineId> = gone.iter().map(|(_, id)| *id).collect();
        let fresh = lost.iter().filter(|id| !is_given_up(id)).count();
        let of = cluster.machines.len() + fresh;
        let percent = limits.mass_loss_percent;
        let is_mass_loss = fresh * 100 > usize::from(percent) * of && !is_planted(Planted::F20);
        for (ix, id) in gone {
            let held = if is_mass_loss && !is_given_up(id) {
                Some(Obstacle::MassLoss { gone: fresh, of, percent })
            } else if limits.just_gone.contains(id) && !is_given_up(id) {
                Some(Obstacle::JustGone)
            } else {
                let is_over = self.evicted.len() >= limits.evictions_max && !is_planted(Planted::F19);
                is_over.then_some(Obstacle::InTurn)
            };
            match held {
                Some(obstacle) => {
                    self.held.insert(ix);
                    self.reasons.insert(ix, Reason::of(obstacle));
                }
                None => {
                    self.evicted.insert(ix);
                    self.whys.insert(ix, Why::MachineGone(id.clone()));
                }
            }
        }
    }

    /// Takes units off machines that may not run them any more, and then those that must be beside them.
    fn leave(&mut self) {
        let at = &self.board.at;
        let mut check: BTreeSet<UnitIx> = (0..at.len()).filter(|ix| at[*ix].is_some()).collect();
        while let Some(ix) = check.pop_last() {
            let Some(machine) = self.board.at[ix] else { continue };
            let Some(obstacle) = self.board.obstacle(ix, machine, false) else { continue };
            self.board.take(ix);
            self.whys.insert(ix, Why::NotAble(obstacle));
            check.extend(self.followers(ix));
        }
    }

    fn followers(&self, ix: UnitIx) -> Vec<UnitIx> {
        self.board.followers.get(self.board.units[ix].name).cloned().unwrap_or_default()
    }

    /// Finds machines for units that have none.
    fn place(&mut self) {
        let mut searches = Searches::default();
        let units = &self.board.units;
        let is_open =
            |ix: &UnitIx| units[*ix].is_placed() && self.board.at[*ix].is_none() && !self.held.contains(ix);
        let mut todo: BTreeSet<UnitIx> = (0..units.len()).filter(is_open).collect();
        while let Some(ix) = todo.pop_first() {
            match self.board.find(ix, &mut searches) {
                Err(reason) => {
                    self.reasons.insert(ix, reason);
                }
                Ok(machine) => {
                    self.board.put(ix, machine);
                    self.reasons.remove(&ix);
                    // Who has looked in vain because of this one looks again.
                    let again = self.followers(ix).into_iter().filter(|follower| {
                        self.reasons.contains_key(follower)
                            && self.board.at[*follower].is_none()
                            && !self.held.contains(follower)
                    });
                    todo.extend(again.collect::<Vec<_>>());
                }
            }
        }
    }

    /// Moves units away that are replaced where they are, but never to where they could not run.
    fn replace(&mut self) {
        for by in 0..self.board.units.len() {
            for ix in self.board.replaced_by(by) {
                let Some(here) = self.board.at[ix] else { continue };
                self.board.take(ix);
                match self.board.find(ix, &mut Searches::default()) {
                    Ok(machine) => {
                        self.board.put(ix, machine);
                        self.reasons.remove(&ix);
                        self.whys.insert(ix, Why::Replaced(self.board.units[by].name.clone()));
                    }
                    Err(_) => {
                        self.board.put(ix, here);
                        let by = self.board.units[by].name.clone();
                        self.reasons.insert(ix, Reason::of(Obstacle::NowhereElse(by)));
                    }
                }
            }
        }
    }

    fn outcome(self) -> Outcome {
        let Self { board, mut whys, mut reasons, held, evicted } = self;
        let id = |machine: MachineIx| board.machines[machine].id.clone();
        let mut decisions = Vec::new();
        let mut evictions = 0;
        for (ix, row) in board.units.iter().enumerate() {
            if let Some(obstacle) = row.unplaceable().filter(|_| row.unit.desired != JobState::Inactive) {
                reasons.insert(ix, Reason::of(obstacle));
            }
            let (from, to) = (row.unit.target.clone(), board.at[ix].map(id));
            if from == to || held.contains(&ix) {
                continue;
            }
            evictions += usize::from(evicted.contains(&ix));
            let why = whys.remove(&ix).filter(|_| from.is_some());
            let why = why.unwrap_or(Why::NotScheduled(row.unit.desired));
            decisions.push(Decision { unit: row.name.clone(), from, to, why });
        }
        let reasons =
            reasons.into_iter().map(|(ix, reason)| (board.units[ix].name.clone(), reason)).collect();
        Outcome { decisions, reasons, evictions, comparisons: board.comparisons() }
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
