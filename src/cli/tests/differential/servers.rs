//! One real etcd and one member of ours, as processes on loopback.

use crate::support::SEATRIAL;
use crate::support::server::{Servers, programs};
use std::process::Command;

/// The etcd programs to compare with.
pub(crate) fn etcds() -> Vec<String> {
    programs("SEATRIAL_ETCD", "etcd")
}

/// As the program calls itself: `etcd 3.4.23`.
pub(crate) fn version(program: &str) -> String {
    let output = Command::new(program).arg("--version").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let first = text.lines().next().and_then(|line| line.strip_prefix("etcd Version: "));
    format!("etcd {}", first.expect("`etcd --version` says so in its first line"))
}

pub(crate) struct Pair {
    pub(crate) theirs: Servers,
    pub(crate) ours: Servers,
}

impl Pair {
    pub(crate) fn start(etcd: &str) -> Self {
        Self { theirs: Servers::start(&[etcd], 1, &[]), ours: Servers::start(&[SEATRIAL, "server"], 1, &[]) }
    }
}
