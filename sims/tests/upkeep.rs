//! Three members with all their parts in the simulated world: files are written anew while machines lose their power, leases
//! are checkpointed, hashes compared. No alarm is false; and where one member's data are changed behind its back, the
//! alarm names it, or it does not start.

use seatrial_client::{Client, ClientOptions, Store as _};
use seatrial_node::{Blind, Cluster, MemberOptions, NodeOptions, RedbOptions, Rescue};
use seatrial_store::{Backend, Command, Commit, HubOptions, MemBackend, RedbBackend, Store, Table, View};
use seatrial_types::request::{AlarmKind, CompactRequest, PutRequest, RangeRequest};
use seatrial_types::{Error, KeyRange, LogIndex, MemberId, Request, Response, Revision, Term};
use seatrial_wire::{ChannelOptions, GrpcEndpoint, ServeOptions, connect, serve_clients};
use seatrial_world::World;
use seatrial_world_sim::{Crash, NodeId, Options, Sim, SimWorld, run_seed};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

type Fleet = Client<SimWorld, GrpcEndpoint<SimWorld>>;

fn host(number: usize) -> String {
    format!("h{number}")
}

fn cluster() -> Cluster {
    let names: Vec<String> = (0..3).map(host).collect();
    let initial = names.iter().map(|name| (name.as_str(), vec![format!("http://{name}:2380")]));
    Cluster::bootstrap(initial, "upkeep").expect("unique names")
}

fn redb() -> RedbOptions {
    RedbOptions { cache_bytes: 1 << 20, ..RedbOptions::default() }
}

/// What is done to a machine before its process starts, and what comes of it.
#[derive(Clone, Default)]
struct Sheet {
    /// Change the value at this revision.
    damage: Arc<Mutex<Option<i64>>>,
    initial_check: Arc<Mutex<bool>>,
    /// Why it did not start, or ended.
    ended: Arc<Mutex<Vec<String>>>,
}

/// Writes another value, with a checksum that fits, over a version in the store's file.
fn damage(world: &SimWorld, at: i64) {
    let put = PutRequest { key: "victim".into(), value: "damaged".into(), ..PutRequest::default() };
    let mut scratch = Store::open(MemBackend::new(), HubOptions::default()).expect("an empty store");
    while scratch.revision().0 < at {
        let index = LogIndex(scratch.applied().0 + 1);
        let put = Command::Put(put.clone());
        scratch.apply(index, Term(1), &put, Duration::ZERO).expect("in memory");
    }
    let row = [&at.to_be_bytes()[..], &[0; 4]].concat();
    let value = scratch.backend().get(Table::Kv, &row).expect("in memory").expect("just put");
    let disk = world.disk("data").expect("a folder");
    let (mut backend, mut committer) = RedbBackend::open(disk, redb()).expect("a whole file");
    assert!(backend.get(Table::Kv, &row).expect("a whole file").is_some(), "revision {at} is not there");
    backend.put(Table::Kv, row.into(), value);
    committer.commit(&backend.seal().expect("a row")).expect("a whole disk");
}

async fn process(world: SimWorld, number: usize, sheet: Sheet) {
    if let Some(at) = sheet.damage.lock().unwrap().take() {
        damage(&world, at);
    }
    let cluster = cluster();
    let id = cluster.id_of(&host(number)).expect("one of them");
    let mut member = MemberOptions::new(id, host(number));
    member.client_urls = vec![format!("http://{}:2379", host(number))];
    member.compact_entries = 50;
    member.catch_up_entries = 20;
    member.corrupt_check_interval = Some(SECOND);
    member.lease_checkpoint_interval = Some(2 * SECOND);
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
        redb: redb(),
        rescue: Rescue::default(),
        initial_corrupt_check: *sheet.initial_check.lock().unwrap(),
    };
    let mut running = match seatrial_node::start(&world, options, Arc::new(Blind)).await {
        Ok(running) => running,
        Err(error) => return sheet.ended.lock().unwrap().push(error.to_string()),
    };
    let listener = world.listen("0.0.0.0:2379").await.expect("a free port");
    let _serving = serve_clients(world, listener, running.handle.clone(), ServeOptions::default());
    if let Err(why) = running.ended().await {
        sheet.ended.lock().unwrap().push(why);
    }
}

fn fleet(sim: &Sim, numbers: impl Iterator<Item = usize>) -> Fleet {
    let endpoints: Vec<String> = numbers.map(|number| format!("http://{}:2379", host(number))).collect();
    let options = ClientOptions { request_timeout: 5 * SECOND, ..ClientOptions::default() };
    let channel = ChannelOptions { connect_timeout: SECOND / 4, ..ChannelOptions::default() };
    connect(&sim.world(), &endpoints, &channel, options).expect("endpoints")
}

fn boot(sim: &Sim) -> Vec<(NodeId, Sheet)> {
    (0..3)
        .map(|number| {
            let sheet = Sheet::default();
            let given = sheet.clone();
            let node =
                sim.node(&host(number)).init(move |world| process(world, number, given.clone())).build();
            (node, sheet)
        })
        .collect()
}

async fn put(fleet: &Fleet, key: String, value: String) -> Option<Revision> {
    let put = PutRequest { key: key.into(), value: value.into(), ..Default::default() };
    match fleet.call(Request::Put(put)).await {
        Ok(Response::Put(answer)) => Some(answer.header.revision),
        _ => None,
    }
}

async fn alarms(fleet: &Fleet) -> Vec<(MemberId, AlarmKind)> {
    match fleet.call(Request::AlarmList).await {
        Ok(Response::AlarmList(list)) => list.alarms,
        other => panic!("no alarms: {other:?}"),
    }
}

async fn storm(sim: Sim) {
    let nodes = boot(&sim);
    let all = fleet(&sim, 0..3);
    let stop = Arc::new(Mutex::new(false));
    let (world, chance) = (sim.world(), sim.chance("defrag"));
    let done = Arc::new(Mutex::new(0));
    {
        let (sim, stop, done, mut chance) = (sim.clone(), stop.clone(), done.clone(), chance);
        world.spawn(async move {
            while !*stop.lock().unwrap() {
                let one = fleet(&sim, std::iter::once(chance.below(3) as usize));
                let answer = one.call(Request::Defragment).await;
                *done.lock().unwrap() += u32::from(answer.is_ok());
                sim.sleep(Duration::from_millis(chance.below(300))).await;
            }
        });
    }
    {
        let (sim, stop, nodes) = (sim.clone(), stop.clone(), nodes.clone());
        let mut chance = sim.chance("faults");
        world.spawn(async move {
            while !*stop.lock().unwrap() {
                sim.sleep(Duration::from_millis(200 + chance.below(2000))).await;
                let (node, _) = nodes[chance.below(3) as usize];
                sim.power_loss(node, Crash::Random);
                sim.sleep(Duration::from_millis(100 + chance.below(1000))).await;
                sim.restart(node);
            }
        });
    }
    let mut chance = sim.chance("writes");
    let mut acknowledged: BTreeMap<String, String> = BTreeMap::new();
    for i in 0..250 {
        let (key, value) = (format!("k{}", i % 40), format!("{i}-").repeat(100));
        let revision = put(&all, key.clone(), value.clone()).await;
        match revision {
            Some(_) => drop(acknowledged.insert(key, value)),
            // It may be there or not.
            None => drop(acknowledged.remove(&key)),
        }
        if let Some(revision) = revision
            && chance.below(10) == 0
        {
            let _ = all.call(Request::Compact(CompactRequest { revision, physical: false })).await;
        }
        sim.sleep(Duration::from_millis(chance.below(60))).await;
    }
    *stop.lock().unwrap() = true;
    sim.sleep(5 * SECOND).await;
    for (node, _) in &nodes {
        if !sim.is_up(*node) {
            sim.restart(*node);
        }
    }
    sim.sleep(15 * SECOND).await;
    for (_, sheet) in &nodes {
        assert_eq!(*sheet.ended.lock().unwrap(), Vec::<String>::new(), "a member ended by itself");
    }
    assert_eq!(alarms(&all).await, [], "a false alarm");
    assert!(*done.lock().unwrap() > 5, "only {} files were written anew", done.lock().unwrap());
    let mut hashes = BTreeSet::new();
    for number in 0..3 {
        let one = fleet(&sim, std::iter::once(number));
        for (key, value) in &acknowledged {
            let range = RangeRequest { range: KeyRange::single(key.clone()), ..Default::default() };
            let Ok(Response::Range(got)) = one.call(Request::Range(range)).await else { panic!("no range") };
            assert_eq!(got.kvs[0].value, *value, "{key} at {}", host(number));
        }
        let Ok(Response::HashKv(hash)) = one.call(Request::HashKv { revision: Revision(0) }).await else {
            panic!("no hash");
        };
        hashes.insert((hash.hash, hash.hash_revision));
    }
    assert_eq!(hashes.len(), 1, "the members differ: {hashes:?}");
}

#[test]
fn files_are_written_anew_through_power_losses_and_no_alarm_is_false() {
    for seed in 0..12 {
        let options = Options { time_limit: 3600 * SECOND, ..Options::default() };
        if let Err(failure) = run_seed(seed, options, storm).result {
            panic!("seed {seed}: {failure}");
        }
    }
}

async fn corruption(sim: Sim, initial_check: bool) {
    let nodes = boot(&sim);
    let all = fleet(&sim, 0..3);
    let mut at = None;
    while at.is_none() {
        at = put(&all, "victim".to_owned(), "whole".to_owned()).await;
        sim.sleep(SECOND / 10).await;
    }
    for i in 0..20 {
        put(&all, format!("k{i}"), "v".to_owned()).await;
    }
    sim.sleep(5 * SECOND).await;
    assert_eq!(alarms(&all).await, []);
    let victim = sim.chance("victim").below(3) as usize;
    let (node, sheet) = &nodes[victim];
    *sheet.damage.lock().unwrap() = at.map(|at| at.0);
    *sheet.initial_check.lock().unwrap() = initial_check;
    sim.power_loss(*node, Crash::Random);
    sim.sleep(SECOND).await;
    sim.restart(*node);
    sim.sleep(10 * SECOND).await;
    let id = cluster().id_of(&host(victim)).unwrap();
    if initial_check {
        let ended = sheet.ended.lock().unwrap().clone();
        assert!(ended.len() == 1 && ended[0].contains("found data inconsistency with peers"), "{ended:?}");
        assert_eq!(alarms(&all).await, []);
        return;
    }
    assert_eq!(alarms(&all).await, [(id, AlarmKind::Corrupt)]);
    let refused = PutRequest { key: "k".into(), ..PutRequest::default() };
    let refused = all.call(Request::Put(refused)).await.map_err(|error| error.error);
    assert_eq!(refused, Err(Error::Corrupt));
}

#[test]
fn a_value_changed_behind_one_members_back_is_found_and_its_member_named() {
    for seed in 0..10 {
        let options = Options { time_limit: 600 * SECOND, ..Options::default() };
        let played = run_seed(seed, options, move |sim| corruption(sim, seed % 2 == 0)).result;
        if let Err(failure) = played {
            panic!("seed {seed}: {failure}");
        }
    }
}
