//! Every command of `etcdctl` for the v2 API: the real one against a real etcd, ours against that one, the real one
//! against a server of ours, and ours against ours. Output, complaints and exit codes must be equal, numbers of members
//! and the like aside.
//!
//! The commands stand in `cases.txt`, in the language of `../etcdctl/script.rs`; where we differ on purpose it says why.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]
#![allow(clippy::disallowed_types, reason = "tests of processes talk to the machine itself")]

mod plain;
#[allow(dead_code, reason = "the language has more than is spoken here")]
#[path = "../etcdctl/script.rs"]
mod script;
mod side;
#[path = "../support/mod.rs"]
mod support;

use script::{Action, Excuse, Session};
use side::Programs;
use std::path::Path;
use support::{OURS, SEATRIAL};

const CLIENT: &str = "/usr/bin/etcdctl";
const SERVER: &str = "/usr/bin/etcd";

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn is_excused(excuses: &[Excuse], client: bool, server: bool) -> bool {
    excuses.iter().any(|excuse| (client && excuse.who == "client") || (server && excuse.who == "server"))
}

#[test]
fn both_clients_say_the_same_of_both_servers() {
    if !Path::new(CLIENT).exists() || !Path::new(SERVER).exists() {
        eprintln!(
            "SKIPPED: no etcdctl or etcd 3.4 to compare with (Debian packages etcd-client, etcd-server)"
        );
        return;
    }
    let only = std::env::var("SEATRIAL_ETCDCTL_SESSION").unwrap_or_default();
    let mut sessions: Vec<Session> = script::read(include_str!("cases.txt"));
    sessions.retain(|session| session.name.starts_with(&only));
    let sides =
        [(false, false), (true, false), (false, true), (true, true)].map(|(client, server)| Programs {
            client: if client { owned(OURS) } else { owned(&[CLIENT]) },
            server: if server { owned(&[SEATRIAL, "server"]) } else { owned(&[SERVER, "--enable-v2=true"]) },
        });
    let mut differences = Vec::new();
    for session in &sessions {
        let outcomes = std::thread::scope(|scope| {
            let playing = sides.each_ref().map(|programs| scope.spawn(move || side::run(programs, session)));
            playing.map(|playing| playing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let [real, others @ ..] = outcomes;
        let real = real.expect("the real server has it all");
        for (at, step) in session.steps.iter().enumerate() {
            for (which, other) in others.iter().enumerate() {
                let Some(other) = other else { continue };
                let (client, server) = (which != 1, which != 0);
                let is_command = matches!(step.action, Action::Run(_) | Action::Stop(_));
                if !is_command || is_excused(&step.excuses, client, server) || real[at] == other[at] {
                    continue;
                }
                let who = ["our client, real server", "real client, our server", "both ours"][which];
                differences.push(format!(
                    "{}: {} ({who})\n--- wanted\n{}--- got\n{}",
                    session.name, step.line, real[at], other[at]
                ));
            }
        }
    }
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
}
