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
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::request::HashKvResponse;
use seatrial_types::{ClusterId, Error, LogIndex, MemberId, Request, Response, Revision};
use serde::{Deserialize, Serialize};
use std::fmt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The versions of the protocol between members that a member speaks. Two members speak the newest that both know, and
/// refuse each other where there is none: so a cluster is upgraded one member after the other, and goes back the same
/// way.
///
/// What the versions are:
/// - 3: one message to a frame, with sender and receiver in each.
/// - 4: a frame holds all that was written at once; sender and receiver are those of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerVersions {
    /// The oldest.
    pub min: u16,
    /// The newest.
    pub max: u16,
}

impl PeerVersions {
    /// All that this build knows.
    pub const ALL: Self = Self { min: 3, max: 4 };

    /// All that this build knows up to `max`.
    ///
    /// # Errors
    /// One sentence, where it knows none of those, or is asked for one that it does not know.
    pub fn up_to(max: u16) -> Result<Self, String> {
        let Self { min, max: newest } = Self::ALL;
        if !(min..=newest).contains(&max) {
            return Err(format!(
                "this build speaks versions {min} to {newest} of the peer protocol, not {max}"
            ));
        }
        Ok(Self { min, max })
    }

    /// The newest that both know.
    fn common(self, other: Self) -> Option<u16> {
        let newest = self.max.min(other.max);
        (newest >= self.min && newest >= other.min).then_some(newest)
    }
}

impl fmt::Display for PeerVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min, max } = self;
        if min == max { write!(f, "version {max}") } else { write!(f, "versions {min} to {max}") }
    }
}

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
    /// The oldest version it speaks. Where the newest stands behind these words (see [`greet`]), this is no older than
    /// what a build understands that knows of one version only.
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
    read_body(stream, buffer).await?;
    Ok(postcard::from_bytes(buffer)?)
}

/// Reads the body of one frame into `buffer`.
///
/// # Errors
/// Whatever is wrong with the stream or the frame.
pub(crate) async fn read_body<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
) -> Result<(), PeerError> {
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
    Ok(())
}

/// Two words of which builds of one version know the first only, and skip what stands behind it. `None` where a peer of
/// that kind has said nothing more.
fn with_more<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<(T, Option<u16>), PeerError> {
    let (first, rest) = postcard::take_from_bytes(body)?;
    Ok((first, if rest.is_empty() { None } else { Some(postcard::from_bytes(rest)?) }))
}

/// Says who we are and waits for the welcome; answers with the version that is spoken.
///
/// # Errors
/// [`PeerError::Refused`] with the peer's reason, and what can be wrong with a stream.
pub(crate) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    hello: &Hello,
    newest: u16,
) -> Result<u16, PeerError> {
    let mut bytes = MAGIC.to_vec();
    encode_frame(&(hello, newest), &mut bytes);
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    read_body(stream, &mut answer).await?;
    match with_more::<Welcome>(&answer)? {
        (Welcome::Ok, spoken) => {
            let spoken = spoken.unwrap_or(hello.version);
            if !(hello.version..=newest).contains(&spoken) {
                return Err(PeerError::Refused(format!(
                    "it means to speak version {spoken} of the peer protocol"
                )));
            }
            Ok(spoken)
        }
        (Welcome::Refused(why), _) => Err(PeerError::Refused(why)),
        (Welcome::Removed, _) => Err(PeerError::Removed),
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

/// Hears who dials, behind an [`Opening::Peer`], and lets it in or not; answers with the version that is spoken.
///
/// # Errors
/// [`PeerError::Refused`] with the reason given to the peer, and what can be wrong with a stream.
pub(crate) async fn welcome<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    cluster: ClusterId,
    me: MemberId,
    versions: PeerVersions,
    is_removed: impl FnOnce(MemberId) -> bool,
) -> Result<(Hello, u16), PeerError> {
    let mut asked = Vec::new();
    read_body(stream, &mut asked).await?;
    let (hello, newest) = with_more::<Hello>(&asked)?;
    let theirs = PeerVersions { min: hello.version, max: newest.unwrap_or(hello.version) };
    let mut spoken = versions.common(theirs);
    if is_planted(Planted::U01) {
        spoken = spoken.map(|_| versions.max);
    }
    if is_planted(Planted::U02) && theirs != versions {
        spoken = None;
    }
    let stranger = if spoken.is_none() {
        Some(format!("this member speaks {versions} of the peer protocol, not {theirs}"))
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
    match spoken {
        Some(spoken) if matches!(answer, Welcome::Ok) => encode_frame(&(&answer, spoken), &mut bytes),
        _ => encode_frame(&answer, &mut bytes),
    }
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    if removed {
        return Err(PeerError::Removed);
    }
    match (refusal, spoken) {
        (None, Some(spoken)) => Ok((hello, spoken)),
        (why, _) => Err(PeerError::Refused(why.unwrap_or_default())),
    }
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
    use crate::frames::{FrameReader, FrameWriter};
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
    for version in PeerVersions::ALL.min..=PeerVersions::ALL.max {
        let (from, to) = (MemberId(1), MemberId(2));
        let mut reader = FrameReader { version, from, to, buffer: Vec::new() };
        let mut heard = Vec::new();
        if let Some(Ok(())) = now(reader.read(&mut &*framed, &mut heard))
            && !heard.is_empty()
        {
            let mut writer = FrameWriter::new(version);
            heard.iter().for_each(|message| writer.push(message));
            let mut again = Vec::new();
            now(reader.read(&mut writer.frames(), &mut again))
                .expect("bytes in memory are never waited for")
                .expect("what was written can be read");
            assert_eq!(again, heard, "messages changed on their way through bytes");
        }
    }
    let _ = now(read_frame::<Hello, _>(&mut &*framed, &mut buffer));
    let _ = now(read_frame::<Welcome, _>(&mut &*framed, &mut buffer));
    let _ = now(read_frame::<Cluster, _>(&mut &*framed, &mut buffer));
    // How a connection begins.
    let mut stream = std::io::Cursor::new([&MAGIC[..], &framed].concat());
    if let Some(Ok(Opening::Peer)) = now(opening(&mut stream)) {
        let _ = now(welcome(&mut stream, ClusterId(1), MemberId(1), PeerVersions::ALL, |_| false));
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
            let hello = Hello { version: 3, cluster, from, to, urls: Vec::new() };
            let mut bytes = Vec::new();
            encode_frame(&hello, &mut bytes);
            let mut stream = std::io::Cursor::new(bytes);
            let is_removed = |member| member == MemberId(3);
            now(welcome(&mut stream, ClusterId(7), MemberId(1), PeerVersions::ALL, is_removed))
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
    fn two_members_speak_the_newest_that_both_know() {
        let versions = |min, max| PeerVersions { min, max };
        assert_eq!(versions(3, 4).common(versions(3, 4)), Some(4));
        assert_eq!(versions(3, 4).common(versions(3, 3)), Some(3));
        assert_eq!(versions(3, 3).common(versions(3, 4)), Some(3));
        assert_eq!(versions(3, 4).common(versions(4, 9)), Some(4));
        assert_eq!(versions(3, 4).common(versions(5, 6)), None);
        assert_eq!(versions(5, 6).common(versions(3, 4)), None);
        assert_eq!(PeerVersions::up_to(3), Ok(versions(3, 3)));
        assert!(PeerVersions::up_to(2).unwrap_err().contains("versions 3 to 4"));
        assert!(PeerVersions::up_to(5).is_err());
    }

    /// Both ends of a greeting, without a connection between: what the dialler says is heard, and the answer read.
    fn greeted(
        dialler: PeerVersions,
        acceptor: PeerVersions,
    ) -> (Result<u16, PeerError>, Result<u16, PeerError>) {
        let (from, to) = (MemberId(1), MemberId(2));
        let hello = Hello { version: dialler.min, cluster: ClusterId(7), from, to, urls: Vec::new() };
        let mut said = Vec::new();
        encode_frame(&(&hello, dialler.max), &mut said);
        let asked = said.len();
        let mut stream = std::io::Cursor::new(said);
        let heard =
            now(welcome(&mut stream, ClusterId(7), to, acceptor, |_| false)).map(|(_, spoken)| spoken);
        // The greeting goes over the acceptor's answer, which stands behind it.
        let answer = stream.into_inner().split_off(asked);
        struct Line(std::io::Cursor<Vec<u8>>);
        impl AsyncRead for Line {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut tokio::io::ReadBuf<'_>,
            ) -> Poll<std::io::Result<()>> {
                std::pin::Pin::new(&mut self.0).poll_read(cx, buf)
            }
        }
        impl AsyncWrite for Line {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                _: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<std::io::Result<usize>> {
                Poll::Ready(Ok(bytes.len()))
            }
            fn poll_flush(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
                Poll::Ready(Ok(()))
            }
            fn poll_shutdown(
                self: std::pin::Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<std::io::Result<()>> {
                Poll::Ready(Ok(()))
            }
        }
        (now(greet(&mut Line(std::io::Cursor::new(answer)), &hello, dialler.max)), heard)
    }

    #[test]
    fn both_ends_of_a_connection_agree_what_they_speak() {
        let (both, old) = (PeerVersions::ALL, PeerVersions { min: 3, max: 3 });
        for (dialler, acceptor, want) in [(both, both, 4), (both, old, 3), (old, both, 3), (old, old, 3)] {
            let (said, heard) = greeted(dialler, acceptor);
            assert_eq!((said.unwrap(), heard.unwrap()), (want, want), "{dialler} dials {acceptor}");
        }
        let (said, heard) = greeted(PeerVersions { min: 5, max: 6 }, both);
        assert!(
            matches!(heard, Err(PeerError::Refused(why)) if why.contains("speaks versions 3 to 4 of the peer protocol, not versions 5 to 6"))
        );
        assert!(matches!(said, Err(PeerError::Refused(why)) if why.contains("versions 3 to 4")));
    }

    /// A build that knows version 3 only says and hears nothing behind the first words.
    #[test]
    fn a_build_of_one_version_is_understood_and_understands() {
        let hello =
            Hello { version: 3, cluster: ClusterId(7), from: MemberId(1), to: MemberId(2), urls: Vec::new() };
        let mut bytes = Vec::new();
        encode_frame(&hello, &mut bytes);
        let asked = bytes.len();
        let mut stream = std::io::Cursor::new(bytes);
        let (heard, spoken) =
            now(welcome(&mut stream, ClusterId(7), MemberId(2), PeerVersions::ALL, |_| false)).unwrap();
        assert_eq!((heard, spoken), (hello.clone(), 3));
        let answer = stream.into_inner().split_off(asked);
        assert_eq!(now(read_frame::<Welcome, _>(&mut &*answer, &mut Vec::new())).unwrap(), Welcome::Ok);
        // Its own reading of what we say.
        let mut bytes = Vec::new();
        encode_frame(&(&hello, 4u16), &mut bytes);
        assert_eq!(now(read_frame::<Hello, _>(&mut &*bytes, &mut Vec::new())).unwrap(), hello);
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
