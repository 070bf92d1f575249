//! Whose turn it is: the decision about one question for a slot.

use crate::guard::{Guards, Refusal};
use crate::ledger::{Ledger, Phase, Waiter};
use crate::semaphore::Semaphore;
use crate::wall::Wall;
use seatrial_types::planted::{Planted, is_planted};
use std::time::Duration;

/// How long a reservation is waited for before others make it impossible. Nothing is unsafe where this is too short: the
/// one who reserved tries again.
const RESERVED_MAX: Duration = Duration::from_secs(10);

/// By how much another machine's clock may be ahead of ours until its reservation is not waited for. Much longer than the
/// other: two machines whose clocks differ a little would else fail each other's swaps again and again.
const AHEAD_MAX: Duration = Duration::from_secs(600);

/// What becomes of a question for a slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Turn {
    /// It holds one already.
    Held {
        /// The number of its grant.
        generation: u64,
    },
    /// A slot is free and this one is next: reserve it.
    Take,
    /// Somebody reserved a slot and was not heard of again: the semaphore must be written anew before anything else,
    /// so that the late swap fails.
    Fence,
    /// Not now.
    Refused(Refusal),
}

impl Ledger {
    /// Decides about one question for a slot, and writes it down. The ledger must be reconciled with `semaphore`.
    pub fn turn(&mut self, semaphore: &Semaphore, id: &str, guards: &Guards, now: Wall) -> Turn {
        if let Some(holder) = self.holders.get(id).filter(|holder| holder.reserved.is_none()) {
            if is_planted(Planted::K14) && semaphore.available() == 0 {
                return Turn::Refused(Refusal::Full { slots: semaphore.max().max(0) });
            }
            return Turn::Held { generation: holder.generation };
        }
        let late = |since: Wall| now.since(since) > RESERVED_MAX || since.since(now) > AHEAD_MAX;
        if self.reservations().any(|(other, holder)| other != id && late(holder.since)) {
            return Turn::Fence;
        }
        self.ask(id, now);
        match self.refusal(semaphore, id, guards, now) {
            Some(refusal) => {
                self.refused(id, &refusal);
                Turn::Refused(refusal)
            }
            None => Turn::Take,
        }
    }

    /// Writes down why this waiter was refused. Whether no slot is free or others come first changes with every slot that is
    /// given back: of the two, whichever was written down first stays, or else all who wait would write each time they ask.
    pub fn refused(&mut self, id: &str, refusal: &Refusal) {
        let is_turn = |kind: &str| ["failed_lock", "waiting_turn"].contains(&kind);
        if let Some(waiter) = self.queue.iter_mut().find(|waiter| waiter.id == id) {
            if !(is_turn(refusal.kind()) && is_turn(&waiter.refused)) {
                refusal.kind().clone_into(&mut waiter.refused);
            }
            waiter.aside = refusal.is_its_own();
        }
    }

    /// Machines that did not come back, with those that are overdue now.
    #[must_use]
    pub fn failures(&self, now: Wall) -> u32 {
        let overdue = |phase| phase == Phase::Rebooting || phase == Phase::Back;
        let late =
            self.holders.values().filter(|holder| overdue(holder.phase) && now > holder.deadline).count();
        u32::try_from(self.failed.len() + late).unwrap_or(u32::MAX)
    }

    /// Why nothing is granted to anybody.
    #[must_use]
    pub fn stopped(&self, now: Wall) -> Option<Refusal> {
        if let Some(pause) = &self.paused {
            return Some(Refusal::Paused { why: pause.why.clone() });
        }
        let failed = self.failures(now);
        self.policy
            .failures_max
            .filter(|limit| failed >= *limit)
            .map(|limit| Refusal::Stopped { failed, limit })
    }

    fn refusal(&self, semaphore: &Semaphore, id: &str, guards: &Guards, now: Wall) -> Option<Refusal> {
        if let Some(refusal) = self.stopped(now) {
            return Some(refusal);
        }
        if let Err(refusal) = guards.allow() {
            return Some(refusal);
        }
        let reserved = self.reservations().filter(|(other, _)| *other != id).count();
        let free = semaphore.available() - i64::try_from(reserved).unwrap_or(i64::MAX);
        if free <= 0 {
            return Some(Refusal::Full { slots: semaphore.max().max(0) });
        }
        if is_planted(Planted::K18) {
            return None;
        }
        // Who has reserved is counted already; who waits for something of its own lets others pass.
        let earlier = self.queue.iter().take_while(|waiter| waiter.id != id);
        let ahead = earlier.filter(|waiter| !waiter.aside && !self.holders.contains_key(&waiter.id)).count();
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
        (i64::from(ahead) >= free).then_some(Refusal::Queued { ahead })
    }

    fn ask(&mut self, id: &str, now: Wall) {
        let patience = self.policy.patience();
        match self.queue.iter_mut().find(|waiter| waiter.id == id) {
            // Not every question is a write: only one that would else bring the waiter closer to its end.
            Some(waiter) if now.since(waiter.asked) >= patience / 8 => waiter.asked = now,
            Some(_) => {}
            None => {
                let (id, refused) = (id.to_owned(), String::new());
                self.queue.push(Waiter { id, since: now, asked: now, refused, aside: false });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Closed;
    use crate::ledger::{Freed, Pause};

    struct Group {
        semaphore: Semaphore,
        ledger: Ledger,
        index: u64,
        now: Wall,
    }

    impl Group {
        fn new(max: i64) -> Self {
            let mut semaphore = Semaphore::default();
            semaphore.set_max(max);
            Self { semaphore, ledger: Ledger::default(), index: 1, now: Wall(1000) }
        }

        /// Asks, and takes the slot where it is offered: the word of the refusal, or `granted`.
        fn ask(&mut self, id: &str) -> &'static str {
            self.ask_with(id, &Guards::default())
        }

        fn ask_with(&mut self, id: &str, guards: &Guards) -> &'static str {
            self.ledger.reconcile(&self.semaphore, self.index, self.now);
            match self.ledger.turn(&self.semaphore, id, guards, self.now) {
                Turn::Held { .. } => "held",
                Turn::Fence => "fence",
                Turn::Refused(refusal) => refusal.kind(),
                Turn::Take => {
                    self.ledger.reserve(id, self.index, Phase::Rebooting, None, self.now);
                    self.semaphore.lock(id).unwrap();
                    self.index += 1;
                    "granted"
                }
            }
        }

        fn free(&mut self, id: &str) {
            self.semaphore.unlock(id).unwrap();
            self.ledger.freed(id, Freed::Holder, self.now);
            self.index += 1;
        }
    }

    #[test]
    fn slots_go_to_whoever_asked_first_however_often_others_ask() {
        let mut group = Group::new(1);
        assert_eq!(group.ask("a"), "granted");
        assert_eq!(group.ask("b"), "failed_lock");
        assert_eq!(group.ask("c"), "failed_lock");
        group.free("a");
        assert_eq!(group.ask("a"), "waiting_turn", "who had its turn stands behind");
        assert_eq!(group.ask("c"), "waiting_turn");
        assert_eq!(group.ask("b"), "granted");
        group.free("b");
        assert_eq!(group.ask("c"), "granted");
    }

    #[test]
    fn who_asks_again_while_others_hold_changes_nothing() {
        let mut group = Group::new(1);
        for id in ["a", "b", "c"] {
            group.ask(id);
        }
        let before = group.ledger.clone();
        assert_eq!((group.ask("b"), group.ask("c")), ("failed_lock", "failed_lock"));
        assert_eq!(group.ledger, before);
        group.free("a");
        group.ledger.reconcile(&group.semaphore, group.index, group.now);
        let before = group.ledger.clone();
        assert_eq!(group.ask("c"), "waiting_turn", "another word, and nothing to write down");
        assert_eq!(group.ledger, before);
    }

    #[test]
    fn two_free_slots_are_for_the_first_two() {
        let mut group = Group::new(0);
        for id in ["a", "b", "c"] {
            assert_eq!(group.ask(id), "failed_lock");
        }
        group.semaphore.set_max(2);
        assert_eq!(group.ask("c"), "waiting_turn");
        assert_eq!(group.ask("b"), "granted", "the second of two slots");
        assert_eq!(group.ask("c"), "waiting_turn", "the other one is the first waiter's");
        assert_eq!(group.ask("a"), "granted");
    }

    #[test]
    fn a_waiter_that_asks_no_more_loses_its_place_and_one_that_does_keeps_it() {
        let mut group = Group::new(0);
        group.ask("gone");
        group.ask("here");
        for _ in 0..8 {
            group.now = group.now.after(Duration::from_secs(300));
            group.ask("here");
        }
        group.semaphore.set_max(1);
        assert_eq!(group.ask("late"), "waiting_turn");
        assert_eq!(group.ask("here"), "granted");
    }

    #[test]
    fn who_waits_for_something_of_its_own_lets_others_pass_and_keeps_its_place() {
        let mut group = Group::new(1);
        let closed = Guards { closed: Some(Closed { opens_in: None }), ..Guards::default() };
        assert_eq!(group.ask_with("a", &closed), "outside_window");
        assert_eq!(group.ask("b"), "granted");
        assert_eq!(group.ask("c"), "failed_lock");
        assert_eq!(group.ask("a"), "failed_lock", "its window is open now");
        group.free("b");
        assert_eq!(group.ask("c"), "waiting_turn", "it is first again");
        assert_eq!(group.ask("a"), "granted");
    }

    #[test]
    fn a_holder_that_asks_again_has_it_also_where_everything_speaks_against_it() {
        let mut group = Group::new(1);
        group.ask("a");
        group.semaphore.set_max(0);
        group.ledger.paused = Some(Pause { since: group.now, why: "storm".into() });
        let closed = Guards { closed: Some(Closed { opens_in: None }), ..Guards::default() };
        assert_eq!(group.ask_with("a", &closed), "held");
        assert_eq!(group.ask("b"), "rollout_paused");
        group.ledger.resume();
        assert_eq!(group.ask("b"), "failed_lock");
    }

    #[test]
    fn grants_stop_once_enough_machines_did_not_come_back_until_they_do_or_somebody_resumes() {
        let mut group = Group::new(3);
        group.ledger.policy.failures_max = Some(1);
        group.ask("a");
        group.now = group.now.after(Duration::from_secs(1800));
        assert_eq!(group.ask("b"), "granted", "not overdue yet");
        group.now = group.now.after(Duration::from_secs(1));
        assert_eq!(group.ask("c"), "rollout_stopped");
        group.free("a");
        assert_eq!(group.ask("c"), "granted", "it came back after all");
        group.now = group.now.after(Duration::from_secs(9999));
        group.ledger.freed("b", Freed::Operator, group.now);
        group.ledger.freed("c", Freed::Operator, group.now);
        for id in ["b", "c"] {
            group.semaphore.unlock(id).unwrap();
        }
        assert_eq!(group.ask("d"), "rollout_stopped");
        group.ledger.resume();
        assert_eq!(group.ask("d"), "granted");
    }

    #[test]
    fn a_reservation_is_counted_waited_for_and_then_made_impossible() {
        let mut group = Group::new(1);
        group.ledger.reserve("a", group.index, Phase::Draining, None, group.now);
        assert_eq!(group.ask("b"), "failed_lock");
        group.now = group.now.after(Duration::from_secs(11));
        assert_eq!(group.ask("b"), "fence");
        group.index += 1;
        assert_eq!(group.ask("b"), "granted");
    }
}
