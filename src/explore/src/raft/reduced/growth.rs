//! Why a walk does not end: which of the parts grow, level by level, and which fields of the members.

use super::parts::Parts;
use crate::raft::Node;
use seatrial_raft::Role;
use std::collections::BTreeSet;
use std::fmt::{self, Debug, Write};

/// How many of each part there were when a level began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) counts: [u32; 7],
}

const PARTS: [&str; 7] = ["worlds", "members", "cores", "letters", "said", "rests", "pairs"];

impl Row {
    pub(super) fn of(parts: &Parts, worlds: usize) -> Self {
        let counts = [
            worlds,
            parts.members.len(),
            parts.nodes.len(),
            parts.letters.len(),
            parts.said.len(),
            parts.rests.len(),
            parts.pairs.len(),
        ];
        Self { counts: counts.map(|count| u32::try_from(count).unwrap_or(u32::MAX)) }
    }
}

/// Which parts grew, level by level, and how many values each field of a member has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growth {
    rows: Vec<Row>,
    fields: Vec<(&'static str, usize)>,
}

impl Growth {
    pub(super) fn of(parts: &Parts, rows: &[Row], worlds: usize) -> Self {
        let mut rows = rows.to_vec();
        rows.push(Row::of(parts, worlds));
        let nodes: Vec<&Node> = parts.nodes.iter().map(|one| &one.node).collect();
        let mut fields: Vec<(&'static str, usize)> =
            FIELDS.iter().map(|(name, field)| (*name, distinct(&nodes, field))).collect();
        fields.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
        Self { rows, fields }
    }

    /// The part that grew most over the last level, and by what factor.
    #[must_use]
    pub fn fastest(&self) -> Option<(&'static str, f64)> {
        let [.., before, now] = self.rows.as_slice() else { return None };
        let factor = |at: usize| f64::from(now.counts[at]) / f64::from(before.counts[at].max(1));
        let parts = PARTS.iter().enumerate().skip(1).map(|(at, part)| (*part, factor(at)));
        parts.max_by(|one, two| one.1.total_cmp(&two.1))
    }

    /// How many worlds, and how many of each part they are made of.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, u32)> {
        let last = self.rows.last().map_or([0; 7], |row| row.counts);
        PARTS.into_iter().zip(last).collect()
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>5}", "level")?;
        for part in PARTS {
            write!(f, " {part:>11}")?;
        }
        writeln!(f)?;
        let first = self.rows.len().saturating_sub(12);
        for (level, row) in self.rows.iter().enumerate().skip(first) {
            write!(f, "{level:>5}")?;
            for count in row.counts {
                write!(f, " {count:>11}")?;
            }
            writeln!(f)?;
        }
        if let Some((part, factor)) = self.fastest() {
            writeln!(f, "what grew most over the last level: {part}, {factor:.2} times")?;
        }
        write!(f, "values of the fields of a member:")?;
        for (name, count) in &self.fields {
            write!(f, " {name} {count}")?;
        }
        writeln!(f)
    }
}

type Field = fn(&Node) -> String;

/// Each field as text: it is only counted.
const FIELDS: [(&str, Field); 9] = [
    ("term, vote and leader", |node| {
        said(node.raft.as_ref().map(|raft| (raft.term(), raft.vote(), raft.leader())))
    }),
    ("role", |node| said(node.raft.as_ref().map(|raft| raft.role()))),
    ("log", |node| {
        let Some(raft) = &node.raft else { return String::new() };
        let entries = raft.first_index().0..=raft.last_index().0;
        said(entries.map(|index| raft.entry(index.into()).cloned()).collect::<Vec<_>>())
    }),
    ("commit", |node| said(node.raft.as_ref().map(|raft| (raft.commit(), raft.applied_index())))),
    ("durable index", |node| said(node.raft.as_ref().map(|raft| raft.durable_index()))),
    ("progress of followers", |node| {
        let leader = node.raft.as_ref().filter(|raft| raft.role() == Role::Leader);
        said(leader.map(|raft| raft.progress()))
    }),
    ("disk", |node| said(&node.durable)),
    ("writes under way", |node| said(&node.syncs)),
    ("timers", |node| said(&node.timers)),
];

fn said(value: impl Debug) -> String {
    let mut text = String::new();
    let _ = write!(text, "{value:?}");
    text
}

fn distinct(nodes: &[&Node], field: &Field) -> usize {
    nodes.iter().map(|node| crate::check::fingerprint(&field(node))).collect::<BTreeSet<u64>>().len()
}
