//! `seatrial up --machines 3` and `seatrial rolling-reboot`, with real processes: every machine goes down and comes back in
//! another boot, one at a time, and the demo's web service answers all the while.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use support::{SEATRIAL, demo_units, eventually, expect_success, free_port, free_row};

const SEMAPHORE: &str = "/v2/keys/coreos.com/updateengine/rebootlock/semaphore";

/// Answers of the service are looked for this often.
const TICK: Duration = Duration::from_millis(100);

/// The body of what is answered with 200; nothing where nobody answers so.
fn get(place: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&place.parse().unwrap(), Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // Of the version that knows no pieces.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {place}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    (head.split(' ').nth(1) == Some("200")).then(|| body.to_owned())
}

/// Three members and three machines in a folder.
struct Demo {
    dir: tempfile::TempDir,
    port: u16,
    fleet_port: u16,
    /// Of the web servers: the first serves one port higher.
    web_port: u16,
}

impl Demo {
    fn up() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let demo = Self { dir, port: free_port(3), fleet_port: free_row(3), web_port: free_row(4) };
        let (port, fleet_port) = (demo.port.to_string(), demo.fleet_port.to_string());
        demo.succeeds(&["up", "--machines", "3", "--port", &port, "--fleet-port", &fleet_port]);
        demo
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(SEATRIAL);
        command.args(args).arg("--dir").arg(self.dir.path()).stdin(Stdio::null()).output().unwrap()
    }

    fn succeeds(&self, args: &[&str]) -> String {
        expect_success(&args.join(" "), &self.run(args))
    }

    fn members(&self) -> Vec<String> {
        (0..3).map(|at| format!("127.0.0.1:{}", self.port + at * 100)).collect()
    }

    fn ctl(&self, args: &[&str]) -> String {
        let mut command = Command::new(SEATRIAL);
        let endpoint = format!("http://127.0.0.1:{}", self.fleet_port);
        command.arg("fleetctl").args(args).env("FLEETCTL_ENDPOINT", endpoint).current_dir(self.dir.path());
        expect_success(&args.join(" "), &command.output().unwrap())
    }

    fn locksmithctl(&self, args: &[&str]) -> String {
        let urls: Vec<String> = self.members().iter().map(|place| format!("http://{place}")).collect();
        let mut command = Command::new(SEATRIAL);
        command.arg("locksmithctl").args(args).env("LOCKSMITHCTL_ENDPOINT", urls.join(","));
        expect_success(&args.join(" "), &command.output().unwrap())
    }

    /// Starts these units, which are then up at so many places.
    fn start_units(&self, names: &[&str], count: usize) {
        self.ctl(&[&["start"], names].concat());
        eventually("all of it is up", || self.active().values().map(BTreeSet::len).sum::<usize>() == count);
    }

    /// Asks two web servers for their pages. A client that knows both addresses asks the second where the first does not
    /// answer, and the other way round.
    fn asks(&self) -> Watch<[bool; 2]> {
        let places = [1, 2].map(|at| format!("127.0.0.1:{}", self.web_port + at));
        Watch::start(move || [0, 1].map(|at: usize| get(&places[at], "/").is_some()))
    }

    /// On which machines units are up.
    fn active(&self) -> BTreeMap<String, BTreeSet<String>> {
        let text = self.ctl(&["list-units", "--no-legend", "-l", "--fields", "unit,machine,active"]);
        let mut active: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in text.lines().filter(|line| line.ends_with("\tactive")) {
            let cells: Vec<&str> = line.split('\t').filter(|cell| !cell.is_empty()).collect();
            let machine = cells[1].split('/').next().unwrap();
            active.entry(cells[0].to_owned()).or_default().insert(machine.to_owned());
        }
        active
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap().trim().to_owned()
    }

    /// The boot of each machine, by its id: as its own file says, and as the fleet does.
    fn boots(&self) -> BTreeMap<String, String> {
        let of = |at: u16| {
            let (id, boot) = (self.read(&format!("f{at}/machine-id")), self.read(&format!("f{at}/boot-id")));
            let key = format!("/_seatrial/fleet/spec/machine/{id}");
            let mut command = Command::new(SEATRIAL);
            command.args(["etcdctl", "--endpoints", &self.members().join(","), "get", "--print-value-only"]);
            let told = expect_success("get", &command.arg(key).output().unwrap());
            assert!(told.contains(&boot), "f{at} runs in boot {boot}, and the fleet knows {told}");
            (id, boot)
        };
        (1..=3).map(of).collect()
    }

    /// All process ids, by name.
    fn pids(&self) -> BTreeMap<String, i32> {
        let state: serde_json::Value = serde_json::from_str(&self.read("cluster.json")).unwrap();
        let lists = ["members", "machines", "agents", "reboots"];
        let all = lists.iter().flat_map(|list| state[list].as_array().unwrap());
        let pid = |process: &serde_json::Value| process["pid"].as_i64().unwrap() as i32;
        all.map(|process| (process["name"].as_str().unwrap().to_owned(), pid(process))).collect()
    }

    /// What any member says.
    fn ask(&self, path: &str) -> Option<String> {
        self.members().iter().find_map(|place| get(place, path))
    }

    /// Every value that the semaphore has had since this index, in order: its holders.
    fn holders_since(&self, index: u64) -> Vec<Vec<String>> {
        let read = |text: &str| -> (u64, Vec<String>) {
            let told: serde_json::Value = serde_json::from_str(text).unwrap();
            let node = &told["node"];
            let value: serde_json::Value = serde_json::from_str(node["value"].as_str().unwrap()).unwrap();
            let holders = value["holders"].as_array().cloned().unwrap_or_default();
            let holders = holders.iter().map(|holder| holder.as_str().unwrap().to_owned()).collect();
            (node["modifiedIndex"].as_u64().unwrap(), holders)
        };
        let (last, _) = read(&self.ask(&format!("{SEMAPHORE}?quorum=true")).unwrap());
        let (mut at, mut all) = (index, Vec::new());
        while at < last {
            let path = format!("{SEMAPHORE}?wait=true&waitIndex={}", at + 1);
            let (index, holders) = read(&self.ask(&path).expect("the store remembers this change"));
            (at, all) = (index, [all, vec![holders]].concat());
        }
        all
    }

    fn index(&self) -> u64 {
        // Looked at, it is there.
        self.locksmithctl(&["status"]);
        let told: serde_json::Value = serde_json::from_str(&self.ask(SEMAPHORE).unwrap()).unwrap();
        told["node"]["modifiedIndex"].as_u64().unwrap()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.run(&["down"]);
        if std::thread::panicking() {
            for name in ["f1-agent", "f2-agent", "f3-agent", "f1", "f2", "f3"] {
                let log = fs::read_to_string(self.file(&format!("{name}.log"))).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("--- {name}\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
            }
        }
    }
}

/// Something that is looked at ten times a second until it is asked what it has seen.
struct Watch<T> {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(Duration, T)>>,
}

impl<T: Send + 'static> Watch<T> {
    fn start(look: impl Fn() -> T + Send + 'static) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let told = ends.clone();
        let thread = std::thread::spawn(move || {
            let (begun, mut seen) = (Instant::now(), Vec::new());
            while !told.load(Ordering::Relaxed) {
                let at = begun.elapsed();
                seen.push((at, look()));
                std::thread::sleep(TICK.saturating_sub(begun.elapsed() - at));
            }
            seen
        });
        Self { ends, thread }
    }

    fn end(self) -> Vec<(Duration, T)> {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Which members take no connections.
fn members_down(demo: &Demo) -> impl Fn() -> BTreeSet<usize> + Send + 'static {
    let places = demo.members();
    move || {
        let down = |at: &usize| TcpStream::connect(&places[*at]).is_err();
        (0..places.len()).filter(down).collect()
    }
}

/// One at a time, each machine once: by the lock's own changes, and by who was seen to be down.
fn assert_in_turn(demo: &Demo, since: u64, down: &[(Duration, BTreeSet<usize>)]) {
    let history = demo.holders_since(since);
    assert!(history.iter().all(|holders| holders.len() <= 1), "two held the lock: {history:?}");
    let holders: Vec<&String> = history.iter().flatten().collect();
    let ids: BTreeSet<String> = (1..=3).map(|at| demo.read(&format!("f{at}/machine-id"))).collect();
    assert_eq!(holders.iter().copied().cloned().collect::<BTreeSet<_>>(), ids);
    assert_eq!(holders.len(), 3, "somebody went twice: {history:?}");
    let together: Vec<_> = down.iter().filter(|(_, down)| down.len() > 1).collect();
    assert!(together.is_empty(), "two members were down together: {together:?}");
    let ever: BTreeSet<usize> = down.iter().flat_map(|(_, down)| down.iter().copied()).collect();
    assert_eq!(ever.len(), 3, "each member was seen to be down: {ever:?}");
}

fn assert_answered(answers: &[(Duration, [bool; 2])]) {
    let silent: Vec<_> = answers.iter().filter(|(_, web)| !web.contains(&true)).collect();
    let [first, second] = [0, 1].map(|at: usize| answers.iter().filter(|(_, web)| web[at]).count());
    let (looks, took) = (answers.len(), answers.last().unwrap().0);
    println!("{looks} looks in {took:?}: web@1 answered {first}, web@2 {second}, none {}", silent.len());
    assert!(silent.is_empty(), "nobody answered: {silent:?}");
    assert!(looks > 50, "{looks} looks in {took:?}");
}

#[test]
fn all_machines_reboot_one_after_the_other_and_the_service_answers_all_the_while() {
    let demo = Demo::up();
    let units = ["web@1.service", "web@2.service", "web-announce@1.service", "watch.service"];
    demo_units(demo.dir.path(), demo.web_port);
    demo.start_units(&units, 6);
    let (boots, pids, since) = (demo.boots(), demo.pids(), demo.index());
    let answers = demo.asks();
    let down = Watch::start(members_down(&demo));

    let said = demo.succeeds(&["rolling-reboot"]);

    let (answers, down) = (answers.end(), down.end());
    for at in 1..=3 {
        assert!(said.contains(&format!("f{at}  is back and has given the slot back")), "{said}");
    }
    assert!(said.contains("  holds the slot: its units go elsewhere\n"), "{said}");
    assert!(said.contains("\n3 machines rebooted, after "), "{said}");
    let count = |at: usize| answers.iter().filter(|(_, web)| web[at]).count();
    assert_answered(&answers);
    assert!((0..2).any(|at| count(at) < answers.len()), "their machines went down, and they never moved");
    assert_in_turn(&demo, since, &down);

    let now = demo.boots();
    assert_eq!(
        now.keys().collect::<Vec<_>>(),
        boots.keys().collect::<Vec<_>>(),
        "machines stay who they are"
    );
    assert!(boots.iter().all(|(id, boot)| now[id] != *boot), "{boots:?} and then {now:?}");
    let again = demo.pids();
    assert_eq!(again.keys().collect::<Vec<_>>(), pids.keys().collect::<Vec<_>>());
    assert!(pids.iter().all(|(name, pid)| again[name] != *pid), "everything was started anew: {again:?}");
    // Where they should be.
    let active = demo.active();
    let of = |unit: &str| active[&format!("{unit}.service")].clone();
    assert_eq!(of("watch").len(), 3);
    assert!(of("web@1").len() == 1 && of("web@2").len() == 1 && of("web@1") != of("web@2"), "{active:?}");
    assert_eq!(of("web-announce@1"), of("web@1"));
    let told = format!("\"value\":\"127.0.0.1:{}\"", demo.web_port + 1);
    eventually("the sidekick says where it is", || {
        demo.ask("/v2/keys/services/web/1").is_some_and(|body| body.contains(&told))
    });
    let status = demo.succeeds(&["status"]);
    assert_eq!(status.matches("  healthy\n").count(), 6, "{status}");
    assert_eq!(status.matches("-agent  pid ").count(), 3, "{status}");
    assert!(status.ends_with("\nthe reboot lock is free\n"), "{status}");
}

#[test]
fn with_more_slots_and_no_room_one_machine_goes_at_a_time_and_only_when_the_last_ones_units_are_up() {
    let demo = Demo::up();
    // One on each machine, so that none can go elsewhere, and slow to come back.
    demo_units(demo.dir.path(), demo.web_port);
    let file = demo.file("web@.service");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("Type=notify\n", "Type=notify\nExecStartPre=/bin/sleep 4\n")).unwrap();
    demo.start_units(&["web@1.service", "web@2.service", "web@3.service"], 3);
    assert_eq!(demo.locksmithctl(&["set-max", "3"]), "Old-Max: 1\nMax: 3\n");
    let since = demo.index();
    let (answers, down) = (demo.asks(), Watch::start(members_down(&demo)));
    demo.succeeds(&["rolling-reboot"]);
    let (answers, down) = (answers.end(), down.end());
    assert_answered(&answers);
    assert_in_turn(&demo, since, &down);
    assert_eq!(demo.active().len(), 3);
    assert_eq!(demo.locksmithctl(&["status"]), "Available: 3\nMax: 3\n");
}

/// Processes of this folder, but for those that are about to be fetched.
fn left(dir: &Path) -> Vec<String> {
    let folder = dir.display().to_string();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(&folder)).collect()
}

#[test]
fn a_reboot_that_is_not_granted_says_so_and_one_that_is_under_way_is_ended_by_down() {
    let demo = Demo::up();
    let boots = demo.boots();
    let wrong = demo.run(&["rolling-reboot", "f9"]);
    let text = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!(text, "seatrial: there is no machine f9\nhint: there are f1, f2, f3\n");
    // With a member down none of the others' machines may go.
    let member = demo.pids()["m2"];
    kill_process(Pid::from_raw(member).unwrap(), Signal::KILL).unwrap();
    eventually("the others have a leader", || demo.ask("/health").is_some());
    let refused = demo.run(&["rolling-reboot", "f1", "--patience-seconds", "4"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(
        text.starts_with("seatrial: not rebooted after 4 s: f1; the reboot lock is free\nhint: "),
        "{text}"
    );
    assert!(demo.locksmithctl(&["plan"]).contains("quorum"), "{}", demo.locksmithctl(&["plan"]));
    let status = demo.run(&["status"]);
    assert_eq!(status.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&status.stdout).contains("f1-agent  pid "));
    assert_eq!(demo.boots(), boots);
    // Its own machine may, and comes back with it.
    demo.succeeds(&["rolling-reboot", "f2", "--no-wait"]);
    eventually("it is in another boot, and its agent is not back yet", || {
        demo.read("f2/boot-id") != boots[&demo.read("f2/machine-id")]
    });
    demo.succeeds(&["down"]);
    assert_eq!(left(demo.dir.path()), Vec::<String>::new());
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(left(demo.dir.path()), Vec::<String>::new(), "something was started again");
}
