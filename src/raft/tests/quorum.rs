//! Quorums and changes of configuration: against naive counts, and against etcd's own tables where
//! `SEATRIAL_DATA` names the folder that holds them (`raft-data/quorum`, `raft-data/confchange`).

use proptest::prelude::*;
use seatrial_raft::config::{changed, enter_joint, leave_joint, simple};
use seatrial_raft::quorum::{VoteResult, joint_value, joint_vote, majority, majority_value, majority_vote};
use seatrial_raft::{Config, ConfigChange, ConfigError, ConfigStep};
use seatrial_types::MemberId;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

fn set(members: &[u64]) -> BTreeSet<MemberId> {
    members.iter().map(|member| MemberId(*member)).collect()
}

/// The largest value that more than half have, by trying all.
fn naive_value(voters: &BTreeSet<MemberId>, acked: &BTreeMap<MemberId, u64>) -> Option<u64> {
    if voters.is_empty() {
        return None;
    }
    let reached = |value: u64| {
        let count = voters.iter().filter(|voter| acked.get(voter).copied().unwrap_or(0) >= value).count();
        count * 2 > voters.len()
    };
    (0..=acked.values().copied().max().unwrap_or(0)).rev().find(|value| reached(*value))
}

/// Won if it is, lost if it would be even were all that are silent to agree.
fn naive_vote(voters: &BTreeSet<MemberId>, votes: &BTreeMap<MemberId, bool>) -> VoteResult {
    let count = |silent: bool| {
        voters.iter().filter(|voter| votes.get(voter).copied().unwrap_or(silent)).count() * 2 > voters.len()
    };
    if voters.is_empty() || count(false) {
        VoteResult::Won
    } else if count(true) {
        VoteResult::Pending
    } else {
        VoteResult::Lost
    }
}

fn members() -> impl Strategy<Value = BTreeSet<MemberId>> {
    prop::collection::btree_set((1..10u64).prop_map(MemberId), 0..8)
}

fn step() -> impl Strategy<Value = ConfigStep> {
    (0..3u8, 0..8u64).prop_map(|(kind, member)| match kind {
        0 => ConfigStep::AddVoter(MemberId(member)),
        1 => ConfigStep::AddLearner(MemberId(member)),
        _ => ConfigStep::Remove(MemberId(member)),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_quorum_has_reached_what_more_than_half_of_each_half_have(
        voters in members(),
        outgoing in members(),
        acked in prop::collection::btree_map((1..10u64).prop_map(MemberId), 0..12u64, 0..10),
    ) {
        let of = |member: MemberId| acked.get(&member).copied();
        let (first, second) = (naive_value(&voters, &acked), naive_value(&outgoing, &acked));
        prop_assert_eq!(majority_value(&voters, of), first);
        let config = Config { voters, outgoing, ..Config::default() };
        let both = match (first, second) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        prop_assert_eq!(joint_value(&config, of), both);
    }

    #[test]
    fn an_election_stands_as_a_naive_count_says(
        voters in members(),
        outgoing in members(),
        votes in prop::collection::btree_map((1..10u64).prop_map(MemberId), any::<bool>(), 0..10),
    ) {
        let of = |member: MemberId| votes.get(&member).copied();
        let (first, second) = (naive_vote(&voters, &votes), naive_vote(&outgoing, &votes));
        prop_assert_eq!(majority_vote(&voters, of), first);
        let config = Config { voters, outgoing, ..Config::default() };
        let both = match (first, second) {
            (VoteResult::Won, VoteResult::Won) => VoteResult::Won,
            (VoteResult::Lost, _) | (_, VoteResult::Lost) => VoteResult::Lost,
            _ => VoteResult::Pending,
        };
        prop_assert_eq!(joint_vote(&config, of), both);
    }

    /// Thesis §4.1 and Raft §6: any quorum before a change meets any quorum after it.
    #[test]
    fn quorums_before_and_after_a_change_always_meet(
        voters in prop::collection::btree_set((1..7u64).prop_map(MemberId), 1..6),
        steps in prop::collection::vec(step(), 0..5),
    ) {
        let before = Config { voters, ..Config::default() };
        let Ok(after) = changed(&before, &ConfigChange { steps: steps.clone(), ..ConfigChange::default() }) else {
            return Ok(());
        };
        after.check();
        let mut pairs = vec![(before, after.clone())];
        if after.is_joint() {
            let last = leave_joint(&after).expect("joint");
            prop_assert!(after.auto_leave);
            pairs.push((after, last));
        } else {
            // What goes in one step leads where the joint way leads.
            let joint = enter_joint(&pairs[0].0, &steps, true).expect("the same steps");
            prop_assert_eq!(leave_joint(&joint).expect("joint"), after);
        }
        for (before, after) in pairs {
            // All ways to split the members in two groups: never has each group a quorum of its own.
            let all: Vec<MemberId> = before.members().chain(after.members()).collect::<BTreeSet<_>>().into_iter().collect();
            for side in 0..1u32 << all.len() {
                let in_side = |member: MemberId| {
                    let place = all.iter().position(|other| *other == member).expect("a member");
                    side & (1 << place) != 0
                };
                let first = joint_vote(&before, |member| Some(in_side(member)));
                let second = joint_vote(&after, |member| Some(!in_side(member)));
                prop_assert!(
                    first != VoteResult::Won || second != VoteResult::Won,
                    "{before:?} and {after:?} can decide apart"
                );
            }
        }
    }
}

#[test]
fn a_majority_is_more_than_half() {
    assert_eq!([1, 2, 3, 4, 5].map(majority), [1, 2, 2, 3, 3]);
}

#[test]
fn a_change_without_steps_keeps_the_configuration() {
    let config = Config::of(set(&[1, 2]));
    assert_eq!(changed(&config, &ConfigChange::default()), Ok(config));
}

#[test]
fn a_change_of_two_voters_goes_through_a_joint_configuration() {
    let change = ConfigChange {
        steps: vec![ConfigStep::AddVoter(MemberId(4)), ConfigStep::Remove(MemberId(1))],
        ..ConfigChange::default()
    };
    let joint = changed(&Config::of(set(&[1, 2, 3])), &change).expect("a change");
    assert_eq!(joint.voters, set(&[2, 3, 4]));
    assert_eq!(joint.outgoing, set(&[1, 2, 3]));
    assert!(joint.auto_leave);
    let refused = changed(&joint, &ConfigChange::default());
    assert!(matches!(refused, Err(ConfigError::Joint { .. })), "{refused:?}");
}

// What follows reads the tables of etcd's library.

/// One case: the directive with its arguments, the input lines, the expected output.
struct Case {
    place: String,
    directive: String,
    args: Vec<(String, Vec<String>)>,
    input: Vec<String>,
    expected: Vec<String>,
}

impl Case {
    fn arg(&self, name: &str) -> Option<&Vec<String>> {
        self.args.iter().find(|(key, _)| key == name).map(|(_, values)| values)
    }

    fn members(&self, name: &str) -> Vec<u64> {
        let values = self.arg(name).cloned().unwrap_or_default();
        values.iter().filter(|value| *value != "zero").map(|value| number(value)).collect()
    }
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

/// The files of a folder of the data, or `None` with a loud word where nobody says where they are.
#[allow(clippy::disallowed_methods, reason = "a test reads its tables")]
fn tables(folder: &str) -> Option<Vec<Case>> {
    let Some(data) = std::env::var_os("SEATRIAL_DATA") else {
        eprintln!("SKIPPED: SEATRIAL_DATA is not set; the tables of raft-data/{folder} were not read");
        return None;
    };
    let folder = PathBuf::from(data).join("raft-data").join(folder);
    let list = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = list.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    let mut cases = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|ext| ext == "txt")) {
        let text = std::fs::read_to_string(path).expect("a table");
        cases.extend(parse(&path.file_name().expect("a name").to_string_lossy(), &text));
    }
    Some(cases)
}

fn parse(file: &str, text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((place, line)) = lines.next() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (directive, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut input = Vec::new();
        for (_, line) in lines.by_ref().take_while(|(_, line)| *line != "----") {
            input.push(line.to_owned());
        }
        let mut expected = Vec::new();
        while let Some((_, line)) = lines.next_if(|(_, line)| !line.trim().is_empty()) {
            expected.push(line.to_owned());
        }
        cases.push(Case {
            place: format!("{file}:{}", place + 1),
            directive: directive.to_owned(),
            args: args(rest),
            input,
            expected,
        });
    }
    cases
}

/// `a=1 b=(2, 3)`.
fn args(mut text: &str) -> Vec<(String, Vec<String>)> {
    let mut args = Vec::new();
    while let Some((key, rest)) = text.trim_start().split_once('=') {
        let (values, rest) = match rest.strip_prefix('(') {
            Some(list) => list.split_once(')').expect("a closed list"),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        let values = values.split(',').map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        args.push((key.to_owned(), values.collect()));
        text = rest;
    }
    args
}

/// The values of the arguments stand for the voters in order of first mention.
fn values_by_voter(case: &Case, name: &str) -> BTreeMap<MemberId, String> {
    let mut order: Vec<u64> = Vec::new();
    for member in case.members("cfg").into_iter().chain(case.members("cfgj")) {
        if !order.contains(&member) {
            order.push(member);
        }
    }
    let values = case.arg(name).cloned().unwrap_or_default();
    // One value may be given for several in a row? No: as many as voters.
    assert_eq!(values.len(), order.len(), "{}: values and voters", case.place);
    let pairs = order.into_iter().map(MemberId).zip(values);
    pairs.filter(|(_, value)| value != "_").collect()
}

#[test]
fn quorums_agree_with_etcds_tables() {
    let Some(cases) = tables("quorum") else { return };
    let mut seen = BTreeMap::new();
    for case in &cases {
        let config = Config {
            voters: set(&case.members("cfg")),
            outgoing: set(&case.members("cfgj")),
            ..Config::default()
        };
        let expected = case.expected.last().expect("an expectation");
        let found = match case.directive.as_str() {
            "committed" => {
                let acked = values_by_voter(case, "idx");
                let value = joint_value(&config, |member| acked.get(&member).map(|text| number(text)));
                value.map_or_else(|| "∞".to_owned(), |value| value.to_string())
            }
            "vote" => {
                let votes = values_by_voter(case, "votes");
                let result = joint_vote(&config, |member| votes.get(&member).map(|text| text == "y"));
                format!("Vote{result:?}")
            }
            other => panic!("{}: unknown directive {other}", case.place),
        };
        assert!(
            *expected == found || (found == "∞" && expected.ends_with(&found)),
            "{}: {found}, but the table says {expected}",
            case.place
        );
        *seen.entry(case.directive.clone()).or_insert(0) += 1;
    }
    eprintln!("{seen:?} cases agree");
    assert!(cases.len() >= 100, "only {} cases were read", cases.len());
}

/// `v1 l2 r3`; `u4` (an update of what Raft does not look at) is no step of ours.
fn steps_of(case: &Case) -> Vec<ConfigStep> {
    let words = case.input.iter().flat_map(|line| line.split_whitespace());
    words
        .filter_map(|word| {
            let (kind, member) = word.split_at(1);
            let member = MemberId(number(member));
            match kind {
                "v" => Some(ConfigStep::AddVoter(member)),
                "l" => Some(ConfigStep::AddLearner(member)),
                "r" => Some(ConfigStep::Remove(member)),
                "u" => None,
                _ => panic!("{}: unknown step {word}", case.place),
            }
        })
        .collect()
}

fn shown(config: &Config) -> String {
    let list =
        |members: &BTreeSet<MemberId>| members.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let mut text = format!("voters=({})", list(&config.voters));
    if config.is_joint() {
        text += &format!("&&({})", list(&config.outgoing));
    }
    if !config.learners.is_empty() {
        text += &format!(" learners=({})", list(&config.learners));
    }
    if !config.learners_next.is_empty() {
        text += &format!(" learners_next=({})", list(&config.learners_next));
    }
    if config.auto_leave {
        text += " autoleave";
    }
    text
}

#[test]
fn changes_of_configuration_agree_with_etcds_tables() {
    let Some(cases) = tables("confchange") else { return };
    let mut config = Config::default();
    let mut file = String::new();
    let mut errors = 0;
    for case in &cases {
        // Each file begins with an empty configuration.
        let this_file = case.place.split(':').next().unwrap_or_default().to_owned();
        if this_file != file {
            (config, file) = (Config::default(), this_file);
        }
        let steps = steps_of(case);
        let result = match case.directive.as_str() {
            "simple" => simple(&config, &steps),
            "enter-joint" => {
                let auto_leave = case.arg("autoleave").is_some_and(|values| values[0] == "true");
                enter_joint(&config, &steps, auto_leave)
            }
            "leave-joint" => leave_joint(&config),
            other => panic!("{}: unknown directive {other}", case.place),
        };
        let expected = case.expected.first().expect("an expectation");
        match result {
            Ok(next) => {
                assert_eq!(&shown(&next), expected, "{}", case.place);
                // The lines behind it tell who receives the log, and who of them is a learner.
                let told: Vec<(u64, bool)> = case.expected[1..]
                    .iter()
                    .map(|line| {
                        let (member, rest) = line.split_once(':').expect("a progress line");
                        (number(member), rest.ends_with("learner"))
                    })
                    .collect();
                let mut ours: Vec<(u64, bool)> =
                    next.members().map(|member| (member.0, next.is_learner(member))).collect();
                ours.sort_unstable();
                assert_eq!(ours, told, "{}", case.place);
                config = next;
            }
            Err(error) => {
                let kind = match error {
                    ConfigError::NoVoters => "removed all voters",
                    ConfigError::Joint { .. } if case.directive == "simple" => {
                        "can't apply simple config change in joint config"
                    }
                    ConfigError::Joint { .. } => "config is already joint",
                    ConfigError::NotJoint => "can't leave a non-joint config",
                    ConfigError::NoVotersToJoin => "can't make a zero-voter config joint",
                    ConfigError::ManyVoters { .. } => {
                        "more than one voter changed without entering joint config"
                    }
                };
                assert_eq!(kind, expected, "{}", case.place);
                errors += 1;
            }
        }
    }
    eprintln!("{} cases agree, {errors} of them errors", cases.len());
    assert!(cases.len() >= 50 && errors >= 5, "only {} cases, {errors} errors", cases.len());
}
