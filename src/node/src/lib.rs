//! One member of the cluster: Raft, log, store, leases, watches and waiting requests as one value, and the
//! thin loop that drives it over a world.
//!
//! Knows nothing of client protocols: requests come as values through a [`Handle`].
//!
//! Read first: [`Member`] with its [`Input`] and [`Output`] (everything that can happen to a member, and
//! everything it wants done), [`start`] (the loop), [`Handle`] (how others talk to it).

mod cluster;
mod disk;
mod frames;
mod handle;
mod identity;
mod image;
mod initial_check;
mod member;
mod message_names;
mod meters;
mod observation;
mod offline;
mod peer;
mod proposal;
mod restore;
mod runner;
mod transport;

pub use cluster::{BootstrapError, ChangeContext, Cluster, ClusterChange};
pub use disk::{DiskError, wal_options};
pub use handle::{Handle, V2Stream, WATCH_WINDOW, WatchSender, WatchSession};
pub use identity::{Identity, read_identity};
pub use image::LogImage;
pub use member::{
    API_VERSION, AutoCompaction, BootError, Counts, Durable, Figures, Input, LogWrite, Member, MemberOptions,
    Output, Rescue, Timer,
};
pub use message_names::{MessageName, name_messages};
pub use meters::{Histogram, Meters, PeerBytes};
pub use observation::{Blind, Observation, Observer, checksum};
pub use offline::{defragment, hash_kv, lock_folder};
pub use peer::fuzz_peer;
pub use peer::{ForwardId, PeerBody, PeerMessage, PeerVersions};
pub use proposal::{Action, Proposal, RequestId};
pub use restore::{RestoreError, restore};
pub use runner::{NodeOptions, Running, StartError, address_of, ask_cluster, start};
pub use seatrial_store::{RedbOptions, WalOptions};
