//! A state sent and taken in.

mod support;

use seatrial_store::{HubOptions, MemBackend, SnapshotError, Store};
use seatrial_types::{LogIndex, Term};
use std::time::Duration;
use support::{Rng, commands};

fn store(seed: u64, steps: u64) -> Store<MemBackend> {
    let mut rng = Rng(seed);
    let mut store = Store::open(MemBackend::new(), HubOptions::default()).unwrap();
    for index in 1..=steps {
        let command = commands::command(&mut rng, store.revision().0);
        store.apply(LogIndex(index), Term(3), &command, Duration::ZERO).unwrap();
        if rng.chance(5) {
            store.compact_step(2);
        }
    }
    store
}

fn whole(store: &Store<MemBackend>) -> Vec<u8> {
    store.export().read(0, usize::MAX >> 1).unwrap().0.to_vec()
}

fn take_in(bytes: &[u8]) -> Result<Store<MemBackend>, SnapshotError> {
    let mut store = Store::open(MemBackend::new(), HubOptions::default()).unwrap();
    let mut import = store.import("staged")?;
    import.push(bytes)?;
    store.install(import)?;
    Ok(store)
}

#[test]
fn a_state_arrives_as_it_was_whatever_the_size_of_the_pieces() {
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let steps = rng.below(150);
        let store = store(seed, steps);
        let all = whole(&store);
        let mut export = store.export();
        let mut copy = Store::open(MemBackend::new(), HubOptions::default()).unwrap();
        let mut import = copy.import("staged").unwrap();
        loop {
            let offset = import.offset();
            let (bytes, done) = export.read(offset, 1 + rng.below(300) as usize).unwrap();
            assert_eq!(all[offset as usize..][..bytes.len()], bytes[..], "seed {seed}");
            if rng.chance(4) {
                // Lost on the way: the same offset, or an earlier one, is asked for again.
                let again = rng.below(offset + 1);
                let (bytes, _) = export.read(again, 100).unwrap();
                assert_eq!(all[again as usize..][..bytes.len()], bytes[..], "seed {seed}");
                continue;
            }
            import.push(&bytes).unwrap();
            assert_eq!(done, import.offset() == all.len() as u64, "seed {seed}");
            if done {
                break;
            }
        }
        let header = copy.install(import).unwrap();
        assert_eq!(header.applied, store.applied());
        assert_eq!(copy.digest(), store.digest());
        assert_eq!(copy.backend().image(), store.backend().image());
        assert_eq!(whole(&copy), all, "the stream is a function of the state");
        // And it goes on alike.
        let mut original = store.clone();
        for _ in 0..30 {
            let command = commands::command(&mut rng, copy.revision().0);
            let next = copy.applied().next();
            let ours = copy.apply(next, Term(3), &command, Duration::ZERO).unwrap();
            let theirs = original.apply(next, Term(3), &command, Duration::ZERO).unwrap();
            assert_eq!(
                (ours.answer, ours.events),
                (theirs.answer, theirs.events),
                "seed {seed}: {command:?}"
            );
        }
    }
}

#[test]
fn the_view_is_pinned_while_the_store_goes_on() {
    let mut store = store(5, 60);
    let before = whole(&store);
    let mut export = store.export();
    let (head, _) = export.read(0, 100).unwrap();
    let mut rng = Rng(9);
    for _ in 0..50 {
        let command = commands::command(&mut rng, store.revision().0);
        store.apply(store.applied().next(), Term(3), &command, Duration::ZERO).unwrap();
    }
    let (rest, done) = export.read(100, before.len()).unwrap();
    assert!(done);
    assert_eq!([&head[..], &rest[..]].concat(), before);
}

#[test]
fn a_truncated_or_altered_stream_is_refused() {
    let store = store(1, 80);
    let all = whole(&store);
    assert!(take_in(&all).is_ok());
    for length in 0..all.len() {
        assert!(matches!(take_in(&all[..length]), Err(SnapshotError::Truncated { .. })), "cut to {length}");
    }
    for position in 0..all.len() {
        let mut altered = all.clone();
        altered[position] ^= 1 << (position % 8);
        assert!(take_in(&altered).is_err(), "byte {position} altered");
    }
    let mut longer = all.clone();
    longer.push(0);
    assert!(matches!(take_in(&longer), Err(SnapshotError::Damaged { .. })));
}

#[test]
fn an_incomplete_import_changes_nothing() {
    let source = store(1, 80);
    let all = whole(&source);
    let mut target = store(2, 10);
    let before = target.clone();
    let mut import = target.import("staged").unwrap();
    import.push(&all[..all.len() - 1]).unwrap();
    assert!(target.install(import).is_err());
    assert_eq!(target, before);
}
