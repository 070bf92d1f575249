//! Compaction and hashing.
//!
//! A compaction takes effect at once: from then on older revisions are refused. The rows go later, in bounded
//! steps, each member at its own pace; nothing that can be asked, hashed or watched depends on how far it is.

use super::{At, Failure, Mvcc, SCAN_ROWS, foreign};
use crate::backend::{Backend, BackendError, Table};
use bytes::Bytes;
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::request::HashKvResponse;
use seatrial_types::{Error, Event, EventKind, KeyRange, Revision};
use std::ops::Bound;

/// A hash being taken bit by bit: of all versions up to a revision that are not compacted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HashTask {
    revision: Revision,
    compacted: Revision,
    /// Versions up to the compacted revision count where a compaction at this revision would keep them.
    kept_at: Revision,
    /// Deletions up to the compacted revision count, too.
    deletions: bool,
    from: Option<Bytes>,
    hash: u32,
}

impl HashTask {
    /// Up to which revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Compacted up to where.
    #[must_use]
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// The hash of what was looked at so far.
    #[must_use]
    pub fn hash(&self) -> u32 {
        self.hash
    }
}

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
    /// same revisions, however far each has come with removing rows; and equal to etcd's over the same versions, for it is
    /// taken of the rows as they stand in etcd's database (etcd: `HashByRev` in server/mvcc/kvstore.go).
    ///
    /// # Errors
    /// `Compacted` and `FutureRevision`, and what the backend says.
    pub fn hash_kv(&self, revision: Revision) -> Result<HashKvResponse, Failure> {
        let asked = revision;
        if is_planted(Planted::D27) {
            assert!(revision <= self.revision, "revision {revision} is not there yet");
        }
        let revision = self.readable(revision, self.revision)?;
        let mut task = HashTask { deletions: false, ..self.hash_task(revision) };
        // Of what is compacted etcd looks at what is alive at the revision asked for; if nothing is, at all that is left.
        if self.index.range(&KeyRange::prefix(""), revision).next().is_some() {
            task.kept_at = revision;
        }
        // Below zero there is nothing, to etcd.
        while asked >= Revision(0) && !self.hash_step(&mut task, SCAN_ROWS)? {}
        Ok(HashKvResponse {
            header: self.header(),
            hash: task.hash,
            compact_revision: self.compacted,
            hash_revision: revision,
        })
    }

    /// Begins to take the hash of what is there up to a revision, which must be readable.
    pub(crate) fn hash_task(&self, revision: Revision) -> HashTask {
        let hash = crc32c::crc32c(b"key");
        let compacted = self.compacted;
        HashTask { revision, compacted, kept_at: compacted, deletions: true, from: None, hash }
    }

    /// Looks at the next rows; true once there are no more. Rows up to the task's revision change no more but by a
    /// compaction: after one the task is worth nothing.
    pub(crate) fn hash_step(&self, task: &mut HashTask, rows_max: usize) -> Result<bool, BackendError> {
        let newest = if is_planted(Planted::D28) { self.revision } else { task.revision };
        let end = At { main: newest.next(), sub: 0 }.row();
        let start = task.from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.backend.scan(Table::Kv, start, Bound::Excluded(&end), rows_max)?;
        for (row, value) in &rows {
            let at = At::from_row(row).map_err(|error| error.in_file(&self.backend.place()))?;
            let event = self.decode(at, value)?;
            let counts = |event: &Event| {
                (task.deletions || event.kind == EventKind::Put)
                    && self.index.keeps(&event.kv.key, at, task.kept_at)
            };
            if at.main > task.compacted || counts(&event) || is_planted(Planted::D26) {
                let (key, value) = foreign::row(at, event);
                task.hash = crc32c::crc32c_append(crc32c::crc32c_append(task.hash, &key), &value);
            }
        }
        let is_last = rows.len() < rows_max;
        if let Some((row, _)) = rows.last() {
            task.from = Some(row.clone());
        }
        Ok(is_last)
    }
}
