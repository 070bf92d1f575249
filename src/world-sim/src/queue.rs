//! What is due when: one ordered queue for packets and sleeps.

use crate::machine::Action;
use crate::net::Due as NetDue;
use std::collections::BTreeMap;
use std::task::Waker;

/// A place in the queue: true time in nanoseconds, then the order of insertion.
pub(crate) type Key = (u64, u64);

pub(crate) enum Due {
    /// A sleep of this node runs out.
    Wake { node: u32, waker: Waker },
    /// Something in the network.
    Net(NetDue),
    /// The pump has something to do.
    Act(Action),
    /// Nothing, but the pump shall look.
    Nothing,
}

#[derive(Default)]
pub(crate) struct Queue {
    events: BTreeMap<Key, Due>,
    sequence: u64,
    /// Times at which the executor will wake the pump, latest first. It cannot take a timer back, so a timer
    /// is asked for only where none comes early enough; one that comes too early is harmless.
    armed: Vec<u64>,
}

impl Queue {
    pub(crate) fn push(&mut self, at: u64, due: Due) -> Key {
        let key = (at, self.sequence);
        self.sequence += 1;
        self.events.insert(key, due);
        key
    }

    pub(crate) fn cancel(&mut self, key: Key) {
        self.events.remove(&key);
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Due> {
        self.events.get_mut(&key)
    }

    pub(crate) fn pop_due(&mut self, now: u64) -> Option<Due> {
        let entry = self.events.first_entry()?;
        if entry.key().0 <= now { Some(entry.remove()) } else { None }
    }

    /// Takes all sleeps of a node out: its clock has changed, so each must look again.
    pub(crate) fn take_wakes(&mut self, node: u32) -> Vec<Waker> {
        let of_node = |due: &Due| matches!(due, Due::Wake { node: of, .. } if *of == node);
        let keys: Vec<Key> =
            self.events.iter().filter(|(_, due)| of_node(due)).map(|(key, _)| *key).collect();
        let mut wakers = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(Due::Wake { waker, .. }) = self.events.remove(&key) {
                wakers.push(waker);
            }
        }
        wakers
    }

    /// A time at which the pump must be woken and for which no timer was asked yet.
    pub(crate) fn arm(&mut self, now: u64) -> Option<u64> {
        while self.armed.last().is_some_and(|&at| at <= now) {
            self.armed.pop();
        }
        // Where the event is due already, the very next moment must do.
        let next = self.events.first_key_value()?.0.0.max(now + 1);
        if self.armed.last().is_some_and(|&at| at <= next) {
            return None;
        }
        self.armed.push(next);
        Some(next)
    }

    pub(crate) fn clear(&mut self) {
        self.events.clear();
    }
}
