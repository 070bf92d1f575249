//! A machine's units in memory, for tests and simulations: deterministic, and it remembers all that was done.

use crate::run::{LoadedUnit, ManagerError, SystemdState, UnitManager};
use crate::unit::{UnitFile, UnitName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Units that run as soon as they are started and go on until they are stopped. They outlive the agent. Cheap to clone;
/// clones are the same machine.
#[derive(Clone, Debug, Default)]
pub struct FakeManager(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    units: BTreeMap<UnitName, LoadedUnit>,
    /// Files that were written and not read yet.
    unread: BTreeSet<UnitName>,
    log: Vec<String>,
    broken: BTreeSet<String>,
    starts: BTreeMap<UnitName, u64>,
}

impl Inner {
    /// Takes down what is done; fails where it was told to.
    fn note(&mut self, doing: String) -> Result<(), ManagerError> {
        self.log.push(doing.clone());
        if self.broken.contains(&doing) {
            return Err(ManagerError { doing, problem: "told to fail".into() });
        }
        Ok(())
    }
}

impl FakeManager {
    fn inner<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this fails: `start web.service`, `load web.service`, `reload`.
    pub fn fail(&self, doing: &str) {
        self.inner(|inner| inner.broken.insert(doing.to_owned()));
    }

    /// Nothing fails any more.
    pub fn repair(&self) {
        self.inner(|inner| inner.broken.clear());
    }

    /// The machine boots: nothing is loaded any more.
    pub fn reboot(&self) {
        self.inner(|inner| {
            inner.units.clear();
            inner.unread.clear();
        });
    }

    /// The units that run.
    #[must_use]
    pub fn running(&self) -> BTreeSet<UnitName> {
        self.inner(|inner| {
            inner.units.iter().filter(|(_, unit)| unit.is_started).map(|(name, _)| name.clone()).collect()
        })
    }

    /// How often a unit went from standing to running.
    #[must_use]
    pub fn starts(&self, name: &UnitName) -> u64 {
        self.inner(|inner| inner.starts.get(name).copied().unwrap_or(0))
    }

    /// All orders, in order.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.inner(|inner| inner.log.clone())
    }
}

impl UnitManager for FakeManager {
    async fn load(&self, name: &UnitName, file: &UnitFile) -> Result<(), ManagerError> {
        self.inner(|inner| {
            inner.note(format!("load {name}"))?;
            if inner.units.get(name).is_none_or(|unit| unit.file != *file) {
                inner.units.insert(name.clone(), LoadedUnit { file: file.clone(), is_started: false });
                inner.unread.insert(name.clone());
            }
            Ok(())
        })
    }

    async fn unload(&self, name: &UnitName) -> Result<(), ManagerError> {
        self.inner(|inner| {
            inner.note(format!("unload {name}"))?;
            inner.units.remove(name);
            inner.unread.remove(name);
            Ok(())
        })
    }

    async fn reload(&self) -> Result<(), ManagerError> {
        self.inner(|inner| {
            inner.note("reload".to_owned())?;
            inner.unread.clear();
            Ok(())
        })
    }

    async fn start(&self, name: &UnitName) -> Result<(), ManagerError> {
        self.inner(|inner| {
            inner.note(format!("start {name}"))?;
            let error =
                |problem: &str| ManagerError { doing: format!("start {name}"), problem: problem.into() };
            if inner.unread.contains(name) {
                return Err(error("its file was not read yet"));
            }
            let unit = inner.units.get_mut(name).ok_or_else(|| error("it is not loaded"))?;
            if !std::mem::replace(&mut unit.is_started, true) {
                *inner.starts.entry(name.clone()).or_default() += 1;
            }
            Ok(())
        })
    }

    async fn stop(&self, name: &UnitName) -> Result<(), ManagerError> {
        self.inner(|inner| {
            inner.note(format!("stop {name}"))?;
            if let Some(unit) = inner.units.get_mut(name) {
                unit.is_started = false;
            }
            Ok(())
        })
    }

    async fn loaded(&self) -> Result<BTreeMap<UnitName, LoadedUnit>, ManagerError> {
        Ok(self.inner(|inner| inner.units.clone()))
    }

    async fn states(&self) -> Result<BTreeMap<UnitName, SystemdState>, ManagerError> {
        let state = |unit: &LoadedUnit| {
            let (active, sub) = if unit.is_started { ("active", "running") } else { ("inactive", "dead") };
            SystemdState { load: "loaded".into(), active: active.into(), sub: sub.into() }
        };
        Ok(self.inner(|inner| inner.units.iter().map(|(name, unit)| (name.clone(), state(unit))).collect()))
    }
}
