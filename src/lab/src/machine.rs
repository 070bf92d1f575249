//! One machine: its disk, its clock, and the process that runs on it.

use crate::calls::{CallId, WatchId};
use crate::clock::Clock;
use crate::disk::Disk;
use crate::parcel::Parcel;
use seatrial_node::{LogWrite, Member, PeerMessage, RequestId, Timer};
use seatrial_raft::PersistId;
use seatrial_store::{Batch, MemBackend};
use seatrial_types::MemberId;
use seatrial_types::watch::StreamId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// A machine. A clone of its world shares it until one of the two changes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) disk: Disk,
    pub(crate) clock: Clock,
    /// What its calendar says; it jumps where somebody sets it.
    pub(crate) wall: Clock,
    pub(crate) process: Process,
    /// Counts the starts: what was meant for an earlier process does not reach this one.
    pub(crate) incarnation: u64,
    /// What came while the process stood still; it has all of it to do once it goes on.
    pub(crate) waiting: Option<VecDeque<Arrived>>,
    /// When it is woken for its timers, at the latest.
    pub(crate) armed: Option<Duration>,
}

/// What reaches a process.
#[derive(Clone, Debug)]
pub(crate) enum Arrived {
    /// From another place.
    Parcel(usize, Parcel),
    /// Its timers are to be looked at.
    Wake,
    /// The log's sync is done.
    Synced,
    /// The store's file has taken what it was given.
    Committed,
    /// Something the kernel or a connection tells.
    Notice(Notice),
}

/// See [`Arrived::Notice`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The connection to a member is given up.
    Unreachable(MemberId),
    /// The process of a member has closed its connections.
    Reset(MemberId),
    /// A member says that this one is none any more.
    Removed,
}

/// What runs on a machine.
#[derive(Clone, Debug, Default)]
pub(crate) enum Process {
    /// Nothing.
    #[default]
    Off,
    /// A member that asks the others who they are.
    Joining,
    /// A member.
    Member(Box<Running>),
}

/// A member that runs, and what its driver keeps.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) member: Member<MemBackend>,
    /// By the machine's clock.
    pub(crate) timers: BTreeMap<Timer, Duration>,
    pub(crate) answers: BTreeMap<RequestId, CallId>,
    pub(crate) streams: BTreeMap<StreamId, WatchId>,
    pub(crate) next_request: u64,
    pub(crate) next_stream: u64,
    /// Whose words count no more.
    pub(crate) removed: BTreeSet<MemberId>,
    pub(crate) log: LogWriter,
    pub(crate) store: StoreWriter,
}

/// Writes the log: what queued behind the last sync becomes one write and one sync.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogWriter {
    pub(crate) queue: VecDeque<LogWrite>,
    /// The sync under way: how many writes of the page cache it covers, and what is to be told then.
    pub(crate) syncing: Option<(usize, Option<PersistId>)>,
}

/// Writes the store's file, one batch after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreWriter {
    pub(crate) queue: VecDeque<StoreWork>,
    pub(crate) is_busy: bool,
}

/// What is done to the store's file.
#[derive(Clone, Debug)]
pub(crate) enum StoreWork {
    Batch(Arc<Batch>),
    Rewrite,
}

impl Machine {
    pub(crate) fn running(&self) -> Option<&Running> {
        match &self.process {
            Process::Member(running) => Some(running),
            Process::Off | Process::Joining => None,
        }
    }

    pub(crate) fn running_mut(&mut self) -> Option<&mut Running> {
        match &mut self.process {
            Process::Member(running) => Some(running),
            Process::Off | Process::Joining => None,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        !matches!(self.process, Process::Off)
    }
}

/// The message itself, copied only where a clone of the world holds it too.
pub(crate) fn unpacked(message: Arc<PeerMessage>) -> PeerMessage {
    Arc::unwrap_or_clone(message)
}
