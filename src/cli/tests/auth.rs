//! Users and permissions on a real cluster of processes: at the leader and at followers, and after a restart. Driven by
//! etcd's own client where it is installed (Debian package `etcd-client`) and always by ours.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]
#![allow(clippy::disallowed_types, reason = "tests of processes talk to the machine itself")]

#[path = "gateway/http.rs"]
mod http;
mod support;

use std::process::Output;
use support::{Cluster, OURS, clients, etcdctl, expect_success};

/// A client, asking one member only.
struct Client<'a> {
    program: &'a [&'a str],
    endpoint: String,
}

impl Client<'_> {
    fn output(&self, args: &[&str]) -> Output {
        etcdctl(self.program, &self.endpoint, args).output().unwrap()
    }

    fn done(&self, args: &[&str]) -> String {
        expect_success(&args.join(" "), &self.output(args))
    }

    fn refused(&self, args: &[&str], why: &str) {
        let output = self.output(args);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(!output.status.success() && text.contains(why), "{}: {text}", args.join(" "));
    }
}

const DENIED: &str = "etcdserver: permission denied";

/// Root, and a user `ann` who reads and writes below `app/`.
fn enable(client: &Client) {
    client.done(&["user", "add", "root:rootpw"]);
    client.done(&["user", "add", "ann:annpw"]);
    client.done(&["role", "add", "dev"]);
    client.done(&["role", "grant-permission", "dev", "readwrite", "app/", "--prefix"]);
    client.done(&["user", "grant-role", "ann", "dev"]);
    assert_eq!(client.done(&["auth", "enable"]), "Authentication Enabled\n");
}

/// An alarm of nobody, in root's name: etcdctl has no command for that.
fn raise_alarm(address: &str) {
    let ask = |path: &str, headers: &[(&str, &str)], body: &str| {
        let answer = http::ask(address, "POST", path, headers, body.as_bytes(), None);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.body
    };
    let login = ask("/v3/auth/authenticate", &[], r#"{"name": "root", "password": "rootpw"}"#);
    let token = login.rsplit('"').nth(1).expect("a token is the last value of the answer");
    let alarm = r#"{"action": "ACTIVATE", "memberID": "7", "alarm": "NOSPACE"}"#;
    ask("/v3/maintenance/alarm", &[("authorization", token)], alarm);
}

/// What must hold once [`enable`] was done, asked of one member.
fn expect_rights(client: &Client) {
    let ann = ["--user", "ann:annpw"];
    let with = |args: &[&'static str]| [args, &ann[..]].concat();
    assert_eq!(client.done(&with(&["put", "app/1", "x"])), "OK\n");
    assert_eq!(client.done(&with(&["get", "app/", "--prefix"])), "app/1\nx\n");
    client.refused(&with(&["put", "other", "x"]), DENIED);
    client.refused(&with(&["get", "app/", "--from-key"]), DENIED);
    client.refused(&with(&["del", "a", "z"]), DENIED);
    client.refused(&with(&["watch", "other"]), DENIED);
    client.refused(&with(&["user", "list"]), DENIED);
    client.refused(&["put", "app/1", "x"], "etcdserver: user name is empty");
    client.refused(&["get", "app/1"], "etcdserver: user name is empty");
    client.refused(&["get", "app/1", "--user", "ann:other"], "authentication failed");
    assert_eq!(client.done(&["user", "list", "--user", "root:rootpw"]), "ann\nroot\n");
}

#[test]
fn permissions_hold_at_every_member_and_after_a_restart() {
    for program in clients() {
        let cluster = Cluster::start(3, &["--bcrypt-cost", "4"]);
        let clients: Vec<_> =
            (1..=3).map(|member| Client { program, endpoint: cluster.endpoint(member) }).collect();
        enable(&clients[0]);
        clients.iter().for_each(expect_rights);

        // A lease goes with keys that only some may write.
        let granted = clients[1].done(&["lease", "grant", "600", "--user", "root:rootpw"]);
        let lease = granted.split_whitespace().nth(1).unwrap();
        clients[1].done(&["put", "secret", "x", "--lease", lease, "--user", "root:rootpw"]);
        clients[2].refused(&["lease", "revoke", lease, "--user", "ann:annpw"], DENIED);
        clients[2].refused(&["lease", "timetolive", lease, "--keys", "--user", "ann:annpw"], DENIED);
        clients[2].done(&["lease", "timetolive", lease, "--user", "ann:annpw"]);

        // What concerns a whole member is for root, and root is known there too.
        let root = ["--user", "root:rootpw"];
        let file = cluster.dir.path().join("saved.db");
        let file = file.to_str().unwrap();
        clients[2].refused(&["snapshot", "save", file], "etcdserver: user name is empty");
        clients[2].refused(&["snapshot", "save", file, "--user", "ann:annpw"], DENIED);
        clients[2].done(&[&["snapshot", "save", file], &root[..]].concat());
        assert!(std::fs::metadata(file).unwrap().len() > 0);
        raise_alarm(&cluster.endpoint(3));
        clients[1].refused(&["alarm", "disarm", "--user", "ann:annpw"], DENIED);
        let raised = "memberID:7 alarm:NOSPACE \n";
        assert_eq!(clients[1].done(&["alarm", "list", "--user", "ann:annpw"]), raised);
        assert_eq!(clients[1].done(&[&["alarm", "disarm"], &root[..]].concat()), raised);
        assert_eq!(clients[1].done(&["alarm", "list", "--user", "ann:annpw"]), "");

        cluster.down();
        cluster.up();
        clients.iter().for_each(expect_rights);

        // Taken back at one member, gone at all.
        clients[0].done(&["user", "revoke-role", "ann", "dev", "--user", "root:rootpw"]);
        for client in &clients {
            client.refused(&["put", "app/1", "x", "--user", "ann:annpw"], DENIED);
        }
        assert_eq!(
            clients[0].done(&["auth", "disable", "--user", "root:rootpw"]),
            "Authentication Disabled\n"
        );
        assert_eq!(clients[2].done(&["put", "other", "x"]), "OK\n");
    }
}

#[test]
fn signed_tokens_serve_as_well_as_those_that_members_remember() {
    let keys = tempfile::tempdir().unwrap();
    let secret = keys.path().join("secret");
    std::fs::write(&secret, "a secret of some length").unwrap();
    let flag = format!("jwt,priv-key={},sign-method=HS256,ttl=1m", secret.display());
    let cluster = Cluster::start(3, &["--bcrypt-cost", "4", "--auth-token", &flag]);
    let clients: Vec<_> =
        (1..=3).map(|member| Client { program: OURS, endpoint: cluster.endpoint(member) }).collect();
    enable(&clients[0]);
    clients.iter().for_each(expect_rights);
}
