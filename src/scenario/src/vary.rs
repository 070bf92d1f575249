//! Another plan like this one: what a search does with a run that went where none had been.

use crate::chance::Chance;
use crate::format::spec::{NemesisKind, Scenario, TIMES_WITHOUT_LIMIT, Target};
use crate::plan::{Plan, draw_faults, draw_knobs};
use crate::priorities::Priorities;
use crate::sites;
use seatrial_types::MemberId;
use std::time::Duration;

/// Changes made to one plan, at most.
const CHANGES_MAX: u64 = 4;
/// Faults in one plan, at most: beyond that a run shows little but faults.
const FAULTS_MAX: usize = 60;

/// The plan with a few of its choices made otherwise, and with another seed for its world. The same plan and seed give
/// the same again. Faults stay of the scenario's kinds and options, and begin within the storm; knobs come out of its
/// lists. Faults may come sooner than a nemesis would begin, and closer together.
#[must_use]
pub fn vary(plan: &Plan, seed: u64) -> Plan {
    let mut chance = Chance::stream(seed, "vary");
    let mut plan = plan.clone();
    plan.seed = seed;
    for _ in 0..=chance.below(CHANGES_MAX) {
        change(&mut plan, &mut chance);
    }
    plan.faults.sort_by_key(|fault| (fault.at, fault.ends));
    for (id, fault) in (0..).zip(&mut plan.faults) {
        fault.id = id;
    }
    plan
}

/// Scenarios that count their faults of a kind have a reason to; those are not made more, nor hit others.
fn is_counted(plan: &Plan, kind: NemesisKind) -> bool {
    let mut same = plan.scenario.nemeses.iter().filter(|nemesis| nemesis.kind == kind);
    same.any(|nemesis| nemesis.times < TIMES_WITHOUT_LIMIT)
}

/// A time is kept for what follows these.
fn stays(kind: NemesisKind) -> bool {
    matches!(kind, NemesisKind::LostMajority | NemesisKind::ValueDamage)
}

fn change(plan: &mut Plan, chance: &mut Chance) {
    let those = |plan: &Plan, wanted: &dyn Fn(NemesisKind) -> bool| -> Vec<usize> {
        (0..plan.faults.len()).filter(|at| wanted(plan.faults[*at].kind)).collect()
    };
    let movable = those(plan, &|kind| !stays(kind));
    let free = those(plan, &|kind| !stays(kind) && !is_counted(plan, kind));
    let storm = plan.scenario.time;
    match chance.below(8) {
        0 => {
            plan.knobs = draw_knobs(&plan.scenario, chance);
            let machines: Vec<MemberId> = plan.machines().collect();
            let Scenario { time, priorities, buggify, .. } = plan.scenario;
            let drawn = Priorities::draw(&machines, time, plan.knobs.election_timeout, chance);
            plan.priorities = drawn.filter(|_| priorities);
            let drawn = sites::draw(chance);
            plan.sites = if buggify { drawn } else { Vec::new() };
        }
        1 => shift_client(plan, chance),
        2 => add(plan, chance),
        3 if !movable.is_empty() => {
            plan.faults.remove(chance.pick(&movable));
        }
        4 if !movable.is_empty() => {
            // A little sooner or later: what it meets is another state.
            let fault = &mut plan.faults[chance.pick(&movable)];
            let lasts = fault.ends - fault.at;
            let by = chance.between(Duration::ZERO, Duration::from_secs(1));
            fault.at = if chance.one_in(2) { fault.at.saturating_sub(by) } else { fault.at + by };
            fault.at = fault.at.min(storm - Duration::from_millis(1));
            fault.ends = fault.at + lasts;
        }
        _ if free.is_empty() => {}
        5 => {
            // Once more, elsewhere.
            let mut again = plan.faults[chance.pick(&free)].clone();
            let lasts = again.ends - again.at;
            again.at = chance.between(Duration::ZERO, storm - Duration::from_millis(1));
            again.ends = again.at + lasts;
            let room = plan.faults.len() < FAULTS_MAX;
            plan.faults.extend(room.then_some(again));
        }
        6 => {
            let fault = &mut plan.faults[chance.pick(&free)];
            let lasts = fault.ends - fault.at;
            let lasts = if chance.one_in(2) { lasts / 3 } else { (lasts * 2).min(storm) };
            fault.ends = fault.at + lasts.max(Duration::from_millis(1));
        }
        _ => {
            let fault = &mut plan.faults[chance.pick(&free)];
            fault.order = chance.shuffled(&fault.order);
            fault.coin = chance.one_in(2);
            // Where the scenario leaves it open who is hit, whoever was drawn may be hit once more.
            if matches!(fault.target, Target::Random | Target::Leader | Target::Follower) {
                fault.target = chance.pick(&[Target::Random, Target::Leader, Target::Follower]);
            }
        }
    }
}

/// A client does everything a little later, so that its steps meet other faults.
fn shift_client(plan: &mut Plan, chance: &mut Chance) {
    if plan.clients.is_empty() {
        return;
    }
    let at = chance.below(plan.clients.len() as u64);
    let by = chance.between(Duration::ZERO, Duration::from_millis(500));
    let storm = plan.scenario.time;
    let client = &mut plan.clients[usize::try_from(at).expect("an index")];
    for step in &mut client.steps {
        step.at += by;
    }
    client.steps.retain(|step| step.at < storm);
}

/// One more fault of a kind that the scenario has, also where this seed's swarm had dropped it.
fn add(plan: &mut Plan, chance: &mut Chance) {
    let kinds: Vec<_> = plan
        .scenario
        .nemeses
        .iter()
        .filter(|nemesis| !stays(nemesis.kind) && !is_counted(plan, nemesis.kind))
        .collect();
    if kinds.is_empty() || plan.faults.len() >= FAULTS_MAX {
        return;
    }
    let members: Vec<MemberId> = plan.machines().collect();
    let nemesis = chance.pick(&kinds);
    let drawn = draw_faults(nemesis, &members, plan.scenario.time, chance);
    if !drawn.is_empty() {
        let fault = chance.pick(&drawn);
        plan.faults.push(fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORM: &str = "title = \"t\"\nwhy = \"w\"\nmembers = 3\ntime = \"20s\"\n\
        [[workload]]\nname = \"kv\"\n\
        [[nemesis]]\nname = \"kill\"\nevery = \"3s\"\nlasts = \"1s\"\n\
        [[nemesis]]\nname = \"power-loss\"\ntimes = 1\nalways = true\nstart = \"4s\"\n";

    fn storm(seed: u64) -> Plan {
        Plan::draw(&crate::format::parse("storm.toml", STORM).expect("a scenario"), seed)
    }

    #[test]
    fn the_same_seed_varies_alike_and_another_otherwise() {
        let plan = storm(1);
        assert_eq!(vary(&plan, 7), vary(&plan, 7));
        assert_ne!(vary(&plan, 7), vary(&plan, 8));
        assert_eq!(vary(&plan, 7).seed, 7);
    }

    #[test]
    fn a_variation_of_a_variation_stays_within_what_its_scenario_asks_for() {
        let mut changed = std::collections::BTreeSet::new();
        let mut plan = storm(1);
        for seed in 0..600 {
            let next = vary(&plan, seed);
            let count = |plan: &Plan, kind| plan.faults.iter().filter(|fault| fault.kind == kind).count();
            assert!(count(&next, NemesisKind::PowerLoss) <= 1, "seed {seed}: it was to come once");
            assert_eq!(
                next.faults.len(),
                count(&next, NemesisKind::PowerLoss) + count(&next, NemesisKind::Kill)
            );
            assert!(next.faults.len() <= FAULTS_MAX);
            assert!(next.faults.is_sorted_by_key(|fault| (fault.at, fault.ends)), "seed {seed}");
            assert!(
                next.faults.iter().all(|fault| fault.at < fault.ends),
                "seed {seed}: a fault without time"
            );
            assert!(
                next.faults.iter().all(|fault| fault.at < next.scenario.time),
                "seed {seed}: behind the storm"
            );
            assert!((0..).zip(&next.faults).all(|(id, fault)| fault.id == id), "seed {seed}");
            let last = next.clients.iter().flat_map(|client| &client.steps).map(|step| step.at).max();
            assert!(last < Some(next.scenario.time), "seed {seed}: a step behind the storm");
            if next.knobs != plan.knobs {
                changed.insert("knobs");
            }
            if next.clients != plan.clients {
                changed.insert("clients");
            }
            changed.insert(match next.faults.len().cmp(&plan.faults.len()) {
                std::cmp::Ordering::Less => "fewer faults",
                std::cmp::Ordering::Equal => "as many faults",
                std::cmp::Ordering::Greater => "more faults",
            });
            plan = if next.faults.is_empty() { storm(seed) } else { next };
        }
        assert_eq!(changed.len(), 5, "{changed:?}");
    }
}
