//! Side by side with the real etcdctl: the same steps, each client against a real etcd of its own, and every
//! byte of output and every exit code compared. Skipped, loudly, where the real ones are not installed.

use super::{Io, run_with};
use std::ffi::OsString;
use std::io::{Cursor, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A real etcd on loopback, killed when dropped.
struct Etcd {
    process: Child,
    endpoint: String,
    _data: tempfile::TempDir,
}

impl Etcd {
    fn start() -> Option<Self> {
        if Command::new("etcd").arg("--version").output().is_err()
            || Command::new("etcdctl").arg("version").output().is_err()
        {
            eprintln!("SKIPPED: the real etcd and etcdctl are not installed; nothing was compared");
            return None;
        }
        let data = tempfile::tempdir().unwrap();
        let port = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let (client, peer) = (format!("127.0.0.1:{}", port()), format!("http://127.0.0.1:{}", port()));
        let url = format!("http://{client}");
        let process = Command::new("etcd")
            .args(["--data-dir", data.path().to_str().unwrap()])
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let etcd = Self { process, endpoint: client, _data: data };
        for _ in 0..100 {
            if etcd.ours(&["get", "x"], "").code == 0 {
                return Some(etcd);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the real etcd did not come up at {}", etcd.endpoint);
    }

    fn args(&self, args: &[&str]) -> Vec<OsString> {
        let endpoints = format!("--endpoints={}", self.endpoint);
        std::iter::once(endpoints.as_str()).chain(args.iter().copied()).map(OsString::from).collect()
    }

    fn ours(&self, args: &[&str], input: &str) -> Outcome {
        ours(self.args(args), input)
    }

    fn real(&self, args: &[&str], input: &str) -> Outcome {
        real(self.args(args), input)
    }

    /// Takes out what must differ between two clusters.
    fn neutral(&self, text: &str) -> String {
        let header = self.ours(&["get", "x", "-w", "fields"], "").out;
        let field = |name: &str| {
            let line = header.lines().find(|line| line.contains(name)).unwrap();
            line.rsplit(' ').next().unwrap().to_owned()
        };
        let (cluster, member) = (field("ClusterID"), field("MemberID"));
        let hex = format!("{:x}", member.parse::<u64>().unwrap());
        text.replace(&cluster, "CLUSTER").replace(&member, "MEMBER").replace(&hex, "MEMBER")
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    code: u8,
    out: String,
    err: String,
}

/// A writer whose bytes can be read afterwards.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

fn ours(args: Vec<OsString>, input: &str) -> Outcome {
    let (out, err) = (Sink::default(), Sink::default());
    let io = Io {
        input: Box::new(Cursor::new(input.as_bytes().to_vec())),
        out: Box::new(out.clone()),
        err: Box::new(err.clone()),
    };
    let code = run_with(args, &|_| None, io);
    Outcome { code, out: out.text(), err: err.text() }
}

fn real(args: Vec<OsString>, input: &str) -> Outcome {
    let mut child = Command::new("etcdctl")
        .args(args)
        .env("ETCDCTL_API", "3")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    // Its log lines carry times and random names.
    let err = String::from_utf8_lossy(&done.stderr);
    let err = err.lines().filter(|line| !line.starts_with('{')).map(|line| format!("{line}\n")).collect();
    let code = done.status.code().unwrap_or(-1) as u8;
    Outcome { code, out: String::from_utf8_lossy(&done.stdout).into_owned(), err }
}

/// Runs each line with both clients, each against its own server.
fn compare(lines: &[(&str, &str)]) {
    let (Some(left), Some(right)) = (Etcd::start(), Etcd::start()) else { return };
    for (line, input) in lines {
        let args: Vec<&str> = line.split(' ').map(|word| if word == "''" { "" } else { word }).collect();
        let mut real = left.real(&args, input);
        let mut ours = right.ours(&args, input);
        for (outcome, etcd) in [(&mut real, &left), (&mut ours, &right)] {
            outcome.out = etcd.neutral(&outcome.out);
        }
        assert_eq!(ours, real, "ours against the real one: etcdctl {line}");
    }
}

#[test]
fn keys_are_printed_as_by_the_real_one() {
    compare(&[
        ("put a 1", ""),
        ("put a 2 --prev-kv", ""),
        ("put a/b 3 -w json", ""),
        ("put a/c 4 --prev-kv -w fields", ""),
        ("put a/c 5 --prev-kv -w fields", ""),
        ("put a/c 5 --prev-kv -w json", ""),
        ("put a", "from input\n"),
        ("put odd", "a\n\u{1}\u{e9}\"<&>"),
        ("put", ""),
        ("put k", ""),
        ("put '' v", ""),
        ("put k v --ignore-value", ""),
        ("put nokey --ignore-value", ""),
        ("put a --ignore-value", ""),
        ("put k v --lease=zz", ""),
        ("put k v --lease=123456", ""),
        ("get a", ""),
        ("get odd", ""),
        ("get odd -w fields", ""),
        ("get odd --hex", ""),
        ("get odd --hex -w json", ""),
        ("get a --prefix", ""),
        ("get a --prefix --keys-only", ""),
        ("get a --prefix --limit 2 -w json", ""),
        ("get a --prefix --limit 2 -w fields", ""),
        ("get a --prefix --order DESCEND", ""),
        ("get a --prefix --sort-by=MODIFY --order=descend", ""),
        ("get a --prefix --sort-by VERSION", ""),
        ("get '' --prefix --keys-only", ""),
        ("get a/c --from-key", ""),
        ("get a a/c", ""),
        ("get a --rev 2", ""),
        ("get a --rev=100", ""),
        ("get a --consistency=s", ""),
        ("get a --print-value-only", ""),
        ("get a --print-value-only -w json", ""),
        ("get nothing -w json", ""),
        ("get nothing", ""),
        ("get", ""),
        ("get ''", ""),
        ("get a -w table", ""),
        ("get a -w bogus", ""),
        ("get a --order foo", ""),
        ("get a --sort-by foo", ""),
        ("get a --consistency=z", ""),
        ("get a --prefix --from-key", ""),
        ("get a b --prefix", ""),
        ("del a/c --prev-kv", ""),
        ("del a/c -w json", ""),
        ("del a --prefix --prev-kv -w json", ""),
        ("del a --prefix -w fields --prev-kv", ""),
        ("del", ""),
        ("del ''", ""),
        ("del '' --from-key", ""),
        ("compaction 5", ""),
        ("compaction 5", ""),
        ("compaction 500", ""),
        ("compaction x", ""),
        ("compaction", ""),
        ("get a --rev 2", ""),
        ("compaction 7 --physical", ""),
    ]);
}

#[test]
fn users_and_roles_are_managed_and_printed_as_by_the_real_one() {
    compare(&[
        ("auth enable", ""),
        ("auth enable extra", ""),
        ("user add", ""),
        ("user add :x", ""),
        ("user add root:rootpw", ""),
        ("user add root:rootpw", ""),
        ("user add piped --interactive=false", "secret\n"),
        ("user add nopw --no-password -w json", ""),
        ("user add ann:annpw -w fields", ""),
        ("user passwd piped --interactive=false", "other\n"),
        ("user list", ""),
        ("user list -w json", ""),
        ("user list -w fields", ""),
        ("user list x", ""),
        ("user get root", ""),
        ("user get nobody", ""),
        ("role add", ""),
        ("role add dev", ""),
        ("role add dev", ""),
        ("role grant-permission dev readwrite app/ --prefix", ""),
        ("role grant-permission dev read k", ""),
        ("role grant-permission dev WRITE a c", ""),
        ("role grant-permission dev read z --from-key", ""),
        ("role grant-permission dev odd z", ""),
        ("role grant-permission dev read", ""),
        ("role grant-permission dev read k --prefix --from-key", ""),
        ("role grant-permission dev read k l --prefix", ""),
        ("role grant-permission none read k", ""),
        ("role get dev", ""),
        ("role get dev -w json", ""),
        ("role get dev -w fields", ""),
        ("role list -w json", ""),
        ("role list -w fields", ""),
        ("role list -w table", ""),
        ("role revoke-permission dev k", ""),
        ("role revoke-permission dev k", ""),
        ("role revoke-permission dev a c", ""),
        ("role revoke-permission dev z --from-key", ""),
        ("role revoke-permission dev", ""),
        ("user grant-role ann dev", ""),
        ("user grant-role ann none", ""),
        ("user grant-role ann", ""),
        ("user get ann -w json", ""),
        ("user get ann --detail", ""),
        ("user revoke-role ann none", ""),
        ("user revoke-role ann", ""),
    ]);
}

#[test]
fn who_gives_a_command_is_said_and_refused_as_by_the_real_one() {
    let (Some(left), Some(right)) = (Etcd::start(), Etcd::start()) else { return };
    for line in [
        // Nobody is asked who they are yet.
        "put k v --user nobody:pw",
        "user add root:rootpw",
        "user add ann:annpw",
        "user add nopw --no-password",
        "role add dev",
        "role grant-permission dev readwrite app/ --prefix",
        "user grant-role ann dev",
        "auth enable",
        "auth enable",
        "put app/1 x",
        "put app/1 x --user ann:wrong",
        "put app/1 x --user ann:annpw",
        "put app/2 x --user ann --password annpw",
        "put other x --user ann:annpw",
        "get app/ --prefix --user ann:annpw",
        "get a --user ann:annpw",
        "get x --user nobody:pw",
        "get x --user nopw:pw",
        "watch other --user ann:annpw",
        "user get ann --user ann:annpw",
        "user get root --user ann:annpw",
        "user delete root --user root:rootpw",
        "role get root --user root:rootpw",
        "auth disable",
        "auth disable --user root:rootpw",
        "put x y",
    ] {
        let args: Vec<&str> = line.split(' ').collect();
        let (real, ours) = (left.real(&args, ""), right.ours(&args, ""));
        assert_eq!(ours, real, "ours against the real one: etcdctl {line}");
    }
}

#[test]
fn transactions_are_read_and_printed_as_by_the_real_one() {
    let first = "ver(\"x\") = \"0\"\n\nput x 1\nget x\ndel nokey\n\nget x\n\n";
    let second = "val(\"x\") = \"1\"\nmod(\"x\") > \"0\"\nc(\"x\") < \"100\"\n\nget x --prefix\nput y \"a b\"\n\
                  del x --prev-kv\n\nput x fail --prev-kv\n\n";
    compare(&[
        ("txn", first),
        ("txn -w json", first),
        ("txn -w fields", first),
        ("txn", second),
        ("txn", second),
        ("txn -w json", second),
        ("txn -i", first),
        ("txn", "\nput z 1\nput z 2\n\n\n"),
        ("txn", "bogus\n\n\n\n"),
        ("txn", "foo(\"x\") = \"1\"\n\n\n\n"),
        ("txn", "ver(\"x\") = \"u\"\n\n\n\n"),
        ("txn", "val(\"x\") = \"1\"\n\nfrob x\n\n\n"),
        ("txn", "val(\"x\") = \"1\"\n"),
        ("txn", "\nput x\n\n\n"),
        ("txn foo", ""),
        ("get '' --prefix -w fields", ""),
    ]);
}

#[test]
fn cluster_and_lease_errors_are_those_of_the_real_one() {
    compare(&[
        ("lease grant x", ""),
        ("lease grant", ""),
        ("lease grant 9000000001", ""),
        ("lease revoke zz", ""),
        ("lease revoke 1234", ""),
        ("lease revoke", ""),
        ("lease timetolive 1234", ""),
        ("lease timetolive 1234 --keys", ""),
        ("lease timetolive 1234 -w json", ""),
        ("lease timetolive 1234 -w fields", ""),
        ("lease timetolive", ""),
        ("lease keep-alive 1234 --once", ""),
        ("lease keep-alive 1234", ""),
        ("lease keep-alive 1234 -w json", ""),
        ("lease list", ""),
        ("lease list -w json", ""),
        ("lease list -w fields", ""),
        ("alarm list", ""),
        ("alarm list -w json", ""),
        ("move-leader 1234", ""),
        ("watch", ""),
        ("watch a b --prefix", ""),
        ("version", ""),
    ]);
}

#[test]
fn members_endpoints_and_leases_look_the_same_in_every_format() {
    let Some(etcd) = Etcd::start() else { return };
    etcd.ours(&["put", "k", "v"], "");
    let granted = etcd.ours(&["lease", "grant", "5000"], "");
    let id = granted.out.split(' ').nth(1).unwrap().to_owned();
    assert_eq!(granted.out, format!("lease {id} granted with TTL(5000s)\n"));
    assert_eq!(etcd.ours(&["put", "lk", "v", "--lease", &id], "").out, "OK\n");
    for line in [
        "member list",
        "member list -w table",
        "member list -w json",
        "member list -w fields",
        "endpoint status",
        "endpoint status -w table",
        "endpoint status -w json",
        "endpoint status -w fields",
        "endpoint status --cluster",
        "endpoint hashkv",
        "endpoint hashkv -w json",
        "endpoint hashkv -w fields",
        "endpoint hashkv -w table",
        "lease list",
        "lease list -w json",
        "lease keep-alive --once LEASE",
        "lease keep-alive --once LEASE -w json",
        "lease keep-alive --once LEASE -w fields",
        "get lk -w json",
        "get lk -w fields",
    ] {
        let args: Vec<&str> = line.split(' ').map(|word| if word == "LEASE" { &id } else { word }).collect();
        assert_eq!(etcd.ours(&args, ""), etcd.real(&args, ""), "{line}");
    }
    // These tell the time; it differs, and nothing else does.
    let timeless = |mut outcome: Outcome| {
        let digits = |text: &str| {
            let mut out = String::new();
            for word in text.split_inclusive([' ', '\n', '"', '(', '|']) {
                let is_time = word.chars().next().is_some_and(|c| c.is_ascii_digit())
                    && (word.contains("ms") || word.contains("\u{b5}s") || word.contains("s)"));
                out.push_str(if is_time { "TIME" } else { word });
            }
            out.replace([' ', '-'], "")
        };
        outcome.out = digits(&outcome.out);
        outcome.err = digits(&outcome.err);
        outcome
    };
    for line in [
        "endpoint health",
        "endpoint health -w json",
        "endpoint health -w fields",
        "endpoint health -w table",
        "endpoint health --cluster",
        "lease timetolive LEASE --keys",
    ] {
        let args: Vec<&str> = line.split(' ').map(|word| if word == "LEASE" { &id } else { word }).collect();
        assert_eq!(timeless(etcd.ours(&args, "")), timeless(etcd.real(&args, "")), "{line}");
    }
    assert_eq!(etcd.ours(&["lease", "revoke", &id], "").out, format!("lease {id} revoked\n"));
    assert_eq!(etcd.ours(&["get", "lk"], "").out, "");
}

#[test]
fn a_watch_prints_history_and_compaction_as_the_real_one() {
    let Some(etcd) = Etcd::start() else { return };
    for line in ["put b 1", "put b 2", "put c 9", "del b", "put b 3"] {
        etcd.ours(&line.split(' ').collect::<Vec<_>>(), "");
    }
    // Input stays open in neither, so that both end by themselves after the last line.
    for format in ["simple", "fields", "json"] {
        let args = ["watch", "b", "--rev", "2", "--prev-kv", "-w", format];
        let real = {
            let mut child = Command::new("timeout")
                .args(["1", "etcdctl"])
                .args(etcd.args(&args))
                .env("ETCDCTL_API", "3")
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut out = String::new();
            std::io::Read::read_to_string(child.stdout.as_mut().unwrap(), &mut out).unwrap();
            child.wait().unwrap();
            out
        };
        // Ours ends when its watch is cancelled; so it runs in a thread until the output is there.
        let sink = Sink::default();
        let (args, out) = (etcd.args(&args), sink.clone());
        std::thread::spawn(move || {
            let io =
                Io { input: Box::new(std::io::empty()), out: Box::new(out), err: Box::new(std::io::sink()) };
            run_with(args, &|_| None, io)
        });
        for _ in 0..100 {
            if sink.text() == real {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(sink.text(), real, "{format}");
    }
    etcd.ours(&["compaction", "4"], "");
    for format in ["simple", "fields", "json"] {
        let args = ["watch", "b", "--rev", "2", "-w", format];
        assert_eq!(etcd.ours(&args, ""), etcd.real(&args, ""), "{format}");
    }
    let lines = "watch b --rev 5\nprogress\nfoo\n\n";
    assert_eq!(etcd.ours(&["watch", "-i"], lines).err, etcd.real(&["watch", "-i"], lines).err);
}

#[test]
fn nobody_at_home_is_said_within_the_time_given() {
    let nobody = |args: &[&str]| {
        let all = ["--endpoints=127.0.0.1:1", "--command-timeout=500ms"];
        ours(all.iter().chain(args).map(OsString::from).collect(), "")
    };
    let outcome = nobody(&["get", "k"]);
    assert_eq!((outcome.code, outcome.err.as_str()), (1, "Error: context deadline exceeded\n"));
    assert_eq!(nobody(&["put", "k", "v"]).err, "Error: context deadline exceeded\n");
    let outcome = nobody(&["endpoint", "health"]);
    let unhealthy = "127.0.0.1:1 is unhealthy: failed to commit proposal: context deadline exceeded\n";
    assert_eq!((outcome.code, outcome.err), (1, format!("{unhealthy}Error: unhealthy cluster\n")));
    let outcome = nobody(&["endpoint", "status"]);
    let failed = "Failed to get the status of endpoint 127.0.0.1:1 (context deadline exceeded)\n";
    assert_eq!((outcome.code, outcome.err.as_str()), (1, failed));
}

#[test]
fn the_command_line_is_refused_with_a_sentence() {
    let refused = |args: &[&str]| {
        let outcome = ours(args.iter().map(OsString::from).collect(), "");
        (outcome.code, outcome.err)
    };
    // Before the command's help and behind it, as the real one.
    let twice = |text: &str| (1, format!("Error: {text}\n\nError: {text}\n"));
    assert_eq!(refused(&["get", "a", "--bogus"]), twice("unknown flag: --bogus"));
    assert_eq!(refused(&["get", "a", "-z"]), twice("unknown shorthand flag: 'z' in -z"));
    let (code, text) = refused(&["bogus"]);
    assert_eq!(code, 1);
    assert!(text.starts_with("Error: unknown command \"bogus\" for \"etcdctl\"\n"), "{text}");
    let text = "invalid argument \"x\" for \"--limit\" flag: strconv.ParseInt: parsing \"x\": invalid syntax";
    assert_eq!(refused(&["get", "--limit=x", "b"]), twice(text));
    let text = "Error: open /no/such/ca.pem: no such file or directory\n";
    assert_eq!(refused(&["--cacert=/no/such/ca.pem", "get", "b"]), (128, text.into()));
    let text = "Error: KeyFile and CertFile must both be present[key: , cert: a.pem]\n";
    assert_eq!(refused(&["--insecure-skip-tls-verify", "--cert=a.pem", "get", "b"]), (128, text.into()));
    let (code, text) = refused(&["--command-timeout=5", "get", "b"]);
    assert_eq!((code, text.contains("missing unit")), (1, true), "{text}");
}

#[test]
fn a_flag_may_come_from_the_environment_but_not_from_both() {
    let run = |args: &[&str], variable: &'static str, value: &'static str| {
        let (out, err) = (Sink::default(), Sink::default());
        let io = Io { input: Box::new(std::io::empty()), out: Box::new(out), err: Box::new(err.clone()) };
        let environment = |name: &str| (name == variable).then(|| value.to_owned());
        (run_with(args.iter().map(OsString::from).collect(), &environment, io), err.text())
    };
    let (code, text) = run(&["get", "k", "--command-timeout=200ms"], "ETCDCTL_ENDPOINTS", "127.0.0.1:1");
    assert_eq!((code, text.as_str()), (1, "Error: context deadline exceeded\n"));
    let (code, text) = run(&["get", "k", "--endpoints=127.0.0.1:2"], "ETCDCTL_ENDPOINTS", "127.0.0.1:1");
    assert_eq!(code, 1);
    assert!(text.contains("\"ETCDCTL_ENDPOINTS\" is shadowed by corresponding command-line flag"), "{text}");
}
