//! snapshot save, status.

use super::args::{text, words};
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
            return Err(Fail::args(format!(
                "snapshot must be requested to one selected node, not multiple [{all}]"
            )));
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
        let text = crate::etcdutl::status_text(Path::new(&text(path)), format.into());
        let text = text.map_err(|why| Fail::new(code::ERROR, why))?;
        self.out(text.as_bytes())
    }
}

async fn save(
    client: &Client<RealWorld, GrpcEndpoint<RealWorld>>,
    part: &Path,
    path: &Path,
) -> Result<(), Fail> {
    let io = |error: std::io::Error| {
        Fail::new(code::ERROR, format!("could not write {} ({error})", part.display()))
    };
    let mut file = File::create(part).map_err(io)?;
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
    crate::snapshot::status(path).map(|_| ()).map_err(|why| Fail::new(code::ERROR, why))
}
