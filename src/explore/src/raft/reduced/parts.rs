//! What worlds are made of, each part kept once.

use super::member::Exact;
use super::table::{Memo, Table, mix};
use super::{Bounds, Reductions};
use crate::check::fingerprint;
use crate::raft::Node;
use seatrial_raft::{Entry, Message, ReadId, ReadReady, Timer};
use seatrial_types::{LogIndex, MemberId, Term};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Instead of a part's number: there is none, for a rule was broken.
pub(super) const BROKEN: u32 = u32::MAX;

/// What may still happen in the whole world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Left {
    pub(super) entries: u8,
    pub(super) beats: u8,
    pub(super) reads: u8,
    /// Of anybody; who crashes at all is decided beforehand where orders are left out, see [`Member::crashes`].
    pub(super) crashes: u8,
}

impl Left {
    pub(super) fn packed(self) -> u32 {
        u32::from_le_bytes([self.entries, self.beats, self.reads, self.crashes])
    }

    pub(super) fn unpacked(packed: u32) -> Self {
        let [entries, beats, reads, crashes] = packed.to_le_bytes();
        Self { entries, beats, reads, crashes }
    }
}

/// A member, and what it has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Member {
    /// The number of its [`Cloud`].
    pub(super) cloud: u32,
    pub(super) said: u32,
}

/// The nodes that a member can be, and go back and forth between as it likes: by what it can hear again and again, and by timers that
/// cost nothing. Which of them it is just now makes no difference to what can follow. In the order of their numbers.
pub(super) type Cloud = Box<[u32]>;

/// What is not a member's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Rest {
    pub(super) left: Left,
    pub(super) leaders: BTreeMap<Term, MemberId>,
    /// What was committed: the number of [`Chosen`].
    pub(super) chosen: u32,
    /// Reads that were begun, and up to where everything was committed then.
    pub(super) reads: BTreeMap<ReadId, LogIndex>,
}

pub(super) type Chosen = BTreeMap<LogIndex, Entry>;

/// What a step does to the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Effect {
    pub(super) by: MemberId,
    /// It leads now, in this term.
    pub(super) leads: Option<Term>,
    pub(super) committed: Vec<Entry>,
    pub(super) answered: Vec<ReadReady>,
    pub(super) begins: Option<ReadId>,
    pub(super) spent: Left,
}

impl Effect {
    pub(super) fn is_none(&self) -> bool {
        self.leads.is_none()
            && self.committed.is_empty()
            && self.answered.is_empty()
            && self.begins.is_none()
            && self.spent == Left::default()
    }
}

/// One thing that a member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Act {
    /// This letter arrives.
    Hear(u32),
    Synced,
    Fire(Timer),
    Propose,
    Read,
    /// So many of its writes under way were durable.
    Crash(usize),
    Start,
}

/// What it does, and what comes of it. Where `member` is [`BROKEN`], `effect` is the number of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Move {
    pub(super) act: Act,
    pub(super) member: u32,
    pub(super) effect: u32,
}

/// As [`Move`], by a member of whom nothing is said about what it said before.
#[derive(Clone, Debug)]
pub(super) struct Deed {
    pub(super) act: Act,
    /// Or [`BROKEN`].
    pub(super) node: u32,
    pub(super) effect: u32,
    /// What it says now.
    pub(super) says: Box<[u32]>,
}

/// What comes of letters that a member may hear.
#[derive(Clone, Debug)]
pub(super) struct Spread {
    /// What it can become and be again what it was, by hearing them and by timers.
    pub(super) cloud: Cloud,
    /// What it says on the way.
    pub(super) says: Box<[u32]>,
    /// What hearing leads out of the cloud.
    pub(super) leads_out: Box<[Deed]>,
}

/// Two members as seen together.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    /// Each of them once all was heard that changes nothing but what is said, and what is dead is forgotten.
    pub(super) then: [u32; 2],
    /// What each may hear from the other. Empty unless `then` are these two.
    pub(super) hears: [Box<[Move]>; 2],
    /// Their logs agree as they must.
    pub(super) agree: bool,
}

/// What a member has of what was committed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    /// Which of the entries are on its disk.
    pub(super) holds: u64,
    /// It leads, and lacks none of what earlier terms committed; or it does not lead.
    pub(super) is_complete: bool,
}

/// A result that was needed and is not there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Missing {
    /// What a member does by itself, with so much left.
    Own(u32, u32),
    Pair(u32, u32),
    /// A member under other names: which renaming.
    Renamed(u32, u32),
    RestRenamed(u32, u32),
    /// A rest after an effect.
    After(u32, u32),
    /// A member beside what was committed.
    Judged(u32, u32),
}

/// All of them, and what was worked out of them.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) bounds: Bounds,
    pub(super) cuts: Reductions,
    pub(super) voters: BTreeSet<MemberId>,
    /// The renamings, the one that changes nothing first: where each place goes.
    pub(super) renamings: Vec<Vec<u8>>,
    pub(super) nodes: Table<Exact>,
    pub(super) clouds: Table<Cloud>,
    /// Of each node: the hash of all but the messages that wait for the disk.
    pub(super) bare: Vec<u64>,
    /// Of each node: the hash of what it never has a second time once it was lost. Nodes of one cloud have the same.
    pub(super) gone: Vec<u64>,
    pub(super) letters: Table<Message>,
    /// Sets of letters, by their numbers.
    pub(super) said: Table<Box<[u32]>>,
    pub(super) members: Table<Member>,
    /// Of each member: the same for all its names, and different for others but by accident.
    pub(super) classes: Vec<u64>,
    /// Of each member: what of [`Left`] its own steps depend on.
    pub(super) needs: Vec<u32>,
    /// Of each letter and of each node, its hash under each renaming.
    letter_prints: Vec<Box<[u64]>>,
    node_prints: Vec<Box<[u64]>>,
    pub(super) rests: Table<Rest>,
    pub(super) chosen: Table<Chosen>,
    pub(super) effects: Table<Effect>,
    pub(super) texts: Table<String>,
    /// What a node does when it hears a letter, and by itself with so much left: the only places where the core runs.
    pub(super) heard: Memo<Arc<Deed>>,
    pub(super) did: Memo<Arc<[Deed]>>,
    /// A cloud beside the letters it may hear from one member.
    pub(super) spreads: Memo<Arc<Spread>>,
    node_renamed: Memo<u32>,
    letter_renamed: Memo<u32>,
    pub(super) own: Memo<Box<[Move]>>,
    pub(super) pairs: Memo<Pair>,
    pub(super) renamed: Memo<u32>,
    pub(super) rest_renamed: Memo<u32>,
    pub(super) after: Memo<u32>,
    pub(super) judged: Memo<Judged>,
    /// How often a core was asked.
    pub(super) steps_of_cores: usize,
    /// What was worked out, in order: doing it again gives the same numbers.
    pub(super) log: Vec<Missing>,
}

impl Parts {
    pub(super) fn new(bounds: Bounds, cuts: Reductions) -> Self {
        let mut parts = Self {
            bounds,
            cuts,
            voters: (1..=u64::from(bounds.members)).map(MemberId).collect(),
            renamings: if cuts.symmetry { renamings(bounds.members) } else { renamings(0) },
            nodes: Table::default(),
            clouds: Table::default(),
            bare: Vec::new(),
            gone: Vec::new(),
            letters: Table::default(),
            said: Table::default(),
            members: Table::default(),
            classes: Vec::new(),
            needs: Vec::new(),
            letter_prints: Vec::new(),
            node_prints: Vec::new(),
            rests: Table::default(),
            chosen: Table::default(),
            effects: Table::default(),
            texts: Table::default(),
            heard: Memo::default(),
            did: Memo::default(),
            spreads: Memo::default(),
            node_renamed: Memo::default(),
            letter_renamed: Memo::default(),
            own: Memo::default(),
            pairs: Memo::default(),
            renamed: Memo::default(),
            rest_renamed: Memo::default(),
            after: Memo::default(),
            judged: Memo::default(),
            steps_of_cores: 0,
            log: Vec::new(),
        };
        parts.chosen.keep(Chosen::new());
        parts.effects.keep(Effect::default());
        parts
    }

    pub(super) fn cloud_of(&self, member: u32) -> &[u32] {
        self.clouds.get(self.members.get(member).cloud)
    }

    /// The values that a member can have just now.
    pub(super) fn nodes_of(&self, member: u32) -> impl Iterator<Item = &Exact> + Clone {
        self.cloud_of(member).iter().map(|node| self.nodes.get(*node))
    }

    /// One of them: for what is the same in all.
    pub(super) fn node_of(&self, member: u32) -> &Node {
        &self.nodes.get(self.cloud_of(member)[0]).node
    }

    pub(super) fn said_by(&self, member: u32) -> &[u32] {
        self.said.get(self.members.get(member).said)
    }

    /// The name of a member under a renaming.
    pub(super) fn label(&self, renaming: u32, id: MemberId) -> MemberId {
        let places = &self.renamings[renaming as usize];
        let place = usize::try_from(id.0).ok().and_then(|id| id.checked_sub(1));
        place.and_then(|place| places.get(place)).map_or(id, |to| MemberId(u64::from(*to) + 1))
    }

    pub(super) fn keep_letter(&mut self, message: Message) -> u32 {
        let letter = self.letters.keep(message);
        if letter as usize == self.letter_prints.len() {
            let message = self.letters.get(letter);
            let under = |renaming| fingerprint(&message.relabelled(&|id| self.label(renaming, id)));
            let prints = (0..self.renamings.len() as u32).map(under).map(mix).collect();
            self.letter_prints.push(prints);
        }
        letter
    }

    pub(super) fn keep_node(&mut self, node: Node, crashes: u8) -> u32 {
        let at = self.nodes.keep(Exact { node, crashes });
        if at as usize == self.node_prints.len() {
            let node = &self.nodes.get(at).node;
            let under = |renaming| fingerprint(&node.relabelled(&|id| self.label(renaming, id)));
            let prints =
                (0..self.renamings.len() as u32).map(under).map(|print| mix(print ^ u64::from(crashes)));
            let prints = prints.collect();
            let gone = fingerprint(&gone(node));
            let persists: Vec<&seatrial_raft::Persist> =
                node.syncs.iter().map(|sync| &sync.persist).collect();
            let bare = fingerprint(&(node.id, &node.raft, &node.durable, &node.timers, persists));
            self.bare.push(bare);
            self.node_prints.push(prints);
            self.gone.push(gone);
        }
        at
    }

    pub(super) fn keep_member(&mut self, cloud: Cloud, said: Box<[u32]>) -> u32 {
        let (cloud, said) = (self.clouds.keep(cloud), self.said.keep(said));
        let member = self.members.keep(Member { cloud, said });
        if member as usize == self.classes.len() {
            let class = self.class(member);
            self.classes.push(class);
            let needs = self.needs(member);
            self.needs.push(needs);
        }
        member
    }

    /// The least hash that it has under any names.
    fn class(&self, member: u32) -> u64 {
        if !self.cuts.symmetry {
            return 0;
        }
        let under = |renaming: usize| {
            // Sums: a set under other names is in another order.
            let sum = |numbers: &[u32], prints: &[Box<[u64]>]| {
                let prints = numbers.iter().map(|number| prints[*number as usize][renaming]);
                prints.fold(0, u64::wrapping_add)
            };
            let said = sum(self.said_by(member), &self.letter_prints);
            mix(sum(self.cloud_of(member), &self.node_prints) ^ mix(said))
        };
        (0..self.renamings.len()).map(under).min().unwrap_or_default()
    }

    fn needs(&self, member: u32) -> u32 {
        let all = |is: bool| if is { u8::MAX } else { 0 };
        let of = |node: &Exact| {
            let Some(raft) = &node.node.raft else { return 0 };
            let leads = all(raft.role() == seatrial_raft::Role::Leader);
            Left { entries: leads, beats: leads, reads: leads, crashes: u8::MAX }.packed()
        };
        self.nodes_of(member).fold(0, |needs, node| needs | of(node))
    }

    /// Works out what was needed. Always the same numbers come out of the same needs in the same order.
    pub(super) fn fill(&mut self, missing: Missing) {
        self.log.push(missing);
        match missing {
            Missing::Own(member, left) => {
                let moves = self.own_moves(member, Left::unpacked(left));
                self.own.put(member, left, moves);
            }
            Missing::Pair(one, two) => {
                let pair = self.pair(one, two);
                self.pairs.put(one, two, pair);
            }
            Missing::Renamed(member, renaming) => {
                let nodes: Vec<u32> = self.cloud_of(member).to_vec();
                let mut cloud: Vec<u32> =
                    nodes.into_iter().map(|node| self.rename_node(node, renaming)).collect();
                cloud.sort_unstable();
                let letters: Vec<u32> = self.said_by(member).to_vec();
                let mut said: Vec<u32> =
                    letters.into_iter().map(|letter| self.rename_letter(letter, renaming)).collect();
                said.sort_unstable();
                let renamed = self.keep_member(cloud.into(), said.into());
                self.renamed.put(member, renaming, renamed);
            }
            Missing::RestRenamed(rest, renaming) => {
                let mut other = self.rests.get(rest).clone();
                for leader in other.leaders.values_mut() {
                    *leader = self.label(renaming, *leader);
                }
                let other = self.rests.keep(other);
                self.rest_renamed.put(rest, renaming, other);
            }
            Missing::After(rest, effect) => {
                let after = self.after_effect(rest, effect);
                let after = after.map_or(BROKEN, |rest| self.rests.keep(rest));
                self.after.put(rest, effect, after);
            }
            Missing::Judged(member, chosen) => {
                let judged = self.judge(member, chosen);
                self.judged.put(member, chosen, judged);
            }
        }
    }

    fn rename_node(&mut self, node: u32, renaming: u32) -> u32 {
        if let Some(renamed) = self.node_renamed.get(node, renaming) {
            return *renamed;
        }
        let Exact { node: value, crashes } = self.nodes.get(node);
        let (value, crashes) = (value.relabelled(&|id| self.label(renaming, id)), *crashes);
        let renamed = self.keep_node(value, crashes);
        self.node_renamed.put(node, renaming, renamed);
        renamed
    }

    fn rename_letter(&mut self, letter: u32, renaming: u32) -> u32 {
        if let Some(renamed) = self.letter_renamed.get(letter, renaming) {
            return *renamed;
        }
        let message = self.letters.get(letter).relabelled(&|id| self.label(renaming, id));
        let renamed = self.keep_letter(message);
        self.letter_renamed.put(letter, renaming, renamed);
        renamed
    }

    /// The rest after an effect, or why there is none.
    pub(super) fn after_effect(&mut self, rest: u32, effect: u32) -> Result<Rest, String> {
        let (mut rest, effect) = (self.rests.get(rest).clone(), self.effects.get(effect).clone());
        let id = effect.by;
        let mut chosen = self.chosen.get(rest.chosen).clone();
        rest.left.entries -= effect.spent.entries;
        rest.left.beats -= effect.spent.beats;
        rest.left.reads -= effect.spent.reads;
        rest.left.crashes -= effect.spent.crashes;
        if let Some(read) = effect.begins {
            let committed = chosen.last_key_value().map_or(LogIndex(0), |(index, _)| *index);
            rest.reads.insert(read, committed);
        }
        for read in &effect.answered {
            let must = rest.reads.remove(&read.id).unwrap_or_default();
            if read.index < must {
                let at = read.index;
                return Err(format!(
                    "{id} answers a read as of entry {at}, and {must} was committed when it began"
                ));
            }
        }
        for entry in &effect.committed {
            match chosen.get(&entry.index) {
                Some(other) if other != entry => {
                    let (at, one, two) = (entry.index, other.term, entry.term);
                    return Err(format!(
                        "member {id} applies another entry {at} (of term {two}) than was applied before (of term {one})"
                    ));
                }
                Some(_) => {}
                None => drop(chosen.insert(entry.index, entry.clone())),
            }
        }
        if let Some(term) = effect.leads {
            let first = *rest.leaders.entry(term).or_insert(id);
            if first != id {
                return Err(format!("{first} and {id} both led in term {term}"));
            }
        }
        rest.chosen = self.chosen.keep(chosen);
        Ok(rest)
    }

    fn judge(&self, member: u32, chosen: u32) -> Judged {
        let chosen = self.chosen.get(chosen);
        let mut judged = Judged { holds: u64::MAX, is_complete: true };
        for Exact { node, .. } in self.nodes_of(member) {
            judged.holds &= chosen.iter().enumerate().fold(0, |holds, (at, (index, entry))| {
                holds | u64::from(node.durable.entry(*index) == Some(entry)) << at
            });
            judged.is_complete &= node.missing(chosen).is_none();
        }
        judged
    }
}

/// Terms, votes, logs and disks do not go back and forth.
fn gone(node: &Node) -> impl std::hash::Hash + '_ {
    let raft = node.raft.as_ref().map(|raft| {
        let log = raft.first_index().0..=raft.last_index().0;
        let log: Vec<Option<&Entry>> = log.map(|index| raft.entry(index.into())).collect();
        (raft.term(), raft.vote(), raft.commit(), raft.applied_index(), raft.durable_index(), log)
    });
    (node.id, raft, &node.durable, &node.syncs)
}

/// Every way to give the members each other's names.
pub(super) fn renamings(members: u8) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = vec![Vec::new()];
    for place in 0..members {
        // Put at every place of every shorter one, at the end first: so the first one of all changes nothing.
        all = all
            .into_iter()
            .flat_map(|shorter| {
                (0..=usize::from(place)).rev().map(move |at| {
                    let mut longer = shorter.clone();
                    longer.insert(at, place);
                    longer
                })
            })
            .collect();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renamings_are_all_there_are_and_the_first_one_changes_nothing() {
        for (members, count) in [(0, 1), (1, 1), (2, 2), (3, 6), (4, 24)] {
            let all = renamings(members);
            let different: BTreeSet<_> = all.iter().cloned().collect();
            assert_eq!((all.len(), different.len()), (count, count));
            assert_eq!(all[0], (0..members).collect::<Vec<_>>());
        }
    }
}
