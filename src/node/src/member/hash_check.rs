//! Members compare what they hold (etcd: the periodic corruption check).
//!
//! The leader writes an entry into the log that says: here. Every member that applies it takes the hash of its keys and
//! values as they are at this very entry, bit by bit beside its other work, and tells the leader. All of them speak
//! of the same revision and the same compaction, so two hashes differ only where two members differ; whoever a
//! compaction overtakes says nothing this time. A hash that a majority does not share is a member's with damaged data,
//! and the alarm names it; where no hash has a majority nobody knows who is right, and the alarm names nobody.

use super::{Member, Output, Timer};
use crate::observation::Observation;
use crate::peer::{PeerBody, PeerMessage};
use crate::proposal::{Action, Proposal};
use seatrial_store::{Backend, HashTask};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::request::{AlarmChangeRequest, AlarmKind};
use seatrial_types::{LogIndex, MemberId};
use std::collections::BTreeMap;

/// Rows looked at in one go: few, for a row may hold much.
const ROWS: usize = 128;

/// Where the comparison stands at one member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct HashCheck {
    /// The entry of the last round.
    round: LogIndex,
    /// This member's hash, while it is being taken.
    task: Option<HashTask>,
    /// What was reported of the round; used by the leader.
    reports: BTreeMap<MemberId, u32>,
    judged: bool,
}

impl HashCheck {
    pub(super) fn has_work(&self) -> bool {
        self.task.is_some()
    }

    /// The state was replaced: what was counted so far is of another.
    pub(super) fn forget(&mut self) {
        self.task = None;
    }
}

impl<B: Backend> Member<B> {
    pub(super) fn arm_hash_check(&mut self) {
        if let Some(interval) = self.options.corrupt_check_interval {
            self.output(Output::SetTimer { timer: Timer::HashCheck, min: interval, max: interval });
        }
    }

    /// The leader looks at what came of the last round, and begins another.
    pub(super) fn fire_hash_check(&mut self) {
        self.arm_hash_check();
        if !self.is_leader() {
            return;
        }
        self.judge_hashes();
        let proposal =
            Proposal { origin: self.id(), request: Proposal::NOBODY, action: Action::CompareHashes };
        self.proposals.push((Proposal::NOBODY, proposal.encode()));
    }

    /// The entry of a round is applied.
    pub(super) fn begin_hash(&mut self, round: LogIndex) {
        let task = Some(self.store.hash_task());
        self.hash_check = HashCheck { round, task, reports: BTreeMap::new(), judged: false };
    }

    /// Some rows more.
    pub(super) fn step_hash(&mut self) {
        let Some(task) = &mut self.hash_check.task else { return };
        match self.store.hash_step(task, ROWS) {
            Err(error) => return self.broken(&error),
            Ok(Some(false)) => return,
            Ok(None) => {
                self.hash_check.task = None;
                return;
            }
            Ok(Some(true)) => {}
        }
        let (round, hash) = (self.hash_check.round, task.hash());
        self.hash_check.task = None;
        self.observe(Observation::HashTaken { round, hash });
        let (me, leader) = (self.id(), self.soft.leader);
        if self.is_leader() {
            self.step_hash_report(me, round, hash);
        } else if leader != MemberId::NONE {
            let body = PeerBody::Hash { round, hash };
            self.output(Output::Send(PeerMessage { from: me, to: leader, body }));
        }
    }

    /// A member tells its hash.
    pub(super) fn step_hash_report(&mut self, from: MemberId, round: LogIndex, hash: u32) {
        let known = self.cluster.members.contains_key(&from);
        let is_other = round != self.hash_check.round && !is_planted(Planted::C02);
        if !self.is_leader() || !known || is_other {
            return;
        }
        self.hash_check.reports.insert(from, hash);
        if self.hash_check.reports.len() == self.cluster.members.len() {
            self.judge_hashes();
        }
    }

    fn judge_hashes(&mut self) {
        if std::mem::replace(&mut self.hash_check.judged, true) {
            return;
        }
        let mut corrupt = outvoted(&self.hash_check.reports, self.cluster.members.len());
        if is_planted(Planted::C01)
            && let Some(own) = self.hash_check.reports.get(&self.id())
        {
            let others = self.hash_check.reports.iter().filter(|(_, hash)| *hash != own);
            corrupt = others.map(|(member, _)| *member).collect();
        }
        if corrupt.is_empty() {
            return;
        }
        let told: Vec<String> = self
            .hash_check
            .reports
            .iter()
            .map(|(member, hash)| format!("{:x} has {hash:08x}", member.0))
            .collect();
        let text = format!(
            "members differ in their keys and values at entry {}: member {}",
            self.hash_check.round,
            told.join(", ")
        );
        self.observe(Observation::Corrupt { members: corrupt.clone(), text });
        for member in corrupt {
            let kind = AlarmKind::Corrupt;
            if self.alarms.contains(&(member, kind)) {
                continue;
            }
            let action = Action::Alarm(AlarmChangeRequest { raise: true, member, kind });
            let proposal = Proposal { origin: self.id(), request: Proposal::NOBODY, action };
            self.proposals.push((Proposal::NOBODY, proposal.encode()));
        }
    }
}

/// The members whose hash is not the majority's of `members`; [`MemberId::NONE`] where there are several hashes and
/// none has a majority.
fn outvoted(reports: &BTreeMap<MemberId, u32>, members: usize) -> Vec<MemberId> {
    let mut votes: BTreeMap<u32, usize> = BTreeMap::new();
    for hash in reports.values() {
        *votes.entry(*hash).or_default() += 1;
    }
    if votes.len() <= 1 {
        return Vec::new();
    }
    let majority = votes.iter().find(|(_, count)| **count > members / 2).map(|(hash, _)| *hash);
    match majority {
        None => vec![MemberId::NONE],
        Some(right) => {
            reports.iter().filter(|(_, hash)| **hash != right).map(|(member, _)| *member).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_outvoted_is_named_and_nobody_where_no_hash_has_a_majority() {
        let named = |reports: &[(u64, u32)], members| {
            let reports = reports.iter().map(|(member, hash)| (MemberId(*member), *hash)).collect();
            outvoted(&reports, members).iter().map(|member| member.0).collect::<Vec<_>>()
        };
        assert_eq!(named(&[], 3), []);
        assert_eq!(named(&[(1, 7), (2, 7), (3, 7)], 3), []);
        assert_eq!(named(&[(1, 7), (2, 8), (3, 7)], 3), [2]);
        assert_eq!(named(&[(1, 7), (2, 8), (3, 9)], 3), [0]);
        assert_eq!(named(&[(1, 7), (2, 8)], 3), [0], "one against one, the third says nothing");
        assert_eq!(named(&[(1, 7), (2, 8)], 2), [0]);
        assert_eq!(named(&[(1, 7), (2, 7), (3, 7), (4, 8), (5, 9)], 5), [4, 5]);
        assert_eq!(named(&[(1, 7), (2, 7), (3, 8)], 5), [0], "two of five are no majority");
    }
}
