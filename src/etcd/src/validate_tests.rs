//! The checks, one by one, and the overlap rule against its definition.

use super::*;
use proptest::prelude::*;
use seatrial_types::request::{Compare, CompareOp, CompareTarget, MemberAddRequest, SortOrder};
use seatrial_types::{LeaseId, Revision};

fn checked(request: Request) -> Result<(), Error> {
    check(&request, &Limits::default())
}

fn put(key: &str) -> TxnOp {
    TxnOp::Put(PutRequest { key: key.to_owned().into(), ..PutRequest::default() })
}

fn del(key: &str, end: &str) -> TxnOp {
    let range = KeyRange { key: key.to_owned().into(), end: end.to_owned().into() };
    TxnOp::DeleteRange(DeleteRangeRequest { range, prev_kv: false })
}

fn nested(success: Vec<TxnOp>, failure: Vec<TxnOp>) -> TxnOp {
    TxnOp::Txn(TxnRequest { compare: Vec::new(), success, failure })
}

fn txn(success: Vec<TxnOp>) -> Result<(), Error> {
    checked(Request::Txn(TxnRequest { compare: Vec::new(), success, failure: Vec::new() }))
}

#[test]
fn a_key_must_be_given() {
    assert_eq!(checked(Request::Range(RangeRequest::default())), Err(Error::EmptyKey));
    assert_eq!(checked(Request::Put(PutRequest::default())), Err(Error::EmptyKey));
    assert_eq!(checked(Request::DeleteRange(DeleteRangeRequest::default())), Err(Error::EmptyKey));
    assert_eq!(txn(vec![put("")]), Err(Error::EmptyKey));
    assert_eq!(txn(vec![nested(vec![], vec![del("", "x")])]), Err(Error::EmptyKey));
    let compare =
        Compare { range: KeyRange::default(), op: CompareOp::Equal, target: CompareTarget::Mod(Revision(0)) };
    let request = TxnRequest { compare: vec![compare], ..TxnRequest::default() };
    assert_eq!(checked(Request::Txn(request)), Err(Error::EmptyKey));
}

#[test]
fn what_is_to_be_ignored_must_not_be_given() {
    let base = PutRequest { key: "k".into(), ..PutRequest::default() };
    let value = PutRequest { value: "v".into(), ignore_value: true, ..base.clone() };
    assert_eq!(checked(Request::Put(value)), Err(Error::ValueProvided));
    let lease = PutRequest { lease: LeaseId(1), ignore_lease: true, ..base.clone() };
    assert_eq!(checked(Request::Put(lease)), Err(Error::LeaseProvided));
    let both = PutRequest { ignore_value: true, ignore_lease: true, ..base };
    assert_eq!(checked(Request::Put(both)), Ok(()));
}

#[test]
fn the_limit_of_operations_holds_along_every_path() {
    let puts = |count: usize| (0..count).map(|i| put(&format!("k{i}"))).collect::<Vec<_>>();
    assert_eq!(txn(puts(128)), Ok(()));
    assert_eq!(txn(puts(129)), Err(Error::TooManyOps));
    // The level above takes its longest list away from what the nested one may have.
    assert_eq!(txn(vec![nested(puts(127), vec![])]), Ok(()));
    assert_eq!(txn(vec![nested(puts(128), vec![])]), Err(Error::TooManyOps));
    assert_eq!(txn(vec![nested(vec![], puts(128))]), Err(Error::TooManyOps));
    // Two nested ones do not add up: only one path counts.
    let other = |count: usize| (0..count).map(|i| put(&format!("o{i}"))).collect::<Vec<_>>();
    assert_eq!(txn(vec![nested(puts(126), vec![]), nested(other(126), vec![])]), Ok(()));
    let compare = Compare {
        range: KeyRange::single("k"),
        op: CompareOp::Equal,
        target: CompareTarget::Mod(Revision(0)),
    };
    let request = TxnRequest { compare: vec![compare; 129], ..TxnRequest::default() };
    assert_eq!(checked(Request::Txn(request)), Err(Error::TooManyOps));
}

#[test]
fn a_branch_puts_no_key_twice_nor_one_that_it_deletes() {
    let duplicate = Err(Error::DuplicateKey);
    assert_eq!(txn(vec![put("a"), put("a")]), duplicate);
    assert_eq!(txn(vec![put("a"), put("b")]), Ok(()));
    assert_eq!(txn(vec![put("a"), del("a", "")]), duplicate);
    assert_eq!(txn(vec![del("a", "c"), put("b")]), duplicate);
    assert_eq!(txn(vec![del("a", "c"), put("c")]), Ok(()));
    assert_eq!(txn(vec![del("a", "c"), del("b", "d")]), Ok(()));
    // "Everything from here on" is an empty range to this check, as in etcd.
    assert_eq!(txn(vec![del("a", "\0"), put("b"), del("b", "\0")]), Ok(()));
    // Nested: against the level around it, and against its siblings.
    assert_eq!(txn(vec![put("a"), nested(vec![put("a")], vec![])]), duplicate);
    assert_eq!(txn(vec![put("a"), nested(vec![], vec![put("a")])]), duplicate);
    assert_eq!(txn(vec![del("a", ""), nested(vec![put("a")], vec![])]), duplicate);
    assert_eq!(txn(vec![put("a"), nested(vec![del("a", "")], vec![])]), duplicate);
    assert_eq!(txn(vec![nested(vec![put("a")], vec![]), nested(vec![put("a")], vec![])]), duplicate);
    // The two branches of one nested transaction exclude each other.
    assert_eq!(txn(vec![nested(vec![put("a")], vec![put("a")])]), Ok(()));
    assert_eq!(txn(vec![nested(vec![put("a")], vec![del("a", "")])]), Ok(()));
    // And so do the two of the outermost.
    let request = TxnRequest { success: vec![put("a")], failure: vec![put("a")], compare: Vec::new() };
    assert_eq!(checked(Request::Txn(request)), Ok(()));
    let request = TxnRequest { failure: vec![put("a"), put("a")], ..TxnRequest::default() };
    assert_eq!(checked(Request::Txn(request)), duplicate);
}

#[test]
fn a_lease_lives_no_longer_than_the_limit() {
    let grant =
        |ttl_seconds| checked(Request::LeaseGrant(LeaseGrantRequest { id: LeaseId::NONE, ttl_seconds }));
    assert_eq!(grant(LEASE_TTL_SECONDS_MAX), Ok(()));
    assert_eq!(grant(LEASE_TTL_SECONDS_MAX + 1), Err(Error::LeaseTtlTooLarge));
    assert_eq!(grant(-1), Ok(()));
}

#[test]
fn a_request_for_the_log_is_no_larger_than_the_limit() {
    let put = |bytes: usize| {
        let value = vec![0; bytes].into();
        checked(Request::Put(PutRequest { key: "k".into(), value, ..PutRequest::default() }))
    };
    assert_eq!(put(1_572_864 - 100), Ok(()));
    assert_eq!(put(1_572_864), Err(Error::RequestTooLarge));
    // Reads do not go through the log.
    let range = RangeRequest {
        range: KeyRange::single(vec![b'k'; 2_000_000]),
        sort_order: SortOrder::None,
        ..RangeRequest::default()
    };
    assert_eq!(checked(Request::Range(range)), Ok(()));
}

#[test]
fn a_member_is_added_at_urls_that_are_some() {
    let add = |urls: &[&str]| {
        let peer_urls = urls.iter().map(|url| (*url).to_owned()).collect();
        checked(Request::MemberAdd(MemberAddRequest { peer_urls, is_learner: false }))
    };
    assert_eq!(add(&["http://10.0.0.1:2380", "https://[::1]:2380"]), Ok(()));
    for wrong in ["", "10.0.0.1:2380", "http://10.0.0.1", "ftp://a:1", "http://a:1/path", "http://a:x"] {
        assert_eq!(add(&[wrong]), Err(Error::MemberBadUrls), "{wrong}");
    }
    assert_eq!(add(&[]), Err(Error::MemberBadUrls));
}

/// All that could be done on one path through a branch: the definition which the check approximates.
fn paths(ops: &[TxnOp]) -> Vec<Vec<TxnOp>> {
    let mut all = vec![Vec::new()];
    for op in ops {
        let choices = match op {
            TxnOp::Txn(nested) => [paths(&nested.success), paths(&nested.failure)].concat(),
            plain => vec![vec![plain.clone()]],
        };
        all = all
            .iter()
            .flat_map(|path| choices.iter().map(|choice| [path.clone(), choice.clone()].concat()))
            .collect();
    }
    all
}

/// Whether one path writes a key twice. Two deletes may meet.
fn clashes(path: &[TxnOp]) -> bool {
    path.iter().enumerate().any(|(at, op)| {
        let TxnOp::Put(put) = op else { return false };
        path.iter().enumerate().any(|(other_at, other)| match other {
            TxnOp::Put(other) => other_at != at && other.key == put.key,
            TxnOp::DeleteRange(delete) => delete.range.contains(&put.key),
            _ => false,
        })
    })
}

/// A nested delete that comes after a sibling's put: etcd looks only at the deletes it has met before.
fn late_nested_delete(ops: &[TxnOp]) -> bool {
    ops.iter().any(|op| match op {
        TxnOp::Txn(nested) => {
            let deletes =
                |ops: &[TxnOp]| paths(ops).concat().iter().any(|op| matches!(op, TxnOp::DeleteRange(_)));
            deletes(&nested.success)
                || deletes(&nested.failure)
                || late_nested_delete(&nested.success)
                || late_nested_delete(&nested.failure)
        }
        _ => false,
    })
}

fn ops() -> impl Strategy<Value = Vec<TxnOp>> {
    let key = prop::sample::select(vec!["a", "b", "c", "d", "e"]);
    let leaf = prop_oneof![
        3 => key.clone().prop_map(put),
        1 => (key.clone(), prop::sample::select(vec!["", "c", "f"])).prop_map(|(key, end)| del(key, end)),
    ];
    let op = leaf.prop_recursive(2, 8, 3, |op| {
        let ops = prop::collection::vec(op, 0..3);
        (ops.clone(), ops).prop_map(|(success, failure)| nested(success, failure))
    });
    prop::collection::vec(op, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_overlap_rule_agrees_with_its_definition(ops in ops()) {
        let clash = paths(&ops).iter().any(|path| clashes(path));
        let refused = check_overlaps(&ops).is_err();
        // Refused without a clash: a sibling whose branches both take part is seen as taking both.
        if clash && !late_nested_delete(&ops) {
            prop_assert!(refused, "accepted {:?}", ops);
        }
        let everything = flat(&ops);
        if !clashes(&everything) {
            prop_assert!(!refused, "refused {:?}", ops);
        }
    }
}

/// All operations of all branches, as if none excluded another.
fn flat(ops: &[TxnOp]) -> Vec<TxnOp> {
    ops.iter()
        .flat_map(|op| match op {
            TxnOp::Txn(nested) => [flat(&nested.success), flat(&nested.failure)].concat(),
            plain => vec![plain.clone()],
        })
        .collect()
}
