//! The disk of one machine: our own server asks a folder how its disk behaves (see `fault_dir.rs`), and what a stopped member
//! left is damaged here.

use crate::fault_dir::{
    FAIL_LOG_READ, FAIL_LOG_SYNC, FAIL_READ, FAIL_STORE_READ, FAIL_STORE_SYNC, FAIL_SYNC, FULL, LYING, SLOW,
    STALLED, UNSYNCED,
};
use crate::unsynced::lose_power;
use seatrial_node::RedbOptions;
use seatrial_scenario::Plan;
use seatrial_scenario::damage;
use seatrial_scenario::fault::{DiskDamage, DiskFault};
use seatrial_scenario::format::spec::NemesisKind;
use seatrial_scenario::observation::Observation;
use seatrial_sims::{Operation, operate_on};
use seatrial_world::World;
use seatrial_world_real::RealWorld;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Whether a plan does something to disks, and whether what was not synced may be lost.
pub(super) fn breaks(plan: &Plan) -> (bool, bool) {
    let any = |kinds: &[NemesisKind]| plan.faults.iter().any(|fault| kinds.contains(&fault.kind));
    let lost = any(&[
        NemesisKind::PowerLoss,
        NemesisKind::LyingSync,
        NemesisKind::WalDamage,
        NemesisKind::ValueDamage,
        NemesisKind::StoreRot,
    ]);
    let fails = any(&[
        NemesisKind::SlowDisk,
        NemesisKind::SyncError,
        NemesisKind::FullDisk,
        NemesisKind::DiskStall,
        NemesisKind::ReadError,
    ]);
    (lost || fails, lost)
}

/// The folder that a member's disk asks, and what stands there now.
#[derive(Clone, Debug)]
pub(super) struct Faults {
    folder: PathBuf,
    now: DiskFault,
}

impl Faults {
    /// A healthy one; `journal` notes what a loss of power would take.
    pub(super) fn new(folder: PathBuf, journal: bool) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        if journal {
            fs::write(folder.join(UNSYNCED), "")?;
        }
        Ok(Self { folder, now: DiskFault::default() })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn set(&mut self, fault: DiskFault) -> io::Result<()> {
        if self.now == fault {
            return Ok(());
        }
        let slow = (fault.sync_latency, fault.sync_jitter) != Default::default();
        let numbers = format!("{} {}", fault.sync_latency.as_millis(), fault.sync_jitter.as_millis());
        // Written beside and renamed: a member never reads half of it.
        self.turn(SLOW, slow, &numbers)?;
        self.turn(FULL, fault.full, "")?;
        self.turn(LYING, fault.sync_lies, "")?;
        self.turn(STALLED, fault.stalled, "")?;
        self.turn(FAIL_READ, fault.reads_fail.any, "")?;
        self.turn(FAIL_LOG_READ, fault.reads_fail.log, "")?;
        self.turn(FAIL_STORE_READ, fault.reads_fail.store, "")?;
        // These are gone once they have bitten, and are not set again for the same fault.
        let (syncs, before) = (fault.sync_fails, self.now.sync_fails);
        for (name, wanted, before) in [
            (FAIL_SYNC, syncs.any, before.any),
            (FAIL_LOG_SYNC, syncs.log, before.log),
            (FAIL_STORE_SYNC, syncs.store, before.store),
        ] {
            if wanted != before {
                self.turn(name, wanted, "")?;
            }
        }
        self.now = fault;
        Ok(())
    }

    fn turn(&self, name: &str, on: bool, text: &str) -> io::Result<()> {
        let path = self.folder.join(name);
        if on {
            let beside = self.folder.join("next");
            fs::write(&beside, text)?;
            return fs::rename(&beside, &path);
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes from the files of a process that has ended what was not synced.
    pub(super) fn lose_power(&self, data: &Path, draw: &dyn Fn() -> u64) -> io::Result<()> {
        let journal = self.folder.join(UNSYNCED);
        if journal.exists() {
            // Now and then all of it, as when the power fails in the midst of the write-back.
            lose_power(&journal, data, draw().is_multiple_of(4), draw)?;
        }
        Ok(())
    }
}

/// Damages the log of a member that does not run. What was done; `None` where there was nothing to damage.
pub(super) fn damage_log(
    data: &Path,
    damage: DiskDamage,
    draw: &dyn Fn() -> u64,
) -> io::Result<Option<String>> {
    let log = data.join("wal");
    let mut segments = Vec::new();
    let Ok(files) = fs::read_dir(&log) else { return Ok(None) };
    for file in files {
        let name = file?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".wal") {
            let bytes = fs::read(log.join(&name))?;
            segments.push((name, bytes));
        }
    }
    segments.sort();
    let Some(spot) = damage::spot(&segments, damage) else { return Ok(None) };
    let (name, bytes) = &mut segments[spot.segment];
    for _ in 0..spot.bits {
        let at = spot.bytes.start + draw() % (spot.bytes.end - spot.bytes.start);
        bytes[at as usize] ^= 1 << (draw() % 8);
    }
    fs::write(log.join(name), &*bytes)?;
    Ok(Some(spot.text))
}

/// Lets the store of a member rot, whether it runs or not. What was done; `None` where there was nothing to damage.
pub(super) fn damage_store(
    data: &Path,
    damage: DiskDamage,
    draw: &dyn Fn() -> u64,
) -> io::Result<Option<String>> {
    let mut files = Vec::new();
    let Ok(folder) = fs::read_dir(data.join("db")) else { return Ok(None) };
    for file in folder {
        let path = file?.path();
        if path.extension().is_some_and(|ending| ending == "redb") {
            files.push((path.display().to_string(), fs::read(&path)?));
        }
    }
    files.sort();
    let Some(spot) = damage::spot(&files, damage) else { return Ok(None) };
    let (path, bytes) = &mut files[spot.segment];
    let file = fs::OpenOptions::new().write(true).open(path)?;
    for _ in 0..spot.bits {
        let at = spot.bytes.start + draw() % (spot.bytes.end - spot.bytes.start);
        bytes[at as usize] ^= 1 << (draw() % 8);
        // Nothing else of it is touched: its member may be writing.
        file.write_at(&bytes[at as usize..=at as usize], at)?;
    }
    Ok(Some(spot.text))
}

/// Changes a value in the store of a member that does not run, or changes it back.
pub(super) fn damage_value(world: &RealWorld, data: &Path, operation: Operation) -> Option<Observation> {
    let disk = world.disk(data.to_str()?).ok()?;
    operate_on(disk, &RedbOptions { quick_repair: true, ..RedbOptions::default() }, operation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use seatrial_scenario::fault::Which;
    use seatrial_scenario::format::spec::Files;
    use std::time::Duration;

    #[test]
    fn what_a_disk_is_told_stands_in_its_folder_and_goes_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut faults = Faults::new(folder.path().join("m1"), false).unwrap();
        let is_there = |name: &str| folder.path().join("m1").join(name).exists();
        let slow = DiskFault { sync_latency: Duration::from_millis(70), full: true, ..DiskFault::default() };
        faults.set(slow).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("m1").join(SLOW)).unwrap(), "70 0");
        assert!(is_there(FULL) && !is_there(UNSYNCED));
        let any = Which::of(Files::Any);
        faults.set(DiskFault { sync_fails: any, ..DiskFault::default() }).unwrap();
        assert!(is_there(FAIL_SYNC) && !is_there(FULL) && !is_there(SLOW));
        fs::remove_file(folder.path().join("m1").join(FAIL_SYNC)).unwrap();
        faults.set(DiskFault { sync_fails: any, full: true, ..DiskFault::default() }).unwrap();
        assert!(!is_there(FAIL_SYNC), "it has bitten");
        faults.set(DiskFault::default()).unwrap();
        assert!(!is_there(FULL));
        let unread = DiskFault { reads_fail: Which::of(Files::Store), stalled: true, ..DiskFault::default() };
        faults.set(unread).unwrap();
        assert!(is_there(FAIL_STORE_READ) && is_there(STALLED) && !is_there(FAIL_READ));
        faults.set(DiskFault::default()).unwrap();
        assert!(!is_there(FAIL_STORE_READ) && !is_there(STALLED));
    }

    #[test]
    fn a_store_rots_in_one_sector_and_nowhere_else() {
        let data = tempfile::tempdir().unwrap();
        let rot = DiskDamage::StoreRot { place_permille: 999, bits: 1 };
        assert_eq!(damage_store(data.path(), rot, &|| 3).unwrap(), None, "there is no store");
        fs::create_dir(data.path().join("db")).unwrap();
        let file = data.path().join("db/first.redb");
        let mut bytes = vec![7; 1024];
        bytes.resize(4096, 0);
        fs::write(&file, &bytes).unwrap();
        let text = damage_store(data.path(), rot, &|| 3).unwrap().unwrap();
        assert!(text.starts_with("1 bits turned in the sector at byte 512 of "), "{text}");
        let now = fs::read(&file).unwrap();
        let differ: Vec<usize> = (0..4096).filter(|at| now[*at] != bytes[*at]).collect();
        assert_eq!(differ, [515]);
    }

    #[test]
    fn bits_turn_in_the_log_where_they_should() {
        let data = tempfile::tempdir().unwrap();
        let turned = |damage| damage_log(data.path(), damage, &|| 3).unwrap();
        assert_eq!(turned(DiskDamage::WalTail), None, "there is no log");
        fs::create_dir(data.path().join("wal")).unwrap();
        let file = data.path().join("wal/1.wal");
        let mut bytes = vec![7; 1000];
        bytes.resize(4096, 0);
        fs::write(&file, &bytes).unwrap();
        let text = turned(DiskDamage::WalMiddle { place_permille: 500 }).unwrap();
        assert_eq!(text, "3 bits turned at byte 628 of 1.wal");
        let now = fs::read(&file).unwrap();
        let differ: Vec<usize> = (0..4096).filter(|at| now[*at] != bytes[*at]).collect();
        assert_eq!(differ, [631]);
    }
}
