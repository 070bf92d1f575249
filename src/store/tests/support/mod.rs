//! A disk in memory that forgets, tears and fails like a real one, and a small generator of numbers.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "shared by several test files, each of which uses a part"
)]

pub mod commands;
pub mod reference;

use seatrial_world::{Disk, DiskFile, OpenMode};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind, Result};
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR: usize = 512;

/// Numbers from a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

#[derive(Clone, Debug, Default)]
struct Inode {
    cache: Vec<u8>,
    durable: Vec<u8>,
    /// Unsynced versions of sectors, in order of writing: (sector, content).
    pending: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone, Debug)]
enum DirOp {
    Link(String, u64),
    Unlink(String),
    Rename(String, String, u64),
}

impl DirOp {
    fn touches(&self, dir: &str) -> bool {
        match self {
            Self::Link(path, _) | Self::Unlink(path) => parent(path) == dir,
            Self::Rename(from, to, _) => parent(from) == dir || parent(to) == dir,
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Link(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Self::Unlink(path) => {
                names.remove(path);
            }
            Self::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

#[derive(Clone, Debug, Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    names: BTreeMap<String, u64>,
    names_durable: BTreeMap<String, u64>,
    dirs: BTreeSet<String>,
    dir_ops: Vec<DirOp>,
    /// Operations that change something still allowed; then the machine is dead.
    fuse: Option<u64>,
    dead: bool,
    fail_sync: bool,
    full: bool,
    cannot_grow: bool,
    /// Unreadable: (path, from, to).
    holes: Vec<(String, u64, u64)>,
    syncs: u64,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct FaultDisk(Arc<Mutex<State>>);

/// An open file.
#[derive(Debug)]
pub struct FaultFile {
    disk: FaultDisk,
    inode: u64,
    path: String,
}

impl State {
    fn alive(&mut self) -> Result<()> {
        if let Some(fuse) = &mut self.fuse {
            if *fuse == 0 {
                self.dead = true;
            } else {
                *fuse -= 1;
            }
        }
        if self.dead { Err(Error::other("the machine is dead")) } else { Ok(()) }
    }
}

impl FaultDisk {
    pub fn new() -> Self {
        let disk = Self::default();
        disk.state().dirs.insert(String::new());
        disk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds the disk")
    }

    /// An independent disk in the same state.
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    /// The machine dies after so many more operations that change something.
    pub fn set_fuse(&self, operations: u64) {
        self.state().fuse = Some(operations);
    }

    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    pub fn fail_syncs(&self, fail: bool) {
        self.state().fail_sync = fail;
    }

    pub fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    pub fn set_full_after_open(&self, full: bool) {
        self.state().cannot_grow = full;
    }

    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    pub fn make_unreadable(&self, path: &str, from: u64, to: u64) {
        self.state().holes.push((path.into(), from, to));
    }

    /// The process dies, the machine does not: everything visible stays, durable or not.
    pub fn kill(&self) -> Self {
        let after = self.fork();
        {
            let mut state = after.state();
            state.dead = false;
            state.fuse = None;
        }
        after
    }

    /// What a power loss leaves: each unsynced sector at any of its versions, each unsynced change of a folder or
    /// none.
    pub fn power_loss(&self, rng: &mut Rng) -> Self {
        let mut state = self.state().clone();
        // Now and then everything unsynced is lost or everything is kept.
        let mood = rng.below(6);
        let keep = |rng: &mut Rng| match mood {
            0 => false,
            1 => true,
            _ => rng.chance(2),
        };
        for op in std::mem::take(&mut state.dir_ops) {
            if keep(rng) {
                op.apply(&mut state.names_durable);
            }
        }
        state.names = state.names_durable.clone();
        for inode in state.inodes.values_mut() {
            let mut versions: BTreeMap<usize, Vec<Vec<u8>>> = BTreeMap::new();
            for (sector, content) in inode.pending.drain(..) {
                versions.entry(sector).or_default().push(content);
            }
            let mut image = inode.durable.clone();
            if image.len() != inode.cache.len() && keep(rng) {
                image.resize(inode.cache.len(), 0);
            }
            for (sector, contents) in versions {
                let chosen = match mood {
                    0 => 0,
                    1 => contents.len(),
                    _ => rng.below(contents.len() as u64 + 1) as usize,
                };
                if let Some(content) = chosen.checked_sub(1).map(|chosen| &contents[chosen]) {
                    let start = sector * SECTOR;
                    if image.len() < start + content.len() {
                        image.resize((start + content.len()).min(inode.cache.len().max(image.len())), 0);
                    }
                    let end = (start + content.len()).min(image.len());
                    if start < end {
                        image[start..end].copy_from_slice(&content[..end - start]);
                    }
                }
            }
            inode.durable = image.clone();
            inode.cache = image;
        }
        state.dead = false;
        state.fuse = None;
        state.fail_sync = false;
        Self(Arc::new(Mutex::new(state)))
    }

    /// Changes bytes behind everybody's back.
    pub fn corrupt(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let inode = state.names[path];
        let inode = state.inodes.get_mut(&inode).expect("named");
        change(&mut inode.cache);
        inode.durable = inode.cache.clone();
        inode.pending.clear();
    }

    pub fn content(&self, path: &str) -> Vec<u8> {
        let state = self.state();
        state.inodes[&state.names[path]].cache.clone()
    }

    pub fn exists(&self, path: &str) -> bool {
        self.state().names.contains_key(path)
    }

    pub fn files(&self, dir: &str) -> Vec<String> {
        self.state().names.keys().filter(|path| parent(path) == dir).cloned().collect()
    }

    /// Removes a name behind everybody's back.
    pub fn lose(&self, path: &str) {
        let mut state = self.state();
        state.names.remove(path);
        state.names_durable.remove(path);
    }
}

impl Disk for FaultDisk {
    type File = FaultFile;

    fn open(&self, path: &str, mode: OpenMode) -> Result<FaultFile> {
        let mut state = self.state();
        if !state.dirs.contains(parent(path)) {
            return Err(Error::new(ErrorKind::NotFound, format!("no folder for {path}")));
        }
        let inode = match (state.names.get(path).copied(), mode) {
            (Some(_), OpenMode::CreateNew) => return Err(Error::new(ErrorKind::AlreadyExists, path)),
            (None, OpenMode::Existing) => return Err(Error::new(ErrorKind::NotFound, path)),
            (Some(inode), _) => inode,
            (None, _) => {
                state.alive()?;
                if state.full {
                    return Err(Error::new(ErrorKind::StorageFull, path));
                }
                state.next_inode += 1;
                let inode = state.next_inode;
                state.inodes.insert(inode, Inode::default());
                state.names.insert(path.into(), inode);
                state.dir_ops.push(DirOp::Link(path.into(), inode));
                inode
            }
        };
        Ok(FaultFile { disk: self.clone(), inode, path: path.into() })
    }

    fn create_dir(&self, path: &str) -> Result<()> {
        let mut state = self.state();
        state.alive()?;
        state.dirs.insert(path.into());
        Ok(())
    }

    fn list(&self, path: &str) -> Result<Vec<String>> {
        let state = self.state();
        if !state.dirs.contains(path) {
            return Err(Error::new(ErrorKind::NotFound, path));
        }
        let names = state.names.keys().filter(|name| parent(name) == path);
        let dirs = state.dirs.iter().filter(|dir| !dir.is_empty() && parent(dir) == path);
        let mut out: Vec<String> =
            names.chain(dirs).map(|name| name.rsplit('/').next().expect("a part").to_owned()).collect();
        out.sort();
        Ok(out)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let mut state = self.state();
        state.alive()?;
        let Some(inode) = state.names.remove(from) else { return Err(Error::new(ErrorKind::NotFound, from)) };
        state.names.insert(to.into(), inode);
        state.dir_ops.push(DirOp::Rename(from.into(), to.into(), inode));
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<()> {
        let mut state = self.state();
        state.alive()?;
        if state.names.remove(path).is_none() {
            return Err(Error::new(ErrorKind::NotFound, path));
        }
        state.dir_ops.push(DirOp::Unlink(path.into()));
        Ok(())
    }

    fn sync_dir(&self, path: &str) -> Result<()> {
        let mut state = self.state();
        state.alive()?;
        let ops = std::mem::take(&mut state.dir_ops);
        for op in ops {
            if op.touches(path) {
                op.apply(&mut state.names_durable);
            } else {
                state.dir_ops.push(op);
            }
        }
        Ok(())
    }
}

impl FaultFile {
    fn change(&self, change: impl FnOnce(&mut Inode)) -> Result<()> {
        let mut state = self.disk.state();
        state.alive()?;
        change(state.inodes.get_mut(&self.inode).expect("open files exist"));
        Ok(())
    }
}

impl DiskFile for FaultFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let state = self.disk.state();
        let end = offset + buffer.len() as u64;
        if state.holes.iter().any(|(path, from, to)| *path == self.path && *from < end && offset < *to) {
            return Err(Error::other("medium error"));
        }
        let cache = &state.inodes[&self.inode].cache;
        match cache.get(offset as usize..end as usize) {
            Some(bytes) => {
                buffer.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(Error::new(ErrorKind::UnexpectedEof, "end of file")),
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.change(|inode| {
            let (start, end) = (offset as usize, offset as usize + bytes.len());
            if inode.cache.len() < end {
                inode.cache.resize(end, 0);
            }
            inode.cache[start..end].copy_from_slice(bytes);
            for sector in start / SECTOR..end.div_ceil(SECTOR) {
                let sector_end = ((sector + 1) * SECTOR).min(inode.cache.len());
                inode.pending.push((sector, inode.cache[sector * SECTOR..sector_end].to_vec()));
            }
        })
    }

    fn len(&self) -> Result<u64> {
        Ok(self.disk.state().inodes[&self.inode].cache.len() as u64)
    }

    fn taken(&self) -> Result<u64> {
        let state = self.disk.state();
        let sectors = state.inodes[&self.inode].cache.chunks(SECTOR);
        Ok((sectors.filter(|sector| sector.iter().any(|byte| *byte != 0)).count() * SECTOR) as u64)
    }

    fn set_len(&self, bytes: u64) -> Result<()> {
        if self.disk.state().cannot_grow && bytes > self.len()? {
            return Err(Error::new(ErrorKind::StorageFull, "no space"));
        }
        self.change(|inode| {
            inode.cache.resize(bytes as usize, 0);
            inode.pending.retain(|(sector, _)| sector * SECTOR < bytes as usize);
        })
    }

    fn allocate(&self, bytes: u64) -> Result<()> {
        if self.disk.state().full {
            return Err(Error::new(ErrorKind::StorageFull, "no space"));
        }
        self.change(|inode| {
            if inode.cache.len() < bytes as usize {
                inode.cache.resize(bytes as usize, 0);
            }
        })
    }

    fn sync(&self) -> Result<()> {
        let mut state = self.disk.state();
        state.syncs += 1;
        if state.fail_sync {
            // The pages are marked clean all the same: a second sync would succeed without them.
            state.inodes.get_mut(&self.inode).expect("open").pending.clear();
            return Err(Error::other("fsync failed"));
        }
        drop(state);
        self.change(|inode| {
            // Only what is still to be written: what an earlier failed sync dropped stays in the cache alone.
            inode.durable.resize(inode.cache.len(), 0);
            for (sector, content) in std::mem::take(&mut inode.pending) {
                let start = sector * SECTOR;
                let end = (start + content.len()).min(inode.durable.len());
                inode.durable[start..end].copy_from_slice(&content[..end - start]);
            }
        })
    }

    fn lock(&self) -> Result<()> {
        Ok(())
    }
}
