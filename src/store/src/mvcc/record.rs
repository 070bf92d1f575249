//! Keys and values of the `Kv` table.
//!
//! A row's key is its revision, main then sub, big-endian, so that rows sort as things happened. The value
//! carries a crc of both: what a damaged disk hands back is named, not believed.

use crate::backend::BackendError;
use bytes::{BufMut, Bytes, BytesMut};
use seatrial_types::{Event, EventKind, KeyValue, LeaseId, Revision};

const HEAD_BYTES: usize = 4 + 1 + 8 + 8 + 8 + 4;

/// When exactly something happened: the transaction's revision, and the place within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At {
    /// The revision.
    pub main: Revision,
    /// Counts the changes within one revision from 0.
    pub sub: u32,
}

impl At {
    fn bytes(self) -> [u8; 12] {
        let mut key = [0; 12];
        key[..8].copy_from_slice(&self.main.0.to_be_bytes());
        key[8..].copy_from_slice(&self.sub.to_be_bytes());
        key
    }

    pub(crate) fn row(self) -> Bytes {
        Bytes::copy_from_slice(&self.bytes())
    }

    pub(crate) fn from_row(row: &[u8]) -> Result<Self, BackendError> {
        let Ok(bytes) = <[u8; 12]>::try_from(row) else {
            return Err(BackendError::damaged(format!("a key-value row has a key of {} bytes", row.len())));
        };
        Ok(Self {
            main: Revision(i64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"))),
            sub: u32::from_be_bytes(bytes[8..].try_into().expect("four bytes")),
        })
    }
}

/// A version or a tombstone, as a row's value.
pub(crate) fn encode(at: At, kind: EventKind, kv: &KeyValue) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD_BYTES + kv.key.len() + kv.value.len());
    out.put_u32_le(0);
    out.put_u8(u8::from(kind == EventKind::Delete));
    out.put_i64_le(kv.create_revision.0);
    out.put_i64_le(kv.version);
    out.put_i64_le(kv.lease.0);
    out.put_u32_le(u32::try_from(kv.key.len()).expect("a key is smaller than 4 GiB"));
    out.put_slice(&kv.key);
    out.put_slice(&kv.value);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&at.bytes()), &out[4..]);
    out[..4].copy_from_slice(&crc.to_le_bytes());
    out.freeze()
}

/// Whether a row is as it was written.
///
/// # Errors
/// Damage found.
pub(crate) fn verify(row: &[u8], value: &[u8]) -> Result<(), BackendError> {
    head(At::from_row(row)?, value).map(|_| ())
}

/// What a row says before its value.
pub(super) struct Head<'a> {
    pub(super) kind: EventKind,
    pub(super) create_revision: Revision,
    pub(super) version: i64,
    pub(super) lease: LeaseId,
    pub(super) key: &'a [u8],
}

/// Looks at a row, and believes it only where its checksum is right.
pub(super) fn head(at: At, row: &[u8]) -> Result<Head<'_>, BackendError> {
    let damaged = |what: &str| {
        BackendError::damaged(format!("the key-value row of revision {}.{} {what}", at.main, at.sub))
    };
    if row.len() < HEAD_BYTES {
        return Err(damaged("is too short"));
    }
    let crc = u32::from_le_bytes(row[..4].try_into().expect("four bytes"));
    if crc32c::crc32c_append(crc32c::crc32c(&at.bytes()), &row[4..]) != crc {
        return Err(damaged("does not match its checksum"));
    }
    let number = |from: usize| i64::from_le_bytes(row[from..from + 8].try_into().expect("eight bytes"));
    let key_bytes = u32::from_le_bytes(row[29..33].try_into().expect("four bytes")) as usize;
    let key = row[HEAD_BYTES..].get(..key_bytes).ok_or_else(|| damaged("is shorter than its key"))?;
    Ok(Head {
        kind: if row[4] == 0 { EventKind::Put } else { EventKind::Delete },
        create_revision: Revision(number(5)),
        version: number(13),
        lease: LeaseId(number(21)),
        key,
    })
}

/// Reads a row back. Key and value share the row's memory.
pub(crate) fn decode(at: At, row: &Bytes) -> Result<Event, BackendError> {
    let Head { kind, create_revision, version, lease, key } = head(at, row)?;
    let value = HEAD_BYTES + key.len();
    let kv = KeyValue {
        key: row.slice(HEAD_BYTES..value),
        value: row.slice(value..),
        create_revision,
        mod_revision: at.main,
        version,
        lease,
    };
    Ok(Event { kind, kv, prev_kv: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_back_and_a_flipped_bit_is_noticed() {
        let at = At { main: Revision(7), sub: 3 };
        let kv = KeyValue {
            key: "key".into(),
            value: "value".into(),
            create_revision: Revision(5),
            mod_revision: Revision(7),
            version: 2,
            lease: LeaseId(9),
        };
        let row = encode(at, EventKind::Put, &kv);
        assert_eq!(decode(at, &row).unwrap().kv, kv);
        assert!(decode(At { main: Revision(8), sub: 3 }, &row).is_err(), "a row under another row's key");
        for bit in 0..row.len() * 8 {
            let mut broken = row.to_vec();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(at, &broken.into()).is_err(), "bit {bit}");
        }
    }
}
