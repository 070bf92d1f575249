//! The pages of a bbolt database (go.etcd.io/bbolt: page.go, bucket.go, db.go), little-endian.
//!
//! Page 0 and 1 say where the root is, page 2 which pages are free, and the root's leaf has an entry for each bucket. A
//! bucket is a tree of branches and leaves; one that is small lies in the root's entry itself.

mod read;
mod write;

pub use read::{Bolt, BoltError, SeeEntry};
pub use write::{Totals, Writer};

/// Of the files that are written here. Other files say their own.
pub const PAGE_BYTES: usize = 4096;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;

/// A page's number, kind, count of entries, and how many more pages belong to it.
const PAGE_HEAD_BYTES: usize = 16;
/// An entry of a leaf (flags, place, lengths) or of a branch (place, length, page).
const ENTRY_BYTES: usize = 16;
/// A bucket's root and sequence.
const BUCKET_BYTES: usize = 16;
/// From the magic number up to the checksum.
const META_BYTES: usize = 56;

const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const META: u16 = 0x04;
const FREE_LIST: u16 = 0x10;

/// An entry of a leaf that is a bucket.
const IS_BUCKET: u32 = 1;

/// FNV-1a, 64 bits.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Puts the sums of the heads and the numbers of the pages right, for fuzzing: few changes would come past them.
pub fn mend(file: &mut Vec<u8>) {
    file.resize(file.len().clamp(3 * PAGE_BYTES, 64 * PAGE_BYTES).next_multiple_of(PAGE_BYTES), 0);
    let pages = (file.len() / PAGE_BYTES) as u64;
    for (number, page) in file.chunks_exact_mut(PAGE_BYTES).enumerate() {
        page[..8].copy_from_slice(&(number as u64).to_le_bytes());
        if number < 2 {
            let meta = &mut page[PAGE_HEAD_BYTES..];
            meta[40..48].copy_from_slice(&pages.to_le_bytes());
            let sum = checksum(&meta[..META_BYTES]);
            meta[META_BYTES..META_BYTES + 8].copy_from_slice(&sum.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Buckets = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

    fn write(buckets: &Buckets) -> Vec<u8> {
        let pass = |totals: Option<Totals>| {
            let mut writer = Writer::new(totals);
            let mut out = Vec::new();
            for (name, items) in buckets {
                writer.bucket(name.as_bytes());
                for (key, value) in items {
                    match totals {
                        None => writer.measure(key, value.len()),
                        Some(_) => writer.push(key, value),
                    }
                    out.extend(writer.take());
                }
            }
            let (last, totals) = writer.finish();
            out.extend(last);
            (out, totals)
        };
        let (nothing, totals) = pass(None);
        assert!(nothing.is_empty(), "bytes of a file that is only measured");
        let (file, again) = pass(Some(totals));
        assert_eq!(totals, again);
        assert_eq!(file.len() as u64, totals.bytes());
        file
    }

    fn open(file: &[u8]) -> Result<Bolt<crate::ReadAt<'_>>, BoltError> {
        let bytes = file.len() as u64;
        let read = |at: u64, length: usize| Ok(file[at as usize..at as usize + length].to_vec());
        Bolt::open(Box::new(read), bytes)
    }

    fn read(file: &[u8]) -> Result<Buckets, BoltError> {
        let mut bolt = open(file)?;
        let mut found = Buckets::new();
        for name in bolt.buckets() {
            let items = found.entry(String::from_utf8(name.clone()).unwrap()).or_default();
            bolt.visit(&name, &mut |key: &[u8], value: &[u8]| {
                items.insert(key.to_vec(), value.to_vec());
                Ok::<_, BoltError>(())
            })?;
        }
        Ok(found)
    }

    fn bucket(items: usize, value_bytes: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
        (0..items as u64).map(|item| (item.to_be_bytes().to_vec(), vec![item as u8; value_bytes])).collect()
    }

    #[test]
    fn buckets_of_any_size_come_back() {
        for (items, value_bytes) in
            [(0, 0), (1, 0), (1, 10), (40, 1), (1, 5000), (1, 200_000), (5000, 100), (200_000, 0)]
        {
            let buckets = Buckets::from([
                ("empty".to_owned(), bucket(0, 0)),
                ("it".to_owned(), bucket(items, value_bytes)),
                ("last".to_owned(), bucket(3, 3)),
            ]);
            assert!(read(&write(&buckets)).unwrap() == buckets, "{items} items of {value_bytes} bytes");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_comes_back(
            buckets in prop::collection::btree_map(
                "[a-z]{1,9}",
                prop::collection::btree_map(
                    prop::collection::vec(any::<u8>(), 1..40),
                    prop::collection::vec(any::<u8>(), 0..3000),
                    0..60,
                ),
                0..4,
            )
        ) {
            prop_assert_eq!(read(&write(&buckets)).unwrap(), buckets);
        }

        /// Damage is an error, or changes a value; it is never a panic, an endless walk or a huge allocation.
        #[test]
        fn a_damaged_file_ends_the_reading(at in 0_usize..60_000, byte: u8, more in prop::collection::vec((0_usize..60_000, any::<u8>()), 0..4)) {
            let mut file = write(&Buckets::from([("a".to_owned(), bucket(900, 30)), ("b".to_owned(), bucket(9, 3))]));
            let length = file.len();
            for (at, byte) in std::iter::once((at, byte)).chain(more) {
                file[at % length] = byte;
            }
            let _ = read(&file);
        }
    }

    #[test]
    fn what_is_no_database_is_named() {
        let whole = write(&Buckets::from([("a".to_owned(), bucket(2000, 30))]));
        assert!(matches!(read(b""), Err(BoltError::NoDatabase(_))));
        assert!(matches!(read(&[0; 9000]), Err(BoltError::NoDatabase(_))));
        assert!(
            matches!(read(&whole[..whole.len() - PAGE_BYTES]), Err(BoltError::Damaged { .. })),
            "cut short"
        );
        // One of the two pages that say where the root is may be gone.
        let mut one = whole.clone();
        one[PAGE_BYTES..2 * PAGE_BYTES].fill(0);
        assert!(read(&one).is_ok());
        one[20] ^= 1;
        assert!(matches!(read(&one), Err(BoltError::NoDatabase(_))));
        let mut circle = whole.clone();
        // The root's leaf tells of a bucket whose root is a branch; now that branch leads to itself.
        let (page, at) = (0..whole.len() / PAGE_BYTES)
            .find_map(|page| {
                let at = page * PAGE_BYTES;
                (u16::from_le_bytes([whole[at + 8], whole[at + 9]]) == BRANCH).then_some((page, at))
            })
            .expect("2000 items need a branch");
        circle[at + PAGE_HEAD_BYTES + 8..at + PAGE_HEAD_BYTES + 16]
            .copy_from_slice(&(page as u64).to_le_bytes());
        assert!(matches!(read(&circle), Err(BoltError::Damaged { .. })), "a circle");
    }
}
