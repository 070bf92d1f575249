//! A serializable read is the state of the revision it was answered with (etcd: API guarantees). It may be
//! old, never mixed, and never of the future.
//!
//! Looks at every serializable read against the replay of the history. Does not see whether a member's own
//! reads went back in time, which etcd allows across members.

use super::{Finding, Judged, from_history};
use seatrial_history::{Rule, Verdict};

pub(super) fn check(judged: &Judged<'_>) -> Finding {
    match &judged.explained {
        Err(Verdict::Violation(violation)) if violation.rule == Rule::SerializableRead => {
            from_history(violation)
        }
        // Whatever else is wrong with the history is the oracle `linearizable`'s to tell.
        Err(Verdict::Violation(_)) => Finding::Ok,
        Err(Verdict::Unknown { why }) => Finding::Unknown(why.clone()),
        Ok(_) | Err(Verdict::Ok) => Finding::Ok,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ends_with, event, put, quiet, violated};
    use super::*;
    use crate::record::RunLog;
    use seatrial_history::{Answer, Found, Get, Input, Kv, Operation, Outcome};
    use seatrial_types::EventKind;

    fn reads(log: &mut RunLog, revision: i64, value: &str, mod_revision: i64) {
        log.history.operations.push(Operation {
            client: 99,
            member: None,
            call: 90_000_000,
            ret: Some(91_000_000),
            input: Input::Get(Get { key: "a".into(), serializable: true, ..Get::default() }),
            outcome: Outcome::Ok {
                revision,
                result: Answer::Get(Found {
                    kvs: vec![Kv { key: "a".into(), value: value.into(), mod_revision, ..Kv::default() }],
                    count: Some(1),
                }),
            },
        });
    }

    fn two_writes() -> RunLog {
        let mut log = quiet();
        put(&mut log, (1, 2), "a", "1", 2);
        put(&mut log, (3, 4), "a", "2", 3);
        ends_with(
            &mut log,
            vec![event(EventKind::Put, "a", "1", 2, 1), event(EventKind::Put, "a", "2", 3, 2)],
        );
        log
    }

    #[test]
    fn a_serializable_read_of_the_wrong_state_is_a_violation() {
        let mut log = two_writes();
        reads(&mut log, 3, "1", 2);
        assert!(violated(&check(&Judged::new(&log))).contains("serializable"));
    }

    #[test]
    fn an_old_but_whole_state_is_none() {
        let mut log = two_writes();
        reads(&mut log, 2, "1", 2);
        assert_eq!(check(&Judged::new(&log)), Finding::Ok);
    }

    #[test]
    fn a_mixture_of_two_revisions_and_a_state_to_come_are_violations() {
        let mut log = two_writes();
        reads(&mut log, 2, "2", 3);
        violated(&check(&Judged::new(&log)));
        let mut mixed = two_writes();
        put(&mut mixed, (5, 6), "b", "3", 4);
        let last = mixed.last.as_mut().unwrap();
        last.ledger.push(event(EventKind::Put, "b", "3", 4, 1));
        (last.revision, last.kvs) = (4, vec![last.ledger[1].kv.clone(), last.ledger[2].kv.clone()]);
        let both = |a: (&str, i64)| {
            let kv = |key: &str, value: &str, mod_revision| Kv {
                key: key.into(),
                value: value.into(),
                mod_revision,
                ..Kv::default()
            };
            Answer::Get(Found { kvs: vec![kv("a", a.0, a.1), kv("b", "3", 4)], count: Some(2) })
        };
        reads(&mut mixed, 4, "2", 3);
        let read = mixed.history.operations.last_mut().unwrap();
        read.input =
            Input::Get(Get { key: "a".into(), end: Some("c".into()), serializable: true, ..Get::default() });
        read.outcome = Outcome::Ok { revision: 4, result: both(("2", 3)) };
        assert_eq!(check(&Judged::new(&mixed)), Finding::Ok);
        let read = mixed.history.operations.last_mut().unwrap();
        read.outcome = Outcome::Ok { revision: 4, result: both(("1", 2)) };
        violated(&check(&Judged::new(&mixed)));
    }

    #[test]
    fn a_linearizable_read_of_the_past_is_not_its_own() {
        let mut log = two_writes();
        reads(&mut log, 2, "1", 2);
        let read = log.history.operations.last_mut().unwrap();
        read.input = Input::get("a");
        assert_eq!(check(&Judged::new(&log)), Finding::Ok);
        assert!(log.history.operations.len() == 3 && Judged::new(&log).explained.is_err(), "but it is wrong");
    }
}
