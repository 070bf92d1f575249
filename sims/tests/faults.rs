//! Faults of scenarios bite: each does to members what its page says, and a run in which it did nothing would fail here.

use seatrial_scenario::Plan;
use seatrial_scenario::batch::{Stage, run_one};
use seatrial_scenario::format::parse;
use seatrial_scenario::format::spec::VerdictKind;
use seatrial_scenario::observation::{Observation, Role};
use seatrial_scenario::record::RunLog;
use seatrial_sims::Simulation;
use seatrial_types::MemberId;
use std::collections::BTreeSet;
use std::time::Duration;

/// A scenario of three members with these faults, and what else is said.
fn plan(rest: &str, seed: u64) -> Plan {
    let text = format!(
        "title = \"t\"\nwhy = \"w\"\nmembers = 3\ntime = \"10s\"\nswarm = false\n\
         [[workload]]\nname = \"kv\"\nclients = 4\nthink = \"40ms\"\n{rest}"
    );
    Plan::draw(&parse("bites.toml", &text).unwrap_or_else(|error| panic!("{error}")), seed)
}

/// Plays it; every oracle must be content.
fn play(rest: &str, seed: u64) -> RunLog {
    let plan = plan(rest, seed);
    let (summary, log, _) = run_one(&Simulation::default(), &plan);
    assert_eq!(summary.verdict, VerdictKind::Pass, "seed {seed}: {}\n{rest}", summary.sentence);
    log.expect("a run that passed has a log")
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Writes acknowledged between these times.
fn acknowledged(log: &RunLog, from: f64, to: f64) -> usize {
    let writes = log
        .history
        .operations
        .iter()
        .filter(|op| op.outcome.answered().is_some_and(|(_, answer)| answer.changed()));
    let answered = writes.filter_map(|op| Some(Duration::from_nanos(op.ret?)));
    answered.filter(|at| (seconds(from)..seconds(to)).contains(at)).count()
}

/// What members said when they stopped or did not start.
fn refusals(log: &RunLog) -> Vec<(MemberId, String)> {
    let seen = log.observed.iter().filter_map(|seen| match &seen.what {
        Observation::Failed { why: text } | Observation::BootFailed { error: text } => {
            Some((seen.member, text.clone()))
        }
        _ => None,
    });
    seen.collect()
}

fn nemesis(name: &str, start: &str, lasts: &str, more: &str) -> String {
    format!(
        "[[nemesis]]\nname = \"{name}\"\nstart = \"{start}\"\nevery = \"10s\"\nlasts = \"{lasts}\"\ntimes = 1\n{more}\n"
    )
}

/// A script with these faults, and clients that write all the time.
fn script(faults: &str) -> String {
    let mut clients = String::new();
    for machine in 1..=3 {
        let steps: Vec<String> =
            (0..160).map(|step| format!("\"{}ms m{machine} put k{}\"", 1500 + step * 50, step % 7)).collect();
        clients +=
            &format!("[[client]]\nworkload = 1\nmachine = {machine}\nsteps = [{}]\n", steps.join(", "));
    }
    format!(
        "[knobs]\nelection_timeout = \"500ms\"\nnet_latency = \"1ms\"\nsync_latency = \"2ms\"\n[script]\nseed = 7\n{clients}{faults}"
    )
}

fn fault(name: &str, at: &str, ends: &str, more: &str) -> String {
    format!("[[fault]]\nname = \"{name}\"\nat = \"{at}\"\nends = \"{ends}\"\n{more}\n")
}

#[test]
fn while_the_disks_of_all_stand_still_nothing_is_acknowledged_and_then_all_goes_on() {
    let log = play(&script(&fault("disk-stall", "4s", "7s", "target = \"all\"")), 7);
    assert!(acknowledged(&log, 2.0, 4.0) > 60, "{}", acknowledged(&log, 2.0, 4.0));
    assert_eq!(acknowledged(&log, 4.1, 7.0), 0);
    assert!(acknowledged(&log, 7.0, 9.5) > 20);
    // One alone is not needed.
    let log = play(&script(&fault("disk-stall", "4s", "7s", "target = \"member 1\"")), 7);
    assert!(acknowledged(&log, 4.5, 7.0) > 40, "{}", acknowledged(&log, 4.5, 7.0));
}

#[test]
fn a_narrow_link_carries_less_and_is_empty_soon_after() {
    let quick = play(&script(""), 7);
    let log = play(&script(&fault("bandwidth", "4s", "7s", "limit = \"4KiB/s\"")), 7);
    let (before, during) = (acknowledged(&quick, 4.0, 7.0), acknowledged(&log, 4.0, 7.0));
    assert!(during * 2 < before, "{during} of {before}");
    assert!(acknowledged(&log, 7.5, 9.5) * 2 > acknowledged(&quick, 7.5, 9.5));
}

#[test]
fn the_power_goes_after_as_many_operations_as_were_drawn() {
    let mut gone = Vec::new();
    for count in [0, 7, 40, 1_000_000] {
        let more = format!("target = \"all\"\nafter_ops = {count}");
        let log = play(&script(&fault("power-loss", "4s", "8s", &more)), 7);
        let lost = log.outages.iter().filter(|outage| outage.kind == "power-loss");
        let at: Vec<Duration> = lost.map(|outage| outage.from).collect();
        if count == 1_000_000 {
            assert!(at.is_empty(), "the fault was over before");
            continue;
        }
        assert_eq!(at.len(), 3, "{count}: {at:?}");
        assert!(at.iter().all(|at| (seconds(4.0)..seconds(8.0)).contains(at)), "{count}: {at:?}");
        gone.push(at.iter().max().copied());
        let ups = log.outages.iter().filter_map(|outage| outage.to);
        assert!(ups.min() >= Some(seconds(8.0)), "they start when the fault ends");
    }
    assert!(gone.is_sorted_by(|a, b| a < b), "more operations take longer: {gone:?}");
}

#[test]
fn of_a_machine_whose_process_is_down_the_power_takes_the_page_cache() {
    // The same moment, with and without a loss of power while all are dead.
    let kill = fault("kill", "4s", "5s", "target = \"all\"");
    let power = fault("power-loss", "4.2s", "4.8s", "target = \"all\"");
    let lying = fault("lying-sync", "3s", "4.1s", "target = \"all\"");
    let expects = "[expect]\nverdict = \"violation\"\n";
    let verdict = |rest: &str| run_one(&Simulation::default(), &plan(rest, 7)).0.verdict;
    assert_eq!(verdict(&format!("{}{expects}", script(&format!("{lying}{kill}")))), VerdictKind::Pass);
    let all = format!("{}{expects}", script(&format!("{lying}{kill}{power}")));
    assert_eq!(verdict(&all), VerdictKind::Violation, "what a lying sync left in the page cache is gone");
    let log = Simulation::default().run(&plan(&script(&format!("{kill}{power}")), 7));
    let kinds: BTreeSet<&str> = log.outages.iter().map(|outage| outage.kind.as_str()).collect();
    assert_eq!(kinds, ["kill"].into(), "it is down already");
}

#[test]
fn a_member_that_cannot_read_its_disk_stops_or_does_not_start_and_comes_back() {
    let faults = format!(
        "{}{}",
        fault("power-loss", "4s", "5s", "target = \"member 2\""),
        fault("read-error", "4.5s", "6s", "target = \"member 2\"")
    );
    let log = play(&script(&faults), 7);
    let told = refusals(&log);
    assert!(!told.is_empty(), "it started on a disk that cannot be read");
    for (member, text) in &told {
        assert_eq!(*member, MemberId(2));
        assert!(text.contains("input/output error while reading"), "{text}");
    }
    let started = |seen: &&seatrial_scenario::observation::Observed| {
        seen.member == MemberId(2) && matches!(seen.what, Observation::Started { .. })
    };
    assert!(log.observed.iter().filter(started).any(|seen| seen.at >= seconds(6.0)), "it is there again");
}

#[test]
fn a_store_that_rots_is_named_and_its_member_replaced() {
    let mut named = 0;
    for place in (25..1000).step_by(50) {
        let more = format!("target = \"member 2\"\nbits = 40\nplace_permille = {place}");
        let log = play(&script(&fault("store-rot", "5s", "6s", &more)), 7);
        assert!(
            log.faults[0].text.contains("40 bits turned in the sector at byte"),
            "{}",
            log.faults[0].text
        );
        let told = refusals(&log);
        named += usize::from(!told.is_empty());
        assert!(
            told.iter().all(|(member, text)| *member == MemberId(2) && text.contains("first.redb")),
            "{told:?}"
        );
    }
    assert!(named > 1, "of twenty places {named} mattered");
}

#[test]
fn a_write_that_lands_elsewhere_is_found_where_it_matters() {
    let mut named = 0;
    for run in 0..20 {
        // A single one hits what nobody needs any more, or the store falls back to the commit before.
        let astray = (0..9).map(|turn| {
            let (at, ends) = (4000 + turn * 200 + run * 7, 4190 + turn * 200 + run * 7);
            fault("misdirected-write", &format!("{at}ms"), &format!("{ends}ms"), "target = \"member 2\"")
        });
        let restart = fault("power-loss", "6s", "7s", "target = \"member 2\"");
        // Where it lands is the world's to draw.
        let script = script(&(astray.collect::<String>() + &restart))
            .replace("\nseed = 7\n", &format!("\nseed = {run}\n"));
        named += usize::from(!refusals(&play(&script, 7)).is_empty());
    }
    assert!(named > 0, "no write that went astray was ever noticed");
}

#[test]
fn damage_stays_within_what_a_cluster_outlives_unless_it_is_asked_to_go_beyond() {
    let rots = |extra: &str| {
        let more = "target = \"all\"\nbits = 40\nplace_permille = 500";
        let rot = fault("store-rot", "5s", "6s", more);
        Simulation::default().run(&plan(&format!("{extra}{}", script(&rot)), 7))
    };
    let log = rots("");
    let text = &log.faults[0].text;
    assert_eq!(text.matches("bits turned").count(), 1, "{text}");
    assert_eq!(text.matches("is spared: not whole yet are 1").count(), 2, "{text}");
    let log = rots("[damage]\nbeyond_quorum = true\n");
    let text = &log.faults[0].text;
    assert_eq!((text.matches("bits turned").count(), text.contains("spared")), (3, false), "{text}");
}

#[test]
fn members_swizzle_out_and_back() {
    let mut elected = 0;
    for place in [17, 333, 800, 951] {
        let more = format!("shape = \"swizzle\"\nplace_permille = {place}");
        let log = play(&script(&fault("partition", "3s", "9s", &more)), 7);
        let text = &log.faults[0].text;
        assert!(text.contains("cut off one after the other"), "{text}");
        let leaders = log.observed.iter().filter(|seen| {
            matches!(seen.what, Observation::Role { role: Role::Leader, .. }) && seen.at > seconds(3.0)
        });
        elected += leaders.count();
    }
    assert!(elected > 0, "whoever led stayed, whoever was cut off");
}

#[test]
fn a_fault_that_waited_lasts_as_long_as_it_would_have_lasted() {
    let mut waited = 0;
    for seed in 0..8 {
        let rest = format!(
            "{}{}",
            nemesis("pause", "2s", "1500ms", "during = \"leader-change\"\ntarget = \"involved\""),
            nemesis("kill", "5s", "500ms", "target = \"leader\"")
        );
        let plan = plan(&rest, seed);
        let log = Simulation::default().run(&plan);
        for planned in plan.faults.iter().filter(|fault| fault.during.is_some()) {
            let Some(played) = log.faults.iter().find(|fault| fault.id == planned.id) else { continue };
            let lasted = played.to.expect("it ended") - played.from;
            let wanted = (planned.ends - planned.at).min(plan.scenario.time - played.from);
            assert!(played.from > planned.at, "seed {seed}: it waited for nothing");
            let differs = lasted.abs_diff(wanted);
            assert!(differs < Duration::from_millis(1), "seed {seed}: {lasted:?}, and not {wanted:?}");
            waited += 1;
        }
    }
    assert!(waited > 3, "{waited} faults waited");
}

#[test]
fn of_all_logs_that_one_fault_could_hit_at_once_a_majority_is_spared() {
    let log = play(&script(&fault("read-error", "4s", "5s", "target = \"all\"\nfiles = \"log\"")), 7);
    let text = &log.faults[0].text;
    assert_eq!(text.matches(" cannot be read").count(), 1, "{text}");
    assert_eq!(text.matches(" is spared").count(), 2, "{text}");
}
