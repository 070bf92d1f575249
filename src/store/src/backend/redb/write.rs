//! Rows written in one transaction, long ones in parts.

use super::db::{Counts, PARTS, definition, fail};
use super::rows::{self, Sealed};
use crate::backend::{BackendError, Table};
use redb::{ReadableTable, WriteTransaction};
use std::ops::Bound;

type Open<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

/// Rows copied at once while a file is brought to this program's format, about.
const UPGRADE_BYTES: usize = 4 << 20;

/// The tables of a transaction.
pub(super) struct Writer<'t> {
    path: &'t str,
    write: &'t WriteTransaction,
    /// One at a time: redb does not open one twice.
    open: Option<(Table, Open<'t>)>,
    parts: Option<Open<'t>>,
    /// Bytes of all that lies in the tables.
    pub(super) counts: Counts,
}

impl<'t> Writer<'t> {
    pub(super) fn new(path: &'t str, write: &'t WriteTransaction, counts: Counts) -> Self {
        Self { path, write, open: None, parts: None, counts }
    }

    fn fail(&self, error: impl Into<redb::Error>) -> BackendError {
        fail(format!("committing to {}", self.path), error)
    }

    fn rows(&mut self, table: Table) -> Result<&mut Open<'t>, BackendError> {
        if self.open.as_ref().is_none_or(|(opened, _)| *opened != table) {
            drop(self.open.take());
            let rows = self.write.open_table(definition(table)).map_err(|error| self.fail(error))?;
            self.open = Some((table, rows));
        }
        Ok(&mut self.open.as_mut().expect("just opened").1)
    }

    fn parts(&mut self) -> Result<&mut Open<'t>, BackendError> {
        if self.parts.is_none() {
            self.parts = Some(self.write.open_table(PARTS).map_err(|error| self.fail(error))?);
        }
        Ok(self.parts.as_mut().expect("just opened"))
    }

    /// Puts a row, or removes it.
    pub(super) fn write(
        &mut self,
        table: Table,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), BackendError> {
        let sealed = value.map(|value| rows::sealed(table, key, value));
        let path = self.path;
        let what = || format!("committing to {path}");
        let rows = self.rows(table)?;
        let old = match &sealed {
            Some(sealed) => rows.insert(key, &*sealed.row),
            None => rows.remove(key),
        };
        let old = old.map_err(|error| fail(what(), error))?;
        let (old_row, (old_parts, old_bytes)) = old.map_or((0, (0, 0)), |old| {
            (key.len() + old.value().len(), rows::parts_taken(table, key, old.value()))
        });
        self.counts.less(old_row, old_bytes);
        if let Some(sealed) = &sealed {
            self.counts.rows += (key.len() + sealed.row.len()) as u64;
        }
        let new_parts = sealed.map(|sealed| sealed.parts).unwrap_or_default();
        for number in new_parts.len() as u32..old_parts {
            let part = rows::part_key(key, number);
            self.parts()?.remove(&*part).map_err(|error| fail(what(), error))?;
        }
        self.write_parts(key, &new_parts)
    }

    fn write_parts(&mut self, key: &[u8], parts: &[&[u8]]) -> Result<(), BackendError> {
        let path = self.path;
        for (number, part) in (0..).zip(parts) {
            let key = rows::part_key(key, number);
            let put = self.parts()?.insert(&*key, *part);
            drop(put.map_err(|error| fail(format!("committing to {path}"), error))?);
            self.counts.parts += (key.len() + part.len()) as u64;
        }
        Ok(())
    }

    /// Brings rows of an earlier format to this one's: in the first, no row had a checksum of the file's; in the first
    /// and the second, no row was cut.
    pub(super) fn upgrade(&mut self, from: u64, table: Table) -> Result<(), BackendError> {
        let is_sealed = from == 2 && !rows::is_cut(table);
        let mut after: Option<Vec<u8>> = None;
        loop {
            let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut page = Vec::new();
            let mut bytes = 0;
            let path = self.path;
            let what = || format!("reading {path}");
            let span: (Bound<&[u8]>, Bound<&[u8]>) = (start, Bound::Unbounded);
            let rows = self.rows(table)?.range::<&[u8]>(span).map_err(|error| fail(what(), error))?;
            for row in rows {
                let (key, value) = row.map_err(|error| fail(what(), error))?;
                bytes += key.value().len() + value.value().len();
                page.push((key.value().to_vec(), value.value().to_vec()));
                if bytes >= UPGRADE_BYTES {
                    break;
                }
            }
            for (key, value) in &page {
                if is_sealed {
                    self.counts.rows += (key.len() + value.len()) as u64;
                    continue;
                }
                let Sealed { row, parts } = rows::sealed(table, key, value);
                self.counts.rows += (key.len() + row.len()) as u64;
                let put = self.rows(table)?.insert(&**key, &*row);
                drop(put.map_err(|error| fail(format!("committing to {path}"), error))?);
                self.write_parts(key, &parts)?;
            }
            match page.pop() {
                Some((key, _)) => after = Some(key),
                None => return Ok(()),
            }
        }
    }
}
