//! Committed entries become state, and answers.

use super::{Member, Published};
use crate::cluster::ChangeContext;
use crate::observation::Observation;
use crate::proposal::{Action, Proposal, RequestId};
use bytes::Bytes;
use seatrial_raft::{Entry, Payload};
use seatrial_store::{Backend, BatchId, Command};
use seatrial_types::buggify::{Site, hits};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::{Error, LogIndex, Request, Response, Term};

impl<B: Backend> Member<B> {
    /// Applies what Raft has committed, in order.
    pub(super) fn apply_committed(&mut self, entries: Vec<Entry>) {
        let Some(last) = entries.last().map(|entry| entry.index) else { return };
        for entry in entries {
            if self.stopped {
                return;
            }
            // Entries that a restart finds applied already are in the backend: its applied index and its data
            // are one transaction.
            if entry.index <= self.store.applied() {
                continue;
            }
            self.apply(entry);
        }
        if !self.stopped {
            self.raft.applied(last);
        }
    }

    fn apply(&mut self, entry: Entry) {
        let index = entry.index;
        let term = if is_planted(Planted::R47) { self.raft.term() } else { entry.term };
        assert!(
            index == self.store.applied().next(),
            "entry {index} does not follow the applied {}",
            self.store.applied()
        );
        let checksum;
        match entry.payload {
            Payload::Noop => {
                checksum = 0;
                self.store.skip(index, term);
            }
            Payload::Data(data) => {
                checksum = crc32c::crc32c(&data);
                match Proposal::decode(&data) {
                    Ok(proposal) => self.apply_proposal(index, term, proposal),
                    // Skipping what cannot be read would make this member differ from the others for ever.
                    Err(why) => return self.fatal(format!("entry {index} of term {term}: {why}")),
                }
            }
            Payload::Config(change) => {
                checksum = crc32c::crc32c(&change.context);
                let context: Option<ChangeContext> = if change.context.is_empty() {
                    None
                } else {
                    match postcard::from_bytes(&change.context) {
                        Ok(decoded) => Some(decoded),
                        Err(why) => {
                            return self.fatal(format!("the configuration at entry {index}: {why}"));
                        }
                    }
                };
                self.cluster.apply(change.config, context.as_ref().map(|context| &context.change));
                self.save_cluster(index, term);
                self.change_applied(context);
            }
        }
        self.applied_unsealed += 1;
        self.observe(Observation::Applied { index, term, checksum, revision: self.store.revision() });
    }

    fn apply_proposal(&mut self, index: LogIndex, term: Term, proposal: Proposal) {
        let mine = proposal.origin == self.id();
        let result = match proposal.action {
            Action::Publish { name, client_urls } => {
                if let Some(member) = self.cluster.members.get_mut(&proposal.origin) {
                    member.name = name;
                    member.client_urls = client_urls;
                }
                self.save_cluster(index, term);
                if mine {
                    self.published = Published::No;
                }
                return;
            }
            Action::CompareHashes => {
                self.store.skip(index, term);
                self.begin_hash(index);
                return;
            }
            Action::Alarm(change) => Ok(Some(self.apply_alarm(index, term, &change))),
            Action::Store(command) if let Some(error) = self.alarm_refuses(&command) => {
                self.store.skip(index, term);
                Err(error)
            }
            Action::Store(command) => {
                let physical = matches!(command.inner(), Command::Compact(compact) if compact.physical);
                if let Command::LeaseRevoke(lease) = command.inner() {
                    self.revoking.remove(lease);
                    // Who waits to renew it is told that it is gone.
                    self.release_renewals(*lease);
                }
                let mut applied = match self.store.apply(index, term, &command, self.now) {
                    Ok(applied) => applied,
                    Err(error) => return self.broken(&error),
                };
                self.count_applied(&command, &applied.answer);
                self.complete_token(index, &command, &mut applied.answer);
                self.tell_watchers(Ok(applied.watch));
                self.tell_v2();
                if let Ok(Some(Response::V2(response))) = &mut applied.answer {
                    response.raft_index = index.0;
                }
                if let Command::LeaseCheckpoint(list) = &command {
                    self.checkpoint_applied(list);
                }
                if mine && physical && applied.answer.is_ok() && self.waiting.contains_key(&proposal.request)
                {
                    self.answer_when_compacted(proposal.request);
                    return;
                }
                applied.answer
            }
        };
        let Some(result) = result.transpose() else { return };
        if mine && proposal.request != Proposal::NOBODY {
            self.answer_applied(proposal.request, result);
        }
    }

    fn answer_applied(&mut self, id: RequestId, result: Result<Response, Error>) {
        let result = result.map(|mut response| {
            let revision = response.header().revision;
            let mut header = self.header();
            header.revision = revision;
            *response.header_mut() = header;
            response
        });
        self.answer(id, result);
    }

    /// A client that asked for a physical compaction is answered when the old versions are gone from disk.
    fn answer_when_compacted(&mut self, id: RequestId) {
        if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.request = Some(Request::Status);
        }
        self.physical.push(id);
        if !self.store.is_compacting() {
            self.checkpoint_physical();
        }
    }

    /// The compaction's last step is in the open batch: once that is durable, its clients are answered.
    pub(super) fn checkpoint_physical(&mut self) {
        if self.physical.is_empty() {
            return;
        }
        self.checkpoint();
        if self.sealed.is_empty() {
            self.answer_physical();
        }
    }

    fn answer_physical(&mut self) {
        for id in std::mem::take(&mut self.physical) {
            let header = self.header();
            self.answer(id, Ok(Response::Compact(header)));
        }
    }

    /// Writes the cluster's table with the entry that changed it.
    pub(super) fn save_cluster(&mut self, index: LogIndex, term: Term) {
        let bytes = postcard::to_extend(&self.cluster, Vec::new()).expect("a cluster always encodes");
        let row = (Bytes::from_static(super::boot::CLUSTER_KEY), Some(bytes.into()));
        if let Err(error) = self.store.apply(index, term, &Command::Meta(vec![row]), self.now) {
            self.broken(&error);
        }
    }

    /// A batch of the backend is durable: the log before it is no longer needed for recovery.
    pub(super) fn step_committed(&mut self, batch: BatchId) {
        if let Err(error) = self.store.committed(batch) {
            return self.broken(&error);
        }
        while let Some((_, applied)) = self.sealed.pop_front_if(|(id, _)| *id <= batch) {
            assert!(
                applied >= self.checkpointed,
                "checkpoint went back from {} to {applied}",
                self.checkpointed
            );
            self.checkpointed = applied;
            self.observe(Observation::Checkpointed { applied });
        }
        self.finish_install(batch);
        if !self.store.is_compacting() && self.sealed.is_empty() {
            self.answer_physical();
        }
        self.compact_log();
    }

    /// Cuts the log where enough has gathered behind the checkpoint, but keeps entries for members that lag
    /// a little: sending those is cheaper than a snapshot.
    fn compact_log(&mut self) {
        let first = self.raft.first_index();
        let mut keep_from = self.checkpointed.0.saturating_sub(self.options.catch_up_entries);
        let bytes_max = self.options.catch_up_bytes;
        // Large entries fill the memory long before they are many. Half as much again may gather, so that the log is not
        // cut at every checkpoint.
        if hits(Site::LogCutClose) {
            keep_from = keep_from.max(self.checkpointed.0);
        } else if self.raft.log_bytes() > bytes_max + bytes_max / 2 {
            keep_from = keep_from.max(self.raft.log_excess(bytes_max).min(self.checkpointed).0);
        } else if keep_from < first.0 + self.options.compact_entries {
            return;
        }
        let before = self.raft.log_start().index;
        let now = self.raft.compact(LogIndex(keep_from));
        if now == before {
            return;
        }
        let meta = self.raft.log_start();
        self.observe(Observation::Compacted { index: meta.index });
        self.output(super::Output::Log(super::LogWrite::Release(meta)));
    }
}
