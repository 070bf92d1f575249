//! Planted bugs that need more than a branch: what some must remember, and how others read. Without one of them nothing here
//! changes anything.

use seatrial_raft::{Entry, Persist};
use seatrial_store::{Backend, Failure, Store};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::request::{RangeRequest, RangeResponse};
use seatrial_types::{LogIndex, Revision, Term};
use std::collections::BTreeMap;

/// So many entries a cache keeps.
const CACHED_MAX: usize = 1000;

/// See the single bugs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// R46: the end of the log as it was written.
    written: LogIndex,
    /// R48: what was written lately.
    cache: BTreeMap<LogIndex, Entry>,
}

impl State {
    /// What is about to be written, as a planted bug has it.
    pub(super) fn spoil(&mut self, persist: &mut Persist, term: Term) {
        let entries = &mut persist.entries;
        if is_planted(Planted::R45) {
            entries.iter_mut().for_each(|entry| entry.term = term);
        }
        if is_planted(Planted::R46) {
            entries.retain(|entry| entry.index > self.written);
            self.written = entries.last().map_or(self.written, |entry| entry.index);
        }
        if is_planted(Planted::R48) {
            for entry in entries.iter() {
                self.cache.entry(entry.index).or_insert_with(|| entry.clone());
            }
            while self.cache.len() > CACHED_MAX {
                self.cache.pop_first();
            }
        }
    }

    /// What is about to be applied, as a planted bug has it.
    pub(super) fn stale(&mut self, committed: Vec<Entry>) -> Vec<Entry> {
        if !is_planted(Planted::R48) {
            return committed;
        }
        committed.into_iter().map(|entry| self.cache.remove(&entry.index).unwrap_or(entry)).collect()
    }
}

/// A read of a member's own state, as a planted bug has it.
pub(super) fn own_read<B: Backend>(
    store: &Store<B>,
    mut range: RangeRequest,
) -> Result<RangeResponse, Failure> {
    if !is_planted(Planted::V01) && !is_planted(Planted::V02) {
        return store.range(&range);
    }
    let before = RangeRequest { revision: Revision(store.revision().0 - 1), ..range.clone() };
    let is_newest = range.revision.0 <= 0 && before.revision.0 > 0;
    if is_planted(Planted::V01) && is_newest {
        range = before;
    } else if is_planted(Planted::V02) && is_newest {
        let (mut newest, old) = (store.range(&range)?, store.range(&before)?);
        let half = newest.kvs.len() / 2;
        for kv in &mut newest.kvs[..half] {
            if let Some(was) = old.kvs.iter().find(|was| was.key == kv.key) {
                kv.clone_from(was);
            }
        }
        return Ok(newest);
    }
    store.range(&range)
}
