//! Rows as they stand in etcd's database: for the sum over them, and for those who carry them there and back.

use super::At;
use bytes::Bytes;
use prost::Message;
use seatrial_types::{Event, EventKind, KeyValue, LeaseId, Revision};

/// A version of a key: etcd's `mvccpb.KeyValue`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ForeignVersion {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(int64, tag = "2")]
    create_revision: i64,
    #[prost(int64, tag = "3")]
    mod_revision: i64,
    #[prost(int64, tag = "4")]
    version: i64,
    #[prost(bytes = "bytes", tag = "5")]
    value: Bytes,
    #[prost(int64, tag = "6")]
    lease: i64,
}

impl ForeignVersion {
    /// What etcd keeps of an event.
    #[must_use]
    pub fn of(event: Event) -> Self {
        let kv = event.kv;
        match event.kind {
            EventKind::Put => Self {
                key: kv.key,
                create_revision: kv.create_revision.0,
                mod_revision: kv.mod_revision.0,
                version: kv.version,
                value: kv.value,
                lease: kv.lease.0,
            },
            // Of a deleted key the name alone.
            EventKind::Delete => Self { key: kv.key, ..Self::default() },
        }
    }

    /// As it stands there.
    #[must_use]
    pub fn into_kv(self) -> KeyValue {
        KeyValue {
            key: self.key,
            value: self.value,
            create_revision: Revision(self.create_revision),
            mod_revision: Revision(self.mod_revision),
            version: self.version,
            lease: LeaseId(self.lease),
        }
    }
}

/// A revision, `_`, and the place in it.
const REVISION_BYTES: usize = 8 + 1 + 8;
/// Behind the revision of a deletion.
const TOMBSTONE: u8 = b't';

/// The key under which a version or a deletion stands.
#[must_use]
pub fn foreign_key(main: Revision, sub: u32, kind: EventKind) -> Vec<u8> {
    let mut key = Vec::with_capacity(REVISION_BYTES + 1);
    key.extend_from_slice(&main.0.to_be_bytes());
    key.push(b'_');
    key.extend_from_slice(&u64::from(sub).to_be_bytes());
    if kind == EventKind::Delete {
        key.push(TOMBSTONE);
    }
    key
}

/// Main, sub, and what stands there; `None` where it is no such key.
#[must_use]
pub fn read_foreign_key(key: &[u8]) -> Option<(Revision, u32, EventKind)> {
    let (revision, kind) = match key.len() {
        REVISION_BYTES => (key, EventKind::Put),
        _ => match key.split_last()? {
            (&TOMBSTONE, revision) if revision.len() == REVISION_BYTES => (revision, EventKind::Delete),
            _ => return None,
        },
    };
    let main = i64::from_be_bytes(revision[..8].try_into().expect("eight bytes"));
    let sub = u64::from_be_bytes(revision[9..].try_into().expect("eight bytes"));
    (revision[8] == b'_').then_some(())?;
    Some((Revision(main), u32::try_from(sub).ok()?, kind))
}

/// Key and value of a row.
pub(super) fn row(at: At, event: Event) -> (Vec<u8>, Vec<u8>) {
    let key = foreign_key(at.main, at.sub, event.kind);
    (key, ForeignVersion::of(event).encode_to_vec())
}
