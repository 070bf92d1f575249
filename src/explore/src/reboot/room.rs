//! The machines, the keys, and what is on its way between them.

use seatrial_reboot::{
    Action, Agent, Done, Freed, Group, Guards, Input, Ledger, Locksmith, Moment, Operation, Phase, Semaphore,
    Settings, Step, Strategy, Verb, Wall,
};
use super::table::{Fate, Table, advance, write};
use std::time::Duration;

/// Any pause: how long one is does not matter here.
const PAUSE: Duration = Duration::from_secs(1);

/// What a tick lasts: longer than a reservation is waited for.
const TICK: Duration = Duration::from_secs(11);

/// A write that was sent before its sender died.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Late {
    /// Which machine's.
    pub machine: usize,
    pub(super) write: Step,
}

/// What an agent has asked for and not heard of yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wish {
    Lock,
    Release,
    Confirm,
}

/// Where a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Power {
    /// It runs.
    On,
    /// It lost its power.
    Lost,
    /// It reboots: it was told that it may.
    Reboots,
}

/// A machine with its agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    /// Where it is.
    pub power: Power,
    /// How many reboots it will still need.
    pub wants: u8,
    /// A reboot is needed.
    pub needs: bool,
    pub(super) agent: Agent,
    doing: Option<(Wish, Box<Operation>)>,
}

/// All of it. A clone is another future.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Room {
    /// The machines; each one's id is its place.
    pub machines: Vec<Machine>,
    pub(super) table: Table,
    pub(super) late: Vec<Late>,
    pub(super) operator: Option<Box<Operation>>,
    pub(super) ticks: u64,
    /// The two keys are read one after the other, and others may come in between.
    pub(super) fine: bool,
    /// What may still go wrong.
    pub(super) left: super::model::Left,
}

/// A machine's id.
pub(super) fn id(machine: usize) -> String {
    format!("machine-{}", machine + 1)
}

fn settings() -> Settings {
    Settings {
        strategy: Strategy::EtcdLock,
        users_delay: Duration::ZERO,
        release_pause: PAUSE,
        lock_pause: PAUSE,
        pause_max: PAUSE,
        ..Settings::default()
    }
}

impl Room {
    /// Machines that are up and hold nothing, and a semaphore with so many slots.
    #[must_use]
    pub(super) fn new(machines: usize, wants: u8, slots: i64, fine: bool, left: super::model::Left) -> Self {
        let mut semaphore = Semaphore::default();
        semaphore.set_max(slots);
        let table = Table::new(&semaphore);
        let machine = || Machine {
            power: Power::Reboots,
            wants,
            needs: false,
            agent: Agent::new(settings()).0,
            doing: None,
        };
        let machines = (0..machines).map(|_| machine()).collect();
        let mut room = Self { machines, table, late: Vec::new(), operator: None, ticks: 0, fine, left };
        for at in 0..room.machines.len() {
            room.boot(at);
            // What an agent does when it starts is explored after each death; here it finds nothing.
            while room.machines[at].is_busy() {
                room.access(at, Fate::Well);
            }
        }
        room
    }

    /// The semaphore as it is in the store.
    #[must_use]
    pub fn semaphore(&self) -> Semaphore {
        let found = self.table.get(&Group::default().semaphore_key()).expect("it was made at first");
        Semaphore::parse(&found.value).expect("only the product writes it")
    }

    /// The ledger beside it, brought into line as every reader does.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let key = Group::default();
        let read = self.table.get(&key.ledger_key()).ok();
        let mut ledger = read.map_or_else(Ledger::default, |found| {
            Ledger::parse(&found.value).expect("only the product writes it")
        });
        let index = self.table.get(&key.semaphore_key()).map_or(0, |found| found.index);
        ledger.reconcile(&self.semaphore(), index, self.wall());
        ledger
    }

    fn wall(&self) -> Wall {
        Wall(1_000).after(TICK * u32::try_from(self.ticks).unwrap_or(u32::MAX))
    }

    /// A reboot is needed.
    pub(super) fn want(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        machine.wants -= 1;
        machine.needs = true;
        if machine.doing.is_none() && machine.power == Power::On {
            self.feed(at, Duration::ZERO, Input::NeedReboot);
            self.first_access(at);
        }
    }

    /// What led to the operation was seen by nobody else, so its first access, which only reads, may follow at once: what
    /// others do in between they could have done before.
    fn first_access(&mut self, at: usize) {
        if let Some(Step::Get(_)) = self.machines[at].next() {
            self.access(at, Fate::Well);
        }
    }

    /// One that waits goes on.
    pub(super) fn due(&mut self, at: usize) {
        let now = self.machines[at].agent.deadline().expect("asked for where there is one");
        self.feed(at, now, Input::Due);
        self.first_access(at);
    }

    /// The next access of a machine's operation to the store.
    pub(super) fn access(&mut self, at: usize, fate: Fate) {
        let wall = self.wall();
        let Some((wish, mut operation)) = self.machines[at].doing.take() else { return };
        advance(&mut operation, &mut self.table, wall, fate);
        let Step::Done(done) = operation.step() else {
            let reads = matches!(operation.step(), Step::Get(key) if key == Group::default().semaphore_key());
            self.machines[at].doing = Some((wish, operation));
            if reads && !self.fine {
                self.access(at, Fate::Well);
            }
            return;
        };
        let input = match (wish, done) {
            (Wish::Lock, Ok(Done::Granted { generation, .. })) => Input::Locked(Ok(generation)),
            (Wish::Lock, Ok(Done::Refused(refusal))) => Input::Locked(Err(refusal.kind().to_owned())),
            (Wish::Lock, Err(error)) => Input::Locked(Err(error.to_string())),
            (Wish::Release, done) => Input::Released(done.map(|_| ()).map_err(|error| error.to_string())),
            (Wish::Confirm, done) => Input::Confirmed(
                done.map(|done| done == Done::Marked { held: true }).map_err(|error| error.to_string()),
            ),
            (Wish::Lock, Ok(other)) => unreachable!("a question for a slot ends with {other:?}"),
        };
        self.feed(at, Duration::ZERO, input);
    }

    /// The next access of the operator's.
    pub(super) fn operator_access(&mut self) {
        let wall = self.wall();
        let Some(mut operation) = self.operator.take() else { return };
        advance(&mut operation, &mut self.table, wall, Fate::Well);
        if !matches!(operation.step(), Step::Done(_)) {
            self.operator = Some(operation);
        }
    }

    /// An operator begins to change the number of slots.
    pub(super) fn set_slots(&mut self, slots: i64) {
        let verb = Verb::Locksmith(Locksmith::SetMax(slots));
        self.operator = Some(Box::new(Operation::new(Group::default(), verb, self.wall())));
    }

    /// A machine dies, or its agent alone. What it has sent last may arrive all the same.
    pub(super) fn die(&mut self, at: usize, power: Power, stays: bool) {
        let machine = &mut self.machines[at];
        if let Some((_, operation)) = machine.doing.take()
            && let write @ (Step::Swap(..) | Step::Create(..)) = operation.step()
            && stays
        {
            self.late.push(Late { machine: at, write });
        }
        machine.power = power;
        if power == Power::On {
            self.begin(at);
        }
    }

    /// It boots: whatever needed a reboot has it now.
    pub(super) fn boot(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        (machine.power, machine.needs) = (Power::On, false);
        self.begin(at);
    }

    /// A write arrives after its sender has died.
    pub(super) fn arrive(&mut self, which: usize) {
        let late = self.late.remove(which);
        let _ = write(&mut self.table, &late.write);
    }

    fn begin(&mut self, at: usize) {
        let (agent, actions) = Agent::new(settings());
        self.machines[at].agent = agent;
        self.act(at, actions);
        self.first_access(at);
    }

    /// Tells an agent, and carries out what it wants until it must wait for somebody.
    fn feed(&mut self, at: usize, now: Duration, input: Input) {
        let moment = Moment { now, wall: self.wall() };
        let actions = self.machines[at].agent.step(moment, input);
        self.act(at, actions);
    }

    fn act(&mut self, at: usize, actions: Vec<Action>) {
        let mut answer = None;
        for action in actions {
            match action {
                // Nothing that others could see.
                Action::Write(_) | Action::Warn(_) | Action::Undrain => {}
                Action::CheckHealth => answer = Some(Input::Healthy(Ok(()))),
                Action::Users => answer = Some(Input::Users(0)),
                Action::Drain => answer = Some(Input::Drained(Ok(()))),
                Action::Lock => self.ask(at, Wish::Lock, None),
                Action::Release(grant) => self.ask(at, Wish::Release, grant),
                Action::Confirm(grant) => self.ask(at, Wish::Confirm, Some(grant)),
                Action::Reboot => self.machines[at].power = Power::Reboots,
            }
        }
        let machine = &self.machines[at];
        if let Some(answer) = answer {
            self.feed(at, Duration::ZERO, answer);
        } else if machine.doing.is_none() && machine.power == Power::On && machine.needs && machine.agent.is_idle() {
            self.feed(at, Duration::ZERO, Input::NeedReboot);
        }
    }

    /// Begins what [`seatrial_reboot::MachineLock`] would.
    fn ask(&mut self, at: usize, wish: Wish, grant: Option<u64>) {
        // Which boot it is matters to those alone who sweep.
        let boot = None;
        let verb = match wish {
            Wish::Lock => Verb::Lock { id: id(at), boot, phase: Phase::Draining, guards: Guards::default() },
            Wish::Release => Verb::Unlock { id: id(at), generation: grant, by: Freed::Holder },
            Wish::Confirm => {
                Verb::Mark { id: id(at), generation: grant.unwrap_or_default(), phase: Phase::Rebooting }
            }
        };
        let operation = Operation::new(Group::default(), verb, self.wall());
        self.machines[at].doing = Some((wish, Box::new(operation)));
    }
}

impl Machine {
    /// It waits for the store.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.doing.is_some()
    }

    /// What it wants from the store next.
    pub(super) fn next(&self) -> Option<Step> {
        self.doing.as_ref().map(|(_, operation)| operation.step())
    }
}
