//! The semaphores of the reboot lock: no more holders than slots, none twice, and nobody frees another's slot (locksmith;
//! locksmith#58).
//!
//! Judged by every change of the keys, as members applied them:
//! 1. *Slots (K1).* Where somebody is let in, there are no more holders than slots, and nobody stands there twice.
//! 2. *Count (K2).* Free slots and holders are together the number of slots: locksmith's own invariant.
//! 3. *Freed by whom (K3).* A holder goes only while it gives back what it holds, or an operator frees it.
//!
//! Does not see who wrote a change: a slot that is freed by a stranger in the very moment in which its holder gives it back.

use super::Finding;
use super::semaphores::{NoStory, Story, story};
use crate::machines::MachineDoes;
use crate::record::RunLog;
use std::time::Duration;

/// By how much later than its writer's answer a change may be seen first: who answered may have died before it told.
const LATE: Duration = Duration::from_secs(5);

pub(super) fn check(log: &RunLog) -> Finding {
    if log.machines.is_empty() {
        return Finding::Ok;
    }
    match story(log) {
        Ok(story) => holders(&story).or_else(|| freed_by_whom(log, &story)).unwrap_or(Finding::Ok),
        Err(NoStory::Wrong(sentence, at)) => Finding::violation(sentence, Some(at), None),
        Err(NoStory::Gap(why)) => Finding::Unknown(why),
    }
}

fn group(name: &str) -> String {
    if name.is_empty() { "the default group".to_owned() } else { format!("group {name}") }
}

fn holders(story: &Story) -> Option<Finding> {
    for (change, value, old) in story.semaphores() {
        let (names, group, index) = (value.holders(), group(&change.group), change.index);
        let wrong = |sentence: String| Some(Finding::violation(sentence, Some(change.at), None));
        let twice = names.iter().enumerate().find(|(at, id)| names[..*at].contains(id));
        if let Some((_, id)) = twice {
            return wrong(format!("K1: {id} holds two slots of {group} at index {index}"));
        }
        let held = i64::try_from(names.len()).unwrap_or(i64::MAX);
        if let Some(id) = names.iter().find(|id| !old.holds(id))
            && held > value.max
        {
            return wrong(format!(
                "K1: {id} was let in at index {index}, where {group} has {held} holders for {} slots",
                value.max
            ));
        }
        if value.semaphore.saturating_add(held) != value.max {
            return wrong(format!(
                "K2: {group} counts {} free slots at index {index}, where it has {held} holders for {} slots",
                value.semaphore, value.max
            ));
        }
    }
    None
}

/// From when to when somebody freed the slots of this machine.
fn freeing(log: &RunLog, id: &str) -> Vec<(Duration, Duration)> {
    let mut spans = Vec::new();
    for machine in log.machines.iter().filter(|machine| machine.id == id) {
        let mut open = None;
        for event in &machine.events {
            match event.what {
                MachineDoes::Releases => {
                    // Nobody knows what became of one that was asked for before.
                    spans.extend(open.replace(event.at).map(|from| (from, Duration::MAX)));
                }
                MachineDoes::Released(done) => {
                    let to = if done { event.at + LATE } else { Duration::MAX };
                    spans.extend(open.take().map(|from| (from, to)));
                }
                _ => {}
            }
        }
        spans.extend(open.map(|from| (from, Duration::MAX)));
    }
    let orders = log.orders.iter().filter(|order| order.frees.as_deref() == Some(id));
    spans.extend(orders.map(|order| (order.call, order.ret.map_or(Duration::MAX, |ret| ret + LATE))));
    spans
}

fn freed_by_whom(log: &RunLog, story: &Story) -> Option<Finding> {
    for hold in story.holds() {
        let Some((index, at)) = hold.freed else { continue };
        let spans = freeing(log, &hold.id);
        // What was asked for before the slot was taken knew nothing of it.
        if !spans.iter().any(|(from, to)| *from <= at && at <= *to) {
            let sentence = format!(
                "K3: the slot of {} in {} was freed at index {index}, and neither did it give it back nor an operator free it",
                hold.id,
                group(&hold.group)
            );
            return Some(Finding::violation(sentence, Some(at), None));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::semaphores::testing::semaphore;
    use super::super::testing::{at, quiet, violated};
    use super::*;
    use crate::machines::{MachineEvent, MachineRecord, OrderRecord};

    /// A machine which gave back at 300 ms and was told so at 350 ms.
    fn machine(id: &str) -> MachineRecord {
        let events = vec![
            MachineEvent { at: at(300), what: MachineDoes::Releases },
            MachineEvent { at: at(350), what: MachineDoes::Released(true) },
        ];
        let (id, group) = (id.to_owned(), String::new());
        MachineRecord { client: 1, id, group, hosts: None, window: None, events, settled: true }
    }

    fn run() -> RunLog {
        let mut log = quiet();
        log.machines.push(machine("a"));
        semaphore(&mut log, 100, (0, 1), (1, 1), &[]);
        semaphore(&mut log, 200, (1, 2), (0, 1), &["a"]);
        log
    }

    #[test]
    fn a_holder_beyond_the_slots_is_told_and_one_that_was_there_before_they_were_fewer_is_not() {
        let mut log = run();
        semaphore(&mut log, 250, (2, 3), (-1, 0), &["a"]);
        assert_eq!(check(&log), Finding::Ok, "nobody loses a slot by it");
        semaphore(&mut log, 260, (3, 4), (-2, 0), &["a", "b"]);
        assert!(violated(&check(&log)).contains("K1: b was let in at index 4"));
    }

    #[test]
    fn nobody_stands_there_twice() {
        let mut log = run();
        semaphore(&mut log, 250, (2, 3), (0, 2), &["a", "a"]);
        assert!(violated(&check(&log)).contains("K1: a holds two slots"));
    }

    #[test]
    fn a_count_that_is_off_by_one_is_told() {
        let mut log = run();
        semaphore(&mut log, 250, (2, 3), (1, 1), &["a"]);
        assert!(violated(&check(&log)).contains("K2: the default group counts 1 free slots at index 3"));
    }

    #[test]
    fn a_slot_goes_while_its_holder_gives_it_back_and_at_no_other_time() {
        for (ms, is_well) in [(250, false), (300, true), (350, true), (5_351, false)] {
            let mut log = run();
            semaphore(&mut log, ms, (2, 3), (1, 1), &[]);
            assert_eq!(check(&log) == Finding::Ok, is_well, "freed at {ms} ms");
        }
        let mut log = run();
        log.machines[0].events[1].what = MachineDoes::Released(false);
        semaphore(&mut log, 9_000, (2, 3), (1, 1), &[]);
        assert_eq!(check(&log), Finding::Ok, "nobody knows what became of it");
    }

    #[test]
    fn an_operator_may_free_it_and_another_machine_may_not() {
        let mut log = run();
        log.machines[0].events.clear();
        log.machines.push(machine("b"));
        semaphore(&mut log, 320, (2, 3), (1, 1), &[]);
        assert!(
            violated(&check(&log)).contains("K3: the slot of a in the default group was freed at index 3")
        );
        let (group, what) = (String::new(), "unlock a".to_owned());
        let frees = Some("a".to_owned());
        log.orders.push(OrderRecord { client: 9, group, what, frees, call: at(310), ret: None });
        assert_eq!(check(&log), Finding::Ok);
        log.orders[0].call = at(321);
        assert_ne!(check(&log), Finding::Ok, "it was asked for later");
    }

    #[test]
    fn a_gap_is_no_pass() {
        let mut log = run();
        log.semaphores.remove(0);
        assert!(matches!(check(&log), Finding::Unknown(_)));
    }
}
