//! A campaign: scenarios run over ever new seeds, and over variations of those that went where none had been.
//!
//! Everything known of one is a [`Campaign`], a plain value that is stored again and again: whoever interrupts one goes on
//! where it was, and the campaigns of several machines are one once they are merged ([`merge`]). What fails alike
//! ([`Signature`]) is one failure, however often it comes.

mod book;
mod fuzz;
mod grown;
mod merge;
mod to_page;

pub use fuzz::{Hooks, Keep, Kept, Limits, fuzz};
pub use merge::{MergeError, merge};
pub use to_page::to_page;

use crate::batch::{GOAL_SEEDS_MIN, replay_command};
use crate::format::spec::{GoalKind, Scenario, VerdictKind};
use crate::signature::Signature;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The version of stored campaigns.
pub const CAMPAIGN_FORMAT: u32 = 1;

/// A part of a campaign, for one of several machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// From 1.
    pub index: u32,
    /// How many there are.
    pub of: u32,
}

impl Shard {
    /// All of it.
    pub const WHOLE: Self = Self { index: 1, of: 1 };
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// What a campaign was asked for. Only the same is gone on with, or merged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Names of the scenarios, in order.
    pub scenarios: Vec<String>,
    /// A digest of all they say.
    pub digest: String,
    /// The first seed.
    pub from: u64,
    /// The seed behind the last; `None`: there is always another.
    pub to: Option<u64>,
    /// Which part of the seeds.
    pub shard: Shard,
    /// In which world.
    #[serde(default = "usual_world")]
    pub world: String,
}

fn usual_world() -> String {
    "sim".to_owned()
}

impl Asked {
    /// For these scenarios.
    #[must_use]
    pub fn new(scenarios: &[Scenario], from: u64, to: Option<u64>, shard: Shard) -> Self {
        let text = serde_json::to_string(scenarios).expect("a scenario is plain data");
        let hash = text
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        let names = scenarios.iter().map(|scenario| scenario.name.clone()).collect();
        let world = usual_world();
        Self { scenarios: names, digest: format!("{hash:016x}"), from, to, shard, world }
    }

    /// The same, in this world.
    #[must_use]
    pub fn in_world(self, world: &str) -> Self {
        Self { world: world.to_owned(), ..self }
    }

    /// The command that replays a plan of it.
    #[must_use]
    pub fn replay(&self, plan: &str) -> String {
        replay_command(&self.world, plan)
    }

    /// In what this differs from another, in words; `None` where in nothing.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        let seeds = |asked: &Self| match asked.to {
            Some(to) => format!("seeds {}..{}", asked.from, to - 1),
            None => format!("seeds from {}", asked.from),
        };
        if self.scenarios != other.scenarios {
            let of =
                |asked: &Self| format!("{} scenarios ({})", asked.scenarios.len(), shown(&asked.scenarios));
            Some(format!("{}, not {}", of(self), of(other)))
        } else if self.digest != other.digest {
            Some("scenarios that say something else".to_owned())
        } else if (self.from, self.to) != (other.from, other.to) {
            Some(format!("{}, not {}", seeds(self), seeds(other)))
        } else if self.shard != other.shard {
            Some(format!("shard {}, not {}", self.shard, other.shard))
        } else if self.world != other.world {
            Some(format!("the world {}, not {}", self.world, other.world))
        } else {
            None
        }
    }
}

fn shown(names: &[String]) -> String {
    let (first, rest) = names.split_at(names.len().min(3));
    first.join(", ") + if rest.is_empty() { "" } else { ", …" }
}

/// What came of one scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// A few words.
    pub title: String,
    /// Where it is written.
    pub file: String,
    /// It was written to be violated: what it shows is no failure.
    pub is_negative: bool,
    /// How many runs.
    pub runs: u64,
    /// Those that passed.
    pub passed: u64,
    /// Those in which a property was violated.
    pub violated: u64,
    /// Those that could not be judged.
    pub inconclusive: u64,
    /// Those in which the testbed itself failed.
    pub broken: u64,
    /// World time of all runs.
    pub simulated_seconds: f64,
    /// CPU time of all runs.
    pub cpu_seconds: f64,
    /// Goals it asks for.
    pub goals: Vec<GoalKind>,
    /// How many runs reached what.
    pub reached: BTreeMap<GoalKind, u64>,
}

impl Tally {
    /// It was written to be violated, and was not in so many runs: whoever should have seen it is blind.
    #[must_use]
    pub fn is_blind(&self) -> bool {
        self.is_negative && self.violated == 0 && self.runs >= GOAL_SEEDS_MIN as u64
    }

    /// What it asks for and no run reached, where there were runs enough.
    #[must_use]
    pub fn goals_missed(&self) -> Vec<GoalKind> {
        let enough = self.runs >= GOAL_SEEDS_MIN as u64 && !self.is_negative;
        self.goals.iter().copied().filter(|goal| enough && !self.reached.contains_key(goal)).collect()
    }
}

/// How small a failure was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SmallFailure {
    /// Its folder, below the campaign's.
    pub folder: String,
    /// What is left, in words.
    pub bulk: String,
    /// How long it took.
    pub seconds: f64,
    /// Nothing more could be left out; otherwise time ran out.
    pub is_done: bool,
}

/// One failure, however often it came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What makes it one.
    pub signature: Signature,
    /// How its runs ended.
    pub verdict: VerdictKind,
    /// The first run's sentence.
    pub sentence: String,
    /// The first run's scenario.
    pub scenario: String,
    /// The first run's seed.
    pub seed: u64,
    /// The first run was a variation: only its stored plan replays it.
    pub varied: bool,
    /// How often it came.
    pub times: u64,
    /// Some of the other runs: scenario and seed.
    pub others: Vec<(String, u64)>,
    /// After so many runs.
    pub after_runs: u64,
    /// After so many seconds.
    pub after_seconds: f64,
    /// The first run's folder, below the campaign's.
    pub folder: Option<String>,
    /// Made small.
    pub small: Option<SmallFailure>,
    /// Why it could not be written or made small.
    pub trouble: Option<String>,
}

/// Where the search was after some runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "counts of what their names say")]
pub struct Growth {
    pub runs: u64,
    pub seconds: f64,
    pub features: u64,
    pub goals: u64,
    pub failures: u64,
}

/// How many runs each way of finding plans had, and what they brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Yield {
    /// Runs.
    pub runs: u64,
    /// Features that no run before had.
    pub features: u64,
    /// Failures that no run before had.
    pub failures: u64,
}

/// All that is known of a campaign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Campaign {
    /// [`CAMPAIGN_FORMAT`].
    pub format: u32,
    /// What was asked for.
    pub asked: Asked,
    /// The commits of the code it ran.
    pub commits: BTreeSet<String>,
    /// Of all seeds times all scenarios, in order: so many are done …
    pub done: u64,
    /// … and these behind them.
    pub ahead: BTreeSet<u64>,
    /// Real time it ran.
    pub wall_seconds: f64,
    /// Seeds never seen before.
    pub fresh: Yield,
    /// Variations of plans that had gone where none had been.
    pub varied: Yield,
    /// By the scenario's name.
    pub scenarios: BTreeMap<String, Tally>,
    /// The first run that reached a goal: scenario and seed.
    pub first_reached: BTreeMap<GoalKind, (String, u64)>,
    /// How many faults of each kind hit the cluster.
    pub faults: BTreeMap<String, u64>,
    /// How many runs had a feature ([`crate::novelty`]).
    pub features: BTreeMap<u64, u64>,
    /// When a feature was first met, in seconds since the beginning.
    #[serde(default)]
    pub met_at: BTreeMap<u64, f64>,
    /// When a goal was first reached, in seconds since the beginning.
    #[serde(default)]
    pub reached_at: BTreeMap<GoalKind, f64>,
    /// By [`Signature::id`].
    pub failures: BTreeMap<String, Failure>,
    /// In order; thinned out as it grows.
    pub growth: Vec<Growth>,
}

impl Campaign {
    /// One that has not begun.
    #[must_use]
    pub fn new(scenarios: &[Scenario], asked: Asked) -> Self {
        let tally = |scenario: &Scenario| Tally {
            title: scenario.title.clone(),
            is_negative: scenario.expect.verdict == VerdictKind::Violation,
            goals: scenario.goals.clone(),
            ..Tally::default()
        };
        Self {
            format: CAMPAIGN_FORMAT,
            asked,
            commits: BTreeSet::new(),
            done: 0,
            ahead: BTreeSet::new(),
            wall_seconds: 0.0,
            fresh: Yield::default(),
            varied: Yield::default(),
            scenarios: scenarios.iter().map(|scenario| (scenario.name.clone(), tally(scenario))).collect(),
            first_reached: BTreeMap::new(),
            faults: BTreeMap::new(),
            features: BTreeMap::new(),
            met_at: BTreeMap::new(),
            reached_at: BTreeMap::new(),
            failures: BTreeMap::new(),
            growth: Vec::new(),
        }
    }

    /// All runs.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.fresh.runs + self.varied.runs
    }

    /// How many of the goals that there are some run reached.
    #[must_use]
    pub fn goals_reached(&self) -> u64 {
        self.first_reached.len() as u64
    }

    /// A seed and a scenario's place: the so many-th of what this shard has to do.
    fn item(&self, place: u64) -> Option<(u64, usize)> {
        let scenarios = self.asked.scenarios.len() as u64;
        let (round, scenario) = (place / scenarios, place % scenarios);
        let shard = self.asked.shard;
        let offset = round.checked_mul(u64::from(shard.of))?.checked_add(u64::from(shard.index) - 1)?;
        let seed = self.asked.from.checked_add(offset)?;
        let is_one = self.asked.to.is_none_or(|to| seed < to);
        is_one.then_some((seed, usize::try_from(scenario).expect("a place in a list")))
    }

    /// How many seeds times scenarios there are in all, where that is known.
    #[must_use]
    pub fn items(&self) -> Option<u64> {
        let Shard { index, of } = self.asked.shard;
        // Every `of`-th, from the `index`-th on.
        let all = self.asked.to?.saturating_sub(self.asked.from);
        let (of, index) = (u64::from(of), u64::from(index));
        let seeds = all / of + u64::from(all % of >= index);
        Some(seeds.saturating_mul(self.asked.scenarios.len() as u64))
    }

    /// Whether every seed has been run.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.item(self.done).is_none()
    }

    /// The worst that came of it. What no run could tell, and a scenario whose goals no run reached, is inconclusive.
    #[must_use]
    pub fn verdict(&self) -> VerdictKind {
        let any = |kind| self.failures.values().any(|failure| failure.verdict == kind);
        if any(VerdictKind::Violation) {
            VerdictKind::Violation
        } else if any(VerdictKind::HarnessError) {
            VerdictKind::HarnessError
        } else if any(VerdictKind::Inconclusive)
            // Of more machines than seeds, some have nothing to do.
            || self.runs() == 0 && !self.is_done()
            || self.scenarios.values().any(|tally| !tally.goals_missed().is_empty() || tally.is_blind())
        {
            VerdictKind::Inconclusive
        } else {
            VerdictKind::Pass
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(name: &str) -> Scenario {
        let text = "title = \"t\"\nwhy = \"w\"\nmembers = 3\ntime = \"5s\"\n[[workload]]\nname = \"kv\"\n";
        crate::format::parse(&format!("{name}.toml"), text).expect("a scenario")
    }

    #[test]
    fn shards_share_the_seeds_and_leave_none_out() {
        let scenarios = [scenario("a"), scenario("b")];
        let mut all = Vec::new();
        for index in 1..=3 {
            let asked = Asked::new(&scenarios, 10, Some(17), Shard { index, of: 3 });
            let campaign = Campaign::new(&scenarios, asked);
            let items: Vec<_> = (0..).map_while(|place| campaign.item(place)).collect();
            assert_eq!(campaign.items(), Some(items.len() as u64));
            assert!(items.iter().any(|(_, scenario)| *scenario == 0), "each has both scenarios");
            assert!(items.iter().any(|(_, scenario)| *scenario == 1), "each has both scenarios");
            all.extend(items);
        }
        all.sort_unstable();
        let wanted: Vec<_> = (10..17).flat_map(|seed| [(seed, 0), (seed, 1)]).collect();
        assert_eq!(all, wanted);
    }

    #[test]
    fn seeds_end_where_numbers_do_and_a_shard_may_have_none() {
        let scenarios = [scenario("a")];
        let last = Campaign::new(&scenarios, Asked::new(&scenarios, u64::MAX, None, Shard::WHOLE));
        assert_eq!((last.item(0), last.item(1)), (Some((u64::MAX, 0)), None));
        let many = Asked::new(&scenarios, 0, Some(u64::MAX), Shard { index: 1, of: 2 });
        assert_eq!(Campaign::new(&scenarios, many).items(), Some(u64::MAX / 2 + 1));
        let none = Asked::new(&scenarios, 1, Some(3), Shard { index: 3, of: 3 });
        let none = Campaign::new(&scenarios, none);
        assert_eq!((none.items(), none.is_done(), none.verdict()), (Some(0), true, VerdictKind::Pass));
        let open = Campaign::new(&scenarios, Asked::new(&scenarios, 1, Some(3), Shard::WHOLE));
        assert_eq!(open.verdict(), VerdictKind::Inconclusive, "nothing was run yet");
    }

    #[test]
    fn a_negative_scenario_that_is_never_violated_is_no_pass() {
        let scenarios = [scenario("a")];
        let mut campaign = Campaign::new(&scenarios, Asked::new(&scenarios, 1, None, Shard::WHOLE));
        campaign.fresh.runs = 10;
        let tally = Tally { is_negative: true, runs: 10, passed: 10, ..Tally::default() };
        campaign.scenarios.insert("a".to_owned(), tally);
        assert_eq!(campaign.verdict(), VerdictKind::Inconclusive);
        campaign.scenarios.get_mut("a").expect("just put there").violated = 1;
        assert_eq!(campaign.verdict(), VerdictKind::Pass);
    }

    #[test]
    fn what_was_asked_differs_in_words() {
        let (one, two) = ([scenario("a")], [scenario("b")]);
        let asked = |scenarios: &[Scenario], from, shard| Asked::new(scenarios, from, Some(9), shard);
        let whole = asked(&one, 1, Shard::WHOLE);
        assert_eq!(whole.difference(&asked(&one, 1, Shard::WHOLE)), None);
        let said = |other: &Asked| whole.difference(other).expect("a difference");
        assert_eq!(said(&asked(&two, 1, Shard::WHOLE)), "1 scenarios (a), not 1 scenarios (b)");
        assert_eq!(said(&asked(&one, 2, Shard::WHOLE)), "seeds 1..8, not seeds 2..8");
        assert_eq!(said(&asked(&one, 1, Shard { index: 1, of: 2 })), "shard 1/1, not 1/2");
        let mut longer = scenario("a");
        longer.time *= 2;
        assert_eq!(said(&asked(&[longer], 1, Shard::WHOLE)), "scenarios that say something else");
    }

    #[test]
    fn goals_are_missed_only_where_there_were_runs_enough() {
        let mut tally = Tally { goals: vec![GoalKind::LeaseExpired], runs: 9, ..Tally::default() };
        assert_eq!(tally.goals_missed(), []);
        tally.runs = 10;
        assert_eq!(tally.goals_missed(), [GoalKind::LeaseExpired]);
        tally.reached.insert(GoalKind::LeaseExpired, 1);
        assert_eq!(tally.goals_missed(), []);
    }
}
