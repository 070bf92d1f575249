//! Snapshots between etcd and us, with etcd's own tools: what one saves the other begins with.
#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]
#![allow(clippy::disallowed_types, reason = "tests of processes talk to the machine itself")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::server::{Servers, etcds, programs, version};
use support::{SEATRIAL, eventually, expect_success};

/// One side: a server, and the tools for its files.
struct Side {
    name: String,
    server: Vec<String>,
    client: Vec<String>,
    /// `snapshot` with `save`, `status` and `restore`.
    tool: Vec<String>,
}

fn ours() -> Side {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Side {
        name: "seatrial".into(),
        server: words(&[SEATRIAL, "server"]),
        client: words(&[SEATRIAL, "etcdctl"]),
        tool: words(&[SEATRIAL, "etcdutl"]),
    }
}

/// Every etcd with the client that belongs to it.
fn theirs() -> Vec<Side> {
    let clients = programs("SEATRIAL_ETCDCTL", "etcdctl");
    let sides = etcds().into_iter().zip(clients).map(|(server, client)| Side {
        name: version(&server),
        server: vec![server],
        client: vec![client.clone()],
        tool: vec![client],
    });
    sides.collect()
}

fn run(program: &[String], args: &[&str]) -> Output {
    Command::new(&program[0]).args(&program[1..]).args(args).env("ETCDCTL_API", "3").output().unwrap()
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

impl Side {
    fn at(&self, address: &str, args: &[&str]) -> String {
        expect_success(&args.join(" "), &self.ask(address, "root:pw", args))
    }

    fn ask(&self, address: &str, user: &str, args: &[&str]) -> Output {
        run(&self.client, &[&["--endpoints", address, "--user", user], args].concat())
    }

    fn snapshot(&self, args: &[&str]) -> Output {
        run(&self.tool, &[&["snapshot"], args].concat())
    }

    fn start(&self) -> Servers {
        let words: Vec<&str> = self.server.iter().map(String::as_str).collect();
        Servers::start(&words, 1, &[])
    }

    /// A server that begins with the file.
    fn begin_with(&self, file: &Path) -> Servers {
        let words: Vec<&str> = self.server.iter().map(String::as_str).collect();
        let restored = |data: &Path, name: &str, cluster: &str, peer: &str| {
            let folder = data.join(name);
            let args = ["restore", "--name", name, "--data-dir", folder.to_str().unwrap()];
            let more =
                ["--initial-cluster", cluster, "--initial-advertise-peer-urls", peer, file.to_str().unwrap()];
            expect_success("restore", &self.snapshot(&[&args[..], &more[..]].concat()));
        };
        Servers::start_with(&words, 1, &[], restored)
    }
}

/// Some of everything that a snapshot holds.
fn fill(side: &Side, address: &str) {
    let at = |args: &[&str]| {
        expect_success(&args.join(" "), &run(&side.client, &[&["--endpoints", address], args].concat()))
    };
    for round in 0..3 {
        for key in 0..60 {
            at(&["put", &format!("key-{key:02}"), &format!("value {key} of round {round} ").repeat(40)]);
        }
    }
    at(&["put", "large", &"x".repeat(120_000)]);
    at(&["del", "key-07"]);
    at(&["compaction", "100"]);
    at(&["del", "key-08"]);
    let granted = at(&["lease", "grant", "5000"]);
    let lease = granted.split(' ').nth(1).unwrap().to_owned();
    at(&["put", "leased", "for a while", "--lease", &lease]);
    for args in [
        &["user", "add", "root:pw"][..],
        &["user", "add", "ann:annpw"],
        &["role", "add", "root"],
        &["role", "add", "reader"],
        &["role", "grant-permission", "reader", "read", "key-", "--prefix=true"],
        &["user", "grant-role", "root", "root"],
        &["user", "grant-role", "ann", "reader"],
        &["auth", "enable"],
    ] {
        at(args);
    }
}

/// What there is to see, the same before and after.
fn everything(side: &Side, address: &str) -> Vec<String> {
    let simple = [
        &["get", "", "--prefix"][..],
        &["get", "key-05", "--rev", "150"],
        &["get", "key-08", "--rev", "150"],
        &["lease", "list"],
        &["user", "list"],
        &["role", "list"],
        &["role", "get", "reader"],
        &["user", "get", "ann"],
    ];
    let mut seen: Vec<String> = simple.iter().map(|args| side.at(address, args)).collect();
    let revisions = |args: &[&str]| {
        let answer: serde_json::Value = serde_json::from_str(&side.at(address, args)).unwrap();
        format!("{} {}", answer["header"]["revision"], answer["kvs"])
    };
    seen.push(revisions(&["get", "key-05", "-w", "json"]));
    seen.push(revisions(&["get", "leased", "-w", "json"]));
    let hash = side.at(address, &["endpoint", "hashkv", "-w", "json"]);
    let hash: serde_json::Value = serde_json::from_str(&hash).unwrap();
    seen.push(format!("{} {}", hash[0]["HashKV"]["hash"], hash[0]["HashKV"]["compact_revision"]));
    for refused in [&["get", "key-05", "--rev", "99"][..], &["get", "", "--prefix", "--rev", "100000"]] {
        seen.push(text(&side.ask(address, "root:pw", refused)).lines().last().unwrap_or_default().to_owned());
    }
    seen
}

/// What `from` saves, `to` begins with, and both tools say the same of the file.
fn moves(from: &Side, to: &Side) {
    let old = from.start();
    fill_when_up(from, &old);
    let before = everything(from, old.address());
    let file: PathBuf = old.data.path().join("saved.db");
    let name = file.to_str().unwrap();
    from.at(old.address(), &["snapshot", "save", name]);
    let status = |side: &Side| expect_success("status", &side.snapshot(&["status", name]));
    assert_eq!(status(from), status(to), "of a file of {}", from.name);

    let new = to.begin_with(&file);
    up(to, &new, &["--user", "root:pw"]);
    let after = everything(to, new.address());
    for (at, (after, before)) in after.iter().zip(&before).enumerate() {
        let short = |text: &str| text[..text.len().min(300)].to_owned();
        let (after, before, moved) = (short(after), short(before), after != before);
        assert!(!moved, "{at}, from {} to {}: {before}\nbecame {after}", from.name, to.name);
    }
    // It is alive: users are held to their roles, keys change, and what leans on old revisions goes on.
    let denied = to.ask(new.address(), "ann:annpw", &["put", "key-01", "mine"]);
    assert!(text(&denied).contains("permission denied"), "{}", text(&denied));
    expect_success("get", &to.ask(new.address(), "ann:annpw", &["get", "key-01"]));
    to.at(new.address(), &["put", "key-08", "born again"]);
    to.at(new.address(), &["compaction", "180"]);
    to.at(new.address(), &["defrag"]);
    assert_eq!(to.at(new.address(), &["get", "key-08"]), "key-08\nborn again\n");
    let lease = to.at(new.address(), &["lease", "list"]).lines().last().unwrap().to_owned();
    to.at(new.address(), &["lease", "revoke", &lease]);
    assert_eq!(to.at(new.address(), &["get", "leased"]), "");
}

fn up(side: &Side, servers: &Servers, user: &[&str]) {
    let probe = [&["--endpoints", servers.address()], user, &["get", "probe"]].concat();
    eventually("it serves", || run(&side.client, &probe).status.success());
}

fn fill_when_up(side: &Side, servers: &Servers) {
    up(side, servers, &[]);
    fill(side, servers.address());
}

#[test]
fn etcd_begins_with_our_snapshots_and_we_with_etcds() {
    let others = theirs();
    if others.is_empty() {
        eprintln!(
            "SKIPPED: no real etcd and etcdctl (Debian packages etcd-server, etcd-client, or SEATRIAL_ETCD and SEATRIAL_ETCDCTL)"
        );
    }
    for other in &others {
        moves(other, &ours());
        moves(&ours(), other);
    }
    moves(&ours(), &ours());
}

#[test]
fn a_members_own_database_is_taken_where_its_missing_sum_is_forgiven() {
    let Some(etcd) = theirs().into_iter().next() else {
        eprintln!("SKIPPED: no real etcd (Debian package etcd-server)");
        return;
    };
    let mut old = etcd.start();
    fill_when_up(&etcd, &old);
    let before = everything(&etcd, old.address());
    // The database is written now and then; at its end all of it is.
    old.stop();
    let database = old.data.path().join("m1/member/snap/db");
    let folder = old.data.path().join("new");
    let restore = |more: &[&str]| {
        let args = ["restore", "--name", "m1", "--data-dir", folder.to_str().unwrap()];
        let cluster = ["--initial-cluster", "m1=http://127.0.0.1:1", "--initial-advertise-peer-urls"];
        let file = ["http://127.0.0.1:1", database.to_str().unwrap()];
        ours().snapshot(&[&args[..], &cluster, &file, more].concat())
    };
    let refused = text(&restore(&[]));
    assert!(refused.contains("snapshot missing hash but --skip-hash-check=false"), "{refused}");
    assert!(!folder.exists());
    let said = expect_success("restore", &restore(&["--skip-hash-check"]));
    let revision: Vec<&str> = before[8].split(' ').collect();
    assert!(said.contains(&format!("restored revision {} ", revision[0])), "{said}");
}
