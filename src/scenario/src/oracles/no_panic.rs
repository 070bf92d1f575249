//! No member ends at an assertion of its own, and none says that it must stop, unless its disk failed it.
//!
//! An invariant of ours is an assertion, on in release builds too: where one fails, a bug was stopped before
//! it could answer wrongly. A failed sync or a full disk is no bug: stopping is then the right thing.
//!
//! Does not see a wrong state that no assertion looks at.

use super::Finding;
use super::reasons::{found_altered, was_hit, was_refused};
use crate::format::spec::NemesisKind;
use crate::observation::{Observation, Observed};
use crate::record::RunLog;
use std::time::Duration;

/// What was wrong with a disk may be noticed so long after it was put right.
const NOTICED_LATER: Duration = Duration::from_secs(5);

pub(super) fn check(log: &RunLog) -> Finding {
    if let Some((member, text)) = log.panics.first() {
        let who = member.map_or("a member".to_owned(), |member| format!("member {member}"));
        return Finding::violation(format!("{who} panicked: {text}"), Some(log.ended), *member);
    }
    for seen in &log.observed {
        if let Observation::Failed { why } = &seen.what
            && !had_a_reason(log, seen, why)
        {
            let sentence = format!("member {} stopped on a healthy disk: {why}", seen.member);
            return Finding::violation(sentence, Some(seen.at), Some(seen.member));
        }
    }
    Finding::Ok
}

/// Whether its disk had failed it. Where no fault can be seen to hit disks (real processes), nothing is known.
fn had_a_reason(log: &RunLog, seen: &Observed, why: &str) -> bool {
    let kinds = [NemesisKind::LyingSync, NemesisKind::WalDamage, NemesisKind::ValueDamage];
    was_refused(log, seen, NOTICED_LATER)
        || was_hit(log, seen, &kinds, NOTICED_LATER)
        || found_altered(log, seen, why)
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
    fn a_member_may_stop_because_its_disk_failed_and_only_then() {
        let mut log = quiet();
        saw(&mut log, 1000, 2, 0, Observation::Failed { why: "sync failed".to_owned() });
        assert_eq!(violated(&check(&log)), "member 2 stopped on a healthy disk: sync failed");
        let fault = |kind: &str, member: u64, from: u64| crate::record::FaultRecord {
            id: 0,
            kind: kind.to_owned(),
            targets: vec![MemberId(member)],
            from: std::time::Duration::from_millis(from),
            to: None,
            text: String::new(),
            cut: Vec::new(),
        };
        for (kind, member, from) in [("sync-error", 1, 900), ("kill", 2, 900), ("sync-error", 2, 1100)] {
            log.faults = vec![fault(kind, member, from)];
            violated(&check(&log));
        }
        for kind in ["sync-error", "full-disk", "read-error"] {
            log.faults = vec![fault(kind, 2, 900)];
            assert_eq!(check(&log), Finding::Ok, "{kind}");
        }
        for kind in ["store-rot", "misdirected-write"] {
            log.faults = vec![fault(kind, 2, 900)];
            violated(&check(&log));
        }
    }

    #[test]
    fn a_member_may_stop_at_any_time_because_its_store_is_not_what_it_wrote_if_it_names_the_file() {
        let mut log = quiet();
        let why = "the store failed: db/first.redb: a row does not match its checksum".to_owned();
        saw(&mut log, 60_000, 2, 0, Observation::Failed { why });
        violated(&check(&log));
        log.faults = vec![crate::record::FaultRecord {
            id: 0,
            kind: "store-rot".to_owned(),
            targets: vec![MemberId(2)],
            from: Duration::from_millis(900),
            to: Some(Duration::from_millis(1000)),
            text: String::new(),
            cut: Vec::new(),
        }];
        assert_eq!(check(&log), Finding::Ok);
    }

    #[test]
    fn a_disk_that_failed_excuses_a_stop_soon_afterwards_and_never_a_panic() {
        let fault = |to: Option<u64>| crate::record::FaultRecord {
            id: 0,
            kind: "sync-error".to_owned(),
            targets: vec![MemberId(2)],
            from: Duration::from_millis(1000),
            to: to.map(Duration::from_millis),
            text: String::new(),
            cut: Vec::new(),
        };
        let mut log = quiet();
        log.faults = vec![fault(Some(2000))];
        saw(&mut log, 7000, 2, 0, Observation::Failed { why: "sync failed".to_owned() });
        assert_eq!(check(&log), Finding::Ok, "noticed five seconds later");
        let mut late = log.clone();
        saw(&mut late, 7001, 2, 1, Observation::Failed { why: "sync failed".to_owned() });
        violated(&check(&late));
        let mut panicked = log.clone();
        panicked.panics.push((Some(MemberId(2)), "no room".to_owned()));
        violated(&check(&panicked));
        saw(&mut log, 7500, 3, 0, Observation::Said { level: "error".to_owned(), text: "ended".to_owned() });
        assert_eq!(check(&log), Finding::Ok, "what it says is no stop");
    }
}
