//! A file becomes a member's stream.

use crate::SUM_BYTES;
use crate::bolt::{Bolt, BoltError};
use crate::records::{self, AUTH, Few, KEY, LEASE, META, ROLES, USERS, V2};
use bytes::Bytes;
use seatrial_store::{Row, SnapshotHeader, SnapshotWriter};
use seatrial_types::Revision;
use sha2::{Digest, Sha256};
use std::io;

/// Bytes of the stream that are handed on at a time, and of the file that are summed at a time.
const PIECE_BYTES: usize = 1 << 20;
/// etcd's files are a whole number of these, and the sum.
const BLOCK_BYTES: u64 = 512;

/// A file that cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The pages.
    #[error("{0}")]
    Bolt(#[from] BoltError),
    /// It cannot be read, or what comes of it not be taken.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// There is no sum behind the database.
    #[error(
        "snapshot missing hash but --skip-hash-check=false\nhint: it has {0} bytes. Was the download cut short? A copy of a member's own database has no hash, and is taken with --skip-hash-check"
    )]
    NoSum(u64),
    /// The sum is wrong.
    #[error("its SHA-256 is wrong: the file is damaged")]
    Sum,
    /// An entry is none that etcd writes.
    #[error("bucket {bucket}: {what}")]
    Record {
        /// Where it lies.
        bucket: String,
        /// What is wrong with it.
        what: String,
    },
}

fn record_error(bucket: &[u8], what: String) -> ImportError {
    ImportError::Record { bucket: String::from_utf8_lossy(bucket).into_owned(), what }
}

/// What a file is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// CRC-32C of the names of all buckets, their keys and values.
    pub hash: u32,
    /// The last one.
    pub revision: Revision,
    /// Entries of all buckets.
    pub keys: u64,
    /// Of the database, without the sum.
    pub bytes: u64,
}

/// Brings so many bytes at a place.
pub type ReadAt<'a> = Box<dyn FnMut(u64, usize) -> io::Result<Vec<u8>> + 'a>;

/// A database whose sum is right.
pub struct Database<R> {
    bolt: Bolt<R>,
    bytes: u64,
}

impl<R: FnMut(u64, usize) -> io::Result<Vec<u8>>> Database<R> {
    /// Opens a file of so many bytes, of which `read` brings those at a place. Without `sum` the file may be a copy of a
    /// member's own database, which has no sum.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub fn open(mut read: R, file_bytes: u64, sum: bool) -> Result<Self, ImportError> {
        let has_sum = file_bytes % BLOCK_BYTES == SUM_BYTES as u64;
        let bytes = if has_sum { file_bytes - SUM_BYTES as u64 } else { file_bytes };
        if sum {
            if !has_sum {
                return Err(ImportError::NoSum(file_bytes));
            }
            let mut found = Sha256::new();
            let mut at = 0;
            while at < bytes {
                let piece = (bytes - at).min(PIECE_BYTES as u64);
                found.update(read(at, piece as usize)?);
                at += piece;
            }
            if read(bytes, SUM_BYTES)? != found.finalize().as_slice() {
                return Err(ImportError::Sum);
            }
        }
        Ok(Self { bolt: Bolt::open(read, bytes)?, bytes })
    }

    /// Looks at everything, and checks what is going to be restored.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub fn status(&mut self) -> Result<Status, ImportError> {
        let (mut hash, mut keys, mut newest) = (0, 0, Revision(0));
        let mut few = Few::default();
        for bucket in self.bolt.buckets() {
            hash = crc32c::crc32c_append(hash, &bucket);
            let wrong = |what| record_error(&bucket, what);
            self.bolt.visit(&bucket, &mut |key: &[u8], value: &[u8]| {
                hash = crc32c::crc32c_append(crc32c::crc32c_append(hash, key), value);
                keys += 1;
                match &*bucket {
                    KEY => newest = newest.max(newest_of(key, value)?),
                    META | AUTH => few.take(key, value).map_err(wrong)?,
                    LEASE => drop(records::lease(key, value).map_err(wrong)?),
                    ROLES => drop(records::role(key, value).map_err(wrong)?),
                    USERS => drop(records::user(key, value).map_err(wrong)?),
                    V2 => drop(records::v2(key, value).map_err(wrong)?),
                    _ => {}
                }
                Ok::<_, ImportError>(())
            })?;
        }
        Ok(Status { hash, revision: newest, keys, bytes: self.bytes })
    }

    /// The stream, handed on piece by piece; what it is of.
    ///
    /// # Errors
    /// See [`ImportError`], and what `to` says.
    pub fn stream(
        &mut self,
        to: &mut dyn FnMut(Bytes) -> io::Result<()>,
    ) -> Result<SnapshotHeader, ImportError> {
        let mut few = Few::default();
        for bucket in [META, AUTH] {
            self.bolt.visit(bucket, &mut |key: &[u8], value: &[u8]| {
                few.take(key, value).map_err(|what| record_error(bucket, what))
            })?;
        }
        let mut newest = Revision(0);
        self.bolt.visit(KEY, &mut |key: &[u8], value: &[u8]| {
            newest = newest.max(newest_of(key, value)?);
            Ok::<_, ImportError>(())
        })?;
        let header = few.header(newest);
        let mut out = SnapshotWriter::new(&header);
        let mut put = |out: &mut SnapshotWriter, row: &Row| {
            out.row(row);
            if out.gathered() < PIECE_BYTES { Ok(()) } else { to(out.take()) }
        };
        // In the order of our tables, and of the rows in them.
        type Read = fn(&[u8], &[u8]) -> Result<Row, String>;
        let version: Read = |key, value| records::version(key, Bytes::copy_from_slice(value));
        let parts: [(&[u8], Read); 2] = [(KEY, version), (LEASE, records::lease)];
        for (bucket, read) in parts {
            self.bolt.visit(bucket, &mut |key: &[u8], value: &[u8]| {
                let row = read(key, value).map_err(|what| record_error(bucket, what))?;
                Ok::<_, ImportError>(put(&mut out, &row)?)
            })?;
        }
        if let Some(auth) = few.auth() {
            put(&mut out, &auth)?;
        }
        let parts: [(&[u8], Read); 3] = [(ROLES, records::role), (USERS, records::user), (V2, records::v2)];
        for (bucket, read) in parts {
            self.bolt.visit(bucket, &mut |key: &[u8], value: &[u8]| {
                let row = read(key, value).map_err(|what| record_error(bucket, what))?;
                Ok::<_, ImportError>(put(&mut out, &row)?)
            })?;
        }
        to(out.finish())?;
        Ok(header)
    }
}

fn newest_of(key: &[u8], value: &[u8]) -> Result<Revision, ImportError> {
    match records::version(key, Bytes::copy_from_slice(value)) {
        Ok(Row::Version { event, .. }) => Ok(event.kv.mod_revision),
        Ok(_) => unreachable!("a version is a version"),
        Err(what) => Err(record_error(KEY, what)),
    }
}
