//! What a running member's tasks measure: times and bytes, which the member itself, a value without a clock, cannot know.

use seatrial_types::MemberId;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long something took, counted by bounds.
#[derive(Debug)]
pub struct Histogram {
    /// Upper bounds, rising.
    bounds: Vec<Duration>,
    /// One more than bounds, for what is above the last.
    counts: Vec<AtomicU64>,
    sum_nanos: AtomicU64,
}

impl Histogram {
    /// With these upper bounds, rising.
    #[must_use]
    pub fn new(bounds: Vec<Duration>) -> Self {
        assert!(bounds.is_sorted(), "bounds rise");
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum_nanos: AtomicU64::new(0) }
    }

    /// With `count` bounds, each twice the one before.
    #[must_use]
    pub fn doubling(first: Duration, count: u32) -> Self {
        Self::new((0..count).map(|step| first * (1 << step)).collect())
    }

    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let at = self.bounds.partition_point(|bound| *bound < took);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.sum_nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Every bound with how many did not exceed it, and last how many there are in all.
    #[must_use]
    pub fn cumulated(&self) -> (Vec<(Duration, u64)>, u64) {
        let mut total = 0;
        let mut counts = self.counts.iter().map(|count| {
            total += count.load(Ordering::Relaxed);
            total
        });
        let bounded: Vec<_> = self.bounds.iter().copied().zip(&mut counts).collect();
        let all = counts.next().expect("one count more than bounds");
        (bounded, all)
    }

    /// All that was counted, together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed))
    }
}

/// Bytes that went to a peer and came from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct PeerBytes {
    pub sent: u64,
    pub received: u64,
}

/// The measurements of one member.
#[derive(Debug)]
pub struct Meters {
    /// Syncs of the write-ahead log.
    pub log_sync: Histogram,
    /// Bytes appended to it.
    pub log_bytes: AtomicU64,
    /// Transactions of the store's file.
    pub backend_commit: Histogram,
    /// Events handed to watchers.
    pub events: AtomicU64,
    peers: Mutex<BTreeMap<MemberId, PeerBytes>>,
}

impl Default for Meters {
    fn default() -> Self {
        // etcd's bounds: 1 ms to 8 s.
        let disk = || Histogram::doubling(Duration::from_millis(1), 14);
        Self {
            log_sync: disk(),
            log_bytes: AtomicU64::new(0),
            backend_commit: disk(),
            events: AtomicU64::new(0),
            peers: Mutex::default(),
        }
    }
}

impl Meters {
    /// Bytes by peer.
    #[must_use]
    pub fn peers(&self) -> BTreeMap<MemberId, PeerBytes> {
        self.peers.lock().expect("no holder panics").clone()
    }

    pub(crate) fn sent(&self, peer: MemberId, bytes: usize) {
        self.peers.lock().expect("no holder panics").entry(peer).or_default().sent += bytes as u64;
    }

    pub(crate) fn received(&self, peer: MemberId, bytes: usize) {
        self.peers.lock().expect("no holder panics").entry(peer).or_default().received += bytes as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_at_the_first_bound_it_does_not_exceed() {
        let millis = Duration::from_millis;
        let histogram = Histogram::doubling(millis(1), 3);
        for took in [0, 1, 2, 3, 4, 5] {
            histogram.observe(millis(took));
        }
        assert_eq!(histogram.cumulated(), (vec![(millis(1), 2), (millis(2), 3), (millis(4), 5)], 6));
        assert_eq!(histogram.sum(), millis(15));
    }
}
