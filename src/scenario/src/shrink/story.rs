//! A plan told in lines, in order of time: what a person reads of a small failure first.

use crate::format::spec::{NemesisKind, OpKind, Target};
use crate::machines;
use crate::plan::{ClientPlan, LockStep, MachineStep, Plan, PlannedFault, StandStep, Step, StepKind};
use crate::sites;
use std::fmt::Write as _;
use std::time::Duration;

fn at(time: Duration) -> String {
    format!("{:>8.3} s", time.as_secs_f64())
}

fn step(client: &ClientPlan, Step { member, what, .. }: &Step) -> String {
    let what = match *what {
        StepKind::Kv { op, key, serializable } => {
            let reads = matches!(op, OpKind::Get | OpKind::Range);
            let own = if serializable && reads { ", of its own state" } else { "" };
            match op {
                OpKind::Range => format!("range of all keys{own}"),
                OpKind::Compact => "compact".to_owned(),
                _ => format!("{} k{key:02}{own}", op.name()),
            }
        }
        StepKind::Watch => "watch all keys".to_owned(),
        StepKind::Lease { keepalives } => {
            format!("lease of {:?}, kept alive {keepalives} times", client.spec.ttl)
        }
        StepKind::Hash => "compare hashes".to_owned(),
        StepKind::Lock(LockStep { lock, hold, pause, .. }) => {
            format!("lock {lock}, held for {hold:?}, standing still for {pause:?}")
        }
        StepKind::Stand(StandStep { election, hold, pause, .. }) => {
            format!("stand for election {election}, lead for {hold:?}, standing still for {pause:?}")
        }
        StepKind::Observe { election, hold } => format!("observe election {election} for {hold:?}"),
        StepKind::FreeSpace => "free space where there is an alarm".to_owned(),
        StepKind::Change { kind, pick } => format!("change of members: {} ({pick})", kind.name()),
        StepKind::Permit { user } => format!("user {user} gets its rights, or loses them"),
        StepKind::Try { write } => format!("tries its rights by a {}", if write { "write" } else { "read" }),
        StepKind::V2 { op, key, lives } => {
            let life = if lives { ", for a time" } else { "" };
            format!("v2 {op} of key {key}{life}")
        }
        StepKind::V2Wait { key: Some(key) } => format!("wait for changes of v2 key {key}"),
        StepKind::V2Wait { key: None } => "wait for changes of all v2 keys".to_owned(),
        StepKind::Reboot(step) => format!("machine: {}", machines::tell(&step)),
        StepKind::RebootOrder(step) => {
            format!("operator of the reboot lock: {}", machines::tell_order(&step))
        }
        StepKind::Machine(MachineStep { fault, lasts, .. }) => {
            return format!("client {}, a machine: {fault} for {lasts:?}", client.machine);
        }
        StepKind::Unit { act, number } => format!("{act}, number {number}"),
    };
    format!("client {} at member {member}: {what}", client.machine)
}

fn fault(fault: &PlannedFault) -> String {
    let whom = match fault.target {
        Target::Member(number) => format!("member {number}"),
        Target::Leader => "the leader".to_owned(),
        Target::Follower => "a follower".to_owned(),
        Target::Random => "a member".to_owned(),
        Target::All => "all members".to_owned(),
        Target::Majority => "a majority".to_owned(),
        Target::Minority => "a minority".to_owned(),
        Target::Involved => "the member involved".to_owned(),
    };
    let order: Vec<String> = fault.order.iter().map(ToString::to_string).collect();
    let more = match fault.kind {
        NemesisKind::Partition => format!(" ({})", fault.options.shape.name()),
        NemesisKind::Loss => format!(" ({} ppm)", fault.options.rate_ppm),
        NemesisKind::Latency | NemesisKind::SlowDisk => {
            format!(" ({:?} and up to {:?} more)", fault.options.delay, fault.options.jitter)
        }
        NemesisKind::Bandwidth => format!(" ({} bytes per second)", fault.options.limit),
        NemesisKind::PowerLoss => fault
            .options
            .after_ops
            .map_or(String::new(), |count| format!(" (after {count} operations of the disk)")),
        NemesisKind::ReadError | NemesisKind::MisdirectedWrite => {
            format!(" ({} files)", fault.options.files)
        }
        NemesisKind::StoreRot => {
            format!(" ({} bits, while {})", fault.options.bits, fault.options.when)
        }
        NemesisKind::WalDamage => format!(" ({})", fault.options.place.name()),
        _ => String::new(),
    };
    let lasts = fault.ends.saturating_sub(fault.at);
    let when = fault.during.map_or(String::new(), |during| format!(", from the next {during} on,"));
    format!(
        "{}{more} of {whom}{when} for {lasts:?}; drawn in the order {}",
        fault.kind.name(),
        order.join(" ")
    )
}

/// Clients' steps and faults, a line each.
#[must_use]
pub fn story(plan: &Plan) -> String {
    let mut lines: Vec<(Duration, String)> = Vec::new();
    for client in &plan.clients {
        lines.extend(client.steps.iter().map(|one| (one.at, step(client, one))));
    }
    lines.extend(plan.faults.iter().map(|one| (one.at, fault(one))));
    if let Some(priorities) = &plan.priorities {
        for fall in &priorities.falls {
            lines.push((fall.at, format!("from now on {} is the slowest link", fall.link)));
        }
    }
    lines.sort();
    let mut out = format!(
        "{} seed {}: {} members, elections after {:?}\n",
        plan.scenario.name, plan.seed, plan.scenario.members, plan.knobs.election_timeout
    );
    if let Some(priorities) = &plan.priorities {
        let order: Vec<String> = priorities.order.iter().map(ToString::to_string).collect();
        let step = priorities.step;
        let _ = writeln!(out, "links from the fastest to the slowest, {step:?} apart: {}", order.join(" "));
    }
    for active in &plan.sites {
        let _ = writeln!(out, "told to: {} ({})", sites::told(active), active.site.text());
    }
    for (time, line) in lines {
        let _ = writeln!(out, "{}  {line}", at(time));
    }
    let _ = writeln!(out, "{}  all faults end", at(plan.scenario.time));
    out
}
