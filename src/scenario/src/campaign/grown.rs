//! How a campaign of several parts grew: as if all of them had begun at one moment.

use super::{Campaign, Growth};
use std::collections::BTreeMap;

/// Points of the growth that are kept.
pub(super) const GROWTH_MAX: usize = 400;

/// Every second one goes, but the first and the last stay, until they are few enough.
pub(super) fn thin(growth: &mut Vec<Growth>) {
    while growth.len() > GROWTH_MAX {
        let last = growth.len() - 1;
        let mut at = 0..;
        growth.retain(|_| {
            let at = at.next().expect("no end");
            at % 2 == 0 || at == last
        });
    }
}

/// When each thing was first met by any part, in order.
fn firsts<K: Ord>(met: impl Iterator<Item = (K, f64)>) -> Vec<f64> {
    let mut first: BTreeMap<K, f64> = BTreeMap::new();
    for (thing, seconds) in met {
        let known = first.entry(thing).or_insert(seconds);
        *known = known.min(seconds);
    }
    let mut times: Vec<f64> = first.into_values().collect();
    times.sort_by(f64::total_cmp);
    times
}

/// The growth of all these together. Nothing where one of them does not say when it met what: it was written by an earlier
/// build.
pub(super) fn together(parts: &[&Campaign]) -> Vec<Growth> {
    if parts.iter().any(|part| part.met_at.len() < part.features.len()) {
        return Vec::new();
    }
    let of = |seconds: &f64| *seconds;
    let features = firsts(parts.iter().flat_map(|part| part.met_at.iter().map(|(one, at)| (*one, of(at)))));
    let goals = firsts(parts.iter().flat_map(|part| part.reached_at.iter().map(|(one, at)| (*one, of(at)))));
    let failures =
        firsts(parts.iter().flat_map(|part| part.failures.iter().map(|(id, one)| (id, one.after_seconds))));
    let mut times: Vec<f64> =
        parts.iter().flat_map(|part| part.growth.iter().map(|point| point.seconds)).collect();
    times.sort_by(f64::total_cmp);
    times.dedup();
    let by = |times: &[f64], at: f64| times.partition_point(|time| *time <= at) as u64;
    let runs_of = |part: &Campaign, at: f64| {
        let behind = part.growth.partition_point(|point| point.seconds <= at);
        // Between two points nothing new was met, but runs went on.
        let before = behind
            .checked_sub(1)
            .map_or((0.0, 0.0), |place| (part.growth[place].seconds, part.growth[place].runs as f64));
        let after = part
            .growth
            .get(behind)
            .map_or((part.wall_seconds, part.runs() as f64), |point| (point.seconds, point.runs as f64));
        let share = if after.0 > before.0 { ((at - before.0) / (after.0 - before.0)).min(1.0) } else { 1.0 };
        before.1 + (after.1 - before.1) * share
    };
    let mut growth: Vec<Growth> = times
        .into_iter()
        .map(|at| Growth {
            runs: parts.iter().map(|part| runs_of(part, at)).sum::<f64>() as u64,
            seconds: at,
            features: by(&features, at),
            goals: by(&goals, at),
            failures: by(&failures, at),
        })
        .collect();
    thin(&mut growth);
    growth
}
