//! Raft §5.4: a leader has every entry that was committed in an earlier term.
//!
//! A leader's first own entry comes after all it has. So the first entry of a term that anybody applies has
//! a higher index than every entry of an earlier term that anybody had applied before that leader was
//! elected.
//!
//! Does not see a leader that never committed an entry of its own; what such a leader overwrote shows in
//! `state-machine-safety` or `durability`.

use super::Finding;
use crate::observation::{Observation, Role};
use crate::record::RunLog;
use seatrial_types::{LogIndex, MemberId, Term};
use std::collections::BTreeMap;

pub(super) fn check(log: &RunLog) -> Finding {
    // What had been applied anywhere, and by whom, when a term's leader was elected.
    let mut committed = (LogIndex::ZERO, Term(0), MemberId::NONE);
    let mut at_election: BTreeMap<Term, (LogIndex, Term, MemberId, MemberId)> = BTreeMap::new();
    let mut first_of: BTreeMap<Term, LogIndex> = BTreeMap::new();
    for seen in &log.observed {
        match seen.what {
            Observation::Role { term, role: Role::Leader, .. } => {
                let (index, of, by) = committed;
                at_election.entry(term).or_insert((index, of, by, seen.member));
            }
            Observation::Applied { index, term, .. } => {
                if index > committed.0 {
                    committed = (index, term, seen.member);
                }
                if first_of.contains_key(&term) {
                    continue;
                }
                first_of.insert(term, index);
                let Some((before, of, by, leader)) = at_election.get(&term) else { continue };
                if *of < term && index <= *before {
                    let sentence = format!(
                        "member {leader} was elected in term {term} without the entry {before} of term {of}, which \
                         member {by} had applied: its own first entry is at index {index}"
                    );
                    return Finding::violation(sentence, Some(seen.at), Some(*leader));
                }
            }
            _ => {}
        }
    }
    Finding::Ok
}

#[cfg(test)]
mod tests {
    use super::super::testing::{applied, leads, quiet, saw, violated};
    use super::*;

    #[test]
    fn a_leader_that_lacks_a_committed_entry_is_a_violation() {
        let mut log = quiet();
        saw(&mut log, 10, 1, 0, applied(7, 2, 0xaa));
        saw(&mut log, 20, 2, 0, leads(3));
        saw(&mut log, 30, 2, 0, applied(7, 3, 0xbb));
        assert!(violated(&check(&log)).contains("without the entry 7 of term 2"));
    }

    #[test]
    fn an_entry_committed_after_the_election_by_the_new_leader_itself_is_none() {
        let mut log = quiet();
        saw(&mut log, 10, 1, 0, applied(7, 2, 0xaa));
        saw(&mut log, 20, 2, 0, leads(3));
        saw(&mut log, 30, 2, 0, applied(8, 2, 0xcc));
        saw(&mut log, 31, 2, 0, applied(9, 3, 0xbb));
        assert_eq!(check(&log), Finding::Ok);
    }
}
