//! What members say to each other, and how it lies on a stream.
//!
//! A connection carries messages one way: the dialler speaks. It opens with a [`Hello`]; the acceptor answers
//! with a [`Welcome`]; then come frames. Each frame is a length (u32, little-endian), the CRC32C of the body
//! (u32) and the body (postcard). TCP's own checksum is 16 bits wide: on a busy cluster it passes a damaged
//! frame every few weeks, and a damaged entry would be written to every log.

use crate::cluster::Cluster;
use crate::proposal::RequestId;
use bytes::Bytes;
use seatrial_raft::Message;
use seatrial_types::request::HashKvResponse;
use seatrial_types::{ClusterId, Error, LogIndex, MemberId, Request, Response, Revision};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The protocol between members. A member refuses a peer whose version it does not know.
pub const PEER_VERSION: u16 = 3;

/// Largest frame accepted: a request of the largest size inside a batch, with room to spare.
pub(crate) const FRAME_BYTES_MAX: usize = 64 << 20;

/// Memory taken for a frame before any of it has come.
const FRAME_BYTES_FIRST: usize = 64 << 10;

pub(crate) const MAGIC: [u8; 8] = *b"SEATRIAL";
const MAGIC_QUESTION: [u8; 8] = *b"SEATWHO?";
const MAGIC_HASH: [u8; 8] = *b"SEATHASH";

/// A request forwarded to the leader; drawn by the member that forwards, unique there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ForwardId(pub u64);

/// One message between members.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PeerMessage {
    /// Who says it.
    pub from: MemberId,
    /// To whom.
    pub to: MemberId,
    /// What.
    pub body: PeerBody,
}

/// What members say to each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PeerBody {
    /// Consensus.
    Raft(Message),
    /// A request that only the leader can answer (it alone knows how long leases live).
    Forward {
        /// Comes back with the answer.
        id: ForwardId,
        /// The request.
        request: Request,
    },
    /// The leader's answer.
    ForwardAnswer {
        /// As in the request.
        id: ForwardId,
        /// What it says.
        result: Result<Response, Error>,
    },
    /// A change of the cluster that a client of this member asked for. What comes of it comes through the log.
    Change {
        /// The request at the member that passes it on.
        id: RequestId,
        /// The change.
        request: Request,
    },
    /// The leader did not make the change.
    ChangeRefused {
        /// As asked.
        id: RequestId,
        /// [`Error::NotLeader`] where it may be asked for again.
        error: Error,
    },
    /// The hash of this member's keys and values, as they were at an entry that asked for it.
    Hash {
        /// The entry.
        round: LogIndex,
        /// The hash.
        hash: u32,
    },
}

/// The first words of a dialler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// [`PEER_VERSION`].
    pub version: u16,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Itself.
    pub from: MemberId,
    /// Whom it means to reach.
    pub to: MemberId,
    /// Where it is heard itself. Who lags may not know it yet from the log, and could not answer.
    pub urls: Vec<String>,
}

/// The acceptor's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Welcome {
    /// Go on.
    Ok,
    /// No; why.
    Refused(String),
    /// No: the dialler was removed from the cluster.
    Removed,
}

/// What can be wrong with a peer's stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// The stream failed or ended.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    /// Not one of ours.
    #[error("the peer does not speak our protocol (first bytes {0:02x?})")]
    Magic([u8; 8]),
    /// Longer than [`FRAME_BYTES_MAX`].
    #[error("a frame of {0} bytes is over the limit of {FRAME_BYTES_MAX}")]
    TooLong(usize),
    /// Damaged on the way.
    #[error("a frame's checksum is {found:08x} instead of {want:08x}")]
    Checksum {
        /// As announced.
        want: u32,
        /// As computed.
        found: u32,
    },
    /// Not decodable: another version, or a bug.
    #[error("a frame cannot be decoded: {0}")]
    Decode(#[from] postcard::Error),
    /// The peer turned us away.
    #[error("the peer refused the connection: {0}")]
    Refused(String),
    /// The peer says that who dials was removed from the cluster.
    #[error("the member was removed from the cluster")]
    Removed,
}

/// Appends one frame to `out`.
///
/// # Panics
/// Where a value cannot be encoded, which no value of ours can fail to be.
pub(crate) fn encode_frame<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    let mut grown = postcard::to_extend(value, std::mem::take(out)).expect("peer messages always encode");
    let body = &grown[start + 8..];
    let length = u32::try_from(body.len()).expect("a frame is shorter than 4 GiB");
    let crc = crc32c::crc32c(body);
    grown[start..start + 4].copy_from_slice(&length.to_le_bytes());
    grown[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    *out = grown;
}

/// Reads one frame; `buffer` is reused between calls.
///
/// # Errors
/// Whatever is wrong with the stream or the frame.
pub(crate) async fn read_frame<T, S>(stream: &mut S, buffer: &mut Vec<u8>) -> Result<T, PeerError>
where
    T: for<'de> Deserialize<'de>,
    S: AsyncRead + Unpin,
{
    let mut head = [0; 8];
    stream.read_exact(&mut head).await?;
    let length = u32::from_le_bytes(head[..4].try_into().expect("four bytes")) as usize;
    let want = u32::from_le_bytes(head[4..].try_into().expect("four bytes"));
    if length > FRAME_BYTES_MAX {
        return Err(PeerError::TooLong(length));
    }
    // Memory is taken as bytes come: whoever reaches the port could otherwise have it all with a few words.
    buffer.clear();
    while buffer.len() < length {
        let at = buffer.len();
        buffer.resize(length.min(at + at.max(FRAME_BYTES_FIRST)), 0);
        stream.read_exact(&mut buffer[at..]).await?;
    }
    let found = crc32c::crc32c(buffer);
    if found != want {
        return Err(PeerError::Checksum { want, found });
    }
    Ok(postcard::from_bytes(buffer)?)
}

/// Says who we are and waits for the welcome.
///
/// # Errors
/// [`PeerError::Refused`] with the peer's reason, and what can be wrong with a stream.
pub(crate) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    hello: &Hello,
) -> Result<(), PeerError> {
    let mut bytes = MAGIC.to_vec();
    encode_frame(hello, &mut bytes);
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    match read_frame::<Welcome, _>(stream, &mut Vec::new()).await? {
        Welcome::Ok => Ok(()),
        Welcome::Refused(why) => Err(PeerError::Refused(why)),
        Welcome::Removed => Err(PeerError::Removed),
    }
}

/// What an acceptor's stream opens with.
#[derive(Debug)]
pub(crate) enum Opening {
    /// A member that means to speak.
    Peer,
    /// Somebody who wants to know the cluster, before joining it.
    Question,
    /// A member that starts and wants to compare what it holds.
    Hash(Revision),
}

/// Reads the first bytes of an accepted stream.
///
/// # Errors
/// [`PeerError::Magic`], and what can be wrong with a stream.
pub(crate) async fn opening<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Opening, PeerError> {
    let mut magic = [0; 8];
    stream.read_exact(&mut magic).await?;
    match magic {
        MAGIC => Ok(Opening::Peer),
        MAGIC_QUESTION => Ok(Opening::Question),
        MAGIC_HASH => Ok(Opening::Hash(read_frame(stream, &mut Vec::new()).await?)),
        other => Err(PeerError::Magic(other)),
    }
}

/// Asks who the cluster is.
///
/// # Errors
/// What can be wrong with a stream.
pub(crate) async fn question<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
) -> Result<Cluster, PeerError> {
    stream.write_all(&MAGIC_QUESTION).await?;
    stream.flush().await?;
    read_frame(stream, &mut Vec::new()).await
}

/// Asks for the hash of keys and values at a revision.
///
/// # Errors
/// What can be wrong with a stream.
pub(crate) async fn hash_question<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    revision: Revision,
) -> Result<Result<HashKvResponse, Error>, PeerError> {
    let mut bytes = MAGIC_HASH.to_vec();
    encode_frame(&revision, &mut bytes);
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    read_frame(stream, &mut Vec::new()).await
}

/// Hears who dials, behind an [`Opening::Peer`], and lets it in or not.
///
/// # Errors
/// [`PeerError::Refused`] with the reason given to the peer, and what can be wrong with a stream.
pub(crate) async fn welcome<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    cluster: ClusterId,
    me: MemberId,
    is_removed: impl FnOnce(MemberId) -> bool,
) -> Result<Hello, PeerError> {
    let hello: Hello = read_frame(stream, &mut Vec::new()).await?;
    let stranger = if hello.version != PEER_VERSION {
        Some(format!("this member speaks version {PEER_VERSION} of the peer protocol, not {}", hello.version))
    } else if hello.cluster != cluster {
        Some(format!("this member belongs to cluster {:x}, not {:x}", cluster.0, hello.cluster.0))
    } else {
        None
    };
    // Also where another member was meant: who slept while all it knew were replaced would hear of its removal from
    // nobody.
    let removed = stranger.is_none() && is_removed(hello.from);
    let other = (hello.to != me).then(|| format!("this is member {:x}, not {:x}", me.0, hello.to.0));
    let refusal = stranger.or(other);
    let answer =
        if removed { Welcome::Removed } else { refusal.clone().map_or(Welcome::Ok, Welcome::Refused) };
    let mut bytes = Vec::new();
    encode_frame(&answer, &mut bytes);
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    if removed {
        return Err(PeerError::Removed);
    }
    refusal.map_or(Ok(hello), |why| Err(PeerError::Refused(why)))
}

/// What a frame costs beyond its payload, for the queues' accounting.
#[must_use]
pub(crate) fn weight(message: &PeerMessage) -> usize {
    use seatrial_raft::{Body, Payload};
    let payload = |data: &Bytes| data.len() + 16;
    64 + match &message.body {
        PeerBody::Raft(Message { body: Body::Append { entries, .. }, .. }) => entries
            .iter()
            .map(|entry| match &entry.payload {
                Payload::Data(data) => payload(data),
                Payload::Noop | Payload::Config(_) => 64,
            })
            .sum(),
        PeerBody::Raft(Message { body: Body::Snapshot { data, .. }, .. }) => payload(data),
        PeerBody::Raft(Message { body: Body::Propose { data }, .. }) => data.iter().map(payload).sum(),
        PeerBody::Raft(_)
        | PeerBody::Forward { .. }
        | PeerBody::ForwardAnswer { .. }
        | PeerBody::Change { .. }
        | PeerBody::ChangeRefused { .. }
        | PeerBody::Hash { .. } => 0,
    }
}

/// For the fuzz targets: everything that is read from a peer's stream, with the sum of the first frame put right.
#[doc(hidden)]
pub fn fuzz_peer(bytes: &[u8]) {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    /// Bytes in memory are never waited for.
    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }
    let mut buffer = Vec::new();
    let _ = now(read_frame::<PeerMessage, _>(&mut &*bytes, &mut buffer));
    let mut framed = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    framed.extend_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
    framed.extend_from_slice(bytes);
    if let Some(Ok(message)) = now(read_frame::<PeerMessage, _>(&mut &*framed, &mut buffer)) {
        let mut written = Vec::new();
        encode_frame(&message, &mut written);
        let again: PeerMessage = now(read_frame(&mut &*written, &mut buffer))
            .expect("bytes in memory are never waited for")
            .expect("what was written can be read");
        assert_eq!(again, message, "a message changed on its way through bytes");
    }
    let _ = now(read_frame::<Hello, _>(&mut &*framed, &mut buffer));
    let _ = now(read_frame::<Welcome, _>(&mut &*framed, &mut buffer));
    let _ = now(read_frame::<Cluster, _>(&mut &*framed, &mut buffer));
    // How a connection begins.
    let mut stream = std::io::Cursor::new([&MAGIC[..], &framed].concat());
    if let Some(Ok(Opening::Peer)) = now(opening(&mut stream)) {
        let _ = now(welcome(&mut stream, ClusterId(1), MemberId(1), |_| false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Poll, Waker};

    fn now<F: Future>(future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(out) => out,
            Poll::Pending => panic!("the future is not ready at once"),
        }
    }

    #[test]
    fn a_frame_comes_back_as_it_was() {
        let message = PeerMessage {
            from: MemberId(1),
            to: MemberId(2),
            body: PeerBody::Forward { id: ForwardId(7), request: Request::Status },
        };
        let mut bytes = Vec::new();
        encode_frame(&message, &mut bytes);
        encode_frame(&message, &mut bytes);
        let mut reader = bytes.as_slice();
        let mut buffer = Vec::new();
        assert_eq!(now(read_frame::<PeerMessage, _>(&mut reader, &mut buffer)).unwrap(), message);
        assert_eq!(now(read_frame::<PeerMessage, _>(&mut reader, &mut buffer)).unwrap(), message);
    }

    #[test]
    fn a_removed_member_is_told_so_also_where_it_meant_another() {
        let ask = |from, to, cluster| {
            let (from, to, cluster) = (MemberId(from), MemberId(to), ClusterId(cluster));
            let hello = Hello { version: PEER_VERSION, cluster, from, to, urls: Vec::new() };
            let mut bytes = Vec::new();
            encode_frame(&hello, &mut bytes);
            let mut stream = std::io::Cursor::new(bytes);
            now(welcome(&mut stream, ClusterId(7), MemberId(1), |member| member == MemberId(3)))
        };
        assert!(ask(2, 1, 7).is_ok());
        assert!(matches!(ask(3, 1, 7), Err(PeerError::Removed)));
        assert!(matches!(ask(3, 9, 7), Err(PeerError::Removed)), "all it knew are replaced");
        assert!(matches!(ask(2, 9, 7), Err(PeerError::Refused(_))));
        assert!(
            matches!(ask(3, 1, 8), Err(PeerError::Refused(_))),
            "another cluster's word counts for nothing"
        );
    }

    #[test]
    fn a_frame_takes_memory_only_as_it_comes() {
        let mut bytes = 60_000_000u32.to_le_bytes().to_vec();
        bytes.extend([0; 4 + 1000]);
        let mut buffer = Vec::new();
        let read = now(read_frame::<PeerMessage, _>(&mut &*bytes, &mut buffer));
        assert!(matches!(read, Err(PeerError::Io(_))), "{read:?}");
        assert!(buffer.capacity() <= 2 * FRAME_BYTES_FIRST, "{} bytes for 1000", buffer.capacity());
        // A frame of several steps comes whole.
        let name = "n".repeat(5 * FRAME_BYTES_FIRST);
        let hello =
            Hello { version: 1, cluster: ClusterId(1), from: MemberId(1), to: MemberId(2), urls: vec![name] };
        let mut bytes = Vec::new();
        encode_frame(&hello, &mut bytes);
        assert_eq!(now(read_frame::<Hello, _>(&mut &*bytes, &mut buffer)).unwrap(), hello);
    }

    #[test]
    fn a_flipped_bit_is_found() {
        let mut bytes = Vec::new();
        encode_frame(&Welcome::Refused("no".into()), &mut bytes);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let error = now(read_frame::<Welcome, _>(&mut bytes.as_slice(), &mut Vec::new())).unwrap_err();
        assert!(matches!(error, PeerError::Checksum { .. }), "{error}");
    }

    #[test]
    fn an_absurd_length_is_refused_before_memory_is_taken() {
        let bytes = [0xff; 16];
        let error = now(read_frame::<Welcome, _>(&mut &bytes[..], &mut Vec::new())).unwrap_err();
        assert!(matches!(error, PeerError::TooLong(_)), "{error}");
    }
}
