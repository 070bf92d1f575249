//! Every disk that a legal crash can leave is recovered from (etcd#5230; Protocol-Aware Recovery, FAST 2018).
//!
//! A torn end of the log is cut; damage in the middle is set aside, and the member fetches what it lost from
//! its peers. In no case may it refuse to start, unless the disk fails it in that very moment: then stopping is
//! right, as it is later. A store that was altered behind its member's back may be refused as well, by name: no crash leaves
//! such a one.
//!
//! Does not see whether what was recovered is right; the other oracles do.

use super::Finding;
use super::reasons::{found_altered, was_refused};
use crate::observation::Observation;
use crate::record::RunLog;
use std::time::Duration;

pub(super) fn check(log: &RunLog) -> Finding {
    for seen in &log.observed {
        let disk_fails_now = was_refused(log, seen, Duration::ZERO);
        if let Observation::BootFailed { error } = &seen.what
            && !disk_fails_now
            && !found_altered(log, seen, error)
        {
            let sentence =
                format!("member {} does not start on the disk its crash left: {error}", seen.member);
            return Finding::violation(sentence, Some(seen.at), Some(seen.member));
        }
    }
    Finding::Ok
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, quiet, saw, violated};
    use super::*;
    use crate::record::FaultRecord;
    use seatrial_types::MemberId;

    #[test]
    fn a_member_that_refuses_its_disk_is_a_violation() {
        let mut log = quiet();
        saw(&mut log, 10, 3, 1, Observation::BootFailed { error: "bad checksum".to_owned() });
        assert!(violated(&check(&log)).ends_with("bad checksum"));
    }

    #[test]
    fn a_start_that_a_failing_disk_ends_is_none_and_the_next_one_is() {
        let mut log = quiet();
        log.faults.push(FaultRecord {
            id: 0,
            kind: "sync-error".to_owned(),
            targets: vec![MemberId(3)],
            from: at(5),
            to: Some(at(20)),
            text: String::new(),
            cut: Vec::new(),
        });
        saw(&mut log, 10, 3, 1, Observation::BootFailed { error: "sync failed".to_owned() });
        assert_eq!(check(&log), Finding::Ok);
        saw(&mut log, 30, 3, 2, Observation::BootFailed { error: "sync failed".to_owned() });
        violated(&check(&log));
    }

    #[test]
    fn a_store_that_was_altered_may_be_refused_by_name_and_by_nobody_else() {
        let mut log = quiet();
        log.faults.push(FaultRecord {
            id: 0,
            kind: "store-rot".to_owned(),
            targets: vec![MemberId(3)],
            from: at(5),
            to: Some(at(20)),
            text: String::new(),
            cut: Vec::new(),
        });
        let named = "the store cannot be opened: db/first.redb: a page makes no sense".to_owned();
        saw(&mut log, 30_000, 3, 1, Observation::BootFailed { error: named.clone() });
        assert_eq!(check(&log), Finding::Ok);
        log.observed[0].member = MemberId(2);
        violated(&check(&log));
        log.observed[0].member = MemberId(3);
        log.observed[0].what = Observation::BootFailed { error: "no".to_owned() };
        violated(&check(&log));
    }

    #[test]
    fn a_finding_that_recovery_dealt_with_is_none() {
        let mut log = quiet();
        saw(&mut log, 10, 3, 1, Observation::Finding { text: "cut 12 bytes".to_owned(), damage: false });
        assert_eq!(check(&log), Finding::Ok);
    }
}
