//! How fast units of lost machines are moved, and when a machine is given up.

use super::decide::{Limits, gone_machines};
use crate::model::Cluster;
use crate::unit::MachineId;
use seatrial_types::planted::{Planted, is_planted};
use std::collections::BTreeMap;
use std::time::Duration;

/// How the engine treats machines that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// See [`Limits::mass_loss_percent`].
    pub mass_loss_percent: u8,
    /// So long after a machine was first missed its units stay, until all are known that were lost with it. See
    /// [`Policy::for_ttl`].
    pub settle: Duration,
    /// So long after a machine was first missed it is given up, however many others are gone.
    pub mass_loss_hold: Duration,
    /// So many units are moved at once.
    pub evictions_burst: u32,
    /// Afterwards so many a second.
    pub evictions_per_second: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mass_loss_percent: 50,
            settle: settle(Duration::from_secs(30)),
            mass_loss_hold: Duration::from_secs(5 * 60),
            evictions_burst: 200,
            evictions_per_second: 50,
        }
    }
}

/// Agents renew their leases ten times within the time to live, so a tenth of it lies between the ends of those that died
/// together; half as much again is for answers that were late.
fn settle(ttl: Duration) -> Duration {
    ttl * 3 / 20
}

impl Policy {
    /// The usual one, where machines live for so long without a word.
    #[must_use]
    pub fn for_ttl(ttl: Duration) -> Self {
        Self { settle: settle(ttl), ..Self::default() }
    }
}

/// Thousandths of an eviction.
const MILLI: u64 = 1000;

/// What an engine remembers from pass to pass: since when it misses which machine, and how many units it may still move.
/// A new leader begins anew, so that it gives every lost machine its whole time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pace {
    policy: Policy,
    gone_since: BTreeMap<MachineId, Duration>,
    /// Invariant: at most the burst.
    tokens_milli: u64,
    filled_at: Duration,
}

impl Pace {
    /// Begins with a full burst.
    #[must_use]
    pub fn new(policy: Policy, now: Duration) -> Self {
        let tokens_milli = u64::from(policy.evictions_burst) * MILLI;
        Self { policy, gone_since: BTreeMap::new(), tokens_milli, filled_at: now }
    }

    /// What the next pass may do.
    pub fn limits(&mut self, cluster: &Cluster, now: Duration) -> Limits {
        self.fill(now);
        let gone = gone_machines(cluster);
        self.gone_since.retain(|id, _| gone.contains(id));
        for id in gone {
            self.gone_since.entry(id.clone()).or_insert(now);
        }
        let is_due = |since: &Duration| now.saturating_sub(*since) >= self.policy.mass_loss_hold;
        let is_fresh =
            |since: &Duration| now.saturating_sub(*since) < self.policy.settle && !is_planted(Planted::F25);
        let just_gone = self.gone_since.iter().filter(|(_, since)| is_fresh(since));
        let due = self.gone_since.iter().filter(|(_, since)| is_due(since));
        Limits {
            evictions_max: usize::try_from(self.tokens_milli / MILLI).unwrap_or(usize::MAX),
            mass_loss_percent: self.policy.mass_loss_percent,
            written_off: due.map(|(id, _)| id.clone()).collect(),
            just_gone: just_gone.map(|(id, _)| id.clone()).collect(),
        }
    }

    /// When the units of the next machine may be moved that is gone now and has to be waited for.
    #[must_use]
    pub fn next(&self, now: Duration) -> Option<Duration> {
        self.gone_since.values().map(|since| *since + self.policy.settle).filter(|due| *due > now).min()
    }

    /// So many units were moved.
    pub fn moved(&mut self, evictions: usize) {
        let spent = u64::try_from(evictions).unwrap_or(u64::MAX).saturating_mul(MILLI);
        self.tokens_milli = self.tokens_milli.saturating_sub(spent);
    }

    fn fill(&mut self, now: Duration) {
        let burst = u64::from(self.policy.evictions_burst) * MILLI;
        let passed = u64::try_from(now.saturating_sub(self.filled_at).as_millis()).unwrap_or(u64::MAX);
        let more = passed.saturating_mul(u64::from(self.policy.evictions_per_second));
        self.tokens_milli = burst.min(self.tokens_milli.saturating_add(more));
        self.filled_at = self.filled_at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::decide;
    use crate::model::testing::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn units_of_lost_machines_are_moved_at_a_limited_rate() {
        let mut cluster = cluster(&[("m2", ""), ("m3", "")]);
        for at in 0..30 {
            cluster = cluster.with(&format!("u{at:02}.service"), "m1", "");
        }
        let settle = Duration::ZERO;
        let policy = Policy { evictions_burst: 10, evictions_per_second: 2, settle, ..Policy::default() };
        let mut pace = Pace::new(policy, seconds(0));
        let mut moved = Vec::new();
        for now in [0, 0, 1, 2, 60] {
            let outcome = decide(&cluster, &pace.limits(&cluster, seconds(now)));
            pace.moved(outcome.evictions);
            moved.push(outcome.evictions);
            for decision in outcome.decisions {
                cluster.units.get_mut(&decision.unit).unwrap().target = decision.to;
            }
        }
        assert_eq!(moved, [10, 0, 2, 2, 10]);
    }

    #[test]
    fn a_machine_that_is_missed_for_long_is_given_up_whoever_else_is_gone() {
        let cluster = cluster(&[("m3", "")]).with("a.service", "m1", "").with("b.service", "m2", "");
        let mut pace = Pace::new(Policy::default(), seconds(0));
        assert_eq!(decide(&cluster, &pace.limits(&cluster, seconds(10))).decisions, []);
        assert_eq!(decide(&cluster, &pace.limits(&cluster, seconds(309))).decisions, []);
        assert_eq!(decide(&cluster, &pace.limits(&cluster, seconds(310))).decisions.len(), 2);
    }

    #[test]
    fn machines_lost_together_are_counted_together_although_their_leases_end_one_after_the_other() {
        let all = cluster(&[("m1", ""), ("m2", ""), ("m3", ""), ("m4", ""), ("m5", "")])
            .with("a.service", "m1", "")
            .with("b.service", "m2", "")
            .with("c.service", "m3", "");
        let without = |gone: &[&str]| {
            let mut cluster = all.clone();
            cluster.machines.retain(|machine, _| !gone.contains(&machine.as_str()));
            cluster
        };
        let mut pace = Pace::new(Policy::default(), seconds(0));
        for (now, gone) in
            [(0, &["m1"][..]), (2, &["m1", "m2"]), (4, &["m1", "m2", "m3"]), (30, &["m1", "m2", "m3"])]
        {
            let cluster = without(gone);
            assert_eq!(decide(&cluster, &pace.limits(&cluster, seconds(now))).decisions, [], "after {now} s");
        }
        // Two of five are no loss of most, and do not wait for longer than it takes to know that.
        let cluster = without(&["m1", "m2"]);
        let mut pace = Pace::new(Policy::default(), seconds(0));
        assert_eq!(decide(&cluster, &pace.limits(&cluster, seconds(0))).decisions, []);
        assert_eq!(decide(&cluster, &pace.limits(&cluster, seconds(4))).decisions, []);
        // The pass that may move them is asked for, and not only the next one that would come by itself.
        assert_eq!(pace.next(seconds(4)), Some(Duration::from_millis(4500)));
        let due = Duration::from_millis(4500);
        assert_eq!(decide(&cluster, &pace.limits(&cluster, due)).decisions.len(), 2);
        assert_eq!(pace.next(due), None);
    }

    #[test]
    fn a_machine_that_came_back_has_its_whole_time_again() {
        let mut there = cluster(&[("m3", "")]).with("a.service", "m1", "").with("b.service", "m2", "");
        let away = there.clone();
        there.machines.insert(id("m1"), machine_with(""));
        let mut pace = Pace::new(Policy::default(), seconds(0));
        assert!(pace.limits(&away, seconds(0)).written_off.is_empty());
        assert!(pace.limits(&there, seconds(200)).written_off.is_empty());
        let written_off = pace.limits(&away, seconds(400)).written_off;
        assert!(written_off.contains(&id("m2")) && !written_off.contains(&id("m1")));
    }
}
