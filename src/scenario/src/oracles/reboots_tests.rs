use super::super::semaphores::testing::{change, semaphore};
use super::super::testing::{at, quiet, violated};
use super::*;
use crate::machines::MachineEvent;
use crate::record::{Healing, OutageRecord};
use seatrial_types::MemberId;

fn machine(id: &str, hosts: Option<u64>, events: &[(u64, MachineDoes)]) -> MachineRecord {
    let events = events.iter().map(|(ms, what)| MachineEvent { at: at(*ms), what: what.clone() }).collect();
    let (id, group) = (id.to_owned(), String::new());
    MachineRecord { client: 1, id, group, hosts, window: None, events, settled: true }
}

fn reboots(second: u64) -> MachineDoes {
    // A whole number of minutes since the epoch, and so many seconds.
    MachineDoes::Reboots(Duration::from_secs(60 * 28_401_120 + second))
}

/// `a` is granted at 200 ms, reboots at 400 ms, is up at 2400 ms and gives back.
fn run() -> RunLog {
    let mut log = quiet();
    let events = [
        (50, MachineDoes::Starts),
        (100, MachineDoes::Wants),
        (150, MachineDoes::Asks),
        (210, MachineDoes::Granted(1)),
        (300, MachineDoes::Confirms),
        (350, MachineDoes::Confirmed(Some(true))),
        (400, reboots(20)),
        (2_400, MachineDoes::Up),
        (2_400, MachineDoes::Starts),
        (2_450, MachineDoes::Releases),
        (2_500, MachineDoes::Released(true)),
    ];
    log.machines.push(machine("a", Some(1), &events));
    log.ended = at(60_000);
    log.healing = Some(Healing::default());
    semaphore(&mut log, 100, (0, 1), (1, 1), &[]);
    semaphore(&mut log, 200, (1, 2), (0, 1), &["a"]);
    semaphore(&mut log, 2_490, (2, 3), (1, 1), &[]);
    log
}

#[test]
fn a_plain_reboot_breaks_no_rule() {
    assert_eq!(check(&run()), Finding::Ok);
}

#[test]
fn a_reboot_in_the_last_second_of_its_window_is_well_and_one_a_second_later_is_not() {
    let mut log = run();
    log.machines[0].window = Some(Duration::from_secs(20));
    assert_eq!(check(&log), Finding::Ok);
    log.machines[0].events[6].what = reboots(21);
    assert!(violated(&check(&log)).contains("K4: a began its reboot in second 21"));
    log.machines[0].window = None;
    assert_eq!(check(&log), Finding::Ok, "it has no window");
}

#[test]
fn a_slot_that_was_taken_back_before_the_last_question_is_none() {
    let mut log = run();
    log.semaphores[2].at = at(300);
    assert_eq!(check(&log), Finding::Ok, "the answer may have been right when it was given");
    log.semaphores[2].at = at(299);
    assert!(violated(&check(&log)).contains("K4: a began its reboot, and had held no slot"));
}

#[test]
fn a_machine_that_waits_in_vain_is_told_and_one_whose_run_broke_off_is_not() {
    let mut log = run();
    log.machines.push(machine("b", None, &[(500, MachineDoes::Wants)]));
    log.machines[1].settled = false;
    assert!(violated(&check(&log)).contains("K6: b had to reboot from 500ms on"));
    log.healing = None;
    assert_eq!(check(&log), Finding::Ok);
    log.healing = Some(Healing::default());
    // Any boot will do.
    log.machines[1].events.push(MachineEvent { at: at(900), what: MachineDoes::Up });
    assert_eq!(check(&log), Finding::Ok);
}

#[test]
fn a_reboot_that_nobody_asked_for_is_told() {
    let mut log = run();
    log.machines[0].events.remove(1);
    assert!(violated(&check(&log)).contains("K6: a rebooted, and did not have to"));
}

#[test]
fn what_was_held_before_a_start_goes_within_ten_seconds_of_the_last_fault() {
    // The storm lasts 10 s; elections take up to a second.
    let elections = quiet().plan.knobs.election_timeout * 4;
    let bound = at(20_000) + elections;
    for (late, is_well) in [(Duration::ZERO, true), (at(1), false)] {
        let mut log = run();
        log.semaphores[2].at = bound + late;
        assert_eq!(check(&log) == Finding::Ok, is_well, "freed {late:?} after the bound");
        // Who is gone again gives nothing back.
        log.machines[0].events.push(MachineEvent { at: at(3_000), what: MachineDoes::AgentDies });
        assert_eq!(check(&log), Finding::Ok);
    }
}

fn two_of_three(down: Option<(u64, u64)>) -> RunLog {
    let mut log = run();
    log.semaphores.pop();
    semaphore(&mut log, 250, (2, 3), (1, 3), &["a", "c"]);
    semaphore(&mut log, 2_490, (3, 4), (2, 3), &["c"]);
    let events = [(50, MachineDoes::Starts), (220, MachineDoes::Asks)];
    log.machines.push(machine("c", Some(2), &events));
    if let Some((from, to)) = down {
        let to = Some(at(to));
        let kind = "kill".to_owned();
        log.outages.push(OutageRecord { member: MemberId(3), kind, from: at(from), to });
    }
    log
}

#[test]
fn two_of_three_members_machines_may_not_go_together_and_one_of_them_with_another_may() {
    let mut log = two_of_three(None);
    assert!(
        violated(&check(&log)).contains("K5: c was granted a slot at index 3, which leaves 1 voters of 3")
    );
    log.machines[1].hosts = None;
    assert_eq!(check(&log), Finding::Ok, "it takes no member along");
}

#[test]
fn a_member_that_was_down_while_a_machine_asked_counts_and_one_that_died_later_does_not() {
    for (down, is_well) in [((149, 9_000), false), ((151, 9_000), true), ((149, 199), true)] {
        let mut log = run();
        let to = Some(at(down.1));
        let kind = "kill".to_owned();
        log.outages.push(OutageRecord { member: MemberId(3), kind, from: at(down.0), to });
        assert_eq!(check(&log) == Finding::Ok, is_well, "down {down:?}");
    }
}

fn ledger(reserved: &[(&str, u64)], queue: &[(&str, bool)]) -> String {
    let holders: Vec<String> =
        reserved.iter().map(|(id, index)| format!("\"{id}\":{{\"reserved\":{index}}}")).collect();
    let queue: Vec<String> =
        queue.iter().map(|(id, aside)| format!("{{\"id\":\"{id}\",\"aside\":{aside}}}")).collect();
    format!("{{\"version\":1,\"holders\":{{{}}},\"queue\":[{}]}}", holders.join(","), queue.join(","))
}

#[test]
fn a_slot_is_for_whoever_asked_first_unless_it_waits_for_something_of_its_own() {
    for (aside, is_well) in [(true, true), (false, false)] {
        let mut log = run();
        change(&mut log, 5_000, (0, 4), "", true, ledger(&[("b", 3)], &[("c", aside), ("b", false)]));
        assert_eq!(check(&log) == Finding::Ok, is_well, "aside: {aside}");
    }
    let mut log = run();
    change(&mut log, 5_000, (0, 4), "", true, ledger(&[("b", 2)], &[("c", false), ("b", false)]));
    assert_eq!(check(&log), Finding::Ok, "what was decided by an older semaphore is void");
}

#[test]
fn who_stands_in_the_queue_stays_there_until_it_is_let_in_or_leaves() {
    let mut log = run();
    change(&mut log, 4_000, (0, 4), "", true, ledger(&[], &[("b", false), ("c", false)]));
    change(&mut log, 5_000, (4, 5), "", true, ledger(&[], &[("c", false)]));
    assert!(violated(&check(&log)).contains("K6: b stood in the queue from 4s on"));
    log.machines.push(machine("b", None, &[(4_500, MachineDoes::Releases)]));
    assert_eq!(check(&log), Finding::Ok, "it left");
    log.machines[1].events[0].at = at(5_001);
    assert_ne!(check(&log), Finding::Ok, "it left later");
    semaphore(&mut log, 4_500, (3, 5), (0, 1), &["b"]);
    log.semaphores.swap(4, 5);
    log.semaphores[5].index = 6;
    assert_eq!(check(&log), Finding::Ok, "it was let in");
}
