//! The parameters of a request, from its query and its body (Go: `net/http.Request.ParseForm`).

use seatrial_types::v2::{V2Code, V2Error};

/// Parameters by name, those of the body before those of the query. The first of a name counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    pairs: Vec<(String, String)>,
}

/// What was wrong with a request, before anybody knows how far the key space is.
pub(super) fn wrong(code: V2Code, cause: impl Into<String>) -> V2Error {
    V2Error { code, cause: cause.into(), index: 0 }
}

impl Form {
    /// Of a body (empty where there is none that is a form) and a query.
    ///
    /// # Errors
    /// [`V2Code::InvalidForm`] with Go's words for what cannot be read.
    pub fn parse(body: &[u8], query: &str) -> Result<Self, V2Error> {
        let mut pairs = Vec::new();
        for part in [body, query.as_bytes()] {
            for pair in part.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
                if pair.contains(&b';') {
                    return Err(wrong(V2Code::InvalidForm, "invalid semicolon separator in query"));
                }
                let at = pair.iter().position(|byte| *byte == b'=');
                let (name, value) = at.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
                pairs.push((unescape(name)?, unescape(value)?));
            }
        }
        Ok(Self { pairs })
    }

    /// The value of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The value of this name as a number; 0 where there is none.
    pub(super) fn number(&self, name: &str, code: V2Code) -> Result<u64, V2Error> {
        let Some(text) = self.get(name) else { return Ok(0) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { text.parse().ok() } else { None };
        number.ok_or_else(|| wrong(code, format!("invalid value for \"{name}\"")))
    }

    /// The value of this name as Go reads a truth; false where there is none.
    pub(super) fn flag(&self, name: &str) -> Result<bool, V2Error> {
        let wrong = || wrong(V2Code::InvalidField, format!("invalid value for \"{name}\""));
        self.get(name).map_or(Ok(false), |text| truth(text).ok_or_else(wrong))
    }
}

/// Go: `strconv.ParseBool`.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Go: `url.QueryUnescape`. Bytes that are no text become the mark for that.
fn unescape(escaped: &[u8]) -> Result<String, V2Error> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                let read = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
                let Some(value) = read.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
                    let shown = String::from_utf8_lossy(&behind[..behind.len().min(2)]).into_owned();
                    let cause = format!("invalid URL escape \"%{shown}\"");
                    return Err(wrong(V2Code::InvalidForm, cause));
                };
                rest = &behind[2..];
                value
            }
            plain => plain,
        });
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Go: `url.QueryEscape`.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => escaped.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(byte.into()),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_body_counts_before_the_query_and_the_first_of_a_name() {
        let form = Form::parse(b"value=a&value=b&x", "value=c&y=1").unwrap();
        assert_eq!(form.get("value"), Some("a"));
        assert_eq!(form.get("x"), Some(""));
        assert_eq!(form.get("y"), Some("1"));
        assert_eq!(form.get("z"), None);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let cause = |query: &str| Form::parse(b"", query).unwrap_err().cause;
        assert_eq!(cause("a=%zz"), "invalid URL escape \"%zz\"");
        assert_eq!(cause("a=%4"), "invalid URL escape \"%4\"");
        assert_eq!(cause("a=1;b=2"), "invalid semicolon separator in query");
    }

    #[test]
    fn numbers_and_truths_are_read_as_go_reads_them() {
        let number =
            |text: &str| Form::parse(b"", &format!("n={text}")).unwrap().number("n", V2Code::IndexNotANumber);
        assert_eq!(number("18446744073709551615"), Ok(u64::MAX));
        for text in ["", "-1", "%2B1", "1.0", "18446744073709551616", "1_0"] {
            assert_eq!(number(text).map_err(|error| error.code), Err(V2Code::IndexNotANumber), "{text:?}");
        }
        assert_eq!(truth("t"), Some(true));
        assert_eq!(truth("yes"), None);
        assert_eq!(truth(""), None);
    }

    proptest! {
        #[test]
        fn what_was_escaped_is_read_back(text in "\\PC*") {
            let form = Form::parse(format!("v={}", escape(&text)).as_bytes(), "").unwrap();
            prop_assert_eq!(form.get("v"), Some(text.as_str()));
        }
    }
}
