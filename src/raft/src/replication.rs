//! The leader's side: proposals, appends, acknowledgements, commits, snapshots going out (Raft §5.3, §5.4,
//! §6, §7).

use crate::config::{changed, enter_joint, leave_joint};
use crate::error::{ProposeError, StepError};
use crate::message::{Body, Config, ConfigChange, ConfigEntry, Entry, Payload, SnapshotMeta};
use crate::progress::{Progress, ProgressState};
use crate::quorum::joint_value;
use crate::raft::Raft;
use crate::ready::{ChunkWanted, Role, Timer};
use bytes::Bytes;
use seatrial_types::buggify::{Site, hits};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::{LogIndex, MemberId, Term};

impl Raft {
    /// Wants `data` in the log, one entry each, in this order. A follower passes it to the leader, and
    /// nobody promises that it arrives.
    pub fn propose(&mut self, data: Vec<Bytes>) -> Result<(), ProposeError> {
        if self.role != Role::Leader {
            let to = self.known_leader()?;
            self.send(to, Body::Propose { data });
            return Ok(());
        }
        self.refuse_while_transferring()?;
        let more: usize = data.iter().map(Bytes::len).sum();
        let (uncommitted, max) = (self.uncommitted_bytes, self.options.uncommitted_bytes_max);
        // One proposal larger than the limit still gets through, alone; and nothing at all needs no room.
        if max > 0 && uncommitted > 0 && more > 0 && uncommitted + more > max {
            return Err(ProposeError::Full { uncommitted, more, max });
        }
        for data in data {
            self.append(Payload::Data(data));
        }
        if is_planted(Planted::R08) {
            self.advance_commit();
        }
        Ok(())
    }

    /// Wants another configuration: one change at a time, in force from the moment it is in the log
    /// (Raft §6). A follower passes it to the leader.
    pub fn propose_config(&mut self, change: ConfigChange) -> Result<(), ProposeError> {
        if self.role != Role::Leader {
            let to = self.known_leader()?;
            self.send(to, Body::ProposeConfig { change });
            return Ok(());
        }
        self.refuse_while_transferring()?;
        // Two leaders of two terms, each with a change of its own that the other does not know, could
        // form quorums that do not meet; an entry of the own term in between rules that out (the bug in
        // the thesis' single-server changes, found in 2015).
        if !self.has_committed_in_term() && !is_planted(Planted::R10) {
            return Err(ProposeError::TermNotCommitted { term: self.term });
        }
        let (index, commit) = (self.log.config_index(), self.commit);
        if index > commit || self.config().is_joint() {
            return Err(ProposeError::ConfigPending { index, commit });
        }
        let config = if self.options.joint_changes {
            enter_joint(self.config(), &change.steps, true)?
        } else {
            changed(self.config(), &change)?
        };
        self.append_config(config, change.context);
        Ok(())
    }

    /// The answer to a [`ChunkWanted`]: `data` stands at `offset` of a snapshot of the state at
    /// `meta.index`, and `done` says that it ends there. Panics where that state is not committed.
    pub fn snapshot_chunk(&mut self, to: MemberId, meta: SnapshotMeta, offset: u64, data: Bytes, done: bool) {
        assert!(meta.index <= self.commit, "snapshot at {}, but commit is {}", meta.index, self.commit);
        let Some(progress) = self.progress.get_mut(&to) else { return };
        let ProgressState::Snapshot { index, offset: wanted, asked } = &mut progress.state else { return };
        // An answer to an older question: the follower wants something else by now.
        if !*asked || *wanted != offset || index.is_some_and(|index| index != meta.index) {
            return;
        }
        (*index, *asked) = (Some(meta.index), false);
        progress.beats = 0;
        self.send(to, Body::Snapshot { meta, offset, data, done });
    }

    /// The answer to a [`ChunkWanted`] where there is no such snapshot (any more). It is tried again from
    /// the start when the follower answers a heartbeat.
    pub fn snapshot_unavailable(&mut self, to: MemberId) {
        let Some(progress) = self.progress.get_mut(&to) else { return };
        if matches!(progress.state, ProgressState::Snapshot { .. }) {
            progress.become_probe();
            progress.state = ProgressState::Probe { paused: true };
            progress.beats = 0;
        }
    }

    /// The connection to `member` broke: what was on its way may be lost, so ask where its log stands.
    pub fn peer_unreachable(&mut self, member: MemberId) {
        let Some(progress) = self.progress.get_mut(&member) else { return };
        if progress.state == ProgressState::Replicate {
            progress.become_probe();
        }
    }

    pub(crate) fn no_leader(&self) -> ProposeError {
        ProposeError::NoLeader { term: self.term }
    }

    fn known_leader(&self) -> Result<MemberId, ProposeError> {
        if self.leader == MemberId::NONE { Err(self.no_leader()) } else { Ok(self.leader) }
    }

    fn refuse_while_transferring(&self) -> Result<(), ProposeError> {
        match self.transfer {
            Some(to) => Err(ProposeError::Transferring { to }),
            None => Ok(()),
        }
    }

    /// Whether the leader knows what is committed (Raft §8).
    pub(crate) fn has_committed_in_term(&self) -> bool {
        self.log.term(self.commit) == Some(self.term)
    }

    pub(crate) fn append(&mut self, payload: Payload) {
        self.uncommitted_bytes += payload.bytes();
        self.log.push(Entry { term: self.term, index: self.log.last_index().next(), payload });
    }

    fn append_config(&mut self, config: Config, context: Bytes) {
        config.check();
        let next = self.log.last_index().next();
        for member in config.members().filter(|member| *member != self.options.id) {
            self.progress.entry(member).or_insert_with(|| Progress::new(next));
        }
        // Who is removed keeps its progress until the removal is committed, so that it learns of it and
        // does not campaign for ever.
        if self.transfer.is_some_and(|to| !config.is_voter(to)) {
            self.transfer = None;
        }
        self.append(Payload::Config(ConfigEntry { config, context }));
        // The quorum is another one from here on, and may be smaller.
        self.advance_commit();
        self.confirm_reads();
    }

    /// Commits what a quorum of the configuration in force holds durably (Raft §5.3, §5.4.2).
    pub(crate) fn advance_commit(&mut self) {
        if self.role != Role::Leader {
            return;
        }
        let id = self.options.id;
        // The own copy counts only once it is durable, like any other (thesis §10.2.1).
        let own = if is_planted(Planted::R08) { self.log.last_index() } else { self.log.durable() };
        let reached = joint_value(self.config(), |member| {
            if member == id { Some(own) } else { self.progress.get(&member).map(|progress| progress.matched) }
        });
        let Some(reached) = reached else { return };
        // Copies of an older term's entry prove nothing: a leader in between may still replace it. It is
        // committed by the first entry of this term behind it (Raft §5.4.2, figure 8).
        let own_term = self.log.term(reached) == Some(self.term) || is_planted(Planted::R01);
        if reached > self.commit && own_term && self.commit_to(reached) {
            self.on_commit();
        }
    }

    fn on_commit(&mut self) {
        if self.has_committed_in_term() {
            self.release_reads();
        }
        if self.log.config_index() > self.commit {
            return;
        }
        let (config, id) = (self.config(), self.options.id);
        if config.is_joint() {
            if config.auto_leave && self.has_committed_in_term() && !is_planted(Planted::R16) {
                let simple = leave_joint(config).expect("a joint configuration can be left");
                self.append_config(simple, Bytes::new());
            }
            return;
        }
        if !config.is_voter(id) {
            self.step_down_removed();
        } else if self.progress.keys().any(|member| !self.config().contains(*member)) {
            // A last word to who was removed, then no more.
            self.replicate();
            let config = self.log.config();
            self.progress.retain(|member, _| config.contains(*member));
        }
    }

    /// Sends every follower what is due: entries, a commit index it has not heard of, a probe.
    pub(crate) fn replicate(&mut self) {
        let followers: Vec<MemberId> = self.progress.keys().copied().collect();
        for to in followers {
            while self.send_append(to) {}
        }
    }

    /// Sends one append, where one is due; whether it did.
    fn send_append(&mut self, to: MemberId) -> bool {
        let (last, commit) = (self.log.last_index(), self.commit);
        let Some(progress) = self.progress.get_mut(&to) else { return false };
        let full = progress.inflight.len() >= self.options.inflight_max.max(1);
        let due = match progress.state {
            ProgressState::Snapshot { .. } => false,
            ProgressState::Probe { paused } => !paused,
            ProgressState::Replicate => {
                progress.reprobe || (!full && (progress.next <= last || progress.commit_sent < commit))
            }
        };
        if !due {
            return false;
        }
        let prev_index = progress.next.prev();
        let Some(prev_term) = self.log.term(prev_index) else {
            // Nobody takes a snapshot for a member that does not answer: it would only grow old.
            if progress.active && !is_planted(Planted::R34) {
                progress.become_snapshot();
                progress.beats = 0;
                self.want_chunk(to, 0, None);
            }
            return false;
        };
        // One entry goes always, whatever it weighs.
        let bytes_max = if hits(Site::AppendOne) { 0 } else { self.options.append_bytes_max };
        let entries = if full { Vec::new() } else { self.log.batch(progress.next, bytes_max) };
        progress.reprobe = false;
        progress.commit_sent = commit;
        match (entries.last(), &mut progress.state) {
            (Some(entry), _) => progress.sent(entry.index),
            (None, ProgressState::Probe { paused }) => *paused = true,
            (None, _) => {}
        }
        if progress.state != ProgressState::Replicate {
            progress.beats = 0;
        }
        self.send(to, Body::Append { prev_index, prev_term, entries, commit });
        true
    }

    fn want_chunk(&mut self, to: MemberId, offset: u64, index: Option<LogIndex>) {
        let bytes_max = self.options.chunk_bytes;
        self.out.chunks_wanted.push(ChunkWanted { to, offset, index, bytes_max });
    }

    pub(crate) fn on_heartbeat_timer(&mut self) {
        let interval = self.options.heartbeat_interval;
        self.out.set(Timer::Heartbeat, interval, interval);
        self.reads.want_round();
        for progress in self.progress.values_mut() {
            progress.beats = progress.beats.saturating_add(1);
        }
    }

    pub(crate) fn on_append_accepted(&mut self, from: MemberId, matched: LogIndex) -> Result<(), StepError> {
        let (first, last) = (self.log.first_index(), self.log.last_index());
        let Some(progress) = self.progress.get_mut(&from) else { return Ok(()) };
        if matched > last {
            return Err(StepError::AckBeyondLog { from, matched, last });
        }
        progress.active = true;
        if progress.acknowledged(matched, first) {
            progress.beats = 0;
            self.advance_commit();
            self.finish_transfer(from);
        }
        Ok(())
    }

    pub(crate) fn on_append_rejected(
        &mut self,
        from: MemberId,
        rejected: LogIndex,
        hint_index: LogIndex,
        hint_term: Term,
    ) {
        let last = self.log.last_index();
        // Beyond the hint's term nothing of ours can agree with the follower's log there: whole terms are
        // skipped in one round (Raft §5.3).
        let hint_index = hint_index.min(last);
        let guess =
            if hint_term == Term(0) { hint_index } else { self.log.agreement_guess(hint_index, hint_term).0 };
        let Some(progress) = self.progress.get_mut(&from) else { return };
        progress.active = true;
        progress.rejected(rejected, guess);
    }

    pub(crate) fn on_heartbeat_answer(&mut self, from: MemberId, round: u64) {
        let last = self.log.last_index();
        let Some(progress) = self.progress.get_mut(&from) else { return };
        progress.active = true;
        progress.acked_round = progress.acked_round.max(round);
        // It lives and has said nothing of our appends for a heartbeat: something got lost on the way.
        match &mut progress.state {
            ProgressState::Probe { paused } if progress.beats > 0 => {
                (*paused, progress.beats) = (false, 0);
            }
            ProgressState::Replicate if progress.beats > 0 && progress.matched < last => {
                (progress.reprobe, progress.beats) = (true, 0);
            }
            // A chunk is large and may take longer than a small append.
            ProgressState::Snapshot { index, offset, asked: asked @ false } if progress.beats > 1 => {
                (*asked, progress.beats) = (true, 0);
                // As good as a new start, and a newer state is better.
                if *offset == 0 {
                    *index = None;
                }
                let (offset, index) = (*offset, *index);
                self.want_chunk(from, offset, index);
            }
            _ => {}
        }
        self.confirm_reads();
    }

    pub(crate) fn on_snapshot_answer(
        &mut self,
        from: MemberId,
        index: LogIndex,
        offset: u64,
        installed: bool,
    ) {
        let (first, last) = (self.log.first_index(), self.log.last_index());
        let Some(progress) = self.progress.get_mut(&from) else { return };
        progress.active = true;
        if installed {
            if index > last {
                return;
            }
            let news = progress.acknowledged(index, first);
            if news {
                self.advance_commit();
                self.finish_transfer(from);
            }
            return;
        }
        let ProgressState::Snapshot { index: known, offset: known_offset, asked } = &mut progress.state
        else {
            return;
        };
        if *known != Some(index) || *known_offset == offset {
            return;
        }
        (*known_offset, *asked, progress.beats) = (offset, true, 0);
        // It wants the beginning: it has nothing (left), and may as well get the newest state.
        if offset == 0 {
            *known = None;
        }
        let index = *known;
        self.want_chunk(from, offset, index);
    }
}
