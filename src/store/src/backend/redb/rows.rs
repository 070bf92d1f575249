//! Rows as they lie in a database file. Those whose owner gives them no checksum get one here: what a damaged disk hands
//! back is named, not believed.
//!
//! A value longer than a page of the database is cut: redb gives a long value a run of pages whose number is a power of
//! two, so that one just above a power would take twice its size. Its parts fill such runs to the brim and lie in a
//! table of their own; what is left over, less than a page, stays in the row.

use super::RedbView;
use super::db::fail;
use crate::backend::{BackendError, Table};
use bytes::Bytes;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

const CRC_BYTES: usize = 4;

/// First byte of a row: it is here as a whole.
const WHOLE: u8 = 0;
/// First byte of a row: its length follows, then what its parts leave over.
const CUT: u8 = 1;
const CUT_HEAD_BYTES: usize = 1 + 4;

const PAGE_BYTES: usize = 4096;
/// Of a run of pages, what redb's own headers and the key take: 28 bytes of a part, 24 of a row.
const RUN_HEAD_BYTES: usize = 32;
/// The longest run. Longer ones would save nothing, and are harder to find in a file full of holes.
const RUN_PAGES_MAX: usize = 16;
/// As much is set aside for a value at once; few are longer.
const READY_BYTES: usize = 2 << 20;
/// What is not longer stays whole: it fits a page.
const WHOLE_BYTES_MAX: usize = PAGE_BYTES - RUN_HEAD_BYTES;

/// Only versions of keys grow so long. They carry a checksum of their own, over all parts.
pub(super) fn is_cut(table: Table) -> bool {
    table == Table::Kv
}

fn crc(table: Table, key: &[u8], value: &[u8]) -> [u8; CRC_BYTES] {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&[table as u8]), key);
    crc32c::crc32c_append(crc, value).to_le_bytes()
}

/// Lengths of the parts of a value; together they leave over less than a page.
fn parts_of(length: usize) -> impl Iterator<Item = usize> {
    let mut left = if length > WHOLE_BYTES_MAX { length } else { 0 };
    std::iter::from_fn(move || {
        let mut pages = RUN_PAGES_MAX;
        while pages * PAGE_BYTES - RUN_HEAD_BYTES > left {
            if pages == 1 {
                return None;
            }
            pages /= 2;
        }
        left -= pages * PAGE_BYTES - RUN_HEAD_BYTES;
        Some(pages * PAGE_BYTES - RUN_HEAD_BYTES)
    })
}

/// The key of a part.
pub(super) fn part_key(key: &[u8], number: u32) -> Vec<u8> {
    [key, &number.to_be_bytes()].concat()
}

/// A value as it is written.
pub(super) struct Sealed<'a> {
    /// The row.
    pub(super) row: Vec<u8>,
    /// Its parts, numbered from 0.
    pub(super) parts: Vec<&'a [u8]>,
}

pub(super) fn sealed<'a>(table: Table, key: &[u8], value: &'a [u8]) -> Sealed<'a> {
    if !is_cut(table) {
        return Sealed { row: [value, &crc(table, key, value)].concat(), parts: Vec::new() };
    }
    if value.len() <= WHOLE_BYTES_MAX {
        return Sealed { row: [&[WHOLE], value].concat(), parts: Vec::new() };
    }
    let mut rest = value.len() - parts_of(value.len()).sum::<usize>();
    let length = u32::try_from(value.len()).expect("a row is smaller than 4 GiB");
    let row = [&[CUT], &length.to_le_bytes()[..], &value[..rest]].concat();
    let cut = |length| {
        rest += length;
        &value[rest - length..rest]
    };
    Sealed { row, parts: parts_of(value.len()).map(cut).collect() }
}

/// Of a row as it lies in the file: how many parts it has, and how many bytes they take with their keys.
pub(super) fn parts_taken(table: Table, key: &[u8], stored: &[u8]) -> (u32, usize) {
    match cut_length(table, stored) {
        None => (0, 0),
        Some(length) => {
            let bytes = parts_of(length).map(|part| key.len() + size_of::<u32>() + part).sum();
            (parts_of(length).count() as u32, bytes)
        }
    }
}

/// The length of a value that was cut.
fn cut_length(table: Table, stored: &[u8]) -> Option<usize> {
    match stored.first_chunk::<CUT_HEAD_BYTES>() {
        Some([CUT, length @ ..]) if is_cut(table) => Some(u32::from_le_bytes(*length) as usize),
        _ => None,
    }
}

/// Lends a value as it was written, put together from its parts.
pub(super) fn checked<'a>(
    view: &RedbView,
    table: Table,
    key: &[u8],
    stored: &'a [u8],
) -> Result<Cow<'a, [u8]>, BackendError> {
    let damaged = |what: &str| {
        let place = if is_cut(table) {
            format!("{key:02x?}")
        } else {
            format!("{:?}", key.escape_ascii().to_string())
        };
        Err(BackendError::damaged(format!("{}: the row {place} of table {table:?} {what}", view.path)))
    };
    if !is_cut(table) {
        return match stored.split_last_chunk::<CRC_BYTES>() {
            None => damaged("is too short"),
            Some((value, sum)) if crc(table, key, value) != *sum => damaged("does not match its checksum"),
            Some((value, _)) => Ok(Cow::Borrowed(value)),
        };
    }
    let Some(length) = cut_length(table, stored) else {
        return match stored {
            [WHOLE, value @ ..] => Ok(Cow::Borrowed(value)),
            _ => damaged("is neither whole nor cut"),
        };
    };
    let rest = &stored[CUT_HEAD_BYTES..];
    if rest.len() + parts_of(length).sum::<usize>() != length {
        return damaged("does not have the length that it tells");
    }
    // A damaged row may tell any length: room is made as the parts are found.
    let mut value = Vec::with_capacity(length.min(READY_BYTES));
    value.extend_from_slice(rest);
    for (number, bytes) in (0..).zip(parts_of(length)) {
        let part = view.parts.get(&*part_key(key, number));
        let part = part.map_err(|error| fail(format!("reading {}", view.path), error))?;
        match part {
            Some(part) if part.value().len() == bytes => value.extend_from_slice(part.value()),
            _ => return damaged(&format!("lacks its part {number}")),
        }
    }
    Ok(Cow::Owned(value))
}

/// The same, to keep.
pub(super) fn opened(
    view: &RedbView,
    table: Table,
    key: &[u8],
    stored: &[u8],
) -> Result<Bytes, BackendError> {
    Ok(match checked(view, table, key, stored)? {
        Cow::Borrowed(value) => Bytes::copy_from_slice(value),
        Cow::Owned(value) => value.into(),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_value_fill_their_pages_and_leave_less_than_one() {
        for length in (0..300_000).step_by(61).chain([4063, 4064, 4065, 8128, 65_504, 65_505, 1 << 20]) {
            let parts: Vec<usize> = parts_of(length).collect();
            let rest = length - parts.iter().sum::<usize>();
            assert_eq!(parts.is_empty(), length <= WHOLE_BYTES_MAX, "{length}: {parts:?}");
            assert!(rest <= WHOLE_BYTES_MAX, "{length} leaves {rest}");
            for part in parts {
                let pages = (part + RUN_HEAD_BYTES) / PAGE_BYTES;
                assert!(pages.is_power_of_two() && pages <= RUN_PAGES_MAX, "{length}: a part of {part}");
                assert_eq!((part + RUN_HEAD_BYTES) % PAGE_BYTES, 0, "{length}: a part of {part}");
            }
        }
    }

    #[test]
    fn what_is_written_in_a_row_and_its_parts_is_the_value() {
        for length in [0, 1, 4064, 4065, 8192, 70_000, 262_144, 1 << 20] {
            let value: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let Sealed { row, parts } = sealed(Table::Kv, b"key", &value);
            let head = if parts.is_empty() { 1 } else { CUT_HEAD_BYTES };
            assert_eq!([&row[head..], &*parts.concat()].concat(), value, "{length}");
            assert_eq!(parts_taken(Table::Kv, b"key", &row).0, parts.len() as u32, "{length}");
        }
    }
}
