//! Where we differ on purpose: each with its reason, as docs/differences-from-etcd.md tells it to readers.

use crate::generate::Step;

/// The reason for which this difference is right, where there is one. None of them may change what is stored.
pub(crate) fn explained(step: &Step, theirs: &str, ours: &str) -> Option<&'static str> {
    match step {
        Step::Range(range)
            if (!(0..3).contains(&range.sort_order) || !(0..5).contains(&range.sort_target))
                && ours == "InvalidArgument: etcdserver: invalid sort option" =>
        {
            Some("an order of sorting that does not exist is refused, as later versions of etcd do")
        }
        Step::HashKv(_)
            if theirs == "OutOfRange: etcdserver: mvcc: required revision has been compacted"
                && ours.starts_with("HashKvResponse") =>
        {
            Some(
                "the revision of the compaction itself has a sum, as in etcd since 3.5.10: members are compared there",
            )
        }
        _ => None,
    }
}
