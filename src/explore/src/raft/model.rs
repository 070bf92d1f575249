//! What may happen next, and what must hold.

use super::cluster::Cluster;
use crate::check::Exploration;
use bytes::Bytes;
use seatrial_raft::{Body, Message, ReadId, Role, Timer};
use seatrial_types::{LogIndex, MemberId};
use stateright::{Model, Property};
use std::sync::Arc;

const SAFE: &str = "what was committed stays, is seen by reads, and one leads in each term";

/// How large the world is, and how much may happen in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Members, all of them voters.
    pub members: u64,
    /// No campaign leads beyond this term.
    pub terms: u64,
    /// Proposals, in all.
    pub entries: u8,
    /// Crashes, in all.
    pub crashes: u8,
    /// Messages that are lost.
    pub losses: u8,
    /// Messages that arrive twice.
    pub repeats: u8,
    /// Campaigns that are begun; one that is not answered is one too.
    pub campaigns: u8,
    /// Heartbeats of leaders, in all.
    pub beats: u8,
    /// Reads that clients begin, in all.
    pub reads: u8,
    /// Worlds with more messages on their way are left out.
    pub letters: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            members: 2,
            terms: 2,
            entries: 1,
            crashes: 1,
            losses: 1,
            repeats: 1,
            campaigns: 2,
            beats: 0,
            reads: 0,
            letters: 6,
        }
    }
}

/// What may still happen beyond the members' own doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Left {
    entries: u8,
    crashes: u8,
    losses: u8,
    repeats: u8,
    campaigns: u8,
    beats: u8,
    reads: u8,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A message arrives: its place among those on their way.
    Deliver(usize),
    /// It arrives, and will arrive once more.
    Repeat(usize),
    /// It is lost.
    Lose(usize),
    /// A member's oldest write is durable.
    Synced(MemberId),
    /// One of its timers fires.
    Fire(MemberId, Timer),
    /// A client proposes something to it.
    Propose(MemberId),
    /// A client asks it for a read that must see everything.
    Read(MemberId),
    /// It crashes, and so many of its writes under way were durable.
    Crash(MemberId, usize),
    /// It starts again.
    Start(MemberId),
}

impl Model for Bounds {
    type State = Cluster;
    type Action = Step;

    fn init_states(&self) -> Vec<Cluster> {
        let left = Left {
            entries: self.entries,
            crashes: self.crashes,
            losses: self.losses,
            repeats: self.repeats,
            campaigns: self.campaigns,
            beats: self.beats,
            reads: self.reads,
        };
        vec![Cluster::new(self.members, left)]
    }

    fn actions(&self, cluster: &Cluster, steps: &mut Vec<Step>) {
        if cluster.broken.is_some() {
            return;
        }
        for at in 0..cluster.letters.len() {
            if at > 0 && cluster.letters[at] == cluster.letters[at - 1] {
                // The same message a second time: what comes of it is the same.
                continue;
            }
            steps.push(Step::Deliver(at));
            if cluster.left.repeats > 0 {
                steps.push(Step::Repeat(at));
            }
            if cluster.left.losses > 0 {
                steps.push(Step::Lose(at));
            }
        }
        for node in &cluster.nodes {
            let Some(raft) = &node.raft else {
                steps.push(Step::Start(node.id));
                continue;
            };
            if !node.syncs.is_empty() {
                steps.push(Step::Synced(node.id));
            }
            for timer in &node.timers {
                let may = match timer {
                    Timer::LeaderSilent => true,
                    Timer::Campaign => cluster.left.campaigns > 0 && raft.term().0 < self.terms,
                    Timer::Heartbeat | Timer::QuorumCheck => cluster.left.beats > 0,
                };
                if may {
                    steps.push(Step::Fire(node.id, *timer));
                }
            }
            if cluster.left.entries > 0 && raft.role() == Role::Leader {
                steps.push(Step::Propose(node.id));
            }
            if cluster.left.reads > 0 && raft.leader() != MemberId::NONE {
                steps.push(Step::Read(node.id));
            }
            if cluster.left.crashes > 0 {
                steps.extend((0..=node.syncs.len()).map(|kept| Step::Crash(node.id, kept)));
            }
        }
    }

    fn next_state(&self, cluster: &Cluster, step: Step) -> Option<Cluster> {
        let mut next = cluster.clone();
        match step {
            Step::Deliver(at) => {
                let message = next.remove(at);
                next.deliver(message);
            }
            Step::Repeat(at) => {
                next.left.repeats -= 1;
                let message = Message::clone(&next.letters[at].message);
                next.deliver(message);
            }
            Step::Lose(at) => {
                next.left.losses -= 1;
                next.remove(at);
            }
            Step::Synced(id) => next.change(id, super::Node::synced),
            Step::Fire(id, timer) => {
                next.left.campaigns -= u8::from(timer == Timer::Campaign);
                next.left.beats -= u8::from(matches!(timer, Timer::Heartbeat | Timer::QuorumCheck));
                next.change(id, |node| node.fire(timer));
            }
            Step::Propose(id) => {
                let data = Bytes::copy_from_slice(&[next.left.entries]);
                next.left.entries -= 1;
                next.change(id, |node| node.input(|raft| drop(raft.propose(vec![data]))));
            }
            Step::Read(id) => {
                let read = ReadId(u64::from(next.left.reads));
                next.left.reads -= 1;
                next.read(id, read);
            }
            Step::Crash(id, kept) => {
                next.left.crashes -= 1;
                let place = next.nodes.iter().position(|node| node.id == id)?;
                Arc::make_mut(&mut next.nodes[place]).crash(kept);
            }
            Step::Start(id) => {
                let voters = next.voters();
                next.change(id, |node| node.start(&voters));
            }
        }
        (next != *cluster).then_some(next)
    }

    fn within_boundary(&self, cluster: &Cluster) -> bool {
        cluster.letters.len() <= self.letters
    }

    fn format_step(&self, before: &Cluster, step: Step) -> Option<String> {
        let next = self.next_state(before, step)?;
        Some(format!("{}\n\n{}", self.tell(before, &step), self.show(&next)))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(SAFE, |_, cluster: &Cluster| cluster.wrong().is_none())]
    }
}

impl Exploration for Bounds {
    fn tell(&self, before: &Cluster, step: &Step) -> String {
        let letter = |at: usize| say(&before.letters[at].message);
        match *step {
            Step::Deliver(at) => format!("arrives: {}", letter(at)),
            Step::Repeat(at) => format!("arrives, and will once more: {}", letter(at)),
            Step::Lose(at) => format!("is lost: {}", letter(at)),
            Step::Synced(id) => format!("{id}: its oldest write is durable"),
            Step::Fire(id, timer) => format!("{id}: the timer {timer:?} fires"),
            Step::Propose(id) => format!("{id}: a client proposes something"),
            Step::Read(id) => format!("{id}: a client begins to read"),
            Step::Crash(id, kept) => {
                let lost = before.node(id).syncs.len() - kept;
                format!("{id} crashes; {kept} of its writes under way were durable, {lost} are lost")
            }
            Step::Start(id) => format!("{id} starts again"),
        }
    }

    fn show(&self, cluster: &Cluster) -> String {
        let mut text = String::new();
        for node in &cluster.nodes {
            text += &format!("{}: ", node.id);
            match &node.raft {
                None => text += "down",
                Some(raft) => {
                    let (role, term, commit) = (raft.role(), raft.term(), raft.commit());
                    text +=
                        &format!("{role:?} in term {term}, voted for {}, commit {commit}, log", raft.vote());
                    let first = raft.first_index().0;
                    for index in first..=raft.last_index().0 {
                        let term = raft.term_at(LogIndex(index)).unwrap_or_default();
                        text += &format!(" {index}:{term}");
                    }
                }
            }
            let (durable, hard) = (node.durable.log.len(), node.durable.hard);
            let (term, vote) = (hard.term, hard.vote);
            text += &format!(
                "; on disk {durable} entries, term {term}, vote {vote}, {} writes under way; timers {:?}\n",
                node.syncs.len(),
                node.timers
            );
        }
        for letter in &cluster.letters {
            text += &format!("on its way: {}\n", say(&letter.message));
        }
        text + &format!("committed: {}\n", cluster.chosen.len())
    }

    fn explain(&self, _: &str, cluster: &Cluster) -> String {
        cluster.wrong().unwrap_or_default()
    }
}

/// A message in a few words.
pub(super) fn say(message: &Message) -> String {
    let Message { from, to, term, body } = message;
    let what = match body {
        Body::Append { prev_index, entries, commit, .. } => {
            format!("append of {} behind {prev_index}, commit {commit}", entries.len())
        }
        Body::AppendAccepted { matched } => format!("accepted up to {matched}"),
        Body::AppendRejected { rejected, .. } => format!("rejected at {rejected}"),
        Body::PreVote { last_index, last_term } => format!("pre-vote, last {last_index} of term {last_term}"),
        Body::PreVoteAnswer { granted } => format!("pre-vote {}", yes(*granted)),
        Body::Vote { last_index, last_term, .. } => format!("vote, last {last_index} of term {last_term}"),
        Body::VoteAnswer { granted } => format!("vote {}", yes(*granted)),
        Body::Heartbeat { commit, round } => format!("heartbeat {round}, commit {commit}"),
        Body::HeartbeatAnswer { round } => format!("answer to heartbeat {round}"),
        other => format!("{other:?}"),
    };
    format!("{from} to {to} in term {term}: {what}")
}

fn yes(granted: bool) -> &'static str {
    if granted { "granted" } else { "refused" }
}
