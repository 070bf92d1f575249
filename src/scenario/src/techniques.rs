//! What makes a search find rare bugs sooner, each of which can be left out to see what it is worth.

use crate::format::spec::Scenario;

/// A technique of the search that a scenario can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Technique {
    /// Each seed leaves a part of the faults and operations out.
    Swarm,
    /// Each seed draws the members' settings, small ones among them.
    Knobs,
    /// Faults wait for states of the cluster.
    During,
    /// Links have priorities.
    Priorities,
    /// Members do what is allowed and rare.
    Buggify,
}

impl Technique {
    /// Every technique.
    pub const ALL: &'static [Self] =
        &[Self::Swarm, Self::Knobs, Self::During, Self::Priorities, Self::Buggify];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Swarm => "swarm",
            Self::Knobs => "knobs",
            Self::During => "during",
            Self::Priorities => "priorities",
            Self::Buggify => "buggify",
        }
    }

    /// The technique of that name.
    ///
    /// # Errors
    /// Names those that there are.
    pub fn from_name(name: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|one| one.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|one| one.name()).collect();
            format!("no technique is called {name:?}\nhint: there are {}", names.join(", "))
        })
    }
}

impl std::fmt::Display for Technique {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The scenario without a technique. Whatever else a seed draws stays as it was.
///
/// Without [`Technique::Knobs`] every seed has the same settings, of each list the one that is nearest to a server's: the
/// largest of sizes and counts, the first of all else.
#[must_use]
pub fn without(scenario: &Scenario, technique: Technique) -> Scenario {
    let mut scenario = scenario.clone();
    match technique {
        Technique::Swarm => scenario.swarm = false,
        Technique::Priorities => scenario.priorities = false,
        Technique::Buggify => scenario.buggify = false,
        Technique::During => scenario.nemeses.iter_mut().for_each(|nemesis| nemesis.during = None),
        Technique::Knobs => {
            let knobs = &mut scenario.knobs;
            for sizes in [
                &mut knobs.segment_bytes,
                &mut knobs.snapshot_entries,
                &mut knobs.keep_entries,
                &mut knobs.append_bytes,
                &mut knobs.inflight,
                &mut knobs.chunk_bytes,
                &mut knobs.watch_window,
                &mut knobs.uncommitted_bytes,
                &mut knobs.quota_bytes,
            ] {
                let most = sizes.iter().copied().max();
                *sizes = most.into_iter().collect();
            }
            for times in [
                &mut knobs.election_timeout,
                &mut knobs.heartbeat,
                &mut knobs.net_latency,
                &mut knobs.sync_latency,
                &mut knobs.watch_progress,
                &mut knobs.lease_checkpoint,
                &mut knobs.corrupt_check,
                &mut knobs.request_timeout,
            ] {
                times.truncate(1);
            }
            knobs.joint.truncate(1);
            knobs.initial_check.truncate(1);
        }
    }
    scenario
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;
    use std::collections::BTreeSet;

    const STORM: &str = "title = \"t\"\nwhy = \"w\"\nmembers = 3\ntime = \"20s\"\n\
        [[workload]]\nname = \"kv\"\n\
        [[nemesis]]\nname = \"kill\"\nduring = \"election\"\ntarget = \"involved\"\nevery = \"3s\"\nlasts = \"1s\"\n\
        [[nemesis]]\nname = \"pause\"\nevery = \"3s\"\nlasts = \"1s\"\n";

    #[test]
    fn each_technique_can_be_left_out_and_leaves_the_others_as_they_were() {
        let storm = crate::format::parse("storm.toml", STORM).expect("a scenario");
        let plans = |scenario: &Scenario| -> Vec<Plan> {
            (0..60).map(|seed| Plan { scenario: storm.clone(), ..Plan::draw(scenario, seed) }).collect()
        };
        let all = plans(&storm);
        for technique in Technique::ALL.iter().copied() {
            let less = plans(&without(&storm, technique));
            assert_ne!(less, all, "{technique}");
            let kinds = |plan: &Plan| plan.faults.iter().map(|fault| fault.kind).collect::<BTreeSet<_>>();
            let without_it = less.iter().all(|plan| match technique {
                Technique::Swarm => kinds(plan).len() == 2,
                Technique::Knobs => plan.knobs == less[0].knobs,
                Technique::During => plan.faults.iter().all(|fault| fault.during.is_none()),
                Technique::Priorities => plan.priorities.is_none(),
                Technique::Buggify => plan.sites.is_empty(),
            });
            assert!(without_it, "{technique}");
            for (less, all) in less.iter().zip(&all) {
                let keeps = technique == Technique::Swarm || less.clients == all.clients;
                assert!(keeps, "{technique} seed {}: other clients", less.seed);
                let keeps = technique == Technique::Buggify || less.sites == all.sites;
                assert!(keeps, "{technique} seed {}: other sites", less.seed);
                let keeps = technique == Technique::Knobs || less.knobs == all.knobs;
                assert!(keeps, "{technique} seed {}: other knobs", less.seed);
            }
            assert_eq!(Technique::from_name(technique.name()), Ok(technique));
        }
        assert!(
            Technique::from_name("luck")
                .unwrap_err()
                .ends_with("there are swarm, knobs, during, priorities, buggify")
        );
    }
}
