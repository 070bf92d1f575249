//! The units of this machine as processes of this machine: what an agent asks for, carried out by `service-real`.

use seatrial_fleet::run::{Bench, KeptUnits, Records, SystemdState, UnitRunner};
use seatrial_service::UnitStatus;
use seatrial_service_real::{DriveError, Driver, Handle};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The units of this machine as processes.
pub(crate) type ProcessManager = KeptUnits<Processes>;

/// What runs them, and the file in which is written down which of them are the fleet's.
#[derive(Clone)]
pub(crate) struct Processes {
    pub(super) handle: Handle,
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

/// Over the units of a driver; `file` is where is written down which of them are the fleet's.
pub(crate) fn open(handle: Handle, file: PathBuf) -> Result<ProcessManager, String> {
    let records = Arc::new(Mutex::new(read(&file)?));
    Ok(KeptUnits(Processes { handle, file, records }))
}

impl Processes {
    fn records(&self) -> MutexGuard<'_, Records> {
        // A panic in between leaves a map as whole as before.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bench for Processes {
    async fn turn<T: Send + 'static>(
        &self,
        turn: impl FnOnce(&mut dyn UnitRunner) -> T + Send + 'static,
    ) -> Result<T, String> {
        let done = self.handle.with(move |driver| turn(&mut Turn(driver)));
        done.await.map_err(|error| error.to_string())
    }

    fn records(&self) -> Records {
        self.records().clone()
    }

    fn change(&self, change: impl FnOnce(&mut Records)) -> Result<(), String> {
        let mut records = self.records();
        let mut next = records.clone();
        change(&mut next);
        if next == *records {
            return Ok(());
        }
        write(&self.file, &next).map_err(|error| format!("cannot write {}: {error}", self.file.display()))?;
        *records = next;
        Ok(())
    }
}

/// One turn of the driver.
struct Turn<'a>(&'a mut Driver);

fn why(done: Result<(), DriveError>) -> Result<(), String> {
    done.map_err(|error| error.to_string())
}

impl UnitRunner for Turn<'_> {
    fn load(&mut self, unit: &str, options: Vec<(String, String, String)>) -> Result<(), String> {
        match self.0.load(unit, &options) {
            Ok(warnings) => {
                for warning in warnings {
                    tracing::info!(unit, %warning, "something in a unit file has no effect");
                }
                self.daemon_reload()
            }
            Err(DriveError::Unit(error)) => {
                tracing::warn!(unit, %error, "a unit file is wrong");
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn unload(&mut self, unit: &str) -> Result<(), String> {
        why(self.0.unload(unit))
    }

    fn daemon_reload(&mut self) -> Result<(), String> {
        why(self.0.daemon_reload())
    }

    fn start(&mut self, unit: &str) -> Result<(), String> {
        why(self.0.start(unit))
    }

    fn stop(&mut self, unit: &str) -> Result<(), String> {
        why(self.0.stop(unit))
    }

    fn reset_failed(&mut self, unit: &str) -> Result<(), String> {
        why(self.0.reset_failed(unit))
    }

    fn list(&self) -> BTreeMap<String, SystemdState> {
        let state = |status: &UnitStatus| SystemdState {
            load: status.load.to_string(),
            active: status.active.to_string(),
            sub: status.sub.clone(),
        };
        self.0.list().iter().map(|status| (status.name.clone(), state(status))).collect()
    }
}
