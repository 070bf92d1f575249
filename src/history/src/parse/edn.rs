//! Extensible data notation, as far as histories use it: all of it but ratios and exact numbers, which are
//! kept as symbols.

use std::fmt::{self, Write as _};

/// A value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Edn {
    /// `nil`
    Nil,
    /// `true`, `false`
    Bool(bool),
    /// `-3`
    Int(i64),
    /// `"text"`
    Text(String),
    /// `:name`, without the colon.
    Keyword(String),
    /// Everything else that is one word: symbols, floats, characters.
    Symbol(String),
    /// `(…)`, `[…]` and `#{…}`.
    List(Vec<Edn>),
    /// `{…}`, in its own order.
    Map(Vec<(Edn, Edn)>),
}

/// A text is not EDN.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {why}")]
pub struct EdnError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub why: String,
}

impl Edn {
    /// The value under a keyword, in a map.
    #[must_use]
    pub fn get(&self, keyword: &str) -> Option<&Self> {
        let Self::Map(pairs) = self else { return None };
        pairs
            .iter()
            .find(|(key, _)| matches!(key, Self::Keyword(name) if name == keyword))
            .map(|(_, value)| value)
    }
}

/// As it is read.
impl fmt::Display for Edn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Text(text) => {
                f.write_char('"')?;
                for c in text.chars() {
                    match c {
                        '"' | '\\' => write!(f, "\\{c}")?,
                        '\n' => f.write_str("\\n")?,
                        '\t' => f.write_str("\\t")?,
                        '\r' => f.write_str("\\r")?,
                        _ => f.write_char(c)?,
                    }
                }
                f.write_char('"')
            }
            Self::Keyword(name) => write!(f, ":{name}"),
            Self::Symbol(name) => f.write_str(name),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", items.join(" "))
            }
            Self::Map(pairs) => {
                let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key} {value}")).collect();
                write!(f, "{{{}}}", pairs.join(", "))
            }
        }
    }
}

/// All values of a text.
///
/// # Errors
/// Anything that is not EDN, with its line; nesting deeper than 64.
pub fn read_all(text: &str) -> Result<Vec<Edn>, EdnError> {
    let mut reader = Reader { text, place: 0 };
    let mut values = Vec::new();
    while let Some(value) = reader.value(0)? {
        values.push(value);
    }
    if reader.place < text.len() {
        return Err(reader.error("a closing bracket that nothing opened"));
    }
    Ok(values)
}

/// The values of a text, each with the byte at which it begins: the items where the whole text is one list,
/// or else the values one after the other.
pub(super) fn read_located(text: &str) -> Result<Vec<(usize, Edn)>, EdnError> {
    let mut reader = Reader { text, place: 0 };
    reader.skip_space();
    let close = match reader.rest().chars().next() {
        Some('[') => Some(']'),
        Some('(') => Some(')'),
        _ => None,
    };
    reader.place += usize::from(close.is_some());
    let mut values = Vec::new();
    loop {
        reader.skip_space();
        let begin = reader.place;
        match reader.value(1)? {
            Some(value) => values.push((begin, value)),
            None => break,
        }
    }
    if let Some(close) = close {
        if !reader.rest().starts_with(close) {
            return Err(reader.error(&format!("expected {close}, the end of the list")));
        }
        reader.place += 1;
        reader.skip_space();
    }
    if reader.place < text.len() {
        return Err(reader.error("expected the end of the text"));
    }
    Ok(values)
}

/// Line and column of a byte, both from 1.
pub(super) fn line_and_column(text: &str, place: usize) -> (usize, usize) {
    let before = &text[..place];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

struct Reader<'a> {
    text: &'a str,
    place: usize,
}

const DEPTH_MAX: usize = 64;

impl<'a> Reader<'a> {
    fn error(&self, why: &str) -> EdnError {
        let (line, column) = line_and_column(self.text, self.place);
        EdnError { line, column, why: why.to_owned() }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.place..]
    }

    fn skip_space(&mut self) {
        loop {
            let rest = self.rest();
            let kept = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            self.place = self.text.len() - kept.len();
            if !kept.starts_with(';') {
                return;
            }
            self.place += kept.find('\n').unwrap_or(kept.len());
        }
    }

    /// The next value; `None` at the end or at a closing bracket.
    fn value(&mut self, depth: usize) -> Result<Option<Edn>, EdnError> {
        if depth > DEPTH_MAX {
            return Err(self.error("nested too deeply"));
        }
        loop {
            self.skip_space();
            let rest = self.rest();
            let Some(first) = rest.chars().next() else { return Ok(None) };
            let value = match first {
                ')' | ']' | '}' => return Ok(None),
                '(' => Edn::List(self.items(1, ')', depth)?),
                '[' => Edn::List(self.items(1, ']', depth)?),
                '{' => {
                    let items = self.items(1, '}', depth)?;
                    if !items.len().is_multiple_of(2) {
                        return Err(self.error("a map with a key but no value"));
                    }
                    let mut items = items.into_iter();
                    let mut pairs = Vec::new();
                    while let (Some(key), Some(value)) = (items.next(), items.next()) {
                        pairs.push((key, value));
                    }
                    Edn::Map(pairs)
                }
                '"' => self.text()?,
                '#' if rest.starts_with("#{") => Edn::List(self.items(2, '}', depth)?),
                '#' if rest.starts_with("#_") => {
                    self.place += 2;
                    if self.value(depth + 1)?.is_none() {
                        return Err(self.error("#_ with nothing to leave out"));
                    }
                    continue;
                }
                // A tag says how to read the next value; for a history the value itself is enough.
                '#' => {
                    self.word();
                    match self.value(depth + 1)? {
                        Some(value) => value,
                        None => return Err(self.error("a tag without a value")),
                    }
                }
                _ => self.atom()?,
            };
            return Ok(Some(value));
        }
    }

    fn items(&mut self, open: usize, close: char, depth: usize) -> Result<Vec<Edn>, EdnError> {
        self.place += open;
        let mut items = Vec::new();
        while let Some(item) = self.value(depth + 1)? {
            items.push(item);
        }
        if !self.rest().starts_with(close) {
            return Err(self.error(&format!("expected {close}")));
        }
        self.place += close.len_utf8();
        Ok(items)
    }

    fn text(&mut self) -> Result<Edn, EdnError> {
        let mut out = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.place += at + 1;
                    return Ok(Edn::Text(out));
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some('u') => {
                        let code: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                        let c = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
                        out.push(c.ok_or_else(|| self.error("a bad \\u in a text"))?);
                    }
                    Some(c @ ('"' | '\\')) => out.push(c),
                    _ => return Err(self.error("a bad escape in a text")),
                },
                c => out.push(c),
            }
        }
        Err(self.error("a text without end"))
    }

    fn word(&mut self) -> &'a str {
        // All that ends a word is ASCII, but for rare spaces.
        let stops = |c: char| match c {
            'a'..='z' | '0'..='9' | 'A'..='Z' => false,
            '(' | ')' | '[' | ']' | '{' | '}' | '"' | ',' | ';' => true,
            _ => c.is_whitespace(),
        };
        let rest = self.rest();
        let word = &rest[..rest.find(stops).unwrap_or(rest.len())];
        self.place += word.len();
        word
    }

    fn atom(&mut self) -> Result<Edn, EdnError> {
        let word = self.word();
        Ok(match word {
            "nil" => Edn::Nil,
            "true" => Edn::Bool(true),
            "false" => Edn::Bool(false),
            ":" => return Err(self.error("a keyword without a name")),
            _ => match word.strip_prefix(':') {
                Some(name) => Edn::Keyword(name.to_owned()),
                None => match word.parse() {
                    Ok(number) => Edn::Int(number),
                    Err(_) => Edn::Symbol(word.to_owned()),
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_written() {
        let text = "; a comment\n({:a -1, :b [nil true 1.5]} #{:x} #_ {:left out} #inst \"2015\" \"q\\\"\\u0041\\n\")";
        let values = read_all(text).unwrap();
        assert_eq!(values[0].to_string(), "[{:a -1, :b [nil true 1.5]} [:x] \"2015\" \"q\\\"A\\n\"]");
    }

    #[test]
    fn the_items_of_one_list_and_values_in_a_row_are_the_same() {
        for text in ["[{:a 1} 2]", " ({:a 1}\n2) ; end", "{:a 1}\n2"] {
            let values = read_located(text).unwrap();
            let shown: Vec<String> = values.iter().map(|(_, value)| value.to_string()).collect();
            assert_eq!(shown, ["{:a 1}", "2"], "{text}");
            assert!(values.iter().all(|&(begin, _)| text[begin..].starts_with(['{', '2'])), "{text}");
        }
        for text in ["[1", "[1] 2", "[1)", "1 ]"] {
            assert!(read_located(text).is_err(), "{text}");
        }
        assert_eq!(line_and_column("a\nbä c", 6), (2, 4));
    }

    #[test]
    fn several_values_in_a_row_are_all_read() {
        assert_eq!(read_all("{:a 1}\n{:a 2}\n").unwrap().len(), 2);
        assert_eq!(read_all(" ; nothing\n").unwrap(), []);
    }

    #[test]
    fn what_is_broken_is_refused_with_its_place() {
        for text in ["\n(1", "\n{:a}", "\n\"open", "\n)", "\n[1)", "\n\"\\q\"", "\n#_", "\n:"] {
            assert_eq!(read_all(text).unwrap_err().line, 2, "{text:?}");
        }
        assert!(read_all(&"[".repeat(5_000)).unwrap_err().why.contains("deep"));
        assert_eq!(read_all("[1]\n[ä }").unwrap_err().to_string(), "line 2, column 4: expected ]");
    }
}
