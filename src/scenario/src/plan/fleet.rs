//! What happens to the machines of a fleet, and what its operators ask for.

use super::{CLIENTS_START, MachineStep, Step, StepKind};
use crate::chance::Chance;
use crate::clients::POISONS;
use crate::format::spec::{MachineFault, UnitAct, WorkloadSpec};
use seatrial_types::MemberId;
use std::time::Duration;

/// Between two units that the first operator starts.
const START_PACE: Duration = Duration::from_millis(20);

/// So long the fleet has before anything happens to it.
const SETTLE: Duration = Duration::from_secs(4);

/// Clocks go wrong by so much, either way: far more than they do, far less than the margin with which agents count.
const DRIFT_PPM_MAX: u64 = 20_000;

pub(super) fn draw_steps(
    spec: &WorkloadSpec,
    number: u32,
    members: &[MemberId],
    time: Duration,
    chance: &mut Chance,
) -> Vec<Step> {
    let usual = chance.pick(members);
    let whats = if spec.is_machine(number) {
        machine(spec, number, time, chance)
    } else {
        operator(spec, number == spec.units.machines, time, chance)
    };
    whats.into_iter().map(|(at, what)| Step { at, member: usual, what }).collect()
}

fn machine(
    spec: &WorkloadSpec,
    number: u32,
    time: Duration,
    chance: &mut Chance,
) -> Vec<(Duration, StepKind)> {
    let mut steps = Vec::new();
    let leaves = number + spec.units.leavers >= spec.units.machines;
    let until = if leaves { time / 2 } else { time };
    let mut at = SETTLE + chance.between(Duration::ZERO, spec.units.faults_every);
    while at < until && !spec.units.faults.is_empty() {
        let fault = chance.pick(&spec.units.faults);
        let ttl = spec.ttl;
        let lasts = match fault {
            MachineFault::Kill => chance.between(ttl / 20, ttl * 2),
            MachineFault::Reboot => chance.between(ttl / 5, ttl * 2),
            MachineFault::Pause | MachineFault::CutOff => chance.between(ttl / 2, ttl * 3),
            MachineFault::Drift | MachineFault::Leave => chance.between(ttl, ttl * 4),
        };
        let ppm = i64::try_from(chance.below(DRIFT_PPM_MAX + 1)).expect("small");
        let ppm = if chance.one_in(2) { ppm } else { -ppm };
        let drift_ppm = if fault == MachineFault::Drift { ppm } else { 0 };
        steps.push((at, StepKind::Machine(MachineStep { fault, lasts, drift_ppm })));
        at += lasts + chance.around(spec.units.faults_every);
    }
    if leaves {
        // At one time, but for the moment that a switch takes to die.
        let at = until + chance.between(Duration::ZERO, Duration::from_millis(50));
        let leave = MachineStep { fault: MachineFault::Leave, lasts: time, drift_ppm: 0 };
        steps.push((at, StepKind::Machine(leave)));
    }
    steps
}

fn operator(
    spec: &WorkloadSpec,
    is_first: bool,
    time: Duration,
    chance: &mut Chance,
) -> Vec<(Duration, StepKind)> {
    let mut steps = Vec::new();
    if is_first {
        let starts = (0..spec.units.units).map(|number| {
            (CLIENTS_START + START_PACE * number, StepKind::Unit { act: UnitAct::Start, number })
        });
        steps.extend(starts);
    }
    let weight = |act: &UnitAct| match act {
        UnitAct::Start => 6,
        UnitAct::Replace => 2,
        UnitAct::Stop | UnitAct::Unload | UnitAct::Destroy | UnitAct::Tag | UnitAct::Poison => 1,
    };
    let mix: Vec<(UnitAct, u32)> = spec.units.acts.iter().map(|act| (*act, weight(act))).collect();
    let mut at = SETTLE + chance.between(Duration::ZERO, spec.think);
    while at < time {
        let Some(act) = chance.weighted(&mix) else { break };
        let of = match act {
            UnitAct::Tag => spec.units.machines,
            UnitAct::Poison => POISONS,
            _ => spec.units.units,
        };
        let number = u32::try_from(chance.below(u64::from(of))).expect("small");
        steps.push((at, StepKind::Unit { act, number }));
        at += chance.around(spec.think);
    }
    steps.sort_by_key(|(at, _)| *at);
    steps
}
