//! A database written anew, and databases whose bytes were changed behind everybody's back.

mod support;

use bytes::Bytes;
use seatrial_store::{
    Backend, BackendError, Command, Commit, HubOptions, RedbBackend, RedbCommitter, RedbOptions, Store,
    Table, View,
};
use seatrial_types::request::{
    CompactRequest, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest,
};
use seatrial_types::{Event, KeyRange, KeyValue, LeaseId, LogIndex, Revision, Term};
use std::ops::Bound;
use std::time::Duration;
use support::{FaultDisk, Rng};

fn options(cache_bytes: usize) -> RedbOptions {
    RedbOptions { cache_bytes, ..RedbOptions::default() }
}

type Opened = (RedbBackend<FaultDisk>, RedbCommitter<FaultDisk>);

fn open(disk: &FaultDisk) -> Result<Opened, BackendError> {
    RedbBackend::open(disk.clone(), options(1 << 20))
}

/// A store with its committer, and the entries so far.
struct Kept {
    store: Store<RedbBackend<FaultDisk>>,
    committer: RedbCommitter<FaultDisk>,
}

impl Kept {
    fn open(disk: &FaultDisk) -> Result<Self, BackendError> {
        let (backend, committer) = open(disk)?;
        Ok(Self { store: Store::open(backend, HubOptions::default())?, committer })
    }

    fn apply(&mut self, command: &Command) {
        let index = self.store.applied().next();
        let applied = self.store.apply(index, Term(1), command, Duration::ZERO).unwrap();
        applied.answer.unwrap();
    }

    fn put(&mut self, key: &str, value: &[u8], lease: i64) {
        let (key, value) = (key.to_owned().into(), Bytes::copy_from_slice(value));
        self.apply(&Command::Put(PutRequest { key, value, lease: LeaseId(lease), ..Default::default() }));
    }

    fn commit(&mut self) {
        if let Some(batch) = self.store.seal() {
            let id = self.committer.commit(&batch).unwrap();
            self.store.committed(id).unwrap();
        }
    }

    fn total(&self) -> u64 {
        self.store.size().total_bytes
    }
}

#[test]
fn a_file_written_anew_gives_back_the_room_of_what_was_deleted_and_holds_the_same() {
    let disk = FaultDisk::new();
    let mut kept = Kept::open(&disk).unwrap();
    let empty = kept.store.size();
    assert!(empty.total_bytes < 200 << 10, "an empty store takes {empty:?}");
    let mut rng = Rng(1);
    for round in 0..4 {
        for i in 0..1000 {
            let value: Vec<u8> = (0..1000).map(|_| rng.next() as u8).collect();
            kept.put(&format!("k{i}"), &value, 0);
        }
        kept.commit();
        let size = kept.store.size();
        let rows = (round + 1) * 1000 * 1050;
        assert!(size.in_use_bytes >= rows, "{rows} bytes of rows, {size:?}");
        assert!(size.in_use_bytes <= size.total_bytes, "{size:?}");
    }
    let revision = kept.store.revision();
    kept.apply(&Command::Compact(CompactRequest { revision, physical: false }));
    while !kept.store.compact_step(100) {}
    kept.commit();
    let before = kept.store.size();
    assert!(before.in_use_bytes < before.total_bytes / 2, "what was deleted is free: {before:?}");
    let digest = kept.store.digest().unwrap();
    kept.committer.rewrite().unwrap();
    assert_eq!(kept.store.digest().unwrap(), digest, "while the old file is read");
    kept.store.rewritten().unwrap();
    assert_eq!(kept.store.digest().unwrap(), digest);
    let after = kept.store.size();
    assert!(after.total_bytes < before.total_bytes / 2, "{before:?} became {after:?}");
    assert!(after.total_bytes < 2_600_000, "1000 rows of 1 KB take {after:?}");
    assert!(after.in_use_bytes * 10 >= after.total_bytes * 9, "nothing is free: {after:?}");
    let files = disk.files("db");
    assert_eq!(files.iter().filter(|path| path.ends_with(".redb")).count(), 1, "{files:?}");
    // A few more writes do not double the size, though the file may be longer.
    for i in 0..20 {
        kept.put(&format!("more{i}"), &[7; 1000], 0);
        kept.commit();
    }
    assert!(kept.total() < after.total_bytes + 500_000, "{after:?} became {:?}", kept.store.size());
    // Twice in a row, and after a start: the size is the same as before it.
    kept.committer.rewrite().unwrap();
    kept.store.rewritten().unwrap();
    let (digest, size) = (kept.store.digest().unwrap(), kept.store.size());
    drop(kept);
    let kept = Kept::open(&disk).unwrap();
    assert_eq!(kept.store.digest().unwrap(), digest);
    let reopened = kept.store.size();
    assert!(
        reopened.total_bytes.abs_diff(size.total_bytes) < 100_000,
        "{size:?} is {reopened:?} after a start"
    );
}

/// Snapshots on their way and long ranges go on reading what they began with.
#[test]
fn who_reads_the_old_file_reads_it_to_the_end_though_it_is_gone() {
    let disk = FaultDisk::new();
    let mut kept = Kept::open(&disk).unwrap();
    for i in 0..300 {
        kept.put(&format!("k{i}"), &[7; 500], 0);
    }
    kept.commit();
    let all = |export: &mut seatrial_store::SnapshotReader<_>| {
        let (mut read, mut done) = (Vec::new(), false);
        while !done {
            let (bytes, last) = export.read(read.len() as u64, 4000).unwrap();
            read.extend_from_slice(&bytes);
            done = last;
        }
        read
    };
    let want = all(&mut kept.store.export());
    assert!(want.len() > 150_000);
    let mut export = kept.store.export();
    export.read(0, 4000).unwrap();
    kept.committer.rewrite().unwrap();
    kept.store.rewritten().unwrap();
    kept.put("k0", b"another", 0);
    kept.commit();
    assert_eq!(all(&mut export), want);
    // And the new one can be closed and opened while the old one is still read.
    let digest = kept.store.digest().unwrap();
    drop(kept);
    assert_eq!(Kept::open(&disk).unwrap().store.digest().unwrap(), digest);
}

#[test]
fn where_the_disk_is_full_nothing_is_written_anew_and_the_store_goes_on() {
    let disk = FaultDisk::new();
    let mut kept = Kept::open(&disk).unwrap();
    kept.put("a", b"1", 0);
    kept.commit();
    // The name can be made, but not the rows.
    disk.set_full_after_open(true);
    let error = kept.committer.rewrite().unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    assert_eq!(disk.files("db").iter().filter(|path| path.ends_with(".redb")).count(), 1);
    kept.store.rewritten().unwrap();
    disk.set_full_after_open(false);
    kept.put("b", b"2", 0);
    kept.commit();
    let digest = kept.store.digest().unwrap();
    kept.committer.rewrite().unwrap();
    kept.store.rewritten().unwrap();
    assert_eq!(kept.store.digest().unwrap(), digest);
}

#[test]
fn a_power_loss_at_any_moment_of_a_rewriting_leaves_the_same_rows() {
    let disk = FaultDisk::new();
    let mut kept = Kept::open(&disk).unwrap();
    for i in 0..200 {
        kept.put(&format!("k{}", i % 60), &[i as u8; 500], 0);
    }
    kept.commit();
    let digest = kept.store.digest().unwrap();
    drop(kept);
    let mut finished = 0;
    for fuse in (0..400).step_by(3) {
        let disk = disk.fork();
        let mut kept = Kept::open(&disk).unwrap();
        disk.set_fuse(fuse);
        finished += usize::from(kept.committer.rewrite().is_ok());
        disk.set_fuse(0);
        drop(kept);
        let after = disk.power_loss(&mut Rng(fuse));
        let kept = Kept::open(&after).unwrap_or_else(|error| panic!("after {fuse} operations: {error}"));
        assert_eq!(kept.store.digest().unwrap(), digest, "after {fuse} operations");
    }
    assert!(finished > 10, "only {finished} rewritings came to their end");
}

/// A store in which every table has rows, on a disk.
fn sample() -> (FaultDisk, String) {
    let disk = FaultDisk::new();
    let mut kept = Kept::open(&disk).unwrap();
    for id in 1..40 {
        let grant = LeaseGrantRequest { id: LeaseId(id), ttl_seconds: 100 + id };
        kept.apply(&Command::LeaseGrant(grant));
    }
    for i in 0..400_i64 {
        kept.put(&format!("key-{}", i % 150), format!("value {i} ").repeat(8).as_bytes(), 1 + i % 39);
    }
    let rows = (0..30).map(|i| (Bytes::from(format!("row-{i}")), Some(vec![i; 60].into())));
    kept.apply(&Command::Meta(rows.collect()));
    kept.commit();
    drop(kept);
    let file = disk.files("db").into_iter().find(|path| path.ends_with(".redb")).unwrap();
    (disk, file)
}

/// Everything that clients can read.
#[derive(Debug, PartialEq)]
struct Everything {
    kvs: Vec<KeyValue>,
    history: Vec<Event>,
    leases: Vec<LeaseId>,
    meta: Vec<Option<Bytes>>,
}

fn read(store: &Store<RedbBackend<FaultDisk>>) -> Result<Everything, BackendError> {
    let all = RangeRequest { range: KeyRange::prefix(""), ..RangeRequest::default() };
    let range = store.range(&all).map_err(|failure| match failure {
        seatrial_store::Failure::Broken(error) => error,
        seatrial_store::Failure::Refused(error) => panic!("{error}"),
    })?;
    let mut history = Vec::new();
    let mut from = Revision(1);
    while from <= store.revision() {
        let (events, next) = store.mvcc().history(from, 50, usize::MAX)?;
        history.extend(events);
        from = next;
    }
    let leases = store.leases().ids().collect();
    let meta = (0..30).map(|i| store.meta(format!("row-{i}").as_bytes())).collect::<Result<_, _>>()?;
    Ok(Everything { kvs: range.kvs, history, leases, meta })
}

/// The same of a disk, or why not.
fn everything(disk: &FaultDisk) -> Result<Everything, BackendError> {
    read(&Kept::open(disk)?.store)
}

#[test]
fn a_byte_changed_while_stopped_is_named_with_its_file_or_changes_nothing() {
    let (disk, file) = sample();
    let want = everything(&disk).unwrap();
    let length = disk.content(&file).len() as u64;
    let used = disk.content(&file).iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
    assert!(length >= used);
    let mut rng = Rng(7);
    let (mut named, mut harmless) = (0, 0);
    for round in 0..700 {
        let broken = disk.fork();
        let at = rng.below(used) as usize;
        let flip = 1 << rng.below(8);
        broken.corrupt(&file, |bytes| {
            if round % 3 == 0 {
                // A sector of something else.
                let start = at / 512 * 512;
                let end = (start + 512).min(bytes.len());
                bytes[start..end].fill(0xa5);
            } else {
                bytes[at] ^= flip;
            }
        });
        match everything(&broken) {
            Ok(got) => {
                assert_eq!(got, want, "the change at {at} of {file} was served");
                harmless += 1;
            }
            Err(BackendError::Damaged { what }) => {
                assert!(what.contains("db/"), "no file is named: {what}");
                named += 1;
            }
            Err(error) => {
                assert!(error.to_string().contains("db/"), "no file is named: {error}");
                named += 1;
            }
        }
    }
    assert!(named > 100, "{named} named, {harmless} harmless");
}

#[test]
fn a_byte_changed_while_running_is_named_when_it_is_read_and_not_copied() {
    let (disk, file) = sample();
    let mut rng = Rng(9);
    let used = disk.content(&file).iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
    let want = everything(&disk).unwrap();
    let (mut named, mut refused) = (0, 0);
    for _ in 0..300 {
        let broken = disk.fork();
        // Without a cache every page is read from the disk.
        let (backend, mut committer) = RedbBackend::open(broken.clone(), options(0)).unwrap();
        let store = Store::open(backend, HubOptions::default()).unwrap();
        let at = rng.below(used) as usize;
        broken.corrupt(&file, |bytes| bytes[at] ^= 0x10);
        match read(&store) {
            Ok(got) => assert_eq!(got, want, "the change at {at} was served"),
            Err(error) => {
                assert!(error.to_string().contains(&file), "no file is named: {error}");
                named += 1;
            }
        }
        match committer.rewrite() {
            Ok(()) => {
                drop((store, committer));
                assert_eq!(everything(&broken).unwrap(), want, "the change at {at} was copied");
            }
            Err(error) => {
                assert!(error.to_string().contains("db/"), "no file is named: {error}");
                refused += 1;
            }
        }
    }
    assert!(named > 50 && refused > 50, "{named} named, {refused} refused");
}

#[test]
fn rows_of_every_table_carry_a_checksum() {
    let (disk, file) = sample();
    // Each row's bytes as they lie in the file, by what stands in them.
    let content = disk.content(&file);
    for (table, needle) in [
        (Table::Kv, b"value 399 value 399".to_vec()),
        (Table::Meta, vec![7; 60]),
        (Table::Lease, [17_i64.to_be_bytes(), 117_i64.to_be_bytes()].concat()),
    ] {
        let places: Vec<usize> = (0..content.len() - needle.len())
            .filter(|at| content[*at..*at + needle.len()] == needle[..])
            .collect();
        // Keys and values lie apart in a page; a lease is looked for by its value alone then.
        let (places, needle) = if places.is_empty() {
            let value = 117_i64.to_be_bytes().to_vec();
            let places = (0..content.len() - 8).filter(|at| content[*at..*at + 8] == value[..]);
            (places.collect(), value)
        } else {
            (places, needle)
        };
        assert!(!places.is_empty(), "{table:?} is nowhere");
        let broken = disk.fork();
        broken.corrupt(&file, |bytes| {
            for at in &places {
                bytes[*at + needle.len() - 1] ^= 1;
            }
        });
        let error = everything(&broken).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&file), "{table:?}: no file is named: {text}");
        assert!(text.contains("checksum"), "{table:?}: {text}");
    }
}

#[test]
fn a_long_value_takes_little_more_room_than_it_has_bytes() {
    // Just above powers of two, where redb itself would take twice as much.
    for bytes in [4_100, 8_300, 17_000, 66_000, 262_144, 700_000] {
        let disk = FaultDisk::new();
        let mut kept = Kept::open(&disk).unwrap();
        let mut rows = 0;
        while rows < 8 << 20 {
            kept.put(&format!("k{rows}"), &vec![7; bytes], 0);
            kept.commit();
            rows += bytes as u64;
        }
        let size = kept.store.size();
        // A commit writes beside what it replaces, and a small file has some room in hand.
        let room = rows + rows / 20 + (1 << 20);
        assert!(size.total_bytes < room, "{rows} bytes in values of {bytes} take {size:?}");
        assert!(size.in_use_bytes >= rows && size.in_use_bytes < room, "{rows} bytes of {bytes}: {size:?}");
        // What is deleted gives its parts back.
        let keys = KeyRange { key: "k".into(), end: "l".into() };
        kept.apply(&Command::DeleteRange(DeleteRangeRequest { range: keys, prev_kv: false }));
        let revision = kept.store.revision();
        kept.apply(&Command::Compact(CompactRequest { revision, physical: false }));
        while !kept.store.compact_step(100) {}
        kept.commit();
        let size = kept.store.size();
        assert!(size.in_use_bytes < 300_000, "nothing is left of values of {bytes}, but {size:?}");
        // And others lie there next.
        let mut again = 0;
        while again < rows {
            kept.put(&format!("k{again}"), &vec![8; bytes], 0);
            kept.commit();
            again += bytes as u64;
        }
        let full = kept.store.size();
        assert!(full.total_bytes < room + (2 << 20), "{size:?} with values of {bytes} again is {full:?}");
        kept.apply(&Command::DeleteRange(DeleteRangeRequest {
            range: KeyRange { key: "k".into(), end: "l".into() },
            prev_kv: false,
        }));
        let revision = kept.store.revision();
        kept.apply(&Command::Compact(CompactRequest { revision, physical: false }));
        while !kept.store.compact_step(100) {}
        kept.commit();
        kept.committer.rewrite().unwrap();
        kept.store.rewritten().unwrap();
        let size = kept.store.size();
        assert!(size.total_bytes < 300_000, "nothing is left of values of {bytes}, but {size:?}");
    }
}

#[test]
fn a_long_value_of_which_a_part_was_changed_is_named_and_not_served() {
    let disk = FaultDisk::new();
    let mut kept = Kept::open(&disk).unwrap();
    kept.put("long", &[0xa7; 30_000], 0);
    kept.commit();
    drop(kept);
    let file = disk.files("db").into_iter().find(|path| path.ends_with(".redb")).unwrap();
    let content = disk.content(&file);
    let inside: Vec<usize> =
        (0..content.len() - 64).filter(|at| content[*at..*at + 64] == [0xa7; 64]).collect();
    assert!(inside.len() > 25_000, "{} places", inside.len());
    for at in inside.into_iter().step_by(997) {
        let broken = disk.fork();
        broken.corrupt(&file, |bytes| bytes[at] ^= 1);
        let error = everything(&broken).unwrap_err().to_string();
        assert!(error.contains(&file) && error.contains("checksum"), "the change at {at}: {error}");
    }
}

#[test]
fn a_row_with_a_wrong_length_or_without_a_part_is_named() {
    use redb::{Database, ReadableTable, TableDefinition};
    type Rows = TableDefinition<'static, &'static [u8], &'static [u8]>;
    let disk = FaultDisk::new();
    let (mut backend, mut committer) = open(&disk).unwrap();
    let key = Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
    backend.put(Table::Kv, key.clone(), vec![5; 30_000].into());
    committer.commit(&backend.seal().unwrap()).unwrap();
    drop((backend, committer));
    for harm in ["part", "short", "length", "first"] {
        let broken = disk.fork();
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        #[allow(clippy::disallowed_methods, reason = "the file is harmed where redb itself finds it")]
        std::fs::write(&path, broken.content("db/first.redb")).unwrap();
        let database = Database::open(&path).unwrap();
        let write = database.begin_write().unwrap();
        {
            let mut rows = write.open_table(Rows::new("kv")).unwrap();
            let mut parts = write.open_table(Rows::new("parts")).unwrap();
            let mut row = rows.get(&*key).unwrap().unwrap().value().to_vec();
            match harm {
                "part" => drop(parts.pop_last().unwrap()),
                "short" => {
                    let last = parts.last().unwrap();
                    let (last, part) =
                        last.map(|(key, part)| (key.value().to_vec(), part.value().to_vec())).unwrap();
                    parts.insert(&*last, &part[1..]).unwrap();
                }
                "length" => row[1] ^= 1,
                _ => row[0] = 9,
            }
            rows.insert(&*key, &*row).unwrap();
        }
        write.commit().unwrap();
        drop(database);
        #[allow(clippy::disallowed_methods, reason = "the file is harmed where redb itself finds it")]
        let harmed = std::fs::read(&path).unwrap();
        broken.corrupt("db/first.redb", |bytes| *bytes = harmed);
        let (backend, _committer) = open(&broken).unwrap();
        let error = backend.get(Table::Kv, &key).unwrap_err().to_string();
        assert!(error.contains("db/first.redb: the row"), "{harm}: {error}");
    }
}

/// A file of an earlier format, with the tables as that had them; `count` numbers say of it what it is.
#[allow(clippy::disallowed_methods, reason = "an old file is made where redb itself puts it")]
fn old_file(numbers: &[(&str, u64)], rows: &[(&str, &[u8], &[u8])]) -> FaultDisk {
    use redb::{Database, TableDefinition};
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    std::fs::remove_file(&path).unwrap();
    let database = Database::create(&path).unwrap();
    let write = database.begin_write().unwrap();
    for name in ["kv", "lease", "meta", "state"] {
        let definition: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(name);
        let mut table = write.open_table(definition).unwrap();
        for (_, key, value) in rows.iter().filter(|(table, ..)| *table == name) {
            table.insert(key, value).unwrap();
        }
    }
    if !numbers.is_empty() {
        let definition: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
        let mut about = write.open_table(definition).unwrap();
        for (name, number) in numbers {
            about.insert(name, number).unwrap();
        }
    }
    write.commit().unwrap();
    drop(database);
    let disk = FaultDisk::new();
    drop(open(&disk).unwrap());
    let old = std::fs::read(&path).unwrap();
    disk.corrupt("db/first.redb", |bytes| *bytes = old);
    disk
}

#[test]
fn a_file_of_the_first_format_is_read_and_gets_its_checksums() {
    let lease = (7_i64.to_be_bytes(), 60_i64.to_be_bytes());
    let disk = old_file(&[], &[("lease", &lease.0, &lease.1), ("meta", b"row", b"cell")]);
    for _ in 0..2 {
        let kept = Kept::open(&disk).unwrap();
        assert_eq!(kept.store.leases().granted_ttl_seconds(LeaseId(7)), Some(60));
        assert_eq!(kept.store.meta(b"row").unwrap().as_deref(), Some(&b"cell"[..]));
        assert_eq!((kept.store.revision(), kept.store.applied()), (Revision(1), LogIndex(0)));
    }
    let (backend, _) = open(&disk).unwrap();
    let rows = backend.scan(Table::Meta, Bound::Unbounded, Bound::Unbounded, 9).unwrap();
    assert_eq!(rows.len(), 1);
}

#[test]
fn a_file_of_the_second_format_is_read_and_its_long_values_are_cut() {
    // Values of all lengths, some of which begin like rows of the present format; more than is copied at once.
    let values: Vec<Vec<u8>> = (0..1500_usize).map(|at| vec![(at % 3) as u8; at * at % 17_001]).collect();
    let keys: Vec<[u8; 12]> =
        (0..1500_u32).map(|at| [&[0; 8][..], &at.to_be_bytes()].concat().try_into().unwrap()).collect();
    let mut rows: Vec<(&str, &[u8], &[u8])> =
        keys.iter().zip(&values).map(|(key, value)| ("kv", &key[..], &value[..])).collect();
    let sum = crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&[3]), b"row"), b"cell");
    let cell = [&b"cell"[..], &sum.to_le_bytes()].concat();
    rows.push(("meta", b"row", &cell));
    let disk = old_file(&[("format", 2), ("payload bytes", 1), ("per mille", 1500)], &rows);
    for _ in 0..2 {
        let (backend, _committer) = open(&disk).unwrap();
        let found = backend.scan(Table::Kv, Bound::Unbounded, Bound::Unbounded, usize::MAX).unwrap();
        assert_eq!(found.len(), values.len());
        for ((key, value), (want_key, want)) in found.iter().zip(keys.iter().zip(&values)) {
            assert_eq!(&key[..], want_key);
            assert!(value == want, "{key:?}: {} bytes, not {}", value.len(), want.len());
        }
        assert_eq!(backend.get(Table::Meta, b"row").unwrap().as_deref(), Some(&b"cell"[..]));
        let bytes = values.iter().map(|value| value.len() as u64).sum::<u64>();
        assert!(backend.size().in_use_bytes > bytes, "{bytes} bytes, {:?}", backend.size());
    }
}

#[test]
fn a_file_of_a_later_format_is_left_alone() {
    let disk = old_file(&[("format", 4), ("payload bytes", 1), ("per mille", 1500)], &[]);
    let before = disk.content("db/first.redb");
    let error = open(&disk).err().unwrap().to_string();
    assert!(error.contains("db/first.redb: it has format 4, this program knows 3"), "{error}");
    assert!(error.contains("hint"), "{error}");
    assert_eq!(disk.content("db/first.redb").len(), before.len());
}
