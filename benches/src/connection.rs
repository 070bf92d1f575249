//! One HTTP/2 connection that speaks gRPC and does as little as that takes.
//!
//! The generator shares the machine's cores with the servers it measures: what a client spends is missing there. So
//! requests are bytes appended to one buffer, names and values of headers are sent once and then by their number,
//! and of an answer only its length is looked at. An answer that succeeds carries a message and one that fails
//! carries none (gRPC's "trailers only"), so that headers need not even be decoded. Sans I/O: the driver moves the
//! bytes.

use anyhow::{Result, bail, ensure};
use std::collections::{HashMap, VecDeque};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;
/// What we let the other side send before it must wait: as much as the protocol has words for.
const WINDOW_MAX: u32 = (1 << 31) - 1;
/// Received bytes are given back to the other side in portions of this size.
const CREDIT_BYTES: u32 = 64 << 20;
/// What either side may send before it is told otherwise.
const WINDOW_INITIAL: i64 = 65_535;
/// The bytes before each gRPC message: a flag and a length.
const PREFIX_BYTES: usize = 5;
const STATIC_ENTRIES: usize = 61;

mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PUSH_PROMISE: u8 = 5;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const WINDOW_UPDATE: u8 = 8;
}

mod flag {
    pub(super) const END_STREAM: u8 = 1;
    pub(super) const ACK: u8 = 1;
    pub(super) const END_HEADERS: u8 = 4;
    pub(super) const PADDED: u8 = 8;
}

/// Something that came in.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole message on a stream that was [opened](Connection::open).
    Message {
        /// Which stream.
        stream: u32,
        /// The protobuf message.
        body: &'a [u8],
    },
    /// A stream has ended.
    End {
        /// Which stream.
        stream: u32,
        /// Whether there was an answer.
        ok: bool,
    },
}

/// What is known of a stream whose end has not come.
#[derive(Debug, Default)]
struct Stream {
    /// Bytes of data so far.
    received: u64,
    /// Messages are handed out, so that their bytes are kept.
    is_long: bool,
    /// The begin of a message that has not come whole.
    partial: Vec<u8>,
    /// How many bytes the other side takes.
    window: i64,
}

/// Data that waits for the other side's window.
#[derive(Debug)]
struct Waiting {
    stream: u32,
    data: Vec<u8>,
    sent: usize,
    ends: bool,
}

/// What the other side's table of headers holds, in the order in which it was told.
#[derive(Debug, Default)]
struct Told {
    fields: Vec<Field>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Authority,
    ContentType,
    Te,
    Path(usize),
}

impl Told {
    /// The field by its number where it was told before; else as a text that is remembered from now on.
    fn write(&mut self, out: &mut Vec<u8>, field: Field, text: &str) {
        if let Some(place) = self.fields.iter().position(|told| *told == field) {
            // The newest has the lowest number. A few fields: the number fits into the byte.
            out.push(0x80 | (STATIC_ENTRIES + self.fields.len() - place) as u8);
            return;
        }
        match field {
            Field::Authority => out.push(0x41),
            Field::Path(_) => out.push(0x44),
            Field::ContentType => out.push(0x5f),
            Field::Te => {
                out.push(0x40);
                string(out, "te");
            }
        }
        string(out, text);
        self.fields.push(field);
    }
}

/// A connection of a client.
#[derive(Debug)]
pub struct Connection {
    /// To be written to the socket and cleared.
    pub out: Vec<u8>,
    incoming: Vec<u8>,
    authority: String,
    paths: &'static [&'static str],
    told: Told,
    block: Vec<u8>,
    next_stream: u32,
    streams: HashMap<u32, Stream>,
    waiting: VecDeque<Waiting>,
    window: i64,
    window_initial: i64,
    frame_bytes_max: usize,
    streams_max: usize,
    uncredited: u32,
}

fn head(length: usize, kind: u8, flags: u8, stream: u32) -> [u8; HEAD_BYTES] {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [s0, s1, s2, s3] = stream.to_be_bytes();
    [a, b, c, kind, flags, s0, s1, s2, s3]
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().expect("four bytes"))
}

/// A string as HPACK has it, not compressed (RFC 7541 §5.2).
fn string(out: &mut Vec<u8>, text: &str) {
    assert!(text.len() < 127, "{text:?} is too long for a header of ours");
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

impl Connection {
    /// A connection whose `out` begins with the greeting. `paths` are those that can be asked, at most 50.
    #[must_use]
    pub fn new(authority: &str, paths: &'static [&'static str]) -> Self {
        assert!(paths.len() <= 50, "{} paths", paths.len());
        let mut out = PREFACE.to_vec();
        // No push, and windows as wide as may be.
        out.extend_from_slice(&head(12, kind::SETTINGS, 0, 0));
        out.extend_from_slice(&[0, 2, 0, 0, 0, 0, 0, 4]);
        out.extend_from_slice(&WINDOW_MAX.to_be_bytes());
        out.extend_from_slice(&head(4, kind::WINDOW_UPDATE, 0, 0));
        out.extend_from_slice(&(WINDOW_MAX - WINDOW_INITIAL as u32).to_be_bytes());
        Self {
            out,
            incoming: Vec::new(),
            authority: authority.to_owned(),
            paths,
            told: Told::default(),
            block: Vec::new(),
            next_stream: 1,
            streams: HashMap::new(),
            waiting: VecDeque::new(),
            window: WINDOW_INITIAL,
            window_initial: WINDOW_INITIAL,
            frame_bytes_max: 16_384,
            streams_max: usize::MAX,
            uncredited: 0,
        }
    }

    /// How many streams the other side allows at one time; known once it has greeted.
    #[must_use]
    pub fn streams_max(&self) -> usize {
        self.streams_max
    }

    /// Asks once: one message there, one back. Returns the stream.
    pub fn ask(&mut self, path: usize, body: &[u8]) -> u32 {
        let stream = self.begin(path, false);
        self.say(stream, body, true);
        stream
    }

    /// Opens a stream of messages.
    pub fn open(&mut self, path: usize) -> u32 {
        self.begin(path, true)
    }

    /// Says one message on an open stream.
    pub fn message(&mut self, stream: u32, body: &[u8]) {
        self.say(stream, body, false);
    }

    fn begin(&mut self, path: usize, is_long: bool) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        self.block.clear();
        // POST and http have numbers of their own (RFC 7541, appendix A).
        self.block.extend_from_slice(&[0x83, 0x86]);
        self.told.write(&mut self.block, Field::Path(path), self.paths[path]);
        self.told.write(&mut self.block, Field::Authority, &self.authority);
        self.told.write(&mut self.block, Field::ContentType, "application/grpc");
        self.told.write(&mut self.block, Field::Te, "trailers");
        self.out.extend_from_slice(&head(self.block.len(), kind::HEADERS, flag::END_HEADERS, stream));
        self.out.extend_from_slice(&self.block);
        self.streams.insert(stream, Stream { is_long, window: self.window_initial, ..Stream::default() });
        stream
    }

    fn say(&mut self, stream: u32, body: &[u8], ends: bool) {
        let length = PREFIX_BYTES + body.len();
        let prefix = || std::iter::once(0).chain((body.len() as u32).to_be_bytes());
        let window = self.streams.get(&stream).map_or(0, |known| known.window).min(self.window);
        if self.waiting.is_empty() && length <= self.frame_bytes_max && length as i64 <= window {
            // The common case: one frame, nothing copied twice.
            let flags = if ends { flag::END_STREAM } else { 0 };
            self.out.extend_from_slice(&head(length, kind::DATA, flags, stream));
            self.out.extend(prefix());
            self.out.extend_from_slice(body);
            self.spend(stream, length);
            return;
        }
        let mut data = Vec::with_capacity(length);
        data.extend(prefix());
        data.extend_from_slice(body);
        self.waiting.push_back(Waiting { stream, data, sent: 0, ends });
        self.send_waiting();
    }

    fn spend(&mut self, stream: u32, length: usize) {
        self.window -= length as i64;
        if let Some(known) = self.streams.get_mut(&stream) {
            known.window -= length as i64;
        }
    }

    /// Sends what the windows have room for, in order.
    fn send_waiting(&mut self) {
        while let Some(mut waiting) = self.waiting.pop_front() {
            while waiting.sent < waiting.data.len() {
                let Some(known) = self.streams.get(&waiting.stream) else { break };
                let room = known.window.min(self.window).min(self.frame_bytes_max as i64);
                if room <= 0 {
                    return self.waiting.push_front(waiting);
                }
                let length = (waiting.data.len() - waiting.sent).min(room as usize);
                let is_last = waiting.sent + length == waiting.data.len();
                let flags = if is_last && waiting.ends { flag::END_STREAM } else { 0 };
                self.out.extend_from_slice(&head(length, kind::DATA, flags, waiting.stream));
                self.out.extend_from_slice(&waiting.data[waiting.sent..waiting.sent + length]);
                self.spend(waiting.stream, length);
                waiting.sent += length;
            }
        }
    }

    /// Takes what came in. What it means is handed to `each`, in order.
    ///
    /// # Errors
    /// The other side broke the connection or the protocol.
    pub fn receive(&mut self, bytes: &[u8], mut each: impl FnMut(Event<'_>)) -> Result<()> {
        // What is left of the last time is short, and mostly there is nothing.
        let mut kept = std::mem::take(&mut self.incoming);
        let all = if kept.is_empty() {
            bytes
        } else {
            kept.extend_from_slice(bytes);
            &kept[..]
        };
        let mut rest = all;
        while let Some((frame, behind)) = rest.split_at_checked(HEAD_BYTES) {
            let length = (word(frame) >> 8) as usize;
            let Some((payload, behind)) = behind.split_at_checked(length) else { break };
            let stream = word(&frame[5..]) & WINDOW_MAX;
            self.frame(frame[3], frame[4], stream, payload, &mut each)?;
            rest = behind;
        }
        let left = rest.to_vec();
        self.incoming = left;
        Ok(())
    }

    fn frame(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
        each: &mut impl FnMut(Event<'_>),
    ) -> Result<()> {
        match kind {
            kind::DATA => {
                ensure!(flags & flag::PADDED == 0, "the server pads its data, which is not understood here");
                self.credit(payload.len());
                if let Some(known) = self.streams.get_mut(&stream) {
                    known.received += payload.len() as u64;
                    if known.is_long {
                        known.messages(stream, payload, each)?;
                    }
                }
                self.end_if(flags, stream, each);
            }
            kind::HEADERS => self.end_if(flags, stream, each),
            kind::RST_STREAM if self.streams.remove(&stream).is_some() => {
                each(Event::End { stream, ok: false });
            }
            kind::SETTINGS if flags & flag::ACK == 0 => self.settings(payload),
            kind::PING if flags & flag::ACK == 0 => {
                self.out.extend_from_slice(&head(payload.len(), kind::PING, flag::ACK, 0));
                self.out.extend_from_slice(payload);
            }
            kind::WINDOW_UPDATE => {
                ensure!(payload.len() == 4, "a window update of {} bytes", payload.len());
                let more = i64::from(word(payload) & WINDOW_MAX);
                if stream == 0 {
                    self.window += more;
                } else if let Some(known) = self.streams.get_mut(&stream) {
                    known.window += more;
                }
                self.send_waiting();
            }
            kind::GOAWAY => {
                let why = payload.get(8..).map(String::from_utf8_lossy).unwrap_or_default();
                bail!("the server ended the connection: {why}");
            }
            kind::PUSH_PROMISE => bail!("the server pushes, which it was told not to"),
            // Whatever else there may be is to be passed over (RFC 9113 §4.1).
            _ => {}
        }
        Ok(())
    }

    fn end_if(&mut self, flags: u8, stream: u32, each: &mut impl FnMut(Event<'_>)) {
        if flags & flag::END_STREAM != 0
            && let Some(known) = self.streams.remove(&stream)
        {
            each(Event::End { stream, ok: known.received > 0 });
        }
    }

    fn settings(&mut self, payload: &[u8]) {
        for setting in payload.chunks_exact(6) {
            let value = word(&setting[2..]);
            match setting[1] {
                3 => self.streams_max = value as usize,
                4 => {
                    let grown = i64::from(value) - self.window_initial;
                    self.window_initial = i64::from(value);
                    self.streams.values_mut().for_each(|known| known.window += grown);
                }
                5 => self.frame_bytes_max = value as usize,
                _ => {}
            }
        }
        self.out.extend_from_slice(&head(0, kind::SETTINGS, flag::ACK, 0));
        self.send_waiting();
    }

    fn credit(&mut self, length: usize) {
        self.uncredited += length as u32;
        if self.uncredited >= CREDIT_BYTES {
            self.out.extend_from_slice(&head(4, kind::WINDOW_UPDATE, 0, 0));
            self.out.extend_from_slice(&std::mem::take(&mut self.uncredited).to_be_bytes());
        }
    }
}

impl Stream {
    /// Hands out the messages that are whole now.
    fn messages(&mut self, stream: u32, data: &[u8], each: &mut impl FnMut(Event<'_>)) -> Result<()> {
        let mut kept = std::mem::take(&mut self.partial);
        let all = if kept.is_empty() {
            data
        } else {
            kept.extend_from_slice(data);
            &kept[..]
        };
        let mut rest = all;
        while let Some((prefix, behind)) = rest.split_at_checked(PREFIX_BYTES) {
            ensure!(prefix[0] == 0, "the server compresses its answers, which is not understood here");
            let Some((body, behind)) = behind.split_at_checked(word(&prefix[1..]) as usize) else { break };
            each(Event::Message { stream, body });
            rest = behind;
        }
        let left = rest.to_vec();
        self.partial = left;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: &[&str] = &["/a.A/One", "/a.A/Two"];

    fn greeted() -> Connection {
        let mut connection = Connection::new("here:1", PATHS);
        connection.out.clear();
        connection
    }

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        [&head(payload.len(), kind, flags, stream)[..], payload].concat()
    }

    /// Kind, flags, stream and payload of each frame.
    fn frames(mut bytes: &[u8]) -> Vec<(u8, u8, u32, Vec<u8>)> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let length = (word(bytes) >> 8) as usize;
            found.push((bytes[3], bytes[4], word(&bytes[5..]), bytes[9..9 + length].to_vec()));
            bytes = &bytes[9 + length..];
        }
        found
    }

    fn received(connection: &mut Connection, bytes: &[u8]) -> Vec<String> {
        let mut events = Vec::new();
        connection
            .receive(bytes, |event| {
                events.push(match event {
                    Event::Message { stream, body } => format!("{stream}: {}", String::from_utf8_lossy(body)),
                    Event::End { stream, ok } => format!("{stream}: {ok}"),
                });
            })
            .unwrap();
        events
    }

    #[test]
    fn headers_are_told_once_and_then_named_by_their_number() {
        let mut connection = greeted();
        assert_eq!(connection.ask(0, b"x"), 1);
        assert_eq!(connection.ask(0, b"x"), 3);
        assert_eq!(connection.ask(1, b"x"), 5);
        assert_eq!(connection.ask(0, b"x"), 7);
        let sent = frames(&connection.out);
        let blocks: Vec<&[u8]> =
            sent.iter().filter(|frame| frame.0 == kind::HEADERS).map(|frame| &frame.3[..]).collect();
        assert!(blocks[0].ends_with(b"\x40\x02te\x08trailers"), "{:?}", blocks[0]);
        // Path, authority, content-type and te were entered in this order: the last is 62, the first 65.
        assert_eq!(blocks[1], [0x83, 0x86, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62]);
        assert_eq!(blocks[2], b"\x83\x86\x44\x08/a.A/Two\xc1\xc0\xbf".as_slice());
        assert_eq!(blocks[3], [0x83, 0x86, 0x80 | 66, 0x80 | 65, 0x80 | 64, 0x80 | 63]);
        assert_eq!(sent[1], (kind::DATA, flag::END_STREAM, 1, b"\0\0\0\0\x01x".to_vec()));
    }

    #[test]
    fn an_end_without_a_message_is_a_refusal_however_the_bytes_are_cut() {
        let bytes = [
            frame(kind::HEADERS, flag::END_HEADERS, 1, b"h"),
            frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 3, b"h"),
            frame(kind::DATA, 0, 1, b"\0\0\0\0\x01x"),
            frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1, b"h"),
            frame(kind::RST_STREAM, 0, 5, b"\0\0\0\x08"),
        ]
        .concat();
        for cut in 0..bytes.len() {
            let mut connection = greeted();
            for _ in 0..3 {
                connection.ask(0, b"x");
            }
            let mut events = received(&mut connection, &bytes[..cut]);
            events.extend(received(&mut connection, &bytes[cut..]));
            assert_eq!(events, ["3: false", "1: true", "5: false"], "cut at {cut}");
        }
    }

    #[test]
    fn messages_of_a_long_stream_come_whole_however_they_are_framed() {
        let mut connection = greeted();
        let stream = connection.open(0);
        let data = b"\0\0\0\0\x03one\0\0\0\0\x00\0\0\0\0\x03two";
        for cut in 0..data.len() {
            let mut events = received(&mut connection, &frame(kind::DATA, 0, stream, &data[..cut]));
            events.extend(received(&mut connection, &frame(kind::DATA, 0, stream, &data[cut..])));
            assert_eq!(events, ["1: one", "1: ", "1: two"], "cut at {cut}");
        }
    }

    #[test]
    fn more_than_the_window_waits_for_it() {
        let mut connection = greeted();
        // Frames of at most 20,000 bytes, and streams may send 30,000.
        let settings = [&[0, 5][..], &20_000_u32.to_be_bytes(), &[0, 4], &30_000_u32.to_be_bytes()].concat();
        received(&mut connection, &frame(kind::SETTINGS, 0, 0, &settings));
        connection.out.clear();
        connection.ask(0, &vec![7; 40_000]);
        connection.ask(0, b"behind");
        let lengths = |connection: &mut Connection| -> Vec<(u32, u8, usize)> {
            let sent = frames(&std::mem::take(&mut connection.out));
            let data = sent.into_iter().filter(|frame| frame.0 == kind::DATA);
            data.map(|frame| (frame.2, frame.1, frame.3.len())).collect()
        };
        assert_eq!(lengths(&mut connection), [(1, 0, 20_000), (1, 0, 10_000)]);
        received(&mut connection, &frame(kind::WINDOW_UPDATE, 0, 1, &30_000_u32.to_be_bytes()));
        assert_eq!(lengths(&mut connection), [(1, 1, 10_005), (3, 1, 11)]);
        // 40,016 of the connection's own 65,535 are spent.
        connection.ask(0, &vec![7; 25_515]);
        assert_eq!(lengths(&mut connection), [(5, 0, 20_000), (5, 0, 5_519)]);
        received(&mut connection, &frame(kind::WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()));
        assert_eq!(lengths(&mut connection), [(5, 1, 1)]);
    }

    #[test]
    fn a_ping_is_answered_and_a_farewell_is_an_error() {
        let mut connection = greeted();
        received(&mut connection, &frame(kind::PING, 0, 0, b"12345678"));
        assert_eq!(frames(&connection.out), [(kind::PING, flag::ACK, 0, b"12345678".to_vec())]);
        let farewell = frame(kind::GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\0enough");
        let error = connection.receive(&farewell, |_| ()).unwrap_err().to_string();
        assert!(error.contains("enough"), "{error}");
    }
}
