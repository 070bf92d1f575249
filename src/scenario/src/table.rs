//! Tables for a terminal, as text.

use crate::batch::{BatchOutcome, RunSummary, ScenarioSummary};
use crate::format::spec::VerdictKind;

/// One line for each scenario, with totals; then a block for each that did not pass, with the one command
/// that replays it.
#[must_use]
pub fn scenarios(outcome: &BatchOutcome) -> String {
    let mut rows =
        vec![row(["scenario", "verdict", "runs", "oracle", "seed", "sim s", "cpu s", "sim s / cpu s"])];
    for scenario in &outcome.scenarios {
        rows.push(row([
            &scenario.scenario,
            &verdict(scenario),
            &format!("{}/{}", scenario.passed, scenario.runs),
            scenario.oracle.as_deref().unwrap_or("-"),
            &scenario.seed.map_or("-".to_owned(), |seed| seed.to_string()),
            &format!("{:.0}", scenario.simulated_seconds),
            &format!("{:.2}", scenario.cpu_seconds),
            &speed(scenario.simulated_seconds, scenario.cpu_seconds),
        ]));
    }
    let (simulated, cpu) = outcome
        .scenarios
        .iter()
        .fold((0.0, 0.0), |(s, c), scenario| (s + scenario.simulated_seconds, c + scenario.cpu_seconds));
    let runs: usize = outcome.scenarios.iter().map(|scenario| scenario.runs).sum();
    let passed: usize = outcome.scenarios.iter().map(|scenario| scenario.passed).sum();
    rows.push(row([
        "total",
        "",
        &format!("{passed}/{runs}"),
        "",
        "",
        &format!("{simulated:.0}"),
        &format!("{cpu:.2}"),
        &speed(simulated, cpu),
    ]));
    let mut text = layout(&rows);
    for scenario in outcome.scenarios.iter().filter(|scenario| scenario.verdict != VerdictKind::Pass) {
        text += &format!("\n{}: {}\n", scenario.scenario, scenario.sentence);
        let folder = outcome
            .runs
            .iter()
            .find(|run| run.scenario == scenario.scenario && Some(run.seed) == scenario.seed)
            .and_then(|run| run.folder.as_ref());
        if let Some(folder) = folder {
            text += &format!(
                "  report: {}/report.html\n  replay: seatrial replay {}/plan.json\n",
                folder.display(),
                folder.display()
            );
        }
    }
    if let Some(report) = &outcome.report {
        text += &format!("\nreport: {}\n", report.display());
    }
    for error in &outcome.write_errors {
        text += &format!("error: {error}\n");
    }
    text
}

/// One line for one run.
#[must_use]
pub fn run_line(run: &RunSummary) -> String {
    format!(
        "{} seed {}: {}{} trace {} ({:.1} simulated s, {:.2} CPU s)",
        run.scenario,
        run.seed,
        run.verdict,
        run.oracle.as_ref().map_or(String::new(), |oracle| format!(" ({oracle})")),
        run.trace_hash,
        run.simulated_seconds,
        run.cpu_seconds
    )
}

fn verdict(scenario: &ScenarioSummary) -> String {
    match (scenario.verdict, scenario.expected) {
        (VerdictKind::Violation, true) => "violation (expected)".to_owned(),
        (VerdictKind::Pass, false) => "pass (unexpected)".to_owned(),
        (verdict, _) => verdict.to_string(),
    }
}

fn speed(simulated: f64, cpu: f64) -> String {
    if cpu > 0.0 { format!("{:.0}", simulated / cpu) } else { "-".to_owned() }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// Columns as wide as their widest cell; numbers to the right.
pub fn layout(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|at| {
            rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let fill = " ".repeat(width - cell.chars().count());
            let is_number = cell.starts_with(|c: char| c.is_ascii_digit());
            line += &if is_number { format!("{fill}{cell}  ") } else { format!("{cell}{fill}  ") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_stand_to_the_right() {
        let rows = vec![row(["name", "n"]), row(["a", "7"]), row(["bcd", "12"])];
        assert_eq!(layout(&rows), "name  n\na      7\nbcd   12\n");
    }
}
