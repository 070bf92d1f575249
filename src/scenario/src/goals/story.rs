//! What a run looks like from above: who led when, who was down when. Goals are told from it.

use crate::observation::{Observation, Role};
use crate::record::RunLog;
use seatrial_types::{MemberId, Term};
use std::collections::BTreeMap;
use std::time::Duration;

/// A member led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reign {
    pub(super) member: MemberId,
    pub(super) term: Term,
    pub(super) from: Duration,
    /// It followed, or went down; `None`: to the end of the run.
    pub(super) to: Option<Duration>,
    /// It heard of another leader, or of none, itself.
    pub(super) stepped_down: bool,
}

impl Reign {
    fn has(&self, at: Duration) -> bool {
        self.from <= at && self.to.is_none_or(|to| at < to)
    }
}

/// A span of time that may be open.
pub(super) fn within(from: Duration, to: Option<Duration>, at: Duration) -> bool {
    from <= at && to.is_none_or(|to| at < to)
}

/// See the module.
pub(super) struct Story {
    /// In order of their beginning.
    pub(super) reigns: Vec<Reign>,
}

impl Story {
    pub(super) fn of(log: &RunLog) -> Self {
        let mut reigns: Vec<Reign> = Vec::new();
        let mut open: BTreeMap<MemberId, usize> = BTreeMap::new();
        // Who goes down leads no more; processes that are paused believe so still.
        let mut downs: Vec<(Duration, MemberId)> = log
            .outages
            .iter()
            .filter(|outage| outage.kind != "pause")
            .map(|outage| (outage.from, outage.member))
            .collect();
        downs.sort_unstable();
        let mut downs = downs.into_iter().peekable();
        for seen in &log.observed {
            while let Some((at, member)) = downs.next_if(|(at, _)| *at <= seen.at) {
                if let Some(reign) = open.remove(&member) {
                    reigns[reign].to = Some(at);
                }
            }
            // Who stops by itself, or starts again after whatever ended it, leads no more.
            if matches!(seen.what, Observation::Failed { .. } | Observation::Started { .. })
                && let Some(reign) = open.remove(&seen.member)
            {
                reigns[reign].to = Some(seen.at);
            }
            let Observation::Role { term, role, .. } = seen.what else { continue };
            match (role, open.get(&seen.member).copied()) {
                (Role::Leader, Some(reign)) if reigns[reign].term == term => {}
                (Role::Leader, before) => {
                    if let Some(before) = before {
                        reigns[before].to = Some(seen.at);
                    }
                    open.insert(seen.member, reigns.len());
                    let (member, from) = (seen.member, seen.at);
                    reigns.push(Reign { member, term, from, to: None, stepped_down: false });
                }
                (_, Some(reign)) => {
                    open.remove(&seen.member);
                    reigns[reign].to = Some(seen.at);
                    reigns[reign].stepped_down = true;
                }
                (_, None) => {}
            }
        }
        for (at, member) in downs {
            if let Some(reign) = open.remove(&member) {
                reigns[reign].to = Some(at);
            }
        }
        Self { reigns }
    }

    /// The newest leader of those who believe to lead.
    pub(super) fn leader(&self, at: Duration) -> Option<MemberId> {
        let leading = self.reigns.iter().filter(|reign| reign.has(at));
        leading.max_by_key(|reign| reign.term).map(|reign| reign.member)
    }

    /// Nobody leads, though somebody has led.
    pub(super) fn is_leaderless(&self, at: Duration) -> bool {
        self.reigns.first().is_some_and(|first| first.from < at) && self.leader(at).is_none()
    }
}
