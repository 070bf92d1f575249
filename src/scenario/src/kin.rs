//! Plans worth varying, in a search that keeps nothing but what it may vary: a hunt for one planted bug.

use crate::chance::Chance;
use crate::plan::Plan;
use crate::vary::vary;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The plans whose runs went where none had been, and what all runs met.
#[derive(Debug, Default)]
pub(crate) struct Kin {
    /// How many runs had a feature.
    features: BTreeMap<u64, u64>,
    plans: Vec<(Arc<Plan>, BTreeSet<u64>)>,
    given: u64,
    varied: u64,
}

impl Kin {
    /// The next run is a variation, so many times in 100, once there is something to vary; otherwise `None`.
    pub(crate) fn next(&mut self, percent: u32, from: u64) -> Option<Plan> {
        self.given += 1;
        if (self.varied + 1) * 100 > self.given * u64::from(percent) || self.plans.is_empty() {
            return None;
        }
        self.varied += 1;
        let mut chance = Chance::stream(from, &format!("kin {}", self.varied));
        // The rarer a plan's rarest feature, the more often it is varied.
        let rarest = |features: &BTreeSet<u64>| {
            let times = features.iter().map(|feature| self.features.get(feature).copied().unwrap_or(0));
            u32::try_from(1_000_000 / (1 + times.min().unwrap_or(0))).expect("at most a million")
        };
        let weights: Vec<(usize, u32)> =
            (0..).zip(&self.plans).map(|(at, (_, features))| (at, rarest(features))).collect();
        let of = chance.weighted(&weights)?;
        // Far from the seeds that people count up from.
        let seed = (1 << 62) + chance.below(1 << 62);
        Some(vary(&self.plans[of].0, seed))
    }

    /// A run ended.
    pub(crate) fn learn(&mut self, plan: &Plan, features: BTreeSet<u64>) {
        let is_new = features.iter().any(|feature| !self.features.contains_key(feature));
        for feature in &features {
            *self.features.entry(*feature).or_default() += 1;
        }
        if is_new {
            self.plans.push((Arc::new(plan.clone()), features));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_new_is_varied_as_often_as_was_asked_for_and_what_was_not_never() {
        let text = "title = \"t\"\nwhy = \"w\"\ntime = \"5s\"\n[[workload]]\nname = \"kv\"\nclients = 1\n\
                    [[nemesis]]\nname = \"kill\"\n";
        let scenario = crate::format::parse("t.toml", text).expect("a scenario");
        let mut kin = Kin::default();
        assert_eq!(kin.next(50, 1), None, "there is nothing to vary yet");
        kin.learn(&Plan::draw(&scenario, 1), [7].into());
        kin.learn(&Plan::draw(&scenario, 2), [7].into());
        assert_eq!(kin.plans.len(), 1, "the second brought nothing");
        let varied = (0..100).filter(|_| kin.next(50, 1).is_some()).count();
        assert!((48..=51).contains(&varied), "{varied}");
        assert_eq!((0..100).filter(|_| kin.next(0, 1).is_some()).count(), 0);
        let draw = |from| {
            let mut kin = Kin::default();
            kin.learn(&Plan::draw(&scenario, 1), [7].into());
            kin.given = 9;
            kin.next(50, from).expect("a variation")
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2), "another hunt varies otherwise");
    }
}
