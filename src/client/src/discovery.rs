//! Finding the members of a new cluster through the v3 keys of another one (etcd 3.6: "v3 discovery").
//!
//! Below `/_etcd/registry/TOKEN` somebody has written how many there are to be (`_config/size`); each member registers
//! under its number (`members/ID`), once, and the first so many by creation are the cluster. The same keys as etcd's, so that
//! members of both find each other.

use crate::error::ClientError;
use crate::roster::{Roster, Standing};
use crate::store::{Store, Watching};
use bytes::Bytes;
use seatrial_types::request::{
    Compare, CompareOp, CompareTarget, PutRequest, RangeRequest, RangeResponse, TxnOp, TxnOpResponse,
    TxnRequest,
};
use seatrial_types::watch::WatchCreate;
use seatrial_types::{Code, Error, KeyRange, Revision};
use seatrial_world::{Backoff, World, timeout};
use std::time::Duration;

/// Below which key everything lies.
const REGISTRY: &str = "/_etcd/registry";

/// Most members a cluster may be to have.
const SIZE_MAX: usize = 64;

/// After so much silence the members are listed again, for a connection may have died unnoticed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why no cluster was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The token cannot be a part of a key.
    #[error(
        "discovery: {token:?} is no token: {why}\nhint: any word that no other new cluster has, such as `openssl rand -hex 16` gives"
    )]
    Token {
        /// What was given.
        token: String,
        /// What is wrong.
        why: &'static str,
    },
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
        "discovery: size key not found: {key}\nhint: is the token right? `etcdctl put {key} 3` begins a cluster of three"
    )]
    NoSize {
        /// Where it was looked for.
        key: String,
    },
    /// It was said, but not in a way that can be meant.
    #[error(
        "discovery: size key is bad: {text:?} in {key} is no number from 1 to {SIZE_MAX}\nhint: `etcdctl put {key} 3`, before a member is started"
    )]
    BadSize {
        /// Where it stands.
        key: String,
        /// What was said.
        text: String,
    },
    /// Somebody else has registered under this member's number.
    #[error(
        "discovery: found duplicate id {id}: {registered:?} stands there, {own:?} was to be registered\nhint: two members with the same peer URLs? Or one whose name has changed: then delete {key}"
    )]
    DuplicateId {
        /// The number.
        id: String,
        /// Where it stands.
        key: String,
        /// What stands there.
        registered: String,
        /// What was to stand there.
        own: String,
    },
    /// The store refuses.
    #[error("discovery: {0}")]
    Refused(ClientError),
}

/// The keys of one token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Registry {
    prefix: String,
}

impl Registry {
    /// # Errors
    /// [`JoinError::Token`].
    pub fn new(token: &str) -> Result<Self, JoinError> {
        let wrong = |why| Err(JoinError::Token { token: token.to_owned(), why });
        if token.is_empty() {
            return wrong("it is empty");
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return wrong("it has a character that is none of the visible ones of ASCII");
        }
        // etcd makes a path of it, where these would lead elsewhere.
        if token.split('/').any(|part| ["", ".", ".."].contains(&part)) {
            return wrong("a part of it between slashes is empty or made of dots");
        }
        Ok(Self { prefix: format!("{REGISTRY}/{token}") })
    }

    /// Under which lies how many members there are to be.
    #[must_use]
    pub fn size_key(&self) -> String {
        format!("{}/_config/size", self.prefix)
    }

    fn members_prefix(&self) -> String {
        format!("{}/members/", self.prefix)
    }

    /// Under which a member registers.
    #[must_use]
    pub fn member_key(&self, id: &str) -> String {
        format!("{}{id}", self.members_prefix())
    }

    fn roster(&self, answer: RangeResponse) -> Roster {
        let prefix = self.members_prefix();
        let mut kvs = answer.kvs;
        kvs.sort_by_key(|kv| kv.create_revision);
        let entries = kvs.iter().filter_map(|kv| {
            let key = String::from_utf8_lossy(&kv.key);
            let value = String::from_utf8_lossy(&kv.value).trim().to_owned();
            // As for etcd, what cannot be a member is none, and takes nobody's place.
            if !value.contains('=') {
                tracing::warn!(%key, value, "passed over what is no name=url");
                return None;
            }
            Some((key.strip_prefix(&prefix)?.to_owned(), value))
        });
        Roster { entries: entries.collect() }
    }
}

enum Step {
    Final(JoinError),
    Again(ClientError),
}

impl From<ClientError> for Step {
    fn from(error: ClientError) -> Self {
        // Whatever may be otherwise in a moment is tried again, as by etcd. Whether a lost registration has happened, the
        // next look tells.
        match error.error.code() {
            Code::InvalidArgument
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::Unimplemented => Self::Final(JoinError::Refused(error)),
            _ => Self::Again(error),
        }
    }
}

/// An answer that does not fit the question.
fn odd() -> Step {
    Step::Again(ClientError::certain(Error::Other(
        Code::Internal,
        "the answer does not fit the transaction".into(),
    )))
}

/// Registers `value` (`name=url,name=url`) under a member's number and waits until all places are taken. Where the store
/// cannot be asked it is tried again for ever.
///
/// # Errors
/// Where this cannot become a cluster with this member in it.
pub async fn join_cluster<W: World, S: Store>(
    world: &W,
    store: &S,
    registry: &Registry,
    id: &str,
    value: &str,
) -> Result<Roster, JoinError> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    let mut missing = 0;
    loop {
        match step(world, store, registry, id, value, &mut missing).await {
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

/// Size and members at one revision, as new as any that was acknowledged: a member of the store that lags asks the others.
async fn look<S: Store>(store: &S, registry: &Registry) -> Result<(usize, Roster, Revision), Step> {
    let range = |range| TxnOp::Range(RangeRequest { range, ..RangeRequest::default() });
    let success = vec![
        range(KeyRange::single(registry.size_key())),
        range(KeyRange::prefix(registry.members_prefix())),
    ];
    let answer = store.txn(TxnRequest { success, ..TxnRequest::default() }).await?;
    let mut responses = answer.responses.into_iter();
    let (Some(TxnOpResponse::Range(size)), Some(TxnOpResponse::Range(members))) =
        (responses.next(), responses.next())
    else {
        return Err(odd());
    };
    let key = registry.size_key();
    let Some(told) = size.kvs.first() else { return Err(Step::Final(JoinError::NoSize { key })) };
    let text = String::from_utf8_lossy(&told.value).into_owned();
    let number = text.trim().parse().ok().filter(|size| (1..=SIZE_MAX).contains(size));
    let size = number.ok_or(Step::Final(JoinError::BadSize { key, text }))?;
    Ok((size, registry.roster(members), answer.header.revision))
}

/// One look, and what follows from it. `None`: look again.
async fn step<W: World, S: Store>(
    world: &W,
    store: &S,
    registry: &Registry,
    id: &str,
    value: &str,
    told: &mut usize,
) -> Result<Option<Roster>, Step> {
    let (size, roster, revision) = look(store, registry).await?;
    // Under our number may stand another member with our addresses. etcd would write over it.
    if let Some(registered) = roster.registered(id).filter(|registered| *registered != value) {
        return Err(Step::Final(JoinError::DuplicateId {
            id: id.to_owned(),
            key: registry.member_key(id),
            registered: registered.to_owned(),
            own: value.to_owned(),
        }));
    }
    match roster.standing(id, size) {
        Standing::Complete(roster) => Ok(Some(roster)),
        Standing::Late(roster) => Err(Step::Final(JoinError::Full { roster })),
        Standing::Absent => {
            let key: Bytes = registry.member_key(id).into();
            let absent = Compare {
                range: KeyRange::single(key.clone()),
                op: CompareOp::Equal,
                target: CompareTarget::Create(Revision(0)),
            };
            let put = PutRequest { key, value: value.to_owned().into(), ..PutRequest::default() };
            let success = vec![TxnOp::Put(put)];
            // Not taken where it is there already: by us, before a crash, or by another one; the next look tells.
            store.txn(TxnRequest { compare: vec![absent], success, ..TxnRequest::default() }).await?;
            Ok(None)
        }
        Standing::Waiting(missing) => {
            if *told != missing {
                tracing::info!(missing, "registered; waits for the other members");
                *told = missing;
            }
            let range = KeyRange::prefix(registry.members_prefix());
            let watch = WatchCreate { range, start_revision: revision.next(), ..WatchCreate::default() };
            match timeout(world, PATIENCE, changed(store.watch(watch))).await {
                Ok(Err(error)) => Err(error.into()),
                Ok(Ok(())) | Err(_) => Ok(None),
            }
        }
    }
}

/// Until something has changed, or that cannot be known any more.
async fn changed(mut watch: impl Watching) -> Result<(), ClientError> {
    while let Some(answer) = watch.next().await {
        let answer = answer?;
        if answer.canceled || !answer.events.is_empty() {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_part_of_a_key_and_leads_nowhere_else() {
        let registry = Registry::new("3e86b59982e49066c5d813af1c2e2579cbf573de").unwrap();
        assert_eq!(
            registry.size_key(),
            "/_etcd/registry/3e86b59982e49066c5d813af1c2e2579cbf573de/_config/size"
        );
        assert_eq!(
            Registry::new("team/one").unwrap().member_key("8e9e05c52164694d"),
            "/_etcd/registry/team/one/members/8e9e05c52164694d"
        );
        for wrong in ["", "/a", "a/", "a//b", "..", "a/../b", "a b", "a\n", "ä", "."] {
            let error = Registry::new(wrong).unwrap_err().to_string();
            assert!(error.contains(&format!("{wrong:?}")) && error.contains("hint: "), "{error}");
        }
    }
}
