//! Raft §5.4: a leader has every entry that was committed in an earlier term.
//!
//! A leader's first own entry comes after all it has. So the first entry that the leader of a term writes into its log has a higher
//! index than every entry of an earlier term that anybody had applied before that leader was elected. It need not be
//! committed for that, nor reach anybody.
//!
//! Does not see a leader that ends before it has written anything, nor that an entry was committed of which no member had
//! heard yet.

use super::Finding;
use crate::observation::{Observation, Role};
use crate::record::RunLog;
use seatrial_types::{LogIndex, MemberId, Term};
use std::collections::BTreeMap;

/// What had been applied anywhere when a term's leader was elected.
struct Elected {
    leader: MemberId,
    applied: LogIndex,
    of: Term,
    by: MemberId,
}

pub(super) fn check(log: &RunLog) -> Finding {
    let (mut applied, mut of, mut by) = (LogIndex::ZERO, Term(0), MemberId::NONE);
    // Leaders that have written nothing yet.
    let mut elected: BTreeMap<Term, Elected> = BTreeMap::new();
    for seen in &log.observed {
        match &seen.what {
            Observation::Role { term, role: Role::Leader, .. } => {
                elected.entry(*term).or_insert(Elected { leader: seen.member, applied, of, by });
            }
            Observation::Applied { index, term, .. } if *index > applied => {
                (applied, of, by) = (*index, *term, seen.member);
            }
            Observation::Log { begin: None, first, entries } => {
                for (at, (term, _)) in entries.iter().enumerate() {
                    if elected.get(term).is_none_or(|elected| elected.leader != seen.member) {
                        continue;
                    }
                    let Some(Elected { leader, applied, of, by }) = elected.remove(term) else { continue };
                    let index = LogIndex(first.0 + at as u64);
                    if of < *term && index <= applied {
                        let sentence = format!(
                            "member {leader} was elected in term {term} without the entry {applied} of term {of}, which \
                             member {by} had applied: its own first entry is at index {index}"
                        );
                        return Finding::violation(sentence, Some(seen.at), Some(leader));
                    }
                }
            }
            _ => {}
        }
    }
    Finding::Ok
}

#[cfg(test)]
mod tests {
    use super::super::testing::{applied, leads, quiet, saw, violated, wrote};
    use super::*;

    #[test]
    fn a_leader_that_lacks_a_committed_entry_is_a_violation() {
        let mut log = quiet();
        saw(&mut log, 10, 1, 0, applied(7, 2, 0xaa));
        saw(&mut log, 20, 2, 0, leads(3));
        saw(&mut log, 30, 2, 0, wrote(None, 7, &[(3, 0xbb)]));
        assert_eq!(
            violated(&check(&log)),
            "member 2 was elected in term 3 without the entry 7 of term 2, which member 1 had applied: its own first \
             entry is at index 7"
        );
    }

    #[test]
    fn an_entry_committed_after_the_election_by_the_new_leader_itself_is_none() {
        let mut log = quiet();
        saw(&mut log, 10, 1, 0, applied(6, 2, 0xaa));
        saw(&mut log, 20, 2, 0, leads(3));
        saw(&mut log, 25, 2, 0, wrote(None, 7, &[(3, 0xbb)]));
        saw(&mut log, 30, 2, 0, applied(7, 3, 0xbb));
        assert_eq!(check(&log), Finding::Ok);
    }

    #[test]
    fn what_a_leader_lacks_that_was_committed_after_its_election_is_none() {
        let mut log = quiet();
        saw(&mut log, 20, 2, 0, leads(3));
        // The old leader, in the same moment, whose majority does not know of term 3 yet.
        saw(&mut log, 21, 1, 0, applied(7, 2, 0xaa));
        saw(&mut log, 30, 2, 0, wrote(None, 7, &[(3, 0xbb)]));
        assert_eq!(check(&log), Finding::Ok);
    }

    #[test]
    fn what_its_followers_write_is_not_its_own_first_entry() {
        let mut log = quiet();
        saw(&mut log, 10, 1, 0, applied(7, 2, 0xaa));
        saw(&mut log, 20, 2, 0, leads(3));
        saw(&mut log, 25, 2, 0, wrote(None, 8, &[(3, 0xbb)]));
        saw(&mut log, 30, 3, 0, wrote(None, 7, &[(2, 0xaa), (3, 0xbb)]));
        assert_eq!(check(&log), Finding::Ok);
        saw(&mut log, 40, 1, 0, wrote(Some((6, 1)), 7, &[(3, 0xbb)]));
        assert_eq!(check(&log), Finding::Ok, "what a member finds when it starts is no entry of a leader");
    }
}
