//! What the agent asks of a machine, carried out by systemd.

use crate::SystemdError;
use crate::bus::{Bus, Link};
use crate::details::UnitDetails;
use crate::files::Files;
use crate::plan::{self, Call, Finding, Rows, Step};
use seatrial_fleet::run::{LoadedUnit, ManagerError, SystemdState, UnitManager};
use seatrial_fleet::unit::{UnitFile, UnitName};
use seatrial_world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a new file waits for what runs by the old one to be down. After that systemd applies the new one to the stop, as it
/// does whenever a file changes under a unit.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks at what goes down.
const LOOK: Duration = Duration::from_millis(50);

/// Where units are to run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// The bus on which systemd is heard; tried in order.
    pub addresses: Vec<String>,
    /// The folder of the unit files. It should not outlive a boot; if it does, nothing in it counts after one.
    pub units_directory: PathBuf,
    /// The machine's boot.
    pub boot_id: String,
}

/// Runs units by systemd. Cheap to clone; clones are the same machine.
pub struct SystemdManager<W: World>(Arc<Inner<W>>);

impl<W: World> Clone for SystemdManager<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Inner<W: World> {
    world: W,
    bus: Bus<W>,
    files: Files,
    boot_id: String,
    /// With which systemd we have settled what lies there.
    settled: tokio::sync::Mutex<Option<u64>>,
    /// Units that were to be unloaded and are still on their way down.
    leaving: Mutex<BTreeSet<UnitName>>,
}

fn told(doing: impl Into<String>) -> impl FnOnce(SystemdError) -> ManagerError {
    let doing = doing.into();
    move |error| ManagerError { doing, problem: error.problem() }
}

impl<W: World> SystemdManager<W> {
    /// Opens the folder, finds systemd, and settles what an earlier fleetd has left: that is how a unit which runs is known again.
    ///
    /// # Errors
    /// Where systemd is not heard, and where the folder cannot be had.
    pub async fn open(world: W, options: Options) -> Result<Self, SystemdError> {
        let Options { addresses, units_directory, boot_id } = options;
        let files = Files::open(&units_directory)?;
        let bus = Bus::new(world.clone(), addresses);
        let inner =
            Inner { world, bus, files, boot_id, settled: Default::default(), leaving: Mutex::default() };
        let manager = Self(Arc::new(inner));
        manager.link().await?;
        Ok(manager)
    }

    fn leaving(&self) -> MutexGuard<'_, BTreeSet<UnitName>> {
        self.0.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to a systemd that sees our files.
    async fn link(&self) -> Result<Link<W>, SystemdError> {
        let link = self.0.bus.link().await?;
        let mut settled = self.0.settled.lock().await;
        if *settled == Some(link.since) {
            return Ok(link);
        }
        let epoch = format!("{} {}", self.0.boot_id, link.since);
        let files = &self.0.files;
        let finding = match (files.epoch(), *settled) {
            (_, Some(_)) => Finding::Replaced,
            (Some(noted), None) if noted != epoch => Finding::Yesterday,
            // Files without a note are those of the original, which goes over to us.
            (_, None) => Finding::Same,
        };
        let names = files.names()?;
        let there = names.into_iter().filter_map(|name| {
            // One that cannot be read was not written by us; there is nothing in it to link.
            let file = files.read(&name)?;
            let (path, is_started) = (files.path(&name).display().to_string(), files.is_started(&name));
            Some((name, file, path, is_started))
        });
        let there: Vec<_> = there.collect();
        if !there.is_empty() {
            tracing::info!(units = there.len(), ?finding, "found units of an earlier time");
        }
        for step in plan::settle(finding, &there) {
            // One that systemd does not want any more must not keep us from all others.
            match self.step(&link, &step).await {
                Err(error @ SystemdError::Refused { .. }) => {
                    tracing::warn!(?step, error = %error.problem(), "systemd does not want what was found");
                }
                done => done?,
            }
        }
        files.note_epoch(&epoch)?;
        *settled = Some(link.since);
        Ok(link)
    }

    async fn step(&self, link: &Link<W>, step: &Step) -> Result<(), SystemdError> {
        let files = &self.0.files;
        match step {
            Step::Write(name, text) => files.write(name, text),
            Step::Remove(name) => files.remove(name),
            Step::NoteStarted(name) => files.note_started(name),
            Step::NoteStopped(name) => files.note_stopped(name),
            Step::Ask(call) => self.ask(link, call).await,
            Step::AskIfKnown(call) => match self.ask(link, call).await {
                Err(error) if error.is_unknown_unit() => Ok(()),
                done => done,
            },
        }
    }

    async fn ask(&self, link: &Link<W>, call: &Call) -> Result<(), SystemdError> {
        if let Call::StartUnit(name) = call {
            self.0.bus.jobs().expect(name);
        }
        let job = link.ask(call).await;
        if matches!(job, Err(SystemdError::Silent { .. })) {
            // Whoever is silent once may be gone for good; a new connection finds out.
            self.0.bus.drop_link().await;
        }
        if let (Call::StartUnit(name), Some(job)) = (call, job?) {
            self.0.bus.jobs().ordered(name, &job);
        }
        Ok(())
    }

    async fn carry_out(&self, link: &Link<W>, steps: Vec<Step>) -> Result<(), SystemdError> {
        for step in steps {
            self.step(link, &step).await?;
        }
        Ok(())
    }

    /// That systemd has the unit from our file, or from none.
    async fn check_ours(&self, link: &Link<W>, name: &UnitName) -> Result<(), SystemdError> {
        if name.is_template() {
            return Ok(());
        }
        match link.fragment(name.as_str()).await? {
            Some(path) if self.0.files.is_foreign(name, path.as_ref()) => {
                Err(SystemdError::Foreign { unit: name.to_string(), path })
            }
            _ => Ok(()),
        }
    }

    async fn rows<'a>(
        &self,
        link: &Link<W>,
        names: impl IntoIterator<Item = &'a UnitName>,
    ) -> Result<Rows, SystemdError> {
        let names: Vec<&str> =
            names.into_iter().filter(|name| !name.is_template()).map(UnitName::as_str).collect();
        let rows = link.rows(&names).await;
        if matches!(rows, Err(SystemdError::Silent { .. })) {
            self.0.bus.drop_link().await;
        }
        rows
    }

    async fn load_unit(&self, name: &UnitName, file: &UnitFile) -> Result<(), SystemdError> {
        plan::check_name(name)?;
        let link = self.link().await?;
        let patience = self.0.world.now() + STOP_PATIENCE;
        while self.leaving().contains(name) {
            let rows = self.rows(&link, [name]).await?;
            if plan::is_down(rows.get(name.as_str())) || self.0.world.now() >= patience {
                self.leaving().remove(name);
                break;
            }
            self.0.world.sleep(LOOK).await;
        }
        self.check_ours(&link, name).await?;
        for alias in plan::aliases(file) {
            if let Some(path) = link.fragment(alias).await?
                && self.0.files.is_foreign(name, path.as_ref())
            {
                return Err(SystemdError::Foreign { unit: alias.to_owned(), path });
            }
        }
        let path = self.0.files.path(name).display().to_string();
        let done = self.carry_out(&link, plan::load(name, file, path)).await;
        if matches!(done, Err(SystemdError::Refused { .. })) {
            // What systemd does not see must not lie there as if it did.
            let _ = self.forget(&link, name).await;
        }
        done
    }

    async fn unload_unit(&self, name: &UnitName) -> Result<(), SystemdError> {
        if self.0.files.read(name).is_none() && !self.0.files.path(name).exists() {
            return Ok(());
        }
        let link = self.link().await?;
        self.carry_out(&link, plan::stop(name)).await?;
        self.leaving().insert(name.clone());
        let rows = self.rows(&link, [name]).await?;
        if plan::is_down(rows.get(name.as_str())) {
            self.forget(&link, name).await?;
        }
        Ok(())
    }

    async fn forget(&self, link: &Link<W>, name: &UnitName) -> Result<(), SystemdError> {
        for step in plan::forget(name) {
            // What systemd will not do must not keep the file there, and everybody from knowing how the others do.
            match self.step(link, &step).await {
                Err(error @ SystemdError::Refused { .. }) => {
                    tracing::warn!(unit = %name, error = %error.problem(), "systemd does not let go of a unit");
                }
                done => done?,
            }
        }
        self.0.bus.jobs().forget(name.as_str());
        self.leaving().remove(name);
        Ok(())
    }

    async fn start_unit(&self, name: &UnitName) -> Result<(), SystemdError> {
        let link = self.link().await?;
        self.check_ours(&link, name).await?;
        self.carry_out(&link, plan::start(name)).await
    }

    async fn stop_unit(&self, name: &UnitName) -> Result<(), SystemdError> {
        let link = self.link().await?;
        self.carry_out(&link, plan::stop(name)).await
    }

    async fn loaded_units(&self) -> Result<BTreeMap<UnitName, LoadedUnit>, SystemdError> {
        let link = self.link().await?;
        let files = &self.0.files;
        let names = files.names()?;
        let rows = self.rows(&link, &names).await?;
        let leaving = self.leaving().clone();
        let units = names.into_iter().filter(|name| !leaving.contains(name)).filter_map(|name| {
            let is_started = plan::is_started(files.is_started(&name), rows.get(name.as_str()));
            Some((name.clone(), LoadedUnit { file: files.read(&name)?, is_started }))
        });
        Ok(units.collect())
    }

    async fn unit_states(&self) -> Result<BTreeMap<UnitName, SystemdState>, SystemdError> {
        let link = self.link().await?;
        let names = self.0.files.names()?;
        let mut rows = self.rows(&link, &names).await?;
        let leaving = self.leaving().clone();
        let gone = plan::gone(&leaving, &rows);
        if !gone.is_empty() {
            for name in gone {
                self.forget(&link, name).await?;
            }
            self.ask(&link, &Call::Reload).await?;
        }
        let staying = names.into_iter().filter(|name| !leaving.contains(name));
        Ok(staying.filter_map(|name| Some((name.clone(), rows.remove(name.as_str())?))).collect())
    }

    /// Stops everything that the fleet has started here, and waits until it is down. The number of units there are.
    ///
    /// # Errors
    /// Where systemd cannot be asked.
    pub async fn stop_all(&self) -> Result<usize, ManagerError> {
        let doing = || told("stop all units");
        let names = self.0.files.names().map_err(doing())?;
        for name in &names {
            self.stop(name).await?;
        }
        loop {
            let link = self.link().await.map_err(doing())?;
            let rows = self.rows(&link, &names).await.map_err(doing())?;
            if rows.values().all(|state| plan::is_down(Some(state))) {
                return Ok(names.len());
            }
            self.0.world.sleep(LOOK).await;
        }
    }

    /// The units that lie on this machine.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn names(&self) -> Result<Vec<UnitName>, SystemdError> {
        self.0.files.names()
    }

    /// What systemd says of a unit; nothing where it is not one of the fleet's here.
    ///
    /// # Errors
    /// Where systemd cannot be asked.
    pub async fn details(&self, name: &UnitName) -> Result<Option<UnitDetails>, SystemdError> {
        if !self.0.files.path(name).exists() || name.is_template() {
            return Ok(None);
        }
        let link = self.link().await?;
        let (unit, service, processes) = link.look(name.as_str()).await?;
        let job = self.0.bus.jobs().failure(name.as_str()).map(ToString::to_string);
        let job = job.map(|result| format!("its start ended with {result}"));
        Ok(Some(UnitDetails::of(&unit, &service, job, processes)))
    }
}

impl<W: World> UnitManager for SystemdManager<W> {
    async fn load(&self, name: &UnitName, file: &UnitFile) -> Result<(), ManagerError> {
        self.load_unit(name, file).await.map_err(told(format!("load {name}")))
    }

    async fn unload(&self, name: &UnitName) -> Result<(), ManagerError> {
        self.unload_unit(name).await.map_err(told(format!("unload {name}")))
    }

    async fn reload(&self) -> Result<(), ManagerError> {
        let reloaded = async {
            let link = self.link().await?;
            self.ask(&link, &Call::Reload).await
        };
        reloaded.await.map_err(told("reload unit files"))
    }

    async fn start(&self, name: &UnitName) -> Result<(), ManagerError> {
        self.start_unit(name).await.map_err(told(format!("start {name}")))
    }

    async fn stop(&self, name: &UnitName) -> Result<(), ManagerError> {
        self.stop_unit(name).await.map_err(told(format!("stop {name}")))
    }

    async fn loaded(&self) -> Result<BTreeMap<UnitName, LoadedUnit>, ManagerError> {
        self.loaded_units().await.map_err(told("list units"))
    }

    async fn states(&self) -> Result<BTreeMap<UnitName, SystemdState>, ManagerError> {
        self.unit_states().await.map_err(told("list units"))
    }
}
