//! The reboot locks of a run, change by change, as members applied them: read with eyes of our own, not with the product's.

use crate::machines::SemaphoreChange;
use crate::record::RunLog;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Locksmith's value, with the count as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Value {
    pub(super) semaphore: i64,
    pub(super) max: i64,
    #[serde(default)]
    pub(super) holders: Option<Vec<String>>,
}

impl Value {
    pub(super) fn holders(&self) -> &[String] {
        self.holders.as_deref().unwrap_or_default()
    }

    pub(super) fn holds(&self, id: &str) -> bool {
        self.holders().iter().any(|holder| holder == id)
    }
}

/// What we look at of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Book {
    #[serde(default)]
    pub(super) holders: BTreeMap<String, Entry>,
    #[serde(default)]
    pub(super) queue: Vec<Waiter>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Entry {
    #[serde(default)]
    pub(super) reserved: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Waiter {
    pub(super) id: String,
    #[serde(default)]
    pub(super) aside: bool,
}

/// What is there after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Semaphore(Value),
    Book(Book),
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) at: Duration,
    pub(super) index: u64,
    pub(super) group: String,
    pub(super) what: What,
}

/// The locks' whole history, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Story {
    pub(super) changes: Vec<Change>,
}

/// Why there is no story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoStory {
    /// Something must never be: the sentence, and when.
    Wrong(String, Duration),
    /// A change is missing.
    Gap(String),
}

fn named(group: &str) -> &str {
    if group.is_empty() { "the default group" } else { group }
}

/// Reads what members told.
pub(super) fn story(log: &RunLog) -> Result<Story, NoStory> {
    let mut story = Story::default();
    let mut newest: BTreeMap<(&str, bool), u64> = BTreeMap::new();
    let mut last_index = 0;
    for SemaphoreChange { at, index, before, group, ledger, value } in &log.semaphores {
        let key = format!("the {} of {}", if *ledger { "ledger" } else { "semaphore" }, named(group));
        if *index == last_index {
            let sentence = format!("two members applied two different changes of {key} at index {index}");
            return Err(NoStory::Wrong(sentence, *at));
        }
        last_index = *index;
        let known = newest.insert((group, *ledger), *index);
        if known != *before {
            let before = before.map_or("nothing".to_owned(), |before| format!("index {before}"));
            return Err(NoStory::Gap(format!(
                "{key} was {before} before index {index}, which nobody told of"
            )));
        }
        let text = value.as_deref().unwrap_or_default();
        let unreadable = |error: serde_json::Error| {
            NoStory::Wrong(format!("{key} is {text:?} at index {index}: {error}"), *at)
        };
        let what = match ledger {
            true => What::Book(serde_json::from_str(text).map_err(unreadable)?),
            false => What::Semaphore(serde_json::from_str(text).map_err(unreadable)?),
        };
        story.changes.push(Change { at: *at, index: *index, group: group.clone(), what });
    }
    Ok(story)
}

/// A stretch in which somebody held a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) id: String,
    pub(super) group: String,
    /// The index at which it was taken, and when that was.
    pub(super) taken: (u64, Duration),
    /// And given back.
    pub(super) freed: Option<(u64, Duration)>,
}

impl Story {
    /// Semaphores only, each with the one before it.
    pub(super) fn semaphores(&self) -> impl Iterator<Item = (&Change, &Value, Value)> {
        let mut before: BTreeMap<&str, Value> = BTreeMap::new();
        self.changes.iter().filter_map(move |change| match &change.what {
            What::Semaphore(value) => {
                let old = before.insert(&change.group, value.clone()).unwrap_or_default();
                Some((change, value, old))
            }
            What::Book(_) => None,
        })
    }

    /// Who held when, in the order of the taking.
    pub(super) fn holds(&self) -> Vec<Hold> {
        let mut holds: Vec<Hold> = Vec::new();
        for (change, value, old) in self.semaphores() {
            let here = (change.index, change.at);
            for id in old.holders().iter().filter(|id| !value.holds(id)) {
                let open =
                    |hold: &&mut Hold| hold.id == *id && hold.group == change.group && hold.freed.is_none();
                holds.iter_mut().filter(open).for_each(|hold| hold.freed = Some(here));
            }
            for id in value.holders().iter().filter(|id| !old.holds(id)) {
                let (id, group) = (id.clone(), change.group.clone());
                holds.push(Hold { id, group, taken: here, freed: None });
            }
        }
        holds
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::oracles::testing::at;

    /// The semaphore of the default group becomes this at `ms`, with the index `index`; the one before had `before`.
    pub(in crate::oracles) fn semaphore(
        log: &mut RunLog,
        ms: u64,
        (before, index): (u64, u64),
        (free, max): (i64, i64),
        holders: &[&str],
    ) {
        let holders: Vec<String> = holders.iter().map(|holder| format!("{holder:?}")).collect();
        let value = format!("{{\"semaphore\":{free},\"max\":{max},\"holders\":[{}]}}", holders.join(","));
        change(log, ms, (before, index), "", false, value);
    }

    pub(in crate::oracles) fn change(
        log: &mut RunLog,
        ms: u64,
        (before, index): (u64, u64),
        group: &str,
        ledger: bool,
        value: String,
    ) {
        let before = (before > 0).then_some(before);
        let group = group.to_owned();
        log.semaphores.push(SemaphoreChange { at: at(ms), index, before, group, ledger, value: Some(value) });
    }
}

#[cfg(test)]
mod tests {
    use super::testing::semaphore;
    use super::*;
    use crate::oracles::testing::{at, quiet};

    #[test]
    fn a_hold_is_from_the_change_that_has_it_to_the_one_that_has_it_no_more() {
        let mut log = quiet();
        semaphore(&mut log, 100, (0, 1), (2, 2), &[]);
        semaphore(&mut log, 200, (1, 2), (1, 2), &["a"]);
        semaphore(&mut log, 300, (2, 5), (0, 2), &["a", "b"]);
        semaphore(&mut log, 400, (5, 6), (1, 2), &["b"]);
        let holds = story(&log).unwrap().holds();
        let told: Vec<_> = holds.iter().map(|hold| (hold.id.as_str(), hold.taken.0, hold.freed)).collect();
        assert_eq!(told, [("a", 2, Some((6, at(400)))), ("b", 5, None)]);
    }

    #[test]
    fn a_change_that_nobody_told_of_is_a_gap_and_two_of_one_index_are_wrong() {
        let mut log = quiet();
        semaphore(&mut log, 100, (0, 1), (1, 1), &[]);
        semaphore(&mut log, 200, (3, 4), (0, 1), &["a"]);
        assert!(matches!(story(&log), Err(NoStory::Gap(_))));
        log.semaphores[1].before = Some(1);
        assert!(story(&log).is_ok());
        let mut other = log.semaphores[1].clone();
        other.value = Some("{}".to_owned());
        log.semaphores.push(other);
        assert!(matches!(story(&log), Err(NoStory::Wrong(..))));
    }
}
