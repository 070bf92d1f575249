//! Where it went wrong: what happened, what was going on at that moment, and the operations that show it.

use super::SENTENCE_MAX;
use super::tables::answer;
use crate::cuts::Limits;
use crate::escape::{escape_content, shorten};
use crate::record::{Role, RunRecord};
use crate::timeline::moment;
use std::fmt::Write as _;

/// Shown to the left and right of what a page is about, in nanoseconds, at least.
const MARGIN_NS: u64 = 250_000_000;

/// Faults that began so long before may have led to it, in short runs; in long ones, a quarter of the run.
const LED_NS: u64 = 2_000_000_000;

/// The card below the head; nothing where nothing went wrong.
pub(super) fn first_bad(out: &mut String, record: &RunRecord, limits: Limits) {
    let Some(bad) = &record.first_bad else { return };
    let member =
        bad.member.as_ref().map(|member| format!(" at {}", escape_content(member))).unwrap_or_default();
    let _ = writeln!(
        out,
        "<section class=\"card first-bad\" id=\"first-bad\">\n<h2>First bad event: {}{member}</h2>",
        moment(bad.at)
    );
    // The sentence at the top says it already, more often than not.
    if bad.text != record.sentence {
        let _ = writeln!(out, "<p>{}</p>", escape_content(&shorten(&bad.text, SENTENCE_MAX)));
    }
    out.push_str("<ul class=\"then\">\n");
    for (name, text) in going_on(record, bad.at) {
        let text = escape_content(&shorten(&text, 400));
        let _ = writeln!(out, "<li><b>{name}</b> {text}</li>");
    }
    out.push_str("</ul>\n");
    let known: Vec<usize> = bad
        .operations
        .iter()
        .copied()
        .filter(|&place| place < record.operations.len())
        .take(limits.rows)
        .collect();
    if !known.is_empty() {
        out.push_str("<div class=\"scroll\"><table id=\"evidence\">\n<thead><tr><th>pin</th><th>client</th><th>at</th><th>operation</th><th>answer</th><th>from</th><th>to</th></tr></thead>\n<tbody>\n");
        for (number, place) in known.into_iter().enumerate() {
            let operation = &record.operations[place];
            let _ = writeln!(
                out,
                "<tr class=\"evidence\" data-o=\"{place}\"><td><span class=\"pin-sign\">{}</span></td><td>{}</td><td>{}</td><td class=\"mono\">{}</td><td>{}</td><td class=\"at\">{}</td><td class=\"at\">{}</td></tr>",
                number + 1,
                operation.client,
                escape_content(operation.member.as_deref().unwrap_or("")),
                escape_content(&shorten(&operation.text, limits.text)),
                answer(operation, limits),
                moment(operation.call),
                operation.ret.map_or_else(|| "never".to_owned(), moment)
            );
        }
        out.push_str("</tbody>\n</table></div>\n");
    }
    out.push_str("</section>\n");
}

/// Who led, who was down and what struck at a moment, in sentences.
fn going_on(record: &RunRecord, at: u64) -> Vec<(&'static str, String)> {
    let holds = |from: u64, to: Option<u64>| from <= at && to.is_none_or(|to| at <= to);
    let listed = |items: Vec<String>, none: &str| {
        if items.is_empty() { none.to_owned() } else { items.join("; ") }
    };
    let mut out = Vec::new();
    if !record.roles.is_empty() {
        let leads: Vec<String> = record
            .roles
            .iter()
            .filter(|band| band.role == Role::Leader && holds(band.from, band.to))
            .map(|band| format!("{} in term {}, since {}", band.member, band.term, moment(band.from)))
            .collect();
        let count = leads.len();
        let mut text = listed(leads, "nobody");
        if count > 1 {
            text = format!("{count} members believed so: {text}");
        }
        out.push(("Led:", text));
    }
    let down =
        record.outages.iter().filter(|outage| holds(outage.from, outage.to)).map(|outage| {
            format!("{} ({}, since {})", outage.member, outage.kind.word(), moment(outage.from))
        });
    if !record.members.is_empty() {
        out.push(("Down:", listed(down.collect(), "nobody")));
    }
    let active = record.faults.iter().filter(|fault| holds(fault.from, fault.to)).map(|fault| {
        let text = if fault.text.is_empty() { fault.targets.join(" ") } else { fault.text.clone() };
        format!("{}, {text}, since {}", fault.kind, moment(fault.from))
    });
    let active: Vec<String> = active.collect();
    if active.is_empty() {
        let last =
            record.faults.iter().filter_map(|fault| Some((fault.to?, fault))).filter(|(to, _)| *to < at);
        let text = match last.max_by_key(|(to, _)| *to) {
            Some((to, fault)) => format!("none; the last was {}, until {}", fault.kind, moment(to)),
            None => "none so far".to_owned(),
        };
        out.push(("Faults:", text));
    } else {
        out.push(("Faults:", active.join("; ")));
    }
    out
}

/// What the picture shows at first: the first bad event with its evidence and the faults that led to it, or the whole run.
pub(super) fn view(record: &RunRecord) -> (u64, u64) {
    let end = record.end_ns();
    let Some(bad) = &record.first_bad else { return (0, end) };
    let (mut from, mut to) = (bad.at, bad.at);
    for operation in bad.operations.iter().filter_map(|&place| record.operations.get(place)) {
        from = from.min(operation.call);
        to = to.max(operation.ret.unwrap_or(operation.call));
    }
    // The last fault that began before, and those that it followed without a pause; what is long ago led to nothing.
    let bound = bad.at.saturating_sub(LED_NS.max(end / 4));
    let mut reached = from;
    let mut faults: Vec<_> =
        record.faults.iter().filter(|fault| (bound..bad.at).contains(&fault.from)).collect();
    faults.sort_by_key(|fault| std::cmp::Reverse(fault.from));
    for (number, fault) in faults.into_iter().enumerate() {
        if number == 0 || fault.to.is_none_or(|to| to >= reached) {
            reached = reached.min(fault.from);
        }
    }
    from = from.min(reached);
    let margin = ((to - from) / 8).max(MARGIN_NS);
    (from.saturating_sub(margin), to.saturating_add(margin).min(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{FaultBand, FirstBad};

    #[test]
    fn the_picture_opens_with_what_led_to_the_event_and_not_with_what_is_long_ago() {
        let fault = |from: u64, to: u64| FaultBand {
            from: from * 1_000_000,
            to: Some(to * 1_000_000),
            ..FaultBand::default()
        };
        let mut record = RunRecord {
            duration_ns: 40_000_000_000,
            first_bad: Some(FirstBad { at: 20_000_000_000, ..FirstBad::default() }),
            faults: vec![
                fault(500, 900),
                fault(17_000, 17_400),
                fault(18_000, 18_600),
                fault(18_600, 19_000),
            ],
            ..RunRecord::default()
        };
        assert_eq!(
            view(&record),
            (17_750_000_000, 20_250_000_000),
            "two that follow each other, and a margin"
        );
        record.faults.truncate(1);
        assert_eq!(view(&record), (19_750_000_000, 20_250_000_000));
        record.first_bad = None;
        assert_eq!(view(&record), (0, 40_000_000_000));
    }
}
