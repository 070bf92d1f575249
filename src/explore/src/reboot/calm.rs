//! What must come of every state once nothing goes wrong any more.

use super::room::{Power, Room, id};
use super::table::Fate;

/// Rounds in which each machine takes a turn. Together their ticks are shorter than a waiter's patience: nobody may stand
/// in the way of others until that is over.
const ROUNDS: usize = 24;

/// Accesses that one operation may need while nobody else does anything.
const ACCESSES: usize = 64;

impl Room {
    /// Goes on from here without mishaps, everybody in turn, until all have rebooted who had to, and nobody holds or waits.
    ///
    /// # Errors
    /// What is not as it should be at the end.
    pub(super) fn calm(&self) -> Result<(), String> {
        let mut room = self.clone();
        // What is on its way is lost; that it arrives is another future.
        room.late.clear();
        while room.operator.is_some() {
            room.operator_access();
        }
        if room.semaphore().max() < 1 {
            // Nobody may reboot.
            return Ok(());
        }
        for _ in 0..ROUNDS {
            for at in 0..room.machines.len() {
                room.turn(at)?;
            }
            room.ticks += 1;
            if room.unsettled().is_none() {
                return Ok(());
            }
        }
        room.unsettled().map_or(Ok(()), Err)
    }

    fn turn(&mut self, at: usize) -> Result<(), String> {
        if self.machines[at].power != Power::On {
            self.boot(at);
        } else if !self.machines[at].is_busy() && self.machines[at].agent.deadline().is_some() {
            self.due(at);
        }
        for _ in 0..ACCESSES {
            if !self.machines[at].is_busy() {
                return Ok(());
            }
            self.access(at, Fate::Well);
        }
        Err(format!("{} asks the store without end", id(at)))
    }

    fn unsettled(&self) -> Option<String> {
        if let Some(at) = self.machines.iter().position(|machine| machine.needs || machine.power != Power::On) {
            let why = self.machines[at].agent.why();
            return Some(format!("{} does not get to its reboot; it was told last: {why:?}", id(at)));
        }
        if let Some(holder) = self.semaphore().holders().first() {
            return Some(format!("{holder} keeps a slot, and knows nothing of it"));
        }
        let ledger = self.ledger();
        if let Some((reserved, _)) = ledger.reservations().next() {
            return Some(format!("{reserved} keeps a reservation"));
        }
        ledger.queue.first().map(|waiter| format!("{} keeps a place in the queue, and wants nothing", waiter.id))
    }
}
