//! Reads a database, also one that somebody has damaged: what does not fit together ends the reading with an error.

use super::{
    BRANCH, BUCKET_BYTES, ENTRY_BYTES, IS_BUCKET, LEAF, MAGIC, META_BYTES, PAGE_HEAD_BYTES, VERSION, checksum,
};
use std::collections::BTreeMap;
use std::io;

/// Deeper than any tree of 2^64 pages.
const DEPTH_MAX: usize = 64;

/// A file that is no database, or a damaged one.
#[derive(Debug, thiserror::Error)]
pub enum BoltError {
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Something else.
    #[error("it is no database of etcd: {0}")]
    NoDatabase(String),
    /// Its pages do not fit together.
    #[error("the database is damaged at page {page}: {what}")]
    Damaged {
        /// Where.
        page: u64,
        /// In what way.
        what: String,
    },
}

fn damaged(page: u64, what: impl Into<String>) -> BoltError {
    BoltError::Damaged { page, what: what.into() }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Is shown the flags, key and value of an entry, and the page that it lies in.
type See<'a, E> = dyn FnMut(u32, &[u8], &[u8], u64) -> Result<(), E> + 'a;

/// Is shown the key and value of an entry.
pub type SeeEntry<'a, E> = dyn FnMut(&[u8], &[u8]) -> Result<(), E> + 'a;

/// Where a bucket is.
#[derive(Clone, Debug)]
enum Place {
    Root(u64),
    Inline(Vec<u8>),
}

/// An open database.
pub struct Bolt<R> {
    read: R,
    page_bytes: u64,
    pages: u64,
    buckets: BTreeMap<Vec<u8>, Place>,
}

/// A page, whole.
struct Page {
    number: u64,
    bytes: Vec<u8>,
}

impl Page {
    fn kind(&self) -> u16 {
        u16_at(&self.bytes, 8)
    }

    fn count(&self) -> usize {
        usize::from(u16_at(&self.bytes, 10))
    }

    /// Where the head of an entry is.
    fn entry(&self, index: usize) -> Result<usize, BoltError> {
        let at = PAGE_HEAD_BYTES + index * ENTRY_BYTES;
        if at + ENTRY_BYTES > self.bytes.len() {
            return Err(damaged(self.number, format!("it has no room for {} entries", self.count())));
        }
        Ok(at)
    }

    fn slice(&self, from: usize, place: u32, skip: usize, bytes: u32) -> Result<&[u8], BoltError> {
        let start = from.saturating_add(place as usize).saturating_add(skip);
        let end = start.saturating_add(bytes as usize);
        self.bytes.get(start..end).ok_or_else(|| damaged(self.number, "an entry reaches beyond it"))
    }

    /// Flags, key and value of an entry of a leaf.
    fn leaf(&self, index: usize) -> Result<(u32, &[u8], &[u8]), BoltError> {
        let at = self.entry(index)?;
        let [flags, place, key, value] = [0, 4, 8, 12].map(|part| u32_at(&self.bytes, at + part));
        let found = (self.slice(at, place, 0, key)?, self.slice(at, place, key as usize, value)?);
        Ok((flags, found.0, found.1))
    }

    /// The page below an entry of a branch.
    fn branch(&self, index: usize) -> Result<u64, BoltError> {
        Ok(u64_at(&self.bytes, self.entry(index)? + 8))
    }
}

impl<R: FnMut(u64, usize) -> io::Result<Vec<u8>>> Bolt<R> {
    /// Opens a database of so many bytes, of which `read` brings those at a place.
    ///
    /// # Errors
    /// See [`BoltError`].
    pub fn open(mut read: R, bytes: u64) -> Result<Self, BoltError> {
        let none = |why: &str| BoltError::NoDatabase(why.to_owned());
        let head_bytes = PAGE_HEAD_BYTES + META_BYTES + 8;
        let mut meta = |at: u64| -> Result<Option<Vec<u8>>, BoltError> {
            if at + head_bytes as u64 > bytes {
                return Ok(None);
            }
            let meta = read(at, head_bytes)?.split_off(PAGE_HEAD_BYTES);
            let sum = u64_at(&meta, META_BYTES);
            let fits = u32_at(&meta, 0) == MAGIC && u32_at(&meta, 4) == VERSION;
            Ok((fits && checksum(&meta[..META_BYTES]) == sum).then_some(meta))
        };
        let first = meta(0)?;
        let page_bytes = match &first {
            Some(meta) => u64::from(u32_at(meta, 8)),
            None => super::PAGE_BYTES as u64,
        };
        if !page_bytes.is_power_of_two() || !(512..=1 << 20).contains(&page_bytes) {
            return Err(none(&format!("its pages are said to have {page_bytes} bytes")));
        }
        let second = meta(page_bytes)?;
        let newest = [first, second].into_iter().flatten().max_by_key(|meta| u64_at(meta, 48));
        let newest = newest.ok_or_else(|| none("neither of its two heads is whole"))?;
        if u64::from(u32_at(&newest, 8)) != page_bytes {
            return Err(none("its two heads differ in the size of pages"));
        }
        let (root, pages) = (u64_at(&newest, 16), u64_at(&newest, 40));
        if pages.checked_mul(page_bytes).is_none_or(|all| all > bytes) {
            return Err(damaged(pages, format!("the file ends after {bytes} bytes; was it cut short?")));
        }
        let mut this = Self { read, page_bytes, pages, buckets: BTreeMap::new() };
        let mut buckets = BTreeMap::new();
        this.walk(root, 0, &mut Vec::new(), &mut |flags, key, value, page| {
            if flags & IS_BUCKET == 0 || value.len() < BUCKET_BYTES {
                return Err(damaged(page, "an entry of the root is no bucket"));
            }
            let place = match u64_at(value, 0) {
                0 => Place::Inline(value[BUCKET_BYTES..].to_vec()),
                root => Place::Root(root),
            };
            buckets.insert(key.to_vec(), place);
            Ok(())
        })?;
        this.buckets = buckets;
        Ok(this)
    }

    /// The names of all buckets, sorted.
    #[must_use]
    pub fn buckets(&self) -> Vec<Vec<u8>> {
        self.buckets.keys().cloned().collect()
    }

    /// Shows the entries of a bucket, in order; none where there is no such bucket.
    ///
    /// # Errors
    /// See [`BoltError`], and what `see` says.
    pub fn visit<E: From<BoltError>>(&mut self, bucket: &[u8], see: &mut SeeEntry<'_, E>) -> Result<(), E> {
        let mut see = |flags: u32, key: &[u8], value: &[u8], page: u64| {
            if flags & IS_BUCKET != 0 {
                return Err(damaged(page, "there is a bucket within a bucket").into());
            }
            see(key, value)
        };
        match self.buckets.get(bucket).cloned() {
            None => Ok(()),
            Some(Place::Root(root)) => self.walk(root, 0, &mut Vec::new(), &mut see),
            Some(Place::Inline(bytes)) if bytes.len() < PAGE_HEAD_BYTES => {
                Err(damaged(0, "a bucket in the root is too short").into())
            }
            Some(Place::Inline(bytes)) => leaf(&Page { number: 0, bytes }, &mut Vec::new(), &mut see),
        }
    }

    fn page(&mut self, number: u64) -> Result<Page, BoltError> {
        // The first two say where the root is.
        if number < 2 || number >= self.pages {
            return Err(damaged(number, format!("there are {} pages", self.pages)));
        }
        let head = (self.read)(number * self.page_bytes, PAGE_HEAD_BYTES)?;
        if u64_at(&head, 0) != number {
            return Err(damaged(number, format!("it calls itself page {}", u64_at(&head, 0))));
        }
        let count = 1 + u64::from(u32_at(&head, 12));
        if number + count > self.pages {
            return Err(damaged(number, format!("it takes {count} pages of {}", self.pages)));
        }
        let bytes = usize::try_from(count * self.page_bytes).map_err(io::Error::other)?;
        Ok(Page { number, bytes: (self.read)(number * self.page_bytes, bytes)? })
    }

    /// `last` is the last key seen: a page that comes twice is out of order.
    fn walk<E: From<BoltError>>(
        &mut self,
        number: u64,
        depth: usize,
        last: &mut Vec<u8>,
        see: &mut See<'_, E>,
    ) -> Result<(), E> {
        if depth > DEPTH_MAX {
            return Err(damaged(number, "its branches go round in a circle").into());
        }
        let page = self.page(number)?;
        match page.kind() {
            LEAF => leaf(&page, last, see),
            BRANCH => {
                if page.count() == 0 {
                    return Err(damaged(number, "a branch leads nowhere").into());
                }
                for index in 0..page.count() {
                    let below = page.branch(index)?;
                    self.walk(below, depth + 1, last, see)?;
                }
                Ok(())
            }
            kind => Err(damaged(number, format!("a page of kind {kind} is part of a tree")).into()),
        }
    }
}

fn leaf<E: From<BoltError>>(page: &Page, last: &mut Vec<u8>, see: &mut See<'_, E>) -> Result<(), E> {
    for index in 0..page.count() {
        let (flags, key, value) = page.leaf(index)?;
        // No key is empty, so the first one is behind the empty one as well.
        if *last.as_slice() >= *key {
            return Err(damaged(page.number, "its keys are out of order").into());
        }
        last.clear();
        last.extend_from_slice(key);
        see(flags, key, value, page.number)?;
    }
    Ok(())
}
