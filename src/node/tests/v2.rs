//! The v2 key space in whole members, through crashes of any of them.

mod common;

use common::Loop;
use seatrial_node::{Input, RequestId};
use seatrial_store::V2Output;
use seatrial_types::v2::{
    V2Action, V2Answer, V2Change, V2Event, V2Life, V2Request, V2Response, V2Verb, V2Watch, V2WatchId,
};
use seatrial_types::{MemberId, Request, Response};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

fn set(key: &str, ttl_seconds: Option<u64>) -> Request {
    let life = V2Life { ttl_seconds, refresh: false };
    let action = V2Action::Set { dir: false, value: "x".into(), life };
    Request::V2(V2Request::Change(V2Change { path: format!("/1/{key}"), action, wall_ns: 0 }))
}

fn response(world: &Loop, request: RequestId) -> Option<&V2Response> {
    match world.answers.get(&request) {
        Some(Ok(Response::V2(response))) => Some(response),
        _ => None,
    }
}

fn event(response: &V2Response) -> &V2Event {
    match &response.result {
        Ok(V2Answer::Event(event)) => event,
        other => panic!("{other:?}"),
    }
}

fn has(world: &Loop, id: MemberId, key: &str) -> bool {
    world.member(id).store().v2().tree().read(&format!("/1/{key}"), false).is_ok()
}

struct Written {
    key: String,
    request: RequestId,
    at: Duration,
    ttl: Option<u64>,
}

/// Small everywhere, so that snapshots and restarts from disk are common.
fn storm(seed: u64) -> (Loop, Vec<Written>) {
    let mut world = Loop::with(3, seed, |options| {
        options.checkpoint_interval = Duration::from_millis(50);
        options.catch_up_entries = 5;
        options.compact_entries = 5;
        options.raft.chunk_bytes = 256;
    });
    let mut written: Vec<Written> = Vec::new();
    for round in 0..120 {
        let id = world.ids()[world.dice.roll(3) as usize];
        let runs = world.machines[&id].running.is_some();
        match world.dice.roll(12) {
            0 => world.crash(id),
            1 | 2 if !runs => world.start(id),
            _ if runs => {
                let key = format!("k{round}");
                let ttl = [None, Some(1), Some(4)][world.dice.roll(3) as usize];
                let at = world.now;
                let request = world.ask(id, set(&key, ttl));
                written.push(Written { key, request, at, ttl });
            }
            _ => {}
        }
        for _ in 0..world.dice.roll(60) {
            world.turn();
        }
        never_early(&world, &written, seed);
    }
    for id in world.ids() {
        if world.machines[&id].running.is_none() {
            world.start(id);
        }
    }
    (world, written)
}

/// What was acknowledged is there at everybody who has applied it, until its time is over.
fn never_early(world: &Loop, written: &[Written], seed: u64) {
    for Written { key, request, at, ttl } in written {
        let Some(response) = response(world, *request) else { continue };
        if ttl.is_some_and(|ttl| world.now >= *at + Duration::from_secs(ttl)) {
            continue;
        }
        for (id, machine) in &world.machines {
            let Some(member) = &machine.running else { continue };
            if member.store().applied().0 >= response.raft_index {
                assert!(has(world, *id, key), "seed {seed}: {key} is gone at {id} at {:?}", world.now);
            }
        }
    }
}

fn level(world: &mut Loop) {
    world.run_until("all members level", |world| {
        let applied: Vec<_> = world.ids().iter().map(|id| world.member(*id).store().applied()).collect();
        applied.iter().all(|one| *one == applied[0])
    });
}

#[test]
fn members_agree_on_the_v2_key_space_through_crashes_of_any_of_them() {
    let mut expired = 0;
    for seed in 0..60 {
        let (mut world, written) = storm(seed);
        let leader = world.await_leader();
        world.call(leader, set("last", None)).unwrap();
        // What runs out has done so a while after its time.
        let end = world.now + Duration::from_secs(8);
        world.run_until("a while", |world| world.now >= end);
        let mut indices = BTreeSet::new();
        for Written { key, request, ttl, .. } in &written {
            if let Some(response) = response(&world, *request) {
                let index = event(response).index();
                assert!(indices.insert(index), "seed {seed}: two changes of index {index}");
                assert_eq!(has(&world, leader, key), ttl.is_none(), "seed {seed}: {key} with {ttl:?}");
                expired += u64::from(ttl.is_some());
            }
        }
        level(&mut world);
        let first = world.ids()[0];
        for id in world.ids() {
            let (one, other) =
                (world.member(first).store().v2().tree(), world.member(id).store().v2().tree());
            assert_eq!(one, other, "seed {seed}: {first} and {id} differ");
        }
        // And from their disks.
        let before = world.member(first).store().v2().tree().clone();
        for id in world.ids() {
            world.crash(id);
        }
        for id in world.ids() {
            world.start(id);
        }
        let leader = world.await_leader();
        world.call(leader, set("again", None)).unwrap();
        level(&mut world);
        for id in world.ids() {
            let tree = world.member(id).store().v2().tree();
            assert_eq!(tree.index(), before.index() + 1, "seed {seed}: {id} came back elsewhere");
        }
    }
    assert!(expired > 100, "only {expired} ran out: nothing was tried");
}

#[test]
fn who_waits_is_told_everything_once_also_over_an_installed_snapshot() {
    let mut world = Loop::with(3, 7, |options| {
        options.checkpoint_interval = Duration::from_millis(50);
        options.catch_up_entries = 5;
        options.compact_entries = 5;
        options.raft.chunk_bytes = 128;
    });
    let leader = world.await_leader();
    let sleeper = world.ids().into_iter().find(|id| *id != leader).unwrap();
    world.call(leader, set("before", None)).unwrap();
    level(&mut world);
    let watch = V2Watch { path: "/1".into(), recursive: true, stream: true, since: 0 };
    world.input(sleeper, Input::V2Watch { id: V2WatchId(1), watch });
    assert_eq!(world.v2_begun.get(&(sleeper, V2WatchId(1))), Some(&true));
    // It hears of nothing for a while: what is said to it is lost.
    for number in 0..60 {
        let request = world.ask(leader, set(&format!("k{number}"), None));
        world.run_until("an answer", |world| world.answers.contains_key(&request));
        world.flying.retain(|message| message.to != sleeper && message.from != sleeper);
    }
    world.run_until("the sleeper level", |world| world.member(sleeper).store().v2().tree().index() >= 61);
    let told: Vec<u64> = world
        .v2_told
        .iter()
        .map(|(id, told)| match told {
            V2Output::Event(V2WatchId(1), event) if *id == sleeper => event.index(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, (2..=61).collect::<Vec<u64>>());
}

#[test]
fn a_change_of_leader_lets_things_live_longer_and_never_shorter() {
    for seed in 0..40 {
        let mut world = Loop::new(3, seed);
        let leader = world.await_leader();
        let asked = world.now;
        world.call(leader, set("k", Some(4))).unwrap();
        let fall = world.now + Duration::from_millis(world.dice.roll(4000));
        world.run_until("the leader's end", |world| world.now >= fall);
        world.crash(leader);
        let next = world.await_leader();
        let mut gone = BTreeMap::new();
        world.run_until("the end of the key", |world| {
            if !has(world, next, "k") {
                gone.entry(next).or_insert(world.now);
            }
            !gone.is_empty()
        });
        let lived = gone[&next] - asked;
        assert!(lived >= Duration::from_secs(4), "seed {seed}: it lived {lived:?}");
        assert!(lived < Duration::from_secs(12), "seed {seed}: it lived {lived:?}");
        let read = Request::V2(V2Request::Read { path: "/1".into(), recursive: false, quorum: true });
        let Ok(Response::V2(answer)) = world.call(next, read) else { panic!("no answer") };
        assert_eq!(event(&answer).verb, V2Verb::Get);
    }
}
