//! The write-ahead log against crashes, damage and bad disks.

mod support;

use bytes::Bytes;
use seatrial_store::wal::{
    DAMAGED_DIR, Finding, HardState, Record, Recovered, SnapshotMark, WAL_DIR, Wal, WalEntry, WalError,
    WalOptions,
};
use seatrial_types::{ClusterId, LogIndex, MemberId, Term};
use std::collections::BTreeMap;
use support::{FaultDisk, Rng};

fn options() -> WalOptions {
    WalOptions { segment_bytes: 4096, ..WalOptions::new(ClusterId(7), MemberId(1)) }
}

fn open(disk: &FaultDisk) -> (Wal<FaultDisk>, Recovered) {
    Wal::open(disk.clone(), options()).expect("the log opens")
}

fn entry(index: u64, term: u64, bytes: usize) -> Record {
    let mut payload = vec![index as u8; bytes];
    payload.iter_mut().step_by(3).for_each(|byte| *byte = term as u8);
    Record::Entry { index: LogIndex(index), term: Term(term), payload: payload.into() }
}

fn state(term: u64, vote: u64, commit: u64) -> Record {
    Record::HardState(HardState { term: Term(term), vote: MemberId(vote), commit: LogIndex(commit) })
}

fn mark(index: u64, term: u64) -> Record {
    let config = Bytes::from(format!("config of {index}"));
    Record::SnapshotMark(SnapshotMark { index: LogIndex(index), term: Term(term), config })
}

/// What the records written so far add up to.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    hard_state: HardState,
    mark: Option<SnapshotMark>,
    last: u64,
    entries: BTreeMap<u64, WalEntry>,
}

impl Model {
    fn apply(&mut self, record: &Record) {
        match record {
            Record::Entry { index, term, payload } => {
                self.entries.split_off(&index.0);
                let entry = WalEntry { index: *index, term: *term, payload: payload.clone() };
                self.entries.insert(index.0, entry);
                self.last = index.0;
            }
            Record::HardState(state) => self.hard_state = *state,
            Record::SnapshotMark(mark) => {
                if self.entries.get(&mark.index.0).is_none_or(|entry| entry.term != mark.term) {
                    self.entries.clear();
                    self.last = mark.index.0;
                }
                self.mark = Some(mark.clone());
            }
            Record::LostUpTo(_) => {}
        }
    }

    fn of(recovered: &Recovered) -> Self {
        Self {
            hard_state: recovered.hard_state,
            mark: recovered.snapshot.clone(),
            last: recovered.last_index().0,
            entries: recovered.entries.iter().map(|entry| (entry.index.0, entry.clone())).collect(),
        }
    }

    /// Whether this is what was recovered; entries up to the mark may have been released.
    fn explains(&self, recovered: &Recovered) -> bool {
        let mark = self.mark.as_ref().map_or(0, |mark| mark.index.0);
        self.hard_state == recovered.hard_state
            && self.mark == recovered.snapshot
            && self.last == recovered.last_index().0
            && recovered.entries.iter().all(|entry| self.entries.get(&entry.index.0) == Some(entry))
            && self.entries.range(mark + 1..).count()
                == recovered.entries.iter().filter(|entry| entry.index.0 > mark).count()
    }
}

fn describe(models: &[Model]) -> String {
    let one = |model: &Model| format!("{} {:?} {:?}\n", model.last, model.hard_state, model.mark);
    models.iter().map(one).collect()
}

/// A batch such as Raft would write.
fn random_batch(rng: &mut Rng, model: &Model) -> Vec<Record> {
    let mut batch = Vec::new();
    let mut scratch = model.clone();
    let mut push = |record: Record, scratch: &mut Model| {
        scratch.apply(&record);
        batch.push(record);
    };
    let floor = scratch.mark.as_ref().map_or(0, |mark| mark.index.0);
    let commit = scratch.hard_state.commit.0.max(floor);
    if rng.chance(6) {
        let term = scratch.hard_state.term.0 + 1 + rng.below(2);
        push(state(term, rng.below(4), commit), &mut scratch);
    }
    if rng.chance(8) && scratch.last > floor {
        // A new leader replaces what was not committed.
        let index = commit.max(floor) + 1;
        if index <= scratch.last {
            let bytes = rng.below(200) as usize;
            push(entry(index, scratch.hard_state.term.0.max(1), bytes), &mut scratch);
        }
    }
    for _ in 0..rng.below(5) {
        let bytes = if rng.chance(20) { 3000 + rng.below(4000) } else { rng.below(300) } as usize;
        push(entry(scratch.last + 1, scratch.hard_state.term.0.max(1), bytes), &mut scratch);
    }
    if rng.chance(3) {
        let HardState { term, vote, commit } = scratch.hard_state;
        let commit = commit.0.max(floor) + rng.below(scratch.last.saturating_sub(commit.0.max(floor)) + 1);
        push(state(term.0, vote.0, commit), &mut scratch);
    }
    if rng.chance(5) {
        let index = scratch.hard_state.commit.0.max(floor);
        if let Some(entry) = scratch.entries.get(&index).cloned() {
            push(mark(index, entry.term.0), &mut scratch);
        }
    } else if rng.chance(25) {
        // A snapshot of the leader, far ahead.
        let (index, term) = (scratch.last + 10, scratch.hard_state.term.0.max(1));
        push(mark(index, term), &mut scratch);
        push(state(term, scratch.hard_state.vote.0, index), &mut scratch);
    }
    batch
}

/// One member's life with crashes at any operation. Returns how often the tail was torn.
fn crash_lives(seed: u64, lives: usize) -> usize {
    let mut rng = Rng(seed);
    let mut disk = FaultDisk::new();
    // States after each record since the last moment at which everything was durable; the first one is that.
    let mut possible = vec![Model::default()];
    let mut torn = 0;
    for life in 0..lives {
        let at = format!("seed {seed}, life {life}");
        if rng.chance(3) {
            disk.set_fuse(rng.below(60));
        } else if rng.chance(2) {
            disk.set_fuse(40 + rng.below(200));
        }
        match Wal::open(disk.clone(), options()) {
            Err(error) => assert!(disk.is_dead(), "{at}: {error}"),
            Ok((mut wal, recovered)) => {
                assert!(
                    recovered.lost_up_to.is_none(),
                    "{at}: lost {:?} {:?}",
                    recovered.lost_up_to,
                    recovered.report
                );
                for finding in &recovered.report {
                    assert!(!finding.is_damage(), "{at}: {finding}");
                    torn += usize::from(matches!(finding, Finding::TornTail { .. }));
                }
                assert!(
                    possible.iter().any(|model| model.explains(&recovered)),
                    "{at}: recovered up to {} with {:?} {:?} {:?}, is none of\n{}",
                    recovered.last_index(),
                    recovered.hard_state,
                    recovered.snapshot,
                    recovered.report,
                    describe(&possible)
                );
                let mut model = Model::of(&recovered);
                possible = vec![model.clone()];
                for _ in 0..rng.below(60) {
                    let batch = random_batch(&mut rng, &model);
                    for record in &batch {
                        model.apply(record);
                        possible.push(model.clone());
                    }
                    if wal.append(&batch).is_err() {
                        assert!(disk.is_dead(), "{at}");
                        break;
                    }
                    if rng.chance(2) {
                        if wal.sync().is_err() {
                            assert!(disk.is_dead(), "{at}");
                            break;
                        }
                        possible = vec![model.clone()];
                    }
                    if rng.chance(6) {
                        let up_to = model.mark.as_ref().map_or(LogIndex(0), |mark| mark.index);
                        if wal.release(up_to).is_err() {
                            assert!(disk.is_dead(), "{at}");
                            break;
                        }
                    }
                }
            }
        }
        disk = if rng.chance(4) { disk.kill() } else { disk.power_loss(&mut rng) };
    }
    torn
}

#[test]
fn after_any_crash_the_log_opens_with_everything_that_was_synced() {
    let mut torn = 0;
    for seed in 0..400 {
        torn += crash_lives(seed, 12);
    }
    assert!(torn > 200, "only {torn} torn tails: the crashes are too tame");
}

/// A log with some segments and batches, all of it durable.
struct Full {
    disk: FaultDisk,
    /// Before the last batch, and after each of its records.
    tail: Vec<Model>,
    /// All entries there ever were.
    ever: Vec<WalEntry>,
}

fn full_log(seed: u64) -> Full {
    let mut rng = Rng(seed);
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk);
    let mut tail = vec![Model::default()];
    let mut ever = Vec::new();
    for _ in 0..40 {
        let mut model = tail.pop().expect("never empty");
        let batch = random_batch(&mut rng, &model);
        tail = if batch.is_empty() { tail } else { vec![model.clone()] };
        for record in &batch {
            model.apply(record);
            if let Record::Entry { index, term, payload } = record {
                ever.push(WalEntry { index: *index, term: *term, payload: payload.clone() });
            }
            tail.push(model.clone());
        }
        if batch.is_empty() {
            tail.push(model);
            continue;
        }
        wal.append(&batch).unwrap();
        wal.sync().unwrap();
        if rng.chance(8) {
            let model = tail.last().expect("never empty");
            wal.release(model.mark.as_ref().map_or(LogIndex(0), |mark| mark.index)).unwrap();
        }
    }
    Full { disk, tail, ever }
}

#[test]
fn damage_anywhere_is_never_passed_over_in_silence() {
    let (mut damaged, mut harmless) = (0, 0);
    for seed in 0..3000 {
        let Full { disk, tail, ever } = full_log(seed);
        let model = tail.last().expect("never empty");
        let mut rng = Rng(seed ^ 0xdead);
        let files: Vec<String> = disk.files(WAL_DIR);
        let path = &files[rng.below(files.len() as u64) as usize];
        let used = disk.content(path).iter().rposition(|byte| *byte != 0).map_or(1, |last| last as u64 + 1);
        let what = rng.below(5);
        let at = rng.below(used);
        match what {
            0 => disk.corrupt(path, |bytes| bytes[at as usize] ^= 1 << rng.below(8)),
            1 => disk.corrupt(path, |bytes| {
                let sector = at as usize / 512 * 512;
                let end = (sector + 512).min(bytes.len());
                bytes[sector..end].fill(0);
            }),
            2 => disk.corrupt(path, |bytes| {
                let end = (at as usize + 700).min(bytes.len());
                bytes[at as usize..end].fill_with(|| rng.next() as u8);
            }),
            3 => disk.make_unreadable(path, at / 512 * 512, at / 512 * 512 + 512),
            // That the last segment is missing nobody can know: leave it.
            _ if path == files.last().unwrap() => continue,
            _ => disk.lose(path),
        }
        let begin = at;
        let at = format!("seed {seed}, {path}, kind {what}, at {at}");
        let (wal, recovered) = open(&disk);
        drop(wal);
        for entry in &recovered.entries {
            assert!(ever.contains(entry), "{at}: an entry that never was: {entry:?}");
        }
        let is_damage = recovered.report.iter().any(Finding::is_damage);
        match recovered.lost_up_to {
            None if model.explains(&recovered) => harmless += 1,
            // The last write of all cannot be told from one that was torn by a crash; nor can several, where
            // nothing at all is left behind the damage.
            None => assert!(
                (what != 0 && path == files.last().unwrap() && begin + 780 >= used)
                    || tail.iter().any(|model| model.explains(&recovered)),
                "{at}: up to {} with {:?} {:?}: {:?}, is none of\n{}",
                recovered.last_index(),
                recovered.hard_state,
                recovered.snapshot,
                recovered.report,
                describe(&tail)
            ),
            Some(lost) => {
                damaged += 1;
                assert!(is_damage, "{at}: {:?}", recovered.report);
                assert!(
                    lost.0 >= tail[0].last,
                    "{at}: lost up to {lost}, the log held {}: {:?}",
                    model.last,
                    recovered.report
                );
                if path == files.last().unwrap() && begin + 780 >= used {
                    // Nothing is left behind the damage: the newest term and vote may be in it.
                    continue;
                }
                let before = tail[0].hard_state;
                assert!(recovered.hard_state.term >= before.term, "{at}: the term went back");
                if recovered.hard_state.term == before.term {
                    let vote = recovered.hard_state.vote;
                    assert!(before.vote == MemberId(0) || vote == before.vote, "{at}: the vote is forgotten");
                }
            }
        }
        if is_damage {
            assert!(!disk.files(DAMAGED_DIR).is_empty() || what == 4, "{at}: nothing was kept aside");
        }
        let (_, again) = open(&disk);
        assert_eq!(again.lost_up_to, recovered.lost_up_to, "{at}: the second start forgot");
        assert!(!again.report.iter().any(Finding::is_damage), "{at}: found again {:?}", again.report);
        assert_eq!((again.hard_state, &again.entries), (recovered.hard_state, &recovered.entries), "{at}");
    }
    assert!(damaged > 300 && harmless > 50, "{damaged} damaged, {harmless} harmless");
}

#[test]
fn a_crash_while_damage_is_repaired_does_not_lose_the_knowledge_of_it() {
    for seed in 0..300 {
        let disk = FaultDisk::new();
        let (mut wal, _) = open(&disk);
        for index in 1..=40 {
            wal.append(&[entry(index, 1, 200), state(1, 1, index)]).unwrap();
            wal.sync().unwrap();
        }
        drop(wal);
        let files = disk.files(WAL_DIR);
        assert!(files.len() > 2, "{files:?}");
        disk.corrupt(&files[1], |bytes| bytes[1000] ^= 1);
        let mut rng = Rng(seed);
        disk.set_fuse(rng.below(25));
        let first = Wal::open(disk.clone(), options());
        let disk = if rng.chance(3) { disk.kill() } else { disk.power_loss(&mut rng) };
        let (_, recovered) = open(&disk);
        assert_eq!(recovered.lost_up_to, Some(LogIndex(40)), "seed {seed}: {:?}", recovered.report);
        assert_eq!(recovered.hard_state.term, Term(1));
        if let Ok((_, first)) = first {
            assert_eq!(first.entries, recovered.entries);
        }
    }
}

#[test]
fn damage_in_the_middle_keeps_the_intact_part_and_says_what_is_lost() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk);
    for index in 1..=8 {
        wal.append(&[entry(index, 2, 64), state(2, 3, index)]).unwrap();
        wal.sync().unwrap();
    }
    wal.append(&[state(5, 2, 8)]).unwrap();
    wal.sync().unwrap();
    let path = disk.files(WAL_DIR)[0].clone();
    let place =
        disk.content(&path).windows(64).position(|bytes| bytes[1..3] == [4, 4] && bytes[4..6] == [4, 4]);
    disk.corrupt(&path, |bytes| bytes[place.unwrap()] ^= 0x10);
    let (mut wal, recovered) = open(&disk);
    assert_eq!(recovered.last_index(), LogIndex(3));
    assert_eq!(recovered.lost_up_to, Some(LogIndex(8)));
    let newest = HardState { term: Term(5), vote: MemberId(2), commit: LogIndex(3) };
    assert_eq!(recovered.hard_state, newest, "the newest term and vote are read from behind the damage");
    let text = recovered.report[0].to_string();
    assert!(text.contains("intact up to index 3, entries 4 to 8 are lost"), "{text}");
    assert!(text.contains("hint:"), "{text}");
    // The peers send the entries again; then the remark is taken back.
    wal.append(&(4..=9).map(|index| entry(index, 5, 10)).collect::<Vec<_>>()).unwrap();
    wal.append(&[Record::LostUpTo(LogIndex(0))]).unwrap();
    wal.sync().unwrap();
    let (_, recovered) = open(&disk);
    assert_eq!((recovered.lost_up_to, recovered.last_index()), (None, LogIndex(9)));
    assert!(recovered.report.is_empty(), "{:?}", recovered.report);
}

#[test]
fn an_intact_record_at_the_place_of_another_is_noticed() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk);
    let path = disk.files(WAL_DIR)[0].clone();
    let used = || disk.content(&path).iter().rposition(|byte| *byte != 0).unwrap().next_multiple_of(8);
    let mut starts = Vec::new();
    for term in 1..=5 {
        starts.push(used());
        // No record ends in a word of zeros, so that the used bytes end where it does.
        wal.append(&[state(term, 3, u64::MAX >> 1)]).unwrap();
        wal.sync().unwrap();
    }
    disk.corrupt(&path, |bytes| {
        let record = bytes[starts[1]..starts[2]].to_vec();
        bytes[starts[3]..starts[4]].copy_from_slice(&record);
    });
    let (_, recovered) = open(&disk);
    assert!(recovered.report.iter().any(Finding::is_damage), "{:?}", recovered.report);
    assert_eq!(recovered.hard_state.term, Term(5));
}

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk);
    wal.append(&[entry(1, 1, 100)]).unwrap();
    wal.sync().unwrap();
    wal.append(&[entry(2, 1, 100), entry(3, 1, 100)]).unwrap();
    let path = disk.files(WAL_DIR)[0].clone();
    let used = disk.content(&path).iter().rposition(|byte| *byte != 0).unwrap();
    disk.corrupt(&path, |bytes| bytes[used - 300] ^= 1);
    let (_, recovered) = open(&disk);
    assert_eq!(recovered.last_index(), LogIndex(1));
    assert_eq!(recovered.lost_up_to, None);
    assert!(
        matches!(recovered.report[..], [Finding::TornTail { bytes, .. }] if bytes > 200),
        "{:?}",
        recovered.report
    );
}

#[test]
fn a_failed_sync_makes_the_log_unusable_for_good() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk);
    wal.append(&[entry(1, 1, 10)]).unwrap();
    disk.fail_syncs(true);
    let error = wal.sync().unwrap_err();
    disk.fail_syncs(false);
    assert_eq!(wal.sync(), Err(error.clone()), "a second sync must not succeed");
    assert_eq!(wal.append(&[entry(2, 1, 10)]), Err(error.clone()));
    assert_eq!(wal.release(LogIndex(0)), Err(error));
}

#[test]
fn a_log_whose_sync_failed_is_durable_once_it_is_open_again() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk);
    wal.append(&[entry(1, 1, 600)]).unwrap();
    wal.sync().unwrap();
    wal.append(&[entry(2, 1, 600)]).unwrap();
    disk.fail_syncs(true);
    wal.sync().unwrap_err();
    disk.fail_syncs(false);
    // The process starts anew on the same machine: the page cache shows what the disk does not have.
    let disk = disk.kill();
    let (mut wal, recovered) = open(&disk);
    assert_eq!(recovered.last_index(), LogIndex(2));
    for seed in 0..8 {
        let (_, recovered) = open(&disk.power_loss(&mut Rng(seed)));
        assert_eq!(recovered.last_index(), LogIndex(2), "seed {seed}");
    }
    wal.append(&[entry(3, 1, 600)]).unwrap();
    wal.sync().unwrap();
    let (_, recovered) = open(&disk.power_loss(&mut Rng(1)));
    assert_eq!((recovered.last_index(), recovered.lost_up_to), (LogIndex(3), None));
}

#[test]
fn without_space_for_a_segment_nothing_changes_and_the_log_goes_on_later() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk);
    wal.append(&[entry(1, 1, 3000)]).unwrap();
    disk.set_full(true);
    assert!(matches!(wal.append(&[entry(2, 1, 3000)]), Err(WalError::Io { .. })));
    assert_eq!(wal.last_index(), LogIndex(1));
    wal.append(&[entry(2, 1, 10)]).unwrap();
    disk.set_full(false);
    wal.append(&[entry(3, 1, 3000)]).unwrap();
    wal.sync().unwrap();
    let (_, recovered) = open(&disk.power_loss(&mut Rng(1)));
    assert_eq!(recovered.last_index(), LogIndex(3));
}

#[test]
fn whole_segments_below_the_mark_are_released_and_the_rest_stays() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk);
    for index in 1..=100 {
        wal.append(&[entry(index, 1, 200)]).unwrap();
    }
    wal.append(&[mark(60, 1)]).unwrap();
    wal.sync().unwrap();
    let before = wal.segments();
    let removed = wal.release(LogIndex(60)).unwrap();
    assert!(removed > 2 && wal.segments() == before - removed, "{removed} of {before}");
    let (_, recovered) = open(&disk.power_loss(&mut Rng(3)));
    assert!(recovered.report.is_empty(), "{:?}", recovered.report);
    assert_eq!(recovered.last_index(), LogIndex(100));
    let first = recovered.entries[0].index.0;
    assert!((50..=61).contains(&first), "the first entry is {first}");
}

#[test]
fn another_members_log_is_refused() {
    let disk = FaultDisk::new();
    drop(open(&disk));
    let other = WalOptions { member_id: MemberId(2), ..options() };
    assert!(matches!(
        Wal::open(disk, other),
        Err(WalError::Foreign { cluster: ClusterId(7), member: MemberId(1), .. })
    ));
}

#[test]
fn one_append_is_one_write_and_one_sync_covers_many_appends() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk);
    let before = disk.syncs();
    for index in 1..=5 {
        wal.append(&[entry(index, 1, 20)]).unwrap();
    }
    wal.sync().unwrap();
    wal.sync().unwrap();
    assert_eq!(disk.syncs() - before, 1);
}

#[test]
#[should_panic(expected = "would leave a gap")]
fn an_entry_that_leaves_a_gap_is_a_broken_promise() {
    let (mut wal, _) = open(&FaultDisk::new());
    let _ = wal.append(&[entry(2, 1, 1)]);
}
