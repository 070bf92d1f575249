//! The same past, another future: a run that has reached something rare goes on from there in other ways.
//!
//! A branch is a plan. Up to its fork it says what its parent says, behind it what another seed would; and at the fork the
//! world draws from other dice. A world that keeps to its plan (the lab; see its `reseed`) therefore has gone exactly the
//! parent's way when it comes to the fork, and whoever wants to see a branch again needs no more than the line that names
//! the seed and the forks.

use crate::chance::Chance;
use crate::format::spec::{GoalKind, NemesisKind, TIMES_WITHOUT_LIMIT};
use crate::plan::{ClientPlan, Plan};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// A moment from which on all is drawn anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fork {
    /// World time.
    pub at: Duration,
    /// With what.
    pub seed: u64,
}

impl fmt::Display for Fork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ns:{}", self.at.as_nanos(), self.seed)
    }
}

/// Not a fork.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no fork\nhint: a moment in nanoseconds and a seed, as a run prints it: 12345678901ns:42")]
pub struct ForkError(String);

impl FromStr for Fork {
    type Err = ForkError;

    fn from_str(text: &str) -> Result<Self, ForkError> {
        let parts = text.split_once(':').and_then(|(at, seed)| {
            let nanos: u64 = at.strip_suffix("ns")?.parse().ok()?;
            Some(Self { at: Duration::from_nanos(nanos), seed: seed.parse().ok()? })
        });
        parts.ok_or_else(|| ForkError(text.to_owned()))
    }
}

/// A client with this one's past and that one's future.
fn spliced(past: &ClientPlan, future: Option<&ClientPlan>, at: Duration) -> ClientPlan {
    let mut client = past.clone();
    // A swarm may have left out what the other does: then it goes on as it would have.
    if let Some(future) = future.filter(|future| future.spec == past.spec) {
        client.steps.retain(|step| step.at < at);
        client.steps.extend(future.steps.iter().filter(|step| step.at >= at));
    }
    client
}

/// The plan up to the fork, and behind it what its scenario would be with the fork's seed. A script says what happens, and
/// only the world's chance is another.
#[must_use]
pub fn branch(plan: &Plan, fork: Fork) -> Plan {
    let mut branch = plan.clone();
    branch.forks.push(fork);
    if plan.scenario.script.is_some() {
        return branch;
    }
    let other = Plan::draw(&plan.scenario, fork.seed);
    // What a scenario counts, it has a reason to.
    let counted = |kind: NemesisKind| {
        let mut same = plan.scenario.nemeses.iter().filter(|nemesis| nemesis.kind == kind);
        matches!(kind, NemesisKind::LostMajority | NemesisKind::ValueDamage)
            || same.any(|nemesis| nemesis.times < TIMES_WITHOUT_LIMIT)
    };
    branch.faults.retain(|fault| fault.at < fork.at || counted(fault.kind));
    let future = other.faults.into_iter().filter(|fault| fault.at >= fork.at && !counted(fault.kind));
    branch.faults.extend(future);
    branch.faults.sort_by_key(|fault| (fault.at, fault.ends));
    // Those of the past keep their numbers, for they come first.
    for (id, fault) in (0..).zip(&mut branch.faults) {
        fault.id = id;
    }
    branch.clients = plan
        .clients
        .iter()
        .map(|client| {
            let same = other.clients.iter().find(|other| other.machine == client.machine);
            spliced(client, same, fork.at)
        })
        .collect();
    branch
}

/// So often a run is branched where it was the first to reach something, …
const ENERGY: u32 = 24;
/// … and so often where others had reached it before, but not many.
const ENERGY_AGAIN: u32 = 6;
/// What more runs than this have reached is nothing rare.
const RARE: u64 = 12;
/// How often one run's past is gone on from at most.
const FORKS_MAX: usize = 4;

/// Where runs of a search are worth going on from.
#[derive(Debug, Default)]
pub struct Branches {
    /// How many runs reached a goal.
    reached: BTreeMap<GoalKind, u64>,
    places: Vec<Place>,
    given: u64,
    branched: u64,
}

#[derive(Debug)]
struct Place {
    plan: Arc<Plan>,
    goal: GoalKind,
    at: Duration,
    left: u32,
    index: u64,
}

impl Branches {
    /// The next run is a branch, so many times in 100, where there is something to go on from; otherwise `None`.
    pub fn next(&mut self, percent: u32, from: u64) -> Option<Plan> {
        self.given += 1;
        if (self.branched + 1) * 100 > self.given * u64::from(percent) {
            return None;
        }
        self.places.retain(|place| place.left > 0);
        // The rarer what was reached, the sooner it is gone on from.
        let weights: Vec<(usize, u32)> = self
            .places
            .iter()
            .enumerate()
            .map(|(at, place)| {
                let times = self.reached.get(&place.goal).copied().unwrap_or(1).clamp(1, 1000);
                (at, u32::try_from(10_000 / times).expect("at most ten thousand"))
            })
            .collect();
        let mut chance = Chance::stream(from, &format!("branch {}", self.branched));
        let place = &mut self.places[chance.weighted(&weights)?];
        self.branched += 1;
        place.left -= 1;
        place.index += 1;
        let past: Vec<String> = place.plan.forks.iter().map(Fork::to_string).collect();
        let parent =
            format!("{} {} {} {}", past.join(" "), place.goal, place.index, place.plan.scenario.name);
        let seed = Chance::stream(place.plan.seed, &parent).below(1 << 62);
        Some(branch(&place.plan, Fork { at: place.at, seed }))
    }

    /// A run has reached these goals, each for the first time at its moment.
    pub fn learn(&mut self, plan: &Plan, reached: &[(GoalKind, Duration)]) {
        let last = plan.forks.last().map_or(Duration::ZERO, |fork| fork.at);
        for (goal, at) in reached {
            let times = self.reached.entry(*goal).or_default();
            *times += 1;
            let is_past = *at >= plan.scenario.time || *at <= last;
            if *times > RARE || is_past || plan.forks.len() >= FORKS_MAX {
                continue;
            }
            let left = if *times == 1 { ENERGY } else { ENERGY_AGAIN };
            let plan = Arc::new(plan.clone());
            self.places.push(Place { plan, goal: *goal, at: *at, left, index: 0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64) -> Plan {
        let text = "title = \"t\"\nwhy = \"w\"\ntime = \"30s\"\nswarm = false\n\
                    [[workload]]\nname = \"kv\"\nclients = 3\n\
                    [[nemesis]]\nname = \"kill\"\nevery = \"3s\"\n\
                    [[nemesis]]\nname = \"pause\"\ntimes = 2\n";
        Plan::draw(&crate::format::parse("t.toml", text).expect("a scenario"), seed)
    }

    #[test]
    fn a_branch_has_its_parents_past_and_another_future() {
        let (parent, at) = (plan(1), Duration::from_secs(12));
        let one = branch(&parent, Fork { at, seed: 9 });
        let past = |plan: &Plan| {
            let faults: Vec<_> = plan.faults.iter().filter(|fault| fault.at < at).cloned().collect();
            let steps: Vec<_> = plan
                .clients
                .iter()
                .map(|client| client.steps.iter().filter(|step| step.at < at).copied().collect::<Vec<_>>())
                .collect();
            (faults, steps, plan.knobs.clone(), plan.seed)
        };
        assert_eq!(past(&one), past(&parent));
        assert_ne!(one.faults, parent.faults);
        assert_ne!(one.clients, parent.clients);
        let pauses = |plan: &Plan| {
            let pauses = plan.faults.iter().filter(|fault| fault.kind == NemesisKind::Pause);
            pauses.map(|fault| fault.at).collect::<Vec<_>>()
        };
        assert_eq!(pauses(&one), pauses(&parent), "two were asked for, and stay where they are");
        assert_eq!(one, branch(&parent, Fork { at, seed: 9 }));
        assert_ne!(one, branch(&parent, Fork { at, seed: 10 }));
        let again = branch(&one, Fork { at: at * 2, seed: 3 });
        assert_eq!(again.forks, [Fork { at, seed: 9 }, Fork { at: at * 2, seed: 3 }]);
    }

    #[test]
    fn what_is_rare_is_gone_on_from_more_often_and_not_without_end() {
        let mut branches = Branches::default();
        assert_eq!(branches.next(50, 1), None, "there is nothing to go on from");
        let at = Duration::from_secs(10);
        branches.learn(&plan(1), &[(GoalKind::LeaderChanged, at)]);
        branches.learn(&plan(2), &[(GoalKind::LeaderChanged, at), (GoalKind::SnapshotInstalled, at * 4)]);
        let drawn: Vec<Plan> = std::iter::from_fn(|| branches.next(100, 1)).take(100).collect();
        assert_eq!(
            drawn.len(),
            usize::try_from(ENERGY + ENERGY_AGAIN).unwrap(),
            "beyond the storm is too late"
        );
        assert!(drawn.iter().all(|plan| plan.forks.len() == 1 && plan.forks[0].at == at));
        let seeds: std::collections::BTreeSet<u64> = drawn.iter().map(|plan| plan.forks[0].seed).collect();
        assert_eq!(seeds.len(), drawn.len(), "each goes another way");
        for _ in 0..RARE {
            branches.learn(&plan(3), &[(GoalKind::LeaderChanged, at)]);
        }
        let left = branches.places.len();
        branches.learn(&plan(4), &[(GoalKind::LeaderChanged, at)]);
        assert_eq!(branches.places.len(), left, "everybody gets there");
    }

    #[test]
    fn a_fork_is_read_as_it_is_printed() {
        let fork = Fork { at: Duration::new(12, 345_678_901), seed: 42 };
        assert_eq!(fork.to_string(), "12345678901ns:42");
        assert_eq!("12345678901ns:42".parse(), Ok(fork));
        for wrong in ["12s:42", "12ns", "ns:1", "1ns:-1", ""] {
            let error = wrong.parse::<Fork>().unwrap_err().to_string();
            assert!(error.contains("\nhint: ") && error.contains(&format!("{wrong:?}")), "{error}");
        }
    }
}
