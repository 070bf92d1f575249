//! The history of the v2 keys: every change that anybody was told of, at its index, with whoever asked for it.

use super::{Wrong, who};
use crate::clients::REGISTRY;
use crate::record::RunLog;
use crate::record::v2::{V2Asked, V2Heard, V2Record};
use seatrial_types::MemberId;
use seatrial_types::v2::{V2Action, V2Change, V2Event, V2Request, V2Verb};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// One change.
pub(super) struct Entry<'a> {
    pub(super) event: &'a V2Event,
    /// Who asked for it; `None` where time did, or one whose requests stand in no record.
    pub(super) origin: Option<&'a V2Record>,
    /// Who told of it, in words, and at which member.
    source: (String, MemberId),
    /// When somebody knew that it, or one after it, had happened.
    seen: Option<Duration>,
}

impl Entry<'_> {
    pub(super) fn seen(&self) -> Option<Duration> {
        self.seen
    }

    pub(super) fn member(&self) -> Option<MemberId> {
        Some(self.source.1)
    }

    /// Only its time began anew.
    pub(super) fn is_refresh(&self) -> bool {
        self.origin.and_then(V2Record::change).is_some_and(is_refresh)
    }

    /// Nobody who waits above is told: only its time began anew, or it is hidden.
    pub(super) fn is_untold(&self) -> bool {
        self.is_refresh() || is_hidden(&self.event.node.path)
    }

    /// It concerns clusters that form, which are judged by what they are told.
    pub(super) fn is_aside(&self) -> bool {
        is_aside(&self.event.node.path)
    }
}

/// Why nobody was told of an index.
pub(super) enum Unseen<'a> {
    /// One of these changes, whose answers were lost, which only let time begin anew or are hidden.
    Untold(Vec<&'a V2Record>),
    /// It lies before what members remember.
    Forgotten,
    /// Nothing explains it.
    Missing,
}

pub(super) struct Ledger<'a> {
    entries: BTreeMap<u64, Entry<'a>>,
    /// Of lost changes that happened: their places in the log of the run, and their indices.
    found: BTreeMap<*const V2Record, u64>,
    untold: Vec<&'a V2Record>,
    newest: u64,
    remembered: u64,
}

fn is_hidden(path: &str) -> bool {
    path.contains("/_")
}

/// Where those register who form a cluster.
pub(super) fn is_aside(path: &str) -> bool {
    path.starts_with(REGISTRY)
}

fn is_refresh(change: &V2Change) -> bool {
    match &change.action {
        V2Action::Set { life, .. }
        | V2Action::Create { life, .. }
        | V2Action::CreateInOrder { life, .. }
        | V2Action::Update { life, .. }
        | V2Action::CompareAndSwap { life, .. } => life.refresh,
        V2Action::Delete { .. } | V2Action::CompareAndDelete { .. } => false,
    }
}

fn verb_of(action: &V2Action) -> V2Verb {
    match action {
        V2Action::Set { .. } => V2Verb::Set,
        V2Action::Create { .. } | V2Action::CreateInOrder { .. } => V2Verb::Create,
        V2Action::Update { .. } => V2Verb::Update,
        V2Action::CompareAndSwap { .. } => V2Verb::CompareAndSwap,
        V2Action::Delete { .. } => V2Verb::Delete,
        V2Action::CompareAndDelete { .. } => V2Verb::CompareAndDelete,
    }
}

fn value_of(action: &V2Action) -> Option<&str> {
    match action {
        V2Action::Set { dir: false, value, .. }
        | V2Action::Create { dir: false, value, .. }
        | V2Action::CreateInOrder { dir: false, value, .. }
        | V2Action::Update { value, .. }
        | V2Action::CompareAndSwap { value, .. } => Some(value),
        _ => None,
    }
}

/// Whether the change, carried out, is this event.
fn comes_to(change: &V2Change, event: &V2Event) -> bool {
    let is_there = match &change.action {
        V2Action::CreateInOrder { .. } => {
            event.node.path.rsplit_once('/').is_some_and(|(dir, _)| dir == change.path)
        }
        _ => event.node.path == change.path,
    };
    // A refresh keeps the value, and says none.
    let writes = is_refresh(change) || value_of(&change.action) == event.node.value.as_deref();
    is_there && verb_of(&change.action) == event.verb && writes
}

/// Whether what the change compares is what was there before, as the event tells.
pub(super) fn could(action: &V2Action, event: &V2Event) -> bool {
    let prev = event.prev.as_ref();
    match action {
        V2Action::Set { .. } => prev.is_none_or(|prev| !prev.dir),
        V2Action::Create { .. } | V2Action::CreateInOrder { .. } => prev.is_none(),
        V2Action::Update { .. } => prev.is_some(),
        V2Action::CompareAndSwap { prev: wanted, .. } | V2Action::CompareAndDelete { prev: wanted } => prev
            .is_some_and(|prev| {
                (wanted.value.is_empty() || prev.value.as_deref() == Some(&wanted.value))
                    && (wanted.index == 0 || wanted.index == prev.modified)
            }),
        V2Action::Delete { recursive, .. } => prev.is_some_and(|prev| !prev.dir || *recursive),
    }
}

/// Equal but for what is told by a calendar.
fn is_same(one: &V2Event, other: &V2Event) -> bool {
    let plain = |event: &V2Event| {
        let mut event = event.clone();
        event.refresh = false;
        for node in std::iter::once(&mut event.node).chain(&mut event.prev) {
            (node.ttl_seconds, node.expiration_ns) = (None, None);
        }
        event
    };
    plain(one) == plain(other)
}

impl<'a> Ledger<'a> {
    /// Of all that anybody was told.
    pub(super) fn of(log: &'a RunLog) -> Result<Self, Wrong> {
        let mut ledger = Self {
            entries: BTreeMap::new(),
            found: BTreeMap::new(),
            untold: Vec::new(),
            newest: 0,
            remembered: 1,
        };
        for record in &log.v2 {
            ledger.newest = ledger.newest.max(record.index().unwrap_or(0));
            let is_read = matches!(record.asked, V2Asked::Request(V2Request::Read { .. }));
            let Some(event) = record.event().filter(|_| !is_read) else { continue };
            let origin = record.change().map(|_| record);
            if let Some(change) = record.change()
                && !comes_to(change, event)
            {
                let sentence =
                    format!("{} asked for {change:?} and was told that {event:?} happened", who(record));
                return Err((sentence, Some(record.seen.ret), Some(record.member)));
            }
            ledger.add(event, origin, (who(record), record.member), Some(record.seen.ret))?;
        }
        for view in log.healing.iter().flat_map(|healing| &healing.v2) {
            ledger.newest = ledger.newest.max(view.index);
            ledger.remembered = ledger.remembered.max(view.from);
            for event in &view.events {
                ledger.add(event, None, (format!("member {} in the end", view.member), view.member), None)?;
            }
        }
        ledger.find_lost(log)?;
        ledger.see(log);
        Ok(ledger)
    }

    fn add(
        &mut self,
        event: &'a V2Event,
        origin: Option<&'a V2Record>,
        source: (String, MemberId),
        at: Option<Duration>,
    ) -> Result<(), Wrong> {
        let index = event.index();
        let Some(known) = self.entries.get_mut(&index) else {
            self.entries.insert(index, Entry { event, origin, source, seen: at });
            return Ok(());
        };
        if !is_same(known.event, event) {
            let sentence = format!(
                "index {index} of the v2 keys is {:?} as {} was told, and {:?} as {} was",
                known.event, known.source.0, event, source.0
            );
            return Err((sentence, at, Some(source.1)));
        }
        if let (Some(one), Some(other)) = (known.origin, origin) {
            let sentence = format!(
                "{} and {} were both told that the change of index {index} of the v2 keys is theirs",
                who(one),
                who(other)
            );
            return Err((sentence, at, Some(source.1)));
        }
        known.origin = known.origin.or(origin);
        Ok(())
    }

    /// Finds who asked for the changes of which nobody was told that they are its own.
    fn find_lost(&mut self, log: &'a RunLog) -> Result<(), Wrong> {
        let lost = |record: &&V2Record| {
            record.change().is_some() && matches!(record.heard, V2Heard::Unknown(_) | V2Heard::Nothing)
        };
        let mut lost: Vec<&V2Record> = log.v2.iter().filter(lost).collect();
        lost.sort_by_key(|record| record.seen.call);
        let mut used = BTreeSet::new();
        for (index, entry) in &mut self.entries {
            if entry.origin.is_some() || entry.event.verb == V2Verb::Expire || entry.is_aside() {
                continue;
            }
            let comes = |record: &&&V2Record| {
                let change = record.change().expect("only changes are here");
                // Of one that only lets time begin anew nobody is told but who asked.
                !is_refresh(change)
                    && could(&change.action, entry.event)
                    && !used.contains(&std::ptr::from_ref(**record))
                    && comes_to(change, entry.event)
            };
            let Some(record) = lost.iter().find(comes).copied() else {
                let sentence = format!(
                    "index {index} of the v2 keys is {:?}, as {} was told, but nobody asked for that, or not so often",
                    entry.event, entry.source.0
                );
                return Err((sentence, entry.seen, Some(entry.source.1)));
            };
            used.insert(std::ptr::from_ref(record));
            self.found.insert(std::ptr::from_ref(record), *index);
            entry.origin = Some(record);
        }
        let untold = |record: &&V2Record| {
            let is_untold = |change: &V2Change| is_refresh(change) || is_hidden(&change.path);
            !used.contains(&std::ptr::from_ref(*record)) && record.change().is_some_and(is_untold)
        };
        self.untold = lost.into_iter().filter(untold).collect();
        Ok(())
    }

    /// When each was known to have happened: whoever knows of a later one knows of it.
    fn see(&mut self, log: &RunLog) {
        let mut known: BTreeMap<u64, Duration> = BTreeMap::new();
        for record in &log.v2 {
            let Some(index) = record.index() else { continue };
            let at = known.entry(index).or_insert(record.seen.ret);
            *at = (*at).min(record.seen.ret);
        }
        let mut first: Option<Duration> = None;
        for index in (1..=self.newest).rev() {
            first = [first, known.get(&index).copied()].into_iter().flatten().min();
            if let Some(entry) = self.entries.get_mut(&index) {
                entry.seen = first;
            }
        }
    }

    pub(super) fn at(&self, index: u64) -> Option<&Entry<'a>> {
        self.entries.get(&index)
    }

    /// From an index on.
    pub(super) fn from(&self, index: u64) -> impl Iterator<Item = (u64, &Entry<'a>)> {
        self.entries.range(index..).map(|(index, entry)| (*index, entry))
    }

    pub(super) fn unseen(&self, index: u64) -> Unseen<'a> {
        match () {
            () if !self.untold.is_empty() => Unseen::Untold(self.untold.clone()),
            () if index < self.remembered => Unseen::Forgotten,
            () => Unseen::Missing,
        }
    }

    /// Where a change whose answer was lost has its place.
    pub(super) fn index_of(&self, record: &V2Record) -> Option<u64> {
        self.found.get(&std::ptr::from_ref(record)).copied()
    }

    pub(super) fn newest(&self) -> u64 {
        self.newest
    }
}
