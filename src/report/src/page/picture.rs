//! The picture with what moves it: buttons, search, filters.

use crate::cuts::Limits;
use crate::escape::{escape, escape_content, shorten};
use crate::record::RunRecord;
use crate::timeline;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const HINT: &str = "Click anything for its details. Drag or arrow keys to move, wheel or + and − to zoom (over the picture), n and p for the next and the previous thing, / to search, b for the first bad event, ? for all keys.";

pub(super) fn picture(out: &mut String, record: &RunRecord, drawing: &timeline::Drawing, limits: Limits) {
    out.push_str("<section id=\"run\">\n<div class=\"bar tools js-only\">\n<h2>The run</h2>\n");
    if record.first_bad.is_some() {
        out.push_str("<button type=\"button\" id=\"jump\" class=\"jump\">✗ First bad event</button>\n");
    }
    out.push_str(
        "<span class=\"group\"><button type=\"button\" id=\"left\" title=\"Earlier\" aria-label=\"Earlier\">◀</button>\
         <button type=\"button\" id=\"out\" title=\"Zoom out\" aria-label=\"Zoom out\">−</button>\
         <button type=\"button\" id=\"in\" title=\"Zoom in\" aria-label=\"Zoom in\">+</button>\
         <button type=\"button\" id=\"right\" title=\"Later\" aria-label=\"Later\">▶</button></span>\n\
         <button type=\"button\" id=\"whole\">Whole run</button>\n<span class=\"dim\" id=\"span\" aria-live=\"polite\"></span>\n<span class=\"grow\"></span>\n",
    );
    if !drawing.messages.is_empty() {
        messages(out, drawing);
    }
    out.push_str(
        "<button type=\"button\" id=\"filter\" aria-expanded=\"false\" aria-controls=\"filters\">Filter</button>\n\
         <span class=\"group search\"><input type=\"search\" id=\"search\" placeholder=\"Find a key, fault, word\" aria-label=\"Find in operations, faults, roles and log lines\">\
         <button type=\"button\" id=\"back\" title=\"Previous (Shift+Enter)\" aria-label=\"Previous hit\">▲</button>\
         <button type=\"button\" id=\"next\" title=\"Next (Enter)\" aria-label=\"Next hit\">▼</button></span>\
         <span class=\"dim\" id=\"found\" aria-live=\"polite\"></span>\n</div>\n",
    );
    filters(out, record, limits);
    let _ = write!(
        out,
        "<div class=\"card picture\">\n{}<div class=\"scroll\">\n{}</div>\n{}\
         <div class=\"detail mono js-only\" id=\"detail\" data-hint=\"{HINT}\" aria-live=\"polite\">{HINT}</div></div>\n</section>\n",
        drawing.map,
        drawing.svg,
        timeline::legend(&drawing.svg)
    );
}

fn messages(out: &mut String, drawing: &timeline::Drawing) {
    let _ = write!(
        out,
        "<label class=\"toggle\"><input type=\"checkbox\" id=\"messages\"> {} messages</label>\n<span class=\"group\" id=\"message-choice\" hidden>",
        drawing.messages.shown()
    );
    for (id, label) in [("between", "One end of the messages"), ("and", "The other end")] {
        let _ =
            write!(out, "<select id=\"{id}\" aria-label=\"{label}\"><option value=\"\">any member</option>");
        for (place, member) in drawing.messages.members().iter().enumerate() {
            let _ = write!(out, "<option value=\"{place}\">{}</option>", escape_content(member));
        }
        out.push_str("</select>");
    }
    out.push_str("<select id=\"message-kind\" aria-label=\"Kind of message\"><option value=\"\">all kinds</option><option value=\"lost\">only lost ones</option>");
    let kinds: BTreeMap<&str, usize> =
        drawing.messages.kinds().iter().enumerate().map(|(place, kind)| (kind.as_str(), place)).collect();
    for (kind, place) in kinds {
        let _ = write!(out, "<option value=\"{place}\">{}</option>", escape_content(kind));
    }
    out.push_str("</select></span>\n<span class=\"dim\" id=\"message-count\"></span>\n");
}

fn filters(out: &mut String, record: &RunRecord, limits: Limits) {
    out.push_str("<div class=\"card filters js-only\" id=\"filters\" hidden>\n");
    let mut set = |title: &str, name: &str, values: &BTreeSet<(usize, String)>| {
        if values.is_empty() {
            return;
        }
        let _ = write!(out, "<fieldset><legend>{title}</legend>");
        for (_, value) in values.iter().take(limits.rows) {
            let value = escape(&shorten(value, 60));
            let label = if name == "client" { format!("client {value}") } else { value.clone() };
            let _ = write!(
                out,
                "<label><input type=\"checkbox\" name=\"{name}\" value=\"{value}\" checked> {label}</label>"
            );
        }
        out.push_str("</fieldset>\n");
    };
    let members = record.members.iter().enumerate().map(|(place, member)| (place, member.name.clone()));
    set("Members", "member", &members.collect());
    let of_operations = record.operations.iter().map(|operation| operation.client);
    let clients = of_operations.chain(record.spans.iter().map(|span| span.client));
    set("Clients", "client", &clients.map(|client| (client as usize, client.to_string())).collect());
    let kinds = record.operations.iter().map(|operation| (0, operation.kind().to_owned()));
    set("Operations", "kind", &kinds.collect());
    let kinds = record.faults.iter().map(|fault| (0, fault.kind.clone()));
    set("Faults", "fault", &kinds.collect());
    let keys: BTreeSet<&str> =
        record.operations.iter().flat_map(|operation| operation.keys.iter().map(String::as_str)).collect();
    out.push_str("<p class=\"bar\">\n");
    if !keys.is_empty() {
        out.push_str("<select id=\"key\" aria-label=\"Key\"><option value=\"\">all keys</option>");
        for key in keys.into_iter().take(limits.rows) {
            let key = escape(&shorten(key, 60));
            let _ = write!(out, "<option value=\"{key}\">{key}</option>");
        }
        out.push_str("</select>\n");
    }
    out.push_str("<label><input type=\"checkbox\" id=\"only-failed\"> only failed or unknown</label>\n");
    if record.first_bad.as_ref().is_some_and(|bad| !bad.operations.is_empty()) {
        out.push_str("<label><input type=\"checkbox\" id=\"only-evidence\"> only the evidence</label>\n");
    }
    out.push_str("<button type=\"button\" id=\"reset\">Show everything</button>\n</p>\n</div>\n");
}
