//! An engine that leads, as a value: what it knows, what it wants written, and what it makes of the answers.

use crate::engine::{Decision, Outcome, Pace, Policy, decide};
use crate::model::Cluster;
use crate::registry::{Batch, Fence, Mirror, Touched, schedule};
use crate::run::Change;
use seatrial_types::Revision;
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::request::TxnResponse;
use std::time::Duration;

/// From the moment at which it was elected. Its driver brings it the changes below `registry::keys::SPEC`, sends the transactions of
/// a pass one after the other, and stops where an outcome is unknown or [`Verdict::Deposed`] comes of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lead {
    fence: Fence,
    mirror: Option<Mirror>,
    pace: Pace,
    /// It has not decided anything yet.
    is_fresh: bool,
}

/// What the answer to a transaction means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// These decisions are written, at this revision.
    Wrote(Vec<Decision>, Revision),
    /// These were not, for something had changed meanwhile, which is on its way to us.
    Refused(Vec<Decision>),
    /// Another one leads, or nobody.
    Deposed,
}

impl Lead {
    /// Knows nothing yet. `now` is monotonic, as in [`Lead::pass`].
    #[must_use]
    pub fn new(fence: Fence, policy: Policy, now: Duration) -> Self {
        Self { fence, mirror: None, pace: Pace::new(policy, now), is_fresh: true }
    }

    /// What proves that it leads.
    #[must_use]
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// What it knows, once it knows anything.
    #[must_use]
    pub fn mirror(&self) -> Option<&Mirror> {
        self.mirror.as_ref()
    }

    /// Takes in a change; says whether there may be something to decide.
    pub fn take(&mut self, change: Change) -> bool {
        let touched = change.apply_to(&mut self.mirror);
        touched.iter().any(|touched| matches!(touched, Touched::Unit(_) | Touched::Machine(_)))
    }

    /// Knows everything as it was at one revision.
    pub fn know(&mut self, mirror: Mirror) {
        self.mirror = Some(mirror);
    }

    /// Decides; `None` before anything is known. The transactions are to be sent in order.
    pub fn pass(&mut self, now: Duration) -> Option<(Outcome, Vec<Batch>)> {
        let mirror = self.mirror.as_ref()?;
        let limits = self.pace.limits(mirror.cluster(), now);
        let is_first = std::mem::take(&mut self.is_fresh);
        let unknown = (is_planted(Planted::F11) && is_first).then(|| without_targets(mirror.cluster()));
        let outcome = decide(unknown.as_ref().unwrap_or(mirror.cluster()), &limits);
        let batches = schedule(mirror, &outcome.decisions, &self.fence);
        Some((outcome, batches))
    }

    /// What has become of a transaction.
    pub fn answered(&mut self, batch: Batch, answer: &TxnResponse) -> Verdict {
        if answer.succeeded {
            if let Some(mirror) = &mut self.mirror {
                mirror.wrote(&batch.request.success, answer.header.revision);
            }
            self.pace.moved(batch.decisions.iter().filter(|decision| decision.is_eviction()).count());
            Verdict::Wrote(batch.decisions, answer.header.revision)
        } else if self.fence.is_broken_by(answer) {
            Verdict::Deposed
        } else {
            Verdict::Refused(batch.decisions)
        }
    }

    /// When the next pass may do what this one could not, if that is known.
    #[must_use]
    pub fn due(&self, now: Duration) -> Option<Duration> {
        self.pace.next(now)
    }
}

/// The planted bug F11: as if nothing were placed anywhere.
fn without_targets(cluster: &Cluster) -> Cluster {
    let mut cluster = cluster.clone();
    cluster.units.values_mut().for_each(|unit| unit.target = None);
    cluster
}
