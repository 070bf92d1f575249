//! Clocks, chance, tasks, work.

use super::Env;
use crate::{Disk, DiskFile, DiskWork, OpenMode, Task, World, timeout};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

const MS: Duration = Duration::from_millis(1);

/// [`World::now`].
pub async fn the_clock_never_goes_back<W: World>(env: Env<W>) {
    let mut last = env.server.now();
    for round in 0..50u32 {
        env.server.sleep(MS * (round % 3)).await;
        let now = env.server.now();
        assert!(now >= last, "the clock went from {last:?} back to {now:?}");
        last = now;
    }
    assert!(env.server.now() >= MS * 40, "49 ms of sleeping took no time");
}

/// [`World::sleep`], [`World::sleep_until`].
pub async fn sleeps_end_in_order_and_not_early<W: World>(env: Env<W>) {
    let world = env.server;
    let start = world.now();
    let (send, mut receive) = mpsc::unbounded_channel();
    for millis in [120u32, 20, 70] {
        let (world, send) = (world.clone(), send.clone());
        let deadline = start + MS * millis;
        world.clone().spawn(async move {
            world.sleep_until(deadline).await;
            assert!(world.now() >= deadline, "woke at {:?}, before {deadline:?}", world.now());
            let _ = send.send(millis);
        });
    }
    for expected in [20, 70, 120] {
        assert_eq!(receive.recv().await, Some(expected));
    }
    world.sleep_until(start).await;
    assert!(world.now() < start + MS * 5_000, "a deadline in the past waited until {:?}", world.now());
}

/// [`timeout`].
pub async fn a_timeout_drops_what_takes_too_long<W: World>(env: Env<W>) {
    let world = env.server;
    let (sender, receiver) = oneshot::channel::<()>();
    let never = async move {
        let _kept = sender;
        std::future::pending::<()>().await;
    };
    let start = world.now();
    let elapsed = timeout(&world, MS * 30, never).await.expect_err("pending for ever");
    assert_eq!(elapsed.limit, MS * 30);
    assert!(world.now() - start >= MS * 30);
    assert!(receiver.await.is_err(), "the future was kept alive");
    assert_eq!(timeout(&world, Duration::ZERO, async { 7 }).await, Ok(7), "what is ready wins");
}

/// [`World::wall`].
pub async fn the_wall_clock_moves_with_the_monotonic_one<W: World>(env: Env<W>) {
    let world = env.server;
    let (wall, now) = (world.wall(), world.now());
    assert!(wall > Duration::from_secs(1_600_000_000), "{wall:?} since 1970 is no plausible date");
    world.sleep(MS * 50).await;
    let (wall, now) = (world.wall() - wall, world.now() - now);
    let apart = wall.abs_diff(now);
    assert!(apart < MS * 20, "wall moved {wall:?}, monotonic {now:?}");
}

/// [`World::rand`].
pub async fn random_numbers_differ<W: World>(env: Env<W>) {
    let numbers: BTreeSet<u64> = (0..1000).map(|_| env.server.rand()).collect();
    assert_eq!(numbers.len(), 1000, "random numbers repeat");
    let ones: u32 = numbers.iter().map(|n| n.count_ones()).sum();
    assert!((31_000..33_000).contains(&ones), "{ones} of 64,000 bits are set");
}

/// [`World::spawn`], [`Task::abort`].
pub async fn a_spawned_task_runs_and_an_aborted_one_stops<W: World>(env: Env<W>) {
    let world = env.server;
    let (send, receive) = oneshot::channel();
    drop(world.spawn(async move {
        let _ = send.send(42);
    }));
    assert_eq!(receive.await, Ok(42), "a task whose handle is dropped runs on");

    let beats = Arc::new(AtomicU32::new(0));
    let task = {
        let (world, beats) = (world.clone(), beats.clone());
        world.clone().spawn(async move {
            loop {
                beats.fetch_add(1, Ordering::Relaxed);
                world.sleep(MS * 5).await;
            }
        })
    };
    while beats.load(Ordering::Relaxed) < 3 {
        world.sleep(MS * 5).await;
    }
    task.abort();
    world.sleep(MS * 20).await;
    let stopped_at = beats.load(Ordering::Relaxed);
    world.sleep(MS * 60).await;
    assert_eq!(beats.load(Ordering::Relaxed), stopped_at, "an aborted task went on");
    task.abort();
}

/// [`World::work`].
pub async fn work_returns_its_result_and_sees_the_disk<W: World>(env: Env<W>) {
    let disk = env.server.disk(&env.root).expect("disk");
    let order = Arc::new(Mutex::new(Vec::new()));
    for (step, kind) in [DiskWork::Write, DiskWork::Sync, DiskWork::Read].into_iter().enumerate() {
        let (disk, order) = (disk.clone(), order.clone());
        let bytes = env
            .server
            .work(kind, move || {
                order.lock().expect("lock").push(step);
                let file = disk.open("worked", OpenMode::Create)?;
                match kind {
                    DiskWork::Write => file.write_at(0, b"by hand")?,
                    DiskWork::Sync => file.sync()?,
                    DiskWork::Read => {}
                }
                let mut bytes = [0; 7];
                file.read_at(0, &mut bytes)?;
                std::io::Result::Ok(bytes)
            })
            .await
            .expect("disk work");
        assert_eq!(&bytes, b"by hand", "{kind:?}");
    }
    assert_eq!(*order.lock().expect("lock"), [0, 1, 2]);
}
