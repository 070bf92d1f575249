//! Quorums, simple and joint (Raft §5.2, §6): what a majority agrees on.

use crate::message::Config;
use seatrial_types::MemberId;
use std::collections::BTreeSet;

/// How an election stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VoteResult {
    /// Neither side can be sure yet.
    Pending,
    /// So many refused that it cannot be won any more.
    Lost,
    /// A quorum granted it.
    Won,
}

/// The votes which make a majority of `members`.
#[must_use]
pub fn majority(members: usize) -> usize {
    members / 2 + 1
}

/// The largest value which a majority of `voters` has reached; members without a value count as the
/// smallest (`T::default()`). No voters agree to everything: `None`.
pub fn majority_value<T: Ord + Copy + Default>(
    voters: &BTreeSet<MemberId>,
    value: impl Fn(MemberId) -> Option<T>,
) -> Option<T> {
    if voters.is_empty() {
        return None;
    }
    let mut reached: Vec<T> = voters.iter().map(|&voter| value(voter).unwrap_or_default()).collect();
    let place = reached.len() - majority(reached.len());
    // Sorted upwards, the value at `place` has itself and all behind it, a majority, at or above it.
    let (_, value, _) = reached.select_nth_unstable(place);
    Some(*value)
}

/// The largest value which both halves of `config` have reached (in a simple one: its voters).
/// `None` only where it has no voters at all.
pub fn joint_value<T: Ord + Copy + Default>(
    config: &Config,
    value: impl Fn(MemberId) -> Option<T>,
) -> Option<T> {
    let incoming = majority_value(&config.voters, &value);
    let outgoing = majority_value(&config.outgoing, &value);
    match (incoming, outgoing) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// How an election among `voters` stands; no voters elect anybody.
pub fn majority_vote(voters: &BTreeSet<MemberId>, vote: impl Fn(MemberId) -> Option<bool>) -> VoteResult {
    let (mut granted, mut refused) = (0, 0);
    for &voter in voters {
        match vote(voter) {
            Some(true) => granted += 1,
            Some(false) => refused += 1,
            None => {}
        }
    }
    if voters.is_empty() || granted >= majority(voters.len()) {
        VoteResult::Won
    } else if voters.len() - refused < majority(voters.len()) {
        VoteResult::Lost
    } else {
        VoteResult::Pending
    }
}

/// How an election in `config` stands: both halves must elect, either can refuse.
pub fn joint_vote(config: &Config, vote: impl Fn(MemberId) -> Option<bool>) -> VoteResult {
    match (majority_vote(&config.voters, &vote), majority_vote(&config.outgoing, &vote)) {
        (VoteResult::Lost, _) | (_, VoteResult::Lost) => VoteResult::Lost,
        (VoteResult::Won, VoteResult::Won) => VoteResult::Won,
        _ => VoteResult::Pending,
    }
}
