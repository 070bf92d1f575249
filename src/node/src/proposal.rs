//! What a member writes into the log: a command with the address to which its answer goes.

use bytes::Bytes;
use seatrial_store::Command;
use seatrial_types::MemberId;
use seatrial_types::request::AlarmChangeRequest;
use serde::{Deserialize, Serialize};

/// Format of an entry's data. A member that meets a newer one must stop, for it could not apply what others
/// apply.
const FORMAT: u8 = 1;

/// A request as its member knows it. Unique there for all time: the high half is drawn anew at each start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// The data of one entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Proposal {
    /// The member that answers the client.
    pub origin: MemberId,
    /// Its request, or [`Proposal::NOBODY`].
    pub request: RequestId,
    /// What to do.
    pub action: Action,
}

/// What a proposal does when it is applied.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// The store's business.
    Store(Command),
    /// A member tells its name and where clients reach it.
    Publish {
        /// The name.
        name: String,
        /// The addresses.
        client_urls: Vec<String>,
    },
    /// An alarm goes on or off.
    Alarm(AlarmChangeRequest),
    /// All members take the hash of what they hold here.
    CompareHashes,
}

impl Proposal {
    /// Nobody waits for the answer.
    pub const NOBODY: RequestId = RequestId(0);

    /// As an entry's data.
    ///
    /// # Panics
    /// Where a value cannot be encoded, which no value of ours can fail to be.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        postcard::to_extend(self, vec![FORMAT]).expect("proposals always encode").into()
    }

    /// From an entry's data.
    ///
    /// # Errors
    /// A sentence: unknown format or undecodable bytes.
    pub fn decode(data: &[u8]) -> Result<Self, String> {
        match data.split_first() {
            Some((&FORMAT, body)) => {
                postcard::from_bytes(body).map_err(|error| format!("an entry cannot be decoded: {error}"))
            }
            Some((format, _)) => Err(format!(
                "an entry has format {format}, this member knows up to {FORMAT}; run the version that wrote it"
            )),
            None => Err("an entry has no bytes".to_owned()),
        }
    }
}
