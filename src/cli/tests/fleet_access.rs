//! Who may ask a fleet of real processes what: certificates, tokens, and what is told of all this.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]
#![allow(clippy::disallowed_types, reason = "tests of processes talk to the machine itself")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use support::certificates::Authority;
use support::members::Process;
use support::server::port;
use support::{Cluster, SEATRIAL, eventually, expect_success};

const STAYS: &str = "[Service]\nExecStart=/bin/sh -c 'echo here is %n; exec sleep 1000'\n";

/// Answer: status, head and body.
fn ask(mut stream: impl Read + Write, request: &str, headers: &str) -> (u16, String, String) {
    let request = format!("{request} HTTP/1.1\r\nHost: fleet\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, head.to_ascii_lowercase(), body.to_owned())
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Two machines with flags of their own, beside a store.
struct Fleet {
    cluster: Cluster,
    dir: tempfile::TempDir,
    ports: Vec<u16>,
    machines: Vec<Child>,
}

impl Fleet {
    /// `@` stands for the folder, in which `prepare` puts files.
    fn start(flags: &[&str], prepare: impl FnOnce(&std::path::Path)) -> Self {
        let cluster = Cluster::start(1, &[]);
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let mut fleet = Self { cluster, dir, ports: vec![port(), port()], machines: Vec::new() };
        for at in 0..2 {
            fleet.machines.push(fleet.machine(at, flags));
        }
        for at in 0..2 {
            eventually("both machines are seen from both", || {
                said(&fleet.by_file(at, &["list-machines", "--no-legend"])).matches("10.0.0.").count() == 2
            });
        }
        fs::write(fleet.dir.path().join("a.service"), STAYS).unwrap();
        fleet
    }

    fn machine(&self, at: usize, flags: &[&str]) -> Child {
        let log = fs::File::create(self.dir.path().join(format!("m{at}.log"))).unwrap();
        let folder = self.dir.path().display().to_string();
        Command::new(SEATRIAL)
            .args(["fleetd", "--etcd-servers", &format!("http://{}", self.cluster.endpoint(1))])
            .args(["--machine-id", &format!("{}", at + 1).repeat(32), "--data-dir"])
            .arg(self.dir.path().join(format!("m{at}")))
            .args([
                "--public-ip",
                &format!("10.0.0.{at}"),
                "--listen",
                &format!("127.0.0.1:{}", self.ports[at]),
            ])
            .args(["--engine-reconcile-interval", "0.4", "--agent-ttl", "3s"])
            .args(flags.iter().map(|flag| flag.replace('@', &folder)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn socket(&self, at: usize) -> PathBuf {
        self.dir.path().join(format!("m{at}")).join("fleet.sock")
    }

    fn command(&self, endpoint: &str, args: &[&str]) -> Output {
        let folder = self.dir.path().display().to_string();
        Command::new(SEATRIAL)
            .args(["fleetctl", "--endpoint", endpoint])
            .args(args.iter().map(|arg| arg.replace('@', &folder)))
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn by_file(&self, at: usize, args: &[&str]) -> Output {
        self.command(&format!("unix://{}", self.socket(at).display()), args)
    }

    fn over(&self, scheme: &str, at: usize, args: &[&str]) -> Output {
        self.command(&format!("{scheme}://127.0.0.1:{}", self.ports[at]), args)
    }

    fn network(&self, at: usize) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.ports[at])).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    fn page(&self, at: usize) -> String {
        let (status, head, page) = ask(UnixStream::connect(self.socket(at)).unwrap(), "GET /metrics", "");
        assert!(status == 200 && head.contains("text/plain; version=0.0.4"), "{head}");
        page
    }

    /// Of one metric, with its labels; 0 where it is not there.
    fn metric(&self, at: usize, name: &str) -> f64 {
        let page = self.page(at);
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for (at, machine) in self.machines.iter_mut().enumerate() {
            let id = rustix::process::Pid::from_child(machine);
            let _ = rustix::process::kill_process(id, rustix::process::Signal::USR2);
            let _ = machine.wait();
            if std::thread::panicking() {
                let log = fs::read_to_string(self.dir.path().join(format!("m{at}.log")));
                eprintln!("--- machine {at}\n{}", log.unwrap_or_default());
            }
        }
    }
}

#[test]
fn certificates_say_who_may_change_who_may_look_and_who_may_neither() {
    let flags = [
        "--cert-file=@/machine.pem",
        "--key-file=@/machine.key",
        "--trusted-ca-file=@/ca.pem",
        "--client-cert-auth",
        "--allowed-cn=machine,operator",
        "--read-only-cn=viewer",
    ];
    let fleet = Fleet::start(&flags, |dir| {
        let authority = Authority::new("fleet");
        fs::write(dir.join("ca.pem"), &authority.pem).unwrap();
        for name in ["machine", "operator", "viewer", "eve"] {
            authority.sign(dir, name);
        }
        let stranger = Authority::new("stranger");
        stranger.sign(dir, "mallory");
        fs::write(dir.join("stranger.pem"), &stranger.pem).unwrap();
    });
    let as_whom = |who: &str, at: usize, args: &[&str]| {
        let (cert, key) = (format!("--cert-file=@/{who}.pem"), format!("--key-file=@/{who}.key"));
        fleet.over("https", at, &[args, &["--ca-file=@/ca.pem", &cert, &key]].concat())
    };
    expect_success("start", &as_whom("operator", 0, &["start", "a.service"]));
    // Whichever machine has it: one of the two asks the other one, with the certificate of the machine.
    for at in 0..2 {
        let log = expect_success("journal", &as_whom("viewer", at, &["journal", "a.service"]));
        assert_eq!(log, "here is a.service\n", "through machine {at}");
        assert!(expect_success("status", &as_whom("viewer", at, &["status", "a"])).contains("Main PID: "));
    }
    let looks = as_whom("viewer", 0, &["stop", "a.service"]);
    assert_eq!(looks.status.code(), Some(1));
    assert!(
        said(&looks).contains("certificate of \"viewer\" lets you look") && said(&looks).contains("hint: ")
    );
    let neither = as_whom("eve", 0, &["list-units"]);
    assert!(said(&neither).contains("certificate of \"eve\" may not ask"), "{}", said(&neither));
    for (what, output) in [
        ("of another authority", as_whom("mallory", 0, &["list-units"])),
        ("none", fleet.over("https", 0, &["list-units", "--ca-file=@/ca.pem"])),
        ("no TLS", fleet.over("http", 0, &["list-units"])),
    ] {
        assert_eq!(output.status.code(), Some(1), "{what}: {}", said(&output));
        assert!(!said(&output).contains("a.service"), "{what}: {}", said(&output));
    }
    // A server is not taken for ours because it speaks TLS.
    let operator = ["--cert-file=@/operator.pem", "--key-file=@/operator.key", "--ca-file=@/stranger.pem"];
    let wrong = fleet.over("https", 0, &[&["list-units"], &operator[..]].concat());
    assert!(wrong.status.code() == Some(1) && said(&wrong).contains("certificate"), "{}", said(&wrong));
    assert!(expect_success("still there", &as_whom("viewer", 1, &["list-units"])).contains("running"));
    // Who is on the machine has been let in by the file.
    expect_success("destroy", &fleet.by_file(0, &["destroy", "a.service"]));
}

#[test]
fn tokens_are_asked_of_the_network_and_new_ones_count_at_once() {
    let flags = ["--api-token-file=@/tokens", "--api-read-token-file=@/looks"];
    let fleet = Fleet::start(&flags, |dir| {
        fs::write(dir.join("tokens"), "# operators\nchange-it\n").unwrap();
        fs::write(dir.join("looks"), "look-only\n").unwrap();
        fs::write(dir.join("wrong"), "guessed\n").unwrap();
    });
    let with = |file: &str, at, args: &[&str]| {
        fleet.over("http", at, &[args, &[&format!("--api-token-file=@/{file}")]].concat())
    };
    expect_success("start", &with("tokens", 0, &["start", "a.service"]));
    for at in 0..2 {
        let log = expect_success("journal", &with("looks", at, &["journal", "a.service"]));
        assert_eq!(log, "here is a.service\n", "through machine {at}");
    }
    for (output, part) in [
        (with("looks", 0, &["destroy", "a.service"]), "this token lets you look"),
        (with("wrong", 0, &["list-units"]), "the token is none that this fleetd knows"),
        (fleet.over("http", 0, &["list-units"]), "this fleetd asks for a token"),
    ] {
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(part) && text.contains("\nhint: "), "{text}");
    }
    let unit = "PUT /fleet/v1/units/a.service";
    let body = "Content-Type: application/json\r\nContent-Length: 28\r\n";
    let (status, head, text) = ask(fleet.network(0), unit, body);
    assert_eq!(status, 401, "without reading what it says: {text}");
    assert!(head.contains("www-authenticate: bearer realm=\"fleet\""), "{head}");
    let look = "Authorization: Bearer look-only\r\n";
    assert_eq!(ask(fleet.network(0), "DELETE /fleet/v1/units/a.service", look).0, 403);
    assert_eq!(ask(fleet.network(0), "GET /v1-alpha/units", look).0, 200);
    assert_eq!(ask(fleet.network(0), "GET /metrics", "").0, 401);
    assert_eq!(ask(fleet.network(0), "GET /metrics", look).0, 200);
    assert_eq!(ask(fleet.network(0), "GET /health", "").0, 200, "a load balancer has no token");
    assert_eq!(fleet.metric(0, "fleet_api_refused_total{reason=\"read_only_token\"}"), 2.0);
    assert!(fleet.metric(0, "fleet_api_refused_total{reason=\"no_token\"}") >= 3.0);
    // Nobody is restarted for a new token.
    fs::write(fleet.dir.path().join("tokens"), "guessed\nchange-it\n").unwrap();
    expect_success("stop", &with("wrong", 0, &["stop", "a.service"]));
    fs::remove_file(fleet.dir.path().join("looks")).unwrap();
    fs::write(fleet.dir.path().join("old"), "look-only\n").unwrap();
    let gone = with("old", 0, &["list-units"]);
    assert!(said(&gone).contains("nobody can be let in") && said(&gone).contains("looks"), "{}", said(&gone));
    expect_success("by the file", &fleet.by_file(0, &["destroy", "a.service"]));
}

#[test]
fn a_machine_that_the_others_do_not_let_in_says_so() {
    let mut fleet = Fleet::start(&[], |dir| fs::write(dir.join("tokens"), "secret\n").unwrap());
    expect_success("start", &fleet.by_file(0, &["start", "a.service"]));
    let status = said(&fleet.by_file(0, &["list-units", "--no-legend", "--fields", "machine", "--full"]));
    let has = usize::from(!status.starts_with('1'));
    let other = 1 - has;
    // The one with the unit asks for a token from now on.
    let machine = &mut fleet.machines[has];
    machine.kill().unwrap();
    machine.wait().unwrap();
    fleet.machines[has] = fleet.machine(has, &["--api-token-file=@/tokens"]);
    eventually("it asks", || {
        TcpStream::connect(("127.0.0.1", fleet.ports[has]))
            .is_ok_and(|stream| ask(stream, "GET /fleet/v1/units", "").0 == 401)
    });
    let refused = fleet.by_file(other, &["journal", "a.service"]);
    let text = said(&refused);
    assert!(text.contains("does not let this machine in") && text.contains("hint: "), "{text}");
    expect_success("its own file", &fleet.by_file(has, &["journal", "a.service"]));
}

#[test]
fn fleetd_tells_what_it_does_and_how_it_is() {
    let fleet = Fleet::start(&["--v2-registry"], |_| {});
    expect_success("start", &fleet.by_file(0, &["start", "a.service"]));
    fs::write(fleet.dir.path().join("b.service"), format!("{STAYS}[X-Fleet]\nMachineMetadata=no=such\n"))
        .unwrap();
    expect_success("order", &fleet.by_file(0, &["start", "--no-block", "b.service"]));
    let leads = |at: usize| fleet.metric(at, "fleet_engine_is_leader") == 1.0;
    eventually("one leads", || leads(0) != leads(1));
    let leader = usize::from(leads(1));
    let metric = |name: &str| fleet.metric(leader, name);
    eventually("a unit waits", || metric("fleet_engine_waiting_units{reason=\"metadata\"}") == 1.0);
    assert!(metric("fleet_engine_leader_start_time") > 1.6e9);
    assert!(metric("fleet_engine_reconcile_count_total") >= 2.0);
    assert!(metric("fleet_engine_reconcile_duration_second_count") >= 2.0);
    assert!(metric("fleet_engine_reconcile_failure_count_total{type=\"schedule\"}") >= 1.0);
    assert_eq!(metric("fleet_engine_task_count_total{type=\"attemptscheduleunit\"}"), 1.0);
    assert_eq!(metric("fleet_engine_decisions_total{kind=\"schedule\",why=\"not_scheduled\"}"), 1.0);
    eventually("the view is in step", || metric("fleet_v2_registry_pass_duration_seconds_count") >= 1.0);
    assert_eq!(metric("fleet_v2_registry_is_kept"), 1.0);
    let started: f64 =
        (0..2).map(|at| fleet.metric(at, "fleet_agent_task_count_total{type=\"start\"}")).sum();
    assert_eq!(started, 1.0);
    for at in 0..2 {
        assert_eq!(fleet.metric(at, "fleet_machines"), 2.0);
        assert_eq!(fleet.metric(at, "fleet_units{desired=\"launched\",current=\"launched\"}"), 1.0);
        assert_eq!(fleet.metric(at, "fleet_units{desired=\"launched\",current=\"inactive\"}"), 1.0);
        assert_eq!(fleet.metric(at, "fleet_agent_registrations_total"), 1.0);
        assert!(fleet.metric(at, "process_resident_memory_bytes") > 1e6);
        eventually("the lease is renewed", || fleet.metric(at, "fleet_agent_lease_renewals_total") >= 2.0);
        let (status, _, body) = ask(fleet.network(at), "GET /health", "");
        assert_eq!((status, body.as_str()), (200, "{\"health\":\"true\",\"reason\":\"\"}"));
    }
    // Every line of the page is one of the format's.
    for line in fleet.page(leader).lines() {
        let fits = line.starts_with("# ")
            || line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok());
        assert!(fits, "{line}");
    }
    fleet.cluster.down();
    eventually("it is not well", || {
        let (status, _, body) = ask(fleet.network(0), "GET /health", "");
        status == 503 && body.contains("\"health\":\"false\"") && body.contains("the store cannot be asked")
    });
    eventually("it is cut off", || fleet.metric(0, "fleet_agent_is_cut_off") == 1.0);
    eventually("a renewal has failed", || fleet.metric(0, "fleet_agent_lease_renewal_failures_total") >= 1.0);
    fleet.cluster.up();
    eventually("it is well again", || ask(fleet.network(0), "GET /health", "").0 == 200);
    assert_eq!(fleet.metric(0, "fleet_agent_is_cut_off"), 0.0);
}

#[test]
fn a_fleetd_that_others_reach_and_that_asks_nobody_warns_of_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tokens"), "secret\n").unwrap();
    fs::set_permissions(dir.path().join("tokens"), fs::Permissions::from_mode(0o644)).unwrap();
    let tokens = format!("--api-token-file={}", dir.path().join("tokens").display());
    // It is the machine itself, in a way that cannot be seen.
    for (at, (listen, flag, warns)) in [
        ("127.1", "--disable-engine", "MAY RUN WHAT HE LIKES"),
        ("127.1", tokens.as_str(), "tokens go over the network as they are"),
        ("127.0.0.1", tokens.as_str(), "everybody on this machine can read the tokens"),
        ("127.0.0.1", "--disable-engine", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let mut command = Command::new(SEATRIAL);
        command
            .args(["fleetd", "--etcd-servers=http://127.0.0.1:1", "--machine-id=a1", flag, "--data-dir"])
            .arg(dir.path().join(at.to_string()))
            .args(["--listen", &format!("{listen}:{}", port())]);
        let fleetd = Process::start(command, &dir.path().join(format!("{at}.log")));
        eventually("it runs", || fleetd.log().contains("fleetd runs"));
        let log = fleetd.log();
        assert!(log.contains(warns) && log.contains("WARN") != warns.is_empty(), "{log}");
    }
}

#[test]
fn flags_that_contradict_each_other_end_the_start() {
    let dir = tempfile::tempdir().unwrap();
    Authority::new("any").sign(dir.path(), "m");
    fs::write(dir.path().join("empty"), "# nothing\n").unwrap();
    let folder = dir.path().display().to_string();
    for (flags, part) in [
        (&["--listen=https://127.0.0.1:0"][..], "needs a certificate"),
        (&["--listen=http://127.0.0.1:0", "--cert-file=@/m.pem", "--key-file=@/m.key"], "says http"),
        (&["--client-cert-auth"], "there is no https"),
        (&["--allowed-cn=a"], "none are asked for"),
        (&["--cert-file=@/m.pem"], "KeyFile and CertFile must both be present"),
        (&["--cert-file=@/none.pem", "--key-file=@/m.key"], "no such file"),
        (&["--api-token-file=@/none"], "none"),
        (&["--api-token-file=@/empty"], "no token is in it"),
    ] {
        let output = Command::new(SEATRIAL)
            .args(["fleetd", "--etcd-servers=http://127.0.0.1:1", "--data-dir"])
            .arg(dir.path().join("data"))
            .env("FLEET_LISTEN", "127.0.0.1:0")
            .args(flags.iter().map(|flag| flag.replace('@', &folder)))
            .output()
            .unwrap();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {text}");
        assert!(text.contains(part) && text.contains("hint: "), "{flags:?}: {text}");
    }
}
