//! The one binary: a server, a local cluster, clients, and the testbed. It alone chooses a world.

#![allow(clippy::disallowed_methods, reason = "a composition root talks to the machine itself")]

mod discovery;
#[cfg(all(test, feature = "sim"))]
mod documented;
mod etcdctl;
mod etcdctl2;
mod etcdutl;
mod faces;
mod fault_dir;
mod fleetctl;
mod fleetd;
mod identity;
mod local;
mod reboot;
mod server;
mod snapshot;
#[cfg(feature = "sim")]
mod testbed;
mod tls;
mod unsynced;
mod upkeep_flags;

use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit codes, the same for every command (documented in the README).
pub(crate) mod exit {
    /// Nothing to complain about.
    pub(crate) const PASS: u8 = 0;
    /// A property was violated, or the server failed.
    pub(crate) const VIOLATION: u8 = 1;
    /// The command line or a file is wrong.
    pub(crate) const USAGE: u8 = 2;
    /// Neither shown nor refuted. Never a pass.
    #[cfg(feature = "sim")]
    pub(crate) const INCONCLUSIVE: u8 = 3;
    /// The harness itself failed.
    pub(crate) const HARNESS: u8 = 4;
}

#[derive(Debug, Parser)]
#[command(
    name = "seatrial",
    version,
    about = "A cluster platform with its own sea trial: an etcd-compatible store, and the simulator that proves it",
    after_help = "Exit codes: 0 pass, 1 violation or failure, 2 usage, 3 inconclusive, 4 the harness itself failed."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one member of a cluster, with etcd's flags.
    Server(Box<server::ServerArgs>),
    /// Start a cluster on this machine, as child processes.
    Up(local::UpArgs),
    /// Stop the cluster that `up` started.
    Down(local::DownArgs),
    /// Show the cluster that `up` started.
    Status(local::DownArgs),
    /// Reboot the machines that `up` started, one after the other through the reboot lock.
    RollingReboot(local::RollingArgs),
    /// What the agent of such a machine does to it.
    #[command(hide = true)]
    Machine(local::MachineArgs),
    /// The page of the demo's web units.
    #[command(hide = true)]
    DemoWeb(local::PageArgs),
    /// Talk to a cluster as etcd's own client does (`seatrial etcdctl put a 1`).
    #[command(disable_help_flag = true)]
    Etcdctl {
        /// As for etcdctl; see `seatrial etcdctl --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Serve discovery: tokens by which the members of new clusters find each other.
    Discovery(Box<discovery::DiscoveryArgs>),
    /// Look at the reboot lock of a group of machines and change it, as locksmith's own program does.
    #[command(disable_help_flag = true)]
    Locksmithctl {
        /// As for locksmithctl; see `seatrial locksmithctl help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Reboot this machine when it must be and may be, with a slot of its group's lock.
    RebootAgent(Box<reboot::AgentArgs>),
    /// Run one machine of a fleet: units that run somewhere on its machines.
    Fleetd(Box<fleetd::FleetdArgs>),
    /// Talk to a fleet as fleet's own client does (`seatrial fleetctl start web.service`).
    #[command(disable_help_flag = true)]
    Fleetctl {
        /// As for fleetctl; see `seatrial fleetctl --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Work on the files of members that do not run.
    #[command(subcommand)]
    Etcdutl(etcdutl::Command),
    /// Measure: load on any server of etcd's v3 API, and a comparison with the real etcd.
    #[command(subcommand)]
    Bench(seatrial_benches::command::Command),
    #[cfg(feature = "sim")]
    #[command(flatten)]
    Testbed(testbed::Command),
}

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    // Called under the client's own name, we are that client.
    let called = args.first().and_then(|name| std::path::Path::new(name).file_name().map(OsString::from));
    if called.as_ref().is_some_and(|name| name == "etcdctl") {
        return run_etcdctl(args.split_off(1));
    }
    if called.as_ref().is_some_and(|name| name == "locksmithctl") {
        return reboot::run_ctl(args.split_off(1));
    }
    if called.as_ref().is_some_and(|name| name == "fleetctl") {
        return fleetctl::run(args.split_off(1));
    }
    // It becomes a unit's process: nothing may be printed or started before.
    if args.get(1).is_some_and(|command| command == fleetd::LAUNCH) {
        return seatrial_service_real::launch();
    }
    if args.get(1).is_some_and(|command| command == "server" || command == "fleetd") {
        server::accept_single_dashes(&mut args);
    }
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::PASS });
        }
    };
    match cli.command {
        Command::Server(args) => server::run(*args),
        Command::Up(args) => local::up(&args),
        Command::Down(args) => local::down(&args),
        Command::Status(args) => local::status(&args),
        Command::RollingReboot(args) => local::rolling_reboot(&args),
        Command::Machine(args) => local::machine(&args),
        Command::DemoWeb(args) => local::demo_web(&args),
        Command::Etcdctl { args } => run_etcdctl(args),
        Command::Discovery(args) => discovery::run(*args),
        Command::Locksmithctl { args } => reboot::run_ctl(args),
        Command::RebootAgent(args) => reboot::run_agent(*args),
        Command::Fleetd(args) => fleetd::run(*args),
        Command::Fleetctl { args } => fleetctl::run(args),
        Command::Etcdutl(command) => etcdutl::run(&command),
        Command::Bench(command) => bench(&command),
        #[cfg(feature = "sim")]
        Command::Testbed(command) => testbed::run(command),
    }
}

/// The client for the API that `ETCDCTL_API` names: 3 without it.
fn run_etcdctl(args: Vec<OsString>) -> ExitCode {
    match std::env::var("ETCDCTL_API").as_deref() {
        Ok("2") => etcdctl2::run(args),
        _ => etcdctl::run(args),
    }
}

fn bench(command: &seatrial_benches::command::Command) -> ExitCode {
    match seatrial_benches::command::run(command) {
        Ok(()) => ExitCode::from(exit::PASS),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(exit::VIOLATION)
        }
    }
}
