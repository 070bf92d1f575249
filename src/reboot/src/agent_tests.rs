use super::*;
use crate::window::{LocksmithWindow, Window, Zone};

/// 2024-10-04, a day that is 20 000 days after the epoch.
const DAY: u64 = 20_000 * 86_400;

struct Bench {
    agent: Agent,
    now: u64,
    hour: u64,
}

impl Bench {
    fn new(settings: Settings) -> (Self, Vec<Action>) {
        let (agent, actions) = Agent::new(settings);
        (Self { agent, now: 0, hour: 12 }, actions)
    }

    fn step(&mut self, input: Input) -> Vec<Action> {
        let at = Moment { now: Duration::from_secs(self.now), wall: Wall(DAY + self.hour * 3600) };
        self.agent.step(at, input)
    }

    /// Lets the time come that the agent waits for; gives how long that took.
    fn due(&mut self) -> (u64, Vec<Action>) {
        let until = self.agent.deadline().expect("it waits").as_secs();
        let waited = until - self.now;
        self.now = until;
        (waited, self.step(Input::Due))
    }

    /// An agent that has nothing to do.
    fn idle(settings: Settings) -> Self {
        let (mut bench, _) = Self::new(settings);
        let mut actions = bench.step(Input::Healthy(Ok(())));
        if actions.last() == Some(&Action::Release(None)) {
            actions = bench.step(Input::Released(Ok(())));
        }
        assert_eq!(actions.last(), Some(&Action::Write(State::Running)));
        bench
    }

    /// An agent that holds a slot and is about to confirm it.
    fn confirming(settings: Settings) -> Self {
        let mut bench = Self::idle(settings);
        bench.step(Input::NeedReboot);
        assert_eq!(bench.step(Input::Locked(Ok(7))), [Action::Users]);
        let confirm = [Action::Write(State::Rebooting), Action::Confirm(7)];
        assert_eq!(bench.step(Input::Users(0)), confirm);
        bench
    }
}

fn locking() -> Settings {
    Settings { strategy: Strategy::EtcdLock, ..Settings::default() }
}

fn windowed() -> Settings {
    let window = Window::Locksmith(LocksmithWindow::parse("11:00", "2h").unwrap());
    Settings { windows: Windows::new(Zone::utc(), vec![window]), ..locking() }
}

#[test]
fn strategies_have_the_names_of_both_predecessors() {
    for (name, strategy) in [
        ("reboot", Strategy::Reboot),
        ("immediate", Strategy::Reboot),
        ("etcd-lock", Strategy::EtcdLock),
        ("fleet_lock", Strategy::FleetLock),
        ("periodic", Strategy::Periodic),
        ("off", Strategy::Off),
    ] {
        assert_eq!(Strategy::named(name), Ok(strategy));
        assert!(Strategy::named(&strategy.to_string()).is_ok());
    }
    for name in ["best-effort", "sometimes"] {
        assert!(Strategy::named(name).unwrap_err().to_string().contains("\nhint: "));
    }
}

#[test]
fn an_agent_that_is_off_does_nothing_ever() {
    let (mut bench, actions) = Bench::new(Settings { strategy: Strategy::Off, ..Settings::default() });
    assert_eq!(actions, [Action::Write(State::Disabled)]);
    assert_eq!(bench.step(Input::NeedReboot), []);
    assert_eq!(bench.agent.deadline(), None);
}

#[test]
fn what_was_held_before_the_start_is_given_back_once_the_machine_is_healthy() {
    let (mut bench, actions) = Bench::new(Settings { drains: true, ..locking() });
    assert_eq!(actions, [Action::Write(State::Starting), Action::CheckHealth]);
    bench.step(Input::Healthy(Err("no network".into())));
    assert_eq!(bench.agent.why(), "no network");
    assert_eq!(bench.due(), (5, vec![Action::CheckHealth]));
    assert_eq!(bench.step(Input::Healthy(Ok(()))), [Action::Undrain, Action::Release(None)]);
    for pause in [5, 10, 20, 40, 80, 160, 300, 300] {
        bench.step(Input::Released(Err("store away".into())));
        assert_eq!(bench.due(), (pause, vec![Action::Release(None)]));
    }
    assert_eq!(bench.step(Input::Released(Ok(()))), [Action::Write(State::Running)]);
}

#[test]
fn a_reboot_that_was_needed_before_the_release_begins_after_it() {
    let (mut bench, _) = Bench::new(locking());
    assert_eq!(bench.step(Input::NeedReboot), []);
    bench.step(Input::Healthy(Ok(())));
    let planned = [Action::Write(State::Running), Action::Write(State::RebootPlanned), Action::Lock];
    assert_eq!(bench.step(Input::Released(Ok(()))), planned);
}

#[test]
fn a_slot_that_is_refused_is_asked_for_again_after_longer_and_longer_pauses() {
    let mut bench = Bench::idle(locking());
    bench.step(Input::NeedReboot);
    for pause in [10, 20, 40, 80, 160, 300, 300] {
        bench.step(Input::Locked(Err("not its turn".into())));
        assert_eq!(bench.due(), (pause, vec![Action::Write(State::RebootPlanned), Action::Lock]));
    }
    bench.step(Input::Locked(Err("not its turn".into())));
    assert!(bench.agent.waits_for_slot());
    bench.step(Input::Woken);
    assert_eq!(bench.due().0, 1, "a change of the semaphore shortens the pause");
}

#[test]
fn users_get_a_warning_and_their_time() {
    let mut bench = Bench::idle(locking());
    bench.step(Input::NeedReboot);
    bench.step(Input::Locked(Ok(7)));
    assert_eq!(bench.step(Input::Users(2)), [Action::Warn(Duration::from_secs(300))]);
    assert_eq!(bench.step(Input::Due), [], "not before its time");
    assert_eq!(bench.due(), (300, vec![Action::Write(State::Rebooting), Action::Confirm(7)]));
    assert_eq!(bench.step(Input::Confirmed(Ok(true))), [Action::Reboot]);
}

#[test]
fn no_slot_is_asked_for_while_the_window_is_closed() {
    let mut bench = Bench::idle(windowed());
    bench.hour = 9;
    assert_eq!(bench.step(Input::NeedReboot), [Action::Write(State::RebootPlanned)]);
    bench.hour = 10;
    assert_eq!(
        bench.due(),
        (300, vec![Action::Write(State::RebootPlanned)]),
        "the calendar is looked at again"
    );
    bench.hour = 11;
    assert_eq!(bench.due().1, [Action::Write(State::RebootPlanned), Action::Lock]);
}

#[test]
fn a_window_that_closes_at_any_step_before_the_reboot_costs_the_slot_and_not_the_window() {
    let drains = Settings { drains: true, ..windowed() };
    let plans: [(&str, Settings, Vec<Input>, Input); 5] = [
        ("locked", windowed(), vec![], Input::Locked(Ok(7))),
        ("counted", windowed(), vec![Input::Locked(Ok(7))], Input::Users(0)),
        ("warned", windowed(), vec![Input::Locked(Ok(7)), Input::Users(1)], Input::Due),
        ("drained", drains, vec![Input::Locked(Ok(7)), Input::Users(0)], Input::Drained(Ok(()))),
        ("confirmed", windowed(), vec![Input::Locked(Ok(7)), Input::Users(0)], Input::Confirmed(Ok(true))),
    ];
    for (name, settings, before, last) in plans {
        let mut bench = Bench::idle(settings);
        bench.step(Input::NeedReboot);
        for input in before {
            bench.step(input);
        }
        (bench.hour, bench.now) = (14, 400);
        let actions = bench.step(last);
        assert_eq!(actions.last(), Some(&Action::Release(Some(7))), "{name}: {actions:?}");
        assert_eq!(actions.contains(&Action::Undrain), name == "drained");
        assert_eq!(bench.step(Input::Released(Ok(()))), [Action::Write(State::RebootPlanned)], "{name}");
        bench.hour = 12;
        assert_eq!(bench.due().1.last(), Some(&Action::Lock), "{name}: the next window finds it");
    }
}

#[test]
fn a_waiter_whose_window_closes_leaves_the_queue() {
    let mut bench = Bench::idle(windowed());
    bench.step(Input::NeedReboot);
    bench.step(Input::Locked(Err("full".into())));
    bench.hour = 14;
    assert_eq!(bench.due().1, [Action::Release(None)]);
}

#[test]
fn an_agent_whose_slot_was_taken_does_not_reboot_and_asks_again() {
    for answer in [Ok(false), Err("store away".to_owned())] {
        let mut bench = Bench::confirming(locking());
        assert_eq!(bench.step(Input::Confirmed(answer)), [Action::Release(Some(7))]);
        bench.step(Input::Released(Ok(())));
        assert_eq!(bench.due(), (10, vec![Action::Write(State::RebootPlanned), Action::Lock]));
    }
}

#[test]
fn a_drain_that_fails_is_undone_and_tried_again_later() {
    let mut bench = Bench::idle(Settings { drains: true, ..locking() });
    bench.step(Input::NeedReboot);
    bench.step(Input::Locked(Ok(7)));
    assert_eq!(bench.step(Input::Users(0)), [Action::Drain]);
    assert_eq!(bench.step(Input::Drained(Err("pod x".into()))), [Action::Undrain, Action::Release(Some(7))]);
    bench.step(Input::Released(Ok(())));
    assert_eq!(bench.agent.why(), "pod x");
    assert!(bench.agent.waits_for_slot());
}

#[test]
fn a_reboot_that_does_not_happen_gives_the_slot_back_and_waits_to_be_told_again() {
    for accepted in [true, false] {
        let mut bench = Bench::confirming(locking());
        assert_eq!(bench.step(Input::Confirmed(Ok(true))), [Action::Reboot]);
        let actions = if accepted {
            assert_eq!(bench.step(Input::Sent(Ok(()))), []);
            let (waited, actions) = bench.due();
            assert_eq!(waited, 600);
            actions
        } else {
            bench.step(Input::Sent(Err("no such command".into())))
        };
        assert_eq!(actions, [Action::Release(Some(7))]);
        assert_eq!(bench.step(Input::Released(Ok(()))), [Action::Write(State::Running)]);
        assert!(bench.agent.is_idle());
        assert_eq!(bench.step(Input::NeedReboot), [], "not at once");
        assert_eq!(bench.due().1.last(), Some(&Action::Lock));
    }
}

#[test]
fn without_a_lock_the_window_alone_decides() {
    for strategy in [Strategy::Reboot, Strategy::Periodic] {
        let mut bench = Bench::idle(Settings { strategy, ..windowed() });
        assert_eq!(bench.step(Input::NeedReboot), [Action::Write(State::RebootPlanned), Action::Users]);
        assert_eq!(bench.step(Input::Users(0)), [Action::Write(State::Rebooting), Action::Reboot]);
        let mut late = Bench::idle(Settings { strategy, ..windowed() });
        late.step(Input::NeedReboot);
        late.hour = 14;
        assert_eq!(late.step(Input::Users(0)), [Action::Write(State::RebootPlanned)]);
    }
}

#[test]
fn answers_that_nobody_waits_for_change_nothing() {
    let mut bench = Bench::idle(locking());
    for input in [
        Input::Locked(Ok(1)),
        Input::Confirmed(Ok(true)),
        Input::Drained(Ok(())),
        Input::Users(0),
        Input::Woken,
    ] {
        let before = bench.agent.clone();
        assert_eq!(bench.step(input), []);
        assert_eq!(bench.agent, before);
    }
}
