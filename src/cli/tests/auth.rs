//! Users and roles on three real members, through etcd's own client where it is installed and through ours.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]
#![allow(clippy::disallowed_types, reason = "tests of processes talk to the machine itself")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

const SEATRIAL: &str = env!("CARGO_BIN_EXE_seatrial");

struct Cluster {
    dir: tempfile::TempDir,
    port: u16,
}

impl Cluster {
    fn start() -> Self {
        let mut port = 31_000 + std::process::id() as u16 % 500;
        let free = |port: u16| {
            (0..3).all(|i| {
                TcpListener::bind(("127.0.0.1", port + i * 100)).is_ok()
                    && TcpListener::bind(("127.0.0.1", port + i * 100 + 1)).is_ok()
            })
        };
        while !free(port) {
            port += 2;
        }
        let cluster = Self { dir: tempfile::tempdir().unwrap(), port };
        cluster.up();
        cluster
    }

    fn up(&self) {
        let output = Command::new(SEATRIAL)
            .args(["up", "--members", "3", "--port", &self.port.to_string(), "--dir"])
            .arg(self.dir.path())
            .args(["--", "--bcrypt-cost", "4"])
            .output()
            .unwrap();
        assert!(output.status.success(), "up: {output:?}");
    }

    fn down(&self) {
        let _ = Command::new(SEATRIAL).args(["down", "--dir"]).arg(self.dir.path()).output();
    }

    fn at(&self, member: u16) -> String {
        format!("127.0.0.1:{}", self.port + member * 100)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.down();
    }
}

fn both(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_user_reads_and_writes_what_its_role_allows_through_every_member() {
    let mut clients = vec![(SEATRIAL, vec!["etcdctl"])];
    if Path::new("/usr/bin/etcdctl").exists() {
        clients.push(("/usr/bin/etcdctl", vec![]));
    } else {
        eprintln!("SKIPPED: etcd's own etcdctl is not installed (Debian package etcd-client)");
    }
    for (program, leading) in clients {
        let cluster = Cluster::start();
        let run = |member: u16, args: &[&str]| {
            Command::new(program)
                .env("ETCDCTL_API", "3")
                .args(&leading)
                .args(["--endpoints", &cluster.at(member)])
                .args(args)
                .output()
                .unwrap()
        };
        let done = |member: u16, args: &[&str], says: &str| {
            let output = run(member, args);
            assert!(output.status.success(), "{program} {args:?}: {}", both(&output));
            assert_eq!(String::from_utf8_lossy(&output.stdout), says, "{program} {args:?}");
        };
        let refused = |member: u16, args: &[&str], why: &str| {
            let output = run(member, args);
            assert!(!output.status.success(), "{program} {args:?} went through");
            assert!(both(&output).contains(why), "{program} {args:?}: {}", both(&output));
        };
        refused(0, &["auth", "enable"], "etcdserver: root user does not exist");
        done(0, &["user", "add", "root:secret"], "User root created\n");
        done(0, &["user", "add", "alice:wonder"], "User alice created\n");
        refused(1, &["user", "add", "alice:again"], "etcdserver: user name already exists");
        done(1, &["role", "add", "garden"], "Role garden created\n");
        done(
            2,
            &["role", "grant-permission", "garden", "readwrite", "garden/", "--prefix"],
            "Role garden updated\n",
        );
        done(0, &["user", "grant-role", "alice", "garden"], "Role garden is granted to user alice\n");
        refused(0, &["user", "grant-role", "alice", "nothing"], "etcdserver: role name not found");
        done(1, &["put", "castle/door", "shut"], "OK\n");
        done(0, &["user", "grant-role", "root", "root"], "Role root is granted to user root\n");
        done(0, &["auth", "enable"], "Authentication Enabled\n");

        for member in 0..3 {
            refused(member, &["get", "garden/rose"], "etcdserver: user name is empty");
            refused(member, &["--user", "alice:wrong", "get", "garden/rose"], "authentication failed");
            done(member, &["--user", "alice:wonder", "put", "garden/rose", "red"], "OK\n");
            done(member, &["--user", "alice:wonder", "get", "garden/rose"], "garden/rose\nred\n");
            refused(
                member,
                &["--user", "alice:wonder", "get", "castle/door"],
                "etcdserver: permission denied",
            );
            refused(member, &["--user", "alice:wonder", "put", "castle/door", "open"], "permission denied");
            refused(member, &["--user", "alice:wonder", "get", "--prefix", ""], "permission denied");
            refused(member, &["--user", "alice:wonder", "user", "list"], "permission denied");
            done(member, &["--user", "root:secret", "get", "castle/door"], "castle/door\nshut\n");
        }
        // It is all on disk.
        cluster.down();
        cluster.up();
        refused(0, &["get", "garden/rose"], "etcdserver: user name is empty");
        done(1, &["--user", "alice:wonder", "get", "garden/rose"], "garden/rose\nred\n");
        done(
            2,
            &["--user", "root:secret", "user", "revoke-role", "alice", "garden"],
            "Role garden is revoked from user alice\n",
        );
        refused(1, &["--user", "alice:wonder", "get", "garden/rose"], "permission denied");
        done(0, &["--user", "root:secret", "auth", "disable"], "Authentication Disabled\n");
        done(1, &["get", "garden/rose"], "garden/rose\nred\n");
    }
}
