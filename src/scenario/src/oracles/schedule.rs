//! Who is scheduled where in a fleet, by the store's ledger (F1, F3, F4, F8, F9 of the fleet's rules).
//!
//! 1. *One engine.* Every decision was written by the engine that led at its revision.
//! 2. *No ghosts.* A unit that is not there gets no target.
//! 3. *No conflicts.* A unit never gets a target where one is that it is in conflict with, unless that one was changed just
//!    before.
//! 4. *No panic.* Where more than half of the machines are gone, units of gone machines stay where they are scheduled; and
//!    those that are moved are moved at the agreed pace.
//! 5. *No unit is moved without a reason.* What could stay where it is, stays.
//! 6. *In the end*, once all had its time: what should be somewhere is on a machine that is there, fits and has room for it;
//!    or there is no such machine, and the engine says why it waits. Followers are with whom they follow.

use super::Finding;
use super::fleet::{Board, Times, machines_of};
use crate::format::spec::MachineFault;
use crate::record::{EngineRecord, EngineWord, FinalState, RunLog, UnitsLook};
use seatrial_types::{Event, EventKind};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A change so short a time ago may not have come to the engine yet …
const RECENT: Duration = Duration::from_secs(1);

/// … or, where anything is wrong, so short a time: as long as an engine that hears nothing believes to lead.
const RECENT_AMID_FAULTS: Duration = Duration::from_secs(8);

/// The engine's limit: where more than so many of a hundred machines are gone, nothing is moved.
const MASS_LOSS_PERCENT: usize = 50;

pub(super) fn check(log: &RunLog) -> Finding {
    if !log.plan.has_units() {
        return Finding::Ok;
    }
    if let Some(violation) = too_fast(log).or_else(|| most_left(log)) {
        return violation;
    }
    match &log.last {
        Some(last) if last.revision > 0 && last.ledger_from <= 1 && !last.is_unread() => {
            let found = step_by_step(log, last).or_else(|| {
                let look = log.units.look.as_ref()?;
                in_the_end(log, last, look)
            });
            found.unwrap_or(Finding::Ok)
        }
        Some(last) if last.is_unread() => Finding::Unknown("no member told its changes in time".to_owned()),
        Some(_) => Finding::Unknown("the ledger does not begin with the first revision".to_owned()),
        None => Finding::Unknown("the run ended before the store could be read a last time".to_owned()),
    }
}

/// When engines wrote what, by revision: at which time, on which machine, and under which leadership.
fn writes(log: &RunLog) -> BTreeMap<i64, (Duration, u32, i64)> {
    let mut fences: BTreeMap<u32, i64> = BTreeMap::new();
    let mut writes = BTreeMap::new();
    for EngineRecord { machine, at, what } in &log.units.engines {
        match what {
            EngineWord::Leads(fence) => drop(fences.insert(*machine, *fence)),
            EngineWord::Wrote { revision, .. } => {
                let fence = fences.get(machine).copied().unwrap_or_default();
                writes.insert(*revision, (*at, *machine, fence));
            }
            EngineWord::Waits(_) | EngineWord::Rests => {}
        }
    }
    writes
}

/// Which units engines took off machines, by their own words, since those had gone away: at which revisions.
fn went_away(log: &RunLog) -> BTreeSet<(i64, String)> {
    let mut found = BTreeSet::new();
    for record in &log.units.engines {
        let EngineWord::Wrote { revision, decisions, .. } = &record.what else { continue };
        let gone = decisions.iter().filter(|decision| decision.ends_with("went away)"));
        let names = gone.filter_map(|decision| decision.split_once(": "));
        found.extend(names.map(|(name, _)| (*revision, name.to_owned())));
    }
    found
}

fn is_target(event: &Event) -> bool {
    event.kv.key.starts_with(b"/_seatrial/fleet/spec/target/")
}

/// What changed just now.
struct Recent<'a> {
    times: &'a Times,
    since: Duration,
}

impl Recent<'_> {
    fn is(&self, changed: i64) -> bool {
        changed > 0 && self.times.at(changed).is_none_or(|at| at >= self.since)
    }

    fn unit(&self, board: &Board, name: &str) -> bool {
        board.units.get(name).is_none_or(|unit| self.is(unit.changed))
    }
}

/// Whether nothing is wrong, nor was just now.
fn is_calm(log: &RunLog, at: Duration) -> bool {
    let covers = |from: Duration, to: Option<Duration>| {
        from <= at && to.is_none_or(|to| to + RECENT_AMID_FAULTS >= at)
    };
    let machines = log.units.faults.iter().any(|fault| covers(fault.from, fault.to));
    !machines && !log.faults.iter().any(|fault| covers(fault.from, fault.to))
}

/// Whether an engine on this machine may not know what is so: it, or the store, was in trouble just now.
fn is_dazed(log: &RunLog, machine: u32, at: Duration) -> bool {
    let covers = |from: Duration, to: Option<Duration>| {
        from <= at && to.is_none_or(|to| to + RECENT_AMID_FAULTS >= at)
    };
    let own = log.units.faults.iter().filter(|fault| fault.machine == machine);
    own.into_iter().any(|fault| covers(fault.from, fault.to))
        || log.faults.iter().any(|fault| covers(fault.from, fault.to))
}

fn step_by_step(log: &RunLog, last: &FinalState) -> Option<Finding> {
    let writes = writes(log);
    let times = Times::of(log);
    let went_away = went_away(log);
    let mut board = Board::default();
    for events in last.ledger.chunk_by(|one, next| one.kv.mod_revision == next.kv.mod_revision) {
        let revision = events[0].kv.mod_revision.0;
        let before = board.clone();
        events.iter().for_each(|event| board.apply(event));
        if !events.iter().any(is_target) {
            continue;
        }
        let time = times.at(revision).or_else(|| writes.get(&revision).map(|(at, ..)| *at));
        let span = if is_calm(log, time.unwrap_or_default()) { RECENT } else { RECENT_AMID_FAULTS };
        let recent = Recent { times: &times, since: time.unwrap_or_default().saturating_sub(span) };
        let writer = writes.get(&revision).map(|(at, machine, _)| (*machine, *at));
        let violation = |sentence: String| Some(Finding::violation(sentence, time, None));
        if let Some((_, machine, fence)) = writes.get(&revision) {
            let leader = before.leader();
            if leader != Some(*fence) {
                let leads = leader
                    .map_or("nobody led".to_owned(), |leader| format!("the engine of revision {leader} led"));
                return violation(format!(
                    "at revision {revision} the engine on machine {machine}, elected at revision {fence}, scheduled units, \
                     but {leads}"
                ));
            }
        }
        for event in events.iter().filter(|event| is_target(event)) {
            let key = String::from_utf8_lossy(&event.kv.key).into_owned();
            let name = key.rsplit('/').next().unwrap_or_default();
            let (Some(unit), Some(old)) = (board.units.get(name), before.units.get(name)) else { continue };
            if event.kind == EventKind::Put && !unit.is_known {
                return violation(format!("at revision {revision} {name} was scheduled, which is not there"));
            }
            if let Some(target) = &unit.target
                && event.kind == EventKind::Put
                && let Some(other) = new_conflict(&board, name, target, &recent)
            {
                return violation(format!(
                    "at revision {revision} {name} was scheduled to {target}, where {other} is, with which it is in conflict"
                ));
            }
            if let Some(from) = &old.target
                && unit.target.as_ref() != Some(from)
                && let Some(machine) = no_reason(&before, &board, name, from, &recent)
            {
                return violation(format!(
                    "at revision {revision} {name} was taken off {machine}, where it could have stayed"
                ));
            }
            if let Some(from) = &old.target
                && went_away.contains(&(revision, name.to_owned()))
                && before.is_there(from)
            {
                return violation(format!(
                    "at revision {revision} {name} was taken off {from} since that had gone away, but it was there"
                ));
            }
            if let Some(from) = &old.target
                && unit.is_known
                && unit.target.as_ref() != Some(from)
                && matches!(unit.desired.as_str(), "loaded" | "launched")
                && let Some((gone, of)) = mass_loss(&before, from)
                && !writer.is_none_or(|(machine, at)| is_dazed(log, machine, at))
            {
                return violation(format!(
                    "at revision {revision} {name} was taken off {from}, which is gone, although {gone} of {of} machines \
                     were gone at once"
                ));
            }
        }
    }
    None
}

/// The machine that a unit was taken off, where it was there, could have the unit, and nothing had changed just now.
fn no_reason<'a>(
    before: &Board,
    after: &Board,
    name: &str,
    from: &'a str,
    recent: &Recent<'_>,
) -> Option<&'a str> {
    let is_wanted = after.wanted().any(|(known, _)| known == name);
    let unit = after.units.get(name)?;
    let is_fresh = |name: &str| recent.unit(after, name);
    // Who follows another goes with it; and what that does may be a part of the same decisions.
    let follows = unit.asks.beside.iter().any(|peer| {
        is_fresh(peer) || after.units.get(peer).and_then(|peer| peer.target.as_deref()) != Some(from)
    });
    let has_changed = is_fresh(name)
        || before.moved.get(from).is_some_and(|moved| recent.is(*moved))
        || before.on(from).any(|(other, _)| is_fresh(other));
    let could_stay = before.obstacle(name, from).is_none() && !before.is_replaced(name, from);
    let is_replaced = after.is_replaced(name, from);
    (is_wanted && !follows && !has_changed && could_stay && !is_replaced).then_some(from)
}

/// Who is on this machine, in conflict with the unit, and was not changed just now.
fn new_conflict(board: &Board, name: &str, machine: &str, recent: &Recent<'_>) -> Option<String> {
    let is_fresh = |name: &str| recent.unit(board, name);
    let mut others = board.on(machine).filter(|(other, _)| board.are_in_conflict(name, other));
    let other = others.find(|(other, _)| !is_fresh(other) && !is_fresh(name));
    other.map(|(other, _)| other.clone())
}

/// Where this machine is gone, and most others too: how many, of how many.
fn mass_loss(board: &Board, machine: &str) -> Option<(usize, usize)> {
    let targets = board.wanted().filter(|(_, unit)| !unit.asks.is_global);
    let targets: BTreeSet<&String> = targets.filter_map(|(_, unit)| unit.target.as_ref()).collect();
    let is_gone = |id: &&&String| !board.is_there(id) && !board.given_up.contains(**id);
    let gone: Vec<&&String> = targets.iter().filter(is_gone).collect();
    let of = board.machines().count() + gone.len();
    let is_mass = gone.len() * 100 > MASS_LOSS_PERCENT * of;
    (is_mass && gone.iter().any(|id| id.as_str() == machine)).then_some((gone.len(), of))
}

/// Where most machines have left at one time, and nothing else is wrong, no unit of theirs is moved.
fn most_left(log: &RunLog) -> Option<Finding> {
    let machines = machines_of(&log.plan).len();
    let left: Vec<_> = log.units.faults.iter().filter(|fault| fault.fault == MachineFault::Leave).collect();
    let is_mass = left.len() * 100 > MASS_LOSS_PERCENT * machines;
    if !is_mass || !log.faults.is_empty() || log.units.faults.len() > left.len() {
        return None;
    }
    let since = left.iter().map(|fault| fault.from).min()?;
    log.units.engines.iter().find_map(|EngineRecord { at, what, .. }| match what {
        EngineWord::Wrote { evictions, revision, .. } if *evictions > 0 && *at > since => {
            let sentence = format!(
                "at revision {revision} {evictions} units were taken off machines that are gone, although {} of {machines} \
                 machines had gone at once at {since:?}",
                left.len()
            );
            Some(Finding::violation(sentence, Some(*at), None))
        }
        _ => None,
    })
}

/// Units of lost machines are moved at a limited rate, by each engine that leads.
fn too_fast(log: &RunLog) -> Option<Finding> {
    let spec = log.plan.clients.iter().find(|client| client.spec.is_machine(client.number))?;
    let burst = f64::from(spec.spec.units.evictions);
    let mut bucket: BTreeMap<u32, (Duration, f64)> = BTreeMap::new();
    for EngineRecord { machine, at, what } in &log.units.engines {
        match what {
            EngineWord::Leads(_) => drop(bucket.insert(*machine, (*at, burst))),
            EngineWord::Wrote { evictions, revision, .. } if *evictions > 0 => {
                let (since, left) = bucket.get(machine).copied().unwrap_or((*at, burst));
                // By the fastest clock, and a token that was just about to come.
                let rate = f64::from((spec.spec.units.evictions / 2).max(1)) * 1.1;
                let filled = (left + (*at - since).as_secs_f64() * rate).min(burst);
                #[allow(clippy::cast_precision_loss, reason = "a few")]
                let left = filled - *evictions as f64;
                if left < -1.0 {
                    let sentence = format!(
                        "at revision {revision} the engine on machine {machine} took {evictions} units off lost machines, \
                         where {filled:.1} were allowed"
                    );
                    return Some(Finding::violation(sentence, Some(*at), None));
                }
                bucket.insert(*machine, (*at, left));
            }
            EngineWord::Wrote { .. } | EngineWord::Waits(_) | EngineWord::Rests => {}
        }
    }
    None
}

fn in_the_end(log: &RunLog, last: &FinalState, look: &UnitsLook) -> Option<Finding> {
    let board = Board::at(&last.ledger, look.revision);
    let violation = |sentence: String| Some(Finding::violation(sentence, Some(look.at), None));
    let reasons = reasons(log);
    for (name, unit) in board.wanted().filter(|(_, unit)| !unit.asks.is_global) {
        let Some(target) = &unit.target else {
            let free = board
                .machines()
                .find(|machine| board.obstacle(name, machine).is_none() && !board.is_replaced(name, machine));
            if let Some(machine) = free {
                return violation(format!(
                    "in the end {name} is on no machine, although {machine} could take it"
                ));
            }
            if reasons.is_some_and(|reasons| !reasons.contains_key(name)) {
                return violation(format!(
                    "in the end {name} is on no machine, and the engine says no reason"
                ));
            }
            continue;
        };
        if !board.is_there(target) {
            let of = mass_loss(&board, target);
            if of.is_none() && !is_held(reasons, name) {
                return violation(format!("in the end {name} is scheduled to {target}, which is gone"));
            }
            continue;
        }
        if let Some(obstacle) = board.obstacle(name, target) {
            return violation(format!("in the end {name} is scheduled to {target}, but {obstacle}"));
        }
    }
    let still = board.units.iter().find(|(_, unit)| unit.desired == "inactive" && unit.target.is_some());
    if let Some((name, unit)) = still {
        let target = unit.target.as_deref().unwrap_or_default();
        return violation(format!("in the end {name} is to be inactive and still scheduled to {target}"));
    }
    None
}

/// What the engine that leads said last of units that wait.
fn reasons(log: &RunLog) -> Option<&BTreeMap<String, String>> {
    let leader = log.units.engines.iter().rev().find_map(|record| match record.what {
        EngineWord::Leads(_) => Some(record.machine),
        _ => None,
    })?;
    log.units.engines.iter().rev().filter(|record| record.machine == leader).find_map(|record| match &record
        .what
    {
        EngineWord::Waits(reasons) => Some(reasons),
        _ => None,
    })
}

fn is_held(reasons: Option<&BTreeMap<String, String>>, name: &str) -> bool {
    reasons.and_then(|reasons| reasons.get(name)).is_some_and(|reason| reason.starts_with("held"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracles::testing::fleet::*;
    use crate::oracles::testing::violated;

    const LAUNCHED: &str = "{\"state\":\"launched\"}";

    /// Two machines, and two units that are in conflict; the second is scheduled to where the first is.
    fn in_conflict(filed: i64) -> RunLog {
        let mut log = fleet();
        let (a, b) = (asks("Conflicts", "b.service"), asks("MachineMetadata", "x=y"));
        let (first, second, here) = (machine_key(1), machine_key(2), on(1));
        let metadata = Some("{\"metadata\":{\"x\":\"y\"}}");
        let mut changes = vec![
            (2, first.as_str(), metadata),
            (3, second.as_str(), metadata),
            (4, "spec/unit/a.service", Some(a.as_str())),
            (5, "spec/desired/a.service", Some(LAUNCHED)),
            (6, "spec/desired/b.service", Some(LAUNCHED)),
            (filed, "spec/unit/b.service", Some(b.as_str())),
            (40, "spec/target/a.service", Some(here.as_str())),
            (60, "spec/target/b.service", Some(here.as_str())),
        ];
        changes.sort_unstable_by_key(|(revision, ..)| *revision);
        ledger(&mut log, &changes);
        log
    }

    #[test]
    fn a_unit_goes_not_where_it_is_not_wanted_unless_that_was_said_just_now() {
        assert!(violated(&check(&in_conflict(7))).contains("a.service is, with which it is in conflict"));
        assert_eq!(check(&in_conflict(55)), Finding::Ok);
    }

    #[test]
    fn who_schedules_leads() {
        let led = |fence| {
            let mut log = fleet();
            let (key, here, file) = (machine_key(1), on(1), asks("OnPartition", "keep"));
            let changes = [
                (2, key.as_str(), Some("{}")),
                (4, "spec/unit/a.service", Some(file.as_str())),
                (5, "spec/desired/a.service", Some(LAUNCHED)),
                (8, "engine/7", Some("{}")),
                (9, "engine/8", Some("{}")),
                (20, "spec/target/a.service", Some(here.as_str())),
            ];
            ledger(&mut log, &changes);
            engine(&mut log, 800, 1, EngineWord::Leads(fence));
            engine(&mut log, 2_000, 1, wrote(20, &["a.service: schedule to m1"]));
            log
        };
        assert_eq!(check(&led(8)), Finding::Ok);
        assert!(violated(&check(&led(9))).contains("but the engine of revision 8 led"));
    }

    /// Three machines with a unit each; some go, and the unit of the second is moved.
    fn lost(gone: &[u32]) -> RunLog {
        let mut log = fleet();
        let (keys, homes): (Vec<String>, Vec<String>) = (1..=3).map(|at| (machine_key(at), on(at))).unzip();
        let file = asks("OnPartition", "keep");
        let names = ["a", "b", "c"];
        let mut changes: Vec<(i64, String, Option<&str>)> = Vec::new();
        for at in 0..3 {
            let name = names[at];
            changes.push((2, keys[at].clone(), Some("{}")));
            changes.push((3, format!("spec/unit/{name}.service"), Some(&file)));
            changes.push((4, format!("spec/desired/{name}.service"), Some(LAUNCHED)));
            changes.push((5, format!("spec/target/{name}.service"), Some(&homes[at])));
        }
        changes.sort_by_key(|(revision, ..)| *revision);
        changes.extend(gone.iter().map(|machine| (200, machine_key(*machine), None)));
        changes.push((300, "spec/target/b.service".to_owned(), Some(&homes[0])));
        let changes: Vec<(i64, &str, Option<&str>)> =
            changes.iter().map(|(revision, key, value)| (*revision, key.as_str(), *value)).collect();
        ledger(&mut log, &changes);
        log.units.engines.clear();
        engine(&mut log, 30_000, 1, wrote(300, &[]));
        log
    }

    #[test]
    fn where_most_machines_are_gone_their_units_stay() {
        // Nobody stood for election in these.
        let without_rule_one = |mut log: RunLog| {
            let ledger = &mut log.last.as_mut().unwrap().ledger;
            ledger.insert(
                0,
                crate::oracles::testing::event(EventKind::Put, "/_seatrial/fleet/engine/1", "{}", 1, 1),
            );
            log.units
                .engines
                .insert(0, EngineRecord { machine: 1, at: Duration::ZERO, what: EngineWord::Leads(1) });
            log
        };
        let sentence = check(&without_rule_one(lost(&[2, 3])));
        assert!(violated(&sentence).contains("although 2 of 3 machines were gone at once"));
        assert_eq!(check(&without_rule_one(lost(&[2]))), Finding::Ok);
    }

    #[test]
    fn what_could_stay_stays() {
        let mut log = lost(&[]);
        let ledger = &mut log.last.as_mut().unwrap().ledger;
        ledger.insert(
            0,
            crate::oracles::testing::event(EventKind::Put, "/_seatrial/fleet/engine/1", "{}", 1, 1),
        );
        log.units
            .engines
            .insert(0, EngineRecord { machine: 1, at: Duration::ZERO, what: EngineWord::Leads(1) });
        assert!(violated(&check(&log)).contains("where it could have stayed"));
    }
}
