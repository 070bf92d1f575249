//! Machines of a fleet, to which this and that happens, and operators who want this and that of its units. What runs on the
//! machines is the theatre's; a machine's client only gives the orders of its plan.

mod catalogue;

pub(crate) use catalogue::POISONS;

use super::Actor;
use crate::format::spec::{MachineFault, UnitAct};
use crate::plan::StepKind;
use crate::record::{MachineFaultRecord, OperatorRecord, Sighting, UnitCheck, UnitsLook};
use crate::theatre::{CallError, Client, FleetAnswer, FleetAsk, FleetOrder, Theatre};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// So often an operator asks again for what it does not know the outcome of.
const ATTEMPTS: u32 = 3;

/// What begins a fault of a machine, and what ends it.
fn orders(fault: MachineFault, drift_ppm: i64) -> (FleetOrder, Option<FleetOrder>) {
    match fault {
        MachineFault::Kill => (FleetOrder::Kill, Some(FleetOrder::Start)),
        MachineFault::Reboot => (FleetOrder::PowerOff, Some(FleetOrder::Start)),
        MachineFault::Pause => (FleetOrder::Pause, Some(FleetOrder::Resume)),
        MachineFault::CutOff => (FleetOrder::CutOff, Some(FleetOrder::PlugIn)),
        MachineFault::Drift => (FleetOrder::Drift(drift_ppm), Some(FleetOrder::Drift(0))),
        MachineFault::Leave => (FleetOrder::PowerOff, None),
    }
}

impl<T: Theatre> Actor<T> {
    pub(super) async fn host(&mut self) {
        self.order(FleetOrder::Start);
        let mut at = 0;
        while let Some(step) = self.next_step(at).await {
            at += 1;
            let StepKind::Machine(step) = step.what else { continue };
            let (begin, end) = orders(step.fault, step.drift_ppm);
            let (machine, fault, from) = (self.plan.machine, step.fault, self.theatre.now());
            let record = MachineFaultRecord { machine, fault, from, to: None };
            let place = self.notebook.machine_fault(record);
            self.order(begin);
            // A machine that is gone for good does nothing more.
            let Some(end) = end else { return };
            self.theatre.sleep_until((from + step.lasts).min(self.until)).await;
            self.order(end);
            self.notebook.machine_well(place, self.theatre.now());
        }
    }

    fn order(&self, order: FleetOrder) {
        if let Err(error) = self.theatre.fleet(self.plan.machine, order) {
            self.notebook.harness_error(error.to_string());
        }
    }

    pub(super) async fn operate(&mut self) {
        let mut at = 0;
        // How often each unit got another file, and each machine other metadata.
        let mut turns: BTreeMap<(UnitAct, u32), u32> = BTreeMap::new();
        while let Some(step) = self.next_step(at).await {
            at += 1;
            let StepKind::Unit { act, number } = step.what else { continue };
            let turn = turns.entry((act, number)).or_default();
            *turn += 1;
            let machines = self.plan.spec.units.machines;
            let ask = catalogue::ask(act, number, *turn, machines);
            let what = format!("{act}: {} {}", ask.method, ask.path);
            for _ in 0..ATTEMPTS {
                let call = self.theatre.now();
                let answer = self.client.fleet(ask.clone(), self.plan.spec.timeout).await;
                let seen = Sighting { call, ret: self.theatre.now() };
                let status = answer.as_ref().ok().map(|answer| answer.status);
                let (client, what) = (self.plan.machine, what.clone());
                self.notebook.operated(OperatorRecord { client, what, seen, status });
                if answer.is_ok() || self.theatre.now() >= self.until {
                    break;
                }
            }
        }
    }
}

/// What of a page of the list of units is looked at.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Page {
    next_page_token: String,
    units: Vec<Entry>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    name: String,
}

async fn ask<C: Client>(
    client: &mut C,
    method: &'static str,
    path: String,
    query: Vec<(String, String)>,
    timeout: Duration,
) -> Result<FleetAnswer, CallError> {
    let ask = FleetAsk { method, path, query, body: String::new() };
    let mut answer = client.fleet(ask.clone(), timeout).await;
    for _ in 1..ATTEMPTS {
        if answer.is_ok() {
            break;
        }
        answer = client.fleet(ask.clone(), timeout).await;
    }
    answer
}

/// Reads every unit through the fleet's interface, and deletes those that came of odd requests.
pub(crate) async fn look_at_units<C: Client>(
    client: &mut C,
    at: Duration,
    revision: i64,
    timeout: Duration,
) -> UnitsLook {
    let mut look = UnitsLook { at, revision, ..UnitsLook::default() };
    let mut token = String::new();
    loop {
        let query = if token.is_empty() { Vec::new() } else { vec![("nextPageToken".to_owned(), token)] };
        let path = "/fleet/v1/units".to_owned();
        let Ok(answer) = ask(client, "GET", path, query, timeout).await else { return look };
        look.list = answer.status;
        let page: Page = serde_json::from_str(&answer.body).unwrap_or_default();
        let names = page.units.into_iter().map(|entry| entry.name);
        look.checks.extend(names.map(|name| UnitCheck { name, read: 0, deleted: None }));
        if page.next_page_token.is_empty() || look.list != 200 {
            break;
        }
        token = page.next_page_token;
    }
    for check in &mut look.checks {
        let path = format!("/fleet/v1/units/{}", check.name);
        if let Ok(answer) = ask(client, "GET", path.clone(), Vec::new(), timeout).await {
            check.read = answer.status;
        }
        if catalogue::is_odd(&check.name) {
            let answer = ask(client, "DELETE", path, Vec::new(), timeout).await;
            check.deleted = answer.ok().map(|answer| answer.status);
        }
    }
    look
}
