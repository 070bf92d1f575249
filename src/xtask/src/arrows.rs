//! Which room may use which: the table in ARCHITECTURE.md against the manifests.
//!
//! Both directions are checked. An arrow that only the manifests have is architecture nobody decided; one
//! that only the table has is a promise the reader believes in vain. Dev-dependencies are free: a test may
//! bring rooms together that the product keeps apart.

use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, MetadataCommand};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The heading below which the table stands.
pub const HEADING: &str = "## The arrow table";

/// What the names of our packages begin with.
const OURS: &str = "seatrial-";

/// From each room to those it uses.
pub type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The arrows as ARCHITECTURE.md has them: the first table below [`HEADING`], the room in its first
/// column, what it may use in its second, separated by commas; `-` is nothing.
///
/// # Errors
/// No such heading, no table below it, or a room that stands there twice.
pub fn parse_table(text: &str) -> Result<Arrows> {
    let (_, below) =
        text.split_once(HEADING).with_context(|| format!("ARCHITECTURE.md has no heading `{HEADING}`"))?;
    let rows = below
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2); // The head of the table and the rule below it.
    let mut arrows = Arrows::new();
    for row in rows {
        let mut cells = row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', ""));
        let (Some(room), Some(uses)) = (cells.next(), cells.next()) else {
            bail!("the arrow table has a row without two columns: {row}");
        };
        let uses = uses.split(',').map(str::trim).filter(|used| !used.is_empty() && *used != "-");
        if arrows.insert(room.clone(), uses.map(str::to_owned).collect()).is_some() {
            bail!("the arrow table has two rows for `{room}`");
        }
    }
    if arrows.is_empty() {
        bail!("no table follows the heading `{HEADING}` in ARCHITECTURE.md");
    }
    Ok(arrows)
}

/// The arrows as the manifests below `root` have them, optional ones included.
///
/// # Errors
/// What cargo says.
pub fn read_manifests(root: &Path) -> Result<Arrows> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("asking cargo for its metadata")?;
    let mut arrows = Arrows::new();
    for package in metadata.workspace_packages() {
        let uses = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Development)
            .filter_map(|dependency| dependency.name.strip_prefix(OURS).map(str::to_owned))
            .collect();
        arrows.insert(package.name.strip_prefix(OURS).unwrap_or(&package.name).to_owned(), uses);
    }
    Ok(arrows)
}

/// Where the table and the manifests differ, and arrows that close a circle.
#[must_use]
pub fn complaints(table: &Arrows, manifests: &Arrows) -> Vec<String> {
    let nothing = BTreeSet::new();
    let rooms: BTreeSet<&String> = table.keys().chain(manifests.keys()).collect();
    let mut complaints = Vec::new();
    for room in rooms {
        if !table.contains_key(room) {
            complaints.push(format!(
                "room `{room}` has no row in the arrow table of ARCHITECTURE.md; add one, and say what it knows \
                 nothing of"
            ));
        }
        if !manifests.contains_key(room) {
            complaints.push(format!("the arrow table has a row for `{room}`, but no such crate exists"));
        }
        let allowed = table.get(room).unwrap_or(&nothing);
        let used = manifests.get(room).unwrap_or(&nothing);
        for extra in used.difference(allowed) {
            complaints.push(format!(
                "`{room}` uses `{extra}`, which the arrow table does not allow; a new arrow is decided first and \
                 written into ARCHITECTURE.md, or the dependency goes"
            ));
        }
        for missing in allowed.difference(used) {
            complaints.push(format!(
                "the arrow table says that `{room}` uses `{missing}`, but its manifest does not; strike it from \
                 ARCHITECTURE.md"
            ));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "# x\n\n## The arrow table\n\nWords.\n\n| room | may use | knows nothing of |\n|--|--|--|\n\
                         | `types` | - | all |\n| `raft` | `types` | sockets |\n| `node` | `types`, `raft` | x |\n\n\
                         | other | table |\n|--|--|\n| a | b |\n";

    fn arrows(pairs: &[(&str, &[&str])]) -> Arrows {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        pairs.iter().map(|(room, uses)| ((*room).to_owned(), owned(uses))).collect()
    }

    #[test]
    fn the_table_is_read_up_to_its_end_and_no_further() {
        let table = parse_table(TABLE).unwrap();
        assert_eq!(table, arrows(&[("types", &[]), ("raft", &["types"]), ("node", &["types", "raft"])]));
    }

    #[test]
    fn a_text_without_the_table_or_with_a_room_twice_is_refused() {
        assert!(parse_table("# x").unwrap_err().to_string().contains("no heading"));
        assert!(parse_table("## The arrow table\n\nnothing").unwrap_err().to_string().contains("no table"));
        let twice = TABLE.replace("`raft` | `types`", "`types` | -");
        assert!(parse_table(&twice).unwrap_err().to_string().contains("two rows for `types`"));
    }

    #[test]
    fn equal_arrows_give_no_complaint() {
        let both = parse_table(TABLE).unwrap();
        assert_eq!(complaints(&both, &both), Vec::<String>::new());
    }

    #[test]
    fn an_arrow_nobody_allowed_is_named() {
        let table = parse_table(TABLE).unwrap();
        let manifests = arrows(&[("types", &["raft"]), ("raft", &["types"]), ("node", &["types", "raft"])]);
        let found = complaints(&table, &manifests);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("`types` uses `raft`, which the arrow table does not allow"));
    }

    #[test]
    fn an_arrow_that_only_the_table_has_is_named() {
        let table = parse_table(TABLE).unwrap();
        let manifests = arrows(&[("types", &[]), ("raft", &["types"]), ("node", &["types"])]);
        let found = complaints(&table, &manifests);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("the arrow table says that `node` uses `raft`, but its manifest does not")
        );
    }

    #[test]
    fn a_crate_without_a_row_and_a_row_without_a_crate_are_named() {
        let table = parse_table(TABLE).unwrap();
        let manifests = arrows(&[("types", &[]), ("raft", &["types"]), ("store", &[])]);
        let found = complaints(&table, &manifests).join("\n");
        assert!(found.contains("room `store` has no row"));
        assert!(found.contains("a row for `node`, but no such crate exists"));
    }
}
