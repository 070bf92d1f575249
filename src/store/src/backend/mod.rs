//! Where the rows live: tables of bytes, read at once, made durable in batches behind the log.
//!
//! A backend always shows every write made so far. Durability comes later and elsewhere: [`Backend::seal`]
//! closes what was written since the last seal into a [`Batch`], the driver hands that to a [`Commit`] (which
//! may run on another thread), and reports back with [`Backend::committed`]. Batches are committed in order,
//! each one as a whole; a crash leaves the state after some batch.

mod mem;
mod redb;

pub use self::redb::{RedbBackend, RedbCommitter, RedbOptions, RedbSnapshot, RedbStaging};
pub use mem::{Image, MemBackend, MemSnapshot, MemStaging};

use bytes::Bytes;
use imbl::OrdMap;
use std::io;
use std::ops::Bound;

/// The tables. The number is part of the file and snapshot formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Revision (main, sub) to key-value record.
    Kv = 1,
    /// Lease id to time to live.
    Lease = 2,
    /// Whatever the node room keeps about the cluster.
    Meta = 3,
    /// Applied index and term, revision, compaction: the store's own few rows.
    State = 4,
}

impl Table {
    /// Every table, in the order of its number.
    pub const ALL: [Table; 4] = [Table::Kv, Table::Lease, Table::Meta, Table::State];

    /// The table of this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| *table as u8 == number)
    }

    /// Position in [`Table::ALL`].
    #[must_use]
    pub fn position(self) -> usize {
        self as usize - 1
    }
}

/// What went wrong below the store. All of it is fatal for the member: its state is unknown or unreadable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The disk refused.
    #[error("{what}: {text} ({kind:?})")]
    Io {
        /// What was being done, to which file.
        what: String,
        /// The system's kind of error.
        kind: io::ErrorKind,
        /// The system's words.
        text: String,
    },
    /// A file in another format than this program's.
    #[error(
        "{file}: it has format {found}, this program knows {known}\n\
         hint: save a snapshot with the program that wrote it, and restore that"
    )]
    Format {
        /// Which file.
        file: String,
        /// Its format.
        found: u64,
        /// Ours.
        known: u64,
    },
    /// What was read is not what was written.
    #[error(
        "{what}\nhint: this member's data is damaged; remove its data folder and let it join again as a new member"
    )]
    Damaged {
        /// Which file, table or row, and in what way.
        what: String,
    },
}

impl BackendError {
    pub(crate) fn io(what: impl Into<String>, error: &io::Error) -> Self {
        Self::Io { what: what.into(), kind: error.kind(), text: error.to_string() }
    }

    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }

    /// Whether there was no room on the disk.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { kind: io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, .. })
    }

    /// The same, with the name of the file that is damaged.
    pub(crate) fn in_file(self, file: &str) -> Self {
        match self {
            Self::Damaged { what } if !what.starts_with(file) => {
                Self::Damaged { what: format!("{file}: {what}") }
            }
            other => other,
        }
    }
}

/// Numbers the batches of one backend, from 1 on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// A row's name.
pub type RowKey = (Table, Bytes);

/// Writes that become durable together. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Batch {
    /// Its place in the order.
    pub id: BatchId,
    /// Everything before is replaced by this, in the same step.
    pub replace: Option<Replacement>,
    /// Rows put (`Some`) or deleted (`None`).
    pub rows: OrdMap<RowKey, Option<Bytes>>,
}

/// The state that replaces everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Replacement {
    /// In memory.
    Image(Image),
    /// A database file that was staged beside the present one.
    File(String),
}

/// Bytes used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Size {
    /// On disk (or, in memory, of all rows).
    pub total_bytes: u64,
    /// Of it, not free for reuse. An estimate.
    pub in_use_bytes: u64,
}

/// Something that rows can be read from.
pub trait View {
    /// Where the rows lie, for people.
    fn place(&self) -> String;

    /// One row.
    ///
    /// # Errors
    /// The disk's, and damage found.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, BackendError>;

    /// Rows in order of key, at most `limit`.
    ///
    /// # Errors
    /// The disk's, and damage found.
    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, BackendError>;

    /// Hands out every row of a table in order of key.
    ///
    /// # Errors
    /// The disk's, damage found, and what `each` says.
    fn visit(&self, table: Table, each: Visitor<'_>) -> Result<(), BackendError> {
        visit_pages(self, table, each)
    }
}

/// Takes a row, key and value, as it lies there.
pub type Visitor<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), BackendError>;

/// Rows copied at once where they cannot be shown in their place.
const VISIT_ROWS: usize = 1024;

fn visit_pages<V: View + ?Sized>(view: &V, table: Table, each: Visitor<'_>) -> Result<(), BackendError> {
    let mut from: Option<Bytes> = None;
    loop {
        let start = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut rows = view.scan(table, start, Bound::Unbounded, VISIT_ROWS)?;
        for (key, value) in &rows {
            each(key, value)?;
        }
        match rows.pop() {
            Some((last, _)) if rows.len() + 1 == VISIT_ROWS => from = Some(last),
            _ => return Ok(()),
        }
    }
}

/// Where the rows live. See the module.
pub trait Backend: View + Sized {
    /// A pinned consistent view, with all writes up to its making.
    type Snapshot: View;
    /// A place to put a whole new state together.
    type Staging: Staging;

    /// Writes a row.
    fn put(&mut self, table: Table, key: Bytes, value: Bytes);

    /// Removes a row; nothing happens where there is none.
    fn delete(&mut self, table: Table, key: Bytes);

    /// Closes what was written since the last seal into a batch; `None` where nothing was.
    fn seal(&mut self) -> Option<Batch>;

    /// The batch (and all before it) is durable.
    ///
    /// # Errors
    /// The disk's.
    fn committed(&mut self, id: BatchId) -> Result<(), BackendError>;

    /// Bytes written but not reported as committed.
    fn pending_bytes(&self) -> usize;

    /// Bytes used.
    fn size(&self) -> Size;

    /// Rows that are durable in a table, as it counts them itself.
    ///
    /// # Errors
    /// The disk's, and damage found.
    fn row_count(&self, table: Table) -> Result<u64, BackendError>;

    /// [`Commit::rewrite`] was done: read from there on.
    ///
    /// # Errors
    /// The disk's.
    fn rewritten(&mut self) -> Result<(), BackendError>;

    /// A view that later writes do not change.
    fn snapshot(&self) -> Self::Snapshot;

    /// Begins a new state beside the present one. An earlier staging of the same name is discarded.
    ///
    /// # Errors
    /// The disk's.
    fn stage(&self, name: &str) -> Result<Self::Staging, BackendError>;

    /// Shows the staged state from now on, in place of everything before; unsealed writes are dropped. It
    /// becomes durable with the next batch, atomically: a crash leaves the old state or the new one.
    ///
    /// # Errors
    /// The disk's.
    fn replace(&mut self, staging: Self::Staging) -> Result<(), BackendError>;
}

/// A new state being put together.
pub trait Staging {
    /// Adds rows.
    ///
    /// # Errors
    /// The disk's.
    fn rows(&mut self, rows: Vec<(Table, Bytes, Bytes)>) -> Result<(), BackendError>;
}

/// Makes batches durable; may live on another thread than the backend.
pub trait Commit {
    /// Makes one batch durable, as a whole. Batches come in order.
    ///
    /// # Errors
    /// The disk's. After one the member must stop.
    fn commit(&mut self, batch: &Batch) -> Result<BatchId, BackendError>;

    /// Writes everything committed so far anew, without the room that deleted rows have left, and puts that in the
    /// place of the old. A crash leaves the old or the new, which hold the same.
    ///
    /// # Errors
    /// The disk's. Where it is full ([`BackendError::is_disk_full`]) nothing has changed; after any other the member
    /// must stop.
    fn rewrite(&mut self) -> Result<(), BackendError>;
}
