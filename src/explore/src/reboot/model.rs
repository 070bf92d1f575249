//! What may happen next, and what must hold.

use super::room::{Power, Room, id};
use super::table::Fate;
use crate::check::Exploration;
use seatrial_reboot as reboot;
use stateright::{Model, Property};

const SLOTS: &str = "no more hold a slot than there are";
const HOLDS: &str = "who reboots holds a slot";
const CALM: &str = "once nothing goes wrong any more, everybody gets through and nothing is left behind";

/// How large the world is, and how much may go wrong in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Machines.
    pub machines: usize,
    /// Reboots that each needs.
    pub wants: u8,
    /// Slots.
    pub slots: i64,
    /// Losses of power and deaths of agents, in all.
    pub deaths: u8,
    /// Answers that are lost.
    pub losses: u8,
    /// Ticks, each longer than a reservation is waited for.
    pub ticks: u8,
    /// Changes of the number of slots by an operator.
    pub changes: u8,
    /// The two keys are read one after the other, and others may come in between.
    pub fine: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { machines: 2, wants: 1, slots: 1, deaths: 1, losses: 0, ticks: 1, changes: 0, fine: false }
    }
}

/// What may still happen beyond the machines' own doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Left {
    deaths: u8,
    losses: u8,
    ticks: u8,
    changes: u8,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A machine needs a reboot.
    Wants(usize),
    /// A pause of its agent is over.
    Due(usize),
    /// Its next access to the store.
    Access(usize, Fate),
    /// It loses its power, or its agent is killed and started again; whether what it sent last may still arrive.
    Dies(usize, Power, bool),
    /// It is up again.
    Boots(usize),
    /// What a dead one had sent arrives.
    Arrives(usize),
    /// Some seconds pass.
    Tick,
    /// An operator changes the number of slots to this.
    Slots(i64),
    /// The operator's next access.
    Operator,
}

impl Model for Bounds {
    type State = Room;
    type Action = Step;

    fn init_states(&self) -> Vec<Room> {
        let left = Left {
            deaths: self.deaths,
            losses: self.losses,
            ticks: self.ticks,
            changes: self.changes,
        };
        vec![Room::new(self.machines, self.wants, self.slots, self.fine, left)]
    }

    fn actions(&self, room: &Room, steps: &mut Vec<Step>) {
        for (at, machine) in room.machines.iter().enumerate() {
            if machine.power != Power::On {
                steps.push(Step::Boots(at));
                continue;
            }
            if machine.wants > 0 && !machine.needs {
                steps.push(Step::Wants(at));
            }
            let next = machine.next();
            let writes = matches!(next, Some(reboot::Step::Swap(..) | reboot::Step::Create(..)));
            match next {
                Some(_) => steps.push(Step::Access(at, Fate::Well)),
                None if machine.agent.deadline().is_some() => steps.push(Step::Due(at)),
                None => {}
            }
            if writes && room.left.losses > 0 {
                steps.extend([Step::Access(at, Fate::Lost), Step::Access(at, Fate::Unanswered)]);
            }
            if room.left.deaths > 0 {
                for power in [Power::Lost, Power::On] {
                    steps.push(Step::Dies(at, power, false));
                    if writes {
                        steps.push(Step::Dies(at, power, true));
                    }
                }
            }
        }
        steps.extend((0..room.late.len()).map(Step::Arrives));
        if room.left.ticks > 0 {
            steps.push(Step::Tick);
        }
        if room.operator.is_some() {
            steps.push(Step::Operator);
        } else if room.left.changes > 0 {
            steps.extend([self.slots - 1, self.slots + 1].map(Step::Slots));
        }
    }

    fn next_state(&self, room: &Room, step: Step) -> Option<Room> {
        let mut next = room.clone();
        match step {
            Step::Wants(at) => next.want(at),
            Step::Due(at) => next.due(at),
            Step::Access(at, fate) => {
                next.left.losses -= u8::from(fate != Fate::Well);
                next.access(at, fate);
            }
            Step::Dies(at, power, stays) => {
                next.left.deaths -= 1;
                next.die(at, power, stays);
            }
            Step::Boots(at) => next.boot(at),
            Step::Arrives(which) => next.arrive(which),
            Step::Tick => {
                next.left.ticks -= 1;
                next.ticks += 1;
            }
            Step::Slots(slots) => {
                next.left.changes -= 1;
                next.set_slots(slots);
            }
            Step::Operator => next.operator_access(),
        }
        (next != *room).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(SLOTS, |bounds: &Self, room: &Room| bounds.changes > 0 || over(room) <= 0),
            Property::always(HOLDS, |_, room: &Room| without_slot(room).is_none()),
            Property::always(CALM, |_, room: &Room| {
                // A state between two accesses leads to one without, and nothing that can be undone lies between.
                room.machines.iter().any(super::Machine::is_busy) || room.operator.is_some() || room.calm().is_ok()
            }),
        ]
    }
}

fn over(room: &Room) -> i64 {
    let semaphore = room.semaphore();
    i64::try_from(semaphore.holders().len()).unwrap_or(i64::MAX) - semaphore.max()
}

/// A machine that reboots, and does not hold.
fn without_slot(room: &Room) -> Option<usize> {
    let semaphore = room.semaphore();
    let reboots = |at: &usize| room.machines[*at].power == Power::Reboots;
    (0..room.machines.len()).filter(reboots).find(|at| !semaphore.is_held_by(&id(*at)))
}

impl Exploration for Bounds {
    fn tell(&self, before: &Room, step: &Step) -> String {
        let access = |next: Option<reboot::Step>| match next {
            Some(reboot::Step::Get(key)) => format!("reads {}", last(&key)),
            Some(reboot::Step::List(directory)) => format!("lists {directory}"),
            Some(reboot::Step::Create(key, value)) => format!("makes {}: {value}", last(&key)),
            Some(reboot::Step::Swap(key, value, index)) => format!("swaps {} of {index}: {value}", last(&key)),
            other => format!("{other:?}"),
        };
        match *step {
            Step::Wants(at) => format!("{} needs a reboot", id(at)),
            Step::Due(at) => format!("{} goes on after a pause", id(at)),
            Step::Access(at, fate) => {
                let does = access(before.machines[at].next());
                let fate = match fate {
                    Fate::Well => "",
                    Fate::Lost => " (lost, and nobody knows)",
                    Fate::Unanswered => " (done, and nobody knows)",
                };
                format!("{} {does}{fate}", id(at))
            }
            Step::Dies(at, power, stays) => {
                let how = if power == Power::On { "is started again after a kill" } else { "loses its power" };
                let wrote = if stays { access(before.machines[at].next()) } else { String::new() };
                let late = if stays { format!("; on its way is that it {wrote}") } else { String::new() };
                format!("{} {how}{late}", id(at))
            }
            Step::Boots(at) => format!("{} is up again", id(at)),
            Step::Arrives(which) => {
                let late = &before.late[which];
                format!("late: {} {}", id(late.machine), access(Some(late.write.clone())))
            }
            Step::Tick => "eleven seconds pass".to_owned(),
            Step::Slots(slots) => format!("an operator sets the slots to {slots}"),
            Step::Operator => "the operator's command goes on".to_owned(),
        }
    }

    fn explain(&self, property: &str, room: &Room) -> String {
        match property {
            SLOTS => format!("{:?} hold {} slots", room.semaphore().holders(), room.semaphore().max()),
            HOLDS => without_slot(room).map_or_else(String::new, |at| {
                format!("{} reboots, and the slots are held by {:?}", id(at), room.semaphore().holders())
            }),
            _ => room.calm().err().unwrap_or_default(),
        }
    }
}

fn last(key: &str) -> &str {
    if key.ends_with("semaphore") { "the semaphore" } else { "the ledger" }
}
