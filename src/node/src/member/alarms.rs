//! Alarms: states of the cluster in which some requests are refused until an operator has acted.
//!
//! They are part of what the log makes, so that all members refuse the same entries; raising one is a proposal like
//! any other.

use super::Member;
use crate::proposal::{Action, Proposal};
use bytes::Bytes;
use seatrial_store::{Backend, Command};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::request::{
    AlarmChangeRequest, AlarmKind, AlarmListResponse, PutRequest, TxnOp, TxnRequest,
};
use seatrial_types::v2::{V2Action, V2Change, V2Request};
use seatrial_types::{Error, LogIndex, MemberId, Request, Response, Term};
use std::collections::BTreeSet;

/// Under which key the alarms lie in the store.
pub(super) const ALARMS_KEY: &[u8] = b"alarms";

/// What each kind of member is worried about.
pub(super) type Alarms = BTreeSet<(MemberId, AlarmKind)>;

/// Whether a branch of a transaction writes keys (a delete frees space in the end).
fn puts(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        TxnOp::Put(_) => true,
        TxnOp::Txn(inner) => puts(inner),
        TxnOp::Range(_) | TxnOp::DeleteRange(_) => false,
    })
}

/// What a change of the v2 key space writes.
fn v2_value(change: &V2Change) -> &str {
    match &change.action {
        V2Action::Set { value, .. }
        | V2Action::Create { value, .. }
        | V2Action::CreateInOrder { value, .. }
        | V2Action::Update { value, .. }
        | V2Action::CompareAndSwap { value, .. } => value,
        V2Action::Delete { .. } | V2Action::CompareAndDelete { .. } => "",
    }
}

fn v2_grows(change: &V2Change) -> bool {
    !matches!(change.action, V2Action::Delete { .. } | V2Action::CompareAndDelete { .. })
}

/// Whether a command takes up space.
fn grows(command: &Command) -> bool {
    match command.inner() {
        Command::Put(_) | Command::LeaseGrant(_) => true,
        Command::Txn(txn) => puts(txn),
        Command::DeleteRange(_) => is_planted(Planted::Q04),
        Command::V2(change) => v2_grows(change),
        _ => false,
    }
}

/// Whether a request takes up space.
pub(super) fn request_grows(request: &Request) -> bool {
    match request {
        Request::Put(_) | Request::LeaseGrant(_) => true,
        Request::Txn(txn) => puts(txn),
        Request::V2(V2Request::Change(change)) => v2_grows(change),
        _ => false,
    }
}

/// About how much larger the store becomes by it, as etcd reckons: 256 bytes beside a key and its value, 64 for a lease,
/// and of a transaction the branch that costs more.
fn cost_bytes(request: &Request) -> u64 {
    fn put(put: &PutRequest) -> usize {
        put.key.len() + put.value.len() + 256
    }
    fn branch(ops: &[TxnOp]) -> usize {
        let op = |op: &TxnOp| match op {
            TxnOp::Put(request) => put(request),
            TxnOp::Txn(inner) => txn(inner),
            TxnOp::Range(_) | TxnOp::DeleteRange(_) => 0,
        };
        ops.iter().map(op).sum()
    }
    fn txn(txn: &TxnRequest) -> usize {
        branch(&txn.success).max(branch(&txn.failure))
    }
    let bytes = match request {
        Request::Put(request) => put(request),
        Request::Txn(request) => txn(request),
        Request::LeaseGrant(_) => 64,
        // It is kept twice: as it is now, and as a change.
        Request::V2(V2Request::Change(change)) => 2 * (change.path.len() + v2_value(change).len() + 128),
        _ => 0,
    };
    bytes as u64
}

impl<B: Backend> Member<B> {
    fn is_alarmed(&self, kind: AlarmKind) -> bool {
        self.alarms.iter().any(|(_, on)| *on == kind)
    }

    /// Why an entry is not carried out, where an alarm forbids it. The same on all members.
    pub(super) fn alarm_refuses(&self, command: &Command) -> Option<Error> {
        // What a member does for itself goes on, and users too, as in etcd.
        let changes_keys =
            !matches!(command.inner(), Command::Meta(_) | Command::Auth(_) | Command::LeaseCheckpoint(_));
        if self.is_alarmed(AlarmKind::Corrupt) && changes_keys {
            // Nobody knows which member is right, so nobody changes anything.
            return Some(Error::Corrupt);
        }
        let is_full = self.is_alarmed(AlarmKind::NoSpace) && !is_planted(Planted::Q01);
        (is_full && grows(command)).then_some(Error::NoSpace)
    }

    /// Why a request is not even proposed: this member's file is as large as it may become, or will be once all that was
    /// applied is in it. The first such request raises the alarm.
    pub(super) fn quota_refuses(&mut self, request: &Request) -> Option<Error> {
        let quota = self.options.quota_bytes;
        if quota == 0 || !request_grows(request) {
            return None;
        }
        // What is applied and not written yet will be in the file soon: on a slow disk that may be much.
        let pending = u64::try_from(self.store.pending_bytes()).unwrap_or(u64::MAX);
        if self.store.size().total_bytes.saturating_add(pending) + cost_bytes(request) < quota {
            return None;
        }
        let change = AlarmChangeRequest { raise: true, member: self.id(), kind: AlarmKind::NoSpace };
        let is_on = self.alarms.contains(&(change.member, change.kind)) || is_planted(Planted::Q03);
        if !is_on && self.quota_alarm_due <= self.now {
            self.quota_alarm_due = self.now + self.options.request_timeout;
            let action = Action::Alarm(change);
            let proposal = Proposal { origin: self.id(), request: Proposal::NOBODY, action };
            self.proposals.push((Proposal::NOBODY, proposal.encode()));
        }
        Some(Error::NoSpace)
    }

    /// An alarm's entry is applied.
    pub(super) fn apply_alarm(
        &mut self,
        index: LogIndex,
        term: Term,
        change: &AlarmChangeRequest,
    ) -> Response {
        let alarm = (change.member, change.kind);
        // Clearing answers with what was cleared; raising with the alarm, on already or not (as etcd).
        let told = if change.raise {
            self.alarms.insert(alarm);
            true
        } else {
            self.alarms.remove(&alarm)
        };
        let bytes = postcard::to_extend(&self.alarms, Vec::new()).expect("alarms always encode");
        let mut rows = vec![(Bytes::from_static(ALARMS_KEY), Some(bytes.into()))];
        if is_planted(Planted::Q02) && !change.raise {
            rows.clear();
        }
        if let Err(error) = self.store.apply(index, term, &Command::Meta(rows), self.now) {
            self.broken(&error);
        }
        let alarms = if told { vec![alarm] } else { Vec::new() };
        Response::AlarmChange(AlarmListResponse { header: self.header(), alarms })
    }
}
