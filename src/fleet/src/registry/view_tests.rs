//! Both sides as values: passes are carried out on them until nothing is left to do.

use super::*;
use crate::model::testing::*;
use crate::model::{MachineInfo, UnitState};
use proptest::prelude::*;

/// Both sides, and what lies between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Both {
    cluster: Cluster,
    bases: BTreeMap<UnitName, Base>,
    view: View,
}

fn leader() -> LeaderRecord {
    LeaderRecord { machine: id("m1"), version: 1 }
}

const A: &str = "[Service]\nExecStart=/bin/a\n";
const B: &str = "[Service]\nExecStart=/bin/b\n";

impl Both {
    fn pass(&self) -> Pass {
        let Self { cluster, bases, view } = self;
        reconcile(&Sides { cluster, leader: &leader(), bases, view })
    }

    fn set_base(&mut self, name: UnitName, base: Base) {
        match base == Base::nothing() {
            true => self.bases.remove(&name),
            false => self.bases.insert(name, base),
        };
    }

    /// What the registry does with a write.
    fn write(&mut self, write: &Write) {
        match write {
            Write::PutUnit { name, file, desired } => {
                let old = self.cluster.units.remove(name);
                let desired = desired.or(old.map(|unit| unit.desired)).unwrap_or_default();
                let unit = Unit { desired, ..Unit::new(name, file.clone()) };
                self.cluster.units.insert(name.clone(), unit);
            }
            Write::SetDesired { name, desired } => {
                self.cluster.units.get_mut(name).unwrap().desired = *desired
            }
            Write::Destroy { name } => drop(self.cluster.units.remove(name)),
            Write::SetMetadata { .. } | Write::GiveUp { .. } => unreachable!("no order of an old client"),
        }
    }

    fn store(&mut self, pass: &Pass) {
        for Taken { name, write, base } in &pass.taken {
            self.write(write);
            self.set_base(name.clone(), base.clone());
        }
        for (name, base) in &pass.bases {
            self.set_base(name.clone(), base.clone());
        }
    }

    fn view_write(&mut self, write: &ViewWrite) {
        let index_of = |view: &View, path: &str| view.files.get(path).map(|seen| seen.index);
        match write {
            ViewWrite::Put { path, value, ttl_seconds, prev } => {
                assert_eq!(index_of(&self.view, path), *prev, "{path}");
                self.put(path, value, *ttl_seconds);
            }
            ViewWrite::Delete { path, prev } => {
                assert_eq!(index_of(&self.view, path), Some(*prev), "{path}");
                self.delete(path);
            }
            ViewWrite::DeleteEmpty { path } => assert!(self.view.empty.remove(path), "{path}"),
        }
    }

    fn put(&mut self, path: &str, value: &str, ttl_seconds: Option<u64>) {
        self.view.index += 1;
        let seen = Seen { value: value.to_owned(), index: self.view.index, ttl_seconds };
        self.view.files.insert(path.to_owned(), seen);
        for (at, _) in path.match_indices('/').skip(1) {
            self.view.empty.remove(&path[..at]);
        }
    }

    fn delete(&mut self, path: &str) {
        self.view.index += 1;
        self.view.files.remove(path);
        let (dir, _) = path.rsplit_once('/').unwrap();
        if !self.view.files.keys().any(|path| path.starts_with(&format!("{dir}/"))) {
            self.view.empty.insert(dir.to_owned());
        }
    }

    /// Passes until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..6 {
            let pass = self.pass();
            if pass == Pass::default() {
                return;
            }
            self.store(&pass);
            for write in &pass.writes {
                self.view_write(write);
            }
        }
        panic!("does not settle: {:#?}", self.pass());
    }

    /// What an old client's `submit` writes, in its order.
    fn submit(&mut self, unit: &str, text: &str) {
        let file = UnitFile::parse(text).unwrap();
        let mut other = Cluster::default();
        other.units.insert(name(unit), Unit::new(&name(unit), file));
        let nodes = v2::encode(&other, None);
        for part in ["unit/", "job/"] {
            for (path, node) in nodes.iter().filter(|(path, _)| path.starts_with(&format!("{PREFIX}/{part}")))
            {
                self.put(path, &node.value, None);
            }
        }
    }

    fn target_state(&mut self, unit: &str, state: &str) {
        self.put(&format!("{PREFIX}/job/{unit}/target-state"), state, None);
    }

    fn remove(&mut self, unit: &str) {
        let below = format!("{PREFIX}/job/{unit}/");
        let paths: Vec<String> =
            self.view.files.keys().filter(|path| path.starts_with(&below)).cloned().collect();
        for path in paths {
            self.delete(&path);
        }
        self.view.empty.remove(below.trim_end_matches('/'));
    }

    /// `a.service launched, …`: ours, after both sides have settled and say the same.
    fn agreed(&mut self) -> String {
        self.settle();
        let wanted = v2::encode(&self.cluster, Some(&leader()));
        for (path, node) in &wanted {
            assert_eq!(self.view.files.get(path).map(|seen| &seen.value), Some(&node.value), "{path}");
        }
        for path in self.view.files.keys().filter(|path| !wanted.contains_key(*path)) {
            assert!(path.contains("/unit/") || !is_left_over(path), "{path} is left over");
        }
        for (name, unit) in &self.cluster.units {
            assert_eq!(self.bases.get(name), Some(&Base::of([Some(ours(unit))])), "{name}");
        }
        let units = self.cluster.units.iter().map(|(name, unit)| {
            let run = unit.file.options().first().map(|option| option.value.as_str()).unwrap_or_default();
            format!("{name} {run} {}", unit.desired)
        });
        units.collect::<Vec<_>>().join(", ")
    }

    fn ours(&mut self, unit: &str, text: &str, desired: JobState) {
        self.write(&Write::PutUnit {
            name: name(unit),
            file: UnitFile::parse(text).unwrap(),
            desired: Some(desired),
        });
    }
}

/// A machine, and a unit that both sides know.
fn agreed() -> Both {
    let mut both = Both::default();
    both.cluster.machines.insert(id("m1"), machine_with("region=eu"));
    both.ours("a.service", A, JobState::Launched);
    assert_eq!(both.agreed(), "a.service /bin/a launched");
    both
}

#[test]
fn what_ours_say_is_written_the_files_first_and_the_sign_that_all_is_there_last() {
    let mut both = Both { cluster: agreed().cluster, ..Both::default() };
    let pass = both.pass();
    assert!(pass.taken.is_empty());
    assert_eq!(
        pass.bases[&name("a.service")].one_of.len(),
        2,
        "before the v2 keys: nothing, or what is written"
    );
    let paths: Vec<&str> = pass
        .writes
        .iter()
        .map(|write| match write {
            ViewWrite::Put { path, .. } => path.strip_prefix(PREFIX).unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    let hash = both.cluster.units[&name("a.service")].hash;
    assert_eq!(
        paths,
        [
            &format!("/unit/{hash}"),
            "/job/a.service/object",
            "/job/a.service/target-state",
            "/lease/engine-leader",
            "/machines/m1/object",
            "/engine/version"
        ]
    );
    assert_eq!(both.agreed(), "a.service /bin/a launched");
}

#[test]
fn what_an_old_client_orders_is_taken_over() {
    let mut both = agreed();
    both.submit("b.service", B);
    assert_eq!(both.agreed(), "a.service /bin/a launched, b.service /bin/b inactive");
    both.target_state("b.service", "launched");
    assert_eq!(both.agreed(), "a.service /bin/a launched, b.service /bin/b launched");
    // Another file under the same name: its client makes it inactive first.
    both.submit("a.service", B);
    assert_eq!(both.agreed(), "a.service /bin/b inactive, b.service /bin/b launched");
    both.target_state("a.service", "loaded");
    both.remove("b.service");
    assert_eq!(both.agreed(), "a.service /bin/b loaded");
}

#[test]
fn what_changes_in_ours_is_no_order_of_an_old_client() {
    let mut both = agreed();
    both.ours("a.service", B, JobState::Loaded);
    assert_eq!(both.agreed(), "a.service /bin/b loaded");
    both.ours("c.service", A, JobState::Inactive);
    both.write(&Write::Destroy { name: name("a.service") });
    assert_eq!(both.agreed(), "c.service /bin/a inactive");
    assert!(both.view.empty.is_empty(), "no directory is left behind");
}

#[test]
fn a_leader_that_died_between_its_writes_has_ordered_nothing() {
    // At every place of a pass that carries a change of ours over.
    let mut changed = agreed();
    changed.ours("a.service", B, JobState::Loaded);
    changed.ours("b.service", A, JobState::Launched);
    let pass = changed.pass();
    for done in 0..=pass.writes.len() {
        let mut both = changed.clone();
        both.store(&pass);
        for write in &pass.writes[..done] {
            both.view_write(write);
        }
        // The next one looks at a cluster that has changed again.
        both.ours("a.service", A, JobState::Inactive);
        both.write(&Write::Destroy { name: name("b.service") });
        assert_eq!(both.agreed(), "a.service /bin/a inactive", "after {done} writes");
    }
}

#[test]
fn a_view_that_was_lost_takes_no_unit_away() {
    let mut both = agreed();
    both.view = View::default();
    assert_eq!(both.agreed(), "a.service /bin/a launched");
    // Near miss: the sign is there, so somebody has removed the unit.
    both.remove("a.service");
    assert_eq!(both.agreed(), "");
}

#[test]
fn a_unit_that_was_changed_here_is_not_taken_away_there() {
    let mut both = agreed();
    both.remove("a.service");
    both.ours("a.service", B, JobState::Launched);
    assert_eq!(both.agreed(), "a.service /bin/b launched");
}

#[test]
fn of_two_orders_at_once_the_old_clients_counts() {
    let mut both = agreed();
    both.target_state("a.service", "loaded");
    both.ours("a.service", A, JobState::Inactive);
    assert_eq!(both.agreed(), "a.service /bin/a loaded");
}

#[test]
fn what_cannot_be_read_is_put_right_where_it_is_ours_and_left_alone_where_it_is_not() {
    let mut both = agreed();
    // This poisoned a unit in the original.
    both.target_state("a.service", "nonsense");
    // A client in the middle of its writes: the file is still to come.
    let object = both.view.files[&path("job/a.service/object")].value.replace("a.service", "b.service");
    both.put(&path("job/b.service/object"), &object.replace('[', "[1"), None);
    both.settle();
    assert_eq!(value(&both.view, "job/a.service/target-state"), Some("launched"));
    assert!(value(&both.view, "job/b.service/object").is_some());
    assert_eq!(both.cluster.units.len(), 1);
    // And nothing that has no name of a unit is touched.
    both.put(&path("job/web/object"), "{}", None);
    assert_eq!(both.pass(), Pass::default());
}

#[test]
fn a_template_is_made_inactive_again() {
    let mut both = agreed();
    both.submit("t@.service", A);
    both.target_state("t@.service", "launched");
    assert_eq!(both.agreed(), "a.service /bin/a launched, t@.service /bin/a inactive");
}

#[test]
fn times_are_renewed_when_half_of_them_is_over() {
    let mut both = agreed();
    let object = path("machines/m1/object");
    let left = |both: &mut Both, ttl| both.view.files.get_mut(&object).unwrap().ttl_seconds = ttl;
    left(&mut both, Some(TTL_SECONDS / 2));
    assert_eq!(both.pass(), Pass::default());
    left(&mut both, Some(TTL_SECONDS / 2 - 1));
    let pass = both.pass();
    let [ViewWrite::Put { path, ttl_seconds, .. }] = pass.writes.as_slice() else { panic!("{pass:?}") };
    assert_eq!((path, ttl_seconds), (&object, &Some(TTL_SECONDS)));
    // A machine that is gone goes at once.
    both.cluster.machines.clear();
    both.settle();
    assert!(!both.view.files.contains_key(&object));
}

#[test]
fn a_base_is_read_back() {
    let base = Base::of([None, Some(Order { hash: "aa".into(), desired: JobState::Launched })]);
    let text = serde_json::to_string(&base).unwrap();
    assert_eq!(text, "{\"oneOf\":[null,{\"hash\":\"aa\",\"desired\":\"launched\"}]}");
    assert_eq!(serde_json::from_str::<Base>(&text).unwrap(), base);
}

#[derive(Clone, Debug)]
enum Step {
    Ours(usize, bool, JobState),
    Destroy(usize),
    Submit(usize, bool),
    Target(usize, &'static str),
    Remove(usize),
    Machine(bool),
    Runs(usize, bool),
    /// A pass of which only so many writes happen.
    Half(usize),
    Settle,
}

const NAMES: [&str; 3] = ["a.service", "b@.service", "c.service"];

fn step() -> impl Strategy<Value = Step> {
    let unit = 0..NAMES.len();
    let state = prop::sample::select(vec![JobState::Inactive, JobState::Loaded, JobState::Launched]);
    let word = prop::sample::select(vec!["inactive", "loaded", "launched", "nonsense"]);
    prop_oneof![
        (unit.clone(), any::<bool>(), state).prop_map(|(at, file, state)| Step::Ours(at, file, state)),
        unit.clone().prop_map(Step::Destroy),
        (unit.clone(), any::<bool>()).prop_map(|(at, file)| Step::Submit(at, file)),
        (unit.clone(), word).prop_map(|(at, word)| Step::Target(at, word)),
        unit.clone().prop_map(Step::Remove),
        any::<bool>().prop_map(Step::Machine),
        (unit, any::<bool>()).prop_map(|(at, up)| Step::Runs(at, up)),
        (0..12_usize).prop_map(Step::Half),
        Just(Step::Settle),
    ]
}

impl Both {
    fn play(&mut self, step: &Step) {
        let text = |first: &bool| if *first { A } else { B };
        match step {
            Step::Ours(at, first, state) => {
                let state = if NAMES[*at].contains("@.") { JobState::Inactive } else { *state };
                self.ours(NAMES[*at], text(first), state);
            }
            Step::Destroy(at) => self.write(&Write::Destroy { name: name(NAMES[*at]) }),
            Step::Submit(at, first) => self.submit(NAMES[*at], text(first)),
            Step::Target(at, word) => self.target_state(NAMES[*at], word),
            Step::Remove(at) => self.remove(NAMES[*at]),
            Step::Machine(true) => {
                self.cluster.machines.insert(id("m1"), Default::default());
            }
            Step::Machine(false) => self.cluster.machines.clear(),
            Step::Runs(at, up) => {
                let key = (name(NAMES[*at]), id("m1"));
                match up {
                    true => drop(self.cluster.states.insert(key, UnitState::default())),
                    false => drop(self.cluster.states.remove(&key)),
                }
            }
            Step::Half(done) => {
                let pass = self.pass();
                self.store(&pass);
                for write in pass.writes.iter().take(*done) {
                    self.view_write(write);
                }
            }
            Step::Settle => drop(self.agreed()),
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_both_sides_come_to_agree(steps in prop::collection::vec(step(), 0..24)) {
        let mut both = Both::default();
        for step in &steps {
            both.play(step);
        }
        both.agreed();
    }

    #[test]
    fn an_old_clients_last_order_is_carried_out(steps in prop::collection::vec(step(), 0..12), first in any::<bool>()) {
        let mut both = agreed();
        for step in &steps {
            both.play(step);
        }
        both.agreed();
        both.submit("z.service", if first { A } else { B });
        both.target_state("z.service", "launched");
        prop_assert!(both.agreed().contains("z.service"));
        prop_assert_eq!(both.cluster.units[&name("z.service")].desired, JobState::Launched);
        both.remove("z.service");
        prop_assert!(!both.agreed().contains("z.service"));
    }
}

#[test]
fn machines_are_shown_with_what_was_set_from_outside() {
    let mut both = agreed();
    let machine = both.cluster.machines.get_mut(&id("m1")).unwrap();
    machine.info = MachineInfo { ip: "10.0.0.1".into(), ..MachineInfo::default() };
    machine.overlay.insert("disk".into(), "ssd".into());
    both.settle();
    assert_eq!(value(&both.view, "machines/m1/metadata/disk"), Some("ssd"));
    assert!(value(&both.view, "machines/m1/object").unwrap().contains("\"PublicIP\":\"10.0.0.1\""));
}
