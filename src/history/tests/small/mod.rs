//! Small random histories of every model, and the judgement of who tries every order.

#![allow(dead_code, reason = "every test file uses its own part of this")]

use super::chance::Chance;
use seatrial_history::search::{AppendStep, Model, MultiRegisterOp, RegisterOp, RegisterStep, Timed};
use std::collections::BTreeMap;

pub(crate) fn timed<O>(id: usize, call: u64, ret: Option<u64>, op: O) -> Timed<O> {
    Timed { id, client: id as u64, call, ret, op }
}

pub(crate) const fn cas(expected: i64, new: i64, swapped: Option<bool>) -> RegisterOp {
    RegisterOp::Cas { expected, new, swapped }
}

/// Tries every order, without any of the search's observations.
pub(crate) fn by_force<M: Model>(model: &M, state: &M::State, left: &[Timed<M::Op>]) -> bool {
    if left.iter().all(|operation| operation.ret.is_none()) {
        return true;
    }
    let first_return = left.iter().filter_map(|operation| operation.ret).min().unwrap();
    (0..left.len()).filter(|&place| left[place].call <= first_return).any(|place| {
        let mut rest = left.to_vec();
        let operation = rest.remove(place);
        model.step(state, &operation.op).is_some_and(|after| by_force(model, &after, &rest))
    })
}

/// Of both kinds in like parts, with swaps and unknown outcomes.
pub(crate) fn registers(seed: u64) -> Vec<Timed<RegisterOp>> {
    let mut chance = Chance::new(seed);
    let (width, values) = (2 + chance.below(16), 2 + chance.below(2));
    (0..3 + chance.below(6) as usize)
        .map(|id| {
            let call = chance.below(20);
            let answered = !chance.one_in(4);
            let value = chance.below(values) as i64;
            let op = match chance.below(6) {
                0..=2 if answered => {
                    RegisterOp::Read(if value == 0 && chance.one_in(2) { None } else { Some(value) })
                }
                5 => cas(value, chance.below(values) as i64, answered.then(|| chance.one_in(2))),
                _ => RegisterOp::Write(value),
            };
            timed(id, call, answered.then(|| call + chance.below(width)), op)
        })
        .collect()
}

/// Operations in time, each with the moment it takes effect: `(id, call, ret, effect)`, by effect.
fn moments(chance: &mut Chance, unknown: bool) -> Vec<(usize, u64, Option<u64>, u64)> {
    let width = 2 + chance.below(16);
    let mut moments: Vec<_> = (0..3 + chance.below(6) as usize)
        .map(|id| {
            let call = chance.below(20);
            let ret = call + chance.below(width);
            let effect = call + chance.below(ret - call + 1);
            (id, call, (!unknown || !chance.one_in(4)).then_some(ret), effect)
        })
        .collect();
    moments.sort_by_key(|&(id, _, _, effect)| (effect, id));
    moments
}

/// What a text did; now and then with an answer from before, or without its end.
pub(crate) fn appends(seed: u64) -> Vec<Timed<AppendStep>> {
    let mut chance = Chance::new(seed);
    let (mut text, mut before) = (String::new(), String::new());
    let wrong_one_in = 3 + chance.below(12);
    let mut operations = Vec::new();
    for (id, call, ret, _) in moments(&mut chance, true) {
        let letter = char::from(b'a' + chance.below(3) as u8).to_string();
        let op = match chance.below(7) {
            0 => AppendStep::Put(letter),
            1..=3 => AppendStep::Append(letter),
            _ if ret.is_none() => continue,
            _ if chance.one_in(wrong_one_in) => AppendStep::Get(before.clone()),
            _ if chance.one_in(wrong_one_in) => AppendStep::Get(text.chars().skip(1).collect()),
            _ => AppendStep::Get(text.clone()),
        };
        match &op {
            AppendStep::Get(_) => {}
            AppendStep::Put(put) => (before, text) = (text, put.clone()),
            AppendStep::Append(more) => (before, text) = (text.clone(), text + more),
        }
        operations.push(timed(id, call, ret, op));
    }
    operations
}

/// What two registers did; now and then with an answer from before. Both begin with `initial`.
pub(crate) fn transactions(seed: u64, initial: Option<i64>) -> Vec<Timed<MultiRegisterOp>> {
    let mut chance = Chance::new(seed);
    let wrong_one_in = 3 + chance.below(12);
    let mut held: BTreeMap<&str, Option<i64>> = BTreeMap::from([("x", initial), ("y", initial)]);
    let mut before = held.clone();
    let mut operations = Vec::new();
    for (id, call, ret, _) in moments(&mut chance, true) {
        let seen = if chance.one_in(wrong_one_in) { before.clone() } else { held.clone() };
        let steps: Vec<RegisterStep> = (0..1 + chance.below(2))
            .map(|_| {
                let register = if chance.one_in(2) { "x" } else { "y" };
                if chance.one_in(2) {
                    let value = chance.below(3) as i64;
                    before.insert(register, held[register]);
                    held.insert(register, Some(value));
                    RegisterStep::Write { register: register.to_owned(), value }
                } else {
                    let value = ret.map(|_| seen[register]);
                    RegisterStep::Read { register: register.to_owned(), value }
                }
            })
            .collect();
        operations.push(timed(id, call, ret, MultiRegisterOp(steps)));
    }
    operations
}
