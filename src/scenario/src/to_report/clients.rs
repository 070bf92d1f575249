//! What clients held open: watches, leases, locks and leaderships, as stretches of time.

use super::name;
use crate::record::v2::{V2Asked, V2Heard, V2Record};
use crate::record::{ProcessEnd, RunLog, nanos};
use seatrial_report::ClientSpan;
use seatrial_types::v2::V2Request;
use std::time::Duration;

/// All of them, in order of their clients and beginnings.
pub(super) fn spans(log: &RunLog) -> Vec<ClientSpan> {
    let mut spans: Vec<ClientSpan> = Vec::new();
    spans.extend(log.watches.iter().map(|watch| {
        let changes: usize = watch.batches.iter().map(|batch| batch.events.len()).sum();
        let last = watch.batches.last().map(|batch| batch.at).or(watch.created_at).unwrap_or(watch.opened);
        let from = match watch.start_revision {
            0 => "from now on".to_owned(),
            revision => format!("from revision {revision}"),
        };
        let resumes = if watch.resumes { ", goes on with an earlier one" } else { "" };
        let seen = watch.batches.last().map_or(String::new(), |batch| {
            format!("; the last answer was of revision {}", batch.header_revision)
        });
        let end = match watch.cancelled {
            Some(0) => "; ended by the member".to_owned(),
            Some(compacted) => format!("; ended by the member, compacted up to {compacted}"),
            None => String::new(),
        };
        ClientSpan {
            client: watch.client,
            kind: "watch".to_owned(),
            member: Some(name(watch.member)),
            from: nanos(watch.opened),
            to: nanos(last),
            text: format!("{from}{resumes}: {changes} changes{seen}{end}"),
        }
    }));
    spans.extend(log.leases.iter().filter_map(|lease| {
        let (from, _) = lease.renewals.first()?;
        let end = lease.gone.map_or(lease.last_tried, |gone| gone.ret);
        let gone = lease.gone.map_or("", |_| "; seen to be gone at the end");
        let key = if lease.key.is_empty() { String::new() } else { format!(" of {}", lease.key) };
        let text = format!(
            "{}{key}, {} s: renewed {} times{gone}",
            lease.id,
            lease.ttl_seconds,
            lease.renewals.len() - 1
        );
        Some(span(lease.client, "lease", *from, end, text))
    }));
    spans.extend(log.locks.iter().filter_map(|lock| {
        let told = lock.told?;
        let end = lock.released.unwrap_or(log.ended);
        let text = format!(
            "{} by {} at revision {}, lease {} of {} s, {} writes{}",
            lock.name,
            lock.key,
            lock.revision,
            lock.lease,
            lock.ttl_seconds,
            lock.writes.len(),
            if lock.released.is_some() { "" } else { "; never given back" }
        );
        Some(span(lock.client, "lock", told.call, end, text))
    }));
    spans.extend(log.candidates.iter().filter_map(|candidate| {
        let told = candidate.told?;
        let end = candidate.released.unwrap_or(log.ended);
        let text = format!(
            "{} by {}, created at revision {}, lease {} of {} s{}",
            candidate.name,
            candidate.key,
            candidate.revision,
            candidate.lease,
            candidate.ttl_seconds,
            if candidate.released.is_some() { "" } else { "; never resigned" }
        );
        Some(span(candidate.client, "leads", told.call, end, text))
    }));
    spans.extend(log.v2.iter().map(v2));
    spans.extend(super::machines::spans(log));
    spans.extend(log.units.processes.iter().map(|process| {
        let end = match process.end {
            Some(ProcessEnd::Itself) => "; ended by itself",
            Some(ProcessEnd::Told) => "; told to stop",
            Some(ProcessEnd::Power) => "; its machine lost its power",
            None => "",
        };
        let text = format!("{} as process {}{end}", process.unit, process.pid);
        span(process.machine, "unit", process.from, process.to.unwrap_or(log.ended), text)
    }));
    spans.extend(log.units.faults.iter().map(|fault| {
        let to = fault.to.unwrap_or(log.ended);
        span(fault.machine, "machine", fault.from, to, fault.fault.name().to_owned())
    }));
    spans.sort_by_key(|span| (span.client, span.from, span.to));
    spans
}

fn v2(record: &V2Record) -> ClientSpan {
    let (kind, asked) = match &record.asked {
        V2Asked::Wait(waiting) => {
            let below = if waiting.recursive { " and below" } else { "" };
            ("v2 wait", format!("at {}{below} from index {} on", waiting.path, waiting.since))
        }
        V2Asked::Join { token, id } => ("v2 join", format!("token {token} as {id}")),
        V2Asked::Request(V2Request::Read { path, quorum, .. }) => {
            ("v2", format!("{} read of {path}", if *quorum { "quorum" } else { "own" }))
        }
        V2Asked::Request(V2Request::Change(change)) => {
            ("v2", format!("{:?} at {}", change.action, change.path))
        }
        V2Asked::Request(other) => ("v2", format!("{other:?}")),
    };
    let heard = match &record.heard {
        V2Heard::Event { event, .. } => {
            let value = event.node.value.as_ref().map_or(String::new(), |value| format!(" = {value:?}"));
            format!("{} of {}{value} at index {}", event.verb.name(), event.node.path, event.index())
        }
        V2Heard::Refused(error) => error.to_string(),
        V2Heard::Failed(error) => format!("failed: {error}"),
        V2Heard::Unknown(error) => format!("nobody knows: {error}"),
        V2Heard::Joined(with) => format!("a cluster of {with:?}"),
        V2Heard::Full(others) => format!("a cluster of others, {others:?}"),
        V2Heard::Nothing => "nothing".to_owned(),
    };
    ClientSpan {
        client: record.client,
        kind: kind.to_owned(),
        member: Some(name(record.member)),
        from: nanos(record.seen.call),
        to: nanos(record.seen.ret),
        text: format!("{asked}: {heard}"),
    }
}

pub(super) fn span(client: u32, kind: &str, from: Duration, to: Duration, text: String) -> ClientSpan {
    ClientSpan { client, kind: kind.to_owned(), member: None, from: nanos(from), to: nanos(to), text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracles::testing::{at, quiet};
    use crate::record::{LockRecord, Sighting};

    #[test]
    fn a_lock_is_held_from_the_asking_to_its_giving_back_or_to_the_end() {
        let lock = LockRecord {
            client: 3,
            name: "a".to_owned(),
            lease: 77,
            ttl_seconds: 2,
            renewals: Vec::new(),
            told: Some(Sighting { call: at(100), ret: at(150) }),
            key: "a/4d".to_owned(),
            revision: 9,
            released: Some(at(400)),
            writes: Vec::new(),
        };
        let mut log = quiet();
        log.ended = at(5_000);
        log.locks = vec![
            LockRecord { released: None, ..lock.clone() },
            LockRecord { told: None, ..lock.clone() },
            LockRecord { client: 1, ..lock },
        ];
        let spans = spans(&log);
        let seen: Vec<(u32, u64, u64)> = spans.iter().map(|span| (span.client, span.from, span.to)).collect();
        assert_eq!(
            seen,
            [(1, 100_000_000, 400_000_000), (3, 100_000_000, 5_000_000_000)],
            "who waited in vain held nothing"
        );
        assert_eq!(spans[1].text, "a by a/4d at revision 9, lease 77 of 2 s, 0 writes; never given back");
    }
}
