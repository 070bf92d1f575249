//! Nobody may do more than was decided, nor less, and the members agree (etcd: authentication; etcd#14571).
//!
//! One administrator decides, one thing after the other, so what a user may do is a value that changes: a user that was
//! let in must have been allowed at some moment between asking and being answered, one that was turned away for lack of
//! permission must have been forbidden at some such moment. A change whose answer was lost may come whenever it likes,
//! and its user is never decided on again. After the healing all members know the same users, roles and permissions.
//!
//! Does not see reads of a member's own state, nor what happened before authentication was on.

use super::Finding;
use crate::record::{PermitRecord, RunLog, TryRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(super) fn check(log: &RunLog) -> Finding {
    if let Some(since) = log.users_since {
        let mut permits: BTreeMap<u32, Vec<&PermitRecord>> = BTreeMap::new();
        for permit in log.permits.iter().filter(|permit| permit.done != Some(false)) {
            permits.entry(permit.user).or_default().push(permit);
        }
        for tried in log.tries.iter().filter(|tried| tried.seen.call > since) {
            let Some(permits) = permits.get(&tried.user) else { continue };
            if let Some(violation) = judge(tried, permits) {
                return violation;
            }
        }
    }
    let views = log.healing.iter().flat_map(|healing| &healing.users);
    let mut first = None;
    for view in views {
        let (member, text) = *first.get_or_insert((view.member, &view.text));
        if *text != view.text {
            let sentence = format!(
                "members {member} and {} know different users, roles or permissions: {text:?} and {:?}",
                view.member, view.text
            );
            return Finding::violation(
                sentence,
                log.healing.as_ref().and_then(|h| h.healed),
                Some(view.member),
            );
        }
    }
    Finding::Ok
}

fn judge(tried: &TryRecord, permits: &[&PermitRecord]) -> Option<Finding> {
    let mut possible: BTreeSet<bool> = BTreeSet::new();
    let mut decided: Option<(bool, Duration)> = None;
    for permit in permits {
        if permit.done == Some(true) && permit.seen.ret < tried.seen.call {
            decided = Some((permit.allowed, permit.seen.ret));
        } else if permit.seen.call < tried.seen.ret {
            possible.insert(permit.allowed);
        }
    }
    // Before the first decision is known to be made, nothing is.
    let (allowed, at) = decided?;
    possible.insert(allowed);
    if possible.contains(&tried.allowed) {
        return None;
    }
    let how = if tried.write { "write" } else { "read" };
    let sentence = if tried.allowed {
        format!(
            "member {} let user {} {how} at {:?}, though that was forbidden and acknowledged at {at:?}",
            tried.member, tried.user, tried.seen.call
        )
    } else {
        format!(
            "member {} turned user {}'s {how} of {:?} away, though it was allowed and acknowledged at {at:?}",
            tried.member, tried.user, tried.seen.call
        )
    };
    Some(Finding::violation(sentence, Some(tried.seen.ret), Some(tried.member)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, quiet, violated};
    use super::*;
    use crate::record::{Healing, Sighting, UsersView};
    use seatrial_types::MemberId;

    fn seen(ms: (u64, u64)) -> Sighting {
        Sighting { call: at(ms.0), ret: at(ms.1) }
    }

    /// Allowed from 100 to 110 ms on, forbidden from 500 to 510 ms on.
    fn run(tries: &[((u64, u64), bool)]) -> RunLog {
        let mut log = quiet();
        log.users_since = Some(at(50));
        for (ms, allowed) in [((100, 110), true), ((500, 510), false)] {
            log.permits.push(PermitRecord { user: 1, allowed, seen: seen(ms), done: Some(true) });
        }
        for (ms, allowed) in tries {
            let (member, seen) = (MemberId(2), seen(*ms));
            log.tries.push(TryRecord { user: 1, member, write: false, seen, allowed: *allowed });
        }
        log
    }

    #[test]
    fn a_user_who_gets_in_after_it_was_forbidden_is_a_violation() {
        assert!(violated(&check(&run(&[((511, 600), true)]))).contains("let user 1 read at 511ms"));
    }

    #[test]
    fn a_user_who_is_turned_away_while_allowed_is_a_violation() {
        assert!(violated(&check(&run(&[((111, 499), false)]))).contains("turned user 1's read"));
    }

    #[test]
    fn either_answer_is_right_while_a_change_is_under_way_or_its_answer_was_lost() {
        let near = [
            ((505, 600), true),
            ((505, 600), false),
            ((111, 501), false),
            ((60, 90), false),
            ((20, 30), true),
        ];
        assert_eq!(check(&run(&near)), Finding::Ok);
        let mut log = run(&[((700, 800), true), ((700, 800), false)]);
        log.permits.push(PermitRecord { user: 1, allowed: true, seen: seen((600, 650)), done: None });
        assert_eq!(check(&log), Finding::Ok, "it may come at any time");
        log.permits[2].done = Some(false);
        assert!(violated(&check(&log)).contains("let user 1"), "it certainly did not happen");
    }

    #[test]
    fn members_that_know_different_users_are_a_violation() {
        let mut log = run(&[]);
        let view = |member, text: &str| UsersView { member: MemberId(member), text: text.to_owned() };
        let users = vec![view(1, "a"), view(2, "a")];
        log.healing = Some(Healing { users, ..Healing::default() });
        assert_eq!(check(&log), Finding::Ok);
        log.healing.as_mut().unwrap().users.push(view(3, "b"));
        assert!(violated(&check(&log)).contains("members 1 and 3 know different"));
    }
}
