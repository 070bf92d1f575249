//! `/machines`: what there is to run on.

use super::{ApiRequest, ApiResponse, Refusal, pages};
use crate::model::Cluster;
use crate::registry::{OPS_MAX, Write};
use crate::unit::MachineId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Serialize)]
struct MachineView<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<&'a str, &'a str>,
    #[serde(rename = "primaryIP", skip_serializing_if = "str::is_empty")]
    primary_ip: &'a str,
}

#[derive(Serialize)]
struct MachinePage<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    machines: Vec<MachineView<'a>>,
    #[serde(rename = "nextPageToken", skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// One change of metadata, after JSON Patch.
#[derive(Deserialize)]
struct Operation {
    #[serde(default)]
    op: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    value: Value,
}

/// The original took the second form only, and its documents promised the first.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Plain(String),
    Wrapped {
        #[serde(default)]
        value: String,
    },
    Nothing(()),
}

impl Default for Value {
    fn default() -> Self {
        Self::Nothing(())
    }
}

pub(super) fn list(request: &ApiRequest, cluster: &Cluster) -> Result<ApiResponse, Refusal> {
    let (items, next_page_token) = pages::page(request, cluster.machines.iter())?;
    let views = items.into_iter().map(|(id, machine)| MachineView {
        id: id.as_str(),
        metadata: machine.all_metadata(),
        primary_ip: &machine.info.ip,
    });
    Ok(ApiResponse::ok(&MachinePage { machines: views.collect(), next_page_token }))
}

/// `/<id>/metadata/<key>`.
fn parse_path(path: &str) -> Option<(MachineId, String)> {
    let (id, key) = path.strip_prefix('/')?.split_once("/metadata/")?;
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if key.is_empty() || !key.chars().all(is_fine) {
        return None;
    }
    Some((MachineId::parse(id).ok()?, key.to_owned()))
}

pub(super) fn patch(request: &ApiRequest) -> Result<(u16, Vec<Write>), Refusal> {
    let bad = |text: &str| (400, text.to_owned());
    let operations: Vec<Operation> =
        serde_json::from_slice(&request.body).map_err(|error| (400, error.to_string()))?;
    // Of several changes of one key the last one counts, as if they came one after the other.
    let mut changes: BTreeMap<(MachineId, String), String> = BTreeMap::new();
    for Operation { op, path, value } in operations {
        if !["add", "remove", "replace"].contains(&op.as_str()) {
            return Err(bad("invalid op: expect add, remove, or replace"));
        }
        let place = parse_path(&path).ok_or_else(|| bad("machine metadata path invalid"))?;
        let value = match value {
            _ if op == "remove" => String::new(),
            Value::Plain(value) | Value::Wrapped { value } if !value.is_empty() => value,
            _ => return Err(bad("invalid value: add and replace require a value")),
        };
        changes.insert(place, value);
    }
    if changes.len() > OPS_MAX {
        return Err((400, format!("{} changes at once\nhint: at most {OPS_MAX}", changes.len())));
    }
    let writes =
        changes.into_iter().map(|((machine, key), value)| Write::SetMetadata { machine, key, value });
    Ok((204, writes.collect()))
}

/// An operator says that a machine will not come back. The original has no such request.
pub(super) fn give_up(id: &str, cluster: &Cluster) -> Result<(u16, Vec<Write>), Refusal> {
    let machine = MachineId::parse(id).map_err(|error| (400, error.to_string()))?;
    if cluster.machines.contains_key(&machine) {
        return Err((
            409,
            format!("machine {id} is there\nhint: stop its agent, and wait until its lease is over"),
        ));
    }
    Ok((204, vec![Write::GiveUp { machine }]))
}
