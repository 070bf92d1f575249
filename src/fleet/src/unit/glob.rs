//! Patterns for names of units, with the rules of Go's `path.Match`, which fleet's users know.

use std::fmt;

/// Why a pattern is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum GlobError {
    /// A `[` without its `]`, or a class with nothing in it.
    #[error("the class that begins with '[' has no end")]
    OpenClass,
    /// `[z-a]`, `[-a]` or `[a-]`.
    #[error("the range within '[ ]' has no beginning or no end, or goes backwards")]
    BadRange,
    /// A backslash at the end.
    #[error("nothing follows the last backslash")]
    OpenEscape,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Token {
    Literal(char),
    /// Any number of characters other than a slash.
    Star,
    /// One character other than a slash.
    Any,
    Class {
        is_negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// A pattern: `*`, `?`, `[a-c]`, `[^a]` and `\` as in a shell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glob {
    text: String,
    tokens: Vec<Token>,
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Where it could never match anything because it is malformed.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Star,
                '?' => Token::Any,
                '\\' => Token::Literal(chars.next().ok_or(GlobError::OpenEscape)?),
                '[' => Self::class(&mut chars)?,
                c => Token::Literal(c),
            });
        }
        Ok(Self { text: text.to_owned(), tokens })
    }

    fn class(chars: &mut std::str::Chars<'_>) -> Result<Token, GlobError> {
        let mut rest = chars.clone();
        let is_negated = rest.as_str().starts_with('^');
        if is_negated {
            rest.next();
        }
        let mut ranges = Vec::new();
        loop {
            match rest.as_str().chars().next() {
                None => return Err(GlobError::OpenClass),
                Some(']') if !ranges.is_empty() => {
                    rest.next();
                    break;
                }
                Some(_) => {}
            }
            let low = Self::class_char(&mut rest)?;
            let high = if rest.as_str().starts_with('-') {
                rest.next();
                Self::class_char(&mut rest)?
            } else {
                low
            };
            if high < low {
                return Err(GlobError::BadRange);
            }
            ranges.push((low, high));
        }
        *chars = rest;
        Ok(Token::Class { is_negated, ranges })
    }

    fn class_char(rest: &mut std::str::Chars<'_>) -> Result<char, GlobError> {
        match rest.next() {
            None => Err(GlobError::OpenClass),
            Some('-' | ']') => Err(GlobError::BadRange),
            Some('\\') => rest.next().ok_or(GlobError::OpenEscape),
            Some(c) => Ok(c),
        }
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The one name it matches, where there is no wildcard in it.
    #[must_use]
    pub fn exact(&self) -> Option<String> {
        let literal = self.literal_prefix();
        (literal.chars().count() == self.tokens.len()).then_some(literal)
    }

    /// What every name that it matches begins with.
    #[must_use]
    pub fn literal_prefix(&self) -> String {
        let literals = self.tokens.iter().map_while(|token| match token {
            Token::Literal(c) => Some(*c),
            _ => None,
        });
        literals.collect()
    }

    /// Whether it matches the whole name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        // Where the last star stands and how much of the name it has taken: only the last one ever needs to take more.
        let mut retry: Option<(usize, usize)> = None;
        let (mut token, mut at) = (0, 0);
        loop {
            match (self.tokens.get(token), name.get(at)) {
                (None, None) => return true,
                (Some(Token::Star), _) => {
                    retry = Some((token, at));
                    token += 1;
                    continue;
                }
                (Some(one), Some(c)) if one.takes(*c) => {
                    token += 1;
                    at += 1;
                    continue;
                }
                _ => {}
            }
            match retry {
                Some((star, taken)) if name.get(taken).is_some_and(|c| *c != '/') => {
                    retry = Some((star, taken + 1));
                    (token, at) = (star + 1, taken + 1);
                }
                _ => return false,
            }
        }
    }
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Literal(literal) => *literal == c,
            Self::Star => false,
            Self::Any => c != '/',
            Self::Class { is_negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *is_negated
            }
        }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, name, expected) in [
            ("web@*.service", "web@1.service", true),
            ("web@*.service", "web.service", false),
            ("*", "", true),
            ("*", "a/b", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?eb.service", "web.service", true),
            ("?", "/", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "aXb", false),
            ("[\\]]", "]", true),
            ("", "", true),
            ("", "a", false),
            ("web", "web.service", false),
            ("**a", "aa", true),
        ] {
            assert_eq!(Glob::parse(pattern).unwrap().matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for bad in ["[", "[a", "[]", "[^]", "[z-a]", "[a-]", "[-a]", "a\\", "[a\\"] {
            assert!(Glob::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_without_wildcards_says_its_only_name() {
        assert_eq!(Glob::parse("a\\*b").unwrap().exact(), Some("a*b".to_owned()));
        assert_eq!(Glob::parse("web@*").unwrap().exact(), None);
        assert_eq!(Glob::parse("web@*").unwrap().literal_prefix(), "web@");
    }

    /// What a star may take, tried one after the other.
    fn naive(tokens: &[Token], name: &[char]) -> bool {
        match tokens.split_first() {
            None => name.is_empty(),
            Some((Token::Star, rest)) => {
                let most = name.iter().take_while(|c| **c != '/').count();
                (0..=most).any(|taken| naive(rest, &name[taken..]))
            }
            Some((token, rest)) => {
                name.split_first().is_some_and(|(c, tail)| token.takes(*c) && naive(rest, tail))
            }
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_trying_everything(pattern in "[ab*?/]{0,8}", name in "[ab/]{0,8}") {
            let glob = Glob::parse(&pattern).unwrap();
            let chars: Vec<char> = name.chars().collect();
            prop_assert_eq!(glob.matches(&name), naive(&glob.tokens, &chars));
        }
    }
}
