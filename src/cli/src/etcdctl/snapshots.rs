//! snapshot save, status, restore.

use super::args::{text, value, words};
use super::go::system_error;
use super::{Fail, Session, code, error_text};
use clap::ArgMatches;
use seatrial_client::Client;
use seatrial_wire::GrpcEndpoint;
use seatrial_world_real::RealWorld;
use std::fs::File;
use std::io::Write;
use std::path::Path;

impl Session<'_> {
    pub(super) async fn snapshot_save(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let words = words(matches);
        let [path] = words.as_slice() else {
            return Err(Fail::args("snapshot save expects one argument"));
        };
        let path = text(path);
        let [endpoint] = self.globals.endpoints.as_slice() else {
            let all = self.globals.endpoints.join(" ");
            let text = format!("snapshot must be requested to one selected node, not multiple [{all}]");
            return Err(Fail::new(code::INTERRUPTED, text));
        };
        let endpoint = endpoint.clone();
        let client = self.client_of(&endpoint)?;
        // Until it is whole it goes by another name.
        let part = format!("{path}.part");
        let saved = save(&client, Path::new(&part), Path::new(&path)).await;
        if let Err(fail) = saved {
            let _ = std::fs::remove_file(&part);
            return Err(fail);
        }
        self.out(format!("Snapshot saved at {path}\n").as_bytes())
    }

    pub(super) fn snapshot_status(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let words = words(matches);
        let [path] = words.as_slice() else {
            return Err(Fail::args("snapshot status requires exactly one argument"));
        };
        let format = self.globals.printer.format;
        let path = text(path);
        if let Err(error) = std::fs::metadata(&path) {
            return Err(Fail::new(code::ERROR, format!("stat {path}: {}", system_error(&error))));
        }
        let format = format
            .try_into()
            .map_err(|()| Fail::new(code::BAD_FEATURE, "protobuf not supported as output format"))?;
        let text = crate::etcdutl::status_text(Path::new(&path), format);
        let text = text.map_err(|why| Fail::new(code::ERROR, why))?;
        self.out(text.as_bytes())
    }

    /// As `etcdutl snapshot restore`, under the name that it had until 3.4.
    pub(super) fn snapshot_restore(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let words = words(matches);
        let [path] = words.as_slice() else {
            return Err(Fail::args("snapshot restore requires exactly one argument"));
        };
        let urls = |name| value(matches, name).split(',').map(str::to_owned).collect();
        let own = |name| Some(value(matches, name).to_owned()).filter(|value| !value.is_empty());
        let args = crate::etcdutl::RestoreArgs {
            file: text(path).into(),
            name: value(matches, "name").to_owned(),
            data_dir: own("data-dir"),
            initial_cluster: urls("initial-cluster"),
            initial_cluster_token: value(matches, "initial-cluster-token").to_owned(),
            initial_advertise_peer_urls: urls("initial-advertise-peer-urls"),
            skip_hash_check: matches.get_flag("skip-hash-check"),
        };
        crate::etcdutl::restore(&args).map_err(|why| Fail::new(code::ERROR, why))
    }
}

async fn save(
    client: &Client<RealWorld, GrpcEndpoint<RealWorld>>,
    part: &Path,
    path: &Path,
) -> Result<(), Fail> {
    let io = |error: std::io::Error| {
        let why = system_error(&error);
        Fail::new(code::INTERRUPTED, format!("could not write {} ({why})", part.display()))
    };
    let mut file = File::create(part).map_err(|error| {
        let (part, why) = (part.display(), system_error(&error));
        Fail::new(code::INTERRUPTED, format!("could not open {part} (open {part}: {why})"))
    })?;
    let endpoint = client.endpoints().first().ok_or_else(Fail::odd)?;
    let mut pieces = endpoint.snapshot().await.map_err(|error| Fail::new(code::ERROR, error_text(&error)))?;
    loop {
        match pieces.message().await {
            Ok(Some(piece)) => file.write_all(&piece.blob).map_err(io)?,
            Ok(None) => break,
            Err(status) => return Err(Fail::new(code::ERROR, status.message().to_owned())),
        }
    }
    file.sync_all().map_err(io)?;
    drop(file);
    std::fs::rename(part, path).map_err(io)?;
    crate::snapshot::status(path, true).map(|_| ()).map_err(|why| Fail::new(code::ERROR, why))
}
