//! A failing plan made small: what is not needed for the failure goes, as long as the same property fails.
//!
//! Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002) over what a plan
//! says: clients, faults, their steps, members; then the delays of packets and disks, whom faults strike, times and
//! durations. What is left out changes everything that comes after it by chance, so a smaller plan gets more than one try,
//! with other seeds of the world.

mod passes;
mod search;
mod story;

pub use story::story;

use crate::format::spec::WorkloadKind;
use crate::plan::Plan;
use search::Search;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// How a plan is made small.
#[derive(Clone, Copy)]
pub struct Shrink<'a> {
    /// Whether a plan fails as the first one did. Called from several threads at once.
    pub fails: &'a (dyn Fn(&Plan) -> bool + Sync),
    /// Whether there is time for more.
    pub goes_on: &'a (dyn Fn() -> bool + Sync),
    /// Plans tried at one time.
    pub jobs: usize,
    /// When the first plan went wrong, where that is known: hardly anything behind that is needed.
    pub went_wrong: Option<Duration>,
}

impl fmt::Debug for Shrink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shrink").field("jobs", &self.jobs).finish_non_exhaustive()
    }
}

/// How large a plan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Bulk {
    /// Members at the beginning.
    pub members: u64,
    /// Faults.
    pub faults: usize,
    /// Clients that do something.
    pub clients: usize,
    /// What they do: operations, and whole lives of leases, locks and leaderships. Watching is none.
    pub operations: usize,
    /// The storm.
    pub time: Duration,
}

impl Bulk {
    /// Of a plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let acts = |kind: WorkloadKind| kind != WorkloadKind::Watch;
        let steps = plan.clients.iter().filter(|client| acts(client.spec.kind));
        Self {
            members: plan.scenario.members,
            faults: plan.faults.len(),
            clients: plan.clients.iter().filter(|client| !client.steps.is_empty()).count(),
            operations: steps.map(|client| client.steps.len()).sum(),
            time: plan.scenario.time,
        }
    }
}

impl fmt::Display for Bulk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { members, faults, clients, operations, time } = self;
        let count = |number: usize, what: &str| {
            if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
        };
        write!(
            f,
            "{members} members, {}, {} with {}, {:.1} s",
            count(*faults, "fault"),
            count(*clients, "client"),
            count(*operations, "operation"),
            time.as_secs_f64()
        )
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest plan that was found to fail.
    pub plan: Plan,
    /// Plans tried.
    pub runs: u64,
    /// Nothing is left that could be tried; otherwise the time was over.
    pub is_done: bool,
}

/// Makes a failing plan small. The answer fails as well: it is the plan itself where nothing can be left out.
#[must_use]
pub fn shrink(plan: &Plan, with: Shrink<'_>) -> Shrunk {
    let mut search = Search::new(plan.clone(), with);
    passes::all(&mut search, with.went_wrong);
    search.ended()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::parse;
    use crate::format::spec::{NemesisKind, OpKind, Target};
    use crate::plan::StepKind;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn plan(seed: u64) -> Plan {
        let text = "title = \"t\"\nwhy = \"w\"\nmembers = 5\ntime = \"30s\"\nswarm = false\n\
                    [[workload]]\nname = \"kv\"\nclients = 6\nthink = \"100ms\"\n\
                    [[workload]]\nname = \"watch\"\nclients = 2\n\
                    [[nemesis]]\nname = \"kill\"\ntarget = \"random\"\nevery = \"2s\"\nlasts = \"500ms\"\n\
                    [[nemesis]]\nname = \"pause\"\ntarget = \"random\"\nevery = \"3s\"\nlasts = \"1s\"\n";
        Plan::draw(&parse("t.toml", text).unwrap(), seed)
    }

    fn run(plan: &Plan, fails: &(dyn Fn(&Plan) -> bool + Sync)) -> Shrunk {
        assert!(fails(plan), "it does not fail to begin with");
        let shrunk = shrink(plan, Shrink { fails, goes_on: &|| true, jobs: 2, went_wrong: None });
        assert!(fails(&shrunk.plan), "what is left fails no more");
        assert!(shrunk.is_done);
        shrunk
    }

    /// A kill and after it a pause, and then a write and a read of the same key.
    fn needs_four_things(plan: &Plan) -> bool {
        let of = |kind| plan.faults.iter().filter(move |fault| fault.kind == kind);
        let Some(kill) = of(NemesisKind::Kill).map(|fault| fault.at).min() else { return false };
        let Some(pause) = of(NemesisKind::Pause).map(|fault| fault.at).filter(|at| *at > kill).min() else {
            return false;
        };
        let steps = || {
            let steps = plan.clients.iter().flat_map(|client| &client.steps);
            steps.filter(|step| step.at > pause && step.at < plan.scenario.time)
        };
        steps().any(|put| {
            let StepKind::Kv { op: OpKind::Put, key: written, .. } = put.what else { return false };
            steps().any(|get| {
                get.at > put.at
                    && matches!(get.what, StepKind::Kv { op: OpKind::Get, key, .. } if key == written)
            })
        })
    }

    #[test]
    fn what_is_not_needed_goes_and_what_is_needed_stays() {
        for seed in 1..6 {
            let plan = plan(seed);
            let before = Bulk::of(&plan);
            assert!(before.faults > 10 && before.operations > 500, "{before}");
            let shrunk = run(&plan, &needs_four_things);
            let after = Bulk::of(&shrunk.plan);
            assert_eq!((after.faults, after.operations), (2, 2), "{after}");
            assert_eq!(after.members, 3, "{after}");
            assert!(after.time < Duration::from_secs(10), "{after}");
            assert!(shrunk.runs < 2_000, "{} runs", shrunk.runs);
        }
    }

    #[test]
    fn a_failure_that_needs_nothing_leaves_nothing_and_one_that_needs_all_leaves_all() {
        let all = plan(1);
        let shrunk = run(&all, &|_| true);
        assert_eq!((Bulk::of(&shrunk.plan).faults, Bulk::of(&shrunk.plan).operations), (0, 0));
        let shrunk = run(&all, &|plan| *plan == all);
        assert_eq!(shrunk.plan, all);
    }

    #[test]
    fn a_failure_that_comes_by_chance_is_tried_with_other_seeds() {
        for seed in 1..6 {
            let all = plan(seed);
            let chance = |plan: &Plan| {
                (plan.seed + 7 * plan.faults.len() as u64 + Bulk::of(plan).operations as u64) % 3
            };
            let first = chance(&all);
            // Whatever is left out, one seed in three fails.
            let shrunk = run(&all, &|plan| needs_four_things(plan) && chance(plan) == first);
            let after = Bulk::of(&shrunk.plan);
            assert_eq!((after.faults, after.operations), (2, 2), "seed {seed}: {after}");
        }
    }

    #[test]
    fn what_comes_after_it_went_wrong_goes_first() {
        let all = plan(3);
        let seen = std::sync::Mutex::new(Vec::new());
        let fails = |plan: &Plan| {
            seen.lock().unwrap().push(plan.scenario.time);
            needs_four_things(plan)
        };
        let went_wrong = Some(Duration::from_secs(12));
        let _ = shrink(&all, Shrink { fails: &fails, goes_on: &|| true, jobs: 1, went_wrong });
        assert!(seen.into_inner().unwrap()[..2].iter().all(|time| *time < Duration::from_secs(14)));
    }

    #[test]
    fn a_small_plan_is_told_in_order_of_time() {
        let shrunk = run(&plan(2), &needs_four_things);
        let told = story(&shrunk.plan);
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 6, "{told}");
        let place = |what: &str| lines.iter().position(|line| line.contains(what)).expect(what);
        let order =
            ["3 members", "kill of member", "pause of member", ": put k", ": get k", "all faults end"];
        assert!(order.map(place).is_sorted(), "{told}");
    }

    #[test]
    fn whom_faults_strike_and_delays_that_vary_are_told_apart_only_where_it_matters() {
        let shrunk = run(&plan(2), &needs_four_things).plan;
        assert!(shrunk.knobs.still);
        assert!(shrunk.faults.iter().all(|fault| matches!(fault.target, Target::Member(_))), "{shrunk:?}");
        let varies = |plan: &Plan| needs_four_things(plan) && !plan.knobs.still;
        assert!(!run(&plan(2), &varies).plan.knobs.still);
        let mut all = plan(2);
        all.faults.iter_mut().for_each(|fault| fault.target = Target::Leader);
        let leader = |plan: &Plan| {
            needs_four_things(plan) && plan.faults.iter().all(|fault| fault.target == Target::Leader)
        };
        assert_eq!(run(&all, &leader).plan.faults[0].target, Target::Leader);
        all.faults.iter_mut().for_each(|fault| fault.target = Target::All);
        let many = |plan: &Plan| {
            let strikes_many = |target| matches!(target, Target::All | Target::Majority);
            needs_four_things(plan) && plan.faults.iter().all(|fault| strikes_many(fault.target))
        };
        assert_eq!(run(&all, &many).plan.faults[0].target, Target::Majority);
    }

    #[test]
    fn it_ends_when_the_time_is_over_with_the_smallest_so_far() {
        let all = plan(1);
        let left = AtomicU64::new(25);
        let goes_on =
            || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let shrunk =
            shrink(&all, Shrink { fails: &needs_four_things, goes_on: &goes_on, jobs: 1, went_wrong: None });
        assert!(!shrunk.is_done);
        assert!(needs_four_things(&shrunk.plan));
        assert!(Bulk::of(&shrunk.plan) < Bulk::of(&all), "{}", Bulk::of(&shrunk.plan));
    }
}
