//! A scheduler for systemd's units across machines, after CoreOS's fleet: units in files, machines that announce
//! themselves, an engine that says which unit runs where, and an agent on each machine that sees to it.
//!
//! Decisions are functions over values: [`engine::decide`] over a whole [`model::Cluster`], [`agent::reconcile`] over what
//! one machine has, and each comes with its reasons. What an engine and an agent know and do over time are values too
//! ([`lead::Lead`], [`duty::Duty`]). Around them lie loops over any `World` and any `Store`
//! ([`run::run_engine`], [`run::run_agent`], and [`run::run_view`] for clients that read the original's keys).
//!
//! Knows nothing of Raft, of members, nor of how the store is reached; nor of HTTP: the API is a function from a request to
//! an answer and what is to be written. systemd is behind [`run::UnitManager`].
//!
//! Read first: [`model::Cluster`] (what there is), [`engine::decide`] (who goes where, and why not), [`registry::Mirror`]
//! (the keys in the store, and how writes are fenced).

pub mod agent;
pub mod api;
pub mod duty;
pub mod engine;
pub mod fake;
pub mod lead;
pub mod model;
pub mod registry;
pub mod run;
pub mod unit;
