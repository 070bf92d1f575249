//! After the storm, within the scenario's bound: one leader that all members know, fresh writes and reads
//! served through every member, one state. Every second plan lets a bare majority run alone first, which must
//! do without the others.
//!
//! Safety alone is kept by a cluster that does nothing; this oracle asks for life. It does not see how long
//! service was away during the storm. Nothing is asked where so many logs lost entries before any of them was made whole
//! that no majority may vote: that loss is more than the cluster is made for, and to serve nobody is right.

use super::Finding;
use crate::losses::Losses;
use crate::record::RunLog;

pub(super) fn check(log: &RunLog) -> Finding {
    let bound = log.plan.scenario.expect.heals_within;
    match &log.healing {
        None if log.panics.is_empty() => Finding::Unknown("the run ended before it could heal".to_owned()),
        None => Finding::Unknown("a panic ended the run before it could heal".to_owned()),
        Some(healing) if healing.healed.is_some() || too_many_lost(log) => Finding::Ok,
        Some(healing) => {
            let up: Vec<String> = healing.up.iter().map(ToString::to_string).collect();
            let is_part = !up.is_empty() && up.len() < log.plan.members().count();
            let who = if is_part { format!(" with members {} up", up.join(" ")) } else { String::new() };
            let sentence = format!(
                "{bound:?} after the last fault had ended{who} these are still missing: {}",
                healing.missing.join(", ")
            );
            Finding::violation(sentence, Some(healing.began + bound), None)
        }
    }
}

/// Whether a majority is not to be had without members whose logs are not whole.
fn too_many_lost(log: &RunLog) -> bool {
    let mut losses = Losses::default();
    for seen in &log.observed {
        losses.observe(seen.member, &seen.what);
    }
    let members = log.plan.members().count();
    members - losses.harmed().count().min(members) < members / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::super::testing::{applied, at, quiet, saw, violated};
    use super::*;
    use crate::observation::Observation;
    use crate::record::Healing;

    #[test]
    fn a_cluster_that_does_not_heal_is_a_violation() {
        let mut log = quiet();
        let missing = vec!["a write through member 2".to_owned()];
        log.healing = Some(Healing { began: at(1000), missing, ..Healing::default() });
        assert_eq!(
            violated(&check(&log)),
            "20s after the last fault had ended these are still missing: a write through member 2"
        );
    }

    #[test]
    fn a_cluster_that_heals_in_time_is_none_and_an_early_end_is_unknown() {
        let mut log = quiet();
        log.healing = Some(Healing { began: at(1000), healed: Some(at(2000)), ..Healing::default() });
        assert_eq!(check(&log), Finding::Ok);
        assert!(matches!(check(&quiet()), Finding::Unknown(_)));
    }

    #[test]
    fn nothing_is_asked_of_a_majority_that_lost_its_logs_and_something_of_one_made_whole() {
        let damage = || Observation::Finding { text: "lost".to_owned(), damage: true };
        let mut log = quiet();
        log.healing = Some(Healing { began: at(1000), missing: vec!["x".to_owned()], ..Healing::default() });
        saw(&mut log, 100, 1, 0, applied(7, 1, 0));
        saw(&mut log, 200, 1, 1, damage());
        violated(&check(&log));
        saw(&mut log, 300, 2, 1, damage());
        assert_eq!(check(&log), Finding::Ok, "two of three");
        saw(&mut log, 400, 1, 1, applied(7, 1, 0));
        assert_eq!(check(&log), Finding::Ok, "it had applied that before");
        saw(&mut log, 500, 1, 1, applied(8, 1, 0));
        violated(&check(&log));
    }
}
