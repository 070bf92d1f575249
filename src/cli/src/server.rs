//! `seatrial server`: one member, with etcd's flags.

use crate::fault_dir::FaultDir;
use crate::{exit, identity};
use clap::Args;
use seatrial_etcd::{AuthOptions, TokenOptions};
use seatrial_node::{
    AutoCompaction, Blind, MemberOptions, NodeOptions, Observation, Observer, PeerVersions, Rescue,
};
use seatrial_types::MemberId;
use seatrial_wire::{ServeOptions, Tls, TlsFiles, is_https};
use seatrial_world::{Listener, Secure, World};
use seatrial_world_real::RealWorld;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Where clients are heard if nobody says where.
const DEFAULT_CLIENT_URL: &str = "http://localhost:2379";
/// And, then, here too: etcd before its second version heard them there.
const FIRST_CLIENT_ADDRESS: &str = "127.0.0.1:4001";

/// Flags are etcd's; each can also be given as an environment variable (`ETCD_NAME`, `ETCD_DATA_DIR`, …).
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// This member's name, as it stands in --initial-cluster.
    #[arg(long, env = "ETCD_NAME", default_value = "default")]
    name: String,
    /// Folder for everything this member keeps [default: NAME.etcd].
    #[arg(long, env = "ETCD_DATA_DIR")]
    data_dir: Option<String>,
    /// Where clients are heard; several are separated by commas.
    #[arg(
        long,
        env = "ETCD_LISTEN_CLIENT_URLS",
        default_value = DEFAULT_CLIENT_URL,
        value_delimiter = ','
    )]
    listen_client_urls: Vec<String>,
    /// What clients are told [default: the listen URLs].
    #[arg(long, env = "ETCD_ADVERTISE_CLIENT_URLS", value_delimiter = ',')]
    advertise_client_urls: Vec<String>,
    /// Where peers are heard.
    #[arg(
        long,
        env = "ETCD_LISTEN_PEER_URLS",
        default_value = "http://localhost:2380",
        value_delimiter = ','
    )]
    listen_peer_urls: Vec<String>,
    /// What peers are told [default: the listen URLs].
    #[arg(long, env = "ETCD_INITIAL_ADVERTISE_PEER_URLS", value_delimiter = ',')]
    initial_advertise_peer_urls: Vec<String>,
    /// All members at the first start: a=http://host:2380,b=… [default: this member alone].
    #[arg(long, env = "ETCD_INITIAL_CLUSTER", value_delimiter = ',')]
    initial_cluster: Vec<String>,
    /// `new`, or `existing` for a member that joins a running cluster.
    #[arg(long, env = "ETCD_INITIAL_CLUSTER_STATE", default_value = "new")]
    initial_cluster_state: String,
    /// Keeps clusters with equal addresses apart.
    #[arg(long, env = "ETCD_INITIAL_CLUSTER_TOKEN", default_value = "etcd-cluster")]
    initial_cluster_token: String,
    /// Milliseconds between a leader's heartbeats.
    #[arg(long, env = "ETCD_HEARTBEAT_INTERVAL", default_value_t = 100)]
    heartbeat_interval: u64,
    /// Milliseconds of a leader's silence after which an election may begin.
    #[arg(long, env = "ETCD_ELECTION_TIMEOUT", default_value_t = 1000)]
    election_timeout: u64,
    /// Applied entries after which the log is cut.
    #[arg(long, env = "ETCD_SNAPSHOT_COUNT", default_value_t = 10_000)]
    snapshot_count: u64,
    /// Entries kept behind a cut, for members that lag a little.
    #[arg(long, env = "ETCD_SNAPSHOT_CATCHUP_ENTRIES", default_value_t = 5_000)]
    snapshot_catchup_entries: u64,
    /// Bytes the store's file may take before writes are refused; 0 means 2 GiB, a negative number no limit.
    #[arg(long, env = "ETCD_QUOTA_BACKEND_BYTES", default_value_t = 0, allow_negative_numbers = true)]
    quota_backend_bytes: i64,
    /// What --auto-compaction-retention counts: `periodic` time or `revision`s.
    #[arg(long, env = "ETCD_AUTO_COMPACTION_MODE", default_value = "periodic")]
    auto_compaction_mode: String,
    /// History that is kept: `72h`, `30m`, or hours without a unit; in revision mode a number. 0 keeps all.
    #[arg(long, env = "ETCD_AUTO_COMPACTION_RETENTION", default_value = "0")]
    auto_compaction_retention: String,
    /// Bytes of one segment of the write-ahead log.
    #[arg(long, env = "SEATRIAL_WAL_SEGMENT_BYTES", default_value_t = 64 << 20)]
    wal_segment_bytes: u64,
    /// This member's certificate for clients, in PEM form.
    #[arg(long, env = "ETCD_CERT_FILE", default_value = "", hide_default_value = true)]
    cert_file: String,
    /// The key of --cert-file.
    #[arg(long, env = "ETCD_KEY_FILE", default_value = "", hide_default_value = true)]
    key_file: String,
    /// Authorities of clients' certificates; given, every client must show one.
    #[arg(long, env = "ETCD_TRUSTED_CA_FILE", default_value = "", hide_default_value = true)]
    trusted_ca_file: String,
    /// Ask clients for certificates.
    #[arg(long, env = "ETCD_CLIENT_CERT_AUTH", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true", hide_default_value = true,
        action = clap::ArgAction::Set)]
    client_cert_auth: bool,
    /// This member's certificate for peers, with which it listens and dials.
    #[arg(long, env = "ETCD_PEER_CERT_FILE", default_value = "", hide_default_value = true)]
    peer_cert_file: String,
    /// The key of --peer-cert-file.
    #[arg(long, env = "ETCD_PEER_KEY_FILE", default_value = "", hide_default_value = true)]
    peer_key_file: String,
    /// Authorities of peers' certificates.
    #[arg(long, env = "ETCD_PEER_TRUSTED_CA_FILE", default_value = "", hide_default_value = true)]
    peer_trusted_ca_file: String,
    /// Ask peers for certificates.
    #[arg(long, env = "ETCD_PEER_CLIENT_CERT_AUTH", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true", hide_default_value = true,
        action = clap::ArgAction::Set)]
    peer_client_cert_auth: bool,
    /// Kind of tokens: simple, or jwt,pub-key=FILE,priv-key=FILE,sign-method=RS256,ttl=5m.
    #[arg(long, env = "ETCD_AUTH_TOKEN", default_value = "simple")]
    auth_token: String,
    /// Seconds a simple token lives after its last use.
    #[arg(long, env = "ETCD_AUTH_TOKEN_TTL", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    auth_token_ttl: u64,
    /// Rounds of bcrypt for passwords, as a power of two.
    #[arg(long, env = "ETCD_BCRYPT_COST", default_value_t = 10, value_parser = clap::value_parser!(u32).range(4..=31))]
    bcrypt_cost: u32,
    /// debug, info, warn or error.
    #[arg(long, env = "ETCD_LOG_LEVEL", default_value = "info")]
    log_level: String,
    /// The newest version of the protocol between members that may be spoken, for a cluster that is to go back to a build
    /// that knows no newer one [default: the newest that this build knows].
    #[arg(long, env = "SEATRIAL_MAX_PEER_VERSION", value_parser = peer_versions)]
    max_peer_version: Option<PeerVersions>,
    /// Start a lone member although its log has lost acknowledged entries.
    #[arg(long)]
    accept_data_loss: bool,
    /// The majority of the members is lost for good: go on alone, with the data of this one. Never while another
    /// member may come back: it would be told that it was removed.
    #[arg(long, env = "ETCD_FORCE_NEW_CLUSTER", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true", hide_default_value = true,
        action = clap::ArgAction::Set)]
    force_new_cluster: bool,
    /// For the testbed: a folder whose files let this member's disk fail.
    #[arg(long, hide = true)]
    fault_dir: Option<std::path::PathBuf>,
    #[command(flatten)]
    join: crate::discovery::JoinArgs,
    #[command(flatten)]
    upkeep: crate::upkeep_flags::UpkeepArgs,
    #[command(flatten)]
    faces: crate::faces::FacesArgs,
    #[command(flatten)]
    reboot: crate::reboot::ServingArgs,
}

fn peer_versions(text: &str) -> Result<PeerVersions, String> {
    let max = text.parse().map_err(|_| "a version of the peer protocol is a number".to_owned())?;
    PeerVersions::up_to(max)
}

/// Etcd's own parser takes `-name` as well as `--name`.
pub(crate) fn accept_single_dashes(args: &mut [OsString]) {
    for arg in args.iter_mut().skip(2) {
        let Some(text) = arg.to_str() else { continue };
        let long = text.len() > 2 && text.starts_with('-') && !text.starts_with("--");
        if long && text[1..].chars().next().is_some_and(char::is_alphabetic) {
            *arg = format!("-{text}").into();
        }
    }
}

pub(crate) fn run(args: ServerArgs) -> ExitCode {
    let level = match args.log_level.as_str() {
        level @ ("trace" | "debug" | "info" | "warn" | "error") => level,
        "panic" | "fatal" => "error",
        other => {
            eprintln!("seatrial: --log-level {other:?} is unknown\nhint: debug, info, warn or error");
            return ExitCode::from(exit::USAGE);
        }
    };
    let filter =
        std::env::var("SEATRIAL_LOG").unwrap_or_else(|_| format!("warn,seatrial={level},{}", rooms(level)));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("seatrial: the runtime cannot start: {error}");
            return ExitCode::from(exit::HARNESS);
        }
    };
    match runtime.block_on(serve(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(text)) => {
            eprintln!("seatrial: {text}");
            ExitCode::from(exit::USAGE)
        }
        Err(Failure::Failed(text)) => {
            eprintln!("seatrial: {text}");
            ExitCode::from(exit::VIOLATION)
        }
    }
}

fn rooms(level: &str) -> String {
    ["node", "wire", "etcd", "store", "raft", "cli"]
        .iter()
        .map(|room| format!("seatrial_{room}={level}"))
        .collect::<Vec<_>>()
        .join(",")
}

pub(crate) enum Failure {
    Usage(String),
    Failed(String),
}

pub(crate) fn usage(text: impl ToString) -> Failure {
    Failure::Usage(text.to_string())
}

/// `name=url[,name=url…]`, where a name may stand several times with one address each.
fn initial_members(args: &ServerArgs, advertised: &[String]) -> Result<Vec<(String, Vec<String>)>, Failure> {
    if args.initial_cluster.is_empty() {
        return Ok(vec![(args.name.clone(), advertised.to_vec())]);
    }
    named_urls(&args.initial_cluster).map_err(|error| usage(format!("--initial-cluster: {error}")))
}

/// `name=url` parts by name.
pub(crate) fn named_urls(parts: &[String]) -> Result<Vec<(String, Vec<String>)>, String> {
    let mut members: Vec<(String, Vec<String>)> = Vec::new();
    for part in parts {
        let (name, url) = part.split_once('=').ok_or_else(|| {
            format!(
                "{part:?} is not of the form name=url\nhint: --initial-cluster a=http://127.0.0.1:2380,b=http://127.0.0.1:22380"
            )
        })?;
        seatrial_node::address_of(url).map_err(|error| error.to_string())?;
        match members.iter_mut().find(|(known, _)| known == name) {
            Some((_, urls)) => urls.push(url.to_owned()),
            None => members.push((name.to_owned(), vec![url.to_owned()])),
        }
    }
    Ok(members)
}

/// What a person should read of a member's life.
struct Log;

impl Observer for Log {
    fn observe(&self, member: MemberId, _at: Duration, observation: Observation) {
        let member = format!("{:x}", member.0);
        match observation {
            Observation::Started { term, applied, last_index } => {
                tracing::info!(%member, %term, %applied, %last_index, "started");
            }
            Observation::Role { role, term, leader } => {
                tracing::info!(%member, ?role, %term, leader = %format_args!("{:x}", leader.0), "changed role");
            }
            Observation::Finding { text, damage: true } => tracing::error!(%member, "{text}"),
            Observation::Finding { text, damage: false } => tracing::warn!(%member, "{text}"),
            Observation::SnapshotStarted { to, index } => {
                tracing::info!(%member, to = %format_args!("{:x}", to.0), %index, "began to send a snapshot");
            }
            Observation::SnapshotInstalled { index, term } => {
                tracing::info!(%member, %index, %term, "installed a snapshot");
            }
            Observation::Compacted { index } => tracing::debug!(%member, %index, "cut the log"),
            Observation::LeaseExpired { lease } => {
                tracing::debug!(%member, lease = %format_args!("{:016x}", lease.0), "a lease ran out");
            }
            Observation::Defragmented { before, after } => {
                tracing::info!(%member, before, after, "wrote the store's file anew");
            }
            Observation::Corrupt { text, .. } => tracing::error!(%member, "{text}"),
            Observation::Failed { why } => tracing::error!(%member, "stopped: {why}"),
            _ => {}
        }
    }
}

fn auto_compaction(mode: &str, retention: &str) -> Result<Option<AutoCompaction>, Failure> {
    let bad = |hint: &str| {
        usage(format!("--auto-compaction-retention {retention:?} is none in {mode} mode\nhint: {hint}"))
    };
    match mode {
        "revision" => {
            let hint = "a number of revisions, such as 1000";
            let keep: i64 = retention.parse().map_err(|_| bad(hint))?;
            if keep < 0 {
                return Err(bad(hint));
            }
            Ok((keep > 0).then_some(AutoCompaction::Revision(keep)))
        }
        "periodic" => {
            let hint = "a time, such as 72h or 30m; a number alone is hours";
            let keep = match retention.parse::<u32>() {
                Ok(hours) => Duration::from_secs(u64::from(hours) * 3600),
                Err(_) => crate::etcdctl::go::parse_duration(retention).map_err(|_| bad(hint))?,
            };
            Ok((!keep.is_zero()).then_some(AutoCompaction::Periodic(keep)))
        }
        other => {
            Err(usage(format!("--auto-compaction-mode {other:?} is unknown\nhint: periodic or revision")))
        }
    }
}

/// TLS as these files make it, where one of the addresses wants it.
fn layer(files: TlsFiles, flag: &str, urls: &[String]) -> Result<Option<Arc<dyn Secure>>, Failure> {
    if urls.iter().any(|url| is_https(url)) {
        let tls = Tls::server(files, crate::tls::reader())
            .map_err(|error| usage(format!("{flag}: {error}\nhint: look at the flags for certificates")))?;
        return Ok(Some(Arc::new(tls)));
    }
    if files != TlsFiles::default() {
        tracing::warn!("{flag} says http: the files of certificates given for it are not used");
    }
    Ok(None)
}

async fn serve(args: ServerArgs) -> Result<(), Failure> {
    match args.initial_cluster_state.as_str() {
        "new" | "existing" => {}
        other => {
            return Err(usage(format!(
                "--initial-cluster-state {other:?} is unknown\nhint: new or existing"
            )));
        }
    }
    if args.heartbeat_interval == 0 || args.election_timeout < 5 * args.heartbeat_interval {
        return Err(usage(format!(
            "--election-timeout {} ms must be at least five times --heartbeat-interval {} ms",
            args.election_timeout, args.heartbeat_interval
        )));
    }
    let addresses = |flag: &str, urls: &[String]| -> Result<Vec<String>, Failure> {
        urls.iter()
            .map(|url| seatrial_node::address_of(url).map_err(|error| usage(format!("{flag}: {error}"))))
            .collect()
    };
    let metrics_listen = addresses("--listen-metrics-urls", &args.faces.listen_metrics_urls)?;
    let client_listen = addresses("--listen-client-urls", &args.listen_client_urls)?;
    let peer_listen = addresses("--listen-peer-urls", &args.listen_peer_urls)?;
    let or = |given: &[String], fallback: &[String]| -> Vec<String> {
        if given.is_empty() { fallback.to_vec() } else { given.to_vec() }
    };
    let client_urls = or(&args.advertise_client_urls, &args.listen_client_urls);
    let peer_urls = or(&args.initial_advertise_peer_urls, &args.listen_peer_urls);
    addresses("--advertise-client-urls", &client_urls)?;
    addresses("--initial-advertise-peer-urls", &peer_urls)?;

    let shared = args.faces.options(Duration::from_millis(args.election_timeout))?;

    let data_dir = args.data_dir.clone().unwrap_or_else(|| format!("{}.etcd", args.name));
    // As in etcd: how the cluster began says nothing to a member that has data.
    let has_data = std::path::Path::new(&data_dir).join("identity").exists();
    let found = match args.join.given()? {
        None => None,
        Some(flag) if !args.initial_cluster.is_empty() => {
            return Err(usage(format!(
                "{flag} and --initial-cluster both say who the members are\nhint: give one of them"
            )));
        }
        Some(_) if has_data => None,
        // As in etcd, which lets records alone name the members of a cluster that runs.
        Some(flag) if args.initial_cluster_state == "existing" && flag != crate::discovery::BY_SRV => {
            return Err(usage(format!(
                "{flag} finds the members of a new cluster, and --initial-cluster-state is existing\nhint: a member that joins a running cluster needs --initial-cluster"
            )));
        }
        Some(_) => {
            let world = RealWorld::new();
            let token = &args.initial_cluster_token;
            Some(crate::discovery::found(&world, &args.join, &args.name, &peer_urls, token).await?)
        }
    };
    let (members, own_name, token) = match found {
        Some(found) => (found.members, found.own, found.token),
        None => {
            let members = initial_members(&args, &peer_urls)?;
            (members, args.name.clone(), args.initial_cluster_token.clone())
        }
    };
    // All members speak TLS with each other, or none does.
    let mut all_peer_urls = args.listen_peer_urls.iter().chain(members.iter().flat_map(|(_, urls)| urls));
    if all_peer_urls.clone().any(|url| is_https(url)) && !all_peer_urls.all(|url| is_https(url)) {
        return Err(usage(
            "--listen-peer-urls and --initial-cluster mix http and https\nhint: use one of them for all members",
        ));
    }
    let client_tls = TlsFiles {
        cert: args.cert_file.clone(),
        key: args.key_file.clone(),
        trusted_ca: args.trusted_ca_file.clone(),
        client_cert_auth: args.client_cert_auth,
        skip_verify: false,
    };
    let peer_tls = TlsFiles {
        cert: args.peer_cert_file.clone(),
        key: args.peer_key_file.clone(),
        trusted_ca: args.peer_trusted_ca_file.clone(),
        client_cert_auth: args.peer_client_cert_auth,
        skip_verify: false,
    };
    let heard = [&args.listen_client_urls[..], &args.faces.listen_metrics_urls].concat();
    let client_layer = layer(client_tls, "--listen-client-urls", &heard)?;
    let reboot_lock = args.reboot.options(client_layer.clone())?;
    let peer_layer = layer(peer_tls, "--listen-peer-urls", &args.listen_peer_urls)?;
    let upkeep = args.upkeep.read().map_err(usage)?;
    if args.force_new_cluster && !has_data {
        return Err(usage(format!(
            "--force-new-cluster: there is no member's data in {data_dir:?}\nhint: --data-dir must be the folder of the member that is to go on alone"
        )));
    }
    let world = match &args.fault_dir {
        None => RealWorld::new(),
        Some(folder) => {
            let faults = FaultDir::new(folder.clone())
                .map_err(|error| usage(format!("--fault-dir {}: {error}", folder.display())))?;
            tracing::warn!(folder = %folder.display(), "the disk fails on demand: this is a test");
            RealWorld::guarded(Arc::new(faults))
        }
    };
    let told = identity::Told {
        name: &own_name,
        data_dir: &data_dir,
        peer_urls: &peer_urls,
        members: &members,
        token: &token,
        layer: peer_layer.clone(),
        existing: args.initial_cluster_state == "existing",
    };
    let identity::Who { id, cluster, known_peers } = identity::find(&world, &told).await?;

    let mut member = MemberOptions::new(id, args.name.clone());
    member.client_urls = client_urls;
    member.raft.heartbeat_interval = Duration::from_millis(args.heartbeat_interval);
    member.raft.election_timeout = Duration::from_millis(args.election_timeout);
    member.auth_token_ttl = Duration::from_secs(args.auth_token_ttl);
    let tokens = TokenOptions::parse(
        &args.auth_token,
        |file| std::fs::read(file).map_err(|error| error.to_string()),
        |text| crate::etcdctl::parse_duration(text).ok(),
    )
    .map_err(|error| usage(format!("--auth-token: {error}")))?;
    let auth = AuthOptions { bcrypt_cost: args.bcrypt_cost, token: tokens };
    member.compact_entries = args.snapshot_count;
    member.catch_up_entries = args.snapshot_catchup_entries;
    member.auto_compaction = auto_compaction(&args.auto_compaction_mode, &args.auto_compaction_retention)?;
    member.corrupt_check_interval = upkeep.corrupt_check_interval;
    member.lease_checkpoint_interval = upkeep.lease_checkpoint_interval;
    member.quota_bytes = match args.quota_backend_bytes {
        0 => member.quota_bytes,
        given => u64::try_from(given).unwrap_or(0),
    };
    let wal = seatrial_node::wal_options(cluster.id, id, args.wal_segment_bytes);
    let options = NodeOptions {
        member,
        cluster,
        peer_urls: peer_urls.clone(),
        known_peers,
        data_dir: data_dir.clone(),
        peer_listen,
        peer_versions: args.max_peer_version.unwrap_or(PeerVersions::ALL),
        peer_layer,
        wal,
        // A process that is killed need not read its whole file before it serves again. The second sync per commit is none
        // that anybody waits for.
        redb: seatrial_node::RedbOptions { quick_repair: true, ..Default::default() },
        rescue: Rescue { accept_data_loss: args.accept_data_loss, force_new_cluster: args.force_new_cluster },
        initial_corrupt_check: upkeep.initial_corrupt_check,
    };
    let observer: Arc<dyn Observer> = if args.log_level == "error" { Arc::new(Blind) } else { Arc::new(Log) };
    tracing::info!(peer_versions = %options.peer_versions, "starts");
    let mut node = seatrial_node::start(&world, options, observer)
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?;

    let mut faces = Vec::new();
    let member_metrics = seatrial_etcd::member_metrics(
        node.handle.clone(),
        node.meters.clone(),
        crate::faces::process_metrics,
    );
    let shared = ServeOptions { member_metrics: Some(member_metrics), reboot_lock, ..shared };
    let clients = client_listen.iter().zip(&args.listen_client_urls).map(|places| (places, false));
    let onlookers = metrics_listen.iter().zip(&args.faces.listen_metrics_urls).map(|places| (places, true));
    for ((address, url), metrics_only) in clients.chain(onlookers) {
        let listener = world.listen(address).await.map_err(|error| {
            Failure::Failed(format!(
                "cannot listen for clients at {address}: {error}\nhint: is another server running there?"
            ))
        })?;
        tracing::info!(address = %listener.local_address(), data_dir, "serving clients");
        let options = ServeOptions {
            version: seatrial_node::API_VERSION.to_owned(),
            layer: client_layer.clone().filter(|_| is_https(url)),
            auth: auth.clone(),
            metrics_only,
            ..shared.clone()
        };
        faces.push(seatrial_wire::serve_clients(world.clone(), listener, node.handle.clone(), options));
    }

    // Where the clients of etcd's first years look. Somebody else may be there, and nobody asked for it.
    if args.faces.enable_v2 && args.listen_client_urls == [DEFAULT_CLIENT_URL] {
        match world.listen(FIRST_CLIENT_ADDRESS).await {
            Ok(listener) => {
                tracing::info!(address = %listener.local_address(), "serving clients there too");
                let options =
                    ServeOptions { version: seatrial_node::API_VERSION.to_owned(), auth, ..shared.clone() };
                let handle = node.handle.clone();
                faces.push(seatrial_wire::serve_clients(world.clone(), listener, handle, options));
            }
            Err(error) => tracing::info!(address = FIRST_CLIENT_ADDRESS, %error, "not serving clients there"),
        }
    }

    let stop = node.handle.clone();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|error| Failure::Failed(format!("signals cannot be heard: {error}")))?;
    let result = tokio::select! {
        biased;
        result = node.ended() => result,
        _ = terminate.recv() => {
            tracing::info!("asked to stop");
            stop.stop();
            node.ended().await
        }
        _ = tokio::signal::ctrl_c() => {
            tracing::info!("interrupted");
            stop.stop();
            node.ended().await
        }
    };
    for face in faces {
        face.shutdown().await;
    }
    result.map_err(Failure::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etcds_single_dashes_are_accepted() {
        let mut args: Vec<OsString> =
            ["seatrial", "server", "-name", "a", "--data-dir", "-x"].iter().map(OsString::from).collect();
        accept_single_dashes(&mut args);
        let text: Vec<&str> = args.iter().map(|arg| arg.to_str().unwrap()).collect();
        assert_eq!(text, ["seatrial", "server", "--name", "a", "--data-dir", "-x"]);
    }
}
