//! What keeps a store in order over the years, in the plain loop: files written anew, hashes compared, leases that
//! outlive their leaders.

mod common;

use common::{Loop, level, put};
use seatrial_node::{MemberOptions, Observation, Rescue};
use seatrial_store::{Backend, Command, Commit, HubOptions, MemBackend, Store, Table, View};
use seatrial_types::request::{
    AlarmChangeRequest, AlarmKind, CompactRequest, DeleteRangeRequest, LeaseGrantRequest,
    LeaseTimeToLiveRequest, PutRequest, RangeRequest,
};
use seatrial_types::{Code, Error, KeyRange, LeaseId, MemberId, Request, Response, Revision, Term};
use std::time::Duration;

#[test]
fn a_file_is_written_anew_behind_the_compaction_and_once_at_a_time() {
    let mut world = Loop::new(3, 1);
    let leader = world.await_leader();
    for _ in 0..3000 {
        world.call(leader, put("k", "v")).unwrap();
    }
    let other = world.ids().into_iter().find(|id| *id != leader).unwrap();
    let revision = world.member(leader).store().revision();
    world.call(leader, Request::Compact(CompactRequest { revision, physical: false })).unwrap();
    let first = world.ask(leader, Request::Defragment);
    // The loop asserts that no second rewriting begins while one is on its way.
    let second = world.ask(leader, Request::Defragment);
    world.stuck = vec![leader];
    world.run_until("the compaction's rows are gone", |world| {
        !world.member(leader).store().is_compacting() && world.machines[&leader].rewrite_pending
    });
    let third = world.ask(leader, Request::Defragment);
    for _ in 0..200 {
        world.turn();
    }
    assert!(!world.answers.contains_key(&first), "answered before the disk has done it");
    world.stuck.clear();
    world.run_until("all three are answered", |world| {
        [first, second, third].iter().all(|id| world.answers.contains_key(id))
    });
    for id in [first, second, third] {
        assert!(matches!(world.answers[&id], Ok(Response::Defragment(_))), "{:?}", world.answers[&id]);
    }
    let rewritten = |world: &Loop, at| {
        let is =
            |seen: &&(_, Observation)| matches!(seen, (id, Observation::Defragmented { .. }) if *id == at);
        world.seen.iter().filter(is).count()
    };
    assert_eq!(rewritten(&world, leader), 2, "two that came together share one, the third comes after it");
    assert_eq!(rewritten(&world, other), 0, "the others have nothing to do with it");
    // Who stops while it waits is told so.
    let waiting = world.ask(other, Request::Defragment);
    world.stuck = vec![other];
    world.input(other, seatrial_node::Input::Stop);
    assert_eq!(world.answers[&waiting], Err(Error::Stopped));
}

#[test]
fn the_hash_of_everything_is_equal_on_members_that_have_applied_the_same() {
    let mut world = Loop::new(3, 2);
    let leader = world.await_leader();
    world.call(leader, put("a", "1")).unwrap();
    world.call(leader, put("b", "2")).unwrap();
    world.run_until("all have applied it", |world| {
        let applied = |id| world.member(id).store().applied();
        world.ids().iter().all(|id| applied(*id) == applied(leader))
    });
    let hash = |world: &mut Loop, id| match world.call(id, Request::Hash).unwrap() {
        Response::Hash(answer) => answer.hash,
        other => panic!("{other:?}"),
    };
    let hashes: Vec<u32> = world.ids().into_iter().map(|id| hash(&mut world, id)).collect();
    assert!(hashes.iter().all(|other| *other == hashes[0]), "{hashes:?}");
    world.call(leader, put("b", "3")).unwrap();
    assert_ne!(hash(&mut world, leader), hashes[0]);
}

/// A put into one member's rows that nobody else has: what a bug or a disk could do to it.
fn damage(world: &mut Loop, at: MemberId, key: &'static str) {
    let command = Command::Put(PutRequest { key: key.into(), value: "damaged".into(), ..Default::default() });
    let mut store = Store::open(MemBackend::new(), HubOptions::default()).unwrap();
    // The row under which the key's last version lies, with another value in it, and a checksum that fits.
    let wanted = {
        let range = RangeRequest { range: KeyRange::single(key), ..Default::default() };
        world.member(at).store().range(&range).unwrap().kvs[0].mod_revision
    };
    while store.revision() < wanted {
        store.apply(store.applied().next(), Term(1), &command, Duration::ZERO).unwrap();
    }
    let mut row = wanted.0.to_be_bytes().to_vec();
    row.extend_from_slice(&0_u32.to_be_bytes());
    let value = store.backend().get(Table::Kv, &row).unwrap().unwrap();
    world.crash(at);
    let machine = world.machines.get_mut(&at).unwrap();
    machine.backend = machine.backend.reopened();
    machine.backend.put(Table::Kv, row.into(), value);
    let batch = machine.backend.seal().unwrap();
    machine.backend = machine.backend.reopened();
    machine.backend.commit(&batch).unwrap();
    world.start(at);
}

fn corrupt_alarms(world: &Loop, at: MemberId) -> Vec<String> {
    let Ok(Response::Status(status)) = world.status(at) else { panic!("no status") };
    status.errors.into_iter().filter(|error| error.contains("CORRUPT")).collect()
}

fn compare_every(seconds: u64) -> impl Fn(&mut MemberOptions) {
    move |options| {
        options.corrupt_check_interval = Some(Duration::from_secs(seconds));
        options.checkpoint_interval = Duration::from_millis(50);
    }
}

#[test]
fn a_member_whose_data_are_damaged_is_named_and_nobody_changes_anything_any_more() {
    for seed in 0..4 {
        let mut world = Loop::with(3, seed, compare_every(5));
        let leader = world.await_leader();
        for _ in 0..40 {
            world.call(leader, put("k", "v")).unwrap();
        }
        world.call(leader, put("victim", "whole")).unwrap();
        level(&mut world);
        world.run_until("the rows are durable", |world| {
            world.machines.values().all(|machine| machine.backend.image().table(Table::Kv).len() >= 41)
        });
        let follower = world.ids().into_iter().find(|id| *id != leader).unwrap();
        // The leader itself may be the one.
        let victim = if seed % 2 == 0 { follower } else { leader };
        damage(&mut world, victim, "victim");
        world.run_until("the alarm is raised", |world| {
            world.ids().iter().all(|id| !corrupt_alarms(world, *id).is_empty())
        });
        for id in world.ids() {
            let named = format!("memberID:{} alarm:CORRUPT ", victim.0);
            assert_eq!(corrupt_alarms(&world, id), [named], "seed {seed}, at {id}");
        }
        let told = world
            .seen
            .iter()
            .any(|(_, seen)| matches!(seen, Observation::Corrupt { members, .. } if *members == [victim]));
        assert!(told, "seed {seed}: nobody tells what was found");
        let leader = world.await_leader();
        let refused = [
            put("k", "w"),
            Request::DeleteRange(DeleteRangeRequest { range: KeyRange::single("k"), prev_kv: false }),
            Request::Compact(CompactRequest { revision: Revision(3), physical: false }),
            Request::LeaseGrant(LeaseGrantRequest { id: LeaseId(1), ttl_seconds: 10 }),
        ];
        for request in refused {
            assert_eq!(world.call(leader, request), Err(Error::Corrupt), "seed {seed}");
        }
        assert_eq!(Error::Corrupt.code(), Code::DataLoss);
        assert!(world.value(leader, "k").is_some(), "reading goes on, as in etcd");
        let kind = AlarmKind::Corrupt;
        let disarm = AlarmChangeRequest { raise: false, member: victim, kind };
        world.call(leader, Request::AlarmChange(disarm)).unwrap();
        world.call(leader, put("k", "w")).unwrap();
    }
}

#[test]
fn members_that_agree_raise_no_alarm_whatever_is_compacted_crashes_or_lags() {
    for seed in 0..12 {
        let mut world = Loop::with(3, seed, |options| {
            compare_every(1)(options);
            options.compact_entries = 40;
            options.catch_up_entries = 20;
        });
        let ids = world.ids();
        for round in 0..60 {
            let leader = world.await_leader();
            for _ in 0..world.dice.roll(10) {
                let _ = world.call(leader, put("k", "v"));
            }
            let _ = world.call(leader, put("other", format!("{round}")));
            match world.dice.roll(6) {
                0 => {
                    let at = world.member(leader).store().revision();
                    let revision = Revision(1 + world.dice.roll(at.0 as u64) as i64);
                    let _ =
                        world.call(leader, Request::Compact(CompactRequest { revision, physical: false }));
                }
                1 => {
                    let id = ids[world.dice.roll(3) as usize];
                    world.crash(id);
                    for _ in 0..world.dice.roll(400) {
                        world.turn();
                    }
                    world.start(id);
                }
                2 => {
                    world.stuck = vec![ids[world.dice.roll(3) as usize]];
                    for _ in 0..300 {
                        world.turn();
                    }
                    world.stuck.clear();
                }
                _ => {}
            }
            let until = world.now + Duration::from_millis(200 * world.dice.roll(8));
            world.run_until("a while later", |world| world.now >= until);
        }
        level(&mut world);
        for id in ids {
            assert_eq!(corrupt_alarms(&world, id), Vec::<String>::new(), "seed {seed}: a false alarm");
        }
        let rounds =
            world.seen.iter().filter(|(_, seen)| matches!(seen, Observation::HashTaken { .. })).count();
        assert!(rounds > 20, "seed {seed}: only {rounds} hashes were taken");
    }
}

#[test]
fn a_member_of_a_lost_majority_goes_on_alone_with_its_data_and_grows_again() {
    for seed in 0..8 {
        let mut world = Loop::with(3, seed, |options| {
            options.compact_entries = 20;
            options.catch_up_entries = 5;
        });
        let leader = world.await_leader();
        for i in 0..30 {
            world.call(leader, put("k", format!("{i}"))).unwrap();
        }
        level(&mut world);
        let survivor = world.ids()[world.dice.roll(3) as usize];
        // What nobody can commit any more is in the survivor's log, or not.
        let others: Vec<MemberId> = world.ids().into_iter().filter(|id| *id != survivor).collect();
        world.stuck = others.clone();
        let _ = world.ask(leader, put("last", "words"));
        for _ in 0..world.dice.roll(200) {
            world.turn();
        }
        world.stuck.clear();
        world.crash(survivor);
        for id in &others {
            world.crash(*id);
            world.machines.remove(id);
        }
        world.flying.clear();
        world.start(survivor);
        for _ in 0..2000 {
            world.turn();
        }
        assert!(world.leader().is_none(), "seed {seed}: one of three leads");
        world.crash(survivor);
        world.rescue = Rescue { force_new_cluster: true, ..Rescue::default() };
        world.start(survivor);
        let told = world.seen.iter().any(|(id, seen)| match seen {
            Observation::Finding { text, damage: true } => {
                *id == survivor && others.iter().all(|other| text.contains(&format!("{:x}", other.0)))
            }
            _ => false,
        });
        assert!(told, "seed {seed}: it does not say whom it removed");
        assert_eq!(world.await_leader(), survivor);
        assert_eq!(world.value(survivor, "k").as_deref(), Some(b"29".as_slice()), "seed {seed}");
        world.call(survivor, put("k", "alone")).unwrap();
        let cluster = world.member(survivor).cluster().clone();
        assert_eq!(cluster.members.keys().copied().collect::<Vec<_>>(), [survivor]);
        assert!(others.iter().all(|id| cluster.removed.contains(id)), "seed {seed}");
        // Once more with the flag, by mistake: nothing is added.
        let end = world.member(survivor).raft().last_index();
        world.run_until("it is durable", |world| world.machines[&survivor].log.durable().entries.len() > 1);
        world.crash(survivor);
        world.start(survivor);
        assert_eq!(world.await_leader(), survivor);
        assert!(world.member(survivor).raft().last_index().0 <= end.0 + 3, "seed {seed}");
        world.rescue = Rescue::default();
        let joined = world.add(survivor, "http://new:2380", false).unwrap();
        world.join(joined, |_| {});
        world.run_until("two voters", |world| world.voters(survivor).len() == 2);
        world.call(survivor, put("k", "two")).unwrap();
        level(&mut world);
        assert_eq!(world.value(joined, "k").as_deref(), Some(b"two".as_slice()), "seed {seed}");
    }
}

fn grant(id: i64, ttl_seconds: i64) -> Request {
    Request::LeaseGrant(LeaseGrantRequest { id: LeaseId(id), ttl_seconds })
}

fn left(world: &mut Loop, at: MemberId, id: i64) -> i64 {
    let ask = LeaseTimeToLiveRequest { id: LeaseId(id), keys: false };
    match world.call(at, Request::LeaseTimeToLive(ask)) {
        Ok(Response::LeaseTimeToLive(answer)) => answer.ttl_seconds,
        other => panic!("{other:?}"),
    }
}

fn later(world: &mut Loop, seconds: u64) {
    let until = world.now + Duration::from_secs(seconds);
    world.run_until("later", |world| world.now >= until);
}

/// Kills whoever leads, waits for another, and brings it back.
fn change_leader(world: &mut Loop) -> MemberId {
    let old = world.await_leader();
    world.crash(old);
    let new = world.await_leader();
    world.start(old);
    level(world);
    new
}

#[test]
fn a_change_of_leader_does_not_give_a_long_lease_its_whole_time_anew() {
    for (interval, whole) in [(Some(Duration::from_secs(30)), false), (None, true)] {
        let mut world = Loop::with(3, 5, |options| options.lease_checkpoint_interval = interval);
        let leader = world.await_leader();
        world.call(leader, grant(1, 300)).unwrap();
        world.call(leader, grant(2, 20)).unwrap();
        later(&mut world, 200);
        let leader = change_leader(&mut world);
        let now = left(&mut world, leader, 1);
        if whole {
            assert!(now > 290, "{now} seconds are left without checkpoints");
        } else {
            assert!((99..=131).contains(&now), "{now} seconds are left with checkpoints");
        }
        assert_eq!(left(&mut world, leader, 2), -1, "it has run out");
        let begun = world.now;
        world.run_until("the lease runs out", |world| world.member(leader).store().leases().is_empty());
        let lived = world.now.saturating_sub(begun).as_secs();
        assert!(lived >= 98, "it ended after {lived} more seconds");
        assert!(whole || lived < 140, "it ended only after {lived} more seconds");
    }
}

#[test]
fn a_lease_that_is_renewed_is_never_shortened_by_an_older_checkpoint() {
    for seed in 0..10 {
        let interval = Some(Duration::from_secs(7));
        let mut world = Loop::with(3, seed, |options| options.lease_checkpoint_interval = interval);
        let leader = world.await_leader();
        world.call(leader, grant(1, 100)).unwrap();
        // Until when it was promised to live.
        for _ in 0..25 {
            let seconds = world.dice.roll(30);
            later(&mut world, seconds);
            let ids = world.ids();
            let through = ids[world.dice.roll(3) as usize];
            let asked = world.now;
            let promised = match world.call(through, Request::LeaseKeepAlive(LeaseId(1))) {
                Ok(Response::LeaseKeepAlive(answer)) => {
                    assert_eq!(answer.ttl_seconds, 100, "seed {seed}");
                    asked + Duration::from_secs(100)
                }
                other => panic!("seed {seed}: {other:?}"),
            };
            if world.dice.roll(3) == 0 {
                change_leader(&mut world);
            }
            let leader = world.await_leader();
            let now = left(&mut world, leader, 1);
            let owed = promised.saturating_sub(world.now).as_secs() as i64;
            assert!(now >= owed - 1, "seed {seed}: {now} seconds are left, {owed} were promised");
        }
    }
}

#[test]
fn a_hundred_thousand_leases_end_at_once_and_puts_go_on_meanwhile() {
    const LEASES: i64 = 100_000;
    let mut world = Loop::with(1, 3, |options| {
        options.lease_checkpoint_interval = Some(Duration::from_secs(30));
        options.waiting_max = 200_000;
    });
    let leader = world.await_leader();
    world.checks = false;
    let mut asked = Vec::new();
    for id in 1..=LEASES {
        asked.push(world.ask(leader, grant(id, 60)));
        if id % 1000 == 0 {
            let last = *asked.last().unwrap();
            world.run_until("granted", |world| world.answers.contains_key(&last));
        }
    }
    assert!(asked.iter().all(|id| matches!(world.answers[id], Ok(Response::LeaseGrant(_)))));
    world
        .call(
            leader,
            Request::Put(PutRequest { key: "leased".into(), lease: LeaseId(5), ..Default::default() }),
        )
        .unwrap();
    let Ok(Response::LeaseLeases(list)) = world.call(leader, Request::LeaseLeases) else { panic!("no list") };
    assert_eq!(list.leases.len() as i64, LEASES);
    let ask = LeaseTimeToLiveRequest { id: LeaseId(5), keys: true };
    let Ok(Response::LeaseTimeToLive(told)) = world.call(leader, Request::LeaseTimeToLive(ask)) else {
        panic!("no time to live");
    };
    assert_eq!(told.keys, ["leased"]);
    // One in ten is kept alive, after the checkpoints of all have gone through the log.
    later(&mut world, 45);
    for id in (10..=LEASES).step_by(10) {
        asked.push(world.ask(leader, Request::LeaseKeepAlive(LeaseId(id))));
    }
    let last = *asked.last().unwrap();
    world.run_until("renewed", |world| world.answers.contains_key(&last));
    // Etcd ends a thousand a second.
    let until = world.now + Duration::from_secs(60);
    let (mut puts, mut slowest) = (0, Duration::ZERO);
    while world.member(leader).store().leases().len() as i64 > LEASES / 10 {
        assert!(world.now < until, "{} leases live on", world.member(leader).store().leases().len());
        let asked = world.now;
        world.call(leader, put("meanwhile", "goes on")).unwrap();
        slowest = slowest.max(world.now - asked);
        puts += 1;
        let step = world.now + Duration::from_millis(20);
        world.run_until("the next put", |world| world.now >= step);
    }
    assert!(puts > 50, "the end of all leases came in a storm that left room for {puts} puts");
    assert!(slowest < Duration::from_secs(1), "a put waited {slowest:?}");
    assert_eq!(world.value(leader, "leased"), None);
    world.member(leader).store().leases().check();
}
