//! Units as real processes of this machine.
#![allow(clippy::disallowed_methods, reason = "tests on real processes, files and clocks")]

use seatrial_service::{ActiveState, Outcome, Signal, UnitStatus, Who};
use seatrial_service_real::{DriveError, Driver, Followed, Handle, Options, WAITING_BYTES_MAX, start};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Machines of the suite are busy; what should take a moment is given this long.
const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    folder: tempfile::TempDir,
    driver: Option<Handle>,
}

fn options(folder: &Path) -> Options {
    Options::new(folder.join("units"), vec![env!("CARGO_BIN_EXE_seatrial-unit-launch").into()])
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let driver = start(options(folder.path())).expect("a driver");
        Self { folder, driver: Some(driver) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn with<T: Send + 'static>(&self, work: impl FnOnce(&mut Driver) -> T + Send + 'static) -> T {
        self.driver.as_ref().expect("a driver").with_blocking(work).expect("it lives")
    }

    /// Loads a service: lines `Option=value` of `[Service]`, `@` stands for the test's folder.
    fn load(&self, name: &str, text: &str) {
        let text = text.replace('@', &self.folder.path().display().to_string());
        let split = |line: &str| {
            let (option, value) = line.trim().split_once('=').expect("an assignment");
            ("Service".to_owned(), option.to_owned(), value.to_owned())
        };
        let options: Vec<_> = text.lines().map(split).collect();
        let name = name.to_owned();
        self.with(move |driver| {
            drop(driver.load(&name, &options).expect("a good unit"));
            driver.daemon_reload().expect("it can be written down");
        });
    }

    fn start(&self, name: &str) {
        let name = name.to_owned();
        self.with(move |driver| driver.start(&name)).expect("it can be started");
    }

    fn stop(&self, name: &str) {
        let name = name.to_owned();
        self.with(move |driver| driver.stop(&name)).expect("it is known");
    }

    fn status(&self, name: &str) -> UnitStatus {
        let name = name.to_owned();
        self.with(move |driver| driver.status(&name)).expect("it is known")
    }

    fn outcome(&self, name: &str) -> Outcome {
        self.status(name).service.expect("a service").outcome
    }

    fn main_pid(&self, name: &str) -> u32 {
        self.status(name).service.expect("a service").main_pid.expect("a main process")
    }

    fn processes(&self, name: &str) -> Vec<u32> {
        let name = name.to_owned();
        self.with(move |driver| driver.processes(&name))
    }

    fn log(&self, name: &str) -> Vec<String> {
        let name = name.to_owned();
        self.with(move |driver| driver.logs(&name, 100))
    }

    #[track_caller]
    fn reaches(&self, name: &str, sub: &str) {
        let reached = eventually(|| self.status(name).sub == sub);
        assert!(reached, "{name} did not reach {sub}: {:?}\nlog: {:?}", self.status(name), self.log(name));
    }

    /// Another driver over the same folder, as after a restart of the program.
    fn another_driver(&mut self) {
        drop(self.driver.take());
        // The thread ends once it has seen that nobody asks any more; until then the folder is taken.
        let mut found = None;
        let begun = eventually(|| match start(options(self.folder.path())) {
            Ok(driver) => {
                found = Some(driver);
                true
            }
            Err(DriveError::Taken { .. }) => false,
            Err(error) => panic!("{error}"),
        });
        assert!(begun, "the folder stays taken");
        self.driver = found;
    }
}

impl Drop for Bench {
    /// No process of a test outlives it.
    fn drop(&mut self) {
        let Some(driver) = &self.driver else { return };
        let stop = |driver: &mut Driver| {
            for unit in driver.list() {
                for pid in driver.processes(&unit.name) {
                    if let Some(pid) = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")) {
                        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                    }
                }
            }
        };
        let _ = driver.with_blocking(stop);
    }
}

fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

fn lives(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_service_runs_writes_into_its_log_and_is_stopped() {
    let bench = Bench::new();
    bench.load("a.service", "ExecStart=/bin/sh -c 'echo out $0 $GREETING; echo err >&2; exec sleep 1000' %n\nEnvironment=GREETING=hello");
    bench.start("a.service");
    bench.reaches("a.service", "running");
    assert!(
        eventually(|| bench.log("a.service") == ["out a.service hello", "err"]),
        "{:?}",
        bench.log("a.service")
    );
    let pid = bench.main_pid("a.service");
    assert!(lives(pid));
    bench.stop("a.service");
    bench.reaches("a.service", "dead");
    assert!(!lives(pid));
    assert_eq!(bench.outcome("a.service"), Outcome::Success);
}

#[test]
fn a_process_that_ignores_the_signal_is_killed_after_the_timeout() {
    let bench = Bench::new();
    bench.load(
        "a.service",
        "ExecStart=/bin/sh -c 'trap \"\" TERM; echo ready; while :; do sleep 1; done'\nTimeoutStopSec=300ms",
    );
    bench.start("a.service");
    assert!(eventually(|| bench.log("a.service") == ["ready"]));
    let began = Instant::now();
    bench.stop("a.service");
    bench.reaches("a.service", "failed");
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    assert_eq!(bench.outcome("a.service"), Outcome::Timeout);
    assert!(bench.processes("a.service").is_empty());
}

#[test]
fn a_service_that_fails_is_restarted_until_its_limit() {
    let bench = Bench::new();
    bench.load(
        "a.service",
        "ExecStart=/bin/sh -c 'echo run; exit 3'\nRestart=on-failure\nRestartSec=20ms\nStartLimitBurst=3\nStartLimitInterval=100",
    );
    bench.start("a.service");
    bench.reaches("a.service", "failed");
    assert_eq!(bench.outcome("a.service"), Outcome::StartLimitHit);
    assert_eq!(bench.log("a.service"), ["run"; 3]);
}

#[test]
fn a_oneshot_runs_all_its_commands_and_environment_files_are_read() {
    let bench = Bench::new();
    std::fs::write(bench.path("env"), "WHO=\"the file\"\n").unwrap();
    bench.load(
        "a.service",
        "Type=oneshot\nEnvironment=WHO=nobody\nEnvironmentFile=@/env\nEnvironmentFile=-@/none\nExecStartPre=/bin/echo pre\n\
         ExecStart=/bin/echo one ${WHO}\nExecStart=-/bin/false\nExecStart=/bin/pwd\nWorkingDirectory=/tmp\n\
         ExecStopPost=/bin/sh -c 'echo post $SERVICE_RESULT'\nUMask=0027\nLimitNOFILE=123\n\
         ExecStart=/bin/sh -c 'umask; ulimit -n; readlink /proc/self/fd/0; echo $INVOCATION_ID | wc -c'",
    );
    bench.start("a.service");
    bench.reaches("a.service", "dead");
    let expected = ["pre", "one the file", "/tmp", "0027", "123", "/dev/null", "33", "post success"];
    assert!(eventually(|| bench.log("a.service") == expected), "{:?}", bench.log("a.service"));
}

#[test]
fn all_commands_of_a_run_share_its_number_and_another_run_has_another() {
    let bench = Bench::new();
    let say = "/bin/sh -c 'echo $INVOCATION_ID'";
    bench.load("a.service", &format!("Type=oneshot\nExecStart={say}\nExecStart={say}\nExecStopPost={say}"));
    for runs in 1..=2 {
        bench.start("a.service");
        assert!(eventually(|| bench.log("a.service").len() == 3 * runs), "{:?}", bench.log("a.service"));
        bench.reaches("a.service", "dead");
    }
    let lines = bench.log("a.service");
    assert!(
        lines[..3].iter().all(|line| *line == lines[0]) && lines[3..].iter().all(|line| *line == lines[3])
    );
    assert_ne!(lines[0], lines[3]);
}

#[test]
fn what_cannot_be_started_says_why() {
    let bench = Bench::new();
    for (name, text, status, word) in [
        ("a.service", "ExecStart=/no/such/program", 203, "/no/such/program"),
        ("b.service", "ExecStart=/bin/true\nWorkingDirectory=/no/such", 200, "/no/such"),
        ("c.service", "ExecStart=/bin/true\nUser=nobody-by-that-name", 217, "nobody-by-that-name"),
        ("d.service", "ExecStart=no-such-program-anywhere", 203, "/usr/bin"),
    ] {
        bench.load(name, text);
        bench.start(name);
        bench.reaches(name, "failed");
        let service = bench.status(name).service.unwrap();
        assert_eq!(service.main_exit, Some(seatrial_service::Exit::Code(status)), "{name}");
        assert!(
            service.trouble.as_deref().is_some_and(|trouble| trouble.contains(word)),
            "{:?}",
            service.trouble
        );
    }
    bench.load("e.service", "ExecStart=/bin/true\nEnvironmentFile=/no/such");
    bench.start("e.service");
    bench.reaches("e.service", "failed");
    assert_eq!(bench.outcome("e.service"), Outcome::Resources);
    let error = bench.with(|driver| driver.start("none.service")).unwrap_err();
    assert!(matches!(error, DriveError::Unit(_)), "{error}");
}

/// Children that stay, children in a session of their own, and orphans of a process that is gone.
#[test]
fn all_children_end_with_the_unit() {
    let bench = Bench::new();
    bench.load(
        "a.service",
        "ExecStart=/bin/sh -c 'sleep 1000 & setsid sleep 1001 & (setsid sh -c \"sleep 1002 & sleep 1003\" &) ; \
         setsid env -i sleep 1004 & echo ready; wait'\nTimeoutStopSec=5",
    );
    bench.start("a.service");
    assert!(eventually(|| bench.processes("a.service").len() >= 6), "{:?}", bench.processes("a.service"));
    let pids = bench.processes("a.service");
    bench.stop("a.service");
    bench.reaches("a.service", "dead");
    assert!(eventually(|| !pids.iter().any(|pid| lives(*pid))), "some of {pids:?} live");
}

#[test]
fn two_units_know_nothing_of_each_other() {
    let bench = Bench::new();
    for name in ["a.service", "b.service"] {
        bench.load(name, "ExecStart=/bin/sh -c 'sleep 1000 & wait'");
        bench.start(name);
    }
    assert!(
        eventually(|| bench.processes("a.service").len() == 2 && bench.processes("b.service").len() == 2)
    );
    let b = bench.processes("b.service");
    bench.with(|driver| driver.kill("a.service", Who::All, Signal::KILL)).unwrap();
    bench.reaches("a.service", "failed");
    assert_eq!(bench.outcome("a.service"), Outcome::Signal);
    assert_eq!(bench.processes("b.service"), b);
    assert_eq!(bench.status("b.service").active, ActiveState::Active);
}

#[test]
fn another_driver_finds_the_units_and_restarts_none_of_them() {
    let mut bench = Bench::new();
    bench.load("a.service", "ExecStart=/bin/sh -c 'while :; do echo tick; sleep 0.05; done'\nRestart=always\nExecStop=/bin/echo bye");
    bench.load("b.service", "ExecStart=/bin/sh -c 'sleep 1000 & wait'\nTimeoutStopSec=5");
    bench.load("c.service", "ExecStart=/bin/sh -c 'sleep 0.2; exit 3'\nRestart=on-failure\nRestartSec=100");
    for name in ["a.service", "b.service", "c.service"] {
        bench.start(name);
        bench.reaches(name, "running");
    }
    let before = (bench.main_pid("a.service"), bench.main_pid("b.service"));
    let children = bench.processes("b.service");
    bench.another_driver();
    assert_eq!((bench.main_pid("a.service"), bench.main_pid("b.service")), before);
    assert!(lives(before.0) && lives(before.1), "a restart of the driver restarts no unit");
    let ticks = bench.log("a.service").len();
    assert!(eventually(|| bench.log("a.service").len() > ticks), "its output still comes");
    // Whether it ended while nobody looked or not: it failed.
    bench.reaches("c.service", "auto-restart");
    for name in ["a.service", "b.service"] {
        bench.stop(name);
        bench.reaches(name, "dead");
    }
    assert!(bench.log("a.service").contains(&"bye".to_owned()));
    assert!(eventually(|| !children.iter().any(|pid| lives(*pid))));
}

/// Not a test by itself: the driver that the next test kills.
#[test]
fn a_driver_to_be_killed() {
    let Ok(folder) = std::env::var("SEATRIAL_TEST_FOLDER") else { return };
    let driver = start(options(Path::new(&folder))).expect("a driver");
    let triple = |option: &str, value: &str| ("Service".to_owned(), option.to_owned(), value.to_owned());
    let units = [
        ("a.service", "/bin/sh -c 'while :; do echo tick; sleep 0.05; done'"),
        ("b.service", "/bin/sh -c 'sleep 1000 & setsid sleep 1001 & wait'"),
        ("c.service", "/bin/sh -c 'sleep 1; exit 3'"),
    ];
    for (name, command) in units {
        let options =
            [triple("ExecStart", command), triple("Restart", "on-failure"), triple("RestartSec", "100")];
        driver
            .with_blocking(move |driver| {
                drop(driver.load(name, &options).expect("a good unit"));
                driver.start(name).expect("it can be started");
            })
            .expect("it lives");
    }
    std::fs::write(Path::new(&folder).join("ready"), "").expect("a file");
    std::thread::sleep(Duration::from_secs(1000));
}

#[test]
fn units_survive_the_kill_of_their_driver_and_the_next_one_has_them_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_driver_to_be_killed", "--nocapture"])
        .env("SEATRIAL_TEST_FOLDER", folder.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    assert!(eventually(|| folder.path().join("ready").exists()));
    child.kill().unwrap();
    child.wait().unwrap();
    let driver = start(options(folder.path())).expect("the lock died with its holder");
    let bench = Bench { folder, driver: Some(driver) };
    let pids = [bench.main_pid("a.service"), bench.main_pid("b.service")];
    assert!(pids.iter().all(|pid| lives(*pid)), "{pids:?}");
    assert_eq!(bench.status("b.service").active, ActiveState::Active);
    let ticks = bench.log("a.service").len();
    assert!(eventually(|| bench.log("a.service").len() > ticks), "its output still comes");
    bench.reaches("c.service", "auto-restart");
    assert!(eventually(|| bench.processes("b.service").len() == 3), "{:?}", bench.processes("b.service"));
    let children = bench.processes("b.service");
    for name in ["a.service", "b.service", "c.service"] {
        bench.stop(name);
        bench.reaches(name, "dead");
    }
    assert!(eventually(|| !children.iter().any(|pid| lives(*pid))));
}

#[test]
fn a_unit_whose_file_is_gone_is_stopped_also_by_another_driver() {
    let mut bench = Bench::new();
    bench.load("a.service", "ExecStart=/bin/sleep 1000");
    bench.start("a.service");
    let pid = bench.main_pid("a.service");
    bench.with(|driver| driver.unload("a.service")).unwrap();
    bench.another_driver();
    assert!(lives(pid));
    bench.stop("a.service");
    assert!(eventually(|| bench.with(|driver| driver.status("a.service")).is_none()), "it is forgotten");
    assert!(!lives(pid));
}

#[test]
fn a_daemon_is_found_by_its_file_and_watched() {
    let bench = Bench::new();
    bench.load(
        "a.service",
        "Type=forking\nPIDFile=@/pid\nExecStart=/bin/sh -c 'setsid sleep 1000 & sleep 0.2; echo $! > @/pid'",
    );
    bench.start("a.service");
    bench.reaches("a.service", "running");
    let pid = bench.main_pid("a.service");
    assert_eq!(std::fs::read_to_string(bench.path("pid")).unwrap().trim(), pid.to_string());
    bench.stop("a.service");
    bench.reaches("a.service", "dead");
    assert!(!lives(pid) && !bench.path("pid").exists());
}

#[test]
fn a_service_says_when_it_is_ready() {
    if !Path::new("/usr/bin/python3").exists() {
        return;
    }
    let bench = Bench::new();
    let program = "import os,socket,time\ns=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)\n\
                   s.connect(os.environ['NOTIFY_SOCKET'])\ntime.sleep(0.2)\ns.send(b'READY=1\\nSTATUS=serving')\ntime.sleep(1000)\n";
    std::fs::write(bench.path("p.py"), program).unwrap();
    bench.load("a.service", "Type=notify\nExecStart=/usr/bin/python3 @/p.py\nTimeoutStartSec=30");
    bench.start("a.service");
    assert_eq!(bench.status("a.service").sub, "start");
    bench.reaches("a.service", "running");
    assert_eq!(bench.status("a.service").service.unwrap().status_text.as_deref(), Some("serving"));
}

/// As on a full disk: what cannot be written down is not started, and can be stopped and started later.
#[test]
fn without_a_place_to_write_nothing_is_started_and_nothing_hangs() {
    let bench = Bench::new();
    bench.load("a.service", "ExecStart=/bin/sleep 1000");
    // A folder of that name is in the way of the new file, for whoever runs this test.
    let in_the_way = bench.path("units/units.new");
    std::fs::create_dir(&in_the_way).unwrap();
    assert!(bench.with(|driver| driver.start("a.service")).is_err());
    bench.reaches("a.service", "failed");
    assert_eq!(bench.outcome("a.service"), Outcome::Resources);
    std::fs::remove_dir(&in_the_way).unwrap();
    bench.start("a.service");
    bench.reaches("a.service", "running");
}

#[test]
fn a_hundred_units_start_and_stop_in_a_moment() {
    let bench = Bench::new();
    let names: Vec<String> = (0..100).map(|number| format!("u{number}.service")).collect();
    for name in &names {
        bench.load(name, "ExecStart=/bin/sleep 1000");
    }
    let began = Instant::now();
    for name in &names {
        bench.start(name);
    }
    let started = began.elapsed();
    let running =
        |sub: &'static str| bench.with(move |driver| driver.list().iter().filter(|u| u.sub == sub).count());
    assert_eq!(running("running"), 100);
    for name in &names {
        bench.stop(name);
    }
    assert!(eventually(|| running("dead") == 100));
    println!("100 units started in {started:?}, and were stopped by {:?}", began.elapsed());
}

#[test]
fn lines_are_followed_as_they_come() {
    let bench = Bench::new();
    bench.load(
        "a.service",
        "Type=oneshot\nExecStart=/bin/sh -c 'for i in 1 2 3; do echo $i; sleep 0.05; done'",
    );
    let mut follow = bench.with(|driver| driver.follow("a.service", 10));
    bench.start("a.service");
    let mut lines = Vec::new();
    assert!(eventually(|| {
        lines.extend(std::iter::from_fn(|| follow.try_next()));
        lines.len() == 3
    }));
    assert_eq!(lines, ["1", "2", "3"].map(|line| Followed::Line(line.to_owned())));
}

fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("it tells of us");
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("pages") * 4096
}

#[test]
fn a_reader_that_stops_reading_costs_little_and_holds_up_no_unit() {
    const BYTES: u64 = 100_000_000;
    let bench = Bench::new();
    let write = format!(
        "yes 0123456789012345678901234567890123456789012345678 | head -c {BYTES}; sleep 1; echo last"
    );
    bench.load("a.service", &format!("Type=oneshot\nTimeoutStartSec=60\nExecStart=/bin/sh -c '{write}'"));
    let mut follow = bench.with(|driver| driver.follow("a.service", 10));
    let (before, mut most, mut most_waiting) = (resident_bytes(), 0, 0);
    bench.start("a.service");
    let mut at_end = 0;
    assert!(eventually(|| {
        most = most.max(resident_bytes().saturating_sub(before));
        most_waiting = most_waiting.max(follow.waiting_bytes());
        at_end += usize::from(bench.status("a.service").sub == "dead");
        at_end > 0 && bench.log("a.service").last().is_some_and(|line| line.ends_with("last"))
    }));
    assert_eq!(bench.outcome("a.service"), Outcome::Success);
    assert!(most_waiting <= WAITING_BYTES_MAX, "{most_waiting} bytes waited");
    println!("{most} bytes more of memory, {most_waiting} bytes waiting, for a unit that wrote {BYTES}");
    assert!(most < 40_000_000, "{most} bytes of memory");
    // The reader is told what it missed, to the byte, and then has the newest.
    let (mut missing, mut seen, mut last) = (0, 0, String::new());
    while let Some(piece) = follow.try_next() {
        match piece {
            Followed::Line(line) => {
                seen += line.len() as u64 + 1;
                last = line;
            }
            Followed::LeftOut(left_out) => missing += left_out.bytes,
        }
    }
    assert!(last.ends_with("last"), "{last}");
    // What was written in the moments in which the log was emptied nobody knows.
    let lost = (BYTES + 5).saturating_sub(seen + missing);
    println!("{seen} bytes seen, {missing} known to be missing, {lost} lost");
    assert!(seen + missing <= BYTES + 5 && lost < BYTES / 100, "{seen} bytes seen, {missing} missing");
}

/// Only where the machine lets us make control groups.
#[test]
fn with_a_control_group_nobody_escapes() {
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];
    let name = format!("seatrial-test-{}", std::process::id());
    let made = roots.iter().map(|root| Path::new(root).join(&name)).find(|group| {
        std::fs::create_dir(group).is_ok()
            && (group.join("cgroup.procs").exists() || std::fs::remove_dir(group).is_err())
    });
    let Some(group) = made else { return };
    let folder = tempfile::tempdir().unwrap();
    let options = Options { control_groups: Some(group.clone()), ..options(folder.path()) };
    let bench = Bench { driver: Some(start(options).unwrap()), folder };
    // It leaves its session, its environment and its parent behind.
    bench.load(
        "a.service",
        "ExecStart=/bin/sh -c '(setsid env -i setsid sleep 1005 &) ; exec sleep 1006'\nTimeoutStopSec=5",
    );
    bench.start("a.service");
    let sleeps = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with("sleep"))
    };
    let both = |pids: &[u32]| pids.len() == 2 && pids.iter().all(sleeps);
    let found = eventually(|| both(&bench.processes("a.service")));
    assert!(found, "{:?}", bench.processes("a.service"));
    let pids = bench.processes("a.service");
    bench.stop("a.service");
    bench.reaches("a.service", "dead");
    assert!(eventually(|| !pids.iter().any(|pid| lives(*pid))));
    assert!(eventually(|| std::fs::remove_dir(&group).is_ok()), "the unit's own group is gone");
}
