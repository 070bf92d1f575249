//! The names of the messages in bytes that went between members, for onlookers of a network.
//!
//! Bytes are looked at as they were carried: a long message comes in parts, and only the first part says what it is.

use crate::frames::{LENGTH_BYTES, WORDS_MARK};
use crate::peer::{MAGIC, PeerBody, PeerMessage};
use seatrial_raft::Body;
use seatrial_types::Term;

/// One message as an onlooker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageName {
    /// `append`, `vote`, `heartbeat`, …
    pub kind: &'static str,
    /// The term it names, where it is one of Raft's.
    pub term: Option<Term>,
}

/// Bytes of a frame before its body: length and checksum.
const HEAD_BYTES: usize = 8;

/// A welcome is one byte, and maybe the version that is spoken; everything else is longer.
const WELCOME_BYTES_MAX: usize = 3;

/// Raft's messages in the order of `seatrial_raft::Body`. A test holds the two together.
const RAFT: [&str; 16] = [
    "pre-vote",
    "pre-vote answer",
    "vote",
    "vote answer",
    "append",
    "append accepted",
    "append rejected",
    "heartbeat",
    "heartbeat answer",
    "snapshot",
    "snapshot answer",
    "timeout now",
    "propose",
    "propose configuration",
    "read index",
    "read index answer",
];

/// The others in the order of [`crate::PeerBody`], behind Raft's.
const OTHERS: [&str; 5] = ["forward", "forward answer", "change", "change refused", "hash"];

impl PeerMessage {
    /// What an onlooker calls it who sees the message itself.
    #[must_use]
    pub fn name(&self) -> MessageName {
        let other = |place: usize| MessageName { kind: OTHERS[place], term: None };
        let message = match &self.body {
            PeerBody::Raft(message) => message,
            PeerBody::Forward { .. } => return other(0),
            PeerBody::ForwardAnswer { .. } => return other(1),
            PeerBody::Change { .. } => return other(2),
            PeerBody::ChangeRefused { .. } => return other(3),
            PeerBody::Hash { .. } => return other(4),
        };
        let place = match &message.body {
            Body::PreVote { .. } => 0,
            Body::PreVoteAnswer { .. } => 1,
            Body::Vote { .. } => 2,
            Body::VoteAnswer { .. } => 3,
            Body::Append { .. } => 4,
            Body::AppendAccepted { .. } => 5,
            Body::AppendRejected { .. } => 6,
            Body::Heartbeat { .. } => 7,
            Body::HeartbeatAnswer { .. } => 8,
            Body::Snapshot { .. } => 9,
            Body::SnapshotAnswer { .. } => 10,
            Body::TimeoutNow => 11,
            Body::Propose { .. } => 12,
            Body::ProposeConfig { .. } => 13,
            Body::ReadIndex { .. } => 14,
            Body::ReadIndexAnswer { .. } => 15,
        };
        MessageName { kind: RAFT[place], term: Some(message.term) }
    }
}

/// What begins in these bytes, in order. Empty where they begin in the middle of a message, or are something else.
#[must_use]
pub fn name_messages(mut bytes: &[u8]) -> Vec<MessageName> {
    if bytes.starts_with(&MAGIC) {
        return vec![MessageName { kind: "hello", term: None }];
    }
    let mut names = Vec::new();
    while let Some((length, want)) = head(bytes) {
        let rest = &bytes[HEAD_BYTES..];
        let whole = rest.get(..length);
        // The middle of a message can look like the head of another one; a checksum cannot.
        if whole.is_some_and(|body| crc32c::crc32c(body) != want) {
            break;
        }
        let is_first = names.is_empty();
        let body = whole.unwrap_or(rest);
        // Neither a welcome nor a message of version 3 begins like that and is so long.
        let mut found = match body.split_first() {
            Some((&WORDS_MARK, words)) if body.len() > WELCOME_BYTES_MAX => name_words(words),
            _ => Vec::from_iter(name(body)),
        };
        if found.is_empty() || (whole.is_none() && is_first) {
            break;
        }
        names.append(&mut found);
        bytes = rest.get(length..).unwrap_or_default();
    }
    names
}

fn head(bytes: &[u8]) -> Option<(usize, u32)> {
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().expect("four bytes")));
    Some((usize::try_from(number(0)?).ok()?, number(4)?))
}

/// What the words of a frame of version 4 are, those that begin in these bytes.
fn name_words(mut bytes: &[u8]) -> Vec<MessageName> {
    let mut names = Vec::new();
    while let Some((length, rest)) = bytes.split_at_checked(LENGTH_BYTES) {
        let length = u32::from_le_bytes(length.try_into().expect("four bytes"));
        let Some(name) = name_word(rest) else { break };
        names.push(name);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        bytes = rest.get(length..).unwrap_or_default();
    }
    names
}

fn name_word(word: &[u8]) -> Option<MessageName> {
    let (of_raft, rest) = postcard::take_from_bytes::<u64>(word).ok()?;
    if of_raft == 0 {
        let (term, rest) = postcard::take_from_bytes::<u64>(rest).ok()?;
        return raft(term, postcard::take_from_bytes::<u64>(rest).ok()?.0);
    }
    other(postcard::take_from_bytes::<u64>(rest).ok()?.0)
}

fn raft(term: u64, what: u64) -> Option<MessageName> {
    let kind = RAFT.get(usize::try_from(what).ok()?)?;
    Some(MessageName { kind, term: Some(Term(term)) })
}

fn other(what: u64) -> Option<MessageName> {
    let kind = OTHERS.get(usize::try_from(what.checked_sub(1)?).ok()?)?;
    Some(MessageName { kind, term: None })
}

/// The first fields of a body, which say all that is wanted: decoding entries only to drop them would cost the
/// onlooker more than the members.
fn name(body: &[u8]) -> Option<MessageName> {
    if body.len() <= WELCOME_BYTES_MAX {
        return Some(MessageName { kind: "welcome", term: None });
    }
    let mut rest = body;
    let mut next = || {
        let (number, tail) = postcard::take_from_bytes::<u64>(rest).ok()?;
        rest = tail;
        Some(number)
    };
    let (_from, _to, what) = (next()?, next()?, next()?);
    if what > 0 {
        return other(what);
    }
    let (_from, _to, term, what) = (next()?, next()?, next()?, next()?);
    raft(term, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ForwardId;
    use crate::peer::encode_frame;
    use seatrial_raft::Message;
    use seatrial_types::{LogIndex, MemberId, Request};

    fn frame_of<T: serde::Serialize>(value: &T) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_frame(value, &mut bytes);
        bytes
    }

    /// As it is carried; whoever sees the message itself calls it the same.
    fn said(body: PeerBody) -> Vec<u8> {
        let message = PeerMessage { from: MemberId(1), to: MemberId(u64::MAX), body };
        let bytes = frame_of(&message);
        assert_eq!(name_messages(&bytes), [message.name()]);
        bytes
    }

    /// The same frames as version 4 has them: all in one.
    fn as_words(mut bytes: &[u8]) -> Vec<u8> {
        let mut writer = crate::frames::FrameWriter::new(4);
        while let Some((length, _)) = head(bytes) {
            let message: PeerMessage = postcard::from_bytes(&bytes[HEAD_BYTES..HEAD_BYTES + length]).unwrap();
            writer.push(&message);
            bytes = &bytes[HEAD_BYTES + length..];
        }
        writer.frames().to_vec()
    }

    fn raft(body: Body) -> Vec<u8> {
        said(PeerBody::Raft(Message { from: MemberId(1), to: MemberId(300), term: Term(7), body }))
    }

    fn kinds(bytes: &[u8]) -> Vec<&'static str> {
        name_messages(bytes).into_iter().map(|name| name.kind).collect()
    }

    #[test]
    fn messages_are_named_as_they_are() {
        let append = Body::Append {
            prev_index: LogIndex(1),
            prev_term: Term(1),
            entries: Vec::new(),
            commit: LogIndex(1),
        };
        let mut bytes = raft(append);
        bytes.extend(raft(Body::HeartbeatAnswer { round: 9 }));
        assert_eq!(kinds(&bytes), ["append", "heartbeat answer"]);
        assert_eq!(kinds(&as_words(&bytes)), ["append", "heartbeat answer"]);
        assert_eq!(name_messages(&as_words(&bytes))[1].term, Some(Term(7)));
        assert_eq!(name_messages(&bytes)[0].term, Some(Term(7)));
        assert_eq!(kinds(&raft(Body::PreVote { last_index: LogIndex(1), last_term: Term(1) })), ["pre-vote"]);
        assert_eq!(kinds(&raft(Body::TimeoutNow)), ["timeout now"]);
        let last = Body::ReadIndexAnswer { id: seatrial_raft::ReadId(1), index: LogIndex(1) };
        assert_eq!(kinds(&raft(last)), ["read index answer"]);
        let forward = PeerBody::Forward { id: ForwardId(7), request: Request::Status };
        assert_eq!(kinds(&as_words(&said(forward.clone()))), ["forward"]);
        assert_eq!(kinds(&said(forward)), ["forward"]);
        let mut hello = MAGIC.to_vec();
        hello.extend(frame_of(&"whatever"));
        assert_eq!(kinds(&hello), ["hello"]);
        assert_eq!(kinds(&frame_of(&crate::peer::Welcome::Ok)), ["welcome"]);
        assert_eq!(kinds(&frame_of(&(crate::peer::Welcome::Ok, 400u16))), ["welcome"]);
        let hash = PeerBody::Hash { round: LogIndex(1), hash: 1 };
        assert_eq!(kinds(&as_words(&said(hash.clone()))), ["hash"]);
        assert_eq!(kinds(&said(hash)), ["hash"]);
    }

    #[test]
    fn what_begins_in_the_middle_of_a_message_has_no_name() {
        let bytes = raft(Body::Vote { last_index: LogIndex(1), last_term: Term(1), transfer: false });
        assert_eq!(kinds(&bytes[1..]), Vec::<&str>::new());
        assert_eq!(kinds(&bytes[..bytes.len() - 1]), Vec::<&str>::new(), "nothing proves what it is");
        let mut damaged = bytes.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(kinds(&damaged), Vec::<&str>::new());
        let mut two = bytes.clone();
        two.extend(&bytes[..bytes.len() - 1]);
        assert_eq!(kinds(&two), ["vote", "vote"], "behind a whole one, a head is a head");
        let words = as_words(&[bytes.clone(), bytes.clone()].concat());
        assert_eq!(kinds(&words), ["vote", "vote"]);
        let cut = words[..words.len() - 1].to_vec();
        assert_eq!(kinds(&cut), Vec::<&str>::new(), "nothing proves what it is");
        assert_eq!(kinds(&[words.clone(), cut].concat()), ["vote"; 4]);
        assert_eq!(kinds(&words[1..]), Vec::<&str>::new());
        assert_eq!(kinds(b""), Vec::<&str>::new());
    }
}
