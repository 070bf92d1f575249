//! How the members of a new cluster find each other: by a token, by DNS; and the service that hands out tokens.

mod dns;
mod join;
pub(crate) mod srv;
mod v3;

pub(crate) use join::{BY_SRV, JoinArgs, found};

use crate::exit;
use clap::Args;
use seatrial_wire::{DiscoveryOptions, Tls, TlsFiles, V2Client, V2ClientOptions, is_https, serve_discovery};
use seatrial_world::{Listener, Secure, World};
use seatrial_world_real::RealWorld;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

/// `seatrial discovery`: the service.
#[derive(Debug, Args)]
pub(crate) struct DiscoveryArgs {
    /// Where members are heard; several are separated by commas.
    #[arg(long, default_value = "http://localhost:8087", value_delimiter = ',')]
    listen_client_urls: Vec<String>,
    /// The store that remembers, by its v2 API: URLs separated by commas.
    #[arg(long, default_value = "http://127.0.0.1:2379", value_delimiter = ',')]
    endpoints: Vec<String>,
    /// What stands before the tokens that are handed out [default: what the client asked].
    #[arg(long, default_value = "", hide_default_value = true)]
    advertise_url: String,
    /// Most members a new cluster may ask for.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=64))]
    max_size: u64,
    /// Most connections at once.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    max_connections: u64,
    /// The service's certificate, in PEM form.
    #[arg(long, default_value = "", hide_default_value = true)]
    cert_file: String,
    /// The key of --cert-file.
    #[arg(long, default_value = "", hide_default_value = true)]
    key_file: String,
    /// Authorities of the store's certificates.
    #[arg(long, default_value = "", hide_default_value = true)]
    store_ca_file: String,
    /// Our certificate for the store.
    #[arg(long, default_value = "", hide_default_value = true)]
    store_cert_file: String,
    /// The key of --store-cert-file.
    #[arg(long, default_value = "", hide_default_value = true)]
    store_key_file: String,
    /// `name:password` of a user of the store.
    #[arg(long, default_value = "", hide_default_value = true, env = "SEATRIAL_DISCOVERY_STORE_USER")]
    store_user: String,
    /// debug, info, warn or error.
    #[arg(long, default_value = "info", value_parser = ["debug", "info", "warn", "error"])]
    log_level: String,
}

pub(crate) fn run(args: DiscoveryArgs) -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(format!("warn,seatrial={0},seatrial_wire={0}", args.log_level))
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
    match runtime.block_on(serve(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("seatrial: {why}");
            ExitCode::from(exit::USAGE)
        }
    }
}

/// Settings for TLS where one of the URLs wants it.
pub(crate) fn dialled(files: TlsFiles, urls: &[String]) -> Result<Option<Arc<dyn Secure>>, String> {
    if !urls.iter().any(|url| is_https(url)) {
        return Ok(None);
    }
    let tls = Tls::client_http1(files, crate::tls::reader())?;
    Ok(Some(Arc::new(tls)))
}

async fn serve(args: &DiscoveryArgs) -> Result<(), String> {
    let world = RealWorld::new();
    let store_files = TlsFiles {
        cert: args.store_cert_file.clone(),
        key: args.store_key_file.clone(),
        trusted_ca: args.store_ca_file.clone(),
        ..TlsFiles::default()
    };
    let user = match args.store_user.split_once(':') {
        Some((name, password)) => Some((name.to_owned(), password.to_owned())),
        None if args.store_user.is_empty() => None,
        None => return Err("--store-user has no password\nhint: name:password".to_owned()),
    };
    let options =
        V2ClientOptions { layer: dialled(store_files, &args.endpoints)?, user, ..V2ClientOptions::default() };
    let store = V2Client::new(world.clone(), &args.endpoints, options)?;
    let mut listeners = Vec::new();
    for url in &args.listen_client_urls {
        let address =
            seatrial_node::address_of(url).map_err(|error| format!("--listen-client-urls: {error}"))?;
        let layer: Option<Arc<dyn Secure>> = if is_https(url) {
            let files =
                TlsFiles { cert: args.cert_file.clone(), key: args.key_file.clone(), ..TlsFiles::default() };
            Some(Arc::new(Tls::server_http1(files, crate::tls::reader())?))
        } else {
            None
        };
        let listener = world.listen(&address).await;
        let listener = listener.map_err(|error| {
            format!("cannot listen at {address}: {error}\nhint: is another server running there?")
        })?;
        tracing::info!(address = %listener.local_address(), "serving discovery");
        let options = DiscoveryOptions {
            advertise_url: args.advertise_url.clone(),
            size_max: usize::try_from(args.max_size).unwrap_or(64),
            connections_max: usize::try_from(args.max_connections).unwrap_or(1024),
            layer,
            ..DiscoveryOptions::default()
        };
        listeners.push(serve_discovery(world.clone(), listener, store.clone(), options));
    }
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|error| format!("signals cannot be heard: {error}"))?;
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = futures::future::join_all(listeners) => {}
    }
    Ok(())
}
