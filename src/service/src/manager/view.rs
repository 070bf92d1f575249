//! Units as people see them.

use super::{Body, Manager, Unit, Verb};
use crate::config::UnitConfig;
use crate::error::Warning;
use crate::service::{Service, Status};
use crate::state::{ActiveState, LoadState};

/// A unit as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct UnitStatus {
    /// Its name.
    pub name: String,
    /// `Description=`.
    pub description: String,
    /// Whether its file is there and could be read.
    pub load: LoadState,
    /// Why its file could not be read.
    pub load_error: Option<String>,
    /// What has no effect in its file.
    pub warnings: Vec<Warning>,
    /// Its state as all units have it.
    pub active: ActiveState,
    /// Its state as its kind has it.
    pub sub: String,
    /// Its file was replaced, and [`Manager::daemon_reload`] not called since.
    pub need_daemon_reload: bool,
    /// What is being done about it.
    pub job: Option<Verb>,
    /// More, of a service.
    pub service: Option<Status>,
}

impl Unit {
    fn status(&self, name: &str) -> UnitStatus {
        let sub = match &self.body {
            Body::Service(service) => service.sub().as_str(),
            Body::Target { active: true } => "active",
            Body::Timer(timer) => timer.sub(),
            Body::Target { .. } | Body::Foreign => "dead",
        };
        UnitStatus {
            name: name.to_owned(),
            description: self.config().description.clone(),
            load: self.load,
            load_error: self.error.clone(),
            warnings: self.warnings.clone(),
            active: self.active(),
            sub: sub.to_owned(),
            need_daemon_reload: self.staged.is_some(),
            job: self.job.map(|job| job.verb),
            service: match &self.body {
                Body::Service(service) => Some(service.status()),
                _ => None,
            },
        }
    }
}

impl Manager {
    /// One unit; `None` where it is unknown.
    #[must_use]
    pub fn status(&self, name: &str) -> Option<UnitStatus> {
        self.units.get(name).map(|unit| unit.status(name))
    }

    /// All units, by name.
    pub fn list(&self) -> impl Iterator<Item = UnitStatus> {
        self.units.iter().map(|(name, unit)| unit.status(name))
    }

    /// The services, by name: for a driver that looks for their processes.
    pub fn services(&self) -> impl Iterator<Item = (&str, &Service)> {
        self.units.iter().filter_map(|(name, unit)| match &unit.body {
            Body::Service(service) => Some((name.as_str(), &**service)),
            _ => None,
        })
    }

    /// What `[Unit]` of a unit says.
    #[must_use]
    pub fn unit_config(&self, name: &str) -> Option<&UnitConfig> {
        self.units.get(name).map(Unit::config)
    }
}
