//! The bytes of the log: segment header and record frames.
//!
//! A frame is `crc32c | length | chain | synced | kind | 7 zero bytes | payload | zeros to a multiple of 8`, all
//! numbers little-endian. The crc covers everything behind itself and starts from a seed made of cluster,
//! member and segment, so that a frame of another log never passes. `chain` is the crc of the frame before, so
//! that none is skipped. `synced` says up to which offset of the segment everything was durable when the frame
//! was written (in units of 8 bytes): that is what tells a torn tail from damage in the middle. A frame may stand
//! intact behind a torn one of the same unsynced write, but never behind one it knew to be durable.

use super::{HardState, Record, SnapshotMark};
use bytes::Bytes;
use seatrial_types::{ClusterId, LogIndex, MemberId, Term};

pub(super) const MAGIC: [u8; 8] = *b"SEATWAL\n";
pub(super) const FORMAT: u32 = 1;
pub(super) const HEADER_BYTES: u64 = 512;
pub(super) const FRAME_BYTES: usize = 24;
pub(super) const ALIGN: usize = 8;

const KIND_ENTRY: u8 = 1;
const KIND_HARD_STATE: u8 = 2;
const KIND_MARK: u8 = 3;
const KIND_LOST: u8 = 4;

/// The smallest frame an entry can have.
pub(super) const ENTRY_FRAME_BYTES_MIN: u64 = FRAME_BYTES as u64 + 16;

/// What a segment says about itself in its first sector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) cluster: ClusterId,
    pub(super) member: MemberId,
    pub(super) seq: u64,
    /// The index the next entry would have had when the segment was made.
    pub(super) first_index: LogIndex,
    pub(super) hard_state: HardState,
    /// The segment whose bytes before `prev_end` come before this one; 0 where none does. What lies between the
    /// two in number, or behind `prev_end` there, is superseded.
    pub(super) prev_seq: u64,
    pub(super) prev_end: u64,
    /// The chain value at that place.
    pub(super) prev_crc: u32,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES as usize);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&self.prev_crc.to_le_bytes());
        for number in [
            self.cluster.0,
            self.member.0,
            self.seq,
            self.first_index.0,
            self.hard_state.term.0,
            self.hard_state.vote.0,
            self.hard_state.commit.0,
            self.prev_seq,
            self.prev_end,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.resize(HEADER_BYTES as usize - 4, 0);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// `Err` holds a newer format number; `Ok(None)` means unreadable.
    pub(super) fn decode(bytes: &[u8]) -> Result<Option<Self>, u32> {
        let Some(bytes) = bytes.get(..HEADER_BYTES as usize) else { return Ok(None) };
        let (body, crc) = bytes.split_at(HEADER_BYTES as usize - 4);
        if body[..8] != MAGIC || crc32c::crc32c(body) != u32_at(crc, 0) {
            return Ok(None);
        }
        let format = u32_at(body, 8);
        if format != FORMAT {
            return Err(format);
        }
        let number = |position: usize| u64_at(body, 16 + position * 8);
        Ok(Some(Self {
            prev_crc: u32_at(body, 12),
            cluster: ClusterId(number(0)),
            member: MemberId(number(1)),
            seq: number(2),
            first_index: LogIndex(number(3)),
            hard_state: HardState {
                term: Term(number(4)),
                vote: MemberId(number(5)),
                commit: LogIndex(number(6)),
            },
            prev_seq: number(7),
            prev_end: number(8),
        }))
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// From where the crcs of a segment's frames start.
pub(super) fn seed(cluster: ClusterId, member: MemberId, seq: u64) -> u32 {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&cluster.0.to_le_bytes());
    bytes[8..16].copy_from_slice(&member.0.to_le_bytes());
    bytes[16..].copy_from_slice(&seq.to_le_bytes());
    crc32c::crc32c(&bytes)
}

/// Bytes the record takes in a segment.
pub(super) fn frame_bytes(record: &Record) -> u64 {
    let payload = match record {
        Record::Entry { payload, .. } => 16 + payload.len(),
        Record::HardState(_) => 24,
        Record::SnapshotMark(mark) => 16 + mark.config.len(),
        Record::LostUpTo(_) => 8,
    };
    (FRAME_BYTES + payload).next_multiple_of(ALIGN) as u64
}

/// Appends the record's frame and returns its crc, the chain value for the next.
pub(super) fn encode(out: &mut Vec<u8>, seed: u32, chain: u32, synced: u64, record: &Record) -> u32 {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_BYTES]);
    let kind = match record {
        Record::Entry { index, term, payload } => {
            out.extend_from_slice(&index.0.to_le_bytes());
            out.extend_from_slice(&term.0.to_le_bytes());
            out.extend_from_slice(payload);
            KIND_ENTRY
        }
        Record::HardState(state) => {
            for number in [state.term.0, state.vote.0, state.commit.0] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            KIND_HARD_STATE
        }
        Record::SnapshotMark(mark) => {
            out.extend_from_slice(&mark.index.0.to_le_bytes());
            out.extend_from_slice(&mark.term.0.to_le_bytes());
            out.extend_from_slice(&mark.config);
            KIND_MARK
        }
        Record::LostUpTo(index) => {
            out.extend_from_slice(&index.0.to_le_bytes());
            KIND_LOST
        }
    };
    let length = u32::try_from(out.len() - start - FRAME_BYTES).expect("a record is smaller than 4 GiB");
    let synced = u32::try_from(synced / ALIGN as u64).expect("a segment is smaller than 32 GiB");
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    out[start + 8..start + 12].copy_from_slice(&chain.to_le_bytes());
    out[start + 12..start + 16].copy_from_slice(&synced.to_le_bytes());
    out[start + 16] = kind;
    let crc = crc32c::crc32c_append(seed, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    out.resize(start + (out.len() - start).next_multiple_of(ALIGN), 0);
    crc
}

/// An intact frame.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) record: Record,
    pub(super) crc: u32,
    pub(super) chain: u32,
    /// In bytes.
    pub(super) synced: u64,
    /// With padding.
    pub(super) bytes: usize,
}

/// The frame at the start of `bytes`, where it is intact and of the log `seed` stands for.
pub(super) fn decode(bytes: &[u8], seed: u32) -> Option<Frame> {
    let head = bytes.get(..FRAME_BYTES)?;
    let kind = head[16];
    if !(KIND_ENTRY..=KIND_LOST).contains(&kind) || head[17..] != [0; 7] {
        return None;
    }
    let length = u32_at(head, 4) as usize;
    let body = bytes.get(4..FRAME_BYTES.checked_add(length)?)?;
    let crc = u32_at(head, 0);
    if crc32c::crc32c_append(seed, body) != crc {
        return None;
    }
    let payload = &body[FRAME_BYTES - 4..];
    let record = match kind {
        KIND_ENTRY if length >= 16 => Record::Entry {
            index: LogIndex(u64_at(payload, 0)),
            term: Term(u64_at(payload, 8)),
            payload: Bytes::copy_from_slice(&payload[16..]),
        },
        KIND_HARD_STATE if length == 24 => Record::HardState(HardState {
            term: Term(u64_at(payload, 0)),
            vote: MemberId(u64_at(payload, 8)),
            commit: LogIndex(u64_at(payload, 16)),
        }),
        KIND_MARK if length >= 16 => Record::SnapshotMark(SnapshotMark {
            index: LogIndex(u64_at(payload, 0)),
            term: Term(u64_at(payload, 8)),
            config: Bytes::copy_from_slice(&payload[16..]),
        }),
        KIND_LOST if length == 8 => Record::LostUpTo(LogIndex(u64_at(payload, 0))),
        _ => return None,
    };
    let synced = u64::from(u32_at(head, 12)) * ALIGN as u64;
    Some(Frame {
        record,
        crc,
        chain: u32_at(head, 8),
        synced,
        bytes: (FRAME_BYTES + length).next_multiple_of(ALIGN),
    })
}

/// The file name of a segment.
pub(super) fn name(seq: u64, first_index: LogIndex) -> String {
    format!("{seq:016x}-{:016x}.wal", first_index.0)
}

/// Number and first index out of a file name.
pub(super) fn parse_name(name: &str) -> Option<(u64, LogIndex)> {
    let (seq, first) = name.strip_suffix(".wal")?.split_once('-')?;
    if seq.len() != 16 || first.len() != 16 {
        return None;
    }
    Some((u64::from_str_radix(seq, 16).ok()?, LogIndex(u64::from_str_radix(first, 16).ok()?)))
}

/// For the fuzz targets: records as they lie in a segment, with the sum of the first put right.
pub(super) fn fuzz(bytes: &[u8]) {
    const SEED: u32 = 7;
    let _ = Header::decode(bytes);
    let _ = std::str::from_utf8(bytes).ok().and_then(parse_name);
    let _ = decode(bytes, SEED);
    let mut framed = bytes.to_vec();
    if let Some(head) = framed.get(4..8) {
        let length = u32_at(head, 0) as usize;
        if let Some(body) = FRAME_BYTES.checked_add(length).and_then(|end| framed.get(4..end)) {
            let crc = crc32c::crc32c_append(SEED, body);
            framed[..4].copy_from_slice(&crc.to_le_bytes());
        }
    }
    if let Some(frame) = decode(&framed, SEED) {
        let mut again = Vec::new();
        encode(&mut again, SEED, frame.chain, frame.synced, &frame.record);
        let again = decode(&again, SEED).expect("what was written can be read");
        assert_eq!(again.record, frame.record, "a record changed on its way through bytes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_record_is_read_back_and_none_of_another_log() {
        let records = [
            Record::Entry { index: LogIndex(3), term: Term(2), payload: Bytes::from_static(b"hello") },
            Record::HardState(HardState { term: Term(4), vote: MemberId(5), commit: LogIndex(6) }),
            Record::SnapshotMark(SnapshotMark {
                index: LogIndex(7),
                term: Term(8),
                config: Bytes::from_static(b"c"),
            }),
            Record::LostUpTo(LogIndex(9)),
        ];
        for record in records {
            let mut out = Vec::new();
            let crc = encode(&mut out, 11, 12, 16, &record);
            assert_eq!(out.len() as u64, frame_bytes(&record));
            let frame = decode(&out, 11).expect("intact");
            assert_eq!((&frame.record, frame.crc, frame.chain, frame.synced), (&record, crc, 12, 16));
            assert!(decode(&out, 10).is_none(), "another log's seed must not fit");
            for bit in 0..(out.len() - 7) * 8 {
                let mut broken = out.clone();
                broken[bit / 8] ^= 1 << (bit % 8);
                if broken[..FRAME_BYTES] != out[..FRAME_BYTES] {
                    assert!(decode(&broken, 11).is_none(), "bit {bit} flipped and not noticed");
                }
            }
        }
    }

    #[test]
    fn a_header_is_read_back_and_a_newer_format_is_named() {
        let header = Header {
            cluster: ClusterId(1),
            member: MemberId(2),
            seq: 3,
            first_index: LogIndex(4),
            hard_state: HardState { term: Term(5), vote: MemberId(6), commit: LogIndex(7) },
            prev_seq: 2,
            prev_end: 4096,
            prev_crc: 77,
        };
        let mut bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Ok(Some(header)));
        bytes[30] ^= 1;
        assert_eq!(Header::decode(&bytes), Ok(None));
        bytes[30] ^= 1;
        bytes[8] = 9;
        let crc = crc32c::crc32c(&bytes[..508]);
        bytes[508..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Header::decode(&bytes), Err(9));
    }

    #[test]
    fn names_sort_as_their_numbers_do() {
        assert_eq!(parse_name(&name(10, LogIndex(300))), Some((10, LogIndex(300))));
        assert!(name(9, LogIndex(300)) < name(10, LogIndex(1)));
        assert_eq!(parse_name("damaged"), None);
    }
}
