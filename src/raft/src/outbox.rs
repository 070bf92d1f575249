//! What is collected for the next [`Ready`], and what is on its way to the disk.

use crate::log::Log;
use crate::message::{Entry, HardState, Message, ReadId};
use crate::ready::{
    ChunkReceived, ChunkWanted, Persist, PersistId, ReadReady, Ready, SoftState, Timer, TimerRequest,
};
use crate::relabel::{Label, relabel_meta};
use seatrial_types::LogIndex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Collected for the next [`Ready`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Outbox {
    /// At most one request per timer: the last one wins.
    timers: BTreeMap<Timer, TimerRequest>,
    /// The timers that run, as the driver will see it after the next `Ready`.
    armed: BTreeSet<Timer>,
    pub(crate) messages: Vec<Message>,
    pub(crate) messages_after: Vec<Message>,
    pub(crate) reads: Vec<ReadReady>,
    pub(crate) reads_dropped: Vec<ReadId>,
    pub(crate) chunks_wanted: Vec<ChunkWanted>,
    pub(crate) chunks_received: Vec<ChunkReceived>,
    soft_told: SoftState,
}

impl Outbox {
    pub(crate) fn new(soft_told: SoftState) -> Self {
        Self {
            timers: BTreeMap::new(),
            armed: BTreeSet::new(),
            messages: Vec::new(),
            messages_after: Vec::new(),
            reads: Vec::new(),
            reads_dropped: Vec::new(),
            chunks_wanted: Vec::new(),
            chunks_received: Vec::new(),
            soft_told,
        }
    }

    pub(crate) fn set(&mut self, timer: Timer, min: Duration, max: Duration) {
        self.armed.insert(timer);
        self.timers.insert(timer, TimerRequest::Set { timer, min, max });
    }

    pub(crate) fn cancel(&mut self, timer: Timer) {
        if self.armed.remove(&timer) {
            self.timers.insert(timer, TimerRequest::Cancel(timer));
        }
    }

    /// See [`crate::Raft::relabelled`].
    pub(crate) fn relabel(&mut self, label: Label<'_>) {
        for message in self.messages.iter_mut().chain(&mut self.messages_after) {
            *message = message.relabelled(label);
        }
        for chunk in &mut self.chunks_wanted {
            chunk.to = label(chunk.to);
        }
        for chunk in &mut self.chunks_received {
            chunk.from = label(chunk.from);
            relabel_meta(&mut chunk.meta, label);
        }
        self.soft_told.leader = label(self.soft_told.leader);
    }

    /// Whether this timer was running; it is not any more.
    pub(crate) fn fired(&mut self, timer: Timer) -> bool {
        self.armed.remove(&timer)
    }

    pub(crate) fn is_armed(&self, timer: Timer) -> bool {
        self.armed.contains(&timer)
    }

    pub(crate) fn take(
        &mut self,
        persist: Option<Persist>,
        committed: Vec<Entry>,
        soft: SoftState,
    ) -> Option<Ready> {
        let soft_state = (soft != self.soft_told).then_some(soft);
        self.soft_told = soft;
        let ready = Ready {
            timers: std::mem::take(&mut self.timers).into_values().collect(),
            messages: std::mem::take(&mut self.messages),
            persist,
            messages_after: std::mem::take(&mut self.messages_after),
            committed,
            reads: std::mem::take(&mut self.reads),
            reads_dropped: std::mem::take(&mut self.reads_dropped),
            chunks_wanted: std::mem::take(&mut self.chunks_wanted),
            chunks_received: std::mem::take(&mut self.chunks_received),
            soft_state,
        };
        (ready != Ready::default()).then_some(ready)
    }
}

/// What was handed out to be made durable, and what of it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Persistence {
    last_id: PersistId,
    in_flight: VecDeque<InFlight>,
    handed: HardState,
    durable: HardState,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct InFlight {
    id: PersistId,
    hard_state: HardState,
    /// The last of the entries: cut back where the log in memory was cut back meanwhile, because what
    /// becomes durable beyond the cut is not what stands here.
    last: Option<LogIndex>,
}

/// What became durable.
pub(crate) struct Done {
    pub(crate) last: Option<LogIndex>,
}

impl Persistence {
    pub(crate) fn new(known: HardState) -> Self {
        Self { last_id: PersistId(0), in_flight: VecDeque::new(), handed: known, durable: known }
    }

    /// What is to be made durable now. A commit index alone is not worth a write: it is a hint, and goes
    /// with the next one.
    pub(crate) fn take(&mut self, log: &mut Log, now: HardState) -> Option<Persist> {
        let voted = (now.term, now.vote) != (self.handed.term, self.handed.vote);
        if !voted && !log.has_unhanded() {
            return None;
        }
        let hard_state = (now != self.handed).then_some(now);
        self.handed = now;
        let entries = log.hand_out();
        self.last_id = PersistId(self.last_id.0 + 1);
        let last = entries.last().map(|entry| entry.index);
        self.in_flight.push_back(InFlight { id: self.last_id, hard_state: now, last });
        Some(Persist { id: self.last_id, hard_state, entries })
    }

    pub(crate) fn done(&mut self, id: PersistId) -> Option<Done> {
        assert!(id <= self.last_id, "{id:?} is durable, but only {:?} was handed out", self.last_id);
        let mut done = None;
        while self.in_flight.front().is_some_and(|first| first.id <= id) {
            let first = self.in_flight.pop_front()?;
            self.durable = first.hard_state;
            // Not the maximum: the later write replaces what it overlaps, and the earlier one was cut
            // back when that happened.
            let last = first.last.or(done.and_then(|done: Done| done.last));
            done = Some(Done { last });
        }
        done
    }

    /// See [`crate::Raft::relabelled`].
    pub(crate) fn relabel(&mut self, label: Label<'_>) {
        let known = [&mut self.handed, &mut self.durable].into_iter();
        for hard in known.chain(self.in_flight.iter_mut().map(|write| &mut write.hard_state)) {
            hard.vote = label(hard.vote);
        }
    }

    /// See [`crate::Raft::renumber`].
    pub(crate) fn renumber(&mut self) -> u64 {
        let by = self.in_flight.front().map_or(self.last_id.0, |first| first.id.0 - 1);
        self.last_id.0 -= by;
        for write in &mut self.in_flight {
            write.id.0 -= by;
        }
        by
    }

    /// The log was cut: nothing at or behind `from` that is on its way counts any more.
    pub(crate) fn truncated(&mut self, from: LogIndex) {
        for write in &mut self.in_flight {
            write.last = write.last.map(|last| last.min(from.prev()));
        }
    }

    /// The log was replaced: of what is on its way only the hard states count.
    pub(crate) fn replaced(&mut self) {
        for write in &mut self.in_flight {
            write.last = None;
        }
    }

    /// The term and vote that no crash can take back.
    pub(crate) fn durable(&self) -> HardState {
        self.durable
    }
}
