//! Who a member is: written once, before anything else, and never changed.
//!
//! Flags describe a cluster at its first start only. Later it has other members; a member that comes back must
//! not be told anew who they are, and must not take another's place by a slip of a flag (etcd keeps this in its
//! write-ahead log's metadata).

use crate::cluster::Cluster;
use seatrial_types::MemberId;
use seatrial_world::{Disk, DiskFile, OpenMode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;

const FILE: &str = "identity";
const FILE_NEW: &str = "identity.new";

/// The newest format this code writes.
const FORMAT: u8 = 1;

/// Who a member is, and where its cluster began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The member.
    pub member: MemberId,
    /// The cluster before its first entry.
    pub cluster: Cluster,
    /// Where the others were heard when this member joined.
    pub known_peers: BTreeMap<MemberId, Vec<String>>,
}

impl Identity {
    /// Writes it where there is none yet. It is there whole, or not at all.
    pub(crate) fn write_once<D: Disk>(&self, disk: &D) -> io::Result<()> {
        match disk.open(FILE, OpenMode::Existing) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let body = postcard::to_extend(self, vec![FORMAT]).map_err(io::Error::other)?;
        let file = disk.open(FILE_NEW, OpenMode::Create)?;
        file.set_len(0)?;
        file.write_at(0, &crc32c::crc32c(&body).to_le_bytes())?;
        file.write_at(4, &body)?;
        file.sync()?;
        disk.rename(FILE_NEW, FILE)?;
        disk.sync_dir("")
    }
}

/// Reads a member's identity; `None` where the folder holds none. Blocking.
///
/// # Errors
/// The disk's, and a sentence where what is there cannot be understood.
pub fn read_identity<D: Disk>(disk: &D) -> io::Result<Option<Identity>> {
    let file = match disk.open(FILE, OpenMode::Existing) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let damaged = |why: String| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "the file {FILE:?} in the data folder {why}\nhint: remove the data folder, remove the member from the cluster and add it anew"
            ),
        )
    };
    let length = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    if !(5..=1 << 20).contains(&length) {
        return Err(damaged(format!("has {length} bytes, which cannot be")));
    }
    let mut bytes = vec![0; length];
    file.read_at(0, &mut bytes)?;
    let (checksum, body) = bytes.split_at(4);
    if crc32c::crc32c(body).to_le_bytes() != checksum {
        return Err(damaged("is damaged: its checksum is wrong".to_owned()));
    }
    match body.split_first() {
        Some((&FORMAT, body)) => postcard::from_bytes(body)
            .map(Some)
            .map_err(|error| damaged(format!("cannot be decoded: {error}"))),
        Some((format, _)) => Err(damaged(format!("has format {format}, this program knows up to {FORMAT}"))),
        None => Err(damaged("is empty".to_owned())),
    }
}
