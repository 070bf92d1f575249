//! An election has one leader as long as leases last, and who looks is told who leads (etcd: concurrency, Election;
//! etcd#11777).
//!
//! Six rules:
//! 1. *One at a time.* Two clients that were told that they lead and have not begun to resign may overlap only once the
//!    lease of one of them may be over: counted from the moment its last answered renewal was asked, and by the fastest
//!    clock of the plan.
//! 2. *Told rightly.* Who was told that it leads, while its lease lives for certain, has the oldest key of the election at
//!    some revision. (One whose lease ended in the queue may be told so too: as in etcd, nobody looks once more.)
//! 3. *Proclaimed.* What a leader was told to have proclaimed stands in its own key at that revision.
//! 4. *Observed.* Who is told of a leader hears of the oldest key of the election as it was between that version and the
//!    revision of the answer; who asks, as it is at that revision. On one stream leaders come in the order of their keys,
//!    and of a leader once heard of no proclamation is left out.
//! 5. *Kept.* Giving up a leadership does not end a later one of the same lease.
//! 6. *To be won.* After the healing, and once every lease must be over, the election can be won.
//!
//! Does not see leaders who came and went while an observer was asking who leads: those may be skipped. Rules 2 to 4 need
//! a ledger that begins with the first revision; scenarios with elections do not compact.

use super::Finding;
use crate::record::{CandidateRecord, LeaderRecord, RunLog};
use seatrial_types::{Event, EventKind};
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) fn check(log: &RunLog) -> Finding {
    let never = log.healing.iter().flat_map(|healing| &healing.elections).find_map(|(name, until)| {
        let until = (*until)?;
        let sentence = format!("nobody could win {name} until {until:?}, though all leases were over");
        Some(Finding::violation(sentence, Some(until), None))
    });
    if let Some(violation) = not_kept(log).or_else(|| overlapping(log)).or(never) {
        return violation;
    }
    if log.candidates.is_empty() && log.leaders.is_empty() {
        return Finding::Ok;
    }
    match &log.last {
        Some(last) if last.revision > 0 && last.ledger_from <= 1 && !last.is_unread() => {
            let ledger = &last.ledger;
            told_wrongly(log, ledger)
                .or_else(|| not_proclaimed(log, ledger))
                .or_else(|| seen_wrongly(log, ledger))
                .or_else(|| out_of_order(log, ledger))
                .unwrap_or(Finding::Ok)
        }
        Some(last) if last.is_unread() => Finding::Unknown("no member told its changes in time".to_owned()),
        Some(_) => Finding::Unknown("the ledger does not begin with the first revision".to_owned()),
        None => Finding::Unknown("the run ended before the store could be read a last time".to_owned()),
    }
}

/// Until when this client's lease lives for certain.
fn alive_until(candidate: &CandidateRecord, log: &RunLog) -> Duration {
    let drift = u32::try_from(log.plan.drift_ppm_max()).expect("at most 50 %");
    let ttl = Duration::from_secs(u64::try_from(candidate.ttl_seconds).unwrap_or(0));
    let shortest = ttl * 1_000_000 / (1_000_000 + drift);
    candidate.renewals.last().map_or(Duration::ZERO, |(asked, _)| *asked + shortest)
}

fn overlapping(log: &RunLog) -> Option<Finding> {
    let mut leaders: Vec<(&CandidateRecord, Duration, Duration)> = log
        .candidates
        .iter()
        .filter_map(|candidate| {
            let told = candidate.told?;
            let until = alive_until(candidate, log).min(candidate.released.unwrap_or(Duration::MAX));
            (told.ret < until).then_some((candidate, told.ret, until))
        })
        .collect();
    leaders.sort_by_key(|(_, from, _)| *from);
    for (at, (one, _, until)) in leaders.iter().enumerate() {
        let mut later = leaders[at + 1..].iter().take_while(|(_, from, _)| from < until);
        if let Some((other, from, _)) = later.find(|(other, ..)| other.name == one.name) {
            let sentence = format!(
                "client {} was told at {from:?} that it leads {}, which client {} led under a lease that lived until \
                 {until:?} at least",
                other.client, one.name, one.client
            );
            return Some(Finding::violation(sentence, Some(*from), None));
        }
    }
    None
}

fn not_kept(log: &RunLog) -> Option<Finding> {
    let (candidate, seen) = log.candidates.iter().find_map(|candidate| {
        let (seen, is_there) = candidate.looked?;
        (!is_there && seen.ret < alive_until(candidate, log)).then_some((candidate, seen))
    })?;
    let sentence = format!(
        "client {} leads {} by its key of revision {}, which was gone at {:?}, after it had given up an older leadership",
        candidate.client, candidate.name, candidate.revision, seen.ret
    );
    Some(Finding::violation(sentence, Some(seen.ret), None))
}

/// The oldest key of an election: its name, and the revisions that created and changed it.
type Oldest = (Vec<u8>, i64, i64);

/// Who leads an election, by the ledger, each time from this revision on.
fn reigns(ledger: &[Event], name: &str) -> Vec<(i64, Option<Oldest>)> {
    let prefix = format!("{name}/");
    let mut queue: BTreeMap<&[u8], (i64, i64)> = BTreeMap::new();
    let mut reigns: Vec<(i64, Option<Oldest>)> = vec![(0, None)];
    for event in ledger.iter().filter(|event| event.kv.key.starts_with(prefix.as_bytes())) {
        let revision = event.kv.mod_revision.0;
        match event.kind {
            EventKind::Put => queue.insert(&event.kv.key, (event.kv.create_revision.0, revision)),
            EventKind::Delete => queue.remove(event.kv.key.as_ref()),
        };
        let oldest = queue.iter().min_by_key(|(_, (created, _))| *created);
        let oldest = oldest.map(|(key, (created, changed))| (key.to_vec(), *created, *changed));
        // A revision is one step, whatever it changes.
        reigns.pop_if(|(from, _)| *from == revision);
        reigns.push((revision, oldest));
    }
    reigns
}

/// Whether somebody leads at a revision between two, both included.
fn leads_within(reigns: &[(i64, Option<Oldest>)], from: i64, to: i64, who: impl Fn(&Oldest) -> bool) -> bool {
    reigns.iter().enumerate().any(|(place, (begins, oldest))| {
        let ends = reigns.get(place + 1).map_or(i64::MAX, |(next, _)| *next - 1);
        *begins <= to && from <= ends && oldest.as_ref().is_some_and(&who)
    })
}

fn told_wrongly(log: &RunLog, ledger: &[Event]) -> Option<Finding> {
    let mut known: BTreeMap<&str, Vec<(i64, Option<Oldest>)>> = BTreeMap::new();
    let lives = |candidate: &&CandidateRecord| {
        candidate.told.is_some_and(|told| told.ret < alive_until(candidate, log))
    };
    for candidate in log.candidates.iter().filter(lives) {
        let reigns = known.entry(&candidate.name).or_insert_with(|| reigns(ledger, &candidate.name));
        let is_it =
            |(key, created, _): &Oldest| key == candidate.key.as_bytes() && *created == candidate.revision;
        if !leads_within(reigns, 0, i64::MAX, is_it) {
            let sentence = format!(
                "client {} was told that it leads {} by its key {} of revision {}, which was the oldest at no time",
                candidate.client, candidate.name, candidate.key, candidate.revision
            );
            return Some(Finding::violation(sentence, candidate.told.map(|told| told.ret), None));
        }
    }
    None
}

fn not_proclaimed(log: &RunLog, ledger: &[Event]) -> Option<Finding> {
    let stands: BTreeMap<(&[u8], i64), &Event> = ledger
        .iter()
        .filter(|event| event.kind == EventKind::Put)
        .map(|event| ((event.kv.key.as_ref(), event.kv.mod_revision.0), event))
        .collect();
    for candidate in &log.candidates {
        for said in &candidate.proclaimed {
            let Some(revision) = said.accepted else { continue };
            let found = stands.get(&(candidate.key.as_bytes(), revision));
            let is_there = found.is_some_and(|event| {
                event.kv.value == said.value.as_bytes() && event.kv.create_revision.0 == candidate.revision
            });
            if !is_there {
                let sentence = format!(
                    "client {} was told that it proclaimed {:?} at revision {revision} by its key {} of revision {}, where \
                     that does not stand",
                    candidate.client, said.value, candidate.key, candidate.revision
                );
                return Some(Finding::violation(sentence, Some(said.seen.ret), None));
            }
        }
    }
    None
}

fn seen_wrongly(log: &RunLog, ledger: &[Event]) -> Option<Finding> {
    let mut known: BTreeMap<&str, Vec<(i64, Option<Oldest>)>> = BTreeMap::new();
    for told in &log.leaders {
        let reigns = known.entry(&told.name).or_insert_with(|| reigns(ledger, &told.name));
        let changed = told.kv.mod_revision.0;
        // An answer is of its own moment; a stream may tell late what was so.
        let from = if told.stream.is_some() { changed } else { told.revision };
        let is_it = |(key, created, mod_revision): &Oldest| {
            *key == told.kv.key && *created == told.kv.create_revision.0 && *mod_revision == changed
        };
        if !leads_within(reigns, from, told.revision, is_it) {
            let sentence = format!(
                "client {} was told at revision {} that {} of revisions {} and {changed} leads {}, which it did not",
                told.client,
                told.revision,
                String::from_utf8_lossy(&told.kv.key),
                told.kv.create_revision,
                told.name
            );
            return Some(Finding::violation(sentence, Some(told.at), Some(told.member)));
        }
    }
    None
}

fn out_of_order(log: &RunLog, ledger: &[Event]) -> Option<Finding> {
    let mut before: BTreeMap<(u32, u32), &LeaderRecord> = BTreeMap::new();
    for told in &log.leaders {
        let Some(stream) = told.stream else { continue };
        let Some(last) = before.insert((told.client, stream), told) else { continue };
        let place = |told: &LeaderRecord| (told.kv.create_revision.0, told.kv.mod_revision.0);
        if place(told) <= place(last) {
            let sentence = format!(
                "client {} was told of the leader of {} of revisions {:?} after the one of {:?}",
                told.client,
                told.name,
                place(told),
                place(last)
            );
            return Some(Finding::violation(sentence, Some(told.at), Some(told.member)));
        }
        let skipped = ledger.iter().find(|event| {
            let between =
                last.kv.mod_revision < event.kv.mod_revision && event.kv.mod_revision < told.kv.mod_revision;
            let same = event.kv.key == last.kv.key && last.kv.create_revision == told.kv.create_revision;
            event.kind == EventKind::Put && between && same
        });
        if let Some(skipped) = skipped {
            let sentence = format!(
                "client {} was told nothing of what the leader of {} proclaimed at revision {}",
                told.client, told.name, skipped.kv.mod_revision
            );
            return Some(Finding::violation(sentence, Some(told.at), Some(told.member)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, ends_with, event, quiet, violated};
    use super::*;
    use crate::record::{Healing, Proclamation, Sighting};
    use seatrial_types::MemberId;

    /// Two candidates: the first leads by revision 2; the second stands since revision 3 and leads once the first is gone,
    /// at revision 5.
    fn run() -> RunLog {
        let mut log = quiet();
        let candidate = |client: u32, revision: i64, told: u64, released: u64| CandidateRecord {
            client,
            name: "elect/0".to_owned(),
            lease: i64::from(client),
            ttl_seconds: 3,
            renewals: vec![(at(told), at(told + 5))],
            told: Some(Sighting { call: at(90), ret: at(told) }),
            key: format!("elect/0/{client}"),
            revision,
            released: Some(at(released)),
            proclaimed: Vec::new(),
            looked: None,
        };
        log.candidates = vec![candidate(1, 2, 100, 500), candidate(2, 3, 600, 900)];
        ends_with(
            &mut log,
            vec![
                event(EventKind::Put, "elect/0/1", "a", 2, 1),
                event(EventKind::Put, "elect/0/2", "b", 3, 1),
                event(EventKind::Put, "elect/0/1", "c", 4, 3),
                event(EventKind::Delete, "elect/0/1", "", 5, 0),
                event(EventKind::Put, "elect/0/2", "d", 6, 4),
            ],
        );
        log
    }

    fn told(log: &mut RunLog, stream: Option<u32>, revision: i64, place: usize) {
        let kv = log.last.as_ref().unwrap().ledger[place].kv.clone();
        let (name, member) = ("elect/0".to_owned(), MemberId(1));
        log.leaders.push(LeaderRecord { client: 9, member, name, stream, at: at(1000), revision, kv });
    }

    #[test]
    fn two_leaders_at_one_time_are_a_violation_and_one_after_the_other_are_none() {
        let mut log = run();
        assert_eq!(check(&log), Finding::Ok);
        log.candidates[0].released = Some(at(601));
        assert!(violated(&check(&log)).starts_with("client 2 was told at 600ms that it leads elect/0"));
        log.candidates[1].told = Some(Sighting { call: at(90), ret: at(3101) });
        log.candidates[1].renewals = vec![(at(3101), at(3105))];
        log.candidates[1].released = None;
        log.candidates[0].released = None;
        assert_eq!(check(&log), Finding::Ok, "the first one's lease may be over");
    }

    #[test]
    fn a_key_that_was_never_the_oldest_does_not_lead() {
        let mut log = run();
        log.last.as_mut().unwrap().ledger.truncate(3);
        assert!(violated(&check(&log)).contains("was the oldest at no time"));
        log.candidates[1].renewals = Vec::new();
        assert_eq!(check(&log), Finding::Ok, "its lease may have ended in the queue");
    }

    #[test]
    fn what_was_proclaimed_stands_in_the_leaders_own_key() {
        let mut log = run();
        let seen = Sighting { call: at(200), ret: at(210) };
        log.candidates[0].proclaimed = vec![Proclamation { value: "c".to_owned(), seen, accepted: Some(4) }];
        assert_eq!(check(&log), Finding::Ok);
        log.candidates[0].proclaimed[0].accepted = Some(6);
        assert!(violated(&check(&log)).contains("where that does not stand"));
    }

    #[test]
    fn who_looks_is_told_who_leads() {
        let mut log = run();
        for (stream, revision, place) in [(None, 3, 0), (None, 5, 1), (Some(1), 3, 0), (Some(1), 9, 2)] {
            told(&mut log, stream, revision, place);
        }
        assert_eq!(check(&log), Finding::Ok, "a stream may tell late what was so");
        let mut late = log.clone();
        told(&mut late, None, 5, 0);
        assert!(violated(&check(&late)).contains("at revision 5 that elect/0/1 of revisions 2 and 2 leads"));
        let mut early = log.clone();
        told(&mut early, Some(2), 3, 1);
        assert!(violated(&check(&early)).contains("at revision 3 that elect/0/2"));
    }

    #[test]
    fn leaders_come_in_order_and_no_proclamation_is_left_out() {
        let mut log = run();
        for (revision, place) in [(3, 0), (4, 2), (5, 1), (6, 4)] {
            told(&mut log, Some(1), revision, place);
        }
        assert_eq!(check(&log), Finding::Ok);
        let mut back = log.clone();
        told(&mut back, Some(1), 4, 2);
        assert!(violated(&check(&back)).contains("after the one of"));
        let mut twice = log.clone();
        told(&mut twice, Some(1), 6, 4);
        assert!(violated(&check(&twice)).contains("after the one of"));
        let mut gap = log.clone();
        let ledger = &mut gap.last.as_mut().unwrap().ledger;
        ledger.push(event(EventKind::Put, "elect/0/2", "e", 7, 5));
        ledger.push(event(EventKind::Put, "elect/0/2", "f", 8, 6));
        told(&mut gap, Some(1), 8, 6);
        assert!(violated(&check(&gap)).contains("proclaimed at revision 7"));
    }

    #[test]
    fn an_older_leadership_that_is_given_up_again_leaves_the_newer_one_alone() {
        let mut log = run();
        let seen = Sighting { call: at(650), ret: at(660) };
        log.candidates[1].looked = Some((seen, true));
        assert_eq!(check(&log), Finding::Ok);
        log.candidates[1].looked = Some((seen, false));
        assert!(violated(&check(&log)).contains("which was gone at 660ms"));
        let late = Sighting { call: at(3650), ret: at(3660) };
        log.candidates[1].looked = Some((late, false));
        assert_eq!(check(&log), Finding::Ok, "its lease may be over");
    }

    #[test]
    fn an_election_that_nobody_can_win_in_the_end_is_a_violation() {
        let mut log = run();
        let won = ("elect/0".to_owned(), None);
        log.healing = Some(Healing { elections: vec![won], ..Healing::default() });
        assert_eq!(check(&log), Finding::Ok);
        log.healing.as_mut().unwrap().elections[0].1 = Some(at(9000));
        assert!(violated(&check(&log)).starts_with("nobody could win elect/0 until 9s"));
    }
}
