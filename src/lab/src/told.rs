//! What an onlooker is told of a world: facts about members, and who has something to do next.

use crate::calls::{CallId, SleepId, WatchId};
use seatrial_scenario::observation::Observation;
use seatrial_scenario::record::Packet;
use seatrial_types::MemberId;
use std::time::Duration;

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A member told something about itself.
    Observed {
        /// When.
        at: Duration,
        /// Its machine.
        machine: MemberId,
        /// What.
        what: Observation,
    },
    /// A member panicked, and is dead.
    Panicked {
        /// Its machine.
        machine: MemberId,
        /// The message.
        text: String,
    },
    /// A message arrived at a member.
    Packet(Packet),
    /// A call has its answer.
    Answered(CallId),
    /// Something came on a watch stream, or it ended.
    Said(WatchId),
    /// Somebody's time has come.
    Woke(SleepId),
}
