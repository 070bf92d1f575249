//! A run's log as the record which the report renders.

use crate::clients::EXPIRY_CLIENTS;
use crate::format::spec::VerdictKind;
use crate::goals;
use crate::judge::Judgement;
use crate::observation::{Observation, Role};
use crate::oracles::Finding;
use crate::record::{RunLog, nanos};

use seatrial_report as report;
use seatrial_report::{
    ClientOperation, FaultBand, FirstBad, Goal, LogLine, MemberInfo, OracleResult, Outage, OutageKind, Phase,
    ProgressPoint, ProgressSeries, RoleBand, RunRecord, RunVerdict, ScenarioInfo,
};
use seatrial_types::MemberId;
use std::collections::BTreeMap;
use std::time::Duration;

mod clients;
mod machines;
mod packets;

fn name(member: MemberId) -> String {
    format!("m{member}")
}

pub(crate) fn verdict(kind: VerdictKind) -> RunVerdict {
    match kind {
        VerdictKind::Pass => RunVerdict::Pass,
        VerdictKind::Violation => RunVerdict::Violation,
        VerdictKind::Inconclusive => RunVerdict::Inconclusive,
        VerdictKind::HarnessError => RunVerdict::HarnessError,
    }
}

fn operation(operation: &seatrial_history::Operation) -> ClientOperation {
    let member = operation.member.as_ref().map(|member| format!("m{member}"));
    ClientOperation { member, ..ClientOperation::from(operation) }
}

/// The record of a run. The replay command names the seed; a run folder has the plan beside it, too.
#[must_use]
pub(crate) fn to_record(
    log: &RunLog,
    judgement: &Judgement,
    world: &str,
    commit: &str,
    options: &[(String, String)],
) -> RunRecord {
    let plan = &log.plan;
    let storm = plan.scenario.time.min(log.ended);
    let mut phases = vec![Phase { name: "storm".to_owned(), from: 0, to: nanos(storm) }];
    if let Some(healing) = &log.healing {
        let healed = healing.healed.unwrap_or(healing.began + plan.scenario.expect.heals_within);
        phases.push(Phase { name: "heal".to_owned(), from: nanos(healing.began), to: nanos(healed) });
        if healed < log.ended {
            phases.push(Phase { name: "last look".to_owned(), from: nanos(healed), to: nanos(log.ended) });
        }
    }
    // What leases end has no client behind it; the history's checker needs it, a reader does not.
    let operations = log.history.operations.iter().enumerate();
    let shown: Vec<usize> = operations
        .filter(|(_, operation)| operation.client < EXPIRY_CLIENTS)
        .map(|(place, _)| place)
        .collect();
    let first = judgement.violated().next().map(|(_, violation)| violation);
    RunRecord {
        format: RunRecord::FORMAT,
        scenario: ScenarioInfo {
            name: plan.scenario.name.clone(),
            path: String::new(),
            title: plan.scenario.title.clone(),
            why: plan.scenario.why.clone(),
        },
        seed: plan.seed,
        commit: commit.to_owned(),
        options: options.iter().cloned().chain(knobs(log)).chain(pushes(log)).collect(),
        world: world.to_owned(),
        verdict: verdict(judgement.verdict),
        oracle: judgement.oracle.clone(),
        sentence: judgement.sentence.clone(),
        first_bad: first.map(|violation| FirstBad {
            at: nanos(violation.at.unwrap_or(log.ended)),
            text: violation.sentence.clone(),
            member: violation.member.map(name),
            operations: violation
                .operations
                .iter()
                .filter_map(|place| shown.binary_search(place).ok())
                .collect(),
        }),
        replay: format!("seatrial replay runs/{}-{}/plan.json", plan.scenario.name, plan.seed),
        trace_hash: format!("{:016x}", log.trace_hash),
        duration_ns: nanos(log.ended),
        cpu_ns: nanos(log.cpu),
        phases,
        members: plan
            .machines()
            .map(|id| MemberInfo { name: name(id), detail: format!("id {id}") })
            .collect(),
        roles: roles(log),
        outages: outages(log),
        faults: log
            .faults
            .iter()
            .map(|fault| FaultBand {
                kind: fault.kind.clone(),
                targets: fault.targets.iter().copied().map(name).collect(),
                from: nanos(fault.from),
                to: fault.to.map(nanos),
                text: fault.text.clone(),
            })
            .collect(),
        messages: packets::messages(log, first.map(|violation| nanos(violation.at.unwrap_or(log.ended)))),
        messages_total: log.packets_total,
        operations: shown.iter().map(|place| operation(&log.history.operations[*place])).collect(),
        spans: clients::spans(log),
        progress: progress(log),
        logs: logs(log),
        oracles: judgement.findings.iter().map(|(name, finding)| oracle_result(name, finding)).collect(),
        goals: goals_of(log),
        counts: counts(log),
        notes: log.harness_errors.clone(),
    }
}

fn knobs(log: &RunLog) -> Vec<(String, String)> {
    let knobs = &log.plan.knobs;
    [
        ("election timeout", format!("{:?}", knobs.election_timeout)),
        ("heartbeat", format!("{:?}", knobs.heartbeat)),
        ("segment bytes", knobs.segment_bytes.to_string()),
        ("snapshot entries", knobs.snapshot_entries.to_string()),
        ("append bytes", knobs.append_bytes.to_string()),
        ("net latency", format!("{:?}{}", knobs.net_latency, if knobs.still { ", exactly" } else { "" })),
        ("sync latency", format!("{:?}", knobs.sync_latency)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// What made rare orders of events likelier in this run.
fn pushes(log: &RunLog) -> Vec<(String, String)> {
    let priorities = log.plan.priorities.iter().map(|all| ("priorities of links".to_owned(), all.told()));
    let sites = log.plan.sites.iter().map(|active| {
        let times =
            log.sites.iter().find(|record| record.site == active.site).map_or(0, |record| record.times);
        (format!("told to {}", active.site), format!("{} ppm of the times: {times} times", active.ppm))
    });
    priorities.chain(sites).collect()
}

fn roles(log: &RunLog) -> Vec<RoleBand> {
    let mut bands: Vec<RoleBand> = Vec::new();
    let mut open: BTreeMap<MemberId, usize> = BTreeMap::new();
    let close = |bands: &mut Vec<RoleBand>, open: &mut BTreeMap<MemberId, usize>, member, at: Duration| {
        if let Some(place) = open.remove(&member) {
            bands[place].to = Some(nanos(at));
        }
    };
    let downs = log.outages.iter().filter(|outage| outage.kind != "pause");
    let mut downs: Vec<(Duration, MemberId)> = downs.map(|outage| (outage.from, outage.member)).collect();
    downs.sort_unstable();
    let mut downs = downs.into_iter().peekable();
    for seen in &log.observed {
        while downs.peek().is_some_and(|(at, _)| *at <= seen.at) {
            let (at, member) = downs.next().expect("just seen");
            close(&mut bands, &mut open, member, at);
        }
        match &seen.what {
            Observation::Role { .. } | Observation::Started { .. } => {
                let (term, role) = match &seen.what {
                    Observation::Role { term, role: Role::PreCandidate, .. } => {
                        (term, report::Role::PreCandidate)
                    }
                    Observation::Role { term, role: Role::Candidate, .. } => (term, report::Role::Candidate),
                    Observation::Role { term, role: Role::Leader, .. } => (term, report::Role::Leader),
                    // Who starts is a follower (Raft §5.2), and says so only once it hears of somebody.
                    Observation::Role { term, .. } | Observation::Started { term, .. } => {
                        (term, report::Role::Follower)
                    }
                    _ => continue,
                };
                if let Some(place) = open.get(&seen.member)
                    && bands[*place].role == role
                    && bands[*place].term == term.0
                {
                    continue;
                }
                close(&mut bands, &mut open, seen.member, seen.at);
                open.insert(seen.member, bands.len());
                bands.push(RoleBand {
                    member: name(seen.member),
                    role,
                    term: term.0,
                    from: nanos(seen.at),
                    to: None,
                });
            }
            Observation::Failed { .. } | Observation::BootFailed { .. } => {
                close(&mut bands, &mut open, seen.member, seen.at);
            }
            _ => {}
        }
    }
    for (at, member) in downs {
        close(&mut bands, &mut open, member, at);
    }
    bands
}

fn outages(log: &RunLog) -> Vec<Outage> {
    let mut outages: Vec<Outage> = log
        .outages
        .iter()
        .map(|outage| Outage {
            member: name(outage.member),
            kind: match outage.kind.as_str() {
                "power-loss" => OutageKind::PowerLoss,
                "pause" => OutageKind::Pause,
                _ => OutageKind::Crash,
            },
            from: nanos(outage.from),
            to: outage.to.map(nanos),
            text: String::new(),
        })
        .collect();
    // A member that stopped by itself is down until it starts again.
    for (at, seen) in log.observed.iter().enumerate() {
        let (Observation::Failed { why: text } | Observation::BootFailed { error: text }) = &seen.what else {
            continue;
        };
        let back = log.observed[at..].iter().find(|later| {
            later.member == seen.member
                && later.incarnation > seen.incarnation
                && matches!(later.what, Observation::Started { .. })
        });
        outages.push(Outage {
            member: name(seen.member),
            kind: OutageKind::Panic,
            from: nanos(seen.at),
            to: back.map(|later| nanos(later.at)),
            text: text.clone(),
        });
    }
    outages
}

fn progress(log: &RunLog) -> Vec<ProgressSeries> {
    /// One point in so much time is enough for a picture.
    const STEP: Duration = Duration::from_millis(100);
    let mut series: BTreeMap<MemberId, Vec<ProgressPoint>> =
        log.plan.machines().map(|member| (member, Vec::new())).collect();
    let mut now: BTreeMap<MemberId, (u64, u64)> = BTreeMap::new();
    for seen in &log.observed {
        let (last, applied) = now.entry(seen.member).or_default();
        match seen.what {
            Observation::Applied { index, .. } => *applied = index.0,
            Observation::SnapshotInstalled { index, .. } => *applied = index.0,
            Observation::Started { applied: start, .. } => *applied = start.0,
            Observation::Durable { index } => *last = index.0,
            _ => continue,
        }
        let point = ProgressPoint {
            at: nanos(seen.at),
            last: (*last).max(*applied),
            commit: *applied,
            applied: *applied,
        };
        let points = series.entry(seen.member).or_default();
        let is_first = points.len() < 2;
        match points.last_mut() {
            Some(newest) if !is_first && point.at - newest.at < nanos(STEP) => {
                *newest = ProgressPoint { at: newest.at, ..point };
            }
            _ => points.push(point),
        }
    }
    series.into_iter().map(|(member, points)| ProgressSeries { member: name(member), points }).collect()
}

fn logs(log: &RunLog) -> Vec<LogLine> {
    let mut lines = Vec::new();
    for seen in &log.observed {
        let (level, text) = match &seen.what {
            Observation::Started { term, applied } => {
                ("info", format!("started in term {term}, applied {applied}"))
            }
            Observation::BootFailed { error } => ("error", format!("does not start: {error}")),
            Observation::Role { term, role: Role::Leader, .. } => {
                ("info", format!("became leader of term {term}"))
            }
            Observation::SnapshotStarted { to, index } => {
                ("info", format!("began to send a snapshot of index {index} to m{to}"))
            }
            Observation::SnapshotInstalled { index, term } => {
                ("info", format!("installed a snapshot of index {index}, term {term}"))
            }
            Observation::LogCompacted { index } => ("debug", format!("compacted its log up to {index}")),
            Observation::Finding { text, damage } => (if *damage { "warn" } else { "info" }, text.clone()),
            Observation::Corrupt { text, .. } => ("error", text.clone()),
            Observation::Inconsistent { text } => ("error", format!("does not start: {text}")),
            Observation::Damaged { revision } => {
                ("warn", format!("has another value at revision {revision} from here on"))
            }
            Observation::Repaired => ("info", "has the right value again".to_owned()),
            Observation::LeaseExpired { lease } => ("debug", format!("lease {lease} ran out")),
            Observation::Config { id, index, voters, outgoing, learners, .. } => {
                let list = |ids: &std::collections::BTreeSet<MemberId>| {
                    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
                };
                let (voters, outgoing, learners) = (list(voters), list(outgoing), list(learners));
                let text = format!(
                    "as {id}: configuration of entry {index}: voters {voters}; outgoing {outgoing}; learners {learners}"
                );
                ("debug", text)
            }
            Observation::Removed => ("info", "was removed from the cluster".to_owned()),
            Observation::Failed { why } => ("error", format!("stopped: {why}")),
            Observation::Said { level, text } => (level.as_str(), text.clone()),
            Observation::Applied { .. }
            | Observation::Log { .. }
            | Observation::Role { .. }
            | Observation::Durable { .. } => continue,
        };
        lines.push(LogLine { at: nanos(seen.at), member: name(seen.member), level: level.to_owned(), text });
    }
    for (member, text) in &log.panics {
        let member = member.map_or("harness".to_owned(), name);
        lines.push(LogLine {
            at: nanos(log.ended),
            member,
            level: "error".to_owned(),
            text: format!("panicked: {text}"),
        });
    }
    lines
}

fn oracle_result(name: &str, finding: &Finding) -> OracleResult {
    let (verdict, sentence) = match finding {
        Finding::Ok => (RunVerdict::Pass, String::new()),
        Finding::Violation(violation) => (RunVerdict::Violation, violation.sentence.clone()),
        Finding::Unknown(why) => (RunVerdict::Inconclusive, why.clone()),
    };
    OracleResult { name: name.to_owned(), verdict, sentence }
}

fn goals_of(log: &RunLog) -> Vec<Goal> {
    let times: BTreeMap<_, _> = goals::first_times(log).into_iter().collect();
    log.plan
        .scenario
        .goals
        .iter()
        .map(|goal| {
            let at = times.get(goal).copied().flatten();
            Goal {
                name: goal.name().to_owned(),
                reached: at.is_some(),
                at: at.map(nanos),
                text: String::new(),
            }
        })
        .collect()
}

fn counts(log: &RunLog) -> BTreeMap<String, u64> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut count = |name: &str| *counts.entry(name.to_owned()).or_insert(0) += 1;
    for operation in &log.history.operations {
        match &operation.outcome {
            seatrial_history::Outcome::Ok { .. } => count("operations answered"),
            seatrial_history::Outcome::Failed { .. } => count("operations refused"),
            seatrial_history::Outcome::Unknown { .. } => count("operations with unknown outcome"),
        }
    }
    for seen in &log.observed {
        match &seen.what {
            Observation::Role { role: Role::Leader, .. } => count("elections won"),
            Observation::Applied { .. } => count("entries applied (all members)"),
            Observation::SnapshotInstalled { .. } => count("snapshots installed"),
            Observation::Started { .. } if seen.incarnation > 0 => count("restarts"),
            _ => {}
        }
    }
    for batch in log.watches.iter().flat_map(|watch| &watch.batches) {
        (0..batch.events.len()).for_each(|_| count("events delivered to watchers"));
    }
    log.faults.iter().for_each(|_| count("faults"));
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracles::testing::{leads, quiet, saw};
    use seatrial_types::{LogIndex, Term};

    #[test]
    fn a_member_follows_from_its_start_until_it_is_something_else() {
        let mut log = quiet();
        saw(&mut log, 10, 1, 0, Observation::Started { term: Term(3), applied: LogIndex(7) });
        let follows = Observation::Role { term: Term(3), role: Role::Follower, leader: MemberId(2) };
        saw(&mut log, 20, 1, 0, follows);
        saw(&mut log, 30, 1, 0, leads(4));
        let bands = roles(&log);
        let told: Vec<_> = bands.iter().map(|band| (band.role, band.term, band.from / 1_000_000)).collect();
        assert_eq!(told, [(report::Role::Follower, 3, 10), (report::Role::Leader, 4, 30)]);
        assert_eq!(bands[0].to, Some(30_000_000));
    }
}
