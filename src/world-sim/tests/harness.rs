//! Processes, clocks, panics, determinism.

use seatrial_world::{Disk, DiskFile, DiskWork, Listener, OpenMode, Task, World, timeout};
use seatrial_world_sim::{
    Crash, Failure, LinkRule, NodeId, Options, Sim, SimWorld, check_determinism, run_seed,
};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A small cluster: each node greets the next, writes down what it hears, and waits a random time.
async fn member(world: SimWorld, index: u32, count: u32) {
    let mut listener = world.listen("0.0.0.0:1").await.expect("listen");
    let receiving = world.clone();
    world.spawn(async move {
        let disk = receiving.disk("data").expect("disk");
        let file = Arc::new(disk.open("heard", OpenMode::Create).expect("create"));
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            if stream.read_to_end(&mut bytes).await.is_ok() {
                let file = file.clone();
                receiving
                    .work(DiskWork::Sync, move || {
                        let at = file.len().expect("len");
                        file.write_at(at, &bytes).expect("write");
                        file.sync().expect("sync");
                    })
                    .await;
            }
        }
    });
    loop {
        world.sleep(MS * (world.rand() % 50) as u32).await;
        let next = format!("m{}:1", (index + 1) % count);
        let greeting = timeout(&world, SECOND, async {
            let mut stream = world.connect(&next).await?;
            stream.write_all(&world.rand().to_le_bytes()).await?;
            stream.shutdown().await
        });
        let _ = greeting.await;
    }
}

async fn stormy(sim: Sim) {
    let nodes: Vec<NodeId> = (0..3)
        .map(|index| sim.node(&format!("m{index}")).init(move |world| member(world, index, 3)).build())
        .collect();
    let mut chance = sim.chance("nemesis");
    sim.net().set_default(LinkRule::default().loss(0.02).jitter(3 * MS));
    for _ in 0..30 {
        sim.sleep(chance.duration(10 * MS, 300 * MS)).await;
        let node = *chance.pick(&nodes).expect("three");
        match chance.below(6) {
            0 => sim.restart(node),
            1 => sim.net().isolate(node),
            2 => sim.net().heal_all(),
            3 => {
                sim.power_loss(node, Crash::Random);
                sim.sleep(50 * MS).await;
                sim.restart(node);
            }
            4 => sim.clock(node).set_drift(chance.range(0, 2000) as i64 - 1000),
            _ => {
                sim.pause(node);
                sim.sleep(20 * MS).await;
                sim.resume(node);
            }
        }
    }
}

#[test]
fn a_seed_run_twice_gives_the_same_trace() {
    let mut hashes = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let outcome =
            check_determinism(seed, &Options::default(), stormy).unwrap_or_else(|found| panic!("{found}"));
        outcome.result.expect("no failure");
        assert!(outcome.events > 200, "seed {seed}: hardly anything happened: {} events", outcome.events);
        hashes.insert(outcome.trace_hash);
        let bare = run_seed(seed, Options::default(), stormy);
        assert_eq!(bare.trace_hash, outcome.trace_hash, "seed {seed}: recording changes the run");
    }
    assert_eq!(hashes.len(), 20, "seeds do not differ");
}

#[test]
fn a_scenario_that_depends_on_anything_else_is_caught_at_its_first_difference() {
    let calls = Arc::new(AtomicU64::new(0));
    let found = check_determinism(3, &Options::default(), move |sim: Sim| {
        // What differs between the runs, as a static or the machine's own clock would.
        let odd = calls.fetch_add(1, Ordering::Relaxed);
        async move {
            sim.trace("begun");
            sim.sleep(MS).await;
            if odd == 1 {
                sim.trace("only in the second run");
            }
            sim.trace("ended");
        }
    })
    .expect_err("the runs differ");
    let text = found.to_string();
    assert!(found.first.as_ref().is_some_and(|line| line.contains("ended")), "{text}");
    assert!(found.second.as_ref().is_some_and(|line| line.contains("only in the second run")), "{text}");
    assert!(text.contains("begun"), "the context is missing: {text}");
}

#[test]
fn values_alone_are_enough_to_be_caught() {
    let calls = Arc::new(AtomicU64::new(0));
    let found = check_determinism(4, &Options::default(), move |sim: Sim| {
        let odd = calls.fetch_add(1, Ordering::Relaxed) as u8;
        async move {
            let node = sim.node("n").build();
            let disk = sim.world_of(node).disk("d").expect("disk");
            disk.open("f", OpenMode::Create).expect("create").write_at(0, &[odd]).expect("write");
        }
    })
    .expect_err("one byte differs");
    assert!(found.first.as_ref().is_some_and(|line| line.contains("wrote d/f at 0, 1 bytes")), "{found}");
}

#[test]
fn draws_in_one_node_leave_the_numbers_of_another_alone() {
    let draw = |disturbed: bool| {
        run_seed(5, Options::default(), move |sim: Sim| async move {
            let (a, b) = (sim.node("a").build(), sim.node("b").build());
            if disturbed {
                sim.world_of(a).rand();
                sim.chance("x").draw();
            }
            (sim.world_of(b).rand(), sim.world_of(b).rand(), sim.chance("y").draw())
        })
        .result
        .expect("no failure")
    };
    assert_eq!(draw(false), draw(true));
}

#[test]
fn a_panic_ends_the_run_and_names_node_and_place() {
    let outcome = run_seed(1, Options::default(), |sim: Sim| async move {
        let node = sim.node("unlucky").build();
        let world = sim.world_of(node);
        world.clone().spawn(async move {
            world.sleep(SECOND).await;
            panic!("applied {} beyond commit {}", 7, 5);
        });
        sim.sleep(100 * SECOND).await;
    });
    let Err(Failure::Panic { node, message, at }) = outcome.result else { panic!("{:?}", outcome.result) };
    assert_eq!(node.as_deref(), Some("unlucky"));
    assert!(message.starts_with("applied 7 beyond commit 5 (at "), "{message}");
    assert!(message.contains("harness.rs"), "{message}");
    assert!(at >= SECOND && at < 2 * SECOND, "{at:?}");

    let outcome = run_seed(1, Options::default(), |_: Sim| async move { panic!("a wrong scenario") });
    let Err(Failure::Panic { node: None, message, .. }) = outcome.result else { panic!("not a panic") };
    assert!(message.starts_with("a wrong scenario"), "{message}");
}

#[test]
fn a_panic_can_be_had_to_kill_its_process_only() {
    let options = Options { kill_on_panic: true, ..Options::default() };
    run_seed(1, options, |sim: Sim| async move {
        let node = sim
            .node("frail")
            .init(|world: SimWorld| async move {
                world.sleep(SECOND).await;
                assert!(world.incarnation() > 1, "the first one fails");
                std::future::pending::<()>().await;
            })
            .build();
        sim.down(node).await;
        sim.restart(node);
        sim.sleep(10 * SECOND).await;
        assert!(sim.is_up(node));
    })
    .result
    .expect("the run goes on");
}

#[test]
fn the_limits_of_time_end_a_run() {
    let options = Options { time_limit: 5 * SECOND, ..Options::default() };
    let outcome = run_seed(1, options, |_: Sim| std::future::pending::<()>());
    assert_eq!(outcome.result, Err(Failure::TimeLimit(5 * SECOND)));
    assert!(outcome.simulated >= 5 * SECOND && outcome.simulated < 6 * SECOND);

    let options = Options { wall_limit: SECOND / 5, ..Options::default() };
    let released = Arc::new(AtomicU64::new(0));
    let release = released.clone();
    let outcome = run_seed(1, options, move |_: Sim| async move {
        while release.load(Ordering::Relaxed) == 0 {
            std::hint::spin_loop();
        }
    });
    released.store(1, Ordering::Relaxed);
    assert_eq!(outcome.result, Err(Failure::Stuck(SECOND / 5)));
}

#[test]
fn a_killed_process_does_nothing_more_and_a_new_one_begins_afresh() {
    run_seed(2, Options::default(), |sim: Sim| async move {
        let beats = Arc::new(Mutex::new(Vec::new()));
        let beating = beats.clone();
        let node = sim
            .node("n")
            .init(move |world: SimWorld| {
                let beating = beating.clone();
                async move {
                    let child = world.clone();
                    world.spawn(async move {
                        loop {
                            beating.lock().expect("lock").push((child.incarnation(), child.now()));
                            child.sleep(100 * MS).await;
                        }
                    });
                    std::future::pending::<()>().await;
                }
            })
            .build();
        sim.sleep(SECOND).await;
        let old = sim.world_of(node);
        sim.kill(node);
        let count = beats.lock().expect("lock").len();
        assert!((9..=11).contains(&count), "{count} beats in a second");
        old.spawn(async { panic!("a task of a dead process ran") });
        assert!(old.connect("driver:1").await.is_err() && old.listen("0.0.0.0:1").await.is_err());
        assert!(old.disk("d").is_err());
        sim.sleep(SECOND).await;
        assert_eq!(beats.lock().expect("lock").len(), count, "a dead process goes on");
        sim.restart(node);
        sim.sleep(SECOND).await;
        let beats = beats.lock().expect("lock");
        let (incarnation, now) = beats[count];
        assert_eq!(incarnation, 2);
        assert!(now < 10 * MS, "a process counts from its own start: {now:?}");
        assert!(beats.len() >= 2 * count - 1);
    })
    .result
    .expect("no failure");
}

#[test]
fn a_drifting_clock_shifts_sleeps_even_those_under_way() {
    run_seed(3, Options::default(), |sim: Sim| async move {
        let node = sim.node("n").build();
        let world = sim.world_of(node);
        sim.clock(node).set_drift(100_000);
        let (start, local) = (sim.now(), world.now());
        world.sleep(11 * SECOND).await;
        let took = sim.now() - start;
        assert!(took >= 10 * SECOND && took < 10 * SECOND + MS, "11 s on a clock 10 % fast took {took:?}");
        assert!(world.now() - local >= 11 * SECOND);

        // 5.5 s are done after 5 s; the other 5.5 s take 11 s at half the rate, and 2.75 s at twice.
        for (ppm, millis) in [(-500_000, 16_000), (1_000_000, 7_750)] {
            sim.clock(node).set_drift(100_000);
            let start = sim.now();
            let sleeping = world.clone();
            let (send, woke) = tokio::sync::oneshot::channel();
            let waker = sim.clone();
            world.spawn(async move {
                sleeping.sleep(11 * SECOND).await;
                let _ = send.send(waker.now());
            });
            sim.sleep(5 * SECOND).await;
            sim.clock(node).set_drift(ppm);
            let took = woke.await.expect("it woke") - start;
            assert!(took >= MS * millis && took < MS * (millis + 1), "{took:?} at {ppm} ppm");
        }
    })
    .result
    .expect("no failure");
}

#[test]
fn a_wall_clock_jumps_and_the_monotonic_one_does_not() {
    run_seed(3, Options::default(), |sim: Sim| async move {
        let node = sim.node("n").build();
        let world = sim.world_of(node);
        let (wall, now) = (world.wall(), world.now());
        sim.clock(node).step_wall(-3_600_000);
        assert!(wall - world.wall() > 3599 * SECOND, "an hour back");
        assert!(world.now() >= now && world.now() - now < SECOND);
        assert!(sim.world().wall() >= wall, "other nodes do not notice");
    })
    .result
    .expect("no failure");
}

#[test]
fn sleeps_are_finer_than_a_millisecond() {
    run_seed(3, Options::default(), |sim: Sim| async move {
        let world = sim.world();
        for micros in [1, 20, 300] {
            let (start, wanted) = (sim.now(), Duration::from_micros(micros));
            world.sleep(wanted).await;
            let took = sim.now() - start;
            assert!(
                took >= wanted && took < wanted + 2 * Duration::from_micros(1),
                "{wanted:?} took {took:?}"
            );
        }
    })
    .result
    .expect("no failure");
}

#[test]
fn a_run_leaves_no_task_and_no_value_behind() {
    let kept = Arc::new(());
    for fails in [false, true] {
        let inside = kept.clone();
        let outcome = run_seed(1, Options::default(), move |sim: Sim| async move {
            let init = inside.clone();
            let node = sim
                .node("n")
                .init(move |world: SimWorld| {
                    let held = init.clone();
                    async move {
                        let mut listener = world.listen("0.0.0.0:1").await.expect("listen");
                        let _stream = listener.accept().await;
                        std::future::pending::<()>().await;
                        drop(held);
                    }
                })
                .build();
            let client = sim.world();
            let (sleeper, held) = (client.clone(), inside.clone());
            let task = client.spawn(async move {
                sleeper.sleep(1000 * SECOND).await;
                drop(held);
            });
            let held = inside.clone();
            sim.world_of(node).spawn(async move {
                let _held = held;
                std::future::pending::<()>().await;
            });
            sim.sleep(SECOND).await;
            let stream = client.connect("n:1").await.expect("connect");
            let held = inside.clone();
            client.spawn(async move {
                let (mut stream, _held) = (stream, held);
                let _ = stream.read(&mut [0; 1]).await;
            });
            sim.pause(node);
            assert!(!fails, "as wanted");
            task.abort();
        });
        assert_eq!(outcome.result.is_err(), fails);
        assert_eq!(Arc::strong_count(&kept), 1, "values outlive a run that fails: {fails}");
    }
}

#[test]
fn many_messages_cost_little() {
    let outcome = run_seed(1, Options::default(), |sim: Sim| async move {
        let server = sim.node("server").build();
        let world = sim.world_of(server);
        let mut listener = world.listen("0.0.0.0:1").await.expect("listen");
        world.spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let mut buffer = [0; 100];
            while stream.read_exact(&mut buffer).await.is_ok() {
                stream.write_all(&buffer).await.expect("write");
            }
        });
        let mut stream = sim.world().connect("server:1").await.expect("connect");
        let mut buffer = [0; 100];
        for _ in 0..50_000 {
            stream.write_all(&buffer).await.expect("write");
            stream.read_exact(&mut buffer).await.expect("read");
        }
    });
    outcome.result.expect("no failure");
    let each = outcome.cpu / 100_000;
    eprintln!("{each:?} for each message");
    assert!(each < Duration::from_micros(20), "{each:?} for each message");
}
