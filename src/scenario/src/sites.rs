//! Which sites of the members' code are told to do what is allowed and rare ([`seatrial_types::buggify`]), in one run.

use crate::chance::Chance;
use crate::format::spec::GoalKind;
use seatrial_types::buggify::Site;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One seed in so many tells sites to; the others' members do what they do by themselves.
const ONE_IN: u64 = 3;

/// Of the sites, each is told to in one such run in so many.
const SITE_ONE_IN: u64 = 4;

/// How often, as parts of what a site allows: now and then, often, as often as it can be.
const PARTS: [u32; 3] = [50, 5, 1];

/// A site that is told to in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveSite {
    /// Which.
    pub site: Site,
    /// How often, in parts per million of the times it is asked.
    pub ppm: u32,
}

/// How a site was told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteRecord {
    /// Which.
    pub site: Site,
    /// The first time, in world time.
    pub first: Duration,
    /// How often.
    pub times: u64,
}

/// Draws those of a seed.
pub(crate) fn draw(chance: &mut Chance) -> Vec<ActiveSite> {
    if !chance.one_in(ONE_IN) {
        return Vec::new();
    }
    let mut sites = Vec::new();
    for site in Site::ALL.iter().copied() {
        // Drawn for each, so that one site more leaves those before it as they were.
        let (is_in, ppm) = (chance.one_in(SITE_ONE_IN), (site.most_ppm() / chance.pick(&PARTS)).max(1));
        if is_in {
            sites.push(ActiveSite { site, ppm });
        }
    }
    sites
}

/// The goal that is reached where a site was told to.
pub(crate) fn goal(site: Site) -> GoalKind {
    GoalKind::from_name(&format!("buggify-{site}")).expect("a test looks that each site has its goal")
}

/// In words.
pub(crate) fn told(active: &ActiveSite) -> String {
    format!("{} in {} % of the times", active.site, f64::from(active.ppm) / 10_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn every_site_is_drawn_now_and_then_and_never_more_often_than_it_allows() {
        let mut seen: BTreeMap<Site, BTreeSet<u32>> = BTreeMap::new();
        let mut none = 0;
        for seed in 0..600 {
            let drawn = draw(&mut Chance::stream(seed, "sites"));
            none += u64::from(drawn.is_empty());
            for active in drawn {
                assert!(active.ppm <= active.site.most_ppm());
                seen.entry(active.site).or_default().insert(active.ppm);
            }
        }
        assert!((330..470).contains(&none), "{none} of 600 have none");
        assert!(seen.len() == Site::ALL.len() && seen.values().all(|ppm| ppm.len() == 3), "{seen:?}");
    }

    #[test]
    fn every_site_has_its_goal_and_every_such_goal_its_site() {
        let goals: BTreeSet<&str> = Site::ALL.iter().map(|site| goal(*site).name()).collect();
        let named = GoalKind::NAMES.iter().copied().filter(|name| name.starts_with("buggify-"));
        assert_eq!(goals, named.collect());
    }
}
