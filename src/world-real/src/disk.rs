//! Files of the system below one folder.

use crate::guard::{Act, Guard};
use rustix::fs::FallocateFlags;
use seatrial_world::{Disk, DiskFile, OpenMode};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// A folder of the system.
#[derive(Clone, Debug)]
pub struct RealDisk {
    root: Arc<Path>,
    guard: Option<Arc<dyn Guard>>,
}

/// Nothing to ask where nobody guards a disk.
fn ask(guard: &Option<Arc<dyn Guard>>, act: Act<'_>) -> io::Result<()> {
    guard.as_ref().map_or(Ok(()), |guard| guard.before(act))
}

impl RealDisk {
    pub(crate) fn open_root(root: &str, guard: Option<Arc<dyn Guard>>) -> io::Result<Self> {
        let path = Path::new(root);
        create_dir_durably(path).map_err(|error| at(path, &error))?;
        Ok(Self { root: path.into(), guard })
    }

    fn ask(&self, path: &Path, act: Act<'_>) -> io::Result<()> {
        ask(&self.guard, act).map_err(|error| at(path, &error))
    }

    fn path(&self, path: &str) -> io::Result<PathBuf> {
        let relative = Path::new(path);
        if relative.components().all(|part| matches!(part, Component::Normal(_))) {
            Ok(self.root.join(relative))
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{path}: not a path below the disk's folder"),
            ))
        }
    }
}

/// Makes a folder and its parents, each of which is durable before the next: a log that is durable in a folder
/// whose own name is not would be lost with it.
fn create_dir_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_dir_durably(parent)?;
    match fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) => return Err(error),
    }
    File::open(parent)?.sync_all()
}

/// The system's messages do not name the file.
fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

impl Disk for RealDisk {
    type File = RealFile;

    fn open(&self, path: &str, mode: OpenMode) -> io::Result<RealFile> {
        let path = self.path(path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        match mode {
            OpenMode::Existing => &mut options,
            OpenMode::Create => options.create(true).truncate(false),
            OpenMode::CreateNew => options.create_new(true),
        };
        if self.guard.is_some() && mode != OpenMode::Existing && !path.exists() {
            self.ask(&path, Act::Create { path: &path })?;
        }
        let inner = options.open(&path).map_err(|error| at(&path, &error))?;
        Ok(RealFile { inner, path, guard: self.guard.clone() })
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        let path = self.path(path)?;
        fs::create_dir_all(&path).map_err(|error| at(&path, &error))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let path = self.path(path)?;
        let read = || {
            let mut names = Vec::new();
            for entry in fs::read_dir(&path)? {
                let name = entry?.file_name();
                // We never make names that are not UTF-8; a stranger's shows with its odd bytes replaced.
                names.push(name.to_string_lossy().into_owned());
            }
            names.sort_unstable();
            Ok(names)
        };
        read().map_err(|error| at(&path, &error))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path(from)?, self.path(to)?);
        self.ask(&from, Act::Rename { from: &from, to: &to })?;
        fs::rename(&from, &to).map_err(|error| at(&from, &error))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.path(path)?;
        self.ask(&path, Act::Remove { path: &path })?;
        fs::remove_file(&path).map_err(|error| at(&path, &error))
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let path = self.path(path)?;
        self.ask(&path, Act::SyncDir { path: &path })?;
        File::open(&path).and_then(|folder| folder.sync_all()).map_err(|error| at(&path, &error))?;
        self.ask(&path, Act::DirSynced { path: &path })
    }
}

/// A file of the system.
#[derive(Debug)]
pub struct RealFile {
    inner: File,
    path: PathBuf,
    guard: Option<Arc<dyn Guard>>,
}

impl RealFile {
    fn at<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| at(&self.path, &error))
    }

    fn ask(&self, act: Act<'_>) -> io::Result<()> {
        self.at(ask(&self.guard, act))
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.ask(Act::Read { path: &self.path, file: &self.inner, offset, bytes: buffer.len() as u64 })?;
        self.at(self.inner.read_exact_at(buffer, offset))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.ask(Act::Write { path: &self.path, file: &self.inner, offset, bytes: bytes.len() as u64 })?;
        self.at(self.inner.write_all_at(bytes, offset))
    }

    fn len(&self) -> io::Result<u64> {
        self.at(self.inner.metadata().map(|metadata| metadata.len()))
    }

    fn taken(&self) -> io::Result<u64> {
        self.at(self.inner.metadata().map(|metadata| metadata.blocks() * 512))
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.ask(Act::SetLen { path: &self.path, file: &self.inner, bytes })?;
        self.at(self.inner.set_len(bytes))
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        self.ask(Act::Allocate { path: &self.path, file: &self.inner, bytes })?;
        match rustix::fs::fallocate(&self.inner, FallocateFlags::empty(), 0, bytes) {
            // Some file systems cannot reserve. Growing alone keeps the meaning, without the promise of space.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) if self.len()? < bytes => {
                self.set_len(bytes)
            }
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            result => self.at(result.map_err(io::Error::from)),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.ask(Act::Sync { path: &self.path, file: &self.inner })?;
        self.at(self.inner.sync_data())?;
        self.ask(Act::Synced { path: &self.path, file: &self.inner })
    }

    fn lock(&self) -> io::Result<()> {
        self.at(self.inner.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::WouldBlock, "another process has taken this file")
            }
            TryLockError::Error(error) => error,
        }))
    }
}
