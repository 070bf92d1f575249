//! What members tell, in the words of the oracles.

use seatrial_node::Observation as Seen;
use seatrial_raft::Role as Raft;
use seatrial_scenario::observation::{Observation, Role};
use seatrial_types::{LogIndex, MemberId};

/// A fact that the member `id` tells, with machines' numbers in the place of members' ids; `None` where no oracle asks for
/// it.
#[must_use]
pub fn translate(id: MemberId, seen: Seen, number: impl Fn(MemberId) -> MemberId) -> Option<Observation> {
    Some(match seen {
        Seen::Started { term, applied, .. } => Observation::Started { term, applied },
        Seen::Role { role, term, leader } => Observation::Role {
            term,
            role: match role {
                Raft::Follower => Role::Follower,
                Raft::PreCandidate => Role::PreCandidate,
                Raft::Candidate => Role::Candidate,
                Raft::Leader => Role::Leader,
            },
            leader: number(leader),
        },
        Seen::Applied { index, term, checksum, revision } => {
            Observation::Applied { index, term, checksum, revision }
        }
        Seen::Log { begin, entries } => Observation::Log {
            begin,
            first: entries.first().map_or(LogIndex::ZERO, |entry| entry.index),
            entries: entries.iter().map(|entry| (entry.term, seatrial_node::checksum(entry))).collect(),
        },
        Seen::Durable { index } => Observation::Durable { index },
        Seen::SnapshotInstalled { index, term } => Observation::SnapshotInstalled { index, term },
        Seen::SnapshotStarted { to, index } => Observation::SnapshotStarted { to: number(to), index },
        Seen::Compacted { index } => Observation::LogCompacted { index },
        Seen::Finding { text, damage } => Observation::Finding { text, damage },
        Seen::LeaseExpired { lease } => Observation::LeaseExpired { lease },
        Seen::Corrupt { members, text } => {
            Observation::Corrupt { members: members.iter().map(|id| number(*id)).collect(), text }
        }
        Seen::Failed { why } => Observation::Failed { why },
        Seen::Config { index, term, config, leads } => Observation::Config {
            id,
            index,
            term,
            voters: config.voters,
            outgoing: config.outgoing,
            learners: config.learners,
            leads,
        },
        Seen::Removed => Observation::Removed,
        Seen::HardState { .. }
        | Seen::SnapshotSent { .. }
        | Seen::HashTaken { .. }
        | Seen::Defragmented { .. }
        | Seen::Checkpointed { .. } => return None,
    })
}
