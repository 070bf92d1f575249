//! No member ends at an assertion of its own, and none says that it must stop, unless its disk failed it.
//!
//! An invariant of ours is an assertion, on in release builds too: where one fails, a bug was stopped before
//! it could answer wrongly. A failed sync or a full disk is no bug: stopping is then the right thing.
//!
//! Does not see a wrong state that no assertion looks at.

use super::Finding;
use crate::record::RunLog;

pub(super) fn check(log: &RunLog) -> Finding {
    match log.panics.first() {
        Some((member, text)) => {
            let who = member.map_or("a member".to_owned(), |member| format!("member {member}"));
            Finding::violation(format!("{who} panicked: {text}"), Some(log.ended), *member)
        }
        None => Finding::Ok,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{quiet, saw, violated};
    use super::*;
    use crate::observation::Observation;
    use seatrial_types::MemberId;

    #[test]
    fn a_panic_is_a_violation() {
        let mut log = quiet();
        log.panics.push((Some(MemberId(2)), "applied 7 beyond commit 6".to_owned()));
        assert_eq!(violated(&check(&log)), "member 2 panicked: applied 7 beyond commit 6");
    }

    #[test]
    fn a_member_that_stops_because_its_disk_failed_is_none() {
        let mut log = quiet();
        saw(&mut log, 10, 2, 0, Observation::Failed { why: "sync failed".to_owned() });
        assert_eq!(check(&log), Finding::Ok);
    }
}
