//! The lock's keys in the member itself.

use super::refused;
use seatrial_etcd::{Ask, AskV2, EtcdService, Outside};
use seatrial_reboot::{Entry, Found, Keys, KeysError};
use seatrial_types::Error;
use seatrial_types::v2::{
    KEYS, V2Action, V2Answer, V2Change, V2Compare, V2Event, V2Life, V2Node, V2Request, V2Watch,
};
use std::sync::Arc;

/// The v2 keys of a member, for the server's own use.
pub(crate) struct StoreKeys<A> {
    service: EtcdService<A>,
    outside: Arc<dyn Outside>,
}

impl<A: Clone> Clone for StoreKeys<A> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone(), outside: self.outside.clone() }
    }
}

fn unavailable(error: &Error, is_write: bool) -> KeysError {
    KeysError::Unavailable { why: error.to_string(), ambiguous: is_write && error.is_ambiguous() }
}

fn path(key: &str) -> String {
    format!("{KEYS}{key}")
}

impl<A: Ask> StoreKeys<A> {
    pub(crate) fn new(service: EtcdService<A>, outside: Arc<dyn Outside>) -> Self {
        Self { service: service.for_server(), outside }
    }

    async fn ask(&self, request: V2Request) -> Result<Arc<V2Event>, KeysError> {
        let is_write = matches!(request, V2Request::Change(_));
        let answer = self.service.v2(request).await.map_err(|error| unavailable(&error, is_write))?;
        match answer.result {
            Ok(V2Answer::Event(event)) => Ok(event),
            Ok(other) => unreachable!("nobody asked for figures: {other:?}"),
            Err(error) => Err(refused(&error)),
        }
    }

    async fn read(&self, key: &str) -> Result<V2Node, KeysError> {
        let read = V2Request::Read { path: path(key), recursive: false, quorum: true };
        Ok(self.ask(read).await?.node.clone())
    }

    async fn change(&self, key: &str, action: V2Action) -> Result<u64, KeysError> {
        let wall_ns = i64::try_from(self.outside.wall().as_nanos()).unwrap_or(i64::MAX);
        let change = V2Change { path: path(key), action, wall_ns };
        Ok(self.ask(V2Request::Change(change)).await?.index())
    }
}

impl<A: Ask> Keys for StoreKeys<A> {
    async fn get(&self, key: &str) -> Result<Found, KeysError> {
        let node = self.read(key).await?;
        // A directory has no value; it parses as nothing, and whoever reads it says so.
        let value = node.value.as_deref().unwrap_or_default().to_owned();
        Ok(Found { value, index: node.modified })
    }

    async fn create(&self, key: &str, value: &str) -> Result<u64, KeysError> {
        let life = V2Life::default();
        self.change(key, V2Action::Create { dir: false, value: value.to_owned(), life }).await
    }

    async fn compare_and_swap(&self, key: &str, value: &str, index: u64) -> Result<u64, KeysError> {
        let prev = V2Compare { value: String::new(), index };
        let (value, life) = (value.to_owned(), V2Life::default());
        self.change(key, V2Action::CompareAndSwap { prev, value, life }).await
    }

    async fn compare_and_delete(&self, key: &str, index: u64) -> Result<(), KeysError> {
        let prev = V2Compare { value: String::new(), index };
        self.change(key, V2Action::CompareAndDelete { prev }).await.map(drop)
    }

    async fn list(&self, directory: &str) -> Result<Vec<Entry>, KeysError> {
        let node = self.read(directory).await?;
        let key = |path: &str| crate::client::v2_key(path).to_owned();
        let mut entries: Vec<Entry> =
            node.nodes.iter().map(|node| Entry { key: key(&node.path), dir: node.dir }).collect();
        entries.sort();
        Ok(entries)
    }

    async fn changed(&self, key: &str, after: u64) -> Result<u64, KeysError> {
        let watch = V2Watch { path: path(key), recursive: false, stream: false, since: after + 1 };
        let waiting = self.service.v2_watch(watch).await.map_err(|error| unavailable(&error, false))?;
        let mut waiting = waiting.map_err(|error| refused(&error))?;
        match waiting.next().await {
            Some(event) => Ok(event.index()),
            None => Err(KeysError::Unavailable { why: "the member stops".to_owned(), ambiguous: false }),
        }
    }
}
