//! The general search: is there any order of the operations that agrees with real time and with a model?
//!
//! Wing and Gong's search (JPDC 1993) with Lowe's memory of configurations (2017): a configuration is the
//! set of operations that have been put in order, and the state they lead to; each is tried once. Without
//! recursion, bounded by a [`Budget`]. Five observations cut most of the tree; none changes a verdict:
//!
//! - A read which is allowed next and agrees with its answer is taken at once, without alternatives:
//!   wherever an order has it later, it can as well have it now. (Not so a write of what is there already:
//!   it may be needed later, to undo another.)
//! - An operation of unknown outcome is tried only where it changes the state: otherwise leaving it out does
//!   the same.
//! - Of several equal operations only the one that returns first is tried, and of those of unknown outcome
//!   the one called first: swapping the two turns any order into one that obeys this.
//! - Where the state rules out the next answer to come, and nothing that may come before it can change that,
//!   there is no way on: [`Model::rules_out`].
//! - Operations that never share a key are judged apart (Horn and Kroening 2015): [`Model::keys`].
//!
//! What it does not see: anything the model leaves out, such as revisions in a model of values alone.
//! Operations that touch at one instant count as concurrent.

mod frontier;
mod memo;
mod models;
mod store;
mod story;
mod tell;

pub use models::{
    AppendStep, AppendText, CasRegister, Cell, Cells, MultiRegister, MultiRegisterOp, RegisterOp,
    RegisterStep, Text, Unlisted,
};
pub use store::{EtcdModel, StoreOp, ValueKv, check_exact, check_values};
pub use story::{Spend, Story, explain};
pub use tell::Tell;

pub(crate) use store::spans;

use crate::budget::Budget;
use crate::op::seconds;
use crate::verdict::{Rule, Verdict, Violation};
use memo::Memo;
use std::collections::BTreeMap;
use std::fmt::Display;

/// A sequential object: what its operations do to a state.
pub trait Model {
    /// The states; kept once each, so they may be large, but are compared.
    type State: Clone + Ord + Display;
    /// An operation with its answer, where it has one.
    type Op: Clone + Ord + Display;

    /// The state before the first operation.
    fn initial(&self) -> Self::State;

    /// The state after `op`, or `None` where `op` cannot have given its answer on `state`. An operation
    /// without an answer always has a next state.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State>;

    /// Whether `op`, with the answer it got, leaves every state as it is on which it is possible, but for what
    /// it finds out of the first state; and so whether without it only less is asked of an order.
    fn is_read(&self, op: &Self::Op) -> bool;

    /// Whether `state` shows that `op`, with its answer, is impossible until something happens that
    /// [renews](Model::renews) the state. A search turns back there; so it may say no where it does not know.
    fn rules_out(&self, state: &Self::State, op: &Self::Op) -> bool {
        let _ = (state, op);
        false
    }

    /// Whether `op` may make possible what a state rules out.
    fn renews(&self, op: &Self::Op) -> bool {
        let _ = op;
        true
    }

    /// What `op` touches. Operations without a common key, even through others, are judged apart; `None`
    /// means that it touches everything.
    fn keys(&self, op: &Self::Op) -> Option<Vec<Vec<u8>>> {
        let _ = op;
        None
    }
}

/// An operation in time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Timed<O> {
    /// By which evidence names it, such as its place in a recording.
    pub id: usize,
    /// Who asked; only shown.
    pub client: u64,
    /// When it was asked.
    pub call: u64,
    /// When it was answered; `None`: the outcome is unknown.
    pub ret: Option<u64>,
    /// What, and what came back.
    pub op: O,
}

impl<O: Display> Timed<O> {
    fn name(&self) -> String {
        let until = self.ret.map_or_else(|| "never answered".to_owned(), moment);
        format!("#{} (client {}, {}, {} to {until})", self.id, self.client, self.op, moment(self.call))
    }
}

/// Recordings without clocks count events; nothing that is measured in ns takes place in the first 10 us.
fn moment(time: u64) -> String {
    if time < 10_000 { format!("event {time}") } else { seconds(time) }
}

/// Whether the operations are linearizable. Evidence names them by their ids.
pub fn check<M: Model>(model: &M, operations: &[Timed<M::Op>], budget: Budget) -> Verdict {
    check_while(model, operations, budget, &|| true)
}

/// As [`check`], and unknown once `goes_on` is false: it is asked now and then, and may look at a clock.
pub fn check_while<M: Model>(
    model: &M,
    operations: &[Timed<M::Op>],
    budget: Budget,
    goes_on: &dyn Fn() -> bool,
) -> Verdict {
    if let Some(odd) =
        operations.iter().find(|operation| operation.ret.is_some_and(|ret| ret < operation.call))
    {
        let sentence = format!("{} ended before it began", odd.name());
        return Violation::new(Rule::Malformed, sentence).operations([odd.id]).into();
    }
    let mut unknown = Verdict::Ok;
    let mut steps_left = budget.steps;
    for part in partition(model, operations) {
        let mut search = Search::new(model, operations, &part, Budget { steps: steps_left, ..budget });
        let verdict = search.run(goes_on);
        steps_left = search.steps_left;
        match verdict {
            Verdict::Ok => {}
            Verdict::Violation(_) => return verdict,
            // Another part may still show a violation, which is worth more than not knowing.
            Verdict::Unknown { .. } => unknown = unknown.and(verdict),
        }
    }
    unknown
}

/// Groups of places, each in the order of calls; groups share no key.
fn partition<M: Model>(model: &M, operations: &[Timed<M::Op>]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..operations.len()).collect();
    order.sort_by_key(|&place| (operations[place].call, place));
    let mut parent: Vec<usize> = (0..operations.len()).collect();
    let mut owner: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for &place in &order {
        let Some(keys) = model.keys(&operations[place].op) else { return vec![order] };
        for key in keys {
            let other = *owner.entry(key).or_insert(place);
            let (left, right) = (root(&mut parent, place), root(&mut parent, other));
            parent[left] = right;
        }
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for place in order {
        groups.entry(root(&mut parent, place)).or_default().push(place);
    }
    groups.into_values().collect()
}

fn root(parent: &mut [usize], mut place: usize) -> usize {
    while parent[place] != place {
        parent[place] = parent[parent[place]];
        place = parent[place];
    }
    place
}

/// An end of the list of events, and "no event".
const NONE: u32 = u32::MAX;

struct Search<'a, M: Model> {
    model: &'a M,
    operations: &'a [Timed<M::Op>],
    /// The places judged here, by call; the search speaks of operations by their number in this list.
    part: &'a [usize],
    /// Events in time: `2 * number` is a call, `2 * number + 1` a return. Doubly linked, so that an
    /// operation is lifted out and put back in constant time; the last entry is the head.
    next: Vec<u32>,
    previous: Vec<u32>,
    /// Equal operations have equal classes; those of unknown outcome have their own.
    class: Vec<u32>,
    is_read: Vec<bool>,
    renews: Vec<bool>,
    /// When a class was last met in a walk over the candidates.
    class_met: Vec<u64>,
    walks: u64,
    states: Vec<M::State>,
    state_ids: BTreeMap<M::State, u32>,
    /// `steps[class]`: from state to state, where tried before.
    steps: Vec<Vec<u32>>,
    steps_len: usize,
    /// Which operations are in order so far, as words of bits: the answered ones and, after them, those of
    /// unknown outcome. The answered ones before `low` all are.
    done: Vec<u64>,
    low: usize,
    /// Operations of unknown outcome, by call.
    unknown: Vec<u32>,
    answered_left: usize,
    order: Vec<u32>,
    best: Vec<u32>,
    best_answered_left: usize,
    memo: Memo,
    key: Vec<u64>,
    budget: Budget,
    steps_left: u64,
}

/// A state not tried yet, and a step that is impossible.
const UNTRIED: u32 = u32::MAX;
const IMPOSSIBLE: u32 = u32::MAX - 1;

/// A configuration, on the way down.
struct Frame {
    /// How many operations are in order here, including those taken without alternatives.
    order_len: usize,
    /// Operation and the state it leads to, yet to be tried; last first.
    options: Vec<(u32, u32)>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, operations: &'a [Timed<M::Op>], part: &'a [usize], budget: Budget) -> Self {
        let n = part.len();
        assert!(n < (NONE as usize) / 4, "{n} operations are more than a search can number");
        let answered = |number: usize| operations[part[number]].ret.is_some();
        let mut events: Vec<(u64, bool, u32)> = Vec::with_capacity(2 * n);
        for (number, &place) in part.iter().enumerate() {
            // Calls before returns at one instant: what touches is concurrent.
            events.push((operations[place].call, false, 2 * number as u32));
            if let Some(ret) = operations[place].ret {
                events.push((ret, true, 2 * number as u32 + 1));
            }
        }
        events.sort_unstable();
        let mut next = vec![NONE; 2 * n + 1];
        let mut previous = vec![NONE; 2 * n + 1];
        let mut last = 2 * n as u32;
        for (_, _, event) in events {
            next[last as usize] = event;
            previous[event as usize] = last;
            last = event;
        }
        let mut classes: BTreeMap<(&M::Op, bool), u32> = BTreeMap::new();
        let (mut class, mut is_read, mut renews) = (Vec::with_capacity(n), Vec::new(), Vec::new());
        for (number, &place) in part.iter().enumerate() {
            let fresh = classes.len() as u32;
            class.push(*classes.entry((&operations[place].op, answered(number))).or_insert(fresh));
            if class[number] == fresh {
                is_read.push(model.is_read(&operations[place].op));
                renews.push(model.renews(&operations[place].op));
            }
        }
        let answered_left = (0..n).filter(|&number| answered(number)).count();
        let initial = model.initial();
        Self {
            model,
            operations,
            part,
            next,
            previous,
            is_read,
            renews,
            class_met: vec![0; classes.len()],
            steps: vec![Vec::new(); classes.len()],
            steps_len: 0,
            class,
            walks: 0,
            states: vec![initial.clone()],
            state_ids: BTreeMap::from([(initial, 0)]),
            done: vec![0; n.div_ceil(64)],
            low: 0,
            unknown: (0..n).filter(|&number| !answered(number)).map(|number| number as u32).collect(),
            answered_left,
            order: Vec::with_capacity(n),
            best: Vec::new(),
            best_answered_left: usize::MAX,
            memo: Memo::new(),
            key: Vec::new(),
            budget,
            steps_left: budget.steps,
        }
    }

    fn answered(&self, number: u32) -> bool {
        self.operations[self.part[number as usize]].ret.is_some()
    }

    fn run(&mut self, goes_on: &dyn Fn() -> bool) -> Verdict {
        let mut frames: Vec<Frame> = Vec::new();
        let mut entering = Some(0);
        for turn in 1_u64.. {
            if turn.is_multiple_of(1_024) && !goes_on() {
                return self.unknown("the search was stopped because its time was over");
            }
            if let Some(state) = entering.take() {
                let options = self.enter(state);
                if self.answered_left == 0 {
                    return Verdict::Ok;
                }
                frames.extend(options.map(|options| Frame { order_len: self.order.len(), options }));
            }
            if let Some(verdict) = self.over_budget() {
                return verdict;
            }
            let Some(frame) = frames.last_mut() else { return self.violation() };
            let keep = frame.order_len;
            let option = frame.options.pop();
            while self.order.len() > keep {
                self.put_back();
            }
            match option {
                Some((number, state)) => {
                    self.take(number);
                    entering = Some(state);
                }
                // What the configuration took without alternatives goes back when its parent goes on.
                None => drop(frames.pop()),
            }
        }
        unreachable!("a search ends before a counter of 64 bits does")
    }

    /// Takes all that needs no alternative, then lists what may come next, unless this was tried before.
    fn enter(&mut self, state: u32) -> Option<Vec<(u32, u32)>> {
        let options = self.walk(state);
        if self.best_answered_left > self.answered_left {
            self.best_answered_left = self.answered_left;
            self.best.clone_from(&self.order);
        }
        if self.answered_left == 0 || self.is_dead_end(state) || !self.remember(state) {
            return None;
        }
        Some(options)
    }

    /// Whether the state rules out the next read to be answered, with nothing before it that renews the state.
    fn is_dead_end(&self, state: u32) -> bool {
        let mut event = self.next[2 * self.part.len()];
        while event != NONE {
            let number = event / 2;
            let class = self.class[number as usize] as usize;
            if event.is_multiple_of(2) {
                if self.renews[class] {
                    return false;
                }
            } else if self.is_read[class] {
                let op = &self.operations[self.part[number as usize]].op;
                return self.model.rules_out(&self.states[state as usize], op);
            }
            event = self.next[event as usize];
        }
        false
    }

    /// All calls up to the first return are candidates: whatever is called later comes after the operation
    /// that returns there.
    fn walk(&mut self, state: u32) -> Vec<(u32, u32)> {
        let head = 2 * self.part.len();
        let mut options: Vec<(u32, u32)> = Vec::new();
        'again: loop {
            self.walks += 1;
            options.clear();
            let mut event = self.next[head];
            while event != NONE && event.is_multiple_of(2) {
                let number = event / 2;
                event = self.next[event as usize];
                let class = self.class[number as usize] as usize;
                let answered = self.answered(number);
                let met_before = std::mem::replace(&mut self.class_met[class], self.walks) == self.walks;
                if met_before && !answered {
                    continue;
                }
                let after = self.step(state, number);
                if after == IMPOSSIBLE || (after == state && !answered) {
                    continue;
                }
                if after == state && self.is_read[class] {
                    self.take(number);
                    continue 'again;
                }
                match options
                    .iter_mut()
                    .find(|(other, _)| met_before && self.class[*other as usize] as usize == class)
                {
                    Some(equal) => {
                        let ret = |number: u32| self.operations[self.part[number as usize]].ret;
                        if ret(number) < ret(equal.0) {
                            equal.0 = number;
                        }
                    }
                    None => options.push((number, after)),
                }
            }
            // The last is tried first: answered ones before unknown ones, and what returns first before all.
            options.sort_by_key(|&(number, _)| {
                let ret = self.operations[self.part[number as usize]].ret;
                std::cmp::Reverse((ret.unwrap_or(u64::MAX), number))
            });
            return options;
        }
    }

    fn step(&mut self, state: u32, number: u32) -> u32 {
        let class = self.class[number as usize] as usize;
        let row = &mut self.steps[class];
        if row.len() <= state as usize {
            self.steps_len += state as usize + 1 - row.len();
            row.resize(state as usize + 1, UNTRIED);
        }
        if row[state as usize] != UNTRIED {
            self.steps_left = self.steps_left.saturating_sub(1);
            return row[state as usize];
        }
        self.steps_left = self.steps_left.saturating_sub(4);
        let op = &self.operations[self.part[number as usize]].op;
        let after = match self.model.step(&self.states[state as usize], op) {
            None => IMPOSSIBLE,
            Some(after) => match self.state_ids.get(&after) {
                Some(&id) => id,
                None => {
                    let id = self.states.len() as u32;
                    assert!(id < IMPOSSIBLE, "{id} states are more than a search can number");
                    self.states.push(after.clone());
                    self.state_ids.insert(after, id);
                    id
                }
            },
        };
        self.steps[class][state as usize] = after;
        after
    }

    /// Whether the configuration is new. What is certain is left out of the key: the answered operations
    /// before the first open one.
    fn remember(&mut self, state: u32) -> bool {
        let from = self.low / 64;
        self.key.clear();
        self.key.push(u64::from(state) << 32 | self.low as u64);
        // The operations of unknown outcome before the words that are kept whole, one by one; their count
        // goes first, so that they and the words cannot be taken for each other.
        self.key.push(0);
        for &number in self.unknown.iter().take_while(|&&number| (number as usize) < from * 64) {
            if self.done[number as usize / 64] & (1 << (number % 64)) != 0 {
                self.key.push(u64::from(number));
            }
        }
        self.key[1] = self.key.len() as u64 - 2;
        self.key.extend_from_slice(&self.done[from.min(self.done.len())..]);
        while self.key.len() > 2 + self.key[1] as usize && self.key.last() == Some(&0) {
            self.key.pop();
        }
        self.memo.insert(&self.key)
    }

    fn take(&mut self, number: u32) {
        self.lift(2 * number);
        if self.answered(number) {
            self.lift(2 * number + 1);
            self.answered_left -= 1;
        }
        self.done[number as usize / 64] |= 1 << (number % 64);
        self.order.push(number);
        self.advance_low();
    }

    fn put_back(&mut self) {
        let number = self.order.pop().expect("something was taken");
        if self.answered(number) {
            self.lower(2 * number + 1);
            self.answered_left += 1;
            self.low = self.low.min(number as usize);
        }
        self.lower(2 * number);
        self.done[number as usize / 64] &= !(1 << (number % 64));
    }

    /// `low` steps over answered operations that are in order, and over those of unknown outcome.
    fn advance_low(&mut self) {
        while self.low < self.part.len()
            && (self.done[self.low / 64] & (1 << (self.low % 64)) != 0 || !self.answered(self.low as u32))
        {
            self.low += 1;
        }
    }

    fn lift(&mut self, event: u32) {
        let (previous, next) = (self.previous[event as usize], self.next[event as usize]);
        self.next[previous as usize] = next;
        if next != NONE {
            self.previous[next as usize] = previous;
        }
    }

    /// Undoes the lift of the same event; lifts are undone in the opposite order.
    fn lower(&mut self, event: u32) {
        let (previous, next) = (self.previous[event as usize], self.next[event as usize]);
        self.next[previous as usize] = event;
        if next != NONE {
            self.previous[next as usize] = event;
        }
    }

    fn over_budget(&self) -> Option<Verdict> {
        let tables = self.steps_len * 4;
        let states = self.states.len() * (size_of::<M::State>() * 2 + 64);
        let used = self.memo.bytes() + tables + states;
        let why = if self.steps_left == 0 {
            format!("the search was stopped after {} steps", self.budget.steps)
        } else if used > self.budget.memo_bytes {
            format!("the search was stopped at {} MiB of memory", self.budget.memo_bytes >> 20)
        } else {
            return None;
        };
        Some(self.unknown(&why))
    }

    fn unknown(&self, why: &str) -> Verdict {
        let answered = self.part.len() - self.unknown.len();
        let ordered = answered - self.best_answered_left.min(answered);
        let why = format!(
            "{why}, with at most {ordered} of {answered} operations in order: neither shown nor refuted"
        );
        Verdict::Unknown { why }
    }

    /// The longest order found, and the operation that found no place in it.
    fn violation(&self) -> Verdict {
        let operation = |number: u32| &self.operations[self.part[number as usize]];
        let mut state = 0;
        let mut in_order = vec![false; self.part.len()];
        for &number in &self.best {
            state = self.steps[self.class[number as usize] as usize][state as usize];
            in_order[number as usize] = true;
        }
        let blocked = (0..self.part.len() as u32)
            .filter(|&number| !in_order[number as usize] && self.answered(number))
            .min_by_key(|&number| (operation(number).ret, number))
            .expect("a violation leaves an answered operation over");
        let answered = self.part.len() - self.unknown.len();
        let last = self.best.last().map(|&number| format!(", the last of them {}", operation(number).name()));
        let sentence = format!(
            "{} finds no place: {} of {answered} answered operations can be put in order{}, and the state is \
             then {}; no order gets further",
            operation(blocked).name(),
            answered - self.best_answered_left,
            last.unwrap_or_default(),
            self.states[state as usize]
        );
        let evidence = self.best.last().copied().into_iter().chain([blocked]);
        Violation::new(Rule::NotLinearizable, sentence)
            .operations(evidence.map(|number| operation(number).id))
            .at(operation(blocked).ret)
            .into()
    }
}
