//! The vocabulary of faults, as a theatre plays them.

use crate::format::spec::Files;
use seatrial_types::MemberId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// An end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// A member's machine.
    Member(MemberId),
    /// A client's machine.
    Client(u32),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(id) => write!(f, "{id}"),
            Self::Client(machine) => write!(f, "client {machine}"),
        }
    }
}

/// What a directed link does to what passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LinkRule {
    /// Nothing passes; what is sent waits for the link to come back or its sender to give up.
    pub cut: bool,
    /// What is sent is answered with a reset: the connection breaks.
    #[serde(default)]
    pub reset: bool,
    /// Packets lost, in parts per million.
    pub loss_ppm: u32,
    /// Added to the usual latency.
    pub extra_latency: Duration,
    /// Up to this much more, drawn for each packet.
    pub extra_jitter: Duration,
    /// Bytes per second, where that is bounded.
    #[serde(default)]
    pub bandwidth: Option<u64>,
}

impl LinkRule {
    /// Both rules at once: the worse of each.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            cut: self.cut || other.cut,
            reset: self.reset || other.reset,
            loss_ppm: self.loss_ppm.max(other.loss_ppm),
            extra_latency: self.extra_latency.max(other.extra_latency),
            extra_jitter: self.extra_jitter.max(other.extra_jitter),
            bandwidth: self.bandwidth.into_iter().chain(other.bandwidth).min(),
        }
    }

    /// Whether it does nothing.
    #[must_use]
    pub fn is_healthy(self) -> bool {
        self == Self::default()
    }
}

/// Of which files something is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Which {
    /// Of all.
    pub any: bool,
    /// Of the write-ahead log's.
    pub log: bool,
    /// Of the store's.
    pub store: bool,
}

impl Which {
    /// Of these.
    #[must_use]
    pub fn of(files: Files) -> Self {
        Self { any: files == Files::Any, log: files == Files::Log, store: files == Files::Store }
    }

    /// Of those of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { any: self.any || other.any, log: self.log || other.log, store: self.store || other.store }
    }

    /// Of each kind of files: whether it is said of them.
    #[must_use]
    pub fn each(self) -> [(Files, bool); 3] {
        [(Files::Any, self.any), (Files::Log, self.log), (Files::Store, self.store)]
    }
}

/// How a disk behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DiskFault {
    /// Added to each sync.
    pub sync_latency: Duration,
    /// Up to this much more, drawn for each sync.
    pub sync_jitter: Duration,
    /// The next sync fails.
    pub sync_fails: Which,
    /// What is not in the page cache cannot be read.
    #[serde(default)]
    pub reads_fail: Which,
    /// The next sector that is made durable lands at the place of another one.
    #[serde(default)]
    pub misdirects: Which,
    /// Nothing is done until it is over.
    #[serde(default)]
    pub stalled: bool,
    /// Syncs answer well and make nothing durable.
    pub sync_lies: bool,
    /// There is no room for another byte.
    #[serde(default)]
    pub full: bool,
}

impl DiskFault {
    /// Whether a member that starts meanwhile may lose what its log has.
    #[must_use]
    pub fn harms_logs(self) -> bool {
        self.reads_fail.any || self.reads_fail.log
    }

    /// Both at once: the worse of each.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            sync_latency: self.sync_latency.max(other.sync_latency),
            sync_jitter: self.sync_jitter.max(other.sync_jitter),
            sync_fails: self.sync_fails.and(other.sync_fails),
            reads_fail: self.reads_fail.and(other.reads_fail),
            misdirects: self.misdirects.and(other.misdirects),
            stalled: self.stalled || other.stalled,
            sync_lies: self.sync_lies || other.sync_lies,
            full: self.full || other.full,
        }
    }
}

/// Damage to what is at rest on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskDamage {
    /// The last record of the log is torn in the middle, as a power loss leaves it.
    WalTail,
    /// Bits are turned in a record in the middle of the log, intact ones behind it.
    WalMiddle {
        /// Which part of the log's bytes is hit, in thousandths from its start.
        place_permille: u32,
    },
    /// Bits turn in the file of the store, where it holds something.
    StoreRot {
        /// Which part of what it holds is hit, in thousandths from its start.
        place_permille: u32,
        /// How many.
        bits: u32,
    },
    /// A value in the store is another when the member starts next, with a checksum that fits.
    Value,
    /// And is again what it was.
    ValueRepaired,
}

/// How a member's clock differs from true time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClockFault {
    /// Runs too fast (or, negative, too slow) by so much, in parts per million.
    pub drift_ppm: i64,
    /// Its wall clock jumps by so many milliseconds, once.
    pub wall_step_ms: i64,
}

impl ClockFault {
    /// Both at once.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            drift_ppm: self.drift_ppm + other.drift_ppm,
            wall_step_ms: self.wall_step_ms + other.wall_step_ms,
        }
    }
}
