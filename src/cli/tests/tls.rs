//! Three real members that speak TLS with each other and with clients who must show certificates, driven by
//! etcd's own client where it is installed (Debian package `etcd-client`) and always by ours.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::certificates::Authority;
use support::{OURS, SEATRIAL, clients};

/// Members with TLS everywhere, ended when this goes out of scope.
struct Cluster {
    dir: tempfile::TempDir,
    ports: Vec<(u16, u16)>,
    members: Vec<Child>,
}

fn free_ports(count: usize) -> Vec<u16> {
    // Held until all are drawn, so that no two are the same.
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

impl Cluster {
    /// With `ca.pem`, `server`, `peer` and `client` in its folder.
    fn start(authority: &Authority) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.pem"), &authority.pem).unwrap();
        for name in ["server", "peer", "client"] {
            authority.sign(dir.path(), name);
        }
        let ports = free_ports(6).chunks(2).map(|pair| (pair[0], pair[1])).collect();
        let mut cluster = Self { dir, ports, members: Vec::new() };
        for member in 0..3 {
            let child = cluster.command(member).spawn().unwrap();
            cluster.members.push(child);
        }
        cluster
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn log(&self, member: usize) -> String {
        fs::read_to_string(self.file(&format!("m{member}.log"))).unwrap()
    }

    fn command(&self, member: usize) -> Command {
        let initial: Vec<String> = (self.ports.iter().enumerate())
            .map(|(i, (_, peer))| format!("m{i}=https://127.0.0.1:{peer}"))
            .collect();
        let (client, peer) = self.ports[member];
        let (client, peer) = (format!("https://127.0.0.1:{client}"), format!("https://127.0.0.1:{peer}"));
        let log = fs::File::create(self.file(&format!("m{member}.log"))).unwrap();
        let mut command = Command::new(SEATRIAL);
        command
            .args(["server", "--name", &format!("m{member}"), "--initial-cluster", &initial.join(",")])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer, "--data-dir"])
            .arg(self.file(&format!("m{member}")))
            .args(["--client-cert-auth", "--cert-file"])
            .arg(self.file("server.pem"))
            .arg("--key-file")
            .arg(self.file("server.key"))
            .arg("--trusted-ca-file")
            .arg(self.file("ca.pem"))
            .args(["--reboot-lock", "--reboot-lock-quorum-guard=false"])
            .args(["--peer-client-cert-auth", "--peer-cert-file"])
            .arg(self.file("peer.pem"))
            .arg("--peer-key-file")
            .arg(self.file("peer.key"))
            .arg("--peer-trusted-ca-file")
            .arg(self.file("ca.pem"))
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    /// A client's command, ours or etcd's; `who` names its certificate, empty for none.
    fn ctl(&self, program: &[&str], ca: &str, who: &str, args: &[&str]) -> Output {
        let endpoints: Vec<String> =
            self.ports.iter().map(|(client, _)| format!("https://127.0.0.1:{client}")).collect();
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).args(["--endpoints", &endpoints.join(",")]).env("ETCDCTL_API", "3");
        command.arg("--cacert").arg(self.file(ca)).args(["--command-timeout", "3s"]);
        if !who.is_empty() {
            command.arg("--cert").arg(self.file(&format!("{who}.pem")));
            command.arg("--key").arg(self.file(&format!("{who}.key")));
        }
        command.args(args).output().unwrap()
    }

    /// The same, which must succeed; tried again while the cluster has no leader yet.
    fn expect(&self, program: &[&str], ca: &str, who: &str, args: &[&str]) -> String {
        let begun = Instant::now();
        loop {
            let output = self.ctl(program, ca, who, args);
            if output.status.success() {
                return String::from_utf8(output.stdout).unwrap();
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{args:?}: {output:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for (member, child) in self.members.iter_mut().enumerate() {
            let _ = child.kill();
            let _ = child.wait();
            if std::thread::panicking() {
                let log = fs::read_to_string(self.dir.path().join(format!("m{member}.log")));
                eprintln!("--- m{member}.log\n{}", log.unwrap_or_default());
            }
        }
    }
}

#[test]
fn members_and_clients_speak_tls_and_new_files_count_at_the_next_handshake() {
    let authority = Authority::new("first");
    let cluster = Cluster::start(&authority);
    let stranger = Authority::new("stranger");
    stranger.sign(cluster.dir.path(), "mallory");
    for program in clients() {
        let key = program[0];
        assert_eq!(cluster.expect(program, "ca.pem", "client", &["put", key, "v"]), "OK\n");
        assert_eq!(cluster.expect(program, "ca.pem", "client", &["get", key]), format!("{key}\nv\n"));
        // Without a certificate, and with one that nobody trusts.
        assert!(!cluster.ctl(program, "ca.pem", "", &["get", key]).status.success());
        assert!(!cluster.ctl(program, "ca.pem", "mallory", &["get", key]).status.success());
    }
    let logs: String = (0..3).map(|member| cluster.log(member)).collect();
    assert!(logs.contains("peer sent no certificates"), "{logs}");

    // Everything is signed by another authority from now on, and nobody is restarted.
    let second = Authority::new("second");
    for name in ["server", "peer", "client2"] {
        second.sign(cluster.dir.path(), name);
    }
    fs::write(cluster.file("ca2.pem"), &second.pem).unwrap();
    fs::write(cluster.file("old-ca.pem"), &authority.pem).unwrap();
    fs::write(cluster.file("ca.pem"), &second.pem).unwrap();
    for program in clients() {
        assert_eq!(cluster.expect(program, "ca2.pem", "client2", &["put", "k", "new"]), "OK\n");
        assert!(!cluster.ctl(program, "old-ca.pem", "client2", &["get", "k"]).status.success());
        assert!(!cluster.ctl(program, "ca2.pem", "client", &["get", "k"]).status.success());
    }
}

/// The state of an agent that asks for its reboot over https, once it is another than `starting`.
fn asks(cluster: &Cluster, ca: &str, who: &str) -> Option<String> {
    let folder = cluster.file(&format!("agent-{ca}-{who}"));
    let bases: Vec<String> =
        cluster.ports.iter().map(|(client, _)| format!("https://127.0.0.1:{client}/lock")).collect();
    let mut command = Command::new(SEATRIAL);
    command
        .args(["reboot-agent", "--strategy", "fleet_lock", "--fleet-lock-base-url", &bases.join(",")])
        .args(["--machine-id", "m", "--release-pause", "100ms", "--pause-max", "200ms", "--state-dir"])
        .arg(&folder)
        .arg("--etcd-cafile")
        .arg(cluster.file(ca))
        .stderr(Stdio::null());
    if !who.is_empty() {
        command.arg("--etcd-certfile").arg(cluster.file(&format!("{who}.pem")));
        command.arg("--etcd-keyfile").arg(cluster.file(&format!("{who}.key")));
    }
    let mut agent = command.spawn().unwrap();
    let begun = Instant::now();
    let mut state = None;
    while state.is_none() && begun.elapsed() < Duration::from_secs(3) {
        let text = fs::read_to_string(folder.join("coordinator.conf")).unwrap_or_default();
        state = text.lines().find_map(|line| line.strip_prefix("STATE=")).map(str::to_owned);
        state = state.filter(|state| state != "starting");
        std::thread::sleep(Duration::from_millis(20));
    }
    agent.kill().unwrap();
    agent.wait().unwrap();
    state
}

#[test]
fn a_machine_asks_for_its_reboot_over_https_where_both_sides_know_each_other() {
    let authority = Authority::new("only");
    let cluster = Cluster::start(&authority);
    let stranger = Authority::new("stranger");
    stranger.sign(cluster.dir.path(), "mallory");
    fs::write(cluster.file("stranger.pem"), &stranger.pem).unwrap();
    cluster.expect(OURS, "ca.pem", "client", &["put", "a", "b"]);
    assert_eq!(asks(&cluster, "ca.pem", "client"), Some("running".to_owned()));
    for (ca, who) in [("ca.pem", ""), ("ca.pem", "mallory"), ("stranger.pem", "client")] {
        assert_eq!(asks(&cluster, ca, who), None, "{ca} and {who:?}");
    }
}

#[test]
fn plain_http_at_an_https_port_is_named_in_the_log() {
    let cluster = Cluster::start(&Authority::new("only"));
    cluster.expect(OURS, "ca.pem", "client", &["put", "a", "b"]);
    let mut stream = TcpStream::connect(("127.0.0.1", cluster.ports[0].0)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
    let begun = Instant::now();
    while !cluster.log(0).contains("the client does not speak TLS") {
        assert!(begun.elapsed() < Duration::from_secs(5), "{}", cluster.log(0));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_with_files_that_cannot_work_says_which() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("any");
    authority.sign(dir.path(), "a");
    authority.sign(dir.path(), "b");
    let start = |cert: &str, key: &str| {
        let output = Command::new(SEATRIAL)
            .args(["server", "--listen-client-urls", "https://127.0.0.1:0"])
            .args(["--listen-peer-urls", "http://127.0.0.1:0", "--data-dir"])
            .arg(dir.path().join("data"))
            .args(["--cert-file", cert, "--key-file", key])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let path = |name: &str| dir.path().join(name).display().to_string();
    let missing = start(&path("none.pem"), &path("a.key"));
    assert!(missing.contains(&format!("open {}: no such file or directory", path("none.pem"))), "{missing}");
    let mismatched = start(&path("a.pem"), &path("b.key"));
    let text = format!("{} does not go with {}", path("b.key"), path("a.pem"));
    assert!(mismatched.contains(&text), "{mismatched}");
    let no_key = start(&path("a.pem"), &path("a.pem"));
    assert!(no_key.contains("no private key in PEM form"), "{no_key}");
    assert!(start(&path("a.pem"), "").contains("KeyFile and CertFile must both be present"));
}
