//! What keeps real clusters in order: defragmentation, hashes, corruption checks, a cluster of one after a disaster.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]
#![allow(clippy::disallowed_types, reason = "tests of processes talk to the machine itself")]

mod support;

use seatrial_store::{
    Backend, Command as Change, Commit, HubOptions, MemBackend, RedbBackend, Store, Table, View,
};
use seatrial_types::request::PutRequest;
use seatrial_types::{LogIndex, Term};
use seatrial_world::World;
use seatrial_world_real::RealWorld;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use support::{Cluster, OURS, SEATRIAL, clients, etcdctl, eventually, expect_success};

/// A child that is killed where the test ends before.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

fn etcdutl(args: &[&str]) -> Output {
    Command::new(SEATRIAL).arg("etcdutl").args(args).output().unwrap()
}

/// Bytes the store's files of a member take on the disk.
fn taken(data: &Path) -> u64 {
    let files = fs::read_dir(data.join("db")).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
    files.map(|file| file.blocks() * 512).sum()
}

fn store_file(data: &Path) -> PathBuf {
    let files = fs::read_dir(data.join("db")).unwrap().map(|entry| entry.unwrap().path());
    files.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "redb")).unwrap()
}

fn revision(cluster: &Cluster, client: &[&str]) -> String {
    let output = cluster.etcdctl_at(1, client, &["get", "k", "-w", "json"]).output().unwrap();
    let answer: serde_json::Value = serde_json::from_str(&expect_success("get", &output)).unwrap();
    answer["header"]["revision"].as_i64().unwrap().to_string()
}

#[test]
fn a_full_store_takes_writes_again_after_compact_defrag_and_disarm() {
    for client in clients() {
        let cluster = Cluster::start(3, &["--quota-backend-bytes", "3000000"]);
        let run = |args: &[&str]| cluster.etcdctl(client, args).output().unwrap();
        let value = "v".repeat(100_000);
        let full = (0..100).find_map(|_| {
            let output = run(&["put", "k", &value]);
            (!output.status.success()).then(|| text(&output))
        });
        let full = full.expect("ten megabytes fit into three");
        assert!(full.contains("etcdserver: mvcc: database space exceeded"), "{full}");
        eventually("the alarm is on", || text(&run(&["alarm", "list"])).contains("alarm:NOSPACE"));
        // Members write their files twice a second, and file systems give blocks out when they write.
        let full_on_disk = || (1..=3).all(|member| taken(&cluster.data(member)) > 2_000_000);
        eventually("every member's file is full on the disk, too", full_on_disk);
        let before: Vec<u64> = (1..=3).map(|member| taken(&cluster.data(member))).collect();
        expect_success("compact", &run(&["compact", &revision(&cluster, client)]));
        let refused = run(&["put", "k", "small"]);
        assert!(text(&refused).contains("database space exceeded"), "{}", text(&refused));
        let said = expect_success("defrag", &run(&["defrag"]));
        let lines: Vec<String> = (1..=3)
            .map(|member| format!("Finished defragmenting etcd member[{}]", cluster.endpoint(member)))
            .collect();
        assert_eq!(said.lines().collect::<Vec<_>>(), lines);
        for (member, before) in (1..=3).zip(before) {
            let after = taken(&cluster.data(member));
            assert!(after < before / 3, "member {member} took {before} bytes and takes {after}");
            let status =
                cluster.etcdctl_at(member, OURS, &["endpoint", "status", "-w", "json"]).output().unwrap();
            let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
            let size = status[0]["Status"]["dbSize"].as_u64().unwrap();
            assert!(size < 1_000_000 && size > 100_000, "{size} bytes after defragmentation");
            assert!(status[0]["Status"]["dbSizeInUse"].as_u64().unwrap() <= size);
        }
        expect_success("disarm", &run(&["alarm", "disarm"]));
        eventually("writes are taken", || run(&["put", "k", &value]).status.success());
        let got = expect_success("get", &run(&["get", "k", "--print-value-only"]));
        assert_eq!(got.trim_end(), value);
        // Who cannot be reached is named, the others are done all the same.
        let some = format!("{},127.0.0.1:1", cluster.endpoint(1));
        let output = etcdctl(client, &some, &["defrag", "--command-timeout=1s"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output).contains("Finished defragmenting etcd member"), "{}", text(&output));
        assert!(text(&output).contains("Failed to defragment etcd member[127.0.0.1:1]"), "{}", text(&output));
    }
}

#[test]
fn a_stopped_member_is_defragmented_and_hashed_from_its_folder() {
    let cluster = Cluster::start(3, &[]);
    for i in 0..40 {
        expect_success("put", &cluster.ours(&["put", "k", &format!("{i}").repeat(20_000)]));
    }
    let at = revision(&cluster, OURS);
    cluster.ctl(&["compaction", "--physical", &at]);
    cluster.ctl(&["defrag", "--cluster"]);
    let hashes = cluster.ctl(&["endpoint", "hashkv", "--rev", &at]);
    let running: Vec<&str> = hashes.lines().map(|line| line.split_once(", ").unwrap().1).collect();
    assert!(running.iter().all(|hash| *hash == running[0]) && running.len() == 3, "{hashes}");
    let data = cluster.data(1);
    let folder = data.to_str().unwrap();
    let busy = etcdutl(&["defrag", "--data-dir", folder]);
    assert!(!busy.status.success() && text(&busy).contains("hint: stop the member"), "{}", text(&busy));
    cluster.down();
    for member in 1..=3 {
        let folder = cluster.data(member);
        let said = expect_success("hashkv", &etcdutl(&["hashkv", folder.to_str().unwrap(), "--rev", &at]));
        assert_eq!(said, format!("{}, {at}, {at}\n", running[0]));
    }
    let json =
        expect_success("hashkv", &etcdutl(&["hashkv", "--data-dir", folder, "--rev", &at, "-w", "json"]));
    assert_eq!(json, format!("{{\"hash\":{},\"hashRevision\":{at},\"compactRevision\":{at}}}\n", running[0]));
    let far = etcdutl(&["hashkv", folder, "--rev", "1000000"]);
    assert!(text(&far).contains("required revision is a future revision"), "{}", text(&far));
    expect_success("defrag", &etcdutl(&["defrag", "--data-dir", folder]));
    expect_success("defrag", &cluster.etcdctl(OURS, &["defrag", "--data-dir", folder]).output().unwrap());
    let nowhere = etcdutl(&["defrag", "--data-dir", "/nowhere/at/all"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(text(&nowhere).contains("hint: name the folder"), "{}", text(&nowhere));
    cluster.up();
    assert_eq!(cluster.ctl(&["get", "k", "--print-value-only"]), format!("{}\n", "39".repeat(20_000)));
}

#[test]
fn no_version_can_be_gone_back_to() {
    let cluster = Cluster::start(1, &[]);
    for (args, why) in [
        (&["downgrade", "validate", "3.4.0"][..], "etcdserver: invalid downgrade target version"),
        (&["downgrade", "enable", "3.4"], "etcdserver: invalid downgrade target version"),
        (&["downgrade", "enable", "three"], "etcdserver: wrong downgrade target version format"),
        (&["downgrade", "cancel"], "etcdserver: no inflight downgrade job"),
        (&["downgrade", "validate"], "TARGET_VERSION not provided"),
    ] {
        let output = cluster.ours(args);
        assert!(!output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stderr), format!("Error: {why}\n"), "{args:?}");
    }
}

/// Writes another value over the version of a key in one member's file, with a checksum that fits: what no checksum can
/// see, and only a comparison with other members tells.
fn damage(data: &Path, key: &'static str, at: i64) {
    let put = PutRequest { key: key.into(), value: "damaged".into(), ..PutRequest::default() };
    let mut scratch = Store::open(MemBackend::new(), HubOptions::default()).unwrap();
    while scratch.revision().0 < at {
        let index = LogIndex(scratch.applied().0 + 1);
        scratch.apply(index, Term(1), &Change::Put(put.clone()), Duration::ZERO).unwrap();
    }
    let row = [&at.to_be_bytes()[..], &[0; 4]].concat();
    let value = scratch.backend().get(Table::Kv, &row).unwrap().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let disk = RealWorld::on(runtime.handle().clone()).disk(data.to_str().unwrap()).unwrap();
    let (mut backend, mut committer) =
        RedbBackend::open(disk, seatrial_node::RedbOptions::default()).unwrap();
    assert!(backend.get(Table::Kv, &row).unwrap().is_some(), "revision {at} is not in the file yet");
    backend.put(Table::Kv, row.into(), value);
    committer.commit(&backend.seal().unwrap()).unwrap();
}

#[test]
fn a_damaged_value_is_found_at_the_start_and_while_running_and_its_member_is_named() {
    let cluster = Cluster::start(3, &["--experimental-corrupt-check-time=1s"]);
    for _ in 0..5 {
        cluster.ctl(&["put", "k", "whole"]);
    }
    let at: i64 = revision(&cluster, OURS).parse().unwrap();
    let status = cluster.etcdctl_at(2, OURS, &["endpoint", "status", "-w", "json"]).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let id = status[0]["Status"]["header"]["member_id"].as_u64().unwrap();
    // Several rounds of comparison raise no alarm, and the store's file is written twice a second.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(cluster.ctl(&["alarm", "list"]), "");
    cluster.kill_9(2);
    damage(&cluster.data(2), "k", at);

    let mut refused = Running(cluster.restart_with(2, &["--experimental-initial-corrupt-check"]));
    let mut ended = None;
    eventually("a damaged member does not start", || {
        ended = refused.0.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(1));
    let log = cluster.log(2);
    assert!(log.contains(&format!("{id:x} found data inconsistency with peers")), "{log}");

    let running = Running(cluster.restart(2));
    let named = format!("memberID:{id} alarm:CORRUPT ");
    eventually("the alarm is on", || cluster.ctl(&["alarm", "list"]).lines().any(|line| line == named));
    assert_eq!(cluster.ctl(&["alarm", "list"]), format!("{named}\n"), "nobody else is named");
    for client in clients() {
        let output = cluster.etcdctl_at(1, client, &["put", "k", "v"]).output().unwrap();
        assert!(!output.status.success());
        assert!(text(&output).contains("etcdserver: corrupt cluster"), "{}", text(&output));
        let got = cluster.etcdctl_at(1, client, &["get", "k"]).output().unwrap();
        assert_eq!(expect_success("get", &got), "k\nwhole\n");
    }
    // A whole member starts with the check, too, once nobody tells it otherwise.
    drop(running);
    cluster.kill_9(3);
    let _third = Running(cluster.restart_with(3, &["--feature-gates=InitialCorruptCheck=true"]));
    eventually("member 3 serves", || {
        cluster.etcdctl_at(3, OURS, &["get", "k", "--consistency=s"]).output().unwrap().status.success()
    });
}

#[test]
fn rot_in_the_stores_file_is_named_with_the_file_and_not_served() {
    let cluster = Cluster::start(1, &[]);
    for i in 0..20 {
        cluster.ctl(&["put", &format!("k{i}"), &format!("value {i} ").repeat(50)]);
    }
    cluster.ctl(&["defrag"]);
    cluster.kill_9(1);
    let file = store_file(&cluster.data(1));
    let mut bytes = fs::read(&file).unwrap();
    let needle = b"value 7 value 7";
    let places: Vec<usize> =
        (0..bytes.len() - needle.len()).filter(|at| bytes[*at..].starts_with(needle)).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at + 8] ^= 1;
    }
    fs::write(&file, bytes).unwrap();
    let mut started = Running(cluster.restart(1));
    let mut ended = None;
    eventually("a rotten member does not start", || {
        ended = started.0.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(1));
    let (log, name) = (cluster.log(1), file.file_name().unwrap().to_str().unwrap());
    // By the row's own checksum, or by those of the database where it looks through all of the file.
    let named = format!("db/{name}: the key-value row of revision");
    let row = log.contains(&named) && log.contains("does not match its checksum");
    let page = log.contains(&format!("opening db/{name}: ")) && log.contains("corrupted");
    assert!((row || page) && log.contains("hint:"), "{log}");
}

#[test]
fn after_two_of_three_are_destroyed_the_third_goes_on_alone_and_grows_again() {
    let cluster = Cluster::start(3, &[]);
    for i in 0..10 {
        cluster.ctl(&["put", &format!("k{i}"), &format!("v{i}")]);
    }
    for member in 1..=3 {
        cluster.kill_9(member);
    }
    for member in [1, 3] {
        fs::remove_dir_all(cluster.data(member)).unwrap();
    }
    // Nobody is forced where there is nothing.
    let empty = cluster.restart_with(1, &["--force-new-cluster"]).wait_with_output().unwrap();
    assert_eq!(empty.status.code(), Some(2));
    assert!(cluster.log(1).contains("there is no member's data in"), "{}", cluster.log(1));

    let mut alone = Running(cluster.restart_with(2, &["--force-new-cluster"]));
    let at = |args: &[&str]| cluster.etcdctl_at(2, OURS, args).output().unwrap();
    eventually("member 2 serves alone", || at(&["put", "alone", "yes"]).status.success());
    let log = cluster.log(2);
    assert!(log.contains("this member goes on alone") && log.contains("is lost"), "{log}");
    for i in 0..10 {
        assert_eq!(expect_success("get", &at(&["get", &format!("k{i}")])), format!("k{i}\nv{i}\n"));
    }
    assert_eq!(expect_success("list", &at(&["member", "list"])).lines().count(), 1);
    alone.0.kill().unwrap();
    alone.0.wait().unwrap();
    let _alone = Running(cluster.restart(2));
    eventually("it comes back without the flag", || at(&["put", "alone", "still"]).status.success());

    // A new member, where the first once was.
    let (client, peer) = (cluster.port, cluster.port + 1);
    let peer = format!("http://127.0.0.1:{peer}");
    let added = expect_success("add", &at(&["member", "add", "new", &format!("--peer-urls={peer}")]));
    assert!(added.contains("ETCD_INITIAL_CLUSTER_STATE=\"existing\""), "{added}");
    let others = format!("new={peer},m2=http://127.0.0.1:{}", cluster.port + 101);
    let client = format!("http://127.0.0.1:{client}");
    let joined = Command::new(SEATRIAL)
        .args([
            "server",
            "--name",
            "new",
            "--initial-cluster-state",
            "existing",
            "--initial-cluster",
            &others,
        ])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer, "--data-dir"])
        .arg(cluster.dir.path().join("new"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _joined = Running(joined);
    eventually("the new member serves what the lost ones wrote", || {
        let got = cluster.etcdctl_at(1, OURS, &["get", "k9"]).output().unwrap();
        String::from_utf8_lossy(&got.stdout) == "k9\nv9\n"
    });
    assert_eq!(expect_success("list", &at(&["member", "list"])).matches("started").count(), 2);
}
