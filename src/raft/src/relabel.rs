//! The same state under other names. What a member does never depends on how large an id is, only on whether two are equal, so a
//! state and the one with its ids exchanged have the same futures, but for the names. Who looks through all states uses that.

use crate::message::{Body, Config, Entry, HardState, Message, Payload, SnapshotMeta};
use crate::raft::Raft;
use crate::ready::Persist;
use seatrial_types::MemberId;

/// The other name of a member; [`MemberId::NONE`] keeps its own.
pub(crate) type Label<'a> = &'a dyn Fn(MemberId) -> MemberId;

impl Raft {
    /// This member, and everybody it knows of, under other names. `label` gives different members different names, and
    /// [`MemberId::NONE`] its own.
    #[must_use]
    pub fn relabelled(&self, label: &dyn Fn(MemberId) -> MemberId) -> Self {
        assert!(label(MemberId::NONE) == MemberId::NONE, "nobody has a name: {}", label(MemberId::NONE));
        let mut other = self.clone();
        for id in [&mut other.options.id, &mut other.vote, &mut other.leader] {
            *id = label(*id);
        }
        other.log.relabel(label);
        other.votes = self.votes.iter().map(|(voter, granted)| (label(*voter), *granted)).collect();
        other.progress = self.progress.iter().map(|(to, progress)| (label(*to), progress.clone())).collect();
        other.transfer = self.transfer.map(label);
        other.reads.relabel(label);
        if let Some(receiving) = &mut other.receiving {
            receiving.from = label(receiving.from);
            relabel_meta(&mut receiving.meta, label);
        }
        other.persistence.relabel(label);
        other.out.relabel(label);
        other
    }

    /// Numbers what is to become durable from 1 on again, and says by how much each [`crate::PersistId`] that the driver holds must
    /// be lowered. The numbers only tell which write is meant: nothing but their order is ever looked at.
    pub fn renumber(&mut self) -> u64 {
        self.persistence.renumber()
    }
}

impl Message {
    /// The message under other names, see [`Raft::relabelled`].
    #[must_use]
    pub fn relabelled(&self, label: &dyn Fn(MemberId) -> MemberId) -> Self {
        let mut other = self.clone();
        (other.from, other.to) = (label(self.from), label(self.to));
        match &mut other.body {
            Body::Append { entries, .. } => {
                for entry in entries {
                    relabel_entry(entry, label);
                }
            }
            Body::Snapshot { meta, .. } => relabel_meta(meta, label),
            Body::ProposeConfig { change } => {
                for step in &mut change.steps {
                    use crate::message::ConfigStep::{AddLearner, AddVoter, Remove};
                    let (AddVoter(id) | AddLearner(id) | Remove(id)) = step;
                    *id = label(*id);
                }
            }
            Body::PreVote { .. }
            | Body::PreVoteAnswer { .. }
            | Body::Vote { .. }
            | Body::VoteAnswer { .. }
            | Body::AppendAccepted { .. }
            | Body::AppendRejected { .. }
            | Body::Heartbeat { .. }
            | Body::HeartbeatAnswer { .. }
            | Body::SnapshotAnswer { .. }
            | Body::TimeoutNow
            | Body::Propose { .. }
            | Body::ReadIndex { .. }
            | Body::ReadIndexAnswer { .. } => {}
        }
        other
    }
}

impl Entry {
    /// The entry under other names, see [`Raft::relabelled`].
    #[must_use]
    pub fn relabelled(&self, label: &dyn Fn(MemberId) -> MemberId) -> Self {
        let mut other = self.clone();
        relabel_entry(&mut other, label);
        other
    }
}

impl HardState {
    /// The hard state under other names, see [`Raft::relabelled`].
    #[must_use]
    pub fn relabelled(&self, label: &dyn Fn(MemberId) -> MemberId) -> Self {
        Self { vote: label(self.vote), ..*self }
    }
}

impl Persist {
    /// What is to be made durable under other names, see [`Raft::relabelled`].
    #[must_use]
    pub fn relabelled(&self, label: &dyn Fn(MemberId) -> MemberId) -> Self {
        Self {
            id: self.id,
            hard_state: self.hard_state.map(|hard| hard.relabelled(label)),
            entries: self.entries.iter().map(|entry| entry.relabelled(label)).collect(),
        }
    }
}

pub(crate) fn relabel_entry(entry: &mut Entry, label: Label<'_>) {
    if let Payload::Config(config) = &mut entry.payload {
        relabel_config(&mut config.config, label);
    }
}

pub(crate) fn relabel_meta(meta: &mut SnapshotMeta, label: Label<'_>) {
    relabel_config(&mut meta.config, label);
}

pub(crate) fn relabel_config(config: &mut Config, label: Label<'_>) {
    for members in
        [&mut config.voters, &mut config.outgoing, &mut config.learners, &mut config.learners_next]
    {
        *members = members.iter().map(|id| label(*id)).collect();
    }
}
