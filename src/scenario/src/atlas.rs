//! Who may be damaged: so many copies that a majority of whole ones stays, and no more.
//!
//! A cluster of `n` promises to outlive the loss of fewer than half of its copies. What damages copies (holes in logs, rot in
//! stores, values that are others, writes that land elsewhere) must stay within that, or the run shows nothing: with a majority
//! damaged, no protocol could tell what was acknowledged. So every fault that damages asks here first, whichever it is, and
//! whoever is damaged already counts until it is whole again. (TigerBeetle calls the same thing its cluster fault atlas.)
//!
//! A scenario may go beyond that on purpose: `[damage]` with `beyond_quorum = true`.

use seatrial_types::MemberId;
use std::collections::BTreeSet;

/// Whether the copies of one more member may be damaged, while these are not whole.
pub(crate) fn may_be_damaged(members: u64, harmed: &BTreeSet<MemberId>, member: MemberId) -> bool {
    let others = harmed.iter().filter(|other| **other != member).count() as u64;
    others < (members.max(1) - 1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_of_whole_copies_stays() {
        for (members, damaged_max) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (7, 3), (9, 4)] {
            let mut harmed = BTreeSet::new();
            for member in (1..=members).map(MemberId) {
                if may_be_damaged(members, &harmed, member) {
                    harmed.insert(member);
                }
            }
            assert_eq!(harmed.len(), damaged_max, "of {members}");
            let again = harmed.iter().next().is_none_or(|first| may_be_damaged(members, &harmed, *first));
            assert!(again, "who is damaged already may be damaged more");
        }
    }
}
