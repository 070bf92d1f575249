//! Steps of machines and operators in scripts.

use super::{OrderStep, RebootStep};
use crate::format::spec::Fate;
use crate::format::units;
use std::time::Duration;

/// The words behind `reboot`; `None` where they make no sense.
pub(crate) fn read(words: &[&str]) -> Option<RebootStep> {
    let time = |text: &str| -> Option<Duration> { units::duration(text).ok() };
    Some(match *words {
        ["want", "boot", boot, "drain", drain] => {
            let (boot, drain) = (time(boot)?, time(drain)?);
            RebootStep::Want { boot, drain, fate: Fate::Well, rest: Duration::ZERO }
        }
        ["want", "boot", boot, "drain", drain, "fate", fate, "rest", rest] => RebootStep::Want {
            boot: time(boot)?,
            drain: time(drain)?,
            fate: Fate::from_name(fate)?,
            rest: time(rest)?,
        },
        ["crash", "boot", boot] => RebootStep::Crash { boot: time(boot)? },
        ["agent-dies", "rest", rest] => RebootStep::AgentDies { rest: time(rest)? },
        ["still", "lasts", lasts] => RebootStep::Still { lasts: time(lasts)? },
        ["clock", "drift", drift, "step", step] => {
            let drift_ppm: i64 = drift.parse().ok().filter(|ppm| (-500_000..=500_000).contains(ppm))?;
            let step_ms = step.parse().ok().filter(|ms| (-86_400_000..=86_400_000).contains(ms))?;
            RebootStep::Clock { drift_ppm, step_ms }
        }
        _ => return None,
    })
}

/// As [`read`] reads it.
pub(crate) fn tell(step: &RebootStep) -> String {
    match step {
        RebootStep::Want { boot, drain, fate: Fate::Well, rest: Duration::ZERO } => {
            format!("want boot {boot:?} drain {drain:?}")
        }
        RebootStep::Want { boot, drain, fate, rest } => {
            format!("want boot {boot:?} drain {drain:?} fate {fate} rest {rest:?}")
        }
        RebootStep::Crash { boot } => format!("crash boot {boot:?}"),
        RebootStep::AgentDies { rest } => format!("agent-dies rest {rest:?}"),
        RebootStep::Still { lasts } => format!("still lasts {lasts:?}"),
        RebootStep::Clock { drift_ppm, step_ms } => format!("clock drift {drift_ppm} step {step_ms}"),
    }
}

/// The words behind `reboot-lock`; `None` where they make no sense.
pub(crate) fn read_order(words: &[&str]) -> Option<OrderStep> {
    Some(match *words {
        ["set-max", group, max] => OrderStep::SetMax { group: group.parse().ok()?, max: max.parse().ok()? },
        ["unlock", group, pick] => OrderStep::Unlock { group: group.parse().ok()?, pick: pick.parse().ok()? },
        ["pause", group] => OrderStep::Pause { group: group.parse().ok()? },
        ["resume", group] => OrderStep::Resume { group: group.parse().ok()? },
        ["old-client", group, "hold", hold] => {
            OrderStep::Old { group: group.parse().ok()?, hold: units::duration(hold).ok()? }
        }
        _ => return None,
    })
}

/// As [`read_order`] reads it.
pub(crate) fn tell_order(step: &OrderStep) -> String {
    match step {
        OrderStep::SetMax { group, max } => format!("set-max {group} {max}"),
        OrderStep::Unlock { group, pick } => format!("unlock {group} {pick}"),
        OrderStep::Pause { group } => format!("pause {group}"),
        OrderStep::Resume { group } => format!("resume {group}"),
        OrderStep::Old { group, hold } => format!("old-client {group} hold {hold:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_read_back_as_it_was_told() {
        let (boot, drain, rest) =
            (Duration::from_millis(1500), Duration::from_nanos(300_000_001), Duration::from_secs(12));
        let wants = Fate::ALL.iter().map(|fate| RebootStep::Want { boot, drain, fate: *fate, rest });
        let others = [
            RebootStep::Want { boot, drain, fate: Fate::Well, rest: Duration::ZERO },
            RebootStep::Crash { boot },
            RebootStep::AgentDies { rest },
            RebootStep::Still { lasts: rest },
            RebootStep::Clock { drift_ppm: -500, step_ms: -30_000 },
        ];
        for step in wants.chain(others) {
            let text = tell(&step);
            let words: Vec<&str> = text.split(' ').collect();
            assert_eq!(read(&words), Some(step), "{text}");
        }
        for order in [
            OrderStep::SetMax { group: 1, max: 0 },
            OrderStep::Unlock { group: 0, pick: 7 },
            OrderStep::Pause { group: 1 },
            OrderStep::Resume { group: 1 },
            OrderStep::Old { group: 0, hold: rest },
        ] {
            let text = tell_order(&order);
            let words: Vec<&str> = text.split(' ').collect();
            assert_eq!(read_order(&words), Some(order), "{text}");
        }
        assert_eq!(read(&["crash"]), None);
        assert_eq!(read_order(&["set-max", "1"]), None);
    }
}
