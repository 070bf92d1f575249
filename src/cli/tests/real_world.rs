//! Scenarios on real processes: the faults bite, what cannot be had is said, and a stranger's server is judged like ours.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]

mod support;

use std::path::PathBuf;
use std::process::{Command, Output};
use support::SEATRIAL;
use support::server::etcds;

/// A scenario in a folder of its own.
struct Stand {
    folder: tempfile::TempDir,
}

impl Stand {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tried.toml"), text).unwrap();
        Self { folder }
    }

    fn scenario(&self) -> PathBuf {
        self.folder.path().join("tried.toml")
    }

    fn run(&self, more: &[&str]) -> Output {
        Command::new(SEATRIAL)
            .arg("run")
            .arg(self.scenario())
            .args(["--world", "real", "--seed", "1", "--json", "--out"])
            .arg(self.folder.path().join("runs"))
            .args(more)
            .output()
            .unwrap()
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// It passed and met all of these.
fn expect_pass(output: &Output, reached: &[&str]) {
    let text = said(output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for goal in reached {
        assert!(text.contains(&format!("\"{goal}\"")), "{goal} was not reached: {text}");
    }
}

fn expect_usage(output: &Output, parts: &[&str]) {
    let text = said(output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

const BENT_LINKS: &str = r#"
title = "bent links"
why = "the same faults bite in both worlds"
time = "14s"
swarm = false

[knobs]
election_timeout = "500ms"

[[workload]]
name = "kv"
clients = 4

[[workload]]
name = "watch"
clients = 1

[[nemesis]]
name = "partition"
shape = "leader-alone"
clients = "split"
start = "2s"
every = "5s"
lasts = "2s"

[[nemesis]]
name = "loss"
rate = "5%"
start = "7s"
every = "5s"
lasts = "2s"

[[nemesis]]
name = "flapping"
how = "reset"
start = "9s"
every = "5s"
lasts = "2s"

[[nemesis]]
name = "bandwidth"
limit = "16KiB/s"
start = "11s"
every = "5s"
lasts = "2s"
"#;

#[test]
fn bent_links_bite_real_members_and_ours_pass() {
    expect_pass(&Stand::new(BENT_LINKS).run(&[]), &["leader-changed", "served-during-fault"]);
}

#[test]
fn bent_links_bite_the_real_etcd_and_it_passes() {
    for etcd in etcds() {
        let output = Stand::new(BENT_LINKS).run(&["--server-bin", &etcd]);
        expect_pass(&output, &["leader-changed", "served-during-fault"]);
    }
}

#[test]
fn broken_disks_bite_real_members_and_ours_pass() {
    let stand = Stand::new(
        r#"
title = "broken disks"
why = "the same faults bite in both worlds"
time = "16s"
swarm = false

[[workload]]
name = "kv"
clients = 4

[[nemesis]]
name = "sync-error"
start = "2s"
every = "5s"
lasts = "1s"

[[nemesis]]
name = "full-disk"
start = "5s"
every = "6s"
lasts = "1s"

[[nemesis]]
name = "power-loss"
target = "all"
start = "8s"
every = "8s"
lasts = "500ms"

[[nemesis]]
name = "wal-damage"
place = "middle"
start = "11s"
every = "8s"
lasts = "500ms"

[[nemesis]]
name = "slow-disk"
target = "all"
start = "3s"
every = "8s"
lasts = "2s"
"#,
    );
    expect_pass(&stand.run(&[]), &["member-stopped", "member-restarted"]);
}

#[test]
fn disks_that_stall_rot_or_cannot_be_read_bite_real_members_and_ours_pass() {
    let stand = Stand::new(
        r#"
title = "disks that stall, rot or cannot be read"
why = "the same faults bite in both worlds"
time = "14s"
swarm = false

[[workload]]
name = "kv"
clients = 4

[[nemesis]]
name = "disk-stall"
target = "all"
start = "2s"
every = "8s"
lasts = "1s"
times = 1

[[nemesis]]
name = "read-error"
files = "store"
target = "all"
start = "5s"
every = "8s"
lasts = "2s"
times = 1

[[nemesis]]
name = "kill"
target = "all"
start = "5s"
every = "1s"
lasts = "500ms"
times = 2

[[nemesis]]
name = "store-rot"
bits = 2000
start = "9s"
every = "1s"
lasts = "500ms"
"#,
    );
    // Whether the rot hits what somebody needs is drawn from what the store holds then, which no two runs share.
    expect_pass(&stand.run(&[]), &["read-refused", "member-restarted", "served-during-store-rot"]);
}

#[test]
fn members_locks_elections_and_users_work_over_real_processes() {
    let stand = Stand::new(
        r#"
title = "all services"
why = "the same clients work in both worlds"
time = "14s"
swarm = false

[[workload]]
name = "kv"
clients = 2

[[workload]]
name = "locks"
clients = 3

[[workload]]
name = "elections"
clients = 3

[[workload]]
name = "membership"
think = "1s"

[[nemesis]]
name = "kill"
target = "leader"
start = "4s"
every = "6s"
lasts = "500ms"
"#,
    );
    expect_pass(&stand.run(&[]), &["lock-held", "election-won"]);
    // The second who lives on a machine has a second folder.
    let data = stand.folder.path().join("runs/tried-1-data");
    let joined = (1..=4).any(|machine| data.join(format!("m{machine}-2/db")).exists());
    assert!(joined, "nobody joined: {:?}", std::fs::read_dir(data).unwrap().collect::<Vec<_>>());
}

const UPGRADED: &str = r#"
title = "upgraded"
why = "members of two builds understand each other"
time = "12s"
swarm = false

[knobs]
election_timeout = "500ms"

[[workload]]
name = "kv"
clients = 4

[[workload]]
name = "watch"
clients = 1

[[nemesis]]
name = "rolling-upgrade"
period = "1200ms"
start = "2s"
every = "9s"
lasts = "8s"
"#;

#[test]
fn members_become_another_build_one_by_one_and_so_do_etcds() {
    let stand = Stand::new(UPGRADED);
    expect_pass(&stand.run(&[]), &["served-during-rolling-upgrade", "member-restarted"]);
    for member in 1..=3 {
        let log = stand.folder.path().join(format!("runs/tried-1-data/m{member}.log"));
        let log = std::fs::read_to_string(log).unwrap();
        let spoken: Vec<&str> = log
            .lines()
            .filter_map(|line| line.split_once("peer_versions=").map(|(_, versions)| versions))
            .collect();
        assert_eq!(spoken[..2], ["version 3", "versions 3 to 4"], "{log}");
    }
    expect_usage(
        &stand.run(&["--before-bin", "/nowhere/etcd"]),
        &["--before-bin /nowhere/etcd: it cannot be started", "hint: "],
    );
    let Some(etcd) = etcds().into_iter().next() else { return };
    let etcd = etcd.as_str();
    expect_usage(&stand.run(&["--server-bin", etcd]), &["needs a second build", "--before-bin"]);
    expect_usage(&stand.run(&["--before-bin", etcd]), &["cannot become members of seatrial"]);
    let both = stand.run(&["--server-bin", etcd, "--before-bin", etcd]);
    expect_pass(&both, &["served-during-rolling-upgrade"]);
}

const CUT: &str = r#"
title = "cut"
why = "what TCP does at a black hole is the kernel's own doing"
time = "9s"
swarm = false

[knobs]
election_timeout = "500ms"

[[workload]]
name = "kv"
clients = 4

[[nemesis]]
name = "partition"
shape = "leader-alone"
clients = "split"
start = "2s"
every = "10s"
lasts = "4s"
"#;

/// Elsewhere than where networks can be made it is said loudly that nothing was tried.
#[test]
fn links_are_cut_in_the_kernel_where_networks_can_be_made() {
    let stand = Stand::new(CUT);
    let run = stand.run(&["--netns"]);
    if run.status.code() == Some(2) && said(&run).contains("--netns") {
        eprintln!("SKIPPED: no network of our own can be made here: {}", said(&run));
        return;
    }
    expect_pass(&run, &["leader-changed"]);
    let lossy =
        Stand::new(&CUT.replace(
            "name = \"partition\"\nshape = \"leader-alone\"\nclients = \"split\"",
            "name = \"loss\"",
        ));
    expect_usage(&lossy.run(&["--netns"]), &["cannot be had in network namespaces", "leave --netns out"]);
}

#[test]
fn what_cannot_be_had_is_said_before_anything_starts() {
    let with = |nemesis: &str| {
        let text =
            "title = \"x\"\nwhy = \"x\"\ntime = \"5s\"\n[[workload]]\nname = \"kv\"\n[[nemesis]]\nname = ";
        Stand::new(&format!("{text}\"{nemesis}\"\n"))
    };
    expect_usage(&with("clock").run(&[]), &["tried.toml: the fault clock cannot be had", "\nhint: "]);
    let missing = with("kill").run(&["--server-bin", "/nowhere/etcd"]);
    expect_usage(&missing, &["--server-bin /nowhere/etcd: it cannot be started", "\nhint: "]);
    let other = with("kill").run(&["--server-bin", "/bin/ls"]);
    expect_usage(&other, &["its --help does not name --name", "\nhint: "]);
    for etcd in etcds() {
        let output = with("sync-error").run(&["--server-bin", &etcd]);
        expect_usage(
            &output,
            &["the fault sync-error needs members of our own", "\nhint: leave --server-bin out"],
        );
    }
    let simulated = Command::new(SEATRIAL)
        .args(["run", "--server-bin", "etcd"])
        .arg(with("kill").scenario())
        .output()
        .unwrap();
    expect_usage(&simulated, &["--server-bin needs processes to run in", "hint: add --world real"]);
    let stand = with("clock");
    let folder =
        Command::new(SEATRIAL).args(["run", "--world", "real"]).arg(stand.folder.path()).output().unwrap();
    expect_usage(&folder, &["left out: tried: the fault clock", "none of these scenarios can be played"]);
}
