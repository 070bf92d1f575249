//! Snapshot files: reading them whole, and making data folders of them.

use bytes::Bytes;
use seatrial_etcd::{SnapshotFile, TRAILER_BYTES_MAX};
use seatrial_store::{Inspection, SnapshotHeader};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

const PIECE_BYTES: u64 = 1 << 20;

/// A snapshot file whose end says that it is whole.
pub(crate) struct Source {
    file: File,
    /// Bytes of the member's stream that are still to come.
    left: u64,
    tail: Vec<u8>,
    /// Bytes of the file.
    pub(crate) bytes: u64,
    sum: Option<SnapshotFile>,
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let mut file = File::open(path).map_err(|error| wrong(&error))?;
        let bytes = file.metadata().map_err(|error| wrong(&error))?.len();
        let tail_bytes = bytes.min(TRAILER_BYTES_MAX as u64);
        let mut tail = vec![0; tail_bytes as usize];
        file.seek(SeekFrom::Start(bytes - tail_bytes)).map_err(|error| wrong(&error))?;
        file.read_exact(&mut tail).map_err(|error| wrong(&error))?;
        file.rewind().map_err(|error| wrong(&error))?;
        let left = SnapshotFile::stream_bytes(bytes, &tail).map_err(|error| wrong(&error))?;
        Ok(Self { file, left, tail, bytes, sum: Some(SnapshotFile::default()) })
    }

    fn piece(&mut self) -> io::Result<Option<Bytes>> {
        let length = self.left.min(PIECE_BYTES);
        if length == 0 {
            let Some(sum) = self.sum.take() else { return Ok(None) };
            return sum.verify(&self.tail).map(|()| None).map_err(io::Error::other);
        }
        let mut piece = vec![0; length as usize];
        self.file.read_exact(&mut piece)?;
        self.left -= length;
        if let Some(sum) = &mut self.sum {
            sum.push(&piece);
        }
        Ok(Some(piece.into()))
    }
}

/// The stream in pieces; after the last an error, where the file's sum is wrong.
impl Iterator for Source {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        self.piece().transpose()
    }
}

/// What a snapshot file is of.
pub(crate) struct Status {
    pub(crate) header: SnapshotHeader,
    /// Versions of keys.
    pub(crate) keys: u64,
    /// Bytes of the file.
    pub(crate) bytes: u64,
    /// CRC32C of the stream.
    pub(crate) hash: u32,
}

/// Reads a snapshot file through and checks it.
pub(crate) fn status(path: &Path) -> Result<Status, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let source = Source::open(path)?;
    let bytes = source.bytes;
    let (mut inspection, mut hash) = (Inspection::default(), 0);
    for piece in source {
        let piece = piece.map_err(|error| wrong(&error))?;
        hash = crc32c::crc32c_append(hash, &piece);
        inspection.push(&piece).map_err(|error| wrong(&error))?;
    }
    let (header, keys) = inspection.finish().map_err(|error| wrong(&error))?;
    Ok(Status { header, keys, bytes, hash })
}
