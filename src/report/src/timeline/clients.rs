//! Clients: what they asked, when, and what they held open meanwhile.

use super::looks::{SPAN, of_operation};
use super::{Band, Draw, Lane, moment, rows};
use crate::cuts::{Cuts, choose, focus, how};
use crate::record::ClientOperation;
use std::collections::{BTreeMap, BTreeSet};

/// Of operations.
const OPERATIONS_HEIGHT: f64 = 16.0;
/// Of one row of what is held open.
const SPAN_HEIGHT: f64 = 9.0;

impl Draw<'_> {
    pub(super) fn clients(&mut self, cuts: &mut Cuts) {
        let operations = &self.record.operations;
        let evidence: Vec<usize> =
            self.record.first_bad.as_ref().map(|bad| bad.operations.clone()).unwrap_or_default();
        let chosen = shown_operations(self.record, self.limits.operations);
        cuts.note(chosen.len(), operations.len(), "operations", how(focus(self.record)));
        let mut clients: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (place, operation) in operations.iter().enumerate() {
            clients.entry(operation.client).or_default().push(place);
        }
        for span in &self.record.spans {
            clients.entry(span.client).or_default();
        }
        let mut names: Vec<u32> = clients.keys().copied().collect();
        // Clients whose operations are the evidence always have a lane.
        names.sort_by_key(|client| {
            let is_evidence = |&place: &usize| {
                operations.get(place).is_some_and(|op: &ClientOperation| op.client == *client)
            };
            (!evidence.iter().any(is_evidence), *client)
        });
        names.truncate(self.limits.lanes);
        names.sort_unstable();
        cuts.note(names.len(), clients.len(), "clients", "those of the evidence, then the first");
        for client in names {
            let mut lane =
                Lane::new("client", &client.to_string(), &format!("client {client}"), OPERATIONS_HEIGHT);
            let mut places = clients.remove(&client).unwrap_or_default();
            places.sort_by_key(|&place| operations[place].call);
            let mut pins = Vec::new();
            for (number, &place) in places.iter().enumerate() {
                if !chosen.contains(&place) {
                    continue;
                }
                // Never answered: open until the client goes on with something else.
                let next = places.get(number + 1).map_or(self.end, |&next| operations[next].call);
                let operation = &operations[place];
                let to = operation.ret.unwrap_or(next.max(operation.call));
                let is_evidence = evidence.iter().position(|&other| other == place);
                let mark = if is_evidence.is_some() { " evidence" } else { "" };
                // The script of the page takes title and label from the table of operations.
                let more = format!("{mark}| data-o=\"{place}\"");
                let look = of_operation(operation);
                let band =
                    Band { look, more: &more, from: operation.call, to, dy: 0.0, label: "", title: "" };
                self.band(&mut lane.plot, &band);
                if let Some(number) = is_evidence {
                    pins.push((operation.call, number + 1, place));
                }
            }
            self.spans(&mut lane, client);
            for (time, number, place) in pins {
                let title = format!("evidence {number}: {}", describe(place, &operations[place]));
                let inner = format!("<circle r=\"7\"/><text y=\"3.4\">{number}</text>");
                self.point(&mut lane.plot, "pin", time, 8.0, &title, &inner);
            }
            self.lanes.push(lane);
        }
    }

    fn spans(&self, lane: &mut Lane, client: u32) {
        let spans: Vec<_> =
            self.record.spans.iter().filter(|span| span.client == client).take(self.limits.bands).collect();
        let rows = rows(spans.iter().map(|span| (span.from, span.to)), 3);
        for (span, &row) in spans.iter().zip(&rows) {
            let member = span.member.as_ref().map(|member| format!(" at {member}")).unwrap_or_default();
            let times = format!("{} to {}", moment(span.from), moment(span.to));
            let title = format!("client {client}{member}: {} {} ({times})", span.kind, span.text);
            let dy = OPERATIONS_HEIGHT + row as f64 * SPAN_HEIGHT;
            let label = format!("{} {}", span.kind, crate::escape::shorten(&span.text, 40));
            let band =
                Band { look: SPAN, more: "", from: span.from, to: span.to, dy, label: &label, title: &title };
            self.band(&mut lane.plot, &band);
        }
        lane.height += rows.iter().max().map_or(0.0, |row| (row + 1) as f64 * SPAN_HEIGHT + 2.0);
    }
}

/// Places of the operations that a page shows, in the picture and in the table alike.
pub(crate) fn shown_operations(record: &crate::record::RunRecord, max: usize) -> BTreeSet<usize> {
    let operations = &record.operations;
    let evidence: BTreeSet<usize> =
        record.first_bad.iter().flat_map(|bad| bad.operations.iter().copied()).collect();
    let chosen = choose(
        operations.len(),
        max,
        focus(record),
        |place| operations[place].call,
        |place| evidence.contains(&place),
    );
    chosen.into_iter().collect()
}

/// What an operation was, in one line.
fn describe(place: usize, operation: &ClientOperation) -> String {
    let end = operation.ret.map_or_else(|| "never answered".to_owned(), |ret| format!("to {}", moment(ret)));
    let member = operation.member.as_ref().map(|member| format!(" at {member}")).unwrap_or_default();
    format!(
        "#{place} client {}{member}: {} → {} ({}; {} {end})",
        operation.client,
        operation.text,
        if operation.answer.is_empty() { operation.ending.word() } else { &operation.answer },
        operation.ending.word(),
        moment(operation.call)
    )
}
