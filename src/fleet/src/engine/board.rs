//! Who is where, with the indexes that make one placement cheap: loads in order, and for each pattern the machines
//! where a matching unit or one that carries it stands.

use super::reason::{Obstacle, Reason};
use crate::model::{Cluster, JobState, Machine, Unit};
use crate::unit::{Glob, MachineId, Requirements, UnitName};
use seatrial_types::planted::{Planted, is_planted};
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// Places in the sorted lists; they compare as the names do.
pub(super) type UnitIx = usize;
pub(super) type MachineIx = usize;
type GlobIx = usize;

/// Below so many machines that were looked at in vain, a class of units goes on looking at all of them in the order of
/// their loads; above, it keeps an order of its own, without those that cannot take it.
const VAIN_LOOKS_MAX: usize = 64;

/// A pattern, and where it matters.
#[derive(Default)]
struct Pattern {
    /// Units that it matches, by machine.
    hosts: BTreeMap<MachineIx, BTreeSet<UnitIx>>,
    /// Units that have it in `Conflicts`.
    carriers: BTreeMap<MachineIx, BTreeSet<UnitIx>>,
    /// Units that have it in `Replaces`.
    replacers: BTreeMap<MachineIx, BTreeSet<UnitIx>>,
}

pub(super) struct UnitRow<'a> {
    pub(super) name: &'a UnitName,
    pub(super) unit: &'a Unit,
    conflicts: Vec<GlobIx>,
    replaces: Vec<GlobIx>,
    /// Patterns of any unit that match this one's name.
    matched: Vec<GlobIx>,
}

impl UnitRow<'_> {
    pub(super) fn asks(&self) -> &Requirements {
        &self.unit.requirements
    }

    /// Whether it is the engine's business to find a machine for it.
    pub(super) fn is_placed(&self) -> bool {
        self.unit.desired != JobState::Inactive && !self.unit.is_global() && self.unplaceable().is_none()
    }

    /// Why it is on no machine, whatever machines there are.
    pub(super) fn unplaceable(&self) -> Option<Obstacle> {
        if let Some(text) = &self.unit.refused {
            return Some(Obstacle::Refused(text.clone()));
        }
        self.name.is_template().then_some(Obstacle::Template)
    }
}

pub(super) struct MachineRow<'a> {
    pub(super) id: &'a MachineId,
    pub(super) machine: &'a Machine,
    units: usize,
    memory_mb: u64,
    cpu_shares: u64,
}

/// Units with the same wants are of one class: what cannot take one of them can take none.
type Class<'a> = (&'a BTreeMap<String, BTreeSet<String>>, Vec<GlobIx>, Vec<GlobIx>, Vec<GlobIx>, (u64, u64));

type Order = BinaryHeap<Reverse<(usize, MachineIx)>>;

#[derive(Default)]
struct Search {
    /// Machines looked at in vain.
    vain: usize,
    /// What is left, the least loaded first. A load may have grown since; it never shrinks while a class is searched.
    own_order: Option<Order>,
    exhausted: Option<Reason>,
}

/// The searches of one round: within a round units are added to machines and never taken off.
#[derive(Default)]
pub(super) struct Searches<'a>(BTreeMap<Class<'a>, Search>);

pub(super) struct Board<'a> {
    pub(super) units: Vec<UnitRow<'a>>,
    pub(super) machines: Vec<MachineRow<'a>>,
    unit_at: BTreeMap<&'a UnitName, UnitIx>,
    machine_at: BTreeMap<&'a MachineId, MachineIx>,
    patterns: Vec<Pattern>,
    /// The machine of each unit, as decided so far.
    pub(super) at: Vec<Option<MachineIx>>,
    /// Where each global unit runs.
    global_on: BTreeMap<UnitIx, BTreeSet<MachineIx>>,
    /// Machines by metadata.
    by_metadata: BTreeMap<(&'a str, &'a str), Vec<MachineIx>>,
    by_load: BTreeSet<(usize, MachineIx)>,
    /// Units that name this one in `MachineOf`.
    pub(super) followers: BTreeMap<&'a UnitName, Vec<UnitIx>>,
    comparisons: Cell<u64>,
}

impl<'a> Board<'a> {
    /// All units and machines, with nobody anywhere yet.
    pub(super) fn new(cluster: &'a Cluster) -> Self {
        let mut index: BTreeMap<&'a Glob, GlobIx> = BTreeMap::new();
        for unit in cluster.units.values() {
            for glob in unit.requirements.conflicts.iter().chain(&unit.requirements.replaces) {
                let next = index.len();
                index.entry(glob).or_insert(next);
            }
        }
        // A pattern can only match names that begin with its literal part.
        let mut by_prefix: BTreeMap<String, Vec<(&'a Glob, GlobIx)>> = BTreeMap::new();
        for (glob, ix) in &index {
            by_prefix.entry(glob.literal_prefix()).or_default().push((glob, *ix));
        }
        let longest = by_prefix.keys().map(String::len).max().unwrap_or(0);
        let mut comparisons = 0;
        let mut units = Vec::with_capacity(cluster.units.len());
        let mut followers: BTreeMap<&UnitName, Vec<UnitIx>> = BTreeMap::new();
        for (ix, (name, unit)) in cluster.units.iter().enumerate() {
            let mut matched = Vec::new();
            let text = name.as_str();
            for end in 0..=text.len().min(longest) {
                for (glob, ix) in by_prefix.get(&text[..end]).into_iter().flatten() {
                    comparisons += 1;
                    if glob.matches(text) {
                        matched.push(*ix);
                    }
                }
            }
            matched.sort_unstable();
            let of = |globs: &'a BTreeSet<Glob>| globs.iter().map(|glob| index[glob]).collect();
            let asks = &unit.requirements;
            let (conflicts, replaces) = (of(&asks.conflicts), of(&asks.replaces));
            units.push(UnitRow { name, unit, conflicts, replaces, matched });
            for peer in &asks.peers {
                followers.entry(peer).or_default().push(ix);
            }
        }
        let machines: Vec<MachineRow<'a>> = cluster
            .machines
            .iter()
            .map(|(id, machine)| MachineRow { id, machine, units: 0, memory_mb: 0, cpu_shares: 0 })
            .collect();
        let mut by_metadata: BTreeMap<(&'a str, &'a str), Vec<MachineIx>> = BTreeMap::new();
        for (ix, row) in machines.iter().enumerate() {
            for pair in row.machine.all_metadata() {
                by_metadata.entry(pair).or_default().push(ix);
            }
        }
        Self {
            unit_at: units.iter().enumerate().map(|(ix, row)| (row.name, ix)).collect(),
            machine_at: machines.iter().enumerate().map(|(ix, row)| (row.id, ix)).collect(),
            patterns: index.iter().map(|_| Pattern::default()).collect(),
            at: vec![None; units.len()],
            global_on: BTreeMap::new(),
            by_metadata,
            by_load: (0..machines.len()).map(|ix| (0, ix)).collect(),
            followers,
            comparisons: Cell::new(comparisons),
            units,
            machines,
        }
    }

    /// How often a unit was held against a machine, or a pattern against a name.
    pub(super) fn comparisons(&self) -> u64 {
        self.comparisons.get()
    }

    fn compared(&self) {
        self.comparisons.set(self.comparisons.get() + 1);
    }

    pub(super) fn machine_ix(&self, id: &MachineId) -> Option<MachineIx> {
        self.machine_at.get(id).copied()
    }

    /// Puts a unit on a machine.
    pub(super) fn put(&mut self, unit: UnitIx, machine: MachineIx) {
        assert!(self.at[unit].is_none(), "{} is on two machines", self.units[unit].name);
        self.at[unit] = Some(machine);
        self.count(unit, machine, true);
    }

    /// Takes a unit off its machine.
    pub(super) fn take(&mut self, unit: UnitIx) {
        if let Some(machine) = self.at[unit].take() {
            self.count(unit, machine, false);
        }
    }

    fn count(&mut self, unit: UnitIx, machine: MachineIx, is_there: bool) {
        let Self { units, machines, patterns, by_load, .. } = self;
        let (row, there) = (&units[unit], &mut machines[machine]);
        by_load.remove(&(there.units, machine));
        let asks = row.asks();
        if is_there {
            there.units += 1;
            there.memory_mb = there.memory_mb.saturating_add(asks.memory_mb);
            there.cpu_shares = there.cpu_shares.saturating_add(asks.cpu_shares);
        } else {
            there.units -= 1;
            there.memory_mb -= asks.memory_mb.min(there.memory_mb);
            there.cpu_shares -= asks.cpu_shares.min(there.cpu_shares);
        }
        by_load.insert((there.units, machine));
        let note = |map: &mut BTreeMap<MachineIx, BTreeSet<UnitIx>>| {
            if is_there {
                map.entry(machine).or_default().insert(unit);
            } else if let Some(set) = map.get_mut(&machine) {
                set.remove(&unit);
                if set.is_empty() {
                    map.remove(&machine);
                }
            }
        };
        row.matched.iter().for_each(|glob| note(&mut patterns[*glob].hosts));
        row.conflicts.iter().for_each(|glob| note(&mut patterns[*glob].carriers));
        row.replaces.iter().for_each(|glob| note(&mut patterns[*glob].replacers));
    }

    /// Puts every global unit on every machine that runs it, by the rule of [`Cluster::wanted_on`]: to be called once
    /// what is scheduled is on the board.
    pub(super) fn put_globals(&mut self) {
        for unit in 0..self.units.len() {
            let row = &self.units[unit];
            if !row.unit.is_global() || row.unit.desired == JobState::Inactive || row.unplaceable().is_some()
            {
                continue;
            }
            for machine in self.fitting(unit) {
                self.compared();
                let fits =
                    self.units[unit].asks().is_met_by(|key| self.machines[machine].machine.metadata(key));
                if fits && self.conflict(unit, machine).is_none() {
                    self.count(unit, machine, true);
                    self.global_on.entry(unit).or_default().insert(machine);
                }
            }
        }
    }

    /// Takes the global units off again.
    pub(super) fn take_globals(&mut self) {
        for (unit, machines) in std::mem::take(&mut self.global_on) {
            for machine in machines {
                self.count(unit, machine, false);
            }
        }
    }

    /// A superset of the machines whose metadata fits, as small as one look at the index makes it.
    fn fitting(&self, unit: UnitIx) -> Vec<MachineIx> {
        match self.rarest(self.units[unit].asks()) {
            None => (0..self.machines.len()).collect(),
            Some(lists) => {
                let mut all: Vec<MachineIx> = lists.into_iter().flatten().copied().collect();
                all.sort_unstable();
                all
            }
        }
    }

    /// The machines that have one of the values of the key with the fewest; `None` where nothing is asked.
    fn rarest<'b>(&'b self, asks: &'b Requirements) -> Option<Vec<&'b Vec<MachineIx>>> {
        let lists = asks.metadata.iter().map(|(key, values)| -> Vec<&Vec<MachineIx>> {
            values.iter().filter_map(|value| self.by_metadata.get(&(key.as_str(), value.as_str()))).collect()
        });
        lists.min_by_key(|lists| lists.iter().map(|list| list.len()).sum::<usize>())
    }

    /// The first unit on the machine that does not want this one there, or is not wanted by it.
    fn conflict(&self, unit: UnitIx, machine: MachineIx) -> Option<UnitIx> {
        let row = &self.units[unit];
        let hosts = row.conflicts.iter().map(|glob| &self.patterns[*glob].hosts);
        let carriers = row.matched.iter().map(|glob| &self.patterns[*glob].carriers);
        let carriers = carriers.filter(|_| !is_planted(Planted::F15));
        let others = hosts.chain(carriers).filter_map(|map| map.get(&machine)).flatten();
        others.copied().filter(|other| *other != unit).min()
    }

    /// The first unit on the machine that replaces this one. Two that replace each other are ignored.
    pub(super) fn replacer(&self, unit: UnitIx, machine: MachineIx) -> Option<UnitIx> {
        let row = &self.units[unit];
        let carriers = row.matched.iter().filter_map(|glob| self.patterns[*glob].replacers.get(&machine));
        let one_way = |other: &UnitIx| *other != unit && !self.replaces(unit, *other);
        carriers.flatten().copied().filter(one_way).min()
    }

    /// Whether `unit` has a pattern in `Replaces` that matches `other`.
    fn replaces(&self, unit: UnitIx, other: UnitIx) -> bool {
        let matched = &self.units[other].matched;
        self.units[unit].replaces.iter().any(|glob| matched.binary_search(glob).is_ok())
    }

    /// The units on the same machine that this one replaces.
    pub(super) fn replaced_by(&self, unit: UnitIx) -> BTreeSet<UnitIx> {
        let Some(machine) = self.at[unit] else { return BTreeSet::new() };
        let maps = self.units[unit].replaces.iter().map(|glob| &self.patterns[*glob].hosts);
        let there = maps.filter_map(|map| map.get(&machine)).flatten().copied();
        there.filter(|other| *other != unit && !self.replaces(*other, unit)).collect()
    }

    fn is_on(&self, peer: UnitIx, machine: MachineIx) -> bool {
        self.at[peer] == Some(machine) || self.global_on.get(&peer).is_some_and(|on| on.contains(&machine))
    }

    /// What keeps a unit that is elsewhere or nowhere off this machine; `new`: room is asked for as well, and that
    /// nobody there replaces it. Who is there already may stay where it has become tight: it runs.
    pub(super) fn obstacle(&self, unit: UnitIx, machine: MachineIx, new: bool) -> Option<Obstacle> {
        self.compared();
        let (row, there) = (&self.units[unit], &self.machines[machine]);
        let asks = row.asks();
        if let Some(wanted) = asks.machine_id.as_ref().filter(|wanted| !there.id.is_called(wanted)) {
            return Some(Obstacle::OtherMachine(wanted.clone()));
        }
        if !asks.is_met_by(|key| there.machine.metadata(key)) {
            return Some(Obstacle::Metadata(asks.metadata_text()));
        }
        for peer in &asks.peers {
            let Some(ix) = self.unit_at.get(peer) else { return Some(Obstacle::NoSuchPeer(peer.clone())) };
            if !self.is_on(*ix, machine) {
                return Some(Obstacle::PeerElsewhere(peer.clone()));
            }
        }
        if let Some(other) = self.conflict(unit, machine) {
            return Some(Obstacle::Conflict { with: self.units[other].name.clone(), on: there.id.clone() });
        }
        if !new {
            return None;
        }
        if let Some(by) = self.replacer(unit, machine) {
            return Some(Obstacle::Replacer { by: self.units[by].name.clone(), on: there.id.clone() });
        }
        let resources = &there.machine.info.resources;
        let left = |has: Option<u64>, used: u64| has.map_or(u64::MAX, |has| has.saturating_sub(used));
        let memory = left(resources.memory_mb, there.memory_mb);
        if asks.memory_mb > memory {
            return Some(Obstacle::Memory { wants: asks.memory_mb, left: memory });
        }
        let cpu = left(resources.cpu_shares, there.cpu_shares);
        (asks.cpu_shares > cpu).then_some(Obstacle::Cpu { wants: asks.cpu_shares, left: cpu })
    }

    /// The one machine that `MachineID` or `MachineOf` leave, where they do.
    fn only_machine(&self, unit: UnitIx) -> Result<Option<MachineIx>, Obstacle> {
        let asks = self.units[unit].asks();
        if let Some(wanted) = &asks.machine_id {
            let from = MachineId::parse(wanted).ok();
            let mut after = from.iter().flat_map(|id| self.machine_at.range::<MachineId, _>(id..));
            return match after.next().filter(|(id, _)| id.is_called(wanted)) {
                Some((_, ix)) => Ok(Some(*ix)),
                None => Err(Obstacle::NoSuchMachine(wanted.clone())),
            };
        }
        let mut found: Option<(&UnitName, MachineIx)> = None;
        for peer in &asks.peers {
            let Some(ix) = self.unit_at.get(peer).copied() else {
                return Err(Obstacle::NoSuchPeer(peer.clone()));
            };
            if self.units[ix].unit.is_global() {
                continue;
            }
            let Some(machine) = self.at[ix] else { return Err(Obstacle::PeerNotScheduled(peer.clone())) };
            match found {
                Some((other, elsewhere)) if elsewhere != machine => {
                    return Err(Obstacle::PeersApart(other.clone(), peer.clone()));
                }
                _ => found = Some((peer, machine)),
            }
        }
        Ok(found.map(|(_, machine)| machine))
    }

    /// The least loaded machine that can take the unit, of two the one with the smaller id.
    pub(super) fn find(&mut self, unit: UnitIx, searches: &mut Searches<'a>) -> Result<MachineIx, Reason> {
        if self.machines.is_empty() {
            return Err(Reason::of(Obstacle::NoMachines));
        }
        match self.only_machine(unit) {
            Err(obstacle) => return Err(Reason::of(obstacle)),
            Ok(Some(machine)) => {
                return match self.obstacle(unit, machine, true) {
                    None => Ok(machine),
                    Some(obstacle) => Err(Reason::of(obstacle)),
                };
            }
            Ok(None) => {}
        }
        if !self.units[unit].asks().peers.is_empty() {
            // Beside global units only: as many machines as these run on.
            return self.search_all(unit);
        }
        let row = &self.units[unit];
        let asks: &'a Requirements = &row.unit.requirements;
        let room = (asks.memory_mb, asks.cpu_shares);
        let class: Class<'a> =
            (&asks.metadata, row.conflicts.clone(), row.replaces.clone(), row.matched.clone(), room);
        let search = searches.0.entry(class).or_default();
        if let Some(reason) = &search.exhausted {
            return Err(reason.clone());
        }
        let found = self.search(unit, search);
        found.map_err(|reason| search.exhausted.insert(reason).clone())
    }

    fn search(&self, unit: UnitIx, search: &mut Search) -> Result<MachineIx, Reason> {
        if let Some(order) = &mut search.own_order {
            return self.search_own(unit, order);
        }
        if let Some(lists) = self.rarest(self.units[unit].asks()) {
            let count: usize = lists.iter().map(|list| list.len()).sum();
            if count <= VAIN_LOOKS_MAX {
                return self.search_these(unit, lists.into_iter().flatten().copied());
            }
        }
        let mut each = Vec::new();
        for (_, machine) in &self.by_load {
            match self.obstacle(unit, *machine, true) {
                None => return Ok(*machine),
                Some(obstacle) => each.push((obstacle, 1)),
            }
            search.vain += 1;
            if search.vain > VAIN_LOOKS_MAX {
                let order = self.by_load.iter().map(|entry| Reverse(*entry)).collect();
                return self.search_own(unit, search.own_order.insert(order));
            }
        }
        Err(Reason::sum(each))
    }

    /// Looks at the class's own order; what cannot take the unit leaves it for good.
    fn search_own(&self, unit: UnitIx, order: &mut Order) -> Result<MachineIx, Reason> {
        while let Some(Reverse((load, machine))) = order.pop() {
            let now = self.machines[machine].units;
            if now != load {
                order.push(Reverse((now, machine)));
            } else if self.obstacle(unit, machine, true).is_none() {
                order.push(Reverse((load, machine)));
                return Ok(machine);
            }
        }
        // Once for the whole class.
        let all = (0..self.machines.len()).filter_map(|machine| self.obstacle(unit, machine, true));
        Err(Reason::sum(all.map(|obstacle| (obstacle, 1))))
    }

    /// Looks at a few machines; the others have not the metadata.
    fn search_these(
        &self,
        unit: UnitIx,
        machines: impl Iterator<Item = MachineIx>,
    ) -> Result<MachineIx, Reason> {
        let mut order: Vec<(usize, MachineIx)> = machines.map(|ix| (self.machines[ix].units, ix)).collect();
        order.sort_unstable();
        let mut each = Vec::new();
        for (_, machine) in order {
            match self.obstacle(unit, machine, true) {
                None => return Ok(machine),
                Some(obstacle) => each.push((obstacle, 1)),
            }
        }
        let others = self.machines.len() - each.len();
        if others > 0 {
            each.push((Obstacle::Metadata(self.units[unit].asks().metadata_text()), others));
        }
        Err(Reason::sum(each))
    }

    fn search_all(&self, unit: UnitIx) -> Result<MachineIx, Reason> {
        let mut each = Vec::new();
        for (_, machine) in &self.by_load {
            match self.obstacle(unit, *machine, true) {
                None => return Ok(*machine),
                Some(obstacle) => each.push((obstacle, 1)),
            }
        }
        Err(Reason::sum(each))
    }
}
