//! Values with units: `"1.5s"`, `"10%"`, `"500ppm"`, `"16KiB"`, `"20/s"`.

use std::time::Duration;

/// Why a text is no value of its kind: what is wrong, and what to try.
pub(crate) type UnitError = (String, String);

fn split_number<'a>(text: &'a str, what: &str, example: &str) -> Result<(f64, &'a str), UnitError> {
    let text = text.trim();
    let end = text
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_digit() || *c == '.' || (*at == 0 && (*c == '-' || *c == '+'))))
        .map_or(text.len(), |(at, _)| at);
    let number = text[..end].parse::<f64>().map_err(|_| {
        (
            format!("{text:?} is no {what}"),
            format!("a {what} is a number with its unit, for example {example:?}"),
        )
    })?;
    Ok((number, text[end..].trim()))
}

/// A duration that may be negative, in nanoseconds.
pub(crate) fn signed_nanos(text: &str) -> Result<i64, UnitError> {
    let (number, unit) = split_number(text, "duration", "5s")?;
    let factor = match unit {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" | "min" => 60e9,
        "h" => 3600e9,
        "" => {
            return Err((
                format!("the duration {text:?} has no unit"),
                format!("write {:?} or {:?}", format!("{number}s"), format!("{number}ms")),
            ));
        }
        _ => {
            return Err((
                format!("{unit:?} is no unit of time"),
                "units of time are ns, us, ms, s, m, h".to_owned(),
            ));
        }
    };
    let nanos = number * factor;
    if nanos.abs() > 9e18 {
        return Err((format!("the duration {text:?} is too long"), "the longest is 24h".to_owned()));
    }
    #[allow(clippy::cast_possible_truncation, reason = "checked above")]
    Ok(nanos.round() as i64)
}

/// A duration that is not negative.
pub(crate) fn duration(text: &str) -> Result<Duration, UnitError> {
    let nanos = signed_nanos(text)?;
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| {
        (
            format!("the duration {text:?} is negative"),
            format!("durations count forward, write {:?}", text.trim().trim_start_matches('-')),
        )
    })
}

/// A share, in parts per million.
pub(crate) fn share_ppm(text: &str) -> Result<u32, UnitError> {
    let (number, unit) = split_number(text, "share", "10%")?;
    let factor = match unit {
        "%" => 10_000.0,
        "ppm" => 1.0,
        "" => {
            return Err((
                format!("the share {text:?} has no unit"),
                format!("write {:?}", format!("{number}%")),
            ));
        }
        _ => {
            return Err((
                format!("{unit:?} is no unit of a share"),
                "units of a share are % and ppm".to_owned(),
            ));
        }
    };
    let ppm = number * factor;
    if !(0.0..=1_000_000.0).contains(&ppm) {
        return Err((
            format!("the share {text:?} is out of range"),
            "a share lies between \"0%\" and \"100%\"".to_owned(),
        ));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    Ok(ppm.round() as u32)
}

/// A rate of change of a clock, in parts per million, with sign.
pub(crate) fn drift_ppm(text: &str) -> Result<i64, UnitError> {
    let (number, unit) = split_number(text, "drift", "500ppm")?;
    let factor = match unit {
        "ppm" => 1.0,
        "%" => 10_000.0,
        "" => {
            return Err((
                format!("the drift {text:?} has no unit"),
                format!("write {:?}", format!("{number}ppm")),
            ));
        }
        _ => {
            return Err((format!("{unit:?} is no unit of drift"), "units of drift are ppm and %".to_owned()));
        }
    };
    let ppm = number * factor;
    if ppm.abs() > 500_000.0 {
        return Err((
            format!("the drift {text:?} is out of range"),
            "a clock runs at most \"50%\" too fast or too slow".to_owned(),
        ));
    }
    #[allow(clippy::cast_possible_truncation, reason = "checked above")]
    Ok(ppm.round() as i64)
}

/// A number of bytes.
pub(crate) fn bytes(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split_number(text, "size", "16KiB")?;
    let factor = match unit {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        "" => {
            return Err((
                format!("the size {text:?} has no unit"),
                format!("write {:?} or {:?}", format!("{number}B"), format!("{number}KiB")),
            ));
        }
        _ => {
            return Err((
                format!("{unit:?} is no unit of size"),
                "units of size are B, KiB, MiB, GiB".to_owned(),
            ));
        }
    };
    if number < 0.0 {
        return Err((format!("the size {text:?} is negative"), "sizes are not below \"0B\"".to_owned()));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative")]
    Ok((number * factor).round() as u64)
}

/// So many bytes in each second.
pub(crate) fn bytes_per_second(text: &str) -> Result<u64, UnitError> {
    match text.trim().strip_suffix("/s") {
        Some(size) => bytes(size.trim()),
        None => Err((
            format!("the bandwidth {text:?} does not end in /s"),
            "a bandwidth is a size in each second, for example \"16KiB/s\"".to_owned(),
        )),
    }
}

/// A rate, as the time between two events.
pub(crate) fn rate(text: &str) -> Result<Duration, UnitError> {
    let example = "20/s".to_owned();
    let Some((number, unit)) = text.trim().split_once('/') else {
        return Err((format!("the rate {text:?} has no unit"), format!("write a rate as {example:?}")));
    };
    let number: f64 = number
        .trim()
        .parse()
        .map_err(|_| (format!("{text:?} is no rate"), format!("write a rate as {example:?}")))?;
    let seconds = match unit.trim() {
        "s" => 1.0,
        "m" | "min" => 60.0,
        _ => return Err((format!("{unit:?} is no unit of a rate"), "rates are per s or per m".to_owned())),
    };
    if !(number > 0.0 && number <= 1e6) {
        return Err((
            format!("the rate {text:?} is out of range"),
            "a rate lies above \"0/s\" and below \"1000000/s\"".to_owned(),
        ));
    }
    Ok(Duration::from_secs_f64(seconds / number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_units_are_read_exactly() {
        assert_eq!(duration("1.5s").unwrap(), Duration::from_millis(1500));
        assert_eq!(duration("20ms").unwrap(), Duration::from_millis(20));
        assert_eq!(signed_nanos("-2s").unwrap(), -2_000_000_000);
        assert_eq!(share_ppm("10%").unwrap(), 100_000);
        assert_eq!(share_ppm("50ppm").unwrap(), 50);
        assert_eq!(drift_ppm("-500ppm").unwrap(), -500);
        assert_eq!(bytes("16KiB").unwrap(), 16_384);
        assert_eq!(rate("20/s").unwrap(), Duration::from_millis(50));
    }

    #[test]
    fn values_without_or_with_wrong_units_are_refused_with_a_hint() {
        for (answer, said, hinted) in [
            (duration("5").map(drop), "no unit", "\"5s\""),
            (duration("-5s").map(drop), "negative", "\"5s\""),
            (duration("5parsec").map(drop), "no unit of time", "ns, us, ms"),
            (duration("soon").map(drop), "is no duration", "5s"),
            (share_ppm("10").map(drop), "no unit", "10%"),
            (share_ppm("110%").map(drop), "out of range", "100%"),
            (bytes("1kb").map(drop), "no unit of size", "KiB"),
            (bytes("-1B").map(drop), "negative", "0B"),
            (drift_ppm("90%").map(drop), "out of range", "50%"),
            (rate("20").map(drop), "no unit", "20/s"),
            (rate("0/s").map(drop), "out of range", "0/s"),
        ] {
            let (message, hint) = answer.unwrap_err();
            assert!(message.contains(said), "{message:?} does not say {said:?}");
            assert!(hint.contains(hinted), "{hint:?} does not hint {hinted:?}");
        }
    }
}
