//! The walk over packed worlds: level by level as in `crate::walk`, so that counts and ways are the same for any number of threads.
//!
//! Threads only look up. What is not there yet is worked out between two batches, by one of them and in the order of the worlds that
//! need it, so that every part has the same number in every run.

use super::growth::{Growth, Row};
use super::parts::{Missing, Parts, renamings};
use super::state::{Next, State};
use super::table::mix;
use super::{Bounds, Reductions};
use crate::check::{Outcome, Sight};
use hashbrown::HashTable;
use seatrial_raft::Entry;
use seatrial_types::MemberId;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::time::Duration;

/// Worlds of one level that are gone through between two looks at the limits.
const BATCH: usize = 1 << 15;

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WalkLimits {
    /// Threads that walk.
    pub threads: NonZeroUsize,
    /// No more steps than these; what is left then is not proven.
    pub steps_max: Option<NonZeroUsize>,
    /// Nor longer than this.
    pub time_max: Option<Duration>,
    /// Nor with more memory than so many bytes, in all of the process.
    pub memory_max: Option<u64>,
}

impl Default for WalkLimits {
    fn default() -> Self {
        Self { threads: NonZeroUsize::MIN, steps_max: None, time_max: None, memory_max: None }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Whether everything holds.
    pub outcome: Outcome,
    /// Bytes that are kept of a world: itself, from where it was met, and its place in the table, with what is not used yet.
    pub state_bytes: f64,
    /// Values that the real core was asked for: each step of a member was taken once.
    pub steps_of_cores: usize,
    /// How the parts grew.
    pub growth: Growth,
}

/// A walk, to be begun, stopped, kept and gone on with.
#[derive(Debug)]
pub struct Walk(pub(super) Size);

#[derive(Debug)]
pub(super) enum Size {
    Two(Box<Search<3>>),
    Three(Box<Search<4>>),
    Four(Box<Search<5>>),
}

/// The same for each number of members.
macro_rules! each_size {
    ($size:expr, $search:ident => $what:expr) => {
        match $size {
            Size::Two($search) => $what,
            Size::Three($search) => $what,
            Size::Four($search) => $what,
        }
    };
}

pub(super) use each_size;

impl Walk {
    /// A walk that has not begun. Panics for other than two to four members, and for more than fifty proposals and terms.
    #[must_use]
    pub fn new(bounds: Bounds, reductions: Reductions) -> Self {
        let (entries, terms) = (u32::from(bounds.entries), u32::from(bounds.terms));
        assert!(entries + terms <= 50, "{entries} proposals in {terms} terms are more than can be counted");
        Self(match bounds.members {
            2 => Size::Two(Box::new(Search::new(bounds, reductions))),
            3 => Size::Three(Box::new(Search::new(bounds, reductions))),
            4 => Size::Four(Box::new(Search::new(bounds, reductions))),
            members => panic!("{members} members: only 2 to 4 can be walked through"),
        })
    }

    /// Goes on until everything was seen, something is wrong, or a limit is reached; then it can go on again. `probe` tells the time
    /// since some beginning and the memory of the process in bytes; `progress` is called many times a second.
    pub fn go(
        &mut self,
        limits: WalkLimits,
        probe: impl Fn() -> (Duration, u64),
        progress: impl FnMut(Sight),
    ) -> Report {
        each_size!(&mut self.0, search => search.go(limits, probe, progress))
    }

    /// What of the worlds that were met is the same whatever was left out: the terms, votes, logs and commit indices of the members,
    /// who led when, and what was committed; under the least of all names. Worlds in which somebody is down are not among them.
    #[must_use]
    pub fn outlines(&self) -> BTreeSet<String> {
        each_size!(&self.0, search => search.outlines())
    }
}

/// What is wrong: the world it was met from, and the one it was met in unless the step itself broke a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) from: u32,
    pub(super) state: Option<u32>,
}

#[derive(Debug)]
pub(super) struct Search<const N: usize> {
    pub(super) parts: Parts,
    /// All worlds, in the order in which they were met: so a level is a piece of it.
    pub(super) states: Vec<State<N>>,
    /// From where each was met; itself at a beginning.
    pub(super) from: Vec<u32>,
    places: HashTable<u32>,
    /// Where the level ends that is being gone through, and how far that has come.
    pub(super) level_end: usize,
    pub(super) done: usize,
    pub(super) steps: usize,
    pub(super) broken: Option<Broken>,
    pub(super) rows: Vec<Row>,
}

/// What a thread has met.
enum Found<const N: usize> {
    New {
        from: u32,
        state: State<N>,
        is_right: bool,
    },
    Broken {
        from: u32,
    },
    /// All that follows this one is still to be found.
    Unknown {
        from: u32,
    },
}

fn hash<const N: usize>(state: &State<N>) -> u64 {
    state.iter().fold(0, |hash, part| mix(hash ^ u64::from(*part)))
}

impl<const N: usize> Search<N> {
    pub(super) fn new(bounds: Bounds, cuts: Reductions) -> Self {
        let mut search = Self {
            parts: Parts::new(bounds, cuts),
            states: Vec::new(),
            from: Vec::new(),
            places: HashTable::new(),
            level_end: 0,
            done: 0,
            steps: 0,
            broken: None,
            rows: Vec::new(),
        };
        for mut state in search.parts.beginnings::<N>() {
            let state = search.known(|parts| {
                let all = (1 << (N - 1)) - 1;
                parts.close(&mut state, all)?;
                parts.canonical(&state)
            });
            search.steps += 1;
            let at = search.states.len() as u32;
            search.meet(state, at);
        }
        search
    }

    /// Asks until everything is known that the answer needs.
    pub(super) fn known<T>(&mut self, mut ask: impl FnMut(&Parts) -> Result<T, Missing>) -> T {
        loop {
            match ask(&self.parts) {
                Ok(answer) => return answer,
                Err(missing) => self.parts.fill(missing),
            }
        }
    }

    fn is_met(&self, state: &State<N>) -> bool {
        self.places.find(hash(state), |at| self.states[*at as usize] == *state).is_some()
    }

    /// Its number, where it is new.
    pub(super) fn meet(&mut self, state: State<N>, from: u32) -> Option<u32> {
        if self.is_met(&state) {
            return None;
        }
        let at = u32::try_from(self.states.len()).expect("more worlds than can be counted");
        // By a quarter: what is doubled is empty by half.
        if self.states.len() == self.states.capacity() {
            let more = self.states.len() / 4 + 1024;
            self.states.reserve_exact(more);
            self.from.reserve_exact(more);
        }
        self.states.push(state);
        self.from.push(from);
        let states = &self.states;
        self.places.insert_unique(hash(&state), at, |at| hash(&states[*at as usize]));
        Some(at)
    }

    fn sight(&self) -> Sight {
        let depth = self.rows.len().saturating_sub(1);
        Sight { unique: self.states.len(), steps: self.steps, depth }
    }

    pub(super) fn go(
        &mut self,
        limits: WalkLimits,
        probe: impl Fn() -> (Duration, u64),
        mut progress: impl FnMut(Sight),
    ) -> Report {
        let (begun, _) = probe();
        let mut is_cut = false;
        while self.broken.is_none() && self.done < self.states.len() && !is_cut {
            if self.done == self.level_end {
                self.level_end = self.states.len();
                self.rows.push(Row::of(&self.parts, self.states.len()));
            }
            let end = self.level_end.min(self.done + BATCH);
            self.expand(end, limits.threads.get());
            self.done = end;
            progress(self.sight());
            let (now, memory) = probe();
            is_cut = limits.steps_max.is_some_and(|most| self.steps >= most.get())
                || limits.time_max.is_some_and(|most| now.saturating_sub(begun) >= most)
                || limits.memory_max.is_some_and(|most| memory >= most);
        }
        let sight = self.sight();
        let outcome = match self.broken {
            Some(broken) => Outcome::Violated(sight, self.way(broken)),
            None if self.done < self.states.len() => Outcome::Unfinished(sight),
            None => Outcome::Holds(sight),
        };
        // The table: five bytes for each place, of which seven eighths can be taken.
        let places = self.places.capacity() as f64 * 8.0 / 7.0 * 5.0;
        let kept = (self.states.capacity() * size_of::<State<N>>() + self.from.capacity() * 4) as f64;
        Report {
            outcome,
            state_bytes: (kept + places) / self.states.len().max(1) as f64,
            steps_of_cores: self.parts.steps_of_cores,
            growth: Growth::of(&self.parts, &self.rows, self.states.len()),
        }
    }

    /// Goes through the worlds up to `end`.
    fn expand(&mut self, end: usize, threads: usize) {
        let (begin, this) = (self.done, &*self);
        let each = (end - begin).div_ceil(threads).max(1);
        let part_of = |part: usize| (begin + part * each).min(end)..(begin + (part + 1) * each).min(end);
        let found: Vec<(usize, Vec<Found<N>>)> = if threads == 1 || end - begin < 64 {
            vec![this.look(begin..end)]
        } else {
            #[allow(
                clippy::disallowed_methods,
                reason = "pure functions of values: no thread can tell how many there are"
            )]
            std::thread::scope(|scope| {
                let parts: Vec<_> =
                    (0..threads).map(|part| scope.spawn(move || this.look(part_of(part)))).collect();
                parts
                    .into_iter()
                    .map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                    .collect()
            })
        };
        for (steps, found) in found {
            self.steps += steps;
            for one in found {
                self.note(one);
            }
        }
    }

    fn note(&mut self, found: Found<N>) {
        match found {
            Found::New { from, state, is_right } => {
                let at = self.meet(state, from);
                if at.is_some() && !is_right {
                    self.broken.get_or_insert(Broken { from, state: at });
                }
            }
            Found::Broken { from } => {
                self.broken.get_or_insert(Broken { from, state: None });
            }
            Found::Unknown { from } => self.work_out(from),
        }
    }

    /// Goes through one world whatever it needs.
    fn work_out(&mut self, from: u32) {
        let (steps, found) = loop {
            let mut found = Vec::new();
            match self.follow(from, &mut found) {
                Ok(steps) => break (steps, found),
                Err(missing) => self.parts.fill(missing),
            }
        };
        self.steps += steps;
        for one in found {
            self.note(one);
        }
    }

    /// What follows some worlds, without working out anything.
    fn look(&self, worlds: std::ops::Range<usize>) -> (usize, Vec<Found<N>>) {
        let (mut steps, mut found) = (0, Vec::new());
        for from in worlds {
            let from = from as u32;
            let before = found.len();
            match self.follow(from, &mut found) {
                Ok(more) => steps += more,
                Err(_) => {
                    found.truncate(before);
                    found.push(Found::Unknown { from });
                }
            }
        }
        (steps, found)
    }

    fn follow(&self, from: u32, found: &mut Vec<Found<N>>) -> Result<usize, Missing> {
        let state = self.states[from as usize];
        self.parts.successors(&state, |_, _, next| {
            let Next::State(next) = next else {
                found.push(Found::Broken { from });
                return Ok(());
            };
            let next = self.parts.canonical(&next)?;
            if !self.is_met(&next) {
                let is_right = self.parts.is_right(&next)?;
                found.push(Found::New { from, state: next, is_right });
            }
            Ok(())
        })
    }

    fn outlines(&self) -> BTreeSet<String> {
        let renamings = renamings(self.parts.bounds.members);
        let outlines = self.states.iter().filter_map(|state| {
            let under = |places: &Vec<u8>| self.parts.outline(state, places);
            renamings.iter().map(under).min().flatten()
        });
        outlines.collect()
    }
}

impl Parts {
    fn outline<const N: usize>(&self, state: &State<N>, places: &[u8]) -> Option<String> {
        let label = |id: MemberId| match usize::try_from(id.0) {
            Ok(id @ 1..) => u64::from(places[id - 1]) + 1,
            _ => 0,
        };
        let mut members = Vec::new();
        for member in &state[..N - 1] {
            let raft = self.node_of(*member).raft.as_ref()?;
            let log: Vec<Option<&Entry>> =
                (1..=raft.last_index().0).map(|index| raft.entry(index.into())).collect();
            members.push((label(raft.id()), raft.term(), label(raft.vote()), raft.commit(), log));
        }
        members.sort_by_key(|member| member.0);
        let rest = self.rests.get(state[N - 1]);
        let leaders: Vec<_> = rest.leaders.iter().map(|(term, leader)| (term, label(*leader))).collect();
        Some(format!("{members:?} {leaders:?} {:?}", self.chosen.get(rest.chosen)))
    }
}
