//! The same server and client inside the simulation: faults of the network on cue, and every run of a seed
//! like the other.

mod common;

use common::*;
use seatrial_client::{Client, ClientOptions, Store, Watching};
use seatrial_types::watch::WatchCreate;
use seatrial_types::{Code, KeyRange, Revision};
use seatrial_wire::{ChannelOptions, GrpcEndpoint, ServeOptions, connect, serve_clients};
use seatrial_world::World;
use seatrial_world_sim::{NodeId, Options, Sim, SimWorld, check_determinism, run_seed};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A node that serves a toy at port 2379, again after each restart.
fn server(sim: &Sim, name: &str, toy: &Toy) -> NodeId {
    let toy = toy.clone();
    sim.node(name)
        .init(move |world: SimWorld| {
            let toy = toy.clone();
            async move {
                let listener = world.listen("0.0.0.0:2379").await.expect("the port is free");
                let _serving = serve_clients(world, listener, toy, ServeOptions::default());
                std::future::pending::<()>().await;
            }
        })
        .build()
}

fn client(sim: &Sim, names: &[&str]) -> Client<SimWorld, GrpcEndpoint<SimWorld>> {
    let endpoints: Vec<_> = names.iter().map(|name| format!("http://{name}:2379")).collect();
    let options = ClientOptions { request_timeout: 5 * SECOND, ..ClientOptions::default() };
    connect(&sim.world(), &endpoints, &ChannelOptions::default(), options).expect("endpoints")
}

fn simulate<T, F, Fut>(seed: u64, scenario: F) -> T
where
    T: Send + 'static,
    F: FnOnce(Sim) -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    let outcome = run_seed(seed, Options::default(), scenario);
    match outcome.result {
        Ok(result) => result,
        Err(failure) => panic!("seed {seed}: {failure}"),
    }
}

#[test]
fn a_black_hole_leaves_a_write_unknown_and_heals() {
    for seed in 0..5 {
        simulate(seed, async |sim: Sim| {
            let toy = Toy::default();
            let node = server(&sim, "a", &toy);
            let client = client(&sim, &["a"]);
            client.call(put("k", "1")).await.expect("all is well");
            sim.net().partition(&[&[node], &[sim.driver()]]);
            let start = sim.now();
            let error = client.call(put("k", "2")).await.unwrap_err();
            assert!(error.ambiguous, "{error:?}");
            // Its own limit of five seconds ends it: the connection is probed only after six seconds of silence, since
            // servers of gRPC send away who pings more often than every five.
            assert!(sim.now() - start <= 6 * SECOND, "{:?}", sim.now() - start);
            sim.net().heal_all();
            client.call(put("k", "3")).await.expect("healed");
        });
    }
}

#[test]
fn a_killed_server_is_ambiguous_at_once_and_another_goes_on() {
    for seed in 0..5 {
        simulate(seed, async |sim: Sim| {
            let toy = Toy::default();
            let (a, b) = (server(&sim, "a", &toy), server(&sim, "b", &toy));
            let only_a = client(&sim, &["a"]);
            only_a.call(put("k", "1")).await.expect("all is well");
            let world = sim.world();
            let killer = sim.clone();
            world.spawn(async move {
                killer.sleep(Duration::from_millis(500)).await;
                killer.kill(a);
            });
            let start = sim.now();
            let error = only_a.call(put(NEVER, "")).await.unwrap_err();
            assert_eq!((error.error.code(), error.ambiguous), (Code::Unavailable, true), "{error:?}");
            assert!(sim.now() - start < SECOND, "a reset is noticed at once: {:?}", sim.now() - start);
            let both = client(&sim, &["a", "b"]);
            both.call(put("k", "2")).await.expect("b is up");
            assert!(sim.is_up(b));
        });
    }
}

#[test]
fn a_watch_misses_nothing_through_kills_and_partitions() {
    for seed in 0..10 {
        simulate(seed, async |sim: Sim| {
            let toy = Toy::default();
            let nodes = [server(&sim, "a", &toy), server(&sim, "b", &toy)];
            let client = client(&sim, &["a", "b"]);
            let mut watcher = client.watch(WatchCreate {
                range: KeyRange::prefix("w"),
                start_revision: Revision(1),
                ..WatchCreate::default()
            });
            let (faults, writer) = (sim.clone(), toy.clone());
            sim.world().spawn(async move {
                let mut chance = faults.chance("faults");
                for round in 0..40_u32 {
                    seatrial_etcd::Ask::call(&writer, put(&format!("w{round}"), "v")).await.expect("a toy");
                    faults.sleep(Duration::from_millis(300)).await;
                    let node = nodes[(round % 2) as usize];
                    match chance.below(4) {
                        0 => faults.restart(node),
                        1 => faults.net().isolate(node),
                        2 => faults.net().heal_all(),
                        _ => {}
                    }
                }
                faults.net().heal_all();
            });
            let mut revisions = Vec::new();
            while revisions.len() < 40 {
                let answer = watcher.next().await.expect("it goes on").expect("it goes on");
                revisions.extend(answer.events.iter().map(|event| event.kv.mod_revision.0));
            }
            assert_eq!(revisions, (2..42).collect::<Vec<_>>(), "each once, in order");
            watcher.resumed()
        });
    }
}

#[test]
fn a_seed_replays_to_the_last_packet() {
    let scenario = async |sim: Sim| {
        let toy = Toy::default();
        let node = server(&sim, "a", &toy);
        let client = client(&sim, &["a"]);
        let mut watcher =
            client.watch(WatchCreate { range: KeyRange::prefix("k"), ..WatchCreate::default() });
        watcher.next().await.expect("a confirmation").expect("a confirmation");
        let mut outcomes = Vec::new();
        for round in 0..20 {
            if round == 5 {
                sim.net().isolate(node);
            }
            if round == 7 {
                sim.net().heal_all();
            }
            if round == 12 {
                sim.restart(node);
            }
            let outcome = client.call(put(&format!("k{round}"), "v")).await;
            outcomes.push((outcome.is_ok(), sim.now()));
        }
        outcomes
    };
    let outcome = match check_determinism(11, &Options::default(), scenario) {
        Ok(outcome) => outcome,
        Err(difference) => panic!("{difference}"),
    };
    let outcomes = outcome.result.expect("it ends");
    assert!(outcomes.iter().any(|(ok, _)| !ok) && outcomes.iter().filter(|(ok, _)| *ok).count() > 10);
}
