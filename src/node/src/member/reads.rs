//! Reads that wait: first for a quorum to confirm the leader, then for the state machine to catch up
//! (thesis §6.4). All reads that gather before one flush share one round.

use super::Member;
use crate::peer::{ForwardId, PeerBody, PeerMessage};
use crate::proposal::RequestId;
use seatrial_raft::{ReadId, ReadReady, Role};
use seatrial_store::Backend;
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::{LogIndex, MemberId, Request, Term};
use std::collections::BTreeMap;
use std::time::Duration;

use super::Output;

/// Something to be done once it is known that this member's state is new enough.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Read {
    /// A client of this member waits.
    Own(RequestId),
    /// Another member asks us as the leader.
    Forwarded { from: MemberId, id: ForwardId, request: Request },
}

/// Reads by how far they have come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Reads {
    /// Not asked yet.
    queued: Vec<Read>,
    /// Asked.
    asked: BTreeMap<ReadId, Asked>,
    /// Confirmed; to be served when this index is applied.
    confirmed: BTreeMap<LogIndex, Vec<Read>>,
    next: u64,
    calendar: Calendar,
}

/// A question on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    /// Then it counts as lost.
    until: Duration,
    /// What the calendar said.
    wall: Duration,
    reads: Vec<Read>,
}

/// Only with a planted bug: a right to answer reads that ends by the calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Calendar {
    now: Duration,
    until: Duration,
    term: Term,
}

impl Reads {
    pub(super) fn push(&mut self, read: Read) {
        self.queued.push(read);
    }

    pub(super) fn confirmed(&mut self, ready: ReadReady) {
        if let Some(asked) = self.asked.remove(&ready.id) {
            self.calendar.until = self.calendar.until.max(asked.wall);
            self.confirmed.entry(ready.index).or_default().extend(asked.reads);
        }
    }

    pub(super) fn dropped(&mut self, id: ReadId) {
        if let Some(asked) = self.asked.remove(&id) {
            self.queued.extend(asked.reads);
        }
    }

    /// Puts back what was asked too long ago: the question or its answer was lost.
    pub(super) fn overdue(&mut self, now: Duration) {
        let late: Vec<ReadId> =
            self.asked.iter().filter(|(_, asked)| asked.until <= now).map(|(id, _)| *id).collect();
        for id in late {
            self.dropped(id);
        }
    }

    /// These may be answered once `index` is applied.
    pub(super) fn ready_at(&mut self, index: LogIndex, reads: Vec<Read>) {
        self.confirmed.entry(index).or_default().extend(reads);
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.queued.is_empty() || !self.asked.is_empty()
    }
}

impl<B: Backend> Member<B> {
    /// Only with a planted bug: what the machine's calendar says, which may jump.
    pub fn tell_calendar(&mut self, wall: Duration) {
        self.reads.calendar.now = wall;
    }

    /// Only with a planted bug: whether a quorum answered less than an election timeout ago, by the calendar.
    fn leads_by_the_calendar(&mut self) -> bool {
        let (term, role) = (self.raft.term(), self.raft.role());
        let calendar = &mut self.reads.calendar;
        if calendar.term != term {
            *calendar = Calendar { now: calendar.now, until: Duration::ZERO, term };
        }
        role == Role::Leader && calendar.now < calendar.until + self.options.raft.election_timeout
    }

    /// Asks Raft for the index of the reads that have gathered.
    pub(super) fn submit_reads(&mut self) {
        if self.reads.queued.is_empty() {
            return;
        }
        // Whose client no longer waits need not be asked for.
        let waiting = &self.waiting;
        self.reads.queued.retain(|read| match read {
            Read::Own(id) => waiting.contains_key(id),
            Read::Forwarded { .. } => true,
        });
        if self.reads.queued.is_empty() {
            return;
        }
        if is_planted(Planted::R28) && self.leads_by_the_calendar() {
            let reads = std::mem::take(&mut self.reads.queued);
            return self.reads.ready_at(self.raft.commit(), reads);
        }
        self.reads.next += 1;
        let id = self.read_id(self.reads.next);
        // Without a leader they stay queued, and are tried again at every flush.
        if self.raft.read_index(id).is_ok() {
            let reads = std::mem::take(&mut self.reads.queued);
            let (until, wall) = (self.now + self.options.retry_interval, self.reads.calendar.now);
            self.reads.asked.insert(id, Asked { until, wall, reads });
        }
    }

    /// Serves the reads whose index is applied.
    pub(super) fn serve_reads(&mut self) {
        let applied = self.store.applied();
        while let Some(entry) = self.reads.confirmed.first_entry() {
            if *entry.key() > applied {
                return;
            }
            for read in entry.remove() {
                let asked = match &read {
                    Read::Own(id) => self.waiting.get(id).and_then(|waiting| waiting.request.as_ref()),
                    Read::Forwarded { request, .. } => Some(request),
                };
                if let Some(lease) = asked.and_then(|request| self.must_clear(request)) {
                    self.held_leases.hold(lease, read);
                    continue;
                }
                match read {
                    Read::Own(id) => {
                        let request = self.waiting.get_mut(&id).and_then(|waiting| waiting.request.take());
                        if let Some(request) = request {
                            self.serve(id, request);
                        }
                    }
                    Read::Forwarded { from, id, request } => {
                        let result = self.evaluate(request);
                        let body = PeerBody::ForwardAnswer { id, result };
                        self.output(Output::Send(PeerMessage { from: self.id(), to: from, body }));
                    }
                }
            }
        }
    }
}
