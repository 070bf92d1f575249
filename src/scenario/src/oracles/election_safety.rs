//! Raft §5.2: at most one leader in a term.
//!
//! Looks at who told that it leads, and whom followers take for the leader of their term. A member that led
//! a term, crashed, and leads the same term again counts as two leaders: it must have forgotten its vote.
//!
//! Does not see a leader that never told, such as one that lost power within the step that elected it.

use super::Finding;
use crate::observation::{Observation, Role};
use crate::record::RunLog;
use seatrial_types::{MemberId, Term};
use std::collections::BTreeMap;

pub(super) fn check(log: &RunLog) -> Finding {
    let mut led: BTreeMap<Term, (MemberId, u32)> = BTreeMap::new();
    let mut named: BTreeMap<Term, (MemberId, MemberId)> = BTreeMap::new();
    for seen in &log.observed {
        let Observation::Role { term, role, leader } = &seen.what else { continue };
        let (term, who) = (*term, seen.member);
        if *role == Role::Leader {
            let me = (who, seen.incarnation);
            let first = *led.entry(term).or_insert(me);
            if first != me {
                let sentence = if first.0 == who {
                    format!(
                        "member {who} leads term {term} again after a restart: it forgot that it had voted"
                    )
                } else {
                    format!("members {} and {who} both lead term {term}", first.0)
                };
                return Finding::violation(sentence, Some(seen.at), Some(who));
            }
        }
        let leader = if *role == Role::Leader { who } else { *leader };
        if leader == MemberId::NONE {
            continue;
        }
        let (other, by) = *named.entry(term).or_insert((leader, who));
        if other != leader {
            let sentence = format!(
                "member {by} follows {other} in term {term}, member {who} follows {leader} in the same term"
            );
            return Finding::violation(sentence, Some(seen.at), Some(who));
        }
    }
    Finding::Ok
}

#[cfg(test)]
mod tests {
    use super::super::testing::{leads, quiet, saw, violated};
    use super::*;

    #[test]
    fn two_leaders_of_one_term_are_a_violation() {
        let mut log = quiet();
        saw(&mut log, 10, 1, 0, leads(2));
        saw(&mut log, 20, 3, 0, leads(2));
        assert_eq!(violated(&check(&log)), "members 1 and 3 both lead term 2");
    }

    #[test]
    fn a_member_that_leads_a_term_again_after_a_restart_is_a_violation() {
        let mut log = quiet();
        saw(&mut log, 10, 1, 0, leads(2));
        saw(&mut log, 20, 1, 1, leads(2));
        assert!(violated(&check(&log)).contains("again after a restart"));
    }

    #[test]
    fn followers_that_name_different_leaders_of_one_term_are_a_violation() {
        let mut log = quiet();
        let follows =
            |leader| Observation::Role { term: Term(4), role: Role::Follower, leader: MemberId(leader) };
        saw(&mut log, 10, 1, 0, follows(2));
        saw(&mut log, 20, 3, 0, follows(1));
        assert!(violated(&check(&log)).contains("follows 2 in term 4"));
    }

    #[test]
    fn an_old_leader_that_lingers_beside_the_next_term_is_none() {
        let mut log = quiet();
        saw(&mut log, 10, 1, 0, leads(2));
        saw(&mut log, 20, 3, 0, leads(3));
        saw(&mut log, 25, 1, 0, leads(2));
        assert_eq!(check(&log), Finding::Ok);
    }
}
