//! The backend on disk: a redb database in a file of the world's disk.
//!
//! Reads see the committed database overlaid with what is written but not committed yet. The file in force is
//! named by `CURRENT`, which is replaced by a rename: a new database is made complete and durable first, so a
//! crash while the first one is made, or while a snapshot replaces an old one, leaves one whole state.

mod db;
mod file;
mod rewrite;
mod rows;
mod write;

use super::mem::is_empty_span;
use super::{
    Backend, BackendError, Batch, BatchId, Commit, Replacement, RowKey, Size, Staging, Table, View, Visitor,
    visit_pages,
};
use bytes::Bytes;
use db::{Db, fail};
use file::sync_or_mark;
use imbl::OrdMap;
use redb::{Database, ReadOnlyTable, ReadableTableMetadata};
use rows::guarded;
use seatrial_world::{Disk, DiskFile, OpenMode};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

const CURRENT: &str = "CURRENT";
const CURRENT_NEW: &str = "CURRENT.new";
const FIRST: &str = "first.redb";
/// There after a sync of a database file has failed. Never synced itself: it must live as long as the page cache.
const UNSURE: &str = "UNSURE";
/// How much of a database file is written again at once.
const REWRITE_BYTES: u64 = 1 << 20;
const STAGING_FLUSH_BYTES: usize = 4 << 20;

/// How the database is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RedbOptions {
    /// The folder of the database files, below the disk's root.
    pub dir: String,
    /// Memory for its page cache.
    pub cache_bytes: usize,
    /// Write with each commit what a start after a crash would otherwise have to read the whole file for. Costs a
    /// second sync per commit.
    pub quick_repair: bool,
    /// Verify every page when opening (reads the whole file).
    pub check_on_open: bool,
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self { dir: "db".into(), cache_bytes: 64 << 20, quick_repair: false, check_on_open: false }
    }
}

/// Committed rows at one moment.
struct RedbView {
    path: String,
    tables: Vec<ReadOnlyTable<&'static [u8], &'static [u8]>>,
    parts: ReadOnlyTable<&'static [u8], &'static [u8]>,
    /// A database closes with its handle, also under whoever still reads: a view may outlive the file's time in force.
    _database: Arc<Database>,
}

/// What is written but not committed, by table: rows with the batch that wrote them last.
type Overlay = [OrdMap<Bytes, (BatchId, Option<Bytes>)>; Table::ALL.len()];

fn get(view: &RedbView, overlay: &Overlay, table: Table, key: &[u8]) -> Result<Option<Bytes>, BackendError> {
    if let Some((_, value)) = overlay[table.position()].get(key) {
        return Ok(value.clone());
    }
    guarded(&view.path, "reading a row", || {
        let found = view.tables[table.position()].get(key);
        let found = found.map_err(|error| fail(format!("reading {}", view.path), error))?;
        found.map(|value| rows::opened(view, table, key, value.value())).transpose()
    })
}

fn scan(
    view: &RedbView,
    overlay: &Overlay,
    table: Table,
    from: Bound<&[u8]>,
    to: Bound<&[u8]>,
    limit: usize,
) -> Result<Vec<(Bytes, Bytes)>, BackendError> {
    if is_empty_span(from, to) {
        return Ok(Vec::new());
    }
    guarded(&view.path, "reading rows", || merge(view, overlay, table, from, to, limit))
}

fn merge(
    view: &RedbView,
    overlay: &Overlay,
    table: Table,
    from: Bound<&[u8]>,
    to: Bound<&[u8]>,
    limit: usize,
) -> Result<Vec<(Bytes, Bytes)>, BackendError> {
    let what = || format!("reading {}", view.path);
    let mut written = overlay[table.position()].range::<_, [u8]>((from, to)).peekable();
    let mut committed =
        view.tables[table.position()].range::<&[u8]>((from, to)).map_err(|error| fail(what(), error))?;
    let mut next = committed.next().transpose().map_err(|error| fail(what(), error))?;
    let mut out = Vec::new();
    while out.len() < limit {
        let order = match (&next, written.peek()) {
            (None, None) => break,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((key, _)), Some((written, _))) => key.value().cmp(written.as_ref()),
        };
        if order.is_le() {
            let (key, value) = next.take().expect("compared");
            if order.is_lt() {
                let value = rows::opened(view, table, key.value(), value.value())?;
                out.push((Bytes::copy_from_slice(key.value()), value));
            }
            next = committed.next().transpose().map_err(|error| fail(what(), error))?;
        }
        if order.is_ge() {
            let (key, (_, value)) = written.next().expect("peeked");
            if let Some(value) = value {
                out.push((key.clone(), value.clone()));
            }
        }
    }
    Ok(out)
}

/// Databases that were staged and wait for the batch which puts them in force.
type Staged<F> = Arc<Mutex<BTreeMap<String, Arc<Db<F>>>>>;

/// A database that was written anew, with the name of the one whose rows it has.
type Rewritten<F> = Arc<Mutex<Option<(String, Arc<Db<F>>)>>>;

/// The reading half: lives with the state machine.
pub struct RedbBackend<D: Disk> {
    disk: D,
    options: RedbOptions,
    db: Arc<Db<D::File>>,
    view: Arc<RedbView>,
    overlay: Overlay,
    open: OrdMap<RowKey, Option<Bytes>>,
    open_bytes: usize,
    open_replace: Option<Replacement>,
    sealed: VecDeque<(Batch, usize)>,
    last: BatchId,
    staged: Staged<D::File>,
    rewritten: Rewritten<D::File>,
}

impl<D: Disk> fmt::Debug for RedbBackend<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbBackend")
            .field("file", &self.db.name)
            .field("last", &self.last)
            .field("pending_bytes", &self.pending_bytes())
            .finish_non_exhaustive()
    }
}

/// The writing half: makes batches durable, on whatever thread the driver likes.
pub struct RedbCommitter<D: Disk> {
    disk: D,
    options: RedbOptions,
    db: Arc<Db<D::File>>,
    last: BatchId,
    staged: Staged<D::File>,
    rewritten: Rewritten<D::File>,
}

impl<D: Disk> fmt::Debug for RedbCommitter<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbCommitter").field("last", &self.last).finish_non_exhaustive()
    }
}

fn read_current<D: Disk>(disk: &D, options: &RedbOptions) -> Result<Option<String>, BackendError> {
    let path = format!("{}/{CURRENT}", options.dir);
    let what = || format!("reading {path}");
    let file = match disk.open(&path, OpenMode::Existing) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(BackendError::io(what(), &error)),
    };
    let length = file.len().map_err(|error| BackendError::io(what(), &error))?;
    let mut bytes = vec![0; length.min(4096) as usize];
    file.read_at(0, &mut bytes).map_err(|error| BackendError::io(what(), &error))?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    match text.trim_end().split_once(' ') {
        Some((name, crc)) if crc == format!("{:08x}", crc32c::crc32c(name.as_bytes())) => {
            Ok(Some(name.to_owned()))
        }
        _ => Err(BackendError::damaged(format!("{path} does not name a database file"))),
    }
}

fn write_current<D: Disk>(disk: &D, options: &RedbOptions, name: &str) -> Result<(), BackendError> {
    let path = format!("{}/{CURRENT_NEW}", options.dir);
    let error = |error: io::Error| BackendError::io(format!("putting {name} in force"), &error);
    let file = disk.open(&path, OpenMode::Create).map_err(error)?;
    file.set_len(0).map_err(error)?;
    file.write_at(0, format!("{name} {:08x}\n", crc32c::crc32c(name.as_bytes())).as_bytes())
        .map_err(error)?;
    file.sync().map_err(error)?;
    // The database's own name must be durable before anything points at it.
    disk.sync_dir(&options.dir).map_err(error)?;
    disk.rename(&path, &format!("{}/{CURRENT}", options.dir)).map_err(error)?;
    disk.sync_dir(&options.dir).map_err(error)
}

fn remove<D: Disk>(disk: &D, path: &str) -> Result<(), BackendError> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(BackendError::io(format!("removing {path}"), &error))
        }
        _ => Ok(()),
    }
}

/// After a failed sync the page cache shows what the disk may not have: pages that count as written, so that no later
/// sync writes them, until a power loss takes them away from under what was built on them. So all of it is written
/// once more. A crash meanwhile leaves what the crash at the failed commit would have left: the state before, or after.
fn write_again<D: Disk>(disk: &D, options: &RedbOptions, name: &str) -> Result<(), BackendError> {
    let mark = format!("{}/{UNSURE}", options.dir);
    match disk.open(&mark, OpenMode::Existing) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BackendError::io(format!("opening {mark}"), &error)),
    }
    let path = format!("{}/{name}", options.dir);
    let error = |error: io::Error| BackendError::io(format!("writing {path} again"), &error);
    let file = disk.open(&path, OpenMode::Existing).map_err(error)?;
    let length = file.len().map_err(error)?;
    let mut buffer = Vec::new();
    let mut offset = 0;
    while offset < length {
        buffer.resize((length - offset).min(REWRITE_BYTES) as usize, 0);
        file.read_at(offset, &mut buffer).map_err(error)?;
        file.write_at(offset, &buffer).map_err(error)?;
        offset += buffer.len() as u64;
    }
    file.sync().map_err(error)?;
    remove(disk, &mark)?;
    disk.sync_dir(&options.dir).map_err(error)
}

impl<D: Disk> RedbBackend<D> {
    /// Opens the database in the options' folder, making it where there is none. Files left over from a crash
    /// are removed.
    ///
    /// # Errors
    /// The disk's, and damage found.
    pub fn open(disk: D, options: RedbOptions) -> Result<(Self, RedbCommitter<D>), BackendError> {
        let dir = options.dir.clone();
        let error = |error: io::Error| BackendError::io(format!("opening {dir}"), &error);
        disk.create_dir(&dir).map_err(error)?;
        disk.sync_dir("").map_err(error)?;
        // A process that was killed may have left names and pages that are visible but not durable.
        disk.sync_dir(&dir).map_err(error)?;
        let current = read_current(&disk, &options)?;
        for name in disk.list(&dir).map_err(error)? {
            let is_in_force = Some(&name) == current.as_ref() || name == CURRENT;
            if !is_in_force && (name.ends_with(".redb") || name == CURRENT_NEW) {
                remove(&disk, &format!("{dir}/{name}"))?;
            }
        }
        let db = match &current {
            Some(name) => {
                write_again(&disk, &options, name)?;
                Arc::new(Db::open(&disk, &options, name, OpenMode::Existing)?)
            }
            None => {
                let db = Db::open(&disk, &options, FIRST, OpenMode::CreateNew)?;
                write_current(&disk, &options, FIRST)?;
                Arc::new(db)
            }
        };
        sync_or_mark(&disk, &dir, &db.file).map_err(error)?;
        let (staged, rewritten) = (Staged::default(), Rewritten::default());
        let committer = RedbCommitter {
            disk: disk.clone(),
            options: options.clone(),
            db: db.clone(),
            last: BatchId(0),
            staged: staged.clone(),
            rewritten: rewritten.clone(),
        };
        let view = Arc::new(db.view()?);
        let backend = Self {
            disk,
            options,
            db,
            view,
            overlay: Overlay::default(),
            open: OrdMap::new(),
            open_bytes: 0,
            open_replace: None,
            sealed: VecDeque::new(),
            last: BatchId(0),
            staged,
            rewritten,
        };
        Ok((backend, committer))
    }

    fn note(&mut self, row: RowKey, value: Option<Bytes>) {
        self.open_bytes += row.1.len() + value.as_ref().map_or(0, Bytes::len);
        let batch = BatchId(self.last.0 + 1);
        self.overlay[row.0.position()].insert(row.1.clone(), (batch, value.clone()));
        self.open.insert(row, value);
    }
}

impl<D: Disk> View for RedbBackend<D> {
    fn place(&self) -> String {
        self.db.path.clone()
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, BackendError> {
        get(&self.view, &self.overlay, table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, BackendError> {
        scan(&self.view, &self.overlay, table, from, to, limit)
    }

    fn visit(&self, table: Table, each: Visitor<'_>) -> Result<(), BackendError> {
        if !self.overlay[table.position()].is_empty() {
            return visit_pages(self, table, each);
        }
        // Millions of rows at every start: not one is copied.
        let path = &self.view.path;
        let what = || format!("reading {path}");
        guarded(path, "reading rows", || {
            let rows = self.view.tables[table.position()].range::<&[u8]>(..);
            for row in rows.map_err(|error| fail(what(), error))? {
                let (key, value) = row.map_err(|error| fail(what(), error))?;
                each(key.value(), &rows::checked(&self.view, table, key.value(), value.value())?)?;
            }
            Ok(())
        })
    }
}

/// A pinned view: a read transaction and what was written on top at that moment.
#[derive(Clone)]
pub struct RedbSnapshot {
    view: Arc<RedbView>,
    overlay: Overlay,
}

impl fmt::Debug for RedbSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedbSnapshot")
    }
}

impl View for RedbSnapshot {
    fn place(&self) -> String {
        self.view.path.clone()
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, BackendError> {
        get(&self.view, &self.overlay, table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, BackendError> {
        scan(&self.view, &self.overlay, table, from, to, limit)
    }
}

/// A database being filled beside the present one.
pub struct RedbStaging<D: Disk> {
    db: Arc<Db<D::File>>,
    rows: Vec<(Table, Bytes, Bytes)>,
    bytes: usize,
}

impl<D: Disk> fmt::Debug for RedbStaging<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStaging").field("file", &self.db.name).finish_non_exhaustive()
    }
}

impl<D: Disk> RedbStaging<D> {
    fn flush(&mut self) -> Result<(), BackendError> {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        self.db.write(rows.iter().map(|(table, key, value)| (*table, key, Some(value))), false)
    }
}

impl<D: Disk> Staging for RedbStaging<D> {
    fn rows(&mut self, rows: Vec<(Table, Bytes, Bytes)>) -> Result<(), BackendError> {
        self.bytes += rows.iter().map(|(_, key, value)| key.len() + value.len()).sum::<usize>();
        self.rows.extend(rows);
        if self.bytes >= STAGING_FLUSH_BYTES { self.flush() } else { Ok(()) }
    }
}

impl<D: Disk> Backend for RedbBackend<D> {
    type Snapshot = RedbSnapshot;
    type Staging = RedbStaging<D>;

    fn put(&mut self, table: Table, key: Bytes, value: Bytes) {
        self.note((table, key), Some(value));
    }

    fn delete(&mut self, table: Table, key: Bytes) {
        self.note((table, key), None);
    }

    fn seal(&mut self) -> Option<Batch> {
        if self.open.is_empty() && self.open_replace.is_none() {
            return None;
        }
        self.last.0 += 1;
        let batch =
            Batch { id: self.last, replace: self.open_replace.take(), rows: std::mem::take(&mut self.open) };
        self.sealed.push_back((batch.clone(), std::mem::take(&mut self.open_bytes)));
        Some(batch)
    }

    fn committed(&mut self, id: BatchId) -> Result<(), BackendError> {
        assert!(id <= self.last, "batch {} was reported durable, but only {} were sealed", id.0, self.last.0);
        // The new view first: a row must never be in neither place.
        self.view = Arc::new(self.db.view()?);
        while self.sealed.front().is_some_and(|(batch, _)| batch.id <= id) {
            let (batch, _) = self.sealed.pop_front().expect("there is a front");
            for (table, key) in batch.rows.keys() {
                let written = &mut self.overlay[table.position()];
                if written.get(key).is_some_and(|(batch, _)| *batch <= id) {
                    written.remove(key);
                }
            }
        }
        Ok(())
    }

    fn pending_bytes(&self) -> usize {
        self.open_bytes + self.sealed.iter().map(|(_, bytes)| bytes).sum::<usize>()
    }

    fn size(&self) -> Size {
        self.db.size()
    }

    fn row_count(&self, table: Table) -> Result<u64, BackendError> {
        let path = &self.db.path;
        let rows = || self.view.tables[table.position()].len();
        guarded(path, "counting rows", || rows().map_err(|error| fail(format!("reading {path}"), error)))
    }

    fn rewritten(&mut self) -> Result<(), BackendError> {
        let new = self.rewritten.lock().expect("nobody panics while holding it").take();
        // Where a snapshot has replaced the state meanwhile, what was written anew is gone already.
        if let Some((old, new)) = new
            && old == self.db.name
        {
            self.view = Arc::new(new.view()?);
            self.db = new;
        }
        Ok(())
    }

    fn snapshot(&self) -> RedbSnapshot {
        RedbSnapshot { view: self.view.clone(), overlay: self.overlay.clone() }
    }

    fn stage(&self, name: &str) -> Result<RedbStaging<D>, BackendError> {
        let mut file = format!("{name}.redb");
        while file == self.db.name {
            file.insert(0, '_');
        }
        remove(&self.disk, &format!("{}/{file}", self.options.dir))?;
        let db = Arc::new(Db::open(&self.disk, &self.options, &file, OpenMode::CreateNew)?);
        Ok(RedbStaging { db, rows: Vec::new(), bytes: 0 })
    }

    fn replace(&mut self, mut staging: RedbStaging<D>) -> Result<(), BackendError> {
        staging.flush()?;
        let view = Arc::new(staging.db.view()?);
        let name = staging.db.name.clone();
        self.staged.lock().expect("nobody panics while holding it").insert(name.clone(), staging.db.clone());
        self.db = staging.db;
        self.view = view;
        self.overlay = Overlay::default();
        self.open = OrdMap::new();
        self.open_bytes = 0;
        self.open_replace = Some(Replacement::File(name));
        Ok(())
    }
}

impl<D: Disk> RedbCommitter<D> {
    /// Only with a planted bug: writes the applied index of a batch ahead of its rows.
    ///
    /// # Errors
    /// The disk's.
    pub fn commit_state_ahead(&mut self, batch: &Batch) -> Result<(), BackendError> {
        let state = batch.rows.iter().filter(|((table, _), _)| *table == Table::State);
        let rows = state.map(|((table, key), value)| (*table, key, value.as_ref()));
        self.db.write(rows, self.options.quick_repair)
    }
}

impl<D: Disk> Commit for RedbCommitter<D> {
    fn commit(&mut self, batch: &Batch) -> Result<BatchId, BackendError> {
        assert!(batch.id.0 == self.last.0 + 1, "batch {} after {}", batch.id.0, self.last.0);
        let rows = batch.rows.iter().map(|((table, key), value)| (*table, key, value.as_ref()));
        match &batch.replace {
            None => self.db.write(rows, self.options.quick_repair)?,
            Some(Replacement::Image(_)) => panic!("a state in memory cannot replace a database"),
            Some(Replacement::File(name)) => {
                let staged = self.staged.lock().expect("nobody panics while holding it").remove(name);
                let new = staged.unwrap_or_else(|| panic!("{name} was never staged"));
                new.write(rows, self.options.quick_repair)?;
                write_current(&self.disk, &self.options, name)?;
                let old = std::mem::replace(&mut self.db, new);
                remove(&self.disk, &format!("{}/{}", self.options.dir, old.name))?;
            }
        }
        self.last = batch.id;
        Ok(batch.id)
    }

    fn rewrite(&mut self) -> Result<(), BackendError> {
        self.rewrite_file()
    }
}
