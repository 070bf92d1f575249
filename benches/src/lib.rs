//! Measurements from the outside: load against any server of etcd's v3 API, and what the kernel says it cost.
//!
//! Knows nothing of a member's inside. A real etcd and a member of ours are driven by the very same client
//! code over real sockets, and their costs are read from the same files under `/proc`, so that a comparison
//! compares servers and nothing else.
//!
//! Read first: [`load::Load`] (what is asked), [`load::Measured`] (what came of it), [`servers::Cluster`]
//! (three members started for a comparison).

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a composition root: it measures real time on real sockets"
)]

pub mod channel;
pub mod cost;
pub mod load;
pub mod servers;
pub mod table;
