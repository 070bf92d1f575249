//! Compaction by itself: the leader proposes to forget what is old enough (etcd: `--auto-compaction-mode`).

use super::{Member, Output, Timer};
use crate::proposal::{Action, Proposal};
use seatrial_store::{Backend, Command};
use seatrial_types::Revision;
use seatrial_types::request::CompactRequest;
use std::collections::VecDeque;
use std::time::Duration;

/// In revision mode, how often the leader looks (etcd's).
const REVISION_INTERVAL: Duration = Duration::from_secs(300);

/// In periodic mode, the longest time between two compactions (etcd's).
const PERIOD_MAX: Duration = Duration::from_secs(3600);

/// Samples of the revision per compaction in periodic mode (etcd's).
const SAMPLES: u32 = 10;

/// How much history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AutoCompaction {
    /// What happened within this time; more than zero.
    Periodic(Duration),
    /// So many revisions; more than zero.
    Revision(i64),
}

impl AutoCompaction {
    fn look_interval(self) -> Duration {
        match self {
            Self::Periodic(keep) => keep.min(PERIOD_MAX) / SAMPLES,
            Self::Revision(_) => REVISION_INTERVAL,
        }
    }
}

/// Every member notes how the revision grows, so that whoever comes to lead knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct History {
    /// When the revision was what, oldest first.
    samples: VecDeque<(Duration, Revision)>,
    /// When a compaction was last proposed.
    proposed: Option<Duration>,
}

impl<B: Backend> Member<B> {
    pub(super) fn arm_auto_compaction(&mut self) {
        if let Some(mode) = self.options.auto_compaction {
            let after = mode.look_interval();
            self.output(Output::SetTimer { timer: Timer::AutoCompact, min: after, max: after });
        }
    }

    pub(super) fn auto_compact(&mut self) {
        let Some(mode) = self.options.auto_compaction else { return };
        self.arm_auto_compaction();
        let (now, revision) = (self.now, self.store.revision());
        let target = match mode {
            AutoCompaction::Revision(keep) => Some(Revision(revision.0 - keep)),
            AutoCompaction::Periodic(keep) => {
                let history = &mut self.history;
                history.samples.push_back((now, revision));
                // The newest sample that is old enough stays in front.
                while history.samples.get(1).is_some_and(|(at, _)| *at + keep <= now) {
                    history.samples.pop_front();
                }
                let due = history.proposed.is_none_or(|at| at + keep.min(PERIOD_MAX) <= now);
                let old = history.samples.front().filter(|(at, _)| due && *at + keep <= now);
                old.map(|(_, revision)| *revision)
            }
        };
        let Some(target) = target.filter(|target| self.is_leader() && *target > self.store.compacted())
        else {
            return;
        };
        if target < Revision(1) {
            return;
        }
        self.history.proposed = Some(now);
        let command = Command::Compact(CompactRequest { revision: target, physical: false });
        let action = Action::Store(command);
        let proposal = Proposal { origin: self.id(), request: Proposal::NOBODY, action };
        self.proposals.push((Proposal::NOBODY, proposal.encode()));
    }
}
