//! A file of the world as redb wants it.

use super::UNSURE;
use redb::StorageBackend;
use seatrial_world::{Disk, DiskFile, OpenMode};
use std::fmt;
use std::io;
use std::sync::Arc;

pub(super) struct RedbFile<D: Disk> {
    pub(super) file: Arc<D::File>,
    pub(super) disk: D,
    pub(super) dir: String,
}

impl<D: Disk> fmt::Debug for RedbFile<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedbFile")
    }
}

impl<D: Disk> StorageBackend for RedbFile<D> {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        sync_or_mark(&self.disk, &self.dir, &*self.file)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, data)
    }
}

/// Syncs a database file; a failure leaves word for the next start.
pub(super) fn sync_or_mark<D: Disk>(disk: &D, dir: &str, file: &D::File) -> io::Result<()> {
    file.sync().inspect_err(|_| {
        // Nothing better can be done where even this fails: the first error is told in any case.
        let _ = disk.open(&format!("{dir}/{UNSURE}"), OpenMode::Create);
    })
}
