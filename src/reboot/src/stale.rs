//! Holders that do not give their slot back, and what may free it.
//!
//! A slot that is freed while its machine is still away lets one more machine go than anybody allowed. So time alone
//! frees nothing, unless the group's operator has said so: what frees a slot is the knowledge that its machine is back, or
//! that it will never be.

use crate::ledger::{Freed, Ledger, Phase};
use crate::wall::Wall;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is known of a machine's registration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Registration {
    /// Nobody knows.
    #[default]
    Unknown,
    /// It is there.
    Present,
    /// It ran out. A machine that reboots looks exactly like that, so it frees nothing.
    Lapsed,
    /// An operator took it back: the machine is gone for good.
    Removed,
}

/// What was seen of a holder. It must have been looked for after the ledger with this generation was read: then a boot
/// other than the one in the ledger is a later one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// The grant this is about.
    pub generation: u64,
    /// Its registration.
    pub registration: Registration,
    /// The boot it runs in.
    pub boot: Option<String>,
    /// It does its work again.
    pub healthy: bool,
}

/// A holder, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    /// Its id.
    pub id: String,
    /// The number of its grant.
    pub generation: u64,
    /// How far it is.
    pub phase: Phase,
    /// For how long it holds.
    pub age: Duration,
    /// By how much it is late.
    pub overdue: Option<Duration>,
    /// The grant is announced and not made.
    pub reserved: bool,
}

impl Ledger {
    /// All who hold, with their ages; the oldest first.
    #[must_use]
    pub fn held(&self, now: Wall) -> Vec<Held> {
        let mut held: Vec<Held> = self
            .holders
            .iter()
            .map(|(id, holder)| Held {
                id: id.clone(),
                generation: holder.generation,
                phase: holder.phase,
                age: now.since(holder.since),
                overdue: (now > holder.deadline).then(|| now.since(holder.deadline)),
                reserved: holder.reserved.is_some(),
            })
            .collect();
        held.sort_by_key(|held| (std::cmp::Reverse(held.age), held.generation));
        held
    }

    /// Which holders may be freed by what is known of them, and why.
    #[must_use]
    pub fn freeable(&self, evidence: &BTreeMap<String, Evidence>, now: Wall) -> Vec<(String, Freed)> {
        let granted = self.holders.iter().filter(|(_, holder)| holder.reserved.is_none());
        granted
            .filter_map(|(id, holder)| {
                let ttl = self.policy.ttl_seconds.map(Duration::from_secs);
                let seen = evidence.get(id).filter(|seen| seen.generation == holder.generation);
                let by = match seen {
                    Some(seen) if seen.registration == Registration::Removed => Freed::Removed,
                    Some(Evidence { healthy: true, boot: Some(boot), .. })
                        if holder.boot.as_ref().is_some_and(|granted| granted != boot) =>
                    {
                        Freed::Returned
                    }
                    _ if ttl.is_some_and(|ttl| now > holder.since.after(ttl)) => Freed::Ttl,
                    _ => return None,
                };
                Some((id.clone(), by))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semaphore::Semaphore;

    fn ledger(boot: Option<&str>) -> Ledger {
        let mut semaphore = Semaphore::default();
        semaphore.lock("m1").unwrap();
        let mut ledger = Ledger::default();
        ledger.reserve("m1", 1, Phase::Rebooting, boot.map(str::to_owned), Wall(1000));
        ledger.reconcile(&semaphore, 2, Wall(1000));
        ledger
    }

    fn freed(ledger: &Ledger, seen: Evidence, now: u64) -> Option<Freed> {
        let evidence = BTreeMap::from([("m1".to_owned(), seen)]);
        ledger.freeable(&evidence, Wall(now)).into_iter().next().map(|(_, by)| by)
    }

    fn seen(registration: Registration, boot: Option<&str>, healthy: bool) -> Evidence {
        Evidence { generation: 1, registration, boot: boot.map(str::to_owned), healthy }
    }

    #[test]
    fn a_stale_holder_is_freed_by_knowledge_and_not_by_time() {
        use Registration::{Lapsed, Present, Removed, Unknown};
        let year = 1000 + 365 * 86_400;
        for (evidence, by) in [
            (seen(Unknown, None, false), None),
            (seen(Lapsed, None, false), None),
            (seen(Present, Some("before"), true), None),
            (seen(Present, Some("after"), false), None),
            (seen(Present, None, true), None),
            (seen(Present, Some("after"), true), Some(Freed::Returned)),
            (seen(Removed, None, false), Some(Freed::Removed)),
        ] {
            assert_eq!(freed(&ledger(Some("before")), evidence.clone(), year), by, "{evidence:?}");
        }
        assert_eq!(ledger(Some("before")).freeable(&BTreeMap::new(), Wall(year)), []);
    }

    #[test]
    fn a_holder_whose_boot_nobody_noted_is_not_taken_to_have_returned() {
        assert_eq!(freed(&ledger(None), seen(Registration::Present, Some("after"), true), 9999), None);
    }

    #[test]
    fn evidence_about_an_earlier_grant_frees_nothing() {
        let old = Evidence { generation: 0, ..seen(Registration::Removed, Some("after"), true) };
        assert_eq!(freed(&ledger(Some("before")), old, 9999), None);
    }

    #[test]
    fn a_time_to_live_frees_only_where_the_policy_names_one() {
        let mut ledger = ledger(Some("before"));
        ledger.policy.ttl_seconds = Some(600);
        assert_eq!(freed(&ledger, Evidence::default(), 1600), None);
        assert_eq!(freed(&ledger, Evidence::default(), 1601), Some(Freed::Ttl));
    }

    #[test]
    fn a_reservation_is_nobodys_slot_to_free() {
        let mut ledger = Ledger::default();
        ledger.policy.ttl_seconds = Some(1);
        ledger.reserve("m1", 1, Phase::Draining, Some("before".into()), Wall(0));
        assert_eq!(freed(&ledger, seen(Registration::Removed, Some("after"), true), 9999), None);
    }

    #[test]
    fn holders_are_shown_with_their_age_and_by_how_much_they_are_late() {
        let ledger = ledger(None);
        assert_eq!(ledger.held(Wall(2800))[0].overdue, None);
        let late = &ledger.held(Wall(2801))[0];
        assert_eq!((late.age.as_secs(), late.overdue), (1801, Some(Duration::from_secs(1))));
    }
}
