//! `seatrial reboot-agent --strategy fleet_lock` with real processes: at our own members, and at a server of somebody else.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::{Cluster, SEATRIAL, eventually, expect_success};

/// A machine whose reboot writes a line. It ends with the test, however that ends.
struct Machine {
    id: &'static str,
    folder: PathBuf,
    bases: String,
    agent: Child,
}

impl Machine {
    fn start(dir: &Path, id: &'static str, bases: &str) -> Self {
        let folder = dir.join(id);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("boot"), "one\n").unwrap();
        let agent = Self::agent(&folder, id, bases);
        Self { id, folder, bases: bases.to_owned(), agent }
    }

    fn agent(folder: &Path, id: &str, bases: &str) -> Child {
        let file = |name: &str| folder.join(name).display().to_string();
        let log = fs::OpenOptions::new().create(true).append(true).open(file("log")).unwrap();
        Command::new(SEATRIAL)
            .args(["reboot-agent", "--strategy", "fleet_lock", "--fleet-lock-base-url", bases])
            .args(["--machine-id", id, "--group", "web", "--users-command", "true"])
            .args(["--boot-id-file", &file("boot"), "--sentinel", &file("required")])
            .args(["--state-dir", &file("run"), "--reboot-command"])
            .arg(format!("echo $SEATRIAL_MACHINE_ID >> {}", folder.parent().unwrap().join("story").display()))
            .args(["--lock-pause", "100ms", "--release-pause", "100ms", "--pause-max", "200ms"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn needs_reboot(&self) {
        let output = Command::new(SEATRIAL)
            .args(["locksmithctl", "send-need-reboot", "-state-dir"])
            .arg(self.folder.join("run"))
            .output()
            .unwrap();
        expect_success("send-need-reboot", &output);
    }

    /// It goes down, and comes up again.
    fn reboot(&mut self) {
        self.end();
        fs::write(self.folder.join("boot"), "another\n").unwrap();
        self.agent = Self::agent(&self.folder, self.id, &self.bases);
    }

    fn end(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }

    fn says(&self, state: &str) -> bool {
        let conf = fs::read_to_string(self.folder.join("run/coordinator.conf")).unwrap_or_default();
        conf == format!("NAME=seatrial\nSTRATEGY=fleet_lock\nSTATE={state}\n")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.id, self.log());
        }
    }
}

/// Who has rebooted, in order.
fn story(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join("story")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn machines_that_ask_our_members_over_fleetlock_take_turns() {
    let placed = ["--reboot-lock-members", "m1=host1,m2=host2,m3=host3"];
    let cluster = Cluster::start(3, &["--reboot-lock", placed[0], placed[1]]);
    let dir = cluster.dir.path();
    // One that nobody hears comes first: the next one is asked.
    let bases: Vec<String> =
        cluster.endpoints().split(',').map(|place| format!("http://{place}/a")).collect();
    let bases = format!("http://127.0.0.1:1,{}", bases.join(","));
    let mut machines = ["alpha", "beta"].map(|id| Machine::start(dir, id, &bases));
    let holders = || {
        let output = Command::new(SEATRIAL)
            .args(["locksmithctl", "-group", "web", "-endpoint", &format!("http://{}", cluster.endpoint(2))])
            .arg("status")
            .output()
            .unwrap();
        let text = expect_success("status", &output);
        text.lines().skip_while(|line| *line != "MACHINE ID").skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    for machine in &machines {
        eventually("it rests", || machine.says("running"));
        machine.needs_reboot();
    }
    eventually("one goes", || story(dir).len() == 1);
    let first = story(dir)[0].clone();
    assert_eq!(holders(), std::slice::from_ref(&first));
    let other = machines.iter().position(|machine| machine.id != first).unwrap();
    let full = "refused (failed_lock): all 1 semaphore slots currently locked";
    eventually("the other hears why it waits", || machines[other].log().contains(full));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(story(dir).len(), 1, "nobody else goes while it is away");
    machines[1 - other].reboot();
    eventually("the other goes", || story(dir).len() == 2);
    let second = machines[other].id;
    assert_eq!((story(dir)[1].as_str(), holders()), (second, vec![second.to_owned()]));
    machines[other].reboot();
    eventually("both are back", || machines.iter().all(|machine| machine.says("running")));
    eventually("nobody holds a slot", || holders().is_empty());
    assert_eq!(story(dir).len(), 2);
}

/// One request as it came, with its head's lines in lower case.
fn heard(stream: &mut TcpStream) -> (Vec<String>, String) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    let head: Vec<String> =
        String::from_utf8(bytes).unwrap().trim().to_lowercase().lines().map(str::to_owned).collect();
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

/// The next one who comes.
fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let mut came = None;
    eventually("somebody asks", || {
        came = listener.accept().ok();
        came.is_some()
    });
    let (stream, _) = came.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
}

#[test]
fn a_server_that_always_refuses_does_not_keep_a_machine_from_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let servers = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let bases = servers.each_ref().map(|server| format!("http://{}", server.local_addr().unwrap()));
    let machine = Machine::start(dir.path(), "m1", &bases.join(","));
    // As one that is cut off from its store.
    let mut stream = accept(&servers[0]);
    heard(&mut stream);
    let away = r#"{"kind":"failed_lock","value":"the store is away"}"#;
    write!(stream, "HTTP/1.1 500 x\r\nContent-Length: {}\r\n\r\n{away}", away.len()).unwrap();
    let mut stream = accept(&servers[1]);
    heard(&mut stream);
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    eventually("it rests", || machine.says("running"));
    // Who has said yes is asked again, on the same connection.
    machine.needs_reboot();
    assert_eq!(heard(&mut stream).0[0], "post /v1/pre-reboot http/1.1");
}

#[test]
fn whatever_another_server_says_only_200_is_leave_to_reboot() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/base/", listener.local_addr().unwrap());
    let mut machine = Machine::start(dir.path(), "m1", &base);
    // What is asked for, and what is answered: status, and body.
    let (get, back) = ("/base/v1/pre-reboot", "/base/v1/steady-state");
    let full = r#"{"kind":"failed_lock","value":"all 2 semaphore slots currently locked"}"#;
    let script = [
        (back, "503 Service Unavailable", "<html>later</html>"),
        (back, "500 Internal Server Error", r#"{"kind":"failed_lock","value":"etcd is away"}"#),
        (back, "200 OK", ""),
        (get, "500 Internal Server Error", full),
        (get, "204 No Content", ""),
        (get, "302 Found", "go to /login"),
        (get, "200 OK", "you may"),
        // Right before the reboot it asks once more, and loses the slot: it gives back, and begins anew.
        (get, "500 Internal Server Error", full),
        (back, "200 OK", ""),
        (get, "200 OK", ""),
        (get, "200 OK", ""),
    ];
    for (at, (path, status, body)) in script.iter().enumerate() {
        if at == 3 {
            eventually("it rests", || machine.says("running"));
            machine.needs_reboot();
        }
        let mut stream = accept(&listener);
        let (head, sent) = heard(&mut stream);
        assert_eq!(head[0], format!("post {path} http/1.1"), "request {at}");
        for line in ["fleet-lock-protocol: true", "content-type: application/json"] {
            assert!(head.iter().any(|found| found == line), "{line} in {head:?}");
        }
        assert_eq!(sent, r#"{"client_params":{"id":"m1","group":"web"}}"#);
        assert!(story(dir.path()).is_empty(), "it rebooted before request {at}");
        let length = if status.starts_with("204") {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        write!(stream, "HTTP/1.1 {status}\r\n{length}Connection: close\r\n\r\n{body}").unwrap();
    }
    eventually("it reboots", || story(dir.path()) == ["m1"]);
    for why in [
        "the answer is none of FleetLock: status 503: <html>later</html>",
        "refused (failed_lock): etcd is away",
        "refused (failed_lock): all 2 semaphore slots currently locked",
        "the answer is none of FleetLock: status 204",
        "the answer is none of FleetLock: status 302: go to /login",
    ] {
        assert!(machine.log().contains(why), "{why} is not in\n{}", machine.log());
    }
    // Up again, it says so until it is heard.
    drop(listener);
    machine.reboot();
    eventually("nobody answers", || machine.log().contains("connection refused"));
    assert!(!machine.says("running"));
}

#[test]
fn what_makes_no_sense_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for (args, want) in [
        (&["--fleet-lock-base-url", "lock:3333"][..], "no base of FleetLock"),
        (&["--fleet-lock-url", "http://lock/v1/pre-reboot"], "ends before /v1/"),
        (&["--fleet-lock-url", "http://lock", "--group", "a b"], "--group: "),
        (&[], "has no server"),
    ] {
        let begun = Instant::now();
        let output = Command::new(SEATRIAL)
            .args(["reboot-agent", "--strategy", "fleet_lock", "--machine-id", "m", "--state-dir"])
            .arg(dir.path())
            .args(args)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(want) && begun.elapsed() < Duration::from_secs(5), "{args:?}: {text}");
    }
}
