//! The driver: takes the next plan, plays it, enters it into the books, until it is told to end.

use super::book::Ended;
use super::{Campaign, SmallFailure};
use crate::batch::{Stage, run_one};
use crate::chance::Chance;
use crate::format::spec::{Scenario, VerdictKind};
use crate::judge::Judgement;
use crate::novelty;
use crate::plan::Plan;
use crate::record::RunLog;
use crate::signature::Signature;
use crate::vary::vary;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Plans that are kept to be varied. The oldest go first: what they brought, others have had since.
const CORPUS_MAX: usize = 500;

/// How far a campaign goes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Runs at one time.
    pub jobs: usize,
    /// So many runs of 100 are variations of earlier ones, once there is something to vary.
    pub vary_percent: u32,
    /// No run begins after so much time; `None`: until the seeds are done.
    pub time: Option<Duration>,
    /// No run begins after so many different failures.
    pub failures_max: Option<usize>,
}

/// What becomes of a failure that no run before had.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// The run's folder, below the campaign's.
    pub folder: Option<String>,
    /// Made small.
    pub small: Option<SmallFailure>,
    /// What could not be done.
    pub trouble: Option<String>,
}

/// Keeps a failure: its signature, its plan, and what it left behind.
pub type Keep<'a> = dyn Fn(&Signature, &Plan, Option<&RunLog>, &Judgement) -> Kept + Sync + 'a;

/// What the driver asks its caller for.
pub struct Hooks<'a> {
    /// Time since the campaign's beginning, with what it took before it was interrupted.
    pub now: &'a (dyn Fn() -> Duration + Sync),
    /// Somebody wants it to end.
    pub is_over: &'a (dyn Fn() -> bool + Sync),
    /// A run failed as none before. `None` for the log where the testbed itself broke.
    pub failed: &'a Keep<'a>,
    /// This plan is worth varying.
    pub is_new: &'a (dyn Fn(&Plan) + Sync),
    /// After each run.
    pub progress: &'a (dyn Fn(&Campaign) + Sync),
}

/// What the threads share.
struct Shared {
    campaign: Campaign,
    /// Places given out, at or behind `campaign.done`.
    next: u64,
    /// Variations given out.
    variations: u64,
    given: u64,
    corpus: Vec<Kin>,
    /// Variations that failed and of which the books know nothing, since the campaign was killed while they were kept.
    unfinished: VecDeque<Arc<Plan>>,
    /// Plans of earlier campaigns, which are played first.
    again: VecDeque<Arc<Plan>>,
    /// Failures that a thread is about to keep.
    kept: BTreeSet<String>,
}

/// A plan to vary.
struct Kin {
    plan: Arc<Plan>,
    features: BTreeSet<u64>,
}

enum Task {
    Fresh { place: u64, seed: u64, scenario: usize },
    Vary { of: Arc<Plan>, seed: u64 },
    Again(Arc<Plan>),
}

/// Runs the campaign on, until a limit is reached. The plans of `unfinished` and of `corpus` are played first, in this
/// order, and those of `corpus` are varied like those that the campaign finds worth it. Of `unfinished` only variations
/// are played: seeds that were on their way are run again by themselves.
#[must_use]
pub fn fuzz(
    stage: &dyn Stage,
    scenarios: &[Scenario],
    campaign: Campaign,
    unfinished: Vec<Plan>,
    corpus: Vec<Plan>,
    limits: Limits,
    hooks: &Hooks<'_>,
) -> Campaign {
    let next = campaign.done;
    let shared = Mutex::new(Shared {
        variations: campaign.varied.runs,
        given: campaign.runs(),
        next,
        campaign,
        corpus: Vec::new(),
        unfinished: unfinished.into_iter().filter(is_variation).map(Arc::new).collect(),
        again: corpus.into_iter().take(CORPUS_MAX).map(Arc::new).collect(),
        kept: BTreeSet::new(),
    });
    let work = || {
        loop {
            let task = {
                let mut shared = shared.lock().expect("no holder panics");
                let found = shared.campaign.failures.len();
                let is_over = (hooks.is_over)()
                    || limits.time.is_some_and(|time| (hooks.now)() >= time)
                    || limits.failures_max.is_some_and(|most| found >= most);
                if is_over { None } else { shared.take(limits.vary_percent) }
            };
            let Some(task) = task else { return };
            play(stage, scenarios, task, &shared, hooks);
        }
    };
    #[allow(clippy::disallowed_methods, reason = "runs are spread over threads outside of any world")]
    std::thread::scope(|scope| {
        for _ in 0..limits.jobs.max(1) {
            scope.spawn(work);
        }
    });
    let mut campaign = shared.into_inner().expect("no holder panics").campaign;
    campaign.wall_seconds = (hooks.now)().as_secs_f64();
    campaign
}

/// No seed draws it.
fn is_variation(plan: &Plan) -> bool {
    Plan::draw(&plan.scenario, plan.seed) != *plan
}

impl Shared {
    fn take(&mut self, vary_percent: u32) -> Option<Task> {
        if let Some(plan) = self.unfinished.pop_front() {
            self.given += 1;
            self.variations += 1;
            return Some(Task::Again(plan));
        }
        if vary_percent > 0
            && let Some(plan) = self.again.pop_front()
        {
            self.given += 1;
            self.variations += 1;
            return Some(Task::Again(plan));
        }
        let wanted = (self.variations + 1) * 100 <= (self.given + 1) * u64::from(vary_percent);
        if wanted && let Some(of) = self.pick() {
            self.given += 1;
            self.variations += 1;
            // Far from the seeds that people count up from.
            let asked = &self.campaign.asked;
            let name = format!("variation {} of shard {}", self.variations, asked.shard);
            let seed = (1 << 62) + Chance::stream(asked.from, &name).below(1 << 62);
            return Some(Task::Vary { of, seed });
        }
        // What an earlier part of the campaign did out of order is done, and counted as soon as all before it is.
        self.next = self.next.max(self.campaign.done);
        while self.campaign.ahead.contains(&self.next) {
            self.next += 1;
        }
        let (seed, scenario) = self.campaign.item(self.next)?;
        let place = self.next;
        self.next += 1;
        self.given += 1;
        Some(Task::Fresh { place, seed, scenario })
    }

    /// The rarer a plan's rarest feature, the more often it is varied.
    fn pick(&self) -> Option<Arc<Plan>> {
        let name = format!("pick {}", self.variations);
        let mut chance = Chance::stream(self.campaign.asked.from, &name);
        let weights: Vec<(usize, u32)> = self
            .corpus
            .iter()
            .enumerate()
            .map(|(at, kin)| {
                let times = |feature| self.campaign.features.get(feature).copied().unwrap_or(0);
                let rarest = kin.features.iter().map(times).min().unwrap_or(0);
                (at, u32::try_from(1_000_000 / (1 + rarest)).expect("at most a million"))
            })
            .collect();
        chance.weighted(&weights).map(|at| self.corpus[at].plan.clone())
    }
}

fn play(stage: &dyn Stage, scenarios: &[Scenario], task: Task, shared: &Mutex<Shared>, hooks: &Hooks<'_>) {
    let (plan, place) = match task {
        Task::Fresh { place, seed, scenario } => (Plan::draw(&scenarios[scenario], seed), Some(place)),
        Task::Vary { of, seed } => (vary(&of, seed), None),
        Task::Again(plan) => (Plan::clone(&plan), None),
    };
    let (summary, log, judgement) = run_one(stage, &plan);
    let features = log.as_ref().map(novelty::features).unwrap_or_default();
    let faults = log.iter().flat_map(|log| &log.faults).map(|fault| fault.kind.clone()).collect();
    let seconds = (hooks.now)().as_secs_f64();
    let (signature, is_new) = {
        let mut shared = shared.lock().expect("no holder panics");
        let signature = shared.campaign.signature_of(&summary).filter(|signature| {
            let id = signature.id();
            !shared.campaign.failures.contains_key(&id) && shared.kept.insert(id)
        });
        let known = &shared.campaign.features;
        let is_new = summary.verdict != VerdictKind::HarnessError
            && features.iter().any(|feature| !known.contains_key(feature));
        (signature, is_new)
    };
    // Everything is kept before the books tell of the run: who is killed meanwhile runs it again, and keeps it then.
    let kept = signature.map(|signature| (hooks.failed)(&signature, &plan, log.as_ref(), &judgement));
    drop(log);
    if is_new {
        (hooks.is_new)(&plan);
    }
    let mut shared = shared.lock().expect("no holder panics");
    let varied = place.is_none();
    let ended = Ended { summary: &summary, faults, features: &features, varied, seconds, kept };
    let news = shared.campaign.enter(ended);
    if is_new && news.features > 0 {
        if shared.corpus.len() >= CORPUS_MAX {
            shared.corpus.remove(0);
        }
        shared.corpus.push(Kin { plan: Arc::new(plan), features });
    }
    if let Some(place) = place {
        shared.campaign.close(place);
    }
    shared.campaign.wall_seconds = (hooks.now)().as_secs_f64();
    (hooks.progress)(&shared.campaign);
}

#[cfg(test)]
mod tests {
    use super::super::{Asked, Shard};
    use super::*;
    use crate::observation::Observation;
    use crate::oracles::testing::saw;
    use seatrial_types::{LogIndex, Term};
    use std::sync::atomic::{AtomicU64, Ordering};

    const SCENARIO: &str = "title = \"t\"\nwhy = \"w\"\nmembers = 3\ntime = \"5s\"\n\
        [[workload]]\nname = \"kv\"\n[[nemesis]]\nname = \"kill\"\n[expect]\noracles = [\"no-panic\"]\n";

    /// Runs in which nothing happens but what the seed says.
    struct Hand {
        ran: Mutex<Vec<u64>>,
        /// Seeds that panic.
        fails: fn(&Plan) -> bool,
    }

    impl Stage for Hand {
        fn world(&self) -> &str {
            "hand"
        }

        fn run(&self, plan: &Plan) -> RunLog {
            self.ran.lock().unwrap().push(plan.seed);
            let mut log = RunLog::new(plan.clone());
            let started = Observation::Started { term: Term(1), applied: LogIndex(0) };
            let compacted = Observation::LogCompacted { index: LogIndex(1) };
            saw(&mut log, 1, 1, 0, started);
            if plan.seed % 4 == 3 {
                saw(&mut log, 2, 1, 0, compacted);
            }
            if (self.fails)(plan) {
                log.panics.push((None, format!("at seed {}", plan.seed)));
            }
            log
        }
    }

    struct Told {
        failures: Mutex<Vec<String>>,
        news: AtomicU64,
    }

    fn campaign(to: Option<u64>) -> (Vec<Scenario>, Campaign) {
        let scenarios = vec![crate::format::parse("hand.toml", SCENARIO).expect("a scenario")];
        let asked = Asked::new(&scenarios, 1, to, Shard::WHOLE);
        let campaign = Campaign::new(&scenarios, asked);
        (scenarios, campaign)
    }

    fn run(
        stage: &Hand,
        campaign: Campaign,
        scenarios: &[Scenario],
        limits: Limits,
        runs_max: usize,
    ) -> (Campaign, Told) {
        let told = Told { failures: Mutex::default(), news: AtomicU64::new(0) };
        let hooks = Hooks {
            now: &|| Duration::from_secs(1),
            is_over: &|| stage.ran.lock().unwrap().len() >= runs_max,
            failed: &|signature, _, _, _| {
                told.failures.lock().unwrap().push(signature.id());
                Kept { folder: Some("there".to_owned()), small: None, trouble: None }
            },
            is_new: &|_| {
                told.news.fetch_add(1, Ordering::SeqCst);
            },
            progress: &|_| {},
        };
        (fuzz(stage, scenarios, campaign, Vec::new(), Vec::new(), limits, &hooks), told)
    }

    const ALONE: Limits = Limits { jobs: 1, vary_percent: 0, time: None, failures_max: None };

    fn hand(fails: fn(&Plan) -> bool) -> Hand {
        Hand { ran: Mutex::default(), fails }
    }

    #[test]
    fn every_seed_is_run_once_whatever_the_number_of_threads_and_interruptions() {
        let (scenarios, begun) = campaign(Some(31));
        let stage = hand(|_| false);
        let limits = Limits { jobs: 3, ..ALONE };
        let (half, _) = run(&stage, begun, &scenarios, limits, 11);
        assert!(!half.is_done(), "it was interrupted");
        // What is stored and read again is what goes on.
        let half: Campaign = serde_json::from_str(&serde_json::to_string(&half).unwrap()).unwrap();
        let (whole, _) = run(&stage, half, &scenarios, limits, usize::MAX);
        assert!(whole.is_done());
        let mut ran = stage.ran.into_inner().unwrap();
        ran.sort_unstable();
        assert_eq!(ran, (1..31).collect::<Vec<_>>());
        assert_eq!((whole.runs(), whole.verdict()), (30, VerdictKind::Pass));
    }

    #[test]
    fn what_was_done_out_of_order_before_a_kill_is_not_run_again() {
        let (scenarios, mut begun) = campaign(Some(6));
        begun.close(1);
        begun.close(3);
        let stage = hand(|_| false);
        let (ended, _) = run(&stage, begun, &scenarios, ALONE, usize::MAX);
        assert_eq!(stage.ran.into_inner().unwrap(), [1, 3, 5]);
        assert!(ended.is_done());
    }

    #[test]
    fn what_is_done_already_is_given_to_nobody_while_others_are_on_their_way() {
        let (_, mut campaign) = campaign(Some(6));
        campaign.close(1);
        let (corpus, again, kept) = (Vec::new(), VecDeque::new(), BTreeSet::new());
        let unfinished = VecDeque::new();
        let mut shared =
            Shared { campaign, next: 0, variations: 0, given: 0, corpus, unfinished, again, kept };
        let mut place = || match shared.take(0) {
            Some(Task::Fresh { place, .. }) => Some(place),
            _ => None,
        };
        assert_eq!([place(), place(), place()], [Some(0), Some(2), Some(3)]);
    }

    #[test]
    fn a_failure_is_told_once_and_what_was_kept_of_it_is_remembered() {
        let (scenarios, begun) = campaign(Some(21));
        let stage = hand(|plan| plan.seed % 5 == 0);
        let (ended, told) = run(&stage, begun, &scenarios, ALONE, usize::MAX);
        assert_eq!(told.failures.into_inner().unwrap().len(), 1);
        let failure = ended.failures.values().next().expect("one");
        assert_eq!((failure.times, failure.seed, failure.after_runs), (4, 5, 5));
        assert_eq!(failure.folder.as_deref(), Some("there"));
    }

    #[test]
    fn it_ends_after_as_many_failures_as_were_asked_for() {
        let (scenarios, begun) = campaign(None);
        let stage = hand(|plan| plan.seed == 7);
        let (ended, _) = run(&stage, begun, &scenarios, Limits { failures_max: Some(1), ..ALONE }, 1000);
        assert_eq!(ended.runs(), 7);
    }

    #[test]
    fn it_ends_when_its_time_is_over() {
        let (scenarios, begun) = campaign(None);
        let stage = hand(|_| false);
        let limits = Limits { time: Some(Duration::from_secs(1)), ..ALONE };
        assert_eq!(run(&stage, begun, &scenarios, limits, 1000).0.runs(), 0);
    }

    #[test]
    fn what_was_new_is_varied_and_what_a_variation_fails_with_is_said_to_be_one() {
        let (scenarios, begun) = campaign(None);
        let stage = hand(|plan| plan.seed >= 1 << 62);
        let limits = Limits { vary_percent: 50, ..ALONE };
        let (ended, told) = run(&stage, begun, &scenarios, limits, 20);
        assert_eq!((ended.fresh.runs, ended.varied.runs), (10, 10));
        // Seed 1 brings the start, seed 3 (or a variation that ends on 3 modulo 4) the compaction.
        assert_eq!(told.news.into_inner(), 2);
        assert_eq!(ended.fresh.features + ended.varied.features, ended.features.len() as u64);
        assert!(ended.failures.values().all(|failure| failure.varied));
        assert_eq!(ended.failures.len(), 1);
    }

    #[test]
    fn a_variation_that_failed_and_was_not_entered_is_played_again_and_a_seed_is_not() {
        let (scenarios, begun) = campaign(Some(3));
        let stage = hand(|plan| plan.seed > 500);
        let drawn = Plan::draw(&scenarios[0], 700);
        let mut varied = Plan::draw(&scenarios[0], 701);
        varied.core = vec![seatrial_types::MemberId(1)];
        let hooks = Hooks {
            now: &|| Duration::ZERO,
            is_over: &|| false,
            failed: &|_, _, _, _| Kept { folder: Some("there".to_owned()), ..Kept::default() },
            is_new: &|_| {},
            progress: &|_| {},
        };
        let ended = fuzz(&stage, &scenarios, begun, vec![drawn, varied], Vec::new(), ALONE, &hooks);
        assert_eq!(stage.ran.into_inner().unwrap(), [701, 1, 2]);
        let [failure] = ended.failures.values().collect::<Vec<_>>()[..] else { panic!("not one failure") };
        assert_eq!((failure.seed, failure.varied, failure.folder.as_deref()), (701, true, Some("there")));
        assert_eq!((ended.varied.runs, ended.fresh.runs), (1, 2));
    }

    #[test]
    fn plans_of_an_earlier_campaign_are_played_first_where_anything_is_varied() {
        let (scenarios, begun) = campaign(None);
        let corpus: Vec<Plan> = [700, 701].map(|seed| Plan::draw(&scenarios[0], seed)).into();
        let play = |vary_percent| {
            let stage = hand(|_| false);
            let hooks = Hooks {
                now: &|| Duration::ZERO,
                is_over: &|| stage.ran.lock().unwrap().len() >= 4,
                failed: &|_, _, _, _| Kept::default(),
                is_new: &|_| {},
                progress: &|_| {},
            };
            let limits = Limits { vary_percent, ..ALONE };
            let ended = fuzz(&stage, &scenarios, begun.clone(), Vec::new(), corpus.clone(), limits, &hooks);
            (stage.ran.into_inner().unwrap(), ended)
        };
        let (ran, ended) = play(50);
        assert_eq!(ran[..2], [700, 701]);
        assert_eq!(
            (ended.varied.runs, ended.done),
            (2, 2),
            "they count as variations, and no seed is left out"
        );
        assert_eq!(play(0).0, [1, 2, 3, 4], "just the seeds that were asked for");
    }
}
