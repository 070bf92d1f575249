//! One order of all operations explains every answer and agrees with real time (etcd: API guarantees,
//! linearizability).
//!
//! Judged twice: guided by the revisions that every answer carries, over everything; and by a general search
//! that knows nothing of revisions, key by key. Where one finds the history good and the other bad, one of
//! them is wrong, and that is a failure too.
//!
//! Does not see what no client looked at. The search has a budget; running out of it is no verdict, and then
//! the first opinion stands alone.

use super::{Finding, Judged, Violation, from_history};
use crate::record::RunLog;
use seatrial_history::{
    Action, Answer, Budget, Final, History, Input, Operation, Outcome, Rule, Verdict, search,
};

/// The second opinion's budget: bounded, so that a batch stays within its time.
const SEARCH: Budget = Budget { steps: 100_000, memo_bytes: 32 << 20 };

pub(super) fn check(judged: &Judged<'_>) -> Finding {
    match &judged.explained {
        // The oracle of serializable reads tells that one.
        Err(Verdict::Violation(violation)) if violation.rule == Rule::SerializableRead => Finding::Ok,
        // What only the end shows is the oracle of durability's, where it does see it.
        Err(Verdict::Violation(violation))
            if matches!(violation.rule, Rule::Durability | Rule::FinalState)
                && asks(judged.log, "durability")
                && matches!(super::durability::check(judged.log), Finding::Violation(_)) =>
        {
            Finding::Ok
        }
        Err(Verdict::Violation(violation)) => from_history(violation),
        Err(Verdict::Unknown { why }) => Finding::Unknown(why.clone()),
        Ok(_) | Err(Verdict::Ok) => match second_opinion(judged.log) {
            Verdict::Violation(violation) => Finding::Violation(Violation {
                sentence: format!(
                    "the checkers disagree: revisions find no fault, but by search {violation}"
                ),
                at: violation.at.map(std::time::Duration::from_nanos),
                member: None,
                operations: violation.operations.clone(),
            }),
            Verdict::Ok | Verdict::Unknown { .. } => Finding::Ok,
        },
    }
}

fn asks(log: &RunLog, oracle: &str) -> bool {
    log.plan.scenario.expect.oracles.iter().any(|name| name == oracle)
}

/// Key by key: reads of many keys would tie all of them together, and the search would drown. Leases' ends
/// take part as deletes whose outcome is unknown.
fn second_opinion(log: &RunLog) -> Verdict {
    let is_single = |input: &Input| !matches!(input, Input::Get(get) if get.end.is_some());
    let kept: Vec<usize> = (0..log.history.operations.len())
        .filter(|place| is_single(&log.history.operations[*place].input))
        .collect();
    let history = History {
        initial: log.history.initial.clone(),
        operations: kept.iter().map(|place| in_the_present(&log.history.operations[*place])).collect(),
    };
    match search::check_values(&history, &Final::default(), SEARCH) {
        Verdict::Violation(mut violation) => {
            violation.operations = violation.operations.iter().map(|place| kept[*place]).collect();
            Verdict::Violation(violation)
        }
        other => other,
    }
}

/// The operation without what a transaction read at an older revision: a search that knows nothing of revisions cannot
/// judge that, and the first opinion has.
fn in_the_present(operation: &Operation) -> Operation {
    let mut operation = operation.clone();
    let Input::Txn(txn) = &mut operation.input else { return operation };
    let is_past = |action: &Action| matches!(action, Action::Get(get) if get.revision > 0);
    if let Outcome::Ok { result: Answer::Txn { succeeded, results }, .. } = &mut operation.outcome {
        let branch = if *succeeded { &txn.then } else { &txn.otherwise };
        let mut told = branch.iter();
        results.retain(|_| !told.next().is_some_and(is_past));
    }
    txn.then.retain(|action| !is_past(action));
    txn.otherwise.retain(|action| !is_past(action));
    operation
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ends_with, event, put, quiet, violated};
    use super::*;
    use seatrial_history::{Found, Get, Kv, Put, Txn};
    use seatrial_types::EventKind;

    fn two_writes_and_a_read(call_ms: u64, value: &str, mod_revision: i64, revision: i64) -> RunLog {
        let mut log = quiet();
        put(&mut log, (1, 2), "a", "1", 2);
        put(&mut log, (10, 20), "a", "2", 3);
        log.history.operations.push(Operation {
            client: 9,
            member: None,
            call: call_ms * 1_000_000,
            ret: Some((call_ms + 1) * 1_000_000),
            input: Input::get("a"),
            outcome: Outcome::Ok {
                revision,
                result: Answer::Get(Found {
                    kvs: vec![Kv { key: "a".into(), value: value.into(), mod_revision, ..Kv::default() }],
                    count: Some(1),
                }),
            },
        });
        ends_with(
            &mut log,
            vec![event(EventKind::Put, "a", "1", 2, 1), event(EventKind::Put, "a", "2", 3, 2)],
        );
        log
    }

    #[test]
    fn a_read_of_the_past_is_a_violation() {
        let log = two_writes_and_a_read(30, "1", 2, 2);
        violated(&check(&Judged::new(&log)));
        let Verdict::Violation(second) = second_opinion(&log) else { panic!("the search saw nothing") };
        assert!(second.operations.contains(&2), "{second:?}");
    }

    #[test]
    fn what_only_the_end_shows_is_left_to_who_judges_the_end() {
        let mut log = quiet();
        put(&mut log, (1, 2), "a", "1", 2);
        put(&mut log, (10, 20), "a", "2", 3);
        ends_with(&mut log, vec![event(EventKind::Put, "a", "1", 2, 1)]);
        violated(&super::super::durability::check(&log));
        assert_eq!(check(&Judged::new(&log)), Finding::Ok);
        log.plan.scenario.expect.oracles.retain(|name| name != "durability");
        violated(&check(&Judged::new(&log)));
    }

    #[test]
    fn what_a_transaction_reads_of_the_past_is_not_held_against_the_present() {
        let mut log = quiet();
        put(&mut log, (1, 2), "a", "1", 2);
        put(&mut log, (10, 20), "a", "2", 3);
        let past = Action::Get(Get { key: "a".into(), revision: 2, ..Get::default() });
        let write = Action::Put(Put { key: "a".into(), value: "3".into() });
        let old = Kv { key: "a".into(), value: "1".into(), mod_revision: 2, ..Kv::default() };
        let results = vec![Answer::Get(Found { kvs: vec![old], count: Some(1) }), Answer::Put];
        log.history.operations.push(Operation {
            client: 9,
            member: None,
            call: 30_000_000,
            ret: Some(31_000_000),
            input: Input::Txn(Txn { compare: Vec::new(), then: vec![past, write], otherwise: Vec::new() }),
            outcome: Outcome::Ok { revision: 4, result: Answer::Txn { succeeded: true, results } },
        });
        let ledger = [("1", 2, 1), ("2", 3, 2), ("3", 4, 3)];
        let ledger =
            ledger.map(|(value, revision, version)| event(EventKind::Put, "a", value, revision, version));
        ends_with(&mut log, ledger.to_vec());
        assert_eq!(check(&Judged::new(&log)), Finding::Ok);
    }

    #[test]
    fn a_read_of_the_past_beside_the_write_is_none() {
        let log = two_writes_and_a_read(15, "1", 2, 2);
        assert_eq!(check(&Judged::new(&log)), Finding::Ok);
    }
}
