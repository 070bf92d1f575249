//! A data folder from a snapshot: the first member of a new cluster that begins with an old one's data.

use crate::cluster::Cluster;
use crate::identity::Identity;
use crate::member::CLUSTER_KEY;
use bytes::Bytes;
use seatrial_store::{
    BackendError, Commit, HubOptions, RedbBackend, RedbOptions, SnapshotError, SnapshotHeader, Store,
};
use seatrial_types::MemberId;
use seatrial_world::Disk;
use std::collections::BTreeMap;
use std::io;

/// A snapshot that cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The folder or the file.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The store cannot be written.
    #[error("the store cannot be written: {0}")]
    Backend(#[from] BackendError),
    /// The stream is none, or damaged.
    #[error("{0}")]
    Snapshot(#[from] SnapshotError),
}

/// Fills an empty data folder with the state that `stream` brings, piece by piece, as the member `member` of `cluster`. Blocking.
/// All members of the new cluster are restored from the same snapshot, each into a folder of its own.
///
/// # Errors
/// See [`RestoreError`]; the folder is then of no use.
///
/// # Panics
/// Where the store, just written, has nothing to write.
pub fn restore<D: Disk>(
    disk: &D,
    redb: RedbOptions,
    cluster: &Cluster,
    member: MemberId,
    stream: impl FnOnce(&mut dyn FnMut(Bytes) -> io::Result<()>) -> io::Result<()>,
) -> Result<SnapshotHeader, RestoreError> {
    let (backend, mut committer) = RedbBackend::open(disk.clone(), redb)?;
    let mut store = Store::open(backend, HubOptions::default())?;
    let mut import = store.import("restored")?;
    let mut refused = None;
    let streamed = stream(&mut |piece| {
        import.push(&piece).map_err(|error| {
            refused = Some(error);
            io::Error::other("the stream is refused")
        })
    });
    if let Some(error) = refused {
        return Err(error.into());
    }
    streamed?;
    let header = store.install(import)?;
    let row = postcard::to_extend(cluster, Vec::new()).map_err(io::Error::other)?;
    store.rewrite_meta(Bytes::from_static(CLUSTER_KEY), row.into());
    let batch = store.seal().expect("an installed snapshot is to be written");
    committer.commit(&batch)?;
    // Last: a folder without it is none of a member.
    let identity = Identity { member, cluster: cluster.clone(), known_peers: BTreeMap::new() };
    identity.write_once(disk)?;
    Ok(header)
}
