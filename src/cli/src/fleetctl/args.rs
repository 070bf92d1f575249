//! The command line of `fleetctl`, with the original's names.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Parser)]
#[command(
    name = "fleetctl",
    about = "Command line interface to a fleet: units that run somewhere on its machines",
    disable_version_flag = true,
    infer_subcommands = true,
    after_help = "Where fleetd is heard: --endpoint, or FLEETCTL_ENDPOINT; else /var/run/fleet.sock where that is there, \
                  else http://127.0.0.1:49153. https:// speaks TLS."
)]
pub(super) struct Line {
    #[command(flatten)]
    pub(super) globals: Globals,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Args)]
pub(super) struct Globals {
    /// Where fleetd is heard: http://host:port, https://host:port, or unix:///path.
    #[arg(long, env = "FLEETCTL_ENDPOINT", global = true)]
    pub(super) endpoint: Option<String>,
    /// Seconds for one request.
    #[arg(
        long,
        alias = "request_timeout",
        env = "FLEETCTL_REQUEST_TIMEOUT",
        default_value_t = 5.0,
        global = true
    )]
    request_timeout: f64,
    /// Not here: see the message.
    #[arg(long, env = "FLEETCTL_TUNNEL", hide = true, global = true)]
    pub(super) tunnel: Option<String>,
    /// `API`; the original's `etcd` is not here: see the message.
    #[arg(long, env = "FLEETCTL_DRIVER", default_value = "API", hide = true, global = true)]
    pub(super) driver: String,
    /// Authorities of fleetd's certificate [default: those of the machine].
    #[arg(
        long,
        alias = "ca_file",
        env = "FLEETCTL_CA_FILE",
        default_value = "",
        hide_default_value = true,
        global = true
    )]
    pub(super) ca_file: String,
    /// Our certificate, where fleetd asks for one.
    #[arg(
        long,
        alias = "cert_file",
        env = "FLEETCTL_CERT_FILE",
        default_value = "",
        hide_default_value = true,
        global = true
    )]
    pub(super) cert_file: String,
    /// The key of --cert-file.
    #[arg(
        long,
        alias = "key_file",
        env = "FLEETCTL_KEY_FILE",
        default_value = "",
        hide_default_value = true,
        global = true
    )]
    pub(super) key_file: String,
    /// A file whose first line is the token to show, where fleetd asks for one.
    #[arg(
        long,
        env = "FLEETCTL_API_TOKEN_FILE",
        default_value = "",
        hide_default_value = true,
        global = true
    )]
    pub(super) api_token_file: String,
    #[command(flatten)]
    _idle: Idle,
}

/// Flags of the original that scripts give and that change nothing here: no command goes through SSH.
#[derive(Debug, Args)]
struct Idle {
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true, global = true)]
    debug: Option<bool>,
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true, global = true)]
    experimental_api: Option<bool>,
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true, global = true)]
    strict_host_key_checking: Option<bool>,
    #[arg(long, hide = true, global = true)]
    known_hosts_file: Option<String>,
    #[arg(long, hide = true, global = true)]
    ssh_timeout: Option<f64>,
    #[arg(long, hide = true, global = true)]
    ssh_username: Option<String>,
    #[arg(long, hide = true, global = true)]
    ssh_port: Option<u16>,
}

impl Globals {
    pub(super) fn timeout(&self) -> Duration {
        Duration::try_from_secs_f64(self.request_timeout.max(0.1)).unwrap_or(Duration::MAX)
    }
}

#[derive(Debug, Args)]
pub(super) struct Waiting {
    /// Give the order and do not wait until it is carried out.
    #[arg(long, alias = "no_block")]
    pub(super) no_block: bool,
    /// Look so often, four times a second, whether it is carried out; 0 goes on for ever.
    #[arg(long, alias = "block_attempts", default_value_t = 0)]
    pub(super) block_attempts: u32,
}

#[derive(Debug, Args)]
pub(super) struct Submitting {
    /// Unit files, or names of units; an instance of a template needs no file of its own. None is nothing to do.
    pub(super) units: Vec<String>,
    /// Put another file in the place of one that is known.
    #[arg(long)]
    pub(super) replace: bool,
    #[arg(long, hide = true)]
    pub(super) sign: bool,
    #[command(flatten)]
    pub(super) waiting: Waiting,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// Names of units. None is nothing to do.
    pub(super) units: Vec<String>,
    #[command(flatten)]
    pub(super) waiting: Waiting,
}

#[derive(Debug, Args)]
pub(super) struct Listing {
    /// Whole ids and hashes.
    #[arg(long, short = 'l', alias = "l")]
    pub(super) full: bool,
    /// No line with the columns' names.
    #[arg(long, alias = "no_legend")]
    pub(super) no_legend: bool,
    /// Columns, separated by commas.
    #[arg(long)]
    pub(super) fields: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Looking {
    /// Name of a unit.
    #[arg(value_name = "UNIT")]
    pub(super) units: Vec<String>,
    /// Lines of its log.
    #[arg(long, short = 'n', default_value_t = 10)]
    pub(super) lines: usize,
    /// Go on as lines come.
    #[arg(long, short = 'f', alias = "f")]
    pub(super) follow: bool,
    /// On this machine, of a unit that is on several.
    #[arg(long, default_value = "")]
    pub(super) machine: String,
    #[arg(long, hide = true)]
    pub(super) sudo: bool,
    /// Lines come as the unit wrote them, which journalctl calls `cat`.
    #[arg(long, hide = true, value_parser = ["short", "cat"])]
    output: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make units known, without a machine.
    Submit(Submitting),
    /// Put units on machines, without starting them.
    Load(Submitting),
    /// Start units, on machines that fit.
    Start(Submitting),
    /// Stop units; they stay on their machines.
    Stop(Named),
    /// Stop units and take them off their machines.
    Unload(Named),
    /// Stop units and start them again.
    Restart(Named),
    /// Stop units and forget them.
    Destroy(Named),
    /// Print the file of units as the fleet knows it.
    Cat {
        /// Names of units.
        units: Vec<String>,
    },
    /// Say whether unit files are fine, and whether the fleet knows another file under the same name.
    Verify {
        /// Unit files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// How units do, on which machine.
    ListUnits(Listing),
    /// What the fleet is to run.
    ListUnitFiles(Listing),
    /// The machines of the fleet.
    ListMachines(Listing),
    /// How units do, with their processes and the last lines of their logs.
    Status {
        /// Names of units.
        units: Vec<String>,
        /// On this machine, of a unit that is on several.
        #[arg(long, default_value = "")]
        machine: String,
    },
    /// The log of a unit.
    #[command(visible_alias = "logs")]
    Journal(Looking),
    /// Machines with the number of their units, again and again.
    Top {
        /// Only once.
        #[arg(long)]
        once: bool,
    },
    /// What the engine would do now, and why units wait.
    Plan,
    /// Print the version.
    Version,
    #[command(hide = true, disable_help_flag = true)]
    Ssh {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    #[command(hide = true, disable_help_flag = true)]
    FdForward {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
}
