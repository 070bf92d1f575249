//! Hand-made runs for the oracles' own tests.

use crate::observation::{Observation, Observed, Role};
use crate::plan::Plan;
use crate::record::{FinalState, RunLog};
use seatrial_history::{Answer, Input, Operation, Outcome};
use seatrial_types::kv::{Event, EventKind, KeyValue};
use seatrial_types::{LeaseId, LogIndex, MemberId, Revision, Term};
use std::time::Duration;

pub(crate) const SCENARIO: &str = r#"
title = "hand-made"
why = "for tests"
members = 3
time = "10s"
[[workload]]
name = "kv"
"#;

/// A run of three members in which nothing has happened yet.
pub(crate) fn quiet() -> RunLog {
    let scenario = crate::format::parse("hand-made.toml", SCENARIO).unwrap();
    RunLog::new(Plan::draw(&scenario, 1))
}

pub(crate) fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn saw(log: &mut RunLog, ms: u64, member: u64, incarnation: u32, what: Observation) {
    log.observed.push(Observed { at: at(ms), member: MemberId(member), incarnation, what });
}

pub(crate) fn leads(term: u64) -> Observation {
    Observation::Role { term: Term(term), role: Role::Leader, leader: MemberId::NONE }
}

pub(crate) fn applied(index: u64, term: u64, checksum: u32) -> Observation {
    Observation::Applied { index: LogIndex(index), term: Term(term), checksum, revision: Revision(1) }
}

/// Entries in the log from `first` on, by term and checksum; `begin` where it begins anew.
pub(crate) fn wrote(begin: Option<(u64, u64)>, first: u64, entries: &[(u64, u32)]) -> Observation {
    Observation::Log {
        begin: begin.map(|(index, term)| (LogIndex(index), Term(term))),
        first: LogIndex(first),
        entries: entries.iter().map(|(term, checksum)| (Term(*term), *checksum)).collect(),
    }
}

/// An acknowledged put.
pub(crate) fn put(log: &mut RunLog, ms: (u64, u64), key: &str, value: &str, revision: i64) {
    log.history.operations.push(Operation {
        client: u32::try_from(log.history.operations.len()).unwrap(),
        member: None,
        call: ms.0 * 1_000_000,
        ret: Some(ms.1 * 1_000_000),
        input: Input::put(key, value),
        outcome: Outcome::Ok { revision, result: Answer::Put },
    });
}

pub(crate) fn event(kind: EventKind, key: &str, value: &str, revision: i64, version: i64) -> Event {
    let create = if kind == EventKind::Delete { 0 } else { revision - version + 1 };
    Event {
        kind,
        kv: KeyValue {
            key: key.to_owned().into(),
            value: value.to_owned().into(),
            create_revision: Revision(create),
            mod_revision: Revision(revision),
            version,
            lease: LeaseId::NONE,
        },
        prev_kv: None,
    }
}

/// The end of the run, from a ledger that begins with the first change.
pub(crate) fn ends_with(log: &mut RunLog, ledger: Vec<Event>) {
    let mut state = std::collections::BTreeMap::new();
    for event in &ledger {
        match event.kind {
            EventKind::Put => state.insert(event.kv.key.clone(), event.kv.clone()),
            EventKind::Delete => state.remove(&event.kv.key),
        };
    }
    log.last = Some(FinalState {
        revision: ledger.last().map_or(1, |event| event.kv.mod_revision.0),
        kvs: state.into_values().collect(),
        ledger_from: 1,
        ledger,
    });
}

#[track_caller]
pub(crate) fn violated(finding: &super::Finding) -> &str {
    match finding {
        super::Finding::Violation(violation) => &violation.sentence,
        other => panic!("no violation was found: {other:?}"),
    }
}

/// Hand-made fleets.
pub(crate) mod fleet {
    use super::*;
    use crate::record::{EngineRecord, EngineWord, ProcessEnd, ProcessRecord};
    use crate::theatre::machine_id;

    /// A run of three machines and an operator in which nothing has happened yet.
    pub(crate) fn fleet() -> RunLog {
        let workload = "name = \"units\"\nfaults = []\nacts = []";
        let text = SCENARIO.replace("name = \"kv\"", workload);
        let scenario = crate::format::parse("hand-made.toml", &text).unwrap();
        RunLog::new(Plan::draw(&scenario, 1))
    }

    /// Changes of a fleet's keys: each at its revision, which came so many tenths of a second after the beginning. No value is
    /// a deletion.
    pub(crate) fn ledger(log: &mut RunLog, changes: &[(i64, &str, Option<&str>)]) {
        let mut events = Vec::new();
        for (revision, key, value) in changes {
            let kind = if value.is_some() { EventKind::Put } else { EventKind::Delete };
            let key = format!("/_seatrial/fleet/{key}");
            events.push(event(kind, &key, value.unwrap_or_default(), *revision, 1));
            let what = Observation::Applied {
                index: LogIndex(revision.unsigned_abs()),
                term: Term(1),
                checksum: 0,
                revision: Revision(*revision),
            };
            saw(log, revision.unsigned_abs() * 100, 1, 0, what);
        }
        ends_with(log, events);
    }

    /// The value of a unit's file with one option of `[X-Fleet]`.
    pub(crate) fn asks(name: &str, value: &str) -> String {
        serde_json::json!({ "options": [{ "section": "X-Fleet", "name": name, "value": value }] }).to_string()
    }

    pub(crate) fn on(machine: u32) -> String {
        serde_json::json!({ "machine": machine_id(machine) }).to_string()
    }

    pub(crate) fn machine_key(machine: u32) -> String {
        format!("spec/machine/{}", machine_id(machine))
    }

    pub(crate) fn engine(log: &mut RunLog, ms: u64, machine: u32, what: EngineWord) {
        log.units.engines.push(EngineRecord { machine, at: at(ms), what });
    }

    pub(crate) fn wrote(revision: i64, decisions: &[&str]) -> EngineWord {
        let decisions = decisions.iter().map(|decision| (*decision).to_owned()).collect();
        EngineWord::Wrote { revision, evictions: 0, decisions }
    }

    /// A process that was told to stop, where it has ended.
    pub(crate) fn ran(log: &mut RunLog, machine: u32, unit: &str, from: u64, to: Option<u64>) {
        let pid = u32::try_from(log.units.processes.len()).unwrap();
        log.units.processes.push(ProcessRecord {
            machine,
            unit: unit.to_owned(),
            pid,
            from: at(from),
            told: to.map(at),
            to: to.map(at),
            end: to.map(|_| ProcessEnd::Told),
        });
    }
}
