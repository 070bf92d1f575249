//! Writes a database from its first byte to its last.
//!
//! The first pages tell how large all others are, so the same rows go through twice: first they are measured, then they
//! are written.

use super::{
    BRANCH, BUCKET_BYTES, ENTRY_BYTES, FREE_LIST, IS_BUCKET, LEAF, MAGIC, META, PAGE_BYTES, PAGE_HEAD_BYTES,
    VERSION, checksum,
};
use std::collections::BTreeMap;

/// What goes into one leaf or branch, unless a single entry has more. Larger pages than bbolt's own make the tree flatter,
/// and few places have to be remembered while it is written.
const NODE_BYTES: usize = 16 * PAGE_BYTES;
/// A bucket that has no more lies in the root's entry (bbolt: a quarter of a page).
const INLINE_BYTES: usize = PAGE_BYTES / 4;
/// The first pages: twice where the root is, and what is free.
const FIRST_PAGES: u64 = 3;

/// What the first pages tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    root: u64,
    pages: u64,
}

impl Totals {
    /// Of the whole file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pages * PAGE_BYTES as u64
    }
}

#[derive(Debug, Default)]
struct Node {
    entries: Vec<Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    flags: u32,
    key: Vec<u8>,
    /// Empty while it is measured.
    value: Vec<u8>,
    value_bytes: usize,
}

impl Node {
    fn push(&mut self, entry: Entry) {
        self.bytes += ENTRY_BYTES + entry.key.len() + entry.value_bytes;
        self.entries.push(entry);
    }

    /// With its head.
    fn page_bytes(&self) -> usize {
        PAGE_HEAD_BYTES + self.bytes
    }

    /// A leaf, written as page `page`.
    fn write(&self, page: u64, more_pages: u32, out: &mut Vec<u8>) {
        put_head(out, page, LEAF, self.entries.len(), more_pages);
        let mut place = self.entries.len() * ENTRY_BYTES;
        for (index, entry) in self.entries.iter().enumerate() {
            out.extend_from_slice(&entry.flags.to_le_bytes());
            // Counted from the entry itself.
            out.extend_from_slice(&((place - index * ENTRY_BYTES) as u32).to_le_bytes());
            out.extend_from_slice(&(entry.key.len() as u32).to_le_bytes());
            out.extend_from_slice(&(entry.value.len() as u32).to_le_bytes());
            place += entry.key.len() + entry.value.len();
        }
        for entry in &self.entries {
            out.extend_from_slice(&entry.key);
            out.extend_from_slice(&entry.value);
        }
    }
}

fn put_head(out: &mut Vec<u8>, page: u64, kind: u16, count: usize, more_pages: u32) {
    out.extend_from_slice(&page.to_le_bytes());
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&u16::try_from(count).expect("a node has few entries").to_le_bytes());
    out.extend_from_slice(&more_pages.to_le_bytes());
}

/// See the module.
#[derive(Debug)]
pub struct Writer {
    /// `None` while it is measured.
    totals: Option<Totals>,
    out: Vec<u8>,
    next_page: u64,
    bucket: Option<Vec<u8>>,
    leaf: Node,
    /// The leaves of this bucket: their first keys and pages.
    leaves: Vec<(Vec<u8>, u64)>,
    /// Values in the root's leaf.
    buckets: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Writer {
    /// Measures, where the totals are not known.
    #[must_use]
    pub fn new(totals: Option<Totals>) -> Self {
        let mut out = Vec::new();
        if let Some(totals) = totals {
            for page in 0..2 {
                put_meta(&mut out, page, totals);
            }
            put_head(&mut out, 2, FREE_LIST, 0, 0);
            out.resize(FIRST_PAGES as usize * PAGE_BYTES, 0);
        }
        Self {
            totals,
            out,
            next_page: FIRST_PAGES,
            bucket: None,
            leaf: Node::default(),
            leaves: Vec::new(),
            buckets: BTreeMap::new(),
        }
    }

    /// The bytes that have gathered.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// How many have.
    #[must_use]
    pub fn gathered(&self) -> usize {
        self.out.len()
    }

    /// What follows lies in this bucket, which is a new one.
    pub fn bucket(&mut self, name: &[u8]) {
        self.end_bucket();
        self.bucket = Some(name.to_vec());
    }

    /// An entry that is written later. Keys of a bucket come in order.
    pub fn measure(&mut self, key: &[u8], value_bytes: usize) {
        self.add(Entry { flags: 0, key: key.to_vec(), value: Vec::new(), value_bytes });
    }

    /// An entry, as it was measured before.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        self.add(Entry { flags: 0, key: key.to_vec(), value: value.to_vec(), value_bytes: value.len() });
    }

    fn add(&mut self, entry: Entry) {
        let more = ENTRY_BYTES + entry.key.len() + entry.value_bytes;
        if !self.leaf.entries.is_empty() && self.leaf.page_bytes() + more > NODE_BYTES {
            self.end_leaf();
        }
        self.leaf.push(entry);
    }

    /// The page of a node of so many bytes, and how many more belong to it.
    fn page(&mut self, bytes: usize) -> (u64, u32) {
        let page = self.next_page;
        let pages = bytes.div_ceil(PAGE_BYTES).max(1);
        self.next_page += pages as u64;
        (page, u32::try_from(pages - 1).expect("an entry is smaller than 16 TiB"))
    }

    fn fill_page(&mut self) {
        self.out.resize(self.out.len().next_multiple_of(PAGE_BYTES), 0);
    }

    fn end_leaf(&mut self) {
        let leaf = std::mem::take(&mut self.leaf);
        let (page, more) = self.page(leaf.page_bytes());
        if self.totals.is_some() {
            leaf.write(page, more, &mut self.out);
            self.fill_page();
        }
        let first = leaf.entries.into_iter().next().map(|entry| entry.key).unwrap_or_default();
        self.leaves.push((first, page));
    }

    fn end_bucket(&mut self) {
        let Some(name) = self.bucket.take() else { return };
        let mut value = vec![0; BUCKET_BYTES];
        if self.leaves.is_empty() && self.leaf.page_bytes() <= INLINE_BYTES {
            let leaf = std::mem::take(&mut self.leaf);
            if self.totals.is_some() {
                leaf.write(0, 0, &mut value);
            } else {
                value.resize(BUCKET_BYTES + leaf.page_bytes(), 0);
            }
        } else {
            self.end_leaf();
            let root = self.branches();
            value[..8].copy_from_slice(&root.to_le_bytes());
        }
        self.buckets.insert(name, value);
    }

    /// The tree over the leaves; its root.
    fn branches(&mut self) -> u64 {
        let mut level = std::mem::take(&mut self.leaves);
        while level.len() > 1 {
            let mut above = Vec::new();
            let mut rest = &level[..];
            while !rest.is_empty() {
                let mut bytes = PAGE_HEAD_BYTES;
                // Two at the least, or the tree would have no end.
                let fits = |(index, (key, _)): &(usize, &(Vec<u8>, u64))| {
                    bytes += ENTRY_BYTES + key.len();
                    *index < 2 || bytes <= NODE_BYTES
                };
                let count = rest.iter().enumerate().take_while(fits).count();
                let (children, others) = rest.split_at(count);
                rest = others;
                above.push((children[0].0.clone(), self.branch(children)));
            }
            level = above;
        }
        level[0].1
    }

    fn branch(&mut self, children: &[(Vec<u8>, u64)]) -> u64 {
        let keys: usize = children.iter().map(|(key, _)| key.len()).sum();
        let (page, more) = self.page(PAGE_HEAD_BYTES + children.len() * ENTRY_BYTES + keys);
        if self.totals.is_none() {
            return page;
        }
        put_head(&mut self.out, page, BRANCH, children.len(), more);
        let mut place = children.len() * ENTRY_BYTES;
        for (index, (key, child)) in children.iter().enumerate() {
            self.out.extend_from_slice(&((place - index * ENTRY_BYTES) as u32).to_le_bytes());
            self.out.extend_from_slice(&(key.len() as u32).to_le_bytes());
            self.out.extend_from_slice(&child.to_le_bytes());
            place += key.len();
        }
        children.iter().for_each(|(key, _)| self.out.extend_from_slice(key));
        self.fill_page();
        page
    }

    /// The last bytes, and what the first pages tell.
    ///
    /// # Panics
    /// Where what was written is not what was measured.
    #[must_use]
    pub fn finish(mut self) -> (Vec<u8>, Totals) {
        self.end_bucket();
        for (key, value) in std::mem::take(&mut self.buckets) {
            let value_bytes = value.len();
            self.leaf.push(Entry { flags: IS_BUCKET, key, value, value_bytes });
        }
        self.end_leaf();
        let root = self.leaves.last().expect("it was just written").1;
        let totals = Totals { root, pages: self.next_page };
        if let Some(measured) = self.totals {
            assert_eq!(measured, totals, "what is written is not what was measured");
        }
        (self.out, totals)
    }
}

fn put_meta(out: &mut Vec<u8>, page: u64, totals: Totals) {
    put_head(out, page, META, 0, 0);
    let from = out.len();
    for number in [MAGIC, VERSION, PAGE_BYTES as u32, 0] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    // The root and its sequence, the list of free pages, the first page behind all, the transaction.
    for number in [totals.root, 0, 2, totals.pages, page] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    let sum = checksum(&out[from..]);
    out.extend_from_slice(&sum.to_le_bytes());
    out.resize(out.len().next_multiple_of(PAGE_BYTES), 0);
}
