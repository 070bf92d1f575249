//! Plays plans in the lab.

use crate::tasks::Tasks;
use crate::theatre::LabTheatre;
use seatrial_scenario::Plan;
use seatrial_scenario::batch::Stage;
use seatrial_scenario::format::spec::Scenario;
use seatrial_scenario::record::{Notebook, RunLog};
use seatrial_scenario::runner::{play, time_limit};
use seatrial_types::buggify;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The lab as a stage.
#[derive(Clone, Debug, Default)]
pub struct Laboratory;

impl Stage for Laboratory {
    fn world(&self) -> &str {
        "lab"
    }

    fn why_not(&self, scenario: &Scenario) -> Option<String> {
        crate::why_not(scenario)
    }

    fn run(&self, plan: &Plan) -> RunLog {
        // Sites, and what else hangs on the thread, belong to one run.
        #[allow(clippy::disallowed_methods, reason = "a run has a thread of its own, outside of any world")]
        let played = std::thread::scope(|scope| scope.spawn(|| perform(plan)).join());
        played.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

fn perform(plan: &Plan) -> RunLog {
    let began = cpu();
    let notebook = Notebook::new(plan.clone());
    let mut tasks = Tasks::default();
    let theatre = LabTheatre::new(plan, notebook.clone(), tasks.spawner());
    let sites: Vec<_> = plan.sites.iter().map(|active| (active.site, active.ppm)).collect();
    // A site is told to in the midst of a step, when the world is not to be asked for the time.
    let (book, clock) = (notebook.clone(), Arc::new(std::sync::Mutex::new(Duration::ZERO)));
    let time = Arc::clone(&clock);
    buggify::arm(plan.seed, &sites, move |site| {
        book.told_to(site, *time.lock().expect("no panic while held"));
    });
    let is_over = Arc::new(AtomicBool::new(false));
    let (played, book, over) = (plan.clone(), notebook.clone(), Arc::clone(&is_over));
    let stage = theatre.clone();
    tasks.spawner().spawn(async move {
        play(&stage, &played, &book).await;
        over.store(true, Ordering::Relaxed);
    });
    let limit = time_limit(plan);
    let mut forks = plan.forks.iter().copied().peekable();
    loop {
        tasks.settle();
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let mut shared = theatre.shared();
        // A fork comes before all that happens at its moment.
        while let Some(fork) = forks.next_if(|fork| shared.lab.next_at().is_some_and(|next| fork.at <= next))
        {
            shared.lab.reseed(fork.seed);
        }
        if !shared.lab.step() {
            notebook.harness_error("nothing is left to happen, and the play is not over");
            break;
        }
        if shared.lab.now() > limit {
            notebook.harness_error(format!("the run is not over after {limit:?} of world time"));
            break;
        }
        *clock.lock().expect("no panic while held") = shared.lab.now();
        shared.deliver(theatre.notebook());
    }
    buggify::disarm();
    let (ended, digest) = {
        let shared = theatre.shared();
        (shared.lab.now(), shared.lab.digest())
    };
    notebook.finish(ended, digest, cpu().saturating_sub(began))
}
