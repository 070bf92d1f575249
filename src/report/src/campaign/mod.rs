//! A campaign, many runs over a long time, as a page for people and as files for machines.

mod junit;
mod page;
mod sarif;

pub use junit::render_campaign_junit;
pub use page::render_campaign;
pub use sarif::render_sarif;

use crate::record::RunVerdict;

/// What is shown of a campaign.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CampaignPage {
    /// What was run.
    pub title: String,
    /// The commit of the code under test.
    pub commit: String,
    /// The worst that came of it.
    pub verdict: RunVerdict,
    /// Names and values.
    pub facts: Vec<(String, String)>,
    /// Sentences for the reader.
    pub notes: Vec<String>,
    /// One for each way of failing.
    pub failures: Vec<CampaignFailure>,
    /// One for each scenario.
    pub scenarios: Vec<CampaignScenario>,
    /// Things worth reaching.
    pub goals: Vec<GoalRow>,
    /// How many faults of each kind hit.
    pub faults: Vec<(String, u64)>,
    /// What was known after how many runs; empty where that cannot be told.
    pub growth: Vec<GrowthPoint>,
}

impl CampaignPage {
    /// All runs.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.scenarios.iter().map(|scenario| scenario.runs).sum()
    }

    /// Violations first, then what came first.
    fn sorted_failures(&self) -> Vec<&CampaignFailure> {
        let mut failures: Vec<&CampaignFailure> = self.failures.iter().collect();
        failures.sort_by(|a, b| b.verdict.cmp(&a.verdict).then(a.after_seconds.total_cmp(&b.after_seconds)));
        failures
    }
}

/// Runs that failed alike.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CampaignFailure {
    /// Its short name.
    pub id: String,
    /// How its runs ended.
    pub verdict: RunVerdict,
    /// The oracle that saw it.
    pub oracle: String,
    /// The first run's sentence.
    pub sentence: String,
    /// The first run's scenario.
    pub scenario: String,
    /// The first run's seed.
    pub seed: u64,
    /// The first run was a variation of another.
    pub varied: bool,
    /// How many runs failed so.
    pub times: u64,
    /// Some of the others.
    pub others: Vec<String>,
    /// The first came after so many runs.
    pub after_runs: u64,
    /// The first came after so many seconds.
    pub after_seconds: f64,
    /// The command that replays it.
    pub replay: String,
    /// Where the first run's page is, relative to this one.
    pub link: Option<String>,
    /// What it was made small to, in words.
    pub small: Option<String>,
    /// Where the small run's page is, relative to this one.
    pub small_link: Option<String>,
    /// Why it could not be kept or made small.
    pub trouble: Option<String>,
}

/// All runs of one scenario.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "counts of what their names say")]
pub struct CampaignScenario {
    pub name: String,
    pub title: String,
    /// It was written to be violated.
    pub is_negative: bool,
    pub runs: u64,
    pub passed: u64,
    pub violated: u64,
    pub inconclusive: u64,
    /// The testbed itself failed.
    pub broken: u64,
    pub simulated_seconds: f64,
    pub cpu_seconds: f64,
    /// What it asks for and no run reached.
    pub goals_missed: Vec<String>,
    /// How many goals, also of those it does not ask for, it reached.
    pub goals_reached: u64,
}

/// Something worth reaching.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GoalRow {
    /// Its name.
    pub name: String,
    /// How many runs reached it.
    pub runs: u64,
    /// The first that did.
    pub first: Option<String>,
}

/// What was known after some runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "counts of what their names say")]
pub struct GrowthPoint {
    pub runs: u64,
    pub features: u64,
    pub goals: u64,
    pub failures: u64,
}

/// For the tests of all three.
#[cfg(test)]
pub(crate) fn sample() -> CampaignPage {
    let failure = CampaignFailure {
        id: "lease-0a1b2c".to_owned(),
        verdict: RunVerdict::Violation,
        oracle: "lease".to_owned(),
        sentence: "lease <7> ended \"early\" & alone".to_owned(),
        scenario: "leases".to_owned(),
        seed: 17,
        times: 3,
        others: vec!["leases seed 20".to_owned(), "storm seed 4".to_owned()],
        after_runs: 34,
        after_seconds: 12.5,
        replay: "seatrial replay out/small/plan.json".to_owned(),
        link: Some("failures/lease-0a1b2c/leases-17/report.html".to_owned()),
        small: Some("3 members, 1 fault and 2 operations".to_owned()),
        small_link: Some("small/lease-0a1b2c/report.html".to_owned()),
        ..CampaignFailure::default()
    };
    let open = CampaignFailure {
        id: "unknown-watch-111111".to_owned(),
        verdict: RunVerdict::Inconclusive,
        oracle: "unknown-watch".to_owned(),
        sentence: "the budget ran out".to_owned(),
        scenario: "storm".to_owned(),
        seed: 1,
        varied: true,
        times: 1,
        after_seconds: 1.0,
        trouble: Some("runs/x: no room left".to_owned()),
        ..CampaignFailure::default()
    };
    let scenario = |name: &str, passed, violated, inconclusive| CampaignScenario {
        name: name.to_owned(),
        title: format!("about {name}"),
        runs: passed + violated + inconclusive,
        passed,
        violated,
        inconclusive,
        simulated_seconds: 600.0,
        cpu_seconds: 2.0,
        goals_reached: 7,
        ..CampaignScenario::default()
    };
    let mut storm = scenario("storm", 40, 1, 1);
    storm.goals_missed = vec!["lease-expired".to_owned()];
    CampaignPage {
        title: "Campaign over 2 scenarios".to_owned(),
        commit: "abc123".to_owned(),
        verdict: RunVerdict::Violation,
        facts: vec![("runs".to_owned(), "86".to_owned())],
        notes: vec!["1 of 3 shards are not here: 3.".to_owned()],
        failures: vec![open, failure],
        scenarios: vec![scenario("leases", 42, 2, 0), storm],
        goals: vec![
            GoalRow { name: "leader-changed".to_owned(), runs: 80, first: Some("storm seed 1".to_owned()) },
            GoalRow { name: "never-met".to_owned(), runs: 0, first: None },
        ],
        faults: vec![("kill".to_owned(), 300), ("partition".to_owned(), 12)],
        growth: vec![
            GrowthPoint { runs: 1, features: 20, goals: 5, failures: 0 },
            GrowthPoint { runs: 34, features: 60, goals: 9, failures: 1 },
            GrowthPoint { runs: 86, features: 75, goals: 11, failures: 2 },
        ],
    }
}
