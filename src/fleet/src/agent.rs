//! What the agent of one machine has to do, as a function.

use crate::model::{Cluster, JobState};
use crate::unit::{MachineId, OnPartition, UnitFile, UnitHash, UnitName};
use seatrial_types::planted::{Planted, is_planted};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// A unit as it is on the machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Present {
    /// Of the file that is loaded.
    pub hash: UnitHash,
    /// [`JobState::Loaded`], or [`JobState::Launched`] once it was started. That a started unit has come to its end or has
    /// failed changes nothing: to start it again is systemd's business.
    pub state: JobState,
    /// Remembered from its file, for the time when the store cannot be asked.
    pub on_partition: OnPartition,
}

/// What is there, by name.
pub type PresentUnits = BTreeMap<UnitName, Present>;

/// One thing to do. Tasks compare in the order in which they are done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// Stop it, if it runs, and take its file away.
    Unload(UnitName, Because),
    /// Write its file.
    Load(UnitName, Because),
    /// Have the files read anew.
    ReloadUnitFiles,
    /// Stop it; its file stays.
    Stop(UnitName, Because),
    /// Start it.
    Start(UnitName, Because),
}

/// Why a task is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Because {
    /// It is here and should not be.
    NotScheduledHere,
    /// It should be here and is not.
    ScheduledHere,
    /// Its file has changed.
    FileDiffers,
    /// It is loaded and meant to be launched.
    MeantToBeLaunched,
    /// It is launched and meant to be loaded.
    MeantToBeLoaded,
    /// The machine's lease is ending, and the unit must never run twice.
    LeaseLost,
}

impl Task {
    /// The unit it is about.
    #[must_use]
    pub fn unit(&self) -> Option<&UnitName> {
        match self {
            Self::Unload(unit, _) | Self::Load(unit, _) | Self::Stop(unit, _) | Self::Start(unit, _) => {
                Some(unit)
            }
            Self::ReloadUnitFiles => None,
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, unit, because) = match self {
            Self::Unload(unit, because) => ("unload", unit, because),
            Self::Load(unit, because) => ("load", unit, because),
            Self::ReloadUnitFiles => return f.write_str("reload unit files"),
            Self::Stop(unit, because) => ("stop", unit, because),
            Self::Start(unit, because) => ("start", unit, because),
        };
        let because = match because {
            Because::NotScheduledHere => "it is not scheduled here",
            Because::ScheduledHere => "it is scheduled here",
            Because::FileDiffers => "its file has changed",
            Because::MeantToBeLaunched => "it is meant to be launched",
            Because::MeantToBeLoaded => "it is meant to be loaded",
            Because::LeaseLost => "the machine's lease is ending",
        };
        write!(f, "{verb} {unit}: {because}")
    }
}

/// What is to be done so that the machine has what the cluster wants it to have, in order: files away, files there, files
/// read, units stopped, units started; within each by name.
///
/// `cluster` must be whole, as of one revision: what is missing in it is taken off the machine. An agent that cannot ask
/// the store does not call this; it lets everything run as it is, but for [`at_lease_end`].
#[must_use]
pub fn reconcile(cluster: &Cluster, me: &MachineId, present: &PresentUnits) -> Vec<Task> {
    let wanted = cluster.wanted_on(me);
    let mut tasks = BTreeSet::new();
    let stays = |name: &UnitName| {
        is_planted(Planted::F18) && cluster.units.get(name).is_some_and(crate::model::Unit::is_global)
    };
    for name in present.keys().filter(|name| !wanted.contains_key(*name) && !stays(name)) {
        tasks.insert(Task::Unload(name.clone(), Because::NotScheduledHere));
    }
    for (name, unit) in wanted {
        let load = |because| Task::Load(name.clone(), because);
        let start = || Task::Start(name.clone(), Because::MeantToBeLaunched);
        let is_launch = unit.desired == JobState::Launched;
        match present.get(name) {
            Some(here) if here.hash != unit.hash => {
                tasks.insert(Task::Unload(name.clone(), Because::FileDiffers));
                tasks.insert(load(Because::FileDiffers));
                tasks.extend(is_launch.then(start));
            }
            Some(here) => match (here.state, unit.desired) {
                (JobState::Launched, JobState::Loaded) => {
                    tasks.insert(Task::Stop(name.clone(), Because::MeantToBeLoaded));
                }
                (JobState::Loaded, JobState::Launched) => {
                    tasks.insert(start());
                }
                _ => {}
            },
            None => {
                tasks.insert(load(Because::ScheduledHere));
                tasks.extend(is_launch.then(start));
            }
        }
    }
    if tasks.iter().any(|task| matches!(task, Task::Unload(..) | Task::Load(..))) {
        tasks.insert(Task::ReloadUnitFiles);
    }
    tasks.into_iter().collect()
}

/// What is to be done before the machine's own lease ends: units with `OnPartition=stop` are stopped, so that none runs
/// here once another machine may have it. All others run on.
#[must_use]
pub fn at_lease_end(present: &PresentUnits) -> Vec<Task> {
    if is_planted(Planted::F14) {
        return present.keys().map(|name| Task::Unload(name.clone(), Because::LeaseLost)).collect();
    }
    let must_stop =
        |here: &Present| here.state == JobState::Launched && here.on_partition == OnPartition::Stop;
    let stopped = present.iter().filter(|(_, here)| must_stop(here));
    stopped.map(|(name, _)| Task::Stop(name.clone(), Because::LeaseLost)).collect()
}

/// A list of tasks on its way: what failed keeps back the rest of the same unit and of nobody else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Run {
    failed: BTreeSet<UnitName>,
    loaded: BTreeSet<UnitName>,
}

impl Run {
    /// Whether the task may be done after what has happened so far.
    #[must_use]
    pub fn may(&self, task: &Task) -> bool {
        task.unit().is_none_or(|unit| !self.failed.contains(unit))
    }

    /// Takes down what became of a task, in `present` too.
    pub fn done(&mut self, task: &Task, is_done: bool, cluster: &Cluster, present: &mut PresentUnits) {
        if !is_done {
            match task.unit() {
                Some(unit) => {
                    self.failed.insert(unit.clone());
                }
                // Files that were not read anew must not be started from: that would start what they said before.
                None => {
                    for unit in std::mem::take(&mut self.loaded) {
                        present.remove(&unit);
                        self.failed.insert(unit);
                    }
                }
            }
            return;
        }
        match task {
            Task::Unload(unit, _) => {
                present.remove(unit);
            }
            Task::Load(unit, _) => {
                if let Some(known) = cluster.units.get(unit) {
                    let (hash, on_partition) = (known.hash, known.requirements.on_partition);
                    present.insert(unit.clone(), Present { hash, state: JobState::Loaded, on_partition });
                    self.loaded.insert(unit.clone());
                }
            }
            Task::ReloadUnitFiles => {}
            Task::Stop(unit, _) | Task::Start(unit, _) => {
                if let Some(here) = present.get_mut(unit) {
                    let is_start = matches!(task, Task::Start(..));
                    here.state = if is_start { JobState::Launched } else { JobState::Loaded };
                }
            }
        }
    }
}

/// The file that a task writes.
#[must_use]
pub fn file_of(cluster: &Cluster, unit: &UnitName) -> Option<Arc<UnitFile>> {
    cluster.units.get(unit).map(|unit| Arc::clone(&unit.file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::*;
    use proptest::prelude::*;

    fn here(cluster: &Cluster, unit: &str, state: JobState) -> (UnitName, Present) {
        let known = &cluster.units[&name(unit)];
        (name(unit), Present { hash: known.hash, state, on_partition: known.requirements.on_partition })
    }

    fn told(tasks: &[Task]) -> Vec<String> {
        tasks.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn tasks_come_in_the_order_in_which_they_are_safe() {
        let cluster = cluster(&[("m1", ""), ("m2", "")])
            .with("changed.service", "m1", "Conflicts=x")
            .with("elsewhere.service", "m2", "")
            .with("fine.service", "m1", "")
            .with("loaded.service", "m1", "")
            .with("new.service", "m1", "")
            .with("quiet.service", "m1", "");
        let mut cluster = cluster;
        cluster.units.get_mut(&name("quiet.service")).unwrap().desired = JobState::Loaded;
        let mut present: PresentUnits = [
            here(&cluster, "changed.service", JobState::Launched),
            here(&cluster, "elsewhere.service", JobState::Launched),
            here(&cluster, "fine.service", JobState::Launched),
            here(&cluster, "loaded.service", JobState::Loaded),
            here(&cluster, "quiet.service", JobState::Launched),
        ]
        .into();
        present.get_mut(&name("changed.service")).unwrap().hash = UnitHash::default();
        assert_eq!(
            told(&reconcile(&cluster, &id("m1"), &present)),
            [
                "unload changed.service: its file has changed",
                "unload elsewhere.service: it is not scheduled here",
                "load changed.service: its file has changed",
                "load new.service: it is scheduled here",
                "reload unit files",
                "stop quiet.service: it is meant to be loaded",
                "start changed.service: it is meant to be launched",
                "start loaded.service: it is meant to be launched",
                "start new.service: it is meant to be launched",
            ]
        );
    }

    #[test]
    fn files_are_not_read_anew_for_units_that_only_start_or_stop() {
        let cluster = cluster(&[("m1", "")]).with("a.service", "m1", "");
        let present = [here(&cluster, "a.service", JobState::Loaded)].into();
        let tasks = reconcile(&cluster, &id("m1"), &present);
        assert_eq!(told(&tasks), ["start a.service: it is meant to be launched"]);
    }

    #[test]
    fn global_units_run_where_metadata_fits_and_nothing_is_in_conflict() {
        let cluster = cluster(&[("m1", "region=eu"), ("m2", "region=us")])
            .with("b.service", "m1", "")
            .with("g.service", "", "Global=true\nConflicts=b.*")
            .with("h.service", "", "Global=true\nMachineMetadata=region=eu");
        let on = |machine| told(&reconcile(&cluster, &id(machine), &PresentUnits::new())).join(" ");
        assert!(on("m1").contains("load h.service") && !on("m1").contains("g.service"));
        assert!(on("m2").contains("load g.service") && !on("m2").contains("h.service"));
    }

    #[test]
    fn at_the_end_of_the_lease_only_those_stop_that_must_not_run_twice() {
        let cluster = cluster(&[("m1", "")])
            .with("keep.service", "m1", "OnPartition=keep")
            .with("plain.service", "m1", "")
            .with("single.service", "m1", "OnPartition=stop")
            .with("still.service", "m1", "OnPartition=stop");
        let mut present: PresentUnits = ["keep.service", "plain.service", "single.service"]
            .map(|unit| here(&cluster, unit, JobState::Launched))
            .into();
        present.extend([here(&cluster, "still.service", JobState::Loaded)]);
        assert_eq!(told(&at_lease_end(&present)), ["stop single.service: the machine's lease is ending"]);
    }

    #[test]
    fn a_task_that_fails_keeps_back_the_rest_of_its_unit_and_of_nobody_else() {
        let cluster = cluster(&[("m1", "")]).with("a.service", "m1", "").with("b.service", "m1", "");
        let mut present = PresentUnits::new();
        let mut run = Run::default();
        let mut done = Vec::new();
        for task in reconcile(&cluster, &id("m1"), &PresentUnits::new()) {
            if !run.may(&task) {
                continue;
            }
            let is_done = !matches!(&task, Task::Load(unit, _) if unit.as_str() == "a.service");
            run.done(&task, is_done, &cluster, &mut present);
            done.push(task);
        }
        assert!(!told(&done).iter().any(|task| task.starts_with("start a.service")));
        assert_eq!(present.keys().map(ToString::to_string).collect::<Vec<_>>(), ["b.service"]);
        assert_eq!(present[&name("b.service")].state, JobState::Launched);
    }

    #[test]
    fn nothing_is_started_from_files_that_were_not_read_anew() {
        let cluster = cluster(&[("m1", "")]).with("a.service", "m1", "").with("b.service", "m1", "");
        let mut present: PresentUnits = [here(&cluster, "b.service", JobState::Loaded)].into();
        let mut run = Run::default();
        for task in reconcile(&cluster, &id("m1"), &present.clone()) {
            if run.may(&task) {
                run.done(&task, task != Task::ReloadUnitFiles, &cluster, &mut present);
            }
        }
        // It is loaded again in the next pass.
        assert!(!present.contains_key(&name("a.service")));
        assert_eq!(present[&name("b.service")].state, JobState::Launched);
    }

    proptest! {
        #[test]
        fn done_to_the_end_nothing_is_left_to_do(
            units in prop::collection::btree_map("[a-d]", ("(m[12])?", 0_usize..3, 0_usize..3, any::<bool>()), 0..5)
        ) {
            let states = [JobState::Inactive, JobState::Loaded, JobState::Launched];
            let mut cluster = cluster(&[("m1", ""), ("m2", "")]);
            let mut present = PresentUnits::new();
            for (unit, (target, desired, state, is_old)) in units {
                let unit = format!("{unit}.service");
                cluster = cluster.with(&unit, &target, "");
                cluster.units.get_mut(&name(&unit)).unwrap().desired = states[desired];
                if state > 0 {
                    let (unit, mut here) = here(&cluster, &unit, states[state]);
                    here.hash = if is_old { UnitHash::default() } else { here.hash };
                    present.insert(unit, here);
                }
            }
            let mut run = Run::default();
            for task in reconcile(&cluster, &id("m1"), &present.clone()) {
                prop_assert!(run.may(&task));
                run.done(&task, true, &cluster, &mut present);
            }
            prop_assert_eq!(reconcile(&cluster, &id("m1"), &present), vec![]);
            let wanted = cluster.wanted_on(&id("m1"));
            prop_assert_eq!(present.keys().collect::<Vec<_>>(), wanted.keys().copied().collect::<Vec<_>>());
            for (unit, here) in &present {
                prop_assert_eq!(here.state, wanted[unit].desired);
            }
        }
    }
}
