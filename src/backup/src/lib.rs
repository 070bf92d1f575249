//! The state of a member as a database file of etcd, and back.
//!
//! What `etcdctl snapshot save` brings is such a file: etcd's own tools read it, and a cluster of etcd can begin with it;
//! `etcdutl snapshot restore` takes those of etcd as well as ours. The file is a bbolt database with etcd's buckets
//! (etcd: server/mvcc/kvstore.go, server/lease, server/auth), followed by a SHA-256 of it.
//!
//! Left out is what a restored cluster makes anew: its members, and alarms, which come again where their reasons do.
//!
//! Knows nothing of files, sockets and members: everything here is a function of bytes. Read first: [`bolt`] (the pages), [`records`] (what lies in the buckets),
//! [`Export`] (a member's stream becomes a file), [`Database`] (a file becomes a member's stream).

pub mod bolt;
mod export;
mod import;
pub mod records;

pub use export::{Export, Measure};
pub use import::{Database, ImportError, ReadAt, Status};
pub use seatrial_store::{SnapshotError, SnapshotHeader};

/// The SHA-256 behind the database.
pub const SUM_BYTES: usize = 32;
