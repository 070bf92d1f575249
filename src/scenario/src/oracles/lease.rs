//! A lease is never shortened, and it ends (etcd: API guarantees, lease; etcd#12528, etcd#9935).
//!
//! Nobody may see a lease gone earlier than its time to live after its last answered renewal was *asked*:
//! the member's own clock started then or later. A member's clock may run fast, by as much as the plan lets it. After the
//! healing, and a bound that allows for one more election, no lease may be left.
//!
//! Does not see how much a lease was lengthened while leaders changed: that is allowed.

use super::Finding;
use crate::record::RunLog;
use std::time::Duration;

pub(super) fn check(log: &RunLog) -> Finding {
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
            return Finding::violation(sentence, Some(gone.ret), None);
        }
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

#[cfg(test)]
mod tests {
    use super::super::testing::{at, quiet, violated};
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
        });
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
}
