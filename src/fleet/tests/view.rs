//! The view of the original's registry, kept by whichever machine leads, in the simulated world.

mod support;

use seatrial_fleet::model::JobState;
use seatrial_fleet::registry::Write;
use seatrial_fleet::registry::v2::PREFIX;
use seatrial_fleet::registry::view::{Seen, View, ViewWrite};
use seatrial_fleet::run::{OldRegistry, ViewError, ViewNews, ViewOptions, run_view};
use seatrial_fleet::unit::UnitFile;
use seatrial_world::World;
use seatrial_world_sim::{Options, Sim, SimWorld, run_seed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Fleet, Setup, id, name};

const SECOND: Duration = Duration::from_secs(1);
const THREE: [(&str, &str); 3] = [("m1", ""), ("m2", ""), ("m3", "")];
const FILE: &str = "[Service]\nExecStart=/bin/old\n";

/// v2 keys without directories and without ends of time.
#[derive(Clone)]
struct Keys {
    world: SimWorld,
    view: Arc<Mutex<View>>,
}

impl Keys {
    fn put(&self, rest: &str, value: &str) {
        let mut view = self.view.lock().unwrap();
        view.index += 1;
        let seen = Seen { value: value.to_owned(), index: view.index, ttl_seconds: None };
        view.files.insert(format!("{PREFIX}/{rest}"), seen);
    }

    fn remove(&self, rest: &str) {
        let mut view = self.view.lock().unwrap();
        view.index += 1;
        view.files.retain(|path, _| !path.starts_with(&format!("{PREFIX}/{rest}")));
    }

    fn get(&self, rest: &str) -> Option<String> {
        self.view.lock().unwrap().files.get(&format!("{PREFIX}/{rest}")).map(|seen| seen.value.clone())
    }

    /// As `fleetctl --driver=etcd submit`.
    fn submit(&self, unit: &str) {
        let hash = UnitFile::parse(FILE).unwrap().hash();
        self.put(&format!("unit/{hash}"), &format!("{{\"Raw\":{FILE:?}}}"));
        self.put(&format!("job/{unit}/object"), &format!("{{\"Name\":{unit:?},\"UnitHash\":{:?}}}", hash.0));
        self.put(&format!("job/{unit}/target-state"), "inactive");
    }
}

impl OldRegistry for Keys {
    async fn read(&self) -> Result<View, ViewError> {
        self.world.sleep(Duration::from_millis(2)).await;
        let mut view = self.view.lock().unwrap().clone();
        // What has a time in the original seems to have enough of it.
        for (path, seen) in &mut view.files {
            let ends =
                ["/lease/", "/states/", "/state/", "/job-state"].iter().any(|part| path.contains(part));
            let is_machine = path.contains("/machines/") && path.ends_with("/object");
            seen.ttl_seconds = (ends || is_machine).then_some(60);
        }
        Ok(view)
    }

    async fn write(&self, write: &ViewWrite) -> Result<bool, ViewError> {
        self.world.sleep(Duration::from_millis(1)).await;
        let rest = |path: &str| path.strip_prefix(PREFIX).unwrap().trim_start_matches('/').to_owned();
        let index = |path: &str| self.view.lock().unwrap().files.get(path).map(|seen| seen.index);
        match write {
            ViewWrite::Put { path, value, prev, .. } if index(path) == *prev => self.put(&rest(path), value),
            ViewWrite::Delete { path, prev } if index(path) == Some(*prev) => self.remove(&rest(path)),
            _ => return Ok(false),
        }
        Ok(true)
    }

    async fn changed(&self, after: u64) -> Result<(), ViewError> {
        while self.view.lock().unwrap().index <= after {
            self.world.sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

type News = Arc<Mutex<Vec<(String, ViewNews)>>>;

/// A fleet whose machines keep the view, whether their engines live or not: the worst that can come of a leader that sleeps.
async fn started(sim: Sim) -> (Fleet, Keys, News) {
    let fleet = Fleet::start(sim, &THREE, &Setup::default());
    let world = fleet.sim.world();
    let keys = Keys { world: world.clone(), view: Arc::default() };
    let news = News::default();
    for (machine, _) in THREE {
        let (link, keys, news) = (fleet.hub.link(world.clone()), keys.clone(), news.clone());
        let heard = move |what| news.lock().unwrap().push((machine.to_owned(), what));
        let view = run_view(world.clone(), link, keys, id(machine), ViewOptions::default(), heard);
        world.spawn(view);
    }
    fleet.until("the view is whole", 20 * SECOND, |_| keys.get("engine/version").is_some()).await;
    (fleet, keys, news)
}

fn run<T: Send + 'static, F: Future<Output = T> + 'static>(
    seed: u64,
    scenario: impl FnOnce(Sim) -> F + Send + 'static,
) -> T {
    run_seed(seed, Options::default(), scenario).result.unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn an_old_client_is_obeyed_by_whichever_machine_leads_and_what_it_reads_is_true() {
    run(7, |sim| async move {
        let (fleet, keys, news) = started(sim).await;
        keys.submit("old.service");
        keys.put("job/old.service/target-state", "launched");
        fleet
            .until("it is launched and shown so", 5 * SECOND, |_| {
                keys.get("job/old.service/job-state").is_some()
            })
            .await;
        let target = keys.get("job/old.service/target").unwrap();
        assert_eq!(keys.get("job/old.service/job-state").as_ref(), Some(&target));
        assert_eq!(fleet.running("old.service"), [target]);

        // The leader dies, and nobody leads for a while.
        let leader = fleet.leader().unwrap();
        fleet.sim.kill(fleet.host(&leader).node);
        keys.put("job/old.service/target-state", "inactive");
        keys.submit("next.service");
        keys.put("job/next.service/target-state", "launched");
        fleet
            .until("the next one obeys", 60 * SECOND, |fleet| {
                keys.get("job/old.service/target").is_none() && fleet.running("next.service").len() == 1
            })
            .await;
        let keepers: Vec<String> = {
            let news = news.lock().unwrap();
            let keeps = news.iter().filter(|(_, news)| *news == ViewNews::Keeps);
            keeps.map(|(machine, _)| machine.clone()).collect()
        };
        assert_eq!(keepers.first(), Some(&leader));
        assert!(keepers.len() == 2 && keepers[1] != leader, "{keepers:?}");

        keys.remove("job/next.service/");
        fleet.until("it is destroyed", 5 * SECOND, |fleet| fleet.running("next.service").is_empty()).await;
        assert!(!fleet.cluster().await.units.contains_key(&name("next.service")));
        // And nothing comes back by itself.
        fleet.sim.sleep(10 * SECOND).await;
        assert_eq!(keys.get("job/next.service/object"), None);
        assert!(!fleet.cluster().await.units.contains_key(&name("next.service")));
    });
}

#[test]
fn after_a_stop_the_unit_is_shown_as_launched_long_enough_for_the_originals_restart() {
    run(8, |sim| async move {
        let (fleet, keys, _) = started(sim).await;
        fleet.launch("a.service", "").await;
        let shown = || keys.get("job/a.service/job-state").is_some();
        fleet.until("it is shown", 5 * SECOND, |_| shown()).await;
        fleet.sim.sleep(3 * SECOND).await;
        keys.put("job/a.service/target-state", "loaded");
        fleet.sim.sleep(Duration::from_millis(250)).await;
        assert!(fleet.running("a.service").is_empty(), "it is stopped by then");
        assert!(shown(), "and its client, which looks now, goes on");
        keys.put("job/a.service/target-state", "launched");
        fleet.until("it runs again", 5 * SECOND, |fleet| fleet.running("a.service").len() == 1).await;
    });
}

#[test]
fn both_sides_agree_after_orders_from_both_while_leaders_die() {
    for seed in 0..8 {
        run(seed, move |sim| async move {
            let (fleet, keys, _) = started(sim).await;
            let world = fleet.sim.world();
            let states = ["inactive", "loaded", "launched"];
            for _ in 0..40 {
                let (what, which) = (world.rand() % 6, world.rand() % 4);
                let unit = format!("u{which}.service");
                let knows = keys.get(&format!("job/{unit}/object")).is_some();
                match what {
                    0 => keys.submit(&unit),
                    1 if knows => {
                        let state = states[(world.rand() % 3) as usize];
                        keys.put(&format!("job/{unit}/target-state"), state);
                    }
                    2 => keys.remove(&format!("job/{unit}/")),
                    3 => fleet.launch(&unit, "").await,
                    4 => fleet.write(&[Write::Destroy { name: name(&unit) }]).await,
                    _ => {
                        if let Some(leader) = fleet.leader() {
                            let node = fleet.host(&leader).node;
                            fleet.sim.kill(node);
                            fleet.sim.sleep(Duration::from_millis(world.rand() % 15_000)).await;
                            fleet.sim.restart(node);
                        }
                    }
                }
                fleet.sim.sleep(Duration::from_millis(world.rand() % 1_500)).await;
            }
            fleet.sim.sleep(60 * SECOND).await;
            let cluster = fleet.cluster().await;
            let view = keys.view.lock().unwrap().clone();
            let shown = view.files.keys().filter(|path| path.ends_with("/object") && path.contains("/job/"));
            assert_eq!(shown.count(), cluster.units.len(), "seed {seed}");
            for (unit, known) in &cluster.units {
                let state = keys.get(&format!("job/{unit}/target-state"));
                assert_eq!(state, Some(known.desired.to_string()), "seed {seed}: {unit}");
                let hash = known.hash.0;
                let object = keys.get(&format!("job/{unit}/object")).unwrap();
                let listed = hash.map(|byte| byte.to_string()).join(",");
                assert!(object.contains(&listed), "seed {seed}: {unit}");
                if known.desired == JobState::Launched {
                    assert_eq!(fleet.running(unit.as_str()).len(), 1, "seed {seed}: {unit}");
                }
            }
        });
    }
}
