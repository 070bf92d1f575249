//! `/units`: what is to run.

use super::{ApiRequest, ApiResponse, Refusal, pages};
use crate::model::{Cluster, JobState, Unit};
use crate::registry::Write;
use crate::unit::{Requirements, UnitFile, UnitName, UnitOption};
use serde::{Deserialize, Serialize};

/// Empty texts are left out, as in the original; fields in its order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UnitView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    current_state: Option<String>,
    desired_state: String,
    #[serde(rename = "machineID", skip_serializing_if = "Option::is_none")]
    machine_id: Option<&'a str>,
    name: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<OptionView<'a>>,
}

#[derive(Serialize)]
struct OptionView<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    section: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    value: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UnitPage<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    units: Vec<UnitView<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct UnitBody {
    name: String,
    desired_state: String,
    options: Vec<OptionBody>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OptionBody {
    section: String,
    name: String,
    value: String,
}

fn view<'a>(name: &'a UnitName, unit: &'a Unit, cluster: &Cluster) -> UnitView<'a> {
    let options = unit.file.options().iter();
    UnitView {
        current_state: cluster.current_state(name).map(|state| state.to_string()),
        desired_state: unit.desired.to_string(),
        machine_id: unit.target.as_ref().filter(|_| !unit.is_global()).map(|id| id.as_str()),
        name: name.as_str(),
        options: options
            .map(|UnitOption { section, name, value }| OptionView { name, section, value })
            .collect(),
    }
}

pub(super) fn list(request: &ApiRequest, cluster: &Cluster) -> Result<ApiResponse, Refusal> {
    let (items, next_page_token) = pages::page(request, cluster.units.iter())?;
    let units = items.into_iter().map(|(name, unit)| view(name, unit, cluster)).collect();
    Ok(ApiResponse::ok(&UnitPage { next_page_token, units }))
}

fn find<'a>(name: &str, cluster: &'a Cluster) -> Result<(&'a UnitName, &'a Unit), Refusal> {
    cluster.units.get_key_value(name).ok_or_else(|| (404, "unit does not exist".into()))
}

pub(super) fn get(name: &str, cluster: &Cluster) -> Result<ApiResponse, Refusal> {
    let (name, unit) = find(name, cluster)?;
    Ok(ApiResponse::ok(&view(name, unit, cluster)))
}

pub(super) fn delete(name: &str, cluster: &Cluster) -> Result<(u16, Vec<Write>), Refusal> {
    let (name, _) = find(name, cluster)?;
    Ok((204, vec![Write::Destroy { name: name.clone() }]))
}

fn check_content_type(request: &ApiRequest) -> Result<(), Refusal> {
    let [value] = request.content_types.as_slice() else {
        return Err((415, format!("expected 1 Content-Type, got {}", request.content_types.len())));
    };
    if value.split(';').next().unwrap_or_default().trim() != "application/json" {
        return Err((415, "only acceptable Content-Type is application/json".into()));
    }
    Ok(())
}

pub(super) fn put(item: &str, request: &ApiRequest, cluster: &Cluster) -> Result<(u16, Vec<Write>), Refusal> {
    let bad = |text: String| (400, text);
    check_content_type(request)?;
    let body: UnitBody = serde_json::from_slice(&request.body)
        .map_err(|error| bad(format!("unable to decode body: {error}")))?;
    if !body.name.is_empty() && body.name != item {
        let named = &body.name;
        return Err(bad(format!("name in URL {item:?} differs from unit name in request body {named:?}")));
    }
    let name = UnitName::parse(item).map_err(|error| bad(error.to_string()))?;
    let desired: Option<JobState> = match body.desired_state.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|error: crate::model::UnknownState| bad(error.to_string()))?),
    };
    if name.is_template() && desired.is_some_and(|desired| desired != JobState::Inactive) {
        return Err(bad(format!("cannot activate template {item:?}")));
    }
    let known = cluster.units.get(&name);
    if known.is_none() && body.options.is_empty() {
        return Err((409, "unit does not exist and options field empty".into()));
    }
    if !body.options.is_empty() {
        let options = body.options.into_iter();
        let options = options.map(|OptionBody { section, name, value }| UnitOption { section, name, value });
        let file = UnitFile::from_options(options.collect()).map_err(|error| bad(error.to_string()))?;
        if known.is_none_or(|unit| unit.hash != file.hash()) {
            Requirements::of(&name, &file).map_err(|error| bad(error.to_string()))?;
            // As in the original, for a known unit too: its client waits after `--replace` until the unit is inactive, and
            // says only then what it is to be.
            let desired = Some(desired.unwrap_or_default());
            return Ok((201, vec![Write::PutUnit { name, file, desired }]));
        }
    }
    match desired {
        Some(desired) => Ok((204, vec![Write::SetDesired { name, desired }])),
        None => Err((409, "must provide DesiredState to update existing unit".into())),
    }
}
