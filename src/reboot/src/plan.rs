//! What will happen next in a group: who is next, why it waits, and when it will probably be done.

use crate::guard::Refusal;
use crate::ledger::Ledger;
use crate::semaphore::Semaphore;
use crate::stale::Held;
use crate::wall::Wall;
use std::time::Duration;

/// A group as it is, read at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// Locksmith's value, which alone says who holds.
    pub semaphore: Semaphore,
    /// The ledger, reconciled with it.
    pub ledger: Ledger,
    /// Why the ledger's key could not be read, where it could not.
    pub unreadable: Option<String>,
    /// When this was.
    pub now: Wall,
}

/// A machine that waits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Planned {
    /// Its id.
    pub id: String,
    /// For how long it has waited.
    pub waited: Duration,
    /// Why it was refused when it last asked; one of [`Refusal::kind`], or empty.
    pub why: String,
    /// It lets others pass until it may.
    pub aside: bool,
    /// When it will probably begin, and be done.
    pub expected: Option<(Duration, Duration)>,
}

/// What is to come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Who holds, the oldest first.
    pub holders: Vec<Held>,
    /// Who waits, the next one first.
    pub waiters: Vec<Planned>,
    /// Why nothing is granted to anybody.
    pub stopped: Option<Refusal>,
    /// How long a reboot takes: the median of the last ones.
    pub typical: Option<Duration>,
    /// When the last waiter will probably be done.
    pub done_in: Option<Duration>,
}

impl View {
    /// The plan. Estimates are made where past reboots allow one and nothing stops the group; they take each slot to be
    /// used as soon as it is free, and windows to be open.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let Self { semaphore, ledger, now, .. } = self;
        let (holders, stopped) = (ledger.held(*now), ledger.stopped(*now));
        let typical = median(&ledger.took_seconds);
        let mut slots = match (typical, &stopped) {
            (Some(typical), None) => slots(semaphore, &holders, typical),
            _ => Vec::new(),
        };
        let waiting = ledger.queue.iter().filter(|waiter| !ledger.holders.contains_key(&waiter.id));
        let waiters: Vec<Planned> = waiting
            .map(|waiter| {
                let expected = typical.and_then(|typical| {
                    let slot = slots.iter_mut().min()?;
                    let starts = *slot;
                    *slot += typical;
                    Some((starts, *slot))
                });
                Planned {
                    id: waiter.id.clone(),
                    waited: now.since(waiter.since),
                    why: waiter.refused.clone(),
                    aside: waiter.aside,
                    expected,
                }
            })
            .collect();
        let done_in = waiters.iter().filter_map(|waiter| waiter.expected).map(|(_, end)| end).max();
        Plan { holders, waiters, stopped, typical, done_in }
    }
}

/// When each slot is free. Of more holders than slots, the first to go leave none.
fn slots(semaphore: &Semaphore, holders: &[Held], typical: Duration) -> Vec<Duration> {
    let mut busy: Vec<Duration> = holders.iter().map(|held| typical.saturating_sub(held.age)).collect();
    busy.sort_unstable();
    let max = usize::try_from(semaphore.max()).unwrap_or(0);
    let surplus = busy.len().saturating_sub(max);
    let idle = max.saturating_sub(busy.len()).min(1024);
    busy.drain(..surplus);
    busy.extend(std::iter::repeat_n(Duration::ZERO, idle));
    busy
}

fn median(seconds: &[u64]) -> Option<Duration> {
    let mut sorted = seconds.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Guards;
    use crate::ledger::{Pause, Phase};

    fn view(max: i64, holders: &[&str], waiters: &[&str], took: &[u64]) -> View {
        let mut semaphore = Semaphore::default();
        semaphore.set_max(max);
        let mut ledger = Ledger::default();
        ledger.took_seconds = took.to_vec();
        for holder in holders {
            ledger.reserve(holder, 1, Phase::Rebooting, None, Wall(1000));
            semaphore.lock(holder).unwrap();
        }
        let now = Wall(1060);
        ledger.reconcile(&semaphore, 2, now);
        semaphore.set_max(max);
        for waiter in waiters {
            ledger.turn(&semaphore, waiter, &Guards::default(), now);
        }
        View { semaphore, ledger, unreadable: None, now }
    }

    fn expected(plan: &Plan) -> Vec<Option<(u64, u64)>> {
        let seconds = |(start, end): (Duration, Duration)| (start.as_secs(), end.as_secs());
        plan.waiters.iter().map(|waiter| waiter.expected.map(seconds)).collect()
    }

    #[test]
    fn waiters_take_the_slots_in_turn_as_they_become_free() {
        let plan = view(1, &["a"], &["b", "c"], &[500, 90, 100]).plan();
        assert_eq!(
            plan.typical,
            Some(Duration::from_secs(100)),
            "one slow reboot does not spoil the estimate"
        );
        assert_eq!(expected(&plan), [Some((40, 140)), Some((140, 240))]);
        assert_eq!(plan.done_in, Some(Duration::from_secs(240)));
        assert_eq!(plan.waiters[0].why, "failed_lock");
        let plan = view(2, &["a"], &["b", "c", "d"], &[100]).plan();
        assert_eq!(expected(&plan), [Some((0, 100)), Some((40, 140)), Some((100, 200))]);
    }

    #[test]
    fn nothing_is_promised_without_a_past_or_while_the_group_is_stopped() {
        assert_eq!(expected(&view(1, &["a"], &["b"], &[]).plan()), [None]);
        let mut paused = view(1, &["a"], &["b"], &[100]);
        paused.ledger.paused = Some(Pause { since: Wall(0), why: "storm".into() });
        let plan = paused.plan();
        assert_eq!((expected(&plan), plan.done_in), (vec![None], None));
        assert_eq!(plan.stopped.unwrap().kind(), "rollout_paused");
    }

    #[test]
    fn more_holders_than_slots_must_leave_before_the_next_one_begins() {
        let mut view = view(2, &["a", "b"], &[], &[100]);
        view.semaphore.set_max(1);
        view.ledger.turn(&view.semaphore, "c", &Guards::default(), view.now);
        view.ledger.holders.get_mut("a").unwrap().since = Wall(1050);
        assert_eq!(expected(&view.plan()), [Some((90, 190))]);
        view.semaphore.set_max(0);
        assert_eq!(expected(&view.plan()), [None]);
    }
}
