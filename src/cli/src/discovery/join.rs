//! The members of a new cluster, found by `seatrial server`.

use super::v3::V3Args;
use super::{dialled, srv};
use crate::server::{Failure, usage};
use clap::Args;
use seatrial_node::Cluster;
use seatrial_wire::{V2Client, V2ClientOptions, discover, registry};
use seatrial_world::World;
use seatrial_world_real::RealWorld;

/// Flags, as etcd has them.
#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// A token of a discovery service, as URL: the other members of the new cluster are given the same.
    #[arg(long, env = "ETCD_DISCOVERY", default_value = "", hide_default_value = true)]
    discovery: String,
    /// `exit` where the cluster is full already; etcd's `proxy` is refused.
    #[arg(long, env = "ETCD_DISCOVERY_FALLBACK", default_value = "exit", value_parser = ["exit", "proxy"])]
    discovery_fallback: String,
    /// A domain whose SRV records name the members of the new cluster.
    #[arg(long, env = "ETCD_DISCOVERY_SRV", default_value = "", hide_default_value = true)]
    discovery_srv: String,
    /// Part of the records' names, for several clusters in one domain.
    #[arg(long, env = "ETCD_DISCOVERY_SRV_NAME", default_value = "", hide_default_value = true)]
    discovery_srv_name: String,
    /// The DNS server to ask, as HOST:PORT [default: those of resolv.conf].
    #[arg(long, env = "SEATRIAL_DISCOVERY_DNS")]
    discovery_dns: Option<String>,
    #[command(flatten)]
    v3: V3Args,
}

/// How the members are found, by the flag that says it.
const BY_URL: &str = "--discovery";
const BY_TOKEN: &str = "--discovery-token";
pub(crate) const BY_SRV: &str = "--discovery-srv";

impl JoinArgs {
    /// The flag that was given.
    pub(crate) fn given(&self) -> Result<Option<&'static str>, Failure> {
        let all = [
            (BY_URL, !self.discovery.is_empty()),
            (BY_TOKEN, self.v3.is_given()),
            (BY_SRV, !self.discovery_srv.is_empty()),
        ];
        let mut given = all.into_iter().filter(|(_, is_given)| *is_given).map(|(flag, _)| flag);
        match (given.next(), given.next()) {
            (Some(one), Some(other)) => Err(usage(format!(
                "{one} and {other} both say how the members are found\nhint: give one of them"
            ))),
            (one, _) => Ok(one),
        }
    }
}

/// What was found.
pub(crate) struct Found {
    /// Names with their peers' URLs.
    pub(crate) members: Vec<(String, Vec<String>)>,
    /// The name among these under which this member stands.
    pub(crate) own: String,
    /// Keeps clusters with equal addresses apart.
    pub(crate) token: String,
}

/// Finds the members of the new cluster, this one among them. Waits for them where that is the way.
pub(crate) async fn found(
    world: &RealWorld,
    args: &JoinArgs,
    name: &str,
    peer_urls: &[String],
    token: &str,
) -> Result<Found, Failure> {
    if !args.discovery_srv.is_empty() {
        return by_srv(world, args, peer_urls, token);
    }
    if args.discovery_fallback == "proxy" {
        return Err(usage("--discovery-fallback proxy is not supported\nhint: exit, the default"));
    }
    if args.v3.is_given() {
        return args.v3.found(world, name, peer_urls).await;
    }
    by_url(world, args, name, peer_urls).await
}

async fn by_url(
    world: &RealWorld,
    args: &JoinArgs,
    name: &str,
    peer_urls: &[String],
) -> Result<Found, Failure> {
    let url = &args.discovery;
    let wrong =
        |why: String| usage(format!("--discovery: {why}\nhint: the URL that the service's /new gives"));
    let (service, directory) = registry(url).map_err(wrong)?;
    let layer = dialled(args.v3.files(), std::slice::from_ref(&service)).map_err(|error| {
        usage(format!(
            "--discovery {url}: {error}\nhint: --discovery-cacert names a file of authorities in PEM form"
        ))
    })?;
    let options = V2ClientOptions { layer, prefix: String::new(), ..V2ClientOptions::default() };
    let client = V2Client::new(world.clone(), &[&service], options).map_err(wrong)?;
    let alone = Cluster::bootstrap([(name, peer_urls.to_vec())], &directory)
        .map_err(|error| usage(error.to_string()))?;
    let id = alone.id_of(name).map_err(|error| usage(error.to_string()))?;
    let value: Vec<String> = peer_urls.iter().map(|url| format!("{name}={url}")).collect();
    tracing::info!(%service, "asks the discovery service");
    let roster = discover(world, &client, &directory, &format!("{:x}", id.0), &value.join(","))
        .await
        .map_err(|error| Failure::Failed(format!("--discovery {url}: {error}")))?;
    let members = crate::server::named_urls(&roster.members())
        .map_err(|error| Failure::Failed(format!("--discovery {url}: what was registered: {error}")))?;
    tracing::info!(members = members.len(), "found the members of the new cluster");
    // The path rather than the whole URL: members may reach the service by different names.
    Ok(Found { members, own: name.to_owned(), token: directory })
}

fn by_srv(world: &RealWorld, args: &JoinArgs, peer_urls: &[String], token: &str) -> Result<Found, Failure> {
    let (domain, name) = (&args.discovery_srv, &args.discovery_srv_name);
    let urls = srv::peer_urls(domain, name, args.discovery_dns.as_deref(), world.rand())
        .map_err(|error| Failure::Failed(format!("--discovery-srv {domain}: {error}")))?;
    let own = srv::own(&urls, peer_urls).cloned().ok_or_else(|| {
        usage(format!(
            "--discovery-srv {domain}: the records name {}, and none of them is in --initial-advertise-peer-urls {}\nhint: host and port of a record must be those that the member advertises",
            urls.join(","),
            peer_urls.join(",")
        ))
    })?;
    // Records know no names of members: each is called by its URL until it tells its name. All members must begin with
    // the same cluster, so ours is not told apart.
    Ok(Found {
        members: urls.into_iter().map(|url| (url.clone(), vec![url])).collect(),
        own,
        token: token.to_owned(),
    })
}
