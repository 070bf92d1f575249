//! Reading a range, with all of etcd's options.

use super::{Failure, Mvcc};
use crate::backend::{Backend, BackendError};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::request::{Header, RangeRequest, RangeResponse, SortOrder, SortTarget};
use seatrial_types::{Error, KeyValue, Revision};
use std::cmp::Ordering;

impl<B: Backend> Mvcc<B> {
    /// Reads keys (etcd API: Range). The header holds only the revision.
    ///
    /// # Errors
    /// `Compacted` and `FutureRevision`, and what the backend says.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Failure> {
        self.range_visible(request, self.revision)
    }

    /// As seen when the newest revision is `newest` (inside a transaction its own).
    pub(super) fn range_visible(
        &self,
        request: &RangeRequest,
        newest: Revision,
    ) -> Result<RangeResponse, Failure> {
        let revision = self.readable(request.revision, newest)?;
        let header = Header { revision: newest, ..Header::default() };
        if request.count_only {
            let count = match self.count_now(request, revision, newest) {
                Some(count) => count,
                None => self.index.range(&request.range, revision).count() as i64,
            };
            return Ok(RangeResponse { header, count, ..RangeResponse::default() });
        }
        let (mut kvs, count) = self.fetch(request, revision, newest)?;
        kvs.retain(|kv| passes(kv, request));
        let response = arrange(request, kvs);
        Ok(RangeResponse { header, count, ..response })
    }

    /// The revision to read at.
    pub(super) fn readable(&self, wanted: Revision, newest: Revision) -> Result<Revision, Error> {
        if wanted > newest {
            return Err(Error::FutureRevision);
        }
        let revision = if wanted.0 <= 0 { newest } else { wanted };
        if revision < self.oldest() {
            return Err(Error::Compacted);
        }
        Ok(revision)
    }

    /// The oldest revision that may be read. Every member must say the same at the same entry of the log, so this
    /// may not depend on how far it has come with removing rows.
    pub(super) fn oldest(&self) -> Revision {
        if is_planted(Planted::D11) { self.finished } else { self.compacted }
    }

    /// The versions that may be in the answer, in order of key, and how many keys the range has.
    fn fetch(
        &self,
        request: &RangeRequest,
        revision: Revision,
        newest: Revision,
    ) -> Result<(Vec<KeyValue>, i64), BackendError> {
        let limit = keys_wanted(request);
        let mut kvs = Vec::new();
        let known = self.count_now(request, revision, newest);
        let mut count = 0;
        for (_, at) in self.index.range(&request.range, revision) {
            count += 1;
            if kvs.len() < limit {
                kvs.push(self.load(at)?.kv);
            } else if known.is_some() {
                break;
            }
        }
        Ok((kvs, known.unwrap_or(count)))
    }

    /// How many keys the range has, where that is known without walking it: the index counts what lives now, and what
    /// lived at an older revision must be looked for.
    fn count_now(&self, request: &RangeRequest, revision: Revision, newest: Revision) -> Option<i64> {
        (revision == newest).then(|| self.index.count_now(&request.range) as i64)
    }
}

/// How many versions are looked at before the rest need not be.
pub(super) fn keys_wanted(request: &RangeRequest) -> usize {
    // A sort by something else than the key, asked for without an order, sorts only what the limit let
    // through: etcd's way, kept because clients may see it.
    let is_in_key_order = request.sort_order == SortOrder::None
        || (request.sort_target == SortTarget::Key && request.sort_order == SortOrder::Ascend);
    let is_filtered = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ]
    .iter()
    .any(|bound| bound.0 != 0);
    match usize::try_from(request.limit) {
        // One more tells whether there is more.
        Ok(limit) if limit > 0 && is_in_key_order && !is_filtered => limit.saturating_add(1),
        _ => usize::MAX,
    }
}

/// The versions as the request wants them. Header and count are left open.
pub(super) fn arrange(request: &RangeRequest, mut kvs: Vec<KeyValue>) -> RangeResponse {
    sort(&mut kvs, request);
    let mut more = false;
    if let Ok(limit) = usize::try_from(request.limit)
        && limit > 0
        && kvs.len() > limit
    {
        kvs.truncate(limit);
        more = true;
    }
    if request.keys_only {
        for kv in &mut kvs {
            kv.value = bytes::Bytes::new();
        }
    }
    RangeResponse { kvs, more, ..RangeResponse::default() }
}

pub(super) fn passes(kv: &KeyValue, request: &RangeRequest) -> bool {
    let within = |value: Revision, min: Revision, max: Revision| {
        (min.0 == 0 || value >= min) && (max.0 == 0 || value <= max)
    };
    within(kv.mod_revision, request.min_mod_revision, request.max_mod_revision)
        && within(kv.create_revision, request.min_create_revision, request.max_create_revision)
}

fn sort(kvs: &mut [KeyValue], request: &RangeRequest) {
    let order = match (request.sort_order, request.sort_target) {
        (SortOrder::None, SortTarget::Key) | (SortOrder::Ascend, SortTarget::Key) => return,
        (SortOrder::None, _) => SortOrder::Ascend,
        (order, _) => order,
    };
    let compare = |a: &KeyValue, b: &KeyValue| -> Ordering {
        match request.sort_target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        }
    };
    // Stable, so that equal ones stay in order of key on every member (etcd leaves their order open).
    match order {
        SortOrder::Descend => kvs.sort_by(|a, b| compare(b, a)),
        _ => kvs.sort_by(compare),
    }
}
