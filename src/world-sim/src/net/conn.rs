//! One connection: two ends, and a half of it in each direction.

use crate::queue::Key;
use bytes::Bytes;
use std::collections::VecDeque;
use std::task::Waker;

/// A connection's place and the generation of what lies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndState {
    /// The application has it.
    Open,
    /// The application has let go; what was sent before is still being delivered.
    Closed,
    /// Process or machine are gone; nothing is sent any more.
    Dead,
}

#[derive(Debug)]
pub(crate) struct End {
    pub(crate) node: u32,
    pub(crate) state: EndState,
    /// The peer, or something on the way, has reset the connection.
    pub(crate) reset: bool,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Data(Bytes),
    Fin,
    Reset,
    /// The peer's reader has taken so many bytes.
    Credit(usize),
}

#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) sent: u64,
    pub(crate) arrival: u64,
    pub(crate) kind: Kind,
}

/// One direction: from end `s` to end `1 - s` where it is `halves[s]`.
#[derive(Debug, Default)]
pub(crate) struct Half {
    /// What is on its way, in order. Only its first packet has a place in the queue.
    pub(crate) flight: VecDeque<Packet>,
    pub(crate) timer: Option<Key>,
    /// The way is closed; the flight waits for it to be opened.
    pub(crate) stalled: bool,
    pub(crate) last_arrival: u64,
    /// Invariant: sent and not yet credited by the reader; at most the window.
    pub(crate) used: usize,
    pub(crate) fin_sent: bool,
    pub(crate) write_waker: Option<Waker>,
    /// What has arrived and was not read.
    pub(crate) inbox: VecDeque<Bytes>,
    pub(crate) uncredited: usize,
    /// The end of the stream has arrived.
    pub(crate) ended: bool,
    pub(crate) read_waker: Option<Waker>,
}

#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) ends: [End; 2],
    pub(crate) halves: [Half; 2],
}

impl Conn {
    pub(crate) fn new(from: u32, to: u32) -> Self {
        let end = |node| End { node, state: EndState::Open, reset: false };
        Self { ends: [end(from), end(to)], halves: [Half::default(), Half::default()] }
    }

    /// From which node to which `halves[side]` leads.
    pub(crate) fn route(&self, side: usize) -> (u32, u32) {
        (self.ends[side].node, self.ends[1 - side].node)
    }

    /// Tells whoever waits at this end to look again.
    pub(crate) fn wake(&mut self, side: usize) {
        let (read, write) = (&mut self.halves[1 - side].read_waker, &mut self.halves[side].write_waker);
        for waker in [read, write].into_iter().filter_map(Option::take) {
            waker.wake();
        }
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Conns {
    slots: Vec<(u32, Option<Conn>)>,
    free: Vec<u32>,
}

impl Conns {
    pub(crate) fn insert(&mut self, conn: Conn) -> ConnId {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.1 = Some(conn);
            return ConnId { index, generation: slot.0 };
        }
        self.slots.push((0, Some(conn)));
        ConnId { index: self.slots.len() as u32 - 1, generation: 0 }
    }

    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        let (generation, conn) = self.slots.get_mut(id.index as usize)?;
        if *generation == id.generation { conn.as_mut() } else { None }
    }

    pub(crate) fn remove(&mut self, id: ConnId) -> Option<Conn> {
        let (generation, conn) = self.slots.get_mut(id.index as usize)?;
        if *generation != id.generation {
            return None;
        }
        let conn = conn.take()?;
        *generation += 1;
        self.free.push(id.index);
        Some(conn)
    }

    pub(crate) fn ids(&self) -> Vec<ConnId> {
        let live = |(index, (generation, conn)): (usize, &(u32, Option<Conn>))| {
            conn.as_ref().map(|_| ConnId { index: index as u32, generation: *generation })
        };
        self.slots.iter().enumerate().filter_map(live).collect()
    }
}
