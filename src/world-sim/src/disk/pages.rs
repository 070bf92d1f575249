//! The bytes of a file, in pages that copies share until one of them changes.

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const PAGE: usize = 4096;

/// Sparse: what was never written is zero and takes no memory, however far the file was allocated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pages {
    len: u64,
    pages: BTreeMap<u64, Arc<[u8; PAGE]>>,
}

fn place(offset: u64) -> (u64, usize) {
    (offset / PAGE as u64, (offset % PAGE as u64) as usize)
}

impl Pages {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Fills the buffer; what lies beyond the end reads as zeros.
    pub(crate) fn read(&self, mut offset: u64, mut buffer: &mut [u8]) {
        while !buffer.is_empty() {
            let (index, within) = place(offset);
            let count = buffer.len().min(PAGE - within);
            let (part, rest) = buffer.split_at_mut(count);
            match self.pages.get(&index) {
                Some(page) => part.copy_from_slice(&page[within..within + count]),
                None => part.fill(0),
            }
            buffer = rest;
            offset += count as u64;
        }
    }

    /// Grows the file where needed.
    pub(crate) fn write(&mut self, mut offset: u64, mut bytes: &[u8]) {
        self.len = self.len.max(offset + bytes.len() as u64);
        while !bytes.is_empty() {
            let (index, within) = place(offset);
            let count = bytes.len().min(PAGE - within);
            let (part, rest) = bytes.split_at(count);
            let page = self.pages.entry(index).or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[within..within + count].copy_from_slice(part);
            bytes = rest;
            offset += count as u64;
        }
    }

    pub(crate) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let (index, within) = place(len);
            if within > 0
                && let Some(page) = self.pages.get_mut(&index)
            {
                Arc::make_mut(page)[within..].fill(0);
            }
            let keep = if within > 0 { index + 1 } else { index };
            self.pages.split_off(&keep);
        }
        self.len = len;
    }

    /// Makes one page the same as another file's.
    pub(crate) fn share_page(&mut self, index: u64, from: &Self) {
        match from.pages.get(&index) {
            Some(page) => self.pages.insert(index, page.clone()),
            None => self.pages.remove(&index),
        };
    }

    pub(crate) fn flip(&mut self, offset: u64, mask: u8) {
        let mut byte = [0];
        self.read(offset, &mut byte);
        self.write(offset, &[byte[0] ^ mask]);
    }
}

/// The pages that a stretch of bytes touches.
pub(crate) fn pages_of(offset: u64, len: usize) -> std::ops::RangeInclusive<u64> {
    offset / PAGE as u64..=(offset + len.max(1) as u64 - 1) / PAGE as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_across_pages_come_back_and_cutting_zeroes() {
        let mut pages = Pages::default();
        let bytes: Vec<u8> = (0..10_000u32).map(|i| (i % 251) as u8 + 1).collect();
        pages.write(3000, &bytes);
        let mut back = vec![0; 10_000];
        pages.read(3000, &mut back);
        assert_eq!(back, bytes);
        let copy = pages.clone();
        pages.set_len(5000);
        pages.set_len(13_000);
        pages.read(3000, &mut back);
        assert_eq!(back[..2000], bytes[..2000]);
        assert!(back[2000..].iter().all(|&byte| byte == 0));
        copy.read(3000, &mut back);
        assert_eq!(back, bytes, "a copy changed with its original");
    }
}
