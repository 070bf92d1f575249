//! Members started directly, of ours or of the real etcd, with flags that both know; and one of each beside each other.

use super::SEATRIAL;
use std::collections::BTreeSet;
use std::process::{Child, Command};
use std::sync::Mutex;

/// A port of loopback which nobody else in this process is given: the kernel hands a closed one out again at once.
pub(crate) fn port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        if GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}

/// Whether it can be started at all.
fn runs(program: &str) -> bool {
    Command::new(program).arg("--help").output().is_ok()
}

/// The programs that a variable lists with `:` between them, each of which must run; else the usual one where it is
/// installed.
pub(crate) fn programs(variable: &str, usual: &str) -> Vec<String> {
    match std::env::var(variable) {
        Ok(list) => {
            let programs: Vec<String> = list.split(':').map(str::to_owned).collect();
            for program in &programs {
                assert!(
                    std::path::Path::new(program).exists(),
                    "{variable} names {program}, which is not there"
                );
            }
            programs
        }
        Err(_) => Some(usual.to_owned()).filter(|program| runs(program)).into_iter().collect(),
    }
}

/// The members m1, m2, … of a new cluster, ended when this goes out of scope.
pub(crate) struct Servers {
    processes: Vec<Child>,
    /// Where clients are served, as `127.0.0.1:port`.
    pub(crate) clients: Vec<String>,
    /// Where peers are, as URLs.
    pub(crate) peers: Vec<String>,
    pub(crate) data: tempfile::TempDir,
}

impl Servers {
    /// Where the first member serves clients.
    pub(crate) fn address(&self) -> &str {
        &self.clients[0]
    }

    /// The number of a member's process.
    pub(crate) fn id(&self, at: usize) -> u32 {
        self.processes[at].id()
    }

    pub(crate) fn start(program: &[&str], members: usize, flags: &[String]) -> Self {
        Self::start_with(program, members, flags, |_, _, _, _| {})
    }

    /// `before` is called for each with the folder of all data, its name, all members and its own address for peers.
    pub(crate) fn start_with(
        program: &[&str],
        members: usize,
        flags: &[String],
        before: impl Fn(&std::path::Path, &str, &str, &str),
    ) -> Self {
        let data = tempfile::tempdir().unwrap();
        let clients: Vec<String> = (0..members).map(|_| format!("127.0.0.1:{}", port())).collect();
        let peers: Vec<String> = (0..members).map(|_| format!("http://127.0.0.1:{}", port())).collect();
        let all: Vec<String> =
            peers.iter().enumerate().map(|(at, peer)| format!("m{}={peer}", at + 1)).collect();
        let start = |at: usize| {
            let (name, url, peer) = (format!("m{}", at + 1), format!("http://{}", clients[at]), &peers[at]);
            before(data.path(), &name, &all.join(","), peer);
            let log = std::fs::File::create(data.path().join(format!("{name}.log"))).unwrap();
            Command::new(program[0])
                .args(&program[1..])
                .args(["--name", &name, "--data-dir"])
                .arg(data.path().join(&name))
                .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
                .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
                .args(["--initial-cluster", &all.join(",")])
                .args(flags)
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap()
        };
        let processes = (0..members).map(start).collect();
        Self { processes, clients, peers, data }
    }
}

impl Servers {
    /// Ends all in good order.
    pub(crate) fn stop(&mut self) {
        for process in &mut self.processes {
            let id = rustix::process::Pid::from_child(process);
            rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
            process.wait().unwrap();
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for (at, process) in self.processes.iter_mut().enumerate() {
            let _ = process.kill();
            let _ = process.wait();
            if std::thread::panicking() || std::env::var_os("SEATRIAL_DIFF_LOGS").is_some() {
                let path = self.data.path().join(format!("m{}.log", at + 1));
                let log = std::fs::read_to_string(path).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(30)..].join("\n");
                eprintln!("--- log of {} (end)\n{end}", self.clients[at]);
            }
        }
    }
}

/// The etcd programs to compare with.
pub(crate) fn etcds() -> Vec<String> {
    programs("SEATRIAL_ETCD", "etcd")
}

/// As the program calls itself: `etcd 3.4.23`.
pub(crate) fn version(program: &str) -> String {
    let output = Command::new(program).arg("--version").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let first = text.lines().next().and_then(|line| line.strip_prefix("etcd Version: "));
    format!("etcd {}", first.expect("`etcd --version` says so in its first line"))
}

pub(crate) struct Pair {
    pub(crate) theirs: Servers,
    pub(crate) ours: Servers,
}

impl Pair {
    pub(crate) fn start(etcd: &str) -> Self {
        Self { theirs: Servers::start(&[etcd], 1, &[]), ours: Servers::start(&[SEATRIAL, "server"], 1, &[]) }
    }
}
