//! `etcdctl make-mirror` between two clusters of processes, ours and etcd's own where it is installed (Debian package
//! `etcd-client`): both must leave the same behind.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]
#![allow(clippy::disallowed_types, reason = "tests of processes talk to the machine itself")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const SEATRIAL: &str = env!("CARGO_BIN_EXE_seatrial");
const OURS: &[&str] = &[SEATRIAL, "etcdctl"];
const REAL: &[&str] = &["/usr/bin/etcdctl"];

/// One member made by `seatrial up`, stopped when it goes out of scope.
struct Member {
    dir: tempfile::TempDir,
    port: u16,
}

impl Member {
    fn start(from: u16) -> Self {
        let first = from + std::process::id() as u16 % 100 * 3;
        let free = |port: &u16| {
            TcpListener::bind(("127.0.0.1", *port)).is_ok()
                && TcpListener::bind(("127.0.0.1", port + 1)).is_ok()
        };
        let port = (first..).step_by(3).find(free).unwrap();
        let member = Self { dir: tempfile::tempdir().unwrap(), port };
        let output = Command::new(SEATRIAL)
            .args(["up", "--members", "1", "--port", &port.to_string(), "--dir"])
            .arg(member.dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "up: {}", String::from_utf8_lossy(&output.stderr));
        member
    }

    fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn etcdctl(&self, program: &[&str], args: &[&str]) -> Command {
        let mut command = Command::new(program[0]);
        command
            .args(&program[1..])
            .args(["--endpoints", &self.endpoint()])
            .args(args)
            .env("ETCDCTL_API", "3")
            .stdin(Stdio::null());
        command
    }

    fn done(&self, args: &[&str]) -> String {
        let output = self.etcdctl(OURS, args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn keys(&self) -> String {
        self.done(&["get", "", "--from-key"])
    }

    /// Waits until these are all the keys and values.
    fn expect(&self, wanted: &str) {
        let begun = Instant::now();
        loop {
            let keys = self.keys();
            if keys == wanted {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(5), "{keys:?} instead of {wanted:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = Command::new(SEATRIAL).args(["down", "--dir"]).arg(self.dir.path()).output();
    }
}

/// A mirror that runs until it goes out of scope.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_mirror_holds_what_was_there_and_follows_what_changes() {
    let mut programs = vec![OURS];
    if Path::new(REAL[0]).exists() {
        programs.push(REAL);
    } else {
        eprintln!(
            "SKIPPED: etcd's own etcdctl is not installed (Debian package etcd-client); only ours is driven"
        );
    }
    let (source, destination) = (Member::start(46_000), Member::start(46_500));
    for program in programs {
        let cases: [(&[&str], &str); 4] = [
            (&[], ""),
            (&["--prefix", "a/"], "a/"),
            (&["--prefix", "a/", "--dest-prefix", "copy/of/"], "copy/of/"),
            (&["--prefix", "a/", "--no-dest-prefix"], ""),
        ];
        for (flags, prefix) in cases {
            source.done(&["del", "", "--from-key"]);
            destination.done(&["del", "", "--from-key"]);
            for (key, value) in [("a/1", "one"), ("a/a/2", "two"), ("b", "other")] {
                source.done(&["put", key, value]);
            }
            let to = destination.endpoint();
            let args = [&["make-mirror"], flags, &[to.as_str()]].concat();
            let _running = Running(source.etcdctl(program, &args).spawn().unwrap());
            let all = flags.is_empty();
            // Without a prefix the keys keep the `a/` that the prefix stands for elsewhere.
            let name = |key: &str| if all { format!("a/{key}") } else { format!("{prefix}{key}") };
            let (first, second) = (name("1"), name("a/2"));
            let other = if all { "b\nother\n" } else { "" };
            destination.expect(&format!("{first}\none\n{second}\ntwo\n{other}"));
            source.done(&["put", "a/1", "changed"]);
            source.done(&["del", "a/a/2"]);
            source.done(&["del", "b"]);
            source.done(&["put", "a/3", "three"]);
            destination.expect(&format!("{first}\nchanged\n{}\nthree\n", name("3")));
        }
    }
    let refused: [&[&str]; 3] = [
        &["make-mirror"],
        &["make-mirror", "one", "two"],
        &["make-mirror", "--dest-prefix", "x", "--no-dest-prefix", "127.0.0.1:1"],
    ];
    for args in refused {
        let ours = source.etcdctl(OURS, args).output().unwrap();
        assert_eq!(ours.status.code(), Some(128), "{args:?}");
        // The real one dials before it looks at the prefixes.
        if Path::new(REAL[0]).exists() && args.len() != 4 {
            let real = source.etcdctl(REAL, args).output().unwrap();
            assert_eq!(said(&ours), said(&real), "{args:?}");
        }
    }
}

#[test]
fn more_keys_than_one_answer_holds_are_mirrored() {
    let (source, destination) = (Member::start(47_000), Member::start(47_500));
    // 20 transactions of 120 keys each.
    for first in 0..20 {
        let puts: String = (0..120).map(|key| format!("put k{:04} v\n", first * 120 + key)).collect();
        let mut command =
            source.etcdctl(OURS, &["txn"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut input = command.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, format!("\n{puts}\n\n").as_bytes()).unwrap();
        drop(input);
        assert!(command.wait().unwrap().success());
    }
    let wanted = source.keys();
    assert_eq!(wanted.lines().count(), 4800);
    let to = destination.endpoint();
    let _running = Running(source.etcdctl(OURS, &["make-mirror", &to]).spawn().unwrap());
    destination.expect(&wanted);
}
