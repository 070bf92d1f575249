//! What one run leaves behind, as plain data: the scenario runner fills it, the renderers read it.
//!
//! All times are nanoseconds of the run's own clock, from its start. Everything that names a member uses
//! the name given in [`RunRecord::members`]; a name not listed there is shown as a lane of its own.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a run ended. The exit code of a command follows from the worst of its runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunVerdict {
    /// Every oracle was content and every goal was reached.
    #[default]
    Pass,
    /// Nothing was violated, yet something could not be judged: a goal never reached, a checker out of
    /// budget. Never counts as a pass.
    Inconclusive,
    /// A property was violated.
    Violation,
    /// The testbed itself failed; says nothing about the cluster.
    HarnessError,
}

impl RunVerdict {
    /// As it stands in files and tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Violation => "violation",
            Self::HarnessError => "harness-error",
        }
    }

    /// The same without words, so that a verdict can be told without its colour.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Pass => "✓",
            Self::Inconclusive => "?",
            Self::Violation => "✗",
            Self::HarnessError => "!",
        }
    }
}

/// Everything the report of one run shows. Start from `RunRecord { .., ..RunRecord::default() }` and push.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunRecord {
    /// Version of this format, [`RunRecord::FORMAT`]. 0 is read as 1.
    pub format: u32,
    /// Which scenario, and what it is for.
    pub scenario: ScenarioInfo,
    /// The seed of the run.
    pub seed: u64,
    /// The commit of the code under test.
    pub commit: String,
    /// Options that change what a run does, such as planted bugs.
    pub options: BTreeMap<String, String>,
    /// `sim`, `real` or `lab`.
    pub world: String,
    /// How it ended.
    pub verdict: RunVerdict,
    /// The oracle that decided, where one did.
    pub oracle: Option<String>,
    /// The verdict in one sentence, with its evidence: who, term, index, which values.
    pub sentence: String,
    /// Where it first went wrong.
    pub first_bad: Option<FirstBad>,
    /// The one command that replays this run.
    pub replay: String,
    /// Rolling hash over everything that happened; equal for equal runs.
    pub trace_hash: String,
    /// How long the run was on its own clock.
    pub duration_ns: u64,
    /// CPU time it took.
    pub cpu_ns: u64,
    /// Storm, heal: the phases of the run, in order.
    pub phases: Vec<Phase>,
    /// The members, in the order of their lanes.
    pub members: Vec<MemberInfo>,
    /// Who was follower, candidate or leader, and when. Gaps are shown as "not known".
    pub roles: Vec<RoleBand>,
    /// When a member was not running.
    pub outages: Vec<Outage>,
    /// What the nemeses did.
    pub faults: Vec<FaultBand>,
    /// Messages between members, possibly only a sample of them.
    pub messages: Vec<Message>,
    /// How many messages there were before sampling; 0 where all are listed.
    pub messages_total: u64,
    /// What the clients did.
    pub operations: Vec<ClientOperation>,
    /// What the clients held open beside their operations: watches, leases, locks.
    pub spans: Vec<ClientSpan>,
    /// How far each member's log had come.
    pub progress: Vec<ProgressSeries>,
    /// What the members said.
    pub logs: Vec<LogLine>,
    /// What every oracle found.
    pub oracles: Vec<OracleResult>,
    /// What the scenario wanted to happen.
    pub goals: Vec<Goal>,
    /// Counters worth a line: elections, messages dropped, operations acknowledged.
    pub counts: BTreeMap<String, u64>,
    /// Sentences for the reader, such as how the schedule was shrunk.
    pub notes: Vec<String>,
}

impl RunRecord {
    /// The version this code writes.
    pub const FORMAT: u32 = 1;

    /// The end of the time axis: the duration, or the last thing that is recorded where that is later.
    #[must_use]
    pub fn end_ns(&self) -> u64 {
        let mut end = self.duration_ns.max(1);
        let mut see = |time: Option<u64>| end = end.max(time.unwrap_or(0));
        self.phases.iter().for_each(|phase| see(Some(phase.to)));
        self.roles.iter().for_each(|band| see(band.to.or(Some(band.from))));
        self.outages.iter().for_each(|outage| see(outage.to.or(Some(outage.from))));
        self.faults.iter().for_each(|fault| see(fault.to.or(Some(fault.from))));
        self.messages.iter().for_each(|message| see(message.delivered.or(Some(message.sent))));
        self.operations.iter().for_each(|operation| see(operation.ret.or(Some(operation.call))));
        self.spans.iter().for_each(|span| see(Some(span.to)));
        self.logs.iter().for_each(|line| see(Some(line.at)));
        self.first_bad.iter().for_each(|bad| see(Some(bad.at)));
        for series in &self.progress {
            see(series.points.last().map(|point| point.at));
        }
        end
    }

    /// Simulated seconds per CPU second, where both are known.
    #[must_use]
    pub fn speed(&self) -> Option<f64> {
        (self.cpu_ns > 0 && self.duration_ns > 0).then(|| self.duration_ns as f64 / self.cpu_ns as f64)
    }
}

/// The scenario a run belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScenarioInfo {
    /// Short name: the file's, without folder and ending.
    pub name: String,
    /// The file, as the user named it.
    pub path: String,
    /// Its title.
    pub title: String,
    /// Why the scenario exists, in its author's words.
    pub why: String,
}

/// The first event at which something was wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FirstBad {
    /// When.
    pub at: u64,
    /// What, in a sentence.
    pub text: String,
    /// The member it happened at, where there is one.
    pub member: Option<String>,
    /// Places in [`RunRecord::operations`] of the operations that are the evidence.
    pub operations: Vec<usize>,
}

/// A phase of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// `storm`, `heal`, …
    pub name: String,
    /// Start.
    pub from: u64,
    /// End.
    pub to: u64,
}

/// A member of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberInfo {
    /// The name used everywhere else in the record.
    pub name: String,
    /// What else to show beside it: its id in hexadecimal, its address.
    pub detail: String,
}

/// A Raft role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "Raft's names")]
pub enum Role {
    #[default]
    Follower,
    PreCandidate,
    Candidate,
    Leader,
    Learner,
}

impl Role {
    /// As it is shown.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Follower => "follower",
            Self::PreCandidate => "pre-candidate",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
            Self::Learner => "learner",
        }
    }
}

/// A stretch of time in which a member had one role in one term.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleBand {
    /// Whose.
    pub member: String,
    /// Which role.
    pub role: Role,
    /// In which term.
    pub term: u64,
    /// Start.
    pub from: u64,
    /// End; `None` is "to the end of the run".
    pub to: Option<u64>,
}

/// A stretch of time in which a member did not run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// Who.
    pub member: String,
    /// Why.
    pub kind: OutageKind,
    /// When it stopped.
    pub from: u64,
    /// When it ran again; `None` is "never".
    pub to: Option<u64>,
    /// What was lost, such as "3 unsynced writes torn".
    pub text: String,
}

/// Why a member did not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutageKind {
    /// The process was killed; its disk kept what was written.
    #[default]
    Crash,
    /// Power was lost; what was not synced may be gone.
    PowerLoss,
    /// It was stopped in an orderly way.
    Stop,
    /// It was frozen, and went on later as if nothing had been.
    Pause,
    /// It ended itself: an assertion failed or its disk did.
    Panic,
}

impl OutageKind {
    /// As it is shown.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::PowerLoss => "power loss",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Panic => "panic",
        }
    }
}

/// A fault of a nemesis, as a stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FaultBand {
    /// `partition`, `loss`, `slow-disk`, `clock-skew`, …; faults of one kind share a lane.
    pub kind: String,
    /// The members it strikes; empty for all.
    pub targets: Vec<String>,
    /// Start.
    pub from: u64,
    /// End; `None` is "to the end of the run".
    pub to: Option<u64>,
    /// What exactly, such as "m1 | m2 m3" or "10 % of packets".
    pub text: String,
}

/// A message between two members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Sender.
    pub from: String,
    /// Receiver.
    pub to: String,
    /// `append`, `vote`, `heartbeat`, `snapshot`, …
    pub kind: String,
    /// When it left.
    pub sent: u64,
    /// When it arrived; `None` is "dropped".
    pub delivered: Option<u64>,
    /// What it carried, in short.
    pub text: String,
}

/// How a client's operation ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Answered.
    Ok,
    /// Refused: it certainly did not happen.
    Failed,
    /// It may or may not have happened.
    #[default]
    Unknown,
}

impl Ending {
    /// As it is shown.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// What a client asked and heard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientOperation {
    /// Which client.
    pub client: u32,
    /// The member that answered, where known.
    pub member: Option<String>,
    /// `get`, `put`, `delete`, `txn`, …; where it is empty, the first word of `text` stands for it.
    pub kind: String,
    /// The keys it concerns, for filtering; a range stands as `[from, to)`.
    pub keys: Vec<String>,
    /// What it asked, such as `put "a" = "7"`.
    pub text: String,
    /// When it asked.
    pub call: u64,
    /// When it heard; `None` is "never".
    pub ret: Option<u64>,
    /// How it ended.
    pub ending: Ending,
    /// What it heard, such as `revision 12` or the error.
    pub answer: String,
}

impl ClientOperation {
    /// Its kind, also where a record of an earlier version does not say it.
    #[must_use]
    pub fn kind(&self) -> &str {
        if self.kind.is_empty() { self.text.split_whitespace().next().unwrap_or("") } else { &self.kind }
    }

    /// Whether it only looked.
    #[must_use]
    pub fn reads(&self) -> bool {
        ["get", "read", "range", "list", "serializable"].iter().any(|word| self.kind().starts_with(word))
    }
}

/// Something a client held open for a while: a watch, a lease, a lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientSpan {
    /// Which client.
    pub client: u32,
    /// `watch`, `lease`, `lock`, …
    pub kind: String,
    /// The member that served it, where it was one.
    pub member: Option<String>,
    /// Start.
    pub from: u64,
    /// End, as far as the client knows.
    pub to: u64,
    /// What exactly.
    pub text: String,
}

/// How far a member's log had come, over time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressSeries {
    /// Whose.
    pub member: String,
    /// In order of time.
    pub points: Vec<ProgressPoint>,
}

/// One point of a [`ProgressSeries`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressPoint {
    /// When.
    pub at: u64,
    /// Last index in the log.
    pub last: u64,
    /// Commit index.
    pub commit: u64,
    /// Applied index.
    pub applied: u64,
}

/// One line a member said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When.
    pub at: u64,
    /// Who.
    pub member: String,
    /// `error`, `warn`, `info`, `debug`.
    pub level: String,
    /// What.
    pub text: String,
}

/// What one oracle found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OracleResult {
    /// Its name, as scenarios write it.
    pub name: String,
    /// Its verdict.
    pub verdict: RunVerdict,
    /// What it says: the violation, or why it cannot tell; may be empty for a pass.
    pub sentence: String,
}

/// Something the scenario wanted to happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Goal {
    /// What.
    pub name: String,
    /// Whether it did.
    pub reached: bool,
    /// When first.
    pub at: Option<u64>,
    /// Details, such as "3 of 5 elections".
    pub text: String,
}
