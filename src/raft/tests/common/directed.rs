//! Short histories which end badly where one rule of the protocol is missing. Each checks what the rule
//! promises and panics where it is broken; `paper.rs` runs them on the code as it is, `planted.rs` on code
//! with the rule taken out.

use super::lab::Lab;
use super::{at, id, term};
use seatrial_raft::{Body, Message, ReadId, Role, Timer};

fn from_to(from: u64, to: u64) -> impl FnMut(&Message) -> bool {
    move |message| message.from == id(from) && message.to == id(to)
}

/// One member campaigns, and only `willing` hear it; its first appends stay in the queue.
fn elect_by(lab: &mut Lab, candidate: u64, willing: &[u64]) {
    for voter in willing {
        if lab.raft(*voter).role() == Role::Follower && lab.is_armed(*voter, Timer::LeaderSilent) {
            lab.fire(*voter, Timer::LeaderSilent);
        }
    }
    let among = |message: &Message| {
        let other = if message.from == id(candidate) { message.to } else { message.from };
        (message.from == id(candidate) || message.to == id(candidate)) && willing.contains(&other.0)
    };
    // A first campaign may only find out that others have a newer term.
    for _ in 0..4 {
        lab.with(candidate, |raft| raft.campaign());
        for _ in 0..4 {
            let is_election = |message: &Message| {
                !matches!(message.body, Body::Append { .. } | Body::Heartbeat { .. }) && among(message)
            };
            lab.deliver_now(is_election);
        }
        if lab.raft(candidate).role() == Role::Leader {
            return;
        }
    }
    panic!("member {candidate} was to be elected by {willing:?}");
}

fn at_most_one_leader_per_term(lab: &Lab) {
    let leaders: Vec<_> = lab
        .nodes
        .values()
        .filter(|node| node.raft.role() == Role::Leader)
        .map(|node| node.raft.term())
        .collect();
    let mut terms = leaders.clone();
    terms.dedup();
    assert_eq!(terms, leaders, "two leaders of one term");
}

/// Raft figure 8: an entry of an older term is on a majority, and still may be replaced.
pub fn figure_8() {
    let mut lab = Lab::empty();
    lab.options.append_bytes_max = 1;
    for member in 1..=5 {
        lab.start(id(member), super::Disk::fresh(super::voters(&[1, 2, 3, 4, 5])), None);
    }
    lab.elect(1);
    // (a) 1 leads and replicates entry 2 to 2 only.
    lab.propose(1, "old");
    lab.deliver_now(from_to(1, 2));
    lab.queue.clear();
    lab.crash(1, 0);
    // (b) 5 is elected by 3 and 4, and puts another entry at 2, which nobody else gets.
    elect_by(&mut lab, 5, &[3, 4]);
    assert_eq!(lab.raft(5).last_index(), at(2));
    lab.queue.clear();
    lab.crash(5, 0);
    // (c) 1 leads again and replicates entry 2, of the first term, to 3: it is on 1, 2 and 3.
    lab.restart(1);
    elect_by(&mut lab, 1, &[2, 3, 4]);
    lab.deliver_now(from_to(1, 2));
    lab.deliver_now(from_to(2, 1));
    for _ in 0..2 {
        lab.deliver_now(from_to(1, 3));
        lab.deliver_now(from_to(3, 1));
    }
    assert!(lab.raft(3).term_at(at(2)) == Some(term(1)), "3 has the old entry");
    assert!(lab.raft(1).progress()[&id(3)].matched == at(2), "1 knows it");
    let seen = lab.values(1);
    lab.queue.clear();
    lab.crash(1, 0);
    // (d) 5 is elected once more, and replaces the entry everywhere.
    lab.restart(5);
    elect_by(&mut lab, 5, &[3, 4]);
    lab.isolate(2);
    lab.stabilize();
    lab.propose(5, "new");
    lab.stabilize();
    assert_eq!(lab.values(3), ["new"], "3 follows the new leader");
    assert!(seen.is_empty(), "{seen:?} was applied, and replaced");
}

/// A vote that could be forgotten is given twice, and elects two leaders of one term.
pub fn vote_survives_a_crash() {
    let mut lab = Lab::of(&[1, 2, 3]);
    lab.with(1, |raft| raft.campaign());
    lab.deliver_now(from_to(1, 3));
    lab.deliver_now(from_to(3, 1));
    lab.auto_persist = false;
    lab.deliver_now(from_to(1, 3));
    lab.deliver_now(from_to(3, 1));
    lab.crash(3, 0);
    lab.restart(3);
    lab.auto_persist = true;
    lab.queue.clear();
    lab.with(2, |raft| raft.campaign());
    for _ in 0..3 {
        lab.deliver_now(from_to(2, 3));
        lab.deliver_now(from_to(3, 2));
    }
    at_most_one_leader_per_term(&lab);
}

/// An acknowledgement of what is not durable commits an entry that a crash takes back.
pub fn acknowledged_survives_a_crash() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.isolate(3);
    lab.propose(1, "a");
    lab.auto_persist = false;
    lab.deliver_now(from_to(1, 2));
    lab.deliver_now(from_to(2, 1));
    let seen = lab.values(1);
    lab.crash(2, 0);
    lab.crash(1, 1);
    lab.heal();
    lab.auto_persist = true;
    lab.restart(2);
    lab.queue.clear();
    elect_by(&mut lab, 2, &[3]);
    lab.stabilize();
    assert!(lab.values(2).starts_with(&seen), "{seen:?} was applied, and is lost: {:?}", lab.values(2));
}

/// The leader's own copy, not durable, completes a quorum; then the leader forgets it.
pub fn own_copy_counts_when_durable() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.auto_persist = false;
    lab.propose(1, "a");
    lab.deliver_now(from_to(1, 2));
    lab.persist(2, true);
    lab.deliver_now(from_to(2, 1));
    let seen = lab.values(1);
    // The copies: 2 has it. The leader's own is lost with it; 3 never got it.
    lab.crash(1, 0);
    lab.crash(2, 0);
    lab.queue.clear();
    lab.restart(1);
    lab.auto_persist = true;
    elect_by(&mut lab, 3, &[1]);
    lab.stabilize();
    assert!(lab.values(3).starts_with(&seen), "{seen:?} was applied, and is lost: {:?}", lab.values(3));
}

/// An append that comes late, and knows less, must not take back what was acknowledged since.
pub fn late_append_cuts_nothing() {
    let mut lab = Lab::empty();
    lab.options.append_bytes_max = 1;
    for member in 1..=3 {
        lab.start(id(member), super::Disk::fresh(super::voters(&[1, 2, 3])), None);
    }
    lab.elect(1);
    lab.isolate(3);
    lab.propose(1, "a");
    let late = lab.queue.iter().find(|message| message.to == id(2)).cloned().expect("an append to 2");
    lab.propose(1, "b");
    lab.deliver_now(from_to(1, 2));
    lab.deliver_now(from_to(2, 1));
    assert_eq!(lab.values(1), ["a", "b"], "both are committed");
    // 2 has not heard of the commit yet.
    lab.deliver(late);
    lab.crash(1, 0);
    lab.queue.clear();
    lab.heal();
    elect_by(&mut lab, 2, &[3]);
    lab.stabilize();
    assert_eq!(lab.values(2), ["a", "b"], "what was committed is lost");
}

/// A member with the newer term and the older log; the leader is gone (etcd issue 8243).
pub fn older_term_catches_up() {
    let mut lab = Lab::led(&[1, 2, 3]);
    // 3 becomes a candidate by order, then once more with the pre-vote of 2; its requests get lost.
    lab.with(1, |raft| raft.transfer_leadership(id(3))).expect("a transfer");
    lab.deliver_now(from_to(1, 3));
    lab.queue.clear();
    lab.fire(2, Timer::LeaderSilent);
    lab.fire(3, Timer::Campaign);
    lab.deliver_now(from_to(3, 2));
    lab.deliver_now(from_to(2, 3));
    lab.queue.clear();
    assert_eq!(lab.raft(3).term(), term(3));
    lab.isolate(3);
    lab.fire(1, Timer::QuorumCheck);
    lab.propose(1, "a");
    lab.stabilize();
    lab.crash(1, 0);
    lab.heal();
    lab.queue.clear();
    // Timers as they come: both try again and again.
    for _ in 0..5 {
        for member in [2, 3] {
            if lab.is_armed(member, Timer::LeaderSilent) {
                lab.fire(member, Timer::LeaderSilent);
            }
            if lab.is_armed(member, Timer::Campaign) {
                lab.fire(member, Timer::Campaign);
            }
            lab.stabilize();
        }
    }
    assert_eq!(lab.leader(), Some(2), "two of three live, and there is no leader");
}

/// A new leader's commit index may be behind what the last leader told its clients.
pub fn new_leader_reads_late() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.propose(1, "a");
    lab.deliver_now(from_to(1, 2));
    lab.deliver_now(from_to(2, 1));
    assert_eq!(lab.values(1), ["a"], "a client of 1 has heard of it");
    lab.crash(1, 0);
    lab.queue.clear();
    elect_by(&mut lab, 2, &[3]);
    lab.with(2, |raft| raft.read_index(ReadId(7))).expect("a read");
    lab.stabilize();
    let reads = &lab.reads[&id(2)];
    assert!(reads.len() == 1 && reads[0].index >= at(2), "a stale read: {reads:?}");
}

/// A leader that was replaced without knowing it must not answer.
pub fn old_leader_does_not_read() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.isolate(1);
    lab.elect(2);
    lab.propose(2, "a");
    lab.stabilize();
    assert_eq!(lab.raft(1).role(), Role::Leader, "1 has heard of nothing");
    lab.with(1, |raft| raft.read_index(ReadId(7))).expect("a read");
    lab.stabilize();
    let reads = &lab.reads[&id(1)];
    assert!(reads.is_empty(), "a stale read: {reads:?}");
    // At the first look the answers from before the partition still count.
    lab.fire(1, Timer::QuorumCheck);
    lab.fire(1, Timer::QuorumCheck);
    assert_eq!(lab.reads_dropped[&id(1)], [ReadId(7)]);
}
