//! What can go wrong with the lock.

use crate::keys::KeysError;
use crate::semaphore::{Malformed, SemaphoreError};

/// Why an operation on the lock failed. That a reboot is refused is no error: see [`crate::Refusal`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RebootError {
    /// The store refused, or did not answer.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// Locksmith's rules refuse it.
    #[error(transparent)]
    Semaphore(#[from] SemaphoreError),
    /// The semaphore cannot be read.
    #[error("{key}: {error}")]
    Malformed {
        /// Its key.
        key: String,
        /// What is wrong.
        error: Malformed,
    },
    /// Our own key beside the semaphore cannot be read. Slots can still be given back.
    #[error(
        "{key}: the ledger cannot be read: {why}\nhint: use the newest program; or delete the key, which loses ages, the queue, a pause and the policy, but no slot"
    )]
    Ledger {
        /// Its key.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// Others were faster every time.
    #[error(
        "{key} was changed by others {attempts} times in a row\nhint: try again; if it stays so, look for a program that writes this key in a loop"
    )]
    Contended {
        /// The key.
        key: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// FleetLock allows fewer characters in the name of a group than locksmith.
    #[error("{name:?} is not the name of a group: FleetLock allows a-z, A-Z, 0-9, '.' and '-'")]
    GroupName {
        /// The name.
        name: String,
    },
    /// A FleetLock server says why not.
    #[error("refused ({kind}): {value}")]
    Denied {
        /// Its word for the reason.
        kind: String,
        /// What it says.
        value: String,
    },
    /// Something answered that speaks no FleetLock.
    #[error(
        "the answer is none of FleetLock: status {status}{}\nhint: is it the server's base, without /v1/pre-reboot? A member serves FleetLock with --reboot-lock",
        colon(said)
    )]
    NoFleetLock {
        /// HTTP's status.
        status: u16,
        /// The beginning of what it says.
        said: String,
    },
    /// A window cannot be read.
    #[error("reboot window {given:?}: {why}\nhint: {hint}")]
    Window {
        /// What was given.
        given: String,
        /// What is wrong with it.
        why: String,
        /// What would be right.
        hint: &'static str,
    },
    /// There is no such strategy.
    #[error("unknown reboot strategy {name:?}\nhint: {hint}")]
    Strategy {
        /// What was given.
        name: String,
        /// What would be right.
        hint: &'static str,
    },
    /// A file of the agent's cannot be written.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        why: String,
    },
}

fn colon(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}
