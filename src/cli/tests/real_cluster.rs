//! A real cluster of processes on loopback, driven by etcd's own client where it is installed (Debian package
//! `etcd-client`) and always by ours.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]
#![allow(clippy::disallowed_types, reason = "tests of processes talk to the machine itself")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use support::{Cluster, SEATRIAL, clients, etcdctl, eventually, expect_success};

#[test]
fn the_commands_of_a_first_hour_work_with_etcds_client_and_with_ours() {
    for client in clients() {
        let cluster = Cluster::start(3, &[]);
        let command = |args: &[&str]| cluster.etcdctl(client, args);
        let run = |args: &[&str]| expect_success(&args.join(" "), &command(args).output().unwrap());

        assert_eq!(run(&["put", "greeting", "hello"]), "OK\n");
        assert_eq!(run(&["get", "greeting"]), "greeting\nhello\n");
        for i in 1..=3 {
            run(&["put", &format!("dir/{i}"), &format!("value {i}")]);
        }
        assert_eq!(run(&["get", "--prefix", "dir/", "--keys-only"]), "dir/1\n\ndir/2\n\ndir/3\n\n");
        assert_eq!(run(&["put", "greeting", "goodbye"]), "OK\n");
        assert_eq!(run(&["get", "greeting", "--rev=2"]), "greeting\nhello\n");
        assert_eq!(run(&["get", "greeting", "--print-value-only"]), "goodbye\n");
        assert_eq!(run(&["get", "missing"]), "");
        assert_eq!(run(&["del", "dir/", "--prefix"]), "3\n");

        // A transaction, in the interactive client's format.
        let mut child = command(&["txn"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(
            child.stdin.as_mut().unwrap(),
            b"value(\"greeting\") = \"goodbye\"\n\nput greeting again\n\nget greeting\n\n",
        )
        .unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(expect_success("txn", &output), "SUCCESS\n\nOK\n");

        // A watch from an old revision sees the past and the present, in order.
        let mut watch = command(&["watch", "greeting", "--rev=2"]).stdout(Stdio::piped()).spawn().unwrap();
        let (lines, seen) = mpsc::channel();
        let stdout = watch.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        let expect = |value: &str| {
            for want in ["PUT", "greeting", value] {
                assert_eq!(seen.recv_timeout(Duration::from_secs(10)).expect("an event"), want);
            }
        };
        expect("hello");
        expect("goodbye");
        expect("again");
        run(&["put", "greeting", "live"]);
        expect("live");
        watch.kill().unwrap();
        watch.wait().unwrap();

        // Compaction, and what it forbids.
        let revision = 6;
        assert_eq!(run(&["compaction", &revision.to_string()]), format!("compacted revision {revision}\n"));
        let output = command(&["get", "greeting", "--rev=2"]).output().unwrap();
        assert!(!output.status.success());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("mvcc: required revision has been compacted"), "{text}");

        // A lease runs out and takes its key with it; kept alive it does not.
        let granted = run(&["lease", "grant", "2"]);
        let lease = granted.split_whitespace().nth(1).unwrap().to_owned();
        assert_eq!(granted, format!("lease {lease} granted with TTL(2s)\n"));
        run(&["put", "leased", "x", "--lease", &lease]);
        assert_eq!(run(&["get", "leased"]), "leased\nx\n");
        let once = run(&["lease", "keep-alive", "--once", &lease]);
        assert_eq!(once, format!("lease {lease} keepalived with TTL(2)\n"));
        let begun = Instant::now();
        while !run(&["get", "leased"]).is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(20), "the lease never ran out");
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(
            begun.elapsed() > Duration::from_millis(1500),
            "the lease ran out after {:?}",
            begun.elapsed()
        );
        let revoked = run(&["lease", "grant", "600"]);
        let lease = revoked.split_whitespace().nth(1).unwrap().to_owned();
        assert_eq!(run(&["lease", "revoke", &lease]), format!("lease {lease} revoked\n"));

        assert_eq!(run(&["member", "list"]).lines().count(), 3);
        assert_eq!(run(&["endpoint", "status"]).lines().count(), 3);
        // etcdctl reports health on stderr or stdout, by version.
        let health = command(&["endpoint", "health"]).output().unwrap();
        expect_success("endpoint health", &health);
        let said = [health.stdout, health.stderr].concat();
        assert_eq!(String::from_utf8_lossy(&said).matches("is healthy").count(), 3);
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_leader_is_killed_and_when_all_are() {
    let cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let others: Vec<String> =
        (1..=3).filter(|member| *member != leader).map(|member| cluster.endpoint(member)).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..16)
        .map(|writer| {
            let (stop, endpoint) = (stop.clone(), others[writer % others.len()].clone());
            std::thread::spawn(move || {
                let mut acknowledged = Vec::new();
                for i in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("w{writer}/{i}");
                    let output = Command::new(SEATRIAL)
                        .args(["etcdctl", "--endpoints", &endpoint, "put", &key, "x"])
                        .output()
                        .unwrap();
                    if output.status.success() {
                        acknowledged.push((key, Instant::now()));
                    }
                }
                acknowledged
            })
        })
        .collect();
    std::thread::sleep(Duration::from_secs(1));
    let killed = Instant::now();
    cluster.kill_9(leader);
    std::thread::sleep(Duration::from_secs(4));
    stop.store(true, Ordering::Relaxed);
    let acknowledged: Vec<(String, Instant)> =
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
    let resumed = acknowledged
        .iter()
        .filter(|(_, at)| *at > killed + Duration::from_millis(5))
        .map(|(_, at)| at.duration_since(killed))
        .min()
        .expect("writes never resumed");
    eprintln!("{} writes acknowledged; the first after the kill came after {resumed:?}", acknowledged.len());
    assert!(acknowledged.iter().any(|(_, at)| *at < killed), "no write before the kill");

    let keys = |text: String| -> std::collections::BTreeSet<String> {
        text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    let found = keys(
        String::from_utf8(
            Command::new(SEATRIAL)
                .args(["etcdctl", "--endpoints", &others[0], "get", "--prefix", "w", "--keys-only"])
                .output()
                .unwrap()
                .stdout,
        )
        .unwrap(),
    );
    for (key, _) in &acknowledged {
        assert!(found.contains(key), "{key} was acknowledged and is gone");
    }

    for member in (1..=3).filter(|member| *member != leader) {
        cluster.kill_9(member);
    }
    cluster.up();
    let found = keys(cluster.ctl(&["get", "--prefix", "w", "--keys-only"]));
    for (key, _) in &acknowledged {
        assert!(found.contains(key), "{key} was acknowledged and is gone after the restart of all");
    }
    cluster.down();
}

/// The newest segment of a member's log.
fn last_segment(data: &Path) -> PathBuf {
    let mut segments: Vec<PathBuf> = fs::read_dir(data.join("wal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wal"))
        .collect();
    segments.sort();
    segments.pop().unwrap()
}

/// Where the written part of a preallocated segment ends.
fn written(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

#[test]
fn a_torn_tail_is_cut_and_damage_in_the_middle_is_named_and_healed_by_the_peers() {
    let cluster = Cluster::start(3, &["--wal-segment-bytes", "1048576"]);
    let leader = cluster.leader();
    let follower = if leader == 1 { 2 } else { 1 };
    for i in 0..50 {
        cluster.ctl(&["put", &format!("k{i}"), "value"]);
    }
    // Damage in the middle: what is behind it was acknowledged. The store's own file must not know it either,
    // so take it away: the log alone has to bring everything back.
    cluster.kill_9(follower);
    let segment = last_segment(&cluster.data(follower));
    let mut bytes = fs::read(&segment).unwrap();
    let end = written(&bytes);
    bytes[end / 2] ^= 0xff;
    fs::write(&segment, &bytes).unwrap();
    fs::remove_dir_all(cluster.data(follower).join("db")).unwrap();
    let mut child = cluster.restart(follower);
    let endpoint = cluster.endpoint(follower);
    let begun = Instant::now();
    loop {
        let output = Command::new(SEATRIAL)
            .args([
                "etcdctl",
                "--endpoints",
                &endpoint,
                "get",
                "k49",
                "--consistency",
                "s",
                "--print-value-only",
            ])
            .output()
            .unwrap();
        if output.stdout == b"value\n" {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "the member does not recover: {output:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let log = cluster.log(follower);
    assert!(log.contains("are lost"), "the damage is not named:\n{log}");
    assert!(log.contains("will not vote until its peers have sent it"), "nobody says what happens:\n{log}");

    // A torn tail: half a record behind the last one.
    child.kill().unwrap();
    child.wait().unwrap();
    let segment = last_segment(&cluster.data(follower));
    let mut bytes = fs::read(&segment).unwrap();
    let end = written(&bytes).next_multiple_of(8);
    bytes[end..end + 24].copy_from_slice(&[0x5a; 24]);
    fs::write(&segment, &bytes).unwrap();
    let before = cluster.log(follower).len();
    let mut child = cluster.restart(follower);
    let begun = Instant::now();
    loop {
        let output = Command::new(SEATRIAL)
            .args(["etcdctl", "--endpoints", &endpoint, "get", "k49", "--print-value-only"])
            .output()
            .unwrap();
        if output.stdout == b"value\n" {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "the member does not start: {output:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let log = cluster.log(follower)[before..].to_owned();
    assert!(log.contains("torn tail"), "the cut is not reported:\n{log}");
    assert!(!log.contains("are lost"), "a torn tail is taken for damage:\n{log}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn wrong_flags_are_named_with_a_hint() {
    let run = |args: &[&str]| {
        let output = Command::new(SEATRIAL).args(args).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = run(&["server", "--name", "a", "--initial-cluster", "b=http://127.0.0.1:1"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("\"a\" is not in the initial cluster (b)") && text.contains("hint:"), "{text}");
    let (code, text) = run(&["server", "--initial-cluster", "nonsense"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("\"nonsense\" is not of the form name=url"), "{text}");
    let (code, text) = run(&["server", "--listen-client-urls", "http://nowhere"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--listen-client-urls") && text.contains("http://host:port"), "{text}");
    let (code, text) = run(&["server", "--election-timeout", "100"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("five times --heartbeat-interval"), "{text}");
    let (code, text) = run(&["up", "--members", "2"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("hint: 1, 3, 5 or 7"), "{text}");
    let (code, text) = run(&["down", "--dir", "/nonexistent"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("hint: `seatrial up"), "{text}");
}

/// One more server process, ended when it goes out of scope.
struct Joined(std::process::Child);

impl Drop for Joined {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_member_joins_a_running_cluster_and_another_leaves_it() {
    let cluster = Cluster::start(3, &["--snapshot-count", "50", "--snapshot-catchup-entries", "10"]);
    for i in 0..80 {
        cluster.ctl(&["put", &format!("key-{i:03}"), "before"]);
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let second = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = format!("http://127.0.0.1:{}", second.local_addr().unwrap().port());
    drop((listener, second));

    let added = cluster.ctl(&["member", "add", "m4", "--peer-urls", &peer]);
    assert!(added.starts_with("Member ") && added.contains(" added to cluster "), "{added}");
    let id = added.split_whitespace().nth(1).unwrap().to_owned();
    let told = |name: &str| {
        let line =
            added.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {added}"));
        line.split_once('=').unwrap().1.trim_matches('"').to_owned()
    };
    assert_eq!(told("ETCD_NAME"), "m4");
    assert_eq!(told("ETCD_INITIAL_CLUSTER_STATE"), "existing");
    // Nobody runs there yet, and no majority is lost by that.
    cluster.ctl(&["put", "meanwhile", "yes"]);
    let again = cluster.ours(&["member", "add", "m5", "--peer-urls", "http://127.0.0.1:1"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("etcdserver: unhealthy cluster"), "{again:?}");

    let data = cluster.dir.path().join("m4");
    let start = |cluster_flag: &str| {
        let log = fs::OpenOptions::new().create(true).append(true).open(cluster.dir.path().join("m4.log"));
        Joined(
            Command::new(SEATRIAL)
                .args(["server", "--name", "m4", "--initial-cluster", cluster_flag])
                .args(["--initial-cluster-state", "existing", "--initial-advertise-peer-urls", &peer])
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer, "--data-dir"])
                .arg(&data)
                .stdout(Stdio::null())
                .stderr(log.unwrap())
                .spawn()
                .unwrap(),
        )
    };
    let mut fourth = start(&told("ETCD_INITIAL_CLUSTER"));
    let at_fourth = |args: &[&str]| {
        let endpoint = client.trim_start_matches("http://");
        Command::new(SEATRIAL).args(["etcdctl", "--endpoints", endpoint]).args(args).output().unwrap()
    };
    eventually("the new member serves what was written before it came", || {
        let get = at_fourth(&["get", "meanwhile", "--print-value-only"]);
        String::from_utf8_lossy(&get.stdout) == "yes\n"
    });
    eventually("the new member is in the list with its name", || {
        cluster.ctl(&["member", "list"]).contains(&format!("{id}, started, m4, {peer}, {client}, false"))
    });

    // It comes back from its own disk, whatever the flags say now.
    drop(fourth);
    fourth = start("m4=http://127.0.0.1:1");
    eventually("the member came back", || at_fourth(&["get", "meanwhile"]).status.success());

    // The leader goes, asked through itself or another; the rest goes on.
    let leader = cluster.leader();
    let list = cluster.ctl(&["member", "list"]);
    let row = list.lines().find(|line| line.contains(&format!(", m{leader}, "))).unwrap();
    let leader_id = row.split(',').next().unwrap().to_owned();
    let removed = cluster.ctl(&["member", "remove", &leader_id]);
    // As etcd: a number of fewer digits has a space before it.
    assert!(removed.starts_with(&format!("Member {leader_id:>16} removed from cluster ")), "{removed}");
    eventually("the removed member ends by itself", || {
        cluster.log(leader).contains("removed from the cluster")
    });
    eventually("the others go on", || at_fourth(&["put", "after", "yes"]).status.success());
    assert!(!String::from_utf8_lossy(&at_fourth(&["member", "list"]).stdout).contains(&leader_id));
    let unknown = at_fourth(&["member", "remove", &leader_id]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("etcdserver: member not found"), "{unknown:?}");
    // Started again, it is told so, and ends.
    let mut back = cluster.restart(leader);
    eventually("it ends again", || back.try_wait().unwrap().is_some());
    assert!(fourth.0.try_wait().unwrap().is_none(), "the fourth member still runs");
}

#[test]
fn a_full_store_refuses_writes_until_the_alarm_is_cleared() {
    // Smaller than the store's file is to begin with: the first write finds it full.
    let cluster = Cluster::start(3, &["--quota-backend-bytes", "4096"]);
    let put = |key: &str| cluster.ours(&["put", key, "v"]);
    eventually("a write is refused for lack of space", || {
        String::from_utf8_lossy(&put("k").stderr).contains("etcdserver: mvcc: database space exceeded")
    });
    eventually("the alarm is raised", || cluster.ctl(&["alarm", "list"]).contains("alarm:NOSPACE"));
    let status = cluster.ctl(&["endpoint", "status", "-w", "json"]);
    assert!(status.contains("NOSPACE"), "{status}");
    // What frees space, and what only reads, still works.
    cluster.ctl(&["get", "k"]);
    cluster.ctl(&["del", "k"]);
    let cleared = cluster.ctl(&["alarm", "disarm"]);
    assert!(cleared.contains("alarm:NOSPACE"), "{cleared}");
    assert_eq!(cluster.ctl(&["alarm", "list"]), "");
}

#[test]
fn a_snapshot_is_saved_checked_and_restored_into_a_new_cluster() {
    let cluster = Cluster::start(3, &[]);
    for i in 0..20 {
        cluster.ctl(&["put", &format!("key-{i:02}"), &"x".repeat(50_000)]);
    }
    cluster.ctl(&["put", "last", "word"]);
    let revision = 22;
    let first = cluster.endpoint(1);
    let many = cluster.ours(&["snapshot", "save", "x.db"]);
    assert_eq!(many.status.code(), Some(5), "{many:?}");
    let mut saved = Vec::new();
    for client in clients() {
        let file = cluster.dir.path().join(format!("saved-{}.db", saved.len()));
        let output = etcdctl(client, &first, &["snapshot", "save", file.to_str().unwrap()]).output().unwrap();
        let said = expect_success("snapshot save", &output);
        assert_eq!(said, format!("Snapshot saved at {}\n", file.display()), "{client:?}");
        let status =
            Command::new(SEATRIAL).args(["etcdutl", "snapshot", "status"]).arg(&file).output().unwrap();
        let status = expect_success("snapshot status", &status);
        // The keys, and what the store keeps of itself.
        assert!(status.contains(&format!(", {revision}, 23, 1.1 MB")), "{client:?}: {status}");
        saved.push(file);
    }
    cluster.ctl(&["put", "last", "word after the snapshot"]);

    // A damaged file is refused before anything is made of it.
    let data = cluster.dir.path().join("restored");
    let restore = |file: &Path| {
        Command::new(SEATRIAL)
            .args(["etcdutl", "snapshot", "restore", "--name", "new", "--data-dir"])
            .arg(&data)
            .args(["--initial-cluster", "new=http://127.0.0.1:1", "--initial-advertise-peer-urls"])
            .arg("http://127.0.0.1:1")
            .arg(file)
            .output()
            .unwrap()
    };
    let mut bytes = fs::read(&saved[0]).unwrap();
    bytes[500_000] ^= 1;
    let damaged = cluster.dir.path().join("damaged.db");
    fs::write(&damaged, &bytes).unwrap();
    let refused = restore(&damaged);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("its SHA-256 is wrong"), "{refused:?}");
    fs::write(&damaged, &bytes[..400_000]).unwrap();
    assert!(String::from_utf8_lossy(&restore(&damaged).stderr).contains("snapshot missing hash"));
    assert!(!data.exists());

    expect_success("snapshot restore", &restore(saved.last().unwrap()));
    let again = restore(&saved[0]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists"), "{again:?}");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let client = format!("http://127.0.0.1:{port}");
    let log = fs::File::create(cluster.dir.path().join("restored.log")).unwrap();
    let _restored = Joined(
        Command::new(SEATRIAL)
            .args(["server", "--name", "new", "--listen-peer-urls", "http://127.0.0.1:0"])
            .args(["--initial-cluster", "new=http://127.0.0.1:1"])
            .args(["--initial-advertise-peer-urls", "http://127.0.0.1:1"])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client, "--data-dir"])
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap(),
    );
    let endpoint = format!("127.0.0.1:{port}");
    let ctl = |args: &[&str]| {
        Command::new(SEATRIAL).args(["etcdctl", "--endpoints", &endpoint]).args(args).output().unwrap()
    };
    eventually("the restored member serves", || {
        ctl(&["get", "last", "--print-value-only"]).stdout == b"word\n"
    });
    let put = expect_success("put", &ctl(&["put", "new", "life", "-w", "json"]));
    assert!(put.contains(&format!("\"revision\":{}", revision + 1)), "history goes on: {put}");
    let list = expect_success("member list", &ctl(&["member", "list"]));
    assert_eq!(list.lines().count(), 1, "{list}");
}
