//! Before a member serves it may compare what it holds with its peers (etcd: the initial corruption check).
//!
//! Only hashes at the same revision over the same compaction are held against each other; a peer that cannot be
//! reached, or is elsewhere in its history, says nothing.

use crate::member::Member;
use crate::runner::{StartError, address_of};
use crate::transport;
use futures::future::join_all;
use seatrial_store::Backend;
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::{MemberId, Revision};
use seatrial_world::{Secure, World};
use std::sync::Arc;

pub(crate) async fn compare<W: World, B: Backend>(
    world: &W,
    member: &Member<B>,
    layer: Option<&Arc<dyn Secure>>,
) -> Result<(), StartError> {
    let here = member.store().hash_kv(Revision(0))?;
    let others = member.cluster().members.values().filter(|other| other.id != member.id());
    let asked = others.map(|other| async move {
        for url in &other.peer_urls {
            let Ok(address) = address_of(url) else { continue };
            let at = if is_planted(Planted::C03) { Revision(0) } else { here.hash_revision };
            match transport::ask_hash(world, &address, layer, at).await {
                Ok(answer) => return (other.id, Some(answer)),
                Err(error) => tracing::info!(peer = %other.id, %error, "a peer does not tell its hash"),
            }
        }
        (other.id, None)
    });
    let answers = join_all(asked).await;
    let mut differ: Vec<(MemberId, u32)> = Vec::new();
    for (peer, answer) in answers {
        match answer {
            Some(Ok(there)) if there.compact_revision != here.compact_revision => {
                tracing::info!(%peer, there = %there.compact_revision, here = %here.compact_revision,
                    "a peer is compacted elsewhere, so that hashes cannot be compared");
            }
            Some(Ok(there)) if there.hash != here.hash => differ.push((peer, there.hash)),
            Some(Ok(_)) => tracing::info!(%peer, revision = %here.hash_revision, "a peer holds the same"),
            Some(Err(error)) => tracing::info!(%peer, %error, "a peer cannot tell its hash at this revision"),
            None => {}
        }
    }
    if differ.is_empty() {
        return Ok(());
    }
    let told: Vec<String> =
        differ.iter().map(|(peer, hash)| format!("{hash:08x} at member {:x}", peer.0)).collect();
    Err(StartError::Inconsistent {
        member: member.id().0,
        revision: here.hash_revision,
        compacted: here.compact_revision,
        hash: here.hash,
        told: told.join(", "),
    })
}
