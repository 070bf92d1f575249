//! While a majority of members hears each other, there is one leader and it serves (thesis §6.2, §9.6; Cloudflare,
//! 2020-11-02).
//!
//! Asked for by `serves_within`. A *calm* is a time in which no fault begins or ends, nobody is down, the only faults are
//! cut links, and some majority has no cut link within. Every calm gets the bound to settle. From then on until its end no
//! other leader may be elected; and in every stretch as long as the bound in which clients asked somebody to write who is in
//! such a majority together with the leader, a write is acknowledged.
//!
//! Does not see service lost under other faults, nor how fast writes are. Asked writes are those of the history.

use super::Finding;
use crate::format::options::FaultOptions;
use crate::format::spec::Shape;
use crate::observation::{Observation, Role};
use crate::record::RunLog;
use seatrial_types::MemberId;
use std::collections::BTreeSet;
use std::time::Duration;

/// Fewer writes asked in a stretch say nothing.
const ASKED_MIN: usize = 3;

/// A time in which nothing changed, and the members of all majorities that hear each other.
#[derive(Debug)]
struct Calm {
    from: Duration,
    to: Duration,
    majorities: Vec<Vec<MemberId>>,
    majority: BTreeSet<MemberId>,
}

pub(super) fn check(log: &RunLog) -> Finding {
    let Some(bound) = log.plan.scenario.expect.serves_within else { return Finding::Ok };
    for calm in calms(log) {
        let settled = calm.from + bound;
        if settled >= calm.to {
            continue;
        }
        if let Some(violation) = led_anew(log, &calm, settled).or_else(|| not_served(log, &calm, bound)) {
            return violation;
        }
    }
    Finding::Ok
}

fn describe(majority: &BTreeSet<MemberId>) -> String {
    majority.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn calms(log: &RunLog) -> Vec<Calm> {
    let storm = log.plan.scenario.time;
    let mut moments: BTreeSet<Duration> = [Duration::from_secs(1), storm].into();
    let spans = log.faults.iter().map(|fault| (fault.from, fault.to));
    let spans = spans.chain(log.outages.iter().map(|outage| (outage.from, outage.to)));
    for (from, to) in spans {
        moments.extend([from.min(storm), to.unwrap_or(storm).min(storm)]);
    }
    let moments: Vec<Duration> = moments.into_iter().collect();
    let pairs = moments.windows(2).map(|pair| (pair[0], pair[1]));
    pairs
        .filter_map(|(from, to)| {
            let during =
                |began: Duration, ended: Option<Duration>| began < to && ended.is_none_or(|end| end > from);
            let faults: Vec<_> = log.faults.iter().filter(|fault| during(fault.from, fault.to)).collect();
            // Clients that are cut off as well may reach no majority: it serves, but not them.
            // And who swizzles comes and goes.
            let splits = |id| {
                log.plan.faults.iter().any(|fault| {
                    let FaultOptions { clients_split, shape, .. } = fault.options;
                    fault.id == id && (clients_split || shape == Shape::Swizzle)
                })
            };
            let is_quiet = faults.iter().all(|fault| fault.kind == "partition" && !splits(fault.id))
                && !log.outages.iter().any(|outage| during(outage.from, outage.to));
            let cut: BTreeSet<(MemberId, MemberId)> =
                faults.iter().flat_map(|fault| fault.cut.iter().copied()).collect();
            let majorities = if is_quiet { connected(log, &cut) } else { Vec::new() };
            let majority = majorities.iter().flatten().copied().collect();
            (!majorities.is_empty()).then_some(Calm { from, to, majorities, majority })
        })
        .collect()
}

/// Every majority within which no link is cut. At most nine members: every subset is looked at.
fn connected(log: &RunLog, cut: &BTreeSet<(MemberId, MemberId)>) -> Vec<Vec<MemberId>> {
    let members: Vec<MemberId> = log.plan.members().collect();
    let majority = members.len() / 2 + 1;
    let mut found = Vec::new();
    for subset in 0_u32..1 << members.len() {
        if subset.count_ones() as usize != majority {
            continue;
        }
        let inside: Vec<MemberId> =
            members.iter().enumerate().filter(|(at, _)| subset & (1 << at) != 0).map(|(_, m)| *m).collect();
        let hears_all = inside.iter().all(|a| inside.iter().all(|b| !cut.contains(&(*a, *b))));
        if hears_all {
            found.push(inside);
        }
    }
    found
}

fn led_anew(log: &RunLog, calm: &Calm, settled: Duration) -> Option<Finding> {
    let elected = log.observed.iter().find(|seen| {
        matches!(seen.what, Observation::Role { role: Role::Leader, .. })
            && seen.at > settled
            && seen.at < calm.to
    })?;
    let sentence = format!(
        "member {} became leader at {:?}, though since {:?} nothing had changed and members {} heard each other in \
         majorities",
        elected.member,
        elected.at,
        calm.from,
        describe(&calm.majority)
    );
    Some(Finding::violation(sentence, Some(elected.at), Some(elected.member)))
}

/// Who can be asked: those that are in a majority together with the leader. Others may hear a majority, but not it.
fn servers(log: &RunLog, calm: &Calm, settled: Duration) -> BTreeSet<MemberId> {
    let mut leaders = log.observed.iter().filter(|seen| {
        seen.at <= settled && matches!(seen.what, Observation::Role { role: Role::Leader, .. })
    });
    let Some(leader) = leaders.next_back().map(|seen| seen.member) else { return calm.majority.clone() };
    let with: BTreeSet<MemberId> =
        calm.majorities.iter().filter(|majority| majority.contains(&leader)).flatten().copied().collect();
    if with.is_empty() { calm.majority.clone() } else { with }
}

fn not_served(log: &RunLog, calm: &Calm, bound: Duration) -> Option<Finding> {
    let servers = servers(log, calm, calm.from + bound);
    let names: BTreeSet<String> = servers.iter().map(ToString::to_string).collect();
    let asked: Vec<(Duration, Option<Duration>)> = log
        .history
        .operations
        .iter()
        .filter(|op| op.input.can_write() && op.member.as_ref().is_some_and(|member| names.contains(member)))
        .map(|op| {
            let is_acknowledged = op.outcome.answered().is_some();
            let ret = op.ret.filter(|_| is_acknowledged).map(Duration::from_nanos);
            (Duration::from_nanos(op.call), ret)
        })
        .collect();
    // A stretch begins where the calm does, or where a write was acknowledged.
    let mut begins: Vec<Duration> = asked.iter().filter_map(|(_, ret)| *ret).collect();
    begins.push(calm.from);
    begins.sort_unstable();
    for from in begins.into_iter().filter(|from| *from >= calm.from && *from + bound < calm.to) {
        let to = from + bound;
        let inside = asked.iter().filter(|(call, _)| *call >= from && *call < to).count();
        let served = asked.iter().any(|(_, ret)| ret.is_some_and(|ret| ret > from && ret <= to));
        if inside >= ASKED_MIN && !served {
            let sentence = format!(
                "from {from:?} to {to:?} no write was acknowledged, of {inside} that members {} were asked for; they heard \
                 each other in majorities",
                describe(&servers)
            );
            return Some(Finding::violation(sentence, Some(to), None));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, leads, put, quiet, saw, violated};
    use super::*;
    use crate::record::{FaultRecord, OutageRecord};

    fn id(number: u64) -> MemberId {
        MemberId(number)
    }

    /// Three members; the link between 1 and 3 is cut from 2 s to 8 s, writes are asked of member 2 all the time.
    fn bridge(served: bool) -> RunLog {
        let mut log = quiet();
        log.plan.scenario.expect.serves_within = Some(at(2000));
        log.faults.push(FaultRecord {
            id: 0,
            kind: "partition".to_owned(),
            targets: Vec::new(),
            from: at(2000),
            to: Some(at(8000)),
            text: String::new(),
            cut: vec![(id(1), id(3)), (id(3), id(1))],
        });
        for ms in (1500..9500).step_by(100) {
            put(&mut log, (ms, ms + 10), "k", "v", i64::try_from(ms).unwrap());
            let op = log.history.operations.last_mut().unwrap();
            op.member = Some("2".to_owned());
            if !served && (4000..7000).contains(&ms) {
                op.outcome = seatrial_history::Outcome::Unknown { error: "timed out".to_owned() };
            }
        }
        log
    }

    #[test]
    fn a_leader_elected_in_a_settled_calm_is_a_violation() {
        let mut log = bridge(true);
        saw(&mut log, 3900, 1, 0, leads(2));
        assert_eq!(check(&log), Finding::Ok, "it may settle first");
        saw(&mut log, 4001, 3, 0, leads(3));
        assert!(violated(&check(&log)).starts_with("member 3 became leader at 4.001s"));
    }

    #[test]
    fn writes_that_nobody_takes_are_a_violation() {
        assert_eq!(check(&bridge(true)), Finding::Ok);
        assert!(violated(&check(&bridge(false))).contains("no write was acknowledged"));
    }

    #[test]
    fn who_hears_a_majority_but_not_its_leader_need_not_serve() {
        let mut log = bridge(false);
        saw(&mut log, 1000, 1, 0, leads(1));
        assert!(violated(&check(&log)).contains("that members 1 2 were asked for"));
        for op in &mut log.history.operations {
            op.member = Some("3".to_owned());
        }
        assert_eq!(check(&log), Finding::Ok, "3 hears 2, but not the leader 1");
    }

    #[test]
    fn nothing_is_asked_without_a_bound_or_a_majority_or_while_somebody_is_down() {
        let mut log = bridge(false);
        saw(&mut log, 4001, 3, 0, leads(3));
        let (kind, member) = ("kill".to_owned(), id(2));
        log.outages.push(OutageRecord { member, kind, from: at(2000), to: Some(at(8000)) });
        assert_eq!(check(&log), Finding::Ok, "one is down");
        let mut log = bridge(false);
        saw(&mut log, 4001, 3, 0, leads(3));
        log.faults[0].cut.extend([(id(1), id(2)), (id(2), id(3))]);
        assert_eq!(check(&log), Finding::Ok, "no majority");
        let mut log = bridge(false);
        let mut split = crate::format::script::usual_fault(crate::format::spec::NemesisKind::Partition, 3);
        split.options.clients_split = true;
        log.plan.faults = vec![split];
        assert_eq!(check(&log), Finding::Ok, "clients may reach no majority");
        let mut log = bridge(false);
        log.plan.scenario.expect.serves_within = None;
        assert_eq!(check(&log), Finding::Ok, "no bound");
        let mut log = bridge(false);
        log.faults[0].kind = "loss".to_owned();
        assert_eq!(check(&log), Finding::Ok, "another fault");
    }
}
