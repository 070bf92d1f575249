//! One client with one server: carries out a session and says what came of each step.

use crate::plain::{Names, plain};
use crate::script::{Action, Call, Session, Step};
use crate::support::server::Servers;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Nothing here takes longer by itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// What takes so long is named: it belongs among what only the whole run tries.
const SLOW: Duration = Duration::from_secs(3);

/// How long to wait for lines that may never come: what follows compares.
const WAITING: Duration = Duration::from_secs(10);

/// Programs with their first words.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) client: Vec<String>,
    pub(crate) server: Vec<String>,
}

/// What a command came to: its exit, what it printed and what it complained of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome(pub(crate) String);

pub(crate) fn run(programs: &Programs, session: &Session) -> Vec<Outcome> {
    let server: Vec<&str> = programs.server.iter().map(String::as_str).collect();
    let servers = Servers::start(&server, session.members, &session.flags);
    let mut side = Side {
        programs,
        folder: tempfile::tempdir().unwrap(),
        values: BTreeMap::new(),
        names: Names::default(),
        running: BTreeMap::new(),
        leases: 0,
        added: 0,
        servers,
    };
    side.meet();
    let mut timed = |step: &Step| {
        let begun = Instant::now();
        let outcome = side.step(step);
        if begun.elapsed() > SLOW {
            eprintln!("{} s: {:?} {}", begun.elapsed().as_secs(), programs.client, step.line);
        }
        outcome
    };
    session.steps.iter().map(&mut timed).collect()
}

struct Side<'a> {
    programs: &'a Programs,
    servers: Servers,
    folder: tempfile::TempDir,
    /// What `$NAME` stands for.
    values: BTreeMap<String, String>,
    names: Names,
    running: BTreeMap<String, Running>,
    leases: usize,
    added: usize,
}

struct Running {
    call: Call,
    child: Child,
    out: Arc<Mutex<Vec<u8>>>,
    err: Arc<Mutex<Vec<u8>>>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

fn gather(mut from: impl Read + Send + 'static) -> (Arc<Mutex<Vec<u8>>>, std::thread::JoinHandle<()>) {
    let gathered = Arc::new(Mutex::new(Vec::new()));
    let into = gathered.clone();
    let reader = std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            into.lock().unwrap().extend_from_slice(&piece[..length]);
        }
    });
    (gathered, reader)
}

impl Running {
    /// Waits for the end; not for ever.
    fn end(mut self) -> (Call, Option<ExitStatus>, Vec<u8>, Vec<u8>) {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(1);
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if begun.elapsed() > PATIENCE => {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    break None;
                }
                None => std::thread::sleep(pause),
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        };
        for reader in self.readers {
            let _ = reader.join();
        }
        let [out, err] = [self.out, self.err].map(|bytes| std::mem::take(&mut *bytes.lock().unwrap()));
        (self.call, status, out, err)
    }
}

impl Side<'_> {
    /// Waits until the members serve, makes the first one lead, and learns the numbers of all.
    fn meet(&mut self) {
        let endpoints = self.servers.clients.join(",");
        self.value("E", &endpoints);
        let folder = self.folder.path().display().to_string();
        self.value("D", &folder);
        self.names.text(folder, "D");
        for (at, endpoint) in self.servers.clients.clone().iter().enumerate() {
            self.value(&format!("E{}", at + 1), endpoint);
            self.names.text(endpoint.clone(), &format!("E{}", at + 1));
            let peer = self.servers.peers[at].clone();
            self.value(&format!("P{}", at + 1), &peer);
            self.names.text(peer, &format!("P{}", at + 1));
        }
        let begun = Instant::now();
        let (statuses, leader) = loop {
            let ready = self.raw(&["get", "ready", "--command-timeout", "2s"]);
            let statuses = ready.and_then(|_| self.raw(&["endpoint", "status", "-w", "json"]));
            let statuses: Value = serde_json::from_slice(&statuses.unwrap_or_default()).unwrap_or_default();
            let all = statuses.as_array().cloned().unwrap_or_default();
            let number = |status: &Value| status["Status"]["header"]["member_id"].as_u64();
            let leads =
                |status: &Value| all.iter().all(|one| one["Status"]["leader"].as_u64() == number(status));
            if let Some(leader) = all.iter().position(leads) {
                break (all, leader);
            }
            assert!(begun.elapsed() < PATIENCE, "{:?} does not serve", self.programs.server);
            std::thread::sleep(Duration::from_millis(50));
        };
        for (at, status) in statuses.iter().enumerate() {
            let header = &status["Status"]["header"];
            self.member(header["member_id"].as_u64().unwrap(), &format!("M{}", at + 1), at);
            self.names.number(header["cluster_id"].as_u64().unwrap(), "cluster");
        }
        if leader != 0 {
            let target = self.values["M1"].clone();
            let from = self.servers.clients[leader].clone();
            let mut command = self.command(&["move-leader", &target]);
            assert!(command.args(["--endpoints", &from]).output().unwrap().status.success());
        }
        // Who leads may be another one just now: a read can be asked again, a write that fails may have been done.
        while self.raw(&["get", "ready"]).is_none() {
            assert!(begun.elapsed() < PATIENCE, "{:?} answers no read", self.programs.server);
            std::thread::sleep(Duration::from_millis(50));
        }
        // Before all else: every session begins at revision 3.
        for words in [["put", "ready", "yes"].as_slice(), &["del", "ready"]] {
            let words = [words, &["--command-timeout", "20s"]].concat();
            self.raw(&words).unwrap_or_else(|| panic!("{words:?}"));
        }
    }

    fn member(&mut self, number: u64, name: &str, at: usize) {
        self.names.number(number, name);
        self.value(name, &format!("{number:x}"));
        if at == 1 {
            self.value("F", &format!("{number:x}"));
            let endpoint = self.servers.clients[1].clone();
            self.value("EF", &endpoint);
        }
    }

    fn value(&mut self, name: &str, value: &str) {
        self.values.insert(name.to_owned(), value.to_owned());
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.client[0]);
        command.args(&self.programs.client[1..]).env("ETCDCTL_API", "3").stdin(Stdio::null()).args(words);
        command
    }

    fn raw(&self, words: &[&str]) -> Option<Vec<u8>> {
        let mut command = self.command(words);
        let output = command.args(["--endpoints", &self.servers.clients.join(",")]).output().unwrap();
        output.status.success().then_some(output.stdout)
    }

    fn step(&mut self, step: &Step) -> Outcome {
        match &step.action {
            Action::Run(call) => {
                let mut running = self.start(call);
                if let Some(input) = &call.input {
                    // Whoever does not read it says so otherwise.
                    let _ = running.child.stdin.as_mut().unwrap().write_all(input);
                }
                drop(running.child.stdin.take());
                self.outcome(running)
            }
            Action::Start(name, call) => {
                let running = self.start(call);
                self.running.insert(name.clone(), running);
                Outcome(String::new())
            }
            Action::Lines(name, count) => {
                let begun = Instant::now();
                let out = &self.running[name].out;
                let printed = || out.lock().unwrap().iter().filter(|byte| **byte == b'\n').count();
                while printed() < *count && begun.elapsed() < WAITING {
                    std::thread::sleep(Duration::from_millis(5));
                }
                // What was printed is compared at its end.
                Outcome(String::new())
            }
            Action::Type(name, text) => {
                let running = self.running.get_mut(name).unwrap();
                let _ = running.child.stdin.as_mut().unwrap().write_all(text);
                Outcome(String::new())
            }
            Action::Stop(name) => {
                let running = self.running.remove(name).unwrap();
                let process = rustix::process::Pid::from_raw(running.child.id() as i32).unwrap();
                let _ = rustix::process::kill_process(process, rustix::process::Signal::INT);
                self.outcome(running)
            }
        }
    }

    fn start(&self, call: &Call) -> Running {
        let mut command = Command::new(&self.programs.client[0]);
        command.args(&self.programs.client[1..]).env("ETCDCTL_API", "3");
        if !call.without_endpoints {
            command.args(["--endpoints", &self.servers.clients.join(",")]);
        }
        command.args(call.words.iter().map(|word| OsString::from_vec(self.expand(word))));
        for (name, value) in &call.environment {
            let value = String::from_utf8(self.expand(value.as_bytes())).unwrap();
            command.env(name, value);
        }
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, first) = gather(child.stdout.take().unwrap());
        let (err, second) = gather(child.stderr.take().unwrap());
        Running { call: call.clone(), child, out, err, readers: vec![first, second] }
    }

    /// `$NAME`, where it is a name of the session.
    fn expand(&self, word: &[u8]) -> Vec<u8> {
        let Ok(text) = std::str::from_utf8(word) else { return word.to_vec() };
        let mut parts = text.split('$');
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
            match self.values.get(&part[..end]) {
                Some(value) => out += &[value, &part[end..]].concat(),
                None => out += &["$", part].concat(),
            }
        }
        out.into_bytes()
    }

    fn outcome(&mut self, running: Running) -> Outcome {
        let (call, status, out, err) = running.end();
        self.learn(&call, &out);
        let members = self.servers.clients.len();
        let [out, err] = [out, err].map(|bytes| plain(&call, &bytes, &self.names, members));
        let status = status.map_or("still running".to_owned(), |status| status.to_string());
        Outcome(format!("{status}\n{out}{}{err}", if err.is_empty() { "" } else { "--- stderr\n" }))
    }

    /// Numbers that this command was given by the server.
    fn learn(&mut self, call: &Call, out: &[u8]) {
        let text = String::from_utf8_lossy(out);
        let after = |before: &str, radix: u32| {
            let rest = text.split_once(before)?.1.trim_start();
            let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
            u64::from_str_radix(&rest[..end], radix).ok().filter(|number| *number > 0xffff)
        };
        match call.command().as_str() {
            "lease grant" => {
                let printed = after("lease ", 16).or_else(|| after("\"ID\":", 10));
                let printed = printed.or_else(|| after("\"ID\" : ", 10));
                let Some(number) = printed else { return };
                self.leases += 1;
                let name = format!("L{}", self.leases);
                self.names.number(number, &name);
                self.value(&name, &format!("{number:x}"));
            }
            "member add" => {
                let printed = after("Member", 16).or_else(|| after("\"member\":{\"ID\":", 10));
                let Some(number) = printed else { return };
                self.added += 1;
                let name = format!("N{}", self.added);
                self.names.number(number, &name);
                self.value(&name, &format!("{number:x}"));
            }
            _ => {}
        }
    }
}

impl Drop for Side<'_> {
    fn drop(&mut self) {
        for running in self.running.values_mut() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}
