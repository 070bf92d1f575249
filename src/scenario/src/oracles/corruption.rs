//! Members that hold something else than the others are named, and nobody else is (etcd: the periodic and the initial
//! corruption check; etcd#14849).
//!
//! Four rules, where the testbed knows whose value it has changed:
//! 1. *No false alarm.* A comparison names only members whose data are damaged then; and it says that members differ, without
//!    naming one, only where one is damaged.
//! 2. *No miss.* Once all members have run undisturbed for as long as a comparison may take, an alarm names each member that is
//!    damaged still; where members compare before they serve, it may have refused to start instead.
//! 3. *Whoever is to be refused.* Where members compare before they serve, and are not compared afterwards, the damaged one
//!    does not start.
//! 4. *Nobody else is.* A member refuses to start only while somebody is damaged.
//!
//! Does not see what a damaged leader sends on in a snapshot: where one was installed while somebody was damaged, names are
//! not judged.

use super::Finding;
use crate::observation::{Observation, Observed};
use crate::record::RunLog;
use seatrial_types::MemberId;
use std::time::Duration;

/// A stretch of time in which a member's data were damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) member: MemberId,
    pub(crate) from: Duration,
    pub(crate) to: Option<Duration>,
}

/// Who was damaged, and when.
pub(crate) fn damages(observed: &[Observed]) -> Vec<Damage> {
    let mut damages: Vec<Damage> = Vec::new();
    for seen in observed {
        match seen.what {
            Observation::Damaged { .. } => {
                damages.push(Damage { member: seen.member, from: seen.at, to: None });
            }
            Observation::Repaired => {
                let open = damages.iter_mut().filter(|damage| damage.member == seen.member);
                open.filter(|damage| damage.to.is_none()).for_each(|damage| damage.to = Some(seen.at));
            }
            _ => {}
        }
    }
    damages
}

pub(super) fn check(log: &RunLog) -> Finding {
    let damages = damages(&log.observed);
    // Hashes are judged a round after they were taken, and a round may take another.
    let late = log.plan.knobs.corrupt_check * 3 + log.plan.knobs.election_timeout * 2;
    let is_damaged = |member: MemberId, at: Duration, late: Duration| {
        let lasts = |damage: &&Damage| damage.from <= at && damage.to.is_none_or(|to| at <= to + late);
        damages.iter().filter(lasts).any(|damage| member == MemberId::NONE || damage.member == member)
    };
    let spread = |at: Duration| {
        let mut installed = log
            .observed
            .iter()
            .filter(|seen| matches!(seen.what, Observation::SnapshotInstalled { .. }) && seen.at <= at);
        installed.any(|seen| is_damaged(MemberId::NONE, seen.at, Duration::ZERO))
    };
    for seen in &log.observed {
        match &seen.what {
            Observation::Corrupt { members, text } => {
                let whole = members.iter().find(|member| !is_damaged(**member, seen.at, late));
                if let Some(whole) = whole.filter(|_| !spread(seen.at)) {
                    let sentence = if *whole == MemberId::NONE {
                        format!("member {} says \"{text}\", but nobody's data are damaged", seen.member)
                    } else {
                        format!("member {} names member {whole}, whose data are whole: {text}", seen.member)
                    };
                    return Finding::violation(sentence, Some(seen.at), Some(seen.member));
                }
            }
            Observation::Inconsistent { text } if !is_damaged(MemberId::NONE, seen.at, Duration::ZERO) => {
                let sentence =
                    format!("member {} does not start though all data are whole: {text}", seen.member);
                return Finding::violation(sentence, Some(seen.at), Some(seen.member));
            }
            _ => {}
        }
    }
    if !log.plan.has_checks() {
        return Finding::Ok;
    }
    let Some(alarms) = &log.alarms else {
        return Finding::Unknown("nobody could be asked for the alarms".to_owned());
    };
    let now = alarms.seen.ret;
    for damage in damages.iter().filter(|damage| damage.from <= now && damage.to.is_none_or(|to| now <= to)) {
        let refused = log.observed.iter().any(|seen| {
            let is_it = seen.member == damage.member && damage.from <= seen.at && seen.at <= now;
            is_it && matches!(seen.what, Observation::Inconsistent { .. })
        });
        let named = alarms.corrupt.contains(&damage.member);
        let is_found = named || refused && log.plan.knobs.initial_check;
        if !is_found && !spread(now) {
            let sentence = format!(
                "the data of member {} are damaged since {:?}, but at {now:?} no alarm names it and it was let start: {:?}",
                damage.member, damage.from, alarms.corrupt
            );
            return Finding::violation(sentence, Some(now), Some(damage.member));
        }
    }
    Finding::Ok
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, quiet, saw, violated};
    use super::*;
    use crate::record::{AlarmsRecord, Sighting};
    use seatrial_types::Revision;

    fn names(members: &[u64]) -> Observation {
        let members = members.iter().copied().map(MemberId).collect();
        Observation::Corrupt { members, text: "they differ".to_owned() }
    }

    /// Member 2 is damaged from 5 s to 9 s; who is named by alarms then.
    fn damaged(named: &[u64]) -> RunLog {
        let mut log = quiet();
        log.plan.knobs.corrupt_check = Duration::from_millis(100);
        log.plan.knobs.election_timeout = Duration::from_millis(100);
        saw(&mut log, 5000, 2, 1, Observation::Damaged { revision: Revision(3) });
        let seen = Sighting { call: at(8000), ret: at(8010) };
        let corrupt = named.iter().copied().map(MemberId).collect();
        log.alarms = Some(AlarmsRecord { seen, corrupt });
        log
    }

    fn repaired(mut log: RunLog) -> RunLog {
        saw(&mut log, 9000, 2, 2, Observation::Repaired);
        log
    }

    #[test]
    fn who_is_damaged_and_not_named_is_a_violation_and_who_is_named_is_none() {
        let missed = repaired(damaged(&[]));
        assert!(violated(&check(&missed)).starts_with("the data of member 2 are damaged since 5s"));
        assert!(violated(&check(&repaired(damaged(&[1])))).contains("no alarm names it"));
        assert_eq!(check(&repaired(damaged(&[2]))), Finding::Ok);
        let mut log = quiet();
        log.plan.knobs.corrupt_check = Duration::from_millis(100);
        assert!(matches!(check(&log), Finding::Unknown(_)), "nobody was asked");
    }

    #[test]
    fn an_alarm_that_names_a_whole_member_is_a_violation_and_a_late_one_is_none() {
        let mut log = damaged(&[2]);
        saw(&mut log, 6000, 1, 0, names(&[2]));
        saw(&mut log, 6100, 1, 0, names(&[0]));
        let mut log = repaired(log);
        saw(&mut log, 9400, 1, 0, names(&[2]));
        assert_eq!(check(&log), Finding::Ok, "a round that began before the repair");
        let mut late = log.clone();
        saw(&mut late, 9600, 1, 0, names(&[2]));
        assert!(violated(&check(&late)).contains("names member 2, whose data are whole"));
        let mut wrong = log.clone();
        saw(&mut wrong, 9400, 1, 0, names(&[3]));
        assert!(violated(&check(&wrong)).contains("names member 3, whose data are whole"));
        let mut early = quiet();
        saw(&mut early, 6100, 1, 0, names(&[0]));
        assert!(violated(&check(&early)).contains("but nobody's data are damaged"));
    }

    #[test]
    fn a_refusal_to_start_stands_for_an_alarm_where_members_compare_before_they_serve() {
        let mut log = damaged(&[]);
        saw(&mut log, 5100, 2, 1, Observation::Inconsistent { text: "differs".to_owned() });
        let log = repaired(log);
        assert!(violated(&check(&log)).contains("no alarm names it"), "they do not compare");
        let mut compares = log.clone();
        compares.plan.knobs.initial_check = true;
        assert_eq!(check(&compares), Finding::Ok);
        saw(&mut compares, 9001, 1, 1, Observation::Inconsistent { text: "differs".to_owned() });
        assert!(violated(&check(&compares)).starts_with("member 1 does not start though all data are whole"));
    }

    #[test]
    fn what_a_snapshot_may_have_spread_is_not_judged() {
        let mut log = damaged(&[3]);
        let installed = Observation::SnapshotInstalled {
            index: seatrial_types::LogIndex(9),
            term: seatrial_types::Term(1),
        };
        saw(&mut log, 5500, 3, 0, installed);
        saw(&mut log, 6000, 1, 0, names(&[3]));
        assert_eq!(check(&repaired(log)), Finding::Ok);
    }
}
