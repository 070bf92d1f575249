//! Consensus: members of a cluster with the Raft core that is shipped, a network that loses, repeats and reorders, and disks on
//! which a write is durable only once its sync is over. A crash keeps what was durable and any beginning of what was not.
//!
//! Time is left out: a timer that is set may fire at any moment, so no clock is trusted with anything. What is bounded is how
//! often that happens.

mod cluster;
mod model;
mod node;
pub mod reduced;

pub use cluster::{Cluster, Letter};
pub use model::{Bounds, Step};
pub use node::Node;
