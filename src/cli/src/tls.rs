//! Where the files of certificates are read. The simulated world speaks plain text, so they are always real.

use seatrial_wire::ReadFile;
use std::sync::Arc;

/// Reads files of this machine.
#[allow(clippy::disallowed_methods, reason = "the files of operators, not of a member's data")]
pub(crate) fn reader() -> ReadFile {
    Arc::new(|name| std::fs::read(name))
}
