//! Snapshots on their way: those this member sends, piece by piece, and the one it receives.

use super::{LogWrite, Member, Output};
use crate::observation::Observation;
use seatrial_raft::{ChunkReceived, ChunkWanted, SnapshotMeta};
use seatrial_store::{Backend, BatchId, SnapshotError, SnapshotReader};
use seatrial_types::MemberId;
use seatrial_types::buggify::{Site, hits};
use seatrial_types::planted::{Planted, is_planted};
use std::collections::BTreeMap;

/// What is under way: `V` is the pinned state being sent, `I` the one being put together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Snapshots<V, I> {
    /// By receiver: what it covers, and the pinned state.
    sending: BTreeMap<MemberId, (SnapshotMeta, SnapshotReader<V>)>,
    /// The pieces received so far.
    receiving: Option<(SnapshotMeta, I)>,
    /// Received whole, on its way to the disk.
    installing: Option<(BatchId, SnapshotMeta)>,
}

impl<V, I> Default for Snapshots<V, I> {
    fn default() -> Self {
        Self { sending: BTreeMap::new(), receiving: None, installing: None }
    }
}

impl<V, I> Snapshots<V, I> {
    /// Whether a snapshot is on its way to the disk: nothing else may be written to the backend then.
    pub(super) fn is_installing(&self) -> bool {
        self.installing.is_some()
    }
}

impl<B: Backend> Member<B> {
    /// Reads the piece that Raft wants to send.
    pub(super) fn send_chunk(&mut self, wanted: ChunkWanted) {
        let to = wanted.to;
        let under_way = self.snapshots.sending.get(&to).map(|(meta, _)| meta.index);
        let fresh =
            wanted.offset == 0 || under_way.is_none() || wanted.index.is_some_and(|i| under_way != Some(i));
        if fresh {
            if wanted.offset != 0 {
                // Begun by an earlier leadership or before a restart: it cannot be continued.
                self.raft.snapshot_unavailable(to);
                return;
            }
            let meta = SnapshotMeta {
                index: self.store.applied(),
                term: self.store.applied_term(),
                config: self.cluster.config.clone(),
            };
            self.observe(Observation::SnapshotStarted { to, index: meta.index });
            let export = self.store.export();
            self.snapshots.sending.insert(to, (meta, export));
        }
        let Some((meta, export)) = self.snapshots.sending.get_mut(&to) else { return };
        let meta = meta.clone();
        let bytes_max = if hits(Site::ChunkSmall) { wanted.bytes_max.min(64) } else { wanted.bytes_max };
        match export.read(wanted.offset, bytes_max) {
            Ok((data, done)) => {
                self.raft.snapshot_chunk(to, meta, wanted.offset, data, done);
                if done {
                    self.observe(Observation::SnapshotSent { to });
                }
            }
            Err(error) => self.fatal(format!("the state cannot be read for a snapshot: {error}")),
        }
    }

    /// Takes a piece that arrived. With the last one the state is replaced as a whole.
    pub(super) fn receive_chunk(&mut self, chunk: ChunkReceived) {
        let same = self
            .snapshots
            .receiving
            .as_ref()
            .is_some_and(|(meta, _)| meta.index == chunk.meta.index && meta.term == chunk.meta.term);
        if !same || chunk.offset == 0 {
            match self.store.import(&format!("snapshot-{}-{}", chunk.meta.term, chunk.meta.index)) {
                Ok(import) => self.snapshots.receiving = Some((chunk.meta.clone(), import)),
                Err(error) => return self.broken(&error),
            }
        }
        let Some((meta, mut import)) = self.snapshots.receiving.take() else { return };
        if import.offset() != chunk.offset {
            // Raft counts the bytes too, so this is another sender's snapshot of the same place.
            return self.raft.snapshot_refused(&meta);
        }
        match import.push(&chunk.data) {
            Err(error) => self.refuse_snapshot(&meta, error),
            Ok(()) if !chunk.done => self.snapshots.receiving = Some((meta, import)),
            Ok(()) => match self.store.install(import) {
                Err(error) => self.refuse_snapshot(&meta, error),
                Ok(_) => {
                    self.load_cluster();
                    self.hash_check.forget();
                    self.tell_peers();
                    self.tell_v2();
                    // Passwords may have changed in what the snapshot covers; clients show theirs again.
                    self.tokens.clear();
                    // Older batches belong to a state that no longer is.
                    let Some(batch) = self.store.seal() else {
                        return self.fatal("an installed snapshot left nothing to write".to_owned());
                    };
                    self.applied_unsealed = 0;
                    self.sealed.push_back((batch.id, self.store.applied()));
                    let id = batch.id;
                    self.snapshots.installing = Some((id, meta));
                    self.output(Output::Commit(batch));
                    if is_planted(Planted::R32) {
                        self.finish_install(id);
                    }
                }
            },
        }
    }

    /// A damaged snapshot is thrown away whole; Raft asks for it anew from the first byte.
    fn refuse_snapshot(&mut self, meta: &SnapshotMeta, error: SnapshotError) {
        if let SnapshotError::Backend(error) = &error {
            return self.broken(error);
        }
        self.observe(Observation::Finding {
            text: format!("a snapshot up to entry {} was refused: {error}", meta.index),
            damage: false,
        });
        self.raft.snapshot_refused(meta);
    }

    /// Where `batch` was a snapshot's: it is durable now, the log begins anew behind it.
    pub(super) fn finish_install(&mut self, batch: BatchId) {
        if self.snapshots.installing.as_ref().is_none_or(|(id, _)| *id != batch) {
            return;
        }
        let (_, meta) = self.snapshots.installing.take().expect("it was just there");
        self.observe(Observation::SnapshotInstalled { index: meta.index, term: meta.term });
        self.output(Output::Log(LogWrite::Restart(meta.clone())));
        self.raft.snapshot_installed(meta);
        self.end_if_removed();
    }
}
