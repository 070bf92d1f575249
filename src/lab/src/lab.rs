//! The world as a value: machines with whole members on them, what is on its way between them, and what is to happen.
//!
//! [`Lab::step`] lets the next thing happen. Nothing happens otherwise, and what happens depends on the value alone: a
//! clone of it is another future, which goes the same way until something else is asked of it.

use crate::agenda::Agenda;
use crate::calls::{Call, CallId, SleepId, Stream, WatchId};
use crate::links::{BACKOFF, CONNECT_TIMEOUT, Links, STALL};
use crate::machine::{Arrived, Machine, Notice, Process};
use crate::parcel::Parcel;
use crate::seats::Seats;
use crate::told::Told;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use seatrial_scenario::Knobs;
use seatrial_scenario::fault::{ClockFault, DiskFault, LinkRule, Place};
use seatrial_types::MemberId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How a world is made.
#[derive(Clone, Debug)]
pub struct LabOptions {
    /// All chance comes from it.
    pub seed: u64,
    /// Machines that members may live on, numbered from 1.
    pub machines: u64,
    /// Of these, so many form the cluster at its beginning.
    pub members: u64,
    /// Machines of clients, numbered from 0.
    pub clients: u32,
    /// Settings of the members, and how quick links and disks are.
    pub knobs: Knobs,
    /// Tell of each message between members.
    pub packets: bool,
}

/// What is to happen.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Something comes to the end of a link.
    Arrive { from: usize, to: usize, parcel: Parcel },
    /// For the process of that incarnation on a machine.
    Reach { machine: usize, incarnation: u64, what: Arrived },
    /// A member that joins asks again.
    Join { machine: usize, incarnation: u64 },
    /// The process of that incarnation on a machine dials a member that it has no connection to.
    Dial { from: usize, to: usize, incarnation: u64, pause: Duration },
    /// A call has taken all the time it has.
    Late(CallId),
    /// A stream's connection, silent for long, is pinged: to the machine on which its member was.
    Ping { watch: WatchId, machine: usize },
    /// The ping was not answered.
    Silent(WatchId),
    /// Somebody wakes.
    Wake(SleepId),
}

/// A client pings a connection that is silent for so long, and gives it up where no answer comes for so long.
const PING: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(2));

/// A world.
#[derive(Clone, Debug)]
pub struct Lab {
    pub(crate) options: Arc<LabOptions>,
    pub(crate) now: Duration,
    pub(crate) agenda: Agenda<Event>,
    pub(crate) machines: Vec<Arc<Machine>>,
    pub(crate) links: Links,
    pub(crate) seats: Arc<Seats>,
    pub(crate) calls: BTreeMap<CallId, Call>,
    pub(crate) streams: BTreeMap<WatchId, Stream>,
    pub(crate) drawn: u64,
    pub(crate) told: Vec<Told>,
    dice: ChaCha8Rng,
    digest: u64,
    steps: u64,
}

/// FNV-1a over words: the digest tells two runs apart, and need not withstand anybody.
const PRIME: u64 = 0x0000_0100_0000_01b3;

impl Lab {
    /// A world in which nothing runs yet.
    #[must_use]
    pub fn new(options: LabOptions) -> Self {
        let machines = usize::try_from(options.machines).expect("at most 13");
        let places = machines + usize::try_from(options.clients).expect("fewer than there is memory for") + 1;
        Self {
            now: Duration::ZERO,
            agenda: Agenda::default(),
            machines: (0..machines).map(|_| Arc::default()).collect(),
            links: Links::new(places),
            seats: Arc::new(Seats::new((1..=options.members).map(MemberId))),
            calls: BTreeMap::new(),
            streams: BTreeMap::new(),
            drawn: 0,
            told: Vec::new(),
            dice: ChaCha8Rng::seed_from_u64(options.seed),
            digest: 0xcbf2_9ce4_8422_2325,
            steps: 0,
            options: Arc::new(options),
        }
    }

    /// True time.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    /// How many things have happened.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// A digest of all that has happened; equal for equal worlds.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// From now on chance is another: the future of this world parts from those of its clones.
    pub fn reseed(&mut self, seed: u64) {
        self.dice = ChaCha8Rng::seed_from_u64(seed);
    }

    /// When the next thing happens; `None` where nothing is left to happen.
    #[must_use]
    pub fn next_at(&self) -> Option<Duration> {
        self.agenda.next_at()
    }

    /// How many things wait to happen.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.agenda.len()
    }

    /// What onlookers are to know since they asked last.
    pub fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    pub(crate) fn mix(&mut self, word: u64) {
        self.digest = (self.digest ^ word).wrapping_mul(PRIME);
    }

    /// A number from `0..n`; 0 where that is empty.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        u64::try_from((u128::from(self.dice.next_u64()) * u128::from(n)) >> 64)
            .expect("a product's upper half")
    }

    /// Evenly from `min..=max`.
    pub(crate) fn between(&mut self, min: Duration, max: Duration) -> Duration {
        let spread = max.saturating_sub(min).as_nanos() as u64;
        if spread == 0 { min } else { min + Duration::from_nanos(self.below(spread + 1)) }
    }

    /// The place of a machine in the network.
    pub(crate) fn place(&self, place: Place) -> usize {
        match place {
            Place::Member(machine) => usize::try_from(machine.0).expect("at most 13") - 1,
            Place::Client(machine) => self.machines.len() + machine as usize,
        }
    }

    /// The number of a machine.
    pub(crate) fn number(machine: usize) -> MemberId {
        MemberId(machine as u64 + 1)
    }

    pub(crate) fn machine(&mut self, machine: usize) -> &mut Machine {
        Arc::make_mut(&mut self.machines[machine])
    }

    pub(crate) fn seats_mut(&mut self) -> &mut Seats {
        Arc::make_mut(&mut self.seats)
    }

    /// Lets the next thing happen; `false` where nothing is left to happen.
    pub fn step(&mut self) -> bool {
        let Some((at, event)) = self.agenda.pop() else { return false };
        self.now = self.now.max(at);
        self.steps += 1;
        match event {
            Event::Arrive { from, to, parcel } => self.arrive(from, to, parcel),
            Event::Reach { machine, incarnation, what } => {
                if self.machines[machine].incarnation == incarnation {
                    self.reach(machine, what);
                }
            }
            Event::Join { machine, incarnation } => {
                if self.machines[machine].incarnation == incarnation {
                    self.join(machine);
                }
            }
            Event::Dial { from, to, incarnation, pause } => {
                if self.machines[from].incarnation == incarnation {
                    self.dial(from, to, pause);
                }
            }
            Event::Late(call) => self.late(call),
            // Who has started since knows nothing of the connection, and resets it.
            Event::Ping { watch, machine } if self.machines[machine].is_up() => self.stream_ended(watch),
            Event::Ping { watch, .. } => self.agenda.add(self.now + PING.1, Event::Silent(watch)),
            Event::Silent(watch) => self.stream_ended(watch),
            Event::Wake(sleep) => self.told.push(Told::Woke(sleep)),
        }
        true
    }

    /// Somebody wants to be told that it is that late.
    pub fn sleep_until(&mut self, at: Duration) -> SleepId {
        self.drawn += 1;
        let sleep = SleepId(self.drawn);
        self.agenda.add(at.max(self.now), Event::Wake(sleep));
        sleep
    }

    /// Whether what a member sends to another is acknowledged: its machine runs, goes on, and can be heard.
    fn is_heard(&self, from: usize, to: usize) -> bool {
        let machine = &self.machines[to];
        machine.is_up() && machine.waiting.is_none() && self.links.is_open(from, to)
    }

    /// Whether a member can say something to another: there is a connection, and it is not given up right now.
    fn is_connected(&mut self, from: usize, to: usize) -> bool {
        if self.links.get(from, to).is_broken {
            return false;
        }
        if self.links.get(from, to).rule.reset || self.links.get(to, from).rule.reset {
            self.break_off(from, to);
            return false;
        }
        let unheard = self.links.get(from, to).unheard_since;
        if self.is_heard(from, to) {
            if unheard.is_some() {
                self.links.get_mut(from, to).unheard_since = None;
            }
            return true;
        }
        let now = self.now;
        match unheard {
            None => self.links.get_mut(from, to).unheard_since = Some(now),
            Some(since) if now.saturating_sub(since) > STALL => {
                self.break_off(from, to);
                return false;
            }
            Some(_) => {}
        }
        true
    }

    /// Sends something on its way.
    pub(crate) fn send(&mut self, from: usize, to: usize, parcel: Parcel, bytes: usize) {
        let now = self.now;
        if matches!(parcel, Parcel::Peer { .. }) && !self.is_connected(from, to) {
            return;
        }
        let link = self.links.get(from, to);
        if link.rule.reset {
            return self.hung_up(parcel);
        }
        if link.cut_since.is_some() {
            // It waits for the link to come back, or for its sender to give up.
            return self.links.get_mut(from, to).held.push((parcel, bytes));
        }
        let knobs = &self.options.knobs;
        let jitter = if knobs.still { Duration::ZERO } else { knobs.net_latency / 2 };
        let latency = knobs.net_latency;
        let dice = &mut self.dice;
        let mut below = |n: u64| {
            u64::try_from((u128::from(dice.next_u64()) * u128::from(n)) >> 64)
                .expect("a product's upper half")
        };
        let at = self.links.get_mut(from, to).arrival(now, bytes, latency, jitter, &mut below);
        self.agenda.add(at, Event::Arrive { from, to, parcel });
    }

    /// The connection of a member to another is gone, and what it held back; the member dials again.
    pub(crate) fn break_off(&mut self, from: usize, to: usize) {
        let link = self.links.get_mut(from, to);
        if std::mem::replace(&mut link.is_broken, true) {
            return;
        }
        link.held.retain(|(parcel, _)| !matches!(parcel, Parcel::Peer { .. }));
        self.dial_later(from, to, BACKOFF.0);
    }

    /// A member hears that it reaches another no more, and dials after a pause.
    fn dial_later(&mut self, from: usize, to: usize, pause: Duration) {
        self.notify(from, to, Notice::Unreachable, Duration::ZERO);
        let waits = self.between(pause, pause * 3 / 2);
        let incarnation = self.machines[from].incarnation;
        self.agenda.add(self.now + waits, Event::Dial { from, to, incarnation, pause });
    }

    /// A member that has just started dials another for the first time.
    pub(crate) fn begin_dialling(&mut self, from: usize, to: usize) {
        self.links.get_mut(from, to).is_broken = true;
        let incarnation = self.machines[from].incarnation;
        let at = self.now + self.options.knobs.net_latency * 2;
        self.agenda.add(at, Event::Dial { from, to, incarnation, pause: BACKOFF.0 });
    }

    /// A member dials another.
    fn dial(&mut self, from: usize, to: usize, pause: Duration) {
        let is_reset = self.links.get(from, to).rule.reset || self.links.get(to, from).rule.reset;
        if self.is_heard(from, to) && !is_reset {
            let now = self.now;
            self.links.get_mut(from, to).connect(now);
            // Who was removed is told so when it dials.
            let who = self.seats.seat(Self::number(from)).map(|seat| seat.id);
            let heard = self.machines[to].running();
            if who.is_some_and(|who| heard.is_some_and(|running| running.removed.contains(&who))) {
                self.notify(from, to, |_| Notice::Removed, Duration::ZERO);
            }
            return;
        }
        // Nobody answers; or somebody does and says no, at once.
        let is_refused = is_reset || !self.machines[to].is_up() && self.links.is_open(from, to);
        let pause = (pause * 2).min(BACKOFF.1);
        let pause = if is_refused { pause } else { pause + CONNECT_TIMEOUT };
        self.dial_later(from, to, pause.min(BACKOFF.1 + CONNECT_TIMEOUT));
    }

    /// A member hears something about the member on another machine.
    pub(crate) fn notify(
        &mut self,
        machine: usize,
        about: usize,
        notice: impl FnOnce(MemberId) -> Notice,
        after: Duration,
    ) {
        let Some(seat) = self.seats.seat(Self::number(about)) else { return };
        let incarnation = self.machines[machine].incarnation;
        let what = Arrived::Notice(notice(seat.id));
        self.agenda.add(self.now + after, Event::Reach { machine, incarnation, what });
    }

    /// A reset tells both ends of a call that its connection is gone.
    fn hung_up(&mut self, parcel: Parcel) {
        match parcel {
            Parcel::Ask { call, .. } | Parcel::Answer { call, .. } => self.broke(call),
            Parcel::WatchAsk { watch, .. }
            | Parcel::WatchSaid { watch, .. }
            | Parcel::WatchTaken { watch, .. } => self.stream_ended(watch),
            Parcel::Peer { .. }
            | Parcel::Refused { .. }
            | Parcel::Broken { .. }
            | Parcel::WatchClosed { .. }
            | Parcel::WatchEnded { .. } => {}
        }
    }

    fn arrive(&mut self, from: usize, to: usize, parcel: Parcel) {
        // What was on its way when the link was cut is lost, and sent again once it is back.
        if self.links.get(from, to).cut_since.is_some() {
            return self.links.get_mut(from, to).held.push((parcel, 0));
        }
        if to >= self.machines.len() {
            return self.come_back(parcel);
        }
        let machine = &self.machines[to];
        match &parcel {
            Parcel::Peer { incarnation, .. } if *incarnation != machine.incarnation => {}
            Parcel::Ask { call, .. } if !machine.is_up() => {
                let call = *call;
                self.send(to, from, Parcel::Refused { call }, 0);
            }
            Parcel::WatchAsk { watch, .. } | Parcel::WatchTaken { watch, .. }
                if self.is_unknown(to, *watch) =>
            {
                let watch = *watch;
                self.send(to, from, Parcel::WatchEnded { watch }, 0);
            }
            _ if machine.is_up() => self.reach(to, Arrived::Parcel(from, parcel)),
            _ => {}
        }
    }

    /// Whether no process on this machine knows of a stream: who has no memory of a connection resets it.
    fn is_unknown(&self, machine: usize, watch: WatchId) -> bool {
        let machine = &self.machines[machine];
        let opened = self.streams.get(&watch).and_then(|stream| stream.at);
        !machine.is_up() || opened.is_some_and(|(incarnation, _)| incarnation != machine.incarnation)
    }

    /// Something reaches the process on a machine; one that stands still has it waiting.
    pub(crate) fn reach(&mut self, machine: usize, what: Arrived) {
        if self.machines[machine].waiting.is_some() {
            let waiting = self.machine(machine).waiting.as_mut().expect("just seen");
            waiting.push_back(what);
            return;
        }
        self.drive(machine, what);
    }

    /// The process on a machine stands still, or goes on.
    pub fn pause(&mut self, machine: MemberId, is_paused: bool) {
        let place = self.place(Place::Member(machine));
        if is_paused {
            if self.machines[place].is_up() && self.machines[place].waiting.is_none() {
                self.machine(place).waiting = Some(std::collections::VecDeque::new());
            }
            return;
        }
        for what in self.machine(place).waiting.take().unwrap_or_default() {
            let incarnation = self.machines[place].incarnation;
            // In their order, and each as an event of its own, as a loop that has much to do takes them.
            self.agenda.add(self.now, Event::Reach { machine: place, incarnation, what });
        }
    }

    /// What a link does from now on.
    pub fn set_link(&mut self, from: Place, to: Place, rule: LinkRule) {
        let (from, to) = (self.place(from), self.place(to));
        if self.links.get(from, to).rule == rule {
            return;
        }
        let now = self.now;
        let link = self.links.get_mut(from, to);
        link.rule = rule;
        match (link.cut_since, rule.cut) {
            (None, true) => link.cut_since = Some(now),
            (Some(_), false) => {
                link.cut_since = None;
                for (parcel, bytes) in std::mem::take(&mut link.held) {
                    self.send(from, to, parcel, bytes);
                }
            }
            _ => {}
        }
    }

    /// What the disk of a machine does from now on.
    pub fn set_disk(&mut self, machine: MemberId, fault: DiskFault) {
        let place = self.place(Place::Member(machine));
        let before = self.machines[place].disk.fault;
        self.machine(place).disk.set_fault(fault);
        if before.stalled && !fault.stalled {
            self.unstall(place);
        }
    }

    /// How the clock of a machine goes from now on.
    pub fn set_clock(&mut self, machine: MemberId, fault: ClockFault) {
        let place = self.place(Place::Member(machine));
        let now = self.now;
        let machine = self.machine(place);
        machine.clock.set_drift(now, fault.drift_ppm);
        machine.wall.set_drift(now, fault.drift_ppm);
        machine.wall.set_by(now, fault.wall_step_ms);
        machine.armed = None;
        self.arm(place);
    }

    /// Whether something runs on a machine.
    #[must_use]
    pub fn is_running(&self, machine: MemberId) -> bool {
        self.machines[self.place(Place::Member(machine))].is_up()
    }

    /// The process on a machine ends at once; what it wrote stays in the page cache.
    pub fn kill(&mut self, machine: MemberId) {
        let place = self.place(Place::Member(machine));
        self.end(place, true);
    }

    /// A machine loses its power: of what it did not sync, some beginning is left.
    pub fn power_loss(&mut self, machine: MemberId) {
        let place = self.place(Place::Member(machine));
        self.end(place, false);
        // Now and then all that was not durable is gone.
        let loses_all = self.below(4) == 0;
        let dice = &mut self.dice;
        let mut below = |n: u64| {
            let drawn = dice.next_u64();
            if loses_all {
                return 0;
            }
            u64::try_from((u128::from(drawn) * u128::from(n)) >> 64).expect("a product's upper half")
        };
        Arc::make_mut(&mut self.machines[place]).disk.power_loss(&mut below);
    }

    /// The process on a machine is gone. Where its kernel lives on, its connections are closed.
    pub(crate) fn end(&mut self, place: usize, kernel_lives: bool) {
        if !self.machines[place].is_up() {
            return;
        }
        let coin = self.below(2) == 0;
        let machine = self.machine(place);
        let process = std::mem::take(&mut machine.process);
        machine.incarnation += 1;
        machine.waiting = None;
        machine.armed = None;
        if let Process::Member(running) = process {
            // A batch that was being written is there, or it is not.
            if let Some(crate::machine::StoreWork::Batch(batch)) = running.store.queue.front()
                && running.store.is_busy
                && coin
            {
                machine.disk.commit(batch);
            }
            if kernel_lives {
                for call in running.answers.values().copied() {
                    if let Some(client) = self.calls.get(&call).map(|call| call.client) {
                        self.send(place, client, Parcel::Broken { call }, 0);
                    }
                }
                for watch in running.streams.values().copied() {
                    if let Some(client) = self.streams.get(&watch).map(|stream| stream.client) {
                        self.send(place, client, Parcel::WatchEnded { watch }, 0);
                    }
                }
            } else {
                // Nobody tells the clients; they find out.
                for watch in running.streams.values().copied() {
                    let after = self.between(Duration::ZERO, PING.0);
                    self.agenda.add(self.now + after, Event::Ping { watch, machine: place });
                }
            }
        }
        if kernel_lives {
            let after = self.options.knobs.net_latency;
            for other in 0..self.machines.len() {
                if other != place && self.links.is_open(place, other) {
                    self.notify(other, place, Notice::Reset, after);
                    self.break_off(other, place);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(lab: &mut Lab, seconds: u64) {
        let until = lab.now + Duration::from_secs(seconds);
        while lab.next_at().is_some_and(|at| at <= until) {
            lab.step();
        }
    }

    /// Were a connection never given up, messages of another time would come out of it once the link is back.
    #[test]
    fn a_connection_that_nobody_answers_is_given_up_and_made_anew_once_somebody_does() {
        let text = "title = \"x\"\nwhy = \"x\"\ntime = \"5s\"\n[[workload]]\nname = \"kv\"\n";
        let scenario = seatrial_scenario::format::parse("x.toml", text).unwrap();
        let knobs = seatrial_scenario::Plan::draw(&scenario, 1).knobs;
        let mut lab =
            Lab::new(LabOptions { seed: 1, machines: 3, members: 3, clients: 1, knobs, packets: false });
        (1..=3).for_each(|machine| lab.start(MemberId(machine)));
        run(&mut lab, 5);
        let leads = |place: &usize| lab.machines[*place].running().is_some_and(|one| one.member.is_leader());
        let leader = (0..3).find(leads).expect("somebody leads");
        let other = (leader + 1) % 3;
        let (from, to) = (Place::Member(Lab::number(leader)), Place::Member(Lab::number(other)));
        assert!(!lab.links.get(leader, other).is_broken);
        let cut = LinkRule { cut: true, ..LinkRule::default() };
        // What is said arrives, and no acknowledgement comes back.
        lab.set_link(to, from, cut);
        run(&mut lab, 4);
        assert!(lab.links.get(leader, other).is_broken);
        lab.set_link(to, from, LinkRule::default());
        run(&mut lab, 4);
        assert!(!lab.links.get(leader, other).is_broken);
        lab.pause(Lab::number(other), true);
        run(&mut lab, 4);
        assert!(lab.links.get(leader, other).is_broken, "who stands still acknowledges nothing");
        lab.pause(Lab::number(other), false);
        run(&mut lab, 4);
        lab.power_loss(Lab::number(other));
        run(&mut lab, 4);
        assert!(lab.links.get(leader, other).is_broken, "nor does a machine without power");
    }
}
