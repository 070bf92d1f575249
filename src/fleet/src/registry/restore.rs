//! Reading the registry.

use super::keys::PREFIX;
use super::mirror::Mirror;
use seatrial_client::{ClientError, Store};
use seatrial_types::request::{RangeRequest, SortOrder};
use seatrial_types::{KeyRange, Revision};

/// Keys in one answer: a unit's file may have a megabyte, but seldom has.
const PAGE_KEYS: i64 = 500;

/// Reads all keys below `prefix` as of one revision, in pages.
///
/// # Errors
/// The store's.
pub async fn restore<S: Store>(store: &S, prefix: &str) -> Result<Mirror, ClientError> {
    debug_assert!(prefix.starts_with(PREFIX), "{prefix} is none of ours");
    let whole = KeyRange::prefix(prefix.to_owned());
    let mut kvs = Vec::new();
    let mut revision = Revision(0);
    let mut from = whole.key.clone();
    loop {
        let request = RangeRequest {
            range: KeyRange { key: from, end: whole.end.clone() },
            limit: PAGE_KEYS,
            revision,
            sort_order: SortOrder::Ascend,
            ..RangeRequest::default()
        };
        let page = store.range(request).await?;
        if revision.0 == 0 {
            revision = page.header.revision;
        }
        let last = page.kvs.last().map(|kv| kv.key.clone());
        kvs.extend(page.kvs);
        match last {
            Some(last) if page.more => from = [&last[..], b"\0"].concat().into(),
            _ => return Ok(Mirror::of(&kvs, revision)),
        }
    }
}
