//! Three whole members driven by a plain loop: no async, no clock, no socket, no file. Messages, timers, log
//! writes and backend batches are values in queues, so a crash can fall between any two of them: above all
//! between handing out a write and its being durable.

mod common;

use common::{Loop, Machine, level, put, put_request};
use seatrial_node::{
    AutoCompaction, Input, MemberOptions, Observation, Output, PeerBody, PeerMessage, RequestId,
};
use seatrial_raft::{Body, Message};
use seatrial_types::request::{MemberUpdateRequest, PutRequest, RangeRequest, TxnOp, TxnRequest};
use seatrial_types::{Error, KeyRange, LogIndex, MemberId, Request, Response, Revision, Term};
use std::collections::BTreeMap;
use std::time::Duration;

#[test]
fn a_put_is_seen_through_every_member() {
    let mut world = Loop::new(3, 1);
    let leader = world.await_leader();
    world.call(leader, put("k", "v")).unwrap();
    for id in world.ids() {
        assert_eq!(world.value(id, "k").as_deref(), Some(b"v".as_slice()), "through member {id}");
    }
}

#[test]
fn a_put_passes_a_long_range_and_the_range_shows_what_was_there_before() {
    let mut world = Loop::new(3, 4);
    let leader = world.await_leader();
    let puts = (0..100).map(|number| TxnOp::Put(put_request(format!("k{number:03}"), "old")));
    world.call(leader, Request::Txn(TxnRequest { success: puts.collect(), ..Default::default() })).unwrap();
    world.call(leader, put("k100", "old")).unwrap();
    let all = RangeRequest { range: KeyRange::prefix("k"), ..Default::default() };
    let few = world.call(leader, Request::Range(RangeRequest { limit: 50, ..all.clone() })).unwrap();
    assert!(matches!(few, Response::Range(few) if few.kvs.len() == 50 && few.more && few.count == 101));
    for member in world.ids() {
        let request = world.ask(member, Request::Range(all.clone()));
        world.run_until("a reading", |this| !this.readings.is_empty());
        let newest = world.member(member).store().revision();
        // Nobody has begun to read, and the cluster goes on.
        world.call(leader, put("k000", "new")).unwrap();
        assert!(!world.answers.contains_key(&request), "the range was answered by the member itself");
        let (id, reading) = world.readings.pop().unwrap();
        assert_eq!(id, request);
        let range = reading.finish().unwrap();
        assert_eq!((range.kvs.len(), range.count, range.header.revision), (101, 101, newest));
        assert_eq!((range.header.member_id, range.more), (member, false));
        let value: &[u8] = if member == world.ids()[0] { b"old" } else { b"new" };
        assert_eq!(range.kvs[0].value.as_ref(), value, "through member {member}");
        // However long the reading takes: its request is no longer the member's to answer.
        for _ in 0..2_000 {
            world.turn();
        }
        assert!(!world.answers.contains_key(&request), "answered twice: {:?}", world.answers.get(&request));
    }
}

#[test]
fn a_member_whose_backend_lags_takes_no_more_until_it_has_caught_up() {
    let mut world = Loop::with(3, 5, |options| {
        (options.checkpoint_bytes, options.pending_bytes_max) = (5_000, 20_000);
        options.checkpoint_interval = Duration::from_secs(3600);
    });
    let leader = world.await_leader();
    world.slow = vec![leader];
    let mut puts = 0;
    while world.member(leader).store().pending_bytes() < 20_000 {
        world.call(leader, put("k", vec![7; 2_000])).unwrap();
        puts += 1;
        assert!(puts < 20, "20,000 bytes are not 20 times 2,000");
    }
    // Closed at 5,000 bytes, without waiting for the time or the number of entries; what came since is not closed, for
    // one batch is on its way.
    assert_eq!(world.machines[&leader].batches_pending.len(), 1);
    let request = world.ask(leader, put("k", "one too many"));
    // Less than the time that a request has.
    let until = world.now + Duration::from_secs(2);
    while world.now < until {
        world.turn();
    }
    assert!(!world.answers.contains_key(&request), "{:?}", world.answers.get(&request));
    let refused = world.ask(leader, put("k", "and another"));
    world.run_until("the first one's end", |this| this.answers.contains_key(&request));
    assert_eq!(world.answers[&request], Err(Error::TooManyRequests));
    world.slow.clear();
    let request = refused;
    world.run_until("an answer", |this| this.answers.contains_key(&request));
    assert!(matches!(world.answers[&request], Ok(Response::Put(_))), "{:?}", world.answers[&request]);
}

#[test]
fn nothing_is_acknowledged_before_a_majority_has_it_on_disk() {
    let mut world = Loop::new(3, 2);
    let leader = world.await_leader();
    world.call(leader, put("before", "1")).unwrap();
    // Only the leader's disk still syncs: two copies are in memory, one is durable.
    world.stuck = world.ids().into_iter().filter(|id| *id != leader).collect();
    let request = world.ask(leader, put("k", "v"));
    for _ in 0..5_000 {
        world.turn();
    }
    let answer = world.answers.get(&request);
    assert!(!matches!(answer, Some(Ok(_))), "acknowledged with one durable copy: {answer:?}");
}

#[test]
fn an_acknowledged_put_survives_a_crash_of_all_between_persist_and_sync() {
    for seed in 0..200 {
        let mut world = Loop::new(3, seed);
        let leader = world.await_leader();
        world.call(leader, put("k", "old")).unwrap();
        world.call(leader, put("k", "acknowledged")).unwrap();
        // This one is on its way through persist and sync when the power goes everywhere.
        let lost = world.ask(leader, put("k", "on its way"));
        for _ in 0..world.dice.roll(20) {
            world.turn();
        }
        let known = world.answers.get(&lost).is_some_and(Result::is_ok);
        for id in world.ids() {
            world.crash(id);
        }
        for id in world.ids() {
            world.start(id);
        }
        let leader = world.await_leader();
        let value = world.value(leader, "k").unwrap();
        if known {
            assert_eq!(value, "on its way", "seed {seed}");
        } else {
            assert!(value == "acknowledged" || value == "on its way", "seed {seed}: {value:?}");
        }
    }
}

#[test]
fn members_agree_on_every_entry_through_crashes_of_any_of_them() {
    for seed in 0..60 {
        let mut world = Loop::with(3, seed, |options| {
            options.checkpoint_interval = Duration::from_millis(50);
            options.catch_up_entries = 5;
            options.compact_entries = 5;
            options.raft.chunk_bytes = 256;
        });
        let mut acknowledged: Vec<(String, RequestId)> = Vec::new();
        let mut asked: Vec<(String, RequestId)> = Vec::new();
        for round in 0..120 {
            let ids = world.ids();
            let id = ids[world.dice.roll(3) as usize];
            match world.dice.roll(12) {
                0 => world.crash(id),
                1 | 2 => {
                    if world.machines[&id].running.is_none() {
                        world.start(id);
                    }
                }
                _ => {
                    if world.machines[&id].running.is_some() {
                        let key = format!("k{round}");
                        let request =
                            PutRequest { key: key.clone().into(), value: "v".into(), ..Default::default() };
                        let request = world.ask(id, Request::Put(request));
                        asked.push((key, request));
                    }
                }
            }
            for _ in 0..world.dice.roll(60) {
                world.turn();
            }
        }
        for (key, request) in asked {
            if world.answers.get(&request).is_some_and(Result::is_ok) {
                acknowledged.push((key, request));
            }
        }
        for id in world.ids() {
            if world.machines[&id].running.is_none() {
                world.start(id);
            }
        }
        let leader = world.await_leader();
        world.call(leader, put("last", "v")).unwrap();
        for (key, _) in &acknowledged {
            let get = RangeRequest { range: KeyRange::single(key.clone()), ..Default::default() };
            let Response::Range(found) = world.call(leader, Request::Range(get)).unwrap() else { panic!() };
            assert_eq!(found.kvs.len(), 1, "seed {seed}: {key} was acknowledged and is gone");
        }
        world.run_until("all members level", |world| {
            let applied = |machine: &Machine| machine.running.as_ref().map(|member| member.store().applied());
            let all: Vec<_> = world.machines.values().map(applied).collect();
            all.iter().all(|applied| *applied == all[0])
        });
        let mut entries: BTreeMap<LogIndex, (seatrial_types::Term, u32)> = BTreeMap::new();
        for (member, observation) in &world.seen {
            if let Observation::Applied { index, term, checksum, .. } = observation {
                let before = *entries.entry(*index).or_insert((*term, *checksum));
                assert_eq!(
                    before,
                    (*term, *checksum),
                    "seed {seed}: member {member} differs at entry {index}"
                );
            }
        }
    }
}

#[test]
fn a_member_that_slept_through_a_compaction_is_brought_level_by_a_snapshot() {
    let mut world = Loop::with(3, 7, |options| {
        options.checkpoint_interval = Duration::from_millis(50);
        options.catch_up_entries = 5;
        options.compact_entries = 5;
        options.raft.chunk_bytes = 128;
    });
    let leader = world.await_leader();
    let sleeper = world.ids().into_iter().find(|id| *id != leader).unwrap();
    world.crash(sleeper);
    for i in 0..60 {
        world.call(leader, put("k", format!("{i}"))).unwrap();
    }
    world.run_until("a cut log", |world| {
        world.machines[&leader].running.as_ref().unwrap().raft().first_index() > LogIndex(20)
    });
    world.start(sleeper);
    assert_eq!(world.value(sleeper, "k").as_deref(), Some(b"59".as_slice()));
    let installed = |(id, seen): &(MemberId, Observation)| {
        *id == sleeper && matches!(seen, Observation::SnapshotInstalled { .. })
    };
    world.run_until("an installed snapshot", |world| world.seen.iter().any(installed));
    // And once more from its own disk.
    world.crash(sleeper);
    world.start(sleeper);
    assert_eq!(world.value(sleeper, "k").as_deref(), Some(b"59".as_slice()));
}

#[test]
fn a_member_is_a_value_whose_copy_lives_its_own_life() {
    let mut world = Loop::new(1, 3);
    let only = world.await_leader();
    world.call(only, put("k", "1")).unwrap();
    let copy = world.machines[&only].running.clone().unwrap();
    assert_eq!(Some(&copy), world.machines[&only].running.as_ref());
    world.call(only, put("k", "2")).unwrap();
    assert_ne!(Some(&copy), world.machines[&only].running.as_ref());
    assert!(copy.store().revision() < world.machines[&only].running.as_ref().unwrap().store().revision());
}

#[test]
fn a_lone_member_grows_to_three_and_serves_while_nobody_has_joined_yet() {
    let mut world = Loop::new(1, 11);
    let first = world.await_leader();
    for url in ["http://b:2380", "http://c:2380"] {
        let new = world.add(first, url, false).unwrap();
        // Nobody runs there yet, and still the cluster has its majority.
        world.call(first, put("alone", "yes")).unwrap();
        let again = world.add(first, "http://d:2380", false);
        assert_eq!(again, Err(Error::MemberNotEnoughStarted), "a second absent member would be one too many");
        assert_eq!(world.add(first, url, false), Err(Error::MemberNotEnoughStarted));
        world.join(new, |_| {});
        world.run_until("the new member votes", |world| world.voters(first).contains(&new));
        world.run_until("the new member tells its name", |world| {
            !world.member(first).cluster().members[&new].name.is_empty()
        });
        assert_eq!(world.value(new, "alone").as_deref(), Some(b"yes".as_slice()));
    }
    assert_eq!(world.voters(first).len(), 3);
    world.crash(first);
    let leader = world.await_leader();
    world.call(leader, put("k", "without the first")).unwrap();
    world.start(first);
    level(&mut world);
}

#[test]
fn members_come_and_go_until_nobody_of_the_first_is_left() {
    for seed in 0..40 {
        let small = |options: &mut MemberOptions| {
            options.checkpoint_interval = Duration::from_millis(50);
            options.catch_up_entries = 3;
            options.compact_entries = 3;
            options.raft.chunk_bytes = 200;
        };
        let mut world = Loop::with(3, seed, small);
        let first = world.ids();
        let leader = world.await_leader();
        world.call(leader, put("k", "kept")).unwrap();
        for old in first {
            let leader = world.await_leader();
            for i in 0..10 {
                world.call(leader, put("noise", format!("{i}"))).unwrap();
            }
            world.run_until("all have told their names", |world| {
                world.member(leader).cluster().members.values().all(|member| !member.name.is_empty())
            });
            let through = world.ids()[world.dice.roll(3) as usize];
            let new = world.add(through, &format!("http://new-{old}:1"), false).unwrap();
            world.join(new, small);
            world.run_until("it votes", |world| {
                world.leader().is_some_and(|leader| world.voters(leader).contains(&new))
            });
            let leader = world.await_leader();
            let through = if world.dice.roll(2) == 0 { old } else { leader };
            let removed = world.call(through, Request::MemberRemove(old));
            // The last word to a removed member may be lost; then it cannot know, and says so.
            let unknown = through == old && removed.as_ref().is_err_and(Error::is_ambiguous);
            assert!(removed.is_ok() || unknown, "seed {seed}: {removed:?}");
            world.run_until("it is removed", |world| {
                world.leader().is_some_and(|leader| world.member(leader).cluster().removed.contains(&old))
            });
            if through == old && removed.is_ok() {
                assert!(world.removed.contains(&old), "seed {seed}: it applied its own removal and goes on");
            }
            // Whoever was removed while it slept learns it from those it dials.
            if !world.removed.contains(&old) {
                world.input(old, Input::Removed);
            }
            assert!(world.removed.contains(&old), "seed {seed}: a removed member goes on");
            world.crash(old);
            world.machines.remove(&old);
            world.flying.retain(|message| message.to != old);
        }
        let leader = world.await_leader();
        world.run_until("three voters", |world| world.voters(leader).len() == 3);
        assert_eq!(world.value(leader, "k").as_deref(), Some(b"kept".as_slice()), "seed {seed}");
        level(&mut world);
        // And all of it is on disk.
        for id in world.ids() {
            world.crash(id);
        }
        for id in world.ids() {
            world.start(id);
        }
        let leader = world.await_leader();
        assert_eq!(world.voters(leader).len(), 3);
        assert_eq!(world.value(leader, "k").as_deref(), Some(b"kept".as_slice()), "seed {seed}");
    }
}

/// Whoever stays crashes on the way: in a joint configuration from two members to one it is elected again only with the
/// vote of the one that goes.
#[test]
fn of_two_members_either_can_be_removed_by_a_joint_change() {
    for seed in 0..200 {
        let mut world = Loop::with(2, seed, |options| options.raft.joint_changes = true);
        let leader = world.await_leader();
        let follower = world.ids().into_iter().find(|id| *id != leader).unwrap();
        world.call(leader, put("k", "kept")).unwrap();
        let (goes, stays) = if seed % 2 == 0 { (leader, follower) } else { (follower, leader) };
        world.ask(leader, Request::MemberRemove(goes));
        for _ in 0..world.dice.roll(30) {
            world.turn();
        }
        world.crash(stays);
        world.start(stays);
        let alone = |world: &Loop| {
            let cluster = world.member(stays).cluster();
            !cluster.config.is_joint() && cluster.removed.contains(&goes) && cluster.leaving.is_empty()
        };
        while !alone(&world) {
            // The change was lost with the crash, or nobody knows.
            let leader = world.await_leader();
            let before = world.now;
            world.ask(leader, Request::MemberRemove(goes));
            let passed = before + Duration::from_secs(5);
            world.run_until("seconds pass", |world| alone(world) || world.now > passed);
            assert!(world.now < Duration::from_secs(120), "seed {seed}: the change never ends");
        }
        // The last word to a removed member may be lost; then it hears of it from whom it dials.
        if !world.removed.contains(&goes) {
            world.input(goes, Input::Removed);
        }
        world.crash(goes);
        world.machines.remove(&goes);
        world.flying.retain(|message| message.to != goes);
        assert_eq!(world.await_leader(), stays);
        world.call(stays, put("k", "alone")).unwrap();
        assert_eq!(world.value(stays, "k").as_deref(), Some(b"alone".as_slice()), "seed {seed}");
    }
}

#[test]
fn a_learner_listens_without_a_vote_until_it_is_promoted() {
    let mut world = Loop::new(3, 5);
    let leader = world.await_leader();
    let follower = world.ids().into_iter().find(|id| *id != leader).unwrap();
    let learner = world.add(follower, "http://learner:1", true).unwrap();
    let promote = Request::MemberPromote(learner);
    assert_eq!(world.call(follower, promote.clone()), Err(Error::LearnerNotReady), "nobody runs there");
    assert_eq!(world.add(leader, "http://other:1", true), Err(Error::TooManyLearners));
    world.join(learner, |_| {});
    world.call(leader, put("k", "v")).unwrap();
    level(&mut world);
    assert!(!world.voters(leader).contains(&learner), "a learner votes");
    let local = RangeRequest { range: KeyRange::single("k"), serializable: true, ..Default::default() };
    assert!(world.call(learner, Request::Range(local)).is_ok());
    assert_eq!(world.call(learner, put("k", "w")), Err(Error::LearnerUnsupported));
    world.call(follower, promote.clone()).unwrap();
    assert!(world.voters(leader).contains(&learner));
    assert_eq!(world.call(leader, promote), Err(Error::MemberNotLearner));
    level(&mut world);
    assert!(world.call(learner, put("k", "w")).is_ok());
    // A voter is told by how far it is what is wrong with it, the leader too; as by etcd.
    for voter in [leader, follower] {
        assert_eq!(world.call(leader, Request::MemberPromote(voter)), Err(Error::MemberNotLearner));
    }
    let voter = world.add(leader, "http://voter:1", false).unwrap();
    assert_eq!(world.call(leader, Request::MemberPromote(voter)), Err(Error::LearnerNotReady));
}

#[test]
fn a_member_is_reached_elsewhere_after_an_update() {
    let mut world = Loop::new(3, 6);
    let leader = world.await_leader();
    let id = world.ids().into_iter().find(|id| *id != leader).unwrap();
    let update =
        |id, url: &str| Request::MemberUpdate(MemberUpdateRequest { id, peer_urls: vec![url.into()] });
    world.call(id, update(id, "http://elsewhere:1")).unwrap();
    level(&mut world);
    assert_eq!(world.member(leader).cluster().members[&id].peer_urls, ["http://elsewhere:1"]);
    assert_eq!(world.call(id, update(leader, "http://elsewhere:1")), Err(Error::PeerUrlExists));
    assert_eq!(world.call(id, update(MemberId(9), "http://x:1")), Err(Error::MemberNotFound));
}

#[test]
fn what_is_old_enough_is_forgotten_by_itself_and_nothing_younger() {
    let hour = Duration::from_secs(3600);
    let mut world = Loop::with(3, 9, |options| {
        options.auto_compaction = Some(AutoCompaction::Periodic(hour));
    });
    let leader = world.await_leader();
    let mut written: Vec<(Duration, Revision)> = Vec::new();
    while world.now < 5 * hour {
        let before = world.now;
        let Ok(Response::Put(answer)) = world.call(leader, put("k", "v")) else { panic!("no put") };
        written.push((world.now, answer.header.revision));
        world.run_until("a minute later", |world| world.now > before + Duration::from_secs(60));
        let compacted = world.member(leader).store().compacted();
        let young = written.iter().find(|(at, _)| *at + hour > world.now).unwrap().1;
        assert!(compacted < young, "revision {compacted} is compacted, {young} is younger than an hour");
    }
    let compacted = world.member(leader).store().compacted();
    // Kept: an hour, and what gathers until the next compaction and sample.
    let old = written.iter().rfind(|(at, _)| *at + 3 * hour < world.now).unwrap().1;
    assert!(compacted > old, "compacted {compacted}, but {old} is three hours old");
}

#[test]
fn so_many_revisions_are_kept_in_revision_mode() {
    let mut world = Loop::with(1, 9, |options| options.auto_compaction = Some(AutoCompaction::Revision(10)));
    let only = world.await_leader();
    for _ in 0..50 {
        world.call(only, put("k", "v")).unwrap();
    }
    let begun = world.now;
    world.run_until("the next look", |world| world.now > begun + Duration::from_secs(301));
    assert_eq!(world.member(only).store().compacted(), Revision(41));
}

#[test]
fn a_status_never_tells_a_deposed_leader_with_the_term_of_the_next() {
    let mut world = Loop::new(3, 11);
    let old = world.await_leader();
    let other = world.ids().into_iter().find(|id| *id != old).unwrap();
    let mut member = world.member(old).clone();
    let term = Term(member.raft().term().0 + 1);
    let message = Message { from: other, to: old, term, body: Body::HeartbeatAnswer { round: 0 } };
    // It is asked before it has done anything about what it heard.
    member.step(world.now, Input::Peer(PeerMessage { from: other, to: old, body: PeerBody::Raft(message) }));
    let id = RequestId(u64::MAX);
    member.step(world.now, Input::Request { id, request: Request::Status });
    let told = member.flush().into_iter().find_map(|output| match output {
        Output::Answer { id: asked, result } if asked == id => Some(result),
        _ => None,
    });
    let Some(Ok(Response::Status(status))) = told else { panic!("{told:?}") };
    assert_eq!((status.raft_term, status.leader), (term, MemberId::NONE));
}
