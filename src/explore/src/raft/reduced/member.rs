//! One member as a part: how it is renamed, brought into its normal form, and goes on by itself where nothing else can come first.

use super::super::node::{Node, Output, Sync};
use crate::check::fingerprint;
use seatrial_raft::{Message, Raft, Role, Timer};
use seatrial_types::{MemberId, Term};
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

/// A member's value and how often it will crash at most, compared as a whole: a proof does not rest on hashes.
#[derive(Clone, Debug)]
pub(super) struct Exact {
    pub(super) node: Node,
    pub(super) crashes: u8,
}

impl PartialEq for Exact {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&self.node, &other.node);
        a == b
            && self.crashes == other.crashes
            && (a.id, &a.raft, &a.durable, &a.syncs, &a.timers)
                == (b.id, &b.raft, &b.durable, &b.syncs, &b.timers)
    }
}

impl Eq for Exact {}

impl Hash for Exact {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.node, self.crashes).hash(state);
    }
}

impl Exact {
    /// Whether it is the same as `other`, but that more waits for its disk to be said: then it can do all that `other` can.
    pub(super) fn has_more_to_say_than(&self, other: &Self) -> bool {
        let (a, b) = (&self.node, &other.node);
        let has_more = |a: &Sync, b: &Sync| {
            a.persist == b.persist && b.after.iter().all(|message| a.after.contains(message))
        };
        self != other
            && self.crashes == other.crashes
            && (a.id, &a.raft, &a.durable, &a.timers) == (b.id, &b.raft, &b.durable, &b.timers)
            && a.syncs.len() == b.syncs.len()
            && a.syncs.iter().zip(&b.syncs).all(|(a, b)| has_more(a, b))
    }
}

impl Output {
    pub(super) fn add(&mut self, other: Self) {
        self.messages.extend(other.messages);
        self.committed.extend(other.committed);
        self.reads.extend(other.reads);
    }
}

/// What [`settle`] goes by.
pub(super) struct Rules {
    pub(super) is_eager: bool,
    /// The last term of all.
    pub(super) terms: Term,
    pub(super) voters: BTreeSet<MemberId>,
}

/// Takes the steps whose order with all others makes no difference; and brings what is left into its normal form.
pub(super) fn settle(node: &mut Node, output: &mut Output, crashes: u8, rules: &Rules) {
    loop {
        if !rules.is_eager {
            break;
        }
        let Some(raft) = &node.raft else {
            // While it is down nothing reaches it, and nothing it does can be waited for: it may as well be slow.
            output.add(node.start(&rules.voters));
            continue;
        };
        let (role, term) = (raft.role(), raft.term());
        // Only a leader looks at what of its own log is durable, and a candidate's request leaves behind its vote's write, before
        // which nobody can answer it. So nothing that this member does in between can tell when the write was done, but for a crash.
        if !node.syncs.is_empty() && role != Role::Leader && crashes == 0 {
            output.add(node.synced());
            continue;
        }
        if role == Role::Leader || raft.leader() != MemberId::NONE {
            break;
        }
        // With no leader there is nothing to forget: that the silence is over only allows a campaign, which need not follow.
        if node.timers.contains(&Timer::LeaderSilent) {
            output.add(node.fire(Timer::LeaderSilent));
            continue;
        }
        // Who asks for votes beforehand can do all that he can do who does not ask, and has given nothing away.
        if role == Role::Follower && node.timers.contains(&Timer::Campaign) && term < rules.terms {
            let mut other = node.clone();
            let more = other.fire(Timer::Campaign);
            let asks = |raft: &Raft| (raft.role(), raft.term()) == (Role::PreCandidate, term);
            if other.raft.as_ref().is_some_and(asks) {
                *node = other;
                output.add(more);
            }
        }
        break;
    }
    node.normalize();
}

impl Node {
    /// Numbers its writes from 1 on, and puts what waits for each into one order: it leaves at once, and the network knows no order.
    fn normalize(&mut self) {
        if let Some(raft) = &mut self.raft {
            let by = raft.renumber();
            for sync in &mut self.syncs {
                sync.persist.id.0 -= by;
            }
        }
        for sync in &mut self.syncs {
            sync.after.sort_by_cached_key(|message| (message.to, fingerprint(message)));
            sync.after.dedup();
        }
        self.seal();
    }

    /// The member under other names.
    pub(super) fn relabelled(&self, label: &dyn Fn(MemberId) -> MemberId) -> Self {
        let mut other = self.clone();
        other.id = label(self.id);
        other.raft = self.raft.as_ref().map(|raft| raft.relabelled(label));
        other.durable.hard = self.durable.hard.relabelled(label);
        other.durable.log = self.durable.log.iter().map(|entry| entry.relabelled(label)).collect();
        let renamed = |sync: &Sync| Sync {
            persist: sync.persist.relabelled(label),
            after: sync.after.iter().map(|message| message.relabelled(label)).collect(),
        };
        other.syncs = self.syncs.iter().map(renamed).collect();
        other.normalize();
        other
    }

    /// A message arrives. What the core refuses is as good as lost.
    pub(super) fn hear(&mut self, message: Message) -> Output {
        if self.raft.is_none() {
            return Output::default();
        }
        self.input(|raft: &mut Raft| drop(raft.step(message)))
    }
}
