//! The whole state as a stream of bytes, and back.
//!
//! The stream is a function of the state alone: a header, the rows of every table in order, an end mark with
//! the number of rows, and a checksum over everything. It is made lazily from a pinned view, a piece at any
//! offset; the receiving side stages the rows beside its present state and replaces that only once the
//! checksum was right.

use crate::backend::{Backend, BackendError, Staging, Table, View};
use crate::rows::Row;
use crate::store::StateRow;
use bytes::{Buf, Bytes};
use seatrial_types::{LogIndex, Revision, Term};
use std::collections::BTreeMap;
use std::ops::Bound;

const MAGIC: [u8; 8] = *b"SEATSNAP";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 8 + 4 + 4 * 8;
const ROW_HEAD_BYTES: usize = 1 + 4 + 4;
const END_BYTES: usize = 1 + 8 + 4;
/// Rows are fetched about so many bytes at a time: what is fetched and not sent in one piece is fetched again for the next.
const PAGE_BYTES: usize = 64 << 10;
const PAGE_ROWS_MAX: usize = 256;
/// Places remembered to go on from, besides the start.
const CURSORS_MAX: usize = 8;
/// Larger than any row a request can make.
const ROW_BYTES_MAX: usize = 1 << 30;

/// What a snapshot is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotHeader {
    /// The last entry applied.
    pub applied: LogIndex,
    /// Its term.
    pub applied_term: Term,
    /// The store's revision.
    pub revision: Revision,
    /// The oldest revision that can be read.
    pub compacted: Revision,
}

/// The bytes are no snapshot, or not a whole one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Made by a newer program.
    #[error(
        "a snapshot of format {found}; this program knows {known}\nhint: run a program at least as new as the leader's"
    )]
    Format {
        /// The format found.
        found: u32,
        /// The format known.
        known: u32,
    },
    /// Not what was sent.
    #[error("the snapshot is damaged at byte {offset}: {what}")]
    Damaged {
        /// Where in the stream.
        offset: u64,
        /// In what way.
        what: String,
    },
    /// It ends too early.
    #[error("the snapshot ends after {bytes} bytes, before its end mark")]
    Truncated {
        /// Bytes received.
        bytes: u64,
    },
    /// It could not be stored, or read back.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

fn put_header(out: &mut Vec<u8>, header: &SnapshotHeader) {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&FORMAT.to_le_bytes());
    out.extend_from_slice(&header.applied.0.to_le_bytes());
    out.extend_from_slice(&header.applied_term.0.to_le_bytes());
    out.extend_from_slice(&header.revision.0.to_le_bytes());
    out.extend_from_slice(&header.compacted.0.to_le_bytes());
}

fn put_row(out: &mut Vec<u8>, table: Table, key: &[u8], value: &[u8]) {
    out.reserve(ROW_HEAD_BYTES + key.len() + value.len());
    out.push(table as u8);
    out.extend_from_slice(&(key.len() as u32).to_le_bytes());
    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(value);
}

/// The end mark after so many rows, where `crc` is of all before it.
fn put_end(out: &mut Vec<u8>, rows: u64, crc: u32) {
    let from = out.len();
    out.push(0);
    out.extend_from_slice(&rows.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &out[from..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

/// Makes the stream of rows that come from elsewhere.
#[derive(Debug)]
pub struct SnapshotWriter {
    out: Vec<u8>,
    crc: u32,
    rows: u64,
    state: Row,
}

impl SnapshotWriter {
    /// Begins a stream of this state.
    #[must_use]
    pub fn new(header: &SnapshotHeader) -> Self {
        let mut out = Vec::new();
        put_header(&mut out, header);
        let state = Row::State(*header);
        Self { crc: crc32c::crc32c(&out), out, rows: 0, state }
    }

    /// The next row. Rows come in the order of their tables and keys, without that of the state.
    pub fn row(&mut self, row: &Row) {
        let (table, key, value) = row.encode();
        self.put(table, &key, &value);
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        let from = self.out.len();
        put_row(&mut self.out, table, key, value);
        self.crc = crc32c::crc32c_append(self.crc, &self.out[from..]);
        self.rows += 1;
    }

    /// The bytes that have gathered.
    pub fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.out).into()
    }

    /// How many have.
    #[must_use]
    pub fn gathered(&self) -> usize {
        self.out.len()
    }

    /// The last bytes.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        let (table, key, value) = self.state.encode();
        self.put(table, &key, &value);
        put_end(&mut self.out, self.rows, self.crc);
        self.out.into()
    }
}

/// A place between two pieces of the stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Cursor {
    offset: u64,
    crc: u32,
    rows: u64,
    /// How many rows are fetched next, by the size of those before.
    page_rows: usize,
    part: Part,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    Header,
    /// Position in [`Table::ALL`], and the last key written.
    Rows(usize, Option<Bytes>),
    Over,
}

/// Makes the stream, piece by piece.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotReader<V> {
    view: V,
    header: SnapshotHeader,
    cursors: BTreeMap<u64, Cursor>,
}

impl<V: View> SnapshotReader<V> {
    pub(crate) fn new(view: V, header: SnapshotHeader) -> Self {
        let start = Cursor { offset: 0, crc: 0, rows: 0, page_rows: 1, part: Part::Header };
        Self { view, header, cursors: BTreeMap::from([(0, start)]) }
    }

    /// What it is of.
    #[must_use]
    pub fn header(&self) -> SnapshotHeader {
        self.header
    }

    /// The bytes from `offset` on, at most `bytes_max`, and whether they are the last ones. The same offset gives
    /// the same bytes; going on from the end of an earlier piece is cheap.
    ///
    /// # Errors
    /// The backend's.
    pub fn read(&mut self, offset: u64, bytes_max: usize) -> Result<(Bytes, bool), BackendError> {
        let near = self.cursors.range(..=offset).next_back();
        let mut cursor = near.expect("the start is always remembered").1.clone();
        let end = offset + bytes_max as u64;
        let mut out = Vec::new();
        let mut page: std::vec::IntoIter<(Bytes, Bytes)> = Vec::new().into_iter();
        // The piece that reaches beyond the end is begun again next time.
        let mut resume = cursor.clone();
        while cursor.offset <= end && cursor.part != Part::Over {
            resume = cursor.clone();
            let piece = self.piece(&mut cursor, &mut page)?;
            let skip = offset.saturating_sub(resume.offset).min(piece.len() as u64) as usize;
            let room = bytes_max - out.len();
            out.extend_from_slice(&piece[skip..][..room.min(piece.len() - skip)]);
        }
        if cursor.part == Part::Over && cursor.offset <= end {
            resume = cursor.clone();
        }
        let is_last = cursor.part == Part::Over && offset + out.len() as u64 >= cursor.offset;
        self.cursors.insert(resume.offset, resume);
        while self.cursors.len() > CURSORS_MAX + 1 {
            // The farthest: a stream may be read again from its start, and goes on from where it is then.
            let others = self.cursors.keys().skip(1);
            let farthest = *others.max_by_key(|at| at.abs_diff(offset)).expect("more than the start");
            self.cursors.remove(&farthest);
        }
        Ok((out.into(), is_last))
    }

    /// The next header, row or end mark.
    fn piece(
        &self,
        cursor: &mut Cursor,
        page: &mut std::vec::IntoIter<(Bytes, Bytes)>,
    ) -> Result<Vec<u8>, BackendError> {
        let mut out = Vec::new();
        match std::mem::replace(&mut cursor.part, Part::Over) {
            Part::Header => {
                put_header(&mut out, &self.header);
                cursor.part = Part::Rows(0, None);
            }
            Part::Rows(mut position, mut after) => {
                let next = loop {
                    if let Some(row) = page.next() {
                        break Some(row);
                    }
                    let Some(table) = Table::ALL.get(position) else { break None };
                    let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
                    let rows = self.view.scan(*table, start, Bound::Unbounded, cursor.page_rows)?;
                    if rows.is_empty() {
                        position += 1;
                        after = None;
                    } else {
                        let bytes: usize = rows.iter().map(|(key, value)| key.len() + value.len()).sum();
                        let fit = PAGE_BYTES / (bytes / rows.len()).max(1);
                        cursor.page_rows = fit.clamp(1, PAGE_ROWS_MAX.min(cursor.page_rows * 4));
                    }
                    *page = rows.into_iter();
                };
                match next {
                    Some((key, value)) => {
                        put_row(&mut out, Table::ALL[position], &key, &value);
                        cursor.rows += 1;
                        cursor.part = Part::Rows(position, Some(key));
                    }
                    None => put_end(&mut out, cursor.rows, cursor.crc),
                }
            }
            Part::Over => {}
        }
        cursor.crc = crc32c::crc32c_append(cursor.crc, &out);
        cursor.offset += out.len() as u64;
        Ok(out)
    }
}

/// Takes the stream in and stages the state.
#[derive(Debug)]
pub struct Import<B: Backend> {
    staging: B::Staging,
    parser: Parser,
}

impl<B: Backend> Clone for Import<B>
where
    B::Staging: Clone,
{
    fn clone(&self) -> Self {
        Self { staging: self.staging.clone(), parser: self.parser.clone() }
    }
}

impl<B: Backend> PartialEq for Import<B>
where
    B::Staging: PartialEq,
{
    fn eq(&self, other: &Self) -> bool {
        self.staging == other.staging && self.parser == other.parser
    }
}

impl<B: Backend> Eq for Import<B> where B::Staging: Eq {}

impl<B: Backend> std::hash::Hash for Import<B>
where
    B::Staging: std::hash::Hash,
{
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.staging.hash(state);
        self.parser.hash(state);
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Parser {
    /// Received but not understood yet: less than a piece.
    buffer: Vec<u8>,
    /// Where the buffer begins in the stream.
    offset: u64,
    crc: u32,
    rows: u64,
    header: Option<SnapshotHeader>,
    state: Option<StateRow>,
    last: Option<(Table, Bytes)>,
    is_complete: bool,
}

impl<B: Backend> Import<B> {
    pub(crate) fn new(backend: &B, name: &str) -> Result<Self, BackendError> {
        Ok(Self { staging: backend.stage(name)?, parser: Parser::default() })
    }

    /// Bytes taken in so far: the offset of the next ones.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.parser.offset + self.parser.buffer.len() as u64
    }

    /// What it is of, once enough has come.
    #[must_use]
    pub fn header(&self) -> Option<SnapshotHeader> {
        self.parser.header
    }

    /// Takes the next bytes in.
    ///
    /// # Errors
    /// See [`SnapshotError`]; the import is of no use afterwards.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let rows = self.parser.push(bytes)?;
        if !rows.is_empty() {
            self.staging.rows(rows)?;
        }
        Ok(())
    }

    /// The staged state, where all of it has come and fits together.
    pub(crate) fn finish(self) -> Result<(B::Staging, SnapshotHeader), SnapshotError> {
        let offset = self.offset();
        let damaged = |what: &str| SnapshotError::Damaged { offset, what: what.into() };
        if !self.parser.is_complete {
            return Err(SnapshotError::Truncated { bytes: offset });
        }
        let header = self.parser.header.ok_or_else(|| damaged("it has no header"))?;
        let state = self.parser.state.ok_or_else(|| damaged("it has no state row"))?;
        if state.header() != header {
            return Err(damaged("its header and its state differ"));
        }
        Ok((self.staging, header))
    }
}

/// Takes the stream apart into its rows.
#[derive(Debug, Default)]
pub struct SnapshotRows {
    parser: Parser,
}

impl SnapshotRows {
    /// The rows that end in the next bytes.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Row>, SnapshotError> {
        let rows = self.parser.push(bytes)?;
        let rows = rows.into_iter().map(|(table, key, value)| Row::decode(table, &key, &value));
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What the stream was of.
    ///
    /// # Errors
    /// Where it was not whole.
    pub fn finish(&self) -> Result<SnapshotHeader, SnapshotError> {
        let bytes = self.parser.offset + self.parser.buffer.len() as u64;
        match self.parser.header {
            Some(header) if self.parser.is_complete => Ok(header),
            _ => Err(SnapshotError::Truncated { bytes }),
        }
    }
}

impl Parser {
    fn push(&mut self, bytes: &[u8]) -> Result<Vec<(Table, Bytes, Bytes)>, SnapshotError> {
        self.buffer.extend_from_slice(bytes);
        let all = Bytes::from(std::mem::take(&mut self.buffer));
        let mut rest = all.clone();
        let mut out = Vec::new();
        while let Some(length) = self.next_piece(&rest, &mut out)? {
            self.offset += length as u64;
            rest.advance(length);
        }
        self.buffer = rest.to_vec();
        Ok(out)
    }

    fn damaged(&self, what: impl Into<String>) -> SnapshotError {
        SnapshotError::Damaged { offset: self.offset, what: what.into() }
    }

    /// Understands one piece at the front; its length, or `None` where more bytes are needed.
    fn next_piece(
        &mut self,
        bytes: &Bytes,
        out: &mut Vec<(Table, Bytes, Bytes)>,
    ) -> Result<Option<usize>, SnapshotError> {
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if bytes.is_empty() {
            return Ok(None);
        }
        if self.is_complete {
            return Err(self.damaged("there are bytes behind the end mark"));
        }
        if self.header.is_none() {
            if bytes.len() < HEADER_BYTES {
                return Ok(None);
            }
            if bytes[..8] != MAGIC {
                return Err(self.damaged("it does not begin as a snapshot does"));
            }
            if u32_at(8) != FORMAT {
                return Err(SnapshotError::Format { found: u32_at(8), known: FORMAT });
            }
            self.header = Some(SnapshotHeader {
                applied: LogIndex(u64_at(12)),
                applied_term: Term(u64_at(20)),
                revision: Revision(u64_at(28) as i64),
                compacted: Revision(u64_at(36) as i64),
            });
            self.crc = crc32c::crc32c_append(self.crc, &bytes[..HEADER_BYTES]);
            return Ok(Some(HEADER_BYTES));
        }
        if bytes[0] == 0 {
            if bytes.len() < END_BYTES {
                return Ok(None);
            }
            if u64_at(1) != self.rows {
                return Err(self.damaged(format!("{} rows were sent, {} came", u64_at(1), self.rows)));
            }
            if crc32c::crc32c_append(self.crc, &bytes[..9]) != u32_at(9) {
                return Err(self.damaged("the checksum is wrong"));
            }
            self.is_complete = true;
            return Ok(Some(END_BYTES));
        }
        let table = Table::from_number(bytes[0]);
        let table = table.ok_or_else(|| self.damaged(format!("there is no table number {}", bytes[0])))?;
        if bytes.len() < ROW_HEAD_BYTES {
            return Ok(None);
        }
        let (key_bytes, value_bytes) = (u32_at(1) as usize, u32_at(5) as usize);
        if key_bytes.saturating_add(value_bytes) > ROW_BYTES_MAX {
            return Err(self.damaged("a row is too large"));
        }
        let length = ROW_HEAD_BYTES + key_bytes + value_bytes;
        if bytes.len() < length {
            return Ok(None);
        }
        // Copies: slices would keep the whole chunk alive for as long as one row of it lives.
        let key = Bytes::copy_from_slice(&bytes[ROW_HEAD_BYTES..ROW_HEAD_BYTES + key_bytes]);
        let value = Bytes::copy_from_slice(&bytes[ROW_HEAD_BYTES + key_bytes..length]);
        let name = (table, key.clone());
        if self.last.as_ref().is_some_and(|last| *last >= name) {
            return Err(self.damaged("the rows are out of order"));
        }
        if table == Table::State {
            self.state = StateRow::decode(&key, &value)?.or(self.state);
        }
        self.last = Some(name);
        self.rows += 1;
        self.crc = crc32c::crc32c_append(self.crc, &bytes[..length]);
        out.push((table, key, value));
        Ok(Some(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::MemBackend;

    #[test]
    fn a_stream_read_again_goes_on_from_where_it_is() {
        let mut backend = MemBackend::new();
        for row in 0..2000_u64 {
            backend.put(Table::Lease, Bytes::copy_from_slice(&row.to_be_bytes()), vec![7; 100].into());
        }
        let header = SnapshotHeader {
            applied: LogIndex(1),
            applied_term: Term(1),
            revision: Revision(1),
            compacted: Revision(-1),
        };
        let mut reader = SnapshotReader::new(backend.snapshot(), header);
        for pass in 0..2 {
            let mut offset = 0;
            loop {
                let (bytes, is_last) = reader.read(offset, 1000).unwrap();
                offset += bytes.len() as u64;
                let near = *reader.cursors.range(..=offset).next_back().unwrap().0;
                assert!(offset - near < 1000, "pass {pass}: at byte {offset} it would begin at {near}");
                if is_last {
                    break;
                }
            }
        }
    }
}
