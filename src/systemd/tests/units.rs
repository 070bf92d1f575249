//! What an agent asks of a machine, against a systemd that is played and against the real one.
#![allow(clippy::disallowed_methods, reason = "tests with real sockets, files and clocks")]

mod support;

use seatrial_fleet::run::{SystemdState, UnitManager};
use seatrial_fleet::unit::{UnitFile, UnitName};
use seatrial_systemd::{Instance, Journal, Options, Surroundings, SystemdManager, addresses};
use seatrial_world_real::RealWorld;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::fake::FakeSystemd;
use support::real::RealSystemd;

/// Machines of the suite are busy; what should take a moment is given this long.
const PATIENCE: Duration = Duration::from_secs(20);

const STAYS: &str = "[Unit]\nDescription=Stays\n[Service]\nExecStart=/bin/sleep 1000\n";
const FAILS: &str = "[Service]\nExecStart=/bin/false\n";
const ENDS: &str = "[Service]\nType=oneshot\nExecStart=/bin/true\n";
const REMAINS: &str = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n";
const WRONG: &str = "[Service]\nRestart=always\n";

type Manager = SystemdManager<RealWorld>;

fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

fn file(text: &str) -> UnitFile {
    UnitFile::parse(text).unwrap()
}

/// A folder of units, and where its systemd is heard.
struct Bench {
    addresses: Vec<String>,
    units: tempfile::TempDir,
}

impl Bench {
    fn of(addresses: Vec<String>) -> Self {
        Self { addresses, units: tempfile::tempdir().unwrap() }
    }

    fn fake(fake: &FakeSystemd) -> Self {
        Self::of(vec![fake.address()])
    }

    fn real(real: &RealSystemd) -> Self {
        let dir = real.runtime_dir().display().to_string();
        let around = Surroundings { runtime_dir: Some(dir), ..Surroundings::default() };
        Self::of(addresses(Instance::User, None, &around).unwrap())
    }

    fn folder(&self) -> PathBuf {
        self.units.path().join("units")
    }

    async fn open(&self) -> Manager {
        self.try_open("boot").await.unwrap()
    }

    async fn try_open(&self, boot_id: &str) -> Result<Manager, seatrial_systemd::SystemdError> {
        let world = RealWorld::on(tokio::runtime::Handle::current());
        let (addresses, units_directory) = (self.addresses.clone(), self.folder());
        SystemdManager::open(world, Options { addresses, units_directory, boot_id: boot_id.into() }).await
    }
}

async fn put(manager: &Manager, unit: &str, text: &str) {
    manager.load(&name(unit), &file(text)).await.unwrap();
    manager.reload().await.unwrap();
}

async fn state(manager: &Manager, unit: &str) -> String {
    let states = manager.states().await.unwrap();
    let told = |state: &SystemdState| format!("{} {} {}", state.load, state.active, state.sub);
    states.get(&name(unit)).map_or_else(|| "-".to_owned(), told)
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until systemd answers again.
async fn heard(manager: &Manager) {
    let begun = Instant::now();
    while let Err(error) = manager.states().await {
        assert!(begun.elapsed() < PATIENCE, "systemd is not heard again: {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until(manager: &Manager, unit: &str, expected: &str) {
    let begun = Instant::now();
    loop {
        let now = state(manager, unit).await;
        if now == expected {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{unit} is {now} and not {expected}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A test against both.
macro_rules! with_both {
    ($($(#[$doc:meta])* async fn $name:ident($bench:ident) $body:block)*) => {
        mod played {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    let fake = FakeSystemd::start();
                    let bench = Bench::fake(&fake);
                    super::both::$name(&bench).await;
                }
            )*
        }
        mod real {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    let Some(real) = RealSystemd::shared() else { return };
                    let bench = Bench::real(real);
                    super::both::$name(&bench).await;
                }
            )*
        }
        mod both {
            use super::*;
            $($(#[$doc])* pub(super) async fn $name($bench: &Bench) $body)*
        }
    };
}

// Every test has units of its own names: the real systemd is one for all.
with_both! {
    async fn a_unit_is_loaded_started_stopped_and_unloaded(bench) {
        let manager = bench.open().await;
        assert_eq!(state(&manager, "plain.service").await, "-");
        put(&manager, "plain.service", STAYS).await;
        assert_eq!(state(&manager, "plain.service").await, "loaded inactive dead");
        manager.start(&name("plain.service")).await.unwrap();
        until(&manager, "plain.service", "loaded active running").await;
        let details = manager.details(&name("plain.service")).await.unwrap().unwrap();
        assert_eq!((details.description.as_str(), details.problem), ("Stays", None));
        assert_eq!(details.processes, [details.main_pid.unwrap()]);
        // Each may be repeated.
        manager.start(&name("plain.service")).await.unwrap();
        put(&manager, "plain.service", STAYS).await;
        assert_eq!(manager.details(&name("plain.service")).await.unwrap().unwrap().main_pid, details.main_pid);
        manager.stop(&name("plain.service")).await.unwrap();
        until(&manager, "plain.service", "loaded inactive dead").await;
        manager.stop(&name("plain.service")).await.unwrap();
        manager.unload(&name("plain.service")).await.unwrap();
        manager.reload().await.unwrap();
        assert_eq!(state(&manager, "plain.service").await, "-");
        assert!(!bench.folder().join("plain.service").exists());
        assert_eq!(manager.details(&name("plain.service")).await.unwrap(), None);
        manager.unload(&name("plain.service")).await.unwrap();
    }

    async fn a_unit_that_runs_is_stopped_before_its_file_is_taken_away(bench) {
        let manager = bench.open().await;
        put(&manager, "away.service", STAYS).await;
        manager.start(&name("away.service")).await.unwrap();
        until(&manager, "away.service", "loaded active running").await;
        manager.unload(&name("away.service")).await.unwrap();
        manager.reload().await.unwrap();
        eventually("its file is gone", async || {
            manager.states().await.unwrap();
            !bench.folder().join("away.service").exists()
        }).await;
        assert!(manager.loaded().await.unwrap().is_empty());
    }

    async fn a_unit_that_fails_says_so_and_may_be_started_again(bench) {
        let manager = bench.open().await;
        put(&manager, "fails.service", FAILS).await;
        for _ in 0..3 {
            manager.start(&name("fails.service")).await.unwrap();
            until(&manager, "fails.service", "loaded failed failed").await;
        }
        let details = manager.details(&name("fails.service")).await.unwrap().unwrap();
        assert_eq!(details.problem.as_deref(), Some("the service ended with the result exit-code"));
        assert_eq!(details.main_exit.as_deref(), Some("code=exited, status=1"));
        assert!(manager.loaded().await.unwrap()[&name("fails.service")].is_started);
        manager.unload(&name("fails.service")).await.unwrap();
        assert_eq!(state(&manager, "fails.service").await, "-");
    }

    async fn a_wrong_file_is_loaded_and_its_start_says_what_systemd_says(bench) {
        let manager = bench.open().await;
        put(&manager, "wrong.service", WRONG).await;
        assert_eq!(state(&manager, "wrong.service").await, "bad-setting inactive dead");
        let error = manager.start(&name("wrong.service")).await.unwrap_err().to_string();
        assert!(error.starts_with("start wrong.service failed: "), "{error}");
        assert!(error.contains("Unit wrong.service has a bad unit file setting."), "{error}");
        let details = manager.details(&name("wrong.service")).await.unwrap().unwrap();
        assert!(details.problem.unwrap().starts_with("Unit wrong.service has a bad unit file setting."));
        assert!(!manager.loaded().await.unwrap()[&name("wrong.service")].is_started);
        // A better file makes it well.
        manager.unload(&name("wrong.service")).await.unwrap();
        put(&manager, "wrong.service", STAYS).await;
        manager.start(&name("wrong.service")).await.unwrap();
        until(&manager, "wrong.service", "loaded active running").await;
        manager.unload(&name("wrong.service")).await.unwrap();
    }

    async fn a_oneshot_that_has_ended_counts_as_started_and_is_not_run_again(bench) {
        let manager = bench.open().await;
        for (unit, text, expected) in [
            ("ends.service", ENDS, "loaded inactive dead"),
            ("remains.service", REMAINS, "loaded active exited"),
        ] {
            put(&manager, unit, text).await;
            assert!(!manager.loaded().await.unwrap()[&name(unit)].is_started);
            manager.start(&name(unit)).await.unwrap();
            until(&manager, unit, expected).await;
            assert!(manager.loaded().await.unwrap()[&name(unit)].is_started);
        }
        drop(manager);
        let manager = bench.open().await;
        let loaded = manager.loaded().await.unwrap();
        assert!(loaded.values().all(|unit| unit.is_started) && loaded.len() == 2);
        manager.stop_all().await.unwrap();
        assert!(manager.loaded().await.unwrap().values().all(|unit| !unit.is_started));
    }

    async fn the_next_fleetd_finds_what_runs_and_from_which_file(bench) {
        let manager = bench.open().await;
        put(&manager, "found.service", STAYS).await;
        put(&manager, "still.service", STAYS).await;
        manager.start(&name("found.service")).await.unwrap();
        until(&manager, "found.service", "loaded active running").await;
        let pid = manager.details(&name("found.service")).await.unwrap().unwrap().main_pid;
        drop(manager);
        let manager = bench.open().await;
        let loaded = manager.loaded().await.unwrap();
        let told: Vec<_> = loaded.iter().map(|(name, unit)| (name.as_str(), unit.is_started)).collect();
        assert_eq!(told, [("found.service", true), ("still.service", false)]);
        assert_eq!(loaded[&name("found.service")].file.hash(), file(STAYS).hash());
        assert_eq!(manager.details(&name("found.service")).await.unwrap().unwrap().main_pid, pid);
        assert_eq!(manager.stop_all().await.unwrap(), 2);
        assert_eq!(state(&manager, "found.service").await, "loaded inactive dead");
    }

    async fn instances_of_a_template_are_units_of_their_own(bench) {
        let manager = bench.open().await;
        let text = "[Unit]\nDescription=Web\n[Service]\nExecStart=/bin/sh -c 'exec sleep 100%i'\n";
        put(&manager, "web@.service", text).await;
        for unit in ["web@1.service", "web@2.service"] {
            put(&manager, unit, text).await;
            manager.start(&name(unit)).await.unwrap();
            until(&manager, unit, "loaded active running").await;
        }
        manager.stop(&name("web@1.service")).await.unwrap();
        until(&manager, "web@1.service", "loaded inactive dead").await;
        assert_eq!(state(&manager, "web@2.service").await, "loaded active running");
        // A template is a file, and no unit.
        assert_eq!(state(&manager, "web@.service").await, "-");
        assert!(!manager.loaded().await.unwrap()[&name("web@.service")].is_started);
        for unit in ["web@1.service", "web@2.service", "web@.service"] {
            manager.unload(&name(unit)).await.unwrap();
        }
    }

    async fn names_with_escapes_and_odd_letters_are_taken_as_they_are(bench) {
        let manager = bench.open().await;
        let odd = ["a\\x2db.service", "a:b_c-d.e.service", "e@f\\x40g@h.service", &format!("{}.service", "n".repeat(247))];
        for unit in odd {
            put(&manager, unit, STAYS).await;
            manager.start(&name(unit)).await.unwrap();
            until(&manager, unit, "loaded active running").await;
        }
        drop(manager);
        let manager = bench.open().await;
        assert_eq!(manager.loaded().await.unwrap().len(), odd.len());
        for unit in odd {
            manager.unload(&name(unit)).await.unwrap();
        }
        eventually("all are gone", async || {
            manager.states().await.unwrap();
            manager.names().unwrap().is_empty()
        }).await;
    }

    async fn nine_and_twenty_units_are_started_and_stopped(bench) {
        let manager = bench.open().await;
        let units: Vec<UnitName> = (1..=29).map(|at| name(&format!("many@{at}.service"))).collect();
        for unit in &units {
            manager.load(unit, &file(STAYS)).await.unwrap();
        }
        manager.reload().await.unwrap();
        for unit in &units {
            manager.start(unit).await.unwrap();
        }
        eventually("all run", async || {
            let states = manager.states().await.unwrap();
            states.len() == 29 && states.values().all(|state| state.sub == "running")
        }).await;
        for unit in &units {
            manager.unload(unit).await.unwrap();
        }
        manager.reload().await.unwrap();
        eventually("all are gone", async || manager.states().await.unwrap().is_empty() && manager.names().unwrap().is_empty()).await;
    }

    async fn a_file_that_asks_for_links_gets_them_and_they_go_with_it(bench) {
        let manager = bench.open().await;
        let text = format!("{STAYS}[Install]\nWantedBy=linked.target\n");
        put(&manager, "linked.service", &text).await;
        manager.start(&name("linked.service")).await.unwrap();
        until(&manager, "linked.service", "loaded active running").await;
        manager.unload(&name("linked.service")).await.unwrap();
        eventually("it is gone", async || {
            manager.states().await.unwrap();
            manager.names().unwrap().is_empty()
        }).await;
        // Again, as if nothing had been.
        put(&manager, "linked.service", STAYS).await;
        assert_eq!(state(&manager, "linked.service").await, "loaded inactive dead");
        manager.unload(&name("linked.service")).await.unwrap();
    }

    async fn after_a_boot_nothing_counts_that_is_left(bench) {
        let manager = bench.open().await;
        put(&manager, "yesterday.service", STAYS).await;
        manager.start(&name("yesterday.service")).await.unwrap();
        manager.stop(&name("yesterday.service")).await.unwrap();
        until(&manager, "yesterday.service", "loaded inactive dead").await;
        drop(manager);
        let manager = bench.try_open("another boot").await.unwrap();
        assert!(manager.loaded().await.unwrap().is_empty());
        assert!(!bench.folder().join("yesterday.service").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_stays_until_its_unit_is_down_and_then_systemd_reads_again() {
    let fake = FakeSystemd::start();
    let bench = Bench::fake(&fake);
    let manager = bench.open().await;
    put(&manager, "slow.service", STAYS).await;
    manager.start(&name("slow.service")).await.unwrap();
    fake.stops_take(Duration::from_millis(600));
    manager.unload(&name("slow.service")).await.unwrap();
    manager.reload().await.unwrap();
    let there = || bench.folder().join("slow.service").exists();
    manager.states().await.unwrap();
    assert!(there(), "its file has gone while it was on its way down");
    // The agent does not see it any more.
    assert!(manager.loaded().await.unwrap().is_empty());
    assert_eq!(state(&manager, "slow.service").await, "-");
    eventually("its file is gone", async || {
        manager.states().await.unwrap();
        !there()
    })
    .await;
    assert_eq!(fake.calls().last().map(String::as_str), Some("Reload"));
    assert!(fake.links().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_waits_for_what_runs_by_the_old_one() {
    let fake = FakeSystemd::start();
    let bench = Bench::fake(&fake);
    let manager = bench.open().await;
    put(&manager, "next.service", STAYS).await;
    manager.start(&name("next.service")).await.unwrap();
    fake.stops_take(Duration::from_millis(400));
    let begun = Instant::now();
    manager.unload(&name("next.service")).await.unwrap();
    put(&manager, "next.service", &STAYS.replace("Stays", "Next")).await;
    assert!(begun.elapsed() >= Duration::from_millis(300), "after {:?}", begun.elapsed());
    manager.start(&name("next.service")).await.unwrap();
    until(&manager, "next.service", "loaded active running").await;
    assert_eq!(manager.details(&name("next.service")).await.unwrap().unwrap().description, "Next");
    assert_eq!(fake.starts("next.service"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_of_the_machine_is_not_touched() {
    let fake = FakeSystemd::start();
    let bench = Bench::fake(&fake);
    let manager = bench.open().await;
    let path = fake.has("sshd.service", STAYS);
    let error = manager.load(&name("sshd.service"), &file(STAYS)).await.unwrap_err();
    assert!(error.problem.contains(&path.display().to_string()), "{error}");
    // Nor by another name.
    let alias = file(&format!("{STAYS}[Install]\nAlias=sshd.service\n"));
    let error = manager.load(&name("mine.service"), &alias).await.unwrap_err();
    assert!(error.problem.contains("a unit sshd.service of its own"), "{error}");
    manager.unload(&name("sshd.service")).await.unwrap();
    manager.stop_all().await.unwrap();
    let touched: Vec<String> =
        fake.calls().into_iter().filter(|call| call.ends_with(" sshd.service")).collect();
    assert_eq!(touched, Vec::<String>::new());
    assert!(manager.names().unwrap().is_empty() && fake.links().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_systemd_does_not_want_does_not_lie_there_as_if_it_did() {
    let fake = FakeSystemd::start();
    let bench = Bench::fake(&fake);
    let manager = bench.open().await;
    fake.refuse("LinkUnitFiles", "Permission denied");
    let error = manager.load(&name("a.service"), &file(STAYS)).await.unwrap_err();
    assert!(error.problem.contains("Permission denied"), "{error}");
    assert!(manager.loaded().await.unwrap().is_empty());
    fake.refuse_nothing();
    fake.refuse("EnableUnitFiles", "no such target");
    let text = format!("{STAYS}[Install]\nWantedBy=a.target\n");
    assert!(manager.load(&name("a.service"), &file(&text)).await.is_err());
    assert!(manager.names().unwrap().is_empty() && fake.links().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_systemd_does_not_let_go_of_keeps_nobody_from_knowing_how_others_do() {
    let fake = FakeSystemd::start();
    let bench = Bench::fake(&fake);
    let manager = bench.open().await;
    put(&manager, "stuck.service", STAYS).await;
    put(&manager, "other.service", STAYS).await;
    manager.start(&name("stuck.service")).await.unwrap();
    fake.stops_take(Duration::from_millis(200));
    manager.unload(&name("stuck.service")).await.unwrap();
    fake.refuse("DisableUnitFiles", "no");
    eventually("its file is gone", async || {
        assert_eq!(state(&manager, "other.service").await, "loaded inactive dead");
        manager.names().unwrap() == [name("other.service")]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_systemd_is_asked_for_all_of_its_units() {
    let fake = FakeSystemd::start();
    fake.be_without("ListUnitsByNames");
    fake.be_without("GetUnitProcesses");
    let bench = Bench::fake(&fake);
    let manager = bench.open().await;
    fake.has("other.service", STAYS);
    put(&manager, "old.service", STAYS).await;
    manager.start(&name("old.service")).await.unwrap();
    assert_eq!(state(&manager, "old.service").await, "loaded active running");
    let details = manager.details(&name("old.service")).await.unwrap().unwrap();
    assert_eq!((details.main_pid, details.processes), (Some(4242), vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_is_made_anew_and_units_run_on() {
    let mut fake = FakeSystemd::start();
    let bench = Bench::fake(&fake);
    let manager = bench.open().await;
    put(&manager, "on.service", STAYS).await;
    manager.start(&name("on.service")).await.unwrap();
    fake.hang_up();
    heard(&manager).await;
    assert_eq!(state(&manager, "on.service").await, "loaded active running");
    fake.go_away();
    eventually("the break is seen", async || manager.states().await.is_err()).await;
    let asked = Instant::now();
    let mut attempts = Vec::new();
    while asked.elapsed() < Duration::from_secs(1) {
        attempts.push(manager.start(&name("on.service")).await.unwrap_err().problem);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Pauses between attempts: who asks often does not knock often.
    let knocked = attempts.iter().filter(|problem| !problem.contains("the next attempt is in")).count();
    assert!((1..=7).contains(&knocked) && attempts.len() > 50, "{knocked} of {}", attempts.len());
    fake.listen();
    heard(&manager).await;
    assert_eq!(state(&manager, "on.service").await, "loaded active running");
    assert_eq!(fake.starts("on.service"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_systemd_that_is_silent_holds_nobody_up_for_long() {
    let fake = FakeSystemd::start();
    let bench = Bench::fake(&fake);
    let manager = bench.open().await;
    put(&manager, "quiet.service", STAYS).await;
    fake.be_silent("ListUnitsByNames", true);
    let begun = Instant::now();
    let error = manager.states().await.unwrap_err();
    assert!(error.problem.contains("has not answered within 3s"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    fake.be_silent("ListUnitsByNames", false);
    heard(&manager).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_systemd_in_its_place_gets_the_units_that_were_started() {
    let fake = FakeSystemd::start();
    let bench = Bench::fake(&fake);
    let manager = bench.open().await;
    put(&manager, "up.service", STAYS).await;
    put(&manager, "down.service", STAYS).await;
    manager.start(&name("up.service")).await.unwrap();
    fake.begin_anew();
    eventually("it runs again", async || {
        manager.states().await.is_ok() && state(&manager, "up.service").await == "loaded active running"
    })
    .await;
    assert_eq!(state(&manager, "down.service").await, "loaded inactive dead");
    assert_eq!((fake.starts("up.service"), fake.starts("down.service")), (2, 0));
    // A fleetd that begins later takes nothing over from before, for the cluster may have decided otherwise.
    fake.begin_anew();
    drop(manager);
    let manager = bench.open().await;
    assert!(manager.loaded().await.unwrap().is_empty());
    assert_eq!(fake.starts("up.service"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_any_two_steps_leaves_nothing_half_done() {
    let fake = FakeSystemd::start();
    let bench = Bench::fake(&fake);
    // A file that was written and not linked, and one that was linked and not read: both are, by who comes next.
    std::fs::create_dir_all(bench.folder()).unwrap();
    std::fs::write(bench.folder().join("written.service"), STAYS).unwrap();
    let manager = bench.open().await;
    assert_eq!(state(&manager, "written.service").await, "loaded inactive dead");
    manager.start(&name("written.service")).await.unwrap();
    manager.load(&name("written.service"), &file(&STAYS.replace("Stays", "Anew"))).await.unwrap();
    drop(manager);
    let manager = bench.open().await;
    let loaded = manager.loaded().await.unwrap();
    assert_eq!(loaded[&name("written.service")].file.description(), "Anew");
    assert_eq!(manager.details(&name("written.service")).await.unwrap().unwrap().description, "Anew");
    // A unit that was stopped to be unloaded, and whose file was not taken away.
    fake.stops_take(Duration::from_secs(60));
    manager.unload(&name("written.service")).await.unwrap();
    drop(manager);
    let manager = bench.open().await;
    let loaded = manager.loaded().await.unwrap();
    assert!(!loaded[&name("written.service")].is_started);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_is_heard_it_is_said_what_was_tried() {
    let dir = tempfile::tempdir().unwrap();
    let address = format!("unix:path={}", dir.path().join("bus").display());
    let bench = Bench::of(vec![address.clone(), "nonsense".to_owned()]);
    let error = bench.try_open("boot").await.err().unwrap().to_string();
    assert!(error.contains(&address) && error.contains("nonsense") && error.contains("hint:"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_fleetds_do_not_share_a_folder() {
    let fake = FakeSystemd::start();
    let bench = Bench::fake(&fake);
    let _manager = bench.open().await;
    let error = bench.try_open("boot").await.err().unwrap().to_string();
    assert!(error.contains("--units-directory"), "{error}");
}

/// Against the real one only: what is played would prove nothing.
fn real_bench() -> Option<(RealSystemd, Bench)> {
    let real = RealSystemd::start()?;
    let bench = Bench::real(&real);
    Some((real, bench))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_by_which_a_unit_is_stopped_are_those_of_its_file_even_when_it_is_taken_away() {
    let Some(real) = RealSystemd::shared() else { return };
    let bench = Bench::real(real);
    let manager = bench.open().await;
    let trace = bench.units.path().join("stopped");
    let text = format!("{STAYS}ExecStop=/bin/sleep 0.5\nExecStopPost=/bin/touch {}\n", trace.display());
    put(&manager, "last-words.service", &text).await;
    manager.start(&name("last-words.service")).await.unwrap();
    until(&manager, "last-words.service", "loaded active running").await;
    manager.unload(&name("last-words.service")).await.unwrap();
    manager.reload().await.unwrap();
    eventually("it has stopped by its own commands", async || {
        manager.states().await.unwrap();
        trace.exists()
    })
    .await;
    eventually("its file is gone", async || {
        manager.states().await.unwrap();
        manager.names().unwrap().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_to_start_do_not_count_for_the_limit_of_starts() {
    let Some(real) = RealSystemd::shared() else { return };
    let bench = Bench::real(real);
    let manager = bench.open().await;
    let trace = bench.units.path().join("runs");
    let text = format!("[Service]\nExecStart=/bin/sh -c 'echo run >>{}; exit 1'\n", trace.display());
    put(&manager, "often.service", &text).await;
    // systemd lets a unit crash five times in ten seconds.
    for runs in 1..=7 {
        manager.start(&name("often.service")).await.unwrap();
        eventually("it has run", async || {
            std::fs::read_to_string(&trace).is_ok_and(|text| text.lines().count() == runs)
        })
        .await;
        until(&manager, "often.service", "loaded failed failed").await;
    }
    manager.unload(&name("often.service")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bus_is_killed_and_comes_back_and_units_run_on() {
    let Some((real, bench)) = real_bench() else { return };
    let manager = bench.open().await;
    put(&manager, "on.service", STAYS).await;
    manager.start(&name("on.service")).await.unwrap();
    until(&manager, "on.service", "loaded active running").await;
    let pid = manager.details(&name("on.service")).await.unwrap().unwrap().main_pid;
    real.systemctl(&["kill", "--signal=KILL", "dbus.service"]);
    heard(&manager).await;
    until(&manager, "on.service", "loaded active running").await;
    // For a while there is none.
    real.systemctl(&["stop", "dbus.socket", "dbus.service"]);
    eventually("the loss is seen", async || manager.states().await.is_err()).await;
    let error = manager.start(&name("on.service")).await.unwrap_err();
    assert!(error.problem.contains("systemd is not heard"), "{error}");
    real.systemctl(&["start", "dbus.socket"]);
    heard(&manager).await;
    assert_eq!(manager.details(&name("on.service")).await.unwrap().unwrap().main_pid, pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_systemd_that_begins_anew_gets_its_units_back() {
    let Some((mut real, bench)) = real_bench() else { return };
    let manager = bench.open().await;
    put(&manager, "up.service", STAYS).await;
    put(&manager, "down.service", STAYS).await;
    manager.start(&name("up.service")).await.unwrap();
    until(&manager, "up.service", "loaded active running").await;
    tokio::task::block_in_place(|| real.begin_anew());
    eventually("it runs again", async || {
        manager.states().await.is_ok() && state(&manager, "up.service").await == "loaded active running"
    })
    .await;
    assert_eq!(state(&manager, "down.service").await, "loaded inactive dead");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reexecution_of_systemd_changes_nothing() {
    let Some((real, bench)) = real_bench() else { return };
    let manager = bench.open().await;
    put(&manager, "up.service", STAYS).await;
    manager.start(&name("up.service")).await.unwrap();
    until(&manager, "up.service", "loaded active running").await;
    let pid = manager.details(&name("up.service")).await.unwrap().unwrap().main_pid;
    real.systemctl(&["daemon-reexec"]);
    heard(&manager).await;
    assert_eq!(manager.details(&name("up.service")).await.unwrap().unwrap().main_pid, pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_fails_for_something_else_says_so() {
    let Some(real) = RealSystemd::shared() else { return };
    let bench = Bench::real(real);
    let manager = bench.open().await;
    put(&manager, "base.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n").await;
    let text = "[Unit]\nRequires=base.service\nAfter=base.service\n[Service]\nExecStart=/bin/sleep 1000\n";
    put(&manager, "above.service", text).await;
    manager.start(&name("above.service")).await.unwrap();
    let problem = async || manager.details(&name("above.service")).await.unwrap().unwrap().problem;
    eventually("the job has failed", async || problem().await.is_some()).await;
    assert_eq!(
        problem().await.unwrap(),
        "its start ended with dependency (something that it requires did not come up)"
    );
    for unit in ["above.service", "base.service"] {
        manager.unload(&name(unit)).await.unwrap();
    }
}

fn follows(path: &Path) -> Journal {
    Journal::by(path, Instance::User)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_unit_writes_is_in_the_journal_and_is_followed() {
    let Some(real) = RealSystemd::shared() else { return };
    let bench = Bench::real(real);
    let manager = bench.open().await;
    let unit = name("say\\x2dit@here.service");
    let text = "[Service]\nExecStart=/bin/sh -c 'echo first; while sleep 0.1; do echo again; done'\n";
    put(&manager, unit.as_str(), text).await;
    manager.start(&unit).await.unwrap();
    let journal = follows(&real.journalctl());
    eventually("it is in the journal", async || journal.read(&unit, 100).await.unwrap().contains("first"))
        .await;
    let mut follow = journal.follow(&unit, 1).unwrap();
    let mut heard = String::new();
    while heard.matches("again").count() < 5 {
        heard.push_str(&String::from_utf8(follow.next().await.unwrap()).unwrap());
    }
    // What systemd says of a wrong file is there as well, with the line.
    put(&manager, "lines.service", WRONG).await;
    let _ = manager.start(&name("lines.service")).await;
    let said = async || journal.read(&name("lines.service"), 10).await.unwrap();
    eventually("systemd has said it", async || said().await.contains("has no ExecStart=")).await;
    for unit in [unit.as_str(), "lines.service"] {
        manager.unload(&name(unit)).await.unwrap();
    }
}
