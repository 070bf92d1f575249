//! Measurements from the outside: load against any server of etcd's v3 API, and what the kernel says it cost.
//!
//! Knows nothing of a member's inside. A real etcd and a member of ours are driven by the very same client
//! code over real sockets, and their costs are read from the same files under `/proc`, so that a comparison
//! compares servers and nothing else.
//!
//! Read first: [`case::Case`] (what is asked), [`load::Load`] (one measurement), [`servers::Cluster`] (members started
//! for a comparison), [`command`] (what `seatrial bench` does).

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a composition root: it measures real time on real sockets"
)]

mod asks;
pub mod case;
pub mod channel;
pub mod command;
pub mod connection;
pub mod cost;
mod drive;
pub mod fill;
pub mod load;
pub mod servers;
pub mod table;
pub mod trials;
mod watching;

pub use asks::Shape;
