//! Scenarios on real processes: the same plan, clients and oracles, with servers on loopback, `kill -9`, `SIGSTOP`, and links
//! that lie between them in this process.
//!
//! What it cannot do (see `declined.rs`) it says before a scenario starts. It does not see into the members either: who leads
//! is asked of them, and the oracles that need a member's own observations judge what little there is.

mod cast;
mod declined;
mod disks;
mod links;
mod lookout;
mod netns;
mod peers;
mod pipe;
mod ports;
mod program;
mod road;
mod whose;
mod workings;

use declined::why_not;
pub(crate) use program::Program;

use cast::Cast;
use seatrial_scenario::batch::Stage;
use seatrial_scenario::format::spec::Scenario;
use seatrial_scenario::record::{Notebook, RunLog};
use seatrial_scenario::{Plan, runner};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Plays plans with processes.
#[derive(Debug)]
pub(crate) struct Processes {
    /// Where data folders and logs go; one folder below for each run.
    pub(crate) folder: PathBuf,
    /// What the members run.
    pub(crate) program: Program,
}

impl Stage for Processes {
    fn world(&self) -> &str {
        if self.program.is_foreign() { &self.program.name } else { "real" }
    }

    fn why_not(&self, scenario: &Scenario) -> Option<String> {
        why_not(scenario, &self.program)
    }

    fn run(&self, plan: &Plan) -> RunLog {
        // Real members are not told when to be slow, nor their messages in which order to arrive.
        let plan = &Plan { priorities: None, sites: Vec::new(), ..plan.clone() };
        let notebook = Notebook::new(plan.clone());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let begun = Instant::now();
        match runtime {
            Err(error) => notebook.harness_error(format!("the runtime cannot start: {error}")),
            Ok(runtime) => {
                runtime.block_on(self.play(plan, &notebook));
                runtime.shutdown_timeout(Duration::from_secs(1));
            }
        }
        // There is no trace of a real run: no two are equal.
        notebook.finish(begun.elapsed(), 0, Duration::ZERO)
    }
}

impl Processes {
    async fn play(&self, plan: &Plan, notebook: &Notebook) {
        if let Some(why) = why_not(&plan.scenario, &self.program) {
            return notebook.harness_error(why);
        }
        let cast = match Cast::new(plan, &self.program, &self.folder, notebook).await {
            Err(error) => return notebook.harness_error(error.to_string()),
            Ok(cast) => cast,
        };
        let lookouts: Vec<_> = cast
            .machines()
            .into_iter()
            .map(|member| tokio::spawn(lookout::watch(cast.clone(), member)))
            .collect();
        let limit = runner::time_limit(plan);
        if tokio::time::timeout(limit, runner::play(&cast, plan, notebook)).await.is_err() {
            notebook.harness_error(format!("the run did not end within {limit:?}"));
        }
        lookouts.iter().for_each(tokio::task::JoinHandle::abort);
        cast.end();
    }
}
