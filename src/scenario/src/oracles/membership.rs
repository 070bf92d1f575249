//! Members agree on who they are, and change that by safe steps (Raft §6; thesis §4; etcd: strict reconfiguration).
//!
//! A *committed* configuration is one whose entry some member has applied. The rules:
//! 1. *One at an index.* No two members apply different configurations there.
//! 2. *Overlap.* From one committed configuration to the next at most one voter comes or goes, or a joint configuration
//!    leads from the one to the other: their majorities meet.
//! 3. *Own term first.* A leader puts a configuration into its log only once it has committed an entry of its own term;
//!    otherwise two leaders, each with a change of its own, may have majorities that do not meet (the bug of 2015 in the
//!    thesis' single-server changes).
//! 4. *Never again.* An id that has left is never a member again: whoever comes back under it has forgotten what it voted
//!    and acknowledged (RethinkDB 2.2.3).
//! 5. *Only voters campaign.* Who leads or campaigns votes in the configuration in force at it, or in the one before.
//! 6. *Nobody is counted on who never ran.* A voter of a committed configuration has started under its id.
//! 7. *Removed is removed.* A member that heard of its removal answers nothing any more.
//! 8. *Joint configurations are left.* After the healing none is in force that did not begin in the last moments: a member
//!    that is just being given its vote goes through one.
//!
//! Does not see a configuration that no member ever applied, but for rule 3, and that rule not where the leader ends in
//! the same moment; nor a removed member that did not hear of it.

use super::Finding;
use crate::observation::{Observation, Observed, Role};
use crate::record::RunLog;
use seatrial_types::{LogIndex, MemberId, Term};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What it takes to leave a joint configuration, with a new leader on the way.
const LEAVING: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Config {
    voters: BTreeSet<MemberId>,
    outgoing: BTreeSet<MemberId>,
    learners: BTreeSet<MemberId>,
}

impl Config {
    fn votes(&self, id: MemberId) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id)
    }

    fn has(&self, id: MemberId) -> bool {
        self.votes(id) || self.learners.contains(&id)
    }

    fn ids(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.voters.iter().chain(&self.outgoing).chain(&self.learners).copied()
    }

    fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    fn show(&self) -> String {
        let list =
            |ids: &BTreeSet<MemberId>| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let mut text = format!("voters {}", list(&self.voters));
        if self.is_joint() {
            text += &format!(", outgoing {}", list(&self.outgoing));
        }
        if !self.learners.is_empty() {
            text += &format!(", learners {}", list(&self.learners));
        }
        text
    }
}

/// What one incarnation of a member has told.
#[derive(Default)]
struct Told {
    id: MemberId,
    /// By index; what a later leader replaced is replaced here.
    configs: BTreeMap<LogIndex, (Term, Config)>,
    /// The one in force, and the one before.
    now: Option<Config>,
    before: Option<Config>,
    removed: Option<Duration>,
}

/// A committed configuration, and who applied it first.
struct Committed {
    config: Config,
    by: MemberId,
    at: Duration,
}

pub(super) fn check(log: &RunLog) -> Finding {
    let mut told: BTreeMap<(MemberId, u32), Told> = BTreeMap::new();
    let mut committed: BTreeMap<LogIndex, Committed> = BTreeMap::new();
    let mut started: BTreeSet<MemberId> = BTreeSet::new();
    for seen in &log.observed {
        let member = told.entry((seen.member, seen.incarnation)).or_default();
        let found = match &seen.what {
            Observation::Config { id, index, term, voters, outgoing, learners, .. } => {
                let (voters, outgoing, learners) = (voters.clone(), outgoing.clone(), learners.clone());
                let config = Config { voters, outgoing, learners };
                if started.is_empty() || *index == LogIndex::ZERO {
                    // The first members are counted on from the beginning.
                    started.extend(&config.voters);
                }
                if *index == LogIndex::ZERO {
                    let first = Committed { config: config.clone(), by: seen.member, at: seen.at };
                    committed.entry(*index).or_insert(first);
                }
                member.id = *id;
                started.insert(*id);
                member.configs.retain(|at, _| at < index);
                member.configs.insert(*index, (*term, config.clone()));
                if member.now.as_ref() != Some(&config) {
                    member.before = member.now.replace(config);
                }
                too_early(log, seen)
            }
            Observation::Role { role, term, .. } => campaigns(seen, *role, *term, member),
            // What is applied there in another term is not the configuration that was heard of: a later leader has
            // written something else in its place.
            Observation::Applied { index, term, .. } => member
                .configs
                .get(index)
                .filter(|(written, _)| written == term)
                .and_then(|(_, config)| commit(seen, *index, config, &mut committed, &started)),
            Observation::Removed => {
                member.removed = Some(seen.at);
                None
            }
            _ => None,
        };
        if let Some(found) = found {
            return found;
        }
    }
    chain(&committed)
        .or_else(|| serves_removed(log, &told))
        .or_else(|| still_joint(log, &told))
        .unwrap_or(Finding::Ok)
}

/// Rules 1 and 6.
fn commit(
    seen: &Observed,
    index: LogIndex,
    config: &Config,
    committed: &mut BTreeMap<LogIndex, Committed>,
    started: &BTreeSet<MemberId>,
) -> Option<Finding> {
    if let Some(other) = committed.get(&index) {
        if other.config == *config {
            return None;
        }
        let sentence = format!(
            "at entry {index} machine {} applied the configuration {}, machine {} {}",
            other.by,
            other.config.show(),
            seen.member,
            config.show()
        );
        return Some(Finding::violation(sentence, Some(seen.at), Some(seen.member)));
    }
    let (by, at) = (seen.member, seen.at);
    committed.insert(index, Committed { config: config.clone(), by, at });
    let stranger = config.voters.iter().find(|voter| !started.contains(voter))?;
    let sentence = format!("entry {index} counts on the vote of {stranger}, who has never started");
    Some(Finding::violation(sentence, Some(at), Some(by)))
}

/// Rule 3.
fn too_early(log: &RunLog, seen: &Observed) -> Option<Finding> {
    let Observation::Config { index, term, leads: true, .. } = &seen.what else { return None };
    let mut own = log
        .observed
        .iter()
        .filter(|other| (other.member, other.incarnation) == (seen.member, seen.incarnation));
    let has_committed = own
        .clone()
        .take_while(|other| other.at <= seen.at)
        .any(|other| matches!(other.what, Observation::Applied { term: of, .. } if of == *term));
    // What it commits it applies in the same moment. One that ends in that moment may have been about to.
    let ends = own.next_back().is_some_and(|last| last.at == seen.at);
    if has_committed || ends {
        return None;
    }
    let sentence = format!(
        "machine {}, the leader of term {term}, put a configuration into its log at entry {index} before any entry of its \
         term was committed",
        seen.member
    );
    Some(Finding::violation(sentence, Some(seen.at), Some(seen.member)))
}

/// Rule 5.
fn campaigns(seen: &Observed, role: Role, term: Term, member: &Told) -> Option<Finding> {
    let now = member.now.as_ref()?;
    let may = now.votes(member.id) || member.before.as_ref().is_some_and(|before| before.votes(member.id));
    if role == Role::Follower || may {
        return None;
    }
    let what = if role == Role::Leader { "leads" } else { "campaigns in" };
    let sentence = format!(
        "{} on machine {} {what} term {term}, but does not vote: {}",
        member.id,
        seen.member,
        now.show()
    );
    Some(Finding::violation(sentence, Some(seen.at), Some(seen.member)))
}

/// Rules 2 and 4.
fn chain(committed: &BTreeMap<LogIndex, Committed>) -> Option<Finding> {
    let mut gone: BTreeMap<MemberId, LogIndex> = BTreeMap::new();
    let mut last: Option<(&LogIndex, &Config)> = None;
    for (index, Committed { config, by, at }) in committed {
        if let Some(back) = config.ids().find(|id| gone.contains_key(id)) {
            let sentence = format!(
                "{back} is a member again by entry {index}, though it had left by entry {}: what it voted and \
                 acknowledged before may be forgotten",
                gone[&back]
            );
            return Some(Finding::violation(sentence, Some(*at), Some(*by)));
        }
        if let Some((before_index, before)) = last {
            if !overlap(before, config) {
                let sentence = format!(
                    "from entry {before_index} ({}) to entry {index} ({}) majorities need not meet",
                    before.show(),
                    config.show()
                );
                return Some(Finding::violation(sentence, Some(*at), Some(*by)));
            }
            gone.extend(before.ids().filter(|id| !config.has(*id)).map(|id| (id, *index)));
        }
        last = Some((index, config));
    }
    None
}

fn overlap(before: &Config, after: &Config) -> bool {
    match (before.is_joint(), after.is_joint()) {
        (false, false) => before.voters.symmetric_difference(&after.voters).count() <= 1,
        (false, true) => after.outgoing == before.voters,
        (true, false) => after.voters == before.voters,
        (true, true) => before == after,
    }
}

/// Rule 7.
fn serves_removed(log: &RunLog, told: &BTreeMap<(MemberId, u32), Told>) -> Option<Finding> {
    for ((machine, incarnation), member) in told {
        let Some(since) = member.removed else { continue };
        let until = log
            .observed
            .iter()
            .find(|seen| seen.member == *machine && seen.incarnation > *incarnation)
            .map_or(Duration::MAX, |seen| seen.at);
        let name = machine.to_string();
        let served = log.history.operations.iter().position(|op| {
            let (call, ret) = (Duration::from_nanos(op.call), op.ret.map(Duration::from_nanos));
            op.member.as_ref() == Some(&name)
                && call > since
                && ret.is_some_and(|ret| ret < until)
                && op.outcome.answered().is_some()
        });
        if let Some(place) = served {
            let op = &log.history.operations[place];
            let sentence = format!(
                "{} on machine {machine} heard at {since:?} that it was removed, and answered {} of client {} afterwards",
                member.id, op.input, op.client
            );
            return Some(Finding::violation(sentence, op.ret.map(Duration::from_nanos), Some(*machine)));
        }
    }
    None
}

/// Rule 8.
fn still_joint(log: &RunLog, told: &BTreeMap<(MemberId, u32), Told>) -> Option<Finding> {
    let healing = log.healing.as_ref()?;
    let newest = |machine: &MemberId| told.range((*machine, 0)..=(*machine, u32::MAX)).next_back();
    let since = |machine: &MemberId| {
        let mut configs = log.observed.iter().rev().filter(|seen| seen.member == *machine);
        configs.find(|seen| matches!(seen.what, Observation::Config { .. })).map(|seen| seen.at)
    };
    let (machine, config) = healing.up.iter().find_map(|machine| {
        let config = newest(machine)?.1.now.as_ref()?;
        let stays = since(machine)? + LEAVING <= log.ended;
        (config.is_joint() && stays).then_some((machine, config))
    })?;
    let sentence =
        format!("at the end machine {machine} is still in a joint configuration: {}", config.show());
    Some(Finding::violation(sentence, Some(log.ended), Some(*machine)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{applied, at, put, quiet, saw, violated};
    use super::*;
    use crate::record::Healing;

    fn ids(list: &[u64]) -> BTreeSet<MemberId> {
        list.iter().copied().map(MemberId).collect()
    }

    fn config(id: u64, index: u64, voters: &[u64], outgoing: &[u64], learners: &[u64]) -> Observation {
        Observation::Config {
            id: MemberId(id),
            index: LogIndex(index),
            term: Term(1),
            voters: ids(voters),
            outgoing: ids(outgoing),
            learners: ids(learners),
            leads: false,
        }
    }

    /// Member 1 applies these configurations, one after the other, from entry 10 on.
    fn run(configs: &[(&[u64], &[u64], &[u64])]) -> RunLog {
        let mut log = quiet();
        for member in 1..=5 {
            saw(&mut log, 1, member, 0, config(member, 0, &[1, 2, 3], &[], &[]));
        }
        for (at, (voters, outgoing, learners)) in configs.iter().enumerate() {
            let index = 10 + at as u64;
            saw(&mut log, 10 * index, 1, 0, config(1, index, voters, outgoing, learners));
            saw(&mut log, 10 * index + 1, 1, 0, applied(index, 1, 0));
        }
        log
    }

    #[test]
    fn members_that_apply_different_configurations_at_one_entry_are_a_violation() {
        let mut log = run(&[(&[1, 2, 3, 4], &[], &[])]);
        saw(&mut log, 200, 2, 0, config(2, 10, &[1, 2, 3], &[], &[]));
        assert_eq!(check(&log), Finding::Ok, "in a log, but not applied");
        saw(&mut log, 201, 2, 0, config(2, 10, &[1, 2, 3, 4], &[], &[]));
        saw(&mut log, 202, 2, 0, applied(10, 1, 0));
        assert_eq!(check(&log), Finding::Ok, "replaced before it was applied");
        saw(&mut log, 203, 3, 0, config(3, 10, &[1, 2, 3], &[], &[]));
        saw(&mut log, 204, 3, 0, applied(10, 1, 0));
        assert!(violated(&check(&log)).starts_with("at entry 10 machine 1 applied"));
    }

    #[test]
    fn a_configuration_that_a_later_leader_replaced_by_something_else_is_not_one_of_the_chain() {
        let mut log = run(&[]);
        saw(&mut log, 200, 1, 0, config(1, 10, &[1, 2, 3, 4], &[], &[]));
        saw(&mut log, 210, 1, 0, applied(10, 2, 0));
        saw(&mut log, 220, 1, 0, config(1, 11, &[1, 2], &[], &[4]));
        saw(&mut log, 221, 1, 0, applied(11, 1, 0));
        assert_eq!(check(&log), Finding::Ok);
    }

    #[test]
    fn majorities_that_need_not_meet_are_a_violation_and_a_joint_way_is_none() {
        assert_eq!(check(&run(&[(&[1, 2, 3, 4], &[], &[]), (&[2, 3, 4], &[], &[])])), Finding::Ok);
        let jump = run(&[(&[2, 3, 4], &[], &[])]);
        assert!(violated(&check(&jump)).contains("majorities need not meet"));
        let joint =
            [(&[1, 2, 3][..], &[][..], &[][..]), (&[2, 3, 4], &[1, 2, 3], &[]), (&[2, 3, 4], &[], &[])];
        assert_eq!(check(&run(&joint)), Finding::Ok);
        let other = run(&[joint[0], joint[1], (&[1, 2, 3], &[], &[])]);
        assert!(violated(&check(&other)).contains("majorities need not meet"), "left to the wrong side");
    }

    #[test]
    fn an_id_that_comes_back_is_a_violation_and_a_learner_that_is_promoted_is_none() {
        let back = run(&[(&[1, 2], &[], &[]), (&[1, 2], &[], &[3])]);
        assert!(violated(&check(&back)).starts_with("3 is a member again by entry 11"));
        let log = run(&[(&[1, 2, 3], &[], &[4]), (&[1, 2, 3, 4], &[], &[])]);
        assert_eq!(check(&log), Finding::Ok);
    }

    fn role(role: Role) -> Observation {
        Observation::Role { term: Term(2), role, leader: MemberId::NONE }
    }

    #[test]
    fn a_learner_that_campaigns_is_a_violation_and_a_voter_just_removed_is_none() {
        let mut log = run(&[]);
        saw(&mut log, 50, 4, 0, config(4, 9, &[1, 2, 3], &[], &[4]));
        saw(&mut log, 60, 4, 0, role(Role::Follower));
        assert_eq!(check(&log), Finding::Ok);
        saw(&mut log, 70, 4, 0, role(Role::PreCandidate));
        assert!(violated(&check(&log)).starts_with("4 on machine 4 campaigns in term 2"));
        let mut log = run(&[]);
        saw(&mut log, 50, 3, 0, config(3, 9, &[1, 2], &[], &[]));
        saw(&mut log, 60, 3, 0, role(Role::Candidate));
        assert_eq!(check(&log), Finding::Ok, "perhaps it alone has the entry of its removal");
    }

    #[test]
    fn a_leader_that_changes_the_configuration_before_its_term_has_committed_is_a_violation() {
        let mut log = run(&[]);
        saw(&mut log, 40, 1, 0, role(Role::Leader));
        let mut change = config(1, 10, &[1, 2], &[], &[]);
        if let Observation::Config { term, leads, .. } = &mut change {
            (*term, *leads) = (Term(2), true);
        }
        saw(&mut log, 50, 1, 0, change.clone());
        assert_eq!(check(&log), Finding::Ok, "it ends before it could tell what it had committed");
        saw(&mut log, 60, 1, 0, role(Role::Leader));
        assert!(violated(&check(&log)).contains("before any entry of its term was committed"));
        let mut log = run(&[]);
        saw(&mut log, 45, 2, 0, applied(9, 2, 0));
        saw(&mut log, 50, 1, 0, change.clone());
        saw(&mut log, 60, 1, 0, applied(9, 2, 0));
        assert!(violated(&check(&log)).contains("before any"), "another member's word does not count");
        let mut log = run(&[]);
        saw(&mut log, 50, 1, 0, applied(9, 2, 0));
        saw(&mut log, 50, 1, 0, change);
        assert_eq!(check(&log), Finding::Ok);
    }

    #[test]
    fn a_voter_that_never_ran_is_a_violation_and_a_learner_is_none() {
        assert!(violated(&check(&run(&[(&[1, 2, 3, 9], &[], &[])]))).contains("the vote of 9"));
        assert_eq!(check(&run(&[(&[1, 2, 3], &[], &[9])])), Finding::Ok);
    }

    #[test]
    fn a_removed_member_that_answers_is_a_violation_and_one_that_answered_before_is_none() {
        let mut log = run(&[]);
        saw(&mut log, 500, 3, 0, Observation::Removed);
        put(&mut log, (499, 510), "k", "v", 2);
        log.history.operations[0].member = Some("3".to_owned());
        assert_eq!(check(&log), Finding::Ok);
        put(&mut log, (501, 510), "k", "v", 3);
        log.history.operations[1].member = Some("3".to_owned());
        assert!(violated(&check(&log)).contains("heard at 500ms that it was removed"));
        saw(&mut log, 505, 3, 1, config(7, 12, &[1, 2, 7], &[], &[]));
        assert_eq!(check(&log), Finding::Ok, "another member lives there by then");
    }

    #[test]
    fn a_joint_configuration_at_the_end_is_a_violation() {
        let mut log = run(&[(&[1, 2, 3], &[], &[]), (&[1, 2, 3, 4], &[1, 2, 3], &[])]);
        log.healing = Some(Healing { up: vec![MemberId(1)], healed: Some(at(900)), ..Healing::default() });
        log.ended = at(2109);
        assert_eq!(check(&log), Finding::Ok, "it has just begun");
        log.ended = at(2110);
        assert!(violated(&check(&log)).contains("machine 1 is still in a joint configuration"));
        saw(&mut log, 800, 1, 0, config(1, 12, &[1, 2, 3, 4], &[], &[]));
        assert_eq!(check(&log), Finding::Ok);
    }
}
