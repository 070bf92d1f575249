//! A snapshot as a file: the member's stream, zeros, the stream's length, and a checksum over it all.
//!
//! Etcd's client takes a file for a whole one where its size is a SHA-256 beyond a multiple of 512 bytes, and ours
//! checks the sum itself. What lies in front of the sum is Seatrial's own format, not a database of etcd.

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// The sum behind everything.
const SUM_BYTES: usize = 32;
/// The length of the stream, before the sum.
const LENGTH_BYTES: usize = 8;
const BLOCK_BYTES: u64 = 512;

/// What stands behind the stream in a file, at most.
pub const TRAILER_BYTES_MAX: usize = BLOCK_BYTES as usize + LENGTH_BYTES + SUM_BYTES;

/// Sums a stream up while it passes, to end the file with.
#[derive(Clone, Debug, Default)]
pub struct SnapshotFile {
    sum: Sha256,
    bytes: u64,
}

/// The bytes are no whole snapshot file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotFileError {
    /// Cut off, or something else.
    #[error("it has {0} bytes, which no snapshot file has\nhint: was the download cut short?")]
    Size(u64),
    /// The length inside does not fit.
    #[error("its stream is said to have {stream} bytes, in a file of {file}: it is no snapshot of Seatrial")]
    Length {
        /// As written in it.
        stream: u64,
        /// The file's size.
        file: u64,
    },
    /// The sum is wrong.
    #[error("its SHA-256 is wrong: the file is damaged")]
    Sum,
}

impl SnapshotFile {
    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// What ends the file.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        let used = (self.bytes + LENGTH_BYTES as u64) % BLOCK_BYTES;
        let zeros = (BLOCK_BYTES - used) % BLOCK_BYTES;
        let mut out = vec![0; zeros as usize];
        out.extend_from_slice(&self.bytes.to_le_bytes());
        self.sum.update(&out);
        out.extend_from_slice(&self.sum.finalize());
        out.into()
    }

    /// From the size of a file and its last bytes (up to [`TRAILER_BYTES_MAX`]): how long the stream in it is.
    ///
    /// # Errors
    /// See [`SnapshotFileError`]; the sum is not looked at.
    pub fn stream_bytes(file_bytes: u64, tail: &[u8]) -> Result<u64, SnapshotFileError> {
        let ends = SUM_BYTES + LENGTH_BYTES;
        if file_bytes % BLOCK_BYTES != SUM_BYTES as u64 || tail.len() < ends {
            return Err(SnapshotFileError::Size(file_bytes));
        }
        let length = &tail[tail.len() - ends..tail.len() - SUM_BYTES];
        let stream = u64::from_le_bytes(length.try_into().expect("eight bytes"));
        let rest = file_bytes.checked_sub(stream).filter(|rest| *rest >= ends as u64);
        match rest {
            Some(rest) if rest < BLOCK_BYTES + ends as u64 => Ok(stream),
            _ => Err(SnapshotFileError::Length { stream, file: file_bytes }),
        }
    }

    /// Whether the stream that was pushed is the one of the file with these last bytes.
    ///
    /// # Errors
    /// [`SnapshotFileError::Sum`].
    pub fn verify(self, tail: &[u8]) -> Result<(), SnapshotFileError> {
        let want = self.finish();
        if tail.ends_with(&want) { Ok(()) } else { Err(SnapshotFileError::Sum) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(stream: &[u8]) -> Vec<u8> {
        let mut summing = SnapshotFile::default();
        let mut out = Vec::new();
        for piece in stream.chunks(100) {
            summing.push(piece);
            out.extend_from_slice(piece);
        }
        out.extend_from_slice(&summing.finish());
        out
    }

    fn check(file: &[u8]) -> Result<u64, SnapshotFileError> {
        let tail = &file[file.len().saturating_sub(TRAILER_BYTES_MAX)..];
        let length = SnapshotFile::stream_bytes(file.len() as u64, tail)?;
        let mut summing = SnapshotFile::default();
        summing.push(&file[..length as usize]);
        summing.verify(tail)?;
        Ok(length)
    }

    #[test]
    fn a_file_of_any_length_is_read_back_and_looks_whole_to_etcds_client() {
        for length in [0, 1, 471, 472, 473, 503, 504, 505, 512, 5000] {
            let bytes = file(&vec![7; length]);
            assert_eq!(bytes.len() % 512, 32, "of {length}");
            assert_eq!(check(&bytes), Ok(length as u64));
        }
    }

    #[test]
    fn a_file_cut_short_or_changed_is_refused() {
        let whole = file(&[7; 3000]);
        assert!(matches!(check(&whole[..whole.len() - 1]), Err(SnapshotFileError::Size(_))));
        assert!(check(&whole[512..]).is_err());
        for at in [0, 2999, whole.len() - 100, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(check(&changed).is_err(), "a changed byte {at} of {}", whole.len());
        }
        assert!(matches!(check(b""), Err(SnapshotFileError::Size(0))));
    }
}
