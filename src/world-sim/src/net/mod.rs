//! The network: ordered, windowed streams of bytes over links that delay, stall, cut and reset.
//!
//! One value, driven by one queue: no task per packet. A stream keeps its order whatever happens below it, as
//! TCP does; so loss is a stall, and what is on its way when a link is cut waits and arrives after it is healed.

mod conn;
mod dial;
mod link;
mod stream;

pub use link::{CutKind, LinkRule};
pub use stream::{SimListener, SimStream};

pub(crate) use conn::ConnId;
pub(crate) use dial::{Connect, DialStep};

use crate::chance::{Chance, nanos};
use crate::machine::Outside;
use crate::observe::Event;
use crate::queue::Due as QueueDue;
use crate::trace::{NO_LABEL, What, hash};
use bytes::{Bytes, BytesMut};
use conn::{Conn, Conns, EndState, Kind, Packet};
use dial::Dial;
use link::Link;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice};
use std::task::{Poll, Waker};
use std::time::Duration;
use tokio::io::ReadBuf;

/// How long a packet takes within one node.
const LOOPBACK: u64 = 15_000;

/// What is in the queue for the network.
pub(crate) enum Due {
    /// The first packet of this half arrives.
    Packet(ConnId, usize),
    /// A connection attempt goes on.
    Dial(u64, DialStep),
}

/// Settings of the network as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct NetOptions {
    /// The rule of every link that has none of its own.
    pub link: LinkRule,
    /// Bytes that a stream may hold which the reader has not taken.
    pub window_bytes: usize,
    /// The probability with which a read returns fewer bytes than it could.
    pub short_reads: f64,
    /// How long a connection attempt is repeated where nothing answers.
    pub connect_timeout: Duration,
    /// After a link is healed, a stream goes on within so much time: its sender has to try again first.
    pub thaw_max: Duration,
    /// Connections that wait to be accepted, per listener.
    pub backlog_max: usize,
}

impl Default for NetOptions {
    fn default() -> Self {
        Self {
            link: LinkRule::default(),
            window_bytes: 128 * 1024,
            short_reads: 0.02,
            connect_timeout: Duration::from_secs(20),
            thaw_max: Duration::from_millis(200),
            backlog_max: 1024,
        }
    }
}

/// Somebody who listens.
pub(crate) struct Listening {
    backlog: VecDeque<(ConnId, String)>,
    waker: Option<Waker>,
}

pub(crate) struct Net {
    options: NetOptions,
    chance: Chance,
    links: Vec<Vec<Link>>,
    conns: Conns,
    listeners: BTreeMap<(u32, u16), Listening>,
    dials: BTreeMap<u64, Dial>,
    dials_made: u64,
    ports: Vec<u16>,
}

impl Net {
    pub(crate) fn new(options: NetOptions, seed: u64) -> Self {
        Self {
            options,
            chance: Chance::new(seed, "net"),
            links: Vec::new(),
            conns: Conns::default(),
            listeners: BTreeMap::new(),
            dials: BTreeMap::new(),
            dials_made: 0,
            ports: Vec::new(),
        }
    }

    pub(crate) fn add_node(&mut self) {
        for row in &mut self.links {
            row.push(Link::default());
        }
        let nodes = self.links.len() + 1;
        self.links.push(vec![Link::default(); nodes]);
        self.ports.push(32_768);
    }

    fn link(&mut self, from: u32, to: u32) -> &mut Link {
        &mut self.links[from as usize][to as usize]
    }

    fn rule(&self, from: u32, to: u32) -> &LinkRule {
        self.links[from as usize][to as usize].rule.as_ref().unwrap_or(&self.options.link)
    }

    /// Whether what is sent this way vanishes.
    fn is_blocked(&self, outside: &Outside, from: u32, to: u32) -> bool {
        if from == to {
            return false;
        }
        let link = &self.links[from as usize][to as usize];
        link.cut == Some(CutKind::BlackHole)
            || self.rule(from, to).loss >= 1.0
            || !outside.machines[to as usize].powered
    }

    fn is_resetting(&self, from: u32, to: u32) -> bool {
        self.links[from as usize][to as usize].cut == Some(CutKind::Reset)
    }

    fn arrival(&mut self, now: u64, from: u32, to: u32, bytes: usize, flight: usize) -> u64 {
        if from == to {
            return now + LOOPBACK;
        }
        let link = &mut self.links[from as usize][to as usize];
        let rule = link.rule.take();
        let arrival =
            link.arrival(rule.as_ref().unwrap_or(&self.options.link), &mut self.chance, now, bytes, flight);
        link.rule = rule;
        arrival
    }

    // ---- Packets.

    /// Puts a packet on its way.
    fn send(&mut self, outside: &mut Outside, id: ConnId, side: usize, kind: Kind) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let (from, to) = conn.route(side);
        let half = &conn.halves[side];
        let (flight, stalled) = (half.flight.len(), half.stalled);
        let bytes = match &kind {
            Kind::Data(bytes) => bytes.len(),
            _ => 0,
        };
        let stalled = stalled || self.is_blocked(outside, from, to);
        // What waits for the link to be healed gets its time then.
        let arrival = if stalled { outside.now } else { self.arrival(outside.now, from, to, bytes, flight) };
        let conn = self.conns.get_mut(id).expect("it was there");
        let half = &mut conn.halves[side];
        let arrival = arrival.max(half.last_arrival);
        half.last_arrival = arrival;
        half.stalled = stalled;
        half.flight.push_back(Packet { sent: outside.now, arrival, kind });
        if !stalled && half.timer.is_none() {
            let first = half.flight[0].arrival;
            half.timer = Some(outside.queue.push(first, QueueDue::Net(Due::Packet(id, side))));
        }
    }

    pub(crate) fn run(&mut self, outside: &mut Outside, due: Due) {
        match due {
            Due::Packet(id, side) => self.deliver(outside, id, side),
            Due::Dial(id, step) => self.dial_step(outside, id, step),
        }
    }

    /// Delivers what is due on one half, as far as the link lets it.
    fn deliver(&mut self, outside: &mut Outside, id: ConnId, side: usize) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.halves[side].timer = None;
        let (from, to) = conn.route(side);
        loop {
            let (blocked, resetting) = (self.is_blocked(outside, from, to), self.is_resetting(from, to));
            let back_open = !self.is_blocked(outside, to, from);
            let Some(conn) = self.conns.get_mut(id) else { return };
            let half = &mut conn.halves[side];
            let Some(packet) = half.flight.front() else { return };
            if packet.arrival > outside.now {
                half.timer = Some(outside.queue.push(packet.arrival, QueueDue::Net(Due::Packet(id, side))));
                return;
            }
            if blocked {
                if conn.ends[side].state == EndState::Dead {
                    // Nobody is left to send it again.
                    half.flight.clear();
                } else {
                    half.stalled = true;
                }
                return;
            }
            if resetting && !matches!(packet.kind, Kind::Credit(_)) {
                half.flight.clear();
                self.reset_end(outside, id, side, to);
                return;
            }
            let receiver = &conn.ends[1 - side];
            let receiver_gone = receiver.state != EndState::Open || receiver.reset;
            if receiver_gone && matches!(packet.kind, Kind::Data(_)) {
                if !back_open {
                    // The answer, a reset, cannot come through; the sender tries again after the way is open.
                    half.stalled = true;
                    return;
                }
                half.flight.clear();
                self.send(outside, id, 1 - side, Kind::Reset);
                return;
            }
            let packet = half.flight.pop_front().expect("it was there");
            self.receive(outside, id, side, packet.sent, packet.kind);
        }
    }

    fn receive(&mut self, outside: &mut Outside, id: ConnId, side: usize, sent: u64, kind: Kind) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let (from, to) = conn.route(side);
        let half = &mut conn.halves[side];
        match kind {
            Kind::Data(bytes) => {
                let (len, content) = (bytes.len(), hash(&bytes));
                outside.trace.push(outside.now, What::Packet, (from, to), NO_LABEL, 0, len as u64, content);
                outside.sample_packet(from, to, sent, &bytes);
                half.inbox.push_back(bytes);
                if let Some(waker) = half.read_waker.take() {
                    waker.wake();
                }
            }
            Kind::Fin => {
                half.ended = true;
                if let Some(waker) = half.read_waker.take() {
                    waker.wake();
                }
            }
            Kind::Reset => self.reset_end(outside, id, 1 - side, from),
            Kind::Credit(bytes) => {
                let sending = &mut conn.halves[1 - side];
                sending.used -= bytes;
                if let Some(waker) = sending.write_waker.take() {
                    waker.wake();
                }
            }
        }
    }

    /// This end learns that the connection is broken.
    fn reset_end(&mut self, outside: &mut Outside, id: ConnId, side: usize, by: u32) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.ends[side].reset || conn.ends[side].state != EndState::Open {
            return;
        }
        conn.ends[side].reset = true;
        let sending = &mut conn.halves[side];
        sending.flight.clear();
        if let Some(key) = sending.timer.take() {
            outside.queue.cancel(key);
        }
        conn.wake(side);
        let node = conn.ends[side].node;
        let (from, to) = (outside.name(by), outside.name(node));
        outside.event(node, Event::Reset { from, to });
    }

    // ---- What an open end does.

    pub(crate) fn write(
        &mut self,
        outside: &mut Outside,
        id: ConnId,
        side: usize,
        slices: &[IoSlice<'_>],
        waker: &Waker,
    ) -> Poll<io::Result<usize>> {
        let window = self.options.window_bytes;
        let Some(conn) = self.conns.get_mut(id) else { return Poll::Ready(Err(broken())) };
        if conn.ends[side].state != EndState::Open || conn.ends[side].reset {
            return Poll::Ready(Err(broken()));
        }
        let half = &mut conn.halves[side];
        if half.fin_sent {
            return Poll::Ready(Err(io::Error::new(ErrorKind::BrokenPipe, "the stream was shut down")));
        }
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        if total == 0 {
            return Poll::Ready(Ok(0));
        }
        assert!(half.used <= window, "{} bytes on their way in a window of {window}", half.used);
        let count = total.min(window - half.used);
        if count == 0 {
            half.write_waker = Some(waker.clone());
            return Poll::Pending;
        }
        half.used += count;
        let bytes = match slices {
            [one] => Bytes::copy_from_slice(&one[..count]),
            _ => {
                let mut bytes = BytesMut::with_capacity(count);
                for slice in slices {
                    let left = count - bytes.len();
                    bytes.extend_from_slice(&slice[..slice.len().min(left)]);
                }
                bytes.freeze()
            }
        };
        self.send(outside, id, side, Kind::Data(bytes));
        Poll::Ready(Ok(count))
    }

    pub(crate) fn read(
        &mut self,
        outside: &mut Outside,
        id: ConnId,
        side: usize,
        buffer: &mut ReadBuf<'_>,
        waker: &Waker,
    ) -> Poll<io::Result<()>> {
        let Some(conn) = self.conns.get_mut(id) else { return Poll::Ready(Err(broken())) };
        if conn.ends[side].state != EndState::Open {
            return Poll::Ready(Err(broken()));
        }
        let half = &mut conn.halves[1 - side];
        let mut room = buffer.remaining();
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        if half.inbox.is_empty() {
            if conn.ends[side].reset {
                return Poll::Ready(Err(broken()));
            }
            if half.ended {
                return Poll::Ready(Ok(()));
            }
            half.read_waker = Some(waker.clone());
            return Poll::Pending;
        }
        if self.chance.bool(self.options.short_reads) {
            let most = half.inbox.front().map_or(1, Bytes::len).min(room);
            room = 1 + self.chance.below(most as u64) as usize;
        }
        let mut count = 0;
        while room > 0 {
            let Some(front) = half.inbox.front_mut() else { break };
            let part = front.split_to(front.len().min(room));
            if front.is_empty() {
                half.inbox.pop_front();
            }
            buffer.put_slice(&part);
            room -= part.len();
            count += part.len();
        }
        half.uncredited += count;
        if half.uncredited >= self.options.window_bytes / 4 && !half.ended {
            let credit = std::mem::take(&mut half.uncredited);
            self.send(outside, id, side, Kind::Credit(credit));
        }
        Poll::Ready(Ok(()))
    }

    /// Ends one direction.
    pub(crate) fn shutdown(&mut self, outside: &mut Outside, id: ConnId, side: usize) -> io::Result<()> {
        let Some(conn) = self.conns.get_mut(id) else { return Err(broken()) };
        if conn.ends[side].state != EndState::Open || conn.ends[side].reset {
            return Err(io::Error::new(ErrorKind::NotConnected, "the connection is gone"));
        }
        if !std::mem::replace(&mut conn.halves[side].fin_sent, true) {
            self.send(outside, id, side, Kind::Fin);
        }
        Ok(())
    }

    /// The application lets go of its end.
    pub(crate) fn close(&mut self, outside: &mut Outside, id: ConnId, side: usize) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.ends[side].state != EndState::Open {
            return;
        }
        conn.ends[side].state = EndState::Closed;
        conn.halves[side].write_waker = None;
        conn.halves[1 - side].read_waker = None;
        let unread = !conn.halves[1 - side].inbox.is_empty();
        let fin_sent = conn.halves[side].fin_sent;
        conn.halves[1 - side].inbox.clear();
        if !conn.ends[side].reset {
            // What was never read is lost, and the sender is told so (RFC 2525 §2.17).
            if unread {
                self.send(outside, id, side, Kind::Reset);
            } else if !fin_sent {
                conn.halves[side].fin_sent = true;
                self.send(outside, id, side, Kind::Fin);
            }
        }
        self.free_if_gone(outside, id);
    }

    /// A connection whose two ends are gone has nobody who could see what is still on its way.
    fn free_if_gone(&mut self, outside: &mut Outside, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.ends.iter().all(|end| end.state != EndState::Open)
            && let Some(conn) = self.conns.remove(id)
        {
            for half in conn.halves {
                if let Some(key) = half.timer {
                    outside.queue.cancel(key);
                }
            }
        }
    }

    // ---- Listeners.

    pub(crate) fn listen(&mut self, node: u32, port: u16) -> io::Result<u16> {
        let port = if port == 0 { self.free_port(node)? } else { port };
        if self.listeners.contains_key(&(node, port)) {
            return Err(io::Error::new(ErrorKind::AddrInUse, format!("port {port} is in use")));
        }
        self.listeners.insert((node, port), Listening { backlog: VecDeque::new(), waker: None });
        Ok(port)
    }

    fn free_port(&mut self, node: u32) -> io::Result<u16> {
        for _ in 0..u16::MAX {
            let next = &mut self.ports[node as usize];
            let port = *next;
            *next = if port == u16::MAX { 32_768 } else { port + 1 };
            if !self.listeners.contains_key(&(node, port)) {
                return Ok(port);
            }
        }
        Err(io::Error::new(ErrorKind::AddrInUse, "no port is free"))
    }

    pub(crate) fn accept(
        &mut self,
        node: u32,
        port: u16,
        waker: &Waker,
    ) -> Poll<io::Result<(ConnId, String)>> {
        match self.listeners.get_mut(&(node, port)) {
            None => Poll::Ready(Err(broken())),
            Some(listening) => match listening.backlog.pop_front() {
                Some(taken) => Poll::Ready(Ok(taken)),
                None => {
                    listening.waker = Some(waker.clone());
                    Poll::Pending
                }
            },
        }
    }

    pub(crate) fn unlisten(&mut self, outside: &mut Outside, node: u32, port: u16) {
        let Some(listening) = self.listeners.remove(&(node, port)) else { return };
        for (id, _) in listening.backlog {
            self.abort(outside, id, 1);
        }
    }

    /// An end that no application will ever hold is gone, and its peer learns so.
    fn abort(&mut self, outside: &mut Outside, id: ConnId, side: usize) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.ends[side].state == EndState::Open {
            conn.ends[side].state = EndState::Closed;
            self.send(outside, id, side, Kind::Reset);
            self.free_if_gone(outside, id);
        }
    }

    // ---- Faults.

    /// Everything of a process is gone. A running machine tells the peers so; one without power tells nobody.
    pub(crate) fn node_died(&mut self, outside: &mut Outside, node: u32, power_lost: bool) {
        self.listeners.retain(|&(of, _), _| of != node);
        self.dials.retain(|_, dial| dial.from != node);
        for id in self.conns.ids() {
            for side in 0..2 {
                let Some(conn) = self.conns.get_mut(id) else { break };
                let (from, to) = conn.route(side);
                let state = conn.ends[side].state;
                if from != node || state == EndState::Dead || (state == EndState::Closed && !power_lost) {
                    continue;
                }
                conn.ends[side].state = EndState::Dead;
                conn.halves[1 - side].inbox.clear();
                conn.halves[1 - side].read_waker = None;
                let half = &mut conn.halves[side];
                half.write_waker = None;
                if half.stalled {
                    // A dead sender does not try again.
                    half.flight.clear();
                    half.stalled = false;
                } else if !power_lost && !conn.ends[side].reset && !self.is_blocked(outside, from, to) {
                    self.send(outside, id, side, Kind::Reset);
                }
            }
            self.free_if_gone(outside, id);
        }
    }

    pub(crate) fn cut(&mut self, from: u32, to: u32, kind: Option<CutKind>) -> bool {
        let link = self.link(from, to);
        std::mem::replace(&mut link.cut, kind) != kind
    }

    pub(crate) fn is_cut(&self, from: u32, to: u32) -> bool {
        self.links[from as usize][to as usize].cut.is_some()
    }

    pub(crate) fn set_rule(&mut self, outside: &mut Outside, from: u32, to: u32, rule: Option<LinkRule>) {
        let had = self.rule(from, to).bandwidth;
        self.link(from, to).rule = rule;
        let wider = |had: u64, has: Option<u64>| has.is_none_or(|has| has > had);
        if had.is_some_and(|had| wider(had, self.rule(from, to).bandwidth)) {
            self.widen(outside, from, to);
        }
    }

    /// What has waited for a narrow line leaves at once, and in its order.
    fn widen(&mut self, outside: &mut Outside, from: u32, to: u32) {
        self.link(from, to).vacate(outside.now);
        let rule = self.rule(from, to);
        let latest = outside.now + nanos(rule.latency) + nanos(rule.jitter);
        for id in self.conns.ids() {
            for side in 0..2 {
                let Some(conn) = self.conns.get_mut(id) else { break };
                let half = &mut conn.halves[side];
                if conn.ends[side].node != from || conn.ends[1 - side].node != to {
                    continue;
                }
                for packet in &mut half.flight {
                    packet.arrival = packet.arrival.min(latest);
                }
                half.last_arrival = half.last_arrival.min(latest);
                if let (Some(key), Some(first)) = (half.timer.take(), half.flight.front()) {
                    outside.queue.cancel(key);
                    half.timer =
                        Some(outside.queue.push(first.arrival, QueueDue::Net(Due::Packet(id, side))));
                }
            }
        }
    }

    pub(crate) fn set_default(&mut self, rule: LinkRule) {
        self.options.link = rule;
    }

    pub(crate) fn default_rule(&self) -> &LinkRule {
        &self.options.link
    }

    pub(crate) fn nodes(&self) -> u32 {
        self.links.len() as u32
    }

    /// Whatever waited for a way that is open now goes on.
    pub(crate) fn thaw(&mut self, outside: &mut Outside) {
        for id in self.conns.ids() {
            for side in 0..2 {
                let Some(conn) = self.conns.get_mut(id) else { break };
                let (from, to) = conn.route(side);
                if !conn.halves[side].stalled || self.is_blocked(outside, from, to) {
                    continue;
                }
                let retry = self.chance.below(nanos(self.options.thaw_max) + 1);
                let first = self.arrival(outside.now, from, to, 0, 0) + retry;
                let conn = self.conns.get_mut(id).expect("it was there");
                let half = &mut conn.halves[side];
                half.stalled = false;
                for packet in &mut half.flight {
                    packet.arrival = packet.arrival.max(first);
                    half.last_arrival = half.last_arrival.max(packet.arrival);
                }
                if !half.flight.is_empty() && half.timer.is_none() {
                    half.timer = Some(outside.queue.push(first, QueueDue::Net(Due::Packet(id, side))));
                }
            }
        }
    }

    fn connect(&mut self, from: u32, to: u32) -> ConnId {
        self.conns.insert(Conn::new(from, to))
    }
}

fn broken() -> io::Error {
    io::Error::new(ErrorKind::ConnectionReset, "the connection was reset")
}
