//! What clients of the original fleet rely on, without them: their requests over HTTP, their keys, their command lines.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]
#![allow(clippy::disallowed_types, reason = "tests of processes talk to the machine itself")]

mod support;

use seatrial_fleet::unit::UnitFile;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use support::{Cluster, SEATRIAL, eventually, expect_success, free_port};

const ID: &str = "11111111111111111111111111111111";
/// With a line that goes on, as many of those times have.
const STAYS: &str =
    "[Unit]\nDescription=Stays\n\n[Service]\nExecStart=/bin/sh -c \\\n  'echo stays; exec sleep 1000'\n";
const V2: &str = "/v2/keys/_coreos.com/fleet";

/// A store of one member and a machine beside it.
struct Fleet {
    cluster: Cluster,
    dir: tempfile::TempDir,
    port: u16,
    machine: Child,
}

/// One request on a connection of its own.
fn http(address: &str, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}");
    write!(stream, "{head}Content-Length: {length}\r\n\r\n{body}").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

impl Fleet {
    fn start(flags: &[&str]) -> Self {
        let cluster = Cluster::start(1, &["--enable-v2"]);
        let dir = tempfile::tempdir().unwrap();
        let port = free_port(1);
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let machine = Command::new(SEATRIAL)
            .args(["fleetd", "--etcd-servers", &format!("http://{}", cluster.endpoint(1))])
            .args(["--machine-id", ID, "--public-ip", "10.0.0.1", "--engine-reconcile-interval", "0.4"])
            .args(["--listen", &format!("127.0.0.1:{port}"), "--data-dir"])
            .arg(dir.path().join("machine"))
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let fleet = Self { cluster, dir, port, machine };
        eventually("the machine is there", || {
            let output = fleet.run(&["list-machines", "--no-legend"]);
            output.status.success() && !output.stdout.is_empty()
        });
        fleet
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(SEATRIAL)
            .arg("fleetctl")
            .args(args)
            .env("FLEETCTL_ENDPOINT", format!("http://127.0.0.1:{}", self.port))
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn ctl(&self, args: &[&str]) -> String {
        expect_success(&args.join(" "), &self.run(args))
    }

    fn file(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// A request as the original's client sends it.
    fn ask(&self, method: &str, unit: &str, body: &Value) -> (u16, Value) {
        let headers = "User-Agent: google-api-go-client/0.5\r\nContent-Type: application/json\r\n";
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let path = format!("/fleet/v1/units/{unit}?alt=json");
        let (status, body) = http(&format!("127.0.0.1:{}", self.port), method, &path, headers, &body);
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    fn current(&self, unit: &str) -> String {
        let (_, body) = self.ask("GET", unit, &Value::Null);
        body["currentState"].as_str().unwrap_or_default().to_owned()
    }

    /// The line with a unit's process; `None` where it has none.
    fn pid(&self, unit: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.run(&["status", unit]).stdout).into_owned();
        text.lines().find(|line| line.contains("Main PID")).map(str::to_owned)
    }

    /// A v2 key; `None` where it is not there.
    fn v2(&self, key: &str) -> Option<String> {
        let (status, body) = http(&self.cluster.endpoint(1), "GET", &format!("{V2}/{key}"), "", "");
        let node: Value = serde_json::from_str(&body).unwrap_or_default();
        (status == 200).then(|| node["node"]["value"].as_str().unwrap_or_default().to_owned())
    }

    fn v2_set(&self, key: &str, value: &str) {
        let value: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let form = "Content-Type: application/x-www-form-urlencoded\r\n";
        let at = self.cluster.endpoint(1);
        let (status, body) = http(&at, "PUT", &format!("{V2}/{key}"), form, &format!("value={value}"));
        assert!(status == 200 || status == 201, "{key}: {status} {body}");
    }

    fn state(&self, unit: &str) -> String {
        let text = self.ctl(&["list-unit-files", "--no-legend", "--fields", "unit,dstate,state"]);
        let line = text.lines().find(|line| line.starts_with(unit)).unwrap_or_default();
        line.split('\t').skip(1).collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.machine);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::USR2);
        let _ = self.machine.wait();
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.dir.path().join("log")).unwrap_or_default());
        }
    }
}

#[test]
fn the_originals_client_starts_replaces_and_restarts_a_unit_and_waits_for_nothing_in_vain() {
    let fleet = Fleet::start(&[]);
    let options = |run: &str| json!([{ "section": "Service", "name": "ExecStart", "value": run }]);
    let create =
        |run: &str| fleet.ask("PUT", "a.service", &json!({ "name": "a.service", "options": options(run) })).0;
    let set =
        |state: &str| fleet.ask("PUT", "a.service", &json!({ "name": "a.service", "desiredState": state })).0;
    let pause = || std::thread::sleep(Duration::from_millis(250));
    assert_eq!((create("/bin/sleep 1000"), fleet.current("a.service").as_str()), (201, "inactive"));
    assert_eq!(set("launched"), 204);
    eventually("it is launched", || fleet.current("a.service") == "launched");

    // `restart`: lowers it, looks whether it is launched, and only then raises it again.
    let before = fleet.pid("a.service");
    assert_ne!(before, None);
    assert_eq!(set("loaded"), 204);
    pause();
    assert_eq!(fleet.current("a.service"), "launched");
    assert_eq!(set("launched"), 204);
    eventually("it is launched again", || fleet.current("a.service") == "launched");
    eventually("it is another process", || {
        fleet.pid("a.service").is_some_and(|now| Some(&now) != before.as_ref())
    });
    // `stop`: looks once more than it had to.
    assert_eq!(set("loaded"), 204);
    pause();
    fleet.current("a.service");
    assert_eq!(fleet.current("a.service"), "loaded");

    // `start --replace`: puts another file there, waits until the unit is inactive, and starts it.
    assert_eq!(set("launched"), 204);
    eventually("it is launched", || fleet.current("a.service") == "launched");
    assert_eq!(create("/bin/sleep 2000"), 201);
    eventually("it is inactive", || fleet.current("a.service") == "inactive");
    assert_eq!(set("launched"), 204);
    eventually("it is launched", || fleet.current("a.service") == "launched");
    assert!(fleet.ctl(&["cat", "a"]).contains("ExecStart=/bin/sleep 2000"));
}

#[test]
fn command_lines_of_the_originals_scripts_end_as_they_did() {
    let fleet = Fleet::start(&[]);
    fleet.file("a.service", STAYS);
    fleet.file("t@.service", &STAYS.replace("Stays", "Template"));
    fleet.ctl(&["submit", "t@.service"]);
    fleet.file("t@.service", STAYS);
    let steps: &[(&[&str], i32, &str, &str)] = &[
        (&["start"], 0, "", "No units given\n"),
        (&["stop"], 0, "", "No units given\n"),
        (&["destroy"], 0, "", "No units given\n"),
        (&["cat"], 1, "", "One unit file must be provided\n"),
        (&["journal"], 1, "", "One unit file must be provided.\n"),
        (&["cat", "a"], 1, "", "Unit a.service not found\n"),
        (&["status", "a.b"], 1, "", "Unit a.b.service does not exist.\n"),
        (
            &["restart", "b"],
            1,
            "",
            "Error creating units: unable to find Unit(b.service) in Registry or on filesystem\nhint: give the path of its file\n",
        ),
        (&["stop", "b"], 0, "", "Units not found in registry\n"),
        (&["unload", "b"], 0, "", "Units not found in registry\n"),
        (
            &["start", "b.service"],
            1,
            "",
            "Error creating units: unable to find Unit(b.service) in Registry or on filesystem\nhint: give the path of its file\n",
        ),
        (&["submit", "a"], 0, "Unit a.service inactive\n", ""),
        (
            &["status", "a"],
            1,
            "",
            "Unit a.service does not appear to be loaded.\nhint: `fleetctl plan` says why\n",
        ),
        (
            &["submit", "--replace", "a.service"],
            0,
            "Found same Unit(a.service) in Registry, nothing to do\n",
            "",
        ),
        (
            &["list-unit-files", "--fields=unit,tmachine", "--no-legend"],
            0,
            "a.service\t-\nt@.service\t-\n",
            "WARNING: The \"tmachine\" field is deprecated. Use \"target\" instead\n",
        ),
        (&["list-units", "--fields="], 1, "", "Must define output format\n"),
        (
            &["list-machines", "--l", "--no-legend", "--fields=machine"],
            0,
            concat!("11111111111111111111111111111111", "\n"),
            "",
        ),
        (&["list-m", "--no-legend", "--fields=ip"], 0, "10.0.0.1\n", ""),
        (
            &[
                "--debug=false",
                "--strict-host-key-checking=false",
                "--ssh-username=core",
                "list-units",
                "--no-legend",
            ],
            0,
            "",
            "",
        ),
        (
            &["--driver=bogus", "list-units"],
            1,
            "",
            "Unable to initialize client: unrecognized driver \"bogus\"\n",
        ),
        (&["load", "a"], 0, "Unit a.service loaded on 11111111.../10.0.0.1\n", ""),
        // What is loaded is started.
        (
            &["restart", "a"],
            0,
            "Unit a.service loaded on 11111111.../10.0.0.1\nUnit a.service launched on 11111111.../10.0.0.1\n",
            "",
        ),
        // All instances are what the fleet's template says.
        (
            &["start", "t@1"],
            0,
            "Unit t@1.service inactive\nUnit t@1.service launched on 11111111.../10.0.0.1\n",
            "WARNING: Unit t@.service in registry differs from local template unit file t@1. Add --replace to override.\n",
        ),
        (
            &["destroy", "b", "t@1", "t@"],
            0,
            "Destroyed t@1.service\nDestroyed t@.service\n",
            "Unit b.service not found.\n",
        ),
        (&["destroy", "a"], 0, "Destroyed a.service\n", ""),
        (&["destroy", "a"], 0, "", "Units not found in registry\n"),
    ];
    for (args, code, out, err) in steps {
        let output = fleet.run(args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(
            (output.status.code(), text(&output.stdout).as_str(), text(&output.stderr).as_str()),
            (Some(*code), *out, *err),
            "{args:?}"
        );
    }
}

#[test]
fn who_reads_and_writes_the_originals_keys_sees_the_fleet_and_is_obeyed() {
    let fleet = Fleet::start(&["--v2-registry"]);
    eventually("the view is whole", || fleet.v2("engine/version").as_deref() == Some("1"));
    assert!(fleet.v2(&format!("machines/{ID}/object")).unwrap().contains("\"PublicIP\":\"10.0.0.1\""));
    assert!(fleet.v2("lease/engine-leader").unwrap().contains(ID));

    // As the original's `--driver=etcd` does: the file, the job, what it is to be.
    let hash = UnitFile::parse(STAYS).unwrap().hash();
    fleet.v2_set(&format!("unit/{hash}"), &json!({ "Raw": STAYS }).to_string());
    fleet.v2_set("job/a.service/object", &json!({ "Name": "a.service", "UnitHash": hash.0 }).to_string());
    fleet.v2_set("job/a.service/target-state", "inactive");
    eventually("the unit is taken over", || fleet.state("a.service") == "inactive inactive");
    fleet.v2_set("job/a.service/target-state", "launched");
    eventually("it is launched", || fleet.v2("job/a.service/job-state").as_deref() == Some(ID));
    assert_eq!(fleet.state("a.service"), "launched launched");
    assert_eq!(fleet.v2("job/a.service/target").as_deref(), Some(ID));
    eventually("its state is shown", || {
        fleet
            .v2(&format!("states/a.service/{ID}"))
            .is_some_and(|state| state.contains("\"activeState\":\"active\""))
    });
    fleet.v2_set("job/a.service/target-state", "loaded");
    eventually("it is stopped", || fleet.state("a.service") == "loaded loaded");
    eventually("and that is shown", || fleet.v2("job/a.service/job-state").is_none());

    // What is ordered of us is seen there.
    fleet.file("b.service", STAYS);
    fleet.ctl(&["start", "b"]);
    eventually("it is shown", || fleet.v2("job/b.service/job-state").as_deref() == Some(ID));
    fleet.ctl(&["destroy", "b"]);
    eventually("it is gone", || fleet.v2("job/b.service").is_none());
    assert_eq!(fleet.state("b.service"), "");
    eventually("its states too", || fleet.v2("states/b.service").is_none());

    let (status, _) =
        http(&fleet.cluster.endpoint(1), "DELETE", &format!("{V2}/job/a.service?recursive=true"), "", "");
    assert_eq!(status, 200);
    eventually("it is destroyed", || fleet.state("a.service").is_empty());
    std::thread::sleep(Duration::from_secs(2));
    assert!(fleet.v2("job/a.service").is_none(), "and does not come back");
}
