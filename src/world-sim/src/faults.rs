//! What a scenario can do to network, disks and clocks.

use crate::chance::nanos;
use crate::core::Core;
use crate::disk::DiskLatency;
use crate::net::{CutKind, LinkRule};
use crate::observe::Event;
use crate::sim::NodeId;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// The network's faults. All are directed, except where said otherwise, and stay until taken away.
#[derive(Clone)]
pub struct NetFaults {
    pub(crate) core: Arc<Core>,
}

impl NetFaults {
    /// Gives one direction of a link a rule of its own.
    pub fn set_link(&self, from: NodeId, to: NodeId, rule: LinkRule) {
        self.core.with(|state| {
            let text = rule.to_string();
            state.net.set_rule(&mut state.outside, from.0, to.0, Some(rule));
            let (from_name, to_name) = (state.outside.name(from.0), state.outside.name(to.0));
            state.outside.event(from.0, Event::Link { from: from_name, to: to_name, rule: text });
            state.net.thaw(&mut state.outside);
        });
    }

    /// The link follows the default rule again.
    pub fn clear_link(&self, from: NodeId, to: NodeId) {
        self.core.with(|state| {
            state.net.set_rule(&mut state.outside, from.0, to.0, None);
            let text = state.net.default_rule().to_string();
            let (from_name, to_name) = (state.outside.name(from.0), state.outside.name(to.0));
            state.outside.event(from.0, Event::Link { from: from_name, to: to_name, rule: text });
            state.net.thaw(&mut state.outside);
        });
    }

    /// The rule of all links that have none of their own.
    pub fn set_default(&self, rule: LinkRule) {
        self.core.with(|state| {
            let all: Arc<str> = "every link".into();
            let event = Event::Link { from: all.clone(), to: all, rule: rule.to_string() };
            state.net.set_default(rule);
            state.outside.event(0, event);
            state.net.thaw(&mut state.outside);
        });
    }

    /// Nothing passes in this direction. What is on its way waits, and arrives after [`NetFaults::heal`].
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.cut_with(from, to, CutKind::BlackHole);
    }

    /// As [`NetFaults::cut`], saying what becomes of packets.
    pub fn cut_with(&self, from: NodeId, to: NodeId, kind: CutKind) {
        self.core.with(|state| state.set_cut(from.0, to.0, Some(kind)));
    }

    /// Opens this direction again.
    pub fn heal(&self, from: NodeId, to: NodeId) {
        self.core.with(|state| {
            state.set_cut(from.0, to.0, None);
            state.net.thaw(&mut state.outside);
        });
    }

    /// Cuts both directions between nodes of different groups. Nodes in no group keep all their links, and links
    /// that are cut already stay so.
    pub fn partition(&self, groups: &[&[NodeId]]) {
        self.core.with(|state| {
            for (index, group) in groups.iter().enumerate() {
                for other in groups.iter().skip(index + 1) {
                    for &a in *group {
                        for &b in *other {
                            state.set_cut(a.0, b.0, Some(CutKind::BlackHole));
                            state.set_cut(b.0, a.0, Some(CutKind::BlackHole));
                        }
                    }
                }
            }
        });
    }

    /// Cuts both directions between this node and all others.
    pub fn isolate(&self, node: NodeId) {
        self.core.with(|state| {
            for other in (0..state.net.nodes()).filter(|&other| other != node.0) {
                state.set_cut(node.0, other, Some(CutKind::BlackHole));
                state.set_cut(other, node.0, Some(CutKind::BlackHole));
            }
        });
    }

    /// Heals every cut. Rules of links stay.
    pub fn heal_all(&self) {
        self.core.with(|state| {
            for from in 0..state.net.nodes() {
                for to in 0..state.net.nodes() {
                    state.set_cut(from, to, None);
                }
            }
            state.net.thaw(&mut state.outside);
        });
    }

    /// Whether this direction is cut.
    #[must_use]
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.core.with(|state| state.net.is_cut(from.0, to.0))
    }
}

impl crate::core::State {
    fn set_cut(&mut self, from: u32, to: u32, kind: Option<CutKind>) {
        assert!(from != to || kind.is_none(), "a node cannot be cut off from itself");
        if !self.net.cut(from, to, kind) {
            return;
        }
        let (from_name, to_name) = (self.outside.name(from), self.outside.name(to));
        self.outside.event(
            from,
            match kind {
                Some(kind) => Event::Cut { from: from_name, to: to_name, kind },
                None => Event::Healed { from: from_name, to: to_name },
            },
        );
    }
}

/// How often a fault bites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// The next time only.
    Once,
    /// So many times.
    Count(u32),
    /// Until the disk is repaired.
    Always,
}

impl Times {
    fn number(self) -> Option<u32> {
        match self {
            Self::Once => Some(1),
            Self::Count(count) => Some(count),
            Self::Always => None,
        }
    }
}

/// The faults of one machine's disk. They belong to the hardware and outlast restarts. `part` stands for every
/// file whose path, from the disk's uppermost folder on, contains it; the empty text for all.
#[derive(Clone)]
pub struct DiskFaults {
    pub(crate) core: Arc<Core>,
    pub(crate) node: u32,
}

impl DiskFaults {
    fn with<T>(&self, fault: String, change: impl FnOnce(&mut crate::disk::DiskState) -> T) -> T {
        self.core.with(|state| {
            let result = change(&mut state.outside.machines[self.node as usize].disk);
            let node = state.outside.name(self.node);
            state.outside.event(self.node, Event::DiskFault { node, fault });
            result
        })
    }

    /// Syncs fail. What was to be synced counts as clean from then on and is lost at a power loss, as on Linux.
    pub fn fail_sync(&self, part: &str, times: Times) {
        let fault = format!("syncs of *{part}* fail ({times:?})");
        self.with(fault, |disk| disk.faults.fail_sync(part, times.number()));
    }

    /// Syncs of these files fail no more: of the rules for exactly this text.
    pub fn spare_syncs(&self, part: &str) {
        self.with(format!("syncs of *{part}* are spared"), |disk| disk.faults.spare_syncs(part));
    }

    /// Reads fail of what does not stand in the page cache.
    pub fn fail_read(&self, part: &str, times: Times) {
        let fault = format!("reads of *{part}* fail ({times:?})");
        self.with(fault, |disk| disk.faults.fail_read(part, times.number()));
    }

    /// Reads of these files fail no more, as with [`DiskFaults::spare_syncs`].
    pub fn spare_reads(&self, part: &str) {
        self.with(format!("reads of *{part}* are spared"), |disk| disk.faults.spare_reads(part));
    }

    /// What is clean in the page cache makes room for something else, and is read from the medium the next time.
    pub fn drop_cache(&self, part: &str) {
        self.with(format!("*{part}* leaves the page cache"), |disk| disk.drop_cache(part));
    }

    /// A sector that a sync makes durable lands at the place of another sector of the same file; its own place keeps what it
    /// had. The sync knows nothing of it.
    pub fn misdirect(&self, part: &str, times: Times) {
        let fault = format!("writes of *{part}* go astray ({times:?})");
        self.with(fault, |disk| disk.faults.misdirect(part, times.number()));
    }

    /// Writes of these files go astray no more, as with [`DiskFaults::spare_syncs`].
    pub fn spare_writes(&self, part: &str) {
        self.with(format!("writes of *{part}* go where they should"), |disk| disk.faults.spare_writes(part));
    }

    /// Writes fail, after a part of the bytes was written.
    pub fn fail_write(&self, part: &str, times: Times) {
        let fault = format!("writes of *{part}* fail ({times:?})");
        self.with(fault, |disk| disk.faults.fail_write(part, times.number()));
    }

    /// Syncs report success and do nothing.
    pub fn lie_about_syncs(&self, lying: bool) {
        let fault = if lying { "syncs lie" } else { "syncs are honest" };
        self.with(fault.to_owned(), |disk| disk.faults.lying_sync = lying);
    }

    /// Flips bits at rest, drawn within this range of bytes. Returns the paths of the files that were hit.
    pub fn rot(&self, part: &str, range: Range<u64>, bits: u32) -> Vec<String> {
        let fault = format!("{bits} bits rot in *{part}*, bytes {range:?}");
        self.with(fault, |disk| disk.rot(part, range, bits))
    }

    /// The disk holds so many bytes; `None` is as many as one likes.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.with(format!("capacity {bytes:?}"), |disk| disk.faults.capacity = bytes);
    }

    /// The latencies of disk work.
    pub fn set_latency(&self, latency: DiskLatency) {
        self.with(format!("{latency:?}"), |disk| disk.latency = latency);
    }

    /// No disk work is done for so long; what has begun to wait waits on.
    pub fn stall(&self, duration: Duration) {
        let until = self.core.with(|state| state.outside.now).saturating_add(nanos(duration));
        self.with(format!("stalls for {duration:?}"), |disk| disk.faults.stalled_until = until);
    }

    /// Ends a stall.
    pub fn unstall(&self) {
        self.with("does not stall".to_owned(), |disk| disk.faults.stalled_until = 0);
        self.core.with(|state| {
            for waker in state.outside.queue.take_wakes(self.node) {
                waker.wake();
            }
        });
    }

    /// After so many more operations that change the disk, the machine loses its power: in the middle of
    /// whatever the process is doing.
    pub fn power_loss_after_ops(&self, operations: u64) {
        let fault = format!("power loss after {operations} operations");
        self.with(fault, |disk| disk.faults.power_left = Some(operations));
    }

    /// Takes [`DiskFaults::power_loss_after_ops`] back, where it has not come to it yet.
    pub fn keep_power(&self) {
        self.with("the power stays".to_owned(), |disk| disk.faults.power_left = None);
    }

    /// Takes all faults away, and gives the disk its normal latency.
    pub fn repair(&self) {
        self.with("repaired".to_owned(), |disk| {
            disk.faults.repair();
            disk.latency = DiskLatency::default();
        });
        self.unstall();
    }

    /// The bytes of a file as a program would read them; `None` where there is no such file.
    #[must_use]
    pub fn peek(&self, path: &str) -> Option<Vec<u8>> {
        self.core.with(|state| state.outside.machines[self.node as usize].disk.peek(path))
    }

    /// The paths of all files.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        self.core.with(|state| state.outside.machines[self.node as usize].disk.paths())
    }
}

/// The faults of one machine's clock.
#[derive(Clone)]
pub struct ClockFaults {
    pub(crate) core: Arc<Core>,
    pub(crate) node: u32,
}

impl ClockFaults {
    /// From now on the clock runs fast by so many parts per million; slow where negative. Sleeps under way
    /// follow.
    ///
    /// # Panics
    /// At -1,000,000 or less, where time would stand still.
    pub fn set_drift(&self, ppm: i64) {
        self.core.with(|state| {
            let outside = &mut state.outside;
            outside.machines[self.node as usize].clock.set_drift(outside.now, ppm);
            for waker in outside.queue.take_wakes(self.node) {
                waker.wake();
            }
            let node = outside.name(self.node);
            outside.event(self.node, Event::Drift { node, ppm });
        });
    }

    /// Moves the wall clock forward by so many milliseconds; backward where negative. The monotonic clock does
    /// not notice.
    pub fn step_wall(&self, by_ms: i64) {
        self.core.with(|state| {
            let outside = &mut state.outside;
            outside.machines[self.node as usize].clock.step_wall(i128::from(by_ms) * 1_000_000);
            let node = outside.name(self.node);
            outside.event(self.node, Event::Step { node, by_ms });
        });
    }
}
