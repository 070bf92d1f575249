//! A member that goes on alone after all others are lost keeps what it had, and the others never return (etcd: disaster
//! recovery, `--force-new-cluster`; etcd#2328).
//!
//! Four rules:
//! 1. *Kept.* Every acknowledged write that stood in the survivor's log is there in the end: what it had applied and made durable,
//!    and also what it did not know to be committed. (Its log is known to be its last leader's where it has applied an entry of
//!    that leader's term.)
//! 2. *Served.* So is every write that was acknowledged after it went on alone.
//! 3. *Alone.* It is the only voter then, and no configuration after that one, nor the list of members in the end, has
//!    one of those who were lost.
//! 4. *Never again.* One of those who comes back with its old disk leads nothing and applies nothing of the new cluster.
//!
//! Does not see what the survivor had never heard of: that is lost with the others. Other oracles that look at what was
//! acknowledged, or at the members, do not know of such a loss: a scenario with one names those that do.

use super::{Finding, durability};
use crate::observation::{Observation, Observed, Role};
use crate::record::{LossRecord, RunLog};
use seatrial_types::{LogIndex, MemberId, Term};
use std::time::Duration;

pub(super) fn check(log: &RunLog) -> Finding {
    let Some(loss) = &log.loss else { return Finding::Ok };
    let Some(alone) = loss.alone else { return Finding::Ok };
    let violation = not_alone(log, loss, alone).or_else(|| returned(log, loss));
    if let Some(violation) = violation {
        return violation;
    }
    let kept = kept_up_to(log, loss);
    let (lost_at, alone) = (crate::record::nanos(loss.at), crate::record::nanos(alone));
    durability::check_those(log, |operation, revision| {
        let before = operation.ret.is_some_and(|ret| ret <= lost_at) && revision <= kept;
        before || operation.call >= alone
    })
}

/// What members told before the loss.
fn before<'a>(log: &'a RunLog, loss: &LossRecord) -> impl Iterator<Item = &'a Observed> {
    let at = loss.at;
    log.observed.iter().filter(move |seen| seen.at <= at)
}

/// The revision up to which the survivor had everything in its log for certain.
fn kept_up_to(log: &RunLog, loss: &LossRecord) -> i64 {
    let (mut applied, mut applied_term) = (LogIndex::ZERO, Term::default());
    let (mut durable, mut term) = (LogIndex::ZERO, Term::default());
    for seen in before(log, loss).filter(|seen| seen.member == loss.survivor) {
        match seen.what {
            Observation::Applied { index, term, .. } => (applied, applied_term) = (index, term),
            // It begins with what it has on disk.
            Observation::Started { applied: index, .. } => (applied, durable) = (index, index),
            Observation::SnapshotInstalled { index, .. } => applied = index,
            Observation::Role { term: now, .. } => term = now,
            // Until an entry of the present leader's term is there, what lies behind may be another leader's.
            Observation::Durable { index } if applied_term == term => durable = index,
            _ => {}
        }
    }
    // Applied and not durable yet: that may be gone.
    let kept = if applied_term == term { durable } else { durable.min(applied) };
    // What others applied there in a later term, while it was cut off, is not what it has.
    let is_its_own = |index: LogIndex, of: Term| index <= applied || of == applied_term;
    let revisions = before(log, loss).filter_map(|seen| match seen.what {
        Observation::Applied { index, term, revision, .. } if index <= kept && is_its_own(index, term) => {
            Some(revision.0)
        }
        _ => None,
    });
    revisions.max().unwrap_or(0)
}

/// Rule 3.
fn not_alone(log: &RunLog, loss: &LossRecord, alone: Duration) -> Option<Finding> {
    let is_old = |id: &MemberId| loss.lost.contains(id);
    // The entry since which it is alone. Before that one it tells the configurations that it finds in its log.
    let mut began = None;
    let mut now: Vec<MemberId> = Vec::new();
    for seen in log.observed.iter().filter(|seen| seen.at >= alone) {
        let is_survivor = seen.member == loss.survivor;
        let (id, index, all) = match &seen.what {
            Observation::Config { id, index, voters, outgoing, learners, .. } => {
                (*id, *index, voters.iter().chain(outgoing).chain(learners).copied().collect::<Vec<_>>())
            }
            Observation::Role { role: Role::Leader, .. } if is_survivor && began.is_none() => {
                let sentence = format!("member {} was to go on alone, but leads {now:?}", loss.survivor);
                return Some(Finding::violation(sentence, Some(seen.at), Some(seen.member)));
            }
            _ => continue,
        };
        if is_old(&id) {
            continue;
        }
        if is_survivor && began.is_none() && all == [loss.id] {
            began = Some(index);
        }
        if is_survivor {
            now.clone_from(&all);
        }
        let is_new = began.is_some_and(|began| index >= began);
        if let Some(old) = all.iter().find(|id| is_old(id)).filter(|_| is_new) {
            let sentence = format!("entry {index} makes {old} a member again, which was lost for good");
            return Some(Finding::violation(sentence, Some(seen.at), Some(seen.member)));
        }
    }
    let old = loss.members.iter().find(|id| is_old(id))?;
    let sentence = format!("in the end {old} is still among the members, though it was lost for good");
    Some(Finding::violation(sentence, Some(log.ended), None))
}

/// Rule 4.
fn returned(log: &RunLog, loss: &LossRecord) -> Option<Finding> {
    let (machine, back) = loss.back?;
    let newest = before(log, loss).filter_map(|seen| match seen.what {
        Observation::Role { term, .. } => Some(term),
        _ => None,
    });
    let newest = newest.max().unwrap_or_default();
    // By now its machine may be another member's.
    let mut is_old = true;
    for seen in log.observed.iter().filter(|seen| seen.member == machine && seen.at >= back) {
        let what = match &seen.what {
            Observation::Config { id, .. } => {
                is_old = loss.lost.contains(id);
                continue;
            }
            Observation::Role { role: Role::Leader, term, .. } => format!("leads in term {term}"),
            Observation::Applied { index, term, .. } if *term > newest => {
                format!("applies entry {index} of term {term}")
            }
            _ => continue,
        };
        if is_old {
            let sentence = format!("member {machine} came back after it was lost for good, and {what}");
            return Some(Finding::violation(sentence, Some(seen.at), Some(machine)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, ends_with, event, leads, put, quiet, saw, violated};
    use super::*;
    use seatrial_types::{EventKind, Revision};

    fn applied(index: u64, term: u64, revision: i64) -> Observation {
        Observation::Applied {
            index: LogIndex(index),
            term: Term(term),
            checksum: 0,
            revision: Revision(revision),
        }
    }

    fn durable(index: u64) -> Observation {
        Observation::Durable { index: LogIndex(index) }
    }

    fn follows(term: u64) -> Observation {
        Observation::Role { term: Term(term), role: Role::Follower, leader: MemberId(2) }
    }

    fn config(id: u64, index: u64, voters: &[u64]) -> Observation {
        Observation::Config {
            id: MemberId(id),
            index: LogIndex(index),
            term: Term(2),
            voters: voters.iter().copied().map(MemberId).collect(),
            outgoing: [].into(),
            learners: [].into(),
            leads: false,
        }
    }

    /// Member 2 leads and acknowledges revisions 2 to 4; of entries 2 to 4 member 1 has applied the first, and made so
    /// many durable. Then all others are lost, and what revisions are left is told.
    fn run(durable_up_to: u64, left: i64) -> RunLog {
        let mut log = quiet();
        saw(&mut log, 1, 2, 0, leads(1));
        saw(&mut log, 2, 1, 0, follows(1));
        saw(&mut log, 3, 1, 0, applied(2, 1, 2));
        for revision in 2..=4 {
            saw(&mut log, 10, 2, 0, applied(revision, 1, revision.cast_signed()));
            put(&mut log, (5, 20), "k", &revision.to_string(), revision.cast_signed());
        }
        saw(&mut log, 15, 1, 0, durable(durable_up_to));
        log.loss = Some(LossRecord {
            at: at(100),
            survivor: MemberId(1),
            id: MemberId(1),
            lost: vec![MemberId(2), MemberId(3)],
            alone: Some(at(200)),
            back: Some((MemberId(2), at(300))),
            members: vec![MemberId(1)],
        });
        saw(&mut log, 201, 1, 1, config(1, 9, &[1]));
        let ledger = (2..=left)
            .map(|revision| event(EventKind::Put, "k", &revision.to_string(), revision, revision - 1));
        ends_with(&mut log, ledger.collect());
        log
    }

    #[test]
    fn what_stood_in_the_survivors_log_is_kept_and_what_did_not_need_not_be() {
        assert_eq!(check(&run(4, 4)), Finding::Ok);
        assert_eq!(check(&run(3, 3)), Finding::Ok, "it had not heard of the last");
        assert!(violated(&check(&run(4, 3))).contains("was answered at revision 4"));
        let mut unsure = run(4, 3);
        saw(&mut unsure, 50, 1, 0, follows(2));
        unsure.observed.retain(|seen| seen.what != durable(4));
        saw(&mut unsure, 60, 1, 0, durable(4));
        assert_eq!(
            check(&unsure),
            Finding::Ok,
            "of a new term nothing is applied: the end may be another leader's"
        );
        let mut cut_off = run(4, 3);
        for seen in &mut cut_off.observed {
            if seen.what == applied(4, 1, 4) {
                seen.what = applied(4, 2, 4);
            }
        }
        assert_eq!(check(&cut_off), Finding::Ok, "its fourth entry is not the one that others applied");
        let mut fresh = run(4, 4);
        put(&mut fresh, (250, 260), "k", "5", 5);
        assert!(violated(&check(&fresh)).contains("revision 5"), "acknowledged afterwards");
    }

    #[test]
    fn old_members_in_a_configuration_or_the_list_are_a_violation_and_new_ones_are_none() {
        let mut log = run(4, 4);
        saw(&mut log, 400, 1, 1, config(1, 12, &[1, 7]));
        // One that joins reads the old configurations in the log it is sent.
        saw(&mut log, 410, 4, 0, config(7, 3, &[1, 2, 3]));
        saw(&mut log, 411, 4, 0, config(7, 12, &[1, 7]));
        assert_eq!(check(&log), Finding::Ok);
        let mut again = log.clone();
        saw(&mut again, 420, 1, 1, config(1, 13, &[1, 2, 7]));
        assert!(violated(&check(&again)).starts_with("entry 13 makes 2 a member again"));
        let mut listed = log.clone();
        listed.loss.as_mut().unwrap().members.push(MemberId(3));
        assert!(violated(&check(&listed)).starts_with("in the end 3 is still among the members"));
        let mut not_alone = run(4, 4);
        not_alone.observed.retain(|seen| !matches!(seen.what, Observation::Config { .. }));
        saw(&mut not_alone, 201, 1, 1, config(1, 9, &[1, 2, 3]));
        assert_eq!(check(&not_alone), Finding::Ok, "it finds that in its log");
        saw(&mut not_alone, 202, 1, 1, leads(2));
        assert!(violated(&check(&not_alone)).starts_with("member 1 was to go on alone, but leads"));
    }

    #[test]
    fn one_that_comes_back_and_leads_or_applies_something_new_is_a_violation() {
        let mut log = run(4, 4);
        saw(&mut log, 310, 2, 1, config(2, 0, &[1, 2, 3]));
        saw(&mut log, 311, 2, 1, applied(4, 1, 4));
        assert_eq!(check(&log), Finding::Ok, "what it had");
        let mut applies = log.clone();
        saw(&mut applies, 312, 2, 1, applied(9, 2, 4));
        assert!(violated(&check(&applies)).contains("applies entry 9 of term 2"));
        let mut leads_again = log.clone();
        saw(&mut leads_again, 312, 2, 1, leads(3));
        assert!(violated(&check(&leads_again)).contains("leads in term 3"));
        let mut another = log;
        saw(&mut another, 500, 2, 2, config(8, 12, &[1, 8]));
        saw(&mut another, 501, 2, 2, leads(3));
        assert_eq!(check(&another), Finding::Ok, "a new member lives there by then");
    }
}
