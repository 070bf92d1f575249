//! The campaign over planted bugs: which scenario is likely to find which, and by which oracle.

use seatrial_types::planted::Planted;

/// How a planted bug is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hunt {
    /// The bug.
    pub bug: Planted,
    /// Names of scenarios, the likeliest first.
    pub scenarios: &'static [&'static str],
    /// Oracles that may name it, the one we expect first: a bug can show in more than one way.
    pub oracles: &'static [&'static str],
}

/// One row for each planted bug.
pub const HUNTS: &[Hunt] = &[
    Hunt {
        bug: Planted::R01,
        scenarios: &["figure-eight", "leader-cut-off"],
        oracles: &["no-panic", "state-machine-safety", "leader-completeness", "durability", "linearizable"],
    },
    Hunt {
        bug: Planted::R02,
        scenarios: &["forgotten-votes", "power-loss-of-all"],
        oracles: &["election-safety", "log-matching", "no-panic"],
    },
    Hunt {
        bug: Planted::R04,
        scenarios: &["figure-eight", "leader-cut-off"],
        oracles: &[
            "no-panic",
            "leader-completeness",
            "state-machine-safety",
            "durability",
            "linearizable",
            "convergence",
        ],
    },
    Hunt {
        bug: Planted::R20,
        scenarios: &["leader-cut-off-that-stays"],
        oracles: &["serves", "convergence"],
    },
    Hunt {
        bug: Planted::R05,
        scenarios: &["stale-appends", "flapping-link"],
        oracles: &[
            "no-panic",
            "leader-completeness",
            "state-machine-safety",
            "durability",
            "linearizable",
            "convergence",
        ],
    },
    Hunt {
        bug: Planted::R07,
        scenarios: &["power-loss-mid-commit", "power-loss-of-all"],
        oracles: &["durability", "leader-completeness", "state-machine-safety", "linearizable", "no-panic"],
    },
    Hunt {
        bug: Planted::R08,
        scenarios: &["leader-loses-power", "power-loss-mid-commit", "power-loss-of-all"],
        oracles: &["durability", "leader-completeness", "state-machine-safety", "linearizable", "no-panic"],
    },
    Hunt { bug: Planted::R18, scenarios: &["returning-member", "leader-killed"], oracles: &["convergence"] },
    Hunt {
        bug: Planted::R25,
        scenarios: &["fresh-leader-reads", "leader-killed"],
        oracles: &["linearizable"],
    },
    Hunt {
        bug: Planted::R27,
        scenarios: &["old-leader-reads", "leader-cut-off"],
        oracles: &["linearizable"],
    },
    Hunt {
        bug: Planted::D01,
        scenarios: &["power-loss-of-all", "wal-damage"],
        oracles: &["boots", "convergence"],
    },
    Hunt {
        bug: Planted::D02,
        scenarios: &["rotten-log", "wal-damage"],
        // A vote may lie behind the damage, and be forgotten with the rest.
        oracles: &[
            "durability",
            "leader-completeness",
            "state-machine-safety",
            "linearizable",
            "no-panic",
            "election-safety",
        ],
    },
    Hunt {
        bug: Planted::R26,
        scenarios: &["old-leader-reads", "leader-cut-off"],
        oracles: &["linearizable"],
    },
    Hunt {
        bug: Planted::R30,
        scenarios: &["stalled-leader-reads", "old-leader-reads"],
        oracles: &["linearizable"],
    },
    Hunt {
        bug: Planted::R32,
        scenarios: &["snapshot-then-power-loss"],
        oracles: &["boots", "no-panic", "convergence"],
    },
    Hunt {
        bug: Planted::R34,
        scenarios: &["lagging-member", "snapshot-then-power-loss"],
        oracles: &["convergence"],
    },
    Hunt {
        bug: Planted::R36,
        scenarios: &["slow-disk-on-leader", "leader-cut-off", "storm"],
        oracles: &["linearizable", "serializable"],
    },
    Hunt {
        bug: Planted::D04,
        scenarios: &["sync-error-then-power-loss"],
        oracles: &[
            "durability",
            "leader-completeness",
            "state-machine-safety",
            "linearizable",
            "boots",
            "no-panic",
            "convergence",
            "election-safety",
        ],
    },
    Hunt {
        bug: Planted::D07,
        scenarios: &["slow-disk-on-leader", "storm"],
        oracles: &[
            "no-panic",
            "hash-kv",
            "boots",
            "durability",
            "linearizable",
            "serializable",
            "watch",
            "convergence",
        ],
    },
    Hunt {
        bug: Planted::D09,
        scenarios: &["restart-after-compaction"],
        oracles: &["serializable", "hash-kv", "convergence"],
    },
    Hunt { bug: Planted::W02, scenarios: &["lagging-member", "watch-slow-readers"], oracles: &["watch"] },
    Hunt { bug: Planted::L01, scenarios: &["leases-and-leaders"], oracles: &["lease"] },
    Hunt { bug: Planted::L05, scenarios: &["leases-and-leaders", "storm"], oracles: &["lease"] },
    Hunt { bug: Planted::W01, scenarios: &["watch-slow-readers"], oracles: &["watch"] },
    Hunt { bug: Planted::W03, scenarios: &["watch-slow-readers"], oracles: &["watch"] },
    Hunt { bug: Planted::W06, scenarios: &["watch-slow-readers"], oracles: &["watch"] },
    Hunt {
        bug: Planted::D11,
        scenarios: &["reads-behind-compaction"],
        oracles: &["hash-kv", "linearizable", "serializable", "durability", "watch", "convergence"],
    },
    Hunt { bug: Planted::L03, scenarios: &["overloaded-leases"], oracles: &["lease"] },
    Hunt { bug: Planted::K01, scenarios: &["locks-in-a-queue", "locks"], oracles: &["lock"] },
    Hunt { bug: Planted::K03, scenarios: &["locks-in-a-queue", "locks"], oracles: &["lock"] },
    Hunt {
        bug: Planted::R10,
        scenarios: &["changes-by-new-leaders", "members-replaced"],
        oracles: &["membership"],
    },
    Hunt { bug: Planted::R12, scenarios: &["wiped-member-returns"], oracles: &["membership"] },
    Hunt { bug: Planted::R14, scenarios: &["learner-in-a-partition"], oracles: &["membership"] },
    Hunt { bug: Planted::R16, scenarios: &["joint-changes"], oracles: &["membership"] },
    Hunt {
        bug: Planted::R23,
        scenarios: &["bridge-that-stays", "one-way-cut-that-stays"],
        oracles: &["serves"],
    },
    Hunt {
        bug: Planted::A01,
        scenarios: &["users-alone", "users"],
        oracles: &["auth", "linearizable", "serializable", "durability", "hash-kv", "watch", "convergence"],
    },
    Hunt { bug: Planted::A02, scenarios: &["users"], oracles: &["auth", "linearizable", "convergence"] },
    Hunt { bug: Planted::L06, scenarios: &["lease-checkpoints"], oracles: &["lease"] },
    Hunt { bug: Planted::L07, scenarios: &["lease-checkpoints"], oracles: &["lease"] },
    Hunt { bug: Planted::C01, scenarios: &["another-value"], oracles: &["corruption"] },
    Hunt { bug: Planted::C02, scenarios: &["another-value"], oracles: &["corruption"] },
    Hunt { bug: Planted::Q01, scenarios: &["full-quota"], oracles: &["quota"] },
    Hunt {
        bug: Planted::Q02,
        scenarios: &["full-quota"],
        oracles: &[
            "linearizable",
            "serializable",
            "durability",
            "hash-kv",
            "quota",
            "state-machine-safety",
            "convergence",
        ],
    },
    Hunt { bug: Planted::Q03, scenarios: &["full-quota"], oracles: &["convergence"] },
    Hunt { bug: Planted::R40, scenarios: &["one-way-cut-that-stays"], oracles: &["serves"] },
    Hunt { bug: Planted::R41, scenarios: &["members-who-never-come"], oracles: &["membership"] },
    Hunt {
        bug: Planted::D20,
        scenarios: &["full-disk"],
        oracles: &["no-panic", "durability", "boots", "leader-completeness", "linearizable", "convergence"],
    },
    Hunt { bug: Planted::R28, scenarios: &["calendar-steps-back"], oracles: &["linearizable"] },
    Hunt { bug: Planted::D06, scenarios: &["full-disk"], oracles: &["boots"] },
    Hunt { bug: Planted::R42, scenarios: &["votes-that-split"], oracles: &["election-safety"] },
    Hunt {
        bug: Planted::R43,
        scenarios: &["leaders-cut-off-at-once"],
        oracles: &["leader-completeness", "no-panic", "state-machine-safety"],
    },
    Hunt {
        bug: Planted::R44,
        scenarios: &["damaged-voters"],
        oracles: &["leader-completeness", "no-panic", "state-machine-safety"],
    },
    Hunt { bug: Planted::R45, scenarios: &["divergent-tails"], oracles: &["log-matching"] },
    Hunt { bug: Planted::R46, scenarios: &["divergent-tails"], oracles: &["log-matching"] },
    Hunt { bug: Planted::R47, scenarios: &["divergent-tails"], oracles: &["state-machine-safety"] },
    Hunt { bug: Planted::R48, scenarios: &["quiet-changes-of-leader"], oracles: &["state-machine-safety"] },
    Hunt {
        bug: Planted::R50,
        scenarios: &["leaders-cut-off-at-once"],
        oracles: &["leader-completeness", "no-panic", "state-machine-safety"],
    },
    Hunt {
        bug: Planted::R51,
        scenarios: &["leaders-cut-off-at-once"],
        oracles: &["leader-completeness", "no-panic", "state-machine-safety"],
    },
    Hunt {
        bug: Planted::D27,
        scenarios: &["reads-behind-compaction", "restart-after-compaction"],
        oracles: &["no-panic"],
    },
    Hunt {
        bug: Planted::D28,
        scenarios: &["restart-after-compaction", "reads-behind-compaction"],
        oracles: &["hash-kv"],
    },
    Hunt { bug: Planted::F04, scenarios: &["lost-majority"], oracles: &["rescue", "convergence"] },
    Hunt { bug: Planted::A04, scenarios: &["users", "rights-at-a-member-that-lags"], oracles: &["auth"] },
    Hunt { bug: Planted::W07, scenarios: &["watchers-ahead"], oracles: &["no-panic"] },
    Hunt { bug: Planted::D21, scenarios: &["power-loss-of-all"], oracles: &["boots"] },
    Hunt { bug: Planted::D22, scenarios: &["wal-damage", "rotten-log"], oracles: &["boots"] },
    Hunt {
        bug: Planted::D23,
        scenarios: &["reads-behind-compaction"],
        oracles: &["no-panic", "convergence"],
    },
    Hunt { bug: Planted::D24, scenarios: &["full-at-the-end"], oracles: &["durability"] },
    Hunt { bug: Planted::D25, scenarios: &["no-power-at-the-end"], oracles: &["durability"] },
    Hunt { bug: Planted::D26, scenarios: &["reads-behind-compaction"], oracles: &["hash-kv"] },
    Hunt {
        bug: Planted::A03,
        scenarios: &["rights-at-a-member-that-lags", "users-alone"],
        oracles: &["auth"],
    },
    Hunt { bug: Planted::Q04, scenarios: &["full-quota"], oracles: &["quota"] },
    Hunt { bug: Planted::V01, scenarios: &["leader-cut-off"], oracles: &["serializable"] },
    Hunt { bug: Planted::V02, scenarios: &["leader-cut-off"], oracles: &["serializable"] },
    Hunt { bug: Planted::E01, scenarios: &["elections"], oracles: &["elections"] },
    Hunt { bug: Planted::E02, scenarios: &["elections"], oracles: &["elections"] },
    Hunt { bug: Planted::E03, scenarios: &["elections"], oracles: &["elections"] },
    Hunt { bug: Planted::F01, scenarios: &["lost-majority"], oracles: &["rescue"] },
    Hunt { bug: Planted::F02, scenarios: &["lost-majority"], oracles: &["rescue"] },
    Hunt {
        bug: Planted::F03,
        scenarios: &["forced-cluster-in-a-term-of-others", "lost-majority"],
        oracles: &["election-safety"],
    },
    Hunt { bug: Planted::C03, scenarios: &["another-value"], oracles: &["corruption"] },
    Hunt { bug: Planted::U01, scenarios: &["rolling-upgrade"], oracles: &["convergence", "serves"] },
    Hunt { bug: Planted::U02, scenarios: &["rolling-upgrade"], oracles: &["convergence", "serves"] },
    Hunt { bug: Planted::T01, scenarios: &["v2-keys"], oracles: &["v2"] },
    Hunt { bug: Planted::T02, scenarios: &["v2-keys"], oracles: &["v2"] },
    Hunt { bug: Planted::T03, scenarios: &["v2-snapshots"], oracles: &["v2"] },
    Hunt { bug: Planted::T04, scenarios: &["v2-keys"], oracles: &["v2"] },
    Hunt { bug: Planted::T05, scenarios: &["v2-keys"], oracles: &["v2"] },
    Hunt { bug: Planted::T06, scenarios: &["v2-keys"], oracles: &["v2"] },
    Hunt { bug: Planted::T07, scenarios: &["v2-keys"], oracles: &["v2"] },
    Hunt { bug: Planted::T08, scenarios: &["v2-keys"], oracles: &["v2"] },
    Hunt { bug: Planted::K05, scenarios: &["reboots"], oracles: &["reboots"] },
    Hunt { bug: Planted::K11, scenarios: &["reboots-in-windows"], oracles: &["reboots"] },
    Hunt { bug: Planted::K12, scenarios: &["reboots-of-members"], oracles: &["reboots"] },
    Hunt { bug: Planted::K13, scenarios: &["reboots-of-members"], oracles: &["reboots"] },
    Hunt { bug: Planted::K14, scenarios: &["reboots-whose-grants-are-lost"], oracles: &["reboots"] },
    Hunt { bug: Planted::K15, scenarios: &["reboots"], oracles: &["reboot-lock"] },
    Hunt { bug: Planted::K16, scenarios: &["reboots"], oracles: &["reboot-lock"] },
    Hunt { bug: Planted::K17, scenarios: &["reboots"], oracles: &["reboot-lock"] },
    Hunt { bug: Planted::K18, scenarios: &["reboots"], oracles: &["reboots"] },
    Hunt { bug: Planted::K19, scenarios: &["reboots-of-members"], oracles: &["reboots"] },
    Hunt { bug: Planted::K20, scenarios: &["reboots"], oracles: &["reboots"] },
    Hunt { bug: Planted::F11, scenarios: &["units", "store-outage"], oracles: &["schedule", "units"] },
    Hunt { bug: Planted::F12, scenarios: &["units-cut-off", "units"], oracles: &["units"] },
    Hunt { bug: Planted::F13, scenarios: &["engines-standing-still", "units"], oracles: &["schedule"] },
    Hunt { bug: Planted::F14, scenarios: &["units-cut-off", "store-outage"], oracles: &["units"] },
    Hunt { bug: Planted::F15, scenarios: &["conflicts-one-way", "units"], oracles: &["schedule"] },
    Hunt { bug: Planted::F16, scenarios: &["units"], oracles: &["units"] },
    Hunt { bug: Planted::F17, scenarios: &["fleetd-restarted", "units"], oracles: &["units"] },
    Hunt { bug: Planted::F18, scenarios: &["units"], oracles: &["units"] },
    Hunt { bug: Planted::F19, scenarios: &["machines-lost"], oracles: &["schedule"] },
    Hunt { bug: Planted::F20, scenarios: &["most-machines-lost"], oracles: &["schedule"] },
    Hunt { bug: Planted::F21, scenarios: &["units-cut-off", "units"], oracles: &["units"] },
    Hunt { bug: Planted::F22, scenarios: &["units-cut-off", "units"], oracles: &["schedule"] },
    Hunt { bug: Planted::F23, scenarios: &["fleetd-restarted", "units"], oracles: &["units"] },
    Hunt {
        bug: Planted::F24,
        scenarios: &["machines-lost", "fleetd-restarted"],
        oracles: &["units", "schedule"],
    },
    Hunt { bug: Planted::F25, scenarios: &["most-machines-lost"], oracles: &["schedule"] },
];

/// The row of a bug.
///
/// # Panics
/// Where the table lacks one; a test looks that it does not.
#[must_use]
pub fn hunt(bug: Planted) -> &'static Hunt {
    HUNTS.iter().find(|hunt| hunt.bug == bug).unwrap_or_else(|| panic!("no hunt for planted bug {bug}"))
}

#[cfg(feature = "mutants")]
mod campaign {
    use super::{Hunt, hunt};
    use crate::batch::{RunSummary, Stage, run_one};
    use crate::branch::Branches;
    use crate::format::spec::{Scenario, VerdictKind};
    use crate::goals::first_times;
    use crate::judge::Judgement;
    use crate::kin::Kin;
    use crate::novelty;
    use crate::plan::Plan;
    use crate::record::RunLog;
    use crate::table::layout;
    use seatrial_types::planted::{Planted, plant};
    use serde::Serialize;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    /// How long a bug is looked for.
    #[derive(Clone, Copy, Debug)]
    pub struct Budget {
        /// Seeds tried, over all scenarios of the hunt.
        pub runs_max: u64,
        /// Time in which new runs are begun, by the caller's clock.
        pub time_max: Duration,
        /// Runs at one time.
        pub jobs: usize,
        /// The first seed.
        pub from: u64,
        /// So many runs of 100 are variations of those that went where none had been.
        pub vary_percent: u32,
        /// So many go on from where an earlier run has reached something rare.
        pub branch_percent: u32,
    }

    /// What came of the hunt for one bug.
    #[derive(Clone, Debug, Serialize)]
    pub struct Found {
        /// The bug's id.
        pub bug: String,
        /// What it does.
        pub text: String,
        /// Where it was found: the run, as summed up.
        pub run: Option<RunSummary>,
        /// The oracle of its row that found it, the one we expected first before the others.
        pub oracle: Option<String>,
        /// Runs tried, the finding one included.
        pub runs: u64,
        /// Time until it was found, or given up.
        pub seconds: f64,
        /// CPU time of all these runs.
        pub cpu_seconds: f64,
    }

    impl Found {
        /// Whether it was found, by an oracle that we named beforehand.
        #[must_use]
        pub fn is_found(&self) -> bool {
            self.oracle.is_some()
        }
    }

    /// The scenarios of a bug's row that are among these, the likeliest first.
    #[must_use]
    pub fn likely(bug: Planted, scenarios: &[Scenario]) -> Vec<&Scenario> {
        let named = hunt(bug).scenarios.iter();
        named.filter_map(|name| scenarios.iter().find(|scenario| scenario.name == *name)).collect()
    }

    /// Which of them the run of this number plays: the likeliest gets three seeds in four, the others share the fourth.
    pub(crate) fn choose<'a>(likely: &[&'a Scenario], number: u64) -> &'a Scenario {
        let count = likely.len() as u64;
        let at = if count == 1 || number % 4 != 3 { 0 } else { 1 + (number / 4) % (count - 1) };
        likely[usize::try_from(at).expect("an index")]
    }

    /// Plants one bug and runs the scenarios of its row, seeds in turn, until an oracle sees a violation. The
    /// bug is pulled out again before it returns. `clock` gives the time since any fixed moment; `keep` is
    /// handed the run that found it.
    ///
    /// One hunt at a time: what is planted is planted in the whole process.
    pub fn find_mutant(
        stage: &dyn Stage,
        bug: Planted,
        scenarios: &[Scenario],
        budget: Budget,
        clock: &(dyn Fn() -> Duration + Sync),
        keep: &(dyn Fn(&RunLog, &Judgement) + Sync),
    ) -> Found {
        let hunt: &Hunt = hunt(bug);
        let likely = likely(bug, scenarios);
        let began = clock();
        plant(&[bug]);
        let next = AtomicU64::new(0);
        let ran = AtomicU64::new(0);
        let spent = Mutex::new(0.0);
        let kin = Mutex::new(Kin::default());
        let branches = Mutex::new(Branches::default());
        let found: Mutex<Option<(u64, RunSummary)>> = Mutex::new(None);
        let work = || {
            while !likely.is_empty() {
                let number = next.fetch_add(1, Ordering::SeqCst);
                let is_over = found.lock().expect("no panic while held").is_some();
                if is_over || number >= budget.runs_max || clock() - began >= budget.time_max {
                    return;
                }
                let scenario = choose(&likely, number);
                let varied = kin.lock().expect("no panic while held").next(budget.vary_percent, budget.from);
                let branch =
                    || branches.lock().expect("no panic while held").next(budget.branch_percent, budget.from);
                let other = varied.or_else(branch);
                let plan = other.unwrap_or_else(|| Plan::draw(scenario, budget.from + number));
                let (summary, log, judgement) = run_one(stage, &plan);
                ran.fetch_add(1, Ordering::SeqCst);
                *spent.lock().expect("no panic while held") += summary.cpu_seconds;
                if let (Some(log), true) = (&log, budget.vary_percent > 0) {
                    kin.lock().expect("no panic while held").learn(&plan, novelty::features(log));
                }
                if let (Some(log), true) = (&log, budget.branch_percent > 0) {
                    let reached: Vec<_> =
                        first_times(log).into_iter().filter_map(|(goal, at)| Some((goal, at?))).collect();
                    branches.lock().expect("no panic while held").learn(&plan, &reached);
                }
                if summary.verdict == VerdictKind::Violation {
                    let mut found = found.lock().expect("no panic while held");
                    if found.as_ref().is_none_or(|(other, _)| number < *other) {
                        if let Some(log) = &log {
                            keep(log, &judgement);
                        }
                        *found = Some((number, summary));
                    }
                    return;
                }
            }
        };
        #[allow(clippy::disallowed_methods, reason = "runs are spread over threads outside of any world")]
        std::thread::scope(|scope| {
            for _ in 0..budget.jobs.max(1) {
                scope.spawn(work);
            }
        });
        plant(&[]);
        let run = found.into_inner().expect("no panic while held").map(|(_, run)| run);
        let violated =
            |oracle: &str| run.as_ref().is_some_and(|run| run.violated.iter().any(|other| other == oracle));
        let oracle = hunt.oracles.iter().find(|oracle| violated(oracle)).map(|oracle| (*oracle).to_owned());
        Found {
            bug: bug.to_string(),
            text: bug.text().to_owned(),
            run,
            oracle,
            runs: ran.into_inner(),
            seconds: (clock() - began).as_secs_f64(),
            cpu_seconds: spent.into_inner().expect("no panic while held"),
        }
    }

    /// How soon one bug was found, looked for again and again from other seeds.
    #[derive(Clone, Debug, Serialize)]
    pub struct Score {
        /// The bug's id.
        pub bug: String,
        /// How often it was looked for.
        pub times: usize,
        /// How often it was found, by an oracle of its row.
        pub found: usize,
        /// Seconds until it was found: the median, nine of ten, the worst. What was not found took the whole time.
        pub median: f64,
        #[allow(missing_docs, reason = "as above")]
        pub nine_of_ten: f64,
        #[allow(missing_docs, reason = "as above")]
        pub worst: f64,
        /// Runs until then, in the median.
        pub runs: u64,
        /// Which oracles named it, the most frequent first, and how often.
        pub oracles: Vec<(String, usize)>,
        /// Oracles that saw a violation where none of its row did: the row is too short, or they see what is not there.
        pub strangers: Vec<(String, usize)>,
    }

    /// How often each comes, the most frequent first.
    fn counted(names: impl Iterator<Item = String>) -> Vec<(String, usize)> {
        let mut counts: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
        for name in names {
            *counts.entry(name).or_default() += 1;
        }
        let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
        counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        counts
    }

    impl Score {
        /// Of the hunts for one bug.
        ///
        /// # Panics
        /// Where there was none.
        #[must_use]
        pub fn of(hunts: &[&Found]) -> Self {
            let first = hunts.first().expect("at least one hunt");
            let mut seconds: Vec<f64> = hunts.iter().map(|one| one.seconds).collect();
            let mut runs: Vec<u64> = hunts.iter().map(|one| one.runs).collect();
            seconds.sort_by(f64::total_cmp);
            runs.sort_unstable();
            let beyond = hunts.iter().filter(|one| !one.is_found()).filter_map(|one| one.run.as_ref());
            Self {
                bug: first.bug.clone(),
                times: hunts.len(),
                found: hunts.iter().filter(|one| one.is_found()).count(),
                median: quantile(&seconds, 50),
                nine_of_ten: quantile(&seconds, 90),
                worst: quantile(&seconds, 100),
                runs: quantile(&runs, 50),
                oracles: counted(hunts.iter().filter_map(|one| one.oracle.clone())),
                strangers: counted(beyond.flat_map(|run| run.violated.iter().cloned())),
            }
        }
    }

    /// The smallest that so many of 100 do not exceed.
    fn quantile<T: Copy>(sorted: &[T], percent: usize) -> T {
        sorted[(sorted.len() * percent).div_ceil(100).clamp(1, sorted.len()) - 1]
    }

    /// One line for each bug, in Markdown.
    #[must_use]
    pub fn scores(scores: &[Score]) -> String {
        let mut out = String::from(
            "| bug | found | median s | 9 of 10 | worst s | median runs | named by |\n|---|---|---|---|---|---|---|\n",
        );
        for score in scores {
            let Score { bug, times, found, median, nine_of_ten, worst, runs, oracles, strangers } = score;
            let mut named: Vec<String> =
                oracles.iter().map(|(oracle, times)| format!("`{oracle}` {times}")).collect();
            named
                .extend(strangers.iter().map(|(oracle, times)| format!("beyond its row `{oracle}` {times}")));
            out += &format!(
                "| {bug} | {found}/{times} | {median:.1} | {nine_of_ten:.1} | {worst:.1} | {runs} | {} |\n",
                named.join(", ")
            );
        }
        let all = |of: fn(&Score) -> f64| {
            let mut numbers: Vec<f64> = scores.iter().map(of).collect();
            numbers.sort_by(f64::total_cmp);
            numbers
        };
        if !scores.is_empty() {
            out += &format!(
                "| all | {}/{} | {:.1} | {:.1} | {:.1} | | |\n",
                scores.iter().map(|score| score.found).sum::<usize>(),
                scores.iter().map(|score| score.times).sum::<usize>(),
                quantile(&all(|score| score.median), 50),
                quantile(&all(|score| score.nine_of_ten), 90),
                quantile(&all(|score| score.worst), 100),
            );
        }
        out
    }

    /// One line for each bug.
    #[must_use]
    pub fn table(found: &[Found]) -> String {
        let head = ["bug", "found", "oracle", "scenario", "seed", "runs", "seconds"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for one in found {
            let run = one.run.as_ref();
            rows.push(vec![
                one.bug.clone(),
                match (run, &one.oracle) {
                    (Some(_), Some(_)) => "yes",
                    (Some(_), None) => "by another oracle",
                    (None, _) => "NO",
                }
                .to_owned(),
                one.oracle.clone().or_else(|| run?.oracle.clone()).unwrap_or_else(|| "-".to_owned()),
                run.map_or("-".to_owned(), |run| run.scenario.clone()),
                run.map_or("-".to_owned(), |run| run.seed.to_string()),
                one.runs.to_string(),
                format!("{:.1}", one.seconds),
            ]);
        }
        layout(&rows)
    }
}

#[cfg(feature = "mutants")]
pub(crate) use campaign::choose;
#[cfg(feature = "mutants")]
pub use campaign::{Budget, Found, Score, find_mutant, likely, scores, table};

#[cfg(all(test, feature = "mutants"))]
mod score_tests {
    use super::{Found, Score, scores};

    fn found(seconds: f64, oracle: Option<&str>) -> Found {
        Found {
            bug: "R01".to_owned(),
            text: String::new(),
            run: None,
            oracle: oracle.map(str::to_owned),
            runs: seconds as u64 * 2,
            seconds,
            cpu_seconds: seconds,
        }
    }

    #[test]
    fn a_score_counts_what_was_not_found_as_the_time_that_was_given() {
        let hunts: Vec<Found> = (1..=9).map(|at| found(f64::from(at), Some("lease"))).collect();
        let lost = found(300.0, None);
        let score = Score::of(&hunts.iter().chain([&lost]).collect::<Vec<_>>());
        assert_eq!((score.times, score.found, score.runs), (10, 9, 10));
        assert_eq!([score.median, score.nine_of_ten, score.worst], [5.0, 9.0, 300.0]);
        assert_eq!(score.oracles, [("lease".to_owned(), 9)]);
        let table = scores(&[score]);
        assert!(table.contains("| R01 | 9/10 | 5.0 | 9.0 | 300.0 | 10 | `lease` 9 |"), "{table}");
        assert!(table.contains("| all | 9/10 | 5.0 | 9.0 | 300.0 | | |"), "{table}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracles;

    #[test]
    fn every_planted_bug_has_a_row_with_known_oracles() {
        for bug in Planted::ALL {
            let hunt = hunt(*bug);
            assert!(!hunt.scenarios.is_empty(), "{bug}");
            for oracle in hunt.oracles {
                assert!(oracles::NAMES.contains(oracle), "{bug} expects the unknown oracle {oracle}");
            }
        }
    }
}
