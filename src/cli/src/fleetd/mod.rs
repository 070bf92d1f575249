//! `seatrial fleetd`: one machine of a fleet. An engine that takes its turn in deciding, an agent that sees to this
//! machine's units, a driver that runs them as processes, and fleet's HTTP interface.

mod access;
mod args;
mod choice;
pub(crate) mod here;
mod http;
mod metrics;
mod old_registry;
mod old_restart;
mod registry;
mod systemd;
mod units;

pub(crate) use access::first_token;
pub(crate) use args::FleetdArgs;

use crate::exit;
use crate::server::{Failure, usage};
use choice::Units;
use here::Machine;
use http::{Face, counted};
use metrics::Metrics;
use old_registry::V2Registry;
use registry::Registry;
use seatrial_client::{Client, ClientOptions};
use seatrial_fleet::model::{MachineInfo, Resources};
use seatrial_fleet::run::{AgentNews, EngineNews, ViewNews, ViewOptions, run_agent, run_engine, run_view};
use seatrial_fleet::unit::MachineId;
use seatrial_service_real::Options;
use seatrial_wire::{ChannelOptions, GrpcEndpoint, Tls, TlsFiles, V2Client, V2ClientOptions, is_https};
use seatrial_world::{Listener, Secure, Task, World};
use seatrial_world_real::RealWorld;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// The hidden subcommand that becomes a unit's process.
pub(crate) const LAUNCH: &str = "unit-launch";

/// How long units may take to stop when the machine leaves.
const STOP_PATIENCE: Duration = Duration::from_secs(90);

pub(crate) fn run(args: FleetdArgs) -> ExitCode {
    let level = &args.log_level;
    let rooms = ["cli", "fleet", "service", "service_real", "systemd", "client"];
    let rooms: Vec<String> = rooms.iter().map(|room| format!("seatrial_{room}={level}")).collect();
    let filter = std::env::var("SEATRIAL_LOG")
        .unwrap_or_else(|_| format!("warn,seatrial={level},{}", rooms.join(",")));
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
    let world = RealWorld::on(runtime.handle().clone());
    match runtime.block_on(serve(world, args)) {
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

fn failed(what: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Failure {
    move |error| Failure::Failed(format!("{what}: {error}"))
}

/// The id that was given; else the one kept from before; else the machine's; else one that is drawn, and kept.
fn identity(args: &FleetdArgs, world: &RealWorld) -> Result<MachineId, Failure> {
    if let Some(id) = &args.machine_id {
        return Ok(id.clone());
    }
    let kept = args.data_dir.join("machine-id");
    for file in [kept.as_path(), Path::new("/etc/machine-id")] {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if !text.trim().is_empty() {
            return MachineId::parse(text.trim())
                .map_err(|error| Failure::Failed(format!("{}: {error}", file.display())));
        }
    }
    let drawn = format!("{:016x}{:016x}", world.rand(), world.rand());
    std::fs::write(&kept, format!("{drawn}\n")).map_err(failed(kept.display()))?;
    MachineId::parse(&drawn).map_err(|error| Failure::Failed(error.to_string()))
}

/// What lies around connections to the store, where it is reached by https.
fn layer<E: std::fmt::Display>(
    args: &FleetdArgs,
    tls: impl FnOnce(TlsFiles) -> Result<Tls, E>,
) -> Result<Option<Arc<dyn Secure>>, Failure> {
    if !args.etcd_servers.iter().any(|server| is_https(server)) {
        return Ok(None);
    }
    let files = TlsFiles {
        cert: args.etcd_certfile.clone(),
        key: args.etcd_keyfile.clone(),
        trusted_ca: args.etcd_cafile.clone(),
        ..TlsFiles::default()
    };
    let tls = tls(files).map_err(|error| usage(error.to_string()))?;
    Ok(Some(Arc::new(tls) as Arc<dyn Secure>))
}

fn store(
    args: &FleetdArgs,
    world: &RealWorld,
) -> Result<Client<RealWorld, GrpcEndpoint<RealWorld>>, Failure> {
    let layer = layer(args, |files| Tls::client(files, crate::tls::reader()))?;
    let channel = ChannelOptions { layer, ..ChannelOptions::default() };
    seatrial_wire::connect(world, &args.etcd_servers, &channel, ClientOptions::default()).map_err(|error| {
        usage(format!("--etcd-servers: {error}\nhint: http://host:2379, several separated by commas"))
    })
}

fn old_registry(args: &FleetdArgs, world: &RealWorld) -> Result<V2Registry<RealWorld>, Failure> {
    let layer = layer(args, |files| Tls::client_http1(files, crate::tls::reader()))?;
    let options = V2ClientOptions { layer, ..V2ClientOptions::default() };
    let client = V2Client::new(world.clone(), &args.etcd_servers, options);
    client.map(V2Registry).map_err(|error| usage(format!("--etcd-servers: {error}")))
}

fn first_line(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_default().trim().to_owned()
}

/// Where others reach what listens at `local`: `host:port`, behind `https://` where it is heard so.
fn advertised(args: &FleetdArgs, local: &str, has_tls: bool) -> String {
    let address = match (&args.advertise_api, local.rsplit_once(':')) {
        (Some(given), _) => given.trim_end_matches('/').to_owned(),
        (None, Some(("0.0.0.0" | "[::]", port))) if !args.public_ip.is_empty() => {
            format!("{}:{port}", args.public_ip)
        }
        // Nobody else can come to all addresses.
        (None, Some(("0.0.0.0" | "[::]", _))) => return String::new(),
        _ => local.to_owned(),
    };
    match address.strip_prefix("http://") {
        // Something before us may have taken TLS off.
        Some(plain) => plain.to_owned(),
        None if has_tls && !is_https(&address) => format!("https://{address}"),
        None => address,
    }
}

fn driver(args: &FleetdArgs, me: &MachineId, boot: &str) -> Result<Options, Failure> {
    let exe = std::env::current_exe().map_err(failed("our own program cannot be found"))?;
    let data = std::path::absolute(&args.data_dir).map_err(failed(args.data_dir.display()))?;
    let mut options = Options::new(data.join("units"), vec![exe.into(), LAUNCH.into()]);
    options.control_groups.clone_from(&args.control_groups);
    options.machine.machine_id = me.to_string();
    options.machine.boot_id = boot.replace('-', "");
    options.machine.host_name = first_line("/proc/sys/kernel/hostname");
    options.machine.kernel_release = first_line("/proc/sys/kernel/osrelease");
    Ok(options)
}

async fn serve(world: RealWorld, args: FleetdArgs) -> Result<(), Failure> {
    let metadata = args.metadata().map_err(usage)?;
    std::fs::create_dir_all(&args.data_dir).map_err(failed(args.data_dir.display()))?;
    let me = identity(&args, &world)?;
    let store = store(&args, &world)?;
    let view = if args.v2_registry { Some(old_registry(&args, &world)?) } else { None };
    let boot = first_line(&args.boot_id_file);

    let units = choice::open(&args, &world, &me, &boot).await?;
    if args.stop_units {
        return stop_units(&world, &units).await;
    }

    let made = args.access.make(&args.listen)?;
    let listener = world.listen(&made.listen).await.map_err(failed(format!("--listen {}", args.listen)))?;
    let local = listener.local_address();
    let socket = args.socket.clone().unwrap_or_else(|| args.data_dir.join("fleet.sock"));
    // The driver's lock says that nobody else lives in this folder: what lies there is left over.
    let _ = std::fs::remove_file(&socket);
    let file = tokio::net::UnixListener::bind(&socket)
        .map_err(failed(format!("--socket {} cannot be made", socket.display())))?;

    let info = MachineInfo {
        ip: args.public_ip.clone(),
        api: advertised(&args, &local, made.layer.is_some()),
        metadata,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot_id: boot,
        resources: Resources { memory_mb: args.memory_mb, cpu_shares: args.cpu_shares },
        ..MachineInfo::default()
    };
    let registry = Registry::start(world.clone(), store.clone(), me.clone());
    let machine =
        Machine { world: world.clone(), me: me.clone(), units: units.clone(), credentials: made.credentials };
    let metrics = Arc::new(Mutex::new(Metrics::default()));
    let face = Face {
        world: world.clone(),
        registry,
        machine,
        access: made.access,
        layer: made.layer,
        metrics: metrics.clone(),
    };
    world.spawn(face.clone().serve(listener));
    world.spawn(face.serve_file(file));

    let mut tasks = Vec::new();
    let heard = metrics.clone();
    let agent_news = move |news: AgentNews| {
        counted(&heard).agent(&news);
        agent_news(news);
    };
    let agent =
        run_agent(world.clone(), store.clone(), units.clone(), me.clone(), info, args.agent(), agent_news);
    tasks.push(world.spawn(agent));
    if !args.disable_engine {
        let (heard, clock) = (metrics.clone(), world.clone());
        let engine_news = move |news: EngineNews| {
            counted(&heard).engine(&news, clock.wall());
            engine_news(news);
        };
        let engine = run_engine(world.clone(), store.clone(), me.clone(), args.engine(), engine_news);
        tasks.push(world.spawn(engine));
    }
    if let Some(view) = view {
        let options = ViewOptions::default();
        let view_news = move |news: ViewNews| {
            counted(&metrics).view(&news);
            view_news(news);
        };
        tasks.push(world.spawn(run_view(world.clone(), store, view, me.clone(), options, view_news)));
    }
    tracing::info!(machine = %me, listen = %local, socket = %socket.display(), "fleetd runs");

    let leaves = end().await.map_err(failed("signals cannot be heard"))?;
    for task in &tasks {
        task.abort();
    }
    if leaves {
        stop_units(&world, &units).await?;
    }
    let _ = std::fs::remove_file(&socket);
    Ok(())
}

async fn stop_units(world: &RealWorld, units: &Units) -> Result<(), Failure> {
    match seatrial_world::timeout(world, STOP_PATIENCE, units.stop_all(world)).await {
        Ok(Ok(stopped)) => tracing::info!(units = stopped, "stopped the units of this machine"),
        Ok(Err(error)) => return Err(Failure::Failed(error.to_string())),
        Err(elapsed) => return Err(Failure::Failed(format!("units do not stop: {elapsed}"))),
    }
    Ok(())
}

/// Waits for the end. True where units are to be stopped as well: a restart of fleetd must not stop them, so the usual
/// signals leave them alone.
async fn end() -> std::io::Result<bool> {
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut leave = signal(SignalKind::user_defined2())?;
    Ok(tokio::select! {
        biased;
        _ = leave.recv() => true,
        _ = term.recv() => false,
        _ = interrupt.recv() => false,
    })
}

fn agent_news(news: AgentNews) {
    match news {
        AgentNews::Registered(revision) => tracing::info!(%revision, "registered"),
        AgentNews::Done(task) => tracing::info!(%task, "carried out a task"),
        // The agent has said these itself.
        AgentNews::CutOff | AgentNews::Failed(..) => {}
        // These are counted.
        AgentNews::Renewed | AgentNews::NotRenewed(_) => {}
    }
}

fn engine_news(news: EngineNews) {
    match news {
        EngineNews::Leads(revision) => tracing::info!(%revision, "leads the fleet"),
        EngineNews::Wrote(decisions, revision) => {
            for decision in decisions {
                tracing::info!(%decision, %revision, "decided");
            }
        }
        EngineNews::Passed(_) | EngineNews::Refused(_) | EngineNews::Took(_) | EngineNews::Rests => {}
    }
}

fn view_news(news: ViewNews) {
    match news {
        ViewNews::Keeps => tracing::info!("keeps the original's registry in the v2 keys"),
        ViewNews::Took(taken) => {
            for taken in taken {
                let order = taken.base.one_of.into_iter().flatten().next();
                let desired = order.map_or_else(|| "destroyed".to_owned(), |order| order.desired.to_string());
                tracing::info!(unit = %taken.name, %desired, "took an order over from the v2 keys");
            }
        }
        ViewNews::Rests | ViewNews::Passed(_) | ViewNews::Failed(_) => {}
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

    #[test]
    fn other_machines_are_told_an_address_at_which_they_can_come() {
        let with = |words: &[&str], local: &str, has_tls| {
            advertised(&Line::try_parse_from([&["fleetd"], words].concat()).unwrap().args, local, has_tls)
        };
        let of = |words: &[&str], local: &str| with(words, local, false);
        assert_eq!(of(&[], "127.0.0.1:49153"), "127.0.0.1:49153");
        assert_eq!(of(&["--public-ip", "10.0.0.1"], "0.0.0.0:7"), "10.0.0.1:7");
        assert_eq!(of(&[], "0.0.0.0:7"), "");
        assert_eq!(of(&["--advertise-api", "http://a:8/"], "0.0.0.0:7"), "a:8");
        assert_eq!(of(&["--advertise-api", "https://a:8/"], "0.0.0.0:7"), "https://a:8");
        assert_eq!(with(&[], "127.0.0.1:7", true), "https://127.0.0.1:7");
        assert_eq!(with(&["--advertise-api", "a:8"], "0.0.0.0:7", true), "https://a:8");
        assert_eq!(with(&["--advertise-api", "http://a:8"], "0.0.0.0:7", true), "a:8");
        assert_eq!(with(&["--public-ip", "10.0.0.1"], "[::]:7", true), "https://10.0.0.1:7");
        assert_eq!(with(&[], "0.0.0.0:7", true), "");
    }
}
