//! The real world keeps the contracts of the world seam.
#![allow(clippy::disallowed_methods, reason = "these tests touch the machine on purpose")]

use seatrial_world::contract::Env;
use seatrial_world::{DiskWork, World};
use seatrial_world_real::RealWorld;
use std::future::Future;
use std::time::Duration;

fn on_runtime<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

fn run<F, Fut>(contract: F)
where
    F: FnOnce(Env<RealWorld>) -> Fut,
    Fut: Future<Output = ()>,
{
    let folder = tempfile::tempdir().expect("a temporary folder");
    on_runtime(async {
        let world = RealWorld::new();
        let root = folder.path().join("disk").to_str().expect("UTF-8").to_owned();
        contract(Env { server: world.clone(), client: world, host: "127.0.0.1".into(), root }).await;
    });
}

seatrial_world::contract_tests!(run);

#[test]
fn work_is_carried_to_its_end_although_nobody_waits() {
    on_runtime(async {
        let world = RealWorld::new();
        let (done, wait) = tokio::sync::oneshot::channel();
        drop(world.work(DiskWork::Sync, move || {
            std::thread::sleep(Duration::from_millis(30));
            let _ = done.send(());
        }));
        wait.await.expect("the work was given up");
    });
}

#[test]
fn a_panic_in_work_goes_on_in_who_awaits_it() {
    on_runtime(async {
        let world = RealWorld::new();
        let failing = world.clone();
        let failing = async move { failing.work(DiskWork::Read, || panic!("damaged")).await };
        let error = tokio::spawn(failing).await.expect_err("it panics");
        assert_eq!(*error.into_panic().downcast::<&str>().expect("a message"), "damaged");
        assert_eq!(world.work(DiskWork::Read, || 3).await, 3, "the pool outlives a panic");
    });
}

#[test]
fn more_work_than_threads_is_all_done() {
    on_runtime(async {
        let world = RealWorld::new();
        let all: Vec<_> = (0..100u64)
            .map(|n| {
                world.work(DiskWork::Write, move || {
                    std::thread::sleep(Duration::from_micros(200));
                    n
                })
            })
            .collect();
        let mut sum = 0;
        for work in all {
            sum += work.await;
        }
        assert_eq!(sum, 4950);
    });
}

#[test]
fn a_path_cannot_leave_the_disks_folder() {
    use seatrial_world::{Disk, OpenMode};
    let folder = tempfile::tempdir().expect("a temporary folder");
    on_runtime(async {
        let disk = RealWorld::new().disk(folder.path().to_str().expect("UTF-8")).expect("disk");
        for path in ["../outside", "/etc/outside", "a/../../outside"] {
            let error = disk.open(path, OpenMode::Create).expect_err(path);
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{path}");
        }
    });
}
