//! One file: what programs see, what the medium holds, and the writes in between.

use super::CrashReport;
use super::pages::{Pages, pages_of};
use crate::chance::Chance;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// The unit that a disk writes at once; within it a power loss may leave a torn edge.
pub(crate) const SECTOR: u64 = 512;

/// How often a place with something in it is looked for.
const TRIES: u32 = 16;

/// Beyond so many unsynced bytes the older half is written back unasked, as a kernel would.
const WRITEBACK: usize = 32 << 20;

/// A change that is not durable.
#[derive(Clone, Debug)]
enum Dirty {
    Write { offset: u64, bytes: Bytes },
    SetLen(u64),
}

impl Dirty {
    fn apply(&self, pages: &mut Pages) {
        match self {
            Self::Write { offset, bytes } => pages.write(*offset, bytes),
            Self::SetLen(len) => pages.set_len(*len),
        }
    }

    fn sectors(&self) -> std::ops::Range<u64> {
        match self {
            Self::Write { offset, bytes } => offset / SECTOR..(offset + bytes.len() as u64).div_ceil(SECTOR),
            Self::SetLen(_) => 0..0,
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Write { bytes, .. } => bytes.len(),
            Self::SetLen(_) => 0,
        }
    }
}

/// How likely a power loss keeps and tears what was not durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Odds {
    pub(crate) keep: f64,
    pub(crate) tear: f64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Inode {
    /// What programs see.
    pub(crate) cache: Pages,
    /// What the medium holds.
    pub(crate) durable: Pages,
    dirty: Vec<Dirty>,
    dirty_bytes: usize,
    /// Pages that are read from memory; `None`: all of them.
    warm: Option<BTreeSet<u64>>,
    /// Open handles.
    pub(crate) handles: u32,
    /// The handle that has locked it.
    pub(crate) locked_by: Option<u64>,
}

impl Inode {
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.cache.write(offset, bytes);
        self.warm(offset, bytes.len());
        self.push(Dirty::Write { offset, bytes: Bytes::copy_from_slice(bytes) });
    }

    pub(crate) fn set_len(&mut self, len: u64) {
        if len != self.cache.len() {
            self.cache.set_len(len);
            self.push(Dirty::SetLen(len));
        }
    }

    fn push(&mut self, dirty: Dirty) {
        self.dirty_bytes += dirty.size();
        self.dirty.push(dirty);
        if self.dirty_bytes > WRITEBACK {
            for dirty in self.dirty.drain(..self.dirty.len().div_ceil(2)) {
                self.dirty_bytes -= dirty.size();
                dirty.apply(&mut self.durable);
            }
        }
    }

    /// Everything becomes durable.
    pub(crate) fn sync(&mut self) {
        let mut touched = BTreeSet::new();
        for dirty in self.dirty.drain(..) {
            match dirty {
                Dirty::Write { offset, bytes } => touched.extend(pages_of(offset, bytes.len())),
                // In their order: a file that was cut and grown again has zeros where it was cut.
                Dirty::SetLen(len) => self.durable.set_len(len),
            }
        }
        self.dirty_bytes = 0;
        self.durable.set_len(self.cache.len());
        for index in touched {
            self.durable.share_page(index, &self.cache);
        }
    }

    /// A failed sync: the writes count as written back and are not (as Linux does), so that no later sync tries
    /// them again.
    pub(crate) fn forget_dirty(&mut self) {
        self.dirty.clear();
        self.dirty_bytes = 0;
    }

    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Whether some bytes wait to be written to the medium.
    pub(crate) fn has_writes(&self) -> bool {
        self.dirty_bytes > 0
    }

    /// Everything becomes durable, but one sector that was written lands at the place of another: its own place keeps what
    /// was durable there. What the page cache holds of both changes too: it could be dropped and read again at any time.
    pub(crate) fn sync_astray(&mut self, chance: &mut Chance) {
        let sectors: BTreeSet<u64> = self.dirty.iter().flat_map(Dirty::sectors).collect();
        let last = self.cache.len().saturating_sub(1) / SECTOR;
        let written: Vec<u64> = sectors.into_iter().filter(|sector| *sector <= last).collect();
        let Some(&meant) = chance.pick(&written) else { return self.sync() };
        let (mut old, mut new) = ([0; SECTOR as usize], [0; SECTOR as usize]);
        self.durable.read(meant * SECTOR, &mut old);
        self.cache.read(meant * SECTOR, &mut new);
        // Where something lies already there is more to lose; a file is mostly holes.
        let mut hit = chance.below(last + 1);
        for _ in 0..TRIES {
            let mut there = [0; SECTOR as usize];
            self.cache.read(hit * SECTOR, &mut there);
            if hit != meant && there.iter().any(|byte| *byte != 0) {
                break;
            }
            hit = chance.below(last + 1);
        }
        self.sync();
        let len = self.durable.len();
        for pages in [&mut self.durable, &mut self.cache] {
            pages.write(meant * SECTOR, &old);
            pages.write(hit * SECTOR, &new);
            pages.set_len(len);
        }
    }

    /// Clean pages have to be read from the medium the next time.
    pub(crate) fn drop_cache(&mut self) {
        let dirty = self.dirty.iter().filter_map(|dirty| match dirty {
            Dirty::Write { offset, bytes } => Some(pages_of(*offset, bytes.len())),
            Dirty::SetLen(_) => None,
        });
        self.warm = Some(dirty.flatten().collect());
    }

    /// Whether some of these bytes have to be read from the medium.
    pub(crate) fn is_cold(&self, offset: u64, len: usize) -> bool {
        let is_cold = |warm: &BTreeSet<u64>| pages_of(offset, len).any(|page| !warm.contains(&page));
        self.warm.as_ref().is_some_and(is_cold)
    }

    /// They stand in memory now.
    pub(crate) fn warm(&mut self, offset: u64, len: usize) {
        if let Some(warm) = &mut self.warm {
            warm.extend(pages_of(offset, len));
        }
    }

    /// Whether some unsynced write touches this byte.
    pub(crate) fn is_dirty_at(&self, at: u64) -> bool {
        self.dirty.iter().any(|dirty| match dirty {
            Dirty::Write { offset, bytes } => {
                pages_of(*offset, bytes.len()).contains(&(at / super::pages::PAGE as u64))
            }
            Dirty::SetLen(_) => false,
        })
    }

    /// Power loss. Each sector that unsynced writes touched shows some moment of its history, independently of
    /// all others: so late writes may be kept where early ones are lost. The length has a moment of its own.
    pub(crate) fn crash(&mut self, odds: Odds, chance: &mut Chance, report: &mut CrashReport) {
        let dirty = std::mem::take(&mut self.dirty);
        self.dirty_bytes = 0;
        let mut after = self.durable.clone();

        // The length first: cuts that took effect zero what they cut.
        let mut len = after.len();
        let mut lens = vec![];
        let mut growing = len;
        for change in &dirty {
            match change {
                Dirty::Write { offset, bytes } if offset + bytes.len() as u64 > growing => {
                    growing = offset + bytes.len() as u64;
                    lens.push(growing);
                }
                Dirty::Write { .. } => {}
                Dirty::SetLen(to) => {
                    growing = *to;
                    lens.push(growing);
                }
            }
        }
        for &to in &lens[..moment(odds.keep, lens.len(), chance)] {
            len = to;
            after.set_len(to);
        }

        let mut writes: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (index, change) in dirty.iter().enumerate() {
            if let Dirty::Write { offset, bytes } = change {
                for sector in offset / SECTOR..=(offset + bytes.len() as u64 - 1) / SECTOR {
                    writes.entry(sector).or_default().push(index);
                }
            }
        }
        for (sector, writes) in writes {
            let start = sector * SECTOR;
            let mut old = [0; SECTOR as usize];
            after.read(start, &mut old);
            let mut new = old;
            let kept = moment(odds.keep, writes.len(), chance);
            let torn = chance.bool(odds.tear);
            for &index in &writes[..kept] {
                old = new;
                overlay(&mut new, start, &dirty[index]);
            }
            if kept > 0 {
                report.sectors_kept += 1;
            } else {
                report.sectors_lost += 1;
                if torn {
                    overlay(&mut new, start, &dirty[writes[0]]);
                }
            }
            if torn && new != old {
                // Either the front or the back has reached the medium.
                let edge = 1 + chance.below(SECTOR - 1) as usize;
                if chance.bool(0.5) {
                    new[edge..].copy_from_slice(&old[edge..]);
                } else {
                    new[..edge].copy_from_slice(&old[..edge]);
                }
                report.sectors_torn += 1;
            }
            after.write(start, &new);
        }
        after.set_len(len);
        self.durable = after;
        self.cache = self.durable.clone();
        self.warm = Some(BTreeSet::new());
        self.handles = 0;
        self.locked_by = None;
    }
}

/// How many of so many changes in a row have reached the medium.
fn moment(keep: f64, changes: usize, chance: &mut Chance) -> usize {
    let mut kept = 0;
    while kept < changes && chance.bool(keep) {
        kept += 1;
    }
    kept
}

/// Lays the part of a write that falls into a sector over it.
fn overlay(sector: &mut [u8; SECTOR as usize], start: u64, write: &Dirty) {
    if let Dirty::Write { offset, bytes } = write {
        let end = start + SECTOR;
        let from = (*offset).max(start);
        let to = (offset + bytes.len() as u64).min(end);
        if from < to {
            let part = &bytes[(from - offset) as usize..(to - offset) as usize];
            sector[(from - start) as usize..(to - start) as usize].copy_from_slice(part);
        }
    }
}
