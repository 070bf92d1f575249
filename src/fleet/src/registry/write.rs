//! Transactions that change the registry.

use super::keys::Key;
use super::mirror::Mirror;
use super::records::{DesiredRecord, MetadataRecord, Target, UnitRecord, encode};
use crate::engine::Decision;
use crate::model::{JobState, MachineInfo, UnitState};
use crate::unit::{MachineId, UnitFile, UnitName};
use bytes::Bytes;
use seatrial_types::request::{
    Compare, CompareOp, CompareTarget, DeleteRangeRequest, PutRequest, RangeRequest, TxnOp, TxnOpResponse,
    TxnRequest, TxnResponse,
};
use seatrial_types::{KeyRange, LeaseId, Revision};
use std::collections::BTreeSet;

/// So many comparisons or operations fit into one transaction (etcd: `--max-txn-ops`).
pub const OPS_MAX: usize = 128;

/// Two comparisons for each decision, and one for the leader.
const DECISIONS_MAX: usize = (OPS_MAX - 1) / 2;

/// What proves that an engine still leads: its key in the election, by the revision that created it. The next leader's
/// key is another one, so a transaction of a leader that slept through its end writes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The leader's key.
    pub key: Bytes,
    /// The revision that created it.
    pub created: Revision,
}

impl Fence {
    /// Whether the answer to a transaction of [`schedule`] that did not hold says that another one leads, or nobody.
    #[must_use]
    pub fn is_broken_by(&self, answer: &TxnResponse) -> bool {
        let is_ours = |answer: &TxnOpResponse| match answer {
            TxnOpResponse::Range(range) => range.kvs.iter().any(|kv| kv.create_revision == self.created),
            _ => false,
        };
        !answer.succeeded && !answer.responses.iter().any(is_ours)
    }
}

fn compare(key: Bytes, target: CompareTarget) -> Compare {
    Compare { range: KeyRange::single(key), op: CompareOp::Equal, target }
}

fn unchanged(key: &Key, modified: Revision) -> Compare {
    compare(key.bytes(), CompareTarget::Mod(modified))
}

fn put(key: &Key, value: Bytes, lease: LeaseId) -> TxnOp {
    TxnOp::Put(PutRequest { key: key.bytes(), value, lease, ..PutRequest::default() })
}

fn delete(key: &Key) -> TxnOp {
    TxnOp::DeleteRange(DeleteRangeRequest { range: KeyRange::single(key.bytes()), prev_kv: false })
}

/// A transaction and the decisions that it carries out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Batch {
    /// All of it happens, or nothing.
    pub request: TxnRequest,
    /// In order.
    pub decisions: Vec<Decision>,
}

/// The transactions that carry out decisions made of `mirror`. Each holds only as long as the engine leads, and as long as
/// file and target of every unit in it are those that were looked at: a unit that was deleted meanwhile gets no target,
/// and none gets two.
#[must_use]
pub fn schedule(mirror: &Mirror, decisions: &[Decision], fence: &Fence) -> Vec<Batch> {
    let leads = || compare(fence.key.clone(), CompareTarget::Create(fence.created));
    let batches = decisions.chunks(DECISIONS_MAX).map(|decisions| {
        let mut request = TxnRequest { compare: vec![leads()], ..TxnRequest::default() };
        // Says which of the comparisons did not hold: an engine that does not lead any more has to know it.
        let range = KeyRange::single(fence.key.clone());
        request.failure.push(TxnOp::Range(RangeRequest { range, ..RangeRequest::default() }));
        for decision in decisions {
            let (unit, target) = (Key::Unit(decision.unit.clone()), Key::Target(decision.unit.clone()));
            let (unit_mod, target_mod) = mirror.revisions(&decision.unit);
            request.compare.push(unchanged(&unit, unit_mod));
            request.compare.push(unchanged(&target, target_mod));
            request.success.push(match &decision.to {
                Some(machine) => put(&target, encode(&Target { machine: machine.clone() }), LeaseId::NONE),
                None => delete(&target),
            });
        }
        Batch { request, decisions: decisions.to_vec() }
    });
    batches.collect()
}

/// What a client wants changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// A new unit, or another file for one that is there.
    PutUnit {
        /// Which.
        name: UnitName,
        /// Its file.
        file: UnitFile,
        /// What it is meant to be; `None` leaves that as it is.
        desired: Option<JobState>,
    },
    /// What a unit is meant to be.
    SetDesired {
        /// Which.
        name: UnitName,
        /// What.
        desired: JobState,
    },
    /// Take a unit away, with everything that is known of it.
    Destroy {
        /// Which.
        name: UnitName,
    },
    /// Metadata that goes before what the machine says of itself. Empty: the machine is to have no such key.
    SetMetadata {
        /// Whose.
        machine: MachineId,
        /// Which.
        key: String,
        /// What.
        value: String,
    },
    /// The machine will not come back: its units need not wait for it, however many others are gone.
    GiveUp {
        /// Which.
        machine: MachineId,
    },
}

/// The transaction for some of a client's changes, made of `mirror`: it holds only as long as the units are those that were
/// looked at. A client that finds it does not hold looks again.
///
/// More than [`OPS_MAX`] operations do not fit; `None` then.
#[must_use]
pub fn write(mirror: &Mirror, writes: &[Write]) -> Option<TxnRequest> {
    let mut request = TxnRequest::default();
    let mut compared = BTreeSet::new();
    for change in writes {
        let unit = match change {
            Write::PutUnit { name, .. } | Write::SetDesired { name, .. } | Write::Destroy { name } => {
                Some(name)
            }
            Write::SetMetadata { .. } | Write::GiveUp { .. } => None,
        };
        if let Some(name) = unit.filter(|name| compared.insert((*name).clone())) {
            request.compare.push(unchanged(&Key::Unit(name.clone()), mirror.revisions(name).0));
        }
        let wants = |name: &UnitName, state: JobState| {
            put(&Key::Desired(name.clone()), encode(&DesiredRecord { state }), LeaseId::NONE)
        };
        match change {
            Write::PutUnit { name, file, desired } => {
                let value = encode(&UnitRecord::of(file));
                request.success.push(put(&Key::Unit(name.clone()), value, LeaseId::NONE));
                request.success.extend(desired.map(|desired| wants(name, desired)));
            }
            Write::SetDesired { name, desired } => request.success.push(wants(name, *desired)),
            Write::Destroy { name } => {
                let keys = [Key::Unit(name.clone()), Key::Desired(name.clone()), Key::Target(name.clone())];
                request.success.extend(keys.iter().map(delete));
            }
            Write::SetMetadata { machine, key, value } => {
                let record = encode(&MetadataRecord { value: value.clone() });
                request.success.push(put(
                    &Key::Metadata(machine.clone(), key.clone()),
                    record,
                    LeaseId::NONE,
                ));
            }
            Write::GiveUp { machine } => {
                request.success.push(put(
                    &Key::Lost(machine.clone()),
                    Bytes::from_static(b"{}"),
                    LeaseId::NONE,
                ));
            }
        }
    }
    (request.compare.len() <= OPS_MAX && request.success.len() <= OPS_MAX).then_some(request)
}

/// What the agent of a machine writes.
pub mod agent {
    use super::*;

    /// The machine is there, as long as its lease lives. Whoever had given it up was wrong.
    #[must_use]
    pub fn register(id: &MachineId, info: &MachineInfo, lease: LeaseId) -> TxnRequest {
        let there = put(&Key::Machine(id.clone()), encode(info), lease);
        TxnRequest { success: vec![there, delete(&Key::Lost(id.clone()))], ..TxnRequest::default() }
    }

    /// How units do, each with the machine's lease; `None` is a unit that is not there any more. In as many transactions
    /// as it takes.
    #[must_use]
    pub fn publish(
        id: &MachineId,
        changes: &[(UnitName, Option<UnitState>)],
        lease: LeaseId,
    ) -> Vec<TxnRequest> {
        let operation = |(name, state): &(UnitName, Option<UnitState>)| {
            let key = Key::State(id.clone(), name.clone());
            match state {
                Some(state) => put(&key, encode(state), lease),
                None => delete(&key),
            }
        };
        let chunks = changes.chunks(OPS_MAX);
        chunks
            .map(|chunk| TxnRequest {
                success: chunk.iter().map(operation).collect(),
                ..TxnRequest::default()
            })
            .collect()
    }
}
