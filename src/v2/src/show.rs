//! Nodes as clients see them.

use crate::node::{Life, Node};
use crate::path::{is_hidden, prefix};
use crate::tree::Tree;
use seatrial_types::v2::V2Node;
use std::ops::Bound;

/// What is left, in whole seconds begun.
pub(crate) fn seconds_left(expiration_ns: i64, wall_ns: i64) -> i64 {
    let left = expiration_ns.saturating_sub(wall_ns);
    left.div_euclid(1_000_000_000) + i64::from(left.rem_euclid(1_000_000_000) > 0)
}

/// How far a listing goes down.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deep {
    /// The node itself.
    Itself,
    /// A directory with what is in it.
    Children,
    /// With everything below.
    All,
}

impl Tree {
    /// The node as it is. With a calendar, also what is left of its time.
    pub(crate) fn show(&self, path: &str, node: &Node, deep: Deep, wall_ns: Option<i64>) -> V2Node {
        let mut shown = V2Node {
            path: path.to_owned(),
            value: node.value.clone(),
            dir: node.is_dir(),
            modified: node.modified,
            created: node.created,
            ..V2Node::default()
        };
        shown_life(&mut shown, node.life, wall_ns);
        if node.is_dir() && deep != Deep::Itself {
            shown.nodes = self.list(path, deep, wall_ns);
        }
        shown
    }

    /// What is in a directory, but for what is hidden.
    pub(crate) fn list(&self, path: &str, deep: Deep, wall_ns: Option<i64>) -> Vec<V2Node> {
        let below = if deep == Deep::All { Deep::All } else { Deep::Itself };
        self.children(path)
            .filter(|(child, _)| !is_hidden(path, child))
            .map(|(child, node)| self.show(child, node, below, wall_ns))
            .collect()
    }

    /// What lies in a directory, hidden or not, in order.
    pub(crate) fn children<'a>(&'a self, path: &str) -> impl Iterator<Item = (&'a str, &'a Node)> {
        let prefix = prefix(path);
        let mut from = Bound::Included(prefix.clone());
        std::iter::from_fn(move || {
            loop {
                let bounds = (from.as_ref(), Bound::Unbounded);
                let (found, node) = self.nodes().range::<_, String>(bounds).next()?;
                let rest = found.strip_prefix(&prefix)?;
                match rest.split_once('/') {
                    // Below a child that was handed out: behind all of that. `0` is the character behind the slash.
                    Some((child, _)) => from = Bound::Included(format!("{prefix}{child}0")),
                    None => {
                        from = Bound::Excluded(found.clone());
                        return Some((found.as_str(), node));
                    }
                }
            }
        })
    }
}

pub(crate) fn shown_life(shown: &mut V2Node, life: Option<Life>, wall_ns: Option<i64>) {
    if let Some(life) = life {
        shown.expiration_ns = Some(life.expiration_ns);
        shown.ttl_seconds = wall_ns.map(|wall_ns| seconds_left(life.expiration_ns, wall_ns));
    }
}
