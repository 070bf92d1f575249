//! Leases: which there are, which keys hang on them, and, on the leader alone, when they run out.
//!
//! Grants, revocations and attachments come through the log and are equal on all members. Deadlines are not: only
//! the leader counts time, by its own monotonic clock, which is passed in. A new leader gives every lease its full
//! time anew, or what an older leader has last written into the log as being left of it (a checkpoint): so a change of
//! leader may lengthen a lease but never shortens it. Therefore a lease with a checkpoint is renewed only once the log
//! has taken that back. Expiry goes through the log.

use bytes::Bytes;
use imbl::{OrdMap, OrdSet};
use seatrial_types::LeaseId;
use seatrial_types::buggify::{Site, hits};
use seatrial_types::planted::{Planted, is_planted};
use std::time::Duration;

/// The longest time to live, in seconds (etcd's limit).
pub const LEASE_TTL_SECONDS_MAX: i64 = 9_000_000_000;

/// One lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Lease {
    ttl_seconds: i64,
    /// What was left of its time by the last checkpoint, where it was not renewed since.
    left_seconds: Option<i64>,
    keys: OrdSet<Bytes>,
    /// When it runs out, on the leader; elsewhere `None`.
    deadline: Option<Duration>,
    /// When what is left is written into the log, on a leader that does so.
    checkpoint_at: Option<Duration>,
    /// A checkpoint is on its way through the log, as far as this leader knows.
    noting: bool,
    /// And one that takes the last back.
    clearing: bool,
}

/// All leases. See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Leases {
    leases: OrdMap<LeaseId, Lease>,
    by_key: OrdMap<Bytes, LeaseId>,
    /// Deadlines in order. Invariant: exactly those of `leases`, and empty unless `primary`.
    deadlines: OrdSet<(Duration, LeaseId)>,
    /// Checkpoints to come, in order. Invariant: exactly those of `leases`.
    checkpoints: OrdSet<(Duration, LeaseId)>,
    /// How often what is left is written into the log; `None`: never.
    checkpoint_interval: Option<Duration>,
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
        let lease = Lease {
            ttl_seconds,
            left_seconds: None,
            keys: OrdSet::new(),
            deadline: None,
            checkpoint_at: None,
            noting: false,
            clearing: false,
        };
        self.leases.insert(id, lease);
        if self.primary {
            self.start(id, now, seconds(ttl_seconds));
        }
        true
    }

    /// A checkpoint from the log: so much was left of the lease; 0 or less takes the last one back. False where there is
    /// no such lease.
    pub(crate) fn note(&mut self, id: LeaseId, left_seconds: i64) -> bool {
        let Some(lease) = self.leases.get_mut(&id) else { return false };
        if left_seconds > 0 {
            lease.left_seconds = Some(left_seconds);
        } else {
            // Whatever this leader wanted noted lies before this in the log.
            (lease.left_seconds, lease.noting, lease.clearing) = (None, false, false);
        }
        true
    }

    /// Takes the lease out; its keys stay attached to nothing. `None` where there is no such lease.
    pub(crate) fn revoke(&mut self, id: LeaseId) -> Option<Vec<Bytes>> {
        let lease = self.leases.remove(&id)?;
        if let Some(deadline) = lease.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        if let Some(at) = lease.checkpoint_at {
            self.checkpoints.remove(&(at, id));
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

    /// This member leads now: every lease gets its full time anew, or what its last checkpoint says. With an interval,
    /// leases that live longer get checkpoints.
    pub fn promote(&mut self, now: Duration, checkpoint_interval: Option<Duration>) {
        self.demote();
        self.primary = true;
        self.checkpoint_interval = checkpoint_interval;
        let all: Vec<_> = self
            .leases
            .iter()
            .map(|(id, lease)| {
                let noted = lease.left_seconds.filter(|_| !is_planted(Planted::L06));
                (*id, seconds(noted.unwrap_or(lease.ttl_seconds)))
            })
            .collect();
        for (id, left) in all {
            self.start(id, now, if is_planted(Planted::L05) { Duration::ZERO } else { left });
        }
    }

    /// This member does not lead (any more): it knows of no deadlines.
    pub fn demote(&mut self) {
        self.primary = false;
        self.checkpoints = OrdSet::new();
        for (_, id) in std::mem::take(&mut self.deadlines) {
            let lease = self.leases.get_mut(&id).expect("a deadline belongs to a lease");
            (lease.deadline, lease.checkpoint_at) = (None, None);
            (lease.noting, lease.clearing) = (false, false);
        }
    }

    /// Whether this member counts the time.
    #[must_use]
    pub fn is_primary(&self) -> bool {
        self.primary
    }

    /// Whether a checkpoint of the lease stands in the log or is on its way there, which must be taken back before it can
    /// be renewed: the next leader would count from it.
    #[must_use]
    pub fn is_noted(&self, id: LeaseId) -> bool {
        self.leases.get(&id).is_some_and(|lease| lease.left_seconds.is_some() || lease.noting)
    }

    /// The checkpoint of this lease is about to be taken back through the log; false where it is already.
    pub fn begin_clearing(&mut self, id: LeaseId) -> bool {
        self.leases.get_mut(&id).is_some_and(|lease| !std::mem::replace(&mut lease.clearing, true))
    }

    /// The log did not take what [`Leases::begin_clearing`] was for.
    pub fn abandon_clearing(&mut self, id: LeaseId) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.clearing = false;
        }
    }

    /// When the next checkpoint is due.
    #[must_use]
    pub fn next_checkpoint(&self) -> Option<Duration> {
        self.checkpoints.get_min().map(|(at, _)| *at)
    }

    /// Leases whose checkpoint is due, with the seconds left of each, rounded up; at most `max`. They count as on their
    /// way from now on.
    pub fn due_checkpoints(&mut self, now: Duration, max: usize) -> Vec<(LeaseId, i64)> {
        let mut out = Vec::new();
        while out.len() < max
            && let Some((at, id)) = self.checkpoints.get_min().copied()
            && at <= now
        {
            self.checkpoints.remove(&(at, id));
            let lease = self.leases.get_mut(&id).expect("a checkpoint belongs to a lease");
            lease.checkpoint_at = None;
            let left = lease.deadline.expect("a leader's lease has a deadline").saturating_sub(now);
            // One that is being taken back now is about to be renewed: what is left of it would be too little.
            let wanted = !lease.clearing && !left.is_zero();
            if wanted {
                lease.noting = true;
                let whole = left.as_secs() + u64::from(left.subsec_nanos() > 0);
                out.push((id, i64::try_from(whole).unwrap_or(i64::MAX)));
            }
            self.schedule(id, now);
        }
        out
    }

    /// Plans the next checkpoint of a lease that lives longer than until then.
    fn schedule(&mut self, id: LeaseId, now: Duration) {
        let Some(interval) = self.checkpoint_interval else { return };
        let lease = self.leases.get_mut(&id).expect("only leases that exist are planned for");
        if let Some(old) = lease.checkpoint_at.take() {
            self.checkpoints.remove(&(old, id));
        }
        let interval = if hits(Site::LeaseNotedEarly) { interval / 10 } else { interval };
        let at = now.saturating_add(interval);
        if lease.deadline.is_some_and(|deadline| at < deadline) {
            lease.checkpoint_at = Some(at);
            self.checkpoints.insert((at, id));
        }
    }

    /// Starts the lease's time anew and returns its time to live in seconds. `None` where there is no such lease,
    /// its time is over (its end is on the way through the log and cannot be called back), or this member
    /// does not lead.
    ///
    /// # Panics
    /// Where [`Leases::is_noted`]: a change of leader would shorten it.
    pub fn renew(&mut self, id: LeaseId, now: Duration) -> Option<i64> {
        let lease = self.leases.get(&id)?;
        let noted = (lease.left_seconds.is_some() || lease.noting) && !is_planted(Planted::L07);
        assert!(!noted || !self.primary, "lease {id} is renewed over its checkpoint");
        let ttl_seconds = lease.ttl_seconds;
        if lease.deadline? <= now {
            return None;
        }
        self.start(id, now, seconds(ttl_seconds));
        Some(ttl_seconds)
    }

    fn start(&mut self, id: LeaseId, now: Duration, left: Duration) {
        let lease = self.leases.get_mut(&id).expect("only leases that exist are started");
        if let Some(old) = lease.deadline {
            self.deadlines.remove(&(old, id));
        }
        let deadline = now.saturating_add(left);
        lease.deadline = Some(deadline);
        self.deadlines.insert((deadline, id));
        self.schedule(id, now);
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
        let (mut attached, mut planned) = (0, 0);
        for (id, lease) in &self.leases {
            assert_eq!(lease.deadline.is_some(), self.primary, "lease {id} and its deadline");
            if let Some(deadline) = lease.deadline {
                assert!(self.deadlines.contains(&(deadline, *id)), "lease {id} has no entry at {deadline:?}");
            }
            if let Some(at) = lease.checkpoint_at {
                assert!(self.checkpoints.contains(&(at, *id)), "lease {id} has no checkpoint at {at:?}");
            }
            planned += usize::from(lease.checkpoint_at.is_some());
            for key in &lease.keys {
                assert_eq!(self.of_key(key), *id, "key {key:?} hangs on two leases");
            }
            attached += lease.keys.len();
        }
        assert_eq!(attached, self.by_key.len(), "keys attached to leases that are gone");
        assert_eq!(planned, self.checkpoints.len(), "checkpoints of leases that are gone");
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
        leases.promote(S * 100, None);
        assert!(leases.grant(LeaseId(1), 10, S * 100));
        assert_eq!(leases.next_deadline(), Some(S * 110));
        leases.demote();
        assert_eq!(leases.next_deadline(), None);
        assert_eq!(leases.expired(S * 1000, 10), []);
        leases.promote(S * 109, None);
        assert_eq!(leases.next_deadline(), Some(S * 119));
        leases.check();
    }

    #[test]
    fn a_lease_is_renewed_until_its_time_is_over_and_only_on_the_leader() {
        let mut leases = Leases::default();
        leases.grant(LeaseId(1), 10, S);
        assert_eq!(leases.renew(LeaseId(1), S), None, "a follower renews nothing");
        leases.promote(S, None);
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
    fn a_new_leader_counts_from_the_checkpoint_unless_the_lease_was_renewed_since() {
        let mut leases = Leases::default();
        let id = LeaseId(1);
        leases.promote(S * 100, Some(S * 10));
        leases.grant(id, 60, S * 100);
        leases.grant(LeaseId(2), 10, S * 100);
        assert_eq!(leases.next_checkpoint(), Some(S * 110), "lease 2 does not live that long");
        let late = S * 110 + S / 2;
        assert_eq!(leases.due_checkpoints(late, 9), [(id, 50)], "what is left is rounded up");
        assert!(leases.is_noted(id), "on its way");
        assert_eq!(leases.next_checkpoint(), Some(S * 120 + S / 2));
        assert!(leases.note(id, 50));
        leases.check();
        let mut heir = leases.clone();
        heir.promote(S * 7, Some(S * 10));
        assert_eq!(heir.time_left(id, S * 7), Some(S * 50));
        assert_eq!(heir.time_left(LeaseId(2), S * 7), Some(S * 10));
        heir.check();
        // A renewal takes it back first.
        assert!(leases.begin_clearing(id));
        assert!(!leases.begin_clearing(id));
        assert_eq!(leases.due_checkpoints(S * 130, 9), [], "none while one is taken back");
        leases.note(id, 0);
        assert!(!leases.is_noted(id));
        assert_eq!(leases.renew(id, S * 131), Some(60));
        leases.promote(S * 500, Some(S * 10));
        assert_eq!(leases.time_left(id, S * 500), Some(S * 60));
        leases.check();
        leases.revoke(id);
        leases.check();
        assert!(!leases.note(id, 5));
    }

    #[test]
    #[should_panic(expected = "renewed over its checkpoint")]
    fn a_lease_is_never_renewed_while_its_checkpoint_stands() {
        let mut leases = Leases::default();
        leases.promote(S, Some(S));
        leases.grant(LeaseId(1), 60, S);
        leases.due_checkpoints(S * 2, 1);
        leases.renew(LeaseId(1), S * 2);
    }

    #[test]
    fn expired_leases_come_longest_over_first_and_no_more_than_asked_for() {
        let mut leases = Leases::default();
        leases.promote(S, None);
        for (id, ttl) in [(1, 30), (2, 10), (3, 20)] {
            leases.grant(LeaseId(id), ttl, S);
        }
        assert_eq!(leases.expired(S * 21, 10), [LeaseId(2), LeaseId(3)]);
        assert_eq!(leases.expired(S * 100, 1), [LeaseId(2)]);
        assert_eq!(Leases::ttl_at_least(1, Duration::from_millis(1500)), 2);
        assert_eq!(Leases::ttl_at_least(5, S), 5);
    }
}
