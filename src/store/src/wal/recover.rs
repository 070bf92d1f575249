//! Opening a log after whatever happened to it.
//!
//! Segments are walked in order along their chain of crcs. The walk ends in one of three ways: at a clean end
//! (zeros), at a torn tail (something unreadable, behind which nothing stands that knew it to be durable),
//! or at damage. Nothing is repaired in place: the log goes on in a new segment whose header says behind which
//! byte of which segment it continues, so that a crash during a repair finds either the old or the new state.

use super::format::{self, Frame, HEADER_BYTES, Header};
use super::{
    Carry, DAMAGED_DIR, Finding, HardState, Joint, Record, Recovered, Segment, SnapshotMark, WAL_DIR, Wal,
    WalEntry, WalError, WalOptions, make_segment,
};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::{LogIndex, MemberId};
use seatrial_world::{Disk, DiskFile, OpenMode};
use std::collections::VecDeque;
use std::io;

const READ_BYTES: u64 = 256 << 10;
const SECTOR_BYTES: u64 = 512;

/// A segment file as found.
struct Found {
    seq: u64,
    first_index: LogIndex,
    name: String,
    header: Option<Header>,
    max_index: LogIndex,
}

/// The bytes of a segment, zeros where they cannot be read.
struct Content {
    bytes: Vec<u8>,
    /// Unreadable ranges.
    holes: Vec<(u64, u64)>,
}

impl Content {
    fn is_hole(&self, from: u64, to: u64) -> bool {
        self.holes.iter().any(|(start, end)| *start < to && from < *end)
    }

    /// Behind the last byte that is not a readable zero.
    fn used_end(&self) -> u64 {
        let bytes = self.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
        self.holes.iter().map(|(_, end)| *end).max().unwrap_or(0).max(bytes)
    }
}

fn read<F: DiskFile>(file: &F, name: &str) -> Result<Content, WalError> {
    let fail = |error: io::Error| WalError::io(format!("reading {WAL_DIR}/{name}"), &error);
    let length = file.len().map_err(fail)?;
    let mut bytes = vec![0; usize::try_from(length).expect("a segment fits into memory")];
    let mut holes: Vec<(u64, u64)> = Vec::new();
    let mut at = 0;
    while at < length {
        let end = length.min(at + READ_BYTES);
        if file.read_at(at, &mut bytes[at as usize..end as usize]).is_err() {
            for sector in (at..end).step_by(SECTOR_BYTES as usize) {
                let sector_end = end.min(sector + SECTOR_BYTES);
                let piece = &mut bytes[sector as usize..sector_end as usize];
                if file.read_at(sector, piece).is_err() {
                    piece.fill(0);
                    match holes.last_mut() {
                        Some((_, end)) if *end == sector => *end = sector_end,
                        _ => holes.push((sector, sector_end)),
                    }
                }
            }
        }
        at = end;
    }
    Ok(Content { bytes, holes })
}

/// The state the records add up to.
#[derive(Default)]
struct Replay {
    hard_state: HardState,
    mark: Option<SnapshotMark>,
    mark_seq: u64,
    lost: Option<LogIndex>,
    lost_seq: u64,
    /// The index before the first entry.
    base: LogIndex,
    entries: Vec<WalEntry>,
    /// The highest index of any entry ever seen.
    highest: LogIndex,
}

impl Replay {
    fn last_index(&self) -> LogIndex {
        LogIndex(self.base.0 + self.entries.len() as u64)
    }

    fn has(&self, index: LogIndex, term: seatrial_types::Term) -> bool {
        index > self.base
            && self.entries.get((index.0 - self.base.0 - 1) as usize).is_some_and(|entry| entry.term == term)
    }

    fn note_mark(&mut self, mark: SnapshotMark) {
        let repeated = self.mark.as_ref().is_some_and(|old| (old.index, old.term) == (mark.index, mark.term));
        // At the base the entry itself is not here to be compared: it was released because a mark covers it.
        if !repeated && mark.index > self.base && !self.has(mark.index, mark.term) {
            self.entries.clear();
            self.base = mark.index;
        }
        self.mark = Some(mark);
    }

    /// `Err` where an entry does not follow: the chain was intact, so this is no torn write.
    fn note(&mut self, record: Record, seq: u64) -> Result<(), LogIndex> {
        match record {
            Record::Entry { index, term, payload } => {
                if index > self.last_index().next() {
                    return Err(index);
                }
                if index <= self.base {
                    self.entries.clear();
                    self.base = index.prev();
                }
                self.entries.truncate((index.0 - self.base.0 - 1) as usize);
                self.entries.push(WalEntry { index, term, payload });
                self.highest = self.highest.max(index);
            }
            Record::HardState(state) => self.hard_state = state,
            Record::SnapshotMark(mark) => {
                self.note_mark(mark);
                self.mark_seq = seq;
            }
            Record::LostUpTo(index) => {
                self.lost = Some(index).filter(|index| *index != LogIndex::ZERO);
                self.lost_seq = seq;
            }
        }
        Ok(())
    }
}

/// What can still be learned from behind the damage.
#[derive(Default)]
struct Behind {
    /// A frame stands there that knew everything up to beyond the damage to be durable.
    proves_damage: bool,
    frames: usize,
    /// Where the first of them is.
    first_at: Option<u64>,
    highest: LogIndex,
    hard_state: HardState,
    mark: Option<SnapshotMark>,
}

impl Behind {
    fn note(&mut self, frame: &Frame, at: u64, damage_at: u64) {
        self.frames += 1;
        self.first_at.get_or_insert(at);
        self.proves_damage |= frame.synced > damage_at;
        match &frame.record {
            Record::Entry { index, .. } => self.highest = self.highest.max(*index),
            Record::HardState(state) => self.hard_state = newer(self.hard_state, *state),
            Record::SnapshotMark(mark) => {
                if self.mark.as_ref().is_none_or(|old| old.index < mark.index) {
                    self.mark = Some(mark.clone());
                }
            }
            Record::LostUpTo(index) => self.highest = self.highest.max(*index),
        }
    }
}

/// Terms never go back, and a vote within a term never changes once given.
fn newer(a: HardState, b: HardState) -> HardState {
    let (term, vote) = match a.term.cmp(&b.term) {
        std::cmp::Ordering::Less => (b.term, b.vote),
        std::cmp::Ordering::Greater => (a.term, a.vote),
        std::cmp::Ordering::Equal if a.vote == MemberId::NONE => (b.term, b.vote),
        std::cmp::Ordering::Equal => (a.term, a.vote),
    };
    HardState { term, vote, commit: a.commit.max(b.commit) }
}

/// All intact frames from `from` on, at any place where one can begin.
fn scan(content: &Content, from: u64, seed: u32, mut each: impl FnMut(&Frame, u64)) {
    let mut at = from as usize;
    while at + format::FRAME_BYTES <= content.bytes.len() {
        match format::decode(&content.bytes[at..], seed) {
            Some(frame) => {
                each(&frame, at as u64);
                at += frame.bytes;
            }
            None => at += format::ALIGN,
        }
    }
}

/// Where a walk along the chain stopped, and why.
struct Stop {
    at: u64,
    chain: u32,
    /// Set where the record there is intact but makes no sense.
    nonsense: Option<String>,
}

/// Follows the chain from the header to `end`, or as far as it goes.
fn walk(
    content: &Content,
    chain: Option<u32>,
    end: Option<u64>,
    seed: u32,
    file: &mut Found,
    replay: &mut Replay,
) -> Stop {
    let mut at = HEADER_BYTES;
    let mut chain = chain;
    loop {
        let rest = content.bytes.get(at as usize..).unwrap_or_default();
        let frame = format::decode(rest, seed).filter(|frame| chain.is_none_or(|chain| frame.chain == chain));
        let Some(frame) = frame.filter(|_| end.is_none_or(|end| at < end)) else {
            return Stop { at, chain: chain.unwrap_or(0), nonsense: None };
        };
        if let Record::Entry { index, .. } = &frame.record {
            file.max_index = file.max_index.max(*index);
        }
        if let Err(index) = replay.note(frame.record, file.seq) {
            let what = format!("entry {index} follows {}", replay.last_index());
            return Stop { at, chain: chain.unwrap_or(0), nonsense: Some(what) };
        }
        chain = Some(frame.crc);
        at += frame.bytes as u64;
    }
}

/// How the walk over all segments ended.
enum Ending {
    /// The last segment ends in zeros: it can be continued there.
    Clean,
    /// The log is intact up to the joint; nothing promised stood behind it.
    Torn { bytes: u64 },
    /// It is intact, but the last header is not: continue elsewhere.
    Headless,
    /// Something promised is gone.
    Damaged { what: String, gap_bytes: u64 },
}

pub(super) fn open<D: Disk>(disk: D, options: WalOptions) -> Result<(Wal<D>, Recovered), WalError> {
    let dir_fail = |error: io::Error| WalError::io(format!("opening {WAL_DIR}"), &error);
    disk.create_dir(WAL_DIR).map_err(dir_fail)?;
    disk.sync_dir("").map_err(dir_fail)?;
    let mut report = Vec::new();
    let mut files = find(&disk, &options)?;
    remove_leftovers(&disk, &options, &mut files, &mut report)?;
    set_superseded_aside(&disk, &mut files, &mut report)?;
    let seed_of = |seq| format::seed(options.cluster_id, options.member_id, seq);

    let mut replay = Replay::default();
    let mut joint = Joint::default();
    let mut ending = Ending::Headless;
    // The segments which stay are those before this position.
    let mut kept = files.len();
    let mut behind = Behind::default();
    for position in 0..files.len() {
        if let Some(what) = missing_before(&files, position) {
            ending = Ending::Damaged { what, gap_bytes: 0 };
            kept = position;
            break;
        }
        if position == 0 {
            // Entries before may have been released; whether the mark covers them is checked at the end.
            replay.base = files[0].first_index.prev();
        }
        let (file, later) = files[position..].split_first_mut().expect("the position exists");
        let content = load(&disk, &file.name)?;
        let start = match (&file.header, position) {
            (Some(header), _) => Some(header.prev_crc),
            (None, 0) => None,
            (None, _) => Some(joint.crc),
        };
        let linked = later.first().and_then(|next| next.header.as_ref());
        let end = linked.filter(|next| next.prev_seq == file.seq).map(|next| next.prev_end);
        let seed = seed_of(file.seq);
        let stop = walk(&content, start, end, seed, file, &mut replay);
        joint = Joint { seq: file.seq, end: stop.at, crc: stop.chain };
        if file.header.is_none() {
            report.push(Finding::HeaderUnreadable { segment: file.name.clone() });
        }
        let complete = match (later.first(), end) {
            (None, _) => None,
            (Some(_), Some(end)) => Some(stop.at == end),
            (Some(next), None) => Some(follows(&disk, next, seed_of(next.seq), stop.chain)?),
        };
        if complete == Some(true) && stop.nonsense.is_none() {
            continue;
        }
        kept = position + 1;
        scan(&content, stop.at, seed, |frame, at| behind.note(frame, at, stop.at));
        ending = judge(&content, &stop, complete.is_some(), file.header.is_some(), &behind);
        break;
    }
    if let Ending::Damaged { gap_bytes, .. } = &mut ending {
        for file in &files[kept..] {
            let content = load(&disk, &file.name)?;
            let mut first_at = None;
            scan(&content, HEADER_BYTES, seed_of(file.seq), |frame, at| {
                first_at.get_or_insert(at);
                behind.note(frame, u64::MAX, 0);
            });
            *gap_bytes += first_at.unwrap_or(content.used_end()).saturating_sub(HEADER_BYTES);
            behind.highest = behind.highest.max(file.first_index.prev());
            if let Some(header) = &file.header {
                behind.hard_state = newer(behind.hard_state, header.hard_state);
            }
        }
    }
    let before = files[..kept].iter().filter_map(|file| file.header.as_ref());
    let from_headers = before.fold(HardState::default(), |state, header| newer(state, header.hard_state));
    replay.hard_state = newer(replay.hard_state, from_headers);

    let found = Walked { files, kept, replay, joint, ending, behind };
    finish(disk, options, found, report)
}

/// What the walk came to.
struct Walked {
    files: Vec<Found>,
    kept: usize,
    replay: Replay,
    joint: Joint,
    ending: Ending,
    behind: Behind,
}

/// Decides what the end of the walked part means.
fn judge(content: &Content, stop: &Stop, has_later: bool, has_header: bool, behind: &Behind) -> Ending {
    let used = content.used_end();
    let gap_bytes = behind.first_at.unwrap_or(used).saturating_sub(stop.at);
    if let Some(what) = &stop.nonsense {
        return Ending::Damaged { what: what.clone(), gap_bytes };
    }
    let head_end = stop.at + format::FRAME_BYTES as u64;
    let head = content.bytes.get(stop.at as usize..(head_end as usize).min(content.bytes.len()));
    let head_is_zero = head.unwrap_or_default().iter().all(|byte| *byte == 0);
    // A torn write leaves wrong bytes, never unreadable ones.
    let unreadable = content.is_hole(stop.at, head_end)
        || (!head_is_zero
            && content.is_hole(stop.at, used)
            && content.is_hole(stop.at, frame_end(content, stop.at)));
    if has_later || behind.proves_damage || unreadable {
        let what = match (unreadable, head_is_zero) {
            (true, _) => "the disk cannot read the record there",
            (false, true) => "records are missing there, and later ones exist",
            (false, false) => "the record there is damaged, and later ones exist",
        };
        return Ending::Damaged { what: what.into(), gap_bytes };
    }
    if used > stop.at {
        Ending::Torn { bytes: used - stop.at }
    } else if has_header {
        Ending::Clean
    } else {
        Ending::Headless
    }
}

/// Where the frame at `at` would end, by its own word.
fn frame_end(content: &Content, at: u64) -> u64 {
    let length = content.bytes.get(at as usize + 4..at as usize + 8);
    let length = length.map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().expect("four bytes")));
    (at + format::FRAME_BYTES as u64 + u64::from(length)).min(content.bytes.len() as u64)
}

/// Lists the segments and reads their headers. Everything visible is made durable first: it may be in the
/// page cache only, left there by a process that was killed.
fn find<D: Disk>(disk: &D, options: &WalOptions) -> Result<Vec<Found>, WalError> {
    let dir_fail = |error: io::Error| WalError::io(format!("opening {WAL_DIR}"), &error);
    let mut files = Vec::new();
    for name in disk.list(WAL_DIR).map_err(dir_fail)? {
        let Some((seq, first_index)) = format::parse_name(&name) else { continue };
        let path = format!("{WAL_DIR}/{name}");
        let fail = |error: io::Error| WalError::io(format!("opening {path}"), &error);
        let file = disk.open(&path, OpenMode::Existing).map_err(fail)?;
        file.sync().map_err(fail)?;
        let mut bytes = vec![0; HEADER_BYTES as usize];
        let header = match file.read_at(0, &mut bytes) {
            Ok(()) => Header::decode(&bytes),
            Err(_) => Ok(None),
        };
        let header = header.map_err(|found| WalError::Format {
            segment: name.clone(),
            found,
            known: format::FORMAT,
        })?;
        if let Some(header) = &header
            && (header.cluster, header.member) != (options.cluster_id, options.member_id)
        {
            return Err(WalError::Foreign { segment: name, cluster: header.cluster, member: header.member });
        }
        let header = header.filter(|header| header.seq == seq);
        files.push(Found { seq, first_index, name, header, max_index: LogIndex::ZERO });
    }
    disk.sync_dir(WAL_DIR).map_err(dir_fail)?;
    files.sort_by_key(|file| file.seq);
    if let Some(last) = files.last() {
        write_again(disk, &last.name)?;
    }
    Ok(files)
}

/// Writes what is in the newest segment once more, and syncs. A sync that failed may have left pages in the page
/// cache which count as written and are not: read back they look well, no further sync writes them, and a power loss
/// takes them away. Older segments were synced with success before a newer one was made.
fn write_again<D: Disk>(disk: &D, name: &str) -> Result<(), WalError> {
    let content = load(disk, name)?;
    if !content.holes.is_empty() {
        // What cannot be read is damage, and is told as such; nothing is written over it.
        return Ok(());
    }
    let path = format!("{WAL_DIR}/{name}");
    let fail = |error: io::Error| WalError::io(format!("writing {path} again"), &error);
    let used = usize::try_from(content.used_end()).expect("it was read into memory");
    let file = disk.open(&path, OpenMode::Existing).map_err(fail)?;
    file.write_at(0, &content.bytes[..used]).map_err(fail)?;
    file.sync().map_err(fail)
}

fn load<D: Disk>(disk: &D, name: &str) -> Result<Content, WalError> {
    let path = format!("{WAL_DIR}/{name}");
    let file = disk
        .open(&path, OpenMode::Existing)
        .map_err(|error| WalError::io(format!("opening {path}"), &error))?;
    read(&file, name)
}

/// Removes the last file where its making was interrupted: no header, and no record that was written after it
/// would have had one.
fn remove_leftovers<D: Disk>(
    disk: &D,
    options: &WalOptions,
    files: &mut Vec<Found>,
    report: &mut Vec<Finding>,
) -> Result<(), WalError> {
    while let Some(file) = files.pop_if(|file| file.header.is_none()) {
        let content = load(disk, &file.name)?;
        let mut in_use = !content.holes.is_empty();
        let seed = format::seed(options.cluster_id, options.member_id, file.seq);
        scan(&content, HEADER_BYTES, seed, |frame, _| in_use |= frame.synced > 0);
        if in_use {
            files.push(file);
            break;
        }
        if is_planted(Planted::D06) {
            return Err(WalError::BadRecord { segment: file.name, offset: 0 });
        }
        let path = format!("{WAL_DIR}/{}", file.name);
        let fail = |error: io::Error| WalError::io(format!("removing {path}"), &error);
        disk.remove(&path).map_err(fail)?;
        disk.sync_dir(WAL_DIR).map_err(fail)?;
        report.push(Finding::Leftover { segment: file.name });
    }
    Ok(())
}

/// Moves segments aside which a later one has jumped over.
fn set_superseded_aside<D: Disk>(
    disk: &D,
    files: &mut Vec<Found>,
    report: &mut Vec<Finding>,
) -> Result<(), WalError> {
    let jumps: Vec<(u64, u64)> = files
        .iter()
        .filter_map(|file| file.header.as_ref().map(|header| (header.prev_seq, file.seq)))
        .collect();
    let is_superseded = |seq: u64| jumps.iter().any(|(from, to)| *from < seq && seq < *to);
    let (gone, stay): (Vec<_>, Vec<_>) = files.drain(..).partition(|file| is_superseded(file.seq));
    *files = stay;
    for file in gone {
        move_aside(disk, &file.name)?;
        report.push(Finding::Superseded { segment: file.name });
    }
    Ok(())
}

fn move_aside<D: Disk>(disk: &D, name: &str) -> Result<(), WalError> {
    let fail = |error: io::Error| WalError::io(format!("moving {WAL_DIR}/{name} to {DAMAGED_DIR}"), &error);
    disk.create_dir(DAMAGED_DIR).map_err(fail)?;
    disk.rename(&format!("{WAL_DIR}/{name}"), &format!("{DAMAGED_DIR}/{name}")).map_err(fail)?;
    disk.sync_dir(DAMAGED_DIR).map_err(fail)?;
    disk.sync_dir(WAL_DIR).map_err(fail)
}

/// Whether a segment is missing between this one and the one before.
fn missing_before(files: &[Found], position: usize) -> Option<String> {
    let before = &files[position.checked_sub(1)?];
    let file = &files[position];
    let expected = file.header.as_ref().map_or(file.seq - 1, |header| header.prev_seq);
    (expected != before.seq).then(|| format!("segment number {expected:x} is missing behind it"))
}

/// Whether a segment without a readable header continues the chain.
fn follows<D: Disk>(disk: &D, next: &Found, seed: u32, chain: u32) -> Result<bool, WalError> {
    let content = load(disk, &next.name)?;
    let first = content.bytes.get(HEADER_BYTES as usize..).and_then(|bytes| format::decode(bytes, seed));
    Ok(first.is_some_and(|frame| frame.chain == chain))
}

/// Draws the conclusions, makes them durable and hands out the log.
fn finish<D: Disk>(
    disk: D,
    options: WalOptions,
    walked: Walked,
    mut report: Vec<Finding>,
) -> Result<(Wal<D>, Recovered), WalError> {
    let Walked { files, mut kept, mut replay, mut joint, mut ending, behind } = walked;
    let mark_index = |replay: &Replay| replay.mark.as_ref().map_or(LogIndex::ZERO, |mark| mark.index);
    let segment_name = |seq: u64| {
        files.iter().find(|file| file.seq == seq).map_or_else(|| "(none)".into(), |file| file.name.clone())
    };
    let silently = is_planted(Planted::D02);
    if let Ending::Damaged { what, gap_bytes } = &ending
        && !silently
    {
        // Names and headers tell of entries too: what a segment did not begin with was in one before.
        let told = files.iter().map(|file| {
            let commit = file.header.as_ref().map_or(LogIndex::ZERO, |header| header.hard_state.commit);
            file.first_index.prev().max(commit)
        });
        let known = told.fold(replay.last_index().max(replay.highest), LogIndex::max);
        let mut lost = known.max(behind.highest).max(behind.hard_state.commit);
        if behind.highest <= known {
            // Nothing readable tells how many entries there were: not more than fit.
            lost = lost.max(LogIndex(known.0 + gap_bytes.div_ceil(format::ENTRY_FRAME_BYTES_MIN)));
        }
        replay.hard_state = newer(replay.hard_state, behind.hard_state);
        if let Some(mark) = behind.mark
            && mark.index > mark_index(&replay)
        {
            replay.note_mark(mark);
        }
        let last_intact = replay.last_index();
        // At least one more than is left, always: what is lost may be the replacement of entries which are
        // still there. Only an entry appended by a leader of today proves that all before it are right.
        let lost = lost.max(replay.lost.unwrap_or_default()).max(last_intact.next());
        report.push(Finding::Damage {
            segment: segment_name(joint.seq),
            offset: joint.end,
            what: what.clone(),
            last_intact,
            lost_up_to: lost,
        });
        replay.lost = Some(lost);
    }
    if mark_index(&replay) < replay.base && !silently {
        // The oldest segments are missing, and the mark does not make up for them.
        let lost = replay.highest.max(replay.last_index()).max(replay.lost.unwrap_or_default());
        let mark = mark_index(&replay);
        let unread = if let Ending::Torn { bytes } = &ending { *bytes } else { 0 };
        let unread = unread.div_ceil(format::ENTRY_FRAME_BYTES_MIN);
        let lost = LogIndex(lost.max(mark.next()).0 + unread);
        report.push(Finding::Damage {
            segment: files.first().map_or_else(String::new, |file| file.name.clone()),
            offset: 0,
            what: format!("the first entry is {}, but the newest mark is at {mark}", replay.base.next()),
            last_intact: mark,
            lost_up_to: lost,
        });
        replay.entries.clear();
        replay.base = mark;
        replay.lost = Some(lost);
        kept = 0;
        joint = Joint::default();
        ending = Ending::Damaged { what: String::new(), gap_bytes: 0 };
    }
    let is_torn = matches!(ending, Ending::Torn { .. });
    let is_damaged = matches!(ending, Ending::Damaged { .. });
    if let Ending::Torn { bytes } = &ending {
        let segment = segment_name(joint.seq);
        if is_planted(Planted::D01) {
            return Err(WalError::BadRecord { segment, offset: joint.end });
        }
        report.push(Finding::TornTail { segment, offset: joint.end, bytes: *bytes });
    }
    let last_index = replay.last_index();
    replay.hard_state.commit = replay.hard_state.commit.min(last_index);

    let mut segments: VecDeque<Segment> = files[..kept]
        .iter()
        .map(|file| Segment { seq: file.seq, name: file.name.clone(), max_index: file.max_index })
        .collect();
    let made = if matches!(ending, Ending::Clean) {
        let name = segments.back().expect("a clean end is in a segment").name.clone();
        let path = format!("{WAL_DIR}/{name}");
        let fail = |error: io::Error| WalError::io(format!("opening {path}"), &error);
        let file = disk.open(&path, OpenMode::Existing).map_err(fail)?;
        let capacity = file.len().map_err(fail)?;
        super::Made { file, name, offset: joint.end, capacity, chain: joint.crc }
    } else {
        let damaged = matches!(ending, Ending::Damaged { .. });
        let seq = files.last().map_or(0, |file| file.seq) + 1;
        if damaged && let Some(file) = files[..kept].last() {
            keep_copy(&disk, &file.name, seq)?;
        }
        let carry = Carry { hard_state: replay.hard_state, mark: replay.mark.as_ref(), lost: replay.lost };
        let made = make_segment(&disk, &options, seq, last_index.next(), joint, carry, 0)?;
        for file in &files[kept..] {
            move_aside(&disk, &file.name)?;
        }
        segments.push_back(Segment { seq, name: made.name.clone(), max_index: LogIndex::ZERO });
        (replay.mark_seq, replay.lost_seq) = (seq, seq);
        made
    };

    let mut terms = Vec::new();
    for entry in &replay.entries {
        if terms.last().is_none_or(|(_, term)| *term != entry.term) {
            terms.push((entry.index, entry.term));
        }
    }
    let seq = segments.back().expect("there is at least the new one").seq;
    let wal = Wal {
        seed: format::seed(options.cluster_id, options.member_id, seq),
        disk,
        options,
        file: made.file,
        offset: made.offset,
        synced: made.offset,
        capacity: made.capacity,
        chain: made.chain,
        hard_state: replay.hard_state,
        mark: replay.mark.clone(),
        lost: replay.lost,
        mark_seq: replay.mark_seq,
        lost_seq: replay.lost_seq,
        last_index,
        terms,
        segments,
        buffer: Vec::new(),
        poisoned: None,
    };
    let fails_once = is_torn && is_planted(Planted::D21) || is_damaged && is_planted(Planted::D22);
    if fails_once {
        return Err(WalError::BadRecord { segment: wal.current().name.clone(), offset: joint.end });
    }
    let recovered = Recovered {
        hard_state: replay.hard_state,
        snapshot: replay.mark,
        entries: replay.entries,
        report,
        lost_up_to: replay.lost,
    };
    Ok((wal, recovered))
}

/// Copies a segment with damage aside, as far as it can be read, before anything supersedes it.
fn keep_copy<D: Disk>(disk: &D, name: &str, seq: u64) -> Result<(), WalError> {
    let content = load(disk, name)?;
    let path = format!("{DAMAGED_DIR}/{seq:016x}-{name}");
    let fail = |error: io::Error| WalError::io(format!("copying a damaged segment to {path}"), &error);
    disk.create_dir(DAMAGED_DIR).map_err(fail)?;
    disk.sync_dir(WAL_DIR).map_err(fail)?;
    let copy = disk.open(&path, OpenMode::Create).map_err(fail)?;
    copy.set_len(0).map_err(fail)?;
    copy.write_at(0, &content.bytes).map_err(fail)?;
    copy.sync().map_err(fail)?;
    disk.sync_dir(DAMAGED_DIR).map_err(fail)
}
