//! A breach by hand for every rule, and beside it a watch that only looks like one.

use super::*;
use crate::op::Snapshot;

/// 2: a=1 · 3: b=2 · 4: a=3 and b deleted · 5: c=5 · 6: a deleted
fn replay() -> Replay {
    let mut replay = Replay::new(&Snapshot::default());
    for step in [vec![put("a", "1", 2, 2, 1)], vec![put("b", "2", 3, 3, 1)]] {
        replay.push(None, step.into_iter().map(|kv| (kv.key.clone(), Some(kv))).collect());
    }
    replay.push(None, vec![("a".into(), Some(put("a", "3", 4, 2, 2))), ("b".into(), None)]);
    replay.push(None, vec![("c".into(), Some(put("c", "5", 5, 5, 1)))]);
    replay.push(None, vec![("a".into(), None)]);
    replay
}

fn put(key: &str, value: &str, modified: i64, created: i64, version: i64) -> Kv {
    Kv { key: key.into(), value: value.into(), mod_revision: modified, create_revision: created, version }
}

/// The event that the replay has at this place.
fn event(key: &str, revision: i64) -> WatchEvent {
    let replay = replay();
    let kv = replay.get(&key.into(), revision).cloned();
    WatchEvent { key: key.into(), revision, kv, prev: None }
}

fn message(events: &[(&str, i64)]) -> Delivery {
    let events: Vec<WatchEvent> = events.iter().map(|(key, revision)| event(key, *revision)).collect();
    let revision = events.last().map_or(0, |event| event.revision);
    Delivery { at: revision.unsigned_abs() * 1_000_000, revision, events, ..Delivery::default() }
}

fn progress(revision: i64) -> Delivery {
    Delivery { at: 9, progress: true, revision, ..Delivery::default() }
}

fn all(deliveries: Vec<Delivery>) -> Watched {
    let (key, end) = ("\0".into(), Some("\0".into()));
    Watched { name: "watch 1".into(), key, end, start_revision: 2, deliveries, ..Watched::default() }
}

fn whole() -> Vec<Delivery> {
    vec![message(&[("a", 2), ("b", 3)]), message(&[("a", 4), ("b", 4), ("c", 5)]), message(&[("a", 6)])]
}

#[track_caller]
fn accepted(watched: &Watched) {
    let verdict = check_watch(watched, &replay());
    assert_eq!(verdict, Verdict::Ok, "{verdict}");
}

#[track_caller]
fn rejected(watched: &Watched, rule: Rule, sentence: &str) {
    let verdict = check_watch(watched, &replay());
    let violation = verdict.violation().unwrap_or_else(|| panic!("expected {rule}, got {verdict}"));
    assert_eq!(violation.rule, rule, "{verdict}");
    assert!(violation.sentence.contains(sentence), "{verdict} lacks {sentence:?}");
}

#[test]
fn a_watch_that_delivers_everything_is_right_however_it_is_cut() {
    accepted(&all(whole()));
    accepted(&all(vec![]));
    accepted(&all(vec![message(&[("a", 2)]), message(&[("b", 3)]), progress(3)]));
}

#[test]
fn only_what_was_asked_for_is_delivered() {
    let a = |deliveries| Watched { key: "a".into(), end: None, ..all(deliveries) };
    accepted(&a(vec![message(&[("a", 2), ("a", 4)])]));
    rejected(&a(vec![message(&[("a", 2), ("b", 3)])]), Rule::WatchFilter, "a key it does not watch");
    let late = |deliveries| Watched { start_revision: 4, ..all(deliveries) };
    accepted(&late(vec![message(&[("a", 4), ("b", 4)])]));
    rejected(&late(vec![message(&[("b", 3)])]), Rule::WatchFilter, "older than its start");
    let puts = |deliveries| Watched { no_delete: true, ..all(deliveries) };
    accepted(&puts(vec![message(&[("a", 2), ("b", 3), ("a", 4), ("c", 5)])]));
    rejected(&puts(whole()), Rule::WatchFilter, "a kind it left out");
}

#[test]
fn revisions_never_go_down() {
    let back = vec![message(&[("a", 2), ("b", 3)]), message(&[("c", 5)]), message(&[("a", 4), ("b", 4)])];
    rejected(&all(back), Rule::WatchOrdered, "after revision 5");
    accepted(&all(vec![message(&[("a", 2), ("b", 3), ("b", 4), ("a", 4)])]));
}

#[test]
fn a_change_comes_once_but_two_keys_of_a_revision_are_two_changes() {
    rejected(&all(vec![message(&[("a", 2), ("b", 3), ("b", 3)])]), Rule::WatchUnique, "a second time");
    accepted(&all(vec![message(&[("a", 2), ("b", 3), ("a", 4), ("b", 4)])]));
}

#[test]
fn a_revision_is_not_split_but_in_marked_fragments() {
    let mut split = vec![message(&[("a", 2), ("b", 3), ("a", 4)]), message(&[("b", 4), ("c", 5)])];
    rejected(&all(split.clone()), Rule::WatchAtomic, "had closed revision 4");
    split[0].fragment = true;
    accepted(&all(split));
}

#[test]
fn an_event_is_what_was_written() {
    let with = |change: fn(&mut WatchEvent)| {
        let mut deliveries = whole();
        change(&mut deliveries[1].events[0]);
        Watched { prev_kv: false, ..all(deliveries) }
    };
    let kv = |event: &mut WatchEvent, change: fn(&mut Kv)| change(event.kv.as_mut().unwrap());
    rejected(
        &with(|event| event.kv.as_mut().unwrap().value = "9".into()),
        Rule::WatchContent,
        "\"a\"=\"3\"@4 is right",
    );
    rejected(&with(|event| event.kv = None), Rule::WatchContent, "is right");
    rejected(&with(|event| event.kv.as_mut().unwrap().version = 1), Rule::WatchContent, "is right");
    rejected(&with(|event| event.kv.as_mut().unwrap().create_revision = 4), Rule::WatchContent, "is right");
    rejected(&with(|event| event.prev = Some(put("a", "0", 2, 2, 1))), Rule::WatchContent, "before it");
    accepted(&with(|event| event.prev = Some(put("a", "1", 2, 2, 1))));
    let mut unrecorded = event("a", 4);
    kv(&mut unrecorded, |kv| kv.version = 0);
    accepted(&all(vec![
        message(&[("a", 2), ("b", 3)]),
        Delivery { events: vec![unrecorded, event("b", 4)], ..Delivery::default() },
    ]));
    let mut invented = whole();
    invented[2].events[0].revision = 7;
    rejected(&all(invented), Rule::WatchContent, "never written");
}

#[test]
fn the_version_before_comes_where_it_was_asked_for() {
    let mut deliveries = whole();
    rejected(
        &Watched { prev_kv: true, ..all(deliveries.clone()) },
        Rule::WatchContent,
        "with nothing before it",
    );
    for event in deliveries.iter_mut().flat_map(|delivery| &mut delivery.events) {
        event.prev = replay().get(&event.key, event.revision - 1).cloned();
    }
    accepted(&Watched { prev_kv: true, ..all(deliveries) });
}

#[test]
fn nothing_is_left_out_in_between() {
    let gap = vec![message(&[("a", 2), ("b", 3)]), message(&[("c", 5)])];
    rejected(
        &all(gap),
        Rule::WatchReliable,
        "left out the change of \"a\" at revision 4, and went on with \"c\"=\"5\"@5",
    );
    let half = vec![message(&[("a", 2), ("b", 3), ("a", 4), ("c", 5)])];
    rejected(&all(half), Rule::WatchReliable, "of \"b\" at revision 4");
    // The end may be missing: the watch may simply have ended. Unless it is known that it had time enough.
    let cut = all(vec![message(&[("a", 2), ("b", 3), ("a", 4), ("b", 4)])]);
    accepted(&cut);
    accepted(&Watched { complete_to: 4, ..cut.clone() });
    rejected(
        &Watched { complete_to: 6, ..cut },
        Rule::WatchReliable,
        "\"c\" at revision 5, and went on with nothing",
    );
    rejected(&Watched { complete_to: 2, ..all(vec![]) }, Rule::WatchReliable, "\"a\" at revision 2");
}

#[test]
fn a_watch_begins_where_it_was_asked_to() {
    let from =
        |start_revision, first: &[(&str, i64)]| Watched { start_revision, ..all(vec![message(first)]) };
    rejected(&from(3, &[("a", 4), ("b", 4)]), Rule::WatchResumable, "\"b\" changed at 3");
    accepted(&from(4, &[("a", 4), ("b", 4)]));
    // From now on: nobody can say from outside when that was.
    accepted(&from(0, &[("a", 4), ("b", 4)]));
    let c = Watched { key: "c".into(), end: None, ..from(2, &[("c", 5)]) };
    accepted(&c);
}

#[test]
fn progress_is_neither_ahead_of_the_events_nor_back() {
    let first = || message(&[("a", 2), ("b", 3)]);
    accepted(&all(vec![first(), progress(3), progress(3), message(&[("a", 4), ("b", 4)]), progress(4)]));
    rejected(
        &all(vec![first(), progress(4)]),
        Rule::WatchBookmarkable,
        "of \"a\" at revision 4 had not come",
    );
    rejected(&all(vec![first(), progress(2)]), Rule::WatchBookmarkable, "having been at 3 before");
    rejected(
        &all(vec![message(&[("a", 2)]), progress(3), message(&[("b", 3)])]),
        Rule::WatchBookmarkable,
        "had not come",
    );
    let b = |deliveries| Watched { key: "b".into(), end: None, ..all(deliveries) };
    accepted(&b(vec![message(&[("b", 3), ("b", 4)]), progress(6)]));
    rejected(
        &b(vec![message(&[("b", 3), ("b", 4)]), progress(7)]),
        Rule::WatchBookmarkable,
        "does not exist",
    );
    let now = |deliveries| Watched { start_revision: 0, ..b(deliveries) };
    rejected(
        &now(vec![progress(4), message(&[("b", 4)])]),
        Rule::WatchBookmarkable,
        "promised to be past revision 4",
    );
    accepted(&now(vec![progress(3), message(&[("b", 4)])]));
}
