//! Raft consensus as a pure state machine (Ongaro and Ousterhout 2014; Ongaro's thesis for pre-vote,
//! check-quorum, ReadIndex, leadership transfer and the leader's parallel write).
//!
//! Knows nothing of sockets, files, clocks, randomness or async: input comes by method call, output leaves as
//! a [`Ready`], time is a [`Timer`] that fires. Same state and same input give the same output, always.
//!
//! Read first: [`Raft`], [`Ready`], [`Message`].

pub mod config;
mod election;
mod error;
mod follower;
mod log;
#[cfg(test)]
mod log_tests;
mod message;
mod options;
mod outbox;
mod progress;
pub mod quorum;
mod raft;
mod reads;
mod ready;
mod relabel;
mod replication;

pub use config::ConfigError;
pub use error::{ProposeError, ReadError, StepError, TransferError};
pub use message::{
    Body, Config, ConfigChange, ConfigEntry, ConfigStep, Entry, HardState, Message, Payload, ReadId,
    SnapshotMeta,
};
pub use options::{Options, Restored};
pub use progress::{Progress, ProgressState};
pub use raft::Raft;
pub use ready::{
    ChunkReceived, ChunkWanted, Persist, PersistId, ReadReady, Ready, Role, SoftState, Timer, TimerRequest,
};
