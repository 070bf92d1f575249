//! Finding the members of a new cluster through a directory that all of them know (etcd: "discovery service protocol").

use super::answer::v2_key;
use super::client::V2Client;
use super::error::V2ClientError;
use super::keys::V2Get;
use seatrial_client::{Roster, Standing};
use seatrial_types::v2::{V2Code, V2Error, V2Node};
use seatrial_world::{Backoff, World, timeout};
use std::time::Duration;

/// Most members a directory may ask for.
const SIZE_MAX: usize = 64;

/// After so much silence the directory is listed again, for a connection may have died unnoticed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why no cluster was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// All places are taken.
    #[error(
        "discovery: cluster is full: {} registered before this member\nhint: a cluster of more members needs another token; one that is to join later needs --initial-cluster and --initial-cluster-state existing",
        roster.names()
    )]
    Full {
        /// By these.
        roster: Roster,
    },
    /// Nobody has said how many there are to be.
    #[error(
        "discovery: size key not found in {directory}\nhint: is the URL whole? PUT {directory}/_config/size with value=3 begins a cluster of three"
    )]
    NoSize {
        /// Where it was looked for.
        directory: String,
    },
    /// It was said, but not in a way that can be meant.
    #[error("discovery: size key is bad: {text:?} is no number from 1 to {SIZE_MAX}")]
    BadSize {
        /// What was said.
        text: String,
    },
    /// Somebody else has registered under this member's number.
    #[error(
        "discovery: found duplicate id {id}: {registered:?} stands there, {own:?} was to be registered\nhint: two members with the same peer URLs?"
    )]
    DuplicateId {
        /// The number.
        id: String,
        /// What stands there.
        registered: String,
        /// What was to stand there.
        own: String,
    },
    /// The service refuses.
    #[error("discovery: {0}")]
    Refused(V2ClientError),
}

fn roster(directory: &V2Node) -> Roster {
    let mut files: Vec<&V2Node> = directory.nodes.iter().filter(|node| !node.dir).collect();
    files.sort_by_key(|node| node.created);
    let entry = |node: &&V2Node| {
        let id = v2_key(&node.path).rsplit('/').next().unwrap_or_default().to_owned();
        (id, node.value.as_deref().unwrap_or_default().to_owned())
    };
    Roster { entries: files.iter().map(entry).collect() }
}

/// The directory of a discovery URL: its service, and the path below which everything lies.
///
/// # Errors
/// A sentence about the URL.
pub fn registry(url: &str) -> Result<(String, String), String> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| format!("{url:?} is no URL"))?;
    if !["http", "https"].contains(&scheme) {
        return Err(format!("{url:?}: unknown scheme {scheme:?}"));
    }
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
    if host.is_empty() || path.is_empty() {
        return Err(format!("{url:?} has no token in its path"));
    }
    Ok((format!("{scheme}://{host}"), path.to_owned()))
}

/// Registers at the directory and waits until all places are taken. `client` asks the service with no prefix
/// (see [`super::V2ClientOptions`]); where the service cannot be reached, it is tried again for ever.
///
/// # Errors
/// Where this cannot become a cluster with this member in it.
pub async fn discover<W: World>(
    world: &W,
    client: &V2Client<W>,
    directory: &str,
    id: &str,
    value: &str,
) -> Result<Roster, DiscoveryError> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    let mut tell = "";
    loop {
        match step(world, client, directory, id, value, &mut tell).await {
            Ok(Some(roster)) => return Ok(roster),
            Ok(None) => backoff.reset(),
            Err(Step::Final(error)) => return Err(error),
            Err(Step::Again(error)) => {
                tracing::warn!(%error, "the discovery service could not be asked");
                backoff.wait(world).await;
            }
        }
    }
}

enum Step {
    Final(DiscoveryError),
    Again(V2ClientError),
}

impl From<V2ClientError> for Step {
    fn from(error: V2ClientError) -> Self {
        match &error {
            V2ClientError::Refused(V2Error { code, .. })
                if ![V2Code::RaftInternal, V2Code::LeaderElection, V2Code::EventIndexCleared]
                    .contains(code) =>
            {
                Self::Final(DiscoveryError::Refused(error))
            }
            _ => Self::Again(error),
        }
    }
}

fn is_missing(error: &V2ClientError) -> bool {
    matches!(error, V2ClientError::Refused(V2Error { code: V2Code::KeyNotFound, .. }))
}

fn is_there(error: &V2ClientError) -> bool {
    matches!(error, V2ClientError::Refused(V2Error { code: V2Code::KeyExists, .. }))
}

/// One look at the directory, and what follows from it. `None`: look again.
async fn step<W: World>(
    world: &W,
    client: &V2Client<W>,
    directory: &str,
    id: &str,
    value: &str,
    tell: &mut &'static str,
) -> Result<Option<Roster>, Step> {
    // Of a service that is a cluster, a member that lags may not know yet what was acknowledged.
    let by_quorum = V2Get { quorum: true, ..V2Get::default() };
    let size = match client.get(&format!("{directory}/_config/size"), by_quorum).await {
        Ok(told) => told.event.node.value.as_deref().unwrap_or_default().to_owned(),
        Err(error) if is_missing(&error) => {
            return Err(Step::Final(DiscoveryError::NoSize { directory: directory.to_owned() }));
        }
        Err(error) => return Err(error.into()),
    };
    let bad = || Step::Final(DiscoveryError::BadSize { text: size.clone() });
    let size: usize =
        size.trim().parse().ok().filter(|size| (1..=SIZE_MAX).contains(size)).ok_or_else(bad)?;
    let listed = client.get(directory, by_quorum).await?;
    let index = listed.index;
    match roster(&listed.event.node).standing(id, size) {
        Standing::Complete(roster) => {
            // Under our number may stand another member with our addresses.
            match roster.entries.iter().find(|(registered, _)| registered == id) {
                Some((_, registered)) if registered != value => {
                    Err(Step::Final(DiscoveryError::DuplicateId {
                        id: id.to_owned(),
                        registered: registered.clone(),
                        own: value.to_owned(),
                    }))
                }
                _ => Ok(Some(roster)),
            }
        }
        Standing::Late(roster) => Err(Step::Final(DiscoveryError::Full { roster })),
        Standing::Absent => match client.create(&format!("{directory}/{id}"), value, None).await {
            // It may have been ours, before a crash or an answer that was lost; the next look tells.
            Err(error) if !is_there(&error) => Err(error.into()),
            _ => Ok(None),
        },
        Standing::Waiting(missing) => {
            if *tell != "waiting" {
                tracing::info!(missing, "registered; waits for the other members");
                *tell = "waiting";
            }
            let change = client.watch(directory, true, index + 1);
            match timeout(world, PATIENCE, change).await {
                Ok(Err(error)) => Err(error.into()),
                Ok(Ok(_)) | Err(_) => Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registrations_count_in_the_order_in_which_they_were_made() {
        let file = |id: &str, created| V2Node {
            path: format!("/1/_etcd/registry/t/{id}"),
            value: Some(format!("m{id}=http://h:{id}").into()),
            created,
            ..V2Node::default()
        };
        let nodes = vec![file("a", 9), file("c", 4), V2Node { dir: true, ..file("_config", 1) }];
        let found = roster(&V2Node { dir: true, nodes, ..V2Node::default() });
        assert_eq!(found.entries.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["c", "a"]);
        assert_eq!(found.members(), ["mc=http://h:c", "ma=http://h:a"]);
    }

    #[test]
    fn the_directory_is_the_path_of_the_url() {
        let both = |service: &str, path: &str| Ok((service.to_owned(), path.to_owned()));
        assert_eq!(registry("http://h:1/abc"), both("http://h:1", "abc"));
        assert_eq!(
            registry("https://h/v2/keys/_etcd/registry/abc/"),
            both("https://h", "v2/keys/_etcd/registry/abc")
        );
        for wrong in ["h/abc", "http://h:1/", "http://h", "ftp://h/a", "http:///a"] {
            assert!(registry(wrong).unwrap_err().contains(wrong), "{wrong}");
        }
    }
}
