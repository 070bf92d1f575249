//! Goals about the v2 keys.

use crate::observation::Observation;
use crate::record::RunLog;
use crate::record::v2::{V2Asked, V2Heard, V2Waiting};
use seatrial_types::MemberId;
use seatrial_types::v2::{V2Code, V2Verb};
use std::time::Duration;

/// Who waited: at which member, from when to when, for what, and what it heard.
fn waits(log: &RunLog) -> impl Iterator<Item = (MemberId, Duration, Duration, &V2Waiting, &V2Heard)> {
    log.v2.iter().filter_map(|record| match &record.asked {
        V2Asked::Wait(waiting) => {
            Some((record.member, record.seen.call, record.seen.ret, waiting, &record.heard))
        }
        V2Asked::Request(_) | V2Asked::Join { .. } => None,
    })
}

pub(super) fn expired(log: &RunLog) -> Option<Duration> {
    let told = waits(log)
        .filter(|(.., heard)| matches!(heard, V2Heard::Event { event, .. } if event.verb == V2Verb::Expire));
    told.map(|(_, _, ret, ..)| ret).min()
}

pub(super) fn compare_failed(log: &RunLog) -> Option<Duration> {
    let refused = log.v2.iter().filter(
        |record| matches!(&record.heard, V2Heard::Refused(error) if error.code == V2Code::CompareFailed),
    );
    refused.map(|record| record.seen.ret).min()
}

pub(super) fn joined(log: &RunLog) -> Option<Duration> {
    let joined = log.v2.iter().filter(|record| matches!(record.heard, V2Heard::Joined(_)));
    joined.map(|record| record.seen.ret).min()
}

pub(super) fn told_later(log: &RunLog) -> Option<Duration> {
    let later = waits(log).filter(|(.., waiting, heard)| {
        matches!(heard, V2Heard::Event { event, index } if waiting.since > 1 && event.index() <= *index)
    });
    later.map(|(_, _, ret, ..)| ret).min()
}

pub(super) fn waited_over_snapshot(log: &RunLog) -> Option<Duration> {
    let installed =
        log.observed.iter().filter(|seen| matches!(seen.what, Observation::SnapshotInstalled { .. }));
    let met = installed.filter(|seen| {
        waits(log).any(|(member, call, ret, ..)| member == seen.member && call < seen.at && seen.at < ret)
    });
    met.map(|seen| seen.at).min()
}
