//! Which machine hosts which member of the store, and which members are healthy: what the guard of the quorum asks.

use crate::client::{ChannelOptions, connect};
use seatrial_client::{ClientOptions, Store};
use seatrial_reboot::{Hosted, Keys, KeysError, Quorum, ROOT};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::request::{Member, StatusResponse};
use seatrial_types::{LogIndex, MemberId};
use seatrial_world::{Secure, World};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The directory in which it stands where members run. Its name begins with `_`, so that no old program lists it.
pub const MEMBERS: &str = "/coreos.com/updateengine/rebootlock/_members";

/// A member that does not answer in this time is not healthy.
const PATIENCE: Duration = Duration::from_secs(1);

/// Entries of the log by which a healthy member may be behind the first.
const LAG_MAX: u64 = 5_000;

fn key(member: MemberId) -> String {
    debug_assert!(MEMBERS.starts_with(ROOT), "beside the semaphores");
    format!("{MEMBERS}/{:x}", member.0)
}

/// Writes down that a member runs on this machine, by the id with which the machine asks for the lock.
///
/// # Errors
/// Where the store does not take it; a lost race is one, too.
pub async fn place<K: Keys>(keys: &K, member: MemberId, machine: &str) -> Result<(), KeysError> {
    let key = key(member);
    match keys.get(&key).await {
        Ok(found) if found.value == machine => Ok(()),
        Ok(found) => keys.compare_and_swap(&key, machine, found.index).await.map(drop),
        Err(KeysError::NotFound { .. }) => keys.create(&key, machine).await.map(drop),
        Err(error) => Err(error),
    }
}

/// How the store's members are looked at.
pub struct Survey<'a, W, K> {
    /// Where from.
    pub world: &'a W,
    /// Where it stands on which machines they run.
    pub keys: &'a K,
    /// What lies around connections to https addresses.
    pub layer: Option<Arc<dyn Secure>>,
    /// Where members run, by name or by id in hexadecimal digits: before what stands in the store.
    pub placed: &'a BTreeMap<String, String>,
}

impl<W: World, K: Keys> Survey<'_, W, K> {
    /// Asks all members how they are, and the store where they run. `known`: what is known of one that is not to be asked.
    ///
    /// # Errors
    /// Where the store does not say where they run. A member that does not answer is not healthy, and no error.
    pub async fn look(&self, members: &[Member], known: &[StatusResponse]) -> Result<Quorum, KeysError> {
        let statuses =
            futures::future::join_all(members.iter().map(|member| self.status(member, known))).await;
        let newest = statuses.iter().flatten().map(|status| status.raft_applied_index).max();
        let mut quorum = Quorum::default();
        for (member, status) in members.iter().zip(statuses) {
            let healthy = status.is_some_and(|status| is_healthy(&status, newest.unwrap_or_default()))
                || is_planted(Planted::K13);
            let machine = self.machine(member).await?;
            quorum.members.insert(member.id, Hosted { voter: !member.is_learner, healthy, machine });
        }
        Ok(quorum)
    }

    async fn status(&self, member: &Member, known: &[StatusResponse]) -> Option<StatusResponse> {
        let is_its = |status: &&StatusResponse| status.header.member_id == member.id;
        if let Some(status) = known.iter().find(is_its) {
            return Some(status.clone());
        }
        let channel = ChannelOptions {
            layer: self.layer.clone(),
            connect_timeout: PATIENCE,
            ..ChannelOptions::default()
        };
        let options = ClientOptions { request_timeout: PATIENCE, ..ClientOptions::default() };
        let client = connect(self.world, &member.client_urls, &channel, options).ok()?;
        // An address that leads to another member says nothing about this one.
        client.status().await.ok().filter(|status| is_its(&status))
    }

    async fn machine(&self, member: &Member) -> Result<Option<String>, KeysError> {
        let id = format!("{:x}", member.id.0);
        if let Some(machine) = self.placed.get(&member.name).or_else(|| self.placed.get(&id)) {
            return Ok(Some(machine.clone()));
        }
        match self.keys.get(&key(member.id)).await {
            Ok(found) => Ok(Some(found.value).filter(|machine| !machine.is_empty())),
            Err(KeysError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn is_healthy(status: &StatusResponse, newest: LogIndex) -> bool {
    let is_corrupt = status.errors.iter().any(|error| error.contains("CORRUPT"));
    status.leader != MemberId::NONE && !is_corrupt && status.raft_applied_index.0 + LAG_MAX >= newest.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_healthy_with_a_leader_and_not_far_behind() {
        let status = StatusResponse {
            leader: MemberId(1),
            raft_applied_index: LogIndex(100),
            ..StatusResponse::default()
        };
        assert!(is_healthy(&status, LogIndex(100 + LAG_MAX)));
        assert!(!is_healthy(&status, LogIndex(101 + LAG_MAX)), "far behind");
        assert!(!is_healthy(&StatusResponse { leader: MemberId::NONE, ..status.clone() }, LogIndex(100)));
        let errors = vec!["memberID:1 alarm:CORRUPT ".to_owned()];
        assert!(!is_healthy(&StatusResponse { errors, ..status.clone() }, LogIndex(100)));
        let errors = vec!["memberID:1 alarm:NOSPACE ".to_owned()];
        assert!(is_healthy(&StatusResponse { errors, ..status }, LogIndex(100)), "it still votes");
    }
}
