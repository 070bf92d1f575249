//! The queue behind locks and elections, as etcd's clients form it: one key per lease below a common prefix, in the
//! order of creation. Whoever created the oldest key is first; everybody else waits for the next older key to go, so
//! that one departure wakes one.

use crate::error::ClientError;
use crate::store::{Store, Watching};
use bytes::Bytes;
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::request::{
    Compare, CompareOp, CompareTarget, DeleteRangeRequest, Header, PutRequest, RangeRequest, RangeResponse,
    SortOrder, SortTarget, TxnOp, TxnOpResponse, TxnRequest, TxnResponse,
};
use seatrial_types::watch::{WatchCreate, WatchResponse};
use seatrial_types::{Code, Error, EventKind, KeyRange, KeyValue, LeaseId, Revision};

/// Why a lock is not held, or a leadership not won.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// The store refused, or could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Our key went away while we waited: its lease has ended, or somebody deleted it.
    #[error("mutex: session is expired")]
    SessionExpired,
    /// Somebody else holds the lock, and we did not want to wait.
    #[error("mutex: Locked by another session")]
    Locked,
    /// The key that proved our leadership is not there any more.
    #[error("election: not leader")]
    NotLeader,
    /// Nobody is elected.
    #[error("election: no leader")]
    NoLeader,
    /// The watch ended without a reason before its key was deleted.
    #[error("lost watcher waiting for delete")]
    WatchLost,
}

/// A place in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The key, which exists as long as the place is ours.
    pub key: Bytes,
    /// The revision that created the key. It only grows from holder to holder: whoever guards a resource turns away
    /// what carries a smaller one than it has seen before (a fencing token).
    pub revision: Revision,
    /// The lease the key is attached to.
    pub lease: LeaseId,
    /// The newest answer about it.
    pub header: Header,
}

impl Place {
    /// Holds in a transaction as long as the place is ours.
    #[must_use]
    pub fn is_ours(&self) -> Compare {
        created(&self.key, self.revision)
    }
}

fn created(key: &Bytes, revision: Revision) -> Compare {
    Compare {
        range: KeyRange::single(key.clone()),
        op: CompareOp::Equal,
        target: CompareTarget::Create(revision),
    }
}

/// `name/`, below which the keys of the queue lie.
pub(crate) fn prefix(name: &[u8]) -> Bytes {
    [name, b"/"].concat().into()
}

/// The key of a lease in this queue. Go prints a negative number with its sign.
fn key_of(prefix: &Bytes, lease: LeaseId) -> Bytes {
    let sign = if lease.0 < 0 { "-" } else { "" };
    [prefix, format!("{sign}{:x}", lease.0.unsigned_abs()).as_bytes()].concat().into()
}

/// Asks for the oldest key of the queue.
pub(crate) fn oldest(prefix: &Bytes) -> RangeRequest {
    RangeRequest {
        range: KeyRange::prefix(prefix.clone()),
        limit: 1,
        sort_order: SortOrder::Ascend,
        sort_target: SortTarget::Create,
        ..RangeRequest::default()
    }
}

/// What came of joining.
pub(crate) struct Joined {
    pub(crate) place: Place,
    /// Our key as it was, where it was there already.
    pub(crate) found: Option<KeyValue>,
    /// Nobody stands before us.
    pub(crate) first: bool,
}

/// Joins the queue, or finds the place this lease has already.
pub(crate) async fn join<S: Store>(
    store: &S,
    prefix: &Bytes,
    lease: LeaseId,
    value: Bytes,
) -> Result<Joined, LockError> {
    let key = key_of(prefix, lease);
    let put = PutRequest { key: key.clone(), value, lease, ..PutRequest::default() };
    let get = RangeRequest { range: KeyRange::single(key.clone()), ..RangeRequest::default() };
    let request = TxnRequest {
        compare: vec![created(&key, Revision(0))],
        success: vec![TxnOp::Put(put), TxnOp::Range(oldest(prefix))],
        failure: vec![TxnOp::Range(get), TxnOp::Range(oldest(prefix))],
    };
    let TxnResponse { header, succeeded, responses } = store.txn(request).await?;
    let mut responses = responses.into_iter();
    let (own, first) = match (succeeded, responses.next(), responses.next()) {
        (true, Some(TxnOpResponse::Put(_)), Some(TxnOpResponse::Range(first))) => (None, first),
        (false, Some(TxnOpResponse::Range(own)), Some(TxnOpResponse::Range(first))) => {
            (Some(own.kvs.into_iter().next().ok_or_else(odd)?), first)
        }
        _ => return Err(odd()),
    };
    let revision = own.as_ref().map_or(header.revision, |kv| kv.create_revision);
    let first = first.kvs.first().is_none_or(|kv| kv.create_revision == revision);
    Ok(Joined { place: Place { key, revision, lease, header }, found: own, first })
}

/// An answer that does not fit the question.
fn odd() -> LockError {
    let error = Error::Other(Code::Internal, "the answer does not fit the transaction".into());
    ClientError { error, ambiguous: true }.into()
}

/// Waits until every older key of the queue is gone, and gives the answer that said so. Dropping the future changes
/// nothing in the store.
pub(crate) async fn wait<S: Store>(store: &S, prefix: &Bytes, place: &Place) -> Result<Header, LockError> {
    if is_planted(Planted::K03) {
        return wait_for_first(store, prefix).await;
    }
    loop {
        let request = RangeRequest {
            sort_order: SortOrder::Descend,
            max_create_revision: Revision(place.revision.0 - 1),
            ..oldest(prefix)
        };
        let RangeResponse { header, kvs, .. } = store.range(request).await?;
        let Some(before) = kvs.into_iter().next() else { return Ok(header) };
        deleted(store, before.key, header.revision).await?;
    }
}

/// The planted bugs K03 and E01: everybody waits for the one who holds the lock, and looks no further.
pub(crate) async fn wait_for_first<S: Store>(store: &S, prefix: &Bytes) -> Result<Header, LockError> {
    let RangeResponse { header, kvs, .. } = store.range(oldest(prefix)).await?;
    if let Some(first) = kvs.into_iter().next() {
        deleted(store, first.key, header.revision).await?;
    }
    Ok(header)
}

/// Waits for the deletion of a key which existed at this revision.
async fn deleted<S: Store>(store: &S, key: Bytes, from: Revision) -> Result<(), LockError> {
    let range = KeyRange::single(key);
    let mut watch = store.watch(WatchCreate { range, start_revision: from, ..WatchCreate::default() });
    while let Some(answer) = watch.next().await {
        let answer = answer?;
        if answer.events.iter().any(|event| event.kind == EventKind::Delete) {
            return Ok(());
        }
        if let Some(error) = cancelled(&answer) {
            return Err(error);
        }
    }
    Err(LockError::WatchLost)
}

/// Why a watch was cancelled, if it was.
pub(crate) fn cancelled(answer: &WatchResponse) -> Option<LockError> {
    if !answer.canceled {
        return None;
    }
    let error = if answer.compact_revision.0 != 0 {
        Error::Compacted
    } else if answer.cancel_reason.is_empty() {
        return Some(LockError::WatchLost);
    } else {
        Error::from_text(Code::Unknown, &answer.cancel_reason)
    };
    Some(ClientError::certain(error).into())
}

/// The place's key as it is now.
pub(crate) async fn read<S: Store>(store: &S, place: &Place) -> Result<RangeResponse, ClientError> {
    store.range(RangeRequest { range: KeyRange::single(place.key.clone()), ..RangeRequest::default() }).await
}

/// Deletes the key, whoever created it.
pub(crate) async fn leave<S: Store>(store: &S, key: Bytes) -> Result<Header, ClientError> {
    let range = KeyRange::single(key);
    Ok(store.delete_range(DeleteRangeRequest { range, prev_kv: false }).await?.header)
}

/// Does this as long as the place is ours; says whether it was.
pub(crate) async fn as_holder<S: Store>(
    store: &S,
    place: &Place,
    operation: TxnOp,
) -> Result<(bool, Header), ClientError> {
    let request =
        TxnRequest { compare: vec![place.is_ours()], success: vec![operation], ..TxnRequest::default() };
    let answer = store.txn(request).await?;
    Ok((answer.succeeded, answer.header))
}
