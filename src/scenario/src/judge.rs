//! From what a run left behind to its verdict.

use crate::format::spec::{GoalKind, VerdictKind};
use crate::goals;
use crate::oracles::{self, Finding, Violation};
use crate::record::RunLog;
use serde::{Deserialize, Serialize};

/// What is to be said of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// How it ended.
    pub verdict: VerdictKind,
    /// The oracle that decided, where one did.
    pub oracle: Option<String>,
    /// The verdict in one sentence.
    pub sentence: String,
    /// What each oracle asked found, the most telling first.
    pub findings: Vec<(String, Finding)>,
    /// Which things worth reaching this run reached (of all there are, not only of the scenario's).
    pub reached: Vec<GoalKind>,
}

impl Judgement {
    /// Every oracle that saw a violation.
    pub fn violated(&self) -> impl Iterator<Item = (&str, &Violation)> {
        self.findings.iter().filter_map(|(name, finding)| match finding {
            Finding::Violation(violation) => Some((name.as_str(), violation)),
            Finding::Ok | Finding::Unknown(_) => None,
        })
    }
}

/// Asks the scenario's oracles. A violation outweighs everything; then a failure of the harness; then what
/// could not be told, which is never a pass.
#[must_use]
pub fn judge(log: &RunLog) -> Judgement {
    let findings: Vec<(String, Finding)> = oracles::ask_all(&log.plan.scenario.expect.oracles, log)
        .into_iter()
        .map(|(name, finding)| (name.to_owned(), finding))
        .collect();
    let violated = findings.iter().find_map(|(name, finding)| match finding {
        Finding::Violation(violation) => Some((name.clone(), violation.sentence.clone())),
        _ => None,
    });
    let open = findings.iter().find_map(|(name, finding)| match finding {
        Finding::Unknown(why) => Some((name.clone(), why.clone())),
        _ => None,
    });
    let (verdict, oracle, sentence) = match (violated, log.harness_errors.first(), open) {
        (Some((oracle, sentence)), ..) => (VerdictKind::Violation, Some(oracle), sentence),
        (None, Some(error), _) => (VerdictKind::HarnessError, None, error.clone()),
        (None, None, Some((oracle, why))) => (VerdictKind::Inconclusive, Some(oracle), why),
        (None, None, None) => (VerdictKind::Pass, None, praise(log, findings.len())),
    };
    Judgement { verdict, oracle, sentence, findings, reached: goals::reached(log) }
}

fn praise(log: &RunLog, oracles: usize) -> String {
    let answered =
        log.history.operations.iter().filter(|operation| operation.outcome.answered().is_some()).count();
    let healed = log.healing.as_ref().and_then(|healing| Some(healing.healed? - healing.began));
    let healed = healed.map_or(String::new(), |took| format!(", healed after {:.1} s", took.as_secs_f64()));
    let faults = match log.faults.len() {
        0 => "no fault".to_owned(),
        1 => "one fault".to_owned(),
        n => format!("{n} faults"),
    };
    format!("{oracles} oracles are content: {answered} answered operations, {faults}{healed}")
}
