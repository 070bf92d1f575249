//! What the commands print. Locksmith's verbs print what locksmith prints, to the letter, for scripts read it; ours say
//! more.

use crate::error::RebootError;
use crate::guard::Refusal;
use crate::ledger::Freed;
use crate::plan::{Plan, View};
use crate::semaphore::Semaphore;
use crate::wall::Age;
use std::fmt::Write as _;
use std::time::Duration;

/// Printed where a verb that takes a number gets none.
pub const NO_MAX: &str = "New maximum value must be set.";

/// Printed where the machine's id cannot be read and none is given.
pub const NO_MACHINE_ID: &str = "Cannot read machine-id";

/// Printed where somebody without the right asks for a reboot.
pub const NOT_ROOT: &str = "Must be root to initiate reboot.";

/// `status`, as locksmith prints it.
#[must_use]
pub fn status(semaphore: &Semaphore) -> String {
    let mut out = format!("Available: {}\nMax: {}\n", semaphore.count(), semaphore.max());
    if !semaphore.holders().is_empty() {
        out += "\nMACHINE ID\n";
        for holder in semaphore.holders() {
            let _ = writeln!(out, "{holder}");
        }
    }
    out
}

/// `set-max`, as locksmith prints it.
#[must_use]
pub fn set_max(old: i64, semaphore: &Semaphore) -> String {
    format!("Old-Max: {old}\nMax: {}\n", semaphore.max())
}

/// A number that is none, as locksmith says it.
#[must_use]
pub fn invalid_max(given: &str) -> String {
    format!("Invalid maximum value: {given}")
}

/// A verb that is none; the command ends with 2.
#[must_use]
pub fn unknown_subcommand(verb: &str) -> String {
    format!("locksmithctl: unknown subcommand: \"{verb}\"")
}

/// A failed `lock` or `reboot`; the command ends with 1.
#[must_use]
pub fn lock_failed(error: &RebootError) -> String {
    format!("Error locking: {error}")
}

/// A failed `unlock`; the command ends with 1.
#[must_use]
pub fn unlock_failed(error: &RebootError) -> String {
    format!("Error unlocking: {error}")
}

/// A failed `status` or `set-max`; the command ends with 1.
#[must_use]
pub fn value_failed(error: &RebootError) -> String {
    format!("Error setting value: {error}")
}

/// `send-need-reboot` that no agent heard; the command ends with 1.
#[must_use]
pub fn signal_failed(why: &str) -> String {
    format!("error emitting signal: {why}")
}

/// Our `lock` that was refused; the command ends with 1.
#[must_use]
pub fn refused(id: &str, refusal: &Refusal) -> String {
    let mut out = format!("{id} may not reboot now ({}): {refusal}", refusal.kind());
    match refusal {
        Refusal::Full { .. } | Refusal::Queued { .. } => {
            out += "\nhint: it keeps its place while it asks again; `plan` shows who is before it";
        }
        Refusal::Paused { .. } | Refusal::Stopped { .. } => out += "\nhint: `resume` lets the group go on",
        Refusal::Quorum(shortage) if shortage.voters < 3 => {
            out += "\nhint: fewer than three voters can spare none; add members, or move the voter first";
        }
        Refusal::Quorum(_) => {
            out += "\nhint: wait until the machines that are away are back, and all members healthy"
        }
        Refusal::OutsideWindow { .. }
        | Refusal::Alert { .. }
        | Refusal::Draining { .. }
        | Refusal::DrainFailed { .. } => {}
    }
    out
}

/// Our `status`: ages, phases, what is overdue, and what an operator should know.
#[must_use]
pub fn status_long(view: &View) -> String {
    let View { semaphore, ledger, unreadable, now } = view;
    let mut out = format!("Available: {}\nMax: {}\n", semaphore.available(), semaphore.max());
    if semaphore.over() > 0 {
        let _ = writeln!(out, "Over: {}", semaphore.over());
    }
    if let Some(why) = unreadable {
        let _ = writeln!(out, "Ledger: unreadable: {why}");
    }
    if let Some(refusal) = ledger.stopped(*now) {
        let _ = writeln!(out, "Stopped: {refusal}");
    }
    let holders = ledger.held(*now);
    let rows = holders.iter().map(|held| {
        let note = match (held.reserved, held.overdue) {
            (true, _) => "about to be granted".to_owned(),
            (false, Some(late)) => format!("overdue by {}; `unlock {}` frees it", Age(late), held.id),
            (false, None) => String::new(),
        };
        vec![held.id.clone(), held.phase.to_string(), Age(held.age).to_string(), note]
    });
    table(&mut out, &["MACHINE ID", "PHASE", "SINCE", "NOTE"], rows.collect());
    for failure in &ledger.failed {
        let _ = writeln!(out, "did not come back: {} ({})", failure.id, failure.by);
    }
    out
}

/// `plan`: who is next, why it waits, and when it will probably be done.
#[must_use]
pub fn plan(plan: &Plan) -> String {
    let Plan { holders, waiters, stopped, typical, done_in } = plan;
    let mut out = String::new();
    if let Some(refusal) = stopped {
        let _ = writeln!(out, "Stopped: {refusal}");
    }
    if holders.is_empty() && waiters.is_empty() {
        out += "Nobody holds a slot, and nobody waits for one.\n";
        return out;
    }
    let now = holders.iter().map(|held| {
        let late = held.overdue.map_or_else(String::new, |late| format!(", overdue by {}", Age(late)));
        let (age, phase) = (Age(held.age).to_string(), format!("{}{late}", held.phase));
        vec!["now".to_owned(), held.id.clone(), age, phase, String::new(), String::new()]
    });
    let next = waiters.iter().zip(1..).map(|(waiter, place)| {
        let (starts, ends) =
            waiter.expected.map_or_else(Default::default, |(start, end)| (span(start), span(end)));
        let why = if waiter.aside {
            format!("{} (others pass)", why(&waiter.why))
        } else {
            why(&waiter.why).to_owned()
        };
        vec![format!("{place}"), waiter.id.clone(), Age(waiter.waited).to_string(), why, starts, ends]
    });
    table(
        &mut out,
        &["PLACE", "MACHINE ID", "FOR", "WHY", "STARTS IN", "ENDS IN"],
        now.chain(next).collect(),
    );
    match (typical, done_in) {
        (Some(typical), Some(done)) => {
            let _ = writeln!(
                out,
                "\nA reboot takes about {}; all are done in about {}.",
                Age(*typical),
                Age(*done)
            );
        }
        (None, _) if !waiters.is_empty() => out += "\nNo reboot has ended yet, so nothing is estimated.\n",
        _ => {}
    }
    out
}

/// `pause`.
#[must_use]
pub fn paused(group: &str, why: &str, holders: usize) -> String {
    let mut out = format!("Reboots of group {group} are paused");
    if !why.is_empty() {
        let _ = write!(out, ": {why}");
    }
    out += ".\n";
    if holders > 0 {
        let _ = writeln!(out, "{holders} already hold a slot and go on.");
    }
    out
}

/// `resume`.
#[must_use]
pub fn resumed(group: &str) -> String {
    format!("Reboots of group {group} go on.\n")
}

/// What was freed, one machine a line.
#[must_use]
pub fn swept(freed: &[(String, Freed)]) -> String {
    freed.iter().fold(String::new(), |mut out, (id, by)| {
        let _ = writeln!(out, "{id}: {by}");
        out
    })
}

fn span(span: Duration) -> String {
    if span.is_zero() { "now".to_owned() } else { format!("~{}", Age(span)) }
}

/// The word of a refusal, for people.
fn why(kind: &str) -> &str {
    match kind {
        "" => "has not asked since",
        "failed_lock" => "no slot is free",
        "waiting_turn" => "not its turn",
        "rollout_paused" => "paused",
        "rollout_stopped" => "stopped",
        "outside_window" => "outside of its window",
        "blocking_alert" => "an alert",
        "quorum_guard" => "the store's quorum",
        "draining" => "is being drained",
        "drain_failed" => "its drain failed",
        other => other,
    }
}

/// Columns as wide as their widest cell; nothing where there is no row.
fn table(out: &mut String, head: &[&str], rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    let head = head.iter().map(|cell| (*cell).to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    out.push('\n');
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::{Guards, Shortage};
    use crate::ledger::{Ledger, Phase};
    use crate::semaphore::SemaphoreError;
    use crate::wall::Wall;

    fn view() -> View {
        let mut semaphore = Semaphore::default();
        semaphore.set_max(2);
        let mut ledger = Ledger::default();
        ledger.took_seconds = vec![120];
        for (id, since) in [("m1", 1000), ("m2", 2850)] {
            ledger.reserve(id, 1, Phase::Rebooting, None, Wall(since));
            semaphore.lock(id).unwrap();
        }
        let now = Wall(2895);
        ledger.reconcile(&semaphore, 2, now);
        ledger.turn(&semaphore, "m3", &Guards::default(), now);
        View { semaphore, ledger, unreadable: None, now }
    }

    #[test]
    fn locksmiths_verbs_print_what_locksmith_prints() {
        let mut semaphore = Semaphore::default();
        assert_eq!(status(&semaphore), "Available: 1\nMax: 1\n");
        semaphore.lock("m1").unwrap();
        assert_eq!(status(&semaphore), "Available: 0\nMax: 1\n\nMACHINE ID\nm1\n");
        let old = semaphore.set_max(-1);
        assert_eq!(set_max(old, &semaphore), "Old-Max: 1\nMax: -1\n");
        assert_eq!(status(&semaphore), "Available: -2\nMax: -1\n\nMACHINE ID\nm1\n");
        let error = |error: SemaphoreError| RebootError::from(error);
        assert_eq!(
            lock_failed(&error(SemaphoreError::Exhausted { at: 0 })),
            "Error locking: semaphore is at 0"
        );
        assert_eq!(lock_failed(&error(SemaphoreError::HolderExists)), "Error locking: holder exists");
        assert_eq!(
            unlock_failed(&error(SemaphoreError::HolderDoesNotExist)),
            "Error unlocking: holder does not exist"
        );
        assert_eq!(unknown_subcommand("bogus"), "locksmithctl: unknown subcommand: \"bogus\"");
        assert_eq!(invalid_max("x"), "Invalid maximum value: x");
    }

    #[test]
    fn our_status_says_since_when_and_what_is_late() {
        let mut view = view();
        assert_eq!(
            status_long(&view),
            "Available: 0\nMax: 2\n\n\
             MACHINE ID  PHASE      SINCE   NOTE\n\
             m1          rebooting  31m35s  overdue by 1m35s; `unlock m1` frees it\n\
             m2          rebooting  45s\n"
        );
        view.semaphore.set_max(1);
        view.ledger.policy.failures_max = Some(1);
        let text = status_long(&view);
        assert!(
            text.contains("Available: 0\nMax: 1\nOver: 1\nStopped: 1 machines did not come back"),
            "{text}"
        );
    }

    #[test]
    fn the_plan_says_who_is_next_and_why_it_waits() {
        assert_eq!(
            plan(&view().plan()),
            "\nPLACE  MACHINE ID  FOR     WHY                          STARTS IN  ENDS IN\n\
             now    m1          31m35s  rebooting, overdue by 1m35s\n\
             now    m2          45s     rebooting\n\
             1      m3          0s      no slot is free              now        ~2m0s\n\n\
             A reboot takes about 2m0s; all are done in about 2m0s.\n"
        );
        let empty = View { ledger: Ledger::default(), semaphore: Semaphore::default(), ..view() };
        assert_eq!(plan(&empty.plan()), "Nobody holds a slot, and nobody waits for one.\n");
    }

    #[test]
    fn every_word_of_a_refusal_has_one_for_people() {
        for refusal in [
            Refusal::Full { slots: 1 },
            Refusal::Queued { ahead: 2 },
            Refusal::Paused { why: "x".into() },
            Refusal::Stopped { failed: 1, limit: 1 },
            Refusal::OutsideWindow { opens_in: None },
            Refusal::Alert { name: "x".into(), more: 0 },
            Refusal::Quorum(Shortage { voters: 1, left: 0, majority: 1, homeless: 0 }),
            Refusal::Draining { since: Duration::ZERO },
            Refusal::DrainFailed { why: "x".into() },
        ] {
            assert_ne!(why(refusal.kind()), refusal.kind());
            assert!(
                refused("m1", &refusal).starts_with(&format!("m1 may not reboot now ({}): ", refusal.kind()))
            );
        }
    }

    #[test]
    fn a_pause_says_who_goes_on() {
        assert_eq!(paused("default", "storm", 0), "Reboots of group default are paused: storm.\n");
        assert_eq!(
            paused("lb", "", 2),
            "Reboots of group lb are paused.\n2 already hold a slot and go on.\n"
        );
        assert_eq!(resumed("lb"), "Reboots of group lb go on.\n");
        assert_eq!(swept(&[("m1".into(), Freed::Removed)]), "m1: freed: the machine was removed\n");
    }
}
