//! What Ongaro's thesis ("Consensus: Bridging Theory and Practice", 2014) adds to the paper, and what others
//! have added since, one test for each claim; its source stands above it.

mod common;

use bytes::Bytes;
use common::lab::Lab;
use common::words::{answers, message, vote_request};
use common::{at, directed, id, term};
use seatrial_raft::{Body, ProposeError, Role, Timer, TransferError};
use seatrial_types::MemberId;

/// Thesis §3.10: the leader brings its successor up to date, refuses proposals meanwhile, and the successor
/// does not wait for anybody's lease.
#[test]
fn a_leadership_is_handed_over_without_waiting_for_a_timeout() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.isolate(2);
    lab.propose(1, "a");
    lab.stabilize();
    lab.heal();
    lab.with(1, |raft| raft.transfer_leadership(id(2))).expect("a transfer");
    let refused = lab.with(1, |raft| raft.propose(vec![Bytes::from_static(b"b")]));
    assert_eq!(refused, Err(ProposeError::Transferring { to: id(2) }));
    lab.beat(1);
    assert_eq!(lab.leader(), Some(2));
    assert_eq!(lab.raft(2).term(), term(2));
    assert_eq!(lab.values(2), ["a"]);
    let not_leader = lab.with(1, |raft| raft.transfer_leadership(id(3)));
    assert_eq!(not_leader, Err(TransferError::NotLeader { term: term(2), leader: id(2) }));
}

/// Thesis §3.10: where the successor does not answer, the leader goes on after an election timeout.
#[test]
fn a_transfer_that_fails_is_given_up() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.crash(3, 0);
    lab.with(1, |raft| raft.transfer_leadership(id(3))).expect("a transfer");
    lab.beat(1);
    lab.fire(1, Timer::QuorumCheck);
    lab.propose(1, "a");
    lab.stabilize();
    assert_eq!(lab.values(2), ["a"]);
}

/// Thesis §6.2: a leader without answers from a quorum for an election timeout steps down.
#[test]
fn a_leader_without_a_quorum_steps_down() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.fire(1, Timer::QuorumCheck);
    assert_eq!(lab.raft(1).role(), Role::Leader, "they had answered");
    lab.isolate(1);
    lab.beat(1);
    lab.fire(1, Timer::QuorumCheck);
    assert_eq!((lab.raft(1).role(), lab.raft(1).leader()), (Role::Follower, MemberId::NONE));
}

/// Thesis §9.6: who cannot win does not spoil the term.
#[test]
fn a_member_that_was_cut_off_does_not_disturb_when_it_returns() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.isolate(3);
    lab.propose(1, "a");
    lab.stabilize();
    for _ in 0..5 {
        lab.time_out(3);
        lab.stabilize();
    }
    assert_eq!(lab.raft(3).term(), term(1), "five campaigns, and no term is spoilt");
    lab.heal();
    lab.beat(1);
    assert_eq!((lab.leader(), lab.raft(1).term()), (Some(1), term(1)));
    assert_eq!(lab.values(3), ["a"]);
}

/// Thesis §9.6, as corrected by etcd issue 8243: whose term is behind is told, and can win next time.
#[test]
fn a_candidate_of_an_older_term_is_told_the_newer_one() {
    directed::older_term_catches_up();
}

/// Thesis §10.2.1: the leader sends entries while its own write is under way, and counts its copy after.
#[test]
fn a_leader_writes_and_sends_at_the_same_time() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.auto_persist = false;
    lab.propose(1, "a");
    assert_eq!(lab.queue.len(), 2, "both appends have left");
    assert_eq!(lab.raft(1).durable_index(), at(1));
    for member in [2, 3] {
        lab.deliver_now(|message| message.to == id(member));
        lab.persist(member, true);
    }
    lab.deliver_now(|message| message.to == id(1));
    assert_eq!(lab.raft(1).commit(), at(2), "two of three, without the leader's own");
    directed::own_copy_counts_when_durable();
}

/// Protocol-Aware Recovery (FAST 2018): who lost what it had acknowledged helps to elect nobody until it has
/// it again, and gets it back from the leader that still counts on it.
#[test]
fn a_member_that_lost_entries_votes_again_once_it_has_them() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.propose(1, "a");
    lab.stabilize();
    lab.crash(2, 0);
    let mut disk = lab.down.remove(&id(2)).expect("2 is down");
    disk.entries.truncate(1);
    lab.start(id(2), disk, Some(at(2)));
    assert!(lab.raft(2).is_repairing() && !lab.raft(2).is_promotable());
    lab.deliver(message(3, 2, 2, vote_request(9, 1)));
    assert_eq!(answers(&mut lab, 2), [Body::VoteAnswer { granted: false }]);
    // The leader hears of the newer term, steps down, and comes back without the vote of 2.
    lab.beat(1);
    lab.elect(1);
    lab.beat(1);
    assert_eq!(lab.values(2), ["a"]);
    assert!(!lab.raft(2).is_repairing() && lab.raft(2).is_promotable());
}

/// The same within one term: the leader still believes the entries to be there.
#[test]
fn a_leader_sends_again_what_a_follower_acknowledged_and_lost() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.propose(1, "a");
    lab.propose(1, "b");
    lab.stabilize();
    lab.crash(2, 0);
    let mut disk = lab.down.remove(&id(2)).expect("2 is down");
    disk.entries.truncate(1);
    lab.start(id(2), disk, Some(at(3)));
    lab.propose(1, "c");
    lab.stabilize();
    assert_eq!(lab.raft(1).term(), term(1), "no election was needed");
    assert_eq!(lab.values(2), ["a", "b", "c"]);
}

/// A process that is gone is not waited for; a member that is merely told so by another is not disturbed.
#[test]
fn a_reset_by_the_leaders_process_starts_a_campaign_at_once() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.with(2, |raft| raft.peer_reset(id(3)));
    assert!(!lab.is_armed(2, Timer::Campaign));
    lab.crash(1, 0);
    for member in [2, 3] {
        lab.with(member, |raft| raft.peer_reset(id(1)));
        assert!(lab.is_armed(member, Timer::Campaign));
    }
    lab.fire(3, Timer::Campaign);
    lab.stabilize();
    assert_eq!(lab.leader(), Some(3));
}
