//! Which of the two runs this machine's units: this program, or the machine's systemd. Never both: what one has started the other
//! does not see, and would start again.

use super::args::{FleetdArgs, Runner};
use super::systemd::SystemdUnits;
use super::units::ProcessManager;
use super::{driver, failed};
use crate::server::{Failure, usage};
use seatrial_fleet::run::{LoadedUnit, ManagerError, SystemdState, UnitManager};
use seatrial_fleet::unit::{MachineId, UnitFile, UnitName};
use seatrial_systemd::{Instance, Options, Surroundings, SystemdError};
use seatrial_world::World;
use seatrial_world_real::RealWorld;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where it is written down into which folder the units go that systemd runs for us.
const FOLDER_NOTE: &str = "units-directory";

/// How long `auto` waits for a systemd of which there are signs: at a boot its bus may come after us.
const AUTO_PATIENCE: Duration = Duration::from_secs(5);

/// Between two attempts of that.
const AUTO_PAUSE: Duration = Duration::from_millis(250);

/// What runs units here. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Units {
    Processes(ProcessManager),
    Systemd(SystemdUnits),
}

/// What is known before anything is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Signs {
    /// Units that were started as processes and not stopped.
    processes: usize,
    /// Units that were started by systemd and not stopped.
    units: usize,
    /// systemd runs this machine, or our user has one.
    is_booted: bool,
}

/// What to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Processes,
    Systemd,
    /// systemd, and ourselves where it is not heard.
    Either,
}

fn choose(asked: Runner, signs: &Signs) -> Result<Choice, String> {
    let stop = |units, way: &str, how: &str| {
        format!(
            "{units} units of this machine run {way}\nhint: stop them with --unit-manager {how} --stop-units first; nothing may run twice"
        )
    };
    match (asked, signs) {
        (Runner::Process, Signs { units: 1.., .. }) => Err(stop(signs.units, "by systemd", "systemd")),
        (Runner::Systemd, Signs { processes: 1.., .. }) => {
            Err(stop(signs.processes, "as processes of fleetd", "process"))
        }
        (Runner::Process, _) => Ok(Choice::Processes),
        (Runner::Systemd, _) => Ok(Choice::Systemd),
        // Whoever has begun goes on, whatever the machine looks like in this moment.
        (Runner::Auto, Signs { processes: 1.., .. }) => Ok(Choice::Processes),
        (Runner::Auto, Signs { units: 1.., .. }) => Ok(Choice::Systemd),
        (Runner::Auto, Signs { is_booted: true, .. }) => Ok(Choice::Either),
        (Runner::Auto, _) => Ok(Choice::Processes),
    }
}

fn surroundings() -> Surroundings {
    let value = |name| std::env::var(name).ok();
    Surroundings {
        system_bus: value("DBUS_SYSTEM_BUS_ADDRESS"),
        session_bus: value("DBUS_SESSION_BUS_ADDRESS"),
        runtime_dir: value("XDG_RUNTIME_DIR"),
    }
}

fn instance(args: &FleetdArgs) -> Instance {
    if args.systemd_user { Instance::User } else { Instance::System }
}

fn wrong(error: SystemdError) -> Failure {
    match error {
        SystemdError::NoRuntimeDir => usage(error.to_string()),
        error => Failure::Failed(error.to_string()),
    }
}

fn folder(args: &FleetdArgs, around: &Surroundings) -> Result<PathBuf, Failure> {
    match (&args.units_directory, instance(args)) {
        (Some(folder), _) => Ok(folder.clone()),
        (None, Instance::System) => Ok("/run/fleet/units".into()),
        (None, Instance::User) => Ok(Path::new(around.runtime_dir().map_err(wrong)?).join("fleet/units")),
    }
}

fn is_booted(args: &FleetdArgs, around: &Surroundings) -> bool {
    match instance(args) {
        Instance::System => Path::new("/run/systemd/system").is_dir(),
        Instance::User => around.runtime_dir().is_ok_and(|dir| Path::new(dir).join("systemd").is_dir()),
    }
}

/// Opens what is to run units here.
pub(super) async fn open(
    args: &FleetdArgs,
    world: &RealWorld,
    me: &MachineId,
    boot: &str,
) -> Result<Units, Failure> {
    if args.systemd_user && args.unit_manager == Runner::Process {
        return Err(usage(
            "--systemd-user is about systemd, and units run as processes\nhint: give --unit-manager systemd as well",
        ));
    }
    let records = args.data_dir.join("fleet.json");
    let note = args.data_dir.join(FOLDER_NOTE);
    let noted = std::fs::read_to_string(&note).unwrap_or_default();
    let around = surroundings();
    let signs = Signs {
        processes: super::units::started_in(&records).map_err(Failure::Failed)?,
        units: if noted.is_empty() { 0 } else { seatrial_systemd::started_in(Path::new(&noted)) },
        is_booted: is_booted(args, &around),
    };
    let choice = choose(args.unit_manager, &signs).map_err(Failure::Failed)?;
    if choice != Choice::Processes {
        let options = options(args, &around, boot)?;
        let folder = options.units_directory.display().to_string();
        let patience = world.now() + AUTO_PATIENCE;
        loop {
            match SystemdUnits::open(world.clone(), options.clone(), instance(args)).await {
                Ok(units) => {
                    std::fs::write(&note, folder).map_err(failed(note.display()))?;
                    return Ok(Units::Systemd(units));
                }
                Err(SystemdError::Away { .. }) if choice == Choice::Either && world.now() < patience => {
                    world.sleep(AUTO_PAUSE).await;
                }
                Err(error @ SystemdError::Away { .. }) if choice == Choice::Either => {
                    tracing::warn!(error = %error.problem(), "systemd is there and not heard; units run as processes");
                    break;
                }
                Err(error) => return Err(wrong(error)),
            }
        }
    }
    let handle = seatrial_service_real::start(driver(args, me, boot)?)
        .map_err(|error| Failure::Failed(error.to_string()))?;
    super::units::open(handle, records).map(Units::Processes).map_err(Failure::Failed)
}

fn options(args: &FleetdArgs, around: &Surroundings, boot: &str) -> Result<Options, Failure> {
    let folder = folder(args, around)?;
    let units_directory = std::path::absolute(&folder).map_err(failed(folder.display()))?;
    let addresses = seatrial_systemd::addresses(instance(args), args.bus_address.as_deref(), around);
    let addresses = addresses.map_err(wrong)?;
    Ok(Options { addresses, units_directory, boot_id: boot.trim().to_owned() })
}

impl Units {
    /// Stops everything that the fleet has started here, and waits until it is down.
    pub(super) async fn stop_all(&self, world: &RealWorld) -> Result<usize, ManagerError> {
        let pause = async || world.sleep(Duration::from_millis(20)).await;
        match self {
            Self::Processes(manager) => manager.stop_all(pause).await,
            Self::Systemd(units) => units.manager.stop_all().await,
        }
    }
}

/// The same call of whichever there is.
macro_rules! either {
    ($units:expr, $call:ident($($argument:expr),*)) => {
        match $units {
            Units::Processes(manager) => manager.$call($($argument),*).await,
            Units::Systemd(units) => units.manager.$call($($argument),*).await,
        }
    };
}

impl UnitManager for Units {
    async fn load(&self, name: &UnitName, file: &UnitFile) -> Result<(), ManagerError> {
        either!(self, load(name, file))
    }

    async fn unload(&self, name: &UnitName) -> Result<(), ManagerError> {
        either!(self, unload(name))
    }

    async fn reload(&self) -> Result<(), ManagerError> {
        either!(self, reload())
    }

    async fn start(&self, name: &UnitName) -> Result<(), ManagerError> {
        either!(self, start(name))
    }

    async fn stop(&self, name: &UnitName) -> Result<(), ManagerError> {
        either!(self, stop(name))
    }

    async fn loaded(&self) -> Result<BTreeMap<UnitName, LoadedUnit>, ManagerError> {
        either!(self, loaded())
    }

    async fn states(&self) -> Result<BTreeMap<UnitName, SystemdState>, ManagerError> {
        either!(self, states())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signs(processes: usize, units: usize, is_booted: bool) -> Signs {
        Signs { processes, units, is_booted }
    }

    #[test]
    fn systemd_is_taken_where_it_was_asked_for_or_runs_the_machine() {
        for (asked, is_booted, choice) in [
            (Runner::Process, true, Choice::Processes),
            (Runner::Systemd, false, Choice::Systemd),
            (Runner::Auto, true, Choice::Either),
            (Runner::Auto, false, Choice::Processes),
        ] {
            assert_eq!(choose(asked, &signs(0, 0, is_booted)), Ok(choice), "{asked:?} {is_booted}");
        }
    }

    #[test]
    fn what_runs_already_is_never_started_by_the_other() {
        let error = choose(Runner::Systemd, &signs(2, 0, true)).unwrap_err();
        assert!(
            error.starts_with("2 units") && error.contains("--unit-manager process --stop-units"),
            "{error}"
        );
        let error = choose(Runner::Process, &signs(0, 3, true)).unwrap_err();
        assert!(error.contains("--unit-manager systemd --stop-units"), "{error}");
        assert_eq!(choose(Runner::Auto, &signs(1, 0, true)), Ok(Choice::Processes));
        // Not even where systemd is not to be seen in this moment: then it is waited for.
        assert_eq!(choose(Runner::Auto, &signs(0, 1, false)), Ok(Choice::Systemd));
    }
}
