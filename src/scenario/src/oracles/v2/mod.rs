//! The v2 keys are one history of changes, and whoever asks is told what it says (etcd: v2 API; etcd#741, etcd#195,
//! etcd#8411, etcd#7565).
//!
//! Five rules:
//! 1. *One history.* Every index is one change, on all members and in all answers; each follows from the state before it and
//!    was asked for by somebody, once.
//! 2. *Linearizable.* Each answer is what the state of one index says, and that index lies between what was known when it
//!    was asked and what happened after it was answered. A member's own read may be of an older one.
//! 3. *Waiting.* Who waits from an index on is told the first change from there that concerns it, or that it is forgotten;
//!    and is told, once its member knows of one.
//! 4. *Time.* Nothing runs out before its time by the fastest clock of the plan, and nothing that should have is there in
//!    the end.
//!
//! 5. *Discovery.* Those who registered under one token form one cluster of as many as it asks for, and all of them are told the
//!    same; whoever came too late is told so.
//!
//! Does not see calendars (`expiration`, `ttl`), and how much longer than its time something lives while leaders change:
//! that is allowed.

mod joins;
mod ledger;
mod model;
mod waits;

use self::ledger::Ledger;
use self::model::Model;
use super::Finding;
use crate::record::RunLog;
use crate::record::v2::{V2Asked, V2Heard, V2Record, V2View};
use crate::runner::lease_bound;
use seatrial_types::MemberId;
use seatrial_types::v2::{V2Node, V2Request};
use std::time::Duration;

/// What is wrong, when, and at whom.
type Wrong = (String, Option<Duration>, Option<MemberId>);

pub(super) fn check(log: &RunLog) -> Finding {
    if log.v2.is_empty() {
        return Finding::Ok;
    }
    let judged = Ledger::of(log).and_then(|ledger| {
        let order = in_order(&ledger, log);
        order.and_then(|()| replay(&ledger, log)).and_then(|unclear| {
            waits::check(&ledger, log)?;
            joins::check(log)?;
            Ok(unclear)
        })
    });
    match judged {
        Err((sentence, at, member)) => Finding::violation(sentence, at, member),
        Ok(Some(why)) => Finding::Unknown(why),
        Ok(None) => match log.healing.as_ref().map(|healing| &healing.v2) {
            Some(views) if views.iter().any(|view| !view.whole) => {
                Finding::Unknown("a member did not tell its v2 keys in time".to_owned())
            }
            Some(views) if !views.is_empty() => Finding::Ok,
            _ => Finding::Unknown("the run ended before the v2 keys could be read a last time".to_owned()),
        },
    }
}

/// Who asked, for sentences.
fn who(record: &V2Record) -> String {
    format!("client {} at member {}", record.client, record.member)
}

/// Whether the answer had to be of a moment between asking and answering.
fn is_linear(record: &V2Record) -> bool {
    matches!(&record.asked, V2Asked::Request(V2Request::Change(_) | V2Request::Read { quorum: true, .. }))
}

/// Rule 2, its order: nobody is told of less than was known when it asked.
fn in_order(ledger: &Ledger<'_>, log: &RunLog) -> Result<(), Wrong> {
    // Changes whose answer was lost have the index that the history gives them.
    let mut asked: Vec<(&V2Record, u64, bool)> = log
        .v2
        .iter()
        .filter_map(|record| {
            let found = record.index().or_else(|| ledger.index_of(record))?;
            let changed = record.change().is_some() && !matches!(record.heard, V2Heard::Refused(_));
            Some((record, found, changed))
        })
        .collect();
    asked.sort_by_key(|(record, ..)| record.seen.call);
    let mut known: Vec<(Duration, u64, &V2Record)> =
        log.v2.iter().filter_map(|record| Some((record.seen.ret, record.index()?, record))).collect();
    known.sort_by_key(|(ret, index, _)| (*ret, *index));
    let mut known = known.into_iter().peekable();
    let mut newest: Option<(u64, &V2Record)> = None;
    for (record, index, changed) in asked.into_iter().filter(|(record, ..)| is_linear(record)) {
        while let Some((_, index, knew)) = known.next_if(|(ret, ..)| *ret < record.seen.call) {
            if newest.is_none_or(|(most, _)| most < index) {
                newest = Some((index, knew));
            }
        }
        let Some((most, knew)) = newest else { continue };
        if index < most || changed && index == most {
            let sentence = format!(
                "{} asked at {:?} and has its place at index {index} of the v2 keys, though {} knew of index {most} at {:?}",
                who(record),
                record.seen.call,
                who(knew),
                knew.seen.ret
            );
            return Err((sentence, Some(record.seen.ret), Some(record.member)));
        }
    }
    Ok(())
}

/// Rules 1, 2 and 4: goes through the history, and holds every answer against the state of its index. What could not be
/// told, where something could not.
fn replay(ledger: &Ledger<'_>, log: &RunLog) -> Result<Option<String>, Wrong> {
    let drift = u32::try_from(log.plan.drift_ppm_max()).expect("at most 50 %");
    let mut model = Model::new(drift);
    let mut answers: Vec<(u64, &V2Record)> = log
        .v2
        .iter()
        .filter(|record| matches!(record.asked, V2Asked::Request(_)))
        .filter_map(|record| Some((record.index()?, record)))
        .collect();
    answers.sort_by_key(|(index, record)| (*index, record.seen.call));
    let mut answers = answers.into_iter().peekable();
    let views: Vec<&V2View> = log.healing.iter().flat_map(|healing| &healing.v2).collect();
    for index in 0..=ledger.newest() {
        if index > 0 {
            match ledger.at(index) {
                Some(entry) => model.apply(entry).map_err(|why| {
                    (format!("index {index} of the v2 keys: {why}"), entry.seen(), entry.member())
                })?,
                None => match ledger.unseen(index) {
                    ledger::Unseen::Untold(candidates) => model.refreshed(&candidates),
                    ledger::Unseen::Forgotten => {
                        return Ok(Some(format!(
                            "index {index} of the v2 keys was forgotten before anybody saw it"
                        )));
                    }
                    ledger::Unseen::Missing => {
                        let sentence =
                            format!("index {index} of the v2 keys is no change that any member remembers");
                        return Err((sentence, None, None));
                    }
                },
            }
        }
        while let Some((_, record)) = answers.next_if(|(of, _)| *of == index) {
            model.judge(record).map_err(|why| {
                let sentence = format!("{} was told, as the state of index {index}, {why}", who(record));
                (sentence, Some(record.seen.ret), Some(record.member))
            })?;
        }
        for view in views.iter().filter(|view| view.whole && view.index == index) {
            model.compare(&view.nodes).map_err(|why| {
                let sentence =
                    format!("member {} holds, as the v2 keys of index {index}, {why}", view.member);
                (sentence, Some(view.at), Some(view.member))
            })?;
            outlived(&model, view, log)?;
        }
    }
    Ok(None)
}

/// Rule 4, its second half.
fn outlived(model: &Model, view: &V2View, log: &RunLog) -> Result<(), Wrong> {
    let healed = log.healing.as_ref().and_then(|healing| healing.healed).unwrap_or(Duration::MAX);
    for (path, ttl, written) in model.lives() {
        // The clock moves twice a second.
        let until =
            healed.max(written).saturating_add(lease_bound(&log.plan, ttl)) + Duration::from_millis(500);
        if view.at > until {
            let sentence = format!(
                "{path} was written at {written:?} for {ttl:?}, but member {} still holds it at {:?}, long after the healing \
                 at {healed:?}",
                view.member, view.at
            );
            return Err((sentence, Some(view.at), Some(view.member)));
        }
    }
    Ok(())
}

/// A node in one line.
fn told(node: &V2Node) -> String {
    let value = match (&node.value, node.dir) {
        (_, true) => "a directory".to_owned(),
        (Some(value), _) => format!("{value:?}"),
        (None, _) => "a file".to_owned(),
    };
    format!("{} = {value} (modified {}, created {})", node.path, node.modified, node.created)
}

#[cfg(test)]
mod tests;
