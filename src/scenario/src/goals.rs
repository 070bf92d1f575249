//! Things worth reaching: a batch that never met the rare event proves nothing about it.

use crate::format::spec::GoalKind;
use crate::observation::{Observation, Role};
use crate::record::{ChangeRecord, RunLog, SpaceStep, nanos};
use seatrial_history::{Operation, Outcome};
use seatrial_types::LogIndex;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What this run reached, and of each the first time it did.
#[must_use]
pub(crate) fn first_times(log: &RunLog) -> Vec<(GoalKind, Option<Duration>)> {
    GoalKind::ALL.iter().map(|goal| (*goal, first(*goal, log))).collect()
}

/// What this run reached.
#[must_use]
pub(crate) fn reached(log: &RunLog) -> Vec<GoalKind> {
    first_times(log).into_iter().filter_map(|(goal, at)| at.map(|_| goal)).collect()
}

fn first(goal: GoalKind, log: &RunLog) -> Option<Duration> {
    let storm = log.plan.scenario.time;
    let observed = |wanted: &dyn Fn(&Observation) -> bool| {
        log.observed.iter().find(|seen| wanted(&seen.what)).map(|seen| seen.at)
    };
    let mut operations = log.history.operations.iter();
    let end = |ret: Option<u64>| ret.map(Duration::from_nanos);
    match goal {
        GoalKind::WriteAcknowledged => operations
            .find(|op| op.outcome.answered().is_some_and(|(_, answer)| answer.changed()))
            .and_then(|op| end(op.ret)),
        GoalKind::ReadAnswered => operations
            .find(|op| op.outcome.answered().is_some() && !op.input.can_write())
            .and_then(|op| end(op.ret)),
        GoalKind::WriteAmbiguous => operations
            .find(|op| {
                op.input.can_write() && op.ret.is_some() && matches!(op.outcome, Outcome::Unknown { .. })
            })
            .and_then(|op| end(op.ret)),
        GoalKind::ServedDuringFault => operations
            .filter(|op| op.outcome.answered().is_some_and(|(_, answer)| answer.changed()))
            .filter_map(|op| Some((Duration::from_nanos(op.call), end(op.ret)?)))
            .find(|(call, ret)| {
                log.faults.iter().any(|fault| fault.from <= *call && *ret <= fault.to.unwrap_or(storm))
            })
            .map(|(_, ret)| ret),
        GoalKind::LeaderChanged => {
            let mut terms = BTreeSet::new();
            log.observed
                .iter()
                .filter_map(|seen| match seen.what {
                    Observation::Role { term, role: Role::Leader, .. } => Some((term, seen.at)),
                    _ => None,
                })
                .find(|(term, _)| {
                    terms.insert(*term);
                    terms.len() > 1
                })
                .map(|(_, at)| at)
        }
        GoalKind::MemberRestarted => {
            let again = log
                .observed
                .iter()
                .find(|seen| seen.incarnation > 0 && matches!(seen.what, Observation::Started { .. }));
            again.map(|seen| seen.at)
        }
        GoalKind::MemberStopped => observed(&|what| matches!(what, Observation::Failed { .. })),
        GoalKind::SnapshotSent => observed(&|what| matches!(what, Observation::SnapshotStarted { .. })),
        GoalKind::SnapshotInstalled => {
            observed(&|what| matches!(what, Observation::SnapshotInstalled { .. }))
        }
        GoalKind::LogCompacted => observed(&|what| matches!(what, Observation::LogCompacted { .. })),
        GoalKind::WalTailCut => observed(&|what| matches!(what, Observation::Finding { damage: false, .. })),
        GoalKind::WalDamageFound => {
            observed(&|what| matches!(what, Observation::Finding { damage: true, .. }))
        }
        GoalKind::WatchResumed => {
            let resumed = log.watches.iter().find(|watch| watch.resumes && watch.created_at.is_some());
            resumed.and_then(|watch| watch.created_at)
        }
        GoalKind::WatchEvent => {
            let batches = log.watches.iter().flat_map(|watch| &watch.batches);
            batches.filter(|batch| !batch.events.is_empty()).map(|batch| batch.at).min()
        }
        GoalKind::LeaseExpired => log.leases.iter().filter_map(|lease| Some(lease.gone?.ret)).min(),
        GoalKind::LeaseOverLeaders => {
            let reigns = crate::oracles::lease_reigns(log);
            let ended = log.leases.iter().filter_map(|lease| {
                let gone = lease.gone?;
                let led =
                    |reign: &&Vec<Duration>| reign.iter().any(|at| lease.last_tried < *at && *at < gone.call);
                let with_checkpoints = !log.plan.knobs.lease_checkpoint.is_zero();
                (with_checkpoints && reigns.iter().filter(led).count() > 2).then_some(gone.ret)
            });
            ended.min()
        }
        GoalKind::LockHeld => log.locks.iter().filter_map(|lock| Some(lock.told?.ret)).min(),
        GoalKind::LockWaited => {
            // Who need not wait is told at the revision of its own key.
            let waited = log.locks.iter().filter(|lock| {
                let last = log.last.iter().flat_map(|last| &last.ledger);
                let created = last.filter(|event| event.kv.key.as_ref() == lock.key.as_bytes());
                created.map(|event| event.kv.create_revision.0).max().is_some_and(|at| at < lock.revision)
            });
            waited.filter_map(|lock| Some(lock.told?.ret)).min()
        }
        GoalKind::WriteFenced => {
            let writes = log.locks.iter().flat_map(|lock| &lock.writes);
            writes.filter(|write| write.refused).map(|write| write.seen.ret).min()
        }
        GoalKind::ElectionWon => {
            log.candidates.iter().filter_map(|candidate| Some(candidate.told?.ret)).min()
        }
        GoalKind::ElectionObserved => {
            let mut heard = BTreeMap::new();
            let second = log.leaders.iter().find(|told| {
                let Some(stream) = told.stream else { return false };
                let before = heard.insert((told.client, stream), told.kv.create_revision);
                before.is_some_and(|before| before != told.kv.create_revision)
            });
            second.map(|told| told.at)
        }
        GoalKind::MemberJoined => {
            let first = log.observed.iter().find_map(|seen| match &seen.what {
                Observation::Config { index: LogIndex::ZERO, voters, .. } => Some(voters),
                _ => None,
            })?;
            observed(&|what| match what {
                Observation::Config { id, voters, .. } => !first.contains(id) && voters.contains(id),
                _ => false,
            })
        }
        GoalKind::MemberRemoved => observed(&|what| *what == Observation::Removed),
        GoalKind::MemberPromoted => {
            let done = |change: &&ChangeRecord| change.error.is_none() && change.what.starts_with("promote");
            log.changes.iter().filter(done).map(|change| change.seen.ret).min()
        }
        GoalKind::JointConfig => observed(&|what| match what {
            Observation::Config { outgoing, .. } => !outgoing.is_empty(),
            _ => false,
        }),
        GoalKind::SpaceAlarm => {
            log.space.iter().find(|step| step.what == SpaceStep::Alarmed).map(|step| step.seen.ret)
        }
        GoalKind::SpaceFreed => {
            let disarmed = log.space.iter().find(|step| step.what == SpaceStep::Disarm && step.done)?;
            let since = nanos(disarmed.seen.ret);
            let changed = |op: &&Operation| op.outcome.answered().is_some_and(|(_, answer)| answer.changed());
            operations.filter(|op| op.call >= since).find(changed).and_then(|op| end(op.ret))
        }
        GoalKind::CorruptionNamed => observed(&|what| match what {
            Observation::Corrupt { members, .. } => members.iter().any(|member| member.0 != 0),
            _ => false,
        }),
        GoalKind::StartRefused => observed(&|what| matches!(what, Observation::Inconsistent { .. })),
        GoalKind::UserAllowed => {
            log.tries.iter().filter(|tried| tried.allowed).map(|tried| tried.seen.ret).min()
        }
        GoalKind::UserDenied => {
            log.tries.iter().filter(|tried| !tried.allowed).map(|tried| tried.seen.ret).min()
        }
        GoalKind::LeaseKept => {
            let kept = log.leases.iter().filter_map(|lease| {
                let (granted, _) = lease.renewals.first()?;
                let ttl = Duration::from_secs(u64::try_from(lease.ttl_seconds).ok()?);
                lease.alive.filter(|alive| alive.call > *granted + ttl).map(|alive| alive.ret)
            });
            kept.min()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracles::testing::{leads, put, quiet, saw};

    #[test]
    fn a_quiet_run_reaches_nothing_and_each_event_reaches_its_goal() {
        let mut log = quiet();
        assert_eq!(reached(&log), []);
        put(&mut log, (10, 20), "a", "1", 2);
        assert_eq!(reached(&log), [GoalKind::WriteAcknowledged]);
        saw(&mut log, 30, 1, 0, leads(1));
        assert_eq!(reached(&log), [GoalKind::WriteAcknowledged], "the first leader is no change");
        saw(&mut log, 40, 2, 0, leads(2));
        assert!(reached(&log).contains(&GoalKind::LeaderChanged));
    }
}
