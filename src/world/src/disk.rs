//! Files below one folder.
//!
//! The calls are synchronous: reads and writes go through the page cache and are short, and the stores
//! built on top (a database among them) are synchronous themselves. What is slow, above all making bytes
//! durable, is handed to [`crate::World::work`].
//!
//! Durability is the kernel's: a write is durable after [`DiskFile::sync`] of its file; a file's *existence*,
//! its name or its removal is durable after [`Disk::sync_dir`] of its folder. Until then a power loss may keep
//! or lose each 512-byte sector of each write, in any order.

use std::io;

/// The kind of blocking work, from which a simulated disk draws its latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiskWork {
    /// Reads.
    Read,
    /// Writes into the page cache.
    Write,
    /// Makes things durable.
    Sync,
}

/// How a file is opened. All are readable and writable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpenMode {
    /// It must exist.
    Existing,
    /// It is made where it is missing.
    Create,
    /// It must not exist.
    CreateNew,
}

/// A folder with files and sub-folders. Paths are relative to it, with `/` between parts, without `..`.
/// Cheap to clone; every clone is the same disk.
pub trait Disk: Clone + Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;

    /// Opens a file. Making one leaves its folder unsynced.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists`, `StorageFull` and others; the message names the path.
    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Self::File>;

    /// Makes a folder and its parents; nothing happens where it exists.
    ///
    /// # Errors
    /// Whatever the system says; the message names the path.
    fn create_dir(&self, path: &str) -> io::Result<()>;

    /// Names of the files and folders in a folder (`""` is the root), sorted.
    ///
    /// # Errors
    /// `NotFound` and others.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;

    /// Gives a file another name, replacing what had it, atomically.
    ///
    /// # Errors
    /// `NotFound` and others.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound` and others.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// A failed sync means that the state on disk is unknown: never try again, stop.
    fn sync_dir(&self, path: &str) -> io::Result<()>;
}

/// An open file. Shared by reference; positions are given with each call.
pub trait DiskFile: Send + Sync + 'static {
    /// Fills the whole buffer from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file ends before; an I/O error where the medium is damaged.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all of it, growing the file where needed (a gap reads as zeros).
    ///
    /// # Errors
    /// `StorageFull` and others; a part may be written then.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Its length in bytes.
    ///
    /// # Errors
    /// Whatever the system says.
    fn len(&self) -> io::Result<u64>;

    /// Bytes it takes on the disk: less than its length where parts of it were never written. The length where the
    /// disk cannot tell.
    ///
    /// # Errors
    /// As [`DiskFile::len`].
    fn taken(&self) -> io::Result<u64> {
        self.len()
    }

    /// Whether it has no bytes.
    ///
    /// # Errors
    /// As [`DiskFile::len`].
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts or grows it (with zeros).
    ///
    /// # Errors
    /// `StorageFull` and others.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Reserves space and grows it, so that later writes within need no new space.
    ///
    /// # Errors
    /// `StorageFull` and others.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// Makes all writes so far durable (fdatasync: the data and the length).
    ///
    /// # Errors
    /// A failed sync means that what is on disk is unknown: never try again, stop (fsyncgate).
    fn sync(&self) -> io::Result<()>;

    /// Takes the file for this process alone, until it is closed.
    ///
    /// # Errors
    /// `WouldBlock` where another process has it.
    fn lock(&self) -> io::Result<()>;
}
