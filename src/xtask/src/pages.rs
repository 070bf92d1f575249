//! A page for every fault and for every oracle: linked from the index of its kind, and gone when its subject is.

use crate::names::{ORACLES, VOCABULARY, names_in_list, names_of};
use crate::tree::Tree;

/// The folder of the faults' pages; the index is the file of the same name.
pub const FAULTS: &str = "docs/faults";

/// The folder of the oracles' pages; the index is the file of the same name.
pub const ORACLE_PAGES: &str = "docs/oracles";

/// The index of all that stands in `docs`.
pub const INDEX: &str = "docs/README.md";

/// How the one line of a fault's page begins that says what real processes make of it.
const REAL: &str = "Real processes:";

/// Pages that are missing, left over, not linked from their index, or not as such a page is.
#[must_use]
pub fn complaints(tree: &Tree) -> Vec<String> {
    let faults = names_of(tree.text(VOCABULARY).unwrap_or_default(), "NemesisKind");
    let oracles = names_in_list(tree.text(ORACLES).unwrap_or_default());
    let mut complaints = of_kind(tree, "fault", FAULTS, VOCABULARY, &faults);
    complaints.extend(of_kind(tree, "oracle", ORACLE_PAGES, ORACLES, &oracles));
    for name in &faults {
        let path = format!("{FAULTS}/{name}.md");
        let lines = tree.text(&path).map(|text| text.lines().filter(|line| line.starts_with(REAL)).count());
        if lines.is_some_and(|lines| lines != 1) {
            complaints.push(format!("{path} has not exactly one line that begins with \"{REAL}\""));
        }
    }
    complaints
}

fn of_kind(tree: &Tree, kind: &str, folder: &str, source: &str, names: &[String]) -> Vec<String> {
    let index = format!("{folder}.md");
    let listed = tree.text(&index).unwrap_or_default();
    let short = folder.rsplit('/').next().unwrap_or(folder);
    let mut complaints = Vec::new();
    if names.is_empty() {
        complaints.push(format!("{source} names no {kind} any more; this check must learn its new shape"));
    }
    for name in names {
        let path = format!("{folder}/{name}.md");
        match tree.text(&path) {
            None => complaints.push(format!("the {kind} `{name}` of {source} has no page {path}")),
            Some(text) if !text.starts_with(&format!("# `{name}`\n")) => {
                complaints.push(format!("{path} does not open with \"# `{name}`\""));
            }
            Some(_) => {}
        }
        if !listed.contains(&format!("({short}/{name}.md)")) {
            complaints.push(format!("{index} does not link to {short}/{name}.md"));
        }
    }
    let pages = tree.files.iter().filter_map(|file| {
        let page = file.path.strip_prefix(folder)?.strip_prefix('/')?;
        Some((&file.path, page.strip_suffix(".md").unwrap_or(page)))
    });
    let left_over = pages.filter(|(_, name)| !names.iter().any(|known| known == name));
    complaints.extend(left_over.map(|(path, _)| format!("{path} is the page of no {kind} in {source}")));
    complaints
}

/// Documents directly in `docs` that the index leaves out.
#[must_use]
pub fn unlisted(tree: &Tree) -> Vec<String> {
    let index = tree.text(INDEX).unwrap_or_default();
    let documents = tree.files.iter().filter_map(|file| file.path.strip_prefix("docs/"));
    documents
        .filter(|path| !path.contains('/') && path.ends_with(".md") && *path != "README.md")
        .filter(|path| !index.contains(&format!("({path})")))
        .map(|path| format!("{INDEX} does not link to {path}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::File;

    const KINDS: &str =
        "named! {\n    NemesisKind {\n        /// Dies.\n        Kill = \"kill\",\n    }\n}\n";
    const NAMES: &str = "pub const NAMES: &[&str] = &[\"lease\"];";
    const PAGE: &str = "# `kill`\n\nReal processes: played.\n";

    fn tree(files: &[(&str, &str)]) -> Tree {
        let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), text: (*text).to_owned() };
        Tree { files: files.iter().map(file).collect() }
    }

    /// A tree in order, with some files replaced.
    fn found(changed: &[(&str, &str)]) -> Vec<String> {
        let mut files = vec![
            (VOCABULARY, KINDS),
            (ORACLES, NAMES),
            ("docs/faults.md", "[kill](faults/kill.md)"),
            ("docs/faults/kill.md", PAGE),
            ("docs/oracles.md", "[lease](oracles/lease.md)"),
            ("docs/oracles/lease.md", "# `lease`\n"),
        ];
        files.retain(|(path, _)| !changed.iter().any(|(other, _)| other == path));
        files.extend(changed.iter().filter(|(_, text)| !text.is_empty()));
        complaints(&tree(&files))
    }

    #[test]
    fn a_page_for_each_name_and_no_other_passes() {
        assert_eq!(found(&[]), Vec::<String>::new());
    }

    #[test]
    fn a_page_that_is_missing_left_over_or_not_linked_is_named() {
        let missing = found(&[("docs/oracles/lease.md", "")]);
        assert!(missing.len() == 1 && missing[0].contains("the oracle `lease`"), "{missing:?}");
        let left_over = found(&[("docs/faults/flood.md", "# `flood`\n")]);
        assert!(left_over.len() == 1 && left_over[0].contains("the page of no fault"), "{left_over:?}");
        let unlinked = found(&[("docs/faults.md", "`kill`")]);
        assert!(unlinked.len() == 1 && unlinked[0].contains("does not link to"), "{unlinked:?}");
    }

    #[test]
    fn a_page_with_another_title_or_without_its_word_on_real_processes_is_named() {
        let titled = found(&[("docs/faults/kill.md", &PAGE.replace("kill", "kills"))]);
        assert!(titled.len() == 1 && titled[0].contains("does not open with"), "{titled:?}");
        let silent = found(&[("docs/faults/kill.md", "# `kill`\n")]);
        assert!(silent.len() == 1 && silent[0].contains("Real processes:"), "{silent:?}");
    }

    #[test]
    fn a_vocabulary_that_vanished_is_not_a_pass() {
        let found = found(&[(VOCABULARY, "x"), ("docs/faults/kill.md", "")]);
        assert!(found.len() == 1 && found[0].contains("must learn its new shape"), "{found:?}");
    }

    #[test]
    fn a_document_that_the_index_leaves_out_is_named() {
        let files =
            [("docs/README.md", "[a](a.md)"), ("docs/a.md", ""), ("docs/b.md", ""), ("docs/x/c.md", "")];
        assert_eq!(unlisted(&tree(&files)), ["docs/README.md does not link to b.md"]);
    }
}
