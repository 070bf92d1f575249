//! A member's stream becomes a file.
//!
//! The stream is read twice: the first pages of the file tell how large it is.

use crate::SUM_BYTES;
use crate::bolt::{Totals, Writer};
use crate::records::{self, EMPTY, KEY, LEASE, META, ROLES, USERS, V2, Value};
use bytes::Bytes;
use seatrial_store::{Row, SnapshotError, SnapshotRows};
use sha2::{Digest, Sha256};

/// Puts rows into buckets, in the order of the stream.
#[derive(Debug)]
struct Filling {
    rows: SnapshotRows,
    writer: Writer,
    /// The bucket being filled; `None` before the first.
    bucket: Option<&'static [u8]>,
    writes: bool,
}

/// The buckets in which the stream comes.
const ORDER: [&[u8]; 7] = [KEY, LEASE, records::AUTH, ROLES, USERS, V2, META];

impl Filling {
    fn new(totals: Option<Totals>) -> Self {
        let writes = totals.is_some();
        Self { rows: SnapshotRows::default(), writer: Writer::new(totals), bucket: None, writes }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        for row in self.rows.push(bytes)? {
            self.row(&row);
        }
        Ok(())
    }

    fn row(&mut self, row: &Row) {
        for record in records::of_row(row) {
            self.advance(record.bucket);
            self.put(&record.key, &record.value);
        }
    }

    fn put(&mut self, key: &[u8], value: &Value) {
        if self.writes {
            self.writer.push(key, &value.encode());
        } else {
            self.writer.measure(key, value.bytes());
        }
    }

    /// Begins buckets up to this one. Each is there once, also where nothing is in it; but for the one that etcd does not
    /// know.
    fn advance(&mut self, to: &'static [u8]) {
        let place = |bucket: &[u8]| ORDER.iter().position(|known| *known == bucket).expect("a known bucket");
        let next = self.bucket.map_or(0, |bucket| place(bucket) + 1);
        for bucket in ORDER.iter().take(place(to) + 1).skip(next) {
            if *bucket != V2 || to == V2 {
                self.writer.bucket(bucket);
            }
            self.bucket = Some(bucket);
        }
    }

    /// The last bytes.
    fn finish(mut self) -> Result<(Vec<u8>, Totals), SnapshotError> {
        self.rows.finish()?;
        self.advance(META);
        for bucket in EMPTY {
            self.writer.bucket(bucket);
        }
        Ok(self.writer.finish())
    }
}

/// Reads the stream for the first time.
#[derive(Debug)]
pub struct Measure(Filling);

impl Default for Measure {
    fn default() -> Self {
        Self(Filling::new(None))
    }
}

impl Measure {
    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// The stream is damaged.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.0.push(bytes)
    }

    /// Ready to read the stream again.
    ///
    /// # Errors
    /// The stream ended too early.
    pub fn finish(self) -> Result<Export, SnapshotError> {
        let (_, totals) = self.0.finish()?;
        Ok(Export {
            filling: Filling::new(Some(totals)),
            sum: Sha256::new(),
            left: totals.bytes() + SUM_BYTES as u64,
        })
    }
}

/// Reads the stream again and writes the file.
#[derive(Debug)]
pub struct Export {
    filling: Filling,
    sum: Sha256,
    left: u64,
}

impl Export {
    /// Bytes of the file that are still to come.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The bytes of the file that come of the next bytes of the stream.
    ///
    /// # Errors
    /// The stream is damaged.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Bytes, SnapshotError> {
        self.filling.push(bytes)?;
        let out = self.filling.writer.take();
        Ok(self.pass(out))
    }

    fn pass(&mut self, out: Vec<u8>) -> Bytes {
        self.sum.update(&out);
        self.left -= out.len() as u64;
        out.into()
    }

    /// The last bytes of the database, and its sum.
    ///
    /// # Errors
    /// The stream ended too early.
    ///
    /// # Panics
    /// Where the stream was another one the first time.
    pub fn finish(self) -> Result<(Bytes, Bytes), SnapshotError> {
        let Self { filling, mut sum, .. } = self;
        let (out, _) = filling.finish()?;
        sum.update(&out);
        Ok((out.into(), Bytes::copy_from_slice(&sum.finalize())))
    }
}
