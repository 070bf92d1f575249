//! What stands first: the verdict, the sentence, the command.

use super::SENTENCE_MAX;
use crate::cuts::Limits;
use crate::escape::{escape_content, shorten};
use crate::record::{RunRecord, RunVerdict};
use std::fmt::Write as _;

pub(super) fn head(out: &mut String, record: &RunRecord, limits: Limits) {
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
        "<header class=\"verdict {}\">\n<div class=\"top\"><p class=\"stamp\"><span class=\"sign\" aria-hidden=\"true\">{}</span> {0}{oracle}</p>\
         <h1><b>{}</b> · seed {}</h1><button type=\"button\" id=\"theme\" class=\"js-only\" aria-label=\"Switch between light and dark\">◐</button></div>\n\
         <p class=\"sentence\" id=\"sentence\">{}</p>\n",
        record.verdict.word(),
        record.verdict.sign(),
        escape_content(&shorten(title, 300)),
        record.seed,
        escape_content(&shorten(sentence, SENTENCE_MAX))
    );
    if !record.replay.is_empty() {
        let _ = writeln!(
            out,
            "<div class=\"replay\"><span class=\"dim\">Replay</span><code id=\"replay\">{}</code><button id=\"copy\" class=\"js-only\" type=\"button\">Copy</button></div>",
            escape_content(&shorten(&record.replay, SENTENCE_MAX))
        );
    }
    out.push_str("<details class=\"about\">\n<summary>About this run</summary>\n");
    if !record.scenario.why.is_empty() {
        let why = escape_content(&shorten(&record.scenario.why, SENTENCE_MAX));
        let _ = writeln!(out, "<p class=\"why\">Why this scenario: {why}</p>");
    }
    out.push_str("<dl class=\"facts\">\n");
    let mut fact = |name: &str, value: &str| {
        if !value.is_empty() {
            let value = escape_content(&shorten(value, limits.text));
            let _ = writeln!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>");
        }
    };
    fact(
        "scenario",
        if record.scenario.path.is_empty() { &record.scenario.name } else { &record.scenario.path },
    );
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
    out.push_str("</dl>\n</details>\n</header>\n");
}
