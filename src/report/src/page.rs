//! One run as one page.

use crate::cuts::{Cuts, Limits, choose, focus, how};
use crate::escape::{escape, escape_content, script_json, shorten};
use crate::record::{Ending, RunRecord, RunVerdict};
use crate::timeline::{self, moment};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// No page of a run is larger than this.
pub const PAGE_BYTES_MAX: usize = 500_000;

/// The page of one run: self-contained, at most [`PAGE_BYTES_MAX`] bytes; says what was cut to stay below.
///
/// # Panics
/// Never for records of this crate's making: the smallest page of any record is far below the limit.
#[must_use]
pub fn render_html(record: &RunRecord) -> String {
    let mut limits = Limits::FULL;
    for _ in 0..16 {
        let page = render(record, limits);
        if page.len() <= PAGE_BYTES_MAX {
            return page;
        }
        limits = limits.halved();
    }
    unreachable!("a page within {limits:?} is larger than {PAGE_BYTES_MAX} bytes")
}

fn render(record: &RunRecord, limits: Limits) -> String {
    let mut cuts = Cuts::default();
    let drawing = timeline::draw(record, limits, &mut cuts);
    let mut body = String::new();
    evidence(&mut body, record, limits);
    timeline_section(&mut body, record, &drawing, limits);
    body.push_str("<div class=\"columns\">\n");
    oracles(&mut body, record, limits);
    goals(&mut body, record, limits);
    counts(&mut body, record, limits);
    body.push_str("</div>\n");
    faults(&mut body, record, limits);
    operations(&mut body, record, limits, &mut cuts);
    logs(&mut body, record, limits, &mut cuts);

    let mut out = String::new();
    let (scenario, word) = (&record.scenario.name, record.verdict.word());
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{} {} seed {}: {word}</title>\n<style>{}</style>\n</head>\n<body>\n",
        record.verdict.sign(),
        escape_content(&shorten(scenario, 80)),
        record.seed,
        include_str!("assets/page.css")
    );
    head(&mut out, record, limits);
    out.push_str(&body);
    notes(&mut out, record, limits, &cuts);
    let data = PageData {
        end: record.end_ns(),
        bad: record.first_bad.as_ref().map_or(0, |bad| bad.at),
        width: timeline::WIDTH as u64,
        left: timeline::LEFT as u64,
        height: drawing.height as u64,
        arrows: drawing.arrows.iter().map(timeline::Arrow::row).collect(),
    };
    let _ = write!(
        out,
        "</main>\n<footer>Seatrial report, format {}. The page needs nothing but itself.</footer>\n\
         <script type=\"application/json\" id=\"data\">{}</script>\n<script>{}</script>\n</body>\n</html>\n",
        RunRecord::FORMAT,
        script_json(&data),
        include_str!("assets/page.js")
    );
    out
}

/// What the page's script must know.
#[derive(serde::Serialize)]
struct PageData<'a> {
    end: u64,
    bad: u64,
    width: u64,
    left: u64,
    height: u64,
    arrows: Vec<(&'a str, f64, f64, f64, f64, u8, &'a str)>,
}

/// Texts that everything hangs on may be long, but not endless.
const SENTENCE_MAX: usize = 4_000;

fn head(out: &mut String, record: &RunRecord, limits: Limits) {
    let oracle = match &record.oracle {
        Some(oracle) => format!(" <span class=\"oracle\">by {}</span>", escape_content(&shorten(oracle, 80))),
        None => String::new(),
    };
    let title = if record.scenario.title.is_empty() { &record.scenario.name } else { &record.scenario.title };
    let sentence = match (record.sentence.is_empty(), record.verdict) {
        (false, _) => &record.sentence,
        (true, RunVerdict::Pass) => "Every oracle was content and every goal was reached.",
        (true, RunVerdict::Inconclusive) => "Something could not be judged; this is no pass.",
        (true, RunVerdict::Violation) => "A property was violated.",
        (true, RunVerdict::HarnessError) => "The testbed itself failed; this says nothing about the cluster.",
    };
    let _ = write!(
        out,
        "<header class=\"verdict {}\">\n<p class=\"stamp\"><span class=\"sign\" aria-hidden=\"true\">{}</span> {0}{oracle}</p>\n\
         <h1><b>{}</b> · seed {}</h1>\n<p class=\"sentence\">{}</p>\n",
        record.verdict.word(),
        record.verdict.sign(),
        escape_content(&shorten(title, 300)),
        record.seed,
        escape_content(&shorten(sentence, SENTENCE_MAX))
    );
    if !record.scenario.why.is_empty() {
        let why = escape_content(&shorten(&record.scenario.why, SENTENCE_MAX));
        let _ = writeln!(out, "<p class=\"why\">Why this scenario: {why}</p>");
    }
    if !record.replay.is_empty() {
        let _ = writeln!(
            out,
            "<div class=\"replay\"><code id=\"replay\">{}</code><button id=\"copy\" type=\"button\">Copy</button></div>",
            escape_content(&shorten(&record.replay, SENTENCE_MAX))
        );
    }
    out.push_str("<dl class=\"facts\">\n");
    let mut fact = |name: &str, value: &str| {
        if !value.is_empty() {
            let value = escape_content(&shorten(value, limits.text));
            let _ = writeln!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>");
        }
    };
    fact("scenario", &record.scenario.path);
    fact("world", &record.world);
    fact("length", &format!("{:.2} s", record.end_ns() as f64 / 1e9));
    if record.cpu_ns > 0 {
        fact("CPU", &format!("{:.3} s", record.cpu_ns as f64 / 1e9));
    }
    if let Some(speed) = record.speed() {
        fact("speed", &format!("{speed:.0} s per CPU second"));
    }
    fact("commit", &record.commit);
    fact("trace hash", &record.trace_hash);
    for (name, value) in record.options.iter().take(limits.rows) {
        let name = escape_content(&shorten(name, 60));
        fact(&name, value);
    }
    out.push_str("</dl>\n</header>\n<main>\n");
}

/// What went wrong, and the operations that show it, before anything else.
fn evidence(out: &mut String, record: &RunRecord, limits: Limits) {
    let Some(bad) = &record.first_bad else { return };
    let member =
        bad.member.as_ref().map(|member| format!(" at {}", escape_content(member))).unwrap_or_default();
    let _ = write!(
        out,
        "<section class=\"card\">\n<h2 style=\"margin-top:0\">First bad event: {}{member}</h2>\n<p class=\"note\">{}</p>\n",
        moment(bad.at),
        escape_content(&shorten(&bad.text, SENTENCE_MAX))
    );
    let known: Vec<usize> = bad
        .operations
        .iter()
        .copied()
        .filter(|&place| place < record.operations.len())
        .take(limits.rows)
        .collect();
    if !known.is_empty() {
        out.push_str("<div class=\"scroll\"><table>\n<thead><tr><th>pin</th><th>client</th><th>operation</th><th>answer</th><th>from</th><th>to</th></tr></thead>\n<tbody>\n");
        for (number, place) in known.into_iter().enumerate() {
            let operation = &record.operations[place];
            let _ = writeln!(
                out,
                "<tr class=\"evidence\"><td>{}</td><td>{}</td><td class=\"mono\">{}</td><td>{}</td><td class=\"at\">{}</td><td class=\"at\">{}</td></tr>",
                number + 1,
                operation.client,
                escape_content(&shorten(&operation.text, limits.text)),
                answer(operation.ending, &operation.answer, limits),
                moment(operation.call),
                operation.ret.map_or_else(|| "never".to_owned(), moment)
            );
        }
        out.push_str("</tbody>\n</table></div>\n");
    }
    out.push_str("</section>\n");
}

fn answer(ending: Ending, answer: &str, limits: Limits) -> String {
    let sign = match ending {
        Ending::Ok => "●",
        Ending::Failed => "○",
        Ending::Unknown => "◌",
    };
    let answer = if answer.is_empty() { ending.word() } else { answer };
    format!("<span aria-hidden=\"true\">{sign}</span> {}", escape_content(&shorten(answer, limits.text)))
}

fn timeline_section(out: &mut String, record: &RunRecord, drawing: &timeline::Drawing, limits: Limits) {
    out.push_str("<section>\n<h2>The run</h2>\n<div class=\"bar\">\n");
    if record.first_bad.is_some() {
        out.push_str("<button type=\"button\" id=\"jump\" class=\"jump\">Go to first bad event</button>\n");
    }
    out.push_str(
        "<button type=\"button\" id=\"in\" title=\"Zoom in\">+</button>\
         <button type=\"button\" id=\"out\" title=\"Zoom out\">−</button>\
         <button type=\"button\" id=\"reset\">Whole run</button>\n<span class=\"dim\" id=\"span\">whole run</span>\n<span class=\"grow\"></span>\n",
    );
    if !drawing.arrows.is_empty() {
        let _ = write!(
            out,
            "<label><input type=\"checkbox\" id=\"toggle-messages\"> {} messages</label>\n\
             <select id=\"message-kind\" aria-label=\"Kind of message\"><option value=\"\">all kinds</option><option value=\"-dropped\">only lost ones</option>",
            drawing.arrows.len()
        );
        let kinds: BTreeSet<&str> = drawing.arrows.iter().map(|arrow| arrow.kind.as_str()).collect();
        for kind in kinds.into_iter().take(limits.rows) {
            let kind = escape(kind);
            let _ = write!(out, "<option value=\"{kind}\">{kind}</option>");
        }
        out.push_str("</select>\n");
    }
    out.push_str(
        "<input type=\"search\" id=\"search\" placeholder=\"Find: a key, a term, a member…\" aria-label=\"Find in the picture\"><span class=\"dim\" id=\"found\"></span>\n</div>\n",
    );
    out.push_str(LEGEND);
    let _ = write!(
        out,
        "<div class=\"card\"><div class=\"scroll\">\n{}</div>\n<div class=\"detail mono\" id=\"detail\" data-hint=\"{HINT}\">{HINT}</div></div>\n</section>\n",
        drawing.svg
    );
}

const HINT: &str = "Click anything for its details. Drag to move, double-click, + or Ctrl and wheel to zoom.";

/// The looks that occur, each with the pattern it has in the picture.
const LEGEND: &str = "<p class=\"legend\">\
<span><svg width=\"26\" height=\"14\"><g class=\"leader\"><rect x=\"1\" y=\"1\" width=\"24\" height=\"12\" rx=\"2\"/></g></svg>leader</span>\
<span><svg width=\"26\" height=\"14\"><g class=\"candidate\"><rect x=\"1\" y=\"1\" width=\"24\" height=\"12\" rx=\"2\"/></g></svg>candidate</span>\
<span><svg width=\"26\" height=\"14\"><g class=\"follower\"><rect x=\"1\" y=\"4\" width=\"24\" height=\"6\" rx=\"2\"/></g></svg>follower</span>\
<span><svg width=\"26\" height=\"14\"><g class=\"outage\"><rect x=\"1\" y=\"1\" width=\"24\" height=\"12\" rx=\"2\"/></g></svg>down (✕ stops, ❯ runs again)</span>\
<span><svg width=\"26\" height=\"14\"><g class=\"fault\"><rect x=\"1\" y=\"1\" width=\"24\" height=\"12\" rx=\"2\"/></g></svg>fault (thin bar: strikes this member)</span>\
<span><svg width=\"26\" height=\"14\"><g class=\"op\"><rect x=\"1\" y=\"1\" width=\"24\" height=\"12\" rx=\"2\"/></g></svg>write</span>\
<span><svg width=\"26\" height=\"14\"><g class=\"op read\"><rect x=\"1\" y=\"1\" width=\"24\" height=\"12\" rx=\"2\"/></g></svg>read</span>\
<span><svg width=\"26\" height=\"14\"><g class=\"op failed\"><rect x=\"1\" y=\"1\" width=\"24\" height=\"12\" rx=\"2\"/></g></svg>refused</span>\
<span><svg width=\"26\" height=\"14\"><g class=\"op unknown\"><rect x=\"1\" y=\"1\" width=\"24\" height=\"12\" rx=\"2\"/></g></svg>outcome unknown</span>\
<span><svg width=\"26\" height=\"14\"><g class=\"op evidence\"><rect x=\"2\" y=\"2\" width=\"22\" height=\"10\" rx=\"2\"/></g></svg>evidence</span>\
</p>\n";

fn oracles(out: &mut String, record: &RunRecord, limits: Limits) {
    if record.oracles.is_empty() {
        return;
    }
    out.push_str("<section class=\"card\">\n<h2>Oracles</h2>\n<table>\n<tbody>\n");
    let mut oracles: Vec<_> = record.oracles.iter().collect();
    oracles.sort_by_key(|oracle| std::cmp::Reverse(oracle.verdict));
    for oracle in oracles.into_iter().take(limits.rows) {
        let word = oracle.verdict.word();
        let _ = writeln!(
            out,
            "<tr><td><span class=\"pill {word}\">{} {word}</span></td><td><b>{}</b>{}</td></tr>",
            oracle.verdict.sign(),
            escape_content(&shorten(&oracle.name, 80)),
            if oracle.sentence.is_empty() {
                String::new()
            } else {
                format!("<br>{}", escape_content(&shorten(&oracle.sentence, limits.text.max(80) * 3)))
            }
        );
    }
    out.push_str("</tbody>\n</table>\n</section>\n");
}

fn goals(out: &mut String, record: &RunRecord, limits: Limits) {
    if record.goals.is_empty() {
        return;
    }
    out.push_str("<section class=\"card\">\n<h2>Goals</h2>\n<table>\n<tbody>\n");
    for goal in record.goals.iter().take(limits.rows) {
        let (word, class, sign) =
            if goal.reached { ("reached", "pass", "✓") } else { ("not reached", "inconclusive", "?") };
        let at = goal.at.map(|at| format!(" at {}", moment(at))).unwrap_or_default();
        let _ = writeln!(
            out,
            "<tr><td><span class=\"pill {class}\">{sign} {word}</span></td><td><b>{}</b>{at}<br><span class=\"dim\">{}</span></td></tr>",
            escape_content(&shorten(&goal.name, limits.text)),
            escape_content(&shorten(&goal.text, limits.text))
        );
    }
    out.push_str("</tbody>\n</table>\n</section>\n");
}

fn counts(out: &mut String, record: &RunRecord, limits: Limits) {
    if record.counts.is_empty() {
        return;
    }
    out.push_str("<section class=\"card\">\n<h2>Counts</h2>\n<table>\n<tbody>\n");
    for (name, count) in record.counts.iter().take(limits.rows) {
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td class=\"num\">{count}</td></tr>",
            escape_content(&shorten(name, 80))
        );
    }
    out.push_str("</tbody>\n</table>\n</section>\n");
}

fn faults(out: &mut String, record: &RunRecord, limits: Limits) {
    if record.faults.is_empty() {
        return;
    }
    let shown = record.faults.len().min(limits.rows);
    let _ = write!(
        out,
        "<details>\n<summary>Faults, in order ({})</summary>\n<div class=\"scroll\"><table>\n<thead><tr><th>from</th><th>to</th><th>kind</th><th>on</th><th>what</th></tr></thead>\n<tbody>\n",
        record.faults.len()
    );
    let mut faults: Vec<_> = record.faults.iter().collect();
    faults.sort_by_key(|fault| fault.from);
    for fault in faults.into_iter().take(shown) {
        let targets = if fault.targets.is_empty() { "all".to_owned() } else { fault.targets.join(" ") };
        let _ = writeln!(
            out,
            "<tr><td class=\"at\">{}</td><td class=\"at\">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            moment(fault.from),
            fault.to.map_or_else(|| "the end".to_owned(), moment),
            escape_content(&shorten(&fault.kind, 60)),
            escape_content(&shorten(&targets, limits.text)),
            escape_content(&shorten(&fault.text, limits.text))
        );
    }
    out.push_str("</tbody>\n</table></div>\n</details>\n");
}

fn operations(out: &mut String, record: &RunRecord, limits: Limits, cuts: &mut Cuts) {
    let operations = &record.operations;
    if operations.is_empty() {
        return;
    }
    let evidence: BTreeSet<usize> =
        record.first_bad.iter().flat_map(|bad| bad.operations.iter().copied()).collect();
    let focus = focus(record);
    let mut chosen = choose(
        operations.len(),
        limits.rows,
        focus,
        |place| operations[place].call,
        |place| evidence.contains(&place),
    );
    cuts.note(chosen.len(), operations.len(), "operations in the table", how(focus));
    chosen.sort_by_key(|&place| (operations[place].call, place));
    let _ = write!(
        out,
        "<details>\n<summary>Client operations ({})</summary>\n<div class=\"bar\"><input type=\"search\" data-table=\"operations\" placeholder=\"Filter\" aria-label=\"Filter operations\"></div>\n<div class=\"scroll\"><table id=\"operations\">\n<thead><tr><th>#</th><th>client</th><th>member</th><th>operation</th><th>answer</th><th>from</th><th>to</th></tr></thead>\n<tbody>\n",
        operations.len()
    );
    for place in chosen {
        let operation = &operations[place];
        let class = if evidence.contains(&place) { " class=\"evidence\"" } else { "" };
        let _ = writeln!(
            out,
            "<tr{class}><td>{place}</td><td>{}</td><td>{}</td><td class=\"mono\">{}</td><td>{}</td><td class=\"at\">{}</td><td class=\"at\">{}</td></tr>",
            operation.client,
            escape_content(operation.member.as_deref().unwrap_or("")),
            escape_content(&shorten(&operation.text, limits.text)),
            answer(operation.ending, &operation.answer, limits),
            moment(operation.call),
            operation.ret.map_or_else(|| "never".to_owned(), moment)
        );
    }
    out.push_str("</tbody>\n</table></div>\n</details>\n");
}

fn logs(out: &mut String, record: &RunRecord, limits: Limits, cuts: &mut Cuts) {
    let logs = &record.logs;
    if logs.is_empty() {
        return;
    }
    let focus = focus(record);
    let mut chosen =
        choose(logs.len(), limits.logs, focus, |place| logs[place].at, |place| logs[place].level == "error");
    cuts.note(chosen.len(), logs.len(), "log lines", how(focus));
    chosen.sort_by_key(|&place| (logs[place].at, place));
    let _ = write!(
        out,
        "<details>\n<summary>What the members said ({})</summary>\n<div class=\"bar\"><input type=\"search\" data-table=\"logs\" placeholder=\"Filter\" aria-label=\"Filter log lines\"></div>\n<div class=\"scroll\"><table id=\"logs\">\n<thead><tr><th>at</th><th>member</th><th>level</th><th>message</th></tr></thead>\n<tbody>\n",
        logs.len()
    );
    for place in chosen {
        let line = &logs[place];
        let class = match line.level.to_ascii_lowercase().as_str() {
            "error" => " class=\"error\"",
            "warn" => " class=\"warn\"",
            _ => "",
        };
        let _ = writeln!(
            out,
            "<tr{class}><td class=\"at\">{}</td><td>{}</td><td class=\"level\">{}</td><td class=\"mono\">{}</td></tr>",
            moment(line.at),
            escape_content(&shorten(&line.member, 40)),
            escape_content(&shorten(&line.level, 12)),
            escape_content(&shorten(&line.text, limits.text * 2))
        );
    }
    out.push_str("</tbody>\n</table></div>\n</details>\n");
}

fn notes(out: &mut String, record: &RunRecord, limits: Limits, cuts: &Cuts) {
    for note in record.notes.iter().take(limits.rows) {
        let _ = writeln!(out, "<p class=\"note\">{}</p>", escape_content(&shorten(note, SENTENCE_MAX)));
    }
    if !cuts.notes().is_empty() {
        let _ = writeln!(
            out,
            "<p class=\"note cut\">To keep this page small: {} The record itself has everything.</p>",
            escape_content(&cuts.notes().join(" "))
        );
    }
}

#[cfg(test)]
mod tests;
