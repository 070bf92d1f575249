//! How this member stands among the others, and how its followers do: for v2's `/stats`.

use super::Member;
use seatrial_raft::{Body, Message, Role};
use seatrial_store::Backend;
use seatrial_types::v2::{V2Follower, V2Standing};
use seatrial_types::{LogIndex, MemberId};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::time::Duration;

/// What was measured. It is no part of what the member is, as with [`super::figures::Tally`].
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// The time of the first input.
    began: Option<Duration>,
    /// Since when the leader is known.
    led: Duration,
    appends_received: u64,
    appends_sent: u64,
    followers: BTreeMap<MemberId, V2Follower>,
    /// The message to each follower whose confirmation is waited for: its last entry, and when it left.
    asked: BTreeMap<MemberId, (LogIndex, Duration)>,
}

impl PartialEq for Standing {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Standing {}

impl Hash for Standing {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Standing {
    pub(super) fn began(&mut self, now: Duration) {
        self.began.get_or_insert(now);
    }

    /// Another leader is known, or none.
    pub(super) fn led(&mut self, now: Duration) {
        self.led = now;
        self.followers.clear();
        self.asked.clear();
    }

    pub(super) fn sent(&mut self, message: &Message, now: Duration) {
        if let Body::Append { prev_index, entries, .. } = &message.body
            && !entries.is_empty()
        {
            self.appends_sent += 1;
            let last = LogIndex(prev_index.0 + entries.len() as u64);
            self.asked.entry(message.to).or_insert((last, now));
        }
    }

    pub(super) fn received(&mut self, message: &Message, now: Duration) {
        match &message.body {
            Body::Append { entries, .. } if !entries.is_empty() => self.appends_received += 1,
            Body::AppendAccepted { matched } => {
                if let Some((last, at)) = self.asked.get(&message.from)
                    && matched >= last
                {
                    let took = now.saturating_sub(*at);
                    self.followers.entry(message.from).or_default().confirmed(took);
                    self.asked.remove(&message.from);
                }
            }
            _ => {}
        }
    }

    pub(super) fn failed(&mut self, peer: MemberId) {
        self.asked.remove(&peer);
        self.followers.entry(peer).or_default().fail += 1;
    }
}

impl<B: Backend> Member<B> {
    pub(super) fn standing(&self) -> V2Standing {
        let Standing { began, led, appends_received, appends_sent, followers, .. } = &self.standing;
        let is_leader = self.raft.role() == Role::Leader;
        let peers = self.cluster.members.keys().filter(|id| is_leader && **id != self.id());
        V2Standing {
            name: self.options.name.clone(),
            leader: self.raft.leader(),
            is_learner: self.is_learner(),
            runs_for: self.now.saturating_sub(began.unwrap_or(self.now)),
            led_for: self.now.saturating_sub(*led),
            appends_received: *appends_received,
            appends_sent: *appends_sent,
            followers: peers.map(|id| (*id, followers.get(id).copied().unwrap_or_default())).collect(),
        }
    }
}
