//! Hand-made histories of the v2 keys: what is a violation, and the nearest thing that is none.

use super::check;
use crate::oracles::Finding;
use crate::oracles::testing::{at, quiet, violated};
use crate::record::v2::{V2Asked, V2Heard, V2Record, V2View, V2Waiting};
use crate::record::{Healing, RunLog, Sighting};
use seatrial_types::MemberId;
use seatrial_types::v2::{
    V2Action, V2Change, V2Code, V2Compare, V2Error, V2Event, V2Life, V2Node, V2Request, V2Verb,
};
use std::sync::Arc;

const K: &str = "/1/t/k";

fn node(value: Option<&str>, modified: u64, created: u64) -> V2Node {
    let value = value.map(Arc::from);
    V2Node { path: K.to_owned(), value, modified, created, ..V2Node::default() }
}

fn event(verb: V2Verb, node: V2Node, prev: Option<V2Node>) -> V2Event {
    V2Event { verb, node, prev, refresh: false }
}

fn change(action: V2Action) -> V2Asked {
    V2Asked::Request(V2Request::Change(V2Change { path: K.to_owned(), action, wall_ns: 0 }))
}

fn set(value: &str, ttl: Option<u64>) -> V2Asked {
    let life = V2Life { ttl_seconds: ttl, refresh: false };
    change(V2Action::Set { dir: false, value: value.to_owned(), life })
}

fn read(quorum: bool) -> V2Asked {
    V2Asked::Request(V2Request::Read { path: K.to_owned(), recursive: false, quorum })
}

fn told(event: V2Event, index: u64) -> V2Heard {
    V2Heard::Event { event: Box::new(event), index }
}

fn record(log: &mut RunLog, ms: (u64, u64), asked: V2Asked, heard: V2Heard) {
    let client = u32::try_from(log.v2.len()).unwrap() + 1;
    let seen = Sighting { call: at(ms.0), ret: at(ms.1) };
    log.v2.push(V2Record { client, member: MemberId(1), asked, seen, heard });
}

/// The first set, at index 1.
fn first() -> V2Event {
    event(V2Verb::Set, node(Some("a"), 1, 1), None)
}

/// And the second.
fn second() -> V2Event {
    event(V2Verb::Set, node(Some("b"), 2, 2), Some(node(Some("a"), 1, 1)))
}

fn dir() -> V2Node {
    V2Node { path: "/1/t".to_owned(), dir: true, modified: 1, created: 1, ..V2Node::default() }
}

/// Two sets, as they should be, and both members' views.
fn two() -> RunLog {
    let mut log = quiet();
    record(&mut log, (100, 110), set("a", None), told(first(), 1));
    record(&mut log, (200, 210), set("b", None), told(second(), 2));
    let view = |member| V2View {
        member: MemberId(member),
        at: at(20_000),
        index: 2,
        nodes: vec![dir(), node(Some("b"), 2, 2)],
        events: vec![first(), second()],
        from: 1,
        whole: true,
    };
    log.healing =
        Some(Healing { healed: Some(at(11_000)), v2: vec![view(1), view(2)], ..Healing::default() });
    log
}

#[test]
fn a_history_that_all_agree_on_is_none_and_without_a_last_look_nobody_knows() {
    assert_eq!(check(&two()), Finding::Ok);
    let mut log = two();
    log.healing = None;
    assert!(matches!(check(&log), Finding::Unknown(_)));
    let mut log = two();
    log.healing.as_mut().unwrap().v2[1].whole = false;
    assert!(matches!(check(&log), Finding::Unknown(_)));
}

#[test]
fn two_changes_at_one_index_are_a_violation_and_what_only_a_calendar_tells_is_none() {
    let mut log = two();
    log.healing.as_mut().unwrap().v2[1].events[1].node.value = Some(Arc::from("c"));
    assert!(violated(&check(&log)).starts_with("index 2 of the v2 keys is"));
    let mut log = two();
    log.healing.as_mut().unwrap().v2[1].events[1].node.ttl_seconds = Some(7);
    assert_eq!(check(&log), Finding::Ok);
}

#[test]
fn a_change_that_nobody_asked_for_is_a_violation_and_one_whose_answer_was_lost_is_none() {
    let mut log = two();
    log.v2[1].heard = V2Heard::Failed("refused".to_owned());
    assert!(violated(&check(&log)).contains("but nobody asked for that"));
    log.v2[1].heard = V2Heard::Unknown("lost".to_owned());
    assert_eq!(check(&log), Finding::Ok);
    // Asked for once, it cannot have happened twice.
    let again = event(V2Verb::Set, node(Some("b"), 3, 3), Some(node(Some("b"), 2, 2)));
    for view in &mut log.healing.as_mut().unwrap().v2 {
        view.events.push(again.clone());
        (view.index, view.nodes[1]) = (3, node(Some("b"), 3, 3));
    }
    assert!(violated(&check(&log)).contains("or not so often"));
}

#[test]
fn an_index_without_a_change_is_a_violation_unless_a_time_may_have_begun_anew() {
    let mut log = two();
    for view in &mut log.healing.as_mut().unwrap().v2 {
        view.index = 3;
    }
    assert!(violated(&check(&log)).contains("index 3 of the v2 keys is no change"));
    let life = V2Life { ttl_seconds: Some(9), refresh: true };
    let refresh = change(V2Action::Update { value: String::new(), life });
    record(&mut log, (300, 400), refresh, V2Heard::Unknown("lost".to_owned()));
    for view in &mut log.healing.as_mut().unwrap().v2 {
        view.nodes[1].modified = 3;
    }
    assert_eq!(check(&log), Finding::Ok, "it may live for ever all the same");
}

#[test]
fn a_quorum_read_of_less_than_was_known_is_a_violation_and_a_members_own_is_none() {
    let stale = || told(event(V2Verb::Get, node(Some("a"), 1, 1), None), 1);
    let mut log = two();
    record(&mut log, (211, 220), read(true), stale());
    assert!(violated(&check(&log)).contains("has its place at index 1 of the v2 keys, though client 2"));
    for (ms, quorum) in [((211, 220), false), ((209, 220), true)] {
        let mut log = two();
        record(&mut log, ms, read(quorum), stale());
        assert_eq!(check(&log), Finding::Ok, "{ms:?} {quorum}");
    }
    // Whoever asks, the answer is what was there.
    let mut log = two();
    record(&mut log, (211, 220), read(false), told(event(V2Verb::Get, node(Some("b"), 1, 1), None), 1));
    assert!(violated(&check(&log)).contains("was told, as the state of index 1, /1/t/k = \"b\""));
}

#[test]
fn a_comparison_that_holds_and_is_refused_is_a_violation_and_so_is_the_other_way_round() {
    let swap = |value: &str| {
        let prev = V2Compare { value: value.to_owned(), index: 0 };
        change(V2Action::CompareAndSwap { prev, value: "c".to_owned(), life: V2Life::default() })
    };
    let refused =
        || V2Heard::Refused(V2Error { code: V2Code::CompareFailed, cause: "[x != b]".to_owned(), index: 2 });
    let mut log = two();
    record(&mut log, (300, 310), swap("b"), refused());
    assert!(violated(&check(&log)).contains("101: Compare failed"));
    let mut log = two();
    record(&mut log, (300, 310), swap("x"), refused());
    assert_eq!(check(&log), Finding::Ok);
    let swapped = event(V2Verb::CompareAndSwap, node(Some("c"), 3, 2), Some(node(Some("b"), 2, 2)));
    for (value, holds) in [("x", false), ("b", true)] {
        let mut log = two();
        record(&mut log, (300, 310), swap(value), told(swapped.clone(), 3));
        for view in &mut log.healing.as_mut().unwrap().v2 {
            view.events.push(swapped.clone());
            (view.index, view.nodes[1]) = (3, node(Some("c"), 3, 2));
        }
        assert_eq!(check(&log) == Finding::Ok, holds, "{value}");
    }
}

#[test]
fn of_two_lost_changes_the_one_that_could_be_carried_out_has_been() {
    let delete = |value: &str| {
        change(V2Action::CompareAndDelete { prev: V2Compare { value: value.to_owned(), index: 0 } })
    };
    let gone = event(V2Verb::CompareAndDelete, node(None, 3, 2), Some(node(Some("b"), 2, 2)));
    for (values, holds) in [(["a", "b"], true), (["a", "c"], false)] {
        let mut log = two();
        for value in values {
            record(&mut log, (300, 400), delete(value), V2Heard::Unknown("lost".to_owned()));
        }
        for view in &mut log.healing.as_mut().unwrap().v2 {
            view.events.push(gone.clone());
            view.index = 3;
            view.nodes.pop();
        }
        assert_eq!(check(&log) == Finding::Ok, holds, "{values:?}");
    }
}

fn wait(since: u64) -> V2Asked {
    V2Asked::Wait(V2Waiting { path: "/1/t".to_owned(), recursive: true, since })
}

#[test]
fn who_waits_and_is_told_of_a_later_change_than_the_first_is_a_violation() {
    let mut log = two();
    record(&mut log, (50, 220), wait(1), told(second(), 0));
    assert!(violated(&check(&log)).contains("was told of index 2, but index 1 concerns it"));
    let mut log = two();
    record(&mut log, (50, 220), wait(2), told(second(), 0));
    assert_eq!(check(&log), Finding::Ok);
    let mut log = two();
    let forgotten = V2Error { code: V2Code::EventIndexCleared, cause: String::new(), index: 2 };
    record(&mut log, (50, 220), wait(1), V2Heard::Refused(forgotten));
    assert!(violated(&check(&log)).contains("that this is forgotten"));
}

#[test]
fn who_waits_at_a_member_that_knows_and_is_told_nothing_is_a_violation() {
    for (from, until, since, fine) in
        [(12_000, 21_500, 2, false), (12_000, 21_499, 2, true), (12_000, 21_500, 3, true)]
    {
        let mut log = two();
        record(&mut log, (from, until), wait(since), V2Heard::Nothing);
        assert_eq!(check(&log) == Finding::Ok, fine, "{until} {since}");
    }
}

/// A set for two seconds, asked at 200 ms, and its end as somebody was told of it.
fn expires(told_ms: u64) -> RunLog {
    let mut log = two();
    log.v2[1].asked = set("b", Some(2));
    let ended = event(V2Verb::Expire, node(None, 3, 2), Some(node(Some("b"), 2, 2)));
    record(&mut log, (300, told_ms), wait(3), told(ended.clone(), 2));
    for view in &mut log.healing.as_mut().unwrap().v2 {
        view.events.push(ended.clone());
        view.index = 3;
        view.nodes.pop();
    }
    log
}

#[test]
fn what_runs_out_before_its_time_is_a_violation_and_at_its_time_none() {
    assert!(violated(&check(&expires(2199))).contains("1ms too early"));
    assert_eq!(check(&expires(2200)), Finding::Ok);
    let mut log = expires(2200);
    log.v2[1].asked = set("b", None);
    assert!(violated(&check(&log)).contains("was to live for ever"));
}

#[test]
fn what_should_have_run_out_and_is_there_long_after_is_a_violation() {
    let mut log = two();
    log.v2[1].asked = set("b", Some(2));
    assert!(violated(&check(&log)).contains("still holds it at 20s"));
    for view in &mut log.healing.as_mut().unwrap().v2 {
        view.at = at(13_000);
    }
    assert_eq!(check(&log), Finding::Ok);
}

#[test]
fn a_member_that_holds_something_else_or_has_forgotten_a_change_is_a_violation() {
    let mut log = two();
    log.healing.as_mut().unwrap().v2[1].nodes.pop();
    assert!(
        violated(&check(&log)).starts_with("member 2 holds, as the v2 keys of index 2, nothing at /1/t/k")
    );
    let mut log = two();
    log.healing.as_mut().unwrap().v2[1].events.remove(0);
    assert!(violated(&check(&log)).starts_with("member 2 does not remember index Some(1)"));
    log.healing.as_mut().unwrap().v2[1].from = 2;
    assert_eq!(check(&log), Finding::Ok, "it does not say that it does");
}

fn join(log: &mut RunLog, client: u32, heard: V2Heard) {
    record(log, (500, 600), V2Asked::Join { token: 1, id: client.to_string() }, heard);
    log.v2.last_mut().unwrap().client = client;
}

fn cluster(ids: &[&str]) -> Vec<(String, String)> {
    ids.iter().map(|id| ((*id).to_owned(), format!("c{id}=http://c{id}:2380"))).collect()
}

#[test]
fn who_forms_a_cluster_is_told_the_same_as_the_others_and_who_is_late_that_it_is() {
    let mut log = two();
    join(&mut log, 1, V2Heard::Joined(cluster(&["1", "2", "3"])));
    join(&mut log, 2, V2Heard::Joined(cluster(&["1", "2", "3"])));
    join(&mut log, 4, V2Heard::Full(cluster(&["1", "2", "3"])));
    join(&mut log, 5, V2Heard::Nothing);
    assert_eq!(check(&log), Finding::Ok);
    for (client, heard, what) in [
        (3, V2Heard::Joined(cluster(&["1", "3", "2"])), "but client 1"),
        (3, V2Heard::Joined(cluster(&["1", "2", "3", "4"])), "where 3 were asked for"),
        (4, V2Heard::Joined(cluster(&["1", "2", "3"])), "that it is in the cluster"),
        (2, V2Heard::Full(cluster(&["1", "2", "3"])), "that it is not in the cluster"),
        (3, V2Heard::Failed("size key not found".to_owned()), "was refused"),
    ] {
        let mut log = log.clone();
        join(&mut log, client, heard);
        assert!(violated(&check(&log)).contains(what), "{what}");
    }
}
