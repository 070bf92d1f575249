//! Histories as JSON lines.
//!
//! The first line is a header, `{"seatrial-history":1,"initial":{"revision":1,"kvs":[]}}`; it may be left
//! out where the store began empty. Every other line is one [`Operation`]:
//!
//! ```json
//! {"client":1,"member":"m2","call":1000,"ret":2500,"input":{"op":"put","key":"a","value":"1"},"outcome":{"is":"ok","revision":2,"result":{"of":"put"}}}
//! {"client":2,"call":1200,"ret":1900,"input":{"op":"get","key":"a"},"outcome":{"is":"ok","revision":1,"result":{"of":"get","kvs":[]}}}
//! {"client":3,"call":1300,"input":{"op":"delete","key":"a"},"outcome":{"is":"unknown","error":"connection lost"}}
//! ```
//!
//! Blank lines are skipped. Unknown fields are refused rather than ignored: a checker that overlooks half
//! of an answer would pass what it never saw.

use crate::op::{History, Operation, Snapshot};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// The version of the format that is written, and the newest that is read.
pub const FORMAT: u32 = 1;

/// A history could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A line is not what the format wants.
    #[error("line {line}, column {column}: {why}")]
    Line {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
        /// What is wrong with it.
        why: String,
    },
    /// Written by a newer version.
    #[error("the history has format {found}; this version reads up to {newest}", newest = FORMAT)]
    Newer {
        /// The version it names.
        found: u32,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    #[serde(rename = "seatrial-history")]
    format: u32,
    #[serde(default)]
    initial: Snapshot,
}

/// Writes a history.
#[must_use]
pub fn to_json_lines(history: &History) -> String {
    let mut out = String::new();
    let header = Header { format: FORMAT, initial: history.initial.clone() };
    push_line(&mut out, &header);
    for operation in &history.operations {
        push_line(&mut out, operation);
    }
    out
}

fn push_line<T: Serialize>(out: &mut String, value: &T) {
    // Plain structs with string keys: serde_json has nothing here that it could refuse.
    let line = serde_json::to_string(value).expect("a history has only string keys and finite numbers");
    writeln!(out, "{line}").expect("a String takes all that is written to it");
}

/// Reads a history.
///
/// # Errors
/// The first line that is not an operation, with its number; or a header of a newer version.
pub fn from_json_lines(text: &str) -> Result<History, ParseError> {
    let mut history = History::default();
    let mut first = true;
    for (place, line) in text.lines().enumerate() {
        let line_error = |error: serde_json::Error| {
            // Of one line it can only say that it is the first; where in it is worth keeping.
            let text = error.to_string();
            let why = text.rsplit_once(" at line ").map_or(text.as_str(), |(why, _)| why).to_owned();
            ParseError::Line { line: place + 1, column: error.column().max(1), why }
        };
        if line.trim().is_empty() {
            continue;
        }
        if first && line.contains("\"seatrial-history\"") {
            let header: Header = serde_json::from_str(line).map_err(line_error)?;
            if header.format > FORMAT {
                return Err(ParseError::Newer { found: header.format });
            }
            history.initial = header.initial;
        } else {
            let operation: Operation = serde_json::from_str(line).map_err(line_error)?;
            history.operations.push(operation);
        }
        first = false;
    }
    Ok(history)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Answer, Found, Input, Kv, Outcome};

    fn sample() -> History {
        let kv = Kv {
            key: vec![0xff].into(),
            value: "v\n".into(),
            mod_revision: 7,
            create_revision: 7,
            version: 1,
        };
        let found = Answer::Get(Found { kvs: vec![kv.clone()], count: Some(1) });
        let outcomes = [
            Outcome::Ok { revision: 8, result: found.clone() },
            Outcome::Ok { revision: 8, result: Answer::Put },
            Outcome::Ok { revision: 8, result: Answer::Txn { succeeded: true, results: vec![found] } },
            Outcome::Failed { error: "no".into() },
            Outcome::Unknown { error: String::new() },
        ];
        let inputs = [
            Input::get_prefix("a"),
            Input::put("a", "b"),
            Input::cas_revision("a", 3, "c"),
            Input::delete("a"),
            Input::cas_value("a", "x", "y"),
        ];
        let operations = inputs
            .into_iter()
            .zip(outcomes)
            .enumerate()
            .map(|(place, (input, outcome))| Operation {
                client: place as u32,
                member: (place == 1).then(|| "m1".to_owned()),
                call: 10,
                ret: (place != 4).then_some(20),
                input,
                outcome,
            })
            .collect();
        History { initial: Snapshot { revision: 7, kvs: vec![kv] }, operations }
    }

    #[test]
    fn a_history_survives_being_written_and_read() {
        let text = to_json_lines(&sample());
        assert_eq!(text.lines().count(), 6, "one line each, and the header: {text}");
        assert_eq!(from_json_lines(&text).unwrap(), sample());
    }

    #[test]
    fn the_lines_of_the_documentation_are_read() {
        let documented: String = include_str!("jsonl.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//! {"))
            .map(|line| format!("{{{line}\n"))
            .collect();
        let history = from_json_lines(&documented).unwrap();
        assert_eq!(history.operations.len(), 3);
        assert_eq!(
            to_json_lines(&history).lines().skip(1).collect::<Vec<_>>(),
            documented.lines().collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_field_nobody_knows_and_a_newer_format_are_refused() {
        let odd = r#"{"client":1,"call":1,"ret":2,"input":{"op":"put","key":"a","value":"1","lease":7},"outcome":{"is":"failed"}}"#;
        let error = from_json_lines(&format!("\n{odd}\n")).unwrap_err();
        assert!(
            matches!(&error, ParseError::Line { line: 2, column: 81, why } if why.contains("lease")),
            "{error}"
        );
        assert_eq!(from_json_lines("{\"seatrial-history\":2}\n"), Err(ParseError::Newer { found: 2 }));
    }
}
