//! Breadth-first through all states of a small world.

use seatrial_reboot::{Done, Entry, Found, KeysError, Operation, RebootError, Semaphore, Step, Wall};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

/// More than any of the worlds has: one that has them has no end.
const STATES_MAX: usize = 2_000_000;

/// A world that can be walked through.
pub(crate) trait Model: Clone + Hash + Debug {
    /// What may happen next: a name, whether it is a fault, and the state after it. Panics where a property is broken.
    fn next(&self) -> Vec<(String, bool, Self)>;

    /// Everybody got through.
    fn is_done(&self) -> bool;
}

/// Walks through all of it and gives the number of states. From each there must be a way without faults to one in which
/// all is done.
///
/// States are told apart by 64 bits of hash: among a million of them, two of the same hash are one in ten million walks.
pub(crate) fn walk<M: Model>(first: M) -> usize {
    let mut numbers: BTreeMap<u64, usize> = BTreeMap::new();
    let mut parents: Vec<(usize, String)> = vec![(0, "the beginning".to_owned())];
    let mut backwards: Vec<Vec<usize>> = vec![Vec::new()];
    let mut done: Vec<usize> = Vec::new();
    let mut queue = VecDeque::new();
    numbers.insert(hash(&first), 0);
    queue.push_back((0, first));
    while let Some((number, state)) = queue.pop_front() {
        assert!(
            numbers.len() < STATES_MAX,
            "no end of states; the last one is\n{}{state:#?}",
            way(&parents, number)
        );
        if state.is_done() {
            done.push(number);
        }
        let steps = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| state.next()));
        let steps = steps.unwrap_or_else(|broken| {
            eprintln!("{}{state:#?}", way(&parents, number));
            std::panic::resume_unwind(broken)
        });
        for (name, fault, after) in steps {
            let new = numbers.len();
            let to = *numbers.entry(hash(&after)).or_insert(new);
            if to == new {
                parents.push((number, name));
                backwards.push(Vec::new());
                queue.push_back((to, after));
            }
            if !fault {
                backwards[to].push(number);
            }
        }
    }
    let mut reached = vec![false; parents.len()];
    while let Some(number) = done.pop() {
        if !std::mem::replace(&mut reached[number], true) {
            done.extend(&backwards[number]);
        }
    }
    if let Some(stuck) = reached.iter().position(|reached| !reached) {
        panic!("somebody waits for ever after:\n{}", way(&parents, stuck));
    }
    parents.len()
}

fn way(parents: &[(usize, String)], mut number: usize) -> String {
    let mut names = Vec::new();
    while number != 0 {
        names.push(parents[number].1.clone());
        number = parents[number].0;
    }
    names.iter().rev().fold(String::new(), |text, name| text + "  " + name + "\n")
}

fn hash<M: Hash>(state: &M) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// Carries out one step of an operation; gives its end.
pub(crate) fn carry_out(
    operation: &mut Operation,
    table: &mut Table,
    now: Wall,
) -> Option<Result<Done, RebootError>> {
    match operation.step() {
        Step::Get(key) => operation.got(table.get(&key)),
        Step::Create(key, value) => operation.wrote(table.create(&key, &value)),
        Step::Swap(key, value, index) => operation.wrote(table.compare_and_swap(&key, &value, index)),
        Step::List(directory) => operation.listed(Ok(table.list(&directory))),
        Step::Rest => operation.rested(now),
        Step::Done(_) => {}
    }
    match operation.step() {
        Step::Done(result) => Some(result),
        _ => None,
    }
}

/// The semaphore in a key, by nothing but its JSON: K2, and that nobody holds twice. Nobody holds where there is none.
pub(crate) fn semaphore(table: &Table, key: &str) -> (i64, Vec<String>) {
    let Ok(found) = table.get(key) else { return (1, Vec::new()) };
    let json: serde_json::Value = serde_json::from_str(&found.value).expect("JSON");
    let number = |name: &str| json[name].as_i64().expect("a number");
    let holders: Vec<String> = match &json["holders"] {
        serde_json::Value::Null => Vec::new(),
        holders => serde_json::from_value(holders.clone()).expect("a list of holders"),
    };
    let held = i64::try_from(holders.len()).unwrap();
    assert_eq!(number("semaphore") + held, number("max"), "K2 in {}", found.value);
    assert!(holders.is_sorted_by(|a, b| a < b), "K1: each holder once, in order, in {}", found.value);
    Semaphore::parse(&found.value).expect("ours reads it").check();
    (number("max"), holders)
}

/// K1 and K3, from one state of a semaphore to the next: who comes in finds a slot, and nobody is put out but by itself or
/// by an operator (`None`).
pub(crate) fn check_change(before: &(i64, Vec<String>), after: &(i64, Vec<String>), actor: Option<&str>) {
    if let Some(new) = after.1.iter().find(|id| !before.1.contains(id)) {
        let held = i64::try_from(after.1.len()).unwrap();
        assert!(held <= after.0, "K1: {new} came in as holder {held} of {}", after.0);
        assert!(actor.is_none_or(|actor| actor == new), "{new} came in by {actor:?}");
    }
    if let (Some(gone), Some(actor)) = (before.1.iter().find(|id| !after.1.contains(id)), actor) {
        assert_eq!(gone, actor, "K3: freed by somebody else");
    }
}

/// The keys. Each has an index of its own: an operation compares none but those of one key, and one counter for all would tell
/// states apart that are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Table(BTreeMap<String, (String, u64)>);

impl Table {
    pub(crate) fn get(&self, key: &str) -> Result<Found, KeysError> {
        let missing = || KeysError::NotFound { key: key.to_owned(), index: 0 };
        self.0
            .get(key)
            .map(|(value, index)| Found { value: value.clone(), index: *index })
            .ok_or_else(missing)
    }

    pub(crate) fn create(&mut self, key: &str, value: &str) -> Result<u64, KeysError> {
        if self.0.contains_key(key) {
            return Err(KeysError::Exists { key: key.to_owned(), index: 0 });
        }
        self.0.insert(key.to_owned(), (value.to_owned(), 1));
        Ok(1)
    }

    pub(crate) fn compare_and_swap(&mut self, key: &str, value: &str, wanted: u64) -> Result<u64, KeysError> {
        let found = self.get(key)?.index;
        if found != wanted {
            return Err(KeysError::CompareFailed { wanted, found, index: 0 });
        }
        self.0.insert(key.to_owned(), (value.to_owned(), found + 1));
        Ok(found + 1)
    }

    fn list(&self, directory: &str) -> Vec<Entry> {
        let below =
            self.0.keys().filter_map(|key| key.strip_prefix(directory)?.strip_prefix('/')?.split_once('/'));
        let names: BTreeSet<&str> = below.map(|(name, _)| name).collect();
        names.into_iter().map(|name| Entry { key: format!("{directory}/{name}"), dir: true }).collect()
    }
}
