//! What etcd refuses before it looks at its data, in etcd's order and with etcd's errors
//! (etcd API: KV, Lease, Cluster).

use bytes::Bytes;
use seatrial_types::request::{
    DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, TxnOp, TxnRequest,
};
use seatrial_types::{Error, KeyRange, Request};
use std::collections::BTreeSet;

/// Longest time to live of a lease, in seconds.
pub const LEASE_TTL_SECONDS_MAX: i64 = 9_000_000_000;

/// How much a request may ask for. The defaults are etcd's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Operations in a transaction along any nesting path (etcd: `--max-txn-ops`).
    pub txn_ops_max: usize,
    /// Bytes of a request that goes through the log (etcd: `--max-request-bytes`).
    pub request_bytes_max: usize,
    /// Bytes of a watch answer above which it is split, where the watch asked for fragments.
    pub watch_response_bytes: usize,
}

/// What a message may be larger than the request in it.
pub const OVERHEAD_BYTES: usize = 512 * 1024;

impl Default for Limits {
    fn default() -> Self {
        let request_bytes_max = 1_572_864;
        Self { txn_ops_max: 128, request_bytes_max, watch_response_bytes: request_bytes_max + OVERHEAD_BYTES }
    }
}

/// Checks the form of a request.
///
/// # Errors
/// etcd's: [`Error::EmptyKey`], [`Error::ValueProvided`], [`Error::LeaseProvided`], [`Error::TooManyOps`],
/// [`Error::DuplicateKey`], [`Error::LeaseTtlTooLarge`], [`Error::MemberBadUrls`],
/// [`Error::RequestTooLarge`].
pub fn check(request: &Request, limits: &Limits) -> Result<(), Error> {
    match request {
        Request::Range(r) => check_range(r),
        Request::Put(r) => check_put(r),
        Request::DeleteRange(r) => check_delete(r),
        Request::Txn(r) => {
            check_txn(r, limits.txn_ops_max)?;
            // After the count: what is compared pairwise below is then short.
            check_overlaps(&r.success)?;
            check_overlaps(&r.failure)?;
            Ok(())
        }
        Request::LeaseGrant(r) => check_grant(r),
        Request::MemberAdd(r) => check_urls(&r.peer_urls),
        Request::MemberUpdate(r) => check_urls(&r.peer_urls),
        Request::Compact(_)
        | Request::LeaseRevoke(_)
        | Request::LeaseKeepAlive(_)
        | Request::LeaseTimeToLive(_)
        | Request::LeaseLeases
        | Request::MemberList { .. }
        | Request::MemberRemove(_)
        | Request::MemberPromote(_)
        | Request::Status
        | Request::HashKv { .. }
        | Request::MoveLeader(_)
        | Request::Auth(_)
        | Request::AlarmList
        | Request::AlarmChange(_)
        | Request::Defragment
        | Request::Hash
        | Request::Downgrade(_)
        | Request::V2(_)
        | Request::SnapshotRead(_) => Ok(()),
        Request::As(_, request) => check(request, limits),
    }?;
    if logged_bytes(request) > limits.request_bytes_max {
        return Err(Error::RequestTooLarge);
    }
    Ok(())
}

fn check_range(r: &RangeRequest) -> Result<(), Error> {
    if r.range.key.is_empty() { Err(Error::EmptyKey) } else { Ok(()) }
}

fn check_put(r: &PutRequest) -> Result<(), Error> {
    if r.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if r.ignore_value && !r.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if r.ignore_lease && r.lease.0 != 0 {
        return Err(Error::LeaseProvided);
    }
    Ok(())
}

fn check_delete(r: &DeleteRangeRequest) -> Result<(), Error> {
    if r.range.key.is_empty() { Err(Error::EmptyKey) } else { Ok(()) }
}

fn check_grant(r: &LeaseGrantRequest) -> Result<(), Error> {
    if r.ttl_seconds > LEASE_TTL_SECONDS_MAX { Err(Error::LeaseTtlTooLarge) } else { Ok(()) }
}

/// As etcd's `types.NewURLs`: at least one, each `http` or `https` (or a unix socket) with host and port and
/// no path.
fn check_urls(urls: &[String]) -> Result<(), Error> {
    let good = |url: &String| {
        let url = url.trim();
        let Some((scheme, rest)) = url.split_once("://") else { return false };
        match scheme {
            "unix" | "unixs" => true,
            "http" | "https" => {
                let host = rest.strip_suffix('/').unwrap_or(rest);
                let Some((name, port)) = host.rsplit_once(':') else { return false };
                !name.contains('/') && port.parse::<u16>().is_ok()
            }
            _ => false,
        }
    };
    if !urls.is_empty() && urls.iter().all(good) { Ok(()) } else { Err(Error::MemberBadUrls) }
}

/// `ops_left` shrinks by the longest of the three lists on each level, so that it bounds every nesting path.
fn check_txn(r: &TxnRequest, ops_left: usize) -> Result<(), Error> {
    let ops = r.compare.len().max(r.success.len()).max(r.failure.len());
    if ops > ops_left {
        return Err(Error::TooManyOps);
    }
    if r.compare.iter().any(|compare| compare.range.key.is_empty()) {
        return Err(Error::EmptyKey);
    }
    for op in r.success.iter().chain(&r.failure) {
        match op {
            TxnOp::Range(r) => check_range(r),
            TxnOp::Put(r) => check_put(r),
            TxnOp::DeleteRange(r) => check_delete(r),
            TxnOp::Txn(r) => check_txn(r, ops_left - ops),
        }?;
    }
    Ok(())
}

/// What a branch writes, for the level above.
#[derive(Default)]
struct Writes<'a> {
    puts: BTreeSet<&'a Bytes>,
    deletes: Vec<&'a KeyRange>,
}

impl Writes<'_> {
    /// As etcd sees it: an end of `\0` is no end without limit here, so that what deletes everything from a key on
    /// meets no put.
    fn deletes_key(&self, key: &[u8]) -> bool {
        self.deletes.iter().any(|range| {
            if range.end.is_empty() { range.key == key } else { *range.key <= *key && *key < *range.end }
        })
    }
}

/// A branch must not put a key twice, nor put a key which it deletes. The two branches of a nested
/// transaction exclude each other, so both may put the same key.
fn check_overlaps(ops: &[TxnOp]) -> Result<Writes<'_>, Error> {
    let mut writes = Writes::default();
    // The deletes of this level first: the puts of the nested levels are held against them.
    for op in ops {
        if let TxnOp::DeleteRange(delete) = op {
            writes.deletes.push(&delete.range);
        }
    }
    for op in ops {
        let TxnOp::Txn(nested) = op else { continue };
        let success = check_overlaps(&nested.success)?;
        let failure = check_overlaps(&nested.failure)?;
        for key in success.puts.union(&failure.puts) {
            if writes.puts.contains(key) || writes.deletes_key(key) {
                return Err(Error::DuplicateKey);
            }
        }
        writes.puts.extend(success.puts);
        writes.puts.extend(failure.puts);
        writes.deletes.extend(success.deletes);
        writes.deletes.extend(failure.deletes);
    }
    for op in ops {
        let TxnOp::Put(put) = op else { continue };
        if writes.deletes_key(&put.key) || !writes.puts.insert(&put.key) {
            return Err(Error::DuplicateKey);
        }
    }
    Ok(writes)
}

/// About what a request takes in the log; 0 for what does not go through it.
fn logged_bytes(request: &Request) -> usize {
    match request {
        Request::Put(r) => put_bytes(r),
        Request::DeleteRange(r) => range_bytes(&r.range),
        Request::Txn(r) if !r.is_read_only() => txn_bytes(r),
        Request::MemberAdd(r) => r.peer_urls.iter().map(String::len).sum(),
        Request::MemberUpdate(r) => r.peer_urls.iter().map(String::len).sum(),
        _ => 0,
    }
}

/// Numbers, flags and lengths around the bytes of one operation.
const OP_BYTES: usize = 16;

fn put_bytes(r: &PutRequest) -> usize {
    OP_BYTES + r.key.len() + r.value.len()
}

fn range_bytes(r: &KeyRange) -> usize {
    OP_BYTES + r.key.len() + r.end.len()
}

fn txn_bytes(r: &TxnRequest) -> usize {
    use seatrial_types::request::CompareTarget;
    let compares = r.compare.iter().map(|c| {
        range_bytes(&c.range) + if let CompareTarget::Value(value) = &c.target { value.len() } else { 0 }
    });
    let ops = r.success.iter().chain(&r.failure).map(|op| match op {
        TxnOp::Range(r) => range_bytes(&r.range),
        TxnOp::Put(r) => put_bytes(r),
        TxnOp::DeleteRange(r) => range_bytes(&r.range),
        TxnOp::Txn(r) => txn_bytes(r),
    });
    compares.sum::<usize>() + ops.sum::<usize>()
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
