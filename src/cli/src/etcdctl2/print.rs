//! What is printed of an answer.

use super::{Fail, Session};
use jiff::Timestamp;
use seatrial_etcd::v2::json;
use seatrial_types::v2::{V2Node, V2Verb};
use seatrial_wire::{V2Told, v2_key};
use serde::Serialize;
use std::io::Write;

/// An answer as Go's client writes it: every field, though it be empty.
#[derive(Serialize)]
struct Shown<'a> {
    action: &'static str,
    node: ShownNode<'a>,
    #[serde(rename = "prevNode")]
    prev: Option<ShownNode<'a>>,
}

#[derive(Serialize)]
struct ShownNode<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dir: bool,
    value: &'a str,
    nodes: Option<Vec<ShownNode<'a>>>,
    #[serde(rename = "createdIndex")]
    created: u64,
    #[serde(rename = "modifiedIndex")]
    modified: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    ttl: i64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl<'a> ShownNode<'a> {
    fn new(node: &'a V2Node) -> Self {
        let when =
            |ns: i64| Timestamp::from_nanosecond(ns.into()).map(|time| time.to_string()).unwrap_or_default();
        Self {
            key: v2_key(&node.path),
            dir: node.dir,
            value: value(node),
            nodes: (!node.nodes.is_empty()).then(|| node.nodes.iter().map(Self::new).collect()),
            created: node.created,
            modified: node.modified,
            expiration: node.expiration_ns.map(when),
            ttl: node.ttl_seconds.unwrap_or(0),
        }
    }
}

fn value(node: &V2Node) -> &str {
    node.value.as_deref().unwrap_or_default()
}

/// An answer in this format; `None` where there is no such format.
pub(super) fn show(told: &V2Told, format: &str) -> Option<String> {
    let event = &told.event;
    let is_deletion = event.verb == V2Verb::Delete;
    Some(match format {
        "simple" => match &event.prev {
            Some(prev) if is_deletion => format!("PrevNode.Value: {}\n", value(prev)),
            None if is_deletion => String::new(),
            _ => format!("{}\n", value(&event.node)),
        },
        "extended" => {
            let node = &event.node;
            let (key, ttl) = (v2_key(&node.path), node.ttl_seconds.unwrap_or(0));
            let mut text =
                format!("Key: {key}\nCreated-Index: {}\nModified-Index: {}\n", node.created, node.modified);
            if let Some(prev) = &event.prev {
                text += &format!("PrevNode.Value: {}\n", value(prev));
            }
            text += &format!("TTL: {ttl}\nIndex: {}\n", told.index);
            if !is_deletion {
                text += &format!("\n{}\n", value(node));
            }
            text
        }
        "json" => {
            let prev = event.prev.as_ref().map(ShownNode::new);
            let node = ShownNode::new(&event.node);
            json(&Shown { action: event.verb.name(), node, prev }) + "\n"
        }
        _ => return None,
    })
}

/// The names in a directory, each on its line.
pub(super) fn list(node: &V2Node, slashes: bool, into: &mut String) {
    for child in &node.nodes {
        *into += v2_key(&child.path);
        *into += if child.dir && slashes { "/\n" } else { "\n" };
        list(child, slashes, into);
    }
}

impl Session<'_> {
    pub(super) fn print(&mut self, told: &V2Told) -> Result<(), Fail> {
        let format = self.output();
        match show(told, &format) {
            Some(text) => self.say(&text),
            None => {
                // The command is done all the same.
                let _ = writeln!(self.err, "Unsupported output format: {format}");
                Ok(())
            }
        }
    }

    /// Directories have no value to be shown.
    pub(super) fn print_dir(&mut self, told: &V2Told) -> Result<(), Fail> {
        if self.output() == "simple" { Ok(()) } else { self.print(told) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seatrial_types::v2::V2Event;

    #[test]
    fn an_answer_is_shown_in_every_format() {
        let node = |value: Option<&str>, modified| V2Node {
            path: "/1/a".to_owned(),
            value: value.map(Into::into),
            modified,
            created: 3,
            ..V2Node::default()
        };
        let event = V2Event {
            verb: V2Verb::Delete,
            node: node(None, 4),
            prev: Some(node(Some("<x>"), 3)),
            refresh: false,
        };
        let told = V2Told { event, index: 4, cluster: String::new() };
        assert_eq!(show(&told, "simple").unwrap(), "PrevNode.Value: <x>\n");
        assert_eq!(
            show(&told, "extended").unwrap(),
            "Key: /a\nCreated-Index: 3\nModified-Index: 4\nPrevNode.Value: <x>\nTTL: 0\nIndex: 4\n"
        );
        assert_eq!(
            show(&told, "json").unwrap(),
            concat!(
                r#"{"action":"delete","node":{"key":"/a","value":"","nodes":null,"createdIndex":3,"modifiedIndex":4},"#,
                r#""prevNode":{"key":"/a","value":"\u003cx\u003e","nodes":null,"createdIndex":3,"modifiedIndex":3}}"#,
                "\n"
            )
        );
        assert_eq!(show(&told, "xml"), None);
    }
}
