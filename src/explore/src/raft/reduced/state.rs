//! Worlds as numbers of their parts, and what follows them.

use super::parts::{BROKEN, Missing, Move, Parts, Rest};
use crate::raft::reduced::parts::Left;
use seatrial_types::MemberId;

/// The members' numbers in the order of their places, then the rest's: one number more than there are members.
pub(super) type State<const N: usize> = [u32; N];

/// What a step leads to.
pub(super) enum Next<const N: usize> {
    State(State<N>),
    /// A rule was broken by the step itself.
    Broken,
}

impl Parts {
    /// The worlds at the beginning: one for each way to say beforehand who crashes how often.
    pub(super) fn beginnings<const N: usize>(&mut self) -> Vec<State<N>> {
        let left = Left {
            entries: self.bounds.entries,
            beats: self.bounds.beats,
            reads: self.bounds.reads,
            crashes: if self.cuts.order { 0 } else { self.bounds.crashes },
        };
        let rest = self.rests.keep(Rest { left, ..Rest::default() });
        let each = if self.cuts.order { self.bounds.crashes } else { 0 };
        let mut states = Vec::new();
        for crashes in shares(each, N - 1) {
            let mut state = [rest; N];
            for (place, crashes) in crashes.into_iter().enumerate() {
                state[place] = self.fresh(MemberId(place as u64 + 1), crashes);
            }
            states.push(state);
        }
        states
    }

    /// Everything that follows a world, each in the form it is kept in, with the move and whose it is.
    pub(super) fn successors<const N: usize>(
        &self,
        state: &State<N>,
        mut each: impl FnMut(usize, Move, Next<N>) -> Result<(), Missing>,
    ) -> Result<usize, Missing> {
        let mut steps = 0;
        let rest = state[N - 1];
        let left = self.rests.get(rest).left.packed();
        for place in 0..N - 1 {
            let member = state[place];
            let left = left & self.needs[member as usize];
            let own = self.own.get(member, left).ok_or(Missing::Own(member, left))?;
            for one in own {
                steps += 1;
                each(place, *one, self.next(state, place, one)?)?;
            }
        }
        for one in 0..N - 1 {
            for two in one + 1..N - 1 {
                let pair = self.pair_of(state[one], state[two])?;
                for (place, moves) in [one, two].into_iter().zip(&pair.hears) {
                    for one in moves {
                        steps += 1;
                        each(place, *one, self.next(state, place, one)?)?;
                    }
                }
            }
        }
        Ok(steps)
    }

    pub(super) fn pair_of(&self, one: u32, two: u32) -> Result<&super::parts::Pair, Missing> {
        self.pairs.get(one, two).ok_or(Missing::Pair(one, two))
    }

    /// The world after a move, with all that follows at once; not yet under the names it is kept by.
    pub(super) fn next<const N: usize>(
        &self,
        state: &State<N>,
        place: usize,
        one: &Move,
    ) -> Result<Next<N>, Missing> {
        if one.member == BROKEN {
            return Ok(Next::Broken);
        }
        let mut next = *state;
        next[place] = one.member;
        if one.effect != 0 {
            let rest = state[N - 1];
            let after = self.after.get(rest, one.effect).ok_or(Missing::After(rest, one.effect))?;
            if *after == BROKEN {
                return Ok(Next::Broken);
            }
            next[N - 1] = *after;
        }
        self.close(&mut next, 1 << place)?;
        Ok(Next::State(next))
    }

    /// Lets all pairs hear what changes nothing, until there is no more of it. `changed` are the places that changed, as bits.
    pub(super) fn close<const N: usize>(
        &self,
        state: &mut State<N>,
        mut changed: u32,
    ) -> Result<(), Missing> {
        if !self.cuts.order {
            return Ok(());
        }
        let mut rounds = 0;
        while changed != 0 {
            rounds += 1;
            assert!(rounds < 1000, "what is said and forgotten has no end in {state:?}");
            let now = std::mem::take(&mut changed);
            for one in 0..N - 1 {
                for two in one + 1..N - 1 {
                    if (now | changed) & (1 << one | 1 << two) == 0 {
                        continue;
                    }
                    let then = self.pair_of(state[one], state[two])?.then;
                    for (place, then) in [one, two].into_iter().zip(then) {
                        if state[place] != then {
                            state[place] = then;
                            changed |= 1 << place;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// A world under the names it is kept by: of all that put the members in the order of their classes, those that give the least
    /// numbers. A class is the same under all names, so worlds that differ in names alone have the same form.
    pub(super) fn canonical<const N: usize>(&self, state: &State<N>) -> Result<State<N>, Missing> {
        if !self.cuts.symmetry {
            return Ok(*state);
        }
        let mut classes = [0u64; N];
        for place in 0..N - 1 {
            classes[place] = self.classes[state[place] as usize];
        }
        let mut least: Option<State<N>> = None;
        for (renaming, places) in self.renamings.iter().enumerate() {
            let mut sorted = [0u64; N];
            for (from, to) in places.iter().enumerate() {
                sorted[usize::from(*to)] = classes[from];
            }
            if !sorted[..N - 1].is_sorted() {
                continue;
            }
            let other = self.renamed::<N>(state, renaming)?;
            least = Some(least.map_or(other, |least| least.min(other)));
        }
        Ok(least.expect("some order is the sorted one"))
    }

    fn renamed<const N: usize>(&self, state: &State<N>, renaming: usize) -> Result<State<N>, Missing> {
        if renaming == 0 {
            return Ok(*state);
        }
        let (places, number) = (&self.renamings[renaming], renaming as u32);
        let mut other = *state;
        for (from, to) in places.iter().enumerate() {
            let member = state[from];
            let renamed = self.renamed.get(member, number).ok_or(Missing::Renamed(member, number))?;
            other[usize::from(*to)] = *renamed;
        }
        let rest = state[N - 1];
        other[N - 1] = *self.rest_renamed.get(rest, number).ok_or(Missing::RestRenamed(rest, number))?;
        Ok(other)
    }

    /// Whether a world is as it must be.
    pub(super) fn is_right<const N: usize>(&self, state: &State<N>) -> Result<bool, Missing> {
        for one in 0..N - 1 {
            for two in one + 1..N - 1 {
                if !self.pair_of(state[one], state[two])?.agree {
                    return Ok(false);
                }
            }
        }
        let chosen = self.rests.get(state[N - 1]).chosen;
        if chosen == 0 {
            return Ok(true);
        }
        let mut held = [0u32; 64];
        let mut is_complete = true;
        for member in &state[..N - 1] {
            let judged = self.judged.get(*member, chosen).ok_or(Missing::Judged(*member, chosen))?;
            is_complete &= judged.is_complete;
            let mut holds = judged.holds;
            while holds != 0 {
                held[holds.trailing_zeros() as usize] += 1;
                holds &= holds - 1;
            }
        }
        let majority = (N as u32 - 1) / 2 + 1;
        let count = self.chosen.get(chosen).len();
        Ok(is_complete && held[..count].iter().all(|held| *held >= majority))
    }
}

/// All ways to share out so much among so many, the most to the first ones.
fn shares(much: u8, many: usize) -> Vec<Vec<u8>> {
    if many == 1 {
        return vec![vec![much]];
    }
    let first = |mine: u8| {
        shares(much - mine, many - 1).into_iter().map(move |mut others| {
            others.insert(0, mine);
            others
        })
    };
    (0..=much).rev().flat_map(first).collect()
}

#[cfg(test)]
mod tests {
    use super::shares;

    #[test]
    fn crashes_are_shared_out_in_every_way() {
        assert_eq!(shares(1, 2), [[1, 0], [0, 1]]);
        assert_eq!(shares(2, 2), [[2, 0], [1, 1], [0, 2]]);
        assert_eq!((shares(2, 3).len(), shares(0, 3).len()), (6, 1));
    }
}
