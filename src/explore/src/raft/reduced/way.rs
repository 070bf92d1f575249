//! The way to what is wrong, in the names that the members had at the beginning.

use super::super::cluster::mismatch;
use super::super::model::say;
use super::parts::{Act, BROKEN, Missing, Move, Parts};
use super::state::{Next, State};
use super::walk::{Broken, Search};
use crate::check::Counterexample;
use seatrial_types::MemberId;

/// The same property as the model's that keeps count of what is lost.
const SAFE: &str = "what was committed stays, is seen by reads, and one leads in each term";

impl<const N: usize> Search<N> {
    /// The way to what is wrong. No shorter one leads to anything wrong.
    pub(super) fn way(&mut self, broken: Broken) -> Counterexample {
        let mut numbers = vec![broken.state.unwrap_or(broken.from)];
        while let Some(from) = numbers.last().map(|at| self.from[*at as usize]).filter(|from| {
            let last = numbers.last();
            last != Some(from)
        }) {
            numbers.push(from);
        }
        let first = numbers.pop().expect("a way has a beginning");
        // Each world is kept under other names than the one before: the way is gone again under one and the same.
        let mut state = self.states[first as usize];
        let mut steps = Vec::new();
        while let Some(at) = numbers.pop() {
            let wanted = self.states[at as usize];
            let (place, one, next) = self.known(|parts| find(parts, &state, Some(&wanted)));
            steps.push(self.parts.tell(&state, place, &one));
            state = next.expect("a world, for no rule is broken on the way");
        }
        if broken.state.is_some() {
            let why = self.parts.explain(&state);
            return Counterexample { property: SAFE.to_owned(), why, steps };
        }
        let (place, one, _) = self.known(|parts| find(parts, &state, None));
        steps.push(self.parts.tell(&state, place, &one));
        let why = if one.member == BROKEN {
            self.parts.texts.get(one.effect).clone()
        } else {
            let rest = state[N - 1];
            self.parts.after_effect(rest, one.effect).err().unwrap_or_default()
        };
        Counterexample { property: SAFE.to_owned(), why, steps }
    }
}

/// The first move that leads to a world, or else that breaks a rule.
fn find<const N: usize>(
    parts: &Parts,
    state: &State<N>,
    wanted: Option<&State<N>>,
) -> Result<(usize, Move, Option<State<N>>), Missing> {
    let mut found = None;
    parts.successors(state, |place, one, next| {
        let next = match next {
            Next::State(next) => Some(next),
            Next::Broken => None,
        };
        let canonical = next.map(|next| parts.canonical(&next)).transpose()?;
        if found.is_none() && canonical.as_ref() == wanted {
            found = Some((place, one, next));
        }
        Ok(())
    })?;
    Ok(found.expect("a world follows the one it was met from"))
}

impl Parts {
    /// A move in one sentence.
    fn tell<const N: usize>(&self, state: &State<N>, place: usize, one: &Move) -> String {
        let id = MemberId(place as u64 + 1);
        match one.act {
            Act::Hear(letter) => format!("arrives: {}", say(self.letters.get(letter))),
            Act::Synced => format!("{id}: its oldest write is durable"),
            Act::Fire(timer) => format!("{id}: the timer {timer:?} fires"),
            Act::Propose => format!("{id}: a client proposes something"),
            Act::Read => format!("{id}: a client begins to read"),
            Act::Crash(kept) => {
                let lost = self.node_of(state[place]).syncs.len() - kept;
                format!("{id} crashes; {kept} of its writes under way were durable, {lost} are lost")
            }
            Act::Start => format!("{id} starts again"),
        }
    }

    /// What is wrong in a world.
    fn explain<const N: usize>(&self, state: &State<N>) -> String {
        let members = &state[..N - 1];
        for (at, one) in members.iter().enumerate() {
            for two in &members[at + 1..] {
                let nodes =
                    self.nodes_of(*one).flat_map(|one| self.nodes_of(*two).map(move |two| (one, two)));
                if let Some(text) = nodes.into_iter().find_map(|(one, two)| mismatch(&one.node, &two.node)) {
                    return text;
                }
            }
        }
        let chosen = self.chosen.get(self.rests.get(state[N - 1]).chosen);
        for (index, entry) in chosen {
            let holds = |member: &&u32| {
                self.nodes_of(**member).all(|one| one.node.durable.entry(*index) == Some(entry))
            };
            let holders = members.iter().filter(holds).count();
            if holders < members.len() / 2 + 1 {
                let term = entry.term;
                return format!("entry {index} of term {term} was committed and is on {holders} disks");
            }
        }
        let lacks = members.iter().find_map(|member| {
            self.nodes_of(*member).find_map(|one| {
                let missing = one.node.missing(chosen)?;
                let term = one.node.raft.as_ref()?.term();
                Some(format!("{} leads in term {term} without entry {}", one.node.id, missing.index))
            })
        });
        lacks.unwrap_or_default()
    }
}
