//! Members agree on the keys and values at one revision (etcd API: HashKV).
//!
//! Looks after the healing, and during the storm where the workload `hash` asks. Does not see a mistake all members
//! make alike; the oracle `linearizable` compares with what clients did.

use super::Finding;
use crate::record::{MemberHash, RunLog};
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) fn check(log: &RunLog) -> Finding {
    let mut known: BTreeMap<(i64, i64), MemberHash> = BTreeMap::new();
    for (at, hash) in &log.hashes {
        let first = known.entry((hash.revision, hash.compacted)).or_insert(*hash);
        if first.hash != hash.hash {
            return differ(first, hash, Some(*at));
        }
    }
    let Some(healing) = &log.healing else {
        return Finding::Unknown("the run ended before the members' states were compared".to_owned());
    };
    let Some(first) = healing.hashes.first() else {
        return Finding::Unknown("no member told the hash of its state".to_owned());
    };
    for hash in &healing.hashes {
        let same_view = (hash.revision, hash.compacted) == (first.revision, first.compacted);
        if same_view && hash.hash != first.hash {
            return differ(first, hash, healing.healed);
        }
    }
    Finding::Ok
}

fn differ(first: &MemberHash, hash: &MemberHash, at: Option<Duration>) -> Finding {
    let sentence = format!(
        "at revision {} member {} has the hash {:08x} and member {} the hash {:08x}",
        first.revision, first.member, first.hash, hash.member, hash.hash
    );
    Finding::violation(sentence, at, Some(hash.member))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{quiet, violated};
    use super::*;
    use crate::record::Healing;
    use seatrial_types::MemberId;

    fn hashed(list: &[(u64, i64, u32)]) -> RunLog {
        let mut log = quiet();
        let hashes = list
            .iter()
            .map(|(member, compacted, hash)| MemberHash {
                member: MemberId(*member),
                revision: 9,
                compacted: *compacted,
                hash: *hash,
            })
            .collect();
        log.healing = Some(Healing { hashes, ..Healing::default() });
        log
    }

    #[test]
    fn two_hashes_at_one_revision_are_a_violation() {
        let log = hashed(&[(1, 0, 5), (2, 0, 5), (3, 0, 6)]);
        assert!(violated(&check(&log)).contains("member 3 the hash 00000006"));
    }

    #[test]
    fn members_that_disagree_during_the_storm_are_a_violation_also_where_they_agree_later() {
        let mut log = hashed(&[(1, 0, 5), (2, 0, 5)]);
        let told =
            |member, compacted, hash| MemberHash { member: MemberId(member), revision: 4, compacted, hash };
        log.hashes = vec![(Duration::from_secs(1), told(1, 0, 7)), (Duration::from_secs(2), told(2, 3, 8))];
        assert_eq!(check(&log), Finding::Ok, "over another compaction");
        log.hashes.push((Duration::from_secs(3), told(3, 0, 8)));
        assert!(violated(&check(&log)).contains("at revision 4 member 1 has the hash 00000007"));
    }

    #[test]
    fn a_hash_over_another_compaction_does_not_compare() {
        assert_eq!(check(&hashed(&[(1, 0, 5), (2, 4, 6)])), Finding::Ok);
        assert!(matches!(check(&quiet()), Finding::Unknown(_)));
    }
}
