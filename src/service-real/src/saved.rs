//! What a driver writes down, so that the next one goes on where it was.

use crate::DriveError;
use crate::group::Run;
use seatrial_service::Manager;
use std::collections::BTreeMap;
use std::path::Path;

/// The format of the file.
const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Saved {
    pub(crate) version: u32,
    /// Under which boot it was written: after another one no process is left.
    pub(crate) boot: String,
    pub(crate) manager: Manager,
    pub(crate) runs: BTreeMap<String, Run>,
}

impl Saved {
    pub(crate) fn new(boot: String, manager: Manager, runs: BTreeMap<String, Run>) -> Self {
        Self { version: VERSION, boot, manager, runs }
    }

    /// What was written; `None` where nothing was, or under another boot.
    pub(crate) fn read(path: &Path, boot: &str) -> Result<Option<Self>, DriveError> {
        let shown = || path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DriveError::File { what: "cannot read", path: shown(), error }),
        };
        // The version comes first, so that another format is named and not merely found to be wrong.
        #[derive(serde::Deserialize)]
        struct Head {
            version: u32,
            boot: String,
        }
        let wrong = |error| DriveError::State { path: shown(), error };
        let head: Head = serde_json::from_str(&text).map_err(wrong)?;
        if head.boot != boot {
            return Ok(None);
        }
        if head.version != VERSION {
            let text = format!("it has version {}, and this program knows {VERSION}", head.version);
            return Err(wrong(serde::de::Error::custom(text)));
        }
        serde_json::from_str(&text).map(Some).map_err(wrong)
    }
}

/// Writes a file as a whole or not at all. It is to outlive us, not the machine: nothing is synced.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), DriveError> {
    let new = path.with_extension("new");
    let tried = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, path));
    tried.map_err(|error| DriveError::File { what: "cannot write", path: path.display().to_string(), error })
}
