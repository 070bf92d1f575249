//! Every command of `etcdctl`, with good and bad arguments and in every output format: the real one against a real
//! etcd, the real one against a server of ours, and ours against ours. Output, complaints and exit codes must be equal,
//! numbers of members and the like aside.
//!
//! The commands stand in `cases.txt`; where we differ on purpose it says why. Which real ones: the programs named by
//! `SEATRIAL_ETCDCTL` and `SEATRIAL_ETCD` (separated by `:`, in pairs), else those of the `PATH`. With
//! `SEATRIAL_ETCDCTL_REPORT=FILE` all formats are tried, and the table of reports/etcdctl.md is written there.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]
#![allow(clippy::disallowed_types, reason = "tests of processes talk to the machine itself")]

mod plain;
mod protobuf;
mod report;
mod script;
mod side;
#[path = "../support/mod.rs"]
mod support;

use report::{Compared, Report};
use script::{Action, Session};
use side::{Outcome, Programs};
use std::process::Command;
use support::server::programs;
use support::{OURS, SEATRIAL};

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// As the client calls itself: `3.4.23`.
fn version(client: &str) -> String {
    let output = Command::new(client).arg("version").env("ETCDCTL_API", "3").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.lines().next().and_then(|line| line.strip_prefix("etcdctl version: "));
    version.expect("`etcdctl version` says so in its first line").to_owned()
}

/// The three sides beside each other.
fn play(session: &Session, client: &str, server: &str) -> [Vec<Outcome>; 3] {
    let sides = [
        Programs { client: owned(&[client]), server: owned(&[server]) },
        Programs { client: owned(&[client]), server: owned(&[SEATRIAL, "server"]) },
        Programs { client: owned(OURS), server: owned(&[SEATRIAL, "server"]) },
    ];
    std::thread::scope(|scope| {
        let playing = sides.each_ref().map(|programs| scope.spawn(move || side::run(programs, session)));
        playing.map(|playing| playing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

#[test]
fn the_real_etcdctl_sees_no_difference_and_ours_prints_the_same() {
    let clients = programs("SEATRIAL_ETCDCTL", "etcdctl");
    let servers = programs("SEATRIAL_ETCD", "etcd");
    if clients.is_empty() || servers.is_empty() {
        eprintln!(
            "SKIPPED: no real etcdctl or etcd to compare with (Debian packages etcd-client, etcd-server)"
        );
        return;
    }
    assert_eq!(clients.len(), servers.len(), "a client for each server");
    let only = std::env::var("SEATRIAL_ETCDCTL_SESSION").unwrap_or_default();
    let whole = std::env::var_os("SEATRIAL_ETCDCTL_REPORT");
    let mut sessions = script::read(include_str!("cases.txt"));
    sessions.retain(|session| session.name.starts_with(&only));
    if whole.is_none() {
        sessions.iter_mut().for_each(Session::shorten);
    }
    let mut report = Report::default();
    for (client, server) in clients.iter().zip(&servers) {
        let version = version(client);
        for session in &sessions {
            let begun = std::time::Instant::now();
            let [real, server, ours] = play(session, client, server);
            eprintln!("{version} {}: {:.1} s", session.name, begun.elapsed().as_secs_f32());
            for (at, step) in session.steps.iter().enumerate() {
                let (Action::Run(call) | Action::Start(_, call)) = &step.action else { continue };
                // What stays is compared where it ends.
                let at = match &step.action {
                    Action::Start(name, _) => at + session.end_of(name, at),
                    _ => at,
                };
                let outcomes = [&real[at], &server[at], &ours[at]].map(|outcome| outcome.0.clone());
                report.add(&version, Compared { session, step, call, outcomes });
            }
        }
    }
    if let Some(path) = whole {
        std::fs::write(path, report.table()).unwrap();
    }
    report.expect_equal();
}
