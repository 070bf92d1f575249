//! Linearizable reads without a log entry (ReadIndex, thesis §6.4).

use crate::error::ReadError;
use crate::message::{Body, ReadId};
use crate::quorum::{VoteResult, joint_value, joint_vote};
use crate::raft::Raft;
use crate::ready::{ReadReady, Role};
use crate::relabel::Label;
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::{LogIndex, MemberId};
use std::collections::{BTreeSet, VecDeque};

/// The reads that wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Reads {
    /// A leader's, which has not committed in its term yet: it does not know what is committed.
    waiting: Vec<(MemberId, ReadId)>,
    /// A leader's, which wait for a quorum to answer a round. Invariant: rounds never fall.
    asking: VecDeque<Asking>,
    /// A follower's own, which it passed to the leader.
    forwarded: BTreeSet<ReadId>,
    /// The last round of heartbeats sent in this term; the first is 1.
    round: u64,
    /// A new round is to be sent.
    round_wanted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Asking {
    from: MemberId,
    id: ReadId,
    /// The commit index when the read arrived.
    index: LogIndex,
    /// The first round that began after the read arrived: answers to this one or a later one prove that
    /// nobody else led when it arrived.
    round: u64,
}

impl Reads {
    /// Rounds count anew in each term; answers carry the term, so that they cannot be mixed up.
    pub(crate) fn begin_term(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn want_round(&mut self) {
        self.round_wanted = true;
    }

    /// See [`crate::Raft::relabelled`].
    pub(crate) fn relabel(&mut self, label: Label<'_>) {
        let (waiting, asking) = (self.waiting.iter_mut(), self.asking.iter_mut());
        for from in waiting.map(|(from, _)| from).chain(asking.map(|read| &mut read.from)) {
            *from = label(*from);
        }
    }

    pub(crate) fn own(&self, id: MemberId) -> impl Iterator<Item = ReadId> + '_ {
        let waiting = self.waiting.iter().filter(move |(from, _)| *from == id).map(|(_, read)| *read);
        let asking = self.asking.iter().filter(move |read| read.from == id).map(|read| read.id);
        waiting.chain(asking).chain(self.forwarded.iter().copied())
    }
}

impl Raft {
    /// Asks for the index a linearizable read has to wait for; the answer comes in
    /// [`crate::Ready::reads`], or the id in [`crate::Ready::reads_dropped`]. A follower passes the
    /// question to the leader, and where that message is lost neither comes: see [`Raft::forget_read`].
    /// `id` must not be used again, also not after a restart: late answers carry it.
    pub fn read_index(&mut self, id: ReadId) -> Result<(), ReadError> {
        if self.role == Role::Leader {
            self.lead_read(self.options.id, id);
        } else if self.leader == MemberId::NONE {
            return Err(ReadError::NoLeader { term: self.term });
        } else {
            self.reads.forwarded.insert(id);
            self.send(self.leader, Body::ReadIndex { id });
        }
        Ok(())
    }

    /// Nobody waits for this read any more.
    pub fn forget_read(&mut self, id: ReadId) {
        let own = self.options.id;
        self.reads.forwarded.remove(&id);
        self.reads.waiting.retain(|read| *read != (own, id));
        self.reads.asking.retain(|read| (read.from, read.id) != (own, id));
    }

    pub(crate) fn on_read_index(&mut self, from: MemberId, id: ReadId) {
        // Who does not lead need not answer: the asker hears of the new leader, and asks again.
        if self.role == Role::Leader {
            self.lead_read(from, id);
        }
    }

    pub(crate) fn on_read_index_answer(&mut self, from: MemberId, id: ReadId, index: LogIndex) {
        if from == self.leader && self.reads.forwarded.remove(&id) {
            self.out.reads.push(ReadReady { id, index });
        }
    }

    fn lead_read(&mut self, from: MemberId, id: ReadId) {
        // Before its first commit a leader's commit index may be behind what the last leader has
        // answered already (thesis §6.4, step 1).
        if !self.has_committed_in_term() && !is_planted(Planted::R25) {
            self.reads.waiting.push((from, id));
            return;
        }
        let index = self.commit;
        if is_planted(Planted::R27) {
            self.answer_read(from, id, index);
            return;
        }
        if is_planted(Planted::R30) && self.was_answered_lately() {
            self.answer_read(from, id, index);
            return;
        }
        // All reads until the next `ready` share one round.
        let round = self.reads.round + u64::from(!is_planted(Planted::R26));
        self.reads.asking.push_back(Asking { from, id, index, round });
        self.confirm_reads();
        self.reads.round_wanted |= !self.reads.asking.is_empty();
    }

    /// Whether a quorum has answered since the last quorum check. No proof that nobody else leads now: this member
    /// may have stood still since.
    fn was_answered_lately(&self) -> bool {
        let id = self.options.id;
        let active =
            |member| Some(member == id || self.progress.get(&member).is_some_and(|progress| progress.active));
        joint_vote(self.log.config(), active) == VoteResult::Won
    }

    /// The leader committed in its term: now it knows the index of those that waited for it.
    pub(crate) fn release_reads(&mut self) {
        for (from, id) in std::mem::take(&mut self.reads.waiting) {
            self.lead_read(from, id);
        }
    }

    /// Answers the reads whose round a quorum has answered.
    pub(crate) fn confirm_reads(&mut self) {
        if self.reads.asking.is_empty() {
            return;
        }
        let id = self.options.id;
        let confirmed = joint_value(self.log.config(), |member| {
            if member == id {
                Some(u64::MAX)
            } else {
                self.progress.get(&member).map(|progress| progress.acked_round)
            }
        });
        let confirmed = confirmed.unwrap_or(0);
        while self.reads.asking.front().is_some_and(|read| read.round <= confirmed) {
            let Some(read) = self.reads.asking.pop_front() else { break };
            self.answer_read(read.from, read.id, read.index);
        }
    }

    fn answer_read(&mut self, from: MemberId, id: ReadId, index: LogIndex) {
        if from == self.options.id {
            self.out.reads.push(ReadReady { id, index });
        } else {
            self.send(from, Body::ReadIndexAnswer { id, index });
        }
    }

    /// The leadership or the leader is gone, and with it the reads that relied on it.
    pub(crate) fn drop_reads(&mut self) {
        let dropped: Vec<ReadId> = self.reads.own(self.options.id).collect();
        self.out.reads_dropped.extend(dropped);
        self.reads = Reads::default();
    }

    /// Sends the heartbeats of a new round, where one is wanted.
    pub(crate) fn send_round(&mut self) {
        if !std::mem::take(&mut self.reads.round_wanted) {
            return;
        }
        self.reads.round += 1;
        let round = self.reads.round;
        let beats: Vec<(MemberId, LogIndex)> =
            self.progress.iter().map(|(to, progress)| (*to, progress.matched.min(self.commit))).collect();
        for (to, commit) in beats {
            self.send(to, Body::Heartbeat { commit, round });
        }
    }
}
