//! The simulated cluster as the runner sees it.

use crate::actor::GrpcClient;
use crate::fleet::{self, Host, HostSettings};
use crate::member::{self, Roster};
use crate::reboots::Locks;
use crate::values::Operation;
use seatrial_lab::{client_url, host, peer_url};
use seatrial_scenario::damage;
use seatrial_scenario::fault::{ClockFault, DiskDamage, DiskFault, LinkRule, Place};
use seatrial_scenario::format::spec::Files;
use seatrial_scenario::record::Notebook;
use seatrial_scenario::theatre::{Build, FleetOrder, Theatre, TheatreError};
use seatrial_scenario::{Knobs, Plan};
use seatrial_types::{MemberId, buggify};
use seatrial_world::World;
use seatrial_world_sim::{
    Crash, CutKind, DiskLatency, LatencyRange, LinkRule as SimRule, NodeId, Sim, SimWorld, Times,
};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How files of the log and of the store end.
const LOG: &str = ".wal";
/// See [`LOG`].
const STORE: &str = ".redb";
/// Longer than any run.
const FOR_LONG: Duration = Duration::from_secs(1 << 20);

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
    /// How members serve the lock of machines that reboot, where there are any.
    locks: Arc<Locks>,
    /// The machines of the fleet, by their clients.
    hosts: Arc<BTreeMap<u32, (Host, HostSettings)>>,
    /// Those of them that nobody reaches.
    unplugged: Arc<Mutex<BTreeSet<u32>>>,
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
        let addresses: BTreeMap<MemberId, String> =
            plan.machines().map(|machine| (machine, client_url(machine))).collect();
        let machines = plan.clients.iter().filter(|client| client.spec.is_machine(client.number));
        let hosts = machines.map(|client| {
            let settings = HostSettings {
                ttl: client.spec.ttl,
                evictions: client.spec.units.evictions,
                addresses: addresses.values().cloned().collect(),
            };
            (client.machine, (Host::new(sim.clone(), notebook.clone(), client.machine), settings))
        });
        let hosts = Arc::new(hosts.collect());
        Self {
            hosts,
            unplugged: Arc::default(),
            roster: Arc::new(Roster::new(plan.members())),
            knobs: plan.knobs.clone(),
            sim,
            notebook,
            clients: Arc::new(clients),
            disks: Arc::default(),
            addresses: Arc::new(addresses),
            locks: Arc::new(Locks::of(plan)),
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

    /// The machine of the fleet that a client stands for, where it was ever started.
    fn host_node(&self, machine: u32) -> Option<NodeId> {
        self.sim.find(&format!("fleet-{machine}"))
    }

    fn start_host(&self, machine: u32) {
        if let Some(node) = self.host_node(machine) {
            self.sim.restart(node);
            return;
        }
        let Some((host, settings)) = self.hosts.get(&machine).cloned() else { return };
        let builder = self.sim.node(&format!("fleet-{machine}"));
        let _ = builder.init(move |world| fleet::run(world, host.clone(), settings.clone())).build();
    }

    /// Nobody reaches a machine of the fleet any more, or all do again.
    fn plug(&self, machine: u32, is_in: bool) {
        let Some(node) = self.host_node(machine) else { return };
        {
            let mut unplugged = self.unplugged.lock().expect("no panic while held");
            if is_in {
                unplugged.remove(&machine)
            } else {
                unplugged.insert(machine)
            };
        }
        let net = self.sim.net();
        for member in self.addresses.keys().filter_map(|member| self.node(*member)) {
            if is_in {
                net.heal(node, member);
                net.heal(member, node);
            } else {
                net.cut(node, member);
                net.cut(member, node);
            }
        }
    }

    fn is_unplugged(&self, place: Place) -> bool {
        let Place::Client(machine) = place else { return false };
        self.unplugged.lock().expect("no panic while held").contains(&machine)
    }

    fn bend(&self, from: NodeId, to: NodeId, rule: LinkRule) {
        let net = self.sim.net();
        match (rule.cut, rule.reset) {
            (true, _) => net.cut(from, to),
            (false, true) => net.cut_with(from, to, CutKind::Reset),
            (false, false) => net.heal(from, to),
        }
        let usual = base_rule(&self.knobs);
        if (LinkRule { cut: false, reset: false, ..rule }).is_healthy() {
            net.clear_link(from, to);
        } else {
            let latency = usual.latency + rule.extra_latency;
            let jitter = usual.jitter + rule.extra_jitter;
            let mut bent = usual.latency(latency).jitter(jitter).loss(f64::from(rule.loss_ppm) / 1e6);
            bent.bandwidth = rule.bandwidth;
            net.set_link(from, to, bent);
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
        let varies = if self.knobs.still { Duration::ZERO } else { usual / 2 };
        let sync = LatencyRange {
            min: usual - varies + fault.sync_latency,
            max: usual + varies + fault.sync_latency + fault.sync_jitter,
        };
        self.sim.disk(node).set_latency(DiskLatency { sync, ..DiskLatency::default() });
    }
}

/// What is in the path of these files and of no others.
fn part_of(files: Files) -> &'static str {
    match files {
        Files::Any => "",
        Files::Log => LOG,
        Files::Store => STORE,
    }
}

fn base_rule(knobs: &Knobs) -> SimRule {
    let jitter = if knobs.still { Duration::ZERO } else { knobs.net_latency / 2 };
    SimRule::default().latency(knobs.net_latency).jitter(jitter)
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
        let (knobs, notebook, locks) = (self.knobs.clone(), self.notebook.clone(), Arc::clone(&self.locks));
        let builder = self.sim.node(&host(member)).init(move |world| {
            let (roster, locks) = (Arc::clone(&roster), Arc::clone(&locks));
            member::run(world, sim.clone(), member, roster, locks, knobs.clone(), notebook.clone())
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

    fn power_loss_after(&self, member: MemberId, operations: Option<u64>) -> Result<(), TheatreError> {
        let Some(node) = self.node(member) else { return Ok(()) };
        match operations {
            Some(count) => self.sim.disk(node).power_loss_after_ops(count),
            None => self.sim.disk(node).keep_power(),
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
        // Where a client stands for a machine of the fleet, what befalls it befalls the machine.
        let host = |place: Place| match place {
            Place::Client(machine) => self.host_node(machine),
            Place::Member(member) => self.node(member),
        };
        if matches!((from, to), (Place::Client(_), _) | (_, Place::Client(_)))
            && !self.is_unplugged(from)
            && !self.is_unplugged(to)
            && let (Some(from), Some(to)) = (host(from), host(to))
        {
            self.bend(from, to, rule);
        }
        if let (Some(from), Some(to)) = (self.place(from), self.place(to)) {
            self.bend(from, to, rule);
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
        for ((files, fails), (_, failed)) in fault.sync_fails.each().into_iter().zip(before.sync_fails.each())
        {
            match (failed, fails) {
                (false, true) => disk.fail_sync(part_of(files), Times::Once),
                // It may not have bitten.
                (true, false) => disk.spare_syncs(part_of(files)),
                _ => {}
            }
        }
        for ((files, fails), (_, failed)) in fault.reads_fail.each().into_iter().zip(before.reads_fail.each())
        {
            match (failed, fails) {
                (false, true) => {
                    disk.drop_cache(part_of(files));
                    disk.fail_read(part_of(files), Times::Always);
                }
                (true, false) => disk.spare_reads(part_of(files)),
                _ => {}
            }
        }
        for ((files, astray), (_, went)) in fault.misdirects.each().into_iter().zip(before.misdirects.each())
        {
            match (went, astray) {
                (false, true) => disk.misdirect(part_of(files), Times::Once),
                (true, false) => disk.spare_writes(part_of(files)),
                _ => {}
            }
        }
        if fault.full != before.full {
            disk.set_capacity(fault.full.then_some(0));
        }
        match (before.stalled, fault.stalled) {
            (false, true) => disk.stall(FOR_LONG),
            (true, false) => disk.unstall(),
            _ => {}
        }
        if fault.sync_lies != before.sync_lies {
            disk.lie_about_syncs(fault.sync_lies);
        }
        self.set_latency(node, fault);
        Ok(())
    }

    fn damage(&self, member: MemberId, damage: DiskDamage) -> Result<Option<String>, TheatreError> {
        let Some(node) = self.node(member) else { return Ok(None) };
        let operation = match damage {
            DiskDamage::Value => Some((Operation::Damage, "a value in its store becomes another")),
            DiskDamage::ValueRepaired => Some((Operation::Repair, "the value is put right")),
            DiskDamage::WalTail | DiskDamage::WalMiddle { .. } | DiskDamage::StoreRot { .. } => None,
        };
        if let Some((operation, text)) = operation {
            self.roster.operate(member, operation);
            return Ok(Some(text.to_owned()));
        }
        let disk = self.sim.disk(node);
        let is_store = matches!(damage, DiskDamage::StoreRot { .. });
        let ending = if is_store { STORE } else { LOG };
        // A machine that joins again leaves the folder that it had.
        let folder = format!("{}/", self.roster.folder(member));
        let mut segments: Vec<(String, Vec<u8>)> = disk
            .paths()
            .into_iter()
            .filter(|path| path.starts_with(&folder) && path.ends_with(ending) && !path.contains("damaged"))
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

    fn client_clock(&self, machine: u32, fault: ClockFault) -> Result<(), TheatreError> {
        let Some(node) = self.clients.get(&machine) else { return Ok(()) };
        let clock = self.sim.clock(*node);
        clock.set_drift(fault.drift_ppm);
        if fault.wall_step_ms != 0 {
            clock.step_wall(fault.wall_step_ms);
        }
        Ok(())
    }

    fn build(&self, member: MemberId, build: Build) -> Result<(), TheatreError> {
        self.roster.build(member, build);
        Ok(())
    }

    fn peer_url(&self, machine: MemberId) -> String {
        peer_url(machine)
    }

    fn machine_at(&self, url: &str) -> Option<MemberId> {
        self.addresses.keys().copied().find(|machine| peer_url(*machine) == url)
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

    fn fleet(&self, machine: u32, order: FleetOrder) -> Result<(), TheatreError> {
        if order == FleetOrder::Start {
            self.start_host(machine);
        }
        let Some(node) = self.host_node(machine) else { return Ok(()) };
        match order {
            FleetOrder::Start => {}
            FleetOrder::Kill => self.sim.kill(node),
            FleetOrder::PowerOff => {
                if let Some((host, _)) = self.hosts.get(&machine) {
                    host.power_off();
                }
                self.sim.power_loss(node, Crash::LoseAll);
            }
            FleetOrder::Pause => self.sim.pause(node),
            FleetOrder::Resume => self.sim.resume(node),
            FleetOrder::CutOff => self.plug(machine, false),
            FleetOrder::PlugIn => self.plug(machine, true),
            FleetOrder::Drift(ppm) => self.sim.clock(node).set_drift(ppm),
        }
        Ok(())
    }

    fn is_running(&self, member: MemberId) -> bool {
        self.node(member).is_some_and(|node| self.sim.is_up(node))
    }
}
