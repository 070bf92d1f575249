//! What the tests of processes have in common: clusters made by `seatrial up`, ports for them, and the clients that
//! drive them: etcd's own where it is installed (Debian package `etcd-client`), and always ours.

#![allow(dead_code, reason = "every test file is a program of its own and uses its own part of this")]
#![allow(clippy::disallowed_types, reason = "tests of processes draw by chance where they run")]

pub(crate) mod certificates;
pub(crate) mod members;
pub(crate) mod server;

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub(crate) const SEATRIAL: &str = env!("CARGO_BIN_EXE_seatrial");

/// Our client, and etcd's: a program with its first words.
pub(crate) const OURS: &[&str] = &[SEATRIAL, "etcdctl"];
pub(crate) const REAL: &[&str] = &["/usr/bin/etcdctl"];

/// Ours, and etcd's where it is there: what is expected of them is the same.
pub(crate) fn clients() -> Vec<&'static [&'static str]> {
    let mut clients = vec![OURS];
    if Path::new(REAL[0]).exists() {
        clients.push(REAL);
    } else {
        eprintln!(
            "SKIPPED: etcd's own etcdctl is not installed (Debian package etcd-client); only ours is driven"
        );
    }
    clients
}

/// A client's command line: asks these endpoints, reads nothing.
pub(crate) fn etcdctl(client: &[&str], endpoints: &str, args: &[&str]) -> Command {
    let mut command = Command::new(client[0]);
    command
        .args(&client[1..])
        .args(["--endpoints", endpoints])
        .args(args)
        .env("ETCDCTL_API", "3")
        .stdin(Stdio::null());
    command
}

/// What it printed.
pub(crate) fn expect_success(what: &str, output: &Output) -> String {
    assert!(
        output.status.success(),
        "{what}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until `done` is true.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A port whose neighbours, as `up` uses them, are free too. Below those that the kernel hands out by itself, and
/// each caller somewhere else: other test programs draw at the same time.
pub(crate) fn free_port(members: u16) -> u16 {
    loop {
        // New keys for every hasher, from the system's randomness.
        let drawn = RandomState::new().hash_one(members);
        let port = 10_000 + (drawn % 21_000) as u16 / 2 * 2;
        let ports = (0..members).flat_map(|i| [port + i * 100, port + i * 100 + 1]);
        // Held until all are drawn.
        let held: Vec<_> = ports.map(|port| TcpListener::bind(("127.0.0.1", port))).collect();
        if held.iter().all(Result::is_ok) {
            return port;
        }
    }
}

/// A number of free ports that follow each other, the first of which ends with 0.
pub(crate) fn free_row(count: u16) -> u16 {
    loop {
        let first = free_port(1) / 10 * 10;
        let held: Vec<_> = (0..count).map(|at| TcpListener::bind(("127.0.0.1", first + at))).collect();
        if held.iter().all(Result::is_ok) {
            return first;
        }
    }
}

/// The units of the demo, as files of this folder: their web servers are at this port, which ends with 0, and the next ones.
pub(crate) fn demo_units(dir: &Path, web_port: u16) {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/units");
    for entry in fs::read_dir(units).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replace("127.0.0.1:808%i", &format!("127.0.0.1:{}%i", web_port / 10));
        fs::write(dir.join(path.file_name().unwrap()), text).unwrap();
    }
}

/// Whether a thread of the process may still hold its files. The first thread may have ended before the others.
fn lives(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let ended = stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'));
    threads > 1 || !ended
}

/// A cluster made by `seatrial up`, stopped when it goes out of scope. Its members are numbered from 1, as their names
/// are.
pub(crate) struct Cluster {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) port: u16,
    members: u16,
    flags: Vec<String>,
}

impl Cluster {
    pub(crate) fn start(members: u16, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let cluster = Self { dir: tempfile::tempdir().unwrap(), port: free_port(members), members, flags };
        cluster.up();
        cluster
    }

    pub(crate) fn up(&self) -> String {
        let (members, port) = (self.members.to_string(), self.port.to_string());
        let mut command = Command::new(SEATRIAL);
        command.args(["up", "--members", &members, "--port", &port, "--dir"]).arg(self.dir.path());
        expect_success("up", &command.arg("--").args(&self.flags).output().unwrap())
    }

    pub(crate) fn down(&self) {
        let output = Command::new(SEATRIAL).args(["down", "--dir"]).arg(self.dir.path()).output().unwrap();
        expect_success("down", &output);
    }

    pub(crate) fn endpoint(&self, member: u16) -> String {
        format!("127.0.0.1:{}", self.port + (member - 1) * 100)
    }

    pub(crate) fn endpoints(&self) -> String {
        let all: Vec<String> = (1..=self.members).map(|member| self.endpoint(member)).collect();
        all.join(",")
    }

    /// A client that asks all members.
    pub(crate) fn etcdctl(&self, client: &[&str], args: &[&str]) -> Command {
        etcdctl(client, &self.endpoints(), args)
    }

    /// A client that asks one member only.
    pub(crate) fn etcdctl_at(&self, member: u16, client: &[&str], args: &[&str]) -> Command {
        etcdctl(client, &self.endpoint(member), args)
    }

    /// Our client, asking all.
    pub(crate) fn ours(&self, args: &[&str]) -> Output {
        self.etcdctl(OURS, args).output().unwrap()
    }

    /// Our client, which must succeed.
    pub(crate) fn ctl(&self, args: &[&str]) -> String {
        expect_success(&args.join(" "), &self.ours(args))
    }

    pub(crate) fn pid(&self, member: u16) -> i32 {
        let state = fs::read_to_string(self.dir.path().join("cluster.json")).unwrap();
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        state["members"][usize::from(member) - 1]["pid"].as_i64().unwrap() as i32
    }

    pub(crate) fn data(&self, member: u16) -> PathBuf {
        self.dir.path().join(format!("m{member}"))
    }

    pub(crate) fn log(&self, member: u16) -> String {
        fs::read_to_string(self.dir.path().join(format!("m{member}.log"))).unwrap()
    }

    /// Returns once the process has let go of its files.
    pub(crate) fn kill_9(&self, member: u16) {
        let pid = self.pid(member);
        let process = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
        let begun = Instant::now();
        while lives(pid) {
            assert!(begun.elapsed() < Duration::from_secs(10), "the process outlives kill -9");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts one member again, with the flags it had.
    pub(crate) fn restart(&self, member: u16) -> Child {
        self.restart_with(member, &[])
    }

    /// And some more.
    pub(crate) fn restart_with(&self, member: u16, more: &[&str]) -> Child {
        let peer = |i: u16| format!("m{}=http://127.0.0.1:{}", i + 1, self.port + i * 100 + 1);
        let initial: Vec<String> = (0..self.members).map(peer).collect();
        let at = self.port + (member - 1) * 100;
        let (client, peer) = (format!("http://127.0.0.1:{at}"), format!("http://127.0.0.1:{}", at + 1));
        let log =
            fs::OpenOptions::new().append(true).open(self.dir.path().join(format!("m{member}.log"))).unwrap();
        Command::new(SEATRIAL)
            .args(["server", "--name", &format!("m{member}"), "--initial-cluster", &initial.join(",")])
            .args(["--initial-cluster-token", "seatrial-up", "--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client, "--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer, "--data-dir"])
            .arg(self.data(member))
            .args(&self.flags)
            .args(more)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// The number of the leading member, as the members see it.
    pub(crate) fn leader(&self) -> u16 {
        let begun = Instant::now();
        loop {
            let output = self.ours(&["endpoint", "status", "-w", "json"]);
            let statuses: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            for status in statuses.as_array().into_iter().flatten() {
                let leader = &status["Status"]["leader"];
                if !leader.is_null() && leader == &status["Status"]["header"]["member_id"] {
                    let endpoint = status["Endpoint"].as_str().unwrap();
                    let port: u16 = endpoint.rsplit_once(':').unwrap().1.parse().unwrap();
                    return (port - self.port) / 100 + 1;
                }
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "no leader: {output:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = Command::new(SEATRIAL).args(["down", "--dir"]).arg(self.dir.path()).output();
        if std::thread::panicking() {
            for member in 1..=self.members {
                let path = self.dir.path().join(format!("m{member}.log"));
                let log = fs::read_to_string(path).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("--- m{member}.log (end)\n{}", lines[lines.len().saturating_sub(15)..].join("\n"));
            }
        }
    }
}
