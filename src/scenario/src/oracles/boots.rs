//! Every disk that a legal crash can leave is recovered from (etcd#5230; Protocol-Aware Recovery, FAST 2018).
//!
//! A torn end of the log is cut; damage in the middle is set aside, and the member fetches what it lost from
//! its peers. In no case may it refuse to start.
//!
//! Does not see whether what was recovered is right; the other oracles do.

use super::Finding;
use crate::observation::Observation;
use crate::record::RunLog;

pub(super) fn check(log: &RunLog) -> Finding {
    for seen in &log.observed {
        if let Observation::BootFailed { error } = &seen.what {
            let sentence =
                format!("member {} does not start on the disk its crash left: {error}", seen.member);
            return Finding::violation(sentence, Some(seen.at), Some(seen.member));
        }
    }
    Finding::Ok
}

#[cfg(test)]
mod tests {
    use super::super::testing::{quiet, saw, violated};
    use super::*;

    #[test]
    fn a_member_that_refuses_its_disk_is_a_violation() {
        let mut log = quiet();
        saw(&mut log, 10, 3, 1, Observation::BootFailed { error: "bad checksum".to_owned() });
        assert!(violated(&check(&log)).ends_with("bad checksum"));
    }

    #[test]
    fn a_finding_that_recovery_dealt_with_is_none() {
        let mut log = quiet();
        saw(&mut log, 10, 3, 1, Observation::Finding { text: "cut 12 bytes".to_owned(), damage: false });
        assert_eq!(check(&log), Finding::Ok);
    }
}
