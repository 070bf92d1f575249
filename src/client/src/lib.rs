//! The store as a Rust trait, and a client that keeps its word about it: choice of endpoints, retries that
//! never repeat a write which may have happened, watches that survive their connection, leases kept alive,
//! locks and elections among clients, and how the members of a new cluster find each other.
//!
//! Knows nothing of wire formats: an [`Endpoint`] is whatever can carry one request to one member. It never
//! hides an unknown outcome: [`ClientError::ambiguous`] says whether the request may have taken effect.
//!
//! Read first: [`Store`], [`Client`], [`ClientError`].

mod balance;
pub mod discovery;
mod election;
mod endpoint;
mod error;
mod lease;
mod mutex;
mod queue;
mod roster;
mod store;
mod watcher;

pub use balance::{Client, ClientOptions};
pub use election::{Election, Observer};
pub use endpoint::{Endpoint, WatchChannel};
pub use error::{ClientError, has_effect};
pub use lease::keep_alive;
pub use mutex::Mutex;
pub use queue::{LockError, Place};
pub use roster::{Roster, Standing};
pub use store::{Store, Watching};
pub use watcher::Watcher;
