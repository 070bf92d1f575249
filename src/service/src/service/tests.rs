//! Runs of a service, its processes played by hand.

use super::*;
use crate::definition::{Kind, load};
use crate::notify::Notification;
use crate::signal::Signal;
use crate::specifier::Machine;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn config(options: &str) -> Arc<ServiceConfig> {
    let options = options.lines().map(|line| line.split_once('=').expect("option=value"));
    let triples = options.map(|(option, value)| ("Service", option.trim(), value));
    match load("test.service", triples, &Machine::default()).expect("a good unit").definition.kind {
        Kind::Service(config) => config,
        other => panic!("{other:?}"),
    }
}

/// A service and the processes it asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Bench {
    service: Service,
    alive: BTreeSet<Pid>,
    next_pid: Pid,
    armed: BTreeMap<Timer, Duration>,
    /// Whether processes end when they are told to.
    obedient: bool,
    trace: Vec<String>,
}

impl Bench {
    fn new(options: &str) -> Self {
        let service = Service::new(config(options));
        Self {
            service,
            alive: BTreeSet::new(),
            next_pid: 100,
            armed: BTreeMap::new(),
            obedient: true,
            trace: Vec::new(),
        }
    }

    fn give(&mut self, input: Input) -> &mut Self {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            if let Input::Fired(timer) = &input {
                self.armed.remove(timer);
            }
            for output in self.service.step(input) {
                self.carry_out(output, &mut inputs);
            }
        }
        assert_eq!(self.armed, self.service.armed, "the service knows which timers run");
        self
    }

    fn carry_out(&mut self, output: Output, inputs: &mut VecDeque<Input>) {
        match output {
            Output::Spawn(spawn) => {
                let pid = self.next_pid;
                self.next_pid += 1;
                self.alive.insert(pid);
                let argv = spawn.command.argv(&spawn.variables.iter().cloned().collect());
                self.trace.push(format!("run {pid} {}", argv.join(" ")));
                inputs.push_front(Input::Spawned(pid));
            }
            Output::Signal { target, signal } => {
                if signal != Signal::CONT {
                    self.trace.push(match &target {
                        Target::Process(pid) => format!("{signal} {pid}"),
                        Target::Group { except } => format!("{signal} group but {except:?}"),
                    });
                }
                let deadly = signal == Signal::KILL || (self.obedient && signal != Signal::CONT);
                let hit: Vec<Pid> = match target {
                    Target::Process(pid) => vec![pid],
                    Target::Group { except } => {
                        self.alive.iter().copied().filter(|pid| !except.contains(pid)).collect()
                    }
                };
                for pid in hit {
                    if deadly && self.alive.remove(&pid) {
                        inputs.push_back(Input::Exited { pid, exit: Exit::by(signal), left: self.left() });
                    }
                }
            }
            Output::Arm { timer, after } => drop(self.armed.insert(timer, after)),
            Output::ArmSinceBoot { .. } => panic!("a service does not count from the boot"),
            Output::Disarm(timer) => assert!(self.armed.remove(&timer).is_some(), "{timer:?} was not armed"),
            Output::WatchPidFile(path) => self.trace.push(format!("watch {path}")),
            Output::RemovePidFile(path) => self.trace.push(format!("remove {path}")),
            Output::State(sub) => self.trace.push(sub.to_string()),
        }
    }

    fn left(&self) -> Left {
        match self.alive.len() {
            0 => Left::Nobody,
            1 => Left::One(*self.alive.first().expect("one")),
            _ => Left::Many,
        }
    }

    /// A process ends by itself.
    fn ends(&mut self, pid: Pid, exit: Exit) -> &mut Self {
        assert!(self.alive.remove(&pid), "{pid} does not live");
        let left = self.left();
        self.give(Input::Exited { pid, exit, left })
    }

    fn fires(&mut self, timer: Timer) -> &mut Self {
        assert!(self.armed.contains_key(&timer), "{timer:?} is not armed in {}", self.service.sub());
        self.give(Input::Fired(timer))
    }

    /// A child of one of the processes, which the service knows nothing of.
    fn forks(&mut self) -> Pid {
        self.next_pid += 1;
        self.alive.insert(self.next_pid - 1);
        self.next_pid - 1
    }

    #[track_caller]
    fn shows(&mut self, expected: &str) -> &mut Self {
        let trace = std::mem::take(&mut self.trace).join(", ");
        assert_eq!(trace, expected);
        self
    }

    #[track_caller]
    fn is(&mut self, sub: SubState, outcome: Outcome) -> &mut Self {
        assert_eq!((self.service.sub(), self.service.outcome()), (sub, outcome));
        self
    }
}

const OK: Exit = Exit::Code(0);

#[test]
fn a_simple_service_runs_and_is_stopped_by_its_signal() {
    let mut bench = Bench::new("ExecStart=/d");
    bench.give(Input::Start).shows("start, run 100 /d, running").is(SubState::Running, Outcome::Success);
    bench.give(Input::Stop).shows("TERM 100, TERM group but [100], stop-sigterm, dead");
    bench.is(SubState::Dead, Outcome::Success);
}

#[test]
fn every_command_has_its_turn() {
    let mut bench = Bench::new(
        "ExecCondition=/c\nExecStartPre=/p1\nExecStartPre=/p2\nExecStart=/d\nExecStartPost=/q\n\
         ExecStop=/s $MAINPID\nExecStopPost=/t $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS",
    );
    bench.give(Input::Start).shows("condition, run 100 /c");
    bench.ends(100, OK).shows("start-pre, run 101 /p1");
    bench.ends(101, OK).shows("run 102 /p2");
    bench.ends(102, OK).shows("start, run 103 /d, start-post, run 104 /q");
    bench.ends(104, OK).shows("running");
    bench.give(Input::Stop).shows("stop, run 105 /s 103");
    bench
        .ends(105, OK)
        .shows("TERM 103, TERM group but [103], stop-sigterm, stop-post, run 106 /t success killed TERM");
    bench.ends(106, OK).shows("dead").is(SubState::Dead, Outcome::Success);
}

#[test]
fn a_condition_that_does_not_hold_is_no_failure() {
    let mut bench = Bench::new("ExecCondition=/c\nExecStart=/d\nRestart=always");
    bench.give(Input::Start).ends(100, Exit::Code(1)).is(SubState::Dead, Outcome::ExecCondition);
    bench.give(Input::Start).ends(101, Exit::Code(255)).is(SubState::AutoRestart, Outcome::ExitCode);
}

#[test]
fn a_process_that_ignores_the_signal_is_killed_after_the_timeout() {
    let mut bench = Bench::new("ExecStart=/d\nTimeoutStopSec=3");
    bench.obedient = false;
    bench.give(Input::Start).give(Input::Stop).is(SubState::StopSigterm, Outcome::Success);
    assert_eq!(bench.armed[&Timer::State], Duration::from_secs(3));
    bench.trace.clear();
    bench.fires(Timer::State).shows("KILL 100, KILL group but [100], stop-sigkill, failed");
    bench.is(SubState::Failed, Outcome::Timeout);
}

#[test]
fn a_restart_may_have_a_signal_of_its_own() {
    for (input, signal, end) in [
        (Input::Stop, "TERM", SubState::Dead),
        (Input::StopToRestart, "INT", SubState::Dead),
        (Input::Restart, "INT", SubState::Running),
    ] {
        let mut bench = Bench::new("ExecStart=/d\nRestartKillSignal=INT");
        bench.give(Input::Start).trace.clear();
        bench.give(input).is(end, Outcome::Success);
        assert_eq!(bench.trace[0], format!("{signal} 100"));
    }
}

#[test]
fn without_a_last_signal_what_does_not_listen_is_left_behind() {
    let mut bench = Bench::new("ExecStart=/d\nSendSIGKILL=no");
    bench.obedient = false;
    bench
        .give(Input::Start)
        .give(Input::Stop)
        .fires(Timer::State)
        .is(SubState::FinalSigterm, Outcome::Timeout);
    bench.fires(Timer::State).is(SubState::Failed, Outcome::Timeout);
    assert!(bench.service.has_processes(), "it is still there, and known to be");
}

#[test]
fn children_end_with_the_unit_as_its_mode_says() {
    for (mode, expected) in [
        ("control-group", "TERM 100, TERM group but [100], stop-sigterm, dead"),
        ("mixed", "TERM 100, stop-sigterm, KILL group but [], final-sigkill, dead"),
        ("process", "TERM 100, stop-sigterm, dead"),
        ("none", "dead"),
    ] {
        let mut bench = Bench::new(&format!("ExecStart=/d\nKillMode={mode}"));
        bench.give(Input::Start);
        bench.forks();
        bench.trace.clear();
        let trace = bench.give(Input::Stop).trace.join(", ");
        // Who ends first is not ours to say; the order of states is.
        assert!(
            trace.ends_with("dead") && trace.starts_with(expected.split(", dead").next().unwrap()),
            "{mode}: {trace}"
        );
        assert_eq!(bench.service.has_processes(), mode == "process" || mode == "none", "{mode}");
    }
}

#[test]
fn restart_policies_are_those_of_the_manual() {
    // systemd.service(5), table 2: "Exit causes and the effect of the Restart= settings".
    let clean = |b: &mut Bench| _ = b.ends(100, OK);
    let clean_signal = |b: &mut Bench| _ = b.ends(100, Exit::by(Signal(2)));
    let unclean = |b: &mut Bench| _ = b.ends(100, Exit::Code(1));
    let signal = |b: &mut Bench| _ = b.ends(100, Exit::by(Signal(11)));
    let timeout = |b: &mut Bench| _ = b.fires(Timer::RuntimeMax);
    let watchdog = |b: &mut Bench| _ = b.fires(Timer::Watchdog);
    type Cause<'a> = (&'a str, &'a dyn Fn(&mut Bench), [bool; 7]);
    let causes: [Cause<'_>; 6] = [
        ("clean exit", &clean, [false, true, false, false, false, false, true]),
        ("clean signal", &clean_signal, [false, true, false, false, false, false, true]),
        ("unclean exit", &unclean, [false, false, true, false, false, false, true]),
        ("unclean signal", &signal, [false, false, true, true, false, true, true]),
        ("timeout", &timeout, [false, false, true, true, false, false, true]),
        ("watchdog", &watchdog, [false, false, true, true, true, false, true]),
    ];
    for (cause, happens, expected) in causes {
        for (policy, expected) in crate::config::Restart::ALL.iter().zip(expected) {
            let mut bench =
                Bench::new(&format!("ExecStart=/d\nRestart={policy}\nWatchdogSec=5\nRuntimeMaxSec=60"));
            happens(bench.give(Input::Start));
            let restarts = bench.service.sub() == SubState::AutoRestart;
            assert_eq!(restarts, expected, "Restart={policy} after {cause}: {:?}", bench.service.status());
        }
    }
}

#[test]
fn statuses_overrule_the_policy() {
    let mut bench =
        Bench::new("ExecStart=/d\nRestart=on-failure\nRestartPreventExitStatus=3 SEGV\nSuccessExitStatus=4");
    bench.give(Input::Start).ends(100, Exit::Code(3)).is(SubState::Failed, Outcome::ExitCode);
    bench.give(Input::Start).ends(101, Exit::Code(4)).is(SubState::Dead, Outcome::Success);
    bench.give(Input::Start).ends(102, Exit::Code(5)).is(SubState::AutoRestart, Outcome::ExitCode);
    let mut bench = Bench::new("ExecStart=/d\nRestartForceExitStatus=0");
    bench.give(Input::Start).ends(100, OK).is(SubState::AutoRestart, Outcome::Success);
}

#[test]
fn a_service_that_fails_again_and_again_hits_the_limit_and_a_reset_takes_it_back() {
    let mut bench = Bench::new(
        "ExecStart=/d\nRestart=on-failure\nStartLimitBurst=3\nStartLimitInterval=10\nRestartSec=1",
    );
    bench.give(Input::Start);
    for pid in 100..103 {
        bench.ends(pid, Exit::Code(1)).is(SubState::AutoRestart, Outcome::ExitCode);
        assert_eq!(bench.armed[&Timer::Restart], Duration::from_secs(1));
        bench.fires(Timer::Restart);
    }
    bench.is(SubState::Failed, Outcome::StartLimitHit);
    bench.give(Input::Start).is(SubState::Failed, Outcome::StartLimitHit);
    bench.give(Input::ResetFailed).is(SubState::Dead, Outcome::Success);
    bench.give(Input::Start).is(SubState::Running, Outcome::Success);
    // Once the interval is over, starts are counted anew.
    bench
        .fires(Timer::StartLimit)
        .give(Input::Stop)
        .give(Input::Start)
        .is(SubState::Running, Outcome::Success);
}

#[test]
fn a_stop_that_was_asked_for_is_followed_by_no_restart() {
    let mut bench = Bench::new("ExecStart=/d\nRestart=always");
    bench.give(Input::Start).give(Input::Stop).is(SubState::Dead, Outcome::Success);
}

#[test]
fn a_stop_while_a_restart_is_awaited_calls_it_off() {
    let mut bench = Bench::new("ExecStart=/d\nRestart=always");
    bench.give(Input::Start).ends(100, Exit::Code(1)).give(Input::Stop).is(SubState::Dead, Outcome::Success);
    assert!(!bench.armed.contains_key(&Timer::Restart));
}

#[test]
fn a_start_during_a_stop_is_owed_and_a_second_stop_takes_it_back() {
    for (then, expected) in [(None, SubState::Running), (Some(Input::Stop), SubState::Dead)] {
        let mut bench = Bench::new("ExecStart=/d");
        bench.obedient = false;
        bench
            .give(Input::Start)
            .give(Input::Stop)
            .give(Input::Start)
            .is(SubState::StopSigterm, Outcome::Success);
        if let Some(then) = then {
            bench.give(then);
        }
        bench.ends(100, Exit::by(Signal::TERM)).is(expected, Outcome::Success);
    }
}

#[test]
fn a_oneshot_runs_its_commands_in_turn_and_may_stay_active() {
    let mut bench =
        Bench::new("Type=oneshot\nExecStart=/a ; /b\nExecStart=-/c\nRemainAfterExit=yes\nExecStop=/s");
    bench.give(Input::Start).shows("start, run 100 /a");
    assert!(!bench.armed.contains_key(&Timer::State), "a oneshot has all the time it wants");
    bench.ends(100, OK).shows("run 101 /b").ends(101, OK).shows("run 102 /c");
    bench.ends(102, Exit::Code(9)).shows("exited").is(SubState::Exited, Outcome::Success);
    bench.give(Input::Stop).shows("stop, run 103 /s").ends(103, OK).is(SubState::Dead, Outcome::Success);

    let mut bench = Bench::new("Type=oneshot\nExecStart=/a\nExecStart=/b");
    bench.give(Input::Start).ends(100, Exit::Code(1)).is(SubState::Failed, Outcome::ExitCode);
    // SIGTERM is a clean end of a daemon, not of a command.
    bench.give(Input::Start).ends(101, Exit::by(Signal::TERM)).is(SubState::Failed, Outcome::Signal);
    bench.give(Input::Start).ends(102, OK).ends(103, OK).is(SubState::Dead, Outcome::Success);
}

#[test]
fn a_forking_service_runs_once_its_file_names_the_daemon() {
    let mut bench = Bench::new("Type=forking\nExecStart=/d\nPIDFile=/run/d.pid");
    bench.give(Input::Start).shows("start, run 100 /d");
    let daemon = bench.forks();
    bench.ends(100, OK).shows("watch /run/d.pid").is(SubState::Start, Outcome::Success);
    bench.give(Input::PidFile("not yet".to_owned())).is(SubState::Start, Outcome::Success);
    bench.give(Input::PidFile(format!("{daemon}\n"))).is(SubState::Running, Outcome::Success);
    assert_eq!(bench.service.status().main_pid, Some(daemon));
    bench.ends(daemon, Exit::Code(1)).shows("running, failed, remove /run/d.pid");
    bench.is(SubState::Failed, Outcome::ExitCode);
}

#[test]
fn a_forking_service_without_a_file_is_guessed_or_watched_as_a_whole() {
    let mut bench = Bench::new("Type=forking\nExecStart=/d");
    bench.give(Input::Start);
    let daemon = bench.forks();
    bench.ends(100, OK).is(SubState::Running, Outcome::Success);
    assert_eq!(bench.service.status().main_pid, Some(daemon));

    let mut bench = Bench::new("Type=forking\nExecStart=/d");
    bench.give(Input::Start);
    let (one, other) = (bench.forks(), bench.forks());
    bench.ends(100, OK).ends(one, Exit::Code(1)).is(SubState::Running, Outcome::Success);
    bench.ends(other, Exit::Code(1)).is(SubState::Dead, Outcome::Success);

    let mut bench = Bench::new("Type=forking\nExecStart=/d\nPIDFile=/run/d.pid");
    bench.give(Input::Start).ends(100, OK).is(SubState::Failed, Outcome::Protocol);
}

fn says(bench: &mut Bench, from: Pid, text: &str) {
    bench.give(Input::Notify { from: Some(from), message: Notification::parse(text) });
}

#[test]
fn a_notifying_service_says_when_it_is_ready_reloads_and_stops() {
    let mut bench = Bench::new("Type=notify\nExecStart=/d");
    bench.give(Input::Start).is(SubState::Start, Outcome::Success);
    says(&mut bench, 999, "READY=1");
    bench.is(SubState::Start, Outcome::Success);
    says(&mut bench, 100, "READY=1\nSTATUS=hello");
    bench.is(SubState::Running, Outcome::Success);
    assert_eq!(bench.service.status().status_text.as_deref(), Some("hello"));
    says(&mut bench, 100, "RELOADING=1");
    bench.is(SubState::Reload, Outcome::Success);
    says(&mut bench, 100, "READY=1");
    bench.is(SubState::Running, Outcome::Success);
    says(&mut bench, 100, "STOPPING=1");
    bench.is(SubState::StopSigterm, Outcome::Success).ends(100, OK).is(SubState::Dead, Outcome::Success);

    let mut bench = Bench::new("Type=notify\nExecStart=/d");
    bench.give(Input::Start).ends(100, OK).is(SubState::Failed, Outcome::Protocol);
    bench.give(Input::Start).fires(Timer::State).is(SubState::Failed, Outcome::Timeout);
}

#[test]
fn a_silent_service_is_ended_by_its_watchdog_and_a_word_keeps_it() {
    let mut bench = Bench::new("Type=notify\nExecStart=/d\nWatchdogSec=5");
    bench.give(Input::Start);
    assert!(!bench.armed.contains_key(&Timer::Watchdog), "not before it is ready");
    says(&mut bench, 100, "READY=1");
    says(&mut bench, 100, "WATCHDOG=1");
    bench.trace.clear();
    bench.fires(Timer::Watchdog).shows("ABRT 100, ABRT group but [100], stop-watchdog, failed");
    bench.is(SubState::Failed, Outcome::Watchdog);
}

#[test]
fn a_reload_that_fails_or_hangs_leaves_the_service_running() {
    let mut bench = Bench::new("ExecStart=/d\nExecReload=/r $MAINPID");
    bench.give(Input::Start).give(Input::Reload).is(SubState::Reload, Outcome::Success);
    bench.ends(101, Exit::Code(1)).is(SubState::Running, Outcome::Success);
    assert_eq!(bench.service.status().reload_outcome, Outcome::ExitCode);
    bench.give(Input::Reload).fires(Timer::State).is(SubState::Running, Outcome::Success);
    assert_eq!(bench.service.status().reload_outcome, Outcome::Timeout);
    bench.give(Input::Reload).ends(100, OK).ends(103, OK).is(SubState::Dead, Outcome::Success);
}

#[test]
fn a_program_that_is_not_there_fails_with_systemds_status() {
    let mut service = Service::new(config("ExecStart=/no/such"));
    drop(service.step(Input::Start));
    let failure = SpawnFailure { status: Some(203), text: "/no/such: not found".to_owned() };
    drop(service.step(Input::SpawnFailed(failure)));
    let status = service.status();
    assert_eq!((status.sub, status.outcome), (SubState::Failed, Outcome::ExitCode));
    assert_eq!(
        (status.main_exit, status.trouble.as_deref()),
        (Some(Exit::Code(203)), Some("/no/such: not found"))
    );
}

#[test]
fn what_comes_while_a_process_is_asked_for_waits_for_the_answer() {
    let mut service = Service::new(config("ExecStart=/d"));
    drop(service.step(Input::Start));
    assert_eq!(service.step(Input::Stop), []);
    let outputs = service.step(Input::Spawned(7));
    assert!(
        outputs.iter().any(|o| matches!(o, Output::Signal { target: Target::Process(7), .. })),
        "{outputs:?}"
    );
    assert_eq!(service.sub(), SubState::StopSigterm);
}

#[test]
fn a_service_written_down_and_read_back_goes_on_where_it_was() {
    let mut bench = Bench::new("ExecStart=/d\nRuntimeMaxSec=60\nRestart=always");
    bench.give(Input::Start);
    let text = serde_json::to_string(&bench.service).unwrap();
    let mut back: Service = serde_json::from_str(&text).unwrap();
    assert_eq!(back, bench.service);
    let armed = |timer| move |o: &Output| matches!(o, Output::Arm { timer: t, .. } if *t == timer);
    let outputs = back.resume();
    assert!(outputs.iter().any(armed(Timer::RuntimeMax)) && outputs.iter().any(armed(Timer::StartLimit)));
    // Nobody can say how the process of another manager ended: that is not called a success.
    drop(back.step(Input::Exited { pid: 100, exit: Exit::Unknown, left: Left::Nobody }));
    assert_eq!((back.sub(), back.outcome()), (SubState::AutoRestart, Outcome::ExitCode));
}

/// Units that between them have every kind of command and way to end.
const UNITS: [&str; 8] = [
    "ExecStart=/d",
    "ExecStart=/d\nRestart=always\nExecStop=/s\nExecStopPost=/t\nStartLimitBurst=2\nWatchdogSec=5\nRuntimeMaxSec=9",
    "Type=oneshot\nExecStart=/a\nExecStart=-/b\nExecStartPre=/p\nExecStartPost=/q\nRemainAfterExit=yes\nRestart=on-failure",
    "Type=forking\nExecStart=/d\nPIDFile=/run/p\nExecReload=/r\nRestart=on-abnormal",
    "Type=forking\nExecStart=/d\nKillMode=mixed\nExecStop=/s",
    "Type=notify\nExecStart=/d\nExecReload=/r\nNotifyAccess=all\nWatchdogSec=5\nRestart=on-watchdog",
    "Type=exec\nExecStart=-/d\nKillMode=process\nSendSIGKILL=no\nExecCondition=/c",
    "ExecStart=/d\nKillMode=none\nExecStop=/s\nExecStopPost=-/t",
];

/// One thing that can happen to a bench, by number.
fn happens(bench: &mut Bench, what: u8, which: u8) {
    let pick = |set: &BTreeSet<Pid>| set.iter().nth(usize::from(which) % set.len().max(1)).copied();
    match what % 16 {
        0 => _ = bench.give(Input::Start),
        1 => _ = bench.give(Input::Stop),
        2 => _ = bench.give(Input::Restart),
        3 => _ = bench.give(Input::Reload),
        4..=6 => {
            let exit = [OK, Exit::Code(1), Exit::by(Signal(11)), Exit::Unknown][usize::from(which) % 4];
            if let Some(pid) = pick(&bench.alive) {
                bench.ends(pid, exit);
            }
        }
        7 | 8 => {
            let timers: Vec<Timer> = bench.armed.keys().copied().collect();
            if let Some(timer) = timers.get(usize::from(which) % timers.len().max(1)) {
                bench.fires(*timer);
            }
        }
        9 if bench.alive.is_empty() => {}
        9 => drop(bench.forks()),
        10 => {
            let texts =
                ["READY=1", "RELOADING=1", "STOPPING=1", "WATCHDOG=1", "WATCHDOG=trigger", "MAINPID=100"];
            let from = pick(&bench.alive);
            let message = Notification::parse(texts[usize::from(which) % texts.len()]);
            // The driver leaves out what is no living process of the unit.
            let message = Notification { main_pid: from.filter(|_| message.main_pid.is_some()), ..message };
            bench.give(Input::Notify { from, message });
        }
        11 => {
            if let Some(pid) = pick(&bench.alive) {
                bench.give(Input::PidFile(pid.to_string()));
            }
        }
        12 => _ = bench.give(Input::ResetFailed),
        13 => _ = bench.give(Input::Kill { who: Who::All, signal: Signal::KILL }),
        // What never should come, and may: it must not matter.
        14 => _ = bench.give(Input::Exited { pid: 1, exit: OK, left: Left::Many }),
        _ => _ = bench.give(Input::Spawned(55_555)),
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_invariants_hold(
        unit in 0..UNITS.len(),
        obedient: bool,
        events in proptest::collection::vec((0_u8..16, 0_u8..8), 0..60),
    ) {
        let mut bench = Bench::new(UNITS[unit]);
        bench.obedient = obedient;
        for (what, which) in events {
            happens(&mut bench, what, which);
        }
    }

    #[test]
    fn whatever_happened_a_stop_ends_within_its_timeouts(
        unit in 0..UNITS.len(),
        obedient: bool,
        events in proptest::collection::vec((0_u8..16, 0_u8..8), 0..40),
    ) {
        let mut bench = Bench::new(UNITS[unit]);
        bench.obedient = obedient;
        for (what, which) in events {
            happens(&mut bench, what, which);
        }
        bench.give(Input::Stop);
        // Commands on the way down hang; only time goes on. Each of stop, stop-sigterm, stop-sigkill, stop-post,
        // final-sigterm and final-sigkill may take its time once.
        let mut waited = Duration::ZERO;
        for _ in 0..6 {
            if bench.service.sub().is_over() {
                break;
            }
            waited += bench.armed[&Timer::State];
            bench.fires(Timer::State);
        }
        prop_assert!(bench.service.sub().is_over(), "{:?}", bench.service.status());
        prop_assert!(waited <= bench.service.config().timeout_stop.unwrap() * 6);
        if obedient && bench.service.config().kill.mode == crate::config::KillMode::ControlGroup {
            prop_assert!(bench.alive.is_empty(), "left behind: {:?}", bench.alive);
        }
    }
}

/// Every run of so many events from a small alphabet. How many states that reaches is asserted, so that a change of the
/// machine is noticed.
#[test]
fn all_short_runs_of_small_units_keep_the_invariants() {
    use std::hash::{DefaultHasher, Hash, Hasher};
    const EVENTS: usize = 6;
    // The first is what, the second which, of `happens`; where the second is not 0 the processes do not obey.
    let alphabet =
        [(0, 0), (1, 0), (1, 1), (2, 0), (3, 0), (4, 0), (4, 1), (7, 0), (7, 1), (9, 0), (10, 0), (11, 0)];
    let mut counts = Vec::new();
    for unit in UNITS {
        // By hash: a collision would only hide one state of very many.
        let mut seen = BTreeSet::new();
        let mut edge = vec![Bench::new(unit)];
        for _ in 0..EVENTS {
            let mut next = Vec::new();
            for (bench, (what, which)) in
                edge.iter().flat_map(|bench| alphabet.iter().map(move |event| (bench, *event)))
            {
                if what == 9 && bench.alive.len() > 1 {
                    continue;
                }
                let mut bench = bench.clone();
                bench.obedient = which == 0;
                happens(&mut bench, what, which);
                bench.trace.clear();
                let mut hasher = DefaultHasher::new();
                bench.hash(&mut hasher);
                if seen.insert(hasher.finish()) {
                    next.push(bench);
                }
            }
            edge = next;
        }
        counts.push(seen.len());
    }
    assert_eq!(counts, [367, 2602, 1090, 866, 850, 1095, 1162, 1029]);
}
