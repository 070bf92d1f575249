//! The backend as a value: persistent maps, cheap to clone, for the lab, the model checker and tests.

use super::{Backend, BackendError, Batch, BatchId, Commit, Replacement, RowKey, Size, Staging, Table, View};
use bytes::Bytes;
use imbl::{OrdMap, Vector};
use std::ops::Bound;

/// All rows of all tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Image {
    tables: [OrdMap<Bytes, Bytes>; Table::ALL.len()],
    bytes: u64,
}

impl Image {
    fn put(&mut self, table: Table, key: Bytes, value: Bytes) {
        let (key_bytes, value_bytes) = (key.len() as u64, value.len() as u64);
        self.bytes += key_bytes + value_bytes;
        if let Some(old) = self.tables[table.position()].insert(key, value) {
            self.bytes -= key_bytes + old.len() as u64;
        }
    }

    fn delete(&mut self, table: Table, key: &Bytes) {
        if let Some(old) = self.tables[table.position()].remove(key) {
            self.bytes -= (key.len() + old.len()) as u64;
        }
    }

    /// The rows of one table.
    #[must_use]
    pub fn table(&self, table: Table) -> &OrdMap<Bytes, Bytes> {
        &self.tables[table.position()]
    }
}

impl View for Image {
    fn place(&self) -> String {
        "the store in memory".to_owned()
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, BackendError> {
        Ok(self.tables[table.position()].get(key).cloned())
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, BackendError> {
        if is_empty_span(from, to) {
            return Ok(Vec::new());
        }
        let rows = self.tables[table.position()].range::<_, [u8]>((from, to));
        Ok(rows.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

/// Whether nothing can lie between (the maps' `range` panics on a start behind the end).
pub(super) fn is_empty_span(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
            from >= to
        }
    }
}

/// A backend in memory. A clone is an independent backend.
///
/// It serves as both halves: the state machine's working copy (which seals batches) and the durable copy,
/// to which a test applies them with [`Commit::commit`]; a crash is then opening a clone of the latter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MemBackend {
    image: Image,
    open: OrdMap<RowKey, Option<Bytes>>,
    open_bytes: usize,
    open_replace: Option<Replacement>,
    /// Ids and sizes of sealed batches which are not committed yet.
    sealed: Vector<(BatchId, usize)>,
    last: BatchId,
}

impl MemBackend {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All rows, with every write so far.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The same rows, as a member finds them that has just started: nothing pending, batches counted anew.
    #[must_use]
    pub fn reopened(&self) -> Self {
        Self { image: self.image.clone(), ..Self::default() }
    }

    fn note(&mut self, key: RowKey, value: Option<Bytes>) {
        self.open_bytes += key.1.len() + value.as_ref().map_or(0, Bytes::len);
        self.open.insert(key, value);
    }
}

impl View for MemBackend {
    fn place(&self) -> String {
        "the store in memory".to_owned()
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, BackendError> {
        self.image.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, BackendError> {
        self.image.scan(table, from, to, limit)
    }
}

/// The pinned view of a [`MemBackend`].
pub type MemSnapshot = Image;

/// A state being put together in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MemStaging {
    image: Image,
}

impl Staging for MemStaging {
    fn rows(&mut self, rows: Vec<(Table, Bytes, Bytes)>) -> Result<(), BackendError> {
        for (table, key, value) in rows {
            self.image.put(table, key, value);
        }
        Ok(())
    }
}

impl Backend for MemBackend {
    type Snapshot = MemSnapshot;
    type Staging = MemStaging;

    fn put(&mut self, table: Table, key: Bytes, value: Bytes) {
        self.note((table, key.clone()), Some(value.clone()));
        self.image.put(table, key, value);
    }

    fn delete(&mut self, table: Table, key: Bytes) {
        self.image.delete(table, &key);
        self.note((table, key), None);
    }

    fn seal(&mut self) -> Option<Batch> {
        if self.open.is_empty() && self.open_replace.is_none() {
            return None;
        }
        self.last.0 += 1;
        self.sealed.push_back((self.last, std::mem::take(&mut self.open_bytes)));
        Some(Batch { id: self.last, replace: self.open_replace.take(), rows: std::mem::take(&mut self.open) })
    }

    fn committed(&mut self, id: BatchId) -> Result<(), BackendError> {
        assert!(id <= self.last, "batch {} was reported durable, but only {} were sealed", id.0, self.last.0);
        while self.sealed.front().is_some_and(|(sealed, _)| *sealed <= id) {
            self.sealed.pop_front();
        }
        Ok(())
    }

    fn pending_bytes(&self) -> usize {
        self.open_bytes + self.sealed.iter().map(|(_, bytes)| bytes).sum::<usize>()
    }

    fn size(&self) -> Size {
        Size { total_bytes: self.image.bytes, in_use_bytes: self.image.bytes }
    }

    fn row_count(&self, table: Table) -> Result<u64, BackendError> {
        Ok(self.image.table(table).len() as u64)
    }

    fn rewritten(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn snapshot(&self) -> Image {
        self.image.clone()
    }

    fn stage(&self, _name: &str) -> Result<MemStaging, BackendError> {
        Ok(MemStaging::default())
    }

    fn replace(&mut self, staging: MemStaging) -> Result<(), BackendError> {
        self.open = OrdMap::new();
        self.open_bytes = 0;
        self.open_replace = Some(Replacement::Image(staging.image.clone()));
        self.image = staging.image;
        Ok(())
    }
}

impl Commit for MemBackend {
    fn commit(&mut self, batch: &Batch) -> Result<BatchId, BackendError> {
        match &batch.replace {
            None => {}
            Some(Replacement::Image(image)) => self.image = image.clone(),
            Some(Replacement::File(name)) => panic!("a file {name:?} cannot replace a state in memory"),
        }
        for ((table, key), value) in &batch.rows {
            match value {
                Some(value) => self.image.put(*table, key.clone(), value.clone()),
                None => self.image.delete(*table, key),
            }
        }
        Ok(batch.id)
    }

    /// In memory nothing is left behind by what was deleted.
    fn rewrite(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
}
