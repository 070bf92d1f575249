//! Members, what is on its way between them, and what was ever decided.

use super::model::Left;
use super::node::{Node, Output};
use crate::check::fingerprint;
use seatrial_raft::{Body, Entry, Message, Raft, ReadId, Role};
use seatrial_types::{LogIndex, MemberId, Term};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A message on its way, with its hash.
#[derive(Clone, Debug)]
pub struct Letter {
    hash: u64,
    /// What it says.
    pub message: Arc<Message>,
}

impl PartialEq for Letter {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Letter {}

impl Hash for Letter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// All of it. A clone is another future; it shares with the first what does not change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cluster {
    /// The members, in the order of their ids.
    pub nodes: Vec<Arc<Node>>,
    /// What is on its way: in the order of their hashes, for the network knows no order.
    pub letters: Vec<Letter>,
    /// Who led in which term.
    pub leaders: BTreeMap<Term, MemberId>,
    /// What was committed, by whoever said so first.
    pub chosen: Arc<BTreeMap<LogIndex, Entry>>,
    /// Reads that were begun, and up to where everything was committed then.
    pub(super) reads: BTreeMap<ReadId, LogIndex>,
    /// What may still happen.
    pub(super) left: Left,
    /// A rule that was broken by the last step.
    pub(super) broken: Option<Arc<str>>,
}

impl Cluster {
    pub(super) fn new(members: u64, left: Left) -> Self {
        let voters: BTreeSet<MemberId> = (1..=members).map(MemberId).collect();
        let mut cluster = Self {
            nodes: Vec::new(),
            letters: Vec::new(),
            leaders: BTreeMap::new(),
            chosen: Arc::default(),
            reads: BTreeMap::new(),
            left,
            broken: None,
        };
        for id in &voters {
            let (node, output) = Node::fresh(*id, &voters);
            cluster.nodes.push(Arc::new(node));
            cluster.take(*id, output);
        }
        cluster
    }

    /// The members that vote.
    pub(super) fn voters(&self) -> BTreeSet<MemberId> {
        self.nodes.iter().map(|node| node.id).collect()
    }

    /// A member.
    #[must_use]
    pub fn node(&self, id: MemberId) -> &Node {
        &self.nodes[Self::place(id)]
    }

    fn place(id: MemberId) -> usize {
        usize::try_from(id.0).expect("few members") - 1
    }

    /// Changes a member, and takes what comes out of it.
    pub(super) fn change(&mut self, id: MemberId, change: impl FnOnce(&mut Node) -> Output) {
        let place = Self::place(id);
        let node = Arc::make_mut(&mut self.nodes[place]);
        // The core states its invariants itself, by panicking.
        match catch_unwind(AssertUnwindSafe(|| change(node))) {
            Ok(output) => {
                self.take(id, output);
                self.forget_dead_letters(id);
            }
            Err(panic) => {
                self.breaks(stopped(id, &*panic));
            }
        }
    }

    pub(super) fn remove(&mut self, letter: usize) -> Message {
        let letter = self.letters.remove(letter);
        Message::clone(&letter.message)
    }

    pub(super) fn deliver(&mut self, message: Message) {
        let to = message.to;
        if self.node(to).raft.is_none() {
            return;
        }
        // What a core refuses is as good as lost.
        self.change(to, |node| node.input(|raft: &mut Raft| drop(raft.step(message))));
    }

    fn take(&mut self, id: MemberId, output: Output) {
        for message in output.messages {
            let letter = Letter { hash: fingerprint(&message), message: Arc::new(message) };
            let place = self.letters.partition_point(|other| other.hash < letter.hash);
            self.letters.insert(place, letter);
        }
        for read in output.reads {
            let must = self.reads.remove(&read.id).unwrap_or_default();
            if read.index < must {
                let at = read.index;
                self.breaks(format!(
                    "{id} answers a read as of entry {at}, and {must} was committed when it began"
                ));
            }
        }
        for entry in output.committed {
            match self.chosen.get(&entry.index) {
                Some(other) if *other != entry => {
                    let (at, one, two) = (entry.index, other.term, entry.term);
                    self.breaks(format!(
                        "member {id} applies another entry {at} (of term {two}) than was applied before (of term {one})"
                    ));
                }
                Some(_) => {}
                None => drop(Arc::make_mut(&mut self.chosen).insert(entry.index, entry)),
            }
        }
        self.note_leader(id);
    }

    /// An answer of an older term than a member has on its disk can never mean anything to it, and neither can its loss: so it is
    /// taken away at once, or else each place of it in the order would be a future of its own.
    fn forget_dead_letters(&mut self, id: MemberId) {
        let term = self.node(id).durable.hard.term;
        self.letters.retain(|letter| {
            letter.message.to != id || letter.message.term >= term || asks(&letter.message.body)
        });
    }

    /// A client begins to read: it must see all that is committed now.
    pub(super) fn read(&mut self, id: MemberId, read: ReadId) {
        let committed = self.chosen.last_key_value().map_or(LogIndex(0), |(index, _)| *index);
        self.reads.insert(read, committed);
        self.change(id, |node| node.input(|raft: &mut Raft| drop(raft.read_index(read))));
    }

    fn note_leader(&mut self, id: MemberId) {
        let Some(raft) = &self.node(id).raft else { return };
        if raft.role() != Role::Leader {
            return;
        }
        let term = raft.term();
        match self.leaders.get(&term) {
            Some(other) if *other != id => {
                let text = format!("{other} and {id} both led in term {term}");
                self.breaks(text);
            }
            Some(_) => {}
            None => drop(self.leaders.insert(term, id)),
        }
    }

    pub(super) fn breaks(&mut self, text: String) {
        self.broken.get_or_insert_with(|| text.into());
    }

    /// Raft's log matching, leader completeness, and that what was committed is on the disks of a majority.
    pub(super) fn wrong(&self) -> Option<String> {
        if let Some(text) = &self.broken {
            return Some(text.to_string());
        }
        for (at, one) in self.nodes.iter().enumerate() {
            for two in &self.nodes[at + 1..] {
                if let Some(text) = mismatch(one, two) {
                    return Some(text);
                }
            }
        }
        let majority = self.nodes.len() / 2 + 1;
        for (index, entry) in self.chosen.iter() {
            let holds = |node: &&Arc<Node>| node.durable.entry(*index) == Some(entry);
            let holders = self.nodes.iter().filter(holds).count();
            if holders < majority {
                return Some(format!(
                    "entry {index} of term {} was committed and is on {holders} disks",
                    entry.term
                ));
            }
        }
        self.nodes.iter().find_map(|node| {
            let missing = node.missing(&self.chosen)?;
            let term = node.raft.as_ref()?.term();
            Some(format!("{} leads in term {term} without entry {}", node.id, missing.index))
        })
    }
}

/// What a panic says.
pub(super) fn stopped(id: MemberId, panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("member {id} stops: {}", text.unwrap_or("a panic"))
}

/// Whether a message of an older term is answered, so that its sender hears of the newer one.
fn asks(body: &Body) -> bool {
    matches!(
        body,
        Body::PreVote { .. }
            | Body::Vote { .. }
            | Body::Append { .. }
            | Body::Heartbeat { .. }
            | Body::Snapshot { .. }
    )
}

/// Where two logs have an entry of one index and term, they are the same up to there (Raft §5.3).
pub(super) fn mismatch(one: &Node, two: &Node) -> Option<String> {
    let (a, b) = (one.raft.as_ref()?, two.raft.as_ref()?);
    let last = a.last_index().min(b.last_index());
    let mut agree = false;
    let mut index = last;
    while index > LogIndex(0) {
        let (left, right) = (a.entry(index)?, b.entry(index)?);
        if (agree || left.term == right.term) && left != right {
            return Some(format!(
                "the logs of {} and {} differ at entry {index} and agree behind it",
                one.id, two.id
            ));
        }
        agree |= left.term == right.term;
        index = LogIndex(index.0 - 1);
    }
    None
}
