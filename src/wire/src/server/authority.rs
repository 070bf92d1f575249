//! Names of hosts that are no names: some clients (etcdctl 3.4, where it asks a member by its URL) put the whole
//! `http://host:port` into `:authority`. Go's server takes that; the HTTP/2 library here ends the stream. So the first
//! headers of a connection are looked at before the library sees them, and where their name is wrong it is put right,
//! there and in all headers that follow on this connection. All other connections go by untouched after that.
//!
//! Only literals need a look: a later header that refers to an earlier one finds what was put there. The library's table
//! then holds a shorter value than the client's does, so it never drops an entry which the client still counts on
//! (RFC 7541, 4.3).

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const PREFACE_LEN: usize = 24;
const FRAME_HEAD_LEN: usize = 9;
/// What a client may send without having asked (RFC 9113, 4.2).
const FRAME_LEN_MAX: usize = 16_384;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// A stream of HTTP/2 whose wrong names are put right as it is read.
pub(super) struct Righted<S> {
    stream: S,
    frames: Option<Frames>,
    /// Looked at and not given out yet.
    ready: Vec<u8>,
    given: usize,
}

impl<S> Righted<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, frames: Some(Frames::new()), ready: Vec::new(), given: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Righted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.given < this.ready.len() {
                let count = (this.ready.len() - this.given).min(buffer.remaining());
                buffer.put_slice(&this.ready[this.given..this.given + count]);
                this.given += count;
                return Poll::Ready(Ok(()));
            }
            (this.ready, this.given) = (Vec::new(), 0);
            let Some(frames) = &mut this.frames else {
                return Pin::new(&mut this.stream).poll_read(context, buffer);
            };
            let mut bytes = [0; 4096];
            let mut read = ReadBuf::new(&mut bytes);
            std::task::ready!(Pin::new(&mut this.stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                // The end, perhaps in the middle of a frame.
                this.ready = frames.rest();
                this.frames = None;
                continue;
            }
            frames.take(read.filled(), &mut this.ready);
            if frames.is_done() {
                this.ready.extend(frames.rest());
                this.frames = None;
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Righted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A client's frames, as far as they have come.
struct Frames {
    /// Bytes that go by unseen: the preface, and frames that are no headers.
    pass: usize,
    /// The beginning of a frame.
    held: Vec<u8>,
    /// `None` until the first headers: whether their name was wrong.
    wrong: Option<bool>,
}

impl Frames {
    fn new() -> Self {
        Self { pass: PREFACE_LEN, held: Vec::new(), wrong: None }
    }

    /// Nothing more needs a look.
    fn is_done(&self) -> bool {
        self.wrong == Some(false)
    }

    /// What is held back of a frame that is not whole.
    fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    fn take(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() && !self.is_done() {
            let passing = self.pass.min(bytes.len());
            out.extend_from_slice(&bytes[..passing]);
            self.pass -= passing;
            bytes = &bytes[passing..];
            // Of other frames only the head is held, and no longer than until it is whole.
            let wanted = FRAME_HEAD_LEN + self.length().unwrap_or_default();
            let more = (wanted - self.held.len()).min(bytes.len());
            self.held.extend_from_slice(&bytes[..more]);
            bytes = &bytes[more..];
            let Some(length) = self.length() else { continue };
            if self.held[3] != HEADERS || length > FRAME_LEN_MAX {
                self.pass = length;
                out.append(&mut self.held);
            } else if self.held.len() == FRAME_HEAD_LEN + length {
                let frame = std::mem::take(&mut self.held);
                let righted = righted(&frame);
                self.wrong = Some(righted.is_some() || self.wrong == Some(true));
                out.extend(righted.unwrap_or(frame));
            }
        }
        out.extend_from_slice(bytes);
    }

    /// How long the frame is whose head is held.
    fn length(&self) -> Option<usize> {
        let [a, b, c] = *self.held.get(..FRAME_HEAD_LEN)?.first_chunk::<3>()?;
        Some(usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c))
    }
}

/// These headers with a name that can be one, where theirs is none.
fn righted(frame: &[u8]) -> Option<Vec<u8>> {
    let (head, payload) = frame.split_at(FRAME_HEAD_LEN);
    let padding = if head[4] & PADDED == 0 { 0 } else { 1 };
    let first = padding + if head[4] & PRIORITY == 0 { 0 } else { 5 };
    let last = payload.len().checked_sub(if padding == 0 { 0 } else { usize::from(*payload.first()?) })?;
    let (place, name) = authority(payload.get(first..last)?)?;
    if http::uri::Authority::try_from(name.as_slice()).is_ok() {
        return None;
    }
    let scheme = name.windows(3).position(|part| part == b"://")?;
    let host = name[scheme + 3..].split(|byte| *byte == b'/').next()?;
    http::uri::Authority::try_from(host).ok()?;
    let mut payload = payload.to_vec();
    let mut literal = Vec::new();
    write_number(&mut literal, 7, host.len());
    literal.extend_from_slice(host);
    payload.splice(first + place.start..first + place.end, literal);
    if payload.len() > FRAME_LEN_MAX {
        return None;
    }
    let length = u32::try_from(payload.len()).ok()?.to_be_bytes();
    Some([&length[1..], &head[3..], &payload].concat())
}

/// The literal value of `:authority` in a block of headers (RFC 7541, 6): where it stands, and what it says.
fn authority(block: &[u8]) -> Option<(Range<usize>, Vec<u8>)> {
    let mut at = 0;
    while at < block.len() {
        let (bits, is_literal) = match block[at] {
            0x80.. => (7, false),
            0x40.. => (6, true),
            0x20.. => (5, false),
            _ => (4, true),
        };
        let index = read_number(block, &mut at, bits)?;
        if !is_literal {
            continue;
        }
        if index == 0 {
            skip_string(block, &mut at)?;
        }
        let start = at;
        let value = skip_string(block, &mut at)?;
        // Its place in the table that everybody has.
        if index == 1 {
            let bytes = &block[value];
            let said = if block[start] & 0x80 == 0 { bytes.to_vec() } else { unpack(bytes)? };
            return Some((start..at, said));
        }
    }
    None
}

fn skip_string(block: &[u8], at: &mut usize) -> Option<Range<usize>> {
    let length = read_number(block, at, 7)?;
    let value = *at..at.checked_add(length)?;
    block.get(value.clone())?;
    *at = value.end;
    Some(value)
}

/// A number in the low bits of its first byte, and further bytes where it does not fit (RFC 7541, 5.1).
fn read_number(block: &[u8], at: &mut usize, bits: u32) -> Option<usize> {
    let full = (1 << bits) - 1;
    let mut number = usize::from(*block.get(*at)?) & full;
    *at += 1;
    if number < full {
        return Some(number);
    }
    for shift in [0, 7, 14] {
        let byte = *block.get(*at)?;
        *at += 1;
        number += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn write_number(out: &mut Vec<u8>, bits: u32, number: usize) {
    let full = (1 << bits) - 1;
    if number < full {
        return out.push(number as u8);
    }
    out.push(full as u8);
    let mut rest = number - full;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Characters by the length of their code, shortest first. The codes are counted upwards in this order (RFC 7541,
/// appendix B); those of other characters are longer, and no host has them.
const CODES: [(u32, &[u8]); 8] = [
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\0$@[]~"),
];

fn unpack(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut code, mut length) = (0_u32, 0_u32);
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| u32::from(byte >> at & 1))) {
        (code, length) = (code << 1 | bit, length + 1);
        let (mut first, mut before) = (0_u32, 0_u32);
        for (bits, characters) in CODES {
            first <<= bits - before;
            if bits == length {
                if let Some(character) = code.checked_sub(first).and_then(|at| characters.get(at as usize)) {
                    out.push(*character);
                    (code, length) = (0, 0);
                }
                break;
            }
            (first, before) = (first + characters.len() as u32, bits);
        }
        if length > 13 {
            return None;
        }
    }
    // The last byte is filled with ones.
    (length < 8 && code == (1 << length) - 1).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The headers of RFC 7541, C.4.1: three from the table, and `:authority` packed.
    const WWW: [u8; 17] = [
        0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
    ];

    fn pack(text: &[u8]) -> Vec<u8> {
        let mut bits = Vec::new();
        for character in text {
            let (mut first, mut before) = (0_u32, 0_u32);
            for (length, characters) in CODES {
                first <<= length - before;
                if let Some(at) = characters.iter().position(|c| c == character) {
                    bits.extend((0..length).rev().map(|bit| (first + at as u32) >> bit & 1));
                }
                (first, before) = (first + characters.len() as u32, length);
            }
        }
        bits.resize(bits.len().next_multiple_of(8), 1);
        bits.chunks(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | *bit as u8)).collect()
    }

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// Headers with this name, packed, between others.
    fn headers(name: &[u8]) -> Vec<u8> {
        let packed = pack(name);
        [
            &[0x3f, 0xe1, 0x1f, 0x83, 0x40, 0x01, b'x', 0x01, b'y', 0x41, 0x80 | packed.len() as u8],
            packed.as_slice(),
            &[0x86],
        ]
        .concat()
    }

    fn fed(bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut frames = Frames::new();
        let mut out = Vec::new();
        for piece in bytes.chunks(piece) {
            if frames.is_done() {
                out.extend_from_slice(piece);
            } else {
                frames.take(piece, &mut out);
            }
        }
        out.extend(frames.rest());
        out
    }

    #[test]
    fn names_are_read_as_the_standard_writes_them() {
        let (place, name) = authority(&WWW).unwrap();
        assert_eq!((place, name.as_slice()), (4..17, &b"www.example.com"[..]));
        let (_, name) = authority(&headers(b"http://127.0.0.1:2379")).unwrap();
        assert_eq!(name, b"http://127.0.0.1:2379");
        assert_eq!(unpack(&pack(b"A~z@[\0]")).unwrap(), b"A~z@[\0]");
        for cut in 0..WWW.len() {
            let _ = authority(&WWW[..cut]);
        }
        assert_eq!(authority(&[0x41, 0xff, 0xff, 0xff, 0xff, 0xff]), None);
        // A packed "0" that is not filled up with ones, and one with a byte of ones too much.
        assert_eq!(
            (unpack(&[0x07]).as_deref(), unpack(&[0]), unpack(&[7, 0xff])),
            (Some(&b"0"[..]), None, None)
        );
    }

    #[test]
    fn a_url_becomes_its_host_in_all_headers_of_the_connection_and_nothing_else_changes() {
        let settings = frame(4, 0, &[0, 3, 0, 0, 0, 100]);
        let data = frame(0, 1, b"\0\0\0\0\0PRI * headers");
        let host = [
            &[0x3f, 0xe1, 0x1f, 0x83, 0x40, 0x01, b'x', 0x01, b'y', 0x41, 14],
            &b"127.0.0.1:2379"[..],
            &[0x86],
        ]
        .concat();
        let long = vec![b'v'; 200];
        let given = [
            &[b'P'; PREFACE_LEN][..],
            &settings,
            &frame(HEADERS, 4, &headers(b"http://127.0.0.1:2379")),
            &data,
            // With padding and priority.
            &frame(
                HEADERS,
                4 | PADDED | PRIORITY,
                &[&[2, 0, 0, 0, 0, 9], headers(b"https://127.0.0.1:2379/x").as_slice(), &[0, 0]].concat(),
            ),
            &frame(HEADERS, 4, &[0x82, 0xbe]),
            // Nothing wrong in the last one; the next may be wrong again.
            &frame(HEADERS, 4, &headers(b"http://127.0.0.1:2379")),
            &frame(0, 0, &long),
        ]
        .concat();
        let wanted = [
            &[b'P'; PREFACE_LEN][..],
            &settings,
            &frame(HEADERS, 4, &host),
            &data,
            &frame(HEADERS, 4 | PADDED | PRIORITY, &[&[2, 0, 0, 0, 0, 9], host.as_slice(), &[0, 0]].concat()),
            &frame(HEADERS, 4, &[0x82, 0xbe]),
            &frame(HEADERS, 4, &host),
            &frame(0, 0, &long),
        ]
        .concat();
        for piece in [1, 2, 7, 10_000] {
            assert_eq!(fed(&given, piece), wanted, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_right_or_beyond_help_goes_by() {
        for name in [&b"127.0.0.1:2379"[..], b"etcd", b"nonsense here", b"http://"] {
            let bytes =
                [&[b'P'; PREFACE_LEN][..], &frame(4, 0, &[]), &frame(HEADERS, 4, &headers(name)), b"rest"]
                    .concat();
            assert_eq!(fed(&bytes, 3), bytes);
        }
        // Headers that are none.
        let bytes =
            [&[b'P'; PREFACE_LEN][..], &frame(HEADERS, PADDED, &[200, 1]), &frame(HEADERS, 0, &[])].concat();
        assert_eq!(fed(&bytes, 5), bytes);
    }
}
