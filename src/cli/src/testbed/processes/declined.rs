//! What cannot be had with processes, said before anything starts.

use super::program::{CORRUPT_CHECK, Program};
use seatrial_scenario::format::options::FaultOptions;
use seatrial_scenario::format::spec::{During, LinkDown, NemesisKind, Scenario, WorkloadKind};

/// Why a scenario cannot be played with this program, with a hint; `None` where it can.
pub(crate) fn why_not(scenario: &Scenario, program: &Program) -> Option<String> {
    let script = scenario.script.iter().flat_map(|script| &script.faults);
    let script = script.map(|fault| (fault.kind, fault.during, &fault.options));
    let drawn = scenario.nemeses.iter().map(|nemesis| (nemesis.kind, nemesis.during, &nemesis.options));
    let nemeses = drawn.chain(script).find_map(|(kind, during, options)| {
        let of_kind = fault(kind, program).or_else(|| moment(kind, during));
        of_kind.or_else(|| option(kind, options)).or_else(|| in_netns(kind, options, program))
    });
    let workloads = || scenario.workloads.iter().find_map(|workload| clients(workload.kind, program));
    nemeses.or_else(workloads).or_else(|| knobs(scenario, program))
}

const SIM: &str = "hint: play it in the simulation, without --world real";
const OURS: &str = "hint: leave --server-bin out, or play it in the simulation, without --world real";

fn fault(kind: NemesisKind, program: &Program) -> Option<String> {
    let cannot = |why: &str, hint: &str| Some(format!("the fault {kind} {why}\n{hint}"));
    match kind {
        NemesisKind::Partition
        | NemesisKind::Flapping
        | NemesisKind::Kill
        | NemesisKind::RollingRestart
        | NemesisKind::Pause
        | NemesisKind::Loss
        | NemesisKind::Latency
        | NemesisKind::Bandwidth => None,
        NemesisKind::RollingUpgrade if program.has_before() => None,
        NemesisKind::RollingUpgrade => {
            cannot("needs a second build of this server", "hint: name the one before with --before-bin")
        }
        NemesisKind::Clock => {
            cannot("cannot be had with processes: all of them share the machine's clock", SIM)
        }
        NemesisKind::PowerLoss
        | NemesisKind::LyingSync
        | NemesisKind::SlowDisk
        | NemesisKind::SyncError
        | NemesisKind::FullDisk
        | NemesisKind::WalDamage
        | NemesisKind::ValueDamage
        | NemesisKind::DiskStall
        | NemesisKind::ReadError
        | NemesisKind::StoreRot
            if program.is_foreign() =>
        {
            cannot("needs members of our own: only they have a disk that fails on demand", OURS)
        }
        NemesisKind::PowerLoss
        | NemesisKind::LyingSync
        | NemesisKind::SlowDisk
        | NemesisKind::SyncError
        | NemesisKind::FullDisk
        | NemesisKind::WalDamage
        | NemesisKind::ValueDamage
        | NemesisKind::DiskStall
        | NemesisKind::ReadError
        | NemesisKind::StoreRot => None,
        NemesisKind::MisdirectedWrite => {
            cannot("cannot be had with processes: only a simulated medium loses a sector to another", SIM)
        }
        NemesisKind::LostMajority => cannot(
            "cannot be judged with processes: what is left of its log only the member itself can tell",
            SIM,
        ),
    }
}

/// What of a fault that can be had cannot.
fn option(kind: NemesisKind, options: &FaultOptions) -> Option<String> {
    options.after_ops.map(|_| {
        format!("the fault {kind} with `after_ops` cannot be had with processes: nobody counts what their disks do\n{SIM}")
    })
}

/// In the kernel a link is there or not.
fn in_netns(kind: NemesisKind, options: &FaultOptions, program: &Program) -> Option<String> {
    let bends = match kind {
        NemesisKind::Loss | NemesisKind::Latency | NemesisKind::Bandwidth => true,
        NemesisKind::Flapping => options.how == LinkDown::Reset,
        _ => false,
    };
    (program.in_netns && bends).then(|| {
        format!("the fault {kind} cannot be had in network namespaces: there, links can only be cut\nhint: leave --netns out")
    })
}

/// Of what goes on in members, only who leads is seen from outside.
fn moment(kind: NemesisKind, during: Option<During>) -> Option<String> {
    let during = during.filter(|during| *during != During::LeaderChange)?;
    Some(format!(
        "the fault {kind} waits for the state {during}, which only the simulation sees of its members\n{SIM}"
    ))
}

fn clients(kind: WorkloadKind, program: &Program) -> Option<String> {
    if kind == WorkloadKind::Reboots {
        return Some(format!(
            "the workload {kind} cannot be had with processes: nobody there sees every change of its locks, nor has a machine to reboot\n{SIM}"
        ));
    }
    if kind == WorkloadKind::Units {
        return Some(format!(
            "the workload {kind} cannot be had with processes: its machines lose their power\n{SIM}"
        ));
    }
    (kind == WorkloadKind::Membership && program.is_foreign())
        .then(|| format!("the workload {kind} needs members of our own: only their ids are known\n{OURS}"))
}

fn knobs(scenario: &Scenario, program: &Program) -> Option<String> {
    let cannot = |knob: &str, why: &str| Some(format!("the knob {knob} {why}\n{OURS}"));
    let choices = &scenario.knobs;
    if choices.lease_checkpoint.iter().any(|interval| !interval.is_zero()) && program.is_foreign() {
        return cannot("lease_checkpoint", "needs members of our own: etcd writes them every five minutes");
    }
    let checks = choices.corrupt_check.iter().any(|interval| !interval.is_zero());
    if checks && !CORRUPT_CHECK.iter().any(|flag| program.knows(flag)) {
        return cannot("corrupt_check", "needs a flag that this server does not know");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(rest: &str) -> Scenario {
        let text =
            format!("title = \"x\"\nwhy = \"x\"\ntime = \"5s\"\n{rest}\n[[workload]]\nname = \"kv\"\n");
        seatrial_scenario::format::parse("x.toml", &text).unwrap()
    }

    fn nemesis(name: &str) -> Scenario {
        scenario(&format!("[knobs]\ninitial_check = true\n[[nemesis]]\nname = \"{name}\"\n"))
    }

    fn stranger() -> Program {
        Program::stranger("--name --data-dir --initial-cluster")
    }

    #[test]
    fn every_fault_can_be_had_with_our_own_members_but_three() {
        let ours = Program::ours().unwrap();
        for kind in NemesisKind::ALL.iter().filter(|kind| **kind != NemesisKind::LostMajority) {
            let why = why_not(&nemesis(kind.name()), &ours);
            let none = [NemesisKind::Clock, NemesisKind::MisdirectedWrite].contains(kind);
            assert_eq!(why.is_some(), none, "{kind}: {why:?}");
        }
        let lost = scenario(
            "[[nemesis]]\nname = \"lost-majority\"\ntimes = 1\n[[workload]]\nname = \"membership\"\n",
        );
        assert!(why_not(&lost, &ours).unwrap().starts_with("the fault lost-majority cannot be judged"));
    }

    #[test]
    fn what_a_stranger_cannot_do_is_named_with_a_hint() {
        let why = why_not(&nemesis("full-disk"), &stranger()).unwrap();
        assert!(why.starts_with("the fault full-disk needs members of our own"), "{why}");
        assert!(why.contains("\nhint: leave --server-bin out"), "{why}");
        assert_eq!(why_not(&nemesis("partition"), &stranger()), None);
        let why = why_not(&nemesis("rolling-upgrade"), &stranger()).unwrap();
        assert!(why.ends_with("\nhint: name the one before with --before-bin"), "{why}");
        let both = stranger().behind(stranger()).unwrap();
        assert_eq!(why_not(&nemesis("rolling-upgrade"), &both), None);
        let why = Program::ours().unwrap().behind(stranger()).unwrap_err();
        assert!(why.starts_with("members of etcd 3.4 cannot become members of seatrial"), "{why}");
        let waits = scenario("[[nemesis]]\nname = \"kill\"\nduring = \"compaction\"\n");
        let why = why_not(&waits, &stranger()).unwrap();
        assert!(why.contains("waits for the state compaction"), "{why}");
        let leads = scenario("[[nemesis]]\nname = \"kill\"\nduring = \"leader-change\"\n");
        assert_eq!(why_not(&leads, &stranger()), None);
        let fault = "[script]\nseed = 1\n[[fault]]\nname = \"clock\"\nat = \"1s\"\nends = \"2s\"\n";
        assert!(why_not(&scenario(fault), &Program::ours().unwrap()).unwrap().starts_with("the fault clock"));
        let counted = scenario("[[nemesis]]\nname = \"power-loss\"\nafter_ops = 9\n");
        let why = why_not(&counted, &Program::ours().unwrap()).unwrap();
        assert!(why.starts_with("the fault power-loss with `after_ops` cannot be had"), "{why}");
        let why = why_not(&scenario("[knobs]\ncorrupt_check = \"1s\""), &stranger()).unwrap();
        assert!(why.starts_with("the knob corrupt_check needs a flag"), "{why}");
    }
}
