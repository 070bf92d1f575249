//! What watchers saw is what happened (etcd: API guarantees, watch): ordered, unique, atomic, reliable,
//! resumable, bookmarkable, with the right contents and without what was to be left out.
//!
//! Each stream is compared with the ledger, which a watch over everything tells after the storm, and with
//! itself. A watcher's last stream, left open until the very end, must have delivered all there was when
//! the cluster had healed.
//!
//! Does not see a mistake that the ledger shares; the ledger itself is compared with what clients did by
//! `durability` and `linearizable`.

use super::{Finding, Judged, Violation, from_history};
use crate::clients::KV_PREFIX;
use crate::format::spec::Without;
use crate::record::{FinalState, RunLog, WatchRecord, nanos};
use seatrial_history::watch::{Delivery, WatchEvent, Watched, bookmarkable, content, filter};
use seatrial_history::{Blob, Replay};
use seatrial_types::{Event, EventKind};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long an open stream may lag behind a healed cluster.
const LAG: Duration = Duration::from_secs(2);

pub(super) fn check(judged: &Judged<'_>) -> Finding {
    let log = judged.log;
    for watch in &log.watches {
        if let Some(violation) = by_itself(watch) {
            return Finding::Violation(violation);
        }
    }
    let Some(last) = log.last.as_ref().filter(|last| last.revision > 0) else { return Finding::Ok };
    let ledger: Vec<&Event> =
        last.ledger.iter().filter(|event| event.kv.key.starts_with(KV_PREFIX.as_bytes())).collect();
    for watch in &log.watches {
        if let Some(violation) = against_ledger(watch, last, &ledger) {
            return Finding::Violation(violation);
        }
    }
    if let Ok(explained) = &judged.explained {
        for watch in &log.watches {
            if let Some(finding) = against_replay(watch, &explained.replay) {
                return finding;
            }
        }
    }
    last_streams(log, &ledger)
}

/// What the history's rules for watches see: filters, versions before a change, progress.
fn against_replay(watch: &WatchRecord, replay: &Replay) -> Option<Finding> {
    let watched = watched(watch)?;
    let rules = filter(&watched)
        .and_then(|()| content(&watched, replay))
        .and_then(|()| bookmarkable(&watched, replay));
    rules.err().map(|violation| {
        let Finding::Violation(found) = from_history(&violation) else { unreachable!("it is a violation") };
        Finding::Violation(Violation { member: Some(watch.member), ..found })
    })
}

/// In the history's words. `None` where the watch was never answered.
fn watched(watch: &WatchRecord) -> Option<Watched> {
    let start_revision = match (watch.start_revision, watch.created_revision) {
        (_, None) => return None,
        (0, Some(created)) => created + 1,
        (start, _) => start,
    };
    let key = Blob::from(KV_PREFIX);
    let deliveries = watch.batches.iter().map(|batch| Delivery {
        at: nanos(batch.at),
        progress: batch.events.is_empty(),
        revision: batch.header_revision,
        fragment: batch.fragment,
        events: batch.events.iter().map(told).collect(),
    });
    Some(Watched {
        name: format!("the watch of client {} at member {}", watch.client, watch.member),
        end: Some(key.prefix_end()),
        key,
        start_revision,
        no_put: watch.without == Without::Puts,
        no_delete: watch.without == Without::Deletes,
        prev_kv: watch.prev_kv,
        complete_to: 0,
        deliveries: deliveries.collect(),
    })
}

fn told(event: &Event) -> WatchEvent {
    WatchEvent {
        key: Blob(event.kv.key.clone()),
        revision: event.kv.mod_revision.0,
        kv: (event.kind == EventKind::Put).then(|| (&event.kv).into()),
        prev: event.prev_kv.as_ref().map(Into::into),
    }
}

/// Whether the watch asked to hear of this.
fn is_wanted(watch: &WatchRecord, event: &Event) -> bool {
    match watch.without {
        Without::Nothing => true,
        Without::Puts => event.kind != EventKind::Put,
        Without::Deletes => event.kind != EventKind::Delete,
    }
}

fn wrong(watch: &WatchRecord, at: Duration, what: String) -> Violation {
    let sentence = format!(
        "the watch of client {} at member {} from revision {} {what}",
        watch.client, watch.member, watch.start_revision
    );
    Violation { sentence, at: Some(at), member: Some(watch.member), operations: Vec::new() }
}

/// Ordered, unique, atomic, and nothing older than asked for.
fn by_itself(watch: &WatchRecord) -> Option<Violation> {
    let mut newest = 0;
    let mut seen = BTreeSet::new();
    let mut open_fragment = false;
    for batch in &watch.batches {
        let mut first_of_batch = true;
        for event in &batch.events {
            let revision = event.kv.mod_revision.0;
            if revision < watch.start_revision {
                return Some(wrong(
                    watch,
                    batch.at,
                    format!("delivered revision {revision}, older than asked for"),
                ));
            }
            if revision < newest {
                let what = format!("delivered revision {revision} after revision {newest}");
                return Some(wrong(watch, batch.at, what));
            }
            if !seen.insert((revision, event.kv.key.clone())) {
                let key = String::from_utf8_lossy(&event.kv.key).into_owned();
                return Some(wrong(
                    watch,
                    batch.at,
                    format!("delivered the change of {key:?} at {revision} twice"),
                ));
            }
            if first_of_batch && revision == newest && !open_fragment {
                let what = format!("delivered revision {revision} in two parts");
                return Some(wrong(watch, batch.at, what));
            }
            first_of_batch = false;
            newest = revision;
        }
        open_fragment = batch.fragment;
    }
    None
}

/// Every change between its beginning and the last one delivered, each as it was.
fn against_ledger(watch: &WatchRecord, last: &FinalState, ledger: &[&Event]) -> Option<Violation> {
    let from = match (watch.start_revision, watch.created_revision) {
        (0, Some(created)) => created + 1,
        (0, None) => return None,
        (start, _) => start,
    };
    let delivered: BTreeMap<_, _> = watch
        .batches
        .iter()
        .flat_map(|batch| batch.events.iter().map(move |event| (batch.at, event)))
        .map(|(at, event)| ((event.kv.mod_revision.0, &event.kv.key), (at, event)))
        .collect();
    if last.is_unread() {
        return None;
    }
    let (until, until_at) = delivered.last_key_value().map(|((revision, _), (at, _))| (*revision, *at))?;
    let mut known = BTreeSet::new();
    for event in ledger {
        let revision = event.kv.mod_revision.0;
        if revision < from.max(last.ledger_from) || revision > until || !is_wanted(watch, event) {
            continue;
        }
        let key = String::from_utf8_lossy(&event.kv.key).into_owned();
        known.insert((revision, &event.kv.key));
        match delivered.get(&(revision, &event.kv.key)) {
            None => {
                let what =
                    format!("left out the change of {key:?} at revision {revision}, and went on to {until}");
                return Some(wrong(watch, until_at, what));
            }
            Some((at, got)) if got.kind != event.kind || got.kv != event.kv => {
                let what = format!(
                    "delivered {:?} for {key:?} at revision {revision}, where stands {:?}",
                    got.kv, event.kv
                );
                return Some(wrong(watch, *at, what));
            }
            Some(_) => {}
        }
    }
    for ((revision, key), (at, _)) in &delivered {
        let is_told = *revision >= last.ledger_from && *revision <= last.revision;
        if is_told && !known.contains(&(*revision, *key)) {
            let key = String::from_utf8_lossy(key).into_owned();
            let what = format!("delivered a change of {key:?} at revision {revision} that never happened");
            return Some(wrong(watch, *at, what));
        }
    }
    None
}

/// A watcher whose last stream stood open long enough after the healing has seen everything until then.
fn last_streams(log: &RunLog, ledger: &[&Event]) -> Finding {
    let Some(healed) = log.healing.as_ref().and_then(|healing| healing.healed) else { return Finding::Ok };
    let mut last_of: BTreeMap<u32, &WatchRecord> = BTreeMap::new();
    for watch in &log.watches {
        last_of.insert(watch.client, watch);
    }
    // What had been acknowledged when the storm's clients were done: later changes may still be on their way.
    let settled = log
        .history
        .operations
        .iter()
        .filter(|operation| operation.ret.is_some_and(|ret| Duration::from_nanos(ret) <= healed))
        .filter_map(|operation| operation.outcome.answered())
        .filter(|(_, answer)| answer.changed())
        .map(|(revision, _)| revision)
        .max()
        .unwrap_or(0);
    for watch in last_of.values() {
        let (Some(created), None) = (watch.created_at, watch.cancelled) else { continue };
        if created.max(healed) + LAG > log.ended {
            continue;
        }
        let from = if watch.start_revision == 0 {
            watch.created_revision.unwrap_or(0) + 1
        } else {
            watch.start_revision
        };
        let until =
            watch.batches.iter().flat_map(|batch| &batch.events).map(|event| event.kv.mod_revision.0).max();
        let until = until.unwrap_or(0);
        let left_out = ledger.iter().find(|event| {
            let revision = event.kv.mod_revision.0;
            revision >= from && revision > until && revision <= settled && is_wanted(watch, event)
        });
        if let Some(event) = left_out {
            let what = format!(
                "was open until the end and never delivered revision {}, {:?} after the cluster had healed",
                event.kv.mod_revision,
                log.ended - healed
            );
            return Finding::Violation(wrong(watch, log.ended, what));
        }
    }
    Finding::Ok
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, ends_with, event, quiet, violated};
    use super::*;
    use crate::record::WatchBatch;
    use seatrial_types::MemberId;

    fn change(revision: i64) -> Event {
        event(EventKind::Put, "k1", &revision.to_string(), revision, revision - 1)
    }

    /// A run with changes 2, 3, 4 of one key, and a watch from 2 on that delivered `batches`.
    fn watched(batches: &[&[i64]]) -> RunLog {
        let mut log = quiet();
        ends_with(&mut log, (2..=4).map(change).collect());
        log.watches.push(WatchRecord {
            client: 1,
            member: MemberId(1),
            start_revision: 2,
            resumes: false,
            opened: at(1),
            created_revision: Some(1),
            created_at: Some(at(2)),
            cancelled: None,
            prev_kv: false,
            without: Without::Nothing,
            batches: batches
                .iter()
                .enumerate()
                .map(|(place, revisions)| WatchBatch {
                    at: at(10 + place as u64),
                    header_revision: revisions.last().copied().unwrap_or(1),
                    events: revisions.iter().map(|revision| change(*revision)).collect(),
                    fragment: false,
                })
                .collect(),
        });
        log
    }

    fn found(log: &RunLog) -> Finding {
        check(&Judged::new(log))
    }

    #[test]
    fn each_broken_guarantee_is_a_violation() {
        assert!(violated(&found(&watched(&[&[3], &[2]]))).contains("revision 2 after revision 3"));
        assert!(violated(&found(&watched(&[&[2], &[2]]))).contains("twice"));
        assert!(
            violated(&found(&watched(&[&[2], &[4]]))).contains("left out the change of \"k1\" at revision 3")
        );
        let mut log = watched(&[&[2, 3]]);
        log.watches[0].start_revision = 3;
        assert!(violated(&found(&log)).contains("older than asked for"));
        let mut log = watched(&[&[2, 3]]);
        log.watches[0].batches[0].events[0].kv.value = "other".into();
        assert!(violated(&found(&log)).contains("where stands"));
        let mut log = watched(&[&[2, 3]]);
        let mut never = change(3);
        never.kv.key = "k2".into();
        log.watches[0].batches[0].events.push(never);
        assert!(violated(&found(&log)).contains("never happened"));
        let mut log = watched(&[&[2], &[]]);
        let mut half = change(2);
        half.kv.key = "k2".into();
        log.watches[0].batches[1].events.push(half);
        assert!(violated(&found(&log)).contains("in two parts"));
    }

    /// The same run, whose history tells of the three changes: the rules that need a replay can judge.
    fn explained(batches: &[&[i64]]) -> RunLog {
        let mut log = watched(batches);
        for revision in 2..=4_i64 {
            let at = 2 * revision.unsigned_abs();
            super::super::testing::put(&mut log, (at, at + 1), "k1", &revision.to_string(), revision);
        }
        assert!(Judged::new(&log).explained.is_ok(), "the history explains itself");
        log
    }

    #[test]
    fn progress_that_runs_ahead_is_a_violation_and_progress_in_step_is_none() {
        let mut log = explained(&[&[2], &[], &[3, 4]]);
        log.watches[0].batches[1].header_revision = 2;
        assert_eq!(found(&log), Finding::Ok);
        log.watches[0].batches[1].header_revision = 4;
        assert!(violated(&found(&log)).contains("had not come"));
    }

    #[test]
    fn a_wrong_version_before_and_an_unwanted_change_are_violations() {
        let mut log = explained(&[&[2], &[3]]);
        log.watches[0].prev_kv = true;
        assert!(violated(&found(&log)).contains("before it"), "the version before is missing");
        log.watches[0].batches[1].events[0].prev_kv = Some(change(2).kv);
        assert_eq!(found(&log), Finding::Ok);
        log.watches[0].without = Without::Puts;
        assert!(
            violated(&found(&log)).contains("left out") || violated(&found(&log)).contains("never happened")
        );
    }

    #[test]
    fn a_stream_that_stays_silent_to_the_end_is_a_violation() {
        let mut log = watched(&[&[2]]);
        super::super::testing::put(&mut log, (50, 60), "k1", "4", 4);
        log.healing =
            Some(crate::record::Healing { healed: Some(at(1000)), ..crate::record::Healing::default() });
        log.ended = at(10_000);
        assert!(violated(&found(&log)).contains("never delivered revision 3"));
        log.ended = at(1500);
        assert_eq!(found(&log), Finding::Ok, "it had no time");
    }

    #[test]
    fn a_whole_stream_and_one_that_broke_off_are_none() {
        assert_eq!(found(&watched(&[&[2], &[3, 4]])), Finding::Ok);
        assert_eq!(found(&watched(&[&[2]])), Finding::Ok);
        assert_eq!(found(&watched(&[])), Finding::Ok);
        let mut log = watched(&[&[2], &[]]);
        let mut half = change(2);
        half.kv.key = "k2".into();
        log.watches[0].batches[0].fragment = true;
        log.watches[0].batches[1].events.push(half.clone());
        log.last.as_mut().unwrap().ledger.insert(1, half);
        assert_eq!(found(&log), Finding::Ok, "a fragmented revision may come in parts");
    }
}
