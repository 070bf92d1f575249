//! The store against a reference that keeps every state there ever was.

mod support;

use proptest::prelude::*;
use seatrial_store::{Command, Failure, HubOptions, MemBackend, Store};
use seatrial_types::request::{CompactRequest, PutRequest, RangeRequest, TxnRequest};
use seatrial_types::{Error, KeyRange, LogIndex, Revision, Term};
use std::collections::BTreeSet;
use std::time::Duration;
use support::reference::Reference;
use support::{Rng, commands};

fn store() -> Store<MemBackend> {
    Store::open(MemBackend::new(), HubOptions::default()).expect("memory does not fail")
}

fn refused<T>(result: Result<T, Failure>) -> Result<T, Error> {
    result.map_err(|failure| match failure {
        Failure::Refused(error) => error,
        Failure::Broken(error) => panic!("{error}"),
    })
}

/// Applies random commands to both and asks both random questions.
fn life(seed: u64, steps: u64) {
    let mut rng = Rng(seed);
    let mut store = store();
    let mut reference = Reference::default();
    let mut readings = Vec::new();
    for step in 1..=steps {
        let at = format!("seed {seed}, step {step}");
        let command = commands::command(&mut rng, reference.revision());
        let applied = store.apply(LogIndex(step), Term(1), &command, Duration::ZERO).unwrap();
        let (answer, events) = reference.apply(&command);
        assert_eq!(applied.answer, answer, "{at}: {command:?}");
        assert_eq!(applied.events, events, "{at}: {command:?}");
        store.check();
        assert_eq!(store.revision().0, reference.revision(), "{at}");
        for _ in 0..3 {
            let request = commands::range_request(&mut rng, reference.revision());
            let answer = reference.range(&request);
            assert_eq!(refused(store.range(&request)), answer, "{at}: {request:?}");
            // The same, read apart from the store while it goes on: what was pinned then counts.
            if let Some(reading) = store.reading(&request, 0) {
                readings.push((reading, answer, format!("{at}: {request:?}")));
            }
        }
        while readings.len() > 4 {
            let (mut reading, answer, at) = readings.remove(rng.below(readings.len() as u64) as usize);
            while reading.step(1 + rng.below(3) as usize, usize::MAX).unwrap() {}
            assert_eq!(Ok(reading.answer()), answer, "{at}, read later");
        }
        for id in reference.leases.keys() {
            let keys: Vec<_> = reference
                .state_at(reference.revision())
                .values()
                .filter(|kv| kv.lease == *id)
                .map(|kv| kv.key.clone())
                .collect();
            assert_eq!(store.leases().keys(*id), keys, "{at}: keys of lease {id}");
        }
        if rng.chance(4) {
            let hash = |store: &Store<MemBackend>| {
                let newest = reference.revision();
                (newest.saturating_sub(3)..=newest)
                    .map(|at| store.hash_kv(Revision(at.max(1))))
                    .collect::<Vec<_>>()
            };
            let before = (hash(&store), store.digest());
            while !store.compact_step(1 + rng.below(4) as usize) && rng.chance(2) {}
            assert_eq!((hash(&store), store.digest()), before, "{at}: the hash depends on removed rows");
        }
        if rng.chance(10) {
            let reopened = Store::open(store.backend().reopened(), HubOptions::default()).unwrap();
            assert_eq!(reopened.applied(), store.applied());
            assert_eq!(reopened.digest(), store.digest(), "{at}: another state after opening again");
            // The index too: were it another, reads and hashes in the steps to come would tell.
            store = reopened;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_answer_is_the_references(seed: u64) {
        life(seed, 60);
    }

    #[test]
    fn a_transaction_that_only_reads_answers_the_same_beside_the_log(seed: u64) {
        let mut rng = Rng(seed);
        let mut store = store();
        for step in 1..40 {
            let newest = store.revision().0;
            let request = commands::txn(&mut rng, newest, 2, &mut BTreeSet::new());
            if request.is_read_only() {
                let aside = refused(store.read_txn(&request));
                let mut logged = store.clone();
                let applied = logged.apply(LogIndex(step), Term(1), &Command::Txn(request), Duration::ZERO).unwrap();
                let through = applied.answer.map(|response| match response {
                    Some(seatrial_types::Response::Txn(response)) => response,
                    other => panic!("{other:?}"),
                });
                prop_assert_eq!(aside, through);
            }
            let command = commands::command(&mut rng, newest);
            store.apply(LogIndex(step), Term(1), &command, Duration::ZERO).unwrap();
        }
    }
}

fn put(store: &mut Store<MemBackend>, key: &'static str) {
    let request = PutRequest { key: key.into(), value: "v".into(), ..PutRequest::default() };
    let next = store.applied().next();
    store.apply(next, Term(1), &Command::Put(request), Duration::ZERO).unwrap().answer.unwrap();
}

fn compact(store: &mut Store<MemBackend>, revision: i64) -> Result<(), Error> {
    let request = CompactRequest { revision: Revision(revision), physical: false };
    let next = store.applied().next();
    store.apply(next, Term(1), &Command::Compact(request), Duration::ZERO).unwrap().answer.map(|_| ())
}

#[test]
fn the_revision_does_not_go_back_when_everything_is_compacted_away() {
    let mut store = store();
    put(&mut store, "a");
    let delete = Command::DeleteRange(seatrial_types::request::DeleteRangeRequest {
        range: KeyRange::single("a"),
        prev_kv: false,
    });
    store.apply(LogIndex(2), Term(1), &delete, Duration::ZERO).unwrap();
    put(&mut store, "b");
    store
        .apply(
            LogIndex(4),
            Term(1),
            &Command::DeleteRange(seatrial_types::request::DeleteRangeRequest {
                range: KeyRange::prefix(""),
                prev_kv: false,
            }),
            Duration::ZERO,
        )
        .unwrap();
    let revision = store.revision();
    compact(&mut store, revision.0).unwrap();
    while !store.compact_step(1) {}
    let store = Store::open(store.backend().reopened(), HubOptions::default()).unwrap();
    assert_eq!(store.revision(), revision);
    assert_eq!(store.compacted(), revision);
}

#[test]
fn an_interrupted_compaction_is_taken_up_again_after_a_restart() {
    let mut store = store();
    for _ in 0..5 {
        for key in ["a", "b", "c", "d"] {
            put(&mut store, key);
        }
    }
    compact(&mut store, 20).unwrap();
    assert!(!store.compact_step(1));
    let rows = |store: &Store<MemBackend>| store.backend().image().table(seatrial_store::Table::Kv).len();
    let before = rows(&store);
    let mut store = Store::open(store.backend().reopened(), HubOptions::default()).unwrap();
    assert!(store.is_compacting());
    assert_eq!(compact(&mut store, 20), Err(Error::Compacted));
    assert_eq!(compact(&mut store, 22), Err(Error::FutureRevision));
    while !store.compact_step(1) {}
    assert!(rows(&store) < before);
    // 18 is the first revision of those in force at 20; 21 is the newest.
    assert_eq!(rows(&store), 5);
    assert!(!Store::open(store.backend().reopened(), HubOptions::default()).unwrap().is_compacting());
}

#[test]
fn a_refused_transaction_changes_nothing() {
    let mut store = store();
    put(&mut store, "a");
    let before = store.clone();
    let request = TxnRequest {
        success: vec![
            seatrial_types::request::TxnOp::Put(PutRequest { key: "x".into(), ..PutRequest::default() }),
            seatrial_types::request::TxnOp::Put(PutRequest {
                key: "y".into(),
                lease: seatrial_types::LeaseId(9),
                ..PutRequest::default()
            }),
        ],
        ..TxnRequest::default()
    };
    let applied = store.apply(LogIndex(2), Term(1), &Command::Txn(request), Duration::ZERO).unwrap();
    assert_eq!(applied.answer, Err(Error::LeaseNotFound));
    let all = RangeRequest { range: KeyRange::prefix(""), ..RangeRequest::default() };
    assert_eq!(store.range(&all), before.range(&all));
    assert_eq!(store.revision(), before.revision());
}

#[test]
#[should_panic(expected = "applied after")]
fn an_entry_is_never_applied_twice() {
    let mut store = store();
    store.skip(LogIndex(1), Term(1));
    store.skip(LogIndex(1), Term(1));
}

#[test]
fn a_range_of_few_keys_is_answered_at_once_and_one_of_many_is_given_away() {
    let mut store = store();
    for number in 0..50 {
        let key = format!("key/{number:02}");
        let put = PutRequest { key: key.into(), value: vec![7; 1000].into(), ..PutRequest::default() };
        store.apply(LogIndex(number + 1), Term(1), &Command::Put(put), Duration::ZERO).unwrap();
    }
    let all = RangeRequest { range: KeyRange::prefix("key/"), ..RangeRequest::default() };
    assert!(store.reading(&all, 50).is_none(), "50 keys are no more than 50");
    assert!(
        store.reading(&RangeRequest { limit: 9, ..all.clone() }, 10).is_none(),
        "ten keys show that there are more"
    );
    assert!(
        store.reading(&RangeRequest { count_only: true, ..all.clone() }, 1).is_none(),
        "the index knows the count"
    );
    assert!(
        store.reading(&RangeRequest { revision: Revision(99), ..all.clone() }, 1).is_none(),
        "refused at once"
    );
    let mut reading = store.reading(&all, 49).expect("50 keys are more than 49");
    let mut pages = 1;
    // A page ends with the key that makes it too large.
    while reading.step(usize::MAX, 9_000).unwrap() {
        pages += 1;
    }
    assert_eq!(pages, 6);
    assert_eq!(reading.answer(), store.range(&all).unwrap());
}
