//! Sizes that must not grow: the present worst value is remembered in `src/xtask/ratchet.toml`, and only
//! getting worse than that is a complaint. Where it got better, the number is lowered in the same commit.

use crate::tree::Tree;
use anyhow::{Context, Result};

/// Where the numbers are remembered.
pub const FILE: &str = "src/xtask/ratchet.toml";

/// The remembered numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratchet {
    /// Lines of the longest source file.
    pub file_lines_max: usize,
    /// Source files of more than [`LONG_LINES`] lines.
    pub long_files: usize,
}

/// From here on a file is long: in well-loved code nine files in ten are below.
pub const LONG_LINES: usize = 1000;

/// By how much a remembered number may lag behind the truth before it must be lowered.
const SLACK_LINES: usize = 100;

impl Ratchet {
    /// Reads the remembered numbers.
    ///
    /// # Errors
    /// Not TOML, or a number that is missing.
    pub fn parse(text: &str) -> Result<Self> {
        let table: toml::Table = text.parse().with_context(|| format!("{FILE} is not TOML"))?;
        let number = |name: &str| {
            let value = table.get(name).and_then(toml::Value::as_integer);
            let value = value.and_then(|value| usize::try_from(value).ok());
            value.with_context(|| format!("{FILE} has no number `{name}`"))
        };
        Ok(Self { file_lines_max: number("file_lines_max")?, long_files: number("long_files")? })
    }
}

/// What got worse than remembered, and what got so much better that the number must follow.
#[must_use]
pub fn complaints(tree: &Tree, remembered: Ratchet) -> Vec<String> {
    let mut lengths: Vec<(usize, &str)> = tree
        .files
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .map(|file| (file.text.lines().count(), file.path.as_str()))
        .collect();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    let (worst, path) = lengths.first().copied().unwrap_or((0, "no file"));
    let long: Vec<&str> =
        lengths.iter().filter(|(lines, _)| *lines > LONG_LINES).map(|(_, path)| *path).collect();
    let mut complaints = Vec::new();
    if worst > remembered.file_lines_max {
        complaints.push(format!(
            "{path} has {worst} lines, more than the {} remembered in {FILE}; give one of its ideas a file of its own",
            remembered.file_lines_max
        ));
    }
    // Up to LONG_LINES any length is fine: there is nothing to tighten.
    if worst.max(LONG_LINES) + SLACK_LINES < remembered.file_lines_max {
        complaints.push(format!(
            "the longest file, {path}, has only {worst} lines by now; lower `file_lines_max` in {FILE} from {} (to {LONG_LINES} at the least)",
            remembered.file_lines_max
        ));
    }
    if long.len() > remembered.long_files {
        complaints.push(format!(
            "{} files have more than {LONG_LINES} lines, {FILE} remembers {}: {}",
            long.len(),
            remembered.long_files,
            long.join(", ")
        ));
    }
    if long.len() < remembered.long_files {
        complaints.push(format!(
            "only {} files have more than {LONG_LINES} lines by now; lower `long_files` in {FILE} from {}",
            long.len(),
            remembered.long_files
        ));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::File;

    fn found(lines: &[usize], file_lines_max: usize, long_files: usize) -> Vec<String> {
        let file = |(number, lines): (usize, &usize)| File {
            path: format!("src/types/src/{number}.rs"),
            text: "x\n".repeat(*lines),
        };
        let tree = Tree { files: lines.iter().enumerate().map(file).collect() };
        complaints(&tree, Ratchet { file_lines_max, long_files })
    }

    #[test]
    fn sizes_as_remembered_pass() {
        assert_eq!(found(&[300, 1200], 1200, 1), Vec::<String>::new());
        assert_eq!(found(&[300, 1150], 1200, 1), Vec::<String>::new());
    }

    #[test]
    fn a_file_longer_than_the_longest_remembered_is_named() {
        let found = found(&[300, 1201], 1200, 1);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("src/types/src/1.rs has 1201 lines, more than the 1200"));
    }

    #[test]
    fn one_more_long_file_is_named() {
        let found = found(&[1100, 1200], 1200, 1);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("2 files have more than 1000 lines"));
    }

    #[test]
    fn a_number_the_tree_has_outgrown_must_be_lowered() {
        let found = found(&[300], 1200, 1);
        assert_eq!(found.len(), 2);
        assert!(found[0].contains("lower `file_lines_max`") && found[1].contains("lower `long_files`"));
    }

    #[test]
    fn a_missing_number_is_an_error_and_not_a_pass() {
        assert!(Ratchet::parse("long_files = 0").unwrap_err().to_string().contains("file_lines_max"));
        assert!(Ratchet::parse("file_lines_max = -1\nlong_files = 0").is_err());
        let read = Ratchet::parse("file_lines_max = 2\nlong_files = 0").unwrap();
        assert_eq!(read, Ratchet { file_lines_max: 2, long_files: 0 });
    }
}
