//! Lines of Jepsen's log, old and new: `INFO  jepsen.util - 0  :invoke  :read  nil`, the same after
//! `jepsen.util: `, and the bare lines of `history.txt`.

use super::edn::{Edn, EdnError, read_all};
use super::events::{Event, Wrong, event};

/// The event in a line, if the line has one, and the byte at which it begins.
fn message(line: &str) -> Option<(usize, &str)> {
    let begins = |message: &str| {
        let (process, rest) = message.split_once(char::is_whitespace)?;
        let is_process = !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit());
        (is_process && rest.trim_start().starts_with(':')).then_some(())
    };
    for marker in ["jepsen.util - ", "jepsen.util: "] {
        if let Some((before, message)) = line.split_once(marker) {
            let message = message.trim_start();
            return begins(message)
                .map(|()| (line.len() - message.len(), message))
                .filter(|_| !before.is_empty());
        }
    }
    begins(line).map(|()| (0, line))
}

/// The first line with an event.
pub(super) fn first(text: &str) -> Option<&str> {
    text.lines().find(|line| message(line).is_some())
}

/// The events of all lines that have one. What else a log says is passed over.
pub(super) fn events(text: &str) -> Result<Vec<Event>, Wrong> {
    let mut events = Vec::new();
    let mut line_begin = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let begin = line_begin;
        line_begin += line.len();
        let Some((skip, message)) = message(line) else { continue };
        let before = line[..skip].chars().count();
        let offset = begin + skip;
        let fields =
            read_all(message).map_err(|error: EdnError| Wrong::from(error).on_line(number + 1, before))?;
        let mut fields = fields.into_iter();
        let (Some(Edn::Int(process)), Some(kind), Some(function)) =
            (fields.next(), fields.next(), fields.next())
        else {
            let why = "expected process, type, function and value, such as 0 :invoke :read nil";
            return Err(Wrong::new(offset, why));
        };
        let Some(value) = fields.next() else {
            return Err(Wrong::new(
                offset,
                format!("expected a value after {function}, found the end of the line"),
            ));
        };
        let has_error = fields.next().is_some();
        events.push(Event { has_error, ..event(offset, process, &kind, function, value)? });
    }
    Ok(events)
}
