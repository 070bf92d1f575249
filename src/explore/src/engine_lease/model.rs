//! What may happen next.

use super::fleet::{Fleet, Phase};
use super::rules::Wrong;
use crate::check::Exploration;
use seatrial_fleet::registry::Write;
use stateright::{Model, Property};

const LEADS: &str = "who is told that it leads is first at that moment, or gone";
const FENCED: &str = "nothing is written by an engine that leads no more";
const STAYS: &str = "no unit is taken off a machine that is there";
const ONCE: &str = "no unit runs on two machines";
const WHOLE: &str = "what is scheduled is there";
const SETTLED: &str =
    "where nobody can go on, one engine leads and every unit runs once, where it is scheduled";

/// How large the world is, and how much may go wrong in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Engines.
    pub engines: usize,
    /// Machines, each with an agent.
    pub machines: usize,
    /// Units, each to run once.
    pub units: usize,
    /// Leases of engines that run out while these stand still.
    pub ends: u8,
    /// Machines that are not heard for so long that their lease ends, or nearly.
    pub silences: u8,
    /// Engines and agents that are killed, and machines that lose their power.
    pub deaths: u8,
    /// Requests of engines, or answers to them, that are lost.
    pub losses: u8,
    /// Units that a client destroys.
    pub destroys: u8,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { engines: 2, machines: 2, units: 1, ends: 1, silences: 0, deaths: 0, losses: 0, destroys: 0 }
    }
}

/// What may still go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Left {
    ends: u8,
    silences: u8,
    deaths: u8,
    losses: u8,
    destroys: u8,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is done and answered.
    Well,
    /// It is not done, and nobody knows.
    Lost,
    /// It is done, and nobody knows.
    Unanswered,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// An engine gets a lease and stands for election.
    Begins(usize),
    /// The next request of its campaign.
    Access(usize, Fate),
    /// It looks at everything and decides.
    Decides(usize),
    /// The next transaction of what it decided.
    Sends(usize, Fate),
    /// Its lease runs out, and it does not know.
    Ends(usize),
    /// It hears that its lease is gone.
    Learns(usize),
    /// It dies; whether what it has sent may still arrive.
    Dies(usize, bool),
    /// What a dead one had sent arrives.
    Arrives(usize),
    /// The lease of a dead one runs out.
    Expires(usize),
    /// A machine's lease is made or renewed.
    Renews(usize),
    /// An agent is told all there is.
    Looks(usize),
    /// An agent does what is to be done.
    Turns(usize),
    /// A machine's lease is not renewed, and its agent knows the time.
    Silent(usize),
    /// And it ends.
    Lost(usize),
    /// A machine loses its power.
    Falls(usize),
    /// It is up again.
    Boots(usize),
    /// Its agent is killed and starts again.
    Restarts(usize),
    /// A client destroys a unit.
    Destroys,
}

/// What goes on by itself.
fn own_steps(fleet: &Fleet, steps: &mut Vec<Step>) {
    for (at, engine) in fleet.engines.iter().enumerate() {
        match &engine.phase {
            Phase::Rests => steps.push(Step::Begins(at)),
            Phase::Campaigns => steps.push(Step::Access(at, Fate::Well)),
            Phase::Leads(_, sending) if sending.is_empty() => steps.push(Step::Decides(at)),
            Phase::Leads(..) => steps.push(Step::Sends(at, Fate::Well)),
        }
        if engine.phase != Phase::Rests && !fleet.is_alive(at) {
            steps.push(Step::Learns(at));
        }
    }
    steps.extend((0..fleet.late.len()).map(Step::Arrives));
    steps.extend((0..fleet.orphans.len()).map(Step::Expires));
    for (at, machine) in fleet.machines.iter().enumerate() {
        let Some(duty) = &machine.duty else {
            steps.push(Step::Boots(at));
            if machine.lease.is_some() {
                steps.push(Step::Lost(at));
            }
            continue;
        };
        let is_registered = duty.held().is_some_and(|held| machine.lease == Some(held.lease));
        if machine.is_unheard || !is_registered {
            steps.push(Step::Renews(at));
        }
        if machine.is_unheard && machine.lease.is_some() {
            steps.push(Step::Lost(at));
        }
        steps.push(Step::Looks(at));
        if !machine.is_unheard {
            steps.push(Step::Turns(at));
        }
    }
}

impl Model for Bounds {
    type State = Fleet;
    type Action = Step;

    fn init_states(&self) -> Vec<Fleet> {
        let left = Left {
            ends: self.ends,
            silences: self.silences,
            deaths: self.deaths,
            losses: self.losses,
            destroys: self.destroys,
        };
        vec![Fleet::new(self.engines, self.machines, self.units, left)]
    }

    fn actions(&self, fleet: &Fleet, steps: &mut Vec<Step>) {
        own_steps(fleet, steps);
        let left = fleet.left;
        for (at, engine) in fleet.engines.iter().enumerate() {
            if left.losses > 0 {
                match &engine.phase {
                    Phase::Rests => {}
                    Phase::Campaigns if matches!(fleet.ask(at), Some(crate::script::Ask::Watch(_))) => {}
                    Phase::Campaigns => {
                        steps.extend([Fate::Lost, Fate::Unanswered].map(|fate| Step::Access(at, fate)));
                    }
                    Phase::Leads(_, sending) if sending.is_empty() => {}
                    Phase::Leads(..) => {
                        steps.extend([Fate::Lost, Fate::Unanswered].map(|fate| Step::Sends(at, fate)));
                    }
                }
            }
            if left.ends > 0 && fleet.is_alive(at) {
                steps.push(Step::Ends(at));
            }
            if left.deaths > 0 && engine.phase != Phase::Rests {
                steps.push(Step::Dies(at, false));
                if matches!(&engine.phase, Phase::Leads(_, sending) if !sending.is_empty()) {
                    steps.push(Step::Dies(at, true));
                }
            }
        }
        for (at, machine) in fleet.machines.iter().enumerate().filter(|(_, machine)| machine.duty.is_some()) {
            if left.silences > 0 && !machine.is_unheard {
                steps.push(Step::Silent(at));
            }
            if left.deaths > 0 {
                steps.extend([Step::Falls(at), Step::Restarts(at)]);
            }
        }
        if left.destroys > 0 && fleet.first_unit().is_some() {
            steps.push(Step::Destroys);
        }
    }

    fn next_state(&self, fleet: &Fleet, step: Step) -> Option<Fleet> {
        let mut next = fleet.clone();
        next.wrong = None;
        let lost = |fate| u8::from(fate != Fate::Well);
        match step {
            Step::Begins(at) => next.begin(at),
            Step::Access(at, fate) => {
                next.left.losses -= lost(fate);
                next.access(at, fate);
            }
            Step::Decides(at) => next.pass(at),
            Step::Sends(at, fate) => {
                next.left.losses -= lost(fate);
                next.send(at, fate);
            }
            Step::Ends(at) => {
                next.left.ends -= 1;
                next.end(at);
            }
            Step::Learns(at) => next.rest(at),
            Step::Dies(at, stays) => {
                next.left.deaths -= 1;
                next.die(at, stays);
            }
            Step::Arrives(which) => next.arrive(which),
            Step::Expires(which) => {
                let lease = next.orphans.iter().nth(which).copied()?;
                next.orphans.remove(&lease);
                next.server.end(lease);
            }
            Step::Renews(at) => next.register(at),
            Step::Looks(at) => next.look(at),
            Step::Turns(at) => {
                if next.machines[at].turn() {
                    next.register(at);
                }
            }
            Step::Silent(at) => {
                next.left.silences -= 1;
                next.machines[at].silence();
            }
            Step::Lost(at) => next.lose(at),
            Step::Falls(at) => {
                next.left.deaths -= 1;
                next.machines[at].duty = None;
                next.machines[at].is_unheard = false;
            }
            Step::Boots(at) => next.machines[at].start(),
            Step::Restarts(at) => {
                next.left.deaths -= 1;
                next.machines[at].start();
            }
            Step::Destroys => {
                next.left.destroys -= 1;
                let name = next.first_unit()?;
                next.order(&Write::Destroy { name });
            }
        }
        if next.server != fleet.server {
            next.read();
        }
        let is_same = Fleet { wrong: None, ..fleet.clone() } == next;
        (!is_same).then_some(next)
    }

    fn format_step(&self, before: &Fleet, step: Step) -> Option<String> {
        let next = self.next_state(before, step)?;
        Some(format!("{}\n\n{}", self.tell(before, &step), self.show(&next)))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(LEADS, |_, fleet: &Fleet| !matches!(fleet.wrong, Some(Wrong::Early(_)))),
            Property::always(FENCED, |_, fleet: &Fleet| fleet.wrong != Some(Wrong::Deposed)),
            Property::always(STAYS, |_, fleet: &Fleet| !matches!(fleet.wrong, Some(Wrong::Taken(..)))),
            Property::always(ONCE, |_, fleet: &Fleet| fleet.twice().is_none()),
            Property::always(WHOLE, |_, fleet: &Fleet| fleet.stray().is_none()),
            Property::always(SETTLED, |bounds: &Self, fleet: &Fleet| {
                let mut steps = Vec::new();
                own_steps(fleet, &mut steps);
                let is_last = steps.iter().all(|step| bounds.next_state(fleet, *step).is_none());
                !is_last || fleet.unsettled().is_none()
            }),
        ]
    }
}

impl Exploration for Bounds {
    fn tell(&self, before: &Fleet, step: &Step) -> String {
        let machine = |at: usize| &before.machines[at].id;
        let fate = |fate| match fate {
            Fate::Well => "",
            Fate::Lost => " (lost, and nobody knows)",
            Fate::Unanswered => " (done, and nobody knows)",
        };
        let writes = |at: usize| match &before.engines[at].phase {
            Phase::Leads(_, sending) => sending.first().map_or_else(String::new, |batch| {
                let all: Vec<_> = batch.decisions.iter().map(ToString::to_string).collect();
                all.join(", ")
            }),
            _ => String::new(),
        };
        match *step {
            Step::Begins(at) => format!("engine {} gets a lease", at + 1),
            Step::Access(at, became) => format!("engine {} stands for election{}", at + 1, fate(became)),
            Step::Decides(at) => format!("engine {} looks, and decides", at + 1),
            Step::Sends(at, became) => format!("engine {} writes: {}{}", at + 1, writes(at), fate(became)),
            Step::Ends(at) => format!("engine {} stands still, and its lease runs out", at + 1),
            Step::Learns(at) => format!("engine {} hears that its lease is gone", at + 1),
            Step::Dies(at, false) => format!("engine {} dies", at + 1),
            Step::Dies(at, true) => format!("engine {} dies; on its way is: {}", at + 1, writes(at)),
            Step::Arrives(which) => {
                let all: Vec<_> =
                    before.late[which].batch.decisions.iter().map(ToString::to_string).collect();
                format!("late: {}", all.join(", "))
            }
            Step::Expires(_) => "a lease that nobody keeps runs out".to_owned(),
            Step::Renews(at) => format!("{} renews its lease, or is registered anew", machine(at)),
            Step::Looks(at) => format!("the agent of {} hears what is new", machine(at)),
            Step::Turns(at) => format!("the agent of {} does what is to be done", machine(at)),
            Step::Silent(at) => format!("{} cannot renew its lease", machine(at)),
            Step::Lost(at) => format!("the lease of {} ends", machine(at)),
            Step::Falls(at) => format!("{} loses its power", machine(at)),
            Step::Boots(at) => format!("{} is up again", machine(at)),
            Step::Restarts(at) => format!("the agent of {} is started again after a kill", machine(at)),
            Step::Destroys => "a client destroys a unit".to_owned(),
        }
    }

    fn show(&self, fleet: &Fleet) -> String {
        fleet.show()
    }

    fn explain(&self, property: &str, fleet: &Fleet) -> String {
        match (property, &fleet.wrong) {
            (ONCE, _) => fleet.twice().map_or_else(String::new, |name| format!("{name} does")),
            (WHOLE, _) => fleet.stray().map_or_else(String::new, |name| format!("{name} is not")),
            (SETTLED, _) => fleet.unsettled().unwrap_or_default(),
            (_, Some(Wrong::Early(at))) => format!("engine {} leads, and another one is first", at + 1),
            (_, Some(Wrong::Taken(name, id))) => format!("{name} was taken off {id}"),
            (_, Some(Wrong::Deposed)) => {
                "an engine has written whose key is not the first, or gone".to_owned()
            }
            (_, None) => String::new(),
        }
    }
}
