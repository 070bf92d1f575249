//! Environment variables: `Environment=` and the files of `EnvironmentFile=` (systemd.exec(5)).

use std::collections::BTreeMap;

/// Variables by name.
pub type Environment = BTreeMap<String, String>;

/// Whether a name can be that of a variable.
pub(crate) fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// One assignment `NAME=value`.
pub(crate) fn assignment(word: &str) -> Option<(String, String)> {
    let (name, value) = word.split_once('=')?;
    is_name(name).then(|| (name.to_owned(), value.to_owned()))
}

/// The assignments of an environment file, in order. Lines that make none are left out, as systemd does.
///
/// Quotes count only where the value begins with one; a backslash at the end of a line joins the next one to it.
#[must_use]
pub fn parse_environment_file(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut chars = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
    loop {
        while chars.peek().is_some_and(|c| c.is_ascii_whitespace()) {
            chars.next();
        }
        let Some(first) = chars.peek().copied() else { return found };
        if first == '#' || first == ';' {
            skip_comment(&mut chars);
            continue;
        }
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && *c != '\n') {
            name.push(c);
        }
        if chars.next() != Some('=') {
            continue;
        }
        let value = value(&mut chars);
        let name = name.trim_end();
        if is_name(name) {
            found.push((name.to_owned(), value));
        }
    }
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// A comment's line ends where no backslash joins the next one to it.
fn skip_comment(chars: &mut Chars<'_>) {
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '\n' => return,
            _ => {}
        }
    }
}

fn value(chars: &mut Chars<'_>) -> String {
    let mut out = String::new();
    // The spaces seen since the last character that counts: they are dropped at the end of the line.
    let mut solid = 0;
    while chars.next_if(|c| matches!(c, ' ' | '\t' | '\r')).is_some() {}
    loop {
        match chars.next() {
            None | Some('\n') => break,
            // Inside of an unquoted value a quote is a part of it.
            Some(quote @ ('"' | '\'')) if out.is_empty() => {
                quoted(chars, quote, &mut out);
                solid = out.len();
            }
            Some('\\') => match chars.next() {
                None | Some('\n') => {}
                Some(c) => {
                    out.push(c);
                    solid = out.len();
                }
            },
            Some(c) => {
                out.push(c);
                if !matches!(c, ' ' | '\t' | '\r') {
                    solid = out.len();
                }
            }
        }
    }
    out.truncate(solid);
    out
}

fn quoted(chars: &mut Chars<'_>, quote: char, out: &mut String) {
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => return,
            '\\' if quote == '"' => match chars.next() {
                None | Some('\n') => {}
                Some(c @ ('"' | '\\' | '`' | '$')) => out.push(c),
                Some(c) => {
                    out.push('\\');
                    out.push(c);
                }
            },
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_file_of_variables_is_read_as_systemd_reads_it() {
        let text = "# comment\n; another\n\nA=1\nB = two words  \nC=\"quoted \\\"x\\\" \\n\"\nD='single\\n'\n\
                    E=long\\\n tail\nnonsense\n1BAD=x\nF=\nG=it's\nH=\"two\nlines\"\n# trailing \\\nSKIPPED=1\nexport X=1\nI=a\\ \n";
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "quoted \"x\" \\n"),
            ("D", "single\\n"),
            ("E", "long tail"),
            ("F", ""),
            ("G", "it's"),
            ("H", "two\nlines"),
            ("I", "a "),
        ];
        let expected: Vec<_> = expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        assert_eq!(parse_environment_file(text), expected);
    }

    proptest! {
        #[test]
        fn any_file_is_read(text in "[A-Z=\"'\\\\#; \n]{0,60}") {
            for (name, _) in parse_environment_file(&text) {
                prop_assert!(is_name(&name));
            }
        }
    }
}
