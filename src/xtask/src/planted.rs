//! Planted bugs: each has a row in `docs/planted-bugs.md` saying where it comes from and which oracle must
//! see it, and each row has a bug.

use std::collections::{BTreeMap, BTreeSet};

/// Where the bugs are named.
pub const SOURCE: &str = "src/types/src/planted.rs";

/// Where they are described.
pub const TABLE: &str = "docs/planted-bugs.md";

/// Where it is said which oracles may name which bug.
pub const HUNTS: &str = "src/scenario/src/mutants.rs";

/// From each bug to the oracles that may name it, as the campaign has them: `bug: Planted::ID` … `oracles: &[…]`.
#[must_use]
pub fn hunts_in_source(source: &str) -> BTreeMap<String, Vec<String>> {
    source
        .split("bug: Planted::")
        .skip(1)
        .filter_map(|hunt| {
            let id = hunt.split(',').next()?.trim().to_owned();
            let list = hunt.split_once("oracles: &[")?.1.split(']').next()?;
            // Every other piece between quotes stands inside a pair of them.
            Some((id, list.split('"').skip(1).step_by(2).map(str::to_owned).collect()))
        })
        .collect()
}

/// Where the campaign and the table name different oracles for a bug.
#[must_use]
pub fn hunt_complaints(hunts: &BTreeMap<String, Vec<String>>, table: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (id, cells) in rows_in_table(table) {
        let told: Vec<String> = cells
            .last()
            .into_iter()
            .flat_map(|cell| cell.split(','))
            .map(|name| name.trim().replace('`', ""))
            .collect();
        match hunts.get(&id) {
            None => complaints.push(format!("nobody hunts the planted bug {id}: {HUNTS} has no row for it")),
            Some(oracles) if *oracles != told => complaints.push(format!(
                "{TABLE} says that {id} is named by {}, {HUNTS} says by {}",
                told.join(", "),
                oracles.join(", ")
            )),
            Some(_) => {}
        }
    }
    complaints
}

/// The ids in the list of the macro `planted!`, in their order.
#[must_use]
pub fn ids_in_source(source: &str) -> Vec<String> {
    let Some((_, list)) = source.split_once("\nplanted! {") else {
        return Vec::new();
    };
    list.lines()
        .take_while(|line| line.trim() != "}")
        .filter_map(|line| line.split_once('='))
        .map(|(id, _)| id.trim().to_owned())
        .filter(|id| id.starts_with(|first: char| first.is_ascii_uppercase()))
        .collect()
}

/// The rows of the table: from id to the other cells.
#[must_use]
pub fn rows_in_table(table: &str) -> BTreeMap<String, Vec<String>> {
    table
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>())
        .filter(|cells| {
            let id = cells[0].trim_matches('`');
            // An id is a letter and a number: R01, D02. The head of the table and its rule are none.
            id.len() >= 2
                && id.starts_with(|first: char| first.is_ascii_uppercase())
                && id[1..].bytes().all(|byte| byte.is_ascii_digit())
        })
        .map(|mut cells| (cells.remove(0).replace('`', ""), cells))
        .collect()
}

/// Where the list and the table differ, and rows that leave something out.
#[must_use]
pub fn complaints(source: &str, table: &str) -> Vec<String> {
    let ids = ids_in_source(source);
    let rows = rows_in_table(table);
    let mut complaints = Vec::new();
    if ids.is_empty() {
        complaints
            .push(format!("{SOURCE} has no list `planted! {{ … }}`; this check must learn its new shape"));
    }
    for id in &ids {
        match rows.get(id) {
            None => complaints.push(format!(
                "the planted bug {id} of {SOURCE} has no row in {TABLE}; add its source and the oracle expected"
            )),
            Some(cells) if cells.len() < 3 || cells.iter().any(String::is_empty) => complaints.push(format!(
                "the row of {id} in {TABLE} is not whole; it needs what the bug does, its source and the oracle expected"
            )),
            Some(_) => {}
        }
    }
    let known: BTreeSet<&String> = ids.iter().collect();
    for id in rows.keys().filter(|id| !known.contains(id)) {
        complaints.push(format!("{TABLE} has a row for {id}, but {SOURCE} plants no such bug"));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE_TEXT: &str = "macro_rules! planted { ($x:ident = 1) => {} }\n\nplanted! {\n    R01 = \"a\";\n    \
                               D02 =\n        \"b\";\n}\n\nfn f() { let X = 1; }\n";
    const TABLE_TEXT: &str =
        "| id | what | source | oracle |\n|--|--|--|--|\n| R01 | a | b | c |\n| `D02` | d | e | f |\n";

    #[test]
    fn list_and_table_that_agree_pass() {
        assert_eq!(ids_in_source(SOURCE_TEXT), ["R01", "D02"]);
        assert_eq!(complaints(SOURCE_TEXT, TABLE_TEXT), Vec::<String>::new());
    }

    #[test]
    fn a_bug_without_a_row_is_named() {
        let table = TABLE_TEXT.replace("| R01 | a | b | c |\n", "");
        let found = complaints(SOURCE_TEXT, &table);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("R01") && found[0].contains("has no row"));
    }

    #[test]
    fn a_row_without_a_bug_or_without_its_oracle_is_named() {
        let table = TABLE_TEXT.replace("| e | f |", "| e | |") + "| R99 | a | b | c |\n";
        let found = complaints(SOURCE_TEXT, &table).join("\n");
        assert!(found.contains("the row of D02") && found.contains("a row for R99"));
    }

    #[test]
    fn a_bug_that_is_hunted_otherwise_than_documented_is_named() {
        let source = "Hunt {\n bug: Planted::R01,\n scenarios: &[\"x\"],\n oracles: &[\"c\", \"d\"],\n},\n";
        let hunts = hunts_in_source(source);
        assert_eq!(hunts["R01"], ["c", "d"]);
        let table = "| id | what | source | oracles |\n|--|--|--|--|\n| R01 | a | b | `c`, `d` |\n";
        assert_eq!(hunt_complaints(&hunts, table), Vec::<String>::new());
        let other = hunt_complaints(&hunts, &table.replace("`d`", "`e`"));
        assert!(other.len() == 1 && other[0].contains("named by c, e"), "{other:?}");
        let unhunted = hunt_complaints(&BTreeMap::new(), table);
        assert!(unhunted.len() == 1 && unhunted[0].contains("nobody hunts"), "{unhunted:?}");
    }

    #[test]
    fn a_list_in_an_unknown_shape_is_not_a_pass() {
        assert!(complaints("fn f() {}", "")[0].contains("must learn its new shape"));
    }
}
