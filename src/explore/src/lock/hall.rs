//! The clients, the store, and the resource.

use super::model::{Fate, Left};
use crate::script::{Ask, Prompter, Reply, Stand, resume};
use crate::server::Server;
use bytes::Bytes;
use seatrial_client::{ClientError, LockError, Mutex, Place};
use seatrial_types::{LeaseId, Revision};
use std::collections::BTreeMap;

const NAME: &[u8] = b"lock";
const PREFIX: &[u8] = b"lock/";

/// Sessions of one client, at most.
const SESSIONS_MAX: i64 = 16;

/// Where a client is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It has no lease.
    Rests,
    /// It is in [`Mutex::lock`].
    Locks,
    /// It was told that it holds the lock.
    Holds(Bytes, Revision),
    /// It has written and is in [`Mutex::unlock`].
    Unlocks(Bytes, Revision),
}

/// A client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// Where it is.
    pub phase: Phase,
    /// How often it still wants the lock.
    pub wants: u8,
    /// Sessions so far, each with a lease of its own.
    sessions: i64,
    replies: Vec<Reply>,
}

/// All of it. A clone is another future.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hall {
    /// Each one's name is its place.
    pub clients: Vec<Client>,
    pub(super) server: Server,
    /// The largest token that the resource has seen.
    newest: Revision,
    /// Which first in the queue a lease was, in the order in which they became first. The store's own truth, and nobody's who is told.
    reigns: BTreeMap<LeaseId, u8>,
    /// The last of those who wrote, by that order.
    wrote: u8,
    pub(super) left: Left,
    /// What went wrong in the last step.
    pub(super) wrong: Option<Wrong>,
}

/// What must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wrong {
    /// Told that it holds, and not first.
    Early(usize),
    /// A write was taken after one of a later holder.
    Stale(usize),
    /// The one who holds was turned away.
    Refused(usize),
}

impl Hall {
    pub(super) fn new(clients: usize, wants: u8, left: Left) -> Self {
        let client = Client { phase: Phase::Rests, wants, sessions: 0, replies: Vec::new() };
        Self {
            clients: vec![client; clients],
            server: Server::new(),
            newest: Revision(0),
            reigns: BTreeMap::new(),
            wrote: 0,
            left,
            wrong: None,
        }
    }

    /// Of a client's session of now.
    pub(super) fn lease(&self, at: usize) -> LeaseId {
        let before = i64::try_from(at).unwrap_or(i64::MAX) * SESSIONS_MAX;
        LeaseId(before + self.clients[at].sessions)
    }

    pub(super) fn is_alive(&self, at: usize) -> bool {
        self.clients[at].phase != Phase::Rests && self.server.has_lease(self.lease(at))
    }

    /// Whose key is the first one.
    fn is_first(&self, key: &Bytes) -> bool {
        self.server.oldest(PREFIX).is_some_and(|kv| kv.key == *key)
    }

    /// It gets a lease and begins to lock.
    pub(super) fn begin(&mut self, at: usize) {
        self.clients[at].sessions += 1;
        assert!(self.clients[at].sessions < SESSIONS_MAX, "client {} has too many sessions", at + 1);
        self.server.grant(self.lease(at));
        self.clients[at].phase = Phase::Locks;
    }

    /// What it asks the store for next.
    pub(super) fn ask(&self, at: usize) -> Option<Ask> {
        match &self.clients[at].phase {
            Phase::Rests | Phase::Holds(..) => None,
            Phase::Locks => match self.locks(at) {
                Stand::Asks(ask) => Some(ask),
                Stand::Ended(end) => unreachable!("taken at once: {end:?}"),
            },
            Phase::Unlocks(key, revision) => match self.unlocks(at, key, *revision) {
                Stand::Asks(ask) => Some(ask),
                Stand::Ended(end) => unreachable!("taken at once: {end:?}"),
            },
        }
    }

    fn locks(&self, at: usize) -> Stand<Result<Place, LockError>> {
        let lease = self.lease(at);
        resume(&self.clients[at].replies, |store: Prompter| async move {
            Mutex::new(store, NAME, lease).lock().await
        })
    }

    fn unlocks(&self, at: usize, key: &Bytes, revision: Revision) -> Stand<Result<(), ClientError>> {
        let lease = self.lease(at);
        let place = Place { key: key.clone(), revision, lease, header: Default::default() };
        resume(&self.clients[at].replies, |store: Prompter| async move {
            Mutex::new(store, NAME, lease).unlock(&place).await.map(|_| ())
        })
    }

    /// The store hears what a client asks for, and the client hears the answer.
    pub(super) fn access(&mut self, at: usize, fate: Fate) {
        let Some(ask) = self.ask(at) else { return };
        let reply = match fate {
            Fate::Lost => Reply::Unknown,
            Fate::Well | Fate::Unanswered => match self.server.serve(&ask) {
                Some(_) if fate == Fate::Unanswered => Reply::Unknown,
                Some(reply) => reply,
                None => return,
            },
        };
        self.note_first();
        self.clients[at].replies.push(reply);
        match self.clients[at].phase.clone() {
            Phase::Locks => match self.locks(at) {
                Stand::Asks(_) => {}
                Stand::Ended(end) => self.locked(at, end),
            },
            Phase::Unlocks(key, revision) => match self.unlocks(at, &key, revision) {
                Stand::Asks(_) => {}
                Stand::Ended(Ok(())) => {
                    self.clients[at].wants -= 1;
                    self.rest(at);
                }
                // To do it twice does no harm.
                Stand::Ended(Err(_)) => self.clients[at].replies.clear(),
            },
            Phase::Rests | Phase::Holds(..) => {}
        }
    }

    fn locked(&mut self, at: usize, end: Result<Place, LockError>) {
        self.clients[at].replies.clear();
        match end {
            Ok(place) => {
                if !self.is_first(&place.key) {
                    self.wrong = Some(Wrong::Early(at));
                }
                self.clients[at].phase = Phase::Holds(place.key, place.revision);
            }
            // Another call with the same lease finds what the first one has left.
            Err(LockError::Client(error)) if error.ambiguous => {}
            Err(_) => self.rest(at),
        }
    }

    /// It gives its lease back, where there is one.
    pub(super) fn rest(&mut self, at: usize) {
        self.server.end(self.lease(at));
        let client = &mut self.clients[at];
        client.phase = Phase::Rests;
        client.replies.clear();
        self.note_first();
    }

    /// A lease runs out, and its client stands still: nobody has renewed it.
    pub(super) fn end(&mut self, at: usize) {
        self.server.end(self.lease(at));
        self.note_first();
    }

    fn note_first(&mut self) {
        let Some(first) = self.server.oldest(PREFIX) else { return };
        let next = u8::try_from(self.reigns.len() + 1).unwrap_or(u8::MAX);
        self.reigns.entry(first.lease).or_insert(next);
    }

    /// Who believes that it holds writes to the resource, once, and goes on to unlock.
    pub(super) fn write(&mut self, at: usize, is_fenced: bool) {
        let Phase::Holds(key, token) = self.clients[at].phase.clone() else { return };
        if is_fenced && token < self.newest {
            if self.is_first(&key) {
                self.wrong = Some(Wrong::Refused(at));
            }
        } else {
            let reign = self.reigns.get(&self.lease(at)).copied().unwrap_or(0);
            if reign < self.wrote {
                self.wrong = Some(Wrong::Stale(at));
            }
            self.newest = self.newest.max(token);
            self.wrote = self.wrote.max(reign);
        }
        self.clients[at].phase = Phase::Unlocks(key, token);
    }

    /// What is left undone where nobody can go on.
    pub(super) fn unsettled(&self) -> Option<String> {
        if let Some(at) = self.clients.iter().position(|client| client.wants > 0) {
            return Some(format!("client {} does not get the lock", at + 1));
        }
        let left = self.server.oldest(PREFIX)?;
        Some(format!("{} stays in the queue", String::from_utf8_lossy(&left.key)))
    }

    pub(super) fn show(&self) -> String {
        let mut text = String::new();
        for kv in self.server.kvs() {
            let (key, created) = (String::from_utf8_lossy(&kv.key), kv.create_revision.0);
            text += &format!("{key}: created at {created}, lease {:x}\n", kv.lease.0);
        }
        for (at, client) in self.clients.iter().enumerate() {
            let alive = if self.is_alive(at) { "lives" } else { "is over" };
            text += &format!("client {}: {:?}, and its lease {alive}\n", at + 1, client.phase);
        }
        text + &format!("the resource has seen {}\n", self.newest.0)
    }
}
