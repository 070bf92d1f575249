//! Verdicts as text and as JSON.

use super::{Judged, Source};
use crate::exit;
use seatrial_history::examine::{Examined, Line, Told};
use seatrial_history::parse::Recording;
use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

/// Rows of each table without `--long`: a failure fits on a small screen.
const ROWS: usize = 5;

/// Characters of a cell without `--long`.
const CELL: usize = 64;

/// How many files ended how.
#[derive(Default)]
pub(super) struct Tally {
    fine: usize,
    failed: usize,
    unknown: usize,
    operations: usize,
    took: Duration,
}

impl Tally {
    pub(super) fn add(&mut self, recording: &Recording, judged: &Judged) {
        self.operations += recording.operations();
        self.took += judged.took;
        match judged.examined {
            Examined::Linearizable => self.fine += 1,
            Examined::NotLinearizable(_) => self.failed += 1,
            Examined::Unknown { .. } => self.unknown += 1,
        }
    }

    pub(super) fn exit_code(&self) -> u8 {
        match (self.failed, self.unknown) {
            (1.., _) => exit::VIOLATION,
            (0, 1..) => exit::INCONCLUSIVE,
            (0, 0) => exit::PASS,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} files: {} linearizable, {} not linearizable, {} unknown; {} operations in {}",
            self.fine + self.failed + self.unknown,
            self.fine,
            self.failed,
            self.unknown,
            self.operations,
            short(self.took)
        )
    }
}

fn short(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 1_000.0 { format!("{ms:.1} ms") } else { format!("{:.1} s", ms / 1e3) }
}

fn verdict(examined: &Examined) -> &'static str {
    match examined {
        Examined::Linearizable => "linearizable",
        Examined::NotLinearizable(_) => "not-linearizable",
        Examined::Unknown { .. } => "unknown",
    }
}

pub(super) fn json(source: &Source, recording: &Recording, judged: &Judged) -> String {
    let mut object = serde_json::json!({
        "file": source.shown,
        "verdict": verdict(&judged.examined),
        "format": recording.format.word(),
        "model": recording.model.word(),
        "operations": recording.operations(),
        "seconds": judged.took.as_secs_f64(),
        "notes": recording.notes,
    });
    match &judged.examined {
        Examined::Linearizable => {}
        Examined::NotLinearizable(told) => {
            object["failure"] = serde_json::to_value(told).expect("plain data with string keys");
        }
        Examined::Unknown { why } => object["why"] = serde_json::Value::from(why.as_str()),
    }
    object.to_string()
}

pub(super) fn text(
    source: &Source,
    recording: &Recording,
    judged: &Judged,
    width: usize,
    long: bool,
) -> String {
    let word = match judged.examined {
        Examined::NotLinearizable(_) => "NOT LINEARIZABLE",
        _ => verdict(&judged.examined),
    };
    let operations = recording.operations();
    let model = recording.model.word();
    let mut out = format!(
        "{word:<16}  {:<width$}  {operations:>6} operations  {model:<14} {:>9}\n",
        source.shown,
        short(judged.took)
    );
    match &judged.examined {
        Examined::Linearizable => {}
        Examined::NotLinearizable(told) => push_failure(&mut out, told, long),
        Examined::Unknown { why } => push(&mut out, format_args!("  {why}")),
    }
    for note in &recording.notes {
        push(&mut out, format_args!("  note: {note}"));
    }
    out
}

fn push(out: &mut String, line: fmt::Arguments<'_>) {
    writeln!(out, "{line}").expect("a String takes all that is written to it");
}

fn push_failure(out: &mut String, told: &Told, long: bool) {
    for (place, sentence) in told.sentences.iter().enumerate() {
        let key =
            told.key.as_ref().filter(|_| place == 0).map(|key| format!("key {key}: ")).unwrap_or_default();
        push(out, format_args!("  {key}{sentence}"));
    }
    if told.open.len() > 1 {
        push(out, format_args!("  open at that time:"));
        push_lines(out, &told.open, long);
    }
    if !told.states.is_empty() {
        let all = if told.states_are_all { "" } else { " (of a part of the history; fewer may be possible)" };
        push(out, format_args!("  what it can have met{all}, and why that cannot be:"));
        let rows = told.states.iter().map(|(state, why)| [cut(state, long), cut(why, long)]).collect();
        push_rows(out, rows, "    ", long);
    }
    if told.small.len() > 1 {
        push(out, format_args!("  {} of {} operations are enough to fail:", told.small.len(), told.of));
        push_lines(out, &told.small, long);
    }
}

/// The end of the list matters most: there stands what cannot be.
fn push_lines(out: &mut String, lines: &[Line], long: bool) {
    let skip = if long { 0 } else { lines.len().saturating_sub(ROWS) };
    if skip > 0 {
        push(out, format_args!("      … {skip} more (--long shows them)"));
    }
    let cells: Vec<[String; 3]> = lines[skip..]
        .iter()
        .map(|line| {
            let mark = if line.is_culprit { "> " } else { "  " };
            [format!("{mark}{}", line.who), cut(&line.what, long), line.when.clone()]
        })
        .collect();
    push_rows(out, cells, "    ", true);
}

fn push_rows<const N: usize>(out: &mut String, rows: Vec<[String; N]>, indent: &str, long: bool) {
    let mut widths = [0; N];
    let shown = if long { rows.len() } else { rows.len().min(ROWS) };
    for row in &rows[..shown] {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in &rows[..shown] {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        push(out, format_args!("{indent}{}", cells.join("  ").trim_end()));
    }
    if shown < rows.len() {
        push(out, format_args!("{indent}… {} more (--long shows them)", rows.len() - shown));
    }
}

fn cut(text: &str, long: bool) -> String {
    if long || text.chars().count() <= CELL {
        return text.to_owned();
    }
    text.chars().take(CELL - 1).chain(['…']).collect()
}
