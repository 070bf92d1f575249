//! The engines, the machines and the store.

use super::machine::Machine;
use super::model::{Fate, Left};
use super::rules::Wrong;
use crate::script::{Ask, Prompter, Reply, Stand, resume};
use crate::server::Server;
use seatrial_client::{Election, LockError, Place};
use seatrial_fleet::engine::Policy;
use seatrial_fleet::lead::{Lead, Verdict};
use seatrial_fleet::model::{JobState, MachineInfo};
use seatrial_fleet::registry::keys::{ENGINE, SPEC};
use seatrial_fleet::registry::{Batch, Fence, Mirror, Write, agent, write};
use seatrial_fleet::unit::{MachineId, UnitFile, UnitName};
use seatrial_store::Command;
use seatrial_types::request::{Response, TxnRequest, TxnResponse};
use seatrial_types::{KeyValue, LeaseId};
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// Leases of one engine or machine, at most.
const SESSIONS_MAX: i64 = 64;

/// Where an engine is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It has no lease.
    Rests,
    /// It stands for election.
    Campaigns,
    /// It was told that it leads. What it has decided and not sent yet goes out in order.
    Leads(Box<Lead>, Vec<Batch>),
}

/// An engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Engine {
    /// Where it is.
    pub phase: Phase,
    sessions: i64,
    replies: Vec<Reply>,
}

/// What an engine had sent before it died.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Late {
    pub(super) fence: Fence,
    pub(super) batch: Batch,
}

/// The registry as it is in the store, read once for all who look. It follows from the store, so states are compared without it.
#[derive(Clone, Debug)]
pub(super) struct Known(Arc<Mirror>);

impl PartialEq for Known {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Known {}

impl Hash for Known {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// All of it. A clone is another future.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fleet {
    /// Each one's name is its place.
    pub engines: Vec<Engine>,
    /// The machines.
    pub machines: Vec<Machine>,
    pub(super) server: Server,
    pub(super) known: Known,
    /// Leases that nobody keeps any more. They end at any time.
    pub(super) orphans: BTreeSet<LeaseId>,
    pub(super) late: Vec<Late>,
    pub(super) left: Left,
    /// What went wrong in the last step.
    pub(super) wrong: Option<Wrong>,
}

pub(super) fn unit(at: usize) -> UnitName {
    UnitName::parse(&format!("u{}.service", at + 1)).expect("a name of a unit")
}

fn id(text: String) -> MachineId {
    MachineId::parse(&text).expect("a name of a machine")
}

/// Units of lost machines are moved as soon as one is missed: any pace is a matter of time.
fn policy() -> Policy {
    Policy { settle: Duration::ZERO, mass_loss_percent: 100, ..Policy::default() }
}

impl Fleet {
    /// Machines that are registered and have nothing, units that are to run, and engines of which none leads.
    pub(super) fn new(engines: usize, machines: usize, units: usize, left: Left) -> Self {
        let engine = Engine { phase: Phase::Rests, sessions: 0, replies: Vec::new() };
        let mut fleet = Self {
            engines: vec![engine; engines],
            machines: (0..machines).map(|at| Machine::new(id(format!("m{}", at + 1)))).collect(),
            server: Server::new(),
            known: Known(Arc::default()),
            orphans: BTreeSet::new(),
            late: Vec::new(),
            left,
            wrong: None,
        };
        let text = "[Service]\nExecStart=/bin/x\n[X-Fleet]\nOnPartition=stop\n";
        let file = UnitFile::parse(text).expect("a file of a unit");
        for at in 0..units {
            fleet.order(&Write::PutUnit {
                name: unit(at),
                file: file.clone(),
                desired: Some(JobState::Launched),
            });
        }
        for at in 0..machines {
            fleet.machines[at].start();
            fleet.register(at);
        }
        (0..machines).for_each(|at| fleet.look(at));
        fleet
    }

    /// A client's order, made of the newest there is.
    pub(super) fn order(&mut self, order: &Write) {
        let request = write(self.mirror(), std::slice::from_ref(order)).expect("one order fits");
        self.txn(request);
    }

    fn txn(&mut self, request: TxnRequest) -> TxnResponse {
        let answer = self.server.apply(&Command::Txn(request));
        self.read();
        match answer {
            Ok(Response::Txn(answer)) => answer,
            other => unreachable!("a transaction of ours is in order: {other:?}"),
        }
    }

    /// What any reader finds in the registry.
    pub(super) fn mirror(&self) -> &Mirror {
        &self.known.0
    }

    /// To be called whenever something was written.
    pub(super) fn read(&mut self) {
        let kvs = self.server.kvs().iter().filter(|kv| kv.key.starts_with(SPEC.as_bytes()));
        let kvs: Vec<KeyValue> = kvs.cloned().collect();
        self.known = Known(Arc::new(Mirror::of(&kvs, self.server.revision())));
    }

    fn lease(&self, at: usize) -> LeaseId {
        let before = i64::try_from(at).unwrap_or(i64::MAX) * SESSIONS_MAX;
        LeaseId(before + self.engines[at].sessions)
    }

    pub(super) fn is_alive(&self, at: usize) -> bool {
        self.engines[at].phase != Phase::Rests && self.server.has_lease(self.lease(at))
    }

    /// An engine gets a lease and stands for election.
    pub(super) fn begin(&mut self, at: usize) {
        self.engines[at].sessions += 1;
        assert!(self.engines[at].sessions < SESSIONS_MAX, "engine {} has too many sessions", at + 1);
        self.server.grant(self.lease(at));
        self.engines[at].phase = Phase::Campaigns;
    }

    fn campaign(&self, at: usize) -> Stand<Result<Place, LockError>> {
        let (lease, value) = (self.lease(at), format!("engine {}", at + 1));
        resume(&self.engines[at].replies, |store: Prompter| async move {
            Election::new(store, ENGINE.as_bytes()).campaign(lease, value.into()).await
        })
    }

    /// What a campaign asks the store for next.
    pub(super) fn ask(&self, at: usize) -> Option<Ask> {
        if self.engines[at].phase != Phase::Campaigns {
            return None;
        }
        match self.campaign(at) {
            Stand::Asks(ask) => Some(ask),
            Stand::Ended(end) => unreachable!("taken at once: {end:?}"),
        }
    }

    /// The store hears what a campaign asks for, and the engine hears the answer.
    pub(super) fn access(&mut self, at: usize, fate: Fate) {
        let Some(ask) = self.ask(at) else { return };
        let served = if fate == Fate::Lost { Some(Reply::Unknown) } else { self.server.serve(&ask) };
        let Some(reply) = served else { return };
        let reply = if fate == Fate::Well { reply } else { Reply::Unknown };
        self.engines[at].replies.push(reply);
        match self.campaign(at) {
            Stand::Asks(_) => {}
            Stand::Ended(Ok(place)) => {
                let fence = Fence { key: place.key, created: place.revision };
                if !self.leads(&fence) && self.server.get(&fence.key).is_some() {
                    self.wrong = Some(Wrong::Early(at));
                }
                let lead = Lead::new(fence, policy(), Duration::ZERO);
                let engine = &mut self.engines[at];
                engine.replies.clear();
                engine.phase = Phase::Leads(Box::new(lead), Vec::new());
            }
            Stand::Ended(Err(_)) => self.rest(at),
        }
    }

    /// It begins anew, and gives its lease back where there is one.
    pub(super) fn rest(&mut self, at: usize) {
        self.server.end(self.lease(at));
        let engine = &mut self.engines[at];
        engine.phase = Phase::Rests;
        engine.replies.clear();
    }

    /// Its lease runs out, and it does not know.
    pub(super) fn end(&mut self, at: usize) {
        self.server.end(self.lease(at));
    }

    /// It dies. Its lease runs out by itself; what it has sent may arrive all the same.
    pub(super) fn die(&mut self, at: usize, stays: bool) {
        let lease = self.lease(at);
        if self.server.has_lease(lease) {
            self.orphans.insert(lease);
        }
        let engine = &mut self.engines[at];
        engine.replies.clear();
        if let Phase::Leads(lead, sending) = std::mem::replace(&mut engine.phase, Phase::Rests)
            && let Some(batch) = sending.into_iter().next()
            && stays
        {
            self.late.push(Late { fence: lead.fence().clone(), batch });
        }
    }

    /// It looks at everything and decides. An engine that knows less has looked earlier: that is another future.
    pub(super) fn pass(&mut self, at: usize) {
        let known = Mirror::clone(self.mirror());
        let Phase::Leads(lead, sending) = &mut self.engines[at].phase else { return };
        if !sending.is_empty() {
            return;
        }
        let mut fresh = lead.clone();
        fresh.know(known);
        // Where there is nothing to do, nothing that matters has changed.
        if let Some((_, batches)) = fresh.pass(Duration::ZERO).filter(|(_, batches)| !batches.is_empty()) {
            (*lead, *sending) = (fresh, batches);
        }
    }

    /// The next transaction of a pass arrives, and the answer does.
    pub(super) fn send(&mut self, at: usize, fate: Fate) {
        let Phase::Leads(lead, sending) = &mut self.engines[at].phase else { return };
        if sending.is_empty() {
            return;
        }
        let (batch, fence) = (sending.remove(0), lead.fence().clone());
        let answer = (fate != Fate::Lost).then(|| self.written(&fence, &batch));
        match answer.filter(|_| fate == Fate::Well) {
            Some(answer) => {
                let Phase::Leads(lead, _) = &mut self.engines[at].phase else { return };
                if lead.answered(batch, &answer) == Verdict::Deposed {
                    self.rest(at);
                }
            }
            // Whether it has happened the registry alone knows: a new term reads it.
            None => self.rest(at),
        }
    }

    /// What a dead engine had sent arrives.
    pub(super) fn arrive(&mut self, which: usize) {
        let Late { fence, batch } = self.late.remove(which);
        self.written(&fence, &batch);
    }

    fn written(&mut self, fence: &Fence, batch: &Batch) -> TxnResponse {
        let (leads, before) = (self.leads(fence), self.known.clone());
        let answer = self.txn(batch.request.clone());
        if answer.succeeded {
            self.wrong = self.wrong.take().or_else(|| Wrong::of(leads, before.0.cluster(), &batch.decisions));
        }
        answer
    }

    /// Whether this is the oldest key of the election.
    pub(super) fn leads(&self, fence: &Fence) -> bool {
        let oldest = self.server.oldest(format!("{ENGINE}/").as_bytes());
        oldest.is_some_and(|kv| kv.key == fence.key && kv.create_revision == fence.created)
    }

    /// The keeper of a machine: a lease, if there is none, and its key; or a renewal of what it holds.
    pub(super) fn register(&mut self, at: usize) {
        let alive = |lease: &LeaseId| self.server.has_lease(*lease);
        let machine = &self.machines[at];
        let Some(duty) = &machine.duty else { return };
        let held = duty.held().filter(|held| alive(&held.lease));
        let is_there = |lease: LeaseId| machine.lease == Some(lease);
        if let Some(held) = held.filter(|held| is_there(held.lease)) {
            self.machines[at].renewed(held.lease, held.registered);
            return;
        }
        self.machines[at].sessions += 1;
        let machine = &self.machines[at];
        assert!(machine.sessions < SESSIONS_MAX, "{} has too many sessions", machine.id);
        let before = i64::try_from(self.engines.len() + at).unwrap_or(i64::MAX) * SESSIONS_MAX;
        let lease = LeaseId(before + machine.sessions);
        let request = agent::register(&machine.id, &MachineInfo::default(), lease);
        // An old one, if there is one still, has no keys any more when it ends.
        if let Some(old) = machine.lease.filter(alive) {
            self.orphans.insert(old);
        }
        self.server.grant(lease);
        let registered = self.txn(request).header.revision;
        self.machines[at].lease = Some(lease);
        self.machines[at].renewed(lease, registered);
    }

    /// An agent's watch tells it all that there is.
    pub(super) fn look(&mut self, at: usize) {
        let Some(duty) = &self.machines[at].duty else { return };
        let is_behind = duty.mirror().is_none_or(|mirror| {
            let is_older = duty.held().is_some_and(|held| mirror.revision() < held.registered);
            is_older || mirror.cluster() != self.mirror().cluster()
        });
        if is_behind {
            let known = Mirror::clone(self.mirror());
            self.machines[at].know(known);
        }
    }

    /// A machine's lease ends in the store.
    pub(super) fn lose(&mut self, at: usize) {
        if let Some(lease) = self.machines[at].lease.take() {
            self.server.end(lease);
        }
    }
}
