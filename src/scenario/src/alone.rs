//! Which planted bugs only one oracle finds.
//!
//! An oracle that sees nothing which the others do not see could as well be left out. So each planted bug is played over several
//! seeds, every oracle of the scenario judges each run to its end, and then the question is put for each oracle: without it, would
//! any of these runs have been a violation? Where none would, the bug is one that *only it finds*.
//!
//! What this does not say: that no other oracle ever could, in other runs. And where two oracles see one thing by their nature,
//! neither of them finds anything alone.

use crate::table::layout;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// So many planted bugs must be found by each oracle alone.
pub const ALONE_MIN: usize = 2;

/// What all oracles said of the runs of one planted bug.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The bug's id.
    pub bug: String,
    /// Runs played.
    pub runs: u64,
    /// For each run in which somebody saw a violation: who, the most telling first.
    pub violated: Vec<Vec<String>>,
}

impl Seen {
    /// In how many runs each oracle saw a violation.
    #[must_use]
    pub fn by(&self) -> BTreeMap<&str, usize> {
        let mut by = BTreeMap::new();
        for oracle in self.violated.iter().flatten() {
            *by.entry(oracle.as_str()).or_default() += 1;
        }
        by
    }

    /// The oracle without which none of these runs would be a violation, though some are with it.
    #[must_use]
    pub fn only_by(&self) -> Option<&str> {
        let first = self.violated.first()?.first()?;
        let is_alone = |run: &Vec<String>| run.len() == 1 && run[0] == *first;
        self.violated.iter().all(is_alone).then_some(first.as_str())
    }

    /// In how many runs this oracle was the only one.
    #[must_use]
    pub fn times_alone(&self, oracle: &str) -> usize {
        self.violated.iter().filter(|run| run.len() == 1 && run[0] == oracle).count()
    }
}

/// Oracles by which fewer than [`ALONE_MIN`] bugs are found alone, of those named.
#[must_use]
pub fn unproven<'a>(oracles: &[&'a str], seen: &[Seen]) -> Vec<&'a str> {
    let count = |oracle: &str| seen.iter().filter(|seen| seen.only_by() == Some(oracle)).count();
    oracles.iter().copied().filter(|oracle| count(oracle) < ALONE_MIN).collect()
}

/// One line for each oracle, in Markdown: which bugs only it finds, and which it was the only one to see in some of their runs.
#[must_use]
pub fn oracles_table(oracles: &[&str], seen: &[Seen]) -> String {
    let mut out =
        String::from("| oracle | only it finds | alone in some runs | sees as well |\n|---|---|---|---|\n");
    for oracle in oracles {
        let (mut only, mut some, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for one in seen {
            let alone = one.times_alone(oracle);
            let of = one.violated.len();
            match one.by().get(oracle) {
                _ if one.only_by() == Some(oracle) => only.push(one.bug.clone()),
                Some(_) if alone > 0 => some.push(format!("{} ({alone} of {of})", one.bug)),
                Some(_) => others.push(one.bug.clone()),
                None => {}
            }
        }
        let list = |list: Vec<String>| if list.is_empty() { "-".to_owned() } else { list.join(", ") };
        out += &format!("| `{oracle}` | {} | {} | {} |\n", list(only), list(some), list(others));
    }
    out
}

/// One line for each bug, in Markdown: in how many of its runs which oracle saw a violation.
#[must_use]
pub fn bugs_table(seen: &[Seen]) -> String {
    let mut out =
        String::from("| bug | found in | only by | seen by, in so many runs |\n|---|---|---|---|\n");
    for one in seen {
        let mut by: Vec<(&str, usize)> = one.by().into_iter().collect();
        by.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let by: Vec<String> = by.iter().map(|(oracle, times)| format!("`{oracle}` {times}")).collect();
        let only = one.only_by().map_or("-".to_owned(), |oracle| format!("`{oracle}`"));
        out += &format!(
            "| {} | {} of {} | {only} | {} |\n",
            one.bug,
            one.violated.len(),
            one.runs,
            by.join(", ")
        );
    }
    out
}

/// For a terminal: one line for each oracle.
#[must_use]
pub fn summary(oracles: &[&str], seen: &[Seen]) -> String {
    let mut rows = vec![["oracle", "alone", "bugs"].map(str::to_owned).to_vec()];
    for oracle in oracles {
        let only: BTreeSet<&str> =
            seen.iter().filter(|one| one.only_by() == Some(oracle)).map(|one| one.bug.as_str()).collect();
        let bugs: Vec<&str> = only.iter().copied().collect();
        rows.push(vec![(*oracle).to_owned(), only.len().to_string(), bugs.join(" ")]);
    }
    layout(&rows)
}

#[cfg(feature = "mutants")]
mod measure {
    use super::Seen;
    use crate::batch::{Stage, run_one};
    use crate::format::spec::{Scenario, VerdictKind};
    use crate::mutants::{choose, likely};
    use crate::plan::Plan;
    use seatrial_types::planted::{Planted, plant};
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    /// How many runs a bug is given.
    #[derive(Clone, Copy, Debug)]
    pub struct Measure {
        /// So many at least.
        pub runs_min: u64,
        /// And on until so many of them were violations.
        pub found_min: usize,
        /// But no new ones after this time, by the caller's clock.
        pub time_max: Duration,
        /// Runs at one time.
        pub jobs: usize,
        /// The first seed.
        pub from: u64,
    }

    /// Plants one bug, plays the scenarios of its hunt, seeds in turn, and takes down what all oracles say of each run. The
    /// bug is pulled out again before it returns. How many jobs there are changes nothing in the answer, unless the time is over.
    pub fn look_at(
        stage: &dyn Stage,
        bug: Planted,
        scenarios: &[Scenario],
        measure: Measure,
        clock: &(dyn Fn() -> Duration + Sync),
    ) -> Seen {
        let likely = likely(bug, scenarios);
        let began = clock();
        plant(&[bug]);
        let next = AtomicU64::new(0);
        let runs: Mutex<BTreeMap<u64, Vec<String>>> = Mutex::default();
        let work = || {
            while !likely.is_empty() {
                let number = next.fetch_add(1, Ordering::SeqCst);
                let found = {
                    let runs = runs.lock().expect("no panic while held");
                    runs.values().filter(|violated| !violated.is_empty()).count()
                };
                let is_enough = number >= measure.runs_min && found >= measure.found_min;
                if is_enough || clock() - began >= measure.time_max {
                    return;
                }
                let scenario = choose(&likely, number);
                let (summary, ..) = run_one(stage, &Plan::draw(scenario, measure.from + number));
                let violated =
                    if summary.verdict == VerdictKind::Violation { summary.violated } else { Vec::new() };
                runs.lock().expect("no panic while held").insert(number, violated);
            }
        };
        #[allow(clippy::disallowed_methods, reason = "runs are spread over threads outside of any world")]
        std::thread::scope(|scope| {
            for _ in 0..measure.jobs.max(1) {
                scope.spawn(work);
            }
        });
        plant(&[]);
        // What was begun beyond the last one that was needed is not looked at.
        let mut seen = Seen { bug: bug.to_string(), runs: 0, violated: Vec::new() };
        for (number, violated) in runs.into_inner().expect("no panic while held") {
            if number >= measure.runs_min && seen.violated.len() >= measure.found_min {
                break;
            }
            seen.runs += 1;
            if !violated.is_empty() {
                seen.violated.push(violated);
            }
        }
        seen
    }
}

#[cfg(feature = "mutants")]
pub use measure::{Measure, look_at};

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(bug: &str, violated: &[&[&str]]) -> Seen {
        let violated: Vec<Vec<String>> =
            violated.iter().map(|run| run.iter().map(|name| (*name).to_owned()).collect()).collect();
        Seen { bug: bug.to_owned(), runs: 9, violated }
    }

    #[test]
    fn only_it_finds_what_no_run_would_show_without_it() {
        assert_eq!(seen("R01", &[&["lease"], &["lease"]]).only_by(), Some("lease"));
        assert_eq!(seen("R01", &[&["lease"], &["watch"]]).only_by(), None, "found without either");
        let both = seen("R01", &[&["lease"], &["watch", "lease"], &["lease"]]);
        assert_eq!(both.only_by(), None, "one run would have been enough");
        assert_eq!((both.times_alone("lease"), both.times_alone("watch")), (2, 0));
        assert_eq!(seen("R01", &[]).only_by(), None, "never found");
    }

    #[test]
    fn an_oracle_is_proven_by_two_bugs_of_its_own() {
        let bugs = [
            seen("R01", &[&["lease"]]),
            seen("R02", &[&["watch"]]),
            seen("R03", &[&["lease"], &["lease"]]),
            seen("R04", &[&["watch", "lease"]]),
        ];
        assert_eq!(unproven(&["lease", "watch"], &bugs), ["watch"]);
        let table = oracles_table(&["lease", "watch"], &bugs);
        assert!(table.contains("| `lease` | R01, R03 | - | R04 |"), "{table}");
        assert!(table.contains("| `watch` | R02 | - | R04 |"), "{table}");
        assert!(
            summary(&["lease"], &bugs).contains("lease       2  R01 R03"),
            "{}",
            summary(&["lease"], &bugs)
        );
        let told = bugs_table(&bugs);
        assert!(told.contains("| R01 | 1 of 9 | `lease` | `lease` 1 |"), "{told}");
        assert!(told.contains("| R04 | 1 of 9 | - | `lease` 1, `watch` 1 |"), "{told}");
    }
}
