//! Operations of a model, made of events.

use super::Part;
use super::edn::Edn;
use super::events::{Pair, Wrong};
use crate::search::{AppendStep, MultiRegister, MultiRegisterOp, RegisterOp, RegisterStep, Timed, Unlisted};
use std::collections::BTreeMap;

/// What a `:fail` of a compare-and-swap says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedCas {
    /// The register held another value.
    Mismatch,
    /// It did not happen, for whatever reason.
    Nothing,
}

/// What registers hold before the first operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Initial {
    /// One register: nil. Several: whatever makes the history linearizable.
    #[default]
    NotTold,
    /// All of them this.
    All(Option<i64>),
    /// Those named, this; all others nil.
    Named(BTreeMap<String, i64>),
}

impl Initial {
    /// For a model with one register.
    pub(super) fn single(&self) -> Result<Option<i64>, String> {
        match self {
            Self::NotTold => Ok(None),
            Self::All(value) => Ok(*value),
            Self::Named(_) => {
                Err("the registers of the model cas-register have no names: expected one initial value"
                    .to_owned())
            }
        }
    }
}

/// Reads, writes and swaps; of one register, or where values are `[key value]`, of one for each key.
pub(super) fn registers(pairs: &[Pair], failed_cas: FailedCas) -> Result<Vec<Part<RegisterOp>>, Wrong> {
    let keyed = pairs.iter().find_map(is_keyed).unwrap_or(false);
    let mut parts: BTreeMap<Option<&Edn>, Vec<Timed<RegisterOp>>> = BTreeMap::new();
    for (id, pair) in pairs.iter().enumerate() {
        let (key, asked) = if keyed { split(pair.offset, &pair.asked)? } else { (None, &pair.asked) };
        let key = pair.key.as_ref().or(key);
        let op = match pair.function.as_str() {
            "read" => match pair.ok() {
                Some(end) => {
                    let (read_key, value) =
                        if keyed { split(end.offset, &end.value)? } else { (None, &end.value) };
                    if keyed && read_key != key {
                        return Err(Wrong::new(
                            end.offset,
                            "expected the key that was asked for, found another",
                        ));
                    }
                    RegisterOp::Read(number_or_nil(end.offset, value)?)
                }
                None => continue,
            },
            "write" if pair.failed() => continue,
            "write" => match number_or_nil(pair.offset, asked)? {
                Some(value) => RegisterOp::Write(value),
                None => return Err(Wrong::new(pair.offset, "expected a number to write, found nil")),
            },
            "cas" => {
                let swapped = match &pair.end {
                    // An error says that something else went wrong than the comparison.
                    Some(end) if pair.failed() && (failed_cas == FailedCas::Nothing || end.has_error) => {
                        continue;
                    }
                    Some(_) => Some(!pair.failed()),
                    None => None,
                };
                match asked {
                    Edn::List(values) => match values[..] {
                        [Edn::Int(expected), Edn::Int(new)] => RegisterOp::Cas { expected, new, swapped },
                        _ => return Err(not_a_swap(pair.offset, asked)),
                    },
                    other => return Err(not_a_swap(pair.offset, other)),
                }
            }
            other => {
                return Err(unknown_function(pair.offset, other, "cas-register", ":read, :write or :cas"));
            }
        };
        parts.entry(key).or_default().push(timed(id, pair, op));
    }
    Ok(named(parts))
}

fn timed<O>(id: usize, pair: &Pair, op: O) -> Timed<O> {
    Timed { id, client: pair.client, call: pair.call, ret: pair.end.as_ref().map(|end| end.at), op }
}

fn named<O>(parts: BTreeMap<Option<&Edn>, Vec<Timed<O>>>) -> Vec<Part<O>> {
    let name = |key: &Edn| match key {
        Edn::Text(text) => text.clone(),
        other => other.to_string(),
    };
    parts.into_iter().map(|(key, operations)| Part { key: key.map(name), operations }).collect()
}

/// Whether the operation's value has a key before it; `None` where that cannot be seen.
fn is_keyed(pair: &Pair) -> Option<bool> {
    match (pair.function.as_str(), &pair.asked) {
        ("cas", Edn::List(values)) => Some(matches!(&values[..], [_, Edn::List(swap)] if swap.len() == 2)),
        ("read" | "write", Edn::List(values)) => Some(values.len() == 2),
        ("read" | "write", _) => Some(false),
        _ => None,
    }
}

fn split(offset: usize, value: &Edn) -> Result<(Option<&Edn>, &Edn), Wrong> {
    match value {
        Edn::List(values) if values.len() == 2 => Ok((Some(&values[0]), &values[1])),
        other => Err(Wrong::new(
            offset,
            format!("expected [key value], as the operations before have it, found {other}"),
        )),
    }
}

fn number_or_nil(offset: usize, value: &Edn) -> Result<Option<i64>, Wrong> {
    match value {
        Edn::Nil => Ok(None),
        Edn::Int(value) => Ok(Some(*value)),
        other => Err(Wrong::new(offset, format!("expected a whole number or nil, found {other}"))),
    }
}

fn not_a_swap(offset: usize, value: &Edn) -> Wrong {
    Wrong::new(offset, format!("expected [old new] with two whole numbers, found {value}"))
}

fn unknown_function(offset: usize, function: &str, model: &str, expected: &str) -> Wrong {
    Wrong::new(offset, format!("expected {expected} of the model {model}, found :{function}"))
        .hint("--model names another model; docs/check-history.md lists the operations of each")
}

/// Transactions: `[[:r :x nil] [:w :y 2]]`, also with `:read` and `:write`.
pub(super) fn transactions(pairs: &[Pair]) -> Result<Vec<Timed<MultiRegisterOp>>, Wrong> {
    let mut operations = Vec::new();
    for (id, pair) in pairs.iter().enumerate() {
        if pair.function != "txn" {
            return Err(unknown_function(pair.offset, &pair.function, "multi-register", ":txn"));
        }
        if pair.failed() {
            continue;
        }
        let (offset, list) = pair.ok().map_or((pair.offset, &pair.asked), |end| (end.offset, &end.value));
        let Edn::List(list) = list else {
            return Err(Wrong::new(
                offset,
                format!("expected a list of [:r name value] and [:w name value], found {list}"),
            ));
        };
        let answered = pair.ok().is_some();
        let steps: Vec<RegisterStep> =
            list.iter().map(|step| register_step(offset, step, answered)).collect::<Result<_, _>>()?;
        if !answered && steps.iter().all(|step| matches!(step, RegisterStep::Read { .. })) {
            continue;
        }
        operations.push(timed(id, pair, MultiRegisterOp(steps)));
    }
    Ok(operations)
}

fn register_step(offset: usize, step: &Edn, answered: bool) -> Result<RegisterStep, Wrong> {
    let odd = || Wrong::new(offset, format!("expected [:r name value] or [:w name value], found {step}"));
    let Edn::List(parts) = step else { return Err(odd()) };
    let [Edn::Keyword(kind), name, value] = &parts[..] else { return Err(odd()) };
    let register = match name {
        Edn::Keyword(name) | Edn::Text(name) => name.clone(),
        Edn::Int(name) => name.to_string(),
        _ => return Err(odd()),
    };
    match (kind.as_str(), value) {
        ("r" | "read", value) => {
            let value = if answered { Some(number_or_nil(offset, value)?) } else { None };
            Ok(RegisterStep::Read { register, value })
        }
        ("w" | "write", Edn::Int(value)) => Ok(RegisterStep::Write { register, value: *value }),
        ("append", _) => Err(Wrong::new(offset, "expected reads and writes of registers, found :append")
            .hint("transactions that append to lists are not judged here")),
        _ => Err(odd()),
    }
}

/// The registers of these operations as they are at first, and a word on it where nobody told.
pub(super) fn multi_register(
    told: &Initial,
    operations: &[Timed<MultiRegisterOp>],
) -> (MultiRegister, Option<String>) {
    let names = || operations.iter().flat_map(|operation| &operation.op.0).map(RegisterStep::register);
    let (initial, others, note) = match told {
        Initial::Named(values) => (values.clone(), Unlisted::Nil, None),
        Initial::All(None) => (BTreeMap::new(), Unlisted::Nil, None),
        Initial::All(Some(value)) => {
            (names().map(|name| (name.clone(), *value)).collect(), Unlisted::Nil, None)
        }
        Initial::NotTold => {
            let note =
                "what registers held at first is not told: any value was accepted (--initial tells it)";
            (BTreeMap::new(), Unlisted::Anything, Some(note.to_owned()))
        }
    };
    (MultiRegister { initial, others }, note)
}

/// Gets, puts and appends, for each key.
pub(super) fn appends(pairs: &[Pair]) -> Result<Vec<Part<AppendStep>>, Wrong> {
    let text = |offset: usize, value: &Edn| match value {
        Edn::Text(text) => Ok(text.clone()),
        other => Err(Wrong::new(offset, format!("expected a text in quotes, found {other}"))),
    };
    let mut parts: BTreeMap<Option<&Edn>, Vec<Timed<AppendStep>>> = BTreeMap::new();
    for (id, pair) in pairs.iter().enumerate() {
        let step = match (pair.function.as_str(), pair.ok()) {
            ("get" | "put" | "append", _) if pair.failed() => continue,
            ("get", None) => continue,
            ("get", Some(end)) => AppendStep::Get(match &end.value {
                Edn::Nil => String::new(),
                value => text(end.offset, value)?,
            }),
            ("put", _) => AppendStep::Put(text(pair.offset, &pair.asked)?),
            ("append", _) => AppendStep::Append(text(pair.offset, &pair.asked)?),
            (other, _) => {
                return Err(unknown_function(pair.offset, other, "kv-append", ":get, :put or :append"));
            }
        };
        let Some(key) = &pair.key else {
            return Err(Wrong::new(pair.offset, "expected a :key in this map"));
        };
        parts.entry(Some(key)).or_default().push(timed(id, pair, step));
    }
    Ok(named(parts))
}
