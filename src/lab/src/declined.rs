//! What cannot be had in the lab, said before anything starts.

use seatrial_scenario::format::options::FaultOptions;
use seatrial_scenario::format::spec::{NemesisKind, Scenario, WorkloadKind};

const SIM: &str = "hint: play it in the simulation, with --world sim";

/// Why a scenario cannot be played in the lab, with a hint; `None` where it can.
#[must_use]
pub fn why_not(scenario: &Scenario) -> Option<String> {
    let script = scenario.script.iter().flat_map(|script| &script.faults);
    let script = script.map(|fault| (fault.kind, &fault.options));
    let drawn = scenario.nemeses.iter().map(|nemesis| (nemesis.kind, &nemesis.options));
    let faults =
        drawn.chain(script).find_map(|(kind, options)| fault(kind).or_else(|| option(kind, options)));
    faults
        .or_else(|| scenario.workloads.iter().find_map(|workload| clients(workload.kind)))
        .or_else(|| knobs(scenario))
}

fn fault(kind: NemesisKind) -> Option<String> {
    let why = match kind {
        NemesisKind::WalDamage
        | NemesisKind::ValueDamage
        | NemesisKind::StoreRot
        | NemesisKind::ReadError
        | NemesisKind::MisdirectedWrite => "its disks hold values and no bytes",
        NemesisKind::RollingUpgrade => {
            "there is one build of a member in it, and no protocol between members"
        }
        NemesisKind::Partition
        | NemesisKind::Flapping
        | NemesisKind::Kill
        | NemesisKind::RollingRestart
        | NemesisKind::Pause
        | NemesisKind::Loss
        | NemesisKind::Latency
        | NemesisKind::Bandwidth
        | NemesisKind::Clock
        | NemesisKind::PowerLoss
        | NemesisKind::LyingSync
        | NemesisKind::SlowDisk
        | NemesisKind::SyncError
        | NemesisKind::FullDisk
        | NemesisKind::DiskStall
        | NemesisKind::LostMajority => return None,
    };
    Some(format!("the fault {kind} cannot be had in the lab: {why}\n{SIM}"))
}

fn option(kind: NemesisKind, options: &FaultOptions) -> Option<String> {
    options.after_ops.map(|_| {
        format!("the fault {kind} with `after_ops` cannot be had in the lab: its disks take a write as a whole\n{SIM}")
    })
}

fn clients(kind: WorkloadKind) -> Option<String> {
    let why = match kind {
        WorkloadKind::Kv
        | WorkloadKind::Watch
        | WorkloadKind::Lease
        | WorkloadKind::Hash
        | WorkloadKind::Locks
        | WorkloadKind::Elections
        | WorkloadKind::Membership
        | WorkloadKind::Space => return None,
        WorkloadKind::Users | WorkloadKind::V2 | WorkloadKind::Reboots | WorkloadKind::Units => {
            "its clients ask members themselves, and know nothing of the services around them"
        }
    };
    Some(format!("the workload {kind} cannot be had in the lab: {why}\n{SIM}"))
}

fn knobs(scenario: &Scenario) -> Option<String> {
    scenario.knobs.initial_check.iter().any(|is_on| *is_on).then(|| {
        format!("the knob initial_check cannot be had in the lab: members are not compared before they start\n{SIM}")
    })
}
