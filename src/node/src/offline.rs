//! What is done to the store of a member that does not run.

use seatrial_store::{Backend, BackendError, Commit, Failure, HubOptions, RedbBackend, RedbOptions, Store};
use seatrial_types::Revision;
use seatrial_types::request::HashKvResponse;
use seatrial_world::{Disk, DiskFile, OpenMode};
use std::io;

/// Keeps a data folder for this process alone, until what is returned is dropped.
///
/// # Errors
/// `WouldBlock` where a member uses it.
pub fn lock_folder<D: Disk>(disk: &D) -> io::Result<D::File> {
    let lock = disk.open("lock", OpenMode::Create)?;
    lock.lock()?;
    Ok(lock)
}

/// Writes the store's file anew. Bytes before and after. Blocking.
///
/// # Errors
/// The disk's, and damage found.
pub fn defragment<D: Disk>(disk: &D, redb: RedbOptions) -> Result<(u64, u64), BackendError> {
    let (mut backend, mut committer) = RedbBackend::open(disk.clone(), redb)?;
    let before = backend.size().total_bytes;
    committer.rewrite()?;
    backend.rewritten()?;
    Ok((before, backend.size().total_bytes))
}

/// Hash of the keys and values as they are in the store's file; what only the log has is not in it. Blocking.
///
/// # Errors
/// The revisions that a member refuses, the disk's, and damage found.
pub fn hash_kv<D: Disk>(disk: &D, redb: RedbOptions, revision: Revision) -> Result<HashKvResponse, Failure> {
    let (backend, _committer) = RedbBackend::open(disk.clone(), redb)?;
    let store = Store::open(backend, HubOptions::default())?;
    store.hash_kv(revision)
}
