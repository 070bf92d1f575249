//! One real etcd and one member of ours, as processes on loopback.

use std::collections::BTreeSet;
use std::process::{Child, Command};
use std::sync::Mutex;

const SEATRIAL: &str = env!("CARGO_BIN_EXE_seatrial");

/// The etcd programs to compare with.
pub(crate) fn etcds() -> Vec<String> {
    match std::env::var("SEATRIAL_ETCD") {
        Ok(list) => {
            let programs: Vec<String> = list.split(':').map(str::to_owned).collect();
            for program in &programs {
                assert!(runs(program), "SEATRIAL_ETCD names {program}, which does not run");
            }
            programs
        }
        Err(_) => Some("etcd".to_owned()).filter(|program| runs(program)).into_iter().collect(),
    }
}

fn runs(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// A port of loopback which nobody else in this process is given: the kernel hands a closed one out again at once.
fn port() -> String {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        if GIVEN.lock().unwrap().insert(port) {
            return format!("127.0.0.1:{port}");
        }
    }
}

/// As the program calls itself: `etcd 3.4.23`.
pub(crate) fn version(program: &str) -> String {
    let output = Command::new(program).arg("--version").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let first = text.lines().next().and_then(|line| line.strip_prefix("etcd Version: "));
    format!("etcd {}", first.expect("`etcd --version` says so in its first line"))
}

pub(crate) struct Pair {
    pub(crate) theirs: Server,
    pub(crate) ours: Server,
}

impl Pair {
    pub(crate) fn start(etcd: &str) -> Self {
        Self { theirs: Server::start(etcd, &[]), ours: Server::start(SEATRIAL, &["server"]) }
    }
}

pub(crate) struct Server {
    process: Child,
    pub(crate) address: String,
    data: tempfile::TempDir,
}

impl Server {
    fn start(program: &str, first: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let (address, peer) = (port(), format!("http://{}", port()));
        let url = format!("http://{address}");
        let log = std::fs::File::create(data.path().join("log")).unwrap();
        let process = Command::new(program)
            .args(first)
            .args(["--name", "one", "--data-dir"])
            .arg(data.path().join("data"))
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("one={peer}")])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { process, address, data }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() || std::env::var_os("SEATRIAL_DIFF_LOGS").is_some() {
            let log = std::fs::read_to_string(self.data.path().join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "--- log of {} (end)\n{}",
                self.address,
                lines[lines.len().saturating_sub(30)..].join("\n")
            );
        }
    }
}
