//! How new a run is: what happened in it, seen from far enough away that two runs can be alike.
//!
//! A feature is something that a member told, together with the circumstances: its role, which faults were active, how
//! many members ran, and what the same member had told just before. No times, no indexes, no terms. A run with a
//! feature that no run before it had is worth varying: its schedule went where none had been.

use crate::observation::{Observation, Role};
use crate::record::RunLog;
use seatrial_types::MemberId;
use std::collections::{BTreeMap, BTreeSet};

/// What a run did, as digests. Equal digests, equal features; what a digest stands for is not kept.
#[must_use]
pub fn features(log: &RunLog) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    let mut roles: BTreeMap<MemberId, Role> = BTreeMap::new();
    let mut told: BTreeMap<MemberId, &str> = BTreeMap::new();
    let members = log.plan.machines().count();
    for seen in &log.observed {
        let Some(what) = name(&seen.what) else { continue };
        if let Observation::Role { role, .. } = seen.what {
            roles.insert(seen.member, role);
        }
        if matches!(seen.what, Observation::Started { .. }) {
            roles.insert(seen.member, Role::Follower);
        }
        let faults: BTreeSet<&str> = log
            .faults
            .iter()
            .filter(|fault| fault.from <= seen.at && fault.to.is_none_or(|to| seen.at < to))
            .map(|fault| fault.kind.as_str())
            .collect();
        let is_hit = log.faults.iter().any(|fault| {
            fault.from <= seen.at
                && fault.to.is_none_or(|to| seen.at < to)
                && fault.targets.contains(&seen.member)
        });
        let down = log
            .outages
            .iter()
            .filter(|outage| outage.from <= seen.at && outage.to.is_none_or(|to| seen.at < to))
            .map(|outage| outage.member)
            .collect::<BTreeSet<_>>()
            .len();
        let leaders = roles.values().filter(|role| **role == Role::Leader).count().min(2);
        let role = roles.get(&seen.member);
        let majority = if down == 0 {
            "all"
        } else if down * 2 < members {
            "most"
        } else {
            "few"
        };
        // Three coarse views instead of one fine one: everything at once would make every run new.
        found.insert(digest(&format!("1 {what} {role:?} {majority} {leaders}")));
        for fault in &faults {
            found.insert(digest(&format!("2 {what} {role:?} {fault} {is_hit}")));
        }
        if faults.len() > 1 {
            let pair: Vec<&&str> = faults.iter().take(2).collect();
            found.insert(digest(&format!("4 {what} {pair:?}")));
        }
        if let Some(before) = told.insert(seen.member, what) {
            found.insert(digest(&format!("3 {before} {what} {majority}")));
        }
    }
    found
}

/// What of an observation is news; `None` for what happens all the time.
fn name(what: &Observation) -> Option<&'static str> {
    Some(match what {
        Observation::Started { .. } => "started",
        Observation::BootFailed { .. } => "boot failed",
        Observation::Role { role: Role::Follower, leader, .. } if *leader == MemberId::NONE => {
            "lost its leader"
        }
        Observation::Role { role: Role::Follower, .. } => "follows",
        Observation::Role { role: Role::PreCandidate, .. } => "asks for votes before",
        Observation::Role { role: Role::Candidate, .. } => "asks for votes",
        Observation::Role { role: Role::Leader, .. } => "leads",
        Observation::SnapshotStarted { .. } => "sends a snapshot",
        Observation::SnapshotInstalled { .. } => "installed a snapshot",
        Observation::LogCompacted { .. } => "compacted",
        Observation::Finding { damage: true, .. } => "found damage",
        Observation::Finding { damage: false, .. } => "cut a tail",
        Observation::Corrupt { .. } => "named corruption",
        Observation::Inconsistent { .. } => "would not start",
        Observation::Damaged { .. } => "was damaged",
        Observation::Repaired => "was repaired",
        Observation::LeaseExpired { .. } => "ended a lease",
        Observation::Config { outgoing, .. } if !outgoing.is_empty() => "is in a joint configuration",
        Observation::Config { learners, .. } if !learners.is_empty() => "has a learner",
        Observation::Config { .. } => "changed its configuration",
        Observation::Removed => "was removed",
        Observation::Failed { .. } => "stopped",
        Observation::Applied { .. }
        | Observation::Log { .. }
        | Observation::Durable { .. }
        | Observation::Said { .. } => return None,
    })
}

/// FNV-1a: the digests of a stored corpus must mean the same in every build.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracles::testing::{applied, leads, quiet, saw};
    use crate::record::{FaultRecord, OutageRecord};
    use std::time::Duration;

    fn run(later: u64, terms: u64) -> RunLog {
        let mut log = quiet();
        saw(&mut log, 100 + later, 1, 0, leads(1 + terms));
        saw(&mut log, 200 + later, 1, 0, applied(7 + terms, 1, 0));
        saw(&mut log, 300 + later, 2, 0, leads(2 + terms));
        log
    }

    #[test]
    fn times_terms_and_ordinary_progress_are_no_news() {
        let first = features(&run(0, 0));
        assert!(!first.is_empty());
        assert_eq!(first, features(&run(50, 3)));
        let mut more = run(0, 0);
        saw(&mut more, 400, 3, 0, applied(9, 1, 0));
        assert_eq!(first, features(&more));
    }

    #[test]
    fn faults_outages_and_what_came_before_are() {
        let first = features(&run(0, 0));
        let at = Duration::from_millis;
        let fault = |kind: &str, targets: &[u64]| FaultRecord {
            id: 0,
            kind: kind.to_owned(),
            targets: targets.iter().copied().map(MemberId).collect(),
            from: at(50),
            to: None,
            text: String::new(),
            cut: Vec::new(),
        };
        let with = |faults: Vec<FaultRecord>| {
            let mut log = run(0, 0);
            log.faults = faults;
            features(&log)
        };
        let kill = with(vec![fault("kill", &[1])]);
        assert!(!kill.is_subset(&first));
        assert_ne!(kill, with(vec![fault("pause", &[1])]));
        assert_ne!(kill, with(vec![fault("kill", &[3])]), "whom it hit is told");
        assert!(!with(vec![fault("kill", &[1]), fault("pause", &[1])]).is_subset(&kill), "two at once");
        let mut down = run(0, 0);
        let outage = |member| OutageRecord {
            member: MemberId(member),
            kind: "kill".to_owned(),
            from: at(50),
            to: None,
        };
        down.outages = vec![outage(2), outage(3)];
        assert!(!features(&down).is_subset(&first), "few members ran");
        let mut again = run(0, 0);
        saw(&mut again, 400, 2, 0, Observation::LogCompacted { index: seatrial_types::LogIndex(3) });
        assert!(!features(&again).is_subset(&first));
    }
}
