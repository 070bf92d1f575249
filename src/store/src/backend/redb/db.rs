//! An open database file: its tables, what it says of itself, and one transaction after the other.

use super::file::RedbFile;
use super::rows::{self, guarded};
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

/// What the file says of itself.
const ABOUT: TableDefinition<'static, &'static str, u64> = TableDefinition::new("about");
const ABOUT_FORMAT: &str = "format";
/// Bytes of all keys and values.
const ABOUT_PAYLOAD: &str = "payload bytes";
/// Bytes of the file for 1000 bytes of payload, as the last rewriting found it.
const ABOUT_PER_MILLE: &str = "per mille";
/// 1: without checksums on rows other than versions of keys, and without this table.
const FORMAT: u64 = 2;
/// As long as nothing was measured: rows that come in order leave pages a good half full.
const PER_MILLE: u64 = 1500;

/// An open database file.
pub(super) struct Db<F> {
    pub(super) name: String,
    /// Below the disk's root.
    pub(super) path: String,
    pub(super) file: Arc<F>,
    pub(super) database: Database,
    pub(super) payload_bytes: AtomicU64,
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
        let database = guarded(&path, "opening it", opening)?;
        let (payload_bytes, per_mille) = (AtomicU64::new(0), AtomicU64::new(PER_MILLE));
        let db = Self { name: name.to_owned(), path, file, database, payload_bytes, per_mille };
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
        self.note_about(&write)?;
        write.commit().map_err(|error| fail(what(), error))
    }

    fn read_about(&self) -> Result<(), BackendError> {
        let what = || format!("reading {}", self.path);
        let read = self.database.begin_read().map_err(|error| fail(what(), error))?;
        let about = match read.open_table(ABOUT) {
            Ok(about) => about,
            Err(redb::TableError::TableDoesNotExist(_)) => return self.upgrade(),
            Err(error) => return Err(fail(what(), error)),
        };
        let number = |name: &str| -> Result<u64, BackendError> {
            let found = about.get(name).map_err(|error| fail(what(), error))?;
            let missing = || BackendError::damaged(format!("{}: it does not tell its {name}", self.path));
            found.map(|number| number.value()).ok_or_else(missing)
        };
        let format = number(ABOUT_FORMAT)?;
        if format != FORMAT {
            return Err(BackendError::damaged(format!(
                "{}: it has format {format}, this program knows {FORMAT}",
                self.path
            )));
        }
        self.payload_bytes.store(number(ABOUT_PAYLOAD)?, Ordering::Relaxed);
        self.per_mille.store(number(ABOUT_PER_MILLE)?, Ordering::Relaxed);
        Ok(())
    }

    /// Gives the rows of a file of the first format their checksums.
    fn upgrade(&self) -> Result<(), BackendError> {
        let what = || format!("bringing {} to format {FORMAT}", self.path);
        let write = self.database.begin_write().map_err(|error| fail(what(), error))?;
        let mut payload = 0;
        for table in Table::ALL {
            let mut rows = write.open_table(definition(table)).map_err(|error| fail(what(), error))?;
            let mut plain = Vec::new();
            for row in redb::ReadableTable::iter(&rows).map_err(|error| fail(what(), error))? {
                let (key, value) = row.map_err(|error| fail(what(), error))?;
                let sealed = rows::sealed(table, key.value(), value.value());
                payload += (key.value().len() + sealed.len()) as u64;
                if sealed.len() != value.value().len() {
                    plain.push((key.value().to_vec(), sealed.into_owned()));
                }
            }
            for (key, value) in plain {
                rows.insert(&*key, &*value).map_err(|error| fail(what(), error))?;
            }
        }
        self.payload_bytes.store(payload, Ordering::Relaxed);
        self.note_about(&write)?;
        write.commit().map_err(|error| fail(what(), error))
    }

    fn note_about(&self, write: &redb::WriteTransaction) -> Result<(), BackendError> {
        let what = || format!("writing {}", self.path);
        let mut about = write.open_table(ABOUT).map_err(|error| fail(what(), error))?;
        for (name, number) in [
            (ABOUT_FORMAT, FORMAT),
            (ABOUT_PAYLOAD, self.payload_bytes.load(Ordering::Relaxed)),
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
            Ok(RedbView { path: self.path.clone(), tables })
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
        let (mut more, mut less) = (0, 0);
        {
            let mut open = None;
            for (table, key, value) in rows {
                if open.as_ref().is_none_or(|(opened, _)| *opened != table) {
                    // One table at a time: redb does not open one twice.
                    drop(open.take());
                    let rows = write.open_table(definition(table)).map_err(|error| fail(what(), error))?;
                    open = Some((table, rows));
                }
                let (_, rows) = open.as_mut().expect("just opened");
                let old = match value {
                    Some(value) => {
                        let value = rows::sealed(table, key, value);
                        more += key.len() + value.len();
                        rows.insert(key.as_ref(), &*value).map_err(|error| fail(what(), error))?
                    }
                    None => rows.remove(key.as_ref()).map_err(|error| fail(what(), error))?,
                };
                if let Some(old) = old {
                    less += key.len() + old.value().len();
                }
            }
        }
        let payload = self.payload_bytes.load(Ordering::Relaxed) + more as u64;
        self.payload_bytes.store(payload.saturating_sub(less as u64), Ordering::Relaxed);
        self.note_about(&write)?;
        write.commit().map_err(|error| fail(what(), error))
    }

    pub(super) fn size(&self) -> Size {
        // Not its length: redb doubles a file that is full, and most of that is a hole at first.
        let total_bytes = self.file.taken().unwrap_or(0);
        let payload = self.payload_bytes.load(Ordering::Relaxed);
        let in_use = payload.saturating_mul(self.per_mille.load(Ordering::Relaxed)) / 1000;
        Size { total_bytes, in_use_bytes: (in_use + rewrite::EMPTY_BYTES).min(total_bytes) }
    }
}
