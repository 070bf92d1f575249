//! What clients of the v2 keys asked and heard, and how the members stand in the end.

use super::{Notebook, Sighting};
use crate::theatre::Registered;
use seatrial_types::MemberId;
use seatrial_types::v2::{V2Change, V2Error, V2Event, V2Node, V2Request};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct V2Record {
    /// The client.
    pub client: u32,
    /// The member it asked.
    pub member: MemberId,
    /// What it asked.
    pub asked: V2Asked,
    /// When it asked, and when it was answered or gave up.
    pub seen: Sighting,
    /// What it heard.
    pub heard: V2Heard,
}

/// What is asked. Paths begin with [`seatrial_types::v2::KEYS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum V2Asked {
    /// A read or a change.
    Request(V2Request),
    /// The first change from an index on.
    Wait(V2Waiting),
    /// To form a cluster with others.
    Join {
        /// Who have the same token.
        token: u32,
        /// The number that this one registers.
        id: String,
    },
}

/// What one waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct V2Waiting {
    /// At what.
    pub path: String,
    /// And at everything below.
    pub recursive: bool,
    /// The first index that counts; 0: from now on.
    pub since: u64,
}

/// What is heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum V2Heard {
    /// What happened, or what is there.
    Event {
        /// It.
        event: Box<V2Event>,
        /// How far the key space was when that was answered, or when the waiting began.
        index: u64,
    },
    /// It was refused, and nothing has changed.
    Refused(V2Error),
    /// Nothing has changed.
    Failed(String),
    /// Nobody knows.
    Unknown(String),
    /// A cluster of these was formed.
    Joined(Registered),
    /// A cluster of these was formed, by others.
    Full(Registered),
    /// No answer yet: one who waits heard of nothing until it left.
    Nothing,
}

impl V2Record {
    /// The change that was asked for.
    #[must_use]
    pub fn change(&self) -> Option<&V2Change> {
        match &self.asked {
            V2Asked::Request(V2Request::Change(change)) => Some(change),
            _ => None,
        }
    }

    /// The event that was heard.
    #[must_use]
    pub fn event(&self) -> Option<&V2Event> {
        match &self.heard {
            V2Heard::Event { event, .. } => Some(&**event),
            _ => None,
        }
    }

    /// How far the key space was, as the answer tells: no answer is of less.
    #[must_use]
    pub fn index(&self) -> Option<u64> {
        match (&self.asked, &self.heard) {
            (V2Asked::Request(V2Request::Read { .. }), V2Heard::Event { index, .. }) => Some(*index),
            (_, V2Heard::Event { event, .. }) => Some(event.index()),
            (_, V2Heard::Refused(error)) => Some(error.index),
            _ => None,
        }
    }
}

/// What a member holds in the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct V2View {
    /// The member.
    pub member: MemberId,
    /// When its tree was told.
    pub at: Duration,
    /// The index of its newest change.
    pub index: u64,
    /// Everything below the root, in order of the paths. Directories do not list what is in them.
    pub nodes: Vec<V2Node>,
    /// The changes that it remembers, but for those of which nobody who waits is told.
    pub events: Vec<V2Event>,
    /// The first index from which it remembers all.
    pub from: u64,
    /// Everything was told in time.
    pub whole: bool,
}

impl Notebook {
    /// Something is asked; how it ends is told by [`Self::v2_heard`].
    pub(crate) fn v2_asked(&self, client: u32, member: MemberId, asked: V2Asked, at: Duration) -> usize {
        let mut pages = self.pages();
        let seen = Sighting { call: at, ret: at };
        pages.log.v2.push(V2Record { client, member, asked, seen, heard: V2Heard::Nothing });
        pages.log.v2.len() - 1
    }

    pub(crate) fn v2_heard(&self, place: usize, at: Duration, heard: V2Heard) {
        let record = &mut self.pages().log.v2[place];
        (record.seen.ret, record.heard) = (at, heard);
    }
}
