//! Consensus on the worst of networks, walked through with what is left out and without.

use seatrial_explore::raft::reduced::{Bounds, Reductions, Report, ResumeError, Walk, WalkLimits};
use seatrial_explore::{Outcome, Sight};
use std::num::NonZeroUsize;
use std::time::Duration;

const SMALL: Bounds = Bounds { members: 2, terms: 2, entries: 0, crashes: 0, beats: 0, reads: 0 };

fn limits(threads: usize) -> WalkLimits {
    WalkLimits { threads: NonZeroUsize::new(threads).unwrap(), ..WalkLimits::default() }
}

fn go(walk: &mut Walk, limits: WalkLimits) -> Report {
    walk.go(limits, || (Duration::ZERO, 0), |_| {})
}

fn holds(report: &Report) -> Sight {
    match &report.outcome {
        Outcome::Holds(sight) => *sight,
        Outcome::Violated(_, example) => panic!("{example}"),
        Outcome::Unfinished(sight) => panic!("not all of it was seen: {sight:?}"),
    }
}

#[test]
fn what_is_left_out_hides_no_log_vote_or_commit_of_any_world() {
    for bounds in [
        SMALL,
        Bounds { terms: 1, entries: 1, crashes: 1, ..SMALL },
        Bounds { terms: 1, reads: 1, ..SMALL },
        Bounds { terms: 1, beats: 1, ..SMALL },
    ] {
        let walk = |reductions| {
            let mut walk = Walk::new(bounds, reductions);
            let sight = holds(&go(&mut walk, limits(1)));
            (walk.outlines(), sight)
        };
        let ((reduced, few), (whole, many)) = (walk(Reductions::ALL), walk(Reductions::NONE));
        println!("{bounds:?}: {few:?} instead of {many:?}, {} outlines", whole.len());
        assert!(whole.len() > 5, "{bounds:?}: {} outlines", whole.len());
        assert!(few.unique * 10 <= many.unique, "{bounds:?}: {few:?} instead of {many:?}");
        assert_eq!(reduced, whole, "{bounds:?}");
    }
}

#[test]
fn symmetry_alone_halves_two_members_and_keeps_every_outline() {
    let bounds = Bounds { terms: 1, entries: 1, ..SMALL };
    let walk = |symmetry| {
        let mut walk = Walk::new(bounds, Reductions { symmetry, order: false });
        let sight = holds(&go(&mut walk, limits(1)));
        (walk.outlines(), sight.unique)
    };
    let ((one, halved), (two, all)) = (walk(true), walk(false));
    assert_eq!(one, two);
    assert!(halved * 2 >= all && halved * 2 <= all + all / 50, "{halved} of {all}");
}

#[test]
fn three_members_of_which_one_crashes_are_walked_through_and_two_threads_count_the_same() {
    let bounds = Bounds { members: 3, terms: 1, entries: 1, crashes: 1, ..SMALL };
    let count = |threads| {
        let report = go(&mut Walk::new(bounds, Reductions::ALL), limits(threads));
        assert!(report.state_bytes < 64.0, "{}", report.state_bytes);
        holds(&report)
    };
    let one = count(1);
    assert!(one.unique > 10_000, "the model has shrunk: {one:?}");
    assert_eq!(one, count(2));
}

#[test]
fn three_members_and_two_leaders_are_walked_through() {
    let report = go(&mut Walk::new(Bounds { members: 3, ..SMALL }, Reductions::ALL), limits(2));
    assert!(holds(&report).unique > 1_000, "{:?}", report.outcome);
}

#[test]
fn a_walk_that_was_cut_off_goes_on_from_its_checkpoint_to_the_same_end() {
    let bounds = Bounds { members: 3, terms: 1, entries: 1, ..SMALL };
    let whole = holds(&go(&mut Walk::new(bounds, Reductions::ALL), limits(1)));

    let mut first = Walk::new(bounds, Reductions::ALL);
    let cut = WalkLimits { steps_max: NonZeroUsize::new(1_000), ..limits(1) };
    let report = go(&mut first, cut);
    assert!(
        matches!(report.outcome, Outcome::Unfinished(sight) if sight.unique < whole.unique),
        "{report:?}"
    );
    assert!(report.growth.fastest().is_some() && report.growth.to_string().contains("progress of followers"));
    let mut kept = Vec::new();
    first.save(&mut kept).unwrap();
    assert_eq!(holds(&go(&mut first, limits(1))), whole);

    let mut second = Walk::resume(&mut kept.as_slice()).unwrap();
    assert_eq!(second.bounds(), bounds);
    assert_eq!(holds(&go(&mut second, limits(2))), whole);
}

#[test]
fn a_checkpoint_that_is_none_or_was_damaged_is_refused() {
    let mut walk = Walk::new(SMALL, Reductions::ALL);
    go(&mut walk, limits(1));
    let mut kept = Vec::new();
    walk.save(&mut kept).unwrap();
    let resume = |bytes: &[u8]| Walk::resume(&mut &*bytes).map(|_| ());
    assert!(resume(&kept).is_ok());
    assert!(matches!(resume(b"something else"), Err(ResumeError::NoCheckpoint)));
    assert!(matches!(resume(&kept[..kept.len() - 1]), Err(ResumeError::Io(_))));
    let worlds = go(&mut walk, limits(1)).outcome.sight().unique;
    // Of the end: the worlds, their number, and the digest before it.
    let digest = kept.len() - 8 - worlds * 16 - 16;
    kept[digest] ^= 1;
    let error = resume(&kept).unwrap_err();
    assert!(matches!(error, ResumeError::OtherBuild { .. }), "{error}");
}
