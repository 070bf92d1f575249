//! Taking a value apart into words: quotes and C-style escapes (systemd.syntax(7)).

/// What can go wrong with words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WordError {
    /// A quote has no partner.
    Unbalanced,
    /// The escapes make bytes that are no UTF-8.
    NotUtf8,
    /// An escape makes the byte 0, which no argument can hold.
    Nul,
}

impl WordError {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Unbalanced => "a quote is opened and not closed",
            Self::NotUtf8 => "its escapes make bytes that are no UTF-8",
            Self::Nul => "an escape makes the byte 0",
        }
        .to_owned()
    }
}

/// A cursor over a value.
#[derive(Clone, Debug)]
pub(crate) struct Words<'a> {
    rest: &'a str,
    /// Escapes that are none; they were kept as they stood.
    pub(crate) unknown_escapes: Vec<String>,
}

impl<'a> Words<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { rest: text, unknown_escapes: Vec::new() }
    }

    /// What is still to be read, from the next word on.
    pub(crate) fn rest(&mut self) -> &'a str {
        self.rest = self.rest.trim_start_matches(is_space);
        self.rest
    }

    /// Steps over a word that stands here, unquoted and by itself.
    pub(crate) fn take(&mut self, word: &str) -> bool {
        match self.rest().strip_prefix(word) {
            Some(behind) if behind.is_empty() || behind.starts_with(is_space) => {
                self.rest = behind;
                true
            }
            _ => false,
        }
    }

    /// Steps over one character that stands here.
    pub(crate) fn take_prefix(&mut self, c: char) -> bool {
        match self.rest.strip_prefix(c) {
            Some(behind) => {
                self.rest = behind;
                true
            }
            None => false,
        }
    }

    /// The next word, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<String>, WordError> {
        if self.rest().is_empty() {
            return Ok(None);
        }
        let mut out: Vec<u8> = Vec::new();
        let mut quote = None;
        let mut chars = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            match (quote, c) {
                (None, c) if is_space(c) => {
                    end = at;
                    break;
                }
                (None, '"' | '\'') => quote = Some(c),
                (Some(open), c) if c == open => quote = None,
                (_, '\\') => {
                    let (bytes, skip) = escape(&self.rest[at..]);
                    match bytes {
                        Some(bytes) => out.extend(bytes),
                        None => {
                            let kept = &self.rest[at..at + skip];
                            self.unknown_escapes.push(kept.to_owned());
                            out.extend(kept.as_bytes());
                        }
                    }
                    chars = self.rest.char_indices();
                    while chars.clone().next().is_some_and(|(next, _)| next < at + skip) {
                        chars.next();
                    }
                }
                (_, c) => out.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if quote.is_some() {
            return Err(WordError::Unbalanced);
        }
        self.rest = &self.rest[end..];
        if out.contains(&0) {
            return Err(WordError::Nul);
        }
        String::from_utf8(out).map(Some).map_err(|_| WordError::NotUtf8)
    }
}

/// All words of a value.
pub(crate) fn split(text: &str) -> Result<(Vec<String>, Vec<String>), WordError> {
    let mut words = Words::new(text);
    let mut found = Vec::new();
    while let Some(word) = words.next()? {
        found.push(word);
    }
    Ok((found, words.unknown_escapes))
}

pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// The bytes of the escape at the start of `text`, and how many bytes of text it takes.
fn escape(text: &str) -> (Option<Vec<u8>>, usize) {
    let Some(letter) = text.chars().nth(1) else { return (None, 1) };
    let simple = match letter {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(11),
        '\\' => Some(b'\\'),
        '"' => Some(b'"'),
        '\'' => Some(b'\''),
        's' => Some(b' '),
        _ => None,
    };
    if let Some(byte) = simple {
        return (Some(vec![byte]), 2);
    }
    let number = |from: usize, digits: usize, radix: u32| {
        let digits = text.get(from..from + digits)?;
        digits.chars().all(|c| c.is_digit(radix)).then(|| u32::from_str_radix(digits, radix).ok()).flatten()
    };
    let found = match letter {
        'x' => number(2, 2, 16).and_then(|code| Some((vec![u8::try_from(code).ok()?], 4))),
        '0'..='7' => number(1, 3, 8).and_then(|code| Some((vec![u8::try_from(code).ok()?], 4))),
        'u' => number(2, 4, 16).and_then(|code| Some((char::from_u32(code)?.to_string().into_bytes(), 6))),
        'U' => number(2, 8, 16).and_then(|code| Some((char::from_u32(code)?.to_string().into_bytes(), 10))),
        _ => None,
    };
    match found {
        Some((bytes, length)) => (Some(bytes), length),
        None => (None, 1 + letter.len_utf8()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_unquoted_and_unescaped() {
        let table: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  a  b\tc ", &["a", "b", "c"]),
            (r#""two words" 'and two'"#, &["two words", "and two"]),
            (r#"--name="a b"c"#, &["--name=a bc"]),
            (r#""" ''"#, &["", ""]),
            (r#""it's" '"'"#, &["it's", "\""]),
            (r"a\x41\101\u00e4\U0001F600\s\t", &["aAAä😀 \t"]),
            (r"\\ \; \q", &["\\", "\\;", "\\q"]),
            (r#""\"""#, &["\""]),
            (r"\xc3\xa4", &["ä"]),
        ];
        for (text, expected) in table {
            assert_eq!(split(text).unwrap().0, *expected, "{text}");
        }
        assert_eq!(split(r"\q \x4 \9").unwrap().1, [r"\q", r"\x", r"\9"]);
    }

    #[test]
    fn what_makes_no_words_is_refused() {
        for (text, error) in [
            ("\"open", WordError::Unbalanced),
            ("a 'b", WordError::Unbalanced),
            (r"\xff", WordError::NotUtf8),
            (r"\x00", WordError::Nul),
            (r#""a\"#, WordError::Unbalanced),
        ] {
            assert_eq!(split(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_split_or_refused(text in "\\PC{0,40}") {
            let _ = split(&text);
        }

        #[test]
        fn a_quoted_word_comes_back(word in "[ -~äö]{0,20}") {
            let quoted = format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(split(&quoted).unwrap().0, vec![word]);
        }
    }
}
