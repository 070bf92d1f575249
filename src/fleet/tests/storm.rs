//! Many seeds of links that are cut, machines that stand still and die, and a store that goes away: what must always hold
//! is looked at all the time, and in the end everything is where it belongs.

mod support;

use seatrial_fleet::model::{Cluster, JobState, are_in_conflict};
use seatrial_world_sim::{Options, Sim, check_determinism, run_seed};
use std::time::Duration;
use support::{Fleet, Setup, name};

const SECOND: Duration = Duration::from_secs(1);
const MACHINES: [(&str, &str); 4] = [("m1", "disk=ssd"), ("m2", ""), ("m3", "disk=ssd"), ("m4", "")];

/// F3 and F4: no conflict among units that are scheduled, and followers with their peers or nowhere.
fn check_schedule(cluster: &Cluster, is_quiet: bool) {
    for machine in cluster.machines.keys() {
        let here = || cluster.units.iter().filter(|(_, unit)| unit.target.as_ref() == Some(machine));
        for (name, unit) in here() {
            for (other_name, other) in here() {
                let are_apart = !are_in_conflict(name, unit, other_name, other);
                assert!(are_apart, "{name} and {other_name} are in conflict on {machine}");
            }
            for peer in unit.requirements.peers.iter().filter(|_| is_quiet) {
                let target = &cluster.units[peer].target;
                assert_eq!(target.as_ref(), Some(machine), "{name} without {peer}");
            }
        }
    }
}

async fn storm(sim: Sim) -> Vec<String> {
    let fleet = Fleet::start(sim, &MACHINES, &Setup::default());
    fleet.sim.sleep(SECOND).await;
    for at in 1..=3 {
        fleet.launch(&format!("web@{at}.service"), "Conflicts=web@*").await;
    }
    fleet.launch("single.service", "OnPartition=stop").await;
    fleet.launch("side.service", "MachineOf=single.service").await;
    fleet.launch("disk.service", "MachineMetadata=disk=ssd").await;
    fleet.launch("everywhere.service", "Global=true").await;
    let mut chance = fleet.sim.chance("nemesis");
    for _ in 0..12 {
        let machine = MACHINES[chance.below(4) as usize].0;
        let host = fleet.host(machine);
        let lasts = chance.duration(SECOND, 30 * SECOND);
        match chance.below(5) {
            0 => host.link.cut(true),
            1 => fleet.sim.pause(host.node),
            2 => {
                // A machine that dies takes its units along.
                fleet.sim.kill(host.node);
                host.units.reboot();
            }
            3 => fleet.sim.kill(host.node),
            _ => fleet.hub.stop(),
        }
        let end = fleet.sim.now() + lasts;
        while fleet.sim.now() < end {
            fleet.sim.sleep(SECOND / 4).await;
            // A machine that stands still cannot stop anything; the promise is for those that are awake.
            let copies = fleet.running("single.service");
            let asleep = copies.iter().filter(|copy| copy.as_str() == machine).count();
            assert!(copies.len() - asleep <= 1, "single.service runs on {copies:?}");
        }
        host.link.cut(false);
        fleet.sim.resume(host.node);
        fleet.hub.resume();
        fleet.sim.restart(host.node);
        check_schedule(&fleet.cluster().await, false);
        fleet.sim.sleep(chance.duration(Duration::ZERO, 5 * SECOND)).await;
        check_schedule(&fleet.cluster().await, false);
    }
    fleet.sim.sleep(40 * SECOND).await;
    let cluster = fleet.cluster().await;
    check_schedule(&cluster, true);
    let mut found = Vec::new();
    for (unit, known) in &cluster.units {
        let running = fleet.running(unit.as_str());
        if known.is_global() {
            assert_eq!(running, ["m1", "m2", "m3", "m4"], "{unit}");
        } else {
            assert_eq!(cluster.current_state(unit), Some(JobState::Launched), "{unit}");
            let target = known.target.as_ref().map(ToString::to_string);
            assert_eq!(running, target.into_iter().collect::<Vec<_>>(), "{unit}");
        }
        found.push(format!("{unit} {running:?}"));
    }
    assert!(cluster.units.contains_key(&name("single.service")));
    found
}

#[test]
fn through_any_storm_the_rules_hold_and_afterwards_everything_is_where_it_belongs() {
    for seed in 1..=40 {
        let options = Options { time_limit: 3600 * SECOND, ..Options::default() };
        let outcome = run_seed(seed, options, storm);
        if let Err(failure) = outcome.result {
            panic!("seed {seed}: {failure}");
        }
    }
}

#[test]
fn a_seed_says_everything() {
    let options = Options { time_limit: 3600 * SECOND, ..Options::default() };
    check_determinism(3, &options, storm).expect("twice the same");
}
