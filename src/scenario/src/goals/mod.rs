//! Things worth reaching: a batch that never met the rare event proves nothing about it.

mod clients;
mod machines;
mod members;
mod story;
mod units;
mod v2;

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
    let mut met = Met::default();
    let story = story::Story::of(log);
    members::elections(log, &story, &mut met);
    members::outages(log, &story, &mut met);
    members::progress(log, &mut met);
    members::membership(log, &story, &mut met);
    clients::operations(log, &story, &mut met);
    clients::streams(log, &story, &mut met);
    clients::faults(log, &story, &mut met);
    machines::reboots(log, &mut met);
    for record in &log.sites {
        met.at(crate::sites::goal(record.site), record.first);
    }
    let falls = log.plan.priorities.iter().flat_map(|priorities| &priorities.falls);
    falls.filter(|fall| fall.at < log.ended).for_each(|fall| met.at(GoalKind::PriorityFell, fall.at));
    GoalKind::ALL.iter().map(|goal| (*goal, met.0.get(goal).copied().or_else(|| first(*goal, log)))).collect()
}

/// What was reached, and of each the first time.
#[derive(Default)]
struct Met(BTreeMap<GoalKind, Duration>);

impl Met {
    fn at(&mut self, goal: GoalKind, at: Duration) {
        let first = self.0.entry(goal).or_insert(at);
        *first = at.min(*first);
    }
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
        GoalKind::StoreDamageFound => {
            observed(&|what| FOUND_DAMAGED.iter().any(|words| ended_saying(what, words)))
        }
        GoalKind::ReadRefused => observed(&|what| ended_saying(what, "input/output error while reading")),
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
        GoalKind::UnitRan | GoalKind::UnitMoved | GoalKind::MachineCutOff | GoalKind::UnitsAdopted => {
            units::reached(goal, log)
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
        GoalKind::V2Expired => v2::expired(log),
        GoalKind::V2CompareFailed => v2::compare_failed(log),
        GoalKind::V2ToldLater => v2::told_later(log),
        GoalKind::V2Joined => v2::joined(log),
        GoalKind::V2WaitedOverSnapshot => v2::waited_over_snapshot(log),
        // Told by the other files of this room.
        _ => None,
    }
}

/// What members say of a damaged store. Of processes only the last line is heard, which is not the hint.
const FOUND_DAMAGED: &[&str] = &["data is damaged", "makes no sense", "checksum", "orrupt"];

/// Whether a member stopped, or did not start, with these words.
fn ended_saying(what: &Observation, words: &str) -> bool {
    match what {
        Observation::Failed { why: text } | Observation::BootFailed { error: text } => text.contains(words),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracles::testing::{leads, put, quiet, saw};
    use crate::record::OutageRecord;
    use seatrial_types::MemberId;

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

    fn role(term: u64, role: Role, leader: u64) -> Observation {
        Observation::Role { term: seatrial_types::Term(term), role, leader: MemberId(leader) }
    }

    fn down(log: &mut RunLog, member: u64, kind: &str, from: u64, to: u64) {
        let (from, to) = (Duration::from_millis(from), Some(Duration::from_millis(to)));
        log.outages.push(OutageRecord { member: MemberId(member), kind: kind.to_owned(), from, to });
    }

    fn started(applied: u64) -> Observation {
        Observation::Started { term: seatrial_types::Term(1), applied: LogIndex(applied) }
    }

    #[track_caller]
    fn reaches(log: &RunLog, goals: &[(GoalKind, u64)], not: &[GoalKind]) {
        let times: BTreeMap<GoalKind, Option<Duration>> = first_times(log).into_iter().collect();
        for (goal, ms) in goals {
            assert_eq!(times[goal], Some(Duration::from_millis(*ms)), "{goal}");
        }
        for goal in not {
            assert_eq!(times[goal], None, "{goal}");
        }
    }

    #[test]
    fn elections_are_told_by_roles() {
        use GoalKind as Goal;
        let mut log = quiet();
        log.ended = Duration::from_secs(20);
        saw(&mut log, 100, 1, 0, role(1, Role::PreCandidate, 0));
        saw(&mut log, 110, 1, 0, role(1, Role::Candidate, 0));
        saw(&mut log, 120, 2, 0, role(1, Role::Candidate, 0));
        saw(&mut log, 130, 1, 0, role(1, Role::Leader, 1));
        saw(&mut log, 135, 1, 0, role(1, Role::Leader, 1));
        saw(&mut log, 140, 2, 0, role(1, Role::Follower, 1));
        reaches(
            &log,
            &[(Goal::ElectionSplit, 120), (Goal::CandidacyLost, 140)],
            &[Goal::PreVoteAsked, Goal::TwoBelieveToLead, Goal::LeaderAgain, Goal::LeaderlessSecond],
        );
        saw(&mut log, 3000, 2, 0, role(1, Role::PreCandidate, 0));
        saw(&mut log, 3010, 2, 0, role(2, Role::Leader, 2));
        saw(&mut log, 3020, 1, 0, role(2, Role::Follower, 2));
        saw(&mut log, 4000, 2, 0, role(2, Role::Follower, 0));
        reaches(
            &log,
            &[
                (Goal::PreVoteAsked, 3000),
                (Goal::TwoBelieveToLead, 3010),
                (Goal::OldLeaderFollows, 3020),
                (Goal::LeaderSteppedDown, 3020),
                (Goal::LeaderlessSecond, 5000),
            ],
            &[Goal::LeaderAgain, Goal::ThirdLeader, Goal::TermTen],
        );
        saw(&mut log, 5500, 1, 0, role(12, Role::Leader, 1));
        reaches(
            &log,
            &[(Goal::LeaderAgain, 5500), (Goal::ThirdLeader, 5500), (Goal::TermTen, 5500)],
            &[Goal::FifthLeader],
        );
        assert_eq!(log.observed.len(), 11);
    }

    #[test]
    fn an_outage_is_the_leaders_where_it_led_until_then() {
        use GoalKind as Goal;
        let mut log = quiet();
        log.ended = Duration::from_secs(20);
        saw(&mut log, 100, 1, 0, role(1, Role::Leader, 1));
        down(&mut log, 2, "kill", 200, 300);
        reaches(&log, &[], &[Goal::LeaderKilled, Goal::MajorityDown, Goal::DiedTwice]);
        down(&mut log, 1, "kill", 250, 900);
        reaches(
            &log,
            &[(Goal::LeaderKilled, 250), (Goal::MajorityDown, 250)],
            &[Goal::AllDown, Goal::LeaderLostPower],
        );
        down(&mut log, 1, "power-loss", 1200, 1300);
        reaches(&log, &[(Goal::DiedTwice, 1200)], &[Goal::LeaderLostPower]);
        saw(&mut log, 950, 1, 1, started(0));
        log.observed.sort_by_key(|seen| seen.at);
        reaches(&log, &[(Goal::DiedAfterStart, 1200)], &[Goal::StartedCompacted, Goal::CandidateDied]);
        saw(&mut log, 1150, 1, 1, role(2, Role::PreCandidate, 0));
        saw(&mut log, 1400, 1, 2, started(0));
        reaches(&log, &[(Goal::CandidateDied, 1200)], &[]);
    }

    #[test]
    fn a_leader_that_stops_by_itself_reigns_no_more() {
        use GoalKind as Goal;
        let mut log = quiet();
        log.ended = Duration::from_secs(20);
        saw(&mut log, 100, 1, 0, role(1, Role::Leader, 1));
        saw(&mut log, 500, 1, 0, Observation::Failed { why: "no room".to_owned() });
        saw(&mut log, 900, 1, 1, started(0));
        saw(&mut log, 950, 1, 1, role(1, Role::Follower, 0));
        saw(&mut log, 1600, 2, 0, role(2, Role::Leader, 2));
        reaches(
            &log,
            &[(Goal::LeaderStopped, 500), (Goal::LeaderlessSecond, 1500)],
            &[Goal::LeaderSteppedDown, Goal::TwoBelieveToLead],
        );
    }

    #[test]
    fn snapshots_on_their_way_end_when_they_arrive() {
        use GoalKind as Goal;
        let to =
            |member, index| Observation::SnapshotStarted { to: MemberId(member), index: LogIndex(index) };
        let installed = Observation::SnapshotInstalled { index: LogIndex(9), term: seatrial_types::Term(1) };
        let mut log = quiet();
        log.ended = Duration::from_secs(20);
        saw(&mut log, 1000, 1, 0, to(2, 9));
        saw(&mut log, 1500, 2, 0, installed);
        down(&mut log, 2, "kill", 1600, 1700);
        reaches(&log, &[], &[Goal::DiedWhileInstalling]);
        saw(&mut log, 3000, 1, 0, to(3, 9));
        down(&mut log, 3, "kill", 3100, 3300);
        down(&mut log, 1, "kill", 3200, 3300);
        reaches(&log, &[(Goal::DiedWhileInstalling, 3100), (Goal::SenderDied, 3200)], &[]);
    }

    #[test]
    fn who_lags_catches_up_by_its_log_or_by_a_snapshot() {
        use crate::oracles::testing::applied;
        use GoalKind as Goal;
        let mut log = quiet();
        saw(&mut log, 1, 1, 0, applied(100, 1, 0));
        saw(&mut log, 2, 2, 0, applied(50, 1, 0));
        reaches(&log, &[(Goal::LaggedFifty, 2)], &[Goal::CaughtUpByLog, Goal::LaggedFiveHundred]);
        let installed =
            Observation::SnapshotInstalled { index: LogIndex(100), term: seatrial_types::Term(1) };
        saw(&mut log, 3, 2, 0, installed);
        saw(&mut log, 4, 2, 0, applied(100, 1, 0));
        reaches(&log, &[], &[Goal::CaughtUpByLog]);
        saw(&mut log, 5, 3, 0, applied(20, 1, 0));
        saw(&mut log, 6, 3, 0, applied(95, 1, 0));
        reaches(&log, &[(Goal::CaughtUpByLog, 6)], &[]);
        saw(&mut log, 7, 3, 2, started(50));
        reaches(&log, &[(Goal::StartedBehind, 7)], &[Goal::ThousandEntries]);
    }

    #[test]
    fn a_fault_is_served_through_only_where_the_whole_write_lies_in_it() {
        use GoalKind as Goal;
        let mut log = quiet();
        let fault = |kind: &str, from: u64, to: u64| crate::record::FaultRecord {
            id: 0,
            kind: kind.to_owned(),
            targets: vec![MemberId(1)],
            from: Duration::from_millis(from),
            to: Some(Duration::from_millis(to)),
            text: String::new(),
            cut: Vec::new(),
        };
        log.faults = vec![fault("partition", 1000, 2000)];
        put(&mut log, (900, 1100), "a", "1", 2);
        put(&mut log, (1900, 2100), "a", "2", 3);
        reaches(&log, &[], &[Goal::ServedDuringPartition, Goal::TwoFaults, Goal::FaultHitLeader]);
        put(&mut log, (1100, 1200), "a", "3", 4);
        log.faults.push(fault("kill", 1500, 1600));
        saw(&mut log, 10, 1, 0, leads(1));
        saw(&mut log, 1550, 2, 0, leads(2));
        reaches(
            &log,
            &[
                (Goal::ServedDuringPartition, 1200),
                (Goal::TwoFaults, 1500),
                (Goal::FaultHitLeader, 1000),
                (Goal::ElectedDuringPartition, 1550),
            ],
            &[Goal::ServedDuringKill, Goal::ThreeFaults, Goal::FaultDuringElection],
        );
    }
}
