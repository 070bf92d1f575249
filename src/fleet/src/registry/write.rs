//! Transactions that change the registry.

use super::keys::Key;
use super::mirror::Mirror;
use super::records::{DesiredRecord, MetadataRecord, Target, UnitRecord, encode};
use crate::engine::{Decision, Why};
use crate::model::{JobState, MachineInfo, UnitState};
use crate::unit::{MachineId, UnitFile, UnitName};
use bytes::Bytes;
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::request::{
    Compare, CompareOp, CompareTarget, DeleteRangeRequest, PutRequest, RangeRequest, TxnOp, TxnOpResponse,
    TxnRequest, TxnResponse,
};
use seatrial_types::{KeyRange, LeaseId, Revision};
use std::collections::BTreeSet;

/// So many comparisons or operations fit into one transaction (etcd: `--max-txn-ops`).
pub const OPS_MAX: usize = 128;

/// Up to three comparisons for each decision, and one for the leader.
const DECISIONS_MAX: usize = (OPS_MAX - 1) / 3;

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

/// Makes a transaction hold only as long as the engine leads.
#[must_use]
pub fn fenced(mut request: TxnRequest, fence: &Fence) -> TxnRequest {
    request.compare.push(compare(fence.key.clone(), CompareTarget::Create(fence.created)));
    request
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
/// and none gets two; and a machine that counts as gone is still gone.
#[must_use]
pub fn schedule(mirror: &Mirror, decisions: &[Decision], fence: &Fence) -> Vec<Batch> {
    let batches = decisions.chunks(DECISIONS_MAX).map(|decisions| {
        let unfenced = TxnRequest::default();
        let mut request = if is_planted(Planted::F13) { unfenced } else { fenced(unfenced, fence) };
        // Says which of the comparisons did not hold: an engine that does not lead any more has to know it.
        let range = KeyRange::single(fence.key.clone());
        request.failure.push(TxnOp::Range(RangeRequest { range, ..RangeRequest::default() }));
        for decision in decisions {
            let (unit, target) = (Key::Unit(decision.unit.clone()), Key::Target(decision.unit.clone()));
            let (unit_mod, target_mod) = mirror.revisions(&decision.unit);
            if !is_planted(Planted::F22) {
                request.compare.push(unchanged(&unit, unit_mod));
                request.compare.push(unchanged(&target, target_mod));
                // A machine that has come back meanwhile keeps its units.
                if let Why::MachineGone(machine) = &decision.why {
                    request.compare.push(unchanged(&Key::Machine(machine.clone()), Revision(0)));
                }
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Limits, decide};
    use crate::model::testing::*;
    use seatrial_types::request::RangeResponse;
    use seatrial_types::{Event, EventKind, KeyValue};

    fn fence() -> Fence {
        Fence { key: Bytes::from_static(b"/_seatrial/fleet/engine/7"), created: Revision(5) }
    }

    fn kv(key: &Key, value: Bytes, modified: i64) -> KeyValue {
        KeyValue { key: key.bytes(), value, mod_revision: Revision(modified), ..KeyValue::default() }
    }

    /// Units that are to be launched, on one machine.
    fn mirror(units: usize) -> Mirror {
        let mut kvs = vec![kv(&Key::Machine(id("m1")), encode(&MachineInfo::default()), 2)];
        for at in 0..units {
            let name = name(&format!("u{at:03}.service"));
            let desired = DesiredRecord { state: JobState::Launched };
            kvs.push(kv(
                &Key::Unit(name.clone()),
                encode(&UnitRecord::of(&UnitFile::default())),
                10 + at as i64,
            ));
            kvs.push(kv(&Key::Desired(name), encode(&desired), 3));
        }
        Mirror::of(&kvs, Revision(1000))
    }

    #[test]
    fn every_decision_is_compared_with_what_it_was_made_of_and_with_the_leader() {
        let mirror = mirror(1);
        let decisions = decide(mirror.cluster(), &Limits::default()).decisions;
        let batches = schedule(&mirror, &decisions, &fence());
        let [Batch { request, .. }] = batches.as_slice() else { panic!("{batches:?}") };
        let unit = name("u000.service");
        assert_eq!(
            request.compare,
            [
                compare(fence().key, CompareTarget::Create(Revision(5))),
                unchanged(&Key::Unit(unit.clone()), Revision(10)),
                unchanged(&Key::Target(unit.clone()), Revision(0)),
            ]
        );
        let value = Bytes::from_static(b"{\"machine\":\"m1\"}");
        assert_eq!(request.success, [put(&Key::Target(unit), value, LeaseId::NONE)]);
    }

    #[test]
    fn units_are_taken_off_a_machine_only_as_long_as_it_is_gone() {
        let unit = name("u000.service");
        let mut mirror = mirror(1);
        let event = |kv| Event { kind: EventKind::Put, kv, prev_kv: None };
        let target = encode(&Target { machine: id("gone") });
        mirror.apply(&event(kv(&Key::Target(unit.clone()), target, 20)));
        let decisions = decide(mirror.cluster(), &Limits::default()).decisions;
        let batches = schedule(&mirror, &decisions, &fence());
        let gone = unchanged(&Key::Machine(id("gone")), Revision(0));
        assert!(batches[0].request.compare.contains(&gone), "{batches:?}");
    }

    #[test]
    fn many_decisions_go_into_few_transactions_that_are_not_too_large() {
        let mirror = mirror(130);
        let decisions = decide(mirror.cluster(), &Limits::default()).decisions;
        let batches = schedule(&mirror, &decisions, &fence());
        let sizes: Vec<_> = batches.iter().map(|batch| batch.decisions.len()).collect();
        assert_eq!(sizes, [42, 42, 42, 4]);
        assert!(batches.iter().all(|batch| batch.request.compare.len() <= OPS_MAX));
    }

    #[test]
    fn an_engine_tells_its_end_from_a_change_that_came_between() {
        let own = KeyValue { create_revision: Revision(5), ..kv(&Key::Lost(id("x")), Bytes::new(), 5) };
        let answer = |succeeded, kvs| {
            let range = TxnOpResponse::Range(RangeResponse { kvs, ..RangeResponse::default() });
            TxnResponse { succeeded, responses: vec![range], ..TxnResponse::default() }
        };
        assert!(!fence().is_broken_by(&answer(false, vec![own.clone()])));
        assert!(fence().is_broken_by(&answer(false, vec![])));
        let other = KeyValue { create_revision: Revision(9), ..own };
        assert!(fence().is_broken_by(&answer(false, vec![other])));
        assert!(!fence().is_broken_by(&TxnResponse { succeeded: true, ..TxnResponse::default() }));
    }

    #[test]
    fn what_was_written_is_known_at_once_and_older_news_do_not_undo_it() {
        let mut mirror = mirror(1);
        let unit = name("u000.service");
        let target = |machine: &str, modified| {
            kv(&Key::Target(unit.clone()), encode(&Target { machine: id(machine) }), modified)
        };
        let event = |kv| Event { kind: EventKind::Put, kv, prev_kv: None };
        let operation = |kv: &KeyValue| {
            TxnOp::Put(PutRequest { key: kv.key.clone(), value: kv.value.clone(), ..PutRequest::default() })
        };
        mirror.wrote(&[operation(&target("m1", 0))], Revision(1010));
        mirror.wrote(&[operation(&target("m2", 0))], Revision(1020));
        assert_eq!(mirror.revision(), Revision(1000), "what others wrote is still to come");
        mirror.apply(&event(target("m1", 1010)));
        assert_eq!(mirror.cluster().units[&unit].target, Some(id("m2")));
        assert_eq!(mirror.revisions(&unit), (Revision(10), Revision(1020)));
        mirror.apply(&event(target("m3", 1030)));
        assert_eq!(mirror.cluster().units[&unit].target, Some(id("m3")));
    }

    #[test]
    fn a_value_that_cannot_be_read_is_kept_apart_and_can_be_put_right() {
        let mut mirror = mirror(2);
        let unit = name("u000.service");
        let event = |kv| Event { kind: EventKind::Put, kv, prev_kv: None };
        mirror.apply(&event(kv(&Key::Desired(unit.clone()), Bytes::from_static(b"nonsense"), 1001)));
        assert_eq!(mirror.cluster().units[&unit].desired, JobState::Inactive);
        let said = mirror.problems().values().next().unwrap().to_string();
        assert!(
            said.starts_with("the value of /_seatrial/fleet/spec/desired/u000.service cannot be read"),
            "{said}"
        );
        let right = encode(&DesiredRecord { state: JobState::Loaded });
        mirror.apply(&event(kv(&Key::Desired(unit.clone()), right, 1002)));
        assert_eq!(mirror.cluster().units[&unit].desired, JobState::Loaded);
        assert!(mirror.problems().is_empty());
        // Options that are no file: the unit is there, runs nowhere and can be deleted.
        let options = b"{\"options\":[{\"section\":\"A\",\"name\":\"b\",\"value\":\"c\\nd\"}]}";
        mirror.apply(&event(kv(&Key::Unit(unit.clone()), Bytes::from_static(options), 1003)));
        assert!(mirror.cluster().units[&unit].refused.is_some());
        let delete = write(&mirror, &[Write::Destroy { name: unit.clone() }]).unwrap();
        assert_eq!(delete.compare, [unchanged(&Key::Unit(unit), Revision(1003))]);
    }

    #[test]
    fn a_unit_that_was_taken_away_is_forgotten_with_all_its_parts() {
        let mut mirror = mirror(1);
        let unit = name("u000.service");
        for key in [Key::Desired(unit.clone()), Key::Unit(unit.clone()), Key::Target(unit.clone())] {
            mirror.apply(&Event { kind: EventKind::Delete, kv: kv(&key, Bytes::new(), 1001), prev_kv: None });
        }
        assert!(mirror.cluster().units.is_empty());
        assert_eq!(mirror.revisions(&unit), (Revision(0), Revision(0)));
    }

    #[test]
    fn too_many_changes_do_not_fit() {
        let change =
            |at: usize| Write::SetMetadata { machine: id("m1"), key: format!("k{at}"), value: "v".into() };
        let changes: Vec<Write> = (0..=OPS_MAX).map(change).collect();
        assert!(write(&Mirror::default(), &changes[..OPS_MAX]).is_some());
        assert!(write(&Mirror::default(), &changes).is_none());
    }
}
