//! Results as text for people and as JSON for machines.

use crate::case::Case;
use crate::load::Measured;
use crate::trials::{Failover, Weight};
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

/// A measurement that could not be made.
#[derive(Clone, Debug, Serialize)]
pub struct Failed {
    /// Whose.
    pub server: String,
    /// Of what.
    pub what: String,
    /// Why.
    pub error: String,
}

/// Everything a comparison found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Comparison {
    /// What was compared and on what, a line each.
    pub setup: Vec<String>,
    /// Every measurement.
    pub rows: Vec<Row>,
    /// Ours over theirs.
    pub ratios: Vec<Ratio>,
    /// Full stores.
    pub weights: Vec<Weight>,
    /// Killed leaders.
    pub failovers: Vec<Failover>,
    /// What could not be measured.
    pub failed: Vec<Failed>,
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

impl Comparison {
    /// As Markdown, for a file.
    #[must_use]
    pub fn markdown(&self, ours: &str, theirs: &str) -> String {
        let mut text = format!("# {ours} beside {theirs}\n\n");
        for line in &self.setup {
            let _ = writeln!(text, "- {line}");
        }
        let _ = writeln!(
            text,
            "\nA cell: operations/s · p50/p99 ms · server CPU µs per operation, all members · bytes written per \
             operation, all members; medians of the rounds. The ratios are {ours} over {theirs}: more operations and less \
             of everything else is better.\n\n\
             | case | {theirs} | {ours} | operations | p50 | p99 | CPU | written |\n|---|---|---|---|---|---|---|---|"
        );
        for ratio in &self.ratios {
            let times = |value: Option<f64>| known(value, 2);
            let _ = writeln!(
                text,
                "| {} | {} | {} | {:.2} | {:.2} | {:.2} | {} | {} |",
                ratio.case,
                cell(&self.rows, theirs, ratio.case),
                cell(&self.rows, ours, ratio.case),
                ratio.per_second,
                ratio.latency_p50,
                ratio.latency_p99,
                times(ratio.server_cpu),
                times(ratio.server_written),
            );
        }
        self.write_weights(&mut text);
        self.write_failovers(&mut text);
        if !self.failed.is_empty() {
            text.push_str("\nNot measured:\n\n");
            for failed in &self.failed {
                let _ = writeln!(
                    text,
                    "- {} of {}: {}",
                    failed.what,
                    failed.server,
                    failed.error.replace('\n', "; ")
                );
            }
        }
        text
    }

    fn write_weights(&self, text: &mut String) {
        for (place, weight) in self.weights.iter().enumerate() {
            if place == 0 {
                let _ = writeln!(
                    text,
                    "\n{} keys of {} bytes; all members killed and started again:\n\n\
                     | server | filled, keys/s | memory MiB | disk MiB | start to first write s | memory then MiB |\n\
                     |---|---|---|---|---|---|",
                    weight.keys, weight.value_bytes
                );
            }
            let list = |values: &[f64]| {
                values.iter().map(|value| format!("{value:.0}")).collect::<Vec<_>>().join(", ")
            };
            let _ = writeln!(
                text,
                "| {} | {:.0} | {} | {} | {:.2} | {} |",
                weight.server,
                weight.fill_keys_per_second,
                list(&weight.memory_mib),
                list(&weight.disk_mib),
                weight.restart_to_write_s,
                list(&weight.memory_restarted_mib),
            );
        }
        if !self.weights.is_empty() {
            text.push_str("\nAsked of the full stores, once:\n\n| case | server | |\n|---|---|---|\n");
        }
        for weight in &self.weights {
            for full in &weight.full {
                let row = Row { server: weight.server.clone(), round: 1, measured: full.clone() };
                let cell = cell(&[row], &weight.server, full.case);
                let _ = writeln!(text, "| {} | {} | {cell} |", full.case, weight.server);
            }
        }
    }

    fn write_failovers(&self, text: &mut String) {
        for (place, failover) in self.failovers.iter().enumerate() {
            if place == 0 {
                text.push_str("\nThe leader killed (`kill -9`), to the next write:\n\n");
                text.push_str("| server | median ms | each |\n|---|---|---|\n");
            }
            let each: Vec<String> = failover.to_write_ms.iter().map(|ms| format!("{ms:.0}")).collect();
            let _ =
                writeln!(text, "| {} | {:.0} | {} |", failover.server, failover.median_ms(), each.join(", "));
        }
    }
}

/// The medians of one server in one case.
fn cell(rows: &[Row], server: &str, case: Case) -> String {
    let of = |value: fn(&Measured) -> Option<f64>| {
        let chosen = rows.iter().filter(|row| row.server == server && row.measured.case == case);
        median(chosen.filter_map(|row| value(&row.measured)).collect())
    };
    format!(
        "{} · {}/{} · {} µs · {} B",
        known(of(|m| Some(m.per_second)), 0),
        known(of(|m| Some(m.latency_ms_p50)), 2),
        known(of(|m| Some(m.latency_ms_p99)), 2),
        known(of(|m| m.server_cpu_us), 1),
        known(of(|m| m.server_written_bytes), 0),
    )
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
    use crate::case::Kind;

    fn row(server: &str, round: usize, per_second: f64, cpu: Option<f64>) -> Row {
        let measured = Measured {
            case: Case { kind: Kind::Put, clients: 100, streams: 100 },
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
    fn the_file_says_what_was_measured_and_what_was_not() {
        let rows = vec![row("etcd", 1, 100.0, Some(40.0)), row("seatrial", 1, 300.0, Some(10.0))];
        let comparison = Comparison {
            setup: vec!["two cores".into()],
            ratios: compare(&rows, "seatrial", "etcd"),
            rows,
            failovers: vec![Failover { server: "etcd".into(), to_write_ms: vec![1300.0, 1500.0, 1200.0] }],
            failed: vec![Failed { server: "etcd".into(), what: "txn:1".into(), error: "two\nlines".into() }],
            ..Comparison::default()
        };
        let text = comparison.markdown("seatrial", "etcd");
        for line in [
            "- two cores",
            "| put:100 | 100 · 2.00/4.00 · 40.0 µs · - B | 300 · 2.00/4.00 · 10.0 µs · - B | 3.00 | 1.00 | 1.00 | 0.25 | - |",
            "| etcd | 1300 | 1300, 1500, 1200 |",
            "- txn:1 of etcd: two; lines",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn tables_line_up_and_say_what_is_not_known() {
        let text = rows(&[row("etcd", 1, 100.0, None)]);
        let widths: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(widths[0], widths[1], "{text}");
        assert!(text.contains(" - "));
    }
}
