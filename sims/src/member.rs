//! One member's process: what runs on a simulated machine whenever it is started.

use crate::reboots::Locks;
use crate::values;
use seatrial_lab::{CLIENT_PORT, PEER_PORT, host, peer_url};
use seatrial_node::{Cluster, NodeOptions, Observation, Observer, PeerVersions, RedbOptions};
use seatrial_scenario::Knobs;
use seatrial_scenario::observation;
use seatrial_scenario::record::Notebook;
use seatrial_scenario::theatre::Build;
use seatrial_types::MemberId;
use seatrial_wire::ServeOptions;
use seatrial_world::World;
use seatrial_world_sim::{Sim, SimWorld};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Between two rounds of asking who the cluster is.
const JOIN_PAUSE: Duration = Duration::from_millis(200);

/// A plan numbers machines from 1; the cluster draws its members' ids from their addresses, and gives a machine that
/// joins again another one.
#[derive(Debug)]
pub(crate) struct Roster {
    cluster: Cluster,
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    /// Whose home a machine is. A spare machine is nobody's.
    taken: BTreeMap<MemberId, Seat>,
    /// The machine of everybody there ever was.
    machines: BTreeMap<MemberId, MemberId>,
    /// What is done to stores before their members start next.
    operations: BTreeMap<MemberId, values::Operation>,
    /// Who goes on alone when it starts next.
    alone: BTreeSet<MemberId>,
    /// Machines on which the build before runs.
    before: BTreeSet<MemberId>,
}

/// A member's place on a machine.
#[derive(Clone, Debug)]
struct Seat {
    id: MemberId,
    /// It was added to a running cluster; otherwise it is one of the first.
    joins: bool,
    /// Its folder: each member on a machine finds an empty one.
    folder: String,
}

impl Roster {
    pub(crate) fn new(members: impl Iterator<Item = MemberId>) -> Self {
        let members: Vec<MemberId> = members.collect();
        let named: Vec<(String, Vec<String>)> =
            members.iter().map(|member| (host(*member), vec![peer_url(*member)])).collect();
        let initial = named.iter().map(|(name, urls)| (name.as_str(), urls.clone()));
        let cluster = Cluster::bootstrap(initial, "simulated").expect("names and addresses are unique");
        let mut seats = Seats::default();
        for machine in members {
            let id = cluster.id_of(&host(machine)).expect("just bootstrapped with it");
            seats.taken.insert(machine, Seat { id, joins: false, folder: "data".to_owned() });
            seats.machines.insert(id, machine);
        }
        Self { cluster, seats: Mutex::new(seats) }
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().expect("no panic while held")
    }

    /// The machine of a member; none stays none.
    fn number(&self, id: MemberId) -> MemberId {
        self.seats().machines.get(&id).copied().unwrap_or(MemberId::NONE)
    }

    /// Who lives on a machine.
    pub(crate) fn occupant(&self, machine: MemberId) -> Option<MemberId> {
        self.seats().taken.get(&machine).map(|seat| seat.id)
    }

    /// In which folder the member on a machine keeps everything.
    pub(crate) fn folder(&self, machine: MemberId) -> String {
        self.seats().taken.get(&machine).map(|seat| seat.folder.clone()).unwrap_or_default()
    }

    /// This member goes on alone when it starts next.
    pub(crate) fn go_alone(&self, machine: MemberId) {
        self.seats().alone.insert(machine);
    }

    /// Which build runs on a machine from its next start on.
    pub(crate) fn build(&self, machine: MemberId, build: Build) {
        let mut seats = self.seats();
        match build {
            Build::Before => seats.before.insert(machine),
            Build::Now => seats.before.remove(&machine),
        };
    }

    /// Plans what is done to a member's store before it starts next.
    pub(crate) fn operate(&self, machine: MemberId, operation: values::Operation) {
        self.seats().operations.insert(machine, operation);
    }

    /// Takes that out.
    pub(crate) fn operation(&self, machine: MemberId) -> Option<values::Operation> {
        self.seats().operations.remove(&machine)
    }

    /// Gives a machine to a member that joins.
    pub(crate) fn assign(&self, machine: MemberId, id: MemberId) {
        let mut seats = self.seats();
        let folder = format!("data-{}", seats.machines.len());
        seats.taken.insert(machine, Seat { id, joins: true, folder: folder.clone() });
        // One that comes back under an old id counts as well: its folder is another.
        if seats.machines.insert(id, machine).is_some() {
            let folder = format!("{folder}-again");
            seats.taken.insert(machine, Seat { id, joins: true, folder });
        }
    }
}

/// Takes a member's observations down, with the plan's numbers and true time.
struct Watcher {
    sim: Sim,
    roster: Arc<Roster>,
    notebook: Notebook,
    member: MemberId,
}

impl Observer for Watcher {
    fn observe(&self, id: MemberId, _: Duration, seen: Observation) {
        if let Observation::Applied { index, checksum, .. } = &seen {
            // Applied entries are a part of the trace: two runs of a seed must agree on them.
            self.sim.trace(&format!("{} applied {index} {checksum:08x}", self.member));
        }
        // Whose power is gone in the midst of a step says nothing more, of its disk least of all.
        let is_failure = matches!(seen, Observation::Failed { .. });
        if is_failure && !has_power(&self.sim, self.member) {
            return;
        }
        if let Some(what) = seatrial_lab::translate(id, seen, |id| self.roster.number(id)) {
            self.notebook.observe(self.sim.now(), self.member, what);
        }
    }
}

fn has_power(sim: &Sim, member: MemberId) -> bool {
    sim.find(&host(member)).is_none_or(|node| sim.has_power(node))
}

/// Runs a member until it ends or is killed.
pub(crate) async fn run(
    world: SimWorld,
    sim: Sim,
    member: MemberId,
    roster: Arc<Roster>,
    locks: Arc<Locks>,
    knobs: Knobs,
    notebook: Notebook,
) {
    // A spare machine has nothing to run.
    let Some(seat) = roster.seats().taken.get(&member).cloned() else { return };
    let tell = |what| notebook.observe(sim.now(), member, what);
    let failed = |error: String| {
        if has_power(&sim, member) {
            tell(observation::Observation::BootFailed { error });
        }
    };
    let (cluster, known_peers) = match begin(&world, &roster, member, &seat).await {
        Ok(Some(begun)) => begun,
        // It was removed before it ever ran.
        Ok(None) => return,
        Err(error) => return failed(error),
    };
    let mut options = options(seat.id, member, &cluster, &knobs);
    options.known_peers = known_peers;
    if roster.seats().before.contains(&member) {
        options.peer_versions.max = PeerVersions::ALL.min;
    }
    options.rescue.force_new_cluster = roster.seats().alone.remove(&member);
    options.data_dir.clone_from(&seat.folder);
    let watcher =
        Watcher { sim: sim.clone(), roster: Arc::clone(&roster), notebook: notebook.clone(), member };
    if let Some(what) = values::operate(&world, &seat.folder, &options.redb, &roster, member) {
        tell(what);
    }
    let mut running = match seatrial_node::start(&world, options, Arc::new(watcher)).await {
        Ok(running) => running,
        Err(error @ seatrial_node::StartError::Inconsistent { .. }) => {
            return tell(observation::Observation::Inconsistent { text: error.to_string() });
        }
        Err(error) => return failed(error.to_string()),
    };
    let listener = match world.listen(&format!("0.0.0.0:{CLIENT_PORT}")).await {
        Ok(listener) => listener,
        Err(error) => return failed(format!("clients cannot be heard: {error}")),
    };
    let mut faces =
        ServeOptions { version: seatrial_node::API_VERSION.to_owned(), ..ServeOptions::default() };
    // Hashes take real time, of which a simulation has none to lose.
    faces.auth.bcrypt_cost = 4;
    faces.reboot_lock = locks.served(member);
    locks.record(&world, &sim, &running.handle, &notebook);
    let _serving = seatrial_wire::serve_clients(world, listener, running.handle.clone(), faces);
    if let Err(why) = running.ended().await
        && has_power(&sim, member)
    {
        tell(observation::Observation::Said { level: "error".to_owned(), text: format!("ended: {why}") });
    }
}

/// The cluster as this member is to begin with it, and where it hears of others; `None` where it has been removed already.
async fn begin(
    world: &SimWorld,
    roster: &Roster,
    machine: MemberId,
    seat: &Seat,
) -> Result<Option<(Cluster, BTreeMap<MemberId, Vec<String>>)>, String> {
    if !seat.joins {
        return Ok(Some((roster.cluster.clone(), BTreeMap::new())));
    }
    let disk = world.disk(&seat.folder).map_err(|error| error.to_string())?;
    if let Some(found) = seatrial_node::read_identity(&disk).map_err(|error| error.to_string())? {
        return Ok(Some((found.cluster, found.known_peers)));
    }
    let addresses: Vec<String> = {
        let seats = roster.seats();
        let others = seats.taken.keys().filter(|other| **other != machine);
        others.map(|other| format!("{}:{PEER_PORT}", host(*other))).collect()
    };
    loop {
        for address in &addresses {
            // One that lags does not know of this member yet, or knows one that lived here before.
            let asked = seatrial_node::ask_cluster(world, std::slice::from_ref(address), None);
            let Ok(cluster) = asked.await else { continue };
            if cluster.removed.contains(&seat.id) {
                return Ok(None);
            }
            if cluster.members.contains_key(&seat.id) {
                let others = cluster.members.values().filter(|member| member.id != seat.id);
                let known = others.map(|member| (member.id, member.peer_urls.clone())).collect();
                return Ok(Some((cluster.first(), known)));
            }
        }
        world.sleep(JOIN_PAUSE).await;
    }
}

fn options(id: MemberId, member: MemberId, cluster: &Cluster, knobs: &Knobs) -> NodeOptions {
    let options = seatrial_lab::member_options(id, member, knobs);
    NodeOptions {
        member: options,
        cluster: cluster.clone(),
        peer_urls: vec![peer_url(member)],
        known_peers: BTreeMap::new(),
        data_dir: "data".to_owned(),
        peer_listen: vec![format!("0.0.0.0:{PEER_PORT}")],
        peer_versions: PeerVersions::ALL,
        peer_layer: None,
        wal: seatrial_node::wal_options(cluster.id, id, knobs.segment_bytes),
        redb: RedbOptions { cache_bytes: 1 << 20, ..RedbOptions::default() },
        rescue: seatrial_node::Rescue::default(),
        initial_corrupt_check: knobs.initial_check,
    }
}
