//! What an agent asks of its machine, as `seatrial fleetd` answers it, on a simulated one.

use super::host::{Host, Record};
use seatrial_fleet::run::{LoadedUnit, ManagerError, SystemdState, UnitManager};
use seatrial_fleet::unit::{UnitFile, UnitName};
use seatrial_service::{ActiveState, LoadState, UnitStatus};
use std::collections::BTreeMap;

/// The units of a simulated machine.
#[derive(Clone, Debug)]
pub(super) struct Units(pub(super) Host);

fn problem<E: std::fmt::Display>(doing: impl Into<String>) -> impl FnOnce(E) -> ManagerError {
    let doing = doing.into();
    move |error| ManagerError { doing, problem: error.to_string() }
}

fn is_up(status: &UnitStatus) -> bool {
    !matches!(status.active, ActiveState::Inactive | ActiveState::Failed)
}

impl UnitManager for Units {
    async fn load(&self, name: &UnitName, file: &UnitFile) -> Result<(), ManagerError> {
        self.0.with_records(|records| {
            let is_started = records.get(name).is_some_and(|known| known.is_started);
            records.insert(name.clone(), Record { file: file.clone(), is_started });
        });
        let options = file.options().iter();
        let triples =
            options.map(|option| (option.section.as_str(), option.name.as_str(), option.value.as_str()));
        // As systemd: a wrong file lies there all the same, and its start fails.
        let _ = self.0.with_manager(|manager| {
            let loaded = manager.load(name.as_str(), triples);
            manager.daemon_reload();
            loaded
        });
        Ok(())
    }

    async fn unload(&self, name: &UnitName) -> Result<(), ManagerError> {
        let doing = format!("unload {name}");
        if self.0.with_manager(|manager| manager.status(name.as_str()).is_some()) {
            self.0.ask(|manager| manager.stop(name.as_str())).map_err(problem(&doing))?;
            self.0.ask(|manager| manager.reset_failed(name.as_str())).map_err(problem(&doing))?;
            self.0.with_manager(|manager| manager.unload(name.as_str()));
        }
        self.0.with_records(|records| records.remove(name));
        Ok(())
    }

    async fn reload(&self) -> Result<(), ManagerError> {
        self.0.with_manager(|manager| manager.daemon_reload());
        Ok(())
    }

    async fn start(&self, name: &UnitName) -> Result<(), ManagerError> {
        let doing = format!("start {name}");
        self.0.ask(|manager| manager.reset_failed(name.as_str())).map_err(problem(&doing))?;
        self.0.ask(|manager| manager.start(name.as_str())).map_err(problem(doing))?;
        self.0.with_records(|records| {
            if let Some(known) = records.get_mut(name) {
                known.is_started = true;
            }
        });
        Ok(())
    }

    async fn stop(&self, name: &UnitName) -> Result<(), ManagerError> {
        let doing = format!("stop {name}");
        self.0.with_records(|records| {
            if let Some(known) = records.get_mut(name) {
                known.is_started = false;
            }
        });
        if self.0.with_manager(|manager| manager.status(name.as_str()).is_none()) {
            return Ok(());
        }
        self.0.ask(|manager| manager.stop(name.as_str())).map_err(problem(doing))
    }

    async fn loaded(&self) -> Result<BTreeMap<UnitName, LoadedUnit>, ManagerError> {
        let there: BTreeMap<String, UnitStatus> = self.0.with_manager(|manager| {
            let known = manager.list().filter(|status| status.load != LoadState::NotFound);
            known.map(|status| (status.name.clone(), status)).collect()
        });
        Ok(self.0.with_records(|records| {
            // After a boot nothing is known any more, and what was written down is of yesterday.
            records.retain(|name, _| there.contains_key(name.as_str()));
            let unit = |name: &UnitName, record: &Record| LoadedUnit {
                file: record.file.clone(),
                is_started: record.is_started || is_up(&there[name.as_str()]),
            };
            records.iter().map(|(name, record)| (name.clone(), unit(name, record))).collect()
        }))
    }

    async fn states(&self) -> Result<BTreeMap<UnitName, SystemdState>, ManagerError> {
        let all: BTreeMap<String, UnitStatus> = self.0.with_manager(|manager| {
            let all: Vec<UnitStatus> = manager.list().collect();
            for left in
                all.iter().filter(|u| u.load == LoadState::NotFound && u.active == ActiveState::Failed)
            {
                let _ = manager.reset_failed(&left.name);
                manager.unload(&left.name);
            }
            all.into_iter().map(|status| (status.name.clone(), status)).collect()
        });
        let ours: Vec<UnitName> = self.0.with_records(|records| records.keys().cloned().collect());
        let states = ours.into_iter().filter_map(|name| {
            let status = all.get(name.as_str())?;
            let (load, active) = (status.load.to_string(), status.active.to_string());
            Some((name, SystemdState { load, active, sub: status.sub.clone() }))
        });
        Ok(states.collect())
    }
}
