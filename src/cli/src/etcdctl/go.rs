//! How Go reads and prints things: etcdctl's texts are compared byte for byte by scripts.

use std::fmt::Write;
use std::time::Duration;

/// `strconv.ParseInt(text, radix, 64)`, with its error text.
pub(super) fn parse_int(text: &str, radix: u32) -> Result<i64, String> {
    let fail = |why: &str| Err(format!("strconv.ParseInt: parsing {}: {why}", quote(text.as_bytes())));
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return fail("invalid syntax");
    }
    i64::from_str_radix(text, radix).or_else(|_| fail("value out of range"))
}

/// `strconv.ParseUint(text, 16, 64)`, with its error text.
pub(super) fn parse_hex_id(text: &str) -> Result<u64, String> {
    let fail = |why: &str| Err(format!("strconv.ParseUint: parsing {}: {why}", quote(text.as_bytes())));
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_hexdigit()) {
        return fail("invalid syntax");
    }
    u64::from_str_radix(text, 16).or_else(|_| fail("value out of range"))
}

/// `strconv.ParseBool`.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// What the system says of a failed call.
pub(crate) fn system_error(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}

/// `time.ParseDuration` for durations that are not negative.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {}", quote(text.as_bytes()));
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().map_err(|_| invalid())?;
        rest = &rest[end..];
        if rest.is_empty() {
            return Err(format!("time: missing unit in duration {}", quote(text.as_bytes())));
        }
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1.0,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            unknown => {
                let (unknown, text) = (quote(unknown.as_bytes()), quote(text.as_bytes()));
                return Err(format!("time: unknown unit {unknown} in duration {text}"));
            }
        };
        nanos += number * unit;
        rest = &rest[end..];
    }
    // Beyond a hundred years it is all the same.
    Ok(Duration::from_nanos(nanos.min(3.2e18) as u64))
}

/// `time.Duration.String`.
pub(super) fn duration_text(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let fraction = |nanos: u128, unit: u128, name: &str| {
        let mut text = format!("{}", nanos / unit);
        let digits = unit.ilog10() as usize;
        if !nanos.is_multiple_of(unit) {
            let _ = write!(text, ".{:0digits$}", nanos % unit);
            text.truncate(text.trim_end_matches('0').len());
        }
        text + name
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => fraction(nanos, 1_000, "\u{b5}s"),
        1_000_000..1_000_000_000 => fraction(nanos, 1_000_000, "ms"),
        _ => {
            let (minutes, nanos) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
            let seconds = fraction(nanos, 1_000_000_000, "s");
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

/// `strconv.Quote` (`%q`), for any bytes.
pub(super) fn quote(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\u{7}' => out.push_str("\\a"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{b}' => out.push_str("\\v"),
                ' '..='~' => out.push(c),
                c if c.is_ascii() => drop(write!(out, "\\x{:02x}", c as u32)),
                c if printable(c) => out.push(c),
                c if (c as u32) < 0x1_0000 => drop(write!(out, "\\u{:04x}", c as u32)),
                c => drop(write!(out, "\\U{:08x}", c as u32)),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

/// Nearly Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols.
fn printable(c: char) -> bool {
    c.is_alphanumeric() || (!c.is_whitespace() && c.escape_debug().count() == 1)
}

/// A Go string at the beginning of `text`, double-quoted or in backquotes; with what follows it.
pub(super) fn unquote(text: &str) -> Option<(Vec<u8>, &str)> {
    if let Some(raw) = text.strip_prefix('`') {
        let end = raw.find('`')?;
        return Some((raw.as_bytes()[..end].to_vec(), &raw[end + 1..]));
    }
    let rest = text.strip_prefix('"')?;
    let mut out = Vec::new();
    let mut chars = rest.char_indices();
    let push = |out: &mut Vec<u8>, c: char| out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, &rest[at + 1..])),
            '\n' => return None,
            '\\' => {
                let (_, escape) = chars.next()?;
                let mut number = |digits: usize, radix: u32, first: Option<char>| {
                    let mut value = match first {
                        Some(first) => first.to_digit(radix)?,
                        None => 0,
                    };
                    for _ in 0..digits {
                        value = value * radix + chars.next()?.1.to_digit(radix)?;
                    }
                    Some(value)
                };
                match escape {
                    'a' => out.push(7),
                    'b' => out.push(8),
                    'f' => out.push(0xc),
                    'n' => out.push(b'\n'),
                    'r' => out.push(b'\r'),
                    't' => out.push(b'\t'),
                    'v' => out.push(0xb),
                    '\\' => out.push(b'\\'),
                    '"' => out.push(b'"'),
                    'x' => out.push(number(2, 16, None)? as u8),
                    'u' => push(&mut out, char::from_u32(number(4, 16, None)?)?),
                    'U' => push(&mut out, char::from_u32(number(8, 16, None)?)?),
                    '0'..='7' => out.push(u8::try_from(number(2, 8, Some(escape))?).ok()?),
                    _ => return None,
                }
            }
            c => push(&mut out, c),
        }
    }
    None
}

/// Splits a line into words as etcdctl does: quoted strings, strings in single quotes, and runs of anything
/// but spaces.
pub(super) fn words(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
        } else if first == '"' {
            let Some(end) = closing_quote(rest) else {
                rest = &rest[1..];
                continue;
            };
            let (word, _) = unquote(&rest[..=end]).ok_or("invalid syntax")?;
            words.push(word);
            rest = &rest[end + 1..];
        } else if first == '\'' {
            let Some(end) = rest[1..].find('\'') else {
                rest = &rest[1..];
                continue;
            };
            words.push(rest.as_bytes()[1..=end].to_vec());
            rest = &rest[end + 2..];
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            words.push(rest.as_bytes()[..end].to_vec());
            rest = &rest[end..];
        }
    }
    Ok(words)
}

/// Where the quote that opens `text` is closed.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at),
            _ => {}
        }
    }
    None
}

/// Bytes for people, in powers of a thousand: `25 kB`.
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let mut scale = 1_u64;
    while unit < 6 && bytes / scale >= 1000 {
        unit += 1;
        scale *= 1000;
    }
    let value = (bytes as f64 / scale as f64 * 10.0 + 0.5).floor() / 10.0;
    if value < 10.0 { format!("{value:.1} {}", UNITS[unit]) } else { format!("{value:.0} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_printed_as_go_does() {
        for (text, nanos) in [
            ("5s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("250ms", 250_000_000),
            ("0", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
        assert_eq!(
            [parse_bool("1"), parse_bool("False"), parse_bool("yes")],
            [Some(true), Some(false), None]
        );
        let missing = std::io::Error::from_raw_os_error(2);
        assert_eq!(system_error(&missing), "no such file or directory");
        for wrong in ["", "5", "s", "5x", "-1s", "1.2.3s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        for (nanos, text) in [
            (0, "0s"),
            (999, "999ns"),
            (1_500, "1.5\u{b5}s"),
            (1_447_887, "1.447887ms"),
            (2_000_000_000, "2s"),
            (62_500_000_000, "1m2.5s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(duration_text(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn strings_are_quoted_as_go_does() {
        assert_eq!(quote(b"a\n\x01\xc3\xa9\""), "\"a\\n\\x01\u{e9}\\\"\"");
        assert_eq!(quote(b"\xff\\\x7f"), "\"\\xff\\\\\\x7f\"");
        assert_eq!(unquote("\"a\\x41\\n\\\"\" rest"), Some((b"aA\n\"".to_vec(), " rest")));
        assert_eq!(unquote("`raw\\n`"), Some((b"raw\\n".to_vec(), "")));
        assert_eq!(unquote("\"open"), None);
        assert_eq!(unquote("\"\\q\""), None);
    }

    #[test]
    fn a_line_is_split_like_a_shell_would() {
        let split =
            |line| words(line).map(|w| w.into_iter().map(|w| String::from_utf8(w).unwrap()).collect());
        let expect = |parts: &[&str]| Ok(parts.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>());
        assert_eq!(split("put x  1"), expect(&["put", "x", "1"]));
        assert_eq!(split(r#"put "a b\n" 'c d'"#), expect(&["put", "a b\n", "c d"]));
        assert_eq!(split(r#"put k" v"#), expect(&["put", "k\"", "v"]));
    }

    #[test]
    fn numbers_fail_with_gos_words() {
        assert_eq!(parse_int("-12", 10), Ok(-12));
        assert_eq!(parse_int("x", 10), Err("strconv.ParseInt: parsing \"x\": invalid syntax".into()));
        let big = "99999999999999999999";
        assert_eq!(
            parse_int(big, 10),
            Err(format!("strconv.ParseInt: parsing \"{big}\": value out of range"))
        );
        assert_eq!(parse_hex_id("2e1259d415f2a040"), Ok(0x2e12_59d4_15f2_a040));
    }

    #[test]
    fn sizes_are_rounded_as_in_the_real_one() {
        assert_eq!(human_bytes(9), "9 B");
        assert_eq!(human_bytes(24_576), "25 kB");
        assert_eq!(human_bytes(1_500), "1.5 kB");
        assert_eq!(human_bytes(20_971_520), "21 MB");
    }
}
