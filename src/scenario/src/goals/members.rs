//! Goals about elections, outages and how far members are.

use super::Met;
use super::story::{Story, within};
use crate::format::spec::GoalKind;
use crate::observation::{Observation, Role};
use crate::record::{OutageRecord, RunLog};
use seatrial_types::{LogIndex, MemberId, Term};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// A snapshot that has not arrived after so long is not on its way any more.
const ON_ITS_WAY: Duration = Duration::from_secs(2);

pub(super) fn elections(log: &RunLog, story: &Story, met: &mut Met) {
    let mut roles: BTreeMap<MemberId, (Role, Term)> = BTreeMap::new();
    let mut candidates: BTreeMap<Term, BTreeSet<MemberId>> = BTreeMap::new();
    let mut have_led: BTreeSet<MemberId> = BTreeSet::new();
    for seen in &log.observed {
        if matches!(seen.what, Observation::Started { .. }) {
            roles.remove(&seen.member);
        }
        let Observation::Role { term, role, leader } = seen.what else { continue };
        let before = roles.insert(seen.member, (role, term));
        match (before.map(|(role, _)| role), role) {
            (_, Role::PreCandidate) if !have_led.is_empty() => met.at(GoalKind::PreVoteAsked, seen.at),
            (Some(Role::PreCandidate), Role::Follower) => met.at(GoalKind::PreVoteLost, seen.at),
            (Some(Role::Candidate), Role::Follower) => met.at(GoalKind::CandidacyLost, seen.at),
            _ => {}
        }
        if role == Role::Candidate {
            let rivals = candidates.entry(term).or_default();
            rivals.insert(seen.member);
            if rivals.len() > 1 {
                met.at(GoalKind::ElectionSplit, seen.at);
            }
        }
        if role == Role::Follower && leader != MemberId::NONE && have_led.contains(&seen.member) {
            met.at(GoalKind::OldLeaderFollows, seen.at);
        }
        if role == Role::Leader {
            have_led.insert(seen.member);
        }
        if term >= Term(10) {
            met.at(GoalKind::TermTen, seen.at);
        }
    }
    for (place, goal) in [(2, GoalKind::ThirdLeader), (4, GoalKind::FifthLeader)] {
        if let Some(reign) = story.reigns.get(place) {
            met.at(goal, reign.from);
        }
    }
    for (at, reign) in story.reigns.iter().enumerate() {
        let earlier = &story.reigns[..at];
        let led = earlier.iter().position(|other| other.member == reign.member);
        if led.is_some_and(|led| earlier[led..].iter().any(|other| other.member != reign.member)) {
            met.at(GoalKind::LeaderAgain, reign.from);
        }
        let rival = |other: &&super::story::Reign| {
            other.member != reign.member && within(other.from, other.to, reign.from)
        };
        if earlier.iter().any(|other| rival(&other)) {
            met.at(GoalKind::TwoBelieveToLead, reign.from);
        }
        if let (true, Some(to)) = (reign.stepped_down, reign.to) {
            met.at(GoalKind::LeaderSteppedDown, to);
        }
        // From its end until the next who leads.
        if let Some(to) = reign.to.filter(|to| story.leader(*to).is_none()) {
            let next = story.reigns.iter().map(|other| other.from).filter(|from| *from >= to).min();
            if next.unwrap_or(log.ended) >= to + SECOND {
                met.at(GoalKind::LeaderlessSecond, to + SECOND);
            }
        }
    }
}

pub(super) fn outages(log: &RunLog, story: &Story, met: &mut Met) {
    let first: BTreeSet<MemberId> = log.plan.members().collect();
    let all = first.len();
    let mut down: BTreeMap<MemberId, u32> = BTreeMap::new();
    let mut outages: Vec<&OutageRecord> = log.outages.iter().collect();
    outages.sort_by_key(|outage| outage.from);
    for outage in &outages {
        // The leader until this moment: its reign ends with the outage itself.
        let just_before = outage.from.saturating_sub(Duration::from_nanos(1));
        if story.leader(just_before) == Some(outage.member) {
            match outage.kind.as_str() {
                "kill" => met.at(GoalKind::LeaderKilled, outage.from),
                "power-loss" => met.at(GoalKind::LeaderLostPower, outage.from),
                "pause" => met.at(GoalKind::LeaderPaused, outage.from),
                _ => {}
            }
        }
        let at_once: BTreeSet<MemberId> = outages
            .iter()
            .filter(|other| within(other.from, other.to, outage.from))
            .map(|other| other.member)
            .filter(|member| first.contains(member))
            .collect();
        if at_once.len() * 2 > all {
            met.at(GoalKind::MajorityDown, outage.from);
        }
        if at_once.len() >= all {
            met.at(GoalKind::AllDown, outage.from);
        }
        if outage.kind != "pause" {
            let times = down.entry(outage.member).or_default();
            *times += 1;
            if *times > 1 {
                met.at(GoalKind::DiedTwice, outage.from);
            }
        }
    }
    for seen in log.observed.iter().filter(|seen| matches!(seen.what, Observation::Failed { .. })) {
        let just_before = seen.at.saturating_sub(Duration::from_nanos(1));
        if story.leader(just_before) == Some(seen.member) {
            met.at(GoalKind::LeaderStopped, seen.at);
        }
    }
    let deaths = |member: MemberId, from: Duration, to: Duration| {
        outages
            .iter()
            .filter(move |outage| outage.kind != "pause" && outage.member == member)
            .map(|outage| outage.from)
            .find(|at| from <= *at && *at < to)
    };
    let mut compacted: BTreeSet<MemberId> = BTreeSet::new();
    let mut campaigning: BTreeMap<MemberId, Duration> = BTreeMap::new();
    for (place, seen) in log.observed.iter().enumerate() {
        let since = seen.at;
        match &seen.what {
            Observation::Started { .. } => {
                if let Some(from) = campaigning.remove(&seen.member)
                    && let Some(at) = deaths(seen.member, from, since)
                {
                    met.at(GoalKind::CandidateDied, at);
                }
                if seen.incarnation > 0
                    && let Some(at) = deaths(seen.member, since, since + SECOND)
                {
                    met.at(GoalKind::DiedAfterStart, at);
                }
                if compacted.contains(&seen.member) {
                    met.at(GoalKind::StartedCompacted, seen.at);
                }
            }
            Observation::LogCompacted { .. } => {
                compacted.insert(seen.member);
                if let Some(at) = deaths(seen.member, since, since + SECOND / 2) {
                    met.at(GoalKind::DiedAfterCompaction, at);
                }
            }
            Observation::SnapshotStarted { to, .. } => {
                let arrived = log.observed[place..].iter().find(|later| {
                    later.member == *to && matches!(later.what, Observation::SnapshotInstalled { .. })
                });
                let until = arrived.map_or(since + ON_ITS_WAY, |later| later.at.min(since + ON_ITS_WAY));
                if let Some(at) = deaths(*to, since, until) {
                    met.at(GoalKind::DiedWhileInstalling, at);
                }
                if let Some(at) = deaths(seen.member, since, until) {
                    met.at(GoalKind::SenderDied, at);
                }
                let begun = log.faults.iter().map(|fault| fault.from).find(|at| since <= *at && *at < until);
                if let Some(at) = begun {
                    met.at(GoalKind::FaultDuringSnapshot, at);
                }
            }
            Observation::Role { role: Role::PreCandidate | Role::Candidate, .. } => {
                campaigning.insert(seen.member, since);
            }
            Observation::Role { .. } => {
                if let Some(from) = campaigning.remove(&seen.member)
                    && let Some(at) = deaths(seen.member, from, since)
                {
                    met.at(GoalKind::CandidateDied, at);
                }
            }
            _ => {}
        }
    }
    for (member, from) in campaigning {
        if let Some(at) = deaths(member, from, log.ended) {
            met.at(GoalKind::CandidateDied, at);
        }
    }
}

pub(super) fn progress(log: &RunLog, met: &mut Met) {
    let mut applied: BTreeMap<MemberId, LogIndex> = BTreeMap::new();
    // Members that run, as far as they have told.
    let mut behind: BTreeSet<MemberId> = BTreeSet::new();
    let (mut snapshots, mut compactions) = (BTreeMap::new(), BTreeMap::new());
    let mut newest = 0;
    for seen in &log.observed {
        match &seen.what {
            Observation::Started { applied: index, .. } => {
                applied.insert(seen.member, *index);
                if seen.incarnation > 0 && index.0 + 50 <= newest {
                    met.at(GoalKind::StartedBehind, seen.at);
                }
            }
            Observation::Applied { index, .. } => {
                newest = newest.max(index.0);
                applied.insert(seen.member, *index);
                if index.0 >= 1000 {
                    met.at(GoalKind::ThousandEntries, seen.at);
                }
                let lag = newest - index.0;
                if lag >= 50 {
                    met.at(GoalKind::LaggedFifty, seen.at);
                    behind.insert(seen.member);
                }
                if lag >= 500 {
                    met.at(GoalKind::LaggedFiveHundred, seen.at);
                }
                if lag <= 5 && behind.remove(&seen.member) {
                    met.at(GoalKind::CaughtUpByLog, seen.at);
                }
            }
            Observation::SnapshotInstalled { .. } => {
                behind.remove(&seen.member);
                let times = snapshots.entry(seen.member).or_insert(0);
                *times += 1;
                if *times > 1 {
                    met.at(GoalKind::SecondSnapshot, seen.at);
                }
            }
            Observation::LogCompacted { .. } => {
                let times = compactions.entry(seen.member).or_insert(0);
                *times += 1;
                if *times > 2 {
                    met.at(GoalKind::ThirdCompaction, seen.at);
                }
            }
            _ => {}
        }
    }
}

pub(super) fn membership(log: &RunLog, story: &Story, met: &mut Met) {
    let mut first = None;
    let mut joint: BTreeMap<MemberId, Duration> = BTreeMap::new();
    for seen in &log.observed {
        match &seen.what {
            Observation::Config { voters, outgoing, learners, .. } => {
                let at_first = *first.get_or_insert(voters.len());
                if !learners.is_empty() {
                    met.at(GoalKind::LearnerThere, seen.at);
                }
                if outgoing.is_empty() {
                    if let Some(from) = joint.remove(&seen.member) {
                        met.at(GoalKind::JointLeft, seen.at);
                        joint_fault(log, from, seen.at, met);
                    }
                } else {
                    joint.entry(seen.member).or_insert(seen.at);
                }
                match voters.len().cmp(&at_first) {
                    std::cmp::Ordering::Less => met.at(GoalKind::VotersShrank, seen.at),
                    std::cmp::Ordering::Greater => met.at(GoalKind::VotersGrew, seen.at),
                    std::cmp::Ordering::Equal => {}
                }
            }
            Observation::Removed if story.reigns.iter().any(|reign| reign.member == seen.member) => {
                met.at(GoalKind::LeaderRemoved, seen.at);
            }
            _ => {}
        }
    }
    for from in joint.into_values() {
        joint_fault(log, from, log.ended, met);
    }
    let mut done: Vec<Duration> =
        log.changes.iter().filter(|change| change.error.is_none()).map(|change| change.seen.ret).collect();
    done.sort_unstable();
    if let Some(third) = done.get(2) {
        met.at(GoalKind::ThirdChange, *third);
    }
    for change in log.changes.iter().filter(|change| change.error.is_some()) {
        met.at(GoalKind::ChangeRefused, change.seen.ret);
    }
}

fn joint_fault(log: &RunLog, from: Duration, to: Duration, met: &mut Met) {
    for fault in log.faults.iter().filter(|fault| from <= fault.from && fault.from < to) {
        met.at(GoalKind::FaultDuringJoint, fault.from);
    }
}
