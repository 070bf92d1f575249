//! Members of a new cluster look for each other in the v3 keys of a store of three members, in the simulated world: that store
//! is killed and cut in pieces meanwhile, and members crash before, while and after they register. As many as are wanted find
//! the same cluster, and every other one is told that it is full.

use seatrial_client::discovery::{JoinError, Registry, join_cluster};
use seatrial_client::{Client, ClientOptions, Roster, Store as _};
use seatrial_node::{Blind, Cluster, MemberOptions, NodeOptions, RedbOptions, Rescue};
use seatrial_types::request::PutRequest;
use seatrial_wire::{ChannelOptions, GrpcEndpoint, ServeOptions, connect, serve_clients};
use seatrial_world::{World, timeout};
use seatrial_world_sim::{Crash, NodeId, Options, Sim, SimWorld, run_seed};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// So many are wanted, and so many come.
const SIZE: usize = 3;
const MEMBERS: usize = 5;

fn host(number: usize) -> String {
    format!("h{number}")
}

async fn store(world: SimWorld, number: usize) {
    let names: Vec<String> = (0..3).map(host).collect();
    let initial = names.iter().map(|name| (name.as_str(), vec![format!("http://{name}:2380")]));
    let cluster = Cluster::bootstrap(initial, "registry").expect("unique names");
    let id = cluster.id_of(&host(number)).expect("one of them");
    let mut member = MemberOptions::new(id, host(number));
    member.client_urls = vec![format!("http://{}:2379", host(number))];
    let options = NodeOptions {
        member,
        wal: seatrial_node::wal_options(cluster.id, id, 64 << 10),
        peer_urls: vec![format!("http://{}:2380", host(number))],
        cluster,
        known_peers: BTreeMap::new(),
        data_dir: "data".to_owned(),
        peer_listen: vec!["0.0.0.0:2380".to_owned()],
        peer_versions: seatrial_node::PeerVersions::ALL,
        peer_layer: None,
        redb: RedbOptions { cache_bytes: 1 << 20, ..RedbOptions::default() },
        rescue: Rescue::default(),
        initial_corrupt_check: false,
    };
    let mut running = seatrial_node::start(&world, options, Arc::new(Blind)).await.expect("a whole disk");
    let listener = world.listen("0.0.0.0:2379").await.expect("a free port");
    let _serving = serve_clients(world, listener, running.handle.clone(), ServeOptions::default());
    running.ended().await.expect("nothing ends it but a kill");
}

/// A client of some of them; the first that is asked is drawn by chance.
fn client(sim: &Sim, numbers: &[usize]) -> Client<SimWorld, GrpcEndpoint<SimWorld>> {
    let endpoints: Vec<String> = numbers.iter().map(|at| format!("http://{}:2379", host(*at))).collect();
    let options = ClientOptions { request_timeout: 2 * SECOND, ..ClientOptions::default() };
    let channel = ChannelOptions { connect_timeout: SECOND / 4, ..ChannelOptions::default() };
    connect(&sim.world(), &endpoints, &channel, options).expect("endpoints")
}

type Outcome = Result<Roster, JoinError>;

/// One member: crashes now and then, and begins anew under the same number.
async fn member(sim: Sim, number: usize) -> Outcome {
    let (world, mut chance) = (sim.world(), sim.chance(&format!("member {number}")));
    let registry = Registry::new("token").expect("a word");
    let (id, value) = (format!("{number:x}"), format!("m{number}=http://m{number}:2380"));
    sim.sleep(Duration::from_millis(chance.below(4000))).await;
    loop {
        // Some are told of one member of the store only, which may be the one that lags.
        let told = if chance.below(2) == 0 { vec![chance.below(3) as usize] } else { vec![0, 1, 2] };
        let store = client(&sim, &told);
        let life = Duration::from_millis(200 + chance.below(30_000));
        match timeout(&world, life, join_cluster(&world, &store, &registry, &id, &value)).await {
            Ok(outcome) => return outcome,
            Err(_) => sim.sleep(Duration::from_millis(chance.below(2000))).await,
        }
    }
}

async fn storm(sim: Sim, nodes: Vec<NodeId>, over: Arc<Mutex<bool>>) {
    let mut chance = sim.chance("storm");
    for _ in 0..60 {
        if *over.lock().expect("no holder panics") {
            break;
        }
        let node = nodes[chance.below(3) as usize];
        match chance.below(5) {
            0 => sim.power_loss(node, Crash::Random),
            1 => sim.kill(node),
            2 | 3 => sim.net().isolate(node),
            _ => sim.net().heal_all(),
        }
        sim.sleep(Duration::from_millis(50 + chance.below(700))).await;
        if !sim.is_up(node) {
            sim.restart(node);
        }
    }
    sim.net().heal_all();
}

async fn find_each_other(sim: Sim) -> Vec<Outcome> {
    let nodes: Vec<NodeId> = (0..3)
        .map(|number| sim.node(&host(number)).init(move |world| store(world, number)).build())
        .collect();
    let all = client(&sim, &[0, 1, 2]);
    let size = || PutRequest {
        key: "/_etcd/registry/token/_config/size".into(),
        value: SIZE.to_string().into(),
        ..PutRequest::default()
    };
    // It is acknowledged, and a member of the store may never have heard of it: from here on all must know it.
    let behind = nodes[sim.chance("behind").below(3) as usize];
    sim.sleep(2 * SECOND).await;
    sim.net().isolate(behind);
    while all.put(size()).await.is_err() {
        sim.sleep(SECOND / 10).await;
    }
    let over = Arc::new(Mutex::new(false));
    sim.world().spawn(storm(sim.clone(), nodes, over.clone()));
    let outcomes: Arc<Mutex<Vec<Outcome>>> = Arc::default();
    for number in 0..MEMBERS {
        let (sim, outcomes) = (sim.clone(), outcomes.clone());
        sim.clone().world().spawn(async move {
            let outcome = member(sim, number).await;
            outcomes.lock().expect("no holder panics").push(outcome);
        });
    }
    while outcomes.lock().expect("no holder panics").len() < MEMBERS {
        sim.sleep(SECOND).await;
    }
    *over.lock().expect("no holder panics") = true;
    std::mem::take(&mut *outcomes.lock().expect("no holder panics"))
}

#[test]
fn as_many_as_are_wanted_find_the_same_cluster_whatever_befalls_the_store_and_the_others_are_told() {
    let mut met = BTreeSet::new();
    for seed in 0..60 {
        let options = Options { time_limit: 600 * SECOND, ..Options::default() };
        let outcomes = match run_seed(seed, options, find_each_other).result {
            Ok(outcomes) => outcomes,
            Err(failure) => panic!("seed {seed}: {failure}"),
        };
        let found: Vec<&Roster> = outcomes.iter().flatten().collect();
        assert_eq!(found.len(), SIZE, "seed {seed}: {outcomes:?}");
        assert!(found.iter().all(|roster| *roster == found[0]), "seed {seed}: {found:?}");
        let ids: BTreeSet<&str> = found[0].entries.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids.len(), SIZE, "seed {seed}: {ids:?}");
        for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            let is_right = matches!(error, JoinError::Full { roster } if roster == found[0]);
            assert!(is_right, "seed {seed}: {error}");
        }
        met.insert(found[0].members());
    }
    assert!(met.len() > 10, "chance has a say in who is first: {met:?}");
}
