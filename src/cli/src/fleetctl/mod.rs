//! `seatrial fleetctl`: fleet's command line client. Verbs, columns, messages and exit codes are those of the original
//! (version 1.0), for scripts depend on them.

mod args;
pub(crate) mod dial;
mod files;
mod fleet;
mod look;
mod table;
mod verbs;

use crate::exit;
use args::{Command, Globals, Line};
use clap::Parser;
use dial::{Credentials, Place};
use fleet::Fleet;
use seatrial_wire::{Tls, TlsFiles};
use seatrial_world::Secure;
use seatrial_world_real::RealWorld;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Where the original is heard on its machine.
const SOCKET: &str = "/var/run/fleet.sock";

const PLAIN: &str = "http://127.0.0.1:49153";

const SSH: &str = "Error: ssh and fd-forward are not there: no command here goes through SSH\n\
                   hint: status and journal work from everywhere through fleetd; for a shell use ssh itself, list-machines \
                   has the addresses";

const TUNNEL: &str = "Error: --tunnel is not there: no command here goes through SSH\n\
                      hint: ssh -L 49153:127.0.0.1:49153 HOST, and --endpoint http://127.0.0.1:49153";

const DRIVER: &str = "Error: --driver=etcd is not there: every command goes through fleetd\n\
                      hint: --endpoint http://HOST:49153; the original's own fleetctl can be shown the registry (fleetd \
                      --v2-registry)";

fn endpoint(globals: &Globals) -> String {
    match &globals.endpoint {
        Some(given) => given.clone(),
        None if Path::new(SOCKET).exists() => format!("unix://{SOCKET}"),
        None => PLAIN.to_owned(),
    }
}

/// Files are looked at where they are needed: scripts give the original's flags to every command.
fn credentials(globals: &Globals, place: &Place) -> Result<Credentials, String> {
    let read = crate::tls::reader();
    let layer = if matches!(place, Place::Tls(_)) {
        let files = TlsFiles {
            cert: globals.cert_file.clone(),
            key: globals.key_file.clone(),
            trusted_ca: globals.ca_file.clone(),
            ..TlsFiles::default()
        };
        let tls = Tls::client_http1(files, read.clone());
        let tls = tls.map_err(|error| {
            format!("Error: {error}\nhint: --ca-file, --cert-file and --key-file name files in PEM form")
        })?;
        Some(Arc::new(tls) as Arc<dyn Secure>)
    } else {
        None
    };
    Ok(Credentials { layer, token_file: globals.api_token_file.clone(), read })
}

async fn command(fleet: &mut Fleet, command: &Command) -> Result<u8, String> {
    match command {
        Command::Submit(args) => verbs::submit(fleet, args, "inactive").await?,
        Command::Load(args) => verbs::submit(fleet, args, "loaded").await?,
        Command::Start(args) => verbs::submit(fleet, args, "launched").await?,
        Command::Stop(args) => verbs::lower(fleet, args, "loaded").await?,
        Command::Unload(args) => verbs::lower(fleet, args, "inactive").await?,
        Command::Restart(args) => verbs::restart(fleet, args).await?,
        Command::Destroy(args) => verbs::destroy(fleet, args).await?,
        Command::Cat { units } => look::cat(fleet, units).await?,
        Command::Verify { files } => {
            for file in files {
                look::verify(fleet, file).await?;
            }
        }
        Command::ListUnits(args) => look::list_units(fleet, args).await?,
        Command::ListUnitFiles(args) => look::list_unit_files(fleet, args).await?,
        Command::ListMachines(args) => look::list_machines(fleet, args).await?,
        Command::Status { units, machine } => return look::status(fleet, units, machine).await,
        Command::Journal(args) => look::journal(fleet, args).await?,
        Command::Top { once } => look::top(fleet, *once).await?,
        Command::Plan => look::plan(fleet).await?,
        Command::Version => {
            look::print(&format!("fleetctl version 1.0.0 (seatrial {})\n", env!("CARGO_PKG_VERSION")))?;
        }
        Command::Ssh { .. } | Command::FdForward { .. } => return Err(SSH.to_owned()),
    }
    Ok(exit::PASS)
}

fn try_run(line: &Line) -> Result<u8, String> {
    if line.globals.tunnel.is_some() {
        return Err(TUNNEL.to_owned());
    }
    match line.globals.driver.as_str() {
        "API" => {}
        "etcd" => return Err(DRIVER.to_owned()),
        other => return Err(format!("Unable to initialize client: unrecognized driver {other:?}")),
    }
    let endpoint = endpoint(&line.globals);
    let place = Place::parse(&endpoint).map_err(|text| format!("Error: {text}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("Error: the runtime cannot start: {error}"))?;
    let world = RealWorld::on(runtime.handle().clone());
    let credentials = credentials(&line.globals, &place)?;
    let timeout = line.globals.timeout();
    let mut fleet = Fleet { world, place, credentials, endpoint, timeout, connection: None };
    runtime.block_on(command(&mut fleet, &line.command))
}

/// `fleetctl` with these arguments (without the program's name).
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    let mut words = vec![OsString::from("fleetctl"), OsString::new()];
    words.extend(args);
    // Go's flags are taken with one dash too.
    crate::server::accept_single_dashes(&mut words);
    words.remove(1);
    // The original has both.
    if words.get(1).is_some_and(|word| word == "--version") {
        words[1] = "version".into();
    }
    let line = match Line::try_parse_from(words) {
        Ok(line) => line,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::PASS });
        }
    };
    match try_run(&line) {
        Ok(code) => ExitCode::from(code),
        Err(text) => {
            if !text.is_empty() {
                eprintln!("{text}");
            }
            ExitCode::from(exit::VIOLATION)
        }
    }
}
