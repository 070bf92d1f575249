//! The registry as the original fleet kept it in etcd's v2 keys: so that its own tools can be shown ours, and what they
//! wrote can be taken over ([`super::view`] says what is to be written where).

use super::records::LeaderRecord;
use crate::model::{Cluster, JobState, Machine, MachineInfo, Unit, UnitState};
use crate::unit::{MachineId, UnitFile, UnitHash, UnitName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where the original keeps everything, by default.
pub const PREFIX: &str = "/_coreos.com/fleet";

/// The version of the original's registry.
const VERSION: &str = "1";

/// A value of the v2 view.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// The value.
    pub value: String,
    /// It has a time to live in the original: it goes when its machine goes.
    pub has_ttl: bool,
}

/// The original's machine, in Go's way of writing.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct MachineModel {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "PublicIP")]
    public_ip: String,
    metadata: Option<BTreeMap<String, String>>,
    capabilities: Option<BTreeMap<String, bool>>,
    version: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawModel {
    raw: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct JobModel {
    name: String,
    unit_hash: [u8; 20],
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StateModel {
    load_state: String,
    active_state: String,
    sub_state: String,
    #[serde(default)]
    machine_state: Option<MachineModel>,
    #[serde(default)]
    unit_hash: String,
}

fn json(model: &impl Serialize) -> String {
    serde_json::to_string(model).expect("our models have string keys and no failing parts")
}

/// The keys and values that show a cluster to the original's tools.
#[must_use]
pub fn encode(cluster: &Cluster, leader: Option<&LeaderRecord>) -> BTreeMap<String, Node> {
    let mut nodes = BTreeMap::new();
    let mut put = |path: String, value: String, has_ttl: bool| {
        nodes.insert(format!("{PREFIX}/{path}"), Node { value, has_ttl });
    };
    put("engine/version".into(), VERSION.into(), false);
    if let Some(leader) = leader {
        put("lease/engine-leader".into(), json(leader), true);
    }
    for (id, Machine { info, overlay }) in &cluster.machines {
        let model = MachineModel {
            id: id.to_string(),
            public_ip: info.ip.clone(),
            metadata: Some(info.metadata.clone()),
            capabilities: Some(info.capabilities.clone()),
            version: info.version.clone(),
        };
        put(format!("machines/{id}/object"), json(&model), true);
        for (key, value) in overlay {
            put(format!("machines/{id}/metadata/{key}"), value.clone(), false);
        }
    }
    for (name, unit) in &cluster.units {
        put(format!("unit/{}", unit.hash), json(&RawModel { raw: unit.file.render() }), false);
        let job = JobModel { name: name.to_string(), unit_hash: unit.hash.0 };
        put(format!("job/{name}/object"), json(&job), false);
        put(format!("job/{name}/target-state"), unit.desired.to_string(), false);
        let Some(target) = unit.target.as_ref().filter(|_| !unit.is_global()) else { continue };
        put(format!("job/{name}/target"), target.to_string(), false);
        if cluster.current_state(name) == Some(JobState::Launched) {
            put(format!("job/{name}/job-state"), target.to_string(), true);
        }
    }
    for ((name, id), state) in &cluster.states {
        let model = StateModel {
            load_state: state.load.clone(),
            active_state: state.active.clone(),
            sub_state: state.sub.clone(),
            machine_state: Some(MachineModel { id: id.to_string(), ..MachineModel::default() }),
            unit_hash: state.hash.clone(),
        };
        put(format!("states/{name}/{id}"), json(&model), true);
        // The old place has room for one machine only; of several the last one is shown.
        put(format!("state/{name}"), json(&model), true);
    }
    nodes
}

/// What the original's keys say, and what in them could not be read, by key. Nothing in them stops the rest from being
/// read: a unit with a state that is none is inactive, and one whose file is missing is left out.
#[must_use]
pub fn decode<'a>(
    nodes: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> (Cluster, BTreeMap<String, String>) {
    let mut files: BTreeMap<UnitHash, UnitFile> = BTreeMap::new();
    let mut jobs: BTreeMap<UnitName, BTreeMap<&str, &str>> = BTreeMap::new();
    let mut overlays: Vec<(MachineId, String, String)> = Vec::new();
    let mut cluster = Cluster::default();
    let mut problems = BTreeMap::new();
    for (path, value) in nodes {
        let Some(rest) = path.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('/')) else { continue };
        let parts: Vec<&str> = rest.split('/').collect();
        let read = match parts.as_slice() {
            ["unit", hash] => read_file(hash, value).map(|(hash, file)| {
                files.insert(hash, file);
            }),
            ["job", name, key] => name_of(name).map(|name| {
                jobs.entry(name).or_default().insert(*key, value);
            }),
            ["machines", id, "object"] => read_machine(id, value).map(|(id, info)| {
                cluster.machines.entry(id).or_default().info = info;
            }),
            ["machines", id, "metadata", key] => machine_of(id).map(|id| {
                overlays.push((id, (*key).to_owned(), value.to_owned()));
            }),
            ["states", name, id] => read_state(name, id, value).map(|(key, state)| {
                cluster.states.insert(key, state);
            }),
            _ => Ok(()),
        };
        if let Err(problem) = read {
            problems.insert(path.to_owned(), problem);
        }
    }
    for (id, key, value) in overlays {
        if let Some(machine) = cluster.machines.get_mut(&id) {
            machine.overlay.insert(key, value);
        }
    }
    for (name, job) in jobs {
        let path = format!("{PREFIX}/job/{name}/object");
        match read_job(&name, &job, &files) {
            Ok(unit) => {
                if let (Some(target), Some(heartbeat)) = (&unit.target, job.get("job-state"))
                    && let Some(state) = cluster.states.get_mut(&(name.clone(), target.clone()))
                {
                    state.is_launched = target.as_str() == *heartbeat;
                }
                cluster.units.insert(name, unit);
            }
            Err(problem) => {
                problems.insert(path, problem);
            }
        }
    }
    (cluster, problems)
}

fn name_of(name: &str) -> Result<UnitName, String> {
    UnitName::parse(name).map_err(|error| error.to_string())
}

fn machine_of(id: &str) -> Result<MachineId, String> {
    MachineId::parse(id).map_err(|error| error.to_string())
}

fn model<'a, T: Deserialize<'a>>(value: &'a str) -> Result<T, String> {
    serde_json::from_str(value).map_err(|error| error.to_string())
}

pub(super) fn read_file(hash: &str, value: &str) -> Result<(UnitHash, UnitFile), String> {
    let hash = UnitHash::from_hex(hash).ok_or_else(|| format!("{hash:?} is no SHA-1"))?;
    let RawModel { raw } = model(value)?;
    Ok((hash, UnitFile::parse(&raw).map_err(|error| error.to_string())?))
}

fn read_machine(id: &str, value: &str) -> Result<(MachineId, MachineInfo), String> {
    let MachineModel { public_ip, metadata, capabilities, version, .. } = model(value)?;
    let info = MachineInfo {
        ip: public_ip,
        metadata: metadata.unwrap_or_default(),
        capabilities: capabilities.unwrap_or_default(),
        version,
        ..MachineInfo::default()
    };
    Ok((machine_of(id)?, info))
}

fn read_state(name: &str, id: &str, value: &str) -> Result<((UnitName, MachineId), UnitState), String> {
    let StateModel { load_state, active_state, sub_state, unit_hash, .. } = model(value)?;
    let state = UnitState {
        load: load_state,
        active: active_state,
        sub: sub_state,
        hash: unit_hash,
        is_launched: false,
    };
    Ok(((name_of(name)?, machine_of(id)?), state))
}

/// The hash of the file that a job refers to.
pub(super) fn job_hash(object: &str) -> Result<UnitHash, String> {
    let JobModel { unit_hash, .. } = model(object)?;
    Ok(UnitHash(unit_hash))
}

fn read_job(
    name: &UnitName,
    job: &BTreeMap<&str, &str>,
    files: &BTreeMap<UnitHash, UnitFile>,
) -> Result<Unit, String> {
    let object = job.get("object").ok_or("there is no object")?;
    let hash = job_hash(object)?;
    let file = files.get(&hash).ok_or_else(|| format!("there is no file {hash}"))?;
    let desired = job.get("target-state").map_or(Ok(JobState::Inactive), |state| state.parse());
    let target = job.get("target").filter(|id| !id.is_empty()).map(|id| machine_of(id)).transpose()?;
    Ok(Unit { desired: desired.unwrap_or_default(), target, ..Unit::new(name, file.clone()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::*;

    fn example() -> Cluster {
        let mut cluster = cluster(&[("113f16a7", "region=eu")])
            .with("a.service", "113f16a7", "MachineMetadata=region=eu")
            .with("b.service", "", "")
            .with("g.service", "", "Global=true");
        cluster.machines.get_mut(&id("113f16a7")).unwrap().overlay.insert("disk".into(), "ssd".into());
        let state = UnitState {
            load: "loaded".into(),
            active: "active".into(),
            sub: "running".into(),
            hash: cluster.units[&name("a.service")].hash.to_string(),
            is_launched: true,
        };
        cluster.states.insert((name("a.service"), id("113f16a7")), state);
        cluster
    }

    #[test]
    fn keys_and_values_are_those_of_the_original() {
        let leader = LeaderRecord { machine: id("113f16a7"), version: 1 };
        let nodes = encode(&example(), Some(&leader));
        let value = |path: &str| nodes[&format!("{PREFIX}/{path}")].value.clone();
        assert_eq!(value("engine/version"), "1");
        assert_eq!(value("lease/engine-leader"), "{\"MachineID\":\"113f16a7\",\"Version\":1}");
        assert_eq!(
            value("machines/113f16a7/object"),
            "{\"ID\":\"113f16a7\",\"PublicIP\":\"\",\"Metadata\":{\"region\":\"eu\"},\"Capabilities\":{},\"Version\":\"\"}"
        );
        assert_eq!(value("machines/113f16a7/metadata/disk"), "ssd");
        assert_eq!(value("job/a.service/target"), "113f16a7");
        assert_eq!(value("job/a.service/job-state"), "113f16a7");
        assert_eq!(value("job/a.service/target-state"), "launched");
        assert!(value("job/a.service/object").starts_with("{\"Name\":\"a.service\",\"UnitHash\":["));
        assert!(value("states/a.service/113f16a7").starts_with("{\"loadState\":\"loaded\",\"activeState\":\"active\",\"subState\":\"running\",\"machineState\":{\"ID\":\"113f16a7\""));
        let hash = example().units[&name("a.service")].hash;
        assert!(value(&format!("unit/{hash}")).starts_with("{\"Raw\":\"[Service]\\nExecStart=/bin/x\\n"));
        assert!(!nodes.contains_key(&format!("{PREFIX}/job/g.service/target")));
    }

    #[test]
    fn what_is_encoded_is_read_back() {
        let nodes = encode(&example(), None);
        let (cluster, problems) =
            decode(nodes.iter().map(|(path, node)| (path.as_str(), node.value.as_str())));
        assert_eq!(problems, BTreeMap::new());
        assert_eq!(cluster, example());
    }

    #[test]
    fn nothing_in_the_keys_stops_the_rest_from_being_read() {
        let mut nodes: BTreeMap<String, String> =
            encode(&example(), None).into_iter().map(|(path, node)| (path, node.value)).collect();
        let mut put = |path: &str, value: &str| nodes.insert(format!("{PREFIX}/{path}"), value.to_owned());
        // This is what poisoned a unit in the original.
        put("job/a.service/target-state", "nonsense");
        put("job/b.service/object", "{");
        put("job/web/object", "{}");
        put("machines/113f16a8/object", "7");
        put("unit/zz", "{\"Raw\":\"\"}");
        let (cluster, problems) = decode(nodes.iter().map(|(path, value)| (path.as_str(), value.as_str())));
        assert_eq!(cluster.units[&name("a.service")].desired, JobState::Inactive);
        assert!(
            cluster.units.contains_key(&name("g.service")) && !cluster.units.contains_key(&name("b.service"))
        );
        assert_eq!(problems.len(), 4, "{problems:?}");
    }
}
