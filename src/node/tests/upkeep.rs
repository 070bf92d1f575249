//! What keeps a store in order over the years, in the plain loop: files written anew, hashes compared, leases that
//! outlive their leaders.

mod common;

use common::{Loop, put};
use seatrial_node::Observation;
use seatrial_types::request::CompactRequest;
use seatrial_types::{Error, Request, Response};

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
        let is = |seen: &&(_, Observation)| matches!(seen, (id, Observation::Defragmented { .. }) if *id == at);
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
