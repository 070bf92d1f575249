//! Errors in a scenario file, shown with the place, the line and a hint.

use std::fmt;
use std::ops::Range;

/// What is wrong in a scenario file, and what to try.
///
/// Its text is the whole message for a person:
/// ```text
/// scenarios/fast/cut.toml:9:9: there is no nemesis called "partiton"
///   |
/// 9 | name = "partiton"
///   |        ^^^^^^^^^^
/// hint: did you mean "partition"?
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FormatError {
    /// The file, as it was named by the caller.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The offending line, without its end.
    pub text: String,
    /// How many characters of it are meant.
    pub width: usize,
    /// What is wrong.
    pub message: String,
    /// What to try.
    pub hint: String,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {}", self.text)?;
        writeln!(f, "{margin} | {}{}", " ".repeat(self.column - 1), "^".repeat(self.width.max(1)))?;
        write!(f, "hint: {}", self.hint)
    }
}

/// A complaint about a span of the source; becomes a [`FormatError`] once file and text are known.
#[derive(Clone, Debug)]
pub(crate) struct Complaint {
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
    pub(crate) hint: String,
    /// Something is not there.
    pub(crate) is_missing: bool,
}

impl Complaint {
    pub(crate) fn locate(self, file: &str, source: &str) -> FormatError {
        let mut start = self.span.start.min(source.len());
        while !source.is_char_boundary(start) {
            start -= 1;
        }
        let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
        let mut end = self.span.end.clamp(start, line_end);
        while !source.is_char_boundary(end) {
            end -= 1;
        }
        FormatError {
            file: file.to_owned(),
            line: source[..line_start].matches('\n').count() + 1,
            column: source[line_start..start].chars().count() + 1,
            // A tab would shift the marker; in a message it may as well be a space.
            text: source[line_start..line_end].trim_end_matches('\r').replace('\t', " "),
            width: source[start..end].chars().count(),
            message: self.message,
            hint: self.hint,
        }
    }
}

/// The name nearest to a mistyped one, where one is near enough to be meant.
pub(crate) fn nearest<'a>(wrong: &str, names: &[&'a str]) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let (distance, name) = names
        .iter()
        .map(|name| (edit_distance(&wrong, name), *name))
        .min_by_key(|(distance, _)| *distance)?;
    let near = distance <= 1 + name.len().max(wrong.len()) / 3;
    if near {
        Some(name)
    } else {
        names.iter().find(|name| name.contains(&wrong) || wrong.contains(*name)).copied()
    }
}

/// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut rows = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

/// The hint for a mistyped name: the nearest one, or all.
pub(crate) fn hint_for(wrong: &str, names: &[&str]) -> String {
    match nearest(wrong, names) {
        Some(name) => format!("did you mean {name:?}?"),
        None => format!("known are: {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_across_one_typo_of_each_kind() {
        let names = ["partition", "power-loss", "pause"];
        for wrong in ["partiton", "partitionn", "partitoin", "pertition", "Partition"] {
            assert_eq!(nearest(wrong, &names), Some("partition"), "{wrong}");
        }
        assert_eq!(nearest("quux", &names), None);
        assert_eq!(nearest("power", &names), Some("power-loss"), "a part of a name is enough");
    }
}
