//! Zincati's windows: days of the week, a start and a length in minutes.

use super::zone::Zone;
use crate::error::RebootError;
use crate::wall::Wall;
use jiff::civil::{Date, Time, Weekday};
use jiff::{SignedDuration, ToSpan};
use std::time::Duration;

const WEEK_MINUTES: u32 = 7 * 24 * 60;

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the days speak for themselves")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    const ALL: [(Self, &'static str, Weekday); 7] = [
        (Self::Mon, "monday", Weekday::Monday),
        (Self::Tue, "tuesday", Weekday::Tuesday),
        (Self::Wed, "wednesday", Weekday::Wednesday),
        (Self::Thu, "thursday", Weekday::Thursday),
        (Self::Fri, "friday", Weekday::Friday),
        (Self::Sat, "saturday", Weekday::Saturday),
        (Self::Sun, "sunday", Weekday::Sunday),
    ];

    /// By its first three letters, in any case.
    #[must_use]
    pub fn short(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        Self::ALL.iter().find(|(_, name, _)| name[..3] == text).map(|(day, ..)| *day)
    }

    /// By its first three letters or its whole name, in any case.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        let whole = |(_, name, _): &&(Self, &str, Weekday)| name.eq_ignore_ascii_case(text);
        Self::short(text).or_else(|| Self::ALL.iter().find(whole).map(|(day, ..)| *day))
    }

    pub(super) fn of(date: Date) -> Self {
        let here = |(_, _, weekday): &&(Self, &str, Weekday)| *weekday == date.weekday();
        Self::ALL.iter().find(here).map(|(day, ..)| *day).expect("a week has seven days")
    }
}

/// A window by the clock on the wall, on some days of the week.
///
/// Inside is what that clock shows from the start on, without the minute of the end. So when clocks go forward, a window loses
/// what is skipped; when they go back, what is shown twice belongs to it twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeriodicWindow {
    days: Vec<Day>,
    start: Time,
    length_minutes: u32,
}

impl PeriodicWindow {
    /// A window on these days, from `start` (`HH:MM`) on, for so many minutes: up to a week.
    ///
    /// # Errors
    /// [`RebootError::Window`], which names what is wrong.
    pub fn new(days: &[&str], start: &str, length_minutes: u32) -> Result<Self, RebootError> {
        let bad = |given: String, why: String| RebootError::Window {
            given,
            why,
            hint: "a window has days such as [\"Sat\", \"Sun\"], a start_time such as \"22:30\" and length_minutes",
        };
        if days.is_empty() {
            return Err(bad("days = []".to_owned(), "it has no day".to_owned()));
        }
        let mut read = Vec::new();
        for day in days {
            let named = Day::named(day);
            read.push(named.ok_or_else(|| bad((*day).to_owned(), "it is no day of the week".to_owned()))?);
        }
        read.sort_unstable();
        read.dedup();
        let start = parse_clock(start).map_err(|why| bad(start.to_owned(), why))?;
        if length_minutes == 0 || length_minutes > WEEK_MINUTES {
            let given = format!("length_minutes = {length_minutes}");
            return Err(bad(given, format!("it must be between 1 and {WEEK_MINUTES}, which is a week")));
        }
        Ok(Self { days: read, start, length_minutes })
    }

    pub(super) fn contains(&self, zone: &Zone, at: Wall) -> bool {
        let now = zone.civil(at);
        let length = SignedDuration::from_mins(i64::from(self.length_minutes));
        (-8..=0).any(|days: i64| {
            let Ok(date) = now.date().checked_add(days.days()) else { return false };
            // Civil times are subtracted as the clock shows them, whatever it skipped.
            let into = now.duration_since(date.to_datetime(self.start));
            self.days.contains(&Day::of(date)) && into >= SignedDuration::ZERO && into < length
        })
    }

    pub(super) fn starts(&self, zone: &Zone, from: Wall, ahead: Duration) -> Vec<Wall> {
        let days = i64::try_from(ahead.as_secs() / 86_400).unwrap_or(0);
        let today = zone.civil(from).date();
        let dates = (0..=days).filter_map(|days| today.checked_add(days.days()).ok());
        let dates = dates.filter(|date| self.days.contains(&Day::of(*date)));
        // Where the start is skipped, the window is open from the moment after the gap, which is what `moment` gives or
        // lies before it; the whole hour of the skip is tried.
        let moments = dates.filter_map(|date| zone.moment(date.to_datetime(self.start)));
        moments
            .flat_map(|start| {
                (0..=120).map(move |minutes: u64| Wall((start.0 + 60 * minutes).saturating_sub(3600)))
            })
            .filter(|start| {
                self.contains(zone, *start) && !self.contains(zone, Wall(start.0.saturating_sub(1)))
            })
            .collect()
    }
}

/// Reads `HH:MM`.
pub(super) fn parse_clock(text: &str) -> Result<Time, String> {
    let read = |text: &str| {
        let digits = !text.is_empty() && text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<i8>().ok()).flatten()
    };
    let (hour, minute) = text
        .split_once(':')
        .and_then(|(hour, minute)| Some((read(hour)?, read(minute)?)))
        .ok_or_else(|| format!("{text:?} is no time of day, which is HH:MM"))?;
    if hour > 23 {
        return Err(format!("the hour of {text:?} is not between 0 and 23"));
    }
    if minute > 59 {
        return Err(format!("the minute of {text:?} is not between 0 and 59"));
    }
    Time::new(hour, minute, 0, 0).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::{Window, Windows};
    use super::*;

    fn windows(zone: &str, all: &[(&[&str], &str, u32)]) -> Windows {
        let window = |(days, start, length): &(&[&str], &str, u32)| {
            Window::Periodic(PeriodicWindow::new(days, start, *length).unwrap())
        };
        Windows::new(Zone::named(zone).unwrap(), all.iter().map(window).collect())
    }

    fn at(text: &str) -> Wall {
        let at: jiff::Timestamp = text.parse().unwrap();
        Wall(u64::try_from(at.as_second()).unwrap())
    }

    #[test]
    fn several_windows_on_several_days_are_open_each_in_its_time() {
        let both = windows("UTC", &[(&["Sat", "Sunday"], "22:30", 60), (&["Wed"], "11:00", 1)]);
        // 2026-11-28 is a Saturday.
        for (time, open) in [
            ("2026-11-28T22:29:59Z", false),
            ("2026-11-28T22:30:00Z", true),
            ("2026-11-28T23:29:59Z", true),
            ("2026-11-28T23:30:00Z", false),
            ("2026-11-29T22:30:00Z", true),
            ("2026-11-30T22:30:00Z", false),
            ("2026-12-02T11:00:59Z", true),
            ("2026-12-02T11:01:00Z", false),
        ] {
            assert_eq!(both.is_open(at(time)), open, "{time}");
        }
        assert_eq!(both.opens_in(at("2026-11-30T11:00:00Z")), Some(Duration::from_secs(48 * 3600)));
        assert_eq!(both.closed(at("2026-11-28T22:30:00Z")), None);
    }

    #[test]
    fn a_window_goes_over_midnight_and_over_the_end_of_the_week() {
        let late = windows("UTC", &[(&["Sun"], "23:00", 180)]);
        assert!(late.is_open(at("2026-11-30T01:59:59Z")));
        assert!(!late.is_open(at("2026-11-30T02:00:00Z")));
        let week = windows("UTC", &[(&["Mon"], "00:00", WEEK_MINUTES)]);
        assert!(week.is_open(at("2026-12-06T23:59:59Z")));
    }

    #[test]
    fn clocks_that_go_forward_shorten_a_window_and_clocks_that_go_back_lengthen_it() {
        let night = windows("Europe/Berlin", &[(&["Sun"], "02:30", 60)]);
        // 02:00 is followed by 03:00: what is left of the window are the minutes from 03:00 to 03:30.
        assert!(!night.is_open(at("2026-03-29T00:59:59Z")));
        assert!(night.is_open(at("2026-03-29T01:00:00Z")));
        assert!(night.is_open(at("2026-03-29T01:29:59Z")));
        assert!(!night.is_open(at("2026-03-29T01:30:00Z")));
        assert_eq!(night.opens_in(at("2026-03-29T00:00:00Z")), Some(Duration::from_secs(3600)));
        // 03:00 is followed by 02:00: 02:30 to 03:00 comes twice.
        for (time, open) in [
            ("2026-10-25T00:29:59Z", false),
            ("2026-10-25T00:30:00Z", true),
            ("2026-10-25T01:00:00Z", false),
            ("2026-10-25T01:30:00Z", true),
            ("2026-10-25T02:29:59Z", true),
            ("2026-10-25T02:30:00Z", false),
        ] {
            assert_eq!(night.is_open(at(time)), open, "{time}");
        }
    }

    #[test]
    fn a_window_that_cannot_be_is_refused_with_its_reason() {
        for (days, start, length, why) in [
            (&[][..], "22:30", 60, "no day"),
            (&["Someday"][..], "22:30", 60, "no day of the week"),
            (&["Sat"][..], "25:00", 60, "hour"),
            (&["Sat"][..], "22.30", 60, "HH:MM"),
            (&["Sat"][..], "22:+3", 60, "HH:MM"),
            (&["Sat"][..], "22:30", 0, "between 1 and"),
            (&["Sat"][..], "22:30", WEEK_MINUTES + 1, "a week"),
        ] {
            let text = PeriodicWindow::new(days, start, length).unwrap_err().to_string();
            assert!(text.contains(why) && text.contains("\nhint: "), "{text}");
        }
        assert!(Zone::named("Europe/Atlantis").unwrap_err().to_string().contains("no time zone"));
    }

    #[test]
    fn without_windows_it_is_always_time() {
        assert!(Windows::always().is_open(Wall(0)));
        assert_eq!(Windows::always().opens_in(Wall(0)), Some(Duration::ZERO));
    }
}
