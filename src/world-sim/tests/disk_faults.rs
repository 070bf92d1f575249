//! Every fault of the disk bites.

use seatrial_world::{Disk, DiskFile, DiskWork, OpenMode, World};
use seatrial_world_sim::{
    Crash, DiskLatency, LatencyRange, NodeId, Options, Sim, SimDisk, SimWorld, Times, run_seed,
};
use std::collections::BTreeSet;
use std::future::Future;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Runs a scenario with one node under so many seeds, and returns what each gave.
fn seeds<T, F, Fut>(count: u64, scenario: F) -> Vec<T>
where
    T: Send + 'static,
    F: Fn(Sim, NodeId) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    (0..count)
        .map(|seed| {
            let scenario = scenario.clone();
            let outcome = run_seed(seed, Options::default(), move |sim: Sim| async move {
                let node = sim.node("node").build();
                scenario(sim, node).await
            });
            outcome.result.unwrap_or_else(|failure| panic!("seed {seed}: {failure}"))
        })
        .collect()
}

fn disk(sim: &Sim, node: NodeId) -> SimDisk {
    sim.world_of(node).disk("d").expect("disk")
}

fn crash(sim: &Sim, node: NodeId, crash: Crash) {
    sim.power_loss(node, crash);
    sim.restart(node);
}

fn contents(disk: &SimDisk, path: &str) -> Vec<u8> {
    let file = disk.open(path, OpenMode::Existing).expect(path);
    let mut bytes = vec![0; file.len().expect("len") as usize];
    file.read_at(0, &mut bytes).expect("read");
    bytes
}

#[test]
fn a_killed_process_loses_nothing_and_its_handles_are_dead() {
    seeds(5, |sim, node| async move {
        let file = disk(&sim, node).open("f", OpenMode::Create).expect("create");
        file.write_at(0, b"unsynced").expect("write");
        file.lock().expect("lock");
        sim.kill(node);
        assert!(file.write_at(0, b"ghost").is_err(), "a process that is gone wrote");
        sim.restart(node);
        assert_eq!(contents(&disk(&sim, node), "f"), b"unsynced");
        disk(&sim, node).open("f", OpenMode::Create).expect("open").lock().expect("its lock went with it");
        assert!(file.sync().is_err());
    });
}

#[test]
fn what_was_synced_survives_every_power_loss() {
    seeds(60, |sim, node| async move {
        let d = disk(&sim, node);
        let file = d.open("f", OpenMode::Create).expect("create");
        file.write_at(0, &[1; 3000]).expect("write");
        file.sync().expect("sync");
        d.sync_dir("").expect("sync the folder");
        file.write_at(3000, &[2; 3000]).expect("write");
        crash(&sim, node, Crash::Random);
        let after = contents(&disk(&sim, node), "f");
        assert!(after.len() >= 3000 && after[..3000].iter().all(|&byte| byte == 1), "a synced byte was lost");
    });
}

#[test]
fn unsynced_sectors_are_kept_lost_torn_and_out_of_order() {
    // Eight sectors of ones over zeros, all unsynced: what remains of each?
    let images = seeds(200, |sim, node| async move {
        let d = disk(&sim, node);
        let file = d.open("f", OpenMode::Create).expect("create");
        file.allocate(4096).expect("allocate");
        file.sync().expect("sync");
        d.sync_dir("").expect("sync the folder");
        for sector in 0..8 {
            file.write_at(sector * 512, &[1; 512]).expect("write");
        }
        crash(&sim, node, Crash::Odds { keep: 0.5, tear: 0.1 });
        contents(&disk(&sim, node), "f")
    });
    let (mut kept, mut lost, mut torn, mut out_of_order) = (0, 0, 0, 0);
    for image in &images {
        let ones: Vec<usize> =
            image.chunks(512).map(|sector| sector.iter().filter(|&&byte| byte == 1).count()).collect();
        kept += ones.iter().filter(|&&count| count == 512).count();
        lost += ones.iter().filter(|&&count| count == 0).count();
        torn += ones.iter().filter(|&&count| count > 0 && count < 512).count();
        out_of_order += usize::from(ones.windows(2).any(|pair| pair[0] == 0 && pair[1] == 512));
    }
    assert!(kept > 500 && lost > 500, "kept {kept}, lost {lost} of 1600");
    assert!((80..300).contains(&torn), "{torn} of 1600 torn at 10 %");
    assert!(out_of_order > 100, "in {out_of_order} of 200 a later sector was kept and an earlier lost");
    assert!(images.iter().collect::<BTreeSet<_>>().len() > 100, "crashes hardly differ");
}

#[test]
fn the_extremes_of_a_crash_are_exact() {
    seeds(5, |sim, node| async move {
        for (mode, expected) in [(Crash::LoseAll, &b"old"[..]), (Crash::KeepAll, b"new+longer")] {
            let d = disk(&sim, node);
            let file = d.open("f", OpenMode::Create).expect("create");
            file.set_len(0).expect("cut");
            file.write_at(0, b"old").expect("write");
            file.sync().expect("sync");
            d.sync_dir("").expect("sync the folder");
            file.write_at(0, b"new+longer").expect("write");
            d.open("fresh", OpenMode::Create).expect("create");
            crash(&sim, node, mode);
            let d = disk(&sim, node);
            assert_eq!(contents(&d, "f"), expected, "{mode:?}");
            assert_eq!(d.list("").expect("list").contains(&"fresh".to_owned()), mode == Crash::KeepAll);
        }
    });
}

#[test]
fn lengths_can_be_lost_with_their_bytes_kept_and_the_reverse() {
    let images: BTreeSet<Vec<u8>> = seeds(100, |sim, node| async move {
        let d = disk(&sim, node);
        let file = d.open("f", OpenMode::Create).expect("create");
        d.sync_dir("").expect("sync the folder");
        file.write_at(0, &[1; 512]).expect("write");
        crash(&sim, node, Crash::Odds { keep: 0.5, tear: 0.0 });
        contents(&disk(&sim, node), "f")
    })
    .into_iter()
    .collect();
    let expected = BTreeSet::from([vec![], vec![0; 512], vec![1; 512]]);
    assert_eq!(images, expected, "nothing, a length without bytes, both");
}

#[test]
fn names_need_a_sync_of_their_folder_and_a_rename_is_atomic() {
    let outcomes: BTreeSet<Vec<String>> = seeds(200, |sim, node| async move {
        let d = disk(&sim, node);
        let file = d.open("a", OpenMode::Create).expect("create");
        file.write_at(0, b"a").expect("write");
        file.sync().expect("a sync of the file says nothing about its name");
        d.sync_dir("").expect("sync the folder");
        d.rename("a", "b").expect("rename");
        d.open("c", OpenMode::Create).expect("create").sync().expect("sync");
        crash(&sim, node, Crash::Odds { keep: 0.5, tear: 0.0 });
        let d = disk(&sim, node);
        let names = d.list("").expect("list");
        let kept = if names.contains(&"a".to_owned()) { "a" } else { "b" };
        assert_eq!(contents(&d, kept), b"a", "a rename lost a synced file");
        names
    })
    .into_iter()
    .collect();
    let names = |all: &[&str]| all.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let expected = BTreeSet::from([names(&["a"]), names(&["a", "c"]), names(&["b"]), names(&["b", "c"])]);
    assert_eq!(outcomes, expected);
}

#[test]
fn synced_names_stay_and_removed_ones_come_back_unless_synced() {
    let back = seeds(50, |sim, node| async move {
        let d = disk(&sim, node);
        d.create_dir("sub/deep").expect("folders");
        for (folder, name) in [("sub", "sub/deep/kept"), ("", "gone")] {
            d.open(name, OpenMode::Create).expect("create").sync().expect("sync");
            d.sync_dir(folder).expect("sync");
        }
        d.sync_dir("sub/deep").expect("sync");
        d.remove("gone").expect("remove");
        crash(&sim, node, Crash::Random);
        let d = disk(&sim, node);
        assert_eq!(d.list("sub/deep").expect("a synced folder"), ["kept"]);
        let back = d.list("").expect("list").contains(&"gone".to_owned());
        if back {
            d.remove("gone").expect("remove");
            d.sync_dir("").expect("sync");
            crash(&sim, node, Crash::Random);
            assert!(!disk(&sim, node).list("").expect("list").contains(&"gone".to_owned()));
        }
        back
    });
    let back = back.into_iter().filter(|&back| back).count();
    assert!((5..45).contains(&back), "in {back} of 50 an unsynced removal was undone");
}

#[test]
fn after_a_failed_sync_the_next_one_succeeds_and_saves_nothing() {
    seeds(10, |sim, node| async move {
        let d = disk(&sim, node);
        let file = d.open("wal/1", OpenMode::Create).err();
        assert_eq!(file.expect("no folder").kind(), ErrorKind::NotFound);
        d.create_dir("wal").expect("folder");
        let file = d.open("wal/1", OpenMode::Create).expect("create");
        let other = d.open("db", OpenMode::Create).expect("create");
        d.sync_dir("").expect("sync");
        d.sync_dir("wal").expect("sync");
        file.write_at(0, b"promise").expect("write");
        sim.disk(node).fail_sync("wal/", Times::Once);
        other.sync().expect("only files of that path fail");
        file.sync().expect_err("it fails once");
        file.sync().expect("and then lies: the pages count as clean");
        let mut seen = [0; 7];
        file.read_at(0, &mut seen).expect("read");
        assert_eq!(&seen, b"promise", "the page cache still shows it");
        sim.disk(node).fail_sync("db", Times::Always);
        other.sync().expect_err("sticky");
        other.sync().expect_err("sticky");
        crash(&sim, node, Crash::LoseAll);
        let after = contents(&disk(&sim, node), "wal/1");
        assert!(
            after.iter().all(|&byte| byte == 0),
            "what failed to sync was durable all the same: {after:?}"
        );
    });
}

#[test]
fn a_lying_sync_loses_what_it_promised() {
    seeds(5, |sim, node| async move {
        let d = disk(&sim, node);
        let file = d.open("f", OpenMode::Create).expect("create");
        d.sync_dir("").expect("sync");
        sim.disk(node).lie_about_syncs(true);
        file.write_at(0, b"promise").expect("write");
        file.sync().expect("it says so");
        crash(&sim, node, Crash::LoseAll);
        assert_eq!(contents(&disk(&sim, node), "f"), b"");
        sim.disk(node).repair();
        let file = disk(&sim, node).open("f", OpenMode::Create).expect("open");
        file.write_at(0, b"promise").expect("write");
        file.sync().expect("sync");
        crash(&sim, node, Crash::LoseAll);
        assert_eq!(contents(&disk(&sim, node), "f"), b"promise");
    });
}

#[test]
fn reads_and_writes_fail_where_the_medium_does() {
    seeds(10, |sim, node| async move {
        let d = disk(&sim, node);
        let file = d.open("f", OpenMode::Create).expect("create");
        file.write_at(0, b"0123456789").expect("write");
        file.sync().expect("sync");
        sim.disk(node).fail_read("f", Times::Count(2));
        sim.disk(node).drop_cache("f");
        let error = file.read_at(0, &mut [0; 4]).expect_err("damaged");
        assert!(error.to_string().contains("d/f"), "{error} does not name the file");
        file.read_at(0, &mut [0; 4]).expect_err("still damaged");
        file.read_at(0, &mut [0; 4]).expect("and then not");
        sim.disk(node).fail_write("f", Times::Once);
        file.write_at(0, b"abcdefghij").expect_err("write");
        let after = contents(&d, "f");
        let written = after.iter().take_while(|byte| byte.is_ascii_lowercase()).count();
        assert_eq!(after[written..], b"0123456789"[written..], "a failed write writes a front part");
    });
}

#[test]
fn what_stands_in_the_page_cache_is_read_where_the_medium_is_not() {
    seeds(10, |sim, node| async move {
        let d = disk(&sim, node);
        let file = d.open("f", OpenMode::Create).expect("create");
        d.sync_dir("").expect("sync");
        file.write_at(0, &[1; 8192]).expect("write");
        file.sync().expect("sync");
        let medium = sim.disk(node);
        medium.fail_read("f", Times::Always);
        let read = |at| file.read_at(at, &mut [0; 4]).is_ok();
        assert!(read(0) && read(4096), "all of it was just written");
        file.write_at(0, b"dirty").expect("write");
        medium.drop_cache("f");
        assert!(read(0), "what is not durable yet cannot leave the page cache");
        assert!(!read(4096) && !read(4094), "the second page is nowhere but on the medium");
        file.write_at(4096, b"again").expect("write");
        assert!(read(4096), "it stands in memory again");
        medium.spare_reads("f");
        medium.drop_cache("f");
        assert!(read(4096) && read(0), "the medium can be read again");
        file.sync().expect("sync");
        crash(&sim, node, Crash::LoseAll);
        medium.fail_read("f", Times::Always);
        let file = disk(&sim, node).open("f", OpenMode::Create).expect("open");
        file.read_at(0, &mut [0; 4]).expect_err("a machine without power has no page cache");
    });
}

#[test]
fn a_write_that_goes_astray_leaves_its_place_as_it_was_and_hits_another() {
    seeds(20, |sim, node| async move {
        let d = disk(&sim, node);
        let file = d.open("f", OpenMode::Create).expect("create");
        d.sync_dir("").expect("sync");
        file.write_at(0, &[1; 8 * 512]).expect("write");
        file.sync().expect("sync");
        sim.disk(node).misdirect("f", Times::Once);
        file.sync().expect("there is nothing to go astray");
        file.write_at(512, &[2; 512]).expect("write");
        file.sync().expect("a sync knows nothing of it");
        file.write_at(1024, &[3; 512]).expect("write");
        file.sync().expect("once is enough");
        crash(&sim, node, Crash::LoseAll);
        let after = contents(&disk(&sim, node), "f");
        assert_eq!(after.len(), 8 * 512);
        let sectors: Vec<u8> = after
            .chunks(512)
            .map(|sector| {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is hit as a whole");
                sector[0]
            })
            .collect();
        assert_eq!(sectors[1], 1, "what was to be overwritten is there still: {sectors:?}");
        let elsewhere = sectors.iter().filter(|byte| **byte == 2).count();
        // Unless it was the one that was written afterwards.
        assert!(elsewhere == 1 || sectors.iter().filter(|byte| **byte == 3).count() == 1, "{sectors:?}");
        assert_eq!(sectors[2], 3, "the next write went where it should");
    });
}

#[test]
fn power_that_is_to_stay_stays() {
    seeds(5, |sim, node| async move {
        let d = disk(&sim, node);
        let file = d.open("f", OpenMode::Create).expect("create");
        sim.disk(node).power_loss_after_ops(2);
        file.write_at(0, b"1").expect("there is power");
        sim.disk(node).keep_power();
        for _ in 0..5 {
            file.write_at(0, b"2").expect("there is power");
        }
    });
}

#[test]
fn bits_rot_within_their_range() {
    seeds(20, |sim, node| async move {
        let d = disk(&sim, node);
        let file = d.open("f", OpenMode::Create).expect("create");
        file.write_at(0, &[0; 10_000]).expect("write");
        file.sync().expect("sync");
        d.sync_dir("").expect("sync");
        assert_eq!(sim.disk(node).rot("f", 1000..2000, 1), ["d/f"]);
        for after in [contents(&d, "f"), {
            crash(&sim, node, Crash::Random);
            contents(&disk(&sim, node), "f")
        }] {
            let flipped: u32 = after.iter().map(|byte| byte.count_ones()).sum();
            let within: u32 = after[1000..2000].iter().map(|byte| byte.count_ones()).sum();
            assert_eq!((flipped, within), (1, 1));
        }
    });
}

#[test]
fn a_full_disk_says_so_and_has_room_again_after_a_removal() {
    seeds(5, |sim, node| async move {
        let d = disk(&sim, node);
        sim.disk(node).set_capacity(Some(10_000));
        let file = d.open("f", OpenMode::Create).expect("create");
        file.write_at(0, &[1; 8000]).expect("it fits");
        assert_eq!(file.write_at(8000, &[2; 4000]).expect_err("full").kind(), ErrorKind::StorageFull);
        assert_eq!(file.len().expect("len"), 10_000, "a part was written");
        file.write_at(0, &[3; 8000]).expect("overwriting needs no room");
        assert_eq!(file.allocate(20_000).expect_err("full").kind(), ErrorKind::StorageFull);
        // A name needs room or not, and has none for a byte in either case.
        let names_made = |prefix: &str| {
            let made = (0..40).filter(|at| match d.open(&format!("{prefix}{at}"), OpenMode::Create) {
                Ok(made) => {
                    assert_eq!(made.write_at(0, &[2]).expect_err("full").kind(), ErrorKind::StorageFull);
                    true
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::StorageFull);
                    false
                }
            });
            made.count()
        };
        assert!((5..=35).contains(&names_made("full")), "about every second name is made");
        d.remove("f").expect("remove");
        assert!(names_made("still open") < 40, "what is open takes its room");
        drop(file);
        let other = d.open("g", OpenMode::Create).expect("room");
        other.write_at(0, &[4; 9000]).expect("room");
    });
}

#[test]
fn work_takes_the_latency_of_its_kind_and_waits_for_a_stall() {
    seeds(10, |sim, node| async move {
        let slow = DiskLatency { sync: LatencyRange::micros(50_000, 60_000), ..DiskLatency::default() };
        sim.disk(node).set_latency(slow);
        let world = sim.world_of(node);
        let took = |kind| {
            let (sim, world) = (sim.clone(), world.clone());
            async move {
                let start = sim.now();
                world.work(kind, || ()).await;
                sim.now() - start
            }
        };
        let (read, sync) = (took(DiskWork::Read).await, took(DiskWork::Sync).await);
        assert!(read < Duration::from_millis(1), "{read:?}");
        assert!(sync >= Duration::from_millis(50) && sync < Duration::from_millis(61), "{sync:?}");
        sim.disk(node).stall(3 * SECOND);
        let stalled = took(DiskWork::Read).await;
        assert!(stalled >= 3 * SECOND && stalled < 4 * SECOND, "{stalled:?}");
        sim.disk(node).stall(Duration::from_secs(1000));
        let healer = sim.clone();
        sim.world().spawn(async move {
            healer.sleep(2 * SECOND).await;
            healer.disk(node).unstall();
        });
        let until_unstalled = took(DiskWork::Write).await;
        assert!(until_unstalled < 3 * SECOND, "{until_unstalled:?}");
    });
}

#[test]
fn a_crash_during_the_latency_leaves_the_work_undone() {
    seeds(5, |sim, node| async move {
        let done = Arc::new(Mutex::new(false));
        let world = sim.world_of(node);
        sim.disk(node).stall(SECOND);
        let doing = done.clone();
        world.clone().spawn(async move {
            world.work(DiskWork::Sync, move || *doing.lock().expect("lock") = true).await
        });
        sim.sleep(SECOND / 2).await;
        sim.kill(node);
        sim.sleep(2 * SECOND).await;
        assert!(!*done.lock().expect("lock"), "a dead process worked");
    });
}

/// Writes records of 100 bytes, each durable before it counts as acknowledged.
async fn logger(world: SimWorld, acknowledged: Arc<Mutex<u64>>) {
    let d = world.disk("d").expect("disk");
    let file = d.open("log", OpenMode::Create).expect("create");
    d.sync_dir("").expect("sync");
    let file = Arc::new(file);
    for record in 0.. {
        let file = file.clone();
        let write = move || {
            // An assertion in the very moment of the power loss is nothing that anybody could see.
            file.write_at(record * 100, &[(record % 200) as u8 + 1; 100]).expect("write");
            file.sync().expect("sync");
        };
        world.work(DiskWork::Sync, write).await;
        *acknowledged.lock().expect("lock") = record + 1;
    }
}

#[test]
fn the_power_goes_in_the_middle_of_a_commit_and_no_acknowledged_record_is_lost() {
    for seed in 0..40u64 {
        let outcome = run_seed(seed, Options::default(), move |sim: Sim| async move {
            let acknowledged = Arc::new(Mutex::new(0));
            let node = {
                let acknowledged = acknowledged.clone();
                sim.node("node").init(move |world| logger(world, acknowledged.clone())).build()
            };
            // Three operations make the file, then two for each record: an odd rest stops between write and sync.
            sim.disk(node).power_loss_after_ops(3 + 2 * (seed % 20) + seed % 2);
            sim.down(node).await;
            let acknowledged = *acknowledged.lock().expect("lock");
            assert_eq!(acknowledged, seed % 20, "the power went at another moment");
            let bytes = sim.disk(node).peek("d/log").expect("the log");
            for record in 0..acknowledged {
                let at = record as usize * 100;
                assert_eq!(
                    bytes[at..at + 100],
                    [(record % 200) as u8 + 1; 100],
                    "record {record} of {acknowledged}"
                );
            }
            sim.restart(node);
            sim.sleep(SECOND).await;
            assert!(sim.is_up(node), "the machine came back without its fault");
        });
        if let Err(failure) = outcome.result {
            panic!("seed {seed}: {failure}");
        }
    }
}

#[test]
fn the_power_goes_after_exactly_so_many_operations() {
    seeds(10, |sim, node| async move {
        let d = disk(&sim, node);
        let file = d.open("f", OpenMode::Create).expect("create");
        d.sync_dir("").expect("sync");
        sim.disk(node).power_loss_after_ops(2);
        file.write_at(0, b"first").expect("one");
        file.sync().expect("two");
        file.write_at(0, b"other").expect_err("the third finds no power");
        file.read_at(0, &mut [0; 5]).expect_err("nor does anything else");
        assert_eq!(sim.disk(node).peek("d/f").as_deref(), Some(&b"first"[..]), "an operation without power");
        sim.down(node).await;
        assert_eq!(sim.disk(node).peek("d/f").as_deref(), Some(&b"first"[..]));
    });
}

#[test]
fn files_never_synced_are_written_back_at_last() {
    seeds(1, |sim, node| async move {
        let d = disk(&sim, node);
        let file = d.open("big", OpenMode::Create).expect("create");
        d.sync_dir("").expect("sync");
        let chunk = vec![9; 1 << 20];
        for index in 0..80u64 {
            file.write_at(index << 20, &chunk).expect("write");
        }
        crash(&sim, node, Crash::LoseAll);
        let len = disk(&sim, node).open("big", OpenMode::Existing).expect("open").len().expect("len");
        assert!(len >= 32 << 20, "only {len} bytes were written back");
    });
}
