//! Two-phase commit, as Gray and Lamport specify it in "Consensus on Transaction Commit" (`TwoPhase.tla`). Nothing of ours: others have
//! counted its states, so it says whether the walk visits all there are, and each of them once.

use crate::check::Exploration;
use stateright::{Model, Property};

const CONSISTENT: &str = "none commits what another one has aborted";

/// How large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Resource managers.
    pub managers: usize,
    /// Managers have no names: states that differ in nothing but who is who are one state.
    pub is_symmetric: bool,
}

/// Where a resource manager is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// It may still do either.
    Working,
    /// It will do what it is told.
    Prepared,
    /// It has committed.
    Committed,
    /// It has aborted.
    Aborted,
}

/// A resource manager. It says that it is prepared at the moment it becomes so, and what was once said stays to be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Manager {
    /// Where it is.
    pub phase: Phase,
    /// It has said that it is prepared.
    pub has_said: bool,
    /// The transaction manager has heard it.
    pub is_heard: bool,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The resource managers.
    pub managers: Vec<Manager>,
    /// What the transaction manager has decided: to commit, or not to. It says so at that moment.
    pub decided: Option<bool>,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The transaction manager hears that one is prepared.
    Hears(usize),
    /// It decides.
    Decides(bool),
    /// A resource manager prepares.
    Prepares(usize),
    /// It aborts by itself.
    Aborts(usize),
    /// It does what was decided.
    Obeys(usize),
}

impl Model for Bounds {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let manager = Manager { phase: Phase::Working, has_said: false, is_heard: false };
        vec![State { managers: vec![manager; self.managers], decided: None }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.decided.is_none() {
            steps.push(Step::Decides(false));
            if state.managers.iter().all(|manager| manager.is_heard) {
                steps.push(Step::Decides(true));
            }
        }
        for (at, manager) in state.managers.iter().enumerate() {
            if state.decided.is_none() && manager.has_said && !manager.is_heard {
                steps.push(Step::Hears(at));
            }
            if manager.phase == Phase::Working {
                steps.extend([Step::Prepares(at), Step::Aborts(at)]);
            }
            if state.decided.is_some() {
                steps.push(Step::Obeys(at));
            }
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        match step {
            Step::Hears(at) => next.managers[at].is_heard = true,
            Step::Decides(what) => next.decided = Some(what),
            Step::Prepares(at) => {
                next.managers[at] = Manager { phase: Phase::Prepared, has_said: true, ..next.managers[at] };
            }
            Step::Aborts(at) => next.managers[at].phase = Phase::Aborted,
            Step::Obeys(at) => {
                let commits = next.decided?;
                next.managers[at].phase = if commits { Phase::Committed } else { Phase::Aborted };
            }
        }
        if self.is_symmetric {
            next.managers.sort_unstable();
        }
        (next != *state).then_some(next)
    }

    fn format_step(&self, before: &State, step: Step) -> Option<String> {
        let next = self.next_state(before, step)?;
        Some(format!("{}\n\n{}", self.tell(before, &step), self.show(&next)))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(CONSISTENT, |_, state: &State| {
            let is_any = |phase| state.managers.iter().any(|manager| manager.phase == phase);
            !(is_any(Phase::Committed) && is_any(Phase::Aborted))
        })]
    }
}

impl Exploration for Bounds {
    fn tell(&self, _: &State, step: &Step) -> String {
        match *step {
            Step::Hears(at) => format!("it is heard that {} is prepared", at + 1),
            Step::Decides(true) => "it is decided to commit".to_owned(),
            Step::Decides(false) => "it is decided to abort".to_owned(),
            Step::Prepares(at) => format!("{} prepares", at + 1),
            Step::Aborts(at) => format!("{} aborts by itself", at + 1),
            Step::Obeys(at) => format!("{} does what was decided", at + 1),
        }
    }

    fn show(&self, state: &State) -> String {
        format!("decided: {:?}\n{:#?}\n", state.decided, state.managers)
    }

    fn explain(&self, _: &str, state: &State) -> String {
        format!("{:?}", state.managers.iter().map(|manager| manager.phase).collect::<Vec<_>>())
    }
}
