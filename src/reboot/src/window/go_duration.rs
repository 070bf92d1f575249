//! Durations as Go writes them.

use std::time::Duration;

/// Reads a duration such as `1h30m`, `90m`, `1.5h` or `0`, as Go's `time.ParseDuration`, without its negative ones.
///
/// # Errors
/// What is wrong with it.
pub fn parse_go_duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.starts_with('-') {
        return Err("a duration cannot be negative".to_owned());
    }
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err("a duration is missing".to_owned());
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (part, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && part.is_empty() {
            return Err(format!("a number is missing before {rest:?}"));
        }
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" => return Err(format!("a unit is missing after {:?}", text.trim_end())),
            other => return Err(format!("{other:?} is no unit; there are h, m, s, ms, us and ns")),
        };
        // More digits of a fraction than nanoseconds have are of no account.
        let part = &part[..part.len().min(15)];
        let scale = 10u128.pow(u32::try_from(part.len()).expect("at most 15"));
        let number =
            |digits: &str| if digits.is_empty() { Ok(0) } else { digits.parse::<u64>().map(u128::from) };
        let whole = number(whole).map_err(|_| "it is too long".to_owned())?;
        let part = number(part).map_err(|_| "it is too long".to_owned())?;
        nanos += whole * unit + part * unit / scale;
        rest = after;
    }
    // Go's durations end at 292 years.
    let nanos = i64::try_from(nanos).map_err(|_| "it is too long".to_owned())?;
    Ok(Duration::from_nanos(nanos.unsigned_abs()))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, seconds) in [
            ("0", 0.0),
            ("1h", 3600.0),
            ("1h30m", 5400.0),
            ("90m", 5400.0),
            ("1.5h", 5400.0),
            (".5h", 1800.0),
            ("1.h", 3600.0),
            ("+2m", 120.0),
            ("1m1m", 120.0),
            ("1500ms", 1.5),
            ("2us", 0.000_002),
            ("0.3333333333333333333h", 1200.0),
        ] {
            let read = parse_go_duration(text).unwrap().as_secs_f64();
            assert!((read - seconds).abs() < 0.001, "{text} is {read}");
        }
        for text in
            ["", "1", "h", ".h", "1d", "-1h", "1h 30m", "1 h", "99999999999999999999h", "3000000h", "1h-"]
        {
            assert!(parse_go_duration(text).is_err(), "{text:?} was taken");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9.hmsnu+\\-µ ]{0,30}|\\PC{0,20}") {
            let _ = parse_go_duration(&text);
        }

        #[test]
        fn whole_hours_and_minutes_add_up(h in 0u64..100_000, m in 0u64..100_000) {
            prop_assert_eq!(parse_go_duration(&format!("{h}h{m}m")), Ok(Duration::from_secs(h * 3600 + m * 60)));
        }
    }
}
