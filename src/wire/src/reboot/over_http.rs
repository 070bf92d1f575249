//! The lock's keys over the v2 API.

use super::refused;
use crate::client::{V2Client, V2ClientError, V2Delete, V2Get, v2_key};
use seatrial_reboot::{Entry, Found, Keys, KeysError};
use seatrial_types::v2::V2Compare;
use seatrial_world::World;

/// The v2 keys of a cluster, ours or etcd's. Cheap to clone.
pub struct V2Keys<W: World>(pub V2Client<W>);

impl<W: World> Clone for V2Keys<W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

const QUORUM: V2Get = V2Get { recursive: false, sorted: true, quorum: true };

fn failed(error: &V2ClientError) -> KeysError {
    match error {
        V2ClientError::Refused(error) => refused(error),
        other => {
            let why = other.to_string();
            KeysError::Unavailable { why: why.trim_end().to_owned(), ambiguous: other.is_ambiguous() }
        }
    }
}

fn at(index: u64) -> V2Compare {
    V2Compare { value: String::new(), index }
}

impl<W: World> Keys for V2Keys<W> {
    async fn get(&self, key: &str) -> Result<Found, KeysError> {
        let node = self.0.get(key, QUORUM).await.map_err(|error| failed(&error))?.event.node;
        Ok(Found { value: node.value.as_deref().unwrap_or_default().to_owned(), index: node.modified })
    }

    async fn create(&self, key: &str, value: &str) -> Result<u64, KeysError> {
        let told = self.0.create(key, value, None).await.map_err(|error| failed(&error))?;
        Ok(told.event.index())
    }

    async fn compare_and_swap(&self, key: &str, value: &str, index: u64) -> Result<u64, KeysError> {
        let told = self.0.compare_and_swap(key, at(index), value, None).await;
        Ok(told.map_err(|error| failed(&error))?.event.index())
    }

    async fn compare_and_delete(&self, key: &str, index: u64) -> Result<(), KeysError> {
        let delete = V2Delete { prev: at(index), ..V2Delete::default() };
        self.0.delete(key, &delete).await.map(drop).map_err(|error| failed(&error))
    }

    async fn list(&self, directory: &str) -> Result<Vec<Entry>, KeysError> {
        let node = self.0.get(directory, QUORUM).await.map_err(|error| failed(&error))?.event.node;
        let entry = |path: &str, dir| Entry { key: v2_key(path).to_owned(), dir };
        let mut entries: Vec<Entry> = node.nodes.iter().map(|node| entry(&node.path, node.dir)).collect();
        entries.sort();
        Ok(entries)
    }

    async fn changed(&self, key: &str, after: u64) -> Result<u64, KeysError> {
        let told = self.0.watch(key, false, after + 1).await.map_err(|error| failed(&error))?;
        Ok(told.event.index())
    }
}
