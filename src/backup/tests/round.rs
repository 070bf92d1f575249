//! States of a store become files and come back.

#[path = "../../store/tests/support/mod.rs"]
mod support;

use bytes::Bytes;
use seatrial_backup::{Database, ImportError, Measure, ReadAt};
use seatrial_store::{Command, HubOptions, MemBackend, Row, SnapshotRows, Store};
use seatrial_types::auth::{Access, AuthRequest, Permission, Secret};
use seatrial_types::v2::{V2Action, V2Change, V2Life};
use seatrial_types::{Event, EventKind, KeyRange, LeaseId, LogIndex, Revision, Term};
use std::time::Duration;
use support::{Rng, commands};

fn v2(path: &str, ttl_seconds: Option<u64>) -> Command {
    let life = V2Life { ttl_seconds, refresh: false };
    let action = V2Action::Set { dir: false, value: "x".into(), life };
    Command::V2(V2Change { path: path.into(), action, wall_ns: 0 })
}

/// A store that has lived for so many commands.
fn store(seed: u64, steps: u64) -> Store<MemBackend> {
    let mut rng = Rng(seed);
    let mut store = Store::open(MemBackend::new(), HubOptions::default()).unwrap();
    let permission = |access| Permission { access, range: KeyRange::prefix("a") };
    let mut special = vec![
        Command::Auth(AuthRequest::RoleAdd { role: "reader".into() }),
        Command::Auth(AuthRequest::RoleGrantPermission {
            role: "reader".into(),
            permission: Some(permission(Access::Read)),
        }),
        Command::Auth(AuthRequest::UserAdd { name: "ann".into(), password: Secret::Hash("$2a$10$x".into()) }),
        Command::Auth(AuthRequest::UserAdd { name: "cert".into(), password: Secret::Nothing }),
        Command::Auth(AuthRequest::UserGrantRole { user: "ann".into(), role: "reader".into() }),
        Command::Meta(vec![("own".into(), Some("row".into()))]),
        Command::LeaseCheckpoint(vec![(LeaseId(1), 7), (LeaseId(2), 0)]),
        v2("/1/a/b", Some(1)),
        v2("/1/a/c", None),
        Command::V2Tick(500),
        v2("/2/enabled", None),
    ]
    .into_iter();
    for index in 1..=steps {
        let command = match rng.chance(6).then(|| special.next()).flatten() {
            Some(special) => special,
            None => commands::command(&mut rng, store.revision().0),
        };
        // Refusals are part of a life.
        let _ = store.apply(LogIndex(index), Term(3), &command, Duration::ZERO);
        if rng.chance(5) {
            store.compact_step(2);
        }
    }
    store
}

fn stream(store: &Store<MemBackend>) -> Bytes {
    store.export().read(0, usize::MAX >> 1).unwrap().0
}

/// The file of a stream, in pieces of so many bytes.
fn file(stream: &[u8], piece: usize) -> Vec<u8> {
    let mut measure = Measure::default();
    stream.chunks(piece).for_each(|piece| measure.push(piece).unwrap());
    let mut export = measure.finish().unwrap();
    let mut file = Vec::new();
    for piece in stream.chunks(piece) {
        file.extend(export.push(piece).unwrap());
        assert!(export.left() >= 32);
    }
    let left = export.left();
    let (rest, sum) = export.finish().unwrap();
    assert_eq!(left, (rest.len() + sum.len()) as u64);
    file.extend(rest);
    file.extend(sum);
    file
}

fn open(file: &[u8]) -> Result<Database<ReadAt<'_>>, ImportError> {
    let read: ReadAt<'_> =
        Box::new(|at: u64, length: usize| Ok(file[at as usize..at as usize + length].to_vec()));
    Database::open(read, file.len() as u64, true)
}

fn rows(stream: &[u8]) -> Vec<Row> {
    let mut rows = SnapshotRows::default();
    let found = rows.push(stream).unwrap();
    rows.finish().unwrap();
    found
}

fn back(file: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut keep = |piece: Bytes| {
        stream.extend_from_slice(&piece);
        Ok(())
    };
    open(file).unwrap().stream(&mut keep).unwrap();
    stream
}

#[test]
fn a_state_comes_back_from_a_file_row_by_row() {
    let mut seen = [false; 6];
    for seed in 0..120 {
        let mut rng = Rng(seed);
        let steps = 1 + rng.below(300);
        let store = store(seed, steps);
        let stream = stream(&store);
        let whole = file(&stream, stream.len());
        assert_eq!(whole, file(&stream, 1 + rng.below(200) as usize), "seed {seed}: pieces change the file");
        let mut before = rows(&stream);
        before.retain(|row| !matches!(row, Row::Own { key, .. } if !key.starts_with(b"v2/")));
        let again = back(&whole);
        assert_eq!(rows(&again), before, "seed {seed}");
        for row in &before {
            let kind = match row {
                Row::Version { event: Event { kind: EventKind::Delete, .. }, .. } => 0,
                Row::Lease { left_seconds: Some(_), .. } => 1,
                Row::User { secret: Secret::Nothing, .. } => 2,
                Row::Role { permissions, .. } if !permissions.is_empty() => 3,
                Row::State(header) if header.compacted > Revision(0) => 4,
                Row::Own { .. } => 5,
                _ => continue,
            };
            seen[kind] = true;
        }
        // It can be lived on with: the same is compacted, and the same keys are there.
        let mut copy = Store::open(MemBackend::new(), HubOptions::default()).unwrap();
        let mut import = copy.import("staged").unwrap();
        import.push(&again).unwrap();
        copy.install(import).unwrap();
        assert_eq!((copy.revision(), copy.compacted()), (store.revision(), store.compacted()));
        assert_eq!(copy.v2().tree(), store.v2().tree(), "seed {seed}");
        let status = open(&whole).unwrap().status().unwrap();
        let last = before.iter().filter_map(|row| match row {
            Row::Version { event, .. } => Some(event.kv.mod_revision),
            _ => None,
        });
        assert_eq!(status.revision, last.max().unwrap_or(Revision(0)), "seed {seed}");
        assert_eq!(status.bytes + 32, whole.len() as u64);
    }
    assert_eq!(
        seen, [true; 6],
        "tombstones, checkpoints, users without passwords, permissions, compactions, v2"
    );
}

#[test]
fn a_file_cut_short_or_changed_is_refused() {
    let stream = stream(&store(3, 200));
    let whole = file(&stream, stream.len());
    assert!(matches!(open(&whole[..whole.len() - 1]).map(drop), Err(ImportError::NoSum(_))));
    assert!(matches!(open(&whole[512..]).map(drop), Err(ImportError::Sum)));
    for at in [0, 5000, whole.len() - 100, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(matches!(open(&changed).map(drop), Err(ImportError::Sum)), "a changed byte {at}");
    }
    // A stream that ends too early makes no file.
    let mut measure = Measure::default();
    measure.push(&stream[..stream.len() - 1]).unwrap();
    assert!(measure.finish().is_err());
}
