//! What can be checked of a history without replaying it: its form, and its order against real time.

use crate::op::{Action, Answer, History, Input, Operation, name, seconds};
use crate::revisions::Final;
use crate::verdict::{Rule, Violation};
use std::collections::BTreeMap;

/// Contradictions within single operations and within one client.
pub(crate) fn well_formed(history: &History) -> Result<(), Violation> {
    let malformed = |place: usize, why: String| {
        let sentence = format!("{} {why}", name(history, place));
        let at = history.operations[place].ret;
        Err(Violation::new(Rule::Malformed, sentence).operations([place]).at(at))
    };
    for (place, operation) in history.operations.iter().enumerate() {
        match operation.ret {
            Some(ret) if ret < operation.call => return malformed(place, "ended before it began".to_owned()),
            None if operation.outcome.answered().is_some() => {
                return malformed(place, "has an answer but no time of it".to_owned());
            }
            _ => {}
        }
        let Some((revision, answer)) = operation.outcome.answered() else { continue };
        if !fits(&operation.input, answer) {
            return malformed(place, format!("was answered as if it were something else: {answer}"));
        }
        if let Some(kv) = answer.kvs().find(|kv| kv.mod_revision > revision) {
            let sentence = format!(
                "{} answered at revision {revision}, yet carries {kv} from the future",
                name(history, place)
            );
            let rule =
                if operation.input.is_serializable() { Rule::SerializableRead } else { Rule::WrongAnswer };
            return Err(Violation::new(rule, sentence)
                .operations([place])
                .at(operation.ret)
                .revision(revision));
        }
    }
    for places in by_client(history).values() {
        for pair in places.windows(2) {
            let (before, after) = (&history.operations[pair[0]], &history.operations[pair[1]]);
            if before.ret.is_some_and(|ret| ret > after.call) {
                let sentence =
                    format!("{} began while {} was open", name(history, pair[1]), name(history, pair[0]));
                let at = Some(after.call);
                return Err(Violation::new(Rule::Malformed, sentence).operations([pair[0], pair[1]]).at(at));
            }
        }
    }
    Ok(())
}

fn by_client(history: &History) -> BTreeMap<u32, Vec<usize>> {
    let mut clients: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (place, operation) in history.operations.iter().enumerate() {
        clients.entry(operation.client).or_default().push(place);
    }
    for places in clients.values_mut() {
        // An operation that took no time at all comes before one that began at the same instant.
        places.sort_by_key(|&place| {
            let operation = &history.operations[place];
            (operation.call, operation.ret.unwrap_or(u64::MAX), place)
        });
    }
    clients
}

/// Whether an answer has the form that belongs to the input.
fn fits(input: &Input, answer: &Answer) -> bool {
    match (input, answer) {
        (Input::Get(_), Answer::Get(_))
        | (Input::Put(_), Answer::Put)
        | (Input::Delete(_), Answer::Delete { .. }) => true,
        (Input::Txn(txn), Answer::Txn { succeeded, results }) => {
            let branch = if *succeeded { &txn.then } else { &txn.otherwise };
            branch.len() == results.len()
                && branch.iter().zip(results).all(|pair| {
                    matches!(
                        pair,
                        (Action::Get(_), Answer::Get(_))
                            | (Action::Put(_), Answer::Put)
                            | (Action::Delete(_), Answer::Delete { .. })
                    )
                })
        }
        _ => false,
    }
}

/// One answered operation, as the sweep over real time sees it.
#[derive(Clone, Copy)]
struct Answered {
    place: usize,
    call: u64,
    ret: u64,
    revision: i64,
    changed: bool,
    serializable: bool,
}

/// Revisions never go back in real time.
///
/// An answer of revision r proves, even where it came from a member's own state, that r was committed by
/// then. So whatever begins later and is linearizable sees at least r, and writes above it. Two operations
/// of different clients that touch at one instant count as concurrent; those of one client do not.
pub(crate) fn real_time(history: &History, finale: &Final) -> Result<(), Violation> {
    let mut by_call: Vec<Answered> = Vec::new();
    for (place, operation) in history.operations.iter().enumerate() {
        if let (Some((revision, answer)), Some(ret)) = (operation.outcome.answered(), operation.ret) {
            by_call.push(Answered {
                place,
                call: operation.call,
                ret,
                revision,
                changed: answer.changed(),
                serializable: operation.input.is_serializable(),
            });
        }
    }
    let mut by_ret = by_call.clone();
    by_call.sort_by_key(|answered| (answered.call, answered.place));
    by_ret.sort_by_key(|answered| (answered.ret, answered.place));
    let mut newest: Option<Answered> = None;
    let mut ended = by_ret.iter().peekable();
    for operation in &by_call {
        while let Some(before) = ended.next_if(|before| before.ret < operation.call) {
            if newest.is_none_or(|newest| newest.revision < before.revision) {
                newest = Some(*before);
            }
        }
        if let Some(before) = &newest {
            in_order(history, before, operation)?;
        }
        let base = history.initial.revision;
        if operation.revision < base || (operation.changed && operation.revision == base) {
            let sentence = format!(
                "{} answered with revision {}, though the store began at {base}",
                name(history, operation.place),
                operation.revision
            );
            return Err(Violation::new(Rule::RealTime, sentence)
                .operations([operation.place])
                .at(Some(operation.ret))
                .revision(operation.revision));
        }
    }
    same_client(history, &by_call)?;
    durable(history, finale, &by_ret)
}

/// Neighbours of one client, which the sweep treats as concurrent where they touch.
fn same_client(history: &History, by_call: &[Answered]) -> Result<(), Violation> {
    let mut last: BTreeMap<u32, Answered> = BTreeMap::new();
    let mut ordered = by_call.to_vec();
    ordered.sort_by_key(|answered| (answered.call, answered.ret, answered.place));
    for operation in &ordered {
        let client = history.operations[operation.place].client;
        if let Some(before) = last.insert(client, *operation)
            && before.ret == operation.call
        {
            in_order(history, &before, operation)?;
        }
    }
    Ok(())
}

fn in_order(history: &History, before: &Answered, after: &Answered) -> Result<(), Violation> {
    let fine = after.serializable
        || after.revision > before.revision
        || (after.revision == before.revision && !after.changed);
    if fine {
        return Ok(());
    }
    let (first, second) = (name(history, before.place), name(history, after.place));
    let verb = if after.changed { "wrote revision" } else { "read revision" };
    let sentence = format!(
        "{second} {verb} {}, although {first} had already answered with revision {} at {}",
        after.revision,
        before.revision,
        seconds(before.ret)
    );
    Err(Violation::new(Rule::RealTime, sentence)
        .operations([before.place, after.place])
        .at(Some(after.ret))
        .revision(after.revision))
}

/// The final read comes after everything.
fn durable(history: &History, finale: &Final, answered: &[Answered]) -> Result<(), Violation> {
    let Some(state) = &finale.state else { return Ok(()) };
    let base = history.initial.revision;
    if state.revision < base {
        let sentence = format!(
            "the final read found the store at revision {}, though it began at {base}",
            state.revision
        );
        return Err(Violation::new(Rule::Durability, sentence).revision(state.revision));
    }
    let Some(newest) = answered.iter().max_by_key(|answered| (answered.revision, answered.changed)) else {
        return Ok(());
    };
    if newest.revision <= state.revision {
        return Ok(());
    }
    let Operation { ret, .. } = history.operations[newest.place];
    let sentence = format!(
        "{} was answered with revision {}, but the final read found the store at revision {}",
        name(history, newest.place),
        newest.revision,
        state.revision
    );
    let rule = if newest.changed { Rule::Durability } else { Rule::RealTime };
    Err(Violation::new(rule, sentence).operations([newest.place]).at(ret).revision(newest.revision))
}
