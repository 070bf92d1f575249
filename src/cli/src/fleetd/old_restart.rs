//! What the `restart` of the original's fleetctl needs. It lowers a unit to `loaded`, looks a quarter of a second later
//! whether the unit is *launched*, and only then orders it to be launched again. The original's agents slept for a second
//! after every change and were never faster than that look; ours are, and the client would wait for ever over a unit that
//! it has stopped.
//!
//! So the first look of such a client after its order waits until the order is carried out, and shows the unit as it was
//! before. Its `stop` looks once more than it had to.

use seatrial_fleet::model::{Cluster, JobState};
use seatrial_fleet::registry::Write;
use seatrial_fleet::unit::UnitName;
use std::collections::BTreeMap;
use std::time::Duration;

/// So long an order is remembered; the client looks four times a second.
const MEMORY: Duration = Duration::from_secs(2);

/// How the client that Google's generator made names itself.
const AGENT: &str = "google-api-go-client/";

/// Whether a request comes from a client that was generated from the interface's description, as the original's is.
pub(super) fn is_generated(user_agent: &str) -> bool {
    user_agent.starts_with(AGENT)
}

/// Units that such clients have lowered from launched to loaded and not looked at since, with when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Lowered {
    units: BTreeMap<UnitName, Duration>,
}

impl Lowered {
    /// Hears an order; `cluster` is what there was before it.
    pub(super) fn order(&mut self, write: &Write, cluster: &Cluster, now: Duration) {
        self.units.retain(|_, at| now.saturating_sub(*at) < MEMORY);
        match write {
            Write::SetDesired { name, desired: JobState::Loaded }
                if cluster.current_state(name) == Some(JobState::Launched) =>
            {
                self.units.insert(name.clone(), now);
            }
            Write::SetDesired { name, .. } | Write::PutUnit { name, .. } | Write::Destroy { name } => {
                self.units.remove(name);
            }
            Write::SetMetadata { .. } | Write::GiveUp { .. } => {}
        }
    }

    /// The unit that a look is about, where this is the first one after it was lowered.
    pub(super) fn first_look(&mut self, unit: &str, now: Duration) -> Option<UnitName> {
        let (name, at) = self.units.remove_entry(unit)?;
        (now.saturating_sub(at) < MEMORY).then_some(name)
    }
}

/// The cluster as it was before the unit was lowered; where the unit has left its machine since, as it is.
pub(super) fn as_before(cluster: &Cluster, name: &UnitName) -> Cluster {
    let mut cluster = cluster.clone();
    let target = cluster.units.get(name).and_then(|unit| unit.target.clone());
    if let Some(state) = target.and_then(|target| cluster.states.get_mut(&(name.clone(), target))) {
        state.is_launched = true;
    }
    cluster
}

#[cfg(test)]
mod tests {
    use super::*;
    use seatrial_fleet::model::{Unit, UnitState};
    use seatrial_fleet::unit::{MachineId, UnitFile};

    fn name() -> UnitName {
        UnitName::parse("a.service").unwrap()
    }

    fn cluster(is_launched: bool) -> Cluster {
        let machine = MachineId::parse("m1").unwrap();
        let unit = Unit { target: Some(machine.clone()), ..Unit::new(&name(), UnitFile::default()) };
        let state = UnitState { is_launched, ..UnitState::default() };
        Cluster {
            units: [(name(), unit)].into(),
            states: [((name(), machine), state)].into(),
            ..Cluster::default()
        }
    }

    fn set(desired: JobState) -> Write {
        Write::SetDesired { name: name(), desired }
    }

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn the_first_look_after_a_unit_was_lowered_shows_it_as_it_was_and_the_next_one_as_it_is() {
        let mut lowered = Lowered::default();
        lowered.order(&set(JobState::Loaded), &cluster(true), NOW);
        assert_eq!(lowered.first_look("b.service", NOW), None);
        assert_eq!(lowered.first_look("a.service", NOW), Some(name()));
        assert_eq!(lowered.first_look("a.service", NOW), None);
        let before = as_before(&cluster(false), &name());
        assert_eq!(before.current_state(&name()), Some(JobState::Launched));
    }

    #[test]
    fn what_was_not_launched_was_raised_again_or_was_long_ago_is_shown_as_it_is() {
        let mut lowered = Lowered::default();
        lowered.order(&set(JobState::Loaded), &cluster(false), NOW);
        assert_eq!(lowered.first_look("a.service", NOW), None);
        lowered.order(&set(JobState::Loaded), &cluster(true), NOW);
        lowered.order(&set(JobState::Launched), &cluster(true), NOW);
        assert_eq!(lowered.first_look("a.service", NOW), None);
        lowered.order(&set(JobState::Inactive), &cluster(true), NOW);
        assert_eq!(lowered.first_look("a.service", NOW), None);
        lowered.order(&set(JobState::Loaded), &cluster(true), NOW);
        assert_eq!(lowered.first_look("a.service", NOW + MEMORY), None);
    }

    #[test]
    fn only_generated_clients_are_helped() {
        assert!(is_generated("google-api-go-client/0.5"));
        assert!(!is_generated("curl/8.0") && !is_generated(""));
    }
}
