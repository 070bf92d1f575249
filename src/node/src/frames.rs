//! How messages between two members that have greeted each other lie in frames, by the version they speak.
//!
//! Version 3: each frame is one [`PeerMessage`]. Version 4: a frame is a zero byte (a sender that is nobody, so that an
//! onlooker can tell the two apart), then words, each behind its length (u32, little-endian). A word is a message
//! without sender and receiver, who are those of the connection: nobody can speak for another.

use crate::peer::{PeerBody, PeerError, PeerMessage, encode_frame, read_body};
use seatrial_raft::{Body, Message};
use seatrial_types::{MemberId, Term};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;

/// From this version on frames hold words.
const WORDS: u16 = 4;

/// Bytes of a frame before its body: length and checksum.
const HEAD_BYTES: usize = 8;

/// Bytes of a word's length.
pub(crate) const LENGTH_BYTES: usize = 4;

/// What the body of a frame of words begins with.
pub(crate) const WORDS_MARK: u8 = 0;

#[derive(Serialize)]
enum WordRef<'a> {
    Raft(Term, &'a Body),
    Other(&'a PeerBody),
}

#[derive(Deserialize)]
enum Word {
    Raft(Term, Body),
    Other(PeerBody),
}

/// Frames on their way out.
#[derive(Debug)]
pub(crate) struct FrameWriter {
    version: u16,
    bytes: Vec<u8>,
    /// Where the frame that is still open begins.
    open: Option<usize>,
}

impl FrameWriter {
    /// For a connection on which this version is spoken.
    pub(crate) fn new(version: u16) -> Self {
        Self { version, bytes: Vec::new(), open: None }
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a message.
    ///
    /// # Panics
    /// Where a message cannot be encoded, which none of ours can fail to be.
    pub(crate) fn push(&mut self, message: &PeerMessage) {
        if self.version < WORDS {
            return encode_frame(message, &mut self.bytes);
        }
        if self.open.is_none() {
            self.open = Some(self.bytes.len());
            self.bytes.extend_from_slice(&[0; HEAD_BYTES]);
            self.bytes.push(WORDS_MARK);
        }
        let word = match &message.body {
            PeerBody::Raft(Message { term, body, .. }) => WordRef::Raft(*term, body),
            other => WordRef::Other(other),
        };
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; LENGTH_BYTES]);
        let grown = postcard::to_extend(&word, std::mem::take(&mut self.bytes));
        self.bytes = grown.expect("peer messages always encode");
        let length = length_of(&self.bytes[at + LENGTH_BYTES..]);
        self.bytes[at..at + LENGTH_BYTES].copy_from_slice(&length);
    }

    /// All that waits, ready to be sent.
    pub(crate) fn frames(&mut self) -> &[u8] {
        if let Some(start) = self.open.take() {
            let body = start + HEAD_BYTES;
            let (length, sum) = (length_of(&self.bytes[body..]), crc32c::crc32c(&self.bytes[body..]));
            self.bytes[start..start + 4].copy_from_slice(&length);
            self.bytes[start + 4..body].copy_from_slice(&sum.to_le_bytes());
        }
        &self.bytes
    }

    /// It was sent.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }
}

fn length_of(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).expect("a frame is shorter than 4 GiB").to_le_bytes()
}

/// Frames on their way in.
#[derive(Debug)]
pub(crate) struct FrameReader {
    /// As greeted.
    pub(crate) version: u16,
    /// Who speaks.
    pub(crate) from: MemberId,
    /// Who listens.
    pub(crate) to: MemberId,
    /// The frame read last.
    pub(crate) buffer: Vec<u8>,
}

impl FrameReader {
    /// Reads one frame, and adds its messages to `out`. What a peer says in another's name is left out.
    ///
    /// # Errors
    /// Whatever is wrong with the stream or the frame.
    pub(crate) async fn read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        out: &mut Vec<PeerMessage>,
    ) -> Result<(), PeerError> {
        read_body(stream, &mut self.buffer).await?;
        self.decode(out)
    }

    fn decode(&self, out: &mut Vec<PeerMessage>) -> Result<(), PeerError> {
        let (from, to) = (self.from, self.to);
        if self.version < WORDS {
            let message: PeerMessage = postcard::from_bytes(&self.buffer)?;
            if message.from == from && message.to == to {
                out.push(message);
            }
            return Ok(());
        }
        let cut = PeerError::Decode(postcard::Error::DeserializeUnexpectedEnd);
        let Some((&WORDS_MARK, mut rest)) = self.buffer.split_first() else { return Err(cut) };
        while let Some((length, tail)) = rest.split_at_checked(LENGTH_BYTES) {
            let length = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
            let Some((word, tail)) = tail.split_at_checked(length) else { return Err(cut) };
            let body = match postcard::from_bytes(word)? {
                Word::Raft(term, body) => PeerBody::Raft(Message { from, to, term, body }),
                Word::Other(body) => body,
            };
            out.push(PeerMessage { from, to, body });
            rest = tail;
        }
        if rest.is_empty() { Ok(()) } else { Err(cut) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::ForwardId;
    use seatrial_types::{LogIndex, Request};
    use std::task::{Context, Poll, Waker};

    fn now<F: Future>(future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(out) => out,
            Poll::Pending => panic!("the future is not ready at once"),
        }
    }

    fn messages() -> Vec<PeerMessage> {
        let (from, to) = (MemberId(0x8e9e_05c5_2164_694d), MemberId(2));
        let raft = |body| PeerBody::Raft(Message { from, to, term: Term(7), body });
        [
            raft(Body::Heartbeat { commit: LogIndex(5), round: 9 }),
            PeerBody::Forward { id: ForwardId(7), request: Request::Status },
            raft(Body::TimeoutNow),
            PeerBody::Hash { round: LogIndex(3), hash: 4 },
        ]
        .into_iter()
        .map(|body| PeerMessage { from, to, body })
        .collect()
    }

    fn written(version: u16) -> Vec<u8> {
        let mut writer = FrameWriter::new(version);
        messages().iter().for_each(|message| writer.push(message));
        let bytes = writer.frames().to_vec();
        writer.clear();
        assert_eq!(writer.len(), 0);
        writer.push(&messages()[0]);
        [bytes, writer.frames().to_vec()].concat()
    }

    fn read(version: u16, bytes: &[u8], frames: usize) -> Result<Vec<PeerMessage>, PeerError> {
        let (from, to) = (messages()[0].from, messages()[0].to);
        let mut reader = FrameReader { version, from, to, buffer: Vec::new() };
        let (mut stream, mut out) = (bytes, Vec::new());
        for _ in 0..frames {
            now(reader.read(&mut stream, &mut out))?;
        }
        assert!(stream.is_empty(), "{} bytes left", stream.len());
        Ok(out)
    }

    #[test]
    fn messages_come_back_as_they_were_in_either_version() {
        let want = [messages(), messages()[..1].to_vec()].concat();
        assert_eq!(read(3, &written(3), 5).unwrap(), want);
        assert_eq!(read(4, &written(4), 2).unwrap(), want);
        assert!(written(4).len() * 3 < written(3).len() * 2, "{} bytes", written(4).len());
    }

    /// Builds that know version 3 only are out there: what it looks like can never change.
    #[test]
    fn version_3_stays_what_it_was() {
        let mut writer = FrameWriter::new(3);
        writer.push(&messages()[0]);
        let hex: String = writer.frames().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "1b000000188d310ecdd2918bd2b881cf8e010200cdd2918bd2b881cf8e010207070509");
    }

    #[test]
    fn one_version_is_not_taken_for_the_other() {
        assert!(matches!(read(4, &written(3), 1), Err(PeerError::Decode(_))));
        // As version 3 the zero byte is a sender, and it is nobody.
        assert!(!matches!(read(3, &written(4), 2), Ok(messages) if !messages.is_empty()));
    }

    #[test]
    fn a_word_that_is_cut_off_is_an_error() {
        let whole = written(4);
        let length = u32::from_le_bytes(whole[..4].try_into().unwrap()) as usize;
        let body = &whole[8..8 + length];
        for cut in [0, 3, 7, length - 1] {
            let reader =
                FrameReader { version: 4, from: MemberId(1), to: MemberId(2), buffer: body[..cut].to_vec() };
            assert!(reader.decode(&mut Vec::new()).is_err(), "cut at {cut}");
        }
    }
}
