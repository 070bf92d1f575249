//! A fleet of real processes: a store of one member, machines as `fleetd`, units as what they start, and `fleetctl`.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]
#![allow(clippy::disallowed_types, reason = "tests of processes talk to the machine itself")]

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::{Cluster, SEATRIAL, demo_units, eventually, expect_success, free_port, free_row};

const TTL: Duration = Duration::from_secs(3);

/// Says who it is and stays. The name of its instance goes into its log.
const STAYS: &str =
    "[Unit]\nDescription=Stays\n[Service]\nExecStart=/bin/sh -c 'echo here is %n; exec sleep 1000'\n";

struct Fleet {
    cluster: Cluster,
    dir: tempfile::TempDir,
    machines: Vec<Option<Child>>,
}

fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

fn kill(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

impl Fleet {
    fn start(machines: usize) -> Self {
        let cluster = Cluster::start(1, &[]);
        let mut fleet = Self { cluster, dir: tempfile::tempdir().unwrap(), machines: Vec::new() };
        for at in 0..machines {
            fleet.machines.push(None);
            fleet.start_machine(at);
        }
        eventually("all machines are there", || {
            fleet.ctl(&["list-machines", "--no-legend"]).lines().count() == machines
        });
        fleet
    }

    fn id(at: usize) -> String {
        format!("{}", at + 1).repeat(32)
    }

    fn data(&self, at: usize) -> PathBuf {
        self.dir.path().join(format!("m{at}"))
    }

    fn start_machine(&mut self, at: usize) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.path().join(format!("m{at}.log")))
            .unwrap();
        let child = Command::new(SEATRIAL)
            .args(["fleetd", "--etcd-servers", &format!("http://{}", self.cluster.endpoint(1))])
            .args(["--machine-id", &Self::id(at), "--public-ip", &format!("10.0.0.{}", at + 1), "--data-dir"])
            .arg(self.data(at))
            .args(["--listen", "127.0.0.1:0", "--engine-reconcile-interval", "0.4"])
            .args(["--agent-ttl", &format!("{}s", TTL.as_secs())])
            .args(["--metadata", &format!("at={at}")])
            // Units of the demo find the program and the store there.
            .env("PATH", format!("{}:/usr/bin:/bin", Path::new(SEATRIAL).parent().unwrap().display()))
            .env("ETCDCTL_ENDPOINTS", self.cluster.endpoint(1))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.machines[at] = Some(child);
        let socket = self.data(at).join("fleet.sock");
        eventually("fleetd is heard", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    }

    fn signal(&mut self, at: usize, signal: Signal) {
        let mut child = self.machines[at].take().unwrap();
        kill(child.id() as i32, signal);
        child.wait().unwrap();
    }

    /// `fleetctl`, asking one machine.
    fn at(&self, at: usize, args: &[&str]) -> Output {
        let socket = format!("unix://{}", self.data(at).join("fleet.sock").display());
        Command::new(SEATRIAL)
            .arg("fleetctl")
            .args(args)
            .env("FLEETCTL_ENDPOINT", socket)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The first machine that runs is asked, and must answer well.
    fn ctl(&self, args: &[&str]) -> String {
        let at = self.machines.iter().position(Option::is_some).unwrap();
        expect_success(&args.join(" "), &self.at(at, args))
    }

    fn file(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// Units by name: where they are, and whether they are active.
    fn units(&self) -> Vec<(String, String, String)> {
        let text = self.ctl(&["list-units", "--no-legend", "-l", "--fields", "unit,machine,active"]);
        let rows = text.lines().map(|line| {
            let cells: Vec<&str> = line.split('\t').filter(|cell| !cell.is_empty()).collect();
            (cells[0].to_owned(), cells[1].split('/').next().unwrap().to_owned(), cells[2].to_owned())
        });
        rows.collect()
    }

    fn pid(&self, unit: &str) -> i32 {
        let text = self.ctl(&["status", unit]);
        let line = text.lines().find_map(|line| line.trim().strip_prefix("Main PID: ")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("no process of {unit}:\n{text}")).parse().unwrap()
    }

    fn pids(&self, units: &[String]) -> Vec<i32> {
        units.iter().map(|unit| self.pid(unit)).collect()
    }

    /// Three units on three machines, of a template.
    fn three(&self) -> (Vec<String>, Vec<i32>) {
        self.file("web@.service", STAYS);
        let units: Vec<String> = (1..=3).map(|at| format!("web@{at}.service")).collect();
        let names: Vec<&str> = units.iter().map(String::as_str).collect();
        self.ctl(&[&["start"], names.as_slice()].concat());
        let pids = self.pids(&units);
        (units, pids)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for at in 0..self.machines.len() {
            if self.machines[at].is_some() {
                self.signal(at, Signal::USR2);
            }
        }
        if std::thread::panicking() {
            for at in 0..self.machines.len() {
                let log = fs::read_to_string(self.dir.path().join(format!("m{at}.log"))).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("machine {at}:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
            }
        }
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_service_is_launched_seen_from_everywhere_stopped_and_forgotten() {
    let fleet = Fleet::start(3);
    fleet.file("hello.service", STAYS);
    let launched = fleet.ctl(&["start", "hello.service"]);
    assert_eq!(
        launched,
        "Unit hello.service inactive\nUnit hello.service launched on 11111111.../10.0.0.1\n"
    );
    let pid = fleet.pid("hello.service");
    assert!(lives(pid));
    assert_eq!(
        fleet.ctl(&["list-units"]),
        "UNIT\t\tMACHINE\t\t\tACTIVE\tSUB\nhello.service\t11111111.../10.0.0.1\tactive\trunning\n"
    );
    let files = fleet.ctl(&["list-unit-files", "--fields", "unit,dstate,state,target,desc"]);
    assert_eq!(
        files.lines().last().unwrap(),
        "hello.service\tlaunched\tlaunched\t11111111.../10.0.0.1\tStays"
    );
    // Its log lies on the first machine and is read through any other.
    for at in 0..3 {
        let log = expect_success("journal", &fleet.at(at, &["journal", "hello"]));
        assert_eq!(log, "here is hello.service\n", "through machine {at}");
    }
    // What the fleet knows is not overwritten by the way.
    fleet.file("hello.service", &STAYS.replace("Stays", "Changed"));
    let again = fleet.at(0, &["start", "hello.service"]);
    assert!(said(&again).contains("WARNING: Unit hello.service in registry differs from local unit file"));
    assert_eq!(fleet.pid("hello.service"), pid);
    fleet.ctl(&["start", "--replace", "hello.service"]);
    let replaced = fleet.pid("hello.service");
    assert_ne!(replaced, pid);
    assert!(fleet.ctl(&["cat", "hello.service"]).contains("Description=Changed"));

    let stopped = fleet.at(1, &["stop", "hello.service"]);
    assert_eq!(
        said(&stopped),
        "Unit hello.service loaded on 11111111.../10.0.0.1\nSuccessfully stopped units [hello.service].\n"
    );
    eventually("its process is gone", || !lives(replaced));
    fleet.ctl(&["start", "hello.service"]);
    let second = fleet.pid("hello.service");
    fleet.ctl(&["restart", "hello.service"]);
    let third = fleet.pid("hello.service");
    assert!(!lives(second) && lives(third));
    assert_eq!(fleet.ctl(&["destroy", "hello.service"]), "Destroyed hello.service\n");
    eventually("its process is gone", || !lives(third));
    eventually("nothing is left", || fleet.units().is_empty());
    let gone = fleet.at(2, &["destroy", "hello.service"]);
    assert_eq!((gone.status.code(), said(&gone).as_str()), (Some(0), "Units not found in registry\n"));
}

#[test]
fn units_that_want_machines_of_their_own_fill_them_and_the_next_one_says_why_it_waits() {
    let fleet = Fleet::start(3);
    fleet.file("own@.service", &format!("{STAYS}[X-Fleet]\nConflicts=own@*.service\n"));
    fleet.ctl(&["start", "own@1", "own@2", "own@3"]);
    let mut machines: Vec<String> = fleet.units().into_iter().map(|(_, machine, _)| machine).collect();
    machines.sort();
    assert_eq!(machines, [Fleet::id(0), Fleet::id(1), Fleet::id(2)]);
    let fourth = fleet.at(0, &["start", "--block-attempts", "4", "own@4"]);
    assert_eq!(fourth.status.code(), Some(1));
    let text = said(&fourth);
    assert!(text.contains("Unit own@4.service waits: conflict with own@"), "{text}");
    assert!(text.contains("(3 of 3 machines)") && text.contains("timed out waiting"), "{text}");
    let files = fleet.ctl(&["list-unit-files", "--fields", "unit,dstate,state,target"]);
    assert!(files.lines().any(|line| line == "own@4.service\tlaunched\tinactive\t-"), "{files}");
    // As soon as there is room it comes.
    fleet.ctl(&["destroy", "own@2"]);
    eventually("the fourth runs", || {
        fleet.units().iter().any(|(unit, _, active)| unit == "own@4.service" && active == "active")
    });
}

#[test]
fn units_of_a_machine_that_dies_are_up_elsewhere_in_time() {
    let mut fleet = Fleet::start(3);
    let (units, pids) = fleet.three();
    let lost: Vec<(String, i32)> = fleet
        .units()
        .into_iter()
        .filter(|(_, machine, _)| *machine == Fleet::id(0))
        .map(|(unit, _, _)| {
            let pid = pids[units.iter().position(|other| *other == unit).unwrap()];
            (unit, pid)
        })
        .collect();
    assert!(!lost.is_empty());
    fleet.signal(0, Signal::KILL);
    for (_, pid) in &lost {
        kill(*pid, Signal::KILL);
    }
    let begun = Instant::now();
    let is_elsewhere = || {
        let now = fleet.units();
        lost.iter().all(|(unit, _)| {
            now.iter()
                .any(|(name, machine, active)| name == unit && *machine != Fleet::id(0) && active == "active")
        })
    };
    while !is_elsewhere() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", fleet.units());
        std::thread::sleep(Duration::from_millis(20));
    }
    let took = begun.elapsed();
    println!("{} units of a machine that died are up elsewhere after {took:?}", lost.len());
    assert!(took < TTL + Duration::from_secs(2), "{took:?}");
    for (unit, pid) in &lost {
        assert_ne!(fleet.pid(unit), *pid);
    }
}

#[test]
fn a_restart_of_fleetd_restarts_no_unit() {
    let mut fleet = Fleet::start(3);
    let (units, pids) = fleet.three();
    for signal in [Signal::TERM, Signal::KILL] {
        for at in 0..3 {
            fleet.signal(at, signal);
            fleet.start_machine(at);
        }
        // Long enough for a machine to be missed and for a pass of every agent.
        std::thread::sleep(TTL + Duration::from_secs(3));
        assert_eq!(fleet.pids(&units), pids, "after {signal:?}");
    }
    // An agent that comes back knows them for its own: what was destroyed meanwhile goes.
    let (unit, pid) = (&units[0], pids[0]);
    let machine = fleet.units().into_iter().find(|(name, _, _)| name == unit).unwrap().1;
    let at = (0..3).find(|at| Fleet::id(*at) == machine).unwrap();
    fleet.signal(at, Signal::TERM);
    fleet.ctl(&["destroy", unit]);
    std::thread::sleep(Duration::from_secs(1));
    assert!(lives(pid), "nobody was there to stop it");
    fleet.start_machine(at);
    eventually("its process is gone", || !lives(pid));
    assert_eq!(fleet.pids(&units[1..]), pids[1..]);
}

#[test]
fn an_outage_of_the_store_longer_than_the_lease_restarts_no_unit() {
    let fleet = Fleet::start(3);
    let (units, pids) = fleet.three();
    fleet.cluster.down();
    std::thread::sleep(TTL + Duration::from_secs(1));
    let away = fleet.at(0, &["list-units"]);
    assert_eq!(away.status.code(), Some(1));
    assert!(said(&away).contains("fleet server unable to communicate with etcd"), "{}", said(&away));
    std::thread::sleep(Duration::from_secs(1));
    fleet.cluster.up();
    eventually("all machines are back", || {
        let output = fleet.at(0, &["list-machines", "--no-legend"]);
        output.status.success() && said(&output).lines().count() == 3
    });
    std::thread::sleep(TTL + Duration::from_secs(1));
    assert_eq!(fleet.pids(&units), pids);
}

#[test]
fn a_wrong_unit_file_is_one_clear_message() {
    let dir = tempfile::tempdir().unwrap();
    for (text, parts) in [
        ("[Service]\nExecStart=/bin/true\nRestart=sometimes\n", &["Restart", "sometimes"][..]),
        ("[Service]\nExecStart=/bin/true\n[X-Fleet]\nMachineMetadata=a=b=c\n", &["MachineMetadata", "a=b=c"]),
        ("[Service]\nExecStart\n", &["line 2", "\"ExecStart\""]),
        ("[Unit]\nDescription=Nothing to run\n", &["bad.service"]),
    ] {
        fs::write(dir.path().join("bad.service"), text).unwrap();
        // Nobody is asked: what is wrong is seen here.
        let output = Command::new(SEATRIAL)
            .args(["fleetctl", "--endpoint", "http://127.0.0.1:1", "start"])
            .arg(dir.path().join("bad.service"))
            .output()
            .unwrap();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert_eq!(text.matches("Error").count(), 1, "{text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{parts:?} in {text}");
        assert!(text.contains("hint: "), "{text}");
    }
}

#[test]
fn what_is_not_there_is_refused_in_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    // Called under the client's own name, the program is that client.
    let client = dir.path().join("fleetctl");
    std::os::unix::fs::symlink(SEATRIAL, &client).unwrap();
    let run = |args: &[&str]| {
        let output = Command::new(&client).args(args).output().unwrap();
        (output.status.code().unwrap(), said(&output))
    };
    assert_eq!(
        run(&["version"]),
        (0, format!("fleetctl version 1.0.0 (seatrial {})\n", env!("CARGO_PKG_VERSION")))
    );
    for args in [
        &["ssh", "m1", "ls", "-l"][..],
        &["fd-forward", "/x"],
        &["--tunnel", "host", "list-units"],
        &["start", "--sign", "a.service"],
        &["--endpoint", "http://127.0.0.1:1", "list-units"],
        &["--endpoint", "https://127.0.0.1:1", "list-units"],
    ] {
        let (code, text) = run(args);
        assert_eq!(code, 1, "{args:?}: {text}");
        assert!(text.starts_with("Error: ") && text.contains("\nhint: "), "{args:?}: {text}");
    }
    let fleetd = |args: &[&str]| {
        let data = dir.path().join("data");
        let output =
            Command::new(SEATRIAL).arg("fleetd").args(args).arg("--data-dir").arg(data).output().unwrap();
        (output.status.code().unwrap(), said(&output))
    };
    for args in [&["--systemd-user"][..], &["--metadata", "region"], &["--etcd-servers", "ftp://x"]] {
        let (code, text) = fleetd(args);
        assert_eq!(code, 2, "{args:?}: {text}");
        assert!(text.starts_with("seatrial: --") && text.contains("hint: "), "{args:?}: {text}");
    }
}

#[test]
fn the_units_of_the_demo_run_where_they_should() {
    let fleet = Fleet::start(3);
    let port = free_row(4);
    demo_units(fleet.dir.path(), port);
    let names = ["web@1.service", "web@2.service", "web-announce@1.service", "watch.service"];
    let started = fleet.ctl(&[&["start"], names.as_slice()].concat());
    assert!(started.contains("Triggered global unit watch.service start\n"), "{started}");
    let of = |unit: &str| -> Vec<String> {
        let mut machines: Vec<String> = fleet
            .units()
            .into_iter()
            .filter(|(name, _, active)| name == unit && active == "active")
            .map(|(_, machine, _)| machine)
            .collect();
        machines.sort();
        machines
    };
    eventually("the global one is everywhere", || {
        of("watch.service") == [Fleet::id(0), Fleet::id(1), Fleet::id(2)]
    });
    eventually("web servers and sidekick are up", || {
        ["web@1.service", "web@2.service", "web-announce@1.service"].iter().all(|unit| !of(unit).is_empty())
    });
    assert_ne!(of("web@1.service"), of("web@2.service"));
    assert_eq!(of("web-announce@1.service"), of("web@1.service"));
    let read = move || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port + 2))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    eventually("it serves", || read().is_ok_and(|answer| answer.ends_with("\r\n\r\nweb 2 served page 1\n")));
    eventually("it says what it does", || fleet.ctl(&["journal", "web@2"]).contains("web 2 served page 1\n"));
    eventually("it is announced", || {
        let ls = fleet
            .cluster
            .etcdctl(support::OURS, &["get", "/services/web/1"])
            .env("ETCDCTL_API", "2")
            .output();
        let said = ls.unwrap().stdout;
        said == format!("127.0.0.1:{}\n", port + 1).as_bytes()
    });
    // Of a global unit the machine can be chosen.
    let third = fleet.ctl(&["status", "--machine", &Fleet::id(2), "watch"]);
    assert!(third.contains("  Machine: 33333333.../10.0.0.3\n"), "{third}");
    let files = fleet.ctl(&["list-unit-files", "--no-legend", "--fields", "unit,target"]);
    assert!(files.contains("watch.service\t\tglobal\n"), "{files}");
    // It is followed as it goes on.
    let socket = format!("unix://{}", fleet.data(0).join("fleet.sock").display());
    let mut follow = Command::new(SEATRIAL)
        .args(["fleetctl", "--endpoint", &socket, "journal", "-f", "web@2"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let readers = std::thread::spawn(move || {
        for _ in 0..20 {
            read().unwrap();
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let lines = std::io::BufRead::lines(std::io::BufReader::new(follow.stdout.take().unwrap()));
    let pages = lines.map_while(Result::ok).filter(|line| line.contains("served page"));
    let last = pages.take(4).last().unwrap();
    readers.join().unwrap();
    follow.kill().unwrap();
    follow.wait().unwrap();
    assert!(last.starts_with("web 2 served page "), "{last}");
}

#[test]
fn a_reader_that_stops_reading_a_log_costs_fleetd_little_and_is_told_what_he_missed() {
    use std::io::{Read, Write};
    let fleet = Fleet::start(1);
    let fleetd = fleet.machines[0].as_ref().unwrap().id();
    let resident = || {
        let text = fs::read_to_string(format!("/proc/{fleetd}/statm")).unwrap();
        text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let write = "for i in $(seq 10); do yes 0123456789012345678901234567890123456789012345678 | head -c 10000000; done";
    fleet.file(
        "loud.service",
        &format!("[Service]\nExecStart=/bin/sh -c 'echo begins; sleep 2; {write}; sleep 1; echo ends; exec sleep 1000'\n"),
    );
    fleet.ctl(&["start", "loud.service"]);
    let mut reader = std::os::unix::net::UnixStream::connect(fleet.data(0).join("fleet.sock")).unwrap();
    reader.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    reader.write_all(b"GET /fleet/v1/logs/loud.service?follow=1 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    // It reads that the unit begins, and then nothing.
    let mut bytes = vec![0; 4096];
    let mut text = String::new();
    while !text.contains("begins") {
        let count = reader.read(&mut bytes).unwrap();
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    let (before, mut most) = (resident(), 0);
    eventually("the unit has written all", || {
        most = most.max(resident().saturating_sub(before));
        fleet.ctl(&["journal", "-n", "1", "loud"]).ends_with("ends\n")
    });
    println!("{most} bytes more of memory for 100 MB");
    // What waits, the buffers of two connections, and what the allocator keeps.
    assert!(most < 64_000_000, "{most} bytes of memory");
    let mut seen = 0;
    while !text.contains("\nends\n") {
        let count = reader.read(&mut bytes).unwrap();
        assert!(count > 0, "it broke off");
        seen += count;
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    assert!(seen < 20_000_000, "{seen} bytes");
    // What he has and what he is told of come to what was written.
    let told = text.lines().filter_map(|line| line.strip_prefix("-- left out: ")?.split(' ').nth(2));
    let left_out: u64 = told.map(|bytes| bytes.parse::<u64>().unwrap()).sum();
    let read = text.lines().filter(|line| line.starts_with("0123")).count() as u64 * 50;
    assert!(left_out > 80_000_000, "{left_out}");
    assert!((99_000_000..100_100_000).contains(&(left_out + read)), "{left_out} left out, {read} read");
}

#[test]
fn a_hundred_units_are_launched_on_three_machines() {
    let fleet = Fleet::start(3);
    fleet.file("many@.service", STAYS);
    let units: Vec<String> = (0..100).map(|at| format!("many@{at}.service")).collect();
    let names: Vec<&str> = units.iter().map(String::as_str).collect();
    let begun = Instant::now();
    fleet.ctl(&[&["start", "--no-block"], names.as_slice()].concat());
    let ordered = begun.elapsed();
    eventually("all are launched", || {
        let text = fleet.ctl(&["list-unit-files", "--no-legend", "--fields", "state"]);
        text.lines().filter(|state| *state == "launched").count() == 100
    });
    println!("100 units on 3 machines: ordered after {ordered:?}, launched after {:?}", begun.elapsed());
    let now = fleet.units();
    for at in 0..3 {
        let here = now.iter().filter(|(_, machine, _)| *machine == Fleet::id(at)).count();
        assert!((33..=34).contains(&here), "{here} on machine {at}");
    }
    let begun = Instant::now();
    fleet.ctl(&[&["destroy"], names.as_slice()].concat());
    eventually("all are gone", || fleet.units().is_empty());
    println!("and gone after {:?}", begun.elapsed());
}

#[test]
fn machines_beside_a_local_cluster_come_and_go_with_it_and_so_do_their_units() {
    let dir = tempfile::tempdir().unwrap();
    let (port, fleet_port) = (free_port(1).to_string(), free_port(3));
    let run = |args: &[&str]| {
        let output = Command::new(SEATRIAL).args(args).arg("--dir").arg(dir.path()).output().unwrap();
        expect_success(&args.join(" "), &output)
    };
    let endpoint = format!("http://127.0.0.1:{fleet_port}");
    let up =
        ["up", "--members", "1", "--port", &port, "--machines", "2", "--fleet-port", &fleet_port.to_string()];
    let said = run(&up);
    assert!(said.contains(&format!("export FLEETCTL_ENDPOINT={endpoint}")), "{said}");
    assert_eq!(run(&["status"]).matches("  healthy\n").count(), 3);
    fs::write(dir.path().join("a.service"), STAYS).unwrap();
    let ctl = |args: &[&str]| {
        let mut command = Command::new(SEATRIAL);
        command.arg("fleetctl").args(args).env("FLEETCTL_ENDPOINT", &endpoint).current_dir(dir.path());
        expect_success(&args.join(" "), &command.output().unwrap())
    };
    let pid = |status: String| -> i32 {
        let line = status.lines().find_map(|line| line.trim().strip_prefix("Main PID: ")).map(str::to_owned);
        line.unwrap().parse().unwrap()
    };
    ctl(&["start", "a.service"]);
    let first = pid(ctl(&["status", "a.service"]));
    assert!(run(&["down"]).contains("2 of 2 machines stopped with their units"));
    assert!(!lives(first));
    // What was to run is in the store, and runs again.
    run(&up);
    // The first machine that is back may take the unit and hand it on to the one it was on; what counts is where it
    // stays.
    let mut seen = None;
    eventually("both machines are back, and it runs again and stays", || {
        std::thread::sleep(Duration::from_secs(1));
        let both = ctl(&["list-machines", "--no-legend"]).lines().count() == 2;
        let mut status = Command::new(SEATRIAL);
        status.args(["fleetctl", "status", "a.service"]).env("FLEETCTL_ENDPOINT", &endpoint);
        let output = status.output().unwrap();
        let now = output.status.success().then(|| pid(String::from_utf8(output.stdout).unwrap()));
        let stays = both && now.is_some() && now == seen;
        seen = now;
        stays
    });
    let second = seen.unwrap();
    // Units outlive a fleetd that was killed, and `down` finds them all the same.
    for fleetd in fleetds(dir.path()) {
        kill(fleetd, Signal::KILL);
        eventually("fleetd is gone", || !lives(fleetd));
    }
    assert!(lives(second));
    run(&["down"]);
    assert!(!lives(second));
}

fn fleetds(dir: &Path) -> Vec<i32> {
    let state: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(dir.join("cluster.json")).unwrap()).unwrap();
    let machines = state["machines"].as_array().unwrap();
    machines.iter().map(|machine| machine["pid"].as_i64().unwrap() as i32).collect()
}
