//! Every acknowledged write is there at the end (etcd: API guarantees, durability).
//!
//! After the storm a watch from the oldest revision kept tells every change there is: the ledger. Each
//! acknowledged put must stand in it at the revision it was acknowledged with, with its value, and the
//! store's revision must not be below any that was ever told to a client.
//!
//! What the last read finds is what these changes make of every key; and a key whose changes are compacted away is still there
//! with its newest acknowledged version, unless something may have deleted it.
//!
//! Does not see older versions that were compacted away, and does not run where the cluster did not heal
//! (`convergence` then fails).

use super::{Finding, Violation};
use crate::record::{FinalState, RunLog};
use bytes::Bytes;
use seatrial_history::{Action, Answer, Delete, Input, Operation, Outcome};
use seatrial_types::EventKind;
use seatrial_types::kv::{Event, KeyValue};
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) fn check(log: &RunLog) -> Finding {
    match (check_those(log, |_, _| true), &log.last) {
        (Finding::Ok, Some(last)) => state(log, last).unwrap_or(Finding::Ok),
        (found, _) => found,
    }
}

/// What was read at the end is what all changes make, and what was written before the oldest change kept is still there.
fn state(log: &RunLog, last: &FinalState) -> Option<Finding> {
    let held: BTreeMap<&Bytes, &KeyValue> = last.kvs.iter().map(|kv| (&kv.key, kv)).collect();
    let changed: BTreeMap<&Bytes, &Event> = last.ledger.iter().map(|event| (&event.kv.key, event)).collect();
    for (key, event) in &changed {
        let is_so = match (event.kind, held.get(key)) {
            (EventKind::Put, Some(kv)) => **kv == event.kv,
            (EventKind::Delete, None) => true,
            (EventKind::Put, None) | (EventKind::Delete, Some(_)) => false,
        };
        if !is_so {
            let what = match event.kind {
                EventKind::Put => "put",
                EventKind::Delete => "deleted",
            };
            let sentence = format!(
                "the last change of {} is that it was {what} at revision {}, but the last read at revision {} found {}",
                show(key),
                event.kv.mod_revision,
                last.revision,
                held.get(key).map_or("nothing".to_owned(), |kv| {
                    format!("version {} of revision {}", kv.version, kv.mod_revision)
                }),
            );
            return Some(Finding::violation(sentence, None, None));
        }
    }
    let mut newest: BTreeMap<&Bytes, (i64, usize)> = BTreeMap::new();
    for (place, operation) in log.history.operations.iter().enumerate() {
        let Some((revision, answer)) = operation.outcome.answered() else { continue };
        for (key, _) in written(&operation.input, answer) {
            let known = newest.entry(key).or_insert((revision, place));
            *known = (*known).max((revision, place));
        }
    }
    for (key, (revision, place)) in newest {
        let found = held.get(key).map_or(0, |kv| kv.mod_revision.0);
        if changed.contains_key(key) || found >= revision || may_be_gone(log, key, revision) {
            continue;
        }
        let what = format!(
            "was acknowledged at revision {revision}, nothing can have removed it, and the last read found {}",
            if found == 0 { "nothing".to_owned() } else { format!("a version of revision {found}") }
        );
        return Some(lost(place, &log.history.operations[place], what));
    }
    None
}

/// Whether something may have deleted a key after this revision: its lease, or a client.
fn may_be_gone(log: &RunLog, key: &Bytes, revision: i64) -> bool {
    let deletes = |input: &Input| match input {
        Input::Delete(delete) => is_meant(delete, key),
        Input::Txn(txn) => txn
            .then
            .iter()
            .chain(&txn.otherwise)
            .any(|action| matches!(action, Action::Delete(delete) if is_meant(delete, key))),
        _ => false,
    };
    let may_have_come = |operation: &Operation| match &operation.outcome {
        Outcome::Ok { revision: at, .. } => *at > revision,
        Outcome::Failed { .. } => false,
        Outcome::Unknown { .. } => true,
    };
    key.starts_with(b"lease/")
        || log
            .history
            .operations
            .iter()
            .any(|operation| deletes(&operation.input) && may_have_come(operation))
}

fn show(key: &Bytes) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(key)
}

/// The same for some of the operations, by what was done and at which revision it was answered.
pub(super) fn check_those(log: &RunLog, asked: impl Fn(&Operation, i64) -> bool) -> Finding {
    let last = match &log.last {
        Some(last) if last.revision > 0 => last,
        _ => return Finding::Unknown("the run ended before the store could be read a last time".to_owned()),
    };
    let ledger: BTreeMap<(i64, &Bytes), (EventKind, &Bytes)> = last
        .ledger
        .iter()
        .map(|event| ((event.kv.mod_revision.0, &event.kv.key), (event.kind, &event.kv.value)))
        .collect();
    for (place, operation) in log.history.operations.iter().enumerate() {
        let Some((revision, answer)) = operation.outcome.answered() else { continue };
        if !asked(operation, revision) {
            continue;
        }
        if revision > last.revision {
            return lost(
                place,
                operation,
                format!(
                    "was answered at revision {revision}, but the store ends at revision {}",
                    last.revision
                ),
            );
        }
        if revision < last.ledger_from || last.is_unread() || !answer.changed() {
            continue;
        }
        if let (Input::Delete(delete), Answer::Delete { deleted }) = (&operation.input, answer) {
            let gone = ledger
                .range((revision, &Bytes::new())..(revision + 1, &Bytes::new()))
                .filter(|((_, key), (kind, _))| *kind == EventKind::Delete && is_meant(delete, key))
                .count() as u64;
            if gone != *deleted {
                let what = format!(
                    "was acknowledged at revision {revision} as gone ({deleted} keys), where {gone} went"
                );
                return lost(place, operation, what);
            }
        }
        for (key, value) in written(&operation.input, answer) {
            match ledger.get(&(revision, key)) {
                Some((EventKind::Put, found)) if *found == value => {}
                Some((EventKind::Put, found)) => {
                    let found = String::from_utf8_lossy(found);
                    return lost(
                        place,
                        operation,
                        format!("was acknowledged at revision {revision}, where now stands {found:?}"),
                    );
                }
                _ => {
                    return lost(
                        place,
                        operation,
                        format!("was acknowledged at revision {revision}, where nothing of it is left"),
                    );
                }
            }
        }
    }
    if last.is_unread() {
        return Finding::Unknown(unread(last));
    }
    Finding::Ok
}

fn unread(last: &FinalState) -> String {
    format!("no member told the changes up to revision {} in time", last.revision)
}

fn lost(place: usize, operation: &Operation, what: String) -> Finding {
    Finding::Violation(Violation {
        sentence: format!("{} of client {} {what}", operation.input, operation.client),
        at: operation.ret.map(Duration::from_nanos),
        member: None,
        operations: vec![place],
    })
}

fn is_meant(delete: &Delete, key: &Bytes) -> bool {
    match &delete.end {
        None => *key == delete.key.0,
        Some(end) => *key >= delete.key.0 && (end.0.as_ref() == b"\0" || *key < end.0),
    }
}

/// Keys and values that an acknowledged operation wrote.
pub(super) fn written<'a>(input: &'a Input, answer: &Answer) -> Vec<(&'a Bytes, &'a Bytes)> {
    match (input, answer) {
        (Input::Put(put), _) => vec![(&put.key.0, &put.value.0)],
        (Input::Txn(txn), Answer::Txn { succeeded, .. }) => {
            let branch = if *succeeded { &txn.then } else { &txn.otherwise };
            branch
                .iter()
                .filter_map(|action| match action {
                    Action::Put(put) => Some((&put.key.0, &put.value.0)),
                    Action::Get(_) | Action::Delete(_) => None,
                })
                .collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ends_with, event, put, quiet, violated};
    use super::*;

    #[test]
    fn an_acknowledged_write_that_is_gone_is_a_violation() {
        let mut log = quiet();
        put(&mut log, (1, 2), "a", "1", 2);
        put(&mut log, (3, 4), "b", "2", 3);
        ends_with(&mut log, vec![event(EventKind::Put, "a", "1", 2, 1)]);
        assert!(violated(&check(&log)).contains("the store ends at revision 2"));
    }

    #[test]
    fn an_acknowledged_write_that_another_one_replaced_is_a_violation() {
        let mut log = quiet();
        put(&mut log, (1, 2), "a", "1", 2);
        ends_with(&mut log, vec![event(EventKind::Put, "a", "9", 2, 1)]);
        assert!(violated(&check(&log)).contains("where now stands \"9\""));
    }

    #[test]
    fn a_write_that_was_overwritten_or_compacted_later_is_none() {
        let mut log = quiet();
        put(&mut log, (1, 2), "a", "1", 2);
        put(&mut log, (3, 4), "a", "2", 3);
        ends_with(
            &mut log,
            vec![event(EventKind::Put, "a", "1", 2, 1), event(EventKind::Put, "a", "2", 3, 2)],
        );
        assert_eq!(check(&log), Finding::Ok);

        let last = log.last.as_mut().unwrap();
        last.ledger.remove(0);
        last.ledger_from = 3;
        assert_eq!(check(&log), Finding::Ok);
    }

    #[test]
    fn a_last_read_that_is_not_what_the_changes_make_is_a_violation() {
        let mut log = quiet();
        put(&mut log, (1, 2), "a", "1", 2);
        put(&mut log, (3, 4), "a", "2", 3);
        let (first, second) = (event(EventKind::Put, "a", "1", 2, 1), event(EventKind::Put, "a", "2", 3, 2));
        ends_with(&mut log, vec![first.clone(), second]);
        assert_eq!(check(&log), Finding::Ok);
        log.last.as_mut().unwrap().kvs = vec![first.kv];
        assert_eq!(
            violated(&check(&log)),
            "the last change of a is that it was put at revision 3, but the last read at revision 3 found version 1 of \
             revision 2"
        );
        log.last.as_mut().unwrap().kvs.clear();
        assert!(violated(&check(&log)).ends_with("found nothing"));
    }

    #[test]
    fn a_key_that_is_gone_with_its_compacted_changes_is_a_violation_unless_something_may_have_deleted_it() {
        let mut log = quiet();
        put(&mut log, (1, 2), "a", "1", 2);
        put(&mut log, (3, 4), "b", "2", 3);
        ends_with(&mut log, vec![event(EventKind::Put, "b", "2", 3, 1)]);
        log.last.as_mut().unwrap().ledger_from = 3;
        assert!(
            violated(&check(&log)).contains("nothing can have removed it, and the last read found nothing")
        );
        let mut unknown = log.clone();
        put(&mut unknown, (5, 6), "a", "", 4);
        unknown.history.operations[2].input = Input::Delete(Delete { key: "a".into(), end: None });
        unknown.history.operations[2].outcome = Outcome::Unknown { error: "timed out".to_owned() };
        assert_eq!(check(&unknown), Finding::Ok, "it may have come");
        unknown.history.operations[2].outcome = Outcome::Failed { error: "no leader".to_owned() };
        violated(&check(&unknown));
        let mut before = log.clone();
        put(&mut before, (0, 1), "a", "", 1);
        before.history.operations[2].input = Input::Delete(Delete { key: "a".into(), end: None });
        before.history.operations[2].outcome =
            Outcome::Ok { revision: 1, result: Answer::Delete { deleted: 1 } };
        violated(&check(&before));
    }

    #[test]
    fn an_acknowledged_delete_that_left_its_key_is_a_violation() {
        let mut log = quiet();
        put(&mut log, (1, 2), "a", "1", 2);
        put(&mut log, (3, 4), "a", "", 3);
        log.history.operations[1].input = Input::Delete(Delete { key: "a".into(), end: None });
        log.history.operations[1].outcome =
            seatrial_history::Outcome::Ok { revision: 3, result: Answer::Delete { deleted: 1 } };
        let put_a = event(EventKind::Put, "a", "1", 2, 1);
        ends_with(&mut log, vec![put_a.clone(), event(EventKind::Delete, "a", "", 3, 0)]);
        assert_eq!(check(&log), Finding::Ok);
        // Another key went at that revision.
        ends_with(&mut log, vec![put_a, event(EventKind::Delete, "b", "", 3, 0)]);
        assert!(violated(&check(&log)).contains("as gone (1 keys), where 0 went"));
    }

    #[test]
    fn a_ledger_that_nobody_could_read_is_unknown() {
        let mut log = quiet();
        put(&mut log, (1, 2), "a", "1", 2);
        assert!(matches!(check(&log), Finding::Unknown(_)));
        log.last = Some(FinalState { revision: 2, ..FinalState::default() });
        assert!(matches!(check(&log), Finding::Unknown(_)));
        log.last.as_mut().unwrap().revision = 1;
        assert!(violated(&check(&log)).contains("the store ends at revision 1"), "that needs no ledger");
    }
}
