//! A fleet in the simulated world: machines with an agent and an engine each, around one store.

#![allow(dead_code, unreachable_pub, reason = "a support module, used in parts by each test file")]

mod store;

pub use store::{Hub, Link};

use seatrial_client::Store;
use seatrial_fleet::engine::Outcome;
use seatrial_fleet::fake::FakeManager;
use seatrial_fleet::model::{Cluster, JobState, MachineInfo};
use seatrial_fleet::registry::keys::PREFIX;
use seatrial_fleet::registry::{Mirror, Write, restore, write};
use seatrial_fleet::run::{AgentNews, AgentOptions, EngineNews, EngineOptions, run_agent, run_engine};
use seatrial_fleet::unit::{MachineId, UnitFile, UnitName};
use seatrial_world::World;
use seatrial_world_sim::{NodeId, Sim, SimWorld};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

pub fn id(text: &str) -> MachineId {
    MachineId::parse(text).unwrap()
}

pub struct Host {
    pub node: NodeId,
    pub link: Link,
    pub units: FakeManager,
    pub agent_news: Arc<Mutex<Vec<AgentNews>>>,
    pub engine_news: Arc<Mutex<Vec<EngineNews>>>,
}

pub struct Fleet {
    pub sim: Sim,
    pub hub: Hub,
    pub hosts: BTreeMap<String, Host>,
    /// A client that nobody cuts off.
    pub client: Link,
}

pub struct Setup {
    pub agent: AgentOptions,
    pub engine: EngineOptions,
}

impl Default for Setup {
    fn default() -> Self {
        let ttl = Duration::from_secs(10);
        let agent = AgentOptions { ttl, stop_margin: ttl / 5, ..AgentOptions::default() };
        Self { agent, engine: EngineOptions::default() }
    }
}

impl Fleet {
    /// Machines of these names, with metadata such as `region=eu`.
    pub fn start(sim: Sim, machines: &[(&str, &str)], setup: &Setup) -> Self {
        let hub = Hub::start(sim.world());
        let client = hub.link(sim.world());
        let mut fleet = Self { sim, hub, hosts: BTreeMap::new(), client };
        for (machine, metadata) in machines {
            fleet.join(machine, metadata, setup);
        }
        fleet
    }

    pub fn join(&mut self, machine: &str, metadata: &str, setup: &Setup) {
        let pairs = metadata.split_whitespace().filter_map(|pair| pair.split_once('='));
        let metadata = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let info = MachineInfo {
            metadata,
            ip: format!("10.0.0.{}", self.hosts.len() + 1),
            ..MachineInfo::default()
        };
        let units = FakeManager::default();
        let agent_news = Arc::new(Mutex::new(Vec::new()));
        let engine_news = Arc::new(Mutex::new(Vec::new()));
        let (me, agent, engine) = (id(machine), setup.agent, setup.engine);
        // One link for all lives of the process.
        let link = self.hub.link(self.sim.world());
        let parts = (link.clone(), units.clone(), agent_news.clone(), engine_news.clone());
        let process = move |world: SimWorld| {
            let (link, units, agent_news, engine_news) = parts.clone();
            let link = link.at(world.clone());
            let (me, info) = (me.clone(), info.clone());
            async move {
                let heard = move |news| agent_news.lock().unwrap().push(news);
                let agent = run_agent(world.clone(), link.clone(), units, me.clone(), info, agent, heard);
                world.spawn(agent);
                let heard = move |news| engine_news.lock().unwrap().push(news);
                run_engine(world, link, me, engine, heard).await;
            }
        };
        let node = self.sim.node(machine).init(process).build();
        self.hosts.insert(machine.to_owned(), Host { node, link, units, agent_news, engine_news });
    }

    pub fn host(&self, machine: &str) -> &Host {
        &self.hosts[machine]
    }

    pub async fn mirror(&self) -> Mirror {
        restore(&self.client, PREFIX).await.expect("the client is never cut off")
    }

    pub async fn cluster(&self) -> Cluster {
        self.mirror().await.cluster().clone()
    }

    /// As a client: looks, writes, and looks again where somebody was faster.
    pub async fn write(&self, writes: &[Write]) {
        for _ in 0..100 {
            let request = write(&self.mirror().await, writes).expect("few writes fit");
            if self.client.txn(request).await.expect("the store takes it").succeeded {
                return;
            }
        }
        panic!("a hundred others were faster");
    }

    pub async fn launch(&self, unit: &str, section: &str) {
        let file = UnitFile::parse(&format!("[Service]\nExecStart=/bin/x\n[X-Fleet]\n{section}\n")).unwrap();
        self.write(&[Write::PutUnit { name: name(unit), file, desired: Some(JobState::Launched) }]).await;
    }

    /// Where a unit runs, really.
    pub fn running(&self, unit: &str) -> Vec<String> {
        let runs = |host: &Host| host.units.running().contains(&name(unit));
        self.hosts.iter().filter(|(_, host)| runs(host)).map(|(machine, _)| machine.clone()).collect()
    }

    /// Waits until this holds.
    pub async fn until(&self, what: &str, limit: Duration, mut holds: impl FnMut(&Self) -> bool) -> Duration {
        let start = self.sim.now();
        while !holds(self) {
            assert!(self.sim.now() < start + limit, "{what} does not hold after {limit:?}");
            self.sim.sleep(Duration::from_millis(20)).await;
        }
        self.sim.now() - start
    }

    /// The machine whose engine leads, by its own word.
    pub fn leader(&self) -> Option<String> {
        let leads = |host: &&Host| {
            let news = host.engine_news.lock().unwrap();
            let last =
                news.iter().rev().find(|news| matches!(news, EngineNews::Leads(_) | EngineNews::Rests));
            matches!(last, Some(EngineNews::Leads(_)))
        };
        self.hosts.iter().find(|(_, host)| leads(host)).map(|(machine, _)| machine.clone())
    }

    /// What the last pass of a machine's engine came to.
    pub fn last_pass(&self, machine: &str) -> Outcome {
        let news = self.host(machine).engine_news.lock().unwrap();
        let last = news.iter().rev().find_map(|news| match news {
            EngineNews::Passed(outcome) => Some(outcome.clone()),
            _ => None,
        });
        last.expect("it has passed")
    }
}
