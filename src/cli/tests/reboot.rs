//! The reboot lock on real processes: locksmith's transcript, airlock's, and machines whose agents reboot one after the other
//! while agents and members of the store are killed.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]
#![allow(clippy::disallowed_types, reason = "tests of processes talk to the machine itself")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::{Cluster, SEATRIAL, eventually};

const SECOND: Duration = Duration::from_secs(1);

fn urls(cluster: &Cluster) -> String {
    cluster.endpoints().split(',').map(|place| format!("http://{place}")).collect::<Vec<_>>().join(",")
}

fn locksmithctl(cluster: &Cluster, args: &[&str]) -> Output {
    let mut command = Command::new(SEATRIAL);
    command.arg("locksmithctl").args(args).env("LOCKSMITHCTL_ENDPOINT", urls(cluster));
    command.stdin(Stdio::null()).output().unwrap()
}

/// Exit code, standard output and standard error.
fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// A request over HTTP/1.1: its status and its body.
fn http(place: &str, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(place).unwrap();
    stream.set_read_timeout(Some(20 * SECOND)).unwrap();
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(!head.to_lowercase().contains("chunked"), "{head}");
    (status, body.to_owned())
}

const PROTOCOL: &str = "fleet-lock-protocol: true\r\n";

fn fleetlock(cluster: &Cluster, member: u16, path: &str, id: &str, group: &str) -> (u16, String) {
    let body = format!(r#"{{"client_params":{{"id":"{id}","group":"{group}"}}}}"#);
    http(&cluster.endpoint(member), "POST", path, PROTOCOL, &body)
}

const GET: &str = "/v1/pre-reboot";
const GIVE_BACK: &str = "/v1/steady-state";

/// Arguments; exit code, standard output and standard error.
type Step<'a> = (&'a [&'a str], (i32, &'a str, &'a str));

#[test]
fn locksmiths_transcript_reads_the_same_to_the_byte() {
    let cluster = Cluster::start(3, &[]);
    let none = String::new;
    let steps: &[Step<'_>] = &[
        (&["status"], (0, "Available: 1\nMax: 1\n", "")),
        (&["lock", "m1"], (0, "", "")),
        (&["status"], (0, "Available: 0\nMax: 1\n\nMACHINE ID\nm1\n", "")),
        (&["lock", "m1"], (1, "", "Error locking: semaphore is at 0\n")),
        (&["lock", "m2"], (1, "", "Error locking: semaphore is at 0\n")),
        (&["set-max", "3"], (0, "Old-Max: 1\nMax: 3\n", "")),
        (&["lock", "m1"], (1, "", "Error locking: holder exists\n")),
        (&["lock", "m3"], (0, "", "")),
        (&["lock", "m2"], (0, "", "")),
        (&["status"], (0, "Available: 0\nMax: 3\n\nMACHINE ID\nm1\nm2\nm3\n", "")),
        (&["set-max", "1"], (0, "Old-Max: 3\nMax: 1\n", "")),
        (&["status"], (0, "Available: -2\nMax: 1\n\nMACHINE ID\nm1\nm2\nm3\n", "")),
        (&["lock", "m4"], (1, "", "Error locking: semaphore is at -2\n")),
        (&["unlock", "nobody"], (1, "", "Error unlocking: holder does not exist\n")),
        (&["unlock", "m1"], (0, "", "")),
        (&["unlock", "m2"], (0, "", "")),
        (&["unlock", "m3"], (0, "", "")),
        (&["status"], (0, "Available: 1\nMax: 1\n", "")),
        (&["set-max", "0"], (0, "Old-Max: 1\nMax: 0\n", "")),
        (&["lock", "m1"], (1, "", "Error locking: semaphore is at 0\n")),
        (&["set-max", "1"], (0, "Old-Max: 0\nMax: 1\n", "")),
        (&["set-max", "many"], (1, "", "Invalid maximum value: many\n")),
        (&["set-max"], (1, "", "New maximum value must be set.\n")),
        (&["-group", "lb one", "lock", "m1"], (0, "", "")),
        (&["--group=a/b", "status"], (0, "Available: 1\nMax: 1\n", "")),
        (&["status"], (0, "Available: 1\nMax: 1\n", "")),
        (
            &["bogus"],
            (2, "locksmithctl: unknown subcommand: \"bogus\"\nRun 'locksmithctl help' for usage.\n", ""),
        ),
    ];
    for (args, (code, out, err)) in steps {
        let want = (*code, (*out).to_owned(), (*err).to_owned());
        assert_eq!(said(&locksmithctl(&cluster, args)), want, "{args:?}");
    }
    // The values are locksmith's own, at its own keys.
    let value = |key: &str| {
        let path = format!("/v2/keys/coreos.com/updateengine/rebootlock/{key}?quorum=true");
        let (status, body) = http(&cluster.endpoint(2), "GET", &path, "", "");
        assert_eq!(status, 200, "{key}: {body}");
        let read: serde_json::Value = serde_json::from_str(&body).unwrap();
        read["node"]["value"].as_str().unwrap().to_owned()
    };
    assert_eq!(value("semaphore"), r#"{"semaphore":1,"max":1,"holders":[]}"#);
    assert_eq!(value("groups/lb+one/semaphore"), r#"{"semaphore":0,"max":1,"holders":["m1"]}"#);
    assert_eq!(value("groups/a%252Fb/semaphore"), r#"{"semaphore":1,"max":1,"holders":null}"#);
    // Called under its name, it is that program.
    let link = cluster.dir.path().join("locksmithctl");
    std::os::unix::fs::symlink(SEATRIAL, &link).unwrap();
    let output = Command::new(&link).args(["-endpoint", &urls(&cluster), "status"]).output().unwrap();
    assert_eq!(said(&output), (0, "Available: 1\nMax: 1\n".to_owned(), none()));
    // Nobody there: one sentence, and no panic.
    let output = Command::new(&link).args(["-endpoint", "http://127.0.0.1:1", "status"]).output().unwrap();
    let (code, out, err) = said(&output);
    assert_eq!((code, out), (1, none()));
    assert!(err.starts_with("Error initializing etcd client: the store did not answer: "), "{err}");
}

#[test]
fn an_operator_pauses_resumes_decides_and_frees() {
    let cluster = Cluster::start(3, &[]);
    let run = |args: &[&str]| said(&locksmithctl(&cluster, args));
    assert_eq!(run(&["lock", "-queue", "m1"]), (0, String::new(), String::new()));
    assert_eq!(run(&["lock", "-queue", "m1"]).0, 0, "again is no error");
    let (code, _, err) = run(&["lock", "-queue", "m2"]);
    assert_eq!(code, 1);
    assert!(
        err.starts_with(
            "m2 may not reboot now (failed_lock): all 1 semaphore slots currently locked\nhint: "
        ),
        "{err}"
    );
    let (_, plan, _) = run(&["plan"]);
    assert!(plan.lines().any(|line| line.starts_with("now    m1 ")), "{plan}");
    assert!(
        plan.lines().any(|line| line.starts_with("1      m2 ") && line.contains("no slot is free")),
        "{plan}"
    );
    let told = "Reboots of group default are paused: a storm.\n1 already hold a slot and go on.\n";
    assert_eq!(run(&["pause", "a", "storm"]), (0, told.to_owned(), String::new()));
    assert_eq!(run(&["unlock", "m1"]).0, 0);
    assert!(
        run(&["lock", "-queue", "m2"])
            .2
            .contains("(rollout_paused): reboots of this group are paused: a storm")
    );
    assert_eq!(run(&["resume"]).1, "Reboots of group default go on.\n");
    assert!(run(&["lock", "-queue", "m3"]).2.contains("(waiting_turn)"), "m2 asked first");
    assert_eq!(run(&["lock", "-queue", "m2"]).0, 0);
    let text = "Return-Within: 1800s\nPatience: 900s\nTTL: 1s\nFailures-Max: no limit\n";
    assert_eq!(run(&["policy", "-ttl", "1s"]), (0, text.to_owned(), String::new()));
    let (_, long, _) = run(&["status", "-long"]);
    assert!(long.contains("MACHINE ID") && long.contains("m2") && long.contains("held"), "{long}");
    std::thread::sleep(2100 * SECOND / 1000);
    assert_eq!(
        run(&["sweep"]),
        (0, "m2: freed: the group's time to live is over\n".to_owned(), String::new())
    );
    assert_eq!(run(&["policy", "-ttl", "0"]).0, 0);
    assert_eq!(run(&["lock", "-queue", "m3"]).0, 0);
    assert_eq!(run(&["sweep"]).1, "", "time alone frees nothing");
    assert_eq!(run(&["sweep", "-removed", "m3"]).1, "m3: freed: the machine was removed\n");
    assert_eq!(run(&["status"]).1, "Available: 1\nMax: 1\n");
}

#[test]
fn fleetlock_answers_as_airlock_does() {
    // None of the machines that ask hosts a member of the store.
    let placed = ["--reboot-lock-members", "m1=host1,m2=host2,m3=host3"];
    let flags = ["--reboot-lock", "--reboot-lock-groups", "default,db", placed[0], placed[1]];
    let cluster = Cluster::start(3, &flags);
    let ask = |member, path, id, group| fleetlock(&cluster, member, path, id, group);
    let error = |kind: &str, value: &str| format!("{}\n", serde_json::json!({"kind": kind, "value": value}));
    let ok = || (200, String::new());
    let full = |slots| (500, error("failed_lock", &format!("all {slots} semaphore slots currently locked")));
    // Given back by one who holds nothing.
    assert_eq!(ask(1, GIVE_BACK, "a", "default"), ok());
    assert_eq!(ask(1, GET, "a", "default"), ok());
    assert_eq!(ask(2, GET, "a", "default"), ok(), "again, at another member");
    assert_eq!(ask(3, GET, "b", "default"), full(1));
    // Locksmith's program sees the same, and what it changes counts.
    assert_eq!(said(&locksmithctl(&cluster, &["status"])).1, "Available: 0\nMax: 1\n\nMACHINE ID\na\n");
    assert_eq!(ask(1, GET, "x", "db"), ok(), "another group");
    assert_eq!(ask(1, GIVE_BACK, "x", "db"), ok());
    assert_eq!(said(&locksmithctl(&cluster, &["unlock", "a"])).0, 0);
    assert_eq!(ask(1, GET, "b", "default"), ok());
    assert_eq!(ask(1, GET, "a", "default"), full(1));
    assert_eq!(ask(1, GIVE_BACK, "b", "default"), ok());
    assert_eq!(ask(1, GIVE_BACK, "b", "default"), ok());
    let (status, body) = ask(1, GET, "b", "default");
    assert_eq!(status, 500);
    assert!(body.contains(r#""kind":"waiting_turn""#), "{body}");
    assert_eq!(ask(1, "/some/base/v1/pre-reboot", "a", "default"), ok(), "whatever stands before");
    // What is no request.
    let place = cluster.endpoint(1);
    let body = r#"{"client_params":{"id":"a","group":"default"}}"#;
    let identity = |why: &str| {
        (400, error("invalid_client_identity", &format!("failed to validate client identity: {why}")))
    };
    assert_eq!(http(&place, "POST", GET, "", body), identity("wrong 'fleet-lock-protocol' header"));
    let wrong = "fleet-lock-protocol: yes\r\n";
    assert_eq!(http(&place, "POST", GET, wrong, body), identity("wrong 'fleet-lock-protocol' header"));
    assert_eq!(ask(1, GET, "", "default"), identity("empty client ID"));
    assert_eq!(ask(1, GET, "a", ""), identity("empty client group"));
    assert_eq!(ask(1, GET, "a", "web").0, 400);
    assert!(ask(1, GET, "a", "web").1.contains(r#""kind":"unknown_group""#));
    assert_eq!(ask(1, GET, "a", "a b").0, 400);
    assert_eq!(http(&place, "POST", GET, PROTOCOL, "{").0, 400);
    assert_eq!(http(&place, "GET", GET, PROTOCOL, "").0, 405);
    let huge = "x".repeat(100_000);
    assert_eq!(http(&place, "POST", GET, PROTOCOL, &huge).0, 413);
    // A key of the v2 API with such a name is a key.
    assert_eq!(http(&place, "GET", "/v2/keys/v1/pre-reboot", "", "").0, 404);
    // Counted under airlock's names.
    let (_, metrics) = http(&place, "GET", "/metrics", "", "");
    for line in [
        "airlock_database_semaphore_slots{group=\"default\"} 1",
        "airlock_database_semaphore_lock_holders{group=\"default\"} 1",
        "airlock_database_semaphore_lock_holders{group=\"db\"} 0",
        "seatrial_reboot_refused_total{kind=\"failed_lock\"} 1",
        "seatrial_reboot_refused_total{kind=\"waiting_turn\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is missing in {metrics}");
    }
    assert!(metrics.contains("\nairlock_v1_steady_state_incoming_requests_total 4\n"), "{metrics}");
}

#[test]
fn without_the_flag_nobody_serves_fleetlock() {
    let cluster = Cluster::start(1, &[]);
    assert_eq!(fleetlock(&cluster, 1, GET, "a", "default").0, 404);
    assert!(!http(&cluster.endpoint(1), "GET", "/metrics", "", "").1.contains("airlock"));
}

#[test]
fn no_reboot_is_granted_that_costs_the_store_its_majority() {
    let flags = ["--reboot-lock", "--reboot-lock-members", "m1=host1,m2=host2,m3=host3"];
    let cluster = Cluster::start(3, &flags);
    assert_eq!(said(&locksmithctl(&cluster, &["set-max", "5"])).0, 0);
    let ask = |member, path, id, group| fleetlock(&cluster, member, path, id, group);
    assert_eq!(ask(1, GET, "host1", "default").0, 200, "one of three may go");
    let (status, body) = ask(1, GET, "host2", "db");
    assert_eq!(status, 500, "not a second one, in any group: {body}");
    let told = r#"{"kind":"quorum_guard","value":"the store would keep 1 healthy voters of 3, and needs 2"}"#;
    assert_eq!(body.trim(), told);
    assert_eq!(ask(1, GET, "other", "default").0, 200, "who hosts no member may go");
    assert_eq!(ask(1, GIVE_BACK, "host1", "default").0, 200);
    assert_eq!(ask(1, GET, "host2", "db").0, 200);
    assert_eq!(ask(1, GIVE_BACK, "host2", "db").0, 200);
    // A member that is down counts as one that is away.
    let leader = cluster.leader();
    let alive: Vec<u16> = (1..=3).filter(|member| *member != leader).collect();
    cluster.kill_9(leader);
    let host = format!("host{}", alive[0]);
    eventually("the others have a leader", || ask(alive[0], GIVE_BACK, "nobody", "default").0 == 200);
    let (status, body) = ask(alive[0], GET, &host, "default");
    assert_eq!((status, body.trim()), (500, told));
    let dead = format!("host{leader}");
    assert_eq!(ask(alive[1], GET, &dead, "default").0, 200, "where it is down anyway, its machine may go");
    assert_eq!(ask(alive[1], GIVE_BACK, &dead, "default").0, 200);
    let _again = Ending(cluster.restart(leader));
    eventually("all are healthy", || ask(alive[0], GET, &host, "default").0 == 200);
}

#[test]
fn a_member_that_says_where_it_runs_lets_all_other_machines_go() {
    let cluster = Cluster::start(1, &["--reboot-lock", "--reboot-lock-machine-id", "host1"]);
    let ask = |path, id| fleetlock(&cluster, 1, path, id, "default");
    eventually("it stands in the store", || ask(GET, "other").0 == 200);
    assert_eq!(ask(GIVE_BACK, "other").0, 200);
    let (status, body) = ask(GET, "host1");
    let told = r#"{"kind":"quorum_guard","value":"the store would keep 0 healthy voters of 1, and needs 1"}"#;
    assert_eq!((status, body.trim()), (500, told));
    // Who asks over the v2 API reads the same.
    let run = |args: &[&str]| said(&locksmithctl(&cluster, args));
    let (code, _, err) = run(&["lock", "-queue", "host1"]);
    assert_eq!(code, 1);
    assert!(err.contains("(quorum_guard)") && err.contains("\nhint: fewer than three voters"), "{err}");
    assert_eq!(run(&["lock", "-queue", "other"]), (0, String::new(), String::new()));
    assert_eq!(run(&["unlock", "other"]).0, 0);
    assert_eq!(run(&["lock", "-queue", "-quorum-guard=false", "host1"]).0, 0, "where an operator insists");
    assert_eq!(run(&["unlock", "host1"]).0, 0);
    // Locksmith's own verb knows of no guard.
    assert_eq!(run(&["lock", "host1"]).0, 0);
}

/// A process that ends with the test, however that ends.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A machine that reboots when its agent says so.
struct Machine<'a> {
    cluster: &'a Cluster,
    id: &'static str,
    folder: PathBuf,
    agent: Child,
    boots: u32,
}

impl<'a> Machine<'a> {
    fn start(cluster: &'a Cluster, id: &'static str) -> Self {
        let folder = cluster.dir.path().join(id);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("boot"), format!("{id}-boot-1\n")).unwrap();
        fs::write(folder.join("required"), "").unwrap();
        let agent = Self::agent(cluster, id, &folder);
        Self { cluster, id, folder, agent, boots: 1 }
    }

    fn agent(cluster: &Cluster, id: &str, folder: &std::path::Path) -> Child {
        let story = cluster.dir.path().join("story");
        let file = |name: &str| folder.join(name).display().to_string();
        let story = story.display();
        let drain = format!(
            "if [ -e {hang} ]; then rm {hang}; echo granted $SEATRIAL_MACHINE_ID >> {story}; sleep 3; fi",
            hang = file("hang")
        );
        let log = fs::OpenOptions::new().create(true).append(true).open(file("log")).unwrap();
        Command::new(SEATRIAL)
            .args(["reboot-agent", "--endpoint", &urls(cluster), "--machine-id", id])
            .args(["--boot-id-file", &file("boot"), "--sentinel", &file("required")])
            .args(["--state-dir", &file("run"), "--users-command", "true"])
            .args(["--lock-pause", "200ms", "--release-pause", "200ms", "--pause-max", "500ms"])
            .args(["--drain-command", &drain])
            .args(["--reboot-command", &format!("echo begins $SEATRIAL_MACHINE_ID >> {story}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn kill_9(&mut self) {
        self.agent.kill().unwrap();
        self.agent.wait().unwrap();
    }

    fn restart_agent(&mut self) {
        self.agent = Self::agent(self.cluster, self.id, &self.folder);
    }

    /// It goes down, and comes up in another boot.
    fn reboot(&mut self) {
        self.kill_9();
        self.boots += 1;
        fs::write(self.folder.join("boot"), format!("{}-boot-{}\n", self.id, self.boots)).unwrap();
        fs::remove_file(self.folder.join("required")).unwrap();
        self.restart_agent();
    }

    fn conf(&self) -> String {
        fs::read_to_string(self.folder.join("run/coordinator.conf")).unwrap_or_default()
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.id, fs::read_to_string(self.folder.join("log")).unwrap_or_default());
        }
    }
}

/// What the machines' commands wrote down, in order.
fn story(cluster: &Cluster) -> Vec<String> {
    let text = fs::read_to_string(cluster.dir.path().join("story")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits for the next line behind those that are known.
fn next_line(cluster: &Cluster, known: usize) -> String {
    let begun = Instant::now();
    loop {
        if let Some(line) = story(cluster).get(known) {
            return line.clone();
        }
        assert!(begun.elapsed() < 40 * SECOND, "nothing happens after {:?}", story(cluster));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn machines_reboot_one_after_the_other_while_agents_and_the_stores_leader_are_killed() {
    let cluster = Cluster::start(3, &[]);
    let mut machines: Vec<Machine<'_>> =
        ["alpha", "beta", "gamma"].iter().map(|id| Machine::start(&cluster, id)).collect();
    fs::write(machines[0].folder.join("hang"), "").unwrap();
    fs::write(machines[1].folder.join("hang"), "").unwrap();
    fs::write(machines[2].folder.join("hang"), "").unwrap();
    let holders = || {
        let (_, text, _) = said(&locksmithctl(&cluster, &["status"]));
        text.lines().skip_while(|line| *line != "MACHINE ID").skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let (mut known, mut rebooted, mut restarted) = (0, Vec::new(), None);
    while rebooted.len() < 3 {
        let line = next_line(&cluster, known);
        known += 1;
        let (what, id) = line.split_once(' ').unwrap();
        let machine = machines.iter_mut().find(|machine| machine.id == id).unwrap();
        if what == "granted" {
            // Between the grant and the reboot: in the same boot again, it gives back what it held and asks anew.
            assert_eq!(holders(), [id]);
            machine.kill_9();
            assert_eq!(holders(), [id], "a dead agent's slot is nobody else's");
            machine.restart_agent();
            continue;
        }
        assert_eq!(holders(), [id], "who reboots holds the slot, and nobody else does");
        assert!(!rebooted.contains(&line), "twice: {line}");
        rebooted.push(line.clone());
        if restarted.is_none() {
            // While it is down, the store loses its leader.
            let leader = cluster.leader();
            cluster.kill_9(leader);
            std::thread::sleep(SECOND);
            machine.reboot();
            // With a member down, no machine may go: any of them may host one of the others.
            let begun = Instant::now();
            while begun.elapsed() < 5 * SECOND {
                let begins = story(&cluster).iter().filter(|line| line.starts_with("begins")).count();
                assert_eq!(begins, 1, "the guard let one go: {:?}", story(&cluster));
                std::thread::sleep(Duration::from_millis(50));
            }
            restarted = Some(Ending(cluster.restart(leader)));
        } else {
            // Nobody else begins while it is down.
            std::thread::sleep(SECOND);
            assert_eq!(story(&cluster).len(), known, "{:?}", story(&cluster));
            machine.reboot();
        }
    }
    eventually("all slots are given back", || holders().is_empty());
    for machine in &machines {
        let want = "NAME=seatrial\nSTRATEGY=etcd-lock\nSTATE=running\n";
        eventually("the agent rests", || machine.conf() == want);
    }
    assert_eq!(story(&cluster).iter().filter(|line| line.starts_with("begins")).count(), 3);
}

#[test]
fn an_agent_without_a_command_reboots_nothing_and_gives_its_slot_back() {
    let cluster = Cluster::start(1, &[]);
    let folder = cluster.dir.path().join("m");
    fs::create_dir_all(&folder).unwrap();
    let (run, log) = (folder.join("run"), folder.join("log"));
    let agent = Command::new(SEATRIAL)
        .args(["reboot-agent", "--endpoint", &urls(&cluster), "--machine-id", "m", "--users-command", "true"])
        .args(["--quorum-guard=false", "--sentinel", "/nonexistent", "--state-dir"])
        .arg(&run)
        .stdin(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let state = |want: &str| {
        let text = fs::read_to_string(run.join("coordinator.conf")).unwrap_or_default();
        text.ends_with(&format!("STATE={want}\n"))
    };
    let agent = Ending(agent);
    eventually("it runs", || state("running"));
    let dir = run.display().to_string();
    assert_eq!(said(&locksmithctl(&cluster, &["send-need-reboot", "-state-dir", &dir])).0, 0);
    eventually("it says what it would do", || {
        fs::read_to_string(&log).unwrap().contains("would reboot now, and does not")
    });
    eventually("it gives its slot back", || {
        said(&locksmithctl(&cluster, &["status"])).1 == "Available: 1\nMax: 1\n"
    });
    eventually("it rests", || state("running"));
    drop(agent);
    let (code, _, err) = said(&locksmithctl(&cluster, &["send-need-reboot", "-state-dir", "/nonexistent"]));
    assert_eq!(code, 1);
    assert!(err.starts_with("error emitting signal: /nonexistent: "), "{err}");
}
