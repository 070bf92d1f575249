//! What the application holds of a disk.

use super::{Bit, DiskState};
use crate::core::{Core, State};
use crate::machine::Action;
use crate::observe::Event;
use crate::trace::{What, hash};
use seatrial_world::{Disk, DiskFile, OpenMode};
use std::fmt;
use std::io;
use std::sync::Arc;

/// Whose hands an operation is in: an incarnation of a node's process.
#[derive(Clone)]
pub(crate) struct Owner {
    pub(crate) core: Arc<Core>,
    pub(crate) node: u32,
    pub(crate) incarnation: u32,
}

impl Owner {
    /// Runs an operation, unless the process is gone: what is left of it may still run destructors, and these
    /// must not write.
    fn with<T>(&self, operation: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        self.core.with(|state| {
            if !state.outside.is_current(self.node, self.incarnation) {
                return Err(io::Error::other("the process that held this disk is gone"));
            }
            let result = operation(state);
            let disk = &mut state.outside.machines[self.node as usize].disk;
            if std::mem::take(&mut disk.power_cut) {
                state.outside.act(Action::PowerCut(self.node));
            }
            result
        })
    }

    fn disk<'a>(&self, state: &'a mut State) -> &'a mut DiskState {
        &mut state.outside.machines[self.node as usize].disk
    }

    fn note(&self, state: &mut State, what: What, label: u32, place: u64, size: u64, content: u64) {
        let outside = &mut state.outside;
        outside.trace.push(outside.now, what, (self.node, self.node), label, place, size, content);
    }

    /// Tells the observers that a fault bit.
    fn bit<T>(&self, state: &mut State, path: &str, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            let fault = match error.kind() {
                io::ErrorKind::StorageFull => "no space left",
                io::ErrorKind::Other if !self.disk(state).is_frozen() => "an I/O error",
                _ => return result,
            };
            self.tell(state, path, fault);
        }
        result
    }

    fn tell(&self, state: &mut State, path: &str, fault: &'static str) {
        let node = state.outside.name(self.node);
        state.outside.event(self.node, Event::DiskBit { node, path: path.to_owned(), fault });
    }

    fn synced(&self, state: &mut State, path: &str, result: io::Result<Bit>) -> io::Result<()> {
        if let Some(fault) = self.bit(state, path, result)? {
            self.tell(state, path, fault);
        }
        Ok(())
    }
}

/// A folder of a machine's disk.
#[derive(Clone)]
pub struct SimDisk {
    owner: Owner,
    /// Without a slash at either end.
    root: Arc<str>,
}

/// The path without empty parts; an error where it would leave its folder.
fn normal(path: &str) -> io::Result<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{path}: leaves the disk's folder")));
    }
    Ok(parts.join("/"))
}

impl SimDisk {
    pub(crate) fn open_root(owner: Owner, root: &str) -> io::Result<Self> {
        let root = normal(root)?;
        owner.with(|state| owner.disk(state).create_root(&root))?;
        Ok(Self { owner, root: root.into() })
    }

    fn path(&self, path: &str) -> io::Result<String> {
        let path = normal(path)?;
        Ok(match (self.root.is_empty(), path.is_empty()) {
            (true, _) => path,
            (_, true) => self.root.to_string(),
            _ => format!("{}/{path}", self.root),
        })
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn open(&self, path: &str, mode: OpenMode) -> io::Result<SimFile> {
        let path = self.path(path)?;
        let owner = &self.owner;
        let (number, handle, label) = owner.with(|state| {
            let opened = owner.disk(state).open(&path, mode);
            let (number, handle) = owner.bit(state, &path, opened)?;
            let label = state.outside.trace.label(&path);
            owner.note(state, What::Open, label, number, 0, 0);
            Ok((number, handle, label))
        })?;
        Ok(SimFile { owner: owner.clone(), number, handle, label, path })
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        let path = self.path(path)?;
        self.owner.with(|state| {
            let label = state.outside.trace.label(&path);
            self.owner.note(state, What::Name, label, 1, 0, 0);
            self.owner.disk(state).create_dir(&path)
        })
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let path = self.path(path)?;
        self.owner.with(|state| self.owner.disk(state).list(&path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path(from)?, self.path(to)?);
        self.owner.with(|state| {
            let label = state.outside.trace.label(&to);
            self.owner.note(state, What::Name, label, 2, 0, hash(from.as_bytes()));
            self.owner.disk(state).rename(&from, &to)
        })
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.path(path)?;
        self.owner.with(|state| {
            let label = state.outside.trace.label(&path);
            self.owner.note(state, What::Name, label, 3, 0, 0);
            self.owner.disk(state).remove(&path)
        })
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let path = self.path(path)?;
        self.owner.with(|state| {
            let label = state.outside.trace.label(&path);
            self.owner.note(state, What::Name, label, 4, 0, 0);
            let result = self.owner.disk(state).sync_dir(&path);
            self.owner.synced(state, &path, result)
        })
    }
}

/// An open file of a machine's disk.
pub struct SimFile {
    owner: Owner,
    number: u64,
    handle: u64,
    label: u32,
    path: String,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.owner.with(|state| {
            let result = self.owner.disk(state).read_at(self.number, &self.path, offset, buffer);
            self.owner.bit(state, &self.path, result)
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.owner.with(|state| {
            self.owner.note(state, What::Write, self.label, offset, bytes.len() as u64, hash(bytes));
            let result = self.owner.disk(state).write_at(self.number, &self.path, offset, bytes);
            self.owner.bit(state, &self.path, result)
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.owner.with(|state| self.owner.disk(state).len(self.number, &self.path))
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.owner.with(|state| {
            self.owner.note(state, What::SetLen, self.label, 0, bytes, 0);
            let result = self.owner.disk(state).set_len(self.number, &self.path, bytes);
            self.owner.bit(state, &self.path, result)
        })
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.owner.with(|state| {
            self.owner.note(state, What::SetLen, self.label, 1, bytes, 0);
            let result = self.owner.disk(state).allocate(self.number, &self.path, bytes);
            self.owner.bit(state, &self.path, result)
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.owner.with(|state| {
            self.owner.note(state, What::Sync, self.label, 0, 0, 0);
            let result = self.owner.disk(state).sync(self.number, &self.path);
            self.owner.synced(state, &self.path, result)
        })
    }

    fn lock(&self) -> io::Result<()> {
        self.owner.with(|state| self.owner.disk(state).lock(self.number, self.handle, &self.path))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        // A handle of a process that is gone was closed when it went.
        let _ = self.owner.with(|state| {
            self.owner.disk(state).close(self.number, self.handle);
            Ok(())
        });
    }
}
