//! The simulated world keeps the contracts of the world seam, on one node and between two.

use seatrial_world::contract::Env;
use seatrial_world_sim::{NodeId, Options, Sim, SimWorld, run_seed};
use std::future::Future;

fn run<F, Fut>(contract: F)
where
    F: Fn(Env<SimWorld>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    for seed in 0..20 {
        let contract = contract.clone();
        let outcome = run_seed(seed, Options::default(), move |sim: Sim| async move {
            let server: NodeId = sim.node("server").build();
            let client = if seed % 4 == 0 { server } else { sim.node("client").build() };
            let host = if seed % 3 == 0 { "server".to_owned() } else { sim.ip(server).to_string() };
            let (server, client) = (sim.world_of(server), sim.world_of(client));
            contract(Env { server, client, host, root: "data/disk".into() }).await;
        });
        if let Err(failure) = outcome.result {
            panic!("seed {seed}: {failure}");
        }
    }
}

seatrial_world::contract_tests!(run);
