//! Names that users write, and the pages that explain them: a fault, a goal or an operation which no page
//! explains does not exist for its user.

use crate::tree::Tree;

/// Where the vocabulary of scenario files is declared: enums in `named! { … }`, each variant with its text.
pub const VOCABULARY: &str = "src/scenario/src/format/spec.rs";

/// And the vocabulary of some workloads.
pub const PARTS: &str = "src/scenario/src/format/parts.rs";

/// Which page explains which vocabulary.
const PAGES: &[(&str, &str)] = &[
    ("NemesisKind", "docs/faults.md"),
    ("Shape", "docs/faults/partition.md"),
    ("LinkDown", "docs/faults/flapping.md"),
    ("Files", "docs/faults/sync-error.md"),
    ("DamagePlace", "docs/faults/wal-damage.md"),
    ("WorkloadKind", "docs/scenario-format.md"),
    ("OpKind", "docs/scenario-format.md"),
    ("ChangeKind", "docs/scenario-format.md"),
    ("During", "docs/scenario-format.md"),
    ("Without", "docs/scenario-format.md"),
    ("GoalKind", "docs/scenario-format.md"),
    ("VerdictKind", "docs/scenario-format.md"),
];

/// The same, of [`PARTS`].
const PAGES_OF_PARTS: &[(&str, &str)] = &[
    ("V2Op", "docs/scenario-format.md"),
    ("Fate", "docs/scenario-format.md"),
    ("MachineFault", "docs/scenario-format.md"),
    ("UnitAct", "docs/scenario-format.md"),
];

/// Where the oracles are named: `NAMES: &[&str] = &[ … ];`.
pub const ORACLES: &str = "src/scenario/src/oracles/mod.rs";

/// Which page explains them.
const ORACLES_PAGE: &str = "docs/oracles.md";

/// Names that their page leaves out. A name counts as explained where it stands in backticks.
#[must_use]
pub fn complaints(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    let oracles = names_in_list(tree.text(ORACLES).unwrap_or_default());
    let of_file = |file: &'static str, pages: &'static [(&str, &str)]| {
        let source = tree.text(file).unwrap_or_default();
        pages.iter().map(move |(vocabulary, page)| (*vocabulary, *page, file, names_of(source, vocabulary)))
    };
    let pages = of_file(VOCABULARY, PAGES).chain(of_file(PARTS, PAGES_OF_PARTS));
    for (vocabulary, page, file, names) in pages.chain([("NAMES", ORACLES_PAGE, ORACLES, oracles)]) {
        if names.is_empty() {
            complaints
                .push(format!("{file} has no `{vocabulary}` any more; this check must learn its new shape"));
        }
        let text = tree.text(page).unwrap_or_default();
        for name in names.iter().filter(|name| !text.contains(&format!("`{name}`"))) {
            complaints.push(format!("{page} does not explain `{name}` ({vocabulary} in {file})"));
        }
    }
    complaints
}

/// The texts of one enum's variants: `Variant = "text",`.
#[must_use]
pub fn names_of(source: &str, vocabulary: &str) -> Vec<String> {
    let Some((_, body)) = source.split_once(&format!("\n    {vocabulary} {{\n")) else {
        return Vec::new();
    };
    body.lines()
        .take_while(|line| line.trim() != "}")
        .filter(|line| !line.trim_start().starts_with("//"))
        .filter_map(|line| line.split_once(" = \"")?.1.split('"').next().map(str::to_owned))
        .collect()
}

/// The texts of the list `NAMES`.
#[must_use]
pub fn names_in_list(source: &str) -> Vec<String> {
    let Some((_, list)) = source.split_once("NAMES: &[&str] = &[") else {
        return Vec::new();
    };
    let list = list.split(']').next().unwrap_or_default();
    // Every other piece between quotes stands inside a pair of them.
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::File;

    const SOURCE: &str = "named! {\n    /// Goals.\n    GoalKind {\n        /// With = \"comment\".\n        A = \"write-\
                          acknowledged\",\n        B = \"seen\",\n    }\n}\nnamed! {\n    Shape {\n        C = \"ring\",\n    }\n}\n";

    fn tree(source: &str, page: &str) -> Tree {
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        Tree {
            files: vec![
                file(VOCABULARY, source),
                file("docs/scenario-format.md", page),
                file("docs/faults/partition.md", page),
            ],
        }
    }

    #[test]
    fn names_are_those_of_one_vocabulary_alone() {
        assert_eq!(names_of(SOURCE, "GoalKind"), ["write-acknowledged", "seen"]);
        assert_eq!(names_of(SOURCE, "Shape"), ["ring"]);
        assert_eq!(
            names_in_list("pub const NAMES: &[&str] = &[\n \"a\", \"b-c\",\n];\nlet x = [\"d\"];"),
            ["a", "b-c"]
        );
    }

    #[test]
    fn a_name_that_its_page_leaves_out_is_named() {
        let found = complaints(&tree(SOURCE, "Only `ring` and write-acknowledged without ticks and `seen`."));
        let about_names: Vec<_> = found.iter().filter(|said| said.contains("does not explain")).collect();
        assert_eq!(about_names.len(), 1);
        assert!(about_names[0].contains("`write-acknowledged`"));
    }

    #[test]
    fn a_vocabulary_that_vanished_is_not_a_pass() {
        let found = complaints(&tree("", ""));
        assert_eq!(found.len(), PAGES.len() + PAGES_OF_PARTS.len() + 1);
        assert!(found[0].contains("must learn its new shape"));
    }
}
