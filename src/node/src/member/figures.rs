//! Numbers about a member, for those who watch over it.

use super::Member;
use crate::observation::Observation;
use seatrial_raft::Role;
use seatrial_store::{Backend, Command};
use seatrial_types::auth::AuthRevision;
use seatrial_types::request::{TxnOp, TxnOpResponse, TxnRequest, TxnResponse};
use seatrial_types::{Error, LogIndex, MemberId, Response, Revision};
use std::hash::{Hash, Hasher};

/// What has happened since the member started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Counts {
    pub puts: u64,
    pub put_bytes: u64,
    pub deletes: u64,
    pub ranges: u64,
    /// Transactions of more than one operation.
    pub txns: u64,
    pub leases_granted: u64,
    pub leases_revoked: u64,
    pub leases_renewed: u64,
    pub leases_expired: u64,
    pub leader_changes: u64,
    /// Changes that were proposed and whose outcome the caller never heard.
    pub proposals_failed: u64,
    /// Reads for which no leader answered in time.
    pub reads_failed: u64,
    pub promotions: u64,
    pub snapshots_installed: u64,
}

/// The counts within a member. They are no part of what it is: two members that will do the same from here on are
/// equal, whatever they have counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally(pub(super) Counts);

impl PartialEq for Tally {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Tally {}

impl Hash for Tally {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// How a member stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Figures {
    pub id: MemberId,
    pub leader: MemberId,
    pub is_leader: bool,
    pub is_learner: bool,
    pub committed: LogIndex,
    pub applied: LogIndex,
    pub revision: Revision,
    pub compacted: Revision,
    pub auth_revision: AuthRevision,
    pub keys: usize,
    pub leases: usize,
    pub watch_streams: usize,
    pub watches: usize,
    /// Watches that are behind the store's revision.
    pub watches_behind: usize,
    /// Proposals whose outcome is not known yet.
    pub pending: usize,
    pub quota_bytes: u64,
    pub size_bytes: u64,
    pub size_in_use_bytes: u64,
    pub counts: Counts,
}

impl<B: Backend> Member<B> {
    /// How the member stands now.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let (watch_streams, watches) = self.store.hub().counts();
        let size = self.store.size();
        Figures {
            id: self.id(),
            leader: self.soft.leader,
            is_leader: self.soft.role == Role::Leader,
            is_learner: self.cluster.members.get(&self.id()).is_some_and(|me| me.is_learner),
            committed: self.raft.commit(),
            applied: self.store.applied(),
            revision: self.store.revision(),
            compacted: self.store.compacted(),
            auth_revision: self.store.auth().revision(),
            keys: self.store.mvcc().live_keys(),
            leases: self.store.leases().len(),
            watch_streams,
            watches,
            watches_behind: self.store.hub().behind(),
            pending: self.waiting.values().filter(|waiting| waiting.proposed).count(),
            quota_bytes: self.options.quota_bytes,
            size_bytes: size.total_bytes,
            size_in_use_bytes: size.in_use_bytes,
            counts: self.tally.0,
        }
    }

    /// Counts what an entry did.
    pub(super) fn count_applied(&mut self, command: &Command, answer: &seatrial_store::Answer) {
        let counts = &mut self.tally.0;
        match (command.inner(), answer) {
            (_, Err(_)) => {}
            (Command::Put(put), _) => {
                counts.puts += 1;
                counts.put_bytes += (put.key.len() + put.value.len()) as u64;
            }
            (Command::DeleteRange(_), _) => counts.deletes += 1,
            (Command::Txn(txn), Ok(Some(Response::Txn(answer)))) => counts.txn(txn, answer),
            (Command::LeaseGrant(_), _) => counts.leases_granted += 1,
            (Command::LeaseRevoke(_), _) => counts.leases_revoked += 1,
            _ => {}
        }
    }

    /// Counts what leaves the member.
    pub(super) fn count_answered(&mut self, proposed: bool, result: &Result<Response, Error>) {
        let counts = &mut self.tally.0;
        match result {
            Ok(Response::Range(_)) => counts.ranges += 1,
            Ok(Response::MemberPromote(_)) => counts.promotions += 1,
            Ok(Response::LeaseKeepAlive(answer)) if answer.ttl_seconds > 0 => counts.leases_renewed += 1,
            Err(Error::Timeout) if proposed => counts.proposals_failed += 1,
            _ => {}
        }
    }

    /// Counts what onlookers are told.
    pub(super) fn count_observed(&mut self, observation: &Observation) {
        let counts = &mut self.tally.0;
        match observation {
            Observation::LeaseExpired { .. } => counts.leases_expired += 1,
            Observation::SnapshotInstalled { .. } => counts.snapshots_installed += 1,
            _ => {}
        }
    }
}

impl Counts {
    fn txn(&mut self, txn: &TxnRequest, answer: &TxnResponse) {
        let done = if answer.succeeded { &txn.success } else { &txn.failure };
        if done.len() > 1 {
            self.txns += 1;
        }
        for (asked, answered) in done.iter().zip(&answer.responses) {
            match (asked, answered) {
                (TxnOp::Put(put), _) => {
                    self.puts += 1;
                    self.put_bytes += (put.key.len() + put.value.len()) as u64;
                }
                (TxnOp::DeleteRange(_), _) => self.deletes += 1,
                (TxnOp::Range(_), _) => self.ranges += 1,
                (TxnOp::Txn(txn), TxnOpResponse::Txn(answer)) => self.txn(txn, answer),
                (TxnOp::Txn(_), _) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seatrial_types::request::PutRequest;

    #[test]
    fn only_the_branch_that_was_taken_counts() {
        let put = |key: &str| {
            TxnOp::Put(PutRequest { key: key.to_owned().into(), value: "vv".into(), ..PutRequest::default() })
        };
        let inner = TxnRequest { success: vec![put("c")], ..TxnRequest::default() };
        let txn = TxnRequest {
            success: vec![put("a"), TxnOp::Txn(inner)],
            failure: vec![put("never")],
            ..TxnRequest::default()
        };
        let inner = TxnResponse {
            succeeded: true,
            responses: vec![TxnOpResponse::Put(Default::default())],
            ..TxnResponse::default()
        };
        let answer = TxnResponse {
            succeeded: true,
            responses: vec![TxnOpResponse::Put(Default::default()), TxnOpResponse::Txn(inner)],
            ..TxnResponse::default()
        };
        let mut counts = Counts::default();
        counts.txn(&txn, &answer);
        assert_eq!(counts, Counts { puts: 2, put_bytes: 6, txns: 1, ..Counts::default() });
    }
}
