//! One member as a value: Raft, store, cluster, waiting requests, reads on their way.
//!
//! [`Member::step`] takes one [`Input`]; [`Member::flush`] turns everything that has gathered into
//! [`Output`]s. Stepping many inputs before one flush is what batches: proposals become one append, reads
//! share one round, answers leave together. The value is a function of its inputs alone: a driver supplies
//! time, draws timers and carries out the outputs, be it an async loop, a test's plain loop or a model
//! checker.

mod alarms;
mod alone;
mod apply;
mod auth;
mod auto_compact;
mod boot;
mod changes;
mod client_snapshots;
mod figures;
mod hash_check;
mod io;
mod lease_checkpoints;
mod maintenance;
mod options;
mod planted;
mod reads;
mod requests;
mod snapshots;
mod standing;
mod v2;

pub use auto_compact::AutoCompaction;
pub(crate) use boot::CLUSTER_KEY;
pub use boot::{BootError, Durable, Rescue};
pub use figures::{Counts, Figures};
pub use io::{Input, LogWrite, Output, Timer};
pub use options::MemberOptions;
pub use requests::API_VERSION;

use crate::cluster::Cluster;
use crate::observation::Observation;
use crate::peer::{ForwardId, PeerBody, PeerMessage};
use crate::proposal::RequestId;
use bytes::Bytes;
use seatrial_raft::{PersistId, Raft, ReadId, Ready, Role, SoftState, TimerRequest};
use seatrial_store::{Backend, BackendError, BatchId, Import, Store};
use seatrial_types::buggify::{Site, hits};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::request::Header;
use seatrial_types::{Error, LeaseId, LogIndex, MemberId, Request, Response, Revision, Term};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Steps of background work done between two inputs; bounds how long a request waits behind it.
const BACKGROUND_BUDGET: usize = 1000;

/// While leases that are over wait for the log, the leader looks again after this time.
const LEASE_POLL: Duration = Duration::from_millis(50);

/// One member of the cluster. See the module's text.
///
/// `V` and `I` follow from the backend and are never given; they are parameters so that a member can be cloned,
/// compared and hashed exactly where its backend's parts can.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member<B: Backend, V = <B as Backend>::Snapshot, I = Import<B>> {
    options: MemberOptions,
    raft: Raft,
    store: Store<B>,
    cluster: Cluster,
    alarms: alarms::Alarms,
    /// When the alarm of the quota may be proposed (again).
    quota_alarm_due: Duration,
    /// Monotonic, as of the last input.
    now: Duration,
    soft: SoftState,
    outputs: Vec<Output<V>>,

    /// Messages that must not leave before this id is durable.
    held: VecDeque<(PersistId, Vec<seatrial_raft::Message>)>,
    persist_issued: PersistId,
    persist_durable: PersistId,
    /// The last index of each write on its way, for onlookers.
    durable_marks: VecDeque<(PersistId, LogIndex)>,

    /// Requests whose answer is owed, oldest first.
    waiting: BTreeMap<RequestId, Waiting>,
    /// Proposals not handed to Raft yet.
    proposals: Vec<(RequestId, Bytes)>,
    reads: reads::Reads,
    /// Requests sent to the leader.
    forwards: BTreeMap<ForwardId, RequestId>,
    /// When each peer last said something.
    heard: BTreeMap<MemberId, Duration>,
    /// Requests that only the leader can answer, while none is known.
    leaderless: BTreeSet<RequestId>,
    next_forward: u64,
    next_lease: u64,

    /// Leases whose end this leader has proposed, with the time after which it proposes again.
    revoking: BTreeMap<LeaseId, Duration>,
    /// The term in which the leases were given their time, so that it happens once per leadership.
    leases_led: bool,
    lease_timer: Option<Duration>,
    held_leases: lease_checkpoints::Held,
    hash_check: hash_check::HashCheck,
    v2: v2::Clock,
    standing: standing::Standing,

    checkpointed: LogIndex,
    /// Batches on their way to the disk, with the applied index each holds.
    sealed: VecDeque<(BatchId, LogIndex)>,
    applied_unsealed: u64,
    checkpoint_armed: bool,
    background_armed: bool,
    retry_armed: bool,
    request_timer: Option<Duration>,
    /// Physical compactions whose client waits.
    physical: Vec<RequestId>,
    defrag: maintenance::Defrag,
    snapshots: snapshots::Snapshots<V, I>,
    client_snapshots: client_snapshots::ClientSnapshots<V>,
    history: auto_compact::History,
    /// Whether this member's own name and addresses are in the cluster's table, or on their way.
    published: Published,
    tokens: auth::Tokens,
    /// The places of the configurations onlookers know of.
    configs_told: Vec<(LogIndex, Term)>,
    /// The log's note of lost entries is still on disk; taken back once Raft has them again.
    repairing: bool,
    stopped: bool,
    /// Only with a planted bug.
    planted: planted::State,
    tally: figures::Tally,
}

/// A request whose answer is owed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Waiting {
    deadline: Duration,
    /// Kept where it may have to be asked again.
    request: Option<Request>,
    /// It has left this member, so that its outcome is unknown where no answer comes.
    proposed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Published {
    No,
    /// Proposed; proposed again after this time.
    Until(Duration),
    Yes,
}

impl<B: Backend> Member<B> {
    /// The settings.
    #[must_use]
    pub fn options(&self) -> &MemberOptions {
        &self.options
    }

    /// This member's id.
    #[must_use]
    pub fn id(&self) -> MemberId {
        self.options.raft.id
    }

    /// The Raft core, to look at.
    #[must_use]
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// The store, to look at.
    #[must_use]
    pub fn store(&self) -> &Store<B> {
        &self.store
    }

    /// The cluster as this member has applied it.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Whether this member leads, as far as it knows.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.soft.role == Role::Leader
    }

    /// Takes one input. `now` is monotonic.
    ///
    /// # Panics
    /// Where an invariant is broken: better a stopped member than a wrong answer.
    pub fn step(&mut self, now: Duration, input: Input) {
        self.now = self.now.max(now);
        self.standing.began(self.now);
        if self.stopped {
            return;
        }
        match input {
            Input::Peer(message) => self.step_peer(message),
            Input::PeerUnreachable(peer) => {
                self.standing.failed(peer);
                self.raft.peer_unreachable(peer);
            }
            Input::PeerReset(peer) => self.raft.peer_reset(peer),
            Input::Timer(timer) => self.step_timer(timer),
            Input::Request { id, request } => self.step_request(id, request),
            // The hub makes a stream's place with its first request.
            Input::WatchOpen(_) => {}
            Input::Watch { stream, request } => self.step_watch(stream, request),
            Input::WatchCredit { stream, count } => {
                self.store.watch_credit(stream, u32::try_from(count).unwrap_or(u32::MAX));
            }
            Input::WatchClose(stream) => self.store.watch_close(stream),
            Input::V2Watch { id, watch } => self.step_v2_watch(id, watch),
            Input::V2Close(id) => self.store.v2_mut().close(id),
            Input::Persisted(id) => self.step_persisted(id),
            Input::Committed(batch) => self.step_committed(batch),
            Input::Defragmented(result) => self.step_defragmented(result),
            Input::Removed => self.removed(),
            Input::Stop => self.stop(),
        }
    }

    /// Turns what has gathered into outputs, in the order in which they are to be carried out.
    #[must_use]
    pub fn flush(&mut self) -> Vec<Output<B::Snapshot>> {
        if !self.stopped {
            self.submit_proposals();
            self.submit_reads();
            loop {
                while let Some(ready) = self.raft.ready() {
                    self.take_ready(ready);
                    // Applying may have freed reads or changed the configuration, which Raft hears of here.
                    self.submit_reads();
                }
                self.serve_reads();
                if !self.clear_checkpoints() {
                    break;
                }
            }
            if self.repairing && !self.raft.is_repairing() {
                self.repairing = false;
                self.output(Output::Log(LogWrite::ForgetLoss));
            }
            self.publish();
            self.admit_members();
            self.advance_watchers();
            self.arm_timers();
        }
        std::mem::take(&mut self.outputs)
    }

    fn header(&self) -> Header {
        Header {
            cluster_id: self.cluster.id,
            member_id: self.id(),
            revision: self.store.revision(),
            raft_term: self.raft.term(),
        }
    }

    /// What is said about members is said at no revision of the store, as etcd does.
    fn membership_header(&self) -> Header {
        Header { revision: Revision(0), ..self.header() }
    }

    fn output(&mut self, output: Output<B::Snapshot>) {
        self.outputs.push(output);
    }

    fn observe(&mut self, observation: Observation) {
        self.count_observed(&observation);
        self.outputs.push(Output::Observe(observation));
    }

    fn fatal(&mut self, why: String) {
        self.observe(Observation::Failed { why: why.clone() });
        self.output(Output::Fatal(why));
        self.stop();
    }

    fn stop(&mut self) {
        self.stopped = true;
        let defrag = self.defrag.take_all();
        for id in std::mem::take(&mut self.waiting).into_keys().chain(defrag) {
            self.outputs.push(Output::Answer { id, result: Err(Error::Stopped) });
        }
    }

    fn step_peer(&mut self, message: PeerMessage) {
        let from = message.from;
        if self.cluster.members.contains_key(&from) {
            self.heard.insert(from, self.now);
        }
        match message.body {
            PeerBody::Raft(message) => {
                self.standing.received(&message, self.now);
                // A message that Raft refuses (from a stranger, or not for us) changes nothing; a peer's
                // mistake must not stop this member.
                let _ = self.raft.step(message);
            }
            PeerBody::Forward { id, request } => self.step_forward(from, id, request),
            PeerBody::Change { id, request } if changes::is_change(&request) => {
                self.step_change(from, id, &request);
            }
            // A peer's mistake must not stop this member.
            PeerBody::Change { .. } => {}
            PeerBody::Hash { round, hash } => self.step_hash_report(from, round, hash),
            PeerBody::ChangeRefused { id, error } => self.step_change_refused(id, error),
            PeerBody::ForwardAnswer { id, result } => {
                if let Some(request) = self.forwards.remove(&id) {
                    self.finish_forward(request, result);
                }
            }
        }
    }

    fn step_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Raft(timer) => self.raft.fire(timer),
            Timer::RequestTimeout => {
                self.request_timer = None;
                self.expire_requests();
            }
            Timer::Retry => {
                self.retry_armed = false;
                self.retry();
            }
            Timer::Lease => {
                self.lease_timer = None;
                self.expire_leases();
            }
            Timer::Checkpoint => {
                self.checkpoint_armed = false;
                // Armed again at the next flush.
                if !hits(Site::CommitSkipped) {
                    self.checkpoint();
                }
            }
            Timer::Background => {
                self.background_armed = false;
                self.background();
            }
            Timer::AutoCompact => self.auto_compact(),
            Timer::HashCheck => self.fire_hash_check(),
            Timer::V2Tick => self.fire_v2_tick(),
            Timer::WatchProgress => {
                let outputs = self.store.watch_notify_progress();
                self.tell_watchers(Ok(outputs));
                let again = self.options.watch_progress_interval;
                self.output(Output::SetTimer { timer: Timer::WatchProgress, min: again, max: again });
            }
        }
    }

    fn step_persisted(&mut self, id: PersistId) {
        assert!(
            id <= self.persist_issued,
            "write {id:?} was reported but only {:?} issued",
            self.persist_issued
        );
        self.persist_durable = self.persist_durable.max(id);
        self.raft.persisted(id);
        while self.held.front().is_some_and(|(held, _)| *held <= id) {
            let (_, messages) = self.held.pop_front().expect("the front was just seen");
            self.send_all(messages);
        }
        let mut durable = None;
        while self.durable_marks.front().is_some_and(|(mark, _)| *mark <= id) {
            durable = self.durable_marks.pop_front().map(|(_, index)| index);
        }
        if let Some(index) = durable {
            self.observe(Observation::Durable { index });
        }
    }

    fn send_all(&mut self, messages: Vec<seatrial_raft::Message>) {
        for message in messages {
            self.standing.sent(&message, self.now);
            let (from, to) = (message.from, message.to);
            self.output(Output::Send(PeerMessage { from, to, body: PeerBody::Raft(message) }));
        }
    }

    /// Carries one [`Ready`] over into outputs (its duties: see there).
    fn take_ready(&mut self, ready: Ready) {
        for request in ready.timers {
            self.output(match request {
                TimerRequest::Set { timer, min, max } => {
                    Output::SetTimer { timer: Timer::Raft(timer), min, max }
                }
                TimerRequest::Cancel(timer) => Output::CancelTimer(Timer::Raft(timer)),
            });
        }
        self.tell_configs();
        if let Some(soft) = ready.soft_state {
            self.change_role(soft);
        }
        self.send_all(ready.messages);
        if let Some(mut persist) = ready.persist {
            self.planted.spoil(&mut persist, self.raft.term());
            assert!(
                persist.id > self.persist_issued,
                "write {:?} after {:?}",
                persist.id,
                self.persist_issued
            );
            self.persist_issued = persist.id;
            if let Some(last) = persist.entries.last() {
                self.durable_marks.push_back((persist.id, last.index));
            }
            if let Some(hard) = persist.hard_state {
                self.observe(Observation::HardState { term: hard.term, vote: hard.vote });
            }
            if !persist.entries.is_empty() {
                self.observe(Observation::Log { begin: None, entries: persist.entries.clone() });
            }
            self.output(Output::Log(LogWrite::Append(persist)));
        }
        if !ready.messages_after.is_empty() {
            if self.persist_durable >= self.persist_issued {
                self.send_all(ready.messages_after);
            } else {
                // The answer leaves only when everything it rests on is durable: a member which forgot its
                // vote or an entry it acknowledged could help to elect two leaders (Raft §5.2, §5.4).
                self.held.push_back((self.persist_issued, ready.messages_after));
            }
        }
        for chunk in ready.chunks_received {
            self.receive_chunk(chunk);
        }
        let committed = self.planted.stale(ready.committed);
        self.apply_committed(committed);
        for read in ready.reads {
            self.reads.confirmed(read);
        }
        for id in ready.reads_dropped {
            self.reads.dropped(id);
        }
        self.serve_reads();
        for wanted in ready.chunks_wanted {
            self.send_chunk(wanted);
        }
    }

    fn change_role(&mut self, soft: SoftState) {
        let led = self.is_leader();
        if soft.leader != self.soft.leader {
            self.standing.led(self.now);
        }
        if soft.leader != MemberId::NONE && soft.leader != self.soft.leader {
            self.tally.0.leader_changes += 1;
        }
        self.soft = soft;
        self.observe(Observation::Role { role: soft.role, term: soft.term, leader: soft.leader });
        if led && !self.is_leader() && !is_planted(Planted::L01) {
            self.leases_led = false;
            self.revoking.clear();
            self.store.leases_mut().demote();
            self.lease_timer = None;
            self.output(Output::CancelTimer(Timer::Lease));
            self.pass_on_renewals();
        }
        if soft.leader != MemberId::NONE {
            for id in std::mem::take(&mut self.leaderless) {
                self.ask_leader(id);
            }
        }
    }

    /// Gives the leases their time once this leader has applied everything older leaders committed, and
    /// arms the timer for the next that runs out.
    fn lead_leases(&mut self) {
        let goes_on = is_planted(Planted::L01) && self.leases_led;
        if !self.is_leader() && !goes_on {
            return;
        }
        if !self.leases_led {
            let own_term_applied = self.raft.term_at(self.raft.applied_index()) == Some(self.raft.term());
            if !own_term_applied {
                return;
            }
            self.leases_led = true;
            // A change of leader may lengthen a lease, never shorten it: the old leader may have renewed it a
            // moment ago, so every lease without a checkpoint starts anew.
            self.store.leases_mut().promote(self.now, self.options.lease_checkpoint_interval);
        }
        let leases = self.store.leases();
        let next = leases.next_deadline().into_iter().chain(leases.next_checkpoint()).min();
        let next = next.map(|deadline| {
            if deadline > self.now {
                return deadline;
            }
            // Some are over and their end is on its way through the log; look again soon, for others that run
            // out meanwhile and for proposals that were lost.
            let again = self.now + LEASE_POLL;
            self.lease_timer.filter(|at| *at > self.now && *at <= again).unwrap_or(again)
        });
        if next != self.lease_timer {
            self.lease_timer = next;
            match next {
                None => self.output(Output::CancelTimer(Timer::Lease)),
                Some(at) => {
                    let wait = at.saturating_sub(self.now);
                    self.output(Output::SetTimer { timer: Timer::Lease, min: wait, max: wait });
                }
            }
        }
    }

    /// Writes what was applied into the backend, as one transaction with the applied index.
    fn checkpoint(&mut self) {
        if self.snapshots.is_installing() {
            return;
        }
        if let Some(batch) = self.store.seal() {
            self.applied_unsealed = 0;
            self.sealed.push_back((batch.id, self.store.applied()));
            self.output(Output::Commit(batch));
        }
    }

    /// Hands answers to watch streams, or stops where the store could not be read for them.
    fn tell_watchers(&mut self, outputs: Result<Vec<seatrial_store::Output>, BackendError>) {
        match outputs {
            Ok(outputs) => {
                for (stream, mut response) in outputs {
                    response.header = Header { revision: response.header.revision, ..self.header() };
                    self.output(Output::Watch { stream, response });
                }
            }
            Err(error) => self.broken(&error),
        }
    }

    /// The store cannot be read or written: going on could give wrong answers.
    fn broken(&mut self, error: &BackendError) {
        self.fatal(format!("the store failed: {error}"));
    }

    /// One step for watchers that are behind; more steps follow by the background timer.
    fn advance_watchers(&mut self) {
        if self.store.watch_has_work() {
            let rows = if hits(Site::WatchStepSmall) { 2 } else { BACKGROUND_BUDGET };
            let outputs = self.store.watch_step(rows);
            self.tell_watchers(outputs);
        }
    }

    fn background(&mut self) {
        let keys = if hits(Site::CompactionSmall) { 1 } else { BACKGROUND_BUDGET };
        if self.store.compact_step(keys) {
            self.checkpoint_physical();
        }
        self.step_hash();
    }

    fn arm_timers(&mut self) {
        self.lead_leases();
        self.arm_v2_tick();
        self.begin_defrag();
        let is_large = self.applied_unsealed > 0
            && self.sealed.is_empty()
            && self.store.pending_bytes() >= self.options.checkpoint_bytes;
        let is_due = is_large || self.applied_unsealed >= self.options.checkpoint_entries;
        if is_due || self.applied_unsealed > 0 && hits(Site::CommitEach) {
            self.checkpoint();
        } else if self.applied_unsealed > 0 && !self.checkpoint_armed {
            self.checkpoint_armed = true;
            let after = self.options.checkpoint_interval;
            self.output(Output::SetTimer { timer: Timer::Checkpoint, min: after, max: after });
        }
        let has_work =
            self.store.is_compacting() || self.store.watch_has_work() || self.hash_check.has_work();
        if !self.background_armed && has_work {
            self.background_armed = true;
            let soon = Duration::from_millis(1);
            self.output(Output::SetTimer { timer: Timer::Background, min: soon, max: soon });
        }
        if !self.retry_armed && self.wants_retry() {
            self.retry_armed = true;
            let after = self.options.retry_interval;
            self.output(Output::SetTimer { timer: Timer::Retry, min: after, max: after });
        }
        let first = self.waiting.first_key_value().map(|(_, waiting)| waiting.deadline);
        if self.request_timer.is_none()
            && let Some(deadline) = first
        {
            self.request_timer = Some(deadline);
            let wait = deadline.saturating_sub(self.now);
            self.output(Output::SetTimer { timer: Timer::RequestTimeout, min: wait, max: wait });
        }
    }

    /// Asserts what must always hold; for tests and simulation, after every step.
    ///
    /// # Panics
    /// Where it does not.
    pub fn check(&self) {
        self.raft.check();
        assert!(
            self.snapshots.is_installing() || self.store.applied() <= self.raft.commit(),
            "applied {} beyond commit {}",
            self.store.applied(),
            self.raft.commit()
        );
        assert!(
            self.persist_durable <= self.persist_issued,
            "durable {:?} beyond issued {:?}",
            self.persist_durable,
            self.persist_issued
        );
        assert!(
            self.checkpointed <= self.store.applied(),
            "checkpointed {} beyond applied {}",
            self.checkpointed,
            self.store.applied()
        );
    }

    fn answer(&mut self, id: RequestId, result: Result<Response, Error>) {
        if let Some(waiting) = self.waiting.remove(&id) {
            self.count_answered(waiting.proposed, &result);
            self.output(Output::Answer { id, result });
        }
    }

    /// The id for a lease whose client left the choice to us: positive, and met by no other member's.
    fn draw_lease_id(&mut self) -> LeaseId {
        self.next_lease += 1;
        let mut x = (self.id().0 ^ (u64::from(self.options.boot) << 32)).wrapping_add(self.next_lease);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
        LeaseId(((x >> 1) as i64).max(1))
    }

    fn read_id(&self, number: u64) -> ReadId {
        ReadId((u64::from(self.options.boot) << 32) | number)
    }
}
