//! A simulated machine as a bench of units: what decides about them is the fleet's own code, as in `seatrial fleetd`.

use super::host::Host;
use seatrial_fleet::run::{Bench, KeptUnits, Records, SystemdState, UnitRunner};
use std::collections::BTreeMap;

/// The units of a simulated machine.
pub(super) type Units = KeptUnits<Host>;

impl Bench for Host {
    async fn turn<T: Send + 'static>(
        &self,
        turn: impl FnOnce(&mut dyn UnitRunner) -> T + Send + 'static,
    ) -> Result<T, String> {
        Ok(turn(&mut Turn(self)))
    }

    fn records(&self) -> Records {
        self.with_records(|records| records.clone())
    }

    fn change(&self, change: impl FnOnce(&mut Records)) -> Result<(), String> {
        self.with_records(change);
        Ok(())
    }
}

/// Nothing else happens in a simulation meanwhile.
struct Turn<'a>(&'a Host);

impl UnitRunner for Turn<'_> {
    fn load(&mut self, unit: &str, options: Vec<(String, String, String)>) -> Result<(), String> {
        let options = options.iter();
        let triples = options.map(|(section, name, value)| (section.as_str(), name.as_str(), value.as_str()));
        self.0.with_manager(|manager| {
            // What is wrong with a file, its unit says when it is started.
            let _ = manager.load(unit, triples);
            manager.daemon_reload();
        });
        Ok(())
    }

    fn unload(&mut self, unit: &str) -> Result<(), String> {
        self.0.with_manager(|manager| manager.unload(unit));
        Ok(())
    }

    fn daemon_reload(&mut self) -> Result<(), String> {
        self.0.with_manager(|manager| manager.daemon_reload());
        Ok(())
    }

    fn start(&mut self, unit: &str) -> Result<(), String> {
        self.0.ask(|manager| manager.start(unit)).map_err(|error| error.to_string())
    }

    fn stop(&mut self, unit: &str) -> Result<(), String> {
        self.0.ask(|manager| manager.stop(unit)).map_err(|error| error.to_string())
    }

    fn reset_failed(&mut self, unit: &str) -> Result<(), String> {
        self.0.ask(|manager| manager.reset_failed(unit)).map_err(|error| error.to_string())
    }

    fn list(&self) -> BTreeMap<String, SystemdState> {
        self.0.with_manager(|manager| {
            let all = manager.list().map(|status| {
                let (load, active) = (status.load.to_string(), status.active.to_string());
                (status.name, SystemdState { load, active, sub: status.sub })
            });
            all.collect()
        })
    }
}
