//! Changes of the cluster: who joins, who goes, who votes.
//!
//! The leader alone decides whether a change may be made, for it alone knows who is heard and how far each has
//! come; what it decides goes through the log, and the member which the client asked answers when it applies that.

use super::{Member, Output};
use crate::cluster::{ChangeContext, ClusterChange};
use crate::observation::Observation;
use crate::peer::{PeerBody, PeerMessage};
use crate::proposal::{Proposal, RequestId};
use seatrial_raft::{ConfigChange, ConfigStep, Role};
use seatrial_store::Backend;
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::request::{MemberAddResponse, MemberListResponse};
use seatrial_types::{Error, LogIndex, MemberId, Request, Response, Term};
use std::collections::BTreeMap;

/// A learner may be promoted, and a new member admitted, when it holds this share of the leader's log (etcd's).
const READY_PERCENT: u64 = 90;

/// Why a change is not made.
enum Refusal {
    /// Not now: another change is on its way, or this member does not lead (any more). Nothing has happened.
    Later,
    /// Not at all.
    Never(Error),
}

/// Whether a request changes the cluster.
pub(super) fn is_change(request: &Request) -> bool {
    matches!(
        request.inner(),
        Request::MemberAdd(_)
            | Request::MemberRemove(_)
            | Request::MemberUpdate(_)
            | Request::MemberPromote(_)
    )
}

impl<B: Backend> Member<B> {
    /// Brings a client's change to the leader. It is asked for again only where it certainly was not made.
    pub(super) fn ask_change(&mut self, id: RequestId, request: Request) {
        // Whether the caller may was seen to where it asked.
        let request = request.inner().clone();
        if self.is_leader() {
            match self.propose_change(self.id(), id, &request) {
                Ok(()) => self.note_proposed(id, true),
                Err(Refusal::Later) => {
                    self.leaderless.insert(id);
                }
                Err(Refusal::Never(error)) => self.answer(id, Err(error)),
            }
        } else if self.soft.leader == MemberId::NONE {
            self.leaderless.insert(id);
        } else {
            self.note_proposed(id, true);
            let body = PeerBody::Change { id, request };
            self.output(Output::Send(PeerMessage { from: self.id(), to: self.soft.leader, body }));
        }
    }

    fn note_proposed(&mut self, id: RequestId, proposed: bool) {
        if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.proposed = proposed;
        }
    }

    /// A member passes on what its client asked.
    pub(super) fn step_change(&mut self, from: MemberId, id: RequestId, request: &Request) {
        let error = match self.propose_change(from, id, request) {
            Ok(()) => return,
            Err(Refusal::Later) => Error::NotLeader,
            Err(Refusal::Never(error)) => error,
        };
        let body = PeerBody::ChangeRefused { id, error };
        self.output(Output::Send(PeerMessage { from: self.id(), to: from, body }));
    }

    /// The leader will not make a change.
    pub(super) fn step_change_refused(&mut self, id: RequestId, error: Error) {
        if !self.waiting.contains_key(&id) {
            return;
        }
        if error == Error::NotLeader {
            self.note_proposed(id, false);
            self.leaderless.insert(id);
        } else {
            self.answer(id, Err(error));
        }
    }

    fn propose_change(&mut self, origin: MemberId, id: RequestId, request: &Request) -> Result<(), Refusal> {
        // The table must be as the leader's log has it, or two changes might be checked against the same one.
        let is_behind = self.raft.is_config_pending() || self.raft.config_index() > self.store.applied();
        let leads = self.raft.role() == Role::Leader && (self.leases_led || is_planted(Planted::R10));
        if !leads || is_behind {
            return Err(Refusal::Later);
        }
        let up = |member| self.is_heard(member);
        let salt = (u64::from(self.options.boot) << 32) ^ self.raft.last_index().0;
        let decided = match request.inner() {
            Request::MemberAdd(add) => self
                .cluster
                .add(add.peer_urls.clone(), add.is_learner, salt, up)
                .map(|(step, change)| (vec![step], change)),
            Request::MemberRemove(member) => {
                self.cluster.remove(*member, up).map(|(step, change)| (vec![step], change))
            }
            Request::MemberUpdate(update) => {
                self.cluster.update(update.id, update.peer_urls.clone()).map(|change| (Vec::new(), change))
            }
            Request::MemberPromote(member) => self
                .cluster
                .promote(*member, self.is_promotable(*member))
                .map(|(step, change)| (vec![step], change)),
            other => unreachable!("{other:?} changes no member"),
        };
        let (steps, change) = decided.map_err(Refusal::Never)?;
        self.propose_config(origin, id, steps, change)
    }

    fn propose_config(
        &mut self,
        origin: MemberId,
        request: RequestId,
        steps: Vec<ConfigStep>,
        change: ClusterChange,
    ) -> Result<(), Refusal> {
        let context = ChangeContext { origin, request, change };
        let context = postcard::to_extend(&context, Vec::new()).expect("changes always encode").into();
        self.raft.propose_config(ConfigChange { steps, context }).map_err(|_| Refusal::Later)
    }

    /// Whether a member has been heard within an election timeout.
    fn is_heard(&self, member: MemberId) -> bool {
        let recently = |at| self.now.saturating_sub(at) <= self.options.raft.election_timeout;
        member == self.id() || self.heard.get(&member).copied().is_some_and(recently)
    }

    /// Whether a follower of this leader can be heard and is nearly level with it.
    fn has_caught_up(&self, member: MemberId) -> bool {
        (self.is_heard(member) && self.is_level(member)) || is_planted(Planted::R41)
    }

    fn is_level(&self, member: MemberId) -> bool {
        let last = self.raft.last_index().0;
        let level = |matched: LogIndex| matched.0 * 100 >= last * READY_PERCENT;
        member == self.id() || self.raft.progress().get(&member).is_some_and(|peer| level(peer.matched))
    }

    /// As etcd asks it; only that a learner must be heard too. A voter is told by how far it is what is wrong with it.
    fn is_promotable(&self, member: MemberId) -> bool {
        let is_learner = self.cluster.members.get(&member).is_some_and(|member| member.is_learner);
        self.is_level(member) && (!is_learner || self.is_heard(member))
    }

    /// Lets members vote which were added to vote and have caught up, one at a time.
    pub(super) fn admit_members(&mut self) {
        if self.cluster.joining.is_empty() || self.raft.role() != Role::Leader {
            return;
        }
        if self.raft.is_config_pending() || self.raft.config_index() > self.store.applied() {
            return;
        }
        let ready = self.cluster.joining.iter().copied().find(|member| self.has_caught_up(*member));
        if let Some(member) = ready {
            let steps = vec![ConfigStep::AddVoter(member)];
            // Refused: looked at again with the next input.
            let _ = self.propose_config(self.id(), Proposal::NOBODY, steps, ClusterChange::Admit(member));
        }
    }

    /// A change has been applied: tells the driver who there is, answers, and ends a member that was removed.
    pub(super) fn change_applied(&mut self, context: Option<ChangeContext>) {
        self.tell_peers();
        if let Some(ChangeContext { origin, request, change }) = context
            && origin == self.id()
            && request != Proposal::NOBODY
        {
            let (header, members) = (self.membership_header(), self.cluster.list());
            let list = MemberListResponse { header: header.clone(), members: members.clone() };
            self.answer(
                request,
                Ok(match change {
                    ClusterChange::Add(member) => {
                        Response::MemberAdd(MemberAddResponse { header, member, members })
                    }
                    ClusterChange::Remove(_) => Response::MemberRemove(list),
                    ClusterChange::Update { .. } => Response::MemberUpdate(list),
                    ClusterChange::Promote(_) | ClusterChange::Admit(_) | ClusterChange::Alone(_) => {
                        Response::MemberPromote(list)
                    }
                }),
            );
        }
        self.end_if_removed();
    }

    /// Lets onlookers know of the configurations in the log, the one in force last.
    pub(super) fn tell_configs(&mut self) {
        let newest = self.raft.config_index();
        // The term of what was compacted is not known any more.
        let term_of = |index| self.raft.term_at(index).unwrap_or_default();
        let is_told = |told: &(LogIndex, Term), index, term| {
            told.0 == index && (told.1 == term || term == Term::default())
        };
        if self.configs_told.last().is_some_and(|told| is_told(told, newest, term_of(newest))) {
            return;
        }
        let (mut told, mut news) = (Vec::new(), Vec::new());
        for (index, config) in self.raft.configs() {
            let term = term_of(index);
            let is_known = self.configs_told.iter().any(|told| is_told(told, index, term));
            if !is_known || index == newest {
                let leads = self.raft.role() == Role::Leader && term == self.raft.term();
                news.push(Observation::Config { index, term, config: config.clone(), leads });
            }
            told.push((index, term));
        }
        self.configs_told = told;
        news.into_iter().for_each(|observation| self.observe(observation));
    }

    pub(super) fn tell_peers(&mut self) {
        let me = self.id();
        let cluster = &self.cluster;
        let members: BTreeMap<MemberId, Vec<String>> = cluster
            .members
            .values()
            .chain(cluster.leaving.values())
            .filter(|member| member.id != me)
            .map(|member| (member.id, member.peer_urls.clone()))
            .collect();
        self.heard.retain(|member, _| members.contains_key(member));
        self.output(Output::Peers { members, removed: self.cluster.removed.clone() });
    }

    /// A removed member has nothing left to do once its vote counts nowhere; its state grows old.
    pub(super) fn end_if_removed(&mut self) {
        if self.cluster.removed.contains(&self.id()) {
            self.removed();
        }
    }

    pub(super) fn removed(&mut self) {
        if !self.stopped {
            self.observe(Observation::Removed);
            self.output(Output::Removed);
            self.stop();
        }
    }
}
