//! Members of new clusters find each other through the v3 keys of another cluster (etcd 3.6: `--discovery-token`), ours or
//! the real etcd's.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]
#![allow(clippy::disallowed_types, reason = "tests of processes talk to the machine itself")]

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use support::certificates::Authority;
use support::members::{Member, Process, ask, expect_cluster, member, wait};
use support::server::{Servers, port};
use support::{OURS, SEATRIAL, etcdctl, expect_success};

/// At the store with these endpoints, tried again until it answers.
fn ctl(endpoints: &str, args: &[&str]) -> String {
    let mut output = None;
    wait("the store answers", || {
        let done = etcdctl(OURS, endpoints, args).output().unwrap();
        let is_done = done.status.success();
        output = Some(done);
        is_done
    });
    expect_success(&args.join(" "), &output.unwrap())
}

fn put_size(endpoints: &str, token: &str, size: &str) {
    ctl(endpoints, &["put", &format!("/_etcd/registry/{token}/_config/size"), size]);
}

fn flags(token: &str, endpoints: &str) -> Vec<String> {
    vec!["--discovery-token".into(), token.into(), "--discovery-endpoints".into(), endpoints.into()]
}

fn joining(name: &str, flags: &[String], folder: &Path) -> Member {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    member(&[SEATRIAL, "server"], name, &flags, folder)
}

fn stores() -> Vec<Vec<&'static str>> {
    let mut stores = vec![vec![SEATRIAL, "server"]];
    if Path::new("/usr/bin/etcd").exists() {
        stores.push(vec!["/usr/bin/etcd"]);
    } else {
        eprintln!("SKIPPED: no etcd 3.4 (Debian package etcd-server); only our own store is asked");
    }
    stores
}

#[test]
fn three_members_find_each_other_through_a_store_and_the_fourth_is_told_that_the_cluster_is_full() {
    for program in stores() {
        let folder = tempfile::tempdir().unwrap();
        let store = Servers::start(&program, 1, &[]);
        put_size(store.address(), "t", "3");
        let flags = flags("t", store.address());
        let members: Vec<Member> =
            ["a", "b", "c"].iter().map(|name| joining(name, &flags, folder.path())).collect();
        expect_cluster(&members);
        let (code, log) = joining("d", &flags, folder.path()).process.expect_end();
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains("discovery: cluster is full: ") && log.contains("hint: "), "{log}");
        assert!(!folder.path().join("d").exists(), "who is late leaves nothing behind");
        // What etcd's members would read.
        let keys = ctl(store.address(), &["get", "--prefix", "/_etcd/registry/t/members/"]);
        for name in ["a", "b", "c"] {
            assert!(keys.contains(&format!("\n{name}=http://127.0.0.1:")), "{keys}");
        }
        assert!(!keys.contains("\nd="), "{keys}");
    }
}

#[test]
fn a_member_that_comes_back_with_its_data_asks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let store = Servers::start(&[SEATRIAL, "server"], 1, &[]);
    put_size(store.address(), "t", "1");
    let flags = flags("t", store.address());
    let first = joining("a", &flags, folder.path());
    expect_cluster(std::slice::from_ref(&first));
    drop((first, store));
    let again = joining("a", &flags, folder.path());
    wait("it serves what it had", || {
        ask(&again.client, "GET /v2/keys/a", "").is_ok_and(|answer| answer.0 == 200)
    });
}

#[test]
fn wrong_tokens_wrong_sizes_and_flags_that_contradict_each_other_end_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let store = Servers::start(&[SEATRIAL, "server"], 1, &[]);
    put_size(store.address(), "word", "three");
    put_size(store.address(), "many", "65");
    let with = |token: &str, more: &[&str]| -> Vec<String> {
        let more = more.iter().map(|word| (*word).to_owned());
        flags(token, store.address()).into_iter().chain(more).collect()
    };
    let only = |words: &[&str]| -> Vec<String> { words.iter().map(|word| (*word).to_owned()).collect() };
    for (at, (flags, code, part)) in [
        (with("unknown", &[]), 1, "size key not found: /_etcd/registry/unknown/_config/size"),
        (with("word", &[]), 1, "size key is bad: \"three\""),
        (with("many", &[]), 1, "size key is bad: \"65\""),
        (with("a/../b", &[]), 2, "\"a/../b\" is no token"),
        (
            only(&["--discovery-token", "t"]),
            2,
            "both --discovery-token and --discovery-endpoints must be set",
        ),
        (
            only(&["--discovery-endpoints", store.address()]),
            2,
            "both --discovery-token and --discovery-endpoints must be set",
        ),
        (only(&["--discovery-token=t", "--discovery-endpoints=,"]), 2, "must not contain empty endpoints"),
        (with("t", &["--initial-cluster", "a=http://127.0.0.1:1"]), 2, "--initial-cluster both say"),
        (with("t", &["--discovery", "http://127.0.0.1:1/t"]), 2, "both say how the members are found"),
        (with("t", &["--discovery-srv", "example.com"]), 2, "both say how the members are found"),
        (with("t", &["--initial-cluster-state", "existing"]), 2, "--initial-cluster-state is existing"),
        (with("t", &["--discovery-fallback", "proxy"]), 2, "proxy is not supported"),
        (with("t", &["--discovery-user", "ann"]), 2, "has no password"),
        (with("t", &["--discovery-cacert", "/nonexistent/ca.pem"]), 2, "no such file"),
    ]
    .into_iter()
    .enumerate()
    {
        let (found, log) = joining(&format!("m{at}"), &flags, folder.path()).process.expect_end();
        assert!(
            found == Some(code) && log.contains(part) && log.contains("seatrial: "),
            "{flags:?}: {found:?} {log}"
        );
        assert!(!folder.path().join(format!("m{at}")).exists(), "{flags:?} leaves nothing behind");
    }
}

/// A store of one member that can be ended and started again.
struct Store {
    folder: tempfile::TempDir,
    client: String,
    peer: String,
    process: Option<Process>,
}

impl Store {
    fn new() -> Self {
        let address = || format!("127.0.0.1:{}", port());
        Self { folder: tempfile::tempdir().unwrap(), client: address(), peer: address(), process: None }
    }

    fn start(&mut self) {
        let (client, peer) = (format!("http://{}", self.client), format!("http://{}", self.peer));
        let mut command = Command::new(SEATRIAL);
        command
            .args(["server", "--name", "s", "--data-dir"])
            .arg(self.folder.path().join("s"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("s={peer}")]);
        self.process = Some(Process::start(command, &self.folder.path().join("s.log")));
    }
}

#[test]
fn members_wait_for_a_store_that_dies_half_way_and_find_each_other_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::new();
    store.start();
    put_size(&store.client, "t", "3");
    let mut flags = flags("t", &store.client);
    flags.extend(["--discovery-request-timeout=1s".to_owned(), "--discovery-dial-timeout=500ms".to_owned()]);
    let mut members = vec![joining("a", &flags, folder.path()), joining("b", &flags, folder.path())];
    wait("two have registered", || {
        let keys = ctl(&store.client, &["get", "--prefix", "--keys-only", "/_etcd/registry/t/members/"]);
        keys.matches("members/").count() == 2
    });
    drop(store.process.take());
    members.push(joining("c", &flags, folder.path()));
    wait("the third says what it waits for", || {
        members[2].process.log().contains("the discovery service could not be asked")
    });
    std::thread::sleep(Duration::from_secs(2));
    for member in &mut members {
        assert!(member.process.child.try_wait().unwrap().is_none(), "nobody gives up");
    }
    store.start();
    expect_cluster(&members);
}

#[test]
fn a_member_of_the_store_that_hangs_or_lags_keeps_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = Servers::start(&[SEATRIAL, "server"], 3, &[]);
    let endpoints = store.clients.join(",");
    // Nothing is known at the third of what is written while it stands still.
    let third = Pid::from_raw(i32::try_from(store.id(2)).unwrap()).unwrap();
    ctl(&endpoints, &["put", "ready", "1"]);
    kill_process(third, Signal::STOP).unwrap();
    put_size(&store.clients[..2].join(","), "t", "2");
    let one = joining("a", &flags("t", &endpoints), folder.path());
    // And for one of them it is the only one to ask, just when it wakes.
    let other = joining("b", &flags("t", &store.clients[2]), folder.path());
    wait("the first has registered", || {
        let keys = ctl(&store.clients[0], &["get", "--prefix", "--keys-only", "/_etcd/registry/t/members/"]);
        keys.contains("members/")
    });
    kill_process(third, Signal::CONT).unwrap();
    expect_cluster(&[one, other]);
}

#[test]
fn a_store_that_asks_for_certificates_and_users_is_asked_with_both() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, stranger) = (Authority::new("any"), Authority::new("stranger"));
    fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
    fs::write(folder.path().join("stranger.pem"), &stranger.pem).unwrap();
    authority.sign(folder.path(), "store");
    authority.sign(folder.path(), "member");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (address, peer) = (format!("127.0.0.1:{}", port()), format!("http://127.0.0.1:{}", port()));
    let url = format!("https://{address}");
    let mut command = Command::new(SEATRIAL);
    command
        .args(["server", "--name", "s", "--data-dir", &path("s")])
        .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("s={peer}"), "--auth-token-ttl", "1"])
        .args(["--cert-file", &path("store.pem"), "--key-file", &path("store.key")])
        .args(["--trusted-ca-file", &path("ca.pem")]);
    let _store = Process::start(command, &folder.path().join("s.log"));
    let tls = [path("ca.pem"), path("member.pem"), path("member.key")];
    let admin = |args: &[&str]| {
        let tls = ["--cacert", &tls[0], "--cert", &tls[1], "--key", &tls[2]];
        ctl(&url, &[args, &tls[..]].concat())
    };
    admin(&["put", "/_etcd/registry/t/_config/size", "2"]);
    admin(&["user", "add", "root:root-password"]);
    admin(&["user", "grant-role", "root", "root"]);
    admin(&["role", "add", "joins"]);
    admin(&["role", "grant-permission", "joins", "--prefix=true", "readwrite", "/_etcd/registry/t/"]);
    admin(&["user", "add", "ann:ann-password"]);
    admin(&["user", "grant-role", "ann", "joins"]);
    admin(&["auth", "enable"]);
    let with = |more: &[&str]| -> Vec<String> {
        let mut flags = flags("t", &url);
        flags.extend(["--discovery-cert", &tls[1], "--discovery-key", &tls[2]].map(str::to_owned));
        flags.extend(more.iter().map(|word| (*word).to_owned()));
        flags
    };
    let ca = ["--discovery-cacert", &tls[0]];
    let (code, log) = joining("x", &with(&ca), folder.path()).process.expect_end();
    assert!(code == Some(1) && log.contains("discovery: etcdserver: user name is empty"), "{log}");
    let wrong = [&ca[..], &["--discovery-user", "ann:guessed"]].concat();
    let (code, log) = joining("y", &with(&wrong), folder.path()).process.expect_end();
    assert!(code == Some(1) && log.contains("authentication failed"), "{log}");
    let stranger = joining("z", &with(&["--discovery-cacert", &path("stranger.pem")]), folder.path());
    wait("a certificate of nobody we know is not taken", || stranger.process.log().contains("certificate"));
    drop(stranger);
    let right = [&ca[..], &["--discovery-user", "ann", "--discovery-password", "ann-password"]].concat();
    let first = joining("a", &with(&right), folder.path());
    wait("the first waits", || first.process.log().contains("waits for the other members"));
    // Longer than its token lives, which is then no longer taken.
    std::thread::sleep(Duration::from_secs(4));
    let members = [first, joining("b", &with(&right), folder.path())];
    expect_cluster(&members);
}

#[test]
fn the_service_of_v2_is_asked_by_https_with_the_same_authorities() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("any");
    fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
    fs::write(folder.path().join("stranger.pem"), Authority::new("stranger").pem).unwrap();
    authority.sign(folder.path(), "service");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let store = Servers::start(&[SEATRIAL, "server"], 1, &[]);
    let token = "0123456789abcdef0123456789abcdef";
    let address = format!("127.0.0.1:{}", port());
    let mut command = Command::new(SEATRIAL);
    command
        .args(["discovery", "--listen-client-urls", &format!("https://{address}")])
        .args(["--endpoints", &format!("http://{}", store.address())])
        .args(["--cert-file", &path("service.pem"), "--key-file", &path("service.key")]);
    let _service = Process::start(command, &folder.path().join("service.log"));
    wait("a size is written", || {
        ask(store.address(), &format!("PUT /v2/keys/_etcd/registry/{token}/_config/size"), "value=2")
            .is_ok_and(|answer| answer.0 == 201 || answer.0 == 200)
    });
    let url = format!("https://{address}/{token}");
    let with =
        |ca: &str| vec!["--discovery".to_owned(), url.clone(), "--discovery-cacert".to_owned(), path(ca)];
    let stranger = joining("x", &with("stranger.pem"), folder.path());
    wait("a certificate of nobody we know is not taken", || stranger.process.log().contains("certificate"));
    drop(stranger);
    let (code, log) = joining("y", &with("none.pem"), folder.path()).process.expect_end();
    assert!(
        code == Some(2) && log.contains("no such file") && log.contains("hint: --discovery-cacert"),
        "{log}"
    );
    let members: Vec<Member> =
        ["a", "b"].iter().map(|name| joining(name, &with("ca.pem"), folder.path())).collect();
    expect_cluster(&members);
}
