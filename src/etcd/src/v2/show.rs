//! Answers as clients read them: etcd's JSON, to the letter of Go's encoder.

use jiff::Timestamp;
use seatrial_types::Error;
use seatrial_types::v2::{KEYS, V2Code, V2Error, V2Event, V2Node, V2Verb};
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};
use serde_json::ser::{CompactFormatter, Formatter};
use std::io;

/// The HTTP status that goes with an error.
#[must_use]
pub fn status(code: V2Code) -> u16 {
    match code {
        V2Code::KeyNotFound => 404,
        V2Code::NotAFile | V2Code::DirectoryNotEmpty => 403,
        V2Code::CompareFailed | V2Code::KeyExists => 412,
        V2Code::Unauthorized => 401,
        V2Code::RaftInternal | V2Code::LeaderElection => 500,
        _ => 400,
    }
}

/// What a client of v2 is told where the member could not answer.
#[must_use]
pub fn unavailable(error: &Error) -> V2Error {
    V2Error { code: V2Code::RaftInternal, cause: error.to_string(), index: 0 }
}

/// An error's body.
#[must_use]
pub fn refusal(error: &V2Error) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        error_code: u16,
        message: &'static str,
        #[serde(skip_serializing_if = "str::is_empty")]
        cause: &'a str,
        index: u64,
    }
    let cause = within_keys(&error.cause);
    line(&Body { error_code: error.code.number(), message: error.code.message(), cause, index: error.index })
}

/// Clients know nothing of the space in which their keys lie.
fn within_keys(path: &str) -> &str {
    match path.strip_prefix(KEYS) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ => path,
    }
}

/// An event's body. `wall_ns` is the calendar now, for what is left of the time of what was read.
#[must_use]
pub fn event(event: &V2Event, no_value_on_success: bool, wall_ns: i64) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        action: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<Shown<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        prev_node: Option<Shown<'a>>,
    }
    let is_written =
        matches!(event.verb, V2Verb::Set | V2Verb::Create | V2Verb::Update | V2Verb::CompareAndSwap);
    let is_short = no_value_on_success && is_written;
    let shown = |node| Shown { node, wall_ns };
    line(&Body {
        action: event.verb.name(),
        node: (!is_short).then(|| shown(&event.node)),
        prev_node: event.prev.as_ref().filter(|_| !is_short).map(shown),
    })
}

struct Shown<'a> {
    node: &'a V2Node,
    wall_ns: i64,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let V2Node { path, value, dir, expiration_ns, ttl_seconds, nodes, modified, created } = self.node;
        let mut shown = serializer.serialize_struct("node", 8)?;
        let key = within_keys(path);
        if !key.is_empty() {
            shown.serialize_field("key", key)?;
        }
        if let Some(value) = value.as_deref() {
            shown.serialize_field("value", value)?;
        }
        if *dir {
            shown.serialize_field("dir", &true)?;
        }
        if let Some(expiration) = expiration_ns {
            shown.serialize_field("expiration", &when(*expiration))?;
            let left = ttl_seconds.unwrap_or_else(|| seconds_left(*expiration, self.wall_ns));
            if left != 0 {
                shown.serialize_field("ttl", &left)?;
            }
        }
        if !nodes.is_empty() {
            let nodes: Vec<Shown<'_>> = nodes.iter().map(|node| Shown { node, ..*self }).collect();
            shown.serialize_field("nodes", &nodes)?;
        }
        if *modified != 0 {
            shown.serialize_field("modifiedIndex", modified)?;
        }
        if *created != 0 {
            shown.serialize_field("createdIndex", created)?;
        }
        shown.end()
    }
}

/// In whole seconds begun.
fn seconds_left(expiration_ns: i64, wall_ns: i64) -> i64 {
    let left = expiration_ns.saturating_sub(wall_ns);
    left.div_euclid(1_000_000_000) + i64::from(left.rem_euclid(1_000_000_000) > 0)
}

/// A time since the Unix epoch, as Go writes it in JSON.
///
/// # Panics
/// Never.
#[must_use]
pub fn when(ns: i64) -> String {
    Timestamp::from_nanosecond(ns.into())
        .expect("64 bits of nanoseconds lie between 1677 and 2262")
        .to_string()
}

fn line<T: Serialize>(value: &T) -> String {
    let mut text = json(value);
    text.push('\n');
    text
}

/// JSON as Go's encoder writes it: what means something in HTML is escaped.
///
/// # Panics
/// Where a value cannot be written as JSON, which those of this crate all can.
#[must_use]
pub fn json<T: Serialize + ?Sized>(value: &T) -> String {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Go);
    value.serialize(&mut serializer).expect("text, numbers and lists can be written as JSON");
    String::from_utf8(bytes).expect("JSON is text")
}

struct Go;

impl Formatter for Go {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut from = 0;
        for (at, special) in fragment.char_indices() {
            if matches!(special, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') {
                writer.write_all(&fragment.as_bytes()[from..at])?;
                write!(writer, "\\u{:04x}", special as u32)?;
                from = at + special.len_utf8();
            }
        }
        writer.write_all(&fragment.as_bytes()[from..])
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        escape: serde_json::ser::CharEscape,
    ) -> io::Result<()> {
        use serde_json::ser::CharEscape;
        match escape {
            // Go knows no short form for these.
            CharEscape::Backspace => writer.write_all(b"\\u0008"),
            CharEscape::FormFeed => writer.write_all(b"\\u000c"),
            other => CompactFormatter.write_char_escape(writer, other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn node(path: &str, value: Option<&str>) -> V2Node {
        V2Node {
            path: path.to_owned(),
            value: value.map(Arc::from),
            modified: 4,
            created: 3,
            dir: value.is_none(),
            ..V2Node::default()
        }
    }

    #[test]
    fn a_change_is_shown_with_what_was_there_before() {
        let set = V2Event {
            verb: V2Verb::Set,
            node: node("/1/a", Some("<x>")),
            prev: Some(node("/1/a", Some("y"))),
            refresh: false,
        };
        assert_eq!(
            event(&set, false, 0),
            concat!(
                r#"{"action":"set","node":{"key":"/a","value":"\u003cx\u003e","modifiedIndex":4,"createdIndex":3},"#,
                r#""prevNode":{"key":"/a","value":"y","modifiedIndex":4,"createdIndex":3}}"#,
                "\n"
            )
        );
        assert_eq!(event(&set, true, 0), "{\"action\":\"set\"}\n");
    }

    #[test]
    fn the_root_has_no_name_and_what_runs_out_says_when() {
        let mut child = node("/1/b", Some(""));
        child.expiration_ns = Some(1_500_000_000);
        let root = V2Node { path: "/1".to_owned(), dir: true, nodes: vec![child], ..V2Node::default() };
        let get = V2Event { verb: V2Verb::Get, node: root, prev: None, refresh: false };
        assert_eq!(
            event(&get, false, 200_000_000),
            concat!(
                r#"{"action":"get","node":{"dir":true,"nodes":[{"key":"/b","value":"","#,
                r#""expiration":"1970-01-01T00:00:01.5Z","ttl":2,"modifiedIndex":4,"createdIndex":3}]}}"#,
                "\n"
            )
        );
    }

    #[test]
    fn an_error_names_the_key_as_its_client_does() {
        let error = |cause: &str| V2Error { code: V2Code::KeyNotFound, cause: cause.to_owned(), index: 5 };
        assert_eq!(
            refusal(&error("/1/a")),
            "{\"errorCode\":100,\"message\":\"Key not found\",\"cause\":\"/a\",\"index\":5}\n"
        );
        assert_eq!(refusal(&error("/1")), "{\"errorCode\":100,\"message\":\"Key not found\",\"index\":5}\n");
        assert!(refusal(&error("/10")).contains("\"/10\""));
    }
}
