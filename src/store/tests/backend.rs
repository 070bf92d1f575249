//! The database on disk against the one in memory, through crashes.

mod support;

use bytes::Bytes;
use seatrial_store::{
    Backend, BackendError, Command, Commit, HubOptions, MemBackend, RedbBackend, RedbCommitter, RedbOptions,
    Store, Table, View,
};
use seatrial_types::{LogIndex, Term};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;
use support::{FaultDisk, Rng, commands};

fn options() -> RedbOptions {
    RedbOptions { cache_bytes: 1 << 20, ..RedbOptions::default() }
}

type Opened = (RedbBackend<FaultDisk>, RedbCommitter<FaultDisk>);

fn open(disk: &FaultDisk) -> Result<Opened, BackendError> {
    RedbBackend::open(disk.clone(), options())
}

fn rows(view: &impl View) -> Vec<(Table, Bytes, Bytes)> {
    let mut out = Vec::new();
    for table in Table::ALL {
        let all = view.scan(table, Bound::Unbounded, Bound::Unbounded, usize::MAX).unwrap();
        out.extend(all.into_iter().map(|(key, value)| (table, key, value)));
    }
    out
}

fn bound(rng: &mut Rng, key: &Bytes) -> Bound<Bytes> {
    match rng.below(3) {
        0 => Bound::Unbounded,
        1 => Bound::Included(key.clone()),
        _ => Bound::Excluded(key.clone()),
    }
}

fn borrow(bound: &Bound<Bytes>) -> Bound<&[u8]> {
    match bound {
        Bound::Unbounded => Bound::Unbounded,
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
    }
}

#[test]
fn both_backends_read_the_same_whatever_is_open_sealed_or_committed() {
    for seed in 0..40 {
        let mut rng = Rng(seed);
        let disk = FaultDisk::new();
        let (mut on_disk, mut committer) = open(&disk).unwrap();
        let mut in_memory = MemBackend::new();
        let mut sealed = Vec::new();
        let mut pinned = Vec::new();
        for step in 0..150 {
            let at = format!("seed {seed}, step {step}");
            let table = Table::ALL[rng.below(4) as usize];
            let key = commands::key(&mut rng);
            match rng.below(10) {
                0..5 => {
                    // Some are longer than a page, and lie in parts.
                    let bytes_max = if rng.chance(8) { 30_000 } else { 20 };
                    let value = Bytes::from(vec![rng.next() as u8; rng.below(bytes_max) as usize]);
                    on_disk.put(table, key.clone(), value.clone());
                    in_memory.put(table, key, value);
                }
                5 | 6 => {
                    on_disk.delete(table, key.clone());
                    in_memory.delete(table, key);
                }
                7 => {
                    let batch = on_disk.seal();
                    assert_eq!(batch, in_memory.seal(), "{at}");
                    sealed.extend(batch);
                }
                8 if !sealed.is_empty() => {
                    let id = committer.commit(&sealed.remove(0)).unwrap();
                    // The report may come late.
                    if rng.chance(2) {
                        on_disk.committed(id).unwrap();
                        in_memory.committed(id).unwrap();
                    }
                }
                _ => pinned.push((on_disk.snapshot(), in_memory.snapshot())),
            }
            assert_eq!(on_disk.pending_bytes(), in_memory.pending_bytes(), "{at}");
            let (from, to) = (commands::key(&mut rng), commands::key(&mut rng));
            let (from, to) = (bound(&mut rng, &from), bound(&mut rng, &to));
            let limit = 1 + rng.below(6) as usize;
            assert_eq!(
                on_disk.scan(table, borrow(&from), borrow(&to), limit).unwrap(),
                in_memory.scan(table, borrow(&from), borrow(&to), limit).unwrap(),
                "{at}: {table:?} {from:?}..{to:?} at most {limit}"
            );
            let key = commands::key(&mut rng);
            assert_eq!(on_disk.get(table, &key).unwrap(), in_memory.get(table, &key).unwrap(), "{at}");
        }
        assert_eq!(rows(&on_disk), rows(&in_memory), "seed {seed}");
        for table in Table::ALL {
            let mut visited = Vec::new();
            let mut each = |key: &[u8], value: &[u8]| {
                visited.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
                Ok(())
            };
            on_disk.visit(table, &mut each).unwrap();
            assert_eq!(
                visited,
                in_memory.scan(table, Bound::Unbounded, Bound::Unbounded, usize::MAX).unwrap()
            );
        }
        for (on_disk, in_memory) in pinned {
            assert_eq!(rows(&on_disk), rows(&in_memory), "seed {seed}: a pinned view has moved");
        }
    }
}

/// A member that applies commands, commits now and then, takes in snapshots and loses power at any operation.
#[test]
fn after_any_crash_the_database_opens_at_a_committed_state_with_its_applied_index() {
    let mut crashes = 0;
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let mut disk = FaultDisk::new();
        // The digest of the state after each entry of the one log.
        let mut reference = Store::open(MemBackend::new(), HubOptions::default()).unwrap();
        let mut log: Vec<Command> = Vec::new();
        let mut digests = BTreeMap::from([(0, reference.digest().unwrap())]);
        let mut durable = 0;
        for life in 0..8 {
            let at = format!("seed {seed}, life {life}");
            let opened = {
                if rng.chance(2) {
                    disk.set_fuse(rng.below(250));
                }
                open(&disk)
            };
            match opened {
                Err(error) => assert!(disk.is_dead(), "{at}: {error}"),
                Ok((backend, mut committer)) => {
                    let mut store = Store::open(backend, HubOptions::default()).unwrap();
                    let applied = store.applied().0;
                    assert!(applied >= durable, "{at}: at {applied}, but {durable} was durable");
                    assert_eq!(store.digest().unwrap(), digests[&applied], "{at}: at entry {applied}");
                    durable = applied;
                    'life: for _ in 0..rng.below(12) {
                        if rng.chance(6) {
                            // A snapshot of the reference, which may be ahead.
                            let mut export = reference.export();
                            if export.header().applied > store.applied() {
                                let name = format!("at-{}", export.header().applied);
                                let Ok(mut import) = store.import(&name) else { break };
                                loop {
                                    let (bytes, done) = export.read(import.offset(), 300).unwrap();
                                    if import.push(&bytes).is_err() {
                                        break 'life;
                                    }
                                    if done {
                                        break;
                                    }
                                }
                                if store.install(import).is_err() {
                                    assert!(disk.is_dead(), "{at}");
                                    break;
                                }
                                let applied = store.applied().0;
                                assert_eq!(store.digest().unwrap(), digests[&applied], "{at}: installed");
                            }
                        }
                        for _ in 0..rng.below(8) {
                            let index = store.applied().0 + 1;
                            if index > reference.applied().0 {
                                let command = commands::command(&mut rng, reference.revision().0);
                                reference.apply(LogIndex(index), Term(1), &command, Duration::ZERO).unwrap();
                                log.push(command);
                                digests.insert(index, reference.digest().unwrap());
                            }
                            let command = &log[index as usize - 1];
                            store.apply(LogIndex(index), Term(1), command, Duration::ZERO).unwrap();
                            if rng.chance(4) {
                                store.compact_step(3);
                            }
                        }
                        assert_eq!(store.digest().unwrap(), digests[&store.applied().0], "{at}");
                        let sealed_at = store.applied().0;
                        let Some(batch) = store.seal() else { continue };
                        match committer.commit(&batch) {
                            Ok(id) => {
                                durable = sealed_at;
                                store.committed(id).unwrap();
                                if rng.chance(4) {
                                    if let Err(error) = committer.rewrite() {
                                        assert!(disk.is_dead(), "{at}: {error}");
                                        break;
                                    }
                                    // The report may come after reads from the old file.
                                    if rng.chance(2) {
                                        let digest = digests[&store.applied().0];
                                        assert_eq!(store.digest().unwrap(), digest, "{at}: the old file");
                                    }
                                    store.rewritten().unwrap();
                                    let digest = digests[&store.applied().0];
                                    assert_eq!(store.digest().unwrap(), digest, "{at}: written anew");
                                }
                            }
                            Err(error) => {
                                assert!(disk.is_dead(), "{at}: {error}");
                                break;
                            }
                        }
                    }
                    // The reference runs ahead of the member now and then.
                    for _ in 0..rng.below(6) {
                        let index = reference.applied().0 + 1;
                        let command = commands::command(&mut rng, reference.revision().0);
                        reference.apply(LogIndex(index), Term(1), &command, Duration::ZERO).unwrap();
                        log.push(command);
                        digests.insert(index, reference.digest().unwrap());
                    }
                    // The machine is gone: what redb would still write when it is closed must not reach the disk.
                    disk.set_fuse(0);
                }
            }
            crashes += 1;
            disk = if rng.chance(5) { disk.kill() } else { disk.power_loss(&mut rng) };
        }
    }
    assert!(crashes >= 480);
}

#[test]
fn a_damaged_database_is_named_and_not_believed() {
    let disk = FaultDisk::new();
    let (mut backend, mut committer) = open(&disk).unwrap();
    for index in 0..50_u8 {
        backend.put(Table::Meta, vec![index].into(), vec![index; 100].into());
    }
    committer.commit(&backend.seal().unwrap()).unwrap();
    drop((backend, committer));
    let file = disk.files("db").into_iter().find(|path| path.ends_with(".redb")).unwrap();
    let broken = disk.fork();
    broken.corrupt(&file, |bytes| bytes[..64].fill(0xee));
    assert!(open(&broken).is_err());
    let broken = disk.fork();
    broken.corrupt("db/CURRENT", |bytes| bytes[0] ^= 1);
    assert!(matches!(open(&broken), Err(BackendError::Damaged { .. })));
    let broken = disk.fork();
    broken.lose(&file);
    assert!(matches!(open(&broken), Err(BackendError::Damaged { .. })));
    assert!(open(&disk).is_ok());
}

#[test]
fn a_failed_sync_is_an_error_and_stays_one() {
    let disk = FaultDisk::new();
    let (mut backend, mut committer) = open(&disk).unwrap();
    backend.put(Table::Meta, "k".into(), "v".into());
    let batch = backend.seal().unwrap();
    disk.fail_syncs(true);
    assert!(committer.commit(&batch).is_err());
    disk.fail_syncs(false);
    assert!(committer.commit(&batch).is_err(), "a second attempt must not succeed");
}

#[test]
fn a_database_whose_sync_failed_is_durable_once_it_is_open_again() {
    for commits in 1..6 {
        for seed in 0..12 {
            let disk = FaultDisk::new();
            let (mut backend, mut committer) = open(&disk).unwrap();
            let fill = |backend: &mut RedbBackend<FaultDisk>, round: usize| {
                for i in 0..40 {
                    let key = format!("k{}", (i * 7 + round) % 50);
                    backend.put(Table::Kv, key.into(), vec![round as u8; 300].into());
                }
                backend.seal().unwrap()
            };
            for round in 0..3 {
                let batch = fill(&mut backend, round);
                committer.commit(&batch).unwrap();
                backend.committed(batch.id).unwrap();
            }
            disk.fail_syncs(true);
            let batch = fill(&mut backend, 3);
            committer.commit(&batch).unwrap_err();
            disk.fail_syncs(false);
            drop((backend, committer));
            // The process starts anew on the same machine, and goes on for a while.
            let disk = disk.kill();
            let (mut backend, mut committer) = open(&disk).unwrap();
            for round in 4..4 + commits {
                let batch = fill(&mut backend, round);
                committer.commit(&batch).unwrap();
                backend.committed(batch.id).unwrap();
            }
            let want = backend.scan(Table::Kv, Bound::Unbounded, Bound::Unbounded, usize::MAX).unwrap();
            let after = disk.power_loss(&mut Rng(seed));
            let (backend, _) = open(&after).unwrap_or_else(|error| {
                panic!("{commits} commits after the failed one, seed {seed}: {error}");
            });
            let got = backend.scan(Table::Kv, Bound::Unbounded, Bound::Unbounded, usize::MAX).unwrap();
            assert!(got == want, "{commits} commits after the failed one, seed {seed}");
            assert!(!after.files("db").iter().any(|path| path.ends_with("UNSURE")));
        }
    }
}

#[test]
fn a_crash_at_any_moment_of_the_first_start_leaves_nothing_in_the_way_of_the_second() {
    for fuse in 0..80 {
        for seed in 0..12 {
            let disk = FaultDisk::new();
            disk.set_fuse(fuse);
            let _ = open(&disk);
            disk.set_fuse(0);
            let disk = disk.power_loss(&mut Rng(seed));
            let opened = open(&disk);
            assert!(opened.is_ok(), "after {fuse} operations, seed {seed}: {:?}", opened.err());
        }
    }
}
