//! An open database file: its tables, what it says of itself, and one transaction after the other.

use super::file::RedbFile;
use super::rows::guarded;
use super::write::Writer;
use super::{RedbOptions, RedbView, rewrite};
use crate::backend::{BackendError, Size, Table};
use bytes::Bytes;
use redb::{Database, ReadableDatabase, TableDefinition};
use seatrial_world::{Disk, DiskFile, OpenMode};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

type Rows = TableDefinition<'static, &'static [u8], &'static [u8]>;

pub(super) fn definition(table: Table) -> Rows {
    TableDefinition::new(match table {
        Table::Kv => "kv",
        Table::Lease => "lease",
        Table::Meta => "meta",
        Table::State => "state",
    })
}

/// Parts of the rows of the table of versions that are longer than a page.
pub(super) const PARTS: Rows = TableDefinition::new("parts");

/// What the file says of itself.
const ABOUT: TableDefinition<'static, &'static str, u64> = TableDefinition::new("about");
const ABOUT_FORMAT: &str = "format";
/// Bytes of all rows, keys and values.
const ABOUT_ROWS: &str = "payload bytes";
/// Bytes of the parts of long rows, with their keys.
const ABOUT_PARTS: &str = "bytes in parts";
/// Bytes of the file for 1000 bytes of rows, as the last rewriting found it. Parts fill their pages.
const ABOUT_PER_MILLE: &str = "per mille";
/// 1: without checksums on rows other than versions of keys, and without this table. 2: long values were not cut.
const FORMAT: u64 = 3;
/// As long as nothing was measured: rows that come in order leave pages a good half full.
const PER_MILLE: u64 = 1500;

/// Bytes of what lies in the tables.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) rows: u64,
    pub(super) parts: u64,
}

impl Counts {
    pub(super) fn less(&mut self, rows: usize, parts: usize) {
        self.rows = self.rows.saturating_sub(rows as u64);
        self.parts = self.parts.saturating_sub(parts as u64);
    }
}

/// An open database file.
pub(super) struct Db<F> {
    pub(super) name: String,
    /// Below the disk's root.
    pub(super) path: String,
    pub(super) file: Arc<F>,
    pub(super) database: Arc<Database>,
    rows_bytes: AtomicU64,
    parts_bytes: AtomicU64,
    pub(super) per_mille: AtomicU64,
}

pub(super) fn fail(what: impl Into<String>, error: impl Into<redb::Error>) -> BackendError {
    let what = what.into();
    match error.into() {
        redb::Error::Io(error) => BackendError::io(what, &error),
        redb::Error::Corrupted(text) => BackendError::damaged(format!("{what}: {text}")),
        error => BackendError::Io { what, kind: io::ErrorKind::Other, text: error.to_string() },
    }
}

impl<F: DiskFile> Db<F> {
    pub(super) fn open<D: Disk<File = F>>(
        disk: &D,
        options: &RedbOptions,
        name: &str,
        mode: OpenMode,
    ) -> Result<Self, BackendError> {
        let path = format!("{}/{name}", options.dir);
        let what = format!("opening {path}");
        let file = match disk.open(&path, mode) {
            Ok(file) => Arc::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BackendError::damaged(format!("{path} is missing")));
            }
            Err(error) => return Err(BackendError::io(what, &error)),
        };
        file.lock().map_err(|error| BackendError::io(format!("locking {path}"), &error))?;
        let is_new = file.is_empty().map_err(|error| BackendError::io(&*what, &error))?;
        if is_new && mode == OpenMode::Existing {
            return Err(BackendError::damaged(format!("{path} is empty")));
        }
        let (disk, dir) = (disk.clone(), options.dir.clone());
        let adapter = RedbFile { file: file.clone(), disk, dir };
        let mut builder = Database::builder();
        builder.set_cache_size(options.cache_bytes).set_check_integrity_on_open(options.check_on_open);
        let opening = || builder.create_with_backend(adapter).map_err(|error| fail(&*what, error));
        let database = Arc::new(guarded(&path, "opening it", opening)?);
        let db = Self {
            name: name.to_owned(),
            path,
            file,
            database,
            rows_bytes: AtomicU64::new(0),
            parts_bytes: AtomicU64::new(0),
            per_mille: AtomicU64::new(PER_MILLE),
        };
        guarded(&db.path, "opening it", || if is_new { db.begin() } else { db.read_about() })?;
        Ok(db)
    }

    /// Makes the tables of a new file.
    fn begin(&self) -> Result<(), BackendError> {
        let what = || format!("making {}", self.path);
        let write = self.database.begin_write().map_err(|error| fail(what(), error))?;
        for table in Table::ALL {
            write.open_table(definition(table)).map_err(|error| fail(what(), error))?;
        }
        write.open_table(PARTS).map_err(|error| fail(what(), error))?;
        self.note_about(&write)?;
        write.commit().map_err(|error| fail(what(), error))
    }

    fn read_about(&self) -> Result<(), BackendError> {
        let what = || format!("reading {}", self.path);
        let read = self.database.begin_read().map_err(|error| fail(what(), error))?;
        let about = match read.open_table(ABOUT) {
            Ok(about) => about,
            Err(redb::TableError::TableDoesNotExist(_)) => return self.upgrade(1),
            Err(error) => return Err(fail(what(), error)),
        };
        let number = |name: &str| -> Result<u64, BackendError> {
            let found = about.get(name).map_err(|error| fail(what(), error))?;
            let missing = || BackendError::damaged(format!("{}: it does not tell its {name}", self.path));
            found.map(|number| number.value()).ok_or_else(missing)
        };
        let format = number(ABOUT_FORMAT)?;
        match format {
            FORMAT => {}
            1 | 2 => return self.upgrade(format),
            found => return Err(BackendError::Format { file: self.path.clone(), found, known: FORMAT }),
        }
        self.count(Counts { rows: number(ABOUT_ROWS)?, parts: number(ABOUT_PARTS)? });
        self.per_mille.store(number(ABOUT_PER_MILLE)?, Ordering::Relaxed);
        Ok(())
    }

    fn upgrade(&self, from: u64) -> Result<(), BackendError> {
        let what = || format!("bringing {} to format {FORMAT}", self.path);
        let write = self.database.begin_write().map_err(|error| fail(what(), error))?;
        write.open_table(PARTS).map_err(|error| fail(what(), error))?;
        let mut writer = Writer::new(&self.path, &write, Counts::default());
        for table in Table::ALL {
            writer.upgrade(from, table)?;
        }
        let counts = writer.counts;
        drop(writer);
        self.count(counts);
        self.note_about(&write)?;
        write.commit().map_err(|error| fail(what(), error))
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            rows: self.rows_bytes.load(Ordering::Relaxed),
            parts: self.parts_bytes.load(Ordering::Relaxed),
        }
    }

    fn count(&self, counts: Counts) {
        self.rows_bytes.store(counts.rows, Ordering::Relaxed);
        self.parts_bytes.store(counts.parts, Ordering::Relaxed);
    }

    fn note_about(&self, write: &redb::WriteTransaction) -> Result<(), BackendError> {
        let what = || format!("writing {}", self.path);
        let mut about = write.open_table(ABOUT).map_err(|error| fail(what(), error))?;
        for (name, number) in [
            (ABOUT_FORMAT, FORMAT),
            (ABOUT_ROWS, self.rows_bytes.load(Ordering::Relaxed)),
            (ABOUT_PARTS, self.parts_bytes.load(Ordering::Relaxed)),
            (ABOUT_PER_MILLE, self.per_mille.load(Ordering::Relaxed)),
        ] {
            about.insert(name, number).map_err(|error| fail(what(), error))?;
        }
        Ok(())
    }

    pub(super) fn view(&self) -> Result<RedbView, BackendError> {
        let what = || format!("reading {}", self.path);
        guarded(&self.path, "reading", || {
            let read = self.database.begin_read().map_err(|error| fail(what(), error))?;
            let mut tables = Vec::with_capacity(Table::ALL.len());
            for table in Table::ALL {
                tables.push(read.open_table(definition(table)).map_err(|error| fail(what(), error))?);
            }
            let parts = read.open_table(PARTS).map_err(|error| fail(what(), error))?;
            Ok(RedbView { path: self.path.clone(), tables, parts, _database: self.database.clone() })
        })
    }

    /// Writes rows in one transaction; durable when it returns.
    pub(super) fn write<'a>(
        &self,
        rows: impl Iterator<Item = (Table, &'a Bytes, Option<&'a Bytes>)>,
        quick_repair: bool,
    ) -> Result<(), BackendError> {
        guarded(&self.path, "a commit", || self.write_rows(rows, quick_repair))
    }

    fn write_rows<'a>(
        &self,
        rows: impl Iterator<Item = (Table, &'a Bytes, Option<&'a Bytes>)>,
        quick_repair: bool,
    ) -> Result<(), BackendError> {
        let what = || format!("committing to {}", self.path);
        let mut write = self.database.begin_write().map_err(|error| fail(what(), error))?;
        write.set_quick_repair(quick_repair);
        let mut writer = Writer::new(&self.path, &write, self.counts());
        for (table, key, value) in rows {
            writer.write(table, key, value.map(|value| &**value))?;
        }
        let counts = writer.counts;
        drop(writer);
        self.count(counts);
        self.note_about(&write)?;
        write.commit().map_err(|error| fail(what(), error))
    }

    pub(super) fn size(&self) -> Size {
        // Not its length: redb doubles a file that is full, and most of that is a hole at first.
        let total_bytes = self.file.taken().unwrap_or(0);
        let Counts { rows, parts } = self.counts();
        let in_use = rows.saturating_mul(self.per_mille.load(Ordering::Relaxed)) / 1000 + parts;
        Size { total_bytes, in_use_bytes: (in_use + rewrite::EMPTY_BYTES).min(total_bytes) }
    }
}
