//! The follower's side: appends, heartbeats, snapshots coming in (Raft §5.3, §7).

use crate::error::StepError;
use crate::message::{Body, Entry, SnapshotMeta};
use crate::raft::{Raft, Receiving};
use crate::ready::{ChunkReceived, Timer};
use bytes::Bytes;
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::{LogIndex, MemberId, Term};

impl Raft {
    /// The snapshot `meta`, complete since a [`ChunkReceived`] with `done`, is durable, and the state
    /// machine is there. The log is replaced by it, and the leader is told. Panics where no such snapshot
    /// was complete.
    pub fn snapshot_installed(&mut self, meta: SnapshotMeta) {
        let receiving = self.receiving.take();
        let awaited =
            receiving.as_ref().filter(|receiving| receiving.installing).map(|receiving| &receiving.meta);
        assert!(awaited == Some(&meta), "snapshot {meta:?} installed, but {receiving:?} was awaited");
        let index = meta.index;
        assert!(index > self.commit, "snapshot at {index} installed, but commit is {}", self.commit);
        self.log.replace(meta);
        self.persistence.replaced();
        (self.commit, self.delivered, self.applied) = (index, index, index);
        self.end_repair();
        if self.leader != MemberId::NONE {
            self.send_after(self.leader, Body::SnapshotAnswer { index, offset: 0, installed: true });
        }
    }

    /// The snapshot `meta`, complete or not, could not be taken (damaged on its way, say): it is thrown away
    /// and asked for anew. Nothing happens where it is not on its way any more.
    pub fn snapshot_refused(&mut self, meta: &SnapshotMeta) {
        if self.receiving.as_ref().is_some_and(|receiving| receiving.meta == *meta) {
            self.receiving = None;
        }
    }

    pub(crate) fn on_append(
        &mut self,
        from: MemberId,
        prev_index: LogIndex,
        prev_term: Term,
        entries: Vec<Entry>,
        commit: LogIndex,
    ) {
        if self.is_installing() {
            // The log is about to be replaced; to have lost this message is always safe.
            return;
        }
        if prev_index < self.commit {
            // An old message: up to the commit index all logs agree, nothing here is news.
            self.send_after(from, Body::AppendAccepted { matched: self.commit });
            return;
        }
        if !self.log.matches(prev_index, prev_term) {
            let (hint_index, hint_term) =
                self.log.agreement_guess(prev_index.min(self.log.last_index()), prev_term);
            let hint_term = hint_term.unwrap_or_default();
            self.send(from, Body::AppendRejected { rejected: prev_index, hint_index, hint_term });
            return;
        }
        let matched = LogIndex(prev_index.0 + entries.len() as u64);
        if is_planted(Planted::R05) && prev_index < self.log.last_index() {
            self.truncate(prev_index.next());
        }
        for entry in entries {
            if self.log.matches(entry.index, entry.term) {
                continue;
            }
            // Only a conflict cuts the log: an old append, shorter than what came after it, must not take
            // back what was acknowledged since (Raft §5.3).
            if entry.index <= self.log.last_index() {
                self.truncate(entry.index);
            }
            self.log.push(entry);
        }
        self.commit_to(commit.min(matched));
        // Durable first: the leader counts this copy (Raft §5.3, figure 2 "before responding to RPCs").
        let accepted = Body::AppendAccepted { matched };
        if is_planted(Planted::R07) { self.send(from, accepted) } else { self.send_after(from, accepted) }
    }

    fn truncate(&mut self, from: LogIndex) {
        assert!(from > self.commit, "entry {from} is cut off, but commit is {}", self.commit);
        self.log.truncate(from);
        self.persistence.truncated(from);
    }

    pub(crate) fn on_heartbeat(
        &mut self,
        from: MemberId,
        commit: LogIndex,
        round: u64,
    ) -> Result<(), StepError> {
        // While the disk is repaired the leader may take us to hold what we have lost: only an append,
        // which compares, can tell us what is committed.
        if self.lost.is_none() && !self.is_installing() {
            let last = self.log.last_index();
            if commit > last {
                return Err(StepError::CommitBeyondLog { commit, last });
            }
            self.commit_to(commit);
        }
        self.send(from, Body::HeartbeatAnswer { round });
        Ok(())
    }

    fn is_installing(&self) -> bool {
        self.receiving.as_ref().is_some_and(|receiving| receiving.installing)
    }

    pub(crate) fn on_snapshot(
        &mut self,
        from: MemberId,
        meta: SnapshotMeta,
        offset: u64,
        data: Bytes,
        done: bool,
    ) {
        if self.is_installing() {
            return;
        }
        if meta.index <= self.commit || self.log.matches(meta.index, meta.term) {
            // It brings nothing that is not here; but it tells that so much is committed.
            self.receiving = None;
            self.commit_to(meta.index);
            self.send_after(from, Body::AppendAccepted { matched: self.commit });
            return;
        }
        let index = meta.index;
        let same = self.receiving.as_ref().is_some_and(|receiving| {
            let sender = (receiving.from, receiving.term) == (from, self.term);
            // One sender never goes back to an older snapshot within its term: that chunk is a late one.
            sender && (receiving.meta == meta || receiving.meta.index > index)
        });
        if !same {
            if offset != 0 {
                self.receiving = None;
                self.send(from, Body::SnapshotAnswer { index, offset: 0, installed: false });
                return;
            }
            self.receiving = Some(Receiving { from, term: self.term, meta, offset: 0, installing: false });
        }
        let Some(receiving) = &mut self.receiving else { return };
        if receiving.meta.index > index {
            return;
        }
        if offset == receiving.offset {
            receiving.offset += data.len() as u64;
            receiving.installing = done;
            let meta = receiving.meta.clone();
            self.out.chunks_received.push(ChunkReceived { from, meta, offset, data, done });
            if done {
                // The answer goes when it is installed.
                return;
            }
        }
        let offset = receiving.offset;
        self.send(from, Body::SnapshotAnswer { index, offset, installed: false });
    }

    /// Whether a timer runs that leads to a campaign, or to a look whether one is due.
    pub(crate) fn waits_for_leader(&self) -> bool {
        self.out.is_armed(Timer::LeaderSilent) || self.out.is_armed(Timer::Campaign)
    }
}
