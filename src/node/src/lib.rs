//! One member of the cluster: Raft, log, store, leases, watches and waiting requests as one value, and the
//! thin loop that drives it over a world.
//!
//! Knows nothing of client protocols: requests come as values through a [`Handle`].
//!
//! Read first: [`Handle`].

mod handle;

pub use handle::{Handle, WATCH_WINDOW, WatchSender, WatchSession};
