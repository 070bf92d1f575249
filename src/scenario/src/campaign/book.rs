//! One run is entered into the campaign's books.

use super::grown::thin;
use super::{Campaign, Failure, Growth, Kept};
use crate::batch::RunSummary;
use crate::format::spec::VerdictKind;
use crate::signature::Signature;
use std::collections::BTreeSet;

/// Other runs of one failure that are named.
const OTHERS_MAX: usize = 20;

/// A run, seen by the campaign.
pub(super) struct Ended<'a> {
    pub(super) summary: &'a RunSummary,
    /// Kinds of the faults that hit.
    pub(super) faults: Vec<String>,
    pub(super) features: &'a BTreeSet<u64>,
    /// It was a variation.
    pub(super) varied: bool,
    /// Since the campaign began.
    pub(super) seconds: f64,
    /// It was kept as the first that failed so.
    pub(super) kept: Option<Kept>,
}

/// What is new about a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// It had features that no run before had.
    pub(super) features: u64,
    /// It failed as no run before did.
    pub(super) failure: Option<Signature>,
}

impl Campaign {
    /// The item at this place is done.
    pub(super) fn close(&mut self, place: u64) {
        self.ahead.insert(place);
        while self.ahead.remove(&self.done) {
            self.done += 1;
        }
    }

    /// How a run failed, where it counts as a failure. A negative scenario shows that a property can be violated; in how
    /// many ways is not what it is for.
    pub(super) fn signature_of(&self, run: &RunSummary) -> Option<Signature> {
        let is_negative = self.scenarios.get(&run.scenario).is_some_and(|tally| tally.is_negative);
        let oracle = match (run.verdict, &run.oracle) {
            (VerdictKind::Pass, _) => return None,
            (VerdictKind::HarnessError, _) => "testbed".to_owned(),
            _ if is_negative => return None,
            (VerdictKind::Inconclusive, Some(oracle)) => format!("unknown-{oracle}"),
            (_, Some(oracle)) => oracle.clone(),
            (_, None) => "unknown".to_owned(),
        };
        Some(Signature::of(&oracle, &run.sentence))
    }

    pub(super) fn enter(&mut self, run: Ended<'_>) -> News {
        let mut news = News::default();
        let RunSummary { scenario, seed, verdict, .. } = run.summary;
        let tally = self.scenarios.entry(scenario.clone()).or_default();
        tally.runs += 1;
        *match verdict {
            VerdictKind::Pass => &mut tally.passed,
            VerdictKind::Violation => &mut tally.violated,
            VerdictKind::Inconclusive => &mut tally.inconclusive,
            VerdictKind::HarnessError => &mut tally.broken,
        } += 1;
        tally.simulated_seconds += run.summary.simulated_seconds;
        tally.cpu_seconds += run.summary.cpu_seconds;
        for goal in &run.summary.reached {
            *tally.reached.entry(*goal).or_default() += 1;
            self.first_reached.entry(*goal).or_insert_with(|| (scenario.clone(), *seed));
            self.reached_at.entry(*goal).or_insert(run.seconds);
        }
        for kind in &run.faults {
            *self.faults.entry(kind.clone()).or_default() += 1;
        }
        for feature in run.features {
            let times = self.features.entry(*feature).or_default();
            news.features += u64::from(*times == 0);
            *times += 1;
            self.met_at.entry(*feature).or_insert(run.seconds);
        }
        let (varied, seconds, runs) = (run.varied, run.seconds, self.runs() + 1);
        if let Some(signature) = self.signature_of(run.summary) {
            news.failure = self.fail(run, signature, runs);
        }
        let part = if varied { &mut self.varied } else { &mut self.fresh };
        part.runs += 1;
        part.features += news.features;
        part.failures += u64::from(news.failure.is_some());
        self.grow(seconds);
        news
    }

    /// The signature, where no run failed so before.
    fn fail(&mut self, run: Ended<'_>, signature: Signature, runs: u64) -> Option<Signature> {
        let RunSummary { scenario, seed, verdict, sentence, .. } = run.summary;
        if let Some(failure) = self.failures.get_mut(&signature.id()) {
            failure.times += 1;
            let mut other = (scenario.clone(), *seed);
            if let Some(kept) = run.kept {
                // Others that failed so were done before this one was kept; it stays the one that is shown.
                std::mem::swap(&mut failure.scenario, &mut other.0);
                std::mem::swap(&mut failure.seed, &mut other.1);
                failure.sentence.clone_from(sentence);
                failure.varied = run.varied;
                Kept { folder: failure.folder, small: failure.small, trouble: failure.trouble } = kept;
            }
            if failure.others.len() < OTHERS_MAX {
                failure.others.push(other);
            }
            return None;
        }
        let kept = run.kept.unwrap_or_default();
        let failure = Failure {
            signature: signature.clone(),
            verdict: *verdict,
            sentence: sentence.clone(),
            scenario: scenario.clone(),
            seed: *seed,
            varied: run.varied,
            times: 1,
            others: Vec::new(),
            after_runs: runs,
            after_seconds: run.seconds,
            folder: kept.folder,
            small: kept.small,
            trouble: kept.trouble,
        };
        self.failures.insert(signature.id(), failure);
        Some(signature)
    }

    fn grow(&mut self, seconds: f64) {
        let point = Growth {
            runs: self.runs(),
            seconds,
            features: self.features.len() as u64,
            goals: self.goals_reached(),
            failures: self.failures.len() as u64,
        };
        let is_news = self.growth.last().is_none_or(|last| {
            (last.features, last.goals, last.failures) != (point.features, point.goals, point.failures)
        });
        if is_news {
            self.growth.push(point);
        }
        thin(&mut self.growth);
    }
}

#[cfg(test)]
mod tests {
    use super::super::grown::GROWTH_MAX;
    use super::super::{Asked, Shard};
    use super::*;
    use crate::format::spec::{GoalKind, Scenario};

    fn scenarios() -> Vec<Scenario> {
        let good = "title = \"t\"\nwhy = \"w\"\nmembers = 3\ntime = \"5s\"\n[[workload]]\nname = \"kv\"\n";
        let bad = format!("{good}[expect]\nverdict = \"violation\"\noracle = \"durability\"\n");
        let parse = |name: &str, text: &str| crate::format::parse(name, text).expect("a scenario");
        vec![parse("good.toml", good), parse("bad.toml", &bad)]
    }

    fn begun() -> Campaign {
        let scenarios = scenarios();
        let asked = Asked::new(&scenarios, 1, None, Shard::WHOLE);
        Campaign::new(&scenarios, asked)
    }

    fn summary(scenario: &str, seed: u64, verdict: VerdictKind, sentence: &str) -> RunSummary {
        RunSummary {
            scenario: scenario.to_owned(),
            seed,
            verdict,
            oracle: (verdict == VerdictKind::Violation).then(|| "durability".to_owned()),
            violated: Vec::new(),
            sentence: sentence.to_owned(),
            expected: false,
            trace_hash: String::new(),
            simulated_seconds: 5.0,
            cpu_seconds: 0.5,
            reached: vec![GoalKind::LeaderChanged],
            folder: None,
        }
    }

    fn enter(campaign: &mut Campaign, summary: &RunSummary, features: &[u64]) -> News {
        let features = features.iter().copied().collect();
        let faults = vec!["kill".to_owned()];
        campaign.enter(Ended {
            summary,
            faults,
            features: &features,
            varied: seed_is_odd(summary),
            seconds: 1.0,
            kept: None,
        })
    }

    fn seed_is_odd(summary: &RunSummary) -> bool {
        summary.seed % 2 == 1
    }

    #[test]
    fn what_fails_alike_is_one_failure_and_the_first_is_told_of() {
        let mut campaign = begun();
        let fails = |seed, text: &str| summary("good", seed, VerdictKind::Violation, text);
        let first = enter(&mut campaign, &fails(2, "key k1 lost its value of revision 17"), &[]);
        assert_eq!(first.failure.map(|one| one.oracle), Some("durability".to_owned()));
        let again = enter(&mut campaign, &fails(5, "key k2 lost its value of revision 4"), &[]);
        assert_eq!(again.failure, None);
        assert!(enter(&mut campaign, &fails(6, "another thing"), &[]).failure.is_some());
        let failure = campaign.failures.values().find(|failure| failure.seed == 2).expect("the first");
        assert_eq!((failure.times, &failure.others), (2, &vec![("good".to_owned(), 5)]));
        assert_eq!((failure.after_runs, campaign.failures.len()), (1, 2));
        assert_eq!(campaign.verdict(), VerdictKind::Violation);
        assert_eq!((campaign.fresh.failures, campaign.varied.failures), (2, 0));
        assert_eq!((campaign.fresh.runs, campaign.varied.runs), (2, 1));
    }

    #[test]
    fn the_run_that_was_kept_is_shown_though_others_were_done_before() {
        let mut campaign = begun();
        let fails = |seed| summary("good", seed, VerdictKind::Violation, &format!("key k{seed} is gone"));
        enter(&mut campaign, &fails(4), &[]);
        let kept = Kept { folder: Some("there".to_owned()), ..Kept::default() };
        let first = fails(2);
        let (summary, features) = (&first, BTreeSet::new());
        let ended = Ended {
            summary,
            faults: Vec::new(),
            features: &features,
            varied: false,
            seconds: 2.0,
            kept: Some(kept),
        };
        assert_eq!(campaign.enter(ended).failure, None);
        let failure = campaign.failures.values().next().expect("one");
        assert_eq!((failure.seed, failure.times, failure.sentence.as_str()), (2, 2, "key k2 is gone"));
        assert_eq!(
            (failure.folder.as_deref(), &failure.others),
            (Some("there"), &vec![("good".to_owned(), 4)])
        );
    }

    #[test]
    fn a_negative_scenario_fails_only_where_the_testbed_does() {
        let mut campaign = begun();
        let run = |verdict| summary("bad", 1, verdict, "text");
        assert_eq!(enter(&mut campaign, &run(VerdictKind::Violation), &[]).failure, None);
        assert_eq!(enter(&mut campaign, &run(VerdictKind::Pass), &[]).failure, None);
        assert_eq!(campaign.verdict(), VerdictKind::Pass);
        let broken = enter(&mut campaign, &run(VerdictKind::HarnessError), &[]).failure;
        assert_eq!(broken.map(|one| one.oracle), Some("testbed".to_owned()));
        assert_eq!(campaign.verdict(), VerdictKind::HarnessError);
    }

    #[test]
    fn a_feature_is_new_once() {
        let mut campaign = begun();
        let run = summary("good", 1, VerdictKind::Pass, "fine");
        assert_eq!(enter(&mut campaign, &run, &[1, 2]).features, 2);
        assert_eq!(enter(&mut campaign, &run, &[2, 3]).features, 1);
        assert_eq!(enter(&mut campaign, &run, &[1, 2, 3]).features, 0);
        assert_eq!(campaign.features[&2], 3);
        assert_eq!(campaign.growth.iter().map(|point| point.features).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(campaign.faults["kill"], 3);
        assert_eq!(campaign.first_reached[&GoalKind::LeaderChanged], ("good".to_owned(), 1));
    }

    #[test]
    fn items_that_end_out_of_order_are_remembered_until_those_before_them_end() {
        let mut campaign = begun();
        campaign.close(1);
        campaign.close(2);
        assert_eq!((campaign.done, campaign.ahead.len()), (0, 2));
        campaign.close(0);
        assert_eq!((campaign.done, campaign.ahead.len()), (3, 0));
    }

    #[test]
    fn growth_is_thinned_out_but_keeps_its_ends() {
        let mut campaign = begun();
        let run = summary("good", 1, VerdictKind::Pass, "fine");
        for feature in 0..1000 {
            enter(&mut campaign, &run, &[feature]);
        }
        let growth = &campaign.growth;
        assert!(growth.len() <= GROWTH_MAX, "{}", growth.len());
        assert_eq!((growth[0].features, growth[growth.len() - 1].features), (1, 1000));
    }
}
