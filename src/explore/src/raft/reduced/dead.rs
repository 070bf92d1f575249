//! What was said and can never help anything to happen again. A world without it has the same futures as one with it, or all those
//! that matter: so worlds that differ in it alone are one.

use super::member::Exact;
use seatrial_raft::{Body, Entry, Message, Raft, Role};
use seatrial_types::{LogIndex, MemberId, Term};
use std::cmp::Reverse;

/// The least term that a member can ever be in from here on, and its vote there if that is as sure.
fn sure(member: &Exact) -> (Term, MemberId) {
    let hard = member.node.durable.hard;
    match &member.node.raft {
        Some(raft) if member.crashes == 0 => (raft.term(), raft.vote()),
        _ => (hard.term, hard.vote),
    }
}

/// Whether `message`, which `from` has said to `to`, is dead. `others` are all that `from` has said, `answers` all that `to` has, and
/// `terms` is the last term of all.
///
/// A refusal is worth as little as silence: all it can do beyond telling of its term is to end a campaign, and who campaigns can do
/// all that he can do who has given up.
pub(super) fn is_dead<'a>(
    message: &Message,
    (from, mut others): (&Exact, impl Iterator<Item = &'a Message>),
    (to, mut answers): (&Exact, impl Iterator<Item = &'a Message>),
    terms: Term,
) -> bool {
    let term = message.term;
    let ((here, vote), (there, _)) = (sure(to), sure(from));
    let role = |wanted| {
        let is = |raft: &Raft| raft.role() == wanted && raft.term() == term;
        to.node.raft.as_ref().is_some_and(is)
    };
    // Nobody campaigns twice for one term, and who has it on its disk has no other way to begin.
    let (is_candidate, is_leader) = (role(Role::Candidate), role(Role::Leader));
    // The answer is on its way for good, or would mean nothing.
    let mut is_said = |body: &Body| {
        let is_it = |answer: &Message| (answer.to, answer.term, &answer.body) == (message.from, term, body);
        let is_over = from.node.raft.as_ref().is_some_and(|raft| {
            let wants = match body {
                Body::VoteAnswer { .. } => raft.role() == Role::Candidate,
                _ => matches!(raft.role(), Role::Candidate | Role::Leader),
            };
            there >= term && !(wants && raft.term() == term)
        });
        is_over || answers.any(is_it)
    };
    let is_over = |may_come: bool| here > term || here == term && !may_come;
    match &message.body {
        Body::VoteAnswer { granted } => is_over(is_candidate && *granted),
        Body::AppendAccepted { .. } | Body::AppendRejected { .. } | Body::HeartbeatAnswer { .. } => {
            is_over(is_candidate || is_leader)
        }
        // A yes counts for a campaign for just this term, by somebody who is not in it yet. A no tells of its term.
        Body::PreVoteAnswer { .. } => here >= term,
        // Who follows or asks can ask anew at any time, see `Parts::letters_to`, so that this one need not be kept. What a no may
        // tell a leader of a newer term, the answer to his append does, too.
        Body::PreVote { .. } => {
            let teaches = there < terms && !from.node.raft.as_ref().is_some_and(is_leading);
            there >= term && !teaches || may_ask_anew(message, from)
        }
        Body::Vote { .. } => {
            // Old, or the vote is somebody else's for good: only a no can follow. It tells of its term, which may be news.
            let is_lost = here == term && vote != MemberId::NONE && vote != message.from;
            let is_old = here > term && (there >= terms || from.node.raft.as_ref().is_some_and(is_leading));
            // Or it is his, and he has been told.
            let is_won = here == term && vote == message.from && is_said(&Body::VoteAnswer { granted: true });
            is_lost || is_old || is_won
        }
        // Old: only its term is answered, by a round that confirms nothing, but wakes a leader's progress.
        Body::Append { prev_index, entries, commit, .. } if here == term => {
            // All it brings is there for good, and was answered. That the sender leads, an earlier one tells as well, which then also
            // has the same answers when more is committed.
            let end = LogIndex(prev_index.0 + entries.len() as u64);
            let brings = (*prev_index, Reverse(end), Reverse(*commit));
            let is_earlier = |other: &Message| match &other.body {
                Body::Append { prev_index, entries, commit, .. } => {
                    let end = LogIndex(prev_index.0 + entries.len() as u64);
                    (other.to, other.term) == (message.to, term)
                        && (*prev_index, Reverse(end), Reverse(*commit)) < brings
                        && is_there(to, other)
                }
                _ => false,
            };
            is_there(to, message) && is_said(&Body::AppendAccepted { matched: end }) && others.any(is_earlier)
        }
        Body::Append { .. } | Body::Heartbeat { .. } => {
            let may_lead = |raft: &Raft| matches!(raft.role(), Role::Candidate | Role::Leader);
            here > term && there >= terms && !from.node.raft.as_ref().is_some_and(may_lead)
        }
        Body::Snapshot { .. }
        | Body::SnapshotAnswer { .. }
        | Body::TimeoutNow
        | Body::Propose { .. }
        | Body::ProposeConfig { .. }
        | Body::ReadIndex { .. }
        | Body::ReadIndexAnswer { .. } => false,
    }
}

/// Whether `from` has said what it may say again at any time, whatever becomes of it before that.
pub(super) fn may_ask_anew(message: &Message, from: &Exact) -> bool {
    let Body::PreVote { last_index, last_term } = &message.body else { return false };
    from.node.raft.as_ref().is_some_and(|raft| {
        let durable = &from.node.durable;
        let last = durable.log.last().map_or((Term(0), LogIndex(0)), |entry| (entry.term, entry.index));
        let is_sure =
            from.crashes == 0 || (durable.hard.term == raft.term() && last == (*last_term, *last_index));
        may_ask(raft)
            && raft.term().next() == message.term
            && (raft.last_index(), raft.last_term()) == (*last_index, *last_term)
            && is_sure
    })
}

fn is_leading(raft: &Raft) -> bool {
    raft.role() == Role::Leader
}

/// Whether it asks for votes beforehand, or may whenever it likes and then be as it was, since its leader's word may reach it again.
pub(super) fn may_ask(raft: &Raft) -> bool {
    matches!(raft.role(), Role::Follower | Role::PreCandidate)
}

/// Whether all that an append brings is there, and no crash takes it away.
fn is_there(to: &Exact, append: &Message) -> bool {
    let Body::Append { prev_index, prev_term, entries, commit } = &append.body else { return false };
    let end = LogIndex(prev_index.0 + entries.len() as u64);
    let Some(raft) = &to.node.raft else { return false };
    let durable = &to.node.durable;
    let is_sure = to.crashes == 0;
    let holds = |entry: &Entry| {
        raft.entry(entry.index) == Some(entry) && (is_sure || durable.entry(entry.index) == Some(entry))
    };
    let known = if is_sure { raft.commit() } else { raft.commit().min(durable.hard.commit) };
    let follows = *prev_index == LogIndex(0)
        || raft.term_at(*prev_index) == Some(*prev_term)
            && (is_sure || durable.entry(*prev_index).map(|entry| entry.term) == Some(*prev_term));
    follows && entries.iter().all(holds) && known >= (*commit).min(end)
}
