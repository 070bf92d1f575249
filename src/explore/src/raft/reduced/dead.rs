//! What was said and can never mean anything again. Whether it is among what may arrive or not, nothing that can follow differs, so
//! worlds that differ in it alone are one.

use super::member::Exact;
use seatrial_raft::{Body, Message, Role};
use seatrial_types::Term;

/// The least term a member can ever be in from here on.
fn least_term(member: &Exact) -> Term {
    match &member.node.raft {
        Some(raft) if member.crashes == 0 => raft.term(),
        _ => member.node.durable.hard.term,
    }
}

/// Whether `message` can change neither its receiver nor, by the answer, its sender, now and ever after. `terms` is the last term
/// of all.
pub(super) fn is_dead(message: &Message, from: &Exact, to: &Exact, terms: Term) -> bool {
    let term = message.term;
    let here = least_term(to);
    let is = |member: &Exact, role| member.node.raft.as_ref().is_some_and(|raft| raft.role() == role);
    let to_term = to.node.raft.as_ref().map_or(Term(0), seatrial_raft::Raft::term);
    // Nobody campaigns twice for one term, and who has it on its disk has no other way to begin.
    let is_candidate = is(to, Role::Candidate) && to_term == term;
    let is_leader = is(to, Role::Leader) && to_term == term;
    let is_over = |may_come: bool| here > term || here == term && !may_come;
    // Who is in the last term learns of no later one and campaigns no more.
    let sender_is_last = least_term(from) >= terms;
    match &message.body {
        Body::VoteAnswer { .. } => is_over(is_candidate),
        Body::AppendAccepted { .. } | Body::AppendRejected { .. } | Body::HeartbeatAnswer { .. } => {
            is_over(is_candidate || is_leader)
        }
        // It counts for a campaign for just this term, by somebody who is not in it yet.
        Body::PreVoteAnswer { granted: true } => here >= term,
        // A refusal also counts in later rounds of the same term, and tells of its term.
        Body::PreVoteAnswer { granted: false } => {
            here > term || here == term && here >= terms && !is(to, Role::PreCandidate)
        }
        Body::PreVote { .. } => sender_is_last && !is(from, Role::PreCandidate),
        // An old request is only answered with the newer term. In the last one that is no news, but a candidate counts it as a no.
        Body::Vote { .. } => here > term && sender_is_last && !is(from, Role::Candidate),
        Body::Append { .. } | Body::Heartbeat { .. } => {
            here > term && sender_is_last && !is(from, Role::Leader) && !is(from, Role::Candidate)
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
