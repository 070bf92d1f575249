//! What a machine keeps, and what a crash takes of it.
//!
//! The log is a value that holds what is durable, and the writes in the page cache behind it: a process that dies leaves
//! both, a loss of power leaves of the cache some beginning. The store's file takes whole batches.

use seatrial_node::{Cluster, LogImage, LogWrite};
use seatrial_raft::Persist;
use seatrial_scenario::fault::{DiskFault, Which};
use seatrial_scenario::format::spec::Files;
use seatrial_store::{Batch, Commit, MemBackend};
use std::sync::Arc;

/// A disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    /// The cluster as its member was told of it first.
    pub(crate) identity: Option<Arc<Cluster>>,
    log: Arc<LogImage>,
    /// Written and not durable, the oldest first.
    cached: Vec<LogWrite>,
    store: MemBackend,
    /// What is durable of it, where that is less: somebody has lied about a sync.
    store_durable: Option<MemBackend>,
    pub(crate) fault: DiskFault,
    /// The next sync fails, of these files.
    failing: Which,
    /// A loss of power has torn the last write, and no start has cut it yet.
    is_torn: bool,
}

impl Disk {
    /// What a process finds: all that was ever written.
    pub(crate) fn log(&self) -> LogImage {
        let mut image = LogImage::clone(&self.log);
        for write in &self.cached {
            image.write(write);
        }
        image
    }

    pub(crate) fn store(&self) -> MemBackend {
        self.store.reopened()
    }

    /// Opening a log cuts what is torn, writes its newest part once more, and syncs; whether anything was torn.
    pub(crate) fn opened(&mut self) -> bool {
        self.sync_log(self.cached.len());
        std::mem::take(&mut self.is_torn)
    }

    /// Writes into the page cache; how many writes lie there now.
    pub(crate) fn append(&mut self, writes: impl IntoIterator<Item = LogWrite>) -> usize {
        self.cached.extend(writes);
        self.cached.len()
    }

    /// The first so many writes are durable, unless the disk lies.
    pub(crate) fn sync_log(&mut self, count: usize) {
        if self.fault.sync_lies {
            return;
        }
        let log = Arc::make_mut(&mut self.log);
        for write in self.cached.drain(..count) {
            log.write(&write);
        }
    }

    pub(crate) fn commit(&mut self, batch: &Batch) {
        if self.fault.sync_lies && self.store_durable.is_none() {
            self.store_durable = Some(self.store.clone());
        }
        self.store.commit(batch).expect("memory is no disk that fails");
        if !self.fault.sync_lies {
            self.store_durable = None;
        }
    }

    /// The power is gone: of what was not durable a beginning is left, drawn with `below`.
    pub(crate) fn power_loss(&mut self, below: &mut dyn FnMut(u64) -> u64) {
        let mut cached = std::mem::take(&mut self.cached);
        let whole = below(cached.len() as u64 + 1) as usize;
        let torn = (whole < cached.len()).then(|| cached.swap_remove(whole));
        cached.truncate(whole);
        self.is_torn = torn.is_some();
        let log = Arc::make_mut(&mut self.log);
        for write in &cached {
            log.write(write);
        }
        // The hard state lies behind the entries that were written with it, so of one write some entries may be left alone.
        if let Some(LogWrite::Append(Persist { id, mut entries, .. })) = torn {
            entries.truncate(below(entries.len() as u64 + 1) as usize);
            log.write(&LogWrite::Append(Persist { id, entries, hard_state: None }));
        }
        if let Some(durable) = self.store_durable.take() {
            self.store = durable;
        }
    }

    /// What the disk does from now on.
    pub(crate) fn set_fault(&mut self, fault: DiskFault) {
        let each = fault.sync_fails.each().into_iter().zip(self.fault.sync_fails.each());
        for ((files, fails), (_, failed)) in each {
            if fails != failed {
                // It may have happened already, and happens once.
                match files {
                    Files::Any => self.failing.any = fails,
                    Files::Log => self.failing.log = fails,
                    Files::Store => self.failing.store = fails,
                }
            }
        }
        self.fault = fault;
    }

    /// Whether this sync of the log fails; the next one does not.
    pub(crate) fn log_sync_fails(&mut self) -> bool {
        std::mem::take(&mut self.failing.log) || std::mem::take(&mut self.failing.any)
    }

    /// The same for the store's file.
    pub(crate) fn store_sync_fails(&mut self) -> bool {
        std::mem::take(&mut self.failing.store) || std::mem::take(&mut self.failing.any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use seatrial_raft::{Entry, HardState, Payload, PersistId};
    use seatrial_types::{LogIndex, MemberId, Term};

    fn write(id: u64, indexes: std::ops::RangeInclusive<u64>) -> LogWrite {
        let entry =
            |index| Entry { term: Term(id), index: LogIndex(index), payload: Payload::Data(Bytes::new()) };
        let hard = HardState { term: Term(id), vote: MemberId(1), commit: LogIndex(0) };
        LogWrite::Append(Persist {
            id: PersistId(id),
            entries: indexes.map(entry).collect(),
            hard_state: Some(hard),
        })
    }

    fn found(disk: &Disk) -> (u64, u64) {
        let durable = disk.log().durable();
        (durable.hard_state.term.0, durable.entries.last().map_or(0, |entry| entry.index.0))
    }

    #[test]
    fn a_dead_process_loses_nothing_it_wrote_and_a_loss_of_power_what_it_did_not_sync() {
        let mut disk = Disk::default();
        let count = disk.append([write(1, 1..=2)]);
        disk.sync_log(count);
        disk.append([write(2, 3..=5), write(3, 6..=6)]);
        assert_eq!(found(&disk), (3, 6));
        let mut left = std::collections::BTreeSet::new();
        for draw in 0..12_u64 {
            let mut other = disk.clone();
            let mut draws = [draw / 4, draw % 4].into_iter();
            other.power_loss(&mut |n| draws.next().unwrap_or(0) % n);
            left.insert(found(&other));
        }
        // Whole writes, and of one that is torn its first entries without what lies behind them.
        let all = [(1, 2), (1, 3), (1, 4), (1, 5), (2, 5), (2, 6), (3, 6)];
        assert_eq!(left, all.into(), "any beginning, and nothing else");
    }

    #[test]
    fn a_disk_that_lies_keeps_nothing_over_a_loss_of_power() {
        let mut disk = Disk::default();
        disk.set_fault(DiskFault { sync_lies: true, ..DiskFault::default() });
        let count = disk.append([write(1, 1..=2)]);
        disk.sync_log(count);
        assert_eq!(found(&disk), (1, 2));
        disk.power_loss(&mut |_| 0);
        assert_eq!(found(&disk), (0, 0));
    }

    #[test]
    fn a_sync_that_is_to_fail_fails_once() {
        let mut disk = Disk::default();
        let fault = DiskFault { sync_fails: Which::of(Files::Log), ..DiskFault::default() };
        disk.set_fault(fault);
        assert!(!disk.store_sync_fails());
        assert!(disk.log_sync_fails() && !disk.log_sync_fails());
        disk.set_fault(fault);
        assert!(!disk.log_sync_fails(), "it is the same fault");
        disk.set_fault(DiskFault::default());
        disk.set_fault(fault);
        disk.set_fault(DiskFault::default());
        assert!(!disk.log_sync_fails(), "it is over and has not bitten");
    }
}
