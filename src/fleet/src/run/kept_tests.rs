//! Units on a bench of paper.

use super::*;
use std::sync::{Arc, Mutex};

/// What runs units here: it does what it is told at once, and takes it down.
#[derive(Debug, Default)]
struct Paper {
    units: BTreeMap<String, SystemdState>,
    orders: Vec<String>,
    records: Records,
    /// Nothing can be written down.
    is_full: bool,
}

#[derive(Clone, Debug, Default)]
struct Desk(Arc<Mutex<Paper>>);

fn state(load: &str, active: &str) -> SystemdState {
    SystemdState { load: load.to_owned(), active: active.to_owned(), sub: String::new() }
}

impl UnitRunner for Paper {
    fn load(&mut self, unit: &str, options: Vec<(String, String, String)>) -> Result<(), String> {
        self.orders.push(format!("load {unit} {options:?}"));
        self.units.entry(unit.to_owned()).or_insert_with(|| state("loaded", "inactive"));
        Ok(())
    }

    fn unload(&mut self, unit: &str) -> Result<(), String> {
        self.orders.push(format!("unload {unit}"));
        self.units.remove(unit);
        Ok(())
    }

    fn daemon_reload(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn start(&mut self, unit: &str) -> Result<(), String> {
        self.orders.push(format!("start {unit}"));
        let known = self.units.get_mut(unit).ok_or_else(|| format!("{unit} is unknown"))?;
        "active".clone_into(&mut known.active);
        Ok(())
    }

    fn stop(&mut self, unit: &str) -> Result<(), String> {
        self.orders.push(format!("stop {unit}"));
        let known = self.units.get_mut(unit).ok_or_else(|| format!("{unit} is unknown"))?;
        "inactive".clone_into(&mut known.active);
        Ok(())
    }

    fn reset_failed(&mut self, unit: &str) -> Result<(), String> {
        self.orders.push(format!("reset {unit}"));
        Ok(())
    }

    fn list(&self) -> BTreeMap<String, SystemdState> {
        self.units.clone()
    }
}

impl Bench for Desk {
    async fn turn<T: Send + 'static>(
        &self,
        turn: impl FnOnce(&mut dyn UnitRunner) -> T + Send + 'static,
    ) -> Result<T, String> {
        Ok(turn(&mut *self.0.lock().unwrap()))
    }

    fn records(&self) -> Records {
        self.0.lock().unwrap().records.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Records)) -> Result<(), String> {
        let mut paper = self.0.lock().unwrap();
        if paper.is_full {
            return Err("the disk is full".to_owned());
        }
        change(&mut paper.records);
        Ok(())
    }
}

fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

fn file() -> UnitFile {
    UnitFile::parse("[Service]\nExecStart=/bin/true a \\\n  b\n").unwrap()
}

/// Nothing on the desk has to be waited for.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(done) => done,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

fn orders(desk: &Desk) -> Vec<String> {
    std::mem::take(&mut desk.0.lock().unwrap().orders)
}

#[test]
fn orders_go_to_the_runner_in_the_order_that_makes_them_safe() {
    let desk = Desk::default();
    let units = KeptUnits(desk.clone());
    let a = name("a.service");
    now(units.load(&a, &file())).unwrap();
    assert_eq!(
        orders(&desk),
        [r#"load a.service [("Service", "ExecStart", "/bin/true a  b")]"#],
        "a value that goes on is one line to what runs it"
    );
    now(units.start(&a)).unwrap();
    assert_eq!(orders(&desk), ["reset a.service", "start a.service"], "an order is no crash");
    assert!(desk.records()[&a].is_started);
    now(units.load(&a, &file())).unwrap();
    assert!(desk.records()[&a].is_started, "another file does not stop it");
    orders(&desk);
    now(units.unload(&a)).unwrap();
    assert_eq!(orders(&desk), ["stop a.service", "reset a.service", "unload a.service"]);
    assert!(desk.records().is_empty());
    now(units.unload(&a)).unwrap();
    now(units.stop(&a)).unwrap();
    assert!(orders(&desk).is_empty(), "what is unknown is neither stopped nor forgotten");
    assert!(now(units.start(&a)).is_err());
}

#[test]
fn an_agent_that_starts_again_finds_what_is_there_and_nothing_else() {
    let desk = Desk::default();
    let record = |is_started| Record { options: file().options().to_vec(), is_started };
    let cases = [
        // What was written down, what is there, and what is found.
        ("runs", Some(true), Some(("loaded", "active")), Some(true)),
        ("crashed", Some(true), Some(("loaded", "failed")), Some(true)),
        ("stopped", Some(false), Some(("loaded", "inactive")), Some(false)),
        // It died between the start and its note.
        ("unnoted", Some(false), Some(("loaded", "activating")), Some(true)),
        ("undone", Some(false), Some(("loaded", "failed")), Some(false)),
        // It died on the way of taking it away; and before the machine booted.
        ("leaving", Some(true), Some(("not-found", "deactivating")), None),
        ("yesterday", Some(true), None, None),
        // Somebody else's.
        ("foreign", None, Some(("loaded", "active")), None),
    ];
    for (unit, noted, there, _) in cases {
        let unit = format!("{unit}.service");
        let mut paper = desk.0.lock().unwrap();
        if let Some(is_started) = noted {
            paper.records.insert(name(&unit), record(is_started));
        }
        if let Some((load, active)) = there {
            paper.units.insert(unit, state(load, active));
        }
    }
    let found = now(KeptUnits(desk.clone()).loaded()).unwrap();
    for (unit, _, _, want) in cases {
        let is_started = found.get(format!("{unit}.service").as_str()).map(|unit| unit.is_started);
        assert_eq!(is_started, want, "{unit}");
    }
    assert!(found.values().all(|unit| unit.file == file()));
    assert_eq!(desk.records().len(), found.len(), "what is not there any more is forgotten");
    assert!(orders(&desk).is_empty(), "nothing is started by looking");
}

#[test]
fn what_failed_on_its_way_down_is_forgotten_by_the_first_look() {
    let desk = Desk::default();
    for (unit, load, active) in [
        ("gone", "not-found", "failed"),
        ("leaving", "not-found", "deactivating"),
        ("broken", "loaded", "failed"),
    ] {
        let unit = format!("{unit}.service");
        desk.0.lock().unwrap().records.insert(name(&unit), Record::default());
        desk.0.lock().unwrap().units.insert(unit, state(load, active));
    }
    let seen = now(KeptUnits(desk.clone()).states()).unwrap();
    assert_eq!(seen.len(), 3, "it is shown once more");
    assert_eq!(orders(&desk), ["reset gone.service", "unload gone.service"]);
    assert_eq!(now(KeptUnits(desk).states()).unwrap().len(), 2);
}

#[test]
fn what_cannot_be_written_down_is_not_begun() {
    let desk = Desk::default();
    let units = KeptUnits(desk.clone());
    let a = name("a.service");
    now(units.load(&a, &file())).unwrap();
    now(units.start(&a)).unwrap();
    orders(&desk);
    desk.0.lock().unwrap().is_full = true;
    let error = now(units.stop(&a)).unwrap_err();
    assert!(error.to_string().starts_with("stop a.service failed: the disk is full\n"), "{error}");
    assert!(now(units.load(&name("b.service"), &file())).is_err());
    assert!(orders(&desk).is_empty());
    desk.0.lock().unwrap().is_full = false;
    assert_eq!(now(units.stop_all(async || panic!("nothing to wait for"))).unwrap(), 1);
    assert_eq!(desk.0.lock().unwrap().units["a.service"].active, "inactive");
}
