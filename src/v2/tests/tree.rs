//! The tree, sentence by sentence.

use proptest::prelude::*;
use seatrial_types::v2::{
    DEPTH_MAX, V2Action, V2Change, V2Code, V2Compare, V2Event, V2Life, V2Verb, V2Watch, V2WatchId,
};
use seatrial_v2::{Effect, HISTORY_MAX, Hub, Tree};
use std::collections::BTreeMap;
use std::sync::Arc;

const SECOND: i64 = 1_000_000_000;

fn change(path: &str, action: V2Action) -> V2Change {
    V2Change { path: format!("/1{path}"), action, wall_ns: 100 * SECOND }
}

fn life(ttl_seconds: u64) -> V2Life {
    V2Life { ttl_seconds: Some(ttl_seconds), refresh: false }
}

fn set_with(path: &str, value: &str, life: V2Life) -> V2Change {
    change(path, V2Action::Set { dir: false, value: value.into(), life })
}

fn set(path: &str, value: &str) -> V2Change {
    set_with(path, value, V2Life::default())
}

fn delete(path: &str, recursive: bool) -> V2Change {
    change(path, V2Action::Delete { dir: false, recursive })
}

fn done(tree: &mut Tree, change: &V2Change) -> Arc<V2Event> {
    let effect = tree.apply(change);
    tree.check();
    effect.result.unwrap_or_else(|error| panic!("{change:?}: {error}"))
}

fn refused(tree: &mut Tree, change: &V2Change) -> (V2Code, String) {
    let before = tree.clone();
    let Effect { result, told, rows } = tree.apply(change);
    let error = result.expect_err("it is refused");
    assert!(told.is_none() && rows.is_empty() && *tree == before, "what is refused changes nothing");
    assert_eq!(error.index, tree.index());
    (error.code, error.cause)
}

fn value(tree: &Tree, path: &str) -> Option<String> {
    let event = tree.read(&format!("/1{path}"), false).ok()?;
    event.node.value.as_deref().map(str::to_owned)
}

fn watch(path: &str, since: u64, stream: bool) -> V2Watch {
    V2Watch { path: format!("/1{path}"), recursive: true, stream, since }
}

#[test]
fn every_change_counts_one_and_a_refusal_none() {
    let mut tree = Tree::default();
    for (at, path) in ["/a", "/b/c/d", "/a"].iter().enumerate() {
        assert_eq!(done(&mut tree, &set(path, "x")).index(), at as u64 + 1);
    }
    assert_eq!(refused(&mut tree, &set("/b", "x")), (V2Code::NotAFile, "/1/b".into()));
    assert_eq!(tree.index(), 3);
}

#[test]
fn the_first_element_that_is_missing_is_named() {
    let mut tree = Tree::default();
    done(&mut tree, &set("/a/b", "x"));
    let cause = |path: &str| tree.read(&format!("/1{path}"), false).unwrap_err();
    assert_eq!((cause("/a/x/y").code, cause("/a/x/y").cause.as_str()), (V2Code::KeyNotFound, "/1/a/x"));
    assert_eq!((cause("/a/b/c").code, cause("/a/b/c").cause.as_str()), (V2Code::NotADirectory, "/1/a/b"));
}

#[test]
fn a_listing_holds_the_children_in_order_and_nothing_hidden() {
    let mut tree = Tree::default();
    for path in ["/d/b/x", "/d/b-c", "/d/b.c/y", "/d/a", "/d/_h", "/d/b/_h/z", "/d/b0"] {
        done(&mut tree, &set(path, "x"));
    }
    let names = |recursive: bool| {
        let mut names = Vec::new();
        let mut todo = vec![tree.read("/1/d", recursive).unwrap().node];
        while let Some(node) = todo.pop() {
            names.push(node.path.clone());
            todo.extend(node.nodes.into_iter().rev());
        }
        names
    };
    assert_eq!(names(false), ["/1/d", "/1/d/a", "/1/d/b", "/1/d/b-c", "/1/d/b.c", "/1/d/b0"]);
    assert_eq!(
        names(true),
        ["/1/d", "/1/d/a", "/1/d/b", "/1/d/b/x", "/1/d/b-c", "/1/d/b.c", "/1/d/b.c/y", "/1/d/b0"]
    );
    assert_eq!(value(&tree, "/d/_h").as_deref(), Some("x"), "by its name it can be read");
}

#[test]
fn keys_in_order_are_named_by_the_index() {
    let mut tree = Tree::default();
    let action = V2Action::CreateInOrder { dir: false, value: "x".into(), life: V2Life::default() };
    let first = done(&mut tree, &change("/q", action.clone()));
    let second = done(&mut tree, &change("/q", action));
    assert_eq!(first.node.path, "/1/q/00000000000000000001");
    assert_eq!(second.node.path, "/1/q/00000000000000000002");
}

#[test]
fn what_is_compared_must_be_there_and_the_cause_says_what_was() {
    let mut tree = Tree::default();
    done(&mut tree, &set("/a", "x"));
    let swap = |value: &str, index| {
        let prev = V2Compare { value: value.into(), index };
        change("/a", V2Action::CompareAndSwap { prev, value: "y".into(), life: V2Life::default() })
    };
    assert_eq!(refused(&mut tree, &swap("z", 0)), (V2Code::CompareFailed, "[z != x]".into()));
    assert_eq!(refused(&mut tree, &swap("x", 7)), (V2Code::CompareFailed, "[7 != 1]".into()));
    assert_eq!(refused(&mut tree, &swap("z", 7)), (V2Code::CompareFailed, "[z != x] [7 != 1]".into()));
    let swapped = done(&mut tree, &swap("x", 1));
    assert_eq!((swapped.verb, swapped.node.created, swapped.index()), (V2Verb::CompareAndSwap, 1, 2));
    assert_eq!(value(&tree, "/a").as_deref(), Some("y"));
}

#[test]
fn a_directory_goes_only_when_it_is_empty_or_all_of_it_is_meant() {
    let mut tree = Tree::default();
    done(&mut tree, &set("/d/x/y", "x"));
    let empty = change("/d", V2Action::Delete { dir: true, recursive: false });
    assert_eq!(refused(&mut tree, &delete("/d", false)).0, V2Code::NotAFile);
    assert_eq!(refused(&mut tree, &empty).0, V2Code::DirectoryNotEmpty);
    assert_eq!(refused(&mut tree, &delete("", true)), (V2Code::RootReadOnly, "/".into()));
    done(&mut tree, &delete("/d", true));
    for path in ["/1/d", "/1/d/x", "/1/d/x/y"] {
        assert!(tree.read(path, false).is_err(), "{path}");
    }
}

#[test]
fn a_key_lives_its_whole_time_by_the_clock_and_not_a_tick_longer() {
    let mut tree = Tree::default();
    let _ = tree.tick(1000);
    // Written at an unknown moment between the ticks at 1000 and 1500: it may count from the later one only.
    done(&mut tree, &set_with("/a", "x", life(2)));
    for clock in [1500, 2000, 3000, 3499] {
        let (happened, _) = tree.tick(clock);
        assert!(happened.is_empty(), "ended at {clock}");
        tree.check();
    }
    let (happened, _) = tree.tick(3500);
    assert_eq!(happened.len(), 1);
    assert_eq!((happened[0].verb, happened[0].index()), (V2Verb::Expire, 2));
    assert!(!tree.has_lives());
    tree.check();
}

#[test]
fn a_clock_that_goes_back_is_not_followed() {
    let mut tree = Tree::default();
    done(&mut tree, &set_with("/a", "x", life(2)));
    let _ = tree.tick(5000);
    let _ = tree.tick(10);
    assert_eq!(tree.clock_ms(), 5000);
    assert_eq!(tree.tick(7000).0.len(), 1);
}

#[test]
fn a_refresh_starts_the_time_anew_keeps_the_value_and_wakes_nobody() {
    let mut tree = Tree::default();
    done(&mut tree, &set_with("/a", "x", life(2)));
    let _ = tree.tick(0);
    let mut hub = Hub::default();
    assert!(hub.watch(&tree, V2WatchId(1), watch("/a", 0, true)).unwrap().is_empty());
    let refresh = V2Life { ttl_seconds: Some(5), refresh: true };
    let effect = tree.apply(&set_with("/a", "", refresh));
    assert!(hub.notify(effect.told.as_ref().unwrap()).is_empty());
    assert_eq!(value(&tree, "/a").as_deref(), Some("x"));
    assert_eq!(tree.index(), 2);
    assert!(tree.tick(2000).0.is_empty());
    assert_eq!(tree.tick(7000).0.len(), 1);
    assert_eq!(refused(&mut tree, &set_with("/none", "", refresh)).0, V2Code::KeyNotFound);
}

#[test]
fn who_waits_for_one_change_is_told_one_and_a_stream_all() {
    let mut tree = Tree::default();
    let mut hub = Hub::default();
    hub.watch(&tree, V2WatchId(1), watch("/d", 0, false)).unwrap();
    hub.watch(&tree, V2WatchId(2), watch("/d", 0, true)).unwrap();
    let flat = V2Watch { recursive: false, ..watch("/d", 0, true) };
    hub.watch(&tree, V2WatchId(3), flat).unwrap();
    let mut told = Vec::new();
    for action in [set("/d/a", "x"), set("/e", "x"), set("/d/_h", "x"), set("/d/b", "x"), delete("/d", true)]
    {
        let effect = tree.apply(&action);
        told.extend(
            hub.notify(effect.told.as_ref().unwrap()).into_iter().map(|(id, event)| (id.0, event.index())),
        );
        hub.check();
    }
    assert_eq!(told, [(1, 1), (2, 1), (2, 4), (2, 5), (3, 5)], "each of them once");
    assert_eq!(hub.len(), 2);
}

#[test]
fn who_waits_below_a_directory_is_told_that_it_has_gone() {
    let mut tree = Tree::default();
    let mut hub = Hub::default();
    done(&mut tree, &set("/d/a/b", "x"));
    done(&mut tree, &set("/da", "x"));
    let flat = |path: &str| V2Watch { recursive: false, ..watch(path, 0, true) };
    hub.watch(&tree, V2WatchId(1), flat("/d/a/b")).unwrap();
    hub.watch(&tree, V2WatchId(2), flat("/da")).unwrap();
    // Nothing is there yet: asked again, it would be told by what is remembered (below).
    hub.watch(&tree, V2WatchId(5), flat("/d/none")).unwrap();
    let told = hub.notify(tree.apply(&delete("/d", true)).told.as_ref().unwrap());
    assert_eq!(told.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [1, 5]);
    // And from the past: a name that only begins alike is another one.
    let past = hub.watch(&tree, V2WatchId(3), V2Watch { since: 3, ..flat("/da") }).unwrap();
    assert!(past.is_empty(), "{past:?}");
    let past = hub.watch(&tree, V2WatchId(4), V2Watch { since: 3, ..flat("/d/a/b") }).unwrap();
    assert_eq!(past.len(), 1);
    let past = hub.watch(&tree, V2WatchId(6), V2Watch { since: 3, ..flat("/d/none") }).unwrap();
    assert_eq!(past.len(), 1);
}

#[test]
fn what_is_forgotten_is_refused_with_what_is_kept() {
    let mut tree = Tree::default();
    let mut hub = Hub::default();
    for _ in 0..HISTORY_MAX + 5 {
        done(&mut tree, &set("/a", "x"));
    }
    let error = hub.watch(&tree, V2WatchId(1), watch("/a", 5, false)).unwrap_err();
    assert_eq!(error.code, V2Code::EventIndexCleared);
    assert_eq!(error.cause, "the requested history has been cleared [6/5]");
    assert!(hub.is_empty());
    assert_eq!(hub.watch(&tree, V2WatchId(1), watch("/a", 6, true)).unwrap().len(), HISTORY_MAX);
}

#[test]
fn who_waits_for_a_change_to_come_is_told_of_none_before() {
    let mut tree = Tree::default();
    let mut hub = Hub::default();
    hub.watch(&tree, V2WatchId(1), watch("/a", 3, false)).unwrap();
    let told: Vec<usize> =
        (0..3).map(|_| hub.notify(tree.apply(&set("/a", "x")).told.as_ref().unwrap()).len()).collect();
    assert_eq!(told, [0, 0, 1]);
}

#[test]
fn a_replaced_tree_tells_what_was_missed_or_ends_the_waiting() {
    let mut old = Tree::default();
    done(&mut old, &set("/a", "x"));
    let mut hub = Hub::default();
    hub.watch(&old, V2WatchId(1), watch("/a", 0, true)).unwrap();
    hub.watch(&old, V2WatchId(2), watch("/b", 0, true)).unwrap();
    hub.watch(&old, V2WatchId(3), watch("/a", 4, false)).unwrap();
    let mut new = old.clone();
    for path in ["/a", "/b", "/a"] {
        done(&mut new, &set(path, "y"));
    }
    let (told, lost) = hub.clone().replaced(old.index(), &new);
    let told: Vec<(u64, u64)> = told.into_iter().map(|(id, event)| (id.0, event.index())).collect();
    assert_eq!(told, [(1, 2), (1, 4), (2, 3), (3, 4)]);
    assert!(lost.is_empty());
    for _ in 0..HISTORY_MAX {
        done(&mut new, &set("/c", "y"));
    }
    let (told, lost) = hub.replaced(old.index(), &new);
    assert!(told.is_empty());
    assert_eq!(lost.iter().map(|id| id.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(hub.is_empty());
}

#[test]
fn a_key_of_too_many_elements_is_refused() {
    let mut tree = Tree::default();
    let deep = |depth: usize| "/a".repeat(depth);
    done(&mut tree, &set(&deep(DEPTH_MAX - 1), "x"));
    assert_eq!(refused(&mut tree, &set(&deep(DEPTH_MAX), "x")).0, V2Code::InvalidForm);
    assert!(tree.read("/1", true).is_ok());
}

fn drawn() -> impl Strategy<Value = V2Change> {
    let path = prop::collection::vec(prop::sample::select(vec!["a", "b", "a-", "_h"]), 1..4)
        .prop_map(|elements| format!("/{}", elements.join("/")));
    let life = prop_oneof![
        3 => Just(V2Life::default()),
        2 => (0..4u64).prop_map(life),
        1 => Just(V2Life { ttl_seconds: Some(2), refresh: true }),
    ];
    let value = prop::sample::select(vec!["", "x", "y"]);
    (path, 0..7u8, any::<bool>(), any::<bool>(), value, life).prop_map(
        |(path, kind, dir, recursive, value, life)| {
            let value = value.to_owned();
            let prev = V2Compare { value: "x".into(), index: 0 };
            change(
                &path,
                match kind {
                    0 => V2Action::Set { dir, value, life },
                    1 => V2Action::Create { dir, value, life },
                    2 => V2Action::CreateInOrder { dir, value, life },
                    3 => V2Action::Update { value, life },
                    4 => V2Action::CompareAndSwap { prev, value, life },
                    5 => V2Action::Delete { dir, recursive },
                    _ => V2Action::CompareAndDelete { prev },
                },
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Were a row forgotten, a member would come back from its disk with another tree than the others.
    #[test]
    fn the_rows_make_the_same_tree_again(changes in prop::collection::vec((drawn(), any::<bool>()), 1..80)) {
        let mut tree = Tree::default();
        let mut rows = BTreeMap::new();
        let mut clock = 0;
        for (change, ticks) in &changes {
            let mut written = tree.apply(change).rows;
            if *ticks {
                clock += 700;
                written.extend(tree.tick(clock).1);
            }
            for (key, value) in written {
                match value {
                    Some(value) => rows.insert(key, value),
                    None => rows.remove(&key),
                };
            }
            tree.check();
        }
        let loaded = Tree::load(rows.clone()).unwrap();
        loaded.check();
        prop_assert_eq!(&loaded, &tree);
    }

    /// A watch that comes back again and again where it left off sees what a stream sees.
    #[test]
    fn coming_back_with_the_next_index_misses_nothing(changes in prop::collection::vec(drawn(), 1..80)) {
        let mut tree = Tree::default();
        let mut hub = Hub::default();
        hub.watch(&tree, V2WatchId(0), watch("/a", 1, true)).unwrap();
        let mut stream = Vec::new();
        for change in &changes {
            if let Some(told) = tree.apply(change).told {
                stream.extend(hub.notify(&told).into_iter().map(|(_, event)| event));
            }
            hub.check();
        }
        let mut polled = Vec::new();
        let mut since = 1;
        for id in 1.. {
            let past = hub.watch(&tree, V2WatchId(id), watch("/a", since, false)).unwrap();
            let Some(event) = past.into_iter().next() else { break };
            since = event.index() + 1;
            polled.push(event);
        }
        prop_assert_eq!(stream, polled);
    }
}
