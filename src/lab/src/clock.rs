//! What a machine takes for the time.

use std::time::Duration;

/// A clock that runs too fast or too slow since some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clock {
    /// The moment, in true time, …
    since: Duration,
    /// … and what the clock showed then.
    showed: Duration,
    drift_ppm: i64,
}

const MILLION: i128 = 1_000_000;

fn nanos(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).expect("a run shorter than 584 years")
}

fn duration(nanos: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
}

impl Clock {
    /// What it shows.
    pub(crate) fn at(self, now: Duration) -> Duration {
        if self.drift_ppm == 0 {
            return self.showed + now.saturating_sub(self.since);
        }
        let passed = nanos(now.saturating_sub(self.since));
        self.showed + duration(passed * (MILLION + i128::from(self.drift_ppm)) / MILLION)
    }

    /// When it will show that; not before.
    pub(crate) fn when(self, shows: Duration) -> Duration {
        let wait = shows.saturating_sub(self.showed);
        if self.drift_ppm == 0 {
            return self.since + wait;
        }
        let pace = MILLION + i128::from(self.drift_ppm);
        // Rounded up: whoever is woken finds the time come.
        self.since + duration((nanos(wait) * MILLION + pace - 1) / pace)
    }

    /// It is set forward or back.
    pub(crate) fn set_by(&mut self, now: Duration, ms: i64) {
        let by = Duration::from_millis(ms.unsigned_abs());
        let showed = if ms < 0 { self.at(now).saturating_sub(by) } else { self.at(now) + by };
        *self = Self { since: now, showed, ..*self };
    }

    /// From now on it runs like that.
    pub(crate) fn set_drift(&mut self, now: Duration, ppm: i64) {
        *self = Self { since: now, showed: self.at(now), drift_ppm: ppm.clamp(-900_000, 10_000_000) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_woken_at_a_time_of_the_clock_finds_it_come_and_not_long_ago() {
        let ms = Duration::from_millis;
        let mut clock = Clock::default();
        assert_eq!((clock.at(ms(5)), clock.when(ms(7))), (ms(5), ms(7)));
        clock.set_by(ms(0), 3);
        assert_eq!((clock.at(ms(5)), clock.when(ms(10))), (ms(8), ms(7)));
        clock.set_by(ms(5), -8);
        assert_eq!(clock.at(ms(6)), ms(1));
        for ppm in [100_000, -100_000, 333_333, -7] {
            let (now, before) = (clock.when(clock.at(ms(1000)) + ms(13)), clock);
            clock.set_drift(now, ppm);
            assert_eq!(clock.at(now), before.at(now), "it does not jump");
            for step in 1..100 {
                let shows = clock.at(now) + Duration::from_nanos(step * 12_345_679);
                let when = clock.when(shows);
                assert!(clock.at(when) >= shows, "{ppm}: {:?} {shows:?}", clock.at(when));
                assert!(clock.at(when) <= shows + Duration::from_nanos(12), "{ppm}");
            }
        }
    }
}
