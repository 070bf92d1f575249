//! Members agree on the keys and values at one revision (etcd API: HashKV).
//!
//! Looks once, after the healing. Does not see members that disagreed in between and came to agree, nor a
//! mistake all members make alike; the oracle `linearizable` compares with what clients did.

use super::Finding;
use crate::record::RunLog;

pub(super) fn check(log: &RunLog) -> Finding {
    let Some(healing) = &log.healing else {
        return Finding::Unknown("the run ended before the members' states were compared".to_owned());
    };
    let Some(first) = healing.hashes.first() else {
        return Finding::Unknown("no member told the hash of its state".to_owned());
    };
    for hash in &healing.hashes {
        let same_view = (hash.revision, hash.compacted) == (first.revision, first.compacted);
        if same_view && hash.hash != first.hash {
            let sentence = format!(
                "at revision {} member {} has the hash {:08x} and member {} the hash {:08x}",
                first.revision, first.member, first.hash, hash.member, hash.hash
            );
            return Finding::violation(sentence, healing.healed, Some(hash.member));
        }
    }
    Finding::Ok
}

#[cfg(test)]
mod tests {
    use super::super::testing::{quiet, violated};
    use super::*;
    use crate::record::{Healing, MemberHash};
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
    fn a_hash_over_another_compaction_does_not_compare() {
        assert_eq!(check(&hashed(&[(1, 0, 5), (2, 4, 6)])), Finding::Ok);
        assert!(matches!(check(&quiet()), Finding::Unknown(_)));
    }
}
