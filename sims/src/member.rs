//! One member's process: what runs on a simulated machine whenever it is started.

use seatrial_node::{Cluster, MemberOptions, NodeOptions, Observation, Observer, RedbOptions};
use seatrial_raft::Role;
use seatrial_scenario::Knobs;
use seatrial_scenario::observation;
use seatrial_scenario::record::Notebook;
use seatrial_types::MemberId;
use seatrial_wire::ServeOptions;
use seatrial_world::World;
use seatrial_world_sim::{Sim, SimWorld};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Where peers and clients are heard, on every member's own address.
const PEER_PORT: u16 = 2380;
/// See [`PEER_PORT`].
pub(crate) const CLIENT_PORT: u16 = 2379;

/// A plan numbers members from 1; the cluster draws their ids from their addresses.
#[derive(Debug)]
pub(crate) struct Roster {
    cluster: Cluster,
    numbers: BTreeMap<MemberId, MemberId>,
}

impl Roster {
    pub(crate) fn new(members: impl Iterator<Item = MemberId>) -> Self {
        let members: Vec<MemberId> = members.collect();
        let named: Vec<(String, Vec<String>)> = members
            .iter()
            .map(|member| (host(*member), vec![format!("http://{}:{PEER_PORT}", host(*member))]))
            .collect();
        let initial = named.iter().map(|(name, urls)| (name.as_str(), urls.clone()));
        let cluster = Cluster::bootstrap(initial, "simulated").expect("names and addresses are unique");
        let numbers = members
            .iter()
            .map(|member| (cluster.id_of(&host(*member)).expect("just bootstrapped with it"), *member))
            .collect();
        Self { cluster, numbers }
    }

    /// The plan's number of a member; none stays none.
    fn number(&self, id: MemberId) -> MemberId {
        self.numbers.get(&id).copied().unwrap_or(MemberId::NONE)
    }
}

/// A member's name, which is its machine's host name, too.
pub(crate) fn host(member: MemberId) -> String {
    format!("m{member}")
}

/// Takes a member's observations down, with the plan's numbers and true time.
struct Watcher {
    sim: Sim,
    roster: Arc<Roster>,
    notebook: Notebook,
    member: MemberId,
}

impl Observer for Watcher {
    fn observe(&self, _: MemberId, _: Duration, seen: Observation) {
        if let Observation::Applied { index, checksum, .. } = &seen {
            // Applied entries are a part of the trace: two runs of a seed must agree on them.
            self.sim.trace(&format!("{} applied {index} {checksum:08x}", self.member));
        }
        if let Some(what) = translate(seen, &self.roster) {
            self.notebook.observe(self.sim.now(), self.member, what);
        }
    }
}

fn translate(seen: Observation, roster: &Roster) -> Option<observation::Observation> {
    use observation::Observation as Told;
    Some(match seen {
        Observation::Started { term, applied, .. } => Told::Started { term, applied },
        Observation::Role { role, term, leader } => Told::Role {
            term,
            role: match role {
                Role::Follower => observation::Role::Follower,
                Role::PreCandidate => observation::Role::PreCandidate,
                Role::Candidate => observation::Role::Candidate,
                Role::Leader => observation::Role::Leader,
            },
            leader: roster.number(leader),
        },
        Observation::Applied { index, term, checksum, revision } => {
            Told::Applied { index, term, checksum, revision }
        }
        Observation::Durable { index } => Told::Durable { index },
        Observation::SnapshotInstalled { index, term } => Told::SnapshotInstalled { index, term },
        Observation::SnapshotStarted { to, index } => Told::SnapshotStarted { to: roster.number(to), index },
        Observation::Compacted { index } => Told::LogCompacted { index },
        Observation::Finding { text, damage } => Told::Finding { text, damage },
        Observation::LeaseExpired { lease } => Told::LeaseExpired { lease },
        Observation::Corrupt { text, .. } => Told::Finding { text, damage: true },
        Observation::Failed { why } => Told::Failed { why },
        Observation::HardState { .. }
        | Observation::SnapshotSent { .. }
        | Observation::HashTaken { .. }
        | Observation::Defragmented { .. }
        | Observation::Checkpointed { .. } => {
            return None;
        }
    })
}

/// Runs a member until it ends or is killed.
pub(crate) async fn run(
    world: SimWorld,
    sim: Sim,
    member: MemberId,
    roster: Arc<Roster>,
    knobs: Knobs,
    notebook: Notebook,
) {
    let id = roster.cluster.id_of(&host(member)).expect("a member of the roster");
    let options = options(id, member, &roster.cluster, &knobs);
    let watcher = Watcher { sim: sim.clone(), roster, notebook: notebook.clone(), member };
    let tell = |what| notebook.observe(sim.now(), member, what);
    let mut running = match seatrial_node::start(&world, options, Arc::new(watcher)).await {
        Ok(running) => running,
        Err(error) => {
            tell(observation::Observation::BootFailed { error: error.to_string() });
            return;
        }
    };
    let listener = match world.listen(&format!("0.0.0.0:{CLIENT_PORT}")).await {
        Ok(listener) => listener,
        Err(error) => {
            tell(observation::Observation::BootFailed { error: format!("clients cannot be heard: {error}") });
            return;
        }
    };
    let faces = ServeOptions { version: seatrial_node::API_VERSION.to_owned(), ..ServeOptions::default() };
    let _serving = seatrial_wire::serve_clients(world, listener, running.handle.clone(), faces);
    if let Err(why) = running.ended().await {
        tell(observation::Observation::Said { level: "error".to_owned(), text: format!("ended: {why}") });
    }
}

fn options(id: MemberId, member: MemberId, cluster: &Cluster, knobs: &Knobs) -> NodeOptions {
    let size = |bytes: u64| usize::try_from(bytes).expect("at most 1 GiB");
    let mut options = MemberOptions::new(id, host(member));
    options.client_urls = vec![format!("http://{}:{CLIENT_PORT}", host(member))];
    options.raft.election_timeout = knobs.election_timeout;
    options.raft.heartbeat_interval = knobs.heartbeat;
    options.raft.append_bytes_max = size(knobs.append_bytes);
    options.raft.inflight_max = size(knobs.inflight);
    options.raft.chunk_bytes = size(knobs.chunk_bytes);
    options.raft.uncommitted_bytes_max = size(knobs.uncommitted_bytes);
    options.watch_window = size(knobs.watch_window);
    options.watch_progress_interval = knobs.watch_progress;
    options.compact_entries = knobs.snapshot_entries;
    options.catch_up_entries = knobs.keep_entries;
    NodeOptions {
        member: options,
        cluster: cluster.clone(),
        peer_urls: vec![format!("http://{}:{PEER_PORT}", host(member))],
        known_peers: BTreeMap::new(),
        data_dir: "data".to_owned(),
        peer_listen: vec![format!("0.0.0.0:{PEER_PORT}")],
        peer_layer: None,
        wal: seatrial_node::wal_options(cluster.id, id, knobs.segment_bytes),
        redb: RedbOptions { cache_bytes: 1 << 20, ..RedbOptions::default() },
        rescue: seatrial_node::Rescue::default(),
        initial_corrupt_check: false,
    }
}
