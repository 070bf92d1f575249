//! What can be left out of a plan, and made smaller in it.

use super::search::Search;
use crate::format::spec::{NemesisKind, Shape, Target, WorkloadKind};
use crate::plan::Plan;
use seatrial_types::MemberId;
use std::time::Duration;

/// Until then a cluster has a leader.
const BEGIN: Duration = Duration::from_millis(1_500);
/// What a fault lasts at least.
const LASTS_MIN: Duration = Duration::from_millis(50);
/// Of the storm, what is left behind the last step.
const AFTER: Duration = Duration::from_millis(500);

/// Everything, until nothing goes any more.
pub(super) fn all(search: &mut Search<'_>, went_wrong: Option<Duration>) {
    if let Some(at) = went_wrong.filter(|at| *at > BEGIN) {
        let (best, times) = (search.best().clone(), [at + AFTER, at + AFTER * 4]);
        let sooner: Vec<Duration> = times.into_iter().filter(|time| *time < best.scenario.time).collect();
        search.first(sooner.len(), &|at| until(&best, sooner[at]));
    }
    let mut plan = search.best().clone();
    plan.core.clear();
    search.one(&plan);
    let plain = |plan: &Plan| Plan { priorities: None, sites: Vec::new(), forks: Vec::new(), ..plan.clone() };
    let plan = plain(search.best());
    search.one(&plan);
    loop {
        let mut went = clients(search);
        went |= faults(search);
        went |= time(search);
        went |= steps(search);
        went |= members(search);
        went |= priorities(search);
        went |= sites(search);
        if !went || search.is_over() {
            break;
        }
    }
    still(search);
    fewer(search);
    durations(search);
    earlier(search);
    time(search);
    round(search);
}

fn clients(search: &mut Search<'_>) -> bool {
    search.thin(
        |plan| plan.clients.len(),
        |plan, is_out| {
            let mut plan = plan.clone();
            let mut at = 0..;
            plan.clients.retain(|_| !is_out(at.next().expect("no end")));
            plan
        },
    )
}

fn faults(search: &mut Search<'_>) -> bool {
    search.thin(
        |plan| plan.faults.len(),
        |plan, is_out| {
            let mut plan = plan.clone();
            let mut at = 0..;
            plan.faults.retain(|_| !is_out(at.next().expect("no end")));
            plan
        },
    )
}

/// All links are equal, or fewer fall.
fn priorities(search: &mut Search<'_>) -> bool {
    let plan = Plan { priorities: None, ..search.best().clone() };
    let falls = |plan: &Plan| plan.priorities.as_ref().map_or(0, |priorities| priorities.falls.len());
    search.one(&plan)
        || search.thin(falls, |plan, is_out| {
            let mut plan = plan.clone();
            let mut at = 0..;
            let all = plan.priorities.iter_mut();
            all.for_each(|all| all.falls.retain(|_| !is_out(at.next().expect("no end"))));
            plan
        })
}

fn sites(search: &mut Search<'_>) -> bool {
    search.thin(
        |plan| plan.sites.len(),
        |plan, is_out| {
            let mut plan = plan.clone();
            let mut at = 0..;
            plan.sites.retain(|_| !is_out(at.next().expect("no end")));
            plan
        },
    )
}

/// Steps of all clients, in order of time: those of one moment go together.
fn steps(search: &mut Search<'_>) -> bool {
    let count = |plan: &Plan| plan.clients.iter().map(|client| client.steps.len()).sum();
    search.thin(count, |plan, is_out| {
        let mut order: Vec<(Duration, usize, usize)> = Vec::new();
        for (client, one) in plan.clients.iter().enumerate() {
            order.extend(one.steps.iter().enumerate().map(|(step, one)| (one.at, client, step)));
        }
        order.sort_unstable();
        let mut out: Vec<Vec<bool>> =
            plan.clients.iter().map(|client| vec![false; client.steps.len()]).collect();
        for (at, (_, client, step)) in order.into_iter().enumerate() {
            out[client][step] = is_out(at);
        }
        let mut plan = plan.clone();
        for (client, out) in plan.clients.iter_mut().zip(out) {
            let mut out = out.into_iter();
            client.steps.retain(|_| !out.next().expect("one for each step"));
        }
        plan.clients.retain(|client| !client.steps.is_empty());
        plan
    })
}

/// When the last thing begins.
fn last(plan: &Plan) -> Duration {
    let steps = plan.clients.iter().filter_map(|client| client.steps.last()).map(|step| step.at);
    steps.chain(plan.faults.iter().map(|fault| fault.at)).max().unwrap_or(BEGIN)
}

/// The plan up to a moment.
fn until(plan: &Plan, time: Duration) -> Plan {
    let mut plan = plan.clone();
    plan.scenario.time = time;
    for client in &mut plan.clients {
        client.steps.retain(|step| step.at < time);
    }
    plan.clients.retain(|client| !client.steps.is_empty());
    plan.faults.retain(|fault| fault.at < time);
    let priorities = plan.priorities.iter_mut();
    priorities.for_each(|priorities| priorities.falls.retain(|fall| fall.at < time));
    for fault in &mut plan.faults {
        fault.ends = fault.ends.min(time);
    }
    plan
}

/// The storm ends sooner.
fn time(search: &mut Search<'_>) -> bool {
    let mut went = false;
    loop {
        let (now, end) = (search.best().scenario.time, last(search.best()) + AFTER);
        let times = [end, end + Duration::from_secs(2), now / 2, now * 3 / 4, now * 9 / 10];
        let times: Vec<Duration> = times.into_iter().filter(|time| *time < now && *time > BEGIN).collect();
        let best = search.best().clone();
        if times.is_empty() || !search.first(times.len(), &|at| until(&best, times[at])) {
            return went;
        }
        went = true;
    }
}

/// Three members do, where five are not needed. Whom a step or fault means is counted round.
fn members(search: &mut Search<'_>) -> bool {
    const FEWER: u64 = 3;
    let plan = search.best();
    let changes = plan.clients.iter().any(|client| client.spec.kind == WorkloadKind::Membership);
    if plan.scenario.members <= FEWER || changes || plan.scenario.machines() > plan.scenario.members {
        return false;
    }
    let mut plan = plan.clone();
    let round = |member: MemberId| MemberId((member.0 - 1) % FEWER + 1);
    plan.scenario.members = FEWER;
    plan.priorities.iter_mut().for_each(|priorities| priorities.among(|member| member.0 <= FEWER));
    plan.core.retain(|member| member.0 <= FEWER);
    if plan.core.len() as u64 <= FEWER / 2 {
        // Less than a majority can serve nobody.
        plan.core.clear();
    }
    for step in plan.clients.iter_mut().flat_map(|client| &mut client.steps) {
        step.member = round(step.member);
    }
    for fault in &mut plan.faults {
        let kept = |at: usize| fault.order[at].0 <= FEWER;
        let places: Vec<usize> = (0..fault.order.len()).filter(|at| kept(*at)).collect();
        let pick = |all: &[i64]| places.iter().filter_map(|at| all.get(*at).copied()).collect();
        fault.drift_ppm = pick(&fault.drift_ppm);
        fault.wall_step_ms = pick(&fault.wall_step_ms);
        fault.order = places.iter().map(|at| fault.order[*at]).collect();
    }
    search.one(&plan)
}

/// Delays of network and disks: all of them exactly what they are on average, so that hardly anything is left to the
/// seed of the world.
fn still(search: &mut Search<'_>) {
    let mut plan = search.best().clone();
    plan.knobs.still = true;
    for fault in &mut plan.faults {
        fault.options.jitter = Duration::ZERO;
    }
    search.one(&plan);
}

/// Each fault strikes fewer, and those by their number.
fn fewer(search: &mut Search<'_>) {
    for at in 0..search.best().faults.len() {
        let best = search.best().clone();
        let fault = &best.faults[at];
        let (many, is_told) = match fault.target {
            Target::Majority | Target::Minority => (true, false),
            // Where all are hit, nobody is to be told apart.
            Target::All => (true, true),
            Target::Member(_) => (false, true),
            Target::Leader | Target::Follower | Target::Random | Target::Involved => (false, false),
        };
        let strikes_many = fault.kind == NemesisKind::Partition && fault.options.shape != Shape::OneWay;
        if strikes_many || fault.kind == NemesisKind::LostMajority || (is_told && !many) {
            continue;
        }
        let mut targets: Vec<Target> = fault.order.iter().map(|member| Target::Member(member.0)).collect();
        if fault.target == Target::All {
            targets.push(Target::Majority);
        }
        let with = |at_target: usize| {
            let mut plan = best.clone();
            plan.faults[at].target = targets[at_target];
            plan
        };
        search.first(targets.len(), &with);
        if search.is_over() {
            return;
        }
    }
}

/// Each fault ends sooner.
fn durations(search: &mut Search<'_>) {
    for at in 0..search.best().faults.len() {
        loop {
            let mut plan = search.best().clone();
            let fault = &mut plan.faults[at];
            let lasts = fault.ends.saturating_sub(fault.at);
            fault.ends = fault.at + (lasts / 2).max(LASTS_MIN);
            if lasts / 2 < LASTS_MIN || !search.one(&plan) {
                break;
            }
        }
    }
}

/// Moves all that happens from a moment on towards the beginning.
fn shifted(plan: &Plan, from: Duration, by: Duration) -> Plan {
    let mut plan = plan.clone();
    let moved = |at: Duration| if at >= from { at.saturating_sub(by) } else { at };
    for step in plan.clients.iter_mut().flat_map(|client| &mut client.steps) {
        step.at = moved(step.at);
    }
    for fault in &mut plan.faults {
        (fault.at, fault.ends) = (moved(fault.at), moved(fault.ends).max(moved(fault.at) + LASTS_MIN));
    }
    plan.scenario.time = moved(plan.scenario.time);
    plan
}

/// Nobody waits for longer than is needed.
fn earlier(search: &mut Search<'_>) {
    let mut at = 0;
    loop {
        let plan = search.best();
        let mut moments: Vec<Duration> = vec![BEGIN];
        moments.extend(plan.clients.iter().flat_map(|client| &client.steps).map(|step| step.at));
        moments.extend(plan.faults.iter().flat_map(|fault| [fault.at, fault.ends]));
        moments.sort_unstable();
        moments.retain(|moment| *moment >= BEGIN);
        let Some(pair) = moments.get(at..at + 2) else { return };
        let gap = pair[1] - pair[0];
        let shorter = [gap.saturating_sub(Duration::from_millis(10)), gap / 2];
        let (from, best) = (pair[1], plan.clone());
        if gap > Duration::from_millis(400) && search.first(2, &|at| shifted(&best, from, shorter[at])) {
            continue;
        }
        if search.is_over() {
            return;
        }
        at += 1;
    }
}

/// Times that a person can read.
fn round(search: &mut Search<'_>) {
    for unit in [100, 10, 1] {
        let mut plan = search.best().clone();
        let near = |at: Duration| {
            let millis = u64::try_from(at.as_millis()).expect("a time of a scenario");
            Duration::from_millis((millis + unit / 2) / unit * unit)
        };
        for client in &mut plan.clients {
            for step in &mut client.steps {
                step.at = near(step.at);
            }
        }
        for fault in &mut plan.faults {
            (fault.at, fault.ends) = (near(fault.at), near(fault.ends).max(near(fault.at) + LASTS_MIN));
        }
        plan.scenario.time = near(plan.scenario.time);
        if search.one(&plan) {
            return;
        }
    }
}
