//! Rows as they stand in etcd's database.

use super::At;
use bytes::Bytes;
use prost::Message;
use seatrial_types::{Event, EventKind};

/// etcd's `mvccpb.KeyValue`.
#[derive(Clone, PartialEq, Message)]
struct Stored {
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

/// A row's key: the revision, `_`, the place in it, and a `t` where it is a deletion.
fn key(at: At, kind: EventKind) -> Vec<u8> {
    let mut key = Vec::with_capacity(8 + 1 + 8 + 1);
    key.extend_from_slice(&at.main.0.to_be_bytes());
    key.push(b'_');
    key.extend_from_slice(&u64::from(at.sub).to_be_bytes());
    if kind == EventKind::Delete {
        key.push(b't');
    }
    key
}

/// Key and value of a row.
pub(super) fn row(at: At, event: Event) -> (Vec<u8>, Vec<u8>) {
    let kv = event.kv;
    let stored = match event.kind {
        EventKind::Put => Stored {
            key: kv.key,
            create_revision: kv.create_revision.0,
            mod_revision: kv.mod_revision.0,
            version: kv.version,
            value: kv.value,
            lease: kv.lease.0,
        },
        // Of a deleted key the name alone is kept.
        EventKind::Delete => Stored { key: kv.key, ..Stored::default() },
    };
    (key(at, event.kind), stored.encode_to_vec())
}
