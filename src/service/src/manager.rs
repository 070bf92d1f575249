//! Many units, their order and their dependencies.

mod jobs;
#[cfg(test)]
mod tests;
mod view;

pub use view::UnitStatus;

use crate::config::UnitConfig;
use crate::definition::{Definition, Kind, load};
use crate::error::{UnitError, Warning};
use crate::io::{Input, Left, Output, Timer, Who};
use crate::name::{UnitName, UnitType};
use crate::service::Service;
use crate::signal::{Exit, Signal};
use crate::specifier::Machine;
use crate::state::{ActiveState, LoadState, SubState};
use crate::timer_unit::TimerUnit;
use seatrial_types::planted::{Planted, is_planted};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is being done about a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Verb {
    /// It is to run.
    Start,
    /// It is not to run.
    Stop,
    /// It is to stop, and then to run.
    Restart,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum JobResult {
    /// As wanted.
    Done,
    /// The unit failed.
    Failed,
    /// A unit that it requires did not come up.
    Dependency,
    /// Another job took its place.
    Canceled,
}

/// What the manager wants done or told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Effect {
    /// A unit's output, to be carried out; what comes of it goes to [`Manager::step`].
    Do {
        /// The unit.
        unit: String,
        /// What it wants.
        output: Output,
    },
    /// A job has ended.
    Job {
        /// The unit.
        unit: String,
        /// What was to be done.
        verb: Verb,
        /// What came of it.
        result: JobResult,
    },
    /// Something that nobody asked for just now went wrong: a timer could not start its unit.
    Trouble {
        /// The unit.
        unit: String,
        /// What went wrong.
        error: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
enum Body {
    Service(Box<Service>),
    Target { active: bool },
    Timer(TimerUnit),
    Foreign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
struct Job {
    verb: Verb,
    running: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
struct Unit {
    /// What it is taken for: order, dependencies, and what its next start uses.
    definition: Arc<Definition>,
    /// A newer file, until the next [`Manager::daemon_reload`].
    staged: Option<Arc<Definition>>,
    load: LoadState,
    /// Why the newest file cannot be read.
    error: Option<String>,
    warnings: Vec<Warning>,
    body: Body,
    job: Option<Job>,
}

impl Unit {
    fn new(definition: Arc<Definition>, warnings: Vec<Warning>) -> Self {
        let body = match &definition.kind {
            Kind::Service(config) => Body::Service(Box::new(Service::new(Arc::clone(config)))),
            Kind::Target => Body::Target { active: false },
            Kind::Timer(config) => Body::Timer(TimerUnit::new(Arc::clone(config))),
            Kind::Foreign(_) => Body::Foreign,
        };
        Self { definition, staged: None, load: LoadState::Loaded, error: None, warnings, body, job: None }
    }

    fn active(&self) -> ActiveState {
        match &self.body {
            Body::Service(service) => service.sub().active(),
            Body::Target { active: true } => ActiveState::Active,
            Body::Timer(timer) if timer.is_active() => ActiveState::Active,
            Body::Target { .. } | Body::Timer(_) | Body::Foreign => ActiveState::Inactive,
        }
    }

    /// Active, or on the way there.
    fn is_up(&self) -> bool {
        matches!(self.active(), ActiveState::Active | ActiveState::Reloading | ActiveState::Activating)
    }

    /// Nothing runs, and nothing will by itself.
    fn is_over(&self) -> bool {
        matches!(self.active(), ActiveState::Inactive | ActiveState::Failed)
    }

    fn config(&self) -> &UnitConfig {
        &self.definition.unit
    }

    /// Takes over what the file says by now, where nothing runs.
    fn refresh(&mut self) {
        match (&mut self.body, &self.definition.kind) {
            (Body::Service(service), Kind::Service(config))
                if service.sub().is_over() && service.config() != config =>
            {
                service.redefine(Arc::clone(config));
            }
            (Body::Timer(timer), Kind::Timer(config)) if !timer.is_active() && timer.config() != config => {
                *timer = TimerUnit::new(Arc::clone(config));
            }
            _ => {}
        }
    }
}

/// The units of one machine by name, as a value: what is asked for goes in, [`Effect`]s come out.
///
/// A unit file can be replaced or removed while its unit runs: what runs is ended by what it was started with, a new file
/// counts from the next start on, and a unit whose file is gone stays until it has been stopped.
///
/// It differs from systemd in this: a new definition never reaches a running unit's later commands; a cycle in the order
/// is cut at the first unit by name; and dependencies on units that nobody loaded count only for `Requires=` and
/// `BindsTo=`, which then refuse the start.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Manager {
    machine: Machine,
    units: BTreeMap<String, Unit>,
    #[serde(skip)]
    effects: Vec<Effect>,
}

impl Manager {
    /// No units. The machine's values fill in the specifiers of unit files.
    #[must_use]
    pub fn new(machine: Machine) -> Self {
        Self { machine, units: BTreeMap::new(), effects: Vec::new() }
    }

    /// Loads a unit's file, or replaces it; a replaced one counts from the next [`Manager::daemon_reload`] on.
    ///
    /// # Errors
    /// What is wrong with the file. The unit is then known with load state `error`, and goes on running where it does.
    pub fn load<'a>(
        &mut self,
        name: &str,
        options: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>,
    ) -> Result<Vec<Warning>, UnitError> {
        match load(name, options, &self.machine) {
            Ok(loaded) => {
                let definition = Arc::new(loaded.definition);
                match self.units.get_mut(name) {
                    Some(unit) => {
                        unit.load = LoadState::Loaded;
                        unit.error = None;
                        unit.warnings.clone_from(&loaded.warnings);
                        unit.staged = (unit.definition != definition).then_some(definition);
                    }
                    None => {
                        self.units.insert(name.to_owned(), Unit::new(definition, loaded.warnings.clone()));
                    }
                }
                Ok(loaded.warnings)
            }
            Err(error) => {
                // A name that is none cannot be listed either.
                if let Ok(parsed) = UnitName::parse(name) {
                    let unit = self.units.entry(name.to_owned()).or_insert_with(|| broken(parsed));
                    unit.load = LoadState::Error;
                    unit.error = Some(error.to_string());
                    unit.staged = None;
                }
                Err(error)
            }
        }
    }

    /// Forgets a unit's file. A unit that runs stays, as `not-found`, until it has been stopped.
    pub fn unload(&mut self, name: &str) {
        if let Some(unit) = self.units.get_mut(name) {
            unit.load = LoadState::NotFound;
            unit.error = None;
            unit.staged = None;
        }
        if is_planted(Planted::F16) {
            self.units.remove(name);
        }
        self.collect();
    }

    /// Replaced files count from here on: for order and dependencies at once, for what runs from its next start on.
    pub fn daemon_reload(&mut self) {
        for unit in self.units.values_mut() {
            if let Some(definition) = unit.staged.take() {
                unit.definition = definition;
                // Another kind of section cannot come by replacement, for the name says the kind; but a unit that was
                // broken before has no body yet.
                if matches!(unit.body, Body::Foreign) {
                    *unit = Unit::new(Arc::clone(&unit.definition), std::mem::take(&mut unit.warnings));
                }
                unit.refresh();
            }
        }
        self.collect();
    }

    /// Starts a unit and what it requires and wants; stops what conflicts.
    ///
    /// # Errors
    /// Why that cannot be. Nothing was changed then.
    pub fn start(&mut self, name: &str) -> Result<Vec<Effect>, UnitError> {
        self.ask_start(name)?;
        Ok(self.finish())
    }

    /// Stops a unit and what requires it, is bound to it or is a part of it.
    ///
    /// # Errors
    /// The unit is unknown.
    pub fn stop(&mut self, name: &str) -> Result<Vec<Effect>, UnitError> {
        self.known(name)?;
        self.ask_stop(name);
        Ok(self.finish())
    }

    /// Stops a unit and starts it; what hangs on it and runs is restarted with it.
    ///
    /// # Errors
    /// As of a start.
    pub fn restart(&mut self, name: &str) -> Result<Vec<Effect>, UnitError> {
        if self.known(name)?.is_over() {
            return self.start(name);
        }
        self.startable(name)?;
        self.ask_restart(name);
        Ok(self.finish())
    }

    /// Lets a service read its configuration anew.
    ///
    /// # Errors
    /// It has no `ExecReload=`, or does not run.
    pub fn reload(&mut self, name: &str) -> Result<Vec<Effect>, UnitError> {
        let refused = |reason: &str, hint: &str| UnitError::Refused {
            unit: name.to_owned(),
            verb: "reload",
            reason: reason.to_owned(),
            hint: hint.to_owned(),
        };
        match &self.known(name)?.body {
            Body::Service(service) if service.can_reload() => Ok(self.step(name, Input::Reload)),
            Body::Service(service) if service.config().commands.reload.is_empty() => {
                Err(refused("it has no ExecReload=", "restart it, or add ExecReload= to its file"))
            }
            Body::Service(_) => Err(refused("it does not run", "start it")),
            _ => Err(refused("only services can", "restart it")),
        }
    }

    /// Sends a signal to a service's processes.
    ///
    /// # Errors
    /// There is no process to send it to.
    pub fn kill(&mut self, name: &str, who: Who, signal: Signal) -> Result<Vec<Effect>, UnitError> {
        match &self.known(name)?.body {
            Body::Service(service) if service.has_processes() => {
                Ok(self.step(name, Input::Kill { who, signal }))
            }
            _ => Err(UnitError::Refused {
                unit: name.to_owned(),
                verb: "be killed",
                reason: "it has no process".to_owned(),
                hint: "look at its status".to_owned(),
            }),
        }
    }

    /// Forgets that a unit failed, and how often it was started.
    ///
    /// # Errors
    /// The unit is unknown.
    pub fn reset_failed(&mut self, name: &str) -> Result<Vec<Effect>, UnitError> {
        self.known(name)?;
        Ok(self.step(name, Input::ResetFailed))
    }

    /// Hands an input to a unit: what came of its outputs. For a unit that is not there any more it is nothing.
    #[must_use = "effects are to be carried out"]
    pub fn step(&mut self, name: &str, input: Input) -> Vec<Effect> {
        self.give(name, input);
        self.finish()
    }

    /// After the manager was read back by another driver: what is to be armed and watched anew, see [`Service::resume`].
    #[must_use = "effects are to be carried out"]
    pub fn resume(&mut self) -> Vec<Effect> {
        let names: Vec<String> = self.units.keys().cloned().collect();
        for name in names {
            let outputs = match &mut self.units.get_mut(&name).expect("listed").body {
                Body::Service(service) => service.resume(),
                Body::Timer(timer) => timer.resume(),
                Body::Target { .. } | Body::Foreign => Vec::new(),
            };
            self.put_out(&name, outputs);
            if is_planted(Planted::F17) {
                self.take_for_ended(&name);
            }
        }
        self.finish()
    }

    /// The planted bug F17: whoever was not started by this driver does not run.
    fn take_for_ended(&mut self, name: &str) {
        let Some(Body::Service(service)) = self.units.get(name).map(|unit| &unit.body) else { return };
        let pids: Vec<u32> = service.processes().collect();
        for pid in pids {
            self.give(name, Input::Exited { pid, exit: Exit::Unknown, left: Left::Nobody });
        }
    }

    /// Asserts what holds between any two steps.
    ///
    /// # Panics
    /// Where it does not.
    pub fn check(&self) {
        for (name, unit) in &self.units {
            if let Body::Service(service) = &unit.body {
                service.check();
            }
            let idle = unit.is_over() && unit.job.is_none() && unit.active() != ActiveState::Failed;
            assert!(
                unit.load != LoadState::NotFound || !idle,
                "{name} has no file, does nothing and is kept"
            );
        }
    }

    fn known(&self, name: &str) -> Result<&Unit, UnitError> {
        self.units.get(name).ok_or_else(|| UnitError::NotLoaded { unit: name.to_owned() })
    }

    /// Gives an input to a unit's machine, and looks at what that means for others.
    fn give(&mut self, name: &str, input: Input) {
        let Some(unit) = self.units.get_mut(name) else { return };
        let was_up = unit.is_up();
        let mut due = None;
        let outputs = match &mut unit.body {
            Body::Service(service) => {
                // A restart by itself is a start as any other: a new file counts.
                let restarts =
                    input == Input::Fired(Timer::Restart) && service.sub() == SubState::AutoRestart;
                if restarts
                    && let Kind::Service(config) = &unit.definition.kind
                    && service.config() != config
                {
                    service.redefine(Arc::clone(config));
                }
                service.step(input)
            }
            Body::Timer(timer) => {
                if let Input::Fired(elapsed) = input
                    && timer.fired(elapsed)
                {
                    due = Some(timer.unit().to_owned());
                }
                Vec::new()
            }
            Body::Target { .. } | Body::Foreign => Vec::new(),
        };
        self.after(name, was_up, outputs);
        if let Some(due) = due
            && let Err(error) = self.ask_start(&due)
        {
            self.effects.push(Effect::Trouble { unit: name.to_owned(), error: error.to_string() });
        }
    }

    fn put_out(&mut self, name: &str, outputs: Vec<Output>) {
        self.effects.extend(outputs.into_iter().map(|output| Effect::Do { unit: name.to_owned(), output }));
    }

    fn finish(&mut self) -> Vec<Effect> {
        self.run_jobs();
        self.collect();
        self.check();
        std::mem::take(&mut self.effects)
    }

    /// Forgets units without file that do nothing any more.
    fn collect(&mut self) {
        self.units.retain(|_, unit| {
            let idle = unit.is_over() && unit.job.is_none() && unit.active() != ActiveState::Failed;
            unit.load != LoadState::NotFound || !idle
        });
    }
}

/// A unit whose first file cannot be read.
fn broken(name: UnitName) -> Unit {
    let unit = UnitConfig { description: name.to_string(), ..UnitConfig::default() };
    let kind = name.kind();
    let mut broken = Unit::new(Arc::new(Definition { name, unit, kind: Kind::Foreign(kind) }), Vec::new());
    if kind == UnitType::Target {
        broken.body = Body::Target { active: false };
    }
    broken
}
