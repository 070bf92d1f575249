//! Every fault of the network bites.

use seatrial_world::{Listener, World, timeout};
use seatrial_world_sim::{CutKind, Event, LinkRule, NodeId, Options, Sim, SimStream, SimWorld, run_seed};
use std::future::Future;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Runs a scenario with two nodes, of which the first echoes on port 1, under many seeds.
fn with_echo<F, Fut>(scenario: F)
where
    F: Fn(Sim, NodeId, NodeId) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    for seed in 0..25 {
        let scenario = scenario.clone();
        let outcome = run_seed(seed, Options::default(), move |sim: Sim| async move {
            let server = sim.node("server").init(echo).build();
            let client = sim.node("client").build();
            sim.sleep(MS).await;
            scenario(sim, server, client).await;
        });
        if let Err(failure) = outcome.result {
            panic!("seed {seed}: {failure}");
        }
    }
}

async fn echo(world: SimWorld) {
    let mut listener = world.listen("0.0.0.0:1").await.expect("listen");
    while let Ok((mut stream, _)) = listener.accept().await {
        world.spawn(async move {
            let mut buffer = [0; 16 * 1024];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..count]).await.is_err() {
                    break;
                }
            }
        });
    }
}

/// How long a message takes there and back.
async fn ping(sim: &Sim, stream: &mut SimStream) -> std::io::Result<Duration> {
    let start = sim.now();
    stream.write_all(b"ping").await?;
    let mut back = [0; 4];
    stream.read_exact(&mut back).await?;
    assert_eq!(&back, b"ping");
    Ok(sim.now() - start)
}

#[test]
fn latency_and_jitter_are_those_of_the_direction() {
    with_echo(|sim, server, client| async move {
        let mut stream = sim.world_of(client).connect("server:1").await.expect("connect");
        let near = ping(&sim, &mut stream).await.expect("ping");
        assert!(near < 2 * MS, "{near:?}");
        sim.net().set_link(client, server, LinkRule::default().latency(40 * MS).jitter(10 * MS));
        let far = ping(&sim, &mut stream).await.expect("ping");
        assert!(far >= 40 * MS && far < 53 * MS, "{far:?}");
        sim.net().set_default(LinkRule::default().latency(100 * MS));
        let both = ping(&sim, &mut stream).await.expect("ping");
        assert!(both >= 140 * MS, "the other direction follows the default: {both:?}");
        sim.net().clear_link(client, server);
        let default = ping(&sim, &mut stream).await.expect("ping");
        assert!(default >= 200 * MS, "{default:?}");
    });
}

#[test]
fn loss_stalls_streams_and_delays_connections_but_loses_no_byte() {
    with_echo(|sim, server, client| async move {
        let world = sim.world_of(client);
        let mut stream = world.connect("server:1").await.expect("connect");
        let mut slow = 0;
        sim.net().set_link(client, server, LinkRule::default().loss(0.3));
        for _ in 0..60 {
            slow += u32::from(ping(&sim, &mut stream).await.expect("ping") > 150 * MS);
        }
        assert!((5..40).contains(&slow), "{slow} of 60 were stalled at 30 % loss");
        sim.net().set_link(client, server, LinkRule::default().loss(0.1));
        let start = sim.now();
        for _ in 0..60 {
            drop(world.connect("server:1").await.expect("connect"));
        }
        assert!(sim.now() - start > SECOND, "no connection request was lost");
        sim.net().clear_link(client, server);
        let quick = ping(&sim, &mut stream).await.expect("ping");
        assert!(quick < 2 * MS, "{quick:?}");
    });
}

#[test]
fn bandwidth_bounds_a_transfer() {
    with_echo(|sim, server, client| async move {
        sim.net().set_link(client, server, LinkRule::default().bandwidth(1_000_000));
        let mut stream = sim.world_of(client).connect("server:1").await.expect("connect");
        let start = sim.now();
        let (mut read, mut write) = tokio::io::split(&mut stream);
        let writing = async { write.write_all(&vec![7; 500_000]).await };
        let mut back = vec![0; 500_000];
        let (wrote, was_read) = futures::future::join(writing, read.read_exact(&mut back)).await;
        wrote.expect("write");
        was_read.expect("read");
        let took = sim.now() - start;
        assert!(took > 500 * MS && took < 700 * MS, "{took:?} for half a megabyte at one per second");
    });
}

#[test]
fn what_waits_for_a_narrow_line_leaves_in_order_once_it_is_wide() {
    with_echo(|sim, server, client| async move {
        let mut stream = sim.world_of(client).connect("server:1").await.expect("connect");
        sim.net().set_link(client, server, LinkRule::default().bandwidth(1_000));
        let sent: Vec<u8> = (0..50_000u32).map(|at| (at % 251) as u8).collect();
        let (mut read, mut write) = tokio::io::split(&mut stream);
        let mut back = vec![0; sent.len()];
        let healing = async {
            write.write_all(&sent).await.expect("it fits the window");
            sim.sleep(5 * SECOND).await;
            sim.net().clear_link(client, server);
            sim.now()
        };
        let (healed, was_read) = futures::future::join(healing, read.read_exact(&mut back)).await;
        was_read.expect("read");
        assert_eq!(back, sent);
        let took = sim.now() - healed;
        assert!(took < 100 * MS, "{took:?}, for what would have taken 45 s more");
    });
}

#[test]
fn what_is_in_flight_at_a_cut_arrives_in_order_after_the_heal() {
    with_echo(|sim, server, client| async move {
        let mut stream = sim.world_of(client).connect("server:1").await.expect("connect");
        sim.net().set_default(LinkRule::default().latency(20 * MS));
        stream.write_all(b"before ").await.expect("write");
        sim.sleep(5 * MS).await;
        sim.net().cut(client, server);
        stream.write_all(b"during ").await.expect("a cut is not noticed");
        let mut back = [0; 20];
        let early = timeout(&sim.world(), 30 * SECOND, stream.read_exact(&mut back)).await;
        assert!(early.is_err(), "something passed a cut link");
        sim.net().heal(client, server);
        let healed = sim.now();
        stream.write_all(b"after!").await.expect("write");
        let mut back = [0; 20];
        stream.read_exact(&mut back).await.expect("read");
        assert_eq!(&back, b"before during after!");
        let took = sim.now() - healed;
        assert!(took < 300 * MS, "{took:?} after the heal: a phantom outage");
    });
}

#[test]
fn a_one_way_cut_stops_one_direction() {
    with_echo(|sim, server, client| async move {
        let world = sim.world_of(client);
        let mut listener = world.listen("0.0.0.0:7").await.expect("listen");
        let mut to_client = sim.world_of(server).connect("client:7").await.expect("connect");
        let (mut at_client, _) = listener.accept().await.expect("accept");
        sim.net().cut(client, server);
        assert!(sim.net().is_cut(client, server) && !sim.net().is_cut(server, client));
        to_client.write_all(b"still").await.expect("write");
        let mut bytes = [0; 5];
        timeout(&world, SECOND, at_client.read_exact(&mut bytes)).await.expect("open").expect("read");
        at_client.write_all(b"never").await.expect("write");
        let reply = timeout(&world, 5 * SECOND, to_client.read(&mut bytes)).await;
        assert!(reply.is_err(), "the cut direction passed {reply:?}");
    });
}

#[test]
fn connecting_across_a_cut_times_out_and_to_nobody_is_refused() {
    with_echo(|sim, server, client| async move {
        let world = sim.world_of(client);
        let refused = world.connect("server:2").await.expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        for (from, to) in [(client, server), (server, client)] {
            sim.net().cut(from, to);
            let start = sim.now();
            let error = world.connect("server:1").await.expect_err("cut off");
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            let took = sim.now() - start;
            assert!(took > 19 * SECOND && took < 21 * SECOND, "{took:?}");
            sim.net().heal(from, to);
        }
        sim.net().cut(client, server);
        let healer = sim.clone();
        sim.world().spawn(async move {
            healer.sleep(4 * SECOND).await;
            healer.net().heal_all();
        });
        let start = sim.now();
        world.connect("server:1").await.expect("a repeated request comes through");
        assert!(sim.now() - start < 8 * SECOND);
    });
}

#[test]
fn a_resetting_cut_tells_who_sends() {
    with_echo(|sim, server, client| async move {
        let world = sim.world_of(client);
        let mut stream = world.connect("server:1").await.expect("connect");
        sim.net().cut_with(client, server, CutKind::Reset);
        let error = ping(&sim, &mut stream).await.expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let refused = timeout(&world, SECOND, world.connect("server:1")).await.expect("at once");
        assert_eq!(refused.expect_err("refused").kind(), ErrorKind::ConnectionRefused);
        sim.net().heal(client, server);
        let mut again = world.connect("server:1").await.expect("connect");
        ping(&sim, &mut again).await.expect("ping");
    });
}

#[test]
fn a_partition_parts_groups_and_leaves_the_rest() {
    with_echo(|sim, server, client| async move {
        let third = sim.node("third").build();
        let reaches = |from: NodeId| {
            let world = sim.world_of(from);
            async move { matches!(timeout(&world, SECOND, world.connect("server:1")).await, Ok(Ok(_))) }
        };
        sim.net().partition(&[&[server], &[client]]);
        assert!(!reaches(client).await, "parted");
        assert!(reaches(third).await, "a node in no group reaches all");
        sim.net().heal_all();
        assert!(reaches(client).await);
        sim.net().isolate(server);
        assert!(!reaches(third).await && !reaches(client).await && reaches(server).await);
    });
}

#[test]
fn killing_a_process_resets_its_peers() {
    with_echo(|sim, server, client| async move {
        let mut stream = sim.world_of(client).connect("server:1").await.expect("connect");
        ping(&sim, &mut stream).await.expect("ping");
        let killed = sim.now();
        sim.kill(server);
        let error = stream.read(&mut [0; 1]).await.expect_err("a killed process says no farewell");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(sim.now() - killed < 2 * MS, "the peer learns at once");
        let refused = sim.world_of(client).connect("server:1").await.expect_err("nobody is there");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        sim.restart(server);
        sim.sleep(MS).await;
        let mut again = sim.world_of(client).connect("server:1").await.expect("connect");
        ping(&sim, &mut again).await.expect("ping");
    });
}

#[test]
fn a_killed_process_behind_a_cut_resets_its_peer_after_the_heal() {
    with_echo(|sim, server, client| async move {
        let world = sim.world_of(client);
        let mut stream = world.connect("server:1").await.expect("connect");
        sim.net().partition(&[&[server], &[client]]);
        sim.kill(server);
        stream.write_all(b"anybody?").await.expect("write");
        assert!(
            timeout(&world, 10 * SECOND, stream.read(&mut [0; 1])).await.is_err(),
            "a cut lets no reset through"
        );
        sim.net().heal_all();
        let error =
            timeout(&world, SECOND, stream.read(&mut [0; 1])).await.expect("soon").expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_machine_without_power_is_a_black_hole_until_it_is_back() {
    with_echo(|sim, server, client| async move {
        let world = sim.world_of(client);
        let mut stream = world.connect("server:1").await.expect("connect");
        sim.power_loss(server, seatrial_world_sim::Crash::Random);
        stream.write_all(b"hello?").await.expect("nobody says that it is gone");
        assert!(
            timeout(&world, 30 * SECOND, stream.read(&mut [0; 1])).await.is_err(),
            "a dead machine answered"
        );
        let unanswered = timeout(&world, 5 * SECOND, world.connect("server:1")).await;
        assert!(unanswered.is_err(), "a dead machine refused or accepted");
        sim.restart(server);
        let error =
            timeout(&world, SECOND, stream.read(&mut [0; 1])).await.expect("soon").expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_paused_process_takes_what_its_windows_hold_and_goes_on_later() {
    with_echo(|sim, server, client| async move {
        let world = sim.world_of(client);
        let mut stream = world.connect("server:1").await.expect("connect");
        sim.pause(server);
        let mut second = world.connect("server:1").await.expect("the machine accepts for its process");
        assert!(
            timeout(&world, 10 * SECOND, ping(&sim, &mut second)).await.is_err(),
            "a paused process answered"
        );
        sim.resume(server);
        ping(&sim, &mut stream).await.expect("ping");
    });
}

#[test]
fn an_exiting_process_closes_in_good_order() {
    with_echo(|sim, _server, client| async move {
        let brief = sim
            .node("brief")
            .init(|world: SimWorld| async move {
                let mut listener = world.listen("0.0.0.0:1").await.expect("listen");
                let (mut stream, _) = listener.accept().await.expect("accept");
                stream.write_all(b"goodbye").await.expect("write");
                world.spawn(async move {
                    std::future::pending::<()>().await;
                    drop(stream);
                });
            })
            .build();
        let mut stream = sim.world_of(client).connect("brief:1").await.expect("connect");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("a clean end");
        assert_eq!(text, "goodbye");
        sim.down(brief).await;
        assert!(!sim.is_up(brief));
    });
}

#[test]
fn observers_hear_of_connections_cuts_and_deaths() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = heard.clone();
    let options = Options { packet_sample: 1, ..Options::default() };
    run_seed(1, options, move |sim: Sim| async move {
        sim.observe(move |_, event: &Event| hearing.lock().expect("lock").push(event.to_string()));
        let server = sim.node("server").init(echo).build();
        let client = sim.node("client").build();
        sim.sleep(MS).await;
        let mut stream = sim.world_of(client).connect("server:1").await.expect("connect");
        ping(&sim, &mut stream).await.expect("ping");
        sim.net().partition(&[&[server], &[client]]);
        sim.net().heal_all();
        sim.pause(server);
        sim.resume(server);
        sim.trace("halfway");
        sim.kill(server);
        sim.restart(server);
        sim.power_loss(server, seatrial_world_sim::Crash::LoseAll);
    })
    .result
    .expect("a run without failure");
    let heard = heard.lock().expect("lock").join("\n");
    for expected in [
        "server started, incarnation 1",
        "client connected to server:1",
        "client -> server 4 bytes",
        "server -> client cut (BlackHole)",
        "client -> server healed",
        "server paused",
        "server resumed",
        "driver: halfway",
        "server killed",
        "server started, incarnation 2",
        "server lost its power",
    ] {
        assert!(heard.contains(expected), "{expected:?} is missing in\n{heard}");
    }
}
