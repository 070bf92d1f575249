//! Histories with revisions: the sentence is that of the checker which is guided by them; here the history is
//! first cut after the answer that cannot be.

use super::words::unique;
use super::{Examined, Line, Told};
use crate::blob::Blob;
use crate::budget::Budget;
use crate::eval::{At, evaluate};
use crate::op::{History, Input, Outcome, seconds};
use crate::replay::within;
use crate::revisions::{Final, explain};
use crate::search::{Spend, check_exact, spans};
use crate::verdict::{Verdict, Violation};

pub(super) fn examine(history: &History, spend: Spend<'_>) -> Examined {
    // These checkers look at no clock; in practice the order of the writes leaves them little to try.
    let steps = spend.budget.steps.min(Budget::default().steps);
    let spend = Spend { budget: Budget { steps, ..spend.budget }, ..spend };
    let verdict = match judge(history, spend) {
        Verdict::Unknown { why } if history.operations.len() < 2_000 => {
            // The search knows another way, which for a short history may be the easier one.
            match check_exact(history, &Final::default(), spend.budget) {
                Verdict::Unknown { .. } => Verdict::Unknown { why },
                other => other,
            }
        }
        verdict => verdict,
    };
    match verdict {
        Verdict::Ok => Examined::Linearizable,
        Verdict::Unknown { why } => Examined::Unknown { why },
        Verdict::Violation(violation) => Examined::NotLinearizable(Box::new(tell(history, violation, spend))),
    }
}

fn judge(history: &History, spend: Spend<'_>) -> Verdict {
    match explain(history, &Final::default(), spend.budget) {
        Ok(_) => Verdict::Ok,
        Err(verdict) => verdict,
    }
}

/// The history as it was known at `end`: what was not answered by then is unknown.
fn known_at(history: &History, end: u64) -> History {
    let mut known = history.clone();
    for operation in &mut known.operations {
        if operation.ret.is_none_or(|ret| ret > end) {
            operation.outcome = Outcome::Unknown { error: String::new() };
        }
    }
    known
}

fn tell(history: &History, violation: Violation, spend: Spend<'_>) -> Told {
    let mut ends: Vec<u64> = history.operations.iter().filter_map(|operation| operation.ret).collect();
    ends.sort_unstable();
    ends.dedup();
    // Invariant: what was known at `ends[fails]` fails; before `fine` nothing does.
    let (mut fine, mut fails, mut found) = (0, ends.len().saturating_sub(1), violation);
    while fine < fails && (spend.goes_on)() {
        let middle = fine + (fails - fine) / 2;
        match judge(&known_at(history, ends[middle]), spend) {
            Verdict::Violation(violation) => (fails, found) = (middle, violation),
            Verdict::Ok | Verdict::Unknown { .. } => fine = middle + 1,
        }
    }
    let Some(&end) = ends.get(fails) else { return Told::bare(None, found.sentence) };
    let answered_then = |place: &usize| {
        history.operations[*place].ret == Some(end) && history.operations[*place].outcome.answered().is_some()
    };
    let culprit = (0..history.operations.len()).find(answered_then).or(found.operations.last().copied());
    let Some(culprit) = culprit else { return Told::bare(None, found.sentence) };
    let line = |place: usize| line(history, place, culprit);
    let touched = spans(&history.operations[culprit].input);
    let (call, ret) = (history.operations[culprit].call, end);
    let is_open = |&place: &usize| {
        let operation = &history.operations[place];
        let shares = spans(&operation.input).iter().any(|one| touched.iter().any(|other| meet(one, other)));
        let certain = !matches!(operation.outcome, Outcome::Failed { .. });
        place != culprit
            && certain
            && shares
            && operation.call <= ret
            && operation.ret.is_none_or(|ended| ended >= call)
    };
    let open = (0..history.operations.len()).filter(is_open).chain([culprit]).map(line).collect();
    let mut small: Vec<Line> =
        unique(found.operations.iter().copied().chain([culprit])).into_iter().map(line).collect();
    small.sort_by_key(|line| line.is_culprit);
    let states = states(history, culprit, end, spend);
    Told {
        key: None,
        sentences: vec![format!("{}.", found.sentence)],
        open,
        states_are_all: !states.is_empty(),
        states,
        small,
        of: history.operations.len(),
    }
}

fn line(history: &History, place: usize, culprit: usize) -> Line {
    let operation = &history.operations[place];
    let member = operation.member.as_ref().map(|member| format!(" at {member}")).unwrap_or_default();
    Line {
        operation: place,
        who: format!("client {}{member}", operation.client),
        what: format!("{}: {}", operation.input, operation.outcome),
        when: match operation.ret {
            Some(ret) => format!("{} to {}", seconds(operation.call), seconds(ret)),
            None => format!("{}, never answered", seconds(operation.call)),
        },
        is_culprit: place == culprit,
    }
}

fn meet(one: &(&Blob, Option<&Blob>), other: &(&Blob, Option<&Blob>)) -> bool {
    within(one.0, other.0, other.1) || within(other.0, one.0, one.1)
}

/// The states between question and answer as all others tell it, and why the answer fits none of them.
fn states(history: &History, culprit: usize, end: u64, spend: Spend<'_>) -> Vec<(String, String)> {
    let mut others = known_at(history, end);
    let operation = &history.operations[culprit];
    let Some((answered, answer)) = operation.outcome.answered() else { return Vec::new() };
    if operation.input.is_serializable() {
        return Vec::new();
    }
    others.operations[culprit].outcome = Outcome::Unknown { error: String::new() };
    let Ok(explained) = explain(&others, &Final::default(), spend.budget) else { return Vec::new() };
    let replay = &explained.replay;
    let from = others
        .operations
        .iter()
        .filter(|other| other.ret.is_some_and(|ret| ret < operation.call))
        .filter_map(|other| Some(other.outcome.answered()?.0))
        .max()
        .unwrap_or(replay.base());
    let mut states: Vec<(String, String)> = Vec::new();
    for revision in from.max(replay.base())..=replay.head() {
        let view = At { replay, revision };
        let done = evaluate(&view, &operation.input, revision + 1);
        let would_be = revision + i64::from(!done.changes.is_empty());
        let why = match (done.expected.agrees(answer), would_be == answered) {
            (false, _) => format!("answered: {answer}"),
            (true, false) => format!("fits, but the answer names revision {answered}, not {would_be}"),
            (true, true) => "fits, but then no order is left for what others were answered".to_owned(),
        };
        states.push((format!("revision {revision}: {}", shown(&view, &operation.input)), why));
    }
    states
}

fn shown(view: &At<'_>, input: &Input) -> String {
    let mut found: Vec<String> = spans(input)
        .into_iter()
        .flat_map(|(key, end)| match end {
            None => view.replay.get(key, view.revision).cloned().into_iter().collect::<Vec<_>>(),
            Some(_) => view.replay.range(key, end, view.revision).cloned().collect(),
        })
        .map(|kv| kv.to_string())
        .collect();
    // A transaction names a key for each comparison and each step.
    found.dedup();
    if found.is_empty() { "nothing there".to_owned() } else { found.join(", ") }
}
