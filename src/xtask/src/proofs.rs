//! Documents say which test proves a claim; a test that was renamed or went away proves nothing.

use crate::code;
use crate::tree::Tree;
use std::collections::BTreeSet;

/// The head of the column which holds the proofs.
const COLUMN: &str = "proved by";

/// Proofs that are not there. In every table of a document whose last column is headed [`COLUMN`], each text
/// in backticks is the name of a test function, or the path of a file (a scenario, a table of exchanges).
#[must_use]
pub fn complaints(tree: &Tree) -> Vec<String> {
    let tests: BTreeSet<String> = tree
        .files
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .flat_map(|file| functions(&code::without_comments_and_strings(&file.text)))
        .collect();
    let mut complaints = Vec::new();
    for document in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        for (claim, proof) in proofs(&document.text) {
            if !tests.contains(&proof) && tree.text(&proof).is_none() {
                complaints.push(format!(
                    "{}: {claim:?} is said to be proved by `{proof}`, but there is no such test or file",
                    document.path
                ));
            }
        }
    }
    complaints
}

/// Pairs of a row's first cell and a proof in its last.
fn proofs(document: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut in_table = false;
    for line in document.lines() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        if !line.starts_with('|') {
            in_table = false;
        } else if cells.last() == Some(&COLUMN) {
            in_table = true;
        } else if in_table {
            let last = cells.last().copied().unwrap_or_default();
            // Every other piece between backticks stands inside a pair of them.
            let quoted = last.split('`').skip(1).step_by(2);
            found.extend(quoted.map(|proof| (cells[0].to_owned(), proof.to_owned())));
        }
    }
    found
}

/// The names of all functions of the code.
fn functions(code: &str) -> Vec<String> {
    code::places_of(code, "fn ")
        .into_iter()
        .map(|at| code[at + 3..].trim_start())
        .map(|rest| {
            rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::File;

    fn found(document: &str) -> Vec<String> {
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        let source = "#[test]\nfn a_vote_is_kept() {}\n// fn a_comment_is_no_test()\n";
        complaints(&Tree {
            files: vec![file("a.md", document), file("src/a.rs", source), file("scenarios/fast/a.toml", "")],
        })
    }

    #[test]
    fn tests_and_files_that_exist_are_proofs() {
        let table = "| claim | proved by |\n|--|--|\n| x | `a_vote_is_kept`, `scenarios/fast/a.toml` |\n";
        assert_eq!(found(table), Vec::<String>::new());
    }

    #[test]
    fn a_proof_that_is_not_there_is_named_with_its_claim() {
        let table = "| claim | proved by |\n|--|--|\n| x | `a_vote_is_lost` and `a_comment_is_no_test` |\n";
        let found = found(table);
        assert_eq!(found.len(), 2);
        assert!(found[0].contains("\"x\"") && found[0].contains("`a_vote_is_lost`"));
    }

    #[test]
    fn other_tables_prove_nothing() {
        assert_eq!(
            found("| claim | seen in |\n|--|--|\n| x | `nowhere` |\n\n`proved by` | `x` |\n"),
            Vec::<String>::new()
        );
    }
}
