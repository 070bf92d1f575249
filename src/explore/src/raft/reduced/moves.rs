//! What a member does, worked out by its core.

use super::super::cluster::{mismatch, stopped};
use super::super::node::{Node, Output};
use super::dead::{is_dead, may_ask, may_ask_anew};
use super::member::{Exact, Rules, settle};
use super::parts::{Act, BROKEN, Deed, Effect, Left, Move, Pair, Parts, Spread};
use bytes::Bytes;
use seatrial_raft::{Body, Message, Raft, ReadId, Role, Timer};
use seatrial_types::{MemberId, Term};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What a step costs and begins beyond what the member does.
#[derive(Clone, Copy, Default)]
struct Terms {
    /// How often the member will crash at most from then on.
    crashes: u8,
    spent: Left,
    begins: Option<ReadId>,
}

impl Parts {
    /// A member at the beginning, which crashes so often at most.
    pub(super) fn fresh(&mut self, id: MemberId, crashes: u8) -> u32 {
        let (mut node, mut output) = Node::fresh(id, &self.voters);
        settle(&mut node, &mut output, crashes, &self.rules());
        let says: BTreeSet<u32> =
            output.messages.into_iter().map(|message| self.keep_letter(message)).collect();
        let node = self.keep_node(node, crashes);
        self.keep_member(Box::new([node]), says.into_iter().collect())
    }

    fn rules(&self) -> Rules {
        let terms = Term(self.bounds.terms.into());
        Rules { is_eager: self.cuts.order, terms, voters: self.voters.clone() }
    }

    /// Runs the core.
    fn deed(&mut self, node: u32, act: Act, terms: Terms, change: impl FnOnce(&mut Node) -> Output) -> Deed {
        self.steps_of_cores += 1;
        let (was, rules) = (&self.nodes.get(node).node, self.rules());
        let (mut now, id, crashes) = (was.clone(), was.id, terms.crashes);
        // The core states its invariants itself, by panicking.
        let stepped = catch_unwind(AssertUnwindSafe(|| {
            let mut output = change(&mut now);
            settle(&mut now, &mut output, crashes, &rules);
            (now, output)
        }));
        let (now, output) = match stepped {
            Ok(stepped) => stepped,
            Err(panic) => {
                let effect = self.texts.keep(stopped(id, &*panic));
                return Deed { act, node: BROKEN, effect, says: Box::default() };
            }
        };
        let leads =
            |node: &Node| node.raft.as_ref().filter(|raft| raft.role() == Role::Leader).map(Raft::term);
        let effect = Effect {
            by: id,
            leads: leads(&now).filter(|term| Some(*term) != leads(was)),
            committed: output.committed,
            answered: output.reads,
            begins: terms.begins,
            spent: terms.spent,
        };
        let effect = if effect.is_none() { 0 } else { self.effects.keep(effect) };
        let says: BTreeSet<u32> =
            output.messages.into_iter().map(|message| self.keep_letter(message)).collect();
        let node = self.keep_node(now, crashes);
        Deed { act, node, effect, says: says.into_iter().collect() }
    }

    fn did(&mut self, node: u32, left: Left) -> Arc<[Deed]> {
        if let Some(deeds) = self.did.get(node, left.packed()) {
            return Arc::clone(deeds);
        }
        let (value, crashes) = (self.nodes.get(node).node.clone(), self.nodes.get(node).crashes);
        let free = Terms { crashes, ..Terms::default() };
        let mut deeds = Vec::new();
        if let Some(raft) = &value.raft {
            if !value.syncs.is_empty() {
                deeds.push(self.deed(node, Act::Synced, free, Node::synced));
            }
            for timer in &value.timers {
                let (may, beats) = match timer {
                    Timer::LeaderSilent => (true, 0),
                    // Who asks already has asked with the log it has, and would only forget the answers.
                    Timer::Campaign => {
                        let is_asking = self.cuts.order && raft.role() == Role::PreCandidate;
                        (raft.term() < Term(self.bounds.terms.into()) && !is_asking, 0)
                    }
                    Timer::Heartbeat | Timer::QuorumCheck => (left.beats > 0, 1),
                };
                if may {
                    let terms = Terms { spent: Left { beats, ..Left::default() }, ..free };
                    deeds.push(self.deed(node, Act::Fire(*timer), terms, |node| node.fire(*timer)));
                }
            }
            if left.entries > 0 && raft.role() == Role::Leader {
                let data = Bytes::copy_from_slice(&[left.entries]);
                let terms = Terms { spent: Left { entries: 1, ..Left::default() }, ..free };
                deeds.push(self.deed(node, Act::Propose, terms, |node| {
                    node.input(|raft| drop(raft.propose(vec![data])))
                }));
            }
            if left.reads > 0 && raft.role() == Role::Leader {
                let read = ReadId(left.reads.into());
                let spent = Left { reads: 1, ..Left::default() };
                let terms = Terms { spent, begins: Some(read), ..free };
                deeds.push(
                    self.deed(node, Act::Read, terms, |node| node.input(|raft| drop(raft.read_index(read)))),
                );
            }
            let (may_crash, terms) = if self.cuts.order {
                (crashes > 0, Terms { crashes: crashes.saturating_sub(1), ..free })
            } else {
                (left.crashes > 0, Terms { spent: Left { crashes: 1, ..Left::default() }, ..free })
            };
            for kept in (0..=value.syncs.len()).filter(|_| may_crash) {
                deeds.push(self.deed(node, Act::Crash(kept), terms, |node| {
                    node.crash(kept);
                    Output::default()
                }));
            }
        } else {
            let voters = self.voters.clone();
            deeds.push(self.deed(node, Act::Start, free, |node| node.start(&voters)));
        }
        let deeds: Arc<[Deed]> = deeds.into();
        self.did.put(node, left.packed(), Arc::clone(&deeds));
        deeds
    }

    /// A member that hears a letter, which must be there already.
    fn heard(&mut self, node: u32, letter: u32) -> Arc<Deed> {
        if let Some(deed) = self.heard.get(node, letter) {
            return Arc::clone(deed);
        }
        let terms = Terms { crashes: self.nodes.get(node).crashes, ..Terms::default() };
        let message = self.letters.get(letter).clone();
        let deed = Arc::new(self.deed(node, Act::Hear(letter), terms, |node| node.hear(message)));
        self.heard.put(node, letter, Arc::clone(&deed));
        deed
    }

    /// The member after a deed; none where it stays within its cloud.
    fn moved(&mut self, member: u32, deed: &Deed) -> Option<Move> {
        let Deed { act, node, effect, says } = deed;
        if *node == BROKEN {
            return Some(Move { act: *act, member: BROKEN, effect: *effect });
        }
        let is_inside = *effect == 0 && self.cloud_of(member).contains(node);
        let said = union(self.said_by(member), says);
        if is_inside && (self.cuts.order || said.len() == self.said_by(member).len()) {
            return None;
        }
        Some(Move { act: *act, member: self.keep_member(Box::new([*node]), said), effect: *effect })
    }

    pub(super) fn own_moves(&mut self, member: u32, left: Left) -> Box<[Move]> {
        let mut moves = Vec::new();
        for node in self.cloud_of(member).to_vec() {
            for deed in self.did(node, left).iter() {
                let one = self.moved(member, deed);
                add(&mut moves, one);
            }
        }
        moves.into()
    }

    /// The letters of one member to another. Who follows or asks for votes beforehand may do so again at any time, and costs it
    /// nothing: so that what it would ask now is always among them.
    fn letters_to(&mut self, from: u32, to: MemberId) -> Vec<u32> {
        let is_his = |letter: &u32| self.letters.get(*letter).to == to;
        let mut letters: Vec<u32> = self.said_by(from).iter().copied().filter(is_his).collect();
        let terms = Term(self.bounds.terms.into());
        let may_ask = |raft: &&Raft| self.cuts.order && may_ask(raft) && raft.term() < terms;
        let raft = self.nodes_of(from).find_map(|node| node.node.raft.as_ref().filter(may_ask));
        if let Some(raft) = raft {
            let (last_index, last_term) = (raft.last_index(), raft.last_term());
            let body = Body::PreVote { last_index, last_term };
            let letter = Message { from: raft.id(), to, term: raft.term().next(), body };
            let letter = self.keep_letter(letter);
            if let Err(place) = letters.binary_search(&letter) {
                letters.insert(place, letter);
            }
        }
        letters
    }

    pub(super) fn pair(&mut self, one: u32, two: u32) -> Pair {
        let agree = self
            .nodes_of(one)
            .all(|one| self.nodes_of(two).all(|two| mismatch(&one.node, &two.node).is_none()));
        let mut then = [one, two];
        if self.cuts.order {
            // Each round either adds something, of which there is an end, or is the last.
            while self.spread(&mut then, 0) | self.spread(&mut then, 1) {}
            then = [self.forget_dead(then[0], then[1]), self.forget_dead(then[1], then[0])];
        }
        if then != [one, two] {
            return Pair { then, hears: [Box::default(), Box::default()], agree };
        }
        let hears = [self.hears(one, two), self.hears(two, one)];
        Pair { then, hears, agree }
    }

    /// What `to` may hear from `from`.
    fn hears(&mut self, to: u32, from: u32) -> Box<[Move]> {
        let mut moves = Vec::new();
        for deed in &self.heard_by(to, from).leads_out {
            let one = self.moved(to, deed);
            add(&mut moves, one);
        }
        moves.into()
    }

    fn heard_by(&mut self, to: u32, from: u32) -> Arc<Spread> {
        let letters = self.letters_to(from, self.node_of(to).id);
        let mail = self.said.keep(letters.into());
        let cloud = self.members.get(to).cloud;
        if let Some(spread) = self.spreads.get(cloud, mail) {
            return Arc::clone(spread);
        }
        let spread = Arc::new(self.spread_of(cloud, mail));
        self.spreads.put(cloud, mail, Arc::clone(&spread));
        spread
    }

    /// Adds to a member what [`Spread`] tells. A world in which more was said has all the futures of one in which less was, so that
    /// nothing is missed by saying it at once. Whether there was anything.
    fn spread(&mut self, then: &mut [u32; 2], at: usize) -> bool {
        let (to, from) = (then[at], then[1 - at]);
        let spread = self.heard_by(to, from);
        let said = union(self.said_by(to), &spread.says);
        then[at] = self.keep_member(spread.cloud.clone(), said);
        then[at] != to
    }

    fn spread_of(&mut self, cloud: u32, mail: u32) -> Spread {
        let mut begin: Vec<u32> = self.clouds.get(cloud).to_vec();
        let letters: Vec<u32> = self.said.get(mail).to_vec();
        let mut says: Vec<u32> = Vec::new();
        if self.cuts.order {
            while let Some(more) = self.with_more_to_say(&begin, &letters) {
                begin = vec![more.node];
                says.extend_from_slice(&more.says);
            }
        }
        let gone = self.gone[begin[0] as usize];
        let (mut met, mut next) = (begin.clone(), 0);
        // From, to, and what is said there.
        let mut ways: Vec<(u32, Deed)> = Vec::new();
        let mut out: Vec<(u32, Deed)> = Vec::new();
        while let Some(node) = met.get(next).copied() {
            next += 1;
            let mut deeds: Vec<Deed> =
                letters.iter().map(|letter| Deed::clone(&self.heard(node, *letter))).collect();
            if self.cuts.order {
                let timers = |deed: &&Deed| matches!(deed.act, Act::Fire(_));
                deeds.extend(self.did(node, Left::default()).iter().filter(timers).cloned());
            }
            for deed in deeds {
                let is_back =
                    deed.effect == 0 && deed.node != BROKEN && self.gone[deed.node as usize] == gone;
                if !is_back || !self.cuts.order {
                    out.push((node, deed));
                    continue;
                }
                if !met.contains(&deed.node) {
                    met.push(deed.node);
                }
                ways.push((node, deed));
            }
        }
        let mut cloud: BTreeSet<u32> = begin.iter().copied().collect();
        loop {
            let count = cloud.len();
            for (from, deed) in &ways {
                if cloud.contains(&deed.node) {
                    cloud.insert(*from);
                }
            }
            if cloud.len() == count {
                break;
            }
        }
        let (inside, leads_out): (Vec<_>, Vec<_>) = ways
            .into_iter()
            .filter(|(from, _)| cloud.contains(from))
            .partition(|(_, deed)| cloud.contains(&deed.node));
        says.extend(inside.iter().flat_map(|(_, deed)| deed.says.iter().copied()));
        // Else it would be said anew, and forgotten anew, without end: what is said to a third one is looked at with that one.
        let sender = self.nodes.get(begin[0]);
        says.retain(|letter| !may_ask_anew(self.letters.get(*letter), sender));
        let out = out.into_iter().filter(|(from, _)| cloud.contains(from));
        let hears = |deed: &Deed| matches!(deed.act, Act::Hear(_));
        let leads_out = out.chain(leads_out).map(|(_, deed)| deed).filter(hears).collect();
        Spread { cloud: cloud.into_iter().collect(), says: union(&says, &[]), leads_out }
    }

    /// What makes one of these nodes the same with more that waits to be said.
    fn with_more_to_say(&mut self, nodes: &[u32], letters: &[u32]) -> Option<Arc<Deed>> {
        for node in nodes {
            for letter in letters {
                let deed = self.heard(*node, *letter);
                if deed.node != BROKEN
                    && deed.effect == 0
                    && self.bare[deed.node as usize] == self.bare[*node as usize]
                    && self.nodes.get(deed.node).has_more_to_say_than(self.nodes.get(*node))
                {
                    return Some(deed);
                }
            }
        }
        None
    }

    /// The member without what it has said and can never mean anything to the other one again.
    fn forget_dead(&mut self, from: u32, to: u32) -> u32 {
        let terms = Term(self.bounds.terms.into());
        let said_by = |member| self.said_by(member).iter().map(|letter| self.letters.get(*letter));
        let receiver = self.node_of(to).id;
        // Whichever of their nodes the two are.
        let is_dead = |message: &Message| {
            self.nodes_of(from).all(|sender| {
                self.nodes_of(to)
                    .all(|receiver| is_dead(message, (sender, said_by(from)), (receiver, said_by(to)), terms))
            })
        };
        let is_alive = |letter: &u32| {
            let message = self.letters.get(*letter);
            message.to != receiver || !is_dead(message)
        };
        let said = self.said_by(from);
        let alive: Box<[u32]> = said.iter().copied().filter(is_alive).collect();
        // What waits for the disk to be said would be dead when it is.
        let waits = |node: &Node| {
            node.syncs.iter().any(|sync| sync.after.iter().any(|one| one.to == receiver && is_dead(one)))
        };
        let mut changed: Vec<Option<Exact>> = Vec::new();
        for one in self.nodes_of(from) {
            changed.push(waits(&one.node).then(|| {
                let mut one = one.clone();
                for sync in &mut one.node.syncs {
                    sync.after.retain(|one| one.to != receiver || !is_dead(one));
                }
                one.node.seal();
                one
            }));
        }
        if alive.len() == said.len() && changed.iter().all(Option::is_none) {
            return from;
        }
        let cloud: Vec<u32> = self.cloud_of(from).to_vec();
        let cloud: BTreeSet<u32> = cloud
            .into_iter()
            .zip(changed)
            .map(|(node, changed)| changed.map_or(node, |one| self.keep_node(one.node, one.crashes)))
            .collect();
        self.keep_member(cloud.into_iter().collect(), alive)
    }
}

fn add(moves: &mut Vec<Move>, one: Option<Move>) {
    let Some(one) = one else { return };
    if moves.iter().all(|other| (other.member, other.effect) != (one.member, one.effect)) {
        moves.push(one);
    }
}

fn union(said: &[u32], says: &[u32]) -> Box<[u32]> {
    let mut all: Vec<u32> = said.iter().chain(says).copied().collect();
    all.sort_unstable();
    all.dedup();
    all.into()
}
