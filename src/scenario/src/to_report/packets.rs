//! Messages between members: all that went near the violation, and a few of the others.

use super::name;
use crate::record::{Packet, RunLog, nanos};
use seatrial_report::Message;
use std::collections::BTreeSet;

/// Kept because they are nearest to what the page is about.
const NEAR_MAX: usize = 2_400;
/// Kept of all the others, evenly spread, so that the rest of the run is not empty.
const FAR_MAX: usize = 600;

/// The messages to show; `focus` is the moment of the first bad event.
pub(super) fn messages(log: &RunLog, focus: Option<u64>) -> Vec<Message> {
    let packets = &log.packets;
    let near_max = if focus.is_some() { NEAR_MAX } else { 0 };
    let mut by_distance: Vec<usize> = (0..packets.len()).collect();
    let focus = focus.unwrap_or(0);
    by_distance.sort_by_key(|place| (nanos(packets[*place].at).abs_diff(focus), *place));
    let mut kept: BTreeSet<usize> = by_distance.iter().copied().take(near_max).collect();
    let step = packets.len().div_ceil(FAR_MAX).max(1);
    kept.extend((0..packets.len()).step_by(step));
    kept.into_iter().map(|place| message(&packets[place])).collect()
}

fn message(packet: &Packet) -> Message {
    let kind = if packet.kind.is_empty() { "part of a message" } else { &*packet.kind };
    let term = packet.term.map(|term| format!("term {term}, ")).unwrap_or_default();
    let more = match packet.more {
        0 => String::new(),
        more => format!(", with {more} more behind it"),
    };
    Message {
        from: name(packet.from),
        to: name(packet.to),
        kind: kind.to_owned(),
        sent: nanos(packet.sent),
        delivered: Some(nanos(packet.at)),
        text: format!("{term}{} bytes{more}", packet.bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracles::testing::quiet;
    use crate::record::Notebook;
    use seatrial_types::MemberId;
    use std::time::Duration;

    fn packet() -> Packet {
        Packet {
            at: Duration::ZERO,
            sent: Duration::ZERO,
            from: MemberId(1),
            to: MemberId(2),
            bytes: 10,
            kind: "append".into(),
            term: Some(3),
            more: 1,
        }
    }

    #[test]
    fn messages_are_dense_near_the_violation_and_sparse_elsewhere() {
        let mut log = quiet();
        let second = 1_000_000_000;
        log.packets = (0..60_000_u64)
            .map(Duration::from_millis)
            .map(|at| Packet { at, sent: at, ..packet() })
            .collect();
        let kept = messages(&log, Some(50 * second));
        assert!(kept.len() <= NEAR_MAX + FAR_MAX, "{}", kept.len());
        let within = |from: u64, to: u64| {
            kept.iter().filter(|message| (from * second..to * second).contains(&message.sent)).count()
        };
        assert_eq!(within(49, 51), 2_000, "every message near the violation");
        assert_eq!(within(10, 11), 10, "one in a hundred elsewhere");
        assert_eq!((&*kept[0].kind, &*kept[0].text), ("append", "term 3, 10 bytes, with 1 more behind it"));
        assert!(messages(&log, None).len() <= FAR_MAX, "without a violation all of the run is alike");
    }

    #[test]
    fn what_is_more_than_memory_should_hold_is_thinned_out_from_the_front() {
        let notebook = Notebook::new(quiet().plan);
        for number in 0..100_001_u64 {
            notebook.packet(Packet { at: Duration::from_millis(number), ..packet() });
        }
        let log = notebook.finish(Duration::from_secs(101), 0, Duration::ZERO);
        assert_eq!(log.packets_total, 100_001);
        assert_eq!(log.packets.len(), 75_001);
        let ms = |place: usize| log.packets[place].at.as_millis();
        assert_eq!((ms(1) - ms(0), ms(75_000) - ms(74_999)), (2, 1));
    }
}
