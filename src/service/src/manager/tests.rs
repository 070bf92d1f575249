//! Many units at once, their processes played by hand.

use super::*;
use crate::io::{Left, Target};
use crate::signal::Exit;
use crate::state::Outcome;
use proptest::prelude::*;
use std::collections::{BTreeSet, VecDeque};

type Process = (String, u32);

/// A manager and its processes, all of which end when they are told to, unless a test says otherwise.
struct Bench {
    manager: Manager,
    alive: BTreeSet<Process>,
    stubborn: bool,
    next_pid: u32,
    trace: Vec<String>,
}

impl Bench {
    fn new(units: &[(&str, &str)]) -> Self {
        let manager = Manager::new(Machine::default());
        let mut bench =
            Self { manager, alive: BTreeSet::new(), stubborn: false, next_pid: 100, trace: Vec::new() };
        for (name, text) in units {
            bench.load(name, text);
        }
        bench
    }

    /// Lines of `Section.Option=value`; a service gets a command where it has none.
    fn load(&mut self, name: &str, text: &str) {
        let mut triples: Vec<(&str, &str, &str)> = text
            .lines()
            .map(|line| {
                let (left, value) = line.split_once('=').expect("an assignment");
                let (section, option) = left.split_once('.').expect("a section");
                (section, option, value)
            })
            .collect();
        if name.ends_with(".service") && !text.contains("Exec") {
            triples.push(("Service", "ExecStart", "/d"));
        }
        drop(self.manager.load(name, triples).expect("a good unit"));
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Job { unit, verb, result } => self.trace.push(format!("{verb:?} {unit} {result:?}")),
                Effect::Trouble { unit, error } => self.trace.push(format!("trouble {unit}: {error}")),
                Effect::Do { unit, output } => {
                    for input in self.one(&unit, output) {
                        effects.extend(self.manager.step(&unit, input));
                    }
                }
            }
        }
    }

    fn one(&mut self, unit: &str, output: Output) -> Vec<Input> {
        match output {
            Output::Spawn(spawn) => {
                self.next_pid += 1;
                self.alive.insert((unit.to_owned(), self.next_pid));
                self.trace.push(format!("run {unit} {}", spawn.command.program));
                vec![Input::Spawned(self.next_pid)]
            }
            Output::Signal { target: Target::Process(pid), signal } if signal != Signal::CONT => {
                if self.stubborn && signal != Signal::KILL {
                    return Vec::new();
                }
                if !self.alive.remove(&(unit.to_owned(), pid)) {
                    return Vec::new();
                }
                self.trace.push(format!("end {unit}"));
                vec![Input::Exited { pid, exit: Exit::by(signal), left: Left::Nobody }]
            }
            _ => Vec::new(),
        }
    }

    fn start(&mut self, name: &str) -> Result<(), UnitError> {
        let effects = self.manager.start(name)?;
        self.carry_out(effects);
        Ok(())
    }

    fn stop(&mut self, name: &str) {
        let effects = self.manager.stop(name).expect("it is known");
        self.carry_out(effects);
    }

    fn ends(&mut self, name: &str, exit: Exit) {
        let found = self.alive.iter().find(|(unit, _)| unit == name).expect("it runs").clone();
        self.alive.remove(&found);
        let effects = self.manager.step(name, Input::Exited { pid: found.1, exit, left: Left::Nobody });
        self.carry_out(effects);
    }

    fn sub(&self, name: &str) -> String {
        self.manager.status(name).map_or_else(|| "gone".to_owned(), |status| status.sub)
    }

    #[track_caller]
    fn shows(&mut self, expected: &str) {
        assert_eq!(std::mem::take(&mut self.trace).join(", "), expected);
    }
}

#[test]
fn what_is_required_comes_first_and_goes_last() {
    let mut bench = Bench::new(&[
        ("web.service", "Unit.Requires=db.service\nUnit.After=db.service"),
        ("db.service", "Unit.Before=cache.service"),
        ("cache.service", ""),
        ("all.target", "Unit.Requires=web.service cache.service\nUnit.After=web.service"),
    ]);
    bench.start("all.target").unwrap();
    bench.shows(
        "run db.service /d, Start db.service Done, run cache.service /d, run web.service /d, \
         Start cache.service Done, Start web.service Done, Start all.target Done",
    );
    bench.stop("db.service");
    bench.shows(
        "Stop all.target Done, end web.service, Stop web.service Done, end db.service, Stop db.service Done",
    );
    assert_eq!(
        (bench.sub("cache.service"), bench.sub("all.target")),
        ("running".to_owned(), "dead".to_owned())
    );
}

#[test]
fn a_requirement_that_fails_fails_who_requires_it_and_a_wish_does_not() {
    let failing = "Service.Type=oneshot\nService.ExecStart=/f";
    let mut bench = Bench::new(&[
        ("a.service", "Unit.Requires=f.service\nUnit.After=f.service"),
        ("b.service", "Unit.Wants=f.service not-there.service\nUnit.After=f.service"),
        ("f.service", failing),
    ]);
    bench.start("a.service").unwrap();
    bench.ends("f.service", Exit::Code(1));
    bench.shows("run f.service /f, Start f.service Failed, Start a.service Dependency");
    bench.start("b.service").unwrap();
    bench.ends("f.service", Exit::Code(1));
    bench.shows("run f.service /f, Start f.service Failed, run b.service /d, Start b.service Done");
    bench.start("a.service").unwrap();
    bench.ends("f.service", Exit::Code(0));
    bench.shows("run f.service /f, Start f.service Done, run a.service /d, Start a.service Done");
}

#[test]
fn what_cannot_be_started_is_refused_with_a_hint_and_nothing_changes() {
    let mut bench = Bench::new(&[
        ("a.service", "Unit.Requires=none.service"),
        ("t@.service", ""),
        ("s.socket", "Socket.ListenStream=80"),
        ("x.service", "Unit.Requires=y.service z.service"),
        ("y.service", "Unit.Conflicts=z.service"),
        ("z.service", ""),
        ("q.service", "Unit.Requisite=z.service"),
    ]);
    let bad = bench.manager.load("bad.service", [("Service", "Type", "dbus")]).unwrap_err();
    assert!(bad.to_string().contains("D-Bus"));
    let before = bench.manager.clone();
    for (name, word) in [
        ("a.service", "requires none.service"),
        ("t@.service", "template"),
        ("s.socket", "socket units need systemd"),
        ("x.service", "conflict"),
        ("q.service", "z.service is not active"),
        ("bad.service", "not loaded properly"),
        ("none.service", "is not loaded"),
    ] {
        let error = bench.start(name).unwrap_err().to_string();
        assert!(error.contains(word) && error.contains("\nhint: "), "{name}: {error}");
    }
    assert_eq!(bench.manager, before);
    assert_eq!(bench.manager.status("bad.service").unwrap().load, LoadState::Error);
}

#[test]
fn what_conflicts_is_stopped_before_the_start() {
    let mut bench = Bench::new(&[("a.service", "Unit.Conflicts=b.service"), ("b.service", "")]);
    bench.start("b.service").unwrap();
    bench.start("a.service").unwrap();
    bench.shows(
        "run b.service /d, Start b.service Done, end b.service, Stop b.service Done, run a.service /d, \
         Start a.service Done",
    );
    bench.start("b.service").unwrap();
    assert_eq!((bench.sub("a.service"), bench.sub("b.service")), ("dead".to_owned(), "running".to_owned()));
}

#[test]
fn what_is_bound_goes_down_with_the_other_and_a_part_only_when_somebody_stops_it() {
    let mut bench = Bench::new(&[
        ("main.service", ""),
        ("bound.service", "Unit.BindsTo=main.service\nUnit.After=main.service"),
        ("part.service", "Unit.PartOf=main.service"),
    ]);
    bench.start("bound.service").unwrap();
    bench.start("part.service").unwrap();
    bench.ends("main.service", Exit::Code(1));
    assert_eq!(
        (bench.sub("bound.service"), bench.sub("part.service")),
        ("dead".to_owned(), "running".to_owned())
    );
    bench.start("main.service").unwrap();
    bench.stop("main.service");
    assert_eq!(bench.sub("part.service"), "dead");
}

#[test]
fn a_restart_takes_what_runs_and_hangs_on_it_along() {
    let mut bench = Bench::new(&[
        ("main.service", ""),
        ("part.service", "Unit.PartOf=main.service"),
        ("idle.service", "Unit.PartOf=main.service"),
    ]);
    bench.start("main.service").unwrap();
    bench.start("part.service").unwrap();
    bench.trace.clear();
    let effects = bench.manager.restart("main.service").unwrap();
    bench.carry_out(effects);
    let trace = bench.trace.join(", ");
    assert_eq!(
        trace.matches("run main.service").count() + trace.matches("run part.service").count(),
        2,
        "{trace}"
    );
    assert_eq!(bench.sub("idle.service"), "dead");
}

/// fleet's issue 1216: the file of a unit is removed while it runs.
#[test]
fn a_unit_whose_file_is_gone_can_still_be_stopped_and_is_then_forgotten() {
    let mut bench = Bench::new(&[("a.service", "Service.ExecStart=/d\nService.ExecStop=/s")]);
    bench.start("a.service").unwrap();
    bench.manager.unload("a.service");
    bench.manager.daemon_reload();
    let status = bench.manager.status("a.service").unwrap();
    assert_eq!((status.load, status.active), (LoadState::NotFound, ActiveState::Active));
    assert!(bench.start("a.service").is_err(), "what has no file is not started anew");
    bench.trace.clear();
    bench.stop("a.service");
    bench.ends("a.service", Exit::Code(0));
    bench.carry_out(Vec::new());
    // The stop command was in the file that is gone.
    assert!(bench.trace.contains(&"run a.service /s".to_owned()), "{:?}", bench.trace);
    while bench.sub("a.service") != "gone" {
        bench.ends("a.service", Exit::Code(0));
    }
}

#[test]
fn a_replaced_file_counts_from_the_next_start_on() {
    let mut bench = Bench::new(&[("a.service", "Service.ExecStart=/old\nService.ExecStop=/stop-old")]);
    bench.start("a.service").unwrap();
    bench.load("a.service", "Service.ExecStart=/new");
    assert!(bench.manager.status("a.service").unwrap().need_daemon_reload);
    bench.manager.daemon_reload();
    assert!(!bench.manager.status("a.service").unwrap().need_daemon_reload);
    bench.trace.clear();
    let effects = bench.manager.restart("a.service").unwrap();
    bench.carry_out(effects);
    assert_eq!(bench.trace, ["run a.service /stop-old"]);
    for _ in 0..2 {
        if bench.sub("a.service") != "running" {
            bench.ends("a.service", Exit::Code(0));
        }
    }
    assert!(bench.trace.contains(&"run a.service /new".to_owned()), "{:?}", bench.trace);
}

#[test]
fn a_broken_unit_is_mended_by_a_good_file() {
    let mut bench = Bench::new(&[]);
    drop(bench.manager.load("a.service", [("Service", "Type", "dbus")]).unwrap_err());
    bench.load("a.service", "");
    bench.manager.daemon_reload();
    bench.start("a.service").unwrap();
    assert_eq!(bench.sub("a.service"), "running");
}

#[test]
fn a_cycle_in_the_order_does_not_hang() {
    let mut bench = Bench::new(&[
        ("a.service", "Unit.Wants=b.service\nUnit.After=b.service"),
        ("b.service", "Unit.After=a.service"),
    ]);
    bench.start("a.service").unwrap();
    assert_eq!(
        (bench.sub("a.service"), bench.sub("b.service")),
        ("running".to_owned(), "running".to_owned())
    );
}

#[test]
fn a_timer_starts_its_unit_again_and_again() {
    let mut bench = Bench::new(&[
        ("tick.timer", "Timer.OnActiveSec=1\nTimer.OnUnitInactiveSec=5"),
        ("tick.service", "Service.Type=oneshot\nService.ExecStart=/t"),
    ]);
    bench.start("tick.timer").unwrap();
    assert_eq!(bench.sub("tick.timer"), "waiting");
    let effects = bench.manager.step("tick.timer", Input::Fired(Timer::Elapse(0)));
    bench.carry_out(effects);
    assert_eq!(bench.sub("tick.timer"), "elapsed");
    bench.ends("tick.service", Exit::Code(0));
    assert_eq!(bench.sub("tick.timer"), "waiting");
    let effects = bench.manager.step("tick.timer", Input::Fired(Timer::Elapse(1)));
    bench.carry_out(effects);
    assert_eq!(bench.sub("tick.service"), "start");
    bench.stop("tick.timer");
    let effects = bench.manager.step("tick.timer", Input::Fired(Timer::Elapse(1)));
    assert_eq!(effects, [], "what was disarmed does nothing");
}

#[test]
fn a_start_of_what_waits_for_its_restart_waits_with_it() {
    let mut bench = Bench::new(&[("a.service", "Service.Restart=always")]);
    bench.start("a.service").unwrap();
    bench.ends("a.service", Exit::Code(1));
    bench.trace.clear();
    bench.start("a.service").unwrap();
    assert_eq!((bench.sub("a.service"), bench.trace.len()), ("auto-restart".to_owned(), 0));
    let effects = bench.manager.step("a.service", Input::Fired(Timer::Restart));
    bench.carry_out(effects);
    bench.shows("run a.service /d, Start a.service Done");
}

#[test]
fn a_stop_during_a_start_takes_its_place() {
    let mut bench = Bench::new(&[("a.service", "Service.Type=oneshot\nService.ExecStart=/d")]);
    bench.start("a.service").unwrap();
    bench.stop("a.service");
    bench.shows("run a.service /d, Start a.service Canceled, end a.service, Stop a.service Done");
    let status = bench.manager.status("a.service").unwrap();
    assert_eq!(status.service.unwrap().outcome, Outcome::Signal, "a oneshot does not end well by a signal");
}

#[test]
fn all_of_it_can_be_written_down_and_read_back() {
    let mut bench = Bench::new(&[("a.service", ""), ("t.timer", "Timer.OnBootSec=1"), ("x.target", "")]);
    bench.start("a.service").unwrap();
    bench.start("t.timer").unwrap_or(());
    let text = serde_json::to_string(&bench.manager).unwrap();
    assert_eq!(serde_json::from_str::<Manager>(&text).unwrap(), bench.manager);
}

proptest! {
    #[test]
    fn whatever_is_asked_for_and_whatever_ends_all_can_be_stopped(
        events in proptest::collection::vec((0_u8..7, 0_usize..5), 0..40),
        stubborn: bool,
    ) {
        let names = ["a.service", "b.service", "c.service", "d.service", "e.target"];
        let mut bench = Bench::new(&[
            (names[0], "Unit.Requires=b.service\nUnit.After=b.service\nService.Restart=always"),
            (names[1], "Unit.Wants=c.service\nUnit.Before=c.service"),
            (names[2], "Unit.BindsTo=d.service\nUnit.Conflicts=e.target"),
            (names[3], "Unit.PartOf=a.service\nUnit.After=c.service"),
            (names[4], "Unit.Wants=a.service"),
        ]);
        bench.stubborn = stubborn;
        for (what, which) in events {
            let name = names[which];
            let effects = match what {
                0 | 1 => bench.manager.start(name),
                2 => bench.manager.stop(name),
                3 => bench.manager.restart(name),
                4 => {
                    if bench.alive.iter().any(|(unit, _)| unit == name) {
                        bench.ends(name, Exit::Code(1));
                    }
                    Ok(Vec::new())
                }
                5 => Ok(bench.manager.step(name, Input::Fired(Timer::State))),
                _ => {
                    bench.manager.daemon_reload();
                    Ok(bench.manager.step(name, Input::Fired(Timer::Restart)))
                }
            };
            bench.carry_out(effects.unwrap_or_default());
        }
        for name in names {
            bench.stop(name);
        }
        for _ in 0..8 {
            for name in names {
                let effects = bench.manager.step(name, Input::Fired(Timer::State));
                bench.carry_out(effects);
            }
        }
        for name in names {
            let status = bench.manager.status(name).unwrap();
            prop_assert!(matches!(status.active, ActiveState::Inactive | ActiveState::Failed), "{status:?}");
            prop_assert_eq!(status.job, None);
        }
        prop_assert!(bench.alive.is_empty());
    }
}
