//! `/state`: how units do.

use super::{ApiRequest, ApiResponse, Refusal, pages};
use crate::model::{Cluster, UnitState};
use crate::unit::{MachineId, UnitName};
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StateView<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    hash: &'a str,
    #[serde(rename = "machineID")]
    machine_id: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    systemd_active_state: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    systemd_load_state: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    systemd_sub_state: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatePage<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    states: Vec<StateView<'a>>,
}

fn view<'a>(((name, machine), state): (&'a (UnitName, MachineId), &'a UnitState)) -> StateView<'a> {
    StateView {
        hash: &state.hash,
        machine_id: machine.as_str(),
        name: name.as_str(),
        systemd_active_state: &state.active,
        systemd_load_state: &state.load,
        systemd_sub_state: &state.sub,
    }
}

pub(super) fn list(request: &ApiRequest, cluster: &Cluster) -> Result<ApiResponse, Refusal> {
    let (machine, unit) = (request.value("machineID"), request.value("unitName"));
    let is_wanted = |((name, id), _): &(&(UnitName, MachineId), &UnitState)| {
        machine.is_none_or(|wanted| wanted == id.as_str())
            && unit.is_none_or(|wanted| wanted == name.as_str())
    };
    let (items, next_page_token) = pages::page(request, cluster.states.iter().filter(is_wanted))?;
    Ok(ApiResponse::ok(&StatePage { next_page_token, states: items.into_iter().map(view).collect() }))
}

/// Of a unit that is on several machines, the one it is scheduled to; else the first.
pub(super) fn get(name: &str, cluster: &Cluster) -> Result<ApiResponse, Refusal> {
    let target = cluster.units.get(name).and_then(|unit| unit.target.as_ref());
    let of_unit = || cluster.states.iter().filter(|((unit, _), _)| unit.as_str() == name);
    let found = of_unit().find(|((_, id), _)| Some(id) == target).or_else(|| of_unit().next());
    let found = found.ok_or_else(|| (404, String::from("unit state does not exist")))?;
    Ok(ApiResponse::ok(&view(found)))
}
