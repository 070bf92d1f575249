//! A lease is never shortened, and it ends (etcd: API guarantees, lease; etcd#12528, etcd#9935).
//!
//! Nobody may see a lease gone earlier than its time to live after its last answered renewal was *asked*:
//! the member's own clock started then or later. A member's clock may run fast, by as much as the plan lets it. After the
//! healing, and a bound that allows for one more election, no lease may be left.
//!
//! Where leaders write checkpoints, time counts through all of them: a key may not be seen alive once leaders have counted
//! its lease's whole time together. Of each leader only the time in which it applied entries of its own term, one soon
//! after the other, counts; and of that as much less as its last checkpoint may be behind.
//!
//! Does not see how much a lease was lengthened where there are no checkpoints: that is allowed; nor leases of which a
//! keepalive was not answered, for it may have come at any time.

use super::Finding;
use crate::observation::{Observation, Role};
use crate::record::{LeaseRecord, RunLog};
use seatrial_types::{MemberId, Term};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A leader that applies nothing for longer may be cut off or stand still.
const PULSE: Duration = Duration::from_secs(1);

pub(super) fn check(log: &RunLog) -> Finding {
    if let Some(violation) = too_early(log).or_else(|| too_late(log)) {
        return violation;
    }
    let Some(healing) = &log.healing else { return Finding::Ok };
    match (healing.leases_left.first(), healing.leases_looked) {
        (Some(id), Some(looked)) => {
            let lease = log.leases.iter().find(|lease| lease.id == *id);
            let tried = lease.map(|lease| lease.last_tried).unwrap_or_default();
            let sentence = format!(
                "lease {id} is still there at {looked:?}, though nobody renewed it after {tried:?} and the cluster had \
                 healed"
            );
            Finding::violation(sentence, Some(looked), None)
        }
        _ => Finding::Ok,
    }
}

fn too_early(log: &RunLog) -> Option<Finding> {
    let drift = u32::try_from(log.plan.drift_ppm_max()).expect("at most 50 %");
    for lease in &log.leases {
        let (Some((renewed, _)), Some(gone)) = (lease.renewals.last(), lease.gone) else { continue };
        let ttl = Duration::from_secs(u64::try_from(lease.ttl_seconds).unwrap_or(0));
        // The fastest clock that the plan allows reaches the deadline so much earlier.
        let shortest = ttl * 1_000_000 / (1_000_000 + drift);
        if gone.ret < *renewed + shortest {
            let sentence = format!(
                "lease {} was granted {ttl:?} and renewed at {renewed:?}, but was gone at {:?}, {:?} too early",
                lease.id,
                gone.ret,
                *renewed + shortest - gone.ret
            );
            return Some(Finding::violation(sentence, Some(gone.ret), None));
        }
    }
    None
}

/// When each leader applied entries of its own term.
pub(crate) fn reigns(log: &RunLog) -> Vec<Vec<Duration>> {
    let mut leaders: BTreeSet<(Term, MemberId)> = BTreeSet::new();
    let mut reigns: BTreeMap<(Term, MemberId), Vec<Duration>> = BTreeMap::new();
    for seen in &log.observed {
        match &seen.what {
            Observation::Role { term, role: Role::Leader, .. } => {
                leaders.insert((*term, seen.member));
            }
            Observation::Applied { term, .. } if leaders.contains(&(*term, seen.member)) => {
                reigns.entry((*term, seen.member)).or_default().push(seen.at);
            }
            _ => {}
        }
    }
    reigns.into_values().collect()
}

/// How much time leaders have certainly counted between two moments, all checkpoints being as late as they may be.
fn counted(reigns: &[Vec<Duration>], from: Duration, to: Duration, behind: Duration) -> Duration {
    let of_one = |applied: &Vec<Duration>| {
        let within: Vec<Duration> = applied.iter().copied().filter(|at| from <= *at && *at <= to).collect();
        let steps = within.windows(2).map(|pair| pair[1] - pair[0]).filter(|step| *step <= PULSE);
        steps.sum::<Duration>().saturating_sub(behind)
    };
    reigns.iter().map(of_one).sum()
}

fn too_late(log: &RunLog) -> Option<Finding> {
    let interval = log.plan.knobs.lease_checkpoint;
    if interval.is_zero() {
        return None;
    }
    let drift = u32::try_from(log.plan.drift_ppm_max()).expect("at most 50 %");
    // The last checkpoint is one interval old, was rounded up to a whole second, and another was on its way.
    let behind = interval + Duration::from_secs(1) + log.plan.knobs.election_timeout * 2;
    let reigns = reigns(log);
    let judged = |lease: &&LeaseRecord| !lease.unanswered && !lease.renewals.is_empty();
    for lease in log.leases.iter().filter(judged) {
        let Some(alive) = lease.alive else { continue };
        let ttl = Duration::from_secs(u64::try_from(lease.ttl_seconds).unwrap_or(0));
        let longest = ttl * (1_000_000 + drift * 2) / 1_000_000;
        let counted = counted(&reigns, lease.last_tried, alive.call, behind);
        if counted > longest {
            let sentence = format!(
                "lease {} was granted {ttl:?} and last renewed before {:?}, but its key was there at {:?}, when leaders had \
                 counted {counted:?} at least",
                lease.id, lease.last_tried, alive.call
            );
            return Some(Finding::violation(sentence, Some(alive.call), None));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::testing::{applied, at, leads, quiet, saw, violated};
    use super::*;
    use crate::record::{Healing, LeaseRecord, Sighting};

    fn lease(renewed: u64, gone: Option<u64>) -> RunLog {
        let mut log = quiet();
        log.leases.push(LeaseRecord {
            client: 1,
            id: 7,
            ttl_seconds: 3,
            key: "lease/7".to_owned(),
            renewals: vec![(at(renewed), at(renewed + 5))],
            last_tried: at(renewed + 5),
            gone: gone.map(|ret| Sighting { call: at(ret - 5), ret: at(ret) }),
            alive: None,
            unanswered: false,
        });
        log
    }

    /// Two leaders, each of which applies something every half a second for so many seconds, and a key that is seen at
    /// the end of both.
    fn lives_on(seconds: [u64; 2]) -> RunLog {
        let mut log = lease(1000, None);
        log.plan.knobs.lease_checkpoint = Duration::from_millis(500);
        log.plan.knobs.election_timeout = Duration::from_millis(500);
        let mut ms = 1000;
        for (term, seconds) in [1, 2].into_iter().zip(seconds) {
            saw(&mut log, ms, term, 0, leads(term));
            for _ in 0..=seconds * 2 {
                saw(&mut log, ms, term, 0, applied(ms, term, 0));
                // What others apply says nothing about who counts.
                saw(&mut log, ms + 1, 3, 0, applied(ms, term, 0));
                ms += 500;
            }
            ms += 5000;
        }
        log.leases[0].alive = Some(Sighting { call: at(ms), ret: at(ms + 5) });
        log
    }

    #[test]
    fn a_lease_that_ends_before_its_time_is_a_violation() {
        assert!(violated(&check(&lease(1000, Some(3999)))).contains("1ms too early"));
    }

    #[test]
    fn a_lease_that_ends_at_its_time_or_later_is_none() {
        assert_eq!(check(&lease(1000, Some(4000))), Finding::Ok);
        assert_eq!(check(&lease(1000, Some(9000))), Finding::Ok);
    }

    #[test]
    fn a_lease_that_outlives_every_bound_is_a_violation() {
        let mut log = lease(1000, None);
        log.healing = Some(Healing {
            healed: Some(at(5000)),
            leases_left: vec![7],
            leases_looked: Some(at(20_000)),
            ..Healing::default()
        });
        assert!(violated(&check(&log)).starts_with("lease 7 is still there"));
    }

    #[test]
    fn a_lease_with_checkpoints_that_outlives_the_time_its_leaders_counted_is_a_violation() {
        // Of each leader 2.5 s do not count for certain.
        let late = lives_on([4, 5]);
        assert!(violated(&check(&late)).contains("leaders had counted 3.5s"), "{:?}", check(&late));
    }

    #[test]
    fn a_lease_that_outlives_it_without_checkpoints_or_by_what_a_checkpoint_may_be_late_is_none() {
        assert_eq!(check(&lives_on([4, 4])), Finding::Ok, "3 s counted of 3 s");
        let mut log = lives_on([4, 5]);
        log.plan.knobs.lease_checkpoint = Duration::ZERO;
        assert_eq!(check(&log), Finding::Ok, "every leader may begin anew");
        let mut log = lives_on([4, 5]);
        log.leases[0].unanswered = true;
        assert_eq!(check(&log), Finding::Ok, "perhaps it was renewed");
        let mut log = lives_on([4, 5]);
        log.observed.retain(|seen| seen.member != MemberId(2) || seen.at.subsec_millis() != 500);
        log.observed.retain(|seen| seen.member != MemberId(2) || seen.at.as_secs() % 2 == 0);
        assert_eq!(
            check(&log),
            Finding::Ok,
            "a leader that applies something every two seconds may be cut off"
        );
    }
}
