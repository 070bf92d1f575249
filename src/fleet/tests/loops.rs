//! Engines and agents together, in the simulated world.

mod support;

use seatrial_client::{Election, Store};
use seatrial_fleet::engine::{Limits, Policy, decide};
use seatrial_fleet::model::{JobState, MachineInfo};
use seatrial_fleet::registry::agent::register;
use seatrial_fleet::registry::keys::{ENGINE, PREFIX};
use seatrial_fleet::registry::{Fence, Write, restore, schedule, write};
use seatrial_fleet::run::{AgentNews, EngineNews, EngineOptions};
use seatrial_fleet::unit::UnitFile;
use seatrial_types::LeaseId;
use seatrial_types::request::LeaseGrantRequest;
use seatrial_world_sim::{Options, Sim, run_seed};
use std::time::Duration;
use support::{Fleet, Hub, Setup, id, name};

const SECOND: Duration = Duration::from_secs(1);
const THREE: [(&str, &str); 3] = [("m1", ""), ("m2", ""), ("m3", "")];

fn run<T: Send + 'static, F: Future<Output = T> + 'static>(
    scenario: impl FnOnce(Sim) -> F + Send + 'static,
) -> T {
    run_seed(7, Options::default(), scenario).result.unwrap_or_else(|failure| panic!("{failure}"))
}

fn placed(fleet: &Fleet, units: usize) -> bool {
    let running: usize = fleet.hosts.values().map(|host| host.units.running().len()).sum();
    running == units
}

async fn started(sim: Sim, units: usize) -> Fleet {
    let fleet = Fleet::start(sim, &THREE, &Setup::default());
    fleet.sim.sleep(SECOND).await;
    for at in 0..units {
        fleet.launch(&format!("u{at:03}.service"), "").await;
    }
    fleet.until("all units run", 20 * SECOND, |fleet| placed(fleet, units)).await;
    fleet
}

#[test]
fn a_hundred_units_are_launched_on_three_machines_well_within_two_seconds() {
    run(|sim| async move {
        let fleet = Fleet::start(sim, &THREE, &Setup::default());
        fleet.sim.sleep(SECOND).await;
        let start = fleet.sim.now();
        for at in 0..100 {
            fleet.launch(&format!("u{at:03}.service"), "").await;
        }
        fleet.until("all units run", 10 * SECOND, |fleet| placed(fleet, 100)).await;
        let took = fleet.sim.now() - start;
        assert!(took < 2 * SECOND, "{took:?}");
        let mut loads: Vec<_> = fleet.hosts.values().map(|host| host.units.running().len()).collect();
        loads.sort_unstable();
        assert_eq!(loads, [33, 33, 34]);
        fleet.sim.sleep(3 * SECOND).await;
        let cluster = fleet.cluster().await;
        for name in cluster.units.keys() {
            assert_eq!(cluster.current_state(name), Some(JobState::Launched), "{name}");
        }
    });
}

#[test]
fn units_of_a_killed_machine_run_elsewhere_once_its_lease_is_over() {
    run(|sim| async move {
        let fleet = started(sim, 9).await;
        // The worst case: the machine's engine led as well.
        let leader = fleet.leader().expect("one leads");
        let node = fleet.host(&leader).node;
        fleet.sim.kill(node);
        fleet.host(&leader).units.reboot();
        let took = fleet.until("all units run again", 60 * SECOND, |fleet| placed(fleet, 9)).await;
        assert!(took <= 10 * SECOND + 10 * SECOND + 4 * SECOND, "{took:?}");
        fleet.sim.restart(node);
        fleet.sim.sleep(20 * SECOND).await;
        assert!(placed(&fleet, 9), "a machine that comes back changes nothing");
    });
}

#[test]
fn units_of_a_killed_machine_do_not_wait_for_the_next_pass_that_comes_by_itself() {
    run(|sim| async move {
        let policy = Policy::for_ttl(10 * SECOND);
        let engine = EngineOptions { interval: 60 * SECOND, policy, ..EngineOptions::default() };
        let fleet = Fleet::start(sim, &THREE, &Setup { engine, ..Setup::default() });
        fleet.sim.sleep(SECOND).await;
        for at in 0..9 {
            fleet.launch(&format!("u{at:03}.service"), "").await;
        }
        fleet.until("all units run", 120 * SECOND, |fleet| placed(fleet, 9)).await;
        let leader = fleet.leader().expect("one leads");
        let other = THREE.iter().map(|(machine, _)| *machine).find(|machine| *machine != leader).unwrap();
        fleet.sim.kill(fleet.host(other).node);
        fleet.host(other).units.reboot();
        let took = fleet.until("all units run again", 120 * SECOND, |fleet| placed(fleet, 9)).await;
        assert!(took <= 12 * SECOND, "{took:?}");
    });
}

#[test]
fn a_store_that_stands_still_restarts_nothing_however_long() {
    run(|sim| async move {
        let fleet = started(sim, 29).await;
        for outage in [15, 60, 300] {
            fleet.hub.stop();
            fleet.sim.sleep(outage * SECOND).await;
            assert!(placed(&fleet, 29));
            fleet.hub.resume();
            fleet.sim.sleep(60 * SECOND).await;
            assert!(placed(&fleet, 29));
        }
        for host in fleet.hosts.values() {
            for unit in host.units.running() {
                assert_eq!(host.units.starts(&unit), 1, "{unit}");
            }
            let log = host.units.log();
            assert!(
                !log.iter().any(|line| line.starts_with("stop") || line.starts_with("unload")),
                "{log:?}"
            );
        }
    });
}

#[test]
fn on_a_machine_that_is_cut_off_a_unit_runs_on_or_stops_before_another_has_it() {
    run(|sim| async move {
        let fleet = Fleet::start(sim, &THREE, &Setup::default());
        fleet.sim.sleep(SECOND).await;
        fleet.launch("keep.service", "MachineMetadata=none=none").await;
        fleet.launch("keep.service", "").await;
        fleet.launch("single.service", "OnPartition=stop\nMachineOf=keep.service").await;
        fleet.until("both run", 10 * SECOND, |fleet| placed(fleet, 2)).await;
        let machine = fleet.running("keep.service").remove(0);
        fleet.host(&machine).link.cut(true);
        let mut copies_max = 0;
        let mut is_kept = true;
        for _ in 0..3000 {
            fleet.sim.sleep(SECOND / 50).await;
            copies_max = copies_max.max(fleet.running("single.service").len());
            is_kept &= fleet.running("keep.service").contains(&machine);
        }
        assert_eq!(copies_max, 1, "what must not run twice has run twice");
        assert!(is_kept, "what is to be kept was stopped");
        assert_eq!(fleet.running("keep.service").len(), 2);
        assert!(fleet.host(&machine).agent_news.lock().unwrap().contains(&AgentNews::CutOff));
        fleet.host(&machine).link.cut(false);
        let both = |fleet: &Fleet| {
            ["keep.service", "single.service"].iter().all(|unit| {
                let running = fleet.running(unit);
                running.len() == 1 && running[0] != machine
            })
        };
        fleet.until("the old copies are gone", 10 * SECOND, both).await;
        // What runs elsewhere by now is not started here again, not even for a moment.
        assert_eq!(fleet.host(&machine).units.starts(&name("single.service")), 1);
    });
}

#[test]
fn a_leader_that_slept_through_its_end_schedules_nothing() {
    run(|sim| async move {
        let fleet = started(sim, 3).await;
        let old = fleet.leader().expect("one leads");
        let node = fleet.host(&old).node;
        // It sleeps longer than its lease, and another leads.
        fleet.sim.pause(node);
        fleet.sim.sleep(5 * SECOND).await;
        for at in 0..20 {
            fleet.launch(&format!("new{at}@1.service"), "Conflicts=new*").await;
        }
        fleet.sim.sleep(30 * SECOND).await;
        fleet.sim.resume(node);
        fleet.sim.sleep(30 * SECOND).await;
        let cluster = fleet.cluster().await;
        for machine in cluster.machines.keys() {
            let here = cluster.units.iter().filter(|(name, unit)| {
                name.as_str().starts_with("new") && unit.target.as_ref() == Some(machine)
            });
            assert!(here.count() <= 1, "a conflict on {machine}");
        }
        let news = fleet.host(&old).engine_news.lock().unwrap();
        let rested = news.iter().position(|news| *news == EngineNews::Rests).expect("it has noticed");
        assert!(!news[rested..].iter().any(|news| matches!(news, EngineNews::Wrote(..))));
    });
}

/// The same without any luck of timing: the decision was made, and reaches the store when another one leads.
#[test]
fn a_transaction_on_its_way_writes_nothing_once_another_leads() {
    run(|sim| async move {
        let hub = Hub::start(sim.world());
        let link = hub.link(sim.world());
        let elected = async || {
            let grant = LeaseGrantRequest { ttl_seconds: 60, ..LeaseGrantRequest::default() };
            let lease = link.lease_grant(grant).await.unwrap().id;
            let election = Election::new(link.clone(), ENGINE.as_bytes());
            let place = election.campaign(lease, "{}".into()).await.unwrap();
            (lease, Fence { key: place.key, created: place.revision })
        };
        let decided = async |fence: &Fence| {
            let mirror = restore(&link, PREFIX).await.unwrap();
            let decisions = decide(mirror.cluster(), &Limits::default()).decisions;
            schedule(&mirror, &decisions, fence)
        };
        let launch = async |unit: &str| {
            let file = UnitFile::parse("[X-Fleet]\nConflicts=new@*\n").unwrap();
            let unit = Write::PutUnit { name: name(unit), file, desired: Some(JobState::Launched) };
            let mirror = restore(&link, PREFIX).await.unwrap();
            assert!(link.txn(write(&mirror, &[unit]).unwrap()).await.unwrap().succeeded);
        };
        link.txn(register(&id("m1"), &MachineInfo::default(), LeaseId::NONE)).await.unwrap();
        launch("new@2.service").await;
        let (lease, old) = elected().await;
        let on_its_way = decided(&old).await.remove(0).request;
        link.lease_revoke(lease).await.unwrap();
        let (_, new) = elected().await;
        launch("new@1.service").await;
        assert!(link.txn(decided(&new).await.remove(0).request).await.unwrap().succeeded);
        let answer = link.txn(on_its_way).await.unwrap();
        assert!(!answer.succeeded, "new@1 and new@2 are on one machine");
        assert!(old.is_broken_by(&answer));
    });
}

#[test]
fn when_most_machines_are_cut_off_their_units_stay_until_the_time_is_over() {
    run(|sim| async move {
        let policy = Policy { mass_loss_hold: Duration::from_secs(120), ..Policy::default() };
        let setup =
            Setup { engine: EngineOptions { policy, ..EngineOptions::default() }, ..Setup::default() };
        let machines = [("m1", ""), ("m2", ""), ("m3", ""), ("m4", ""), ("m5", "")];
        let fleet = Fleet::start(sim, &machines, &setup);
        fleet.sim.sleep(SECOND).await;
        for at in 0..10 {
            fleet.launch(&format!("u{at}.service"), "").await;
        }
        fleet.until("all run", 10 * SECOND, |fleet| placed(fleet, 10)).await;
        let cut = |is_cut| ["m1", "m2", "m3", "m4"].map(|machine| fleet.host(machine).link.cut(is_cut));
        cut(true);
        fleet.sim.sleep(60 * SECOND).await;
        assert!(placed(&fleet, 10), "units were moved");
        let reasons = fleet.last_pass("m5").reasons;
        assert_eq!(reasons.len(), 8, "{reasons:?}");
        assert!(reasons.values().all(|reason| reason.to_string().contains("held: 4 of 5 machines")));
        // An operator who knows better does not wait.
        fleet.write(&[Write::GiveUp { machine: id("m1") }]).await;
        fleet.until("those of m1 run elsewhere", 5 * SECOND, |fleet| placed(fleet, 12)).await;
        fleet.sim.sleep(30 * SECOND).await;
        assert!(placed(&fleet, 12));
        fleet.sim.sleep(120 * SECOND).await;
        assert!(placed(&fleet, 18), "nobody waits for ever");
        cut(false);
        fleet.until("there is one of each", 20 * SECOND, |fleet| placed(fleet, 10)).await;
        assert!(fleet.cluster().await.written_off.is_empty(), "who is back is not given up any more");
    });
}

#[test]
fn a_unit_is_stopped_unloaded_replaced_and_destroyed() {
    run(|sim| async move {
        let fleet = started(sim, 1).await;
        let unit = name("u000.service");
        let machine = fleet.running("u000.service").remove(0);
        let units = fleet.host(&machine).units.clone();
        let set = |desired| [Write::SetDesired { name: unit.clone(), desired }];
        fleet.write(&set(JobState::Loaded)).await;
        fleet.sim.sleep(SECOND).await;
        assert!(units.running().is_empty());
        fleet.write(&set(JobState::Launched)).await;
        fleet.sim.sleep(SECOND).await;
        assert_eq!(units.starts(&unit), 2);
        fleet.launch("u000.service", "MachineMetadata=a=b").await;
        fleet.sim.sleep(SECOND).await;
        assert!(placed(&fleet, 0));
        fleet.launch("u000.service", "").await;
        fleet.until("it runs", 5 * SECOND, |fleet| placed(fleet, 1)).await;
        fleet.write(&[Write::Destroy { name: unit.clone() }]).await;
        fleet.sim.sleep(3 * SECOND).await;
        assert!(placed(&fleet, 0));
        let mirror = fleet.mirror().await;
        assert!(mirror.cluster().units.is_empty() && mirror.cluster().states.is_empty());
    });
}

#[test]
fn global_units_run_on_every_machine_that_fits_also_on_one_that_joins() {
    run(|sim| async move {
        let setup = Setup::default();
        let mut fleet = Fleet::start(sim, &[("m1", "region=eu"), ("m2", "region=us")], &setup);
        fleet.sim.sleep(SECOND).await;
        fleet.launch("g.service", "Global=true\nMachineMetadata=region=eu").await;
        fleet.until("it runs", 5 * SECOND, |fleet| fleet.running("g.service") == ["m1"]).await;
        fleet.join("m3", "region=eu", &setup);
        fleet
            .until("it runs there too", 5 * SECOND, |fleet| fleet.running("g.service") == ["m1", "m3"])
            .await;
        let overlay = |machine, value: &str| {
            let value = value.to_owned();
            Write::SetMetadata { machine: id(machine), key: "region".into(), value }
        };
        fleet.write(&[overlay("m1", "asia"), overlay("m2", "eu")]).await;
        fleet
            .until("it moves with the metadata", 5 * SECOND, |fleet| {
                fleet.running("g.service") == ["m2", "m3"]
            })
            .await;
    });
}

#[test]
fn a_task_that_fails_is_tried_again_and_stops_nobody_else() {
    run(|sim| async move {
        let fleet = Fleet::start(sim, &[("m1", "")], &Setup::default());
        fleet.sim.sleep(SECOND).await;
        let units = fleet.host("m1").units.clone();
        units.fail("load a.service");
        fleet.launch("a.service", "").await;
        fleet.launch("b.service", "").await;
        fleet.until("the other one runs", 5 * SECOND, |fleet| fleet.running("b.service") == ["m1"]).await;
        fleet.sim.sleep(3 * SECOND).await;
        assert!(fleet.running("a.service").is_empty());
        units.repair();
        fleet.until("it runs", 6 * SECOND, |fleet| fleet.running("a.service") == ["m1"]).await;
        assert_eq!(units.starts(&name("b.service")), 1);
    });
}

#[test]
fn an_agent_that_starts_again_restarts_nothing() {
    run(|sim| async move {
        let fleet = started(sim, 6).await;
        for host in fleet.hosts.values() {
            fleet.sim.kill(host.node);
            fleet.sim.sleep(2 * SECOND).await;
            fleet.sim.restart(host.node);
            fleet.sim.sleep(15 * SECOND).await;
        }
        assert!(placed(&fleet, 6));
        for host in fleet.hosts.values() {
            for unit in host.units.running() {
                assert_eq!(host.units.starts(&unit), 1, "{unit}");
            }
        }
    });
}
