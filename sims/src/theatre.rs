//! The simulated cluster as the runner sees it.

use crate::actor::GrpcClient;
use crate::member::{self, CLIENT_PORT, Roster, host};
use crate::values::Operation;
use seatrial_scenario::damage;
use seatrial_scenario::fault::{ClockFault, DiskDamage, DiskFault, LinkRule, Place};
use seatrial_scenario::record::Notebook;
use seatrial_scenario::theatre::{Theatre, TheatreError};
use seatrial_scenario::{Knobs, Plan};
use seatrial_types::{MemberId, buggify};
use seatrial_world::World;
use seatrial_world_sim::{
    Crash, CutKind, DiskLatency, LatencyRange, LinkRule as SimRule, NodeId, Sim, SimWorld, Times,
};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A cluster in a simulation. Cheap to clone.
#[derive(Clone)]
pub struct SimTheatre {
    sim: Sim,
    knobs: Knobs,
    roster: Arc<Roster>,
    notebook: Notebook,
    clients: Arc<BTreeMap<u32, NodeId>>,
    disks: Arc<Mutex<BTreeMap<MemberId, DiskFault>>>,
    /// Where clients are heard on each machine that a member may live on.
    addresses: Arc<BTreeMap<MemberId, String>>,
}

impl SimTheatre {
    /// The machines of a plan in a fresh simulation. No member runs yet.
    #[must_use]
    pub fn new(sim: Sim, plan: &Plan, notebook: Notebook) -> Self {
        sim.net().set_default(base_rule(&plan.knobs));
        let clients = plan
            .clients
            .iter()
            .map(|client| (client.machine, sim.node(&format!("client-{}", client.machine)).build()))
            .collect();
        Self {
            roster: Arc::new(Roster::new(plan.members())),
            knobs: plan.knobs.clone(),
            sim,
            notebook,
            clients: Arc::new(clients),
            disks: Arc::default(),
            addresses: Arc::new(plan.machines().map(|machine| (machine, client_url(machine))).collect()),
        }
    }

    fn node(&self, member: MemberId) -> Option<NodeId> {
        self.sim.find(&host(member))
    }

    fn place(&self, place: Place) -> Option<NodeId> {
        match place {
            Place::Member(member) => self.node(member),
            Place::Client(machine) => self.clients.get(&machine).copied(),
        }
    }

    /// What a power loss at this moment does to unsynced writes: the same on all machines that lose their
    /// power together, so that now and then all of them lose all of it.
    fn crash(&self) -> Crash {
        let moment = format!("crash at {:?}", self.sim.now());
        match self.sim.chance(&moment).below(4) {
            0 => Crash::LoseAll,
            _ => Crash::Random,
        }
    }

    /// Gives a disk its ordinary latency, and the fault's on top.
    fn set_latency(&self, node: NodeId, fault: DiskFault) {
        let usual = self.knobs.sync_latency;
        let sync = LatencyRange {
            min: usual / 2 + fault.sync_latency,
            max: usual * 3 / 2 + fault.sync_latency + fault.sync_jitter,
        };
        self.sim.disk(node).set_latency(DiskLatency { sync, ..DiskLatency::default() });
    }
}

fn client_url(machine: MemberId) -> String {
    format!("http://{}:{CLIENT_PORT}", host(machine))
}

fn base_rule(knobs: &Knobs) -> SimRule {
    SimRule::default().latency(knobs.net_latency).jitter(knobs.net_latency / 2)
}

impl Theatre for SimTheatre {
    type Client = GrpcClient<SimWorld>;

    fn now(&self) -> Duration {
        self.sim.now()
    }

    fn sleep_until(&self, at: Duration) -> impl Future<Output = ()> + Send {
        self.sim.sleep(at.saturating_sub(self.sim.now()))
    }

    fn spawn<F>(&self, machine: u32, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let world =
            self.clients.get(&machine).map_or_else(|| self.sim.world(), |node| self.sim.world_of(*node));
        world.spawn(task);
    }

    fn client(&self, machine: u32) -> GrpcClient<SimWorld> {
        let world =
            self.clients.get(&machine).map_or_else(|| self.sim.world(), |node| self.sim.world_of(*node));
        GrpcClient::new(world, Arc::clone(&self.addresses))
    }

    async fn start(&self, member: MemberId) -> Result<(), TheatreError> {
        if let Some(node) = self.node(member) {
            self.sim.restart(node);
            return Ok(());
        }
        let (sim, roster) = (self.sim.clone(), Arc::clone(&self.roster));
        let (knobs, notebook) = (self.knobs.clone(), self.notebook.clone());
        let builder = self.sim.node(&host(member)).init(move |world| {
            member::run(world, sim.clone(), member, Arc::clone(&roster), knobs.clone(), notebook.clone())
        });
        let node = builder.build();
        self.set_latency(node, DiskFault::default());
        Ok(())
    }

    async fn kill(&self, member: MemberId) -> Result<(), TheatreError> {
        if let Some(node) = self.node(member) {
            self.sim.kill(node);
        }
        Ok(())
    }

    async fn power_loss(&self, member: MemberId) -> Result<(), TheatreError> {
        if let Some(node) = self.node(member) {
            self.sim.power_loss(node, self.crash());
        }
        Ok(())
    }

    async fn pause(&self, member: MemberId) -> Result<(), TheatreError> {
        if let Some(node) = self.node(member) {
            self.sim.pause(node);
        }
        Ok(())
    }

    async fn resume(&self, member: MemberId) -> Result<(), TheatreError> {
        if let Some(node) = self.node(member) {
            self.sim.resume(node);
        }
        Ok(())
    }

    fn storm_is_over(&self) {
        buggify::disarm();
    }

    fn link(&self, from: Place, to: Place, rule: LinkRule) -> Result<(), TheatreError> {
        let (Some(from), Some(to)) = (self.place(from), self.place(to)) else { return Ok(()) };
        let net = self.sim.net();
        match (rule.cut, rule.reset) {
            (true, _) => net.cut(from, to),
            (false, true) => net.cut_with(from, to, CutKind::Reset),
            (false, false) => net.heal(from, to),
        }
        let usual = base_rule(&self.knobs);
        if rule.loss_ppm == 0 && rule.extra_latency.is_zero() && rule.extra_jitter.is_zero() {
            net.clear_link(from, to);
        } else {
            let latency = usual.latency + rule.extra_latency;
            let jitter = usual.jitter + rule.extra_jitter;
            net.set_link(
                from,
                to,
                usual.latency(latency).jitter(jitter).loss(f64::from(rule.loss_ppm) / 1e6),
            );
        }
        Ok(())
    }

    fn disk(&self, member: MemberId, fault: DiskFault) -> Result<(), TheatreError> {
        let Some(node) = self.node(member) else { return Ok(()) };
        let before =
            self.disks.lock().expect("no panic while held").insert(member, fault).unwrap_or_default();
        if before == fault {
            return Ok(());
        }
        let disk = self.sim.disk(node);
        let is_over =
            (before.sync_fails && !fault.sync_fails) || (before.log_sync_fails && !fault.log_sync_fails);
        if is_over {
            // It may not have bitten. Whatever else is wrong with this disk is so still.
            disk.repair();
        }
        if fault.sync_fails && (is_over || !before.sync_fails) {
            disk.fail_sync("", Times::Once);
        }
        if fault.log_sync_fails && (is_over || !before.log_sync_fails) {
            disk.fail_sync(".wal", Times::Once);
        }
        if is_over || fault.full != before.full {
            disk.set_capacity(fault.full.then_some(0));
        }
        disk.lie_about_syncs(fault.sync_lies);
        self.set_latency(node, fault);
        Ok(())
    }

    fn damage(&self, member: MemberId, damage: DiskDamage) -> Result<Option<String>, TheatreError> {
        let Some(node) = self.node(member) else { return Ok(None) };
        let operation = match damage {
            DiskDamage::Value => Some((Operation::Damage, "a value in its store becomes another")),
            DiskDamage::ValueRepaired => Some((Operation::Repair, "the value is put right")),
            DiskDamage::WalTail | DiskDamage::WalMiddle { .. } => None,
        };
        if let Some((operation, text)) = operation {
            self.roster.operate(member, operation);
            return Ok(Some(text.to_owned()));
        }
        let disk = self.sim.disk(node);
        let mut segments: Vec<(String, Vec<u8>)> = disk
            .paths()
            .into_iter()
            .filter(|path| path.ends_with(".wal") && !path.contains("damaged"))
            .filter_map(|path| disk.peek(&path).map(|bytes| (path, bytes)))
            .collect();
        segments.sort();
        let Some(spot) = damage::spot(&segments, damage) else { return Ok(None) };
        disk.rot(&segments[spot.segment].0, spot.bytes, spot.bits);
        Ok(Some(spot.text))
    }

    fn clock(&self, member: MemberId, fault: ClockFault) -> Result<(), TheatreError> {
        let Some(node) = self.node(member) else { return Ok(()) };
        let clock = self.sim.clock(node);
        clock.set_drift(fault.drift_ppm);
        if fault.wall_step_ms != 0 {
            clock.step_wall(fault.wall_step_ms);
        }
        Ok(())
    }

    fn peer_url(&self, machine: MemberId) -> String {
        member::peer_url(machine)
    }

    fn machine_at(&self, url: &str) -> Option<MemberId> {
        self.addresses.keys().copied().find(|machine| member::peer_url(*machine) == url)
    }

    fn occupant(&self, machine: MemberId) -> Option<MemberId> {
        self.roster.occupant(machine)
    }

    fn assign(&self, machine: MemberId, id: MemberId) -> Result<(), TheatreError> {
        self.roster.assign(machine, id);
        Ok(())
    }

    fn go_alone(&self, member: MemberId) -> Result<(), TheatreError> {
        self.roster.go_alone(member);
        Ok(())
    }

    fn is_running(&self, member: MemberId) -> bool {
        self.node(member).is_some_and(|node| self.sim.is_up(node))
    }
}
