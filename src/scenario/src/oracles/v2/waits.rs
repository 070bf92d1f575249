//! Rule 3: what those are told who wait for changes.

use super::ledger::{Entry, Ledger};
use super::{Wrong, who};
use crate::record::RunLog;
use crate::record::v2::{V2Asked, V2Heard, V2Record, V2Waiting};
use seatrial_types::v2::{V2Code, V2Verb};
use std::time::Duration;

/// Changes that members remember at least.
const REMEMBERED: u64 = 1000;

/// How long a member that knows of a change may take to tell of it.
const LAG: Duration = Duration::from_millis(1500);

/// Whether one who waits is to be told of it: of what happens there, and with `recursive` below it; and where a directory goes
/// in which it lies.
fn concerns(entry: &Entry<'_>, waiting: &V2Waiting) -> bool {
    let (event, path) = (entry.event, &entry.event.node.path);
    let is_below = |path: &str, dir: &str| path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'));
    let goes = matches!(event.verb, V2Verb::Delete | V2Verb::Expire);
    !entry.is_refresh()
        && (*path == waiting.path
            || waiting.recursive && is_below(path, &waiting.path)
            || goes && event.node.dir && is_below(&waiting.path, path))
}

pub(super) fn check(ledger: &Ledger<'_>, log: &RunLog) -> Result<(), Wrong> {
    for record in &log.v2 {
        let V2Asked::Wait(waiting) = &record.asked else { continue };
        judge(ledger, log, record, waiting).map_err(|what| {
            let from = if waiting.since == 0 { "now".to_owned() } else { format!("index {}", waiting.since) };
            let sentence = format!("{}, who waits at {} from {from} on, {what}", who(record), waiting.path);
            (sentence, Some(record.seen.ret), Some(record.member))
        })?;
    }
    for view in log.healing.iter().flat_map(|healing| &healing.v2).filter(|view| view.whole) {
        // What a member remembers in the end is what happened, without a gap.
        let told: Vec<u64> = view.events.iter().map(|event| event.index()).collect();
        let wanted = ledger.from(view.from).take_while(|(index, _)| *index <= view.index);
        let wanted: Vec<u64> =
            wanted.filter(|(_, entry)| !entry.is_untold()).map(|(index, _)| index).collect();
        if told != wanted {
            let missing = wanted.iter().find(|index| !told.contains(index));
            let sentence = format!(
                "member {} does not remember index {missing:?} of the v2 keys, though it remembers all from {} on",
                view.member, view.from
            );
            return Err((sentence, Some(view.at), Some(view.member)));
        }
    }
    Ok(())
}

fn judge(ledger: &Ledger<'_>, log: &RunLog, record: &V2Record, waiting: &V2Waiting) -> Result<(), String> {
    let since = waiting.since;
    let mut wanted = ledger.from(since).filter(|(_, entry)| concerns(entry, waiting)).map(|(index, _)| index);
    match &record.heard {
        V2Heard::Event { event, index } => {
            let told = event.index();
            if since == 0 {
                let is_wanted = wanted.any(|wanted| wanted == told) && told > *index;
                return if is_wanted { Ok(()) } else { Err(format!("was told of index {told}")) };
            }
            match wanted.next() {
                Some(first) if first == told => Ok(()),
                Some(first) => Err(format!("was told of index {told}, but index {first} concerns it")),
                None => Err(format!("was told of index {told}, which does not concern it")),
            }
        }
        V2Heard::Refused(error) if error.code == V2Code::EventIndexCleared => {
            if since > 0 && error.index.saturating_sub(since) >= REMEMBERED {
                return Ok(());
            }
            Err(format!("was told at index {} that this is forgotten", error.index))
        }
        V2Heard::Refused(error) => Err(format!("was refused: {error}")),
        V2Heard::Nothing if since > 0 => {
            let Some(first) = wanted.next() else { return Ok(()) };
            // Who waited at a member that went down meanwhile waits at nobody.
            let was_down = log.outages.iter().any(|outage| {
                outage.member == record.member
                    && outage.from <= record.seen.ret
                    && outage.to.is_none_or(|to| to >= record.seen.call)
            });
            if was_down {
                return Ok(());
            }
            // Its member told others of that index, or of a later one, while this one waited.
            let views = log.healing.iter().flat_map(|healing| &healing.v2);
            let in_the_end =
                views.filter(|view| view.member == record.member).map(|view| (view.at, view.index));
            let mut knew = in_the_end.filter(|(at, index)| {
                *index >= first && record.seen.call <= *at && *at + LAG <= record.seen.ret
            });
            knew.next().map_or(Ok(()), |(at, _)| {
                let until = record.seen.ret;
                Err(format!(
                    "was told nothing until {until:?}, though its member knew of index {first} at {at:?}"
                ))
            })
        }
        V2Heard::Nothing
        | V2Heard::Failed(_)
        | V2Heard::Unknown(_)
        | V2Heard::Joined(_)
        | V2Heard::Full(_) => Ok(()),
    }
}
