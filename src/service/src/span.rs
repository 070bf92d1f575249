//! Time spans as systemd.time(7) writes them: `5min 20s`, `1.5h`, `90`, `infinity`.

use std::time::Duration;

const UNITS: &[(&[&str], u128)] = &[
    (&["usec", "us", "µs", "μs"], 1),
    (&["msec", "ms"], 1_000),
    (&["seconds", "second", "sec", "s"], 1_000_000),
    (&["minutes", "minute", "min", "m"], 60_000_000),
    (&["hours", "hour", "hr", "h"], 3_600_000_000),
    (&["days", "day", "d"], 86_400_000_000),
    (&["weeks", "week", "w"], 604_800_000_000),
    // 30.4375 and 365.25 days, as systemd counts them.
    (&["months", "month", "M"], 2_629_800_000_000),
    (&["years", "year", "y"], 31_557_600_000_000),
];

/// More than this is no span anybody means; it keeps sums of spans from overflowing.
const SPAN_US_MAX: u128 = 1_000 * 31_557_600_000_000;

/// A span; `None` is infinity. A number without unit is in seconds.
///
/// # Errors
/// What is wrong, in words.
pub fn parse_span(text: &str) -> Result<Option<Duration>, String> {
    let text = text.trim();
    if text == "infinity" {
        return Ok(None);
    }
    if text.is_empty() {
        return Err("a time span is missing".to_owned());
    }
    let mut rest = text;
    let mut total_us: u128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, behind) = rest.split_at(digits);
        let behind = behind.trim_start();
        let letters = behind.find(|c: char| !c.is_alphabetic()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(letters);
        total_us = total_us.saturating_add(scaled(number, factor(unit)?)?);
        rest = behind.trim_start();
    }
    if total_us > SPAN_US_MAX {
        return Err("it is longer than a thousand years; write `infinity`".to_owned());
    }
    Ok(Some(Duration::from_micros(u64::try_from(total_us).expect("bounded above"))))
}

fn factor(unit: &str) -> Result<u128, String> {
    if unit.is_empty() {
        return Ok(1_000_000);
    }
    let found = UNITS.iter().find(|(names, _)| names.contains(&unit));
    found.map(|(_, factor)| *factor).ok_or_else(|| format!("`{unit}` is no unit of time"))
}

/// A decimal number times a factor, without floating point: 0.1s is exactly 100 ms.
fn scaled(number: &str, factor: u128) -> Result<u128, String> {
    let wrong = || format!("`{number}` is no number");
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return Err("a number is missing".to_owned());
    }
    if fraction.contains('.') || whole.len() > 18 || fraction.len() > 18 {
        return Err(wrong());
    }
    let digits = |text: &str| if text.is_empty() { Ok(0) } else { text.parse::<u128>().map_err(|_| wrong()) };
    let scale = 10_u128.pow(u32::try_from(fraction.len()).expect("at most 18"));
    Ok(digits(whole)? * factor + digits(fraction)? * factor / scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_are_read_as_systemd_reads_them() {
        // The microseconds are what `systemd-analyze timespan` of systemd 252 prints.
        for (text, us) in [
            ("50", 50_000_000_u64),
            ("2min 200ms", 120_200_000),
            ("5min 20s", 320_000_000),
            ("1y 12month", 63_115_200_000_000),
            ("55s500ms", 55_500_000),
            ("300ms20s 5day", 432_020_300_000),
            ("1.5h", 5_400_000_000),
            ("0.1", 100_000),
            ("2 h", 7_200_000_000),
            ("3us", 3),
            ("0", 0),
        ] {
            assert_eq!(parse_span(text), Ok(Some(Duration::from_micros(us))), "{text}");
        }
        assert_eq!(parse_span(" infinity "), Ok(None));
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in ["", "min", "5 parsecs", "1.2.3s", "-3s", "5,5s", "infinity 5s", "99999999999y"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,24}") {
            let _ = parse_span(&text);
        }

        #[test]
        fn the_order_of_parts_does_not_matter(a in 0_u64..10_000, b in 0_u64..10_000) {
            prop_assert_eq!(parse_span(&format!("{a}min {b}ms")), parse_span(&format!("{b}ms{a}min")));
        }
    }
}
