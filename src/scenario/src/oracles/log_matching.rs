//! Raft §5.3: two entries with the same index and term are the same entry, and the entries before them are the same, too.
//!
//! Looks at what members write into their logs and what they find there when they start, whether it is ever committed or not. Of
//! each entry it keeps a checksum and the term of the entry before. That is enough: where every entry of an index and a term has
//! one predecessor, the whole logs up to it agree.
//!
//! Does not see what is applied (`state-machine-safety` does), nor a checksum's collision (1 in 4 billion).

use super::Finding;
use crate::observation::Observation;
use crate::record::RunLog;
use seatrial_types::{LogIndex, MemberId, Term};
use std::collections::BTreeMap;

/// An entry as it was first seen.
struct Entry {
    checksum: u32,
    /// The term of the entry before, where that is known.
    before: Option<Term>,
    by: MemberId,
}

pub(super) fn check(log: &RunLog) -> Finding {
    let mut entries: BTreeMap<(LogIndex, Term), Entry> = BTreeMap::new();
    // Each member's log as it lies on its disk: the terms by index, the entry before the first one included.
    let mut logs: BTreeMap<MemberId, BTreeMap<LogIndex, Term>> = BTreeMap::new();
    for seen in &log.observed {
        let (begin, first, written) = match &seen.what {
            Observation::Log { begin, first, entries } => (*begin, *first, entries.as_slice()),
            Observation::SnapshotInstalled { index, term } => (Some((*index, *term)), index.next(), &[][..]),
            _ => continue,
        };
        let held = logs.entry(seen.member).or_default();
        if let Some((index, term)) = begin {
            *held = [(index, term)].into();
        }
        if !written.is_empty() {
            held.split_off(&first);
        }
        let mut index = first;
        for (term, checksum) in written.iter().copied() {
            let before = held.get(&index.prev()).copied();
            let known = Entry { checksum, before, by: seen.member };
            let other = entries.entry((index, term)).or_insert(known);
            let differs = if other.checksum != checksum {
                Some(format!("has checksum {:08x} on member {} and {checksum:08x}", other.checksum, other.by))
            } else if let (Some(one), Some(two)) = (other.before, before)
                && one != two
            {
                Some(format!("follows one of term {one} on member {} and one of term {two}", other.by))
            } else {
                None
            };
            if let Some(differs) = differs {
                let sentence =
                    format!("the entry {index} of term {term} {differs} on member {}", seen.member);
                return Finding::violation(sentence, Some(seen.at), Some(seen.member));
            }
            other.before = other.before.or(before);
            held.insert(index, term);
            index = index.next();
        }
    }
    Finding::Ok
}

#[cfg(test)]
mod tests {
    use super::super::testing::{quiet, saw, violated, wrote};
    use super::*;

    #[test]
    fn one_place_and_term_with_two_contents_is_a_violation() {
        let mut log = quiet();
        saw(&mut log, 10, 1, 0, wrote(None, 7, &[(2, 0xaa)]));
        saw(&mut log, 20, 2, 0, wrote(None, 7, &[(2, 0xbb)]));
        assert_eq!(
            violated(&check(&log)),
            "the entry 7 of term 2 has checksum 000000aa on member 1 and 000000bb on member 2"
        );
    }

    #[test]
    fn one_entry_behind_two_others_is_a_violation() {
        let mut log = quiet();
        saw(&mut log, 10, 1, 0, wrote(Some((6, 1)), 7, &[(1, 0xaa), (3, 0xcc)]));
        saw(&mut log, 20, 2, 0, wrote(Some((6, 1)), 7, &[(2, 0xbb)]));
        saw(&mut log, 30, 2, 0, wrote(None, 8, &[(3, 0xcc)]));
        assert_eq!(
            violated(&check(&log)),
            "the entry 8 of term 3 follows one of term 1 on member 1 and one of term 2 on member 2"
        );
    }

    #[test]
    fn what_a_later_leader_replaced_is_none() {
        let mut log = quiet();
        saw(&mut log, 10, 1, 0, wrote(Some((6, 1)), 7, &[(1, 0xaa), (3, 0xcc)]));
        saw(&mut log, 20, 2, 0, wrote(Some((6, 1)), 7, &[(2, 0xbb), (2, 0xdd)]));
        saw(&mut log, 30, 2, 0, wrote(None, 7, &[(1, 0xaa)]));
        saw(&mut log, 40, 2, 0, wrote(None, 8, &[(3, 0xcc)]));
        assert_eq!(check(&log), Finding::Ok);
    }

    #[test]
    fn a_log_that_begins_behind_a_snapshot_or_is_found_at_a_start_counts_from_there() {
        let mut log = quiet();
        saw(&mut log, 10, 1, 0, wrote(Some((6, 1)), 7, &[(1, 0xaa), (3, 0xcc)]));
        // It lost what it had not made durable, and the leader's snapshot took the place of the rest.
        saw(&mut log, 20, 2, 0, wrote(Some((6, 1)), 7, &[(2, 0xbb)]));
        saw(&mut log, 30, 2, 1, wrote(Some((6, 1)), 7, &[]));
        let installed = Observation::SnapshotInstalled { index: LogIndex(7), term: Term(1) };
        saw(&mut log, 40, 2, 1, installed);
        saw(&mut log, 50, 2, 1, wrote(None, 8, &[(3, 0xcc)]));
        assert_eq!(check(&log), Finding::Ok);
        // On its disk there is another one after all.
        saw(&mut log, 60, 2, 2, wrote(Some((6, 1)), 7, &[(2, 0xbb), (3, 0xcc)]));
        violated(&check(&log));
    }
}
