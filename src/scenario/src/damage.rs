//! Where the log of a stopped member, or its store, is damaged, the same in every world.

use crate::fault::DiskDamage;
use std::ops::Range;

/// Bytes at the front of a log's segment that hold its header; damage is done behind them.
const SEGMENT_HEADER_BYTES: u64 = 512;

/// What a disk reads and writes at once.
const SECTOR_BYTES: usize = 512;

/// A place in a log, or in the file of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Which of the segments.
    pub segment: usize,
    /// Which of its bytes.
    pub bytes: Range<u64>,
    /// How many bits turn there.
    pub bits: u32,
    /// In words.
    pub text: String,
}

/// Finds the place in the segments of a log, or in the files of a store, names and bytes, in their order. `None` where there is
/// nothing to damage, or the damage is none to files.
#[must_use]
pub fn spot(segments: &[(String, Vec<u8>)], damage: DiskDamage) -> Option<Spot> {
    // Segments are made longer than what they hold: zeros lie behind the last record.
    let filled = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1);
    match damage {
        DiskDamage::Value | DiskDamage::ValueRepaired => None,
        DiskDamage::StoreRot { place_permille, bits } => {
            // A store's file is mostly holes: only where something lies is there something to lose.
            let full: Vec<(usize, u64)> = segments
                .iter()
                .enumerate()
                .flat_map(|(segment, (_, bytes))| {
                    let sectors = (0..).zip(bytes.chunks(SECTOR_BYTES));
                    let full = sectors.filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0));
                    full.map(move |(sector, _)| (segment, sector * SECTOR_BYTES as u64))
                })
                .collect();
            let (segment, from) = *full.get(full.len() * place_permille as usize / 1000)?;
            let text = format!("{bits} bits turned in the sector at byte {from} of {}", segments[segment].0);
            Some(Spot { segment, bytes: from..from + SECTOR_BYTES as u64, bits, text })
        }
        DiskDamage::WalTail => {
            let (path, bytes) = segments.last()?;
            // Records end at multiples of eight; what lies behind the last one was never durable, so a crash may leave
            // anything there.
            let end = filled(bytes).next_multiple_of(8);
            let room = (bytes.len() as u64).saturating_sub(end);
            if room < 8 {
                return None;
            }
            let text = format!("garbage behind the last record, at byte {end} of {path}");
            Some(Spot { segment: segments.len() - 1, bytes: end..end + room.min(48), bits: 60, text })
        }
        DiskDamage::WalMiddle { place_permille } => {
            let spans: Vec<u64> = segments
                .iter()
                .map(|(_, bytes)| filled(bytes).saturating_sub(SEGMENT_HEADER_BYTES))
                .collect();
            let total: u64 = spans.iter().sum();
            // The last record may not be hit: nobody could tell that from a torn end.
            let mut at = total.saturating_sub(256) * u64::from(place_permille) / 1000;
            for (segment, bytes) in spans.into_iter().enumerate() {
                if at < bytes {
                    let from = SEGMENT_HEADER_BYTES + at;
                    let text = format!("3 bits turned at byte {from} of {}", segments[segment].0);
                    return Some(Spot { segment, bytes: from..from + 16, bits: 3, text });
                }
                at -= bytes;
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Vec<(String, Vec<u8>)> {
        let mut last = vec![7; 1001];
        last.resize(2000, 0);
        vec![("a.wal".to_owned(), vec![7; 1128]), ("b.wal".to_owned(), last)]
    }

    #[test]
    fn a_tail_is_torn_behind_the_last_record_where_there_is_room() {
        let spot = spot(&log(), DiskDamage::WalTail).unwrap();
        assert_eq!((spot.segment, spot.bytes), (1, 1008..1056));
        assert_eq!(super::spot(&[("a.wal".to_owned(), vec![7; 80])], DiskDamage::WalTail), None);
        assert_eq!(super::spot(&[], DiskDamage::WalTail), None);
    }

    #[test]
    fn a_store_rots_where_it_holds_something() {
        let mut file = vec![0; 4096];
        file[600] = 1;
        file[3000] = 1;
        let store = [("a.redb".to_owned(), vec![0; 1024]), ("b.redb".to_owned(), file)];
        let at = |place_permille| spot(&store, DiskDamage::StoreRot { place_permille, bits: 5 });
        let (first, last) = (at(0).unwrap(), at(999).unwrap());
        assert_eq!((first.segment, first.bytes, first.bits), (1, 512..1024, 5));
        assert_eq!((last.segment, last.bytes), (1, 2560..3072));
        assert_eq!(spot(&store[..1], DiskDamage::StoreRot { place_permille: 0, bits: 1 }), None);
    }

    #[test]
    fn the_middle_counts_over_all_segments_behind_their_headers() {
        let at = |place_permille| spot(&log(), DiskDamage::WalMiddle { place_permille }).unwrap();
        assert_eq!((at(0).segment, at(0).bytes), (0, 512..528));
        // 616 + 489 bytes, 256 of which at the end are spared.
        assert_eq!((at(999).segment, at(999).bytes), (1, 744..760));
    }
}
