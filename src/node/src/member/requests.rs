//! Requests of clients: which way each takes, and what becomes of those that wait.

use super::auth::Who;
use super::changes::is_change;
use super::maintenance::{STORAGE_VERSION, downgrade};
use super::reads::Read;
use super::{Member, Output, Published, Waiting};
use crate::peer::{ForwardId, PeerBody, PeerMessage};
use crate::proposal::{Action, Proposal, RequestId};
use bytes::Bytes;
use seatrial_raft::{ProposeError, Role};
use seatrial_store::{Backend, Command, Failure, Reading, Store};
use seatrial_types::auth::{AuthRequest, AuthResponse, Caller};
use seatrial_types::buggify::{Site, hits};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::request::{
    AlarmKind, AlarmListResponse, HashResponse, LeaseGrantRequest, LeaseKeepAliveResponse,
    MemberListResponse, StatusResponse,
};
use seatrial_types::v2::V2Request;
use seatrial_types::{Error, LeaseId, MemberId, Request, Response};

/// The etcd version whose API this is; clients choose features by it.
pub const API_VERSION: &str = "3.5.21";

/// Leases whose end is proposed at once, so that an expiry storm leaves room for clients.
const REVOKE_BATCH: usize = 500;

/// Keys that a range may look at while everybody else waits: a tenth of a millisecond's work.
const READ_KEYS_MAX: usize = 100;

/// The way a request takes.
enum Way {
    /// Through the log.
    Propose(Action),
    /// After a quorum has confirmed the leader.
    Read,
    /// From this member's own state, at once.
    Local,
    /// By the leader, after a quorum has confirmed it.
    Leader,
    /// By the leader, and only if a client asked it directly.
    LeaderDirect,
    /// By the leader, through the log: a change of the cluster.
    Change,
    /// By this member's disk.
    Defragment,
}

fn way(request: &Request) -> Way {
    match request {
        // A face of this member asks for its own use; the log refuses what has changed since.
        Request::Auth(AuthRequest::Password { .. }) => Way::Local,
        Request::Auth(auth) if auth.is_read() => Way::Read,
        Request::Auth(auth) => Way::Propose(Action::Store(Command::Auth(auth.clone()))),
        Request::As(_, request) => way(request),
        Request::Range(range) if range.serializable => Way::Local,
        Request::Range(_) => Way::Read,
        Request::Txn(txn) if txn.is_read_only() => {
            if txn.is_serializable() {
                Way::Local
            } else {
                Way::Read
            }
        }
        Request::Put(put) => Way::Propose(Action::Store(Command::Put(put.clone()))),
        Request::DeleteRange(delete) => Way::Propose(Action::Store(Command::DeleteRange(delete.clone()))),
        Request::Txn(txn) => Way::Propose(Action::Store(Command::Txn(txn.clone()))),
        Request::Compact(compact) => Way::Propose(Action::Store(Command::Compact(compact.clone()))),
        Request::LeaseGrant(grant) => Way::Propose(Action::Store(Command::LeaseGrant(grant.clone()))),
        Request::LeaseRevoke(id) => Way::Propose(Action::Store(Command::LeaseRevoke(*id))),
        Request::LeaseKeepAlive(_) | Request::LeaseTimeToLive(_) => Way::Leader,
        Request::LeaseLeases | Request::AlarmList => Way::Read,
        Request::V2(V2Request::Change(change)) => Way::Propose(Action::Store(Command::V2(change.clone()))),
        Request::V2(V2Request::Read { quorum: true, .. }) if !is_planted(Planted::T04) => Way::Read,
        Request::V2(_) => Way::Local,
        Request::Downgrade(_) | Request::MemberList { linearizable: true } => Way::Read,
        Request::MemberList { linearizable: false }
        | Request::Status
        | Request::HashKv { .. }
        | Request::Hash
        | Request::SnapshotRead(_) => Way::Local,
        Request::Defragment => Way::Defragment,
        Request::AlarmChange(change) => Way::Propose(Action::Alarm(change.clone())),
        Request::MoveLeader(_) => Way::LeaderDirect,
        Request::MemberAdd(_)
        | Request::MemberRemove(_)
        | Request::MemberUpdate(_)
        | Request::MemberPromote(_) => Way::Change,
    }
}

/// What a learner answers: what it knows of itself and what needs no quorum (etcd's rule).
fn is_for_learners(request: &Request) -> bool {
    match request {
        Request::Status | Request::HashKv { .. } | Request::SnapshotRead(_) => true,
        Request::Range(range) => range.serializable,
        _ => false,
    }
}

impl<B: Backend> Member<B> {
    pub(super) fn step_request(&mut self, id: RequestId, request: Request) {
        if let Some((last, _)) = self.waiting.last_key_value() {
            assert!(id > *last, "request {id:?} is not newer than {last:?}");
        }
        if self.waiting.len() >= self.options.waiting_max {
            self.output(Output::Answer { id, result: Err(Error::TooManyRequests) });
            return;
        }
        let (caller, mut request) = match request {
            Request::As(caller, request) => (Some(caller), *request),
            plain => (None, plain),
        };
        if self.is_learner() && !is_for_learners(&request) {
            self.output(Output::Answer { id, result: Err(Error::LearnerUnsupported) });
            return;
        }
        if let Some(error) = self.quota_refuses(&request) {
            self.output(Output::Answer { id, result: Err(error) });
            return;
        }
        if let Request::LeaseGrant(grant) = &mut request {
            self.complete_lease_grant(grant);
        }
        let deadline = self.now + self.options.request_timeout;
        self.waiting.insert(id, Waiting { deadline, request: None, proposed: false });
        let who = match self.identify(caller) {
            Ok(who) => who,
            Err(error) => return self.answer(id, Err(error)),
        };
        if (is_planted(Planted::A03) || is_planted(Planted::A04))
            && !matches!(way(&request), Way::Propose(_))
            && let Err(error) = self.permit(&who, &request)
        {
            return self.answer(id, Err(error));
        }
        match way(&request) {
            // What goes through the log into the store is checked there, by the state at its place in the log.
            Way::Propose(Action::Store(command)) => {
                if is_planted(Planted::R36) {
                    self.keep(id, request);
                }
                let command = self.signed(&who, command);
                self.propose(id, Action::Store(command));
            }
            // What is read is checked where it is read: this member may lag behind a permission that was given or taken
            // before the request was made.
            way @ (Way::Read | Way::Local | Way::Leader) => self.go(id, way, self.asked_by(who, request)),
            way => match self.permit(&who, &request) {
                Ok(()) => self.go(id, way, self.asked_by(who, request)),
                Err(error) => self.answer(id, Err(error)),
            },
        }
    }

    /// The request with the name of its caller on it, for it may be answered later or elsewhere.
    fn asked_by(&self, who: Who, request: Request) -> Request {
        match who {
            Who::Server => Request::As(Caller::Server, Box::new(request)),
            Who::Client(identity) if identity.user.is_empty() => request,
            Who::Client(identity) => Request::As(Caller::User(identity), Box::new(request)),
        }
    }

    fn go(&mut self, id: RequestId, way: Way, request: Request) {
        match way {
            Way::Propose(action) => self.propose(id, action),
            Way::Read => {
                self.keep(id, request);
                self.reads.push(Read::Own(id));
            }
            Way::Local => self.serve(id, request),
            Way::Leader | Way::Change => {
                self.keep(id, request);
                self.ask_leader(id);
            }
            Way::Defragment => self.ask_defrag(id),
            Way::LeaderDirect => {
                let result = self.lead_directly(request.inner());
                self.answer(id, result);
            }
        }
    }

    /// Whether this member is a learner in its operator's eyes. One that catches up before it votes is none.
    pub(super) fn is_learner(&self) -> bool {
        self.cluster.members.get(&self.id()).is_some_and(|me| me.is_learner)
    }

    fn keep(&mut self, id: RequestId, request: Request) {
        if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.request = Some(request);
        }
    }

    fn complete_lease_grant(&mut self, grant: &mut LeaseGrantRequest) {
        if grant.id == LeaseId::NONE {
            grant.id = self.draw_lease_id();
        }
        grant.ttl_seconds = grant.ttl_seconds.max(self.options.lease_ttl_min());
    }

    fn propose(&mut self, id: RequestId, action: Action) {
        let proposal = Proposal { origin: self.id(), request: id, action };
        self.proposals.push((id, proposal.encode()));
    }

    /// Whether the backend is so far behind that nothing more is proposed.
    fn lags(&self) -> bool {
        self.store.pending_bytes() >= self.options.pending_bytes_max
    }

    /// Hands the proposals that have gathered to Raft, as one batch. Without a leader they wait here.
    pub(super) fn submit_proposals(&mut self) {
        // What waits here goes on when the backend has caught up, with the flush behind that.
        if self.proposals.is_empty() || self.lags() {
            return;
        }
        let waiting = &self.waiting;
        self.proposals.retain(|(id, _)| *id == Proposal::NOBODY || waiting.contains_key(id));
        self.refuse_some();
        let data = self.proposals.iter().map(|(_, data)| data.clone()).collect();
        match self.raft.propose(data) {
            Ok(()) => {
                for (id, _) in std::mem::take(&mut self.proposals) {
                    if let Some(waiting) = self.waiting.get_mut(&id) {
                        waiting.proposed = true;
                    }
                }
            }
            Err(ProposeError::Full { .. }) => {
                for (id, _) in std::mem::take(&mut self.proposals) {
                    self.answer(id, Err(Error::TooManyRequests));
                }
            }
            Err(_) => {}
        }
    }

    /// As if too much were uncommitted, for some.
    fn refuse_some(&mut self) {
        let is_refused =
            |(id, _): &(RequestId, Bytes)| *id != Proposal::NOBODY && hits(Site::ProposalRefused);
        let refused: Vec<RequestId> =
            self.proposals.extract_if(.., |one| is_refused(one)).map(|(id, _)| id).collect();
        for id in refused {
            self.answer(id, Err(Error::TooManyRequests));
        }
    }

    /// Sends a request to the leader, or queues it here where this member is the leader.
    pub(super) fn ask_leader(&mut self, id: RequestId) {
        let Some(request) = self.waiting.get(&id).and_then(|waiting| waiting.request.clone()) else {
            return;
        };
        if is_change(&request) {
            return self.ask_change(id, request);
        }
        if self.is_leader() {
            self.reads.push(Read::Own(id));
        } else if self.soft.leader == MemberId::NONE {
            self.leaderless.insert(id);
        } else {
            self.next_forward += 1;
            let forward = ForwardId((u64::from(self.options.boot) << 32) | self.next_forward);
            self.forwards.insert(forward, id);
            let body = PeerBody::Forward { id: forward, request };
            // It is asked again after a while, for it may be lost on its way.
            if hits(Site::ForwardLost) {
                return;
            }
            self.output(Output::Send(PeerMessage { from: self.id(), to: self.soft.leader, body }));
        }
    }

    pub(super) fn step_forward(&mut self, from: MemberId, id: ForwardId, request: Request) {
        if self.is_leader() && matches!(way(&request), Way::Leader) {
            self.reads.push(Read::Forwarded { from, id, request });
        } else {
            let body = PeerBody::ForwardAnswer { id, result: Err(Error::NotLeader) };
            self.output(Output::Send(PeerMessage { from: self.id(), to: from, body }));
        }
    }

    pub(super) fn finish_forward(&mut self, id: RequestId, result: Result<Response, Error>) {
        match result {
            // The leadership has moved; what is asked here may be asked twice, so ask the next leader.
            Err(Error::NotLeader) => {
                self.leaderless.insert(id);
            }
            Ok(mut response) => {
                let header = response.header_mut();
                header.member_id = self.options.raft.id;
                self.answer(id, Ok(response));
            }
            Err(error) => self.answer(id, Err(error)),
        }
    }

    pub(super) fn wants_retry(&self) -> bool {
        self.reads.is_waiting()
            || !self.forwards.is_empty()
            || !self.leaderless.is_empty()
            || !self.proposals.is_empty()
            || (is_planted(Planted::R36) && self.waiting.values().any(|waiting| waiting.proposed))
            || self.published != Published::Yes
    }

    /// Asks again what may have been lost: reads and requests to the leader change nothing when they are
    /// asked twice. Proposals are never sent again: they might be applied twice.
    pub(super) fn retry(&mut self) {
        self.reads.overdue(self.now);
        if is_planted(Planted::R36) {
            self.propose_again();
        }
        let again: Vec<RequestId> = std::mem::take(&mut self.forwards)
            .into_values()
            .chain(std::mem::take(&mut self.leaderless))
            .collect();
        for id in again {
            self.ask_leader(id);
        }
    }

    /// Only with a planted bug: nobody would know whether the first proposal is on its way still.
    fn propose_again(&mut self) {
        let again = self.waiting.iter().filter(|(_, waiting)| waiting.proposed);
        let again: Vec<(RequestId, Request)> =
            again.filter_map(|(id, waiting)| Some((*id, waiting.request.clone()?))).collect();
        for (id, request) in again {
            if let Way::Propose(action) = way(&request) {
                self.propose(id, action);
            }
        }
    }

    /// Answers the requests whose time is up.
    pub(super) fn expire_requests(&mut self) {
        while let Some((&id, waiting)) = self.waiting.first_key_value() {
            if waiting.deadline > self.now {
                break;
            }
            // What never left this member certainly did not happen, and saying so lets the client ask another
            // member at once.
            self.tally.0.reads_failed += u64::from(waiting.request.is_some());
            let error = if waiting.proposed {
                Error::Timeout
            } else if self.lags() {
                Error::TooManyRequests
            } else {
                Error::NoLeader
            };
            self.answer(id, Err(error));
        }
        let waiting = &self.waiting;
        self.forwards.retain(|_, id| waiting.contains_key(id));
        self.leaderless.retain(|id| waiting.contains_key(id));
        self.physical.retain(|id| waiting.contains_key(id));
    }

    fn lead_directly(&mut self, request: &Request) -> Result<Response, Error> {
        if !self.is_leader() {
            return Err(Error::NotLeader);
        }
        match request {
            Request::MoveLeader(to) => {
                self.raft.transfer_leadership(*to).map_err(|_| Error::BadLeaderTransferee)?;
                Ok(Response::MoveLeader(self.header()))
            }
            other => unreachable!("{other:?} is not for the leader alone"),
        }
    }

    /// Answers a client's read from the state as it is applied here, or gives it away where it is of many keys.
    pub(super) fn serve(&mut self, id: RequestId, request: Request) {
        let result = match self.admit(request) {
            Err(error) => Err(error),
            Ok(Request::Range(range)) => {
                let keys_max = if hits(Site::ReadAway) { 0 } else { READ_KEYS_MAX };
                match self.store.reading(&range, keys_max) {
                    Some(reading) => return self.give_away(id, reading),
                    None => self.evaluate_admitted(Request::Range(range)),
                }
            }
            Ok(request) => self.evaluate_admitted(request),
        };
        self.answer(id, result);
    }

    /// The request is answered as far as this member goes: whoever reads holds its own view, and no deadline of ours
    /// ends that.
    fn give_away(&mut self, id: RequestId, mut reading: Reading<B::Snapshot>) {
        if self.waiting.remove(&id).is_some() {
            *reading.header_mut() = self.header();
            self.output(Output::Read { id, reading: Box::new(reading) });
        }
    }

    /// Answers a read from the state as it is applied here.
    pub(super) fn evaluate(&mut self, request: Request) -> Result<Response, Error> {
        let request = self.admit(request)?;
        self.evaluate_admitted(request)
    }

    /// Checked here again, for users and roles may have changed while it waited, and another member's request
    /// was checked by what that member knew.
    fn admit(&mut self, request: Request) -> Result<Request, Error> {
        let (caller, request) = match request {
            Request::As(caller, request) => (Some(caller), *request),
            plain => (None, plain),
        };
        if is_planted(Planted::A04) {
            return Ok(request);
        }
        let who = self.identify(caller)?;
        self.permit(&who, &request)?;
        Ok(request)
    }

    fn evaluate_admitted(&mut self, request: Request) -> Result<Response, Error> {
        let mut response = match request {
            Request::Auth(ask) => {
                let answer = self.store.auth().read(&ask)?;
                Response::Auth(AuthResponse::at(self.store.revision(), answer))
            }
            Request::Range(range) if range.serializable => {
                Response::Range(self.read(|store| super::planted::own_read(store, range))?)
            }
            Request::Range(range) => Response::Range(self.read(|store| store.range(&range))?),
            Request::Txn(txn) => Response::Txn(self.read(|store| store.read_txn(&txn))?),
            Request::LeaseKeepAlive(id) => {
                // Only a leader that a quorum has just confirmed comes here; a deposed one would renew a lease
                // that its successor lets run out.
                if !self.leases_led {
                    return Err(Error::NotLeader);
                }
                let ttl_seconds = self.store.leases_mut().renew(id, self.now).unwrap_or(0);
                Response::LeaseKeepAlive(LeaseKeepAliveResponse { id, ttl_seconds, ..Default::default() })
            }
            Request::LeaseTimeToLive(ask) => {
                if !self.leases_led {
                    return Err(Error::NotLeader);
                }
                Response::LeaseTimeToLive(self.store.lease_time_to_live(&ask, self.now))
            }
            Request::LeaseLeases => Response::LeaseLeases(self.store.lease_leases()),
            Request::MemberList { .. } => Response::MemberList(MemberListResponse {
                members: self.cluster.list(),
                ..Default::default()
            }),
            Request::Status => Response::Status(self.status()),
            Request::SnapshotRead(ask) => self.read_snapshot(&ask)?,
            Request::HashKv { revision } => Response::HashKv(self.read(|store| store.hash_kv(revision))?),
            Request::Hash => {
                let hash = self.read(|store| store.hash().map_err(Failure::from))?;
                Response::Hash(HashResponse { hash, ..Default::default() })
            }
            Request::Downgrade(ask) => Response::Downgrade(downgrade(&ask)?),
            Request::V2(ask) => Response::V2(self.evaluate_v2(&ask)),
            Request::AlarmList => Response::AlarmList(AlarmListResponse {
                alarms: self.alarms.iter().copied().collect(),
                ..Default::default()
            }),
            other => unreachable!("{other:?} is not a read"),
        };
        let header = match response {
            Response::MemberList(_) => self.membership_header(),
            _ => self.header(),
        };
        *response.header_mut() = header;
        Ok(response)
    }

    /// Reads from the store; where that fails, this member stops.
    fn read<T>(&mut self, read: impl FnOnce(&Store<B>) -> Result<T, Failure>) -> Result<T, Error> {
        read(&self.store).map_err(|failure| match failure {
            Failure::Refused(error) => error,
            Failure::Broken(error) => {
                self.broken(&error);
                Error::Stopped
            }
        })
    }

    fn status(&self) -> StatusResponse {
        let size = self.store.size();
        let mut errors = Vec::new();
        // Raft's own word, as the term is: a leader that was deposed a moment ago must not be told with the next leader's term.
        let leader = self.raft.leader();
        if leader == MemberId::NONE {
            errors.push(Error::NoLeader.to_string());
        }
        for (member, kind) in &self.alarms {
            let kind = match kind {
                AlarmKind::NoSpace => "NOSPACE",
                AlarmKind::Corrupt => "CORRUPT",
            };
            errors.push(format!("memberID:{} alarm:{kind} ", member.0));
        }
        StatusResponse {
            version: API_VERSION.to_owned(),
            db_size: size.total_bytes as i64,
            db_size_in_use: size.in_use_bytes as i64,
            leader,
            raft_index: self.raft.commit(),
            raft_term: self.raft.term(),
            raft_applied_index: self.store.applied(),
            errors,
            db_size_quota: self.options.quota_bytes as i64,
            storage_version: STORAGE_VERSION.to_owned(),
            is_learner: self.is_learner(),
            ..StatusResponse::default()
        }
    }

    /// Proposes the end of the leases that ran out. Proposed again where it was lost.
    pub(super) fn expire_leases(&mut self) {
        if (!self.is_leader() && !is_planted(Planted::L01)) || !self.leases_led {
            return;
        }
        // A proposal of a member that is deposed by now would be forwarded to the new leader and end a lease
        // which that one has just renewed (etcd#15247): so ask Raft itself, and queue nothing.
        self.submit_proposals();
        if self.raft.role() != Role::Leader && !is_planted(Planted::L01) {
            return;
        }
        self.note_leases();
        let now = self.now;
        self.revoking.retain(|_, again| *again > now);
        let mut data = Vec::new();
        for lease in self.store.leases().expired(now, REVOKE_BATCH) {
            if self.revoking.contains_key(&lease) {
                continue;
            }
            self.revoking.insert(lease, now + self.options.raft.election_timeout);
            self.observe(crate::observation::Observation::LeaseExpired { lease });
            let action = Action::Store(Command::LeaseRevoke(lease));
            data.push(Proposal { origin: self.id(), request: Proposal::NOBODY, action }.encode());
        }
        if !data.is_empty() {
            // Refused (too much is uncommitted): `revoking` brings it back.
            let refused = self.raft.propose(data).is_err();
            if refused && is_planted(Planted::L03) {
                self.revoking.values_mut().for_each(|again| *again = std::time::Duration::MAX);
            }
        }
    }

    /// Tells the cluster this member's name and where clients reach it, until the log says so.
    pub(super) fn publish(&mut self) {
        let due = match self.published {
            Published::Yes => false,
            Published::No => true,
            Published::Until(at) => at <= self.now,
        };
        if !due || self.soft.leader == MemberId::NONE {
            return;
        }
        let Some(me) = self.cluster.members.get(&self.id()) else { return };
        if me.name == self.options.name && me.client_urls == self.options.client_urls {
            self.published = Published::Yes;
            return;
        }
        self.published = Published::Until(self.now + self.options.request_timeout);
        let action = Action::Publish {
            name: self.options.name.clone(),
            client_urls: self.options.client_urls.clone(),
        };
        let proposal = Proposal { origin: self.id(), request: Proposal::NOBODY, action };
        self.proposals.push((Proposal::NOBODY, proposal.encode()));
        self.submit_proposals();
    }
}
