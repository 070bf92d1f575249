//! What an agent knows, and what it may do by that: a value. Around it `run::run_agent` asks the clock, the store and the machine.

use crate::agent::{PresentUnits, Task, at_lease_end, reconcile};
use crate::model::Cluster;
use crate::registry::{Mirror, Touched};
use crate::run::Change;
use crate::unit::MachineId;
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::{LeaseId, Revision};
use std::time::Duration;

/// The lease is good until a time on the scale of the machine's monotonic clock, counted from the moment at which the store was
/// asked: the store's own clock started no earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    /// The machine's.
    pub lease: LeaseId,
    /// No longer than this.
    pub until: Duration,
    /// When the machine was registered with it.
    pub registered: Revision,
}

/// An agent at work.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Duty {
    me: MachineId,
    stop_margin: Duration,
    /// What is on the machine.
    pub present: PresentUnits,
    mirror: Option<Mirror>,
    held: Option<Held>,
    /// When units that must not run twice are stopped, if no renewal comes before.
    stop_at: Duration,
    is_cut_off: bool,
    /// Something has changed that may concern this machine.
    is_dirty: bool,
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Turn {
    /// Nobody has renewed the lease: another machine may soon have our units. What may run twice runs on; and nothing is
    /// begun, for what is known of the cluster may be old.
    CutOff {
        /// It was not, until now.
        is_new: bool,
        /// What must not go on.
        tasks: Vec<Task>,
    },
    /// The machine's key is gone although its lease lives: somebody took it away, and it is to be put back.
    PutBack,
    /// What is known is older than the lease, or nothing is: what was decided while we were thought to be gone must be known
    /// before anything is started.
    Wait,
    /// The machine is to become what the cluster wants, step by step.
    Pass(Vec<Task>),
}

impl Duty {
    /// An agent that starts does not know whether its old lease lives. It has the margin to find out.
    #[must_use]
    pub fn new(me: MachineId, stop_margin: Duration, now: Duration) -> Self {
        Self {
            me,
            stop_margin,
            present: PresentUnits::new(),
            mirror: None,
            held: None,
            stop_at: now + stop_margin,
            is_cut_off: false,
            is_dirty: true,
        }
    }

    /// The machine.
    #[must_use]
    pub fn me(&self) -> &MachineId {
        &self.me
    }

    /// The lease, as far as is known.
    #[must_use]
    pub fn held(&self) -> Option<Held> {
        self.held
    }

    /// When units that must not run twice are to be stopped; `None` once they are.
    #[must_use]
    pub fn stop_at(&self) -> Option<Duration> {
        (!self.is_cut_off).then_some(self.stop_at)
    }

    /// Whether it counts itself as gone.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.is_cut_off
    }

    /// Something may be to do.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// What it knows, once it knows anything.
    #[must_use]
    pub fn mirror(&self) -> Option<&Mirror> {
        self.mirror.as_ref()
    }

    /// The cluster, as far as is known.
    #[must_use]
    pub fn cluster(&self) -> Cluster {
        self.mirror.as_ref().map(|mirror| mirror.cluster().clone()).unwrap_or_default()
    }

    /// Takes in a change of what lies below `registry::keys::SPEC`.
    pub fn take(&mut self, change: Change) {
        let touched = change.apply_to(&mut self.mirror);
        self.is_dirty |= touched.iter().any(|touched| self.concerns_me(touched));
    }

    /// Knows everything as it was at one revision.
    pub fn know(&mut self, mirror: Mirror) {
        self.mirror = Some(mirror);
        self.is_dirty = true;
    }

    fn concerns_me(&self, touched: &Touched) -> bool {
        match touched {
            Touched::Unit(name) => {
                let known = self.mirror.as_ref().and_then(|mirror| mirror.cluster().units.get(name));
                let is_mine =
                    known.is_some_and(|unit| unit.is_global() || unit.target.as_ref() == Some(&self.me));
                is_mine || self.present.contains_key(name)
            }
            Touched::Machine(id) => *id == self.me,
            // Read anew, and there is nothing: what is here must go.
            Touched::State => true,
            Touched::Nothing => false,
        }
    }

    /// The lease is granted or renewed; says whether the machine is registered anew with it.
    pub fn renewed(&mut self, held: Held, now: Duration) -> bool {
        let is_new = self.held.is_none_or(|old| old.registered != held.registered);
        self.is_dirty |= is_new;
        self.held = Some(held);
        let margin = if is_planted(Planted::F12) { Duration::ZERO } else { self.stop_margin };
        self.stop_at = held.until.saturating_sub(margin);
        if now < self.stop_at && self.is_cut_off {
            self.is_cut_off = false;
            self.is_dirty = true;
        }
        is_new
    }

    /// Whether the lease is not good any more: a list of tasks stops here, and the next turn says what is then to be done.
    #[must_use]
    pub fn is_over(&self, now: Duration) -> bool {
        now >= self.stop_at
    }

    /// A list of tasks was broken off.
    pub fn broke_off(&mut self) {
        self.is_dirty = true;
    }

    /// What is to be done. Where the lease is good this is a pass over all there is, to be asked for where [`Duty::is_dirty`]
    /// says so and now and then.
    pub fn turn(&mut self, now: Duration) -> Turn {
        if self.is_over(now) {
            let is_new = !std::mem::replace(&mut self.is_cut_off, true);
            // Again and again, for a task may have failed.
            return Turn::CutOff { is_new, tasks: at_lease_end(&self.present) };
        }
        let (Some(mirror), Some(held)) = (&self.mirror, self.held) else { return Turn::Wait };
        if mirror.revision() < held.registered && !is_planted(Planted::F21) {
            return Turn::Wait;
        }
        let cluster = mirror.cluster();
        if !cluster.machines.contains_key(&self.me) {
            return Turn::PutBack;
        }
        self.is_dirty = false;
        Turn::Pass(reconcile(cluster, &self.me, &self.present))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Because;
    use crate::model::testing::*;
    use crate::registry::{Key, Target};
    use crate::unit::UnitName;
    use bytes::Bytes;
    use seatrial_types::KeyValue;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn kv(key: &Key, value: impl Into<Bytes>) -> KeyValue {
        KeyValue { key: key.bytes(), value: value.into(), mod_revision: Revision(3), ..KeyValue::default() }
    }

    /// One unit, of one machine, as it was at a revision.
    fn mirror(target: &str, revision: i64) -> Mirror {
        let unit: UnitName = name("a.service");
        let file = r#"{"options":[{"section":"X-Fleet","name":"OnPartition","value":"stop"}]}"#;
        let target = serde_json::to_vec(&Target { machine: id(target) }).unwrap();
        let kvs = [
            kv(&Key::Machine(id("m1")), "{}"),
            kv(&Key::Unit(unit.clone()), file),
            kv(&Key::Desired(unit.clone()), r#"{"state":"launched"}"#),
            kv(&Key::Target(unit), target),
        ];
        Mirror::of(&kvs, Revision(revision))
    }

    fn held(until: u64, registered: i64) -> Held {
        Held { lease: LeaseId(7), until: seconds(until), registered: Revision(registered) }
    }

    #[test]
    fn nothing_is_begun_by_what_is_older_than_the_lease() {
        let mut duty = Duty::new(id("m1"), seconds(6), seconds(0));
        assert_eq!(duty.turn(seconds(1)), Turn::Wait, "nothing is known");
        duty.know(mirror("m1", 10));
        assert_eq!(duty.turn(seconds(1)), Turn::Wait, "it has no lease");
        assert!(duty.renewed(held(30, 11), seconds(1)));
        assert_eq!(duty.turn(seconds(1)), Turn::Wait, "what was decided before it came is not known");
        duty.know(mirror("m1", 11));
        assert!(matches!(duty.turn(seconds(1)), Turn::Pass(tasks) if !tasks.is_empty()));
        assert!(!duty.is_dirty());
    }

    #[test]
    fn what_must_not_run_twice_is_stopped_before_the_lease_ends_and_starts_again_with_a_renewal() {
        let mut duty = Duty::new(id("m1"), seconds(6), seconds(0));
        duty.know(mirror("m1", 11));
        duty.renewed(held(30, 11), seconds(0));
        let unit = &duty.cluster().units[&name("a.service")];
        let here = crate::agent::Present {
            hash: unit.hash,
            state: crate::model::JobState::Launched,
            on_partition: unit.requirements.on_partition,
        };
        duty.present.insert(name("a.service"), here.clone());
        assert_eq!(duty.turn(seconds(23)), Turn::Pass(Vec::new()));
        let tasks = vec![Task::Stop(name("a.service"), Because::LeaseLost)];
        assert_eq!(duty.turn(seconds(24)), Turn::CutOff { is_new: true, tasks: tasks.clone() });
        assert_eq!(duty.turn(seconds(25)), Turn::CutOff { is_new: false, tasks }, "a task may have failed");
        assert_eq!(duty.stop_at(), None);
        assert!(!duty.renewed(held(55, 11), seconds(25)), "it is registered still");
        assert!(duty.is_dirty() && !duty.is_cut_off());
        assert_eq!(duty.turn(seconds(25)), Turn::Pass(Vec::new()));
    }

    #[test]
    fn a_key_that_somebody_took_away_is_to_be_put_back() {
        let mut duty = Duty::new(id("m2"), seconds(6), seconds(0));
        duty.know(mirror("m1", 11));
        duty.renewed(held(30, 11), seconds(0));
        assert_eq!(duty.turn(seconds(1)), Turn::PutBack);
    }
}
