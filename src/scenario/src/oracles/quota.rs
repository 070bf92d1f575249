//! A store that is full takes nothing more until space is freed, and goes on answering (etcd: maintenance, space quota).
//!
//! Three rules:
//! 1. *Nothing in.* From the moment an operator was told of the alarm NOSPACE until it begins to take it back, no write that puts
//!    a key is asked and acknowledged. (Not judged where an attempt to take an alarm back went unanswered before.)
//! 2. *Reads and deletions go on.* None is refused for lack of space.
//! 3. *The quota is a bound.* What was put since the last compaction never exceeds it by more than what clients can put while
//!    a member writes its store.
//!
//! That writes are taken again once space was freed is `convergence`'s to see: without that nothing heals. Does not see writes
//! that were refused before they had to be.

use super::durability::written;
use super::{Finding, Violation};
use crate::format::spec::WorkloadKind;
use crate::record::{RunLog, SpaceStep, nanos};
use seatrial_history::{Input, Operation, Outcome};
use std::time::Duration;

/// The store is written every half a second, and a slow disk may take as long again, thrice.
const BEHIND: Duration = Duration::from_secs(2);

pub(super) fn check(log: &RunLog) -> Finding {
    if log.plan.knobs.quota_bytes == 0 {
        return Finding::Ok;
    }
    let violation = let_in(log).or_else(|| refused(log)).or_else(|| outgrown(log));
    violation.unwrap_or(Finding::Ok)
}

fn violation(place: usize, operation: &Operation, what: &str) -> Finding {
    Finding::Violation(Violation {
        sentence: format!("{} of client {} {what}", operation.input, operation.client),
        at: operation.ret.map(Duration::from_nanos),
        member: None,
        operations: vec![place],
    })
}

/// Bytes that an acknowledged operation put, with the revision of its answer.
fn put(operation: &Operation) -> Option<(i64, u64)> {
    let (revision, answer) = operation.outcome.answered()?;
    let written = written(&operation.input, answer);
    let bytes = written.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
    (answer.changed() && !written.is_empty()).then_some((revision, bytes))
}

fn let_in(log: &RunLog) -> Option<Finding> {
    for alarmed in log.space.iter().filter(|step| step.what == SpaceStep::Alarmed) {
        let from = alarmed.seen.ret;
        let mut disarms = log.space.iter().filter(|step| step.what == SpaceStep::Disarm);
        if disarms.clone().any(|step| !step.done && step.seen.call <= from) {
            continue;
        }
        let until = disarms.find(|step| step.seen.call >= from).map_or(log.ended, |step| step.seen.call);
        let (from, until) = (nanos(from), nanos(until));
        let within = |operation: &Operation| {
            operation.call >= from
                && operation.ret.is_some_and(|ret| ret <= until)
                && put(operation).is_some()
        };
        if let Some(place) = log.history.operations.iter().position(within) {
            let what =
                format!("was acknowledged, though the alarm NOSPACE was told at {:?}", alarmed.seen.ret);
            return Some(violation(place, &log.history.operations[place], &what));
        }
    }
    None
}

fn refused(log: &RunLog) -> Option<Finding> {
    let needs_none = |input: &Input| matches!(input, Input::Get(_) | Input::Delete(_));
    let no_space = seatrial_types::Error::NoSpace.to_string();
    let is_refused = |operation: &Operation| match &operation.outcome {
        Outcome::Failed { error } => *error == no_space && needs_none(&operation.input),
        _ => false,
    };
    let place = log.history.operations.iter().position(is_refused)?;
    Some(violation(
        place,
        &log.history.operations[place],
        "was refused for lack of space, though it needs none",
    ))
}

fn outgrown(log: &RunLog) -> Option<Finding> {
    let quota = log.plan.knobs.quota_bytes;
    let kv = log.plan.clients.iter().filter(|client| client.spec.kind == WorkloadKind::Kv);
    // So many at the mean, and half as many again by chance.
    let slack: u64 = kv
        .map(|client| {
            let often = BEHIND.as_nanos() / client.spec.think.as_nanos().max(1) * 3 / 2 + 1;
            client.spec.value_bytes * u64::try_from(often).unwrap_or(u64::MAX)
        })
        .sum();
    let mut puts: Vec<(i64, u64, usize)> = log
        .history
        .operations
        .iter()
        .enumerate()
        .filter_map(|(place, operation)| put(operation).map(|(revision, bytes)| (revision, bytes, place)))
        .collect();
    puts.sort_unstable();
    let mut compactions: Vec<i64> =
        log.space.iter().filter(|step| step.what == SpaceStep::Compact).map(|step| step.revision).collect();
    compactions.sort_unstable();
    let (mut held, mut next) = (0, compactions.into_iter().peekable());
    for (revision, bytes, place) in puts {
        // Whether it was done or not: it may have been.
        while next.next_if(|compacted| *compacted < revision).is_some() {
            held = 0;
        }
        held += bytes;
        if held > quota + slack {
            let what = format!(
                "was acknowledged at revision {revision}: with it clients have put {held} bytes since the last compaction, \
                 into a store of {quota}"
            );
            return Some(violation(place, &log.history.operations[place], &what));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, put, quiet, violated};
    use super::*;
    use crate::record::{Sighting, SpaceRecord};
    use seatrial_history::{Answer, Get};

    fn step(what: SpaceStep, ms: (u64, u64), revision: i64, done: bool) -> SpaceRecord {
        SpaceRecord { what, seen: Sighting { call: at(ms.0), ret: at(ms.1) }, revision, done }
    }

    /// The alarm is told at 1010 ms and taken back from 2000 ms on.
    fn full() -> RunLog {
        let mut log = quiet();
        log.plan.knobs.quota_bytes = 100_000;
        log.ended = at(9000);
        log.space = vec![
            step(SpaceStep::Alarmed, (1000, 1010), 5, true),
            step(SpaceStep::Compact, (1500, 1510), 5, true),
            step(SpaceStep::Disarm, (2000, 2010), 0, true),
        ];
        log
    }

    #[test]
    fn a_put_under_the_alarm_is_a_violation_and_one_before_or_after_is_none() {
        let mut log = full();
        put(&mut log, (900, 1020), "k", "v", 6);
        put(&mut log, (1500, 2005), "k", "v", 7);
        put(&mut log, (2100, 2110), "k", "v", 8);
        assert_eq!(check(&log), Finding::Ok);
        put(&mut log, (1010, 1999), "k", "v", 6);
        assert!(violated(&check(&log)).contains("though the alarm NOSPACE was told at 1.01s"));
        log.space.insert(0, step(SpaceStep::Disarm, (500, 900), 0, false));
        assert_eq!(check(&log), Finding::Ok, "that one may have come late");
        log.plan.knobs.quota_bytes = 0;
        assert_eq!(check(&log), Finding::Ok, "there is no quota");
    }

    #[test]
    fn a_read_or_a_deletion_refused_for_space_is_a_violation_and_a_put_is_none() {
        let refused = |input: Input, error: seatrial_types::Error| {
            let mut log = full();
            put(&mut log, (1100, 1200), "k", "v", 6);
            log.history.operations[0].input = input;
            log.history.operations[0].outcome = Outcome::Failed { error: error.to_string() };
            check(&log)
        };
        let no_space = seatrial_types::Error::NoSpace;
        let get = || Input::Get(Get { key: "k".into(), ..Get::default() });
        assert!(violated(&refused(get(), no_space.clone())).contains("though it needs none"));
        assert!(violated(&refused(Input::delete("k"), no_space.clone())).contains("though it needs none"));
        assert_eq!(refused(Input::put("k", "v"), no_space), Finding::Ok);
        assert_eq!(refused(get(), seatrial_types::Error::NoLeader), Finding::Ok);
    }

    #[test]
    fn what_is_put_beyond_quota_and_slack_is_a_violation_and_a_compaction_makes_room() {
        let large = "x".repeat(60_000);
        let mut log = full();
        log.space.clear();
        put(&mut log, (10, 20), "k", &large, 2);
        put(&mut log, (30, 40), "k", &large, 3);
        assert!(violated(&check(&log)).contains("since the last compaction, into a store of 100000"));
        log.space.push(step(SpaceStep::Compact, (22, 25), 2, false));
        assert_eq!(check(&log), Finding::Ok);
        let mut slack = full();
        slack.space.clear();
        put(&mut slack, (10, 20), "k", &"x".repeat(99_000), 2);
        put(&mut slack, (30, 40), "k", &"x".repeat(1500), 3);
        assert!(matches!(slack.history.operations[1].outcome.answered(), Some((3, Answer::Put))));
        assert_eq!(check(&slack), Finding::Ok, "that may have been on its way");
    }
}
