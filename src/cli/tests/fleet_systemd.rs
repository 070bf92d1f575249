//! A fleet whose machine runs its units by systemd: the same commands as with processes, against a systemd that is played and
//! against the real one where it can be had.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]
#![allow(clippy::disallowed_types, reason = "tests of processes talk to the machine itself")]

mod support;
#[path = "../../systemd/tests/support/mod.rs"]
mod systemds;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use support::{Cluster, SEATRIAL, eventually, expect_success};
use systemds::fake::FakeSystemd;
use systemds::real::RealSystemd;

const STAYS: &str = "[Unit]\nDescription=Stays\n[Service]\nExecStart=/bin/sleep 1000\n";
const FAILS: &str = "[Service]\nExecStart=/bin/false\n";

/// Systemd takes the type, and not without a name on the bus.
const WRONG: &str = "[Service]\nType=dbus\nExecStart=/bin/sleep 1000\n";

/// A store, and one machine with a systemd.
struct Fleet {
    cluster: Cluster,
    dir: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
    flags: Vec<String>,
    machine: Option<Child>,
}

impl Fleet {
    fn new(environment: Vec<(&'static str, String)>, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let (cluster, dir) = (Cluster::start(1, &[]), tempfile::tempdir().unwrap());
        Self { cluster, dir, environment, flags, machine: None }
    }

    fn on_fake(fake: &FakeSystemd) -> Self {
        // No journalctl is in this path.
        let environment =
            vec![("FLEET_BUS_ADDRESS", fake.address()), ("PATH", fake.dir().display().to_string())];
        let mut fleet = Self::new(environment, &["--unit-manager", "systemd"]);
        fleet.start();
        fleet
    }

    fn on_real(real: &RealSystemd) -> Self {
        let bin = real.journalctl().parent().unwrap().display().to_string();
        let environment = vec![("XDG_RUNTIME_DIR", real.runtime_dir().display().to_string()), ("PATH", bin)];
        let mut fleet = Self::new(environment, &["--unit-manager", "systemd", "--systemd-user"]);
        fleet.start();
        fleet
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn units(&self) -> PathBuf {
        self.dir.path().join("units")
    }

    fn fleetd(&self, flags: &[&str]) -> Command {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let mut command = Command::new(SEATRIAL);
        command
            .args(["fleetd", "--etcd-servers", &format!("http://{}", self.cluster.endpoint(1))])
            .args(["--machine-id", &"1".repeat(32), "--public-ip", "10.0.0.1", "--data-dir"])
            .arg(self.data())
            .args(["--listen", "127.0.0.1:0", "--engine-reconcile-interval", "0.4", "--agent-ttl", "5s"])
            .arg("--units-directory")
            .arg(self.units())
            .args(flags)
            .env_remove("DBUS_SESSION_BUS_ADDRESS")
            .env_remove("DBUS_SYSTEM_BUS_ADDRESS")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    fn start(&mut self) {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        self.machine = Some(self.fleetd(&flags).spawn().unwrap());
        let socket = self.data().join("fleet.sock");
        eventually("fleetd is heard", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
        eventually("the machine is there", || said(&self.try_ctl(&["list-machines"])).contains("10.0.0.1"));
    }

    fn kill(&mut self) {
        let mut child = self.machine.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ends the machine as an operator does who takes it away.
    fn leave(&mut self) {
        let mut child = self.machine.take().unwrap();
        let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::USR2).unwrap();
        assert!(child.wait().unwrap().success());
    }

    fn try_ctl(&self, args: &[&str]) -> Output {
        Command::new(SEATRIAL)
            .arg("fleetctl")
            .args(args)
            .env("FLEETCTL_ENDPOINT", format!("unix://{}", self.data().join("fleet.sock").display()))
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn ctl(&self, args: &[&str]) -> String {
        expect_success(&args.join(" "), &self.try_ctl(args))
    }

    fn file(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// `LOAD ACTIVE SUB` of a unit, as `list-units` shows them.
    fn shown(&self, unit: &str) -> String {
        let text = self.ctl(&["list-units", "--no-legend", "-l", "--fields", "unit,load,active,sub"]);
        let row = text.lines().find(|line| line.split_whitespace().next() == Some(unit));
        row.map_or_else(String::new, |row| row.split_whitespace().skip(1).collect::<Vec<_>>().join(" "))
    }

    fn until(&self, unit: &str, expected: &str) {
        eventually(&format!("{unit} is {expected}"), || self.shown(unit) == expected);
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("fleetd:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
        if let Some(mut child) = self.machine.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What an operator sees is the same, whichever systemd it is.
fn a_day_of_a_unit(fleet: &mut Fleet) {
    fleet.file("hello.service", STAYS);
    assert_eq!(
        fleet.ctl(&["start", "hello.service"]),
        "Unit hello.service inactive\nUnit hello.service launched on 11111111.../10.0.0.1\n"
    );
    fleet.until("hello.service", "loaded active running");
    assert_eq!(
        fleet.ctl(&["list-units"]),
        "UNIT\t\tMACHINE\t\t\tACTIVE\tSUB\nhello.service\t11111111.../10.0.0.1\tactive\trunning\n"
    );
    let status = fleet.ctl(&["status", "hello.service"]);
    assert!(status.contains("Stays") && status.contains("active (running)"), "{status}");
    let pid = |fleet: &Fleet| {
        let status = fleet.ctl(&["status", "hello.service"]);
        status.lines().find_map(|line| line.trim().strip_prefix("Main PID: ").map(str::to_owned)).unwrap()
    };
    let before = pid(fleet);

    // A fleetd that dies and comes back finds what runs.
    fleet.kill();
    fleet.start();
    fleet.until("hello.service", "loaded active running");
    assert_eq!(pid(fleet), before);

    fleet.ctl(&["stop", "hello.service"]);
    fleet.until("hello.service", "loaded inactive dead");
    fleet.file("fails.service", FAILS);
    fleet.ctl(&["start", "fails.service"]);
    fleet.until("fails.service", "loaded failed failed");
    fleet.file("web@.service", STAYS);
    fleet.ctl(&["start", "web@1", "web@2"]);
    fleet.until("web@1.service", "loaded active running");
    fleet.until("web@2.service", "loaded active running");

    // A file that systemd refuses: fleetctl has said what it thinks of it, and systemd's own words are in the status.
    fleet.file("wrong.service", WRONG);
    let start = said(&fleet.try_ctl(&["start", "--no-block", "wrong.service"]));
    assert!(start.contains("there is no D-Bus here"), "{start}");
    eventually("it is there", || fleet.shown("wrong.service") == "bad-setting inactive dead");
    let status = said(&fleet.try_ctl(&["status", "wrong.service"]));
    assert!(status.contains("Unit wrong.service has a bad unit file setting."), "{status}");
    eventually("fleetd has said so", || fleet.log().contains("has a bad unit file setting"));

    let names = ["hello", "fails", "web@1", "web@2", "wrong"];
    fleet.ctl(&[&["destroy"], names.as_slice()].concat());
    eventually("nothing is left", || {
        fleet.ctl(&["list-units", "--no-legend"]).is_empty()
            && fs::read_dir(fleet.units()).unwrap().all(|entry| entry.unwrap().file_name() == ".fleetd")
    });
}

#[test]
fn a_day_of_a_unit_by_a_played_systemd() {
    let fake = FakeSystemd::start();
    let mut fleet = Fleet::on_fake(&fake);
    a_day_of_a_unit(&mut fleet);
    assert_eq!(fake.starts("hello.service"), 1);
    assert!(fake.links().is_empty(), "{:?}", fake.links());
}

#[test]
fn a_day_of_a_unit_by_the_real_systemd() {
    let Some(real) = RealSystemd::shared() else { return };
    a_day_of_a_unit(&mut Fleet::on_real(real));
}

#[test]
fn the_journal_of_a_unit_is_read_and_followed_through_fleetctl() {
    let Some(real) = RealSystemd::shared() else { return };
    let fleet = Fleet::on_real(real);
    fleet.file("says.service", "[Service]\nExecStart=/bin/sh -c 'while echo word; do sleep 0.1; done'\n");
    fleet.ctl(&["start", "says.service"]);
    eventually("it is in the journal", || {
        let lines = fleet.ctl(&["journal", "--lines", "3", "says.service"]);
        lines.lines().filter(|line| line.ends_with(": word")).count() == 3
    });
    assert!(fleet.ctl(&["status", "says.service"]).contains(": word"));
    let mut follows = Command::new(SEATRIAL)
        .args(["fleetctl", "journal", "-f", "says.service"])
        .env("FLEETCTL_ENDPOINT", format!("unix://{}", fleet.data().join("fleet.sock").display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = std::io::BufReader::new(follows.stdout.take().unwrap());
    let words =
        std::io::BufRead::lines(out).take(20).filter(|line| line.as_ref().unwrap().ends_with(": word"));
    assert!(words.count() > 10);
    follows.kill().unwrap();
    follows.wait().unwrap();
    fleet.ctl(&["destroy", "says.service"]);
}

#[test]
fn where_there_is_no_journalctl_it_is_said() {
    let fake = FakeSystemd::start();
    let fleet = Fleet::on_fake(&fake);
    fleet.file("hello.service", STAYS);
    fleet.ctl(&["start", "hello.service"]);
    let journal = fleet.try_ctl(&["journal", "hello.service"]);
    assert!(!journal.status.success());
    let text = said(&journal);
    assert!(
        text.contains("the journal cannot be read") && text.contains("`journalctl` must be on"),
        "{text}"
    );
    // The rest of a status is told all the same.
    let status = fleet.ctl(&["status", "hello.service"]);
    assert!(status.contains("active (running)") && status.contains("the journal cannot be read"), "{status}");
}

#[test]
fn nine_and_twenty_units_run_on_while_fleetd_and_the_bus_come_and_go() {
    let mut fake = FakeSystemd::start();
    let mut fleet = Fleet::on_fake(&fake);
    fleet.file("many@.service", STAYS);
    let names: Vec<String> = (1..=29).map(|at| format!("many@{at}.service")).collect();
    let words: Vec<&str> = names.iter().map(String::as_str).collect();
    fleet.ctl(&[&["start"], words.as_slice()].concat());
    let running = |fleet: &Fleet| {
        let text = fleet.ctl(&["list-units", "--no-legend", "--fields", "unit,sub"]);
        text.lines().filter(|line| line.ends_with("running")).count()
    };
    eventually("all run", || running(&fleet) == 29);
    for round in 0..4 {
        match round % 2 {
            0 => {
                fleet.kill();
                fleet.start();
            }
            _ => {
                fake.go_away();
                std::thread::sleep(std::time::Duration::from_secs(2));
                fake.listen();
            }
        }
        eventually("all run", || running(&fleet) == 29);
    }
    // An order that is given after all that is carried out.
    fleet.ctl(&["destroy", "many@29.service"]);
    eventually("one is gone", || running(&fleet) == 28);
    assert!(names.iter().all(|name| fake.starts(name) == 1));
}

#[test]
fn a_machine_that_leaves_stops_its_units_and_only_then_may_another_manager_have_them() {
    let fake = FakeSystemd::start();
    let mut fleet = Fleet::on_fake(&fake);
    fleet.file("hello.service", STAYS);
    fleet.ctl(&["start", "hello.service"]);
    fleet.until("hello.service", "loaded active running");
    fleet.kill();
    let refused = fleet.fleetd(&["--unit-manager", "process"]).stderr(Stdio::piped()).output().unwrap();
    let text = said(&refused);
    assert!(!refused.status.success() && text.contains("1 units of this machine run by systemd"), "{text}");
    assert!(text.contains("--unit-manager systemd --stop-units"), "{text}");
    assert!(fleet.fleetd(&["--unit-manager", "systemd", "--stop-units"]).status().unwrap().success());
    fleet.start();
    fleet.until("hello.service", "loaded active running");
    fleet.leave();
    assert_eq!(seatrial_systemd::started_in(&fleet.units()), 0);
    fleet.flags = vec!["--unit-manager".into(), "process".into()];
    fleet.start();
    eventually("it runs as a process", || {
        let (starts, shown) = (fake.starts("hello.service"), fleet.shown("hello.service"));
        shown == "loaded active running" && starts == 2
    });
    fleet.leave();
}

#[test]
fn without_a_systemd_it_is_said_what_was_tried_and_auto_runs_processes() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = format!("unix:path={}", dir.path().join("bus").display());
    let mut fleet = Fleet::new(vec![("XDG_RUNTIME_DIR", dir.path().display().to_string())], &[]);
    let refused = fleet.fleetd(&["--unit-manager", "systemd", "--bus-address", &nowhere]);
    let text = said(&{ refused }.stderr(Stdio::piped()).output().unwrap());
    assert!(text.contains(&nowhere) && text.contains("hint: see that systemd runs here"), "{text}");
    let mut nobody = fleet.fleetd(&["--unit-manager", "systemd", "--systemd-user"]);
    let refused = nobody.env_remove("XDG_RUNTIME_DIR").stderr(Stdio::piped()).output().unwrap();
    let text = said(&refused);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text.contains("XDG_RUNTIME_DIR is not set") && text.contains("hint: "), "{text}");
    // Signs of one, and nobody who answers.
    fs::create_dir(dir.path().join("systemd")).unwrap();
    fleet.flags = ["--unit-manager", "auto", "--systemd-user"].map(str::to_owned).into();
    fleet.start();
    assert!(fleet.log().contains("units run as processes"), "{}", fleet.log());
    fleet.file("hello.service", STAYS);
    fleet.ctl(&["start", "hello.service"]);
    fleet.until("hello.service", "loaded active running");
    fleet.leave();
}

#[test]
fn auto_takes_the_systemd_that_is_there() {
    let Some(real) = RealSystemd::shared() else { return };
    let mut fleet = Fleet::on_real(real);
    fleet.kill();
    fleet.flags = ["--unit-manager", "auto", "--systemd-user"].map(str::to_owned).into();
    fleet.start();
    fleet.file("auto.service", STAYS);
    fleet.ctl(&["start", "auto.service"]);
    fleet.until("auto.service", "loaded active running");
    assert_eq!(real.systemctl(&["is-active", "auto.service"]), "active\n");
    fleet.leave();
    assert_eq!(real.systemctl(&["is-active", "auto.service"]), "inactive\n");
}
