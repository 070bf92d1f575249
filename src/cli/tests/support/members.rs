//! Members that are told how to find the others, and processes with a log.

use super::server::port;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// One request of HTTP/1.1: status, head and body of the answer.
pub(crate) fn ask(address: &str, request: &str, form: &str) -> std::io::Result<(u16, String, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let head = format!(
        "{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    // A body in pieces begins with the length of the first.
    let body = if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        body.split_once("\r\n").map_or("", |(_, rest)| rest)
    } else {
        body
    };
    Ok((status, head.to_owned(), body.to_owned()))
}

/// Ended when this goes out of scope; its log is shown where the test fails.
pub(crate) struct Process {
    pub(crate) child: Child,
    log: std::path::PathBuf,
}

impl Process {
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        let file = std::fs::File::create(log).unwrap();
        let child =
            command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Self { child, log: log.to_owned() }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn expect_end(&mut self) -> (Option<i32>, String) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), self.log());
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.log.display(), self.log());
        }
    }
}

pub(crate) fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(crate) struct Member {
    pub(crate) process: Process,
    pub(crate) client: String,
}

/// A member that is told only the token.
pub(crate) fn member(program: &[&str], name: &str, discovery: &[&str], folder: &Path) -> Member {
    let (client, peer) = (format!("127.0.0.1:{}", port()), format!("http://127.0.0.1:{}", port()));
    let url = format!("http://{client}");
    let mut command = Command::new(program[0]);
    command
        .args(&program[1..])
        .args(["--name", name, "--data-dir"])
        .arg(folder.join(name))
        .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(discovery);
    Member { process: Process::start(command, &folder.join(format!("{name}.log"))), client }
}

/// All see the same members, and a write at one is read at another.
pub(crate) fn expect_cluster(members: &[Member]) {
    for member in members {
        wait("all members are known everywhere", || {
            ask(&member.client, "GET /v2/members", "")
                .is_ok_and(|(_, _, body)| body.matches("\"clientURLs\":[\"").count() == members.len())
        });
    }
    let written = || ask(&members[0].client, "PUT /v2/keys/a?value=1", "");
    wait("a write is taken", || written().is_ok_and(|answer| answer.0 == 201 || answer.0 == 200));
    let last = &members.last().unwrap().client;
    let (status, _, body) = ask(last, "GET /v2/keys/a?quorum=true", "").unwrap();
    assert_eq!(status, 200, "{body}");
}
