//! Results as text for people and as JSON for machines.

use crate::load::{Case, Measured};
use serde::Serialize;
use std::fmt::Write;

/// A measurement of one server.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Whose.
    pub server: String,
    /// Counts the rounds of a comparison from 1.
    pub round: usize,
    /// What came of it.
    #[serde(flatten)]
    pub measured: Measured,
}

/// One server beside another: the median over the rounds, divided.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// What was asked.
    pub case: Case,
    /// Ours over theirs: above 1, ours does more.
    pub per_second: f64,
    /// Ours over theirs: below 1, ours is faster.
    pub latency_p50: f64,
    /// Ours over theirs: below 1, ours is faster.
    pub latency_p99: f64,
    /// Ours over theirs: below 1, ours is cheaper.
    pub server_cpu: Option<f64>,
    /// Ours over theirs: below 1, ours writes less.
    pub server_written: Option<f64>,
}

/// A table of all rows.
#[must_use]
pub fn rows(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<10} {:<22} {:>5} {:>10} {:>9} {:>9} {:>12} {:>12} {:>12} {:>7}\n",
        "server",
        "case",
        "round",
        "ops/s",
        "p50 ms",
        "p99 ms",
        "server us/op",
        "written B/op",
        "client us/op",
        "errors"
    );
    for row in rows {
        let m = &row.measured;
        let _ = writeln!(
            text,
            "{:<10} {:<22} {:>5} {:>10.0} {:>9.2} {:>9.2} {:>12} {:>12} {:>12.1} {:>7}",
            row.server,
            m.case.to_string(),
            row.round,
            m.per_second,
            m.latency_ms_p50,
            m.latency_ms_p99,
            known(m.server_cpu_us, 1),
            known(m.server_written_bytes, 0),
            m.client_cpu_us,
            m.errors
        );
    }
    text
}

/// A table of the ratios.
#[must_use]
pub fn ratios(ratios: &[Ratio], ours: &str, theirs: &str) -> String {
    let mut text = format!(
        "{ours} / {theirs} (medians)\n{:<22} {:>8} {:>8} {:>8} {:>11} {:>10}\n",
        "case", "ops/s", "p50", "p99", "server us", "written B"
    );
    for ratio in ratios {
        let _ = writeln!(
            text,
            "{:<22} {:>8.2} {:>8.2} {:>8.2} {:>11} {:>10}",
            ratio.case.to_string(),
            ratio.per_second,
            ratio.latency_p50,
            ratio.latency_p99,
            known(ratio.server_cpu, 2),
            known(ratio.server_written, 2)
        );
    }
    text
}

/// Divides the medians of `ours` by those of `theirs`, case by case in the order of first appearance.
#[must_use]
pub fn compare(rows: &[Row], ours: &str, theirs: &str) -> Vec<Ratio> {
    let mut cases: Vec<Case> = Vec::new();
    for row in rows {
        if !cases.contains(&row.measured.case) {
            cases.push(row.measured.case);
        }
    }
    let ratio = |case: Case, value: fn(&Measured) -> Option<f64>| {
        let of = |server: &str| {
            let chosen = rows.iter().filter(|row| row.server == server && row.measured.case == case);
            median(chosen.filter_map(|row| value(&row.measured)).collect())
        };
        // Nothing was written or spent at all: no ratio.
        of(ours).zip(of(theirs)).filter(|(_, theirs)| *theirs > 0.0).map(|(ours, theirs)| ours / theirs)
    };
    cases
        .into_iter()
        .filter_map(|case| {
            Some(Ratio {
                case,
                per_second: ratio(case, |m| Some(m.per_second))?,
                latency_p50: ratio(case, |m| Some(m.latency_ms_p50))?,
                latency_p99: ratio(case, |m| Some(m.latency_ms_p99))?,
                server_cpu: ratio(case, |m| m.server_cpu_us),
                server_written: ratio(case, |m| m.server_written_bytes),
            })
        })
        .collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

fn known(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Kind;

    fn row(server: &str, round: usize, per_second: f64, cpu: Option<f64>) -> Row {
        let measured = Measured {
            case: Case { kind: Kind::Put, clients: 100 },
            operations: 10,
            errors: 0,
            seconds: 1.0,
            per_second,
            latency_ms_p50: 2.0,
            latency_ms_p99: 4.0,
            server_cpu_us: cpu,
            server_written_bytes: None,
            client_cpu_us: 5.0,
        };
        Row { server: server.to_owned(), round, measured }
    }

    #[test]
    fn ratios_are_of_medians_so_that_one_bad_round_counts_little() {
        let rows = [
            row("ours", 1, 300.0, Some(10.0)),
            row("theirs", 1, 100.0, Some(40.0)),
            row("ours", 2, 1.0, Some(10.0)),
            row("theirs", 2, 100.0, Some(40.0)),
            row("ours", 3, 300.0, Some(10.0)),
            row("theirs", 3, 100.0, Some(40.0)),
        ];
        let found = compare(&rows, "ours", "theirs");
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].per_second, found[0].server_cpu, found[0].server_written),
            (3.0, Some(0.25), None)
        );
    }

    #[test]
    fn a_case_that_only_one_server_ran_has_no_ratio() {
        assert_eq!(compare(&[row("ours", 1, 300.0, None)], "ours", "theirs"), Vec::new());
    }

    #[test]
    fn tables_line_up_and_say_what_is_not_known() {
        let text = rows(&[row("etcd", 1, 100.0, None)]);
        let widths: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(widths[0], widths[1], "{text}");
        assert!(text.contains(" - "));
    }
}
