//! Raft §5.4.3: where one member has applied an entry at an index, no member applies another one there.
//! And each member applies one index after the other, with gaps only where a snapshot fills them.
//!
//! Does not see what a snapshot holds; the oracle `hash-kv` compares the states.

use super::Finding;
use crate::observation::Observation;
use crate::record::RunLog;
use std::collections::BTreeMap;

pub(super) fn check(log: &RunLog) -> Finding {
    let mut entries = BTreeMap::new();
    let mut reached = BTreeMap::new();
    for seen in &log.observed {
        let who = (seen.member, seen.incarnation);
        let (index, term, checksum) = match seen.what {
            Observation::Started { applied, .. } => {
                reached.insert(who, applied);
                continue;
            }
            Observation::SnapshotInstalled { index, .. } => {
                reached.insert(who, index);
                continue;
            }
            Observation::Applied { index, term, checksum, .. } => (index, term, checksum),
            _ => continue,
        };
        let (other_term, other, by) = *entries.entry(index).or_insert((term, checksum, seen.member));
        if (other_term, other) != (term, checksum) {
            let sentence = format!(
                "at index {index} member {by} applied an entry of term {other_term} ({other:08x}), member {} one of \
                 term {term} ({checksum:08x})",
                seen.member
            );
            return Finding::violation(sentence, Some(seen.at), Some(seen.member));
        }
        if let Some(before) = reached.insert(who, index)
            && before.next() != index
        {
            let sentence = format!("member {} applied index {index} after index {before}", seen.member);
            return Finding::violation(sentence, Some(seen.at), Some(seen.member));
        }
    }
    Finding::Ok
}

#[cfg(test)]
mod tests {
    use super::super::testing::{applied, quiet, saw, violated};
    use super::*;
    use seatrial_types::{LogIndex, Term};

    #[test]
    fn two_entries_at_one_index_are_a_violation() {
        let mut log = quiet();
        saw(&mut log, 10, 1, 0, applied(7, 2, 0xaa));
        saw(&mut log, 20, 2, 0, applied(7, 3, 0xaa));
        assert!(violated(&check(&log)).starts_with("at index 7 member 1 applied an entry of term 2"));
    }

    #[test]
    fn a_gap_without_a_snapshot_is_a_violation_and_with_one_is_none() {
        let mut log = quiet();
        saw(&mut log, 10, 1, 0, applied(7, 2, 0xaa));
        saw(&mut log, 20, 1, 0, applied(9, 2, 0xbb));
        assert_eq!(violated(&check(&log)), "member 1 applied index 9 after index 7");

        let mut log = quiet();
        saw(&mut log, 10, 1, 0, applied(7, 2, 0xaa));
        let snapshot = Observation::SnapshotInstalled { index: LogIndex(8), term: Term(2) };
        saw(&mut log, 15, 1, 0, snapshot);
        saw(&mut log, 20, 1, 0, applied(9, 2, 0xbb));
        assert_eq!(check(&log), Finding::Ok);
    }

    #[test]
    fn entries_applied_again_after_a_restart_are_none() {
        let mut log = quiet();
        saw(&mut log, 10, 1, 0, applied(7, 2, 0xaa));
        saw(&mut log, 30, 1, 1, Observation::Started { term: Term(2), applied: LogIndex(6) });
        saw(&mut log, 40, 1, 1, applied(7, 2, 0xaa));
        assert_eq!(check(&log), Finding::Ok);
    }
}
