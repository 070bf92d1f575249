//! Rows as they lie in a database file. Those whose owner gives them no checksum get one here: what a damaged disk hands
//! back is named, not believed.

use crate::backend::{BackendError, Table};
use bytes::Bytes;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

const CRC_BYTES: usize = 4;

/// Versions of keys carry a checksum of their own.
fn is_plain(table: Table) -> bool {
    table == Table::Kv
}

fn crc(table: Table, key: &[u8], value: &[u8]) -> [u8; CRC_BYTES] {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&[table as u8]), key);
    crc32c::crc32c_append(crc, value).to_le_bytes()
}

/// A value as it is written.
pub(super) fn sealed<'a>(table: Table, key: &[u8], value: &'a [u8]) -> Cow<'a, [u8]> {
    if is_plain(table) {
        return Cow::Borrowed(value);
    }
    Cow::Owned([value, &crc(table, key, value)].concat())
}

/// A value as it was read, without its checksum.
pub(super) fn opened(file: &str, table: Table, key: &[u8], stored: &[u8]) -> Result<Bytes, BackendError> {
    checked(file, table, key, stored).map(Bytes::copy_from_slice)
}

/// The same where it lies.
pub(super) fn checked<'a>(
    file: &str,
    table: Table,
    key: &[u8],
    stored: &'a [u8],
) -> Result<&'a [u8], BackendError> {
    if is_plain(table) {
        return Ok(stored);
    }
    let damaged = |what: &str| {
        let row = String::from_utf8_lossy(key).escape_debug().to_string();
        Err(BackendError::damaged(format!("{file}: the row {row:?} of table {table:?} {what}")))
    };
    match stored.split_last_chunk::<CRC_BYTES>() {
        None => damaged("is too short"),
        Some((value, sum)) if crc(table, key, value) != *sum => damaged("does not match its checksum"),
        Some((value, _)) => Ok(value),
    }
}

/// Runs what reads pages. redb takes much of a page on trust: where a disk has altered one, it may panic.
pub(super) fn guarded<T>(
    file: &str,
    what: &str,
    work: impl FnOnce() -> Result<T, BackendError>,
) -> Result<T, BackendError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(BackendError::damaged(format!("{file}: a page that was needed for {what} makes no sense")))
    })
}
