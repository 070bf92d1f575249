//! A plan as a scenario file: the script that plays it again, for a person to read and keep.

use super::script::{told, usual_fault};
use super::spec::{
    Expect, KnobChoices, NemesisKind, RebootSpec, Scenario, Shape, Target, VerdictKind, WorkloadKind,
    WorkloadSpec,
};
use super::{options, parse, rare};
use crate::oracles;
use crate::plan::{Knobs, Plan, PlannedFault};
use std::fmt::Write as _;
use std::time::Duration;

/// The file. Drawn with its own seed it gives this plan again, but for the texts of its scenario. `comment` stands above
/// all, a line each.
#[must_use]
pub fn print(plan: &Plan, comment: &str) -> String {
    let scenario = &plan.scenario;
    let mut out = String::new();
    for line in comment.lines() {
        let plain: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let _ = writeln!(out, "{}", format!("# {plain}").trim_end());
    }
    let _ = writeln!(out, "title = {}\nwhy = {}", text(&scenario.title), text(&scenario.why));
    let _ = writeln!(out, "members = {}\ntime = {}", scenario.members, time(scenario.time));
    let _ = writeln!(out, "\n[script]\nseed = {}", plan.seed);
    if !plan.core.is_empty() {
        let core: Vec<String> = plan.core.iter().map(ToString::to_string).collect();
        let _ = writeln!(out, "core = [{}]", core.join(", "));
    }
    rare::print(&mut out, plan);
    if scenario.damage.beyond_quorum {
        out.push_str("\n[damage]\nbeyond_quorum = true\n");
    }
    out.push_str("\n[knobs]\n");
    knobs(&mut out, &plan.knobs);
    // Clients of one workload differ in nothing but the mix that their swarm left, which says nothing where all steps
    // are told.
    let mut specs: Vec<WorkloadSpec> = scenario.workloads.clone();
    let same = |one: &WorkloadSpec, two: &WorkloadSpec| {
        WorkloadSpec { mix: Vec::new(), ..one.clone() } == WorkloadSpec { mix: Vec::new(), ..two.clone() }
    };
    let mut places = Vec::new();
    for client in &plan.clients {
        let place = specs.iter().position(|spec| same(spec, &client.spec)).unwrap_or_else(|| {
            specs.push(client.spec.clone());
            specs.len() - 1
        });
        specs[place].mix.clone_from(&client.spec.mix);
        places.push(place + 1);
    }
    for spec in &specs {
        workload(&mut out, spec);
    }
    for (client, place) in plan.clients.iter().zip(places) {
        let _ = writeln!(out, "\n[[client]]\nworkload = {place}\nmachine = {}", client.machine);
        if client.number > 0 {
            let _ = writeln!(out, "number = {}", client.number);
        }
        // A client whose every step was left out is still a machine.
        if !client.steps.is_empty() {
            out.push_str("steps = [\n");
            for step in &client.steps {
                let _ = writeln!(out, "  \"{:?} m{} {}\",", step.at, step.member, told(&step.what));
            }
            out.push_str("]\n");
        }
    }
    for one in &plan.faults {
        fault(&mut out, one, scenario);
    }
    expect(&mut out, &scenario.expect);
    for goal in &scenario.goals {
        let _ = writeln!(out, "\n[[goal]]\nname = \"{goal}\"");
    }
    out
}

/// As TOML quotes it.
fn text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn time(time: Duration) -> String {
    format!("\"{time:?}\"")
}

fn share(ppm: u32) -> String {
    format!("\"{ppm}ppm\"")
}

fn line(out: &mut String, key: &str, value: impl std::fmt::Display, is_usual: bool) {
    if !is_usual {
        let _ = writeln!(out, "{key} = {value}");
    }
}

fn knobs(out: &mut String, knobs: &Knobs) {
    let usual = KnobChoices::default();
    for (key, value, usual) in [
        ("election_timeout", knobs.election_timeout, &usual.election_timeout),
        ("heartbeat", knobs.heartbeat, &usual.heartbeat),
        ("net_latency", knobs.net_latency, &usual.net_latency),
        ("sync_latency", knobs.sync_latency, &usual.sync_latency),
        ("watch_progress", knobs.watch_progress, &usual.watch_progress),
        ("lease_checkpoint", knobs.lease_checkpoint, &usual.lease_checkpoint),
        ("corrupt_check", knobs.corrupt_check, &usual.corrupt_check),
        ("request_timeout", knobs.request_timeout, &usual.request_timeout),
    ] {
        line(out, key, time(value), usual == &[value]);
    }
    for (key, value, usual) in [
        ("segment", knobs.segment_bytes, &usual.segment_bytes),
        ("append", knobs.append_bytes, &usual.append_bytes),
        ("chunk", knobs.chunk_bytes, &usual.chunk_bytes),
        ("quota", knobs.quota_bytes, &usual.quota_bytes),
        ("uncommitted", knobs.uncommitted_bytes, &usual.uncommitted_bytes),
    ] {
        line(out, key, format!("\"{value}B\""), usual == &[value]);
    }
    for (key, value, usual) in [
        ("snapshot_entries", knobs.snapshot_entries, &usual.snapshot_entries),
        ("keep_entries", knobs.keep_entries, &usual.keep_entries),
        ("inflight", knobs.inflight, &usual.inflight),
        ("watch_window", knobs.watch_window, &usual.watch_window),
    ] {
        line(out, key, value, usual == &[value]);
    }
    line(out, "joint", knobs.joint, usual.joint == [knobs.joint]);
    line(out, "still", knobs.still, usual.still == [knobs.still]);
    line(out, "initial_check", knobs.initial_check, usual.initial_check == [knobs.initial_check]);
}

/// A workload of which nothing is said but its name.
fn usual_workload(kind: WorkloadKind) -> WorkloadSpec {
    let clients = if kind == WorkloadKind::Users { "clients = 2\n" } else { "" };
    let text = format!(
        "title = \"t\"\nwhy = \"w\"\nmembers = 1\ntime = \"1s\"\n[[workload]]\nname = \"{kind}\"\n{clients}"
    );
    let scenario = parse("usual.toml", &text).expect("a workload may be a name alone");
    scenario.workloads.into_iter().next().expect("one was written")
}

fn workload(out: &mut String, spec: &WorkloadSpec) {
    let usual = usual_workload(spec.kind);
    let _ = writeln!(out, "\n[[workload]]\nname = \"{}\"", spec.kind);
    let is_single = matches!(spec.kind, WorkloadKind::Membership | WorkloadKind::Space | WorkloadKind::Units);
    line(
        out,
        "clients",
        spec.clients,
        is_single || spec.kind != WorkloadKind::Users && spec.clients == usual.clients,
    );
    line(out, "think", time(spec.think), spec.think == usual.think);
    line(out, "keys", spec.keys, spec.keys == usual.keys);
    line(out, "value", format!("\"{}B\"", spec.value_bytes), spec.value_bytes == usual.value_bytes);
    let mix: Vec<String> = spec.mix.iter().map(|(op, weight)| format!("{op} = {weight}")).collect();
    line(
        out,
        "mix",
        format!("{{ {} }}", mix.join(", ")),
        spec.kind != WorkloadKind::Kv || spec.mix == usual.mix,
    );
    line(out, "serializable", share(spec.serializable_ppm), spec.serializable_ppm == usual.serializable_ppm);
    line(out, "ttl", time(spec.ttl), spec.ttl == usual.ttl);
    line(out, "keepalives", spec.keepalives, spec.keepalives == usual.keepalives);
    line(out, "reopen", time(spec.reopen), spec.reopen == usual.reopen);
    line(out, "timeout", time(spec.timeout), spec.timeout == usual.timeout);
    line(out, "compact_behind", spec.compact_behind, spec.compact_behind == usual.compact_behind);
    line(out, "read_every", time(spec.watch.read_every), spec.watch.read_every == usual.watch.read_every);
    line(out, "progress", spec.watch.progress, spec.watch.progress == usual.watch.progress);
    line(out, "prev_kv", spec.watch.prev_kv, spec.watch.prev_kv == usual.watch.prev_kv);
    line(out, "without", format!("\"{}\"", spec.watch.without), spec.watch.without == usual.watch.without);
    let count = if spec.kind == WorkloadKind::Elections { "elections" } else { "locks" };
    line(out, count, spec.locks.locks, spec.locks.locks == usual.locks.locks);
    line(out, "hold", time(spec.locks.hold), spec.locks.hold == usual.locks.hold);
    line(out, "pause_one_in", spec.locks.pause_one_in, spec.locks.pause_one_in == usual.locks.pause_one_in);
    line(out, "spares", spec.fleet.spares, spec.fleet.spares == usual.fleet.spares);
    let changes: Vec<String> = spec.fleet.changes.iter().map(|kind| format!("\"{kind}\"")).collect();
    line(out, "changes", format!("[{}]", changes.join(", ")), spec.fleet.changes == usual.fleet.changes);
    line(out, "in_order", spec.fleet.in_order, spec.fleet.in_order == usual.fleet.in_order);
    reboots(out, &spec.reboots, &usual.reboots);
    if spec.kind == WorkloadKind::Units {
        units(out, spec, &usual);
    }
}

fn reboots(out: &mut String, spec: &RebootSpec, usual: &RebootSpec) {
    line(out, "groups", spec.groups, spec.groups == usual.groups);
    line(out, "max", spec.max, spec.max == usual.max);
    line(out, "boot", time(spec.boot), spec.boot == usual.boot);
    line(out, "drain", time(spec.drain), spec.drain == usual.drain);
    line(out, "window", time(spec.window), spec.window == usual.window);
    line(out, "window_one_in", spec.window_one_in, spec.window_one_in == usual.window_one_in);
    line(out, "hosts", spec.hosts, spec.hosts == usual.hosts);
    line(out, "operator", spec.operator, spec.operator == usual.operator);
    line(out, "trouble_one_in", spec.trouble_one_in, spec.trouble_one_in == usual.trouble_one_in);
    line(out, "clocks", spec.clocks, spec.clocks == usual.clocks);
    line(out, "fleetlock_one_in", spec.fleetlock_one_in, spec.fleetlock_one_in == usual.fleetlock_one_in);
}

fn units(out: &mut String, spec: &WorkloadSpec, usual: &WorkloadSpec) {
    let operators = |spec: &WorkloadSpec| spec.clients - spec.units.machines;
    line(out, "operators", operators(spec), operators(spec) == operators(usual));
    let (asked, usual) = (&spec.units, &usual.units);
    line(out, "machines", asked.machines, asked.machines == usual.machines);
    line(out, "units", asked.units, asked.units == usual.units);
    let names = |names: Vec<&str>| {
        let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        format!("[{}]", quoted.join(", "))
    };
    let faults = names(asked.faults.iter().map(|fault| fault.name()).collect());
    line(out, "faults", faults, asked.faults == usual.faults);
    line(out, "faults_every", time(asked.faults_every), asked.faults_every == usual.faults_every);
    line(out, "leavers", asked.leavers, asked.leavers == usual.leavers);
    let acts = names(asked.acts.iter().map(|act| act.name()).collect());
    line(out, "acts", acts, asked.acts == usual.acts);
    line(out, "evictions", asked.evictions, asked.evictions == usual.evictions);
}

fn fault(out: &mut String, fault: &PlannedFault, scenario: &Scenario) {
    let usual = usual_fault(fault.kind, scenario.machines());
    let _ = writeln!(
        out,
        "\n[[fault]]\nname = \"{}\"\nat = {}\nends = {}",
        fault.kind,
        time(fault.at),
        time(fault.ends)
    );
    if let Some(during) = fault.during {
        let _ = writeln!(out, "during = \"{during}\"");
    }
    let target = match fault.target {
        Target::Leader => "leader".to_owned(),
        Target::Follower => "follower".to_owned(),
        Target::Random => "random".to_owned(),
        Target::All => "all".to_owned(),
        Target::Majority => "majority".to_owned(),
        Target::Minority => "minority".to_owned(),
        Target::Involved => "involved".to_owned(),
        Target::Member(number) => format!("member {number}"),
    };
    line(out, "target", format!("\"{target}\""), fault.target == usual.target);
    let order: Vec<String> = fault.order.iter().map(ToString::to_string).collect();
    line(out, "order", format!("[{}]", order.join(", ")), fault.order == usual.order);
    line(out, "coin", fault.coin, !fault.coin);
    options::print(out, &fault.options, fault.kind);
    let list = |numbers: &[i64]| {
        let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        format!("[{}]", numbers.join(", "))
    };
    // Drawn for every fault, but only one kind asks for them.
    let bends = fault.kind == NemesisKind::Clock;
    line(out, "drift_ppm", list(&fault.drift_ppm), !bends || fault.drift_ppm.iter().all(|one| *one == 0));
    line(out, "step_ms", list(&fault.wall_step_ms), !bends || fault.wall_step_ms.iter().all(|one| *one == 0));
    line(out, "place_permille", fault.place_permille, !asks_for_a_place(fault) || fault.place_permille == 0);
}

/// Whether it matters which place was drawn, or which number for something else.
fn asks_for_a_place(fault: &PlannedFault) -> bool {
    match fault.kind {
        NemesisKind::WalDamage | NemesisKind::StoreRot => true,
        NemesisKind::Partition => fault.options.shape == Shape::Swizzle,
        _ => false,
    }
}

fn expect(out: &mut String, expect: &Expect) {
    let Expect { oracles: asked, heals_within, serves_within, verdict, oracle } = expect;
    out.push_str("\n[expect]\n");
    if *asked != oracles::defaults() {
        let names: Vec<String> = asked.iter().map(|name| format!("{name:?}")).collect();
        let _ = writeln!(out, "oracles = [{}]", names.join(", "));
    }
    let _ = writeln!(out, "heals_within = {}", time(*heals_within));
    if let Some(within) = serves_within {
        let _ = writeln!(out, "serves_within = {}", time(*within));
    }
    if *verdict == VerdictKind::Violation {
        out.push_str("verdict = \"violation\"\n");
        if let Some(oracle) = oracle {
            let _ = writeln!(out, "oracle = {oracle:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::load_scenarios;
    use std::path::Path;

    /// The plan, but for what a script does not tell: how its choices came about.
    fn played(mut plan: Plan) -> Plan {
        plan.scenario.knobs = KnobChoices::default();
        plan.scenario.nemeses.clear();
        plan.scenario.swarm = false;
        (plan.scenario.priorities, plan.scenario.buggify) = (true, true);
        plan.scenario.name.clear();
        plan.scenario.script = None;
        for workload in &mut plan.scenario.workloads {
            workload.mix.clear();
        }
        for fault in &mut plan.faults {
            if fault.kind != NemesisKind::Clock {
                fault.drift_ppm.fill(0);
                fault.wall_step_ms.fill(0);
            }
            if !asks_for_a_place(fault) {
                fault.place_permille = 0;
            }
        }
        for client in plan.clients.iter_mut().filter(|client| client.spec.kind != WorkloadKind::Kv) {
            client.spec.mix.clear();
        }
        plan
    }

    #[test]
    fn every_plan_of_every_scenario_is_read_back_as_it_was() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
        let scenarios = load_scenarios(&[folder]).expect("our own scenarios");
        assert!(scenarios.len() > 40);
        let mut had = (0, 0);
        for scenario in scenarios {
            for seed in 1..4 {
                let plan = Plan::draw(&scenario, seed);
                had.0 += u32::from(plan.priorities.is_some());
                had.1 += u32::from(!plan.sites.is_empty());
                let text = print(&plan, "from a test");
                let read =
                    parse("again.toml", &text).unwrap_or_else(|error| panic!("{}: {error}", scenario.name));
                let again = Plan::draw(&read, read.script.as_ref().expect("a script").seed);
                assert_eq!(played(again), played(plan), "{} seed {seed}", scenario.name);
            }
        }
        assert!(had.0 > 0 && had.1 > 0, "some have priorities, and some have sites: {had:?}");
    }
}
