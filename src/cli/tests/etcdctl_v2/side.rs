//! One client with one server: carries out a session and says what came of each step.

use crate::plain::{Names, plain};
use crate::script::{Action, Call, Session};
use crate::support::server::Servers;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait for lines that may never come: what follows compares.
const WAITING: Duration = Duration::from_secs(10);

/// Where every session begins, since etcd counts records of its members too.
const FIRST_INDEX: u64 = 30;

/// Programs with their first words.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) client: Vec<String>,
    pub(crate) server: Vec<String>,
}

/// One request of HTTP/1.1; the answer as text.
fn ask(address: &str, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(
        format!("{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .as_bytes(),
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

struct Running {
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

struct Side<'a> {
    programs: &'a Programs,
    servers: Servers,
    values: BTreeMap<String, String>,
    names: Names,
    added: usize,
}

/// What came of each step; `None` where this server does not have what the session is about.
pub(crate) fn run(programs: &Programs, session: &Session) -> Option<Vec<String>> {
    let server: Vec<&str> = programs.server.iter().map(String::as_str).collect();
    let servers = Servers::start(&server, session.members, &session.flags);
    let mut side = Side { programs, servers, values: BTreeMap::new(), names: Names::default(), added: 0 };
    side.meet();
    if session.name.starts_with("auth") {
        let answer = ask(side.servers.address(), "GET /v2/auth/enable").unwrap_or_default();
        if !answer.contains(" 200 ") {
            eprintln!("SKIPPED: {:?} has no /v2/auth", programs.server);
            return None;
        }
    }
    if session.members > 1 {
        // Before its members have known each other for so long, the real one takes no change of them.
        std::thread::sleep(Duration::from_secs(6));
    }
    side.align();
    let mut running: BTreeMap<String, (Call, Running)> = BTreeMap::new();
    let mut outcomes = Vec::new();
    for step in &session.steps {
        outcomes.push(match &step.action {
            Action::Run(call) => {
                let mut child = side.start(call);
                if let Some(input) = &call.input {
                    // Whoever does not read it says so otherwise.
                    let _ = child.child.stdin.as_mut().unwrap().write_all(input);
                }
                drop(child.child.stdin.take());
                side.end(call, child)
            }
            Action::Start(name, call) => {
                running.insert(name.clone(), (call.clone(), side.start(call)));
                // Until it waits at the server nothing else may happen.
                std::thread::sleep(Duration::from_millis(700));
                String::new()
            }
            Action::Lines(name, count) => {
                let begun = Instant::now();
                let out = running[name].1.out.clone();
                let printed = || out.lock().unwrap().iter().filter(|byte| **byte == b'\n').count();
                while printed() < *count && begun.elapsed() < WAITING {
                    std::thread::sleep(Duration::from_millis(5));
                }
                String::new()
            }
            Action::Type(..) => unreachable!("nothing is typed here"),
            Action::Stop(name) => {
                let (call, child) = running.remove(name).unwrap();
                let process =
                    rustix::process::Pid::from_raw(i32::try_from(child.child.id()).unwrap()).unwrap();
                let _ = rustix::process::kill_process(process, rustix::process::Signal::INT);
                side.end(&call, child)
            }
        });
    }
    Some(outcomes)
}

impl Side<'_> {
    /// Waits until the members serve and know each other.
    fn meet(&mut self) {
        for (at, endpoint) in self.servers.clients.clone().iter().enumerate() {
            self.name(&format!("E{}", at + 1), endpoint.clone());
            let peer = self.servers.peers[at].trim_start_matches("http://").to_owned();
            self.name(&format!("P{}", at + 1), peer);
        }
        let all: Vec<String> = self.servers.clients.iter().map(|client| format!("http://{client}")).collect();
        self.values.insert("E".to_owned(), all.join(","));
        let begun = Instant::now();
        let address = self.servers.address().to_owned();
        loop {
            let answer = ask(&address, "PUT /v2/keys/ready?value=1").unwrap_or_default();
            if answer.contains(" 201 ") || answer.contains(" 200 ") {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{:?} does not serve: {answer}", self.programs.server);
            std::thread::sleep(Duration::from_millis(100));
        }
        // All members must be known with their addresses.
        let listed = loop {
            let answer = ask(&address, "GET /v2/members").unwrap_or_default();
            if answer.matches("\"clientURLs\":[\"").count() == self.servers.clients.len() {
                break answer;
            }
            assert!(begun.elapsed() < PATIENCE, "{:?}: {answer}", self.programs.server);
            std::thread::sleep(Duration::from_millis(100));
        };
        for part in listed.split("\"id\":\"").skip(1) {
            let id = part.split('"').next().unwrap().to_owned();
            let name = part.split("\"name\":\"").nth(1).unwrap().split('"').next().unwrap().replace('m', "M");
            self.name(&name, id);
        }
    }

    /// Brings the key space to where all sessions begin. Members of the real one write records of their own until they
    /// have settled, and one twice where its first try was slow; so each step looks where it has come to.
    fn align(&self) {
        let address = self.servers.address();
        let change = |request: &str| -> u64 {
            let answer = ask(address, request).unwrap();
            let named = answer
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("x-etcd-index: ").map(str::to_owned));
            named.and_then(|index| index.trim().parse().ok()).unwrap_or_else(|| panic!("no index in {answer}"))
        };
        while change("PUT /v2/keys/ready?value=1") < FIRST_INDEX - 1 {}
        let first = change("DELETE /v2/keys/ready");
        assert_eq!(first, FIRST_INDEX, "{:?} writes more of its own than is known", self.programs.server);
    }

    fn name(&mut self, name: &str, real: String) {
        self.names.add(real.clone(), name);
        self.values.insert(name.to_owned(), real);
    }

    fn start(&self, call: &Call) -> Running {
        let mut command = Command::new(&self.programs.client[0]);
        command.args(&self.programs.client[1..]).env("ETCDCTL_API", "2");
        if !call.without_endpoints {
            command.args(["--endpoints", &self.values["E"]]);
        }
        command.args(call.words.iter().map(|word| self.expand(&String::from_utf8_lossy(word))));
        for (name, value) in &call.environment {
            command.env(name, self.expand(value));
        }
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, first) = gather(child.stdout.take().unwrap());
        let (err, second) = gather(child.stderr.take().unwrap());
        Running { child, out, err, readers: vec![first, second] }
    }

    /// `$NAME`, where it is a name of the session.
    fn expand(&self, word: &str) -> String {
        let mut parts = word.split('$');
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(part.len());
            match self.values.get(&part[..end]) {
                Some(value) => out += &format!("{value}{}", &part[end..]),
                None => out += &format!("${part}"),
            }
        }
        out
    }

    /// Waits for the end; not for ever.
    fn end(&mut self, call: &Call, mut running: Running) -> String {
        let begun = Instant::now();
        let status = loop {
            match running.child.try_wait().unwrap() {
                Some(status) => break status.to_string(),
                None if begun.elapsed() > PATIENCE => {
                    let _ = running.child.kill();
                    let _ = running.child.wait();
                    break "still running".to_owned();
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        for reader in running.readers {
            let _ = reader.join();
        }
        let (out, err) = (running.out.lock().unwrap(), running.err.lock().unwrap());
        let words: Vec<String> =
            call.words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        if words.iter().any(|word| word == "add") {
            let text = String::from_utf8_lossy(&out).into_owned();
            if let Some(rest) = text.split(" with ID ").nth(1) {
                self.added += 1;
                let id = rest.split(' ').next().unwrap_or_default().to_owned();
                self.name(&format!("N{}", self.added), id);
            }
        }
        // A listing has an order only where one is asked for; lists of members go by their numbers.
        let has = |name: &str| words.iter().any(|word| word == name);
        let is_sorted = !(has("ls") && !has("--sort") || has("member") || has("cluster-health"));
        let [out, err] = [&out, &err].map(|bytes| plain(bytes, &self.names, is_sorted));
        format!("{status}\n{out}{}{err}", if err.is_empty() { "" } else { "--- stderr\n" })
    }
}
