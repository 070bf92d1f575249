//! The tables: what members said, what clients asked, who led, what the nemeses did.
//!
//! Rows carry their times (`data-t`, microseconds), so that the script can let them follow the picture; the picture takes
//! the words of operations from here.

use crate::cuts::{Cuts, Limits, choose, focus, how};
use crate::escape::{escape, escape_content, shorten};
use crate::record::{ClientOperation, Ending, Role, RunRecord};
use crate::timeline::{moment, shown_operations};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// A table that folds away.
struct Table<'a> {
    id: &'a str,
    title: &'a str,
    count: usize,
    columns: &'a [&'a str],
    /// Where it stands among the others is told by what it is for.
    is_open: bool,
}

impl Table<'_> {
    fn begin(&self, out: &mut String) {
        let Table { id, title, count, columns, is_open } = self;
        let open = if *is_open { " open" } else { "" };
        let _ = write!(
            out,
            "<details class=\"table\"{open}>\n<summary>{title} <span class=\"dim\">({count}<span id=\"{id}-shown\"></span>)</span></summary>\n\
             <div class=\"bar js-only\"><label><input type=\"checkbox\" class=\"follow\" data-table=\"{id}\" checked> only the time in the picture</label>\
             <input type=\"search\" data-table=\"{id}\" placeholder=\"Only rows with …\" aria-label=\"Only rows with these words: {title}\"></div>\n\
             <div class=\"scroll tall\"><table id=\"{id}\" class=\"rows\">\n<thead><tr>"
        );
        for column in *columns {
            let _ = write!(out, "<th>{column}</th>");
        }
        out.push_str("</tr></thead>\n<tbody>\n");
    }

    /// The line between what was before and what came after.
    fn bad(&self, out: &mut String, at: u64) {
        let _ = writeln!(
            out,
            "<tr class=\"bad-row\"><td colspan=\"{}\">✗ {} first bad event</td></tr>",
            self.columns.len(),
            moment(at)
        );
    }

    fn end(out: &mut String) {
        out.push_str("</tbody>\n</table></div>\n</details>\n");
    }
}

/// From and to in microseconds, for the script.
fn times(from: u64, to: u64) -> String {
    format!("data-t=\"{} {}\"", from / 1_000, to / 1_000)
}

/// Writes the rows in order of time, with the first bad event among them.
fn write_rows<T>(
    out: &mut String,
    table: &Table<'_>,
    record: &RunRecord,
    rows: impl Iterator<Item = (u64, T)>,
    mut write: impl FnMut(&mut String, T),
) {
    let mut bad = record.first_bad.as_ref().map(|bad| bad.at);
    table.begin(out);
    for (at, row) in rows {
        if let Some(moment) = bad.filter(|moment| *moment < at) {
            table.bad(out, moment);
            bad = None;
        }
        write(out, row);
    }
    if let Some(moment) = bad {
        table.bad(out, moment);
    }
    Table::end(out);
}

/// What a client heard, with a sign for how it ended.
pub(super) fn answer(operation: &ClientOperation, limits: Limits) -> String {
    let sign = match operation.ending {
        Ending::Ok => "✓",
        Ending::Failed => "✕",
        Ending::Unknown => "?",
    };
    let answer = if operation.answer.is_empty() { operation.ending.word() } else { &operation.answer };
    format!("<span aria-hidden=\"true\">{sign}</span> {}", escape_content(&shorten(answer, limits.text)))
}

pub(super) fn logs(out: &mut String, record: &RunRecord, limits: Limits, cuts: &mut Cuts) {
    let logs = &record.logs;
    if logs.is_empty() {
        return;
    }
    let focus = focus(record);
    let mut chosen =
        choose(logs.len(), limits.logs, focus, |place| logs[place].at, |place| logs[place].level == "error");
    cuts.note(chosen.len(), logs.len(), "log lines", how(focus));
    chosen.sort_by_key(|&place| (logs[place].at, place));
    let table = Table {
        id: "logs",
        title: "What the members said",
        count: logs.len(),
        columns: &["at", "member", "level", "message"],
        is_open: true,
    };
    write_rows(
        out,
        &table,
        record,
        chosen.into_iter().map(|place| (logs[place].at, &logs[place])),
        |out, line| {
            let class = match line.level.to_ascii_lowercase().as_str() {
                "error" => " class=\"error\"",
                "warn" => " class=\"warn\"",
                _ => "",
            };
            let member = shorten(&line.member, 40);
            let _ = writeln!(
                out,
                "<tr{class} data-m=\"{}\" {}><td class=\"at\">{}</td><td>{}</td><td class=\"level\">{}</td><td class=\"mono\">{}</td></tr>",
                escape(&member),
                times(line.at, line.at),
                moment(line.at),
                escape_content(&member),
                escape_content(&shorten(&line.level, 12)),
                escape_content(&shorten(&line.text, limits.text * 2))
            );
        },
    );
}

pub(super) fn operations(out: &mut String, record: &RunRecord, limits: Limits) {
    let operations = &record.operations;
    if operations.is_empty() {
        return;
    }
    let evidence: BTreeSet<usize> =
        record.first_bad.iter().flat_map(|bad| bad.operations.iter().copied()).collect();
    let mut chosen: Vec<usize> = shown_operations(record, limits.operations).into_iter().collect();
    chosen.sort_by_key(|&place| (operations[place].call, place));
    let table = Table {
        id: "operations",
        title: "What the clients asked",
        count: operations.len(),
        columns: &["#", "client", "at", "operation", "answer", "from", "to"],
        is_open: true,
    };
    let end = record.end_ns();
    write_rows(
        out,
        &table,
        record,
        chosen.into_iter().map(|place| (operations[place].call, place)),
        |out, place| {
            let operation = &operations[place];
            let class = if evidence.contains(&place) { " class=\"evidence\"" } else { "" };
            let bad = if operation.ending == Ending::Ok { "" } else { " data-f" };
            let keys: Vec<String> = operation.keys.iter().map(|key| shorten(key, 60)).collect();
            let _ = writeln!(
                out,
                "<tr{class} data-o=\"{place}\" data-k=\"{}\" data-key=\"{}\"{bad} {}><td>{place}</td><td>{}</td><td>{}</td><td class=\"mono\">{}</td><td>{}</td><td class=\"at\">{}</td><td class=\"at\">{}</td></tr>",
                escape(operation.kind()),
                escape(&keys.join("\n")),
                times(operation.call, operation.ret.unwrap_or(end)),
                operation.client,
                escape_content(operation.member.as_deref().unwrap_or("")),
                escape_content(&shorten(&operation.text, limits.text)),
                answer(operation, limits),
                moment(operation.call),
                operation.ret.map_or_else(|| "never".to_owned(), moment)
            );
        },
    );
}

pub(super) fn elections(out: &mut String, record: &RunRecord, limits: Limits) {
    let end = record.end_ns();
    let mut roles: Vec<_> = record
        .roles
        .iter()
        .filter(|band| matches!(band.role, Role::Leader | Role::Candidate | Role::PreCandidate))
        .collect();
    if roles.is_empty() {
        return;
    }
    roles.sort_by_key(|band| (band.from, band.term));
    let table = Table {
        id: "elections",
        title: "Elections",
        count: roles.len(),
        columns: &["from", "to", "term", "member", "role"],
        is_open: false,
    };
    write_rows(
        out,
        &table,
        record,
        roles.into_iter().take(limits.rows).map(|band| (band.from, band)),
        |out, band| {
            let member = shorten(&band.member, 40);
            let _ = writeln!(
                out,
                "<tr data-m=\"{}\" {}><td class=\"at\">{}</td><td class=\"at\">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(&member),
                times(band.from, band.to.unwrap_or(end)),
                moment(band.from),
                band.to.map_or_else(|| "the end".to_owned(), moment),
                band.term,
                escape_content(&member),
                if band.role == Role::Leader { "<b>leader</b>" } else { band.role.word() }
            );
        },
    );
}

/// Faults, and members that did not run, which is what many faults come to.
pub(super) fn faults(out: &mut String, record: &RunRecord, limits: Limits) {
    struct Row {
        from: u64,
        to: Option<u64>,
        kind: String,
        on: String,
        text: String,
    }
    let of_faults = record.faults.iter().map(|fault| Row {
        from: fault.from,
        to: fault.to,
        kind: fault.kind.clone(),
        on: if fault.targets.is_empty() { "all".to_owned() } else { fault.targets.join(" ") },
        text: fault.text.clone(),
    });
    let of_outages = record.outages.iter().map(|outage| Row {
        from: outage.from,
        to: outage.to,
        kind: format!("down: {}", outage.kind.word()),
        on: outage.member.clone(),
        text: outage.text.clone(),
    });
    let mut rows: Vec<Row> = of_faults.chain(of_outages).collect();
    if rows.is_empty() {
        return;
    }
    rows.sort_by_key(|row| row.from);
    let end = record.end_ns();
    let table = Table {
        id: "faults",
        title: "Faults and outages",
        count: rows.len(),
        columns: &["from", "to", "kind", "on", "what"],
        is_open: true,
    };
    write_rows(out, &table, record, rows.iter().take(limits.rows).map(|row| (row.from, row)), |out, row| {
        let _ = writeln!(
            out,
            "<tr {}><td class=\"at\">{}</td><td class=\"at\">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            times(row.from, row.to.unwrap_or(end)),
            moment(row.from),
            row.to.map_or_else(|| "the end".to_owned(), moment),
            escape_content(&shorten(&row.kind, 60)),
            escape_content(&shorten(&row.on, limits.text)),
            escape_content(&shorten(&row.text, limits.text))
        );
    });
}
