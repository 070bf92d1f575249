//! The oracles: each one file with one `check`, a pure function of what a run left behind.
//!
//! | oracle | says | source |
//! |---|---|---|
//! | `no-panic` | no member stopped at an assertion of its own | our habit: an invariant is an assertion |
//! | `boots` | every disk that a crash can leave is recovered from | etcd#5230, Protocol-Aware Recovery |
//! | `election-safety` | at most one leader in a term | Raft §5.2 |
//! | `log-matching` | entries of equal index and term are equal, and so are all before them | Raft §5.3 |
//! | `leader-completeness` | a leader has every entry committed before its term | Raft §5.4 |
//! | `state-machine-safety` | equal index, equal entry applied | Raft §5.4.3 |
//! | `membership` | members agree on who they are, and change that by safe steps | Raft §6; thesis §4; etcd: strict reconfiguration |
//! | `rescue` | who goes on alone keeps what it had, and the others never return | etcd: disaster recovery; etcd#2328 |
//! | `durability` | every acknowledged write is there at the end | etcd: API guarantees, durability |
//! | `linearizable` | one order explains all answers, and agrees with real time | etcd: API guarantees |
//! | `serializable` | a serializable read is the state of one revision | etcd: API guarantees |
//! | `watch` | events ordered, unique, atomic, reliable, resumable | etcd: API guarantees, watch |
//! | `lease` | no lease ends early, none lives for ever, none outlives its checkpoints | etcd: API guarantees, lease |
//! | `lock` | one holder as long as leases last, and fences that hold | etcd: concurrency; etcd#11456 |
//! | `elections` | one leader as long as leases last, and who looks is told who leads | etcd: concurrency; etcd#11777 |
//! | `auth` | nobody may do more, or less, than was decided | etcd: authentication; etcd#14571 |
//! | `quota` | a full store takes nothing more until space is freed, and goes on answering | etcd: space quota; etcd#9992 |
//! | `corruption` | who holds something else is named, and nobody else | etcd: corruption checks; etcd#14849 |
//! | `hash-kv` | equal hash at equal revision on all members | etcd: HashKV |
//! | `serves` | a majority that hears each other has one leader, and serves | thesis §6.2, §9.6; our own bound |
//! | `convergence` | after the storm all is well within a bound | our own bound |
//! | `v2` | the v2 keys are one history, and whoever asks or waits is told what it says | etcd: v2 API; etcd#741 |
//! | `reboot-lock` | no more holders than slots, none twice, and nobody frees another's slot | locksmith; locksmith#58 |
//! | `reboots` | reboots begin in their windows, in turn, and cost the store no majority | CoreOS bugs#1886; kured#841 |
//! | `schedule` | a fleet's units go where they may, by who leads, and none without a reason | fleet#1181; our own rules |
//! | `units` | what runs in a fleet runs where it should, once, and on through outages | fleet#1145, #1289, #1361 |

mod auth;
mod boots;
mod convergence;
mod corruption;
mod durability;
mod election_safety;
mod elections;
mod fleet;
mod hash_kv;
mod leader_completeness;
mod lease;
mod linearizable;
mod lock;
mod log_matching;
mod membership;
mod no_panic;
mod quota;
mod reasons;
mod reboot_lock;
mod reboots;
mod rescue;
mod schedule;
mod semaphores;
mod serializable;
mod serves;
mod state_machine_safety;
mod units;
mod v2;
mod watch;

#[cfg(test)]
pub(crate) mod testing;

pub(crate) use corruption::damages;
pub(crate) use fleet::fleet_bound;
pub(crate) use lease::reigns as lease_reigns;

use crate::record::RunLog;
use seatrial_history::{Blob, Budget, Change, Explained, Final, Kv, Snapshot, Verdict};
use seatrial_types::{EventKind, MemberId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Something that must never be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Who, when, which values: one sentence.
    pub sentence: String,
    /// When it became visible, in world time, where one moment can be named.
    pub at: Option<Duration>,
    /// At whom, where one can be named.
    pub member: Option<MemberId>,
    /// Places in the history of the operations that are the evidence.
    pub operations: Vec<usize>,
}

/// What an oracle says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// It holds.
    Ok,
    /// It does not. The first violation found.
    Violation(Violation),
    /// It could not be told. Never a pass.
    Unknown(String),
}

impl Finding {
    /// A violation with its sentence, at a time and a member.
    fn violation(sentence: String, at: Option<Duration>, member: Option<MemberId>) -> Self {
        Self::Violation(Violation { sentence, at, member, operations: Vec::new() })
    }
}

/// Names of the oracles, the most telling first: where several see the same bug, the first names it.
pub const NAMES: &[&str] = &[
    "no-panic",
    "boots",
    "election-safety",
    "log-matching",
    "leader-completeness",
    "state-machine-safety",
    "membership",
    "rescue",
    "durability",
    "linearizable",
    "serializable",
    "watch",
    "lease",
    "lock",
    "elections",
    "auth",
    "quota",
    "corruption",
    "hash-kv",
    "serves",
    "convergence",
    "v2",
    "reboot-lock",
    "reboots",
    "schedule",
    "units",
];

/// What a scenario expects that names no oracles: all of them.
#[must_use]
pub fn defaults() -> Vec<String> {
    NAMES.iter().map(|name| (*name).to_owned()).collect()
}

/// For the guided check: a record of the store's changes leaves it next to nothing to search for.
const EXPLAIN: Budget = Budget { steps: 1_000_000, memo_bytes: 64 << 20 };

/// What several oracles need and is computed once: the history's own verdict, with the replay.
pub(crate) struct Judged<'a> {
    pub(crate) log: &'a RunLog,
    pub(crate) explained: Result<Explained, Verdict>,
}

impl<'a> Judged<'a> {
    pub(crate) fn new(log: &'a RunLog) -> Self {
        let explained = seatrial_history::explain(&log.history, &finale(log), EXPLAIN);
        Self { log, explained }
    }
}

/// Keys that are written without a line in the history: locks and what they guard, elections, what users try, what is there to
/// be damaged, and the fleet's.
const ASIDE: [&[u8]; 6] = [b"lock/", b"guard/", b"elect/", b"user/", b"bait/", b"/_seatrial/"];

/// The end of the run in the words of the history's checker.
fn finale(log: &RunLog) -> Final {
    let Some(last) = &log.last else { return Final::default() };
    if last.revision == 0 {
        return Final::default();
    }
    let state = Snapshot { revision: last.revision, kvs: last.kvs.iter().map(Kv::from).collect() };
    let mut changes: BTreeMap<i64, Change> = BTreeMap::new();
    // What was compacted away before the last look, watchers may have seen.
    let watched = log.watches.iter().flat_map(|watch| &watch.batches).flat_map(|batch| &batch.events);
    let early = watched.filter(|event| event.kv.mod_revision.0 < last.ledger_from);
    for event in last.ledger.iter().chain(early) {
        let revision = event.kv.mod_revision.0;
        let change = changes.entry(revision).or_insert_with(|| Change { revision, ..Change::default() });
        let value = (event.kind == EventKind::Put).then(|| Blob(event.kv.value.clone()));
        // Nobody deletes a leased key but the lease's end; and what stands in other records than the history is
        // nobody's operation there.
        let is_aside = ASIDE.iter().any(|prefix| event.kv.key.starts_with(prefix));
        change.by_store |= is_aside || value.is_none() && event.kv.key.starts_with(b"lease/");
        change.keys.insert(Blob(event.kv.key.clone()), value);
    }
    Final { state: Some(state), changes: changes.into_values().collect() }
}

/// What the history's checker found, as a finding of ours.
fn from_history(violation: &seatrial_history::Violation) -> Finding {
    Finding::Violation(Violation {
        sentence: violation.to_string(),
        at: violation.at.map(Duration::from_nanos),
        member: None,
        operations: violation.operations.clone(),
    })
}

/// Asks the oracles of these names, in the order of [`NAMES`].
///
/// # Panics
/// On a name that is not in [`NAMES`]; the scenario's parser lets none through.
#[must_use]
pub fn ask_all(names: &[String], log: &RunLog) -> Vec<(&'static str, Finding)> {
    let judged = Judged::new(log);
    for name in names {
        assert!(NAMES.contains(&name.as_str()), "no oracle is called {name}");
    }
    let wanted = NAMES.iter().filter(|name| names.iter().any(|other| other == *name));
    wanted.map(|name| (*name, ask(name, &judged))).collect()
}

fn ask(name: &str, judged: &Judged<'_>) -> Finding {
    let log = judged.log;
    match name {
        "no-panic" => no_panic::check(log),
        "boots" => boots::check(log),
        "election-safety" => election_safety::check(log),
        "log-matching" => log_matching::check(log),
        "leader-completeness" => leader_completeness::check(log),
        "state-machine-safety" => state_machine_safety::check(log),
        "rescue" => rescue::check(log),
        "durability" => durability::check(log),
        "linearizable" => linearizable::check(judged),
        "serializable" => serializable::check(judged),
        "watch" => watch::check(judged),
        "lease" => lease::check(log),
        "membership" => membership::check(log),
        "lock" => lock::check(log),
        "elections" => elections::check(log),
        "auth" => auth::check(log),
        "serves" => serves::check(log),
        "quota" => quota::check(log),
        "corruption" => corruption::check(log),
        "hash-kv" => hash_kv::check(log),
        "convergence" => convergence::check(log),
        "v2" => v2::check(log),
        "reboot-lock" => reboot_lock::check(log),
        "reboots" => reboots::check(log),
        "schedule" => schedule::check(log),
        "units" => units::check(log),
        _ => unreachable!("oracle {name} has a name but no check"),
    }
}
