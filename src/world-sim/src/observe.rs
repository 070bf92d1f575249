//! What an observer of a run is told.

use crate::disk::CrashReport;
use crate::net::CutKind;
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A node's name.
pub type Name = Arc<str>;

/// Something that happened in the simulated outside. Times are given beside it.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields of an event: the nodes it concerns, by name")]
pub enum Event {
    /// A process was started, for the how-many-th time.
    Started { node: Name, incarnation: u32 },
    /// A process ended by itself.
    Exited { node: Name },
    /// A process was killed; its machine runs on.
    Killed { node: Name },
    /// A task of it panicked.
    Panicked { node: Name, message: String },
    /// A process stands still.
    Paused { node: Name },
    /// It goes on.
    Resumed { node: Name },
    /// A machine lost its power, with what became of writes that were not durable.
    PowerLost { node: Name, report: CrashReport },
    /// A connection was made.
    Connected { from: Name, to: Name, port: u16 },
    /// Nobody listened.
    Refused { from: Name, to: Name, port: u16 },
    /// Nothing answered.
    TimedOut { from: Name, to: Name, port: u16 },
    /// A connection broke: `to` was told so by `from`'s side.
    Reset { from: Name, to: Name },
    /// Nothing passes in this direction any more.
    Cut { from: Name, to: Name, kind: CutKind },
    /// This direction is open again.
    Healed { from: Name, to: Name },
    /// The link's rule was changed.
    Link { from: Name, to: Name, rule: String },
    /// A clock's rate was changed.
    Drift { node: Name, ppm: i64 },
    /// A wall clock was moved.
    Step { node: Name, by_ms: i64 },
    /// A fault of a disk was set up or taken away.
    DiskFault { node: Name, fault: String },
    /// A fault of a disk bit.
    DiskBit { node: Name, path: String, fault: &'static str },
    /// Bytes arrived (only a sample, see [`crate::Options::packet_sample`]).
    Packet { from: Name, to: Name, sent: Duration, bytes: Bytes },
    /// A mark of the application's.
    Mark { node: Name, text: String },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { node, incarnation } => write!(f, "{node} started, incarnation {incarnation}"),
            Self::Exited { node } => write!(f, "{node} exited"),
            Self::Killed { node } => write!(f, "{node} killed"),
            Self::Panicked { node, message } => write!(f, "{node} panicked: {message}"),
            Self::Paused { node } => write!(f, "{node} paused"),
            Self::Resumed { node } => write!(f, "{node} resumed"),
            Self::PowerLost { node, report } => write!(f, "{node} lost its power: {report}"),
            Self::Connected { from, to, port } => write!(f, "{from} connected to {to}:{port}"),
            Self::Refused { from, to, port } => write!(f, "{from} was refused at {to}:{port}"),
            Self::TimedOut { from, to, port } => write!(f, "{from} got no answer from {to}:{port}"),
            Self::Reset { from, to } => write!(f, "{from} reset a connection of {to}"),
            Self::Cut { from, to, kind } => write!(f, "{from} -> {to} cut ({kind:?})"),
            Self::Healed { from, to } => write!(f, "{from} -> {to} healed"),
            Self::Link { from, to, rule } => write!(f, "{from} -> {to} now {rule}"),
            Self::Drift { node, ppm } => write!(f, "{node}'s clock drifts by {ppm} ppm"),
            Self::Step { node, by_ms } => write!(f, "{node}'s wall clock moved by {by_ms} ms"),
            Self::DiskFault { node, fault } => write!(f, "{node}'s disk: {fault}"),
            Self::DiskBit { node, path, fault } => write!(f, "{node}'s disk, {path}: {fault}"),
            Self::Packet { from, to, bytes, .. } => write!(f, "{from} -> {to} {} bytes", bytes.len()),
            Self::Mark { node, text } => write!(f, "{node}: {text}"),
        }
    }
}

/// Told of every event, with the true time.
pub type Observer = Box<dyn FnMut(Duration, &Event) + Send>;
