//! What makes rare orders of events likelier bites, replays, and ends with the storm.

use seatrial_scenario::batch::{Stage, run_one};
use seatrial_scenario::files::load_scenarios;
use seatrial_scenario::format::spec::{Scenario, VerdictKind};
use seatrial_scenario::priorities::{Fall, Link, Priorities};
use seatrial_scenario::sites::ActiveSite;
use seatrial_scenario::{Plan, format};
use seatrial_sims::Simulation;
use seatrial_types::MemberId;
use seatrial_types::buggify::Site;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const CALM: &str = "title = \"t\"\nwhy = \"w\"\nmembers = 3\ntime = \"10s\"\npriorities = false\nbuggify = false\n\
    [knobs]\nelection_timeout = \"1s\"\nnet_latency = \"300us\"\n[[workload]]\nname = \"kv\"\nclients = 4\nthink = \"100ms\"\n";

fn calm(seed: u64) -> Plan {
    let plan = Plan::draw(&format::parse("calm.toml", CALM).unwrap(), seed);
    assert!(plan.priorities.is_none() && plan.sites.is_empty(), "the scenario does without");
    plan
}

fn scenario(path: &str) -> Scenario {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(path);
    load_scenarios(&[file]).unwrap().remove(0)
}

fn link(from: u64, to: u64) -> Link {
    Link { from: MemberId(from), to: MemberId(to) }
}

#[test]
fn messages_take_as_long_as_their_link_has_priority_and_after_the_storm_all_are_fast() {
    let mut plan = calm(1);
    let step = Duration::from_millis(20);
    let order = vec![link(1, 2), link(2, 1), link(1, 3), link(3, 1), link(2, 3), link(3, 2)];
    let falls = vec![Fall { at: Duration::from_secs(5), link: link(1, 2) }];
    plan.priorities = Some(Priorities { step, order: order.clone(), falls });
    let (summary, log, _) = run_one(&Simulation::default(), &plan);
    assert_eq!(summary.verdict, VerdictKind::Pass, "{}", summary.sentence);
    let log = log.unwrap();
    // The least delay of what was sent in a span of time, in milliseconds, for each link over which anything was said:
    // followers have nothing to say to each other.
    let least = |order: &[Link], since: u64, until: u64| -> Vec<(Link, u128)> {
        let span = Duration::from_secs(since)..Duration::from_secs(until);
        let delay = |link: &Link| {
            let sent = log.packets.iter().filter(|one| (one.from, one.to) == (link.from, link.to));
            let delays = sent.filter(|one| span.contains(&one.sent)).map(|one| one.at - one.sent);
            delays.min().map(|least| (*link, least.as_millis()))
        };
        order.iter().filter_map(delay).collect()
    };
    let wanted = |order: &[Link], told: &[(Link, u128)], step: u128| {
        assert!(told.len() >= 4, "hardly anybody said anything: {told:?}");
        for (link, delay) in told {
            let place = order.iter().position(|other| other == link).expect("a link of the order");
            assert_eq!(*delay, step * place as u128, "{link} of {order:?}");
        }
    };
    let after = [&order[1..], &order[..1]].concat();
    wanted(&order, &least(&order, 1, 5), 20);
    wanted(&after, &least(&after, 6, 10), 20);
    wanted(&order, &least(&order, 10, log.ended.as_secs() + 1), 0);
}

#[test]
fn sites_are_told_to_in_the_storm_and_the_same_in_a_second_run() {
    let stage = Simulation::default();
    let mut plan = calm(2);
    let plain = stage.run(&plan);
    assert!(plain.sites.is_empty());
    plan.sites =
        Site::ALL.iter().map(|site| ActiveSite { site: *site, ppm: site.most_ppm() / 5 + 1 }).collect();
    let (first, second) = (stage.run(&plan), stage.run(&plan));
    assert_ne!(plain.trace_hash, first.trace_hash, "they change nothing");
    assert_eq!(first.trace_hash, second.trace_hash);
    assert_eq!(first.sites, second.sites);
    assert!(first.sites.len() > 10, "{:?}", first.sites);
    assert!(first.sites.iter().all(|told| told.first < plan.scenario.time), "{:?}", first.sites);
    assert!(stage.run(&calm(2)).sites.is_empty(), "nothing is left of them for the next run");
}

#[test]
fn every_site_is_reached_by_some_scenario_and_wrong_nowhere() {
    let mut reached = BTreeSet::new();
    for (path, seed) in [
        ("fast/storm.toml", 1),
        ("fast/lagging-member.toml", 1),
        ("fast/lease-checkpoints.toml", 1),
        ("fast/watch-slow-readers.toml", 1),
        ("fast/compaction-under-faults.toml", 1),
        ("fast/users.toml", 1),
    ] {
        let mut plan = Plan::draw(&scenario(path), seed);
        plan.sites =
            Site::ALL.iter().map(|site| ActiveSite { site: *site, ppm: site.most_ppm() / 3 }).collect();
        let (summary, log, _) = run_one(&Simulation::default(), &plan);
        assert_eq!(summary.verdict, VerdictKind::Pass, "{path}: {}", summary.sentence);
        reached.extend(log.unwrap().sites.iter().map(|told| told.site));
    }
    let missing: Vec<Site> = Site::ALL.iter().copied().filter(|site| !reached.contains(site)).collect();
    assert!(missing.is_empty(), "never told to: {missing:?}");
}
