//! Events of processes, paired into invocations and what became of them.

use super::ReadError;
use super::edn::{Edn, EdnError, line_and_column, read_located};
use std::collections::BTreeMap;

/// What is wrong, at a byte of the text.
#[derive(Debug)]
pub(super) struct Wrong {
    place: Place,
    why: String,
    hint: Option<&'static str>,
}

#[derive(Debug)]
enum Place {
    Byte(usize),
    LineAndColumn(usize, usize),
}

impl Wrong {
    pub(super) fn new(byte: usize, why: impl Into<String>) -> Self {
        Self { place: Place::Byte(byte), why: why.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// Moves what was said of a line to the line's place in the text.
    pub(super) fn on_line(self, line: usize, columns_before: usize) -> Self {
        let column = match self.place {
            Place::Byte(_) => 1,
            Place::LineAndColumn(_, column) => column,
        };
        Self { place: Place::LineAndColumn(line, column + columns_before), ..self }
    }

    pub(super) fn at(self, text: &str) -> ReadError {
        let (line, column) = match self.place {
            Place::Byte(byte) => line_and_column(text, byte),
            Place::LineAndColumn(line, column) => (line, column),
        };
        ReadError { line, column, why: self.why, hint: self.hint.map(str::to_owned) }
    }
}

impl From<EdnError> for Wrong {
    fn from(EdnError { line, column, why }: EdnError) -> Self {
        Self { place: Place::LineAndColumn(line, column), why, hint: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Invoke,
    Ok,
    Fail,
    Info,
}

/// One line of a recording.
#[derive(Debug)]
pub(super) struct Event {
    /// Where it begins in the text.
    pub(super) offset: usize,
    pub(super) process: u64,
    pub(super) kind: Kind,
    pub(super) function: String,
    /// Of logs that name the key beside the value.
    pub(super) key: Option<Edn>,
    pub(super) value: Edn,
    /// Whether an error stands beside the value.
    pub(super) has_error: bool,
}

/// An invocation with what became of it.
#[derive(Debug)]
pub(super) struct Pair {
    /// Where the invocation begins in the text.
    pub(super) offset: usize,
    pub(super) client: u64,
    pub(super) call: u64,
    pub(super) function: String,
    pub(super) key: Option<Edn>,
    pub(super) asked: Edn,
    /// `None`: unknown.
    pub(super) end: Option<End>,
}

/// A completion that says what happened.
#[derive(Debug)]
pub(super) struct End {
    pub(super) offset: usize,
    pub(super) at: u64,
    pub(super) kind: Kind,
    pub(super) value: Edn,
    pub(super) has_error: bool,
}

impl Pair {
    pub(super) fn failed(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.kind == Kind::Fail)
    }

    /// The completion, where it is `:ok`.
    pub(super) fn ok(&self) -> Option<&End> {
        self.end.as_ref().filter(|end| end.kind == Kind::Ok)
    }
}

/// The events in a text of EDN.
pub(super) fn of_edn(text: &str) -> Result<Vec<Event>, Wrong> {
    let mut events = Vec::new();
    for (offset, map) in read_located(text)? {
        let Edn::Map(pairs) = map else {
            return Err(Wrong::new(offset, format!("expected a map {{:process …}}, found {map}")));
        };
        let (mut process, mut kind, mut function, mut key, mut value, mut has_error) =
            (None, None, None, None, Edn::Nil, false);
        for (name, field) in pairs {
            let Edn::Keyword(name) = name else { continue };
            match name.as_str() {
                "process" => process = Some(field),
                "type" => kind = Some(field),
                "f" => function = Some(field),
                "key" => key = Some(field),
                "value" => value = field,
                "error" => has_error = field != Edn::Nil,
                _ => {}
            }
        }
        let missing = |name: &str| Wrong::new(offset, format!("expected a {name} in this map"));
        let process = process.ok_or_else(|| missing(":process"))?;
        // The nemesis and its like are no clients.
        let Edn::Int(process) = process else { continue };
        let kind = kind.ok_or_else(|| missing(":type"))?;
        let function = function.ok_or_else(|| missing(":f"))?;
        events.push(Event { key, has_error, ..event(offset, process, &kind, function, value)? });
    }
    Ok(events)
}

/// An event of these fields, without a key.
pub(super) fn event(
    offset: usize,
    process: i64,
    kind: &Edn,
    function: Edn,
    value: Edn,
) -> Result<Event, Wrong> {
    let process = u64::try_from(process)
        .map_err(|_| Wrong::new(offset, format!("expected a process from 0 on, found {process}")))?;
    let kind = match kind {
        Edn::Keyword(word) if word == "invoke" => Kind::Invoke,
        Edn::Keyword(word) if word == "ok" => Kind::Ok,
        Edn::Keyword(word) if word == "fail" => Kind::Fail,
        Edn::Keyword(word) if word == "info" => Kind::Info,
        other => {
            let why = format!("expected :invoke, :ok, :fail or :info, found {other}");
            return Err(Wrong::new(offset, why));
        }
    };
    let Edn::Keyword(function) = function else {
        return Err(Wrong::new(offset, format!("expected a function such as :read, found {function}")));
    };
    Ok(Event { offset, process, kind, function, key: None, value, has_error: false })
}

/// The line of each event.
pub(super) fn lines(text: &str, events: &[Event]) -> Vec<usize> {
    let (mut line, mut from) = (1, 0);
    let mut lines = Vec::with_capacity(events.len());
    for event in events {
        line += text[from..event.offset].matches('\n').count();
        from = event.offset;
        lines.push(line);
    }
    lines
}

/// Pairs each completion with the open invocation of its process. The time of an event is its number.
pub(super) fn pair(events: Vec<Event>) -> Result<Vec<Pair>, Wrong> {
    let mut pairs: Vec<Pair> = Vec::with_capacity(events.len() / 2);
    let mut open: BTreeMap<u64, usize> = BTreeMap::new();
    for (time, event) in events.into_iter().enumerate() {
        let (offset, process) = (event.offset, event.process);
        if event.kind == Kind::Invoke {
            if open.insert(process, pairs.len()).is_some() {
                let why = format!(
                    "expected what became of the operation that process {process} has open, found a second \
                     :invoke"
                );
                return Err(Wrong::new(offset, why).hint("a process does one thing at a time"));
            }
            pairs.push(Pair {
                offset,
                client: process,
                call: time as u64,
                function: event.function,
                key: event.key,
                asked: event.value,
                end: None,
            });
            continue;
        }
        let Some(place) = open.remove(&process) else {
            let why = format!("expected an :invoke of process {process} before this: it has nothing open");
            return Err(Wrong::new(offset, why).hint("was the head of the file cut off?"));
        };
        let pair = &mut pairs[place];
        if pair.function != event.function {
            let why = format!(
                "expected the end of process {process}'s :{}, found that of a :{}",
                pair.function, event.function
            );
            return Err(Wrong::new(offset, why));
        }
        if event.kind != Kind::Info {
            let Event { kind, value, has_error, .. } = event;
            pair.end = Some(End { offset, at: time as u64, kind, value, has_error });
        }
    }
    Ok(pairs)
}
