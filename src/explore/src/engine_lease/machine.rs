//! A machine with its agent.

use seatrial_fleet::agent::{Run, Task};
use seatrial_fleet::duty::{Duty, Held, Turn};
use seatrial_fleet::model::{Cluster, JobState};
use seatrial_fleet::registry::Mirror;
use seatrial_fleet::unit::{MachineId, UnitName};
use seatrial_types::{LeaseId, Revision};
use std::time::Duration;

/// The time to live of a machine, and the agent's margin before its end.
const TTL: Duration = Duration::from_secs(30);
const MARGIN: Duration = Duration::from_secs(6);

/// Its agent's clock begins anew with every renewal: what it last heard is what matters, and not how long it runs.
const NOW: Duration = Duration::ZERO;

/// A machine with its agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    pub(super) id: MachineId,
    /// `None`: it has no power.
    pub(super) duty: Option<Box<Duty>>,
    /// What its key lies with in the store. The agent may know of another one, or of none.
    pub(super) lease: Option<LeaseId>,
    /// Nobody has renewed the lease, and it may end.
    pub(super) is_unheard: bool,
    pub(super) sessions: i64,
}

impl Machine {
    pub(super) fn new(id: MachineId) -> Self {
        Self { id, duty: None, lease: None, is_unheard: false, sessions: 0 }
    }

    /// An agent starts, and finds what runs.
    pub(super) fn start(&mut self) {
        let mut duty = Duty::new(self.id.clone(), MARGIN, NOW);
        if let Some(old) = &self.duty {
            duty.present = old.present.clone();
        }
        self.duty = Some(Box::new(duty));
    }

    pub(super) fn runs(&self, unit: &UnitName) -> bool {
        let here = self.duty.as_ref().and_then(|duty| duty.present.get(unit));
        here.is_some_and(|here| here.state == JobState::Launched)
    }

    /// It is registered with this lease, or has renewed it.
    pub(super) fn renewed(&mut self, lease: LeaseId, registered: Revision) {
        let Some(duty) = &mut self.duty else { return };
        duty.renewed(Held { lease, until: NOW + TTL, registered }, NOW);
        self.is_unheard = false;
    }

    pub(super) fn know(&mut self, mirror: Mirror) {
        if let Some(duty) = &mut self.duty {
            duty.know(mirror);
        }
    }

    /// The last half of the margin has begun and nothing was heard of the store. What the agent does then it does in time.
    pub(super) fn silence(&mut self) {
        let Some(duty) = &mut self.duty else { return };
        let until = duty.held().map_or(NOW + MARGIN, |held| held.until - MARGIN / 2);
        if let Turn::CutOff { tasks, .. } = duty.turn(until) {
            carry_out(duty, tasks, &Cluster::default());
        }
        self.is_unheard = true;
    }

    /// A turn while the lease is good; says whether the machine's key is to be put back.
    pub(super) fn turn(&mut self) -> bool {
        let Some(duty) = &mut self.duty else { return false };
        match duty.turn(NOW) {
            Turn::CutOff { tasks, .. } => carry_out(duty, tasks, &Cluster::default()),
            Turn::Wait => {}
            Turn::PutBack => return true,
            Turn::Pass(tasks) => {
                let cluster = duty.cluster();
                carry_out(duty, tasks, &cluster);
            }
        }
        false
    }
}

/// Every task succeeds: what becomes of those that do not is another test's business.
fn carry_out(duty: &mut Duty, tasks: Vec<Task>, cluster: &Cluster) {
    let mut run = Run::default();
    for task in tasks {
        run.done(&task, true, cluster, &mut duty.present);
    }
}
