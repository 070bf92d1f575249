//! Watches: who hears of which change, in order, once, and whole revisions at a time.
//!
//! A watcher is *synced* when it has been told everything up to the newest revision; then it hears of each
//! change as it is applied. Otherwise it catches up from the store's history in bounded steps. A stream has a
//! credit of responses: without credit nothing is queued for it, its watchers fall back to catching up, and
//! nothing is lost or told twice. So the hub's memory is bounded by the number of watchers.

mod catch_up;

use crate::backend::{Backend, BackendError};
use crate::mvcc::Mvcc;
use bytes::Bytes;
use imbl::{OrdMap, OrdSet};
use seatrial_types::buggify::{Site, hits};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::request::Header;
use seatrial_types::watch::{StreamId, WatchCreate, WatchId, WatchRequest, WatchResponse};
use seatrial_types::{Error, Event, EventKind, KeyRange, KeyValue, Revision};
use std::collections::BTreeMap;

/// Something to be sent on a client's stream.
pub type Output = (StreamId, WatchResponse);

/// How watches are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HubOptions {
    /// What a new stream may be sent before more credit is given, in units of [`WatchResponse::credit`]. The last
    /// response may take more than is left.
    pub credit: u32,
    /// A response larger than this is split, for watchers which asked for it.
    pub fragment_bytes: usize,
    /// About how many bytes of history one step of catching up reads.
    pub step_bytes: usize,
}

impl Default for HubOptions {
    fn default() -> Self {
        Self { credit: 64, fragment_bytes: 2 << 20, step_bytes: 1 << 20 }
    }
}

/// Whose turn it is.
type Name = (StreamId, WatchId);

/// How far a watcher is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// Told everything.
    Synced,
    /// Catching up.
    Ready,
    /// Catching up once the stream has credit.
    Stalled,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Watcher {
    range: KeyRange,
    /// The first revision not told yet. Of a synced watcher: it hears of nothing before.
    next: Revision,
    place: Place,
    prev_kv: bool,
    progress_notify: bool,
    fragment: bool,
    without_puts: bool,
    without_deletes: bool,
    /// Nothing was sent since the last round of progress notifications.
    is_quiet: bool,
}

impl Watcher {
    fn wants(&self, event: &Event) -> bool {
        let is_filtered = match event.kind {
            EventKind::Put => self.without_puts,
            EventKind::Delete => self.without_deletes,
        };
        let is_due = event.kv.mod_revision >= self.next || is_planted(Planted::W02);
        !is_filtered && is_due && self.range.contains(&event.kv.key)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Stream {
    watchers: OrdMap<WatchId, Watcher>,
    next_id: i64,
    /// Below zero where the last response took more than was left.
    credit: i64,
    /// Watchers which are not synced.
    behind: OrdSet<WatchId>,
    /// The client asked how far the stream is, and it was not in step.
    progress_wanted: bool,
}

/// All watches of a member's clients.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatchHub {
    options: HubOptions,
    streams: OrdMap<StreamId, Stream>,
    /// Synced watchers of one key, and of spans.
    points: OrdMap<Bytes, OrdSet<Name>>,
    spans: OrdSet<Name>,
    /// Watchers catching up, those furthest behind first.
    ready: OrdSet<(Revision, Name)>,
}

impl Default for WatchHub {
    fn default() -> Self {
        Self::new(HubOptions::default())
    }
}

fn answer(watch_id: WatchId, revision: Revision) -> WatchResponse {
    WatchResponse {
        header: Header { revision, ..Header::default() },
        watch_id,
        created: false,
        canceled: false,
        cancel_reason: String::new(),
        compact_revision: Revision(0),
        fragment: false,
        events: Vec::new(),
    }
}

/// The versions before some events, each read at most once.
struct Before<'a, B> {
    mvcc: &'a Mvcc<B>,
    known: BTreeMap<usize, Option<KeyValue>>,
}

impl<B: Backend> Before<'_, B> {
    fn attach(&mut self, position: usize, event: &Event) -> Result<Event, BackendError> {
        // What creates a key has nothing before it, though its own transaction may have deleted the key first.
        if event.kind == EventKind::Put && event.kv.create_revision == event.kv.mod_revision {
            return Ok(event.clone());
        }
        let prev_kv = match self.known.get(&position) {
            Some(known) => known.clone(),
            None => {
                let found = self.mvcc.before(event)?;
                self.known.insert(position, found.clone());
                found
            }
        };
        Ok(Event { prev_kv, ..event.clone() })
    }
}

impl WatchHub {
    /// Without any watch.
    #[must_use]
    pub fn new(options: HubOptions) -> Self {
        Self {
            options,
            streams: OrdMap::new(),
            points: OrdMap::new(),
            spans: OrdSet::new(),
            ready: OrdSet::new(),
        }
    }

    /// Serves a client's request. A stream begins with its first one.
    ///
    /// # Errors
    /// The backend's.
    pub fn request<B: Backend>(
        &mut self,
        stream: StreamId,
        request: WatchRequest,
        mvcc: &Mvcc<B>,
    ) -> Result<Vec<Output>, BackendError> {
        self.open(stream);
        Ok(match request {
            // Whether the caller may watch these keys was decided before.
            WatchRequest::Create(create) | WatchRequest::CreateAs(_, create) => {
                self.create(stream, create, mvcc)
            }
            WatchRequest::Cancel(id) => self.cancel(stream, id, mvcc.revision()),
            WatchRequest::Progress => {
                self.stream(stream).progress_wanted = true;
                self.tell_progress(stream, mvcc.revision()).into_iter().collect()
            }
        })
    }

    /// Begins a stream; nothing happens where it is there.
    pub fn open(&mut self, stream: StreamId) {
        let credit = if hits(Site::WatchWindowOne) { 1 } else { self.options.credit.into() };
        self.streams.entry(stream).or_insert_with(|| Stream {
            watchers: OrdMap::new(),
            next_id: 0,
            credit,
            behind: OrdSet::new(),
            progress_wanted: false,
        });
    }

    /// Ends a stream and all its watches.
    pub fn close(&mut self, stream: StreamId) {
        let Some(gone) = self.streams.get(&stream).cloned() else { return };
        for id in gone.watchers.keys() {
            self.remove(stream, *id);
        }
        self.streams.remove(&stream);
    }

    /// Lets the stream be sent so much more, in units of [`WatchResponse::credit`].
    pub fn credit(&mut self, stream: StreamId, more: u32) {
        let Some(found) = self.streams.get_mut(&stream) else { return };
        found.credit = found.credit.saturating_add(more.into());
        if found.credit <= 0 {
            return;
        }
        for id in found.behind.clone() {
            let watcher = found.watchers.get_mut(&id).expect("those behind are watchers");
            if watcher.place == Place::Stalled {
                watcher.place = Place::Ready;
                self.ready.insert((watcher.next, (stream, id)));
            }
        }
    }

    /// What the stream may still be sent; below zero where the last response took more than was left.
    #[must_use]
    pub fn credit_left(&self, stream: StreamId) -> i64 {
        self.streams.get(&stream).map_or(0, |stream| stream.credit)
    }

    /// Whether [`WatchHub::step`] has something to do.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many streams and watches there are.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.streams.len(), self.streams.values().map(|stream| stream.watchers.len()).sum())
    }

    /// How many watches are behind and could go on.
    #[must_use]
    pub fn behind(&self) -> usize {
        self.ready.len()
    }

    fn stream(&mut self, stream: StreamId) -> &mut Stream {
        self.streams.get_mut(&stream).expect("the stream was opened")
    }

    fn watcher(&mut self, (stream, id): Name) -> &mut Watcher {
        self.stream(stream).watchers.get_mut(&id).expect("a watcher in the books exists")
    }

    fn create<B: Backend>(&mut self, stream: StreamId, create: WatchCreate, mvcc: &Mvcc<B>) -> Vec<Output> {
        let revision = mvcc.revision();
        let mut range = create.range;
        if range.key.is_empty() {
            range.key = Bytes::from_static(b"\0");
        }
        let found = self.stream(stream);
        let refused = if !range.is_single() && range.end.as_ref() != b"\0" && range.key >= range.end {
            Some("mvcc: watcher range is empty")
        } else if create.watch_id != 0 && found.watchers.contains_key(&WatchId(create.watch_id)) {
            Some("mvcc: duplicate watch ID provided on the WatchStream")
        } else {
            None
        };
        if let Some(reason) = refused {
            let refusal = WatchResponse {
                created: true,
                canceled: true,
                cancel_reason: reason.into(),
                ..answer(WatchId::INVALID, revision)
            };
            return vec![(stream, refusal)];
        }
        let id = if create.watch_id != 0 {
            WatchId(create.watch_id)
        } else {
            while found.watchers.contains_key(&WatchId(found.next_id)) {
                found.next_id += 1;
            }
            found.next_id += 1;
            WatchId(found.next_id - 1)
        };
        // What lies before the first revision is history too, as in etcd: gone once anything was compacted.
        let is_from_now = create.start_revision.0 == 0;
        let next = if is_from_now { revision.next() } else { create.start_revision };
        if is_planted(Planted::W07) {
            assert!(next <= revision.next(), "a watch from revision {next}, but the newest is {revision}");
        }
        let watcher = Watcher {
            range,
            next,
            place: Place::Synced,
            prev_kv: create.prev_kv,
            progress_notify: create.progress_notify,
            fragment: create.fragment,
            without_puts: create.filters.contains(&EventKind::Put),
            without_deletes: create.filters.contains(&EventKind::Delete),
            is_quiet: true,
        };
        found.watchers.insert(id, watcher);
        let name = (stream, id);
        let mut out = vec![(stream, WatchResponse { created: true, ..answer(id, revision) })];
        if next < mvcc.compacted() {
            out.push(self.cancel_compacted(name, mvcc));
        } else if next <= revision {
            self.fall_behind(name, next);
        } else {
            self.listen(name);
        }
        out
    }

    fn cancel(&mut self, stream: StreamId, id: WatchId, revision: Revision) -> Vec<Output> {
        if !self.stream(stream).watchers.contains_key(&id) {
            return Vec::new();
        }
        self.remove(stream, id);
        let mut out = vec![(stream, WatchResponse { canceled: true, ..answer(id, revision) })];
        out.extend(self.tell_progress(stream, revision));
        out
    }

    fn cancel_compacted<B: Backend>(&mut self, name: Name, mvcc: &Mvcc<B>) -> Output {
        self.remove(name.0, name.1);
        let response = WatchResponse {
            canceled: true,
            compact_revision: mvcc.compacted(),
            cancel_reason: Error::Compacted.to_string(),
            ..answer(name.1, mvcc.revision())
        };
        (name.0, response)
    }

    /// Answers a request for progress once the stream is in step: then nothing at or below the revision is
    /// still to come on it.
    fn tell_progress(&mut self, stream: StreamId, revision: Revision) -> Option<Output> {
        let found = self.stream(stream);
        let is_behind = !found.behind.is_empty() && !is_planted(Planted::W01);
        if !found.progress_wanted || is_behind {
            return None;
        }
        found.progress_wanted = false;
        Some((stream, answer(WatchId::INVALID, revision)))
    }

    fn remove(&mut self, stream: StreamId, id: WatchId) {
        self.unlisten((stream, id));
        let found = self.stream(stream);
        let watcher = found.watchers.remove(&id).expect("a watcher to be removed exists");
        found.behind.remove(&id);
        self.ready.remove(&(watcher.next, (stream, id)));
    }

    /// Enters a synced watcher into the books.
    fn listen(&mut self, name: Name) {
        let watcher = self.watcher(name);
        watcher.place = Place::Synced;
        let range = watcher.range.clone();
        self.stream(name.0).behind.remove(&name.1);
        if range.is_single() {
            self.points.entry(range.key).or_default().insert(name);
        } else {
            self.spans.insert(name);
        }
    }

    fn unlisten(&mut self, name: Name) {
        let range = self.watcher(name).range.clone();
        if range.is_single() {
            if let Some(names) = self.points.get_mut(&range.key) {
                names.remove(&name);
                if names.is_empty() {
                    self.points.remove(&range.key);
                }
            }
        } else {
            self.spans.remove(&name);
        }
    }

    /// Takes a watcher out of the synced ones (where it was) and lets it catch up from `next` on.
    fn fall_behind(&mut self, name: Name, next: Revision) {
        self.unlisten(name);
        let stream = self.stream(name.0);
        stream.behind.insert(name.1);
        let place = if stream.credit > 0 { Place::Ready } else { Place::Stalled };
        let watcher = self.watcher(name);
        watcher.next = next;
        watcher.place = place;
        if place == Place::Ready {
            self.ready.insert((next, name));
        }
    }

    /// Tells the synced watchers of the events of one revision, which has just been applied.
    ///
    /// # Errors
    /// The backend's.
    pub fn notify<B: Backend>(
        &mut self,
        events: &[Event],
        mvcc: &Mvcc<B>,
    ) -> Result<Vec<Output>, BackendError> {
        let Some(last) = events.last() else { return Ok(Vec::new()) };
        let revision = last.kv.mod_revision;
        assert_eq!(revision, mvcc.revision(), "events of another revision than the newest");
        let mut wanted: BTreeMap<Name, Vec<usize>> = BTreeMap::new();
        for (position, event) in events.iter().enumerate() {
            let points = self.points.get(&event.kv.key).into_iter().flatten();
            for name in points.chain(&self.spans) {
                if self.streams[&name.0].watchers[&name.1].wants(event) {
                    wanted.entry(*name).or_default().push(position);
                }
            }
        }
        let mut before = Before { mvcc, known: BTreeMap::new() };
        let mut out = Vec::new();
        for (name, positions) in wanted {
            if self.stream(name.0).credit <= 0 {
                if is_planted(Planted::W03) {
                    continue;
                }
                self.fall_behind(name, revision);
            } else {
                self.tell(name, events, &positions, revision, &mut before, &mut out)?;
            }
        }
        Ok(out)
    }

    /// Sends events to one watcher.
    fn tell<B: Backend>(
        &mut self,
        name: Name,
        events: &[Event],
        positions: &[usize],
        revision: Revision,
        before: &mut Before<'_, B>,
        out: &mut Vec<Output>,
    ) -> Result<(), BackendError> {
        let fragment_bytes = self.options.fragment_bytes;
        let credit = self.stream(name.0).credit;
        assert!(credit > 0, "something is told on {name:?} with a credit of {credit}");
        let first_output = out.len();
        let watcher = self.watcher(name);
        watcher.is_quiet = false;
        let mut response = answer(name.1, revision);
        let mut bytes = 0;
        for position in positions {
            let event = &events[*position];
            let event = if watcher.prev_kv { before.attach(*position, event)? } else { event.clone() };
            let size = |kv: &KeyValue| kv.key.len() + kv.value.len() + 64;
            let event_bytes = size(&event.kv) + event.prev_kv.as_ref().map_or(0, size);
            if watcher.fragment && !response.events.is_empty() && bytes + event_bytes > fragment_bytes {
                let next = answer(name.1, revision);
                let full = std::mem::replace(&mut response, next);
                out.push((name.0, WatchResponse { fragment: true, ..full }));
                bytes = 0;
            }
            if is_planted(Planted::W06) && !response.events.is_empty() {
                let next = answer(name.1, revision);
                out.push((name.0, std::mem::replace(&mut response, next)));
            }
            bytes += event_bytes;
            response.events.push(event);
        }
        out.push((name.0, response));
        let used: i64 = out[first_output..].iter().map(|(_, response)| i64::from(response.credit())).sum();
        self.stream(name.0).credit -= used;
        Ok(())
    }

    /// Sends an empty response to every synced watcher which asked for such and was sent nothing since the last
    /// call.
    pub fn notify_progress<B: Backend>(&mut self, mvcc: &Mvcc<B>) -> Vec<Output> {
        let mut out = Vec::new();
        let streams: Vec<StreamId> = self.streams.keys().copied().collect();
        for id in streams {
            let stream = self.stream(id);
            let watches: Vec<WatchId> = stream.watchers.keys().copied().collect();
            for watch in watches {
                let watcher = &stream.watchers[&watch];
                if !watcher.progress_notify {
                    continue;
                }
                let is_in_step = watcher.place == Place::Synced && stream.credit > 0;
                let is_due = watcher.is_quiet && (is_in_step || is_planted(Planted::W01));
                stream.watchers.get_mut(&watch).expect("just seen").is_quiet = true;
                if is_due {
                    let response = answer(watch, mvcc.revision());
                    stream.credit -= i64::from(response.credit());
                    out.push((id, response));
                }
            }
        }
        out
    }

    /// The whole store was replaced by a newer one: everybody catches up from where they were.
    pub(crate) fn restored(&mut self, old_revision: Revision) {
        let names: Vec<Name> = self
            .streams
            .iter()
            .flat_map(|(stream, found)| found.watchers.keys().map(|id| (*stream, *id)))
            .collect();
        for name in names {
            let watcher = self.watcher(name);
            if watcher.place == Place::Synced {
                let next = watcher.next.max(old_revision.next());
                self.fall_behind(name, next);
            }
        }
    }

    /// Panics where an invariant does not hold.
    pub fn check(&self) {
        let mut ready = 0;
        for (stream_id, stream) in &self.streams {
            for (id, watcher) in &stream.watchers {
                let name = (*stream_id, *id);
                let listens = if watcher.range.is_single() {
                    self.points.get(&watcher.range.key).is_some_and(|names| names.contains(&name))
                } else {
                    self.spans.contains(&name)
                };
                let is_synced = watcher.place == Place::Synced;
                assert_eq!(listens, is_synced, "watcher {name:?} is {:?}", watcher.place);
                assert_eq!(stream.behind.contains(id), !is_synced, "watcher {name:?}");
                assert_eq!(self.ready.contains(&(watcher.next, name)), watcher.place == Place::Ready);
                ready += usize::from(watcher.place == Place::Ready);
                assert!(
                    watcher.place != Place::Stalled || stream.credit <= 0,
                    "watcher {name:?} waits for credit, and there is {}",
                    stream.credit
                );
            }
        }
        assert_eq!(ready, self.ready.len(), "watchers catching up that do not exist");
    }
}
