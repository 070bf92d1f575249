//! What may happen next, and what must hold.

use super::hall::{Hall, Phase, Wrong};
use crate::check::Exploration;
use crate::script::Ask;
use seatrial_client::has_effect;
use seatrial_types::Request;
use stateright::{Model, Property};

const FIRST: &str = "who is told that it holds is first in the queue at that moment";
const STALE: &str = "no write is taken of one whom a later holder has preceded";
const RIGHTFUL: &str = "who holds is not turned away";
const THROUGH: &str = "where nobody can go on, everybody has had the lock and given it back";

/// How large the world is, and how much may go wrong in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Clients.
    pub clients: usize,
    /// How often each wants the lock.
    pub wants: u8,
    /// Leases that run out while their clients stand still.
    pub ends: u8,
    /// Requests or answers that are lost.
    pub losses: u8,
    /// The resource asks for tokens.
    pub is_fenced: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { clients: 2, wants: 1, ends: 1, losses: 0, is_fenced: true }
    }
}

/// What may still go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Left {
    ends: u8,
    losses: u8,
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
    /// A client gets a lease and begins to lock.
    Begins(usize),
    /// Its next request.
    Access(usize, Fate),
    /// It writes to the resource.
    Writes(usize),
    /// Its lease runs out, and it does not know.
    Ends(usize),
    /// It hears that its lease is gone.
    Learns(usize),
}

impl Bounds {
    /// What the clients can do by themselves.
    fn own_steps(&self, hall: &Hall, at: usize, steps: &mut Vec<Step>) -> Option<Ask> {
        let client = &hall.clients[at];
        match client.phase {
            Phase::Rests if client.wants > 0 => steps.push(Step::Begins(at)),
            Phase::Rests => {}
            Phase::Holds(..) => steps.push(Step::Writes(at)),
            Phase::Locks | Phase::Unlocks(..) => {
                let ask = hall.ask(at)?;
                if !matches!(ask, Ask::Watch(_)) || hall.server.clone().serve(&ask).is_some() {
                    steps.push(Step::Access(at, Fate::Well));
                }
                return Some(ask);
            }
        }
        None
    }
}

impl Model for Bounds {
    type State = Hall;
    type Action = Step;

    fn init_states(&self) -> Vec<Hall> {
        let left = Left { ends: self.ends, losses: self.losses };
        vec![Hall::new(self.clients, self.wants, left)]
    }

    fn actions(&self, hall: &Hall, steps: &mut Vec<Step>) {
        for (at, client) in hall.clients.iter().enumerate() {
            let ask = self.own_steps(hall, at, steps);
            let is_write = |ask: &Ask| matches!(ask, Ask::Call(request) if has_effect(request));
            if hall.left.losses > 0 && ask.as_ref().is_some_and(is_write) {
                steps.extend([Step::Access(at, Fate::Lost), Step::Access(at, Fate::Unanswered)]);
            }
            if client.phase == Phase::Rests {
                continue;
            }
            if !hall.is_alive(at) {
                steps.push(Step::Learns(at));
            } else if hall.left.ends > 0 {
                steps.push(Step::Ends(at));
            }
        }
    }

    fn next_state(&self, hall: &Hall, step: Step) -> Option<Hall> {
        let mut next = hall.clone();
        next.wrong = None;
        match step {
            Step::Begins(at) => next.begin(at),
            Step::Access(at, fate) => {
                next.left.losses -= u8::from(fate != Fate::Well);
                next.access(at, fate);
            }
            Step::Writes(at) => next.write(at, self.is_fenced),
            Step::Ends(at) => {
                next.left.ends -= 1;
                next.end(at);
            }
            Step::Learns(at) => next.rest(at),
        }
        (next != *hall).then_some(next)
    }

    fn format_step(&self, before: &Hall, step: Step) -> Option<String> {
        let next = self.next_state(before, step)?;
        Some(format!("{}\n\n{}", self.tell(before, &step), self.show(&next)))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(FIRST, |_, hall: &Hall| !matches!(hall.wrong, Some(Wrong::Early(_)))),
            Property::always(STALE, |_, hall: &Hall| !matches!(hall.wrong, Some(Wrong::Stale(_)))),
            Property::always(RIGHTFUL, |_, hall: &Hall| !matches!(hall.wrong, Some(Wrong::Refused(_)))),
            // Nothing that clients do by themselves leads back to where it began: answers and revisions only grow. So they come to
            // an end, and it is enough to look at the ends.
            Property::always(THROUGH, |bounds: &Self, hall: &Hall| {
                let mut steps = Vec::new();
                for at in 0..hall.clients.len() {
                    bounds.own_steps(hall, at, &mut steps);
                    let is_over = hall.clients[at].phase != Phase::Rests && !hall.is_alive(at);
                    steps.extend(is_over.then_some(Step::Learns(at)));
                }
                !steps.is_empty() || hall.unsettled().is_none()
            }),
        ]
    }
}

impl Exploration for Bounds {
    fn tell(&self, before: &Hall, step: &Step) -> String {
        match *step {
            Step::Begins(at) => format!("client {} gets a lease and begins to lock", at + 1),
            Step::Access(at, fate) => {
                let does = match before.ask(at) {
                    Some(Ask::Watch(create)) => {
                        format!("hears that {} is gone", String::from_utf8_lossy(&create.range.key))
                    }
                    Some(Ask::Call(Request::Txn(_))) => "joins the queue".to_owned(),
                    Some(Ask::Call(Request::DeleteRange(_))) => "leaves the queue".to_owned(),
                    Some(Ask::Call(Request::Range(range))) if range.range.is_single() => {
                        "looks for its own key".to_owned()
                    }
                    Some(Ask::Call(Request::Range(_))) => "asks who is before it".to_owned(),
                    other => format!("{other:?}"),
                };
                let fate = match fate {
                    Fate::Well => "",
                    Fate::Lost => " (lost, and nobody knows)",
                    Fate::Unanswered => " (done, and nobody knows)",
                };
                format!("client {} {does}{fate}", at + 1)
            }
            Step::Writes(at) => match &before.clients[at].phase {
                Phase::Holds(_, token) => {
                    format!("client {} writes to the resource, with token {}", at + 1, token.0)
                }
                other => format!("client {} writes: {other:?}", at + 1),
            },
            Step::Ends(at) => format!("client {} stands still, and its lease runs out", at + 1),
            Step::Learns(at) => format!("client {} hears that its lease is gone", at + 1),
        }
    }

    fn show(&self, hall: &Hall) -> String {
        hall.show()
    }

    fn explain(&self, property: &str, hall: &Hall) -> String {
        match hall.wrong {
            Some(Wrong::Early(at)) => format!("client {} holds, and another one is first", at + 1),
            Some(Wrong::Stale(at)) => format!("client {} wrote after a later holder had", at + 1),
            Some(Wrong::Refused(at)) => format!("client {} holds, and was refused", at + 1),
            None => {
                assert_eq!(property, THROUGH, "nothing else is wrong without a name");
                hall.unsettled().unwrap_or_default()
            }
        }
    }
}
