//! The claims of the Raft paper (Ongaro and Ousterhout, "In Search of an Understandable Consensus
//! Algorithm", 2014), one test each; the section stands above it. For the thesis see `thesis.rs`.

mod common;

use bytes::Bytes;
use common::lab::Lab;
use common::words::{answers, append, change, heartbeat, message, terms, vote_request};
use common::{Disk, at, directed, id, term, voters};
use seatrial_raft::{
    Body, Config, ConfigStep, HardState, Payload, ProposeError, ReadId, Role, SnapshotMeta, Timer,
    TimerRequest,
};
use seatrial_types::{LogIndex, MemberId};

// Raft §5.1: terms.

/// Raft §5.2: "When servers start up, they begin as followers."
#[test]
fn a_server_begins_as_a_follower() {
    let lab = Lab::of(&[1, 2, 3]);
    for member in 1..=3 {
        assert_eq!(lab.raft(member).role(), Role::Follower);
        assert_eq!(lab.raft(member).term(), term(0));
    }
}

/// Raft §5.1: a leader or candidate that finds its term out of date becomes a follower at once.
#[test]
fn a_leader_or_candidate_of_an_old_term_becomes_a_follower() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.deliver(message(2, 1, 5, heartbeat(0)));
    assert_eq!((lab.raft(1).role(), lab.raft(1).term()), (Role::Follower, term(5)));
    let mut lab = Lab::of(&[1, 2, 3]);
    lab.with(1, |raft| raft.campaign());
    lab.deliver(message(2, 1, 1, Body::PreVoteAnswer { granted: true }));
    assert_eq!(lab.raft(1).role(), Role::Candidate);
    lab.deliver(message(3, 1, 9, Body::VoteAnswer { granted: false }));
    assert_eq!((lab.raft(1).role(), lab.raft(1).term()), (Role::Follower, term(9)));
}

/// Raft §5.1: "If a server receives a request with a stale term number, it rejects the request."
#[test]
fn a_request_of_an_old_term_changes_nothing_and_is_told_the_new_one() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.deliver(message(3, 2, 7, heartbeat(0)));
    lab.queue.clear();
    let before = lab.raft(2).clone();
    lab.deliver(message(1, 2, 1, append((1, 1), &[(2, 1, "old")], 2)));
    assert_eq!(lab.raft(2).last_index(), before.last_index());
    assert_eq!(lab.raft(2).leader(), id(3));
    let answer = lab.queue.pop_front().expect("an answer");
    assert_eq!((answer.to, answer.term), (id(1), term(7)));
}

// Raft §5.2: elections.

/// Raft §5.2: a follower that hears nothing for the election timeout increments its term, votes for
/// itself and asks the others.
#[test]
fn a_follower_without_a_leader_campaigns_in_a_new_term_and_votes_for_itself() {
    let mut lab = Lab::of(&[1, 2, 3]);
    lab.time_out(1);
    lab.deliver_now(|message| message.to == id(2));
    lab.deliver_now(|message| message.to == id(1));
    let raft = lab.raft(1);
    assert_eq!((raft.role(), raft.term(), raft.vote()), (Role::Candidate, term(1), id(1)));
    let asked: Vec<MemberId> = lab
        .take_messages(|message| matches!(message.body, Body::Vote { .. }))
        .iter()
        .map(|message| message.to)
        .collect();
    assert_eq!(asked, [id(2), id(3)]);
}

/// Raft §5.2: "A candidate wins an election if it receives votes from a majority of the servers".
#[test]
fn a_candidate_leads_with_the_votes_of_a_majority_and_not_before() {
    for (size, needed) in [(3, 1), (4, 2), (5, 2)] {
        let numbers: Vec<u64> = (1..=size).collect();
        let mut lab = Lab::of(&numbers);
        lab.with(1, |raft| raft.campaign());
        for voter in 2..=size {
            lab.deliver(message(voter, 1, 1, Body::PreVoteAnswer { granted: true }));
        }
        for voter in 2..=size {
            let leads = lab.raft(1).role() == Role::Leader;
            assert_eq!(leads, voter - 2 >= needed, "{size} members, {} votes of others", voter - 2);
            lab.deliver(message(voter, 1, 1, Body::VoteAnswer { granted: true }));
        }
    }
}

/// Raft §5.2: a vote of another member counts once.
#[test]
fn a_vote_that_comes_twice_counts_once() {
    let mut lab = Lab::of(&[1, 2, 3, 4, 5]);
    lab.with(1, |raft| raft.campaign());
    for voter in [2, 3] {
        lab.deliver(message(voter, 1, 1, Body::PreVoteAnswer { granted: true }));
    }
    for _ in 0..3 {
        lab.deliver(message(2, 1, 1, Body::VoteAnswer { granted: true }));
    }
    assert_eq!(lab.raft(1).role(), Role::Candidate);
}

/// Raft §5.2: "Each server will vote for at most one candidate in a given term, on a
/// first-come-first-served basis".
#[test]
fn a_member_votes_for_one_candidate_per_term() {
    let mut lab = Lab::of(&[1, 2, 3]);
    lab.deliver(message(1, 3, 1, vote_request(0, 0)));
    lab.deliver(message(2, 3, 1, vote_request(0, 0)));
    lab.deliver(message(1, 3, 1, vote_request(0, 0)));
    let granted: Vec<bool> =
        answers(&mut lab, 3).iter().map(|body| matches!(body, Body::VoteAnswer { granted: true })).collect();
    assert_eq!(granted, [true, false, true], "the same candidate may ask twice");
    lab.deliver(message(2, 3, 2, vote_request(0, 0)));
    assert_eq!(answers(&mut lab, 3), [Body::VoteAnswer { granted: true }], "a new term, a new vote");
}

/// Raft §5.2: a candidate that hears a leader of its own term returns to follower; of an older one, not.
#[test]
fn a_candidate_yields_to_the_leader_of_its_term_and_not_to_older_ones() {
    let mut lab = Lab::of(&[1, 2, 3]);
    lab.with(1, |raft| raft.campaign());
    lab.deliver(message(2, 1, 1, Body::PreVoteAnswer { granted: true }));
    lab.deliver(message(2, 1, 0, heartbeat(0)));
    assert_eq!(lab.raft(1).role(), Role::Candidate);
    lab.deliver(message(3, 1, 1, heartbeat(0)));
    assert_eq!((lab.raft(1).role(), lab.raft(1).leader()), (Role::Follower, id(3)));
}

/// Raft §5.2: when the votes are split, each candidate times out and starts a new election.
#[test]
fn a_split_vote_is_followed_by_another_election() {
    let mut lab = Lab::of(&[1, 2]);
    for candidate in [1, 2] {
        lab.with(candidate, |raft| raft.campaign());
    }
    lab.deliver_now(|message| matches!(message.body, Body::PreVote { .. }));
    lab.deliver_now(|message| matches!(message.body, Body::PreVoteAnswer { .. }));
    assert_eq!((lab.raft(1).role(), lab.raft(2).role()), (Role::Candidate, Role::Candidate));
    lab.stabilize();
    assert_eq!(lab.leader(), None);
    lab.time_out(1);
    lab.stabilize();
    assert_eq!(lab.leader(), Some(1));
    assert_eq!(lab.raft(1).term(), term(2));
}

/// Raft §5.2: "Raft uses randomized election timeouts": the core asks for a range.
#[test]
fn a_campaign_begins_after_a_random_time_and_is_tried_again_after_a_longer_one() {
    let mut lab = Lab::of(&[1, 2, 3]);
    let timeout = lab.options.election_timeout;
    let mut raft = lab.nodes.remove(&id(1)).expect("member 1").raft;
    let asked = |raft: &mut seatrial_raft::Raft| raft.ready().expect("timers").timers;
    raft.fire(Timer::LeaderSilent);
    let first = TimerRequest::Set { timer: Timer::Campaign, min: std::time::Duration::ZERO, max: timeout };
    assert_eq!(asked(&mut raft), [first]);
    raft.fire(Timer::Campaign);
    let again = TimerRequest::Set { timer: Timer::Campaign, min: timeout, max: timeout * 2 };
    assert_eq!(asked(&mut raft), [again]);
}

/// Raft §5.2: heartbeats keep followers from campaigning.
#[test]
fn a_heartbeat_starts_the_election_timeout_anew() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.fire(2, Timer::LeaderSilent);
    assert!(lab.is_armed(2, Timer::Campaign));
    lab.beat(1);
    assert!(!lab.is_armed(2, Timer::Campaign), "the campaign is called off");
    assert!(lab.is_armed(2, Timer::LeaderSilent));
    assert!(lab.is_armed(1, Timer::Heartbeat), "and the next heartbeat will come");
}

/// Raft §5.2 and figure 2: the vote is on stable storage before the answer leaves.
#[test]
fn a_vote_is_durable_before_it_is_told() {
    let mut lab = Lab::of(&[1, 2, 3]);
    lab.auto_persist = false;
    lab.deliver(message(1, 3, 1, vote_request(0, 0)));
    assert!(lab.queue.is_empty(), "told before it was durable: {:?}", lab.queue);
    lab.persist(3, true);
    assert_eq!(answers(&mut lab, 3), [Body::VoteAnswer { granted: true }]);
    assert_eq!(lab.node(3).disk.hard_state.vote, id(1));
    directed::vote_survives_a_crash();
}

/// Raft §5.2: the candidate's own vote is a vote like any other: durable first.
#[test]
fn the_only_voter_leads_once_its_own_vote_is_durable() {
    let mut lab = Lab::empty();
    lab.auto_persist = false;
    lab.start(id(1), Disk::fresh(voters(&[1])), None);
    assert!(lab.is_armed(1, Timer::Campaign), "nobody else needs to be waited for");
    lab.fire(1, Timer::Campaign);
    assert_eq!(lab.raft(1).role(), Role::Candidate);
    lab.persist(1, true);
    assert_eq!(lab.raft(1).role(), Role::Leader);
}

// Raft §5.3: replication.

/// Raft §5.3: an entry is committed once a majority has it; the leader tells the others.
#[test]
fn an_entry_on_a_majority_is_committed_and_the_others_hear_of_it() {
    let mut lab = Lab::led(&[1, 2, 3, 4, 5]);
    lab.propose(1, "a");
    lab.deliver_now(|message| message.to == id(2));
    lab.deliver_now(|message| message.from == id(2));
    assert_eq!(lab.raft(1).commit(), at(1), "two of five");
    lab.deliver_now(|message| message.to == id(3));
    lab.deliver_now(|message| message.from == id(3));
    assert_eq!(lab.raft(1).commit(), at(2), "three of five");
    lab.stabilize();
    for member in 1..=5 {
        assert_eq!(lab.values(member), ["a"]);
    }
}

/// Raft §5.3: a commit "also commits all preceding entries in the leader's log, including entries
/// created by previous leaders".
#[test]
fn a_commit_takes_all_entries_before_it_along() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.isolate(3);
    lab.propose(1, "a");
    lab.deliver_now(|message| message.to == id(2));
    lab.queue.clear();
    lab.crash(1, 0);
    lab.heal();
    lab.elect(2);
    assert_eq!(lab.values(2), ["a"], "of term 1, committed by the first entry of term 2");
    assert_eq!(lab.values(3), ["a"]);
}

/// Raft §5.3: "the leader retries Append-Entries RPCs indefinitely", also to who was down.
#[test]
fn a_follower_that_was_down_gets_everything_when_it_is_back() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.crash(3, 0);
    for value in ["a", "b", "c"] {
        lab.propose(1, value);
        lab.stabilize();
    }
    lab.restart(3);
    lab.beat(1);
    assert_eq!(lab.values(3), ["a", "b", "c"]);
}

/// Raft §5.3: the consistency check: what does not follow on is refused, and changes nothing.
#[test]
fn an_append_that_does_not_follow_on_is_refused() {
    let mut lab = Lab::led(&[1, 2, 3]);
    for prev in [(1, 0), (5, 1)] {
        lab.deliver(message(1, 2, 1, append(prev, &[(prev.0 + 1, 1, "x")], 0)));
        let refused = answers(&mut lab, 2);
        assert!(matches!(refused[..], [Body::AppendRejected { .. }]), "{refused:?}");
        assert_eq!(lab.raft(2).last_index(), at(1));
    }
}

/// Raft §5.3, figure 7: whatever a follower's log looks like, it becomes the leader's.
#[test]
fn the_logs_of_figure_7_all_become_the_leaders() {
    let leader: &[u64] = &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    let followers: [&[u64]; 6] = [
        &[1, 1, 1, 4, 4, 5, 5, 6, 6],
        &[1, 1, 1, 4],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
        &[1, 1, 1, 4, 4, 4, 4],
        &[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    ];
    for (case, follower) in followers.iter().enumerate() {
        let mut lab = Lab::empty();
        let config = voters(&[1, 2, 3]);
        let log = |terms: &[u64]| terms.iter().map(|term| (*term, "x")).collect::<Vec<_>>();
        lab.start_with_log(1, &config, 7, &log(leader));
        lab.start_with_log(2, &config, 7, &log(follower));
        // The third has nothing and votes for the first.
        lab.start_with_log(3, &config, 7, &[]);
        lab.elect(1);
        let mut expected = leader.to_vec();
        expected.push(8);
        assert_eq!(terms(&lab, 2), expected, "follower {}", ["a", "b", "c", "d", "e", "f"][case]);
        assert_eq!(terms(&lab, 3), expected);
    }
}

/// Raft §5.3: the search for the place where logs agree takes one round per term, not per entry.
#[test]
fn a_refusal_skips_a_whole_term() {
    let mut lab = Lab::empty();
    let config = voters(&[1, 2, 3]);
    let log = |terms: &[u64]| terms.iter().map(|term| (*term, "x")).collect::<Vec<_>>();
    let mut leader = vec![1];
    leader.extend([5; 20]);
    let mut follower = vec![1];
    follower.extend([2; 10]);
    follower.extend([3; 10]);
    lab.start_with_log(1, &config, 5, &log(&leader));
    lab.start_with_log(2, &config, 5, &log(&follower));
    lab.start_with_log(3, &config, 5, &[]);
    lab.elect(1);
    lab.stabilize();
    assert_eq!(terms(&lab, 2).len(), 22);
    // The trace was kept since the start.
    let refusals = lab.trace.iter().filter(|line| line.starts_with("2->1 AppendRejected")).count();
    assert!(refusals <= 2, "{refusals} rounds for two terms");
}

/// Raft §5.3: leader append-only: a leader never overwrites or deletes its own entries.
#[test]
fn a_leader_never_shortens_its_own_log() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.propose(1, "a");
    lab.propose(1, "b");
    let before: Vec<_> = (1..=3).map(|index| lab.raft(1).entry(at(index)).cloned()).collect();
    // Refusals, old and new, and another "leader" of the same term.
    lab.deliver(message(
        2,
        1,
        1,
        Body::AppendRejected { rejected: at(3), hint_index: at(0), hint_term: term(0) },
    ));
    lab.deliver(message(2, 1, 1, append((0, 0), &[(1, 1, "x")], 1)));
    lab.stabilize();
    let after: Vec<_> = (1..=3).map(|index| lab.raft(1).entry(at(index)).cloned()).collect();
    assert_eq!(before, after);
    assert!(lab.trace.iter().any(|line| line.contains("claims to lead term 1")), "two leaders are an error");
}

/// Raft §5.3: an append that comes again, or late, does not cut what follows it.
#[test]
fn a_late_append_takes_nothing_back() {
    directed::late_append_cuts_nothing();
}

/// Raft §5.3 and figure 2: an acknowledgement is told only when the entries are durable.
#[test]
fn an_acknowledged_entry_survives_the_followers_crash() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.auto_persist = false;
    lab.propose(1, "a");
    lab.deliver_now(|message| message.to == id(2));
    assert!(answers(&mut lab, 2).is_empty(), "told before it was durable");
    lab.persist(2, true);
    assert_eq!(answers(&mut lab, 2), [Body::AppendAccepted { matched: at(2) }]);
    directed::acknowledged_survives_a_crash();
}

/// Raft §5.5: requests are idempotent: the same append twice is the same as once.
#[test]
fn an_append_twice_is_the_same_as_once() {
    let mut lab = Lab::led(&[1, 2, 3]);
    let again = message(1, 2, 1, append((1, 1), &[(2, 1, "a"), (3, 1, "b")], 2));
    lab.deliver(again.clone());
    let once = lab.raft(2).clone();
    lab.deliver(again);
    assert_eq!(lab.raft(2).last_index(), once.last_index());
    assert_eq!(lab.raft(2).commit(), once.commit());
    let answers = answers(&mut lab, 2);
    assert_eq!(answers[0], Body::AppendAccepted { matched: at(3) });
}

/// Raft §5.3, figure 2: a follower's commit index is the leader's, but never beyond what it knows to match.
#[test]
fn a_follower_commits_at_most_what_the_append_brought() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.deliver(message(1, 2, 1, append((1, 1), &[(2, 1, "a")], 9)));
    assert_eq!(lab.raft(2).commit(), at(2));
    // What stands behind the place that was compared may be another leader's.
    let mut lab = Lab::empty();
    lab.start_with_log(2, &voters(&[1, 2, 3]), 1, &[(1, "a"), (1, "b"), (1, "c")]);
    lab.deliver(message(1, 2, 2, append((1, 1), &[], 3)));
    assert_eq!(lab.raft(2).commit(), at(1), "entries 2 and 3 were not compared");
}

// Raft §5.4: safety.

/// Raft §5.4.1: the voter denies its vote if its own log is more up-to-date: last term first, then length.
#[test]
fn a_candidate_with_a_stale_log_gets_no_votes() {
    let cases: [(&[u64], (u64, u64), bool); 7] = [
        (&[1, 1], (2, 1), true),
        (&[1, 1], (3, 1), true),
        (&[1, 1], (1, 1), false),
        (&[1, 1], (1, 2), true),
        (&[2], (5, 1), false),
        (&[1, 2], (2, 2), true),
        (&[], (0, 0), true),
    ];
    for (log, last, granted) in cases {
        for pre_vote in [false, true] {
            let mut lab = Lab::empty();
            let entries: Vec<(u64, &str)> = log.iter().map(|term| (*term, "x")).collect();
            lab.start_with_log(2, &voters(&[1, 2, 3]), 2, &entries);
            let (last_index, last_term) = (at(last.0), term(last.1));
            let body =
                if pre_vote { Body::PreVote { last_index, last_term } } else { vote_request(last.0, last.1) };
            lab.deliver(message(1, 2, 3, body));
            let answer =
                if pre_vote { Body::PreVoteAnswer { granted } } else { Body::VoteAnswer { granted } };
            assert_eq!(answers(&mut lab, 2), [answer], "log {log:?} asked with {last:?}");
        }
    }
}

/// Raft §5.4.2, figure 8: copies of an older term's entry are not counted.
#[test]
fn an_entry_of_an_older_term_is_not_committed_by_counting_copies() {
    directed::figure_8();
}

/// Raft §5.4: leader completeness: what was committed is in every later leader's log.
#[test]
fn a_committed_entry_is_in_the_log_of_every_later_leader() {
    for (first, second, cut) in [(1, 2, 3), (1, 3, 2), (2, 3, 1), (3, 1, 2)] {
        let mut lab = Lab::led(&[1, 2, 3]);
        lab.elect(first);
        lab.isolate(cut);
        lab.propose(first, "a");
        lab.stabilize();
        lab.heal();
        // The member that was cut off campaigns first, and cannot win.
        lab.crash(first, 0);
        for member in [second, cut] {
            if lab.is_armed(member, Timer::LeaderSilent) {
                lab.fire(member, Timer::LeaderSilent);
            }
        }
        lab.with(cut, |raft| raft.campaign());
        lab.stabilize();
        if lab.raft(cut).role() == Role::Leader {
            panic!("{cut} leads without the committed entry");
        }
        lab.elect(second);
        assert_eq!(lab.values(second), ["a"]);
        assert_eq!(lab.values(cut), ["a"]);
    }
}

/// Raft §5.4.3: state machine safety: entries are applied in log order, each once.
#[test]
fn entries_are_applied_in_order_and_once() {
    let mut lab = Lab::led(&[1, 2, 3]);
    for value in 0..20 {
        lab.propose(1 + value % 3, &value.to_string());
        if value % 4 == 0 {
            lab.stabilize();
        }
    }
    lab.stabilize();
    // The state machine itself refuses gaps and repetitions.
    let values = lab.values(1);
    assert_eq!(values.len(), 20);
    assert_eq!(values, lab.values(2));
    assert_eq!(values, lab.values(3));
}

/// Raft §5.6, figure 2: term, vote and log survive a restart.
#[test]
fn a_restarted_member_remembers_its_term_vote_and_log() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.propose(1, "a");
    lab.stabilize();
    lab.deliver(message(3, 2, 4, vote_request(9, 3)));
    let before = lab.raft(2).clone();
    assert_eq!((before.term(), before.vote()), (term(1), id(1)), "the leader lease holds");
    lab.fire(2, Timer::LeaderSilent);
    lab.deliver(message(3, 2, 4, vote_request(9, 3)));
    lab.crash(2, 0);
    lab.restart(2);
    let raft = lab.raft(2);
    assert_eq!((raft.term(), raft.vote(), raft.last_index()), (term(4), id(3), at(2)));
    lab.queue.clear();
    lab.deliver(message(1, 2, 4, vote_request(9, 3)));
    assert_eq!(answers(&mut lab, 2), [Body::VoteAnswer { granted: false }]);
}

// Raft §6: changes of configuration.

/// Raft §6: a member uses the newest configuration in its log, committed or not, and falls back to the
/// one before where that entry is cut off.
#[test]
fn a_configuration_is_in_force_when_it_is_in_the_log_and_gone_with_its_entry() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.isolate(1);
    lab.change(1, &[ConfigStep::AddVoter(id(4))]).expect("a change");
    assert_eq!(lab.raft(1).config(), &voters(&[1, 2, 3, 4]));
    assert!(lab.raft(1).is_config_pending());
    lab.elect(2);
    lab.heal();
    lab.beat(2);
    assert_eq!(lab.raft(1).config(), &voters(&[1, 2, 3]));
}

/// Raft §6: in a joint configuration, elections and commits need a majority of each half.
#[test]
fn a_joint_configuration_commits_and_elects_only_with_both_halves() {
    let mut lab = Lab::led(&[1, 2, 3]);
    for member in [4, 5] {
        lab.join(member);
    }
    let steps = [4, 5].map(|member| ConfigStep::AddVoter(id(member)));
    let both: Vec<_> = steps.into_iter().chain([2, 3].map(|member| ConfigStep::Remove(id(member)))).collect();
    lab.change(1, &both).expect("a change");
    assert!(lab.raft(1).config().is_joint());
    // The old half alone: 1, 2, 3.
    lab.isolate(4);
    lab.cut.extend([(id(1), id(5)), (id(2), id(5)), (id(3), id(5))]);
    lab.stabilize();
    assert_eq!(lab.raft(1).commit(), at(1), "the new half has not agreed");
    // And it elects nobody, either: 2 has the joint configuration in its log.
    assert!(lab.raft(2).config().is_joint());
    lab.crash(1, 0);
    lab.fire(3, Timer::LeaderSilent);
    lab.time_out(2);
    lab.stabilize();
    assert_eq!(lab.leader(), None);
    lab.restart(1);
    lab.heal();
    // The leader has not yet been elected anew; with all there, it goes through to the end.
    lab.elect(1);
    lab.beat(1);
    assert_eq!(lab.raft(1).config(), &voters(&[1, 4, 5]));
}

/// Raft §6: the joint configuration is left without anybody's doing, also by another leader than the one
/// that entered it.
#[test]
fn a_new_leader_leaves_the_joint_configuration_it_finds() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.join(4);
    let steps = [ConfigStep::AddVoter(id(4)), ConfigStep::Remove(id(3))];
    lab.change(1, &steps).expect("a change");
    // Everybody gets the joint configuration; the answers are lost with the leader.
    for _ in 0..3 {
        lab.deliver_now(|message| message.from == id(1));
        lab.deliver_now(|message| message.from == id(4));
    }
    lab.queue.clear();
    lab.crash(1, 0);
    assert!(lab.raft(2).config().is_joint());
    lab.elect(2);
    lab.beat(2);
    assert_eq!(lab.raft(2).config(), &voters(&[1, 2, 4]));
    assert_eq!(lab.raft(4).config(), &voters(&[1, 2, 4]));
}

/// Raft §6: new servers first join without a vote: they get the log and count for nothing.
#[test]
fn a_learner_gets_the_log_and_counts_for_nothing() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.join(4);
    lab.change(1, &[ConfigStep::AddLearner(id(4))]).expect("a change");
    lab.stabilize();
    lab.isolate(2);
    lab.cut.insert((id(1), id(3)));
    lab.propose(1, "a");
    lab.stabilize();
    assert_eq!(lab.raft(4).last_index(), at(3), "it has the entry");
    assert_eq!(lab.raft(1).commit(), at(2), "its copy does not count");
    lab.time_out(4);
    assert_eq!(lab.raft(4).role(), Role::Follower, "and it never campaigns");
    assert!(!lab.raft(4).is_promotable());
}

/// Raft §6: a leader that is not in the new configuration does not count its own copy, and steps down once
/// it is committed.
#[test]
fn a_leader_that_removes_itself_steps_down_when_that_is_committed() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.change(1, &[ConfigStep::Remove(id(1))]).expect("a change");
    lab.deliver_now(|message| message.to == id(2));
    lab.deliver_now(|message| message.to == id(1));
    assert_eq!(lab.raft(1).role(), Role::Leader);
    assert_eq!(lab.raft(1).commit(), at(1), "one of two; the own copy is none of them");
    lab.deliver_now(|message| message.to == id(3) && matches!(message.body, Body::Append { .. }));
    lab.deliver_now(|message| message.to == id(1));
    assert_eq!(lab.raft(1).role(), Role::Follower);
    lab.stabilize();
    lab.time_out(1);
    assert_eq!(lab.raft(1).role(), Role::Follower, "and does not come back");
    assert_eq!(lab.leader(), Some(2), "who was asked to take over");
}

/// Raft §6, thesis §4.2.3: removed servers cannot disrupt: who hears the leader ignores requests for votes.
#[test]
fn a_member_that_hears_its_leader_ignores_candidates() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.deliver(message(9, 2, 40, vote_request(99, 39)));
    lab.deliver(message(9, 1, 40, vote_request(99, 39)));
    lab.deliver(message(9, 2, 40, Body::PreVote { last_index: at(99), last_term: term(39) }));
    assert!(lab.queue.is_empty(), "not even an answer");
    assert_eq!((lab.raft(1).term(), lab.raft(2).term()), (term(1), term(1)));
    lab.fire(2, Timer::LeaderSilent);
    lab.deliver(message(9, 2, 40, vote_request(99, 39)));
    assert_eq!(lab.raft(2).term(), term(40), "without the leader it would");
}

/// Thesis §4.1 and its correction of 2015: one change at a time, and none before the leader has committed
/// in its own term.
#[test]
fn a_leader_changes_the_configuration_once_at_a_time_and_only_after_its_first_commit() {
    let mut lab = Lab::of(&[1, 2, 3]);
    lab.with(1, |raft| raft.campaign());
    for answer in [Body::PreVoteAnswer { granted: true }, Body::VoteAnswer { granted: true }] {
        lab.deliver(message(2, 1, 1, answer));
    }
    assert_eq!(lab.raft(1).role(), Role::Leader);
    let early = lab.change(1, &[ConfigStep::AddVoter(id(4))]);
    assert_eq!(early, Err(ProposeError::TermNotCommitted { term: term(1) }));
    lab.stabilize();
    lab.change(1, &[ConfigStep::AddVoter(id(4))]).expect("a change");
    let second = lab.change(1, &[ConfigStep::AddVoter(id(5))]);
    assert_eq!(second, Err(ProposeError::ConfigPending { index: at(2), commit: at(1) }));
}

/// Thesis §4.2.2: who has the entry of its own removal may be the only one that can win: it campaigns, does
/// not count its own vote, commits the removal, and goes.
#[test]
fn a_member_campaigns_until_its_removal_is_committed() {
    let mut lab = Lab::led(&[1, 2]);
    lab.isolate(1);
    lab.change(1, &[ConfigStep::Remove(id(1))]).expect("a change");
    lab.stabilize();
    lab.crash(1, 0);
    lab.heal();
    lab.restart(1);
    assert_eq!(lab.raft(1).config(), &voters(&[2]));
    // 2 does not know, and cannot win: its log is shorter.
    lab.time_out(2);
    lab.stabilize();
    assert_eq!(lab.leader(), None);
    // The campaign of 2 has run out; nobody leads.
    lab.time_out(1);
    lab.stabilize();
    assert_eq!(lab.raft(2).config(), &voters(&[2]));
    assert_eq!(lab.raft(1).role(), Role::Follower);
    assert_eq!(lab.leader(), Some(2), "the removal is committed, and who is left leads");
}

// Raft §7: compaction.

/// Raft §7: a follower that needs what was compacted gets a snapshot, and its log begins behind it.
#[test]
fn a_follower_that_is_too_far_behind_gets_a_snapshot() {
    let mut lab = Lab::empty();
    lab.options.chunk_bytes = 5;
    for member in 1..=3 {
        lab.start(id(member), Disk::fresh(voters(&[1, 2, 3])), None);
    }
    lab.elect(1);
    lab.crash(3, 0);
    for value in ["a", "b", "c"] {
        lab.propose(1, value);
    }
    lab.stabilize();
    let base = lab.nodes.get_mut(&id(1)).expect("1").compact(at(3));
    assert_eq!(base, at(3));
    lab.restart(3);
    lab.beat(1);
    assert_eq!(lab.values(3), ["a", "b", "c"]);
    assert!(lab.trace.iter().any(|line| line.starts_with("3 installed snapshot 4/1")), "{:#?}", lab.trace);
    assert_eq!(lab.raft(3).term_at(at(2)), None, "the log begins behind the snapshot");
    lab.propose(1, "d");
    lab.stabilize();
    assert_eq!(lab.values(3), ["a", "b", "c", "d"]);
}

/// Raft §7: the word that a snapshot is installed may be lost, and the leader's log go on meanwhile.
#[test]
fn a_follower_whose_answer_to_a_snapshot_got_lost_is_not_left_behind() {
    let mut lab = Lab::empty();
    lab.options.chunk_bytes = 3;
    for member in 1..=3 {
        lab.start(id(member), Disk::fresh(voters(&[1, 2, 3])), None);
    }
    lab.elect(1);
    lab.crash(3, 0);
    lab.propose(1, "a");
    lab.stabilize();
    lab.nodes.get_mut(&id(1)).expect("1").compact(at(2));
    lab.restart(3);
    for _ in 0..20 {
        if !lab
            .take_messages(|message| matches!(message.body, Body::SnapshotAnswer { installed: true, .. }))
            .is_empty()
        {
            break;
        }
        if lab.queue.is_empty() {
            lab.fire(1, Timer::Heartbeat);
        }
        lab.deliver_now(|_| true);
    }
    assert_eq!(lab.values(3), ["a"], "the snapshot is installed, and its answer lost");
    lab.isolate(3);
    lab.propose(1, "b");
    lab.stabilize();
    lab.nodes.get_mut(&id(1)).expect("1").compact(at(3));
    lab.heal();
    for _ in 0..4 {
        lab.beat(1);
    }
    assert_eq!(lab.values(3), ["a", "b"]);
}

/// Raft §7: a snapshot of what the log has already changes nothing in it; entries behind it stay.
#[test]
fn a_snapshot_that_brings_nothing_new_keeps_the_log() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.deliver(message(1, 2, 1, append((1, 1), &[(2, 1, "a"), (3, 1, "b")], 1)));
    lab.queue.clear();
    let meta = SnapshotMeta { index: at(2), term: term(1), config: voters(&[1, 2, 3]) };
    lab.deliver(message(
        1,
        2,
        1,
        Body::Snapshot { meta, offset: 0, data: Bytes::from_static(b"?"), done: true },
    ));
    assert_eq!(lab.raft(2).last_index(), at(3));
    assert_eq!(lab.raft(2).commit(), at(2), "what a snapshot covers is committed");
    assert_eq!(lab.values(2), ["a"]);
    assert_eq!(answers(&mut lab, 2), [Body::AppendAccepted { matched: at(2) }]);
}

/// Raft §7: a snapshot carries the newest configuration in it.
#[test]
fn a_snapshot_brings_its_configuration() {
    let mut lab = Lab::led(&[1, 2]);
    lab.change(1, &[ConfigStep::AddLearner(id(3))]).expect("a change");
    lab.stabilize();
    lab.nodes.get_mut(&id(1)).expect("1").compact(at(2));
    lab.join(3);
    lab.beat(1);
    lab.beat(1);
    let mut expected = voters(&[1, 2]);
    expected.learners.insert(id(3));
    assert_eq!(lab.raft(3).config(), &expected);
    assert_eq!(lab.raft(3).log_start().config, expected);
}

// Raft §8: clients.

/// Raft §8: a new leader begins its term with an empty entry, by which it learns what is committed.
#[test]
fn a_leader_begins_its_term_with_an_empty_entry() {
    let lab = Lab::led(&[1, 2, 3]);
    let entry = lab.raft(3).entry(at(1)).expect("the first entry");
    assert_eq!((entry.term, &entry.payload), (term(1), &Payload::Noop));
    assert_eq!(lab.raft(1).commit(), at(1));
}

/// Raft §8: a leader asks a quorum before it answers a read, and answers those of followers too.
#[test]
fn a_read_is_answered_after_a_round_with_a_quorum() {
    let mut lab = Lab::led(&[1, 2, 3]);
    lab.with(1, |raft| raft.read_index(ReadId(1))).expect("a read");
    lab.with(2, |raft| raft.read_index(ReadId(2))).expect("a read");
    assert!(lab.reads[&id(1)].is_empty(), "answered without asking");
    lab.stabilize();
    assert_eq!(lab.reads[&id(1)].len(), 1);
    assert_eq!(lab.reads[&id(2)].len(), 1);
    directed::old_leader_does_not_read();
}

/// Raft §8: a new leader answers reads only after its first commit.
#[test]
fn a_new_leader_lets_reads_wait_for_its_first_commit() {
    directed::new_leader_reads_late();
}

/// Thesis §6.4: one round serves all reads that came before it, and none that came after.
#[test]
fn one_round_serves_many_reads_and_an_old_answer_none() {
    let mut lab = Lab::led(&[1, 2, 3]);
    let node = lab.nodes.get_mut(&id(1)).expect("1");
    for read in 0..10 {
        node.raft.read_index(ReadId(read)).expect("a read");
    }
    lab.settle(id(1));
    assert_eq!(lab.queue.len(), 2, "one heartbeat for each follower");
    let rounds = lab.take_messages(|_| true);
    lab.with(1, |raft| raft.read_index(ReadId(10))).expect("a read");
    lab.queue.clear();
    for beat in rounds {
        lab.deliver(beat);
    }
    lab.stabilize();
    assert_eq!(lab.reads[&id(1)].len(), 10, "the last one came after the round had begun");
    lab.beat(1);
    assert_eq!(lab.reads[&id(1)].len(), 11);
}

/// Raft §8: followers pass requests on to the leader; without one they say so.
#[test]
fn a_follower_passes_proposals_to_the_leader() {
    let mut lab = Lab::of(&[1, 2, 3]);
    let refused = lab.with(2, |raft| raft.propose(vec![Bytes::from_static(b"a")]));
    assert_eq!(refused, Err(ProposeError::NoLeader { term: term(0) }));
    lab.elect(1);
    lab.propose(2, "a");
    lab.with(3, |raft| raft.propose_config(change(&[ConfigStep::AddLearner(id(4))]))).expect("a change");
    lab.stabilize();
    assert_eq!(lab.values(3), ["a"]);
    assert!(lab.raft(3).config().is_learner(id(4)));
}

/// What contradicts itself on the disk is not started with.
#[test]
#[should_panic(expected = "the state machine is at 5")]
fn a_state_machine_ahead_of_its_log_is_refused() {
    let restored =
        seatrial_raft::Restored { applied: LogIndex(5), ..seatrial_raft::Restored::fresh(Config::default()) };
    let _ = seatrial_raft::Raft::new(seatrial_raft::Options::new(id(1)), restored);
}

/// A commit index on the disk that is beyond what is left of the log is only a hint.
#[test]
fn a_commit_index_beyond_the_log_on_disk_is_cut_to_it() {
    let mut restored = seatrial_raft::Restored::fresh(voters(&[1, 2, 3]));
    restored.hard_state = HardState { term: term(3), vote: id(2), commit: at(9) };
    let raft = seatrial_raft::Raft::new(seatrial_raft::Options::new(id(1)), restored);
    assert_eq!((raft.commit(), raft.term(), raft.vote()), (at(0), term(3), id(2)));
}
