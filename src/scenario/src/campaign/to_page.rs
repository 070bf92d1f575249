//! A campaign as its page shows it.

use super::{Asked, Campaign, Failure, Growth, Tally};
use crate::format::spec::{GoalKind, VerdictKind};
use crate::to_report::verdict;
use seatrial_report::campaign::{CampaignFailure, CampaignPage, CampaignScenario, GoalRow, GrowthPoint};

/// The page's data. `notes` are sentences about the whole; failures whose folders are below `root` are linked from a page
/// in that folder.
#[must_use]
pub fn to_page(campaign: &Campaign, notes: &[String], root: &str) -> CampaignPage {
    let sum = |of: &dyn Fn(&Tally) -> f64| campaign.scenarios.values().map(of).sum::<f64>();
    let asked = &campaign.asked;
    let seeds = match asked.to {
        Some(to) => format!("{} to {}", asked.from, to - 1),
        None => format!("from {}", asked.from),
    };
    let mut facts = vec![
        ("runs".to_owned(), campaign.runs().to_string()),
        ("seeds".to_owned(), seeds),
        ("scenarios".to_owned(), asked.scenarios.len().to_string()),
    ];
    if asked.shard.of > 1 {
        facts.push(("shards".to_owned(), asked.shard.of.to_string()));
    }
    facts.push(("real time".to_owned(), format!("{:.0} s", campaign.wall_seconds)));
    facts.push(("simulated".to_owned(), format!("{:.0} s", sum(&|tally| tally.simulated_seconds))));
    facts.push(("CPU time".to_owned(), format!("{:.0} s", sum(&|tally| tally.cpu_seconds))));
    facts.push(("features met".to_owned(), campaign.features.len().to_string()));
    let part = |part: super::Yield| {
        format!("{} runs, {} new features, {} new failures", part.runs, part.features, part.failures)
    };
    facts.push(("new seeds".to_owned(), part(campaign.fresh)));
    facts.push(("variations".to_owned(), part(campaign.varied)));
    let commits: Vec<&str> = campaign.commits.iter().map(String::as_str).collect();
    CampaignPage {
        title: format!("Campaign over {} scenarios", asked.scenarios.len()),
        commit: commits.join(", "),
        verdict: verdict(campaign.verdict()),
        facts,
        notes: notes.to_vec(),
        failures: campaign
            .failures
            .iter()
            .map(|(id, failure)| row(id, failure, &campaign.asked, root))
            .collect(),
        scenarios: campaign.scenarios.iter().map(|(name, tally)| scenario(name, tally)).collect(),
        goals: GoalKind::ALL.iter().map(|goal| goal_row(campaign, *goal)).collect(),
        faults: campaign.faults.iter().map(|(kind, times)| (kind.clone(), *times)).collect(),
        growth: campaign.growth.iter().map(point).collect(),
    }
}

fn row(id: &str, failure: &Failure, asked: &Asked, root: &str) -> CampaignFailure {
    let below = |folder: &String| format!("{root}/{folder}/plan.json");
    let small = failure.small.as_ref();
    let kept = small.map(|small| &small.folder).or(failure.folder.as_ref());
    CampaignFailure {
        id: id.to_owned(),
        verdict: verdict(failure.verdict),
        oracle: failure.signature.oracle.clone(),
        sentence: failure.sentence.clone(),
        scenario: failure.scenario.clone(),
        seed: failure.seed,
        varied: failure.varied,
        times: failure.times,
        others: failure.others.iter().map(|(scenario, seed)| format!("{scenario} seed {seed}")).collect(),
        after_runs: failure.after_runs,
        after_seconds: failure.after_seconds,
        replay: kept.map_or(String::new(), |folder| asked.replay(&below(folder))),
        link: failure.folder.as_ref().map(|folder| match failure.verdict {
            // There is nothing to report of a run that the testbed broke, but its plan is there.
            VerdictKind::HarnessError => format!("{folder}/plan.json"),
            _ => format!("{folder}/report.html"),
        }),
        small: small.map(|small| small.bulk.clone()),
        small_link: small.map(|small| format!("{}/report.html", small.folder)),
        trouble: failure.trouble.clone(),
    }
}

fn scenario(name: &str, tally: &Tally) -> CampaignScenario {
    CampaignScenario {
        name: name.to_owned(),
        title: tally.title.clone(),
        is_negative: tally.is_negative,
        runs: tally.runs,
        passed: tally.passed,
        violated: tally.violated,
        inconclusive: tally.inconclusive,
        broken: tally.broken,
        simulated_seconds: tally.simulated_seconds,
        cpu_seconds: tally.cpu_seconds,
        goals_missed: tally.goals_missed().iter().map(ToString::to_string).collect(),
        goals_reached: tally.reached.len() as u64,
    }
}

fn goal_row(campaign: &Campaign, goal: GoalKind) -> GoalRow {
    let runs = campaign.scenarios.values().filter_map(|tally| tally.reached.get(&goal)).sum();
    let first = campaign.first_reached.get(&goal);
    GoalRow {
        name: goal.to_string(),
        runs,
        first: first.map(|(scenario, seed)| format!("{scenario} seed {seed}")),
    }
}

fn point(growth: &Growth) -> GrowthPoint {
    let Growth { runs, features, goals, failures, .. } = *growth;
    GrowthPoint { runs, features, goals, failures }
}
