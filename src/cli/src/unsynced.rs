//! What a loss of power would take from a process's files: every change is noted with what was there before, until a sync makes
//! it durable. A killed process leaves all it wrote in the machine's page cache; whoever wants a loss of power takes back what
//! the journal still has.

use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A change of a disk, with what takes it back. Files are known by their numbers: names come and go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    /// So many bytes are written; what they replace, and the file's length before.
    Bytes { file: u64, offset: u64, bytes: u64, old: Vec<u8>, length: u64 },
    /// The length changes; what is cut off behind `from`, and the length before.
    Length { file: u64, from: u64, old: Vec<u8>, length: u64 },
    /// A file is made.
    Made { path: PathBuf },
    /// A file gets another name; what had it is kept.
    Renamed { from: PathBuf, to: PathBuf, kept: Option<PathBuf> },
    /// A file goes; it is kept.
    Removed { path: PathBuf, kept: Option<PathBuf> },
    /// What was written to this file before that place of the journal is durable.
    Durable { file: u64, before: u64 },
    /// The names in this folder, as they were at that place, are durable.
    NamesDurable { folder: PathBuf, before: u64 },
}

/// The journal, which outlives its process.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    bytes: u64,
}

impl Journal {
    /// One that is there; what an earlier process noted still holds.
    ///
    /// # Errors
    /// `NotFound` where nobody wants one.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes })
    }

    /// Bytes written so far, by all processes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Must be called before the change is made: a process may end between the two.
    pub(crate) fn write(&mut self, change: &Change) -> io::Result<()> {
        let body = postcard::to_allocvec(change).map_err(io::Error::other)?;
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let record = [&length.to_le_bytes()[..], &body].concat();
        self.file.write_all(&record)?;
        self.bytes += record.len() as u64;
        Ok(())
    }
}

#[cfg(feature = "sim")]
mod undo {
    use super::Change;
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs::{self, OpenOptions};
    use std::io;
    use std::os::unix::fs::{DirEntryExt, FileExt};
    use std::path::{Path, PathBuf};

    /// A power loss keeps or loses whole sectors.
    const SECTOR: u64 = 512;

    /// Every change, with the place in the journal at which it stands. A record that a killed process left half is none.
    fn read(journal: &Path) -> io::Result<Vec<(u64, Change)>> {
        let bytes = fs::read(journal)?;
        let (mut at, mut changes) = (0, Vec::new());
        while let Some(length) = bytes.get(at..at + 4) {
            let length = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
            let Some(body) = bytes.get(at + 4..at + 4 + length) else { break };
            changes.push((at as u64, postcard::from_bytes(body).map_err(io::Error::other)?));
            at += 4 + length;
        }
        Ok(changes)
    }

    /// Which changes no sync has made durable.
    fn open_changes(changes: &[(u64, Change)]) -> BTreeSet<usize> {
        let mut open = BTreeSet::new();
        let mut of_file: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (at, (_, change)) in changes.iter().enumerate() {
            match change {
                Change::Bytes { file, .. } | Change::Length { file, .. } => {
                    open.insert(at);
                    of_file.entry(*file).or_default().push(at);
                }
                Change::Made { .. } | Change::Removed { .. } | Change::Renamed { .. } => {
                    open.insert(at);
                }
                Change::Durable { file, before } => {
                    let Some(of_file) = of_file.get_mut(file) else { continue };
                    of_file.retain(|other| {
                        let is_durable = changes[*other].0 < *before;
                        if is_durable {
                            open.remove(other);
                        }
                        !is_durable
                    });
                }
                Change::NamesDurable { folder, before } => open.retain(|other| {
                    let (place, change) = &changes[*other];
                    let is_in = match change {
                        Change::Made { path } | Change::Removed { path, .. } => path.parent() == Some(folder),
                        Change::Renamed { to, .. } => to.parent() == Some(folder),
                        _ => false,
                    };
                    !is_in || place >= before
                }),
            }
        }
        open
    }

    /// Takes back what a loss of power takes from the files of a process that has ended, below the folder `data`, and empties the
    /// journal. Names go from
    /// some moment on, bytes by sectors, each by chance; with `all`, everything goes. Answers how many changes were open.
    ///
    /// # Errors
    /// Where the journal or a file cannot be read or written.
    pub(crate) fn lose_power(
        journal: &Path,
        data: &Path,
        all: bool,
        draw: &dyn Fn() -> u64,
    ) -> io::Result<usize> {
        let changes = read(journal)?;
        let open = open_changes(&changes);
        let is_name = |at: &usize| {
            matches!(changes[*at].1, Change::Made { .. } | Change::Renamed { .. } | Change::Removed { .. })
        };
        let names: Vec<usize> = open.iter().copied().filter(is_name).collect();
        // A file system keeps the order of names: what is lost are the last ones.
        let kept = if all { 0 } else { draw() as usize % (names.len() + 1) };
        let lost_names: BTreeSet<usize> = names[kept..].iter().copied().collect();
        let mut coins = Coins { all, draw, sectors: BTreeMap::new(), lengths: BTreeMap::new() };
        let mut files = BTreeMap::new();
        // What has lost its name is still there under the one that was kept, beside the journal.
        for folder in journal.parent().into_iter().chain([data]).filter(|folder| folder.is_dir()) {
            find(folder, &mut files)?;
        }
        // Bytes first, while all of them are still there.
        for at in open.iter().rev() {
            match &changes[*at].1 {
                Change::Bytes { file, offset, bytes, old, length } => {
                    let Some(path) = files.get(file) else { continue };
                    take_back(path, *offset, *bytes, old, *length, &mut coins)?;
                }
                Change::Length { file, from, old, length } => {
                    let Some(path) = files.get(file) else { continue };
                    if coins.loses_length(path) {
                        let file = OpenOptions::new().write(true).open(path)?;
                        file.set_len(*length)?;
                        file.write_all_at(old, *from)?;
                    }
                }
                _ => {}
            }
        }
        for at in lost_names.iter().rev() {
            rename_back(&changes[*at].1)?;
        }
        // The names that were kept for this are not needed any more.
        for (_, change) in &changes {
            if let Change::Renamed { kept: Some(kept), .. } | Change::Removed { kept: Some(kept), .. } =
                change
            {
                let _ = fs::remove_file(kept);
            }
        }
        fs::write(journal, b"")?;
        Ok(open.len())
    }

    struct Coins<'a> {
        all: bool,
        draw: &'a dyn Fn() -> u64,
        sectors: BTreeMap<(PathBuf, u64), bool>,
        lengths: BTreeMap<PathBuf, bool>,
    }

    impl Coins<'_> {
        fn loses_sector(&mut self, path: &Path, sector: u64) -> bool {
            let toss = || self.all || (self.draw)().is_multiple_of(2);
            *self.sectors.entry((path.to_owned(), sector)).or_insert_with(toss)
        }

        fn loses_length(&mut self, path: &Path) -> bool {
            let toss = || self.all || (self.draw)().is_multiple_of(2);
            *self.lengths.entry(path.to_owned()).or_insert_with(toss)
        }
    }

    /// Where the files below a folder are now, by their numbers.
    fn find(folder: &Path, files: &mut BTreeMap<u64, PathBuf>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                find(&entry.path(), files)?;
            } else {
                files.insert(entry.ino(), entry.path());
            }
        }
        Ok(())
    }

    fn take_back(
        path: &Path,
        offset: u64,
        bytes: u64,
        old: &[u8],
        length: u64,
        coins: &mut Coins<'_>,
    ) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        let mut at = offset;
        while at < offset + bytes {
            let end = (at / SECTOR * SECTOR + SECTOR).min(offset + bytes);
            if coins.loses_sector(path, at / SECTOR) {
                // What lay behind the old end reads as zeros, as long as the new length is kept.
                let mut before = vec![0; (end - at) as usize];
                let from = (at - offset) as usize;
                let have = old.get(from..).unwrap_or_default();
                let have = &have[..have.len().min(before.len())];
                before[..have.len()].copy_from_slice(have);
                file.write_all_at(&before, at)?;
            }
            at = end;
        }
        if offset + bytes > length && coins.loses_length(path) {
            file.set_len(length)?;
        }
        Ok(())
    }

    fn rename_back(change: &Change) -> io::Result<()> {
        let gone = |result: io::Result<()>| match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        match change {
            Change::Made { path } => gone(fs::remove_file(path)),
            Change::Renamed { from, to, kept } => {
                gone(fs::rename(to, from))?;
                kept.as_ref().map_or(Ok(()), |kept| gone(fs::hard_link(kept, to)))
            }
            Change::Removed { path, kept } => {
                kept.as_ref().map_or(Ok(()), |kept| gone(fs::hard_link(kept, path)))
            }
            _ => Ok(()),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::fault_dir::{FaultDir, LYING, UNSYNCED};
        use seatrial_world::{Disk, DiskFile, OpenMode, World};
        use seatrial_world_real::{RealDisk, RealWorld};
        use std::sync::Arc;

        struct Stand {
            faults: tempfile::TempDir,
            data: tempfile::TempDir,
            disk: RealDisk,
        }

        impl Stand {
            fn new() -> Self {
                let (faults, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
                fs::write(faults.path().join(UNSYNCED), "").unwrap();
                let guard = Arc::new(FaultDir::new(faults.path().to_owned()).unwrap());
                let disk = RealWorld::guarded(guard).disk(data.path().to_str().unwrap()).unwrap();
                Self { faults, data, disk }
            }

            fn lose(&self, all: bool, draw: &dyn Fn() -> u64) -> usize {
                lose_power(&self.faults.path().join(UNSYNCED), self.data.path(), all, draw).unwrap()
            }

            fn read(&self, name: &str) -> Option<Vec<u8>> {
                fs::read(self.data.path().join(name)).ok()
            }
        }

        #[tokio::test]
        async fn what_was_synced_stays_and_what_was_not_goes() {
            let stand = Stand::new();
            let file = stand.disk.open("a", OpenMode::CreateNew).unwrap();
            file.write_at(0, b"one").unwrap();
            file.sync().unwrap();
            stand.disk.sync_dir("").unwrap();
            file.write_at(0, b"TWO").unwrap();
            file.write_at(1000, b"far").unwrap();
            file.set_len(2).unwrap();
            stand.disk.open("b", OpenMode::CreateNew).unwrap();
            assert_eq!(stand.lose(true, &|| 0), 4);
            assert_eq!(stand.read("a").unwrap(), b"one");
            assert_eq!(stand.read("b"), None);
            file.write_at(0, b"x").unwrap();
            assert_eq!(stand.lose(true, &|| 0), 1, "the journal was emptied, and goes on");
            assert_eq!(stand.read("a").unwrap(), b"one");
        }

        #[tokio::test]
        async fn names_come_back_with_what_they_named() {
            let stand = Stand::new();
            for (name, text) in [("old", "old text"), ("gone", "gone text")] {
                let file = stand.disk.open(name, OpenMode::CreateNew).unwrap();
                file.write_at(0, text.as_bytes()).unwrap();
                file.sync().unwrap();
            }
            let fresh = stand.disk.open("fresh", OpenMode::CreateNew).unwrap();
            fresh.write_at(0, b"fresh text").unwrap();
            fresh.sync().unwrap();
            stand.disk.sync_dir("").unwrap();
            stand.disk.rename("fresh", "old").unwrap();
            stand.disk.remove("gone").unwrap();
            fresh.write_at(0, b"FRESH").unwrap();
            assert_eq!(stand.read("old").unwrap(), b"FRESH text");
            stand.lose(true, &|| 0);
            assert_eq!(stand.read("old").unwrap(), b"old text");
            assert_eq!(stand.read("fresh").unwrap(), b"fresh text");
            assert_eq!(stand.read("gone").unwrap(), b"gone text");
        }

        #[tokio::test]
        async fn sectors_are_lost_each_by_its_own_coin() {
            let stand = Stand::new();
            let file = stand.disk.open("a", OpenMode::CreateNew).unwrap();
            file.write_at(0, &[1; 2048]).unwrap();
            file.sync().unwrap();
            stand.disk.sync_dir("").unwrap();
            file.write_at(100, &[2; 1500]).unwrap();
            let tosses = std::cell::Cell::new(0);
            let draw = || {
                tosses.set(tosses.get() + 1);
                tosses.get()
            };
            stand.lose(false, &draw);
            let now = stand.read("a").unwrap();
            let mut sectors: Vec<bool> = now[100..1600].iter().map(|byte| *byte == 2).collect();
            sectors.dedup();
            assert!(sectors.len() > 2, "some were kept and some lost");
            assert!(now[..100].iter().chain(&now[1600..]).all(|byte| *byte == 1));
        }

        #[tokio::test]
        async fn a_lying_sync_keeps_nothing() {
            let stand = Stand::new();
            let file = stand.disk.open("a", OpenMode::CreateNew).unwrap();
            stand.disk.sync_dir("").unwrap();
            fs::write(stand.faults.path().join(LYING), "").unwrap();
            file.write_at(0, b"lost").unwrap();
            file.sync().unwrap();
            stand.lose(true, &|| 0);
            assert_eq!(stand.read("a").unwrap(), b"");
        }
    }
}

#[cfg(feature = "sim")]
pub(crate) use undo::lose_power;
