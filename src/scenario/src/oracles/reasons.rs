//! When a member may end, or not start: because its disk failed it. What it says of that must fit what was done to it.

use crate::format::spec::NemesisKind;
use crate::observation::Observed;
use crate::record::{FaultRecord, RunLog};
use std::time::Duration;

/// The disk refuses something, and says so.
const REFUSES: &[NemesisKind] = &[NemesisKind::SyncError, NemesisKind::FullDisk, NemesisKind::ReadError];

/// What was written is not what is read; the member may find that at any time, and must name the file.
const ALTERS: &[NemesisKind] = &[NemesisKind::StoreRot, NemesisKind::MisdirectedWrite];

fn hit<'a>(
    log: &'a RunLog,
    seen: &'a Observed,
    kinds: &'a [NemesisKind],
) -> impl Iterator<Item = &'a FaultRecord> {
    log.faults.iter().filter(|fault| {
        kinds.iter().any(|kind| kind.name() == fault.kind)
            && fault.targets.contains(&seen.member)
            && fault.from <= seen.at
    })
}

/// Whether its disk refused something then, or not longer before than `later`.
pub(super) fn was_refused(log: &RunLog, seen: &Observed, later: Duration) -> bool {
    hit(log, seen, REFUSES).any(|fault| fault.to.is_none_or(|to| seen.at <= to + later))
}

/// Whether something on its disk was altered before, and it says where.
pub(super) fn found_altered(log: &RunLog, seen: &Observed, why: &str) -> bool {
    let names_it = [".redb", ".wal", "do not belong together"].iter().any(|name| why.contains(name));
    names_it && hit(log, seen, ALTERS).next().is_some()
}

/// Whether it was hit by one of these, and not longer before than `later` that it was over.
pub(super) fn was_hit(log: &RunLog, seen: &Observed, kinds: &[NemesisKind], later: Duration) -> bool {
    hit(log, seen, kinds).any(|fault| fault.to.is_none_or(|to| seen.at <= to + later))
}
