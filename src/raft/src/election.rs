//! Elections: pre-vote, vote, leader lease, quorum check, handing over (Raft §5.2, §5.4.1; thesis §3.10,
//! §4.2.3, §6.2, §9.6).

use crate::error::{StepError, TransferError};
use crate::message::{Body, Payload};
use crate::progress::{Progress, ProgressState};
use crate::quorum::{VoteResult, joint_vote};
use crate::raft::Raft;
use crate::ready::{Role, Timer};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::{LogIndex, MemberId, Term};
use std::time::Duration;

impl Raft {
    /// Campaigns now, beginning with a pre-vote, where this member may and does not lead.
    pub fn campaign(&mut self) {
        if self.role != Role::Leader && self.is_promotable() {
            self.begin_pre_vote();
        }
    }

    /// Hands the leadership to `to`, once it has everything (thesis §3.10). Meanwhile proposals are
    /// refused; the attempt ends with the next quorum check. Nothing happens where `to` is this member.
    pub fn transfer_leadership(&mut self, to: MemberId) -> Result<(), TransferError> {
        if self.role != Role::Leader {
            return Err(TransferError::NotLeader { term: self.term, leader: self.leader });
        }
        if !self.config().is_voter(to) {
            return Err(TransferError::NotVoter { to });
        }
        if to == self.options.id || self.transfer == Some(to) {
            return Ok(());
        }
        if self.transfer.is_none() {
            // The attempt gets a whole election timeout. Another one while this runs does not get its
            // own, so that a stream of requests cannot put off the quorum check for ever.
            self.set_quorum_check();
        }
        self.transfer = Some(to);
        self.finish_transfer(to);
        Ok(())
    }

    /// The process of `member` closed its connection: it is gone, not merely slow. Where it leads, a
    /// campaign follows at once. Others judge for themselves: their leases and votes are untouched.
    pub fn peer_reset(&mut self, member: MemberId) {
        self.peer_unreachable(member);
        if self.role != Role::Follower || self.leader != member || member == MemberId::NONE {
            return;
        }
        self.forget_leader();
        if self.is_promotable() {
            self.out.cancel(Timer::LeaderSilent);
            self.out.set(Timer::Campaign, Duration::ZERO, self.options.heartbeat_interval);
        }
    }

    /// Whether this member may campaign: it votes in a configuration that may be in force, its disk is
    /// whole, and no snapshot is just being installed.
    ///
    /// The newest configuration is not enough: a member that has the entry of its own removal may be the
    /// only one which has it. If it did not campaign, nobody could win (thesis §4.2.2).
    #[must_use]
    pub fn is_promotable(&self) -> bool {
        let id = self.options.id;
        self.may_vote()
            && !self.receiving.as_ref().is_some_and(|receiving| receiving.installing)
            && (self.log.configs_from(self.commit).any(|config| config.is_voter(id))
                || is_planted(Planted::R14))
    }

    /// Who has forgotten what it acknowledged might help to elect a leader that lacks it (Protocol-Aware Recovery).
    fn may_vote(&self) -> bool {
        self.lost.is_none() || is_planted(Planted::R44)
    }

    pub(crate) fn is_only_voter(&self) -> bool {
        self.config().all_voters().eq([self.options.id])
    }

    /// A leader is alive as far as this member knows; it helps nobody to depose it (thesis §4.2.3).
    pub(crate) fn has_leader_lease(&self) -> bool {
        (self.role == Role::Leader || self.heard) && !is_planted(Planted::R23)
    }

    /// Waits an election timeout for a leader; then a campaign may follow.
    pub(crate) fn wait_for_leader(&mut self) {
        let timeout = self.options.election_timeout;
        self.out.cancel(Timer::Campaign);
        self.out.set(Timer::LeaderSilent, timeout, timeout);
    }

    fn forget_leader(&mut self) {
        self.heard = false;
        self.leader = MemberId::NONE;
        self.drop_reads();
    }

    pub(crate) fn on_leader_silent(&mut self) {
        if !is_planted(Planted::R20) {
            self.forget_leader();
        }
        if self.is_promotable() {
            self.out.set(Timer::Campaign, Duration::ZERO, self.options.election_timeout);
        } else {
            self.wait_for_leader();
        }
    }

    pub(crate) fn on_campaign(&mut self) {
        if self.is_promotable() {
            self.begin_pre_vote();
        } else {
            self.become_follower(self.term, MemberId::NONE);
            self.wait_for_leader();
        }
    }

    pub(crate) fn on_timeout_now(&mut self, from: MemberId) {
        // Straight to the election: the leader itself wants it, so nobody need be asked beforehand.
        if self.role == Role::Follower && from != self.options.id && self.is_promotable() {
            self.begin_election(true);
        }
    }

    fn set_campaign_retry(&mut self) {
        let timeout = self.options.election_timeout;
        self.out.cancel(Timer::LeaderSilent);
        self.out.set(Timer::Campaign, timeout, timeout * 2);
    }

    fn other_voters(&self) -> Vec<MemberId> {
        let id = self.options.id;
        self.config().all_voters().filter(|voter| *voter != id).collect()
    }

    fn begin_pre_vote(&mut self) {
        if is_planted(Planted::R23) {
            return self.begin_election(false);
        }
        if !is_planted(Planted::R20) {
            self.forget_leader();
        }
        self.role = Role::PreCandidate;
        self.votes.clear();
        self.votes.insert(self.options.id, true);
        self.set_campaign_retry();
        let (last_index, last_term) = (self.log.last_index(), self.log.last_term());
        let term = self.term.next();
        for to in self.other_voters() {
            self.send_in(term, to, Body::PreVote { last_index, last_term });
        }
        self.count_votes();
    }

    fn begin_election(&mut self, transfer: bool) {
        self.forget_leader();
        self.role = Role::Candidate;
        self.term = self.term.next();
        self.vote = self.options.id;
        self.votes.clear();
        self.set_campaign_retry();
        let (last_index, last_term) = (self.log.last_index(), self.log.last_term());
        // The request waits for the disk, not only the own vote: it promises a log and a term. Were both
        // forgotten in a crash, a late "yes" would count in a second campaign for the same term, made
        // with a shorter log than the voter had looked at.
        for to in self.other_voters() {
            self.send_after(to, Body::Vote { last_index, last_term, transfer });
        }
    }

    /// The own vote counts when it is durable, like any other.
    pub(crate) fn count_own_vote(&mut self) {
        let durable = self.persistence.durable();
        if durable.term == self.term && durable.vote == self.options.id {
            self.votes.insert(self.options.id, true);
            self.count_votes();
        }
    }

    fn count_votes(&mut self) {
        let result = joint_vote(self.config(), |voter| self.votes.get(&voter).copied());
        match (result, self.role) {
            (VoteResult::Won, Role::PreCandidate) => self.begin_election(false),
            (VoteResult::Won, Role::Candidate) => self.become_leader(),
            (VoteResult::Lost, _) => self.become_follower(self.term, MemberId::NONE),
            (VoteResult::Pending, _) => {}
            (VoteResult::Won, role) => panic!("{role:?} won an election of term {}", self.term),
        }
    }

    pub(crate) fn on_pre_vote(&mut self, from: MemberId, term: Term, last_index: LogIndex, last_term: Term) {
        let free = term > self.term
            || self.vote == from
            || (self.vote == MemberId::NONE && self.leader == MemberId::NONE);
        let granted = free && self.may_vote() && self.log.is_covered_by(last_index, last_term);
        // A "yes" speaks of the term asked for, which is not ours yet; a "no" tells our own.
        let answer_term = if granted { term } else { self.term };
        self.send_in(answer_term, from, Body::PreVoteAnswer { granted });
    }

    pub(crate) fn on_pre_vote_answer(&mut self, from: MemberId, term: Term, granted: bool) {
        let asked = if granted { self.term.next() } else { self.term };
        if self.role == Role::PreCandidate && term == asked {
            self.votes.entry(from).or_insert(granted);
            self.count_votes();
        }
    }

    pub(crate) fn on_vote(&mut self, from: MemberId, last_index: LogIndex, last_term: Term) {
        let free = self.vote == from || (self.vote == MemberId::NONE && self.leader == MemberId::NONE);
        let granted = free
            && self.role != Role::Leader
            && self.may_vote()
            && self.log.is_covered_by(last_index, last_term);
        if granted {
            self.vote = from;
            if is_planted(Planted::R42) {
                self.leader = from;
            }
            // Raft §5.2: a candidate that gets our vote gets the time to win, too.
            self.wait_for_leader();
        }
        // The vote is durable before the answer leaves: a member which forgot its vote could vote twice
        // in one term and elect two leaders (Raft §5.2).
        if is_planted(Planted::R02) {
            self.send(from, Body::VoteAnswer { granted });
        } else {
            self.send_after(from, Body::VoteAnswer { granted });
        }
    }

    pub(crate) fn on_vote_answer(&mut self, from: MemberId, granted: bool) {
        if self.role == Role::Candidate {
            self.votes.entry(from).or_insert(granted);
            self.count_votes();
        }
    }

    /// Follows `leader`, or nobody yet, in `term`.
    pub(crate) fn become_follower(&mut self, term: Term, leader: MemberId) {
        assert!(term >= self.term, "term {} cannot fall to {term}", self.term);
        if term > self.term || leader != self.leader || self.role == Role::Leader {
            self.drop_reads();
        }
        if term > self.term {
            self.term = term;
            self.vote = MemberId::NONE;
        }
        let was = std::mem::replace(&mut self.role, Role::Follower);
        self.leader = leader;
        self.heard = leader != MemberId::NONE;
        self.votes.clear();
        self.progress.clear();
        self.uncommitted_bytes = 0;
        self.transfer = None;
        self.out.cancel(Timer::Heartbeat);
        self.out.cancel(Timer::QuorumCheck);
        // Without a leader, a follower's timers run on: a newer term alone is no sign of life.
        if self.heard || was != Role::Follower {
            self.wait_for_leader();
        }
    }

    /// The sender leads this term; a second leader of one term is an error.
    pub(crate) fn hear_leader(&mut self, from: MemberId) -> Result<(), StepError> {
        if self.leader != MemberId::NONE && self.leader != from {
            return Err(StepError::TwoLeaders { term: self.term, leader: self.leader, other: from });
        }
        if self.role == Role::Follower && self.leader == from {
            self.heard = true;
            self.wait_for_leader();
        } else {
            self.become_follower(self.term, from);
        }
        Ok(())
    }

    fn become_leader(&mut self) {
        let id = self.options.id;
        assert!(self.role == Role::Candidate, "{:?} {id} cannot lead term {}", self.role, self.term);
        self.role = Role::Leader;
        self.leader = id;
        self.votes.clear();
        self.reads.begin_term();
        let next = self.log.last_index().next();
        self.progress = self
            .config()
            .members()
            .filter(|member| *member != id)
            .map(|member| (member, Progress::new(next)))
            .collect();
        let last = self.log.last_index();
        if self.commit < last {
            let uncommitted = self.log.range(self.commit.next(), last);
            self.uncommitted_bytes = uncommitted.map(|entry| entry.payload.bytes()).sum();
        }
        self.out.cancel(Timer::LeaderSilent);
        self.out.cancel(Timer::Campaign);
        let interval = self.options.heartbeat_interval;
        self.out.set(Timer::Heartbeat, interval, interval);
        self.set_quorum_check();
        // Only an entry of its own term lets a leader know what is committed (Raft §5.4.2, §8).
        self.append(Payload::Noop);
    }

    fn set_quorum_check(&mut self) {
        let timeout = self.options.election_timeout;
        self.out.set(Timer::QuorumCheck, timeout, timeout);
    }

    /// A leader that no quorum answers any more steps down, lest its clients wait for ever (thesis §6.2).
    pub(crate) fn on_quorum_check(&mut self) {
        let id = self.options.id;
        let result = joint_vote(self.config(), |voter| {
            Some(voter == id || self.progress.get(&voter).is_some_and(|progress| progress.active))
        });
        self.transfer = None;
        let silent = self.progress.iter().any(|(member, progress)| *member != id && !progress.active);
        let hears_too_few = result != VoteResult::Won && !is_planted(Planted::R23);
        if hears_too_few || (is_planted(Planted::R40) && silent) {
            self.become_follower(self.term, MemberId::NONE);
            return;
        }
        for progress in self.progress.values_mut() {
            progress.active = false;
        }
        self.set_quorum_check();
    }

    /// Tells the chosen successor to campaign, once it has the whole log.
    pub(crate) fn finish_transfer(&mut self, from: MemberId) {
        if self.transfer != Some(from) {
            return;
        }
        let last = self.log.last_index();
        if self.progress.get(&from).is_some_and(|progress| progress.matched == last) {
            self.send(from, Body::TimeoutNow);
        }
    }

    /// The committed configuration has no place for this leader: the others hear of it, the best of them
    /// is asked to take over, and it steps down (thesis §4.2.2).
    pub(crate) fn step_down_removed(&mut self) {
        self.replicate();
        let best = self
            .config()
            .voters
            .iter()
            .filter_map(|voter| self.progress.get(voter).map(|progress| (progress, *voter)))
            .filter(|(progress, _)| progress.state == ProgressState::Replicate)
            .max_by_key(|(progress, voter)| (progress.matched, std::cmp::Reverse(*voter)));
        if let Some((_, successor)) = best {
            self.send(successor, Body::TimeoutNow);
        }
        self.become_follower(self.term, MemberId::NONE);
    }
}
