//! What we know beyond locksmith's value: since when somebody holds, how far it is, and who waits.
//!
//! The ledger is advice. Who holds a slot is said by the semaphore alone, and old clients change it under us without
//! knowing of a ledger; [`Ledger::reconcile`] brings the two together after every reading. What is lost with a ledger
//! are ages, the order of the queue, a pause and the policy, never a slot.
//!
//! A grant is announced in the ledger before it is made in the semaphore (a *reservation*, with the index of the
//! semaphore that it will replace). So whoever reads the ledger, and then the semaphore, sees every grant that was made or can
//! still be made: a reservation for an older index can never succeed.

use crate::semaphore::Semaphore;
use crate::wall::Wall;
use seatrial_types::planted::{Planted, is_planted};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The version this build writes.
const VERSION: u32 = 1;

/// How many past reboots the estimate of the next ones looks at.
const TOOK_MAX: usize = 16;

/// How far a holder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It holds; an old client took the slot, and says no more.
    Held,
    /// What runs on it is being moved.
    Draining,
    /// It reboots, or is about to.
    Rebooting,
    /// It is up again, and not yet healthy enough to give the slot back.
    Back,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Held => "held",
            Self::Draining => "draining",
            Self::Rebooting => "rebooting",
            Self::Back => "back",
        })
    }
}

/// A slot's holder, or who is about to be one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Holder {
    /// Since when; for a slot that an old client took, since we first saw it.
    pub since: Wall,
    /// A number that no other grant of this group has: a late request about an older grant is known by it.
    pub generation: u64,
    /// How far it is.
    pub phase: Phase,
    /// When it should have given the slot back. Nothing happens then by itself.
    pub deadline: Wall,
    /// The boot it was granted in, where the machine said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// Not granted yet: the semaphore with this index is to be replaced by one that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<u64>,
}

/// A machine that wants to reboot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Waiter {
    /// Its id.
    pub id: String,
    /// When it first asked.
    pub since: Wall,
    /// When it last did, roughly: not every question is written down.
    pub asked: Wall,
    /// The word of its last refusal.
    #[serde(default)]
    pub refused: String,
    /// It waits for something of its own, so that those behind it may pass.
    #[serde(default)]
    pub aside: bool,
}

/// An operator's stop sign.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub since: Wall,
    /// What the operator wrote.
    pub why: String,
}

/// A machine that did not give its slot back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failure {
    /// Its id.
    pub id: String,
    /// When its slot was freed.
    pub at: Wall,
    /// By what.
    pub by: Freed,
}

/// Who or what freed a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Freed {
    /// Its holder.
    Holder,
    /// An operator.
    Operator,
    /// It was seen healthy in another boot than the one in which it was granted.
    Returned,
    /// The machine's registration was taken back: it will not return.
    Removed,
    /// The time that the group's policy gives.
    Ttl,
}

impl fmt::Display for Freed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Holder => "given back by its holder",
            Self::Operator => "freed by an operator",
            Self::Returned => "freed: the machine is back and healthy",
            Self::Removed => "freed: the machine was removed",
            Self::Ttl => "freed: the group's time to live is over",
        })
    }
}

/// What a group's operator has decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Policy {
    /// How long a reboot may take before its holder is shown as overdue.
    pub return_within_seconds: u64,
    /// How long a waiter keeps its place without asking. FleetLock's clients ask about every 5 minutes.
    pub patience_seconds: u64,
    /// Frees a holder by time alone. Off unless an operator asks for it: a machine that is slow may still be away.
    #[serde(default)]
    pub ttl_seconds: Option<u64>,
    /// Grants nothing more once this many machines did not come back.
    #[serde(default)]
    pub failures_max: Option<u32>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { return_within_seconds: 1800, patience_seconds: 900, ttl_seconds: None, failures_max: None }
    }
}

impl Policy {
    /// [`Policy::return_within_seconds`] as a duration.
    #[must_use]
    pub fn return_within(&self) -> Duration {
        Duration::from_secs(self.return_within_seconds)
    }

    /// [`Policy::patience_seconds`] as a duration.
    #[must_use]
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.patience_seconds)
    }
}

/// The ledger of one group. See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ledger {
    version: u32,
    /// The last generation handed out.
    #[serde(default)]
    pub generation: u64,
    /// An operator has stopped grants.
    #[serde(default)]
    pub paused: Option<Pause>,
    /// What the operator has decided.
    #[serde(default)]
    pub policy: Policy,
    /// Holders and reservations.
    #[serde(default)]
    pub holders: BTreeMap<String, Holder>,
    /// Who waits, the next one first.
    #[serde(default)]
    pub queue: Vec<Waiter>,
    /// How long the last reboots took, the newest last.
    #[serde(default)]
    pub took_seconds: Vec<u64>,
    /// Who did not come back since the operator last resumed the group.
    #[serde(default)]
    pub failed: Vec<Failure>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            version: VERSION,
            generation: 0,
            paused: None,
            policy: Policy::default(),
            holders: BTreeMap::new(),
            queue: Vec::new(),
            took_seconds: Vec::new(),
            failed: Vec::new(),
        }
    }
}

impl Ledger {
    /// Reads the key's value.
    ///
    /// # Errors
    /// What is wrong with it, in words. A ledger of a newer version is not guessed at.
    pub fn parse(value: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let Head { version } = serde_json::from_str(value).map_err(|error| error.to_string())?;
        if version > VERSION {
            return Err(format!("it has version {version}, and this program knows up to {VERSION}"));
        }
        serde_json::from_str(value).map_err(|error| error.to_string())
    }

    /// The key's value.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a ledger has string keys only")
    }

    /// Brings the ledger into line with a semaphore that was read *after* it: holders we did not know get a record,
    /// records of those who hold no more go, reservations become holders or fall.
    pub fn reconcile(&mut self, semaphore: &Semaphore, index: u64, now: Wall) {
        self.holders.retain(|id, holder| {
            if semaphore.is_held_by(id) {
                holder.reserved = None;
                return true;
            }
            let is_forgotten = is_planted(Planted::K12) && now.since(holder.since) > Duration::from_secs(10);
            // The swap that was announced replaces exactly this index: once it is gone, the swap must fail.
            holder.reserved == Some(index) && !is_forgotten
        });
        for id in semaphore.holders() {
            if !self.holders.contains_key(id) {
                let holder = self.holder(now, Phase::Held, None, None);
                self.holders.insert(id.clone(), holder);
            }
        }
        let patience = self.policy.patience();
        self.queue.retain(|waiter| !semaphore.is_held_by(&waiter.id) && now <= waiter.asked.after(patience));
    }

    /// Announces that this one will hold, by a swap of the semaphore that has `index`.
    pub fn reserve(&mut self, id: &str, index: u64, phase: Phase, boot: Option<String>, now: Wall) {
        let holder = self.holder(now, phase, boot, Some(index));
        self.holders.insert(id.to_owned(), holder);
    }

    /// Takes a reservation back.
    pub fn withdraw(&mut self, id: &str) {
        if self.holders.get(id).is_some_and(|holder| holder.reserved.is_some()) {
            self.holders.remove(id);
        }
    }

    /// A slot is free again: what is remembered of its holder.
    pub fn freed(&mut self, id: &str, by: Freed, now: Wall) {
        let Some(holder) = self.holders.remove(id) else { return };
        // It had its turn, also where nobody has reconciled since.
        self.queue.retain(|waiter| waiter.id != id);
        let came_back = matches!(by, Freed::Holder | Freed::Returned);
        // Who gave its slot back without a reboot says nothing about how long they take.
        if came_back && matches!(holder.phase, Phase::Rebooting | Phase::Back) {
            self.took_seconds.push(now.since(holder.since).as_secs());
            let surplus = self.took_seconds.len().saturating_sub(TOOK_MAX);
            self.took_seconds.drain(..surplus);
        }
        if by == Freed::Ttl || by == Freed::Operator && now > holder.deadline {
            self.failed.push(Failure { id: id.to_owned(), at: now, by });
        }
    }

    /// Gives up a place in the queue, and a reservation.
    pub fn leave(&mut self, id: &str) {
        self.queue.retain(|waiter| waiter.id != id);
        self.withdraw(id);
    }

    /// Lets grants go on, and forgets who did not come back.
    pub fn resume(&mut self) {
        self.paused = None;
        self.failed.clear();
    }

    /// Reservations that may still become grants.
    pub fn reservations(&self) -> impl Iterator<Item = (&String, &Holder)> {
        self.holders.iter().filter(|(_, holder)| holder.reserved.is_some())
    }

    fn holder(&mut self, now: Wall, phase: Phase, boot: Option<String>, reserved: Option<u64>) -> Holder {
        self.generation += 1;
        let deadline = now.after(self.policy.return_within());
        Holder { since: now, generation: self.generation, phase, deadline, boot, reserved }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn semaphore(max: i64, holders: &[&str]) -> Semaphore {
        let mut semaphore = Semaphore::default();
        semaphore.set_max(max);
        for holder in holders {
            semaphore.lock(holder).unwrap();
        }
        semaphore
    }

    #[test]
    fn a_ledger_is_read_back_and_a_newer_one_is_not_guessed_at() {
        let mut ledger = Ledger::default();
        ledger.reconcile(&semaphore(2, &["m1"]), 7, Wall(100));
        ledger.reserve("m2", 7, Phase::Draining, Some("boot".into()), Wall(101));
        assert_eq!(Ledger::parse(&ledger.to_json()), Ok(ledger));
        assert_eq!(Ledger::parse(r#"{"version":1}"#), Ok(Ledger::default()));
        assert!(Ledger::parse(r#"{"version":2,"holders":[]}"#).unwrap_err().contains("version 2"));
        assert!(Ledger::parse("{}").is_err());
    }

    #[test]
    fn whoever_an_old_client_let_in_is_known_from_when_it_was_first_seen() {
        let mut ledger = Ledger::default();
        ledger.reconcile(&semaphore(2, &["m1"]), 7, Wall(100));
        ledger.reconcile(&semaphore(2, &["m1"]), 8, Wall(200));
        let holder = &ledger.holders["m1"];
        assert_eq!((holder.since, holder.phase), (Wall(100), Phase::Held));
        ledger.reconcile(&semaphore(2, &[]), 9, Wall(300));
        assert!(ledger.holders.is_empty());
    }

    #[test]
    fn a_reservation_stands_until_the_semaphore_it_replaces_is_gone() {
        let mut ledger = Ledger::default();
        ledger.reserve("m1", 7, Phase::Draining, None, Wall(100));
        let mut early = ledger.clone();
        early.reconcile(&semaphore(1, &[]), 7, Wall(99_999));
        assert_eq!(early, ledger, "no time alone ends it");
        let mut lost = ledger.clone();
        lost.reconcile(&semaphore(1, &[]), 8, Wall(101));
        assert!(lost.holders.is_empty());
        ledger.reconcile(&semaphore(1, &["m1"]), 8, Wall(101));
        assert_eq!((ledger.holders["m1"].reserved, ledger.holders["m1"].since), (None, Wall(100)));
        assert_eq!(ledger.holders["m1"].phase, Phase::Draining);
    }

    #[test]
    fn no_two_grants_have_the_same_generation() {
        let mut ledger = Ledger::default();
        ledger.reserve("m1", 1, Phase::Draining, None, Wall(0));
        ledger.freed("m1", Freed::Holder, Wall(1));
        ledger.reserve("m1", 2, Phase::Draining, None, Wall(2));
        ledger.reconcile(&semaphore(2, &["m1", "m2"]), 3, Wall(3));
        assert_eq!((ledger.holders["m1"].generation, ledger.holders["m2"].generation), (2, 3));
    }

    #[test]
    fn only_reboots_teach_how_long_reboots_take() {
        let mut ledger = Ledger::default();
        for (phase, by, learnt) in [
            (Phase::Draining, Freed::Holder, false),
            (Phase::Rebooting, Freed::Holder, true),
            (Phase::Back, Freed::Returned, true),
            (Phase::Rebooting, Freed::Operator, false),
            (Phase::Rebooting, Freed::Removed, false),
        ] {
            ledger.took_seconds.clear();
            ledger.reserve("m1", 1, phase, None, Wall(100));
            ledger.freed("m1", by, Wall(160));
            assert_eq!(ledger.took_seconds, if learnt { vec![60] } else { vec![] }, "{phase} {by}");
        }
        for _ in 0..40 {
            ledger.reserve("m1", 1, Phase::Back, None, Wall(100));
            ledger.freed("m1", Freed::Holder, Wall(160));
        }
        assert_eq!(ledger.took_seconds.len(), TOOK_MAX);
    }

    #[test]
    fn a_machine_freed_by_an_operator_after_its_deadline_did_not_come_back() {
        let mut ledger = Ledger::default();
        for (by, at, failed) in [
            (Freed::Operator, 1900, 0),
            (Freed::Operator, 1901, 1),
            (Freed::Ttl, 100, 1),
            (Freed::Holder, 9999, 0),
            (Freed::Removed, 9999, 0),
        ] {
            ledger.resume();
            ledger.reserve("m1", 1, Phase::Rebooting, None, Wall(100));
            ledger.freed("m1", by, Wall(at));
            assert_eq!(ledger.failed.len(), failed, "{by} at {at}");
        }
    }
}
