//! Making a connection: a request that is repeated until somebody answers or the time is over.

use super::{ConnId, Due, Net, SimStream};
use crate::chance::nanos;
use crate::core::Core;
use crate::machine::Outside;
use crate::observe::Event;
use crate::queue::Due as QueueDue;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// How a connection attempt goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DialStep {
    /// The request reaches the other node.
    Arrive,
    /// Nothing has answered for a while: ask again.
    Again,
    /// The answer has come back: a connection, or a refusal.
    Answer(Option<ConnId>),
}

/// The first repetition comes after a second, each later one after twice as long (Linux).
const AGAIN: u64 = 1_000_000_000;

pub(crate) struct Dial {
    pub(crate) from: u32,
    to: u32,
    port: u16,
    started: u64,
    asked: u32,
    waker: Option<Waker>,
    outcome: Option<Result<ConnId, ErrorKind>>,
}

impl Net {
    pub(crate) fn dial(&mut self, outside: &mut Outside, from: u32, to: u32, port: u16) -> u64 {
        let id = self.dials_made;
        self.dials_made += 1;
        let started = outside.now;
        self.dials.insert(id, Dial { from, to, port, started, asked: 0, waker: None, outcome: None });
        self.dial_ask(outside, id);
        id
    }

    /// Sends the request, for the first time or again.
    fn dial_ask(&mut self, outside: &mut Outside, id: u64) {
        let Some(dial) = self.dials.get_mut(&id) else { return };
        dial.asked += 1;
        let (from, to) = (dial.from, dial.to);
        if self.is_resetting(from, to) {
            let at = outside.now + 2 * super::LOOPBACK;
            outside.queue.push(at, QueueDue::Net(Due::Dial(id, DialStep::Answer(None))));
        } else if self.is_blocked(outside, from, to) || self.chance.bool(self.loss(from, to)) {
            self.dial_later(outside, id);
        } else {
            let at = self.arrival_lossless(outside.now, from, to);
            outside.queue.push(at, QueueDue::Net(Due::Dial(id, DialStep::Arrive)));
        }
    }

    fn loss(&self, from: u32, to: u32) -> f64 {
        if from == to { 0.0 } else { self.rule(from, to).loss }
    }

    /// Connection requests are not part of a stream: a lost one is not repeated by the link but by the dialer.
    fn arrival_lossless(&mut self, now: u64, from: u32, to: u32) -> u64 {
        if from == to {
            return now + super::LOOPBACK;
        }
        let (latency, jitter) = {
            let rule = self.rule(from, to);
            (nanos(rule.latency), nanos(rule.jitter))
        };
        now + latency + self.chance.below(jitter + 1)
    }

    /// The request or its answer was lost: look again when it would be repeated, or when the time is over.
    fn dial_later(&mut self, outside: &mut Outside, id: u64) {
        let Some(dial) = self.dials.get(&id) else { return };
        let again = outside.now + (AGAIN << (dial.asked - 1).min(6));
        let at = again.min(dial.started.saturating_add(nanos(self.options.connect_timeout)));
        outside.queue.push(at, QueueDue::Net(Due::Dial(id, DialStep::Again)));
    }

    pub(crate) fn dial_step(&mut self, outside: &mut Outside, id: u64, step: DialStep) {
        let Some(dial) = self.dials.get(&id) else {
            // Nobody waits any more. The server may have its end already and learns that there is no other.
            if let DialStep::Answer(Some(conn)) = step {
                self.abort(outside, conn, 0);
            }
            return;
        };
        let (from, to, port, started) = (dial.from, dial.to, dial.port, dial.started);
        match step {
            DialStep::Again => {
                if outside.now >= started.saturating_add(nanos(self.options.connect_timeout)) {
                    let (from_name, to_name) = (outside.name(from), outside.name(to));
                    outside.event(from, Event::TimedOut { from: from_name, to: to_name, port });
                    self.dial_done(id, Err(ErrorKind::TimedOut));
                } else {
                    self.dial_ask(outside, id);
                }
            }
            DialStep::Arrive => {
                // The answer must find its way back, or else the client hears nothing and asks again.
                let lost = self.is_blocked(outside, from, to)
                    || self.is_blocked(outside, to, from)
                    || self.chance.bool(self.loss(to, from));
                let full = self
                    .listeners
                    .get(&(to, port))
                    .is_some_and(|listening| listening.backlog.len() >= self.options.backlog_max);
                if lost || full {
                    self.dial_later(outside, id);
                    return;
                }
                let answer = self.knock(outside, from, to, port);
                let at = self.arrival_lossless(outside.now, to, from);
                outside.queue.push(at, QueueDue::Net(Due::Dial(id, DialStep::Answer(answer))));
            }
            DialStep::Answer(None) => {
                let (from_name, to_name) = (outside.name(from), outside.name(to));
                outside.event(from, Event::Refused { from: from_name, to: to_name, port });
                self.dial_done(id, Err(ErrorKind::ConnectionRefused));
            }
            DialStep::Answer(Some(conn)) => {
                let (from_name, to_name) = (outside.name(from), outside.name(to));
                outside.event(from, Event::Connected { from: from_name, to: to_name, port });
                self.dial_done(id, Ok(conn));
            }
        }
    }

    /// Puts a new connection into the backlog of whoever listens.
    fn knock(&mut self, outside: &Outside, from: u32, to: u32, port: u16) -> Option<ConnId> {
        if !self.listeners.contains_key(&(to, port)) {
            return None;
        }
        let conn = self.connect(from, to);
        let peer_port = self.free_port(from).unwrap_or(0);
        let peer = format!("{}:{peer_port}", outside.machines[from as usize].ip);
        let listening = self.listeners.get_mut(&(to, port)).expect("it was there");
        listening.backlog.push_back((conn, peer));
        if let Some(waker) = listening.waker.take() {
            waker.wake();
        }
        Some(conn)
    }

    fn dial_done(&mut self, id: u64, outcome: Result<ConnId, ErrorKind>) {
        if let Some(dial) = self.dials.get_mut(&id) {
            dial.outcome = Some(outcome);
            if let Some(waker) = dial.waker.take() {
                waker.wake();
            }
        }
    }

    fn dial_poll(&mut self, id: u64, waker: &Waker) -> Poll<Result<ConnId, ErrorKind>> {
        let Some(dial) = self.dials.get_mut(&id) else {
            return Poll::Ready(Err(ErrorKind::ConnectionReset));
        };
        let Some(outcome) = dial.outcome else {
            dial.waker = Some(waker.clone());
            return Poll::Pending;
        };
        self.dials.remove(&id);
        Poll::Ready(outcome)
    }

    /// The dialer is not interested any more.
    fn dial_dropped(&mut self, outside: &mut Outside, id: u64) {
        if let Some(dial) = self.dials.remove(&id)
            && let Some(Ok(conn)) = dial.outcome
        {
            self.abort(outside, conn, 0);
        }
    }
}

/// A connection attempt. Dropping it gives it up.
pub(crate) struct Connect {
    pub(crate) core: Arc<Core>,
    pub(crate) id: u64,
    pub(crate) node: u32,
    pub(crate) incarnation: u32,
    pub(crate) address: String,
}

impl Future for Connect {
    type Output = io::Result<SimStream>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<SimStream>> {
        let polled = self.core.with(|state| state.net.dial_poll(self.id, context.waker()));
        polled.map(|outcome| match outcome {
            Ok(id) => Ok(SimStream::new(self.core.clone(), id, 0, self.node, self.incarnation)),
            Err(kind) => {
                let why = match kind {
                    ErrorKind::TimedOut => "nothing answers",
                    ErrorKind::ConnectionRefused => "nobody listens there",
                    _ => "the process is gone",
                };
                Err(io::Error::new(kind, format!("{}: {why}", self.address)))
            }
        })
    }
}

impl Drop for Connect {
    fn drop(&mut self) {
        self.core.with(|state| state.net.dial_dropped(&mut state.outside, self.id));
    }
}
