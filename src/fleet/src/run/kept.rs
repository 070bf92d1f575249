//! The units of a machine where something other than systemd runs them: what is written down of them, what an agent finds that
//! starts again, and in which order that something is asked.
//!
//! A real machine and a simulated one differ in what runs units and in where is written ([`Bench`]); what is decided is here, so
//! that the one cannot adopt by other rules than the other is tested by.

use super::manager::{LoadedUnit, ManagerError, SystemdState, UnitManager};
use crate::unit::{UnitFile, UnitName, UnitOption};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::future::Future;

/// What the agent has put on a machine, as it lies on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// Its file.
    pub options: Vec<UnitOption>,
    /// It was started and has not been stopped since.
    pub is_started: bool,
}

/// All of it.
pub type Records = BTreeMap<UnitName, Record>;

/// What runs units, for one turn: nothing else happens to them meanwhile. What fails says why.
pub trait UnitRunner {
    /// Takes a unit's file, as section, name and value, and lets it count. A wrong file lies there all the same: its
    /// unit is shown as wrong, and its start fails.
    ///
    /// # Errors
    /// It cannot be written down.
    fn load(&mut self, unit: &str, options: Vec<(String, String, String)>) -> Result<(), String>;

    /// Forgets a file. A unit that still runs stays known until it does not.
    ///
    /// # Errors
    /// As of a load.
    fn unload(&mut self, unit: &str) -> Result<(), String>;

    /// Reads all files anew.
    ///
    /// # Errors
    /// As of a load.
    fn daemon_reload(&mut self) -> Result<(), String>;

    /// Begins to start a unit.
    ///
    /// # Errors
    /// Why that cannot be.
    fn start(&mut self, unit: &str) -> Result<(), String>;

    /// Begins to stop a unit.
    ///
    /// # Errors
    /// It is unknown.
    fn stop(&mut self, unit: &str) -> Result<(), String>;

    /// Forgets that a unit has failed, and how often it was started.
    ///
    /// # Errors
    /// It is unknown.
    fn reset_failed(&mut self, unit: &str) -> Result<(), String>;

    /// All that it knows, by name.
    fn list(&self) -> BTreeMap<String, SystemdState>;
}

/// What runs the units of a machine, and where is written down which of them are the fleet's. Cheap to clone.
pub trait Bench: Clone + Send + Sync + 'static {
    /// Does something in one turn.
    fn turn<T: Send + 'static>(
        &self,
        turn: impl FnOnce(&mut dyn UnitRunner) -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, String>> + Send;

    /// What is written down.
    fn records(&self) -> Records;

    /// Changes it, as a whole or not at all.
    ///
    /// # Errors
    /// It cannot be written down, and nothing has changed.
    fn change(&self, change: impl FnOnce(&mut Records)) -> Result<(), String>;
}

/// The manager of the units on a bench. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeptUnits<B>(pub B);

fn is_up(state: &SystemdState) -> bool {
    !matches!(state.active.as_str(), "inactive" | "failed")
}

fn is_file_gone(state: &SystemdState) -> bool {
    state.load == "not-found"
}

fn problem(doing: impl Into<String>) -> impl FnOnce(String) -> ManagerError {
    let doing = doing.into();
    move |problem| ManagerError { doing, problem }
}

impl<B: Bench> KeptUnits<B> {
    async fn turn<T: Send + 'static>(
        &self,
        doing: &str,
        turn: impl FnOnce(&mut dyn UnitRunner) -> Result<T, String> + Send + 'static,
    ) -> Result<T, ManagerError> {
        self.0.turn(turn).await.and_then(|done| done).map_err(problem(doing))
    }

    fn change(&self, doing: &str, change: impl FnOnce(&mut Records)) -> Result<(), ManagerError> {
        self.0.change(change).map_err(problem(doing))
    }

    /// Stops everything that the fleet has started here, and waits until it is down; how many units there are.
    ///
    /// # Errors
    /// As of a stop.
    pub async fn stop_all(&self, pause: impl AsyncFn()) -> Result<usize, ManagerError> {
        let names: Vec<UnitName> = self.0.records().into_keys().collect();
        for name in &names {
            self.stop(name).await?;
        }
        loop {
            let all = self.turn("list units", |runner| Ok(runner.list())).await?;
            if !names.iter().any(|name| all.get(name.as_str()).is_some_and(is_up)) {
                return Ok(names.len());
            }
            pause().await;
        }
    }
}

impl<B: Bench> UnitManager for KeptUnits<B> {
    // The record first: a unit that we know and the runner does not is loaded again; the other way round it would be
    // nobody's.
    async fn load(&self, name: &UnitName, file: &UnitFile) -> Result<(), ManagerError> {
        let doing = format!("load {name}");
        self.change(&doing, |records| {
            records.entry(name.clone()).or_default().options = file.options().to_vec();
        })?;
        let triples = file.options().iter().map(|option| {
            let UnitOption { section, name, .. } = option.clone();
            (section, name, option.value_in_one_line())
        });
        let (unit, triples) = (name.to_string(), triples.collect());
        self.turn(&doing, move |runner| runner.load(&unit, triples)).await
    }

    async fn unload(&self, name: &UnitName) -> Result<(), ManagerError> {
        let doing = format!("unload {name}");
        let unit = name.to_string();
        let gone = self.turn(&doing, move |runner| {
            if !runner.list().contains_key(&unit) {
                return Ok(());
            }
            runner.stop(&unit)?;
            runner.reset_failed(&unit)?;
            // One that is still on its way down stays known, as `not-found`, until it is.
            runner.unload(&unit)
        });
        gone.await?;
        self.change(&doing, |records| {
            records.remove(name);
        })
    }

    async fn reload(&self) -> Result<(), ManagerError> {
        self.turn("reload unit files", |runner| runner.daemon_reload()).await
    }

    async fn start(&self, name: &UnitName) -> Result<(), ManagerError> {
        let doing = format!("start {name}");
        let unit = name.to_string();
        let started = self.turn(&doing, move |runner| {
            // An order is no crash: a unit that was stopped and started often, for its machine was cut off again and again,
            // would meet its start limit, and nobody would start it any more.
            runner.reset_failed(&unit)?;
            runner.start(&unit)
        });
        started.await?;
        self.change(&doing, |records| {
            if let Some(known) = records.get_mut(name) {
                known.is_started = true;
            }
        })
    }

    async fn stop(&self, name: &UnitName) -> Result<(), ManagerError> {
        let doing = format!("stop {name}");
        self.change(&doing, |records| {
            if let Some(known) = records.get_mut(name) {
                known.is_started = false;
            }
        })?;
        let unit = name.to_string();
        let stopped =
            self.turn(
                &doing,
                move |runner| {
                    if runner.list().contains_key(&unit) { runner.stop(&unit) } else { Ok(()) }
                },
            );
        stopped.await
    }

    async fn loaded(&self) -> Result<BTreeMap<UnitName, LoadedUnit>, ManagerError> {
        let doing = "list units";
        let mut there = self.turn(doing, |runner| Ok(runner.list())).await?;
        there.retain(|_, state| !is_file_gone(state));
        // After a boot the runner knows nothing any more, and what was written down is of yesterday.
        self.change(doing, |records| records.retain(|name, _| there.contains_key(name.as_str())))?;
        let units = self.0.records().into_iter().filter_map(|(name, record)| {
            let state = there.get(name.as_str())?;
            // An agent that died between the start and its note has started it all the same.
            let is_started = record.is_started || is_up(state);
            match UnitFile::from_options(record.options) {
                Ok(file) => Some((name, LoadedUnit { file, is_started })),
                Err(error) => {
                    tracing::error!(unit = %name, %error, "what was written down of a unit cannot be read");
                    None
                }
            }
        });
        Ok(units.collect())
    }

    async fn states(&self) -> Result<BTreeMap<UnitName, SystemdState>, ManagerError> {
        let ours: Vec<UnitName> = self.0.records().into_keys().collect();
        let all = self.turn("list units", |runner| {
            let all = runner.list();
            // What failed on its way down is of no use to anybody: its file is gone.
            for (unit, _) in all.iter().filter(|(_, state)| is_file_gone(state) && state.active == "failed") {
                runner.reset_failed(unit)?;
                runner.unload(unit)?;
            }
            Ok(all)
        });
        let mut all = all.await?;
        Ok(ours.into_iter().filter_map(|name| all.remove(name.as_str()).map(|state| (name, state))).collect())
    }
}

#[cfg(test)]
#[path = "kept_tests.rs"]
mod tests;
