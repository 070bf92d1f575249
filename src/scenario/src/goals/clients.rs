//! Goals about what clients did and heard, and about faults that were there meanwhile.

use super::Met;
use super::story::{Story, within};
use crate::format::spec::{GoalKind, NemesisKind};
use crate::record::RunLog;
use seatrial_history::{Action, Answer, Input, Operation, Outcome};
use seatrial_types::{EventKind, MemberId};
use std::collections::BTreeMap;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn operations(log: &RunLog, story: &Story, met: &mut Met) {
    // What was acknowledged, and when: a state of one's own lags where it knows less than that.
    let mut acknowledged: Vec<(u64, i64)> = log
        .history
        .operations
        .iter()
        .filter_map(|op| {
            let (revision, answer) = op.outcome.answered()?;
            answer.changed().then_some((op.ret?, revision))
        })
        .collect();
    acknowledged.sort_unstable();
    let mut newest = 0;
    for (_, revision) in &mut acknowledged {
        newest = newest.max(*revision);
        *revision = newest;
    }
    for op in &log.history.operations {
        let Some(ret) = op.ret else { continue };
        let (call, at) = (Duration::from_nanos(op.call), Duration::from_nanos(ret));
        match &op.outcome {
            Outcome::Ok { revision, result } => {
                answered(op, result, at, met);
                let own = matches!(&op.input, Input::Get(get) if get.serializable);
                let waited = at - call >= SECOND;
                if own {
                    met.at(GoalKind::SerializableAnswered, at);
                    let known = acknowledged.partition_point(|(ret, _)| *ret < op.call);
                    if known > 0 && acknowledged[known - 1].1 > *revision {
                        met.at(GoalKind::SerializableLagged, at);
                    }
                    if story.is_leaderless(at) && story.is_leaderless(call) {
                        met.at(GoalKind::ReadWithoutLeader, at);
                    }
                } else if waited && !op.input.can_write() {
                    met.at(GoalKind::ReadWaited, at);
                }
                if result.changed() {
                    if waited {
                        met.at(GoalKind::WriteWaited, at);
                    }
                    let elected =
                        story.reigns.iter().skip(1).any(|reign| call < reign.from && reign.from < at);
                    if elected {
                        met.at(GoalKind::WriteOverLeaders, at);
                    }
                }
            }
            Outcome::Failed { error } | Outcome::Unknown { error } => {
                if matches!(op.outcome, Outcome::Failed { .. }) && op.input.can_write() {
                    met.at(GoalKind::WriteRefused, at);
                }
                if !op.input.can_write() {
                    met.at(GoalKind::ReadFailed, at);
                }
                for (text, goal) in [
                    ("required revision has been compacted", GoalKind::CompactedRead),
                    ("no leader", GoalKind::ErrorNoLeader),
                    ("request timed out", GoalKind::ErrorTimedOut),
                    ("too many requests", GoalKind::ErrorTooMany),
                ] {
                    if error.contains(text) {
                        met.at(goal, at);
                    }
                }
            }
        }
    }
}

fn answered(op: &Operation, result: &Answer, at: Duration, met: &mut Met) {
    match (&op.input, result) {
        (Input::Get(get), _) => {
            if get.end.is_some() {
                met.at(GoalKind::RangeAnswered, at);
            }
            if get.revision > 0 {
                met.at(GoalKind::PastRead, at);
            }
        }
        (Input::Delete(_), Answer::Delete { deleted }) => {
            met.at(if *deleted > 0 { GoalKind::DeleteHit } else { GoalKind::DeleteMissed }, at);
        }
        (Input::Txn(txn), Answer::Txn { succeeded, .. }) => {
            let done = if *succeeded { &txn.then } else { &txn.otherwise };
            let puts = done.iter().filter(|action| matches!(action, Action::Put(_))).count();
            if puts > 1 {
                met.at(GoalKind::TwoKeysWritten, at);
            }
            if done.iter().any(|action| matches!(action, Action::Get(get) if get.revision > 0)) {
                met.at(GoalKind::PastRead, at);
            }
            if !txn.compare.is_empty() {
                met.at(if *succeeded { GoalKind::CasWon } else { GoalKind::CasLost }, at);
            }
        }
        _ => {}
    }
}

pub(super) fn streams(log: &RunLog, story: &Story, met: &mut Met) {
    let mut last: BTreeMap<u32, MemberId> = BTreeMap::new();
    for watch in &log.watches {
        let before = last.insert(watch.client, watch.member);
        if let Some(created) = watch.created_at {
            if watch.resumes && before.is_some_and(|before| before != watch.member) {
                met.at(GoalKind::WatchElsewhere, created);
            }
            let is_past = watch.start_revision > 0
                && watch.created_revision.is_some_and(|created| watch.start_revision <= created);
            let told = watch.batches.iter().find(|batch| !batch.events.is_empty());
            if let Some(told) = told.filter(|_| is_past) {
                met.at(GoalKind::WatchCaughtUp, told.at);
            }
        }
        if watch.cancelled.is_some_and(|revision| revision > 0) {
            let at = watch.batches.last().map_or(watch.opened, |batch| batch.at);
            met.at(GoalKind::WatchCompacted, at);
        }
        for batch in &watch.batches {
            if batch.events.is_empty() {
                met.at(GoalKind::WatchProgress, batch.at);
            }
            if batch.fragment {
                met.at(GoalKind::WatchFragment, batch.at);
            }
            if batch.events.iter().any(|event| event.kind == EventKind::Delete) {
                met.at(GoalKind::WatchDelete, batch.at);
            }
        }
    }
    for lease in &log.leases {
        if let Some((_, granted)) = lease.renewals.first() {
            met.at(GoalKind::LeaseGranted, *granted);
        }
        if lease.unanswered {
            met.at(GoalKind::LeaseUnanswered, lease.last_tried);
        }
        if let (Some((_, renewed)), Some(gone)) = (lease.renewals.last(), lease.gone)
            && story.reigns.iter().any(|reign| *renewed < reign.from && reign.from < gone.call)
        {
            met.at(GoalKind::LeaseOutlivedLeader, gone.ret);
        }
    }
}

/// The goals of a kind of fault: served while it was there, and elected.
fn of_kind(kind: NemesisKind) -> (Option<GoalKind>, Option<GoalKind>) {
    use GoalKind as Goal;
    match kind {
        NemesisKind::Partition => (Some(Goal::ServedDuringPartition), Some(Goal::ElectedDuringPartition)),
        NemesisKind::Flapping => (Some(Goal::ServedDuringFlapping), Some(Goal::ElectedDuringFlapping)),
        NemesisKind::Kill => (Some(Goal::ServedDuringKill), None),
        NemesisKind::RollingRestart => (Some(Goal::ServedDuringRollingRestart), None),
        NemesisKind::RollingUpgrade => (Some(Goal::ServedDuringRollingUpgrade), None),
        NemesisKind::PowerLoss => (Some(Goal::ServedDuringPowerLoss), None),
        NemesisKind::Pause => (Some(Goal::ServedDuringPause), Some(Goal::ElectedDuringPause)),
        NemesisKind::Loss => (Some(Goal::ServedDuringLoss), Some(Goal::ElectedDuringLoss)),
        NemesisKind::Latency => (Some(Goal::ServedDuringLatency), Some(Goal::ElectedDuringLatency)),
        NemesisKind::SlowDisk => (Some(Goal::ServedDuringSlowDisk), Some(Goal::ElectedDuringSlowDisk)),
        NemesisKind::Bandwidth => (Some(Goal::ServedDuringBandwidth), Some(Goal::ElectedDuringBandwidth)),
        NemesisKind::DiskStall => (Some(Goal::ServedDuringDiskStall), Some(Goal::ElectedDuringDiskStall)),
        NemesisKind::ReadError => (Some(Goal::ServedDuringReadError), None),
        NemesisKind::StoreRot => (Some(Goal::ServedDuringStoreRot), None),
        NemesisKind::MisdirectedWrite => (Some(Goal::ServedDuringMisdirectedWrite), None),
        NemesisKind::SyncError => (Some(Goal::ServedDuringSyncError), None),
        NemesisKind::FullDisk => (Some(Goal::ServedDuringFullDisk), None),
        NemesisKind::WalDamage => (Some(Goal::ServedDuringWalDamage), None),
        NemesisKind::ValueDamage => (Some(Goal::ServedDuringValueDamage), None),
        NemesisKind::Clock => (Some(Goal::ServedDuringClock), Some(Goal::ElectedDuringClock)),
        // Nothing is promised of these, so nothing is worth reaching.
        NemesisKind::LyingSync | NemesisKind::LostMajority => (None, None),
    }
}

pub(super) fn faults(log: &RunLog, story: &Story, met: &mut Met) {
    let storm = log.plan.scenario.time;
    let writes: Vec<(Duration, Duration)> = log
        .history
        .operations
        .iter()
        .filter(|op| op.outcome.answered().is_some_and(|(_, answer)| answer.changed()))
        .filter_map(|op| Some((Duration::from_nanos(op.call), Duration::from_nanos(op.ret?))))
        .collect();
    for fault in &log.faults {
        let at_once =
            log.faults.iter().filter(|other| within(other.from, Some(other.to.unwrap_or(storm)), fault.from));
        let at_once = at_once.count();
        if at_once >= 2 {
            met.at(GoalKind::TwoFaults, fault.from);
        }
        if at_once >= 3 {
            met.at(GoalKind::ThreeFaults, fault.from);
        }
        let just_before = fault.from.saturating_sub(Duration::from_nanos(1));
        if story.leader(just_before).is_some_and(|leader| fault.targets.contains(&leader)) {
            met.at(GoalKind::FaultHitLeader, fault.from);
        }
        if story.is_leaderless(just_before) {
            met.at(GoalKind::FaultDuringElection, fault.from);
        }
        let Some(kind) = NemesisKind::from_name(&fault.kind) else { continue };
        let (served, elected) = of_kind(kind);
        let to = fault.to.unwrap_or(storm);
        if let Some(served) = served
            && let Some((_, ret)) = writes.iter().find(|(call, ret)| fault.from <= *call && *ret <= to)
        {
            met.at(served, *ret);
        }
        if let Some(elected) = elected {
            let reigns = story.reigns.iter().skip(1);
            if let Some(reign) =
                reigns.filter(|reign| within(fault.from, Some(to), reign.from)).min_by_key(|reign| reign.from)
            {
                met.at(elected, reign.from);
            }
        }
    }
}
