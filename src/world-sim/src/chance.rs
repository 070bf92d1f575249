//! Random numbers of the seed: one stream for each purpose, so that a draw more in one subsystem leaves the
//! draws of all others as they were.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use std::time::Duration;

/// One stream of random numbers.
#[derive(Clone, Debug)]
pub struct Chance {
    stream: ChaCha8Rng,
}

impl Chance {
    /// The stream of this name under this seed. The same pair gives the same numbers on every machine.
    #[must_use]
    pub fn new(seed: u64, name: &str) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&crate::trace::hash(name.as_bytes()).to_le_bytes());
        // Names could collide in one hash of 64 bits, but then differ in the length or the second hash.
        key[16..24].copy_from_slice(&(name.len() as u64).to_le_bytes());
        let reversed: Vec<u8> = name.bytes().rev().collect();
        key[24..].copy_from_slice(&crate::trace::hash(&reversed).to_le_bytes());
        Self { stream: ChaCha8Rng::from_seed(key) }
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.stream.next_u64()
    }

    /// A number below `bound`; 0 where `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Multiplying maps the draw evenly enough: the bias is under bound / 2^64.
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `low..=high`.
    ///
    /// # Panics
    /// Where `low` is above `high`.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "an empty range {low}..={high}");
        match (high - low).checked_add(1) {
            Some(width) => low + self.below(width),
            None => self.draw(),
        }
    }

    /// A duration in `low..=high`.
    ///
    /// # Panics
    /// Where `low` is above `high`.
    pub fn duration(&mut self, low: Duration, high: Duration) -> Duration {
        Duration::from_nanos(self.range(nanos(low), nanos(high)))
    }

    /// True with this probability. Draws nothing where the outcome is certain.
    pub fn bool(&mut self, probability: f64) -> bool {
        if probability <= 0.0 {
            false
        } else if probability >= 1.0 {
            true
        } else {
            ((self.draw() >> 11) as f64) < probability * (1u64 << 53) as f64
        }
    }

    /// One of them; `None` where there is none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u64) as usize)
    }

    /// Puts them into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

/// A duration as a number; half a millennium at most.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        let draw = |seed, name| {
            let mut chance = Chance::new(seed, name);
            [chance.draw(), chance.draw()]
        };
        assert_eq!(draw(1, "net"), draw(1, "net"));
        assert_ne!(draw(1, "net"), draw(1, "disk"));
        assert_ne!(draw(1, "net"), draw(2, "net"));
        // The numbers are the same on every machine and in every version: a seed in a report stays good.
        assert_eq!(draw(7, "net")[0], 11_722_637_813_595_612_044);
    }

    #[test]
    fn draws_stay_in_their_range_and_reach_its_ends() {
        let mut chance = Chance::new(3, "range");
        let draws: Vec<u64> = (0..1000).map(|_| chance.range(5, 8)).collect();
        assert!((5..=8).all(|n| draws.contains(&n)) && draws.iter().all(|n| (5..=8).contains(n)));
        let heads = (0..10_000).filter(|_| chance.bool(0.3)).count();
        assert!((2_700..3_300).contains(&heads), "{heads} of 10,000 at 0.3");
        assert_eq!(chance.below(0), 0);
        chance.range(0, u64::MAX);
    }
}
