//! What stands in a log entry: the changes a client or the member itself asked for, in the form in which every
//! member applies them.

use bytes::Bytes;
use seatrial_types::LeaseId;
use seatrial_types::auth::{AuthRequest, Identity};
use seatrial_types::request::{
    CompactRequest, DeleteRangeRequest, LeaseGrantRequest, PutRequest, TxnRequest,
};
use seatrial_types::v2::V2Change;
use serde::{Deserialize, Serialize};

/// The newest format this code writes. Older ones stay readable; a newer one is refused by name.
pub const COMMAND_FORMAT: u8 = 1;

/// One change of the state machine. Everything that decides its effect is in it or in the state before: no
/// clock, no option of a single member.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Command {
    /// Write one key.
    Put(PutRequest),
    /// Delete keys.
    DeleteRange(DeleteRangeRequest),
    /// Compare and do one of two lists.
    Txn(TxnRequest),
    /// Forget old versions.
    Compact(CompactRequest),
    /// Make a lease. The proposer has chosen the id and raised the time to live to its minimum: were that left
    /// to each member's own options, members with different options would grow apart.
    LeaseGrant(LeaseGrantRequest),
    /// End a lease and delete its keys.
    LeaseRevoke(LeaseId),
    /// Write (`Some`) or delete (`None`) rows of the cluster table.
    Meta(Vec<(Bytes, Option<Bytes>)>),
    /// Change users and roles.
    Auth(AuthRequest),
    /// A command together with who asked for it. Never one within another.
    As(Identity, Box<Command>),
    /// So many seconds are left of these leases; 0: as many as they were granted. From the leader alone.
    LeaseCheckpoint(Vec<(LeaseId, i64)>),
    /// Change the v2 key space.
    V2(V2Change),
    /// Move the clock of the v2 key space to so many milliseconds, and end what has run out by it. From the leader alone.
    V2Tick(u64),
}

impl Command {
    /// The command itself, whoever asked for it.
    #[must_use]
    pub fn inner(&self) -> &Self {
        match self {
            Self::As(_, command) => command,
            plain => plain,
        }
    }
}

/// The bytes are no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Of a format this code does not know.
    #[error(
        "a command of format {found} in the log; this program knows formats up to {known}\nhint: run a program at least as new as the one that wrote the log"
    )]
    Format {
        /// The format found.
        found: u8,
        /// The newest known.
        known: u8,
    },
    /// Not decodable.
    #[error("a command in the log cannot be read: {0}")]
    Malformed(String),
}

impl Command {
    /// As bytes: the format, then the fields.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let body = postcard::to_extend(self, vec![COMMAND_FORMAT]);
        body.expect("a command is made of numbers, bytes and lists; writing them to memory cannot fail")
            .into()
    }

    /// From bytes.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CommandError> {
        match bytes.split_first() {
            None => Err(CommandError::Malformed("it is empty".into())),
            Some((&COMMAND_FORMAT, body)) => match postcard::take_from_bytes(body) {
                Ok((command, [])) => Ok(command),
                Ok((_, rest)) => Err(CommandError::Malformed(format!("{} bytes too many", rest.len()))),
                Err(error) => Err(CommandError::Malformed(error.to_string())),
            },
            Some((&found, _)) => Err(CommandError::Format { found, known: COMMAND_FORMAT }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_back_as_it_was_written() {
        let command = Command::Put(PutRequest { key: "k".into(), value: "v".into(), ..Default::default() });
        assert_eq!(Command::decode(&command.encode()), Ok(command));
    }

    #[test]
    fn a_command_of_a_newer_format_or_with_bytes_missing_or_too_many_is_refused() {
        let bytes = Command::LeaseRevoke(LeaseId(7)).encode();
        assert!(matches!(Command::decode(&bytes[..bytes.len() - 1]), Err(CommandError::Malformed(_))));
        let mut more = bytes.to_vec();
        more.push(0);
        assert!(matches!(Command::decode(&more), Err(CommandError::Malformed(_))));
        more[0] = 9;
        assert_eq!(Command::decode(&more), Err(CommandError::Format { found: 9, known: COMMAND_FORMAT }));
    }
}
