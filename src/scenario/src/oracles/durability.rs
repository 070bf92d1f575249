//! Every acknowledged write is there at the end (etcd: API guarantees, durability).
//!
//! After the storm a watch from the oldest revision kept tells every change there is: the ledger. Each
//! acknowledged put must stand in it at the revision it was acknowledged with, with its value, and the
//! store's revision must not be below any that was ever told to a client.
//!
//! Does not see writes whose revisions were compacted away, and does not run where the cluster did not heal
//! (`convergence` then fails).

use super::{Finding, Violation};
use crate::record::{FinalState, RunLog};
use bytes::Bytes;
use seatrial_history::{Action, Answer, Input, Operation};
use seatrial_types::EventKind;
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) fn check(log: &RunLog) -> Finding {
    check_those(log, |_, _| true)
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
    // Without it nothing can be said of single writes.
    let is_unread = last.ledger.is_empty() && last.revision >= last.ledger_from.max(2);
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
        if is_unread || revision < last.ledger_from || !answer.changed() {
            continue;
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
    if is_unread {
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
    fn a_ledger_that_nobody_could_read_is_unknown() {
        let mut log = quiet();
        put(&mut log, (1, 2), "a", "1", 2);
        assert!(matches!(check(&log), Finding::Unknown(_)));
        log.last = Some(FinalState { revision: 2, ledger_from: 3, ..FinalState::default() });
        log.last.as_mut().unwrap().ledger_from = 0;
        assert!(matches!(check(&log), Finding::Unknown(_)), "of the write nothing can be said");
        put(&mut log, (3, 4), "a", "2", 3);
        assert!(violated(&check(&log)).contains("the store ends at revision 2"));
        log.history.operations.clear();
        assert!(matches!(check(&log), Finding::Unknown(_)));
    }
}
