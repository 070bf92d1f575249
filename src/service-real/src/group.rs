//! Which processes belong to a unit.

use crate::proc::{self, Process};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// What is known of the processes of one run of a unit; written down, so that another driver finds them.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Run {
    /// `INVOCATION_ID` of all its processes.
    pub(crate) invocation: String,
    /// The processes we started, each the leader of a session, with the time of its start.
    pub(crate) started: BTreeMap<u32, u64>,
    /// Processes that belonged to it when we looked last, likewise.
    pub(crate) members: BTreeMap<u32, u64>,
    /// Its control group, where there is one.
    pub(crate) control_group: Option<PathBuf>,
}

/// All processes of the machine at one moment.
pub(crate) struct Snapshot {
    all: BTreeMap<u32, Process>,
    invocations: BTreeMap<String, BTreeSet<u32>>,
}

impl Snapshot {
    pub(crate) fn take() -> Self {
        let all = proc::all();
        let mut invocations: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        for pid in all.keys() {
            if let Some(id) = proc::invocation(*pid) {
                invocations.entry(id).or_default().insert(*pid);
            }
        }
        Self { all, invocations }
    }

    pub(crate) fn get(&self, pid: u32) -> Option<&Process> {
        self.all.get(&pid)
    }

    /// The living processes of a run; and those that have ended and wait to be reaped by us.
    pub(crate) fn members(&self, run: &Run) -> (BTreeMap<u32, u64>, Vec<u32>) {
        let me = std::process::id();
        let same = |(pid, started): (&u32, &u64)| {
            let found = self.all.get(pid).filter(|process| process.started == *started);
            found.map(|_| *pid)
        };
        let mut found: BTreeSet<u32> = run.started.iter().chain(&run.members).filter_map(same).collect();
        found.extend(self.invocations.get(&run.invocation).into_iter().flatten());
        if let Some(folder) = &run.control_group {
            found.extend(proc::of_control_group(folder));
        }
        // A session's number stays taken while anybody is in it, so nobody else's can have it.
        let sessions: BTreeSet<u32> = run.started.keys().copied().collect();
        let in_session = self.all.iter().filter(|(_, process)| sessions.contains(&process.session));
        found.extend(in_session.map(|(pid, _)| *pid));
        loop {
            let children = self.all.iter().filter(|(pid, process)| {
                found.contains(&process.parent) && process.parent != me && !found.contains(*pid)
            });
            let children: Vec<u32> = children.map(|(pid, _)| *pid).collect();
            if children.is_empty() {
                break;
            }
            found.extend(children);
        }
        found.remove(&me);
        let ours =
            |pid: &u32| self.all.get(pid).filter(|process| process.zombie && process.parent == me).is_some();
        let ended = found.iter().copied().filter(ours).collect();
        let living = found.into_iter().filter_map(|pid| {
            let process = self.all.get(&pid).filter(|process| !process.zombie)?;
            Some((pid, process.started))
        });
        (living.collect(), ended)
    }
}
