//! The values: JSON, so that a person with `etcdctl get` can read them.

use crate::model::JobState;
use crate::unit::{MachineId, UnitFile, UnitOption};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A value that is not what its key says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error(
    "the value of {key} cannot be read: {problem}\nhint: it was not written by fleet; delete it, or put back what was there"
)]
pub struct RecordError {
    /// Which key.
    pub key: String,
    /// What is wrong.
    pub problem: String,
}

/// `spec/unit/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct UnitRecord {
    pub(crate) options: Vec<UnitOption>,
}

impl UnitRecord {
    pub(crate) fn of(file: &UnitFile) -> Self {
        Self { options: file.options().to_vec() }
    }
}

/// `spec/desired/<name>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct DesiredRecord {
    pub(crate) state: JobState,
}

/// `spec/target/<name>`: the machine a unit is scheduled to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// Which machine.
    pub machine: MachineId,
}

/// `spec/metadata/<id>/<key>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MetadataRecord {
    /// Empty: the machine is to have no such key.
    pub value: String,
}

/// What the engine that leads proclaims.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaderRecord {
    /// The machine it runs on.
    #[serde(rename = "MachineID")]
    pub machine: MachineId,
    /// The version of the engine.
    #[serde(rename = "Version")]
    pub version: u32,
}

/// The value of a record.
pub(crate) fn encode(record: &impl Serialize) -> Bytes {
    serde_json::to_vec(record).expect("our records have string keys and no failing parts").into()
}

/// Reads a record.
pub(crate) fn decode<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, RecordError> {
    serde_json::from_slice(value).map_err(|error| RecordError {
        key: String::from_utf8_lossy(key).into_owned(),
        problem: error.to_string(),
    })
}
