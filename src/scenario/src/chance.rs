//! Chance for plans: one stream of random numbers per subsystem, so that a change in what one of them
//! draws leaves the others as they were.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use std::time::Duration;

/// A stream of random numbers, fixed by seed and name.
#[derive(Clone, Debug)]
pub(crate) struct Chance(ChaCha8Rng);

impl Chance {
    pub(crate) fn stream(seed: u64, name: &str) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // FNV-1a: stable for ever, unlike the standard library's hashers.
        let stream = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        rng.set_stream(stream);
        Self(rng)
    }

    /// Evenly from `0..n`; `n` is not 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "drawing below 0");
        // The bias of a 64-bit product is far below anything a test could see.
        u64::try_from((u128::from(self.0.next_u64()) * u128::from(n)) >> 64).expect("a product's upper half")
    }

    pub(crate) fn pick<T: Clone>(&mut self, list: &[T]) -> T {
        assert!(!list.is_empty(), "picking from an empty list");
        list[usize::try_from(self.below(list.len() as u64)).expect("an index")].clone()
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn ppm(&mut self, ppm: u32) -> bool {
        self.below(1_000_000) < u64::from(ppm)
    }

    /// Evenly from `min..=max`.
    pub(crate) fn between(&mut self, min: Duration, max: Duration) -> Duration {
        if max <= min {
            return min;
        }
        let span = u64::try_from((max - min).as_nanos()).expect("a span below 584 years");
        min + Duration::from_nanos(self.below(span.saturating_add(1)))
    }

    /// Half to one and a half times the mean: never bunched, never regular.
    pub(crate) fn around(&mut self, mean: Duration) -> Duration {
        self.between(mean / 2, mean * 3 / 2)
    }

    /// A permutation (Fisher and Yates).
    pub(crate) fn shuffled<T: Clone>(&mut self, list: &[T]) -> Vec<T> {
        let mut list = list.to_vec();
        for at in (1..list.len()).rev() {
            let other = usize::try_from(self.below(at as u64 + 1)).expect("an index");
            list.swap(at, other);
        }
        list
    }

    /// By weight; `None` where all are 0.
    pub(crate) fn weighted<T: Copy>(&mut self, list: &[(T, u32)]) -> Option<T> {
        let total: u64 = list.iter().map(|(_, weight)| u64::from(*weight)).sum();
        if total == 0 {
            return None;
        }
        let mut at = self.below(total);
        for (item, weight) in list {
            match at.checked_sub(u64::from(*weight)) {
                Some(rest) => at = rest,
                None => return Some(*item),
            }
        }
        unreachable!("{at} left of {total}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        let draw = |seed, name| {
            let mut chance = Chance::stream(seed, name);
            (0..8).map(|_| chance.below(1_000_000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, "faults"), draw(1, "faults"));
        assert_ne!(draw(1, "faults"), draw(1, "clients"));
        assert_ne!(draw(1, "faults"), draw(2, "faults"));
    }

    #[test]
    fn weights_of_zero_are_never_drawn() {
        let mut chance = Chance::stream(3, "weights");
        for _ in 0..1000 {
            assert_ne!(chance.weighted(&[('a', 1), ('b', 0), ('c', 5)]), Some('b'));
        }
        assert_eq!(chance.weighted::<char>(&[('a', 0)]), None);
    }
}
