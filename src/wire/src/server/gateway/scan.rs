//! JSON as Go's `encoding/json` reads it, down to the words of its errors: clients of etcd's gateway see them.
//!
//! Texts are checked first, by a machine with a stack of its own (a deep text must not take the thread's stack), and
//! taken apart afterwards, so that everything past the check may trust what it sees.

use std::collections::BTreeMap;
use std::ops::Range;

/// Go's limit for arrays and objects within each other.
const DEPTH_MAX: usize = 10_000;

/// What a text begins with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// One whole value, and where.
    Value(Range<usize>),
    /// Nothing but space.
    Nothing,
    /// The beginning of a value.
    Part,
    /// Something else; Go's words for it.
    Wrong(String),
}

/// The first value of a text that may go on behind it. `ended`: nothing follows the text.
pub(crate) fn first(text: &[u8], ended: bool) -> First {
    let mut scanner = Scanner::default();
    let Some(start) = text.iter().position(|&byte| !is_space(byte)) else { return First::Nothing };
    for (at, &byte) in text.iter().enumerate().skip(start) {
        match scanner.step(byte) {
            Ok(Step::On) => {}
            Ok(Step::Closed) if scanner.open.is_empty() => return First::Value(start..at + 1),
            Ok(Step::Closed) => {}
            Ok(Step::Over) => return First::Value(start..at),
            Err(error) => return First::Wrong(error),
        }
    }
    // A number may go on as long as anything does.
    if ended && matches!(scanner.step(b' '), Ok(Step::Over)) {
        return First::Value(start..text.len());
    }
    First::Part
}

/// The one value of a text, without the space around it.
pub(crate) fn only(text: &[u8]) -> Result<&[u8], String> {
    let mut scanner = Scanner::default();
    for &byte in text {
        scanner.step(byte)?;
        if let State::Wrong(error) = &scanner.state {
            return Err(error.clone());
        }
    }
    if !matches!(scanner.state, State::Over) {
        match scanner.step(b' ') {
            Ok(Step::Over) => {}
            Ok(_) => return Err("unexpected end of JSON input".to_owned()),
            Err(error) => return Err(error),
        }
    }
    Ok(text.trim_ascii())
}

/// The parts of a checked object; of several with the same name, the last.
pub(crate) fn object(text: &[u8]) -> BTreeMap<String, &[u8]> {
    let mut parts = BTreeMap::new();
    let mut at = space(text, 1);
    while at < text.len() && text[at] != b'}' {
        let name = at..value_end(text, at);
        at = space(text, space(text, name.end) + 1);
        let value = at..value_end(text, at);
        at = space(text, value.end);
        parts.insert(string(&text[name]), &text[value]);
        if text.get(at) == Some(&b',') {
            at = space(text, at + 1);
        }
    }
    parts
}

/// The parts of a checked array.
pub(crate) fn array(text: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut at = space(text, 1);
    while at < text.len() && text[at] != b']' {
        let value = at..value_end(text, at);
        at = space(text, value.end);
        parts.push(&text[value]);
        if text.get(at) == Some(&b',') {
            at = space(text, at + 1);
        }
    }
    parts
}

/// A checked string without its quotes and escapes. What is not Unicode becomes U+FFFD.
pub(crate) fn string(text: &[u8]) -> String {
    let inner = &text[1..text.len() - 1];
    let mut out: Vec<u8> = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some((&escape, tail)) = rest.split_first() else { break };
        rest = tail;
        match escape {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let unit = hex(rest);
                rest = rest.get(4..).unwrap_or_default();
                let mut code = unit;
                if (0xd800..0xdc00).contains(&unit) && rest.starts_with(b"\\u") {
                    let low = hex(&rest[2..]);
                    if (0xdc00..0xe000).contains(&low) {
                        code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                        rest = rest.get(6..).unwrap_or_default();
                    }
                }
                let char = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            }
            plain => out.push(plain),
        }
    }
    lossy(&out)
}

/// Text with U+FFFD for every byte that is none, as Go does it.
fn lossy(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    out
}

fn hex(text: &[u8]) -> u32 {
    text.get(..4)
        .and_then(|text| std::str::from_utf8(text).ok())
        .and_then(|text| u32::from_str_radix(text, 16).ok())
        .unwrap_or(0xfffd)
}

fn space(text: &[u8], from: usize) -> usize {
    let spaces = text.get(from..).unwrap_or_default().iter().take_while(|&&byte| is_space(byte)).count();
    from + spaces
}

/// Behind the value that begins here, in a checked text.
fn value_end(text: &[u8], from: usize) -> usize {
    let mut depth = 0usize;
    let mut at = from;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => {
                at += 1;
                while text.get(at).is_some_and(|&byte| byte != b'"') {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
                if depth == 0 {
                    return (at + 1).min(text.len());
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                if depth <= 1 {
                    return at + depth;
                }
                depth -= 1;
            }
            b',' | b':' if depth == 0 => return at,
            byte if depth == 0 && is_space(byte) => return at,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// What encloses the place where the scanner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    ObjectKey,
    ObjectValue,
    Array,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Value,
    ValueOrEmpty,
    Key,
    KeyOrEmpty,
    After,
    Over,
    /// The value is over, and something follows that may not.
    Wrong(String),
    InString,
    Escape,
    /// So many hexadecimal digits are still to come.
    Hex(u8),
    Minus,
    Zero,
    Digits,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
    /// `true`, `false` or `null`, and how much of it was seen.
    Word(&'static str, usize),
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    On,
    /// An object or an array ended with this byte.
    Closed,
    /// The whole value ended before this byte.
    Over,
}

#[derive(Default)]
struct Scanner {
    state: State,
    open: Vec<Open>,
}

impl Scanner {
    fn step(&mut self, byte: u8) -> Result<Step, String> {
        match &self.state {
            State::Value | State::ValueOrEmpty | State::Key | State::KeyOrEmpty | State::After
                if is_space(byte) && !(self.state == State::After && self.open.is_empty()) => {}
            State::ValueOrEmpty if byte == b']' => return self.close(),
            State::Value | State::ValueOrEmpty => self.state = self.begin(byte)?,
            State::KeyOrEmpty if byte == b'}' => return self.close(),
            State::Key | State::KeyOrEmpty => match byte {
                b'"' => self.state = State::InString,
                _ => return Err(wrong(byte, "looking for beginning of object key string")),
            },
            State::After => return self.after(byte),
            State::Over if is_space(byte) => return Ok(Step::Over),
            State::Over => {
                self.state = State::Wrong(wrong(byte, "after top-level value"));
                return Ok(Step::Over);
            }
            State::Wrong(error) => return Err(error.clone()),
            State::InString => match byte {
                b'"' => self.state = State::After,
                b'\\' => self.state = State::Escape,
                0..0x20 => return Err(wrong(byte, "in string literal")),
                _ => {}
            },
            State::Escape => match byte {
                b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => self.state = State::InString,
                b'u' => self.state = State::Hex(4),
                _ => return Err(wrong(byte, "in string escape code")),
            },
            State::Hex(left) if byte.is_ascii_hexdigit() => {
                self.state = if *left == 1 { State::InString } else { State::Hex(left - 1) };
            }
            State::Hex(_) => return Err(wrong(byte, "in \\u hexadecimal character escape")),
            State::Minus => match byte {
                b'0' => self.state = State::Zero,
                b'1'..=b'9' => self.state = State::Digits,
                _ => return Err(wrong(byte, "in numeric literal")),
            },
            State::Digits if byte.is_ascii_digit() => {}
            State::Digits | State::Zero => match byte {
                b'.' => self.state = State::Point,
                b'e' | b'E' => self.state = State::Exponent,
                _ => return self.after(byte),
            },
            State::Point if byte.is_ascii_digit() => self.state = State::Fraction,
            State::Point => return Err(wrong(byte, "after decimal point in numeric literal")),
            State::Fraction if byte.is_ascii_digit() => {}
            State::Fraction => match byte {
                b'e' | b'E' => self.state = State::Exponent,
                _ => return self.after(byte),
            },
            State::Exponent if matches!(byte, b'+' | b'-') => self.state = State::Sign,
            State::Exponent | State::Sign if byte.is_ascii_digit() => self.state = State::Power,
            State::Exponent | State::Sign => {
                return Err(wrong(byte, "in exponent of numeric literal"));
            }
            State::Power if byte.is_ascii_digit() => {}
            State::Power => return self.after(byte),
            State::Word(word, seen) => {
                let (word, seen) = (*word, *seen);
                let expected = word.as_bytes()[seen];
                if byte != expected {
                    let expected = char::from(expected);
                    return Err(wrong(byte, &format!("in literal {word} (expecting '{expected}')")));
                }
                let ends = seen + 1 == word.len();
                self.state = if ends { State::After } else { State::Word(word, seen + 1) };
            }
        }
        Ok(Step::On)
    }

    fn begin(&mut self, byte: u8) -> Result<State, String> {
        Ok(match byte {
            b'{' => self.push(byte, Open::ObjectKey, State::KeyOrEmpty)?,
            b'[' => self.push(byte, Open::Array, State::ValueOrEmpty)?,
            b'"' => State::InString,
            b'-' => State::Minus,
            b'0' => State::Zero,
            b'1'..=b'9' => State::Digits,
            b't' => State::Word("true", 1),
            b'f' => State::Word("false", 1),
            b'n' => State::Word("null", 1),
            _ => return Err(wrong(byte, "looking for beginning of value")),
        })
    }

    fn push(&mut self, byte: u8, open: Open, state: State) -> Result<State, String> {
        if self.open.len() >= DEPTH_MAX {
            return Err(wrong(byte, "exceeded max depth"));
        }
        self.open.push(open);
        Ok(state)
    }

    fn close(&mut self) -> Result<Step, String> {
        self.open.pop();
        self.state = State::After;
        Ok(Step::Closed)
    }

    /// What follows a value.
    fn after(&mut self, byte: u8) -> Result<Step, String> {
        let Some(open) = self.open.last_mut() else {
            self.state = State::Over;
            return self.step(byte);
        };
        if is_space(byte) {
            self.state = State::After;
            return Ok(Step::On);
        }
        let (state, context) = match (*open, byte) {
            (Open::ObjectKey, b':') => {
                *open = Open::ObjectValue;
                (State::Value, "")
            }
            (Open::ObjectKey, _) => (State::After, "after object key"),
            (Open::ObjectValue, b',') => {
                *open = Open::ObjectKey;
                (State::Key, "")
            }
            (Open::ObjectValue, b'}') | (Open::Array, b']') => return self.close(),
            (Open::ObjectValue, _) => (State::After, "after object key:value pair"),
            (Open::Array, b',') => (State::Value, ""),
            (Open::Array, _) => (State::After, "after array element"),
        };
        if !context.is_empty() {
            return Err(wrong(byte, context));
        }
        self.state = state;
        Ok(Step::On)
    }
}

fn wrong(byte: u8, context: &str) -> String {
    let shown = match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        _ => {
            let quoted = quote(char::from(byte).encode_utf8(&mut [0; 4]).as_bytes());
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    };
    format!("invalid character {shown} {context}")
}

/// A text in quotes, as Go's `%q` shows it.
pub(crate) fn quote(text: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in text.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\u{7}' => out.push_str("\\a"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{b}' => out.push_str("\\v"),
                ' ' => out.push(' '),
                char if (char as u32) < 0x20 || char as u32 == 0x7f => {
                    out.push_str(&format!("\\x{:02x}", char as u32));
                }
                char if char.is_control() || char.is_whitespace() || char == '\u{ad}' => {
                    out.push_str(&format!("\\u{:04x}", char as u32));
                }
                char => out.push(char),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> First {
        first(text.as_bytes(), true)
    }

    #[test]
    fn the_first_value_is_found_and_what_follows_left_alone() {
        assert_eq!(whole(r#" {"a":[1,{"b":"}"}]}rest"#), First::Value(1..20));
        assert_eq!(whole("12 13"), First::Value(0..2));
        assert_eq!(whole("12"), First::Value(0..2));
        assert_eq!(first(b"12", false), First::Part);
        assert_eq!(whole(r#""a"x"#), First::Value(0..3));
        assert_eq!(whole(" \n"), First::Nothing);
        assert_eq!(whole("{\"a\""), First::Part);
        assert_eq!(whole("tru"), First::Part);
        assert_eq!(whole("[]"), First::Value(0..2));
    }

    #[test]
    fn errors_are_in_gos_words() {
        for (text, error) in [
            ("nonsense", "invalid character 'o' in literal null (expecting 'u')"),
            (r#"{"a":1,}"#, "invalid character '}' looking for beginning of object key string"),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            (r#"{"a":1 "b":2}"#, "invalid character '\"' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("'", r"invalid character '\'' looking for beginning of value"),
            ("\u{e4}", "invalid character 'Ã' looking for beginning of value"),
            ("\"\n\"", r"invalid character '\n' in string literal"),
            (r#""\x""#, "invalid character 'x' in string escape code"),
            (r#""\u00g0""#, r"invalid character 'g' in \u hexadecimal character escape"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
            ("1ex", "invalid character 'x' in exponent of numeric literal"),
        ] {
            assert_eq!(whole(text), First::Wrong(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_text_of_one_value_may_have_nothing_else() {
        assert_eq!(only(b" 5 "), Ok(&b"5"[..]));
        assert_eq!(only(b""), Err("unexpected end of JSON input".to_owned()));
        assert_eq!(only(b"-"), Err("invalid character ' ' in numeric literal".to_owned()));
        assert_eq!(only(b"5 6"), Err("invalid character '6' after top-level value".to_owned()));
        assert_eq!(only(b"5x"), Err("invalid character 'x' after top-level value".to_owned()));
        assert_eq!(only(b"[1"), Err("unexpected end of JSON input".to_owned()));
    }

    #[test]
    fn parts_are_taken_apart_where_they_lie() {
        let text = br#"{ "a" : [ 1, "x\"," ,{} ] ,"b":null,"a2":{"c":[[]]},"b":7 }"#;
        let parts = object(text);
        assert_eq!(parts["a"], br#"[ 1, "x\"," ,{} ]"#);
        assert_eq!(parts["b"], b"7");
        assert_eq!(parts["a2"], br#"{"c":[[]]}"#);
        assert_eq!(array(parts["a"]), [&b"1"[..], br#""x\",""#, b"{}"]);
        assert_eq!(array(b"[]"), [b""; 0]);
        assert!(object(b"{ }").is_empty());
    }

    #[test]
    fn strings_lose_their_escapes_and_what_is_not_unicode() {
        assert_eq!(string(br#""a\n\u00e4\ud83d\ude00\ud800x\/""#), "a\n\u{e4}\u{1f600}\u{fffd}x/");
        assert_eq!(string(b"\"\xff\xfe\""), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn a_deep_text_is_refused_and_takes_no_stack() {
        let deep = "[".repeat(DEPTH_MAX + 1);
        assert_eq!(whole(&deep), First::Wrong("invalid character '[' exceeded max depth".to_owned()));
    }
}
