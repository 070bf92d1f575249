//! Members come and go under load, while machines lose their power and links are cut: nothing acknowledged is lost,
//! the members that are left agree, whoever was removed ends by itself, and the cluster goes on.

use seatrial_client::{Client, ClientOptions, Store};
use seatrial_node::{Blind, Cluster, MemberOptions, NodeOptions, RedbOptions, ask_cluster, read_identity};
use seatrial_types::request::{Member, MemberAddRequest, PutRequest, RangeRequest};
use seatrial_types::{Error, KeyRange, MemberId, Request, Response, Revision};
use seatrial_wire::{ChannelOptions, GrpcEndpoint, ServeOptions, connect, serve_clients};
use seatrial_world::World;
use seatrial_world_sim::{Crash, NodeId, Options, Sim, SimWorld, run_seed};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Machines there are; the first three begin.
const HOSTS: usize = 7;

type Fleet = Client<SimWorld, GrpcEndpoint<SimWorld>>;

fn host(number: usize) -> String {
    format!("h{number}")
}

fn peer_url(number: usize) -> String {
    format!("http://{}:2380", host(number))
}

/// Names of members that ended because they were removed, and why others ended.
#[derive(Clone, Default)]
struct Ends(Arc<Mutex<BTreeMap<String, Result<(), String>>>>);

/// One machine's process: begins, joins, or comes back, whichever its disk and the cluster say.
async fn process(world: SimWorld, number: usize, ends: Ends) {
    let disk = world.disk("data").expect("a folder");
    let (id, cluster, known_peers) = match read_identity(&disk).expect("a whole identity or none") {
        Some(found) => (found.member, found.cluster, found.known_peers),
        None if number < 3 => {
            let names: Vec<String> = (0..3).map(host).collect();
            let initial = names.iter().enumerate().map(|(i, name)| (name.as_str(), vec![peer_url(i)]));
            let cluster = Cluster::bootstrap(initial, "churn").expect("unique names");
            (cluster.id_of(&host(number)).expect("one of them"), cluster, BTreeMap::new())
        }
        None => join(&world, number).await,
    };
    let mut member = MemberOptions::new(id, host(number));
    member.client_urls = vec![format!("http://{}:2379", host(number))];
    member.compact_entries = 20;
    member.catch_up_entries = 10;
    member.raft.chunk_bytes = 4 << 10;
    let options = NodeOptions {
        member,
        wal: seatrial_node::wal_options(cluster.id, id, 64 << 10),
        cluster,
        peer_urls: vec![peer_url(number)],
        known_peers,
        data_dir: "data".to_owned(),
        peer_listen: vec!["0.0.0.0:2380".to_owned()],
        peer_versions: seatrial_node::PeerVersions::ALL,
        peer_layer: None,
        redb: RedbOptions { cache_bytes: 1 << 20, ..RedbOptions::default() },
        rescue: seatrial_node::Rescue::default(),
        initial_corrupt_check: false,
    };
    let mut running = match seatrial_node::start(&world, options, Arc::new(Blind)).await {
        Ok(running) => running,
        Err(error) => panic!("{} cannot start: {error}", host(number)),
    };
    let listener = world.listen("0.0.0.0:2379").await.expect("a free port");
    let serving = serve_clients(world, listener, running.handle.clone(), ServeOptions::default());
    let ended = running.ended().await;
    ends.0.lock().unwrap().insert(host(number), ended);
    serving.shutdown().await;
}

async fn join(world: &SimWorld, number: usize) -> (MemberId, Cluster, BTreeMap<MemberId, Vec<String>>) {
    loop {
        let others: Vec<String> =
            (0..HOSTS).filter(|i| *i != number).map(|i| format!("{}:2380", host(i))).collect();
        if let Ok(cluster) = ask_cluster(world, &others, None).await {
            let me = cluster.members.values().find(|member| member.peer_urls == [peer_url(number)]);
            if let Some(id) = me.map(|me| me.id) {
                let others = cluster.members.values().filter(|member| member.id != id);
                let known = others.map(|member| (member.id, member.peer_urls.clone())).collect();
                return (id, cluster.first(), known);
            }
        }
        world.sleep(Duration::from_millis(200)).await;
    }
}

fn fleet(sim: &Sim, numbers: impl Iterator<Item = usize>) -> Fleet {
    let endpoints: Vec<String> = numbers.map(|number| format!("http://{}:2379", host(number))).collect();
    let options = ClientOptions { request_timeout: 5 * SECOND, ..ClientOptions::default() };
    // Some of these machines do not run (yet, or any more): nobody refuses a connection there.
    let channel = ChannelOptions { connect_timeout: SECOND / 4, ..ChannelOptions::default() };
    connect(&sim.world(), &endpoints, &channel, options).expect("endpoints")
}

async fn members(fleet: &Fleet) -> Option<Vec<Member>> {
    match fleet.call(Request::MemberList { linearizable: true }).await {
        Ok(Response::MemberList(list)) => Some(list.members),
        _ => None,
    }
}

async fn churn(sim: Sim) {
    let ends = Ends::default();
    let nodes: Arc<Mutex<BTreeMap<usize, NodeId>>> = Arc::default();
    let boot = |number: usize| {
        let ends = ends.clone();
        let node = sim.node(&host(number)).init(move |world| process(world, number, ends.clone())).build();
        nodes.lock().unwrap().insert(number, node);
    };
    (0..3).for_each(boot);
    let all = fleet(&sim, 0..HOSTS);

    // Writers, until they are told to stop.
    let stop = Arc::new(Mutex::new(false));
    let acknowledged: Arc<Mutex<Vec<String>>> = Arc::default();
    for writer in 0..3 {
        let (fleet, stop, acknowledged) = (fleet(&sim, 0..HOSTS), stop.clone(), acknowledged.clone());
        let world = sim.world();
        let pause = world.clone();
        world.spawn(async move {
            for i in 0.. {
                if *stop.lock().unwrap() {
                    return;
                }
                let key = format!("w{writer}-{i}");
                let put =
                    PutRequest { key: key.clone().into(), value: key.clone().into(), ..Default::default() };
                if fleet.call(Request::Put(put)).await.is_ok() {
                    acknowledged.lock().unwrap().push(key);
                }
                pause.sleep(Duration::from_millis(20)).await;
            }
        });
    }
    // Faults, one after the other: a machine loses its power and comes back, or is cut off and found again.
    {
        let (sim, nodes, stop) = (sim.clone(), nodes.clone(), stop.clone());
        let world = sim.world();
        let mut chance = sim.chance("faults");
        world.spawn(async move {
            while !*stop.lock().unwrap() {
                sim.sleep(Duration::from_millis(500 + chance.below(3000))).await;
                let up: Vec<NodeId> = nodes.lock().unwrap().values().copied().collect();
                let node = up[chance.below(up.len() as u64) as usize];
                if chance.below(2) == 0 {
                    sim.power_loss(node, Crash::Random);
                    sim.sleep(Duration::from_millis(100 + chance.below(2000))).await;
                    sim.restart(node);
                } else {
                    sim.net().isolate(node);
                    sim.sleep(Duration::from_millis(500 + chance.below(2500))).await;
                    sim.net().heal_all();
                }
            }
        });
    }

    let mut chance = sim.chance("churn");
    let mut gone: BTreeSet<String> = BTreeSet::new();
    for number in 3..HOSTS {
        // One comes …
        let added_by = sim.now() + 120 * SECOND;
        loop {
            assert!(sim.now() < added_by, "{} could not be added", host(number));
            let add = MemberAddRequest { peer_urls: vec![peer_url(number)], is_learner: false };
            // The answer may be lost where the change was made.
            let is_there = all.call(Request::MemberAdd(add)).await.is_ok()
                || members(&all)
                    .await
                    .is_some_and(|list| list.iter().any(|member| member.peer_urls == [peer_url(number)]));
            if is_there {
                break;
            }
            sim.sleep(SECOND / 4).await;
        }
        sim.sleep(Duration::from_millis(chance.below(2000))).await;
        boot(number);
        let joined_by = sim.now() + 120 * SECOND;
        loop {
            assert!(sim.now() < joined_by, "{} did not join", host(number));
            let list = members(&all).await.unwrap_or_default();
            if list.iter().any(|member| member.name == host(number)) {
                break;
            }
            sim.sleep(SECOND / 4).await;
        }
        // … and one goes.
        let list = loop {
            if let Some(list) = members(&all).await {
                break list;
            }
        };
        let old: Vec<&Member> = list.iter().filter(|member| member.name != host(number)).collect();
        let victim = old[chance.below(old.len() as u64) as usize];
        let removed_by = sim.now() + 120 * SECOND;
        loop {
            assert!(sim.now() < removed_by, "{} could not be removed", victim.name);
            match all.call(Request::MemberRemove(victim.id)).await {
                Ok(_) => break,
                Err(error) if error.error == Error::MemberNotFound => break,
                Err(_) => sim.sleep(SECOND / 4).await,
            }
        }
        gone.insert(victim.name.clone());
    }

    *stop.lock().unwrap() = true;
    sim.sleep(6 * SECOND).await;
    sim.net().heal_all();
    let up: Vec<(usize, NodeId)> =
        nodes.lock().unwrap().iter().map(|(number, node)| (*number, *node)).collect();
    for (_, node) in &up {
        if !sim.is_up(*node) {
            sim.restart(*node);
        }
    }
    sim.sleep(20 * SECOND).await;

    let list = members(&all).await.expect("a healed cluster answers");
    assert_eq!(list.len(), 3, "{list:?}");
    {
        let ends = ends.0.lock().unwrap();
        for name in &gone {
            assert_eq!(ends.get(name), Some(&Ok(())), "{name} was removed and has not ended by itself");
        }
        let others: Vec<_> = ends.iter().filter(|(name, _)| !gone.contains(*name)).collect();
        assert!(others.is_empty(), "members ended which nobody removed: {others:?}");
    }
    let everything = RangeRequest { range: KeyRange::prefix("w"), keys_only: true, ..Default::default() };
    let Ok(Response::Range(found)) = all.call(Request::Range(everything)).await else { panic!("no range") };
    let found: BTreeSet<Vec<u8>> = found.kvs.iter().map(|kv| kv.key.to_vec()).collect();
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() > 30, "only {} writes in all that time", acknowledged.len());
    for key in &acknowledged {
        assert!(found.contains(key.as_bytes()), "{key} was acknowledged and is gone");
    }
    let mut hashes = BTreeSet::new();
    for member in &list {
        let number: usize = member.name[1..].parse().expect("a host's number");
        let one = fleet(&sim, std::iter::once(number));
        // Asked first, so that the member is level with what was acknowledged.
        let read = RangeRequest { range: KeyRange::single("x"), ..Default::default() };
        let read = one.call(Request::Range(read)).await;
        assert!(read.is_ok(), "{} is not level after the heal: {read:?}", member.name);
        match one.call(Request::HashKv { revision: Revision(0) }).await {
            Ok(Response::HashKv(hash)) => hashes.insert((hash.hash, hash.hash_revision)),
            other => panic!("{}: {other:?}", member.name),
        };
    }
    assert_eq!(hashes.len(), 1, "the members differ: {hashes:?}");
}

#[test]
fn nothing_is_lost_while_members_come_and_go() {
    for seed in 0..40 {
        let options = Options { time_limit: 3600 * SECOND, ..Options::default() };
        if let Err(failure) = run_seed(seed, options, churn).result {
            panic!("seed {seed}: {failure}");
        }
    }
}
