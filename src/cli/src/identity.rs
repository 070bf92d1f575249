//! Who the member is that `seatrial server` starts: told by its disk, else by the flags, else by the cluster it joins.

use crate::server::{Failure, usage};
use seatrial_node::{Cluster, address_of, ask_cluster, read_identity};
use seatrial_types::MemberId;
use seatrial_world::{Secure, World};
use seatrial_world_real::RealWorld;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Rounds over all members of the flags, when one that joins asks who they are.
const ROUNDS: u32 = 5;

/// What the flags say.
pub(crate) struct Told<'a> {
    pub(crate) name: &'a str,
    pub(crate) data_dir: &'a str,
    /// `--initial-advertise-peer-urls`, or where they default to.
    pub(crate) peer_urls: &'a [String],
    /// `--initial-cluster`, by name.
    pub(crate) members: &'a [(String, Vec<String>)],
    pub(crate) token: &'a str,
    /// TLS between members, where they speak it.
    pub(crate) layer: Option<Arc<dyn Secure>>,
    /// `--initial-cluster-state existing`.
    pub(crate) existing: bool,
}

/// Who a member is.
pub(crate) struct Who {
    pub(crate) id: MemberId,
    /// The cluster as it began.
    pub(crate) cluster: Cluster,
    pub(crate) known_peers: BTreeMap<MemberId, Vec<String>>,
}

fn sorted(urls: &[String]) -> Vec<String> {
    let mut urls = urls.to_vec();
    urls.sort();
    urls
}

pub(crate) async fn find(world: &RealWorld, told: &Told<'_>) -> Result<Who, Failure> {
    let Told { data_dir, existing, .. } = told;
    if let Some(who) = on_disk(world, data_dir)? {
        // As in etcd, the flags for the first start say nothing any more.
        return Ok(who);
    }
    if *existing { join(world, told).await } else { bootstrap(told) }
}

fn on_disk(world: &RealWorld, data_dir: &str) -> Result<Option<Who>, Failure> {
    if !std::path::Path::new(data_dir).is_dir() {
        return Ok(None);
    }
    let read = world.disk(data_dir).and_then(|disk| read_identity(&disk));
    let identity = read.map_err(|error| Failure::Failed(format!("the data folder {data_dir:?}: {error}")))?;
    Ok(identity.map(|found| Who { id: found.member, cluster: found.cluster, known_peers: found.known_peers }))
}

fn bootstrap(told: &Told<'_>) -> Result<Who, Failure> {
    let named = told.members.iter().map(|(name, urls)| (name.as_str(), urls.clone()));
    let wrong = |error| usage(format!("--initial-cluster: {error}"));
    let cluster = Cluster::bootstrap(named, told.token).map_err(wrong)?;
    let id = cluster.id_of(told.name).map_err(wrong)?;
    same_urls(told, &cluster.members[&id].peer_urls)?;
    Ok(Who { id, cluster, known_peers: BTreeMap::new() })
}

fn same_urls(told: &Told<'_>, own: &[String]) -> Result<(), Failure> {
    if sorted(own) == sorted(told.peer_urls) {
        return Ok(());
    }
    Err(usage(format!(
        "--initial-cluster has {} for {:?}, --initial-advertise-peer-urls says {}\nhint: both must be the same",
        own.join(","),
        told.name,
        told.peer_urls.join(",")
    )))
}

/// Asks the other members of the flags who the cluster is, and finds itself among them by its address.
async fn join(world: &RealWorld, told: &Told<'_>) -> Result<Who, Failure> {
    let own = told.members.iter().find(|(name, _)| name == told.name).map(|(_, urls)| urls);
    let Some(own) = own else {
        return Err(usage(format!(
            "the member {:?} is not in --initial-cluster\nhint: --initial-cluster names all members, this one included",
            told.name
        )));
    };
    same_urls(told, own)?;
    let mut addresses = Vec::new();
    for (_, urls) in told.members.iter().filter(|(name, _)| name != told.name) {
        for url in urls {
            let address = address_of(url).map_err(|error| usage(format!("--initial-cluster: {error}")))?;
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(usage(
            "--initial-cluster-state existing, but --initial-cluster names nobody else\nhint: a member that comes back needs its own --data-dir; one that joins, the addresses of the others",
        ));
    }
    let mut answer = ask_cluster(world, &addresses, told.layer.as_ref()).await;
    for _ in 1..ROUNDS {
        if answer.is_ok() {
            break;
        }
        world.sleep(Duration::from_secs(1)).await;
        answer = ask_cluster(world, &addresses, told.layer.as_ref()).await;
    }
    let cluster = answer.map_err(|errors| {
        Failure::Failed(format!(
            "no member of the cluster answers:\n{errors}\nhint: --initial-cluster must hold the peer addresses of members that run"
        ))
    })?;
    let urls = sorted(told.peer_urls);
    let me = cluster.members.values().find(|member| sorted(&member.peer_urls) == urls).ok_or_else(|| {
        Failure::Failed(format!(
            "the cluster knows no member at {}\nhint: first `seatrial etcdctl member add {} --peer-urls={}`",
            urls.join(","),
            told.name,
            urls.join(",")
        ))
    })?;
    if !me.name.is_empty() && me.name != told.name {
        return Err(usage(format!(
            "the member at {} is called {:?} and has run already\nhint: start it with its own --data-dir, or remove it and add a new one",
            urls.join(","),
            me.name
        )));
    }
    let id = me.id;
    let others = cluster.members.values().filter(|member| member.id != id);
    let known_peers = others.map(|member| (member.id, member.peer_urls.clone())).collect();
    Ok(Who { id, cluster: cluster.first(), known_peers })
}
