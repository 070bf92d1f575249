//! What processes cost, as the kernel counts it.

use anyhow::{Context, Result};
use std::fs;
use std::ops::Sub;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// The costs of some processes up to a moment, summed over all their threads, dead ones too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// In user and system mode. The kernel counts in ticks, usually of 10 ms.
    pub cpu: Duration,
    /// Bytes handed to the block layer for writing; 0 where the kernel does not tell.
    pub written_bytes: u64,
}

impl Cost {
    /// Of these processes.
    ///
    /// # Errors
    /// A process that is gone, named by its pid.
    pub fn of(pids: &[u32]) -> Result<Self> {
        let mut cost = Self::default();
        for pid in pids {
            let path = format!("/proc/{pid}/stat");
            let stat = fs::read_to_string(&path)
                .with_context(|| format!("reading {path}: is process {pid} still there?"))?;
            cost.cpu += cpu_in_stat(&stat, rustix::param::clock_ticks_per_second())
                .with_context(|| format!("{path} has an unknown shape: {stat}"))?;
            // Readable by the owner alone: a foreign server's bytes stay unknown.
            let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
            cost.written_bytes += written_in_io(&io);
        }
        Ok(cost)
    }
}

/// Bytes of memory that a process has in use now.
///
/// # Errors
/// A process that is gone, named by its pid.
pub fn memory_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path)
        .with_context(|| format!("reading {path}: is process {pid} still there?"))?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = kib.and_then(|rest| rest.trim().strip_suffix(" kB")).and_then(|kib| kib.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("{path} does not tell VmRSS"))? << 10)
}

/// Bytes of all files below a folder, as they take room on the disk.
///
/// # Errors
/// What the system says.
pub fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        // A file may go while it is counted.
        let Ok(facts) = entry.metadata() else { continue };
        bytes += if facts.is_dir() { folder_bytes(&entry.path())? } else { facts.blocks() * 512 };
    }
    Ok(bytes)
}

impl Sub for Cost {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
        }
    }
}

/// utime and stime are the fields 14 and 15; the name in field 2 may hold spaces and brackets, so counting
/// starts behind its last bracket.
fn cpu_in_stat(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_nanos((user + system) * (1_000_000_000 / ticks_per_second)))
}

fn written_in_io(io: &str) -> u64 {
    io.lines()
        .find_map(|line| line.strip_prefix("write_bytes: "))
        .and_then(|bytes| bytes.trim().parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_moves_no_field() {
        let stat = "42 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 9 0";
        assert_eq!(cpu_in_stat(stat, 100), Some(Duration::from_secs(2)));
        assert_eq!(cpu_in_stat("42 nonsense", 100), None);
    }

    #[test]
    fn bytes_are_those_of_the_block_layer() {
        assert_eq!(written_in_io("wchar: 9\nwrite_bytes: 4096\ncancelled_write_bytes: 1\n"), 4096);
        assert_eq!(written_in_io(""), 0);
    }

    #[test]
    fn memory_in_use_grows_by_what_is_touched_and_a_folder_by_what_is_written() {
        let me = std::process::id();
        let before = memory_bytes(me).unwrap();
        let touched = std::hint::black_box(vec![1_u8; 64 << 20]);
        let grown = memory_bytes(me).unwrap() - before;
        assert!((32 << 20..256 << 20).contains(&grown), "{grown} bytes for {}", touched.len());
        assert!(memory_bytes(u32::MAX).is_err());
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("inner")).unwrap();
        fs::write(folder.path().join("inner/file"), vec![1; 100_000]).unwrap();
        let bytes = folder_bytes(folder.path()).unwrap();
        assert!((100_000..200_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn work_of_this_process_is_seen_and_a_dead_process_is_an_error() {
        let me = [std::process::id()];
        let before = Cost::of(&me).unwrap();
        let begin = std::time::Instant::now();
        let mut sum = 0_u64;
        // Twenty ticks: a busy machine may give us only some of them.
        while begin.elapsed() < Duration::from_millis(200) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let spent = Cost::of(&me).unwrap() - before;
        assert!(spent.cpu >= Duration::from_millis(20), "only {:?} were seen", spent.cpu);
        let error = Cost::of(&[u32::MAX]).unwrap_err().to_string();
        assert!(error.contains("still there"), "{error}");
    }
}
