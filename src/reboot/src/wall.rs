//! Moments by the calendar, and how ages are told.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Whole seconds since the Unix epoch. They come from many machines' clocks: they are for people, for ages and for the
/// order of a queue, and no safety hangs on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wall(pub u64);

impl Wall {
    /// From `World::wall`; parts of a second are dropped.
    #[must_use]
    pub fn from_epoch(since: Duration) -> Self {
        Self(since.as_secs())
    }

    /// This much later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_secs()))
    }

    /// The time from `earlier` until now; zero where a clock says that `earlier` is still to come.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

/// An age as people say it: the two largest units, `45s`, `3m12s`, `2h5m`, `3d4h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(pub Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds}s"),
            (0, 0, minutes) => write!(f, "{minutes}m{}s", seconds % 60),
            (0, hours, minutes) => write!(f, "{hours}h{minutes}m"),
            (days, hours, _) => write!(f, "{days}d{hours}h"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_their_two_largest_units() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m0s"),
            (192, "3m12s"),
            (3600, "1h0m"),
            (7_500, "2h5m"),
            (86_400, "1d0h"),
            (274_000, "3d4h"),
        ] {
            assert_eq!(Age(Duration::from_secs(seconds)).to_string(), text);
        }
    }

    #[test]
    fn a_clock_that_is_behind_sees_no_age_rather_than_a_wrong_one() {
        assert_eq!(Wall(10).since(Wall(20)), Duration::ZERO);
        assert_eq!(Wall(20).since(Wall(10)), Duration::from_secs(10));
    }
}
