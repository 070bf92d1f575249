//! How long to wait before trying again.

use crate::World;
use std::time::Duration;

/// Pauses that double from `base` to `cap`, each drawn from the upper half of its range: the draw keeps the
/// losers of one fault from coming back in step, the lower bound keeps a retry from being no pause at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    attempt: u32,
}

impl Backoff {
    /// # Panics
    /// Where `base` is zero or above `cap`.
    #[must_use]
    pub fn new(base: Duration, cap: Duration) -> Self {
        assert!(!base.is_zero(), "a backoff of {base:?} never waits");
        assert!(base <= cap, "base {base:?} above cap {cap:?}");
        Self { base, cap, attempt: 0 }
    }

    /// The next pause; `chance` is any random number.
    pub fn next(&mut self, chance: u64) -> Duration {
        let full = self.base.saturating_mul(1u32.checked_shl(self.attempt).unwrap_or(u32::MAX)).min(self.cap);
        // Stop counting where the cap is reached: the shift must not wrap.
        if full < self.cap {
            self.attempt += 1;
        }
        let nanos = u64::try_from(full.as_nanos()).unwrap_or(u64::MAX);
        let half = nanos / 2;
        Duration::from_nanos(half + chance % (nanos - half + 1))
    }

    /// Waits for the next pause.
    pub async fn wait<W: World>(&mut self, world: &W) {
        let pause = self.next(world.rand());
        world.sleep(pause).await;
    }

    /// To be called after a success: the next pause is short again.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }

    /// How many pauses were handed out since the last success, as far as they grew.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_stay_in_the_upper_half() {
        let (base, cap) = (Duration::from_millis(10), Duration::from_millis(100));
        for chance in [0, 1, 12_345_678_901, u64::MAX] {
            let mut backoff = Backoff::new(base, cap);
            for full in [10, 20, 40, 80, 100, 100, 100] {
                let (pause, full) = (backoff.next(chance), Duration::from_millis(full));
                assert!(pause >= full / 2 && pause <= full, "{pause:?} outside of {:?}..={full:?}", full / 2);
            }
        }
    }

    #[test]
    fn a_success_makes_the_next_pause_short_again() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(10));
        for _ in 0..100 {
            backoff.next(7);
        }
        backoff.reset();
        assert!(backoff.next(u64::MAX) <= Duration::from_millis(10));
    }
}
