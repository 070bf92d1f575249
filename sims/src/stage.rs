//! Plays plans in the simulator.

use crate::theatre::SimTheatre;
use seatrial_scenario::Plan;
use seatrial_scenario::batch::Stage;
use seatrial_scenario::record::{Notebook, Packet, RunLog};
use seatrial_scenario::runner::{play, time_limit};
use seatrial_types::{MemberId, buggify};
use seatrial_world_sim::{Divergence, Event, Failure, Options, Outcome, Sim, check_determinism, run_seed};
use std::time::Duration;

/// The simulated stage: the seed of a plan is the seed of its world.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// Real time after which a run counts as stuck.
    pub wall_limit: Duration,
}

impl Default for Simulation {
    fn default() -> Self {
        Self { wall_limit: Duration::from_secs(120) }
    }
}

impl Simulation {
    fn options(&self, plan: &Plan) -> Options {
        Options {
            time_limit: time_limit(plan),
            wall_limit: self.wall_limit,
            // A member that panics is dead, and what the others make of it is worth seeing.
            kill_on_panic: true,
            packet_sample: 1,
            ..Options::default()
        }
    }

    /// Plays the plan twice and compares everything that happened.
    ///
    /// # Errors
    /// The first event in which the two runs differ.
    pub fn check_determinism(&self, plan: &Plan) -> Result<RunLog, Box<Divergence>> {
        let notebook = Notebook::new(plan.clone());
        let played = plan.clone();
        let outcome = check_determinism(plan.seed, &self.options(plan), move |sim| {
            // A notebook of its own for each of the two runs.
            scene(sim, played.clone(), Notebook::new(played.clone()))
        })?;
        Ok(finish(&notebook, outcome))
    }
}

impl Stage for Simulation {
    fn world(&self) -> &str {
        "sim"
    }

    fn run(&self, plan: &Plan) -> RunLog {
        let notebook = Notebook::new(plan.clone());
        let (played, book) = (plan.clone(), notebook.clone());
        let outcome = run_seed(plan.seed, self.options(plan), move |sim| scene(sim, played, book));
        finish(&notebook, outcome)
    }
}

async fn scene(sim: Sim, plan: Plan, notebook: Notebook) {
    let book = notebook.clone();
    sim.observe(move |at, event| match event {
        Event::Panicked { node, message } => book.panicked(number(node), message.clone()),
        Event::PowerLost { node, .. } => {
            // Those that the nemesis takes are down in the book already.
            if let Some(member) = number(node) {
                book.lost_power(member, at);
            }
        }
        Event::Packet { from, to, sent, bytes } => {
            if let (Some(from), Some(to)) = (number(from), number(to)) {
                book.packet(packet(at, *sent, from, to, bytes));
            }
        }
        _ => {}
    });
    let sites: Vec<_> = plan.sites.iter().map(|active| (active.site, active.ppm)).collect();
    let (clock, book) = (sim.clone(), notebook.clone());
    // The run has its thread for itself, and so have its sites.
    buggify::arm(plan.seed, &sites, move |site| book.told_to(site, clock.now()));
    let theatre = SimTheatre::new(sim, &plan, notebook.clone());
    play(&theatre, &plan, &notebook).await;
    buggify::disarm();
}

fn packet(at: Duration, sent: Duration, from: MemberId, to: MemberId, bytes: &[u8]) -> Packet {
    let names = seatrial_node::name_messages(bytes);
    let first = names.first();
    Packet {
        at,
        sent,
        from,
        to,
        bytes: bytes.len(),
        kind: first.map_or("", |name| name.kind).into(),
        term: first.and_then(|name| name.term).map(|term| term.0),
        more: names.len().saturating_sub(1),
    }
}

/// The member whose machine has this name.
fn number(node: &str) -> Option<MemberId> {
    node.strip_prefix('m').and_then(|number| number.parse().ok()).map(MemberId)
}

fn finish(notebook: &Notebook, outcome: Outcome<()>) -> RunLog {
    match outcome.result {
        Ok(()) => {}
        Err(Failure::Panic { node: Some(node), message, .. }) => {
            notebook.panicked(number(&node), message);
        }
        Err(failure) => notebook.harness_error(failure.to_string()),
    }
    notebook.finish(outcome.simulated, outcome.trace_hash, outcome.cpu)
}
