//! Answers of the v2 API, read.

use super::client::Answer;
use super::error::V2ClientError;
use http::HeaderMap;
use seatrial_types::v2::{KEYS, V2Code, V2Error, V2Event, V2Node, V2Verb};
use serde::Deserialize;
use std::sync::Arc;

/// An answer of the key space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V2Told {
    /// What happened, or what is there. Paths begin with [`KEYS`].
    pub event: V2Event,
    /// How far the key space was when this was answered, or when the waiting for it began.
    pub index: u64,
    /// The cluster that answered, as it calls itself.
    pub cluster: String,
}

/// The key of a path as clients know it; empty for the root.
#[must_use]
pub fn v2_key(path: &str) -> &str {
    path.strip_prefix(KEYS).filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(path)
}

#[derive(Deserialize)]
struct Event {
    action: String,
    node: Node,
    #[serde(rename = "prevNode")]
    prev: Option<Node>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    #[serde(default)]
    key: String,
    value: Option<String>,
    #[serde(default)]
    dir: bool,
    expiration: Option<String>,
    ttl: Option<i64>,
    #[serde(default)]
    nodes: Option<Vec<Node>>,
    #[serde(default)]
    modified_index: u64,
    #[serde(default)]
    created_index: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refusal {
    error_code: u16,
    #[serde(default)]
    cause: String,
    #[serde(default)]
    index: u64,
}

impl Node {
    fn read(self) -> Result<V2Node, String> {
        let expiration = self.expiration.map(|text| text.parse::<jiff::Timestamp>()).transpose();
        let expiration = expiration.map_err(|error| error.to_string())?;
        let ns = expiration.map(|time| i64::try_from(time.as_nanosecond())).transpose();
        let nodes = self.nodes.unwrap_or_default().into_iter().map(Self::read).collect::<Result<_, _>>()?;
        Ok(V2Node {
            path: format!("{KEYS}{}", self.key),
            value: self.value.map(Arc::from),
            dir: self.dir,
            expiration_ns: ns.map_err(|error| error.to_string())?,
            ttl_seconds: self.ttl,
            nodes,
            modified: self.modified_index,
            created: self.created_index,
        })
    }
}

fn odd(why: impl ToString) -> V2ClientError {
    V2ClientError::Odd { why: why.to_string() }
}

/// One event.
pub(super) fn event(text: &[u8]) -> Result<V2Event, V2ClientError> {
    // serde_json bounds how deep it goes, so a hostile answer cannot overflow the stack.
    let event: Event = serde_json::from_slice(text).map_err(odd)?;
    let verb = V2Verb::of_name(&event.action).ok_or_else(|| odd(format!("action {:?}", event.action)))?;
    let prev = event.prev.map(Node::read).transpose().map_err(odd)?;
    Ok(V2Event { verb, node: event.node.read().map_err(odd)?, prev, refresh: false })
}

/// How far the key space was, by an answer's head; 0 where it does not say.
pub(super) fn index(headers: &HeaderMap) -> u64 {
    let text = headers.get("x-etcd-index").and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

pub(super) fn cluster(headers: &HeaderMap) -> String {
    let text = headers.get("x-etcd-cluster-id").and_then(|value| value.to_str().ok());
    text.unwrap_or_default().to_owned()
}

/// An answer of the key space.
pub(super) fn told(answer: &Answer) -> Result<V2Told, V2ClientError> {
    if !answer.status.is_success() {
        return Err(refusal(&answer.body));
    }
    Ok(V2Told {
        event: event(&answer.body)?,
        index: index(&answer.headers),
        cluster: cluster(&answer.headers),
    })
}

/// Why the key space refused.
pub(super) fn refusal(body: &[u8]) -> V2ClientError {
    let refusal: Refusal = match serde_json::from_slice(body) {
        Ok(refusal) => refusal,
        Err(error) => return odd(error),
    };
    match V2Code::of_number(refusal.error_code) {
        Some(code) => V2ClientError::Refused(V2Error { code, cause: refusal.cause, index: refusal.index }),
        None => odd(format!("error code {}", refusal.error_code)),
    }
}

/// Why something outside the key space was refused.
pub(super) fn status(answer: &Answer) -> V2ClientError {
    #[derive(Deserialize)]
    struct Message {
        message: String,
    }
    let message = serde_json::from_slice::<Message>(&answer.body);
    let message = message.map(|read| read.message);
    let status = answer.status.as_u16();
    message.map_or_else(odd, |message| V2ClientError::Status { status, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_with_what_was_there_before() {
        let text = br#"{"action":"set","node":{"key":"/a","value":"1","expiration":"1970-01-01T00:00:01.5Z","ttl":2,
            "modifiedIndex":4,"createdIndex":4},"prevNode":{"key":"/a","dir":true,"modifiedIndex":3,"createdIndex":3}}"#;
        let event = event(text).unwrap();
        assert_eq!((event.verb, v2_key(&event.node.path), event.index()), (V2Verb::Set, "/a", 4));
        assert_eq!((event.node.expiration_ns, event.node.ttl_seconds), (Some(1_500_000_000), Some(2)));
        assert!(event.prev.unwrap().dir);
    }

    #[test]
    fn what_is_no_answer_of_this_api_is_odd() {
        for text in [&b"404 page not found"[..], b"{}", br#"{"action":"jump","node":{}}"#, b""] {
            assert!(matches!(event(text), Err(V2ClientError::Odd { .. })));
        }
        assert!(matches!(refusal(br#"{"errorCode":999}"#), V2ClientError::Odd { .. }));
        let refused = refusal(br#"{"errorCode":100,"message":"Key not found","cause":"/a","index":7}"#);
        assert_eq!(refused.to_string(), "100: Key not found (/a) [7]");
    }

    #[test]
    fn deep_answers_are_refused_not_followed() {
        let deep = format!("{}{}", r#"{"nodes":["#.repeat(100_000), "]}".repeat(100_000));
        let text = format!(r#"{{"action":"get","node":{deep}}}"#);
        assert!(matches!(event(text.as_bytes()), Err(V2ClientError::Odd { .. })));
    }
}
