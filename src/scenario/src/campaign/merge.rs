//! Campaigns of several machines become one.

use super::grown::together;
use super::{Campaign, Failure, Shard, Yield};
use std::collections::BTreeSet;

/// Campaigns that are not parts of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// Nothing to merge.
    #[error("no campaign was given\nhint: name the folders in which the shards wrote theirs")]
    Nothing,
    /// Another campaign.
    #[error(
        "{second} is not part of the campaign in {first}: it has {difference}\nhint: all shards take the same scenarios, seeds and number of shards"
    )]
    Other {
        /// Where one is.
        first: String,
        /// Where the other is.
        second: String,
        /// In words.
        difference: String,
    },
    /// The same part again: its runs would count twice.
    #[error("{first} and {second} both are shard {shard}\nhint: name each shard once")]
    Twice {
        /// Where one is.
        first: String,
        /// Where the other is.
        second: String,
        /// Which.
        shard: Shard,
    },
}

/// One campaign of all these, each with the place it came from; and for each failure the place where its first run is
/// kept. Second, sentences about what is missing.
///
/// # Errors
/// Where they are not different shards of one campaign.
pub fn merge(parts: &[(String, Campaign)]) -> Result<(Campaign, Vec<String>), MergeError> {
    let (first, begun) = parts.first().ok_or(MergeError::Nothing)?;
    let mut all = Campaign { growth: Vec::new(), ..begun.clone() };
    for failure in all.failures.values_mut() {
        settle(failure, first);
    }
    for (at, (place, part)) in parts.iter().enumerate().skip(1) {
        let mut asked = part.asked.clone();
        asked.shard.index = begun.asked.shard.index;
        if let Some(difference) = asked.difference(&begun.asked) {
            return Err(MergeError::Other { first: first.clone(), second: place.clone(), difference });
        }
        if let Some((same, _)) = parts[..at].iter().find(|(_, other)| other.asked.shard == part.asked.shard) {
            let (first, second) = (same.clone(), place.clone());
            return Err(MergeError::Twice { first, second, shard: part.asked.shard });
        }
        add(&mut all, part, place);
    }
    let mut notes = Vec::new();
    let there: BTreeSet<u32> = parts.iter().map(|(_, part)| part.asked.shard.index).collect();
    let of = begun.asked.shard.of;
    let missing: Vec<String> =
        (1..=of).filter(|index| !there.contains(index)).map(|index| index.to_string()).collect();
    if !missing.is_empty() {
        notes.push(format!("{} of {of} shards are not here: {}.", missing.len(), missing.join(", ")));
    }
    for (place, part) in parts.iter().filter(|(_, part)| !part.is_done() && part.asked.to.is_some()) {
        let items = part.items().unwrap_or_default();
        notes
            .push(format!("{place} (shard {}) ended after {} of {items} runs.", part.asked.shard, part.done));
    }
    if all.commits.len() > 1 {
        let commits: Vec<&str> = all.commits.iter().map(String::as_str).collect();
        notes.push(format!("The shards ran different code: {}.", commits.join(", ")));
    }
    all.growth = match parts {
        [_] => begun.growth.clone(),
        _ => together(&parts.iter().map(|(_, part)| part).collect::<Vec<_>>()),
    };
    Ok((all, notes))
}

/// From now on its folders are told from where the campaign's own is.
fn settle(failure: &mut Failure, place: &str) {
    let inside = |folder: &String| format!("{}/{folder}", place.trim_end_matches('/'));
    failure.folder = failure.folder.as_ref().map(inside);
    if let Some(small) = &mut failure.small {
        small.folder = inside(&small.folder);
    }
}

fn add(all: &mut Campaign, part: &Campaign, place: &str) {
    all.commits.extend(part.commits.iter().cloned());
    all.done += part.done;
    all.wall_seconds = all.wall_seconds.max(part.wall_seconds);
    let plus = |one: &mut Yield, two: &Yield| {
        one.runs += two.runs;
        one.features += two.features;
        one.failures += two.failures;
    };
    plus(&mut all.fresh, &part.fresh);
    plus(&mut all.varied, &part.varied);
    for (name, tally) in &part.scenarios {
        let sum = all.scenarios.entry(name.clone()).or_default();
        sum.title.clone_from(&tally.title);
        sum.file.clone_from(&tally.file);
        sum.is_negative = tally.is_negative;
        sum.goals.clone_from(&tally.goals);
        sum.runs += tally.runs;
        sum.passed += tally.passed;
        sum.violated += tally.violated;
        sum.inconclusive += tally.inconclusive;
        sum.broken += tally.broken;
        sum.simulated_seconds += tally.simulated_seconds;
        sum.cpu_seconds += tally.cpu_seconds;
        for (goal, runs) in &tally.reached {
            *sum.reached.entry(*goal).or_default() += runs;
        }
    }
    for (goal, first) in &part.first_reached {
        let known = all.first_reached.entry(*goal).or_insert_with(|| first.clone());
        if first.1 < known.1 {
            known.clone_from(first);
        }
    }
    for (feature, at) in &part.met_at {
        let known = all.met_at.entry(*feature).or_insert(*at);
        *known = known.min(*at);
    }
    for (goal, at) in &part.reached_at {
        let known = all.reached_at.entry(*goal).or_insert(*at);
        *known = known.min(*at);
    }
    for (kind, times) in &part.faults {
        *all.faults.entry(kind.clone()).or_default() += times;
    }
    for (feature, times) in &part.features {
        *all.features.entry(*feature).or_default() += times;
    }
    for (id, failure) in &part.failures {
        let mut failure = failure.clone();
        settle(&mut failure, place);
        match all.failures.get_mut(id) {
            None => {
                all.failures.insert(id.clone(), failure);
            }
            Some(known) => {
                // The one that was made small tells more; else the one that came sooner.
                let is_better = (failure.small.is_none(), failure.after_seconds)
                    < (known.small.is_none(), known.after_seconds);
                if is_better {
                    std::mem::swap(known, &mut failure);
                }
                known.times += failure.times;
                known.others.push((failure.scenario, failure.seed));
                known.others.extend(failure.others);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Asked, Growth, SmallFailure, Tally};
    use super::*;
    use crate::format::spec::{GoalKind, Scenario, VerdictKind};
    use crate::signature::Signature;

    fn scenarios() -> Vec<Scenario> {
        let text = "title = \"t\"\nwhy = \"w\"\nmembers = 3\ntime = \"5s\"\n[[workload]]\nname = \"kv\"\n";
        vec![crate::format::parse("a.toml", text).expect("a scenario")]
    }

    fn part(index: u32, from: u64) -> Campaign {
        let scenarios = scenarios();
        let asked = Asked::new(&scenarios, from, Some(from + 4), Shard { index, of: 3 });
        let mut part = Campaign::new(&scenarios, asked);
        part.fresh = Yield { runs: 2, features: 1, failures: 1 };
        part.done = part.items().expect("some");
        part.commits.insert("abc".to_owned());
        let tally = Tally { runs: 2, passed: 1, violated: 1, simulated_seconds: 10.0, ..Tally::default() };
        part.scenarios.insert("a".to_owned(), tally);
        part.features.insert(u64::from(index), 1);
        part.features.insert(99, 1);
        part.first_reached.insert(GoalKind::LeaderChanged, ("a".to_owned(), u64::from(10 - index)));
        let failure = Failure {
            signature: Signature::of("lease", "lease 7 ended early"),
            verdict: VerdictKind::Violation,
            sentence: "lease 7 ended early".to_owned(),
            scenario: "a".to_owned(),
            seed: u64::from(index),
            varied: false,
            times: 2,
            others: vec![("a".to_owned(), 50 + u64::from(index))],
            after_runs: 3,
            after_seconds: f64::from(index),
            folder: Some("failures/lease-1".to_owned()),
            small: None,
            trouble: None,
        };
        part.failures.insert(failure.signature.id(), failure);
        part
    }

    fn named(index: u32) -> (String, Campaign) {
        (format!("shard-{index}"), part(index, 1))
    }

    #[test]
    fn parts_add_up_and_one_failure_stays_one() {
        let mut three = named(3);
        let small = SmallFailure {
            folder: "small/x".to_owned(),
            bulk: "1 fault".to_owned(),
            seconds: 2.0,
            is_done: true,
        };
        three.1.failures.values_mut().next().expect("one").small = Some(small);
        let (all, notes) = merge(&[named(1), named(2), three]).unwrap();
        assert_eq!(notes, Vec::<String>::new());
        assert_eq!((all.runs(), all.scenarios["a"].runs, all.scenarios["a"].violated), (6, 6, 3));
        assert_eq!((all.features.len(), all.features[&99]), (4, 3));
        assert_eq!(all.first_reached[&GoalKind::LeaderChanged].1, 7);
        let [failure] = all.failures.values().collect::<Vec<_>>()[..] else {
            panic!("more than one failure")
        };
        assert_eq!((failure.times, failure.seed), (6, 3), "the one that was made small leads");
        assert_eq!(failure.folder.as_deref(), Some("shard-3/failures/lease-1"));
        assert_eq!(failure.small.as_ref().map(|small| small.folder.as_str()), Some("shard-3/small/x"));
        let mut others: Vec<u64> = failure.others.iter().map(|(_, seed)| *seed).collect();
        others.sort_unstable();
        assert_eq!(others, [1, 2, 51, 52, 53]);
    }

    /// Two features, the second after `later` seconds, and a run a second.
    fn grown(index: u32, second: u64, later: f64) -> (String, Campaign) {
        let (place, mut part) = named(index);
        part.features = [(1, 1), (second, 1)].into();
        part.met_at = [(1, 1.0), (second, later)].into();
        part.reached_at = [(GoalKind::LeaderChanged, later)].into();
        part.failures.values_mut().for_each(|failure| failure.after_seconds = 4.0);
        let point = |seconds: f64, features, goals, failures| Growth {
            runs: seconds as u64,
            seconds,
            features,
            goals,
            failures,
        };
        part.growth = vec![point(1.0, 1, 0, 0), point(later, 2, 1, u64::from(later >= 4.0))];
        if later < 4.0 {
            part.growth.push(point(4.0, 2, 1, 1));
        }
        (part.wall_seconds, part.fresh.runs) = (10.0, 10);
        (place, part)
    }

    #[test]
    fn parts_grow_together_as_if_they_had_begun_at_one_moment() {
        let parts = [grown(1, 2, 3.0), grown(2, 3, 6.0), grown(3, 2, 2.0)];
        let (all, _) = merge(&parts).unwrap();
        let told: Vec<(f64, u64, u64, u64, u64)> = all
            .growth
            .iter()
            .map(|point| (point.seconds, point.runs, point.features, point.goals, point.failures))
            .collect();
        let wanted =
            [(1.0, 3, 1, 0, 0), (2.0, 6, 2, 1, 0), (3.0, 9, 2, 1, 0), (4.0, 12, 2, 1, 1), (6.0, 18, 3, 1, 1)];
        assert_eq!(told, wanted, "what two parts met counts once, from the first time on");
        let newest = all.growth.last().expect("points");
        assert_eq!(newest.features, all.features.len() as u64);
        let mut old = parts;
        old[1].1.met_at.clear();
        assert_eq!(merge(&old).unwrap().0.growth, [], "an earlier build did not say when");
    }

    #[test]
    fn what_is_missing_is_said() {
        let mut two = named(2);
        two.1.done = 0;
        two.1.commits.insert("def".to_owned());
        let (_, notes) = merge(&[named(1), two]).unwrap();
        assert_eq!(notes[0], "1 of 3 shards are not here: 3.");
        assert_eq!(notes[1], "shard-2 (shard 2/3) ended after 0 of 1 runs.");
        assert_eq!(notes[2], "The shards ran different code: abc, def.");
    }

    #[test]
    fn other_campaigns_and_the_same_shard_again_are_refused() {
        assert_eq!(merge(&[]), Err(MergeError::Nothing));
        let twice = merge(&[named(1), ("copy".to_owned(), part(1, 1))]).unwrap_err().to_string();
        assert!(twice.starts_with("shard-1 and copy both are shard 1/3\nhint:"), "{twice}");
        let other = merge(&[named(1), ("later".to_owned(), part(2, 100))]).unwrap_err().to_string();
        assert!(
            other.contains(
                "later is not part of the campaign in shard-1: it has seeds 100..103, not seeds 1..4"
            ),
            "{other}"
        );
    }
}
