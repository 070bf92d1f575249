//! Extensible data notation, as far as histories use it: all of it but ratios and exact numbers, which are
//! kept as symbols.

use std::fmt;

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
#[error("line {line}: {why}")]
pub struct EdnError {
    /// From 1.
    pub line: usize,
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

impl fmt::Display for Edn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Text(text) => write!(f, "{text:?}"),
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

struct Reader<'a> {
    text: &'a str,
    place: usize,
}

const DEPTH_MAX: usize = 64;

impl<'a> Reader<'a> {
    fn error(&self, why: &str) -> EdnError {
        let line = self.text[..self.place].matches('\n').count() + 1;
        EdnError { line, why: why.to_owned() }
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

    fn word(&mut self) -> String {
        let rest = self.rest();
        let stops = |c: char| c.is_whitespace() || "()[]{}\",;".contains(c);
        let len = rest.find(stops).unwrap_or(rest.len());
        let word = rest[..len].to_owned();
        self.place += len;
        word
    }

    fn atom(&mut self) -> Result<Edn, EdnError> {
        let word = self.word();
        Ok(match word.as_str() {
            "nil" => Edn::Nil,
            "true" => Edn::Bool(true),
            "false" => Edn::Bool(false),
            ":" => return Err(self.error("a keyword without a name")),
            _ => match (word.strip_prefix(':'), word.parse::<i64>()) {
                (Some(name), _) => Edn::Keyword(name.to_owned()),
                (None, Ok(number)) => Edn::Int(number),
                (None, Err(_)) => Edn::Symbol(word),
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
    fn several_values_in_a_row_are_all_read() {
        assert_eq!(read_all("{:a 1}\n{:a 2}\n").unwrap().len(), 2);
        assert_eq!(read_all(" ; nothing\n").unwrap(), []);
    }

    #[test]
    fn what_is_broken_is_refused_with_its_line() {
        for text in ["\n(1", "\n{:a}", "\n\"open", "\n)", "\n[1)", "\n\"\\q\"", "\n#_", "\n:"] {
            assert_eq!(read_all(text).unwrap_err().line, 2, "{text:?}");
        }
        assert!(read_all(&"[".repeat(5_000)).unwrap_err().why.contains("deep"));
    }
}
