//! A lock has one holder as long as leases last, and what it guards is fenced (etcd: concurrency; etcd#11456, etcd#664).
//!
//! Four rules:
//! 1. *Told rightly.* A client is told that it holds a lock with the revision at which that was so: there its key is in the
//!    store, and no older one of the same lock. The ledger says whether.
//! 2. *One at a time.* Two clients that were told so and have not begun to give the lock back may overlap only once the
//!    lease of one of them may be over: counted from the moment its last answered renewal was asked, and by the fastest
//!    clock of the plan.
//! 3. *Fenced.* What a lock guards is never written under an older lock's key after a newer one's, and an acknowledged
//!    write stands where it was acknowledged.
//! 4. *To be had.* After the healing, and once every lease must be over, the lock can be had.
//!
//! Does not see holders whose lease is over and who do not know it: that is what fences are for. Rules 1 and 3 need a
//! ledger that begins with the first revision; scenarios with locks do not compact.

use super::Finding;
use crate::record::{LockRecord, RunLog};
use seatrial_types::EventKind;
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) fn check(log: &RunLog) -> Finding {
    if log.locks.is_empty() && log.healing.as_ref().is_none_or(|healing| healing.locks.is_empty()) {
        return Finding::Ok;
    }
    if let Some(violation) = overlapping(log).or_else(|| never_had(log)) {
        return violation;
    }
    match &log.last {
        Some(last) if last.revision > 0 && last.ledger_from <= 1 && !last.is_unread() => {
            told_wrongly(log).or_else(|| not_fenced(log)).unwrap_or(Finding::Ok)
        }
        Some(last) if last.is_unread() => Finding::Unknown("no member told its changes in time".to_owned()),
        Some(_) => Finding::Unknown("the ledger does not begin with the first revision".to_owned()),
        None => Finding::Unknown("the run ended before the store could be read a last time".to_owned()),
    }
}

/// Until when this client's lease lives for certain.
fn alive_until(lock: &LockRecord, drift_ppm: u32) -> Duration {
    let ttl = Duration::from_secs(u64::try_from(lock.ttl_seconds).unwrap_or(0));
    let shortest = ttl * 1_000_000 / (1_000_000 + drift_ppm);
    lock.renewals.last().map_or(Duration::ZERO, |(asked, _)| *asked + shortest)
}

fn overlapping(log: &RunLog) -> Option<Finding> {
    let drift = u32::try_from(log.plan.drift_ppm_max()).expect("at most 50 %");
    let mut holders: Vec<(&LockRecord, Duration, Duration)> = log
        .locks
        .iter()
        .filter_map(|lock| {
            let told = lock.told?;
            let until = alive_until(lock, drift).min(lock.released.unwrap_or(Duration::MAX));
            (told.ret < until).then_some((lock, told.ret, until))
        })
        .collect();
    holders.sort_by_key(|(_, from, _)| *from);
    for (at, (one, _, until)) in holders.iter().enumerate() {
        let mut later = holders[at + 1..].iter().take_while(|(_, from, _)| from < until);
        if let Some((other, from, _)) = later.find(|(other, ..)| other.name == one.name) {
            let sentence = format!(
                "client {} was told at {from:?} that it holds {}, which client {} held under a lease that lived until \
                 {until:?} at least",
                other.client, one.name, one.client
            );
            return Some(Finding::violation(sentence, Some(*from), None));
        }
    }
    None
}

fn told_wrongly(log: &RunLog) -> Option<Finding> {
    let last = log.last.as_ref()?;
    let mut told: Vec<&LockRecord> = log.locks.iter().filter(|lock| lock.told.is_some()).collect();
    told.sort_by_key(|lock| lock.revision);
    // By key: the revision that created it.
    let mut queue: BTreeMap<&[u8], i64> = BTreeMap::new();
    let mut events = last.ledger.iter().filter(|event| event.kv.key.starts_with(b"lock/")).peekable();
    for lock in told {
        while let Some(event) = events.next_if(|event| event.kv.mod_revision.0 <= lock.revision) {
            match event.kind {
                EventKind::Put => queue.insert(&event.kv.key, event.kv.create_revision.0),
                EventKind::Delete => queue.remove(event.kv.key.as_ref()),
            };
        }
        let at = lock.told.map(|told| told.ret);
        let who = format!(
            "client {} was told that it holds {} at revision {}",
            lock.client, lock.name, lock.revision
        );
        let Some(own) = queue.get(lock.key.as_bytes()) else {
            let sentence = format!("{who}, where its key {} does not exist: its lease was over", lock.key);
            return Some(Finding::violation(sentence, at, None));
        };
        let prefix = format!("{}/", lock.name);
        let before = queue.iter().find(|(key, created)| key.starts_with(prefix.as_bytes()) && *created < own);
        if let Some((key, created)) = before {
            let sentence = format!(
                "{who}, where the key {} of revision {created} stands before its own of revision {own}",
                String::from_utf8_lossy(key)
            );
            return Some(Finding::violation(sentence, at, None));
        }
    }
    None
}

fn not_fenced(log: &RunLog) -> Option<Finding> {
    let last = log.last.as_ref()?;
    let mut newest: BTreeMap<&[u8], (&str, i64)> = BTreeMap::new();
    let mut stands: BTreeMap<(&[u8], i64), &[u8]> = BTreeMap::new();
    for event in last.ledger.iter().filter(|event| event.kv.key.starts_with(b"guard/")) {
        let revision = event.kv.mod_revision.0;
        stands.insert((&event.kv.key, revision), &event.kv.value);
        let value = std::str::from_utf8(&event.kv.value).unwrap_or_default();
        let fence = value.split('|').next().unwrap_or_default();
        let (before, at) = newest.insert(&event.kv.key, (fence, revision)).unwrap_or_default();
        if before > fence {
            let sentence = format!(
                "{} was written under the lock of revision {} at revision {revision}, though the lock of revision {} had \
                 written it at revision {at}",
                String::from_utf8_lossy(&event.kv.key),
                fence.trim_start_matches('0'),
                before.trim_start_matches('0'),
            );
            return Some(Finding::violation(sentence, None, None));
        }
    }
    for write in log.locks.iter().flat_map(|lock| &lock.writes) {
        let Some(revision) = write.accepted else { continue };
        if stands.get(&(write.key.as_bytes(), revision)) != Some(&write.value.as_bytes()) {
            let sentence = format!(
                "{} was acknowledged at revision {revision} with the value {:?}, which does not stand there",
                write.key, write.value
            );
            return Some(Finding::violation(sentence, Some(write.seen.ret), None));
        }
    }
    None
}

fn never_had(log: &RunLog) -> Option<Finding> {
    let healing = log.healing.as_ref()?;
    let (name, at) = healing.locks.iter().find_map(|(name, at)| Some((name, (*at)?)))?;
    let sentence = format!(
        "nobody could get {name} until {at:?}, though the cluster had healed and every lease was over"
    );
    Some(Finding::violation(sentence, Some(at), None))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, ends_with, event, quiet, violated};
    use super::*;
    use crate::record::{FencedWrite, Healing, Sighting};

    /// Client 1 holds from 1000 ms on, renewed last at 1500 ms (so until 3500 ms), client 2 is told at `second`.
    fn two(second: u64, released: Option<u64>) -> RunLog {
        let mut log = quiet();
        for (client, told, renewed, key, revision) in
            [(1, 1000, 1500, "lock/0/a", 2), (2, second, second, "lock/0/b", 5)]
        {
            log.locks.push(LockRecord {
                client,
                name: "lock/0".to_owned(),
                lease: i64::from(client),
                ttl_seconds: 2,
                renewals: vec![(at(900), at(950)), (at(renewed), at(renewed + 5))],
                told: Some(Sighting { call: at(told - 50), ret: at(told) }),
                key: key.to_owned(),
                revision,
                released: if client == 1 { released.map(at) } else { None },
                writes: Vec::new(),
            });
        }
        ends_with(
            &mut log,
            vec![
                event(EventKind::Put, "lock/0/a", "", 2, 1),
                event(EventKind::Put, "lock/0/b", "", 3, 1),
                event(EventKind::Delete, "lock/0/a", "", 4, 0),
                event(EventKind::Put, "k00", "x", 5, 1),
            ],
        );
        log
    }

    #[test]
    fn two_holders_whose_leases_live_are_a_violation() {
        assert!(violated(&check(&two(3499, None))).contains("client 2 was told at 3.499s"));
    }

    #[test]
    fn a_second_holder_once_the_firsts_lease_is_over_or_given_back_is_none() {
        assert_eq!(check(&two(3500, None)), Finding::Ok);
        assert_eq!(check(&two(2000, Some(1900))), Finding::Ok);
        assert!(violated(&check(&two(2000, Some(2001)))).contains("client 2"));
        let mut log = two(2000, None);
        log.locks[1].name = "lock/1".to_owned();
        log.locks[1].key = "lock/0/b".to_owned();
        assert_eq!(check(&log), Finding::Ok, "another lock");
    }

    #[test]
    fn a_holder_without_its_key_or_with_one_before_it_is_a_violation() {
        let mut log = two(3500, None);
        log.locks[1].revision = 3;
        assert!(violated(&check(&log)).contains("the key lock/0/a of revision 2 stands before its own"));
        let mut log = two(3500, None);
        log.locks[0].revision = 4;
        assert!(violated(&check(&log)).contains("its key lock/0/a does not exist"));
    }

    fn guard(log: &mut RunLog, fences: &[i64]) {
        let mut revision = log.last.as_ref().unwrap().revision;
        for (version, fence) in fences.iter().enumerate() {
            revision += 1;
            let value = format!("{fence:012}|1-{version}");
            let version = i64::try_from(version).unwrap() + 1;
            let written = event(EventKind::Put, "guard/0/key", &value, revision, version);
            log.last.as_mut().unwrap().ledger.push(written);
            log.last.as_mut().unwrap().revision = revision;
            let seen = Sighting { call: at(10), ret: at(20) };
            let key = "guard/0/key".to_owned();
            let write =
                FencedWrite { key, value, fence: *fence, seen, accepted: Some(revision), refused: false };
            log.locks[0].writes.push(write);
        }
    }

    #[test]
    fn a_write_of_an_older_lock_after_a_newer_ones_is_a_violation_and_the_same_again_is_none() {
        let mut log = two(3500, None);
        guard(&mut log, &[2, 2, 3]);
        assert_eq!(check(&log), Finding::Ok);
        guard(&mut log, &[2]);
        assert!(violated(&check(&log)).contains("under the lock of revision 2 at revision 9"));
    }

    #[test]
    fn an_acknowledged_write_that_does_not_stand_is_a_violation() {
        let mut log = two(3500, None);
        guard(&mut log, &[2, 3]);
        log.locks[0].writes[1].value = "000000000003|9-9".to_owned();
        assert!(violated(&check(&log)).contains("does not stand there"));
        log.locks[0].writes[1].accepted = None;
        assert_eq!(check(&log), Finding::Ok, "nobody promised it");
    }

    #[test]
    fn a_lock_that_cannot_be_had_in_the_end_is_a_violation() {
        let mut log = two(3500, None);
        let locks = vec![("lock/0".to_owned(), None), ("lock/1".to_owned(), Some(at(30_000)))];
        log.healing = Some(Healing { healed: Some(at(20_000)), locks, ..Healing::default() });
        assert!(violated(&check(&log)).starts_with("nobody could get lock/1 until 30s"));
        log.healing.as_mut().unwrap().locks.pop();
        assert_eq!(check(&log), Finding::Ok);
    }
}
