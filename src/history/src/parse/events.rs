//! Events of processes, paired into operations.

use super::edn::{Edn, EdnError, read_all};
use crate::search::{AppendOp, AppendStep, MultiRegisterOp, RegisterOp, RegisterStep, Timed};
use std::collections::BTreeMap;

/// A recording could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not EDN.
    #[error(transparent)]
    Edn(#[from] EdnError),
    /// An event makes no sense.
    #[error("event {event}: {why}")]
    Event {
        /// From 0.
        event: usize,
        /// What is wrong with it.
        why: String,
    },
}

fn wrong(event: usize, why: impl Into<String>) -> ParseError {
    ParseError::Event { event, why: why.into() }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Invoke,
    Ok,
    Fail,
    Info,
}

/// One line of a recording.
struct Event {
    process: u64,
    kind: Kind,
    function: String,
    key: Edn,
    value: Edn,
}

/// An invocation with what became of it.
struct Pair {
    client: u64,
    call: u64,
    function: String,
    key: Edn,
    asked: Edn,
    /// When, how, and with which value; `None`: unknown.
    end: Option<(u64, Kind, Edn)>,
}

/// Jepsen's log of one register with compare-and-swap, as of its runs against etcd (2014).
///
/// There a `:fail :cas` was an answer: the register held something else.
///
/// # Errors
/// A line that is not such an event. Lines that are not `jepsen.util` messages of a process are skipped.
pub fn jepsen_register(text: &str) -> Result<Vec<Timed<RegisterOp>>, ParseError> {
    let mut events = Vec::new();
    for (place, line) in text.lines().enumerate() {
        let Some((_, message)) = line.split_once("jepsen.util - ") else { continue };
        let fields = read_all(message).map_err(|EdnError { why, .. }| EdnError { line: place + 1, why })?;
        if !matches!(fields.first(), Some(Edn::Int(_))) {
            continue;
        }
        let [process, kind, function, value] = &fields[..] else {
            // A time-out's text may follow the value; nothing here needs it.
            match &fields[..] {
                [process, kind, function, value, ..] => {
                    events.push(event(place, process, kind, function, Edn::Nil, value)?);
                    continue;
                }
                _ => return Err(wrong(place, format!("too short: {message:?}"))),
            }
        };
        events.push(event(place, process, kind, function, Edn::Nil, value)?);
    }
    register_operations(pair(events)?, FailedCas::Observed)
}

/// Knossos' EDN of one register with compare-and-swap. `:fail` did not happen.
///
/// # Errors
/// Text that is not EDN, or not such events.
pub fn knossos_register(text: &str) -> Result<Vec<Timed<RegisterOp>>, ParseError> {
    register_operations(pair(edn_events(text)?)?, FailedCas::DidNotHappen)
}

/// Knossos' EDN of transactions on several registers: `:value [[:read :x 1] [:write :y 2]]`.
///
/// # Errors
/// Text that is not EDN, or not such events.
pub fn knossos_multi_register(text: &str) -> Result<Vec<Timed<MultiRegisterOp>>, ParseError> {
    let mut operations = Vec::new();
    for (id, pair) in pair(edn_events(text)?)?.into_iter().enumerate() {
        let (ret, steps, answered) = match &pair.end {
            Some((_, Kind::Fail, _)) => continue,
            Some((at, _, value)) => (Some(*at), value, true),
            None => (None, &pair.asked, false),
        };
        let Edn::List(steps) = steps else {
            return Err(wrong(pair.call as usize, format!("no list: {steps}")));
        };
        let steps: Result<Vec<RegisterStep>, ParseError> =
            steps.iter().map(|step| register_step(pair.call as usize, step, answered)).collect();
        let steps = steps?;
        if !answered && steps.iter().all(|step| matches!(step, RegisterStep::Read { .. })) {
            continue;
        }
        operations.push(Timed { id, client: pair.client, call: pair.call, ret, op: MultiRegisterOp(steps) });
    }
    Ok(operations)
}

/// Text by key with get, put and append, as in Porcupine's tests.
///
/// # Errors
/// Text that is not EDN, or not such events.
pub fn porcupine_kv(text: &str) -> Result<Vec<Timed<AppendOp>>, ParseError> {
    let mut operations = Vec::new();
    for (id, pair) in pair(edn_events(text)?)?.into_iter().enumerate() {
        let call = pair.call as usize;
        let text = |value: &Edn| match value {
            Edn::Text(text) => Ok(text.clone()),
            other => Err(wrong(call, format!("{other} is no text"))),
        };
        let ret = match &pair.end {
            Some((_, Kind::Fail, _)) => continue,
            Some((at, _, _)) => Some(*at),
            None => None,
        };
        let step = match (pair.function.as_str(), &pair.end) {
            ("get", None) => continue,
            ("get", Some((_, _, value))) => AppendStep::Get(Some(text(value)?)),
            ("put", _) => AppendStep::Put(text(&pair.asked)?),
            ("append", _) => AppendStep::Append(text(&pair.asked)?),
            (other, _) => return Err(wrong(call, format!("no operation :{other}"))),
        };
        let op = AppendOp { key: text(&pair.key)?, step };
        operations.push(Timed { id, client: pair.client, call: pair.call, ret, op });
    }
    Ok(operations)
}

fn edn_events(text: &str) -> Result<Vec<Event>, ParseError> {
    let values = read_all(text)?;
    let maps = match &values[..] {
        [Edn::List(maps)] => maps,
        maps => maps,
    };
    let mut events = Vec::new();
    for (place, map) in maps.iter().enumerate() {
        let field = |name: &str| map.get(name).cloned();
        let process = field("process").ok_or_else(|| wrong(place, format!("no :process in {map}")))?;
        // The nemesis and its like are no clients.
        if !matches!(process, Edn::Int(_)) {
            continue;
        }
        let kind = field("type").ok_or_else(|| wrong(place, format!("no :type in {map}")))?;
        let function = field("f").ok_or_else(|| wrong(place, format!("no :f in {map}")))?;
        let (key, value) = (field("key").unwrap_or(Edn::Nil), field("value").unwrap_or(Edn::Nil));
        events.push(event(place, &process, &kind, &function, key, &value)?);
    }
    Ok(events)
}

fn event(
    place: usize,
    process: &Edn,
    kind: &Edn,
    function: &Edn,
    key: Edn,
    value: &Edn,
) -> Result<Event, ParseError> {
    let process = match process {
        Edn::Int(process) if *process >= 0 => *process as u64,
        other => return Err(wrong(place, format!("{other} is no process"))),
    };
    let kind = match kind {
        Edn::Keyword(kind) => match kind.as_str() {
            "invoke" => Kind::Invoke,
            "ok" => Kind::Ok,
            "fail" => Kind::Fail,
            "info" => Kind::Info,
            other => return Err(wrong(place, format!("no type :{other}"))),
        },
        other => return Err(wrong(place, format!("{other} is no type"))),
    };
    let Edn::Keyword(function) = function else {
        return Err(wrong(place, format!("{function} is no function")));
    };
    Ok(Event { process, kind, function: function.clone(), key, value: value.clone() })
}

/// Pairs each completion with the open invocation of its process. The time of an event is its number.
fn pair(events: Vec<Event>) -> Result<Vec<Pair>, ParseError> {
    let mut pairs: Vec<Pair> = Vec::new();
    let mut open: BTreeMap<u64, usize> = BTreeMap::new();
    for (time, event) in events.into_iter().enumerate() {
        if event.kind == Kind::Invoke {
            if open.insert(event.process, pairs.len()).is_some() {
                return Err(wrong(time, format!("process {} begins a second operation", event.process)));
            }
            pairs.push(Pair {
                client: event.process,
                call: time as u64,
                function: event.function,
                key: event.key,
                asked: event.value,
                end: None,
            });
            continue;
        }
        let Some(place) = open.remove(&event.process) else {
            return Err(wrong(time, format!("process {} ends what it did not begin", event.process)));
        };
        let pair = &mut pairs[place];
        if pair.function != event.function {
            let why =
                format!("process {} began :{} and ends :{}", event.process, pair.function, event.function);
            return Err(wrong(time, why));
        }
        if event.kind != Kind::Info {
            pair.end = Some((time as u64, event.kind, event.value));
        }
    }
    Ok(pairs)
}

/// What a failed compare-and-swap says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FailedCas {
    /// The register held another value.
    Observed,
    /// Nothing.
    DidNotHappen,
}

fn register_operations(
    pairs: Vec<Pair>,
    failed_cas: FailedCas,
) -> Result<Vec<Timed<RegisterOp>>, ParseError> {
    let mut operations = Vec::new();
    for (id, pair) in pairs.into_iter().enumerate() {
        let call = pair.call as usize;
        let failed = matches!(pair.end, Some((_, Kind::Fail, _)));
        let op = match pair.function.as_str() {
            "read" => match &pair.end {
                Some((_, Kind::Ok, value)) => RegisterOp::Read(number_or_nil(call, value)?),
                _ => continue,
            },
            "write" if failed => continue,
            "write" => match number_or_nil(call, &pair.asked)? {
                Some(value) => RegisterOp::Write(value),
                None => return Err(wrong(call, "nil is never written")),
            },
            "cas" if failed && failed_cas == FailedCas::DidNotHappen => continue,
            "cas" => match &pair.asked {
                Edn::List(values) => match values[..] {
                    [Edn::Int(expected), Edn::Int(new)] => {
                        let swapped = pair.end.as_ref().map(|(_, kind, _)| *kind == Kind::Ok);
                        RegisterOp::Cas { expected, new, swapped }
                    }
                    _ => return Err(wrong(call, format!("{} is no pair of numbers", pair.asked))),
                },
                other => return Err(wrong(call, format!("{other} is no pair of numbers"))),
            },
            other => return Err(wrong(call, format!("no operation :{other}"))),
        };
        let ret = pair.end.map(|(at, _, _)| at);
        operations.push(Timed { id, client: pair.client, call: pair.call, ret, op });
    }
    Ok(operations)
}

fn number_or_nil(event: usize, value: &Edn) -> Result<Option<i64>, ParseError> {
    match value {
        Edn::Nil => Ok(None),
        Edn::Int(value) => Ok(Some(*value)),
        other => Err(wrong(event, format!("{other} is no number"))),
    }
}

fn register_step(event: usize, step: &Edn, answered: bool) -> Result<RegisterStep, ParseError> {
    let Edn::List(parts) = step else { return Err(wrong(event, format!("{step} is no step"))) };
    match &parts[..] {
        [Edn::Keyword(kind), Edn::Keyword(register), value] if kind == "read" => {
            let value = if answered { Some(number_or_nil(event, value)?) } else { None };
            Ok(RegisterStep::Read { register: register.clone(), value })
        }
        [Edn::Keyword(kind), Edn::Keyword(register), Edn::Int(value)] if kind == "write" => {
            Ok(RegisterStep::Write { register: register.clone(), value: *value })
        }
        _ => Err(wrong(event, format!("{step} is no step"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "INFO  jepsen.util - 0\t:invoke\t:cas\t[1 2]\n\
                       INFO  jepsen.core - something else\n\
                       INFO  jepsen.util - 1\t:invoke\t:write\t1\n\
                       INFO  jepsen.util - 0\t:fail\t:cas\t[1 2]\n\
                       INFO  jepsen.util - 2\t:invoke\t:read\tnil\n\
                       INFO  jepsen.util - 2\t:info\t:read\t:timed-out\n\
                       INFO  jepsen.util - 1\t:info\t:write\t:timed-out\n";

    #[test]
    fn a_refused_swap_is_an_answer_in_jepsens_log_and_nothing_in_knossos_edn() {
        let operations = jepsen_register(LOG).unwrap();
        let cas = RegisterOp::Cas { expected: 1, new: 2, swapped: Some(false) };
        assert_eq!(operations[0], Timed { id: 0, client: 0, call: 0, ret: Some(2), op: cas });
        assert_eq!(operations[1], Timed { id: 1, client: 1, call: 1, ret: None, op: RegisterOp::Write(1) });
        assert_eq!(operations.len(), 2, "an unanswered read says nothing");

        let edn = "[{:process 0 :type :invoke :f :cas :value [1 2]} {:process :nemesis :type :info :f :start}
                    {:process 0 :type :fail :f :cas :value [1 2]}]";
        assert_eq!(knossos_register(edn).unwrap(), []);
    }

    #[test]
    fn texts_by_key_are_read_with_their_answers() {
        let text = "{:process 0, :type :invoke, :f :get, :key \"7\", :value nil}\n\
                    {:process 0, :type :ok, :f :get, :key \"7\", :value \"\"}\n\
                    {:process 0, :type :invoke, :f :append, :key \"7\", :value \"x\"}\n";
        let operations = porcupine_kv(text).unwrap();
        assert_eq!(
            operations[0].op,
            AppendOp { key: "7".into(), step: AppendStep::Get(Some(String::new())) }
        );
        assert_eq!(
            (operations[1].ret, operations[1].op.to_string().as_str()),
            (None, "append \"x\" to \"7\"")
        );
    }

    #[test]
    fn transactions_take_their_values_from_the_answer() {
        let text = "[{:type :invoke :f :txn :value [[:read :x nil] [:write :y 2]] :process 3}
                     {:type :ok :f :txn :value [[:read :x 0] [:write :y 2]] :process 3}
                     {:type :invoke :f :txn :value [[:read :x nil]] :process 4}]";
        let operations = knossos_multi_register(text).unwrap();
        assert_eq!(operations.len(), 1);
        assert_eq!(operations[0].op.to_string(), "read x=0, write y=2");
    }

    #[test]
    fn events_that_do_not_pair_up_are_refused() {
        let invoke = "{:process 0 :type :invoke :f :read :value nil}";
        let ok = "{:process 0 :type :ok :f :read :value 1}";
        for text in [
            format!("{invoke} {invoke}"),
            ok.to_owned(),
            format!("{invoke} {{:process 0 :type :ok :f :write}}"),
        ] {
            assert!(matches!(knossos_register(&text), Err(ParseError::Event { .. })), "{text}");
        }
    }
}
