//! `seatrial reboot-agent`: reboots this machine when it must be, when it may be, and never without its slot.

use super::machine::{Machine, STATE_DIR};
use super::store::{ENDPOINTS, Place, duration, first_line};
use crate::exit;
use clap::Args;
use seatrial_reboot::{
    Coordinator, Group, Guards, Lock, LocksmithWindow, MachineLock, PeriodicWindow, Settings, Strategy,
    Window, Windows, Zone, run_agent,
};
use seatrial_wire::{FleetLock, FleetLockOptions, Tls, TlsFiles, V2Keys, is_https};
use seatrial_world::Secure;
use seatrial_world_real::RealWorld;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// The variables are locksmithd's; its settings may also stand in --conf, as in update.conf.
#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// How it comes to a reboot: etcd-lock, fleet_lock, reboot, periodic or off [default: etcd-lock].
    #[arg(long, env = "LOCKSMITHD_REBOOT_STRATEGY")]
    strategy: Option<String>,
    /// With fleet_lock, the base of the server, before /v1/pre-reboot; of several the first that can be reached is asked.
    #[arg(long, alias = "fleet-lock-url", env = "SEATRIAL_FLEET_LOCK_BASE_URL", value_delimiter = ',')]
    fleet_lock_base_url: Vec<String>,
    /// Where the store is, with its v2 API.
    #[arg(long, env = "LOCKSMITHD_ENDPOINT", value_delimiter = ',', default_values = ENDPOINTS)]
    endpoint: Vec<String>,
    /// Authorities of the certificates of the store, or of the server of FleetLock.
    #[arg(long, env = "LOCKSMITHD_ETCD_CAFILE", default_value = "", hide_default_value = true)]
    etcd_cafile: String,
    /// Our certificate.
    #[arg(long, env = "LOCKSMITHD_ETCD_CERTFILE", default_value = "", hide_default_value = true)]
    etcd_certfile: String,
    /// Its key.
    #[arg(long, env = "LOCKSMITHD_ETCD_KEYFILE", default_value = "", hide_default_value = true)]
    etcd_keyfile: String,
    /// Who asks.
    #[arg(long, env = "LOCKSMITHD_ETCD_USERNAME")]
    etcd_username: Option<String>,
    /// The password of --etcd-username.
    #[arg(
        long,
        env = "LOCKSMITHD_ETCD_PASSWORD",
        default_value = "",
        hide_default_value = true,
        hide_env_values = true
    )]
    etcd_password: String,
    /// The group whose lock is taken [default: the one without a name].
    #[arg(long, env = "LOCKSMITHD_GROUP", default_value = "", hide_default_value = true)]
    group: String,
    /// Ask for no slot that would leave the store without a majority of healthy voters.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true",
        action = clap::ArgAction::Set)]
    quorum_guard: bool,
    /// Settings in update.conf's form: REBOOT_STRATEGY, LOCKSMITHD_REBOOT_WINDOW_START, LOCKSMITHD_REBOOT_WINDOW_LENGTH.
    #[arg(long)]
    conf: Option<String>,
    /// When the window begins: 04:00, or "Thu 04:00".
    #[arg(long, env = "LOCKSMITHD_REBOOT_WINDOW_START")]
    window_start: Option<String>,
    /// How long it is open: 1h30m.
    #[arg(long, env = "LOCKSMITHD_REBOOT_WINDOW_LENGTH")]
    window_length: Option<String>,
    /// A window as Zincati has them: days, start and minutes, such as "Sat,Sun 22:30 60". May be given several times.
    #[arg(long)]
    window: Vec<String>,
    /// The time zone of the windows, such as Europe/Berlin.
    #[arg(long, default_value = "UTC")]
    time_zone: String,
    /// While this file is there, a reboot is needed.
    #[arg(long, default_value = "/run/reboot-required")]
    sentinel: PathBuf,
    /// The folder of coordinator.conf, and of the word that a reboot is needed.
    #[arg(long, default_value = STATE_DIR)]
    state_dir: PathBuf,
    /// This machine's id [default: the first line of /etc/machine-id].
    #[arg(long)]
    machine_id: Option<String>,
    /// The file that tells one boot from another.
    #[arg(long, default_value = "/proc/sys/kernel/random/boot_id")]
    boot_id_file: String,
    /// Whether the machine does its work: the slot is kept until this ends with 0.
    #[arg(long)]
    health_command: Option<String>,
    /// Prints a line for each session of a user.
    #[arg(long, default_value = "who")]
    users_command: String,
    /// Tells users of the reboot, SEATRIAL_REBOOT_IN_SECONDS from now.
    #[arg(long, default_value = "echo \"Rebooting in $SEATRIAL_REBOOT_IN_SECONDS seconds\" | wall")]
    warn_command: String,
    /// Moves what runs here before the reboot.
    #[arg(long)]
    drain_command: Option<String>,
    /// Lets it come back.
    #[arg(long)]
    undrain_command: Option<String>,
    /// After this time a drain has failed.
    #[arg(long, default_value = "10m", value_parser = duration)]
    drain_timeout: Duration,
    /// What reboots, such as "systemctl reboot". Without it, nothing does: it is only said what would be done.
    #[arg(long)]
    reboot_command: Option<String>,
    /// What users who are logged in get before the reboot.
    #[arg(long, default_value = "5m", value_parser = duration)]
    users_delay: Duration,
    /// How long an accepted reboot may take until it is taken to have done nothing.
    #[arg(long, default_value = "10m", value_parser = duration)]
    reboot_patience: Duration,
    /// The first pause after the slot was refused; it doubles.
    #[arg(long, default_value = "10s", value_parser = duration)]
    lock_pause: Duration,
    /// The first pause after a failed attempt to give the slot back; it doubles.
    #[arg(long, default_value = "5s", value_parser = duration)]
    release_pause: Duration,
    /// The longest pause.
    #[arg(long, default_value = "5m", value_parser = duration)]
    pause_max: Duration,
}

/// The lock of the store, or of a server, or none for strategies that take none.
enum Locking {
    Store(Box<StoreLock>),
    Server(Box<FleetLock<RealWorld>>),
    None,
}

struct StoreLock {
    world: RealWorld,
    place: Place,
    keys: V2Keys<RealWorld>,
    guards_quorum: bool,
    plain: MachineLock<RealWorld, V2Keys<RealWorld>>,
}

const NO_LOCK: &str = "this strategy takes no slot";

impl Lock for Locking {
    async fn lock(&self, own: Guards) -> Result<u64, String> {
        let store = match self {
            Self::Store(store) => store,
            Self::Server(server) => return server.lock(own).await,
            Self::None => return Err(NO_LOCK.to_owned()),
        };
        if !store.guards_quorum {
            return store.plain.lock(own).await;
        }
        let quorum = store.place.quorum(&store.world, &store.keys).await?;
        let guards = Guards { quorum: Some(quorum), ..Guards::default() };
        MachineLock { guards: Arc::new(move || guards.clone()), ..store.plain.clone() }.lock(own).await
    }

    async fn release(&self, grant: Option<u64>) -> Result<(), String> {
        match self {
            Self::Store(store) => store.plain.release(grant).await,
            Self::Server(server) => server.release(grant).await,
            Self::None => Ok(()),
        }
    }

    async fn confirm(&self, grant: u64) -> Result<bool, String> {
        match self {
            Self::Store(store) => store.plain.confirm(grant).await,
            Self::Server(server) => server.confirm(grant).await,
            Self::None => Err(NO_LOCK.to_owned()),
        }
    }

    async fn changed(&self) {
        match self {
            Self::Store(store) => store.plain.changed().await,
            Self::Server(server) => server.changed().await,
            Self::None => std::future::pending().await,
        }
    }
}

/// `KEY=VALUE` lines, as a shell reads them; what else there is is passed by.
fn conf(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    let bare = |value: &str| value.trim().trim_matches(['"', '\'']).to_owned();
    pairs.map(|(key, value)| (key.trim().to_owned(), bare(value))).collect()
}

fn periodic(text: &str) -> Result<Window, String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let bad =
        || format!("--window {text:?} is none\nhint: days, start and minutes, such as \"Sat,Sun 22:30 60\"");
    let [days, start, minutes] = fields.as_slice() else { return Err(bad()) };
    let days: Vec<&str> = match *days {
        "*" => vec!["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
        days => days.split(',').collect(),
    };
    let minutes: u32 = minutes.parse().map_err(|_| bad())?;
    PeriodicWindow::new(&days, start, minutes).map(Window::Periodic).map_err(|error| error.to_string())
}

impl AgentArgs {
    /// Flags and variables first, then the file.
    fn settings(&self, conf: &BTreeMap<String, String>) -> Result<Settings, String> {
        let or = |given: &Option<String>, names: &[&str]| -> Option<String> {
            let filed = || names.iter().find_map(|name| conf.get(*name)).cloned();
            given.clone().or_else(filed).filter(|value| !value.is_empty())
        };
        let strategy = or(&self.strategy, &["LOCKSMITHD_REBOOT_STRATEGY", "REBOOT_STRATEGY"]);
        let strategy =
            Strategy::named(strategy.as_deref().unwrap_or("etcd-lock")).map_err(|error| error.to_string())?;
        if strategy == Strategy::FleetLock && self.fleet_lock_base_url.iter().all(|url| url.trim().is_empty())
        {
            return Err("the strategy fleet_lock has no server\nhint: --fleet-lock-base-url http://host:port/base; a member serves FleetLock with --reboot-lock".to_owned());
        }
        let mut windows = self.window.iter().map(|text| periodic(text)).collect::<Result<Vec<_>, _>>()?;
        let start = or(&self.window_start, &["LOCKSMITHD_REBOOT_WINDOW_START", "REBOOT_WINDOW_START"]);
        let length = or(&self.window_length, &["LOCKSMITHD_REBOOT_WINDOW_LENGTH", "REBOOT_WINDOW_LENGTH"]);
        match (start, length) {
            (Some(start), Some(length)) => {
                let window = LocksmithWindow::parse(&start, &length).map_err(|error| error.to_string())?;
                windows.push(Window::Locksmith(window));
            }
            (None, None) => {}
            _ => return Err("a window has a start and a length; only one of them was given".to_owned()),
        }
        if strategy == Strategy::Periodic && windows.is_empty() {
            return Err("the strategy periodic has no window\nhint: --window \"Sat,Sun 22:30 60\"".to_owned());
        }
        let zone = Zone::named(&self.time_zone).map_err(|error| error.to_string())?;
        Ok(Settings {
            strategy,
            windows: Windows::new(zone, windows),
            drains: self.drain_command.is_some() || self.undrain_command.is_some(),
            users_delay: self.users_delay,
            reboot_patience: self.reboot_patience,
            release_pause: self.release_pause,
            lock_pause: self.lock_pause,
            pause_max: self.pause_max,
        })
    }
}

/// Runs the agent until it is ended.
#[allow(clippy::disallowed_methods, reason = "a composition root reads its settings")]
pub(crate) fn run(args: AgentArgs) -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            std::env::var("SEATRIAL_LOG")
                .unwrap_or_else(|_| "warn,seatrial=info,seatrial_reboot=info".to_owned()),
        )
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let usage = |why: String| {
        eprintln!("seatrial: {why}");
        ExitCode::from(exit::USAGE)
    };
    let conf = match &args.conf {
        None => BTreeMap::new(),
        Some(path) => match std::fs::read_to_string(path) {
            Ok(text) => conf(&text),
            Err(error) => return usage(format!("--conf {path}: {error}")),
        },
    };
    let settings = match args.settings(&conf) {
        Ok(settings) => settings,
        Err(why) => return usage(why),
    };
    let Some(id) = args.machine_id.clone().or_else(|| first_line("/etc/machine-id")) else {
        return usage("this machine has no id\nhint: --machine-id, or a line in /etc/machine-id".to_owned());
    };
    let Some(boot) = first_line(&args.boot_id_file) else {
        return usage(format!("--boot-id-file {}: it cannot be read, or is empty", args.boot_id_file));
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return usage(format!("the runtime cannot start: {error}")),
    };
    let world = RealWorld::on(runtime.handle().clone());
    let lock = match locking(&args, &settings, &world, &id, boot) {
        Ok(lock) => lock,
        Err(why) => return usage(why),
    };
    let folder = args.state_dir.display().to_string();
    if let Err(error) = std::fs::create_dir_all(&args.state_dir) {
        return usage(format!("--state-dir {folder}: {error}"));
    }
    tracing::info!(machine = id, group = args.group, strategy = %settings.strategy, "the reboot agent starts");
    let host = Machine {
        id: id.clone(),
        group: args.group.clone(),
        sentinel: args.sentinel.clone(),
        state_dir: args.state_dir.clone(),
        health_command: args.health_command.clone(),
        users_command: args.users_command.clone(),
        warn_command: args.warn_command.clone(),
        drain_command: args.drain_command.clone(),
        undrain_command: args.undrain_command.clone(),
        drain_timeout: args.drain_timeout,
        reboot_command: args.reboot_command.clone(),
    };
    match runtime.block_on(run_agent(world, lock, host, settings, "seatrial", &folder)) {
        Ok(()) => ExitCode::from(exit::PASS),
        Err(error) => {
            eprintln!("seatrial: {error}");
            ExitCode::from(exit::VIOLATION)
        }
    }
}

fn locking(
    args: &AgentArgs,
    settings: &Settings,
    world: &RealWorld,
    id: &str,
    boot: String,
) -> Result<Locking, String> {
    if !settings.strategy.takes_lock() {
        return Ok(Locking::None);
    }
    let tls = TlsFiles {
        cert: args.etcd_certfile.clone(),
        key: args.etcd_keyfile.clone(),
        trusted_ca: args.etcd_cafile.clone(),
        ..TlsFiles::default()
    };
    if settings.strategy == Strategy::FleetLock {
        let group = if args.group.is_empty() { "default" } else { &args.group };
        let group = Group::fleetlock(group).map_err(|error| format!("--group: {error}"))?;
        let bases = args.fleet_lock_base_url.iter().map(|url| url.trim()).filter(|url| !url.is_empty());
        let bases: Vec<&str> = bases.collect();
        let is_secure = tls != TlsFiles::default() || bases.iter().any(|url| is_https(url));
        let layer = match is_secure {
            true => Some(Arc::new(Tls::client_http1(tls, crate::tls::reader())?) as Arc<dyn Secure>),
            false => None,
        };
        let options = FleetLockOptions { layer, ..FleetLockOptions::default() };
        let server = FleetLock::new(world.clone(), &bases, group, id.to_owned(), &options)
            .map_err(|why| format!("--fleet-lock-base-url: {why}\nhint: such as http://host:port/base"))?;
        return Ok(Locking::Server(Box::new(server)));
    }
    let user = args.etcd_username.clone().map(|user| (user, args.etcd_password.clone()));
    let endpoints = args.endpoint.iter().map(|url| url.trim().to_owned()).collect();
    let place = Place { endpoints, tls, user, debug: false };
    let keys = place.keys(world)?;
    let plain = MachineLock {
        coordinator: Coordinator::new(world.clone(), keys.clone(), Group::new(args.group.clone())),
        id: id.to_owned(),
        boot: Some(boot),
        guards: Arc::new(Guards::default),
    };
    let guards_quorum = args.quorum_guard;
    Ok(Locking::Store(Box::new(StoreLock { world: world.clone(), place, keys, guards_quorum, plain })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: AgentArgs,
    }

    fn settings(args: &[&str], file: &str) -> Result<Settings, String> {
        let line = Line::try_parse_from(["x"].iter().chain(args)).map_err(|error| error.to_string())?;
        line.args.settings(&conf(file))
    }

    #[test]
    fn flags_go_before_the_file_and_the_file_before_the_defaults() {
        assert_eq!(settings(&[], "").unwrap().strategy, Strategy::EtcdLock);
        let file = "GROUP=stable\nREBOOT_STRATEGY=\"off\"\n# x\nLOCKSMITHD_REBOOT_WINDOW_START=\"Thu 04:00\"\nLOCKSMITHD_REBOOT_WINDOW_LENGTH=1h\n";
        let read = settings(&[], file).unwrap();
        assert_eq!(read.strategy, Strategy::Off);
        assert!(!read.windows.is_always());
        assert_eq!(settings(&["--strategy", "reboot"], file).unwrap().strategy, Strategy::Reboot);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_hint() {
        for (args, want) in [
            (&["--strategy", "best-effort"][..], "hint: best-effort"),
            (&["--strategy", "fleet_lock"], "--fleet-lock-base-url"),
            (&["--strategy", "periodic"], "has no window"),
            (&["--window-start", "04:00"], "only one of them"),
            (&["--window", "Sat 22:30"], "such as \"Sat,Sun 22:30 60\""),
            (&["--time-zone", "Mars/Phobos"], "IANA"),
            (&["--lock-pause", "5"], "such as 90s"),
        ] {
            let why = settings(args, "").unwrap_err();
            assert!(why.contains(want), "{args:?}: {why}");
        }
        let asks = ["--strategy", "fleet_lock", "--fleet-lock-url", "http://lock:3333/"];
        assert_eq!(settings(&asks, "").unwrap().strategy, Strategy::FleetLock);
        assert!(settings(&["--window", "* 22:30 60", "--window", "Sat,Sun 10:00 600"], "").is_ok());
    }
}
