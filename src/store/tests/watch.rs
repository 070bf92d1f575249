//! Watches against the history: ordered, unique, atomic, reliable, under any credit.

mod support;

use bytes::Bytes;
use proptest::prelude::*;
use seatrial_store::{Command, HubOptions, MemBackend, Output, Store};
use seatrial_types::request::{CompactRequest, PutRequest};
use seatrial_types::watch::{StreamId, WatchCreate, WatchId, WatchRequest, WatchResponse};
use seatrial_types::{Event, EventKind, KeyRange, LogIndex, Revision, Term};
use std::collections::BTreeMap;
use std::time::Duration;
use support::reference::Reference;
use support::{Rng, commands};

/// What a client knows of one of its watches.
#[derive(Debug)]
struct Client {
    create: WatchCreate,
    /// First revision it is owed.
    from: i64,
    got: Vec<Event>,
    /// No event at or below may come any more.
    promised: i64,
    /// In the middle of a revision that comes in fragments.
    fragments: bool,
    ended: Option<WatchResponse>,
}

struct Clients {
    watches: BTreeMap<(StreamId, WatchId), Client>,
    pending: BTreeMap<StreamId, Vec<WatchCreate>>,
    /// The credit that responses used, by stream.
    used: BTreeMap<StreamId, u64>,
    given: BTreeMap<StreamId, u64>,
}

impl Clients {
    fn hear(&mut self, outputs: Vec<Output>, newest: i64) {
        for (stream, response) in outputs {
            let revision = response.header.revision.0;
            assert!(revision <= newest, "{response:?} is ahead of {newest}");
            if response.created {
                let create = self.pending.get_mut(&stream).unwrap().remove(0);
                if response.canceled {
                    assert_eq!(response.watch_id, WatchId::INVALID);
                    continue;
                }
                let from = if create.start_revision.0 == 0 { revision + 1 } else { create.start_revision.0 };
                let client =
                    Client { create, from, got: Vec::new(), promised: 0, fragments: false, ended: None };
                let old = self.watches.insert((stream, response.watch_id), client);
                assert!(old.is_none_or(|old| old.ended.is_some()), "the id was taken");
                continue;
            }
            if response.watch_id == WatchId::INVALID {
                for ((_, _), client) in self.watches.iter_mut().filter(|((of, _), _)| *of == stream) {
                    client.promised = client.promised.max(revision);
                }
                continue;
            }
            let client = self.watches.get_mut(&(stream, response.watch_id)).expect("a watch that exists");
            assert!(client.ended.is_none(), "an answer after the end: {response:?}");
            if response.canceled {
                client.ended = Some(response);
                continue;
            }
            let used = self.used.entry(stream).or_default();
            let within = *used < self.given[&stream];
            assert!(client.fragments || within, "something is told without credit on {stream:?}");
            *used += u64::from(response.credit());
            if response.events.is_empty() {
                client.promised = client.promised.max(revision);
                continue;
            }
            let first = response.events[0].kv.mod_revision.0;
            let last_got = client.got.last().map_or(0, |last| last.kv.mod_revision.0);
            // Atomic: a revision does not go on in another response, unless it is a fragment.
            assert!(first > last_got || (client.fragments && first == last_got), "revision {first} is split");
            assert!(first > client.promised, "{first} after a promise of {}", client.promised);
            client.fragments = response.fragment;
            if !response.fragment {
                // The header too is a promise: what the watch has seen so far.
                client.promised = client.promised.max(revision);
            }
            client.got.extend(response.events);
        }
    }
}

fn wanted(reference: &Reference, client: &Client) -> Vec<Event> {
    let history = reference.history(client.from);
    let mine = history.into_iter().filter(|event| {
        client.create.range.contains(&event.kv.key) && !client.create.filters.contains(&event.kind)
    });
    mine.map(|event| Event { prev_kv: event.prev_kv.filter(|_| client.create.prev_kv), ..event }).collect()
}

/// Compares, letting the version before be missing where it was compacted before it was told.
fn agree(got: &[Event], wanted: &[Event]) -> bool {
    got.len() <= wanted.len()
        && got.iter().zip(wanted).all(|(got, wanted)| {
            (got.kind, &got.kv) == (wanted.kind, &wanted.kv)
                && (got.prev_kv == wanted.prev_kv || got.prev_kv.is_none() || wanted.prev_kv.is_none())
        })
}

fn life(seed: u64) {
    let mut rng = Rng(seed);
    let options = HubOptions { credit: rng.below(4) as u32, fragment_bytes: 150, step_bytes: 200 };
    let mut store = Store::open(MemBackend::new(), options).unwrap();
    let mut reference = Reference::default();
    let (watches, pending, used, given) = Default::default();
    let mut clients = Clients { watches, pending, used, given };
    for stream in (0..3).map(StreamId) {
        clients.given.insert(stream, u64::from(options.credit));
    }
    for step in 0..120 {
        let at = format!("seed {seed}, step {step}");
        let newest = reference.revision();
        let stream = StreamId(rng.below(3));
        let outputs = match rng.below(12) {
            0..5 => {
                let mut command = commands::command(&mut rng, newest);
                if matches!(command, Command::Compact(_)) && !rng.chance(3) {
                    command = Command::Meta(Vec::new());
                }
                let applied = store.apply(store.applied().next(), Term(1), &command, Duration::ZERO).unwrap();
                let (answer, _) = reference.apply(&command);
                assert_eq!(applied.answer, answer);
                if rng.chance(2) {
                    store.compact_step(1 + rng.below(8) as usize);
                }
                applied.watch
            }
            5 => {
                let create = WatchCreate {
                    range: commands::range(&mut rng),
                    start_revision: Revision(if rng.chance(2) {
                        0
                    } else {
                        rng.below(newest as u64 + 4) as i64
                    }),
                    progress_notify: rng.chance(2),
                    filters: match rng.below(6) {
                        0 => vec![EventKind::Put],
                        1 => vec![EventKind::Delete],
                        _ => vec![],
                    },
                    prev_kv: rng.chance(2),
                    watch_id: if rng.chance(4) { rng.below(3) as i64 } else { 0 },
                    fragment: rng.chance(2),
                };
                clients.pending.entry(stream).or_default().push(create.clone());
                store.watch(stream, WatchRequest::Create(create)).unwrap()
            }
            6 => {
                let id = WatchId(rng.below(4) as i64);
                let open = clients.watches.get(&(stream, id)).is_some_and(|client| client.ended.is_none());
                let outputs = store.watch(stream, WatchRequest::Cancel(id)).unwrap();
                assert_eq!(outputs.iter().any(|(_, response)| response.canceled), open, "{at}");
                outputs
            }
            7 => store.watch(stream, WatchRequest::Progress).unwrap(),
            8 => store.watch_notify_progress(),
            9 | 10 => store.watch_step(1 + rng.below(5) as usize).unwrap(),
            _ => {
                let more = rng.below(4) as u32;
                store.hub().check();
                store.watch(stream, WatchRequest::Cancel(WatchId(99))).unwrap();
                store.watch_credit(stream, more);
                *clients.given.entry(stream).or_default() += u64::from(more);
                Vec::new()
            }
        };
        store.check();
        clients.hear(outputs, reference.revision());
        for (name, client) in &clients.watches {
            let wanted = wanted(&reference, client);
            assert!(agree(&client.got, &wanted), "{at}: {name:?} got {:#?}\nof {wanted:#?}", client.got);
            // Nothing promised away.
            let told = client.got.len();
            let promised = wanted.iter().filter(|event| event.kv.mod_revision.0 <= client.promised).count();
            assert!(
                client.ended.is_some() || told >= promised,
                "{at}: {name:?} was promised {}",
                client.promised
            );
        }
    }
    // With credit, everybody hears of everything.
    for stream in (0..3).map(StreamId) {
        store.watch(stream, WatchRequest::Cancel(WatchId(99))).unwrap();
        store.watch_credit(stream, 100_000);
        *clients.given.entry(stream).or_default() += 100_000;
    }
    while store.watch_has_work() {
        let outputs = store.watch_step(3).unwrap();
        clients.hear(outputs, reference.revision());
    }
    for (name, client) in &clients.watches {
        let wanted = wanted(&reference, client);
        match &client.ended {
            None => assert_eq!(client.got.len(), wanted.len(), "seed {seed}: {name:?} missed something"),
            Some(end) if end.compact_revision.0 != 0 => {
                let next = client.got.last().map_or(client.from, |last| last.kv.mod_revision.0 + 1);
                assert!(
                    next.min(client.from) < reference.compacted,
                    "seed {seed}: {name:?} ended at {end:?}"
                );
            }
            Some(_) => {}
        }
    }
    store.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_watcher_hears_of_every_change_once_and_in_order(seed: u64) {
        life(seed);
    }
}

fn store() -> Store<MemBackend> {
    Store::open(MemBackend::new(), HubOptions { credit: 2, ..HubOptions::default() }).unwrap()
}

fn put(store: &mut Store<MemBackend>, key: &'static str) -> Vec<Output> {
    let request = PutRequest { key: key.into(), value: Bytes::from_static(b"v"), ..PutRequest::default() };
    store.apply(store.applied().next(), Term(1), &Command::Put(request), Duration::ZERO).unwrap().watch
}

fn create(store: &mut Store<MemBackend>, key: &'static str, start: i64) -> Vec<WatchResponse> {
    let create = WatchCreate {
        range: KeyRange::single(key),
        start_revision: Revision(start),
        ..WatchCreate::default()
    };
    let outputs = store.watch(StreamId(1), WatchRequest::Create(create)).unwrap();
    outputs.into_iter().map(|(_, response)| response).collect()
}

#[test]
fn a_watch_from_a_compacted_revision_is_created_and_then_cancelled() {
    let mut store = store();
    for _ in 0..5 {
        put(&mut store, "k");
    }
    let request = CompactRequest { revision: Revision(4), physical: false };
    store.apply(LogIndex(6), Term(1), &Command::Compact(request), Duration::ZERO).unwrap();
    let told = create(&mut store, "k", 3);
    assert!(told[0].created && !told[0].canceled, "{told:?}");
    assert!(told[1].canceled && told[1].compact_revision == Revision(4), "{told:?}");
    // So is one from before the first revision, as in etcd.
    let told = create(&mut store, "k", -1);
    assert!(told[1].canceled && told[1].compact_revision == Revision(4), "{told:?}");
    // The compacted revision itself can be watched from, as in etcd.
    assert_eq!(create(&mut store, "k", 4).len(), 1);
    let events = store.watch_step(100).unwrap().remove(0).1.events;
    let revisions: Vec<i64> = events.iter().map(|event| event.kv.mod_revision.0).collect();
    assert_eq!(revisions, [4, 5, 6]);
}

#[test]
fn what_creates_a_key_has_nothing_before_it_though_its_transaction_deleted_the_key_first() {
    use seatrial_types::request::{DeleteRangeRequest, TxnOp, TxnRequest};
    let mut store = store();
    put(&mut store, "k");
    let create = WatchCreate { range: KeyRange::single("k"), prev_kv: true, ..WatchCreate::default() };
    store.watch(StreamId(1), WatchRequest::Create(create)).unwrap();
    let delete = DeleteRangeRequest { range: KeyRange::single("k"), prev_kv: false };
    let again = PutRequest { key: "k".into(), ..PutRequest::default() };
    let success = vec![TxnOp::DeleteRange(delete), TxnOp::Put(again)];
    let command = Command::Txn(TxnRequest { success, ..TxnRequest::default() });
    let told = store.apply(store.applied().next(), Term(1), &command, Duration::ZERO).unwrap().watch;
    let before: Vec<bool> = told[0].1.events.iter().map(|event| event.prev_kv.is_some()).collect();
    assert_eq!(before, [true, false], "{told:?}");
}

#[test]
fn progress_is_told_only_once_the_whole_stream_is_in_step() {
    let mut store = store();
    put(&mut store, "k");
    create(&mut store, "k", 1);
    assert!(store.watch(StreamId(1), WatchRequest::Progress).unwrap().is_empty());
    let told: Vec<WatchResponse> =
        store.watch_step(100).unwrap().into_iter().map(|(_, response)| response).collect();
    assert_eq!(told[0].events.len(), 1);
    assert_eq!((told[1].watch_id, told[1].header.revision), (WatchId::INVALID, Revision(2)));
}

#[test]
fn without_credit_nothing_is_queued_and_nothing_is_lost() {
    let mut store = store();
    create(&mut store, "k", 0);
    assert_eq!(put(&mut store, "k").len(), 1);
    assert_eq!(put(&mut store, "k").len(), 1);
    for _ in 0..3 {
        assert_eq!(put(&mut store, "k").len(), 0);
    }
    assert!(!store.watch_has_work(), "there is no credit to work with");
    store.watch_credit(StreamId(1), 1);
    let told = store.watch_step(100).unwrap();
    assert_eq!(told[0].1.events.len(), 3);
    assert!(!store.watch_has_work());
}

#[test]
fn large_answers_use_more_credit_and_what_they_overdraw_is_given_back_first() {
    let mut store = store();
    create(&mut store, "k", 0);
    // Of a credit of 2: one answer of five.
    let large = PutRequest { key: "k".into(), value: vec![b'v'; 300 << 10].into(), ..PutRequest::default() };
    let told =
        store.apply(store.applied().next(), Term(1), &Command::Put(large), Duration::ZERO).unwrap().watch;
    assert_eq!(told[0].1.credit(), 5);
    assert_eq!(store.hub().credit_left(StreamId(1)), -3);
    assert_eq!(put(&mut store, "k").len(), 0);
    store.watch_credit(StreamId(1), 3);
    store.check();
    assert!(!store.watch_has_work(), "what was overdrawn has just been given back");
    store.watch_credit(StreamId(1), 1);
    assert_eq!(store.watch_step(100).unwrap()[0].1.events.len(), 1);
    store.check();
}

#[test]
fn an_empty_range_and_a_taken_id_are_refused() {
    let mut store = store();
    let range = KeyRange { key: "b".into(), end: "a".into() };
    let request = WatchCreate { range, ..WatchCreate::default() };
    let told = store.watch(StreamId(1), WatchRequest::Create(request)).unwrap();
    assert!(told[0].1.created && told[0].1.canceled && told[0].1.watch_id == WatchId::INVALID);
    let request = WatchCreate { range: KeyRange::single("k"), watch_id: 7, ..WatchCreate::default() };
    store.watch(StreamId(1), WatchRequest::Create(request.clone())).unwrap();
    let told = store.watch(StreamId(1), WatchRequest::Create(request)).unwrap();
    assert!(told[0].1.canceled && told[0].1.cancel_reason.contains("duplicate"));
}

#[test]
fn watchers_catch_up_after_the_state_was_replaced() {
    let mut source = store();
    for _ in 0..6 {
        put(&mut source, "k");
    }
    let mut target = store();
    put(&mut target, "k");
    create(&mut target, "k", 0);
    let mut import = target.import("staged").unwrap();
    import.push(&source.export().read(0, 1 << 20).unwrap().0).unwrap();
    target.install(import).unwrap();
    target.check();
    let events = target.watch_step(100).unwrap().remove(0).1.events;
    let revisions: Vec<i64> = events.iter().map(|event| event.kv.mod_revision.0).collect();
    assert_eq!(revisions, [3, 4, 5, 6, 7]);
    assert_eq!(put(&mut target, "k").len(), 1);
}
