//! Every planted bug of this room is noticed: by a short history made for it, and by storms.
//!
//! The switches are process-wide, so everything stands in one test. Run with `--features mutants`.

#![cfg(feature = "mutants")]

mod common;

use common::{directed, storm};
use seatrial_types::planted::{Planted, plant};
use std::panic::{AssertUnwindSafe, catch_unwind};

fn panics(run: impl FnOnce()) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(run)).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    Some(text.unwrap_or_default().lines().collect::<Vec<_>>().join(" "))
}

/// The first seed whose storm notices the bug.
fn storm_that_notices(seeds: u64) -> Option<(u64, String)> {
    (0..seeds).find_map(|seed| {
        panics(|| {
            let _ = storm::run(seed);
        })
        .map(|text| (seed, text))
    })
}

#[test]
fn every_planted_bug_is_noticed() {
    // The failures are wanted; their reports are not.
    std::panic::set_hook(Box::new(|_| {}));
    let bugs: [(Planted, fn(), u64); 8] = [
        (Planted::R01, directed::figure_8, 150),
        (Planted::R02, directed::vote_survives_a_crash, 40),
        (Planted::R05, directed::late_append_cuts_nothing, 40),
        (Planted::R07, directed::acknowledged_survives_a_crash, 40),
        (Planted::R08, directed::own_copy_counts_when_durable, 40),
        (Planted::R18, directed::older_term_catches_up, 200),
        (Planted::R25, directed::new_leader_reads_late, 40),
        (Planted::R27, directed::old_leader_does_not_read, 120),
    ];
    let mut missed = Vec::new();
    for (bug, history, seeds) in bugs {
        plant(&[]);
        if let Some(text) = panics(history) {
            missed.push(format!("the history of {bug} fails without it: {text}"));
        }
        plant(&[bug]);
        match panics(history) {
            Some(text) => println!("{bug}: its history says: {text}"),
            None => missed.push(format!("{bug}: its history notices nothing")),
        }
        match storm_that_notices(seeds) {
            Some((seed, text)) => println!("{bug}: storm {seed} says: {text}"),
            None if seeds == 0 => {}
            None => missed.push(format!("{bug}: {seeds} storms notice nothing")),
        }
        plant(&[]);
    }
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "{missed:#?}");
}
