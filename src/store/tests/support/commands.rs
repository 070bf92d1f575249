//! Random commands over few keys, so that they meet.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "shared by several test files, each of which uses a part"
)]

use super::Rng;
use bytes::Bytes;
use seatrial_store::Command;
use seatrial_types::request::{
    CompactRequest, Compare, CompareOp, CompareTarget, DeleteRangeRequest, LeaseGrantRequest, PutRequest,
    RangeRequest, SortOrder, SortTarget, TxnOp, TxnRequest,
};
use seatrial_types::{KeyRange, LeaseId, Revision};
use std::collections::BTreeSet;

pub fn key(rng: &mut Rng) -> Bytes {
    let keys: [&'static [u8]; 8] = [b"a", b"a/1", b"a/2", b"b", b"b\xff", b"c", b"\0", b"\xff\xff"];
    Bytes::from_static(keys[rng.below(8) as usize])
}

pub fn range(rng: &mut Rng) -> KeyRange {
    match rng.below(5) {
        0 => KeyRange::single(key(rng)),
        1 => KeyRange::prefix(key(rng)),
        2 => KeyRange { key: key(rng), end: Bytes::from_static(b"\0") },
        3 => KeyRange::prefix(""),
        _ => KeyRange { key: key(rng), end: key(rng) },
    }
}

fn lease(rng: &mut Rng) -> LeaseId {
    LeaseId([0, 0, 1, 2, 3][rng.below(5) as usize])
}

fn put(rng: &mut Rng) -> PutRequest {
    let (ignore_value, ignore_lease) = (rng.chance(6), rng.chance(6));
    PutRequest {
        key: key(rng),
        value: if ignore_value {
            Bytes::new()
        } else {
            vec![rng.below(4) as u8; rng.below(4) as usize].into()
        },
        lease: if ignore_lease { LeaseId::NONE } else { lease(rng) },
        prev_kv: rng.chance(2),
        ignore_value,
        ignore_lease,
    }
}

pub fn range_request(rng: &mut Rng, newest: i64) -> RangeRequest {
    let mut bound = |one_in: u64| {
        let value = if rng.chance(one_in) { rng.below(newest as u64 + 2) as i64 } else { 0 };
        Revision(value)
    };
    let revision = bound(2);
    let bounds = [bound(6), bound(6), bound(6), bound(6)];
    RangeRequest {
        range: range(rng),
        limit: [0, 0, 1, 2, 3][rng.below(5) as usize],
        revision,
        sort_order: [SortOrder::None, SortOrder::None, SortOrder::Ascend, SortOrder::Descend]
            [rng.below(4) as usize],
        sort_target: [
            SortTarget::Key,
            SortTarget::Version,
            SortTarget::Create,
            SortTarget::Mod,
            SortTarget::Value,
        ][rng.below(5) as usize],
        serializable: rng.chance(2),
        keys_only: rng.chance(4),
        count_only: rng.chance(6),
        min_mod_revision: bounds[0],
        max_mod_revision: bounds[1],
        min_create_revision: bounds[2],
        max_create_revision: bounds[3],
    }
}

fn compare(rng: &mut Rng, newest: i64) -> Compare {
    let revision = Revision(rng.below(newest as u64 + 1) as i64);
    Compare {
        range: if rng.chance(2) { KeyRange::single(key(rng)) } else { range(rng) },
        op: [CompareOp::Equal, CompareOp::Greater, CompareOp::Less, CompareOp::NotEqual]
            [rng.below(4) as usize],
        target: match rng.below(5) {
            0 => CompareTarget::Version(rng.below(3) as i64),
            1 => CompareTarget::Create(revision),
            2 => CompareTarget::Mod(revision),
            3 => CompareTarget::Value(vec![rng.below(4) as u8; rng.below(3) as usize].into()),
            _ => CompareTarget::Lease(lease(rng)),
        },
    }
}

/// A transaction in which no key is put twice, nor put and deleted: others are refused before the log.
pub fn txn(rng: &mut Rng, newest: i64, depth: u64, taken: &mut BTreeSet<Bytes>) -> TxnRequest {
    let compare = (0..rng.below(3)).map(|_| compare(rng, newest)).collect();
    let mut branch = |rng: &mut Rng| -> Vec<TxnOp> {
        let count = rng.below(4);
        (0..count)
            .filter_map(|_| match rng.below(if depth > 0 { 5 } else { 4 }) {
                0 => {
                    let newest = if rng.chance(3) { newest } else { 0 };
                    Some(TxnOp::Range(range_request(rng, newest)))
                }
                1 => {
                    let range = KeyRange::single(key(rng));
                    let prev_kv = rng.chance(2);
                    taken
                        .insert(range.key.clone())
                        .then_some(TxnOp::DeleteRange(DeleteRangeRequest { range, prev_kv }))
                }
                4 => Some(TxnOp::Txn(txn(rng, newest, depth - 1, taken))),
                _ => {
                    let put = put(rng);
                    taken.insert(put.key.clone()).then_some(TxnOp::Put(put))
                }
            })
            .collect()
    };
    let success = branch(rng);
    let failure = branch(rng);
    TxnRequest { compare, success, failure }
}

pub fn command(rng: &mut Rng, newest: i64) -> Command {
    match rng.below(20) {
        0..8 => Command::Put(put(rng)),
        8..11 => Command::DeleteRange(DeleteRangeRequest { range: range(rng), prev_kv: rng.chance(2) }),
        11..16 => Command::Txn(txn(rng, newest, 2, &mut BTreeSet::new())),
        16 => {
            let revision = Revision(rng.below(newest as u64 + 2) as i64);
            Command::Compact(CompactRequest { revision, physical: rng.chance(2) })
        }
        17 => {
            Command::LeaseGrant(LeaseGrantRequest { id: LeaseId(1 + rng.below(3) as i64), ttl_seconds: 10 })
        }
        18 if rng.chance(3) => {
            let (lease, left) = (LeaseId(1 + rng.below(3) as i64), rng.below(10) as i64);
            Command::LeaseCheckpoint(vec![(lease, left)])
        }
        18 => Command::LeaseRevoke(LeaseId(1 + rng.below(3) as i64)),
        _ => {
            let value = rng.chance(2).then(|| Bytes::from(vec![1; rng.below(5) as usize]));
            Command::Meta(vec![(key(rng), value)])
        }
    }
}
