//! Snapshots that clients read, piece by piece: each pins the state as it was when it was begun.

use super::Member;
use seatrial_store::{Backend, SnapshotReader};
use seatrial_types::request::{SnapshotPiece, SnapshotReadRequest};
use seatrial_types::{Code, Error, Response};
use std::collections::BTreeMap;
use std::time::Duration;

/// Bytes of one piece.
const PIECE_BYTES: usize = 256 << 10;

/// Snapshots pinned for clients at one time; each keeps old pages of the store from being used again.
const OPEN_MAX: usize = 8;

/// A client that reads nothing for so long is gone.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The pinned states, by number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClientSnapshots<V> {
    open: BTreeMap<u64, (Duration, SnapshotReader<V>)>,
    last: u64,
}

impl<V> Default for ClientSnapshots<V> {
    fn default() -> Self {
        Self { open: BTreeMap::new(), last: 0 }
    }
}

impl<B: Backend> Member<B> {
    pub(super) fn read_snapshot(&mut self, ask: &SnapshotReadRequest) -> Result<Response, Error> {
        let now = self.now;
        let pinned = &mut self.client_snapshots;
        pinned.open.retain(|_, (read, _)| *read + IDLE_MAX > now);
        let id = if ask.id == 0 {
            if pinned.open.len() >= OPEN_MAX {
                return Err(Error::TooManyRequests);
            }
            pinned.last += 1;
            pinned.open.insert(pinned.last, (now, self.store.export()));
            pinned.last
        } else {
            ask.id
        };
        let Some((read, reader)) = pinned.open.get_mut(&id) else {
            let why = "the snapshot was not read for a minute and is gone".to_owned();
            return Err(Error::Other(Code::Aborted, why));
        };
        *read = now;
        let (data, done) = match reader.read(ask.offset, PIECE_BYTES) {
            Ok(piece) => piece,
            Err(error) => {
                self.broken(&error);
                return Err(Error::Stopped);
            }
        };
        if done && !ask.again {
            self.client_snapshots.open.remove(&id);
        }
        Ok(Response::SnapshotRead(SnapshotPiece { id, data, done, ..Default::default() }))
    }
}
