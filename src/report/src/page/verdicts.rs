//! What the oracles found, which goals were reached, and counters.

use crate::cuts::Limits;
use crate::escape::{escape_content, shorten};
use crate::record::RunRecord;
use crate::timeline::moment;
use std::fmt::Write as _;

pub(super) fn oracles(out: &mut String, record: &RunRecord, limits: Limits) {
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

pub(super) fn goals(out: &mut String, record: &RunRecord, limits: Limits) {
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

pub(super) fn counts(out: &mut String, record: &RunRecord, limits: Limits) {
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
