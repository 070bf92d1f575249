//! What can be wrong with a disk.

use seatrial_world::DiskWork;
use std::time::Duration;

/// What a power loss does to writes that are not durable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Crash {
    /// Each sector of each unsynced write is kept, lost or torn by itself, and names likewise; how likely is drawn
    /// for each crash.
    Random,
    /// As [`Crash::Random`], with these probabilities.
    Odds {
        /// Of a sector or name being kept.
        keep: f64,
        /// Of a changed sector being torn.
        tear: f64,
    },
    /// Nothing survives that was not made durable.
    LoseAll,
    /// Everything survives, as when only the process dies.
    KeepAll,
}

/// From which range the latency of each piece of disk work is drawn, evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyRange {
    /// At least.
    pub min: Duration,
    /// At most.
    pub max: Duration,
}

impl LatencyRange {
    /// A range in microseconds.
    #[must_use]
    pub const fn micros(min: u64, max: u64) -> Self {
        Self { min: Duration::from_micros(min), max: Duration::from_micros(max) }
    }
}

/// The latencies of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskLatency {
    /// Of [`DiskWork::Read`].
    pub read: LatencyRange,
    /// Of [`DiskWork::Write`].
    pub write: LatencyRange,
    /// Of [`DiskWork::Sync`].
    pub sync: LatencyRange,
}

impl Default for DiskLatency {
    /// A solid-state disk behind a page cache.
    fn default() -> Self {
        Self {
            read: LatencyRange::micros(10, 60),
            write: LatencyRange::micros(5, 20),
            sync: LatencyRange::micros(200, 1_000),
        }
    }
}

impl DiskLatency {
    pub(crate) fn of(&self, kind: DiskWork) -> LatencyRange {
        match kind {
            DiskWork::Read => self.read,
            DiskWork::Write => self.write,
            DiskWork::Sync => self.sync,
        }
    }
}

/// A fault for files whose path contains a text.
#[derive(Clone, Debug)]
struct Rule {
    part: String,
    /// How often it still bites; `None` is for ever.
    times: Option<u32>,
}

impl Rule {
    fn bites(&mut self, path: &str) -> bool {
        if !path.contains(&self.part) || self.times == Some(0) {
            return false;
        }
        if let Some(times) = &mut self.times {
            *times -= 1;
        }
        true
    }
}

/// Faults in force on one disk. They belong to the hardware: restarts and power losses leave them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    sync: Vec<Rule>,
    read: Vec<Rule>,
    write: Vec<Rule>,
    astray: Vec<Rule>,
    pub(crate) lying_sync: bool,
    pub(crate) capacity: Option<u64>,
    /// True time, in nanoseconds, before which no work is done.
    pub(crate) stalled_until: u64,
    /// Mutating operations that still pass before the machine loses its power.
    pub(crate) power_left: Option<u64>,
    /// The power is gone; only the process does not know it yet.
    pub(crate) frozen: bool,
}

impl Faults {
    pub(crate) fn fail_sync(&mut self, part: &str, times: Option<u32>) {
        self.sync.push(Rule { part: part.to_owned(), times });
    }

    pub(crate) fn fail_read(&mut self, part: &str, times: Option<u32>) {
        self.read.push(Rule { part: part.to_owned(), times });
    }

    pub(crate) fn spare_syncs(&mut self, part: &str) {
        self.sync.retain(|rule| rule.part != part);
    }

    pub(crate) fn spare_reads(&mut self, part: &str) {
        self.read.retain(|rule| rule.part != part);
    }

    pub(crate) fn misdirect(&mut self, part: &str, times: Option<u32>) {
        self.astray.push(Rule { part: part.to_owned(), times });
    }

    pub(crate) fn spare_writes(&mut self, part: &str) {
        self.astray.retain(|rule| rule.part != part);
    }

    pub(crate) fn goes_astray(&mut self, path: &str) -> bool {
        self.astray.iter_mut().any(|rule| rule.bites(path))
    }

    pub(crate) fn fail_write(&mut self, part: &str, times: Option<u32>) {
        self.write.push(Rule { part: part.to_owned(), times });
    }

    pub(crate) fn sync_fails(&mut self, path: &str) -> bool {
        self.sync.iter_mut().any(|rule| rule.bites(path))
    }

    pub(crate) fn read_fails(&mut self, path: &str) -> bool {
        self.read.iter_mut().any(|rule| rule.bites(path))
    }

    pub(crate) fn write_fails(&mut self, path: &str) -> bool {
        self.write.iter_mut().any(|rule| rule.bites(path))
    }

    /// The hardware works again.
    pub(crate) fn repair(&mut self) {
        *self = Self { frozen: self.frozen, ..Self::default() };
    }
}
