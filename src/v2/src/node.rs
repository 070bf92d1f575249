//! What lies at a path.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A file or a directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Node {
    /// `None`: a directory.
    pub(crate) value: Option<Arc<str>>,
    /// The index at which it was made.
    pub(crate) created: u64,
    /// The index of its last change.
    pub(crate) modified: u64,
    /// `None`: for ever.
    pub(crate) life: Option<Life>,
}

impl Node {
    pub(crate) fn is_dir(&self) -> bool {
        self.value.is_none()
    }
}

/// How long it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Life {
    /// For people: since the Unix epoch.
    pub(crate) expiration_ns: i64,
    /// From when on it counts is not known before the clock moves next.
    pub(crate) ttl_ms: u64,
    /// By the clock that the log moves. `None` until it has moved once.
    pub(crate) deadline_ms: Option<u64>,
}
