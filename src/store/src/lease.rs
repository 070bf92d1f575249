//! Leases: which there are, which keys hang on them, and, on the leader alone, when they run out.
//!
//! Grants, revocations and attachments come through the log and are equal on all members. Deadlines are not: only
//! the leader counts time, by its own monotonic clock, which is passed in. A new leader gives every lease its full
//! time anew, so a change of leader may lengthen a lease but never shortens it; expiry goes through the log.

use bytes::Bytes;
use imbl::{OrdMap, OrdSet};
use seatrial_types::LeaseId;
use seatrial_types::planted::{Planted, is_planted};
use std::time::Duration;

/// The longest time to live, in seconds (etcd's limit).
pub const LEASE_TTL_SECONDS_MAX: i64 = 9_000_000_000;

/// One lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Lease {
    ttl_seconds: i64,
    keys: OrdSet<Bytes>,
    /// When it runs out, on the leader; elsewhere `None`.
    deadline: Option<Duration>,
}

/// All leases. See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Leases {
    leases: OrdMap<LeaseId, Lease>,
    by_key: OrdMap<Bytes, LeaseId>,
    /// Deadlines in order. Invariant: exactly those of `leases`, and empty unless `primary`.
    deadlines: OrdSet<(Duration, LeaseId)>,
    primary: bool,
}

fn seconds(ttl_seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl_seconds).unwrap_or(0))
}

impl Leases {
    /// Raises a time to live to the minimum. For the proposer: what stands in the log is final.
    #[must_use]
    pub fn ttl_at_least(ttl_seconds: i64, minimum: Duration) -> i64 {
        let whole = minimum.as_secs() + u64::from(minimum.subsec_nanos() > 0);
        ttl_seconds.max(i64::try_from(whole).unwrap_or(i64::MAX))
    }

    /// Whether there is such a lease.
    #[must_use]
    pub fn contains(&self, id: LeaseId) -> bool {
        self.leases.contains_key(&id)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// All ids, in order.
    pub fn ids(&self) -> impl Iterator<Item = LeaseId> {
        self.leases.keys().copied()
    }

    /// The time to live as granted, in seconds.
    #[must_use]
    pub fn granted_ttl_seconds(&self, id: LeaseId) -> Option<i64> {
        Some(self.leases.get(&id)?.ttl_seconds)
    }

    /// The attached keys, sorted.
    #[must_use]
    pub fn keys(&self, id: LeaseId) -> Vec<Bytes> {
        self.leases.get(&id).map_or_else(Vec::new, |lease| lease.keys.iter().cloned().collect())
    }

    /// The lease of a key, or [`LeaseId::NONE`].
    #[must_use]
    pub fn of_key(&self, key: &[u8]) -> LeaseId {
        self.by_key.get(key).copied().unwrap_or(LeaseId::NONE)
    }

    /// Makes a lease; false where the id is taken. On the leader its time starts now.
    pub(crate) fn grant(&mut self, id: LeaseId, ttl_seconds: i64, now: Duration) -> bool {
        if self.contains(id) {
            return false;
        }
        self.leases.insert(id, Lease { ttl_seconds, keys: OrdSet::new(), deadline: None });
        if self.primary {
            self.start(id, now, false);
        }
        true
    }

    /// Takes the lease out; its keys stay attached to nothing. `None` where there is no such lease.
    pub(crate) fn revoke(&mut self, id: LeaseId) -> Option<Vec<Bytes>> {
        let lease = self.leases.remove(&id)?;
        if let Some(deadline) = lease.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        for key in &lease.keys {
            self.by_key.remove(key);
        }
        Some(lease.keys.into_iter().collect())
    }

    /// Attaches the key to this lease and no other; [`LeaseId::NONE`] only detaches.
    ///
    /// # Panics
    /// Where there is no such lease.
    pub(crate) fn attach(&mut self, key: &[u8], id: LeaseId) {
        let old = if id == LeaseId::NONE { self.by_key.remove(key) } else { self.by_key.get(key).copied() };
        if old == Some(id) {
            return;
        }
        if let Some(old) = old {
            let lease = self.leases.get_mut(&old).expect("a key is attached to a lease that exists");
            lease.keys.remove(key);
        }
        if id != LeaseId::NONE {
            let key = Bytes::copy_from_slice(key);
            let lease = self.leases.get_mut(&id);
            lease.unwrap_or_else(|| panic!("lease {id} was checked before")).keys.insert(key.clone());
            self.by_key.insert(key, id);
        }
    }

    /// As [`Leases::attach`], from a stored version: its lease may be gone by now.
    pub(crate) fn restore_attachment(&mut self, key: &[u8], id: LeaseId) {
        self.attach(key, if self.contains(id) { id } else { LeaseId::NONE });
    }

    /// This member leads now: every lease gets its full time anew.
    pub fn promote(&mut self, now: Duration) {
        self.demote();
        self.primary = true;
        for id in self.ids().collect::<Vec<_>>() {
            self.start(id, now, is_planted(Planted::L05));
        }
    }

    /// This member does not lead (any more): it knows of no deadlines.
    pub fn demote(&mut self) {
        self.primary = false;
        for (_, id) in std::mem::take(&mut self.deadlines) {
            self.leases.get_mut(&id).expect("a deadline belongs to a lease").deadline = None;
        }
    }

    /// Whether this member counts the time.
    #[must_use]
    pub fn is_primary(&self) -> bool {
        self.primary
    }

    /// Starts the lease's time anew and returns its time to live in seconds. `None` where there is no such lease,
    /// its time is over (its end is on the way through the log and cannot be called back), or this member
    /// does not lead.
    pub fn renew(&mut self, id: LeaseId, now: Duration) -> Option<i64> {
        let lease = self.leases.get(&id)?;
        let ttl_seconds = lease.ttl_seconds;
        if lease.deadline? <= now {
            return None;
        }
        self.start(id, now, false);
        Some(ttl_seconds)
    }

    /// `without_time`: only with a planted bug.
    fn start(&mut self, id: LeaseId, now: Duration, without_time: bool) {
        let lease = self.leases.get_mut(&id).expect("only leases that exist are started");
        if let Some(old) = lease.deadline {
            self.deadlines.remove(&(old, id));
        }
        let ttl = seconds(lease.ttl_seconds);
        let deadline = if without_time { now } else { now.saturating_add(ttl) };
        lease.deadline = Some(deadline);
        self.deadlines.insert((deadline, id));
    }

    /// When the next lease runs out.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.get_min().map(|(deadline, _)| *deadline)
    }

    /// Leases whose time is over, longest over first, at most `max`. They stay until their revocation is applied.
    #[must_use]
    pub fn expired(&self, now: Duration, max: usize) -> Vec<LeaseId> {
        let over = self.deadlines.iter().take_while(|(deadline, _)| *deadline <= now);
        over.take(max).map(|(_, id)| *id).collect()
    }

    /// Time left; zero once over. `None` where there is no such lease or this member does not lead.
    #[must_use]
    pub fn time_left(&self, id: LeaseId, now: Duration) -> Option<Duration> {
        Some(self.leases.get(&id)?.deadline?.saturating_sub(now))
    }

    /// Panics where an invariant does not hold.
    pub fn check(&self) {
        let mut attached = 0;
        for (id, lease) in &self.leases {
            assert_eq!(lease.deadline.is_some(), self.primary, "lease {id} and its deadline");
            if let Some(deadline) = lease.deadline {
                assert!(self.deadlines.contains(&(deadline, *id)), "lease {id} has no entry at {deadline:?}");
            }
            for key in &lease.keys {
                assert_eq!(self.of_key(key), *id, "key {key:?} hangs on two leases");
            }
            attached += lease.keys.len();
        }
        assert_eq!(attached, self.by_key.len(), "keys attached to leases that are gone");
        assert_eq!(self.deadlines.len(), if self.primary { self.leases.len() } else { 0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_change_of_leader_lengthens_a_lease_and_never_shortens_it() {
        let mut leases = Leases::default();
        leases.promote(S * 100);
        assert!(leases.grant(LeaseId(1), 10, S * 100));
        assert_eq!(leases.next_deadline(), Some(S * 110));
        leases.demote();
        assert_eq!(leases.next_deadline(), None);
        assert_eq!(leases.expired(S * 1000, 10), []);
        leases.promote(S * 109);
        assert_eq!(leases.next_deadline(), Some(S * 119));
        leases.check();
    }

    #[test]
    fn a_lease_is_renewed_until_its_time_is_over_and_only_on_the_leader() {
        let mut leases = Leases::default();
        leases.grant(LeaseId(1), 10, S);
        assert_eq!(leases.renew(LeaseId(1), S), None, "a follower renews nothing");
        leases.promote(S);
        assert_eq!(leases.renew(LeaseId(1), S * 10), Some(10));
        assert_eq!(leases.time_left(LeaseId(1), S * 15), Some(S * 5));
        assert_eq!(leases.expired(S * 20, 10), [LeaseId(1)]);
        assert_eq!(leases.renew(LeaseId(1), S * 20), None, "its end is on the way");
        assert_eq!(leases.renew(LeaseId(2), S), None);
        leases.check();
    }

    #[test]
    fn a_key_hangs_on_one_lease_and_goes_with_it() {
        let mut leases = Leases::default();
        let (a, b) = (Bytes::from_static(b"a"), Bytes::from_static(b"b"));
        leases.grant(LeaseId(1), 10, S);
        leases.grant(LeaseId(2), 10, S);
        assert!(!leases.grant(LeaseId(2), 10, S));
        leases.attach(&a, LeaseId(1));
        leases.attach(&b, LeaseId(1));
        leases.attach(&a, LeaseId(2));
        leases.check();
        assert_eq!(leases.keys(LeaseId(1)), std::slice::from_ref(&b));
        assert_eq!(leases.revoke(LeaseId(2)), Some(vec![a.clone()]));
        assert_eq!(leases.of_key(&a), LeaseId::NONE);
        leases.attach(&b, LeaseId::NONE);
        leases.check();
        assert_eq!(leases.revoke(LeaseId(1)), Some(vec![]));
        assert_eq!(leases.revoke(LeaseId(1)), None);
    }

    #[test]
    fn expired_leases_come_longest_over_first_and_no_more_than_asked_for() {
        let mut leases = Leases::default();
        leases.promote(S);
        for (id, ttl) in [(1, 30), (2, 10), (3, 20)] {
            leases.grant(LeaseId(id), ttl, S);
        }
        assert_eq!(leases.expired(S * 21, 10), [LeaseId(2), LeaseId(3)]);
        assert_eq!(leases.expired(S * 100, 1), [LeaseId(2)]);
        assert_eq!(Leases::ttl_at_least(1, Duration::from_millis(1500)), 2);
        assert_eq!(Leases::ttl_at_least(5, S), 5);
    }
}
