//! The participant: its state, its inputs, and what can be asked about it. The rules themselves stand in
//! `election`, `replication`, `follower`, `reads`.

use crate::error::StepError;
use crate::log::Log;
use crate::message::{Body, Config, Entry, HardState, Message, ReadId, SnapshotMeta};
use crate::options::{Options, Restored};
use crate::outbox::{Outbox, Persistence};
use crate::progress::Progress;
use crate::reads::Reads;
use crate::ready::{PersistId, Ready, Role, SoftState, Timer};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::{LogIndex, MemberId, Term};
use std::collections::BTreeMap;

/// One Raft participant as a pure state machine (Raft §5-8, thesis §3-4, §6.4, §9.6, §10.2.1).
///
/// Knows nothing of sockets, files, clocks or randomness: it asks for a timer with a range, the driver
/// draws within it and calls [`Raft::fire`]. After every input, or after a batch of them, the driver
/// takes [`Raft::ready`] and does what is written there, in the order written there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Raft {
    pub(crate) options: Options,
    pub(crate) term: Term,
    pub(crate) vote: MemberId,
    pub(crate) leader: MemberId,
    pub(crate) role: Role,
    /// The leader lease for votes: a leader of this term was heard since `LeaderSilent` last fired.
    /// Invariant: only while `leader` is known and this is a follower.
    pub(crate) heard: bool,
    pub(crate) log: Log,
    pub(crate) commit: LogIndex,
    /// Up to here committed entries were handed out. Invariant: `applied <= delivered <= commit`.
    pub(crate) delivered: LogIndex,
    pub(crate) applied: LogIndex,
    pub(crate) lost: Option<Lost>,
    /// Answers to the campaign under way.
    pub(crate) votes: BTreeMap<MemberId, bool>,
    /// The followers, while this member leads: everybody in the configuration but itself, and who is
    /// just being removed, so that it hears of it.
    pub(crate) progress: BTreeMap<MemberId, Progress>,
    /// Bytes of the entries beyond `commit`, while this member leads.
    pub(crate) uncommitted_bytes: usize,
    pub(crate) transfer: Option<MemberId>,
    pub(crate) reads: Reads,
    pub(crate) receiving: Option<Receiving>,
    pub(crate) persistence: Persistence,
    pub(crate) out: Outbox,
}

/// The disk lost entries this member had acknowledged; see [`Restored::lost_up_to`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lost {
    pub(crate) up_to: LogIndex,
    pub(crate) term: Term,
}

/// A snapshot on its way to this member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Receiving {
    /// Who sends it, in which term: another leader's bytes need not be the same.
    pub(crate) from: MemberId,
    pub(crate) term: Term,
    pub(crate) meta: SnapshotMeta,
    /// The next byte wanted.
    pub(crate) offset: u64,
    /// It is complete; the driver makes it durable. Until then log and commit stand still.
    pub(crate) installing: bool,
}

impl Raft {
    /// A member as it comes back from its disk (or begins with [`Restored::fresh`]): a follower that
    /// waits for a leader. The only voter of its configuration campaigns at once.
    ///
    /// Panics where `restored` contradicts itself: entries that do not follow the snapshot, or a state
    /// machine ahead of the log. The driver makes the state machine durable only behind the log.
    #[must_use]
    pub fn new(options: Options, restored: Restored) -> Self {
        let Restored { hard_state, snapshot, entries, applied, lost_up_to } = restored;
        let base = snapshot.index;
        let log = Log::restored(snapshot, entries);
        assert!(options.id != MemberId::NONE, "a member has an id other than 0");
        assert!(applied >= base, "applied {applied} below the snapshot at {base}");
        let last = log.last_index();
        assert!(applied <= last, "the state machine is at {applied}, but the log ends at {last}");
        // The commit index on disk is a hint, which may stand beyond entries the disk has lost.
        let commit = hard_state.commit.min(last).max(applied);
        // A snapshot tells of terms, too: the hard state may have been lost with the log's tail.
        let term = hard_state.term.max(log.last_term());
        let vote = if term == hard_state.term { hard_state.vote } else { MemberId::NONE };
        let known = HardState { term, vote, commit };
        let mut raft = Self {
            term,
            vote,
            leader: MemberId::NONE,
            role: Role::Follower,
            heard: false,
            commit,
            delivered: applied,
            applied,
            lost: lost_up_to.filter(|up_to| *up_to > commit).map(|up_to| Lost { up_to, term }),
            votes: BTreeMap::new(),
            progress: BTreeMap::new(),
            uncommitted_bytes: 0,
            transfer: None,
            reads: Reads::default(),
            receiving: None,
            persistence: Persistence::new(known),
            out: Outbox::new(SoftState { leader: MemberId::NONE, term, role: Role::Follower }),
            log,
            options,
        };
        if raft.is_only_voter() {
            raft.out.set(Timer::Campaign, std::time::Duration::ZERO, std::time::Duration::ZERO);
        } else {
            raft.wait_for_leader();
        }
        raft
    }

    /// Takes one message. An error leaves everything as if the message had been lost, apart from the
    /// term and the word of the leader, which count as heard.
    pub fn step(&mut self, message: Message) -> Result<(), StepError> {
        let Message { from, to, term, body } = message;
        let here = self.options.id;
        if to != here || from == here || from == MemberId::NONE {
            return Err(StepError::Misdirected { from, to, here });
        }
        if term > self.term {
            match &body {
                // Nobody's state changes by a pre-vote; the answer below depends on our own term.
                Body::PreVote { .. } if self.has_leader_lease() => return Ok(()),
                // The leader lease: a member which hears the leader helps nobody to depose it, and does
                // not even learn the term (thesis §4.2.3). A transfer is the leader's own wish.
                Body::Vote { transfer: false, .. } if self.has_leader_lease() => return Ok(()),
                Body::PreVote { .. } | Body::PreVoteAnswer { granted: true } => {}
                Body::Append { .. }
                | Body::Heartbeat { .. }
                | Body::Snapshot { .. }
                | Body::TimeoutNow
                | Body::ReadIndexAnswer { .. } => self.become_follower(term, from),
                _ => self.become_follower(term, MemberId::NONE),
            }
        } else if term < self.term {
            self.answer_old_term(from, &body);
            return Ok(());
        }
        self.step_here(from, term, body)
    }

    /// A message of this term (or a pre-vote of a later one).
    fn step_here(&mut self, from: MemberId, term: Term, body: Body) -> Result<(), StepError> {
        match body {
            Body::PreVote { last_index, last_term } => self.on_pre_vote(from, term, last_index, last_term),
            Body::PreVoteAnswer { granted } => self.on_pre_vote_answer(from, term, granted),
            Body::Vote { last_index, last_term, .. } => self.on_vote(from, last_index, last_term),
            Body::VoteAnswer { granted } => self.on_vote_answer(from, granted),
            Body::Append { prev_index, prev_term, entries, commit } => {
                check_entries(from, term, prev_index, prev_term, &entries)?;
                self.hear_leader(from)?;
                self.on_append(from, prev_index, prev_term, entries, commit);
            }
            Body::Heartbeat { commit, round } => {
                self.hear_leader(from)?;
                self.on_heartbeat(from, commit, round)?;
            }
            Body::Snapshot { meta, offset, data, done } => {
                self.hear_leader(from)?;
                self.on_snapshot(from, meta, offset, data, done);
            }
            Body::AppendAccepted { matched } => self.on_append_accepted(from, matched)?,
            Body::AppendRejected { rejected, hint_index, hint_term } => {
                self.on_append_rejected(from, rejected, hint_index, hint_term);
            }
            Body::HeartbeatAnswer { round } => self.on_heartbeat_answer(from, round),
            Body::SnapshotAnswer { index, offset, installed } => {
                self.on_snapshot_answer(from, index, offset, installed);
            }
            Body::TimeoutNow => self.on_timeout_now(from),
            Body::Propose { data } => {
                // A follower does not forward what was forwarded: two members that take each other for
                // the leader would play ball.
                let result =
                    if self.role == Role::Leader { self.propose(data) } else { Err(self.no_leader()) };
                result.map_err(|error| StepError::Refused { from, error })?;
            }
            Body::ProposeConfig { change } => {
                let result = if self.role == Role::Leader {
                    self.propose_config(change)
                } else {
                    Err(self.no_leader())
                };
                result.map_err(|error| StepError::Refused { from, error })?;
            }
            Body::ReadIndex { id } => self.on_read_index(from, id),
            Body::ReadIndexAnswer { id, index } => self.on_read_index_answer(from, id, index),
        }
        Ok(())
    }

    /// Tells a member of an older term of ours, so that neither waits for the other for ever: a leader
    /// behind our term can serve us only once it has stepped down, and a candidate behind our term with
    /// the better log wins only once it has caught up (etcd issue 8243).
    fn answer_old_term(&mut self, from: MemberId, body: &Body) {
        if is_planted(Planted::R18) {
            return;
        }
        match body {
            Body::PreVote { .. } => self.send(from, Body::PreVoteAnswer { granted: false }),
            Body::Vote { .. } => self.send(from, Body::VoteAnswer { granted: false }),
            // Rounds count from 1: this one never confirms anything, should the old leader lead again in
            // just our term when it arrives.
            Body::Append { .. } | Body::Heartbeat { .. } | Body::Snapshot { .. } => {
                self.send(from, Body::HeartbeatAnswer { round: 0 });
            }
            _ => {}
        }
    }

    /// A timer fired. One that was not set, or was cancelled meanwhile, is ignored.
    pub fn fire(&mut self, timer: Timer) {
        if !self.out.fired(timer) {
            return;
        }
        match timer {
            Timer::LeaderSilent => self.on_leader_silent(),
            Timer::Campaign => self.on_campaign(),
            Timer::Heartbeat => self.on_heartbeat_timer(),
            Timer::QuorumCheck => self.on_quorum_check(),
        }
    }

    /// Everything handed out up to and including `id` is durable. Panics where `id` was never handed out.
    pub fn persisted(&mut self, id: PersistId) {
        let Some(done) = self.persistence.done(id) else { return };
        if let Some(last) = done.last {
            self.log.mark_durable(last);
            self.end_repair();
        }
        match self.role {
            Role::Candidate => self.count_own_vote(),
            Role::Leader => self.advance_commit(),
            Role::Follower | Role::PreCandidate => {}
        }
    }

    /// The state machine is at `index`. Panics where it was not handed out, or falls back.
    pub fn applied(&mut self, index: LogIndex) {
        assert!(index >= self.applied, "applied {index} after {}", self.applied);
        assert!(index <= self.delivered, "applied {index}, but only {} was handed out", self.delivered);
        self.applied = index;
    }

    /// Drops the log up to `index`, which must be applied; a follower that needs what is dropped gets a
    /// snapshot. Entries not yet durable here stay (the log on disk must not begin beyond its end).
    /// Returns the last entry dropped so far. Panics where `index` is not applied.
    pub fn compact(&mut self, index: LogIndex) -> LogIndex {
        assert!(index <= self.applied, "compaction to {index}, but only {} is applied", self.applied);
        let index = index.min(self.log.durable());
        if index > self.log.base() {
            self.log.compact(index);
        }
        self.log.base()
    }

    /// What the entries of the log take in memory, about.
    #[must_use]
    pub fn log_bytes(&self) -> usize {
        self.log.bytes()
    }

    /// Up to where [`Self::compact`] would have to go for the log to take no more than `bytes_max`.
    #[must_use]
    pub fn log_excess(&self, bytes_max: usize) -> LogIndex {
        self.log.excess(bytes_max)
    }

    /// Everything to be done since the last call, or `None`.
    #[must_use]
    pub fn ready(&mut self) -> Option<Ready> {
        if self.role == Role::Leader {
            self.send_round();
            self.replicate();
        }
        let hard_state = self.hard_state();
        let persist = self.persistence.take(&mut self.log, hard_state);
        let committed: Vec<Entry> = if self.delivered < self.commit {
            self.log.range(self.delivered.next(), self.commit).cloned().collect()
        } else {
            Vec::new()
        };
        self.delivered = self.commit;
        let soft = SoftState { leader: self.leader, term: self.term, role: self.role };
        self.out.take(persist, committed, soft)
    }

    pub(crate) fn hard_state(&self) -> HardState {
        HardState { term: self.term, vote: self.vote, commit: self.commit }
    }

    /// A message that may leave at once.
    pub(crate) fn send(&mut self, to: MemberId, body: Body) {
        self.send_in(self.term, to, body);
    }

    /// As [`Self::send`], speaking of another term (pre-votes).
    pub(crate) fn send_in(&mut self, term: Term, to: MemberId, body: Body) {
        self.out.messages.push(Message { from: self.options.id, to, term, body });
    }

    /// A message that leaves only when everything until now is durable.
    pub(crate) fn send_after(&mut self, to: MemberId, body: Body) {
        self.out.messages_after.push(Message { from: self.options.id, to, term: self.term, body });
    }

    /// Raises the commit index; whether that was news.
    pub(crate) fn commit_to(&mut self, commit: LogIndex) -> bool {
        if commit <= self.commit {
            return false;
        }
        let last = self.log.last_index();
        assert!(commit <= last, "commit {commit} beyond the log's end {last}");
        if self.role == Role::Leader {
            let bytes: usize = self.log.range(self.commit.next(), commit).map(|e| e.payload.bytes()).sum();
            self.uncommitted_bytes -= bytes;
        }
        self.commit = commit;
        self.end_repair();
        true
    }

    /// What the disk had lost is there again, as far as it was committed: committed and durable up to
    /// where it was lost, or up to an entry of a newer term, whose leader had it all.
    pub(crate) fn end_repair(&mut self) {
        let Some(lost) = self.lost else { return };
        let known = self.commit.min(self.log.durable());
        if known >= lost.up_to || self.log.term(known).unwrap_or_default() > lost.term {
            self.lost = None;
        }
    }

    /// This member's id.
    #[must_use]
    pub fn id(&self) -> MemberId {
        self.options.id
    }

    /// The settings given at the start.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Its role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its term.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// Whom it voted for in its term, or [`MemberId::NONE`].
    #[must_use]
    pub fn vote(&self) -> MemberId {
        self.vote
    }

    /// The leader it knows, or [`MemberId::NONE`].
    #[must_use]
    pub fn leader(&self) -> MemberId {
        self.leader
    }

    /// The last entry it knows to be committed.
    #[must_use]
    pub fn commit(&self) -> LogIndex {
        self.commit
    }

    /// The last entry reported with [`Raft::applied`].
    #[must_use]
    pub fn applied_index(&self) -> LogIndex {
        self.applied
    }

    /// The last entry.
    #[must_use]
    pub fn last_index(&self) -> LogIndex {
        self.log.last_index()
    }

    /// The term of the last entry.
    #[must_use]
    pub fn last_term(&self) -> Term {
        self.log.last_term()
    }

    /// The first entry not compacted; one beyond [`Raft::last_index`] where the log is empty.
    #[must_use]
    pub fn first_index(&self) -> LogIndex {
        self.log.first_index()
    }

    /// The last entry that is durable here.
    #[must_use]
    pub fn durable_index(&self) -> LogIndex {
        self.log.durable()
    }

    /// The configuration in force: the newest in the log, committed or not (Raft §6).
    #[must_use]
    pub fn config(&self) -> &Config {
        self.log.config()
    }

    /// Every configuration in the log, oldest first, each with the entry that brought it; the first is the one in force
    /// where the log begins.
    pub fn configs(&self) -> impl Iterator<Item = (LogIndex, &Config)> + '_ {
        self.log.configs()
    }

    /// The entry that brought [`Raft::config`].
    #[must_use]
    pub fn config_index(&self) -> LogIndex {
        self.log.config_index()
    }

    /// Whether the configuration in force is not committed yet, as far as this member knows.
    #[must_use]
    pub fn is_config_pending(&self) -> bool {
        self.log.config_index() > self.commit
    }

    /// The followers, while this member leads; else empty. Who is being removed is among them until its
    /// removal is committed.
    #[must_use]
    pub fn progress(&self) -> &BTreeMap<MemberId, Progress> {
        &self.progress
    }

    /// To whom the leadership is being handed.
    #[must_use]
    pub fn transferring_to(&self) -> Option<MemberId> {
        self.transfer
    }

    /// Whether the disk lost something that is not repaired, durably, yet; see [`Restored::lost_up_to`].
    #[must_use]
    pub fn is_repairing(&self) -> bool {
        self.lost.is_some()
    }

    /// The term of an entry: `None` where it was compacted (but for the last compacted one) or is beyond
    /// the end.
    #[must_use]
    pub fn term_at(&self, index: LogIndex) -> Option<Term> {
        self.log.term(index)
    }

    /// The entry at `index`, where it is in the log.
    #[must_use]
    pub fn entry(&self, index: LogIndex) -> Option<&Entry> {
        self.log.entry(index)
    }

    /// What a snapshot of the state machine at `index` has to say of itself: `None` where that place is
    /// compacted or beyond the end.
    #[must_use]
    pub fn snapshot_meta_at(&self, index: LogIndex) -> Option<SnapshotMeta> {
        self.log.meta_at(index)
    }

    /// Where the log begins: the last compacted entry with the configuration there, as it belongs into
    /// [`Restored::snapshot`].
    #[must_use]
    pub fn log_start(&self) -> SnapshotMeta {
        self.log.meta_at(self.log.base()).expect("a log knows its start")
    }

    /// The reads that wait here, for this member's own callers.
    pub fn reads_waiting(&self) -> impl Iterator<Item = ReadId> + '_ {
        self.reads.own(self.options.id)
    }

    /// Asserts every invariant that one member can see by itself; linear in the length of its log.
    pub fn check(&self) {
        self.log.check();
        let last = self.log.last_index();
        assert!(self.applied <= self.delivered, "applied {} beyond {}", self.applied, self.delivered);
        assert!(self.delivered <= self.commit, "handed out {} beyond {}", self.delivered, self.commit);
        assert!(self.commit <= last, "commit {} beyond last {last}", self.commit);
        let base = self.log.base();
        assert!(base <= self.applied, "compacted {base}, but applied only {}", self.applied);
        let last_term = self.log.last_term();
        assert!(last_term <= self.term, "an entry of term {last_term} in term {}", self.term);
        assert!(
            !self.heard || (self.leader != MemberId::NONE && self.role == Role::Follower),
            "lease of leader {} as {:?}",
            self.leader,
            self.role
        );
        let id = self.options.id;
        match self.role {
            Role::Leader => {
                assert!(self.leader == id, "member {id} leads, but takes {} for the leader", self.leader);
                assert!(self.vote == id, "member {id} leads term {}, but voted for {}", self.term, self.vote);
                for member in self.config().members().filter(|member| *member != id) {
                    assert!(self.progress.contains_key(&member), "no progress of member {member}");
                }
                for progress in self.progress.values() {
                    progress.check(last, self.options.inflight_max);
                }
                let bytes: usize = if self.commit < last {
                    self.log.range(self.commit.next(), last).map(|entry| entry.payload.bytes()).sum()
                } else {
                    0
                };
                let counted = self.uncommitted_bytes;
                assert!(bytes == counted, "{bytes} bytes uncommitted, counted {counted}");
            }
            Role::Candidate | Role::PreCandidate => {
                assert!(self.leader == MemberId::NONE, "a candidate knows leader {}", self.leader);
                let own = self.role == Role::PreCandidate || self.vote == id;
                assert!(own, "candidate {id} voted for {}", self.vote);
            }
            Role::Follower => assert!(self.leader != id, "follower {id} takes itself for the leader"),
        }
        if self.role != Role::Leader {
            assert!(self.waits_for_leader(), "{:?} {id} waits for nothing", self.role);
            assert!(self.progress.is_empty(), "{:?} with progress", self.role);
            assert!(self.transfer.is_none(), "{:?} hands over the leadership", self.role);
        }
    }
}

/// Entries as they must be: consecutive, terms never falling nor beyond the sender's.
fn check_entries(
    from: MemberId,
    sender_term: Term,
    prev_index: LogIndex,
    prev_term: Term,
    entries: &[Entry],
) -> Result<(), StepError> {
    let (mut after, mut after_term) = (prev_index, prev_term);
    for Entry { index, term, .. } in entries {
        if *index != after.next() || *term < after_term || *term > sender_term {
            return Err(StepError::Entries { from, index: *index, term: *term, after, after_term });
        }
        (after, after_term) = (*index, *term);
    }
    Ok(())
}
