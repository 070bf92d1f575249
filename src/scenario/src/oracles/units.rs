//! What of a fleet's units ran where (F2, F5, F6, F7, F10 of the fleet's rules).
//!
//! 1. *Once on a machine.* No machine runs two processes of one unit at one time.
//! 2. *Once in the fleet.* A unit with `OnPartition=stop` is over before its machine counts as gone, if the agent there was
//!    awake. An agent begins only what was its machine's since it registered. Any unit that runs twice does so no longer than its old machine, or the store, is in
//!    trouble, and the time that it takes to hear of it.
//! 3. *Not without a reason.* What runs is told to stop because an operator wanted so, the engine decided so, metadata
//!    changed so, or, with `OnPartition=stop`, the lease was ending: never because the store was away for a while, or has
//!    another leader. And no machine is given up to which nothing happened.
//! 4. *In the end*, once all had its time, each unit runs where it should and nowhere else: global ones on every machine that
//!    fits.
//! 5. *Nothing poisons.* Every unit can be read; those of odd requests can be deleted; the interface never fails.

use super::Finding;
use super::fleet::{Board, Times, fleet_bound, machines_of};
use crate::format::spec::MachineFault;
use crate::record::{AgentWord, EngineWord, FinalState, ProcessEnd, ProcessRecord, RunLog, UnitsLook};
use crate::theatre::machine_id;
use seatrial_types::EventKind;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What stopping takes, at most, and a look of the agent at the world.
const STOPPING: Duration = Duration::from_secs(2);

pub(super) fn check(log: &RunLog) -> Finding {
    if !log.plan.has_units() {
        return Finding::Ok;
    }
    if let Some(violation) = twice_on_a_machine(log).or_else(|| overlapping(log)) {
        return violation;
    }
    match &log.last {
        Some(last) if last.revision > 0 && last.ledger_from <= 1 && !last.is_unread() => {
            let fleet = Fleet::of(log, last);
            let found = fleet.given_up_for_nothing().or_else(|| fleet.stopped_too_late());
            let found = found
                .or_else(|| fleet.stopped_for_nothing())
                .or_else(|| fleet.begun_for_nothing())
                .or_else(|| {
                    let look = log.units.look.as_ref()?;
                    in_the_end(log, last, look).or_else(|| poisoned(log, last, look))
                });
            found.unwrap_or(Finding::Ok)
        }
        Some(last) if last.is_unread() => Finding::Unknown("no member told its changes in time".to_owned()),
        Some(_) => Finding::Unknown("the ledger does not begin with the first revision".to_owned()),
        None => Finding::Unknown("the run ended before the store could be read a last time".to_owned()),
    }
}

fn end_of(process: &ProcessRecord, log: &RunLog) -> Duration {
    process.to.unwrap_or(log.ended)
}

fn ttl(log: &RunLog) -> Duration {
    let machines = log.plan.clients.iter().filter(|client| client.spec.is_machine(client.number));
    machines.map(|client| client.spec.ttl).max().unwrap_or_default()
}

fn violation(sentence: String, at: Duration) -> Option<Finding> {
    Some(Finding::violation(sentence, Some(at), None))
}

/// Pairs of processes of one unit that ran at one time, the older first.
fn pairs(log: &RunLog) -> Vec<(&ProcessRecord, &ProcessRecord)> {
    let mut by_unit: BTreeMap<&str, Vec<&ProcessRecord>> = BTreeMap::new();
    for process in &log.units.processes {
        by_unit.entry(&process.unit).or_default().push(process);
    }
    let mut pairs = Vec::new();
    for processes in by_unit.values() {
        for (at, one) in processes.iter().enumerate() {
            let later = processes[at + 1..].iter().filter(|other| other.from < end_of(one, log));
            pairs.extend(later.map(|other| (*one, *other)));
        }
    }
    pairs
}

fn twice_on_a_machine(log: &RunLog) -> Option<Finding> {
    let (one, other) = pairs(log).into_iter().find(|(one, other)| one.machine == other.machine)?;
    let sentence = format!(
        "machine {} started {} at {:?} as process {}, while process {} of it ran there since {:?}",
        one.machine, one.unit, other.from, other.pid, one.pid, one.from
    );
    violation(sentence, other.from)
}

/// Units that every fitting machine runs.
fn globals(log: &RunLog) -> BTreeSet<String> {
    let ledger = log.last.iter().flat_map(|last| &last.ledger);
    let mut board = Board::default();
    let mut found = BTreeSet::new();
    for event in ledger.filter(|event| event.kv.key.starts_with(b"/_seatrial/fleet/spec/unit/")) {
        board.apply(event);
        let key = String::from_utf8_lossy(&event.kv.key).into_owned();
        let name = key.rsplit('/').next().unwrap_or_default();
        if board.units.get(name).is_some_and(|unit| unit.asks.is_global) {
            found.insert(name.to_owned());
        }
    }
    found
}

/// A unit that runs twice for longer than there is trouble.
fn overlapping(log: &RunLog) -> Option<Finding> {
    let globals = globals(log);
    for (one, other) in pairs(log) {
        if one.machine == other.machine || globals.contains(&one.unit) {
            continue;
        }
        let end = end_of(one, log).min(end_of(other, log));
        let own = log
            .units
            .faults
            .iter()
            .filter(|fault| [one.machine, other.machine].contains(&fault.machine) && fault.from < end);
        let own = own.map(|fault| fault.to.unwrap_or(log.ended));
        let stores = log.faults.iter().filter(|fault| fault.from < end);
        let stores = stores.map(|fault| fault.to.unwrap_or(log.plan.scenario.time));
        let well = own.chain(stores).filter(|to| *to > one.from).max().unwrap_or_default();
        // What was under way when it ended may still be told late.
        let allowed = well.max(other.from) + fleet_bound(ttl(log));
        if end > allowed {
            let sentence = format!(
                "{} ran on machine {} since {:?} and on machine {} since {:?}, both until {end:?}, although all was well since \
                 {well:?}",
                one.unit, one.machine, one.from, other.machine, other.from
            );
            return violation(sentence, allowed);
        }
    }
    None
}

/// A machine that lost a unit since it was not heard.
struct Eviction {
    unit: String,
    machine: u32,
    at: Duration,
    revision: i64,
}

struct Fleet<'a> {
    log: &'a RunLog,
    evictions: Vec<Eviction>,
    /// When machines were not there any more: at which revision, and when that was.
    ends: Vec<(u32, i64, Duration)>,
    /// Where each unit was scheduled to, from which revision on.
    targets: BTreeMap<String, Vec<(i64, Option<String>)>>,
    /// With `OnPartition=stop`.
    stops: BTreeSet<String>,
    globals: BTreeSet<String>,
}

impl<'a> Fleet<'a> {
    fn of(log: &'a RunLog, last: &FinalState) -> Self {
        let machines = machines_of(&log.plan);
        let times = Times::of(log);
        let mut board = Board::default();
        let mut fleet = Self {
            log,
            evictions: Vec::new(),
            ends: Vec::new(),
            targets: BTreeMap::new(),
            stops: BTreeSet::new(),
            globals: globals(log),
        };
        for event in &last.ledger {
            let key = String::from_utf8_lossy(&event.kv.key).into_owned();
            let name = key.rsplit('/').next().unwrap_or_default().to_owned();
            let revision = event.kv.mod_revision.0;
            if key.starts_with("/_seatrial/fleet/spec/target/") {
                let from = board.units.get(&name).and_then(|unit| unit.target.clone());
                let from = from.filter(|id| !board.is_there(id) && !board.given_up.contains(id));
                let is_wanted = board.wanted().any(|(known, _)| *known == name);
                if let (Some(from), Some(at)) = (from, times.at(revision))
                    && let Some(machine) = machines.get(&from).filter(|_| is_wanted)
                {
                    fleet.evictions.push(Eviction { unit: name.clone(), machine: *machine, at, revision });
                }
                let target = (event.kind == EventKind::Put).then(|| {
                    let value: serde_json::Value =
                        serde_json::from_slice(&event.kv.value).unwrap_or_default();
                    value["machine"].as_str().unwrap_or_default().to_owned()
                });
                fleet.targets.entry(name.clone()).or_default().push((revision, target));
            }
            if key.starts_with("/_seatrial/fleet/spec/machine/")
                && event.kind == EventKind::Delete
                && let (Some(machine), Some(at)) = (machines.get(&name), times.at(revision))
            {
                fleet.ends.push((*machine, revision, at));
            }
            board.apply(event);
            let is_unit = key.starts_with("/_seatrial/fleet/spec/unit/") && event.kind == EventKind::Put;
            if is_unit && board.units.get(&name).is_some_and(|unit| unit.asks.stops_on_partition) {
                fleet.stops.insert(name);
            }
        }
        fleet
    }

    /// Nothing happened to a machine, and it was given up all the same.
    fn given_up_for_nothing(&self) -> Option<Finding> {
        let ttl = ttl(self.log);
        let splits = self.log.faults.iter().filter(|fault| fault.text.contains("each client sees one side"));
        let splits: Vec<(Duration, Duration)> =
            splits.map(|fault| (fault.from, fault.to.unwrap_or(self.log.ended))).collect();
        for Eviction { unit, machine, at, revision } in &self.evictions {
            let since = at.saturating_sub(ttl * 3 + fleet_bound(ttl));
            let own = self.log.units.faults.iter().any(|fault| {
                fault.machine == *machine
                    && fault.from <= *at
                    && fault.to.is_none_or(|to| to >= since)
                    && fault.fault != MachineFault::Drift
            });
            let split = splits.iter().any(|(from, to)| from <= at && *to >= since);
            if !own && !split {
                let sentence = format!(
                    "{unit} was taken off machine {machine} at revision {revision} since the machine was not heard, but nothing \
                     had happened to it: only the store was away"
                );
                return violation(sentence, *at);
            }
        }
        None
    }

    /// A unit that must not run twice still ran when its machine counted as gone, though its agent was awake.
    fn stopped_too_late(&self) -> Option<Finding> {
        let (log, ttl) = (self.log, ttl(self.log));
        for (machine, revision, at) in &self.ends {
            let here = log.units.processes.iter().filter(|process| process.machine == *machine);
            let here = here.filter(|process| self.stops.contains(&process.unit));
            let mut late = here.filter(|process| process.from < *at && end_of(process, log) > *at);
            // Who stood still, or was not there, hears of it once it is back.
            let asleep = log.units.faults.iter().filter(|fault| {
                let sleeps = matches!(fault.fault, MachineFault::Kill | MachineFault::Pause);
                let to = fault.to.unwrap_or(log.ended);
                fault.machine == *machine && sleeps && fault.from < *at && to + ttl + STOPPING > *at
            });
            // It may even go on, where nobody has moved it meanwhile.
            let awake = asleep.map(|fault| fault.to.unwrap_or(log.ended)).max();
            let allowed = awake.map_or(*at, |awake| awake.max(*at) + ttl / 5 + STOPPING);
            let has_moved = |old: &ProcessRecord| {
                awake.is_none()
                    || self.evictions.iter().any(|eviction| {
                        eviction.unit == old.unit
                            && eviction.machine == *machine
                            && eviction.revision > *revision
                            && eviction.at < end_of(old, log)
                    })
            };
            if let Some(old) = late.find(|process| end_of(process, log) > allowed && has_moved(process)) {
                let sentence = format!(
                    "{}, which must not run twice, ran on machine {machine} until {:?}, but the machine counted as gone since \
                     revision {revision} at {at:?}",
                    old.unit,
                    end_of(old, log)
                );
                return violation(sentence, *at);
            }
        }
        None
    }

    /// An agent began a unit that was not its machine's since it registered.
    fn begun_for_nothing(&self) -> Option<Finding> {
        let log = self.log;
        for process in log.units.processes.iter().filter(|process| !self.globals.contains(&process.unit)) {
            let agents = log.units.agents.iter().filter(|record| record.machine == process.machine);
            let mut registered =
                agents.filter(|record| record.at <= process.from).filter_map(|record| match record.what {
                    AgentWord::Registered(revision) => Some(revision),
                    _ => None,
                });
            let Some(since) = registered.next_back() else { continue };
            let id = machine_id(process.machine);
            let none = Vec::new();
            let targets = self.targets.get(&process.unit).unwrap_or(&none);
            let first = targets.partition_point(|(revision, _)| *revision <= since).saturating_sub(1);
            let mut seen = targets[first.min(targets.len())..].iter();
            let scheduled = seen.any(|(_, target)| target.as_deref() == Some(id.as_str()));
            if !scheduled {
                let sentence = format!(
                    "machine {} began {} at {:?}, which was not scheduled to it at revision {since}, when it registered, nor \
                     later",
                    process.machine, process.unit, process.from
                );
                return violation(sentence, process.from);
            }
        }
        None
    }

    /// Something was told to stop that should have gone on.
    fn stopped_for_nothing(&self) -> Option<Finding> {
        let ttl = ttl(self.log);
        let log = self.log;
        for process in log.units.processes.iter().filter(|process| process.end == Some(ProcessEnd::Told)) {
            let told = process.told.unwrap_or_else(|| end_of(process, log));
            // Then the last look deletes what odd requests have made.
            if log.units.look.as_ref().is_some_and(|look| told > look.at) {
                continue;
            }
            let since = process.from.saturating_sub(fleet_bound(ttl));
            let path = format!("/fleet/v1/units/{}", process.unit);
            let asked = log.units.operators.iter().any(|record| {
                let is_tag = record.what.ends_with("/machines") && self.globals.contains(&process.unit);
                (record.what.ends_with(&path) || is_tag)
                    && record.seen.call <= told
                    && record.seen.ret >= since
            });
            let about = format!("{}: ", process.unit);
            let decided = log.units.engines.iter().any(|record| {
                let is_about = matches!(&record.what, EngineWord::Wrote { decisions, .. }
                    if decisions.iter().any(|decision| decision.starts_with(&about)));
                is_about && record.at >= since
            });
            let ending = format!("stop {}: the machine's lease is ending", process.unit);
            let lease = self.stops.contains(&process.unit)
                && log.units.agents.iter().any(|record| {
                    let is_it = matches!(&record.what, AgentWord::Did(task) if *task == ending);
                    is_it && record.machine == process.machine && record.at + STOPPING >= told
                });
            if !(asked || decided || lease) {
                let sentence = format!(
                    "{} was told to stop on machine {} at {told:?}, and nobody had wanted that",
                    process.unit, process.machine
                );
                return violation(sentence, told);
            }
        }
        None
    }
}

fn in_the_end(log: &RunLog, last: &FinalState, look: &UnitsLook) -> Option<Finding> {
    let board = Board::at(&last.ledger, look.revision);
    let machines = machines_of(&log.plan);
    let mut wanted: BTreeSet<(&str, u32)> = BTreeSet::new();
    let mut held: BTreeSet<&str> = BTreeSet::new();
    for (name, unit) in board.wanted().filter(|(_, unit)| unit.desired == "launched") {
        match &unit.target {
            _ if unit.asks.is_global => {}
            Some(target) if board.is_there(target) => {
                wanted.extend(machines.get(target).map(|machine| (name.as_str(), *machine)));
            }
            Some(_) => drop(held.insert(name)),
            None => {}
        }
    }
    for (id, machine) in &machines {
        let globals = board.globals_on(id).into_iter();
        let globals = globals.filter(|name| board.units[*name].desired == "launched");
        wanted.extend(globals.map(|name| (name.as_str(), *machine)));
    }
    let running: BTreeSet<(&str, u32)> = log
        .units
        .processes
        .iter()
        .filter(|process| process.runs_at(look.at))
        .map(|process| (process.unit.as_str(), process.machine))
        .collect();
    // What an odd request has made may be a file that cannot run.
    let is_odd = |name: &str| name.starts_with("odd-");
    if let Some((unit, machine)) = wanted.iter().find(|one| !running.contains(one) && !is_odd(one.0)) {
        return violation(
            format!("in the end {unit} does not run on machine {machine}, where it should"),
            look.at,
        );
    }
    let extra = running.iter().find(|one| !wanted.contains(one) && !held.contains(one.0));
    if let Some((unit, machine)) = extra {
        return violation(
            format!("in the end {unit} runs on machine {machine}, where it should not"),
            look.at,
        );
    }
    None
}

fn poisoned(log: &RunLog, last: &FinalState, look: &UnitsLook) -> Option<Finding> {
    if look.list != 200 {
        return violation(format!("in the end the list of units is answered with {}", look.list), look.at);
    }
    for check in &look.checks {
        if check.read != 200 {
            return violation(format!("in the end {} is read with {}", check.name, check.read), look.at);
        }
        if check.deleted.is_some_and(|status| status != 204) {
            let status = check.deleted.unwrap_or_default();
            return violation(format!("in the end {} is deleted with {status}", check.name), look.at);
        }
    }
    let board = Board::at(&last.ledger, look.revision);
    let listed: BTreeSet<&str> = look.checks.iter().map(|check| check.name.as_str()).collect();
    let known = board.units.iter().filter(|(_, unit)| unit.is_known);
    if let Some((name, _)) = known.into_iter().find(|(name, _)| !listed.contains(name.as_str())) {
        return violation(format!("in the end {name} is in the store and not on the list of units"), look.at);
    }
    let broken = log.units.operators.iter().find(|record| record.status.is_some_and(|status| status == 500));
    if let Some(record) = broken {
        return violation(format!("{} was answered with 500", record.what), record.seen.ret);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracles::testing::fleet::*;
    use crate::oracles::testing::{at, violated};
    use crate::record::MachineFaultRecord;

    /// A unit that must not run twice, on the first machine, which counts as gone after ten seconds.
    fn gone() -> RunLog {
        let mut log = fleet();
        let (key, here, file) = (machine_key(1), on(1), asks("OnPartition", "stop"));
        let changes = [
            (2, key.as_str(), Some("{}")),
            (4, "spec/unit/a.service", Some(file.as_str())),
            (5, "spec/desired/a.service", Some("{\"state\":\"launched\"}")),
            (6, "spec/target/a.service", Some(here.as_str())),
            (100, key.as_str(), None),
        ];
        ledger(&mut log, &changes);
        log.ended = at(60_000);
        log
    }

    #[test]
    fn a_machine_runs_a_unit_once() {
        let mut log = gone();
        ran(&mut log, 1, "a.service", 1_000, None);
        ran(&mut log, 1, "a.service", 2_000, None);
        assert!(
            violated(&check(&log))
                .contains("machine 1 started a.service at 2s as process 1, while process 0")
        );
    }

    #[test]
    fn what_must_not_run_twice_is_over_before_its_machine_counts_as_gone() {
        let with = |end, fault: Option<MachineFault>| {
            let mut log = gone();
            ran(&mut log, 1, "a.service", 1_000, Some(end));
            // Or rule 3 would ask who wanted that.
            engine(&mut log, 900, 1, wrote(6, &["a.service: schedule to m1"]));
            log.units.faults.extend(fault.map(|fault| MachineFaultRecord {
                machine: 1,
                fault,
                from: at(6_000),
                to: Some(at(15_000)),
            }));
            check(&log)
        };
        let late = with(10_200, Some(MachineFault::CutOff));
        assert!(violated(&late).contains("ran on machine 1 until 10.2s, but the machine counted as gone"));
        assert_eq!(with(9_900, Some(MachineFault::CutOff)), Finding::Ok);
        // Nobody was there to stop it.
        assert_eq!(with(10_200, Some(MachineFault::Kill)), Finding::Ok);
    }

    #[test]
    fn nothing_is_told_to_stop_for_nothing() {
        let mut log = gone();
        ran(&mut log, 1, "a.service", 1_000, Some(5_000));
        assert!(
            violated(&check(&log)).contains("told to stop on machine 1 at 5s, and nobody had wanted that")
        );
        engine(&mut log, 4_900, 1, wrote(6, &["a.service: unschedule from m1 (desired state inactive)"]));
        assert_eq!(check(&log), Finding::Ok);
    }

    #[test]
    fn a_unit_runs_twice_no_longer_than_there_is_trouble() {
        let with = |end| {
            let mut log = gone();
            log.last.as_mut().unwrap().ledger.truncate(4);
            engine(&mut log, 900, 1, wrote(6, &["a.service: schedule to m1"]));
            ran(&mut log, 1, "a.service", 1_000, Some(end));
            ran(&mut log, 2, "a.service", 2_000, None);
            let finding = overlapping(&log);
            finding.unwrap_or(Finding::Ok)
        };
        assert_eq!(with(3_000), Finding::Ok);
        assert!(
            violated(&with(40_000)).contains("a.service ran on machine 1 since 1s and on machine 2 since 2s")
        );
    }
}
