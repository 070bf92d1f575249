//! Compaction and hashing.
//!
//! A compaction takes effect at once: from then on older revisions are refused. The rows go later, in bounded
//! steps, each member at its own pace; nothing that can be asked, hashed or watched depends on how far it is.

use super::{At, Failure, Mvcc, SCAN_ROWS, record};
use crate::backend::{Backend, Table};
use bytes::Bytes;
use seatrial_types::request::HashKvResponse;
use seatrial_types::{Error, Revision};
use std::ops::Bound;

impl<B: Backend> Mvcc<B> {
    /// Refuses revisions below `revision` from now on.
    pub(crate) fn compact(&mut self, revision: Revision) -> Result<(), Error> {
        if revision <= self.compacted {
            return Err(Error::Compacted);
        }
        if revision > self.revision {
            return Err(Error::FutureRevision);
        }
        self.compacted = revision;
        self.cursor = None;
        Ok(())
    }

    /// Whether rows of compacted revisions are still there.
    #[must_use]
    pub fn is_compacting(&self) -> bool {
        self.finished < self.compacted
    }

    /// Removes rows, looking at no more than `budget` keys. True once all are gone.
    pub(crate) fn compact_step(&mut self, budget: usize) -> bool {
        if !self.is_compacting() {
            return true;
        }
        let removed = self.index.compact(self.cursor.as_ref(), self.compacted, budget);
        for at in removed.rows {
            self.backend.delete(Table::Kv, at.row());
        }
        self.cursor = removed.next;
        if self.cursor.is_none() {
            self.finished = self.compacted;
        }
        !self.is_compacting()
    }

    /// Hash of all versions up to a revision that are not compacted (0: the newest). Equal on all members at the
    /// same revisions, however far each has come with removing rows.
    ///
    /// # Errors
    /// `Compacted` and `FutureRevision`, and what the backend says.
    pub fn hash_kv(&self, revision: Revision) -> Result<HashKvResponse, Failure> {
        let revision = self.readable(revision, self.revision)?;
        let mut hash = crc32c::crc32c(b"key");
        let end = At { main: revision.next(), sub: 0 }.row();
        let mut from: Option<Bytes> = None;
        loop {
            let start = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let rows = self.backend.scan(Table::Kv, start, Bound::Excluded(&end), SCAN_ROWS)?;
            for (row, value) in &rows {
                let at = At::from_row(row)?;
                let is_kept = at.main > self.compacted
                    || self.index.keeps(&record::decode(at, value)?.kv.key, at, self.compacted);
                if is_kept {
                    hash = crc32c::crc32c_append(crc32c::crc32c_append(hash, row), value);
                }
            }
            match rows.last() {
                Some((row, _)) if rows.len() == SCAN_ROWS => from = Some(row.clone()),
                _ => break,
            }
        }
        Ok(HashKvResponse {
            header: self.header(),
            hash,
            compact_revision: self.compacted,
            hash_revision: revision,
        })
    }
}
