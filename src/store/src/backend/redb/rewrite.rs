//! A database written anew: the rows of the present file in order into a new one, which takes its place.
//!
//! redb gives room back only where nobody reads, and the state machine always reads; besides, moving pages within the
//! file that is in force would put it at risk at every step. So the rows are copied, as etcd does it, and the new file
//! is complete and durable before its name is put in force by one rename. Who reads from the old file goes on doing
//! so until the state machine is told.

use super::db::Counts;
use super::{Db, RedbCommitter, RedbView, STAGING_FLUSH_BYTES, Table, fail, guarded, remove, write_current};
use crate::backend::BackendError;
use crate::mvcc::verify;
use bytes::Bytes;
use redb::ReadableTableMetadata;
use seatrial_world::{Disk, DiskFile, OpenMode};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// About what a file without rows takes.
pub(super) const EMPTY_BYTES: u64 = 12 << 10;

/// From so many bytes of rows on it is worth while to learn how much room they take.
const MEASURED_BYTES: u64 = 1 << 20;

const NAMES: [&str; 2] = ["rewritten.redb", "rewritten-again.redb"];

impl<D: Disk> RedbCommitter<D> {
    pub(super) fn rewrite_file(&mut self) -> Result<(), BackendError> {
        let name = if self.db.name == NAMES[0] { NAMES[1] } else { NAMES[0] };
        let path = format!("{}/{name}", self.options.dir);
        remove(&self.disk, &path)?;
        let made = self.copy(name).and_then(|new| {
            write_current(&self.disk, &self.options, name)?;
            Ok(new)
        });
        let new = match made {
            Ok(new) => Arc::new(new),
            Err(error) => {
                if error.is_disk_full() {
                    remove(&self.disk, &path)?;
                }
                return Err(error);
            }
        };
        let old = std::mem::replace(&mut self.db, new.clone());
        *self.rewritten.lock().expect("nobody panics while holding it") = Some((old.name.clone(), new));
        remove(&self.disk, &old.path)
    }

    /// A new file with all rows of the present one, durable.
    fn copy(&self, name: &str) -> Result<Db<D::File>, BackendError> {
        let new = Db::open(&self.disk, &self.options, name, OpenMode::CreateNew)?;
        let view = self.db.view()?;
        for table in Table::ALL {
            copy_table(&view, table, &new)?;
        }
        drop(view);
        let what = format!("measuring {}", new.path);
        let Counts { rows, parts } = new.counts();
        if rows >= MEASURED_BYTES {
            let taken = new.file.taken().map_err(|error| BackendError::io(&*what, &error))?;
            let rows_take = taken.saturating_sub(EMPTY_BYTES + parts);
            new.per_mille.store((rows_take * 1000 / rows).clamp(1000, 4000), Ordering::Relaxed);
        }
        new.write(std::iter::empty(), false)?;
        new.file.sync().map_err(|error| BackendError::io(&*what, &error))?;
        Ok(new)
    }
}

/// Copies the rows of one table, some megabytes at a time. What does not match its checksum is not copied: the copy
/// would give damage a new home.
fn copy_table<F: DiskFile>(view: &RedbView, table: Table, new: &Db<F>) -> Result<(), BackendError> {
    let mut after: Option<Bytes> = None;
    let mut copied = 0;
    loop {
        let rows = page(view, table, after.as_ref())?;
        let Some((last, _)) = rows.last() else { break };
        copied += rows.len() as u64;
        if table == Table::Kv {
            for (key, value) in &rows {
                verify(key, value).map_err(|error| error.in_file(&view.path))?;
            }
        }
        new.write(rows.iter().map(|(key, value)| (table, key, Some(value))), false)?;
        after = Some(last.clone());
    }
    let what = || format!("reading {}", view.path);
    let kept = view.tables[table.position()].len().map_err(|error| fail(what(), error))?;
    if copied == kept {
        return Ok(());
    }
    Err(BackendError::damaged(format!(
        "{}: {copied} rows are found in table {table:?}, which should have {kept}",
        view.path
    )))
}

/// The next rows, as many as are written at once.
fn page(view: &RedbView, table: Table, after: Option<&Bytes>) -> Result<Vec<(Bytes, Bytes)>, BackendError> {
    let what = || format!("reading {}", view.path);
    let from = after.map_or(Bound::Unbounded, |key| Bound::Excluded(&**key));
    guarded(&view.path, "reading rows", || {
        let span: (Bound<&[u8]>, Bound<&[u8]>) = (from, Bound::Unbounded);
        let rows = view.tables[table.position()].range::<&[u8]>(span);
        let mut out = Vec::new();
        let mut bytes = 0;
        for row in rows.map_err(|error| fail(what(), error))? {
            let (key, value) = row.map_err(|error| fail(what(), error))?;
            let value = super::rows::opened(view, table, key.value(), value.value())?;
            bytes += key.value().len() + value.len();
            out.push((Bytes::copy_from_slice(key.value()), value));
            if bytes >= STAGING_FLUSH_BYTES {
                break;
            }
        }
        Ok(out)
    })
}
