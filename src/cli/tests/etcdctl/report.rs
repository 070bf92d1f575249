//! What was compared, as a table by command, and what differs without a reason.

use crate::script::{Call, Excuse, Session, Step};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// One command with what came of it: the real client with the real server, with ours, and our client with ours.
pub(crate) struct Compared<'a> {
    pub(crate) session: &'a Session,
    pub(crate) step: &'a Step,
    pub(crate) call: &'a Call,
    pub(crate) outcomes: [String; 3],
}

#[derive(Default)]
pub(crate) struct Report {
    versions: BTreeSet<String>,
    /// By command and version.
    rows: BTreeMap<String, BTreeMap<String, Row>>,
    differences: Vec<String>,
}

/// For the server and for the client.
#[derive(Default)]
struct Row {
    compared: usize,
    different: [BTreeMap<String, usize>; 2],
}

impl Report {
    pub(crate) fn add(&mut self, version: &str, compared: Compared<'_>) {
        self.versions.insert(version.to_owned());
        let Compared { session, step, call, outcomes: [real, server, ours] } = compared;
        let row = self.rows.entry(call.command()).or_default().entry(version.to_owned()).or_default();
        row.compared += 1;
        for (at, who, wanted, found) in [(0, "server", &real, &server), (1, "client", &server, &ours)] {
            // Ours is the client of one version.
            if wanted == found || who == "client" && !version.starts_with("3.4.") {
                continue;
            }
            match excuse(step, who, version) {
                Some(excuse) => *row.different[at].entry(excuse.reason.clone()).or_default() += 1,
                None => {
                    *row.different[at].entry("not explained".to_owned()).or_default() += 1;
                    self.differences.push(format!(
                        "{} {version}, {who}: {}\n--- etcd's\n{wanted}\n--- ours\n{found}\n",
                        session.name, step.line
                    ));
                }
            }
        }
    }

    /// # Panics
    /// With all differences that have no reason.
    pub(crate) fn expect_equal(&self) {
        let count: usize = self.rows.values().flat_map(|row| row.values()).map(|row| row.compared).sum();
        eprintln!("{count} commands compared");
        assert!(
            self.differences.is_empty(),
            "{} differences:\n{}",
            self.differences.len(),
            self.differences.join("\n")
        );
    }

    pub(crate) fn table(&self) -> String {
        let versions: Vec<&String> = self.versions.iter().collect();
        let mut out = String::from("| command |");
        for version in &versions {
            let _ = write!(out, " calls {version} | our server | our client |");
        }
        out += " reasons |\n|---|";
        out += &"---|---|---|".repeat(versions.len());
        out += "---|\n";
        for (command, row) in &self.rows {
            let _ = write!(out, "| `{command}` |");
            let mut reasons = BTreeSet::new();
            for version in &versions {
                let Some(row) = row.get(*version) else {
                    out += " - | - | - |";
                    continue;
                };
                let same = |different: &BTreeMap<String, usize>| match different.values().sum::<usize>() {
                    0 => "same".to_owned(),
                    count => format!("{count} differ"),
                };
                let client =
                    if version.starts_with("3.4.") { same(&row.different[1]) } else { "-".to_owned() };
                let _ = write!(out, " {} | {} | {client} |", row.compared, same(&row.different[0]));
                reasons.extend(row.different.iter().flat_map(|different| different.keys().cloned()));
            }
            let _ = writeln!(out, " {} |", Vec::from_iter(reasons).join("; "));
        }
        out
    }
}

fn excuse<'a>(step: &'a Step, who: &str, version: &str) -> Option<&'a Excuse> {
    let of = |excuse: &&Excuse| excuse.who == who && version.starts_with(&excuse.version);
    step.excuses.iter().find(of)
}
