//! Catching up from the store's history.

use super::{Before, Name, Output, Place, WatchHub, Watcher};
use crate::backend::{Backend, BackendError};
use crate::mvcc::Mvcc;
use seatrial_types::{Event, Revision};
use std::collections::{BTreeMap, BTreeSet};

/// Watchers served by one step.
const WATCHERS_MAX: usize = 512;

/// Which of some watchers want an event.
#[derive(Default)]
struct Group<'a> {
    points: BTreeMap<&'a [u8], Vec<usize>>,
    spans: Vec<usize>,
}

impl<'a> Group<'a> {
    fn new(watchers: &'a [(Name, Watcher)]) -> Self {
        let mut group = Self::default();
        for (position, (_, watcher)) in watchers.iter().enumerate() {
            if watcher.range.is_single() {
                group.points.entry(watcher.range.key.as_ref()).or_default().push(position);
            } else {
                group.spans.push(position);
            }
        }
        group
    }

    fn interested(&self, event: &Event) -> impl Iterator<Item = usize> {
        self.points.get(event.kv.key.as_ref()).into_iter().flatten().chain(&self.spans).copied()
    }
}

impl WatchHub {
    /// Brings watchers which are behind forward, those furthest behind first, reading about `rows_max` changes.
    ///
    /// # Errors
    /// The backend's.
    pub fn step<B: Backend>(&mut self, rows_max: usize, mvcc: &Mvcc<B>) -> Result<Vec<Output>, BackendError> {
        let mut out = Vec::new();
        while let Some((next, name)) = self.ready.get_min().copied()
            && next < mvcc.compacted()
        {
            out.push(self.cancel_compacted(name, mvcc));
            out.extend(self.tell_progress(name.0, mvcc.revision()));
        }
        let Some((from, _)) = self.ready.get_min().copied() else { return Ok(out) };
        let (events, until) = if from > mvcc.revision() {
            (Vec::new(), from)
        } else {
            mvcc.history(from, rows_max, self.options.step_bytes)?
        };
        // Those who need none of this are left alone.
        let chosen: Vec<Name> = self
            .ready
            .iter()
            .take(WATCHERS_MAX)
            .take_while(|(next, _)| *next <= until)
            .map(|(_, name)| *name)
            .collect();
        let watchers: Vec<(Name, Watcher)> =
            chosen.into_iter().map(|name| (name, self.watcher(name).clone())).collect();
        let mut wanted: Vec<Vec<usize>> = vec![Vec::new(); watchers.len()];
        let group = Group::new(&watchers);
        for (position, event) in events.iter().enumerate() {
            for watcher in group.interested(event) {
                if watchers[watcher].1.wants(event) {
                    wanted[watcher].push(position);
                }
            }
        }
        let mut before = Before { mvcc, known: BTreeMap::new() };
        let mut touched = BTreeSet::new();
        for ((name, watcher), positions) in watchers.iter().zip(wanted) {
            self.ready.remove(&(watcher.next, *name));
            touched.insert(name.0);
            match positions.first() {
                Some(first) if self.stream(name.0).credit <= 0 => {
                    // Another watcher of the stream used the last credit: this one goes on from its first event.
                    let next = events[*first].kv.mod_revision;
                    self.fall_behind(*name, next);
                    continue;
                }
                Some(_) => {
                    let seen = Revision(until.0 - 1);
                    self.tell(*name, &events, &positions, seen, &mut before, &mut out)?;
                }
                None => {}
            }
            let moved = self.watcher(*name);
            moved.next = watcher.next.max(until);
            let next = moved.next;
            if next > mvcc.revision() {
                self.listen(*name);
            } else {
                self.fall_behind(*name, next);
            }
        }
        for stream in touched {
            self.stall_without_credit(stream);
            out.extend(self.tell_progress(stream, mvcc.revision()));
        }
        Ok(out)
    }

    /// Watchers of a stream which has used its credit up wait for more.
    fn stall_without_credit(&mut self, stream: seatrial_types::watch::StreamId) {
        let found = self.stream(stream);
        if found.credit > 0 {
            return;
        }
        let mut waiting = Vec::new();
        for id in found.behind.clone() {
            let watcher = found.watchers.get_mut(&id).expect("those behind are watchers");
            if watcher.place == Place::Ready {
                watcher.place = Place::Stalled;
                waiting.push((watcher.next, (stream, id)));
            }
        }
        for entry in waiting {
            self.ready.remove(&entry);
        }
    }
}
