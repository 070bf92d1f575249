//! What each technique of the search is worth: hunts for planted bugs with all of them, and without each.

use crate::mutants::Found;
use crate::techniques::Technique;

/// A way to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As `seatrial run` and `seatrial mutants` search.
    All,
    /// The same without one technique.
    Without(Technique),
    /// The same, with so many variations among 100 runs.
    Varied(u32),
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Without(technique) => write!(f, "without {technique}"),
            Self::Varied(percent) => write!(f, "{percent} % varied"),
        }
    }
}

/// Hunts for one bug, each way as often.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The bug's id.
    pub bug: String,
    /// By the way, in the order of the columns.
    pub ways: Vec<(Way, Vec<Found>)>,
}

fn quantile<T: Copy>(sorted: &[T], percent: usize) -> T {
    sorted[(sorted.len() * percent).div_ceil(100).clamp(1, sorted.len()) - 1]
}

/// Runs of these hunts in order; one that found nothing, or something else, counts with all it had.
fn runs(hunts: &[Found]) -> Vec<u64> {
    let mut runs: Vec<u64> = hunts.iter().map(|one| one.runs).collect();
    runs.sort_unstable();
    runs
}

fn mean(numbers: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = numbers.len().max(1);
    numbers.sum::<f64>() / count as f64
}

fn mean_runs(hunts: &[Found]) -> f64 {
    mean(hunts.iter().map(|one| one.runs as f64))
}

fn cell(hunts: &[Found]) -> String {
    let (runs, found) = (runs(hunts), hunts.iter().filter(|one| one.is_found()).count());
    let missed =
        if found == hunts.len() { String::new() } else { format!(", {} not found", hunts.len() - found) };
    format!(
        "{} / {} / {}, {:.1} s{missed}",
        quantile(&runs, 50),
        quantile(&runs, 90),
        quantile(&runs, 100),
        mean(hunts.iter().map(|one| one.cpu_seconds))
    )
}

/// One line for each bug, one column for each way, in Markdown: runs until it is found (the median, nine of ten, the
/// worst), and CPU seconds in the mean. The last line holds the mean runs of each way against the first's, as the
/// geometric mean over all bugs.
///
/// # Panics
/// Where the bugs were not hunted in the same ways, or not at all.
#[must_use]
pub fn yields(all: &[Compared]) -> String {
    let ways: Vec<Way> = all[0].ways.iter().map(|(way, _)| *way).collect();
    let head: Vec<String> = ways.iter().map(ToString::to_string).collect();
    let mut out = format!("| bug | {} |\n|---|{}\n", head.join(" | "), "---|".repeat(ways.len()));
    let mut logs = vec![0.0; ways.len()];
    for one in all {
        assert!(one.ways.iter().map(|(way, _)| *way).eq(ways.iter().copied()), "{}: other ways", one.bug);
        let cells: Vec<String> = one.ways.iter().map(|(_, hunts)| cell(hunts)).collect();
        out += &format!("| {} | {} |\n", one.bug, cells.join(" | "));
        for (log, (_, hunts)) in logs.iter_mut().zip(&one.ways) {
            *log += (mean_runs(hunts) / mean_runs(&one.ways[0].1)).ln();
        }
    }
    let factors: Vec<String> =
        logs.iter().map(|log| format!("×{:.2}", (log / all.len() as f64).exp())).collect();
    out += &format!("| runs, against all | {} |\n", factors.join(" | "));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hunt(runs: u64, is_found: bool) -> Found {
        Found {
            bug: "R01".to_owned(),
            text: String::new(),
            run: None,
            oracle: is_found.then(|| "lease".to_owned()),
            runs,
            seconds: 0.0,
            cpu_seconds: runs as f64 / 2.0,
        }
    }

    #[test]
    fn the_table_has_the_median_the_worst_and_what_was_not_found() {
        let all: Vec<Found> = (1..=10).map(|runs| hunt(runs, true)).collect();
        let mut slow: Vec<Found> = (1..=10).map(|runs| hunt(runs * 2, true)).collect();
        slow[9].oracle = None;
        let ways =
            vec![(Way::All, all), (Way::Without(Technique::Swarm), slow.clone()), (Way::Varied(50), slow)];
        let table = yields(&[Compared { bug: "R01".to_owned(), ways }]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "| bug | all | without swarm | 50 % varied |");
        let slow = "10 / 18 / 20, 5.5 s, 1 not found";
        assert_eq!(lines[2], format!("| R01 | 5 / 9 / 10, 2.8 s | {slow} | {slow} |"));
        assert_eq!(lines[3], "| runs, against all | ×1.00 | ×2.00 | ×2.00 |");
    }
}
