//! What watches must deliver (etcd API guarantees: ordered, unique, atomic, reliable, resumable,
//! bookmarkable), judged against the replayed history.
//!
//! A watch that was opened anew, as after a lost connection, is a [`Watched`] of its own with the revision
//! it asked to start from. What none of this sees: how late an event came, and, without a progress
//! notification, whether more should have come before the watch ended; [`Watched::complete_to`] says that.

use crate::blob::Blob;
use crate::op::{Kv, seconds};
use crate::replay::{Replay, within};
use crate::verdict::{Rule, Verdict, Violation};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One watch, from its creation to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Watched {
    /// How sentences call it, such as `watch 3 of client 7 at m2`.
    pub name: String,
    /// The key, or the first of a range.
    pub key: Blob,
    /// As in [`crate::Get::end`].
    pub end: Option<Blob>,
    /// The first revision wanted; 0 is "from now on".
    pub start_revision: i64,
    /// Puts were asked to be left out.
    pub no_put: bool,
    /// Deletes were asked to be left out.
    pub no_delete: bool,
    /// The version before each change was asked for.
    pub prev_kv: bool,
    /// Everything up to this revision should have come, as after a quiet time at the end; 0: not known.
    pub complete_to: i64,
    /// What came, in order.
    pub deliveries: Vec<Delivery>,
}

/// One message of a watch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Delivery {
    /// When it came, in ns.
    pub at: u64,
    /// It is a progress notification: everything up to `revision` has come before it. Without events.
    pub progress: bool,
    /// The revision in its header; judged for progress notifications alone.
    pub revision: i64,
    /// More of the same revision follows in the next message, as the client allowed.
    pub fragment: bool,
    /// The changes.
    pub events: Vec<WatchEvent>,
}

/// One change, as it was delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchEvent {
    /// The key that changed.
    pub key: Blob,
    /// The revision that changed it.
    pub revision: i64,
    /// The new version; `None` is "deleted".
    pub kv: Option<Kv>,
    /// The version before, where there was one and it was asked for.
    pub prev: Option<Kv>,
}

impl WatchEvent {
    fn show(&self) -> String {
        match &self.kv {
            Some(kv) => format!("{}={}@{}", self.key, kv.value, self.revision),
            None => format!("{} deleted@{}", self.key, self.revision),
        }
    }
}

/// All rules, in the order in which a breach is easiest to understand.
#[must_use]
pub fn check_watch(watched: &Watched, replay: &Replay) -> Verdict {
    let result = filter(watched)
        .and_then(|()| ordered(watched))
        .and_then(|()| unique(watched))
        .and_then(|()| atomic(watched))
        .and_then(|()| content(watched, replay))
        .and_then(|()| resumable(watched, replay))
        .and_then(|()| reliable(watched, replay))
        .and_then(|()| bookmarkable(watched, replay));
    match result {
        Ok(()) => Verdict::Ok,
        Err(violation) => violation.into(),
    }
}

/// Only what was asked for: keys of the range, from the start on, without what was to be left out.
///
/// # Errors
/// The first event that does not belong.
pub fn filter(watched: &Watched) -> Result<(), Violation> {
    for (delivery, event) in events(watched) {
        let foreign = !within(&event.key, &watched.key, watched.end.as_ref());
        let early = event.revision < watched.start_revision;
        let unwanted = if event.kv.is_some() { watched.no_put } else { watched.no_delete };
        if foreign || early || unwanted {
            let why = match (foreign, early) {
                (true, _) => "a key it does not watch".to_owned(),
                (false, true) => format!("older than its start, revision {}", watched.start_revision),
                (false, false) => "a kind it left out".to_owned(),
            };
            return Err(breach(Rule::WatchFilter, watched, delivery, event, &why));
        }
    }
    Ok(())
}

/// Revisions never go down, neither within a message nor from one to the next.
///
/// # Errors
/// The first event that is older than one before it.
pub fn ordered(watched: &Watched) -> Result<(), Violation> {
    let mut newest = 0;
    for (delivery, event) in events(watched) {
        if event.revision < newest {
            return Err(breach(
                Rule::WatchOrdered,
                watched,
                delivery,
                event,
                &format!("after revision {newest}"),
            ));
        }
        newest = event.revision;
    }
    Ok(())
}

/// No change of a key comes twice.
///
/// # Errors
/// The first event that had come before.
pub fn unique(watched: &Watched) -> Result<(), Violation> {
    let mut seen = BTreeSet::new();
    for (delivery, event) in events(watched) {
        if !seen.insert((event.revision, &event.key)) {
            return Err(breach(Rule::WatchUnique, watched, delivery, event, "a second time"));
        }
    }
    Ok(())
}

/// The changes of one revision come in one message, or in fragments marked as such.
///
/// # Errors
/// The first event whose revision another message had begun and not marked as going on.
pub fn atomic(watched: &Watched) -> Result<(), Violation> {
    let mut last: Option<(i64, bool)> = None;
    for delivery in &watched.deliveries {
        if let (Some((revision, fragment)), Some(event)) = (last, delivery.events.first())
            && event.revision == revision
            && !fragment
        {
            let why = format!("though the message before had closed revision {revision}");
            return Err(breach(Rule::WatchAtomic, watched, delivery, event, &why));
        }
        if let Some(event) = delivery.events.last() {
            last = Some((event.revision, delivery.fragment));
        }
    }
    Ok(())
}

/// Every event is what the history wrote: value, counters, deletion, and the version before.
///
/// # Errors
/// The first event that differs.
pub fn content(watched: &Watched, replay: &Replay) -> Result<(), Violation> {
    for (delivery, event) in events(watched) {
        let step = replay.step(event.revision);
        let written = step.and_then(|step| step.changes.iter().find(|(key, _)| *key == event.key));
        let Some((_, right)) = written else {
            let why = "which was never written";
            return Err(breach(Rule::WatchContent, watched, delivery, event, why));
        };
        let same = match (right, &event.kv) {
            (Some(right), Some(kv)) => crate::eval::same_version(right, kv),
            (None, None) => true,
            _ => false,
        };
        if !same {
            let right = right.as_ref().map_or_else(|| "a deletion".to_owned(), ToString::to_string);
            return Err(breach(
                Rule::WatchContent,
                watched,
                delivery,
                event,
                &format!("where {right} is right"),
            ));
        }
        let before = replay.get(&event.key, event.revision - 1);
        let prev_wrong = match (before, &event.prev) {
            (Some(before), Some(prev)) => !crate::eval::same_version(before, prev),
            (None, Some(_)) => true,
            (Some(_), None) => watched.prev_kv,
            (None, None) => false,
        };
        if prev_wrong {
            let show = |kv: Option<&Kv>| kv.map_or_else(|| "nothing".to_owned(), ToString::to_string);
            let why =
                format!("with {} before it, where {} is right", show(event.prev.as_ref()), show(before));
            return Err(breach(Rule::WatchContent, watched, delivery, event, &why));
        }
    }
    Ok(())
}

/// Nothing is left out between the first and the last event, nor up to [`Watched::complete_to`].
///
/// # Errors
/// The first change that should have come and did not.
pub fn reliable(watched: &Watched, replay: &Replay) -> Result<(), Violation> {
    let first = events(watched).map(|(_, event)| event.revision).min();
    let last = events(watched).map(|(_, event)| event.revision).max();
    let from = match (watched.start_revision, first) {
        (0, None) => return Ok(()),
        (0, Some(first)) => first,
        (start, _) => start,
    };
    let to = last.unwrap_or(0).max(watched.complete_to);
    match missing(watched, replay, from, to, &watched.deliveries) {
        Some((revision, key)) => {
            let (at, next) = after(watched, revision);
            let sentence = format!(
                "{} left out the change of {key} at revision {revision}, and went on with {next}",
                watched.name
            );
            Err(Violation::new(Rule::WatchReliable, sentence).at(at).revision(revision))
        }
        None => Ok(()),
    }
}

/// A watch from revision R on begins with the first matching change at or after R.
///
/// # Errors
/// The first event, where an earlier change was skipped.
pub fn resumable(watched: &Watched, replay: &Replay) -> Result<(), Violation> {
    if watched.start_revision == 0 {
        return Ok(());
    }
    let Some((delivery, event)) = events(watched).next() else { return Ok(()) };
    match missing(watched, replay, watched.start_revision, event.revision - 1, &[]) {
        Some((revision, key)) => {
            let why = format!(
                "first, though it asked for revision {} on and {key} changed at {revision}",
                watched.start_revision
            );
            Err(breach(Rule::WatchResumable, watched, delivery, event, &why))
        }
        None => Ok(()),
    }
}

/// After progress at R nothing up to R is missing, nothing up to R follows, and progress never goes back.
///
/// # Errors
/// The first notification or event which breaks that.
pub fn bookmarkable(watched: &Watched, replay: &Replay) -> Result<(), Violation> {
    let mut promised = 0;
    for (place, delivery) in watched.deliveries.iter().enumerate() {
        if let Some(event) = delivery.events.iter().find(|event| event.revision <= promised) {
            let why = format!("after it had promised to be past revision {promised}");
            return Err(breach(Rule::WatchBookmarkable, watched, delivery, event, &why));
        }
        if !delivery.progress {
            continue;
        }
        let before = &watched.deliveries[..place];
        let delivered = before.iter().flat_map(|delivery| &delivery.events).map(|event| event.revision).max();
        let newest = delivered.unwrap_or(0).max(promised);
        let tell = |why: String, revision: i64| {
            let sentence = format!(
                "{} was told at {} that it is at revision {}, {why}",
                watched.name,
                seconds(delivery.at),
                delivery.revision
            );
            Err(Violation::new(Rule::WatchBookmarkable, sentence).at(Some(delivery.at)).revision(revision))
        };
        if delivery.revision < newest {
            return tell(format!("having been at {newest} before"), delivery.revision);
        }
        if delivery.revision > replay.head() {
            return tell(format!("which does not exist: the newest is {}", replay.head()), delivery.revision);
        }
        let first = before.iter().flat_map(|delivery| &delivery.events).map(|event| event.revision).min();
        let from = if watched.start_revision > 0 { Some(watched.start_revision) } else { first };
        let gap = from.and_then(|from| missing(watched, replay, from, delivery.revision, before));
        if let Some((revision, key)) = gap {
            return tell(format!("but the change of {key} at revision {revision} had not come"), revision);
        }
        promised = delivery.revision;
    }
    Ok(())
}

fn events(watched: &Watched) -> impl Iterator<Item = (&Delivery, &WatchEvent)> {
    watched.deliveries.iter().flat_map(|delivery| delivery.events.iter().map(move |event| (delivery, event)))
}

/// The first change within `from ..= to` that the watch wants and `deliveries` lack.
fn missing<'a>(
    watched: &Watched,
    replay: &'a Replay,
    from: i64,
    to: i64,
    deliveries: &[Delivery],
) -> Option<(i64, &'a Blob)> {
    let came: BTreeSet<(i64, &Blob)> = deliveries
        .iter()
        .flat_map(|delivery| &delivery.events)
        .map(|event| (event.revision, &event.key))
        .collect();
    let from = from.max(replay.base() + 1);
    let skipped = usize::try_from(from - replay.base() - 1).unwrap_or(usize::MAX);
    replay.steps().iter().skip(skipped).take_while(|step| step.revision <= to).find_map(|step| {
        step.changes
            .iter()
            .filter(|(key, _)| within(key, &watched.key, watched.end.as_ref()))
            .filter(|(_, kv)| if kv.is_some() { !watched.no_put } else { !watched.no_delete })
            .find(|(key, _)| !came.contains(&(step.revision, key)))
            .map(|(key, _)| (step.revision, key))
    })
}

/// What came first after a revision: when, and what, in words.
fn after(watched: &Watched, revision: i64) -> (Option<u64>, String) {
    match events(watched).find(|(_, event)| event.revision >= revision) {
        Some((delivery, event)) => (Some(delivery.at), event.show()),
        None => (watched.deliveries.last().map(|delivery| delivery.at), "nothing".to_owned()),
    }
}

fn breach(rule: Rule, watched: &Watched, delivery: &Delivery, event: &WatchEvent, why: &str) -> Violation {
    let sentence = format!("{} delivered {} at {}, {why}", watched.name, event.show(), seconds(delivery.at));
    Violation::new(rule, sentence).at(Some(delivery.at)).revision(event.revision)
}

#[cfg(test)]
mod tests;
