//! What can go wrong, with the values a reader will ask for.

use crate::config::ConfigError;
use seatrial_types::{LogIndex, MemberId, Term};

/// A message that could not be taken. The state is as if it had been lost on the way.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StepError {
    /// It is for somebody else, or pretends to come from this member.
    #[error("message from {from} to {to} reached member {here}")]
    Misdirected {
        /// The sender named.
        from: MemberId,
        /// The receiver named.
        to: MemberId,
        /// This member.
        here: MemberId,
    },
    /// The entries of an append are not consecutive, or their terms fall or exceed the sender's.
    #[error(
        "append from {from}: entry {index} of term {term} does not follow entry {after} of term {after_term}"
    )]
    Entries {
        /// The sender.
        from: MemberId,
        /// The entry that does not fit.
        index: LogIndex,
        /// Its term.
        term: Term,
        /// The entry before it.
        after: LogIndex,
        /// And that one's term.
        after_term: Term,
    },
    /// Two members say that they lead the same term: somebody voted twice (a lost disk?).
    #[error("member {other} claims to lead term {term}, which {leader} leads")]
    TwoLeaders {
        /// The term.
        term: Term,
        /// The leader known here.
        leader: MemberId,
        /// The other.
        other: MemberId,
    },
    /// The leader believes this member to hold what it does not: its disk has lost something.
    #[error("the leader committed {commit} here, but the log ends at {last}: were entries lost?")]
    CommitBeyondLog {
        /// The commit index of the heartbeat.
        commit: LogIndex,
        /// The last entry here.
        last: LogIndex,
    },
    /// A follower acknowledges what this leader never had.
    #[error("member {from} acknowledged {matched}, but the log ends at {last}")]
    AckBeyondLog {
        /// The follower.
        from: MemberId,
        /// What it acknowledged.
        matched: LogIndex,
        /// The last entry here.
        last: LogIndex,
    },
    /// A forwarded proposal was refused; whoever made it will not hear of it.
    #[error("a proposal forwarded by {from} was refused: {error}")]
    Refused {
        /// The follower that forwarded it.
        from: MemberId,
        /// Why.
        error: ProposeError,
    },
}

/// Why a proposal was refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ProposeError {
    /// No leader is known.
    #[error("no leader is known in term {term}")]
    NoLeader {
        /// The term.
        term: Term,
    },
    /// Too much waits for its quorum already.
    #[error("{uncommitted} bytes wait for a quorum and {more} more exceed the limit of {max}")]
    Full {
        /// Bytes not yet committed.
        uncommitted: usize,
        /// Bytes of this proposal.
        more: usize,
        /// [`crate::Options::uncommitted_bytes_max`].
        max: usize,
    },
    /// The leadership is being handed over (thesis §3.10).
    #[error("the leadership is being handed to {to}")]
    Transferring {
        /// To whom.
        to: MemberId,
    },
    /// The last change of configuration is not finished.
    #[error("the configuration of entry {index} is not committed or not left yet; commit is {commit}")]
    ConfigPending {
        /// The entry of that configuration.
        index: LogIndex,
        /// The commit index.
        commit: LogIndex,
    },
    /// The leader committed nothing in its term yet; two changes of two leaders could split the quorum.
    #[error("the leader has committed no entry of its term {term} yet")]
    TermNotCommitted {
        /// The term.
        term: Term,
    },
    /// The change makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Why a read was refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ReadError {
    /// No leader is known.
    #[error("no leader is known in term {term}")]
    NoLeader {
        /// The term.
        term: Term,
    },
}

/// Why the leadership cannot be handed over.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TransferError {
    /// Only the leader can.
    #[error("not the leader of term {term}; that is {leader}")]
    NotLeader {
        /// The term.
        term: Term,
        /// The leader, or none.
        leader: MemberId,
    },
    /// Only a voter can lead.
    #[error("member {to} has no vote")]
    NotVoter {
        /// The member named.
        to: MemberId,
    },
}
