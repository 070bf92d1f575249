//! Snapshot files: databases of etcd.

use seatrial_backup::{Database, ReadAt, Status};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A database, read from a file.
pub(crate) type FileDatabase = Database<ReadAt<'static>>;

/// Opens a file; with `sum`, only where there is a right one behind the database.
pub(crate) fn open(path: &Path, sum: bool) -> Result<FileDatabase, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(|error| wrong(&error))?;
    let bytes = file.metadata().map_err(|error| wrong(&error))?.len();
    let read = move |at: u64, length: usize| {
        let mut piece = vec![0; length];
        file.read_exact_at(&mut piece, at)?;
        Ok(piece)
    };
    let read: ReadAt<'static> = Box::new(read);
    Database::open(read, bytes, sum).map_err(|error| wrong(&error))
}

/// Reads a file through and checks it.
pub(crate) fn status(path: &Path, sum: bool) -> Result<Status, String> {
    open(path, sum)?.status().map_err(|error| format!("{}: {error}", path.display()))
}
