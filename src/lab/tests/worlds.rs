//! The world as a value.

use seatrial_lab::{Lab, LabOptions, Told};
use seatrial_scenario::Plan;
use seatrial_scenario::fault::{LinkRule, Place};
use seatrial_types::request::{PutRequest, RangeRequest, Request, Response};
use seatrial_types::{KeyRange, MemberId};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn lab(seed: u64, machines: u64) -> Lab {
    let text = format!(
        "title = \"x\"\nwhy = \"x\"\nmembers = {machines}\ntime = \"5s\"\n[[workload]]\nname = \"kv\"\n"
    );
    let scenario = seatrial_scenario::format::parse("x.toml", &text).unwrap();
    let knobs = Plan::draw(&scenario, seed).knobs;
    let mut lab =
        Lab::new(LabOptions { seed, machines, members: machines, clients: 2, knobs, packets: false });
    for machine in 1..=machines {
        lab.start(MemberId(machine));
    }
    lab
}

fn run(lab: &mut Lab, time: Duration) -> Vec<Told> {
    let until = lab.now() + time;
    let mut told = lab.take_told();
    while lab.next_at().is_some_and(|at| at <= until) {
        lab.step();
        told.extend(lab.take_told());
    }
    told
}

fn put(lab: &mut Lab, machine: MemberId, value: &str) -> Option<Response> {
    let request = PutRequest { key: "k".into(), value: value.to_owned().into(), ..PutRequest::default() };
    let call = lab.ask(1, machine, Request::Put(request), SECOND);
    run(lab, SECOND);
    lab.answer(call).and_then(Result::ok)
}

fn get(lab: &mut Lab, machine: MemberId) -> Option<String> {
    let request = RangeRequest { range: KeyRange::single("k"), ..RangeRequest::default() };
    let call = lab.ask(1, machine, Request::Range(request), SECOND);
    run(lab, SECOND);
    match lab.answer(call)?.ok()? {
        Response::Range(range) => range.kvs.first().map(|kv| String::from_utf8_lossy(&kv.value).into_owned()),
        _ => None,
    }
}

fn leader(lab: &Lab, machines: u64) -> MemberId {
    let leads = |machine: &MemberId| lab.member(*machine).is_some_and(|member| member.is_leader());
    (1..=machines).map(MemberId).find(leads).expect("somebody leads by now")
}

#[test]
fn a_clone_goes_the_same_way_until_something_else_is_asked_of_it() {
    let mut one = lab(7, 3);
    run(&mut one, 5 * SECOND);
    let leads = leader(&one, 3);
    assert!(put(&mut one, leads, "before").is_some());
    let (mut two, mut three) = (one.clone(), one.clone());
    let told: Vec<_> = [&mut one, &mut two].map(|lab| run(lab, 5 * SECOND)).into();
    assert_eq!(told[0], told[1]);
    assert_eq!((one.digest(), one.steps()), (two.digest(), two.steps()));
    // In the third world the leader dies, and another write is made.
    three.kill(leads);
    run(&mut three, 5 * SECOND);
    let other = leader(&three, 3);
    assert_ne!(other, leads);
    assert!(put(&mut three, other, "after").is_some());
    assert_eq!(get(&mut three, other).as_deref(), Some("after"));
    assert_eq!(
        get(&mut two, leads).as_deref(),
        Some("before"),
        "what is done in one world is done there only"
    );
    assert_eq!(leader(&two, 3), leads);
}

#[test]
fn a_world_with_other_dice_goes_another_way() {
    let mut one = lab(7, 3);
    run(&mut one, 2 * SECOND);
    let mut two = one.clone();
    two.reseed(8);
    run(&mut one, 5 * SECOND);
    run(&mut two, 5 * SECOND);
    assert_ne!(one.digest(), two.digest());
}

#[test]
fn who_is_cut_off_neither_hears_nor_is_heard_until_the_link_is_back() {
    let mut lab = lab(3, 3);
    run(&mut lab, 5 * SECOND);
    let leads = leader(&lab, 3);
    let cut = |lab: &mut Lab, is_cut| {
        let rule = LinkRule { cut: is_cut, ..LinkRule::default() };
        for other in (1..=3).map(MemberId).filter(|other| *other != leads) {
            lab.set_link(Place::Member(leads), Place::Member(other), rule);
            lab.set_link(Place::Member(other), Place::Member(leads), rule);
        }
    };
    cut(&mut lab, true);
    assert!(put(&mut lab, leads, "lost").is_none(), "nobody but its member has heard of it");
    run(&mut lab, 10 * SECOND);
    let other = (1..=3).map(MemberId).find(|other| *other != leads).unwrap();
    assert!(put(&mut lab, other, "new").is_some(), "the others go on");
    cut(&mut lab, false);
    run(&mut lab, 5 * SECOND);
    assert_eq!(get(&mut lab, leads).as_deref(), Some("new"));
}

#[test]
fn what_was_acknowledged_survives_the_loss_of_power_of_all() {
    for seed in 0..20 {
        let mut lab = lab(seed, 3);
        run(&mut lab, 5 * SECOND);
        let leads = leader(&lab, 3);
        assert!(put(&mut lab, leads, "kept").is_some());
        for machine in (1..=3).map(MemberId) {
            lab.power_loss(machine);
        }
        assert!(!lab.is_running(leads));
        for machine in (1..=3).map(MemberId) {
            lab.start(machine);
        }
        run(&mut lab, 5 * SECOND);
        let leads = leader(&lab, 3);
        assert_eq!(get(&mut lab, leads).as_deref(), Some("kept"), "seed {seed}");
    }
}

#[test]
fn who_stands_still_has_all_of_it_to_do_once_it_goes_on() {
    let mut lab = lab(5, 3);
    run(&mut lab, 5 * SECOND);
    let leads = leader(&lab, 3);
    lab.pause(leads, true);
    let told = run(&mut lab, 10 * SECOND);
    let is_from = |told: &Told| matches!(told, Told::Observed { machine, .. } if *machine == leads);
    assert!(!told.iter().any(is_from), "it says nothing meanwhile");
    assert_ne!(
        (1..=3).map(MemberId).filter(|one| lab.member(*one).is_some_and(|member| member.is_leader())).count(),
        0
    );
    lab.pause(leads, false);
    let told = run(&mut lab, 5 * SECOND);
    assert!(told.iter().any(is_from));
    assert_ne!(leader(&lab, 3), leads, "it was deposed meanwhile");
}
