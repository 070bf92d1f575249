//! The write-ahead log as a value: what a crash would leave of it. For drivers without a disk (plain loops,
//! the model checker), which keep whole worlds as values.

use crate::member::{Durable, LogWrite};
use seatrial_raft::{Entry, HardState, PersistId, SnapshotMeta};

/// What is durable of a member's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LogImage {
    hard_state: HardState,
    start: Option<SnapshotMeta>,
    entries: Vec<Entry>,
}

impl LogImage {
    /// Makes one write durable; the id to report back, where there is one.
    ///
    /// # Panics
    /// Where entries leave a gap: a driver that lost or swapped writes.
    pub fn write(&mut self, write: &LogWrite) -> Option<PersistId> {
        match write {
            LogWrite::Append(persist) => {
                if let Some(hard_state) = persist.hard_state {
                    self.hard_state = hard_state;
                }
                if let Some(first) = persist.entries.first() {
                    let begin = self.start.as_ref().map_or(0, |start| start.index.0);
                    assert!(
                        first.index.0 > begin,
                        "entry {} lies before the log's start {begin}",
                        first.index
                    );
                    let keep = (first.index.0 - begin - 1) as usize;
                    assert!(keep <= self.entries.len(), "entry {} leaves a gap", first.index);
                    self.entries.truncate(keep);
                    self.entries.extend(persist.entries.iter().cloned());
                }
                Some(persist.id)
            }
            LogWrite::Release(meta) => {
                self.entries.retain(|entry| entry.index > meta.index);
                self.start = Some(meta.clone());
                None
            }
            LogWrite::Restart(meta) => {
                self.entries.clear();
                self.start = Some(meta.clone());
                None
            }
            LogWrite::Alone(entry, hard_state) => {
                self.hard_state = *hard_state;
                self.entries.push(entry.clone());
                None
            }
            LogWrite::ForgetLoss => None,
        }
    }

    /// What a start finds.
    #[must_use]
    pub fn durable(&self) -> Durable {
        Durable {
            hard_state: self.hard_state,
            start: self.start.clone(),
            entries: self.entries.clone(),
            lost_up_to: None,
            findings: Vec::new(),
        }
    }
}
