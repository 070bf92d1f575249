//! What machines and their operator do, drawn.

use super::{OrderStep, RebootStep};
use crate::chance::Chance;
use crate::format::spec::{Fate, WorkloadSpec};
use crate::plan::StepKind;
use std::time::Duration;

/// A late reservation is waited for so long; who stands still for longer is overtaken.
const STILL_MAX: Duration = Duration::from_secs(16);

/// The next step of the client with this number.
pub(crate) fn draw(spec: &WorkloadSpec, number: u32, chance: &mut Chance) -> StepKind {
    if spec.reboots.operator && number + 1 == spec.clients {
        StepKind::RebootOrder(order(spec, chance))
    } else {
        StepKind::Reboot(step(spec, chance))
    }
}

fn step(spec: &WorkloadSpec, chance: &mut Chance) -> RebootStep {
    let reboots = &spec.reboots;
    // Drawn whether it is needed or not, so that what is drawn behind it hangs on less.
    let (boot, drain) = (chance.around(reboots.boot), chance.around(reboots.drain));
    let (trouble, kind) = (chance.one_in(u64::from(reboots.trouble_one_in)), chance.below(5));
    let rest = chance.between(Duration::from_millis(200), STILL_MAX);
    let fates = &Fate::ALL[1..];
    let fate = chance.pick(fates);
    let drift_ppm = i64::try_from(chance.below(100_001)).expect("small") - 50_000;
    let step_ms = i64::try_from(chance.below(60_001)).expect("small") - 30_000;
    if !trouble {
        return RebootStep::Want { boot, drain, fate: Fate::Well, rest: Duration::ZERO };
    }
    match kind {
        0 => RebootStep::Crash { boot },
        1 => RebootStep::AgentDies { rest: rest / 8 },
        2 => RebootStep::Still { lasts: rest },
        3 if reboots.clocks => RebootStep::Clock { drift_ppm, step_ms },
        _ => RebootStep::Want { boot, drain, fate, rest },
    }
}

fn order(spec: &WorkloadSpec, chance: &mut Chance) -> OrderStep {
    let reboots = &spec.reboots;
    let small = |number: u64| u32::try_from(number).expect("small");
    let group = small(chance.below(u64::from(reboots.groups)));
    let max = small(chance.below(u64::from(reboots.max) + 3));
    let pick = small(chance.below(1000));
    let hold = chance.between(Duration::from_millis(100), Duration::from_secs(3));
    match chance.below(10) {
        0..=2 => OrderStep::SetMax { group, max },
        3..=5 => OrderStep::Unlock { group, pick },
        6 => OrderStep::Pause { group },
        7 => OrderStep::Resume { group },
        _ => OrderStep::Old { group, hold },
    }
}
