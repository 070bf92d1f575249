//! The flags of `seatrial fleetd`: those of the original where they mean something here.

use super::access::AccessArgs;
use clap::{Args, ValueEnum};
use seatrial_fleet::engine::Policy;
use seatrial_fleet::run::{AgentOptions, EngineOptions};
use seatrial_fleet::unit::MachineId;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Flags are those of the original, with dashes or with underscores; each can also be given as an environment variable
/// (`FLEET_ETCD_SERVERS`, `FLEET_PUBLIC_IP`, …).
#[derive(Debug, Args)]
pub(crate) struct FleetdArgs {
    /// Where the store is heard; several are separated by commas.
    #[arg(
        long,
        alias = "etcd_servers",
        env = "FLEET_ETCD_SERVERS",
        default_value = "http://127.0.0.1:2379",
        value_delimiter = ','
    )]
    pub(super) etcd_servers: Vec<String>,
    /// Authorities of the store's certificates.
    #[arg(
        long,
        alias = "etcd_cafile",
        env = "FLEET_ETCD_CAFILE",
        default_value = "",
        hide_default_value = true
    )]
    pub(super) etcd_cafile: String,
    /// Our certificate towards the store.
    #[arg(
        long,
        alias = "etcd_certfile",
        env = "FLEET_ETCD_CERTFILE",
        default_value = "",
        hide_default_value = true
    )]
    pub(super) etcd_certfile: String,
    /// The key of --etcd-certfile.
    #[arg(
        long,
        alias = "etcd_keyfile",
        env = "FLEET_ETCD_KEYFILE",
        default_value = "",
        hide_default_value = true
    )]
    pub(super) etcd_keyfile: String,
    /// The address people are shown for this machine.
    #[arg(long, alias = "public_ip", env = "FLEET_PUBLIC_IP", default_value = "", hide_default_value = true)]
    pub(super) public_ip: String,
    /// What units may ask for: key=value, several separated by commas.
    #[arg(long, env = "FLEET_METADATA", value_delimiter = ',')]
    metadata: Vec<String>,
    /// How long this machine counts as there when it is not heard; whole seconds.
    #[arg(long, alias = "agent_ttl", env = "FLEET_AGENT_TTL", default_value = "30s", value_parser = duration)]
    agent_ttl: Duration,
    /// Seconds between two passes of the engine; changes wake it at once.
    #[arg(long, alias = "engine_reconcile_interval", env = "FLEET_ENGINE_RECONCILE_INTERVAL", default_value = "2",
        value_parser = seconds)]
    engine_reconcile_interval: Duration,
    /// Take no part in deciding what runs where.
    #[arg(long, alias = "disable_engine", env = "FLEET_DISABLE_ENGINE", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) disable_engine: bool,
    /// Keep the registry of the original in the store's v2 keys (/_coreos.com/fleet/) in step with ours, for clients that
    /// read and write it themselves (`fleetctl --driver=etcd`). It is done where the engine leads: give it to all.
    #[arg(long, alias = "v2_registry", env = "FLEET_V2_REGISTRY", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) v2_registry: bool,
    /// Megabytes of memory that units may set aside here [default: no limit].
    #[arg(long, env = "FLEET_MEMORY_MB")]
    pub(super) memory_mb: Option<u64>,
    /// Shares of its processors, 1024 for one, that units may set aside here [default: no limit].
    #[arg(long, env = "FLEET_CPU_SHARES")]
    pub(super) cpu_shares: Option<u64>,
    /// Folder for everything this machine keeps: its id, its units, their logs.
    #[arg(long, env = "FLEET_DATA_DIR", default_value = "fleetd.data")]
    pub(super) data_dir: PathBuf,
    /// This machine's id [default: what --data-dir keeps, then /etc/machine-id, then one that is drawn and kept].
    #[arg(long, env = "FLEET_MACHINE_ID", value_parser = machine_id)]
    pub(super) machine_id: Option<MachineId>,
    /// Where the HTTP interface is heard: HOST:PORT, also behind https://. Who may change things runs what he likes.
    #[arg(long, env = "FLEET_LISTEN", default_value = "127.0.0.1:49153")]
    pub(super) listen: String,
    /// A socket file for the same [default: fleet.sock in --data-dir].
    #[arg(long, env = "FLEET_SOCKET")]
    pub(super) socket: Option<PathBuf>,
    /// Where other machines reach --listen [default: what it is, with --public-ip where it listens on all addresses].
    #[arg(long, env = "FLEET_ADVERTISE_API")]
    pub(super) advertise_api: Option<String>,
    #[command(flatten)]
    pub(super) access: AccessArgs,
    /// What runs units: `process`, this program itself; `systemd`, the machine's, over D-Bus; `auto`, systemd where it runs
    /// and is heard.
    #[arg(long, alias = "unit_manager", env = "FLEET_UNIT_MANAGER", value_enum, default_value_t = Runner::Process)]
    pub(super) unit_manager: Runner,
    /// With systemd: the one of our own user, not the machine's.
    #[arg(long, alias = "systemd_user", env = "FLEET_SYSTEMD_USER", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) systemd_user: bool,
    /// With systemd: the folder of the units' files [default: /run/fleet/units, or fleet/units in XDG_RUNTIME_DIR].
    #[arg(long, alias = "units_directory", env = "FLEET_UNITS_DIRECTORY")]
    pub(super) units_directory: Option<PathBuf>,
    /// With systemd: the bus on which it is heard [default: DBUS_SYSTEM_BUS_ADDRESS or DBUS_SESSION_BUS_ADDRESS, else the
    /// usual one].
    #[arg(long, env = "FLEET_BUS_ADDRESS")]
    pub(super) bus_address: Option<String>,
    /// A folder of control groups that we may write, one for each unit [default: units are found by session and
    /// environment].
    #[arg(long, env = "FLEET_CONTROL_GROUPS")]
    pub(super) control_groups: Option<PathBuf>,
    /// Stop the units that an earlier fleetd left running from --data-dir, and end.
    #[arg(long)]
    pub(super) stop_units: bool,
    /// The file that tells one boot of this machine from another.
    #[arg(long, env = "FLEET_BOOT_ID_FILE", default_value = "/proc/sys/kernel/random/boot_id")]
    pub(super) boot_id_file: String,
    /// debug, info, warn or error.
    #[arg(long, env = "FLEET_LOG_LEVEL", default_value = "info", value_parser = ["trace", "debug", "info", "warn", "error"])]
    pub(super) log_level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Runner {
    Process,
    Systemd,
    Auto,
}

fn duration(text: &str) -> Result<Duration, String> {
    let time = crate::etcdctl::parse_duration(text)
        .map_err(|_| "a time has a unit, such as 30s or 2m".to_owned())?;
    if time < Duration::from_secs(2) || time.subsec_nanos() != 0 {
        return Err("the store counts whole seconds: 2s or more".to_owned());
    }
    Ok(time)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|number| Duration::try_from_secs_f64(number).ok());
    seconds
        .filter(|time| *time >= Duration::from_millis(50))
        .ok_or_else(|| "seconds as a number, such as 2 or 0.5; 0.05 at the least".to_owned())
}

fn machine_id(text: &str) -> Result<MachineId, String> {
    MachineId::parse(text).map_err(|error| error.to_string())
}

impl FleetdArgs {
    pub(super) fn metadata(&self) -> Result<BTreeMap<String, String>, String> {
        let pairs = self.metadata.iter().map(|pair| pair.trim()).filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.contains('=') => {
                Ok((key.trim().to_owned(), value.trim().to_owned()))
            }
            _ => Err(format!("--metadata {pair:?} is no key=value\nhint: --metadata region=eu,disk=ssd")),
        });
        pairs.collect()
    }

    pub(super) fn agent(&self) -> AgentOptions {
        let default = AgentOptions::default();
        AgentOptions { ttl: self.agent_ttl, stop_margin: self.agent_ttl / 5, ..default }
    }

    pub(super) fn engine(&self) -> EngineOptions {
        let interval = self.engine_reconcile_interval;
        // As the original: who leads is missed after five passes.
        let lease = Duration::from_secs((interval * 5).as_secs().max(2));
        let policy = Policy::for_ttl(self.agent_ttl);
        EngineOptions { interval, lease_ttl: lease, policy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: FleetdArgs,
    }

    fn parse(words: &[&str]) -> FleetdArgs {
        Line::try_parse_from([&["fleetd"], words].concat()).unwrap().args
    }

    #[test]
    fn the_originals_names_are_taken_with_underscores_too() {
        let args = parse(&["--agent_ttl", "10s", "--engine_reconcile_interval=0.4", "--disable_engine"]);
        assert_eq!(args.agent().ttl, Duration::from_secs(10));
        assert_eq!(args.agent().stop_margin, Duration::from_secs(2));
        assert_eq!(args.engine().interval, Duration::from_millis(400));
        assert_eq!(args.engine().policy.settle, Duration::from_millis(1500));
        assert_eq!(args.engine().lease_ttl, Duration::from_secs(2));
        assert!(args.disable_engine);
        assert!(!parse(&["--disable-engine=false"]).disable_engine);
        let args = parse(&["--units_directory", "/u", "--systemd_user=true", "--unit-manager=auto"]);
        assert_eq!((args.units_directory, args.systemd_user), (Some("/u".into()), true));
        assert_eq!((args.unit_manager, parse(&[]).unit_manager), (Runner::Auto, Runner::Process));
    }

    #[test]
    fn metadata_is_pairs_and_what_is_none_is_named() {
        let pairs = parse(&["--metadata", "region=eu, disk=ssd,"]).metadata().unwrap();
        assert_eq!(
            pairs.into_iter().collect::<Vec<_>>(),
            [("disk".to_owned(), "ssd".to_owned()), ("region".to_owned(), "eu".to_owned())]
        );
        for wrong in ["region", "=eu", "a=b=c"] {
            assert!(parse(&["--metadata", wrong]).metadata().unwrap_err().contains(wrong));
        }
    }

    #[test]
    fn a_time_that_the_store_cannot_count_is_refused() {
        for wrong in ["1500ms", "1s", "30"] {
            assert!(Line::try_parse_from(["fleetd", "--agent-ttl", wrong]).is_err(), "{wrong}");
        }
        assert!(Line::try_parse_from(["fleetd", "--engine-reconcile-interval", "0"]).is_err());
    }
}
