//! One node's clock: how its time relates to the simulation's true time.

/// A monotonic clock that runs too fast or too slow, and a wall clock that is off and may jump.
///
/// All times are nanoseconds. The mapping is exact integer arithmetic, so that it is the same everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NodeClock {
    /// A moment at which both scales are known; a change of drift sets a new one.
    anchor_true: u64,
    anchor_local: u64,
    /// Parts per million by which the clock runs fast. Above -1,000,000, or time would stand still.
    drift_ppm: i64,
    /// What the wall clock shows beyond the epoch and the monotonic clock.
    offset: i128,
}

/// What an unbiased wall clock shows at true time zero: 2024-01-01T00:00:00Z.
const WALL_EPOCH: i128 = 1_704_067_200 * 1_000_000_000;
const MILLION: i128 = 1_000_000;

impl NodeClock {
    pub(crate) fn new() -> Self {
        Self { anchor_true: 0, anchor_local: 0, drift_ppm: 0, offset: 0 }
    }

    fn rate(&self) -> i128 {
        MILLION + i128::from(self.drift_ppm)
    }

    pub(crate) fn local(&self, now: u64) -> u64 {
        let passed = i128::from(now - self.anchor_true) * self.rate() / MILLION;
        u64::try_from(i128::from(self.anchor_local) + passed).unwrap_or(u64::MAX)
    }

    /// The first true time at which [`NodeClock::local`] has reached `local`.
    pub(crate) fn true_time(&self, local: u64) -> u64 {
        let passed = i128::from(local) - i128::from(self.anchor_local);
        if passed <= 0 {
            return self.anchor_true;
        }
        // Rounded up, as `local` rounds down.
        let passed = (passed * MILLION + self.rate() - 1) / self.rate();
        u64::try_from(i128::from(self.anchor_true) + passed).unwrap_or(u64::MAX)
    }

    pub(crate) fn wall(&self, now: u64) -> u64 {
        u64::try_from(WALL_EPOCH + i128::from(self.local(now)) + self.offset).unwrap_or(0)
    }

    /// From `now` on it runs at another rate; it does not jump.
    pub(crate) fn set_drift(&mut self, now: u64, drift_ppm: i64) {
        assert!(drift_ppm > -1_000_000, "a drift of {drift_ppm} ppm would stop the clock");
        self.anchor_local = self.local(now);
        self.anchor_true = now;
        self.drift_ppm = drift_ppm;
    }

    pub(crate) fn step_wall(&mut self, by_nanos: i128) {
        self.offset += by_nanos;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_fast_clock_gains_and_a_slow_one_loses() {
        let mut clock = NodeClock::new();
        clock.set_drift(10 * SECOND, 200);
        assert_eq!(clock.local(10 * SECOND), 10 * SECOND, "a change of drift is no jump");
        assert_eq!(clock.local(20 * SECOND), 20 * SECOND + 2_000_000);
        clock.set_drift(20 * SECOND, -200);
        assert_eq!(clock.local(30 * SECOND), 30 * SECOND);
    }

    #[test]
    fn the_true_time_of_a_deadline_is_the_first_at_which_it_has_come() {
        for drift in [-500_000, -999, -1, 0, 1, 333, 1_000_000] {
            let mut clock = NodeClock::new();
            clock.set_drift(12_345, drift);
            for local in (0..3_000_000_000u64).step_by(98_765_431) {
                let time = clock.true_time(local);
                assert!(clock.local(time) >= local, "{local} at {drift} ppm wakes early");
                assert!(time <= 12_345 || clock.local(time - 1) < local, "{local} at {drift} ppm wakes late");
            }
        }
    }

    #[test]
    fn a_step_moves_the_wall_alone() {
        let mut clock = NodeClock::new();
        let (local, wall) = (clock.local(SECOND), clock.wall(SECOND));
        clock.step_wall(-i128::from(3 * SECOND));
        assert_eq!(clock.local(SECOND), local);
        assert_eq!(clock.wall(SECOND), wall - 3 * SECOND);
    }
}
