//! One fleetd's life on a simulated machine, put together as `seatrial fleetd` is.

use super::host::Host;
use super::manager::Units;
use seatrial_client::ClientOptions;
use seatrial_fleet::engine::Policy;
use seatrial_fleet::model::MachineInfo;
use seatrial_fleet::run::{
    AgentNews, AgentOptions, EngineNews, EngineOptions, KeptUnits, UnitManager, run_agent, run_engine,
};
use seatrial_fleet::unit::MachineId;
use seatrial_scenario::record::{AgentWord, EngineWord, Notebook};
use seatrial_scenario::theatre::{machine_id, machine_metadata};
use seatrial_wire::ChannelOptions;
use seatrial_world::World;
use seatrial_world_sim::SimWorld;
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two passes of an engine; one that is gone is missed after five of them.
const ENGINE_INTERVAL: Duration = Duration::from_secs(1);

/// What a machine's fleetd is told.
#[derive(Clone, Debug)]
pub(crate) struct HostSettings {
    /// How long the machine counts as there when it is not heard.
    pub(crate) ttl: Duration,
    /// So many units of lost machines are moved at once.
    pub(crate) evictions: u32,
    /// Where the store is heard.
    pub(crate) addresses: Vec<String>,
}

/// Until it is killed.
pub(crate) async fn run(world: SimWorld, host: Host, settings: HostSettings) {
    host.open();
    let (machine, book) = (host.machine(), host.notebook().clone());
    let units: Units = KeptUnits(host.clone());
    let found = units.loaded().await.map_or(0, |units| units.values().filter(|unit| unit.is_started).count());
    book.agent_said(machine, host.now(), AgentWord::Began { found });
    let driver = host.clone();
    let ticking = world.clone();
    world.spawn(async move {
        loop {
            let wait = driver.turn();
            ticking.sleep(wait).await;
        }
    });
    let connect = || {
        let (channel, client) = (ChannelOptions::default(), ClientOptions::default());
        seatrial_wire::connect(&world, &settings.addresses, &channel, client).expect("well-formed addresses")
    };
    let me = MachineId::parse(&machine_id(machine)).expect("a well-formed id");
    let info = MachineInfo {
        ip: world.ip().to_string(),
        metadata: machine_metadata(machine),
        boot_id: host.boot_id(),
        ..MachineInfo::default()
    };
    let agent = AgentOptions {
        interval: Duration::from_secs(5),
        ttl: settings.ttl,
        stop_margin: settings.ttl / 5,
        ..AgentOptions::default()
    };
    let evictions_per_second = (settings.evictions / 2).max(1);
    let policy =
        Policy { evictions_burst: settings.evictions, evictions_per_second, ..Policy::for_ttl(settings.ttl) };
    let engine = EngineOptions { interval: ENGINE_INTERVAL, lease_ttl: ENGINE_INTERVAL * 5, policy };
    let store = connect();
    let now = clock(host.clone());
    world.spawn(run_engine(
        world.clone(),
        store.clone(),
        me.clone(),
        engine,
        engine_news(book.clone(), machine, now),
    ));
    let now = clock(host.clone());
    run_agent(world.clone(), store, units, me, info, agent, agent_news(book, machine, now)).await;
}

fn clock(host: Host) -> impl Fn() -> Duration + Send {
    move || host.now()
}

fn agent_news(
    book: Notebook,
    machine: u32,
    now: impl Fn() -> Duration + Send,
) -> impl FnMut(AgentNews) + Send {
    move |news| {
        let word = match news {
            AgentNews::Registered(revision) => AgentWord::Registered(revision.0),
            AgentNews::CutOff => AgentWord::CutOff,
            // The end of the lease is what matters, and is told above.
            AgentNews::Renewed | AgentNews::NotRenewed(_) => return,
            AgentNews::Done(task) => AgentWord::Did(task.to_string()),
            AgentNews::Failed(task, error) => AgentWord::Failed(format!("{task}: {}", error.problem)),
        };
        book.agent_said(machine, now(), word);
    }
}

fn engine_news(
    book: Notebook,
    machine: u32,
    now: impl Fn() -> Duration + Send,
) -> impl FnMut(EngineNews) + Send {
    let mut waits: Option<BTreeMap<String, String>> = None;
    move |news| {
        let word = match news {
            EngineNews::Leads(revision) => {
                waits = None;
                EngineWord::Leads(revision.0)
            }
            EngineNews::Passed(outcome) => {
                let reasons = outcome.reasons.iter();
                let reasons: BTreeMap<String, String> =
                    reasons.map(|(unit, reason)| (unit.to_string(), reason.to_string())).collect();
                if waits.as_ref() == Some(&reasons) {
                    return;
                }
                waits = Some(reasons.clone());
                EngineWord::Waits(reasons)
            }
            EngineNews::Wrote(decisions, revision) => EngineWord::Wrote {
                revision: revision.0,
                evictions: decisions.iter().filter(|decision| decision.is_eviction()).count(),
                decisions: decisions.iter().map(ToString::to_string).collect(),
            },
            // The next pass looks again.
            EngineNews::Refused(_) | EngineNews::Took(_) => return,
            EngineNews::Rests => EngineWord::Rests,
        };
        book.engine_said(machine, now(), word);
    }
}
