//! The machines, and what network and disks share: the time, the queue, the trace.

use crate::chance::Chance;
use crate::clock::NodeClock;
use crate::disk::DiskState;
use crate::observe::{Event, Name};
use crate::queue::{Due, Queue};
use crate::trace::{Trace, What};
use bytes::Bytes;
use std::net::Ipv4Addr;
use std::task::Waker;
use std::time::Duration;

/// One machine with at most one process on it.
pub(crate) struct Machine {
    pub(crate) name: Name,
    pub(crate) ip: Ipv4Addr,
    pub(crate) clock: NodeClock,
    pub(crate) powered: bool,
    pub(crate) paused: bool,
    /// Whether its process runs.
    pub(crate) alive: bool,
    /// How often its process was started. What holds an older number belongs to a process that is gone.
    pub(crate) incarnation: u32,
    /// The machine's time at which the process was started: its monotonic clock counts from there.
    pub(crate) started: u64,
    pub(crate) chance: Chance,
    pub(crate) disk: DiskState,
    /// Who waits for the process to end.
    pub(crate) down: Vec<Waker>,
}

/// What the pump has to do where no lock is held.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// The disk of this machine froze: its power is gone.
    PowerCut(u32),
    /// This process's first task has ended: end the others.
    Exit { node: u32, incarnation: u32 },
    /// They have ended.
    Exited { node: u32, incarnation: u32 },
}

/// What lies outside of network and disks and is used by both.
pub(crate) struct Outside {
    /// True time in nanoseconds, as of the latest entry into the core.
    pub(crate) now: u64,
    pub(crate) queue: Queue,
    pub(crate) machines: Vec<Machine>,
    pub(crate) trace: Trace,
    /// What observers have not been told yet.
    pub(crate) events: Vec<(u64, Event)>,
    pub(crate) observed: bool,
    pub(crate) packet_sample: u64,
    pub(crate) packets: u64,
    actions: Vec<Action>,
}

impl Outside {
    pub(crate) fn new(seed: u64, keep_max: usize, packet_sample: u64) -> Self {
        Self {
            now: 0,
            queue: Queue::default(),
            machines: Vec::new(),
            trace: Trace::new(seed, keep_max),
            events: Vec::new(),
            observed: false,
            packet_sample,
            packets: 0,
            actions: Vec::new(),
        }
    }

    /// Hands the pump something to do, at once.
    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push(action);
        // Anything in the queue wakes it.
        self.queue.push(self.now, Due::Nothing);
    }

    pub(crate) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    pub(crate) fn name(&self, node: u32) -> Name {
        self.machines[node as usize].name.clone()
    }

    pub(crate) fn event(&mut self, node: u32, event: Event) {
        self.trace.text(self.now, What::Event, node, &event.to_string());
        if self.observed {
            self.events.push((self.now, event));
        }
    }

    /// Tells observers of every so-many-th packet.
    pub(crate) fn sample_packet(&mut self, from: u32, to: u32, sent: u64, bytes: &Bytes) {
        self.packets += 1;
        if self.observed && self.packet_sample > 0 && self.packets.is_multiple_of(self.packet_sample) {
            let (from, to) = (self.name(from), self.name(to));
            let (sent, bytes) = (Duration::from_nanos(sent), bytes.clone());
            self.events.push((self.now, Event::Packet { from, to, sent, bytes }));
        }
    }

    /// Whether this incarnation is the process that runs.
    pub(crate) fn is_current(&self, node: u32, incarnation: u32) -> bool {
        let machine = &self.machines[node as usize];
        machine.alive && machine.incarnation == incarnation
    }

    /// Whether the process is gone, or going because its machine's disk froze: what it does now is not real.
    pub(crate) fn is_doomed(&self, node: u32, incarnation: u32) -> bool {
        !self.is_current(node, incarnation) || self.machines[node as usize].disk.is_frozen()
    }
}
