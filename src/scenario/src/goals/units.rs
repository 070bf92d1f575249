//! Goals about a fleet.

use crate::format::spec::GoalKind;
use crate::record::{AgentRecord, AgentWord, ProcessRecord, RunLog};
use std::collections::BTreeMap;
use std::time::Duration;

/// When the goal was reached first.
pub(super) fn reached(goal: GoalKind, log: &RunLog) -> Option<Duration> {
    let said = |is: fn(&AgentWord) -> bool| {
        let agents = log.units.agents.iter().filter(|AgentRecord { what, .. }| is(what));
        agents.map(|record| record.at).min()
    };
    match goal {
        GoalKind::UnitRan => log.units.processes.iter().map(|process| process.from).min(),
        GoalKind::UnitMoved => {
            let mut ran: BTreeMap<&str, u32> = BTreeMap::new();
            let mut moved = log.units.processes.iter().filter(|ProcessRecord { unit, machine, .. }| {
                ran.insert(unit, *machine).is_some_and(|before| before != *machine)
            });
            moved.next().map(|process| process.from)
        }
        GoalKind::MachineCutOff => said(|word| *word == AgentWord::CutOff),
        GoalKind::UnitsAdopted => said(|word| matches!(word, AgentWord::Began { found } if *found > 0)),
        _ => None,
    }
}
