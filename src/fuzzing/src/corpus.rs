//! The inputs that are kept: a folder for each target.

use std::io;
use std::path::{Path, PathBuf};

/// The folder of all.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// A target's inputs by name, in the order of their names.
///
/// # Errors
/// Where the folder cannot be read.
#[allow(clippy::disallowed_methods, reason = "the corpus lies beside the code")]
pub fn of(target: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(folder().join(target))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        inputs.push((name, std::fs::read(&path)?));
    }
    inputs.sort();
    Ok(inputs)
}

/// Keeps an input.
///
/// # Errors
/// Where it cannot be written.
#[allow(clippy::disallowed_methods, reason = "the corpus lies beside the code")]
pub fn keep(target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let folder = folder().join(target);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(name), bytes)
}
