//! One violation by hand for every rule of the guided checker, and beside it a history that only looks like
//! one.

use seatrial_history::{
    Answer, Blob, Budget, Change, Final, Found, Get, History, Input, Kv, Operation, Outcome, Rule, Snapshot,
    Verdict, check_revisions, explain,
};
use std::collections::BTreeMap;

fn kv(key: &str, value: &str, modified: i64, created: i64, version: i64) -> Kv {
    Kv { key: key.into(), value: value.into(), mod_revision: modified, create_revision: created, version }
}

fn op(client: u32, call: u64, ret: u64, input: Input, outcome: Outcome) -> Operation {
    Operation { client, member: Some("m1".into()), call, ret: Some(ret), input, outcome }
}

fn put(client: u32, call: u64, ret: u64, key: &str, value: &str, revision: i64) -> Operation {
    op(client, call, ret, Input::put(key, value), Outcome::Ok { revision, result: Answer::Put })
}

fn got(kvs: Vec<Kv>, revision: i64) -> Outcome {
    Outcome::Ok { revision, result: Answer::Get(Found { kvs, count: None }) }
}

fn get(client: u32, call: u64, ret: u64, key: &str, kvs: Vec<Kv>, revision: i64) -> Operation {
    op(client, call, ret, Input::get(key), got(kvs, revision))
}

fn serializable(client: u32, call: u64, ret: u64, key: &str, kvs: Vec<Kv>, revision: i64) -> Operation {
    let input = Input::Get(Get { key: key.into(), serializable: true, ..Get::default() });
    op(client, call, ret, input, got(kvs, revision))
}

fn delete(client: u32, call: u64, ret: u64, key: &str, deleted: u64, revision: i64) -> Operation {
    op(client, call, ret, Input::delete(key), Outcome::Ok { revision, result: Answer::Delete { deleted } })
}

fn unknown(client: u32, call: u64, ret: u64, input: Input) -> Operation {
    op(client, call, ret, input, Outcome::Unknown { error: "timeout".into() })
}

fn failed(client: u32, call: u64, ret: u64, input: Input) -> Operation {
    op(client, call, ret, input, Outcome::Failed { error: "no".into() })
}

fn history(operations: Vec<Operation>) -> History {
    History { initial: Snapshot::default(), operations }
}

fn verdict(operations: Vec<Operation>) -> Verdict {
    check_revisions(&history(operations), &Final::default())
}

fn ending(operations: Vec<Operation>, revision: i64, kvs: Vec<Kv>) -> Verdict {
    check_revisions(&history(operations), &Final::read(Snapshot { revision, kvs }))
}

#[track_caller]
fn accepted(verdict: &Verdict) {
    assert_eq!(*verdict, Verdict::Ok, "{verdict}");
}

#[track_caller]
fn rejected(verdict: &Verdict, rule: Rule, operations: &[usize], sentence: &str) {
    let violation = verdict.violation().unwrap_or_else(|| panic!("expected {rule}, got {verdict}"));
    assert_eq!((violation.rule, &violation.operations[..]), (rule, operations), "{verdict}");
    assert!(violation.sentence.contains(sentence), "{:?} lacks {sentence:?}", violation.sentence);
}

#[test]
fn an_answer_before_its_question_is_malformed_and_one_at_the_same_instant_is_not() {
    rejected(&verdict(vec![put(1, 20, 10, "a", "1", 2)]), Rule::Malformed, &[0], "ended before it began");
    accepted(&verdict(vec![put(1, 20, 20, "a", "1", 2)]));
}

#[test]
fn a_client_with_two_operations_at_once_is_malformed_and_one_that_goes_on_at_once_is_not() {
    let twice = vec![put(1, 10, 30, "a", "1", 2), put(1, 20, 40, "a", "2", 3)];
    rejected(&verdict(twice), Rule::Malformed, &[0, 1], "while");
    accepted(&verdict(vec![put(1, 10, 20, "a", "1", 2), put(1, 20, 40, "a", "2", 3)]));
}

#[test]
fn an_answer_of_another_form_is_malformed() {
    let odd =
        op(1, 1, 2, Input::put("a", "1"), Outcome::Ok { revision: 2, result: Answer::Delete { deleted: 1 } });
    rejected(&verdict(vec![odd]), Rule::Malformed, &[0], "something else");
    let short = Answer::Txn { succeeded: true, results: vec![] };
    let txn = op(1, 1, 2, Input::cas_revision("a", 0, "1"), Outcome::Ok { revision: 2, result: short });
    rejected(&verdict(vec![txn]), Rule::Malformed, &[0], "something else");
}

#[test]
fn two_writes_cannot_share_a_revision_but_a_read_can_have_it_too() {
    let twice = vec![put(1, 10, 20, "a", "1", 2), put(2, 10, 20, "b", "1", 2)];
    rejected(&verdict(twice), Rule::DuplicateRevision, &[0, 1], "both acknowledged with revision 2");
    accepted(&verdict(vec![
        put(1, 10, 20, "a", "1", 2),
        get(2, 10, 20, "a", vec![kv("a", "1", 2, 2, 1)], 2),
        delete(3, 10, 20, "b", 0, 2),
    ]));
}

#[test]
fn a_read_after_a_write_had_ended_sees_it_and_one_during_the_write_need_not() {
    let stale = vec![put(1, 10, 20, "a", "1", 2), get(2, 21, 30, "a", vec![], 1)];
    rejected(&verdict(stale), Rule::RealTime, &[0, 1], "read revision 1, although");
    accepted(&verdict(vec![put(1, 10, 20, "a", "1", 2), get(2, 20, 30, "a", vec![], 1)]));
    // Even at the same instant, where one client did both.
    let own = vec![put(1, 10, 20, "a", "1", 2), get(1, 20, 30, "a", vec![], 1)];
    rejected(&verdict(own), Rule::RealTime, &[0, 1], "although");
}

#[test]
fn reads_do_not_go_back_even_where_the_write_is_still_open() {
    let one = vec![kv("a", "1", 2, 2, 1)];
    let back = vec![
        put(1, 10, 90, "a", "1", 2),
        get(2, 20, 30, "a", one.clone(), 2),
        get(3, 40, 50, "a", vec![], 1),
    ];
    rejected(&verdict(back), Rule::RealTime, &[1, 2], "read revision 1");
    accepted(&verdict(vec![
        put(1, 10, 90, "a", "1", 2),
        get(3, 20, 30, "a", vec![], 1),
        get(2, 40, 50, "a", one, 2),
    ]));
}

#[test]
fn writes_in_real_time_order_have_rising_revisions_and_concurrent_ones_any() {
    let swapped = vec![put(1, 10, 20, "a", "1", 3), put(2, 30, 40, "a", "2", 2)];
    rejected(&verdict(swapped), Rule::RealTime, &[0, 1], "wrote revision 2");
    accepted(&verdict(vec![put(1, 10, 35, "a", "1", 3), put(2, 30, 40, "a", "2", 2)]));
}

#[test]
fn a_revision_is_not_read_before_its_write_was_asked_for() {
    let foreseen = vec![get(1, 1, 2, "b", vec![], 2), put(2, 3, 4, "a", "1", 2)];
    rejected(&verdict(foreseen), Rule::RealTime, &[0, 1], "wrote revision 2");
    accepted(&verdict(vec![get(1, 1, 3, "b", vec![], 2), put(2, 3, 4, "a", "1", 2)]));
    // A delete of nothing has the revision it found.
    accepted(&verdict(vec![
        put(2, 1, 2, "a", "1", 2),
        get(1, 3, 4, "b", vec![], 2),
        delete(2, 5, 6, "b", 0, 2),
    ]));
}

#[test]
fn nothing_is_older_than_the_beginning() {
    rejected(&verdict(vec![get(1, 1, 2, "a", vec![], 0)]), Rule::RealTime, &[0], "began at 1");
    rejected(&verdict(vec![put(1, 1, 2, "a", "1", 1)]), Rule::RealTime, &[0], "began at 1");
    accepted(&verdict(vec![get(1, 1, 2, "a", vec![], 1)]));
}

#[test]
fn a_linearizable_answer_is_the_state_at_its_revision() {
    let wrong = |found: Vec<Kv>| {
        verdict(vec![put(1, 1, 2, "a", "1", 2), put(1, 3, 4, "a", "2", 3), get(1, 5, 6, "a", found, 3)])
    };
    accepted(&wrong(vec![kv("a", "2", 3, 2, 2)]));
    accepted(&wrong(vec![kv("a", "2", 3, 0, 0)]));
    rejected(
        &wrong(vec![kv("a", "1", 2, 2, 1)]),
        Rule::WrongAnswer,
        &[1, 2],
        "where \"a\"=\"2\"@3 is right (written by #1",
    );
    rejected(&wrong(vec![]), Rule::WrongAnswer, &[1, 2], "did not see \"a\"=\"2\"@3");
    rejected(&wrong(vec![kv("a", "2", 3, 2, 1)]), Rule::WrongAnswer, &[1, 2], "version 1");
    rejected(&wrong(vec![kv("a", "2", 3, 3, 2)]), Rule::WrongAnswer, &[1, 2], "created at 3");
    rejected(&wrong(vec![kv("a", "9", 9, 9, 1)]), Rule::WrongAnswer, &[2], "from the future");
}

#[test]
fn a_range_sees_all_keys_of_its_state_in_order_and_no_others() {
    let list = |kvs: Vec<Kv>, count: Option<u64>| {
        let outcome = Outcome::Ok { revision: 3, result: Answer::Get(Found { kvs, count }) };
        verdict(vec![
            put(1, 1, 2, "pb", "1", 2),
            put(1, 3, 4, "pa", "2", 3),
            op(1, 5, 6, Input::get_prefix("p"), outcome),
        ])
    };
    let (a, b) = (kv("pa", "2", 3, 3, 1), kv("pb", "1", 2, 2, 1));
    accepted(&list(vec![a.clone(), b.clone()], Some(2)));
    rejected(&list(vec![a.clone()], None), Rule::WrongAnswer, &[0, 2], "did not see \"pb\"");
    rejected(&list(vec![b.clone(), a.clone()], None), Rule::WrongAnswer, &[1, 2], "did not see \"pa\"");
    rejected(&list(vec![a, b], Some(3)), Rule::WrongAnswer, &[2], "counted");
}

#[test]
fn a_serializable_read_may_be_old_but_not_wrong() {
    let writes = || vec![put(1, 1, 2, "a", "1", 2), put(1, 3, 4, "a", "2", 3)];
    let with = |read: Operation| verdict([writes(), vec![read]].concat());
    accepted(&with(serializable(2, 5, 6, "a", vec![kv("a", "1", 2, 2, 1)], 2)));
    accepted(&with(serializable(2, 5, 6, "a", vec![], 1)));
    let mixed = serializable(2, 5, 6, "a", vec![kv("a", "1", 2, 2, 1)], 3);
    rejected(&with(mixed), Rule::SerializableRead, &[1, 2], "where \"a\"=\"2\"@3 is right");
    // What it saw was committed, so that a later linearizable read sees it as well.
    let open = vec![
        put(1, 1, 90, "a", "1", 2),
        serializable(2, 5, 6, "a", vec![kv("a", "1", 2, 2, 1)], 2),
        get(3, 7, 8, "a", vec![], 1),
    ];
    rejected(&verdict(open), Rule::RealTime, &[1, 2], "although");
}

#[test]
fn a_read_of_an_old_revision_sees_the_state_of_then() {
    let at = |revision: i64, kvs: Vec<Kv>| {
        let input = Input::Get(Get { key: "a".into(), revision, ..Get::default() });
        verdict(vec![put(1, 1, 2, "a", "1", 2), put(1, 3, 4, "a", "2", 3), op(1, 5, 6, input, got(kvs, 3))])
    };
    accepted(&at(2, vec![kv("a", "1", 2, 2, 1)]));
    rejected(&at(2, vec![kv("a", "2", 3, 2, 2)]), Rule::WrongAnswer, &[0, 2], "where \"a\"=\"1\"@2 is right");
}

#[test]
fn a_transaction_takes_the_branch_its_state_decides() {
    let cas = |succeeded: bool, revision: i64, expected: i64| {
        let result = if succeeded {
            Answer::Put
        } else {
            Answer::Get(Found { kvs: vec![kv("a", "1", 2, 2, 1)], count: None })
        };
        let outcome = Outcome::Ok { revision, result: Answer::Txn { succeeded, results: vec![result] } };
        verdict(vec![
            put(1, 1, 2, "a", "1", 2),
            op(1, 3, 4, Input::cas_revision("a", expected, "2"), outcome),
        ])
    };
    accepted(&cas(true, 3, 2));
    accepted(&cas(false, 2, 7));
    rejected(&cas(true, 3, 7), Rule::WrongAnswer, &[1], "compare did not hold");
    rejected(&cas(false, 2, 2), Rule::WrongAnswer, &[1], "compare held");
}

#[test]
fn a_delete_counts_what_was_there_and_takes_a_revision_only_then() {
    let first = put(1, 1, 2, "a", "1", 2);
    accepted(&verdict(vec![first.clone(), delete(1, 3, 4, "a", 1, 3), delete(1, 5, 6, "a", 0, 3)]));
    let nothing_there = vec![first.clone(), delete(1, 3, 4, "b", 1, 3)];
    rejected(&verdict(nothing_there), Rule::WrongAnswer, &[1], "\"1 deleted\", where \"0 deleted\"");
    let overlooked = vec![first, delete(1, 3, 4, "a", 0, 2)];
    rejected(&verdict(overlooked), Rule::WrongAnswer, &[1], "where \"1 deleted\" is right");
}

#[test]
fn a_revision_that_nobody_wrote_is_a_violation_and_one_unknown_write_explains_it() {
    let gap = vec![put(1, 1, 2, "a", "1", 2), put(1, 3, 4, "a", "2", 4)];
    rejected(&verdict(gap.clone()), Rule::UnexplainedRevision, &[1], "only 0 writes of unknown outcome");
    let explained = [gap.clone(), vec![unknown(2, 1, 2, Input::put("b", "x"))]].concat();
    let explained = explain(&history(explained), &Final::default(), Budget::default()).unwrap();
    assert_eq!(explained.happened, BTreeMap::from([(2, 3)]));
    // Called only after revision 4 was known to exist, it is too late for revision 3.
    let late = [gap.clone(), vec![unknown(2, 5, 6, Input::put("b", "x"))]].concat();
    rejected(&verdict(late), Rule::UnexplainedRevision, &[1], "only 0");
    // A delete of nothing takes no revision.
    let idle = [gap, vec![unknown(2, 1, 2, Input::delete("b"))]].concat();
    rejected(&verdict(idle.clone()), Rule::UnexplainedRevision, &[1], "no operation can have written");
    // Nor does a write that came too late step in for one that did nothing.
    let both = [idle, vec![unknown(3, 5, 6, Input::put("b", "x"))]].concat();
    rejected(&verdict(both), Rule::UnexplainedRevision, &[1], "no operation can have written");
}

#[test]
fn one_unknown_write_explains_one_revision_only() {
    let two_gaps = vec![put(1, 1, 2, "a", "1", 4), unknown(2, 0, 1, Input::put("b", "x"))];
    rejected(&verdict(two_gaps.clone()), Rule::UnexplainedRevision, &[0], "2 revisions up to 3");
    accepted(&verdict([two_gaps, vec![unknown(3, 0, 1, Input::put("b", "x"))]].concat()));
}

#[test]
fn a_refused_write_must_not_be_seen_and_one_of_unknown_outcome_may() {
    let seen = || get(1, 30, 40, "a", vec![kv("a", "x", 2, 2, 1)], 2);
    let refused = vec![failed(2, 1, 2, Input::put("a", "x")), seen()];
    rejected(&verdict(refused), Rule::UnexplainedRevision, &[0, 1], "told that it certainly failed");
    accepted(&verdict(vec![unknown(2, 1, 2, Input::put("a", "x")), seen()]));
    let from_nowhere = vec![unknown(2, 1, 2, Input::put("a", "y")), seen()];
    rejected(&verdict(from_nowhere), Rule::UnexplainedRevision, &[1], "no operation can have written that");
    let before_its_call = vec![unknown(2, 41, 50, Input::put("a", "x")), seen()];
    rejected(&verdict(before_its_call), Rule::UnexplainedRevision, &[0, 1], "cannot have made revision 2");
}

#[test]
fn an_unknown_write_happens_at_most_once() {
    let twice = vec![
        unknown(2, 1, 2, Input::put("a", "x")),
        get(1, 3, 4, "a", vec![kv("a", "x", 2, 2, 1)], 2),
        get(1, 5, 6, "a", vec![kv("a", "x", 3, 2, 2)], 3),
    ];
    rejected(&verdict(twice.clone()), Rule::UnexplainedRevision, &[2], "2 revisions up to 3");
    let other = [twice.clone(), vec![unknown(3, 1, 2, Input::put("b", "x"))]].concat();
    rejected(&verdict(other), Rule::UnexplainedRevision, &[0, 2], "cannot have made revision 3");
    accepted(&verdict([twice, vec![unknown(3, 1, 2, Input::put("a", "x"))]].concat()));
}

#[test]
fn an_unknown_write_may_take_effect_long_after_its_client_gave_up() {
    accepted(&verdict(vec![
        unknown(2, 1, 2, Input::put("a", "x")),
        get(1, 10, 20, "a", vec![], 1),
        get(1, 30, 40, "a", vec![kv("a", "x", 2, 2, 1)], 2),
    ]));
}

#[test]
fn of_several_unknown_writes_the_one_that_fits_later_answers_is_found() {
    // Revision 3 is a delete of "a" or a put of "b"; only the last read, and the version it saw, tell.
    let operations = vec![
        put(1, 1, 2, "a", "1", 2),
        unknown(2, 1, 2, Input::put("b", "x")),
        unknown(3, 1, 2, Input::delete("a")),
        put(1, 3, 4, "a", "2", 4),
        get(1, 5, 6, "a", vec![kv("a", "2", 4, 4, 1)], 4),
    ];
    let explained = explain(&history(operations.clone()), &Final::default(), Budget::default()).unwrap();
    assert_eq!(explained.happened, BTreeMap::from([(2, 3)]));
    let mut other = operations;
    other[4] = get(1, 5, 6, "a", vec![kv("a", "2", 4, 2, 2)], 4);
    let explained = explain(&history(other.clone()), &Final::default(), Budget::default()).unwrap();
    assert_eq!(explained.happened, BTreeMap::from([(1, 3)]));
    // And where neither fits, nothing is made up.
    other[4] = get(1, 5, 6, "a", vec![kv("a", "2", 4, 2, 3)], 4);
    rejected(&verdict(other), Rule::WrongAnswer, &[3, 4], "no other choice of the writes of unknown outcome");
}

#[test]
fn a_write_that_a_later_read_rules_out_is_not_even_tried() {
    // Ten keys stay as they were; five hidden revisions are those of the only key that nobody looked at. Blind
    // trying would meet 15!/10! choices before it found that.
    let mut operations: Vec<Operation> = Vec::new();
    for key in 0..10 {
        operations.push(put(1, key * 2, key * 2 + 1, &format!("a{key}"), "old", key as i64 + 2));
        operations.push(unknown(10 + key as u32, 1, 2, Input::put(format!("a{key}"), "new")));
    }
    operations
        .extend((0..5).map(|number| unknown(30 + number, 20, 21, Input::put("z", format!("{number}")))));
    for key in 0..10 {
        let kvs = vec![kv(&format!("a{key}"), "old", key as i64 + 2, key as i64 + 2, 1)];
        operations.push(get(2, 100 + key * 2, 101 + key * 2, &format!("a{key}"), kvs, 16));
    }
    let small = Budget { steps: 1_000, ..Budget::default() };
    let explained = explain(&history(operations), &Final::default(), small).unwrap();
    assert_eq!(explained.happened.into_values().collect::<Vec<_>>(), [12, 13, 14, 15, 16]);
}

#[test]
fn too_many_choices_are_not_decided_but_admitted() {
    let mut operations: Vec<Operation> =
        (0..12).map(|client| unknown(client, 1, 2, Input::put("a", format!("{client}")))).collect();
    // Twelve hidden writes before a creation that none of them allows: 12! orders, all of them in vain.
    operations.push(get(20, 10, 20, "a", vec![], 13));
    let small = Budget { steps: 10_000, ..Budget::default() };
    let outcome = explain(&history(operations), &Final::default(), small);
    assert!(matches!(outcome, Err(Verdict::Unknown { .. })), "{outcome:?}");
}

#[test]
fn two_answers_about_one_revision_must_agree() {
    let reads = |other: Kv| {
        vec![
            unknown(1, 1, 2, Input::put("a", "x")),
            get(2, 3, 4, "a", vec![kv("a", "x", 2, 2, 1)], 2),
            get(2, 5, 6, "a", vec![other], 2),
        ]
    };
    rejected(&verdict(reads(kv("a", "y", 2, 2, 1))), Rule::Contradiction, &[1, 2], "but");
    accepted(&verdict(reads(kv("a", "x", 2, 0, 0))));
    // What only the final read contradicts is said of the end.
    let seen = vec![put(1, 1, 2, "a", "x", 2), get(2, 3, 4, "a", vec![kv("a", "x", 2, 2, 1)], 2)];
    accepted(&ending(seen.clone(), 2, vec![kv("a", "x", 2, 2, 1)]));
    rejected(&ending(seen, 2, vec![kv("a", "x", 2, 2, 9)]), Rule::FinalState, &[1], "but the final read saw");
}

#[test]
fn every_acknowledged_write_is_there_at_the_end() {
    let writes = || vec![put(1, 1, 2, "a", "1", 2), put(1, 3, 4, "b", "2", 3)];
    let (a, b) = (kv("a", "1", 2, 2, 1), kv("b", "2", 3, 3, 1));
    accepted(&ending(writes(), 3, vec![a.clone(), b.clone()]));
    rejected(&ending(writes(), 2, vec![a.clone()]), Rule::Durability, &[1], "found the store at revision 2");
    rejected(&ending(writes(), 3, vec![b.clone()]), Rule::Durability, &[0], "\"a\"=\"1\"@2");
    let deleted = [writes(), vec![delete(1, 5, 6, "a", 1, 4)]].concat();
    accepted(&ending(deleted.clone(), 4, vec![b.clone()]));
    rejected(&ending(deleted, 4, vec![a.clone(), b.clone()]), Rule::Durability, &[2], "should not be there");
    // A write of unknown outcome may be lost, whole.
    let open = [writes(), vec![unknown(2, 1, 2, Input::put("c", "3"))]].concat();
    accepted(&ending(open.clone(), 3, vec![a.clone(), b.clone()]));
    accepted(&ending(open.clone(), 4, vec![a.clone(), b.clone(), kv("c", "3", 4, 4, 1)]));
    rejected(&ending(open, 4, vec![a, b]), Rule::FinalState, &[2], "\"c\"=\"3\"@4");
}

#[test]
fn the_store_does_not_end_before_it_began() {
    rejected(&ending(vec![], 0, vec![]), Rule::Durability, &[], "it began at 1");
    accepted(&ending(vec![], 1, vec![]));
}

#[test]
fn a_record_of_changes_decides_and_is_believed_only_where_it_agrees() {
    let change = |revision, key: &str, value: Option<&str>, by_store| Change {
        revision,
        keys: BTreeMap::from([(Blob::from(key), value.map(Blob::from))]),
        by_store,
    };
    let finale = |changes| Final { state: None, changes };
    let operations = history(vec![
        put(1, 1, 2, "a", "1", 2),
        unknown(2, 1, 2, Input::put("b", "x")),
        unknown(3, 1, 2, Input::delete("a")),
        put(1, 3, 4, "c", "2", 4),
    ]);
    let gone = finale(vec![change(3, "a", None, false)]);
    assert_eq!(explain(&operations, &gone, Budget::default()).unwrap().happened, BTreeMap::from([(2, 3)]));
    // As when a lease ran out: no client's operation is used up.
    let expired = finale(vec![change(3, "a", None, true)]);
    assert_eq!(explain(&operations, &expired, Budget::default()).unwrap().happened, BTreeMap::new());
    let other = finale(vec![change(2, "a", Some("7"), false)]);
    rejected(
        &check_revisions(&operations, &other),
        Rule::Contradiction,
        &[0],
        "the store recorded \"a\"=\"7\"",
    );
    let own = finale(vec![change(2, "a", Some("1"), true)]);
    rejected(&check_revisions(&operations, &own), Rule::Contradiction, &[0], "made by itself");
    let nobody = finale(vec![change(3, "z", Some("7"), false)]);
    rejected(
        &check_revisions(&operations, &nobody),
        Rule::UnexplainedRevision,
        &[3],
        "no operation can have written",
    );
}

#[test]
fn a_wild_revision_is_a_violation_and_no_endless_walk() {
    for revision in [1_000_000_000_000, i64::MAX] {
        let wild = vec![put(1, 1, 2, "a", "1", revision), unknown(2, 0, 1, Input::put("b", "x"))];
        rejected(&verdict(wild), Rule::UnexplainedRevision, &[0], "only 1 writes");
    }
}

#[test]
fn the_first_state_counts() {
    let initial = Snapshot { revision: 7, kvs: vec![kv("a", "0", 5, 5, 1)] };
    let read = |modified| History {
        initial: initial.clone(),
        operations: vec![get(1, 1, 2, "a", vec![kv("a", "0", modified, 5, 1)], 7)],
    };
    accepted(&check_revisions(&read(5), &Final::default()));
    rejected(&check_revisions(&read(6), &Final::default()), Rule::WrongAnswer, &[0], "is right");
}
