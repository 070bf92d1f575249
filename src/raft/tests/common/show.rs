//! How messages, entries and states are printed in traces.

use super::{Node, Turn};
use seatrial_raft::{
    Body, Config, ConfigChange, ConfigStep, Entry, Message, Payload, ProgressState, Role, Timer, TimerRequest,
};
use seatrial_types::MemberId;
use std::fmt::Write;

pub fn message(message: &Message) -> String {
    let Message { from, to, term, body } = message;
    format!("{from}->{to} {}", body_of(body, term.0))
}

fn body_of(body: &Body, term: u64) -> String {
    match body {
        Body::PreVote { last_index, last_term } => {
            format!("PreVote term={term} last={last_index}/{last_term}")
        }
        Body::PreVoteAnswer { granted } => format!("PreVoteAnswer term={term} {}", yes_no(*granted)),
        Body::Vote { last_index, last_term, transfer } => {
            let transfer = if *transfer { " transfer" } else { "" };
            format!("Vote term={term} last={last_index}/{last_term}{transfer}")
        }
        Body::VoteAnswer { granted } => format!("VoteAnswer term={term} {}", yes_no(*granted)),
        Body::Append { prev_index, prev_term, entries: sent, commit } => {
            format!("Append term={term} prev={prev_index}/{prev_term} commit={commit} {}", entries(sent))
        }
        Body::AppendAccepted { matched } => format!("AppendAccepted term={term} matched={matched}"),
        Body::AppendRejected { rejected, hint_index, hint_term } => {
            format!("AppendRejected term={term} rejected={rejected} hint={hint_index}/{hint_term}")
        }
        Body::Heartbeat { commit, round } => format!("Heartbeat term={term} commit={commit} round={round}"),
        Body::HeartbeatAnswer { round } => format!("HeartbeatAnswer term={term} round={round}"),
        Body::Snapshot { meta, offset, data, done } => {
            let done = if *done { " done" } else { "" };
            let (index, meta_term, config) = (meta.index, meta.term, self::config(&meta.config));
            let bytes = data.len();
            format!(
                "Snapshot term={term} at={index}/{meta_term} {config} offset={offset} bytes={bytes}{done}"
            )
        }
        Body::SnapshotAnswer { index, offset: _, installed: true } => {
            format!("SnapshotAnswer term={term} at={index} installed")
        }
        Body::SnapshotAnswer { index, offset, installed: false } => {
            format!("SnapshotAnswer term={term} at={index} wants={offset}")
        }
        Body::TimeoutNow => format!("TimeoutNow term={term}"),
        Body::Propose { data } => {
            let data: Vec<_> = data.iter().map(|data| String::from_utf8_lossy(data).into_owned()).collect();
            format!("Propose term={term} [{}]", data.join(" "))
        }
        Body::ProposeConfig { change } => format!("ProposeConfig term={term} [{}]", self::change(change)),
        Body::ReadIndex { id } => format!("ReadIndex term={term} id={}", id.0),
        Body::ReadIndexAnswer { id, index } => {
            format!("ReadIndexAnswer term={term} id={} index={index}", id.0)
        }
    }
}

fn yes_no(granted: bool) -> &'static str {
    if granted { "granted" } else { "refused" }
}

pub fn entries(entries: &[Entry]) -> String {
    let entries: Vec<String> = entries.iter().map(entry).collect();
    format!("[{}]", entries.join(" "))
}

pub fn entry(entry: &Entry) -> String {
    let payload = match &entry.payload {
        Payload::Noop => "noop".to_owned(),
        Payload::Data(data) => format!("{:?}", String::from_utf8_lossy(data)),
        Payload::Config(change) => config(&change.config),
    };
    format!("{}/{}:{payload}", entry.index, entry.term)
}

pub fn change(change: &ConfigChange) -> String {
    let steps = change.steps.iter().map(|step| match step {
        ConfigStep::AddVoter(member) => format!("v{member}"),
        ConfigStep::AddLearner(member) => format!("l{member}"),
        ConfigStep::Remove(member) => format!("r{member}"),
    });
    steps.collect::<Vec<_>>().join(" ")
}

pub fn config(config: &Config) -> String {
    let list = |members: &std::collections::BTreeSet<MemberId>| {
        members.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let mut text = format!("voters=({})", list(&config.voters));
    if config.is_joint() {
        let _ = write!(text, "&&({})", list(&config.outgoing));
    }
    if !config.learners.is_empty() {
        let _ = write!(text, " learners=({})", list(&config.learners));
    }
    if !config.learners_next.is_empty() {
        let _ = write!(text, " learners_next=({})", list(&config.learners_next));
    }
    if config.auto_leave {
        text.push_str(" autoleave");
    }
    text
}

pub fn role(role: Role) -> &'static str {
    match role {
        Role::Follower => "follower",
        Role::PreCandidate => "pre-candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
    }
}

pub fn timer(request: &TimerRequest) -> String {
    match request {
        TimerRequest::Set { timer, min, max } if min == max => format!("{timer:?} {}ms", min.as_millis()),
        TimerRequest::Set { timer, min, max } => {
            format!("{timer:?} {}..{}ms", min.as_millis(), max.as_millis())
        }
        TimerRequest::Cancel(timer) => format!("{timer:?} cancelled"),
    }
}

/// What happened in a turn beside the messages, a line each.
pub fn turn(id: MemberId, turn: &Turn) -> Vec<String> {
    let mut lines = Vec::new();
    for soft in &turn.soft {
        let leader = soft.leader;
        lines.push(format!("{id} became {} term={} leader={leader}", role(soft.role), soft.term));
    }
    // The silence timer is set again at every word of the leader: noise in a trace.
    let noise = |request: &&TimerRequest| {
        !matches!(
            request,
            TimerRequest::Set { timer: Timer::LeaderSilent | Timer::Heartbeat, .. } | TimerRequest::Cancel(_)
        )
    };
    for request in turn.timers.iter().filter(noise) {
        lines.push(format!("{id} timer {}", timer(request)));
    }
    if let Some(meta) = &turn.installed {
        lines.push(format!("{id} installed snapshot {}/{} {}", meta.index, meta.term, config(&meta.config)));
    }
    if !turn.committed.is_empty() {
        lines.push(format!("{id} applied {}", entries(&turn.committed)));
    }
    for read in &turn.reads {
        lines.push(format!("{id} read id={} index={}", read.id.0, read.index));
    }
    for read in &turn.reads_dropped {
        lines.push(format!("{id} read id={} dropped", read.0));
    }
    lines
}

pub fn state(node: &Node) -> String {
    let raft = &node.raft;
    let mut text = format!(
        "{} {} term={} vote={} leader={} log={}..{} durable={} commit={} applied={} {}",
        raft.id(),
        role(raft.role()),
        raft.term(),
        raft.vote(),
        raft.leader(),
        raft.first_index(),
        raft.last_index(),
        raft.durable_index(),
        raft.commit(),
        raft.applied_index(),
        config(raft.config()),
    );
    if raft.is_config_pending() {
        text.push_str(" pending");
    }
    if raft.is_repairing() {
        text.push_str(" repairing");
    }
    if let Some(to) = raft.transferring_to() {
        let _ = write!(text, " transfer-to={to}");
    }
    for (member, progress) in raft.progress() {
        let state = match progress.state {
            ProgressState::Probe { paused: true } => "probe paused".to_owned(),
            ProgressState::Probe { paused: false } => "probe".to_owned(),
            ProgressState::Replicate => format!("replicate inflight={}", progress.inflight.len()),
            ProgressState::Snapshot { index, offset, .. } => {
                format!("snapshot at={} offset={offset}", index.unwrap_or_default())
            }
        };
        let _ = write!(text, "\n  {member}: matched={} next={} {state}", progress.matched, progress.next);
    }
    text
}
