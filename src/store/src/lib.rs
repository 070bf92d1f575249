//! What a member keeps: the write-ahead log, the multi-version store with its backend, leases and watches.
//!
//! Knows nothing of sockets, protocols, Raft's rules or async. The state machine ([`Store`]) does no I/O of its
//! own: it reads through a [`Backend`] and collects its writes into [`Batch`]es, which the driver makes durable
//! elsewhere and in order. Time is passed in where leases need it. Only [`wal`] and [`RedbBackend`] touch a
//! disk, through the world's synchronous [`seatrial_world::Disk`].
//!
//! Read first: [`Store`] (what a log entry does), [`Backend`] (where rows live and when they are durable),
//! [`wal::Wal`] (what is durable before anything is answered).

mod auth;
pub mod backend;
pub mod command;
pub mod lease;
pub mod mvcc;
mod rows;
pub mod snapshot;
pub mod store;
mod v2;
pub mod wal;
pub mod watch;

pub use auth::{Auth, ROOT};
pub use backend::{
    Backend, BackendError, Batch, BatchId, Commit, MemBackend, MemSnapshot, RedbBackend, RedbCommitter,
    RedbOptions, Size, Staging, Table, View,
};
pub use command::{Command, CommandError};
pub use lease::Leases;
pub use mvcc::{Failure, ForeignVersion, HashTask, Mvcc, Reading, foreign_key, read_foreign_key};
pub use rows::Row;
pub use seatrial_v2::ROWS as V2_ROWS;
pub use snapshot::{Import, SnapshotError, SnapshotHeader, SnapshotReader, SnapshotRows, SnapshotWriter};
pub use store::{Answer, Applied, Store};
pub use v2::{V2, V2Output};
pub use wal::{Wal, WalError, WalOptions};
pub use watch::{HubOptions, Output, WatchHub};
