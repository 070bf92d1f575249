//! The units of this machine as processes of this machine: what an agent asks for, carried out by `service-real`.

use seatrial_fleet::run::{LoadedUnit, ManagerError, SystemdState, UnitManager};
use seatrial_fleet::unit::{UnitFile, UnitName, UnitOption};
use seatrial_service::{ActiveState, LoadState, UnitStatus};
use seatrial_service_real::{DriveError, Handle};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the agent has put on this machine, as it lies on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    options: Vec<UnitOption>,
    is_started: bool,
}

type Records = BTreeMap<UnitName, Record>;

/// Runs units as processes.
#[derive(Clone)]
pub(crate) struct ProcessManager {
    pub(crate) handle: Handle,
    file: PathBuf,
    records: Arc<Mutex<Records>>,
}

fn read(file: &Path) -> Result<Records, String> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Records::new()),
        Err(error) => return Err(format!("{}: {error}", file.display())),
    };
    serde_json::from_str(&text).map_err(|error| {
        format!(
            "{}: {error}\nhint: move the file away; units that run are then no longer known to the fleet",
            file.display()
        )
    })
}

/// How many units were started and not stopped, as it is written down in `file`.
pub(super) fn started_in(file: &Path) -> Result<usize, String> {
    Ok(read(file)?.values().filter(|record| record.is_started).count())
}

/// As a whole or not at all. It is to outlive this process, not the machine: nothing is synced.
fn write(file: &Path, records: &Records) -> std::io::Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, serde_json::to_vec(records).map_err(std::io::Error::other)?)?;
    std::fs::rename(&new, file)
}

fn is_up(status: &UnitStatus) -> bool {
    !matches!(status.active, ActiveState::Inactive | ActiveState::Failed)
}

impl ProcessManager {
    /// Over the units of a driver; `file` is where is written down which of them are the fleet's.
    pub(crate) fn open(handle: Handle, file: PathBuf) -> Result<Self, String> {
        let records = Arc::new(Mutex::new(read(&file)?));
        Ok(Self { handle, file, records })
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        // A panic in between leaves a map as whole as before.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, doing: &str, change: impl FnOnce(&mut Records)) -> Result<(), ManagerError> {
        let mut records = self.records();
        let mut next = records.clone();
        change(&mut next);
        if next == *records {
            return Ok(());
        }
        let problem = |error| format!("cannot write {}: {error}", self.file.display());
        write(&self.file, &next)
            .map_err(|error| ManagerError { doing: doing.to_owned(), problem: problem(error) })?;
        *records = next;
        Ok(())
    }

    /// Stops everything that the fleet has started here, and waits until it is down.
    pub(crate) async fn stop_all(&self, pause: impl AsyncFn()) -> Result<usize, ManagerError> {
        let names: Vec<UnitName> = self.records().keys().cloned().collect();
        for name in &names {
            self.stop(name).await?;
        }
        loop {
            let all = self.handle.list().await.map_err(problem("list units"))?;
            let up = all.iter().filter(|unit| is_up(unit) && names.iter().any(|n| n.as_str() == unit.name));
            if up.count() == 0 {
                return Ok(names.len());
            }
            pause().await;
        }
    }
}

fn problem<E: std::fmt::Display>(doing: impl Into<String>) -> impl FnOnce(E) -> ManagerError {
    let doing = doing.into();
    move |error| ManagerError { doing, problem: error.to_string() }
}

impl UnitManager for ProcessManager {
    // The record first: a unit that we know and the driver does not is loaded again; the other way round it would be
    // nobody's.
    async fn load(&self, name: &UnitName, file: &UnitFile) -> Result<(), ManagerError> {
        let doing = format!("load {name}");
        self.change(&doing, |records| {
            let known = records.entry(name.clone()).or_default();
            known.options = file.options().to_vec();
        })?;
        let options = file.options().iter();
        let triples = options.map(|option| {
            let UnitOption { section, name, .. } = option.clone();
            (section, name, option.value_in_one_line())
        });
        match self.handle.load(name.as_str(), triples.collect()).await {
            Ok(warnings) => {
                for warning in warnings {
                    tracing::info!(unit = %name, %warning, "something in a unit file has no effect");
                }
                Ok(())
            }
            // As systemd: the file lies there, and the unit is shown with load state `error`. Its start fails.
            Err(DriveError::Unit(error)) => {
                tracing::warn!(unit = %name, %error, "a unit file is wrong");
                Ok(())
            }
            Err(error) => Err(problem(doing)(error)),
        }
    }

    async fn unload(&self, name: &UnitName) -> Result<(), ManagerError> {
        let doing = format!("unload {name}");
        let unit = name.clone();
        let done = self.handle.with(move |driver| {
            if driver.status(unit.as_str()).is_none() {
                return Ok(());
            }
            driver.stop(unit.as_str())?;
            driver.reset_failed(unit.as_str())?;
            // One that is still on its way down stays known, as `not-found`, until it is.
            driver.unload(unit.as_str())
        });
        done.await.and_then(|done| done).map_err(problem(&doing))?;
        self.change(&doing, |records| {
            records.remove(name);
        })
    }

    async fn reload(&self) -> Result<(), ManagerError> {
        let done = self.handle.with(|driver| driver.daemon_reload());
        done.await.and_then(|done| done).map_err(problem("reload unit files"))
    }

    async fn start(&self, name: &UnitName) -> Result<(), ManagerError> {
        let doing = format!("start {name}");
        let unit = name.clone();
        let done = self.handle.with(move |driver| {
            // An order is no crash: a unit that was stopped and started often, for its machine was cut off again and again,
            // would meet its start limit, and nobody would start it any more.
            driver.reset_failed(unit.as_str())?;
            driver.start(unit.as_str())
        });
        done.await.and_then(|done| done).map_err(problem(&doing))?;
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
        let unit = name.clone();
        let done = self.handle.with(move |driver| match driver.status(unit.as_str()) {
            Some(_) => driver.stop(unit.as_str()),
            None => Ok(()),
        });
        done.await.and_then(|done| done).map_err(problem(doing))
    }

    async fn loaded(&self) -> Result<BTreeMap<UnitName, LoadedUnit>, ManagerError> {
        let doing = "list units";
        let there = self.handle.list().await.map_err(problem(doing))?;
        let there: BTreeMap<&str, &UnitStatus> =
            there.iter().map(|status| (status.name.as_str(), status)).collect();
        let is_there = |status: &&&UnitStatus| status.load != LoadState::NotFound;
        // After a boot the driver knows nothing any more, and what was written down is of yesterday.
        self.change(doing, |records| {
            records.retain(|name, _| there.get(name.as_str()).filter(is_there).is_some());
        })?;
        let records = self.records().clone();
        let units = records.into_iter().filter_map(|(name, record)| {
            let status = there.get(name.as_str())?;
            // An agent that died between the start and its note has started it all the same.
            let is_started = record.is_started || is_up(status);
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
        let ours: Vec<UnitName> = self.records().keys().cloned().collect();
        let asked = self.handle.with(move |driver| {
            let all = driver.list();
            // What failed on its way down is of no use to anybody: its file is gone.
            for left in
                all.iter().filter(|u| u.load == LoadState::NotFound && u.active == ActiveState::Failed)
            {
                driver.reset_failed(&left.name)?;
                driver.unload(&left.name)?;
            }
            Ok::<_, DriveError>(all)
        });
        let all = asked.await.and_then(|all| all).map_err(problem("list units"))?;
        let of = |name: &UnitName| all.iter().find(|status| status.name == name.as_str());
        Ok(ours
            .into_iter()
            .filter_map(|name| {
                let status = of(&name)?;
                let (load, active) = (status.load.to_string(), status.active.to_string());
                Some((name, SystemdState { load, active, sub: status.sub.clone() }))
            })
            .collect())
    }
}
