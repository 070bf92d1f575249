//! The v2 key space: reads, those who wait for changes, and the clock by which things run out.
//!
//! The leader moves the clock through the log, while there is anything that runs out. It goes on from where the log left
//! it by what has passed on the leader's own monotonic clock since it leads; between two leaders it stands still. So
//! nothing is ended before its time by any leader's clock, and a change of leader lets it live longer.

use super::{Member, Output, Timer};
use crate::proposal::{Action, Proposal};
use seatrial_raft::Role;
use seatrial_store::{Backend, Command};
use seatrial_types::Term;
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::v2::{V2Answer, V2Request, V2Response, V2Watch, V2WatchId, V2Watching};
use std::time::Duration;

/// How often the clock moves (etcd: the same).
const TICK: Duration = Duration::from_millis(500);

/// The clock as its leader reckons it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Clock {
    /// Since when this member leads, and where the clock stood then.
    led: Option<Led>,
    is_armed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Led {
    term: Term,
    since: Duration,
    clock_ms: u64,
}

impl<B: Backend> Member<B> {
    /// Header and place in the log are filled in with what is so now.
    pub(super) fn evaluate_v2(&mut self, request: &V2Request) -> V2Response {
        let raft_index = self.store.applied().0;
        let response = match request {
            V2Request::Read { path, recursive, .. } => self.store.v2_mut().read(path, *recursive),
            V2Request::Stats => self.store.v2().stats(),
            V2Request::Standing => {
                let standing = Ok(V2Answer::Standing(self.standing()));
                V2Response { result: standing, ..self.store.v2().stats() }
            }
            V2Request::Change(change) => unreachable!("{change:?} is not a read"),
        };
        V2Response { raft_index, ..response }
    }

    pub(super) fn step_v2_watch(&mut self, id: V2WatchId, watch: V2Watch) {
        let raft_index = self.store.applied().0;
        let result = self.store.v2_mut().watch(id, watch);
        let result = result.map(|index| V2Watching { header: self.header(), raft_index, index });
        self.output(Output::V2Watching { id, result });
        self.tell_v2();
    }

    /// Hands out what those who wait are to be told.
    pub(super) fn tell_v2(&mut self) {
        for output in self.store.v2_mut().take_outputs() {
            self.output(Output::V2(output));
        }
    }

    /// Where the clock is now, if this member may say so: it leads, and has applied all that older leaders committed.
    fn v2_clock_ms(&mut self) -> Option<u64> {
        let term = self.raft.term();
        if self.raft.role() != Role::Leader {
            self.v2.led = None;
            return None;
        }
        let led = match self.v2.led.filter(|led| led.term == term) {
            Some(led) => led,
            None => {
                if self.raft.term_at(self.raft.applied_index()) != Some(term) {
                    return None;
                }
                // The time that a member runs is no time that it led.
                let since = if is_planted(Planted::T02) { Duration::ZERO } else { self.now };
                let led = Led { term, since, clock_ms: self.store.v2().tree().clock_ms() };
                self.v2.led = Some(led);
                led
            }
        };
        let passed = self.now.saturating_sub(led.since).as_millis();
        Some(led.clock_ms.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX)))
    }

    /// Lets the clock move where something runs out and this member leads.
    pub(super) fn arm_v2_tick(&mut self) {
        if self.v2.is_armed || !self.store.v2().tree().has_lives() || self.v2_clock_ms().is_none() {
            return;
        }
        self.v2.is_armed = true;
        self.output(Output::SetTimer { timer: Timer::V2Tick, min: TICK, max: TICK });
    }

    pub(super) fn fire_v2_tick(&mut self) {
        self.v2.is_armed = false;
        if !self.store.v2().tree().has_lives() {
            return;
        }
        // What waits here came before, and must stand before it in the log: else it would live by a clock that moved
        // before it was written.
        self.submit_proposals();
        let Some(clock_ms) = self.v2_clock_ms() else { return };
        let action = Action::Store(Command::V2Tick(clock_ms));
        let proposal = Proposal { origin: self.id(), request: Proposal::NOBODY, action };
        // Refused (too much is uncommitted, or it leads no longer): the next one comes soon.
        let _ = self.raft.propose(vec![proposal.encode()]);
    }
}
