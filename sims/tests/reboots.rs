//! Machines that reboot under the lock: a run of the scenarios has in it what they are about.

use seatrial_scenario::Plan;
use seatrial_scenario::batch::Stage;
use seatrial_scenario::files::load_scenarios;
use seatrial_scenario::machines::{MachineDoes, MachineRecord};
use seatrial_scenario::record::RunLog;
use seatrial_sims::Simulation;
use std::path::Path;

fn runs(file: &str, seeds: std::ops::Range<u64>) -> Vec<RunLog> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(file);
    let scenarios = load_scenarios(&[path]).unwrap_or_else(|error| panic!("{error}"));
    seeds.map(|seed| Simulation::default().run(&Plan::draw(&scenarios[0], seed))).collect()
}

fn count(machines: &[&MachineRecord], wanted: impl Fn(&MachineDoes) -> bool) -> usize {
    machines.iter().flat_map(|machine| &machine.events).filter(|event| wanted(&event.what)).count()
}

fn reboots(what: &MachineDoes) -> bool {
    matches!(what, MachineDoes::Reboots(_))
}

#[test]
fn machines_of_all_kinds_reboot_meet_trouble_and_are_refused() {
    let runs = runs("fast/reboots.toml", 1..7);
    let machines: Vec<&MachineRecord> = runs.iter().flat_map(|run| &run.machines).collect();
    let of = |wanted: &dyn Fn(&MachineRecord) -> bool| -> Vec<&MachineRecord> {
        machines.iter().copied().filter(|machine| wanted(machine)).collect()
    };
    // Each fourth asks over FleetLock, and hears no number of its grant.
    let over_fleetlock =
        of(&|machine| machine.events.iter().any(|event| event.what == MachineDoes::Granted(0)));
    for (who, some, least) in [
        ("all", machines.clone(), 60),
        ("with a member", of(&|machine| machine.hosts.is_some()), 15),
        ("in windows", of(&|machine| machine.window.is_some()), 4),
        ("over FleetLock", over_fleetlock, 4),
        ("in the second group", of(&|machine| !machine.group.is_empty()), 20),
    ] {
        let found = count(&some, reboots);
        assert!(found >= least, "{found} reboots of machines {who}");
    }
    for (what, found, least) in [
        ("crashes", count(&machines, |what| *what == MachineDoes::Crashes), 6),
        ("agents that died", count(&machines, |what| *what == MachineDoes::AgentDies), 6),
        ("agents that stood still", count(&machines, |what| matches!(what, MachineDoes::Stands(_))), 6),
        ("refusals", count(&machines, |what| matches!(what, MachineDoes::Refused(_))), 30),
        ("orders", runs.iter().flat_map(|run| &run.orders).filter(|order| order.ret.is_some()).count(), 20),
        (
            "slots freed by operators",
            runs.iter().flat_map(|run| &run.orders).filter(|order| order.frees.is_some()).count(),
            3,
        ),
        ("changes of semaphores", runs.iter().map(|run| run.semaphores.len()).sum(), 300),
    ] {
        assert!(found >= least, "{found} {what}");
    }
}

#[test]
fn in_a_fleet_of_a_hundred_nearly_all_reboot() {
    for (file, machines) in
        [("slow/a-hundred-machines-reboot.toml", 100), ("slow/a-hundred-machines-one-by-one.toml", 100)]
    {
        let run = runs(file, 1..2).remove(0);
        assert_eq!(run.machines.len(), machines);
        let rebooted =
            run.machines.iter().filter(|machine| machine.events.iter().any(|event| reboots(&event.what)));
        let rebooted = rebooted.count();
        assert!(rebooted >= 30, "{file}: {rebooted} machines rebooted");
        assert!(run.machines.iter().all(|machine| machine.settled), "{file}");
    }
}
