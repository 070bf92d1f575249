//! One machine's disk: it outlives its processes, and what a power loss leaves of it is drawn from the seed.
//!
//! Every file has two states: what programs see (the page cache) and what the medium holds. A process that is
//! killed loses nothing; a machine that loses its power loses, keeps or tears each 512-byte sector of each write
//! that was not made durable. A sector shows some moment of its own history: what was written to it later than
//! that is lost, what earlier is there, for a page cache writes whole sectors. Names need a sync of their folder.

mod faults;
pub(crate) mod handle;
mod inode;
mod names;
mod pages;

pub use faults::{Crash, DiskLatency, LatencyRange};
pub use handle::{SimDisk, SimFile};

use crate::chance::Chance;
use faults::Faults;
use inode::{Inode, Odds};
use names::{Entry, Names, parent};
use seatrial_world::{DiskWork, OpenMode};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// What a power loss did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CrashReport {
    /// Sectors that show some of what was written to them since they were durable.
    pub sectors_kept: u32,
    /// Sectors whose changes are gone.
    pub sectors_lost: u32,
    /// Sectors, of both kinds, that show a mixture.
    pub sectors_torn: u32,
    /// Changes of names that were kept.
    pub names_kept: u32,
    /// Changes of names that are gone.
    pub names_lost: u32,
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unsynced sectors {} kept, {} lost, {} torn; names {} kept, {} lost",
            self.sectors_kept, self.sectors_lost, self.sectors_torn, self.names_kept, self.names_lost
        )
    }
}

/// A fault that bit, for the observers.
pub(crate) type Bit = Option<&'static str>;

pub(crate) struct DiskState {
    inodes: BTreeMap<u64, Inode>,
    made: u64,
    handles_made: u64,
    names: Names,
    names_changed: u32,
    pub(crate) latency: DiskLatency,
    pub(crate) faults: Faults,
    pub(crate) chance: Chance,
    /// Set where the power was cut by the count of operations and the pump has to see to it.
    pub(crate) power_cut: bool,
}

fn error(kind: ErrorKind, path: &str, what: &str) -> io::Error {
    io::Error::new(kind, format!("{path}: {what}"))
}

impl DiskState {
    pub(crate) fn new(latency: DiskLatency, chance: Chance) -> Self {
        Self {
            inodes: BTreeMap::new(),
            made: 0,
            handles_made: 0,
            names: Names::default(),
            names_changed: 0,
            latency,
            faults: Faults::default(),
            chance,
            power_cut: false,
        }
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.faults.frozen
    }

    pub(crate) fn draw_latency(&mut self, kind: DiskWork) -> Duration {
        let range = self.latency.of(kind);
        if range.max.is_zero() { Duration::ZERO } else { self.chance.duration(range.min, range.max) }
    }

    fn check_power(&self, path: &str) -> io::Result<()> {
        if self.faults.frozen {
            return Err(error(ErrorKind::Other, path, "the machine has lost its power"));
        }
        Ok(())
    }

    /// To be called first by everything that changes the disk.
    fn mutate(&mut self, path: &str) -> io::Result<()> {
        self.check_power(path)?;
        if let Some(left) = &mut self.faults.power_left {
            if *left == 0 {
                self.faults.power_left = None;
                self.faults.frozen = true;
                self.power_cut = true;
                return self.check_power(path);
            }
            *left -= 1;
        }
        Ok(())
    }

    fn file(&mut self, number: u64) -> &mut Inode {
        self.inodes.get_mut(&number).expect("an open file has an inode")
    }

    fn folder(&self, path: &str) -> io::Result<()> {
        match self.names.get(path) {
            Some(Entry::Folder) => Ok(()),
            Some(Entry::File(_)) => Err(error(ErrorKind::NotADirectory, path, "is a file")),
            None => Err(error(ErrorKind::NotFound, path, "no such folder")),
        }
    }

    /// The file's number and that of the new handle.
    pub(crate) fn open(&mut self, path: &str, mode: OpenMode) -> io::Result<(u64, u64)> {
        self.check_power(path)?;
        self.folder(parent(path))?;
        let number = match (self.names.get(path), mode) {
            (Some(Entry::Folder), _) => return Err(error(ErrorKind::IsADirectory, path, "is a folder")),
            (Some(Entry::File(_)), OpenMode::CreateNew) => {
                return Err(error(ErrorKind::AlreadyExists, path, "exists already"));
            }
            (Some(Entry::File(number)), _) => number,
            (None, OpenMode::Existing) => return Err(error(ErrorKind::NotFound, path, "no such file")),
            (None, _) => {
                self.mutate(path)?;
                // A name often needs no room of its own: the folder has some left.
                if self.free_bytes() == 0 && self.chance.below(2) == 0 {
                    return Err(error(ErrorKind::StorageFull, path, "no space left on the disk"));
                }
                self.made += 1;
                self.inodes.insert(self.made, Inode::default());
                self.names.create(path, Entry::File(self.made));
                self.collect();
                self.made
            }
        };
        self.file(number).handles += 1;
        self.handles_made += 1;
        Ok((number, self.handles_made))
    }

    pub(crate) fn close(&mut self, number: u64, handle: u64) {
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.handles = inode.handles.saturating_sub(1);
            if inode.locked_by == Some(handle) {
                inode.locked_by = None;
            }
        }
    }

    pub(crate) fn create_dir(&mut self, path: &str) -> io::Result<()> {
        let mut end = 0;
        while end < path.len() {
            end = path[end + 1..].find('/').map_or(path.len(), |at| end + 1 + at);
            let folder = &path[..end];
            match self.names.get(folder) {
                Some(Entry::Folder) => {}
                Some(Entry::File(_)) => return Err(error(ErrorKind::NotADirectory, folder, "is a file")),
                None => {
                    self.mutate(folder)?;
                    self.names.create(folder, Entry::Folder);
                }
            }
        }
        Ok(())
    }

    /// Makes a disk's root folder, which is durable at once: losing the ground one stands on teaches nothing.
    pub(crate) fn create_root(&mut self, path: &str) -> io::Result<()> {
        self.create_dir(path)?;
        let mut folder = path;
        while !folder.is_empty() {
            folder = parent(folder);
            self.names.sync(folder);
        }
        Ok(())
    }

    pub(crate) fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.check_power(path)?;
        self.folder(path)?;
        Ok(self.names.list(path))
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.mutate(from)?;
        self.folder(parent(to))?;
        let entry = match self.names.get(from) {
            None => return Err(error(ErrorKind::NotFound, from, "no such file")),
            Some(Entry::Folder) => return Err(error(ErrorKind::IsADirectory, from, "is a folder")),
            Some(entry) => entry,
        };
        if self.names.get(to) == Some(Entry::Folder) {
            return Err(error(ErrorKind::IsADirectory, to, "is a folder"));
        }
        if from != to {
            self.names.rename(from, to, entry);
            self.collect();
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, path: &str) -> io::Result<()> {
        self.mutate(path)?;
        match self.names.get(path) {
            None => Err(error(ErrorKind::NotFound, path, "no such file")),
            Some(Entry::Folder) => Err(error(ErrorKind::IsADirectory, path, "is a folder")),
            Some(entry) => {
                self.names.remove(path, entry);
                self.collect();
                Ok(())
            }
        }
    }

    pub(crate) fn sync_dir(&mut self, path: &str) -> io::Result<Bit> {
        self.mutate(path)?;
        self.folder(path)?;
        if self.faults.sync_fails(path) {
            self.names.forget(path);
            return Err(error(ErrorKind::Other, path, "input/output error while syncing"));
        }
        if self.faults.lying_sync {
            return Ok(Some("a sync lied"));
        }
        self.names.sync(path);
        Ok(None)
    }

    /// Forgets files without names and handles, now and then.
    fn collect(&mut self) {
        self.names_changed += 1;
        if self.names_changed.is_multiple_of(64) {
            let named = self.names.files();
            self.inodes.retain(|number, inode| inode.handles > 0 || named.contains(number));
        }
    }

    fn free_bytes(&self) -> u64 {
        let Some(capacity) = self.faults.capacity else { return u64::MAX };
        let seen = self.names.seen_files();
        let held = |(number, inode): (&u64, &Inode)| {
            if inode.handles > 0 || seen.contains(number) { inode.cache.len() } else { 0 }
        };
        capacity.saturating_sub(self.inodes.iter().map(held).sum())
    }

    // ---- Open files.

    pub(crate) fn read_at(
        &mut self,
        number: u64,
        path: &str,
        offset: u64,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        self.check_power(path)?;
        let is_cold = !buffer.is_empty() && self.file(number).is_cold(offset, buffer.len());
        if is_cold && self.faults.read_fails(path) {
            return Err(error(ErrorKind::Other, path, "input/output error while reading"));
        }
        let inode = self.file(number);
        let end = offset.saturating_add(buffer.len() as u64);
        if end > inode.cache.len() && !buffer.is_empty() {
            return Err(error(ErrorKind::UnexpectedEof, path, "the file ends before"));
        }
        inode.cache.read(offset, buffer);
        inode.warm(offset, buffer.len());
        Ok(())
    }

    pub(crate) fn write_at(&mut self, number: u64, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.mutate(path)?;
        if self.faults.write_fails(path) {
            let part = self.chance.below(bytes.len() as u64 + 1) as usize;
            self.file(number).write(offset, &bytes[..part]);
            return Err(error(ErrorKind::Other, path, "input/output error while writing"));
        }
        let len = self.file(number).cache.len();
        let end = offset + bytes.len() as u64;
        if end > len && self.faults.capacity.is_some() {
            let allowed = len.saturating_add(self.free_bytes());
            if end > allowed {
                let part = allowed.saturating_sub(offset).min(bytes.len() as u64) as usize;
                self.file(number).write(offset, &bytes[..part]);
                return Err(error(ErrorKind::StorageFull, path, "no space left on the disk"));
            }
        }
        self.file(number).write(offset, bytes);
        Ok(())
    }

    pub(crate) fn len(&mut self, number: u64, path: &str) -> io::Result<u64> {
        self.check_power(path)?;
        Ok(self.file(number).cache.len())
    }

    pub(crate) fn set_len(&mut self, number: u64, path: &str, len: u64) -> io::Result<()> {
        self.mutate(path)?;
        let now = self.file(number).cache.len();
        if len > now && len - now > self.free_bytes() {
            return Err(error(ErrorKind::StorageFull, path, "no space left on the disk"));
        }
        self.file(number).set_len(len);
        Ok(())
    }

    pub(crate) fn allocate(&mut self, number: u64, path: &str, len: u64) -> io::Result<()> {
        let now = self.file(number).cache.len();
        self.set_len(number, path, len.max(now))
    }

    pub(crate) fn sync(&mut self, number: u64, path: &str) -> io::Result<Bit> {
        self.mutate(path)?;
        if self.faults.sync_fails(path) {
            self.file(number).forget_dirty();
            return Err(error(ErrorKind::Other, path, "input/output error while syncing"));
        }
        if self.faults.lying_sync {
            let lied = self.file(number).is_dirty();
            return Ok(lied.then_some("a sync lied"));
        }
        let inode = self.inodes.get_mut(&number).expect("an open file has an inode");
        if inode.has_writes() && self.faults.goes_astray(path) {
            inode.sync_astray(&mut self.chance);
            return Ok(Some("a sector landed at another place"));
        }
        inode.sync();
        Ok(None)
    }

    pub(crate) fn lock(&mut self, number: u64, handle: u64, path: &str) -> io::Result<()> {
        self.check_power(path)?;
        let inode = self.file(number);
        if inode.locked_by.is_some_and(|by| by != handle) {
            return Err(error(ErrorKind::WouldBlock, path, "another process has taken this file"));
        }
        inode.locked_by = Some(handle);
        Ok(())
    }

    // ---- What happens to the machine.

    /// The process is gone: its handles and locks are.
    pub(crate) fn process_died(&mut self) {
        for inode in self.inodes.values_mut() {
            inode.handles = 0;
            inode.locked_by = None;
        }
    }

    pub(crate) fn crash(&mut self, crash: Crash) -> CrashReport {
        let mut report = CrashReport::default();
        let odds = match crash {
            Crash::KeepAll => {
                self.names.sync_all();
                self.inodes.values_mut().for_each(Inode::sync);
                self.process_died();
                self.faults.frozen = false;
                return report;
            }
            Crash::LoseAll => Odds { keep: 0.0, tear: 0.0 },
            Crash::Odds { keep, tear } => Odds { keep, tear },
            Crash::Random => {
                let keep = *self.chance.pick(&[0.0, 0.1, 0.5, 0.9, 1.0]).expect("not empty");
                let tear = *self.chance.pick(&[0.0, 0.05, 0.3]).expect("not empty");
                Odds { keep, tear }
            }
        };
        self.names.crash(odds, &mut self.chance, &mut report);
        for inode in self.inodes.values_mut() {
            inode.crash(odds, &mut self.chance, &mut report);
        }
        let named = self.names.files();
        self.inodes.retain(|number, _| named.contains(number));
        self.faults.frozen = false;
        self.faults.power_left = None;
        report
    }

    /// Flips `bits` bits, drawn within the range, of every file whose path contains `part`. What the page cache
    /// holds of clean pages changes too: it could be dropped and read again at any time.
    pub(crate) fn rot(&mut self, part: &str, range: std::ops::Range<u64>, bits: u32) -> Vec<String> {
        let mut rotten = Vec::new();
        for (path, entry) in self.names.paths() {
            let Entry::File(number) = entry else { continue };
            if !path.contains(part) {
                continue;
            }
            let inode = self.inodes.get_mut(number).expect("a name has an inode");
            let end = range.end.min(inode.durable.len());
            if range.start >= end {
                continue;
            }
            for _ in 0..bits {
                let at = range.start + self.chance.below(end - range.start);
                let mask = 1 << self.chance.below(8);
                inode.durable.flip(at, mask);
                if !inode.is_dirty_at(at) && at < inode.cache.len() {
                    inode.cache.flip(at, mask);
                }
            }
            rotten.push(path.clone());
        }
        rotten
    }

    /// Clean pages of these files leave the page cache.
    pub(crate) fn drop_cache(&mut self, part: &str) {
        for (path, entry) in self.names.paths() {
            if let Entry::File(number) = entry
                && path.contains(part)
            {
                self.inodes.get_mut(number).expect("a name has an inode").drop_cache();
            }
        }
    }

    /// The contents of a file as programs would see them; for tests and oracles.
    pub(crate) fn peek(&self, path: &str) -> Option<Vec<u8>> {
        let Some(Entry::File(number)) = self.names.get(path) else { return None };
        let inode = self.inodes.get(&number)?;
        let mut bytes = vec![0; inode.cache.len() as usize];
        inode.cache.read(0, &mut bytes);
        Some(bytes)
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        let files = self.names.paths().filter(|(_, entry)| matches!(entry, Entry::File(_)));
        files.map(|(path, _)| path.clone()).collect()
    }
}
