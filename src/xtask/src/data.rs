//! Data files: every scenario is TOML with a title and a reason, and no two have the same title.
//!
//! Whether a scenario *means* something is the scenario room's own question; this check stands outside so
//! that a file which no test happens to load is looked at too.

use crate::tree::Tree;
use std::collections::BTreeMap;

/// What is wrong with the scenarios of the tree.
#[must_use]
pub fn complaints(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut titles: BTreeMap<String, &str> = BTreeMap::new();
    let scenarios =
        tree.files.iter().filter(|file| file.path.starts_with("scenarios/") && file.path.ends_with(".toml"));
    for file in scenarios {
        let path = file.path.as_str();
        let table: toml::Table = match file.text.parse() {
            Ok(table) => table,
            Err(error) => {
                complaints
                    .push(format!("{path} is not TOML: {}", error.to_string().trim().replace('\n', " | ")));
                continue;
            }
        };
        for (key, hint) in
            [("title", "name it in a few words"), ("why", "say which property it puts at risk")]
        {
            let text = table.get(key).and_then(toml::Value::as_str).unwrap_or_default();
            if text.trim().is_empty() {
                complaints.push(format!("{path} has no `{key}`; {hint}"));
            }
        }
        if let Some(title) = table.get("title").and_then(toml::Value::as_str)
            && let Some(other) = titles.insert(title.to_owned(), path)
        {
            complaints.push(format!(
                "{path} and {other} have the same title {title:?}; a report could not tell them apart"
            ));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::File;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), text: (*text).to_owned() };
        complaints(&Tree { files: files.iter().map(file).collect() })
    }

    #[test]
    fn a_scenario_with_title_and_reason_passes() {
        assert_eq!(found(&[("scenarios/fast/a.toml", "title = 'a'\nwhy = 'b'")]), Vec::<String>::new());
    }

    #[test]
    fn broken_toml_is_named_with_its_place() {
        let found = found(&[("scenarios/fast/a.toml", "title = 'a'\nwhy = = 'b'")]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("scenarios/fast/a.toml is not TOML") && found[0].contains("line 2"));
    }

    #[test]
    fn a_missing_or_empty_title_or_reason_is_named() {
        let found = found(&[("scenarios/fast/a.toml", "title = ' '\n")]);
        assert_eq!(found.len(), 2);
        assert!(found[0].contains("no `title`") && found[1].contains("no `why`"));
    }

    #[test]
    fn two_scenarios_with_one_title_are_named() {
        let text = "title = 'a'\nwhy = 'b'";
        let found = found(&[("scenarios/fast/a.toml", text), ("scenarios/rare/b.toml", text)]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("same title"));
    }
}
