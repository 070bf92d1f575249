//! Keys with all their versions, as etcd has them.
//!
//! Every transaction that changes something takes one revision; its changes are numbered within. Rows are
//! written once, under their revision, and only a compaction removes them. The index of keys is in memory and is
//! rebuilt when the store is opened.

mod compact;
mod counted;
mod foreign;
mod index;
mod key;
mod range;
mod reading;
pub(crate) mod record;
mod txn;

pub use compact::HashTask;
pub use foreign::{ForeignVersion, foreign_key, read_foreign_key};
pub use reading::Reading;
pub use record::At;
pub(crate) use record::verify;

use crate::backend::{Backend, BackendError, Table, View};
use crate::lease::Leases;
use bytes::Bytes;
use index::KeyIndex;
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::request::{
    DeleteRangeRequest, DeleteRangeResponse, Header, PutRequest, PutResponse, TxnRequest, TxnResponse,
};
use seatrial_types::{Error, Event, EventKind, KeyRange, KeyValue, LeaseId, Revision};
use std::ops::Bound;

/// The revision of a store in which nothing has happened yet.
const EMPTY_REVISION: Revision = Revision(1);

/// Rows read at once while the index is rebuilt or hashed.
const SCAN_ROWS: usize = 1024;

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The request is refused; nothing was changed. Every member refuses it alike.
    #[error(transparent)]
    Refused(#[from] Error),
    /// This member cannot read its own data: it must stop.
    #[error(transparent)]
    Broken(#[from] BackendError),
}

/// The multi-version store over a backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mvcc<B> {
    backend: B,
    index: KeyIndex,
    /// The newest revision; 1 in an empty store.
    revision: Revision,
    /// Revisions below are gone; -1 before the first compaction. Invariant: at most `revision`.
    compacted: Revision,
    /// The compaction whose rows are all removed. Invariant: at most `compacted`.
    finished: Revision,
    /// Where the removal goes on.
    cursor: Option<Bytes>,
}

/// The store's counters as they are kept in the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Counters {
    pub(crate) revision: Revision,
    pub(crate) compacted: Revision,
    pub(crate) finished: Revision,
}

impl Default for Counters {
    fn default() -> Self {
        Self { revision: Revision(1), compacted: Revision(-1), finished: Revision(-1) }
    }
}

/// A row that must be there is not.
pub(crate) fn missing<V: View>(view: &V, at: At) -> BackendError {
    let (At { main, sub }, place) = (at, view.place());
    BackendError::damaged(format!("{place}: the key-value row of revision {main}.{sub} is missing"))
}

/// A damaged page may lead a walk past rows that are there. The table counts them apart from its pages.
pub(crate) fn check_count<B: Backend>(backend: &B, table: Table, found: u64) -> Result<(), BackendError> {
    let kept = backend.row_count(table)?;
    if kept == found {
        return Ok(());
    }
    Err(BackendError::damaged(format!(
        "{}: {found} rows are found in table {table:?}, which should have {kept}",
        backend.place()
    )))
}

/// The changes of one revision while they are being made.
struct Writing {
    at: At,
    events: Vec<Event>,
}

impl Writing {
    fn next(&mut self) -> At {
        let at = self.at;
        self.at.sub += 1;
        at
    }
}

impl<B: Backend> Mvcc<B> {
    /// Rebuilds the index from the backend and attaches keys to their leases.
    pub(crate) fn open(backend: B, counters: Counters, leases: &mut Leases) -> Result<Self, BackendError> {
        let mut counters = counters;
        if is_planted(Planted::D09) {
            counters = Counters { revision: counters.revision, ..Counters::default() };
        }
        let Counters { revision, compacted, finished } = counters;
        let index = KeyIndex::default();
        let mut mvcc = Self { backend, index, revision, compacted, finished, cursor: None };
        mvcc.reload(counters, leases)?;
        Ok(mvcc)
    }

    /// The same, where the backend's rows were replaced.
    pub(crate) fn reload(&mut self, counters: Counters, leases: &mut Leases) -> Result<(), BackendError> {
        let mut index = KeyIndex::default();
        let mut newest = At::default();
        let mut found = 0;
        let visited = self.backend.visit(Table::Kv, &mut |row, value| {
            newest = At::from_row(row)?;
            let head = record::head(newest, value)?;
            let version = if head.kind == EventKind::Put { head.version } else { 0 };
            if newest.sub == 0 || !is_planted(Planted::D25) {
                index.restore(head.key, newest, head.create_revision, version);
            }
            leases.restore_attachment(head.key, head.lease);
            found += 1;
            Ok(())
        });
        visited.map_err(|error| error.in_file(&self.backend.place()))?;
        check_count(&self.backend, Table::Kv, found)?;
        if newest.main > counters.revision {
            return Err(BackendError::damaged(format!(
                "{}: there is a row of revision {}, but the newest revision is {}",
                self.backend.place(),
                newest.main,
                counters.revision
            )));
        }
        let Counters { revision, compacted, finished } = counters;
        self.index = index;
        (self.revision, self.compacted, self.finished) = (revision, compacted, finished);
        self.cursor = None;
        Ok(())
    }

    pub(crate) fn counters(&self) -> Counters {
        Counters { revision: self.revision, compacted: self.compacted, finished: self.finished }
    }

    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The oldest revision that can be read; -1 before the first compaction.
    #[must_use]
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// Keys on record, deleted ones included until they are compacted.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.index.len()
    }

    /// Keys that are there now.
    #[must_use]
    pub fn live_keys(&self) -> usize {
        self.index.count_now(&KeyRange::prefix(""))
    }

    /// The rows.
    #[must_use]
    pub fn backend(&self) -> &B {
        &self.backend
    }

    pub(crate) fn backend_mut(&mut self) -> &mut B {
        &mut self.backend
    }

    pub(crate) fn into_backend(self) -> B {
        self.backend
    }

    /// Panics where an invariant does not hold.
    pub fn check(&self) {
        assert!(self.revision.0 >= 1, "revision {}", self.revision);
        assert!(self.compacted <= self.revision, "compacted {} beyond {}", self.compacted, self.revision);
        assert!(self.finished <= self.compacted, "finished {} beyond {}", self.finished, self.compacted);
    }

    fn load(&self, at: At) -> Result<Event, BackendError> {
        match self.backend.get(Table::Kv, &at.row())? {
            Some(row) => self.decode(at, &row),
            None => Err(self.missing(at)),
        }
    }

    /// Whether `at` may be the next row where `wanted` would be the very next change. Above the compaction no row is
    /// ever missing, so that damage which leads past some of them shows.
    fn follows(&self, wanted: At, at: At) -> bool {
        let is_thinned = wanted.main <= self.compacted;
        let is_past = wanted.sub > 0 || is_thinned || wanted.main <= EMPTY_REVISION;
        let next = wanted.main.max(EMPTY_REVISION).next();
        at == wanted
            || (is_thinned && at.main == wanted.main)
            || (is_past && at == At { main: next, sub: 0 })
            || is_planted(Planted::D09)
    }

    fn missing(&self, at: At) -> BackendError {
        missing(&self.backend, at)
    }

    /// Reads a row back, or says which one of which file cannot be believed.
    fn decode(&self, at: At, row: &Bytes) -> Result<Event, BackendError> {
        record::decode(at, row).map_err(|error| error.in_file(&self.backend.place()))
    }

    fn value_at(&self, key: &[u8], revision: Revision) -> Result<Option<KeyValue>, BackendError> {
        let at = self.index.live_at(key, revision);
        at.map(|at| self.load(at).map(|event| event.kv)).transpose()
    }

    /// The version before a change, as a watcher gets it: nothing where that is compacted.
    ///
    /// # Errors
    /// The backend's.
    pub fn before(&self, event: &Event) -> Result<Option<KeyValue>, BackendError> {
        let revision = Revision(event.kv.mod_revision.0 - 1);
        if revision < self.compacted {
            return Ok(None);
        }
        self.value_at(&event.kv.key, revision)
    }

    /// Changes from a revision on, in order, whole revisions only: about `rows_max` rows and `bytes_max` bytes, but
    /// at least one revision. Returns them with the first revision not covered.
    ///
    /// # Errors
    /// The backend's.
    ///
    /// # Panics
    /// Where `from` is compacted.
    pub fn history(
        &self,
        from: Revision,
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<(Vec<Event>, Revision), BackendError> {
        assert!(from >= self.compacted, "history from {from}, compacted at {}", self.compacted);
        let mut events: Vec<Event> = Vec::new();
        let mut bytes = 0;
        let mut start = At { main: from, sub: 0 };
        loop {
            let page = rows_max.clamp(1, SCAN_ROWS);
            let rows = self.backend.scan(Table::Kv, Bound::Included(&start.row()), Bound::Unbounded, page)?;
            let is_last = rows.len() < page;
            for (row, value) in rows {
                let at = At::from_row(&row)?;
                if !self.follows(start, at) {
                    return Err(self.missing(start));
                }
                let is_full = events.len() >= rows_max || bytes >= bytes_max;
                if is_full && events.last().is_some_and(|last| last.kv.mod_revision < at.main) {
                    return Ok((events, at.main));
                }
                bytes += value.len();
                events.push(self.decode(at, &value)?);
                start = At { main: at.main, sub: at.sub + 1 };
            }
            if is_last {
                let reached = if start.sub > 0 { start.main } else { Revision(start.main.0 - 1) };
                if reached.max(self.compacted).max(EMPTY_REVISION) < self.revision
                    && !is_planted(Planted::D09)
                {
                    return Err(self.missing(start));
                }
                return Ok((events, self.revision.next()));
            }
        }
    }

    fn writing(&self) -> Writing {
        Writing { at: At { main: self.revision.next(), sub: 0 }, events: Vec::new() }
    }

    /// The revision a transaction sees: its own once it has changed something.
    fn visible(&self, writing: &Writing) -> Revision {
        if writing.events.is_empty() { self.revision } else { writing.at.main }
    }

    /// Ends a transaction: the revision is taken only where something changed.
    fn finish(&mut self, writing: Writing) -> Vec<Event> {
        self.revision = self.visible(&writing);
        writing.events
    }

    pub(crate) fn put(
        &mut self,
        request: &PutRequest,
        leases: &mut Leases,
    ) -> Result<(PutResponse, Vec<Event>), Failure> {
        // Where both are wrong, etcd names the lease here and the key in a transaction.
        Self::check_lease(request, leases)?;
        self.check_put(request, leases)?;
        let mut writing = self.writing();
        let response = self.put_in(&mut writing, request, leases)?;
        Ok((response, self.finish(writing)))
    }

    pub(crate) fn delete_range(
        &mut self,
        request: &DeleteRangeRequest,
        leases: &mut Leases,
    ) -> Result<(DeleteRangeResponse, Vec<Event>), Failure> {
        let mut writing = self.writing();
        let response = self.delete_in(&mut writing, request, leases)?;
        Ok((response, self.finish(writing)))
    }

    pub(crate) fn txn(
        &mut self,
        request: &TxnRequest,
        leases: &mut Leases,
    ) -> Result<(TxnResponse, Vec<Event>), Failure> {
        let path = self.txn_path(request)?;
        self.check_txn(request, &path, Some(leases))?;
        let mut writing = self.writing();
        let mut response = self.txn_in(&mut writing, request, &path, leases)?;
        let events = self.finish(writing);
        response.header = self.header();
        Ok((response, events))
    }

    /// Deletes these keys in one revision, in their order.
    pub(crate) fn delete_keys(
        &mut self,
        keys: impl IntoIterator<Item = Bytes>,
        leases: &mut Leases,
    ) -> Vec<Event> {
        let mut writing = self.writing();
        for key in keys {
            if self.index.live_at(&key, writing.at.main).is_some() {
                self.delete_one(&mut writing, key, leases);
            }
        }
        self.finish(writing)
    }

    pub(crate) fn header(&self) -> Header {
        Header { revision: self.revision, ..Header::default() }
    }

    fn check_put(&self, request: &PutRequest, leases: &Leases) -> Result<(), Failure> {
        if (request.ignore_value || request.ignore_lease)
            && self.index.live_at(&request.key, self.revision).is_none()
        {
            return Err(Error::KeyNotFound.into());
        }
        Self::check_lease(request, leases)
    }

    fn check_lease(request: &PutRequest, leases: &Leases) -> Result<(), Failure> {
        if request.lease != LeaseId::NONE && !leases.contains(request.lease) {
            return Err(Error::LeaseNotFound.into());
        }
        Ok(())
    }

    fn put_in(
        &mut self,
        writing: &mut Writing,
        request: &PutRequest,
        leases: &mut Leases,
    ) -> Result<PutResponse, BackendError> {
        let needs_before = request.prev_kv || request.ignore_value || request.ignore_lease;
        let before = if needs_before { self.value_at(&request.key, writing.at.main)? } else { None };
        let at = writing.next();
        let (create_revision, version) = self.index.put(&request.key, at);
        // Where the transaction itself deleted the key meanwhile, there is nothing left to keep.
        let kept = before.as_ref();
        let kv = KeyValue {
            key: request.key.clone(),
            value: match kept {
                Some(before) if request.ignore_value => before.value.clone(),
                _ => request.value.clone(),
            },
            create_revision,
            mod_revision: at.main,
            version,
            lease: match kept {
                Some(before) if request.ignore_lease => before.lease,
                _ => request.lease,
            },
        };
        self.backend.put(Table::Kv, at.row(), record::encode(at, EventKind::Put, &kv));
        leases.attach(&kv.key, kv.lease);
        writing.events.push(Event { kind: EventKind::Put, kv, prev_kv: None });
        Ok(PutResponse {
            header: Header { revision: at.main, ..Header::default() },
            prev_kv: before.filter(|_| request.prev_kv),
        })
    }

    fn delete_in(
        &mut self,
        writing: &mut Writing,
        request: &DeleteRangeRequest,
        leases: &mut Leases,
    ) -> Result<DeleteRangeResponse, BackendError> {
        let found: Vec<(Bytes, At)> = self
            .index
            .range(&request.range, writing.at.main)
            .map(|(key, at)| (Bytes::copy_from_slice(key), at))
            .collect();
        let mut prev_kvs = Vec::new();
        if request.prev_kv {
            for (_, at) in &found {
                prev_kvs.push(self.load(*at)?.kv);
            }
        }
        let deleted = found.len() as i64;
        for (key, _) in found {
            self.delete_one(writing, key, leases);
        }
        let revision = self.visible(writing);
        Ok(DeleteRangeResponse { header: Header { revision, ..Header::default() }, deleted, prev_kvs })
    }

    fn delete_one(&mut self, writing: &mut Writing, key: Bytes, leases: &mut Leases) {
        let at = writing.next();
        self.index.delete(&key, at);
        leases.attach(&key, LeaseId::NONE);
        let kv = KeyValue { key, mod_revision: at.main, ..KeyValue::default() };
        self.backend.put(Table::Kv, at.row(), record::encode(at, EventKind::Delete, &kv));
        writing.events.push(Event { kind: EventKind::Delete, kv, prev_kv: None });
    }
}
