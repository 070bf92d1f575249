//! Machines that reboot, as stretches of the page's timeline.

use super::clients::span;
use crate::machines::MachineDoes;
use crate::record::RunLog;
use seatrial_report::ClientSpan;
use std::time::Duration;

/// From the grant of a slot to its giving back, and each stretch in which a machine was away.
pub(super) fn spans(log: &RunLog) -> Vec<ClientSpan> {
    let mut spans = Vec::new();
    for machine in &log.machines {
        let group = if machine.group.is_empty() { "the default group" } else { &machine.group };
        let mut granted: Option<(Duration, u64)> = None;
        let mut away: Option<(Duration, &str)> = None;
        for event in &machine.events {
            match &event.what {
                MachineDoes::Granted(grant) => granted = granted.or(Some((event.at, *grant))),
                MachineDoes::Released(true) => {
                    if let Some((from, grant)) = granted.take() {
                        let text = format!("{} holds a slot of {group}, grant {grant}", machine.id);
                        spans.push(span(machine.client, "slot", from, event.at, text));
                    }
                }
                MachineDoes::Reboots(_) => away = Some((event.at, "reboots")),
                MachineDoes::Crashes => away = Some((event.at, "has lost its power")),
                MachineDoes::Up => {
                    if let Some((from, why)) = away.take() {
                        let text = format!("{} {why}", machine.id);
                        spans.push(span(machine.client, "away", from, event.at, text));
                    }
                }
                _ => {}
            }
        }
        if let Some((from, grant)) = granted {
            let text = format!("{} holds a slot of {group}, grant {grant}; never given back", machine.id);
            spans.push(span(machine.client, "slot", from, log.ended, text));
        }
    }
    spans
}
