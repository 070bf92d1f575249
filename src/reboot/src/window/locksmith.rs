//! Locksmith's windows: a start by the clock on the wall, and a length.

use super::go_duration::parse_go_duration;
use super::periodic::Day;
use super::zone::Zone;
use crate::error::RebootError;
use crate::wall::Wall;
use jiff::ToSpan;
use jiff::civil::{DateTime, Time};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A window that begins each day, or each week, at a time of day, and lasts for a while; midnight does not end it.
///
/// It begins when the clock on the wall says so and lasts its length in real time: when clocks change meanwhile, its
/// end shows another time on them, and it is as long as ever. Both its first and its last second are inside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LocksmithWindow {
    /// `None`: every day.
    day: Option<Day>,
    start: Time,
    lasts: Duration,
}

impl LocksmithWindow {
    /// Reads `[Day ]HH:MM` and a duration of Go's.
    ///
    /// # Errors
    /// [`RebootError::Window`], which names what is wrong. A daily window lasts less than a day, a weekly one less than a
    /// week.
    pub fn parse(start: &str, length: &str) -> Result<Self, RebootError> {
        let bad = |given: &str, why: String| RebootError::Window {
            given: given.to_owned(),
            why,
            hint: "a window has a start such as 04:00 or \"Thu 04:00\" and a length such as 1h30m",
        };
        let fields: Vec<&str> = start.split_whitespace().collect();
        let (day, clock) = match fields.as_slice() {
            [clock] => (None, *clock),
            [day, clock] => {
                let day =
                    Day::short(day).ok_or_else(|| bad(start, format!("{day:?} is no day of the week")))?;
                (Some(day), *clock)
            }
            _ => return Err(bad(start, "a start is a time of day, or a day of the week and one".to_owned())),
        };
        let start_time = super::periodic::parse_clock(clock).map_err(|why| bad(start, why))?;
        let lasts = parse_go_duration(length).map_err(|why| bad(length, why))?;
        let period = if day.is_some() { 7 * DAY } else { DAY };
        if lasts >= period {
            let period = if day.is_some() { "a week" } else { "a day" };
            return Err(bad(
                length,
                format!("it must be shorter than {period}, after which the window begins anew"),
            ));
        }
        Ok(Self { day, start: start_time, lasts })
    }

    pub(super) fn contains(&self, zone: &Zone, at: Wall) -> bool {
        let back = if self.day.is_some() { 8 } else { 2 };
        self.begins(zone, zone.civil(at), -back, 1).any(|start| start <= at && at <= start.after(self.lasts))
    }

    pub(super) fn starts(&self, zone: &Zone, from: Wall, ahead: Duration) -> Vec<Wall> {
        let days = i64::try_from(ahead.as_secs() / DAY.as_secs()).unwrap_or(0);
        self.begins(zone, zone.civil(from), 0, days).collect()
    }

    /// When it begins on the days around one.
    fn begins(&self, zone: &Zone, around: DateTime, from: i64, to: i64) -> impl Iterator<Item = Wall> {
        (from..=to).filter_map(move |days| {
            let date = around.date().checked_add(days.days()).ok()?;
            let today = self.day.is_none_or(|day| day == Day::of(date));
            today.then(|| zone.moment(date.to_datetime(self.start))).flatten()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Window, Windows};
    use super::*;

    fn windows(start: &str, length: &str, zone: &str) -> Windows {
        let window = LocksmithWindow::parse(start, length).unwrap();
        Windows::new(Zone::named(zone).unwrap(), vec![Window::Locksmith(window)])
    }

    fn at(text: &str) -> Wall {
        let at: jiff::Timestamp = text.parse().unwrap();
        Wall(u64::try_from(at.as_second()).unwrap())
    }

    #[test]
    fn a_window_holds_its_first_and_its_last_second_and_none_beside() {
        let daily = windows("14:00", "1h", "UTC");
        for (time, open) in [
            ("13:59:59", false),
            ("14:00:00", true),
            ("14:30:00", true),
            ("15:00:00", true),
            ("15:00:01", false),
        ] {
            assert_eq!(daily.is_open(at(&format!("2026-11-30T{time}Z"))), open, "{time}");
        }
        assert_eq!(daily.opens_in(at("2026-11-30T13:59:00Z")), Some(Duration::from_secs(60)));
        assert_eq!(daily.opens_in(at("2026-11-30T15:00:01Z")), Some(Duration::from_secs(23 * 3600 - 1)));
    }

    #[test]
    fn midnight_and_the_end_of_the_week_do_not_end_a_window() {
        let daily = windows("23:30", "1h", "UTC");
        assert!(daily.is_open(at("2026-12-01T00:30:00Z")));
        assert!(!daily.is_open(at("2026-12-01T00:30:01Z")));
        let weekly = windows("sat 23:00", "30h", "UTC");
        // 2026-11-28 is a Saturday.
        for (time, open) in [
            ("2026-11-28T22:59:59Z", false),
            ("2026-11-28T23:00:00Z", true),
            ("2026-11-30T05:00:00Z", true),
            ("2026-11-30T05:00:01Z", false),
            ("2026-12-02T23:00:00Z", false),
        ] {
            assert_eq!(weekly.is_open(at(time)), open, "{time}");
        }
        let long = windows("Mon 00:00", "167h59m", "UTC");
        assert!(long.is_open(at("2026-12-06T23:59:00Z")));
        assert!(!long.is_open(at("2026-12-06T23:59:30Z")));
    }

    #[test]
    fn the_clock_of_the_zone_counts_and_a_change_of_clocks_leaves_the_length_as_it_is() {
        // In Berlin, on 2026-03-29, 02:00 is followed by 03:00, and on 2026-10-25 03:00 by 02:00.
        let spring = windows("01:30", "1h", "Europe/Berlin");
        assert!(spring.is_open(at("2026-03-29T00:30:00Z")));
        assert!(spring.is_open(at("2026-03-29T01:30:00Z")), "one hour later, at 03:30 of the clock");
        assert!(!spring.is_open(at("2026-03-29T01:30:01Z")));
        let skipped = windows("02:30", "1h", "Europe/Berlin");
        assert!(!skipped.is_open(at("2026-03-29T01:29:59Z")));
        assert!(
            skipped.is_open(at("2026-03-29T01:30:00Z")),
            "02:30 is not shown, and 03:30 stands in for it"
        );
        let autumn = windows("02:30", "30m", "Europe/Berlin");
        assert!(autumn.is_open(at("2026-10-25T00:30:00Z")), "the first 02:30");
        assert!(!autumn.is_open(at("2026-10-25T01:30:00Z")), "and not the second");
    }

    #[test]
    fn a_window_that_cannot_be_is_refused_with_its_reason() {
        for (start, length, why) in [
            ("", "1h", "a start is"),
            ("a b c", "1h", "a start is"),
            ("Foo 04:00", "1h", "no day of the week"),
            ("Monday 04:00", "1h", "no day of the week"),
            ("24:00", "1h", "hour"),
            ("04:60", "1h", "minute"),
            ("04", "1h", "HH:MM"),
            ("04:00", "24h", "shorter than a day"),
            ("Thu 04:00", "168h", "shorter than a week"),
            ("04:00", "1", "unit"),
            ("04:00", "-1h", "negative"),
        ] {
            let text = LocksmithWindow::parse(start, length).unwrap_err().to_string();
            assert!(text.contains(why) && text.contains("\nhint: "), "{start:?} {length:?}: {text}");
        }
        for (start, length) in [("4:5", "0"), ("sUn 23:59", "167h59m59s"), ("  04:00 ", "23h59m")] {
            LocksmithWindow::parse(start, length).unwrap();
        }
    }
}
