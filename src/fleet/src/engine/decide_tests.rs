//! Placement, as sentences.

use super::*;
use crate::model::testing::*;
use proptest::prelude::*;

fn plan(cluster: &Cluster) -> String {
    decide(cluster, &Limits::default()).to_string()
}

fn placed(cluster: &Cluster) -> Vec<String> {
    decide(cluster, &Limits::default())
        .decisions
        .into_iter()
        .map(|Decision { unit, to, .. }| {
            format!("{} {}", unit.stem(), to.as_ref().map_or("-", MachineId::as_str))
        })
        .collect()
}

fn apply(cluster: &Cluster, outcome: &Outcome) -> Cluster {
    let mut next = cluster.clone();
    for decision in &outcome.decisions {
        next.units.get_mut(&decision.unit).unwrap().target = decision.to.clone();
    }
    next
}

const THREE: [(&str, &str); 3] = [("m1", "region=eu"), ("m2", "region=eu"), ("m3", "region=us")];

#[test]
fn units_go_to_the_machine_with_the_fewest_and_then_the_smallest_id() {
    let mut cluster = cluster(&THREE).with("z.service", "m1", "");
    for name in ["c.service", "a.service", "b.service", "d.service"] {
        cluster = cluster.with(name, "", "");
    }
    assert_eq!(placed(&cluster), ["a m2", "b m3", "c m1", "d m2"]);
}

#[test]
fn global_units_count_as_load_and_have_no_target() {
    let cluster = cluster(&THREE)
        .with("g.service", "m1", "Global=true")
        .with("h.service", "", "Global=true\nMachineMetadata=region=eu")
        .with("u.service", "", "");
    let plan = plan(&cluster);
    assert!(plan.contains("g.service: unschedule from m1 (global units have no target)"), "{plan}");
    assert!(plan.contains("u.service: schedule to m3"), "{plan}");
}

#[test]
fn metadata_and_ids_choose_the_machine() {
    let cluster = cluster(&[("aaaaaaaa11", "region=us"), ("bbbbbbbb22", "region=eu")])
        .with("a.service", "", "MachineMetadata=region=eu")
        .with("b.service", "", "MachineID=aaaaaaaa")
        .with("c.service", "", "MachineID=aaaaaaaa11")
        .with("d.service", "", "MachineID=cccc");
    assert_eq!(placed(&cluster), ["a bbbbbbbb22", "b aaaaaaaa11", "c aaaaaaaa11"]);
    assert!(plan(&cluster).contains("d.service: waits (there is no machine cccc)"));
}

#[test]
fn what_cannot_be_placed_says_why() {
    let cluster = cluster(&THREE)
        .with("a.service", "", "MachineMetadata=region=asia")
        .with("web@1.service", "m1", "Conflicts=web@*")
        .with("web@2.service", "m2", "Conflicts=web@*")
        .with("web@3.service", "m3", "Conflicts=web@*")
        .with("web@4.service", "", "Conflicts=web@*")
        .with("web@5.service", "", "Conflicts=web@*\nMachineMetadata=region=eu")
        .with("f.service", "", "MachineOf=gone.service")
        .with("p.service", "", "MachineOf=a.service")
        .with("t@.service", "", "");
    let plan = plan(&cluster);
    for line in [
        "a.service: waits (no machine with region=asia)",
        "web@4.service: waits (conflict with web@1.service on m1 (3 of 3 machines))",
        "web@5.service: waits (conflict with web@1.service on m1 (2 of 3 machines); no region=eu (1 of 3 machines))",
        "f.service: waits (there is no unit gone.service)",
        "p.service: waits (a.service is on no machine)",
        "t@.service: waits (a template is never placed, only its instances are)",
    ] {
        assert!(plan.lines().any(|found| found == line), "{line}\nis not in\n{plan}");
    }
    assert_eq!(
        decide(&Cluster::default().with("a.service", "", ""), &Limits::default()).to_string(),
        "a.service: waits (there are no machines)\n"
    );
}

#[test]
fn a_template_in_conflict_with_itself_runs_once_on_each_machine() {
    let mut cluster = cluster(&THREE);
    for at in 1..=4 {
        cluster = cluster.with(&format!("web@{at}.service"), "", "Conflicts=%p@*.service");
    }
    assert_eq!(placed(&cluster), ["web@1 m1", "web@2 m2", "web@3 m3"]);
}

#[test]
fn conflicts_count_both_ways() {
    // The machine with fewer units is the one that is not wanted.
    let near = cluster(&[("m1", ""), ("m2", "")]).with("x.service", "m2", "").with("y.service", "m2", "");
    let comes = near.clone().with("b.service", "m1", "Conflicts=a.*").with("a.service", "", "");
    assert_eq!(placed(&comes), ["a m2"]);
    let carries = near.with("a.service", "m1", "").with("b.service", "", "Conflicts=a.*");
    assert_eq!(placed(&carries), ["b m2"]);
}

#[test]
fn a_follower_goes_where_its_peer_goes_whatever_its_name() {
    let cluster = cluster(&THREE)
        .with("a.service", "", "MachineOf=b.service")
        .with("b.service", "", "MachineOf=z.service")
        .with("z.service", "", "MachineMetadata=region=us");
    assert_eq!(placed(&cluster), ["a m3", "b m3", "z m3"]);
}

#[test]
fn a_long_chain_of_followers_comes_and_moves_in_one_pass_whichever_way_the_names_go() {
    for is_upwards in [true, false] {
        let mut cluster = cluster(&THREE);
        for at in 0..20_i32 {
            let peer = if is_upwards { at + 1 } else { at - 1 };
            let section = if (0..20).contains(&peer) {
                format!("MachineOf=u{peer:02}.service")
            } else {
                "MachineMetadata=region=us".to_owned()
            };
            cluster = cluster.with(&format!("u{at:02}.service"), "", &section);
        }
        let outcome = decide(&cluster, &Limits::default());
        assert_eq!(outcome.decisions.len(), 20, "{outcome}");
        let mut there = apply(&cluster, &outcome);
        there.machines.insert(id("m3"), machine_with(""));
        there.machines.insert(id("m2"), machine_with("region=us"));
        let moved = decide(&there, &Limits::default()).decisions;
        assert_eq!(moved.len(), 20);
        assert!(moved.iter().all(|decision| decision.to == Some(id("m2"))));
    }
}

#[test]
fn units_that_follow_each_other_are_never_placed_and_say_so() {
    let cluster = cluster(&THREE).with("a.service", "", "MachineOf=b.service").with(
        "b.service",
        "",
        "MachineOf=a.service",
    );
    let plan = plan(&cluster);
    assert!(plan.contains("a.service: waits (b.service is on no machine)"), "{plan}");
}

#[test]
fn a_follower_of_units_that_are_apart_waits() {
    let cluster = cluster(&THREE).with("a.service", "m1", "").with("b.service", "m2", "").with(
        "f.service",
        "",
        "MachineOf=a.service\nMachineOf=b.service",
    );
    assert!(plan(&cluster).contains("f.service: waits (a.service and b.service are on different machines)"));
}

#[test]
fn a_follower_of_a_global_unit_goes_where_that_runs() {
    let cluster = cluster(&THREE)
        .with("g.service", "", "Global=true\nMachineMetadata=region=us")
        .with("f.service", "", "MachineOf=g.service")
        .with("k.service", "m3", "MachineOf=g.service");
    assert_eq!(placed(&cluster), ["f m3"]);
}

#[test]
fn a_unit_leaves_where_it_is_not_wanted_any_more_and_takes_its_followers_along() {
    let mut cluster = cluster(&THREE).with("a.service", "m1", "MachineOf=z.service").with(
        "z.service",
        "m1",
        "MachineMetadata=region=us",
    );
    assert_eq!(placed(&cluster), ["a m3", "z m3"]);
    cluster.units.get_mut(&name("z.service")).unwrap().desired = JobState::Inactive;
    let plan = plan(&cluster);
    assert!(plan.contains("z.service: unschedule from m1 (desired state inactive)"), "{plan}");
    assert!(
        plan.contains(
            "a.service: unschedule from m1 (its machine cannot run it any more: z.service is elsewhere)"
        ),
        "{plan}"
    );
}

#[test]
fn of_two_in_conflict_on_one_machine_the_later_name_goes() {
    let cluster = cluster(&THREE).with("a.service", "m1", "").with("b.service", "m1", "Conflicts=a.*");
    assert_eq!(placed(&cluster), ["b m2"]);
    let cluster = cluster.with("b.service", "m1", "").with("a.service", "m1", "Conflicts=b.*");
    assert_eq!(placed(&cluster), ["b m2"]);
}

#[test]
fn units_of_a_lost_machine_go_elsewhere_and_no_other_is_touched() {
    let cluster = cluster(&THREE)
        .with("a.service", "gone", "")
        .with("b.service", "gone", "MachineID=gone")
        .with("c.service", "m3", "")
        .with("d.service", "m3", "");
    let outcome = decide(&cluster, &Limits::default());
    assert_eq!(
        outcome.to_string(),
        "a.service: move from gone to m1 (machine gone went away)\n\
         b.service: unschedule from gone (machine gone went away)\n\
         b.service: waits (there is no machine gone)\n"
    );
    assert_eq!(outcome.evictions, 2);
}

#[test]
fn when_most_machines_vanish_at_once_their_units_are_held() {
    let cluster = cluster(&[("m3", "")]).with("a.service", "m1", "").with("b.service", "m2", "").with(
        "c.service",
        "",
        "",
    );
    let outcome = decide(&cluster, &Limits::default());
    let plan = outcome.to_string();
    assert!(plan.contains("a.service: waits (held: 2 of 3 machines went away at once"), "{plan}");
    assert_eq!(outcome.decisions.len(), 1, "{plan}");
    // One that an operator has written off does not wait, and does not count.
    let mut known = cluster.clone();
    known.written_off.insert(id("m1"));
    assert_eq!(placed(&known), ["a m3", "b m3", "c m3"]);
    let bold = Limits { mass_loss_percent: 100, ..Limits::default() };
    assert_eq!(decide(&cluster, &bold).decisions.len(), 3);
}

#[test]
fn one_of_two_machines_is_no_mass_loss() {
    let cluster = cluster(&[("m2", "")]).with("a.service", "m1", "");
    assert_eq!(placed(&cluster), ["a m2"]);
}

#[test]
fn units_of_lost_machines_move_a_few_at_a_time() {
    let cluster = cluster(&THREE).with("a.service", "m0", "").with("b.service", "m0", "");
    let limits = Limits { evictions_max: 1, ..Limits::default() };
    let outcome = decide(&cluster, &limits);
    assert_eq!(outcome.evictions, 1);
    assert!(
        outcome
            .to_string()
            .contains("b.service: waits (held: units of lost machines are moved a few at a time)")
    );
}

#[test]
fn a_replaced_unit_goes_elsewhere_but_never_where_it_cannot_run() {
    let near = cluster(&[("m1", "disk=ssd"), ("m2", "")]);
    let can = near.clone().with("old.service", "m1", "").with("new.service", "m1", "Replaces=old.*");
    assert_eq!(plan(&can), "old.service: move from m1 to m2 (replaced by new.service)\n");
    let cannot = near.with("old.service", "m1", "MachineMetadata=disk=ssd").with(
        "new.service",
        "m1",
        "Replaces=old.*",
    );
    assert_eq!(
        plan(&cannot),
        "old.service: waits (new.service replaces it, and no other machine can take it)\n"
    );
}

#[test]
fn units_that_replace_each_other_stay() {
    let cluster = cluster(&[("m1", ""), ("m2", "")]).with("a.service", "m1", "Replaces=b.*").with(
        "b.service",
        "m1",
        "Replaces=a.*",
    );
    assert_eq!(plan(&cluster), "");
}

#[test]
fn who_follows_a_replaced_unit_goes_along() {
    let cluster = cluster(&[("m1", ""), ("m2", "")])
        .with("old.service", "m1", "")
        .with("side.service", "m1", "MachineOf=old.service")
        .with("new.service", "m1", "Replaces=old.*");
    assert_eq!(placed(&cluster), ["old m2", "side m2"]);
}

#[test]
fn what_is_set_aside_fits_into_what_a_machine_announces() {
    let mut cluster = cluster(&[("m1", ""), ("m2", "")]);
    for machine in cluster.machines.values_mut() {
        machine.info.resources.memory_mb = Some(1000);
        machine.info.resources.cpu_shares = Some(1024);
    }
    let cluster = cluster
        .with("a.service", "m1", "MemoryMB=900")
        .with("b.service", "", "MemoryMB=200")
        .with("c.service", "", "MemoryMB=850")
        .with("d.service", "", "CPUShares=2000")
        .with("e.service", "", "");
    let plan = plan(&cluster);
    assert!(plan.contains("b.service: schedule to m2"), "{plan}");
    assert!(
        plan.contains("c.service: waits (wants 850 MB of memory, at most 800 are left (2 of 2 machines))"),
        "{plan}"
    );
    assert!(
        plan.contains("d.service: waits (wants 2000 shares of processors, at most 1024 are left (2 of 2"),
        "{plan}"
    );
    assert!(plan.contains("e.service: schedule to m1"), "{plan}");
}

#[test]
fn a_machine_that_has_become_tight_keeps_what_runs() {
    let mut cluster = cluster(&THREE).with("a.service", "m1", "MemoryMB=900");
    cluster.machines.get_mut(&id("m1")).unwrap().info.resources.memory_mb = Some(100);
    assert_eq!(plan(&cluster), "");
}

#[test]
fn a_unit_whose_section_was_not_taken_runs_nowhere_and_says_why() {
    let cluster = cluster(&THREE).with("a.service", "m1", "Global=maybe");
    let plan = plan(&cluster);
    assert!(plan.contains("a.service: waits ([X-Fleet] Global=maybe: neither yes nor no)"), "{plan}");
    assert!(plan.contains("a.service: unschedule from m1"), "{plan}");
}

#[test]
fn a_new_machine_gets_no_running_unit() {
    let mut cluster = cluster(&THREE);
    for at in 0..9 {
        cluster = cluster.with(&format!("u{at}.service"), ["m1", "m2", "m3"][at % 3], "");
    }
    cluster.machines.insert(id("m4"), machine_with(""));
    assert_eq!(plan(&cluster), "");
    assert_eq!(placed(&cluster.with("v.service", "", "")), ["v m4"]);
}

/// The cost must not be a product: what is counted is each time a unit is held against a machine.
#[test]
fn ten_thousand_units_on_a_thousand_machines_cost_little_more_than_one_look_each() {
    let mut cluster = Cluster::default();
    for at in 0..1000 {
        let metadata = format!("region=r{} rack=k{}", at % 3, at % 200);
        cluster.machines.insert(id(&format!("m{at:04}")), machine_with(&metadata));
    }
    for at in 0..10_000 {
        // A mix: plain ones, replicas that do not want each other, ones with metadata, followers, and one service with
        // more replicas than there are machines.
        let (name, section) = match at % 5 {
            0 => (format!("plain{at}.service"), String::new()),
            1 => (format!("svc{}@{at}.service", at % 200), "Conflicts=%p@*".to_owned()),
            2 => (format!("eu{at}.service"), format!("MachineMetadata=region=r{}", at % 3)),
            3 => (format!("rack{at}.service"), format!("MachineMetadata=rack=k{}", at % 200)),
            _ => (format!("every@{at}.service"), "Conflicts=every@*".to_owned()),
        };
        cluster = cluster.with(&name, "", &section);
    }
    for at in 0..1000 {
        cluster = cluster.with(
            &format!("a-follower{at}.service"),
            "",
            &format!("MachineOf=plain{}.service", at * 10),
        );
    }
    #[allow(clippy::disallowed_methods, reason = "printed for a reader; nothing depends on it")]
    let start = std::time::Instant::now();
    let outcome = decide(&cluster, &Limits::default());
    #[allow(clippy::disallowed_methods, reason = "printed for a reader; nothing depends on it")]
    let took = start.elapsed();
    assert_eq!(outcome.decisions.len(), 10_000);
    assert_eq!(outcome.reasons.len(), 1000, "of the service with 2,000 replicas half find no machine");
    let Outcome { comparisons, .. } = outcome;
    // Measured: see the message. A look at every machine for every unit would be ten million.
    assert!(comparisons < 200_000, "{comparisons} comparisons");
    let settled = decide(&apply(&cluster, &outcome), &Limits::default());
    assert_eq!(settled.decisions, []);
    assert!(settled.comparisons < 100_000, "{} comparisons", settled.comparisons);
    // Where the output of tests is shown, for a reader.
    #[allow(clippy::print_stderr, reason = "a measurement")]
    {
        use std::io::Write as _;
        let _ = writeln!(
            std::io::stderr(),
            "11,000 units on 1,000 machines: {comparisons} comparisons, {took:?}; again {}",
            settled.comparisons
        );
    }
}

fn any_section() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(String::new()),
        2 => "[a-d]\\*".prop_map(|glob| format!("Conflicts={glob}")),
        1 => "[a-d][0-3]".prop_map(|peer| format!("MachineOf={peer}.service")),
        1 => "[a-d]\\*".prop_map(|glob| format!("Replaces={glob}")),
        2 => "[xy]".prop_map(|region| format!("MachineMetadata=region={region}")),
        1 => "[1-4]".prop_map(|at| format!("MachineID=m{at}")),
        1 => "[a-d]\\*".prop_map(|glob| format!("Global=true\nConflicts={glob}")),
        1 => "[1-9]00".prop_map(|mb| format!("MemoryMB={mb}")),
    ]
}

prop_compose! {
    fn any_cluster()(
        machines in prop::collection::btree_map("m[1-4]", "region=[xy]", 0..5),
        units in prop::collection::btree_map("[a-d][0-3]", (any_section(), "(m[1-5])?"), 0..16),
    ) -> Cluster {
        let mut cluster = Cluster::default();
        for (machine, metadata) in machines {
            let mut there = machine_with(&metadata);
            there.info.resources.memory_mb = Some(1000);
            cluster.machines.insert(id(&machine), there);
        }
        for (unit, (section, target)) in units {
            cluster = cluster.with(&format!("{unit}.service"), &target, &section);
        }
        cluster
    }
}

/// The rules of a schedule, looked at one by one and without any index.
fn complaints(cluster: &Cluster) -> Vec<String> {
    let mut found = Vec::new();
    for (name, unit) in &cluster.units {
        let Some((target, machine)) =
            unit.target.as_ref().and_then(|target| Some((target, cluster.machines.get(target)?)))
        else {
            continue;
        };
        let asks = &unit.requirements;
        if asks.machine_id.as_ref().is_some_and(|wanted| !target.is_called(wanted)) {
            found.push(format!("{name} is on {target}, not on its machine"));
        }
        if !asks.is_met_by(|key| machine.metadata(key)) {
            found.push(format!("{name} is on {target}, which has not the metadata"));
        }
        let wanted = cluster.wanted_on(target);
        for peer in &asks.peers {
            if !wanted.contains_key(peer) {
                found.push(format!("{name} is on {target} without {peer}"));
            }
        }
        for (other_name, other) in &wanted {
            if crate::model::are_in_conflict(name, unit, other_name, other) {
                found.push(format!("{name} and {other_name} are in conflict on {target}"));
            }
        }
    }
    found
}

#[test]
fn where_units_replace_each_other_in_a_circle_nobody_is_left_behind_by_the_last_move() {
    let mut cluster = Cluster::default();
    for machine in ["m1", "m2"] {
        cluster.machines.insert(id(machine), machine_with("region=x"));
    }
    for (unit, section) in [
        ("a0", "Replaces=b*"),
        ("b0", "Replaces=d*"),
        ("b3", ""),
        ("c0", "MachineOf=b3.service"),
        ("d0", "Replaces=a*"),
    ] {
        cluster = cluster.with(&format!("{unit}.service"), "", section);
    }
    let outcome = decide(&cluster, &Limits::default());
    assert_eq!(complaints(&apply(&cluster, &outcome)), Vec::<String>::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_there_is_the_schedule_keeps_the_rules_and_settles(cluster in any_cluster()) {
        let bold = Limits { mass_loss_percent: 100, ..Limits::default() };
        let outcome = decide(&cluster, &bold);
        prop_assert_eq!(&outcome, &decide(&cluster, &bold));
        let mut next = apply(&cluster, &outcome);
        prop_assert_eq!(complaints(&next), Vec::<String>::new());
        for (name, unit) in &next.units {
            let is_alive = unit.target.as_ref().is_none_or(|target| next.machines.contains_key(target));
            prop_assert!(is_alive, "{} is on a machine that is gone", name);
            let is_explained = unit.target.is_some() || unit.is_global() || outcome.reasons.contains_key(name);
            prop_assert!(is_explained, "{} waits for no reason", name);
        }
        // Passes come to an end.
        for _ in 0..8 {
            next = apply(&next, &decide(&next, &bold));
        }
        prop_assert_eq!(decide(&next, &bold).decisions, vec![]);
    }
}
