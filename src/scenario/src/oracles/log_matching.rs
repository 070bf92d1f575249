//! Raft §5.3: two entries with the same index and term are the same entry.
//!
//! Looks at applied entries, by their checksums.
//!
//! Does not see entries that were never applied, nor a checksum's collision (1 in 4 billion).

use super::Finding;
use crate::observation::Observation;
use crate::record::RunLog;
use std::collections::BTreeMap;

pub(super) fn check(log: &RunLog) -> Finding {
    let mut entries = BTreeMap::new();
    for seen in &log.observed {
        let Observation::Applied { index, term, checksum, .. } = seen.what else { continue };
        let (other, by) = *entries.entry((index, term)).or_insert((checksum, seen.member));
        if other != checksum {
            let sentence = format!(
                "the entry {index} of term {term} has checksum {other:08x} on member {by} and {checksum:08x} on \
                 member {}",
                seen.member
            );
            return Finding::violation(sentence, Some(seen.at), Some(seen.member));
        }
    }
    Finding::Ok
}

#[cfg(test)]
mod tests {
    use super::super::testing::{applied, quiet, saw, violated};
    use super::*;

    #[test]
    fn one_place_and_term_with_two_contents_is_a_violation() {
        let mut log = quiet();
        saw(&mut log, 10, 1, 0, applied(7, 2, 0xaa));
        saw(&mut log, 20, 2, 0, applied(7, 2, 0xbb));
        assert!(violated(&check(&log)).contains("the entry 7 of term 2"));
    }

    #[test]
    fn equal_contents_and_other_places_are_none() {
        let mut log = quiet();
        saw(&mut log, 10, 1, 0, applied(7, 2, 0xaa));
        saw(&mut log, 20, 2, 0, applied(7, 2, 0xaa));
        saw(&mut log, 30, 2, 0, applied(8, 2, 0xbb));
        assert_eq!(check(&log), Finding::Ok);
    }
}
