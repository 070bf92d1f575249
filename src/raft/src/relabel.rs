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
    for members in [&mut config.voters, &mut config.outgoing, &mut config.learners, &mut config.learners_next]
    {
        *members = members.iter().map(|id| label(*id)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Options, ReadId, Restored, Timer};

    /// 1 becomes 2, 2 becomes 3, 3 becomes 1.
    fn round(id: MemberId) -> MemberId {
        MemberId([0, 2, 3, 1][id.0 as usize])
    }

    fn back(id: MemberId) -> MemberId {
        round(round(id))
    }

    fn member(id: u64) -> Raft {
        let voters = [1, 2, 3].map(MemberId).into();
        Raft::new(Options::new(MemberId(id)), Restored::fresh(Config { voters, ..Config::default() }))
    }

    /// What leaves, in an order that does not tell names.
    fn settle(raft: &mut Raft) -> Vec<Message> {
        let mut said = Vec::new();
        while let Some(ready) = raft.ready() {
            if let Some(persist) = &ready.persist {
                raft.persisted(persist.id);
            }
            said.extend(ready.messages);
            said.extend(ready.messages_after);
            if let Some(last) = ready.committed.last() {
                raft.applied(last.index);
            }
        }
        said
    }

    fn sorted(mut messages: Vec<Message>) -> Vec<Message> {
        messages.sort_by_key(|message| format!("{message:?}"));
        messages
    }

    #[test]
    fn a_step_under_other_names_is_the_step_under_other_names() {
        let mut members = [1, 2, 3].map(member);
        let mut letters: Vec<Message> = Vec::new();
        let mut seed = 7u64;
        let mut led = false;
        for turn in 0..4_000u64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let pick = (seed >> 33) as usize;
            let letter =
                (!letters.is_empty() && turn % 3 != 0).then(|| letters.swap_remove(pick % letters.len()));
            let place = letter.as_ref().map_or(pick % 3, |letter| letter.to.0 as usize - 1);
            let act = |raft: &mut Raft, letter: Option<Message>| {
                match (letter, pick % 7) {
                    (Some(letter), _) => drop(raft.step(letter)),
                    (None, 0) => drop(raft.read_index(ReadId(turn))),
                    (None, 1 | 2) => drop(raft.propose(vec![vec![1].into()])),
                    (None, 3) => raft.fire(Timer::LeaderSilent),
                    (None, 4) => raft.fire(Timer::Campaign),
                    (None, 5) => raft.fire(Timer::Heartbeat),
                    (None, _) => raft.fire(Timer::QuorumCheck),
                }
                settle(raft)
            };
            let before = &members[place];
            assert_eq!(before.relabelled(&round).relabelled(&back), *before);
            let mut other = before.relabelled(&round);
            let said_there = act(&mut other, letter.as_ref().map(|letter| letter.relabelled(&round)));
            let said_here = act(&mut members[place], letter);
            assert_eq!(other, members[place].relabelled(&round), "turn {turn}");
            let renamed = said_here.iter().map(|letter| letter.relabelled(&round)).collect();
            assert_eq!(sorted(said_there), sorted(renamed), "turn {turn}");
            letters.extend(said_here);
            led |= members[place].role() == crate::Role::Leader && members[place].commit().0 > 3;
        }
        assert!(led, "nobody ever committed anything");
    }

    #[test]
    fn writes_are_numbered_anew_and_go_on_to_be_reported() {
        let mut raft = member(1);
        raft.fire(Timer::LeaderSilent);
        raft.fire(Timer::Campaign);
        settle(&mut raft);
        assert_eq!(raft.renumber(), 0, "nothing was written yet");
        let (from, to) = (MemberId(2), MemberId(1));
        let yes = Message { from, to, term: raft.term().next(), body: Body::PreVoteAnswer { granted: true } };
        raft.step(yes).unwrap();
        let first = raft.ready().and_then(|ready| ready.persist).expect("a vote is written");
        raft.persisted(first.id);
        raft.step(Message {
            from,
            to,
            term: seatrial_types::Term(5),
            body: Body::VoteAnswer { granted: false },
        })
        .unwrap();
        let second = raft.ready().and_then(|ready| ready.persist).expect("a term is written");
        assert_eq!((first.id.0, second.id.0), (1, 2));
        assert_eq!(raft.renumber(), 1);
        raft.persisted(crate::PersistId(second.id.0 - 1));
        assert_eq!(raft.renumber(), 1);
    }
}
