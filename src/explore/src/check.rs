//! What is asked of a walk through a model, and what came of it.

use stateright::{Checker, Model};
use std::fmt;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::time::Duration;

/// A hash that is the same in every thread and every run of a program. Two states of one hash are taken for one state: among ten
/// million states that happens in one walk of 370,000.
pub(crate) fn fingerprint(value: &impl Hash) -> u64 {
    ahash::RandomState::with_seeds(0x5ea7_71a1, 2, 3, 5).hash_one(value)
}

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Threads that walk.
    pub threads: NonZeroUsize,
    /// No more steps than these; what is left then is not proven.
    pub states_max: Option<NonZeroUsize>,
    /// Nor longer than this.
    pub time_max: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { threads: NonZeroUsize::MIN, states_max: None, time_max: None }
    }
}

/// A model whose steps can be told to people. [`Model::properties`] are all of the kind `always`, and each says by its name what
/// must hold.
pub trait Exploration: Model + Send + Sync + 'static
where
    Self::State: Clone + fmt::Debug + std::hash::Hash + PartialEq + Send + Sync,
    Self::Action: Clone + fmt::Debug + PartialEq + Send + Sync,
{
    /// What a step did, in one sentence.
    fn tell(&self, before: &Self::State, action: &Self::Action) -> String;

    /// A state, in a few lines.
    fn show(&self, state: &Self::State) -> String;

    /// Why a property does not hold in this state, in one sentence.
    fn explain(&self, property: &str, state: &Self::State) -> String;
}

/// How much was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// States, each counted once.
    pub unique: usize,
    /// Steps that were taken, whether or not they led to a new state.
    pub steps: usize,
    /// The length of the longest shortest way to a state.
    pub depth: usize,
}

/// A way to a state in which a property does not hold. No way with fewer steps leads to such a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// The property's name.
    pub property: String,
    /// Why it does not hold at the end.
    pub why: String,
    /// The steps, each in one sentence.
    pub steps: Vec<String>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.property, self.why)?;
        for (at, step) in self.steps.iter().enumerate() {
            writeln!(f, "  {:>3}. {step}", at + 1)?;
        }
        Ok(())
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every state within the bounds was visited, and all properties hold in all of them.
    Holds(Sight),
    /// A property does not hold.
    Violated(Sight, Counterexample),
    /// A limit was reached first: nothing wrong was seen, and nothing is proven.
    Unfinished(Sight),
}

impl Outcome {
    /// How much was seen.
    #[must_use]
    pub fn sight(&self) -> Sight {
        match self {
            Self::Holds(sight) | Self::Violated(sight, _) | Self::Unfinished(sight) => *sight,
        }
    }
}

/// Walks a model breadth first. `clock` tells the time since some beginning; `progress` is called many times a second.
pub fn check<M: Exploration>(
    model: &M,
    limits: Limits,
    clock: impl Fn() -> Duration,
    progress: impl FnMut(Sight),
) -> Outcome
where
    M::State: Clone + fmt::Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + fmt::Debug + PartialEq + Send + Sync,
{
    crate::walk::walk(model, limits, clock, progress)
}

/// Shows a model in a browser, state by state, until the process ends. Panics where the address cannot be used.
pub fn serve<M: Exploration>(model: M, address: std::net::SocketAddr)
where
    M::State: Clone + fmt::Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + fmt::Debug + PartialEq + Send + Sync,
{
    drop(model.checker().serve(address));
}

/// How many states stateright's own search finds: to hold ours against it.
pub fn count_with_stateright<M: Exploration>(model: M) -> usize
where
    M::State: Clone + fmt::Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + fmt::Debug + PartialEq + Send + Sync,
{
    model.checker().spawn_bfs().join().unique_state_count()
}
