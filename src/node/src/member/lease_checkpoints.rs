//! What is left of long leases goes into the log now and then, so that a new leader need not give them their whole time
//! anew (etcd: LeaseCheckpoint).
//!
//! A lease with a checkpoint is renewed only once another entry has taken the checkpoint back: else the next leader,
//! which knows nothing of the renewal, would count from the checkpoint and end the lease early.

use super::reads::Read;
use super::{Member, Output};
use crate::peer::{PeerBody, PeerMessage};
use crate::proposal::{Action, Proposal};
use seatrial_raft::Role;
use seatrial_store::{Backend, Command};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::{Error, LeaseId, Request};
use std::collections::BTreeMap;

/// Leases in one entry (etcd: the same).
const BATCH: usize = 1000;

/// Renewals that wait for a checkpoint to be taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Held {
    by_lease: BTreeMap<LeaseId, Vec<Read>>,
    /// Leases among them of which the log has not been told yet.
    untold: Vec<LeaseId>,
}

impl Held {
    pub(super) fn hold(&mut self, lease: LeaseId, read: Read) {
        let reads = self.by_lease.entry(lease).or_default();
        if reads.is_empty() {
            self.untold.push(lease);
        }
        reads.push(read);
    }
}

impl<B: Backend> Member<B> {
    /// Proposes the checkpoints that are due. One that is lost only means that a lease may live longer.
    pub(super) fn note_leases(&mut self) {
        if self.raft.role() != Role::Leader || !self.leases_led {
            return;
        }
        let due = self.store.leases_mut().due_checkpoints(self.now, BATCH);
        if !due.is_empty() {
            let _ = self.propose_checkpoint(due);
        }
    }

    fn propose_checkpoint(&mut self, list: Vec<(LeaseId, i64)>) -> Result<(), seatrial_raft::ProposeError> {
        let action = Action::Store(Command::LeaseCheckpoint(list));
        let proposal = Proposal { origin: self.id(), request: Proposal::NOBODY, action };
        self.raft.propose(vec![proposal.encode()])
    }

    /// Whether a renewal must wait, and which lease for.
    pub(super) fn must_clear(&self, request: &Request) -> Option<LeaseId> {
        match request.inner() {
            Request::LeaseKeepAlive(_) if is_planted(Planted::L07) => None,
            Request::LeaseKeepAlive(id) if self.leases_led && self.store.leases().is_noted(*id) => Some(*id),
            _ => None,
        }
    }

    /// Proposes to take back the checkpoints that stand in the way of renewals; whether there was anything to propose.
    pub(super) fn clear_checkpoints(&mut self) -> bool {
        if self.held_leases.untold.is_empty() || self.raft.role() != Role::Leader || !self.leases_led {
            return false;
        }
        let mut ids = std::mem::take(&mut self.held_leases.untold);
        let mut refused = Vec::new();
        // One that is gone, or taken back already, is so by an entry that stands in the log behind its checkpoint.
        ids.retain(|id| self.store.leases_mut().begin_clearing(*id));
        for batch in ids.chunks(BATCH) {
            if self.propose_checkpoint(batch.iter().map(|id| (*id, 0)).collect()).is_err() {
                // Too much is uncommitted; tried again at the next flush.
                batch.iter().for_each(|id| self.store.leases_mut().abandon_clearing(*id));
                refused.extend_from_slice(batch);
            }
        }
        let told = ids.len() > refused.len();
        self.held_leases.untold = refused;
        told
    }

    /// A checkpoint is applied: renewals that waited for it to be taken back go on.
    pub(super) fn checkpoint_applied(&mut self, list: &[(LeaseId, i64)]) {
        for (id, _) in list.iter().filter(|(_, left)| *left == 0) {
            self.release_renewals(*id);
        }
    }

    pub(super) fn release_renewals(&mut self, lease: LeaseId) {
        if let Some(reads) = self.held_leases.by_lease.remove(&lease) {
            self.reads.ready_at(self.store.applied(), reads);
        }
    }

    /// This member leads no longer: the next leader is to renew what waits.
    pub(super) fn pass_on_renewals(&mut self) {
        for read in std::mem::take(&mut self.held_leases).by_lease.into_values().flatten() {
            match read {
                Read::Own(id) => self.ask_leader(id),
                Read::Forwarded { from, id, .. } => {
                    let body = PeerBody::ForwardAnswer { id, result: Err(Error::NotLeader) };
                    self.output(Output::Send(PeerMessage { from: self.id(), to: from, body }));
                }
            }
        }
    }
}
