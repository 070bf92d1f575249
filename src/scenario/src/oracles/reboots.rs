//! Reboots of machines under the lock: when they begin, what they cost, and that they come (CoreOS bugs#1886; kured#841;
//! locksmith#58).
//!
//! 1. *Begun rightly (K4).* A reboot begins while its machine's window is open, by that machine's own calendar, and only
//!    while it held its slot: at some moment since it asked for the last time whether it does.
//! 2. *The store's majority (K5).* Where a machine with a member on it is granted a slot, a majority of the voters is left
//!    without those on machines of all groups that hold one, and without members that had been down since the machine
//!    began to ask.
//! 3. *In turn (K6).* Nobody is let in before one that asked earlier and waits for nothing of its own, and nobody loses its
//!    place but by leaving.
//! 4. *At all (K6).* In the end, once all faults are over, every machine has rebooted that had to; and none that had not.
//! 5. *Given back (K7).* What a machine held before its agent started is given back within 10 s, counted from that start, or
//!    from the end of the faults.
//!
//! Does not see a member that is cut off or lags when a slot is granted, nor one that dies after the look at it.

use super::Finding;
use super::semaphores::{Book, Hold, NoStory, Story, Value, What, story};
use crate::machines::{MachineDoes, MachineRecord};
use crate::record::RunLog;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// See the lock's own oracle.
const LATE: Duration = Duration::from_secs(5);

/// The bound of rule 5, beside elections.
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// A swap that was asked for before is not heard of any more after so long.
const SWAP_LASTS: Duration = Duration::from_secs(12);

/// As long as the policy of a group says, which nobody changes here.
const PATIENCE: Duration = Duration::from_secs(900);

pub(super) fn check(log: &RunLog) -> Finding {
    if log.machines.is_empty() {
        return Finding::Ok;
    }
    if let Some(violation) = outside_of_window(log).or_else(|| never(log)) {
        return violation;
    }
    let story = match story(log) {
        Ok(story) => story,
        // The lock's own oracle says what is wrong with it.
        Err(NoStory::Wrong(why, _) | NoStory::Gap(why)) => return Finding::Unknown(why),
    };
    let holds = story.holds();
    without_slot(log, &holds)
        .or_else(|| below_majority(log, &holds))
        .or_else(|| out_of_turn(&story))
        .or_else(|| lost_its_place(log, &story))
        .or_else(|| kept(log, &holds))
        .unwrap_or(Finding::Ok)
}

fn wrong(sentence: String, at: Duration) -> Option<Finding> {
    Some(Finding::violation(sentence, Some(at), None))
}

/// Its whole seconds lie within the window; both ends count, as with locksmith.
fn is_open(calendar: Duration, window: Duration) -> bool {
    calendar.as_secs() % 60 <= window.as_secs()
}

fn outside_of_window(log: &RunLog) -> Option<Finding> {
    for machine in &log.machines {
        let Some(window) = machine.window else { continue };
        for event in &machine.events {
            if let MachineDoes::Reboots(calendar) = event.what
                && !is_open(calendar, window)
            {
                let sentence = format!(
                    "K4: {} began its reboot in second {} of a minute by its own calendar, where its window is open until second {}",
                    machine.id,
                    calendar.as_secs() % 60,
                    window.as_secs()
                );
                return wrong(sentence, event.at);
            }
        }
    }
    None
}

/// A machine that waits for ever, or reboots for nothing.
fn never(log: &RunLog) -> Option<Finding> {
    for machine in &log.machines {
        let mut wanted = None;
        for event in &machine.events {
            match event.what {
                MachineDoes::Wants => wanted = wanted.or(Some(event.at)),
                MachineDoes::Up => wanted = None,
                MachineDoes::Reboots(_) if wanted.is_none() => {
                    return wrong(format!("K6: {} rebooted, and did not have to", machine.id), event.at);
                }
                _ => {}
            }
        }
        // A run that broke off says nothing about what would have come.
        if let (Some(since), true, true) = (wanted, log.healing.is_some(), !machine.settled) {
            let why = machine.events.iter().rev().find_map(|event| match &event.what {
                MachineDoes::Refused(why) => Some(why.as_str()),
                _ => None,
            });
            let sentence = format!(
                "K6: {} had to reboot from {since:?} on, and had not when all faults had been over for {:?}; it was told last: {}",
                machine.id,
                log.plan.reboots_by().saturating_sub(log.plan.scenario.time),
                why.unwrap_or("nothing")
            );
            return wrong(sentence, log.plan.reboots_by());
        }
    }
    None
}

fn without_slot(log: &RunLog, holds: &[Hold]) -> Option<Finding> {
    for machine in &log.machines {
        let mut asked = Duration::ZERO;
        for event in &machine.events {
            match event.what {
                MachineDoes::Asks | MachineDoes::Confirms => asked = event.at,
                MachineDoes::Reboots(_) => {
                    let held = holds.iter().any(|hold| {
                        hold.id == machine.id
                            && hold.group == machine.group
                            && hold.taken.1 <= event.at + LATE
                            && hold.freed.is_none_or(|(_, at)| at >= asked)
                    });
                    if !held {
                        let sentence = format!(
                            "K4: {} began its reboot, and had held no slot since it asked at {asked:?} whether it does",
                            machine.id
                        );
                        return wrong(sentence, event.at);
                    }
                }
                _ => {}
            }
        }
    }
    None
}

/// From when on this machine may have looked at the store's members for what it took at `taken`.
fn looked_since(machine: &MachineRecord, taken: Duration) -> Duration {
    let before = machine.events.iter().filter(|event| event.at <= taken);
    let started = before.clone().rfind(|event| event.what == MachineDoes::Starts);
    let started = started.map_or(Duration::ZERO, |event| event.at);
    let asks: Vec<Duration> = before
        .filter(|event| event.what == MachineDoes::Asks && event.at >= started)
        .map(|event| event.at)
        .collect();
    let old = asks.iter().copied().rfind(|at| *at + SWAP_LASTS <= taken);
    old.or_else(|| asks.first().copied()).unwrap_or(started)
}

fn below_majority(log: &RunLog, holds: &[Hold]) -> Option<Finding> {
    let voters = log.plan.scenario.members;
    let member_on =
        |id: &str| log.machines.iter().find(|machine| machine.id == id).and_then(|machine| machine.hosts);
    for hold in holds {
        let Some(machine) = log.machines.iter().find(|machine| machine.id == hold.id) else { continue };
        if machine.hosts.is_none() {
            continue;
        }
        let (index, at) = hold.taken;
        let holding =
            |other: &&Hold| other.taken.0 <= index && other.freed.is_none_or(|(freed, _)| freed > index);
        let away: BTreeSet<u64> =
            holds.iter().filter(holding).filter_map(|other| member_on(&other.id)).collect();
        let since = looked_since(machine, at);
        let down: BTreeSet<u64> = log
            .outages
            .iter()
            .filter(|outage| outage.from < since && outage.to.is_none_or(|to| to > at))
            .map(|outage| outage.member.0)
            .collect();
        let left = voters - u64::try_from(away.union(&down).count()).expect("a few");
        if left < voters / 2 + 1 {
            let names = |members: &BTreeSet<u64>| {
                let names: Vec<String> = members.iter().map(|member| format!("m{member}")).collect();
                if names.is_empty() { "none".to_owned() } else { names.join(" ") }
            };
            let sentence = format!(
                "K5: {} was granted a slot at index {index}, which leaves {left} voters of {voters}: on machines that hold \
                 a slot are {}, and down since before {since:?} are {}",
                hold.id,
                names(&away),
                names(&down)
            );
            return wrong(sentence, at);
        }
    }
    None
}

/// Somebody is given a slot that belongs to one before it.
fn out_of_turn(story: &Story) -> Option<Finding> {
    let mut semaphores: BTreeMap<&str, (u64, Value)> = BTreeMap::new();
    let mut books: BTreeMap<&str, Book> = BTreeMap::new();
    for change in &story.changes {
        let book = match &change.what {
            What::Semaphore(value) => {
                semaphores.insert(&change.group, (change.index, value.clone()));
                continue;
            }
            What::Book(book) => book,
        };
        let old = books.insert(&change.group, book.clone()).unwrap_or_default();
        let (index, semaphore) = semaphores.get(change.group.as_str()).cloned().unwrap_or_default();
        for (id, entry) in &book.holders {
            // One that was decided by an older semaphore is void.
            let is_new = entry.reserved == Some(index)
                && old.holders.get(id).is_none_or(|before| before.reserved != entry.reserved);
            if !is_new {
                continue;
            }
            let others =
                book.holders.iter().filter(|(other, entry)| *other != id && entry.reserved.is_some());
            let free = usize::try_from(semaphore.semaphore).unwrap_or(0).saturating_sub(others.count());
            let ahead: Vec<&str> = book
                .queue
                .iter()
                .take_while(|waiter| waiter.id != *id)
                .filter(|waiter| !waiter.aside && !book.holders.contains_key(&waiter.id))
                .map(|waiter| waiter.id.as_str())
                .collect();
            if ahead.len() >= free {
                let sentence = format!(
                    "K6: a slot was reserved for {id} at index {}, with {free} free ones, and {} asked earlier",
                    change.index,
                    ahead.join(" ")
                );
                return wrong(sentence, change.at);
            }
        }
    }
    None
}

/// Who stands in the queue stays there until it is let in or leaves.
fn lost_its_place(log: &RunLog, story: &Story) -> Option<Finding> {
    let mut books: BTreeMap<&str, Book> = BTreeMap::new();
    let mut since: BTreeMap<(&str, String), Duration> = BTreeMap::new();
    let mut let_in: BTreeMap<(&str, String), Duration> = BTreeMap::new();
    for change in &story.changes {
        let group = change.group.as_str();
        let book = match &change.what {
            What::Semaphore(value) => {
                let ids = value.holders().iter().cloned();
                ids.for_each(|id| _ = let_in.insert((group, id), change.at));
                continue;
            }
            What::Book(book) => book,
        };
        let old = books.insert(group, book.clone()).unwrap_or_default();
        for waiter in &book.queue {
            since.entry((group, waiter.id.clone())).or_insert(change.at);
        }
        for waiter in old.queue.iter().filter(|one| !book.queue.iter().any(|other| other.id == one.id)) {
            let key = (group, waiter.id.clone());
            let from = since.remove(&key).unwrap_or(change.at);
            let was_let_in = let_in.get(&key).is_some_and(|at| *at >= from);
            let left = || {
                let machine = log.machines.iter().find(|machine| machine.id == waiter.id);
                let events = machine.map(|machine| machine.events.as_slice()).unwrap_or_default();
                // It may have asked for that before it asked to wait, and have been heard later.
                events.iter().any(|event| {
                    event.what == MachineDoes::Releases
                        && event.at + SWAP_LASTS >= from
                        && event.at <= change.at
                })
            };
            if !was_let_in && change.at < from + PATIENCE && !left() {
                let sentence = format!(
                    "K6: {} stood in the queue from {from:?} on and does not any more at index {}, though it was not let in and \
                     did not leave",
                    waiter.id, change.index
                );
                return wrong(sentence, change.at);
            }
        }
    }
    None
}

fn kept(log: &RunLog, holds: &[Hold]) -> Option<Finding> {
    let storm = log.plan.scenario.time;
    for machine in &log.machines {
        let starts = machine.events.iter().enumerate();
        for (place, start) in starts.filter(|(_, event)| event.what == MachineDoes::Starts) {
            let life = &machine.events[place + 1..];
            let ends = |what: &MachineDoes| {
                matches!(what, MachineDoes::Crashes | MachineDoes::AgentDies | MachineDoes::Reboots(_))
            };
            let length = life.iter().position(|event| ends(&event.what)).unwrap_or(life.len());
            let stood = life[..length].iter().filter_map(|event| match event.what {
                MachineDoes::Stands(until) => Some(until),
                _ => None,
            });
            let from = stood.chain([start.at, storm]).max().unwrap_or(storm);
            let by = from + BACK_WITHIN + log.plan.knobs.election_timeout * 4;
            // Only who was there all the time can be late.
            let end = life.get(length).map_or(log.ended, |event| event.at);
            let late = holds.iter().find(|hold| {
                hold.id == machine.id
                    && hold.taken.1 < start.at
                    && hold.freed.map_or(log.ended, |(_, at)| at) > by
            });
            if let Some(hold) = late
                && end > by
            {
                let sentence = format!(
                    "K7: {} took a slot at {:?}, its agent started anew at {:?}, and still had not given it back at {by:?}",
                    machine.id, hold.taken.1, start.at
                );
                return wrong(sentence, by);
            }
        }
    }
    None
}

#[cfg(test)]
#[path = "reboots_tests.rs"]
mod tests;
