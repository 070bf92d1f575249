//! A disk that fails on demand, for the testbed's real processes: `seatrial server --fault-dir FOLDER` asks the files in that
//! folder before each act of its disk. Without the flag there is none of this.
//!
//! | file | what it does |
//! |---|---|
//! | `slow` | two numbers, in milliseconds: every sync takes so much longer, and up to so much more |
//! | `full` | there is no room for another byte; what was reserved before can still be written |
//! | `fail-sync` | the next sync fails, and the file is gone |
//! | `fail-log-sync` | the same for the write-ahead log |
//! | `fail-store-sync` | the same for the store |
//! | `fail-read`, `fail-log-read`, `fail-store-read` | reads fail as long as the file is there, of all files or of those |
//! | `stalled` | nothing is done as long as the file is there |
//! | `lying` | syncs make nothing durable, as far as a loss of power is concerned |
//! | `unsynced` | what a loss of power would take is noted here; see `unsynced.rs` |

use crate::unsynced::{Change, Journal};
use rustix::fs::fstat;
use seatrial_world_real::{Act, Guard};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) const SLOW: &str = "slow";
pub(crate) const FULL: &str = "full";
pub(crate) const FAIL_SYNC: &str = "fail-sync";
pub(crate) const FAIL_LOG_SYNC: &str = "fail-log-sync";
pub(crate) const FAIL_STORE_SYNC: &str = "fail-store-sync";
pub(crate) const FAIL_READ: &str = "fail-read";
pub(crate) const FAIL_LOG_READ: &str = "fail-log-read";
pub(crate) const FAIL_STORE_READ: &str = "fail-store-read";
pub(crate) const STALLED: &str = "stalled";
pub(crate) const LYING: &str = "lying";
pub(crate) const UNSYNCED: &str = "unsynced";

/// Files of the log end so, and those of the store.
const LOG_ENDING: &str = "wal";
/// See [`LOG_ENDING`].
const STORE_ENDING: &str = "redb";

/// How often a disk that stands still looks whether it may go on.
const LOOK: Duration = Duration::from_millis(10);

/// The folder.
#[derive(Debug)]
pub(crate) struct FaultDir {
    folder: PathBuf,
    journal: Option<Mutex<Noted>>,
}

#[derive(Debug)]
struct Noted {
    journal: Journal,
    /// How far the journal was when a sync began: of a file, by its number, and of a folder.
    files: BTreeMap<u64, u64>,
    folders: BTreeMap<PathBuf, u64>,
}

impl FaultDir {
    /// # Errors
    /// Where the folder or the journal in it cannot be read.
    pub(crate) fn new(folder: PathBuf) -> io::Result<Self> {
        fs::read_dir(&folder)?;
        let journal = match Journal::open(&folder.join(UNSYNCED)) {
            Ok(journal) => {
                Some(Mutex::new(Noted { journal, files: BTreeMap::new(), folders: BTreeMap::new() }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Self { folder, journal })
    }

    fn is_there(&self, name: &str) -> bool {
        self.folder.join(name).exists()
    }

    /// Whether the file was there; it is not any more.
    fn take(&self, name: &str) -> bool {
        fs::remove_file(self.folder.join(name)).is_ok()
    }

    fn drag(&self) {
        let Ok(text) = fs::read_to_string(self.folder.join(SLOW)) else { return };
        let mut numbers = text.split_whitespace().filter_map(|number| number.parse::<u64>().ok());
        let (least, more) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        // Any spread will do, and the clock's last digits are one.
        let drawn = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
        std::thread::sleep(Duration::from_millis(least + u64::from(drawn / 1000) % (more + 1)));
    }

    fn fail(&self, path: &Path) -> io::Result<()> {
        if self.take(FAIL_SYNC)
            || ends(path, LOG_ENDING) && self.take(FAIL_LOG_SYNC)
            || ends(path, STORE_ENDING) && self.take(FAIL_STORE_SYNC)
        {
            return Err(io::Error::other("the testbed lets this sync fail"));
        }
        Ok(())
    }

    fn fail_read(&self, path: &Path) -> io::Result<()> {
        let fails = self.is_there(FAIL_READ)
            || ends(path, LOG_ENDING) && self.is_there(FAIL_LOG_READ)
            || ends(path, STORE_ENDING) && self.is_there(FAIL_STORE_READ);
        if fails { Err(io::Error::other("input/output error while reading, by the testbed")) } else { Ok(()) }
    }

    fn stand_still(&self) {
        while self.is_there(STALLED) {
            std::thread::sleep(LOOK);
        }
    }

    /// Whether there is room for a file to reach this length.
    fn room(&self, file: &File, bytes: u64) -> io::Result<()> {
        if !self.is_there(FULL) {
            return Ok(());
        }
        let now = fstat(file)?;
        let reserved = u64::try_from(now.st_blocks).unwrap_or(0) * 512;
        let length = u64::try_from(now.st_size).unwrap_or(0);
        if bytes <= length.min(reserved) { Ok(()) } else { Err(full()) }
    }

    fn note(&self, change: impl FnOnce() -> io::Result<Change>) -> io::Result<()> {
        self.noted(|noted| noted.journal.write(&change()?))
    }

    /// Something with the noted syncs, where there is a journal.
    fn noted(&self, act: impl FnOnce(&mut Noted) -> io::Result<()>) -> io::Result<()> {
        let Some(noted) = &self.journal else { return Ok(()) };
        act(&mut noted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What became durable by a sync, unless it lied.
    fn durable(&self, noted: &mut Noted, change: Change) -> io::Result<()> {
        if self.is_there(LYING) { Ok(()) } else { noted.journal.write(&change) }
    }

    /// A second name for what is about to lose its own.
    fn keep(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        if !path.exists() {
            return Ok(None);
        }
        for number in 0.. {
            let kept = self.folder.join(format!("kept-{number}"));
            match fs::hard_link(path, &kept) {
                Ok(()) => return Ok(Some(kept)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

fn ends(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found == ending)
}

fn full() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "the testbed says that the disk is full")
}

/// By which number the file system knows a file, whatever its name is.
fn number(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.ino())
}

/// What a file holds in a range, as far as it goes, and its length.
fn before(file: &File, from: u64, to: u64) -> io::Result<(Vec<u8>, u64)> {
    let length = file.metadata()?.len();
    let mut bytes = vec![0; usize::try_from(length.min(to).saturating_sub(from)).unwrap_or(0)];
    file.read_exact_at(&mut bytes, from)?;
    Ok((bytes, length))
}

impl Guard for FaultDir {
    fn before(&self, act: Act<'_>) -> io::Result<()> {
        // What is done already is only taken down.
        if !matches!(act, Act::Synced { .. } | Act::DirSynced { .. }) {
            self.stand_still();
        }
        match act {
            Act::Read { path, .. } => self.fail_read(path),
            Act::Write { file, offset, bytes, .. } => {
                self.room(file, offset + bytes)?;
                self.note(|| {
                    let (old, length) = before(file, offset, offset + bytes)?;
                    Ok(Change::Bytes { file: number(file)?, offset, bytes, old, length })
                })
            }
            Act::SetLen { file, bytes, .. } | Act::Allocate { file, bytes, .. } => {
                self.room(file, bytes)?;
                let to = if matches!(act, Act::Allocate { .. }) {
                    file.metadata()?.len().max(bytes)
                } else {
                    bytes
                };
                self.note(|| {
                    let (old, length) = before(file, to, u64::MAX)?;
                    Ok(Change::Length { file: number(file)?, from: to, old, length })
                })
            }
            Act::Create { path } => {
                if self.is_there(FULL) {
                    return Err(full());
                }
                self.note(|| Ok(Change::Made { path: path.to_owned() }))
            }
            Act::Rename { from, to } => self.note(|| {
                Ok(Change::Renamed { from: from.to_owned(), to: to.to_owned(), kept: self.keep(to)? })
            }),
            Act::Remove { path } => {
                self.note(|| Ok(Change::Removed { path: path.to_owned(), kept: self.keep(path)? }))
            }
            Act::Sync { path, file } => {
                self.drag();
                self.fail(path)?;
                self.noted(|noted| {
                    let now = noted.journal.bytes();
                    // Of two syncs at once the earlier one covers less.
                    noted.files.entry(number(file)?).or_insert(now);
                    Ok(())
                })
            }
            Act::Synced { file, .. } => self.noted(|noted| {
                let file = number(file)?;
                let Some(before) = noted.files.remove(&file) else { return Ok(()) };
                self.durable(noted, Change::Durable { file, before })
            }),
            Act::SyncDir { path } => {
                self.drag();
                self.noted(|noted| {
                    let now = noted.journal.bytes();
                    noted.folders.entry(path.to_owned()).or_insert(now);
                    Ok(())
                })
            }
            Act::DirSynced { path } => self.noted(|noted| {
                let Some(before) = noted.folders.remove(path) else { return Ok(()) };
                self.durable(noted, Change::NamesDurable { folder: path.to_owned(), before })
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seatrial_world::{Disk, DiskFile, OpenMode, World};
    use seatrial_world_real::{RealDisk, RealWorld};
    use std::sync::Arc;

    fn disk(faults: &Path, data: &Path) -> RealDisk {
        let guard = Arc::new(FaultDir::new(faults.to_owned()).unwrap());
        RealWorld::guarded(guard).disk(data.to_str().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_sync_fails_once_and_only_whose_it_is_asked_for() {
        let (faults, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let disk = disk(faults.path(), data.path());
        let (log, other) =
            (disk.open("a.wal", OpenMode::Create).unwrap(), disk.open("db", OpenMode::Create).unwrap());
        fs::write(faults.path().join(FAIL_LOG_SYNC), "").unwrap();
        other.sync().unwrap();
        assert!(log.sync().unwrap_err().to_string().contains("lets this sync fail"));
        log.sync().unwrap();
        fs::write(faults.path().join(FAIL_SYNC), "").unwrap();
        other.sync().unwrap_err();
        other.sync().unwrap();
    }

    #[tokio::test]
    async fn reads_fail_as_long_as_they_should_and_only_whose_it_is_asked_for() {
        let (faults, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let disk = disk(faults.path(), data.path());
        let (log, store) =
            (disk.open("a.wal", OpenMode::Create).unwrap(), disk.open("b.redb", OpenMode::Create).unwrap());
        let read = |file: &<RealDisk as Disk>::File| file.read_at(0, &mut [0; 2]);
        log.write_at(0, b"ok").unwrap();
        store.write_at(0, b"ok").unwrap();
        for (name, log_fails, store_fails) in
            [(FAIL_READ, true, true), (FAIL_LOG_READ, true, false), (FAIL_STORE_READ, false, true)]
        {
            fs::write(faults.path().join(name), "").unwrap();
            for _ in 0..2 {
                assert_eq!(read(&log).is_err(), log_fails, "{name}");
                assert_eq!(read(&store).is_err(), store_fails, "{name}");
            }
            fs::remove_file(faults.path().join(name)).unwrap();
            read(&log).unwrap();
            read(&store).unwrap();
        }
    }

    #[tokio::test]
    async fn a_disk_that_stands_still_goes_on_once_it_may() {
        let (faults, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let disk = disk(faults.path(), data.path());
        let file = disk.open("a", OpenMode::Create).unwrap();
        fs::write(faults.path().join(STALLED), "").unwrap();
        let begun = std::time::Instant::now();
        let writing = std::thread::spawn(move || file.write_at(0, b"x").map(|()| begun.elapsed()));
        std::thread::sleep(Duration::from_millis(150));
        assert!(!writing.is_finished(), "it did not wait");
        fs::remove_file(faults.path().join(STALLED)).unwrap();
        assert!(writing.join().unwrap().unwrap() >= Duration::from_millis(150));
    }

    #[tokio::test]
    async fn a_full_disk_takes_only_what_was_reserved() {
        let (faults, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let disk = disk(faults.path(), data.path());
        let file = disk.open("a.wal", OpenMode::Create).unwrap();
        file.allocate(4096).unwrap();
        fs::write(faults.path().join(FULL), "").unwrap();
        file.write_at(0, b"there is room").unwrap();
        assert_eq!(file.write_at(4096, b"x").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.allocate(8192).unwrap_err().kind(), io::ErrorKind::StorageFull);
        let made = disk.open("b", OpenMode::Create).map(|_| ()).unwrap_err();
        assert_eq!(made.kind(), io::ErrorKind::StorageFull);
        fs::remove_file(faults.path().join(FULL)).unwrap();
        file.write_at(4096, b"x").unwrap();
    }

    #[tokio::test]
    async fn a_slow_disk_takes_its_time_for_each_sync() {
        let (faults, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let disk = disk(faults.path(), data.path());
        let file = disk.open("a", OpenMode::Create).unwrap();
        fs::write(faults.path().join(SLOW), "120 0").unwrap();
        let begun = std::time::Instant::now();
        file.sync().unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(120), "{:?}", begun.elapsed());
    }
}
