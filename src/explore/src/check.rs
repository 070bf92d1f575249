//! Walks a model, and says what was seen.

use stateright::report::{ReportData, ReportDiscovery, Reporter};
use stateright::{Checker, CheckerBuilder, HasDiscoveries, Model};
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Threads that walk.
    pub threads: NonZeroUsize,
    /// No more states than these; what is left then is not proven.
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

/// Walks a model breadth first, so that a counterexample is as short as can be. `progress` is called about once in `every`.
pub fn check<M: Exploration>(
    model: M,
    limits: Limits,
    every: Duration,
    progress: impl FnMut(Sight) + Send,
) -> Outcome
where
    M::State: Clone + fmt::Debug + std::hash::Hash + PartialEq + Send + Sync,
    M::Action: Clone + fmt::Debug + PartialEq + Send + Sync,
{
    let mut builder: CheckerBuilder<M> = 
        model.checker().threads(limits.threads.get()).finish_when(HasDiscoveries::AnyFailures);
    if let Some(states) = limits.states_max {
        builder = builder.target_state_count(states.get());
    }
    if let Some(time) = limits.time_max {
        builder = builder.timeout(time);
    }
    let mut reporter = Progress { every, tell: progress, took: Duration::ZERO };
    let checker = builder.spawn_bfs().join_and_report(&mut reporter);
    let sight = Sight {
        unique: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth(),
    };
    let model = checker.model();
    let mut found: Vec<Counterexample> = checker
        .discoveries()
        .into_iter()
        .map(|(property, path)| {
            let why = model.explain(property, path.last_state());
            let steps = path
                .into_vec()
                .into_iter()
                .filter_map(|(state, action)| action.map(|action| model.tell(&state, &action)))
                .collect();
            Counterexample { property: property.to_owned(), why, steps }
        })
        .collect();
    found.sort_by_key(|one| (one.steps.len(), one.property.clone()));
    if let Some(first) = found.into_iter().next() {
        return Outcome::Violated(sight, first);
    }
    let is_cut = limits.states_max.is_some_and(|most| sight.steps >= most.get())
        || limits.time_max.is_some_and(|most| reporter.took >= most);
    if is_cut { Outcome::Unfinished(sight) } else { Outcome::Holds(sight) }
}

struct Progress<F> {
    every: Duration,
    tell: F,
    took: Duration,
}

impl<M: Model, F: FnMut(Sight)> Reporter<M> for Progress<F> {
    fn report_checking(&mut self, data: ReportData) {
        self.took = data.duration;
        (self.tell)(Sight { unique: data.unique_states, steps: data.total_states, depth: data.max_depth });
    }

    fn report_discoveries(&mut self, _: &M, _: BTreeMap<&'static str, ReportDiscovery<M>>)
    where
        M::Action: fmt::Debug + PartialEq,
        M::State: fmt::Debug + std::hash::Hash + PartialEq,
    {
    }

    fn delay(&self) -> Duration {
        self.every
    }
}
