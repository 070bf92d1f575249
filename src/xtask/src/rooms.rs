//! Every room introduces itself: in its `lib.rs` and in ARCHITECTURE.md it says what it knows nothing of, and
//! it takes part in the common lints. And what the documents point at exists.

use crate::tree::{File, Tree};
use std::collections::BTreeSet;

/// How a room may say what it leaves to others; with or without the capital letter.
const LIMITS: [&str; 3] = ["nows nothing of", "does not know", "is the business of"];

/// Rooms that do not introduce themselves as they should.
#[must_use]
pub fn complaints(tree: &Tree) -> Vec<String> {
    let architecture = tree.text("ARCHITECTURE.md").unwrap_or_default();
    let mut complaints = Vec::new();
    for (folder, manifest) in manifests(tree) {
        let room = folder.rsplit('/').next().unwrap_or(folder);
        if !manifest.text.contains("[lints]\nworkspace = true") {
            complaints.push(format!(
                "{} does not take the common lints; add `[lints] workspace = true`",
                manifest.path
            ));
        }
        match paragraph(architecture, room) {
            None => {
                complaints.push(format!("ARCHITECTURE.md has no paragraph `### {room}`; every crate has one"))
            }
            Some(text) if !says_limits(text) => complaints.push(format!(
                "the paragraph `### {room}` of ARCHITECTURE.md does not say what it knows nothing of"
            )),
            Some(_) => {}
        }
        let library = format!("{folder}/src/lib.rs");
        if let Some(text) = tree.text(&library) {
            let intro = text.lines().map_while(|line| line.strip_prefix("//!")).collect::<Vec<_>>();
            let intro = one_line(&intro.join("\n"));
            if !says_limits(&intro) {
                complaints.push(format!("{library} does not open with what the room `Knows nothing of`"));
            }
            if !intro.contains("Read first") {
                complaints.push(format!("{library} does not name the types to `Read first`"));
            }
        }
    }
    complaints
}

/// Relative links in our documents that lead nowhere.
#[must_use]
pub fn broken_links(tree: &Tree) -> Vec<String> {
    let mut there: BTreeSet<String> = BTreeSet::new();
    for file in &tree.files {
        let mut path = file.path.as_str();
        there.insert(path.to_owned());
        while let Some((folder, _)) = path.rsplit_once('/') {
            there.insert(folder.to_owned());
            path = folder;
        }
    }
    let documents = tree.files.iter().filter(|file| file.path.ends_with(".md"));
    documents
        .flat_map(|file| links(&file.text).into_iter().map(move |link| (file, link)))
        .filter(|(file, link)| !there.contains(&resolve(&file.path, link)))
        .map(|(file, link)| format!("{} points at `{link}`, which is not there", file.path))
        .collect()
}

/// The crates: folder and manifest of each.
fn manifests(tree: &Tree) -> impl Iterator<Item = (&str, &File)> {
    tree.files
        .iter()
        .filter_map(|file| file.path.strip_suffix("/Cargo.toml").map(|folder| (folder, file)))
        .filter(|(folder, _)| !folder.contains("/tests/"))
}

/// The text below the heading `### room`, up to the next heading.
fn paragraph<'a>(text: &'a str, room: &str) -> Option<&'a str> {
    let heading = format!("\n### {room}\n");
    let (_, below) = text.split_once(&heading)?;
    Some(below.split("\n#").next().unwrap_or(below))
}

fn says_limits(text: &str) -> bool {
    let text = one_line(text);
    LIMITS.iter().any(|phrase| text.contains(phrase)) || text.contains("'s business")
}

/// Sentences are wrapped where a line is full: a phrase may go on in the next one.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The targets of `[text](target)` that are paths.
fn links(text: &str) -> Vec<&str> {
    text.match_indices("](")
        .filter_map(|(at, _)| text[at + 2..].split_once(')').map(|(target, _)| target))
        .map(|target| target.split('#').next().unwrap_or(target))
        .filter(|target| {
            !target.is_empty() && !target.contains("://") && !target.contains(char::is_whitespace)
        })
        .collect()
}

fn resolve(document: &str, link: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), text: (*text).to_owned() };
        Tree { files: files.iter().map(file).collect() }
    }

    const MANIFEST: (&str, &str) = ("src/raft/Cargo.toml", "[lints]\nworkspace = true\n");
    const LIBRARY: (&str, &str) =
        ("src/raft/src/lib.rs", "//! Raft.\n//!\n//! Knows nothing\n//! of it. Read first: a.\n");
    const PROSE: (&str, &str) =
        ("ARCHITECTURE.md", "# a\n\n### raft\n\nIt knows nothing\nof sockets.\n\n## b\n");

    #[test]
    fn a_room_that_introduces_itself_passes() {
        assert_eq!(complaints(&tree(&[MANIFEST, LIBRARY, PROSE])), Vec::<String>::new());
    }

    #[test]
    fn each_thing_left_out_is_named() {
        let silent =
            [("src/raft/Cargo.toml", ""), ("src/raft/src/lib.rs", "//! Raft.\n"), ("ARCHITECTURE.md", "")];
        let found = complaints(&tree(&silent)).join("\n");
        for said in [
            "does not take the common lints",
            "no paragraph `### raft`",
            "does not open with",
            "`Read first`",
        ] {
            assert!(found.contains(said), "{said} is missing in: {found}");
        }
        let limitless = ("ARCHITECTURE.md", "\n### raft\n\nIt is.\n\n### other\n\nIt knows nothing of it.\n");
        let found = complaints(&tree(&[MANIFEST, LIBRARY, limitless]));
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("does not say what it knows nothing of"));
    }

    #[test]
    fn a_link_that_leads_nowhere_is_named() {
        let text =
            "[a](faults.md#x) [b](../src/raft) [c](https://example.org/x) [d](gone.md) [e](../src/lost)";
        let found = broken_links(&tree(&[MANIFEST, ("docs/a.md", text), ("docs/faults.md", "")]));
        assert_eq!(found.len(), 2);
        assert!(found[0].contains("`gone.md`") && found[1].contains("`../src/lost`"));
    }
}
