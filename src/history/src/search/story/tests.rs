//! What is left out leaves a proof, and what is said of the rest is so.

use super::*;
use crate::search::{AppendText, CasRegister, Model, MultiRegister, RegisterOp, Unlisted};
use proptest::prelude::*;
use small::{appends, by_force, cas, registers, timed, transactions};
use std::collections::BTreeMap;

#[path = "../../../tests/chance/mod.rs"]
mod chance;
#[path = "../../../tests/small/mod.rs"]
mod small;

use RegisterOp::{Read, Write};

fn spend() -> Spend<'static> {
    Spend { budget: Budget::default(), goes_on: &|| true }
}

fn is_fine<M: Model>(model: &M, operations: &[Timed<M::Op>]) -> bool {
    by_force(model, &model.initial(), operations)
}

/// The rules of the module, held against trying every order.
fn judge_the_story<M: Tell>(model: &M, operations: &[Timed<M::Op>]) -> Result<(), TestCaseError>
where
    M::Op: std::fmt::Debug,
    M::State: std::fmt::Debug,
{
    let teller = Teller { model, spend: spend() };
    if is_fine(model, operations) {
        prop_assert_eq!(explain(model, operations, spend()), None);
        // Nothing that may be left out makes it fail: otherwise a failure would prove nothing of the whole.
        for culprit in operations.iter().filter(|operation| operation.ret.is_some()) {
            let left = teller.small(operations.to_vec(), [culprit.id; 2]);
            prop_assert_eq!(&left[..], operations, "without some, it fails; culprit {:?}", culprit);
        }
        return Ok(());
    }
    let story = explain(model, operations, spend()).expect("it fails, and the budget is large");
    prop_assert!(story.is_first);
    let parts = partition(model, operations);
    let part = parts.iter().find(|part| part.iter().any(|&place| operations[place].id == story.culprit.id));
    let part: Vec<_> = part.unwrap().iter().map(|&place| operations[place].clone()).collect();
    let end = story.culprit.ret.unwrap();
    for shorter in part.iter().filter_map(|operation| operation.ret).filter(|&ret| ret < end) {
        prop_assert!(is_fine(model, &teller.beginning(&part, shorter)), "it fails at {} already", shorter);
    }
    let beginning = teller.beginning(&part, end);
    prop_assert!(!is_fine(model, &beginning), "it does not fail at {}", end);
    prop_assert!(!is_fine(model, &story.small), "the small part does not fail: {:?}", story.small);
    prop_assert!(story.small.iter().all(|one| beginning.contains(one)), "{:?}", story.small);
    for operation in story.small.iter().filter(|one| model.is_read(&one.op) && one.id != story.culprit.id) {
        let rest: Vec<_> = story.small.iter().filter(|one| *one != operation).cloned().collect();
        prop_assert!(is_fine(model, &rest), "{:?} is not needed for the failure", operation);
    }
    Ok(())
}

/// Operations not yet in order, and when the onlooker is there, until it has been.
type Left<'a, O> = (&'a [Timed<O>], Option<(u64, u64)>);

/// The states that an onlooker can meet, by trying every order.
fn met_by_force<M: Model>(
    model: &M,
    state: &M::State,
    (left, window): Left<'_, M::Op>,
    met: Option<&M::State>,
    all: &mut BTreeSet<M::State>,
) {
    if let (None, Some(met), true) = (window, met, left.iter().all(|operation| operation.ret.is_none())) {
        all.insert(met.clone());
    }
    let ends = left.iter().filter_map(|operation| operation.ret).chain(window.map(|(_, ret)| ret));
    let Some(first_return) = ends.min() else { return };
    if window.is_some_and(|(call, _)| call <= first_return) {
        met_by_force(model, state, (left, None), Some(state), all);
    }
    for place in (0..left.len()).filter(|&place| left[place].call <= first_return) {
        let mut rest = left.to_vec();
        let operation = rest.remove(place);
        if let Some(after) = model.step(state, &operation.op) {
            met_by_force(model, &after, (&rest, window), met, all);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_left_of_a_register_proves_the_failure(seed: u64) {
        judge_the_story(&CasRegister::default(), &registers(seed))?;
    }

    #[test]
    fn what_is_left_of_a_text_proves_the_failure(seed: u64) {
        let operations = appends(seed);
        judge_the_story(&AppendText::default(), &operations)?;
        judge_the_story(&AppendText::of(operations.iter().map(|operation| &operation.op)), &operations)?;
    }

    #[test]
    fn what_is_left_of_transactions_proves_the_failure(seed: u64, told: bool) {
        let others = if told { Unlisted::Nil } else { Unlisted::Anything };
        judge_the_story(&MultiRegister { initial: BTreeMap::new(), others }, &transactions(seed, None))?;
    }

    #[test]
    fn the_states_of_a_moment_are_those_of_every_order(seed: u64, call in 0u64..20, width in 0u64..6) {
        let model = CasRegister::default();
        let end = call + width;
        let teller = Teller { model: &model, spend: spend() };
        let operations = teller.beginning(&registers(seed), end);
        let mut forced = BTreeSet::new();
        met_by_force(&model, &model.initial(), (&operations, Some((call, end))), None, &mut forced);
        let found = states_within(&model, &operations, (call, end), CONFIGURATIONS_MAX);
        prop_assert_eq!(found, Some(forced), "{:?}", operations);
    }
}

#[test]
fn a_stale_read_is_told_with_the_write_that_replaced_what_it_saw() {
    let operations = [
        timed(0, 1, Some(2), Write(1)),
        timed(1, 3, Some(4), Read(Some(1))),
        timed(2, 5, Some(6), Write(2)),
        timed(3, 7, Some(12), Write(3)),
        timed(4, 8, Some(9), Read(Some(1))),
        timed(5, 10, Some(11), Read(Some(2))),
    ];
    let story = explain(&CasRegister::default(), &operations, spend()).unwrap();
    let ids =
        |operations: &[Timed<RegisterOp>]| -> Vec<usize> { operations.iter().map(|one| one.id).collect() };
    assert_eq!(story.culprit.id, 4);
    assert_eq!(
        story.states.iter().map(|(state, fits)| (state.0, *fits)).collect::<Vec<_>>(),
        [(Some(2), false), (Some(3), false)]
    );
    assert!(story.states_are_exact);
    assert_eq!(ids(&story.open), [3], "a write that was open then");
    assert_eq!(ids(&story.small), [0, 2, 4], "what was read, what replaced it, and the read");
    assert_eq!((story.origin.map(|one| one.id), story.replaced_by.map(|one| one.id)), (Some(0), Some(2)));
}

#[test]
fn a_write_whose_value_was_read_is_never_left_out() {
    // Without the write of 2, the first read would look like the failure, which is the second.
    let operations = [
        timed(0, 1, None, Write(2)),
        timed(1, 2, Some(3), Write(1)),
        timed(2, 4, Some(5), Read(Some(2))),
        timed(3, 6, Some(7), Read(Some(1))),
    ];
    let story = explain(&CasRegister::default(), &operations, spend()).unwrap();
    assert_eq!(story.small.iter().map(|one| one.id).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(story.states, [(crate::search::Cell(Some(2)), false)]);
}

#[test]
fn a_refused_swap_may_rest_on_any_other_value() {
    // The write of 2, of unknown outcome, is what the swap may have met: the history is fine.
    let model = CasRegister::default();
    let fine = [
        timed(0, 1, Some(2), Write(1)),
        timed(1, 3, None, Write(2)),
        timed(2, 4, Some(5), cas(1, 3, Some(false))),
    ];
    assert_eq!(explain(&model, &fine, spend()), None);
    assert!(model.needs(&fine[2].op, &fine[1].op) && !model.needs(&fine[2].op, &fine[0].op));
    let story = explain(&model, &[&fine[..1], &fine[2..]].concat(), spend()).unwrap();
    assert_eq!(story.culprit.id, 2);
}

#[test]
fn an_append_that_an_answer_lacks_is_named() {
    let append = |id: usize, at: u64, text: &str| {
        timed(id, at, Some(at + 1), crate::search::AppendStep::Append(text.to_owned()))
    };
    let get = |id: usize, at: u64, text: &str| {
        timed(id, at, Some(at + 1), crate::search::AppendStep::Get(text.to_owned()))
    };
    let operations =
        [append(0, 1, "a"), append(1, 3, "b"), get(2, 5, "ab"), append(3, 7, "c"), get(4, 9, "ab")];
    let story = explain(&AppendText::default(), &operations, spend()).unwrap();
    assert_eq!((story.culprit.id, story.missing.unwrap().id), (4, 3));
    assert_eq!(explain(&AppendText::default(), &operations[..4], spend()), None, "a near miss");
}

#[test]
fn without_time_there_is_no_story_and_with_little_the_failure_still_stands() {
    let operations = [timed(0, 1, Some(2), Write(1)), timed(1, 3, Some(4), Read(Some(2)))];
    let never = Spend { budget: Budget { steps: 0, ..Budget::default() }, goes_on: &|| false };
    assert_eq!(explain(&CasRegister::default(), &operations, never), None);
}
