//! `etcdctl make-mirror` between two clusters of processes, ours and etcd's own where it is installed (Debian package
//! `etcd-client`): both must leave the same behind.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]
#![allow(clippy::disallowed_types, reason = "tests of processes talk to the machine itself")]

mod support;

use std::path::Path;
use std::process::{Child, Output, Stdio};
use support::{Cluster, OURS, REAL, clients, eventually};

fn keys(cluster: &Cluster) -> String {
    cluster.ctl(&["get", "", "--from-key"])
}

/// Waits until these are all the keys and values.
fn expect(cluster: &Cluster, wanted: &str) {
    let mut found = String::new();
    eventually(&format!("{wanted:?} in the destination"), || {
        found = keys(cluster);
        found == wanted
    });
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
    let (source, destination) = (Cluster::start(1, &[]), Cluster::start(1, &[]));
    for program in clients() {
        let cases: [(&[&str], &str); 4] = [
            (&[], ""),
            (&["--prefix", "a/"], "a/"),
            (&["--prefix", "a/", "--dest-prefix", "copy/of/"], "copy/of/"),
            (&["--prefix", "a/", "--no-dest-prefix"], ""),
        ];
        for (flags, prefix) in cases {
            source.ctl(&["del", "", "--from-key"]);
            destination.ctl(&["del", "", "--from-key"]);
            for (key, value) in [("a/1", "one"), ("a/a/2", "two"), ("b", "other")] {
                source.ctl(&["put", key, value]);
            }
            let to = destination.endpoint(1);
            let args = [&["make-mirror"], flags, &[to.as_str()]].concat();
            let _running = Running(source.etcdctl(program, &args).spawn().unwrap());
            let all = flags.is_empty();
            // Without a prefix the keys keep the `a/` that the prefix stands for elsewhere.
            let name = |key: &str| if all { format!("a/{key}") } else { format!("{prefix}{key}") };
            let (first, second) = (name("1"), name("a/2"));
            let other = if all { "b\nother\n" } else { "" };
            expect(&destination, &format!("{first}\none\n{second}\ntwo\n{other}"));
            source.ctl(&["put", "a/1", "changed"]);
            source.ctl(&["del", "a/a/2"]);
            source.ctl(&["del", "b"]);
            source.ctl(&["put", "a/3", "three"]);
            expect(&destination, &format!("{first}\nchanged\n{}\nthree\n", name("3")));
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
    let (source, destination) = (Cluster::start(1, &[]), Cluster::start(1, &[]));
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
    let wanted = keys(&source);
    assert_eq!(wanted.lines().count(), 4800);
    let to = destination.endpoint(1);
    let _running = Running(source.etcdctl(OURS, &["make-mirror", &to]).spawn().unwrap());
    expect(&destination, &wanted);
}
